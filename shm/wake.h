/*
 * Who sleeps, and how to wake it. The whole sleep protocol is here.
 *
 * A worker with a ring sleeps only in io_uring_enter, with a read of its
 * bell (an eventfd made before the first fork) always armed:
 *	sleeper: sleeping = 1; fence; recheck every input; wait; sleeping = 0
 *	waker:   publish; fence; if exchange(sleeping, 0) == 1: write(bell)
 * The two seq_cst fences make it impossible that both miss the other, and
 * the exchange makes one system call of any number of concurrent wake-ups.
 *
 * What waits without a ring (boot phases, tools) uses futex words.
 */
#ifndef SHM_WAKE_H
#define SHM_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/bits.h"
#include "shm/slots.h"

struct wake_line {
	_Alignas(CACHE_LINE) _Atomic uint32_t sleeping; /* W: sleeper 1,
							   wakers 0 */
	uint8_t pad[60];
};

struct wakes {
	struct wake_line line[SLOT_MAX];
};

/* A process' own view: where the lines are and the bells' descriptors. */
struct bells {
	struct wakes *wakes;
	int fd[SLOT_MAX]; /* -1 = none */
	uint64_t rung; /* wake-ups this process has sent */
	/*
	 * Others may fill a bell, or empty it, to hold us up: its counter and
	 * its flags are theirs, too. Then a wake-up is rather lost. SIGALRM
	 * must have a handler that lets system calls end.
	 */
	bool wary;
};

/* Wake `slot` if it sleeps. Publish with a release store before. */
void bell_ring(struct bells *bells, unsigned slot);
/* Empty our own bell, if it has rung. Never waits. */
void bell_clear(const struct bells *bells, unsigned slot);
/* Wake every slot that sleeps (phase changes, shutdown). */
void bell_ring_all(struct bells *bells);

static inline void
bell_sleep_begin(struct bells *bells, unsigned slot)
{
	atomic_store_explicit(
	    &bells->wakes->line[slot].sleeping, 1, memory_order_relaxed);
	/* Pairs with the fence in bell_ring(). */
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void
bell_sleep_end(struct bells *bells, unsigned slot)
{
	atomic_store_explicit(
	    &bells->wakes->line[slot].sleeping, 0, memory_order_relaxed);
}

/*
 * Sleep while *word == seen, at most until deadline_ns (CLOCK_MONOTONIC, 0 =
 * for ever). 0 when woken, changed or interrupted by a signal; -ETIMEDOUT.
 * Works on read-only maps.
 */
int futex_wait_shared(
    const _Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns);
/* Bump the word and wake all of its waiters, always. */
void futex_bump(_Atomic uint32_t *word);
/* Only wake them: for whoever bumped the word while it held a lock. */
void futex_wake_all(const _Atomic uint32_t *word);

#endif
