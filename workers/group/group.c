/*
 * The group worker: a thin loop around the core. At boot it waits for the
 * log's end, reads what the disk says and lets the core decide; a group of
 * one elects itself there. From then on it sleeps: it is woken by answers of
 * wal, by the shutdown bus, and once a second.
 *
 * It alone writes the commit view, and it alone raises the epoch of
 * `committed`. It may die at any instruction: that restarts the node.
 */
#include "workers/group/group.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/log/record.h"
#include "shm/say.h"
#include "shm/trouble.h"

#define RING_ENTRIES 32
#define TICK_NS      NS_PER_S

/* ---- what the core asks for ---- */

/* Nothing commits under a lower epoch from here on; the VLSN stays. */
static void
committed_raise_epoch(struct region *r, uint16_t epoch)
{
	_Atomic uint64_t *v = &r->pos->committed.v;
	uint64_t now = atomic_load_explicit(v, memory_order_acquire), next;

	do {
		ASSERT(word_epoch(now) < epoch);
		next = epoch_word(epoch, word_vlsn(now));
	} while (!atomic_compare_exchange_weak_explicit(
	    v, &now, next, memory_order_acq_rel, memory_order_acquire));
}

static void
view_publish(struct group *g, const struct commit_view *view)
{
	const struct membership *m = group_membership(&g->core);
	uint64_t id;
	uint32_t i;

	/* A master's term is in the state file, and an epoch does not return.
	 */
	ASSERT(view->term <= g->state.term);
	ASSERT(view->role != ROLE_MASTER || view->term == g->state.term);
	ASSERT(view->role != ROLE_MASTER || !group_state_owed(g));
	ASSERT(view->epoch >= g->view.epoch);
	for (i = 0; i < m->count; i++) {
		memcpy(
		    g->r->commit->name[i], m->member[i].name, MEMBER_NAME_MAX);
		memcpy(g->r->commit->client[i], m->member[i].client,
		    MEMBER_ADDR_MAX);
	}
	/* As its digits are written. */
	for (id = 0, i = 0; i < 8; i++)
		id = id << 8 | g->node.group_uuid[i];
	atomic_store_explicit(
	    &g->r->commit->group_id, id, memory_order_release);
	g->view = *view;
	commit_view_write(g->r->commit, view);
	/* wal begins the term, or reports again under the new epoch. */
	bell_ring(&g->w->bells, SLOT_WAL);
}

/* A membership into the log. A full ring refuses it, which the loop notices. */
static void
member_append(struct group *g, const struct membership *m)
{
	uint8_t payload[MEMBER_RECORD_MAX];
	struct wal_req *req;
	size_t n;

	n = member_encode(payload, m);
	req = bytering_reserve(&g->request, (uint32_t)(sizeof(*req) + n));
	if (req == NULL) {
		g->member_refused = true;
		return;
	}
	g->member_new = *m;
	req->seq = ++g->seq;
	req->incarnation = g->w->incarnation;
	req->type = REC_MEMBER;
	req->flags = 0;
	req->zero = 0;
	memcpy(req + 1, payload, n);
	g->member_asked = true;
	bytering_publish(&g->request);
	bell_ring(&g->w->bells, SLOT_WAL);
}

static void
announce(struct group *g, const struct group_action *a)
{
	counter_add(g->r->counters, g->w->slot, C_ROLE_CHANGES, 1);
	if (a->role.elected)
		counter_add(g->r->counters, g->w->slot, C_ELECTIONS_WON, 1);
	event_add(g->r, g->w->slot, EVENT_INFO,
	    "role: %s -> %s in term %" PRIu64 ": %s", role_name(a->role.from),
	    role_name(a->role.to), a->role.term, a->role.why);
	bell_ring_all(&g->w->bells);
}

static void
forced_tell(struct group *g, unsigned forced)
{
	unsigned bit;

	for (bit = 1; bit <= forced; bit <<= 1)
		if ((forced & bit) != 0)
			event_add(g->r, g->w->slot, EVENT_ERROR, "force: %s",
			    group_forced_text(bit));
}

/* Is it no word on the data? Then it is told as what it is, and waited for. */
static bool
disk_fault(int error)
{
	enum fault_kind kind = fault_kind(error, PLACE_DATA);

	return kind == FAULT_WORLD || kind == FAULT_SETUP;
}

/* (term, vote) is not on disk. */
static void
state_fault(struct group *g)
{
	char path[PATH_MAX];
	struct denied d;
	struct fault f = { .object = path,
		.call = "write",
		.error = g->state_error,
		.place = PLACE_DATA,
		.effect = "the vote is not on disk: this node writes nothing "
			  "before it is",
		.goes_on = true };

	snprintf(
	    path, sizeof(path), "%s/" STATE_FILE, g->w->conf->node.data_dir);
	worker_explain(g->w, &f, &d);
	/* Of a boot the supervisor tells. */
	if (seq_fault(g->r->seq, PHASE_RAFT_METADATA_REPLAY, g->w->slot, &f) ==
	    -EALREADY)
		trouble_begin(g->r, TROUBLE_STATE_FAILED, &f);
}

/* The process ends, and with it the node's life: it boots from disk. */
static void
end_restart(struct group *g, const char *why)
{
	bool disk = disk_fault(g->state_error);

	g->ended = true;
	if (disk)
		state_fault(g);
	event_add(
	    g->r, g->w->slot, EVENT_ERROR, "%s: the node boots again", why);
	worker_fatal(g->w, &g->loop, disk ? WISH_RESTART_WORLD : WISH_RESTART);
}

/* The process ends, and with it the boot. `forced`: what force would help. */
static void
end_fail(struct group *g, const char *what, unsigned forced)
{
	char why[SEQ_ERROR_MAX];

	g->ended = true;
	g->loop.quit = true;
	g->w->exit_code = WORKER_EXIT_FAILED;
	if (disk_fault(g->state_error)) {
		state_fault(g);
		return;
	}
	fault_text_in(why, sizeof(why), "", what,
	    forced != 0 ? "; restore this node, or boot once with [boot] "
			  "recovery_mode = force, which accepts the loss"
			: "");
	worker_boot_fail(g->w, PHASE_RAFT_METADATA_REPLAY, why);
}

/* What is there could not be read, or not be written anew. */
static void
boot_failed(struct group *g, int rc, const char *why)
{
	static const char *const files[] = { STATE_FILE, MEMBERS_FILE,
		NODE_FILE_NAME, NULL };
	struct fault f = {
		.object = why, .what = "", .error = -rc, .place = PLACE_DATA
	};
	struct denied d;

	if (g->state_error != 0 || !disk_fault(-rc)) {
		end_fail(g, why, 0);
		return;
	}
	worker_explain_one(g->w, &f, files, &d);
	worker_boot_fault(g->w, PHASE_RAFT_METADATA_REPLAY, &f);
	g->ended = true;
	g->w->exit_code = WORKER_EXIT_FAILED;
}

/* One action of the core's list. */
static void
act(struct group *g, const struct group_action *a) /* flat dispatch */
{
	switch (a->kind) {
	case GROUP_FAIL:
		end_fail(g, a->end.why, a->end.forced);
		return;
	case GROUP_RESTART:
		end_restart(g, a->end.why);
		return;
	case GROUP_FORCE:
		forced_tell(g, a->forced);
		return;
	case GROUP_RAISE_EPOCH:
		committed_raise_epoch(g->r, a->epoch.to);
		if (a->epoch.ended != 0)
			commit_term_ended(g->r, a->epoch.ended);
		return;
	case GROUP_STORE:
		counter_add(g->r->counters, g->w->slot, C_ELECTIONS_HELD, 1);
		group_state_store(g, a);
		return;
	case GROUP_PUBLISH:
		view_publish(g, &a->view);
		return;
	case GROUP_FENCE:
		/* Asked for only where others vote: wal has no answer yet. */
		say_warnx("epoch %u: not fenced", a->fence);
		return;
	case GROUP_ANSWER:
	case GROUP_TELL:
		return; /* no link to anybody is up */
	case GROUP_APPEND_MEMBER:
		member_append(g, a->membership);
		return;
	case GROUP_SAVE_MEMBER:
		group_members_want(g, a->membership);
		return;
	case GROUP_ANNOUNCE:
		announce(g, a);
		return;
	case GROUP_SAY:
		say_debug("%s", a->why);
		return;
	case GROUP_READY:
		g->ready = true;
		seq_fire(g->r->seq, PHASE_RAFT_METADATA_REPLAY, g->w->slot);
		return;
	case GROUP_ACTION_KINDS:
		break;
	}
	ASSERT(!"an action of the enum");
}

static struct group_end
log_end(const struct group *g)
{
	struct group_end end = { .vlsn = position_get(&g->r->pos->appended) };

	if (terms_of_vlsn(g->r->terms, end.vlsn, &end.term) != 0)
		end.term = g->log_term;
	return end;
}

static void
step(struct group *g, struct group_event ev)
{
	struct group_todo todo;
	unsigned i;

	if (g->ended)
		return;
	ev.now_ns = clock_ns(CLOCK_BOOTTIME);
	ev.end = log_end(g);
	group_step(&g->core, &ev, &todo);
	g->deadline_ns = todo.deadline_ns;
	for (i = 0; i < todo.count; i++)
		act(g, &todo.action[i]);
}

/* ---- what the loop notices ---- */

static void
notice_state(struct group *g)
{
	struct group_event ev = { .kind = GROUP_STORED };

	switch (group_state_turn(g)) {
	case STATE_NO_NEWS:
		return;
	case STATE_STORED:
		ev.stored.term = g->state.term;
		ev.stored.vote = g->state.vote;
		break;
	case STATE_LOST:
		ev.kind = GROUP_STORE_FAILED;
		break;
	}
	step(g, ev);
}

/* wal's answer to the one membership that may be on its way. */
static void
answer(struct group *g, const struct wal_ret *ret)
{
	struct membership m = g->member_new;

	if (ret->seq != g->seq || !g->member_asked)
		return;
	g->member_asked = false;
	if (ret->status != RET_OK || ret->vlsn <= m.vlsn) {
		step(g, (struct group_event){ .kind = GROUP_MEMBER_REFUSED });
		return;
	}
	m.vlsn = ret->vlsn;
	step(g, (struct group_event){
		    .kind = GROUP_MEMBER_APPENDED, .membership = &m });
}

static void
notice_answer(struct group *g)
{
	const void *at;
	struct wal_ret ret;
	uint32_t len;

	while ((at = bytering_peek(&g->ret, &len)) != NULL) {
		if (len == sizeof(ret)) {
			memcpy(&ret, at, sizeof(ret));
			answer(g, &ret);
		}
		bytering_advance(&g->ret, len);
		bytering_consume(&g->ret);
	}
	if (len == UINT32_MAX)
		end_restart(g, "the ring from wal is damaged");
	if (g->member_refused) {
		g->member_refused = false;
		step(g, (struct group_event){ .kind = GROUP_MEMBER_REFUSED });
	}
}

/* The VLSN of the own term's first record, once wal has appended it. */
static uint64_t
term_start(const struct group *g)
{
	uint64_t word = position_get(&g->r->pos->term_start);

	if (g->view.role != ROLE_MASTER || word_epoch(word) != g->view.epoch)
		return 0;
	return word_vlsn(word);
}

static bool
committed_now(const struct group *g, uint64_t vlsn)
{
	uint64_t word = position_get(&g->r->pos->committed);

	return vlsn != 0 && word_epoch(word) == g->view.epoch &&
	       word_vlsn(word) >= vlsn;
}

/* Cuts of the log that have begun; pairs with the release in wal's cut. */
static uint64_t
cuts_begun(const struct group *g)
{
	return atomic_load_explicit(
	    &g->r->walbuf.h->cuts, memory_order_acquire);
}

/*
 * The log was cut: a membership behind that is none any more. wal may have told
 * of its record before the cut, and nobody has looked: so that comes first.
 */
static void
notice_cut(struct group *g)
{
	uint64_t begun = cuts_begun(g), vlsn, done;

	if (begun == g->cuts)
		return;
	vlsn = walbuf_cut_since(&g->r->walbuf, g->cuts, &done);
	g->cuts = begun;
	notice_answer(g);
	step(g, (struct group_event){ .kind = GROUP_MEMBER_CUT, .vlsn = vlsn });
}

/* What positions say that the core does not know yet; one after the other. */
static bool
position_event(const struct group *g, struct group_event *ev)
{
	uint64_t term = g->view.term, first = term_start(g);
	uint64_t member = group_membership(&g->core)->vlsn;

	if (first != 0 && g->term_told != term)
		*ev = (struct group_event){ .kind = GROUP_TERM_APPENDED,
			.term = { term, first } };
	else if (committed_now(g, first) && g->term_commit_told != term)
		*ev = (struct group_event){ .kind = GROUP_TERM_COMMITTED,
			.term = { term, first } };
	else if (committed_now(g, member) && g->member_commit_told != member)
		*ev = (struct group_event){ .kind = GROUP_MEMBER_COMMITTED,
			.vlsn = member };
	else
		return false;
	return true;
}

static void
notice_positions(struct group *g)
{
	struct group_event ev;

	while (!g->ended && position_event(g, &ev)) {
		/* Behind a cut they tell of other records: that first. */
		if (cuts_begun(g) != g->cuts)
			return;
		if (ev.kind == GROUP_TERM_APPENDED)
			g->term_told = ev.term.term;
		else if (ev.kind == GROUP_TERM_COMMITTED)
			g->term_commit_told = ev.term.term;
		else
			g->member_commit_told = ev.vlsn;
		step(g, ev);
	}
}

/*
 * Peers are dialled once this node can be dialled itself. Nobody else is in
 * the group: there is nothing to wait for. health's gate is the next.
 */
static void
warm_peers(struct group *g)
{
	if (g->warmed || !g->ready ||
	    !seq_reached(g->r->seq, PHASE_TRANSPORT_BIND))
		return;
	g->warmed = true;
	seq_fire(g->r->seq, PHASE_WARM_PEERS, g->w->slot);
	bell_ring(&g->w->bells, SLOT_HEALTH);
}

static bool
tick_due(const struct group *g)
{
	return g->deadline_ns != GROUP_NEVER &&
	       clock_ns(CLOCK_BOOTTIME) >= g->deadline_ns;
}

/*
 * The shutdown bus. The role lasts until the log's last bytes have been
 * flushed and committed: only then it is over.
 */
static void
stop_turn(struct group *g)
{
	unsigned now = loop_shutdown(&g->loop);

	if (now == SHUTDOWN_NONE)
		return;
	if (now >= SHUTDOWN_DRAINING_EVENT_PLANE && group_io_busy(g))
		return;
	if (now == SHUTDOWN_CLOSED) {
		step(g, (struct group_event){ .kind = GROUP_STOP });
		g->loop.quit = true;
	}
	loop_drained(&g->loop, now);
}

static void
turn(void *ctx)
{
	struct group *g = ctx;

	if (g->booted) {
		/*
		 * The cut first: a vote that is durable may make this node
		 * master, and the membership in force says whether it is
		 * enough. One that was cut off is none, and a master would not
		 * be told. (A cut that wal has not begun when the epoch goes up
		 * for that vote, it refuses.)
		 */
		notice_cut(g);
		notice_state(g);
		notice_answer(g);
		notice_positions(g);
		if (tick_due(g))
			step(g, (struct group_event){ .kind = GROUP_TICK });
		warm_peers(g);
		if (!g->ended && loop_shutdown(&g->loop) == SHUTDOWN_NONE)
			group_members_save(g);
	}
	if (!g->ended)
		stop_turn(g);
}

static bool
pending(void *ctx)
{
	struct group *g = ctx;

	if (!g->booted)
		return false;
	if (!g->warmed && g->ready &&
	    seq_reached(g->r->seq, PHASE_TRANSPORT_BIND))
		return true;
	return bytering_ready(&g->ret) || g->member_refused ||
	       g->state_write == STATE_WRITE_DURABLE ||
	       g->state_write == STATE_WRITE_FAILED ||
	       position_event(g, &(struct group_event){ 0 });
}

/* The core's, on the loop's clock, which stands still while this machine does.
 */
static uint64_t
deadline(void *ctx)
{
	struct group *g = ctx;
	uint64_t now;

	if (!g->booted || g->deadline_ns == GROUP_NEVER)
		return LOOP_NEVER;
	now = clock_ns(CLOCK_BOOTTIME);
	return mono_ns() + (g->deadline_ns > now ? g->deadline_ns - now : 0);
}

/* ---- life ---- */

/*
 * The core misses the membership. Is that because its file cannot be had? Then
 * it may be put back.
 */
static bool
members_away(struct group *g, const struct group_action *a)
{
	char why[CONF_PATH_SIZE + 256];
	int rc = g->filed_error;

	if (a->end.forced != GROUP_FORCED_MEMBERS || !disk_fault(-rc))
		return false;
	snprintf(why, sizeof(why),
	    "%s/" MEMBERS_FILE ": %s%s: the group's membership is in it, the "
	    "log does not go back to its record; if the file is lost, boot "
	    "once with [boot] recovery_mode = force",
	    g->w->conf->node.data_dir, rc == -ENOENT ? "" : "read: ",
	    rc == -ENOENT ? "missing" : strerror(-rc));
	boot_failed(g, rc, why);
	return true;
}

/* Would the core refuse what was read? Then it does so now. */
static bool
boot_refused(struct group *g)
{
	struct group_core probe = g->core;
	struct group_todo todo;
	struct group_boot b;

	group_boot_event(g, &b);
	group_step(&probe,
	    &(struct group_event){
		GROUP_BOOTED, clock_ns(CLOCK_BOOTTIME), .booted = &b },
	    &todo);
	if (todo.count == 0 || todo.action[0].kind != GROUP_FAIL)
		return false;
	if (!members_away(g, &todo.action[0]))
		act(g, &todo.action[0]);
	return true;
}

/*
 * Read and judge; then, when nobody refuses this boot, write. A stop or a
 * failure elsewhere ends the wait: then the loop only answers the shutdown bus.
 */
static void
boot(struct group *g)
{
	char why[SEQ_ERROR_MAX - 32] = "";
	struct sequencer *seq = g->r->seq;
	struct group_boot b;
	int rc;

	if (seq_wait_gate(
		seq, PHASE_WAL_RECOVERY, SLOT_WAL, loop_beat, &g->loop) != 0)
		return;
	rc = group_boot_read(g, why, sizeof(why));
	if (rc == 0 && boot_refused(g))
		return;
	if (rc == 0) {
		seq_fire(seq, PHASE_WAL_RECOVERY, g->w->slot);
		if (seq_wait(seq, PHASE_CLUSTER_CATALOG_OPEN, 0, loop_beat,
			&g->loop) != 0)
			return;
		rc = group_boot_open(g, why, sizeof(why));
	}
	if (rc == 0) {
		group_boot_event(g, &b);
		rc = group_boot_force(g, &b, why, sizeof(why));
	}
	if (rc != 0) {
		boot_failed(g, rc, why);
		return;
	}
	g->booted = true;
	step(g, (struct group_event){ .kind = GROUP_BOOTED, .booted = &b });
}

int
group_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = turn,
		.pending = pending,
		.deadline = deadline,
	};
	struct group *g;
	int rc;

	worker_open(w, "group", KEEP_DATA | KEEP_PEERS);
	if (found_is_unjoined(w))
		return found_main(w);
	g = worker_state(w, PHASE_RAFT_METADATA_REPLAY, sizeof(*g));
	g->w = w;
	g->r = w->region;
	g->deadline_ns = GROUP_NEVER;
	region_ring(g->r, CLIENT_GROUP, RING_REQUEST, &g->request);
	region_ring(g->r, CLIENT_GROUP, RING_RETURN, &g->ret);
	rc = loop_open(
	    &g->loop, g->r, &w->bells, w->slot, RING_ENTRIES, g, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_RAFT_METADATA_REPLAY, rc);
		return WORKER_EXIT_FAILED;
	}
	group_io_open(g);
	boot(g);
	if (g->ended)
		return w->exit_code;
	rc = worker_run(w, &g->loop);
	loop_close(&g->loop);
	return rc;
}
