/*
 * Writes: requests into wal's ring, and what comes back, in three streams:
 * return runs (which VLSNs a run of requests got), the committed position
 * (acknowledges early answers), and the store's results.
 *
 * Two orders meet here. The window is in request order, one word for each
 * request that is not answered. Every connection has a list of nodes in the
 * order of its replies; a node covers a run of its requests, so a pipeline of
 * sixty SETs is one node and one check.
 */
#include <errno.h>
#include <stdlib.h>
#include "shm/assert.h"
#include "shm/log/record.h"
#include "shm/say.h"
#include "workers/gateway/exec/transaction.h"

#define NODES_FIRST 256u

int
gw_write_init(struct gateway *g)
{
	region_ring(g->r, g->client, RING_REQUEST, &g->req);
	region_ring(g->r, g->client, RING_RETURN, &g->ret);
	region_ring(g->r, g->client, RING_RESULT, &g->res);
	g->node_free = GW_NONE;
	g->next_seq = g->oldest_seq = 1;
	g->lost = UINT64_MAX;
	g->request_max = REQ_PAYLOAD_MAX;
	gw_reach_init(g);
	/* A gateway that was killed has left its bit behind. */
	g->commit_waited = true;
	gw_write_commit_waited(g);
	g->window = calloc(GW_WINDOW, sizeof(*g->window));
	g->result = gw_result_new();
	return g->window != NULL && gw_runs_init(g) && g->result != NULL
		   ? 0
		   : -ENOMEM;
}

/* ---- the window ---- */

static uint32_t *
window_at(struct gateway *g, uint32_t seq)
{
	return &g->window[seq & (GW_WINDOW - 1)];
}

static void
window_slide(struct gateway *g)
{
	while (
	    g->oldest_seq != g->next_seq && *window_at(g, g->oldest_seq) == 0)
		g->oldest_seq++;
}

static bool
window_has(const struct gateway *g, uint32_t seq)
{
	return seq - g->oldest_seq < g->next_seq - g->oldest_seq;
}

/* The node that owes this request's answer, or NULL. */
static struct node *
window_node(struct gateway *g, uint32_t seq)
{
	uint32_t at;

	if (!window_has(g, seq) || (at = *window_at(g, seq)) == 0)
		return NULL;
	return &g->nodes[at - 1];
}

uint64_t
gw_write_oldest(struct gateway *g)
{
	const struct node *n = window_node(g, g->oldest_seq);

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
	n->kind = NODE_FREE;
	n->next = g->node_free;
	g->node_free = (uint32_t)(n - g->nodes);
}

/* Nothing that is still owed will be answered. */
static void
nodes_forget(struct gateway *g)
{
	uint32_t i;

	for (i = 0; i < g->node_cap; i++)
		if (g->nodes[i].kind != NODE_FREE)
			node_free(g, &g->nodes[i]);
}

static void
big_free(struct gateway *g)
{
	gw_memory_returned(&g->io, gw_big_bytes(g));
	free(g->big.payload);
	g->big.payload = NULL;
}

void
gw_write_fini(struct gateway *g)
{
	g->early_count = g->sync_count = g->term_count = 0;
	gw_write_commit_waited(g);
	nodes_forget(g);
	free(g->nodes);
	free(g->window);
	free(g->runs);
	big_free(g);
	gw_result_free(g->result);
	g->result = NULL;
	g->nodes = NULL;
	g->window = NULL;
	g->runs = NULL;
	g->node_cap = g->run_cap = 0;
}

/* No request of it is owed an answer any more. */
static bool
node_done(const struct node *n)
{
	return n->kind == NODE_BYTES || n->done == n->count;
}

struct sink *
gw_write_bytes(struct gateway *g, struct conn *c)
{
	struct node *n;

	ASSERT(c->node_tail != GW_NONE);
	n = &g->nodes[c->node_tail];
	if (n->kind != NODE_BYTES && (n = node_new(g, c, NODE_BYTES)) == NULL)
		return NULL;
	return &n->sink;
}

bool
gw_write_crowded(const struct gateway *g, const struct conn *c)
{
	return c->node_count != 0 &&
	       (c->node_count >= GW_NODES_HIGH ||
		   sink_len(&g->nodes[c->node_tail].sink) >= GW_OUT_HIGH);
}

void
gw_write_orphan(struct gateway *g, struct conn *c)
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
	return g->result_open && window_node(g, g->result_seq) == n;
}

/* Send what has come to the head of the connection's order. */
static void
conn_drain(struct gateway *g, struct conn *c)
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

static struct conn *
node_conn(struct gateway *g, const struct node *n)
{
	return n->conn != GW_NONE ? gw_conn_at(&g->io, n->conn) : NULL;
}

/* A node's last request is answered; term is as last_term of a connection. */
static void
node_over(struct gateway *g, struct node *n, uint64_t vlsn, uint64_t term)
{
	struct conn *c = node_conn(g, n);
	uint64_t took = g->io.loop.now_ns - n->start_ns;
	unsigned i;

	for (i = 0; i < n->count; i++)
		hist_add(g->h_write, took);
	if (c == NULL) {
		node_free(g, n);
		return;
	}
	if (vlsn > c->last_vlsn) {
		c->last_vlsn = vlsn;
		c->last_term = term;
	}
	conn_drain(g, c);
}

static bool
window_full(const struct gateway *g)
{
	return g->next_seq - g->oldest_seq >= GW_WINDOW;
}

void
gw_write_commit_waited(struct gateway *g)
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
early_begin(struct gateway *g)
{
	/* Before the request is published: wal must see it in time. */
	g->early_count++;
	gw_write_commit_waited(g);
}

static void
early_end(struct gateway *g)
{
	ASSERT(g->early_count > 0);
	g->early_count--;
	gw_write_commit_waited(g);
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

/* Give the next request a place in the connection's order. */
static bool
node_claim(struct gateway *g, struct conn *c, const struct request *rq)
{
	enum node_kind kind = rq->early ? NODE_EARLY : NODE_RESULT;
	struct node *n = node_to_extend(g, c, kind, rq);

	if (n == NULL) {
		if ((n = node_new(g, c, kind)) == NULL)
			return false;
		n->first_seq = g->next_seq;
		n->exec = rq->exec;
		if (kind == NODE_EARLY)
			early_begin(g);
	}
	n->count++;
	gw_reach_add(g, g->next_seq, rq->reach);
	*window_at(g, g->next_seq) = (uint32_t)(n - g->nodes) + 1;
	g->next_seq++;
	return true;
}

/* ---- requests ---- */

static void
request_head(
    struct gateway *g, uint8_t *at, uint32_t seq, uint8_t type, uint8_t flags)
{
	struct wal_req head = { .len = get_le32(at),
		.seq = seq,
		.incarnation = g->incarnation,
		.type = type,
		.flags = flags };

	memcpy(at, &head, sizeof(head));
}

static size_t
request_size(const struct request *rq)
{
	return rq->bytes != NULL ? rq->bytes->len : op_size(rq->argc, rq->argv);
}

static void
request_fill(uint8_t *at, const struct request *rq)
{
	if (rq->bytes != NULL)
		memcpy(at, rq->bytes->data, rq->bytes->len);
	else
		op_encode(at, rq->code, rq->flags, rq->num, rq->argc, rq->argv);
}

/* Push parts of the big request while the ring takes them. */
static void
big_pump(struct gateway *g)
{
	struct big_request *b = &g->big;
	size_t n;
	uint8_t *at, flags;

	while (b->payload != NULL) {
		n = b->len - b->sent;
		flags = b->flags;
		if (n > REQ_PART_MAX) {
			n = REQ_PART_MAX;
			flags = REQ_MORE;
		}
		at = bytering_reserve(
		    &g->req, (uint32_t)(sizeof(struct wal_req) + n));
		if (at == NULL)
			return;
		request_head(g, at, b->seq, b->type, flags);
		memcpy(at + sizeof(struct wal_req), b->payload + b->sent, n);
		g->req_published = true;
		b->sent += n;
		if (b->sent == b->len)
			big_free(g);
	}
}

static int
append_big(struct gateway *g, struct conn *c, const struct request *rq,
    size_t len, uint8_t flags)
{
	struct big_request *b = &g->big;
	uint8_t *payload;

	if (rq->bytes != NULL) {
		payload = rq->bytes->data;
		memset(rq->bytes, 0, sizeof(*rq->bytes));
	} else {
		if ((payload = malloc(len)) == NULL)
			return -ENOMEM;
		request_fill(payload, rq);
	}
	*b = (struct big_request){ .payload = payload,
		.len = len,
		.seq = g->next_seq,
		.type = rq->type,
		.flags = flags };
	gw_memory_lend(&g->io, len);
	if (!node_claim(g, c, rq)) {
		big_free(g);
		return -ENOMEM;
	}
	big_pump(g);
	return 0;
}

bool
gw_write_room(struct gateway *g)
{
	return g->big.payload == NULL && !window_full(g) &&
	       bytering_roomy(&g->req);
}

/*
 * Of long requests one is made at a time, also if that takes turns: they are
 * held twice while they are. Who makes one and waits for something else holds
 * up nobody.
 */
bool
gw_write_may_go(struct gateway *g, size_t len)
{
	const struct conn *c =
	    gw_conn_find(&g->io, g->maker, g->maker_generation);

	return gw_write_room(g) && (len <= GW_REQUEST_BIG || c == NULL ||
				       c->job == NULL || c->park != PARK_TURN);
}

bool
gw_write_may_make(
    struct gateway *g, struct conn *c, size_t len, enum refuses level)
{
	if (!gw_write_may_go(g, len))
		return false;
	/* What is refused is not to wait. */
	if (!gw_write_taken(g, level) || gw_reach_beyond(g, len, level) ||
	    gw_reach_may_make(g, c, len, level))
		return true;
	c->flags |= CONN_ROOM;
	return false;
}

void
gw_write_makes(struct gateway *g, const struct conn *c, size_t len)
{
	if (len > GW_REQUEST_BIG) {
		g->maker = c->index;
		g->maker_generation = c->generation;
	} else if (g->maker == c->index) {
		g->maker_generation = 0;
	}
}

enum refuses
gw_write_level(unsigned code)
{
	if (!op_frees(code))
		return REFUSES_GROWTH;
	return code == OP_FLUSHALL ? REFUSES_ALL : REFUSES_DELETES;
}

bool
gw_write_taken(const struct gateway *g, enum refuses level)
{
	return position_get(&g->r->pos->refuses) < level;
}

int
gw_write_append(struct gateway *g, struct conn *c, const struct request *rq)
{
	size_t len = request_size(rq);
	uint8_t flags = rq->early ? 0 : REQ_WANT_RESULT, *at;
	uint64_t mark = bytering_mark(&g->req);
	int rc;

	if (g->big.payload != NULL || window_full(g))
		return -EAGAIN;
	if (!gw_reach_may(g, c, rq->reach, rq->level)) {
		if (gw_reach_beyond(g, rq->reach, rq->level))
			return -ENOSPC;
		c->flags |= CONN_ROOM;
		return -EAGAIN;
	}
	gw_turn_work(g, len / 4096);
	if (len > REQ_PART_MAX) {
		if ((rc = append_big(g, c, rq, len, flags)) == 0)
			g->n_writes++;
		return rc;
	}
	at =
	    bytering_reserve(&g->req, (uint32_t)(sizeof(struct wal_req) + len));
	if (at == NULL)
		return -EAGAIN;
	request_head(g, at, g->next_seq, rq->type, flags);
	request_fill(at + sizeof(struct wal_req), rq);
	if (!node_claim(g, c, rq)) {
		bytering_unreserve(&g->req, mark);
		return -ENOMEM;
	}
	g->req_published = true;
	g->n_writes++;
	return 0;
}

/* ---- return runs ---- */

/*
 * Requests of a RESULT node that were refused have no result to wait for:
 * their errors are rendered when all before them is answered.
 */
static void
result_step(struct gateway *g, struct node *n)
{
	struct conn *c = node_conn(g, n);

	while (n->done < n->count && (n->refused >> n->done & 1) != 0) {
		if (!n->mute)
			gw_no_answer_put(g, &n->sink, n, n->done);
		n->done++;
	}
	if (n->done == n->count)
		node_over(g, n, 0, 0);
	else if (c != NULL && &g->nodes[c->node_head] == n)
		conn_drain(g, c);
}

/* RET_OK: it was appended, and what became of it is not known. */
static void
request_refused(struct gateway *g, uint32_t seq, unsigned status)
{
	struct node *n = window_node(g, seq);
	unsigned bit;

	if (n == NULL)
		return;
	bit = seq - n->first_seq;
	n->refused |= UINT64_C(1) << bit;
	if (status == RET_OK)
		n->lost |= UINT64_C(1) << bit;
	else
		n->status = (uint8_t)status;
	g->n_failed++;
	if (n->kind != NODE_RESULT)
		return;
	*window_at(g, seq) = 0;
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
	gw_reach_returned(
	    g, ret->seq, ret->count, ret->status == RET_OK ? ret->vlsn : 0);
	gw_runs_push(g, ret);
	if (ret->status == RET_OK)
		return;
	for (i = 0; i < ret->count; i++)
		request_refused(g, ret->seq + i, ret->status);
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

/* Early answers among `count` requests; `vlsn` is first's, 0 = refused. */
static void
ack_range(struct gateway *g, uint32_t first, uint32_t count, uint64_t vlsn,
    uint64_t term)
{
	uint32_t i = 0, node_end, s;
	struct node *n;

	while (i < count) {
		if ((n = window_node(g, first + i)) == NULL) {
			i++;
			continue;
		}
		/* Requests of this node up to its end, from `first` on. */
		node_end = n->first_seq + n->count - first;
		if (n->kind == NODE_EARLY && node_end <= count) {
			for (s = n->first_seq; s != first + node_end; s++)
				*window_at(g, s) = 0;
			n->done = n->count;
			early_end(g);
			/* Refused at its end: it may have begun well. */
			if (vlsn == 0)
				node_over(g, n, g->acked, g->acked_term);
			else
				node_over(g, n, vlsn + node_end - 1, term);
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
		request_refused(g, run->seq + i, RET_OK);
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
	struct node *n = window_node(g, seq);

	if (n != NULL && n->first_seq + n->done != seq) {
		/* Refusals of the ones before may have come meanwhile. */
		ret_drain(g);
		n = window_node(g, seq);
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

	*window_at(g, res->seq) = 0;
	n->done++;
	/* What is applied is committed. */
	if ((c = node_conn(g, n)) != NULL && res->vlsn > c->last_vlsn) {
		c->last_vlsn = res->vlsn;
		c->last_term = 0;
	}
	if (n->done < n->count)
		result_step(g, n);
	else
		node_over(g, n, res->vlsn, 0);
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
		n = window_node(g, res->seq);
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

void
gw_write_turn(struct gateway *g)
{
	gw_lost_look(g);
	ret_drain(g);
	ack_drain(g);
	res_drain(g);
	window_slide(g);
	big_pump(g);
}

void
gw_write_publish(struct gateway *g)
{
	gw_reach_turn(g);
	gw_owed_publish(g);
	if (g->req_published) {
		g->req_published = false;
		bytering_publish(&g->req);
		bell_ring(&g->w->bells, SLOT_WAL);
	}
	gw_alone_leave(g);
}

bool
gw_write_pending(struct gateway *g)
{
	if (bytering_ready(&g->ret) || bytering_ready(&g->res) ||
	    gw_reach_pending(g))
		return true;
	if (gw_write_lost(g) != g->lost || ack_pending(g))
		return true;
	if (g->big.payload != NULL)
		return bytering_roomy(&g->req);
	return g->stalled_count != 0 && gw_write_room(g) && !gw_reach_holds(g);
}
