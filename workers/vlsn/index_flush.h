/*
 * One flush of the VLSN index: which pages to write, and the order of the
 * steps that make them durable. The happy path of an addition is
 *	write pages ... -> fdatasync
 * and of a new file
 *	open tmp -> write pages ... -> fsync -> rename -> fsync directory
 * A short write goes on; EINTR and EAGAIN try again; all else fails the flush,
 * and then the file is not trusted any more: the next flush writes a new one.
 *
 * Pure but for malloc: the process around it does the I/O.
 */
#ifndef WORKERS_VLSN_INDEX_FLUSH_H
#define WORKERS_VLSN_INDEX_FLUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/log/index_file.h"

#define FLUSH_CHUNK_PAGES 16u /* 64 KiB a write: 64 MiB of log */

enum flush_state {
	FLUSH_IDLE,
	FLUSH_OPENING,
	FLUSH_WRITING,
	FLUSH_SYNCING,
	FLUSH_RENAMING,
	FLUSH_SYNCING_DIR,
	FLUSH_DONE,
	FLUSH_FAILED
};

/* What the file on disk holds, as far as an addition must know. */
struct index_disk {
	struct index_head head;
	bool usable; /* false: the next flush writes a new file */
	uint32_t pages; /* head included */
	uint64_t samples;
	uint64_t added; /* of them, since the file was made */
	uint64_t last_vlsn; /* 0 = no sample */
	uint64_t last_lsn;
	unsigned tail_count; /* samples in the last page, if it is not full */
	struct vmap_pair tail[INDEX_PAGE_SAMPLES];
};

struct index_flush {
	enum flush_state state;
	bool rewrite;
	struct index_head head;
	uint64_t durable;
	struct vmap_pair *pair; /* owned; from page first_page on */
	size_t count, fresh; /* fresh: not in the file before */
	uint32_t first_page; /* where pair[0] goes; 0 is never one */
	uint32_t next_page; /* next to encode */
	uint32_t end_page; /* one behind the last */
	uint64_t file_off; /* of buf[0] */
	uint32_t buf_len, buf_done;
	uint8_t *buf; /* owned; FLUSH_CHUNK_PAGES pages */
};

/*
 * Begin: state becomes WRITING, or OPENING for a new file. pair[] (rising, and
 * above the disk's last for an addition) stays the caller's; n may be 0 only
 * for a new file. 0, -ENOMEM, -EFBIG.
 */
int index_flush_add(struct index_flush *f, const struct index_disk *d,
    const struct vmap_pair *pair, size_t n, uint64_t durable);
int index_flush_rewrite(struct index_flush *f, const struct index_head *head,
    const struct vmap_pair *pair, size_t n, uint64_t durable);
/* The completion of the step under way; returns the new state. */
enum flush_state index_flush_step(struct index_flush *f, int res);
/* After DONE: what the disk holds now. */
void index_flush_commit(const struct index_flush *f, struct index_disk *d);
/* Back to IDLE; frees. */
void index_flush_end(struct index_flush *f);
const char *flush_state_name(enum flush_state state);

#endif
