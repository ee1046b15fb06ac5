/*
 * Slots: one per process of a node. A slot, its rings and its place in every
 * table outlive the process that fills it; an incarnation counts the fillers.
 */
#ifndef SHM_SLOTS_H
#define SHM_SLOTS_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/bits.h"

#define GATEWAY_MAX 16

/* Explicit numbers: they stand in records' origins and in the region. */
enum slot {
	SLOT_SUPERVISOR = 0,
	SLOT_WAL = 1,
	SLOT_VLSN = 2,
	SLOT_STORE = 3,
	SLOT_CHECKPOINT = 4,
	SLOT_GROUP = 5,
	SLOT_HEALTH = 6,
	SLOT_RESTORE = 7,
	SLOT_GATEWAY = 8, /* the first of GATEWAY_MAX */
	SLOT_MAX = SLOT_GATEWAY + GATEWAY_MAX
};

enum slot_state {
	SLOT_EMPTY = 0, /* no process wanted here */
	SLOT_STARTING = 1, /* forked, opening done or under way */
	SLOT_RUNNING = 2, /* in its loop */
	SLOT_STOPPING = 3, /* asked to stop */
	SLOT_EXITED = 4, /* reaped, nobody follows (yet) */
	SLOT_BACKOFF = 5 /* reaped, a restart is timed */
};

/* One process' row; all lock-free. */
struct slot_row {
	_Alignas(CACHE_LINE) _Atomic uint32_t state; /* W: supervisor, worker
							(RUNNING). R: all */
	_Atomic int32_t pid; /* W: supervisor. R: all */
	_Atomic uint32_t incarnation; /* W: supervisor before fork. R: all */
	_Atomic uint32_t restarts; /* W: supervisor. R: tools */
	_Atomic int32_t last_status; /* W: supervisor, waitpid status of
					the last exit. R: tools */
	_Atomic uint32_t drained; /* W: worker, shutdown step done.
				     R: supervisor */
	_Atomic uint64_t started_ns; /* W: supervisor, CLOCK_MONOTONIC */
	_Atomic uint64_t restart_at_ns; /* W: supervisor, 0 = none timed */
	_Atomic uint64_t held_locks; /* W: worker, bit per lock number.
					R: supervisor */
	uint8_t pad[16]; /* zero */
	_Alignas(CACHE_LINE) _Atomic uint64_t heartbeat_ns; /* W: worker, each
					    loop turn. R: supervisor, health */
	_Atomic uint64_t turns; /* W: worker, loop turns */
	_Atomic uint64_t sleeps; /* W: worker, times it slept */
	_Atomic uint32_t busy_with; /* W: worker: an enum busy: what it is
				       held back by. R: tools */
	_Atomic int32_t no_fd_error; /* W: gateway, errno of the last accept
					that failed, at: */
	_Atomic uint64_t no_fd_ns; /* W: gateway, 0 = none did.
				      R: supervisor */
	_Atomic uint64_t write_ns; /* W: gateway, since when it owes the oldest
				      of its writes an answer; 0 = none.
				      R: health */
	uint8_t pad2[16]; /* zero */
};
_Static_assert(sizeof(struct slot_row) == 2 * CACHE_LINE, "two lines");

/* What a worker waits for when it is held back (back-pressure). */
enum busy {
	BUSY_NOT = 0,
	BUSY_BUFFER = 1, /* wal: the WAL buffer is full */
	BUSY_RETURN = 2, /* wal: a client's return ring is full */
	BUSY_TABLE = 3, /* store: both table generations are full; gateway: so
			   full that writes wait for the checkpoint */
	BUSY_RESULT = 4, /* store: a gateway's result ring is full */
	BUSY_REQUEST = 5, /* gateway: its request ring is full */
	BUSY_SPACE = 6, /* wal: no space on the disk */
	BUSY_BOOT = 7, /* waiting for a boot phase */
	BUSY_MEMORY = 8, /* wal: /dev/shm has none for the WAL buffer; store:
			    nor for the table, or it has no heap */
	BUSY_LOG = 9, /* store: the log cannot be read */
	BUSY_MAX
};

struct slots {
	struct slot_row row[SLOT_MAX];
};

/* "wal", "gateway0", …; "slot?" for a number that is none. */
const char *slot_name(unsigned slot);
const char *slot_state_name(unsigned state);
const char *busy_name(unsigned busy);

#endif
