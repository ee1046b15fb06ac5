/*
 * Feeding another member: what is in the buffer goes out as frames, straight
 * from there, in the same system call as the flush of it: a frame waits for
 * nothing but the window and the frame before it. What is sent and not
 * committed may be lost by both, and by this node alone, too.
 *
 * In the way of nobody: who does not take what is sent has at most one frame in
 * the kernel and `window` bytes under way; the buffer goes on over what it was
 * not sent yet, and then the connection ends (FEED_LAPPED).
 */
#include "workers/wal/data.h"

#include <string.h>

#include "shm/assert.h"
#include "workers/wal/wal.h"

/* Does the log hold what both have agreed on? */
static bool
matches(const struct wal *w, const struct data_conn *c)
{
	const struct msg_data_hello *d = &c->link.data;
	const struct append *log = &w->log;
	struct wal_place place;
	uint64_t at = c->position;

	if (d->vlsn == log->end.vlsn)
		return d->vlsn_term == log->end.term &&
		       d->crc == log->end.chain;
	while (wal_buffer_step(w, &at, &place))
		if (place.replicated)
			return place.vlsn == d->vlsn + 1 &&
			       record_chains(
				   append_at(log, place.at), place.len, d->crc);
	return false;
}

bool
feed_open(struct wal *w, struct data_conn *c)
{
	c->sent = c->before.last = c->link.data.vlsn;
	c->held = UINT64_MAX;
	c->position = wal_buffer_find(w, c->sent + 1);
	if (c->position == UINT64_MAX && c->sent <= w->log.end.vlsn) {
		wal_count(w, C_FEED_LAPPED, 1);
		data_end(w, c, PEER_ENDED_FEED + FEED_LAPPED,
		    "record %ju is not in the buffer", (uintmax_t)c->sent + 1);
	} else if (c->position == UINT64_MAX || !matches(w, c))
		data_end(w, c, REFUSED_TICKET,
		    "the log does not go on behind its record %ju",
		    (uintmax_t)c->sent);
	return c->state == DATA_OPEN;
}

/* ---- acknowledgements ---- */

static uint64_t
flight_bytes(const struct data_conn *c)
{
	ASSERT(c->acked_bytes <= c->bytes);
	return c->bytes - c->acked_bytes;
}

static void
row_tell(const struct wal *w, const struct data_conn *c)
{
	struct peer_row *row = data_row(w, c);

	atomic_store_explicit(&row->matched, c->sent, memory_order_relaxed);
	atomic_store_explicit(&row->acked, c->acked, memory_order_release);
	atomic_store_explicit(
	    &row->flight_bytes, flight_bytes(c), memory_order_relaxed);
}

/* The member's word: nothing but what this connection has sent. */
static void
word_set(struct wal *w, const struct data_conn *c)
{
	ASSERT(c->acked <= c->sent);
	atomic_store_explicit(&w->r->commit->member[c->member].durable,
	    epoch_word(c->epoch, c->acked), memory_order_release);
}

void
feed_end(struct wal *w, struct data_conn *c)
{
	/* What it has counts again when it is known to be there. */
	atomic_store_explicit(
	    &w->r->commit->member[c->member].durable, 0, memory_order_release);
}

/*
 * Bytes that are acknowledged: of a frame of which a part is, as many as its
 * records have on average.
 */
static void
acked_count(struct data_conn *c)
{
	const struct feed_frame *f = &c->frame[c->first];

	for (; c->frames > 0 && f->last <= c->acked; f = &c->frame[c->first]) {
		c->before = *f;
		c->first = (c->first + 1) % FEED_FRAMES;
		c->frames--;
	}
	c->acked_bytes = c->before.bytes;
	if (c->frames > 0 && c->acked > c->before.last)
		c->acked_bytes += (f->bytes - c->before.bytes) *
				  (c->acked - c->before.last) /
				  (f->last - c->before.last);
}

/* True: more is known to be durable there. */
static bool
on_ack(struct wal *w, struct data_conn *c, const struct msg_ack *m)
{
	uint64_t durable = m->durable < c->sent ? m->durable : c->sent;

	if (m->term != c->term) {
		data_end(w, c, REFUSED_STATE, "ack: of term %ju, not %ju",
		    (uintmax_t)m->term, (uintmax_t)c->term);
		return false;
	}
	wal_count(w, C_FEED_ACKS, 1);
	if (durable <= c->acked)
		return false;
	c->acked = durable;
	acked_count(c);
	row_tell(w, c);
	return true;
}

void
feed_take(struct wal *w, struct data_conn *c)
{
	struct link_out out;
	bool raised = false;

	while (c->state == DATA_OPEN) {
		link_take(&c->link, c->in + c->in_at, c->in_len - c->in_at,
		    w->loop.now_ns, &w->data.msg, &out);
		c->in_at += (uint32_t)out.used;
		if (out.what == LINK_MESSAGE && out.type == MSG_ACK)
			raised |= on_ack(w, c, &w->data.msg.ack);
		else if (out.what == LINK_DROP)
			data_dropped(w, c, &out);
		else
			break;
	}
	if (!raised || c->state != DATA_OPEN)
		return;
	word_set(w, c);
	if (commit_advance(w->r))
		wal_bells_committed(w);
}

/* ---- frames ---- */

/* What is being put together. */
struct frame {
	struct msg_frame m;
	uint64_t at; /* log position behind it */
	uint64_t from; /* of its first record */
	unsigned pieces;
};

/* One more record. False: it begins a piece, and there are too many. */
static bool
frame_add(const struct wal *w, struct data_conn *c, struct frame *f,
    const struct wal_place *p)
{
	struct iovec *v = &c->iov[f->pieces];
	uint8_t *at = append_at(&w->log, p->at);

	if (f->pieces == 0 || (uint8_t *)v->iov_base + v->iov_len != at) {
		if (f->pieces == FEED_PIECES)
			return false;
		v = &c->iov[++f->pieces];
		*v = (struct iovec){ at, 0 };
	}
	if (f->m.first == 0) {
		f->m.first = p->vlsn;
		f->from = p->at;
	}
	v->iov_len += p->len;
	f->m.bytes += p->len;
	f->m.last = p->vlsn;
	return true;
}

/* All records from c->position on that fit into frame and window. */
static void
frame_fill(const struct wal *w, struct data_conn *c, struct frame *f)
{
	uint64_t flight = flight_bytes(c), at = c->position, most;
	struct wal_place place;

	f->at = at;
	if (c->frames == FEED_FRAMES || flight >= c->window)
		return;
	most = c->window - flight;
	if (most > FEED_FRAME_MAX)
		most = FEED_FRAME_MAX;
	while (wal_buffer_step(w, &at, &place)) {
		if (place.replicated) {
			ASSERT(place.vlsn ==
			       (f->m.last != 0 ? f->m.last : c->sent) + 1);
			/* One goes alone, however long. */
			if (f->m.bytes + place.len > most &&
			    (f->m.bytes != 0 || flight != 0))
				return;
			if (!frame_add(w, c, f, &place))
				return;
		}
		f->at = at;
	}
}

static void
frame_submit(struct wal *w, struct data_conn *c, const struct frame *f)
{
	struct peer_row *row = data_row(w, c);
	int n = link_send(&c->link, MSG_FRAME, &f->m, c->head, sizeof(c->head));

	ASSERT(n > 0);
	c->told = f->m.committed;
	c->tell_ns = 0;
	wal_count(w, C_FEED_FRAMES, 1);
	if (f->m.bytes != 0) {
		ASSERT(f->m.first == c->sent + 1);
		c->sent = f->m.last;
		c->bytes += f->m.bytes;
		c->frame[(c->first + c->frames++) % FEED_FRAMES] =
		    (struct feed_frame){ c->sent, c->bytes };
		c->held = f->from;
		wal_count(w, C_FEED_BYTES, f->m.bytes);
		atomic_fetch_add_explicit(
		    &row->sent_bytes, f->m.bytes, memory_order_relaxed);
		row_tell(w, c);
	}
	data_send(w, c, (uint32_t)n, f->pieces);
}

/* Is it time to tell what is committed, in a frame without records? */
static bool
tell_due(struct wal *w, struct data_conn *c, uint64_t committed)
{
	if (committed <= c->told)
		return false;
	if (c->tell_ns == 0)
		c->tell_ns = w->loop.now_ns + FEED_TELL_NS;
	return w->loop.now_ns >= c->tell_ns;
}

void
feed_send(struct wal *w, struct data_conn *c)
{
	uint64_t committed = position_get(&w->r->pos->committed);
	struct frame f = { .m.term = c->term, .m.committed = c->told };

	if (c->sending)
		return;
	if (c->position < w->log.oldest) {
		wal_count(w, C_FEED_LAPPED, 1);
		data_end(w, c, PEER_ENDED_FEED + FEED_LAPPED,
		    "it is too slow: record %ju has left the buffer",
		    (uintmax_t)c->sent + 1);
		return;
	}
	if (word_epoch(committed) == c->epoch && word_vlsn(committed) > c->told)
		f.m.committed = word_vlsn(committed);
	if (c->position < w->log.position) {
		frame_fill(w, c, &f);
		c->position = f.at;
	}
	if (f.m.bytes != 0 || tell_due(w, c, f.m.committed))
		frame_submit(w, c, &f);
}

void
feed_sent(struct wal *w, struct data_conn *c)
{
	(void)w;
	c->held = UINT64_MAX;
}
