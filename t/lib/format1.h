/* A store as the release before wrote it: format 1, made of one of today's. */
#ifndef T_LIB_FORMAT1_H
#define T_LIB_FORMAT1_H

#include <string.h>
#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/kv/store_db.h"
#include "shm/log/record.h"

/* Entries of one moment differ in n: the key's checksum, or the next free. */
__attribute__((unused)) static int
format1_add(MDB_txn *txn, MDB_dbi dbi, const struct store_due *d)
{
	uint32_t n = crc32c(0, d->key, d->key_len);
	uint8_t at[20];
	MDB_val k = { sizeof(at), at }, v;
	int rc;

	put_le64(at, __builtin_bswap64((uint64_t)d->expire_ms));
	put_le64(at + 8, __builtin_bswap64(d->vlsn));
	do {
		put_le32(at + 16, __builtin_bswap32(n++));
		v.mv_size = d->key_len;
		v.mv_data = (void *)(uintptr_t)d->key;
		rc = mdb_put(txn, dbi, &k, &v, MDB_NOOVERWRITE);
	} while (rc == MDB_KEYEXIST);
	return rc;
}

__attribute__((unused)) static int
format1_state(struct store_db *db, MDB_txn *txn)
{
	uint8_t p[STORE_STATE_SIZE];
	char name[] = "state";
	MDB_val k = { 5, name }, v;
	int rc = mdb_get(txn, db->meta, &k, &v);

	if (rc != 0)
		return rc;
	memcpy(p, v.mv_data, sizeof(p));
	put_le32(p + 4, STORE_FORMAT_1);
	put_le32(p, crc32c(0, p + 4, sizeof(p) - 4));
	v.mv_data = p;
	return mdb_put(txn, db->meta, &k, &v, 0);
}

/* db is open for writing; it is void then, but for closing. 0 or an error. */
__attribute__((unused)) static int
format1_make(struct store_db *db)
{
	struct store_due d = { 0 };
	MDB_txn *txn;
	MDB_dbi old;
	int rc, end;

	if ((rc = mdb_txn_begin(db->env, NULL, 0, &txn)) != 0)
		return rc;
	rc = mdb_dbi_open(txn, "expiry", MDB_CREATE, &old);
	while (rc == 0 && (end = store_db_due_next(db, txn, &d)) == 0)
		rc = format1_add(txn, old, &d);
	if (rc == 0)
		rc = mdb_drop(txn, db->due, 1);
	if (rc == 0)
		rc = format1_state(db, txn);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

#endif
