/*
 * The witnesses: what anybody else sees of the node while it is attacked.
 *
 *	witness ping CLIENT		PING on one connection, every 5 ms
 *	witness probe HTTP		/readyz, /livez in turns, every 100 ms
 *	witness write CLIENT FILE SEED LOCK_FD
 *					writes, and knows what was answered
 *	witness check CLIENT FILE	is all that in FILE there?
 *
 * SIGTERM ends the first three: figures as "name value" on stdout, FAIL lines
 * for what must not be. The writer then reads everything back and leaves what
 * must be there in FILE; by SIGUSR1 it leaves it without, the node being dead.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "t/hostile/net.h"

#define PING_MS    5
#define PROBE_MS   100
#define LATE_S     30 /* an answer that never comes, and is waited for */
#define KEYS       4000u
#define BATCH      32u /* commands of one pipeline */
#define VALUE_MAX  3000u
#define SAMPLE_MAX 1000000u
#define FAILS_MAX  5

static volatile sig_atomic_t stopping;
static unsigned fails;

static void
on_term(int sig)
{
	stopping = sig;
}

__attribute__((format(printf, 1, 2))) static void
fail(const char *fmt, ...)
{
	va_list ap;

	if (fails++ >= FAILS_MAX)
		return;
	va_start(ap, fmt);
	printf("FAIL ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

/* ---- a connection that waits ---- */

struct link {
	struct sockaddr_in to;
	int fd;
	uint8_t in[1u << 16];
	size_t at, end;
};

static void
link_close(struct link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->at = l->end = 0;
}

static bool
link_open(struct link *l)
{
	uint64_t until = mono_ns() + LATE_S * NS_PER_S;
	int error = 0;
	socklen_t len = sizeof(error);

	link_close(l);
	if ((l->fd = net_begin(&l->to)) < 0)
		return false;
	if (!net_wait(l->fd, POLLOUT, until))
		error = ETIMEDOUT;
	else
		(void)getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0)
		link_close(l);
	return error == 0;
}

static bool
link_send(struct link *l, const void *data, size_t n)
{
	uint64_t until = mono_ns() + LATE_S * NS_PER_S;
	const uint8_t *p = data;

	while (n > 0) {
		ssize_t rc = send(l->fd, p, n, MSG_NOSIGNAL);

		if (rc < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (rc < 0 && !net_wait(l->fd, POLLOUT, until))
			return false;
		if (rc > 0) {
			p += rc;
			n -= (size_t)rc;
		}
	}
	return true;
}

/* More bytes, or false: closed, or nothing for LATE_S. */
static bool
link_fill(struct link *l)
{
	uint64_t until = mono_ns() + LATE_S * NS_PER_S;
	ssize_t rc;

	memmove(l->in, l->in + l->at, l->end - l->at);
	l->end -= l->at;
	l->at = 0;
	while (net_wait(l->fd, POLLIN, until)) {
		rc = recv(l->fd, l->in + l->end, sizeof(l->in) - l->end, 0);
		if (rc > 0) {
			l->end += (size_t)rc;
			return true;
		}
		if (rc == 0 || (errno != EAGAIN && errno != EINTR))
			return false;
	}
	return false;
}

/* A line without its end, valid until the next call; NULL: no more come. */
static char *
link_line(struct link *l)
{
	uint8_t *nl;
	char *line;

	while ((nl = memchr(l->in + l->at, '\n', l->end - l->at)) == NULL)
		if (l->end - l->at == sizeof(l->in) || !link_fill(l))
			return NULL;
	line = (char *)l->in + l->at;
	l->at = (size_t)(nl - l->in) + 1;
	*nl = '\0';
	if (nl > (uint8_t *)line && nl[-1] == '\r')
		nl[-1] = '\0';
	return line;
}

/* n bytes and a line's end; NULL as above. */
static uint8_t *
link_bytes(struct link *l, size_t n)
{
	while (l->end - l->at < n + 2)
		if (!link_fill(l))
			return NULL;
	l->at += n + 2;
	return l->in + l->at - n - 2;
}

/* ---- latencies ---- */

static uint32_t samples[SAMPLE_MAX]; /* us */
static size_t sample_count;

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
sample(uint64_t since)
{
	if (sample_count < SAMPLE_MAX)
		samples[sample_count++] =
		    (uint32_t)((mono_ns() - since) / 1000);
}

static void
samples_print(const char *name)
{
	size_t n = sample_count;

	qsort(samples, n, sizeof(*samples), compare);
	if (n == 0)
		samples[n++] = 0;
	printf("%s_count %zu\n%s_p50_us %u\n%s_p99_us %u\n%s_max_us %u\n", name,
	    sample_count, name, samples[n / 2], name, samples[n * 99 / 100],
	    name, samples[n - 1]);
}

/* Ahead of the attackers and of the node, so that its own waits do not show. */
static void
hurry(void)
{
	struct sched_param first = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_RR, &first) != 0)
		(void)setpriority(PRIO_PROCESS, 0, -10);
}

static void
pause_until(uint64_t at)
{
	uint64_t now = mono_ns();

	if (at > now)
		usleep((useconds_t)((at - now) / 1000));
}

static void
ping(struct link *l)
{
	uint64_t began, lost = 0;
	bool open = link_open(l);
	const char *line;

	hurry();
	while (!stopping) {
		began = mono_ns();
		if (!open || !link_send(l, "PING\r\n", 6) ||
		    (line = link_line(l)) == NULL || strcmp(line, "+PONG")) {
			if (stopping)
				break;
			lost++;
			open = link_open(l);
		}
		sample(began);
		pause_until(began + PING_MS * NS_PER_MS);
	}
	samples_print("ping");
	printf("ping_lost %llu\n", (unsigned long long)lost);
	if (lost > 0)
		fail("the PING connection was lost %llu times",
		    (unsigned long long)lost);
}

/* ---- probes ---- */

static int
probe_once(struct link *l, const char *path)
{
	char text[128];
	const char *line;
	int n = snprintf(text, sizeof(text),
	    "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);

	if (!link_open(l) || !link_send(l, text, (size_t)n) ||
	    (line = link_line(l)) == NULL || strlen(line) < 12)
		return 0;
	return atoi(line + 9);
}

static void
probe(struct link *l)
{
	static const char *const paths[] = { "/readyz", "/livez" };
	uint64_t began, refused = 0, late = 0;
	unsigned turn = 0;
	int code;

	hurry();
	while (!stopping) {
		const char *path = paths[turn++ % 2];

		began = mono_ns();
		code = probe_once(l, path);
		if (stopping && code != 200)
			break;
		sample(began);
		late += mono_ns() - began > NS_PER_S;
		refused += code != 200;
		if (code != 200)
			fail("%s answered %d after %llu ms", path, code,
			    (unsigned long long)(mono_ns() - began) /
				NS_PER_MS);
		link_close(l);
		pause_until(began + PROBE_MS * NS_PER_MS);
	}
	samples_print("probe");
	printf("probe_refused %llu\nprobe_late %llu\n",
	    (unsigned long long)refused, (unsigned long long)late);
}

/* ---- the writer ---- */

/*
 * One key has one writer, so its value is the last one answered, or a newer
 * one that was sent and whose answer was lost with a connection.
 */
struct known {
	uint32_t answered, sent; /* versions; 0: not there */
};

static struct known keys[KEYS];
static uint64_t checked;

static size_t
value_of(unsigned key, uint32_t version, char *to)
{
	uint64_t rng = (uint64_t)key << 32 | version;
	size_t n =
	    24 + rnd_below(&rng, rnd_below(&rng, 8) ? 100 : VALUE_MAX - 24);
	size_t head = (size_t)snprintf(to, VALUE_MAX, "%u:", version);

	memset(to + head, 'a' + (int)(version % 26), n - head);
	return n;
}

static size_t
put_set(char *to, unsigned key, uint32_t version)
{
	char name[16], value[VALUE_MAX];
	int len = snprintf(name, sizeof(name), "wit:%u", key);
	size_t n = value_of(key, version, value);
	size_t head = (size_t)snprintf(to, VALUE_MAX,
	    "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n", len, name, n);

	memcpy(to + head, value, n);
	memcpy(to + head + n, "\r\n", 2);
	return head + n + 2;
}

/* Read one key: false if the connection broke. What is wrong is said. */
static bool
key_check(struct link *l, unsigned key)
{
	char text[64], want[VALUE_MAX];
	struct known *k = &keys[key];
	uint32_t version = 0;
	uint8_t *value = NULL;
	size_t n = 0;
	char *line;
	int len = snprintf(text, sizeof(text), "GET wit:%u\r\n", key);

	if (!link_send(l, text, (size_t)len) || (line = link_line(l)) == NULL)
		return false;
	if (line[0] != '$') {
		fail("GET wit:%u answered %.80s", key, line);
		return true;
	}
	if (line[1] != '-') {
		n = strtoul(line + 1, NULL, 10);
		if (n > VALUE_MAX || (value = link_bytes(l, n)) == NULL)
			return false;
		version = (uint32_t)strtoul((char *)value, NULL, 10);
	}
	checked++;
	if (version < k->answered || version > k->sent)
		fail("wit:%u has version %u, answered was %u, sent %u: LOST",
		    key, version, k->answered, k->sent);
	else if (version > 0 && (n != value_of(key, version, want) ||
				    memcmp(want, value, n) != 0))
		fail("wit:%u version %u has another value", key, version);
	k->answered = version;
	return true;
}

/* Some SETs in one write, now and then as one MULTI. */
static bool
write_batch(struct link *l, uint64_t *rng, uint64_t *answered)
{
	static char out[BATCH * (VALUE_MAX + 64) + 64];
	unsigned n = 1 + (unsigned)rnd_below(rng, BATCH), batch[BATCH], i;
	uint32_t versions[BATCH];
	bool multi = rnd_below(rng, 4) == 0;
	size_t len = multi ? (size_t)snprintf(out, 16, "MULTI\r\n") : 0;
	const char *line;

	for (i = 0; i < n; i++) {
		batch[i] = (unsigned)rnd_below(rng, KEYS);
		versions[i] = ++keys[batch[i]].sent;
		len += put_set(out + len, batch[i], versions[i]);
	}
	if (multi)
		len += (size_t)snprintf(out + len, 16, "EXEC\r\n");
	if (!link_send(l, out, len))
		return false;
	/* +OK, +QUEUED and *N come before what counts. */
	for (i = 0; multi && i < n + 2; i++)
		if ((line = link_line(l)) == NULL)
			return false;
		else if (line[0] == '-') {
			fail("MULTI answered %.80s", line);
			return false;
		}
	for (i = 0; i < n; i++) {
		if ((line = link_line(l)) == NULL)
			return false;
		if (line[0] == '-') {
			fail("SET answered %.80s", line);
			continue;
		}
		keys[batch[i]].answered = versions[i];
		++*answered;
	}
	return true;
}

/* The attackers want everything gone: nothing of ours is under way now. */
static void
let_flush(int lock_fd)
{
	char said;

	if (read(lock_fd, &said, 1) != 1 || said != 'f')
		return;
	if (write(lock_fd, "g", 1) != 1)
		return;
	if (read(lock_fd, &said, 1) == 1 && said == 'd')
		memset(keys, 0, sizeof(keys));
	else
		for (unsigned i = 0; i < KEYS; i++)
			keys[i].answered = 0;
}

/* With a connection lost, what was sent may have been done or not. */
static bool
check_all(struct link *l)
{
	for (unsigned i = 0; i < KEYS; i++)
		for (int try = 0; l->fd < 0 || !key_check(l, i); try++) {
			if (try == 50)
				return false;
			if (!link_open(l))
				pause_until(mono_ns() + 200 * NS_PER_MS);
		}
	return true;
}

static void
keys_save(const char *path)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fwrite(keys, sizeof(keys), 1, f) != 1 || fclose(f))
		die(path);
}

static void
keys_load(const char *path)
{
	FILE *f = fopen(path, "r");

	if (f == NULL || fread(keys, sizeof(keys), 1, f) != 1)
		die(path);
	fclose(f);
}

static void
write_and_read(struct link *l, const char *path, uint64_t seed, int lock_fd)
{
	uint64_t rng = seed, began, answered = 0, lost = 0;

	link_open(l);
	while (!stopping) {
		if (net_wait(lock_fd, POLLIN, mono_ns()))
			let_flush(lock_fd);
		began = mono_ns();
		if (l->fd >= 0 && write_batch(l, &rng, &answered) &&
		    key_check(l, (unsigned)rnd_below(&rng, KEYS))) {
			sample(began);
			pause_until(mono_ns() + 2 * NS_PER_MS);
			continue;
		}
		lost++;
		if (mono_ns() - began > LATE_S * NS_PER_S)
			fail("no answer to the writer within %d s", LATE_S);
		/* What was sent may be done yet: the gateway's death ends it.
		 */
		if (!link_open(l) || !check_all(l))
			pause_until(mono_ns() + 200 * NS_PER_MS);
	}
	if (stopping == SIGTERM && !check_all(l))
		fail("the writer's keys could not be read");
	samples_print("write");
	printf("writes_answered %llu\nwrites_lost_links %llu\n"
	       "reads_checked %llu\n",
	    (unsigned long long)answered, (unsigned long long)lost,
	    (unsigned long long)checked);
	keys_save(path);
}

int
main(int argc, char **argv)
{
	static struct link l = { .fd = -1 };

	net_child();
	signal(SIGTERM, on_term);
	signal(SIGUSR1, on_term);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		die("usage: witness ping|probe|write|check ADDRESS ...");
	l.to = net_addr(argv[2]);
	if (strcmp(argv[1], "ping") == 0)
		ping(&l);
	else if (strcmp(argv[1], "probe") == 0)
		probe(&l);
	else if (strcmp(argv[1], "write") == 0 && argc == 6)
		write_and_read(
		    &l, argv[3], strtoull(argv[4], NULL, 10), atoi(argv[5]));
	else if (strcmp(argv[1], "check") == 0 && argc == 4) {
		keys_load(argv[3]);
		if (!check_all(&l))
			fail("the keys could not be read");
		printf("reads_checked %llu\n", (unsigned long long)checked);
	} else
		die("usage");
	return fails != 0;
}
