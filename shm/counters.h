/*
 * Counters, histograms, events: what a node tells about itself. Each slot has
 * counters and histograms of its own (one writer each, no locks); readers sum
 * over slots. Every one has a test that moves it.
 */
#ifndef SHM_COUNTERS_H
#define SHM_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/fault.h"
#include "shm/slots.h"

/* X(NAME, "name", "help"): Prometheus name is nodelife_NAME_total. */
#define COUNTERS(X)                                                            \
	X(WAL_RECORDS, "wal_records", "Records appended to the log")           \
	X(WAL_BYTES, "wal_bytes", "Bytes appended to the log")                 \
	X(WAL_FLUSHES, "wal_flushes", "Completed log flushes")                 \
	X(WAL_FLUSH_BYTES, "wal_flush_bytes", "Bytes written by flushes")      \
	X(WAL_ERRORS, "wal_errors", "Failed log writes or flushes")            \
	X(WAL_SEGMENTS, "wal_segments", "Log segments begun")                  \
	X(WAL_RECYCLED, "wal_recycled", "Log segments recycled")               \
	X(WAL_TORN, "wal_torn_tails", "Torn tails cut at boot")                \
	X(WAL_REPLAYED, "wal_replayed_records", "Records scanned at boot")     \
	X(WAL_REPLAYED_BYTES, "wal_replayed_bytes", "Bytes scanned at boot")   \
	X(WAL_REFUSED, "wal_refused", "Appends refused (role, space, stop)")   \
	X(FEED_FRAMES, "feed_frames", "Frames of the log sent to replicas")    \
	X(FEED_BYTES, "feed_bytes", "Bytes of the log in them")                \
	X(FEED_ACKS, "feed_acks", "Acknowledgements taken from replicas")      \
	X(FEED_LAPPED, "feed_lapped", "Replicas too slow for the log buffer")  \
	X(TAKEN_FRAMES, "taken_frames", "Frames of the log from the master")   \
	X(TAKEN_BYTES, "taken_bytes", "Bytes of the log in them")              \
	X(TAKEN_ACKS, "taken_acks", "Acknowledgements sent to the master")     \
	X(DATA_REFUSED, "data_refused",                                        \
	    "Data connections ended for what the other end sent")              \
	X(CLOCK_STEPS, "clock_steps", "Times the clock was far off log time")  \
	X(WAL_NOSPACE, "wal_nospace", "Times the disk was found full")         \
	X(REGION_FULL, "region_full", "Times the region found /dev/shm full")  \
	X(INDEX_FLUSHES, "index_flushes", "VLSN index flushes")                \
	X(INDEX_ENTRIES, "index_entries", "VLSN index entries written")        \
	X(INDEX_REBUILDS, "index_rebuilds", "VLSN index rebuilds")             \
	X(STORE_APPLIED, "store_applied", "Records applied")                   \
	X(STORE_REPLAYED, "store_replayed", "Records applied at boot")         \
	X(STORE_RESULTS, "store_results", "Results sent to gateways")          \
	X(STORE_EXPIRED, "store_expired", "Keys deleted by expiry")            \
	X(STORE_STALLS, "store_stalls", "Times apply waited for the table")    \
	X(CHECKPOINTS, "checkpoints", "Checkpoints completed")                 \
	X(CHECKPOINTS_FAILED, "checkpoints_failed",                            \
	    "Attempts at a checkpoint that failed")                            \
	X(CHECKPOINT_KEYS, "checkpoint_keys", "Keys written by checkpoints")   \
	X(CHECKPOINT_BYTES, "checkpoint_bytes", "Bytes of values written")     \
	X(ELECTIONS_HELD, "elections_held", "Terms that this node voted in")   \
	X(ELECTIONS_WON, "elections_won", "Elections won")                     \
	X(ROLE_CHANGES, "role_changes", "Changes of the node state")           \
	X(CLIENTS_ACCEPTED, "clients_accepted", "Client connections taken")    \
	X(CLIENTS_CLOSED, "clients_closed", "Client connections closed")       \
	X(CLIENTS_REFUSED, "clients_refused", "Clients over max_clients")      \
	X(CLIENTS_KILLED, "clients_killed", "Clients over a buffer limit")     \
	X(CLIENTS_EVICTED, "clients_evicted", "Clients over client_memory")    \
	X(CLIENTS_HTTP, "clients_http", "Clients closed for speaking HTTP")    \
	X(PROTOCOL_ERRORS, "protocol_errors", "Clients closed for bad input")  \
	X(COMMANDS, "commands", "Commands processed")                          \
	X(COMMANDS_FAILED, "commands_failed", "Commands answered by an error") \
	X(READS, "reads", "Read commands served")                              \
	X(READS_WAITED, "reads_waited", "Reads that waited for apply")         \
	X(WRITES, "writes", "Write requests sent to the log")                  \
	X(KEYSPACE_HITS, "keyspace_hits", "Lookups that found their key")      \
	X(KEYSPACE_MISSES, "keyspace_misses", "Lookups that did not")          \
	X(BYTES_IN, "client_bytes_in", "Bytes received from clients")          \
	X(BYTES_OUT, "client_bytes_out", "Bytes sent to clients")              \
	X(HTTP_REQUESTS, "http_requests", "Health and metrics requests")       \
	X(HTTP_TIMEOUTS, "http_timeouts", "HTTP connections out of time")      \
	X(HTTP_DISPLACED, "http_displaced", "Those that gave way to newer")    \
	X(CONTROL_REQUESTS, "control_requests", "Control socket requests")     \
	X(PEER_DIALS, "peer_dials", "Connections to members begun")            \
	X(PEER_ACCEPTS, "peer_accepts", "Connections of members taken")        \
	X(PEER_LINKS, "peer_links", "Control connections made ready")          \
	X(PEER_LOST, "peer_lost", "Those that ended again")                    \
	X(PEER_REFUSALS, "peer_refusals", "Connections this node refused")     \
	X(PEER_REFUSED, "peer_refused", "Connections refused by others")       \
	X(PEER_DATA, "peer_data_links", "Data connections handed over")        \
	X(PEER_LOOKUPS, "peer_lookups_failed", "Failed lookups of members")    \
	X(PEER_MESSAGES_IN, "peer_messages_in", "Messages from members")       \
	X(PEER_MESSAGES_OUT, "peer_messages_out", "Messages to members")       \
	X(PEER_BYTES_IN, "peer_bytes_in", "Bytes from members")                \
	X(PEER_BYTES_OUT, "peer_bytes_out", "Bytes to members")                \
	X(BELLS, "bells", "Wake-ups sent to other workers")                    \
	X(SYSCALLS, "ring_enters", "io_uring_enter calls")                     \
	X(STALE_CQES, "stale_completions", "Completions of freed objects")     \
	X(WORKER_RESTARTS, "worker_restarts", "Workers restarted")             \
	X(NODE_RESTARTS, "node_restarts", "Node restarts")                     \
	X(LOCK_REPAIRS, "lock_repairs", "Locks repaired after owner death")

enum counter {
#define X(NAME, name, help) C_##NAME,
	COUNTERS(X)
#undef X
	    COUNTER_COUNT
};

/* X(NAME, "name", "unit", "help") */
#define HISTOGRAMS(X)                                                          \
	X(FLUSH, "wal_flush", "ns", "Log flush, submit to completion")         \
	X(FLUSH_RECORDS, "wal_flush_records", "records", "Records a flush")    \
	X(COMMIT, "commit", "ns", "Append to committed")                       \
	X(REQUEST_READ, "request_read", "ns", "Read commands, in to out")      \
	X(REQUEST_WRITE, "request_write", "ns", "Write commands, in to out")   \
	X(APPLY, "apply", "ns", "One apply batch")                             \
	X(APPLY_RECORDS, "apply_records", "records", "Records a batch")        \
	X(CHECKPOINT, "checkpoint", "ns", "One checkpoint")                    \
	X(INDEX_FLUSH, "index_flush", "ns", "One index flush")

enum hist {
#define X(NAME, name, unit, help) H_##NAME,
	HISTOGRAMS(X)
#undef X
	    HIST_COUNT
};

/*
 * Log-linear: values below 2^7 are exact; above, 64 buckets per power of two:
 * a bucket's middle is at most 1/128 off. Up to 2^42 (73 minutes in ns),
 * larger ones count there.
 */
#define HIST_SUB_BITS 6
#define HIST_MAX_BITS 42
#define HIST_BUCKETS  ((HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

/* W: one process. R: all; the words are true singly, not together. */
struct histogram {
	_Alignas(CACHE_LINE) _Atomic uint64_t count;
	_Atomic uint64_t sum;
	_Atomic uint64_t max;
	uint64_t zero[5];
	_Atomic uint64_t bucket[HIST_BUCKETS];
};

struct counters {
	/* W: that slot's process, its row. R: all */
	struct {
		_Alignas(CACHE_LINE) _Atomic uint64_t v[COUNTER_COUNT];
	} slot[SLOT_MAX];
};

/* Histograms of workers (all but gateways), then of each gateway. */
struct histograms {
	struct histogram worker[HIST_COUNT];
	struct histogram gateway[GATEWAY_MAX][2]; /* REQUEST_READ, _WRITE */
};

#define EVENT_COUNT    256
#define EVENT_TEXT_MAX FAULT_TEXT_MAX

enum event_level { EVENT_INFO, EVENT_WARN, EVENT_ERROR };

/* Who looks at a region later finds by it why the node stopped. */
enum event_kind {
	EVENT_PLAIN, /* may be why, if nothing says so */
	EVENT_CAUSE, /* why the node stops: by itself, or because it was asked
		      */
	EVENT_ASIDE /* not why: a trouble is over; the end itself */
};

/* W: any process, once it has taken the number. R: all, by the number. */
struct event {
	_Alignas(CACHE_LINE) _Atomic uint64_t number; /* 1-based; stored last
						(release); 0 = being written */
	int64_t wall_ms;
	uint64_t mono_ns;
	uint8_t slot;
	uint8_t level; /* enum event_level */
	uint8_t kind; /* enum event_kind */
	uint8_t zero[5];
	char text[EVENT_TEXT_MAX];
};

struct events {
	_Alignas(CACHE_LINE) _Atomic uint64_t next; /* W: all, fetch_add */
	uint64_t zero[7];
	struct event ring[EVENT_COUNT];
};

struct region;

static inline void
counter_add(struct counters *c, unsigned slot, enum counter which, uint64_t n)
{
	_Atomic uint64_t *v = &c->slot[slot].v[which];

	/* One writer per slot: no read-modify-write is needed. */
	atomic_store_explicit(v,
	    atomic_load_explicit(v, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

uint64_t counter_sum(const struct counters *c, enum counter which);
const char *counter_name(enum counter which);
const char *counter_help(enum counter which);

void hist_add(struct histogram *h, uint64_t value);
/* The instance that `slot` writes; NULL if it has none of that kind. */
struct histogram *
hist_of(struct histograms *hs, unsigned slot, enum hist which);
/* Sum of every slot's instance into *out (plain copy). */
void
hist_merge(const struct histograms *hs, enum hist which, struct histogram *out);
/*
 * Value at quantile q (0..1): the middle of its bucket, at most the maximum,
 * which is exact; 0 when empty.
 */
uint64_t hist_quantile(const struct histogram *h, double q);
/* How many values lie in buckets that end at or below `value`. */
uint64_t hist_below(const struct histogram *h, uint64_t value);
/* a -= b, for intervals; a's maximum becomes that of its highest bucket. */
void hist_sub(struct histogram *a, const struct histogram *b);
const char *hist_name(enum hist which);
const char *hist_unit(enum hist which);
const char *hist_help(enum hist which);

/* Record an event and log it at the same level. */
__attribute__((format(printf, 4, 5))) void event_add(struct region *r,
    unsigned slot, enum event_level level, const char *fmt, ...);
/* The same of a kind that is not EVENT_PLAIN. */
__attribute__((format(printf, 5, 6))) void
event_add_as(struct region *r, unsigned slot, enum event_level level,
    enum event_kind kind, const char *fmt, ...);
/* One of which the log has more than an event holds. */
void event_add_short(struct region *r, unsigned slot, enum event_level level,
    enum event_kind kind, const char text[EVENT_TEXT_MAX], const char *whole);
/* The newest up to n events, oldest first. Returns how many. */
unsigned event_list(const struct events *e, struct event *out, unsigned n);

#endif
