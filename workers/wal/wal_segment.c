/*
 * Segments: the first of a boot, and from one to the next. A new segment's
 * header is written only when everything before it is durable, and records
 * only when the header is; both orders are what recovery relies on.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/assert.h"
#include "shm/say.h"

/* Lay the header at the log's end, which is on a block. */
static void
header_append(struct wal *w, int fd, uint64_t file_size)
{
	struct wal_segment *s = &w->segment;

	/* All that it continues is durable, all that it tells of is in it. */
	ASSERT(w->flights == 0);
	ASSERT(w->durable == w->log.end.vlsn);
	ASSERT(w->member <= w->log.end.vlsn);
	ASSERT(fd >= 0);
	memcpy(s->info.uuid, w->uuid, sizeof(s->info.uuid));
	s->info.generation = w->generation;
	s->info.life = segment_life_new();
	s->info.block = w->io.block;
	s->info.size = (uint32_t)file_size;
	s->info.member = w->member;
	/* What the headers before told of cuts still counts when they go. */
	s->info.cut = w->cut.high > w->log.end.vlsn ? w->cut.high : 0;
	s->info.begun_ms = wall_ms();
	s->fd = fd;
	append_segment(&w->log, &s->info);
	w->sampled = false;
	wal_publish_appended(w);
}

void
wal_segment_close(struct wal *w)
{
	ASSERT(w->phase == WAL_APPENDING);
	w->phase = WAL_CLOSING;
}

/* What the full segment becomes: part of the log behind the current one. */
static void
segment_retire(struct wal *w)
{
	struct wal_segment *s = &w->segment;
	struct wal_old old = { .number = s->info.number,
		.first_vlsn = s->info.first_vlsn,
		.size = (uint64_t)w->log.segment.limit + w->io.block };

	if (wal_keeper_old_add(w, &old) != 0)
		say_warnx("wal/%08x.seg: no memory to remember it; it is "
			  "recycled after the next boot",
		    s->info.number);
	close(s->fd);
	s->info.prev_number = s->info.number;
	s->info.prev_end = append_offset(&w->log);
	ASSERT(s->info.prev_end % w->io.block == 0);
	ASSERT(s->info.prev_end <= w->log.segment.limit);
}

void
wal_segment_begin(struct wal *w, int fd, uint32_t number, uint64_t size)
{
	ASSERT(number > w->segment.info.prev_number);
	w->segment.info.number = number;
	header_append(w, fd, size);
	w->phase = WAL_HEADER;
	wal_flight_header(w);
}

void
wal_segment_turn(struct wal *w)
{
	uint32_t number,
	    slack = w->io.block + SEGMENT_BATCH_LEN + REC_HEADER_SIZE;
	uint64_t size;
	int fd;

	if (w->phase != WAL_CLOSING || w->log.batch.open || w->flights > 0)
		return;
	/* A cut begins another one. */
	if (wal_cutting(w))
		return;
	if (!wal_buffer_has(w, slack)) {
		w->own_room = w->need_room;
		return;
	}
	if (w->log.position % w->io.block != 0) {
		/* The next base is on a block: a last flush of only a pad. */
		wal_batch_open(w);
		return;
	}
	fd = wal_keeper_take(w, &number, &size);
	if (fd < 0) {
		wal_busy(w, BUSY_SPACE);
		return;
	}
	segment_retire(w);
	wal_segment_begin(w, fd, number, size);
}

/* A new file of the first segment's size, written with zeros. */
static int
first_make(struct wal *w, const char *name, uint64_t *size)
{
	int fd, rc;

	*size = WAL_FIRST_SEGMENT;
	fd = wal_file_open(&w->io, w->dir, name, true);
	if (fd < 0)
		return fd;
	rc = wal_file_alloc(fd, *size);
	if (rc == 0)
		rc = wal_file_zero(fd, 0, *size);
	if (rc == 0)
		return fd;
	close(fd);
	unlinkat(w->dir, name, 0);
	return rc;
}

/* On a full disk: a spare, else what the reserve gives back. */
static int
first_find(struct wal *w, const char *name, uint64_t *size)
{
	int fd = first_make(w, name, size);

	if (fd != -ENOSPC && fd != -EDQUOT)
		return fd;
	fd = wal_keeper_spare(w, name, size);
	if (fd != -ENOENT)
		return fd;
	event_add(w->r, SLOT_WAL, EVENT_WARN,
	    "no space for a segment: the reserve is used up");
	unlinkat(w->w->data_dir, WAL_RESERVE_NAME, 0);
	return first_make(w, name, size);
}

/* The header, which no flight carried: written, and durable. */
static void
first_trace(struct wal *w)
{
	struct iovec iov = { .iov_base =
				 append_at(&w->log, w->log.segment.base),
		.iov_len = w->io.block };
	struct wal_trace t = { .number = w->segment.info.number,
		.iov = &iov,
		.iovs = 1,
		.vlsn = w->log.end.vlsn };

	if (wal_trace_hook == NULL)
		return;
	wal_trace_hook(&t);
	t.iov = NULL;
	wal_trace_hook(&t);
}

/* The header is on disk, and its file's name. */
static int
first_write(struct wal *w, int fd)
{
	int rc = wal_file_write(&w->io, fd,
	    append_at(&w->log, w->log.segment.base), w->io.block, 0);

	if (rc == 0)
		rc = wal_file_sync(w->dir);
	/* The first segment of all: its directory is as new. */
	if (rc == 0 && w->segment.info.prev_number == 0)
		rc = wal_file_sync(w->w->data_dir);
	return rc;
}

/*
 * Does the log's tail tell format and generation as the node file does? Then
 * that is durable: else its header would not be there.
 */
static bool
tail_tells(const struct wal *w, const struct node_file *node)
{
	const struct segment_list *l = &w->found;
	uint32_t i;

	for (i = 0; i < l->count; i++)
		if (l->entry[i].number == w->segment.info.prev_number)
			return l->entry[i].info.format == SEGMENT_FORMAT &&
			       l->entry[i].info.generation == node->generation;
	return false;
}

/*
 * Before there is a segment of format 2 the node file says so, durably: a
 * release that does not know it refuses the directory then, and not the
 * segment as damage. On a full disk the reserve is there for that. Where the
 * file says it already, who wrote that may have died before the directory was
 * flushed.
 */
static int
format_raise(struct wal *w)
{
	int dir = w->w->data_dir, rc;
	struct node_file node;
	char why[128];

	rc = node_file_read(dir, &node, why, sizeof(why));
	if (rc != 0)
		return wal_boot_fault(w, NODE_FILE_NAME, "read", -rc);
	if (node.format >= NODE_FILE_FORMAT) {
		rc = tail_tells(w, &node) ? 0 : wal_file_sync(dir);
		return rc == 0
			   ? 0
			   : wal_boot_fault(w, NODE_FILE_NAME, "fsync", -rc);
	}
	node.format = NODE_FILE_FORMAT;
	rc = node_file_write(dir, &node);
	if (rc == -ENOSPC || rc == -EDQUOT) {
		unlinkat(dir, WAL_RESERVE_NAME, 0);
		rc = node_file_write(dir, &node);
	}
	if (rc != 0)
		return wal_boot_fault(w, NODE_FILE_NAME, "write", -rc);
	event_add(w->r, SLOT_WAL, EVENT_INFO,
	    "the log goes on in format 2: releases before it refuse this "
	    "directory from now on");
	return 0;
}

int
wal_segment_first(struct wal *w)
{
	char name[SEGMENT_NAME_MAX], path[SEGMENT_NAME_MAX + 4];
	uint64_t size = 0;
	int fd, rc;

	w->segment.info.number++;
	segment_name(name, w->segment.info.number);
	snprintf(path, sizeof(path), "wal/%s", name);
	fd = first_find(w, name, &size);
	if (fd < 0)
		return wal_boot_fault(w, path, "create", -fd);
	if ((rc = format_raise(w)) != 0) {
		close(fd);
		return rc;
	}
	header_append(w, fd, size);
	/*
	 * Until this header is on disk the region tells the next boot what a
	 * failed flush of an earlier life left behind. Where it does not hold
	 * (failed_before() in wal_recover.c) it is cleared now: should the
	 * header fail, wal_failed_set() names this log and segment, and by
	 * those names the old word would hold again.
	 */
	if (w->failed_before)
		wal_failed_set(w);
	else
		atomic_store_explicit(
		    &w->r->control->wal_failed, 0, memory_order_release);
	rc = first_write(w, fd);
	if (rc != 0) {
		/* The header, too, can be read then and be on no disk. */
		wal_failed_set(w);
		return wal_boot_fault(w, path, "write", -rc);
	}
	atomic_store_explicit(
	    &w->r->walbuf.h->flushed, w->log.position, memory_order_release);
	/* The header says where the log ends now. */
	atomic_store_explicit(
	    &w->r->control->wal_failed, 0, memory_order_relaxed);
	first_trace(w);
	wal_count(w, C_WAL_SEGMENTS, 1);
	w->phase = WAL_APPENDING;
	return 0;
}
