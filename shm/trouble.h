/*
 * Troubles: what stands in the node's way now. Each kind has one row in the
 * region, written by one worker, so that the screen, the pages and the metrics
 * tell the same, for as long as it lasts; its beginning and its end are events
 * and log lines. README.md, "Troubles".
 */
#ifndef SHM_TROUBLE_H
#define SHM_TROUBLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/bits.h"
#include "shm/fault.h"
#include "shm/slots.h"

/* What a trouble stops; else it is a warning. */
enum trouble_stops { STOPS_NOTHING = 0, STOPS_WRITES = 1, STOPS_READS = 2 };

/* X(NAME, "name", writer's slot, what it stops) */
#define TROUBLES(X)                                                            \
	/* A log write or flush failed: the log is closed */                   \
	X(LOG_FAILED, "log_failed", SLOT_WAL, STOPS_WRITES)                    \
	/* A log flush makes no progress */                                    \
	X(LOG_STALLED, "log_stalled", SLOT_SUPERVISOR, STOPS_WRITES)           \
	/* data_dir's path leads no more to what is written */                 \
	X(DATA_DIR, "data_dir", SLOT_WAL, STOPS_WRITES)                        \
	/* The log has no room for segments */                                 \
	X(LOG_FULL, "log_full", SLOT_WAL, STOPS_WRITES)                        \
	/* No further segment can be made */                                   \
	X(LOG_SPACE, "log_space", SLOT_WAL, STOPS_NOTHING)                     \
	/* /dev/shm has no memory for the log buffer */                        \
	X(LOG_MEMORY, "log_memory", SLOT_WAL, STOPS_WRITES)                    \
	/* Term and vote cannot be stored */                                   \
	X(STATE_FAILED, "state_failed", SLOT_GROUP, STOPS_WRITES)              \
	/* The store cannot take more */                                       \
	X(STORE_FULL, "store_full", SLOT_STORE, STOPS_WRITES)                  \
	/* /dev/shm has no memory for the table */                             \
	X(STORE_MEMORY, "store_memory", SLOT_STORE, STOPS_WRITES)              \
	/* The store's file cannot be read */                                  \
	X(STORE_FAILED, "store_failed", SLOT_STORE, STOPS_NOTHING)             \
	/* Checkpoints fail */                                                 \
	X(CHECKPOINT_FAILED, "checkpoint_failed", SLOT_CHECKPOINT,             \
	    STOPS_NOTHING)                                                     \
	/* The VLSN index cannot be written */                                 \
	X(INDEX_FAILED, "index_failed", SLOT_VLSN, STOPS_NOTHING)              \
	/* The next boot waits */                                              \
	X(BOOT_WAITS, "boot_waits", SLOT_SUPERVISOR,                           \
	    STOPS_WRITES | STOPS_READS)                                        \
	/* A worker does not stay up */                                        \
	X(WORKER_DOWN, "worker_down", SLOT_SUPERVISOR, STOPS_NOTHING)          \
	/* A worker makes no progress; by what waits for it */                 \
	X(WORKER_SILENT, "worker_silent", SLOT_SUPERVISOR, STOPS_NOTHING)      \
	X(WRITER_SILENT, "writer_silent", SLOT_SUPERVISOR, STOPS_WRITES)       \
	X(SERVER_SILENT, "server_silent", SLOT_SUPERVISOR,                     \
	    STOPS_WRITES | STOPS_READS)                                        \
	/* run_dir lost what was in it */                                      \
	X(RUN_DIR, "run_dir", SLOT_SUPERVISOR, STOPS_NOTHING)                  \
	/* A limit of the system is below the configuration */                 \
	X(LIMITS, "limits", SLOT_SUPERVISOR, STOPS_NOTHING)                    \
	/* The kernel killed workers for memory, not long ago */               \
	X(MEMORY, "memory", SLOT_SUPERVISOR, STOPS_NOTHING)                    \
	/* The clock was set, or is behind log time */                         \
	X(CLOCK, "clock", SLOT_WAL, STOPS_NOTHING)

enum trouble {
#define X(NAME, name, slot, stops) TROUBLE_##NAME,
	TROUBLES(X)
#undef X
	    TROUBLE_COUNT
};

/* W: the kind's worker; the supervisor once it has reaped that. R: all */
struct trouble_row {
	_Alignas(CACHE_LINE) _Atomic uint32_t version; /* +1 each text */
	_Atomic uint32_t standing;
	_Atomic uint64_t since_ns; /* CLOCK_MONOTONIC */
	_Atomic uint64_t times; /* it began, in this region */
	uint8_t zero[40];
	char text[2][FAULT_TEXT_MAX]; /* the newest: [version % 2] */
};
_Static_assert(sizeof(struct trouble_row) == 1024, "whole lines");

struct troubles {
	struct trouble_row row[TROUBLE_COUNT];
};

/* A copy of one that stands. */
struct trouble_info {
	enum trouble kind;
	uint64_t since_ns;
	char text[FAULT_TEXT_MAX];
};

struct region;

/*
 * The kind's writer: it stands, with this text. An event and a log line if it
 * did not stand before; else the text is renewed, silently. Blocks never.
 */
void trouble_begin(struct region *r, enum trouble kind, const struct fault *f);
__attribute__((format(printf, 3, 4))) void
trouble_begin_text(struct region *r, enum trouble kind, const char *fmt, ...);
/* It stood in the region before, since then: it goes on without a word. */
void trouble_carry(
    struct region *r, enum trouble kind, uint64_t since_ns, const char *text);
/* It is over, if it stood: an event says after how long. */
void trouble_end(struct region *r, enum trouble kind);
/*
 * The supervisor: this slot's process is gone, and its troubles with it. What
 * caused them may be there still, so none is called over.
 */
void trouble_writer_died(struct region *r, unsigned slot);

bool trouble_stands(const struct region *r, enum trouble kind);
/* What all that stand stop together: enum trouble_stops. */
unsigned trouble_stops(const struct region *r);
/* Those that stand, what stops most first. Returns how many. */
unsigned
trouble_list(const struct region *r, struct trouble_info out[TROUBLE_COUNT]);
/* One that stands; false if it does not. */
bool trouble_read(
    const struct region *r, enum trouble kind, struct trouble_info *out);
/* How often the kind has begun in this region. */
uint64_t trouble_times(const struct region *r, enum trouble kind);

const char *trouble_name(enum trouble kind);
unsigned trouble_writer(enum trouble kind); /* a slot */
unsigned trouble_stops_of(enum trouble kind);

#endif
