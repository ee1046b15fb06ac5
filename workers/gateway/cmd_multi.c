/*
 * MULTI and WATCH. Commands are queued as they came; a long one, and many
 * keys to watch, in shares of a turn. What EXEC makes of them is cmd_exec.c.
 */
#include <stdlib.h>
#include <string.h>
#include "workers/gateway/cmd.h"
#include "workers/gateway/job.h"
#include "workers/gateway/multi.h"

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

static struct multi *
multi_get(struct conn *c)
{
	if (c->multi == NULL)
		c->multi = calloc(1, sizeof(*c->multi));
	return c->multi;
}

enum verdict
gw_run_multi(struct call *k)
{
	struct multi *m = multi_get(k->c);

	if (m == NULL)
		return call_error_done(k, "ERR no memory for MULTI");
	if (m->active)
		return call_error_done(k, "ERR MULTI calls can not be nested");
	m->active = true;
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

enum verdict
gw_run_discard(struct call *k)
{
	if (!gw_multi_active(k->c))
		return call_error_done(k, "ERR DISCARD without MULTI");
	gw_multi_free(k->c);
	reply_ok(call_out(k));
	return VERDICT_DONE;
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

static void
watch_add(struct call *k, struct multi *m, const struct op_arg *key)
{
	uint8_t *at;

	if ((m->watch_count < WATCH_LOOK && watch_has(m, key)) ||
	    (at = vbuf_add(&m->watches, 12 + (size_t)key->len)) == NULL)
		return;
	put_le64(at, kv_watch(k->g->kv, key->data, key->len));
	put_le32(at + 8, key->len);
	memcpy(at + 12, key->data, key->len);
	m->watch_count++;
}

/* A WATCH of many keys. */
struct watch_job {
	struct job job;
	uint32_t next; /* argument */
};

static void
watch_free(struct job *job)
{
	free(job);
}

static void
watch_size(const struct job *job, size_t *pooled, size_t *plain)
{
	(void)job;
	(void)pooled;
	*plain += sizeof(struct watch_job);
}

static enum verdict
watch_step(struct call *k, struct job *job)
{
	struct watch_job *j = (struct watch_job *)job;
	struct multi *m = k->c->multi;

	if (gw_read_begin(k->g) != 0)
		return call_error_done(k, "ERR the store cannot be read");
	while (j->next < k->argc) {
		watch_add(k, m, &k->argv[j->next++]);
		gw_turn_read(k->g, 1);
		if (k->g->turn_over && j->next < k->argc)
			return gw_job_pause(k);
	}
	if (m->watches.error != 0) {
		gw_multi_free(k->c);
		return call_error_done(k, "ERR no memory for WATCH");
	}
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

/* Keys that can be watched beside those that are? Else it is answered. */
static bool
watch_fits(struct call *k, const struct multi *m)
{
	uint32_t i;

	if (m->watches.len > k->g->w->conf->listen.max_query ||
	    m->watch_count + (uint64_t)k->argc > GW_MULTI_MAX) {
		call_error(k, "ERR too many keys are watched");
		return false;
	}
	for (i = 1; i < k->argc; i++) {
		if (k->argv[i].len <= KEY_MAX)
			continue;
		call_error(k, "ERR key is longer than 511 bytes");
		return false;
	}
	return true;
}

enum verdict
gw_run_watch(struct call *k)
{
	struct multi *m = multi_get(k->c);
	struct watch_job *j;
	enum verdict v;

	if (m == NULL)
		return call_error_done(k, "ERR no memory for WATCH");
	if (m->active)
		return call_error_done(
		    k, "ERR WATCH inside MULTI is not allowed");
	if (!watch_fits(k, m))
		return VERDICT_DONE;
	if (!gw_run_read_ready(k, &v))
		return v;
	j = gw_job_new(sizeof(*j), watch_step, watch_free, watch_size);
	if (j == NULL)
		return call_error_done(k, "ERR no memory for WATCH");
	j->next = 1;
	return gw_job_begin(k, &j->job);
}

enum verdict
gw_run_unwatch(struct call *k)
{
	/* Inside a MULTI it is queued and EXEC forgets the keys anyhow. */
	if (!k->in_exec)
		gw_multi_free(k->c);
	reply_ok(call_out(k));
	return VERDICT_DONE;
}
