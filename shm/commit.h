/*
 * Commit view and commit rule.
 *
 * group alone writes the view, under a sequence count. Everyone may advance
 * `committed`: whoever learns the last missing fact computes the newest
 * committable record from the members' words and raises the position by
 * compare-and-swap; an older epoch fails. A record is committable when
 * a commit quorum has it durable and it is of the current term
 * (Ongaro, Raft, section 5.4.2: only records of the leader's term are
 * committed by counting).
 */
#ifndef SHM_COMMIT_H
#define SHM_COMMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/bits.h"
#include "shm/quorum.h"

#define MEMBER_MAX      16
#define MEMBER_NAME_MAX 64

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

/* The shared form. W: group. R: all, by sequence count. */
struct commit_state {
	_Alignas(CACHE_LINE) _Atomic uint32_t seq; /* word[seq & 1] is whole */
	uint8_t pad[60];
	_Alignas(CACHE_LINE) _Atomic uint64_t
	    word[2][sizeof(struct commit_view) / 8];
	/* W: the member's reporter (self: wal; others: group). epoch word */
	struct {
		_Alignas(CACHE_LINE) _Atomic uint64_t durable;
		uint64_t zero[7];
	} member[MEMBER_MAX];
	/* W: group, before the view that names them. */
	char name[MEMBER_MAX][MEMBER_NAME_MAX];
};

struct region;

void commit_view_read(const struct commit_state *cs, struct commit_view *out);
/* group only. */
void commit_view_write(struct commit_state *cs, const struct commit_view *in);

/*
 * Pure: the newest VLSN that a quorum of the voters have in `durable` words of
 * this epoch; 0 = none.
 */
uint64_t
commit_rule(const struct commit_view *view, const uint64_t durable[MEMBER_MAX]);

/*
 * Raise `committed` as far as the rule allows. True if this call raised it.
 * No lock, no system call; the caller rings whoever waits.
 */
bool commit_advance(struct region *r);
/* The committed VLSN, whatever its epoch. */
uint64_t commit_vlsn(const struct region *r);
/*
 * May this node append, and serve linearizable reads? The second needs the
 * term's first record committed and applied, and a valid lease.
 */
bool commit_is_master(const struct region *r);
bool commit_can_read(const struct region *r);
/* Are reads served: these, or, in recovery mode readonly, the checkpoint's? */
bool commit_serves_reads(const struct region *r);

/* "master", …; "role?" for a number that is none. */
const char *role_name(unsigned role);

#endif
