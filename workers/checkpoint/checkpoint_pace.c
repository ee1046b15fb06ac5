/*
 * LMDB's commit leaves all dirty pages to one fdatasync(2), which then fills
 * the disk's queue with everything at once; a log flush that comes meanwhile
 * waits behind it. LMDB has no hook there. But it calls libc's fdatasync by
 * name, and this program's own function of that name comes first: for the one
 * descriptor being committed the pages are written out in steps before the
 * flush, everything else goes straight to the kernel.
 */
#include "workers/checkpoint/checkpoint.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define STEP_BYTES (256u * 1024) /* in the disk's queue at a time */
#define ROOM_LEAST (1024u * 1024) /* a disk with less of it is full */

/* One commit at a time: its process has one thread. */
static struct {
	int fd;
	void (*step)(void *);
	void *arg;
} pace = { -1, NULL, NULL };

static bool flush_failed; /* in this process' life */

void
checkpoint_pace(int fd, void (*step)(void *), void *arg)
{
	pace.fd = fd;
	pace.step = step;
	pace.arg = arg;
}

void
checkpoint_pace_end(void)
{
	pace.fd = -1;
}

/* Clean stretches cost a look at the page tree only. */
static int
write_out(int fd)
{
	struct stat st;
	off_t at;

	if (fstat(fd, &st) != 0)
		return -1;
	for (at = 0; at < st.st_size; at += STEP_BYTES) {
		if (sync_file_range(fd, at, STEP_BYTES,
			SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			    SYNC_FILE_RANGE_WAIT_AFTER) != 0)
			return -1;
		if (pace.step != NULL)
			pace.step(pace.arg);
	}
	return 0;
}

int
fdatasync(int fd)
{
	int rc = -1;

	/* An error of the first step is the flush's: it is not repeated. */
	if (fd != pace.fd || write_out(fd) == 0 || errno == ESPIPE ||
	    errno == EINVAL)
		rc = (int)syscall(SYS_fdatasync, fd);
	flush_failed |= rc != 0;
	return rc;
}

/* Does the file reach as far as this process may write? */
static bool
at_limit(const char *path)
{
	char file[PATH_MAX];
	struct rlimit limit;
	struct stat st;

	snprintf(file, sizeof(file), "%s/data.mdb", path);
	return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	       limit.rlim_cur != RLIM_INFINITY && stat(file, &st) == 0 &&
	       (rlim_t)st.st_size >= limit.rlim_cur;
}

int
checkpoint_error(const char *path, int rc)
{
	struct statvfs fs;

	if (rc != -EIO || flush_failed)
		return rc;
	if (at_limit(path))
		return -EFBIG;
	return statvfs(path, &fs) == 0 &&
		       (uint64_t)fs.f_bavail * fs.f_frsize < ROOM_LEAST
		   ? -ENOSPC
		   : rc;
}
