/*
 * When a read may run. Its index is what early answers cover when it arrived,
 * `committed` by default; it runs when the store has applied that much and
 * what its own connection wrote. If that
 * is so already, and mostly it is, it runs where it stands; else the
 * connection is parked with the command at the head of its input.
 */
#include <errno.h>
#include "shm/assert.h"
#include "shm/kv/room.h"
#include "shm/say.h"
#include "workers/gateway/exec/exec.h"

#define LEASES_WAITED   4 /* a master steps down before: it is stuck then */
#define SHARE_DOUBLINGS 5 /* of GW_TURN_NS, the longest to hold others up */
#define MOMENTS_MAX     16 /* lost, then it is given up */

int64_t
gw_now_ms(struct gateway *g)
{
	int64_t max_step = g->w->conf->wal.max_clock_step_ms;
	uint64_t back_ns;

	if (g->now_ms != 0)
		return g->now_ms;
	/* Before what it is judged with. */
	back_ns = position_get(&g->r->pos->clock_back);
	g->now_ms = log_clock_seen(&g->seen, g->io.loop.now_ns,
	    log_now_ms(g->r->pos, g->io.loop.now_ns, wall_ms(), max_step),
	    max_step, back_ns);
	return g->now_ms;
}

/* Those that did not wait are timed together, at the end of the turn. */
static void
read_count(struct gateway *g, struct conn *c)
{
	if ((c->flags & CONN_INDEX) == 0) {
		g->n_reads++;
		return;
	}
	c->flags &= ~(unsigned)CONN_INDEX;
	gw_count(&g->io, C_READS, 1);
	hist_add(g->h_read, g->io.loop.now_ns - c->active_ns);
}

/*
 * The first record of the term this node is master of: its VLSN, 0 = it is not
 * committed yet, or not even known. Each of that rings us: group when the role
 * changes, wal when `committed` does.
 */
static uint64_t
term_first(const struct gateway *g)
{
	uint64_t first = position_get(&g->r->pos->term_start);
	uint64_t committed = position_get(&g->r->pos->committed);
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	if (word_epoch(first) != view.epoch ||
	    word_epoch(committed) != view.epoch ||
	    word_vlsn(committed) < word_vlsn(first))
		return 0;
	return word_vlsn(first);
}

bool
gw_read_term_over(const struct gateway *g)
{
	return !commit_is_master(g->r) || term_first(g) != 0 ||
	       gw_write_lost(g) != UINT64_MAX;
}

/*
 * The lease ran out: the next round that a quorum answers renews it. A master
 * without one steps down; one that does neither is no master to wait for.
 */
static enum read_verdict
wait_for_lease(struct gateway *g, struct conn *c, bool begun)
{
	uint64_t now = g->io.loop.now_ns;

	c->flags |= CONN_CONFIRM;
	if (!begun) {
		c->deadline_ns = now + (uint64_t)LEASES_WAITED *
					   g->w->conf->election.lease_ms *
					   NS_PER_MS;
	} else if (now >= c->deadline_ns) {
		c->flags &= ~(unsigned)CONN_CONFIRM;
		return READ_UNCONFIRMED;
	}
	gw_park(g, c, PARK_LEASE);
	return READ_PARKED;
}

bool
gw_read_holds(struct gateway *g, struct conn *c)
{
	uint64_t term = c->read_term;

	if (term == 0)
		return true;
	c->read_term = 0;
	if (commit_holds_lease(g->r, term))
		return true;
	gw_count(&g->io, C_READS_WAITED, 1);
	c->flags &= ~(unsigned)CONN_INDEX;
	/* What it is told then is for its next try to find out. */
	c->deadline_ns = 0;
	gw_park(g, c, PARK_LEASE);
	return false;
}

/* Once the store has applied so much. */
static enum read_verdict
wait_for_index(struct gateway *g, struct conn *c, uint64_t index)
{
	c->wait_vlsn = index;
	if (position_get(&g->r->pos->applied) >= index) {
		read_count(g, c);
		return READ_NOW;
	}
	if (room_hopeless(g->r)) {
		c->flags &= ~(unsigned)CONN_INDEX;
		return READ_HOPELESS;
	}
	c->flags |= CONN_INDEX;
	position_raise(&g->r->pos->apply_wanted, index);
	g->want_apply = true;
	gw_count(&g->io, C_READS_WAITED, 1);
	gw_park(g, c, PARK_APPLY);
	return READ_PARKED;
}

/*
 * This node may not serve reads. If it is master, it will as soon as its
 * term's first record is committed and applied: a read waits for that. What
 * is left is the lease, which a clock decides.
 */
static enum read_verdict
wait_for_term(struct gateway *g, struct conn *c)
{
	uint64_t first = term_first(g);

	bool confirms = (c->flags & CONN_CONFIRM) != 0;

	c->flags &= ~(unsigned)(CONN_INDEX | CONN_CONFIRM);
	if (!commit_is_master(g->r))
		return READ_REFUSED;
	/* It went with the log: it will not be committed in this region. */
	if (first == 0 && gw_write_lost(g) != UINT64_MAX)
		return READ_REFUSED;
	if (first == 0) {
		gw_park(g, c, PARK_TERM);
	} else if (position_get(&g->r->pos->applied) < first) {
		if (room_hopeless(g->r))
			return READ_HOPELESS;
		c->wait_vlsn = first;
		position_raise(&g->r->pos->apply_wanted, first);
		g->want_apply = true;
		gw_park(g, c, PARK_APPLY);
	} else {
		return wait_for_lease(g, c, confirms);
	}
	return READ_PARKED;
}

/*
 * Reads what this node has, and its own client's writes: whoever is master, if
 * there is one.
 */
static enum read_verdict
eventual_ready(struct gateway *g, struct conn *c)
{
	uint64_t applied = position_get(&g->r->pos->applied), index = applied;

	if ((c->flags & CONN_INDEX) != 0)
		index = c->wait_vlsn;
	if (index < c->last_vlsn)
		index = c->last_vlsn;
	return wait_for_index(g, c, index);
}

enum read_verdict
gw_read_ready(struct gateway *g, struct conn *c)
{
	enum outcome outcome;
	uint64_t index;

	c->read_term = 0;
	if (c->node_count != 0) {
		gw_park(g, c, PARK_ORDER);
		return READ_PARKED;
	}
	if (g->w->readonly) {
		c->wait_vlsn = position_get(&g->r->pos->applied);
		g->n_reads++;
		return READ_NOW;
	}
	/* Whatever was read now might not be behind that write. */
	outcome = gw_write_outcome(g, c);
	if (outcome == OUTCOME_UNKNOWN)
		return READ_LOST;
	if (outcome == OUTCOME_COMMITTED)
		c->last_term = 0;
	if ((c->flags & CONN_EVENTUAL) != 0)
		return eventual_ready(g, c);
	if (!commit_read_term(g->r, &c->read_term)) {
		c->read_term = 0;
		return wait_for_term(g, c);
	}
	c->flags &= ~(unsigned)CONN_CONFIRM;
	/*
	 * A read that waited keeps the index it came with: all that anybody
	 * was told is written by then, whatever the sync level.
	 */
	index = (c->flags & CONN_INDEX) != 0 ? c->wait_vlsn : gw_write_acked(g);
	if (index < c->last_vlsn)
		index = c->last_vlsn;
	return wait_for_index(g, c, index);
}

int
gw_read_begin(struct gateway *g)
{
	int rc;

	if (g->kv_open_turn)
		return 0;
	if ((rc = kv_begin(g->kv)) != 0) {
		say_warnx("store: cannot be read: %s", strerror(-rc));
		return rc;
	}
	g->kv_open_turn = true;
	return 0;
}

/*
 * A moment is lost with a checkpoint's begin or end, at worst some times a
 * second. Larger shares make the reading of it take fewer turns, so it ends;
 * until one is lost it has what the turn has for it.
 */
int
gw_moment_begin(struct gateway *g, struct moment *m)
{
	unsigned doublings =
	    m->lost < SHARE_DOUBLINGS ? m->lost : SHARE_DOUBLINGS;
	int rc;

	if ((rc = gw_read_begin(g)) != 0)
		return rc;
	if (m->at.view == 0)
		m->now_ms = gw_now_ms(g);
	gw_turn_look(g);
	m->end_ns = g->turn_end_ns;
	if (m->lost != 0)
		m->end_ns = mono_ns() + (GW_TURN_NS << doublings);
	m->work = 0;
	return kv_hold(g->kv, &m->at);
}

void
gw_moment_end(struct gateway *g)
{
	if (g->kv_open_turn)
		kv_release(g->kv);
}

bool
gw_moment_over(struct gateway *g, struct moment *m, uint64_t work)
{
	m->work += work < GW_WORK_LOOK ? (uint32_t)work : GW_WORK_LOOK;
	if (!kv_was_on_disk(g->kv) && m->work < GW_WORK_LOOK)
		return false;
	m->work = 0;
	if (mono_ns() < m->end_ns)
		return false;
	g->turn_over = true;
	return true;
}

bool
gw_moment_lost(struct moment *m)
{
	m->at = (struct kv_moment){ 0 };
	return ++m->lost < MOMENTS_MAX;
}

void
gw_read_end(struct gateway *g)
{
	g->now_ms = 0;
	if (g->value.cap > GW_VALUE_KEEP)
		vbuf_free(&g->value);
	if (g->scratch.cap > GW_VALUE_KEEP)
		vbuf_free(&g->scratch);
	if (g->kv_open_turn) {
		kv_end(g->kv);
		g->kv_open_turn = false;
	}
	if (!g->want_apply)
		return;
	g->want_apply = false;
	bell_ring(&g->w->bells, SLOT_STORE);
}
