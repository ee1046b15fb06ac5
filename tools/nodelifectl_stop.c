/*
 * Stop: ask, then wait for the supervisor's end. A node that cannot hear the
 * request (it is still booting its health worker, or that one is gone) gets
 * the signal that means the same.
 */
#include "tools/nodelifectl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* An answer takes no longer; what is left of the time is for the stop. */
#define ASK_NS  (2 * NS_PER_S)
#define LOOK_MS 20 /* for the end of a process that is not to be seen */

static bool
is_gone(const struct ctl *c)
{
	struct ctl_life l;
	bool gone = ctl_life(c, &l) == CTL_NOT_RUNNING;

	ctl_life_end(&l);
	return gone;
}

/* Until the process is gone, or time is up. */
static bool
wait_end(const struct ctl *c, const struct ctl_life *l)
{
	struct pollfd p = { .fd = l->pidfd, .events = POLLIN };
	int n;

	if (l->pidfd >= 0) {
		do
			n = poll(&p, 1, ctl_left_ms(c));
		while (n < 0 && errno == EINTR);
		return n > 0;
	}
	while (!is_gone(c)) {
		if (ctl_left_ms(c) == 0)
			return false;
		(void)poll(NULL, 0, LOOK_MS);
	}
	return true;
}

static int
wait_gone(const struct ctl *c, const struct ctl_life *l)
{
	const char *step = "unknown";

	if (wait_end(c, l))
		return CTL_OK;
	if (l->has_region)
		step = shutdown_name(atomic_load_explicit(
		    &l->region.seq->shutdown, memory_order_acquire));
	ctl_say("the node is still there after %.3g s, at step %s (supervisor "
		"pid %d): wait longer (-t), or see nodelifestat for who holds "
		"it up",
	    (double)c->timeout_ms / 1000, step, l->pid);
	return CTL_TIMEOUT;
}

static int
send_signal(const struct ctl_life *l)
{
	if (l->pidfd < 0) {
		ctl_say("the control socket does not answer, and the node's "
			"process is not to be seen from here: stop it where "
			"it runs");
		return CTL_FAILED;
	}
	if (syscall(SYS_pidfd_send_signal, l->pidfd, SIGTERM, NULL, 0) == 0) {
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

static int
ask_or_signal(const struct ctl *c, const struct ctl_life *l)
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
	return send_signal(l);
}

int
ctl_stop(const struct ctl *c)
{
	struct ctl_life l;
	int rc = ctl_life(c, &l);

	if (rc != CTL_OK)
		ctl_say_life(c, &l, rc);
	else if ((rc = ask_or_signal(c, &l)) == CTL_OK)
		rc = wait_gone(c, &l);
	ctl_life_end(&l);
	return rc;
}
