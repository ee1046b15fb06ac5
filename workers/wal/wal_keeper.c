/*
 * The keeper: segment files made ready ahead of use, and old ones used again.
 * One operation at a time, through the ring, in steps so small that flushes
 * do not feel them. Names tell a file's state, so a crash loses nothing:
 *	prep.N	reserved, its zeros are being written
 *	spare.N	ready: written over its whole length, or as far as there was
 *		time for, and flushed before it gets this name
 * A spare becomes the coming segment by rename, and is used when the rename
 * is on disk. Its header block is then still of a former life or zeros, so a
 * boot takes it for what it is: a segment never begun.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"

/* So long without a flush: zeros at full speed. */
#define ZERO_IDLE_NS (2 * NS_PER_MS)

void
wal_spare_name(char out[32], const struct wal_spare *s)
{
	snprintf(out, 32, "%s.%u", s->ready ? "spare" : "prep", s->id);
}

/* What a new segment may still be made from without a byte of new space. */
static uint32_t
spares_ahead(const struct wal *w)
{
	return w->keeper.spares + (w->keeper.next_fd >= 0);
}

bool
wal_keeper_full(const struct wal *w)
{
	return w->keeper.error != 0 && spares_ahead(w) == 0 &&
	       append_left(&w->log) < w->log.segment.limit / 8;
}

static bool
disk_is_full(const struct wal *w)
{
	return wal_is_nospace(-w->keeper.error);
}

static struct fault
keeper_fault(const struct wal *w, char path[PATH_MAX], const char *effect)
{
	const struct wal_keeper *k = &w->keeper;

	wal_path(w, path, PATH_MAX, "wal/%s", k->error_name);
	return (struct fault){
		.object = k->error_what != NULL ? k->denied.path : path,
		.call = k->error_call,
		.error = k->error,
		.place = PLACE_DATA,
		.effect = effect,
		.what = k->error_what,
		.goes_on = true,
		.command = k->error_command,
	};
}

/* Once for each error, since it asks for names of users. */
static void
explain(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	char path[PATH_MAX];
	struct fault f;

	k->error_what = k->error_command = NULL;
	f = keeper_fault(w, path, NULL);
	worker_explain(w->w, &f, &k->denied);
	k->error_what = f.what;
	k->error_command = f.command;
}

/* The one in use is the last: writes go on to its end. */
static void
space_tell(struct wal *w)
{
	char path[PATH_MAX];
	struct fault f;

	if (w->keeper.error == 0 || spares_ahead(w) > 0) {
		trouble_end(w->r, TROUBLE_LOG_SPACE);
		return;
	}
	f = keeper_fault(w, path,
	    "no further segment can be made, none is left: writes go on until "
	    "this one is full");
	trouble_begin(w->r, TROUBLE_LOG_SPACE, &f);
}

void
wal_full_tell(struct wal *w, bool full)
{
	bool space = disk_is_full(w);
	char path[PATH_MAX];
	struct fault f;

	if (!full || !space)
		trouble_end(w->r, TROUBLE_LOG_FULL);
	if (!full || space)
		trouble_end(w->r, TROUBLE_LOG_SEGMENT);
	if (!full) {
		space_tell(w);
		return;
	}
	trouble_end(w->r, TROUBLE_LOG_SPACE);
	f = keeper_fault(w, path,
	    space ? "the log has no room: writes are refused, reads go on, "
		    "nothing is lost"
		  : "no further segment can be made: writes are refused, "
		    "reads go on, nothing is lost");
	trouble_begin(w->r, space ? TROUBLE_LOG_FULL : TROUBLE_LOG_SEGMENT, &f);
}

void
wal_keeper_failed(struct wal *w, const char *name, const char *call, int error)
{
	bool late =
	    strcmp(call, "create") != 0 && strcmp(call, "fallocate") != 0;
	struct wal_keeper *k = &w->keeper;
	char path[PATH_MAX], text[FAULT_TEXT_MAX], effect[64];
	bool first = k->error != error;
	struct fault f;

	k->alloc_ns = mono_ns() + WAL_RETRY_NS;
	k->error = error;
	k->error_call = call;
	k->error_late = late;
	strlcpy(k->error_name, name, sizeof(k->error_name));
	if (!first)
		return;
	explain(w);
	if (disk_is_full(w))
		wal_count(w, C_WAL_NOSPACE, 1);
	if (spares_ahead(w) == 0)
		return;
	snprintf(effect, sizeof(effect),
	    "no further segment can be made, %u are left", spares_ahead(w));
	f = keeper_fault(w, path, effect);
	event_add(w->r, SLOT_WAL, EVENT_ERROR, "%s",
	    fault_text(text, sizeof(text), &f));
}

static void
keeper_well(struct wal *w)
{
	if (w->keeper.error == 0)
		return;
	w->keeper.error = 0;
	event_add(w->r, SLOT_WAL, EVENT_INFO, "segments can be made again");
}

static void
spare_drop(struct wal *w, uint32_t i)
{
	struct wal_keeper *k = &w->keeper;

	ASSERT(i < k->spares);
	k->spare[i] = k->spare[--k->spares];
}

/* Its file goes as the next job: that may block, and then not us. */
static void
spare_remove(struct wal *w, uint32_t i)
{
	struct wal_keeper *k = &w->keeper;

	wal_spare_name(k->drop, &k->spare[i]);
	if (k->spare[i].fd >= 0)
		close(k->spare[i].fd);
	if (i < k->spares)
		spare_drop(w, i);
}

int
wal_keeper_old_add(struct wal *w, const struct wal_old *old)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_old *grown;
	uint32_t room;

	if (k->olds == k->old_room) {
		room = k->old_room == 0 ? 64 : 2 * k->old_room;
		grown = realloc(k->old, room * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		k->old = grown;
		k->old_room = room;
	}
	k->old[k->olds++] = *old;
	return 0;
}

void
wal_keeper_cut(struct wal *w, uint32_t number)
{
	struct wal_keeper *k = &w->keeper;

	ASSERT(k->cut_from == k->cut_to);
	ASSERT(number < w->segment.info.number);
	while (k->olds > 0 && k->old[k->olds - 1].number > number)
		k->olds--;
	k->cut_from = number + 1;
	k->cut_to = w->segment.info.number;
}

/* First VLSN behind old[i]. */
static uint64_t
old_end(const struct wal *w, uint32_t i)
{
	return i + 1 < w->keeper.olds ? w->keeper.old[i + 1].first_vlsn
				      : w->segment.info.first_vlsn;
}

uint64_t
wal_member_in_force(const struct wal *w)
{
	uint64_t newest = position_get(&w->r->pos->member);

	return newest <= w->durable &&
		       newest <= word_vlsn(position_get(&w->r->pos->committed))
		   ? newest
		   : w->member_before;
}

/*
 * Is it still to be sent to a member? Then as much again is kept, so that who
 * catches up is not lapped by the writes of meanwhile; beyond that it is.
 */
static uint64_t
keep_most(const struct wal *w)
{
	uint64_t serving = position_get(&w->r->pos->serving);
	uint64_t keep = w->conf->wal.keep_size;

	return serving != 0 && serving < old_end(w, 0) ? 2 * keep : keep;
}

/*
 * May the oldest segment go? All of it is in a checkpoint, and what stays
 * behind the checkpoint is as much as is to be kept (none, without space).
 */
static bool
oldest_may_go(const struct wal *w)
{
	uint64_t done = position_get(&w->r->pos->checkpointed), kept = 0;
	uint64_t member = wal_member_in_force(w);
	const struct wal_keeper *k = &w->keeper;
	uint64_t most;
	uint32_t i;

	if (k->olds == 0 || old_end(w, 0) > done + 1)
		return false;
	/* A boot looks at the newest record: a log is never left without, nor
	   by a cut, which takes all that is not committed. */
	if (old_end(w, 0) > w->durable ||
	    old_end(w, 0) > word_vlsn(position_get(&w->r->pos->committed)))
		return false;
	/* Nor is the group, of its membership. */
	if (member >= position_get(&w->r->pos->first) &&
	    member < old_end(w, 0) && position_get(&w->r->pos->filed) != member)
		return false;
	if (disk_is_full(w))
		return true;
	most = keep_most(w);
	for (i = 1; i < k->olds && old_end(w, i) <= done + 1 && kept < most;
	     i++)
		kept += k->old[i].size;
	return kept >= most;
}

/*
 * Forget the oldest segment. Its file is renamed or removed next: by then
 * `first` tells readers that what they miss there is no damage.
 */
static void
oldest_forget(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	uint64_t first = old_end(w, 0);

	ASSERT(k->olds > 0);
	/* A log is never left without a record. */
	ASSERT(first <= w->durable);
	position_set(&w->r->pos->first, first);
	vmap_trim(w->r->vmap, first);
	memmove(k->old, k->old + 1, --k->olds * sizeof(*k->old));
}

static struct io_uring_sqe *
job_sqe(struct wal *w, enum wal_job job)
{
	struct io_uring_sqe *sqe = loop_sqe(&w->loop);

	if (sqe == NULL)
		return NULL;
	w->keeper.job = job;
	return sqe;
}

static void
job_tag(struct wal *w, struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_data64(
	    sqe, loop_tag(WAL_KIND_KEEPER, 0, w->keeper.job));
}

static void
job_rename(struct wal *w, enum wal_job job)
{
	struct wal_keeper *k = &w->keeper;
	struct io_uring_sqe *sqe = job_sqe(w, job);

	if (sqe == NULL)
		return;
	io_uring_prep_renameat(sqe, w->dir, k->from, w->dir, k->to, 0);
	job_tag(w, sqe);
}

static void
job_sync(struct wal *w, enum wal_job job, int fd)
{
	struct io_uring_sqe *sqe = job_sqe(w, job);

	if (sqe == NULL)
		return;
	io_uring_prep_fsync(sqe, fd, 0);
	job_tag(w, sqe);
}

static bool
job_open(struct wal *w, enum wal_job job, int dir, const char *name, int flags)
{
	struct io_uring_sqe *sqe = job_sqe(w, job);

	if (sqe == NULL)
		return false;
	if (job != JOB_RESERVE_OPEN && w->io.direct)
		flags |= O_DIRECT;
	io_uring_prep_openat(sqe, dir, name, O_RDWR | O_CLOEXEC | flags, 0640);
	/* On a disk that hangs it does not come back. */
	sqe->flags |= IOSQE_ASYNC;
	job_tag(w, sqe);
	return true;
}

static void
job_unlink(struct wal *w, enum wal_job job, int dir, const char *name)
{
	struct io_uring_sqe *sqe = job_sqe(w, job);

	if (sqe == NULL)
		return;
	io_uring_prep_unlinkat(sqe, dir, name, 0);
	job_tag(w, sqe);
}

static void
job_alloc(struct wal *w, enum wal_job job, int fd, uint64_t size)
{
	struct io_uring_sqe *sqe = job_sqe(w, job);

	if (sqe == NULL)
		return;
	io_uring_prep_fallocate(sqe, fd, 0, 0, (off_t)size);
	job_tag(w, sqe);
}

/* The coming segment: from a spare to its name. */
static bool
pick_next(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	uint32_t i;

	if (k->next_fd >= 0) {
		if (k->next_ready)
			return false;
		job_sync(w, JOB_NEXT_DIR, w->dir);
		return true;
	}
	for (i = 0; i < k->spares; i++)
		if (k->spare[i].ready)
			break;
	if (i == k->spares)
		return false;
	k->job_spare = i;
	k->next_number = w->segment.info.number + 1;
	wal_spare_name(k->from, &k->spare[i]);
	segment_name(k->to, k->next_number);
	job_rename(w, JOB_NEXT);
	return true;
}

/* The oldest segment as a spare, or away with it. */
static bool
pick_oldest(struct wal *w, bool wanted)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->spares];
	uint64_t size;

	if (!oldest_may_go(w))
		return false;
	segment_name(k->from, k->old[0].number);
	size = k->old[0].size;
	oldest_forget(w);
	if (wanted && size == wal_segment_size(w)) {
		s->fd = -1;
		s->id = k->next_id++;
		s->zeroed = (uint32_t)size;
		s->ready = true;
		wal_spare_name(k->to, s);
		job_rename(w, JOB_RECYCLE);
		return true;
	}
	job_unlink(w, JOB_UNLINK, w->dir, k->from);
	return true;
}

static bool
pick_new(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->spares];

	s->id = k->next_id++;
	s->zeroed = 0;
	s->ready = false;
	s->fd = -1;
	wal_spare_name(k->to, s);
	return job_open(w, JOB_OPEN, w->dir, k->to, O_CREAT | O_EXCL);
}

/* What failed is out of the way first. */
static bool
pick_drop(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;

	if (k->drop[0] != '\0') {
		/* The name is read when the job is submitted. */
		strlcpy(k->from, k->drop, sizeof(k->from));
		job_unlink(w, JOB_DROP, w->dir, k->from);
		k->drop[0] = '\0';
	} else if (k->drop_reserve) {
		job_unlink(w, JOB_DROP, w->w->data_dir, WAL_RESERVE_NAME);
		k->drop_reserve = false;
	} else if (k->cut_from < k->cut_to && !wal_cutting(w)) {
		/* Superseded by a header that is on disk. */
		segment_name(k->from, k->cut_from++);
		job_unlink(w, JOB_DROP, w->dir, k->from);
		if (k->job == JOB_NONE) /* no room to submit it: again */
			k->cut_from--;
	} else
		return false;
	return true;
}

static bool
pick_reserve(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;

	return k->reserve_missing && k->error == 0 &&
	       w->loop.now_ns >= k->reserve_ns &&
	       job_open(w, JOB_RESERVE_OPEN, w->w->data_dir, WAL_RESERVE_NAME,
		   O_CREAT);
}

/*
 * Is it time for a step of zeros? A flush beside one takes three times as
 * long. So: when none was under way for a while, or as far as the current
 * segment is used up, so that the next file is done when this one is full.
 */
static bool
zero_now(const struct wal *w, const struct wal_spare *s)
{
	uint64_t used = w->log.segment.limit - append_left(&w->log);

	if (w->phase != WAL_APPENDING)
		return true; /* writers wait for it */
	if (w->flights == 0 && w->loop.now_ns >= w->flushed_ns + ZERO_IDLE_NS)
		return true;
	return used * wal_segment_size(w) >
	       (uint64_t)s->zeroed * w->log.segment.limit;
}

/* Zeros for a prep; when all are written, or none wait, it is made ready. */
static bool
pick_zero(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	struct io_uring_sqe *sqe;
	struct wal_spare *s;
	bool urgent;
	uint32_t i;

	for (i = 0; i < k->spares && k->spare[i].ready; i++)
		;
	if (i == k->spares)
		return false;
	s = &k->spare[i];
	k->job_spare = i;
	urgent =
	    k->next_fd < 0 && append_left(&w->log) < w->log.segment.limit / 4;
	if (s->zeroed == wal_segment_size(w) || urgent) {
		/* Without its zeros a flush takes longer; waiting, too. */
		job_sync(w, JOB_SYNC, s->fd);
		return true;
	}
	if (!zero_now(w, s) || wal_zeros() == NULL)
		return false;
	sqe = job_sqe(w, JOB_ZERO);
	if (sqe == NULL)
		return false;
	k->job_bytes = WAL_ZEROS;
	io_uring_prep_write(sqe, s->fd, wal_zeros(), WAL_ZEROS, s->zeroed);
	job_tag(w, sqe);
	return true;
}

void
wal_keeper_turn(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	bool wanted = spares_ahead(w) < w->conf->wal.spare_segments &&
		      k->spares < WAL_SPARE_MAX;

	if (k->job != JOB_NONE || w->phase == WAL_IDLE ||
	    w->phase == WAL_FAILED || w->stopping ||
	    w->loop.now_ns < k->rename_ns)
		return;
	if (pick_drop(w) || pick_next(w) || pick_oldest(w, wanted))
		return;
	if (wanted && w->loop.now_ns >= k->alloc_ns && pick_new(w))
		return;
	if (!pick_zero(w))
		(void)pick_reserve(w);
}

/* The file at spare[i], or the one that would be the next, is given up. */
static void
file_failed(struct wal *w, uint32_t i, const char *call, int res)
{
	char name[32];

	wal_spare_name(name, &w->keeper.spare[i]);
	spare_remove(w, i);
	wal_keeper_failed(w, name, call, -res);
}

static void
done_open(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;

	res = wal_fault(WAL_OP_OPEN, res);
	if (res < 0) {
		wal_keeper_failed(w, k->to, "create", -res);
		return;
	}
	k->spare[k->spares].fd = res;
	job_alloc(w, JOB_ALLOC, res, wal_segment_size(w));
	/* Not even that: its file is in the way of nothing. */
	if (k->job == JOB_NONE)
		spare_remove(w, k->spares);
}

static void
done_alloc(struct wal *w, int res)
{
	res = wal_fault(WAL_OP_ALLOC, res);
	if (res != 0 && res != -EOPNOTSUPP) {
		file_failed(w, w->keeper.spares, "fallocate", res);
		return;
	}
	w->keeper.spares++;
	/* Of one that could not be written, a whole file is the end. */
	if (!w->keeper.error_late)
		keeper_well(w);
}

static void
done_zero(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->job_spare];

	res = wal_fault(WAL_OP_ZERO, res);
	if (res > 0)
		s->zeroed += (uint32_t)align_down((uint32_t)res, w->io.block);
	else
		file_failed(w, k->job_spare, "write", res < 0 ? res : -ENOSPC);
}

static void
done_sync(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->job_spare];

	res = wal_fault(WAL_OP_SYNC, res);
	if (res != 0) {
		/* Final for that file, as for every other. */
		file_failed(w, k->job_spare, "fsync", res);
		return;
	}
	wal_spare_name(k->from, s);
	snprintf(k->to, sizeof(k->to), "spare.%u", s->id);
	job_rename(w, JOB_READY);
}

/* The oldest segment has a spare's name: it is one when it is open. */
static void
done_reopen(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;

	k->spare[k->spares].fd = res;
	if (res < 0)
		file_failed(w, k->spares, "open", res);
	else
		k->spares++;
}

static void
done_reserve(struct wal *w, enum wal_job job, int res)
{
	struct wal_keeper *k = &w->keeper;

	if (job == JOB_RESERVE_OPEN && res >= 0) {
		k->reserve_fd = res;
		job_alloc(w, JOB_RESERVE_ALLOC, res, w->conf->wal.reserve);
		if (k->job != JOB_NONE)
			return;
		res = -EAGAIN;
	}
	if (k->reserve_fd >= 0)
		close(k->reserve_fd);
	k->reserve_fd = -1;
	k->reserve_ns = w->loop.now_ns + WAL_RETRY_NS;
	k->reserve_missing = res != 0;
	k->drop_reserve = res != 0;
}

static void
done_next(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;

	k->next_fd = k->spare[k->job_spare].fd;
	k->next_size = wal_segment_size(w);
	k->next_ready = false;
	spare_drop(w, k->job_spare);
	(void)res;
}

/* A spare whose rename failed is given up; another one is made, later. */
static bool
rename_failed(struct wal *w, int res, uint32_t spare)
{
	struct wal_keeper *k = &w->keeper;

	res = wal_fault(WAL_OP_RENAME, res);
	if (res == 0)
		return false;
	if (spare < k->spares)
		spare_remove(w, spare);
	wal_keeper_failed(w, k->from, "rename", -res);
	k->rename_ns = w->loop.now_ns + WAL_RETRY_NS;
	return true;
}

/* flat dispatch */
static void
job_done(struct wal *w, enum wal_job job, int res)
{
	struct wal_keeper *k = &w->keeper;

	switch (job) {
	case JOB_NONE:
		break;
	case JOB_OPEN:
		done_open(w, res);
		break;
	case JOB_ALLOC:
		done_alloc(w, res);
		break;
	case JOB_ZERO:
		done_zero(w, res);
		break;
	case JOB_SYNC:
		done_sync(w, res);
		break;
	case JOB_READY:
		if (rename_failed(w, res, k->job_spare))
			break;
		k->spare[k->job_spare].ready = true;
		keeper_well(w);
		break;
	case JOB_NEXT:
		if (!rename_failed(w, res, k->job_spare))
			done_next(w, res);
		break;
	case JOB_NEXT_DIR:
		res = wal_fault(WAL_OP_SYNC, res);
		/* A segment whose name is on no disk could be lost with all
		   that is in it. */
		if (res != 0)
			wal_fail(w, "", "fsync", -res);
		k->next_ready = true;
		break;
	case JOB_RECYCLE:
		wal_count(w, C_WAL_RECYCLED, 1);
		if (!rename_failed(w, res, UINT32_MAX))
			(void)job_open(w, JOB_REOPEN, w->dir, k->to, 0);
		break;
	case JOB_REOPEN:
		done_reopen(w, res);
		break;
	case JOB_UNLINK:
		wal_count(w, C_WAL_RECYCLED, 1);
		break;
	case JOB_DROP:
		break; /* what stays there a boot finds */
	case JOB_RESERVE_OPEN:
	case JOB_RESERVE_ALLOC:
		done_reserve(w, job, res);
		break;
	}
}

void
wal_keeper_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	enum wal_job job = w->keeper.job;

	(void)slot;
	(void)generation;
	(void)flags;
	ASSERT(job != JOB_NONE);
	w->keeper.job = JOB_NONE;
	job_done(w, job, res);
	wal_full_tell(w, wal_keeper_full(w));
}

uint64_t
wal_keeper_deadline(const struct wal *w)
{
	const struct wal_keeper *k = &w->keeper;
	uint64_t at = w->flushed_ns + ZERO_IDLE_NS;
	uint32_t i;

	if (k->job != JOB_NONE || w->phase == WAL_IDLE ||
	    w->phase == WAL_FAILED || w->stopping || w->flights > 0)
		return LOOP_NEVER;
	for (i = 0; i < k->spares; i++)
		if (!k->spare[i].ready)
			return at > k->rename_ns ? at : k->rename_ns;
	return LOOP_NEVER;
}

int
wal_keeper_take(struct wal *w, uint32_t *number, uint64_t *size)
{
	struct wal_keeper *k = &w->keeper;
	int fd = k->next_fd;

	if (fd < 0 || !k->next_ready)
		return -1;
	ASSERT(k->next_number > w->segment.info.number);
	*number = k->next_number;
	*size = k->next_size;
	k->next_fd = -1;
	k->next_ready = false;
	return fd;
}

void
wal_keeper_hint_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;

	(void)slot;
	(void)generation;
	(void)flags;
	/* Only a hint: what is lost of it costs a longer scan. */
	if (res != LOG_HINT_SIZE)
		w->keeper.hint_vlsn = 0;
	w->keeper.hint_busy = false;
}

static void
hint_write(struct wal *w)
{
	uint64_t done = position_get(&w->r->pos->checkpointed);
	struct wal_keeper *k = &w->keeper;
	struct io_uring_sqe *sqe;

	if (k->hint_fd < 0 || k->hint_busy || done == k->hint_vlsn)
		return;
	sqe = loop_sqe(&w->loop);
	if (sqe == NULL)
		return;
	log_hint_encode(k->hint, done);
	k->hint_vlsn = done;
	k->hint_busy = true;
	io_uring_prep_write(sqe, k->hint_fd, k->hint, LOG_HINT_SIZE, 0);
	/* Through the page cache: it may block, and then not us. */
	sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data64(sqe, loop_tag(WAL_KIND_HINT, 0, 0));
}

void
wal_keeper_tick(struct wal *w)
{
	if (w->phase == WAL_IDLE || w->phase == WAL_FAILED || w->stopping)
		return;
	hint_write(w);
	wal_full_tell(w, wal_keeper_full(w));
}
