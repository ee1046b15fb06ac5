/*
 * Signs of life, twice a second: a worker without a heartbeat, or a reader
 * whose end the store's memory waits for, is killed; its policy says what
 * follows. One that does not even end of that is named.
 */
#include "supervisor/node.h"

#include <inttypes.h>
#include <stdio.h>

#include "shm/table.h"
#include "supervisor/watchdog_core.h"

/* Beats come once a second at least, and the shortest time-out is 2 s. */
#define ROUND_NS      (NS_PER_S / 2)
#define READ_LIMIT_NS (2 * NS_PER_S)
#define STUCK_NS      (5 * NS_PER_S) /* after SIGKILL */

/*
 * Is the worker's heart silent for too long? A boot has its own watchdog; a
 * worker that is restarted alone has the init budget for its opening.
 */
static bool
silent(const struct node *n, unsigned slot, uint64_t *silent_ms)
{
	const struct slot_row *row = &n->region.slots->row[slot];
	uint64_t beat =
	    atomic_load_explicit(&row->heartbeat_ns, memory_order_acquire);
	uint32_t state =
	    atomic_load_explicit(&row->state, memory_order_relaxed);

	bool booting = !seq_reached(n->region.seq, PHASE_GATEWAY_ENABLE);

	*silent_ms = n->now_ns > beat ? (n->now_ns - beat) / NS_PER_MS : 0;
	return liveness_expired(&(struct liveness_in){
	    .now_ns = n->now_ns,
	    .checked_ns = n->live_checked_ns,
	    .heartbeat_ns = beat,
	    .started_ns = n->child[slot].started_ns,
	    .running = state == SLOT_RUNNING,
	    .timeout_ms = n->conf.liveness.timeout_ms,
	    .opening_ms = booting ? n->conf.boot.total_budget_ms
				  : n->conf.boot.init_budget_ms,
	});
}

static void
check(struct node *n, unsigned slot, bool late)
{
	uint64_t silent_ms;
	char why[96];

	if (n->child[slot].pid == 0 || n->child[slot].killed)
		return;
	if (silent(n, slot, &silent_ms)) {
		snprintf(why, sizeof(why), "no heartbeat for %" PRIu64 " ms",
		    silent_ms);
		child_kill(n, slot, why);
	} else if (!late && slot >= SLOT_GATEWAY &&
		   kv_reader_stuck(
		       &n->region, slot, n->now_ns, READ_LIMIT_NS)) {
		child_kill(n, slot,
		    "in one read for more than 2 s, the "
		    "store waits for its end");
	}
}

/* All that follows waits for it, so say once what that is. */
static void
name_stuck(struct node *n, unsigned slot)
{
	struct child *c = &n->child[slot];

	if (c->pid == 0 || !c->killed || c->killed_ns == 0 ||
	    n->now_ns < c->killed_ns + STUCK_NS)
		return;
	c->killed_ns = 0;
	event_add(&n->region, SLOT_SUPERVISOR, EVENT_ERROR,
	    "%s (pid %d): killed 5 s ago and still there: it hangs in the "
	    "kernel, as over a disk that does not answer, or a debugger has "
	    "it; the node waits",
	    slot_name(slot), (int)c->pid);
}

void
node_live_turn(struct node *n)
{
	bool late;

	if (n->now_ns < n->live_checked_ns + ROUND_NS)
		return;
	/* Held up ourselves: the others were perhaps, too. */
	late = n->now_ns > n->live_checked_ns + 2 * ROUND_NS;
	if (n->mode == NODE_BOOTING || n->mode == NODE_SERVING) {
		for (unsigned slot = 0; slot < SLOT_MAX; slot++)
			check(n, slot, late);
		children_up(n);
	}
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		name_stuck(n, slot);
	n->live_checked_ns = n->now_ns;
}

uint64_t
node_live_deadline(const struct node *n)
{
	return n->live_checked_ns + ROUND_NS;
}
