/*
 * One request to the control socket, and its answer.
 */
#include "tools/nodelifectl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/region.h"
#include "shm/trouble.h"

#define REPLY_MAX (1u << 20)
#define LOOK_MS   1000 /* how often a wait looks at what keeps it */

/* Why nobody answers, and what to do. An exit code. */
static int
not_answering(const struct ctl *c, int error)
{
	struct ctl_life l;
	int rc;

	if (c->quiet && error != EACCES && error != EPERM)
		return CTL_NOT_RUNNING;
	if (error == EACCES || error == EPERM) {
		ctl_say("%s/control.sock: permission denied: be root or the "
			"node's user",
		    c->run_dir);
		return CTL_DENIED;
	}
	if ((rc = ctl_life(c, &l)) == CTL_OK) {
		ctl_say("%s/control.sock: %s, though the node runs "
			"(supervisor pid %d): it is starting or stopping, or "
			"see nodelifestat",
		    c->run_dir, strerror(error), l.pid);
		rc = CTL_FAILED;
	} else {
		ctl_say_life(c, &l, rc);
	}
	ctl_life_end(&l);
	return rc;
}

int
ctl_dial(const struct ctl *c, int left_ms)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd, rc;
	/* A time-out of 0 would be none. */
	struct timeval tv = { .tv_sec = left_ms / 1000,
		.tv_usec = left_ms % 1000 * 1000 + 1 };

	if ((size_t)snprintf(un.sun_path, sizeof(un.sun_path),
		"%s/control.sock", c->run_dir) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Both wait while the backlog, or the buffer, is full. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0 &&
	    connect(fd, (const struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return rc;
}

static int
ask(int fd, const char *line)
{
	char buf[256];
	int n = snprintf(buf, sizeof(buf), "%s\n", line);

	if (n < 0 || (size_t)n >= sizeof(buf))
		return -EMSGSIZE;
	if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) == n)
		return 0;
	/* Who is turned away gets the answer before the question. */
	return errno == EPIPE ? 0 : -errno;
}

/* What stands in the node's way while we wait; each is said once. */
static void
say_troubles(const struct ctl *c, const char *line)
{
	static struct trouble_info t[TROUBLE_COUNT];
	static bool said[TROUBLE_COUNT];
	struct ctl_life l;

	if (ctl_life(c, &l) == CTL_OK && l.has_region) {
		unsigned n = trouble_list(&l.region, t);

		for (unsigned i = 0; i < n; i++) {
			/* It is what `found` is for. */
			if (said[t[i].kind] || t[i].kind == TROUBLE_UNJOINED)
				continue;
			said[t[i].kind] = true;
			ctl_say(
			    "%s: waits: %s", line, ctl_printable(t[i].text));
		}
	}
	ctl_life_end(&l);
}

/* Everything until the node closes; how much, or -errno. */
static ssize_t
hear(const struct ctl *c, int fd, const char *line, char *reply, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t have = 0;
	ssize_t n;

	while (have < size - 1) {
		int left_ms = ctl_left_ms(c);

		n = poll(&p, 1, left_ms < LOOK_MS ? left_ms : LOOK_MS);
		if (n == 0 && !c->quiet)
			say_troubles(c, line);
		if (n == 0 && left_ms > LOOK_MS)
			continue;
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0)
			n = recv(fd, reply + have, size - 1 - have, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	reply[have] = '\0';
	return (ssize_t)have;
}

/* The first line says how it went; the rest is for the reader. */
static int
report(char *reply)
{
	char *rest = strchr(reply, '\n');

	if (rest == NULL) {
		ctl_say("the node closed the connection without an answer: "
			"try again");
		return CTL_FAILED;
	}
	*rest++ = '\0';
	if (strcmp(reply, "ok") == 0) {
		fputs(rest, stdout);
		return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
	}
	if (strncmp(reply, "denied ", 7) == 0) {
		ctl_say("%s", reply + 7);
		return CTL_DENIED;
	}
	ctl_say("%s", strncmp(reply, "error ", 6) == 0 ? reply + 6 : reply);
	fputs(rest, stderr);
	return CTL_FAILED;
}

/* As ctl_dial(); while nobody takes the connection that is said. */
static int
dial_patiently(const struct ctl *c, const char *line)
{
	bool said = c->quiet;

	for (;;) {
		int left_ms = ctl_left_ms(c);
		int fd = ctl_dial(c, left_ms < LOOK_MS ? left_ms : LOOK_MS);

		if (fd != -ETIMEDOUT || left_ms <= LOOK_MS)
			return fd;
		if (!said)
			ctl_say("%s: %s/control.sock: its queue is full and "
				"nobody takes from it: the health worker "
				"hangs, or gets no processor; waiting",
			    line, c->run_dir);
		said = true;
		if (!c->quiet)
			say_troubles(c, line);
	}
}

int
ctl_talk(const struct ctl *c, const char *line)
{
	static char reply[REPLY_MAX];
	ssize_t n;
	int fd;

	n = fd = dial_patiently(c, line);
	if (fd < 0 && fd != -ETIMEDOUT)
		return not_answering(c, -fd);
	if (fd >= 0) {
		n = ask(fd, line);
		if (n == 0)
			n = hear(c, fd, line, reply, sizeof(reply));
		close(fd);
	}
	if (n == -ETIMEDOUT && c->quiet)
		return CTL_TIMEOUT;
	if (n == -ETIMEDOUT) {
		ctl_say("%s: no answer in %.3g s; it %s", line,
		    (double)c->timeout_ms / 1000,
		    fd >= 0 ? "may still happen" : "was not heard");
		return CTL_TIMEOUT;
	}
	if (n < 0) {
		ctl_say("%s: %s", line, strerror((int)-n));
		return CTL_FAILED;
	}
	return report(reply);
}
