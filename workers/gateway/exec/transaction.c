/*
 * What MULTI and WATCH keep for EXEC, and what EXEC has answered here until
 * the store's answer comes. Commands are queued as they came, a long one in
 * shares of a turn.
 */
#include "workers/gateway/exec/transaction.h"

#include <stdlib.h>
#include <string.h>
#include "workers/gateway/exec/args.h"
#include "workers/gateway/exec/job.h"

/* Keys beyond so many may stand there twice: each is compared with all. */
#define WATCH_LOOK 256

bool
gw_multi_active(const struct conn *c)
{
	return c->multi != NULL && c->multi->active;
}

uint32_t
gw_multi_queued(const struct conn *c)
{
	return gw_multi_active(c) ? c->multi->count : UINT32_MAX;
}

void
gw_multi_spoil(struct conn *c)
{
	if (gw_multi_active(c))
		c->multi->spoiled = true;
}

size_t
gw_multi_bytes(const struct multi *m)
{
	return sizeof(*m) + m->queue.len + m->watches.len;
}

void
gw_multi_free(struct conn *c)
{
	if (c->multi == NULL)
		return;
	vbuf_free(&c->multi->queue);
	vbuf_free(&c->multi->watches);
	free(c->multi);
	c->multi = NULL;
}

struct multi *
gw_multi_get(struct conn *c)
{
	if (c->multi == NULL)
		c->multi = calloc(1, sizeof(*c->multi));
	return c->multi;
}

/* A long command on its way into the queue. */
struct queue_job {
	struct job job;
	struct args_copy copy;
};

static void
queue_free(struct job *job)
{
	free(job);
}

/* It is in the queue, whole. */
static enum verdict
queue_over(struct call *k, struct multi *m)
{
	m->count++;
	m->args += k->argc;
	reply_status(call_out(k), "QUEUED");
	return VERDICT_DONE;
}

static void
queue_size(const struct job *job, size_t *pooled, size_t *plain)
{
	(void)job;
	(void)pooled;
	*plain += sizeof(struct queue_job);
}

static enum verdict
queue_step(struct call *k, struct job *job)
{
	struct queue_job *j = (struct queue_job *)job;
	struct multi *m = k->c->multi;

	if (!gw_args_copy(k->g, &j->copy, m->queue.data, k->argc, k->argv))
		return gw_job_pause(k);
	return queue_over(k, m);
}

/* Room for it is made. */
static enum verdict
queue_copy(struct call *k, struct multi *m, struct args_copy copy)
{
	struct queue_job *j;

	if (!gw_is_long(k->argc, k->argv)) {
		while (
		    !gw_args_copy(k->g, &copy, m->queue.data, k->argc, k->argv))
			;
		return queue_over(k, m);
	}
	j = gw_job_new(sizeof(*j), queue_step, queue_free, queue_size);
	if (j == NULL) {
		m->spoiled = true;
		return call_error_done(k, "ERR no memory for this command");
	}
	j->copy = copy;
	return gw_job_begin(k, &j->job);
}

enum verdict
gw_multi_queue(struct call *k)
{
	size_t size = op_size(k->argc, k->argv) - OP_HEADER_SIZE;
	struct multi *m = k->c->multi;
	uint8_t *at;

	if (m->count == GW_MULTI_MAX || k->argc > GW_MULTI_ARGS - m->args ||
	    m->queue.len + size > k->g->w->conf->listen.max_query) {
		m->spoiled = true;
		return call_error_done(k, "ERR the transaction is too long");
	}
	at = vbuf_add(&m->queue, 4 + size);
	if (at == NULL) {
		m->spoiled = true;
		return call_error_done(k, "ERR no memory for this command");
	}
	put_le32(at, k->argc);
	return queue_copy(
	    k, m, (struct args_copy){ .to = (size_t)(at + 4 - m->queue.data) });
}

/* ---- WATCH ---- */

bool
gw_watch_next(
    const struct multi *m, size_t *at, uint64_t *vlsn, struct op_arg *key)
{
	const uint8_t *p = m->watches.data + *at;

	if (*at == m->watches.len)
		return false;
	*vlsn = get_le64(p);
	key->len = get_le32(p + 8);
	key->data = p + 12;
	*at += 12 + (size_t)key->len;
	return true;
}

static bool
watch_has(const struct multi *m, const struct op_arg *key)
{
	struct op_arg have;
	uint64_t vlsn;
	size_t at = 0;

	while (gw_watch_next(m, &at, &vlsn, &have))
		if (have.len == key->len &&
		    memcmp(have.data, key->data, key->len) == 0)
			return true;
	return false;
}

void
gw_watch_add(struct gateway *g, struct multi *m, const struct op_arg *key)
{
	uint8_t *at;

	if ((m->watch_count < WATCH_LOOK && watch_has(m, key)) ||
	    (at = vbuf_add(&m->watches, 12 + (size_t)key->len)) == NULL)
		return;
	put_le64(at, kv_watch(g->kv, key->data, key->len));
	put_le32(at + 8, key->len);
	memcpy(at + 12, key->data, key->len);
	m->watch_count++;
}

/* ---- EXEC ---- */

static size_t
exec_plain(const struct exec *x)
{
	return sizeof(*x) + x->count * sizeof(x->item[0]);
}

struct exec *
gw_exec_new(struct chunk_pool *pool, uint32_t count)
{
	struct exec *x = calloc(1, sizeof(*x) + count * sizeof(x->item[0]));

	if (x == NULL)
		return NULL;
	x->count = count;
	x->local.pool = pool;
	pool->used += exec_plain(x);
	return x;
}

size_t
gw_exec_bytes(const struct exec *x)
{
	return x != NULL ? exec_plain(x) + chunk_bytes(x->local.c) : 0;
}

void
gw_exec_free(struct exec *x)
{
	if (x == NULL)
		return;
	x->local.pool->used -= exec_plain(x);
	sink_reset(&x->local);
	free(x);
}

uint32_t
gw_exec_count(const struct exec *x)
{
	return x->count;
}

enum exec_place
gw_exec_place(const struct exec *x, uint32_t i)
{
	if (x->item[i].local)
		return EXEC_LOCAL;
	if (x->item[i].head)
		return EXEC_HEAD;
	return x->item[i].unless_nil ? EXEC_UNLESS_NIL : EXEC_STORE;
}

size_t
gw_exec_local(const struct exec *x, uint32_t i, struct sink *out)
{
	if (x->item[i].len != 0)
		sink_put(
		    out, x->local.c->data + x->item[i].off, x->item[i].len);
	return x->item[i].len;
}
