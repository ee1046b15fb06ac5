/*
 * Listening sockets: a port that somebody has bound, listening or not, is
 * refused at once; connections in TIME_WAIT are no reason to; what was
 * refused for a while listens again, and nobody has taken its port; dead unix
 * sockets are replaced, live ones, listening or not, are not, and who has them
 * is named. What a killed process left, or holds for a moment after its end,
 * does not stop a start.
 */
#include "supervisor/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/holders.h"
#include "t/lib/kill_steps.h"
#include "t/tap.h"

static char dir[] = "/tmp/supervisor_listen.XXXXXX";
static const struct rights nobody;

static void
conf_of(struct conf *c, const char *run_dir, const char *client)
{
	conf_defaults(c);
	snprintf(
	    c->node.run_dir, sizeof(c->node.run_dir), "%s/%s", dir, run_dir);
	mkdir(c->node.run_dir, 0700);
	snprintf(c->listen.client, sizeof(c->listen.client), "%s", client);
	snprintf(c->listen.http, sizeof(c->listen.http), "127.0.0.1:0");
}

/* Connect to a bound address: a socket, or -1. */
static int
dial(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int s;

	getsockname(fd, (struct sockaddr *)&ss, &len);
	s = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(s, (struct sockaddr *)&ss, len) == 0)
		return s;
	close(s);
	return -1;
}

static bool
can_dial(int fd)
{
	int s = dial(fd);

	if (s >= 0)
		close(s);
	return s >= 0;
}

/* Another program, of the kind that does what it can to have the port. */
static int
rob(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int s, one = 1;

	getsockname(fd, (struct sockaddr *)&ss, &len);
	s = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(s, (struct sockaddr *)&ss, len) == 0 && listen(s, 1) == 0)
		return s;
	close(s);
	return -1;
}

/* What a gateway does at transport_bind. */
static bool
gateway_listens(int fd)
{
	int one = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ==
		   0 &&
	       listen(fd, 16) == 0;
}

static void
test_in_use(void)
{
	struct conf a, b;
	struct listeners la, lb;
	int robber, one = 1;

	conf_of(&a, "a", "127.0.0.1:0");
	is_i64(listen_open(&la, &a, &nobody, 0), 0, "a port of the system's");
	ok(strncmp(la.client_addr, "127.0.0.1:", 10) == 0 &&
		strcmp(la.client_addr, "127.0.0.1:0") != 0,
	    "is named: %s", la.client_addr);
	ok(!can_dial(la.fd[0]), "bound, not listening");
	ok(!can_dial(la.http_fd) && !can_dial(la.control_fd),
	    "nor do http and control");
	ok(listen_pages(&la) == 0 && can_dial(la.http_fd) &&
		can_dial(la.control_fd),
	    "with health they do");
	listen_pages_refuse(&la);
	ok(!can_dial(la.http_fd), "without it http refuses");
	is_i64(rob(la.http_fd), -1, "and keeps its port");
	ok(listen_pages(&la) == 0 && can_dial(la.http_fd),
	    "until there is another");
	listen_pages_refuse(&la);
	setsockopt(la.http_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	robber = rob(la.http_fd);
	is_i64(
	    listen_pages(&la), -EADDRINUSE, "taken in the moment that it may");
	close(robber);
	is_i64(rob(la.http_fd), -1, "it is ours again when that one is gone");
	ok(listen_pages(&la) == 0 && can_dial(la.http_fd), "and listens");
	conf_of(&b, "b", la.client_addr);
	is_i64(listen_open(&lb, &b, &nobody, 0), EX_UNAVAILABLE,
	    "bound by another that does not listen yet: refused");
	ok(lb.fd[0] == -1 && lb.http_fd == -1 && lb.control_fd == -1,
	    "and nothing is left open");
	ok(gateway_listens(la.fd[0]), "now it listens");
	is_i64(listen_open(&lb, &b, &nobody, 0), EX_UNAVAILABLE, "refused too");
	listen_close(&la, &a);
	is_i64(listen_open(&lb, &b, &nobody, 0), 0, "free again");
	listen_close(&lb, &b);
}

static void
test_time_wait(void)
{
	struct conf a;
	struct listeners l;
	char addr[64], byte;
	int client, server;

	conf_of(&a, "a", "127.0.0.1:0");
	ok(listen_open(&l, &a, &nobody, 0) == 0 && gateway_listens(l.fd[0]),
	    "a node serves");
	snprintf(addr, sizeof(addr), "%s", l.client_addr);
	client = dial(l.fd[0]);
	server = accept4(l.fd[0], NULL, NULL, SOCK_CLOEXEC);
	/* Who closes first is left in TIME_WAIT: the node, at its stop. */
	close(server);
	ok(read(client, &byte, 1) == 0, "and closes its client");
	close(client);
	listen_close(&l, &a);
	conf_of(&a, "a", addr);
	is_i64(
	    listen_open(&l, &a, &nobody, 0), 0, "its port can be had at once");
	is_i64(rob(l.fd[0]), -1, "by one only");
	listen_close(&l, &a);
}

static void
test_hold(void)
{
	struct conf a;
	struct listeners l;
	int waiting;
	char byte;

	conf_of(&a, "a", "127.0.0.1:0");
	snprintf(a.listen.client_unix, sizeof(a.listen.client_unix),
	    "%s/client.sock", dir);
	ok(listen_open(&l, &a, &nobody, 0) == 0 && gateway_listens(l.fd[0]) &&
		gateway_listens(l.fd[1]),
	    "a node serves by TCP and a unix socket");
	waiting = dial(l.fd[0]);
	listen_refuse(&l, false);
	ok(waiting >= 0 && read(waiting, &byte, 1) <= 0,
	    "who waits to be accepted is let go");
	close(waiting);
	ok(!can_dial(l.fd[0]), "nobody gets in");
	is_i64(rob(l.fd[0]), -1, "nor takes the port");
	ok(can_dial(l.fd[1]), "but locally");
	ok(gateway_listens(l.fd[0]) && can_dial(l.fd[0]), "it listens again");
	listen_refuse(&l, true);
	ok(!can_dial(l.fd[0]) && !can_dial(l.fd[1]), "refused for good");
	listen_close(&l, &a);
	ok(access(a.listen.client_unix, F_OK) != 0, "the unix name is gone");
}

static void
test_unix(void)
{
	struct conf a, b;
	struct listeners la, lb;
	struct stat st;

	conf_of(&a, "a", "127.0.0.1:0");
	conf_of(&b, "b", "127.0.0.1:0");
	snprintf(a.listen.client_unix, sizeof(a.listen.client_unix),
	    "%s/client.sock", dir);
	memcpy(b.listen.client_unix, a.listen.client_unix,
	    sizeof(b.listen.client_unix));
	is_i64(listen_open(&la, &a, &nobody, 0), 0, "a unix socket");
	is_i64(listen_open(&lb, &b, &nobody, 0), EX_UNAVAILABLE,
	    "one that does not listen yet is refused");
	ok(listen(la.fd[1], 1) == 0 && can_dial(la.fd[1]),
	    "and can be reached when it does");
	ok(stat(a.listen.client_unix, &st) == 0 && (st.st_mode & 0777) == 0660,
	    "of mode 0660");
	is_i64(listen_open(&lb, &b, &nobody, 0), EX_UNAVAILABLE,
	    "a live one is refused");
	close(la.fd[1]); /* dead, its name stays */
	la.fd[1] = -1;
	is_i64(listen_open(&lb, &b, &nobody, 0), 0, "a dead one is replaced");
	listen_close(&lb, &b);
	listen_close(&la, &a);
	close(open(a.listen.client_unix, O_CREAT | O_WRONLY, 0600));
	is_i64(listen_open(&lb, &b, &nobody, 0), EX_UNAVAILABLE,
	    "what is no socket is not touched");
	ok(unlink(a.listen.client_unix) == 0, "it is still there");
}

/* In another process: a socket bound to the path, until it is killed. */
static pid_t
unix_holder(const char *path)
{
	int told[2];
	char byte = 0;
	pid_t pid;

	if (pipe(told) != 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0) {
		byte = listen_unix(path, &nobody, 0) >= 0;
		(void)!write(told[1], &byte, 1);
		for (;;)
			pause();
	}
	close(told[1]);
	(void)!read(told[0], &byte, 1);
	close(told[0]);
	return byte == 1 ? pid : -1;
}

static void
test_unix_holder(void)
{
	char path[64], lock[80], who[256], want[32];
	int fd, at_it;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/client.sock", dir);
	pid = unix_holder(path);
	if (!ok(pid > 0, "another process has it bound"))
		return;
	is_i64(listen_unix(path, &nobody, 0), -EADDRINUSE, "it is refused");
	holders_of_socket(path, who, sizeof(who));
	snprintf(want, sizeof(want), "pid %d (", (int)pid);
	ok(strncmp(who, want, strlen(want)) == 0, "and is named: %s", who);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(lock, sizeof(lock), "%s/.client.sock.lock", dir);
	at_it = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	flock(at_it, LOCK_EX);
	is_i64(listen_unix(path, &nobody, 0), -EWOULDBLOCK,
	    "dead, but somebody else is at it");
	close(at_it);
	at_it = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	flock(at_it, LOCK_EX);
	fd = listen_unix(path, &nobody, 0);
	ok(fd >= 0, "free, whoever locks the directory");
	ok(access(lock, F_OK) != 0, "and no lock is left");
	close(at_it);
	close(fd);
	unlink(path);
}

#define RIVALS 4

/* Try it when told, say how it went, keep what was had. */
__attribute__((noreturn)) static void
rival(const char *path, int go, int told)
{
	char byte;

	(void)!read(go, &byte, 1); /* the end of the file */
	byte = listen_unix(path, &nobody, 0) >= 0;
	(void)!write(told, &byte, 1);
	for (;;)
		pause();
}

/* How many of those that begin at once get a dead one's name. */
static unsigned
rivals(const char *path)
{
	int go[2], told[2];
	pid_t pid[RIVALS];
	unsigned got = 0;
	char byte;

	close(listen_unix(path, &nobody, 0)); /* dead, its name stays */
	if (pipe(go) != 0 || pipe(told) != 0)
		return 0;
	for (unsigned i = 0; i < RIVALS; i++)
		if ((pid[i] = fork()) == 0) {
			close(go[1]);
			rival(path, go[0], told[1]);
		}
	close(go[0]);
	close(go[1]);
	for (unsigned i = 0; i < RIVALS; i++)
		got += read(told[0], &byte, 1) == 1 && byte == 1;
	for (unsigned i = 0; i < RIVALS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	close(told[0]);
	close(told[1]);
	return got;
}

static void
test_unix_rivals(void)
{
	char path[64];
	unsigned bad = 0;

	snprintf(path, sizeof(path), "%s/client.sock", dir);
	for (unsigned round = 0; round < 100; round++)
		bad += rivals(path) != 1;
	is_u64(bad, 0, "of those that begin at once one gets it");
	unlink(path);
}

static struct conf killed_conf;

static void
open_them(void)
{
	struct listeners l;

	(void)listen_open(&l, &killed_conf, &nobody, 0);
}

/* Killed anywhere while it opens its sockets, it does not stop the next. */
static void
test_killed(void)
{
	struct conf *c = &killed_conf;
	unsigned n, bad = 0;
	struct listeners l;
	int rc;

	conf_of(c, "a", "127.0.0.1:0");
	snprintf(c->listen.client_unix, sizeof(c->listen.client_unix),
	    "%s/client.sock", dir);
	for (n = 0; (rc = killed_at(n, open_them)) == 1; n++) {
		if (listen_open(&l, c, &nobody, 0) == 0)
			listen_close(&l, c);
		else
			bad++;
	}
	if (rc == -EPERM) {
		ok(true, "kills # SKIP ptrace is not allowed here");
		return;
	}
	ok(bad == 0, "killed at any of %u stops it stops nobody", n);
	if (listen_open(&l, c, &nobody, 0) == 0)
		listen_close(&l, c);
}

/* A gateway as the kernel sees it: an accept that waits in its ring. */
__attribute__((noreturn)) static void
accept_in_ring(int fd, int told)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	char byte = io_uring_queue_init_params(4, &ring, &p) == 0;

	if (byte == 1) {
		io_uring_prep_multishot_accept(
		    io_uring_get_sqe(&ring), fd, NULL, NULL, 0);
		io_uring_submit(&ring);
	}
	(void)!write(told, &byte, 1);
	if (byte == 1)
		io_uring_wait_cqe(&ring, &cqe);
	for (;;)
		pause();
}

/* Its ring goes a while after it was reaped: a start waits for that. */
static void
test_ring(void)
{
	struct listeners l;
	struct conf a;
	char addr[64], byte = 0;
	int told[2];
	pid_t pid;

	conf_of(&a, "a", "127.0.0.1:0");
	if (pipe(told) != 0 || listen_open(&l, &a, &nobody, 0) != 0 ||
	    !gateway_listens(l.fd[0]))
		return;
	if ((pid = fork()) == 0)
		accept_in_ring(l.fd[0], told[1]);
	close(told[1]);
	(void)!read(told[0], &byte, 1);
	close(told[0]);
	snprintf(addr, sizeof(addr), "%s", l.client_addr);
	listen_close(&l, &a);
	conf_of(&a, "a", addr);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (byte == 0) {
		ok(true, "a ring # SKIP no io_uring here");
		return;
	}
	is_i64(listen_open(&l, &a, &nobody, LISTEN_WAIT_MS), 0,
	    "the port of a node that was killed can be had");
	listen_close(&l, &a);
}

static void
test_bad(void)
{
	struct conf a;
	struct listeners l;

	conf_of(&a, "a", "192.0.2.1:0");
	is_i64(listen_open(&l, &a, &nobody, 0), EX_NOHOST,
	    "an address of another host: a status of its own");
	is_i64(listen_check(&a), 0, "it can be looked up");
	strcpy(a.listen.client, "no-such-host.invalid:0");
	is_i64(listen_open(&l, &a, &nobody, 0), EX_NOHOST,
	    "a name that nobody knows: the same");
	is_i64(listen_check(&a), EX_NOHOST, "which a check finds, too");
}

int
main(void)
{
	char path[64];

	if (!ok(mkdtemp(dir) != NULL, "made %s", dir))
		return tap_done();
	test_in_use();
	test_time_wait();
	test_hold();
	test_ring();
	test_unix();
	test_unix_holder();
	test_unix_rivals();
	test_killed();
	test_bad();
	for (const char *sub = "ab"; *sub != '\0'; sub++) {
		snprintf(path, sizeof(path), "%s/%c", dir, *sub);
		rmdir(path);
	}
	ok(rmdir(dir) == 0, "nothing is left");
	return tap_done();
}
