/*
 * The commit view, as one moment had it, and what follows from it alone: pure
 * (no atomics, no region), so that the group's core can make one and anybody
 * can judge by one. Its shared form is in commit.h.
 */
#ifndef SHM_COMMIT_VIEW_H
#define SHM_COMMIT_VIEW_H

#include <stdint.h>
#include "shm/quorum.h"

#define MEMBER_MAX      16
#define MEMBER_NAME_MAX 64
#define MEMBER_ADDR_MAX 272 /* host name (253), brackets, colon, port */

enum role {
	ROLE_DETACHED = 0,
	ROLE_UNKNOWN = 1,
	ROLE_REPLICA = 2,
	ROLE_MASTER = 3,
	ROLE_SHUTDOWN = 4
};

enum node_type {
	NODE_ELECTABLE = 0,
	NODE_MONITOR = 1,
	NODE_SECONDARY = 2,
	NODE_ARBITER = 3
};

/* A copy of the view, as one moment had it. */
struct commit_view {
	uint64_t term;
	uint64_t lease_until_ns; /* CLOCK_BOOTTIME; UINT64_MAX = needs none
				    (a group of one); 0 = none held */
	uint16_t epoch; /* log epoch */
	uint8_t role; /* enum role */
	uint8_t self; /* own member index; MEMBER_MAX = not a member */
	int8_t master; /* member index, -1 = unknown */
	uint8_t member_count;
	uint16_t voters; /* mask of members whose flush counts */
	uint16_t readonly; /* 1 = recovery mode readonly */
	uint16_t zero[3];
	struct quorum quorum; /* which sets of `voters` commit */
};
_Static_assert(sizeof(struct commit_view) == 96, "packed");

/*
 * Pure: the newest VLSN that a quorum of the voters have in `durable` words of
 * this epoch; 0 = none.
 */
uint64_t
commit_rule(const struct commit_view *view, const uint64_t durable[MEMBER_MAX]);

/* "master", …; "role?" for a number that is none. */
const char *role_name(unsigned role);

#endif
