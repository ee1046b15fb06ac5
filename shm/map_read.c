/*
 * SIGBUS comes from the very instruction that reads, so who reads is who it
 * is for: one process has one thread. See map_read.h.
 */
#include "shm/map_read.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "shm/assert.h"

static struct {
	sigjmp_buf back;
	volatile sig_atomic_t armed;
} reading;

static void
unreadable(int sig)
{
	if (reading.armed)
		siglongjmp(reading.back, 1);
	/* Met again, it ends the process. */
	signal(sig, SIG_DFL);
}

void
map_read_open(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = unreadable;
	/* The mask is as it was when it is left. */
	sa.sa_flags = SA_NODEFER;
	sigaction(SIGBUS, &sa, NULL);
}

int
map_read(int (*fn)(void *arg), void *arg)
{
	int rc;

	ASSERT(!reading.armed);
	if (sigsetjmp(reading.back, 0) != 0) {
		reading.armed = 0;
		return -EIO;
	}
	reading.armed = 1;
	rc = fn(arg);
	reading.armed = 0;
	return rc;
}
