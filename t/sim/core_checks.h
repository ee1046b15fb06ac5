/*
 * What t/sim/core_sim.c checks: the letters are those of its head. Who appends,
 * votes, promises, wins or commits is noted here, whatever becomes of it.
 */
#ifndef T_SIM_CORE_CHECKS_H
#define T_SIM_CORE_CHECKS_H

#include "t/sim/core_world.h"

/* Is that set of nodes one of its quorums? */
static bool
is_quorum(const struct node *n, const struct quorum *which, unsigned set)
{
	const struct group_core *c = &n->core;
	uint16_t mask = 0;
	uint32_t i;

	for (i = 0; i < c->current.count; i++)
		if ((set >> node_of(&c->current, i) & 1) != 0)
			mask |= (uint16_t)(1u << i);
	return quorum_has(which, quorum_set(c->quorums.voters, mask));
}

/* Whom a promise to this mastership binds now, by their own clocks. */
static unsigned
bound_to(const struct node *n)
{
	unsigned set = 1u << number(n), i, k;

	for (i = 0; i < nodes; i++)
		for (k = 0; k < PROMISES; k++)
			if (ghost.promise[i][k].master == ID(number(n)) &&
			    ghost.promise[i][k].term == n->view.term &&
			    ghost.promise[i][k].until > local(&node[i]))
				set |= 1u << i;
	return set;
}

static void
check_leases(void)
{
	unsigned i;

	for (i = 0; i < nodes; i++) {
		const struct node *n = &node[i];

		if (!n->up || n->view.role != ROLE_MASTER ||
		    n->view.lease_until_ns <= local(n))
			continue;
		CHECK(ghost.highest <= n->view.term,
		    "L1: a lease is valid and a higher term is won");
		CHECK(is_quorum(n, &n->core.quorums.commit, bound_to(n)),
		    "L2: a lease that no commit quorum has promised");
	}
}

/*
 * "group bumps the epoch [...] before it persists a new (term, vote), grants a
 * vote, changes membership or cuts" (DESIGN, 9).
 */
static void
check_epoch(const struct group_core *was, const struct group_core *is)
{
	if (is->term == was->term && was->current.count != 0 &&
	    (was->role != ROLE_MASTER || is->role == ROLE_MASTER) &&
	    is->self == was->self &&
	    is->quorums.voters == was->quorums.voters &&
	    quorum_same(&is->quorums.commit, &was->quorums.commit))
		return;
	CHECK(was->current.count == 0 || is->epoch > was->epoch,
	    "R1: the epoch is as before, who commits is not");
}

/* Only who is electable asks for a term, and by the newest it has. */
static void
check_asks(const struct node *n, const struct group_msg *m)
{
	const struct group_core *c = &n->core;
	int i = member_find(&c->current, c->incarnation);
	int j = member_find(&c->previous, c->incarnation);

	CHECK((i >= 0 && c->current.member[i].type == NODE_ELECTABLE) ||
		  (j >= 0 && c->previous.member[j].type == NODE_ELECTABLE),
	    "M3: who is not electable asks for a term");
	CHECK(m->ask.released == c->released, "P2: a release that is not told");
	CHECK(m->kind == CORE_PREVOTE ||
		  c->current.vlsn == conf_at(n, n->appended)->vlsn,
	    "M4: asks by another membership than its log's newest");
}

/* What a process shows is what its core is; a master is one that may be. */
static void
check_view(const struct node *n)
{
	const struct group_core *c = &n->core;
	bool master = c->role == ROLE_MASTER;
	int self = c->self;

	CHECK(n->view.role == c->role && n->view.term == c->stored_term &&
		  n->view.epoch == c->epoch && n->epoch == c->epoch,
	    "V3: the view is of another role, term or epoch");
	CHECK(n->view.lease_until_ns == (master ? c->lease_until_ns : 0),
	    "V3: the lease is another");
	CHECK(!master || n->filed < c->current.vlsn ||
		  (self >= 0 && c->current.member[self].type == NODE_ELECTABLE),
	    "M1: a master that a committed membership excludes");
}

/* It goes by the newest membership that it has been told of. */
static void
check_members(const struct node *n)
{
	const struct membership *has = &n->core.current;
	const struct membership *m = conf_at(n, n->told);
	struct quorums q;

	member_quorums(m, &q);
	CHECK(has->vlsn == m->vlsn && has->count == m->count &&
		  has->lease_ms == m->lease_ms &&
		  q.voters == n->core.quorums.voters &&
		  quorum_same(&q.elect, &n->core.quorums.elect) &&
		  quorum_same(&q.commit, &n->core.quorums.commit),
	    "M5: a membership that is not its log's newest");
}

static void
check_has(uint64_t term, uint64_t vlsn)
{
	CHECK(ghost.winner[term].end >= vlsn &&
		  ghost.winner[term].log[vlsn] == ghost.committed[vlsn],
	    "W2: a winner lacks a committed record");
}

static void
note_prevote(const struct node *n, uint64_t to, const struct group_msg *m)
{
	unsigned of = number(n), i = (unsigned)(to - ID(0));

	if (m->answer.boot < ghost.pre[of][i].boot ||
	    (m->answer.boot == ghost.pre[of][i].boot &&
		m->answer.asked < ghost.pre[of][i].term))
		return;
	ghost.pre[of][i].boot = m->answer.boot;
	ghost.pre[of][i].term = m->answer.asked;
}

static unsigned
voted_for(const struct node *n, uint64_t term)
{
	unsigned set = 0, i;

	for (i = 0; i < nodes; i++)
		if (ghost.vote[i][term].to == ID(number(n)) &&
		    ghost.vote[i][term].boot == n->boot)
			set |= 1u << i;
	return set;
}

/* It stands: others have said that they would vote. */
static void
check_stands(const struct node *n, uint64_t term)
{
	unsigned set = 1u << number(n), i;

	for (i = 0; i < nodes; i++)
		if (ghost.pre[i][number(n)].boot == n->boot &&
		    ghost.pre[i][number(n)].term == term)
			set |= 1u << i;
	CHECK(is_quorum(n, &n->core.quorums.elect, set),
	    "W4: stands, and no election quorum would vote for it");
}

static void
note_winner(const struct node *n, uint64_t term)
{
	uint64_t v;

	CHECK(term < TERM_MAX, "the simulated terms are enough");
	CHECK(ghost.winner[term].life == 0, "W1: a term is won twice");
	CHECK(is_quorum(n, &n->core.quorums.elect, voted_for(n, term)),
	    "W3: a winner whom no election quorum has voted for");
	ghost.winner[term].life = n->life;
	ghost.winner[term].node = (unsigned)(n - node);
	memcpy(ghost.winner[term].log, n->log, sizeof(n->log));
	ghost.winner[term].end = n->appended;
	ghost.elections++;
	if (term > ghost.highest)
		ghost.highest = term;
	for (v = 1; v < LOG_MAX; v++)
		if (ghost.committed[v] != 0 && ghost.under[v] < term)
			check_has(term, v);
}

static void
note_committed(const struct node *n, uint64_t vlsn, uint64_t under)
{
	uint64_t term = n->log[vlsn];
	uint64_t t;

	if (ghost.committed[vlsn] != 0) {
		CHECK(ghost.committed[vlsn] == term,
		    "W2: two records are committed at one VLSN");
		if (ghost.under[vlsn] <= under)
			return;
	}
	ghost.under[vlsn] = (uint16_t)under;
	ghost.committed[vlsn] = (uint16_t)term;
	ghost.commits++;
	if (n->conf[vlsn] != 0)
		ghost.conf = n->conf[vlsn];
	for (t = under + 1; t <= ghost.highest; t++)
		if (ghost.winner[t].life != 0)
			check_has(t, vlsn);
}

/* n helps `to` (itself, too) to a term; released: its mastership that is over.
 */
static void
check_promises(const struct node *n, uint64_t to, uint64_t released)
{
	unsigned i, of = (unsigned)(n - node);

	for (i = 0; i < PROMISES; i++) {
		if (ghost.promise[of][i].until <= local(n))
			continue;
		if (released != 0 && ghost.promise[of][i].master == to &&
		    ghost.promise[of][i].term == released) {
			ghost.releases++;
			continue;
		}
		/* Its own is void when it has cleared the lease. */
		if (ghost.promise[of][i].master == ID(of) &&
		    ghost.promise[of][i].term <= n->core.released &&
		    n->view.lease_until_ns == 0)
			continue;
		/* Of a master that has stopped, in order. */
		if (ghost.promise[of][i].master >= ID(0) &&
		    node[ghost.promise[of][i].master - ID(0)].let_go.boot ==
			ghost.promise[of][i].boot &&
		    node[ghost.promise[of][i].master - ID(0)].let_go.term ==
			ghost.promise[of][i].term)
			continue;
		CHECK(ghost.promise[of][i].boot <
			  node[ghost.promise[of][i].master - ID(0)].boot,
		    "P1: a promise is broken");
	}
}

static void
promise_add(const struct node *n, uint64_t master, uint64_t boot, uint64_t term,
    uint64_t until)
{
	unsigned of = (unsigned)(n - node), i;

	for (i = 0; i < PROMISES; i++)
		if (ghost.promise[of][i].master == master &&
		    ghost.promise[of][i].term == term) {
			/* A shorter one takes none of another back. */
			if (until > ghost.promise[of][i].until ||
			    master == ID(of))
				ghost.promise[of][i].until = until;
			return;
		}
	i = ghost.promises[of]++ % PROMISES;
	ghost.promise[of][i].master = master;
	ghost.promise[of][i].boot = boot;
	ghost.promise[of][i].term = term;
	ghost.promise[of][i].until = until;
}

static void
note_promise(const struct node *n, const struct group_msg *m, uint64_t master,
    uint32_t lease_ms)
{
	CHECK(n->disk.term == m->term, "V1: a round's term is on disk");
	CHECK(
	    n->disk.promise_ms >= lease_ms, "V1: what is promised is on disk");
	promise_add(
	    n, master, m->answer.boot, m->term, local(n) + lease_ms * MS);
}

static void
note_vote(const struct node *n, uint64_t term, uint64_t to, uint64_t boot)
{
	unsigned of = (unsigned)(n - node);

	CHECK(term < TERM_MAX, "the simulated terms are enough");
	CHECK(n->disk.term == term && n->disk.vote == to &&
		  n->disk.vote_boot == boot,
	    "V1: a vote is on disk");
	CHECK(ghost.vote[of][term].to == 0 ||
		  (ghost.vote[of][term].to == to &&
		      ghost.vote[of][term].boot == boot),
	    "V1: two votes in one term");
	ghost.vote[of][term].to = to;
	ghost.vote[of][term].boot = boot;
	if (term > ghost.given[of])
		ghost.given[of] = term;
	ghost.grants++;
}

#endif
