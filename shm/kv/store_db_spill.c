/*
 * Keeping a checkpoint's memory small. LMDB holds what a transaction changes
 * in memory until it has 512 MiB of it, and only then begins to write pages
 * out ("to spill") before the commit. Pages written in the order of their keys
 * are not touched again, so to write them out earlier costs nothing.
 *
 * LMDB looks for room before each put, by the size of the data, and then at
 * what it was asked for. A put of the largest data there can be therefore
 * makes it spill all that no cursor holds; on the name of a database it is
 * refused after that, and nothing has changed.
 *
 * Pages that are written out stay with LMDB for the next ones, so more memory
 * is in use only when those are used up: that is when to spill again.
 */
#include "shm/kv/store_db.h"

#include <errno.h>
#include <malloc.h>

#include "shm/kv/store_db_int.h"

#define LARGEST_DATA UINT32_MAX /* that LMDB takes */

#ifdef __SANITIZE_ADDRESS__
/* Its heap is not libc's, and not every compiler has a header for it. */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

/* Bytes that malloc() has given out in this process. */
static uint64_t
heap_used(void)
{
#ifdef __SANITIZE_ADDRESS__
	return __sanitizer_get_current_allocated_bytes();
#else
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
#endif
}

void
store_db_bound(struct store_db *db, uint64_t memory)
{
	db->heap_mark = memory != 0 ? heap_used() + memory : 0;
}

static int
spill(MDB_txn *txn)
{
	MDB_val k = store_name(STORE_KV_NAME), v = { LARGEST_DATA, NULL };
	MDB_dbi names;
	int rc = mdb_dbi_open(txn, NULL, 0, &names);

	if (rc == 0)
		rc = mdb_put(txn, names, &k, &v, 0);
	/* Anything but the refusal is a failure, an error of the disk too. */
	if (rc == MDB_INCOMPATIBLE)
		return 0;
	return rc == 0 ? -EPROTO : store_db_errno(rc);
}

int
store_db_spill(struct store_db *db, MDB_txn *txn)
{
	uint64_t used;
	int rc;

	if (db->heap_mark == 0 || heap_used() <= db->heap_mark)
		return 0;
	rc = spill(txn);
	used = heap_used();
	if (used > db->heap_mark)
		db->heap_mark = used;
	return rc;
}
