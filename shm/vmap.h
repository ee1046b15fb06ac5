/*
 * VLSN map: the in-memory VLSN index. Sampled VLSN -> LSN pairs, filled by
 * wal (at append and by the recovery scan), read by everyone, persisted by
 * vlsn. A pair is a hint: the record found must have the VLSN asked for.
 */
#ifndef SHM_VMAP_H
#define SHM_VMAP_H

#include <stdatomic.h>
#include <stdint.h>
#include "shm/bits.h"

#define VMAP_ENTRIES 65536u /* ring of the newest samples; 1 MiB, sparse */
#define VMAP_STRIDE_BYTES 16384u /* a sample each so many log bytes, and at
				    each segment's first VLSN */

struct vmap {
	_Alignas(CACHE_LINE) _Atomic uint64_t count; /* W: wal. samples ever
						added; release after entry */
	_Atomic uint64_t floor; /* W: wal. first sample that is still valid */
	uint64_t zero[6];
	struct {
		_Atomic uint64_t vlsn;
		_Atomic uint64_t lsn;
	} entry[VMAP_ENTRIES];
};

struct vmap_pair {
	uint64_t vlsn, lsn;
};

/* wal only. VLSNs must rise. */
void vmap_add(struct vmap *m, uint64_t vlsn, uint64_t lsn);
/* wal only: forget every sample above vlsn (the log was cut there). */
void vmap_cut(struct vmap *m, uint64_t vlsn);
/* wal only: forget samples below vlsn (segments were recycled). */
void vmap_trim(struct vmap *m, uint64_t vlsn);
/* Nearest sample <= vlsn. 0 or -ENOENT. */
int vmap_lookup(const struct vmap *m, uint64_t vlsn, struct vmap_pair *out);
/*
 * Sample number i (of 0..count-1). 0, or -ENOENT if it was overwritten or cut.
 */
int vmap_get(const struct vmap *m, uint64_t i, struct vmap_pair *out);

#endif
