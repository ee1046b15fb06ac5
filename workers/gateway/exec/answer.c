/*
 * What comes back for requests, in three streams: return runs (which VLSNs a
 * run of requests got), the committed position (acknowledges early answers),
 * and the store's results.
 */
#include <stdlib.h>
#include "shm/assert.h"
#include "shm/log/terms.h"
#include "shm/say.h"
#include "workers/gateway/exec/order.h"

bool
gw_answer_init(struct gateway *g)
{
	region_ring(g->r, g->client, RING_RETURN, &g->ret);
	region_ring(g->r, g->client, RING_RESULT, &g->res);
	g->lost = UINT64_MAX;
	/* A gateway that was killed has left its bit behind. */
	g->commit_waited = true;
	gw_answer_commit_waited(g);
	g->result = gw_result_new();
	return gw_runs_init(g) && g->result != NULL;
}

void
gw_answer_fini(struct gateway *g)
{
	g->early_count = g->sync_count = g->term_count = 0;
	gw_answer_commit_waited(g);
	gw_runs_fini(g);
	gw_result_free(g->result);
	g->result = NULL;
}

/* ---- return runs ---- */

/*
 * Requests of a RESULT node that were refused have no result to wait for:
 * their errors are rendered when all before them is answered.
 */
static void
result_step(struct gateway *g, struct node *n)
{
	struct conn *c = gw_node_conn(g, n);

	while (n->done < n->count && (n->refused >> n->done & 1) != 0) {
		if (!n->mute)
			gw_no_answer_put(g, &n->sink, n, n->done);
		n->done++;
	}
	if (n->done == n->count)
		gw_node_over(g, n, 0, 0);
	else if (c != NULL && &g->nodes[c->node_head] == n)
		gw_order_drain(g, c);
}

/* Where it was appended, to be asked for later. */
static void
lost_note(struct node *n, unsigned bit, struct lost_write at)
{
	if (n->lost_at == NULL)
		n->lost_at = calloc(GW_RUN_MAX, sizeof(*n->lost_at));
	if (n->lost_at != NULL)
		n->lost_at[bit] = at;
}

/* RET_OK: it was appended there, and what became of it is not known. */
static void
request_refused(
    struct gateway *g, uint32_t seq, unsigned status, struct lost_write at)
{
	struct node *n = gw_window_node(g, seq);
	unsigned bit;

	if (n == NULL)
		return;
	bit = seq - n->first_seq;
	n->refused |= UINT64_C(1) << bit;
	if (status == RET_OK) {
		n->lost |= UINT64_C(1) << bit;
		lost_note(n, bit, at);
	} else {
		n->status = (uint8_t)status;
	}
	g->n_failed++;
	if (n->kind != NODE_RESULT)
		return;
	*gw_window_at(g, seq) = 0;
	if (n->done == bit)
		result_step(g, n);
}

static void
ret_take(struct gateway *g, const struct wal_ret *ret)
{
	uint32_t i, behind = g->next_seq - ret->seq;

	/*
	 * The store may have answered its first ones before this was looked
	 * at, and the window be past those: the others still wait for it.
	 */
	if (ret->incarnation != g->incarnation || ret->count == 0 ||
	    ret->count > behind || behind > 2 * GW_WINDOW)
		return;
	gw_reach_returned(g, ret);
	gw_runs_push(g, ret);
	if (ret->status == RET_OK)
		return;
	for (i = 0; i < ret->count; i++)
		request_refused(
		    g, ret->seq + i, ret->status, (struct lost_write){ 0 });
}

/* Room was made in a ring: does its producer wait for it? */
static void
producer_ring(struct gateway *g, unsigned slot, enum busy why)
{
	/* Pairs with the fence of bell_sleep_begin(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(
		&g->r->slots->row[slot].busy_with, memory_order_relaxed) == why)
		bell_ring(&g->w->bells, slot);
}

static void
ret_drain(struct gateway *g)
{
	struct wal_ret ret;
	const void *at;
	uint32_t len;

	if (!bytering_ready(&g->ret))
		return;
	while ((at = bytering_peek(&g->ret, &len)) != NULL) {
		if (len == sizeof(ret)) {
			memcpy(&ret, at, sizeof(ret));
			ret_take(g, &ret);
		}
		bytering_advance(&g->ret, len);
	}
	if (len == UINT32_MAX)
		fatalx("return ring: an entry of impossible length");
	bytering_consume(&g->ret);
	producer_ring(g, SLOT_WAL, BUSY_RETURN);
}

/* ---- acknowledgements ---- */

void
gw_answer_commit_waited(struct gateway *g)
{
	bool waits =
	    g->early_count != 0 || g->sync_count != 0 || g->term_count != 0;
	uint64_t bit = UINT64_C(1) << (g->slot - SLOT_GATEWAY);

	if (waits == g->commit_waited)
		return;
	g->commit_waited = waits;
	if (waits)
		atomic_fetch_or_explicit(
		    &g->r->pos->commit_waited.v, bit, memory_order_acq_rel);
	else
		atomic_fetch_and_explicit(
		    &g->r->pos->commit_waited.v, ~bit, memory_order_acq_rel);
}

static void
early_end(struct gateway *g)
{
	ASSERT(g->early_count > 0);
	g->early_count--;
	gw_answer_commit_waited(g);
}

/* Was any of its requests answered with OK? Those behind it were not. */
static bool
node_acked(const struct node *n)
{
	return (unsigned)__builtin_popcountll(n->refused) < n->count;
}

/* Early answers among `count` requests; `vlsn` is first's, 0 = refused. */
static void
ack_range(struct gateway *g, uint32_t first, uint32_t count, uint64_t vlsn,
    uint64_t term)
{
	uint32_t i = 0, node_end, s;
	struct node *n;

	while (i < count) {
		if ((n = gw_window_node(g, first + i)) == NULL) {
			i++;
			continue;
		}
		/* Requests of this node up to its end, from `first` on. */
		node_end = n->first_seq + n->count - first;
		if (n->kind == NODE_RESULT && vlsn != 0)
			n->result_vlsn =
			    vlsn + (node_end < count ? node_end : count) - 1;
		if (n->kind == NODE_EARLY && node_end <= count) {
			for (s = n->first_seq; s != first + node_end; s++)
				*gw_window_at(g, s) = 0;
			n->done = n->count;
			early_end(g);
			/* Refused at its end: it may have begun well. */
			if (vlsn == 0)
				gw_node_over(g, n, node_acked(n) ? g->acked : 0,
				    g->acked_term);
			else
				gw_node_over(g, n, vlsn + node_end - 1, term);
		}
		i = node_end;
	}
}

/* What became of these requests, which were appended, is not known. */
static void
run_lost(struct gateway *g, const struct ret_run *run)
{
	uint32_t i;

	for (i = 0; i < run->count; i++)
		request_refused(g, run->seq + i, RET_OK,
		    (struct lost_write){ run->vlsn + i, run->term });
}

/* Answer what may be of the oldest run. False: the rest of it has to wait. */
static bool
run_ack(struct gateway *g)
{
	struct ret_run run = *gw_runs_first(g);
	uint64_t limit, committed;
	bool over;

	if (run.status != RET_OK) {
		gw_runs_take(g, run.count);
		ack_range(g, run.seq, run.count, 0, 0);
		return true;
	}
	over = gw_runs_limit(g, &run, &limit);
	g->seen_committed = limit;
	if (over) {
		/* Should the store not tell, it tells that it is past it. */
		position_raise(&g->r->pos->apply_wanted, limit + 1);
		g->want_apply = true;
	}
	if (run.vlsn <= limit) {
		if (limit - run.vlsn + 1 < run.count)
			run.count = (uint32_t)(limit - run.vlsn + 1);
		g->acked = run.vlsn + run.count - 1;
		(void)commit_of_term(g->r, run.term, &committed);
		g->acked_term = committed >= g->acked ? 0 : run.term;
		gw_runs_take(g, run.count);
		ack_range(g, run.seq, run.count, run.vlsn, g->acked_term);
		return true;
	}
	if (!over && run.vlsn < g->lost)
		return false;
	run_lost(g, &run);
	gw_runs_take(g, run.count);
	ack_range(g, run.seq, run.count, 0, 0);
	return true;
}

static void
ack_drain(struct gateway *g)
{
	while (g->run_count != 0 && run_ack(g))
		;
}

/* Is there more of the oldest run to answer than at the last look? */
static bool
ack_pending(struct gateway *g)
{
	const struct ret_run *run = gw_runs_first(g);
	uint64_t limit;

	if (run == NULL)
		return false;
	return gw_runs_limit(g, run, &limit) || limit != g->seen_committed;
}

/* ---- results ---- */

/* The node that owes this result, and it next; or NULL. */
static struct node *
result_node(struct gateway *g, uint32_t seq)
{
	struct node *n = gw_window_node(g, seq);

	if (n != NULL && n->first_seq + n->done != seq) {
		/* Refusals of the ones before may have come meanwhile. */
		ret_drain(g);
		n = gw_window_node(g, seq);
	}
	if (n == NULL || n->kind != NODE_RESULT ||
	    n->first_seq + n->done != seq)
		return NULL;
	return n;
}

/* Is anybody to be told? */
static bool
result_is_wanted(const struct node *n)
{
	return !n->mute && n->conn != GW_NONE;
}

/* A result is in its node's sink. */
static void
result_over(struct gateway *g, struct node *n, const struct store_res *res)
{
	struct conn *c;

	*gw_window_at(g, res->seq) = 0;
	n->done++;
	/* What is applied is committed. */
	if ((c = gw_node_conn(g, n)) != NULL)
		gw_write_answered(g, c, res->vlsn, 0);
	if (n->done < n->count)
		result_step(g, n);
	else
		gw_node_over(g, n, res->vlsn, 0);
}

/* One that came whole, as most do. */
static void
result_whole(struct node *n, const uint8_t *values, size_t len)
{
	const uint8_t *at = values;

	if (result_is_wanted(n) &&
	    reply_value(&n->sink, n->proto, &at, values + len) != 0)
		reply_error(&n->sink, GW_RESULT_LOST);
}

/* Pieces of one result follow each other in the ring. */
static struct node *
result_begin(struct gateway *g, const struct store_res *res)
{
	struct node *n = result_node(g, res->seq);

	/* One whose store died in the middle has no end. */
	g->result_open = n != NULL;
	g->result_used = 0;
	if (n == NULL) {
		/* Its outcome was not known when it was answered. */
		say_debug("result %u: nobody waits for it", res->seq);
		return NULL;
	}
	g->result_seq = res->seq;
	gw_result_begin(g->result, &n->sink, n->proto, n->exec,
	    g->w->conf->listen.max_output + RES_FRAME);
	return n;
}

/* False: it was too much for this turn, the rest of it stays in the ring. */
static bool
result_piece(struct gateway *g, const struct store_res *res,
    const uint8_t *values, size_t len)
{
	bool more = (res->flags & RES_MORE) != 0;
	struct node *n;

	if (g->result_open && g->result_seq == res->seq)
		n = gw_window_node(g, res->seq);
	else if ((n = result_begin(g, res)) == NULL)
		return true;
	ASSERT(n != NULL);
	if (!more && n->exec == NULL && gw_result_fresh(g->result)) {
		result_whole(n, values, len);
	} else if (result_is_wanted(n)) {
		g->result_used += gw_result_feed(g->result, &n->sink,
		    values + g->result_used, len - g->result_used);
		if (g->result_used < len ||
		    (!more && !gw_result_end(g->result, &n->sink)))
			return false;
	}
	g->result_used = 0;
	if (more)
		return true;
	g->result_open = false;
	result_over(g, n, res);
	return true;
}

static void
res_drain(struct gateway *g)
{
	struct store_res res;
	const uint8_t *at;
	uint32_t len;

	if (!bytering_ready(&g->res))
		return;
	while ((at = bytering_peek(&g->res, &len)) != NULL) {
		if (len >= sizeof(res)) {
			memcpy(&res, at, sizeof(res));
			if (res.incarnation == g->incarnation &&
			    !result_piece(
				g, &res, at + sizeof(res), len - sizeof(res)))
				break;
		}
		bytering_advance(&g->res, len);
	}
	if (at == NULL && len == UINT32_MAX)
		fatalx("result ring: an entry of impossible length");
	bytering_consume(&g->res);
	producer_ring(g, SLOT_STORE, BUSY_RESULT);
}

/*
 * The store is past what the oldest requests gave, and has not told it, as it
 * does for what a mastership of this node committed, while that is remembered:
 * nobody waits for it any more.
 */
static void
results_lost(struct gateway *g, uint64_t applied)
{
	struct lost_write at;
	struct node *n;
	uint32_t seq;

	while (!bytering_ready(&g->res) && !g->result_open) {
		gw_window_slide(g);
		n = gw_window_node(g, seq = g->oldest_seq);
		if (n == NULL || n->kind != NODE_RESULT ||
		    n->result_vlsn == 0 || applied <= n->result_vlsn ||
		    (g->run_count != 0 &&
			(int32_t)(gw_runs_first(g)->seq - seq) <= 0))
			return;
		/* Of several only the last one's place is known still. */
		at = (struct lost_write){ 0 };
		if (seq == n->first_seq + n->count - 1 &&
		    terms_of_vlsn(g->r->terms, n->result_vlsn, &at.term) == 0)
			at.vlsn = n->result_vlsn;
		request_refused(g, seq, RET_OK, at);
	}
}

void
gw_answer_turn(struct gateway *g)
{
	uint64_t applied;

	ret_drain(g);
	gw_reach_look(g);
	ack_drain(g);
	/* What is applied by now is in the ring. */
	applied = position_get(&g->r->pos->applied);
	res_drain(g);
	results_lost(g, applied);
}

bool
gw_answer_pending(struct gateway *g)
{
	return bytering_ready(&g->ret) || bytering_ready(&g->res) ||
	       gw_write_lost(g) != g->lost || ack_pending(g);
}
