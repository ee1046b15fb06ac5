/*
 * Locks in shared memory: robust, process-shared, numbered, taken in rising
 * order. A process notes each lock in its slot's held_locks before it takes
 * it and clears the note after it has let go, so the note errs on the safe
 * side for who looks at a dead or stuck process' row.
 *
 * A lock is one word that names its owner by slot and incarnation. There is
 * no pointer in it and none of libc's objects: the supervisor may be root, the
 * region is the workers', and what libc follows in a mutex would be theirs to
 * choose. It is robust because the supervisor reaps whoever dies: it mends
 * what the lock guards, then frees it (lock_free_dead()). If that fails the
 * lock is lost for ever (-ENOTRECOVERABLE) and the node must boot again.
 */
#ifndef SHM_LOCKS_H
#define SHM_LOCKS_H

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
	_Alignas(64) _Atomic uint32_t word; /* futex. W: all, by exchange.
					       0 = free; see locks.c */
	uint8_t pad[60]; /* zero */
};
_Static_assert(sizeof(struct lock) == 64, "one line");

#define LOCK_INCARNATION ((UINT32_C(1) << 26) - 1) /* what a word has of it */

/* A process as locks know it. */
struct lock_owner {
	unsigned slot;
	uint32_t incarnation;
};

/* Is this incarnation of its slot meant? */
static inline bool
lock_owner_is(const struct lock_owner *owner, uint32_t incarnation)
{
	return ((owner->incarnation ^ incarnation) & LOCK_INCARNATION) == 0;
}

struct region;

/*
 * Who this process is: locks are taken in its name, and its row's held_locks
 * and its counters are used from now on. Called after a fork; r may be NULL:
 * then nothing is noted.
 */
void lock_self(struct region *r, unsigned slot, uint32_t incarnation);
/* That region's map is going away: note nothing in it any more. */
void lock_self_end(const struct region *r);

/* Take it; patience_ms 0 = wait for ever. 0, -ETIMEDOUT, -ENOTRECOVERABLE. */
int lock_take(struct lock *l, enum lock_number number, unsigned patience_ms);
void lock_release(struct lock *l, enum lock_number number);
/* In whose name is it? False: it is free, or lost. */
bool lock_owner(const struct lock *l, struct lock_owner *out);
/*
 * Supervisor: `dead` has been reaped, or was never there. If the lock is in
 * its name, run repair() (true = mended) and let go of it. 0, also if the
 * lock is not its; -EAGAIN: the word does not stand still; -ENOTRECOVERABLE.
 */
int lock_free_dead(struct lock *l, enum lock_number number,
    struct lock_owner dead, bool (*repair)(void *), void *arg);

/* Where a process may die, as tests see it. */
#define LOCK_POINTS(X)                                                         \
	X(NOTED) /* in held_locks, not taken yet */                            \
	X(WAITED) /* marked as waited for */                                   \
	X(TAKEN)                                                               \
	X(FREED) /* nobody is woken yet */                                     \
	X(SEIZED) /* a dead owner's, not mended yet */                         \
	X(MENDED)

enum lock_point {
#define X(NAME) LOCK_POINT_##NAME,
	LOCK_POINTS(X)
#undef X
	    LOCK_POINT_COUNT
};
extern void (*lock_point_hook)(enum lock_point point); /* NULL but in tests */

#endif
