/*
 * A store of the release before becomes one of this format: the order of
 * expiry is written anew, from the old one, which is in the same order of
 * (expire_ms, vlsn). See store_db.h.
 */
#include "shm/kv/store_db.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/kv/store_db_int.h"

#define OLD_KEY_SIZE 20 /* u64 BE expire_ms, u64 BE vlsn, u32 BE n */
#define STEP_ENTRIES 1024

struct convert {
	struct store_db *db;
	MDB_txn *txn;
	MDB_cursor *from;
	void (*step)(void *arg, uint64_t done, uint64_t all);
	void *arg;
};

/* One entry, at the end; or, of the moment of the one before, beside it. */
static int
convert_entry(struct convert *c, const MDB_val *old, const MDB_val *key,
    uint8_t last[DUE_KEY_SIZE])
{
	uint8_t at[DUE_KEY_SIZE + 1];
	const uint8_t *from = old->mv_data;
	MDB_val k, v;
	bool same;
	int rc;

	if (old->mv_size != OLD_KEY_SIZE || key->mv_size > STORE_KEY_MAX)
		return -EBADMSG;
	same = memcmp(from, last, DUE_KEY_SIZE) == 0;
	memcpy(last, from, DUE_KEY_SIZE);
	store_due_place(at, (int64_t)__builtin_bswap64(get_le64(from)),
	    __builtin_bswap64(get_le64(from + 8)), key->mv_data, key->mv_size,
	    &k, &v);
	rc = mdb_put(c->txn, c->db->due, &k, &v, same ? 0 : MDB_APPEND);
	/* Not behind the one before: the old one was out of order. */
	return rc == MDB_KEYEXIST ? -EBADMSG : store_db_errno(rc);
}

static int
convert_entries(struct convert *c, uint64_t all)
{
	uint8_t last[DUE_KEY_SIZE] = { 0 };
	uint64_t done = 0;
	MDB_val k, v;
	int rc = 0, end;

	while ((end = mdb_cursor_get(c->from, &k, &v, MDB_NEXT)) == 0) {
		if (done % STEP_ENTRIES == 0)
			c->step(c->arg, done, all);
		done++;
		if ((rc = store_db_spill(c->db, c->txn)) != 0 ||
		    (rc = convert_entry(c, &k, &v, last)) != 0)
			return rc;
	}
	return end == MDB_NOTFOUND ? 0 : store_db_errno(end);
}

static int
convert(struct convert *c)
{
	struct store_state st;
	MDB_stat ms;
	MDB_dbi old;
	int rc;

	if ((rc = store_db_state(c->db, c->txn, &st)) != 0)
		return rc;
	ASSERT(st.format == STORE_FORMAT_1);
	/* The release before may have gone on with files of this one. */
	if ((rc = mdb_dbi_open(c->txn, "expiry", 0, &old)) != 0 ||
	    (rc = mdb_dbi_open(
		 c->txn, "due", MDB_DUPSORT | MDB_CREATE, &c->db->due)) != 0 ||
	    (rc = mdb_drop(c->txn, c->db->due, 0)) != 0 ||
	    (rc = mdb_stat(c->txn, old, &ms)) != 0 ||
	    (rc = mdb_cursor_open(c->txn, old, &c->from)) != 0)
		return rc == MDB_NOTFOUND ? -EBADMSG : store_db_errno(rc);
	rc = convert_entries(c, ms.ms_entries);
	mdb_cursor_close(c->from);
	if (rc == 0)
		rc = store_db_errno(mdb_drop(c->txn, old, 1));
	if (rc == 0)
		rc = store_db_state_put(c->db, c->txn, &st);
	return rc;
}

int
store_db_convert(struct store_db *db,
    void (*step)(void *arg, uint64_t done, uint64_t all), void *arg)
{
	struct convert c = { .db = db, .step = step, .arg = arg };
	int rc;

	store_db_bound(db, db->memory);
	rc = store_db_errno(mdb_txn_begin(db->env, NULL, 0, &c.txn));
	if (rc != 0)
		return rc;
	if ((rc = convert(&c)) == 0)
		return store_db_errno(mdb_txn_commit(c.txn));
	mdb_txn_abort(c.txn);
	return rc;
}
