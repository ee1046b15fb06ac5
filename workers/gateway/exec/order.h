/*
 * The order of replies, for who puts requests into it (write.c) and who answers
 * them (answer.c). What others ask of it is in exec.h.
 */
#ifndef WORKERS_GATEWAY_EXEC_ORDER_H
#define WORKERS_GATEWAY_EXEC_ORDER_H

#include "workers/gateway/exec/transaction.h"

bool gw_order_init(struct gateway *g); /* false: no memory */
/* Nothing that is still owed will be answered. */
void gw_order_fini(struct gateway *g);

/* Is there no place for another request? */
bool gw_window_full(const struct gateway *g);
/* Past those that are answered. */
void gw_window_slide(struct gateway *g);

/* The place of a request that is in the window; 0 when it is answered. */
static inline uint32_t *
gw_window_at(struct gateway *g, uint32_t seq)
{
	return &g->window[seq & (GW_WINDOW - 1)];
}

/* The node that owes this request's answer, or NULL. */
static inline struct node *
gw_window_node(struct gateway *g, uint32_t seq)
{
	uint32_t at;

	if (seq - g->oldest_seq >= g->next_seq - g->oldest_seq ||
	    (at = *gw_window_at(g, seq)) == 0)
		return NULL;
	return &g->nodes[at - 1];
}

/*
 * Give the next request a place in the connection's order, and its number.
 * False: no memory, nothing happened.
 */
bool gw_node_claim(struct gateway *g, struct conn *c, const struct request *rq);
/* Whose it is; NULL = he is gone. */
struct conn *gw_node_conn(struct gateway *g, const struct node *n);
/*
 * A node's last request is answered; term is as last_term of a connection. The
 * node is gone then, if its turn has come.
 */
void
gw_node_over(struct gateway *g, struct node *n, uint64_t vlsn, uint64_t term);
/* Send what has come to the head of the connection's order. */
void gw_order_drain(struct gateway *g, struct conn *c);

#endif
