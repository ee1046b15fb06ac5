/*
 * The end of a log, and the two ways of putting replicated records behind it:
 * one of this node's own making gets the next VLSN and its CRC here; those that
 * another node made are appended as they were received, byte for byte, if they
 * continue the log, so that (VLSN, term, chain) is the same on both.
 *
 * An owner has one struct append for one log, and calls in this order:
 *	append_open()		where the bytes go, and the log's end
 *	append_segment()	a header; again each time a segment is full
 *	append_batch_open()	a batch: room for its head
 *	append_put(), append_frame_put()	records
 *	append_pad()		maybe: to the end of the block
 *	append_seal()		the head is filled in: [start, position) may go
 *				to the disk
 *	append_publish()	readers may see it; at any time
 * What each takes of the buffer and of the segment the owner has looked for
 * before (append_room(), append_left()).
 *
 * Nothing here blocks, allocates, logs or knows the time; there is no state
 * but the owner's.
 */
#ifndef SHM_LOG_APPEND_H
#define SHM_LOG_APPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/log/segment.h"
#include "shm/log/walbuf.h"
#include "shm/position.h"

#define APPEND_BATCH_BYTES (256u * 1024) /* a batch is full from here on */
#define APPEND_FRAME_MAX   REC_LEN_MAX /* so each record fits into one */

/* A place in a log, as every member has it: what stands there, stands at v. */
struct append_end {
	uint64_t vlsn; /* newest record */
	uint64_t term; /* of that record */
	int64_t time_ms; /* of that record */
	uint32_t chain; /* its CRC: seeds the next one */
};

/* What is being written. */
struct append_segment {
	uint64_t base; /* log position of its first byte, on a block */
	uint64_t life;
	uint32_t number;
	uint32_t block;
	uint32_t limit; /* bytes that may hold records */
};

/* What the next flush carries: [start, position). */
struct append_batch {
	bool open;
	bool full; /* nothing more goes in */
	uint64_t start; /* log position of its head */
	uint32_t chain; /* there */
	uint32_t records;
};

struct append {
	struct walbuf buf; /* the region stays the owner's */
	struct append_end end;
	uint64_t position; /* log position behind all that is in the buffer */
	uint64_t published; /* position that readers know */
	uint64_t oldest; /* position of the oldest byte still there */
	uint64_t taken; /* position up to which the buffer has memory;
			   UINT64_MAX: all of it has. The owner's */
	struct append_segment segment;
	struct append_batch batch;
};

/*
 * An empty buffer from position 0 on, behind the record `end` tells of. `buf`
 * is copied; what it leads to must outlive *a.
 */
void append_open(
    struct append *a, const struct walbuf *buf, const struct append_end *end);
/*
 * Lay a segment's header at the log's end, which is on a block. Of *info the
 * caller has set what is none of the log's end (uuid, life, number, block,
 * size, the one it continues, member, begun); the rest is filled in here.
 */
void append_segment(struct append *a, struct segment_info *info);
void append_batch_open(struct append *a);
/*
 * A record of this node's own: it gets the next VLSN, which is returned, and
 * its CRC. Of *rec count term and time, which are not below the log's (but a
 * CLOCK record's time), origin, type, flags, bound and the payload, which is
 * the caller's.
 */
uint64_t append_put(struct append *a, const struct record *rec);
/* Fill the block. Of the open batch, to be sealed next. */
void append_pad(struct append *a);
/* Nothing goes into the open batch any more: its head tells these two. */
void append_seal(struct append *a, uint64_t durable, uint64_t committed);
/* Let readers see what was appended. False: they do already. */
bool append_publish(struct append *a, struct positions *pos);

/* ---- records as received ---- */

/* Why a frame is refused: each with its text; the numbers are nobody's. */
#define FRAME_VERDICTS(X)                                                      \
	X(OK, "it continues the log")                                          \
	X(EMPTY, "it holds no record")                                         \
	X(LONG, "it is longer than a frame may be")                            \
	X(SHORT, "it ends inside a record")                                    \
	X(SHAPE, "what is in it is no record")                                 \
	X(UNKNOWN, "a record in it is of a newer release")                     \
	X(TYPE, "a record in it is of one log only")                           \
	X(CHAIN, "a CRC does not continue the chain")                          \
	X(VLSN, "a VLSN is not the one behind the newest")                     \
	X(TERM, "a term is below that of the record before it")                \
	X(TERM_AHEAD, "a term is above the one it may be of")                  \
	X(TIME, "a time is below that of the record before it")

#define FRAME_ENUM(name, text) FRAME_##name,
enum frame_verdict { FRAME_VERDICTS(FRAME_ENUM) FRAME_VERDICT_COUNT };
#undef FRAME_ENUM

const char *frame_verdict_text(enum frame_verdict v);

/*
 * Pure: may these bytes, n of them, come behind *at? All of them, each record
 * whole, none of a term above term_max. FRAME_OK: *at is the place behind them;
 * else nothing has changed. The bytes may be anything; they must not change
 * while this and append_frame_put() read them.
 */
enum frame_verdict frame_check(
    struct append_end *at, const uint8_t *data, size_t n, uint64_t term_max);
/*
 * Append a frame into the open batch, which has room for it. FRAME_OK; else
 * nothing has changed. The records are walked with frame_next() by whoever
 * wants to know of them.
 */
enum frame_verdict append_frame_put(
    struct append *a, const uint8_t *data, size_t n, uint64_t term_max);
/* The records of a frame that was good. False: there are no more. */
bool frame_next(const uint8_t *data, size_t n, size_t *at, struct record *out);

/* ---- a cut ---- */

/*
 * The log ends at `end` from here on, which is at or below its end now. All of
 * it is on disk and no batch is open. The buffer is empty for whoever reads it:
 * the position goes on from the next block, and append_segment() is the next
 * call. What the owner does in front of it: workers/wal/wal_cut.c.
 */
void append_cut(struct append *a, const struct append_end *end);

/* ---- room ---- */

static inline uint8_t *
append_at(const struct append *a, uint64_t position)
{
	return walbuf_at(&a->buf, position);
}

/*
 * Bytes that can be put at the log's end without overwriting what is at or
 * above `hold`, and into pages that have memory.
 */
static inline uint64_t
append_room(const struct append *a, uint64_t hold)
{
	uint64_t end = hold + a->buf.size;

	return (end < a->taken ? end : a->taken) - a->position;
}

/* Offset in its file of what comes next. */
static inline uint32_t
append_offset(const struct append *a)
{
	return (uint32_t)(a->position - a->segment.base);
}

/* Bytes that records may still take in the segment. */
static inline uint32_t
append_left(const struct append *a)
{
	uint32_t used = append_offset(a);

	return used < a->segment.limit ? a->segment.limit - used : 0;
}

#endif
