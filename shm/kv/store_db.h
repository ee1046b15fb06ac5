/*
 * The checkpoint's files: data_dir/store, an LMDB environment. Byte-exact
 * description: nodelife-wal(5). Everything here is opened after the fork, by
 * at most one writer (checkpoint) and any number of readers.
 *
 *	kv	key -> head, then the value, or u64 chunk id (ITEM_CHUNKED)
 *	chunks	u64 BE id, u32 BE index -> u32 CRC32C, data (one page at most)
 *	due	u64 BE expire_ms, u64 BE vlsn -> each key that has these; and
 *		with one byte 0 behind them -> one byte 0: the empty key
 *	slots	u16 BE slot -> u64 VLSN of the newest deletion in it, u32 CRC32C
 *	meta	"state" -> struct store_state; "terms" -> term runs;
 *		"empty" -> the item of the empty key (LMDB has no such keys)
 *
 *	head:	 0  8  VLSN of the last change
 *		 8  8  expiry, ms since the epoch, 0 = none
 *		16  4  length of the value; top bit: ITEM_CHUNKED
 *		20  4  CRC32C of the key, bytes 0..19, and what follows
 * Integers that are not BE are little-endian.
 *
 * Format 1, of the release before, has "expiry" instead of "due": u64 BE
 * expire_ms, u64 BE vlsn, u32 BE n -> key, where n was made of the key's
 * checksum, so that chosen keys made one another slow. store_db_convert()
 * makes format 2 of it; until then such a store can be read, not written.
 */
#ifndef SHM_KV_STORE_DB_H
#define SHM_KV_STORE_DB_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define STORE_FORMAT     2u
#define STORE_FORMAT_1   1u
#define STORE_KEY_MAX    511 /* LMDB's, of keys and of what "due" has */
#define ITEM_HEAD_SIZE   24
#define ITEM_CHUNKED     UINT32_C(0x80000000)
#define CHUNK_KEY_SIZE   12
#define CHUNK_CRC_SIZE   4
#define DUE_KEY_SIZE     16 /* one more for the empty key */
#define STORE_STATE_SIZE 80
#define STORE_PAGE_HEAD  16 /* LMDB's page header */

enum store_db_mode {
	STORE_DB_WRITE, /* checkpoint: creates what is missing */
	STORE_DB_READ,
	STORE_DB_NOLOCK /* readonly recovery: changes no file at all */
};

struct store_files; /* shm/kv/table.h */

/* What the head of a tree says of it. */
struct store_tree {
	uint64_t root; /* page; all ones: none */
	uint64_t branches, leaves, overflow; /* pages */
	uint64_t entries;
	uint16_t flags, depth;
};

/* What the newer meta page says, as the file was opened. */
struct store_head {
	uint64_t commits; /* so far */
	uint64_t last_page;
	uint64_t root; /* page, of the tree of databases */
	struct store_tree free; /* of free pages */
	uint32_t page_size;
};

/* What a checkpoint is, in "state". */
struct store_state {
	uint64_t vlsn; /* everything up to here is in it */
	int64_t time_ms; /* of that record */
	uint64_t keys; /* how many there are */
	uint64_t flush_vlsn; /* of the newest FLUSHALL ever */
	uint64_t next_chunk; /* id */
	uint64_t checkpoints; /* number of this one */
	uint64_t term; /* of that record */
	uint8_t group_uuid[16]; /* zeros if not known */
	uint32_t format; /* as read; 0 = there was no checkpoint yet */
};

struct store_db {
	MDB_env *env;
	int held; /* data.mdb, its writer's lock; 0 = none */
	const struct store_files *files; /* of store_db_open_same(), or NULL */
	MDB_dbi kv, chunks, due, slots, meta; /* due = 0: format 1 */
	struct store_head head;
	struct store_state state; /* as it was opened */
	uint32_t page_size;
	MDB_cursor *cursor; /* between put_begin and put_end, else NULL */
	uint64_t memory; /* for its owner to set: what writing may take in
			    bytes; 0 = as much as LMDB will */
	uint64_t heap_mark; /* see store_db_bound() */
};

struct store_term {
	uint64_t term, vlsn; /* from this VLSN on */
};

/* An item as found in the map; valid until its transaction ends. */
struct store_item {
	uint64_t vlsn;
	int64_t expire_ms;
	uint32_t len;
	const uint8_t *data; /* NULL: chunked */
	uint64_t chunk;
};

/*
 * Open data_dir/store at path. WRITE creates directory and files. 0 or
 * -errno: -ENOENT: there is none (READ); -EBADMSG: damaged; -EBUSY: another
 * process has it open to WRITE, a second later, too, or, to read, wrote it each
 * time that it was looked at: nothing is known of it then. why[] says what and
 * where, for the admin. Logs nothing.
 */
int store_db_open(struct store_db *db, const char *path,
    enum store_db_mode mode, uint64_t map_size, char *why, size_t why_size);
void store_db_close(struct store_db *db);
/*
 * The state of the store at path, read as bytes: nothing is mapped, locked or
 * believed, so that this is safe beside a writer of which nothing is known. 0
 * or -errno, as store_db_open() to NOLOCK; -EPROTO: of another version;
 * -ENODATA: data.mdb is empty. Likewise the term runs of the same commit, as
 * store_db_terms() gives them, if terms is not NULL: none (NULL, 0) if they
 * cannot be read, or believed.
 */
int store_db_peek(const char *path, struct store_state *out,
    struct store_term **terms, size_t *count);
/*
 * Make an empty data.mdb in the directory path, durably and whole: under
 * another name until both of its first pages are on disk, for one alone is
 * damage. 0 or -errno. Blocks.
 */
int store_db_make(const char *path, char *why, size_t why_size);
/* Which files are open. 0 or -errno. */
int store_db_files(const struct store_db *db, struct store_files *out);
/*
 * As store_db_open(), but of the files that the others of a running node have
 * open, and of no other; makes none. All of them agree through lock.mdb: with
 * another one a writer does not see the readers, nor a reader what is written.
 * files must stay. Also -EREMCHG: data.mdb is another one; -EIDRM: lock.mdb is
 * gone, or another one.
 */
int store_db_open_same(struct store_db *db, const char *path,
    enum store_db_mode mode, uint64_t map_size, const struct store_files *files,
    char *why, size_t why_size);
/* Does the path still lead to them? As store_db_open_same(). */
int store_db_same(const struct store_db *db);
/* Who has it open to write, as writers_of_file(). */
void store_db_writers(const char *path, char *buf, size_t buf_size);
/* LMDB's result as -errno; damage of any kind is -EBADMSG. */
int store_db_errno(int rc);

/*
 * All reads: 0, -ENOENT, -EBADMSG (a checksum or a shape is wrong); after
 * map_read_open() -EIO: the disk did not give it. The state of a store without
 * any checkpoint is all zeros.
 */
int store_db_state(
    const struct store_db *db, MDB_txn *txn, struct store_state *out);
int store_db_item(const struct store_db *db, MDB_txn *txn, const void *key,
    size_t key_len, struct store_item *out);
/* Check and decode an item that a cursor found. 0 or -EBADMSG. */
int store_item_decode(const void *key, size_t key_len, const void *data,
    size_t n, struct store_item *out);
/* Copy n bytes from `from` of a chunked value. 0 or -EBADMSG. */
int store_db_chunks(const struct store_db *db, MDB_txn *txn,
    const struct store_item *item, uint64_t from, size_t n, uint8_t *to);
/* VLSN of the slot's newest deletion, 0 = none. 0 or -EBADMSG. */
int store_db_slot(
    const struct store_db *db, MDB_txn *txn, uint32_t slot, uint64_t *vlsn);
/* Bytes of the file's pages that are in use. 0 or -errno. */
int store_db_used(const struct store_db *db, MDB_txn *txn, uint64_t *bytes);
/* Term runs, oldest first: *out is malloc()ed. 0 or -errno. */
int store_db_terms(const struct store_db *db, MDB_txn *txn,
    struct store_term **out, size_t *count);
/*
 * Keys in the order of (expire_ms, vlsn, key). store_db_due_next() goes from
 * *d, which need not be one of them (all zeros: the start), to the next. 0,
 * -ENOENT at the end, -EBADMSG.
 */
struct store_due {
	int64_t expire_ms;
	uint64_t vlsn;
	size_t key_len;
	uint8_t key[STORE_KEY_MAX];
};
int
store_db_due_next(const struct store_db *db, MDB_txn *txn, struct store_due *d);
/* How many keys have an item in the tree, which the empty one has not. */
int store_db_keys(const struct store_db *db, MDB_txn *txn, uint64_t *keys);
int store_db_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **c);
/* mdb_cursor_get(). After -EIO the cursor is good for closing only. */
int
store_db_cursor(MDB_cursor *c, MDB_val *key, MDB_val *data, MDB_cursor_op op);
/*
 * A key near a random place: cursor stands on it. 0, -ENOENT (empty),
 * -EBADMSG.
 */
int
store_db_random(MDB_cursor *c, uint64_t random, MDB_val *key, MDB_val *data);

/* ---- the writer ---- */

/*
 * From here on changed pages take some `memory` bytes in this process at most:
 * more of them are written to the file before the commit, which makes them
 * count as ever. 0 = as many as LMDB allows. Beyond it go: a page or two a
 * time, and for each 4 KiB that a transaction changes or frees 16 bytes.
 */
void store_db_bound(struct store_db *db, uint64_t memory);
/* Write out what is too much; each put does. 0 or -errno. */
int store_db_spill(struct store_db *db, MDB_txn *txn);
/*
 * store_db_put() of many keys in order is faster between these two: they keep
 * a cursor where the last key was. end: also before the transaction ends. 0 or
 * -errno.
 */
int store_db_put_begin(struct store_db *db, MDB_txn *txn);
void store_db_put_end(struct store_db *db);
/*
 * Set or delete (item = NULL) one key. item->data is the value; vlsn and
 * expire_ms as given. Keeps the count of st and takes chunk ids from it. 0 or
 * -errno (-ENOSPC: disk or map full).
 */
int store_db_put(struct store_db *db, MDB_txn *txn, struct store_state *st,
    const void *key, size_t key_len, const struct store_item *item);
int store_db_slot_put(
    struct store_db *db, MDB_txn *txn, uint32_t slot, uint64_t vlsn);
int store_db_state_put(
    struct store_db *db, MDB_txn *txn, const struct store_state *st);
int store_db_terms_put(struct store_db *db, MDB_txn *txn,
    const struct store_term *terms, size_t count);
/* FLUSHALL: no key, chunk or expiry is left. */
int store_db_empty(struct store_db *db, MDB_txn *txn, struct store_state *st);

/*
 * Make the present format of a store of format 1, in one transaction: what
 * was there before it, or all of it. Takes some db->memory bytes at most.
 * step() is called as it goes on. 0 or -errno. Blocks.
 */
int store_db_convert(struct store_db *db,
    void (*step)(void *arg, uint64_t done, uint64_t all), void *arg);

/*
 * Walk what can be walked in budget_ns: every item's checksum, chunks, order
 * of keys; the whole store if time allows, then also the counts, else random
 * places. 0 or -EBADMSG (why[] says where). A damaged tree can crash its
 * reader, so this is to be called in a process that may die.
 */
int store_db_verify(const struct store_db *db, uint64_t budget_ns,
    uint64_t seed, bool *whole, char *why, size_t why_size);
/*
 * store_db_verify() in a child process: a crash, or a walk that does not end,
 * is -EBADMSG, too. What could not be read, or looked at, is no damage: -EIO,
 * -ETIMEDOUT, -ENOMEM (also: it was killed) or what else the system said.
 * Blocks until that has ended.
 */
int store_db_verify_apart(const char *path, bool nolock, uint64_t budget_ns,
    char *why, size_t why_size);

#endif
