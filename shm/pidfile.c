/* Whose run_dir it is. Contract: pidfile.h. */
#include "shm/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void
waits_path(char path[PATH_MAX], const char *run_dir)
{
	snprintf(path, PATH_MAX, "%s/waits", run_dir);
}

void
pidfile_waits(const char *run_dir, const char *text)
{
	char path[PATH_MAX];
	int fd;

	waits_path(path, run_dir);
	unlink(path);
	if (text == NULL)
		return;
	fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	dprintf(fd, "%s\n", text);
	close(fd);
}

bool
pidfile_waits_read(const char *run_dir, char *text, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	waits_path(path, run_dir);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = pread(fd, text, size - 1, 0);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return text[0] != '\0';
}
