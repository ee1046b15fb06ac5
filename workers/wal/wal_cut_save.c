/*
 * What a cut takes off the log is kept: data_dir/salvage/cut.NNNNNNNN (the
 * number of the segment that begins behind the cut) is a directory that
 * nodelifewal reads, with one segment made of the records that go, byte for
 * byte if they are of format 2. It gets that name when all of it is on disk.
 *
 * The records are read from the files, where all of them are by now. This
 * blocks, in steps with beats between them; nothing else is to be done: this
 * node takes no records. On a disk that hangs the node boots again.
 */
#include "workers/wal/wal.h"

#include <sys/mman.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/say.h"

#define CUT_CHUNK (1024u * 1024)
#define CUT_TMP   "cut.tmp"
#define CUT_SEG   "00000001.seg"

struct cut_save {
	struct wal *w;
	struct append a; /* of the copy */
	struct walbuf_head *head;
	uint8_t *memory; /* for all of it; as much as a batch is in use */
	uint64_t done; /* position up to which the copy is written */
	uint64_t bytes; /* at most, of what goes */
	int salvage, dir, fd;
	const char *call; /* that failed */
};

/* ---- reading what goes ---- */

/* First VLSN, number, and the end of the chain's segment i (olds: current). */
static uint64_t
first_of(const struct wal *w, uint32_t i)
{
	const struct wal_keeper *k = &w->keeper;

	return i < k->olds ? k->old[i].first_vlsn : w->segment.info.first_vlsn;
}

static uint32_t
number_of(const struct wal *w, uint32_t i)
{
	const struct wal_keeper *k = &w->keeper;

	return i < k->olds ? k->old[i].number : w->segment.info.number;
}

/* The segment behind it says where it ends. */
static int
end_of(const struct wal *w, uint32_t i, uint32_t *end)
{
	struct segment_reader next;
	int rc;

	if (i >= w->keeper.olds) {
		*end = append_offset(&w->log);
		return 0;
	}
	if (i + 1 == w->keeper.olds) {
		*end = w->segment.info.prev_end;
		return 0;
	}
	rc = segment_reader_open(
	    &next, w->dir, number_of(w, i + 1), SEGMENT_BLOCK_MAX, true);
	if (rc != 0)
		return rc;
	*end = next.info.prev_end;
	segment_reader_close(&next);
	return 0;
}

static int
reader_open(const struct wal *w, uint32_t i, struct segment_reader *r)
{
	uint32_t end = 0;
	int rc = end_of(w, i, &end);

	if (rc == 0)
		rc = segment_reader_open(
		    r, w->dir, number_of(w, i), CUT_CHUNK, true);
	if (rc == 0)
		r->limit = end;
	return rc;
}

/* Stand near record `vlsn`, before it, if a sample leads there. */
static int
reader_near(
    const struct wal *w, uint32_t i, uint64_t vlsn, struct segment_reader *r)
{
	struct vmap_pair pair;
	int rc;

	if (vmap_lookup(w->r->vmap, vlsn, &pair) != 0 ||
	    lsn_segment(pair.lsn) != number_of(w, i) ||
	    segment_reader_seek(r, lsn_offset(pair.lsn), pair.vlsn) == 0)
		return 0;
	/* A hint that is none: from the beginning. */
	segment_reader_close(r);
	rc = reader_open(w, i, r);
	return rc;
}

/* Read up to behind record `vlsn` of segment i. */
static int
reader_to(struct wal *w, uint32_t i, uint64_t vlsn, struct segment_reader *r)
{
	uint64_t records = 0;
	struct record rec;
	int rc = reader_open(w, i, r);

	if (rc == 0 && r->info.first_vlsn <= vlsn)
		rc = reader_near(w, i, vlsn, r);
	while (rc == 0 && r->scan.vlsn < vlsn) {
		rc = segment_reader_next(r, &rec, NULL);
		if (records++ % 1024 == 0)
			loop_beat(&w->loop);
	}
	return rc == -ENODATA ? -EBADMSG : rc;
}

/* ---- the copy ---- */

static int
fail(struct cut_save *s, const char *call, int rc)
{
	rc = wal_fault(WAL_OP_CUT, rc);
	if (rc < 0)
		s->call = call;
	return rc < 0 ? rc : 0;
}

/* Write what is sealed; its memory is of no more use. */
static int
copy_flush(struct cut_save *s)
{
	struct append *a = &s->a;
	uint64_t from = s->done;
	ssize_t n = 0;

	if (a->batch.open)
		append_seal(a, 0, 0);
	while (s->done < a->position && n >= 0) {
		n = pwrite(s->fd, append_at(a, s->done), a->position - s->done,
		    (off_t)s->done);
		if (n > 0)
			s->done += (uint64_t)n;
		else if (n == 0 || errno == EINTR)
			n = 0;
	}
	n = n < 0 ? -errno : 0;
	from = align_down(from, SEGMENT_BLOCK_MIN);
	(void)madvise(s->memory + from,
	    align_down(s->done, SEGMENT_BLOCK_MIN) - from, MADV_DONTNEED);
	loop_beat(&s->w->loop);
	return fail(s, "write", (int)n);
}

static int
copy_record(struct cut_save *s, const struct record *rec)
{
	const struct append_end *end = &s->a.end;
	int rc = 0;

	/* A header may lie of what its segment continues. */
	if (record_follows(rec, end->vlsn, end->term, end->time_ms) != FOLLOWS)
		return fail(s, "read", -EBADMSG);
	if (s->a.batch.full)
		rc = copy_flush(s);
	if (rc != 0)
		return rc;
	if (!s->a.batch.open)
		append_batch_open(&s->a);
	(void)append_put(&s->a, rec);
	return 0;
}

/* The rest of a segment, from where the reader stands. */
static int
copy_rest(struct cut_save *s, struct segment_reader *r)
{
	struct record rec;
	int rc;

	while ((rc = segment_reader_next(r, &rec, NULL)) == 0) {
		if (rec.vlsn != 0 && (rc = copy_record(s, &rec)) != 0)
			return rc;
	}
	if (rc != -ENODATA)
		return fail(s, "read", rc);
	return r->scan.offset == r->limit ? 0 : fail(s, "read", -EBADMSG);
}

/* How much there can be, with heads and pads. */
static int
copy_size(struct cut_save *s, uint32_t i, uint32_t from)
{
	struct wal *w = s->w;
	uint32_t end = 0;
	int rc = 0;

	for (; rc == 0 && i <= w->keeper.olds; i++, from = 0) {
		rc = end_of(w, i, &end);
		s->bytes += end - from;
	}
	s->bytes += (s->bytes / APPEND_BATCH_BYTES + 2) * SEGMENT_BATCH_LEN;
	s->bytes = align_up(s->bytes, SEGMENT_BLOCK_MAX) +
		   4 * (uint64_t)SEGMENT_BLOCK_MAX;
	if (rc == 0 && s->bytes > SEGMENT_SIZE_MAX)
		rc = -EFBIG;
	return rc;
}

/* Space for it; the reserve is there for this, too. */
static int
copy_alloc(struct cut_save *s)
{
	int rc = wal_file_alloc(s->fd, s->bytes);

	if (!wal_is_nospace(rc))
		return fail(s, "fallocate", rc);
	unlinkat(s->w->w->data_dir, WAL_RESERVE_NAME, 0);
	s->w->keeper.reserve_missing = true;
	return fail(s, "fallocate", wal_file_alloc(s->fd, s->bytes));
}

static int
copy_begin(struct cut_save *s)
{
	struct segment_info info = { .generation = s->w->generation,
		.life = segment_life_new(),
		.number = 1,
		.block = SEGMENT_BLOCK_MIN,
		.size = (uint32_t)s->bytes,
		.begun_ms = wall_ms() };
	struct walbuf buf = { .size = 2 * (uint64_t)SEGMENT_SIZE_MAX };

	s->memory = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->memory == MAP_FAILED)
		s->memory = NULL;
	s->head = calloc(1, sizeof(*s->head));
	if (s->memory == NULL || s->head == NULL)
		return fail(s, "mmap", -ENOMEM);
	memcpy(info.uuid, s->w->uuid, sizeof(info.uuid));
	buf.data = s->memory;
	buf.h = s->head;
	append_open(&s->a, &buf, &s->w->cut.end);
	append_segment(&s->a, &info);
	return 0;
}

/* ---- where it lies ---- */

/* A directory below another one; it may be there. Descriptor or -errno. */
static int
dir_open(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0750) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* What a killed one left has that name: it is no whole copy. */
static int
copy_open(struct cut_save *s)
{
	s->salvage = dir_open(s->w->w->data_dir, "salvage");
	if (s->salvage < 0)
		return fail(s, "mkdir", s->salvage);
	memcpy(s->w->cut.copy, CUT_TMP, sizeof(CUT_TMP));
	s->dir = dir_open(s->salvage, CUT_TMP);
	if (s->dir < 0)
		return fail(s, "mkdir", s->dir);
	s->fd = openat(
	    s->dir, CUT_SEG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	return fail(s, "create", s->fd < 0 ? -errno : 0);
}

/* A name that is free: a cut that was killed comes again. */
static int
copy_name(struct cut_save *s)
{
	uint32_t number = s->w->segment.info.number + 1;
	char name[WAL_CUT_NAME_MAX];
	unsigned i = 0;

	snprintf(name, sizeof(name), "cut.%08x", number);
	while (faccessat(s->salvage, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ++i != 0)
		snprintf(name, sizeof(name), "cut.%08x.%u", number, i);
	if (renameat(s->salvage, CUT_TMP, s->salvage, name) != 0)
		return -errno;
	memcpy(s->w->cut.copy, name, sizeof(name));
	return 0;
}

/*
 * The name says that the copy is whole, so all of it is flushed before it gets
 * that. data_dir comes last: salvage/ itself may be new.
 */
static int
copy_end(struct cut_save *s)
{
	int rc = copy_flush(s);

	if (rc == 0)
		rc = fail(s, "fsync", wal_file_sync(s->fd));
	if (rc == 0)
		rc = fail(s, "fsync", wal_file_sync(s->dir));
	if (rc == 0)
		rc = fail(s, "rename", copy_name(s));
	if (rc == 0)
		rc = fail(s, "fsync", wal_file_sync(s->salvage));
	if (rc == 0)
		rc = fail(s, "fsync", wal_file_sync(s->w->w->data_dir));
	return rc;
}

static void
copy_free(struct cut_save *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->dir >= 0)
		close(s->dir);
	if (s->salvage >= 0)
		close(s->salvage);
	if (s->memory != NULL)
		munmap(s->memory, s->bytes);
	free(s->head);
}

/* From the reader's place on, all of the log. */
static int
copy_all(struct cut_save *s, uint32_t i, struct segment_reader *r)
{
	int rc = copy_size(s, i, r->scan.offset);

	if (rc != 0)
		return fail(s, "read", rc);
	rc = copy_open(s);
	if (rc == 0)
		rc = copy_alloc(s);
	if (rc == 0)
		rc = copy_begin(s);
	if (rc == 0)
		rc = copy_rest(s, r);
	while (rc == 0 && ++i <= s->w->keeper.olds) {
		segment_reader_close(r);
		rc = reader_open(s->w, i, r);
		rc = rc != 0 ? fail(s, "open", rc) : copy_rest(s, r);
	}
	return rc == 0 ? copy_end(s) : rc;
}

static void
failed_tell(struct wal *w, const char *call, int rc)
{
	char path[PATH_MAX], text[FAULT_TEXT_MAX];
	const struct fault f = { .object = path,
		.call = call,
		.error = -rc,
		.place = PLACE_DATA,
		.effect = "what the group does not have cannot be cut off "
			  "before it is saved there; nothing is changed",
		.goes_on = true };

	wal_path(w, path, sizeof(path), "salvage");
	event_add(w->r, SLOT_WAL, EVENT_ERROR, "%s",
	    fault_text(text, sizeof(text), &f));
}

int
wal_cut_save(struct wal *w)
{
	struct cut_save s = { .w = w, .salvage = -1, .dir = -1, .fd = -1 };
	uint64_t vlsn = w->cut.req.vlsn;
	uint32_t i = w->keeper.olds;
	struct segment_reader r;
	int rc;

	/* The newest segment in which the next one is, or its beginning. */
	while (i > 0 && first_of(w, i) > vlsn + 1)
		i--;
	if (first_of(w, i) > vlsn + 1)
		return -ENOENT;
	r.fd = -1;
	r.memory = NULL;
	rc = reader_to(w, i, vlsn, &r);
	if (rc != 0)
		s.call = "read";
	if (rc == 0) {
		w->cut.end = (struct append_end){ .vlsn = r.scan.vlsn,
			.term = r.scan.term,
			.time_ms = r.scan.time_ms,
			.chain = r.scan.seed };
		w->cut.number = number_of(w, i);
		w->cut.offset = r.scan.offset;
		rc = copy_all(&s, i, &r);
	}
	segment_reader_close(&r);
	copy_free(&s);
	if (rc != 0) {
		wal_cut_unsave(w);
		failed_tell(w, s.call, rc);
	}
	return rc;
}

/*
 * Else each attempt would leave a copy, and on a full disk one takes the space
 * that the next needs. (One that was killed leaves its copy: a boot does not
 * know whether what is in it was cut.)
 */
void
wal_cut_unsave(struct wal *w)
{
	char path[sizeof("salvage//" CUT_SEG) + WAL_CUT_NAME_MAX];

	if (w->cut.copy[0] == '\0')
		return;
	snprintf(path, sizeof(path), "salvage/%s/" CUT_SEG, w->cut.copy);
	unlinkat(w->w->data_dir, path, 0);
	snprintf(path, sizeof(path), "salvage/%s", w->cut.copy);
	unlinkat(w->w->data_dir, path, AT_REMOVEDIR);
	w->cut.copy[0] = '\0';
}
