/*
 * The one wrapper around locks in shared memory. Contract: locks.h.
 *
 * The word: bit 31, somebody may be waiting; bits 26 to 30, the owner's slot
 * plus one; bits 0 to 25, its incarnation. Nothing here trusts it: whatever
 * it is, a call ends in bounded time with one of its errors, and what must be
 * asserted (the order, who holds) is this process' own.
 */
#include "shm/locks.h"

#include <errno.h>

#include "shm/assert.h"
#include "shm/region.h"

#define WORD_WAITED     (UINT32_C(1) << 31)
#define WORD_SLOT_SHIFT 26
#define WORD_LOST       (UINT32_C(31) << WORD_SLOT_SHIFT)
_Static_assert(LOCK_INCARNATION >> WORD_SLOT_SHIFT == 0, "below the slot");
_Static_assert(SLOT_MAX < 31, "slots and what is lost are told apart");

/* Who waits looks by itself that often: a wake-up may have died. */
#define LOOK_NS     (50 * NS_PER_MS)
#define SEIZE_TRIES 1000 /* against who marks the word as waited for */

struct self {
	uint64_t held; /* the truth; the row has a copy for others */
	_Atomic uint64_t *row; /* NULL = none */
	struct counters *counters;
	struct lock_owner name;
};

static struct self me;

void (*lock_point_hook)(enum lock_point point);

#define LOCK_POINT(NAME)                                                       \
	do {                                                                   \
		if (lock_point_hook != NULL)                                   \
			lock_point_hook(LOCK_POINT_##NAME);                    \
	} while (0)

static void
held_set(uint64_t held)
{
	me.held = held;
	if (me.row != NULL)
		atomic_store_explicit(me.row, held, memory_order_release);
}

void
lock_self(struct region *r, unsigned slot, uint32_t incarnation)
{
	ASSERT(slot < SLOT_MAX);
	ASSERT(r == NULL || r->writable);
	me.row = r != NULL ? &r->slots->row[slot].held_locks : NULL;
	me.counters = r != NULL ? r->counters : NULL;
	me.name = (struct lock_owner){ slot, incarnation };
	/* What a dead predecessor in the slot held, it holds no more. */
	held_set(0);
}

void
lock_self_end(const struct region *r)
{
	if (me.row != &r->slots->row[me.name.slot].held_locks)
		return;
	me.row = NULL;
	me.counters = NULL;
}

static uint32_t
word_of(struct lock_owner owner)
{
	return (uint32_t)(owner.slot + 1) << WORD_SLOT_SHIFT |
	       (owner.incarnation & LOCK_INCARNATION);
}

static bool
swap(struct lock *l, uint32_t *seen, uint32_t to)
{
	/* Acquire pairs with the release of who had it before. */
	return atomic_compare_exchange_strong_explicit(
	    &l->word, seen, to, memory_order_acq_rel, memory_order_acquire);
}

/* Sleep until the word may have changed; false at the end of all patience. */
static bool
wait_change(struct lock *l, uint32_t seen, uint64_t until_ns)
{
	uint64_t now = mono_ns(), look = now + LOOK_NS;

	if (until_ns != 0 && now >= until_ns)
		return false;
	if ((seen & WORD_WAITED) == 0) {
		if (!swap(l, &seen, seen | WORD_WAITED))
			return true;
		seen |= WORD_WAITED;
		LOCK_POINT(WAITED);
	}
	if (until_ns != 0 && until_ns < look)
		look = until_ns;
	(void)futex_wait_shared(&l->word, seen, look);
	return true;
}

/* Who waited keeps the mark: others may wait, too. */
static int
lock_wait(struct lock *l, unsigned patience_ms)
{
	uint64_t until =
	    patience_ms != 0 ? mono_ns() + patience_ms * NS_PER_MS : 0;
	uint32_t seen, mine = word_of(me.name);

	for (;;) {
		seen = atomic_load_explicit(&l->word, memory_order_acquire);
		if ((seen & ~WORD_WAITED) == WORD_LOST)
			return -ENOTRECOVERABLE;
		if ((seen & ~WORD_WAITED) == 0) {
			if (swap(l, &seen, mine | (seen & WORD_WAITED)))
				return 0;
		} else if (!wait_change(l, seen, until)) {
			return -ETIMEDOUT;
		}
	}
}

int
lock_take(struct lock *l, enum lock_number number, unsigned patience_ms)
{
	uint64_t held = me.held;
	int rc;

	/* Rising order, so no two processes can wait for each other. */
	ASSERT(held >> number == 0);
	held_set(held | UINT64_C(1) << number);
	LOCK_POINT(NOTED);
	if ((rc = lock_wait(l, patience_ms)) != 0)
		held_set(held);
	else
		LOCK_POINT(TAKEN);
	return rc;
}

/* From our name to free or lost; not over what somebody else wrote there. */
static void
word_leave(struct lock *l, uint32_t to)
{
	uint32_t mine = word_of(me.name), seen = mine;

	if (!swap(l, &seen, to) &&
	    (seen != (mine | WORD_WAITED) || !swap(l, &seen, to)))
		return;
	LOCK_POINT(FREED);
	if ((seen & WORD_WAITED) != 0)
		futex_wake_all(&l->word);
}

void
lock_release(struct lock *l, enum lock_number number)
{
	ASSERT((me.held >> number & 1) != 0);
	word_leave(l, 0);
	held_set(me.held & ~(UINT64_C(1) << number));
}

bool
lock_owner(const struct lock *l, struct lock_owner *out)
{
	uint32_t word =
	    atomic_load_explicit(&l->word, memory_order_acquire) & ~WORD_WAITED;

	if (word == 0 || word == WORD_LOST)
		return false;
	/* A slot that cannot be is nobody's: it has no process. */
	out->slot = (word >> WORD_SLOT_SHIFT) - 1;
	out->incarnation = word & LOCK_INCARNATION;
	return true;
}

/* From a dead owner's name to ours. 1 = done, 0 = it was not the owner. */
static int
seize(struct lock *l, uint32_t dead)
{
	uint32_t seen = atomic_load_explicit(&l->word, memory_order_acquire);

	for (int i = 0; i < SEIZE_TRIES; i++) {
		if ((seen & ~WORD_WAITED) == WORD_LOST)
			return -ENOTRECOVERABLE;
		if ((seen & ~WORD_WAITED) != dead)
			return 0;
		if (swap(l, &seen, word_of(me.name) | (seen & WORD_WAITED)))
			return 1;
	}
	return -EAGAIN;
}

int
lock_free_dead(struct lock *l, enum lock_number number, struct lock_owner dead,
    bool (*repair)(void *), void *arg)
{
	uint64_t held = me.held;
	int rc;

	ASSERT(held >> number == 0);
	held_set(held | UINT64_C(1) << number);
	if ((rc = seize(l, word_of(dead))) == 1) {
		LOCK_POINT(SEIZED);
		rc = repair(arg) ? 0 : -ENOTRECOVERABLE;
		LOCK_POINT(MENDED);
		if (rc == 0 && me.counters != NULL)
			counter_add(
			    me.counters, me.name.slot, C_LOCK_REPAIRS, 1);
		word_leave(l, rc == 0 ? 0 : WORD_LOST);
	}
	held_set(held);
	return rc;
}
