/*
 * Positions: how far something got, as VLSNs, one writer and one cache line
 * each. A word that depends on the role it was reached in carries the log
 * epoch in its top 16 bits, so nothing counts under a role that is over.
 */
#ifndef SHM_POSITION_H
#define SHM_POSITION_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/assert.h"
#include "shm/bits.h"

#define VLSN_BITS 48
#define VLSN_MASK ((UINT64_C(1) << VLSN_BITS) - 1)

static inline uint64_t
epoch_word(uint16_t epoch, uint64_t vlsn)
{
	ASSERT(vlsn <= VLSN_MASK);
	return (uint64_t)epoch << VLSN_BITS | vlsn;
}

static inline uint16_t
word_epoch(uint64_t word)
{
	return (uint16_t)(word >> VLSN_BITS);
}

static inline uint64_t
word_vlsn(uint64_t word)
{
	return word & VLSN_MASK;
}

/* Epochs are counted round: the older one is the one a few steps behind. */
static inline bool
epoch_older(uint16_t a, uint16_t b)
{
	return (int16_t)(uint16_t)(a - b) < 0;
}

/* W: as struct positions says of each, release. R: all, acquire. */
struct position {
	_Alignas(CACHE_LINE) _Atomic uint64_t v;
	uint64_t zero[7];
};

/* What the store takes of clients' writes, for gateways: before the append. */
enum refuses {
	REFUSES_NOTHING = 0,
	REFUSES_GROWTH = 1, /* all but what frees room: op_frees() */
	REFUSES_DELETES = 2, /* all but FLUSHALL */
	REFUSES_ALL = 3 /* a FLUSHALL, too: it would not be applied either */
};

struct positions {
	struct position appended; /* W: wal. newest VLSN in the buffer */
	struct position durable; /* W: wal. newest VLSN on disk, plain */
	struct position committed; /* W: commit_advance() by CAS, group on
				      role change. epoch word */
	struct position term_start; /* W: wal. epoch word: VLSN of the first
				       record of the current term */
	struct position applied; /* W: store. newest VLSN in the table */
	struct position resolved; /* W: store. newest VLSN that DBSIZE is
				     exact for */
	struct position frozen; /* W: store. VLSN of the frozen table,
				   0 = none is frozen */
	struct position checkpointed; /* W: checkpoint. VLSN in LMDB */
	struct position store_used; /* W: checkpoint. bytes of its file that are
				       in use, as of `checkpointed` */
	struct position refuses; /* W: store. enum refuses */
	struct position room; /* W: store. bytes of the table that writes which
				 are not applied yet may reach, of all gateways
				 together; 3/4 of a generation or more = none is
				 being written */
	struct position unreadable; /* W: who meets it. mono_ns of the last read
				       of the checkpoint that the disk did not
				       give; the store clears it, 0 = none */
	struct position indexed; /* W: vlsn. VLSN in the index file */
	struct position first; /* W: wal. oldest VLSN still in the log */
	struct position apply_wanted; /* W: readers, max by CAS. A VLSN that
					 somebody waits to see applied */
	struct position commit_waited; /* W: gateways, bit i gateway i, which
					  clears it when it starts: set
					  while it waits for `committed` */
	struct position urgent; /* W: wal. newest VLSN whose commit wakes the
				   store at once */
	struct position urgent_rung; /* W: commit_wake, raised by CAS. it was
					woken for up to there */
	struct position group_waits; /* W: wal; commit_wake clears it by CAS.
					VLSN whose commit wakes group, 0 = none
				      */
	struct position clock_ms; /* W: wal. time of the newest record */
	struct position clock_meet; /* W: wal. CLOCK_MONOTONIC ns when the wall
				       clock comes up with log time, 0 = it has;
				       log_clock.h */
	struct position clock_back; /* W: wal, after both. CLOCK_MONOTONIC ns
				       when log time went back; 0 = never */
	struct position wal_bytes; /* W: wal. bytes appended since boot */
	struct position checkpoint_bytes; /* W: store. wal_bytes when the last
					 freeze happened */
	struct position flight_ns; /* W: wal. when the oldest flush that is in
				      flight was submitted; 0 = none is */
	struct position flight_vlsn; /* W: wal, before flight_ns. its newest
					VLSN */
	struct position member; /* W: wal. VLSN of the newest REC_MEMBER in
				   the log, 0 = none */
	struct position filed; /* W: group. that VLSN, once the members file
				  holds the record durably: the log may go */
	struct position serving; /* W: restore, and the supervisor when that is
				    dead. Oldest VLSN that a member is still to
				    be sent from segment files, 0 = none: wal
				    keeps it for a while */
	struct position generation; /* W: wal and then group, at boot */
	struct position raised; /* W: the same. 1 = this boot began it */
	struct position term; /* W: wal, at boot. the newest term that the log
				 tells of; force: or the checkpoint */
};

static inline uint64_t
position_get(const struct position *p)
{
	return atomic_load_explicit(&p->v, memory_order_acquire);
}

static inline void
position_set(struct position *p, uint64_t v)
{
	atomic_store_explicit(&p->v, v, memory_order_release);
}

/* Raise to v; never lowers. */
static inline void
position_raise(struct position *p, uint64_t v)
{
	uint64_t cur = atomic_load_explicit(&p->v, memory_order_relaxed);

	while (cur < v && !atomic_compare_exchange_weak_explicit(&p->v, &cur, v,
			      memory_order_acq_rel, memory_order_relaxed))
		;
}

#endif
