/*
 * When to flush: the group commit rule as a pure function. Where nothing is in
 * flight a record is flushed at once. What arrives during a flush goes into the
 * next one, which begins when that flush has ended, or beside it if there are
 * many bytes. A flush that ends inside a block has that block written again by
 * the next one, so none begins beside it: no block is ever written by two at a
 * time.
 */
#ifndef WORKERS_WAL_PLAN_H
#define WORKERS_WAL_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define FLIGHT_MAX       4
#define PLAN_CLOSE_BYTES (64u * 1024) /* so much waits: close with a pad */

struct plan_in {
	uint32_t flights; /* in flight now */
	uint64_t flight_bytes; /* theirs */
	bool last_closed; /* the newest of them ends on a block */
	uint64_t waiting; /* bytes of the open batch, 0 = none */
	uint32_t block;
	bool must_close; /* the batch or the segment is full */
};

enum plan_action {
	PLAN_WAIT,
	PLAN_FLUSH, /* up to the last record */
	PLAN_FLUSH_CLOSED /* padded to the block's end */
};

enum plan_action wal_plan(const struct plan_in *in);

/* One write's life, as its completions tell it. */
enum flight_state {
	FLIGHT_FREE,
	FLIGHT_WRITING, /* write submitted; a sync behind it if buffered */
	FLIGHT_SYNCING, /* written in full, its sync is awaited */
	FLIGHT_DONE, /* durable, waits for the flights before it */
	FLIGHT_FAILED
};

enum flight_verdict {
	FLIGHT_GO_ON, /* wait for the other completion */
	FLIGHT_REWRITE, /* submit what is left once more */
	FLIGHT_SYNC, /* submit the sync once more */
	FLIGHT_DURABLE,
	FLIGHT_LOST /* final: no retry of a failed write or flush */
};

/*
 * A write's completion: res of `left` bytes asked for. buffered: durable only
 * by the sync that is linked to it; that is cancelled if the write is short.
 */
enum flight_verdict
wal_flight_written(int res, uint32_t left, uint32_t block, bool buffered);
/* A sync's completion; written: the write before it was complete. */
enum flight_verdict wal_flight_synced(int res, bool written);

#endif
