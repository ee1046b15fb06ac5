/*
 * What follows an exit, and the way there when it concerns everybody: kill
 * all (gateways first, so no client sees the others go), wait until the last
 * is reaped, then boot again from disk after a pause, or exit.
 *
 * Client sockets stay open meanwhile: connections wait in their queues. If
 * the next boot does not reach transport_bind within listen_hold they are
 * refused, so that clients go elsewhere.
 */
#include "supervisor/node.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/log.h"
#include "supervisor/listen.h"

static void
end_begin(struct node *n, bool boot_again)
{
	n->mode = NODE_ENDING;
	n->boot_again = boot_again;
	children_forget_restarts(n);
	node_end_turn(n);
}

void
node_give_up(struct node *n, int exit_code)
{
	n->exit_code = exit_code;
	end_begin(n, false);
}

/* What happened: the first error of a boot explains all that came after. */
static const char *
first_cause(const struct node *n, const char *what, char buf[SEQ_ERROR_MAX])
{
	seq_error(n->region.seq, buf);
	return buf[0] != '\0' ? buf : what;
}

/* On stderr too if the log is elsewhere. */
static void
say_stop(struct node *n, const char *what, const char *why)
{
	char buf[SEQ_ERROR_MAX];
	const char *cause = first_cause(n, what, buf);
	/* A failed boot needs no further reason. */
	bool more = why[0] != '\0' && !seq_failed(n->region.seq);

	event_add(&n->region, SLOT_SUPERVISOR, EVENT_ERROR,
	    "the node stops: %s%s%s", cause, more ? ": " : "", more ? why : "");
	if ((n->foreground || n->ready_fd >= 0) && log_fd() != STDERR_FILENO)
		fprintf(stderr, "nodelifed: %s\n", cause);
}

static void
restart_node(struct node *n, uint64_t delay_ms)
{
	restart_note(&n->history, n->now_ns);
	n->restarts++;
	n->boot_delay_ms = delay_ms;
	counter_add(n->region.counters, SLOT_SUPERVISOR, C_NODE_RESTARTS, 1);
	if (n->hold_until_ns == 0)
		n->hold_until_ns =
		    n->now_ns + n->conf.shutdown.listen_hold_ms * NS_PER_MS;
	end_begin(n, true);
}

static struct restart_in
decision(struct node *n, unsigned slot, enum exit_kind kind)
{
	uint64_t window = n->conf.restart.window_ms * NS_PER_MS;
	struct child *c = &n->child[slot];

	return (struct restart_in){
		.policy = slot == SLOT_SUPERVISOR ? POLICY_NODE
						  : worker_row_of(slot)->policy,
		.kind = kind,
		.boot_failed = seq_failed(n->region.seq),
		.ever_served = n->ever_served,
		.worker_recent = restart_recent(&c->history, n->now_ns, window),
		.node_recent = restart_recent(&n->history, n->now_ns, window),
		.limit = n->conf.restart.limit,
		.backoff_min_ms = n->conf.restart.backoff_min_ms,
		.backoff_max_ms = n->conf.restart.backoff_max_ms,
	};
}

void
node_decide(
    struct node *n, unsigned slot, enum exit_kind kind, const char *what)
{
	struct restart_in in;
	struct restart_out out;
	char buf[SEQ_ERROR_MAX];
	const char *sep;

	if (n->mode != NODE_BOOTING && n->mode != NODE_SERVING)
		return;
	in = decision(n, slot, kind);
	out = restart_decide(&in);
	sep = out.why[0] != '\0' ? ": " : "";

	switch (out.action) {
	case RESTART_WORKER:
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN,
		    "%s: it starts again in %llu ms", what,
		    (unsigned long long)out.delay_ms);
		child_restart_later(n, slot, out.delay_ms);
		return;
	case RESTART_NODE:
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_ERROR,
		    "%s%s%s: the node boots again in %llu ms",
		    first_cause(n, what, buf), sep, out.why,
		    (unsigned long long)out.delay_ms);
		restart_node(n, out.delay_ms);
		return;
	case RESTART_GIVE_UP:
		say_stop(n, what, out.why);
		node_give_up(n, kind == EXIT_CONFIG ? EX_CONFIG
				: in.ever_served    ? EX_SOFTWARE
						    : NODE_EXIT_FAILED);
		return;
	}
}

/* Nobody is left. */
static void
all_gone(struct node *n)
{
	const struct control *c = n->region.control;

	region_trim(&n->region);
	/* A stop that was asked for meanwhile would be lost with the region. */
	if (!n->boot_again ||
	    atomic_load_explicit(&c->stop_wanted, memory_order_acquire) != 0) {
		n->finished = true;
		return;
	}
	n->mode = NODE_PAUSED;
	n->boot_at_ns = n->now_ns + n->boot_delay_ms * NS_PER_MS;
}

static void
pause_turn(struct node *n)
{
	int rc;

	if (n->now_ns < n->boot_at_ns)
		return;
	if ((rc = node_boot(n)) != 0) {
		n->exit_code = rc;
		n->finished = true;
	}
}

/* Gateways listen from when the data are there. */
static bool
gateways_listen(const struct node *n)
{
	return n->mode == NODE_BOOTING &&
	       atomic_load_explicit(&n->region.seq->phase,
		   memory_order_acquire) >= PHASE_DATA_GROUPS_REPLAY;
}

/*
 * Refusing would end a gateway's listening for good, so not beside it. One
 * may begin between the look and the refusal: then it is undone.
 */
static void
hold_expired(struct node *n)
{
	n->hold_until_ns = 0;
	if (gateways_listen(n))
		return;
	listen_refuse(&n->listen, false);
	log_warnx("listen: not back within %u ms: clients are refused",
	    n->conf.shutdown.listen_hold_ms);
	if (gateways_listen(n))
		listen_again(&n->listen);
}

void
node_end_turn(struct node *n)
{
	uint32_t alive = children_alive(n);
	bool gateways = alive >> SLOT_GATEWAY != 0;

	if (n->hold_until_ns != 0 && n->now_ns >= n->hold_until_ns)
		hold_expired(n);
	if (n->mode == NODE_PAUSED) {
		pause_turn(n);
		return;
	}
	if (n->mode != NODE_ENDING)
		return;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if ((alive & 1u << slot) != 0 &&
		    (slot >= SLOT_GATEWAY || !gateways))
			child_kill(n, slot, NULL);
	if (alive == 0)
		all_gone(n);
}

uint64_t
node_end_deadline(const struct node *n)
{
	uint64_t at = n->mode == NODE_PAUSED ? n->boot_at_ns : NODE_NEVER;

	if (n->hold_until_ns != 0 && n->hold_until_ns < at)
		at = n->hold_until_ns;
	return at;
}
