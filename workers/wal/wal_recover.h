/*
 * What the files of a boot's scan share: wal_recover.c, and what force does
 * about damage, wal_force.c.
 */
#ifndef WORKERS_WAL_WAL_RECOVER_H
#define WORKERS_WAL_WAL_RECOVER_H

#include "conf/node_file.h"
#include "shm/fault.h"
#include "shm/log/logcheck.h"
#include "workers/wal/wal.h"

struct recovery {
	struct wal *w;
	struct logcheck check;
	struct node_file node;
	uint64_t records, total, reported;
	uint64_t member; /* as wal's */
	uint64_t member_before; /* likewise: it may not be committed */
	uint32_t scanned; /* number of the first segment scanned */
	uint64_t run_term; /* of the record scanned before */
	uint64_t time_from; /* when the scan began */
	uint32_t highest; /* number of any file, 0 = there is none */
	bool sample; /* the next record may be a map sample */
	/* Of the newest segment scanned: what lies before `sure` was durable,
	   for a later head knows of a record of the flush that begins there.
	   `mark`: where that may come to lie, when a head knows of mark_vlsn;
	   0 = that record is still to come. */
	uint32_t sure, mark;
	uint64_t mark_vlsn;
	bool torn; /* a tail is cut */
	uint64_t term_seen; /* the newest that anything tells of */
	int error; /* why the boot fails: errno, 0 = what why[] says */
	bool damage; /* ... and a reader says so */
	const char *call; /* ... and the call */
	char object[PATH_MAX]; /* ... of which file */
	char what[128]; /* ... and what, if no errno tells; "" = errno's */
	char why[FAULT_TEXT_MAX]; /* ... and what it means for the data */
};

/* A call failed on `name` in the data directory: the boot fails by that. */
int wal_refuse_call(
    struct recovery *rec, const char *name, const char *call, int error);
/*
 * No record of the log counts: a new one begins behind the checkpoint, and
 * behind all that is known to have been durable.
 */
void wal_begin_anew(struct recovery *rec);

/*
 * wal_force.c. What force would drop and keep, in the words of a boot that
 * refuses: behind what is in buf. wal_force_gone_tell(): there is no log.
 */
void wal_force_tell(const struct recovery *rec, char *buf, size_t size);
void wal_force_gone_tell(const struct recovery *rec, char *buf, size_t size);
/* The log is damaged: do it. 0, or negative after a refusal. */
int wal_force(struct recovery *rec);
/* It is not; but other rooms will skip something. As above. */
int wal_force_others(struct recovery *rec);
/* Before the scan: no term comes again, of what will be dropped neither. */
void wal_force_terms(struct recovery *rec);
/* A new log begins: say behind what, if there was one. */
void wal_force_anew_tell(const struct recovery *rec);

#endif
