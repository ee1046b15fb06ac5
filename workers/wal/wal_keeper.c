/*
 * The keeper: segment files made ready ahead of use, and old ones used again.
 * One operation at a time, through the ring, in steps so small that flushes
 * do not feel them. Names tell a file's state, so a crash loses nothing:
 *	prep.N	reserved, its zeros are being written
 *	spare.N	written over its whole length: ready
 * A spare becomes the coming segment by rename, and is used when the rename
 * is on disk. Its header block is then still of a former life or zeros, so a
 * boot takes it for what it is: a segment never begun.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/log.h"

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
	return w->keeper.nospace && spares_ahead(w) == 0 &&
	       wal_segment_left(w) < w->segment.limit / 8;
}

void
wal_full_tell(struct wal *w, bool full)
{
	char path[PATH_MAX];
	struct fault f = { .object = path,
		.error = ENOSPC,
		.place = PLACE_DATA,
		.effect = "writes are refused, reads go on, nothing is lost",
		.goes_on = true };

	position_set(&w->r->pos->nospace, full);
	if (!full) {
		trouble_end(w->r, TROUBLE_LOG_FULL);
		return;
	}
	snprintf(path, sizeof(path), "%s/wal", w->conf->node.data_dir);
	trouble_begin(w->r, TROUBLE_LOG_FULL, &f);
}

void
wal_nospace_set(struct wal *w, bool nospace)
{
	struct wal_keeper *k = &w->keeper;

	if (k->nospace == nospace)
		return;
	k->nospace = nospace;
	if (nospace) {
		wal_count(w, C_WAL_NOSPACE, 1);
		event_add(w->r, SLOT_WAL, EVENT_ERROR,
		    "no space on the disk for further segments, %u are left",
		    spares_ahead(w));
	} else
		event_add(w->r, SLOT_WAL, EVENT_INFO,
		    "there is space for segments again");
}

static void
spare_drop(struct wal *w, uint32_t i)
{
	struct wal_keeper *k = &w->keeper;

	ASSERT(i < k->spares);
	k->spare[i] = k->spare[--k->spares];
}

static void
spare_remove(struct wal *w, uint32_t i)
{
	char name[32];

	wal_spare_name(name, &w->keeper.spare[i]);
	close(w->keeper.spare[i].fd);
	unlinkat(w->dir, name, 0);
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

/* First VLSN behind old[i]. */
static uint64_t
old_end(const struct wal *w, uint32_t i)
{
	return i + 1 < w->keeper.olds ? w->keeper.old[i + 1].first_vlsn
				      : w->segment.info.first_vlsn;
}

/*
 * May the oldest segment go? All of it is in a checkpoint, and what stays
 * behind the checkpoint is as much as is to be kept (none, without space).
 */
static bool
oldest_may_go(const struct wal *w)
{
	uint64_t done = position_get(&w->r->pos->checkpointed), kept = 0;
	const struct wal_keeper *k = &w->keeper;
	uint32_t i;

	if (k->olds == 0 || old_end(w, 0) > done + 1)
		return false;
	/* A boot looks at the newest record: a log is never left without. */
	if (old_end(w, 0) > w->durable)
		return false;
	if (k->nospace)
		return true;
	for (i = 1; i < k->olds && old_end(w, i) <= done + 1 &&
		    kept < w->conf->wal.keep_size;
	     i++)
		kept += k->old[i].size;
	return kept >= w->conf->wal.keep_size;
}

/* Forget the oldest segment; its file is renamed or removed next. */
static void
oldest_forget(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	uint64_t first = old_end(w, 0);

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
	struct io_uring_sqe *sqe;
	uint64_t size;

	if (!oldest_may_go(w))
		return false;
	segment_name(k->from, k->old[0].number);
	size = k->old[0].size;
	oldest_forget(w);
	if (wanted && size == wal_segment_size(w)) {
		s->fd = wal_file_open(&w->io, w->dir, k->from, false);
		if (s->fd >= 0) {
			s->id = k->next_id++;
			s->zeroed = (uint32_t)size;
			s->ready = true;
			wal_spare_name(k->to, s);
			job_rename(w, JOB_RECYCLE);
			return true;
		}
	}
	sqe = job_sqe(w, JOB_UNLINK);
	if (sqe != NULL) {
		io_uring_prep_unlinkat(sqe, w->dir, k->from, 0);
		job_tag(w, sqe);
	}
	return true;
}

static bool
pick_alloc(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->spares];
	struct io_uring_sqe *sqe;
	char name[32];

	s->id = k->next_id++;
	s->zeroed = 0;
	s->ready = false;
	wal_spare_name(name, s);
	s->fd = wal_file_open(&w->io, w->dir, name, true);
	if (s->fd < 0) {
		wal_nospace_set(w, wal_is_nospace(s->fd) || k->nospace);
		k->alloc_ns = w->loop.now_ns + WAL_RETRY_NS;
		return false;
	}
	sqe = job_sqe(w, JOB_ALLOC);
	if (sqe == NULL) {
		close(s->fd);
		unlinkat(w->dir, name, 0);
		return false;
	}
	io_uring_prep_fallocate(sqe, s->fd, 0, 0, (off_t)wal_segment_size(w));
	job_tag(w, sqe);
	return true;
}

/*
 * Is it time for a step of zeros? A flush beside one takes three times as
 * long. So: when none was under way for a while, or as far as the current
 * segment is used up, so that the next file is done when this one is full.
 */
static bool
zero_now(const struct wal *w, const struct wal_spare *s)
{
	uint64_t used = w->segment.limit - wal_segment_left(w);

	if (w->phase != WAL_APPENDING)
		return true; /* writers wait for it */
	if (w->flights == 0 && w->loop.now_ns >= w->flushed_ns + ZERO_IDLE_NS)
		return true;
	return used * wal_segment_size(w) >
	       (uint64_t)s->zeroed * w->segment.limit;
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
	urgent = k->next_fd < 0 && wal_segment_left(w) < w->segment.limit / 4;
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
	if (pick_next(w) || pick_oldest(w, wanted))
		return;
	if (wanted && w->loop.now_ns >= k->alloc_ns && pick_alloc(w))
		return;
	(void)pick_zero(w);
}

static void
done_alloc(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;
	char name[32];

	res = wal_fault(WAL_OP_ALLOC, res);
	if (res == 0 || res == -EOPNOTSUPP) {
		k->spares++;
		wal_nospace_set(w, false);
		return;
	}
	wal_spare_name(name, &k->spare[k->spares]);
	close(k->spare[k->spares].fd);
	unlinkat(w->dir, name, 0);
	k->alloc_ns = w->loop.now_ns + WAL_RETRY_NS;
	if (wal_is_nospace(res))
		wal_nospace_set(w, true);
	else
		log_warnx("wal/%s: fallocate: %s", name, strerror(-res));
}

static void
done_zero(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->job_spare];

	res = wal_fault(WAL_OP_ZERO, res);
	if (res > 0) {
		s->zeroed += (uint32_t)align_down((uint32_t)res, w->io.block);
		return;
	}
	k->alloc_ns = w->loop.now_ns + WAL_RETRY_NS;
	log_warnx("wal/prep.%u: write: %s", s->id, strerror(-res));
	if (wal_is_nospace(res))
		wal_nospace_set(w, true);
	spare_remove(w, k->job_spare);
}

static void
done_sync(struct wal *w, int res)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->job_spare];

	if (wal_fault(WAL_OP_SYNC, res) != 0) {
		/* Final for that file, as for every other. */
		log_warnx("wal/prep.%u: fsync: %s", s->id, strerror(-res));
		k->alloc_ns = w->loop.now_ns + WAL_RETRY_NS;
		spare_remove(w, k->job_spare);
		return;
	}
	wal_spare_name(k->from, s);
	snprintf(k->to, sizeof(k->to), "spare.%u", s->id);
	job_rename(w, JOB_READY);
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
	log_warnx("wal/%s: rename to %s: %s", k->from, k->to, strerror(-res));
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
		if (!rename_failed(w, res, k->job_spare))
			k->spare[k->job_spare].ready = true;
		break;
	case JOB_NEXT:
		if (!rename_failed(w, res, k->job_spare))
			done_next(w, res);
		break;
	case JOB_NEXT_DIR:
		if (wal_fault(WAL_OP_SYNC, res) != 0)
			wal_fail(w, "", "fsync", -res);
		k->next_ready = true;
		break;
	case JOB_RECYCLE:
		wal_count(w, C_WAL_RECYCLED, 1);
		if (!rename_failed(w, res, UINT32_MAX))
			k->spares++;
		else
			close(k->spare[k->spares].fd);
		break;
	case JOB_UNLINK:
		wal_count(w, C_WAL_RECYCLED, 1);
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
	if (w->keeper.reserve_missing && !w->keeper.nospace)
		wal_reserve_make(w);
	wal_full_tell(w, wal_keeper_full(w));
}
