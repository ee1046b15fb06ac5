/*
 * Names of node states, as logs, pages and tools print them.
 */
#include "shm/commit_view.h"

#include "shm/assert.h"

static const char *const role_names[] = {
	[ROLE_DETACHED] = "detached",
	[ROLE_UNKNOWN] = "unknown",
	[ROLE_REPLICA] = "replica",
	[ROLE_MASTER] = "master",
	[ROLE_SHUTDOWN] = "shutdown",
};
_Static_assert(NITEMS(role_names) == ROLE_SHUTDOWN + 1, "names");

const char *
role_name(unsigned role)
{
	return role < NITEMS(role_names) ? role_names[role] : "role?";
}
