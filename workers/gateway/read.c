/*
 * When a read may run. Its index is `committed` when it arrived; it runs when
 * the store has applied that much and what its own connection wrote. If that
 * is so already, and mostly it is, it runs where it stands; else the
 * connection is parked with the command at the head of its input.
 */
#include <errno.h>
#include "shm/assert.h"
#include "shm/log.h"
#include "workers/gateway/gateway.h"

#define TERM_LOOK_NS (2 * NS_PER_MS)

int64_t
gw_now_ms(struct gateway *g)
{
	int64_t log_ms;

	if (g->now_ms == 0) {
		/* Never behind what the log's records were judged by. */
		log_ms = (int64_t)position_get(&g->r->pos->clock_ms);
		g->now_ms = wall_ms();
		if (g->now_ms < log_ms)
			g->now_ms = log_ms;
	}
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
	gw_count(g, C_READS, 1);
	hist_add(g->h_read, g->loop.now_ns - c->active_ns);
}

/*
 * This node may not serve reads. If it is master, it will as soon as its
 * term's first record is committed and applied: a read waits for that. Where
 * that record is may not be known yet, and the role may be lost over it, so
 * until it is committed the read looks again from time to time.
 */
static enum read_verdict
wait_for_term(struct gateway *g, struct conn *c)
{
	uint64_t first = position_get(&g->r->pos->term_start);
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	c->flags &= ~(unsigned)CONN_INDEX;
	if (!commit_is_master(g->r))
		return READ_REFUSED;
	if (word_epoch(first) == view.epoch && word_vlsn(first) != 0 &&
	    commit_vlsn(g->r) >= word_vlsn(first) &&
	    position_get(&g->r->pos->applied) < word_vlsn(first)) {
		c->wait_vlsn = word_vlsn(first);
		position_raise(&g->r->pos->apply_wanted, c->wait_vlsn);
		g->want_apply = true;
		gw_conn_park(g, c, PARK_APPLY);
		return READ_PARKED;
	}
	c->wait_vlsn = UINT64_MAX;
	c->deadline_ns = g->loop.now_ns + TERM_LOOK_NS;
	gw_conn_park(g, c, PARK_SYNC);
	return READ_PARKED;
}

enum read_verdict
gw_read_ready(struct gateway *g, struct conn *c)
{
	uint64_t index;

	if (c->node_count != 0) {
		gw_conn_park(g, c, PARK_ORDER);
		return READ_PARKED;
	}
	if (g->w->readonly) {
		g->n_reads++;
		return READ_NOW;
	}
	if (!commit_can_read(g->r))
		return wait_for_term(g, c);
	/* A read that waited keeps the index it came with. */
	index = (c->flags & CONN_INDEX) != 0 ? c->wait_vlsn : commit_vlsn(g->r);
	if (index < c->last_vlsn)
		index = c->last_vlsn;
	if (position_get(&g->r->pos->applied) >= index) {
		read_count(g, c);
		return READ_NOW;
	}
	c->wait_vlsn = index;
	c->flags |= CONN_INDEX;
	position_raise(&g->r->pos->apply_wanted, index);
	g->want_apply = true;
	gw_count(g, C_READS_WAITED, 1);
	gw_conn_park(g, c, PARK_APPLY);
	return READ_PARKED;
}

int
gw_read_begin(struct gateway *g)
{
	int rc;

	if (g->kv_open_turn)
		return 0;
	if ((rc = kv_begin(g->kv)) != 0) {
		log_warnx("store: cannot be read: %s", strerror(-rc));
		return rc;
	}
	g->kv_open_turn = true;
	return 0;
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
