/*
 * run_dir while the node lives: a convenience. Who cleans up may remove it or
 * what is in it (the process id file, the sockets' names, the link to the
 * region): it is made again, and what cannot be is told as long as it lacks.
 * A look is a few stats, with every round of live.c and before a boot.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shm/say.h"
#include "shm/trouble.h"
#include "supervisor/listen.h"

#define MADE_MAX 128

/* What a look found. */
struct run_dir_look {
	char made[MADE_MAX]; /* again, by their names */
	const char *lacks; /* what cannot be, */
	int error; /* and why; 0 = all is there */
	bool dir_is_there;
};

static void
made_add(char made[MADE_MAX], const char *what)
{
	size_t len = strlen(made);

	snprintf(made + len, MADE_MAX - len, "%s%s", len > 0 ? ", " : "", what);
}

/* One part: > 0 it was made again, < 0 it cannot be, and why. */
static void
mended(struct run_dir_look *look, const char *what, int rc)
{
	if (rc > 0)
		made_add(look->made, what);
	if (rc < 0 && look->error == 0) {
		look->error = -rc;
		look->lacks = what;
	}
}

/* Is there a gateway from before the socket of client_unix was made again? */
static bool
gateways_are_older(const struct node *n)
{
	for (unsigned slot = SLOT_GATEWAY; slot < SLOT_MAX; slot++)
		if (n->child[slot].pid != 0 &&
		    n->child[slot].started_ns < n->unix_made_ns)
			return true;
	return false;
}

/* Health has one that nobody reaches then. A boot fails without health. */
static int
control_again(struct node *n)
{
	int rc;

	if (n->mode == NODE_BOOTING && n->child[SLOT_HEALTH].pid != 0)
		return 0;
	rc = listen_control_again(&n->listen, &n->conf, &n->rights);
	if (rc > 0) {
		child_kill(n, SLOT_HEALTH, NULL);
		n->child[SLOT_HEALTH].replaced = true;
	}
	return rc;
}

static void
look_at_all(struct node *n, struct run_dir_look *look)
{
	int rc = daemon_pidfile_again(&n->conf, &n->rights, &n->pidfile);

	mended(look, "process id file", rc);
	/* Without it the rest may be another node's. */
	if (rc < 0)
		return;
	rc = control_again(n);
	mended(look, "control socket", rc);
	if (node_has_file(n))
		mended(look, "region",
		    region_link_again(&n->region, n->conf.node.run_dir));
	rc = listen_clients_again(&n->listen, &n->conf, &n->rights);
	mended(look, "client_unix", rc);
	if (rc > 0)
		n->unix_made_ns = mono_ns();
}

/* What it tells is over when another look finds no more of it. */
static void
tell(struct node *n, const struct run_dir_look *look)
{
	const char *dir = n->conf.node.run_dir;
	char what[96];
	struct fault f = { .object = dir,
		.call = look->lacks,
		.error = look->error,
		.place = PLACE_RUN,
		.what = what,
		.goes_on = true };

	if (look->made[0] != '\0')
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN,
		    "[node] run_dir %s: removed by somebody, made again: %s",
		    dir, look->made);
	snprintf(what, sizeof(what), "removed, and cannot be made again: %s",
	    strerror(look->error));
	/* Its parent is not ours. */
	if (!look->dir_is_there &&
	    (look->error == EACCES || look->error == EPERM))
		f.error = ENOENT;
	if (look->error != 0)
		trouble_begin(&n->region, TROUBLE_RUN_DIR, &f);
	else if (gateways_are_older(n))
		trouble_begin_text(&n->region, TROUBLE_RUN_DIR,
		    "client_unix %s: removed by somebody: clients get in by "
		    "it again after a restart of the node",
		    n->conf.listen.client_unix);
	else
		trouble_end(&n->region, TROUBLE_RUN_DIR);
}

void
node_run_dir_look(struct node *n)
{
	struct run_dir_look look = { .made = "" };
	struct stat st;

	look_at_all(n, &look);
	look.dir_is_there = stat(n->conf.node.run_dir, &st) == 0;
	if (n->has_region)
		tell(n, &look);
}
