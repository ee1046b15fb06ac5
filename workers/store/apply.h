/*
 * Applying records to the table. What a record changes is decided by the
 * record alone (its time, its VLSN, its bytes) and by the state that the
 * records before it left, so that replicas are equal. No clock, no
 * configuration.
 */
#ifndef WORKERS_STORE_APPLY_H
#define WORKERS_STORE_APPLY_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/kv/kv_int.h"
#include "shm/kv/op.h"
#include "shm/kv/value.h"
#include "shm/log/record.h"

struct apply_hooks {
	/* An entry with an expiry was made, at this arena offset. */
	void (*timed)(void *ctx, int64_t expire_ms, uint32_t off);
	/* The machine has no memory for the operation at hand, which has
	   changed nothing yet and begins anew when this returns: wait, maybe
	   let a generation go. 0, or -errno to give up (nothing of the record
	   has become visible). */
	int (*no_memory)(void *ctx);
	/* Bring table_head.count up to the operation being applied. */
	int (*count_now)(void *ctx);
};

struct apply {
	struct kv *kv; /* kv_set_writer() was called */
	struct table_writer *w;
	struct apply_hooks hooks;
	void *ctx;
	size_t result_max; /* bytes of one record's answers; 0 = any */
	/* Of the record being applied. */
	uint64_t vlsn;
	int64_t time_ms;
	uint64_t bound; /* bytes of the arena that it may take */
	uint64_t bytes; /* that it took */
	bool older; /* of a release that had no bounds */
	bool want; /* somebody reads the result */
	struct vbuf *out;
	/* Of the operation: bytes of the arena that it asked for. */
	uint64_t asked;
	/* Kept over records. */
	struct vbuf unread;
	uint64_t expired; /* keys deleted by expiry so far */
	int64_t early_ms; /* first that was to be, and lived; 0 = none did */
	uint64_t malformed; /* payloads that did not decode so far */
};

/* What a key is before an operation changes it. */
struct apply_key {
	const uint8_t *key;
	size_t len;
	bool live; /* there, and not expired at the record's time */
	bool existed; /* there, expired or not; meaningless if !known */
	bool known;
	struct kv_item item; /* if existed */
	struct table_place at;
};

/*
 * Apply the operations of one REC_OP or REC_MULTI (its whole payload is given)
 * and show them to readers. Results are appended to out; NULL: nobody wants
 * them; those that find no place are errors, the changes stand. A payload that
 * does not decode changes nothing and is counted. 0; -EBADMSG: the store on
 * disk is damaged; what no_memory() gave up with. After an error the store
 * cannot go on.
 */
int apply_record(struct apply *a, const struct record *rec,
    const uint8_t *payload, size_t n, struct vbuf *out);
/* A record without operations: only its VLSN and time are seen. */
void apply_nothing(struct apply *a, uint64_t vlsn, int64_t time_ms);
void apply_free(struct apply *a);

/* ---- for the operations (apply_op.c, apply_number.c) ---- */

int apply_op(struct apply *a, const struct op *op);
/*
 * Find a key. deep: look on disk, too; else it may stay unknown. 0 or -errno.
 */
int apply_find(
    struct apply *a, const struct op_arg *key, bool deep, struct apply_key *k);
/*
 * Memory for an entry of this key, or for its deletion. An operation that
 * changes one key need not ask, apply_put() and apply_delete() do; one that
 * changes several asks for all of them before its first change. 0; -EFBIG:
 * together they are beyond what the record may take; -ENOSPC: the machine has
 * no memory now. Both are to be returned, nothing being changed.
 */
int apply_ask(struct apply *a, const struct op_arg *key, uint64_t value_len);
int apply_ask_delete(struct apply *a, const struct op_arg *key);
/*
 * Begin an entry of value_len bytes, to be filled at *value; then
 * apply_put_end(). 0; -EFBIG and -ENOSPC as apply_ask().
 */
int apply_put(struct apply *a, const struct apply_key *k, uint64_t value_len,
    int64_t expire_ms, uint8_t **value, struct table_entry **e);
void apply_put_end(
    struct apply *a, const struct apply_key *k, struct table_entry *e);
/* A whole value at once. */
int apply_set(struct apply *a, const struct apply_key *k, const void *value,
    size_t n, int64_t expire_ms);
int apply_delete(struct apply *a, const struct apply_key *k);
/* Everything goes. 0, -EFBIG, -ENOSPC. */
int apply_flush(struct apply *a);
/* The old value as a bulk, nil if it is not there. */
int apply_reply_value(struct apply *a, const struct apply_key *k);

/* Redis' strict integers: no blanks, no leading zeros. */
bool number_parse(const uint8_t *text, size_t n, int64_t *out);
#define NUMBER_TEXT_MAX 24
size_t number_print(int64_t v, char text[NUMBER_TEXT_MAX]);
bool float_parse(const uint8_t *text, size_t n, long double *out);
#define FLOAT_TEXT_MAX 5120
/* As INCRBYFLOAT prints: 17 digits behind the point, no zeros at the end. */
size_t float_print(long double v, char text[FLOAT_TEXT_MAX]);

#endif
