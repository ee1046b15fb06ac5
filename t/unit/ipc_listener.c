/*
 * Listening sockets: connections that came before the poll, one by one and
 * many at once, are all taken; so are those that come right after the process
 * before was killed with its poll armed, while the kernel still tears its
 * ring down; running out of descriptors is tried again; closed is closed.
 */
#include "ipc/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "t/shm_fixture.h"

#define ENTRIES   8
#define KIND_POLL 1
#define MANY      200
#define ROUNDS    1000
#define WAIT_MS   TAP_WAIT_MS

struct server {
	struct loop loop;
	struct listener l;
	_Atomic uint32_t *up; /* shared: turns since the start */
	unsigned taken, want;
};

static struct fixture f;
static struct bells bells;
static struct sockaddr_in addr;
static int listen_fd;

static void
server_polled(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct server *s = ctx;

	(void)slot;
	(void)generation;
	listener_event(&s->l, res, flags);
}

/* Takes one a turn, says a byte, closes. */
static void
server_turn(void *ctx)
{
	struct server *s = ctx;
	int fd;

	listener_arm(&s->l, &s->loop);
	if ((fd = listener_next(&s->l, s->loop.now_ns)) >= 0) {
		(void)send(fd, "x", 1, MSG_NOSIGNAL);
		close(fd);
		s->taken++;
	}
	s->loop.quit = s->want != 0 && s->taken == s->want;
	atomic_fetch_add(s->up, 1);
}

static bool
server_pending(void *ctx)
{
	struct server *s = ctx;

	return listener_pending(&s->l, s->loop.now_ns);
}

static uint64_t
server_deadline(void *ctx)
{
	return listener_deadline(&((struct server *)ctx)->l);
}

static const struct loop_hooks hooks = {
	.turn = server_turn,
	.pending = server_pending,
	.deadline = server_deadline,
};

static int
server_open(struct server *s, _Atomic uint32_t *up, unsigned want)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->up = up;
	s->want = want;
	rc = loop_open(&s->loop, &f.r, &bells, SLOT_WAL, ENTRIES, s, &hooks);
	if (rc != 0)
		return rc;
	loop_on(&s->loop, KIND_POLL, server_polled);
	return listener_open(&s->l, listen_fd, loop_tag(KIND_POLL, 0, 0));
}

static int
server_main(void *arg)
{
	static struct server s;

	if (server_open(&s, arg, 0) != 0)
		return 1;
	return loop_run(&s.loop) == 0 ? 0 : 2;
}

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		abort();
	return fd;
}

/* Closes it. */
static bool
served(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;
	bool is = poll(&p, 1, WAIT_MS) == 1 && recv(fd, &byte, 1, 0) == 1;

	close(fd);
	return is;
}

static void
listen_open(void)
{
	socklen_t len = sizeof(addr);

	addr.sin_family = AF_INET;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listen_fd, (struct sockaddr *)&addr, len) != 0 ||
	    listen(listen_fd, MANY) != 0 ||
	    getsockname(listen_fd, (struct sockaddr *)&addr, &len) != 0)
		skip_all("no socket: %s", strerror(errno));
}

static void
test_many(_Atomic uint32_t *up)
{
	static struct server s;
	static int fd[MANY];
	unsigned i, n = 0;

	for (i = 0; i < MANY; i++)
		fd[i] = dial();
	is_i64(server_open(&s, up, MANY), 0, "open");
	is_i64(loop_run(&s.loop), 0, "run");
	for (i = 0; i < MANY; i++)
		n += served(fd[i]);
	is_u64(n, MANY, "all that waited are taken");
	listener_close(&s.l, &s.loop);
	ok(!listener_pending(&s.l, s.loop.now_ns) &&
		listener_deadline(&s.l) == LOOP_NEVER &&
		listener_next(&s.l, s.loop.now_ns) == -1,
	    "closed");
	loop_close(&s.loop);
}

/* Without descriptors nothing is lost: it is taken when one is free. */
static void
test_no_descriptor(_Atomic uint32_t *up)
{
	static struct server s;
	struct rlimit old, none;
	int fd = dial();

	is_i64(server_open(&s, up, 1), 0, "open");
	if (getrlimit(RLIMIT_NOFILE, &old) != 0)
		abort();
	none = old;
	none.rlim_cur = 0;
	s.l.ready = true;
	setrlimit(RLIMIT_NOFILE, &none);
	is_i64(listener_next(&s.l, s.loop.now_ns), -1, "no descriptor");
	setrlimit(RLIMIT_NOFILE, &old);
	ok(!listener_pending(&s.l, s.loop.now_ns) &&
		listener_deadline(&s.l) == s.loop.now_ns + LISTENER_RETRY_NS,
	    "is not tried again at once");
	is_i64(loop_run(&s.loop), 0, "run");
	ok(served(fd), "but soon");
	listener_close(&s.l, &s.loop);
	loop_close(&s.loop);
}

/* Spins: the kernel is not to have much time between kill and connection. */
static pid_t
server_start(_Atomic uint32_t *up)
{
	pid_t pid;

	atomic_store(up, 0);
	pid = child_start(server_main, up);
	while (atomic_load(up) == 0 && kill(pid, 0) == 0)
		sched_yield();
	return pid;
}

static void
test_killed(_Atomic uint32_t *up)
{
	unsigned i, n = 0, armed = 0;
	pid_t pid;

	for (i = 0; i < ROUNDS && n == i; i++) {
		pid = server_start(up);
		armed += served(dial());
		kill(pid, SIGKILL);
		child_end(pid);
		pid = server_start(up);
		n += served(dial());
		kill(pid, SIGKILL);
		child_end(pid);
	}
	is_u64(armed, i, "each process serves");
	is_u64(n, ROUNDS, "a killed process keeps no connection waiting");
}

int
main(void)
{
	_Atomic uint32_t *up = shared_zeros(sizeof(*up));
	unsigned i;

	fixture_open(&f);
	listen_open();
	bells.wakes = f.r.wakes;
	for (i = 0; i < SLOT_MAX; i++)
		bells.fd[i] = eventfd(0, EFD_CLOEXEC);
	test_many(up);
	test_no_descriptor(up);
	test_killed(up);
	close(listen_fd);
	fixture_close(&f);
	return tap_done();
}
