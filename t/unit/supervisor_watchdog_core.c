/*
 * Boot budgets and liveness: each stage has its own budget, from when it was
 * reached, the total runs from the boot's begin; the nearer deadline counts
 * and is named; a supervisor that was held up itself judges nobody.
 */
#include "supervisor/watchdog_core.h"

#include "shm/assert.h"
#include "shm/bits.h"
#include "t/tap.h"

#define MS(n) ((uint64_t)(n)*NS_PER_MS)

/* At now_ms of a boot, in a stage that began at stage_ms. */
static struct watchdog_in
boot_at(uint64_t now_ms, enum stage stage, uint64_t stage_ms)
{
	return (struct watchdog_in){ .now_ns = MS(1000 + now_ms),
		.started_ns = MS(1000),
		.stage = stage,
		.stage_ns = MS(1000 + stage_ms),
		.budget = { 10, 20, 500, 100, 2000 } };
}

static void
test_stages(void)
{
	static const struct {
		enum stage stage;
		uint64_t ms;
	} want[] = {
		{ STAGE_INIT, 10 },
		{ STAGE_MIGRATE, 20 },
		{ STAGE_RECOVER, 500 },
		{ STAGE_READONLY_RECOVERY, 500 },
		{ STAGE_FORCE_RECOVERY, 500 },
		{ STAGE_WARMUP, 100 },
	};

	for (size_t i = 0; i < NITEMS(want); i++) {
		struct watchdog_in in =
		    boot_at(39 + want[i].ms, want[i].stage, 40);
		struct watchdog_out out = watchdog_check(&in);

		ok(!out.expired && out.limit_ms == want[i].ms,
		    "%s has its own budget", stage_name(want[i].stage));
		is_u64(out.deadline_ns, MS(1040 + want[i].ms),
		    "from when it was reached");
		in.now_ns += MS(1);
		out = watchdog_check(&in);
		ok(out.expired && !out.total, "and not a moment longer");
	}
}

static void
test_total(void)
{
	struct watchdog_in in = boot_at(1999, STAGE_RECOVER, 1600);
	struct watchdog_out out = watchdog_check(&in);

	ok(!out.expired && out.total && out.limit_ms == 2000,
	    "the total counts when it is nearer");
	is_u64(out.deadline_ns, MS(3000), "from the boot's begin");
	in.now_ns += MS(1);
	ok(watchdog_check(&in).expired, "and it is enforced");
}

static void
test_liveness(void)
{
	struct liveness_in in = { .now_ns = MS(20000),
		.checked_ns = MS(19000),
		.heartbeat_ns = MS(9999),
		.started_ns = MS(5000),
		.running = true,
		.timeout_ms = 10000,
		.opening_ms = 60000 };

	ok(liveness_expired(&in), "silent for longer than the time-out");
	in.heartbeat_ns = MS(10000);
	ok(!liveness_expired(&in), "not a moment earlier");
	in.heartbeat_ns = MS(1);
	in.started_ns = MS(15000);
	ok(!liveness_expired(&in), "a new process counts from its start");
	in.started_ns = MS(1000);
	in.running = false;
	ok(!liveness_expired(&in), "opening may take longer");
	in.running = true;
	ok(liveness_expired(&in), "running may not");
	in.checked_ns = MS(14999);
	ok(!liveness_expired(&in), "a late judge judges nobody");
	in.checked_ns = MS(19000);
	in.heartbeat_ns = MS(20001);
	ok(!liveness_expired(&in), "a beat after our clock was read is fine");
}

int
main(void)
{
	test_stages();
	test_total();
	test_liveness();
	return tap_done();
}
