/* What /proc tells of processes. Contract: process.h. */
#include "shm/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shm/path.h"

/* Read a small file of /proc. Its length, or 0. */
static size_t
proc_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf[0] = '\0';
	if (fd == -1)
		return 0;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		n = 0;
	buf[n] = '\0';
	return (size_t)n;
}

void
process_unlimit(char *buf, size_t size, int supervisor, int self)
{
	struct rlimit rl;
	int n;

	buf[0] = '\0';
	if (getrlimit(RLIMIT_FSIZE, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY)
		return;
	n = snprintf(
	    buf, size, "prlimit --pid %d --fsize=unlimited", supervisor);
	if (self != 0 && self != supervisor && n > 0 && (size_t)n < size)
		snprintf(buf + n, size - (size_t)n,
		    "; prlimit --pid %d --fsize=unlimited", self);
}

void
system_boot_id(char *out, size_t size)
{
	proc_read("/proc/sys/kernel/random/boot_id", out, size);
	out[strcspn(out, "\n")] = '\0';
}

static uint64_t
file_number(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

uint64_t
pid_space(void)
{
	return file_number("/proc/self/ns/pid");
}

uint64_t
mount_space(void)
{
	return file_number("/proc/self/ns/mnt");
}

/* /proc/PID/stat behind "pid (name) ", a name may hold anything; or NULL. */
static char *
stat_read(int pid, char *buf, size_t size)
{
	char path[40], *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || proc_read(path, buf, size) == 0)
		return NULL;
	at = strrchr(buf, ')');
	return at != NULL && at[1] == ' ' ? at + 2 : NULL;
}

char
process_state(int pid)
{
	char text[1024], *at = stat_read(pid, text, sizeof(text));

	return at != NULL ? *at : 0;
}

bool
process_stopped(int pid)
{
	char state = process_state(pid);

	return state == 'T' || state == 't';
}

int
process_child(int pid)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	return proc_read(path, text, sizeof(text)) > 0
		   ? (int)strtol(text, NULL, 10)
		   : 0;
}

uint64_t
process_start(int pid)
{
	char text[1024], *at = stat_read(pid, text, sizeof(text));
	int field;

	if (at == NULL || *at == 'Z' || *at == 'X')
		return 0;
	for (field = 3; field < 22; field++) {
		if ((at = strchr(at, ' ')) == NULL)
			return 0;
		at++;
	}
	return strtoull(at, NULL, 10);
}

/* The rights of the link are those that the descriptor has. */
static bool
is_to_write(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (st.st_mode & S_IWUSR) != 0;
}

/*
 * By what the kernel knows: it may be anybody's file, and a disk or a server
 * that does not answer is not asked.
 */
static bool
leads_to(int dir, const char *name, const struct stat *file)
{
	struct statx known;
	struct stat st;

	if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO,
		&known) != 0)
		return false;
	st.st_dev = makedev(known.stx_dev_major, known.stx_dev_minor);
	st.st_ino = known.stx_ino;
	return path_same_file(&st, file);
}

bool
process_has_open(int pid, const struct stat *file, bool to_write)
{
	char path[40];
	struct dirent *e;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if ((dir = opendir(path)) == NULL)
		return false;
	while (!found && (e = readdir(dir)) != NULL)
		found = leads_to(dirfd(dir), e->d_name, file) &&
			(!to_write || is_to_write(dirfd(dir), e->d_name));
	closedir(dir);
	return found;
}
