/*
 * The vlsn worker, inside. It keeps the VLSN index file up with the map that
 * wal fills, and at boot gives the map the samples of segments that wal did
 * not scan. Nothing that goes wrong with the file is a reason to fail a node:
 * lookups only get longer. But a sound file never tells of more than was
 * durable, so one that does is a witness against the log.
 */
#ifndef WORKERS_VLSN_VLSN_H
#define WORKERS_VLSN_VLSN_H

#include "ipc/loop.h"
#include "shm/log/index_file.h"
#include "workers/vlsn/index_flush.h"
#include "workers/vlsn/index_log.h"
#include "workers/worker.h"

#define INDEX_FLUSH_NS  (2 * NS_PER_S) /* at most so often, while dirty */
#define INDEX_RETRY_NS  (2 * NS_PER_S) /* after a failure; doubles ... */
#define INDEX_RETRY_MAX (60 * NS_PER_S) /* ... up to here */
#define INDEX_SCAN_NS   (5 * NS_PER_S) /* a boot scans no longer than this */
#define INDEX_CHECKS    8u /* samples looked up in the log at boot */
/* A file with so many dead samples over the living ones is made anew. */
#define INDEX_SLACK 1024u
/* Additions until the older samples are published again: the ring's half. */
#define INDEX_ADDED_MAX (VMAP_ENTRIES / 2)

enum { KIND_FLUSH = 1 };

struct vlsn {
	struct worker *w;
	struct region *r;
	struct loop loop;
	int wal_dir; /* -1 = could not be opened */
	int dir; /* data_dir/index; -1 = not there (yet) */
	int fd; /* of the file this process has made; -1 = not yet */

	struct index_head head; /* of the file to be made next */
	struct index_disk disk;
	uint64_t next; /* number of the first sample that is not in the file */
	uint64_t cuts; /* the map's, that file and next belong to */
	uint64_t checkpointed; /* seen at the last flush */
	struct vmap_pair lost; /* boot: known to the file, behind the log's
				  end; VLSN 0 = none */

	struct index_flush flush;
	int new_fd;
	uint64_t flush_next, flush_cuts; /* next and cuts after it */
	uint64_t flush_begun_ns;
	uint32_t generation; /* of the flush: completions carry it */

	uint64_t flushed_ns; /* end of the last flush */
	uint64_t retry_ns; /* none before; 0 = no failure */
	uint64_t backoff_ns;
	uint64_t due_ns; /* of the next flush, or LOOP_NEVER */
	bool loaded; /* the boot part is done: there may be flushes */
	bool parted; /* the last flush of a stop was begun */
};

/* Boot. Load the file, hold it against the log, fill its holes. */
void vlsn_load(struct vlsn *v);
/* Boot. Look some samples up in the log; forget all if one is false. */
void vlsn_check(struct vlsn *v);
/* Give the map its older samples; says so when there is no memory for them. */
void vlsn_publish(
    struct vlsn *v, const struct vmap_pair *pair, size_t n, uint64_t cuts);

/* Open the index' directory, made if it is missing. 0 or -errno. */
int vlsn_open_dir(struct vlsn *v);
/* Begin a flush if there is something to write. True if one is under way. */
bool vlsn_flush_start(struct vlsn *v);
/* When the next flush is due, LOOP_NEVER if the file is up to date. */
uint64_t vlsn_flush_due(struct vlsn *v);
loop_handler vlsn_flush_done;

#endif
