/*
 * Restart decisions. The rules, mildest first: a worker whose death is safe
 * starts alone; one that took shared state with it, or that dies too often,
 * makes the node boot again; a node that never served, or that boots too
 * often, stops, so that who runs it sees the cause instead of a loop.
 */
#include "supervisor/restart_core.h"

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
	return (struct restart_out){ action, delay_ms, why };
}

static struct restart_out
node_again(const struct restart_in *in, const char *why)
{
	if (!in->ever_served)
		return outcome(RESTART_GIVE_UP, 0, "the node never served");
	if (in->node_recent >= in->limit)
		return outcome(RESTART_GIVE_UP, 0, "too many node restarts");
	return outcome(RESTART_NODE,
	    restart_backoff_ms(
		in->node_recent, in->backoff_min_ms, in->backoff_max_ms),
	    why);
}

struct restart_out
restart_decide(const struct restart_in *in)
{
	if (in->kind == EXIT_CONFIG)
		return outcome(
		    RESTART_GIVE_UP, 0, "the configuration is refused");
	if (in->boot_failed)
		return node_again(in, "the boot failed");
	if (in->policy == POLICY_NODE)
		return node_again(in, "");
	if (in->kind == EXIT_RESTART)
		return node_again(in, "it asked for a new boot");
	if (in->worker_recent >= in->limit)
		return node_again(in, "it restarted too often");
	return outcome(RESTART_WORKER,
	    restart_backoff_ms(
		in->worker_recent, in->backoff_min_ms, in->backoff_max_ms),
	    "");
}
