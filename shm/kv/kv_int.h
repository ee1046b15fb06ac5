/*
 * What the files of kv share with each other and with the store worker, which
 * reads through the same code, but sees the record it is applying.
 */
#ifndef SHM_KV_KV_INT_H
#define SHM_KV_KV_INT_H

#include "shm/kv/kv.h"
#include "shm/kv/store_db.h"
#include "shm/kv/table.h"

#define KV_SNAP_NEWEST UINT64_MAX
#define KV_VIEW_NONE   UINT64_MAX
#define KV_TRIES                                                               \
	1000 /* restarts of a read; each needs a FLUSHALL or a                 \
		freeze right within it */

struct kv {
	struct region *r;
	struct table_head *t;
	unsigned slot;
	bool in; /* between begin and end */
	bool renewed; /* txn is live */
	bool held; /* snap stays where kv_hold() put it */
	bool on_disk; /* kv_was_on_disk() */
	bool (*over)(void *arg); /* kv_set_over(); NULL = never */
	void *over_arg;
	struct table_writer *writer; /* store only, else NULL */
	struct store_db db;
	MDB_txn *txn;
	uint64_t view; /* as pinned */
	uint64_t snap; /* VLSN up to which records are seen */
	/* Who works long says that it lives; NULL = its turns are short. */
	void (*beat)(void *ctx);
	void *beat_ctx;
	uint32_t work; /* since the last beat */
	/*
	 * The disk does not give what is to be read: wait, and say so. True:
	 * try again. NULL: who asks is told. The store's.
	 */
	bool (*unreadable)(void *ctx);
};

/* The store cannot do without: it tries again. */
#define KV_READ(kv, rc, call)                                                  \
	do                                                                     \
		(rc) = (call);                                                 \
	while ((rc) == -EIO && (kv)->unreadable != NULL &&                     \
	       (kv)->unreadable((kv)->beat_ctx))

/*
 * Work was done that may go on for long. In units of about a microsecond; what
 * may have waited for the disk counts as KV_WORK_DISK.
 */
#define KV_WORK_BEAT 256u
#define KV_WORK_DISK 32u
static inline void
kv_work(struct kv *kv, unsigned units)
{
	if (kv->beat == NULL || (kv->work += units) < KV_WORK_BEAT)
		return;
	kv->work = 0;
	kv->beat(kv->beat_ctx);
}
/* With each look at the disk: it is known to who beats and who takes turns. */
static inline void
kv_note_disk(struct kv *kv)
{
	kv->on_disk = true;
	kv_work(kv, KV_WORK_DISK);
}

/* A key as found: item is set as far as known also for deleted ones. */
enum kv_where { KV_NOWHERE, KV_ACTIVE, KV_FROZEN, KV_DISK };

/*
 * Look at the key as of kv->snap, in the pinned view. 0 (live), -ENOENT,
 * -EAGAIN (take a newer snapshot), -EBADMSG. *where: what decided it.
 */
int kv_lookup(struct kv *kv, const void *key, size_t key_len,
    struct kv_item *out, enum kv_where *where);
/* In the tables only: -ENODATA if only the disk can tell. */
int kv_lookup_table(struct kv *kv, const void *key, size_t key_len,
    uint32_t hash, struct kv_item *out, enum kv_where *where);
int kv_lookup_disk(
    struct kv *kv, const void *key, size_t key_len, struct kv_item *out);
/* The same, and -EIO at once. */
int kv_try_disk(
    struct kv *kv, const void *key, size_t key_len, struct kv_item *out);
/*
 * Make the pinned view the present one and take the newest snapshot. Pointers
 * into the map are void. 0 or -errno.
 */
int kv_refresh(struct kv *kv);
/*
 * The store: reads see what the writer has applied, published or not. Its
 * view changes only by its own doing; it calls kv_renew() after that.
 */
void kv_set_writer(struct kv *kv, struct table_writer *w);
int kv_renew(struct kv *kv);
/* Redis' rule: a key is gone once the time is past its expiry. */
static inline bool
kv_expired(const struct kv_item *item, int64_t now_ms)
{
	return item->expire_ms != 0 && now_ms > item->expire_ms;
}
/* After a look at the disk, within a walk: is it to stop? */
static inline bool
kv_over(struct kv *kv)
{
	return kv->on_disk && kv->over != NULL && kv->over(kv->over_arg);
}
/* kv_scan.c: all live keys of the pinned snapshot, each once. */
int kv_each(struct kv *kv, int64_t now_ms,
    bool (*each)(void *arg, const void *key, size_t key_len), void *arg);
/*
 * Some live key; -ENOENT if there is none; -EBUSY, but not for the store:
 * it would take a long walk. Copied to key[].
 */
int kv_random(
    struct kv *kv, int64_t now_ms, uint8_t key[KEY_MAX + 1], size_t *key_len);

#endif
