/*
 * The log's end. A replicated record's CRC is made when it is put, for the
 * records before it are all that it depends on (segment.h); so the chain at
 * the log's end is known at any time, and what a frame must continue. Heads and
 * pads tell what is known when their flush begins: theirs are made then.
 */
#include "shm/log/append.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"

void
append_open(
    struct append *a, const struct walbuf *buf, const struct append_end *end)
{
	ASSERT(is_pow2(buf->size));
	ASSERT(end->vlsn <= VLSN_MASK);
	memset(a, 0, sizeof(*a));
	a->buf = *buf;
	a->end = *end;
	a->taken = UINT64_MAX;
}

/* Give up buffer bytes for n new ones at the log's end. */
static void
take(struct append *a, uint32_t n)
{
	uint64_t end = a->position + n, size = a->buf.size;

	ASSERT(end <= a->taken);
	ASSERT(end - a->segment.base <= a->segment.limit);
	ASSERT(a->oldest <= a->position);
	if (end <= size || end - size <= a->oldest)
		return;
	a->oldest = end - size;
	/* Else the new bytes would lie over themselves. */
	ASSERT(a->oldest <= a->position);
	/* Readers look at it after copying: the fence keeps our later stores
	   to the bytes behind it. Pairs with cursor_valid(). */
	atomic_store_explicit(
	    &a->buf.h->oldest, a->oldest, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

/* Readers find a log position's file by this table; see walbuf.h. */
static void
base_publish(struct append *a)
{
	struct walbuf_head *h = a->buf.h;
	unsigned slot = a->segment.number % WALBUF_SEGMENTS;

	ASSERT(a->segment.number != 0);
	atomic_store_explicit(
	    &h->segment[slot].number, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(
	    &h->segment[slot].base, a->segment.base, memory_order_relaxed);
	/* Pairs with the acquire in walbuf_position(). */
	atomic_store_explicit(
	    &h->segment[slot].number, a->segment.number, memory_order_release);
}

void
append_segment(struct append *a, struct segment_info *info)
{
	ASSERT(!a->batch.open);
	ASSERT(a->position % info->block == 0);
	ASSERT(info->size > 2 * info->block);
	ASSERT(info->size <= SEGMENT_SIZE_MAX);
	info->format = SEGMENT_FORMAT;
	info->first_vlsn = a->end.vlsn + 1;
	info->term_before = a->end.term;
	info->time_before_ms = a->end.time_ms;
	info->prev_crc = a->end.chain;
	ASSERT(segment_info_ok(info));
	a->segment = (struct append_segment){ .base = a->position,
		.life = info->life,
		.number = info->number,
		.block = info->block,
		/* The last block never holds records. */
		.limit = info->size - info->block };
	take(a, info->block);
	segment_encode(append_at(a, a->position), info);
	a->position += info->block;
	ASSERT(append_offset(a) == info->block);
	base_publish(a);
}

void
append_batch_open(struct append *a)
{
	ASSERT(!a->batch.open);
	ASSERT(a->position > a->segment.base);
	take(a, SEGMENT_BATCH_LEN);
	a->batch = (struct append_batch){
		.open = true, .start = a->position, .chain = a->end.chain
	};
	a->position += SEGMENT_BATCH_LEN;
}

/* What was put at the log's end is n bytes long. */
static void
put_done(struct append *a, uint32_t n, uint32_t records)
{
	ASSERT(n % 8 == 0);
	ASSERT(records != 0);
	a->position += n;
	a->batch.records += records;
	if (a->position - a->batch.start >= APPEND_BATCH_BYTES)
		a->batch.full = true;
}

uint64_t
append_put(struct append *a, const struct record *in)
{
	struct append_end *end = &a->end;
	uint8_t *at = append_at(a, a->position);
	uint32_t len = record_len(in->payload_len);
	struct record rec = *in;

	ASSERT(a->batch.open);
	ASSERT(record_replicated(rec.type));
	ASSERT(rec.term >= end->term);
	ASSERT(rec.time_ms >= end->time_ms || rec.type == REC_CLOCK);
	take(a, len);
	rec.vlsn = end->vlsn + 1;
	ASSERT(rec.vlsn <= VLSN_MASK);
	/* Only its payload tells that it knows the time before it. */
	ASSERT(rec.type != REC_CLOCK ||
	       record_follows(&rec, end->vlsn, end->term, end->time_ms) ==
		   FOLLOWS);
	record_encode(at, &rec);
	if (rec.payload_len != 0)
		memcpy(at + REC_HEADER_SIZE, rec.payload, rec.payload_len);
	end->chain = record_seal(at, len, end->chain);
	end->vlsn = rec.vlsn;
	end->term = rec.term;
	end->time_ms = rec.time_ms;
	put_done(a, len, 1);
	return rec.vlsn;
}

void
append_pad(struct append *a)
{
	uint32_t at = append_offset(a), block = a->segment.block, len;

	ASSERT(a->batch.open);
	ASSERT(at % 8 == 0);
	if (at % block == 0)
		return;
	len = (uint32_t)(align_up((uint64_t)at + REC_HEADER_SIZE, block) - at);
	take(a, len);
	pad_encode(append_at(a, a->position), len, a->segment.life, a->end.term,
	    a->end.time_ms);
	(void)record_seal(append_at(a, a->position), len,
	    segment_seed(SEGMENT_FORMAT, a->end.chain, REC_PAD));
	a->position += len;
	ASSERT(append_offset(a) % block == 0);
}

void
append_seal(struct append *a, uint64_t durable, uint64_t committed)
{
	struct append_batch *b = &a->batch;
	struct segment_batch head = { .durable = durable,
		.committed = committed,
		.segment = a->segment.number,
		.offset = (uint32_t)(b->start - a->segment.base),
		.life = a->segment.life,
		.prev_crc = b->chain,
		.length = (uint32_t)(a->position - b->start) };
	uint8_t *at = append_at(a, b->start);

	ASSERT(b->open);
	ASSERT(b->start >= a->segment.base + a->segment.block);
	/* A head tells of what was durable before its own flush. */
	ASSERT(durable + b->records <= a->end.vlsn);
	ASSERT(head.length >= SEGMENT_BATCH_LEN);
	ASSERT(head.length <= SEGMENT_FLIGHT_WINDOW);
	ASSERT(head.length % 8 == 0);
	batch_encode(at, &head, a->end.term, a->end.time_ms);
	(void)record_seal(at, SEGMENT_BATCH_LEN,
	    segment_seed(SEGMENT_FORMAT, b->chain, REC_BATCH));
	b->open = b->full = false;
}

bool
append_publish(struct append *a, struct positions *pos)
{
	struct walbuf_head *h = a->buf.h;

	ASSERT(a->position >= a->published);
	if (a->position == a->published)
		return false;
	ASSERT(a->position - a->oldest <= a->buf.size);
	a->published = a->position;
	atomic_store_explicit(&h->newest_lsn,
	    lsn_make(a->segment.number, append_offset(a)),
	    memory_order_relaxed);
	/* The bytes before it: pairs with the acquire of readers. */
	atomic_store_explicit(&h->appended, a->position, memory_order_release);
	position_set(&pos->clock_ms, (uint64_t)a->end.time_ms);
	position_set(&pos->wal_bytes, a->position);
	/* Last: who knows of a VLSN finds its bytes and its time. */
	position_set(&pos->appended, a->end.vlsn);
	return true;
}

/* ---- records as received ---- */

const char *
frame_verdict_text(enum frame_verdict v)
{
#define FRAME_TEXT(name, text) [FRAME_##name] = text,
	static const char *const texts[] = { FRAME_VERDICTS(FRAME_TEXT) };
#undef FRAME_TEXT

	return (unsigned)v < FRAME_VERDICT_COUNT ? texts[v] : "frame?";
}

/* Its bytes are no record that this release knows: does the chain know it? */
static enum frame_verdict
stranger(const struct append_end *at, const uint8_t *data, size_t n)
{
	uint32_t len = get_le32(data + REC_LEN_OFF);

	if (!record_len_ok(len))
		return FRAME_SHAPE;
	if (len > n)
		return FRAME_SHORT;
	return record_chains(data, len, at->chain) ? FRAME_UNKNOWN
						   : FRAME_SHAPE;
}

static enum frame_verdict
verdict_of(enum record_follows follows)
{
	switch (follows) {
	case FOLLOWS:
		break;
	case FOLLOWS_NOT_VLSN:
		return FRAME_VLSN;
	case FOLLOWS_NOT_TERM:
		return FRAME_TERM;
	case FOLLOWS_NOT_TIME:
		return FRAME_TIME;
	}
	return FRAME_OK;
}

/* One record of a frame, at most n bytes long, behind *at. */
static enum frame_verdict
frame_record(struct append_end *at, const uint8_t *data, size_t n,
    uint64_t term_max, uint32_t *len)
{
	struct record rec;
	int rc = record_decode(data, n, &rec);
	enum frame_verdict v;

	if (rc == -EAGAIN)
		return FRAME_SHORT;
	if (rc != 0)
		return stranger(at, data, n);
	if (!record_replicated(rec.type))
		return FRAME_TYPE;
	if (!record_chains(data, rec.len, at->chain))
		return FRAME_CHAIN;
	v = verdict_of(record_follows(&rec, at->vlsn, at->term, at->time_ms));
	if (v != FRAME_OK)
		return v;
	if (rec.term > term_max)
		return FRAME_TERM_AHEAD;
	*at = (struct append_end){ .vlsn = rec.vlsn,
		.term = rec.term,
		.time_ms = rec.time_ms,
		.chain = rec.crc };
	*len = rec.len;
	return FRAME_OK;
}

enum frame_verdict
frame_check(
    struct append_end *at, const uint8_t *data, size_t n, uint64_t term_max)
{
	enum frame_verdict v = n == 0 ? FRAME_EMPTY : FRAME_OK;
	struct append_end end = *at;
	size_t done = 0;
	uint32_t len;

	if (n > APPEND_FRAME_MAX)
		return FRAME_LONG;
	for (; v == FRAME_OK && done < n; done += len) {
		len = 0;
		v = frame_record(&end, data + done, n - done, term_max, &len);
	}
	if (v == FRAME_OK)
		*at = end;
	return v;
}

bool
frame_next(const uint8_t *data, size_t n, size_t *at, struct record *out)
{
	if (*at >= n || record_decode(data + *at, n - *at, out) != 0)
		return false;
	*at += out->len;
	return true;
}

enum frame_verdict
append_frame_put(
    struct append *a, const uint8_t *data, size_t n, uint64_t term_max)
{
	struct append_end end = a->end;
	enum frame_verdict v = frame_check(&end, data, n, term_max);

	ASSERT(a->batch.open);
	if (v != FRAME_OK)
		return v;
	/* What a frame that was checked must have done to the log's end. */
	ASSERT(end.vlsn > a->end.vlsn);
	ASSERT(end.term >= a->end.term);
	ASSERT(end.term <= term_max);
	take(a, (uint32_t)n);
	memcpy(append_at(a, a->position), data, n);
	put_done(a, (uint32_t)n, (uint32_t)(end.vlsn - a->end.vlsn));
	a->end = end;
	return FRAME_OK;
}

/* ---- a cut ---- */

void
append_cut(struct append *a, const struct append_end *end)
{
	ASSERT(!a->batch.open);
	ASSERT(end->vlsn <= a->end.vlsn);
	ASSERT(end->term <= a->end.term);
	a->end = *end;
	a->position = align_up(a->position, a->segment.block);
	ASSERT(a->position >= a->oldest);
	a->oldest = a->position;
	/* Before `appended` tells of what comes: pairs with its acquire. */
	atomic_store_explicit(
	    &a->buf.h->oldest, a->oldest, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
}
