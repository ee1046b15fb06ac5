/*
 * The order of replies. Two orders meet here: the window is in request order,
 * one word for each request that is not answered; every connection has a list
 * of nodes in the order of its replies. A node covers a run of its requests, so
 * a pipeline of sixty SETs is one node and one check.
 */
#include "workers/gateway/exec/order.h"

#include <stdlib.h>
#include "shm/assert.h"

#define NODES_FIRST 256u

bool
gw_order_init(struct gateway *g)
{
	g->node_free = GW_NONE;
	g->next_seq = g->oldest_seq = 1;
	g->window = calloc(GW_WINDOW, sizeof(*g->window));
	return g->window != NULL;
}

/* ---- the window ---- */

void
gw_window_slide(struct gateway *g)
{
	while (g->oldest_seq != g->next_seq &&
	       *gw_window_at(g, g->oldest_seq) == 0)
		g->oldest_seq++;
}

bool
gw_window_full(const struct gateway *g)
{
	return g->next_seq - g->oldest_seq >= GW_WINDOW;
}

uint64_t
gw_order_oldest(struct gateway *g)
{
	const struct node *n = gw_window_node(g, g->oldest_seq);

	return n != NULL ? n->start_ns : UINT64_MAX;
}

/* ---- nodes ---- */

static bool
nodes_grow(struct gateway *g)
{
	uint32_t cap = g->node_cap == 0 ? NODES_FIRST : g->node_cap * 2, i;
	struct node *nodes = realloc(g->nodes, cap * sizeof(*nodes));

	if (nodes == NULL)
		return false;
	memset(nodes + g->node_cap, 0, (cap - g->node_cap) * sizeof(*nodes));
	for (i = cap; i-- > g->node_cap;) {
		nodes[i].next = g->node_free;
		g->node_free = i;
	}
	g->nodes = nodes;
	g->node_cap = cap;
	return true;
}

static struct node *
node_new(struct gateway *g, struct conn *c, enum node_kind kind)
{
	struct node *n;
	uint32_t i;

	if (g->node_free == GW_NONE && !nodes_grow(g))
		return NULL;
	i = g->node_free;
	n = &g->nodes[i];
	g->node_free = n->next;
	memset(n, 0, sizeof(*n));
	n->next = GW_NONE;
	n->conn = c->index;
	n->kind = (uint8_t)kind;
	n->proto = c->proto;
	n->mute = (c->flags & (CONN_REPLY_OFF | CONN_SKIP)) != 0;
	n->start_ns = g->io.loop.now_ns;
	n->sink.pool = &g->io.pool;
	if (c->node_tail != GW_NONE)
		g->nodes[c->node_tail].next = i;
	else
		c->node_head = i;
	c->node_tail = i;
	c->node_count++;
	return n;
}

static void
node_free(struct gateway *g, struct node *n)
{
	sink_reset(&n->sink);
	gw_exec_free(n->exec);
	n->exec = NULL;
	free(n->lost_at);
	n->lost_at = NULL;
	n->kind = NODE_FREE;
	n->next = g->node_free;
	g->node_free = (uint32_t)(n - g->nodes);
}

void
gw_order_fini(struct gateway *g)
{
	uint32_t i;

	for (i = 0; i < g->node_cap; i++)
		if (g->nodes[i].kind != NODE_FREE)
			node_free(g, &g->nodes[i]);
	free(g->nodes);
	free(g->window);
	g->nodes = NULL;
	g->window = NULL;
	g->node_cap = 0;
}

/* No request of it is owed an answer any more. */
static bool
node_done(const struct node *n)
{
	return n->kind == NODE_BYTES || n->done == n->count;
}

struct sink *
gw_order_bytes(struct gateway *g, struct conn *c)
{
	struct node *n;

	ASSERT(c->node_tail != GW_NONE);
	n = &g->nodes[c->node_tail];
	if (n->kind != NODE_BYTES && (n = node_new(g, c, NODE_BYTES)) == NULL)
		return NULL;
	return &n->sink;
}

bool
gw_order_crowded(const struct gateway *g, const struct conn *c)
{
	return c->node_count != 0 &&
	       (c->node_count >= GW_NODES_HIGH ||
		   sink_len(&g->nodes[c->node_tail].sink) >= GW_OUT_HIGH);
}

/* Does the connection's newest node go on with the next request? */
static struct node *
node_to_extend(struct gateway *g, const struct conn *c, enum node_kind kind,
    const struct request *rq)
{
	bool mute = (c->flags & (CONN_REPLY_OFF | CONN_SKIP)) != 0;
	struct node *n;

	if (c->node_tail == GW_NONE || rq->exec != NULL)
		return NULL;
	n = &g->nodes[c->node_tail];
	if (n->kind != kind || n->exec != NULL || n->count == GW_RUN_MAX ||
	    n->first_seq + n->count != g->next_seq || n->mute != mute ||
	    n->proto != c->proto)
		return NULL;
	/* Only within a turn: no request waits for one that came later. */
	return n->start_ns == g->io.loop.now_ns ? n : NULL;
}

bool
gw_node_claim(struct gateway *g, struct conn *c, const struct request *rq)
{
	enum node_kind kind = rq->early ? NODE_EARLY : NODE_RESULT;
	struct node *n = node_to_extend(g, c, kind, rq);

	if (n == NULL) {
		if ((n = node_new(g, c, kind)) == NULL)
			return false;
		n->first_seq = g->next_seq;
		n->exec = rq->exec;
		if (kind == NODE_EARLY) {
			/* Before the request is published: wal must see it. */
			g->early_count++;
			gw_answer_commit_waited(g);
		}
	}
	n->count++;
	gw_reach_add(g, g->next_seq, rq->reach);
	*gw_window_at(g, g->next_seq) = (uint32_t)(n - g->nodes) + 1;
	g->next_seq++;
	return true;
}

/* ---- what goes out ---- */

void
gw_order_orphan(struct gateway *g, struct conn *c)
{
	uint32_t i = c->node_head, next;
	struct node *n;

	for (; i != GW_NONE; i = next) {
		n = &g->nodes[i];
		next = n->next;
		n->conn = GW_NONE;
		sink_reset(&n->sink);
		if (node_done(n))
			node_free(g, n);
	}
	c->node_head = c->node_tail = GW_NONE;
	c->node_count = 0;
}

static void
early_render(const struct gateway *g, struct sink *out, const struct node *n)
{
	unsigned i;

	if (n->refused == 0) {
		reply_ok_many(out, n->count);
		return;
	}
	for (i = 0; i < n->count; i++) {
		if ((n->refused >> i & 1) != 0)
			gw_no_answer_put(g, out, n, i);
		else
			reply_ok(out);
	}
}

/* A node is at the head of its connection: its answers go out. */
static void
node_emit(struct gateway *g, struct conn *c, struct node *n)
{
	if (n->mute)
		return;
	if (n->kind == NODE_EARLY) {
		early_render(g, &c->out, n);
		gw_conn_dirty(&g->io, c);
	} else {
		gw_conn_emit(&g->io, c, &n->sink);
	}
}

/*
 * A result that is still coming in pieces stands in the node's sink, with room
 * for what is to come: it stays there until it is whole.
 */
static bool
node_is_open(struct gateway *g, const struct node *n)
{
	return g->result_open && gw_window_node(g, g->result_seq) == n;
}

void
gw_order_drain(struct gateway *g, struct conn *c)
{
	struct node *n;

	while (c->node_head != GW_NONE) {
		n = &g->nodes[c->node_head];
		if (n->kind == NODE_RESULT && !node_is_open(g, n) &&
		    (n->sink.c != NULL || n->sink.failed))
			node_emit(g, c, n);
		if (!node_done(n))
			return;
		if (n->kind != NODE_RESULT)
			node_emit(g, c, n);
		c->node_head = n->next;
		c->node_count--;
		node_free(g, n);
	}
	c->node_tail = GW_NONE;
	if (c->park == PARK_ORDER)
		gw_conn_go_on(&g->io, c);
	else if ((c->flags & (CONN_LAST | CONN_EOF)) != 0)
		gw_conn_dirty(&g->io, c);
}

struct conn *
gw_node_conn(struct gateway *g, const struct node *n)
{
	return n->conn != GW_NONE ? gw_conn_at(&g->io, n->conn) : NULL;
}

void
gw_node_over(struct gateway *g, struct node *n, uint64_t vlsn, uint64_t term)
{
	struct conn *c = gw_node_conn(g, n);
	uint64_t took = g->io.loop.now_ns - n->start_ns;
	unsigned i;

	for (i = 0; i < n->count; i++)
		hist_add(g->h_write, took);
	if (c == NULL) {
		node_free(g, n);
		return;
	}
	gw_write_answered(g, c, vlsn, term);
	gw_order_drain(g, c);
}
