/*
 * A health worker of a test's own, as the supervisor forks it, over a region,
 * sockets and bells that the test holds.
 */
#ifndef T_HEALTH_RIG_H
#define T_HEALTH_RIG_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "t/shm_fixture.h"
#include "workers/worker.h"

static struct fixture f;
static struct conf conf;
static struct worker w;
static struct sockaddr_in http_addr;
static struct sockaddr_un control_addr = { .sun_family = AF_UNIX };
static char reply[1 << 18];
static bool heard_end; /* of the connection */

static void
sockets_open(void)
{
	socklen_t len = sizeof(http_addr);

	http_addr.sin_family = AF_INET;
	http_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	w.http_fd = socket(AF_INET, SOCK_STREAM, 0);
	w.control_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(control_addr.sun_path, sizeof(control_addr.sun_path),
	    "%s/control.sock", f.dir);
	if (bind(w.http_fd, (struct sockaddr *)&http_addr, sizeof(http_addr)) !=
		0 ||
	    listen(w.http_fd, SOMAXCONN) != 0 ||
	    getsockname(w.http_fd, (struct sockaddr *)&http_addr, &len) != 0 ||
	    bind(w.control_fd, (struct sockaddr *)&control_addr,
		sizeof(control_addr)) != 0 ||
	    listen(w.control_fd, 64) != 0)
		skip_all("no sockets: %s", strerror(errno));
}

static int
health_child(void *arg)
{
	(void)arg;
	return health_main(&w);
}

static pid_t
health_start(void)
{
	struct slot_row *row = &f.r.slots->row[SLOT_HEALTH];
	pid_t pid;

	atomic_store(&row->state, SLOT_STARTING);
	w.incarnation++;
	pid = child_start(health_child, NULL);
	ok(wait_until(atomic_load(&row->state) == SLOT_RUNNING, TAP_WAIT_MS),
	    "the worker runs");
	return pid;
}

/* From 127.0.0.host, as one of many machines. */
static int
dial_from(unsigned host)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000000 + host) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
	    connect(fd, (struct sockaddr *)&http_addr, sizeof(http_addr)) != 0)
		abort();
	return fd;
}

static int
dial(void)
{
	return dial_from(1);
}

static int
dial_control(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&control_addr,
		sizeof(control_addr)) != 0)
		abort();
	return fd;
}

/* Read until the end or `until`; the bytes are in reply. */
static size_t
hear(int fd, const char *until)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;
	ssize_t n;

	heard_end = false;
	for (;;) {
		reply[have] = '\0';
		if (until != NULL && strstr(reply, until) != NULL)
			return have;
		if (poll(&p, 1, TAP_WAIT_MS) != 1)
			return have;
		n = recv(fd, reply + have, sizeof(reply) - 1 - have, 0);
		heard_end = n <= 0;
		if (heard_end)
			return have;
		have += (size_t)n;
	}
}

static void
say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		diag("send: %s", strerror(errno));
}

/* One request on a connection of its own; the status code. */
static int
http(const char *method, const char *path)
{
	char req[256];
	int fd = dial(), code = 0;

	snprintf(req, sizeof(req),
	    "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method,
	    path);
	say(fd, req);
	hear(fd, NULL);
	close(fd);
	sscanf(reply, "HTTP/1.1 %d", &code);
	return code;
}

/* One line to the control socket; its whole answer. */
static const char *
control(const char *line)
{
	int fd = dial_control();

	say(fd, line);
	hear(fd, NULL);
	close(fd);
	return reply;
}

static void
health_rig_open(int argc, char **argv)
{
	static const char ini[] =
	    "[node]\nname = unit\ngroup = g\n"
	    "data_dir = /nowhere\nrun_dir = /nowhere/run\n";
	struct conf_errors errs = { 0 };
	unsigned i;

	if (conf_load_string(&conf, "test", ini, sizeof(ini) - 1, &errs) != 0) {
		conf_errors_print(&errs, stdout);
		exit(1);
	}
	setproctitle_init(argc, argv, environ);
	fixture_open(&f);
	w = (struct worker){ .slot = SLOT_HEALTH,
		.region = &f.r,
		.conf = &conf,
		.supervisor_pid = getpid(),
		.lock_fd = -1,
		.data_dir = -1 };
	for (i = 0; i < LISTEN_MAX; i++)
		w.listen_fd[i] = -1;
	worker_alone(&w);
	w.bells.wakes = f.r.wakes;
	for (i = 0; i < SLOT_MAX; i++)
		w.bells.fd[i] = -1;
	w.bells.fd[SLOT_HEALTH] = eventfd(0, EFD_CLOEXEC);
	w.bells.fd[SLOT_SUPERVISOR] = eventfd(0, EFD_CLOEXEC);
	sockets_open();
	seq_register(f.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "log scanned");
	seq_register(
	    f.r.seq, PHASE_HEALTH_LOOP_START, SLOT_HEALTH, "health pages");
	seq_register(f.r.seq, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "clients");
	seq_seal(f.r.seq);
}

static void
health_rig_close(void)
{
	unlink(control_addr.sun_path);
	fixture_close(&f);
}

#endif
