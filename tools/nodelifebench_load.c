/*
 * The load of nodelifebench: one thread, non-blocking sockets, epoll. Each
 * connection keeps `pipeline` requests outstanding; a batch is sent when the
 * one before it is answered, or when the rate limit lets it.
 */
#include "tools/nodelifebench.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/bits.h"

#define IN_SIZE     65536
#define EVENTS_MAX  256
#define MSET_KEYS   10
#define STALL_LIMIT (30 * NS_PER_S) /* no reply at all for so long: give up */

struct conn {
	int fd;
	bool writing; /* EPOLLOUT is asked for */
	unsigned waiting; /* replies outstanding */
	uint64_t sent_ns;
	uint8_t *out;
	size_t out_len, out_off, out_cap;
	uint8_t *in;
	size_t in_len;
};

struct load {
	const struct bench_spec *spec;
	struct bench_result *result;
	struct conn *conns;
	int epoll;
	uint64_t issued, start_ns, last_reply_ns, now_ns, random;
	uint32_t weight_sum;
	uint8_t *value;
	char *why;
	size_t why_size;
};

static const struct {
	const char *name;
	unsigned keys;
} bench_ops[] = {
#define X(NAME, name, keys) [BENCH_##NAME] = { name, keys },
	BENCH_OPS(X)
#undef X
};

const char *
bench_op_name(unsigned op)
{
	return op < BENCH_OP_COUNT ? bench_ops[op].name : "?";
}

/* xorshift64*: cheap, and the same for the same seed. */
static uint64_t
load_random(struct load *l)
{
	l->random ^= l->random >> 12;
	l->random ^= l->random << 25;
	l->random ^= l->random >> 27;
	return l->random * UINT64_C(2685821657736338717);
}

static int
conn_room(struct conn *c, size_t n)
{
	size_t cap = c->out_cap != 0 ? c->out_cap : 4096;
	uint8_t *p;

	while (cap < c->out_len + n)
		cap *= 2;
	if (cap == c->out_cap)
		return 0;
	p = realloc(c->out, cap);
	if (p == NULL)
		return -ENOMEM;
	c->out = p;
	c->out_cap = cap;
	return 0;
}

/* Room was made by conn_room(). */
static void
conn_put(struct conn *c, const void *data, size_t n)
{
	memcpy(c->out + c->out_len, data, n);
	c->out_len += n;
}

static void
conn_bulk(struct conn *c, const void *data, size_t n)
{
	char head[24];
	int len = snprintf(head, sizeof(head), "$%zu\r\n", n);

	conn_put(c, head, (size_t)len);
	conn_put(c, data, n);
	conn_put(c, "\r\n", 2);
}

/* Numbers have keys of their own: INCR of another's value is an error. */
static void
conn_key(struct load *l, struct conn *c, enum bench_op op)
{
	char key[32];
	int n = snprintf(key, sizeof(key), "%s:%012llu",
	    op == BENCH_INCR ? "number" : "key",
	    (unsigned long long)(load_random(l) % l->spec->keys));

	conn_bulk(c, key, (size_t)n);
}

static enum bench_op
load_pick(struct load *l)
{
	uint32_t at = (uint32_t)(load_random(l) % l->weight_sum);
	unsigned op;

	for (op = 0; op < BENCH_OP_COUNT; op++) {
		if (at < l->spec->weight[op])
			break;
		at -= l->spec->weight[op];
	}
	ASSERT(op < BENCH_OP_COUNT);
	return (enum bench_op)op;
}

static void
conn_head(struct conn *c, unsigned argc, const char *name)
{
	char head[24];
	int n = snprintf(head, sizeof(head), "*%u\r\n", argc);

	conn_put(c, head, (size_t)n);
	conn_bulk(c, name, strlen(name));
}

/* Append one request to the connection's output. */
static int
conn_request(struct load *l, struct conn *c)
{
	enum bench_op op = load_pick(l);
	uint32_t size = l->spec->value_size;
	int i, rc = conn_room(c, MSET_KEYS * ((size_t)size + 64) + 128);

	if (rc != 0)
		return rc;
	switch (op) {
	case BENCH_PING:
		conn_head(c, 1, "PING");
		break;
	case BENCH_GET:
	case BENCH_INCR:
	case BENCH_DEL:
		conn_head(c, 2, bench_ops[op].name);
		conn_key(l, c, op);
		break;
	case BENCH_SET:
		conn_head(c, 3, "SET");
		conn_key(l, c, op);
		conn_bulk(c, l->value, size);
		break;
	case BENCH_SETEX:
		conn_head(c, 4, "SETEX");
		conn_key(l, c, op);
		conn_bulk(c, "100", 3);
		conn_bulk(c, l->value, size);
		break;
	case BENCH_MSET:
		conn_head(c, 1 + 2 * MSET_KEYS, "MSET");
		for (i = 0; i < MSET_KEYS; i++) {
			conn_key(l, c, op);
			conn_bulk(c, l->value, size);
		}
		break;
	case BENCH_OP_COUNT:
		break;
	}
	return 0;
}

/* How many requests may be issued now, by count and rate. */
static uint64_t
load_allowed(const struct load *l)
{
	const struct bench_spec *s = l->spec;
	uint64_t most = UINT64_MAX, due;

	if (s->requests != 0)
		most = s->requests - l->issued;
	if (s->seconds != 0 && l->now_ns - l->start_ns >= s->seconds * NS_PER_S)
		return 0;
	if (s->rate != 0) {
		due = (uint64_t)((double)(l->now_ns - l->start_ns) / 1e9 *
				 (double)s->rate) +
		      1;
		due = due > l->issued ? due - l->issued : 0;
		most = due < most ? due : most;
	}
	return most;
}

static int
conn_watch(struct load *l, struct conn *c, bool writing)
{
	struct epoll_event ev = {
		.events = EPOLLIN | (writing ? EPOLLOUT : 0u),
		.data.ptr = c,
	};

	if (c->writing == writing)
		return 0;
	c->writing = writing;
	return epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0 ? -errno : 0;
}

static int
conn_flush(struct load *l, struct conn *c)
{
	ssize_t n;

	while (c->out_off < c->out_len) {
		n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off,
		    MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return conn_watch(l, c, true);
		if (n < 0)
			return -errno;
		c->out_off += (size_t)n;
		l->result->bytes_out += (uint64_t)n;
	}
	c->out_off = c->out_len = 0;
	return conn_watch(l, c, false);
}

/* Send the next batch if none is outstanding and the limits allow one. */
static int
conn_issue(struct load *l, struct conn *c)
{
	uint64_t n = load_allowed(l);
	int rc;

	if (c->waiting != 0 || n == 0)
		return 0;
	if (n > l->spec->pipeline)
		n = l->spec->pipeline;
	while (c->waiting < n) {
		rc = conn_request(l, c);
		if (rc != 0)
			return rc;
		c->waiting++;
		l->issued++;
	}
	c->sent_ns = mono_ns();
	return conn_flush(l, c);
}

static void
load_error(struct load *l, const uint8_t *line, size_t n)
{
	l->result->errors++;
	if (l->result->first_error[0] != '\0')
		return;
	if (n >= sizeof(l->result->first_error))
		n = sizeof(l->result->first_error) - 1;
	memcpy(l->result->first_error, line, n);
}

/* Length of the reply at p, 0 if it is not all there, or -EPROTO. */
static ssize_t
reply_length(const uint8_t *p, size_t n)
{
	const uint8_t *nl = memchr(p, '\n', n);
	size_t head;
	long bulk;

	if (nl == NULL)
		return 0;
	head = (size_t)(nl - p) + 1;
	switch (p[0]) {
	case '+':
	case '-':
	case ':':
	case '_':
		return (ssize_t)head;
	case '$':
		bulk = strtol((const char *)p + 1, NULL, 10);
		if (bulk < 0)
			return (ssize_t)head;
		if (n < head + (size_t)bulk + 2)
			return 0;
		return (ssize_t)(head + (size_t)bulk + 2);
	default:
		return -EPROTO;
	}
}

/* Consume whole replies from the connection's input. */
static int
conn_replies(struct load *l, struct conn *c)
{
	size_t at = 0;
	ssize_t n;

	while (c->waiting != 0 && at < c->in_len) {
		n = reply_length(c->in + at, c->in_len - at);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		if (c->in[at] == '-')
			load_error(l, c->in + at, (size_t)n - 2);
		hist_add(&l->result->latency, l->now_ns - c->sent_ns);
		l->result->done++;
		c->waiting--;
		at += (size_t)n;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	if (at != 0)
		l->last_reply_ns = l->now_ns;
	return 0;
}

static int
conn_read(struct load *l, struct conn *c)
{
	size_t cap = IN_SIZE + l->spec->value_size;
	ssize_t n = recv(c->fd, c->in + c->in_len, cap - c->in_len, 0);
	int rc;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	c->in_len += (size_t)n;
	l->result->bytes_in += (uint64_t)n;
	l->now_ns = mono_ns();
	rc = conn_replies(l, c);
	return rc != 0 ? rc : conn_issue(l, c);
}

static int
connect_tcp(struct load *l)
{
	const struct bench_spec *s = l->spec;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *a;
	int fd = -1, rc = -ECONNREFUSED, one = 1;

	if ((rc = getaddrinfo(s->host, s->port, &hints, &list)) != 0) {
		snprintf(l->why, l->why_size, "-H %s: %s", s->host,
		    gai_strerror(rc));
		return -EADDRNOTAVAIL;
	}
	for (a = list; a != NULL; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		rc = -errno;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	if (fd < 0)
		return rc;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int
connect_unix(const struct bench_spec *s)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(s->unix_path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, s->unix_path, strlen(s->unix_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* AUTH, blocking, before the load starts. The server says what is wrong. */
static int
conn_auth(struct load *l, struct conn *c, const char *password)
{
	char buf[640], reply[128] = "";
	ssize_t n;
	int len = snprintf(buf, sizeof(buf),
	    "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n", strlen(password), password);

	if (len < 0 || (size_t)len >= sizeof(buf))
		return -E2BIG;
	if (send(c->fd, buf, (size_t)len, MSG_NOSIGNAL) != len)
		return -EIO;
	n = recv(c->fd, reply, sizeof(reply) - 1, 0);
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	if (reply[0] == '+')
		return 0;
	reply[strcspn(reply, "\r\n")] = '\0';
	snprintf(l->why, l->why_size, "-a: %s", reply + 1);
	return -EACCES;
}

static int
conn_open(struct load *l, struct conn *c)
{
	const struct bench_spec *s = l->spec;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	int rc;

	c->fd = s->unix_path != NULL ? connect_unix(s) : connect_tcp(l);
	if (c->fd < 0)
		return c->fd;
	if (s->password != NULL && (rc = conn_auth(l, c, s->password)) != 0)
		return rc;
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	c->in = malloc(IN_SIZE + s->value_size);
	if (c->in == NULL)
		return -ENOMEM;
	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0 ? -errno : 0;
}

static void
load_progress(struct load *l, uint64_t *last_ns, uint64_t *last_done)
{
	double span = (double)(l->now_ns - *last_ns) / 1e9;

	if (!l->spec->progress || span < 1.0)
		return;
	fprintf(stderr,
	    "%6.0f s  %10.0f requests/s  p50 %.3f ms  p99 %.3f ms\n",
	    (double)(l->now_ns - l->start_ns) / 1e9,
	    (double)(l->result->done - *last_done) / span,
	    (double)hist_quantile(&l->result->latency, 0.5) / 1e6,
	    (double)hist_quantile(&l->result->latency, 0.99) / 1e6);
	*last_ns = l->now_ns;
	*last_done = l->result->done;
}

static bool
load_over(const struct load *l)
{
	const struct bench_spec *s = l->spec;
	bool stop = (s->requests != 0 && l->issued >= s->requests) ||
		    (s->seconds != 0 &&
			l->now_ns - l->start_ns >= s->seconds * NS_PER_S);

	return stop && l->result->done == l->issued;
}

static int
load_event(struct load *l, const struct epoll_event *ev)
{
	struct conn *c = ev->data.ptr;
	int rc = 0;

	if ((ev->events & EPOLLOUT) != 0)
		rc = conn_flush(l, c);
	if (rc == 0 && (ev->events & ~(uint32_t)EPOLLOUT) != 0)
		rc = conn_read(l, c);
	return rc;
}

/* With a rate limit, connections that were held back get their turn. */
static int
load_issue_idle(struct load *l)
{
	unsigned i;
	int rc = 0;

	for (i = 0; rc == 0 && i < l->spec->connections; i++)
		rc = conn_issue(l, &l->conns[i]);
	return rc;
}

static int
load_loop(struct load *l)
{
	struct epoll_event ev[EVENTS_MAX];
	uint64_t last_ns, last_done = 0;
	int i, n, rc = 0;

	l->start_ns = l->now_ns = l->last_reply_ns = last_ns = mono_ns();
	rc = load_issue_idle(l);
	while (rc == 0 && !load_over(l)) {
		n = epoll_wait(
		    l->epoll, ev, EVENTS_MAX, l->spec->rate != 0 ? 1 : 100);
		l->now_ns = mono_ns();
		for (i = 0; rc == 0 && i < n; i++)
			rc = load_event(l, &ev[i]);
		if (rc == 0 && l->spec->rate != 0)
			rc = load_issue_idle(l);
		if (l->issued != l->result->done &&
		    l->now_ns > l->last_reply_ns + STALL_LIMIT)
			rc = -ETIMEDOUT;
		load_progress(l, &last_ns, &last_done);
	}
	l->result->seconds = (double)(mono_ns() - l->start_ns) / 1e9;
	return rc;
}

static int
load_open(struct load *l)
{
	unsigned i;
	int rc;

	for (i = 0; i < BENCH_OP_COUNT; i++)
		l->weight_sum += l->spec->weight[i];
	l->value = malloc((size_t)l->spec->value_size + 1);
	l->conns = calloc(l->spec->connections, sizeof(*l->conns));
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->value == NULL || l->conns == NULL || l->epoll < 0)
		return -ENOMEM;
	memset(l->value, 'x', l->spec->value_size);
	for (i = 0; i < l->spec->connections; i++)
		l->conns[i].fd = -1;
	for (i = 0; i < l->spec->connections; i++) {
		rc = conn_open(l, &l->conns[i]);
		if (rc != 0 && l->why[0] == '\0')
			snprintf(l->why, l->why_size, "connection %u of %u: %s",
			    i + 1, l->spec->connections, strerror(-rc));
		if (rc != 0)
			return rc;
	}
	return 0;
}

static void
load_close(struct load *l)
{
	unsigned i;

	for (i = 0; l->conns != NULL && i < l->spec->connections; i++) {
		if (l->conns[i].fd >= 0)
			close(l->conns[i].fd);
		free(l->conns[i].out);
		free(l->conns[i].in);
	}
	if (l->epoll >= 0)
		close(l->epoll);
	free(l->conns);
	free(l->value);
}

int
bench_run(const struct bench_spec *spec, struct bench_result *out, char *why,
    size_t why_size)
{
	struct load l = {
		.spec = spec,
		.result = out,
		.epoll = -1,
		.random = spec->seed * 2 + 1,
		.why = why,
		.why_size = why_size,
	};
	int rc;

	memset(out, 0, sizeof(*out));
	why[0] = '\0';
	rc = load_open(&l);
	if (rc == 0)
		rc = load_loop(&l);
	if (rc != 0 && why[0] == '\0')
		snprintf(why, why_size, "after %llu replies: %s",
		    (unsigned long long)out->done, strerror(-rc));
	load_close(&l);
	return rc;
}
