/*
 * Locks in shared memory: robust, process-shared, numbered, taken in rising
 * order. A process notes each lock in its slot's held_locks before it takes
 * it and clears the note after it has let go, so the note errs on the safe
 * side for who looks at a dead or stuck process' row.
 *
 * The next to take a dead owner's lock runs that lock's repair; if that fails
 * the lock is lost for ever (-ENOTRECOVERABLE) and the node must boot again.
 */
#ifndef SHM_LOCKS_H
#define SHM_LOCKS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Numbers stand in held_locks: add at the end, never reuse one. */
enum lock_number {
	LOCK_SEQUENCER = 1 /* gates, phase, first error */
};

/* How long the supervisor waits for a lock before it kills the holder. */
#define LOCK_PATIENCE_MS 100

struct lock {
	pthread_mutex_t mutex;
	_Atomic int32_t holder; /* W: under the mutex; pid, 0 = nobody */
};

struct region;

/*
 * Which slot this process is: its row's held_locks and its counters are used
 * from now on. Called after a fork; without it a private mask is used.
 */
void lock_self(struct region *r, unsigned slot);
/* That region's map is going away: back to the private mask if it is used. */
void lock_self_end(const struct region *r);

int lock_init(struct lock *l); /* creator only; 0 or -errno */
/*
 * Take it; patience_ms 0 = wait for ever. repair() (true = mended) runs with
 * the lock held if its last owner died. 0, -ETIMEDOUT, -ENOTRECOVERABLE.
 */
int lock_take(struct lock *l, enum lock_number number, unsigned patience_ms,
    bool (*repair)(void *), void *arg);
void lock_release(struct lock *l, enum lock_number number);
/* Pid of who has it, 0 = nobody (or it is just being taken). */
int lock_holder(const struct lock *l);

#endif
