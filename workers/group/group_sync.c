/*
 * Syncup as the loop drives it: the replica's machine (core/sync.h), the
 * master's answers, the questions to wal that both need, and the data sockets
 * that go to who speaks on them (ipc/handover.h).
 *
 * A question to wal that finds the ring full is asked again in a later turn.
 */
#include "workers/group/group.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "ipc/handover.h"
#include "shm/assert.h"
#include "shm/say.h"

/* A data socket that was given away shows in the row by then. */
#define TAKEN_NS (2 * NS_PER_S)
/* What a replica takes without having acknowledged it. */
#define WINDOW (4u * 1024 * 1024)

static uint64_t
boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

static const char *
name_of(const struct group *g, unsigned index)
{
	const struct membership *m = group_membership(&g->core);

	return index < m->count ? m->member[index].name : "?";
}

/* Whom the machine follows: an index, or -1. */
static int
master_index(const struct group *g)
{
	return g->sync.master == 0 ? -1 : peers_find(&g->net, g->sync.master);
}

static struct sync_log
own_log(struct group *g)
{
	struct sync_log log = { .run = g->run };

	log.run_count = terms_copy(g->r->terms, g->run);
	log.first = position_get(&g->r->pos->first);
	log.committed = word_vlsn(position_get(&g->r->pos->committed));
	log.applied = position_get(&g->r->pos->applied);
	return log;
}

/* ---- the machine ---- */

static void machine(struct group *g, struct sync_event ev);

static void
tell(struct group *g, const struct sync_out *out)
{
	int i = master_index(g);
	const char *master = i < 0 ? "?" : name_of(g, (unsigned)i);

	switch (out->news) {
	case SYNC_NO_NEWS:
		return;
	case SYNC_NEWS_CUT:
		event_add(g->r, g->w->slot, EVENT_WARN,
		    "syncup with %s in term %" PRIu64 ": %" PRIu64
		    " records, %" PRIu64 " to %" PRIu64
		    ", that no quorum had were cut off: they are in "
		    "%s/salvage",
		    master, g->sync.term, out->last - out->vlsn, out->vlsn + 1,
		    out->last, g->w->conf->node.data_dir);
		return;
	case SYNC_NEWS_RESTORE:
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "syncup with %s in term %" PRIu64
		    ": %s: its log ends at %" PRIu64
		    ", the master's begins at %" PRIu64
		    ": this node gets no records and must be restored from "
		    "another member",
		    master, g->sync.term, out->why, out->vlsn, out->first);
		return;
	case SYNC_NEWS_DAMAGE:
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "syncup with %s in term %" PRIu64 ": record %" PRIu64
		    " is there and here, with unlike content (chain %08x "
		    "here, %08x there): one of the two logs is damaged: run "
		    "nodelifewal verify on both nodes",
		    master, g->sync.term, out->vlsn, out->crc, out->their_crc);
		return;
	case SYNC_NEWS_UNSAVED:
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "syncup with %s in term %" PRIu64
		    ": records behind %" PRIu64
		    " contradict the master's and could not be cut off: "
		    "wal refused with %u: it is tried again",
		    master, g->sync.term, out->vlsn, out->status);
		return;
	}
}

static void
send_runs(struct group *g)
{
	struct sync_log log = own_log(g);
	int i = master_index(g);

	if (i < 0)
		return;
	sync_ask(&g->sync, &log, &g->runs);
	(void)peers_send(&g->net, (unsigned)i, MSG_SYNC_RUNS, &g->runs);
}

static void
send_match(struct group *g)
{
	struct msg_match m;
	int i = master_index(g);

	if (i < 0)
		return;
	sync_match(&g->sync, WINDOW, &m);
	(void)peers_send(&g->net, (unsigned)i, MSG_SYNC_MATCH, &m);
}

/*
 * A membership that goes with it is none from now on, which may raise the
 * epoch: then the machine begins again, in that.
 */
static void
cut(struct group *g)
{
	group_event(g, (struct group_event){
			   .kind = GROUP_MEMBER_CUT, .vlsn = g->sync.cut });
	if (g->ended || g->view.epoch != g->sync.epoch)
		return;
	g->cut.wanted = true;
}

static void
dial(struct group *g, const struct msg_ticket *t)
{
	int i = master_index(g), rc = -ENOTCONN;

	if (i >= 0 && t != NULL)
		rc = peers_dial_data(&g->net, (unsigned)i, t);
	if (rc == 0)
		g->sync_source = t->source;
	else
		machine(g, (struct sync_event){ .kind = SYNC_ENDED });
}

static void
machine(struct group *g, struct sync_event ev)
{
	struct sync_out out;

	ev.now_ns = boot_ns();
	sync_step(&g->sync, &ev, &out);
	tell(g, &out);
	switch (out.what) {
	case SYNC_DO_NOTHING:
		return;
	case SYNC_DO_FENCE:
		g->cut.wanted = false;
		g->fence.wanted = true;
		if (g->fence_epoch < g->sync.epoch)
			g->fence_epoch = g->sync.epoch;
		return;
	case SYNC_DO_ASK:
		send_runs(g);
		return;
	case SYNC_DO_CUT:
		cut(g);
		return;
	case SYNC_DO_MATCH:
		send_match(g);
		return;
	case SYNC_DO_DIAL:
		dial(g, ev.kind == SYNC_TICKET ? ev.ticket : NULL);
		return;
	}
}

/* Whom to follow: a master in whose term nothing is under way any more. */
static void
follow(struct group *g)
{
	const struct membership *m = group_membership(&g->core);
	struct sync_event ev = { .kind = SYNC_MASTER };

	if (g->view.role == ROLE_REPLICA && g->view.master >= 0 &&
	    !group_state_owed(g)) {
		ev.master.incarnation = m->member[g->view.master].incarnation;
		ev.master.term = g->view.term;
		ev.master.epoch = g->view.epoch;
	}
	if (ev.master.incarnation == g->sync.master &&
	    ev.master.term == g->sync.term && ev.master.epoch == g->sync.epoch)
		return;
	peers_void_all(&g->net);
	machine(g, ev);
}

/* The end of the data connection that feeds this node, if wal told of it. */
static void
notice_ended(struct group *g)
{
	const struct peer_row *row;
	struct sync_event ev = { .kind = SYNC_ENDED };

	if (g->sync.state != SYNC_FED || g->view.master < 0)
		return;
	row = &g->r->peers->row[g->view.master];
	ev.ended.connection =
	    atomic_load_explicit(&row->ended, memory_order_acquire);
	if (ev.ended.connection != g->sync.connection) {
		if (g->loop.now_ns - g->fed_ns < TAKEN_NS ||
		    atomic_load_explicit(&row->connection,
			memory_order_relaxed) == g->sync.connection)
			return;
		/* Nobody has taken it, and nobody says so. */
		ev.ended.connection = g->sync.connection;
		machine(g, ev);
		return;
	}
	ev.ended.again =
	    atomic_load_explicit(&row->end_reason, memory_order_relaxed) ==
	    PEER_ENDED_FEED + FEED_CAUGHT_UP;
	machine(g, ev);
}

void
group_sync_up(struct group *g, unsigned index)
{
	struct sync_event ev = { .kind = SYNC_MASTER };

	/* A pause for who was not to be reached is over. */
	if (master_index(g) != (int)index || g->sync.state != SYNC_PAUSES)
		return;
	machine(g, ev);
	follow(g);
}

/* ---- questions to wal ---- */

void
group_sync_fence(struct group *g, uint16_t epoch)
{
	g->fence.wanted = true;
	g->core_fence = true;
	if (g->fence_epoch < epoch)
		g->fence_epoch = epoch;
}

static void
ask_fence(struct group *g)
{
	struct fence_req req = { .epoch = g->fence_epoch };
	uint32_t seq = group_request(g, REQ_FENCE, &req, sizeof(req));

	if (seq == 0)
		return;
	g->fence = (struct group_ask){ .sent = true, .seq = seq };
}

static void
ask_cut(struct group *g)
{
	struct cut_req req = { .vlsn = g->sync.cut, .epoch = g->sync.epoch };
	uint32_t seq;

	if (g->sync.state != SYNC_CUTTING) {
		g->cut.wanted = false;
		return;
	}
	seq = group_request(g, REQ_CUT, &req, sizeof(req));
	if (seq != 0)
		g->cut = (struct group_ask){ .sent = true, .seq = seq };
}

static void
ask_chain(struct group *g, struct group_peer *p)
{
	struct chain_req req = { .vlsn = p->match.vlsn };
	uint32_t seq = group_request(g, REQ_CHAIN, &req, sizeof(req));

	if (seq != 0)
		p->chain = (struct group_ask){ .sent = true, .seq = seq };
}

static void
ask(struct group *g)
{
	unsigned i;

	if (g->fence.wanted)
		ask_fence(g);
	if (g->cut.wanted)
		ask_cut(g);
	for (i = 0; i < MEMBER_MAX; i++)
		if (g->peer[i].chain.wanted)
			ask_chain(g, &g->peer[i]);
}

static void
fenced(struct group *g, const struct fence_ret *ret)
{
	struct sync_event ev = { .kind = SYNC_FENCED };

	if (!g->fence.sent || ret->seq != g->fence.seq)
		return;
	g->fence.sent = false;
	ev.end.epoch = ret->epoch;
	ev.end.crc = ret->crc;
	ev.end.term = ret->term;
	ev.end.vlsn = ret->vlsn;
	if (g->core_fence) {
		g->core_fence = false;
		group_event(
		    g, (struct group_event){ .kind = GROUP_FENCED,
			   .fenced = { ret->epoch, { ret->term, ret->vlsn },
			       ret->member_vlsn } });
	}
	if (!g->ended)
		machine(g, ev);
}

/* ---- the master ---- */

static struct sync_master
as_master(struct group *g)
{
	struct sync_master me = { .term = g->view.term,
		.epoch = g->view.epoch,
		.leads = g->view.role == ROLE_MASTER };

	/* Read first: no run of behind it is told. */
	me.last = position_get(&g->r->pos->appended);
	if (terms_of_vlsn(g->r->terms, me.last, &me.last_term) != 0)
		me.last_term = 0;
	me.log = own_log(g);
	return me;
}

static void
refuse(struct group *g, unsigned index, const struct msg_sync_refused *r)
{
	/* A message has a term. */
	if (r->term != 0)
		(void)peers_send(&g->net, index, MSG_SYNC_REFUSED, r);
}

static void
on_runs(struct group *g, unsigned index, const struct msg_runs *m)
{
	struct sync_master me = as_master(g);
	struct msg_sync_refused r;

	if (sync_answer(&me, m, &g->runs, &r))
		(void)peers_send(&g->net, index, MSG_SYNC_ANSWER, &g->runs);
	else
		refuse(g, index, &r);
}

static void
on_match(struct group *g, unsigned index, const struct msg_match *m)
{
	struct group_peer *p = &g->peer[index];

	p->match = *m;
	p->chain = (struct group_ask){ .wanted = true };
}

static void
damage_tell(struct group *g, unsigned index, const struct msg_sync_refused *r)
{
	struct group_peer *p = &g->peer[index];

	if (r->reason != SYNC_DAMAGE || p->damage_told)
		return;
	p->damage_told = true;
	event_add(g->r, g->w->slot, EVENT_ERROR,
	    "syncup of %s in term %" PRIu64 ": record %" PRIu64
	    " is there and here, with unlike content (chain %08x here, %08x "
	    "there): one of the two logs is damaged: run nodelifewal verify "
	    "on both nodes",
	    name_of(g, index), g->view.term, r->vlsn, r->crc, p->match.crc);
}

/*
 * The number of a connection, above those before it in all boots of this node,
 * and none that another one gives: rows tell of both ways.
 */
static uint64_t
connection_next(struct group *g)
{
	ASSERT(g->view.self < MEMBER_MAX);
	return ++g->connection * MEMBER_MAX + g->view.self;
}

/* wal has said what stands there: a ticket, or not. */
static void
chained(struct group *g, unsigned index, const struct chain_ret *ret)
{
	struct group_peer *p = &g->peer[index];
	struct sync_master me = as_master(g);
	struct msg_sync_refused r;
	struct msg_ticket t;

	p->chain.sent = false;
	if (!sync_judge(&me, &p->match, ret, &t, &r)) {
		damage_tell(g, index, &r);
		refuse(g, index, &r);
		return;
	}
	p->damage_told = false;
	t.connection = connection_next(g);
	if (peers_ticket(&g->net, index, &t) == 0)
		(void)peers_send(&g->net, index, MSG_TICKET, &t);
}

/* ---- what came ---- */

void
group_sync_message(
    struct group *g, unsigned index, unsigned type, const union msg *m)
{
	struct sync_event ev = { .kind = SYNC_ANSWERED };
	bool from_master = master_index(g) == (int)index;

	if (type == MSG_SYNC_RUNS) {
		on_runs(g, index, &m->sync_runs);
	} else if (type == MSG_SYNC_MATCH) {
		on_match(g, index, &m->sync_match);
	} else if (!from_master) {
		return;
	} else if (type == MSG_SYNC_ANSWER) {
		ev.answer.theirs = &m->sync_answer;
		ev.answer.own = own_log(g);
		machine(g, ev);
	} else if (type == MSG_SYNC_REFUSED) {
		ev.kind = SYNC_TURNED_AWAY;
		ev.refused = &m->sync_refused;
		machine(g, ev);
	} else if (type == MSG_TICKET) {
		ev.kind = SYNC_TICKET;
		ev.ticket = &m->ticket;
		machine(g, ev);
	}
}

bool
group_sync_answer(struct group *g, const void *at, uint32_t len)
{
	struct fence_ret fence;
	struct chain_ret chain;
	unsigned i;

	if (len == sizeof(fence)) {
		memcpy(&fence, at, sizeof(fence));
		fenced(g, &fence);
		return true;
	}
	if (len != sizeof(chain))
		return false;
	memcpy(&chain, at, sizeof(chain));
	for (i = 0; i < MEMBER_MAX; i++)
		if (g->peer[i].chain.sent && g->peer[i].chain.seq == chain.seq)
			chained(g, i, &chain);
	return true;
}

bool
group_sync_cut_answer(struct group *g, const struct wal_ret *ret)
{
	if (!g->cut.sent || ret->seq != g->cut.seq)
		return false;
	g->cut.sent = false;
	group_notice_cut(g);
	if (!g->ended)
		machine(g, (struct sync_event){
			       .kind = SYNC_CUT, .status = ret->status });
	return true;
}

/* ---- data connections ---- */

/*
 * Is it still what was agreed to? Of the master's side: in this term and epoch;
 * of the replica's: the one that it waits for.
 */
static bool
is_wanted(const struct group *g, const struct link_handed *link)
{
	const struct msg_data_hello *d = &link->data;

	if (link->role == FROM_DIALER)
		return g->sync.state == SYNC_DIALLING &&
		       g->sync.connection == d->connection &&
		       d->epoch == g->view.epoch && d->term == g->view.term;
	return g->view.role == ROLE_MASTER && d->term == g->view.term &&
	       d->their_epoch == g->view.epoch;
}

void
group_sync_data(
    struct group *g, unsigned index, int fd, const struct link_handed *link)
{
	bool feeds = link->role == FROM_LISTENER;
	bool files = feeds && link->data.source == FEED_SEGMENTS;
	struct data_offer offer = { .link = *link,
		.window = feeds ? g->peer[index].match.window : WINDOW,
		.member = (uint8_t)index };
	int pair = files ? g->w->to_restore : g->w->to_wal, rc = -ESTALE;

	if (is_wanted(g, link))
		rc = handover_send(pair, &offer, fd);
	close(fd);
	if (rc == 0)
		bell_ring(&g->w->bells, files ? SLOT_RESTORE : SLOT_WAL);
	else if (rc != -ESTALE)
		say_warnx("data connection %s %s: handed to nobody: %s",
		    feeds ? "to" : "from", name_of(g, index), strerror(-rc));
	if (feeds)
		return;
	g->fed_ns = g->loop.now_ns;
	if (rc == 0)
		machine(g, (struct sync_event){ .kind = SYNC_FEEDS,
			       .connection = link->data.connection });
	else
		group_sync_failed(g, link->data.connection);
}

void
group_sync_failed(struct group *g, uint64_t connection)
{
	struct sync_event ev = { .kind = SYNC_ENDED };

	ev.ended.connection = connection;
	machine(g, ev);
}

/* ---- turns ---- */

void
group_sync_turn(struct group *g)
{
	if (!g->linked)
		return;
	follow(g);
	notice_ended(g);
	if (!g->ended && boot_ns() >= g->sync.until_ns &&
	    g->sync.state != SYNC_AT_REST)
		machine(g, (struct sync_event){ .kind = SYNC_TICK });
	if (!g->ended)
		ask(g);
}

/* What the next turn would do, but for questions that a full ring refused. */
bool
group_sync_pending(const struct group *g)
{
	const struct peer_row *row;

	if (!g->linked)
		return false;
	if (g->sync.state == SYNC_FED && g->view.master >= 0) {
		row = &g->r->peers->row[g->view.master];
		if (atomic_load_explicit(&row->ended, memory_order_acquire) ==
		    g->sync.connection)
			return true;
	}
	return peers_pending(&g->net);
}
