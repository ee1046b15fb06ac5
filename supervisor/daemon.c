/*
 * Detaching and the process id file.
 */
#include "supervisor/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/path.h"
#include "shm/pidfile.h"
#include "supervisor/datadir.h"
#include "supervisor/refuse.h"

#define PIDFILE_RETRY_MS 20
/* Who may read it may lock it, and keep us from starting. */
#define PIDFILE_MODE 0640

/* The starting command: wait for the daemon's word. */
__attribute__((noreturn)) static void
wait_ready(int fd)
{
	uint8_t code;
	ssize_t got;

	do
		got = read(fd, &code, 1);
	while (got < 0 && errno == EINTR);
	if (got != 1) {
		fprintf(stderr, "nodelifed: the daemon died while it started: "
				"see its log, and the system's\n");
		code = EX_OSERR;
	}
	if (code == DAEMON_BOOTING) {
		fprintf(stderr,
		    "nodelifed: the node runs and does not serve yet: "
		    "nodelifestat shows what it does or waits for\n");
		code = 0;
	}
	_exit(code);
}

int
daemon_detach(void)
{
	int pair[2];
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) != 0)
		return -errno;
	if ((pid = fork()) < 0)
		return -errno;
	if (pid > 0) {
		close(pair[1]);
		wait_ready(pair[0]);
	}
	close(pair[0]);
	if (setsid() < 0)
		return -errno;
	/* Not a session's leader, it can never get a terminal. */
	if ((pid = fork()) < 0)
		return -errno;
	if (pid > 0)
		_exit(0);
	if (chdir("/") != 0)
		return -errno;
	return pair[1];
}

void
daemon_leave_stdio(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	for (int i = 0; i <= STDERR_FILENO; i++)
		(void)dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

void
daemon_ready(int *ready_fd, int code)
{
	uint8_t byte = (uint8_t)code;

	if (*ready_fd < 0)
		return;
	if (code == 0 || code == DAEMON_BOOTING)
		daemon_leave_stdio();
	(void)!write(*ready_fd, &byte, 1);
	close(*ready_fd);
	*ready_fd = -1;
}

/* Has the directory this very file under its name? */
static bool
is_named(int dir, int fd)
{
	return path_leads_to(dir, PIDFILE_NAME, false, fd) == 0;
}

/* 0, -EWOULDBLOCK and who has it, or -errno. */
static int
pidfile_try(struct pidfile *p, const struct rights *rights, int *other)
{
	char text[16] = "";
	int rc;

	p->fd = openat(p->dir, PIDFILE_NAME,
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
	    PIDFILE_MODE);
	if (p->fd < 0)
		return -errno;
	rc = pidfile_lock(p->fd);
	if (rc == 0 && !is_named(p->dir, p->fd))
		rc = -EWOULDBLOCK; /* who had it has removed it */
	if (rc == 0 && (rc = path_file_check(p->fd)) == 0 &&
	    (ftruncate(p->fd, 0) != 0 || fchmod(p->fd, PIDFILE_MODE) != 0 ||
		(rights->drop && fchown(p->fd, 0, rights->gid) != 0)))
		rc = -errno;
	if (rc == 0)
		return 0;
	if (rc == -EWOULDBLOCK && pread(p->fd, text, sizeof(text) - 1, 0) > 0)
		*other = (int)strtol(text, NULL, 10);
	close(p->fd);
	p->fd = -1;
	return rc;
}

/* Of a node that another user starts, the file alone is not what lacks. */
static int
refuse_pidfile(const struct conf *conf, const struct rights *rights, int error)
{
	const char *run = conf->node.run_dir, *data = conf->node.data_dir;
	char path[PATH_MAX], whose[64];

	snprintf(path, sizeof(path), "%s/" PIDFILE_NAME, run);
	if (error != -EACCES || rights->drop || rights->uid == 0)
		return refuse_at(path, "open", error, PLACE_RUN);
	return refuse(refuse_code(error),
	    "%s: open: %s: nothing is changed: start the node as root, as "
	    "before, or, when none runs there, give run_dir and data_dir to "
	    "its new user: chown -R %s %s %s",
	    path, strerror(-error), rights_owner(rights, whose), run, data);
}

int
daemon_pidfile(
    const struct conf *conf, const struct rights *rights, struct pidfile *p)
{
	uint64_t end = mono_ns() + DATADIR_WAIT_MS * NS_PER_MS;
	const char *dir = conf->node.run_dir;
	int other = 0, rc;

	/* Open to all, whatever our umask: what is in it has modes. */
	if ((p->dir = path_dir_make(dir, 0755)) < 0)
		return refuse_at(dir, "open [node] run_dir", p->dir, PLACE_RUN);
	while ((rc = pidfile_try(p, rights, &other)) == -EWOULDBLOCK &&
	       mono_ns() < end)
		(void)poll(NULL, 0, PIDFILE_RETRY_MS);
	if (rc == 0)
		return 0;
	if (rc != -EWOULDBLOCK)
		return refuse_pidfile(conf, rights, rc);
	/* Locked, and nothing in it yet. */
	if (other <= 0)
		return refuse(EX_UNAVAILABLE,
		    "run_dir %s: a node is starting there already", dir);
	return refuse(EX_UNAVAILABLE,
	    "run_dir %s: a node runs there already, pid %d", dir, other);
}

int
daemon_pidfile_write(const struct pidfile *p)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", (int)getpid());

	return pwrite(p->fd, text, (size_t)len, 0) == len ? 0 : -errno;
}

void
daemon_pidfile_remove(struct pidfile *p)
{
	if (p->fd >= 0) {
		if (is_named(p->dir, p->fd))
			unlinkat(p->dir, PIDFILE_NAME, 0);
		close(p->fd);
	}
	if (p->dir >= 0)
		close(p->dir);
	p->dir = p->fd = -1;
}

int
daemon_pidfile_again(
    const struct conf *conf, const struct rights *rights, struct pidfile *p)
{
	const char *dir = conf->node.run_dir;
	struct pidfile fresh = { -1, -1 };
	int other, rc;

	if (path_leads_to(AT_FDCWD, dir, true, p->dir) == 0 &&
	    is_named(p->dir, p->fd))
		return 0;
	if ((fresh.dir = path_dir_make(dir, 0755)) < 0)
		return fresh.dir;
	if ((rc = pidfile_try(&fresh, rights, &other)) == 0)
		rc = daemon_pidfile_write(&fresh);
	if (rc != 0) {
		daemon_pidfile_remove(&fresh);
		return rc;
	}
	/* The old one's lock is kept until the new one's is. */
	close(p->fd);
	close(p->dir);
	*p = fresh;
	return 1;
}
