/*
 * One command on its way, and how it answers.
 */
#include "workers/gateway/exec/call.h"

#include <stdarg.h>
#include <stdio.h>
#include "shm/trouble.h"

struct sink *
gw_reply_sink(struct gateway *g, struct conn *c)
{
	struct sink *s;

	if ((c->flags & (CONN_REPLY_OFF | CONN_SKIP)) != 0) {
		sink_reset(&g->io.mute);
		return &g->io.mute;
	}
	if (c->node_count == 0) {
		gw_conn_dirty(&g->io, c);
		return &c->out;
	}
	if ((s = gw_order_bytes(g, c)) != NULL)
		return s;
	c->out.failed = true;
	return &c->out;
}

/* A reply goes there; a long one is not copied. from is empty then. */
static void
reply_join(struct gateway *g, struct conn *c, struct sink *from)
{
	struct sink *to = gw_reply_sink(g, c);

	if (to == &c->out)
		gw_conn_emit(&g->io, c, from);
	else
		sink_join(to, from);
}

void
call_error(struct call *k, const char *fmt, ...)
{
	char text[FAULT_TEXT_MAX + GW_REFUSAL_MAX + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	reply_error(call_out(k), text);
	k->g->n_failed++;
}

void
call_join(struct call *k, struct sink *from)
{
	if (k->in_exec) {
		sink_join(call_out(k), from);
	} else if (gw_output_over(&k->g->io, sink_len(from))) {
		sink_reset(from);
		call_error(k, GW_TOO_LONG);
	} else {
		reply_join(k->g, k->c, from);
	}
}

enum verdict
call_error_done(struct call *k, const char *text)
{
	call_error(k, "%s", text);
	return VERDICT_DONE;
}

enum verdict
call_syntax(struct call *k)
{
	return call_error_done(k, "ERR syntax error");
}

enum verdict
call_refused(struct call *k)
{
	char text[GW_REFUSAL_MAX];

	gw_role_refusal(k->g, false, text);
	return call_error_done(k, text);
}

bool
call_may_write(struct call *k)
{
	char text[GW_REFUSAL_MAX];

	if (gw_role_may_write(k->g, text))
		return true;
	call_error(k, "%s", text);
	return false;
}

enum verdict
call_too_much(struct call *k, uint64_t need)
{
	call_error(k,
	    "ERR this would change %llu bytes or more at once, beyond [store] "
	    "max_record (%llu); nothing was changed",
	    (unsigned long long)need,
	    (unsigned long long)k->g->w->conf->store.max_record);
	return VERDICT_DONE;
}

static const char *
full_taken(const struct gateway *g, enum refuses level)
{
	if (gw_write_taken(g, level))
		return "there is room for less at once";
	if (gw_write_taken(g, REFUSES_DELETES))
		return "only DEL, UNLINK, GETDEL and FLUSHALL are taken";
	return gw_write_taken(g, REFUSES_ALL) ? "only FLUSHALL is taken"
					      : "nothing is taken";
}

/*
 * Which of the two it is changes while it lasts; when nothing stands any more,
 * the next one is taken.
 */
enum verdict
call_full(struct call *k, enum refuses level)
{
	uint64_t limit = k->g->w->conf->store.map_size;
	const char *taken = full_taken(k->g, level);
	struct trouble_info t;
	char size[24];

	if (trouble_read(k->g->r, TROUBLE_CHECKPOINT_FAILED, &t) ||
	    trouble_read(k->g->r, TROUBLE_STORE_WAITS, &t)) {
		call_error(k,
		    "ERR the store is full (%s): nothing was changed, %s: %s",
		    t.kind == TROUBLE_CHECKPOINT_FAILED
			? "checkpoints fail"
			: "a checkpoint does not end",
		    taken, t.text);
		return VERDICT_DONE;
	}
	/* What it was refused for is over by now. */
	if (limit == 0 ||
	    position_get(&k->g->r->pos->store_used) < limit - limit / 64) {
		call_error(k,
		    "ERR the store was full, a checkpoint makes room: nothing "
		    "was changed: try again");
		return VERDICT_DONE;
	}
	conf_size_format(limit, size, sizeof(size));
	call_error(k,
	    "ERR the store is full ([store] map_size = %s): nothing was "
	    "changed, %s: delete keys, or raise it, stop the "
	    "node and start it",
	    size, taken);
	return VERDICT_DONE;
}
