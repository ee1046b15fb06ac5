/*
 * What t/sim/core_sim.c checks: the letters are those of its head. Who appends,
 * votes, promises, wins or commits is noted here, whatever becomes of it.
 */
#ifndef T_SIM_CORE_CHECKS_H
#define T_SIM_CORE_CHECKS_H

#include "t/sim/core_world.h"

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
	}
}

static void
check_has(uint64_t term, uint64_t vlsn)
{
	CHECK(ghost.winner[term].end >= vlsn &&
		  ghost.winner[term].log[vlsn] == ghost.committed[vlsn],
	    "W2: a winner lacks a committed record");
}

static void
note_winner(const struct node *n, uint64_t term)
{
	uint64_t v;

	CHECK(term < TERM_MAX, "the simulated terms are enough");
	CHECK(ghost.winner[term].life == 0, "W1: a term is won twice");
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
note_committed(uint64_t vlsn, uint64_t term, uint64_t under)
{
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
note_promise(const struct node *n, const struct group_msg *m, uint64_t master)
{
	CHECK(n->disk.term == m->term, "V1: a round's term is on disk");
	CHECK(n->disk.promise_ms >= group.lease_ms,
	    "V1: what is promised is on disk");
	promise_add(
	    n, master, m->answer.boot, m->term, local(n) + group.lease_ms * MS);
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
	ghost.grants++;
}

#endif
