/*
 * The store worker: applies committed records to the table, tells clients
 * what that gave, deletes what expired, freezes generations for checkpoint.
 * The model is in README.md. One process, one thread, one struct store.
 */
#ifndef WORKERS_STORE_STORE_H
#define WORKERS_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include "ipc/loop.h"
#include "shm/log/cursor.h"
#include "shm/position.h"
#include "shm/request.h"
#include "workers/store/apply.h"
#include "workers/worker.h"

#define STORE_BATCH_RECORDS 1024 /* at most, between two publishings */
#define STORE_BATCH_NS      (2 * NS_PER_MS)
#define EXPIRY_FLIGHT       1000 /* deletions asked for, not yet in the log */
#define EXPIRY_NS           NS_PER_MS /* of each turn, for looking what is due */

/* ---- expiry: store_expiry.c ---- */

struct expiry_due {
	int64_t expire_ms;
	uint32_t off; /* in its generation's arena; 0 = it is on disk */
	uint32_t number; /* low bits of the generation's number */
};

/*
 * Min-heap over one generation's entries that have an expiry: 16 bytes for
 * each, which is 40 or more in the arena, so at most 2/5 of what that holds.
 */
struct expiry_heap {
	struct expiry_due *due;
	uint32_t count, cap;
	int64_t lost_ms; /* first that there was no memory for; 0 = none */
};

struct expiry {
	struct expiry_heap heap[2]; /* by parity of the generation's number */
	/*
	 * On disk all up to here were asked for, or were no longer what they
	 * are there. It goes back only as far as something is to be asked for.
	 */
	struct store_due disk;
	int64_t disk_ms; /* next one on disk; 0 = look, INT64_MAX = none */
	/* Asked for and not yet answered, in order. */
	struct expiry_due flight[EXPIRY_FLIGHT];
	uint32_t flight_head, flight_count;
	uint32_t seq; /* of the next request */
	uint64_t retry_ns; /* not before; after a refusal */
	uint64_t term; /* the mastership that asked last; 0 = none has */
	struct bytering request, ret;
};

/* ---- counting keys: store_count.c ---- */

struct count {
	uint64_t number; /* generation being walked */
	uint64_t off; /* next entry in its arena */
	uint64_t keys; /* up to there */
	uint64_t vlsn; /* of the entry before */
	uint64_t retry_ns; /* not before */
};

/* ---- results: store_result.c ---- */

struct result {
	struct vbuf values; /* of the record being applied, or waiting */
	uint64_t sent; /* bytes of it that are in the ring */
	uint64_t origin, vlsn;
	bool waits; /* the ring is full */
};

struct store {
	struct worker *w;
	struct region *r;
	struct loop loop;
	struct kv *kv;
	struct table_writer table;
	struct apply apply;
	struct cursor *cursor;
	int wal_dir;
	bool opened; /* kv and table are there */
	bool serving; /* the boot's checks have passed */
	bool replaying; /* data_groups_replay is not yet fired */
	bool seek; /* the cursor is to be placed first */
	bool failed; /* cannot go on; the supervisor was told */
	uint64_t applied;
	uint64_t replay_to; /* VLSN that ends the replay */
	uint64_t replay_from;
	uint64_t skipped; /* force: VLSN that a checkpoint must come to before
			     the node serves; 0 = nothing was skipped */
	uint64_t replay_ns; /* when it began */
	uint64_t term; /* of the newest record */
	uint64_t wal_bytes; /* records' bytes since the last freeze */
	uint32_t wanted_seen; /* control.checkpoint_wanted at the freeze */
	uint32_t died_seen; /* table_head.readers_died */
	/* Parts of a payload that is not whole yet. */
	struct vbuf parts;
	uint64_t parts_origin; /* slot and incarnation; 0 = none */
	bool parts_over; /* they are too long, and were dropped */
	struct result result;
	uint32_t ring_gateways; /* bit per gateway that has new results */
	struct bytering results[CLIENT_MAX];
	struct expiry expiry;
	struct count count;
	uint64_t flushed_told; /* VLSN, to checkpoint */
	bool over; /* the file has what [store] map_size allows */
	enum busy busy;
	uint32_t beats; /* counts: so much work has been done */
	struct histogram *h_apply, *h_records;
};

/* ---- store_apply.c ---- */

/* Newest VLSN that may be applied: min(committed, durable). */
uint64_t store_limit(const struct store *s);
/* Apply what is there, one batch. True if more is left that can go on. */
bool store_apply_batch(struct store *s);
/* Why the store does not go on, for tools; says so once. */
void store_busy(struct store *s, enum busy busy);
/* Show how far apply is, and wake who waits for that. */
void store_publish(struct store *s);
/* The machine has no memory for the table; for a payload. Said once. */
void store_no_memory(struct store *s);
void store_no_heap(struct store *s);
/*
 * Something is broken for good: boot fails, or the node boots again. Sets
 * failed and ends the loop.
 */
__attribute__((format(printf, 2, 3))) void
store_fail(struct store *s, const char *fmt, ...);

/* ---- store_freeze.c ---- */

/* Freeze, drop, leave: what is due. True if something changed. */
bool store_freeze_turn(struct store *s);
/* May the next record be applied, as far as the table's room goes? */
bool store_has_room(struct store *s);
/* And this one, which may take its bound? */
bool store_has_room_for(const struct store *s, const struct record *rec);
/* Is one waiting for checkpoint? */
bool store_is_frozen(const struct store *s);
/* Is a generation waiting for its readers to leave? (then: a timer) */
bool store_is_leaving(const struct store *s);
/*
 * Let go of a generation that is on disk, for checkpoint to give its memory
 * back, also between two operations of a record: what was found in it before
 * is void. True if something changed.
 */
bool store_let_go(struct store *s);
/* Has the active generation its share, and can it be frozen? */
bool store_freeze_is_due(const struct store *s);
/* Would store_freeze_turn() do something? */
bool store_freeze_pending(const struct store *s);

/* ---- store_full.c ---- */

/* How much room there is decides what is taken of writes. */
void store_full_turn(struct store *s);
/* positions.room, before what takes of it is shown as applied. */
void store_room_publish(struct store *s);
/* Is a checkpoint due, for it to be known how much room there is? */
bool store_full_wants_freeze(const struct store *s);

/* ---- store_read.c ---- */

/* The file could not be read: that stands now. */
void store_read_failed(struct store *s);
/* The same, and a pause: kv.unreadable. False: the node stops. */
bool store_read_again(void *ctx);
/* What of the log could not be read, as a path into buf. Returns buf. */
const char *store_log_path(const struct store *s, char *buf, size_t size);
/* That stands now. */
void store_log_failed(struct store *s, int error);
/* What gateways met; and the end of it. */
void store_read_turn(struct store *s);
uint64_t store_read_deadline(const struct store *s);

/* ---- store_result.c ---- */

void store_result_open(struct store *s);
/* Does anybody get this record's result? */
bool store_result_wanted(const struct store *s, const struct record *rec);
/* Send what s->result holds; false if the ring is full. */
bool store_result_send(struct store *s);
/* Has a full ring got room? */
bool store_result_pending(const struct store *s);
void store_ring_gateways(struct store *s, bool all);

/* ---- store_count.c ---- */

void store_count_open(struct store *s, uint64_t keys);
/* Walk on until the end or the deadline. True if it is at the end. */
bool store_count_walk(struct store *s, uint64_t deadline_ns);
/* Up to the operation being applied (apply_hooks). */
int store_count_now(void *ctx);

/* ---- store_expiry.c ---- */

void store_expiry_open(struct store *s);
/* apply_hooks: an entry that expires. */
void store_expiry_timed(void *ctx, int64_t expire_ms, uint32_t off);
/* A generation is now on disk. */
void store_expiry_dropped(struct store *s, uint64_t number);
/* Keys due at ms or later were asked for too early: they are looked for again.
 */
void store_expiry_again(struct store *s, int64_t ms);
/*
 * Take answers of wal, ask for what is due. True if the deadline (CLOCK_
 * MONOTONIC) came first: there is more to look at.
 */
bool store_expiry_turn(struct store *s, uint64_t deadline_ns);
bool store_expiry_pending(struct store *s);
/* CLOCK_MONOTONIC ns of the next due key, or LOOP_NEVER. */
uint64_t store_expiry_deadline(const struct store *s);
void store_expiry_close(struct store *s);

#endif
