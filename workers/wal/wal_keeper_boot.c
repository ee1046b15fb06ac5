/*
 * The keeper at boot: which files are spares, what is no part of the log, the
 * space that must be there before the node serves, and what a forced boot
 * keeps of what it drops. All of it blocks.
 */
#include "workers/wal/wal.h"

#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/say.h"

#define SALVAGE_STEP (64 * 1024) /* so much is given up at a bad block */

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
	int fd;

	fd = openat(w->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -ENOMEM;
	}
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

/*
 * Copy size bytes as far as they can be read; holes for the rest. The reserve
 * is there for this, too.
 */
static int
copy_some(struct wal *w, int in, int out, off_t size, uint64_t *lost)
{
	off_t from = 0, to = 0;
	bool reserve = true;
	ssize_t n;

	while (from < size) {
		n = copy_file_range(in, &from, out, &to, SALVAGE_STEP, 0);
		n = wal_fault(WAL_OP_SALVAGE, n < 0 ? -errno : (int)n);
		loop_beat(&w->loop);
		if (n > 0)
			continue;
		if (n == 0)
			break;
		if (wal_is_nospace((int)n) && reserve) {
			unlinkat(w->w->data_dir, WAL_RESERVE_NAME, 0);
			reserve = false;
		} else if (n == -EIO || n == -ENODATA) {
			from = to += SALVAGE_STEP;
			*lost += SALVAGE_STEP;
		} else
			return (int)n;
	}
	return wal_file_sync(out);
}

#define SALVAGE_NAME_MAX (SEGMENT_NAME_MAX + 16)

/*
 * A name that is free in salvage/: numbers come again after a forced boot that
 * was killed, and what an earlier one put there is not to be lost.
 */
static void
salvage_name(int salvage, const char *name, char out[SALVAGE_NAME_MAX])
{
	unsigned i;

	snprintf(out, SALVAGE_NAME_MAX, "%s", name);
	for (i = 1;
	     faccessat(salvage, out, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && i != 0;
	     i++)
		snprintf(out, SALVAGE_NAME_MAX, "%s.%u", name, i);
}

/* Copy the file that is cut, for whoever wants to look at it. */
static int
salvage_tail(struct wal *w, const char *name, off_t size, int salvage)
{
	char cut[SEGMENT_NAME_MAX + 8], to[SALVAGE_NAME_MAX];
	uint64_t lost = 0;
	int in, out, rc;

	snprintf(cut, sizeof(cut), "%s.cut", name);
	salvage_name(salvage, cut, to);
	in = openat(w->dir, name, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return -errno;
	out =
	    openat(salvage, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (out < 0) {
		rc = -errno;
		close(in);
		return rc;
	}
	rc = copy_some(w, in, out, size, &lost);
	if (lost != 0)
		event_add(w->r, SLOT_WAL, EVENT_ERROR,
		    "forced: about %ju bytes of wal/%s cannot be read",
		    (uintmax_t)lost, name);
	close(out);
	close(in);
	return rc;
}

/*
 * A file that is shorter than its header says tells of more behind it. That is
 * given up: a forced boot that is killed before its own segment has begun
 * leaves a log that ends here.
 */
static int
size_restore(struct wal *w, const char *name, struct segment_entry *e)
{
	int fd, rc;

	if (e->file_size >= e->info.size)
		return 0;
	fd = openat(w->dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = ftruncate(fd, e->info.size) == 0 ? wal_file_sync(fd) : -errno;
	if (rc == 0)
		e->file_size = e->info.size;
	close(fd);
	return rc;
}

/*
 * Newest first: should it end half way, what is left is still a log that ends
 * behind the damage, and the next boot finds that again.
 */
static int
salvage_rest(struct wal *w, struct segment_list *list, uint32_t last, int to)
{
	char name[SEGMENT_NAME_MAX], as[SALVAGE_NAME_MAX];
	uint32_t i;

	for (i = list->count; i-- > 0;) {
		struct segment_entry *e = &list->entry[i];

		if (e->state == SEGMENT_UNBEGUN ||
		    (last != UINT32_MAX && i <= last && e->in_chain))
			continue;
		segment_name(name, e->number);
		salvage_name(to, name, as);
		if (renameat(w->dir, name, to, as) != 0)
			return -errno;
		say_warnx("forced: wal/%s is salvage/%s now", name, as);
		list->count--;
		memmove(e, e + 1, (list->count - i) * sizeof(*e));
	}
	segment_list_resolve(list);
	return 0;
}

int
wal_keeper_salvage(
    struct wal *w, struct segment_list *list, uint32_t last, bool tail)
{
	char name[SEGMENT_NAME_MAX];
	int salvage, rc = 0;

	if (mkdirat(w->w->data_dir, "salvage", 0750) != 0 && errno != EEXIST)
		return -errno;
	salvage = openat(
	    w->w->data_dir, "salvage", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (salvage < 0)
		return -errno;
	if (tail && last != UINT32_MAX) {
		segment_name(name, list->entry[last].number);
		rc = salvage_tail(
		    w, name, (off_t)list->entry[last].file_size, salvage);
		if (rc == 0)
			rc = size_restore(w, name, &list->entry[last]);
	}
	if (rc == 0)
		rc = salvage_rest(w, list, last, salvage);
	if (rc == 0)
		rc = wal_file_sync(salvage);
	if (rc == 0)
		rc = wal_file_sync(w->w->data_dir);
	close(salvage);
	return rc;
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
