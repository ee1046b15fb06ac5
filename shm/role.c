/*
 * Names of node states and node types, as logs, pages and tools print them.
 */
#include "shm/commit.h"

#include "shm/assert.h"

static const char *const role_names[] = {
	[ROLE_DETACHED] = "detached",
	[ROLE_UNKNOWN] = "unknown",
	[ROLE_REPLICA] = "replica",
	[ROLE_MASTER] = "master",
	[ROLE_SHUTDOWN] = "shutdown",
};
_Static_assert(NITEMS(role_names) == ROLE_SHUTDOWN + 1, "names");

static const char *const type_names[] = {
	[NODE_ELECTABLE] = "electable",
	[NODE_MONITOR] = "monitor",
	[NODE_SECONDARY] = "secondary",
	[NODE_ARBITER] = "arbiter",
};
_Static_assert(NITEMS(type_names) == NODE_ARBITER + 1, "names");

const char *
role_name(unsigned role)
{
	return role < NITEMS(role_names) ? role_names[role] : "role?";
}

const char *
node_type_name(unsigned type)
{
	return type < NITEMS(type_names) ? type_names[type] : "type?";
}
