/* Bells and futexes: the two ways to wake somebody. Protocol: wake.h. */
#include "shm/wake.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shm/assert.h"

#define WARY_US 50000 /* of a bell that a hostile process keeps full */

/*
 * A write to an eventfd has no flag that keeps it from waiting. So look first,
 * and in case somebody was faster let a timer end it.
 */
static void
bell_write_wary(int fd)
{
	const struct timeval soon = { .tv_usec = WARY_US };
	const struct itimerval on = { soon, soon }, off = { 0 };
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint64_t one = 1;

	/* Its counter is full, so it has a wake-up pending. */
	if (poll(&p, 1, 0) != 1)
		return;
	setitimer(ITIMER_REAL, &on, NULL);
	(void)!write(fd, &one, sizeof(one));
	setitimer(ITIMER_REAL, &off, NULL);
}

static void
bell_write(int fd)
{
	uint64_t one = 1;
	ssize_t n;

	do
		n = write(fd, &one, sizeof(one));
	while (n == -1 && errno == EINTR);
}

void
bell_clear(const struct bells *bells, unsigned slot)
{
	uint64_t rung;
	struct iovec to = { &rung, sizeof(rung) };

	(void)!preadv2(bells->fd[slot], &to, 1, -1, RWF_NOWAIT);
}

/* The caller has published and fenced. */
static void
bell_ring_fenced(struct bells *bells, unsigned slot)
{
	_Atomic uint32_t *sleeping = &bells->wakes->line[slot].sleeping;

	/* A plain load first: an awake consumer costs no shared write. */
	if (atomic_load_explicit(sleeping, memory_order_relaxed) == 0 ||
	    atomic_exchange_explicit(sleeping, 0, memory_order_acq_rel) == 0 ||
	    bells->fd[slot] == -1)
		return;
	if (bells->wary)
		bell_write_wary(bells->fd[slot]);
	else
		bell_write(bells->fd[slot]);
	bells->rung++;
}

void
bell_ring(struct bells *bells, unsigned slot)
{
	ASSERT(slot < SLOT_MAX);
	/* Pairs with the fence in bell_sleep_begin(). */
	atomic_thread_fence(memory_order_seq_cst);
	bell_ring_fenced(bells, slot);
}

void
bell_ring_all(struct bells *bells)
{
	unsigned slot;

	atomic_thread_fence(memory_order_seq_cst);
	for (slot = 0; slot < SLOT_MAX; slot++)
		bell_ring_fenced(bells, slot);
}

static long
futex(const _Atomic uint32_t *word, int op, uint32_t value,
    const struct timespec *timeout)
{
	/* FUTEX_WAIT_BITSET's deadline is absolute and CLOCK_MONOTONIC. */
	return syscall(
	    SYS_futex, word, op, value, timeout, NULL, FUTEX_BITSET_MATCH_ANY);
}

int
futex_wait_shared(
    const _Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(deadline_ns / NS_PER_S),
		.tv_nsec = (long)(deadline_ns % NS_PER_S),
	};

	if (futex(word, FUTEX_WAIT_BITSET, seen,
		deadline_ns != 0 ? &ts : NULL) == 0)
		return 0;
	ASSERT(errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
	return errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void
futex_bump(_Atomic uint32_t *word)
{
	/* Release: what changed before is seen by who sees the new word. */
	atomic_fetch_add_explicit(word, 1, memory_order_release);
	futex_wake_all(word);
}

void
futex_wake_all(const _Atomic uint32_t *word)
{
	futex(word, FUTEX_WAKE, INT_MAX, NULL);
}
