/*
 * The checkpoint worker: the one writer of data_dir/store. It has the frozen
 * generation of the table written in one durable transaction, and gives the
 * memory of used generations back. The model is in README.md.
 */
#ifndef WORKERS_CHECKPOINT_CHECKPOINT_H
#define WORKERS_CHECKPOINT_CHECKPOINT_H

#include <sys/types.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include "ipc/loop.h"
#include "shm/kv/store_db.h"
#include "shm/kv/table.h"
#include "workers/worker.h"

/* What one checkpoint did. */
struct checkpoint_work {
	uint64_t vlsn;
	uint64_t keys, bytes; /* written, deleted ones included */
	uint64_t used; /* bytes of the file that are in use now; 0 = nothing
			  was written */
};

/*
 * Write generation g (frozen) into db: one transaction, committed. A store
 * that is at g's VLSN already (a writer died between commit and telling) is
 * left alone. It takes some db->memory bytes at most. step (may be NULL) is
 * called between the parts of the work: tests end the process there. 0 or
 * -errno: -ENOSPC (disk or map), -EBADMSG (the file is damaged); then nothing
 * has changed. Blocks for as long as the disk takes.
 */
int checkpoint_write(struct store_db *db, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16],
    void (*step)(void *), void *arg, struct checkpoint_work *out);

/*
 * Address space for LMDB to write in: more than any checkpoint makes of the
 * file at path. What the store may have on disk is not limited by it.
 */
uint64_t checkpoint_map(const char *path, const struct conf *conf);

/*
 * While it lasts, LMDB's flush of this descriptor goes to the disk in steps:
 * see checkpoint_pace.c.
 */
void checkpoint_pace(int fd, void (*step)(void *), void *arg);
void checkpoint_pace_end(void);

/*
 * rc of writing at path, but -ENOSPC for what was a full disk and -EFBIG for a
 * limit of the size of files: the write before the last block is short, and
 * LMDB says EIO of any short one. A flush that failed stays what it is.
 */
int checkpoint_error(const char *path, int rc);

/*
 * Write both meta pages anew, durably, before what they say is relied on. A
 * commit that failed in a process before, told to nobody any more, may have
 * left one clean in the page cache and on no disk; or on disk, while LMDB has
 * put the one before back into the page cache: then pages that only this one
 * says are free must not be written. Waits for who writes. 0 or -errno.
 */
int checkpoint_settle(const struct store_db *db);

/*
 * Have the store at path, of the format before, made one of the present
 * format, by a process of its own: the whole, or nothing. beat() is called
 * meanwhile. 0 or -errno (-EINTR: killed). Nobody may have it open here.
 * Blocks.
 */
int checkpoint_convert(const char *path, const struct conf *conf,
    void (*beat)(void *arg, uint64_t done, uint64_t all), void *arg);

/* Of rc: what the running node has open is not where a boot would look. */
static inline bool
checkpoint_away(int rc)
{
	return rc == -EREMCHG || rc == -EIDRM || rc == -ENOENT ||
	       rc == -ENOTDIR;
}

/* The process that writes; one at a time. */
struct checkpoint_report;
struct checkpoint_child {
	pid_t pid; /* 0 = none */
	int pidfd; /* readable when it has ended */
	struct checkpoint_report *report;
	bool settled; /* checkpoint_settle() was done, or the one before went
			 through, and nobody has failed since */
	int killed_by; /* signal that ended the last one; 0 = none */
};

/*
 * Fork it. t and g are shared memory, path is data_dir/store, base what was
 * published: files that are not t's, or hold less than base, are left alone. 0
 * or -errno, of fork(2) and its like.
 */
int checkpoint_child_start(struct checkpoint_child *ch, const char *path,
    const struct conf *conf, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16], uint64_t base);
void checkpoint_child_kill(struct checkpoint_child *ch);
/*
 * What it did: as checkpoint_write(); -EINTR: killed; -EBADMSG also: crashed;
 * -EIO also: the file could not be read; see killed_by; checkpoint_away(): a
 * file is not there, or is another one or less. -EAGAIN: it has not ended.
 */
int checkpoint_child_reap(
    struct checkpoint_child *ch, struct checkpoint_work *work);

#endif
