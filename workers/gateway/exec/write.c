/*
 * Writes: requests into wal's ring, when there is room for them, and the part
 * of the turn that is theirs. order.c keeps the place of each in its client's
 * replies, answer.c takes what comes back.
 */
#include <errno.h>
#include <stdlib.h>
#include "shm/log/record.h"
#include "workers/gateway/exec/order.h"

static void
big_free(struct gateway *g)
{
	gw_memory_returned(&g->io, gw_big_bytes(g));
	free(g->big.payload);
	g->big.payload = NULL;
}

int
gw_write_init(struct gateway *g)
{
	region_ring(g->r, g->client, RING_REQUEST, &g->req);
	g->request_max = REQ_PAYLOAD_MAX;
	if (!gw_order_init(g) || !gw_answer_init(g))
		return -ENOMEM;
	gw_reach_init(g);
	gw_role_init(g);
	return 0;
}

void
gw_write_fini(struct gateway *g)
{
	big_free(g);
	gw_answer_fini(g);
	gw_order_fini(g);
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
	if (!gw_node_claim(g, c, rq)) {
		big_free(g);
		return -ENOMEM;
	}
	big_pump(g);
	return 0;
}

/* ---- room ---- */

bool
gw_write_room(struct gateway *g)
{
	return g->big.payload == NULL && !gw_window_full(g) &&
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

/* ---- append ---- */

int
gw_write_append(struct gateway *g, struct conn *c, const struct request *rq)
{
	size_t len = request_size(rq);
	uint8_t flags = rq->early ? 0 : REQ_WANT_RESULT, *at;
	uint64_t mark = bytering_mark(&g->req);
	int rc;

	if (g->big.payload != NULL || gw_window_full(g))
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
	if (!gw_node_claim(g, c, rq)) {
		bytering_unreserve(&g->req, mark);
		return -ENOMEM;
	}
	g->req_published = true;
	g->n_writes++;
	return 0;
}

/* ---- a turn ---- */

void
gw_write_turn(struct gateway *g)
{
	gw_lost_look(g);
	gw_answer_turn(g);
	gw_window_slide(g);
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
	g->reach_known = false;
}

bool
gw_write_pending(struct gateway *g)
{
	if (gw_answer_pending(g) || gw_reach_pending(g))
		return true;
	if (g->big.payload != NULL)
		return bytering_roomy(&g->req);
	return g->stalled_count != 0 && gw_write_room(g) &&
	       (!gw_reach_holds(g) || !commit_is_master(g->r));
}
