/*
 * Data connections: offers, ends, and what is on the ring.
 */
#include "workers/wal/data.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "workers/wal/wal.h"

struct peer_row *
data_row(const struct wal *w, const struct data_conn *c)
{
	ASSERT(c->member < MEMBER_MAX);
	return &w->r->peers->row[c->member];
}

static const char *
name_of(const struct wal *w, const struct data_conn *c)
{
	return w->r->commit->name[c->member];
}

/* ---- ends ---- */

static void
row_ended(struct wal *w, unsigned member, uint64_t connection, unsigned reason)
{
	struct peer_row *row = &w->r->peers->row[member];

	atomic_store_explicit(&row->end_reason, reason, memory_order_relaxed);
	atomic_store_explicit(&row->ended, connection, memory_order_release);
	bell_ring(w->loop.bells, SLOT_GROUP);
}

static void
row_clear(struct wal *w, const struct data_conn *c, unsigned reason)
{
	struct peer_row *row = data_row(w, c);

	atomic_store_explicit(&row->connection, 0, memory_order_relaxed);
	atomic_store_explicit(&row->feed, PEER_FEED_NONE, memory_order_relaxed);
	atomic_store_explicit(&row->matched, 0, memory_order_relaxed);
	atomic_store_explicit(&row->acked, 0, memory_order_relaxed);
	atomic_store_explicit(&row->flight_bytes, 0, memory_order_relaxed);
	row_ended(w, c->member, c->connection, reason);
}

/* No completion of it is to come any more. */
static void
conn_free(struct wal *w, struct data_conn *c)
{
	uint32_t generation = c->generation;

	ASSERT(c->state == DATA_ENDING);
	ASSERT(!c->receiving && !c->sending);
	close(c->fd);
	free(c->in);
	memset(c, 0, sizeof(*c));
	c->generation = generation + 1;
	c->fd = -1;
	/* There may be an offer that found no room. */
	w->data.waiting = true;
}

/* Without a word more: what is on the ring comes back soon. */
static void
conn_close(struct wal *w, struct data_conn *c, unsigned reason)
{
	ASSERT(c->state == DATA_OPEN);
	(void)shutdown(c->fd, SHUT_RDWR);
	c->state = DATA_ENDING;
	w->data.open--;
	if (c->feeds) {
		w->data.feeds--;
		feed_end(w, c);
	} else
		w->data.receiver = -1;
	row_clear(w, c, reason);
	if (!c->receiving && !c->sending)
		conn_free(w, c);
}

/* The last words, if they do not come into the middle of others. */
static void
tell(const struct data_conn *c, const uint8_t *at, size_t n)
{
	if (n > 0 && !c->sending)
		(void)send(c->fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
tell_end(struct data_conn *c, unsigned reason, const char *text)
{
	struct msg_feed_end end = { .term = c->term, .last = c->sent };
	struct link_out out;
	uint8_t at[DATA_HEAD];
	int n;

	if (reason > PEER_ENDED_FEED && c->feeds) {
		end.reason = (uint8_t)(reason - PEER_ENDED_FEED);
		n = link_send(&c->link, MSG_FEED_END, &end, at, sizeof(at));
		tell(c, at, n > 0 ? (size_t)n : 0);
	} else if (reason != REFUSED_NOTHING && reason < REFUSED_COUNT) {
		link_end(&c->link, reason, text, &out);
		tell(c, out.send, out.send_len);
	}
}

static bool
is_wrong(unsigned reason)
{
	return reason == REFUSED_NONSENSE || reason == REFUSED_DIRECTION ||
	       reason == REFUSED_STATE || reason == REFUSED_SEQUENCE ||
	       reason == REFUSED_FLOOD;
}

static void
say_end(
    struct wal *w, const struct data_conn *c, unsigned reason, const char *text)
{
	const char *way = c->feeds ? "to" : "from";

	if (is_wrong(reason)) {
		wal_count(w, C_DATA_REFUSED, 1);
		event_add(w->r, SLOT_WAL, EVENT_WARN,
		    "the log %s %s: connection %ju ends: %s", way,
		    name_of(w, c), (uintmax_t)c->connection, text);
	} else
		say_info("the log %s %s: connection %ju ends: %s", way,
		    name_of(w, c), (uintmax_t)c->connection, text);
}

void
data_end(
    struct wal *w, struct data_conn *c, unsigned reason, const char *fmt, ...)
{
	char text[MSG_TEXT_SIZE];
	va_list ap;

	if (c->state != DATA_OPEN)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say_end(w, c, reason, text);
	tell_end(c, reason, text);
	conn_close(w, c, reason);
}

void
data_dropped(struct wal *w, struct data_conn *c, const struct link_out *out)
{
	say_end(w, c, out->by_peer ? REFUSED_NOTHING : out->reason, out->text);
	tell(c, out->send, out->send_len);
	conn_close(w, c, out->reason);
}

/* ---- the ring ---- */

/* Of a completion; NULL: of an earlier life. */
static struct data_conn *
conn_of(struct wal *w, uint32_t slot, uint32_t generation)
{
	struct data_conn *c = slot < DATA_CONNS ? &w->data.conn[slot] : NULL;

	if (c != NULL && c->state != DATA_FREE && c->generation == generation)
		return c;
	loop_stale(&w->loop);
	return NULL;
}

static uint64_t
tag_of(const struct wal *w, const struct data_conn *c, unsigned kind)
{
	return loop_tag(kind, (uint32_t)(c - w->data.conn), c->generation);
}

static void
hold_tell(struct wal *w)
{
	unsigned i, left = w->data.sends;
	uint64_t hold = UINT64_MAX;

	for (i = 0; left > 0 && i < DATA_CONNS; i++) {
		const struct data_conn *c = &w->data.conn[i];

		if (c->state == DATA_FREE || !c->sending)
			continue;
		left--;
		if (c->feeds && c->held < hold)
			hold = c->held;
	}
	ASSERT(left == 0);
	w->data.hold = hold;
}

static void
send_submit(struct wal *w, struct data_conn *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&w->loop);

	if (sqe == NULL) {
		data_end(w, c, REFUSED_LOCAL, "the ring takes nothing");
		return;
	}
	io_uring_prep_sendmsg(sqe, c->fd, &c->msg, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, tag_of(w, c, WAL_KIND_SEND));
	c->sending = true;
	w->data.sends++;
	hold_tell(w);
}

void
data_send(struct wal *w, struct data_conn *c, uint32_t head_len, unsigned n)
{
	ASSERT(c->state == DATA_OPEN);
	ASSERT(!c->sending);
	ASSERT(head_len <= sizeof(c->head));
	ASSERT(n <= FEED_PIECES);
	c->iov[0] = (struct iovec){ c->head, head_len };
	memset(&c->msg, 0, sizeof(c->msg));
	c->msg.msg_iov = c->iov;
	c->msg.msg_iovlen = 1 + n;
	send_submit(w, c);
}

/* So much has gone. Is that all? */
static bool
all_sent(struct data_conn *c, size_t done)
{
	struct msghdr *m = &c->msg;

	while (m->msg_iovlen > 0 && done >= m->msg_iov->iov_len) {
		done -= m->msg_iov->iov_len;
		m->msg_iov++;
		m->msg_iovlen--;
	}
	if (m->msg_iovlen == 0)
		return true;
	m->msg_iov->iov_base = (uint8_t *)m->msg_iov->iov_base + done;
	m->msg_iov->iov_len -= done;
	return false;
}

static void
send_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	struct data_conn *c = conn_of(w, slot, generation);

	(void)flags;
	if (c == NULL)
		return;
	ASSERT(c->sending);
	c->sending = false;
	w->data.sends--;
	hold_tell(w);
	if (c->state == DATA_ENDING) {
		if (!c->receiving)
			conn_free(w, c);
		return;
	}
	if (res < 0 && res != -EINTR && res != -EAGAIN)
		data_end(w, c, REFUSED_NOTHING, "send: %s", strerror(-res));
	else if (!all_sent(c, res > 0 ? (size_t)res : 0))
		send_submit(w, c);
	else if (c->feeds)
		feed_sent(w, c);
}

static void
recv_submit(struct wal *w, struct data_conn *c)
{
	struct io_uring_sqe *sqe;

	/* The kernel writes behind what is there: nothing moves. */
	if (c->receiving)
		return;
	if (c->in_at == c->in_len)
		c->in_at = c->in_len = 0;
	else if (c->in_at > 0 && c->in_room - c->in_len < c->in_room / 2) {
		memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
		c->in_len -= c->in_at;
		c->in_at = 0;
	}
	if (c->in_len == c->in_room)
		return;
	sqe = loop_sqe(&w->loop);
	if (sqe == NULL) {
		data_end(w, c, REFUSED_LOCAL, "the ring takes nothing");
		return;
	}
	io_uring_prep_recv(
	    sqe, c->fd, c->in + c->in_len, c->in_room - c->in_len, 0);
	if (c->dry && (w->loop.features & LOOP_HAS_RECV_MULTISHOT) != 0)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	io_uring_sqe_set_data64(sqe, tag_of(w, c, WAL_KIND_RECV));
	c->receiving = true;
}

static void
recv_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	struct data_conn *c = conn_of(w, slot, generation);

	(void)flags;
	if (c == NULL)
		return;
	c->receiving = false;
	if (c->state == DATA_ENDING) {
		if (!c->sending)
			conn_free(w, c);
		return;
	}
	if (res == -EINTR || res == -EAGAIN)
		return;
	if (res <= 0) {
		data_end(w, c, REFUSED_NOTHING, "%s",
		    res == 0 ? "the other end has closed it" : strerror(-res));
		return;
	}
	ASSERT((uint32_t)res <= c->in_room - c->in_len);
	c->dry = (uint32_t)res < c->in_room - c->in_len;
	c->in_len += (uint32_t)res;
	if (c->feeds)
		feed_take(w, c);
}

/* ---- offers ---- */

static void
offer_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;

	(void)slot;
	(void)generation;
	(void)res;
	(void)flags;
	w->data.polling = false;
	w->data.waiting = true;
}

static void
offer_poll(struct wal *w)
{
	struct io_uring_sqe *sqe;

	if (w->data.polling || w->data.gone || w->w->data_from < 0)
		return;
	sqe = loop_sqe(&w->loop);
	if (sqe == NULL)
		return;
	io_uring_prep_poll_add(sqe, w->w->data_from, POLLIN);
	io_uring_sqe_set_data64(sqe, loop_tag(WAL_KIND_OFFER, 0, 0));
	w->data.polling = true;
}

/* Why it cannot be taken; NULL: it can. */
static const char *
offer_wrong(const struct wal *w, const struct data_offer *o)
{
	const struct msg_data_hello *d = &o->link.data;
	bool feeds = o->link.role == FROM_LISTENER;
	uint16_t epoch = feeds ? d->their_epoch : d->epoch;
	const struct commit_view *v = &w->view;
	struct msg_error e;

	if (o->link.role != FROM_DIALER && o->link.role != FROM_LISTENER)
		return "it has no role";
	if (msg_check(MSG_DATA_HELLO, d, &e) != 0)
		return "its facts are none";
	if (o->member >= v->member_count || o->member == v->self)
		return "it is of no other member";
	if (v->epoch != epoch || wal_fenced(w) ||
	    word_epoch(position_get(&w->r->pos->committed)) != epoch)
		return "it is of another epoch";
	if (feeds ? v->role != ROLE_MASTER || v->term != d->term
		  : v->role == ROLE_MASTER || v->term > d->term)
		return "it is of another term";
	if (w->stopping || w->phase == WAL_IDLE || w->phase == WAL_FAILED)
		return "the log takes nothing";
	return NULL;
}

/* One before it goes. False: it is not newer. */
static bool
older_end(struct wal *w, const struct data_offer *o)
{
	bool feeds = o->link.role == FROM_LISTENER;
	unsigned i;

	for (i = 0; i < DATA_CONNS; i++) {
		struct data_conn *c = &w->data.conn[i];

		if (c->state != DATA_OPEN)
			continue;
		/* Numbers are those of one mastership. */
		if (c->member == o->member && c->term >= o->link.data.term &&
		    c->connection >= o->link.data.connection)
			return false;
		/* There is one master. */
		if (c->member == o->member || (!feeds && !c->feeds))
			data_end(w, c, REFUSED_SPARE, "a newer one is there");
	}
	return true;
}

static void
offer_refuse(struct wal *w, const struct data_offer *o, int fd, const char *why)
{
	say_info("data connection %ju of member %u is not taken: %s",
	    (uintmax_t)o->link.data.connection, o->member, why);
	close(fd);
	if (o->member < MEMBER_MAX)
		row_ended(
		    w, o->member, o->link.data.connection, REFUSED_TICKET);
}

static void
conn_begin(struct wal *w, struct data_conn *c, const struct data_offer *o)
{
	const struct msg_data_hello *d = &o->link.data;
	struct peer_row *row;

	c->state = DATA_OPEN;
	c->feeds = o->link.role == FROM_LISTENER;
	c->member = o->member;
	c->epoch = c->feeds ? d->their_epoch : d->epoch;
	c->term = d->term;
	c->connection = d->connection;
	c->window = o->window;
	link_adopt(&c->link, &w->data.self, &o->link, w->loop.now_ns);
	w->data.open++;
	w->data.feeds += c->feeds;
	if (!c->feeds) {
		ASSERT(w->data.receiver < 0);
		w->data.receiver = (int)(c - w->data.conn);
	}
	row = data_row(w, c);
	atomic_store_explicit(&row->matched, d->vlsn, memory_order_relaxed);
	atomic_store_explicit(&row->acked, 0, memory_order_relaxed);
	atomic_store_explicit(&row->flight_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&row->feed,
	    c->feeds ? PEER_FEED_LIVE : PEER_FEED_FROM, memory_order_relaxed);
	atomic_store_explicit(
	    &row->connection, c->connection, memory_order_release);
}

static struct data_conn *
conn_find(struct wal *w)
{
	unsigned i;

	for (i = 0; i < DATA_CONNS; i++)
		if (w->data.conn[i].state == DATA_FREE)
			return &w->data.conn[i];
	return NULL;
}

static void
offer_take(struct wal *w, const struct data_offer *o, int fd)
{
	bool feeds = o->link.role == FROM_LISTENER;
	uint32_t room = feeds ? DATA_IN_ACKS : DATA_IN_RECORDS;
	const char *why = offer_wrong(w, o);
	struct data_conn *c = NULL;
	uint8_t *in = NULL;
	int one = 1;

	if (why == NULL && !older_end(w, o))
		why = "a newer one is there";
	if (why == NULL && (c = conn_find(w)) == NULL)
		why = "too many are ending";
	if (why == NULL && (in = malloc(room)) == NULL)
		why = "no memory";
	if (why != NULL) {
		offer_refuse(w, o, fd, why);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->fd = fd;
	c->in = in;
	c->in_room = room;
	conn_begin(w, c, o);
	if (feeds ? feed_open(w, c) : receive_open(w, c))
		say_info("the log %s %s from record %ju on: connection "
			 "%ju, term %ju",
		    feeds ? "goes to" : "comes from", name_of(w, c),
		    (uintmax_t)o->link.data.vlsn + 1, (uintmax_t)c->connection,
		    (uintmax_t)c->term);
}

static void
offers_take(struct wal *w)
{
	struct data_offer offer;
	int fd, rc;

	if (!w->data.waiting)
		return;
	w->data.waiting = false;
	if (w->w->data_from < 0 || w->data.gone)
		return;
	while ((rc = handover_recv(w->w->data_from, &offer, &fd)) != -EAGAIN) {
		if (rc == -EBADMSG || rc == -EINTR)
			continue;
		if (rc != 0) {
			w->data.gone = true;
			return;
		}
		/* It may be of a newer view than this turn began with. */
		wal_role_turn(w);
		offer_take(w, &offer, fd);
	}
}

/* ---- turns ---- */

/* Does it go on, as far as the log and the view tell? */
static void
conn_check(struct wal *w, struct data_conn *c)
{
	struct link_out out;

	if (c->epoch != w->view.epoch)
		data_end(w, c,
		    c->feeds ? PEER_ENDED_FEED + FEED_STOPPED : REFUSED_STATE,
		    "epoch %u is over", c->epoch);
	else if (!c->feeds && w->phase == WAL_FAILED)
		data_end(w, c, REFUSED_LOCAL, "the log is closed");
	else if (!c->feeds && wal_cutting(w))
		data_end(w, c, REFUSED_STATE, "the log is cut");
	else if (!c->feeds && w->stopping)
		data_end(w, c, REFUSED_STOPPING, "the node stops");
	else if (!c->blocked && w->loop.now_ns >= link_deadline(&c->link)) {
		link_tick(&c->link, w->loop.now_ns, &out);
		if (out.what == LINK_DROP)
			data_dropped(w, c, &out);
	}
}

void
wal_data_turn(struct wal *w)
{
	unsigned i, left = w->data.open;

	for (i = 0; left > 0 && i < DATA_CONNS; i++) {
		if (w->data.conn[i].state != DATA_OPEN)
			continue;
		left--;
		conn_check(w, &w->data.conn[i]);
	}
	offers_take(w);
	offer_poll(w);
}

void
wal_data_send(struct wal *w)
{
	unsigned i, left = w->data.open;

	for (i = 0; left > 0 && i < DATA_CONNS; i++) {
		struct data_conn *c = &w->data.conn[i];

		if (c->state != DATA_OPEN)
			continue;
		left--;
		if (c->feeds)
			feed_send(w, c);
		else
			receive_send(w, c);
		if (c->state == DATA_OPEN)
			recv_submit(w, c);
	}
}

void
wal_data_fence(struct wal *w)
{
	unsigned i;

	for (i = 0; w->data.open > 0 && i < DATA_CONNS; i++) {
		struct data_conn *c = &w->data.conn[i];

		/*
		 * What feeds this node ends in the same epoch, too: whoever
		 * fences goes by the end of the log that it is told.
		 */
		if (c->state == DATA_OPEN &&
		    (epoch_older(c->epoch, w->fence_epoch) ||
			(!c->feeds && c->epoch == w->fence_epoch)))
			data_end(w, c,
			    c->feeds ? PEER_ENDED_FEED + FEED_STOPPED
				     : REFUSED_STATE,
			    "epoch %u is fenced off", c->epoch);
	}
}

void
wal_data_lap(struct wal *w, uint64_t oldest)
{
	unsigned i;

	for (i = 0; i < DATA_CONNS; i++) {
		struct data_conn *c = &w->data.conn[i];

		if (c->state != DATA_OPEN || !c->feeds || !c->sending ||
		    c->held >= oldest)
			continue;
		wal_count(w, C_FEED_LAPPED, 1);
		data_end(w, c, PEER_ENDED_FEED + FEED_LAPPED,
		    "it is too slow: the buffer goes on without it");
	}
}

uint64_t
wal_data_deadline(const struct wal *w)
{
	unsigned i, left = w->data.open;
	uint64_t first = LOOP_NEVER, at;

	for (i = 0; left > 0 && i < DATA_CONNS; i++) {
		const struct data_conn *c = &w->data.conn[i];

		if (c->state != DATA_OPEN)
			continue;
		left--;
		at = c->blocked ? LOOP_NEVER : link_deadline(&c->link);
		if (at < first)
			first = at;
		if (c->tell_ns != 0 && c->tell_ns < first)
			first = c->tell_ns;
	}
	if (w->data.feeds > 0 && w->data.stop_ns != 0 &&
	    w->data.stop_ns < first)
		first = w->data.stop_ns;
	return first;
}

bool
wal_data_stopped(struct wal *w)
{
	bool late;
	unsigned i;

	if (w->data.stop_ns == 0)
		w->data.stop_ns = w->loop.now_ns + FEED_STOP_NS;
	late = w->loop.now_ns >= w->data.stop_ns;
	for (i = 0; w->data.open > 0 && i < DATA_CONNS; i++) {
		struct data_conn *c = &w->data.conn[i];

		if (c->state == DATA_OPEN && c->feeds &&
		    (late || (!c->sending && c->sent == w->log.end.vlsn)))
			data_end(w, c, PEER_ENDED_FEED + FEED_STOPPED,
			    "the node stops");
	}
	return w->data.open == 0;
}

void
wal_data_open(struct wal *w)
{
	unsigned i;

	for (i = 0; i < DATA_CONNS; i++)
		w->data.conn[i].fd = -1;
	w->data.hold = UINT64_MAX;
	w->data.receiver = -1;
	w->data.self.key = &w->data.key;
	w->data.self.version_min = MSG_PROTOCOL_MIN;
	w->data.self.version_max = MSG_PROTOCOL;
	loop_on(&w->loop, WAL_KIND_OFFER, offer_done);
	loop_on(&w->loop, WAL_KIND_RECV, recv_done);
	loop_on(&w->loop, WAL_KIND_SEND, send_done);
}
