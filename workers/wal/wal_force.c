/*
 * What a forced boot knows of the log besides the log itself. A checkpoint
 * holds what its records did, so the log goes on behind it, with its term and
 * clock. The VLSN index names records that were durable, so their VLSNs are
 * not given out again. Neither is needed: what cannot be read tells nothing.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/index_file.h"
#include "shm/log.h"
#include "shm/store_db.h"

/* The state record; no lock, as checkpoint is opening the files just now. */
static int
checkpoint_read(const struct wal *w, struct store_state *out)
{
	char path[CONF_PATH_SIZE + 8], why[256];
	struct store_db db;
	MDB_txn *txn;
	int rc;

	snprintf(path, sizeof(path), "%s/store", w->conf->node.data_dir);
	rc = store_db_open(&db, path, STORE_DB_NOLOCK, 0, why, sizeof(why));
	if (rc == 0) {
		rc = store_db_errno(
		    mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
		if (rc == 0) {
			rc = store_db_state(&db, txn, out);
			mdb_txn_abort(txn);
		}
		store_db_close(&db);
	}
	if (rc != 0 && rc != -ENOENT)
		log_warnx("forced: store/data.mdb: %s", strerror(-rc));
	return rc;
}

static bool
is_group(const struct wal *w, const uint8_t uuid[16])
{
	static const uint8_t none[16];

	return memcmp(uuid, none, 16) == 0 || memcmp(uuid, w->uuid, 16) == 0;
}

static void
index_take(const struct wal *w, struct wal_proof *out)
{
	struct index_image img = { 0 };
	int fd, rc;

	fd = openat(
	    w->w->data_dir, INDEX_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	rc = index_file_read(fd, &img);
	close(fd);
	if (rc == 0 && is_group(w, img.head.id.group_uuid)) {
		out->indexed = img.durable;
		if (img.count != 0)
			out->segment =
			    lsn_segment(img.sample[img.count - 1].lsn);
	}
	index_image_free(&img);
}

void
wal_proof_read(const struct wal *w, struct wal_proof *out)
{
	struct store_state st = { 0 };

	memset(out, 0, sizeof(*out));
	index_take(w, out);
	/* A foreign one stops the boot: checkpoint sees to it. */
	if (checkpoint_read(w, &st) != 0 || !is_group(w, st.group_uuid))
		return;
	out->checkpoint = st.vlsn;
	out->term = st.term;
	out->time_ms = st.time_ms;
}
