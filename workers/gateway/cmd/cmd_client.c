/*
 * CLIENT: this connection and the others of this gateway.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"
#include "workers/gateway/exec/transaction.h"

#define LINE_MAX_LEN 1024
#define LINE_WORK    6 /* two system calls and a line of text */
#define LOOKS_SHARE  256u /* places without a client between two counts */

static const char *const help[] = {
	"CLIENT <subcommand> [<arg> ...]. Subcommands are:",
	"GETNAME, SETNAME <name>, ID, INFO, LIST [ID <id> ...],",
	"KILL <ip:port> | KILL [ID <id>] [ADDR <ip:port>] [LADDR <ip:port>]",
	"    [TYPE normal] [USER default] [SKIPME yes|no],",
	"NO-EVICT ON|OFF, NO-TOUCH ON|OFF, REPLY ON|OFF|SKIP,",
	"SETINFO LIB-NAME|LIB-VER <value>, GETREDIR.",
	"LIST and KILL know the clients of this gateway (gateway=<n>) only.",
};

static const char *
text_or_empty(const char *s)
{
	return s != NULL ? s : "";
}

static void
client_flags(const struct conn *c, char flags[5])
{
	unsigned n = 0;

	if (gw_multi_active(c))
		flags[n++] = 'x';
	if ((c->flags & (CONN_LAST | CONN_EOF)) != 0)
		flags[n++] = 'c';
	if ((c->flags & CONN_EVENTUAL) != 0)
		flags[n++] = 'r';
	if (n == 0)
		flags[n++] = 'N';
	flags[n] = '\0';
}

/* One line of CLIENT LIST, with its newline. */
static void
client_line(struct gateway *g, struct conn *c, struct sink *out)
{
	char addr[GW_ADDRESS_MAX], laddr[GW_ADDRESS_MAX], line[LINE_MAX_LEN];
	uint64_t now = g->io.loop.now_ns;
	uint32_t queued = gw_multi_queued(c);
	size_t in = c->in != NULL ? sink_len(&c->in->bytes) : 0;
	char flags[5];
	int n;

	gw_net_address(c, false, addr, sizeof(addr));
	gw_net_address(c, true, laddr, sizeof(laddr));
	client_flags(c, flags);
	n = snprintf(line, sizeof(line),
	    "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%.128s age=%" PRIu64
	    " idle=%" PRIu64
	    " flags=%s db=0 sub=0 psub=0 ssub=0 multi=%d qbuf=%zu "
	    "qbuf-free=0 argv-mem=%zu multi-mem=%zu rbs=%zu rbp=%zu "
	    "obl=%zu oll=%u omem=%zu tot-mem=%zu "
	    "events=%s cmd=%s "
	    "user=default redir=-1 resp=%u lib-name=%.64s lib-ver=%.64s "
	    "waits=%s gateway=%u\n",
	    c->id, addr, laddr, c->fd, text_or_empty(c->name),
	    (now - c->opened_ns) / NS_PER_S, (now - c->active_ns) / NS_PER_S,
	    flags, queued == UINT32_MAX ? -1 : (int)queued, in,
	    gw_memory_of_args(c),
	    c->multi != NULL ? gw_multi_bytes(c->multi) : 0,
	    chunk_bytes(c->out.c), sink_len(&c->out), sink_len(&c->out),
	    c->node_count, gw_conn_unsent(c),
	    gw_memory_of(&g->io, c) + sizeof(*c),
	    (c->flags & CONN_HELD) == 0 ? "r" : "",
	    c->last_command != NULL ? c->last_command->name : "NULL", c->proto,
	    text_or_empty(c->lib_name), text_or_empty(c->lib_ver),
	    gw_park_name(c->park), g->slot - SLOT_GATEWAY);
	if (n > 0)
		sink_put(out, line,
		    (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static enum verdict
reply_lines(struct call *k, struct sink *lines)
{
	if (lines->c != NULL)
		reply_text(
		    call_out(k), k->c->proto, lines->c->data, lines->c->len);
	else
		reply_text(call_out(k), k->c->proto, "", 0);
	sink_reset(lines);
	return VERDICT_DONE;
}

/* A client that CLIENT LIST ID asks for, by the order of its arguments. */
struct wanted {
	uint64_t id;
	uint32_t place;
};

/* Who it is, if there is one: it may be gone by the time it is named. */
struct found {
	uint32_t index, generation; /* 0 = nobody */
};

/* Over all clients, in shares of a turn. */
struct client_walk {
	struct job job;
	uint32_t at; /* the next place to look at */
	struct sink lines; /* LIST, so far */
	/* LIST ID: count of each; the next of found to be named. */
	uint32_t count, named;
	struct wanted *wanted;
	struct found *found;
	/* KILL, so far */
	int64_t killed;
	bool self;
};

static void
walk_free(struct job *job)
{
	struct client_walk *w = (struct client_walk *)job;

	sink_reset(&w->lines);
	free(w->wanted);
	free(w->found);
	free(w);
}

static void
walk_size(const struct job *job, size_t *pooled, size_t *plain)
{
	const struct client_walk *w = (const struct client_walk *)job;

	*pooled += chunk_bytes(w->lines.c);
	*plain +=
	    sizeof(*w) + w->count * (sizeof(*w->wanted) + sizeof(*w->found));
}

static struct client_walk *
walk_new(struct call *k, job_step *step)
{
	struct client_walk *w =
	    gw_job_new(sizeof(*w), step, walk_free, walk_size);

	if (w == NULL) {
		call_error(k, "ERR no memory for this request");
		return NULL;
	}
	w->lines.pool = &k->g->io.pool;
	return w;
}

/* The next client, after so much work on the one before; NULL: no more. */
static struct conn *
walk_next(struct call *k, struct client_walk *w, uint64_t work)
{
	struct conn *c;

	gw_turn_work(k->g, work);
	while (!k->g->turn_over && w->at < gw_conn_limit(&k->g->io)) {
		c = gw_conn_at(&k->g->io, w->at++);
		if (c != NULL && (c->flags & CONN_CLOSING) == 0)
			return c;
		if (w->at % LOOKS_SHARE == 0)
			gw_turn_work(k->g, 1);
	}
	return NULL;
}

/* Has it been past all of them? If not, the next turn goes on. */
static bool
walk_over(const struct call *k, const struct client_walk *w)
{
	return w->at >= gw_conn_limit(&k->g->io);
}

static int
wanted_order(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Where those with this id begin, or behind the last. */
static uint32_t
wanted_find(const struct wanted *w, uint32_t n, uint64_t id)
{
	uint32_t low = 0, high = n, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (w[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Those that were found, by the order in which they were asked for. */
static enum verdict
list_found(struct call *k, struct client_walk *w)
{
	struct found *f;
	struct conn *c;

	while (w->named < w->count) {
		if (k->g->turn_over)
			return gw_job_pause(k);
		f = &w->found[w->named++];
		c = gw_conn_find(&k->g->io, f->index, f->generation);
		if (c != NULL && (c->flags & CONN_CLOSING) == 0)
			client_line(k->g, c, &w->lines);
		gw_turn_work(k->g, LINE_WORK);
	}
	return reply_lines(k, &w->lines);
}

/* One pass over the clients, however many are asked for. */
static enum verdict
list_ids_step(struct call *k, struct job *job)
{
	struct client_walk *w = (struct client_walk *)job;
	struct conn *c;
	uint32_t at;

	while ((c = walk_next(k, w, 1)) != NULL)
		for (at = wanted_find(w->wanted, w->count, c->id);
		     at < w->count && w->wanted[at].id == c->id; at++)
			w->found[w->wanted[at].place] =
			    (struct found){ c->index, c->generation };
	return walk_over(k, w) ? list_found(k, w) : gw_job_pause(k);
}

static enum verdict
client_list_ids(struct call *k)
{
	struct client_walk *w = walk_new(k, list_ids_step);
	uint32_t i;
	int64_t id;

	if (w == NULL)
		return VERDICT_DONE;
	w->count = k->argc - 3;
	w->wanted = calloc(w->count, sizeof(*w->wanted));
	w->found = calloc(w->count, sizeof(*w->found));
	if (w->wanted == NULL || w->found == NULL) {
		walk_free(&w->job);
		return call_error_done(k, "ERR no memory for this request");
	}
	for (i = 0; i < w->count; i++) {
		if (!arg_i64(&k->argv[3 + i], &id)) {
			walk_free(&w->job);
			return call_error_done(k, "ERR Invalid client ID");
		}
		/* No client has an id above INT64_MAX. */
		w->wanted[i] = (struct wanted){ (uint64_t)id, i };
	}
	qsort(w->wanted, w->count, sizeof(*w->wanted), wanted_order);
	return gw_job_begin(k, &w->job);
}

static enum verdict
list_step(struct call *k, struct job *job)
{
	struct client_walk *w = (struct client_walk *)job;
	struct conn *c;

	while ((c = walk_next(k, w, LINE_WORK)) != NULL)
		client_line(k->g, c, &w->lines);
	return walk_over(k, w) ? reply_lines(k, &w->lines) : gw_job_pause(k);
}

/* All clients are normal ones: no other type has any. Else answered. */
static bool
client_type(struct call *k, const struct op_arg *type, bool *none)
{
	*none = arg_is(type, "master") || arg_is(type, "replica") ||
		arg_is(type, "slave") || arg_is(type, "pubsub");
	if (*none || arg_is(type, "normal"))
		return true;
	call_error(k, "ERR Unknown client type '%.*s'",
	    type->len < 64 ? (int)type->len : 64, (const char *)type->data);
	return false;
}

static enum verdict
client_list(struct call *k)
{
	struct sink lines = { .pool = &k->g->io.pool };
	struct client_walk *w;
	bool none;

	if (k->argc > 3 && arg_is(&k->argv[2], "id"))
		return client_list_ids(k);
	if (k->argc == 4 && arg_is(&k->argv[2], "type")) {
		if (!client_type(k, &k->argv[3], &none))
			return VERDICT_DONE;
		if (none)
			return reply_lines(k, &lines);
	} else if (k->argc != 2) {
		return call_syntax(k);
	}
	if ((w = walk_new(k, list_step)) == NULL)
		return VERDICT_DONE;
	return gw_job_begin(k, &w->job);
}

/* ---- KILL ---- */

struct kill_filter {
	int64_t id; /* 0 = any */
	const struct op_arg *addr, *laddr;
	bool skip_me, none; /* none: a type that nobody has */
};

static bool
address_is(const struct conn *c, bool local, const struct op_arg *want)
{
	char addr[GW_ADDRESS_MAX];

	if (want == NULL)
		return true;
	gw_net_address(c, local, addr, sizeof(addr));
	return strlen(addr) == want->len &&
	       memcmp(addr, want->data, want->len) == 0;
}

static bool
kill_matches(
    const struct call *k, const struct conn *c, const struct kill_filter *f)
{
	if (f->none || (f->skip_me && c == k->c))
		return false;
	if (f->id != 0 && c->id != (uint64_t)f->id)
		return false;
	return address_is(c, false, f->addr) && address_is(c, true, f->laddr);
}

/* One "word value" pair. False: answered with an error. */
static bool
kill_option(struct call *k, const struct op_arg *word, const struct op_arg *arg,
    struct kill_filter *f)
{
	if (arg_is(word, "id")) {
		if (arg_i64(arg, &f->id) && f->id > 0)
			return true;
		call_error(k, "ERR client-id should be greater than 0");
		return false;
	}
	if (arg_is(word, "type")) {
		bool none;

		if (!client_type(k, arg, &none))
			return false;
		f->none |= none;
		return true;
	}
	if (arg_is(word, "user")) {
		if (arg_is(arg, "default"))
			return true;
		call_error(k, "ERR No such user '%.*s'",
		    arg->len < 64 ? (int)arg->len : 64,
		    (const char *)arg->data);
		return false;
	}
	if (arg_is(word, "addr"))
		f->addr = arg;
	else if (arg_is(word, "laddr"))
		f->laddr = arg;
	else if (arg_is(word, "skipme") && arg_is(arg, "no"))
		f->skip_me = false;
	else if (arg_is(word, "skipme") && arg_is(arg, "yes"))
		f->skip_me = true;
	else {
		(void)call_syntax(k);
		return false;
	}
	return true;
}

/* What the arguments ask for. False: answered with an error. */
static bool
kill_parse(struct call *k, struct kill_filter *f)
{
	uint32_t i;

	*f = (struct kill_filter){ .skip_me = true };
	if (k->argc == 3) {
		f->addr = &k->argv[2];
		f->skip_me = false;
		return true;
	}
	if (k->argc < 4 || k->argc % 2 != 0) {
		(void)call_syntax(k);
		return false;
	}
	for (i = 2; i < k->argc; i += 2)
		if (!kill_option(k, &k->argv[i], &k->argv[i + 1], f))
			return false;
	return true;
}

/* How many were closed; oneself is, after the reply. */
static enum verdict
kill_answer(struct call *k, const struct client_walk *w)
{
	if (w->self) {
		k->c->flags |= CONN_LAST;
		gw_conn_dirty(&k->g->io, k->c);
	}
	if (k->argc > 3)
		reply_int(call_out(k), w->killed);
	else if (w->killed != 0)
		reply_ok(call_out(k));
	else
		return call_error_done(k, "ERR No such client");
	return VERDICT_DONE;
}

static enum verdict
kill_step(struct call *k, struct job *job)
{
	struct client_walk *w = (struct client_walk *)job;
	struct kill_filter f;
	struct conn *c;

	/* Arguments may have moved since the last share. */
	if (!kill_parse(k, &f))
		return VERDICT_DONE;
	while ((c = walk_next(k, w, LINE_WORK)) != NULL) {
		if (!kill_matches(k, c, &f))
			continue;
		w->killed++;
		if (c == k->c)
			w->self = true;
		else
			gw_conn_kill(&k->g->io, c);
	}
	return walk_over(k, w) ? kill_answer(k, w) : gw_job_pause(k);
}

static enum verdict
client_kill(struct call *k)
{
	struct client_walk *w = walk_new(k, kill_step);

	return w != NULL ? gw_job_begin(k, &w->job) : VERDICT_DONE;
}

/* ---- the rest ---- */

static enum verdict
client_set_text(struct call *k, char **where, const struct op_arg *text,
    const char *refusal)
{
	char *copy = NULL;
	uint32_t i;

	for (i = 0; i < text->len; i++)
		if (text->data[i] < '!' || text->data[i] > '~')
			return call_error_done(k, refusal);
	if (text->len > GW_NAME_MAX)
		return call_error_done(k, "ERR name is longer than 1024 bytes");
	if (text->len != 0) {
		copy = strndup((const char *)text->data, text->len);
		if (copy == NULL)
			return call_error_done(k, "ERR no memory for the name");
	}
	free(*where);
	*where = copy;
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

static enum verdict
client_setinfo(struct call *k)
{
	static const char refusal[] = "ERR value cannot contain spaces, "
				      "newlines or special characters.";

	if (arg_is(&k->argv[2], "lib-name"))
		return client_set_text(
		    k, &k->c->lib_name, &k->argv[3], refusal);
	if (arg_is(&k->argv[2], "lib-ver"))
		return client_set_text(k, &k->c->lib_ver, &k->argv[3], refusal);
	return call_error_done(k, "ERR Unrecognized option");
}

static enum verdict
client_reply(struct call *k)
{
	struct conn *c = k->c;

	if (arg_is(&k->argv[2], "on")) {
		c->flags &=
		    ~(unsigned)(CONN_REPLY_OFF | CONN_SKIP_NEXT | CONN_SKIP);
		reply_ok(call_out(k));
	} else if (arg_is(&k->argv[2], "off")) {
		c->flags |= CONN_REPLY_OFF;
	} else if (arg_is(&k->argv[2], "skip")) {
		if ((c->flags & CONN_REPLY_OFF) == 0)
			c->flags |= CONN_SKIP_NEXT;
	} else {
		return call_syntax(k);
	}
	return VERDICT_DONE;
}

/* NO-EVICT; NO-TOUCH, which changes nothing: no key is evicted by its age. */
static enum verdict
client_on_off(struct call *k)
{
	bool on = arg_is(&k->argv[2], "on"),
	     evict = arg_is(&k->argv[1], "no-evict");

	if (!on && !arg_is(&k->argv[2], "off"))
		return call_syntax(k);
	if (evict && on)
		k->c->flags |= CONN_NO_EVICT;
	else if (evict)
		k->c->flags &= ~(unsigned)CONN_NO_EVICT;
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

static enum verdict
client_getname(struct call *k)
{
	if (k->c->name != NULL)
		reply_str(call_out(k), k->c->name);
	else
		reply_nil(call_out(k), k->c->proto);
	return VERDICT_DONE;
}

static enum verdict
client_setname(struct call *k)
{
	return client_set_text(k, &k->c->name, &k->argv[2],
	    "ERR Client names cannot contain spaces, newlines or special "
	    "characters.");
}

static enum verdict
client_id(struct call *k)
{
	reply_int(call_out(k), (int64_t)k->c->id);
	return VERDICT_DONE;
}

static enum verdict
client_info(struct call *k)
{
	struct sink line = { .pool = &k->g->io.pool };

	client_line(k->g, k->c, &line);
	return reply_lines(k, &line);
}

static enum verdict
client_getredir(struct call *k)
{
	reply_int(call_out(k), -1);
	return VERDICT_DONE;
}

static enum verdict
client_help(struct call *k)
{
	struct sink *out = call_out(k);
	unsigned i;

	reply_array(out, NITEMS(help));
	for (i = 0; i < NITEMS(help); i++)
		reply_status(out, help[i]);
	return VERDICT_DONE;
}

const struct subcommand gw_client_subs[] = { { "getname", 2, client_getname },
	{ "setname", 3, client_setname }, { "id", 2, client_id },
	{ "info", 2, client_info }, { "list", -2, client_list },
	{ "kill", -3, client_kill }, { "reply", 3, client_reply },
	{ "no-evict", 3, client_on_off }, { "no-touch", 3, client_on_off },
	{ "setinfo", 4, client_setinfo }, { "getredir", 2, client_getredir },
	{ "help", 2, client_help }, { NULL, 0, NULL } };
