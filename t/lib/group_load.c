/*
 * Clients of a group, which follow its master and write down what they saw.
 *
 *	group_load -o FILE [-c CONNECTIONS] [-k KEYS] [-r RATE] [-g READS]
 *	    [-t SECONDS] [-T MS] [-d BYTES] [-S SEED] HOST:PORT...
 *
 * Each connection has one operation under way, a GET or a SET of a value that
 * is written once only, on keys that all share; RATE operations a second in
 * all (0 = as fast as it goes), READS per cent of them reads. An answer that
 * does not come within T ms is not waited for. A line an operation that was
 * sent:
 *
 *	start end connection server op key value result [error]
 *
 * Times are nanoseconds of CLOCK_MONOTONIC, `end` that at which the client
 * knew; server is the place of its address among the arguments; op is r or w;
 * value is what was read (- = nothing) or written; the result is ok, refused
 * (a write that was not appended), failed (a read), or unknown. Ends after
 * SECONDS, or by SIGTERM, once what is under way is answered.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_MS        UINT64_C(1000000)
#define NS_S         (1000 * NS_MS)
#define SERVERS      9
#define CONN_MAX     1024
#define PAD_MAX      65536
#define BUF_SIZE     (PAD_MAX + 512)
#define CONNECT_MS   300
#define RETRY_MS     2 /* the first; doubles up to RETRY_MAX_MS */
#define RETRY_MAX_MS 16
#define FLUSH_MS     10
#define LAST_MS      2000 /* for answers, when all is over */

enum state { AWAY, CONNECTING, IDLE, WAITING };

struct conn {
	unsigned id, server;
	int fd;
	enum state state;
	uint64_t due; /* AWAY: dial; IDLE: next; else: give up */
	uint64_t turn; /* when the operation after this one may begin */
	unsigned retries;
	bool write; /* the operation under way */
	unsigned key;
	uint64_t start, count;
	size_t in_len, out_len, out_off;
	char in[BUF_SIZE], out[BUF_SIZE];
};

static struct conn conn[CONN_MAX];
static struct {
	struct sockaddr_in addr;
	const char *text;
} server[SERVERS];
static unsigned conns = 64, servers, keys = 64, reads = 40, pad;
static uint64_t interval; /* between operations of a connection */
static uint64_t op_ms = 1000, random_state = 1;
static int epoll_fd;
static FILE *out;
static volatile sig_atomic_t stopped;

static void
stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_S + (uint64_t)t.tv_nsec;
}

static uint64_t
random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- what was seen ---- */

static void
record(const struct conn *c, const char *value, const char *result,
    const char *text)
{
	fprintf(out, "%llu %llu %u %u %c k%u ", (unsigned long long)c->start,
	    (unsigned long long)now_ns(), c->id, c->server,
	    c->write ? 'w' : 'r', c->key);
	if (c->write)
		fprintf(out, "%u.%llu", c->id, (unsigned long long)c->count);
	else
		fputs(value, out);
	fprintf(out, " %s%s%s\n", result, *text != '\0' ? " " : "", text);
}

/* ---- connections ---- */

static void
interest(struct conn *c, uint32_t events, int op)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll_fd, op, c->fd, &ev) == -1)
		err(1, "epoll_ctl");
}

static void
hang_up(struct conn *c, const char *why)
{
	uint64_t wait = RETRY_MS;

	if (c->state == WAITING)
		record(c, "-", c->write ? "unknown" : "failed", why);
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->state = AWAY;
	for (unsigned i = 0; i < c->retries && wait < RETRY_MAX_MS; i++)
		wait *= 2;
	c->retries++;
	c->due = now_ns() + wait * NS_MS;
}

/* Elsewhere: where the text says, or to the next. */
static void
follow(struct conn *c, const char *text)
{
	unsigned i;

	for (i = 0; i < servers; i++)
		if (i != c->server && strstr(text, server[i].text) != NULL)
			break;
	c->server = i < servers ? i : (c->server + 1) % servers;
	if (i < servers && c->retries < 2)
		c->due = now_ns();
}

static void
dial(struct conn *c)
{
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		err(1, "socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->in_len = c->out_len = c->out_off = 0;
	c->state = CONNECTING;
	c->due = now_ns() + CONNECT_MS * NS_MS;
	if (connect(c->fd, (const struct sockaddr *)&server[c->server].addr,
		sizeof(server[c->server].addr)) == -1 &&
	    errno != EINPROGRESS) {
		hang_up(c, "");
		follow(c, "");
		return;
	}
	interest(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void
idle(struct conn *c)
{
	uint64_t now = now_ns();

	c->state = IDLE;
	/* What a failure held up is not made up for by a burst. */
	if (c->turn + NS_S < now)
		c->turn = now;
	c->due = c->turn > now ? c->turn : now;
}

static void
push(struct conn *c)
{
	ssize_t n = send(
	    c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);

	if (n == -1 && errno != EAGAIN) {
		hang_up(c, "");
		follow(c, "");
		return;
	}
	if (n > 0)
		c->out_off += (size_t)n;
	interest(c, c->out_off < c->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN,
	    EPOLL_CTL_MOD);
}

static void
begin(struct conn *c)
{
	char key[16], value[40];
	size_t n;

	c->write = random_next() % 100 >= reads;
	c->key = (unsigned)(random_next() % keys);
	c->turn += interval;
	snprintf(key, sizeof(key), "k%u", c->key);
	if (c->write) {
		n = (size_t)snprintf(value, sizeof(value), "%u.%llu:", c->id,
		    (unsigned long long)++c->count);
		c->out_len = (size_t)snprintf(c->out, sizeof(c->out),
		    "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%s", strlen(key),
		    key, n + pad, value);
		memset(c->out + c->out_len, 'x', pad);
		memcpy(c->out + c->out_len + pad, "\r\n", 2);
		c->out_len += pad + 2;
	} else
		c->out_len = (size_t)snprintf(c->out, sizeof(c->out),
		    "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
	c->out_off = 0;
	c->state = WAITING;
	c->start = now_ns();
	c->due = c->start + op_ms * NS_MS;
	push(c);
}

/* An error's text decides: what the node says it has not appended. */
static void
refused(struct conn *c, const char *text)
{
	static const char *const never[] = { "READONLY", "NOMASTER",
		"NOREPLICAS" };
	bool not_written = strstr(text, "nothing was written") != NULL;

	for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (strncmp(text, never[i], strlen(never[i])) == 0)
			not_written = true;
	record(c, "-",
	    !c->write     ? "failed"
	    : not_written ? "refused"
			  : "unknown",
	    text);
	c->state = IDLE;
	hang_up(c, "");
	follow(c, text);
}

/* A whole reply in `in`, or not yet. */
static void
reply(struct conn *c)
{
	char *end = memmem(c->in, c->in_len, "\r\n", 2), *value;
	long len;

	if (end == NULL)
		return;
	*end = '\0';
	if (c->in[0] == '-') {
		refused(c, c->in + 1);
		return;
	}
	if (c->in[0] == '$' && (len = strtol(c->in + 1, NULL, 10)) >= 0) {
		value = end + 2;
		if ((size_t)(value - c->in) + (size_t)len + 2 > c->in_len) {
			*end = '\r';
			return;
		}
		value[len] = '\0';
		value[strcspn(value, ":")] = '\0';
		record(c, value, "ok", "");
	} else
		record(c, "-", "ok", "");
	c->in_len = 0;
	c->retries = 0;
	idle(c);
}

static void
readable(struct conn *c)
{
	ssize_t n =
	    recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len - 1, 0);

	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0) {
		hang_up(c, "");
		follow(c, "");
		return;
	}
	c->in_len += (size_t)n;
	if (c->state == WAITING)
		reply(c);
}

static void
happened(struct conn *c, uint32_t events)
{
	int e = 0;
	socklen_t size = sizeof(e);

	if (c->fd == -1)
		return;
	if (c->state == CONNECTING) {
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &size);
		if (e != 0) {
			hang_up(c, "");
			follow(c, "");
			return;
		}
		interest(c, EPOLLIN, EPOLL_CTL_MOD);
		idle(c);
		return;
	}
	if ((events & EPOLLOUT) != 0 && c->out_off < c->out_len)
		push(c);
	if (c->fd != -1 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		readable(c);
}

/* Its time has come. */
static void
expired(struct conn *c)
{
	switch (c->state) {
	case AWAY:
		dial(c);
		break;
	case IDLE:
		begin(c);
		break;
	case WAITING:
		/* It may have been this process that did not run. */
		readable(c);
		if (c->state != WAITING)
			break;
		hang_up(c, "");
		follow(c, "");
		break;
	case CONNECTING:
		hang_up(c, "");
		follow(c, "");
		break;
	}
}

/* ---- the loop ---- */

static void
wait_until(uint64_t until)
{
	struct epoll_event ev[256];
	uint64_t now = now_ns();
	int i, n,
	    ms = until > now ? (int)((until - now + NS_MS - 1) / NS_MS) : 0;

	n = epoll_wait(epoll_fd, ev, 256, ms);
	if (n == -1 && errno != EINTR)
		err(1, "epoll_wait");
	for (i = 0; i < n; i++)
		happened(ev[i].data.ptr, ev[i].events);
}

static void
run(uint64_t end)
{
	uint64_t now, next, flush = 0;

	while (!stopped && (now = now_ns()) < end) {
		if (now >= flush) {
			fflush(out);
			flush = now + FLUSH_MS * NS_MS;
		}
		next = flush;
		for (unsigned i = 0; i < conns; i++) {
			if (conn[i].due <= now)
				expired(&conn[i]);
			if (conn[i].due < next)
				next = conn[i].due;
		}
		wait_until(next);
	}
}

/* Answers to what was sent, for a while. */
static void
finish(void)
{
	uint64_t end = now_ns() + LAST_MS * NS_MS;
	unsigned i, left = 1;

	while (left != 0 && now_ns() < end) {
		left = 0;
		for (i = 0; i < conns; i++)
			left += conn[i].state == WAITING;
		if (left != 0)
			wait_until(now_ns() + 10 * NS_MS);
	}
	for (i = 0; i < conns; i++)
		hang_up(&conn[i], "");
}

static void
server_add(const char *text)
{
	char host[64];
	const char *colon = strrchr(text, ':');

	if (servers == SERVERS || colon == NULL ||
	    (size_t)(colon - text) >= sizeof(host))
		errx(64, "%s: no address, or one too many", text);
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	server[servers].addr.sin_family = AF_INET;
	server[servers].addr.sin_port =
	    htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, host, &server[servers].addr.sin_addr) != 1)
		errx(64, "%s: no IPv4 address", text);
	server[servers++].text = text;
}

int
main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = stop };
	uint64_t seconds = 10, rate = 0;
	int ch;

	while ((ch = getopt(argc, argv, "o:c:k:r:g:t:T:d:S:")) != -1) {
		switch (ch) {
		case 'o':
			if ((out = fopen(optarg, "we")) == NULL)
				err(1, "%s", optarg);
			break;
		case 'c':
			conns = (unsigned)atoi(optarg);
			break;
		case 'k':
			keys = (unsigned)atoi(optarg);
			break;
		case 'r':
			rate = (uint64_t)atoll(optarg);
			break;
		case 'g':
			reads = (unsigned)atoi(optarg);
			break;
		case 't':
			seconds = (uint64_t)atoll(optarg);
			break;
		case 'T':
			op_ms = (uint64_t)atoll(optarg);
			break;
		case 'd':
			pad = (unsigned)atoi(optarg);
			break;
		case 'S':
			random_state += (uint64_t)atoll(optarg) * 7919;
			break;
		default:
			errx(64, "see the head of t/lib/group_load.c");
		}
	}
	for (; optind < argc; optind++)
		server_add(argv[optind]);
	if (out == NULL || servers == 0 || conns == 0 || conns > CONN_MAX ||
	    keys == 0 || pad > PAD_MAX)
		errx(64, "see the head of t/lib/group_load.c");
	setvbuf(out, NULL, _IOFBF, 1 << 20);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		err(1, "epoll_create1");
	if (rate != 0)
		interval = NS_S * conns / rate;
	for (unsigned i = 0; i < conns; i++) {
		conn[i].id = i;
		conn[i].fd = -1;
		conn[i].turn = conn[i].due = now_ns() + interval * i / conns;
	}
	run(now_ns() + seconds * NS_S);
	finish();
	if (fclose(out) != 0)
		err(1, "the file");
	return 0;
}
