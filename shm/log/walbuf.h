/*
 * The WAL buffer: a circular copy of the newest part of the log, in the very
 * bytes that go to disk (segment headers and pads included). Mapped twice in
 * a row, so no record wraps.
 *
 * A place in it is a log position: a free-running byte count; index =
 * position & (size - 1). Segment bases are block-aligned, so file offset =
 * position - base(segment). wal is the only producer. Readers:
 *  - the store holds what it has not applied: wal never overwrites at or
 *    after `store_hold` (back-pressure on writers, lag is bounded);
 *  - everyone else copies, then re-reads `oldest` (acquire): if the copy was
 *    lapped it is void and the segment file is to be read instead.
 *
 * A cut of the log empties it: `oldest` is where the new segment begins, for
 * the store, too, which has its bytes there until it is through with them.
 */
#ifndef SHM_LOG_WALBUF_H
#define SHM_LOG_WALBUF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/bits.h"

#define WALBUF_SEGMENTS 64 /* newest segments whose base is known */
#define WALBUF_CUTS     4 /* newest cuts of the log that are known */

/* LSN: segment number and byte offset in it. */
static inline uint64_t
lsn_make(uint32_t segment, uint32_t offset)
{
	return (uint64_t)segment << 32 | offset;
}

static inline uint32_t
lsn_segment(uint64_t lsn)
{
	return (uint32_t)(lsn >> 32);
}

static inline uint32_t
lsn_offset(uint64_t lsn)
{
	return (uint32_t)lsn;
}

struct walbuf_head {
	/* W: wal, release after the record's bytes. End of what is readable */
	_Alignas(CACHE_LINE) _Atomic uint64_t appended;
	uint64_t zero1[7];
	/* W: wal, release before bytes below it are overwritten */
	_Alignas(CACHE_LINE) _Atomic uint64_t oldest;
	uint64_t zero2[7];
	/* W: store. Log position of the first record not yet applied */
	_Alignas(CACHE_LINE) _Atomic uint64_t store_hold;
	uint64_t zero3[7];
	/* W: wal. Log position up to which the bytes are on disk */
	_Alignas(CACHE_LINE) _Atomic uint64_t flushed;
	uint64_t zero4[7];
	_Alignas(CACHE_LINE) uint64_t size; /* W: creator; power of two */
	_Atomic uint64_t newest_lsn; /* W: wal. LSN of the log's end */
	_Atomic uint64_t cuts; /* W: wal. cuts of the log begun in this life;
				  release after cut[], before any position is
				  lowered */
	_Atomic uint64_t cuts_done; /* W: wal, when files tell of them, too */
	_Atomic uint64_t cut[WALBUF_CUTS]; /* W: wal. cut number n (from 1) left
					      records up to cut[n % CUTS] */
	/* W: wal. slot = segment % WALBUF_SEGMENTS; base is stored before
	   number (release); number 0 = none */
	struct {
		_Atomic uint64_t number;
		_Atomic uint64_t base;
	} segment[WALBUF_SEGMENTS];
};

/* A process' handle. data is mapped twice: data[0..2*size). */
struct walbuf {
	struct walbuf_head *h;
	uint8_t *data;
	uint64_t size;
};

static inline uint8_t *
walbuf_at(const struct walbuf *wb, uint64_t position)
{
	return wb->data + (position & (wb->size - 1));
}

/*
 * Cuts begun since there were `seen` of them: the lowest VLSN that one left the
 * log with; UINT64_MAX: there was none. *done: how many are through; who asks
 * next goes by that.
 */
uint64_t
walbuf_cut_since(const struct walbuf *wb, uint64_t seen, uint64_t *done);
/* Log position of an LSN if its segment's base is known, else UINT64_MAX. */
uint64_t walbuf_position(const struct walbuf *wb, uint64_t lsn);

#endif
