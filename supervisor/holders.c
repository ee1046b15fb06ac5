/*
 * Who holds the lock of a data directory. /proc/locks names only the process
 * that took it; the lock lives on in every worker that inherited it, and the
 * one that hangs in the kernel is the one to name. So: who has the file open.
 */
#include "supervisor/datadir.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is one of the process' descriptors this file? */
static bool
has_open(const char *pid, const struct stat *file)
{
	char path[64];
	struct dirent *e;
	struct stat st;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	if ((dir = opendir(path)) == NULL)
		return false;
	while (!found && (e = readdir(dir)) != NULL)
		found = isdigit((unsigned char)e->d_name[0]) &&
			fstatat(dirfd(dir), e->d_name, &st, 0) == 0 &&
			st.st_dev == file->st_dev && st.st_ino == file->st_ino;
	closedir(dir);
	return found;
}

/* "pid 7 (title)", appended. */
static size_t
name_holder(const char *pid, char *buf, size_t buf_size)
{
	char path[64], title[96] = "";
	ssize_t n;
	int fd, len;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		n = read(fd, title, sizeof(title) - 1);
		title[n > 0 ? n : 0] = '\0'; /* up to the first NUL */
		close(fd);
	}
	len = snprintf(
	    buf, buf_size, "pid %s (%s)", pid, title[0] != '\0' ? title : "?");
	return len < 0 ? 0 : (size_t)len;
}

void
datadir_holders(int dir_fd, char *buf, size_t buf_size)
{
	struct dirent *e;
	struct stat file;
	size_t used = 0;
	DIR *proc;

	snprintf(buf, buf_size, "another process");
	if (fstatat(dir_fd, DATADIR_LOCK, &file, 0) != 0 ||
	    (proc = opendir("/proc")) == NULL)
		return;
	while ((e = readdir(proc)) != NULL && used + 32 < buf_size) {
		if (!isdigit((unsigned char)e->d_name[0]) ||
		    strtol(e->d_name, NULL, 10) == getpid() ||
		    !has_open(e->d_name, &file))
			continue;
		if (used > 0)
			used += strlcpy(buf + used, ", ", buf_size - used);
		used += name_holder(e->d_name, buf + used, buf_size - used);
	}
	closedir(proc);
}
