/*
 * Reading one segment file in chunks. What is left of a chunk is copied in
 * front of the next one, so a record is always contiguous.
 */
#include "shm/log/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/fault.h"

static int
source_pread(void *ctx, uint32_t offset, uint8_t **data, size_t *n)
{
	struct segment_reader *r = ctx;
	ssize_t got;

	*data = r->memory + SEGMENT_HEADROOM;
	do
		got = pread(r->fd, *data, r->chunk, (off_t)offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return fault_of_call(-errno);
	*n = (size_t)got;
	return 0;
}

static int
segment_file_open(int wal_dir, uint32_t number, bool *direct)
{
	char name[SEGMENT_NAME_MAX];
	int fd;

	segment_name(name, number);
	fd = openat(
	    wal_dir, name, O_RDONLY | O_CLOEXEC | (*direct ? O_DIRECT : 0));
	if (fd < 0 && *direct && errno == EINVAL) {
		*direct = false;
		fd = openat(wal_dir, name, O_RDONLY | O_CLOEXEC);
	}
	return fd < 0 ? fault_of_call(-errno) : fd;
}

/* Open the file and the memory; no byte is read. */
static int
reader_prepare(struct segment_reader *r, int wal_dir, uint32_t number,
    size_t chunk, bool direct)
{
	ASSERT(chunk > 0 && chunk % SEGMENT_BLOCK_MAX == 0);
	memset(r, 0, sizeof(*r));
	r->chunk = chunk;
	r->direct = direct;
	r->source.read = source_pread;
	r->source.ctx = r;
	r->fd = segment_file_open(wal_dir, number, &r->direct);
	if (r->fd < 0)
		return r->fd;
	r->memory = aligned_alloc(SEGMENT_BLOCK_MAX, SEGMENT_HEADROOM + chunk);
	if (r->memory == NULL) {
		close(r->fd);
		r->fd = -1;
		return -ENOMEM;
	}
	return 0;
}

int
segment_reader_open(struct segment_reader *r, int wal_dir, uint32_t number,
    size_t chunk, bool direct)
{
	uint8_t *data;
	size_t n = 0;
	int rc;

	rc = reader_prepare(r, wal_dir, number, chunk, direct);
	if (rc != 0)
		return rc;
	rc = source_pread(r, 0, &data, &n);
	if (rc == -ENODATA)
		rc = -EIO;
	if (rc == 0)
		rc = segment_decode(data, n, &r->info);
	if (rc == -EAGAIN) /* the file is shorter than a header */
		rc = n == 0 ? -ENODATA : -EBADMSG;
	if (rc == 0 && r->info.number != number)
		rc = -ENODATA;
	if (rc != 0) {
		segment_reader_close(r);
		return rc;
	}
	/* The header was whole, so the chunk is no shorter. */
	ASSERT(n >= r->info.block);
	segment_scan_begin(&r->scan, &r->info);
	r->at = data + r->info.block;
	r->left = n - r->info.block;
	r->fetch = (uint32_t)n;
	return 0;
}

void
segment_reader_use(struct segment_reader *r, const struct segment_info *info,
    const struct segment_source *source)
{
	memset(r, 0, sizeof(*r));
	r->fd = -1;
	r->info = *info;
	r->source = *source;
	segment_scan_begin(&r->scan, info);
	r->fetch = info->block;
}

void
segment_reader_close(struct segment_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->memory);
	r->memory = NULL;
	r->fd = -1;
	r->left = 0;
}

void
segment_reader_refresh(struct segment_reader *r)
{
	/* Chunks start on blocks: what is before scan.offset is skipped. */
	r->left = 0;
	r->fetch = (uint32_t)align_down(r->scan.offset, r->info.block);
}

/* Get the next chunk behind what is left. 0, -ENODATA at the end, -errno. */
static int
reader_fill(struct segment_reader *r)
{
	uint32_t want = r->scan.offset + (uint32_t)r->left;
	uint8_t *data;
	size_t n = 0, skip;
	int rc;

	ASSERT(r->left <= SEGMENT_HEADROOM);
	ASSERT(want >= r->fetch);
	/* Chunks start on blocks, the record wanted may start behind. */
	skip = want - r->fetch;
	if (r->left > 0 && r->memory != NULL) {
		/* The chunk's memory is used again: save what is left. */
		memmove(r->memory + SEGMENT_HEADROOM - r->left, r->at, r->left);
		r->at = r->memory + SEGMENT_HEADROOM - r->left;
	}
	rc = r->source.read(r->source.ctx, r->fetch, &data, &n);
	/* Of a device it means a bad block; here it would be the end. */
	if (rc == -ENODATA)
		rc = -EIO;
	if (rc != 0)
		return rc;
	if (n <= skip)
		return -ENODATA;
	r->fetch += (uint32_t)n;
	if (r->left > 0)
		memmove(data + skip - r->left, r->at, r->left);
	r->at = data + skip - r->left;
	r->left += n - skip;
	return 0;
}

/* How many of the bytes at hand lie before the limit; *last: none follow. */
static size_t
reader_left(const struct segment_reader *r, bool *last)
{
	uint32_t at = r->scan.offset;

	*last = r->limit != 0 && r->limit - at <= r->left;
	return *last ? r->limit - at : r->left;
}

int
segment_reader_next(
    struct segment_reader *r, struct record *out, uint32_t *offset)
{
	uint32_t at = r->scan.offset;
	bool last;
	size_t n;
	int rc;

	if (r->limit != 0 && at >= r->limit)
		return -ENODATA;
	for (;;) {
		n = reader_left(r, &last);
		rc = segment_scan_next(&r->scan, r->at, n, out);
		if (rc == 0)
			break;
		if (rc == -EBADMSG || (rc == -EAGAIN && last))
			return -ENODATA;
		if (rc != -EAGAIN)
			return rc;
		rc = reader_fill(r);
		if (rc != 0)
			return rc;
	}
	if (offset != NULL)
		*offset = at;
	ASSERT(out->len <= r->left);
	ASSERT(r->limit == 0 || r->scan.offset <= r->limit);
	r->at += out->len;
	r->left -= out->len;
	return 0;
}

/* Have n bytes at r->at. 0, -ENODATA, -errno. */
static int
reader_need(struct segment_reader *r, size_t n)
{
	int rc = 0;

	while (rc == 0 && r->left < n)
		rc = reader_fill(r);
	return rc;
}

/* Stand before the batch head at scan.offset, by that head's own word. */
static int
seek_head(struct segment_reader *r)
{
	struct segment_batch b;
	struct record rec;
	int rc;

	rc = reader_need(r, SEGMENT_BATCH_LEN);
	if (rc != 0)
		return rc;
	rc = record_decode(r->at, SEGMENT_BATCH_LEN, &rec);
	if (rc == 0)
		rc = batch_decode(&rec, &b);
	if (rc != 0)
		return -EBADMSG;
	r->scan.seed = b.prev_crc;
	return 0;
}

/* Is the record at r->at of that VLSN? */
static int
seek_check(struct segment_reader *r, uint64_t vlsn)
{
	struct segment_scan scan = r->scan;
	struct record rec;
	int rc;

	while ((rc = segment_scan_next(&scan, r->at, r->left, &rec)) == -EAGAIN)
		if ((rc = reader_fill(r)) != 0)
			return rc;
	if (r->limit != 0 && scan.offset > r->limit)
		return -EBADMSG;
	return rc == 0 && rec.vlsn == vlsn ? 0 : -EBADMSG;
}

int
segment_reader_seek(struct segment_reader *r, uint32_t offset, uint64_t vlsn)
{
	struct record rec;
	int rc;

	if (offset % 8 != 0 || offset < r->info.block + SEGMENT_BATCH_LEN ||
	    vlsn < r->info.first_vlsn || vlsn == 0)
		return -EBADMSG;
	if (r->limit != 0 && offset >= r->limit)
		return -EBADMSG;
	memset(&r->scan, 0, sizeof(r->scan));
	r->scan.life = r->info.life;
	r->scan.format = r->info.format;
	r->scan.number = r->info.number;
	r->scan.offset = offset - SEGMENT_BATCH_LEN;
	r->scan.vlsn = vlsn - 1;
	segment_reader_refresh(r);
	rc = seek_head(r);
	if (rc == 0)
		rc = segment_reader_next(r, &rec, NULL);
	if (rc == 0)
		rc = seek_check(r, vlsn);
	return rc == -ENODATA ? -EBADMSG : rc;
}

bool
segment_reader_unfinished(struct segment_reader *r)
{
	const struct segment_scan *s = &r->scan;
	struct segment_batch b;
	struct record rec;

	if (s->offset < s->batch_end)
		return true;
	if (reader_need(r, SEGMENT_BATCH_LEN + REC_HEADER_SIZE) != 0)
		return false;
	if (record_decode(r->at, r->left, &rec) == 0 &&
	    batch_decode(&rec, &b) == 0 && b.segment == s->number &&
	    b.life == s->life && b.offset == s->offset)
		return true;
	return get_le64(r->at + SEGMENT_BATCH_LEN + REC_VLSN_OFF) ==
		   s->vlsn + 1 &&
	       record_decode(r->at + SEGMENT_BATCH_LEN,
		   r->left - SEGMENT_BATCH_LEN, &rec) != -EBADMSG;
}

int
segment_reader_look(struct segment_reader *r, struct segment_batch *seen)
{
	uint32_t begin = r->scan.offset;
	size_t done;
	int rc;

	do {
		segment_look(r->at, r->left, r->scan.number, r->scan.life,
		    r->scan.offset, seen);
		/* A head may lie across the chunks' border: keep its start. */
		done = r->left < SEGMENT_BATCH_LEN
			   ? 0
			   : align_down(r->left - SEGMENT_BATCH_LEN, 8) + 8;
		r->at += done;
		r->left -= done;
		r->scan.offset += (uint32_t)done;
		rc = reader_fill(r);
	} while (rc == 0 && r->scan.offset - begin <= SEGMENT_FLIGHT_WINDOW);
	return rc == -ENODATA ? 0 : rc;
}

int
segment_file_look(
    int wal_dir, uint32_t number, bool direct, struct segment_batch *seen)
{
	struct segment_reader r;
	int rc;

	rc = reader_prepare(
	    &r, wal_dir, number, 4 * (size_t)SEGMENT_BLOCK_MAX, direct);
	if (rc != 0)
		return rc;
	r.info.block = SEGMENT_BLOCK_MIN;
	r.scan.life = SEGMENT_LIFE_ANY;
	r.scan.number = number;
	r.scan.offset = SEGMENT_BLOCK_MIN;
	segment_reader_refresh(&r);
	rc = reader_fill(&r);
	if (rc == 0)
		rc = segment_reader_look(&r, seen);
	segment_reader_close(&r);
	return rc == -ENODATA ? 0 : rc;
}
