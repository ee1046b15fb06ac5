/*
 * Writing a checkpoint: what the checkpoint worker does inside its one
 * transaction. Nothing here is durable before mdb_txn_commit() returned.
 */
#include "shm/kv/store_db.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/kv/store_db_int.h"

#define NODE_HEAD 8 /* LMDB's, in front of each key in a leaf */

/*
 * The longest value that stays in the leaf page: LMDB puts a node that is
 * larger than half a page on pages of its own.
 */
static size_t
inline_max(const struct store_db *db, size_t key_len)
{
	size_t node_max = (((db->page_size - STORE_PAGE_HEAD) / 2) & ~1u) - 2;

	return node_max - NODE_HEAD - key_len - ITEM_HEAD_SIZE - 2;
}

static int
due_add(struct store_db *db, MDB_txn *txn, const void *key, size_t key_len,
    const struct store_item *item)
{
	uint8_t at[DUE_KEY_SIZE + 1];
	MDB_val k, v;

	store_due_place(at, item->expire_ms, item->vlsn, key, key_len, &k, &v);
	return store_db_errno(mdb_put(txn, db->due, &k, &v, 0));
}

/* Every key with an expiry has its entry. */
static int
due_remove(struct store_db *db, MDB_txn *txn, const void *key, size_t key_len,
    const struct store_item *item)
{
	uint8_t at[DUE_KEY_SIZE + 1];
	MDB_val k, v;
	int rc;

	store_due_place(at, item->expire_ms, item->vlsn, key, key_len, &k, &v);
	rc = mdb_del(txn, db->due, &k, &v);
	return rc == MDB_NOTFOUND ? -EBADMSG : store_db_errno(rc);
}

static int
chunks_remove(struct store_db *db, MDB_txn *txn, const struct store_item *item)
{
	uint32_t size = store_chunk_size(db), i;
	uint8_t at[CHUNK_KEY_SIZE];
	MDB_val k = { sizeof(at), at };
	int rc;

	for (i = 0; (uint64_t)i * size < item->len; i++) {
		if ((rc = store_db_spill(db, txn)) != 0)
			return rc;
		store_chunk_key(at, item->chunk, i);
		rc = mdb_del(txn, db->chunks, &k, NULL);
		if (rc != 0)
			return rc == MDB_NOTFOUND ? -EBADMSG
						  : store_db_errno(rc);
	}
	return 0;
}

static int
chunks_add(struct store_db *db, MDB_txn *txn, const struct store_item *item,
    uint64_t id)
{
	uint32_t size = store_chunk_size(db), i, n;
	uint8_t at[CHUNK_KEY_SIZE];
	MDB_val k = { sizeof(at), at }, v;
	const uint8_t *from = item->data;
	uint64_t left = item->len;
	int rc;

	for (i = 0; left > 0; i++, from += n, left -= n) {
		if ((rc = store_db_spill(db, txn)) != 0)
			return rc;
		n = left < size ? (uint32_t)left : size;
		store_chunk_key(at, id, i);
		v.mv_size = CHUNK_CRC_SIZE + n;
		/* Ids rise: new chunks go to the tree's end. */
		rc = mdb_put(txn, db->chunks, &k, &v, MDB_RESERVE | MDB_APPEND);
		if (rc != 0)
			return store_db_errno(rc);
		put_le32(v.mv_data, store_chunk_crc(at, from, n));
		memcpy((uint8_t *)v.mv_data + CHUNK_CRC_SIZE, from, n);
	}
	return 0;
}

int
store_db_put_begin(struct store_db *db, MDB_txn *txn)
{
	ASSERT(db->cursor == NULL);
	return store_db_errno(mdb_cursor_open(txn, db->kv, &db->cursor));
}

void
store_db_put_end(struct store_db *db)
{
	if (db->cursor != NULL)
		mdb_cursor_close(db->cursor);
	db->cursor = NULL;
}

/* The item before; through the cursor neighbours cost no walk from the root. */
static int
item_find(struct store_db *db, MDB_txn *txn, const void *key, size_t key_len,
    struct store_item *out)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v;
	int rc;

	if (db->cursor == NULL || key_len == 0)
		return store_db_item(db, txn, key, key_len, out);
	rc = mdb_cursor_get(db->cursor, &k, &v, MDB_SET);
	if (rc != 0)
		return store_db_errno(rc);
	return store_item_decode(key, key_len, v.mv_data, v.mv_size, out);
}

static int
item_reserve(struct store_db *db, MDB_txn *txn, const void *key, size_t key_len,
    MDB_val *v)
{
	MDB_val k;
	MDB_dbi dbi = store_item_place(db, key, key_len, &k);

	if (db->cursor == NULL || key_len == 0)
		return store_db_errno(mdb_put(txn, dbi, &k, v, MDB_RESERVE));
	return store_db_errno(mdb_cursor_put(db->cursor, &k, v, MDB_RESERVE));
}

static int
item_write(struct store_db *db, MDB_txn *txn, struct store_state *st,
    const void *key, size_t key_len, const struct store_item *item)
{
	bool chunked = item->len > inline_max(db, key_len);
	uint32_t flag = chunked ? ITEM_CHUNKED : 0;
	size_t body = chunked ? 8 : item->len;
	MDB_val v = { ITEM_HEAD_SIZE + body, NULL };
	uint8_t *p;
	int rc;

	if (chunked && (rc = chunks_add(db, txn, item, ++st->next_chunk)) != 0)
		return rc;
	if ((rc = item_reserve(db, txn, key, key_len, &v)) != 0)
		return rc;
	p = v.mv_data;
	put_le64(p, item->vlsn);
	put_le64(p + 8, (uint64_t)item->expire_ms);
	put_le32(p + 16, item->len | flag);
	if (chunked)
		put_le64(p + ITEM_HEAD_SIZE, st->next_chunk);
	else if (body != 0)
		memcpy(p + ITEM_HEAD_SIZE, item->data, body);
	put_le32(p + 20, store_item_crc(key, key_len, p, v.mv_size));
	return 0;
}

/* What goes with the item that is replaced or deleted. */
static int
item_leave(struct store_db *db, MDB_txn *txn, const void *key, size_t key_len,
    const struct store_item *old)
{
	int rc = 0;

	if (old->data == NULL)
		rc = chunks_remove(db, txn, old);
	if (rc == 0 && old->expire_ms != 0)
		rc = due_remove(db, txn, key, key_len, old);
	return rc;
}

int
store_db_put(struct store_db *db, MDB_txn *txn, struct store_state *st,
    const void *key, size_t key_len, const struct store_item *item)
{
	struct store_item old;
	MDB_val k;
	MDB_dbi dbi;
	bool was;
	int rc = store_db_spill(db, txn);

	if (rc != 0)
		return rc;
	rc = item_find(db, txn, key, key_len, &old);
	was = rc == 0;
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (was && (rc = item_leave(db, txn, key, key_len, &old)) != 0)
		return rc;
	if (item == NULL) {
		if (!was)
			return 0;
		ASSERT(st->keys > 0);
		st->keys--;
		dbi = store_item_place(db, key, key_len, &k);
		return store_db_errno(mdb_del(txn, dbi, &k, NULL));
	}
	if (!was)
		st->keys++;
	rc = item_write(db, txn, st, key, key_len, item);
	if (rc == 0 && item->expire_ms != 0)
		rc = due_add(db, txn, key, key_len, item);
	return rc;
}

int
store_db_slot_put(
    struct store_db *db, MDB_txn *txn, uint32_t slot, uint64_t vlsn)
{
	uint8_t key[2], data[12];
	MDB_val k = { sizeof(key), key }, v = { sizeof(data), data };

	store_slot_key(key, slot);
	put_le64(data, vlsn);
	put_le32(data + 8, store_slot_crc(key, data));
	return store_db_errno(mdb_put(txn, db->slots, &k, &v, 0));
}

int
store_db_state_put(
    struct store_db *db, MDB_txn *txn, const struct store_state *st)
{
	uint8_t p[STORE_STATE_SIZE] = { 0 };
	MDB_val k = store_name(STORE_STATE_NAME), v = { sizeof(p), p };

	/* With this the files are of this format. */
	ASSERT(db->due != 0);
	put_le32(p + 4, STORE_FORMAT);
	put_le64(p + 8, st->vlsn);
	put_le64(p + 16, (uint64_t)st->time_ms);
	put_le64(p + 24, st->keys);
	put_le64(p + 32, st->flush_vlsn);
	put_le64(p + 40, st->next_chunk);
	put_le64(p + 48, st->checkpoints);
	put_le64(p + 56, st->term);
	memcpy(p + 64, st->group_uuid, sizeof(st->group_uuid));
	put_le32(p, crc32c(0, p + 4, sizeof(p) - 4));
	return store_db_errno(mdb_put(txn, db->meta, &k, &v, 0));
}

int
store_db_terms_put(struct store_db *db, MDB_txn *txn,
    const struct store_term *terms, size_t count)
{
	MDB_val k = store_name(STORE_TERMS_NAME);
	MDB_val v = { 4 + count * 16, NULL };
	uint8_t *p;
	size_t i;
	int rc = mdb_put(txn, db->meta, &k, &v, MDB_RESERVE);

	if (rc != 0)
		return store_db_errno(rc);
	p = v.mv_data;
	for (i = 0; i < count; i++) {
		put_le64(p + 4 + i * 16, terms[i].term);
		put_le64(p + 12 + i * 16, terms[i].vlsn);
	}
	put_le32(p, crc32c(0, p + 4, v.mv_size - 4));
	return 0;
}

int
store_db_empty(struct store_db *db, MDB_txn *txn, struct store_state *st)
{
	MDB_val k = store_name(STORE_EMPTY_NAME);
	int rc;

	if ((rc = mdb_drop(txn, db->kv, 0)) != 0 ||
	    (rc = mdb_drop(txn, db->chunks, 0)) != 0 ||
	    (rc = mdb_drop(txn, db->due, 0)) != 0)
		return store_db_errno(rc);
	rc = mdb_del(txn, db->meta, &k, NULL);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return store_db_errno(rc);
	st->keys = 0;
	return 0;
}
