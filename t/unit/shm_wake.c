/*
 * Bells and futexes: no wake-up is lost between two processes that play ball
 * 100,000 times, an awake consumer costs no system call, and read-only maps
 * can wait.
 */
#include "shm/wake.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "t/shm_fixture.h"

#define ROUNDS 100000

struct court {
	struct wakes wakes;
	_Alignas(CACHE_LINE) _Atomic uint64_t ball[2]; /* [i]: served by i */
	_Atomic uint64_t slept[2];
	_Atomic uint64_t rung[2];
	int fd[2];
};

static void
bells_open(struct bells *b, struct court *c)
{
	unsigned i;

	b->wakes = &c->wakes;
	b->rung = 0;
	b->wary = false;
	for (i = 0; i < SLOT_MAX; i++)
		b->fd[i] = i < 2 ? c->fd[i] : -1;
}

/* Sleep as a worker does: say so, fence, look again, block on the bell. */
static bool
await_ball(struct bells *b, struct court *c, unsigned me, uint64_t want)
{
	const _Atomic uint64_t *ball = &c->ball[1 - me];
	struct pollfd p = { .fd = b->fd[me], .events = POLLIN };
	uint64_t count;

	while (atomic_load_explicit(ball, memory_order_acquire) < want) {
		bell_sleep_begin(b, me);
		if (atomic_load_explicit(ball, memory_order_acquire) < want) {
			atomic_fetch_add_explicit(
			    &c->slept[me], 1, memory_order_relaxed);
			if (poll(&p, 1, TAP_WAIT_MS) <= 0)
				return false;
			if (read(b->fd[me], &count, sizeof(count)) < 0)
				return false;
		}
		bell_sleep_end(b, me);
	}
	return true;
}

static int
player(struct court *c, unsigned me)
{
	struct bells b;
	uint64_t n;

	bells_open(&b, c);
	for (n = 1; n <= ROUNDS; n++) {
		if (me == 1 && !await_ball(&b, c, me, n))
			return 1;
		atomic_store_explicit(&c->ball[me], n, memory_order_release);
		bell_ring(&b, 1 - me);
		if (me == 0 && !await_ball(&b, c, me, n))
			return 1;
	}
	atomic_store(&c->rung[me], b.rung);
	return 0;
}

static int
second_player(void *arg)
{
	return player(arg, 1);
}

static void
court_open(struct court *c)
{
	memset(c, 0, sizeof(*c));
	c->fd[0] = eventfd(0, EFD_CLOEXEC);
	c->fd[1] = eventfd(0, EFD_CLOEXEC);
}

static void
court_close(struct court *c)
{
	close(c->fd[0]);
	close(c->fd[1]);
}

static void
ping_pong(struct court *c)
{
	pid_t pid;

	court_open(c);
	pid = child_start(second_player, c);
	is_i64(player(c, 0), 0, "no wake-up was lost here");
	is_i64(child_end(pid), 0, "nor there");
	diag("%u and %u sleeps, %u and %u wake-ups", (unsigned)c->slept[0],
	    (unsigned)c->slept[1], (unsigned)c->rung[0], (unsigned)c->rung[1]);
	ok(c->slept[0] > 0 && c->slept[1] > 0, "both slept");
	ok(c->rung[0] <= ROUNDS && c->rung[1] <= ROUNDS,
	    "at most one wake-up for each serve");
	court_close(c);
}

static bool
bell_has_rung(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void
coalesce(struct court *c)
{
	struct bells b;
	uint64_t count;

	court_open(c);
	bells_open(&b, c);
	bell_ring(&b, 0);
	ok(!bell_has_rung(c->fd[0]), "who is awake gets no system call");
	bell_sleep_begin(&b, 0);
	bell_ring(&b, 0);
	bell_ring(&b, 0);
	bell_ring(&b, 0);
	is_u64(b.rung, 1, "three rings, one system call");
	ok(bell_has_rung(c->fd[0]), "the sleeper is woken");
	is_i64(read(c->fd[0], &count, sizeof(count)), 8, "read");
	is_u64(count, 1, "once");
	bell_sleep_begin(&b, 0);
	bell_sleep_end(&b, 0);
	bell_ring(&b, 0);
	ok(!bell_has_rung(c->fd[0]), "awake again");
	bell_sleep_begin(&b, 0);
	bell_sleep_begin(&b, 1);
	bell_sleep_begin(&b, 2);
	bell_ring_all(&b);
	ok(bell_has_rung(c->fd[0]) && bell_has_rung(c->fd[1]),
	    "ring_all wakes all");
	is_u64(atomic_load(&c->wakes.line[2].sleeping), 0,
	    "a slot without a bell is no harm");
	court_close(c);
}

struct futex_test {
	_Atomic uint32_t word;
	_Atomic uint32_t woken;
};

static int
futex_sleeper(void *arg)
{
	struct futex_test *t = arg;
	uint32_t now;
	int rc = 0;

	/* One look: behind a second one it might wait for a bump too many. */
	while ((now = atomic_load_explicit(&t->word, memory_order_acquire)) <
		   100 &&
	       rc == 0) {
		rc =
		    futex_wait_shared(&t->word, now, mono_ns() + 20 * NS_PER_S);
		atomic_fetch_add(&t->woken, 1);
	}
	return rc == 0 ? 0 : 1;
}

static void
futexes(void)
{
	struct futex_test *t = shared_zeros(4096);
	uint64_t begin = mono_ns();
	pid_t pid[3];
	unsigned i;

	is_i64(futex_wait_shared(&t->word, 1, 0), 0, "changed: no sleep");
	is_i64(futex_wait_shared(&t->word, 0, begin + 5 * NS_PER_MS),
	    -ETIMEDOUT, "deadline");
	ok(mono_ns() - begin >= 5 * NS_PER_MS, "not before its time");
	is_i64(futex_wait_shared(&t->word, 0, 1), -ETIMEDOUT,
	    "a deadline that is over");
	for (i = 0; i < 3; i++)
		pid[i] = child_start(futex_sleeper, t);
	for (i = 0; i < 100; i++) {
		futex_bump(&t->word);
		/* Let some of them fall asleep again. */
		wait_until(atomic_load(&t->woken) > i, 10);
	}
	for (i = 0; i < 3; i++)
		is_i64(child_end(pid[i]), 0, "all sleepers see the last bump");
	munmap(t, 4096);
}

static void
on_alarm(int signal_number)
{
	(void)signal_number;
}

/* These two fill it and empty it, to meet a write between look and step. */
static int
filler(void *arg)
{
	uint64_t full = UINT64_MAX - 1;

	while (write(*(int *)arg, &full, sizeof(full)) > 0)
		;
	return 0;
}

static int
emptier(void *arg)
{
	uint64_t got;

	while (read(*(int *)arg, &got, sizeof(got)) > 0)
		;
	return 0;
}

static int
wary_ringer(void *arg)
{
	static const struct sigaction alarmed = { .sa_handler = on_alarm };
	struct court *c = arg;
	struct bells b;
	unsigned i;

	sigaction(SIGALRM, &alarmed, NULL);
	bells_open(&b, c);
	b.wary = true;
	bell_clear(&b, 0);
	bell_clear(&b, 0);
	for (i = 0; i < 100; i++) {
		atomic_store(&c->wakes.line[1].sleeping, 1);
		bell_ring(&b, 1);
	}
	return 0;
}

/* Whoever has a bell may fill it: who is wary is held up by nobody. */
static void
wary(struct court *c)
{
	uint64_t full = UINT64_MAX - 1;
	pid_t pid[2];

	c->fd[0] = eventfd(0, EFD_CLOEXEC);
	c->fd[1] = eventfd(0, EFD_CLOEXEC);
	(void)!write(c->fd[1], &full, sizeof(full));
	is_i64(child_end(child_start(wary_ringer, c)), 0,
	    "an empty bell and a full one hold nobody up who is wary");
	pid[0] = child_start(filler, &c->fd[1]);
	pid[1] = child_start(emptier, &c->fd[1]);
	is_i64(child_end(child_start(wary_ringer, c)), 0,
	    "nor does one that somebody goes on filling");
	for (unsigned i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		(void)child_end(pid[i]);
	}
	close(c->fd[0]);
	close(c->fd[1]);
}

int
main(void)
{
	struct court *c = shared_zeros(sizeof(*c));

	coalesce(c);
	ping_pong(c);
	futexes();
	wary(c);
	return tap_done();
}
