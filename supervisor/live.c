/*
 * Signs of life, twice a second: a worker without a heartbeat, or a reader
 * whose end the store's memory waits for, is killed; its policy says what
 * follows. One that does not even end of that is named. Before it comes to
 * that, what makes no progress is told: a flush, a worker.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "conf/conf_fit.h"
#include "shm/kv/room.h"
#include "shm/kv/table.h"
#include "shm/process.h"
#include "shm/trouble.h"
#include "supervisor/watchdog_core.h"

/* Beats come once a second at least, and the shortest time-out is 2 s. */
#define ROUND_NS      (NS_PER_S / 2)
#define READ_LIMIT_NS (2 * NS_PER_S)
/*
 * Beats come once a second, so two are missing. Who is seen to stand still,
 * stopped or in the kernel, is told when one is.
 */
#define SILENT_NS (2 * NS_PER_S + NS_PER_S / 4)
#define STILL_NS  (NS_PER_S + NS_PER_S / 4)
#define STUCK_NS  (5 * NS_PER_S) /* after SIGKILL */
#define NO_FD_NS  (2 * NS_PER_S) /* a try is made every 100 ms */

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

/* Why a worker is silent that has not beaten for so long; NULL = it is not. */
static const char *
why_silent(const struct node *n, unsigned slot, uint64_t silent_ns)
{
	uint32_t is = atomic_load_explicit(
	    &n->region.slots->row[slot].state, memory_order_relaxed);

	if (silent_ns < STILL_NS)
		return NULL;
	if (process_stopped(n->child[slot].pid))
		return "it was stopped by a signal or a debugger: let it go on "
		       "(kill -CONT)";
	if (process_state(n->child[slot].pid) == 'D')
		return fault_remedy(ETIMEDOUT, PLACE_DATA);
	/* A boot's work has budgets of its own, and no heartbeat. */
	return silent_ns > SILENT_NS &&
		       (is == SLOT_RUNNING || is == SLOT_STOPPING)
		   ? "it hangs, or gets no processor"
		   : NULL;
}

static uint64_t
silence(const struct node *n, unsigned slot)
{
	const struct slot_row *row = &n->region.slots->row[slot];
	const struct child *c = &n->child[slot];
	uint64_t since =
	    atomic_load_explicit(&row->heartbeat_ns, memory_order_acquire);

	if (since < c->started_ns)
		since = c->started_ns;
	return c->pid != 0 && n->now_ns > since ? n->now_ns - since : 0;
}

/*
 * Reads wait until the store has applied what was committed before them, and
 * other gateways do for one what clients of the only one wait for.
 */
static enum trouble
silent_kind(const struct node *n, unsigned slot)
{
	switch (slot) {
	case SLOT_STORE:
		return TROUBLE_SERVER_SILENT;
	case SLOT_WAL:
	case SLOT_GROUP:
		return TROUBLE_WRITER_SILENT;
	default:
		return slot >= SLOT_GATEWAY && n->conf.node.gateways == 1
			   ? TROUBLE_SERVER_SILENT
			   : TROUBLE_WORKER_SILENT;
	}
}

/* The first of those that this kind is for. */
static void
tell_silent_of(struct node *n, enum trouble kind)
{
	const char *why;

	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		uint64_t ns = silence(n, slot);

		if (silent_kind(n, slot) != kind ||
		    (why = why_silent(n, slot, ns)) == NULL)
			continue;
		trouble_begin_text(&n->region, kind,
		    "%s (pid %d): no heartbeat for %.1f s: %s", slot_name(slot),
		    (int)n->child[slot].pid, (double)ns / 1e9, why);
		return;
	}
	trouble_end(&n->region, kind);
}

static void
tell_silent(struct node *n)
{
	tell_silent_of(n, TROUBLE_WORKER_SILENT);
	tell_silent_of(n, TROUBLE_WRITER_SILENT);
	tell_silent_of(n, TROUBLE_SERVER_SILENT);
}

/*
 * How long it lasts that began then (0 = it does not), if that is longer than a
 * disk may take. Else 0, and the trouble is over.
 */
static uint64_t
stalled_for(struct node *n, enum trouble kind, uint64_t since_ns)
{
	uint64_t limit_ns =
	    (uint64_t)n->conf.wal.disk_stall_limit_ms * NS_PER_MS;
	uint64_t ns =
	    since_ns != 0 && n->now_ns > since_ns ? n->now_ns - since_ns : 0;

	if (ns != 0 && ns >= limit_ns)
		return ns;
	trouble_end(&n->region, kind);
	return 0;
}

static void
tell_stalled(struct node *n)
{
	const struct positions *pos = n->region.pos;
	uint64_t ns =
	    stalled_for(n, TROUBLE_LOG_STALLED, position_get(&pos->flight_ns));
	char call[48], what[48];
	const struct fault f = { .object = "wal",
		.call = call,
		.error = ETIMEDOUT,
		.place = PLACE_DATA,
		.what = what,
		.effect = "writes wait",
		.goes_on = true };

	if (ns == 0)
		return;
	snprintf(call, sizeof(call), "flush of VLSN %" PRIu64,
	    position_get(&pos->flight_vlsn));
	snprintf(what, sizeof(what), "in flight for %.1f s", (double)ns / 1e9);
	trouble_begin(&n->region, TROUBLE_LOG_STALLED, &f);
}

/* Does a gateway hold writes back until there is room for them? */
static bool
writes_wait(const struct node *n)
{
	if (room_stuck(&n->region))
		return true;
	/* For the checkpoint, that is: not for what is to be applied. */
	if (position_get(&n->region.pos->room) >=
	    table_size_share(n->conf.store.table_size))
		return false;
	for (unsigned slot = SLOT_GATEWAY; slot < SLOT_MAX; slot++) {
		const struct slot_row *row = &n->region.slots->row[slot];

		if (n->child[slot].pid != 0 &&
		    atomic_load_explicit(
			&row->busy_with, memory_order_relaxed) == BUSY_TABLE)
			return true;
	}
	/* Or are refused by now, because they did. */
	return trouble_stands(&n->region, TROUBLE_STORE_WAITS) &&
	       position_get(&n->region.pos->refuses) != REFUSES_NOTHING;
}

/* Since when no checkpoint has made the room that somebody waits for; 0. */
static uint64_t
room_wanted_since(struct node *n)
{
	uint64_t at = position_get(&n->region.pos->checkpointed);
	bool wait = writes_wait(n);

	if (!wait || at != n->room_after || n->room_ns == 0) {
		n->room_after = at;
		n->room_ns = wait ? n->now_ns : 0;
	}
	return n->room_ns;
}

/* Who makes that room, checkpoint, its child or store, and was stopped; 0. */
static int
room_maker_stopped(const struct node *n)
{
	int pid = n->child[SLOT_STORE].pid;

	if (pid != 0 && process_stopped(pid))
		return pid;
	pid = n->child[SLOT_CHECKPOINT].pid;
	if (pid != 0 && !process_stopped(pid))
		pid = process_child(pid);
	return process_stopped(pid) ? pid : 0;
}

static void
tell_waits(struct node *n)
{
	uint64_t ns = stalled_for(n, TROUBLE_STORE_WAITS, room_wanted_since(n));
	char object[CONF_PATH_SIZE + 32], what[128], command[48] = "";
	const char *why = "";
	struct fault f = { .object = object,
		.place = PLACE_DATA,
		.what = what,
		.effect = room_stuck(&n->region)
			      ? "writes wait, and who reads what they changed"
			      : "writes wait, reads go on",
		.goes_on = true,
		.command = command };
	int stopped;

	if (ns == 0)
		return;
	if (n->child[SLOT_CHECKPOINT].pid == 0) {
		why = ", its worker is down";
	} else if ((stopped = room_maker_stopped(n)) != 0) {
		n->room_stopped_ns = n->now_ns;
		why = ", its process was stopped by a signal or a debugger";
		snprintf(command, sizeof(command),
		    "let it go on (kill -CONT %d)", stopped);
	} else {
		f.error = ETIMEDOUT;
	}
	snprintf(
	    object, sizeof(object), "%s/store/data.mdb", n->conf.node.data_dir);
	snprintf(what, sizeof(what), "a checkpoint makes no room for %.1f s%s",
	    (double)ns / 1e9, why);
	trouble_begin(&n->region, TROUBLE_STORE_WAITS, &f);
}

/*
 * A gateway that had no descriptor for a client not long ago. That it came by
 * one since may have been for a moment: who turns clients away now and then is
 * told of once.
 */
static void
tell_descriptors(struct node *n)
{
	char object[48], what[128], command[64] = "";
	struct fault f = { .object = object,
		.call = "accept",
		.place = PLACE_PROCESS,
		.effect = "new clients are refused, the others are served",
		.goes_on = true,
		.command = command };
	uint64_t want = conf_files(&n->conf), at;
	struct rlimit rl = { 0 };

	for (unsigned slot = SLOT_GATEWAY; slot < SLOT_MAX; slot++) {
		const struct slot_row *row = &n->region.slots->row[slot];
		int pid = (int)n->child[slot].pid;

		at = atomic_load_explicit(&row->no_fd_ns, memory_order_acquire);
		/* Nor is it of the process before in this slot. */
		if (pid == 0 || at < n->child[slot].started_ns ||
		    n->now_ns > at + NO_FD_NS)
			continue;
		f.error = atomic_load_explicit(
		    &row->no_fd_error, memory_order_relaxed);
		snprintf(object, sizeof(object), "%s (pid %d)", slot_name(slot),
		    pid);
		if (f.error == EMFILE &&
		    prlimit(pid, RLIMIT_NOFILE, NULL, &rl) == 0) {
			snprintf(what, sizeof(what),
			    "%s: the limit is %ju, [listen] max_clients wants "
			    "%" PRIu64,
			    strerror(f.error), (uintmax_t)rl.rlim_cur, want);
			f.what = what;
			snprintf(command, sizeof(command),
			    "prlimit --pid %d --nofile=%" PRIu64, pid,
			    want > rl.rlim_cur ? want : 2 * rl.rlim_cur);
		}
		trouble_begin(&n->region, TROUBLE_DESCRIPTORS, &f);
		return;
	}
	trouble_end(&n->region, TROUBLE_DESCRIPTORS);
}

/* Killed long ago, and still in the kernel. */
static bool
somebody_stuck(const struct node *n)
{
	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		const struct child *c = &n->child[slot];

		if (c->pid != 0 && c->killed && c->killed_ns == 0)
			return true;
	}
	return false;
}

/*
 * Is it a fault of the machine that keeps the node from writing? A store that
 * has what map_size allows is none, nor is a process that is stopped, or a
 * worker that hangs, unless not even SIGKILL ends it.
 */
static bool
is_machines(const struct node *n, enum trouble kind)
{
	switch ((unsigned)kind) {
	case TROUBLE_LOG_FAILED:
	case TROUBLE_LOG_STALLED:
	case TROUBLE_DATA_DIR:
	case TROUBLE_LOG_FULL:
	case TROUBLE_LOG_SEGMENT:
	case TROUBLE_LOG_MEMORY:
	case TROUBLE_STATE_FAILED:
	case TROUBLE_STORE_MEMORY:
		return true;
	case TROUBLE_STORE_WAITS:
		return room_maker_stopped(n) == 0;
	case TROUBLE_STORE_FULL:
		return trouble_stands(&n->region, TROUBLE_CHECKPOINT_FAILED);
	case TROUBLE_WRITER_SILENT:
	case TROUBLE_SERVER_SILENT:
		return somebody_stuck(n);
	default:
		return false;
	}
}

/* Nor does the time count that the process was stopped for. */
static uint64_t
counts_since(const struct node *n, const struct trouble_info *t)
{
	return t->kind == TROUBLE_STORE_WAITS &&
		       t->since_ns < n->room_stopped_ns
		   ? n->room_stopped_ns
		   : t->since_ns;
}

/* What keeps the node from writing longer than is allowed. */
static void
give_up_turn(struct node *n)
{
	struct trouble_info t;

	if (n->mode != NODE_SERVING || n->conf.restart.give_up_ms == 0)
		return;
	for (unsigned kind = 0; kind < TROUBLE_COUNT; kind++)
		if (trouble_read(&n->region, kind, &t) &&
		    is_machines(n, kind) &&
		    node_waited_out(n, counts_since(n, &t))) {
			node_say_waited(n, t.text);
			node_give_up(n, EX_TEMPFAIL);
			return;
		}
}

/* Held up ourselves: what is old may be so for that alone. */
static void
tell_held_up(struct node *n, bool late)
{
	if (late)
		return;
	tell_silent(n);
	tell_stalled(n);
	tell_waits(n);
}

static void
tell(struct node *n)
{
	children_up(n);
	children_tell_memory(n);
	tell_descriptors(n);
	give_up_turn(n);
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
		tell(n);
	}
	/* A stop waits for it, too, or a kill. */
	if (n->mode != NODE_PAUSED)
		tell_held_up(n, late);
	if (n->mode != NODE_STOPPING && n->mode != NODE_ENDING)
		node_run_dir_look(n);
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		name_stuck(n, slot);
	n->live_checked_ns = n->now_ns;
}

uint64_t
node_live_deadline(const struct node *n)
{
	return n->live_checked_ns + ROUND_NS;
}
