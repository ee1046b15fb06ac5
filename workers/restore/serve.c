/*
 * See serve.h. Reads of the log block this process, and no other; what goes to
 * and comes from members is on the ring.
 */
#include "workers/restore/serve.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"

/* Kind 0 is the loop's own. */
#define KIND(kind)   (1u + (unsigned)(kind))
#define FRAME_FIELDS (MSG_HEAD + 32u)
#define FRAME_MEMORY (FRAME_FIELDS + 2 * (size_t)APPEND_FRAME_MAX)
_Static_assert(SERVE_FRAME <= APPEND_FRAME_MAX, "what a receiver checks");
_Static_assert(FRAME_FIELDS + FEED_BYTES_MAX == MSG_FRAME_MAX, "its fields");

const char *
serve_state_name(enum serve_state state)
{
	static const char *const names[] = {
		[SERVE_FREE] = "free",
		[SERVE_FEEDS] = "feeds",
		[SERVE_ENDS] = "ends",
		[SERVE_LINGERS] = "lingers",
		[SERVE_CLOSES] = "closes",
	};

	return (unsigned)state < NITEMS(names) ? names[state] : "?";
}

static const char *
member_name(const struct serve *s, const struct serve_feed *f)
{
	return s->r->commit->name[f->member];
}

static unsigned
slot_of(const struct serve *s, const struct serve_feed *f)
{
	return (unsigned)(f - s->feed);
}

/* ---- the row ---- */

static void
row_tell(struct serve_feed *f)
{
	if (f->row_over)
		return;
	atomic_store_explicit(&f->row->matched, f->sent, memory_order_relaxed);
	atomic_store_explicit(&f->row->acked, f->acked, memory_order_relaxed);
	atomic_store_explicit(
	    &f->row->flight_bytes, f->flight_bytes, memory_order_relaxed);
}

static void
row_end(struct serve *s, struct serve_feed *f, uint32_t reason)
{
	if (f->row_over)
		return;
	f->row_over = true;
	if (peer_feed_end(f->row, f->handed.data.connection, reason))
		bell_ring(s->loop->bells, SLOT_GROUP);
}

/* What is still to be read, of all feeds: wal keeps it. */
static void
pin(struct serve *s)
{
	uint64_t need = 0;

	for (unsigned i = 0; i < MEMBER_MAX; i++) {
		const struct serve_feed *f = &s->feed[i];

		if (f->state == SERVE_FEEDS && !f->over &&
		    (need == 0 || f->end.vlsn + 1 < need))
			need = f->end.vlsn + 1;
	}
	if (position_get(&s->r->pos->serving) != need)
		position_set(&s->r->pos->serving, need);
}

/* ---- the end of a feed ---- */

/* All that it had; nothing of it is on the ring. */
static void
feed_free(struct serve *s, struct serve_feed *f)
{
	ASSERT(!f->sends && !f->comes);
	ASSERT(f->row_over);
	close(f->fd);
	cursor_close(f->cursor);
	free(f->frame[0].memory);
	free(f->frame[1].memory);
	*f = (struct serve_feed){
		.state = SERVE_FREE, .generation = f->generation + 1, .fd = -1
	};
	pin(s);
}

static void
feed_close(struct serve *s, struct serve_feed *f, uint32_t reason)
{
	if (f->state == SERVE_CLOSES)
		return;
	row_end(s, f, reason);
	f->state = SERVE_CLOSES;
	/* What is on the ring ends by it. */
	(void)shutdown(f->fd, SHUT_RDWR);
	if (!f->sends && !f->comes)
		feed_free(s, f);
}

/* It ends with that word, behind what is read: no more is. */
__attribute__((format(printf, 4, 5))) static void
feed_over(struct serve_feed *f, unsigned feed_end, unsigned reason,
    const char *fmt, ...)
{
	va_list ap;

	if (f->over)
		return;
	f->over = true;
	f->feed_end = feed_end;
	f->reason = reason;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

/* Nor is what is read: it is of a mastership that is over. */
static void
feed_stopped(struct serve_feed *f, const char *why)
{
	bool sends = f->sends && f->out != f->word;

	/* Instead of what it would have said behind that. */
	f->over = false;
	feed_over(f, FEED_STOPPED, REFUSED_NOTHING, "%s", why);
	f->frame[f->send ^ 1u].ready = false;
	f->frame[f->send].ready = sends;
	f->carry_len = 0;
}

static void
tell_end(struct serve *s, const struct serve_feed *f)
{
	uint64_t ms = (s->loop->now_ns - f->begun_ns) / NS_PER_MS;

	event_add(s->r, SLOT_RESTORE,
	    f->reason == 0               ? EVENT_INFO
	    : f->reason == REFUSED_OTHER ? EVENT_ERROR
					 : EVENT_WARN,
	    "%s: fed from segment files up to record %" PRIu64 " (%" PRIu64
	    " records, %" PRIu64 " bytes, %" PRIu64 " ms): %s%s",
	    member_name(s, f), f->sent, f->records, f->bytes, ms, f->text,
	    f->reason == REFUSED_OTHER && !f->row_over
		? ": it cannot catch up from this node"
		: "");
}

/* ---- sending ---- */

static void
submit(struct serve *s, struct serve_feed *f)
{
	struct io_uring_sqe *sqe = loop_sqe(s->loop);

	if (sqe == NULL) {
		s->loop->unready = true;
		return;
	}
	io_uring_prep_send(sqe, f->fd, f->out + f->out_done,
	    f->out_len - f->out_done, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND(SERVE_SENT), slot_of(s, f), f->generation));
	f->sends = true;
}

static bool
window_takes(const struct serve_feed *f, uint32_t len)
{
	return f->flights == 0 || (f->flights < SERVE_FLIGHTS &&
				      f->flight_bytes + len <= f->window);
}

static void
frame_send(struct serve *s, struct serve_feed *f, struct serve_frame *fr)
{
	struct msg_frame m = { .term = f->handed.data.term,
		.committed = s->committed,
		.first = fr->first,
		.last = fr->last,
		.bytes = fr->len };
	unsigned at = (f->flight_at + f->flights) % SERVE_FLIGHTS;
	int n = link_send(&f->link, MSG_FRAME, &m, fr->memory, FRAME_FIELDS);

	ASSERT(n == (int)FRAME_FIELDS);
	ASSERT(fr->last > f->sent);
	f->flight[at].last = fr->last;
	f->flight[at].bytes = fr->len;
	if (f->flights++ == 0)
		f->moved_ns = s->loop->now_ns;
	f->flight_bytes += fr->len;
	f->records += fr->last - fr->first + 1;
	f->bytes += fr->len;
	f->sent = fr->last;
	f->out = fr->memory;
	f->out_len = FRAME_FIELDS + fr->len;
	f->out_done = 0;
	atomic_fetch_add_explicit(
	    &f->row->sent_bytes, fr->len, memory_order_relaxed);
	row_tell(f);
	submit(s, f);
}

/*
 * How long the other end has to take it, and what is before it, and to close:
 * who closes first takes from it what it has not read.
 */
static void
linger(struct serve *s, struct serve_feed *f)
{
	uint64_t most = s->stops           ? SERVE_PART_NS
			: f->feed_end != 0 ? SERVE_STALL_NS
					   : SERVE_LINGER_NS;

	f->linger_ns = s->loop->now_ns + most;
}

/* The last word. Whoever gets it may begin anew at once: the row is its. */
static void
word_send(struct serve *s, struct serve_feed *f)
{
	struct msg_feed_end m = { .term = f->handed.data.term,
		.last = f->sent,
		.reason = (uint8_t)f->feed_end };
	struct link_out out;
	int n = 0;

	tell_end(s, f);
	row_end(
	    s, f, f->reason != 0 ? f->reason : PEER_ENDED_FEED + f->feed_end);
	if (f->feed_end != 0) {
		n = link_send(
		    &f->link, MSG_FEED_END, &m, f->word, sizeof(f->word));
	} else {
		link_end(&f->link, f->reason, f->text, &out);
		memcpy(f->word, out.send, out.send_len);
		n = (int)out.send_len;
	}
	ASSERT(n >= 0);
	f->state = SERVE_ENDS;
	linger(s, f);
	f->out = f->word;
	f->out_len = (uint32_t)n;
	f->out_done = 0;
	if (n == 0)
		feed_close(s, f, 0);
	else
		submit(s, f);
	pin(s);
}

static void
send_turn(struct serve *s, struct serve_feed *f)
{
	struct serve_frame *fr = &f->frame[f->send];

	if (f->sends)
		return;
	if (f->out_done < f->out_len)
		submit(s, f);
	else if (f->state == SERVE_FEEDS && fr->ready) {
		if (window_takes(f, fr->len))
			frame_send(s, f, fr);
	} else if (f->state == SERVE_FEEDS && f->over)
		word_send(s, f);
}

static void
sent(struct serve *s, struct serve_feed *f, int res)
{
	f->sends = false;
	if (f->state == SERVE_CLOSES)
		return;
	if (res == -EINTR || res == -EAGAIN)
		res = 0;
	else if (res <= 0) {
		feed_close(s, f, 0);
		return;
	}
	f->out_done += (uint32_t)res;
	ASSERT(f->out_done <= f->out_len);
	if (f->out_done < f->out_len)
		return;
	if (f->state == SERVE_ENDS) {
		f->state = SERVE_LINGERS;
		return;
	}
	f->frame[f->send].ready = false;
	f->send ^= 1u;
}

/* ---- reading ---- */

/* Has the log left us behind? */
static bool
is_gone(const struct serve *s, const struct serve_feed *f)
{
	return position_get(&s->r->pos->first) > f->end.vlsn + 1;
}

static bool
is_cut(const struct serve *s, const struct serve_feed *f)
{
	return atomic_load_explicit(
		   &s->r->walbuf.h->cuts, memory_order_acquire) != f->cuts;
}

/* The cursor gave no record. False: it stands again. */
static bool
unread(struct serve *s, struct serve_feed *f, uint64_t next, int rc)
{
	const char *place = cursor_place(f->cursor);

	if (is_cut(s, f))
		feed_stopped(f, "the log was cut");
	else if (is_gone(s, f))
		feed_over(f, FEED_LAPPED, REFUSED_NOTHING,
		    "record %" PRIu64 " is in the log no more", next);
	else if (rc == -ENOENT || rc == -ESTALE) {
		if (f->seeks++ < SERVE_SEEKS &&
		    cursor_seek(f->cursor, next) == 0)
			return false;
		feed_over(f, 0, REFUSED_OTHER,
		    "record %" PRIu64 " is in no segment: one is missing or "
		    "damaged",
		    next);
	} else if (rc == -EPROTONOSUPPORT)
		feed_over(f, 0, REFUSED_OTHER,
		    "%s: record %" PRIu64 " is of a newer release", place,
		    next);
	else if (rc == -EBADMSG)
		feed_over(f, 0, REFUSED_OTHER,
		    "%s: record %" PRIu64 " is damaged", place, next);
	else
		feed_over(f, 0, REFUSED_OTHER, "%s: record %" PRIu64 ": %s",
		    place, next, strerror(-rc));
	return true;
}

/* Only the time behind the matchpoint is not told: it is what fits. */
static void
end_know(struct serve_feed *f, const struct record *rec)
{
	unsigned cause;

	if (f->end_known)
		return;
	f->end_known = true;
	f->end.time_ms = rec->time_ms;
	if (rec->type == REC_CLOCK)
		(void)clock_decode(rec, &f->end.time_ms, &cause);
}

/* One more record, behind those of *fr. 0: it is there; else none is. */
static int
fill_one(struct serve *s, struct serve_feed *f, struct serve_frame *fr,
    uint64_t *next)
{
	uint8_t *to = fr->memory + FRAME_FIELDS + fr->len;
	struct record rec;
	int rc = cursor_next(f->cursor, f->handed.data.until, &rec);

	if (rc == -EAGAIN)
		return rc;
	if (rc != 0)
		return unread(s, f, *next, rc) ? rc : -EINTR;
	if (cursor_format(f->cursor) == SEGMENT_FORMAT_1) {
		feed_over(f, 0, REFUSED_OTHER,
		    "record %" PRIu64 " is in a segment of format 1, which no "
		    "other log can go on with: the member needs a restore",
		    rec.vlsn);
		return -ENOTSUP;
	}
	memcpy(to, rec.payload - REC_HEADER_SIZE, rec.len);
	if (!cursor_valid(f->cursor)) {
		/* It was overwritten meanwhile: files have it. */
		rc = cursor_seek(f->cursor, *next);
		return rc == 0 || !unread(s, f, *next, rc) ? -EINTR : rc;
	}
	if (rec.len != get_le32(to + REC_LEN_OFF) || rec.vlsn != *next) {
		feed_over(f, 0, REFUSED_OTHER,
		    "record %" PRIu64 " is not where it should be", *next);
		return -EBADMSG;
	}
	end_know(f, &rec);
	f->seeks = 0;
	++*next;
	if (fr->len + rec.len > APPEND_FRAME_MAX) {
		f->carry = to;
		f->carry_len = rec.len;
		return -E2BIG;
	}
	fr->len += rec.len;
	return 0;
}

/* What was read is what its receiver will find it to be. */
static void
fill_check(struct serve_feed *f, struct serve_frame *fr)
{
	enum frame_verdict v;

	if (fr->len == 0)
		return;
	fr->first = f->end.vlsn + 1;
	v = frame_check(
	    &f->end, fr->memory + FRAME_FIELDS, fr->len, f->handed.data.term);
	if (v != FRAME_OK) {
		feed_over(f, 0, REFUSED_OTHER,
		    "records from %" PRIu64 " on cannot be sent: %s", fr->first,
		    frame_verdict_text(v));
		f->carry_len = 0;
		return;
	}
	fr->last = f->end.vlsn;
	fr->ready = true;
	f->fill ^= 1u;
}

static void
fill(struct serve *s, struct serve_feed *f)
{
	struct serve_frame *fr = &f->frame[f->fill];
	uint64_t next = f->end.vlsn + 1;
	int rc = 0;

	fr->len = f->carry_len;
	if (f->carry_len != 0) {
		memcpy(fr->memory + FRAME_FIELDS, f->carry, f->carry_len);
		next++;
	}
	f->carry_len = 0;
	while ((rc == 0 || rc == -EINTR) && fr->len < SERVE_FRAME)
		rc = fill_one(s, f, fr, &next);
	if (f->feed_end == FEED_STOPPED)
		return;
	fill_check(f, fr);
	if (f->end.vlsn == f->handed.data.until)
		feed_over(f, FEED_CAUGHT_UP, REFUSED_NOTHING, "caught up");
	else if (rc == -EAGAIN)
		f->again_ns = s->loop->now_ns + SERVE_WAIT_NS;
}

static bool
may_fill(const struct serve *s, const struct serve_feed *f)
{
	return f->state == SERVE_FEEDS && !f->over &&
	       !f->frame[f->fill].ready && f->again_ns <= s->loop->now_ns;
}

/* ---- what comes ---- */

static void
receive(struct serve *s, struct serve_feed *f)
{
	struct io_uring_sqe *sqe;

	if (f->comes || f->state == SERVE_CLOSES)
		return;
	sqe = loop_sqe(s->loop);
	if (sqe == NULL) {
		s->loop->unready = true;
		return;
	}
	io_uring_prep_recv(
	    sqe, f->fd, f->in + f->in_len, sizeof(f->in) - f->in_len, 0);
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND(SERVE_CAME), slot_of(s, f), f->generation));
	f->comes = true;
}

/* Up to there it is durable; of another's claims no more than was sent is. */
static void
on_ack(struct serve *s, struct serve_feed *f, const struct msg_ack *m)
{
	uint64_t acked = m->durable < f->sent ? m->durable : f->sent;

	if (m->term != f->handed.data.term || acked <= f->acked)
		return;
	f->acked = acked;
	while (f->flights > 0 && f->flight[f->flight_at].last <= acked) {
		f->flight_bytes -= f->flight[f->flight_at].bytes;
		f->flight_at = (f->flight_at + 1) % SERVE_FLIGHTS;
		f->flights--;
	}
	f->moved_ns = s->loop->now_ns;
	if (f->state != SERVE_FEEDS)
		linger(s, f);
	row_tell(f);
}

/* The other end ends it, or is not to be understood. */
static void
on_drop(struct serve *s, struct serve_feed *f, const struct link_out *out)
{
	if (f->state != SERVE_FEEDS) {
		feed_close(s, f, 0);
		return;
	}
	f->reason = out->reason;
	strlcpy(f->text, out->text, sizeof(f->text));
	row_end(s, f, out->reason);
	tell_end(s, f);
	if (out->send_len == 0 || f->sends || f->out_done < f->out_len) {
		feed_close(s, f, out->reason);
		return;
	}
	memcpy(f->word, out->send, out->send_len);
	f->state = SERVE_ENDS;
	f->feed_end = 0;
	linger(s, f);
	f->out = f->word;
	f->out_len = (uint32_t)out->send_len;
	f->out_done = 0;
	submit(s, f);
}

/* Does what comes still count? */
static bool
listens(const struct serve_feed *f)
{
	return f->state == SERVE_FEEDS ||
	       (f->state != SERVE_CLOSES && f->state != SERVE_FREE &&
		   f->feed_end != 0);
}

static void
messages(struct serve *s, struct serve_feed *f)
{
	struct link_out out = { .what = LINK_MESSAGE };
	size_t at = 0;
	union msg msg;

	while (out.what != LINK_MORE && listens(f)) {
		link_take(&f->link, f->in + at, f->in_len - at, s->loop->now_ns,
		    &msg, &out);
		at += out.used;
		if (out.what == LINK_DROP)
			on_drop(s, f, &out);
		else if (out.what == LINK_MESSAGE && out.type == MSG_ACK)
			on_ack(s, f, &msg.ack);
	}
	ASSERT(at <= f->in_len);
	f->in_len = listens(f) ? f->in_len - at : 0;
	memmove(f->in, f->in + at, f->in_len);
	ASSERT(f->in_len < sizeof(f->in));
}

static void
came(struct serve *s, struct serve_feed *f, int res)
{
	f->comes = false;
	if (f->state == SERVE_CLOSES)
		return;
	if (res == -EINTR || res == -EAGAIN)
		return;
	if (res <= 0) {
		if (f->state == SERVE_FEEDS) {
			f->feed_end = 0;
			snprintf(f->text, sizeof(f->text),
			    "the other end closed it%s%s", res < 0 ? ": " : "",
			    res < 0 ? strerror(-res) : "");
			tell_end(s, f);
		}
		feed_close(s, f, 0);
		return;
	}
	f->in_len += (size_t)res;
	messages(s, f);
}

/* ---- offers ---- */

/* Is it of the mastership that this node has now? */
static bool
is_ours(const struct serve *s, const struct msg_data_hello *d)
{
	return s->view.role == ROLE_MASTER && s->view.term == d->term &&
	       s->view.epoch == d->their_epoch;
}

static bool
offer_ok(const struct serve *s, const struct data_offer *o)
{
	const struct msg_data_hello *d = &o->link.data;

	return o->member < MEMBER_MAX && o->member != s->view.self &&
	       o->link.role == FROM_LISTENER && d->source == FEED_SEGMENTS &&
	       d->until > d->vlsn && d->until <= VLSN_MASK && d->term != 0;
}

static int
wal_open(struct serve *s)
{
	if (s->wal_dir < 0)
		s->wal_dir = openat(
		    s->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->wal_dir < 0 ? -errno : 0;
}

/* Memory, and its place in the log: blocks. */
static void
feed_place(struct serve *s, struct serve_feed *f)
{
	uint64_t next = f->end.vlsn + 1;
	int rc = wal_open(s);

	if (rc == 0)
		rc = cursor_open(&f->cursor, s->r, s->wal_dir, false);
	for (unsigned i = 0; rc == 0 && i < 2; i++) {
		f->frame[i].memory = malloc(FRAME_MEMORY);
		if (f->frame[i].memory == NULL)
			rc = -ENOMEM;
	}
	if (rc != 0) {
		feed_over(f, 0, REFUSED_BUSY, "restore: %s", strerror(-rc));
		return;
	}
	rc = cursor_seek(f->cursor, next);
	if (rc != 0)
		(void)unread(s, f, next, rc);
}

static void
feed_begin(
    struct serve *s, struct serve_feed *f, const struct data_offer *o, int fd)
{
	const struct msg_data_hello *d = &o->link.data;
	int flags = fcntl(fd, F_GETFL), on = 1;

	f->state = SERVE_FEEDS;
	f->fd = fd;
	f->member = o->member;
	f->window = o->window > SYNC_WINDOW_MIN ? o->window : SYNC_WINDOW_MIN;
	f->handed = o->link;
	f->row = &s->r->peers->row[o->member];
	f->begun_ns = f->moved_ns = s->loop->now_ns;
	f->cuts =
	    atomic_load_explicit(&s->r->walbuf.h->cuts, memory_order_acquire);
	f->end = (struct append_end){
		.vlsn = d->vlsn, .term = d->vlsn_term, .chain = d->crc
	};
	f->sent = f->acked = d->vlsn;
	/* The ring waits for a socket only if that would. */
	(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	link_adopt(&f->link, &s->self, &f->handed, s->loop->now_ns);
	peer_feed_begin(f->row, d->connection, PEER_FEED_SEGMENTS, d->vlsn);
	pin(s);
	event_add(s->r, SLOT_RESTORE, EVENT_INFO,
	    "%s: is fed from segment files, records %" PRIu64 " to %" PRIu64,
	    member_name(s, f), d->vlsn + 1, d->until);
	if (s->stops || !is_ours(s, d))
		feed_stopped(f, s->stops ? "the node stops"
					 : "this node is not master of it");
	else
		feed_place(s, f);
}

/* A member has one feed: the newer offer is the one that it wants. */
static struct serve_feed *
feed_for(struct serve *s, unsigned member)
{
	struct serve_feed *found = NULL;

	for (unsigned i = 0; i < MEMBER_MAX; i++) {
		struct serve_feed *f = &s->feed[i];

		if (f->state != SERVE_FREE && f->state != SERVE_CLOSES &&
		    f->member == member)
			feed_close(s, f, 0);
		if (f->state == SERVE_FREE && found == NULL)
			found = f;
	}
	return found;
}

static void
offers(struct serve *s)
{
	struct serve_feed *f;
	struct data_offer o;
	int fd, rc = 0;

	if (!s->offers)
		return;
	s->offers = false;
	while (s->pair >= 0 && rc != -EAGAIN) {
		rc = handover_recv(s->pair, &o, &fd);
		if (rc == -EPIPE)
			s->pair = -1;
		if (rc != 0)
			continue;
		if (!offer_ok(s, &o)) {
			say_warnx("an offer that is none is dropped");
			close(fd);
			continue;
		}
		f = feed_for(s, o.member);
		if (f != NULL) {
			feed_begin(s, f, &o, fd);
			continue;
		}
		/* Sixteen that are not closed yet. */
		peer_feed_begin(&s->r->peers->row[o.member],
		    o.link.data.connection, PEER_FEED_SEGMENTS, 0);
		(void)peer_feed_end(&s->r->peers->row[o.member],
		    o.link.data.connection, REFUSED_BUSY);
		bell_ring(s->loop->bells, SLOT_GROUP);
		close(fd);
	}
}

static void
poll_turn(struct serve *s)
{
	struct io_uring_sqe *sqe;

	if (s->polls || s->pair < 0)
		return;
	sqe = loop_sqe(s->loop);
	if (sqe == NULL) {
		s->loop->unready = true;
		return;
	}
	io_uring_prep_poll_add(sqe, s->pair, POLLIN);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND(SERVE_OFFER), 0, 0));
	s->polls = true;
}

/* ---- turns ---- */

static void
look(struct serve *s)
{
	uint64_t word = position_get(&s->r->pos->committed);

	commit_view_read(s->r->commit, &s->view);
	s->committed = word_epoch(word) == s->view.epoch ? word_vlsn(word) : 0;
}

static bool
is_stalled(const struct serve *s, const struct serve_feed *f)
{
	return f->state == SERVE_FEEDS && (f->flights > 0 || f->sends) &&
	       s->loop->now_ns >= f->moved_ns + SERVE_STALL_NS;
}

static void
feed_turn(struct serve *s, struct serve_feed *f)
{
	uint64_t now = s->loop->now_ns;

	if (f->state == SERVE_FEEDS && f->feed_end != FEED_STOPPED) {
		if (s->stops)
			feed_stopped(f, "the node stops");
		else if (!is_ours(s, &f->handed.data))
			feed_stopped(f, "this node is not master of it");
		else if (is_cut(s, f))
			feed_stopped(f, "the log was cut");
	}
	if (is_stalled(s, f)) {
		f->reason = REFUSED_STALL;
		snprintf(f->text, sizeof(f->text),
		    "nothing was acknowledged for %u s",
		    (unsigned)(SERVE_STALL_NS / NS_PER_S));
		tell_end(s, f);
		feed_close(s, f, REFUSED_STALL);
	} else if ((f->state == SERVE_ENDS || f->state == SERVE_LINGERS) &&
		   now >= f->linger_ns)
		feed_close(s, f, 0);
	if (may_fill(s, f))
		fill(s, f);
	if (f->state == SERVE_FEEDS || f->state == SERVE_ENDS)
		send_turn(s, f);
	if (f->state != SERVE_FREE)
		receive(s, f);
	if (f->state == SERVE_CLOSES && !f->sends && !f->comes)
		feed_free(s, f);
	if (may_fill(s, f))
		s->loop->unready = true;
}

void
serve_turn(struct serve *s)
{
	look(s);
	poll_turn(s);
	offers(s);
	for (unsigned i = 0; i < MEMBER_MAX; i++)
		if (s->feed[i].state != SERVE_FREE)
			feed_turn(s, &s->feed[i]);
	pin(s);
}

bool
serve_pending(const struct serve *s)
{
	return s->offers;
}

/* Who is fed is looked at at times: nobody tells of a view, or of a cut. */
uint64_t
serve_deadline(const struct serve *s)
{
	return serve_idle(s) ? LOOP_NEVER : s->loop->now_ns + 4 * SERVE_WAIT_NS;
}

void
serve_done(struct serve *s, enum serve_kind kind, uint32_t slot,
    uint32_t generation, int res, uint32_t flags)
{
	struct serve_feed *f;

	(void)flags;
	if (kind == SERVE_OFFER) {
		s->polls = false;
		s->offers = true;
		return;
	}
	ASSERT(slot < MEMBER_MAX);
	f = &s->feed[slot];
	if (f->state == SERVE_FREE || f->generation != generation) {
		loop_stale(s->loop);
		return;
	}
	if (kind == SERVE_SENT)
		sent(s, f, res);
	else
		came(s, f, res);
}

void
serve_open(struct serve *s, struct region *r, struct loop *loop, int data_dir,
    int pair_fd)
{
	memset(s, 0, sizeof(*s));
	s->r = r;
	s->loop = loop;
	s->data_dir = data_dir;
	s->wal_dir = -1;
	s->pair = pair_fd;
	/* What came while nobody looked. */
	s->offers = true;
	s->self = (struct link_self){ .key = &s->key,
		.version_min = MSG_PROTOCOL_MIN,
		.version_max = MSG_PROTOCOL };
	for (unsigned i = 0; i < MEMBER_MAX; i++)
		s->feed[i].fd = -1;
	/* Of one before, if the supervisor did not. */
	position_set(&r->pos->serving, 0);
	if (peers_server_died(r->peers))
		bell_ring(loop->bells, SLOT_GROUP);
}

void
serve_close(struct serve *s)
{
	for (unsigned i = 0; i < MEMBER_MAX; i++) {
		struct serve_feed *f = &s->feed[i];

		if (f->state == SERVE_FREE)
			continue;
		row_end(s, f, 0);
		f->sends = f->comes = false;
		feed_free(s, f);
	}
	if (s->wal_dir >= 0)
		close(s->wal_dir);
	s->wal_dir = -1;
}

void
serve_stop(struct serve *s)
{
	if (s->stops)
		return;
	s->stops = true;
	for (unsigned i = 0; i < MEMBER_MAX; i++)
		linger(s, &s->feed[i]);
}

bool
serve_idle(const struct serve *s)
{
	for (unsigned i = 0; i < MEMBER_MAX; i++)
		if (s->feed[i].state != SERVE_FREE)
			return false;
	return true;
}
