/*
 * The event loop of every worker: one io_uring, one submitter, one
 * io_uring_enter per turn. A turn is, always in this order: wait; now;
 * completions; stop word; the worker's turn(); timers; submit. The worker
 * sleeps only here, with its bell armed (shm/wake.h holds the protocol).
 */
#ifndef IPC_LOOP_H
#define IPC_LOOP_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/region.h"

#define LOOP_KINDS 16
#define LOOP_NEVER UINT64_MAX

/*
 * user_data = kind:8 | slot:24 | generation:32. slot and generation are the
 * worker's: an object's index and its life; a handler drops (and counts, with
 * loop_stale()) completions of an earlier life.
 */
static inline uint64_t
loop_tag(unsigned kind, uint32_t slot, uint32_t generation)
{
	return (uint64_t)kind << 56 | (uint64_t)(slot & 0xffffff) << 32 |
	       generation;
}

struct loop;

typedef void loop_handler(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t cqe_flags);

struct loop_hooks {
	/* Serve shared-memory inputs and queue work; every turn. */
	void (*turn)(void *ctx);
	/* Is there input that turn() would serve? Asked before sleeping. */
	bool (*pending)(void *ctx);
	/* CLOCK_MONOTONIC ns of the next timer, or LOOP_NEVER. */
	uint64_t (*deadline)(void *ctx);
};

struct loop {
	struct io_uring ring;
	struct region *region;
	struct bells *bells;
	unsigned slot; /* of the process */
	void *ctx;
	struct loop_hooks hooks;
	loop_handler *handler[LOOP_KINDS]; /* kind 0 is the loop's own */
	uint64_t now_ns; /* CLOCK_MONOTONIC, read once per turn */
	uint64_t bell_value;
	bool quit; /* set it to leave loop_run() */
	bool unready; /* do not sleep this turn: work is left over */
	bool relays, relaying; /* loop_relay_to(), loop_relay() */
	unsigned features; /* LOOP_HAS_… */
	uint64_t rung_told; /* of bells->rung, in C_BELLS */
};

enum {
	LOOP_HAS_BUF_RING = 1, /* provided buffer rings (5.19) */
	LOOP_HAS_RECV_MULTISHOT = 2, /* (6.0) */
	LOOP_HAS_DEFER_TASKRUN = 4 /* (6.1) */
};

/*
 * entries: SQ size; CQ is 4 times that. 0 or -errno; -EPERM is explained by
 * loop_refusal(). ctx and hooks stay the caller's.
 */
int loop_open(struct loop *l, struct region *r, struct bells *bells,
    unsigned slot, unsigned entries, void *ctx, const struct loop_hooks *hooks);
void loop_close(struct loop *l);
/* What keeps io_uring from us here, and what helps, for messages. */
const char *loop_refusal(int error);
void loop_on(struct loop *l, unsigned kind, loop_handler *handler);
/*
 * An SQE; a full queue is submitted first, so this only fails (NULL) if the
 * kernel takes nothing.
 */
struct io_uring_sqe *loop_sqe(struct loop *l);
void loop_stale(struct loop *l);
/* Until l->quit. 0 or -errno. */
int loop_run(struct loop *l);
/* One turn without sleeping: submit, reap, serve. For boot work. */
int loop_poll(struct loop *l);
/* Publish the heartbeat (long boot work calls it between its steps). */
void loop_beat(void *l);
/* The step of the shutdown bus that the supervisor has reached. */
static inline unsigned
loop_shutdown(const struct loop *l)
{
	return atomic_load_explicit(
	    &l->region->seq->shutdown, memory_order_acquire);
}
/*
 * While relayed, every completion of this ring rings the bell of `slot`, too,
 * in the kernel: it wakes up beside this process instead of after it. It may
 * look before there is anything to see, so it is rung as ever when there is.
 * loop_relay_to() begins with it off; 0 or -errno. One slot only.
 */
int loop_relay_to(struct loop *l, unsigned slot);
void loop_relay(struct loop *l, bool on);
/* This worker has done its part up to `step`: wakes the supervisor. */
void loop_drained(struct loop *l, unsigned step);

#endif
