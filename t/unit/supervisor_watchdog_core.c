/*
 * Boot budgets and liveness: a stage's budget runs from its first phase, the
 * total from the boot's begin; the nearer deadline counts and is named; a
 * supervisor that was held up itself judges nobody.
 */
#include "supervisor/watchdog_core.h"

#include "shm/bits.h"
#include "t/tap.h"

#define MS(n) ((uint64_t)(n)*NS_PER_MS)

static uint64_t entered[PHASE_COUNT];

static struct watchdog_in
boot_at(uint64_t now_ms, enum phase phase)
{
	return (struct watchdog_in){ .now_ns = MS(1000 + now_ms),
		.started_ns = MS(1000),
		.phase = phase,
		.mode = RECOVERY_NORMAL,
		.entered_ns = entered,
		.budget = { 10, 20, 500, 100, 2000 } };
}

static void
test_recover(void)
{
	struct watchdog_in in = boot_at(499, PHASE_BOOT);
	struct watchdog_out out = watchdog_check(&in);

	ok(!out.expired && out.stage == STAGE_RECOVER, "recover, in time");
	is_u64(out.deadline_ns, MS(1500), "until its budget is used up");
	in = boot_at(500, PHASE_RAFT_METADATA_REPLAY);
	entered[PHASE_WAL_RECOVERY] = MS(1100);
	entered[PHASE_CLUSTER_CATALOG_OPEN] = MS(1200);
	entered[PHASE_RAFT_METADATA_REPLAY] = MS(1300);
	out = watchdog_check(&in);
	ok(out.expired && !out.total && out.limit_ms == 500,
	    "later phases of the stage get no new budget");
	in.mode = RECOVERY_READONLY;
	out = watchdog_check(&in);
	ok(out.expired && out.stage == STAGE_READONLY_RECOVERY,
	    "readonly recovery has the same");
	in.mode = RECOVERY_FORCE;
	out = watchdog_check(&in);
	ok(out.expired && out.stage == STAGE_FORCE_RECOVERY,
	    "force recovery, too");
}

static void
test_warmup(void)
{
	struct watchdog_in in = boot_at(560, PHASE_TRANSPORT_BIND);
	struct watchdog_out out;

	entered[PHASE_DATA_GROUPS_REPLAY] = MS(1490);
	entered[PHASE_TRANSPORT_BIND] = MS(1500);
	out = watchdog_check(&in);
	ok(!out.expired && out.stage == STAGE_WARMUP, "warmup, in time");
	is_u64(out.deadline_ns, MS(1590), "from the stage's first phase on");
	in.now_ns = MS(1590);
	ok(watchdog_check(&in).expired, "and not a moment longer");
	in.budget.total_ms = 555;
	out = watchdog_check(&in);
	ok(out.expired && out.total && out.limit_ms == 555,
	    "the total counts when it is nearer");
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
	test_recover();
	test_warmup();
	test_liveness();
	return tap_done();
}
