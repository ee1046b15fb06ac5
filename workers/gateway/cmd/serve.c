/*
 * The two ways up from the lower shelves end here: bytes that have arrived
 * become commands where they lie, and a connection that rested goes on with
 * the command at the head of its input.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "workers/gateway/cmd/command.h"

#define BULK_SLACK (64u * 1024) /* over max_value: refused by name */
#define ARGV_KEEP  1024
#define ARGV_LONG  4096u /* more arguments than a received buffer holds */
#define ARGV_SHARE 4096u /* filled in between two looks at the clock */
_Static_assert(ARGV_LONG >= GW_BUF_SIZE / 2, "two bytes each at least");

/* The command's arguments as pointers, in g->argv. */
static bool
argv_fill(struct gateway *g, const struct resp *rp, const uint8_t *from)
{
	const struct resp_arg *args = resp_args(rp);
	const uint8_t *base = rp->line != NULL ? rp->line : from;
	struct op_arg *argv;
	uint32_t i;

	if (rp->argc > g->argv_cap ||
	    (g->argv_cap > ARGV_KEEP && rp->argc <= ARGV_KEEP / 2)) {
		uint32_t cap = rp->argc > 16 ? rp->argc : 16;

		argv = realloc(g->argv, cap * sizeof(*argv));
		if (argv == NULL)
			return false;
		g->argv = argv;
		g->argv_cap = cap;
	}
	for (i = 0; i < rp->argc; i++) {
		g->argv[i].data = base + args[i].off;
		g->argv[i].len = args[i].len;
	}
	return true;
}

/*
 * The same for a long command, a share of the turn at a time, in an array of
 * its own. 0, -EINPROGRESS (the next turn goes on), or -ENOMEM.
 */
static int
argv_pin(struct gateway *g, struct input *in, const struct resp *rp,
    const uint8_t *from)
{
	const struct resp_arg *args = resp_args(rp);
	const uint8_t *base = rp->line != NULL ? rp->line : from;
	uint32_t i;

	if (in->argv == NULL) {
		in->argv = malloc(rp->argc * sizeof(in->argv[0]));
		in->argc = 0;
	}
	if (in->argv == NULL)
		return -ENOMEM;
	while (in->argc < rp->argc) {
		i = in->argc++;
		in->argv[i].data = base + args[i].off;
		in->argv[i].len = args[i].len;
		if (in->argc % ARGV_SHARE != 0)
			continue;
		gw_turn_look(g);
		if (g->turn_over)
			return -EINPROGRESS;
	}
	return 0;
}

static void
input_bad(struct gateway *g, struct conn *c, const struct resp *rp)
{
	struct sink *out;
	char text[128];

	resp_error(rp, text, sizeof(text));
	out = gw_reply_sink(g, c);
	reply_errorf(out, "ERR %s", text);
	c->flags |= CONN_LAST;
	gw_conn_dirty(&g->io, c);
	gw_count(&g->io, C_PROTOCOL_ERRORS, 1);
}

static bool
conn_rests(struct gateway *g, struct conn *c)
{
	bool known = (c->flags & CONN_AUTHED) != 0;

	if (c->park != PARK_NOT || (c->flags & (CONN_CLOSING | CONN_LAST)) != 0)
		return true;
	if (known ? gw_output_rests(&g->io, c)
		  : gw_conn_unsent(c) >= GW_OUT_UNAUTH) {
		gw_park(g, c, PARK_OUTPUT);
		g->io.output_rests = true;
		return true;
	}
	if (gw_order_crowded(g, c)) {
		gw_park(g, c, PARK_ORDER);
		return true;
	}
	if (g->turn_over)
		gw_park(g, c, PARK_TURN);
	return g->turn_over;
}

/* The command that rp has parsed at `from`, or the next share of its job. */
static enum verdict
conn_command(
    struct gateway *g, struct conn *c, struct resp *rp, const uint8_t *from)
{
	bool pinned = c->in != NULL && c->in->argv != NULL;
	enum verdict v;
	int rc;

	if (rp->argc == 0)
		return VERDICT_DONE;
	if (pinned || rp->argc > ARGV_LONG)
		rc = argv_pin(g, c->in, rp, from);
	else
		rc = argv_fill(g, rp, from) ? 0 : -ENOMEM;
	if (rc == -EINPROGRESS) {
		gw_park(g, c, PARK_TURN);
		return VERDICT_PARKED;
	}
	if (rc != 0) {
		gw_conn_kill(&g->io, c);
		return VERDICT_DONE;
	}
	v = gw_command_execute(g, c, rp->argc,
	    pinned || rp->argc > ARGV_LONG ? c->in->argv : g->argv);
	if (v == VERDICT_DONE)
		gw_input_unpin(c);
	return v;
}

/* Has the command at the head begun to take turns? */
static bool
conn_under_way(const struct conn *c)
{
	return c->job != NULL || (c->in != NULL && c->in->argv != NULL);
}

/*
 * Run the commands that begin in data. Returns how many bytes are dealt with;
 * rp has the state of the partial command behind them.
 */
static size_t
conn_serve(struct gateway *g, struct conn *c, struct resp *rp,
    const uint8_t *data, size_t n)
{
	struct resp_limits limits;
	enum resp_status st;
	uint32_t parsed;
	size_t at = 0;

	limits.bulk_max = g->w->conf->store.max_value + BULK_SLACK;
	while (at < n && !conn_rests(g, c)) {
		limits.unauth = (c->flags & CONN_AUTHED) == 0;
		st = RESP_COMMAND;
		parsed = rp->argc;
		if (!conn_under_way(c))
			st = resp_next(rp, data + at, n - at, &limits);
		if (st == RESP_MORE) {
			gw_turn_work(g, (rp->argc - parsed) / 16);
			return at;
		}
		if (st == RESP_BAD) {
			input_bad(g, c, rp);
			return n;
		}
		if (st == RESP_NOMEM)
			gw_conn_kill(&g->io, c);
		else if (conn_command(g, c, rp, data + at) == VERDICT_PARKED) {
			/* What is parsed stays so, but for a short line. */
			if (rp->line != NULL && !conn_under_way(c))
				resp_reset(rp);
			return at;
		}
		if ((c->flags & CONN_CLOSING) != 0)
			return n;
		gw_turn_work(g, 1 + rp->argc / 16);
		at += rp->pos;
		resp_reset(rp);
	}
	return at;
}

/* Serve what is in the input buffer and give it back if that was all. */
static void
input_serve(struct gateway *g, struct conn *c)
{
	struct input *in = c->in;
	size_t n;

	do {
		n = sink_len(&in->bytes) - in->start;
		n = conn_serve(g, c, &in->rp, in->bytes.c->data + in->start, n);
		if ((in = c->in) == NULL)
			return; /* killed by what it sent */
		in->start += n;
	} while (gw_input_join(&g->io, c));
	if ((in = c->in) == NULL)
		return;
	if (in->start == sink_len(&in->bytes) || (c->flags & CONN_LAST) != 0) {
		gw_input_free(c);
		return;
	}
	(void)gw_input_over(&g->io, c);
}

static void
input_take(struct gateway *g, struct conn *c, const uint8_t *data, size_t n)
{
	size_t used;

	if (c->in != NULL || c->park != PARK_NOT) {
		if (!gw_input_append(&g->io, c, data, n))
			gw_conn_kill(&g->io, c);
		else if (c->park == PARK_NOT)
			input_serve(g, c);
		else if (!gw_conn_wants_input(c))
			gw_conn_dirty(&g->io, c);
		return;
	}
	used = conn_serve(g, c, &g->rp, data, n);
	if (used == n || (c->flags & (CONN_CLOSING | CONN_LAST)) != 0) {
		resp_reset(&g->rp);
		return;
	}
	if (!gw_input_make(&g->io, c)) {
		resp_reset(&g->rp);
		gw_conn_kill(&g->io, c);
		return;
	}
	/* The partial command's state moves along with its bytes. */
	resp_free(&c->in->rp);
	c->in->rp = g->rp;
	memset(&g->rp, 0, sizeof(g->rp));
	resp_reset(&g->rp);
	if (!gw_input_append(&g->io, c, data + used, n - used))
		gw_conn_kill(&g->io, c);
}

static void
serve_input(struct gw_io *io, struct conn *c, const uint8_t *data, size_t n)
{
	struct gateway *g = gateway_of(io);

	gw_turn_work(g, n / 4096);
	input_take(g, c, data, n);
	gw_memory_note(io, c, gw_session_plain(c));
}

static void
serve_go_on(struct gw_io *io, struct conn *c)
{
	struct gateway *g = gateway_of(io);

	gw_park_end(g, c);
	if ((c->flags & CONN_CLOSING) != 0) {
		gw_order_orphan(g, c);
		gw_session_reset(c);
		return;
	}
	if (c->in != NULL)
		input_serve(g, c);
	gw_memory_note(io, c, gw_session_plain(c));
	/* Its socket may be wanted again, or it may be done altogether. */
	gw_conn_dirty(io, c);
}

static size_t
serve_held(const struct gw_io *io, const struct conn *c)
{
	return gw_session_pooled(gateway_of((struct gw_io *)(uintptr_t)io), c);
}

const struct gw_up gw_serve_up = { serve_input, serve_go_on, serve_held };

void
gw_serve_init(struct gateway *g)
{
	gw_command_init();
	resp_reset(&g->rp);
}

void
gw_serve_fini(struct gateway *g)
{
	free(g->argv);
	g->argv = NULL;
	g->argv_cap = 0;
	resp_free(&g->rp);
}
