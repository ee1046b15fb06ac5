/*
 * Writes without a result: what wal refused, and what the log had appended
 * when it failed or when this node's mastership ended. Both are answered in
 * their place; nobody waits for them.
 */
#include <stdio.h>
#include "shm/request.h"
#include "shm/trouble.h"
#include "workers/gateway/exec/exec.h"
#include "workers/gateway/io/reply.h"

/* What wal refuses a request for, and the trouble that tells more of it. */
static const struct {
	const char *text, *begin;
	int trouble;
} refusals[] = {
	[RET_OK] = { GW_RESULT_LOST, NULL, -1 },
	[RET_READONLY] = { "READONLY You can't write against a read only "
			   "replica.",
	    NULL, -1 },
	[RET_LOG_FULL] = { "ERR the log has no room; nothing was written",
	    "ERR nothing was written", TROUBLE_LOG_FULL },
	[RET_STOPPING] = { "ERR the node is stopping; nothing was written",
	    NULL, -1 },
	[RET_LOG_FAILED] = { "LOGFAILED the log is closed; nothing was written",
	    "LOGFAILED nothing was written", TROUBLE_LOG_FAILED },
	[RET_AWAY] = { "LOGFAILED data_dir leads to another directory; nothing "
		       "was written",
	    "LOGFAILED nothing was written", TROUBLE_DATA_DIR },
	[RET_NO_SEGMENT] = { "ERR no further segment of the log can be made; "
			     "nothing was written",
	    "ERR nothing was written", TROUBLE_LOG_SEGMENT },
};

static void
refusal_put(const struct gateway *g, struct sink *out, unsigned status)
{
	char text[FAULT_TEXT_MAX + 64];
	struct trouble_info why;

	if (status >= NITEMS(refusals))
		status = RET_OK;
	if (refusals[status].trouble < 0 ||
	    !trouble_read(g->r, (enum trouble)refusals[status].trouble, &why)) {
		reply_error(out, refusals[status].text);
		return;
	}
	snprintf(
	    text, sizeof(text), "%s: %s", refusals[status].begin, why.text);
	reply_error(out, text);
}

void
gw_no_answer_put(const struct gateway *g, struct sink *out,
    const struct node *n, unsigned bit)
{
	if ((n->lost >> bit & 1) == 0)
		refusal_put(g, out, n->status);
	else
		reply_error(out,
		    g->lost != UINT64_MAX
			? "UNKNOWNOUTCOME the log failed before this write was "
			  "known to be on disk: it is not applied, and the "
			  "node's next boot drops it if it can"
			: "UNKNOWNOUTCOME this node is no master any more and "
			  "was none when this write was committed, if it was: "
			  "the next master may have it or not");
}

uint64_t
gw_write_lost(const struct gateway *g)
{
	uint64_t failed = atomic_load_explicit(
	    &g->r->control->wal_failed, memory_order_acquire);

	/* Readonly: it is what the region before tells the next boot. */
	return failed == 0 || g->w->readonly ? UINT64_MAX : failed;
}

/* Nobody waits for what will not come: reads see what there is. */
static void
log_failed(struct gateway *g)
{
	uint64_t last = g->lost - 1;
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(&g->io); i++) {
		if ((c = gw_conn_at(&g->io, i)) == NULL)
			continue;
		if (c->last_vlsn > last)
			c->last_vlsn = last;
		if (c->wait_vlsn > last && c->wait_vlsn != UINT64_MAX)
			c->wait_vlsn = last;
	}
	if (g->acked > last)
		g->acked = last;
	gw_park_look(g);
}

void
gw_lost_look(struct gateway *g)
{
	uint64_t lost = gw_write_lost(g);

	if (lost == g->lost)
		return;
	g->lost = lost;
	if (lost != UINT64_MAX)
		log_failed(g);
}
