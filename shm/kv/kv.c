/*
 * Readers of the store: pinning a view, and one key's state. See kv.h and the
 * README's chapter on the table.
 */
#include "shm/kv/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/kv/kv_int.h"
#include "shm/kv/store_db_int.h"
#include "shm/map_read.h"
#include "shm/region.h"

#define VALUE_PIECE (64u * 1024) /* of a value in memory */

#define COPY_PIECE (128u * 1024) /* of a value, between two beats */

int
kv_open(struct kv **out, struct region *r, const char *store_dir, unsigned slot,
    bool readonly_recovery)
{
	enum store_db_mode mode =
	    readonly_recovery ? STORE_DB_NOLOCK : STORE_DB_READ;
	char why[256];
	struct kv *kv;
	int rc;

	ASSERT(slot < SLOT_MAX);
	map_read_open();
	kv = calloc(1, sizeof(*kv));
	if (kv == NULL)
		return -ENOMEM;
	kv->r = r;
	kv->t = r->table;
	kv->slot = slot;
	rc = store_db_open_same(
	    &kv->db, store_dir, mode, 0, &kv->t->files, why, sizeof(why));
	if (rc != 0)
		goto out;
	rc = store_db_errno(
	    mdb_txn_begin(kv->db.env, NULL, MDB_RDONLY, &kv->txn));
	if (rc != 0)
		goto out;
	mdb_txn_reset(kv->txn);
	*out = kv;
	kv = NULL;
out:
	kv_close(kv);
	return rc;
}

void
kv_close(struct kv *kv)
{
	if (kv == NULL)
		return;
	if (kv->in)
		kv_end(kv);
	if (kv->txn != NULL)
		mdb_txn_abort(kv->txn);
	store_db_close(&kv->db);
	free(kv);
}

void
kv_set_over(struct kv *kv, bool (*over)(void *arg), void *arg)
{
	kv->over = over;
	kv->over_arg = arg;
}

bool
kv_was_on_disk(struct kv *kv)
{
	bool was = kv->on_disk;

	kv->on_disk = false;
	return was;
}

void
kv_set_writer(struct kv *kv, struct table_writer *w)
{
	kv->writer = w;
	kv->snap = KV_SNAP_NEWEST;
}

static void
txn_reset(struct kv *kv)
{
	if (kv->renewed)
		mdb_txn_reset(kv->txn);
	kv->renewed = false;
}

static int
read_renew(void *arg)
{
	return store_db_errno(mdb_txn_renew(arg));
}

static int
txn_renew(struct kv *kv)
{
	int rc;

	txn_reset(kv);
	KV_READ(kv, rc, map_read(read_renew, kv->txn));
	/* The writer's map is larger by now, and it has used it. */
	if (rc == -EAGAIN &&
	    (rc = store_db_errno(mdb_env_set_mapsize(kv->db.env, 0))) == 0)
		KV_READ(kv, rc, map_read(read_renew, kv->txn));
	kv->renewed = rc == 0;
	return rc;
}

static uint64_t
view_now(const struct kv *kv)
{
	return atomic_load_explicit(&kv->t->view, memory_order_acquire);
}

/*
 * Pin the present view. The map's transaction must not be newer than it: a
 * generation that is written to disk after the look at the view would show
 * there, past the snapshot. A view that is the same before and after says it
 * is not.
 */
static int
kv_pin(struct kv *kv)
{
	struct table_reader *rd = &kv->t->reader[kv->slot];
	uint64_t view;
	int tries, rc;

	/* If this fails no view is pinned, and kv_hold() goes back to none. */
	kv->view = KV_VIEW_NONE;
	for (tries = 0; tries < KV_TRIES; tries++) {
		view = view_now(kv);
		/* Release: who sees the pin sees since when. */
		atomic_store_explicit(
		    &rd->view, view + 1, memory_order_release);
		/* Pairs with the fence in table_leave(). */
		atomic_thread_fence(memory_order_seq_cst);
		if (view_now(kv) != view)
			continue;
		if ((rc = txn_renew(kv)) != 0)
			return rc;
		kv->snap =
		    atomic_load_explicit(&kv->t->vlsn, memory_order_acquire);
		kv->view = view;
		if (view_now(kv) == view)
			return 0;
	}
	return -EAGAIN;
}

int
kv_renew(struct kv *kv)
{
	ASSERT(kv->writer != NULL);
	kv->view = view_now(kv);
	return txn_renew(kv);
}

int
kv_begin(struct kv *kv)
{
	int rc;

	ASSERT(!kv->in);
	if (kv->writer != NULL) {
		rc = kv_renew(kv);
	} else {
		atomic_store_explicit(&kv->t->reader[kv->slot].since_ns,
		    mono_ns(), memory_order_relaxed);
		rc = kv_pin(kv);
	}
	if (rc == 0)
		kv->in = true;
	else
		atomic_store_explicit(
		    &kv->t->reader[kv->slot].view, 0, memory_order_release);
	return rc;
}

void
kv_end(struct kv *kv)
{
	ASSERT(kv->in);
	kv->in = kv->held = false;
	txn_reset(kv);
	/* Release: nothing of this read moves behind it. */
	if (kv->writer == NULL)
		atomic_store_explicit(
		    &kv->t->reader[kv->slot].view, 0, memory_order_release);
}

int
kv_refresh(struct kv *kv)
{
	ASSERT(kv->in);
	if (kv->writer != NULL || kv->held)
		return 0;
	if (view_now(kv) != kv->view)
		return kv_pin(kv);
	kv->snap = atomic_load_explicit(&kv->t->vlsn, memory_order_acquire);
	/* The snapshot's records are in this view, unless it changed. */
	if (view_now(kv) != kv->view)
		return kv_pin(kv);
	return 0;
}

/*
 * The same view shows the same tables, which keep every entry; and on disk
 * there is at most the frozen one's content more, which that one hides. So
 * the view is all that has to be the same.
 */
int
kv_hold(struct kv *kv, struct kv_moment *m)
{
	int rc;

	ASSERT(kv->in && kv->writer == NULL);
	kv->held = false;
	if (m->view == 0) {
		if ((rc = kv_refresh(kv)) != 0)
			return rc;
		m->view = kv->view + 1;
		m->snap = kv->snap;
	} else if (m->view != kv->view + 1) {
		return -EAGAIN;
	}
	kv->snap = m->snap;
	kv->held = true;
	return 0;
}

void
kv_release(struct kv *kv)
{
	kv->held = false;
}

static void
item_of_entry(const struct table_entry *e, struct kv_item *out)
{
	out->vlsn = table_entry_vlsn(e);
	out->expire_ms = e->expire_ms;
	out->len = e->value_len;
	out->data = table_entry_value(e);
	out->chunk = 0;
}

/* The active generation as its writer sees it: up to this very record. */
static const struct table_entry *
find_own(
    struct kv *kv, const void *key, size_t key_len, uint32_t hash, bool *gone)
{
	struct table_place at;

	*gone = kv->writer->flushed_at != 0;
	return table_locate(kv->writer, key, key_len, hash, &at);
}

int
kv_lookup_table(struct kv *kv, const void *key, size_t key_len, uint32_t hash,
    struct kv_item *out, enum kv_where *where)
{
	uint64_t number = kv->view >> 1;
	const struct table_entry *e;
	bool gone;
	int rc = 0;

	*where = KV_ACTIVE;
	if (kv->writer != NULL)
		e = find_own(kv, key, key_len, hash, &gone);
	else
		rc = table_find(kv->t, table_gen_at(kv->t, number), key,
		    key_len, hash, kv->snap, &e, &gone);
	if (rc == 0 && e == NULL && !gone && table_view_frozen(kv->view)) {
		*where = KV_FROZEN;
		rc = table_find(kv->t, table_gen_at(kv->t, number - 1), key,
		    key_len, hash, kv->snap, &e, &gone);
	}
	if (rc != 0)
		return rc;
	if (e == NULL)
		return gone ? -ENOENT : -ENODATA;
	item_of_entry(e, out);
	return (table_entry_flags(e) & TABLE_TOMBSTONE) != 0 ? -ENOENT : 0;
}

int
kv_lookup_disk(
    struct kv *kv, const void *key, size_t key_len, struct kv_item *out)
{
	int rc;

	KV_READ(kv, rc, kv_try_disk(kv, key, key_len, out));
	return rc;
}

int
kv_try_disk(struct kv *kv, const void *key, size_t key_len, struct kv_item *out)
{
	struct store_item item;
	int rc;

	/* Longer keys cannot be in there; LMDB would call it bad size. */
	if (key_len > KEY_MAX)
		return -ENOENT;
	kv_note_disk(kv);
	rc = store_db_item(&kv->db, kv->txn, key, key_len, &item);
	if (rc != 0)
		return rc;
	out->vlsn = item.vlsn;
	out->expire_ms = item.expire_ms;
	out->len = item.len;
	out->data = item.data;
	out->chunk = item.chunk;
	return 0;
}

int
kv_lookup(struct kv *kv, const void *key, size_t key_len, struct kv_item *out,
    enum kv_where *where)
{
	int rc;

	ASSERT(kv->in);
	kv_work(kv, 1);
	memset(out, 0, sizeof(*out));
	rc = kv_lookup_table(
	    kv, key, key_len, table_hash(kv->t, key, key_len), out, where);
	if (rc != -ENODATA)
		return rc;
	*where = KV_DISK;
	return kv_lookup_disk(kv, key, key_len, out);
}

int
kv_get(struct kv *kv, const void *key, size_t key_len, int64_t now_ms,
    struct kv_item *out)
{
	enum kv_where where;
	int rc, tries;

	for (tries = 0; tries < KV_TRIES; tries++) {
		if ((rc = kv_refresh(kv)) != 0)
			return rc;
		rc = kv_lookup(kv, key, key_len, out, &where);
		if (rc == 0 && now_ms != 0 && kv_expired(out, now_ms))
			rc = -ENOENT;
		if (rc != -EAGAIN || kv->held)
			return rc;
	}
	return -EAGAIN;
}

uint64_t
kv_piece(const struct kv *kv, const struct kv_item *item)
{
	return item->data != NULL ? VALUE_PIECE : store_chunk_size(&kv->db);
}

static int
copy_piece(struct kv *kv, const struct kv_item *item, uint64_t from, size_t n,
    void *to)
{
	struct store_item chunked;
	int rc;

	if (item->data != NULL) {
		if (n != 0)
			memcpy(to, item->data + from, n);
		return 0;
	}
	kv_note_disk(kv);
	memset(&chunked, 0, sizeof(chunked));
	chunked.len = (uint32_t)item->len;
	chunked.chunk = item->chunk;
	KV_READ(
	    kv, rc, store_db_chunks(&kv->db, kv->txn, &chunked, from, n, to));
	return rc;
}

int
kv_copy(struct kv *kv, const struct kv_item *item, uint64_t from, size_t n,
    void *to)
{
	size_t piece;
	int rc = 0;

	ASSERT(kv->in);
	ASSERT(from <= item->len);
	ASSERT(n <= item->len - from);
	for (; rc == 0 && n > COPY_PIECE; n -= piece) {
		piece = COPY_PIECE;
		rc = copy_piece(kv, item, from, piece, to);
		from += piece;
		to = (uint8_t *)to + piece;
		kv_work(kv, KV_WORK_BEAT);
	}
	return rc != 0 ? rc : copy_piece(kv, item, from, n, to);
}

/* Newest deletion in the key's slot, over all places. */
static int
slot_vlsn(struct kv *kv, const void *key, size_t key_len, uint64_t *out)
{
	uint32_t slot = table_slot(key, key_len);
	uint64_t number = kv->view >> 1, v, best;
	struct store_state st;
	int rc;

	best = table_slot_get(kv->t, table_gen_at(kv->t, number), slot);
	if (table_view_frozen(kv->view)) {
		v = table_slot_get(
		    kv->t, table_gen_at(kv->t, number - 1), slot);
		best = v > best ? v : best;
	}
	kv_note_disk(kv);
	KV_READ(kv, rc, store_db_slot(&kv->db, kv->txn, slot, &v));
	if (rc == 0)
		KV_READ(kv, rc, store_db_state(&kv->db, kv->txn, &st));
	if (rc != 0)
		return rc;
	best = v > best ? v : best;
	best = st.flush_vlsn > best ? st.flush_vlsn : best;
	if (kv->writer != NULL && kv->writer->flush_vlsn > best)
		best = kv->writer->flush_vlsn;
	*out = best;
	return 0;
}

/* VLSN of the key's last change; *expire_ms = 0 if it has none or is gone. */
static int
last_change(struct kv *kv, const void *key, size_t key_len, uint64_t *vlsn,
    struct kv_item *item)
{
	int rc = kv_get(kv, key, key_len, 0, item);

	*vlsn = item->vlsn;
	if (rc != -ENOENT)
		return rc;
	item->expire_ms = 0;
	if ((rc = slot_vlsn(kv, key, key_len, vlsn)) != 0)
		return rc;
	/* A deletion past the snapshot must count as a change of it. */
	if (*vlsn > kv->snap)
		*vlsn = kv->snap;
	return 0;
}

uint64_t
kv_watch(struct kv *kv, const void *key, size_t key_len)
{
	struct kv_item item;
	uint64_t vlsn;

	/*
	 * A key that cannot be read has no VLSN that a change is sure to
	 * exceed: 0 makes the transaction abort.
	 */
	return last_change(kv, key, key_len, &vlsn, &item) == 0 ? vlsn : 0;
}

int
kv_changed(struct kv *kv, const void *key, size_t key_len, uint64_t watched,
    int64_t now_ms)
{
	struct kv_item item;
	uint64_t vlsn;
	int rc = last_change(kv, key, key_len, &vlsn, &item);

	if (rc != 0)
		return rc;
	return vlsn > watched || kv_expired(&item, now_ms) ? 1 : 0;
}

uint64_t
kv_sequence(struct kv *kv)
{
	return atomic_load_explicit(&kv->t->vlsn, memory_order_acquire) << 1;
}
