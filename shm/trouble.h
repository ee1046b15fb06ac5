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

/*
 * X(NAME, "name", writer's slot, what it stops, what it means, what to do);
 * the table in nodelife(7) is made of it.
 */
#define TROUBLES(X)                                                            \
	X(LOG_FAILED, "log_failed", SLOT_WAL, STOPS_WRITES,                    \
	    "A write or flush of the log failed: the log is closed.",          \
	    "Mend the disk as the text says; the node restarts by "            \
	    "itself when it can write there again.")                           \
	X(LOG_STALLED, "log_stalled", SLOT_SUPERVISOR, STOPS_WRITES,           \
	    "A flush of the log takes longer than disk_stall_limit: "          \
	    "writes wait.",                                                    \
	    "Look at the disk and at its path.")                               \
	X(DATA_DIR, "data_dir", SLOT_WAL, STOPS_WRITES,                        \
	    "The path data_dir leads no more to the directory that the "       \
	    "node was started with.",                                          \
	    "Put that one back; or, if the other one is right, stop the "      \
	    "node and start it.")                                              \
	X(DATA_PATH, "data_path", SLOT_WAL, STOPS_NOTHING,                     \
	    "The path of the log does not answer: writes go on, to files "     \
	    "that are open; a boot would not find them.",                      \
	    "Mend the mount as the text says, before the node stops.")         \
	X(LOG_FULL, "log_full", SLOT_WAL, STOPS_WRITES,                        \
	    "The log has no room for a further segment.",                      \
	    "Free space or inodes on its disk.")                               \
	X(LOG_SEGMENT, "log_segment", SLOT_WAL, STOPS_WRITES,                  \
	    "No further segment can be made, though its disk has room.",       \
	    "Mend the rights or the disk as the text says.")                   \
	X(LOG_SPACE, "log_space", SLOT_WAL, STOPS_NOTHING,                     \
	    "The next segment cannot be made; there is room in this one "      \
	    "still.",                                                          \
	    "Free space or inodes on its disk, or mend what the text says, "   \
	    "before that is full.")                                            \
	X(LOG_MEMORY, "log_memory", SLOT_WAL, STOPS_WRITES,                    \
	    "/dev/shm has no memory for the log's buffer: writes wait.",       \
	    "Free space in /dev/shm, or enlarge it.")                          \
	X(STATE_FAILED, "state_failed", SLOT_GROUP, STOPS_WRITES,              \
	    "Term and vote cannot be stored.",                                 \
	    "Mend the disk or the rights as the text says.")                   \
	X(MEMBERS_FAILED, "members_failed", SLOT_GROUP, STOPS_NOTHING,         \
	    "The members file cannot be written: the log, which has its "      \
	    "record, is cut no more and grows.",                               \
	    "Mend the disk or the rights as the text says, before the log "    \
	    "has no room.")                                                    \
	X(STORE_FULL, "store_full", SLOT_STORE, STOPS_WRITES,                  \
	    "The store has what map_size allows, or checkpoints fail "         \
	    "and shared memory runs out; what frees room is taken on.",        \
	    "Delete keys (DEL, FLUSHALL), or raise map_size, stop the node "   \
	    "and start it; or mend what checkpoint_failed tells of.")          \
	X(STORE_WAITS, "store_waits", SLOT_SUPERVISOR, STOPS_WRITES,           \
	    "Writes wait longer than disk_stall_limit for the checkpoint "     \
	    "that makes room for them; reads, too, and get errors in the "     \
	    "end, if more was accepted than there is room for.",               \
	    "Look at the disk, or at what keeps the checkpoint worker from "   \
	    "its work (worker_down, worker_silent); let its process go on "    \
	    "if it was stopped.")                                              \
	X(STORE_MEMORY, "store_memory", SLOT_STORE, STOPS_WRITES,              \
	    "/dev/shm, or the store's process, has no memory for changes to "  \
	    "the store: they wait, and so does who reads what they changed.",  \
	    "Free space in /dev/shm, or enlarge it; or free memory, as the "   \
	    "text says.")                                                      \
	X(STORE_FAILED, "store_failed", SLOT_STORE, STOPS_NOTHING,             \
	    "The store's file, or the log, cannot be read.",                   \
	    "Look at its disk.")                                               \
	X(CHECKPOINT_FAILED, "checkpoint_failed", SLOT_CHECKPOINT,             \
	    STOPS_NOTHING,                                                     \
	    "Checkpoints fail; writes go on until shared memory runs "         \
	    "out (store_full).",                                               \
	    "Mend the disk, or give processes or memory, as the text "         \
	    "says.")                                                           \
	X(INDEX_FAILED, "index_failed", SLOT_VLSN, STOPS_NOTHING,              \
	    "The index of the log cannot be written; the next boot "           \
	    "reads more of the log.",                                          \
	    "Mend the disk as the text says.")                                 \
	X(BOOT_WAITS, "boot_waits", SLOT_SUPERVISOR,                           \
	    STOPS_WRITES | STOPS_READS,                                        \
	    "The node boots, and waits for what the text names.",              \
	    "Mend that; it is tried again by itself.")                         \
	X(UNJOINED, "unjoined", SLOT_GROUP, STOPS_WRITES | STOPS_READS,        \
	    "The node is of no group yet.",                                    \
	    "When all that are to be members run, run nodelifectl found on "   \
	    "one of them.")                                                    \
	X(WORKER_DOWN, "worker_down", SLOT_SUPERVISOR, STOPS_NOTHING,          \
	    "A worker that the service does not need does not stay up.",       \
	    "Look in the log for what ends it; it is tried again when the "    \
	    "text says.")                                                      \
	X(WORKER_SILENT, "worker_silent", SLOT_SUPERVISOR, STOPS_NOTHING,      \
	    "A worker makes no progress that clients do not wait for.",        \
	    "Let it go on if it was stopped, or look at the disk; after "      \
	    "[liveness] timeout it is killed.")                                \
	X(WRITER_SILENT, "writer_silent", SLOT_SUPERVISOR, STOPS_WRITES,       \
	    "A worker makes no progress that writes wait for.",                \
	    "As worker_silent.")                                               \
	X(SERVER_SILENT, "server_silent", SLOT_SUPERVISOR,                     \
	    STOPS_WRITES | STOPS_READS,                                        \
	    "A worker makes no progress that all clients wait for.",           \
	    "As worker_silent.")                                               \
	X(RUN_DIR, "run_dir", SLOT_SUPERVISOR, STOPS_NOTHING,                  \
	    "run_dir lost what was in it, and it cannot be made again.",       \
	    "Make the directory again, with the node's user as its "           \
	    "owner.")                                                          \
	X(LIMITS, "limits", SLOT_SUPERVISOR, STOPS_NOTHING,                    \
	    "A limit of the system is below what the configuration asks "      \
	    "for, which was lowered to it.",                                   \
	    "Raise the limit, or lower the key, then restart the node.")       \
	X(DESCRIPTORS, "descriptors", SLOT_SUPERVISOR, STOPS_NOTHING,          \
	    "A gateway cannot accept new clients for want of "                 \
	    "descriptors or memory; they are told so, who is connected "       \
	    "is served.",                                                      \
	    "Raise the limit (ulimit -n, LimitNOFILE=, prlimit) or "           \
	    "fs.file-max, or lower max_clients.")                              \
	X(MEMORY, "memory", SLOT_SUPERVISOR, STOPS_NOTHING,                    \
	    "The kernel killed workers for memory, not longer ago than "       \
	    "window.",                                                         \
	    "Raise the limit that the text names, or lower what "              \
	    "nodelife.ini(5), MEMORY, adds up.")                               \
	X(CLOCK, "clock", SLOT_WAL, STOPS_NOTHING,                             \
	    "The clock was set, or is behind log time.",                       \
	    "Look at what sets it (NTP); see Time above for what "             \
	    "expires when.")

enum trouble {
#define X(NAME, name, slot, stops, means, remedy) TROUBLE_##NAME,
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
/* Of a fault's text, with words around it: fault_text_in(). */
void trouble_begin_in(struct region *r, enum trouble kind, const char *before,
    const char *what, const char *behind);
/* It stood in the region before, since then: it goes on without a word. */
void trouble_carry(
    struct region *r, enum trouble kind, uint64_t since_ns, const char *text);
/* It is over, if it stood: an event says after how long. */
void trouble_end(struct region *r, enum trouble kind);
/* It stands no more because the node ends, for what is there still. */
void trouble_drop(struct region *r, enum trouble kind);
/*
 * The supervisor: this slot's process is gone, and its troubles with it. What
 * caused them may be there still, so none is called over. Its own go last.
 */
void trouble_writer_died(struct region *r, unsigned slot);

bool trouble_stands(const struct region *r, enum trouble kind);
/* Is it up, and waits for somebody with its boot? */
static inline bool
trouble_boot_waits(const struct region *r)
{
	return trouble_stands(r, TROUBLE_BOOT_WAITS) ||
	       trouble_stands(r, TROUBLE_UNJOINED);
}
/*
 * What all that stand stop together, and a store that applies nothing more, as
 * store_waits tells: enum trouble_stops.
 */
unsigned trouble_stops(const struct region *r);
/* Those that stand, what stops most first. Returns how many. */
unsigned
trouble_list(const struct region *r, struct trouble_info out[TROUBLE_COUNT]);
/*
 * One that stands; false if it does not. Of a node that stops or is over the
 * text does not say that it goes on by itself.
 */
bool trouble_read(
    const struct region *r, enum trouble kind, struct trouble_info *out);
/* How often the kind has begun in this region. */
uint64_t trouble_times(const struct region *r, enum trouble kind);

const char *trouble_name(enum trouble kind);
unsigned trouble_writer(enum trouble kind); /* a slot */
unsigned trouble_stops_of(enum trouble kind);

#endif
