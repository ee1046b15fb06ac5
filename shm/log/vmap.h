/*
 * VLSN map: the in-memory VLSN index. Sampled VLSN -> LSN pairs, filled by
 * wal (at append and by the recovery scan), read by everyone, persisted by
 * vlsn. A pair is a hint: the record found must have the VLSN asked for.
 *
 * Two parts, one writer each: a ring of the newest samples (wal), and a plain
 * sorted array of older ones (vlsn: what the index file held, thinned out when
 * it is too much). A lookup takes the nearest lower sample of both.
 *
 * Lock-free. A reader of the ring may be lapped: it reads `count` again after
 * the entries and drops what the writer may have been overwriting meanwhile.
 * `cuts` is odd while the log is being cut; a reader that saw it change starts
 * over, and of older samples taken at another value of it only those count
 * that lie below every cut.
 */
#ifndef SHM_LOG_VMAP_H
#define SHM_LOG_VMAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/bits.h"

#define VMAP_ENTRIES 65536u /* ring of the newest samples; 1 MiB, sparse */
#define VMAP_STRIDE_BYTES                                                      \
	16384u /* a sample each so many log bytes, and at                      \
		  each segment's first VLSN */

#define VMAP_OLD_ENTRIES 65536u /* older samples, at most */

/* W: wal in the ring, vlsn among the older ones. R: all */
struct vmap_entry {
	_Atomic uint64_t vlsn;
	_Atomic uint64_t lsn;
};

struct vmap_old {
	_Alignas(CACHE_LINE) _Atomic uint64_t seq; /* W: vlsn. odd while it
						writes */
	_Atomic uint64_t count; /* W: vlsn */
	_Atomic uint64_t cuts; /* W: vlsn. `cuts` they were taken at */
	uint64_t zero[5];
	struct vmap_entry entry[VMAP_OLD_ENTRIES];
};

struct vmap {
	_Alignas(CACHE_LINE) _Atomic uint64_t count; /* W: wal. samples ever
						added, less those cut; release
						after entry */
	_Atomic uint64_t floor; /* W: wal. first sample that is still valid */
	_Atomic uint64_t cuts; /* W: wal. +2 a cut, odd while it lasts */
	_Atomic uint64_t trimmed; /* W: wal. no sample is of a lower VLSN */
	_Atomic uint64_t uncut; /* W: wal. lowest cut's VLSN + 1, 0 = none */
	uint64_t zero[3];
	struct vmap_entry entry[VMAP_ENTRIES];
	struct vmap_old old;
};

struct vmap_pair {
	uint64_t vlsn, lsn;
};

/* What a reader of all samples needs: numbers lo..count-1 can be had. */
struct vmap_range {
	uint64_t lo, count;
	uint64_t cuts;
};

/*
 * wal only. VLSNs rise; one that does not supersedes the samples at and
 * above it, as a segment that begins there does. 0, or -ENOSPC: there is no
 * memory for it, it is left out; a hint less.
 */
int vmap_add(struct vmap *m, uint64_t vlsn, uint64_t lsn);
/*
 * wal only: forget every sample above vlsn (the log was cut there). Counted,
 * though there be none: a file of samples also tells how far all was durable.
 */
void vmap_cut(struct vmap *m, uint64_t vlsn);
/* wal only: forget samples below vlsn (segments were recycled). */
void vmap_trim(struct vmap *m, uint64_t vlsn);
/* Nearest sample <= vlsn. 0 or -ENOENT. */
int vmap_lookup(const struct vmap *m, uint64_t vlsn, struct vmap_pair *out);
/*
 * Sample number i (of 0..count-1). 0, or -ENOENT if it was overwritten or cut.
 */
int vmap_get(const struct vmap *m, uint64_t i, struct vmap_pair *out);
/* The ring's samples as of now; numbers mean the same while cuts does. */
void vmap_range(const struct vmap *m, struct vmap_range *out);
/*
 * vlsn only: replace the older samples. pair[] is sorted by VLSN; n over
 * VMAP_OLD_ENTRIES is thinned out. cuts: the value the samples were taken at.
 * 0, or -ENOSPC: there is no memory for so many, nothing has changed.
 */
int vmap_old_set(
    struct vmap *m, const struct vmap_pair *pair, size_t n, uint64_t cuts);
/*
 * The older samples that count now, at most n of them; returns how many. Only
 * vlsn, their writer, sees them all of one moment.
 */
size_t vmap_old_copy(const struct vmap *m, struct vmap_pair *out, size_t n);

#endif
