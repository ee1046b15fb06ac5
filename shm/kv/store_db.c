/*
 * Opening and reading the checkpoint's files. What comes out of the map is
 * checked before it is believed: a length, then a checksum. See store_db.h.
 */
#include "shm/kv/store_db.h"

#include <sys/stat.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/fault.h"
#include "shm/kv/store_db_int.h"
#include "shm/kv/table.h"
#include "shm/map_read.h"
#include "shm/position.h"

static inline uint64_t
get_be64(const uint8_t *p)
{
	return __builtin_bswap64(get_le64(p));
}

int
store_db_errno(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	case MDB_READERS_FULL:
		return -EUSERS;
	case MDB_MAP_RESIZED:
		return -EAGAIN;
	case MDB_PANIC:
		return -EIO;
	case MDB_KEYEXIST:
		return -EEXIST;
	default:
		/* What is left of LMDB's own codes speaks of bad bytes. */
		return rc < 0 ? -EBADMSG : fault_of_call(-rc);
	}
}

__attribute__((format(printf, 4, 5))) static int
explain(int rc, char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return rc;
}

/* ---- what is in them ---- */

/* Not there: format 1, or nobody has written anything yet. */
static int
open_due(struct store_db *db, MDB_txn *txn, const struct store_state *st,
    unsigned create)
{
	int rc;

	if (create != 0 && st->format == STORE_FORMAT_1)
		return 0;
	rc = mdb_dbi_open(txn, "due", MDB_DUPSORT | create, &db->due);
	return rc == MDB_NOTFOUND && st->format != STORE_FORMAT ? 0 : rc;
}

/* Without a state nobody has written anything but empty databases. */
static int
look_empty(const struct store_db *db, MDB_txn *txn)
{
	const MDB_dbi dbis[] = { db->kv, db->chunks, db->slots, db->meta };
	MDB_stat ms;
	size_t i;
	int rc;

	for (i = 0; i < NITEMS(dbis); i++) {
		if ((rc = mdb_stat(txn, dbis[i], &ms)) != 0)
			return store_db_errno(rc);
		if (ms.ms_entries != 0)
			return -EILSEQ;
	}
	return db->head.commits > STORE_EMPTY_COMMITS ? -EILSEQ : 0;
}

/* The state comes first: files of another format are left as they are. */
static int
open_dbs(struct store_db *db, MDB_txn *txn, unsigned create)
{
	static const char *const names[] = { STORE_KV_NAME, STORE_CHUNKS_NAME,
		"slots" };
	MDB_dbi *dbis[] = { &db->kv, &db->chunks, &db->slots };
	unsigned new = db->head.commits == 0 ? create : 0;
	struct store_state *st = &db->state;
	MDB_stat ms;
	size_t i;
	int rc = mdb_dbi_open(txn, "meta", new, &db->meta);

	if (rc != 0)
		return store_db_errno(rc);
	if ((rc = store_db_state(db, txn, st)) != 0)
		return rc == -EBADMSG ? -EILSEQ : rc;
	for (i = 0; i < NITEMS(names) && rc == 0; i++)
		rc = mdb_dbi_open(txn, names[i], new, dbis[i]);
	if (rc == 0 && st->format == 0 && (rc = look_empty(db, txn)) != 0)
		return rc;
	if (rc == 0)
		rc = open_due(db, txn, st, st->format == 0 ? create : 0);
	if (rc == 0 && (rc = mdb_stat(txn, db->kv, &ms)) == 0)
		db->page_size = ms.ms_psize;
	return store_db_errno(rc);
}

/*
 * No writer knows of a reader without the lock file. What the commit that it
 * reads has in use, the next one frees, the one behind that keeps, and the
 * third writes over.
 */
static bool
outrun(const struct store_db *db, MDB_txn *txn)
{
	MDB_envinfo info;

	/* All was read before the meta pages are. */
	atomic_thread_fence(memory_order_acquire);
	return mdb_env_info(db->env, &info) == 0 &&
	       info.me_last_txnid > mdb_txn_id(txn) + 1;
}

static int
open_all(struct store_db *db, enum store_db_mode mode, const char *path,
    char *why, size_t n)
{
	bool write = mode == STORE_DB_WRITE;
	MDB_txn *txn;
	int rc;

	rc = mdb_txn_begin(db->env, NULL, write ? 0 : MDB_RDONLY, &txn);
	if (rc != 0)
		return store_db_errno(rc);
	rc = open_dbs(db, txn, write ? MDB_CREATE : 0);
	if (mode == STORE_DB_NOLOCK && outrun(db, txn))
		rc = -EAGAIN;
	/* Without a change nothing is written; handles stay open. */
	if (rc == 0)
		return store_db_errno(mdb_txn_commit(txn));
	mdb_txn_abort(txn);
	if (rc == -EPROTO)
		explain(rc, why, n,
		    "%s: written by another version of this program", path);
	/* They came with the first commit. */
	if (rc == -ENOENT && db->head.commits != 0)
		return explain(-EBADMSG, why, n,
		    "%s/data.mdb: damaged: one of its databases is not found",
		    path);
	if (rc != -EILSEQ)
		return rc;
	return explain(-EBADMSG, why, n,
	    "%s: the checkpoint's state record is damaged", path);
}

static int
open_env(struct store_db *db, const char *path, enum store_db_mode mode,
    uint64_t map_size)
{
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
	int rc;

	if (mode != STORE_DB_WRITE)
		flags |= MDB_RDONLY;
	if (mode == STORE_DB_NOLOCK)
		flags |= MDB_NOLOCK;
	if ((rc = mdb_env_create(&db->env)) != 0)
		return store_db_errno(rc);
	if ((rc = mdb_env_set_maxdbs(db->env, STORE_DBS)) != 0 ||
	    (rc = mdb_env_set_maxreaders(db->env, STORE_READERS)) != 0)
		return store_db_errno(rc);
	if (map_size != 0 && (rc = mdb_env_set_mapsize(db->env, map_size)) != 0)
		return store_db_errno(rc);
	return store_db_errno(mdb_env_open(db->env, path, flags, 0640));
}

/* ---- opening ---- */

/* What would be taken for a fault of the whole store, or never be opened. */
static int
look_kind(const char *path, bool lock, char *why, size_t n)
{
	char name[PATH_MAX];
	int rc = store_files_kind(path, lock, name, sizeof(name));

	if (rc == 0)
		return 0;
	return explain(rc, why, n, "%s: open: %s", name,
	    rc == -EISDIR ? strerror(EISDIR) : "it is no regular file");
}

static int
explain_open(int rc, const char *path, char *why, size_t n)
{
	char who[128];

	switch (rc) {
	case -EBADMSG:
		return explain(rc, why, n, "%s/data.mdb: damaged", path);
	case -EBUSY:
		store_db_writers(path, who, sizeof(who));
		return explain(
		    rc, why, n, "%s/data.mdb: %s " FAULT_WRITES, path, who);
	case -EREMCHG:
		return explain(
		    rc, why, n, "%s/data.mdb: " FAULT_OTHER_FILE, path);
	case -EIDRM:
		return explain(
		    rc, why, n, "%s/lock.mdb: " FAULT_LOCK_GONE, path);
	default:
		return explain(rc, why, n, "%s: open: %s", path, strerror(-rc));
	}
}

static int
open_once(struct store_db *db, const char *path, enum store_db_mode mode,
    uint64_t map_size, const struct store_files *files, char *why, size_t n)
{
	bool write = mode == STORE_DB_WRITE;
	int rc;

	memset(db, 0, sizeof(*db));
	db->files = files;
	why[0] = '\0';
	rc = files != NULL ? 0
			   : look_kind(path, mode != STORE_DB_NOLOCK, why, n);
	if (rc == 0)
		rc = store_files_find(db, path, write);
	if (rc == 0)
		rc = store_db_head(path, &db->head, why, n);
	if (rc == 0)
		rc = open_env(db, path, mode, map_size);
	if (rc == 0)
		rc = store_files_opened(db, path);
	if (rc == 0)
		rc = open_all(db, mode, path, why, n);
	if (rc == 0)
		return 0;
	if (why[0] == '\0')
		explain_open(rc, path, why, n);
	store_db_close(db);
	return rc;
}

int
store_db_open_same(struct store_db *db, const char *path,
    enum store_db_mode mode, uint64_t map_size, const struct store_files *files,
    char *why, size_t why_size)
{
	unsigned tries = 0;
	int rc;

	do
		rc = open_once(db, path, mode, map_size, files, why, why_size);
	while (rc == -EAGAIN && mode != STORE_DB_WRITE &&
	       ++tries < STORE_OPENS_MAX);
	return rc == -EAGAIN ? explain_open(-EBUSY, path, why, why_size) : rc;
}

int
store_db_open(struct store_db *db, const char *path, enum store_db_mode mode,
    uint64_t map_size, char *why, size_t why_size)
{
	return store_db_open_same(
	    db, path, mode, map_size, NULL, why, why_size);
}

static int
make_env(const char *name)
{
	MDB_env *env;
	int fd, rc = mdb_env_create(&env);

	if (rc != 0)
		return store_db_errno(rc);
	rc = store_db_errno(
	    mdb_env_open(env, name, MDB_NOSUBDIR | MDB_NOLOCK, 0640));
	if (rc == 0)
		rc = store_db_errno(mdb_env_get_fd(env, &fd));
	if (rc == 0 && fdatasync(fd) != 0)
		rc = fault_of_call(-errno);
	mdb_env_close(env);
	return rc;
}

int
store_db_make(const char *path, char *why, size_t why_size)
{
	char name[PATH_MAX], made[PATH_MAX];
	int rc = 0;

	snprintf(name, sizeof(name), "%s/data.mdb", path);
	snprintf(made, sizeof(made), "%s/data.new", path);
	if (mkdir(path, 0750) != 0 && errno != EEXIST)
		return explain(-errno, why, why_size, "%s: mkdir: %s", path,
		    strerror(errno));
	(void)unlink(made);
	rc = make_env(made);
	if (rc == 0 && rename(made, name) != 0)
		rc = -errno;
	if (rc != 0) {
		(void)unlink(made);
		explain(rc, why, why_size, "%s: make: %s", made, strerror(-rc));
	}
	return rc;
}

void
store_db_close(struct store_db *db)
{
	if (db->env != NULL)
		mdb_env_close(db->env);
	if (db->held > 0)
		close(db->held);
	memset(db, 0, sizeof(*db));
}

/* ---- reading ---- */

MDB_val
store_name(const char *name)
{
	MDB_val k = { strlen(name), (void *)(uintptr_t)name };

	return k;
}

/* LMDB has no empty keys: that one item stands in "meta". */
MDB_dbi
store_item_place(
    const struct store_db *db, const void *key, size_t key_len, MDB_val *out)
{
	if (key_len == 0) {
		*out = store_name(STORE_EMPTY_NAME);
		return db->meta;
	}
	out->mv_data = (void *)(uintptr_t)key;
	out->mv_size = key_len;
	return db->kv;
}

uint32_t
store_item_crc(const void *key, size_t key_len, const uint8_t *data, size_t n)
{
	uint32_t crc = crc32c(0, key, key_len);

	crc = crc32c(crc, data, ITEM_HEAD_SIZE - 4);
	return crc32c(crc, data + ITEM_HEAD_SIZE, n - ITEM_HEAD_SIZE);
}

int
store_item_decode(const void *key, size_t key_len, const void *data, size_t n,
    struct store_item *out)
{
	const uint8_t *p = data;
	uint32_t len;

	if (n < ITEM_HEAD_SIZE)
		return -EBADMSG;
	if (get_le32(p + 20) != store_item_crc(key, key_len, p, n))
		return -EBADMSG;
	len = get_le32(p + 16);
	out->vlsn = get_le64(p);
	out->expire_ms = (int64_t)get_le64(p + 8);
	out->len = len & ~ITEM_CHUNKED;
	if ((len & ITEM_CHUNKED) != 0) {
		if (n != ITEM_HEAD_SIZE + 8)
			return -EBADMSG;
		out->data = NULL;
		out->chunk = get_le64(p + ITEM_HEAD_SIZE);
		return 0;
	}
	if (n != ITEM_HEAD_SIZE + (size_t)out->len)
		return -EBADMSG;
	out->data = p + ITEM_HEAD_SIZE;
	out->chunk = 0;
	return 0;
}

/* What a read was asked for: the map is read within map_read() only. */
struct map_call {
	const struct store_db *db;
	MDB_txn *txn;
	const void *key;
	size_t key_len;
	const struct store_item *item;
	uint64_t from;
	size_t n;
	uint32_t slot;
	void *out;
};

static int
read_item(void *arg)
{
	const struct map_call *m = arg;
	MDB_val k, v;
	MDB_dbi dbi = store_item_place(m->db, m->key, m->key_len, &k);
	int rc = mdb_get(m->txn, dbi, &k, &v);

	if (rc != 0)
		return store_db_errno(rc);
	return store_item_decode(
	    m->key, m->key_len, v.mv_data, v.mv_size, m->out);
}

int
store_db_item(const struct store_db *db, MDB_txn *txn, const void *key,
    size_t key_len, struct store_item *out)
{
	struct map_call m = {
		.db = db, .txn = txn, .key = key, .key_len = key_len, .out = out
	};

	return map_read(read_item, &m);
}

void
store_chunk_key(uint8_t at[CHUNK_KEY_SIZE], uint64_t id, uint32_t index)
{
	put_le64(at, __builtin_bswap64(id));
	put_le32(at + 8, __builtin_bswap32(index));
}

uint32_t
store_chunk_size(const struct store_db *db)
{
	return db->page_size - STORE_PAGE_HEAD - CHUNK_CRC_SIZE;
}

uint32_t
store_chunk_crc(const uint8_t *key, const uint8_t *data, size_t n)
{
	return crc32c(crc32c(0, key, CHUNK_KEY_SIZE), data, n);
}

int
store_chunk_get(const struct store_db *db, MDB_txn *txn, uint64_t id,
    uint32_t index, size_t want, const uint8_t **data)
{
	uint8_t key[CHUNK_KEY_SIZE];
	MDB_val k = { sizeof(key), key }, v;
	int rc;

	store_chunk_key(key, id, index);
	rc = mdb_get(txn, db->chunks, &k, &v);
	if (rc != 0)
		return -EBADMSG;
	if (v.mv_size != CHUNK_CRC_SIZE + want)
		return -EBADMSG;
	*data = (const uint8_t *)v.mv_data + CHUNK_CRC_SIZE;
	if (get_le32(v.mv_data) != store_chunk_crc(key, *data, want))
		return -EBADMSG;
	return 0;
}

static int
read_chunks(void *arg)
{
	const struct map_call *m = arg;
	const struct store_item *item = m->item;
	uint32_t size = store_chunk_size(m->db);
	uint64_t from = m->from;
	uint8_t *to = m->out;
	const uint8_t *data;
	size_t in, take, whole, n = m->n;
	int rc;

	while (n > 0) {
		in = from % size;
		whole = item->len - (from - in);
		if (whole > size)
			whole = size;
		take = whole - in < n ? whole - in : n;
		rc = store_chunk_get(m->db, m->txn, item->chunk,
		    (uint32_t)(from / size), whole, &data);
		if (rc != 0)
			return rc;
		memcpy(to, data + in, take);
		to += take;
		from += take;
		n -= take;
	}
	return 0;
}

int
store_db_chunks(const struct store_db *db, MDB_txn *txn,
    const struct store_item *item, uint64_t from, size_t n, uint8_t *to)
{
	struct map_call m = { .db = db,
		.txn = txn,
		.item = item,
		.from = from,
		.n = n,
		.out = to };

	ASSERT(from <= item->len);
	ASSERT(n <= item->len - from);
	return map_read(read_chunks, &m);
}

void
store_slot_key(uint8_t at[2], uint32_t slot)
{
	at[0] = (uint8_t)(slot >> 8);
	at[1] = (uint8_t)slot;
}

uint32_t
store_slot_crc(const uint8_t key[2], const void *data)
{
	return crc32c(crc32c(0, key, 2), data, 8);
}

static int
read_slot(void *arg)
{
	const struct map_call *m = arg;
	uint64_t *vlsn = m->out;
	uint8_t key[2];
	MDB_val k = { sizeof(key), key }, v;
	int rc;

	*vlsn = 0;
	store_slot_key(key, m->slot);
	rc = mdb_get(m->txn, m->db->slots, &k, &v);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return store_db_errno(rc);
	if (v.mv_size != 12 || get_le32((const uint8_t *)v.mv_data + 8) !=
				   store_slot_crc(key, v.mv_data))
		return -EBADMSG;
	*vlsn = get_le64(v.mv_data);
	return 0;
}

int
store_db_slot(
    const struct store_db *db, MDB_txn *txn, uint32_t slot, uint64_t *vlsn)
{
	struct map_call m = { .db = db, .txn = txn, .slot = slot, .out = vlsn };

	return map_read(read_slot, &m);
}

/*
 * "state": u32 CRC32C of the rest, u32 format, then the fields in the order
 * of struct store_state.
 */
int
store_state_decode(const void *data, size_t n, struct store_state *out)
{
	const uint8_t *p = data;

	if (n < 8 || get_le32(p) != crc32c(0, p + 4, n - 4))
		return -EBADMSG;
	out->format = get_le32(p + 4);
	if (out->format != STORE_FORMAT && out->format != STORE_FORMAT_1)
		return -EPROTO;
	if (n != STORE_STATE_SIZE)
		return -EBADMSG;
	out->vlsn = get_le64(p + 8);
	out->time_ms = (int64_t)get_le64(p + 16);
	out->keys = get_le64(p + 24);
	out->flush_vlsn = get_le64(p + 32);
	out->next_chunk = get_le64(p + 40);
	out->checkpoints = get_le64(p + 48);
	out->term = get_le64(p + 56);
	memcpy(out->group_uuid, p + 64, 16);
	/* Both go on into positions, which have no bit more. */
	return out->vlsn <= VLSN_MASK && out->flush_vlsn <= VLSN_MASK
		   ? 0
		   : -EBADMSG;
}

static int
read_state(void *arg)
{
	const struct map_call *m = arg;
	struct store_state *out = m->out;
	MDB_val k = store_name(STORE_STATE_NAME), v;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = mdb_get(m->txn, m->db->meta, &k, &v);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return store_db_errno(rc);
	return store_state_decode(v.mv_data, v.mv_size, out);
}

int
store_db_state(const struct store_db *db, MDB_txn *txn, struct store_state *out)
{
	struct map_call m = { .db = db, .txn = txn, .out = out };

	return map_read(read_state, &m);
}

static int
read_count(void *arg)
{
	const struct map_call *m = arg;
	uint64_t *keys = m->out;
	MDB_stat ms;
	int rc = mdb_stat(m->txn, m->db->kv, &ms);

	if (rc == 0)
		*keys = ms.ms_entries;
	return store_db_errno(rc);
}

int
store_db_keys(const struct store_db *db, MDB_txn *txn, uint64_t *keys)
{
	struct map_call m = { .db = db, .txn = txn, .out = keys };

	*keys = 0;
	return map_read(read_count, &m);
}

int
store_db_used(const struct store_db *db, MDB_txn *txn, uint64_t *bytes)
{
	const MDB_dbi dbis[] = { db->kv, db->chunks, db->slots, db->meta,
		db->due };
	uint64_t pages = 2; /* the meta pages */
	MDB_stat ms;
	size_t i;
	int rc;

	*bytes = 0;
	for (i = 0; i < NITEMS(dbis); i++) {
		/* Format 1 has no such database. */
		if (dbis[i] == 0)
			continue;
		if ((rc = mdb_stat(txn, dbis[i], &ms)) != 0)
			return store_db_errno(rc);
		pages += ms.ms_branch_pages + ms.ms_leaf_pages +
			 ms.ms_overflow_pages;
	}
	*bytes = pages * db->page_size;
	return 0;
}

bool
store_terms_sound(const void *data, size_t n)
{
	const uint8_t *p = data;

	return n >= 4 && n % 16 == 4 && get_le32(p) == crc32c(0, p + 4, n - 4);
}

void
store_terms_decode(const void *data, struct store_term *out, size_t count)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < count; i++) {
		out[i].term = get_le64(p + 4 + i * 16);
		out[i].vlsn = get_le64(p + 12 + i * 16);
	}
}

/* The list as it lies in the map. */
static int
read_terms(void *arg)
{
	const struct map_call *m = arg;
	MDB_val k = store_name(STORE_TERMS_NAME), *v = m->out;
	int rc = mdb_get(m->txn, m->db->meta, &k, v);

	if (rc != 0)
		return store_db_errno(rc);
	return store_terms_sound(v->mv_data, v->mv_size) ? 0 : -EBADMSG;
}

static int
copy_terms(void *arg)
{
	const struct map_call *m = arg;

	store_terms_decode(m->key, m->out, m->n);
	return 0;
}

int
store_db_terms(const struct store_db *db, MDB_txn *txn, struct store_term **out,
    size_t *count)
{
	MDB_val v;
	struct map_call m = { .db = db, .txn = txn, .out = &v };
	int rc = map_read(read_terms, &m);

	*out = NULL;
	*count = 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	*out = malloc(v.mv_size);
	if (*out == NULL)
		return -ENOMEM;
	m.key = v.mv_data;
	m.n = v.mv_size / 16;
	m.out = *out;
	if ((rc = map_read(copy_terms, &m)) != 0) {
		free(*out);
		*out = NULL;
		return rc;
	}
	*count = m.n;
	return 0;
}

void
store_due_place(uint8_t at[DUE_KEY_SIZE + 1], int64_t expire_ms, uint64_t vlsn,
    const void *key, size_t key_len, MDB_val *k, MDB_val *v)
{
	put_le64(at, __builtin_bswap64((uint64_t)expire_ms));
	put_le64(at + 8, __builtin_bswap64(vlsn));
	at[DUE_KEY_SIZE] = 0;
	k->mv_data = at;
	k->mv_size = DUE_KEY_SIZE + (key_len == 0);
	v->mv_data = key_len == 0 ? at + DUE_KEY_SIZE : (void *)(uintptr_t)key;
	v->mv_size = key_len == 0 ? 1 : key_len;
}

/* From the entry (k, v), there or not, to the next. */
static int
due_seek(MDB_cursor *c, MDB_val *k, MDB_val *v)
{
	MDB_val key = *k, value = *v;
	int rc = mdb_cursor_get(c, k, v, MDB_GET_BOTH_RANGE);

	if (rc == 0 && v->mv_size == value.mv_size &&
	    memcmp(v->mv_data, value.mv_data, value.mv_size) == 0)
		return mdb_cursor_get(c, k, v, MDB_NEXT);
	if (rc != MDB_NOTFOUND)
		return rc;
	*k = key;
	rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
	if (rc == 0 && k->mv_size == key.mv_size &&
	    memcmp(k->mv_data, key.mv_data, key.mv_size) == 0)
		rc = mdb_cursor_get(c, k, v, MDB_NEXT_NODUP);
	return rc;
}

static int
due_decode(const MDB_val *k, const MDB_val *v, struct store_due *d)
{
	const uint8_t *at = k->mv_data;
	bool empty = k->mv_size == DUE_KEY_SIZE + 1;

	if (!empty && (k->mv_size != DUE_KEY_SIZE || v->mv_size == 0 ||
			  v->mv_size > STORE_KEY_MAX))
		return -EBADMSG;
	d->expire_ms = (int64_t)get_be64(at);
	d->vlsn = get_be64(at + 8);
	d->key_len = empty ? 0 : v->mv_size;
	memcpy(d->key, v->mv_data, d->key_len);
	return 0;
}

/* LMDB looks for the tree's root then; nothing has a cursor that it lost. */
static int
read_open(void *arg)
{
	struct map_call *m = arg;

	return store_db_errno(
	    mdb_cursor_open(m->txn, (MDB_dbi)m->slot, (MDB_cursor **)m->out));
}

int
store_db_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **c)
{
	struct map_call m = { .txn = txn, .slot = dbi, .out = c };

	return map_read(read_open, &m);
}

struct due_call {
	MDB_cursor *c;
	struct store_due *d;
};

static int
read_due(void *arg)
{
	struct due_call *call = arg;
	struct store_due *d = call->d;
	uint8_t at[DUE_KEY_SIZE + 1];
	MDB_val k, v;
	int rc;

	store_due_place(at, d->expire_ms, d->vlsn, d->key, d->key_len, &k, &v);
	rc = store_db_errno(due_seek(call->c, &k, &v));
	return rc != 0 ? rc : due_decode(&k, &v, d);
}

int
store_db_due_next(const struct store_db *db, MDB_txn *txn, struct store_due *d)
{
	struct due_call call = { NULL, d };
	int rc = store_db_cursor_open(txn, db->due, &call.c);

	if (rc != 0)
		return rc;
	rc = map_read(read_due, &call);
	mdb_cursor_close(call.c);
	return rc;
}

struct cursor_call {
	MDB_cursor *c;
	MDB_val *key, *data;
	MDB_cursor_op op;
	uint64_t random;
};

static int
read_cursor(void *arg)
{
	struct cursor_call *call = arg;

	return store_db_errno(
	    mdb_cursor_get(call->c, call->key, call->data, call->op));
}

int
store_db_cursor(MDB_cursor *c, MDB_val *key, MDB_val *data, MDB_cursor_op op)
{
	struct cursor_call call = { c, key, data, op, 0 };

	return map_read(read_cursor, &call);
}

/* Eight bytes of a key behind what first and last have in common. */
static uint64_t
key_number(const uint8_t *key, size_t n, size_t skip)
{
	uint8_t part[8] = { 0 };

	if (n > skip)
		memcpy(part, key + skip, n - skip < 8 ? n - skip : 8);
	return get_be64(part);
}

static int
read_random(void *arg)
{
	struct cursor_call *call = arg;
	MDB_val *key = call->key, *data = call->data;
	MDB_cursor *c = call->c;
	uint64_t random = call->random;
	uint8_t seek[512];
	MDB_val first, last;
	size_t skip = 0;
	uint64_t lo, hi;
	int rc;

	if ((rc = mdb_cursor_get(c, &first, data, MDB_FIRST)) != 0 ||
	    (rc = mdb_cursor_get(c, &last, data, MDB_LAST)) != 0)
		return store_db_errno(rc);
	if (first.mv_size > 511 || last.mv_size > 511)
		return -EBADMSG;
	while (skip < first.mv_size && skip < last.mv_size &&
	       ((const uint8_t *)first.mv_data)[skip] ==
		   ((const uint8_t *)last.mv_data)[skip])
		skip++;
	if (skip > sizeof(seek) - 8)
		skip = sizeof(seek) - 8;
	lo = key_number(first.mv_data, first.mv_size, skip);
	hi = key_number(last.mv_data, last.mv_size, skip);
	lo += hi > lo ? random % (hi - lo) + 1 : 0;
	memcpy(seek, first.mv_data, skip);
	put_le64(seek + skip, __builtin_bswap64(lo));
	key->mv_data = seek;
	key->mv_size = skip + 8 > 511 ? 511 : skip + 8;
	rc = mdb_cursor_get(c, key, data, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(c, key, data, MDB_LAST);
	return store_db_errno(rc);
}

int
store_db_random(MDB_cursor *c, uint64_t random, MDB_val *key, MDB_val *data)
{
	struct cursor_call call = { c, key, data, MDB_FIRST, random };

	return map_read(read_random, &call);
}
