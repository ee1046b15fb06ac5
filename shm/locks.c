/* The one wrapper around mutexes in shared memory. Contract: locks.h. */
#include "shm/locks.h"

#include <errno.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/region.h"

struct self {
	_Atomic uint64_t own_mask;
	_Atomic uint64_t *held; /* NULL = own_mask */
	struct counters *counters;
	unsigned slot;
};

static struct self me;

void
lock_self(struct region *r, unsigned slot)
{
	ASSERT(r->writable);
	ASSERT(slot < SLOT_MAX);
	me.held = &r->slots->row[slot].held_locks;
	me.counters = r->counters;
	me.slot = slot;
	/* What a dead predecessor in the slot held, it holds no more. */
	atomic_store_explicit(me.held, 0, memory_order_release);
}

void
lock_self_end(const struct region *r)
{
	if (me.held != &r->slots->row[me.slot].held_locks)
		return;
	me.held = NULL;
	me.counters = NULL;
}

static _Atomic uint64_t *
lock_mask(void)
{
	return me.held != NULL ? me.held : &me.own_mask;
}

int
lock_init(struct lock *l)
{
	pthread_mutexattr_t attr;
	int rc;

	if ((rc = pthread_mutexattr_init(&attr)) != 0)
		return -rc;
	if ((rc = pthread_mutexattr_setpshared(
		 &attr, PTHREAD_PROCESS_SHARED)) == 0 &&
	    (rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST)) ==
		0)
		rc = pthread_mutex_init(&l->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return -rc;
}

static int
lock_wait(struct lock *l, unsigned patience_ms)
{
	struct timespec until;
	uint64_t ns;

	if (patience_ms == 0)
		return pthread_mutex_lock(&l->mutex);
	ns = mono_ns() + patience_ms * NS_PER_MS;
	until.tv_sec = (time_t)(ns / NS_PER_S);
	until.tv_nsec = (long)(ns % NS_PER_S);
	return pthread_mutex_clocklock(&l->mutex, CLOCK_MONOTONIC, &until);
}

/* The last owner died: mend, then mark; else let go and lose the lock. */
static int
lock_mend(struct lock *l, bool (*repair)(void *), void *arg)
{
	if (!repair(arg)) {
		pthread_mutex_unlock(&l->mutex);
		return ENOTRECOVERABLE;
	}
	ASSERT(pthread_mutex_consistent(&l->mutex) == 0);
	if (me.counters != NULL)
		counter_add(me.counters, me.slot, C_LOCK_REPAIRS, 1);
	return 0;
}

int
lock_take(struct lock *l, enum lock_number number, unsigned patience_ms,
    bool (*repair)(void *), void *arg)
{
	_Atomic uint64_t *mask = lock_mask();
	uint64_t held = atomic_load_explicit(mask, memory_order_relaxed);
	int rc;

	/* Rising order, so no two processes can wait for each other. */
	ASSERT(held >> number == 0);
	atomic_store_explicit(
	    mask, held | UINT64_C(1) << number, memory_order_release);
	rc = lock_wait(l, patience_ms);
	if (rc == EOWNERDEAD)
		rc = lock_mend(l, repair, arg);
	if (rc != 0) {
		atomic_store_explicit(mask, held, memory_order_release);
		ASSERT(rc == ETIMEDOUT || rc == ENOTRECOVERABLE);
		return -rc;
	}
	atomic_store_explicit(
	    &l->holder, (int32_t)getpid(), memory_order_release);
	return 0;
}

void
lock_release(struct lock *l, enum lock_number number)
{
	_Atomic uint64_t *mask = lock_mask();
	uint64_t held = atomic_load_explicit(mask, memory_order_relaxed);

	ASSERT((held >> number & 1) != 0);
	atomic_store_explicit(&l->holder, 0, memory_order_release);
	ASSERT(pthread_mutex_unlock(&l->mutex) == 0);
	atomic_store_explicit(
	    mask, held & ~(UINT64_C(1) << number), memory_order_release);
}

int
lock_holder(const struct lock *l)
{
	return atomic_load_explicit(&l->holder, memory_order_acquire);
}
