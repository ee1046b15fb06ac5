/*
 * The pure parts of wal: when to flush, what a completion means, what the
 * place means where the chain stops. Every row of the rules.
 */
#include "t/tap.h"

#include <errno.h>

#include "shm/log/log_judge.h"
#include "shm/log/segment.h"
#include "workers/wal/wal_plan.h"

static enum plan_action
plan(uint32_t flights, uint64_t bytes, bool last_closed, uint64_t waiting,
    bool must_close)
{
	struct plan_in in = { .flights = flights,
		.flight_bytes = bytes,
		.last_closed = last_closed,
		.waiting = waiting,
		.block = 4096,
		.must_close = must_close };

	return wal_plan(&in);
}

static void
test_plan(void)
{
	is_u64(plan(0, 0, false, 0, false), PLAN_WAIT, "nothing waits");
	is_u64(plan(0, 0, false, 0, true), PLAN_WAIT, "nothing to close");
	is_u64(plan(0, 0, false, 100, false), PLAN_FLUSH, "idle: at once");
	is_u64(plan(0, 0, false, 65535, false), PLAN_FLUSH, "below 64 KiB");
	is_u64(plan(0, 0, false, 65536, false), PLAN_FLUSH_CLOSED, "64 KiB");
	is_u64(plan(0, 0, false, 100, true), PLAN_FLUSH_CLOSED, "must close");
	is_u64(plan(1, 4096, false, 100, false), PLAN_WAIT, "depth 1");
	is_u64(plan(1, 4096, false, 1 << 17, false), PLAN_WAIT,
	    "none beside an open one");
	is_u64(plan(1, 4096, false, 1 << 17, true), PLAN_WAIT,
	    "nor when it must close");
	is_u64(plan(1, 65536, true, 100, false), PLAN_WAIT,
	    "little waits beside a closed one");
	is_u64(plan(1, 65536, true, 65536, false), PLAN_FLUSH_CLOSED,
	    "much goes beside it");
	is_u64(plan(3, 3 * 65536, true, 65536, false), PLAN_FLUSH_CLOSED,
	    "up to four");
	is_u64(plan(4, 4 * 65536, true, 65536, false), PLAN_WAIT, "not five");
	is_u64(plan(1, SEGMENT_FLIGHT_WINDOW - 65536, true, 65536, false),
	    PLAN_WAIT, "not beyond the window");
}

static void
test_completions(void)
{
	is_u64(wal_flight_written(8192, 8192, 4096, false), FLIGHT_DURABLE,
	    "direct: written is durable");
	is_u64(wal_flight_written(8192, 8192, 4096, true), FLIGHT_GO_ON,
	    "buffered: the sync is to come");
	is_u64(wal_flight_written(4096, 8192, 4096, false), FLIGHT_REWRITE,
	    "short");
	is_u64(wal_flight_written(100, 8192, 4096, false), FLIGHT_LOST,
	    "shorter than a block");
	is_u64(wal_flight_written(0, 8192, 4096, true), FLIGHT_LOST, "none");
	is_u64(wal_flight_written(-EINTR, 8192, 4096, true), FLIGHT_REWRITE,
	    "interrupted");
	is_u64(wal_flight_written(-EAGAIN, 8192, 4096, true), FLIGHT_REWRITE,
	    "again");
	is_u64(wal_flight_written(-EIO, 8192, 4096, false), FLIGHT_LOST,
	    "an error is final");
	is_u64(wal_flight_written(-ENOSPC, 8192, 4096, false), FLIGHT_LOST,
	    "also that of space");
	is_u64(wal_flight_written(9000, 8192, 4096, false), FLIGHT_LOST,
	    "more than asked");
	is_u64(wal_flight_synced(0, true), FLIGHT_DURABLE, "synced");
	is_u64(wal_flight_synced(-ECANCELED, true), FLIGHT_SYNC,
	    "the link broke behind a complete write");
	is_u64(wal_flight_synced(-ECANCELED, false), FLIGHT_GO_ON,
	    "or behind a short one, which is written again");
	is_u64(wal_flight_synced(-EIO, true), FLIGHT_LOST, "never retried");
	is_u64(wal_flight_synced(-EIO, false), FLIGHT_LOST, "nor early");
}

static enum judge_verdict
judge(uint64_t vlsn, uint64_t durable, int end, bool inside, bool behind)
{
	struct judge_in in = { .vlsn = vlsn,
		.durable = durable,
		.successor = end >= 0,
		.end_agrees = end == 1,
		.inside = inside,
		.behind = behind };

	return log_judge(&in);
}

static void
test_judge(void)
{
	is_u64(judge(10, 8, -1, false, false), JUDGE_CLEAN, "an end");
	is_u64(judge(10, 8, -1, true, false), JUDGE_TORN, "inside a flush");
	is_u64(judge(10, 8, -1, false, true), JUDGE_TORN, "a lost flight");
	is_u64(judge(10, 10, -1, true, true), JUDGE_TORN, "just durable");
	is_u64(judge(10, 11, -1, false, false), JUDGE_DAMAGED, "one missing");
	is_u64(judge(10, 11, -1, true, true), JUDGE_DAMAGED, "however it is");
	is_u64(judge(10, 8, 1, false, false), JUDGE_CLEAN, "as the next says");
	is_u64(judge(10, 8, 1, true, true), JUDGE_CLEAN,
	    "a tear that an earlier boot has cut");
	is_u64(judge(10, 8, 0, false, false), JUDGE_DAMAGED,
	    "short of what the next says");
}

int
main(void)
{
	test_plan();
	test_completions();
	test_judge();
	return tap_done();
}
