/*
 * Being fed: the master's records are appended byte for byte, go the way of any
 * flush, and what is durable then is acknowledged. A frame's records are taken
 * as they come, whole ones, before the frame is; what there is no room for
 * waits where it was received, and then in the socket.
 *
 * Bytes of the wire reach no ASSERT: what link_core or frame_check() refuses
 * ends the connection, by name.
 */
#include "workers/wal/data.h"

#include "shm/assert.h"
#include "workers/wal/wal.h"

#define TAKE_BYTES (64u * 1024) /* at a time, but for one that is longer */

bool
receive_open(struct wal *w, struct data_conn *c)
{
	const struct msg_data_hello *d = &c->link.data;

	if (d->vlsn != w->log.end.vlsn || d->vlsn_term != w->log.end.term ||
	    d->crc != w->log.end.chain)
		data_end(w, c, REFUSED_TICKET,
		    "the log ends at record %ju, not as agreed at %ju",
		    (uintmax_t)w->log.end.vlsn, (uintmax_t)d->vlsn);
	return c->state == DATA_OPEN;
}

/* May anything be appended now? Says so where the disk is full. */
static bool
takes(struct wal *w)
{
	if (w->phase != WAL_APPENDING || w->away.away || w->stopping ||
	    wal_cutting(w))
		return false;
	if (!wal_keeper_full(w))
		return true;
	wal_full_tell(w, true);
	return false;
}

/* What wal itself, and those it wakes, have to do with these records. */
static void
note(struct wal *w, const uint8_t *data, uint32_t n, uint64_t term)
{
	struct record rec;
	bool clock = false;
	size_t at = 0;

	while (frame_next(data, n, &at, &rec)) {
		if (rec.term != term)
			wal_term_begins(w, rec.term, rec.vlsn);
		term = rec.term;
		wal_record_note(w, rec.vlsn, rec.type, false);
		clock |= rec.type == REC_CLOCK;
		w->parts_open = rec.type == REC_PART;
	}
	/* Log time is the log's: it never falls behind it, but by a record. */
	if (clock || w->clock.ms < w->log.end.time_ms)
		log_clock_open(&w->clock, w->log.end.time_ms, mono_ns());
}

/*
 * How many bytes of whole records are there, of n that came and `left` that
 * the frame still has? 0: not one. FRAME_OK, or what is wrong.
 */
static enum frame_verdict
whole(const uint8_t *at, uint32_t n, uint32_t left, uint32_t *bytes)
{
	uint32_t len;

	for (*bytes = 0; n - *bytes >= REC_VLSN_OFF; *bytes += len) {
		len = get_le32(at + *bytes + REC_LEN_OFF);
		/* Behind what is good: that is told of the next ones. */
		if (!record_len_ok(len) || len > left - *bytes) {
			if (*bytes != 0)
				break;
			return record_len_ok(len) ? FRAME_SHORT : FRAME_SHAPE;
		}
		if (len > n - *bytes ||
		    (*bytes != 0 && *bytes + len > TAKE_BYTES))
			break;
	}
	return FRAME_OK;
}

static void
refused(struct wal *w, struct data_conn *c, enum frame_verdict v)
{
	data_end(w, c, REFUSED_NONSENSE, "frame behind record %ju: %s",
	    (uintmax_t)w->log.end.vlsn, frame_verdict_text(v));
}

/* n bytes of whole records, for which there is room. */
static void
append(struct wal *w, struct data_conn *c, uint32_t n)
{
	const uint8_t *at = c->in + c->in_at;
	uint64_t term = w->log.end.term, vlsn = w->log.end.vlsn;
	struct link_out out;
	enum frame_verdict v;

	link_take(&c->link, at, n, w->loop.now_ns, &w->data.msg, &out);
	ASSERT(out.what == LINK_LOG);
	ASSERT(out.used == n);
	wal_sample_next(w);
	v = append_frame_put(&w->log, at, n, c->term);
	if (v != FRAME_OK) {
		refused(w, c, v);
		return;
	}
	c->in_at += n;
	c->bytes += n;
	note(w, at, n, term);
	wal_count(w, C_WAL_RECORDS, w->log.end.vlsn - vlsn);
	wal_count(w, C_WAL_BYTES, n);
	wal_count(w, C_TAKEN_BYTES, n);
	if (w->log.end.vlsn > c->last ||
	    (out.log_end && w->log.end.vlsn != c->last))
		data_end(w, c, REFUSED_NONSENSE,
		    "frame up to record %ju: it has others",
		    (uintmax_t)c->last);
}

/* Records of the present frame. False: there is nothing to be done now. */
static bool
take_records(struct wal *w, struct data_conn *c)
{
	uint32_t n = c->in_len - c->in_at, left = c->link.log_left, bytes;
	enum frame_verdict v;

	if (n > left)
		n = left;
	v = whole(c->in + c->in_at, n, left, &bytes);
	if (v != FRAME_OK) {
		refused(w, c, v);
		return false;
	}
	if (bytes == 0) {
		/* The rest of one: it would wait for ever for what is none. */
		if (n == left)
			refused(w, c, FRAME_SHORT);
		return false;
	}
	if (!takes(w) || !wal_room(w, bytes)) {
		c->blocked = true;
		return false;
	}
	append(w, c, bytes);
	return c->state == DATA_OPEN;
}

static void
on_frame(struct wal *w, struct data_conn *c, const struct msg_frame *m)
{
	if (m->term != c->term) {
		data_end(w, c, REFUSED_STATE, "frame: of term %ju, not %ju",
		    (uintmax_t)m->term, (uintmax_t)c->term);
		return;
	}
	if (m->first != 0 && m->first != w->log.end.vlsn + 1) {
		refused(w, c, FRAME_VLSN);
		return;
	}
	wal_count(w, C_TAKEN_FRAMES, 1);
	c->last = m->last;
	if (m->committed > c->committed)
		c->committed = m->committed;
}

/* A message, or what comes instead of one. False: nothing more now. */
static bool
take_message(struct wal *w, struct data_conn *c)
{
	struct link_out out;

	link_take(&c->link, c->in + c->in_at, c->in_len - c->in_at,
	    w->loop.now_ns, &w->data.msg, &out);
	c->in_at += (uint32_t)out.used;
	if (out.what == LINK_DROP)
		data_dropped(w, c, &out);
	else if (out.what == LINK_MESSAGE && out.type == MSG_FRAME)
		on_frame(w, c, &w->data.msg.frame);
	else if (out.what == LINK_MESSAGE && out.type == MSG_FEED_END)
		data_end(w, c, PEER_ENDED_FEED + w->data.msg.feed_end.reason,
		    "the master ends it");
	else
		return false;
	return c->state == DATA_OPEN;
}

/*
 * Raise `committed` to what the master tells, as far as it is in this log, and
 * in the epoch of this connection only.
 */
static void
commit(struct wal *w, struct data_conn *c)
{
	_Atomic uint64_t *word = &w->r->pos->committed.v;
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);
	uint64_t to = c->committed;

	if (to > w->log.end.vlsn)
		to = w->log.end.vlsn;
	do {
		if (word_epoch(now) != c->epoch || word_vlsn(now) >= to)
			return;
	} while (!atomic_compare_exchange_weak_explicit(word, &now,
	    epoch_word(c->epoch, to), memory_order_acq_rel,
	    memory_order_relaxed));
	wal_bells_committed(w);
}

void
wal_receive_turn(struct wal *w)
{
	struct data_conn *c;
	bool was, more = true;

	if (w->data.receiver < 0)
		return;
	c = &w->data.conn[w->data.receiver];
	was = c->blocked;
	c->blocked = false;
	while (more && c->in_at < c->in_len)
		more = c->link.log_left > 0 ? take_records(w, c)
					    : take_message(w, c);
	/* It was this node that took nothing: no silence of the other's. */
	if (was && !c->blocked && c->link.part_ns != 0)
		c->link.part_ns = w->loop.now_ns;
	wal_publish_appended(w);
	if (c->state != DATA_OPEN)
		return;
	atomic_store_explicit(
	    &data_row(w, c)->matched, w->log.end.vlsn, memory_order_relaxed);
	commit(w, c);
}

bool
wal_receive_ready(const struct wal *w)
{
	return w->data.receiver >= 0 &&
	       w->data.conn[w->data.receiver].blocked &&
	       w->phase == WAL_APPENDING && !w->log.batch.full &&
	       !w->away.away && !wal_cutting(w) && !w->stopping &&
	       !wal_keeper_full(w) &&
	       (w->need_room == 0 || wal_buffer_room(w) >= w->need_room);
}

void
receive_send(struct wal *w, struct data_conn *c)
{
	struct msg_ack ack = { .term = c->term,
		.appended = w->log.end.vlsn,
		.durable = w->durable };
	uint16_t epoch = word_epoch(position_get(&w->r->pos->committed));
	int n;

	/* An epoch that is over acknowledges nothing: a fence is coming. */
	if (c->sending || epoch != c->epoch || w->phase == WAL_FAILED ||
	    (c->any && w->durable <= c->said))
		return;
	n = link_send(&c->link, MSG_ACK, &ack, c->head, sizeof(c->head));
	ASSERT(n > 0);
	c->any = true;
	c->said = w->durable;
	wal_count(w, C_TAKEN_ACKS, 1);
	atomic_store_explicit(
	    &data_row(w, c)->acked, w->durable, memory_order_release);
	data_send(w, c, (uint32_t)n, 0);
}
