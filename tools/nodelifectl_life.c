/*
 * Who the node is. What answers is alive, and so is who has the lock of the
 * run directory; a process id is asked last: it may mean another here, or
 * none, and the region that has it may be gone.
 */
#include "tools/nodelifectl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/pidfile.h"
#include "shm/process.h"
#include "shm/trouble.h"

/* Who is alive takes a connection at once, or is full of them. */
#define DIAL_MS 2000

/* Who made the control socket listen, as the kernel has it; 0 = not here. */
static int
peer_pid(int fd)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return 0;
	return cred.pid;
}

/* What the process id file says, if that process has it open. */
static int
file_pid(const struct ctl *c, int said)
{
	char path[CONF_RUN_DIR_SIZE + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" PIDFILE_NAME, c->run_dir);
	if (said > 0 && stat(path, &st) == 0 &&
	    process_has_open(said, &st, false))
		return said;
	return 0;
}

/*
 * What the region says. Its file is the node's user's, who may name any
 * process in it. Its supervisor has it open, and no other process of root's
 * does. Who is not root can signal nobody else's anyway.
 */
static int
region_pid(const struct region *r)
{
	int pid = r->head->supervisor_pid;
	struct stat st;

	if (r->head->pid_space != pid_space())
		return 0;
	if (geteuid() == 0 &&
	    (fstat(r->fd, &st) != 0 || !process_has_open(pid, &st, false)))
		return 0;
	return pid;
}

int
ctl_life(const struct ctl *c, struct ctl_life *l)
{
	char path[CONF_RUN_DIR_SIZE + 16], why[256];
	int fd, held, said, rc;
	int left_ms = ctl_left_ms(c);

	*l = (struct ctl_life){ .pidfd = -1 };
	snprintf(path, sizeof(path), "%s/region", c->run_dir);
	rc = region_attach(&l->region, path, why, sizeof(why));
	l->has_region = rc == 0;
	fd = ctl_dial(c, left_ms < DIAL_MS ? left_ms : DIAL_MS);
	held = pidfile_holder(c->run_dir, &said);
	if (fd >= 0)
		l->pid = peer_pid(fd);
	if (l->pid == 0 && held == 1)
		l->pid = file_pid(c, said);
	if (l->pid == 0 && l->has_region && region_alive(&l->region))
		l->pid = region_pid(&l->region);
	if (l->pid != 0)
		l->pidfd = (int)syscall(SYS_pidfd_open, l->pid, 0);
	/* The kernel takes connections for a dead node's rings a moment more.
	 */
	l->alive = held == 1 || l->pidfd >= 0 || fd == -ETIMEDOUT ||
		   (fd >= 0 && l->pid == 0);
	if (fd >= 0)
		close(fd);
	if (l->alive)
		return CTL_OK;
	if (fd == -EACCES || held == -EACCES || rc == -EACCES)
		return CTL_DENIED;
	if (fd == -ENOTDIR)
		return CTL_FAILED;
	ctl_data(c, l);
	return l->data == CTL_DATA_HELD     ? CTL_FAILED
	       : l->data == CTL_DATA_SILENT ? CTL_TIMEOUT
					    : CTL_NOT_RUNNING;
}

void
ctl_life_end(struct ctl_life *l)
{
	if (l->pidfd >= 0)
		close(l->pidfd);
	if (l->has_region)
		region_unmap(&l->region);
}

/*
 * The data says more than run_dir. A supervisor that has it is hidden; without
 * one it is what the kernel keeps of a node.
 */
static void
say_data(const struct ctl *c, const struct ctl_life *l)
{
	bool hidden = strstr(l->data_holders, "supervisor [") != NULL ||
		      strncmp(l->data_holders, "pid ", 4) != 0;

	if (l->data == CTL_DATA_SILENT)
		ctl_say("%s: its file system does not answer: no node is to be "
			"seen in run directory %s, whether one has the data "
			"cannot be told: look at the disk (dmesg, findmnt)",
		    l->data_lock, c->run_dir);
	else if (hidden)
		ctl_say("%s: in use by %s: that node is not to be seen in its "
			"run directory %s: is something mounted over that "
			"(findmnt)? take it away; if run_dir was changed in %s "
			"while it ran, name the one before (-r RUN_DIR)",
		    l->data_lock, l->data_holders, c->run_dir, c->file);
	else
		ctl_say("%s: in use by %s, though no supervisor runs: what is "
			"left of a node ends when the kernel lets it go, look "
			"at its disk (dmesg), and what is no node's is to be "
			"ended; until then none starts",
		    l->data_lock, l->data_holders);
}

int
ctl_say_life(const struct ctl *c, const struct ctl_life *l, int code)
{
	if (code == CTL_DENIED)
		ctl_say("%s: permission denied: be root or the node's user",
		    c->run_dir);
	else if (l->data != CTL_DATA_FREE)
		say_data(c, l);
	else if (code == CTL_FAILED)
		ctl_say("%s: it, or a part of its path, is no directory: "
			"whether a node runs with it is not to be seen from "
			"here: move away what is in its place; a node that "
			"runs makes it again within a second",
		    c->run_dir);
	else if (c->file != NULL)
		ctl_say("no node runs with run directory %s: start it with "
			"nodelifed; if run_dir was changed in %s while it ran, "
			"name the one before (-r RUN_DIR)",
		    c->run_dir, c->file);
	else
		ctl_say("no node runs with run directory %s: start it with "
			"nodelifed, or name another one (-c, -r)",
		    c->run_dir);
	return code;
}

const char *
ctl_printable(char *text)
{
	for (char *p = text; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	return text;
}

/*
 * What is served, or how far a boot or a stop is. What keeps it from more is
 * its reason; is that the first of the troubles that stand?
 */
static bool
say_served(const struct region *r, const struct members_look *m,
    const struct trouble_info *first)
{
	char text[512];
	enum shutdown_step step =
	    atomic_load_explicit(&r->seq->shutdown, memory_order_acquire);
	unsigned stops =
	    first != NULL ? trouble_stops_of(first->kind) : STOPS_NOTHING;
	bool booted = seq_reached(r->seq, PHASE_GATEWAY_ENABLE);

	if (step != SHUTDOWN_NONE) {
		printf("stopping: %s", shutdown_name(step));
		return stops != STOPS_NOTHING;
	}
	if ((stops & STOPS_READS) != 0 &&
	    (booted || first->kind == TROUBLE_BOOT_WAITS ||
		first->kind == TROUBLE_UNJOINED)) {
		printf("not serving");
		return true;
	}
	if (!booted)
		printf("not serving: %s",
		    phase_name(atomic_load_explicit(
			&r->seq->phase, memory_order_acquire)));
	else if (m->view.readonly != 0)
		printf("serving reads only: recovery mode readonly");
	else if (stops != STOPS_NOTHING)
		printf("serving, but no writes");
	else if (members_master_text(m, text, sizeof(text))[0] != '\0')
		printf(
		    "serving, but writes are refused: %s", ctl_printable(text));
	else if (!commit_is_master(r))
		printf("serving, but writes are refused: its role is %s",
		    role_name(m->view.role));
	else if (m->spare < 0)
		printf("serving, but no writes: the group has %s",
		    members_text(m, text, sizeof(text)));
	else
		printf("serving");
	return booted && m->view.readonly == 0 && stops != STOPS_NOTHING;
}

/*
 * Each trouble has a text that says what becomes of writes, and what to do; one
 * may have its cause in another (store_full in checkpoint_failed).
 */
static void
say_state(const struct ctl *c, const struct ctl_life *l)
{
	static struct trouble_info t[TROUBLE_COUNT];
	static struct members_look m;
	char waits[1024];
	unsigned count, i = 0;

	if (!l->has_region || !region_alive(&l->region)) {
		if (pidfile_waits_read(c->run_dir, waits, sizeof(waits)))
			printf("the boot waits: %s\n", waits);
		else
			printf("its region is not to be had\n");
		return;
	}
	count = trouble_list(&l->region, t);
	members_look(&l->region, mono_ns(), &m);
	if (say_served(&l->region, &m, count > 0 ? t : NULL))
		printf(": %s", ctl_printable(t[i++].text));
	printf("\n");
	for (; i < count; i++)
		printf("%s: %s\n", trouble_name(t[i].kind),
		    ctl_printable(t[i].text));
	if (!members_shown(&m))
		return;
	printf("group: %s\n", members_text(&m, waits, sizeof(waits)));
	ctl_members_why(&m);
}

int
ctl_status(const struct ctl *c)
{
	struct ctl_life l;
	int rc = ctl_life(c, &l);

	if (rc == CTL_OK) {
		if (l.pid != 0)
			printf("running, pid %d: ", l.pid);
		else
			printf("running: ");
		say_state(c, &l);
	} else {
		ctl_say_life(c, &l, rc);
	}
	ctl_life_end(&l);
	return rc;
}
