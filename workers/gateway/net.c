/*
 * Sockets on the ring. A client costs one armed multishot receive; what it
 * sends arrives in a buffer the kernel picks; its replies of a turn leave
 * with one send. All of a turn's requests go to the kernel in the loop's one
 * io_uring_enter.
 *
 * A connection ends when neither a receive nor a send of it is in flight:
 * gw_net_flush() cancels what is, and the last completion closes it. Who is
 * not read now is polled for the client's end (CONN_WATCH), so that none stays
 * whose client is gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/log.h"
#include "workers/gateway/gateway.h"

enum {
	KIND_ACCEPT = 1,
	KIND_RECV,
	KIND_POLL,
	KIND_SEND,
	KIND_QUIET,
	KIND_WATCH
};

#define LISTEN_BACKLOG 4096
#define ACCEPT_MAX     64 /* of one listener in one turn */
#define QUIET_MAX      16384 /* bytes: an idle client's socket takes them */
#define SEND_MAX       (1u << 30) /* bytes in one send */
/* A host that went without a word is found out in twice that, as by Redis. */
#define KEEPALIVE_S 300

static const char REFUSAL[] = "-ERR max number of clients reached\r\n";

static bool
net_provides(const struct gateway *g)
{
	return g->buf_ring != NULL;
}

/* ---- receiving ---- */

static void
buf_give(struct gateway *g, unsigned id)
{
	io_uring_buf_ring_add(g->buf_ring, g->bufs + (size_t)id * GW_BUF_SIZE,
	    GW_BUF_SIZE, (unsigned short)id, io_uring_buf_ring_mask(GW_BUFS),
	    0);
	io_uring_buf_ring_advance(g->buf_ring, 1);
}

static int
bufs_open(struct gateway *g)
{
	size_t ring_size = GW_BUFS * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg reg;
	unsigned i;
	void *ring;
	int rc;

	/* Mapped, not allocated: untouched buffers are no memory. */
	g->bufs = mmap(NULL, (size_t)GW_BUFS * GW_BUF_SIZE,
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->bufs == MAP_FAILED) {
		g->bufs = NULL;
		return -errno;
	}
	if ((g->loop.features & LOOP_HAS_BUF_RING) == 0 ||
	    (g->loop.features & LOOP_HAS_RECV_MULTISHOT) == 0)
		return 0;
	ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED)
		return -errno;
	memset(&reg, 0, sizeof(reg));
	reg.ring_addr = (uint64_t)(uintptr_t)ring;
	reg.ring_entries = GW_BUFS;
	reg.bgid = GW_BUF_GROUP;
	rc = io_uring_register_buf_ring(&g->loop.ring, &reg, 0);
	if (rc < 0) {
		munmap(ring, ring_size);
		return rc == -EINVAL ? 0 : rc;
	}
	g->buf_ring = ring;
	io_uring_buf_ring_init(g->buf_ring);
	for (i = 0; i < GW_BUFS; i++)
		buf_give(g, i);
	return 0;
}

/* Without provided buffers: wait for data, then read it right here. */
static bool
net_arm_poll(struct gateway *g, struct conn *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&g->loop);

	if (sqe == NULL)
		return false;
	io_uring_prep_poll_add(sqe, c->fd, POLLIN);
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND_POLL, c->index, c->generation));
	return true;
}

static bool
net_arm_recv(struct gateway *g, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (!net_provides(g))
		return net_arm_poll(g, c);
	if ((sqe = loop_sqe(&g->loop)) == NULL)
		return false;
	io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GW_BUF_GROUP;
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND_RECV, c->index, c->generation));
	return true;
}

static bool
net_cancel(struct gateway *g, struct conn *c, unsigned kind)
{
	struct io_uring_sqe *sqe = loop_sqe(&g->loop);

	if (sqe == NULL)
		return false;
	io_uring_prep_cancel64(sqe, loop_tag(kind, c->index, c->generation), 0);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_QUIET, 0, 0));
	return true;
}

static bool
net_cancel_recv(struct gateway *g, struct conn *c)
{
	if (!net_cancel(g, c, net_provides(g) ? KIND_RECV : KIND_POLL))
		return false;
	c->flags |= CONN_CANCEL;
	return true;
}

/* A receive has ended, for good or to be armed again. */
static void
net_recv_over(struct gateway *g, struct conn *c, int res)
{
	c->flags &= ~(unsigned)(CONN_RECV | CONN_CANCEL);
	gw_conn_dirty(g, c);
	if (res > 0 || res == -ENOBUFS || res == -ECANCELED || res == -EINTR ||
	    res == -EAGAIN)
		return;
	if (res == 0)
		gw_conn_eof(g, c);
	else
		gw_conn_kill(g, c);
}

/* Whose completion it is; NULL: it was closed meanwhile. */
static struct conn *
net_conn(struct gateway *g, uint32_t slot, uint32_t generation)
{
	struct conn *c = gw_conn_find(g, slot, generation);

	if (c == NULL)
		loop_stale(&g->loop);
	return c;
}

static void
net_received(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gateway *g = ctx;
	struct conn *c = net_conn(g, slot, generation);
	unsigned id;

	if ((flags & IORING_CQE_F_BUFFER) != 0) {
		id = flags >> IORING_CQE_BUFFER_SHIFT;
		ASSERT(id < GW_BUFS);
		if (c != NULL && res > 0)
			gw_conn_input(g, c, g->bufs + (size_t)id * GW_BUF_SIZE,
			    (size_t)res);
		buf_give(g, id);
	}
	if (c != NULL && (flags & IORING_CQE_F_MORE) == 0)
		net_recv_over(g, c, res);
}

static void
net_polled(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gateway *g = ctx;
	struct conn *c = net_conn(g, slot, generation);
	ssize_t n;

	(void)flags;
	if (c == NULL)
		return;
	if (res >= 0) {
		n = recv(c->fd, g->bufs, GW_BUF_SIZE, MSG_DONTWAIT);
		res = n < 0 ? -errno : (int)n;
		if (n > 0)
			gw_conn_input(g, c, g->bufs, (size_t)n);
	}
	net_recv_over(g, c, res);
}

/* ---- who is not read ---- */

static bool
net_watch(struct gateway *g, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if ((c->flags & (CONN_WATCH | CONN_EOF | CONN_ENDED)) != 0)
		return true;
	if ((sqe = loop_sqe(&g->loop)) == NULL)
		return false;
	io_uring_prep_poll_add(sqe, c->fd, POLLRDHUP);
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND_WATCH, c->index, c->generation));
	c->flags |= CONN_WATCH;
	return true;
}

/* What came before the end is read in its time, unless it was cut off. */
static void
net_watched(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gateway *g = ctx;
	struct conn *c = net_conn(g, slot, generation);

	(void)flags;
	if (c == NULL)
		return;
	c->flags &= ~(unsigned)(CONN_WATCH | CONN_CANCEL_WATCH);
	if (res > 0)
		c->flags |= CONN_ENDED;
	gw_conn_dirty(g, c);
	if (res > 0 && (res & POLLERR) != 0)
		gw_conn_kill(g, c);
}

/* ---- sending ---- */

/*
 * A send into an empty socket buffer completes while it is submitted; to be
 * told of it would end the next sleep at once, for nothing. So it is asked
 * for all or nothing (WAITALL), without waiting (DONTWAIT), with a completion
 * only if it failed or fell short: if there is none once the kernel has taken
 * the request, the bytes are gone. What someone waits for is sent aloud.
 */
static bool
send_may_be_quiet(const struct gateway *g, const struct conn *c)
{
	const unsigned loud = CONN_CLOSING | CONN_LAST | CONN_EOF | CONN_SLOW;

	return (c->flags & loud) == 0 && c->park != PARK_OUTPUT &&
	       c->sending->sent == 0 && c->sending->len <= QUIET_MAX &&
	       (g->loop.features & LOOP_HAS_DEFER_TASKRUN) != 0;
}

static bool
net_send(struct gateway *g, struct conn *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&g->loop);
	struct chunk *s = c->sending;
	size_t left = s->len - s->sent;
	int how = MSG_NOSIGNAL;

	if (sqe == NULL)
		return false;
	if (send_may_be_quiet(g, c)) {
		how |= MSG_DONTWAIT | MSG_WAITALL;
		c->flags |= CONN_QUIET;
		c->quiet_next = g->quiet;
		g->quiet = c;
		g->quiet_tail = g->loop.ring.sq.sqe_tail;
	}
	io_uring_prep_send(sqe, c->fd, s->data + s->sent,
	    left < SEND_MAX ? left : SEND_MAX, how);
	if ((c->flags & CONN_QUIET) != 0)
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND_SEND, c->index, c->generation));
	c->flags |= CONN_SEND;
	return true;
}

/* n bytes of what was being sent are gone. */
static void
send_advance(struct gateway *g, struct conn *c, size_t n)
{
	struct chunk *s = c->sending;

	g->n_out += n;
	gw_memory_moved(g, c, n);
	s->sent += n;
	if (s->sent < s->len)
		return;
	c->queued -= s->len;
	c->sending = s->next;
	chunk_free(&g->pool, s);
}

/* A send is over: is there more to do? */
static void
send_over(struct gateway *g, struct conn *c)
{
	c->flags &= ~(unsigned)(CONN_SEND | CONN_QUIET);
	if ((c->flags & (CONN_CLOSING | CONN_LAST | CONN_EOF)) != 0 ||
	    c->sending != NULL || c->out.c != NULL)
		gw_conn_dirty(g, c);
	if (c->park == PARK_OUTPUT && gw_conn_unsent(c) <= GW_OUT_LOW)
		gw_conn_resume(g, c);
}

static void
net_sent(void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gateway *g = ctx;
	struct conn *c = net_conn(g, slot, generation);

	(void)flags;
	if (c == NULL)
		return;
	if (res > 0)
		send_advance(g, c, (size_t)res);
	else if (res != -EINTR && res != -EAGAIN)
		gw_conn_kill(g, c);
	if ((c->flags & CONN_QUIET) != 0)
		c->flags |= CONN_SLOW;
	else if (c->sending == NULL)
		c->flags &= ~(unsigned)CONN_SLOW;
	send_over(g, c);
}

void
gw_net_settle(struct gateway *g)
{
	/* Pairs with the kernel's release of what it took from the queue. */
	unsigned head = io_uring_smp_load_acquire(g->loop.ring.sq.khead);
	unsigned kflags = IO_URING_READ_ONCE(*g->loop.ring.sq.kflags);
	/* A complaint may be among completions that had no room, or that came
	   when the queue was full and went out by itself. */
	bool taken = (int)(head - g->quiet_tail) >= 0 &&
		     (kflags & IORING_SQ_CQ_OVERFLOW) == 0 &&
		     io_uring_cq_ready(&g->loop.ring) == 0;
	struct conn *c, *next, *kept = NULL;

	for (c = g->quiet; c != NULL; c = next) {
		next = c->quiet_next;
		if ((c->flags & CONN_QUIET) == 0)
			continue; /* it complained: net_sent() knows */
		if (!taken) {
			c->quiet_next = kept;
			kept = c;
			continue;
		}
		send_advance(g, c, c->sending->len);
		send_over(g, c);
	}
	g->quiet = kept;
}

/* ---- the end of a connection ---- */

static bool
net_close(struct gateway *g, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if ((c->flags & (CONN_RECV | CONN_CANCEL)) == CONN_RECV) {
		if (!net_cancel_recv(g, c))
			return false;
	}
	if ((c->flags & (CONN_SEND | CONN_CANCEL_SEND)) == CONN_SEND) {
		if (!net_cancel(g, c, KIND_SEND))
			return false;
		c->flags |= CONN_CANCEL_SEND;
	}
	if ((c->flags & (CONN_WATCH | CONN_CANCEL_WATCH)) == CONN_WATCH) {
		if (!net_cancel(g, c, KIND_WATCH))
			return false;
		c->flags |= CONN_CANCEL_WATCH;
	}
	if ((c->flags & (CONN_RECV | CONN_SEND | CONN_WATCH)) != 0)
		return true;
	if ((sqe = loop_sqe(&g->loop)) == NULL)
		return false;
	io_uring_prep_close(sqe, c->fd);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_QUIET, 0, 0));
	gw_conn_free(g, c);
	return true;
}

static void
net_over_output(struct gateway *g, struct conn *c)
{
	if (c->out.failed)
		log_info("client %llu: closed: no memory for its reply",
		    (unsigned long long)c->id);
	else
		log_info("client %llu: closed: %zu bytes of replies are "
			 "unread, [listen] max_output is %llu",
		    (unsigned long long)c->id, gw_conn_unsent(c),
		    (unsigned long long)g->w->conf->listen.max_output);
	gw_count(g, C_CLIENTS_KILLED, 1);
	gw_conn_kill(g, c);
}

/* What was rendered and is not being sent goes out. */
static bool
net_flush_output(struct gateway *g, struct conn *c)
{
	if (c->sending == NULL)
		gw_conn_queue(c);
	if (c->sending == NULL || (c->flags & CONN_SEND) != 0)
		return true;
	return net_send(g, c);
}

static bool
net_flush_input(struct gateway *g, struct conn *c)
{
	bool wants = gw_conn_wants_input(c);

	if (wants && (c->flags & CONN_RECV) == 0) {
		if (!net_arm_recv(g, c))
			return false;
		c->flags |= CONN_RECV;
	} else if (!wants && (c->flags & (CONN_RECV | CONN_CANCEL |
					     CONN_LAST)) == CONN_RECV) {
		return net_cancel_recv(g, c);
	}
	return (c->flags & CONN_RECV) != 0 || net_watch(g, c);
}

void
gw_net_flush(struct gateway *g, struct conn *c)
{
	bool fine = true;

	TAILQ_REMOVE(&g->dirty, c, dirty);
	c->flags &= ~(unsigned)CONN_DIRTY;
	if ((c->flags & CONN_CLOSING) == 0) {
		/* One reply may follow what its input did not rest for yet. */
		if (c->out.failed ||
		    (gw_conn_unsent(c) > gw_output_ceiling(g) &&
			gw_output_over(
			    g, gw_conn_unsent(c) - gw_output_ceiling(g))))
			net_over_output(g, c);
		else if ((c->flags & (CONN_LAST | CONN_EOF)) != 0 &&
			 gw_conn_settled(c))
			gw_conn_kill(g, c);
		else
			fine = net_flush_output(g, c) && net_flush_input(g, c);
	}
	if ((c->flags & CONN_CLOSING) != 0) {
		if ((c->flags & CONN_DIRTY) != 0)
			TAILQ_REMOVE(&g->dirty, c, dirty);
		c->flags &= ~(unsigned)CONN_DIRTY;
		fine = net_close(g, c);
	}
	if (!fine) {
		/* The queue takes nothing now: the next turn comes again. */
		gw_conn_dirty(g, c);
		g->loop.unready = true;
	}
}

/* Is it the client's turn? If it is ours, it may take as long as it takes. */
static bool
conn_is_idle(const struct conn *c)
{
	return c->node_count == 0 && (c->flags & CONN_HELD) == 0 &&
	       (c->park == PARK_NOT || c->park == PARK_OUTPUT);
}

void
gw_net_idle(struct gateway *g)
{
	uint64_t limit = atomic_load_explicit(
	    &g->r->control->idle_timeout_ms, memory_order_relaxed);
	uint64_t now = g->loop.now_ns;
	struct conn *c;
	uint32_t i;

	if (limit == 0 || now < g->idle_check_ns)
		return;
	g->idle_check_ns = now + NS_PER_S;
	for (i = 0; i < gw_conn_limit(g); i++) {
		c = gw_conn_at(g, i);
		if (c != NULL && conn_is_idle(c) && now > c->active_ns &&
		    now - c->active_ns > limit * NS_PER_MS)
			gw_conn_kill(g, c);
	}
}

/* ---- accepting ---- */

static void
net_refuse(struct gateway *g, int fd)
{
	/* One line into an empty socket buffer never blocks. */
	(void)send(
	    fd, REFUSAL, sizeof(REFUSAL) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	gw_count(g, C_CLIENTS_REFUSED, 1);
}

static void
net_admit(struct gateway *g, int fd, unsigned listener)
{
	struct conn *c = NULL;

	if (gw_conn_room(g))
		c = gw_conn_new(g, fd, listener);
	if (c == NULL) {
		net_refuse(g, fd);
		return;
	}
	gw_count(g, C_CLIENTS_ACCEPTED, 1);
	if (g->draining)
		c->flags |= CONN_EOF;
	gw_conn_dirty(g, c);
}

static void
net_accepted(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gateway *g = ctx;

	(void)generation;
	ASSERT(slot < LISTEN_MAX);
	listener_event(&g->listener[slot], res, flags);
}

/*
 * Whom no other gateway took since the last try: each is answered through the
 * place of the spare descriptor.
 */
static void
net_turn_away(struct gateway *g, const struct listener *l)
{
	int fd = 0;

	for (unsigned n = 0; n < ACCEPT_MAX && fd >= 0; n++) {
		if (g->spare_fd >= 0)
			close(g->spare_fd);
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			net_refuse(g, fd);
		g->spare_fd = eventfd(0, EFD_CLOEXEC);
	}
}

/* Out of descriptors, or of memory: the supervisor is told. */
static void
net_accept_failed(struct gateway *g, const struct listener *l)
{
	struct slot_row *row = &g->r->slots->row[g->slot];

	atomic_store_explicit(
	    &row->no_fd_error, l->error, memory_order_relaxed);
	atomic_store_explicit(
	    &row->no_fd_ns, g->loop.now_ns, memory_order_release);
	if (l->failed_again)
		net_turn_away(g, l);
}

void
gw_net_accept(struct gateway *g)
{
	unsigned i, n;
	int fd;

	for (i = 0; i < LISTEN_MAX; i++) {
		struct listener *l = &g->listener[i];
		bool asked = listener_pending(l, g->loop.now_ns);

		listener_arm(l, &g->loop);
		for (n = 0; n < ACCEPT_MAX; n++) {
			if ((fd = listener_next(l, g->loop.now_ns)) < 0)
				break;
			net_admit(g, fd, i);
		}
		if (asked && l->error != 0)
			net_accept_failed(g, l);
	}
}

bool
gw_net_accept_pending(const struct gateway *g)
{
	unsigned i;

	for (i = 0; i < LISTEN_MAX; i++)
		if (listener_pending(&g->listener[i], g->loop.now_ns))
			return true;
	return false;
}

uint64_t
gw_net_accept_deadline(const struct gateway *g)
{
	uint64_t at = LOOP_NEVER, due;
	unsigned i;

	for (i = 0; i < LISTEN_MAX; i++)
		if ((due = listener_deadline(&g->listener[i])) < at)
			at = due;
	return at;
}

void
gw_net_accept_stop(struct gateway *g)
{
	unsigned i;

	for (i = 0; i < LISTEN_MAX; i++) {
		listener_close(&g->listener[i], &g->loop);
		if (g->w->listen_fd[i] >= 0)
			close(g->w->listen_fd[i]);
		g->w->listen_fd[i] = -1;
	}
}

int
gw_net_listen(struct gateway *g)
{
	static const struct {
		int level, name, value;
	} options[] = { { IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S / 3 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
		/* Bound without it, see supervisor/listen.c: a connection
		   left in TIME_WAIT must not keep the next node out. */
		{ SOL_SOCKET, SO_REUSEADDR, 1 } };
	unsigned i, j;
	int rc;

	for (i = 0; i < LISTEN_MAX; i++) {
		int fd = g->w->listen_fd[i];

		if (fd < 0)
			continue;
		/* Accepted sockets inherit these: no call for each of them.
		   A unix socket refuses them, which is fine. */
		for (j = 0; j < NITEMS(options); j++)
			(void)setsockopt(fd, options[j].level, options[j].name,
			    &options[j].value, sizeof(options[j].value));
		if (listen(fd, LISTEN_BACKLOG) != 0)
			return -errno;
		rc = listener_open(
		    &g->listener[i], fd, loop_tag(KIND_ACCEPT, i, 0));
		if (rc != 0)
			return rc;
	}
	return 0;
}

static void
net_quiet(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	(void)ctx;
	(void)slot;
	(void)generation;
	(void)res;
	(void)flags;
}

int
gw_net_open(struct gateway *g)
{
	unsigned i;

	loop_on(&g->loop, KIND_ACCEPT, net_accepted);
	loop_on(&g->loop, KIND_RECV, net_received);
	loop_on(&g->loop, KIND_POLL, net_polled);
	loop_on(&g->loop, KIND_SEND, net_sent);
	loop_on(&g->loop, KIND_QUIET, net_quiet);
	loop_on(&g->loop, KIND_WATCH, net_watched);
	for (i = 0; i < LISTEN_MAX; i++)
		g->listener[i].fd = -1;
	if ((g->spare_fd = eventfd(0, EFD_CLOEXEC)) < 0)
		return -errno;
	return bufs_open(g);
}

void
gw_net_close(struct gateway *g)
{
	if (g->spare_fd >= 0)
		close(g->spare_fd);
	g->spare_fd = -1;
	if (g->buf_ring != NULL) {
		io_uring_unregister_buf_ring(&g->loop.ring, GW_BUF_GROUP);
		munmap(g->buf_ring, GW_BUFS * sizeof(struct io_uring_buf));
		g->buf_ring = NULL;
	}
	if (g->bufs != NULL)
		munmap(g->bufs, (size_t)GW_BUFS * GW_BUF_SIZE);
	g->bufs = NULL;
}

static void
address_text(const struct sockaddr_storage *ss, char *text, size_t n)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET) {
		struct sockaddr_in sin;

		memcpy(&sin, ss, sizeof(sin));
		inet_ntop(AF_INET, &sin.sin_addr, host, sizeof(host));
		snprintf(text, n, "%s:%u", host, ntohs(sin.sin_port));
	} else if (ss->ss_family == AF_INET6) {
		struct sockaddr_in6 sin6;

		memcpy(&sin6, ss, sizeof(sin6));
		inet_ntop(AF_INET6, &sin6.sin6_addr, host, sizeof(host));
		snprintf(text, n, "[%s]:%u", host, ntohs(sin6.sin6_port));
	} else {
		struct sockaddr_un sun;

		memcpy(&sun, ss, sizeof(sun));
		snprintf(text, n, "%.107s:0", sun.sun_path);
	}
}

void
gw_net_address(const struct conn *c, bool local, char *text, size_t n)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	void *sa = &ss;

	memset(&ss, 0, sizeof(ss));
	if ((local ? getsockname(c->fd, sa, &len)
		   : getpeername(c->fd, sa, &len)) != 0)
		memset(&ss, 0, sizeof(ss));
	address_text(&ss, text, n);
}
