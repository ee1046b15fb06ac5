/*
 * What MULTI and WATCH keep for EXEC, and what EXEC has answered here until
 * the store's answer comes.
 */
#ifndef WORKERS_GATEWAY_EXEC_TRANSACTION_H
#define WORKERS_GATEWAY_EXEC_TRANSACTION_H

#include "workers/gateway/exec/call.h"

#define GW_MULTI_MAX  (64u * 1024) /* commands queued in one MULTI */
#define GW_MULTI_ARGS RESP_ARGS_MAX /* their arguments together */

struct multi {
	bool active; /* between MULTI and EXEC */
	bool spoiled; /* EXEC will abort */
	uint32_t count, args; /* commands, and their arguments together */
	struct vbuf queue; /* each: u32 argc, then argc times u32 len, bytes */
	uint32_t watch_count;
	struct vbuf watches; /* as in REC_MULTI's payload */
};

/* The next watch at *at: VLSN and key. False at the end. */
bool gw_watch_next(
    const struct multi *m, size_t *at, uint64_t *vlsn, struct op_arg *key);
void gw_watch_add(struct gateway *g, struct multi *m, const struct op_arg *key);
struct multi *gw_multi_get(struct conn *c); /* NULL without memory */
bool gw_multi_active(const struct conn *c);
void gw_multi_free(struct conn *c);
void gw_multi_spoil(struct conn *c); /* EXEC will abort */
enum verdict gw_multi_queue(struct call *k);
uint32_t gw_multi_queued(const struct conn *c);
size_t gw_multi_bytes(const struct multi *m);

/* What becomes of one queued command. */
struct exec_item {
	bool local; /* answered in `local`, else by the store */
	bool far; /* a walk that is too long for this process */
	bool refused; /* by `local`, with what one EXEC may walk over */
	bool unless_nil; /* by `local` unless the store says nil */
	bool head; /* by `local`, then the store: SCAN behind a write */
	size_t off, len; /* in `local` */
	size_t queued; /* bytes in the queue */
};

struct exec {
	struct sink local;
	uint32_t count;
	struct exec_item item[];
};

/*
 * Where the answers to an EXEC's commands come from: the store's, one of ours,
 * ours unless the store's is nil, or the head of an array of ours whose last
 * element is the store's array. gw_exec_local() appends the i-th of ours
 * and says how long it is.
 */
enum exec_place { EXEC_STORE, EXEC_LOCAL, EXEC_UNLESS_NIL, EXEC_HEAD };
struct exec *gw_exec_new(struct chunk_pool *pool, uint32_t count);
uint32_t gw_exec_count(const struct exec *x);
enum exec_place gw_exec_place(const struct exec *x, uint32_t i);
size_t gw_exec_local(const struct exec *x, uint32_t i, struct sink *out);
void gw_exec_free(struct exec *x);
size_t gw_exec_bytes(const struct exec *x);

#endif
