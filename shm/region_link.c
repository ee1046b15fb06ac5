/* The links in run_dir, and who made what they lead to. */
#include "shm/region_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/region.h"

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
system_boot_id(char *out, size_t size)
{
	proc_read("/proc/sys/kernel/random/boot_id", out, size);
	out[strcspn(out, "\n")] = '\0';
}

uint64_t
process_start(int pid)
{
	char path[40], stat[1024], *at;
	int field;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (pid <= 0 || proc_read(path, stat, sizeof(stat)) == 0)
		return 0;
	/* The second field is "(name)", and a name may hold anything. */
	if ((at = strrchr(stat, ')')) == NULL || at[1] != ' ')
		return 0;
	at += 2;
	if (*at == 'Z' || *at == 'X')
		return 0;
	for (field = 3; field < 22; field++) {
		if ((at = strchr(at, ' ')) == NULL)
			return 0;
		at++;
	}
	return strtoull(at, NULL, 10);
}

static int
link_path(char *out, size_t size, const char *run_dir, const char *name)
{
	int n = snprintf(out, size, "%s/%s", run_dir, name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Where run_dir/name leads to. "" if there is no such link. */
static void
link_target(const char *run_dir, const char *name, char *out, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = -1;

	if (link_path(path, sizeof(path), run_dir, name) == 0)
		n = readlink(path, out, size - 1);
	out[n > 0 ? n : 0] = '\0';
}

/* The link under a name aside, as long as it is not yet in its place. */
static int
link_aside(const char *run_dir, const char *name, const char *target)
{
	char path[PATH_MAX];
	int rc;

	if ((rc = link_path(path, sizeof(path), run_dir, name)) != 0)
		return rc;
	if (unlink(path) == -1 && errno != ENOENT)
		return -errno;
	return symlink(target, path) == -1 ? -errno : 0;
}

static int
link_rename(const char *run_dir, const char *from, const char *to)
{
	char old[PATH_MAX], path[PATH_MAX];
	int rc;

	if ((rc = link_path(old, sizeof(old), run_dir, from)) != 0 ||
	    (rc = link_path(path, sizeof(path), run_dir, to)) != 0)
		return rc;
	if (rename(old, path) == 0)
		return 0;
	rc = -errno;
	unlink(old);
	return rc;
}

int
region_link_owner(const char *run_dir)
{
	char path[PATH_MAX], why[8];
	struct region r;
	int pid = 0;

	if (link_path(path, sizeof(path), run_dir, "region") != 0 ||
	    region_attach(&r, path, why, sizeof(why)) != 0)
		return 0;
	if (atomic_load_explicit(&r.head->state, memory_order_acquire) ==
		REGION_LIVE &&
	    r.head->supervisor_pid != getpid() && region_alive(&r))
		pid = r.head->supervisor_pid;
	region_unmap(&r);
	return pid;
}

/*
 * The pid in "/nodelife.NODE.PID.HEX": for regions of other builds, or whose
 * creator died before they were complete, the name is all there is.
 */
static bool
name_is_dead(const char *shm_name)
{
	char buf[NAME_MAX + 1], *dot;

	if (strlcpy(buf, shm_name, sizeof(buf)) >= sizeof(buf) ||
	    (dot = strrchr(buf, '.')) == NULL)
		return false;
	*dot = '\0';
	if ((dot = strrchr(buf, '.')) == NULL)
		return false;
	return process_start((int)strtol(dot + 1, NULL, 10)) == 0;
}

static bool
target_is_dead(const char *target, const char *shm_name)
{
	char why[8];
	struct region r;
	bool dead;

	if (region_attach(&r, target, why, sizeof(why)) != 0)
		return name_is_dead(shm_name);
	dead = atomic_load_explicit(&r.head->state, memory_order_acquire) !=
		   REGION_LIVE ||
	       !region_alive(&r);
	region_unmap(&r);
	return dead;
}

/* Remove what region.prev led to. Only what is surely one of ours. */
static void
target_unlink(const char *target)
{
	const char *prefix = REGION_SHM_DIR "/nodelife.";
	const char *shm_name = target + strlen(REGION_SHM_DIR);

	if (strncmp(target, prefix, strlen(prefix)) != 0 ||
	    strchr(shm_name + 1, '/') != NULL)
		return;
	if (target_is_dead(target, shm_name))
		shm_unlink(shm_name);
}

/* `region` becomes region.prev, and what that led to goes. */
static int
keep_old(const char *run_dir)
{
	char old[PATH_MAX], prev[PATH_MAX];
	int rc;

	link_target(run_dir, "region", old, sizeof(old));
	link_target(run_dir, "region.prev", prev, sizeof(prev));
	if (old[0] == '\0' || strcmp(old, prev) == 0)
		return 0;
	/* First: nothing else would lead to it. */
	target_unlink(prev);
	rc = link_aside(run_dir, "region.prev.new", old);
	return rc == 0 ? link_rename(run_dir, "region.prev.new", "region.prev")
		       : rc;
}

/* The file's first name. */
static int
name_file(int fd, const char *target)
{
	char from[40];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, from, AT_FDCWD, target, AT_SYMLINK_FOLLOW) == -1)
		return -errno;
	return 0;
}

int
region_link_swap(const char *run_dir, const char *shm_name, int fd)
{
	char target[PATH_MAX], left[PATH_MAX];
	int rc;

	snprintf(target, sizeof(target), REGION_SHM_DIR "%s", shm_name);
	/* Of a maker that was killed between the next three. */
	link_target(run_dir, "region.new", left, sizeof(left));
	target_unlink(left);
	if ((rc = keep_old(run_dir)) == 0 &&
	    (rc = link_aside(run_dir, "region.new", target)) == 0 &&
	    (rc = name_file(fd, target)) == 0)
		rc = link_rename(run_dir, "region.new", "region");
	return rc;
}
