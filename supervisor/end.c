/*
 * What follows an exit, and the way there when it concerns everybody: kill
 * all (gateways first, so no client sees the others go), wait until the last
 * is reaped, then boot again from disk after a pause, or exit.
 *
 * Client sockets stay open meanwhile: connections wait in their queues. If
 * the next boot does not reach transport_bind within listen_hold they are
 * refused, so that clients go elsewhere.
 *
 * Meanwhile health lives on beside the region of before, where the trouble
 * BOOT_WAITS stands, so that pages and tools tell what is waited for; it ends
 * before the next boot. If none follows it lives until the others are gone: the
 * kernel may keep one of them for long.
 */
#include "supervisor/node.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/crc32c.h"
#include "shm/pidfile.h"
#include "shm/say.h"
#include "supervisor/listen.h"

/* Between two tries to have health in a pause. */
#define HEALTH_AGAIN_NS (NS_PER_S / 2)

static void
end_begin(struct node *n, bool boot_again)
{
	n->mode = NODE_ENDING;
	n->boot_again = boot_again;
	n->keep_health = true;
	children_forget_restarts(n);
}

void
node_give_up(struct node *n, int exit_code)
{
	n->exit_code = exit_code;
	end_begin(n, false);
	node_boots_no_more(n);
}

void
node_boots_no_more(struct node *n)
{
	n->boot_again = false;
	seq_shutdown(n->region.seq, SHUTDOWN_DRAINING_LISTENERS);
	trouble_drop(&n->region, TROUBLE_BOOT_WAITS);
	listen_refuse(&n->listen, true);
}

/* What happened: the first error of a boot explains all that came after. */
static const char *
first_cause(const struct node *n, const char *what, char buf[SEQ_ERROR_MAX])
{
	seq_error(n->region.seq, buf);
	return buf[0] != '\0' ? buf : what;
}

/* To whom looks on. */
static void
say(const struct node *n, const char *text)
{
	if ((n->foreground || n->ready_fd >= 0) && say_fd() != STDERR_FILENO)
		fprintf(stderr, "nodelifed: %s\n", text);
}

/* An event of a cause, with words around it; the log has more of it. */
static void
event_in(struct node *n, enum event_kind kind, const char *before,
    const char *cause, const char *behind)
{
	char text[EVENT_TEXT_MAX], whole[FAULT_LINE_MAX];

	event_add_short(&n->region, SLOT_SUPERVISOR, EVENT_ERROR, kind,
	    fault_text_in(text, sizeof(text), before, cause, behind),
	    fault_text_in(whole, sizeof(whole), before, cause, behind));
}

static void
say_stop(struct node *n, const char *what, const char *why)
{
	char buf[SEQ_ERROR_MAX], behind[160] = "";
	const char *cause = first_cause(n, what, buf);

	/* A failed boot needs no further reason. */
	if (why[0] != '\0' && !seq_failed(n->region.seq))
		snprintf(behind, sizeof(behind), ": %s", why);
	event_in(n, EVENT_CAUSE, "the node stops: ", cause, behind);
	say(n, cause);
}

#define WAITED_BEHIND ": when that is mended, start the node again"

static void
waited_parts(const struct node *n, const char *cause, char before[96],
    char final[SEQ_ERROR_MAX])
{
	strlcpy(final, cause, SEQ_ERROR_MAX);
	fault_final(final);
	snprintf(before, 96, "[restart] give_up (%u s) has passed: ",
	    n->conf.restart.give_up_ms / 1000);
}

char *
node_waited_text(const struct node *n, const char *cause, char *buf)
{
	char before[96], final[SEQ_ERROR_MAX];

	waited_parts(n, cause, before, final);
	return fault_text_in(
	    buf, NODE_WAITED_MAX, before, final, WAITED_BEHIND);
}

void
node_say_waited(struct node *n, const char *cause)
{
	char buf[NODE_WAITED_MAX], before[96], final[SEQ_ERROR_MAX], all[128];

	waited_parts(n, cause, before, final);
	snprintf(all, sizeof(all), "the node stops: %s", before);
	event_in(n, EVENT_CAUSE, all, final, WAITED_BEHIND);
	say(n, node_waited_text(n, cause, buf));
}

/* Gateways listen from when the data are there. */
static bool
clients_queue(const struct node *n)
{
	return atomic_load_explicit(&n->region.seq->phase,
		   memory_order_acquire) >= PHASE_DATA_GROUPS_REPLAY;
}

static void
restart_node(struct node *n, struct restart_history *history, uint64_t delay_ms)
{
	restart_note(history, n->now_ns);
	n->restarts++;
	n->boot_delay_ms = delay_ms;
	counter_add(n->region.counters, SLOT_SUPERVISOR, C_NODE_RESTARTS, 1);
	/* If they refuse already nothing is held. */
	if (n->hold_until_ns == 0 && clients_queue(n))
		n->hold_until_ns =
		    n->now_ns + n->conf.shutdown.listen_hold_ms * NS_PER_MS;
	end_begin(n, true);
}

/* Do others the same, or can clients be served without it? */
static bool
is_spare(const struct node *n, unsigned slot)
{
	if (slot == SLOT_SUPERVISOR || slot < SLOT_GATEWAY)
		return slot != SLOT_SUPERVISOR;
	return (children_alive(n) & ~(1u << slot)) >> SLOT_GATEWAY != 0;
}

/*
 * A disk that takes a probe may fail at once under writes, boot after boot: one
 * that lived for backoff_max before such a fault begins a new row.
 */
static void
note_over(struct node *n)
{
	uint64_t began_ns = n->now_ns, soon_ns;
	struct trouble_info t;

	for (unsigned kind = 0; kind < TROUBLE_COUNT; kind++) {
		if (kind != TROUBLE_LOG_FAILED && kind != TROUBLE_STATE_FAILED)
			continue;
		/* Its worker may be gone: then it stands no more. */
		(void)trouble_read(&n->region, kind, &t);
		if (t.since_ns >= n->served_ns && t.since_ns < began_ns)
			began_ns = t.since_ns;
	}
	soon_ns = n->served_ns + n->conf.restart.backoff_max_ms * NS_PER_MS;
	n->over_again =
	    n->over_before && began_ns < soon_ns ? n->over_again + 1 : 0;
	n->over_before = true;
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
		.fault = seq_error_kind(n->region.seq),
		.spare = is_spare(n, slot),
		.ever_served = n->ever_served,
		.worker_recent = restart_recent(&c->history, n->now_ns, window),
		.node_recent = restart_recent(&n->history, n->now_ns, window),
		.over_again = n->over_again,
		.world_recent = restart_recent(&n->world, n->now_ns, window),
		.waited_ms = n->waits_since_ns != 0
				 ? (n->now_ns - n->waits_since_ns) / NS_PER_MS
				 : 0,
		.give_up_ms = n->conf.restart.give_up_ms,
		.limit = n->conf.restart.limit,
		.backoff_min_ms = n->conf.restart.backoff_min_ms,
		.backoff_max_ms = n->conf.restart.backoff_max_ms,
	};
}

/*
 * The region is told, for the screen and the pages, and the service manager.
 * What stands already is renewed without a word if it is no news.
 */
static void
tell_pause(struct node *n, const char *before, const char *cause,
    const char *behind, bool news, uint64_t delay_ms)
{
	char text[FAULT_TEXT_MAX];
	bool stood =
	    n->has_region && trouble_stands(&n->region, TROUBLE_BOOT_WAITS);

	if (n->has_region)
		trouble_begin_in(
		    &n->region, TROUBLE_BOOT_WAITS, before, cause, behind);
	if (stood && news)
		event_in(n, EVENT_PLAIN, before, cause, behind);
	/* Time for the next one, too: a start is not to be given up over it. */
	notify("STATUS=%s\nEXTEND_TIMEOUT_USEC=%llu",
	    fault_text_in(text, sizeof(text), before, cause, behind),
	    (delay_ms + (unsigned long long)n->conf.boot.total_budget_ms) *
		1000);
}

/* Of several workers whom a fault meets the first tells, another each time. */
static bool
is_news(struct node *n, const char *what)
{
	uint32_t sum = crc32c(0, what, strlen(what));

	for (unsigned i = 0; i < WAITS_TOLD; i++)
		if (n->waits_told[i] == sum)
			return false;
	n->waits_told[n->waits_next++ % WAITS_TOLD] = sum;
	return true;
}

void
node_boot_waits(struct node *n, const char *what, uint64_t delay_ms)
{
	bool news = is_news(n, what);
	bool began =
	    n->has_region && !trouble_stands(&n->region, TROUBLE_BOOT_WAITS);
	char text[FAULT_LINE_MAX], before[64];

	if (n->waits_since_ns == 0)
		n->waits_since_ns = n->now_ns;
	strlcpy(n->waits_for, what, sizeof(n->waits_for));
	snprintf(before, sizeof(before),
	    "the boot waits: tried again in %llu ms: ",
	    (unsigned long long)delay_ms);
	tell_pause(n, before, what, "", news, delay_ms);
	if (!n->has_region && news)
		say_errorx("the boot waits: %s", what);
	if (!node_has_file(n) && news)
		pidfile_waits(n->conf.node.run_dir, what);
	/* What begins is said as a trouble. */
	if (news && (n->ready_fd >= 0 || !began)) {
		snprintf(text, sizeof(text), "the boot waits: %s", what);
		say(n, text);
	}
}

bool
node_waited_out(const struct node *n, uint64_t since_ns)
{
	uint64_t limit_ms = n->conf.restart.give_up_ms;

	return limit_ms != 0 && since_ns != 0 && n->now_ns > since_ns &&
	       (n->now_ns - since_ns) / NS_PER_MS >= limit_ms;
}

uint64_t
node_world_delay(struct node *n)
{
	uint64_t window = n->conf.restart.window_ms * NS_PER_MS;
	unsigned recent = restart_recent(&n->world, n->now_ns, window);

	restart_note(&n->world, n->now_ns);
	return restart_backoff_ms(recent, n->conf.restart.backoff_min_ms,
	    n->conf.restart.backoff_max_ms);
}

/* The reason in full, with its key. */
static const char *
why_text(const struct node *n, const char *why, char *buf, size_t size)
{
	if (why == RESTART_TOO_OFTEN)
		snprintf(buf, size,
		    "%s: [restart] limit is %u in window = %u s", why,
		    n->conf.restart.limit, n->conf.restart.window_ms / 1000);
	else
		return why;
	return buf;
}

static int
give_up_code(const struct restart_in *in, const struct restart_out *out)
{
	if (in->kind == EXIT_CONFIG)
		return EX_CONFIG;
	if (out->why == RESTART_WAITED)
		return EX_TEMPFAIL;
	return in->ever_served ? EX_SOFTWARE : NODE_EXIT_FAILED;
}

/*
 * A worker that others do without is tried now and then. That it does not stay
 * up is told from the third death on, before it is beyond the limit.
 */
static void
restart_worker(struct node *n, unsigned slot, const struct restart_out *out,
    const char *what)
{
	bool down =
	    out->why == RESTART_DOWN || n->child[slot].history.count >= 2;

	if (!down)
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN,
		    "%s: it starts again in %llu ms", what,
		    (unsigned long long)out->delay_ms);
	child_restart_later(n, slot, out->delay_ms);
	if (down)
		child_down(n, slot, what);
	if (out->why == RESTART_DOWN && worker_is_spare(slot) &&
	    n->mode == NODE_BOOTING)
		node_seq_spare(n, slot);
}

static void
restart_or_wait(struct node *n, const struct restart_out *out, const char *what)
{
	char buf[SEQ_ERROR_MAX], behind[160];
	const char *cause = first_cause(n, what, buf);

	if (out->action == RESTART_WAIT) {
		/* That its owner died is not the cause, but what it said. */
		if (seq_error_kind(n->region.seq) == FAULT_PROGRAM)
			cause = what;
		node_boot_waits(n, cause, out->delay_ms);
	} else {
		snprintf(behind, sizeof(behind),
		    "%s%s: the node boots again in %llu ms",
		    out->why[0] != '\0' ? ": " : "", out->why,
		    (unsigned long long)out->delay_ms);
		tell_pause(n, "", cause, behind, true, out->delay_ms);
	}
	restart_node(n, out->counted ? &n->history : &n->world, out->delay_ms);
}

void
node_decide(
    struct node *n, unsigned slot, enum exit_kind kind, const char *what)
{
	struct restart_in in;
	struct restart_out out;
	char why[128], cause[SEQ_ERROR_MAX];

	if (n->mode != NODE_BOOTING && n->mode != NODE_SERVING)
		return;
	if (kind == EXIT_OVER)
		note_over(n);
	in = decision(n, slot, kind);
	out = restart_decide(&in);

	switch (out.action) {
	case RESTART_WORKER:
		restart_worker(n, slot, &out, what);
		return;
	case RESTART_NODE:
	case RESTART_WAIT:
		restart_or_wait(n, &out, what);
		return;
	case RESTART_GIVE_UP:
		if (out.why == RESTART_WAITED)
			node_say_waited(n, first_cause(n, what, cause));
		else
			say_stop(
			    n, what, why_text(n, out.why, why, sizeof(why)));
		node_give_up(n, give_up_code(&in, &out));
		return;
	}
}

void
node_joined(struct node *n)
{
	if (n->mode != NODE_BOOTING && n->mode != NODE_SERVING)
		return;
	event_add(&n->region, SLOT_SUPERVISOR, EVENT_INFO,
	    "the group is founded: the node boots as its member");
	n->boot_delay_ms = 0;
	end_begin(n, true);
}

/*
 * Who tells what is waited for, and answers on the control socket: if it died,
 * or cannot be had, it is tried again. Meanwhile nobody connects in vain.
 */
static void
health_again(struct node *n)
{
	char text[FAULT_TEXT_MAX];
	struct fault f;
	int rc;

	n->keep_health = true;
	if (n->child[SLOT_HEALTH].pid != 0 || n->now_ns < n->health_again_ns)
		return;
	n->health_again_ns = n->now_ns + HEALTH_AGAIN_NS;
	rc = child_start(n, SLOT_HEALTH);
	if (rc != 0 && n->health_error != rc) {
		f = child_start_fault(slot_name(SLOT_HEALTH), rc);
		say_warnx("%s", fault_text(text, sizeof(text), &f));
	}
	n->health_error = rc;
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
		n->boot_again = n->keep_health = false;
		child_kill(n, SLOT_HEALTH, NULL);
		n->finished = children_alive(n) == 0;
		return;
	}
	n->mode = NODE_PAUSED;
	n->boot_at_ns = n->now_ns + n->boot_delay_ms * NS_PER_MS;
	health_again(n);
}

void
node_pause(struct node *n, const char *why)
{
	uint64_t delay_ms = node_world_delay(n);

	if (node_waited_out(n, n->waits_since_ns)) {
		node_say_waited(n, why);
		n->exit_code = EX_TEMPFAIL;
		n->finished = true;
		return;
	}
	n->mode = NODE_PAUSED;
	n->boot_at_ns = n->now_ns + delay_ms * NS_PER_MS;
	node_boot_waits(n, why, delay_ms);
	health_again(n);
}

static void
pause_turn(struct node *n)
{
	char why[FAULT_TEXT_MAX] = "";
	int rc;

	if (n->now_ns < n->boot_at_ns) {
		health_again(n);
		return;
	}
	/* Who asks health is not cut off for a try that must fail. */
	if ((rc = node_fit(n, why)) == 0 && children_alive(n) != 0) {
		n->keep_health = false;
		child_kill(n, SLOT_HEALTH, NULL);
		return;
	}
	if (rc == 0)
		rc = node_boot(n, why);
	if (rc == NODE_BOOT_WAITS) {
		node_pause(n, why);
	} else if (rc != 0) {
		n->exit_code = rc;
		n->finished = true;
	}
}

static bool
gateways_listen(const struct node *n)
{
	return n->mode == NODE_BOOTING && clients_queue(n);
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
	say_warnx("listen: not back within %u ms: clients are refused",
	    n->conf.shutdown.listen_hold_ms);
	if (gateways_listen(n))
		listen_again(&n->listen);
}

void
node_end_turn(struct node *n)
{
	uint32_t alive = children_alive(n);
	bool gateways = alive >> SLOT_GATEWAY != 0;
	uint32_t goes = alive & ~(n->keep_health ? 1u << SLOT_HEALTH : 0);

	if (n->hold_until_ns != 0 && n->now_ns >= n->hold_until_ns)
		hold_expired(n);
	if (n->mode == NODE_PAUSED) {
		pause_turn(n);
		return;
	}
	if (n->mode != NODE_ENDING)
		return;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if ((goes & 1u << slot) != 0 &&
		    (slot >= SLOT_GATEWAY || !gateways))
			child_kill(n, slot, NULL);
	if (goes == 0)
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
