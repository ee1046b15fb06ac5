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
#define RING_LINKS   256 /* with links to others */
/* What is to be said to others at a stop leaves in that time. */
#define STOP_NS (100 * NS_PER_MS)
#define SAY_MS  200 /* and so what is logged last */
#define TICK_NS NS_PER_S
/* A membership in the log that could not be read is read again. */
#define MEMBER_AGAIN_NS (10 * NS_PER_S)

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
	/* Who sees the view can say why nobody is master in it. */
	if (g->linked)
		group_net_no_master(g);
	commit_view_write(g->r->commit, view);
	/* wal begins the term, or reports again under the new epoch. */
	bell_ring(&g->w->bells, SLOT_WAL);
}

uint32_t
group_request(struct group *g, uint8_t type, const void *payload, size_t size)
{
	struct wal_req *req;

	req = bytering_reserve(&g->request, (uint32_t)(sizeof(*req) + size));
	if (req == NULL)
		return 0;
	/* 0 is no number. */
	if (++g->seq == 0)
		g->seq = 1;
	req->seq = g->seq;
	req->incarnation = g->w->incarnation;
	req->type = type;
	req->flags = 0;
	req->zero = 0;
	memcpy(req + 1, payload, size);
	bytering_publish(&g->request);
	bell_ring(&g->w->bells, SLOT_WAL);
	return g->seq;
}

/* A membership into the log. A full ring refuses it, which the loop notices. */
static void
member_append(struct group *g, const struct membership *m)
{
	uint8_t payload[MEMBER_RECORD_MAX];
	size_t n = member_encode(payload, m);

	g->member_seq = group_request(g, REC_MEMBER, payload, n);
	if (g->member_seq == 0) {
		g->member_refused = true;
		return;
	}
	g->member_new = *m;
	g->member_asked = true;
}

static const char *
member_name(const struct group *g, uint64_t incarnation)
{
	const struct membership *m = group_membership(&g->core);
	int i = member_find(m, incarnation);

	return i < 0 ? "?" : m->member[i].name;
}

/* Who stands, or helps another one to a term, and why that is. */
static void
vote_tell(struct group *g, const struct group_action *a)
{
	if (a->store.vote == 0 || a->store.term == g->vote_told)
		return;
	g->vote_told = a->store.term;
	counter_add(g->r->counters, g->w->slot, C_ELECTIONS_HELD, 1);
	if (group_membership(&g->core)->count <= 1)
		return;
	if (a->store.vote == g->node.incarnation)
		event_add(g->r, g->w->slot, EVENT_INFO,
		    "election: stands in term %" PRIu64
		    ": no master is heard and a quorum would vote",
		    a->store.term);
	else
		event_add(g->r, g->w->slot, EVENT_INFO,
		    "election: votes for %s in term %" PRIu64
		    ": it asked, no promise is in the way",
		    member_name(g, a->store.vote), a->store.term);
}

static void
announce(struct group *g, const struct group_action *a)
{
	counter_add(g->r->counters, g->w->slot, C_ROLE_CHANGES, 1);
	if (a->role.elected)
		counter_add(g->r->counters, g->w->slot, C_ELECTIONS_WON, 1);
	event_add(g->r, g->w->slot, EVENT_INFO,
	    "role: %s -> %s in term %" PRIu64 ": %s%s%s",
	    role_name(a->role.from), role_name(a->role.to), a->role.term,
	    a->role.why, a->role.to == ROLE_REPLICA ? ": " : "",
	    a->role.to == ROLE_REPLICA ? member_name(g, group_leader(&g->core))
				       : "");
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
		vote_tell(g, a);
		group_state_store(g, a);
		return;
	case GROUP_PUBLISH:
		view_publish(g, &a->view);
		return;
	case GROUP_FENCE:
		group_sync_fence(g, a->fence);
		return;
	case GROUP_ANSWER:
	case GROUP_TELL:
		group_net_send(g, a->send.to, &a->send.msg);
		return;
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

void
group_event(struct group *g, struct group_event ev)
{
	step(g, ev);
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

	if (group_sync_cut_answer(g, ret) || !g->member_asked ||
	    ret->seq != g->member_seq)
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
	union {
		struct wal_ret ret;
		uint8_t bytes[sizeof(struct chain_ret)];
	} was;
	uint32_t len = 0;

	while (!g->ended && (at = bytering_peek(&g->ret, &len)) != NULL) {
		if (len <= sizeof(was))
			memcpy(&was, at, len);
		/* Taken first: what it leads to may look here again. */
		bytering_advance(&g->ret, len);
		bytering_consume(&g->ret);
		if (len == sizeof(was.ret))
			answer(g, &was.ret);
		else if (len <= sizeof(was))
			(void)group_sync_answer(g, &was, len);
	}
	if (!g->ended && len == UINT32_MAX)
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
void
group_notice_cut(struct group *g)
{
	uint64_t begun = cuts_begun(g), vlsn, done;

	if (begun == g->cuts)
		return;
	vlsn = walbuf_cut_since(&g->r->walbuf, g->cuts, &done);
	g->cuts = begun;
	if (g->member_seen > vlsn)
		g->member_seen = 0;
	if (g->member_bad > vlsn)
		g->member_bad = 0;
	notice_answer(g);
	if (g->ended)
		return;
	step(g, (struct group_event){ .kind = GROUP_MEMBER_CUT, .vlsn = vlsn });
}

/*
 * Is it on this node's own disk? Others may have committed it before that, but
 * a file that tells of more than the log has would refuse the next boot.
 */
static bool
here(const struct group *g, uint64_t vlsn)
{
	return group_membership(&g->core)->count <= 1 ||
	       position_get(&g->r->pos->durable) >= vlsn;
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
	else if (committed_now(g, member) && g->member_commit_told != member &&
		 here(g, member))
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
 * A replica's log got a membership: it counts from the append on. Its record is
 * the log's newest part or near it, so it is read from the buffer.
 */
static void
notice_membership(struct group *g)
{
	uint64_t vlsn = position_get(&g->r->pos->member);
	struct membership *m = &g->newest;
	char why[256];
	int rc;

	if (g->ended || g->view.role == ROLE_MASTER || g->member_asked ||
	    vlsn <= group_membership(&g->core)->vlsn ||
	    vlsn == g->member_seen ||
	    (vlsn == g->member_bad && g->loop.now_ns < g->member_again_ns))
		return;
	/* wal tells of it before others can read it. */
	if (position_get(&g->r->pos->appended) < vlsn)
		return;
	rc = group_boot_membership(g, vlsn, m, why, sizeof(why));
	if (rc == -EAGAIN || cuts_begun(g) != g->cuts)
		return;
	if (rc != 0) {
		if (vlsn != g->member_bad)
			event_add(g->r, g->w->slot, EVENT_ERROR,
			    "membership in the log: %s: this node does not "
			    "stand before it can be read",
			    why);
		g->member_bad = vlsn;
		g->member_again_ns = g->loop.now_ns + MEMBER_AGAIN_NS;
		return;
	}
	step(g, (struct group_event){
		    .kind = GROUP_MEMBER_APPENDED, .membership = m });
	if (!g->ended)
		group_net_members(g);
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
 * The end: a mastership that is over for good is told of, so that the others
 * elect at once. True: that has left, or had the time.
 */
static bool
stop_said(struct group *g)
{
	bool master = g->view.role == ROLE_MASTER;
	uint64_t term = g->view.term;

	if (!g->stopped) {
		g->stopped = true;
		step(g, (struct group_event){ .kind = GROUP_STOP });
		g->stop_ns = g->loop.now_ns + STOP_NS;
		if (!g->linked)
			return true;
		if (master && !g->ended)
			group_net_release(g, term);
		peers_stop(&g->net);
	}
	return !g->linked || !peers_busy(&g->net) ||
	       g->loop.now_ns >= g->stop_ns;
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
	if (now == SHUTDOWN_CLOSED && !stop_said(g))
		return;
	g->loop.quit = now == SHUTDOWN_CLOSED;
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
		group_notice_cut(g);
		notice_state(g);
		notice_answer(g);
		notice_positions(g);
		notice_membership(g);
		if (tick_due(g))
			step(g, (struct group_event){ .kind = GROUP_TICK });
		if (!g->ended && !g->stopped)
			group_sync_turn(g);
		if (!g->ended)
			group_net_turn(g);
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
	       group_sync_pending(g) || g->state_write == STATE_WRITE_DURABLE ||
	       g->state_write == STATE_WRITE_FAILED ||
	       position_event(g, &(struct group_event){ 0 });
}

/* The core's, on the loop's clock, which stands still while this machine does.
 */
static uint64_t
deadline(void *ctx)
{
	struct group *g = ctx;
	uint64_t at = g->deadline_ns, now, links;

	if (!g->booted)
		return LOOP_NEVER;
	if (g->linked && g->sync.state != SYNC_AT_REST && g->sync.until_ns < at)
		at = g->sync.until_ns;
	if (at != GROUP_NEVER) {
		now = clock_ns(CLOCK_BOOTTIME);
		at = mono_ns() + (at > now ? at - now : 0);
	}
	if (!g->linked)
		return at == GROUP_NEVER ? LOOP_NEVER : at;
	links = group_net_deadline(g);
	if (g->stopped && g->stop_ns < links)
		links = g->stop_ns;
	return links < at ? links : at;
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
	/* Force may have put another one in its place. */
	g->member_seen = position_get(&g->r->pos->member);
	step(g, (struct group_event){ .kind = GROUP_BOOTED, .booted = &b });
	if (g->ended)
		return;
	rc = group_net_open(g, why, sizeof(why));
	if (rc != 0)
		boot_failed(g, rc, why);
}

/* The group's key, if there is one: NULL, or what is wrong with it. */
static const char *
key_read(
    const struct worker *w, struct auth_key *key, char *why, size_t why_size)
{
	const char *path = w->conf->security.group_key_file;

	if (path[0] == '\0')
		return NULL;
	return auth_key_read(path, key, why, why_size) == 0 ? NULL : why;
}

int
group_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = turn,
		.pending = pending,
		.deadline = deadline,
	};
	bool several = conf_wants_peers(w->conf);
	const char *slow = NULL, *bad_key = NULL;
	char why[256], key_why[512];
	struct auth_key key = { 0 };
	struct group *g;
	int rc;

	/* Both want rights that are dropped then. */
	if (several) {
		slow = group_hurry(w, why, sizeof(why));
		bad_key = key_read(w, &key, key_why, sizeof(key_why));
	}
	worker_open(w, "group", KEEP_DATA | KEEP_PEERS);
	if (found_is_unjoined(w))
		return found_main(w);
	g = worker_state(w, PHASE_RAFT_METADATA_REPLAY, sizeof(*g));
	g->w = w;
	g->r = w->region;
	g->deadline_ns = GROUP_NEVER;
	/* A log that takes nothing delays no beat. */
	if (several && (rc = say_behind()) != 0)
		say_warnx("a thread for log lines: %s: beats may wait for them",
		    strerror(-rc));
	region_ring(g->r, CLIENT_GROUP, RING_REQUEST, &g->request);
	region_ring(g->r, CLIENT_GROUP, RING_RETURN, &g->ret);
	g->key = key;
	auth_key_wipe(&key);
	if (slow != NULL)
		event_add(g->r, w->slot, EVENT_WARN, "%s", slow);
	rc = loop_open(&g->loop, g->r, &w->bells, w->slot,
	    several ? RING_LINKS : RING_ENTRIES, g, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_RAFT_METADATA_REPLAY, rc);
		return WORKER_EXIT_FAILED;
	}
	group_io_open(g);
	if (bad_key != NULL)
		end_fail(g, bad_key, 0);
	else
		boot(g);
	rc = w->exit_code;
	if (!g->ended) {
		rc = worker_run(w, &g->loop);
		loop_close(&g->loop);
	}
	say_flush(SAY_MS);
	return rc;
}
