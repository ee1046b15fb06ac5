/*
 * The load of make bench-group: the same for each of three systems, in the
 * protocol of each.
 *
 *	group_client -p resp|wait|etcd [-m set|get] [-c CONNECTIONS]
 *	    [-P PIPELINE] [-n OPERATIONS] [-t SECONDS] [-d BYTES] [-k KEYS]
 *	    [-S SEED] [-G FILE] HOST:PORT...
 *
 * Each connection sends PIPELINE operations at once and waits for all their
 * answers. resp: an answer is a committed write. wait: behind the SETs there is
 * one WAIT 1 0, whose answer is theirs. etcd: gRPC as etcd's own clients speak
 * it, each operation a stream of the connection's HTTP/2.
 *
 * Prints operations a second and percentiles of what one took (us). With -G
 * errors and broken connections are no end: a client goes to the next address,
 * and FILE has a line for each operation that was answered, the nanoseconds
 * of CLOCK_MONOTONIC at which it was sent and answered, and its server.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_MS      UINT64_C(1000000)
#define NS_S       (1000 * NS_MS)
#define SERVERS    9
#define CONN_MAX   1024
#define BATCH_MAX  64
#define VALUE_MAX  4096
#define BUF_SIZE   (BATCH_MAX * (VALUE_MAX + 256))
#define OP_MS      1000 /* -G: no answer for so long is none */
#define RETRY_MS   5
#define WINDOW     (1u << 14) /* received bytes that we then give back */
#define STREAM_MAX 0x7ffffff0u

enum protocol { RESP, WAIT, ETCD };

struct conn {
	unsigned id, server;
	int fd;
	bool connecting;
	unsigned waiting; /* operations of the batch that are unanswered */
	uint64_t sent; /* when; 0 = no batch is under way */
	uint64_t due; /* -G: dial again, or give up */
	uint32_t stream; /* etcd: of the batch's first operation */
	uint32_t consumed; /* etcd: bytes not given back yet */
	uint64_t has_data; /* etcd: operations of the batch with an answer */
	size_t in_len, out_len, out_off;
	uint8_t in[BUF_SIZE], out[BUF_SIZE];
};

static struct conn *conn;
static struct {
	struct sockaddr_in addr;
	const char *text;
} server[SERVERS];
static unsigned conns = 1, servers, batch = 1, value_size = 100;
static enum protocol protocol;
static bool get;
static uint64_t wanted = UINT64_MAX, issued, done, errors, keys = 100000;
static uint64_t random_state = 88172645463325252u;
static uint32_t *took; /* us / 10, of each operation */
static uint64_t took_max = 1 << 24;
static char value[VALUE_MAX];
static int epoll_fd;
static FILE *gaps;

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

static void
interest(struct conn *c, uint32_t events, int op)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll_fd, op, c->fd, &ev) == -1)
		err(1, "epoll_ctl");
}

/* ---- bytes ---- */

static void
put(struct conn *c, const void *p, size_t n)
{
	if (c->out_len + n > sizeof(c->out))
		errx(1, "a batch is too long");
	memcpy(c->out + c->out_len, p, n);
	c->out_len += n;
}

static void
put_text(struct conn *c, const char *s)
{
	put(c, s, strlen(s));
}

static void
put_frame(
    struct conn *c, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
	uint8_t h[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8),
		(uint8_t)len, type, flags, (uint8_t)(stream >> 24),
		(uint8_t)(stream >> 16), (uint8_t)(stream >> 8),
		(uint8_t)stream };

	put(c, h, sizeof(h));
}

static void
push(struct conn *c)
{
	ssize_t n = 0;

	if (c->out_off < c->out_len)
		n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off,
		    MSG_NOSIGNAL);
	if (n > 0)
		c->out_off += (size_t)n;
	if (c->out_off == c->out_len) {
		c->out_len = c->out_off = 0;
		return;
	}
	interest(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

/* ---- connections ---- */

static void
failed(struct conn *c, const char *why)
{
	if (gaps == NULL)
		errx(1, "%s: %s", server[c->server].text, why);
	errors++;
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->sent = 0;
	c->server = (c->server + 1) % servers;
	c->due = now_ns() + RETRY_MS * NS_MS;
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
	c->consumed = 0;
	c->stream = 1;
	c->connecting = true;
	c->due = now_ns() + OP_MS * NS_MS;
	if (connect(c->fd, (const struct sockaddr *)&server[c->server].addr,
		sizeof(server[c->server].addr)) == -1 &&
	    errno != EINPROGRESS) {
		failed(c, strerror(errno));
		return;
	}
	interest(c, EPOLLOUT, EPOLL_CTL_ADD);
}

/* ---- what is sent ---- */

static void
resp_op(struct conn *c, const char *key)
{
	char head[128];

	if (get) {
		snprintf(head, sizeof(head),
		    "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
		put_text(c, head);
		return;
	}
	snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n",
	    strlen(key), key, value_size);
	put_text(c, head);
	put(c, value, value_size);
	put(c, "\r\n", 2);
}

static size_t
varint(uint8_t *p, size_t n)
{
	size_t at = 0;

	for (; n >= 0x80; n >>= 7)
		p[at++] = (uint8_t)(n | 0x80);
	p[at++] = (uint8_t)n;
	return at;
}

/* A stream: headers of no compression state, one message, its end. */
static void
etcd_op(struct conn *c, const char *key, uint32_t stream)
{
	const char *path =
	    get ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put";
	const char *authority = server[c->server].text;
	uint8_t head[256], body[64];
	size_t n = 0, b = 0, m, len;

	head[n++] = 0x83; /* :method POST */
	head[n++] = 0x86; /* :scheme http */
	head[n++] = 0x04; /* :path, not indexed */
	head[n++] = (uint8_t)strlen(path);
	n += (size_t)snprintf((char *)head + n, sizeof(head) - n, "%s", path);
	head[n++] = 0x01; /* :authority */
	head[n++] = (uint8_t)strlen(authority);
	n += (size_t)snprintf(
	    (char *)head + n, sizeof(head) - n, "%s", authority);
	memcpy(head + n,
	    "\x0f\x10\x10"
	    "application/grpc",
	    19);
	n += 19;
	memcpy(head + n, "\x00\x02te\x08trailers", 13);
	n += 13;
	put_frame(c, n, 1, 4 /* END_HEADERS */, stream);
	put(c, head, n);
	body[b++] = 0x0a; /* key */
	b += varint(body + b, strlen(key));
	memcpy(body + b, key, strlen(key));
	b += strlen(key);
	m = b;
	if (!get) {
		body[b++] = 0x12; /* value */
		b += varint(body + b, value_size);
		m = b + value_size;
	}
	len = m + 5;
	put_frame(c, len, 0, 1 /* END_STREAM */, stream);
	put(c,
	    (uint8_t[]){ 0, (uint8_t)(m >> 24), (uint8_t)(m >> 16),
		(uint8_t)(m >> 8), (uint8_t)m },
	    5);
	put(c, body, b);
	if (!get)
		put(c, value, value_size);
}

static void
begin(struct conn *c)
{
	char key[32];

	if (issued >= wanted)
		return;
	if (protocol == ETCD && c->stream > STREAM_MAX - 2 * BATCH_MAX) {
		close(c->fd);
		dial(c);
		return;
	}
	c->has_data = 0;
	for (unsigned i = 0; i < batch; i++) {
		snprintf(key, sizeof(key), "key:%012llu",
		    (unsigned long long)(random_next() % keys));
		if (protocol == ETCD)
			etcd_op(c, key, c->stream + 2 * i);
		else
			resp_op(c, key);
	}
	if (protocol == WAIT && !get)
		put_text(c, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
	c->waiting = batch;
	issued += batch;
	c->sent = now_ns();
	c->due = c->sent + OP_MS * NS_MS;
	push(c);
}

/* ---- what is answered ---- */

static void
answered(struct conn *c, unsigned count)
{
	uint64_t now = now_ns(), t = (now - c->sent) / 100;

	for (unsigned i = 0; i < count; i++) {
		if (done < took_max)
			took[done] = t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
		done++;
		if (gaps != NULL)
			fprintf(gaps, "%llu %llu %u\n",
			    (unsigned long long)c->sent,
			    (unsigned long long)now, c->server);
	}
	if (gaps != NULL)
		fflush(gaps);
	c->waiting -= count;
}

/* Bytes of one whole reply at p; 0 = it is not all there. */
static size_t
resp_one(struct conn *c, const uint8_t *p, size_t n)
{
	const uint8_t *end = memmem(p, n, "\r\n", 2);
	char text[128];
	size_t line;
	long len;

	if (end == NULL)
		return 0;
	line = (size_t)(end - p) + 2;
	snprintf(text, sizeof(text), "%.*s", (int)(end - p - 1), p + 1);
	switch (p[0]) {
	case '-':
		failed(c, text);
		return 0;
	case '$':
		len = atol(text);
		if (len < 0)
			break;
		if (n < line + (size_t)len + 2)
			return 0;
		line += (size_t)len + 2;
		break;
	case ':':
		/* Of WAIT: all before it is answered, too. */
		if (atol(text) < 1) {
			failed(c, "WAIT: no replica has it");
			return 0;
		}
		answered(c, c->waiting);
		return line;
	default:
		break;
	}
	if (protocol == RESP || get)
		answered(c, 1);
	return line;
}

static uint32_t
u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void
etcd_stream(struct conn *c, uint32_t stream, bool data, bool end)
{
	uint32_t i = (stream - c->stream) / 2;

	if (stream < c->stream || i >= batch)
		return;
	if (data)
		c->has_data |= UINT64_C(1) << i;
	if (!end)
		return;
	/* An error comes as trailers alone. */
	if ((c->has_data >> i & 1) == 0)
		failed(c, "the call is refused");
	else
		answered(c, 1);
}

static size_t
etcd_one(struct conn *c, const uint8_t *p, size_t n)
{
	size_t len;
	uint32_t stream;

	if (n < 9)
		return 0;
	len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	if (n < 9 + len)
		return 0;
	stream = u32(p + 5) & 0x7fffffff;
	switch (p[3]) {
	case 0: /* DATA */
		c->consumed += (uint32_t)len;
		if (c->consumed > WINDOW) {
			put_frame(c, 4, 8, 0, 0);
			put(c,
			    (uint8_t[]){ 0, 0, (uint8_t)(c->consumed >> 8),
				(uint8_t)c->consumed },
			    4);
			c->consumed = 0;
		}
		etcd_stream(c, stream, true, (p[4] & 1) != 0);
		break;
	case 1: /* HEADERS */
		etcd_stream(c, stream, false, (p[4] & 1) != 0);
		break;
	case 3: /* RST_STREAM */
	case 7: /* GOAWAY */
		failed(c, "reset");
		return 0;
	case 4: /* SETTINGS */
		if ((p[4] & 1) == 0)
			put_frame(c, 0, 4, 1, 0);
		break;
	case 6: /* PING */
		if ((p[4] & 1) == 0) {
			put_frame(c, 8, 6, 1, 0);
			put(c, p + 9, 8);
		}
		break;
	default:
		break;
	}
	return 9 + len;
}

static void
readable(struct conn *c)
{
	ssize_t n =
	    recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
	size_t off = 0, used;

	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0) {
		failed(c, n == 0 ? "closed" : strerror(errno));
		return;
	}
	c->in_len += (size_t)n;
	while (off < c->in_len && c->fd != -1) {
		used = protocol == ETCD
			   ? etcd_one(c, c->in + off, c->in_len - off)
			   : resp_one(c, c->in + off, c->in_len - off);
		if (used == 0)
			break;
		off += used;
	}
	if (c->fd == -1)
		return;
	memmove(c->in, c->in + off, c->in_len - off);
	c->in_len -= off;
	if (c->sent != 0 && c->waiting == 0) {
		c->sent = 0;
		c->stream += 2 * batch;
		begin(c);
	} else
		push(c);
}

static void
happened(struct conn *c, uint32_t events)
{
	int e = 0;
	socklen_t size = sizeof(e);

	if (c->fd == -1)
		return;
	if (c->connecting) {
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &size);
		if (e != 0) {
			failed(c, strerror(e));
			return;
		}
		c->connecting = false;
		interest(c, EPOLLIN, EPOLL_CTL_MOD);
		if (protocol == ETCD) {
			put_text(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
			put_frame(c, 0, 4, 0, 0);
		}
		begin(c);
		return;
	}
	if ((events & EPOLLOUT) != 0) {
		interest(c, EPOLLIN, EPOLL_CTL_MOD);
		push(c);
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		readable(c);
}

static void
run(uint64_t end)
{
	struct epoll_event ev[256];
	uint64_t now;
	int i, n;

	while (done < wanted && (now = now_ns()) < end) {
		n = epoll_wait(epoll_fd, ev, 256, gaps != NULL ? 2 : 100);
		if (n == -1 && errno != EINTR)
			err(1, "epoll_wait");
		for (i = 0; i < n; i++)
			happened(ev[i].data.ptr, ev[i].events);
		for (unsigned k = 0; gaps != NULL && k < conns; k++) {
			if (conn[k].due > now)
				continue;
			if (conn[k].fd == -1)
				dial(&conn[k]);
			else
				failed(&conn[k], "no answer");
		}
	}
}

static int
less(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
report(uint64_t ns)
{
	uint64_t n = done < took_max ? done : took_max;

	qsort(took, n, sizeof(*took), less);
	printf("%.1f %.1f %.1f %.1f %llu\n", (double)done * 1e9 / (double)ns,
	    n == 0 ? 0 : took[n / 2] / 10.0,
	    n == 0 ? 0 : took[n * 99 / 100] / 10.0,
	    n == 0 ? 0 : took[n - 1] / 10.0, (unsigned long long)done);
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

static enum protocol
protocol_of(const char *name)
{
	if (strcmp(name, "etcd") == 0)
		return ETCD;
	return strcmp(name, "wait") == 0 ? WAIT : RESP;
}

int
main(int argc, char **argv)
{
	uint64_t seconds = 3600, start;
	int ch;

	while ((ch = getopt(argc, argv, "p:m:c:P:n:t:d:k:S:G:")) != -1) {
		switch (ch) {
		case 'p':
			protocol = protocol_of(optarg);
			break;
		case 'm':
			get = strcmp(optarg, "get") == 0;
			break;
		case 'c':
			conns = (unsigned)atoi(optarg);
			break;
		case 'P':
			batch = (unsigned)atoi(optarg);
			break;
		case 'n':
			wanted = (uint64_t)atoll(optarg);
			break;
		case 't':
			seconds = (uint64_t)atoll(optarg);
			break;
		case 'd':
			value_size = (unsigned)atoi(optarg);
			break;
		case 'k':
			keys = (uint64_t)atoll(optarg);
			break;
		case 'S':
			random_state += (uint64_t)atoll(optarg) * 7919;
			break;
		case 'G':
			if ((gaps = fopen(optarg, "we")) == NULL)
				err(1, "%s", optarg);
			break;
		default:
			errx(64, "see the head of t/bench/group_client.c");
		}
	}
	for (; optind < argc; optind++)
		server_add(argv[optind]);
	if (servers == 0 || conns == 0 || conns > CONN_MAX || batch == 0 ||
	    batch > BATCH_MAX || value_size > VALUE_MAX || keys == 0)
		errx(64, "see the head of t/bench/group_client.c");
	memset(value, 'x', sizeof(value));
	conn = calloc(conns, sizeof(*conn));
	took = calloc(took_max, sizeof(*took));
	if (conn == NULL || took == NULL)
		err(1, "calloc");
	if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) == -1)
		err(1, "epoll_create1");
	start = now_ns();
	for (unsigned i = 0; i < conns; i++) {
		conn[i].id = i;
		conn[i].server = i % servers;
		dial(&conn[i]);
	}
	run(start + seconds * NS_S);
	report(now_ns() - start);
	return 0;
}
