/*
 * Applying one record: finding keys, making entries, showing the whole at
 * once. The operations themselves are apply_op.c's.
 */
#include "workers/store/apply.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"

#define OUT_KEEP (1u << 20) /* memory of a result that is kept for the next */

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

/* Memory for an entry; -EFBIG beyond what one record may take. */
static int
reserve(struct apply *a, const struct apply_key *k, uint64_t value_len)
{
	uint64_t bytes = table_units((unsigned)k->len, value_len) * TABLE_UNIT;
	int rc;

	if (a->bytes + bytes > TABLE_RECORD_MAX)
		return -EFBIG;
	while ((rc = table_ensure(a->w, bytes)) == -ENOSPC ||
	       (rc == 0 &&
		   (rc = table_ensure_bucket(a->w, k->at.hash)) == -ENOSPC))
		if ((rc = a->hooks.no_memory(a->ctx)) != 0)
			return rc;
	a->bytes += bytes;
	return rc;
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
	int rc = reserve(a, k, value_len);

	if (rc != 0)
		return rc;
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
	if ((rc = reserve(a, k, 0)) != 0)
		return rc;
	while (
	    (rc = table_slot_raise(a->w, k->key, k->len, a->vlsn)) == -ENOSPC)
		if ((rc = a->hooks.no_memory(a->ctx)) != 0)
			return rc;
	e = table_add(a->w, k->key, k->len, 0, a->vlsn, 0,
	    flags_of(k) | TABLE_TOMBSTONE, NULL);
	table_publish(a->w, e, &k->at);
	return rc;
}

/* A transaction's answers together have a limit; what it changes has not. */
static bool
result_full(struct apply *a, uint64_t more)
{
	if (a->out->len + more <= APPLY_RESULT_MAX)
		return false;
	value_error(a->out, "ERR the transaction's reply is too long");
	return true;
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
	if (result_full(a, k->item.len))
		return 0;
	to = value_bulk_reserve(a->out, k->item.len);
	if (to == NULL)
		return -ENOMEM;
	return kv_copy(a->kv, &k->item, 0, k->item.len, to);
}

/* ---- records ---- */

static int
apply_read(struct apply *a, const struct op *op)
{
	int rc = 0;

	if (!a->want || result_full(a, 0))
		return 0;
	if (op->code == OP_DBSIZE)
		rc = a->hooks.count_now(a->ctx);
	return rc != 0 ? rc : kv_read(a->kv, op, a->time_ms, a->out);
}

static int
apply_one(struct apply *a, const struct op *op)
{
	size_t before = a->out->len;
	int rc;

	if (!op_writes(op->code))
		return apply_read(a, op);
	rc = apply_op(a, op);
	if (rc == -EFBIG) {
		a->out->len = before;
		value_error(a->out,
		    "ERR one transaction cannot change so much at once");
		rc = 0;
	}
	return rc != 0 ? rc : a->out->error;
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

int
apply_record(struct apply *a, bool multi, const uint8_t *payload, size_t n,
    uint64_t vlsn, int64_t time_ms, struct vbuf *out)
{
	struct op_multi m;
	struct op op;
	int rc = 0;

	a->vlsn = vlsn;
	a->time_ms = time_ms;
	a->bytes = 0;
	a->want = out != NULL;
	a->out = out != NULL ? out : &a->unread;
	if (multi ? op_multi_decode(payload, n, &m) != 0
		  : op_decode(payload, n, &op) != 0)
		apply_malformed(a);
	else
		rc = multi ? apply_multi(a, &m) : apply_one(a, &op);
	forget_results(a);
	if (rc == 0)
		table_commit(a->w, vlsn, time_ms);
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
