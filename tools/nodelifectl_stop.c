/*
 * Stop: ask, then wait for the supervisor's end. A node that cannot hear the
 * request (it is still booting its health worker, or that one is gone) gets
 * the signal that means the same.
 */
#include "tools/nodelifectl.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/region.h"

/* An answer takes no longer; what is left of the time is for the stop. */
#define ASK_NS (2 * NS_PER_S)

static int
region_of(const struct ctl *c, struct region *r)
{
	char path[CONF_RUN_DIR_SIZE + 16], why[256];
	int rc;

	snprintf(path, sizeof(path), "%s/region", c->run_dir);
	rc = region_attach(r, path, why, sizeof(why));
	if (rc == 0)
		return CTL_OK;
	if (rc == -EACCES || rc == -EPERM) {
		ctl_say(
		    "%s: permission denied: be root or the node's user", path);
		return CTL_DENIED;
	}
	if (rc == -ENOENT)
		ctl_say("no node runs with run directory %s", c->run_dir);
	else
		ctl_say("%s: %s", path, why);
	return CTL_NOT_RUNNING;
}

static int
gone(const struct ctl *c)
{
	ctl_say("no node runs with run directory %s", c->run_dir);
	return CTL_NOT_RUNNING;
}

/* Wait for the process behind the descriptor. */
static int
wait_gone(const struct ctl *c, const struct region *r, int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, ctl_left_ms(c));
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return CTL_OK;
	ctl_say("the node is still there after %u s, at step %s (supervisor "
		"pid %d): wait longer (-t), or see nodelifestat for who holds "
		"it up",
	    c->timeout_s,
	    shutdown_name(
		atomic_load_explicit(&r->seq->shutdown, memory_order_acquire)),
	    r->head->supervisor_pid);
	return CTL_TIMEOUT;
}

static int
ask_or_signal(const struct ctl *c, int pidfd)
{
	struct ctl ask = *c;
	uint64_t latest = mono_ns() + ASK_NS;
	int rc;

	ask.quiet = true;
	if (ask.deadline_ns > latest)
		ask.deadline_ns = latest;
	rc = ctl_talk(&ask, "stop");
	if (rc != CTL_NOT_RUNNING && rc != CTL_TIMEOUT)
		return rc;
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) == 0) {
		ctl_say("the control socket does not answer: sent SIGTERM "
			"instead");
		return CTL_OK;
	}
	if (errno == ESRCH)
		return CTL_OK;
	ctl_say("the control socket does not answer, and no signal may be "
		"sent: %s: be root or the node's user",
	    strerror(errno));
	return CTL_DENIED;
}

/*
 * The region's file is the node's user's, who may name any process in it. Its
 * supervisor has it open, and no other process of root's does. Who is not root
 * can signal nobody else's anyway.
 */
static bool
has_open(int pid, int region_fd)
{
	struct stat file, st;
	char path[40];
	struct dirent *e;
	bool found = false;
	DIR *dir;

	if (geteuid() != 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (fstat(region_fd, &file) != 0 || (dir = opendir(path)) == NULL)
		return false;
	while (!found && (e = readdir(dir)) != NULL)
		found = fstatat(dirfd(dir), e->d_name, &st, 0) == 0 &&
			st.st_dev == file.st_dev && st.st_ino == file.st_ino;
	closedir(dir);
	return found;
}

int
ctl_stop(const struct ctl *c)
{
	struct region r;
	int pidfd, pid, rc;

	if ((rc = region_of(c, &r)) != CTL_OK)
		return rc;
	/* The descriptor first: then the check says whose it is. */
	pid = r.head->supervisor_pid;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 || !region_alive(&r) || !has_open(pid, r.fd)) {
		rc = gone(c);
		goto out;
	}
	rc = ask_or_signal(c, pidfd);
	if (rc == CTL_OK)
		rc = wait_gone(c, &r, pidfd);
out:
	if (pidfd >= 0)
		close(pidfd);
	region_unmap(&r);
	return rc;
}
