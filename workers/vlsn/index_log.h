/*
 * Holding the index against the log: which samples can be true, where samples
 * are missing, and scanning those places. Reads segment files; never writes.
 */
#ifndef WORKERS_VLSN_INDEX_LOG_H
#define WORKERS_VLSN_INDEX_LOG_H

#include <stddef.h>
#include <stdint.h>
#include "shm/log/segment.h"
#include "shm/log/vmap.h"

/*
 * A stretch of log without a sample that is longer than this is a hole. wal
 * samples at batch heads, and a batch may fill the flight window.
 */
#define INDEX_HOLE_BYTES (2u * SEGMENT_FLIGHT_WINDOW)

/* A growing list of samples. Zero-initialise; free(v.pair) when done. */
struct index_samples {
	struct vmap_pair *pair;
	size_t count, room;
};

/* 0 or -ENOMEM. */
int index_samples_add(struct index_samples *v, uint64_t vlsn, uint64_t lsn);

/*
 * Pure. Keep the samples that the headers allow: of a segment in the chain,
 * of a VLSN and an offset that are its, and not above `durable`. Returns how
 * many stay, in place. *gone: of recycled segments, which is no error;
 * *wrong: contradict the log.
 */
size_t index_prune(const struct segment_list *l, struct vmap_pair *pair,
    size_t n, uint64_t durable, size_t *gone, size_t *wrong);

/*
 * Pure. A sample for each closed segment's first record: where the header
 * tells it to be, unless the segment's first flush was empty; so to be
 * checked. out has room for l->count. Returns how many.
 */
size_t index_firsts(const struct segment_list *l, struct vmap_pair *out);

struct index_hole {
	uint32_t segment;
	uint32_t from; /* offset of the sample before; 0 = the beginning */
	uint64_t from_vlsn; /* its VLSN */
	uint32_t to; /* offset where the next sample or the end is */
};

/*
 * Pure. The next hole at or after entry *i, sample *at of the rising samples
 * (start both at 0; they are moved). False: no more.
 */
bool index_hole_next(const struct segment_list *l, const struct vmap_pair *pair,
    size_t n, uint32_t *i, size_t *at, struct index_hole *out);

/*
 * Scan a hole and append its samples to out. beat (may be NULL) is called at
 * least once per MiB with the bytes read since. Blocks on disk. 0; -EBADMSG:
 * the chain breaks before its end, *broken says at which offset, what came
 * before was taken; other -errno.
 */
int index_hole_scan(int wal_dir, const struct index_hole *hole,
    struct index_samples *out, void (*beat)(void *arg, uint64_t bytes),
    void *arg, uint32_t *broken);

/*
 * Is the record that a sample names there, whole, and of that VLSN? 0,
 * -EBADMSG: no; other -errno: could not be read. Blocks on disk.
 */
int index_sample_check(int wal_dir, const struct vmap_pair *pair);

#endif
