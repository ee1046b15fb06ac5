/*
 * The event loop: a bell rung from another process ends a sleep, never is one
 * lost between two that ring each other; more requests than the queue holds
 * are all submitted; completions that nobody handles are counted; a relay
 * rings another's bell for a completion, while it is on; timers and steps of
 * the shutdown bus end a sleep; a turn does not sleep over input.
 */
#include "ipc/loop.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "shm/say.h"
#include "t/shm_fixture.h"

#define ENTRIES      8
#define ROUNDS       20000
#define KIND_COUNTED 3
#define KIND_NOBODYS 5

struct player {
	struct loop loop;
	unsigned other; /* whose turn it is after ours */
	_Atomic uint64_t *ball;
	uint64_t seen, turns, done;
	uint64_t deadline_ns;
	unsigned step;
};

static struct fixture f;
static struct bells bells;

static uint64_t
ball(const struct player *p)
{
	return atomic_load_explicit(p->ball, memory_order_acquire);
}

static uint64_t
player_deadline(void *ctx)
{
	struct player *p = ctx;

	return p->deadline_ns;
}

/* Odd numbers are SLOT_WAL's to raise, even ones SLOT_STORE's. */
static bool
player_pending(void *ctx)
{
	struct player *p = ctx;

	return p->ball != NULL && ball(p) % 2 == (p->loop.slot == SLOT_WAL);
}

static void
player_turn(void *ctx)
{
	struct player *p = ctx;

	p->turns++;
	if (p->ball == NULL)
		return;
	if (player_pending(p) && ball(p) < ROUNDS) {
		atomic_fetch_add_explicit(p->ball, 1, memory_order_release);
		bell_ring(&bells, p->other);
	}
	if (ball(p) >= ROUNDS)
		p->loop.quit = true;
}

static const struct loop_hooks player_hooks = {
	.turn = player_turn,
	.pending = player_pending,
	.deadline = player_deadline,
};

static bool
player_open(struct player *p, unsigned slot)
{
	int rc;

	memset(p, 0, sizeof(*p));
	p->deadline_ns = LOOP_NEVER;
	rc = loop_open(&p->loop, &f.r, &bells, slot, ENTRIES, p, &player_hooks);
	if (rc != 0)
		diag("%s", loop_refusal(rc));
	return rc == 0;
}

static int
partner_main(void *arg)
{
	static struct player p;

	if (!player_open(&p, SLOT_STORE))
		return 1;
	p.ball = arg;
	p.other = SLOT_WAL;
	return loop_run(&p.loop) == 0 ? 0 : 2;
}

/* A lost wake-up would cost a liveness turn, a second. */
static void
test_ping_pong(struct player *p)
{
	_Atomic uint64_t *ball_at = shared_zeros(sizeof(*ball_at));
	uint64_t began = tap_now_ms();
	pid_t pid = child_start(partner_main, ball_at);

	p->ball = ball_at;
	p->other = SLOT_STORE;
	atomic_fetch_add(ball_at, 1);
	is_i64(loop_run(&p->loop), 0, "bells between two");
	bell_ring(&bells, SLOT_STORE);
	is_i64(child_end(pid), 0, "the other, too");
	diag("%u ms", (unsigned)(tap_now_ms() - began));
	ok(counter_sum(f.r.counters, C_BELLS) <= ROUNDS + 1 &&
		counter_sum(f.r.counters, C_BELLS) > 0,
	    "wake-ups are counted: %u",
	    (unsigned)counter_sum(f.r.counters, C_BELLS));
	ok(counter_sum(f.r.counters, C_SYSCALLS) > 0, "enters are counted");
	p->ball = NULL;
	p->loop.quit = false;
	munmap(ball_at, sizeof(*ball_at));
}

static void
counted(void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct player *p = ctx;

	(void)flags;
	p->done += res == 0 && slot == 0xabcdef && generation == 77;
}

static void
nops(struct player *p, unsigned kind, unsigned count)
{
	while (count-- > 0) {
		struct io_uring_sqe *sqe = loop_sqe(&p->loop);

		if (sqe == NULL) {
			ok(false, "the queue takes more than it holds");
			return;
		}
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, loop_tag(kind, 0xabcdef, 77));
	}
}

static void
test_queue(struct player *p)
{
	unsigned i;

	loop_on(&p->loop, KIND_COUNTED, counted);
	nops(p, KIND_COUNTED, 3 * ENTRIES);
	nops(p, KIND_NOBODYS, 5);
	for (i = 0; i < 10; i++)
		if (loop_poll(&p->loop) != 0)
			ok(false, "poll");
	is_u64(p->done, 3 * ENTRIES, "each completion finds its handler");
	is_u64(counter_sum(f.r.counters, C_STALE_CQES), 5,
	    "those that nobody handles are counted");
}

static bool
rang(unsigned slot)
{
	struct pollfd poll_for = { .fd = bells.fd[slot], .events = POLLIN };
	eventfd_t value;

	return poll(&poll_for, 1, 0) == 1 &&
	       eventfd_read(bells.fd[slot], &value) == 0;
}

static bool
rings_when_completed(struct player *p)
{
	unsigned i;

	nops(p, KIND_COUNTED, 1);
	for (i = 0; i < 3; i++)
		(void)loop_poll(&p->loop);
	return rang(SLOT_GATEWAY);
}

static void
test_relay(struct player *p)
{
	is_i64(loop_relay_to(&p->loop, SLOT_GATEWAY), 0, "a relay");
	ok(!rings_when_completed(p), "is off at first");
	loop_relay(&p->loop, true);
	ok(rings_when_completed(p), "on, a completion rings the other's bell");
	loop_relay(&p->loop, false);
	ok(!rings_when_completed(p), "off, it does not");
}

static void
stop_at_timer(void *ctx)
{
	struct player *p = ctx;

	p->loop.quit = p->loop.now_ns >= p->deadline_ns;
}

static void
stop_at_step(void *ctx)
{
	struct player *p = ctx;

	p->turns++;
	p->step = loop_shutdown(&p->loop);
	if (p->step == SHUTDOWN_NONE)
		/* Behind the look that the loop has had. */
		seq_shutdown(f.r.seq, SHUTDOWN_DRAINING_LISTENERS);
	else
		p->loop.quit = true;
}

/* One that slept past its timer would take a liveness turn, a second. */
static void
test_timer(struct player *p)
{
	uint64_t began, took = UINT64_MAX;
	unsigned try;

	p->loop.hooks.turn = stop_at_timer;
	/* A busy machine may spoil a try, not all. */
	for (try = 0; try < 20 && took >= 900; try++) {
		began = tap_now_ms();
		p->deadline_ns = mono_ns() + 50 * NS_PER_MS;
		p->loop.quit = false;
		if (loop_run(&p->loop) != 0)
			ok(false, "until a timer");
		took = tap_now_ms() - began;
		if (took < 49)
			ok(false, "not before its time");
	}
	ok(took < 900, "a timer ends a sleep: %u ms", (unsigned)took);
	p->deadline_ns = LOOP_NEVER;
	p->loop.quit = false;
}

static void
test_step(struct player *p)
{
	uint64_t sleeps = atomic_load(&f.r.slots->row[SLOT_WAL].sleeps);

	p->loop.hooks.turn = stop_at_step;
	p->turns = 0;
	is_i64(loop_run(&p->loop), 0, "until the stop");
	is_u64(p->turns, 2, "a step that came during the turn is seen next");
	is_u64(atomic_load(&f.r.slots->row[SLOT_WAL].sleeps), sleeps,
	    "without a sleep");
	loop_drained(&p->loop, 3);
	loop_drained(&p->loop, 2);
	is_u64(atomic_load(&f.r.slots->row[SLOT_WAL].drained), 3,
	    "an answer to a step never goes back");
}

int
main(void)
{
	static struct player p;
	unsigned i;

	fixture_open(&f);
	bells.wakes = f.r.wakes;
	for (i = 0; i < SLOT_MAX; i++)
		bells.fd[i] = eventfd(0, EFD_CLOEXEC);
	if (!player_open(&p, SLOT_WAL))
		skip_all("no io_uring here");
	test_ping_pong(&p);
	test_queue(&p);
	test_relay(&p);
	test_timer(&p);
	test_step(&p);
	loop_close(&p.loop);
	fixture_close(&f);
	return tap_done();
}
