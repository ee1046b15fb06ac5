/*
 * The other members: what the core says goes out, what comes in goes to the
 * core, and what the links know is shown. Nothing here waits: a link that does
 * not take a message is dropped by the links' room.
 */
#include "workers/group/group.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "shm/trouble.h"
#include "workers/group/net/translate.h"

#define WATCH_NS  (20 * NS_PER_MS)
#define BEHIND_NS (10 * NS_PER_S) /* then it is told */
/* log10(e), in 1/1000: phi of an exponential distribution. */
#define PHI_MILLI 434

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, v)                                                        \
	atomic_store_explicit(&(field), (v), memory_order_relaxed)

/* ---- what this node is ---- */

static uint64_t
log_last_term(const struct group *g, uint64_t last)
{
	uint64_t term = 0;

	if (last != 0 && terms_of_vlsn(g->r->terms, last, &term) != 0)
		term = g->log_term;
	return term;
}

static void
facts(void *ctx, struct msg_proof *mine)
{
	struct group *g = ctx;
	uint64_t last = position_get(&g->r->pos->appended);
	uint64_t first = position_get(&g->r->pos->first);

	memset(mine, 0, sizeof(*mine));
	memcpy(mine->uuid, g->node.group_uuid, sizeof(mine->uuid));
	mine->generation = g->node.generation;
	mine->incarnation = g->node.incarnation;
	mine->boot_count = g->state.boot;
	mine->boot = g->state.boot_id;
	mine->last_term = log_last_term(g, last);
	mine->term = group_term(&g->core);
	if (mine->term < mine->last_term)
		mine->term = mine->last_term;
	mine->last = last;
	mine->first = last == 0 ? 0 : first == 0 || first > last ? last : first;
	mine->type = NODE_ELECTABLE;
	if (g->view.self < MEMBER_MAX)
		mine->type =
		    group_membership(&g->core)->member[g->view.self].type;
	mine->standing = g->lost ? STANDING_LOST : STANDING_JOINED;
}

static void
boot_seen(void *ctx, uint64_t incarnation, uint64_t *count, uint64_t *id)
{
	struct group *g = ctx;
	const struct state_boot *b = state_seen(&g->state, incarnation);

	*count = b == NULL ? 0 : b->count;
	*id = b == NULL ? 0 : b->id;
}

/* What wal counts for it as the master's: it is matched, flushed and told. */
static void
acked_keep(struct group *g, unsigned i)
{
	struct group_peer *p = &g->peer[i];
	uint64_t word = atomic_load_explicit(
	    &g->r->commit->member[i].durable, memory_order_acquire);

	if (g->view.role != ROLE_MASTER || word_epoch(word) != g->view.epoch ||
	    word_vlsn(word) == 0)
		return;
	p->acked_by = group_membership(&g->core)->member[i].incarnation;
	p->acked_term = g->view.term;
	p->acked = word_vlsn(word);
}

static void
acked(void *ctx, uint64_t incarnation, uint64_t *term, uint64_t *vlsn)
{
	const struct group *g = ctx;
	const struct group_peer *p;

	*term = *vlsn = 0;
	for (p = g->peer; p < g->peer + MEMBER_MAX; p++)
		if (p->acked_by == incarnation) {
			*term = p->acked_term;
			*vlsn = p->acked;
		}
}

static uint64_t
committed(const struct group *g)
{
	return word_vlsn(position_get(&g->r->pos->committed));
}

static void
status(void *ctx, struct msg_status_answer *out)
{
	struct group *g = ctx;
	const struct positions *pos = g->r->pos;
	int master = g->view.master;

	memset(out, 0, sizeof(*out));
	out->term = g->view.term;
	out->master =
	    master < 0 ? 0
		       : group_membership(&g->core)->member[master].incarnation;
	out->uptime_ms = (g->loop.now_ns - g->r->head->started_ns) / NS_PER_MS;
	out->committed = committed(g);
	out->applied = position_get(&pos->applied);
	out->durable = position_get(&pos->durable);
	out->appended = position_get(&pos->appended);
	out->first = position_get(&pos->first);
	if (out->first > out->appended)
		out->first = out->appended;
	if (out->durable > out->appended)
		out->durable = out->appended;
	if (out->applied > out->appended)
		out->applied = out->appended;
	if (out->committed > out->appended)
		out->committed = out->appended;
	out->version_min = MSG_PROTOCOL_MIN;
	out->version_max = MSG_PROTOCOL;
	out->phase = (uint8_t)LOAD(g->r->seq->phase);
	out->role = g->view.role;
	snprintf(out->release, sizeof(out->release), "%s", NODELIFE_VERSION);
}

/* Bits of enum round_flag. */
static uint16_t
own_flags(const struct group *g)
{
	uint16_t flags = 0;

	if (trouble_stands(g->r, TROUBLE_LOG_FULL))
		flags |= ROUND_NO_SPACE;
	if (trouble_stands(g->r, TROUBLE_LOG_STALLED))
		flags |= ROUND_STALLED;
	if (trouble_stands(g->r, TROUBLE_LOG_FAILED))
		flags |= ROUND_LOG_CLOSED;
	if (g->sync.state == SYNC_FED && g->sync_source == FEED_SEGMENTS)
		flags |= ROUND_BEHIND;
	if (g->sync.restore)
		flags |= ROUND_WANTS_RESTORE;
	return flags;
}

/* What the connection that this node is fed by has brought: of this term. */
static uint64_t
own_matched(const struct group *g)
{
	const struct peer_row *row;

	if (g->view.role == ROLE_MASTER)
		return position_get(&g->r->pos->appended);
	if (g->view.role != ROLE_REPLICA || g->view.master < 0 ||
	    g->sync.state != SYNC_FED)
		return 0;
	row = &g->r->peers->row[g->view.master];
	if (atomic_load_explicit(&row->connection, memory_order_acquire) !=
	    g->sync.connection)
		return 0;
	return LOAD(row->matched);
}

static void
own(const struct group *g, uint64_t matched[MEMBER_MAX],
    struct translate_self *out)
{
	const struct positions *pos = g->r->pos;
	uint64_t word;
	unsigned i;

	for (i = 0; i < MEMBER_MAX; i++) {
		word = atomic_load_explicit(
		    &g->r->commit->member[i].durable, memory_order_relaxed);
		matched[i] =
		    word_epoch(word) == g->view.epoch ? word_vlsn(word) : 0;
	}
	*out = (struct translate_self){
		.incarnation = g->node.incarnation,
		.boot_count = g->state.boot,
		.boot = g->state.boot_id,
		.members = group_membership(&g->core),
		.first = position_get(&pos->first),
		.durable = position_get(&pos->durable),
		.applied = position_get(&pos->applied),
		.committed = committed(g),
		.clock_ms = position_get(&pos->clock_ms),
		.flags = own_flags(g),
		.matched = matched,
		.own_matched = own_matched(g),
		.promise_ms = group_membership(&g->core)->lease_ms,
	};
	/* Read last: nothing is above it. */
	out->appended = position_get(&pos->appended);
}

/* ---- out ---- */

static void
send_to(struct group *g, unsigned index, const struct group_msg *m,
    const struct translate_self *self)
{
	const struct msg_proof *facts_of = peers_facts(&g->net, index);
	struct translate_peer to;
	union msg out;
	unsigned type;

	if (facts_of == NULL)
		return;
	to = (struct translate_peer){ facts_of->incarnation,
		facts_of->boot_count, facts_of->boot };
	type = translate_out(m, self, &to, &out);
	if (type != 0)
		(void)peers_send(&g->net, index, type, &out);
}

void
group_net_send(struct group *g, uint64_t incarnation, const struct group_msg *m)
{
	struct translate_self self;
	uint64_t matched[MEMBER_MAX];
	uint32_t up;
	unsigned i;
	int one;

	if (!g->linked)
		return;
	own(g, matched, &self);
	if (incarnation != 0) {
		one = peers_find(&g->net, incarnation);
		if (one >= 0)
			send_to(g, (unsigned)one, m, &self);
		return;
	}
	up = peers_up(&g->net);
	for (i = 0; i < MEMBER_MAX; i++)
		if ((up >> i & 1) != 0)
			send_to(g, i, m, &self);
}

void
group_net_release(struct group *g, uint64_t term)
{
	struct msg_released m = { .term = term, .master = g->node.incarnation };
	uint32_t up;
	unsigned i;

	if (!g->linked)
		return;
	up = peers_up(&g->net);
	for (i = 0; i < MEMBER_MAX; i++)
		if ((up >> i & 1) != 0)
			(void)peers_send(&g->net, i, MSG_RELEASED, &m);
}

/* ---- in ---- */

/* "Frames and heartbeats carry the master's" (DESIGN, 8). */
static void
committed_adopt(struct group *g, unsigned index, const struct msg_round *m)
{
	_Atomic uint64_t *v = &g->r->pos->committed.v;
	uint64_t upto = own_matched(g), now, next;

	if (g->view.role != ROLE_REPLICA || g->view.master != (int)index ||
	    m->term != g->view.term || g->sync.epoch != g->view.epoch)
		return;
	if (m->committed < upto)
		upto = m->committed;
	now = atomic_load_explicit(v, memory_order_acquire);
	do {
		if (word_epoch(now) != g->view.epoch || word_vlsn(now) >= upto)
			return;
		next = epoch_word(g->view.epoch, upto);
	} while (!atomic_compare_exchange_weak_explicit(
	    v, &now, next, memory_order_acq_rel, memory_order_acquire));
	commit_wake_raised(&g->commit_wake, g->loop.now_ns);
}

static void
released(struct group *g, unsigned index, const struct msg_released *m)
{
	const struct msg_proof *p = peers_facts(&g->net, index);

	if (p == NULL || m->master != p->incarnation)
		return;
	group_event(g, (struct group_event){ .kind = GROUP_RELEASED,
			   .peer = { m->master, p->boot_count, m->term } });
}

static void
message(void *ctx, unsigned index, unsigned type, const union msg *m)
{
	struct group *g = ctx;
	const struct msg_proof *p = peers_facts(&g->net, index);
	struct translate_self self;
	struct translate_peer from;
	struct group_msg in;
	uint64_t matched[MEMBER_MAX];

	if (!g->booted || g->ended || p == NULL)
		return;
	if (group_found_message(g, index, type, m))
		return;
	/* A membership that is cut off tells nothing about a vote. */
	group_notice_cut(g);
	if (type == MSG_RELEASED) {
		released(g, index, &m->released);
		return;
	}
	own(g, matched, &self);
	from =
	    (struct translate_peer){ p->incarnation, p->boot_count, p->boot };
	if (!translate_in(type, m, &self, &from, &in)) {
		group_sync_message(g, index, type, m);
		return;
	}
	group_event(
	    g, (struct group_event){ .kind = GROUP_MESSAGE, .msg = &in });
	if (type == MSG_ROUND && !g->ended)
		committed_adopt(g, index, &m->round);
}

/* ---- links ---- */

static const char *
name_of(const struct group *g, unsigned index)
{
	const struct membership *m = group_membership(&g->core);

	return index < m->count ? m->member[index].name : "?";
}

/* Who takes part, as far as can be seen: a mask. */
static uint16_t
members_up(const struct group *g)
{
	uint16_t up = (uint16_t)peers_up(&g->net);
	const struct msg_proof *p;
	unsigned i;

	for (i = 0; i < MEMBER_MAX; i++) {
		p = (up >> i & 1) != 0 ? peers_facts(&g->net, i) : NULL;
		if (p != NULL && p->standing == STANDING_LOST)
			up &= (uint16_t) ~(1u << i);
	}
	return up;
}

/* Do those that are connected, with this node, make a commit quorum? */
static bool
quorum_up(const struct group *g)
{
	const struct quorums *q = group_quorums(&g->core);
	uint16_t up = members_up(g);

	if (g->view.self < MEMBER_MAX && !g->lost)
		up |= (uint16_t)(1u << g->view.self);
	return quorum_has(&q->commit, quorum_set(q->voters, up));
}

/* Why there is no master, as an admin reads it. */
static void
no_master_text(const struct group *g, char *out, size_t size)
{
	const struct membership *m = group_membership(&g->core);
	uint32_t up = peers_up(&g->net);
	char error[PEER_TEXT];
	unsigned i, away = 0;
	size_t at;

	for (i = 0; i < m->count; i++)
		away += i != g->view.self && (up >> i & 1) == 0;
	if (g->lost) {
		snprintf(out, size,
		    "this node lost its log or its promises: it must be "
		    "restored");
		return;
	}
	if (away == 0) {
		snprintf(out, size, "an election is under way");
		return;
	}
	at = (size_t)snprintf(out, size,
	    "%u of %u members %s not connected:", away, m->count,
	    away == 1 ? "is" : "are");
	for (i = 0; i < m->count && at < size; i++) {
		if (i == g->view.self || (up >> i & 1) != 0)
			continue;
		peer_text_get(&g->r->peers->row[i].error, error, sizeof(error));
		at += (size_t)snprintf(out + at, size - at, " %s%s%.48s%s",
		    m->member[i].name, error[0] != '\0' ? " (" : "", error,
		    error[0] != '\0' ? ")" : "");
	}
}

void
group_net_no_master(struct group *g)
{
	char text[PEER_TEXT] = "";
	bool known =
	    g->view.role == ROLE_MASTER || g->view.role == ROLE_REPLICA;

	if (known) {
		if (g->no_master_ns != 0)
			peers_no_master_set(g->r->peers, 0, "");
		g->no_master_ns = 0;
		return;
	}
	no_master_text(g, text, sizeof(text));
	if (g->no_master_ns != 0 && strcmp(text, g->no_master) == 0)
		return;
	if (g->no_master_ns == 0)
		g->no_master_ns = g->loop.now_ns;
	memcpy(g->no_master, text, sizeof(text));
	peers_no_master_set(g->r->peers, g->no_master_ns, text);
}

static void
quorum_tell(struct group *g)
{
	bool now = quorum_up(g);
	char text[PEER_TEXT];

	if (g->quorum_known && now == g->quorum)
		return;
	if (g->quorum_known && !now) {
		no_master_text(g, text, sizeof(text));
		event_add(g->r, g->w->slot, EVENT_ERROR,
		    "quorum lost in term %" PRIu64 ": %s: nothing is "
		    "committed until enough are back",
		    g->view.term, text);
	} else if (now) {
		event_add(g->r, g->w->slot, EVENT_INFO,
		    "quorum: enough members are connected, term %" PRIu64,
		    g->view.term);
	}
	g->quorum = now;
	g->quorum_known = g->quorum_known || now;
}

static void
up(void *ctx, unsigned index)
{
	struct group *g = ctx;
	const struct msg_proof *p = peers_facts(&g->net, index);
	struct group_event ev = { .kind = GROUP_PEER };

	ASSERT(p != NULL);
	/* Its boots are counted from when it is of the group. */
	if (group_found_up(g, index, p))
		return;
	/* Who lost its promises lost the count of its boots, too. */
	if (p->standing != STANDING_LOST &&
	    state_see(&g->state, p->incarnation, p->boot_count, p->boot))
		group_state_touch(g);
	ev.peer.incarnation = p->incarnation;
	ev.peer.boot = p->boot_count;
	group_event(g, ev);
	quorum_tell(g);
	group_net_no_master(g);
	group_sync_up(g, index);
}

static void
down(void *ctx, unsigned index)
{
	struct group *g = ctx;

	g->peer[index].chain = (struct group_ask){ false };
	quorum_tell(g);
	group_net_no_master(g);
}

static void
data(void *ctx, unsigned index, int fd, const struct link_handed *link)
{
	group_sync_data(ctx, index, fd, link);
}

static void
data_failed(void *ctx, unsigned index, uint64_t connection, unsigned reason,
    const char *text)
{
	struct group *g = ctx;

	say_debug("data connection to %s: %s: %s", name_of(g, index),
	    msg_reason_name(reason), text);
	group_sync_failed(g, connection);
}

/* ---- rows ---- */

static void
phi_show(struct group *g, struct group_peer *p, struct peer_row *row)
{
	uint64_t heard = LOAD(row->heard_ns), gap, phi = 0;

	if (heard > p->heard_ns && p->heard_ns != 0) {
		gap = heard - p->heard_ns;
		p->gap_ns = p->gap_ns == 0 ? gap : (7 * p->gap_ns + gap) / 8;
	}
	p->heard_ns = heard;
	if (p->gap_ns != 0 && heard != 0 && g->loop.now_ns > heard)
		phi = (g->loop.now_ns - heard) * PHI_MILLI / p->gap_ns;
	STORE(row->phi_milli, phi > 1000000 ? 1000000 : (uint32_t)phi);
}

static void
behind_over(struct group *g, unsigned i)
{
	struct group_peer *p = &g->peer[i];

	if (p->behind_told_ns == 0)
		return;
	event_add(g->r, g->w->slot, EVENT_INFO,
	    "member %s has caught up after %" PRIu64 " s", name_of(g, i),
	    (g->loop.now_ns - p->behind_told_ns) / NS_PER_S);
	p->behind_told_ns = 0;
}

/*
 * As the master sees it: what is durable there is not what is committed. Under
 * load there is always something on its way, so the time counts for what was
 * committed when it began, and begins anew when the member has that.
 */
static void
behind_show(struct group *g, unsigned i, struct peer_row *row)
{
	struct group_peer *p = &g->peer[i];
	uint64_t word = atomic_load_explicit(
	    &g->r->commit->member[i].durable, memory_order_relaxed);
	uint64_t has = word_epoch(word) == g->view.epoch ? word_vlsn(word)
							 : LOAD(row->durable);
	uint64_t now = g->loop.now_ns, all = committed(g);

	if (g->view.role != ROLE_MASTER || has >= all) {
		behind_over(g, i);
		p->behind_ns = 0;
	} else if (p->behind_ns == 0 || has >= p->behind_vlsn) {
		if (now - p->behind_ns < BEHIND_NS)
			behind_over(g, i);
		p->behind_ns = now;
		p->behind_vlsn = all;
	} else if (p->behind_told_ns == 0 && now - p->behind_ns >= BEHIND_NS) {
		p->behind_told_ns = p->behind_ns;
		event_add(g->r, g->w->slot, EVENT_WARN,
		    "member %s is behind for 10 s: it has %" PRIu64
		    " of %" PRIu64 " committed records on disk",
		    name_of(g, i), has, all);
	}
	STORE(row->behind_ns, p->behind_ns);
}

static void
watch(struct group *g)
{
	struct peer_row *row;
	unsigned i;

	if (g->loop.now_ns < g->watch_ns)
		return;
	g->watch_ns = g->loop.now_ns + WATCH_NS;
	for (i = 0; i < group_membership(&g->core)->count; i++) {
		if (i == g->view.self)
			continue;
		row = &g->r->peers->row[i];
		acked_keep(g, i);
		phi_show(g, &g->peer[i], row);
		behind_show(g, i, row);
	}
	group_net_no_master(g);
}

/* ---- life ---- */

void
group_net_members(struct group *g)
{
	const struct membership *m = group_membership(&g->core);
	struct net_member rows[MEMBER_MAX];
	unsigned i;

	if (!g->linked)
		return;
	memset(rows, 0, sizeof(rows));
	for (i = 0; i < m->count; i++) {
		memcpy(rows[i].name, m->member[i].name, sizeof(rows[i].name));
		memcpy(rows[i].address, m->member[i].peer,
		    sizeof(rows[i].address));
		rows[i].incarnation = m->member[i].incarnation;
		rows[i].type = m->member[i].type;
		rows[i].self = m->member[i].incarnation == g->node.incarnation;
	}
	peers_set(&g->net, rows, m->count);
}

/* Who lost all memory knows the others by its configuration only. */
static void
members_of_conf(struct group *g)
{
	const struct conf *conf = g->w->conf;
	struct net_member rows[MEMBER_MAX];
	unsigned i, n = 0;

	memset(rows, 0, sizeof(rows));
	snprintf(rows[n].name, sizeof(rows[n].name), "%s", g->node.node);
	rows[n++].self = true;
	for (i = 0; i < conf->peer_count && n < MEMBER_MAX; i++, n++) {
		snprintf(rows[n].name, sizeof(rows[n].name), "%s",
		    conf->peer[i].name);
		snprintf(rows[n].address, sizeof(rows[n].address), "%s",
		    conf->peer[i].address);
		rows[n].type = -1;
	}
	peers_set(&g->net, rows, n);
}

static void
link_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct group *g = ctx;

	(void)flags;
	peers_completed(&g->net, slot, generation, res);
}

static void
listen_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct group *g = ctx;

	(void)generation;
	peers_polled(&g->net, slot, res, flags);
}

int
group_net_open(struct group *g, char *why, size_t why_size)
{
	static const struct net_hooks hooks = {
		.facts = facts,
		.boot = boot_seen,
		.acked = acked,
		.status = status,
		.up = up,
		.down = down,
		.message = message,
		.data = data,
		.data_failed = data_failed,
	};
	struct net_setup s = {
		.loop = &g->loop,
		.region = g->r,
		.slot = g->w->slot,
		.kind_link = KIND_LINK,
		.kind_listen = KIND_LISTEN,
		.key = &g->key,
		.name = g->node.node,
		.group = g->node.group,
		.listen_fd = g->w->peer_fd,
		.hooks = &hooks,
		.ctx = g,
	};
	int rc;

	_Static_assert(NET_LISTEN_MAX == LISTEN_MAX, "the same sockets");
	if (g->w->readonly ||
	    (group_membership(&g->core)->count <= 1 && !g->lost))
		return 0;
	loop_on(&g->loop, KIND_LINK, link_done);
	loop_on(&g->loop, KIND_LISTEN, listen_done);
	rc = peers_open(&g->net, &s);
	if (rc != 0) {
		snprintf(why, why_size, "links to members: %s", strerror(-rc));
		return rc;
	}
	g->linked = true;
	found_differences(g->r, g->w->slot, g->w->conf, g->node.node,
	    group_membership(&g->core));
	g->connection = g->state.boot << 28;
	commit_wake_open(&g->commit_wake, g->r, &g->w->bells);
	if (group_membership(&g->core)->count > 1)
		group_net_members(g);
	else
		members_of_conf(g);
	return 0;
}

void
group_net_turn(struct group *g)
{
	if (!g->linked)
		return;
	peers_turn(&g->net);
	if (g->ended)
		return;
	commit_wake_turn(&g->commit_wake, g->loop.now_ns);
	watch(g);
}

/* On the loop's clock. */
uint64_t
group_net_deadline(const struct group *g)
{
	uint64_t at = peers_deadline(&g->net), wake;

	wake = commit_wake_deadline(&g->commit_wake);
	if (wake < at)
		at = wake;
	return g->watch_ns < at ? g->watch_ns : at;
}
