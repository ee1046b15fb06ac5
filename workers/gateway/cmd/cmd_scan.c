/*
 * SCAN. A position in the store is a key, not a number, so a cursor is a
 * ticket for a position kept here: an unguessable number below 2^53 (clients
 * in every language can hold it) whose low bits say where. GW_CURSORS of them
 * are kept, the one that was not asked for the longest goes first. A cursor
 * may be used again until the scan has moved two steps on.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include "shm/assert.h"
#include "shm/kv/glob.h"
#include "workers/gateway/cmd/cmd.h"

#define CURSOR_BITS    12
#define CURSOR_RANDOM  ((UINT64_C(1) << (53 - CURSOR_BITS)) - 1)
#define SCAN_COUNT     10
#define SCAN_COUNT_MAX 10000 /* in one step: a step must not hold others up */
#define SCAN_FRAME     16u /* RESP's own bytes around a key, at most */
_Static_assert(GW_CURSORS == 1u << CURSOR_BITS, "place is in the cursor");

struct ticket {
	uint64_t id; /* 0 = free */
	struct kv_scan *pos;
	uint64_t before; /* id of the step before it, 0 = none */
	TAILQ_ENTRY(ticket) lru;
};
TAILQ_HEAD(ticket_list, ticket);

struct scan_table {
	struct ticket ticket[GW_CURSORS];
	struct ticket_list lru; /* the next to be used is the first */
};

struct scan_options {
	const struct op_arg *match;
	int64_t count;
	bool other_type; /* TYPE names one that no key has */
};

/* Matching keys of one step. */
struct scan_found {
	const struct scan_options *o;
	struct vbuf keys; /* values */
	uint32_t count;
	unsigned left; /* keys that this call is still to look at */
};

static struct scan_table *
scan_table_get(struct gateway *g)
{
	struct scan_table *t = g->scans;
	unsigned i;

	if (t != NULL)
		return t;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	TAILQ_INIT(&t->lru);
	for (i = 0; i < GW_CURSORS; i++)
		TAILQ_INSERT_TAIL(&t->lru, &t->ticket[i], lru);
	g->scans = t;
	return t;
}

void
gw_scan_free(struct gateway *g)
{
	unsigned i;

	if (g->scans == NULL)
		return;
	for (i = 0; i < GW_CURSORS; i++)
		free(g->scans->ticket[i].pos);
	free(g->scans);
	g->scans = NULL;
}

static struct ticket *
ticket_find(struct scan_table *t, uint64_t id)
{
	struct ticket *k = &t->ticket[id & (GW_CURSORS - 1)];

	return id != 0 && k->id == id ? k : NULL;
}

static void
ticket_drop(struct scan_table *t, struct ticket *k)
{
	free(k->pos);
	k->pos = NULL;
	k->id = k->before = 0;
	TAILQ_REMOVE(&t->lru, k, lru);
	TAILQ_INSERT_HEAD(&t->lru, k, lru);
}

/* A ticket for the position after `from`'s step. 0 without memory. */
static uint64_t
ticket_issue(
    struct scan_table *t, const struct kv_scan *pos, struct ticket *from)
{
	struct ticket *k = TAILQ_FIRST(&t->lru), *old;
	struct kv_scan *copy = k->pos;
	uint64_t place = (uint64_t)(k - t->ticket), random;

	if (copy == NULL && (copy = malloc(sizeof(*copy))) == NULL)
		return 0;
	*copy = *pos;
	arc4random_buf(&random, sizeof(random));
	k->pos = copy;
	k->id = ((random & CURSOR_RANDOM) | 1) << CURSOR_BITS | place;
	k->id &= (UINT64_C(1) << 53) - 1;
	k->before = from != NULL ? from->id : 0;
	TAILQ_REMOVE(&t->lru, k, lru);
	TAILQ_INSERT_TAIL(&t->lru, k, lru);
	/* Two steps back is out of reach of a client that asks again. */
	if (from != NULL && from->before != 0) {
		old = ticket_find(t, from->before);
		from->before = 0;
		if (old != NULL)
			ticket_drop(t, old);
	}
	return k->id;
}

/* NULL, or the error. */
static const char *
scan_parse(const struct call *k, struct scan_options *o)
{
	static const char syntax[] = "ERR syntax error";
	uint32_t i;

	o->count = SCAN_COUNT;
	for (i = 2; i < k->argc; i += 2) {
		const struct op_arg *word = &k->argv[i], *arg = word + 1;

		if (i + 1 == k->argc)
			return syntax;
		if (arg_is(word, "count")) {
			if (!arg_i64(arg, &o->count))
				return "ERR value is not an integer or out of "
				       "range";
			if (o->count < 1)
				return syntax;
		} else if (arg_is(word, "match")) {
			o->match = arg;
			if (arg->len > PATTERN_MAX)
				return "ERR pattern is longer than 1024 bytes";
		} else if (arg_is(word, "type")) {
			o->other_type = !arg_is(arg, "string");
		} else {
			return syntax;
		}
	}
	return NULL;
}

static void
scan_key(void *arg, const void *key, size_t key_len)
{
	struct scan_found *f = arg;
	const struct op_arg *match = f->o->match;

	if (f->left > 0)
		f->left--;
	if (match != NULL && !glob_match(match->data, match->len, key, key_len))
		return;
	value_bulk(&f->keys, key, key_len);
	f->count++;
}

static void
scan_reply(struct call *k, uint64_t cursor, const struct scan_found *f)
{
	const uint8_t *at = f->keys.data, *end = at + f->keys.len;
	struct sink *out = call_out(k);
	uint32_t i;

	reply_array(out, 2);
	reply_bulk_int(out, (int64_t)cursor);
	reply_array(out, f->count);
	for (i = 0; i < f->count; i++)
		if (reply_value(out, k->c->proto, &at, end) != 0)
			out->failed = true;
}

/* The keys of one step are a reply that is not too long, whatever they are. */
static unsigned
scan_count(const struct gateway *g, const struct scan_options *o)
{
	uint64_t fit = g->w->conf->listen.max_output / (KEY_MAX + SCAN_FRAME);
	int64_t most = fit < SCAN_COUNT_MAX ? (int64_t)fit : SCAN_COUNT_MAX;

	return (unsigned)(o->count < most ? o->count : most);
}

/*
 * COUNT is of keys that are there: over deleted ones it goes on for as long as
 * the turn's share of time lasts, and over a few at least.
 */
static enum verdict
scan_step(struct call *k, struct scan_table *t, struct ticket *from,
    const struct scan_options *o)
{
	struct kv_scan pos = { 0 };
	struct scan_found f = { .o = o, .left = scan_count(k->g, o) };
	uint64_t cursor = 0;
	int rc;

	if (from != NULL)
		pos = *from->pos;
	do {
		rc = kv_scan(
		    k->g->kv, &pos, f.left, gw_now_ms(k->g), scan_key, &f);
		gw_turn_look(k->g);
	} while (rc == 0 && f.left != 0 && pos.done == 0 && !k->g->turn_over);
	if (rc != 0 || f.keys.error != 0) {
		vbuf_free(&f.keys);
		if (rc == -EIO)
			return gw_run_failed(k, &k->argv[0], rc);
		return call_error_done(k, rc == -EBADMSG
					      ? "ERR the store is damaged"
					      : "ERR no memory for SCAN");
	}
	if (!k->in_exec && !gw_read_holds(k->g, k->c)) {
		vbuf_free(&f.keys);
		return VERDICT_PARKED;
	}
	if (pos.done == 0)
		cursor = ticket_issue(t, &pos, from);
	scan_reply(k, cursor, &f);
	vbuf_free(&f.keys);
	return VERDICT_DONE;
}

/* A cursor as Redis takes it: digits only, all of them. */
static bool
scan_cursor(const struct op_arg *a, uint64_t *out)
{
	uint64_t v = 0;
	uint32_t i;

	if (a->len == 0 || a->len > 19)
		return false;
	for (i = 0; i < a->len; i++) {
		if (a->data[i] < '0' || a->data[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(a->data[i] - '0');
	}
	*out = v;
	return true;
}

bool
gw_build_scan(const struct call *k, struct built *b)
{
	struct scan_options o = { 0 };
	uint64_t id;

	if (!scan_cursor(&k->argv[1], &id) || id != 0 ||
	    scan_parse(k, &o) != NULL || o.other_type)
		return false;
	b->own[0] = (struct op_arg){ (const uint8_t *)"*", 1 };
	if (o.match != NULL)
		b->own[0] = *o.match;
	b->code = OP_KEYS;
	b->argc = 1;
	b->argv = b->own;
	return true;
}

enum verdict
gw_run_scan(struct call *k)
{
	struct scan_table *t = scan_table_get(k->g);
	struct scan_options o = { 0 };
	struct ticket *from = NULL;
	const char *error;
	enum verdict v;
	uint64_t id;

	if (t == NULL)
		return call_error_done(k, "ERR no memory for SCAN");
	if (!scan_cursor(&k->argv[1], &id))
		return call_error_done(k, "ERR invalid cursor");
	if ((error = scan_parse(k, &o)) != NULL)
		return call_error_done(k, error);
	if (id != 0 && (from = ticket_find(t, id)) == NULL)
		return call_error_done(
		    k, "ERR invalid cursor: it expired, start again from 0");
	if (!k->in_exec && !gw_run_may_read(k, &v))
		return v;
	if (o.other_type) {
		/* No key has it: there is nothing to walk over. */
		scan_reply(k, 0, &(struct scan_found){ .o = &o });
		return VERDICT_DONE;
	}
	if (gw_read_begin(k->g) != 0)
		return call_error_done(k, "ERR the store cannot be read");
	if (from != NULL) {
		TAILQ_REMOVE(&t->lru, from, lru);
		TAILQ_INSERT_TAIL(&t->lru, from, lru);
	}
	return scan_step(k, t, from, &o);
}
