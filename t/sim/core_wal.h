/*
 * The wal that t/sim/core_sim.c plays: it appends, cuts, copies logs, flushes,
 * acknowledges and commits, and tells the core of memberships in its log.
 */
#ifndef T_SIM_CORE_WAL_H
#define T_SIM_CORE_WAL_H

#include "t/sim/core_checks.h"
#include "t/sim/core_members.h"

static void step(struct node *n, struct group_event ev);
static uint64_t slow(uint64_t most);
static uint64_t delay(void);

static void
wal_look(struct node *n)
{
	n->wal.role = n->view.role;
	n->wal.term = n->view.term;
}

static void
wal_append(struct node *n)
{
	if (n->wal.role != ROLE_MASTER || n->appended + 1 >= LOG_MAX ||
	    (n->wal.own_term == n->wal.term && n->appended >= LOG_SPARE))
		return;
	CHECK(ghost.winner[n->wal.term].life == n->life,
	    "V2: appended in a term that was not won");
	n->log[++n->appended] = (uint16_t)n->wal.term;
	n->conf[n->appended] = 0;
	n->wal.own_term = n->wal.term;
}

/* Memberships that the log has got are told before they can be flushed. */
static void
wal_tell(struct node *n)
{
	push((struct event){ .at = now + 20000 + slow(MS),
	    .kind = EV_TOLD,
	    .node = number(n),
	    .tag = n->life });
}

static void
wal_flush(struct node *n)
{
	uint64_t v = n->told;

	while (v < n->appended && n->conf[v + 1] == 0)
		v++;
	if (v > n->durable)
		n->durable = v;
}

/*
 * "A change starts only when the previous one and a record of the own term are
 * committed" (DESIGN, 8).
 */
static void
wal_change(struct node *n)
{
	const struct group_core *c = &n->core;
	const struct membership *m = &conf[n->conf[c->current.vlsn]];
	uint8_t next;

	if (calm || n->wal.role != ROLE_MASTER || n->paused_until > now ||
	    n->wal.term != n->view.term || n->view.role != ROLE_MASTER ||
	    conf_at(n, n->appended)->vlsn > n->filed ||
	    n->log[n->known] != n->wal.term || n->appended >= LOG_SPARE)
		return;
	next = conf_next(m);
	if (next == 0)
		return;
	wal_append(n);
	n->conf[n->appended] = next;
	conf[next].vlsn = n->appended;
	conf[next].before = m->vlsn;
	tell("%u changes the members at %u: %u are", number(n),
	    (unsigned)n->appended, conf[next].count);
	ghost.members++;
	wal_tell(n);
}

static void
ack(const struct node *m, const struct node *r, uint64_t vlsn)
{
	unsigned to = (unsigned)(m - node), from = (unsigned)(r - node);

	if (cut[from][to])
		return;
	CHECK(ghost.given[from] <= r->wal.term,
	    "A1: an ack of a lower term than a vote");
	push((struct event){ .at = now + delay(),
	    .kind = EV_ACK,
	    .node = to,
	    .from = from,
	    .tag = r->wal.term,
	    .vlsn = vlsn });
}

static bool
is_arbiter(const struct node *m, const struct node *r)
{
	int i = member_of(&m->core.current, r);

	return i >= 0 && m->core.current.member[i].type == NODE_ARBITER;
}

/* An arbiter has nothing that nobody has who may be master. */
static uint64_t
arbiter_end(const struct node *m, uint64_t upto)
{
	const struct membership *now_in = &m->core.current;
	uint64_t best = 1, v;
	uint32_t i;

	for (i = 0; i < now_in->count; i++) {
		const struct node *n = &node[node_of(now_in, i)];

		if (now_in->member[i].type != NODE_ELECTABLE)
			continue;
		for (v = 1; v < upto && v < n->durable &&
			    n->log[v + 1] == m->log[v + 1];)
			v++;
		if (v > best)
			best = v;
	}
	return best;
}

/* The log will end there; false: the group does not hear of it now. */
static bool
wal_cut(struct node *r, uint64_t end)
{
	uint64_t life = r->life;

	if (r->paused_until > now)
		return false;
	step(r, (struct group_event){ .kind = GROUP_MEMBER_CUT, .vlsn = end });
	if (r->life != life)
		return false;
	r->appended = end;
	if (r->durable > end)
		r->durable = end;
	if (r->told > end)
		r->told = end;
	check_members(r);
	return true;
}

/* Some of the master's log to a replica, which cuts at a contradiction only. */
static void
wal_copy(struct node *m, struct node *r)
{
	uint64_t v, upto;

	if (!m->up || !r->up || m == r || m->wal.role != ROLE_MASTER ||
	    r->wal.role != ROLE_REPLICA || m->wal.term != r->wal.term ||
	    m->wal.own_term != m->wal.term || cut[m - node][r - node] ||
	    member_of(&m->core.current, r) < 0)
		return;
	upto = pick(m->appended + 1);
	if (is_arbiter(m, r))
		upto = arbiter_end(m, upto);
	for (v = 1; v <= upto; v++) {
		if (v <= r->appended && r->log[v] != m->log[v]) {
			CHECK(ghost.committed[v] == 0 ||
				  ghost.committed[v] != r->log[v],
			    "W2: a committed record is cut");
			if (!wal_cut(r, v - 1))
				return;
		}
		if (v > r->appended) {
			r->log[r->appended = v] = m->log[v];
			if ((r->conf[v] = m->conf[v]) != 0)
				wal_tell(r);
		}
	}
	if (pick(2) == 0)
		wal_flush(r);
	v = upto < m->known ? upto : m->known;
	if (r->known < v)
		r->known = v;
	ack(m, r, upto < r->durable ? upto : r->durable);
}

/* Whoever looks: by the published view and the epoch of `committed`. */
static void
wal_commit(struct node *n)
{
	const struct membership *m = &n->core.current;
	struct commit_view view = n->view;
	uint64_t durable[MEMBER_MAX] = { 0 }, v, best;
	unsigned i;

	if (!n->up || view.role != ROLE_MASTER || view.epoch != n->epoch ||
	    n->wal.own_term != view.term)
		return;
	for (i = 0; i < m->count; i++) {
		unsigned of = node_of(m, i);

		if (of == number(n))
			durable[i] = epoch_word(view.epoch, n->durable);
		else if (n->match[of].term == view.term)
			durable[i] = epoch_word(view.epoch, n->match[of].vlsn);
	}
	best = commit_rule(&view, durable);
	if (best == 0 || n->log[best] != view.term)
		return;
	for (v = 1; v <= best; v++)
		note_committed(n, v, view.term);
	if (best > n->known)
		n->known = best;
}

/* Since when a commit quorum has answered rounds. */
static uint64_t
quorum_heard(const struct node *n)
{
	const struct group_core *c = &n->core;
	uint64_t best = 0, at;
	uint16_t mask;
	uint32_t i, j;

	for (i = 0; i < c->current.count; i++) {
		at = n->heard[node_of(&c->current, i)];
		mask = c->self < 0 ? 0 : (uint16_t)(1u << c->self);
		for (j = 0; j < c->current.count; j++)
			if (n->heard[node_of(&c->current, j)] >= at)
				mask |= (uint16_t)(1u << j);
		if (at > best && quorum_has(&c->quorums.commit,
				     quorum_set(c->quorums.voters, mask)))
			best = at;
	}
	return best;
}

static void
check_heard(struct node *n)
{
	uint64_t most = n->core.current.lease_ms * MS * 205 / 100 + MS;
	uint64_t at = quorum_heard(n);

	if (!n->up || n->view.role != ROLE_MASTER)
		return;
	if (n->view.lease_until_ns == UINT64_MAX)
		at = now;
	if (at > n->since)
		n->since = at;
	CHECK(now < n->since + most || now < n->paused_until + most ||
		  now < n->adopted + MS,
	    "S1: a master that hears nobody");
}

/* Of a membership that is committed and flushed here. */
static void
tell_committed(struct node *n)
{
	uint64_t vlsn = n->core.current.vlsn;

	if ((!calm && pick(4) != 0) || n->paused_until > now ||
	    vlsn > n->known || vlsn > n->durable || vlsn <= n->filed)
		return;
	step(n, (struct group_event){
		    .kind = GROUP_MEMBER_COMMITTED, .vlsn = vlsn });
}

static void
data(void)
{
	struct node *n = &node[pick(nodes)];

	push((struct event){
	    .at = now + data_pause / 10 + pick(data_pause), .kind = EV_DATA });
	if (!n->up)
		return;
	check_heard(n);
	tell_committed(n);
	if (!n->up)
		return;
	if (pick(changes) == 0)
		wal_change(n);
	switch (pick(6)) {
	case 0:
		wal_look(n);
		break;
	case 1:
		if (pick(4) == 0 || n->wal.own_term != n->wal.term)
			wal_append(n);
		break;
	case 2:
		wal_flush(n);
		break;
	case 3:
		wal_commit(n);
		break;
	default:
		wal_copy(n, &node[pick(nodes)]);
		break;
	}
}

#endif
