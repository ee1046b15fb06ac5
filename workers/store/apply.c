/*
 * Applying one record: finding keys, making entries, showing the whole at
 * once. The operations themselves are apply_op.c's.
 */
#include "workers/store/apply.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"

#define OUT_KEEP  (1u << 20) /* memory of a result that is kept for the next */
#define TAKE_STEP (UINT64_C(4) << 20) /* of the arena, between two beats */

/* ---- keys ---- */

static void
key_from_entry(
    struct apply *a, struct apply_key *k, const struct table_entry *e)
{
	k->known = true;
	k->existed = (table_entry_flags(e) & TABLE_TOMBSTONE) == 0;
	k->item.vlsn = table_entry_vlsn(e);
	k->item.expire_ms = e->expire_ms;
	k->item.len = e->value_len;
	k->item.data = table_entry_value(e);
	k->live = k->existed && !kv_expired(&k->item, a->time_ms);
}

/* In the frozen generation: 0, -ENODATA if that one does not tell. */
static int
find_frozen(struct apply *a, struct apply_key *k)
{
	const struct table_entry *e;
	struct table_head *t = a->w->t;
	uint64_t view = a->kv->view;
	bool gone;
	int rc;

	if (!table_view_frozen(view))
		return -ENODATA;
	rc = table_find(t, table_gen_at(t, (view >> 1) - 1), k->key, k->len,
	    k->at.hash, KV_SNAP_NEWEST, &e, &gone);
	ASSERT(rc == 0);
	if (e != NULL)
		key_from_entry(a, k, e);
	else if (gone)
		k->known = true;
	else
		return -ENODATA;
	return 0;
}

static int
find_disk(struct apply *a, struct apply_key *k)
{
	int rc = kv_lookup_disk(a->kv, k->key, k->len, &k->item);

	if (rc != 0 && rc != -ENOENT)
		return rc;
	k->known = true;
	k->existed = rc == 0;
	k->live = k->existed && !kv_expired(&k->item, a->time_ms);
	return 0;
}

int
apply_find(
    struct apply *a, const struct op_arg *key, bool deep, struct apply_key *k)
{
	const struct table_entry *e;

	memset(k, 0, sizeof(*k));
	k->key = key->data;
	k->len = key->len;
	kv_work(a->kv, 1);
	e = table_locate(
	    a->w, k->key, k->len, table_hash(a->w->t, k->key, k->len), &k->at);
	if (e != NULL)
		key_from_entry(a, k, e);
	else if (a->w->flushed_at != 0)
		k->known = true;
	else if (find_frozen(a, k) == -ENODATA && deep)
		return find_disk(a, k);
	return 0;
}

/* ---- entries ---- */

/*
 * Memory of the arena: all that a record adds is counted here. In steps, since
 * to have a large piece given takes its time. 0, -EFBIG, -ENOSPC.
 */
static int
take(struct apply *a, uint64_t bytes)
{
	uint64_t at;
	int rc;

	ASSERT(a->bytes <= a->bound);
	a->asked = bytes;
	if (bytes > a->bound - a->bytes)
		return -EFBIG;
	for (at = TAKE_STEP; at < bytes; at += TAKE_STEP) {
		if ((rc = table_ensure(a->w, at)) != 0)
			return rc;
		kv_work(a->kv, KV_WORK_BEAT);
	}
	return table_ensure(a->w, bytes);
}

int
apply_ask(struct apply *a, const struct op_arg *key, uint64_t value_len)
{
	int rc = take(a, a->asked + table_bytes(key->len, value_len));

	kv_work(a->kv, 1);
	if (rc != 0)
		return rc;
	return table_ensure_bucket(
	    a->w, table_hash(a->w->t, key->data, key->len));
}

int
apply_ask_delete(struct apply *a, const struct op_arg *key)
{
	int rc = apply_ask(a, key, 0);

	return rc != 0 ? rc : table_ensure_slot(a->w, key->data, key->len);
}

static unsigned
flags_of(const struct apply_key *k)
{
	if (!k->known)
		return 0;
	return k->existed ? TABLE_EXISTED : TABLE_ABSENT;
}

int
apply_put(struct apply *a, const struct apply_key *k, uint64_t value_len,
    int64_t expire_ms, uint8_t **value, struct table_entry **e)
{
	uint64_t bytes = table_bytes((unsigned)k->len, value_len);
	int rc = take(a, bytes);

	if (rc == 0)
		rc = table_ensure_bucket(a->w, k->at.hash);
	if (rc != 0)
		return rc;
	a->bytes += bytes;
	ASSERT(a->bytes <= a->bound);
	*e = table_add(a->w, k->key, k->len, value_len, a->vlsn, expire_ms,
	    flags_of(k), value);
	return 0;
}

void
apply_put_end(struct apply *a, const struct apply_key *k, struct table_entry *e)
{
	uint64_t off = table_used(a->w) / TABLE_UNIT;

	table_publish(a->w, e, &k->at);
	if (e->expire_ms != 0)
		a->hooks.timed(a->ctx, e->expire_ms, (uint32_t)off);
}

int
apply_set(struct apply *a, const struct apply_key *k, const void *value,
    size_t n, int64_t expire_ms)
{
	struct table_entry *e;
	uint8_t *to;
	int rc = apply_put(a, k, n, expire_ms, &to, &e);

	if (rc != 0)
		return rc;
	if (n != 0)
		memcpy(to, value, n);
	apply_put_end(a, k, e);
	return 0;
}

int
apply_delete(struct apply *a, const struct apply_key *k)
{
	struct table_entry *e;
	int rc;

	ASSERT(k->known);
	/* Before the entry: without memory for it nothing has changed. */
	rc = table_ensure_slot(a->w, k->key, k->len);
	if (rc == 0)
		rc = apply_put(a, k, 0, 0, NULL, &e);
	if (rc != 0)
		return rc;
	e->word = table_word(
	    a->vlsn, (unsigned)k->len, flags_of(k) | TABLE_TOMBSTONE);
	table_publish(a->w, e, &k->at);
	return table_slot_raise(a->w, k->key, k->len, a->vlsn);
}

/*
 * An entry, too. Releases without bounds did not count it, and what they took
 * must be taken again: it lies in the arena's slack.
 */
int
apply_flush(struct apply *a)
{
	uint64_t bytes = table_bytes(0, 0);
	int rc = a->older ? table_ensure(a->w, bytes) : take(a, bytes);

	if (rc != 0)
		return rc;
	if (!a->older)
		a->bytes += bytes;
	table_flush(a->w, a->vlsn);
	return 0;
}

int
apply_reply_value(struct apply *a, const struct apply_key *k)
{
	void *to;

	if (!a->want)
		return 0;
	if (!k->live) {
		value_nil(a->out);
		return 0;
	}
	/* An answer that finds no place stops no change: see answer_check(). */
	to = value_bulk_reserve(a->out, k->item.len);
	return to == NULL ? 0 : kv_copy(a->kv, &k->item, 0, k->item.len, to);
}

/* ---- records ---- */

static int
apply_read(struct apply *a, const struct op *op)
{
	int rc = 0;

	if (!a->want)
		return 0;
	if (op->code == OP_DBSIZE)
		rc = a->hooks.count_now(a->ctx);
	if (rc == 0)
		KV_READ(a->kv, rc, kv_read(a->kv, op, a->time_ms, a->out));
	/* Of the answer, not of the store. */
	if (rc == -ENOMEM && a->out->error == 0)
		a->out->error = rc;
	return a->out->error != 0 ? 0 : rc;
}

/* Instead of what the operation has answered. */
static void
answer_error(struct apply *a, size_t before, const char *text)
{
	a->out->len = before;
	a->out->error = 0;
	/* In the place of what did not fit, however many of them. */
	a->out->max = 0;
	value_error(a->out, "%s", text);
	a->out->max = a->want ? a->result_max : 0;
}

/*
 * Did the operation's answer find a place? If not an error stands there; what
 * was changed stands. Without memory even for that, one error is all there is.
 */
static void
answer_check(struct apply *a, size_t before)
{
	if (!a->want) {
		vbuf_clear(a->out);
		return;
	}
	if (a->out->error == -EMSGSIZE)
		answer_error(a, before,
		    "ERR this reply is too long: together "
		    "they are beyond max_output");
	else if (a->out->error != 0)
		answer_error(a, before, "ERR no memory for this reply");
	if (a->out->error == 0)
		return;
	vbuf_free(a->out);
	value_error(a->out, "ERR no memory for the replies; what was changed "
			    "stands");
	a->want = false;
	a->out = &a->unread;
}

static int
apply_one(struct apply *a, const struct op *op)
{
	size_t before = a->out->len;
	int rc;

	kv_work(a->kv, 1);
	do {
		a->out->len = before;
		a->out->error = 0;
		a->asked = 0;
		rc = op_writes(op->code) ? apply_op(a, op) : apply_read(a, op);
	} while (rc == -ENOSPC && (rc = a->hooks.no_memory(a->ctx)) == 0);
	if (rc == -EFBIG) {
		answer_error(a, before,
		    "ERR one transaction cannot change so much at once");
		rc = 0;
	}
	answer_check(a, before);
	return rc;
}

/* Has any watched key changed since its WATCH? 1, 0, -errno. */
static int
watch_changed(struct apply *a, const struct op_multi *m)
{
	const uint8_t *at = m->watches;
	struct op_watch w;
	int rc = 0;

	while (rc == 0 && op_watch_next(m, &at, &w))
		rc = kv_changed(
		    a->kv, w.key.data, w.key.len, w.vlsn, a->time_ms);
	return rc;
}

static int
apply_multi(struct apply *a, const struct op_multi *m)
{
	const uint8_t *at = m->ops;
	struct op op;
	int rc = watch_changed(a, m);

	if (rc < 0)
		return rc;
	if (rc == 1) {
		value_nil_array(a->out);
		return 0;
	}
	value_array(a->out, m->op_count);
	answer_check(a, 0);
	while (rc == 0 && op_multi_next(m, &at, &op))
		rc = apply_one(a, &op);
	return rc;
}

/* Without a reader the results go where they are forgotten. */
static void
forget_results(struct apply *a)
{
	if (a->unread.cap > OUT_KEEP)
		vbuf_free(&a->unread);
	vbuf_clear(&a->unread);
}

/*
 * What does not decode was made by a broken client process. It is in the log
 * for ever, so it must have a meaning: none, on every node.
 */
static void
apply_malformed(struct apply *a)
{
	a->malformed++;
	value_error(a->out, "ERR malformed operation");
}

static void
record_begin(struct apply *a, const struct record *rec, struct vbuf *out)
{
	a->vlsn = rec->vlsn;
	a->time_ms = rec->time_ms;
	a->bound = record_bound(rec);
	/* No release writes a larger one; there is no room behind it. */
	if (a->bound > REC_BOUND_MAX)
		a->bound = REC_BOUND_MAX;
	a->older = rec->bound == 0;
	a->bytes = 0;
	a->want = out != NULL;
	a->out = out != NULL ? out : &a->unread;
	a->out->max = out != NULL ? a->result_max : 0;
}

int
apply_record(struct apply *a, const struct record *rec, const uint8_t *payload,
    size_t n, struct vbuf *out)
{
	bool multi = rec->type == REC_MULTI;
	struct op_multi m;
	struct op op;
	int rc = 0;

	ASSERT(record_applies(rec->type));
	record_begin(a, rec, out);
	if (multi ? op_multi_decode(payload, n, &m) != 0
		  : op_decode(payload, n, &op) != 0)
		apply_malformed(a);
	else
		rc = multi ? apply_multi(a, &m) : apply_one(a, &op);
	forget_results(a);
	if (rc == 0)
		table_commit(a->w, rec->vlsn, rec->time_ms);
	return rc;
}

void
apply_nothing(struct apply *a, uint64_t vlsn, int64_t time_ms)
{
	table_commit(a->w, vlsn, time_ms);
}

void
apply_free(struct apply *a)
{
	vbuf_free(&a->unread);
}
