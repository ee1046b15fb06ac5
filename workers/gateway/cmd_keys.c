/*
 * KEYS on a store of many keys. In one go it would hold up every client, and
 * beyond two seconds the supervisor would take this gateway for stuck. So it
 * walks as SCAN does, as far as each turn's share of time goes, with its
 * connection parked meanwhile, and sorts out what it meets twice. Keys that
 * are there all along are found; with few keys kv_read() does it at one
 * moment, as Redis would. RANDOMKEY comes here when it finds nothing by chance.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/table.h"
#include "workers/gateway/cmd.h"

#define KEYS_AT_ONCE 5000u /* so many are looked at within one turn */
#define KEYS_STEP    64u /* between two looks at the clock */
#define SPAN_AT_ONCE 10000u
#define SPAN_LEAST   1000u /* for the buckets, also those of an empty table */
#define ENTRY_LEAST  6u /* units of an entry */
#define PATTERN_STEP 32u /* bytes of a pattern that cost as much as a key */
#define SET_FIRST    1024u

/* A walk under way; kept by its connection. */
struct keys_job {
	struct kv_scan pos;
	const struct op_arg *pattern; /* of the call at hand */
	const struct table_head *table; /* for its hash */
	size_t max_bytes;
	bool one; /* RANDOMKEY: the first will do */
	struct vbuf keys; /* each: u32 length, bytes */
	uint32_t count, set_cap;
	uint32_t *set; /* offsets in keys + 1, by hash; 0 = free */
	int error;
};

static uint64_t
keys_in_store(const struct gateway *g)
{
	return atomic_load_explicit(&g->r->table->count, memory_order_relaxed);
}

bool
gw_build_keys(const struct call *k, struct built *b)
{
	if (k->argv[1].len > PATTERN_MAX)
		return build_error(b, "ERR pattern is longer than 1024 bytes");
	b->code = OP_KEYS;
	b->argc = 1;
	b->argv = k->argv + 1;
	return true;
}

uint64_t
gw_walk_cost(const struct gateway *g, uint64_t more_keys, const struct built *b)
{
	uint64_t keys = keys_in_store(g) + more_keys;

	if (b->code != OP_KEYS)
		return 0;
	return keys + keys * (b->argv[0].len / PATTERN_STEP);
}

uint64_t
gw_walk_span(const struct gateway *g)
{
	uint64_t used = 0;
	unsigned i;

	for (i = 0; i < NITEMS(g->r->table->gen); i++)
		used += atomic_load_explicit(
		    &g->r->table->gen[i].used, memory_order_relaxed);
	return SPAN_LEAST + used / ENTRY_LEAST;
}

bool
gw_walk_is_short(const struct gateway *g, const struct built *b)
{
	return gw_walk_span(g) <= SPAN_AT_ONCE &&
	       gw_walk_cost(g, 0, b) <= KEYS_AT_ONCE;
}

void
gw_keys_free(struct conn *c)
{
	if (c->keys == NULL)
		return;
	vbuf_free(&c->keys->keys);
	free(c->keys->set);
	free(c->keys);
	c->keys = NULL;
}

/* Keys come in the order of the table's hash: so that is mixed once more. */
static uint32_t
job_hash(const struct keys_job *j, const void *key, size_t n)
{
	uint64_t h = table_hash(j->table, key, n);

	return (uint32_t)(h * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* The key's place in the set: where it is, or where it would be. */
static uint32_t *
set_place(struct keys_job *j, const void *key, size_t n)
{
	uint32_t i = job_hash(j, key, n) & (j->set_cap - 1);
	const uint8_t *have;

	for (; j->set[i] != 0; i = (i + 1) & (j->set_cap - 1)) {
		have = j->keys.data + j->set[i] - 1;
		if (get_le32(have) == n && memcmp(have + 4, key, n) == 0)
			break;
	}
	return &j->set[i];
}

/* Twice the places, at most half of them taken. */
static bool
set_grow(struct keys_job *j)
{
	uint32_t cap = j->set_cap == 0 ? SET_FIRST : j->set_cap * 2, i;
	uint32_t *set = calloc(cap, sizeof(*set));
	size_t at = 0;

	if (set == NULL)
		return false;
	free(j->set);
	j->set = set;
	j->set_cap = cap;
	for (i = 0; i < j->count; i++) {
		const uint8_t *key = j->keys.data + at;
		uint32_t n = get_le32(key);

		*set_place(j, key + 4, n) = (uint32_t)at + 1;
		at += 4 + (size_t)n;
	}
	return true;
}

static bool
job_has_all(const struct keys_job *j)
{
	return j->one && j->count != 0;
}

static void
job_key(void *arg, const void *key, size_t n)
{
	struct keys_job *j = arg;
	uint32_t *place;
	uint8_t *to;

	if (j->error != 0 || job_has_all(j) ||
	    (!j->one && !gw_glob(j->pattern->data, j->pattern->len, key, n)))
		return;
	if (j->count >= j->set_cap / 2 && !set_grow(j)) {
		j->error = -ENOMEM;
		return;
	}
	place = set_place(j, key, n);
	if (*place != 0)
		return;
	if (j->keys.len + 4 + n > j->max_bytes) {
		j->error = -E2BIG;
		return;
	}
	if ((to = vbuf_add(&j->keys, 4 + n)) == NULL) {
		j->error = -ENOMEM;
		return;
	}
	*place = (uint32_t)(to - j->keys.data) + 1;
	put_le32(to, (uint32_t)n);
	memcpy(to + 4, key, n);
	j->count++;
}

static struct keys_job *
job_begin(struct call *k)
{
	uint64_t max = k->g->w->conf->listen.max_output;
	struct keys_job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->table = k->g->r->table;
	j->max_bytes = max < UINT32_MAX ? max : UINT32_MAX - 1;
	return j;
}

static enum verdict
job_end(struct call *k, struct keys_job *j)
{
	struct sink *out;
	size_t at = 0;
	uint32_t i;

	if (j->error == -E2BIG)
		return call_error_done(
		    k, "ERR the reply is longer than max_output: use SCAN");
	if (j->error != 0)
		return call_error_done(k, j->error == -EBADMSG
					      ? "ERR the store is damaged"
					      : "ERR no memory for KEYS");
	out = call_out(k);
	if (!j->one)
		reply_array(out, j->count);
	else if (j->count == 0)
		reply_nil(out, k->c->proto);
	for (i = 0; i < j->count; i++) {
		uint32_t n = get_le32(j->keys.data + at);

		reply_bulk(out, j->keys.data + at + 4, n);
		at += 4 + (size_t)n;
	}
	return VERDICT_DONE;
}

static bool
job_goes_on(const struct keys_job *j)
{
	return j->pos.done == 0 && j->error == 0 && !job_has_all(j);
}

/* As far as the turn's share goes. */
static enum verdict
job_step(struct call *k, struct keys_job *j)
{
	struct gateway *g = k->g;
	enum verdict v;

	if (gw_read_begin(g) != 0) {
		gw_keys_free(k->c);
		return call_error_done(k, "ERR the store cannot be read");
	}
	j->pattern = &k->argv[1];
	while (job_goes_on(j)) {
		int rc = kv_scan(
		    g->kv, &j->pos, KEYS_STEP, gw_now_ms(g), job_key, j);

		if (rc != 0)
			j->error = rc;
		gw_turn_look(g);
		if (g->turn_over && job_goes_on(j)) {
			gw_conn_park(g, k->c, PARK_TURN);
			return VERDICT_PARKED;
		}
	}
	v = job_end(k, j);
	gw_keys_free(k->c);
	return v;
}

enum verdict
gw_run_keys(struct call *k)
{
	struct built b;

	if (k->c->keys != NULL)
		return job_step(k, k->c->keys);
	b.error[0] = '\0';
	if (!gw_build_keys(k, &b))
		return call_error_done(k, b.error);
	if (gw_walk_is_short(k->g, &b))
		return gw_run_op(k);
	switch (gw_read_ready(k->g, k->c)) {
	case READ_NOW:
		break;
	case READ_PARKED:
		return VERDICT_PARKED;
	case READ_REFUSED:
		return call_refused(k);
	}
	if ((k->c->keys = job_begin(k)) == NULL)
		return call_error_done(k, "ERR no memory for KEYS");
	return job_step(k, k->c->keys);
}

/*
 * By chance, as a rule. Among deleted keys luck may run out; then the first
 * that a walk comes upon is taken.
 */
enum verdict
gw_run_randomkey(struct call *k)
{
	const struct op op = { .code = OP_RANDOMKEY };
	const struct op_arg none = { (const uint8_t *)"", 0 };
	struct gateway *g = k->g;
	const uint8_t *at;
	enum verdict v;
	int rc;

	if (k->c->keys != NULL)
		return job_step(k, k->c->keys);
	if (!gw_run_read_ready(k, &v))
		return v;
	vbuf_clear(&g->value);
	g->value.error = 0;
	rc = kv_read(g->kv, &op, gw_now_ms(g), &g->value);
	gw_turn_look(g);
	if (rc == -EBUSY) {
		if ((k->c->keys = job_begin(k)) == NULL)
			return call_error_done(
			    k, "ERR no memory for RANDOMKEY");
		k->c->keys->one = true;
		return job_step(k, k->c->keys);
	}
	at = g->value.data;
	if (rc == 0)
		rc = reply_value(call_out(k), k->c->proto, &at,
		    g->value.data + g->value.len);
	return rc == 0 ? VERDICT_DONE : gw_run_failed(k, &none, rc);
}
