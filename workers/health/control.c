/*
 * The control socket: one request line, the reply, close. Only root and the
 * node's own user are heard, whatever the socket's mode says. A fixed number
 * of connections, one of them always free for who comes next: stop is heard
 * however many say nothing, or wait for what takes long.
 */
#include "workers/health/health.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"

static void
conn_free(struct conn *c)
{
	ASSERT(!c->busy);
	close(c->fd);
	text_free(&c->reply);
	c->fd = -1;
	c->state = CONN_FREE;
	c->done = NULL;
}

static struct io_uring_sqe *
conn_sqe(struct health *h, struct conn *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&h->loop);

	ASSERT(!c->busy);
	if (sqe == NULL)
		return NULL;
	c->busy = true;
	return sqe;
}

static void
conn_tag(struct health *h, struct conn *c, struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_data64(sqe,
	    loop_tag(KIND_CONTROL, (uint32_t)(c - h->conn), c->generation));
}

static void
conn_read(struct health *h, struct conn *c)
{
	struct io_uring_sqe *sqe = conn_sqe(h, c);

	if (sqe == NULL) {
		conn_free(c);
		return;
	}
	io_uring_prep_recv(sqe, c->fd, c->line + c->line_len,
	    sizeof(c->line) - 1 - c->line_len, 0);
	conn_tag(h, c, sqe);
}

static void
conn_write(struct health *h, struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (c->reply.failed || c->reply.data == NULL ||
	    (sqe = conn_sqe(h, c)) == NULL) {
		conn_free(c);
		return;
	}
	io_uring_prep_send(sqe, c->fd, c->reply.data + c->sent,
	    c->reply.len - c->sent, MSG_NOSIGNAL);
	conn_tag(h, c, sqe);
}

static void
conn_reply(struct health *h, struct conn *c)
{
	c->state = CONN_WRITING;
	c->done = NULL;
	c->sent = 0;
	c->deadline_ns = h->loop.now_ns + CONTROL_IO_NS;
	conn_write(h, c);
}

static unsigned
conns_waiting(const struct health *h)
{
	unsigned i, n = 0;

	for (i = 0; i < CONTROL_CONNS; i++)
		n += h->conn[i].state == CONN_WAITING;
	return n;
}

static void
conn_command(struct health *h, struct conn *c)
{
	counter_add(h->r->counters, h->w->slot, C_CONTROL_REQUESTS, 1);
	c->began_ns = h->loop.now_ns;
	command_run(h, c, conns_waiting(h) < CONTROL_WAITING);
	if (c->done == NULL) {
		conn_reply(h, c);
		return;
	}
	c->state = CONN_WAITING;
	c->deadline_ns = h->loop.now_ns + CONTROL_WAIT_NS;
}

static void
conn_readable(struct health *h, struct conn *c, int n)
{
	char *end;

	if (n <= 0) {
		conn_free(c);
		return;
	}
	c->line_len += (size_t)n;
	c->line[c->line_len] = '\0';
	end = strchr(c->line, '\n');
	if (end == NULL && c->line_len < sizeof(c->line) - 1) {
		conn_read(h, c);
		return;
	}
	/* One line: what follows it, or a NUL within, is no request. */
	if (end == NULL || end + 1 != c->line + c->line_len) {
		text_add(&c->reply, "error not one line of at most %zu bytes\n",
		    sizeof(c->line) - 2);
		conn_reply(h, c);
		return;
	}
	*end = '\0';
	conn_command(h, c);
}

static void
conn_written(struct health *h, struct conn *c, int n)
{
	if (n <= 0 || (c->sent += (size_t)n) >= c->reply.len) {
		conn_free(c);
		return;
	}
	conn_write(h, c);
}

static void
control_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct health *h = ctx;
	struct conn *c = &h->conn[slot % CONTROL_CONNS];

	(void)flags;
	if (slot >= CONTROL_CONNS || c->generation != generation || !c->busy) {
		loop_stale(&h->loop);
		return;
	}
	c->busy = false;
	if (res == -EINTR || res == -EAGAIN) {
		if (c->state == CONN_READING)
			conn_read(h, c);
		else
			conn_write(h, c);
	} else if (c->state == CONN_READING) {
		conn_readable(h, c, res);
	} else {
		conn_written(h, c, res);
	}
}

/* Root, or the user this node runs as. */
static bool
peer_allowed(int fd, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len) != 0)
		return false;
	return cred->uid == 0 || cred->uid == geteuid();
}

static void
conn_begin(struct health *h, struct conn *c, int fd)
{
	struct ucred cred = { 0 };
	uint32_t generation = c->generation + 1;

	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->generation = generation;
	c->state = CONN_READING;
	c->order = ++h->conns;
	c->deadline_ns = h->loop.now_ns + CONTROL_IO_NS;
	if (peer_allowed(fd, &cred)) {
		conn_read(h, c);
		return;
	}
	say_warnx("control: uid %u refused", (unsigned)cred.uid);
	text_add(&c->reply,
	    "denied user %u may not control this node: be root or user %u\n",
	    (unsigned)cred.uid, (unsigned)geteuid());
	conn_reply(h, c);
}

static struct conn *
conn_unused(struct health *h)
{
	unsigned i;

	for (i = 0; i < CONTROL_CONNS; i++)
		if (h->conn[i].state == CONN_FREE)
			return &h->conn[i];
	return NULL;
}

static void
control_accepted(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct health *h = ctx;

	(void)slot;
	(void)generation;
	listener_event(&h->listener, res, flags);
}

/*
 * Time is up: an operation in flight is ended by shutting the socket down;
 * its completion frees the connection.
 */
static void
conn_expire(struct health *h, struct conn *c)
{
	if (c->busy) {
		shutdown(c->fd, SHUT_RDWR);
		c->deadline_ns = LOOP_NEVER;
	} else if (c->state == CONN_WAITING) {
		text_add(&c->reply, "error timed out\n");
		conn_reply(h, c);
	} else {
		conn_free(c);
	}
}

/*
 * The longest of those that have asked nothing, or do not take their answer,
 * leaves; nobody whose request is under way does.
 */
static void
conn_give_way(struct health *h)
{
	struct conn *longest = NULL;
	unsigned i;

	for (i = 0; i < CONTROL_CONNS; i++) {
		struct conn *c = &h->conn[i];

		if (c->state != CONN_READING && c->state != CONN_WRITING)
			continue;
		if (longest == NULL || c->order < longest->order)
			longest = c;
	}
	if (longest != NULL && longest->deadline_ns != LOOP_NEVER)
		conn_expire(h, longest);
}

static void
control_accept(struct health *h)
{
	struct conn *c;
	int fd;

	listener_arm(&h->listener, &h->loop);
	while ((c = conn_unused(h)) != NULL &&
	       (fd = listener_next(&h->listener, h->loop.now_ns)) >= 0)
		conn_begin(h, c, fd);
	if (conn_unused(h) == NULL)
		conn_give_way(h);
}

void
control_turn(struct health *h)
{
	unsigned i;

	for (i = 0; i < CONTROL_CONNS; i++) {
		struct conn *c = &h->conn[i];

		if (c->state == CONN_FREE)
			continue;
		if (c->state == CONN_WAITING && c->done(c, h, h->loop.now_ns))
			conn_reply(h, c);
		else if (h->loop.now_ns >= c->deadline_ns)
			conn_expire(h, c);
	}
	control_accept(h);
}

uint64_t
control_deadline(const struct health *h)
{
	uint64_t first = listener_deadline(&h->listener), at;
	unsigned i;

	for (i = 0; i < CONTROL_CONNS; i++) {
		const struct conn *c = &h->conn[i];

		if (c->state == CONN_FREE)
			continue;
		at = c->state == CONN_WAITING ? h->loop.now_ns + CONTROL_LOOK_NS
					      : c->deadline_ns;
		if (at < first)
			first = at;
	}
	return first;
}

bool
control_idle(const struct health *h)
{
	unsigned i;

	for (i = 0; i < CONTROL_CONNS; i++)
		if (h->conn[i].state != CONN_FREE)
			return false;
	return true;
}

void
control_drain(struct health *h)
{
	unsigned i;

	listener_close(&h->listener, &h->loop);
	for (i = 0; i < CONTROL_CONNS; i++) {
		struct conn *c = &h->conn[i];

		if (c->state == CONN_WAITING) {
			text_add(&c->reply,
			    "error the node is stopping: not finished\n");
			conn_reply(h, c);
		} else if (c->state == CONN_READING) {
			/* What has arrived is heard, nobody is waited for. */
			shutdown(c->fd, SHUT_RD);
		}
	}
}

int
control_open(struct health *h)
{
	unsigned i;

	for (i = 0; i < CONTROL_CONNS; i++)
		h->conn[i].fd = -1;
	loop_on(&h->loop, KIND_ACCEPT, control_accepted);
	loop_on(&h->loop, KIND_CONTROL, control_done);
	return listener_open(
	    &h->listener, h->w->control_fd, loop_tag(KIND_ACCEPT, 0, 0));
}
