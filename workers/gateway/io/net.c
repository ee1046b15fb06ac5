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
#include "shm/say.h"
#include "workers/gateway/io/io.h"

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
net_provides(const struct gw_io *io)
{
	return io->buf_ring != NULL;
}

/* ---- receiving ---- */

static void
buf_give(struct gw_io *io, unsigned id)
{
	io_uring_buf_ring_add(io->buf_ring, io->bufs + (size_t)id * GW_BUF_SIZE,
	    GW_BUF_SIZE, (unsigned short)id, io_uring_buf_ring_mask(GW_BUFS),
	    0);
	io_uring_buf_ring_advance(io->buf_ring, 1);
}

static int
bufs_open(struct gw_io *io)
{
	size_t ring_size = GW_BUFS * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg reg;
	unsigned i;
	void *ring;
	int rc;

	/* Mapped, not allocated: untouched buffers are no memory. */
	io->bufs = mmap(NULL, (size_t)GW_BUFS * GW_BUF_SIZE,
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (io->bufs == MAP_FAILED) {
		io->bufs = NULL;
		return -errno;
	}
	if ((io->loop.features & LOOP_HAS_BUF_RING) == 0 ||
	    (io->loop.features & LOOP_HAS_RECV_MULTISHOT) == 0)
		return 0;
	ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED)
		return -errno;
	memset(&reg, 0, sizeof(reg));
	reg.ring_addr = (uint64_t)(uintptr_t)ring;
	reg.ring_entries = GW_BUFS;
	reg.bgid = GW_BUF_GROUP;
	rc = io_uring_register_buf_ring(&io->loop.ring, &reg, 0);
	if (rc < 0) {
		munmap(ring, ring_size);
		return rc == -EINVAL ? 0 : rc;
	}
	io->buf_ring = ring;
	io_uring_buf_ring_init(io->buf_ring);
	for (i = 0; i < GW_BUFS; i++)
		buf_give(io, i);
	return 0;
}

/* Without provided buffers: wait for data, then read it right here. */
static bool
net_arm_poll(struct gw_io *io, struct conn *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&io->loop);

	if (sqe == NULL)
		return false;
	io_uring_prep_poll_add(sqe, c->fd, POLLIN);
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND_POLL, c->index, c->generation));
	return true;
}

static bool
net_arm_recv(struct gw_io *io, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (!net_provides(io))
		return net_arm_poll(io, c);
	if ((sqe = loop_sqe(&io->loop)) == NULL)
		return false;
	io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GW_BUF_GROUP;
	io_uring_sqe_set_data64(
	    sqe, loop_tag(KIND_RECV, c->index, c->generation));
	return true;
}

static bool
net_cancel(struct gw_io *io, struct conn *c, unsigned kind)
{
	struct io_uring_sqe *sqe = loop_sqe(&io->loop);

	if (sqe == NULL)
		return false;
	io_uring_prep_cancel64(sqe, loop_tag(kind, c->index, c->generation), 0);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_QUIET, 0, 0));
	return true;
}

static bool
net_cancel_recv(struct gw_io *io, struct conn *c)
{
	if (!net_cancel(io, c, net_provides(io) ? KIND_RECV : KIND_POLL))
		return false;
	c->flags |= CONN_CANCEL;
	return true;
}

/* A receive has ended, for good or to be armed again. */
static void
net_recv_over(struct gw_io *io, struct conn *c, int res)
{
	c->flags &= ~(unsigned)(CONN_RECV | CONN_CANCEL);
	gw_conn_dirty(io, c);
	if (res > 0 || res == -ENOBUFS || res == -ECANCELED || res == -EINTR ||
	    res == -EAGAIN)
		return;
	if (res == 0)
		gw_conn_eof(io, c);
	else
		gw_conn_kill(io, c);
}

/* Whose completion it is; NULL: it was closed meanwhile. */
static struct conn *
net_conn(struct gw_io *io, uint32_t slot, uint32_t generation)
{
	struct conn *c = gw_conn_find(io, slot, generation);

	if (c == NULL)
		loop_stale(&io->loop);
	return c;
}

static void
net_received(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gw_io *io = ctx;
	struct conn *c = net_conn(io, slot, generation);
	unsigned id;

	if ((flags & IORING_CQE_F_BUFFER) != 0) {
		id = flags >> IORING_CQE_BUFFER_SHIFT;
		ASSERT(id < GW_BUFS);
		if (c != NULL && res > 0)
			gw_conn_input(io, c,
			    io->bufs + (size_t)id * GW_BUF_SIZE, (size_t)res);
		buf_give(io, id);
	}
	if (c != NULL && (flags & IORING_CQE_F_MORE) == 0)
		net_recv_over(io, c, res);
}

static void
net_polled(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gw_io *io = ctx;
	struct conn *c = net_conn(io, slot, generation);
	ssize_t n;

	(void)flags;
	if (c == NULL)
		return;
	if (res >= 0) {
		n = recv(c->fd, io->bufs, GW_BUF_SIZE, MSG_DONTWAIT);
		res = n < 0 ? -errno : (int)n;
		if (n > 0)
			gw_conn_input(io, c, io->bufs, (size_t)n);
	}
	net_recv_over(io, c, res);
}

/* ---- who is not read ---- */

static bool
net_watch(struct gw_io *io, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if ((c->flags & (CONN_WATCH | CONN_EOF | CONN_ENDED)) != 0)
		return true;
	if ((sqe = loop_sqe(&io->loop)) == NULL)
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
	struct gw_io *io = ctx;
	struct conn *c = net_conn(io, slot, generation);

	(void)flags;
	if (c == NULL)
		return;
	c->flags &= ~(unsigned)(CONN_WATCH | CONN_CANCEL_WATCH);
	if (res > 0)
		c->flags |= CONN_ENDED;
	gw_conn_dirty(io, c);
	if (res > 0 && (res & POLLERR) != 0)
		gw_conn_kill(io, c);
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
send_may_be_quiet(const struct gw_io *io, const struct conn *c)
{
	const unsigned loud =
	    CONN_CLOSING | CONN_LAST | CONN_EOF | CONN_SLOW | CONN_UNREAD;

	return (c->flags & loud) == 0 && c->sending->sent == 0 &&
	       c->sending->len <= QUIET_MAX &&
	       (io->loop.features & LOOP_HAS_DEFER_TASKRUN) != 0;
}

static bool
net_send(struct gw_io *io, struct conn *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&io->loop);
	struct chunk *s = c->sending;
	size_t left = s->len - s->sent;
	int how = MSG_NOSIGNAL;

	if (sqe == NULL)
		return false;
	if (send_may_be_quiet(io, c)) {
		how |= MSG_DONTWAIT | MSG_WAITALL;
		c->flags |= CONN_QUIET;
		c->quiet_next = io->quiet;
		io->quiet = c;
		io->quiet_tail = io->loop.ring.sq.sqe_tail;
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
send_advance(struct gw_io *io, struct conn *c, size_t n)
{
	struct chunk *s = c->sending;

	io->n_out += n;
	gw_memory_moved(io, c, n);
	s->sent += n;
	if (s->sent < s->len)
		return;
	c->queued -= s->len;
	c->sending = s->next;
	chunk_free(&io->pool, s);
}

/* A send is over: is there more to do? */
static void
send_over(struct gw_io *io, struct conn *c)
{
	c->flags &= ~(unsigned)(CONN_SEND | CONN_QUIET);
	if ((c->flags & (CONN_CLOSING | CONN_LAST | CONN_EOF)) != 0 ||
	    c->sending != NULL || c->out.c != NULL)
		gw_conn_dirty(io, c);
	if ((c->flags & CONN_UNREAD) != 0 && gw_conn_unsent(c) <= GW_OUT_LOW)
		gw_conn_go_on(io, c);
}

static void
net_sent(void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gw_io *io = ctx;
	struct conn *c = net_conn(io, slot, generation);

	(void)flags;
	if (c == NULL)
		return;
	if (res > 0)
		send_advance(io, c, (size_t)res);
	else if (res != -EINTR && res != -EAGAIN)
		gw_conn_kill(io, c);
	if ((c->flags & CONN_QUIET) != 0)
		c->flags |= CONN_SLOW;
	else if (c->sending == NULL)
		c->flags &= ~(unsigned)CONN_SLOW;
	send_over(io, c);
}

void
gw_net_settle(struct gw_io *io)
{
	/* Pairs with the kernel's release of what it took from the queue. */
	unsigned head = io_uring_smp_load_acquire(io->loop.ring.sq.khead);
	unsigned kflags = IO_URING_READ_ONCE(*io->loop.ring.sq.kflags);
	/* A complaint may be among completions that had no room, or that came
	   when the queue was full and went out by itself. */
	bool taken = (int)(head - io->quiet_tail) >= 0 &&
		     (kflags & IORING_SQ_CQ_OVERFLOW) == 0 &&
		     io_uring_cq_ready(&io->loop.ring) == 0;
	struct conn *c, *next, *kept = NULL;

	for (c = io->quiet; c != NULL; c = next) {
		next = c->quiet_next;
		if ((c->flags & CONN_QUIET) == 0)
			continue; /* it complained: net_sent() knows */
		if (!taken) {
			c->quiet_next = kept;
			kept = c;
			continue;
		}
		send_advance(io, c, c->sending->len);
		send_over(io, c);
	}
	io->quiet = kept;
}

/* ---- the end of a connection ---- */

static bool
net_close(struct gw_io *io, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if ((c->flags & (CONN_RECV | CONN_CANCEL)) == CONN_RECV) {
		if (!net_cancel_recv(io, c))
			return false;
	}
	if ((c->flags & (CONN_SEND | CONN_CANCEL_SEND)) == CONN_SEND) {
		if (!net_cancel(io, c, KIND_SEND))
			return false;
		c->flags |= CONN_CANCEL_SEND;
	}
	if ((c->flags & (CONN_WATCH | CONN_CANCEL_WATCH)) == CONN_WATCH) {
		if (!net_cancel(io, c, KIND_WATCH))
			return false;
		c->flags |= CONN_CANCEL_WATCH;
	}
	if ((c->flags & (CONN_RECV | CONN_SEND | CONN_WATCH)) != 0)
		return true;
	if ((sqe = loop_sqe(&io->loop)) == NULL)
		return false;
	io_uring_prep_close(sqe, c->fd);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_QUIET, 0, 0));
	gw_conn_free(io, c);
	return true;
}

static void
net_over_output(struct gw_io *io, struct conn *c)
{
	if (c->out.failed)
		say_info("client %llu: closed: no memory for its reply",
		    (unsigned long long)c->id);
	else
		say_info("client %llu: closed: %zu bytes of replies are "
			 "unread, [listen] max_output is %llu",
		    (unsigned long long)c->id, gw_conn_unsent(c),
		    (unsigned long long)io->w->conf->listen.max_output);
	gw_count(io, C_CLIENTS_KILLED, 1);
	gw_conn_kill(io, c);
}

/* What was rendered and is not being sent goes out. */
static bool
net_flush_output(struct gw_io *io, struct conn *c)
{
	if (c->sending == NULL)
		gw_conn_queue(c);
	if (c->sending == NULL || (c->flags & CONN_SEND) != 0)
		return true;
	return net_send(io, c);
}

static bool
net_flush_input(struct gw_io *io, struct conn *c)
{
	bool wants = gw_conn_wants_input(c);

	if (wants && (c->flags & CONN_RECV) == 0) {
		if (!net_arm_recv(io, c))
			return false;
		c->flags |= CONN_RECV;
	} else if (!wants && (c->flags & (CONN_RECV | CONN_CANCEL |
					     CONN_LAST)) == CONN_RECV) {
		return net_cancel_recv(io, c);
	}
	return (c->flags & CONN_RECV) != 0 || net_watch(io, c);
}

void
gw_net_flush(struct gw_io *io, struct conn *c)
{
	bool fine = true;

	TAILQ_REMOVE(&io->dirty, c, dirty);
	c->flags &= ~(unsigned)CONN_DIRTY;
	if ((c->flags & CONN_CLOSING) == 0) {
		/* One reply may follow what its input did not rest for yet. */
		if (c->out.failed ||
		    (gw_conn_unsent(c) > gw_output_ceiling(io) &&
			gw_output_over(
			    io, gw_conn_unsent(c) - gw_output_ceiling(io))))
			net_over_output(io, c);
		else if ((c->flags & (CONN_LAST | CONN_EOF)) != 0 &&
			 gw_conn_settled(c))
			gw_conn_kill(io, c);
		else
			fine =
			    net_flush_output(io, c) && net_flush_input(io, c);
	}
	if ((c->flags & CONN_CLOSING) != 0) {
		if ((c->flags & CONN_DIRTY) != 0)
			TAILQ_REMOVE(&io->dirty, c, dirty);
		c->flags &= ~(unsigned)CONN_DIRTY;
		fine = net_close(io, c);
	}
	if (!fine) {
		/* The queue takes nothing now: the next turn comes again. */
		gw_conn_dirty(io, c);
		io->loop.unready = true;
	}
}

/* Is it the client's turn? If it is ours, it may take as long as it takes. */
static bool
conn_is_idle(const struct conn *c)
{
	return c->node_count == 0 && (c->flags & CONN_HELD) == 0 &&
	       (c->park == 0 || (c->flags & CONN_UNREAD) != 0);
}

void
gw_net_idle(struct gw_io *io)
{
	uint64_t limit = atomic_load_explicit(
	    &io->r->control->idle_timeout_ms, memory_order_relaxed);
	uint64_t now = io->loop.now_ns;
	struct conn *c;
	uint32_t i;

	if (limit == 0 || now < io->idle_check_ns)
		return;
	io->idle_check_ns = now + NS_PER_S;
	for (i = 0; i < gw_conn_limit(io); i++) {
		c = gw_conn_at(io, i);
		if (c != NULL && conn_is_idle(c) && now > c->active_ns &&
		    now - c->active_ns > limit * NS_PER_MS)
			gw_conn_kill(io, c);
	}
}

/* ---- accepting ---- */

static void
net_refuse(struct gw_io *io, int fd)
{
	/* One line into an empty socket buffer never blocks. */
	(void)send(
	    fd, REFUSAL, sizeof(REFUSAL) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	gw_count(io, C_CLIENTS_REFUSED, 1);
}

static void
net_admit(struct gw_io *io, int fd, unsigned listener)
{
	struct conn *c = NULL;

	if (gw_conn_room(io))
		c = gw_conn_new(io, fd, listener);
	if (c == NULL) {
		net_refuse(io, fd);
		return;
	}
	gw_count(io, C_CLIENTS_ACCEPTED, 1);
	if (io->draining)
		c->flags |= CONN_EOF;
	gw_conn_dirty(io, c);
}

static void
net_accepted(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct gw_io *io = ctx;

	(void)generation;
	ASSERT(slot < LISTEN_MAX);
	listener_event(&io->listener[slot], res, flags);
}

/*
 * Whom no other gateway took since the last try: each is answered through the
 * place of the spare descriptor.
 */
static void
net_turn_away(struct gw_io *io, const struct listener *l)
{
	int fd = 0;

	for (unsigned n = 0; n < ACCEPT_MAX && fd >= 0; n++) {
		if (io->spare_fd >= 0)
			close(io->spare_fd);
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			net_refuse(io, fd);
		io->spare_fd = eventfd(0, EFD_CLOEXEC);
	}
}

/* Out of descriptors, or of memory: the supervisor is told. */
static void
net_accept_failed(struct gw_io *io, const struct listener *l)
{
	struct slot_row *row = &io->r->slots->row[io->slot];

	atomic_store_explicit(
	    &row->no_fd_error, l->error, memory_order_relaxed);
	atomic_store_explicit(
	    &row->no_fd_ns, io->loop.now_ns, memory_order_release);
	if (l->failed_again)
		net_turn_away(io, l);
}

void
gw_net_accept(struct gw_io *io)
{
	unsigned i, n;
	int fd;

	for (i = 0; i < LISTEN_MAX; i++) {
		struct listener *l = &io->listener[i];
		bool asked = listener_pending(l, io->loop.now_ns);

		listener_arm(l, &io->loop);
		for (n = 0; n < ACCEPT_MAX; n++) {
			if ((fd = listener_next(l, io->loop.now_ns)) < 0)
				break;
			net_admit(io, fd, i);
		}
		if (asked && l->error != 0)
			net_accept_failed(io, l);
	}
}

bool
gw_net_accept_pending(const struct gw_io *io)
{
	unsigned i;

	for (i = 0; i < LISTEN_MAX; i++)
		if (listener_pending(&io->listener[i], io->loop.now_ns))
			return true;
	return false;
}

uint64_t
gw_net_accept_deadline(const struct gw_io *io)
{
	uint64_t at = LOOP_NEVER, due;
	unsigned i;

	for (i = 0; i < LISTEN_MAX; i++)
		if ((due = listener_deadline(&io->listener[i])) < at)
			at = due;
	return at;
}

void
gw_net_accept_stop(struct gw_io *io)
{
	unsigned i;

	for (i = 0; i < LISTEN_MAX; i++) {
		listener_close(&io->listener[i], &io->loop);
		if (io->w->listen_fd[i] >= 0)
			close(io->w->listen_fd[i]);
		io->w->listen_fd[i] = -1;
	}
}

int
gw_net_listen(struct gw_io *io)
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
		int fd = io->w->listen_fd[i];

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
		    &io->listener[i], fd, loop_tag(KIND_ACCEPT, i, 0));
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
gw_net_open(struct gw_io *io)
{
	unsigned i;

	loop_on(&io->loop, KIND_ACCEPT, net_accepted);
	loop_on(&io->loop, KIND_RECV, net_received);
	loop_on(&io->loop, KIND_POLL, net_polled);
	loop_on(&io->loop, KIND_SEND, net_sent);
	loop_on(&io->loop, KIND_QUIET, net_quiet);
	loop_on(&io->loop, KIND_WATCH, net_watched);
	for (i = 0; i < LISTEN_MAX; i++)
		io->listener[i].fd = -1;
	if ((io->spare_fd = eventfd(0, EFD_CLOEXEC)) < 0)
		return -errno;
	return bufs_open(io);
}

void
gw_net_close(struct gw_io *io)
{
	if (io->spare_fd >= 0)
		close(io->spare_fd);
	io->spare_fd = -1;
	if (io->buf_ring != NULL) {
		io_uring_unregister_buf_ring(&io->loop.ring, GW_BUF_GROUP);
		munmap(io->buf_ring, GW_BUFS * sizeof(struct io_uring_buf));
		io->buf_ring = NULL;
	}
	if (io->bufs != NULL)
		munmap(io->bufs, (size_t)GW_BUFS * GW_BUF_SIZE);
	io->bufs = NULL;
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
