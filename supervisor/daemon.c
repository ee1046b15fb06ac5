/*
 * Detaching and the process id file.
 */
#include "supervisor/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <libutil.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/bits.h"
#include "supervisor/datadir.h"
#include "supervisor/refuse.h"

#define PIDFILE_RETRY_MS 20
#define PIDFILE_MODE     0644

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
	if (code == 0)
		daemon_leave_stdio();
	(void)!write(*ready_fd, &byte, 1);
	close(*ready_fd);
	*ready_fd = -1;
}

/*
 * Open to all, whatever our umask: what is in it has modes. At once, since a
 * later start would leave the mode as it is.
 */
static int
make_run_dir(const char *dir)
{
	mode_t mask = umask(022);
	int rc = mkdir(dir, 0755) == 0 ? 0 : -errno;

	umask(mask);
	return rc;
}

int
daemon_pidfile(const struct conf *conf, struct pidfh **out)
{
	uint64_t end = mono_ns() + DATADIR_WAIT_MS * NS_PER_MS;
	const char *dir = conf->node.run_dir;
	char path[CONF_RUN_DIR_SIZE + 16];
	pid_t other = -1;
	int rc;

	if ((rc = make_run_dir(dir)) != 0 && rc != -EEXIST)
		return refuse(refuse_code(rc), "[node] run_dir: %s: %s", dir,
		    strerror(-rc));
	snprintf(path, sizeof(path), "%s/nodelifed.pid", dir);
	while ((*out = pidfile_open(path, PIDFILE_MODE, &other)) == NULL &&
	       errno == EEXIST && mono_ns() < end)
		(void)poll(NULL, 0, PIDFILE_RETRY_MS);
	if (*out != NULL) {
		(void)chmod(path, PIDFILE_MODE);
		return 0;
	}
	if (errno != EEXIST)
		return refuse(
		    refuse_code(errno), "%s: %s", path, strerror(errno));
	/* Locked, and nothing in it yet. */
	if (other <= 0)
		return refuse(EX_UNAVAILABLE,
		    "run_dir %s: a node is starting there already", dir);
	return refuse(EX_UNAVAILABLE,
	    "run_dir %s: a node runs there already, pid %d", dir, (int)other);
}
