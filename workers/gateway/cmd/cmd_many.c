/*
 * Reads that may be long: of many keys (MGET, EXISTS and TOUCH) or of a long
 * value (GET, GETRANGE), alone and inside EXEC. All keys are looked up as of
 * one moment, however many turns that takes: what does not fit into a turn's
 * share of time goes on in the next, also in the middle of a value, so nobody
 * else waits longer than a share. When the moment is lost it begins anew.
 */
#include <errno.h>
#include <stdlib.h>
#include "shm/assert.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"

/* A read under way. */
struct many_job {
	struct job job;
	struct moment moment;
	struct many many;
	struct sink out; /* the answer so far */
};

static void
many_free(struct job *job)
{
	struct many_job *j = (struct many_job *)job;

	sink_reset(&j->out);
	free(j);
}

static void
many_size(const struct job *job, size_t *pooled, size_t *plain)
{
	const struct many_job *j = (const struct many_job *)job;

	*pooled += chunk_bytes(j->out.c);
	*plain += sizeof(*j);
}

/* Room in the answer for what is wanted of the value. 0 or -errno. */
static int
value_begin(struct gateway *g, struct many *m, const struct kv_item *item,
    struct sink *out)
{
	int64_t start = m->start, end = m->end;
	uint8_t *to;

	m->from = 0;
	m->left = item->len;
	if (m->kind == MANY_RANGE) {
		if (!kv_range(&start, &end, (int64_t)item->len))
			end = start - 1;
		m->from = (uint64_t)start;
		m->left = (uint64_t)(end - start + 1);
	}
	if (gw_output_over(&g->io, sink_len(out) + m->left))
		return -ENOBUFS;
	if ((to = reply_bulk_room(out, m->left)) == NULL)
		return -ENOMEM;
	m->at = (size_t)(to - out->c->data);
	m->in_value = true;
	return 0;
}

/* As much of it as this turn's share allows. */
static int
value_copy(struct gateway *g, struct moment *at, struct many *m,
    const struct kv_item *item, struct sink *out)
{
	uint64_t step = kv_piece(g->kv, item), n;
	int rc;

	while (m->left != 0) {
		/* A piece of the disk is looked up once, whole. */
		n = step - m->from % step;
		n = n < m->left ? n : m->left;
		rc = kv_copy(g->kv, item, m->from, n, out->c->data + m->at);
		if (rc != 0)
			return rc;
		m->from += n;
		m->at += n;
		m->left -= n;
		if (gw_moment_over(g, at, n / 1024) && m->left != 0)
			return -EINPROGRESS;
	}
	m->in_value = false;
	return 0;
}

/* One key. */
static int
many_look(struct gateway *g, struct moment *at, struct many *m,
    struct sink *out, unsigned proto)
{
	const struct op_arg *key = &m->argv[m->next];
	struct kv_item item;
	int rc;

	rc = kv_get(g->kv, key->data, key->len, at->now_ms, &item);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (!m->in_value)
		m->found += rc == 0;
	if (m->kind == MANY_COUNT)
		return 0;
	if (rc == 0) {
		if (!m->in_value && (rc = value_begin(g, m, &item, out)) != 0)
			return rc;
		return value_copy(g, at, m, &item, out);
	}
	if (m->kind == MANY_RANGE)
		reply_bulk(out, "", 0);
	else
		reply_nil(out, proto);
	return 0;
}

int
gw_many_step(struct gateway *g, struct moment *at, struct many *m,
    struct sink *out, unsigned proto)
{
	int rc;

	if (m->next == 0 && m->kind == MANY_VALUES && !m->in_value)
		reply_array(out, m->count);
	while (m->next < m->count) {
		if ((rc = many_look(g, at, m, out, proto)) != 0)
			return rc;
		m->next++;
		if (gw_output_over(&g->io, sink_len(out)))
			return -ENOBUFS;
		if (gw_moment_over(g, at, 1) && m->next < m->count)
			return -EINPROGRESS;
	}
	if (m->kind == MANY_COUNT)
		reply_int(out, (int64_t)m->found);
	return out->failed ? -ENOMEM : 0;
}

/* Up to this turn's share. */
static int
many_share(struct call *k, struct many_job *j)
{
	struct gateway *g = k->g;
	int rc;

	rc = gw_moment_begin(g, &j->moment);
	if (rc == 0)
		rc =
		    gw_many_step(g, &j->moment, &j->many, &j->out, k->c->proto);
	gw_moment_end(g);
	if (rc != -EAGAIN)
		return rc;
	sink_reset(&j->out);
	j->many.next = 0;
	j->many.found = 0;
	j->many.in_value = false;
	/* In another turn: what was lost took its time, too. */
	return gw_moment_lost(&j->moment) ? -EINPROGRESS : rc;
}

static enum verdict
many_answered(struct call *k, struct many_job *j, int rc)
{
	const struct op_arg none = { (const uint8_t *)"", 0 };
	const struct many *m = &j->many;

	if (rc == -ENOBUFS)
		return call_error_done(k, GW_TOO_LONG);
	if (rc == 0) {
		call_join(k, &j->out);
		k->g->n_hits += m->found;
		k->g->n_misses += m->next - m->found;
		return VERDICT_DONE;
	}
	if (rc == -EAGAIN)
		return call_error_done(k, "ERR the store changes too fast to "
					  "read so many keys at one moment");
	return gw_run_failed(
	    k, m->next < m->count ? &m->argv[m->next] : &none, rc);
}

static enum verdict
many_step(struct call *k, struct job *job)
{
	struct many_job *j = (struct many_job *)job;
	int rc;

	j->many.argv = k->argv + 1;
	rc = many_share(k, j);
	if (rc == -EINPROGRESS)
		return gw_job_pause(k);
	if (rc == 0 && !gw_read_holds(k->g, k->c)) {
		/* All of it again, as if it came now. */
		gw_job_free(k->job);
		return VERDICT_PARKED;
	}
	return many_answered(k, j, rc);
}

enum verdict
gw_many_begin(struct call *k, const struct many *m)
{
	struct many_job *j =
	    gw_job_new(sizeof(*j), many_step, many_free, many_size);

	if (j == NULL)
		return call_error_done(k, "ERR no memory for this request");
	j->many = *m;
	j->out.pool = &k->g->io.pool;
	return gw_job_begin(k, &j->job);
}

enum verdict
gw_run_many(struct call *k)
{
	struct many m = { .count = k->argc - 1 };
	enum verdict v;

	if (!gw_run_read_ready(k, &v))
		return v;
	m.kind = k->cmd->build == gw_build_mget ? MANY_VALUES : MANY_COUNT;
	return gw_many_begin(k, &m);
}
