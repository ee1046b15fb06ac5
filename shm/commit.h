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

#define ENDED_MAX 16 /* masterships of one boot whose end is remembered */

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
	char client[MEMBER_MAX][MEMBER_ADDR_MAX]; /* "" = none is told */
	/*
	 * W: group, before the view that shows it. Masterships of this node
	 * that are over, the oldest is overwritten; term stored last, release.
	 */
	struct {
		_Atomic uint64_t term; /* 0 = none */
		_Atomic uint64_t vlsn; /* newest committed by then */
	} ended[ENDED_MAX];
	_Atomic uint64_t ended_count; /* W: group. R: gateways */
	_Atomic uint64_t group_id; /* W: group, before its first view. R: all.
				      The first 8 bytes of the group's uuid, as
				      they stand there; 0 = of no group yet */
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
 * Of records that this node appended as master of `term`: the newest VLSN that
 * was committed before that mastership was over. A VLSN alone says nothing: it
 * may be another record's by now. True: it is over, *vlsn is final; 0 then,
 * if its end is not remembered.
 */
bool commit_of_term(const struct region *r, uint64_t term, uint64_t *vlsn);
/*
 * group only, after it has raised the epoch of `committed` and before a view
 * shows it: the mastership of that term is over.
 */
void commit_term_ended(struct region *r, uint64_t term);
/*
 * May this node append, and serve linearizable reads? The second needs the
 * term's first record committed and applied, and a valid lease.
 */
bool commit_is_master(const struct region *r);
bool commit_can_read(const struct region *r);
/*
 * The same; and whether that held all along is asked once more behind the read:
 * *term, which needs a lease, is to hold it still then. 0 = it needs none.
 */
bool commit_read_term(const struct region *r, uint64_t *term);
bool commit_holds_lease(const struct region *r, uint64_t term);
/* Are reads served: these, or, in recovery mode readonly, the checkpoint's? */
bool commit_serves_reads(const struct region *r);

#endif
