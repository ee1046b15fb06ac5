/*
 * Restart decisions. The rules, mildest first: a worker whose death is safe
 * starts alone; one that took shared state with it, or that dies too often,
 * makes the node boot again; a node that never served, or that boots too
 * often, stops, so that who runs it sees the cause instead of a loop. A fault
 * of the world is no fault of the node's: it is waited out, and not counted.
 * Nor does a worker that others do without end the service.
 */
#include "supervisor/restart_core.h"

const char RESTART_TOO_OFTEN[] = "too many node restarts";
const char RESTART_WAITED[] = "it was waited for long enough";
const char RESTART_DOWN[] = "it does not stay up";

uint64_t
restart_backoff_ms(unsigned recent, uint64_t min_ms, uint64_t max_ms)
{
	uint64_t ms = min_ms;

	while (recent-- > 0 && ms < max_ms)
		ms *= 2;
	return ms < max_ms ? ms : max_ms;
}

unsigned
restart_recent(struct restart_history *h, uint64_t now_ns, uint64_t window_ns)
{
	while (h->count > 0 && h->at_ns[h->head] + window_ns < now_ns) {
		h->head = (h->head + 1) % RESTART_LIMIT_MAX;
		h->count--;
	}
	return h->count;
}

void
restart_note(struct restart_history *h, uint64_t now_ns)
{
	/* Full only at the highest limit: the oldest makes room. */
	if (h->count == RESTART_LIMIT_MAX) {
		h->head = (h->head + 1) % RESTART_LIMIT_MAX;
		h->count--;
	}
	h->at_ns[(h->head + h->count) % RESTART_LIMIT_MAX] = now_ns;
	h->count++;
}

static struct restart_out
outcome(enum restart_action action, uint64_t delay_ms, const char *why)
{
	return (struct restart_out){ .action = action,
		.delay_ms = delay_ms,
		.counted = action == RESTART_NODE,
		.why = why };
}

static uint64_t
backoff(const struct restart_in *in, unsigned recent)
{
	return restart_backoff_ms(
	    recent, in->backoff_min_ms, in->backoff_max_ms);
}

static struct restart_out
node_again(const struct restart_in *in, const char *why)
{
	if (!in->ever_served)
		return outcome(RESTART_GIVE_UP, 0, "the node never served");
	if (in->node_recent >= in->limit)
		return outcome(RESTART_GIVE_UP, 0, RESTART_TOO_OFTEN);
	return outcome(RESTART_NODE, backoff(in, in->node_recent), why);
}

static struct restart_out
wait(const struct restart_in *in)
{
	if (in->give_up_ms != 0 && in->waited_ms >= in->give_up_ms)
		return outcome(RESTART_GIVE_UP, 0, RESTART_WAITED);
	return outcome(RESTART_WAIT, backoff(in, in->world_recent), "");
}

static struct restart_out
boot_again(const struct restart_in *in)
{
	switch (in->fault) {
	case FAULT_WORLD:
		return wait(in);
	case FAULT_SETUP:
		/* What worked once was changed, and may be changed back. */
		if (in->ever_served)
			return wait(in);
		return outcome(RESTART_GIVE_UP, 0, "the set-up is wrong");
	case FAULT_DAMAGE:
		return outcome(RESTART_GIVE_UP, 0, "the data are damaged");
	case FAULT_PROGRAM:
		break;
	}
	return node_again(in, "the boot failed");
}

static struct restart_out
over(const struct restart_in *in)
{
	struct restart_out out =
	    outcome(RESTART_NODE, backoff(in, in->over_again), "");

	out.counted = false;
	return out;
}

static bool
is_world(const struct restart_in *in)
{
	return in->kind == EXIT_WORLD || in->kind == EXIT_MEMORY;
}

struct restart_out
restart_decide(const struct restart_in *in)
{
	if (in->kind == EXIT_CONFIG)
		return outcome(
		    RESTART_GIVE_UP, 0, "the configuration is refused");
	/* That its owner died is what the sequencer says of a gate. */
	if (in->boot_failed && !(is_world(in) && in->fault == FAULT_PROGRAM))
		return boot_again(in);
	if (in->kind == EXIT_MEMORY && !in->boot_failed &&
	    in->policy == POLICY_WORKER && in->worker_recent < in->limit)
		return outcome(
		    RESTART_WORKER, backoff(in, in->worker_recent), "");
	/* Again and again: only a boot fits the node to what there is. */
	if (is_world(in))
		return wait(in);
	if (in->kind == EXIT_OVER)
		return over(in);
	if (in->policy == POLICY_NODE)
		return node_again(in, "");
	if (in->kind == EXIT_RESTART)
		return node_again(in, "it asked for a new boot");
	if (in->worker_recent < in->limit)
		return outcome(
		    RESTART_WORKER, backoff(in, in->worker_recent), "");
	if (!in->spare)
		return node_again(in, "it restarted too often");
	return outcome(RESTART_WORKER, in->backoff_max_ms, RESTART_DOWN);
}
