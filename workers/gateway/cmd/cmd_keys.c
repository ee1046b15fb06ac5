/*
 * KEYS on a store of many keys, or of few on a slow disk. In one go it would
 * hold up every client. So it walks as SCAN does, as far as each turn's share
 * of time goes, and sorts out what it meets twice; the reply is made in shares
 * as well, no faster than the client reads it. Keys that are there all along
 * are found; with few keys kv_read() does it at one moment, as Redis would.
 * RANDOMKEY comes here when it finds nothing by chance.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/kv/glob.h"
#include "shm/kv/table.h"
#include "workers/gateway/cmd/cmd.h"
#include "workers/gateway/exec/job.h"

#define KEYS_AT_ONCE 1000u /* so many are looked at in one go */
#define KEYS_STEP    64u /* between two looks at the clock */
#define SPAN_AT_ONCE 4000u
#define SPAN_LEAST   1000u /* for the buckets, also those of an empty table */
#define ENTRY_LEAST  6u /* units of an entry */
#define PATTERN_STEP 32u /* bytes of a pattern that cost as much as a key */
/* The set is of many parts: none takes long to grow. */
#define SET_PARTS 1024u
#define SET_FIRST 8u

/* Offsets in keys + 1, by hash; 0 = free. */
struct set_part {
	uint32_t cap, count;
	uint32_t *place;
};

/* A walk under way. */
struct keys_job {
	struct job job;
	struct kv_scan pos;
	const struct op_arg *pattern; /* of the call at hand */
	const struct table_head *table; /* for its hash */
	size_t max_bytes;
	bool one; /* RANDOMKEY: the first will do */
	bool begun; /* the reply is */
	size_t told; /* bytes of keys that are in it */
	struct vbuf keys; /* each: u32 length, bytes */
	uint32_t count;
	struct set_part set[SET_PARTS];
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

static void
keys_free(struct job *job)
{
	struct keys_job *j = (struct keys_job *)job;
	uint32_t i;

	for (i = 0; i < SET_PARTS; i++)
		free(j->set[i].place);
	vbuf_free(&j->keys);
	free(j);
}

/* The set's places: two to four for each key. */
static void
keys_size(const struct job *job, size_t *pooled, size_t *plain)
{
	const struct keys_job *j = (const struct keys_job *)job;

	(void)pooled;
	*plain += sizeof(*j) + j->keys.len + j->count * 4 * sizeof(uint32_t);
}

/* Keys come in the order of the table's hash: so that is mixed once more. */
static uint32_t
job_hash(const struct keys_job *j, const void *key, size_t n)
{
	uint64_t h = table_hash(j->table, key, n);

	return (uint32_t)(h * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static struct set_part *
set_part(struct keys_job *j, uint32_t hash)
{
	return &j->set[hash % SET_PARTS];
}

/* The key's place in its part: where it is, or where it would be. */
static uint32_t *
set_place(struct keys_job *j, struct set_part *s, uint32_t hash,
    const void *key, size_t n)
{
	uint32_t i = hash / SET_PARTS & (s->cap - 1);
	const uint8_t *have;

	for (; s->place[i] != 0; i = (i + 1) & (s->cap - 1)) {
		have = j->keys.data + s->place[i] - 1;
		if (get_le32(have) == n && memcmp(have + 4, key, n) == 0)
			break;
	}
	return &s->place[i];
}

/* Twice the places, at most half of them taken. */
static bool
set_grow(struct keys_job *j, struct set_part *s)
{
	struct set_part old = *s;
	const uint8_t *key;
	uint32_t i, n;

	s->cap = old.cap == 0 ? SET_FIRST : old.cap * 2;
	if ((s->place = calloc(s->cap, sizeof(*s->place))) == NULL) {
		*s = old;
		return false;
	}
	for (i = 0; i < old.cap; i++) {
		if (old.place[i] == 0)
			continue;
		key = j->keys.data + old.place[i] - 1;
		n = get_le32(key);
		*set_place(j, s, job_hash(j, key + 4, n), key + 4, n) =
		    old.place[i];
	}
	free(old.place);
	return true;
}

static bool
job_has_all(const struct keys_job *j)
{
	return j->one && j->count != 0;
}

static int
job_add(struct keys_job *j, const void *key, size_t n)
{
	uint32_t hash = job_hash(j, key, n), *place;
	struct set_part *s = set_part(j, hash);
	uint8_t *to;

	if (s->count >= s->cap / 2 && !set_grow(j, s))
		return -ENOMEM;
	place = set_place(j, s, hash, key, n);
	if (*place != 0)
		return 0;
	if (j->keys.len + 4 + n > j->max_bytes)
		return -E2BIG;
	if ((to = vbuf_add(&j->keys, 4 + n)) == NULL)
		return -ENOMEM;
	*place = (uint32_t)(to - j->keys.data) + 1;
	put_le32(to, (uint32_t)n);
	memcpy(to + 4, key, n);
	s->count++;
	j->count++;
	return 0;
}

static void
job_key(void *arg, const void *key, size_t n)
{
	struct keys_job *j = arg;

	if (j->error != 0 || job_has_all(j) ||
	    (!j->one && !glob_match(j->pattern->data, j->pattern->len, key, n)))
		return;
	j->error = job_add(j, key, n);
}

static enum verdict
job_failed(struct call *k, const struct keys_job *j)
{
	if (j->error == -E2BIG)
		return call_error_done(
		    k, "ERR the reply is longer than max_output: use SCAN");
	return call_error_done(k, j->error == -EBADMSG
				      ? "ERR the store is damaged"
				      : "ERR no memory for KEYS");
}

/* The reply, a share of it at a time, while the client keeps reading it. */
static enum verdict
job_tell(struct call *k, struct keys_job *j)
{
	struct sink *out = call_out(k);
	uint32_t n, i;

	if (!j->begun && !j->one)
		reply_array(out, j->count);
	else if (j->count == 0)
		reply_nil(out, k->c->proto);
	j->begun = true;
	for (i = 1; j->told < j->keys.len; i++) {
		n = get_le32(j->keys.data + j->told);
		reply_bulk(out, j->keys.data + j->told + 4, n);
		j->told += 4 + (size_t)n;
		if (i % KEYS_STEP != 0)
			continue;
		gw_turn_work(k->g, KEYS_STEP / 4);
		if (k->g->turn_over || gw_output_rests(&k->g->io, k->c))
			return gw_job_pause(k);
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
keys_step(struct call *k, struct job *job)
{
	struct keys_job *j = (struct keys_job *)job;
	struct gateway *g = k->g;

	if (job_goes_on(j) && gw_read_begin(g) != 0)
		return call_error_done(k, "ERR the store cannot be read");
	j->pattern = &k->argv[1];
	while (job_goes_on(j)) {
		int rc = kv_scan(
		    g->kv, &j->pos, KEYS_STEP, gw_now_ms(g), job_key, j);

		if (rc != 0)
			j->error = rc;
		gw_turn_look(g);
		if (g->turn_over)
			return gw_job_pause(k);
	}
	if (j->error == 0 && !j->begun && !gw_read_holds(g, k->c)) {
		gw_job_free(k->job);
		return VERDICT_PARKED;
	}
	return j->error != 0 ? job_failed(k, j) : job_tell(k, j);
}

enum verdict
gw_walk_begin(struct call *k, bool one)
{
	uint64_t max = k->g->w->conf->listen.max_output;
	struct keys_job *j =
	    gw_job_new(sizeof(*j), keys_step, keys_free, keys_size);

	if (j == NULL)
		return call_error_done(k, "ERR no memory for this walk");
	j->table = k->g->r->table;
	j->max_bytes = max < UINT32_MAX ? max : UINT32_MAX - 1;
	j->one = one;
	return gw_job_begin(k, &j->job);
}

enum verdict
gw_run_keys(struct call *k)
{
	struct built b;
	enum verdict v;

	b.error[0] = '\0';
	if (!gw_build_keys(k, &b))
		return call_error_done(k, b.error);
	if (gw_walk_is_short(k->g, &b))
		return gw_run_op(k);
	if (!gw_run_read_ready(k, &v))
		return v;
	return gw_walk_begin(k, false);
}
