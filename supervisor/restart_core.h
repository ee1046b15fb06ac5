/*
 * What follows when a worker has exited: pure, no clock, no I/O.
 */
#ifndef SUPERVISOR_RESTART_CORE_H
#define SUPERVISOR_RESTART_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/fault.h"

#define RESTART_LIMIT_MAX 1000 /* the bound of [restart] limit */

/* Reasons that the caller has more to say of; compared by address. */
extern const char RESTART_TOO_OFTEN[]; /* [restart] limit was reached */
extern const char RESTART_WAITED[]; /* [restart] give_up was */
extern const char RESTART_DOWN[]; /* WORKER: only now and then from here on */

enum restart_policy {
	POLICY_WORKER, /* it alone starts again */
	POLICY_NODE /* the node boots again from disk */
};

enum exit_kind {
	EXIT_RETURNED, /* code 0, though nobody asked */
	EXIT_FAILED, /* any other code */
	EXIT_RESTART, /* WORKER_EXIT_RESTART, or restart_wanted */
	EXIT_WORLD, /* WORKER_EXIT_WORLD: a fault that is waited out */
	EXIT_MEMORY, /* killed by the kernel, which had no more memory */
	EXIT_OVER, /* such a fault is over, a new boot makes all whole */
	EXIT_CONFIG, /* WORKER_EXIT_CONFIG */
	EXIT_KILLED /* by a signal */
};

enum restart_action {
	RESTART_WORKER,
	RESTART_NODE,
	RESTART_WAIT, /* the node boots again and again until it works */
	RESTART_GIVE_UP /* stop everything, exit non-zero */
};

/* When restarts happened; kept over node restarts. */
struct restart_history {
	unsigned head; /* index of the oldest */
	unsigned count;
	uint64_t at_ns[RESTART_LIMIT_MAX];
};

struct restart_in {
	enum restart_policy policy;
	enum exit_kind kind;
	bool boot_failed; /* the sequencer says so */
	enum fault_kind fault; /* boot_failed: of what kind the fault is */
	bool spare; /* the service goes on without this worker */
	bool ever_served; /* gateway_enable was reached since the start */
	unsigned worker_recent, node_recent; /* restarts within the window */
	unsigned world_recent; /* those for faults of the world: not counted */
	unsigned over_again; /* OVER: boots in a row that such a fault ended
				again soon after they served */
	uint64_t waited_ms; /* since the node stopped serving for such a one */
	uint64_t give_up_ms; /* 0 = never */
	unsigned limit;
	uint64_t backoff_min_ms, backoff_max_ms;
};

struct restart_out {
	enum restart_action action;
	uint64_t delay_ms; /* WORKER, NODE, WAIT */
	bool counted; /* NODE: it is one of `limit` */
	const char *why; /* why not the mildest; constant text or "" */
};

struct restart_out restart_decide(const struct restart_in *in);

/* Pause before the restart that follows `recent` others. */
uint64_t restart_backoff_ms(unsigned recent, uint64_t min_ms, uint64_t max_ms);

/* Forget what is older than the window; how many are left. */
unsigned
restart_recent(struct restart_history *h, uint64_t now_ns, uint64_t window_ns);
void restart_note(struct restart_history *h, uint64_t now_ns);

#endif
