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
#include "shm/commit_view.h"

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

#endif
