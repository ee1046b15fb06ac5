/*
 * Boot deadlines and liveness, as functions of times that the caller read.
 */
#include "supervisor/watchdog_core.h"

#include "shm/bits.h"

static uint64_t
stage_budget(const struct boot_budgets *b, enum stage stage)
{
	switch (stage) {
	case STAGE_INIT:
		return b->init_ms;
	case STAGE_MIGRATE:
		return b->migrate_ms;
	case STAGE_RECOVER:
	case STAGE_READONLY_RECOVERY:
	case STAGE_FORCE_RECOVERY:
		return b->recover_ms;
	case STAGE_WARMUP:
		return b->warmup_ms;
	case STAGE_UNINITIALIZED:
	case STAGE_READY:
	case STAGE_SHUTTING_DOWN:
	case STAGE_FAILED:
	case STAGE_STOPPED:
	case STAGE_COUNT:
		break;
	}
	return b->total_ms;
}

struct watchdog_out
watchdog_check(const struct watchdog_in *in)
{
	uint64_t total = in->started_ns + in->budget.total_ms * NS_PER_MS;
	struct watchdog_out out = { 0 };

	out.limit_ms = stage_budget(&in->budget, in->stage);
	out.deadline_ns = in->stage_ns + out.limit_ms * NS_PER_MS;
	if (total <= out.deadline_ns) {
		out.total = true;
		out.limit_ms = in->budget.total_ms;
		out.deadline_ns = total;
	}
	out.expired = in->now_ns >= out.deadline_ns;
	return out;
}

bool
liveness_expired(const struct liveness_in *in)
{
	uint64_t allowed = in->running ? in->timeout_ms : in->opening_ms;
	uint64_t sign = in->heartbeat_ns > in->started_ns ? in->heartbeat_ns
							  : in->started_ns;

	if (in->now_ns - in->checked_ns > in->timeout_ms * NS_PER_MS / 2)
		return false;
	return in->now_ns > sign && in->now_ns - sign > allowed * NS_PER_MS;
}
