/*
 * Deadlines of a boot and signs of life: pure, no clock, no I/O.
 */
#ifndef SUPERVISOR_WATCHDOG_CORE_H
#define SUPERVISOR_WATCHDOG_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/sequencer.h"

struct boot_budgets {
	uint64_t init_ms, migrate_ms, recover_ms, warmup_ms, total_ms;
};

struct watchdog_in {
	uint64_t now_ns;
	uint64_t started_ns; /* the boot's begin */
	enum stage stage;
	uint64_t stage_ns; /* when it began */
	struct boot_budgets budget;
};

struct watchdog_out {
	bool expired;
	bool total; /* it was the budget of the whole boot */
	uint64_t limit_ms; /* the budget that counts */
	uint64_t deadline_ns; /* when it is used up */
};

/* The stage's budget, or what is left of the whole boot's if that is less. */
struct watchdog_out watchdog_check(const struct watchdog_in *in);

struct liveness_in {
	uint64_t now_ns;
	uint64_t checked_ns; /* the check before this one */
	uint64_t heartbeat_ns, started_ns; /* of the worker */
	bool running; /* false: still opening */
	uint64_t timeout_ms, opening_ms; /* how long each may be silent */
};

/*
 * Silent for too long? A supervisor that was itself held up (a stopped
 * process group, a frozen container) sees old heartbeats everywhere, so a
 * check that comes late judges nobody.
 */
bool liveness_expired(const struct liveness_in *in);

#endif
