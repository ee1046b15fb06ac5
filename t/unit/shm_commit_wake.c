/*
 * Who is woken when `committed` was raised: the gateways that wait for it,
 * group for its own records and once, the store when something is urgent, much
 * waits, somebody wants it, or time has passed; and nobody else. Two that
 * raise it ring group once between them.
 */
#include "shm/commit_wake.h"

#include <sys/eventfd.h>

#include "shm/wake.h"
#include "t/shm_fixture.h"

static struct fixture fix;
static struct bells bells;
static struct commit_wake cw;

static void
bells_open(void)
{
	unsigned i;

	bells.wakes = fix.r.wakes;
	for (i = 0; i < SLOT_MAX; i++)
		bells.fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	commit_wake_open(&cw, &fix.r, &bells);
}

/* Everybody sleeps; after what follows, who was rung? A mask of slots. */
static void
sleep_all(void)
{
	unsigned i;

	for (i = 0; i < SLOT_MAX; i++)
		bell_sleep_begin(&bells, i);
}

static uint64_t
rung(void)
{
	uint64_t mask = 0, count;
	unsigned i;

	for (i = 0; i < SLOT_MAX; i++)
		if (read(bells.fd[i], &count, sizeof(count)) ==
		    (ssize_t)sizeof(count))
			mask |= UINT64_C(1) << i;
	return mask;
}

#define GATEWAY (UINT64_C(1) << SLOT_GATEWAY)
#define GROUP   (UINT64_C(1) << SLOT_GROUP)
#define STORE   (UINT64_C(1) << SLOT_STORE)

static uint64_t
raised(uint64_t committed, uint64_t now_ns)
{
	position_set(&fix.r.pos->committed, epoch_word(1, committed));
	position_set(&fix.r.pos->durable, committed);
	sleep_all();
	commit_wake_raised(&cw, now_ns);
	return rung();
}

/* Others commit it before it is on this node's disk: then that brings it. */
static uint64_t
flushed(uint64_t durable, uint64_t now_ns)
{
	position_set(&fix.r.pos->durable, durable);
	sleep_all();
	commit_wake_raised(&cw, now_ns);
	return rung();
}

static void
test_waiters(void)
{
	struct positions *pos = fix.r.pos;
	struct commit_wake other;

	position_set(&pos->applied, 1);
	is_u64(raised(1, 0), 0, "nobody waits: nobody is woken");
	is_u64(commit_wake_deadline(&cw), UINT64_MAX, "nor later");
	position_set(&pos->commit_waited, 1);
	is_u64(raised(1, 0), GATEWAY, "the gateway that waits");
	position_set(&pos->commit_waited, 2);
	is_u64(raised(1, 0), 0, "one that there is not");
	position_set(&pos->commit_waited, 0);
	position_set(&pos->group_waits, 3);
	position_set(&pos->applied, 3);
	is_u64(raised(2, 0), 0, "group waits for more");
	commit_wake_open(&other, &fix.r, &bells);
	is_u64(raised(3, 0), GROUP, "for that");
	is_u64(position_get(&pos->group_waits), 0, "no more");
	sleep_all();
	commit_wake_raised(&other, 0);
	is_u64(rung(), 0, "and once, whoever raised it");
}

static void
test_store(void)
{
	struct positions *pos = fix.r.pos;
	struct walbuf_head *h = fix.r.walbuf.h;
	uint64_t now = NS_PER_S;

	is_u64(raised(4, now), 0, "the store may wait");
	is_u64(commit_wake_deadline(&cw), now + COMMIT_APPLY_MS * NS_PER_MS,
	    "so long");
	is_u64(raised(5, now + 1), 0, "for more");
	is_u64(commit_wake_deadline(&cw), now + COMMIT_APPLY_MS * NS_PER_MS,
	    "from the first on");
	commit_wake_turn(&cw, commit_wake_deadline(&cw) - 1);
	is_u64(rung(), 0, "not before");
	commit_wake_turn(&cw, commit_wake_deadline(&cw));
	is_u64(rung(), STORE, "then");
	is_u64(commit_wake_deadline(&cw), UINT64_MAX, "once");
	(void)raised(6, now);
	position_set(&pos->applied, 6);
	sleep_all();
	commit_wake_turn(&cw, 2 * now);
	is_u64(rung(), 0, "not if it came by itself");
	position_set(&pos->urgent, 7);
	is_u64(raised(7, now), STORE, "at once for what is urgent");
	is_u64(raised(8, now), 0, "and not for what is behind that");
	position_set(&pos->apply_wanted, 8);
	is_u64(raised(8, now), STORE, "at once if somebody wants it");
	is_u64(commit_wake_deadline(&cw), UINT64_MAX, "then not later, too");
	position_set(&pos->applied, 8);
	is_u64(raised(8 + COMMIT_APPLY_RECORDS - 1, now), 0, "many records");
	is_u64(raised(8 + COMMIT_APPLY_RECORDS, now), STORE, "too many");
	position_set(&pos->applied, 8 + COMMIT_APPLY_RECORDS);
	atomic_store(&h->flushed, COMMIT_APPLY_BYTES - 1);
	is_u64(raised(9 + COMMIT_APPLY_RECORDS, now), 0, "many bytes");
	atomic_store(&h->flushed, COMMIT_APPLY_BYTES);
	is_u64(raised(9 + COMMIT_APPLY_RECORDS, now), STORE, "too many");
}

static void
test_not_here(void)
{
	struct positions *pos = fix.r.pos;
	uint64_t at = 3000, now = NS_PER_S;

	atomic_store(&fix.r.walbuf.h->flushed, 0);
	(void)raised(at, now);
	position_set(&pos->applied, at);
	commit_wake_turn(&cw, commit_wake_deadline(&cw));
	(void)rung();
	position_set(&pos->urgent, at + 2);
	position_set(&pos->committed, epoch_word(1, at + 3));
	is_u64(flushed(at, now), 0, "not here yet: there is nothing to apply");
	is_u64(commit_wake_deadline(&cw), UINT64_MAX, "nor later");
	is_u64(flushed(at + 1, now), STORE, "a part is");
	position_set(&pos->applied, at + 1);
	is_u64(flushed(at + 3, now), STORE, "and then what is urgent, at once");
	position_set(&pos->applied, at + 2);
	is_u64(flushed(at + 3, now), 0, "what is behind it may wait");
	is_u64(commit_wake_deadline(&cw), now + COMMIT_APPLY_MS * NS_PER_MS,
	    "so long");
}

int
main(void)
{
	unsigned i;

	fixture_open(&fix);
	bells_open();
	test_waiters();
	test_store();
	test_not_here();
	for (i = 0; i < SLOT_MAX; i++)
		close(bells.fd[i]);
	fixture_close(&fix);
	return tap_done();
}
