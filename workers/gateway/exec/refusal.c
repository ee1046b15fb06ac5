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
	[RET_READONLY] = { "READONLY", NULL, -1 }, /* gw_role_refusal() */
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

/* It was when the request was sent to wal, and may be again by now. */
static void
not_master_put(const struct gateway *g, struct sink *out)
{
	char text[GW_REFUSAL_MAX];

	if (commit_is_master(g->r)) {
		reply_error(out, "READONLY You can't write against a read only "
				 "replica.");
		return;
	}
	gw_role_refusal(g, true, text);
	reply_error(out, text);
}

static void
refusal_put(const struct gateway *g, struct sink *out, unsigned status)
{
	char text[FAULT_TEXT_MAX + 64 + GW_REFUSAL_MAX];
	struct trouble_info why;

	if (status >= NITEMS(refusals))
		status = RET_OK;
	if (status == RET_READONLY) {
		not_master_put(g, out);
		return;
	}
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
	struct lost_write at = { 0 };
	char token[GW_TOKEN_MAX];
	const char *why;

	if ((n->lost >> bit & 1) == 0) {
		refusal_put(g, out, n->status);
		return;
	}
	why = g->lost != UINT64_MAX
		  ? "the log failed before this write was known to be on disk: "
		    "it is not applied, and the node's next boot drops it if "
		    "it can"
		  : "this node is no master any more and was none when this "
		    "write was committed, if it was: the next master may have "
		    "it or not";
	if (n->lost_at != NULL)
		at = n->lost_at[bit];
	if (at.vlsn == 0) {
		reply_errorf(out, "UNKNOWNOUTCOME %s", why);
		return;
	}
	gw_token_put(g, at.term, at.vlsn, token);
	reply_errorf(out, "UNKNOWNOUTCOME %s: token %s", why, token);
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
