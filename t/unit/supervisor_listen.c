/*
 * Listening sockets: a port that somebody has bound, listening or not, is
 * refused at once; connections in TIME_WAIT are no reason to; what was
 * refused for a while listens again; dead unix sockets are replaced, live
 * ones are not.
 */
#include "supervisor/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

	conf_of(&a, "a", "127.0.0.1:0");
	is_i64(listen_open(&la, &a, &nobody), 0, "a port of the system's");
	ok(strncmp(la.client_addr, "127.0.0.1:", 10) == 0 &&
		strcmp(la.client_addr, "127.0.0.1:0") != 0,
	    "is named: %s", la.client_addr);
	ok(!can_dial(la.fd[0]), "bound, not listening");
	ok(can_dial(la.http_fd) && can_dial(la.control_fd),
	    "http and control listen");
	conf_of(&b, "b", la.client_addr);
	is_i64(listen_open(&lb, &b, &nobody), EX_UNAVAILABLE,
	    "bound by another that does not listen yet: refused");
	ok(lb.fd[0] == -1 && lb.http_fd == -1 && lb.control_fd == -1,
	    "and nothing is left open");
	ok(gateway_listens(la.fd[0]), "now it listens");
	is_i64(listen_open(&lb, &b, &nobody), EX_UNAVAILABLE, "refused too");
	listen_close(&la, &a);
	is_i64(listen_open(&lb, &b, &nobody), 0, "free again");
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
	ok(listen_open(&l, &a, &nobody) == 0 && gateway_listens(l.fd[0]),
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
	is_i64(listen_open(&l, &a, &nobody), 0, "its port can be had at once");
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
	ok(listen_open(&l, &a, &nobody) == 0 && gateway_listens(l.fd[0]) &&
		gateway_listens(l.fd[1]),
	    "a node serves by TCP and a unix socket");
	waiting = dial(l.fd[0]);
	listen_refuse(&l, false);
	ok(waiting >= 0 && read(waiting, &byte, 1) <= 0,
	    "who waits to be accepted is let go");
	close(waiting);
	ok(!can_dial(l.fd[0]), "nobody gets in");
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
	ok(listen_open(&la, &a, &nobody) == 0 && listen(la.fd[1], 1) == 0,
	    "a unix socket");
	ok(stat(a.listen.client_unix, &st) == 0 && (st.st_mode & 0777) == 0660,
	    "of mode 0660");
	is_i64(listen_open(&lb, &b, &nobody), EX_UNAVAILABLE,
	    "a live one is refused");
	close(la.fd[1]); /* dead, its name stays */
	la.fd[1] = -1;
	is_i64(listen_open(&lb, &b, &nobody), 0, "a dead one is replaced");
	listen_close(&lb, &b);
	listen_close(&la, &a);
	close(open(a.listen.client_unix, O_CREAT | O_WRONLY, 0600));
	is_i64(listen_open(&lb, &b, &nobody), EX_UNAVAILABLE,
	    "what is no socket is not touched");
	ok(unlink(a.listen.client_unix) == 0, "it is still there");
}

static void
test_bad(void)
{
	struct conf a;
	struct listeners l;

	conf_of(&a, "a", "192.0.2.1:0");
	is_i64(listen_open(&l, &a, &nobody), EX_CONFIG,
	    "an address of another host");
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
	test_unix();
	test_bad();
	for (const char *sub = "ab"; *sub != '\0'; sub++) {
		snprintf(path, sizeof(path), "%s/%c", dir, *sub);
		rmdir(path);
	}
	ok(rmdir(dir) == 0, "nothing is left");
	return tap_done();
}
