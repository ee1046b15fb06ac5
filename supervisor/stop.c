/*
 * Stopping in order: each step of the bus is published, every worker answers
 * in its row when its part is done, and who does not within the step's budget
 * is named and killed. Nothing acknowledged is lost by that: the log has it.
 */
#include "supervisor/node.h"

#include "shm/say.h"
#include "shm/trouble.h"
#include "supervisor/listen.h"
#include "supervisor/stop_core.h"

static struct stop_out
decide(const struct node *n, uint64_t now_ns)
{
	uint32_t drained[SLOT_MAX];
	struct stop_in in = {
		.step = n->step,
		.now_ns = now_ns,
		.deadline_ns = n->step_deadline_ns,
		.alive = children_alive(n),
		.drained = drained,
	};

	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		drained[slot] = atomic_load_explicit(
		    &n->region.slots->row[slot].drained, memory_order_acquire);
		if (n->child[slot].killed)
			in.killed |= 1u << slot;
	}
	return stop_decide(&in);
}

static void
publish(struct node *n, enum shutdown_step step)
{
	n->step = step;
	n->step_deadline_ns =
	    mono_ns() + n->conf.shutdown.phase_budget_ms * NS_PER_MS;
	say_debug("stop: %s", shutdown_name(step));
	seq_shutdown(n->region.seq, step);
	bell_ring_all(&n->bells);
}

void
node_stop(struct node *n, const char *why)
{
	switch (n->mode) {
	case NODE_STOPPING:
		return;
	case NODE_ENDING: /* a restart was wanted: now it is not */
		event_add_as(&n->region, SLOT_SUPERVISOR, EVENT_INFO,
		    EVENT_CAUSE, "stop: %s", why);
		node_boots_no_more(n);
		return;
	case NODE_PAUSED: /* health may be there, and answer who asked */
	case NODE_BOOTING:
	case NODE_SERVING:
		break;
	}
	n->mode = NODE_STOPPING;
	children_forget_restarts(n);
	event_add_as(&n->region, SLOT_SUPERVISOR, EVENT_INFO, EVENT_CAUSE,
	    "stop: %s", why);
	trouble_drop(&n->region, TROUBLE_BOOT_WAITS);
	notify("STOPPING=1\nSTATUS=stopping");
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if (n->child[slot].pid != 0)
			atomic_store_explicit(&n->region.slots->row[slot].state,
			    SLOT_STOPPING, memory_order_release);
	publish(n, SHUTDOWN_DRAINING_LISTENERS);
}

void
node_stop_signal(struct node *n, const char *name)
{
	if (++n->stop_signals == 1) {
		node_stop(n, name);
		return;
	}
	if (n->mode == NODE_ENDING && !n->boot_again)
		return;
	say_warnx("stop: %s again: every worker is killed", name);
	n->boot_again = false;
	if (n->mode == NODE_STOPPING)
		node_give_up(n, NODE_EXIT_FAILED);
}

/* Name and kill who holds the step up. */
static void
kill_offenders(struct node *n, uint32_t offenders)
{
	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		if ((offenders & 1u << slot) == 0 || n->child[slot].killed)
			continue;
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN,
		    "stop: %s: %s (pid %d) not done in %u ms: killed",
		    shutdown_name(n->step), slot_name(slot),
		    (int)n->child[slot].pid, n->conf.shutdown.phase_budget_ms);
		child_kill(n, slot, NULL);
	}
}

void
node_stop_turn(struct node *n)
{
	struct stop_out out;

	while (n->mode == NODE_STOPPING && !n->finished) {
		out = decide(n, n->now_ns);
		if (out.action == STOP_WAIT)
			return;
		if (out.action == STOP_KILL) {
			kill_offenders(n, out.offenders);
			return;
		}
		if (out.action == STOP_DONE) {
			n->finished = true;
			return;
		}
		/* No gateway accepts any more: nobody shall wait in vain. */
		if (n->step == SHUTDOWN_DRAINING_LISTENERS)
			listen_refuse(&n->listen, true);
		publish(n, n->step + 1);
	}
}

bool
node_stop_pending(const struct node *n)
{
	return n->mode == NODE_STOPPING &&
	       decide(n, n->now_ns).action != STOP_WAIT;
}
