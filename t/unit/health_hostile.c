/*
 * Clients of the health worker that mean ill: tricklers in all places of the
 * HTTP port, slow readers, requests that are too much or never end, crowds;
 * half requests and long waits on the control socket. Probes and stop are
 * answered all the while, and none of the others stays for ever.
 */
#include <sys/resource.h>

#include "t/lib/health_rig.h"
#include "workers/health/lobby.h"

#define TRICKLERS 128 /* as many as the port has places */
#define HOSTS     8

struct tricklers {
	_Atomic unsigned open, closed;
	_Atomic bool enough;
};

static struct tricklers *t;

/* A request whose body never comes to its end. */
static int
endless_begin(unsigned host)
{
	int fd = dial_from(host);

	say(fd,
	    "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n");
	return fd;
}

static int
trickler_begin(unsigned i)
{
	int fd = endless_begin(10 + i % HOSTS);

	atomic_fetch_add(&t->open, 1);
	return fd;
}

/* One byte of each now and then. Who is thrown out stays away. */
static int
tricklers_child(void *arg)
{
	static struct pollfd p[TRICKLERS];
	unsigned i;
	char byte;

	(void)arg;
	for (i = 0; i < TRICKLERS; i++)
		p[i] = (struct pollfd){ .fd = trickler_begin(i),
			.events = POLLIN };
	while (!atomic_load(&t->enough)) {
		poll(p, TRICKLERS, 100);
		for (i = 0; i < TRICKLERS; i++) {
			if (p[i].fd >= 0)
				(void)!send(p[i].fd, "x", 1, MSG_NOSIGNAL);
			if (p[i].fd < 0 || p[i].revents == 0 ||
			    recv(p[i].fd, &byte, 1, MSG_DONTWAIT) > 0)
				continue;
			atomic_fetch_add(&t->closed, 1);
			close(p[i].fd);
			p[i].fd = -1;
		}
	}
	return 0;
}

#define GREED 400 /* answers: more than fits into the sockets' buffers */

/* Asks for all that, and takes nothing. */
static int
slow_reader_begin(void)
{
	int fd = dial_from(9), i;

	for (i = 0; i < GREED; i++)
		say(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	return fd;
}

static size_t
drain(int fd)
{
	size_t all = 0;
	ssize_t n;

	while ((n = recv(fd, reply, sizeof(reply), 0)) > 0)
		all += (size_t)n;
	return all;
}

static void
test_tricklers(void)
{
	int slow = slow_reader_begin();
	pid_t pid = child_start(tricklers_child, NULL);
	size_t one;

	ok(wait_until(atomic_load(&t->open) >= TRICKLERS, TAP_WAIT_MS),
	    "tricklers in all places");
	is_i64(http("GET", "/livez"), 200, "a probe is answered beside them");
	is_i64(http("GET", "/metrics"), 200, "so are metrics");
	one = strlen(reply);
	is_str(control("loglevel\n"), "ok\ninfo\n", "and control");
	ok(wait_until(atomic_load(&t->closed) == TRICKLERS, TAP_WAIT_MS),
	    "and none of them stays, though bytes keep coming");
	ok(counter_sum(f.r.counters, C_HTTP_TIMEOUTS) > 0,
	    "who is out of time is counted");
	atomic_store(&t->enough, true);
	is_i64(child_end(pid), 0, "enough");
	ok(drain(slow) < GREED * one, "who takes no answers is given up, too");
	close(slow);
}

/* One machine takes no more than its share. */
static void
test_one_address(void)
{
	uint64_t before = counter_sum(f.r.counters, C_HTTP_DISPLACED);
	int fd[300], n = 0;

	while (n < 300 && counter_sum(f.r.counters, C_HTTP_DISPLACED) == before)
		fd[n++] = endless_begin(30);
	ok(wait_until(counter_sum(f.r.counters, C_HTTP_DISPLACED) > before,
	       TAP_WAIT_MS),
	    "the oldest of one address gives way, and is counted");
	while (n > 0)
		close(fd[--n]);
}

#define CROWD (LOBBY_MAX + 300)

static int crowd[CROWD];

/* So many that say nothing. */
static void
crowd_begin(unsigned n, unsigned from, unsigned hosts)
{
	for (unsigned i = 0; i < n; i++)
		crowd[i] = dial_from(from + i % hosts);
}

static void
crowd_end(unsigned n)
{
	while (n > 0)
		close(crowd[--n]);
}

static const char probe[] =
    "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/* The answer to what was said there. */
static int
answer(int fd)
{
	int code = 0;

	hear(fd, NULL);
	close(fd);
	sscanf(reply, "HTTP/1.1 %d", &code);
	return code;
}

/*
 * The worker is held up while a probe asks and, after it, a crowd comes: it
 * finds them all at once.
 */
static void
test_asked_before(pid_t pid, const char *name, unsigned from, unsigned hosts)
{
	int first;

	kill(pid, SIGSTOP);
	first = dial_from(31);
	say(first, probe);
	crowd_begin(300, from, hosts);
	kill(pid, SIGCONT);
	ok(answer(first) == 200, "a probe before %s", name);
	crowd_end(300);
}

/* A probe from where a crowd comes from that is slow to ask, or late. */
static void
test_asked_behind(pid_t pid)
{
	int slow, last;
	uint64_t before;

	slow = dial_from(31);
	say(slow, "GET /livez HTTP/1.1\r\n");
	crowd_begin(300, 31, 1);
	is_i64(http("GET", "/livez"), 200, "all of them have been taken");
	say(slow, "Host: x\r\nConnection: close\r\n\r\n");
	is_i64(answer(slow), 200, "asked after 300 came: answered");
	crowd_end(300);

	before = counter_sum(f.r.counters, C_HTTP_DISPLACED);
	kill(pid, SIGSTOP);
	crowd_begin(CROWD, 31, 1);
	last = dial_from(31);
	say(last, probe);
	kill(pid, SIGCONT);
	is_i64(answer(last), 200, "behind more than there is room for");
	ok(counter_sum(f.r.counters, C_HTTP_DISPLACED) > before,
	    "the first of them have given way");
	crowd_end(CROWD);
}

static void
test_pipeline(void)
{
	static const char get[] = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = dial(), i, n = 0;
	const char *at;

	for (i = 0; i < 99; i++)
		say(fd, get);
	say(fd, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	hear(fd, NULL);
	for (at = reply; (at = strstr(at, "200 OK")) != NULL; at++)
		n++;
	is_i64(n, 100, "a hundred requests at once");
	close(fd);
}

/* `head`, then `more` again and again: refused, and closed. */
static void
refused(const char *name, const char *head, const char *more, unsigned times)
{
	int fd = dial();

	(void)!send(fd, head, strlen(head), MSG_NOSIGNAL);
	while (times-- > 0 && send(fd, more, strlen(more), MSG_NOSIGNAL) > 0)
		;
	hear(fd, NULL);
	ok(heard_end &&
		(reply[0] == '\0' || strncmp(reply, "HTTP/1.1 4", 10) == 0 ||
		    strncmp(reply, "HTTP/1.1 5", 10) == 0),
	    "%s: refused (%.20s)", name, reply);
	close(fd);
	is_i64(http("GET", "/livez"), 200, "and nobody is the worse for it");
}

static void
test_too_much(void)
{
	static const char x64[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

	refused("a URL without end", "GET /", x64, 2000);
	refused("a header without end", "GET / HTTP/1.1\r\nHost: ", x64, 2000);
	refused("headers without end", "GET / HTTP/1.1\r\n",
	    "X-Header: a value\r\n", 4000);
	refused("a body without end",
	    "POST /livez HTTP/1.1\r\nHost: x\r\n"
	    "Content-Length: 99999999999\r\n\r\n",
	    x64, 2000);
	refused("chunks without end",
	    "POST /livez HTTP/1.1\r\nHost: x\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n",
	    "40\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
	    2000);
	refused("a length that is none",
	    "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "",
	    0);
	is_i64(http("TRACE", "/livez"), 405, "TRACE");
	ok(http("CONNECT", "x:80") >= 400, "CONNECT");
	ok(http("GET", "//..%2f%00/livez") >= 400, "a strange path");
}

static void
test_crowd(void)
{
	unsigned i;

	for (i = 0; i < 2000; i++)
		close(dial_from(40 + i % HOSTS));
	is_i64(http("GET", "/livez"), 200, "2000 came and went");
}

/* ---- the control socket ---- */

#define HALVES 100

static void
test_halves(void)
{
	int fd[HALVES], i, silent = 0;

	for (i = 0; i < HALVES; i++) {
		fd[i] = dial_control();
		say(fd[i], "sto");
		is_u64(i % 20 != 0 ||
			   strcmp(control("loglevel\n"), "ok\ninfo\n") == 0,
		    true, "half requests: others are heard");
	}
	is_str(control("stop\n"), "ok\nstopping\n", "so is stop");
	atomic_store(&f.r.control->stop_wanted, 0);
	/* The others would be, 5 s after they came. */
	for (i = 0; i < HALVES - 31; i++)
		silent += hear(fd[i], NULL) == 0 && heard_end;
	is_i64(silent, HALVES - 31, "the oldest have given way");
	for (i = 0; i < HALVES; i++)
		close(fd[i]);
}

#define WAITERS 20

static void
test_waiters(void)
{
	struct control *ctl = f.r.control;
	int fd[WAITERS], i, done = 0, refused_n = 0;
	uint64_t asked = counter_sum(f.r.counters, C_CONTROL_REQUESTS);

	for (i = 0; i < WAITERS; i++) {
		fd[i] = dial_control();
		say(fd[i], "checkpoint\n");
		(void)wait_until(counter_sum(f.r.counters, C_CONTROL_REQUESTS) >
				     asked + (uint64_t)i,
		    TAP_WAIT_MS);
	}
	is_str(control("stop\n"), "ok\nstopping\n",
	    "stop is heard while many wait for a checkpoint");
	atomic_store(&ctl->stop_wanted, 0);
	atomic_store(
	    &ctl->checkpoint_done, atomic_load(&ctl->checkpoint_wanted));
	for (i = 0; i < WAITERS; i++) {
		hear(fd[i], NULL);
		done += strncmp(reply, "ok\ncheckpoint", 13) == 0;
		refused_n += strncmp(reply, "error 16 others", 15) == 0;
		close(fd[i]);
	}
	is_i64(done, 16, "16 may wait");
	is_i64(refused_n, WAITERS - 16, "the others are told to come again");
}

static void
test_stop(pid_t pid)
{
	unsigned step;

	for (step = 1; step <= SHUTDOWN_CLOSED; step++) {
		seq_shutdown(f.r.seq, step);
		bell_ring(&w.bells, SLOT_HEALTH);
	}
	is_i64(child_end(pid), 0, "the worker ends with 0");
}

int
main(int argc, char **argv)
{
	struct rlimit files = { .rlim_cur = CROWD + 200,
		.rlim_max = CROWD + 200 };
	pid_t pid;

	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		skip_all("%d descriptors: %s", CROWD, strerror(errno));
	t = shared_zeros(sizeof(*t));
	health_rig_open(argc, argv);
	pid = health_start();
	seq_fire(f.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	bell_ring(&w.bells, SLOT_HEALTH);
	seq_fire(f.r.seq, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY);
	(void)wait_until(
	    seq_reached(f.r.seq, PHASE_GATEWAY_ENABLE), TAP_WAIT_MS);
	test_tricklers();
	test_one_address();
	test_asked_before(pid, "a crowd of all", 70, HOSTS);
	test_asked_before(pid, "a crowd of its own address", 31, 1);
	test_asked_behind(pid);
	test_pipeline();
	test_too_much();
	test_crowd();
	test_halves();
	test_waiters();
	test_stop(pid);
	health_rig_close();
	return tap_done();
}
