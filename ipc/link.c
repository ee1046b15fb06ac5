/*
 * A connection between members on a worker's ring: see link.h.
 */
#include "ipc/link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"

enum { OP_CONNECT, OP_RECV, OP_SEND, OP_CANCEL };
#define OP_SHIFT 20 /* in a completion's slot, behind the index */

_Static_assert(LINK_IN >= MSG_SMALL_MAX, "a message");
_Static_assert((LINK_OUT & (LINK_OUT - 1)) == 0, "a circle");
_Static_assert(LINK_OUT >= 2 * MSG_SMALL_MAX, "two messages");

static void
obey(struct link *l, const struct link_out *out, const union msg *msg);

static uint64_t
now(const struct link *l)
{
	return l->owner->loop->now_ns;
}

static void
count(const struct link *l, enum counter which, uint64_t n)
{
	const struct loop *loop = l->owner->loop;

	counter_add(loop->region->counters, loop->slot, which, n);
}

static bool
flies(const struct link *l, unsigned op)
{
	return (l->flying & 1u << op) != 0;
}

static uint64_t
tag(const struct link *l, unsigned op)
{
	return loop_tag(l->owner->kind, l->slot | op << OP_SHIFT, l->life);
}

/* A request; NULL: the kernel takes none, which ends the link. */
static struct io_uring_sqe *
request(struct link *l, unsigned op)
{
	struct io_uring_sqe *sqe;

	ASSERT(!flies(l, op));
	sqe = loop_sqe(l->owner->loop);
	if (sqe != NULL)
		l->flying |= 1u << op;
	return sqe;
}

/* The kernel has let go of everything: it may begin anew. */
static void
settle(struct link *l)
{
	if (l->phase != LINK_CLOSED || l->flying != 0)
		return;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->phase = LINK_FREE;
}

/*
 * The descriptor stays until the last request that names it is over: one that
 * is not submitted yet would mean whatever has its number by then.
 */
static void
shut(struct link *l)
{
	struct io_uring_sqe *sqe;

	l->phase = LINK_CLOSED;
	if (l->fd >= 0)
		(void)shutdown(l->fd, SHUT_RDWR);
	if (flies(l, OP_CONNECT) && !flies(l, OP_CANCEL) &&
	    (sqe = request(l, OP_CANCEL)) != NULL) {
		io_uring_prep_cancel64(sqe, tag(l, OP_CONNECT), 0);
		io_uring_sqe_set_data64(sqe, tag(l, OP_CANCEL));
	}
	settle(l);
}

/* It is over, as l->end says; `why` is on its way to the other end. */
static void
ended(struct link *l, bool lingers)
{
	const struct link_owner *o = l->owner;

	if (lingers && l->phase == LINK_LIVE) {
		l->phase = LINK_LINGERS;
		l->linger_ns = now(l) + LINK_LINGER_NS;
	} else {
		shut(l);
	}
	o->hooks->ended(o->ctx, l);
}

static void
broke(struct link *l, const char *what, int error)
{
	if (l->phase != LINK_CONNECTING && l->phase != LINK_LIVE)
		return;
	memset(&l->end, 0, sizeof(l->end));
	l->end.error = error;
	l->end.proven = l->wire.proven;
	snprintf(l->end.text, sizeof(l->end.text), "%s%s%s", what,
	    error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
	ended(l, false);
}

/* ---- sending ---- */

static void
arm_send(struct link *l)
{
	struct io_uring_sqe *sqe;
	uint32_t n;

	if (l->out_len == 0 || flies(l, OP_SEND) ||
	    (l->phase != LINK_LIVE && l->phase != LINK_LINGERS))
		return;
	sqe = request(l, OP_SEND);
	if (sqe == NULL) {
		broke(l, "send", EBUSY);
		return;
	}
	n = LINK_OUT - l->out_at;
	l->send_len = n < l->out_len ? n : l->out_len;
	io_uring_prep_send(
	    sqe, l->fd, l->out + l->out_at, l->send_len, MSG_NOSIGNAL);
	io_uring_sqe_set_data64(sqe, tag(l, OP_SEND));
}

/* False: there is no room. */
static bool
put(struct link *l, const uint8_t *at, size_t n)
{
	uint32_t end = (l->out_at + l->out_len) & (LINK_OUT - 1);
	size_t first = LINK_OUT - end;

	if (n > LINK_OUT - l->out_len)
		return false;
	if (first > n)
		first = n;
	memcpy(l->out + end, at, first);
	memcpy(l->out, at + first, n - first);
	l->out_len += (uint32_t)n;
	l->sent_ns = now(l);
	return true;
}

/* ---- receiving ---- */

static bool
is_data_ready(const struct link *l)
{
	return l->wire.state == LINK_READY && l->wire.on == ON_DATA;
}

static void
make_room(struct link *l)
{
	if (l->in_at == 0 || flies(l, OP_RECV))
		return;
	memmove(l->in, l->in + l->in_at, l->in_len - l->in_at);
	l->in_len -= l->in_at;
	l->in_at = 0;
}

/* How many bytes may be read now. */
static size_t
wanted(const struct link *l)
{
	if (l->phase == LINK_LINGERS)
		return LINK_IN;
	if (l->phase != LINK_LIVE || l->eof || l->more || is_data_ready(l) ||
	    l->wire.state == LINK_DROPPED)
		return 0;
	if (l->wire.state == LINK_READY)
		return LINK_IN - l->in_len;
	return link_wants(&l->wire, l->in + l->in_at, l->in_len - l->in_at);
}

static void
arm_recv(struct link *l)
{
	struct io_uring_sqe *sqe;
	size_t n;

	if (flies(l, OP_RECV))
		return;
	if (l->phase == LINK_LINGERS)
		l->in_at = l->in_len = 0;
	make_room(l);
	n = wanted(l);
	if (n > LINK_IN - l->in_len)
		n = LINK_IN - l->in_len;
	if (n == 0)
		return;
	sqe = request(l, OP_RECV);
	if (sqe == NULL) {
		broke(l, "recv", EBUSY);
		return;
	}
	io_uring_prep_recv(sqe, l->fd, l->in + l->in_len, n, 0);
	io_uring_sqe_set_data64(sqe, tag(l, OP_RECV));
}

/* Messages that are there, as many as a turn may take. */
static void
take(struct link *l)
{
	struct link_out out;
	union msg msg;
	unsigned n;

	l->more = false;
	for (n = 0; l->phase == LINK_LIVE && !is_data_ready(l); n++) {
		if (n == LINK_TURN) {
			l->more = true;
			break;
		}
		link_take(&l->wire, l->in + l->in_at, l->in_len - l->in_at,
		    now(l), &msg, &out);
		l->in_at += (uint32_t)out.used;
		obey(l, &out, &msg);
		if (out.what == LINK_MORE || out.what == LINK_HOLD)
			break;
	}
	if (l->phase == LINK_LIVE && l->eof && !l->more)
		broke(l, "closed by the other end", 0);
}

/* What may go on does. */
static void
pump(struct link *l)
{
	arm_send(l);
	arm_recv(l);
	settle(l);
}

/* ---- what the core says ---- */

/* A data connection changes hands when nothing of it is under way here. */
static void
open_if_sent(struct link *l)
{
	const struct link_owner *o = l->owner;

	if (l->phase != LINK_LIVE || l->wire.state != LINK_READY || l->opened)
		return;
	if (l->wire.on == ON_DATA && (l->out_len > 0 || l->flying != 0))
		return;
	l->opened = true;
	o->hooks->open(o->ctx, l);
}

static void
dropped(struct link *l, const struct link_out *out)
{
	memset(&l->end, 0, sizeof(l->end));
	l->end.reason = out->reason;
	l->end.by_peer = out->by_peer;
	l->end.proven = out->proven;
	memcpy(l->end.text, out->text, sizeof(l->end.text));
	ended(l, out->send_len > 0 && !l->full);
}

static void
obey(struct link *l, const struct link_out *out, const union msg *msg)
{
	const struct link_owner *o = l->owner;
	struct link_out next;

	if (out->send_len > 0 && !put(l, out->send, out->send_len))
		l->full = true;
	switch (out->what) {
	case LINK_NEEDS_JUDGEMENT:
		o->hooks->judge(o->ctx, l);
		return;
	case LINK_NEEDS_TICKET:
		link_ticket(
		    &l->wire, o->hooks->ticket(o->ctx, l), now(l), &next);
		obey(l, &next, NULL);
		return;
	case LINK_OPEN:
		if (l->wire.on == ON_DATA)
			arm_send(l);
		open_if_sent(l);
		return;
	case LINK_MESSAGE:
		count(l, C_PEER_MESSAGES_IN, 1);
		o->hooks->message(o->ctx, l, out->type, msg);
		return;
	case LINK_DROP:
		dropped(l, out);
		return;
	case LINK_MORE:
	case LINK_HOLD:
	case LINK_STEP:
	case LINK_LOG: /* a data connection's, which is another room's then */
		return;
	}
}

void
link_accept(struct link *l)
{
	struct link_out out;

	if (l->phase != LINK_LIVE || l->wire.state != LINK_PROVEN)
		return;
	link_judge(&l->wire, REFUSED_NOTHING, "", now(l), &out);
	obey(l, &out, NULL);
	pump(l);
}

void
link_refuse(struct link *l, unsigned reason, const char *text)
{
	struct link_out out;

	if (l->phase != LINK_LIVE || l->wire.state != LINK_PROVEN)
		return;
	link_judge(&l->wire, reason, text, now(l), &out);
	obey(l, &out, NULL);
	pump(l);
}

void
link_stop(struct link *l, unsigned reason, const char *text)
{
	struct link_out out;

	if ((l->phase != LINK_CONNECTING && l->phase != LINK_LIVE) ||
	    l->wire.state == LINK_DROPPED)
		return;
	link_end(&l->wire, reason, text, &out);
	obey(l, &out, NULL);
	pump(l);
}

void
link_cut(struct link *l)
{
	if (l->phase == LINK_LINGERS)
		shut(l);
}

int
link_put(struct link *l, unsigned type, const void *msg)
{
	uint8_t frame[MSG_SMALL_MAX];
	struct msg_error e;
	int n;

	if (l->phase != LINK_LIVE || l->wire.state != LINK_READY)
		return -ENOTCONN;
	if (msg_check(type, msg, &e) != 0)
		return -EINVAL;
	n = link_send(&l->wire, type, msg, frame, sizeof(frame));
	ASSERT(n > 0);
	if (!put(l, frame, (size_t)n)) {
		l->full = true;
		link_stop(l, REFUSED_STALL, "it does not read");
		return -ENOBUFS;
	}
	count(l, C_PEER_MESSAGES_OUT, 1);
	arm_send(l);
	return 0;
}

/* ---- completions ---- */

static void
on_connect(struct link *l, int res)
{
	if (l->phase != LINK_CONNECTING)
		return;
	if (res < 0) {
		broke(l, "connect", -res);
		return;
	}
	l->phase = LINK_LIVE;
}

static bool
is_again(int res)
{
	return res == -EINTR || res == -EAGAIN;
}

static void
on_recv(struct link *l, int res)
{
	if (is_again(res))
		return;
	if (l->phase == LINK_LINGERS) {
		l->eof |= res <= 0;
		if (l->eof && l->out_len == 0)
			shut(l);
		else if (l->eof)
			l->linger_ns = now(l); /* nobody reads it */
		return;
	}
	if (l->phase != LINK_LIVE)
		return;
	if (res < 0) {
		broke(l, "recv", -res);
		return;
	}
	l->eof = res == 0;
	l->in_len += (uint32_t)res;
	l->bytes_in += (uint64_t)res;
	count(l, C_PEER_BYTES_IN, (uint64_t)res);
	take(l);
}

static void
on_send(struct link *l, int res)
{
	if (is_again(res))
		return;
	if (res < 0) {
		if (l->phase == LINK_LINGERS)
			shut(l);
		else
			broke(l, "send", -res);
		return;
	}
	ASSERT((uint32_t)res <= l->out_len);
	l->out_at = (l->out_at + (uint32_t)res) & (LINK_OUT - 1);
	l->out_len -= (uint32_t)res;
	l->bytes_out += (uint64_t)res;
	count(l, C_PEER_BYTES_OUT, (uint64_t)res);
	if (l->phase == LINK_LINGERS && l->out_len == 0) {
		if (l->eof)
			shut(l);
		else
			(void)shutdown(l->fd, SHUT_WR);
	}
}

uint32_t
link_of_slot(uint32_t slot)
{
	return slot & ((1u << OP_SHIFT) - 1);
}

void
link_completed(struct link *l, uint32_t slot, uint32_t life, int res)
{
	unsigned op = slot >> OP_SHIFT;

	if (life != l->life || !flies(l, op)) {
		loop_stale(l->owner->loop);
		return;
	}
	l->flying &= ~(1u << op);
	if (op == OP_CONNECT)
		on_connect(l, res);
	else if (op == OP_RECV)
		on_recv(l, res);
	else if (op == OP_SEND)
		on_send(l, res);
	open_if_sent(l);
	pump(l);
}

/* ---- turns ---- */

void
link_turn(struct link *l)
{
	struct link_out out;

	if (l->phase == LINK_FREE)
		return;
	if (l->phase == LINK_LINGERS && now(l) >= l->linger_ns)
		shut(l);
	if (l->phase == LINK_LIVE && l->more)
		take(l);
	if ((l->phase == LINK_CONNECTING || l->phase == LINK_LIVE) &&
	    now(l) >= link_due(l)) {
		if (is_data_ready(l))
			broke(l, "the welcome cannot be sent", 0);
		else {
			link_tick(&l->wire, now(l), &out);
			obey(l, &out, NULL);
		}
	}
	pump(l);
}

bool
link_pending(const struct link *l)
{
	return l->phase == LINK_LIVE && l->more;
}

uint64_t
link_due(const struct link *l)
{
	switch (l->phase) {
	case LINK_CONNECTING:
	case LINK_LIVE:
		if (is_data_ready(l))
			return l->start_ns + 2 * LINK_HANDSHAKE_NS;
		return link_deadline(&l->wire);
	case LINK_LINGERS:
		return l->linger_ns;
	case LINK_FREE:
	case LINK_CLOSED:
		break;
	}
	return UINT64_MAX;
}

/* ---- life ---- */

void
link_init(struct link *l, const struct link_owner *owner, uint32_t slot)
{
	ASSERT(slot < 1u << OP_SHIFT);
	l->owner = owner;
	l->slot = slot;
	l->fd = -1;
	l->phase = LINK_FREE;
}

/*
 * Beats of 20 ms: none waits for another's acknowledgement. A host that is gone
 * is noticed by silence long before the kernel gives it up; a replica that
 * pauses for some seconds is not gone.
 */
static void
set_options(int fd)
{
	int one = 1, idle = 5, between = 2, times = 3, gone = LINK_GONE_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &gone, sizeof(gone));
}

static void
begin(struct link *l, int fd, enum link_phase phase)
{
	ASSERT(l->phase == LINK_FREE && l->flying == 0);
	set_options(fd);
	l->fd = fd;
	l->phase = phase;
	l->life++;
	l->who = -1;
	l->dialled = phase == LINK_CONNECTING;
	l->opened = l->full = l->eof = l->more = false;
	l->linger_ns = 0;
	l->start_ns = l->sent_ns = now(l);
	l->bytes_in = l->bytes_out = 0;
	l->in_len = l->in_at = l->out_at = l->out_len = l->send_len = 0;
	memset(&l->end, 0, sizeof(l->end));
}

/* A socket that connects; what is said first waits in the queue. */
static int
connect_begin(struct link *l, const struct resolve_addr *to)
{
	struct io_uring_sqe *sqe;
	int fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	begin(l, fd, LINK_CONNECTING);
	l->addr = *to;
	sqe = request(l, OP_CONNECT);
	if (sqe == NULL) {
		l->phase = LINK_CLOSED;
		settle(l);
		return -EBUSY;
	}
	io_uring_prep_connect(
	    sqe, fd, (const struct sockaddr *)&l->addr.at, l->addr.len);
	io_uring_sqe_set_data64(sqe, tag(l, OP_CONNECT));
	return 0;
}

int
link_connect(struct link *l, const struct resolve_addr *to,
    const struct msg_proof *mine, const char *whom)
{
	uint8_t nonce[MSG_NONCE];
	struct link_out out;
	int rc = connect_begin(l, to);

	if (rc != 0)
		return rc;
	arc4random_buf(nonce, sizeof(nonce));
	link_dial(&l->wire, l->owner->self, mine, whom, nonce, now(l), &out);
	obey(l, &out, NULL);
	return l->phase == LINK_CONNECTING ? 0 : -ENOMEM;
}

int
link_connect_data(struct link *l, const struct resolve_addr *to,
    const struct link_ticket *ticket)
{
	uint8_t nonce[MSG_NONCE];
	struct link_out out;
	int rc = connect_begin(l, to);

	if (rc != 0)
		return rc;
	arc4random_buf(nonce, sizeof(nonce));
	link_dial_data(&l->wire, l->owner->self, ticket, nonce, now(l), &out);
	obey(l, &out, NULL);
	return l->phase == LINK_CONNECTING ? 0 : -ENOMEM;
}

int
link_accepted(struct link *l, int fd, const struct msg_proof *mine)
{
	uint8_t nonce[MSG_NONCE];

	begin(l, fd, LINK_LIVE);
	l->addr.len = sizeof(l->addr.at);
	if (getpeername(fd, (struct sockaddr *)&l->addr.at, &l->addr.len) !=
	    0) {
		l->phase = LINK_CLOSED;
		settle(l);
		return -ENOTCONN;
	}
	arc4random_buf(nonce, sizeof(nonce));
	link_listen(&l->wire, l->owner->self, mine, nonce, now(l));
	pump(l);
	return l->phase == LINK_LIVE ? 0 : -EBUSY;
}

int
link_give(struct link *l, struct link_handed *out)
{
	int fd = l->fd, flags;

	ASSERT(l->phase == LINK_LIVE && l->opened && is_data_ready(l));
	ASSERT(l->flying == 0 && l->out_len == 0 && l->in_at == l->in_len);
	link_hand(&l->wire, out);
	flags = fcntl(fd, F_GETFL);
	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	l->fd = -1;
	l->wire.state = LINK_DROPPED;
	l->phase = LINK_FREE;
	return fd;
}
