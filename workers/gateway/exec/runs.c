/*
 * Runs of requests that wal has appended, in the order of the requests, and
 * how far they may be answered: by the mastership that appended them only.
 */
#include <stdlib.h>
#include "shm/log/terms.h"
#include "shm/say.h"
#include "workers/gateway/exec/exec.h"

#define RUNS_FIRST 256u
/* Requests that may be returned and not acknowledged: see answer.c's
 * ret_take().
 */
#define RUNS_MAX (2 * GW_WINDOW)

bool
gw_runs_init(struct gateway *g)
{
	/* What wal has told is lost without a place: all are there, and no
	   memory before they are used. */
	g->runs = calloc(RUNS_MAX, sizeof(*g->runs));
	g->run_cap = RUNS_FIRST;
	return g->runs != NULL;
}

void
gw_runs_fini(struct gateway *g)
{
	free(g->runs);
	g->runs = NULL;
	g->run_cap = 0;
}

static struct ret_run *
run_at(struct gateway *g, uint32_t i)
{
	return &g->runs[(g->run_head + i) & (g->run_cap - 1)];
}

/* More of the places are used; those behind the turn go on behind the last. */
static void
runs_grow(struct gateway *g)
{
	if (g->run_cap == RUNS_MAX)
		fatalx("return ring: more answers than requests");
	memcpy(g->runs + g->run_cap, g->runs, g->run_head * sizeof(*g->runs));
	g->run_cap *= 2;
}

void
gw_runs_push(struct gateway *g, const struct wal_ret *ret)
{
	struct ret_run *last;

	if (g->run_count != 0) {
		last = run_at(g, g->run_count - 1);
		if (last->status == ret->status && last->term == ret->term &&
		    last->seq + last->count == ret->seq &&
		    (ret->status != RET_OK ||
			last->vlsn + last->count == ret->vlsn)) {
			last->count += ret->count;
			return;
		}
	}
	if (g->run_count == g->run_cap)
		runs_grow(g);
	last = run_at(g, g->run_count++);
	*last = (struct ret_run){ .seq = ret->seq,
		.count = ret->count,
		.vlsn = ret->vlsn,
		.term = ret->term,
		.status = ret->status };
}

const struct ret_run *
gw_runs_first(struct gateway *g)
{
	return g->run_count != 0 ? run_at(g, 0) : NULL;
}

uint64_t
gw_write_acked(const struct gateway *g)
{
	uint64_t appended, lost;

	if (atomic_load_explicit(&g->r->control->sync_level,
		memory_order_relaxed) == CONF_SYNC_SYNC)
		return commit_vlsn(g->r);
	appended = position_get(&g->r->pos->appended);
	lost = gw_write_lost(g);
	return appended < lost ? appended : lost - 1;
}

/*
 * Has the log its newest write, if it reaches so far? A term has one record at
 * a VLSN.
 */
static bool
log_has_write(const struct gateway *g, const struct conn *c)
{
	uint64_t term;

	return terms_of_vlsn(g->r->terms, c->last_vlsn, &term) == 0 &&
	       term == c->last_term;
}

enum outcome
gw_write_outcome(const struct gateway *g, const struct conn *c)
{
	uint64_t vlsn;
	bool over;

	if (c->last_term == 0)
		return OUTCOME_COMMITTED;
	over = commit_of_term(g->r, c->last_term, &vlsn);
	if (vlsn >= c->last_vlsn)
		return OUTCOME_COMMITTED;
	if (!over)
		return OUTCOME_OPEN;
	/* A later mastership may have committed it: what is committed stays. */
	return commit_vlsn(g->r) >= c->last_vlsn && log_has_write(g, c)
		   ? OUTCOME_COMMITTED
		   : OUTCOME_UNKNOWN;
}

void
gw_write_answered(
    const struct gateway *g, struct conn *c, uint64_t vlsn, uint64_t term)
{
	if (vlsn <= c->last_vlsn)
		return;
	/* One that is not before this one in the log stays: its client is to be
	   told. */
	if (term != c->last_term && gw_write_outcome(g, c) == OUTCOME_UNKNOWN &&
	    !log_has_write(g, c))
		return;
	c->last_vlsn = vlsn;
	c->last_term = term;
}

bool
gw_runs_limit(
    const struct gateway *g, const struct ret_run *run, uint64_t *limit)
{
	/*
	 * What was appended is looked at before the mastership: while that
	 * lasts nothing is cut and no other's record appended, so if it does,
	 * all up to there is its own. (A load with acquire comes before the
	 * loads behind it.)
	 */
	uint64_t acked = gw_write_acked(g);
	bool over = commit_of_term(g->r, run->term, limit);

	if (!over)
		*limit = acked;
	if (*limit >= g->lost)
		*limit = g->lost - 1;
	return over;
}

void
gw_runs_take(struct gateway *g, uint32_t n)
{
	struct ret_run *run = run_at(g, 0);

	run->seq += n;
	run->vlsn += n;
	run->count -= n;
	if (run->count != 0)
		return;
	g->run_head = (g->run_head + 1) & (g->run_cap - 1);
	g->run_count--;
}
