/* Whose run_dir it is. Contract: pidfile.h. */
#include "shm/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct flock
whole(void)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

int
pidfile_lock(int fd)
{
	struct flock lock = whole();

	return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

int
pidfile_holder(const char *run_dir, int *pid)
{
	char path[PATH_MAX], text[16] = "";
	struct flock lock = whole();
	int fd, rc;

	*pid = 0;
	snprintf(path, sizeof(path), "%s/" PIDFILE_NAME, run_dir);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	rc = fcntl(fd, F_OFD_GETLK, &lock) == 0 ? lock.l_type != F_UNLCK
						: -errno;
	if (rc == 1 && pread(fd, text, sizeof(text) - 1, 0) > 0)
		*pid = (int)strtol(text, NULL, 10);
	close(fd);
	return rc;
}
