/*
 * MULTI and WATCH, many keys of which in shares of a turn. What they keep is
 * exec/transaction.c's, what EXEC makes of it cmd_exec.c's.
 */
#include <stdlib.h>
#include <string.h>
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"
#include "workers/gateway/exec/transaction.h"

enum verdict
gw_run_multi(struct call *k)
{
	struct multi *m = gw_multi_get(k->c);

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
		gw_watch_add(k->g, m, &k->argv[j->next++]);
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
	struct multi *m = gw_multi_get(k->c);
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
