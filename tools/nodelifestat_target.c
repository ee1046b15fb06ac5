/*
 * nodelifestat: finding the region, and following a node that boots again.
 */
#include "tools/nodelifestat.h"

#include <errno.h>
#include <string.h>

#include "shm/pidfile.h"

static void
run_dir_of(const struct stat_target *t, char *dir)
{
	strlcpy(dir, t->path, sizeof(t->path));
	*strrchr(dir, '/') = '\0';
}

/* No region is no proof that there is no node. */
static void
tell_life(const struct stat_target *t, char *why, size_t why_size)
{
	char dir[sizeof(t->path)];
	int pid;

	run_dir_of(t, dir);
	if (pidfile_holder(dir, &pid) == 1)
		snprintf(why, why_size,
		    "%s: the node runs (pid %d), but its region is not "
		    "there: it has one again after its next boot; until then "
		    "nodelifectl and the health port answer",
		    t->path, pid);
}

/*
 * A node that waits for memory has no region; what is there is of the life
 * before, and with no memory left not even all of that can be read.
 */
static bool
tell_waits(const struct stat_target *t, char *why, size_t why_size)
{
	char dir[sizeof(t->path)], text[1024];
	int pid;

	run_dir_of(t, dir);
	if (!pidfile_waits_read(dir, text, sizeof(text)) ||
	    pidfile_holder(dir, &pid) != 1)
		return false;
	snprintf(why, why_size, "the node (pid %d) waits: %s", pid, text);
	return true;
}

int
target_attach(struct stat_target *t, char *why, size_t why_size)
{
	int rc;

	target_close(t);
	if (t->by_link && tell_waits(t, why, why_size))
		return -ENOENT;
	rc = region_attach(&t->region, t->path, why, why_size);
	t->attached = rc == 0;
	if (rc == -ENOENT && t->by_link)
		tell_life(t, why, why_size);
	return rc;
}

void
target_close(struct stat_target *t)
{
	if (t->attached)
		region_unmap(&t->region);
	t->attached = false;
}

bool
target_follow(struct stat_target *t)
{
	struct region other;
	char why[256];

	if (!t->by_link || life_of(&t->region) == LIFE_LIVE ||
	    region_attach(&other, t->path, why, sizeof(why)) != 0)
		return false;
	if (memcmp(other.head->boot_id, t->region.head->boot_id,
		sizeof(other.head->boot_id)) == 0) {
		region_unmap(&other);
		return false;
	}
	region_unmap(&t->region);
	t->region = other;
	return true;
}
