/*
 * Reads of many keys: MGET, EXISTS and TOUCH, alone and inside EXEC. All keys
 * are looked up as of one moment, however many turns that takes: what does not
 * fit into a turn's share of time rests and goes on in the next, so nobody
 * else waits longer than a share. When the moment is lost it begins anew.
 */
#include <errno.h>
#include <stdlib.h>
#include "shm/assert.h"
#include "workers/gateway/cmd.h"

/* A read under way; kept by its connection, its keys by the input. */
struct many_job {
	const struct command *cmd;
	struct moment moment;
	struct many many;
	struct sink out; /* of MGET, so far */
};

void
gw_many_free(struct conn *c)
{
	if (c->many == NULL)
		return;
	sink_reset(&c->many->out);
	free(c->many);
	c->many = NULL;
}

static struct op_arg
many_key(const struct many *m, uint32_t i)
{
	if (m->argv != NULL)
		return m->argv[i];
	return (struct op_arg){ m->base + m->args[i].off, m->args[i].len };
}

/* One key; how much work it was goes to *work. */
static int
many_look(struct gateway *g, const struct moment *at, struct many *m,
    struct sink *out, unsigned proto, uint64_t *work)
{
	struct op_arg key = many_key(m, m->next);
	struct kv_item item;
	int rc;

	*work = 1;
	rc = kv_get(g->kv, key.data, key.len, at->now_ms, &item);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	m->found += rc == 0;
	if (!m->values)
		return 0;
	if (rc == -ENOENT) {
		reply_nil(out, proto);
		return 0;
	}
	*work += item.len / 1024;
	return gw_put_item(g, out, &item);
}

int
gw_many_step(struct gateway *g, struct moment *at, struct many *m,
    struct sink *out, unsigned proto)
{
	uint64_t work;
	int rc;

	if (m->next == 0 && m->values)
		reply_array(out, m->count);
	while (m->next < m->count) {
		if ((rc = many_look(g, at, m, out, proto, &work)) != 0)
			return rc;
		m->next++;
		/* More than it may leave unread: no use to go on. */
		if (m->values && sink_len(out) > g->w->conf->listen.max_output)
			return -ENOBUFS;
		if (gw_moment_over(g, at, work) && m->next < m->count)
			return -EINPROGRESS;
	}
	if (!m->values)
		reply_int(out, (int64_t)m->found);
	return 0;
}

/* An empty chunk would be sent, and a send of nothing looks like a failure. */
static void
many_truncate(struct sink *out, size_t len)
{
	if (out->c == NULL)
		return;
	out->c->len = len;
	if (len != 0)
		return;
	chunk_free(out->pool, out->c);
	out->c = NULL;
}

/* Up to this turn's share; nothing but the answer stays in out. */
static int
many_run(struct call *k, struct many_job *j, struct sink *out, size_t len)
{
	struct gateway *g = k->g;
	int rc;

	rc = gw_moment_begin(g, &j->moment);
	if (rc == 0)
		rc = gw_many_step(g, &j->moment, &j->many, out, k->c->proto);
	gw_moment_end(g);
	if (rc == -EAGAIN) {
		many_truncate(out, len);
		j->many.next = 0;
		j->many.found = 0;
		/* In another turn: what was lost took its time, too. */
		if (gw_moment_lost(&j->moment))
			return -EINPROGRESS;
	}
	if (rc != 0 && rc != -EINPROGRESS && rc != -ENOBUFS)
		many_truncate(out, len);
	return rc;
}

static enum verdict
many_answered(struct call *k, const struct many *m, int rc)
{
	const struct op_arg none = { (const uint8_t *)"", 0 };
	struct op_arg key;

	if (rc == 0) {
		k->g->n_hits += m->found;
		k->g->n_misses += m->count - m->found;
		return VERDICT_DONE;
	}
	if (rc == -ENOBUFS)
		return VERDICT_DONE; /* it will be closed for it */
	if (rc == -EAGAIN)
		return call_error_done(k, "ERR the store changes too fast to "
					  "read so many keys at one moment");
	key = m->next < m->count ? many_key(m, m->next) : none;
	return gw_run_failed(k, &key, rc);
}

/* It rests until the next turn, what it has so far in a sink of its own. */
static enum verdict
many_pause(
    struct call *k, const struct many_job *j, struct sink *out, size_t len)
{
	struct many_job *job = malloc(sizeof(*job));

	if (job == NULL) {
		many_truncate(out, len);
		return call_error_done(k, "ERR no memory for this request");
	}
	*job = *j;
	job->out = (struct sink){ .pool = &k->g->pool };
	if (sink_len(out) > len)
		sink_put(&job->out, out->c->data + len, sink_len(out) - len);
	many_truncate(out, len);
	/* The arguments are the input's; where, gw_many_go_on() is told. */
	job->many.argv = NULL;
	k->c->many = job;
	gw_conn_park(k->g, k->c, PARK_TURN);
	return VERDICT_PARKED;
}

enum verdict
gw_run_many(struct call *k)
{
	struct many_job j = { .cmd = k->cmd };
	struct sink *out;
	enum verdict v;
	size_t len;
	int rc;

	if (!gw_run_read_ready(k, &v))
		return v;
	j.many.argv = k->argv + 1;
	j.many.count = k->argc - 1;
	j.many.values = k->cmd->build == gw_build_mget;
	out = call_out(k);
	len = sink_len(out);
	rc = many_run(k, &j, out, len);
	return rc == -EINPROGRESS ? many_pause(k, &j, out, len)
				  : many_answered(k, &j.many, rc);
}

enum verdict
gw_many_resume(struct call *k, const struct resp_arg *args, const uint8_t *base)
{
	struct many_job *j = k->c->many;
	enum verdict v;
	int rc;

	j->many.args = args + 1;
	j->many.base = base;
	rc = many_run(k, j, &j->out, 0);
	if (rc == -EINPROGRESS) {
		gw_conn_park(k->g, k->c, PARK_TURN);
		return VERDICT_PARKED;
	}
	sink_join(call_out(k), &j->out);
	v = many_answered(k, &j->many, rc);
	gw_many_free(k->c);
	return v;
}

const struct command *
gw_many_command(const struct conn *c)
{
	ASSERT(c->many != NULL);
	return c->many->cmd;
}
