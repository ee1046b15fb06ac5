/*
 * The log as runs of terms: which term begins at which VLSN. Terms never fall
 * along a log, so a run lasts until the next one begins, the newest one until
 * the log's end, which is not written here: whoever asks knows how far the log
 * goes (`appended`) and asks of no record behind it.
 *
 * wal keeps them: those of the checkpoint from the start, those of the records
 * as they are scanned (which count more) or appended, and a run is there
 * before `appended` tells of its first record. Everyone else reads, without a
 * lock.
 * The newest 1,024 runs are here; then each new one drops the oldest, and of
 * the records in that, as of those before a log without a checkpoint, the term
 * is not known (-ENOENT): who needs it has to be restored. (Checkpoints keep
 * all.) The oldest run may have begun before the VLSN that is told of it.
 *
 * Nothing here logs or blocks.
 */
#ifndef SHM_LOG_TERMS_H
#define SHM_LOG_TERMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/bits.h"

#define TERM_RUNS_MAX 1024u /* a boot begins a term: years of them */

struct term_run {
	uint64_t term, first; /* VLSN */
};

/* A ring of runs, rising in both. W: wal. R: all; lock-free. */
struct terms {
	_Alignas(CACHE_LINE) _Atomic uint64_t span; /* slot of the oldest run
						       << 32 | how many */
	_Atomic uint64_t turns; /* raised before a run's slot is used again */
	uint64_t zero[6];
	struct {
		_Atomic uint64_t term, first; /* W: wal. R: all, below span */
	} run[TERM_RUNS_MAX];
};

/* wal only. */
void terms_clear(struct terms *t);
/*
 * A record of this term is at VLSN `first`. True: a run begins with it, or it
 * goes on with the newest; false, and nothing changes: that is no record that
 * can come behind the newest run.
 */
bool terms_add(struct terms *t, uint64_t term, uint64_t first);
/* The log is cut: its last record is `vlsn` (0 = none). */
void terms_cut(struct terms *t, uint64_t vlsn);

/* Term of a record; 0, or -ENOENT: not known. */
int terms_of_vlsn(const struct terms *t, uint64_t vlsn, uint64_t *term);
/*
 * Last VLSN of a term; UINT64_MAX for the newest: what ends it is the log's
 * end. 0, or -ENOENT: no record is known to be of this term.
 */
int terms_last_of(const struct terms *t, uint64_t term, uint64_t *vlsn);
/* All runs, the oldest first, as of one moment. Returns how many. */
unsigned terms_copy(const struct terms *t, struct term_run out[TERM_RUNS_MAX]);

#endif
