/* What the files of store_db share; see store_db.h. */
#ifndef SHM_KV_STORE_DB_INT_H
#define SHM_KV_STORE_DB_INT_H

#include "shm/kv/store_db.h"

/* At most; of lock.mdb. */
#define STORE_READERS 126
/* So often are files looked at, and opened, that a writer outruns. */
#define STORE_OPENS_MAX 3
/* At most; of data.mdb. */
#define STORE_DBS 8
/*
 * Databases are made in one commit, before there is a state; "due" in one more
 * for files of format 1.
 */
#define STORE_EMPTY_COMMITS 2

/*
 * Before LMDB opens data.mdb: can what its meta pages say be true, and are the
 * pages sound where its trees begin? 0, -EBADMSG with
 * why[], or -errno. No file, or an empty one: 0, and all zeros. -EAGAIN: it was
 * written meanwhile, each time that it was looked at.
 */
int
store_db_head(const char *path, struct store_head *out, char *why, size_t n);

/*
 * Behind it, of the same commit: is each page of it in use once, or free once,
 * and is each tree what its head says? 0; -EBADMSG with why[]; -ETIME: what was
 * read until then is right; or -errno.
 */
int store_db_marks(int fd, const struct store_head *head, uint64_t deadline_ns,
    char *why, size_t why_size);

/*
 * Is data.mdb, and if asked lock.mdb, an ordinary file, or nothing? 0; -EISDIR
 * or -EINVAL: name is of the first that is not.
 */
int store_files_kind(const char *path, bool lock, char *name, size_t n);
/*
 * Before LMDB opens the files at path: are they those that are to be opened?
 * To write, they are held, and made if none are given. 0 or -errno, as
 * store_db_open_same().
 */
int store_files_find(struct store_db *db, const char *path, bool write);
/* Behind it: is what is open what was looked at? */
int store_files_opened(const struct store_db *db, const char *path);
/* The database and the key of an item (the empty key stands elsewhere). */
MDB_dbi store_item_place(
    const struct store_db *db, const void *key, size_t key_len, MDB_val *out);
uint32_t
store_item_crc(const void *key, size_t key_len, const uint8_t *data, size_t n);
void store_chunk_key(uint8_t at[CHUNK_KEY_SIZE], uint64_t id, uint32_t index);
uint32_t store_chunk_crc(const uint8_t *key, const uint8_t *data, size_t n);
/*
 * The entry "state" of "meta". 0, -EBADMSG, or -EPROTO: of a format that is not
 * known, nothing else of *out counts.
 */
int store_state_decode(const void *data, size_t n, struct store_state *out);
/*
 * The entry "terms" of "meta": a checksum, then (term, VLSN) of each run. One
 * of n bytes that is sound has n / 16 of them.
 */
bool store_terms_sound(const void *data, size_t n);
void store_terms_decode(const void *data, struct store_term *out, size_t count);
/* The data of one chunk, in the map: its length must be exactly `want`. */
int store_chunk_get(const struct store_db *db, MDB_txn *txn, uint64_t id,
    uint32_t index, size_t want, const uint8_t **data);
/* Data bytes of a full chunk. */
uint32_t store_chunk_size(const struct store_db *db);
/*
 * Key and value of a key's entry in "due", in `at` or where `key` is. (LMDB has
 * no empty values beside others.)
 */
void store_due_place(uint8_t at[DUE_KEY_SIZE + 1], int64_t expire_ms,
    uint64_t vlsn, const void *key, size_t key_len, MDB_val *k, MDB_val *v);
void store_slot_key(uint8_t at[2], uint32_t slot);
uint32_t store_slot_crc(const uint8_t key[2], const void *data);
MDB_val store_name(const char *name);

#define STORE_KV_NAME     "kv"
#define STORE_CHUNKS_NAME "chunks"
#define STORE_STATE_NAME  "state"
#define STORE_TERMS_NAME  "terms"
#define STORE_EMPTY_NAME  "empty"

#endif
