/*
 * What lies in a log's directory: which files were begun, and which of them
 * are the log, by the word of the newest header.
 */
#include "shm/log/segment.h"

#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/fault.h"
#include "shm/path.h"

/* A list that is overtaken by wal is made anew: each file goes once. */
#define LIST_TRIES 8

/* Read the first bytes of a file, past the page cache if asked and able. */
static int
header_read(int wal_dir, const char *name, bool direct, uint8_t *buf, size_t *n,
    uint64_t *file_size)
{
	struct stat st;
	ssize_t got;
	int fd, rc;

	fd = openat(
	    wal_dir, name, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (fd < 0 && direct && errno == EINVAL)
		fd = openat(wal_dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fault_of_call(-errno);
	rc = fstat(fd, &st) != 0 ? fault_of_call(-errno) : 0;
	if (rc != 0)
		goto out;
	*file_size = (uint64_t)st.st_size;
	got = pread(fd, buf, SEGMENT_BLOCK_MAX, 0);
	if (got < 0) /* a bad block may be told as ENODATA */
		rc = errno == EINVAL ? -EINVAL : -EIO;
	else
		*n = (size_t)got;
out:
	close(fd);
	return rc;
}

static int
entry_read(struct segment_entry *e, int wal_dir, bool direct, uint8_t *buf)
{
	char name[SEGMENT_NAME_MAX];
	size_t n = 0;
	int rc;

	segment_name(name, e->number);
	rc = header_read(wal_dir, name, direct, buf, &n, &e->file_size);
	if (rc == -EINVAL && direct)
		rc = header_read(wal_dir, name, false, buf, &n, &e->file_size);
	if (rc == -EIO) {
		/* As good as damaged: whether it is needed, others tell. */
		e->state = SEGMENT_BAD;
		e->unreadable = true;
		return 0;
	}
	if (rc != 0)
		return rc;
	rc = segment_decode(buf, n, &e->info);
	e->newer = rc == -EPROTONOSUPPORT && e->info.number == e->number;
	if (rc == -ENODATA || n == 0 || (rc == -EPROTONOSUPPORT && !e->newer))
		e->state = SEGMENT_UNBEGUN;
	else if (rc != 0 || e->info.block > e->file_size ||
		 e->file_size > SEGMENT_SIZE_MAX)
		e->state = SEGMENT_BAD;
	else if (e->info.number != e->number)
		e->state = SEGMENT_UNBEGUN; /* a former life's header */
	else
		e->state = SEGMENT_VALID;
	return 0;
}

static int
entry_add(struct segment_list *l, uint32_t number)
{
	struct segment_entry *grown;

	/* Grow when the count is a power of two. */
	if (l->count == 0 || is_pow2(l->count)) {
		grown = realloc(
		    l->entry, 2 * (size_t)(l->count + 1) * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		l->entry = grown;
	}
	memset(&l->entry[l->count], 0, sizeof(l->entry[0]));
	l->entry[l->count++].number = number;
	return 0;
}

static int
entry_order(const void *a, const void *b)
{
	uint32_t x = ((const struct segment_entry *)a)->number;
	uint32_t y = ((const struct segment_entry *)b)->number;

	return x < y ? -1 : x > y;
}

static int
list_names(struct segment_list *l, int wal_dir)
{
	struct dirent *de;
	uint32_t number;
	DIR *dir;
	int rc = path_names(wal_dir, &dir);

	if (rc != 0)
		return rc;
	while (rc == 0 && (errno = 0, de = readdir(dir)) != NULL) {
		number = segment_number(de->d_name);
		if (number != 0)
			rc = entry_add(l, number);
	}
	if (rc == 0 && errno != 0)
		rc = -errno;
	closedir(dir);
	return rc;
}

static uint32_t
list_find(const struct segment_list *l, uint32_t number)
{
	uint32_t lo = 0, hi = l->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (l->entry[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < l->count && l->entry[lo].number == number ? lo : UINT32_MAX;
}

/*
 * Can `next` continue `e`? Its header says where e ends; that place must be
 * behind e's header and before e's reserved last block. Formats never fall.
 */
static bool
entry_continues(const struct segment_entry *e, const struct segment_entry *next)
{
	return e->state == SEGMENT_VALID &&
	       next->info.format >= e->info.format &&
	       next->info.prev_end >= e->info.block &&
	       next->info.prev_end <= e->file_size &&
	       next->info.first_vlsn >= e->info.first_vlsn;
}

void
segment_list_resolve(struct segment_list *l)
{
	uint32_t i, at;

	l->newest = l->oldest = UINT32_MAX;
	l->missing = 0;
	for (i = 0; i < l->count; i++) {
		l->entry[i].in_chain = false;
		l->entry[i].end = 0;
		if (l->entry[i].state == SEGMENT_VALID)
			l->newest = i;
	}
	/* Numbers fall along the chain, so this ends. */
	for (at = l->newest; at != UINT32_MAX; at = i) {
		l->entry[at].in_chain = true;
		l->oldest = at;
		if (l->entry[at].info.prev_number == 0)
			break;
		i = list_find(l, l->entry[at].info.prev_number);
		if (i == UINT32_MAX ||
		    !entry_continues(&l->entry[i], &l->entry[at])) {
			l->missing = l->entry[at].info.prev_number;
			break;
		}
		ASSERT(i < at);
		l->entry[i].end = l->entry[at].info.prev_end;
		ASSERT(l->entry[i].end <= l->entry[i].file_size);
	}
}

uint64_t
segment_list_uncut(const struct segment_list *l, uint64_t vlsn, uint32_t number)
{
	uint32_t i;

	/* The newest first: what one cut leaves, an older one may cut. */
	for (i = l->count; i-- > 0 && l->entry[i].number > number;) {
		const struct segment_info *info = &l->entry[i].info;

		if (l->entry[i].in_chain && info->cut != 0 &&
		    info->first_vlsn <= vlsn && vlsn <= info->cut)
			vlsn = info->first_vlsn - 1;
	}
	return vlsn;
}

uint64_t
segment_list_cut(const struct segment_list *l)
{
	uint64_t newest = 0;
	uint32_t i;

	for (i = 0; i < l->count; i++) {
		const struct segment_entry *e = &l->entry[i];

		if ((e->state == SEGMENT_VALID || e->dropped) &&
		    e->info.cut > newest)
			newest = e->info.cut;
	}
	return newest;
}

uint32_t
segment_list_next(const struct segment_list *l, uint32_t i)
{
	while (++i < l->count)
		if (l->entry[i].in_chain)
			return i;
	return UINT32_MAX;
}

/*
 * wal takes files away while they are listed. One that has gone is left out
 * where none is there that is older: it was the oldest, and recycled. Any other
 * was superseded by one whose name may not have been read, and where all have
 * gone the log is in others: -ENOENT.
 */
static int
list_read(struct segment_list *l, int wal_dir, bool direct, uint8_t *buf)
{
	bool older = false, gone = false;
	uint32_t i, n = 0;
	int rc;

	for (i = 0; i < l->count; i++) {
		struct segment_entry *e = &l->entry[i];

		rc = entry_read(e, wal_dir, direct, buf);
		if (rc == -ENOENT && !older) {
			gone = true;
			continue;
		}
		if (rc != 0)
			return rc;
		older = older || e->state != SEGMENT_UNBEGUN;
		l->entry[n++] = *e;
	}
	l->count = n;
	return gone && !older ? -ENOENT : 0;
}

int
segment_list_load(struct segment_list *l, int wal_dir, bool direct)
{
	unsigned tries = 0;
	uint8_t *buf;
	int rc;

	memset(l, 0, sizeof(*l));
	buf = aligned_alloc(SEGMENT_BLOCK_MAX, SEGMENT_BLOCK_MAX);
	if (buf == NULL)
		return -ENOMEM;
	do {
		l->count = 0;
		rc = list_names(l, wal_dir);
		if (rc == 0 && l->count > 1)
			qsort(l->entry, l->count, sizeof(l->entry[0]),
			    entry_order);
		if (rc == 0)
			rc = list_read(l, wal_dir, direct, buf);
	} while (rc == -ENOENT && ++tries < LIST_TRIES);
	free(buf);
	if (rc != 0)
		segment_list_free(l);
	else
		segment_list_resolve(l);
	return rc;
}

void
segment_list_free(struct segment_list *l)
{
	free(l->entry);
	memset(l, 0, sizeof(*l));
	l->newest = l->oldest = UINT32_MAX;
}
