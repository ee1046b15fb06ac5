/*
 * The lock wrapper by itself: held masks, order, patience, repair, and many
 * processes killed at random while they hold it.
 */
#include "shm/locks.h"

#include "shm/log.h"
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

static void
simple(struct shared *s)
{
	is_i64(lock_take(&s->lock, NUMBER, 0, mend, s), 0, "taken");
	is_i64(lock_holder(&s->lock), getpid(), "by this process");
	lock_release(&s->lock, NUMBER);
	is_i64(lock_holder(&s->lock), 0, "released");
	is_i64(lock_take(&s->lock, NUMBER, 50, mend, s), 0, "with patience");
	lock_release(&s->lock, NUMBER);
}

static int
twice_main(void *arg)
{
	struct shared *s = arg;

	log_open("/dev/null");
	lock_take(&s->lock, NUMBER, 0, mend, s);
	lock_take(&s->lock, NUMBER, 0, mend, s);
	return 0;
}

static int
unheld_main(void *arg)
{
	struct shared *s = arg;

	log_open("/dev/null");
	lock_release(&s->lock, NUMBER);
	return 0;
}

static int
holder_main(void *arg)
{
	struct shared *s = arg;

	lock_take(&s->lock, NUMBER, 0, mend, s);
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
	is_i64(lock_take(&s->lock, NUMBER, 0, mend, s), 0,
	    "the abort left it to a repair");
	is_u64(atomic_load(&s->repairs), 1, "which ran");
	lock_release(&s->lock, NUMBER);
	is_i64(child_end(child_start(unheld_main, s)), 1000 + SIGABRT,
	    "nor released when it is not held");

	pid = child_start(holder_main, s);
	ok(wait_until(lock_holder(&s->lock) == pid, TAP_WAIT_MS),
	    "a child has it");
	begin = mono_ns();
	is_i64(lock_take(&s->lock, NUMBER, 20, mend, s), -ETIMEDOUT,
	    "patience ends");
	ok(mono_ns() - begin >= 20 * NS_PER_MS, "not before its time");
	kill(pid, SIGKILL);
	is_i64(lock_take(&s->lock, NUMBER, 0, mend, s), 0,
	    "its death lets go of it");
	lock_release(&s->lock, NUMBER);
	child_end(pid);
}

static int
worker_main(void *arg)
{
	struct shared *s = arg;

	for (;;) {
		lock_take(&s->lock, NUMBER, 0, mend, s);
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
	pid_t pid[3];

	for (i = 0; i < 3; i++)
		pid[i] = child_start(worker_main, s);
	for (k = 0; k < 150; k++) {
		i = (unsigned)(rnd() % 3);
		before = atomic_load(&s->a) + rnd() % 200;
		if (!wait_until(atomic_load(&s->a) > before, TAP_WAIT_MS))
			bad++;
		kill(pid[i], SIGKILL);
		bad += child_end(pid[i]) != 1000 + SIGKILL;
		pid[i] = child_start(worker_main, s);
	}
	for (i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		bad += child_end(pid[i]) != 1000 + SIGKILL;
	}
	is_u64(bad, 0, "nobody was stuck or saw half a change");
	is_i64(lock_take(&s->lock, NUMBER, TAP_WAIT_MS, mend, s), 0,
	    "still there");
	is_u64(atomic_load(&s->a), atomic_load(&s->b), "and whole");
	lock_release(&s->lock, NUMBER);
	diag("%u repairs in 150 killings, %u turns",
	    (unsigned)(atomic_load(&s->repairs) - repairs),
	    (unsigned)atomic_load(&s->a));
}

int
main(void)
{
	struct shared *s = shared_zeros(sizeof(*s));

	rnd_seed();
	is_i64(lock_init(&s->lock), 0, "made");
	simple(s);
	order(s);
	killings(s);
	return tap_done();
}
