/*
 * Who holds the lock of a data directory, or a socket. /proc/locks names only
 * the process that took a lock; it lives on in every worker that inherited it,
 * and the one that hangs in the kernel is the one to name. So: who has the
 * file open.
 */
#include "shm/holders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/process.h"

#define STATE_BOUND 1 /* in /proc/net/unix: bound or listening, no peer */

/* "pid 7 (title)", appended. */
static size_t
name_holder(const char *pid, char *buf, size_t buf_size)
{
	char path[64], title[96] = "";
	size_t end;
	ssize_t n;
	int fd, len;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		n = read(fd, title, sizeof(title) - 1);
		title[n > 0 ? n : 0] = '\0'; /* up to the first NUL */
		close(fd);
		/* Any process' own words, for a terminal. */
		for (char *at = title; *at != '\0'; at++)
			if (!isprint((unsigned char)*at))
				*at = '?';
		/* One that is just being set ends in blanks. */
		for (end = strlen(title); end > 0 && title[end - 1] == ' ';)
			title[--end] = '\0';
	}
	len = snprintf(
	    buf, buf_size, "pid %s (%s)", pid, title[0] != '\0' ? title : "?");
	return len < 0 ? 0 : (size_t)len;
}

static void
name_all(const struct stat *file, bool to_write, char *buf, size_t buf_size)
{
	struct dirent *e;
	size_t used = 0;
	DIR *proc;
	int pid;

	snprintf(buf, buf_size, "another process");
	if ((proc = opendir("/proc")) == NULL)
		return;
	while ((e = readdir(proc)) != NULL && used + 32 < buf_size) {
		if (!isdigit((unsigned char)e->d_name[0]) ||
		    (pid = (int)strtol(e->d_name, NULL, 10)) == getpid() ||
		    !process_has_open(pid, file, to_write))
			continue;
		if (used > 0)
			used += strlcpy(buf + used, ", ", buf_size - used);
		used += name_holder(e->d_name, buf + used, buf_size - used);
	}
	closedir(proc);
}

void
holders_of_file(const struct stat *file, char *buf, size_t buf_size)
{
	name_all(file, false, buf, buf_size);
}

void
writers_of_file(const struct stat *file, char *buf, size_t buf_size)
{
	name_all(file, true, buf, buf_size);
}

/* What all sockets have in common; false if that cannot be had. */
static bool
socket_device(dev_t *out)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	bool known = fd >= 0 && fstat(fd, &st) == 0;

	if (known)
		*out = st.st_dev;
	if (fd >= 0)
		close(fd);
	return known;
}

/* The socket's own inode, not that of its name; 0 = not to be seen here. */
static ino_t
socket_inode(const char *path)
{
	char line[256];
	ino_t found = 0;
	FILE *list = fopen("/proc/net/unix", "re");

	if (list == NULL)
		return 0;
	/* Num RefCount Protocol Flags Type St Inode Path */
	while (found == 0 && fgets(line, sizeof(line), list) != NULL) {
		unsigned long inode = 0;
		unsigned state = 0;
		int at = 0;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%*s %*s %*s %*s %*s %x %lu %n", &state,
			&inode, &at) == 2 &&
		    at > 0 && state == STATE_BOUND &&
		    strcmp(line + at, path) == 0)
			found = inode;
	}
	fclose(list);
	return found;
}

void
holders_of_socket(const char *path, char *buf, size_t buf_size)
{
	struct stat file = { .st_ino = socket_inode(path) };

	if (file.st_ino != 0 && socket_device(&file.st_dev))
		holders_of_file(&file, buf, buf_size);
	else
		snprintf(buf, buf_size, "another process");
}
