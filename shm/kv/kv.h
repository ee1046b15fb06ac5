/*
 * Reading the store: the table's active generation, then its frozen one, then
 * LMDB's map. Used by gateways (reads) and by the store itself (the old value
 * of what it changes). A reader never blocks the store and is never blocked.
 *
 * Between kv_begin() and kv_end() a reader is in one table epoch and one LMDB
 * read transaction: generations it may look at are not reused. A gateway does
 * this once per loop turn, never over a submit or a send; a reader that a
 * generation waits for is killed by the supervisor after 2 s.
 */
#ifndef SHM_KV_KV_H
#define SHM_KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/kv/op.h"
#include "shm/kv/value.h"

struct region;
struct kv;

/* One key's state as found. */
struct kv_item {
	uint64_t vlsn; /* of its last change */
	int64_t expire_ms; /* 0 = none */
	uint64_t len; /* of the value */
	const uint8_t *data; /* contiguous value, or NULL: it is in chunks */
	uint64_t chunk; /* chunked: where (kv_copy() knows) */
};

/*
 * store_dir: path of data_dir/store. Call after the store has reached
 * cluster_catalog_open. readonly recovery: the environment is opened without
 * its lock file. 0 or -errno; *out is the caller's. -EBUSY: it was written
 * each time that it was looked at.
 */
int kv_open(struct kv **out, struct region *r, const char *store_dir,
    unsigned slot, bool readonly_recovery);
void kv_close(struct kv *kv);
/*
 * A look at the disk takes as long as the disk does. kv_was_on_disk(): was
 * there one since this was asked last? over(arg), if set, is asked after each
 * one inside a walk: if it says so, kv_scan() stops there, and OP_KEYS and
 * OP_RANDOMKEY give -EBUSY.
 */
void kv_set_over(struct kv *kv, bool (*over)(void *arg), void *arg);
bool kv_was_on_disk(struct kv *kv);
int kv_begin(struct kv *kv); /* 0 or -errno; cheap (renews a transaction) */
void kv_end(struct kv *kv);

/*
 * Each kv_get(), kv_watch(), kv_read() and kv_scan() sees all that is applied
 * when it is called; what one gave (items) is void with the next.
 *
 * The key as of now, expired ones included if now_ms = 0, else hidden.
 * 0, -ENOENT, or -errno (a damaged chunk: -EBADMSG). Inside begin/end.
 */
int kv_get(struct kv *kv, const void *key, size_t key_len, int64_t now_ms,
    struct kv_item *out);
/* Copy n value bytes from `from`. 0 or -EBADMSG. */
int kv_copy(struct kv *kv, const struct kv_item *item, uint64_t from, size_t n,
    void *to);
/* Bytes of a long value that one look at where it is gives. */
uint64_t kv_piece(const struct kv *kv, const struct kv_item *item);
/* GETRANGE's clamping of start and end; false: the range is empty. */
bool kv_range(int64_t *start, int64_t *end, int64_t len);
/*
 * VLSN that a later change of the key is sure to exceed: the key's own, or,
 * if it does not exist, its slot's last deletion. For WATCH.
 */
uint64_t kv_watch(struct kv *kv, const void *key, size_t key_len);
/*
 * Is a key no longer as kv_watch() gave `watched`? 1, 0, or -errno (damage).
 * One that expired by now_ms has changed, its deletion logged or not.
 */
int kv_changed(struct kv *kv, const void *key, size_t key_len, uint64_t watched,
    int64_t now_ms);

/*
 * Run a reading operation (op_writes() false) at time now_ms and append its
 * value to out. Each sees one moment: the state after a whole number of
 * records. 0 or -errno (-EBADMSG damage, -ENOMEM), and out is as it was. OP_
 * DBSIZE gives -EAGAIN while positions.resolved is behind positions.applied:
 * the store is counting; it rings all gateways when it is done: try again
 * then. OP_RANDOMKEY gives -EBUSY when nearly all keys that it comes upon are
 * deleted ones: kv_scan() finds one bit by bit. Begins and ends by itself if
 * the caller has not.
 */
int
kv_read(struct kv *kv, const struct op *op, int64_t now_ms, struct vbuf *out);
/* Changes, always upward, with each record that is applied; even. */
uint64_t kv_sequence(struct kv *kv);

/*
 * A moment that is read in more than one begin, bit by bit: all that is read
 * until kv_release() or kv_end() is the state after one and the same record.
 * kv_hold() with a zero moment takes the newest and notes it; with one noted
 * before it goes back there. -EAGAIN, of kv_hold() or a read: a generation
 * came or went since, or a FLUSHALL hides what was there; nothing of that
 * moment can be read any more, and the reader starts anew with a zero one.
 * Inside begin/end; kv_scan() moves on whatever is held. 0 or -errno.
 */
struct kv_moment {
	uint64_t view, snap; /* view + 1; 0 = none yet */
};
int kv_hold(struct kv *kv, struct kv_moment *m);
void kv_release(struct kv *kv);

/*
 * One step of SCAN: calls each() for about `count` keys (live ones only) and
 * moves the position. It goes over a few dozen entries at most, deleted ones
 * included, so a caller who has time and too few keys calls again; it skips
 * places that a FLUSHALL hides. {0} starts; done = true when it is over. Keys
 * move only active -> frozen -> LMDB, which is the order of the visit, so no
 * key that exists all along is missed; repeats are possible. `pos` is plain
 * data the caller keeps (its key part may be KEY_MAX bytes).
 */
struct kv_scan {
	uint8_t stage;
	uint8_t done;
	uint16_t key_len;
	uint32_t zero;
	uint64_t generation;
	uint64_t bucket;
	uint8_t key[KEY_MAX + 1];
};
int kv_scan(struct kv *kv, struct kv_scan *pos, unsigned count, int64_t now_ms,
    void (*each)(void *arg, const void *key, size_t key_len), void *arg);

#endif
