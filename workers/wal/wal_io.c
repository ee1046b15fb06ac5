/*
 * Files of the log; see wal_io.h.
 */
#include "workers/wal/wal_io.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/log/segment.h"
#include "shm/path.h"
#include "shm/position.h"

#define REWRITE_STEP (256u * 1024) /* bytes */

int (*wal_fault_hook)(enum wal_op op, int res);
void (*wal_trace_hook)(const struct wal_trace *t);

/* The physical block of the device behind a file, 0 if it does not say. */
static uint32_t
physical_block(dev_t dev)
{
	static const char *const form[] = {
		"/sys/dev/block/%u:%u/queue/physical_block_size",
		"/sys/dev/block/%u:%u/../queue/physical_block_size"
	};
	char path[96];
	unsigned i, value = 0;
	FILE *f;

	for (i = 0; i < 2 && value == 0; i++) {
		snprintf(path, sizeof(path), form[i], major(dev), minor(dev));
		f = fopen(path, "re");
		if (f == NULL)
			continue;
		if (fscanf(f, "%u", &value) != 1)
			value = 0;
		fclose(f);
	}
	return value;
}

/* The least offset alignment of direct I/O on a file, 0 = it has none. */
static uint32_t
direct_alignment(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) != 0)
		return stx.stx_dio_offset_align;
#endif
	(void)fd;
	return 0;
}

/*
 * Where the kernel does not say: does a direct write of a block work? 1 = it
 * does, 0 = it does not, or -errno: then nobody knows. A full disk takes no
 * write of any kind; it did let the file be opened so.
 */
static int
direct_works(int fd, uint32_t block)
{
	ssize_t n;

	if (direct_alignment(fd) != 0)
		return 1;
	if (wal_zeros() == NULL)
		return -ENOMEM;
	n = pwrite(fd, wal_zeros(), block, 0);
	if (n >= 0)
		return n == (ssize_t)block;
	if (errno == ENOSPC || errno == EDQUOT)
		return 1;
	return errno == EINVAL || errno == EOPNOTSUPP ? 0 : -errno;
}

static uint32_t
block_size(int fd)
{
	uint32_t block = SEGMENT_BLOCK_MIN, other;
	struct stat st;

	other = direct_alignment(fd);
	if (is_pow2(other) && other > block)
		block = other;
	other = fstat(fd, &st) == 0 ? physical_block(st.st_dev) : 0;
	if (is_pow2(other) && other > block)
		block = other;
	return block < SEGMENT_BLOCK_MAX ? block : SEGMENT_BLOCK_MAX;
}

/* Without a name where that can be had: who is killed here leaves nothing. */
static int
probe_open(int wal_dir)
{
	int flags = O_RDWR | O_CLOEXEC | O_DIRECT;
	int fd = openat(wal_dir, ".", flags | O_TMPFILE, 0640);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	/* Else the error of making it would hide this one's. */
	if (unlinkat(wal_dir, WAL_PROBE_NAME, 0) != 0 && errno != ENOENT)
		return -1;
	return openat(wal_dir, WAL_PROBE_NAME, flags | O_CREAT | O_EXCL, 0640);
}

int
wal_io_probe(
    struct wal_io *io, int wal_dir, bool want_direct, bool want_buffered)
{
	int fd = probe_open(wal_dir), rc = 0;

	io->direct = false;
	io->block = SEGMENT_BLOCK_MIN;
	if (fd < 0 && errno != EINVAL)
		return -errno;
	if (fd < 0) {
		/* Some file systems make the file before they refuse. */
		unlinkat(wal_dir, WAL_PROBE_NAME, 0);
		return want_direct ? -EOPNOTSUPP : 0;
	}
	io->block = block_size(fd);
	if (!want_buffered)
		rc = direct_works(fd, io->block);
	io->direct = rc > 0;
	if (rc >= 0)
		rc = want_direct && !io->direct ? -EOPNOTSUPP : 0;
	close(fd);
	unlinkat(wal_dir, WAL_PROBE_NAME, 0);
	return rc;
}

int
wal_file_open(
    const struct wal_io *io, int wal_dir, const char *name, bool create)
{
	int flags = O_RDWR | O_CLOEXEC, fd;

	if (io->direct)
		flags |= O_DIRECT;
	if (create)
		flags |= O_CREAT | O_EXCL;
	fd = openat(wal_dir, name, flags, 0640);
	return fd < 0 ? -errno : fd;
}

static bool
fence_wanted(const char *name)
{
	return segment_number(name) != 0 || strncmp(name, "spare.", 6) == 0 ||
	       strncmp(name, "prep.", 5) == 0;
}

/*
 * Wait for what is under way to a file, and change no byte of it: a hole is
 * made of zeros, which needs no space; anything else (of a former life, or of
 * a file that was cut) is reserved once more where it is.
 */
static int
fence_block(int fd, off_t at)
{
	static const uint8_t zeros[SEGMENT_FENCE_SIZE];
	uint8_t block[SEGMENT_FENCE_SIZE];
	int mode = FALLOC_FL_KEEP_SIZE;

	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	if (pread(fd, block, sizeof(block), at) == (ssize_t)sizeof(block) &&
	    memcmp(block, zeros, sizeof(block)) == 0)
		mode |= FALLOC_FL_PUNCH_HOLE;
	if (fallocate(fd, mode, at, SEGMENT_FENCE_SIZE) == 0)
		return 0;
	/* Where it is not known, or needs space, it has waited before. */
	return errno == EOPNOTSUPP || errno == ENOSPC ? 0 : -errno;
}

static int
fence_file(int wal_dir, const char *name)
{
	struct stat st;
	int fd, rc = 0;

	fd = openat(wal_dir, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		rc = -errno;
	/* The last block of a file never holds records. */
	else if (st.st_size >= 2 * (off_t)SEGMENT_FENCE_SIZE)
		rc = fence_block(fd, (off_t)align_down((uint64_t)st.st_size,
					 SEGMENT_FENCE_SIZE) -
					 (off_t)SEGMENT_FENCE_SIZE);
	close(fd);
	return rc;
}

int
wal_fence(int wal_dir, char *name, size_t name_size)
{
	struct dirent *de;
	DIR *dir;
	int rc;

	strlcpy(name, ".", name_size);
	if ((rc = path_names(wal_dir, &dir)) != 0)
		return rc;
	while (rc == 0 && (de = readdir(dir)) != NULL) {
		if (!fence_wanted(de->d_name))
			continue;
		rc = fence_file(wal_dir, de->d_name);
		strlcpy(name, rc == 0 ? "." : de->d_name, name_size);
	}
	closedir(dir);
	return rc;
}

int
wal_file_alloc(int fd, uint64_t size)
{
	int rc;

	do
		rc = posix_fallocate(fd, 0, (off_t)size);
	while (rc == EINTR);
	return wal_fault(WAL_OP_ALLOC, -rc);
}

const void *
wal_zeros(void)
{
	static const void *zeros;
	void *map;

	if (zeros == NULL) {
		/* Only ever read: all pages are the kernel's zero page. */
		map = mmap(NULL, WAL_ZEROS, PROT_READ,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		zeros = map == MAP_FAILED ? NULL : map;
	}
	return zeros;
}

static int
write_all(int fd, struct iovec *iov, int n, uint64_t offset, int flags)
{
	ssize_t done;

	while (n > 0) {
		ASSERT(iov->iov_len != 0);
		done = pwritev2(fd, iov, n, (off_t)offset, flags);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		offset += (uint64_t)done;
		for (; n > 0 && (size_t)done >= iov->iov_len; iov++, n--)
			done -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

int
wal_file_zero(int fd, uint64_t from, uint64_t to)
{
	const void *zeros = wal_zeros();
	struct iovec iov[8];
	int rc = 0, n;

	if (zeros == NULL)
		return -ENOMEM;
	while (rc == 0 && from < to) {
		uint64_t at = from;

		for (n = 0; n < 8 && at < to; n++) {
			iov[n].iov_base = (void *)(uintptr_t)zeros;
			iov[n].iov_len =
			    to - at < WAL_ZEROS ? to - at : WAL_ZEROS;
			at += iov[n].iov_len;
		}
		rc = wal_fault(WAL_OP_ZERO, write_all(fd, iov, n, from, 0));
		from = at;
	}
	return rc;
}

int
wal_file_sync(int fd)
{
	return wal_fault(WAL_OP_SYNC, fsync(fd) != 0 ? -errno : 0);
}

int
wal_file_write(const struct wal_io *io, int fd, const void *data, size_t n,
    uint64_t offset)
{
	struct iovec iov;
	int rc;

	ASSERT(!io->direct || offset % io->block == 0);
	ASSERT(!io->direct || n % io->block == 0);
	iov.iov_base = (void *)(uintptr_t)data;
	iov.iov_len = n;
	rc = write_all(fd, &iov, 1, offset, io->direct ? RWF_DSYNC : 0);
	rc = wal_fault(WAL_OP_WRITE, rc);
	if (rc == 0 && !io->direct)
		rc = wal_fault(WAL_OP_SYNC, fdatasync(fd) != 0 ? -errno : 0);
	return rc;
}

int
wal_file_rewrite(
    int fd, uint32_t from, uint32_t to, void (*beat)(void *ctx), void *ctx)
{
	const struct wal_io io = { .direct = false };
	uint8_t *buf = malloc(REWRITE_STEP);
	int rc = buf != NULL ? 0 : -ENOMEM;
	uint32_t at, n;
	ssize_t got;

	for (at = from; rc == 0 && at < to; at += n) {
		n = to - at < REWRITE_STEP ? to - at : REWRITE_STEP;
		do
			got = pread(fd, buf, n, at);
		while (got < 0 && errno == EINTR);
		if (got == (ssize_t)n)
			rc = wal_file_write(&io, fd, buf, n, at);
		else
			rc = got < 0 ? -errno : -EIO;
		beat(ctx);
	}
	free(buf);
	return rc;
}
