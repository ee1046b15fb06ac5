/*
 * The lock wrapper by itself: held masks, order, patience, repair, many
 * processes killed at random while they hold it, and a word that is not what
 * a lock's own stores leave.
 */
#include "shm/locks.h"

#include "shm/say.h"
#include "t/shm_fixture.h"

#define NUMBER LOCK_SEQUENCER

/* A pair that only a whole turn under the lock keeps equal. */
struct shared {
	struct lock lock;
	_Atomic uint64_t a, b;
	_Atomic uint64_t repairs;
};

static bool
mend(void *arg)
{
	struct shared *s = arg;

	atomic_store(&s->b, atomic_load(&s->a));
	atomic_fetch_add(&s->repairs, 1);
	return true;
}

static bool
has(const struct shared *s, unsigned slot, uint32_t incarnation)
{
	struct lock_owner owner;

	return lock_owner(&s->lock, &owner) && owner.slot == slot &&
	       owner.incarnation == incarnation;
}

/* As the supervisor when it has reaped that process. */
static int
reaped(struct shared *s, unsigned slot, uint32_t incarnation)
{
	return lock_free_dead(&s->lock, NUMBER,
	    (struct lock_owner){ slot, incarnation }, mend, s);
}

static void
simple(struct shared *s)
{
	struct lock_owner owner;

	is_i64(lock_take(&s->lock, NUMBER, 0), 0, "taken");
	ok(has(s, SLOT_SUPERVISOR, 1), "by this process");
	lock_release(&s->lock, NUMBER);
	ok(!lock_owner(&s->lock, &owner), "released");
	is_i64(lock_take(&s->lock, NUMBER, 50), 0, "with patience");
	lock_release(&s->lock, NUMBER);
}

static int
twice_main(void *arg)
{
	struct shared *s = arg;

	say_open("/dev/null");
	lock_self(NULL, SLOT_WAL, 1);
	lock_take(&s->lock, NUMBER, 0);
	lock_take(&s->lock, NUMBER, 0);
	return 0;
}

static int
unheld_main(void *arg)
{
	struct shared *s = arg;

	say_open("/dev/null");
	lock_release(&s->lock, NUMBER);
	return 0;
}

static int
holder_main(void *arg)
{
	struct shared *s = arg;

	lock_self(NULL, SLOT_WAL, 2);
	lock_take(&s->lock, NUMBER, 0);
	while (pause() == -1)
		;
	return 0;
}

static void
order(struct shared *s)
{
	uint64_t begin;
	pid_t pid;

	is_i64(child_end(child_start(twice_main, s)), 1000 + SIGABRT,
	    "a lock is not taken twice");
	is_i64(lock_take(&s->lock, NUMBER, 20), -ETIMEDOUT,
	    "the abort left it taken");
	is_i64(reaped(s, SLOT_WAL, 1), 0, "its reaping is told");
	is_u64(atomic_load(&s->repairs), 1, "a repair ran");
	is_i64(lock_take(&s->lock, NUMBER, 0), 0, "and it is free");
	lock_release(&s->lock, NUMBER);
	is_i64(child_end(child_start(unheld_main, s)), 1000 + SIGABRT,
	    "nor released when it is not held");

	pid = child_start(holder_main, s);
	ok(wait_until(has(s, SLOT_WAL, 2), TAP_WAIT_MS), "a child has it");
	begin = mono_ns();
	is_i64(lock_take(&s->lock, NUMBER, 20), -ETIMEDOUT, "patience ends");
	ok(mono_ns() - begin >= 20 * NS_PER_MS, "not before its time");
	is_i64(reaped(s, SLOT_WAL, 1), 0, "one that was there before it");
	ok(has(s, SLOT_WAL, 2), "does not let go of it");
	kill(pid, SIGKILL);
	child_end(pid);
	is_i64(reaped(s, SLOT_WAL, 2), 0, "its own reaping");
	is_i64(lock_take(&s->lock, NUMBER, 0), 0, "does");
	lock_release(&s->lock, NUMBER);
}

struct worker {
	struct shared *s;
	unsigned slot;
	uint32_t incarnation;
};

static int
worker_main(void *arg)
{
	const struct worker *w = arg;
	struct shared *s = w->s;

	lock_self(NULL, w->slot, w->incarnation);
	for (;;) {
		if (lock_take(&s->lock, NUMBER, 0) != 0)
			return 2;
		if (atomic_load(&s->a) != atomic_load(&s->b))
			return 1;
		atomic_fetch_add(&s->a, 1);
		atomic_fetch_add(&s->b, 1);
		lock_release(&s->lock, NUMBER);
	}
}

static void
killings(struct shared *s)
{
	uint64_t before, repairs = atomic_load(&s->repairs);
	unsigned i, k, bad = 0;
	struct worker w[3];
	pid_t pid[3];

	for (i = 0; i < 3; i++) {
		w[i] = (struct worker){ s, SLOT_WAL + i, 1 };
		pid[i] = child_start(worker_main, &w[i]);
	}
	for (k = 0; k < 150; k++) {
		i = (unsigned)(rnd() % 3);
		before = atomic_load(&s->a) + rnd() % 200;
		if (!wait_until(atomic_load(&s->a) > before, TAP_WAIT_MS))
			bad++;
		kill(pid[i], SIGKILL);
		bad += child_end(pid[i]) != 1000 + SIGKILL;
		bad += reaped(s, w[i].slot, w[i].incarnation++) != 0;
		pid[i] = child_start(worker_main, &w[i]);
	}
	for (i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		bad += child_end(pid[i]) != 1000 + SIGKILL;
		bad += reaped(s, w[i].slot, w[i].incarnation) != 0;
	}
	is_u64(bad, 0, "nobody was stuck or saw half a change");
	is_i64(lock_take(&s->lock, NUMBER, TAP_WAIT_MS), 0, "still there");
	is_u64(atomic_load(&s->a), atomic_load(&s->b), "and whole");
	lock_release(&s->lock, NUMBER);
	diag("%u repairs in 150 killings, %u turns",
	    (unsigned)(atomic_load(&s->repairs) - repairs),
	    (unsigned)atomic_load(&s->a));
}

/* Writes to the word while the supervisor's calls run. */
__attribute__((noreturn)) static int
vandal_main(void *arg)
{
	struct shared *s = arg;

	for (;;)
		atomic_store(&s->lock.word,
		    (uint32_t)rnd() | (rnd() % 3 == 0 ? 31u << 26 : 0));
}

/* Every call ends, with one of its errors, and asserts nothing of the word. */
static void
vandalized(struct shared *s)
{
	pid_t pid = child_start(vandal_main, s);
	struct lock_owner owner;
	unsigned bad = 0;
	int rc;

	for (unsigned i = 0; i < 200; i++) {
		rc = lock_take(&s->lock, NUMBER, 1);
		bad += rc != 0 && rc != -ETIMEDOUT && rc != -ENOTRECOVERABLE;
		if (rc == 0)
			lock_release(&s->lock, NUMBER);
		if (lock_owner(&s->lock, &owner))
			(void)lock_free_dead(&s->lock, NUMBER, owner, mend, s);
	}
	is_u64(bad, 0, "no call was led astray");
	kill(pid, SIGKILL);
	child_end(pid);
	atomic_store(&s->lock.word, 0);
}

int
main(void)
{
	struct shared *s = shared_zeros(sizeof(*s));

	rnd_seed();
	lock_self(NULL, SLOT_SUPERVISOR, 1);
	simple(s);
	order(s);
	killings(s);
	vandalized(s);
	return tap_done();
}
