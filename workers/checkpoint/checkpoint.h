/*
 * The checkpoint worker: the one writer of data_dir/store. It writes the
 * frozen generation of the table in one durable transaction, and gives the
 * memory of used generations back. The model is in README.md.
 */
#ifndef WORKERS_CHECKPOINT_CHECKPOINT_H
#define WORKERS_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include "ipc/loop.h"
#include "shm/store_db.h"
#include "shm/table.h"
#include "workers/worker.h"

/* What one checkpoint did. */
struct checkpoint_work {
	uint64_t vlsn;
	uint64_t keys, bytes; /* written, deleted ones included */
};

/*
 * Write generation g (frozen) into db: one transaction, committed. A store
 * that is at g's VLSN already (a writer died between commit and telling) is
 * left alone. go_on (may be NULL) is called every now and then; if it says no,
 * the checkpoint is given up with -ECANCELED. 0 or -errno: -ENOSPC (disk or
 * map), -EBADMSG (the file is damaged); then nothing has changed. Blocks for as
 * long as the disk takes.
 */
int checkpoint_write(struct store_db *db, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16],
    bool (*go_on)(void *), void *arg, struct checkpoint_work *out);

/*
 * While it lasts, LMDB's flush of this descriptor goes to the disk in steps,
 * with go_on() between them; no fails the flush: see checkpoint_pace.c.
 */
void checkpoint_pace(int fd, bool (*go_on)(void *), void *arg);
void checkpoint_pace_end(void);

#endif
