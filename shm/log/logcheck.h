/*
 * What a log is: good, torn at its end, or damaged; and where. One judge for a
 * boot (workers/wal) and for nodelifewal, so that both say the same of the
 * same files. It goes by what chains, by the headers and the heads of flushes,
 * and by what else tells of records that were durable: the checkpoint, the
 * VLSN index, the hint. It only reads. Blocks.
 *
 * The place where the chain stops is judged by log_judge.h. Damage, too: a
 * segment that is missing and holds what the checkpoint lacks; a header that
 * is none, with flushes of that segment behind it; a newest segment that is
 * shorter than its header says: it was cut, or, if a boot did that when it went
 * on in another one, that one is missing.
 */
#ifndef SHM_LOG_LOGCHECK_H
#define SHM_LOG_LOGCHECK_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/log/segment.h"

enum log_verdict { LOG_GOOD, LOG_TORN, LOG_DAMAGED };

/* Who tells that a record was durable. */
enum log_witness {
	WITNESS_HEAD,
	WITNESS_HINT,
	WITNESS_CHECKPOINT,
	WITNESS_INDEX,
	WITNESS_LIFE /* the one before: up to there, then a flush failed */
};

/* One thing that is wrong, with its place. */
struct log_fault {
	enum log_verdict verdict;
	bool unneeded; /* the checkpoint has what it held: no boot looks */
	bool store; /* the store's file is missing, which may have held it */
	uint32_t segment, offset;
	const char *what; /* static */
	/*
	 * Good before it, and 1 if nothing older is lacking; none if first >
	 * vlsn. Before a gap what the checkpoint holds counts.
	 */
	uint64_t first, vlsn;
	uint64_t durable, committed; /* known when what follows was written */
	enum log_witness witness; /* of durable */
};

#define LOG_STORE_FILE "store/data.mdb" /* below data_dir */

/* What else than the log tells of its records; 0 = nothing does. */
struct log_known {
	uint64_t hint;
	bool checkpoint_read; /* store/ was read, or there is none */
	bool store_gone; /* there is no LOG_STORE_FILE */
	uint64_t checkpoint; /* VLSN that it holds */
	uint64_t term; /* of that record */
	int64_t time_ms; /* of that record */
	uint64_t indexed; /* was durable, says the VLSN index */
	uint32_t indexed_segment; /* the newest that it names */
	uint64_t failed; /* from here on nothing was durable: a flush failed;
			    0 = none did. The caller's. */
};

struct terms;

/*
 * Read it. data_path: of data_dir; group_uuid: what is of another group tells
 * nothing. What cannot be read tells nothing either; *checkpoint_error (may be
 * NULL) says why that could not, 0 or -errno. `terms` (may be NULL, and is
 * empty) gets the term runs up to the checkpoint, or none.
 */
void log_known_read(struct log_known *out, const char *data_path, int data_dir,
    int wal_dir, const uint8_t group_uuid[16], uint64_t generation,
    struct terms *terms, int *checkpoint_error);

/* wal/hint: the checkpointed VLSN, so that a scan may begin there. */
#define LOG_HINT_NAME "hint"
#define LOG_HINT_SIZE 24
void log_hint_encode(uint8_t out[LOG_HINT_SIZE], uint64_t vlsn);
/* 0 if there is none that can be trusted. */
uint64_t log_hint_read(int wal_dir);

enum logcheck_want { LOGCHECK_READ, LOGCHECK_SKIP, LOGCHECK_END };

struct logcheck_ops {
	/*
	 * Where e's bytes come from, and that they are of no more use. Both
	 * NULL: pread.
	 */
	int (*open)(void *ctx, const struct segment_entry *e,
	    struct segment_source *out);
	void (*close)(void *ctx);
	/* e is next; next_vlsn: the first of the one behind it, or 0. */
	enum logcheck_want (*segment)(
	    void *ctx, const struct segment_entry *e, uint64_t next_vlsn);
	/* 0, or what ends the scan: negative, or 1: enough was seen. */
	int (*record)(void *ctx, const struct segment_entry *e, uint32_t offset,
	    const struct record *rec);
	/* Each fault, in the log's order where that is known. */
	void (*fault)(void *ctx, const struct log_fault *f);
	void *ctx;
};

struct logcheck {
	int wal_dir;
	const struct logcheck_ops *ops; /* any of them may be NULL */
	struct log_known known;
	bool all; /* from the oldest on, and behind damage, too */
	bool living; /* a node may write there meanwhile: look again */
	bool unreadable_is_damage; /* else a read's error ends it */

	struct segment_list list; /* segment_list_load()ed by the caller */
	/* What came of it. */
	struct log_fault missing; /* damaged: what the oldest continues */
	struct log_fault fault; /* the first other one, or what the end is */
	uint32_t start; /* entry where the scan began, or UINT32_MAX */
	uint64_t durable, committed; /* highest that anything tells */
	enum log_witness witness; /* of durable */
	uint64_t first; /* as a fault's, by now */
	/* The end of what chains. */
	uint64_t vlsn, term;
	int64_t time_ms;
	bool rest; /* a segment of unknown length is missing behind it */
	uint64_t behind; /* newest VLSN found in segments behind damage */
	uint32_t tail_entry, tail_number, tail_end, tail_crc;
	bool dropped; /* ... before a record whose flush had failed */
	bool gone; /* damaged: there was a log, and no segment is left */
	uint64_t bytes; /* of the segments read */
	/* Of an error: where, and the call. */
	uint32_t error_number, error_offset;
	const char *error_call;
};

/*
 * 0: see the verdicts. 1: a callback had seen enough. Negative: a callback's,
 * or -errno of a read, which tells nothing of the log.
 */
int logcheck_run(struct logcheck *c);
/* The worst: of missing and fault. */
enum log_verdict logcheck_verdict(const struct logcheck *c);
/* The one that a boot names: the first damage in the log's order, or fault. */
const struct log_fault *logcheck_first(const struct logcheck *c);
/* Where a boot begins to scan: what is before it holds nothing it needs. */
uint64_t logcheck_base(const struct log_known *known);
/* "good up to record N, M were durable by ...": for a message on it. */
void log_fault_good(const struct log_fault *f, char *out, size_t size);
#define LOG_FAULT_GOOD_MAX 128
const char *log_verdict_name(enum log_verdict verdict);
const char *log_witness_name(enum log_witness witness);

#endif
