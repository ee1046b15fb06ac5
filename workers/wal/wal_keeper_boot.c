/*
 * The keeper at boot: which files are spares, what is no part of the log, and
 * the space that must be there before the node serves. All of it blocks.
 */
#include "workers/wal/wal.h"

#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/path.h"
#include "shm/say.h"

/* The ballast: space that only recovery from a full disk may use. */
static void
reserve_make(struct wal *w)
{
	uint64_t size = w->conf->wal.reserve;
	struct stat st;
	int fd, rc;

	fd = openat(w->w->data_dir, WAL_RESERVE_NAME,
	    O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return;
	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != size ||
	    (uint64_t)st.st_blocks * 512 < size) {
		rc = ftruncate(fd, 0) != 0 ? -errno : 0;
		if (rc == 0)
			rc = wal_file_alloc(fd, size);
		if (rc != 0) {
			say_warnx("reserve: %s", strerror(-rc));
			unlinkat(w->w->data_dir, WAL_RESERVE_NAME, 0);
		}
		w->keeper.reserve_missing = rc != 0;
	}
	close(fd);
}

/* Reserve the spares' space before the node serves. */
void
wal_keeper_spares(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s;
	char name[32];
	int rc;

	while (k->spares < w->conf->wal.spare_segments &&
	       k->spares < WAL_SPARE_MAX) {
		s = &k->spare[k->spares];
		s->id = k->next_id++;
		s->zeroed = 0;
		s->ready = false;
		wal_spare_name(name, s);
		s->fd = wal_file_open(&w->io, w->dir, name, true);
		rc = s->fd < 0 ? s->fd
			       : wal_file_alloc(s->fd, wal_segment_size(w));
		if (rc != 0) {
			if (s->fd >= 0) {
				close(s->fd);
				unlinkat(w->dir, name, 0);
			}
			wal_keeper_failed(
			    w, name, s->fd < 0 ? "create" : "fallocate", -rc);
			break;
		}
		k->spares++;
	}
	reserve_make(w);
	wal_full_tell(w, wal_keeper_full(w));
}

/* A file found at boot: take it as a spare if it can be one. */
static void
adopt(struct wal *w, const char *name, bool ready, uint32_t id)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare *s = &k->spare[k->spares];
	struct stat st;

	if (id >= k->next_id)
		k->next_id = id + 1;
	if (k->spares >= WAL_SPARE_MAX ||
	    k->spares >= w->conf->wal.spare_segments)
		goto away;
	s->fd = wal_file_open(&w->io, w->dir, name, false);
	if (s->fd < 0)
		goto away;
	/* Unwritten space is reserved space only if its blocks are there. */
	if (fstat(s->fd, &st) != 0 ||
	    (uint64_t)st.st_size != wal_segment_size(w) ||
	    (uint64_t)st.st_blocks * 512 + 2 * SEGMENT_BLOCK_MAX <
		wal_segment_size(w)) {
		close(s->fd);
		goto away;
	}
	s->id = id;
	s->ready = ready;
	s->zeroed = ready ? (uint32_t)wal_segment_size(w) : 0;
	k->spares++;
	return;
away:
	unlinkat(w->dir, name, 0);
}

static int
adopt_spares(struct wal *w)
{
	struct dirent *de;
	unsigned id;
	DIR *dir;
	int rc = path_names(w->dir, &dir);

	if (rc != 0)
		return rc;
	while ((de = readdir(dir)) != NULL)
		if (sscanf(de->d_name, "spare.%u", &id) == 1)
			adopt(w, de->d_name, true, id);
		else if (sscanf(de->d_name, "prep.%u", &id) == 1)
			adopt(w, de->d_name, false, id);
	closedir(dir);
	return 0;
}

/* A file that is no part of the log: a spare again, or nothing. */
static void
clean_up(struct wal *w, const struct segment_entry *e)
{
	struct wal_keeper *k = &w->keeper;
	struct wal_spare s = { .ready = true };
	char from[SEGMENT_NAME_MAX], to[32];

	segment_name(from, e->number);
	if (e->state != SEGMENT_UNBEGUN ||
	    e->file_size != wal_segment_size(w)) {
		say_info("wal/%s: %s, removed", from,
		    e->state == SEGMENT_VALID ? "superseded" : "never begun");
		unlinkat(w->dir, from, 0);
		return;
	}
	s.id = k->next_id++;
	wal_spare_name(to, &s);
	if (renameat(w->dir, from, w->dir, to) == 0)
		adopt(w, to, true, s.id);
}

int
wal_keeper_boot(struct wal *w, const struct segment_list *list)
{
	struct wal_keeper *k = &w->keeper;
	int rc = adopt_spares(w);
	uint32_t i;

	for (i = 0; rc == 0 && i < list->count; i++) {
		const struct segment_entry *e = &list->entry[i];
		struct wal_old old = { .number = e->number,
			.first_vlsn = e->info.first_vlsn,
			.size = e->file_size };

		if (e->in_chain)
			rc = wal_keeper_old_add(w, &old);
		else
			clean_up(w, e);
	}
	k->hint_fd =
	    openat(w->dir, LOG_HINT_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
	k->hint_vlsn = log_hint_read(w->dir);
	return rc;
}

void
wal_keeper_trim(struct wal *w)
{
	struct wal_keeper *k = &w->keeper;
	char name[SEGMENT_NAME_MAX];
	struct wal_old *old;
	uint64_t size;
	int fd;

	if (k->olds == 0)
		return;
	old = &k->old[k->olds - 1];
	size = segment_trimmed_size(w->segment.info.prev_end);
	if (old->number != w->segment.info.prev_number || size >= old->size)
		return;
	segment_name(name, old->number);
	fd = openat(w->dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (ftruncate(fd, (off_t)size) == 0)
		old->size = size;
	close(fd);
}

int
wal_keeper_spare(struct wal *w, const char *name, uint64_t *size)
{
	struct wal_keeper *k = &w->keeper;
	char from[32];
	int fd;

	if (k->spares == 0)
		return -ENOENT;
	wal_spare_name(from, &k->spare[k->spares - 1]);
	if (renameat(w->dir, from, w->dir, name) != 0)
		return -errno;
	fd = k->spare[--k->spares].fd;
	*size = wal_segment_size(w);
	return fd;
}
