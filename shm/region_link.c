/* The links in run_dir, and who made what they lead to. */
#include "shm/region_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/path.h"
#include "shm/process.h"

/* Where run_dir/name leads to. "" if there is no such link. */
static void
link_target(int run_dir, const char *name, char *out, size_t size)
{
	ssize_t n = readlinkat(run_dir, name, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
}

/* The link under a name aside, as long as it is not yet in its place. */
static int
link_aside(int run_dir, const char *name, const char *target)
{
	if (unlinkat(run_dir, name, 0) == -1 && errno != ENOENT)
		return -errno;
	return symlinkat(target, run_dir, name) == -1 ? -errno : 0;
}

static int
link_rename(int run_dir, const char *from, const char *to)
{
	int rc;

	if (renameat(run_dir, from, run_dir, to) == 0)
		return 0;
	rc = -errno;
	unlinkat(run_dir, from, 0);
	return rc;
}

/* Is it the name of a region of ours, and directly in /dev/shm? */
static bool
target_is_ours(const char *target)
{
	const char *prefix = REGION_SHM_DIR "/" REGION_PREFIX;

	return strncmp(target, prefix, strlen(prefix)) == 0 &&
	       strchr(target + strlen(prefix), '/') == NULL;
}

/* An ordinary file, whatever has the name: a pipe does not hold us up. */
static int
target_open(const char *target, struct stat *st)
{
	int fd;

	if (!target_is_ours(target))
		return -ENOENT;
	fd = open(
	    target, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return -errno;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return -EBADMSG;
}

static int
read_at(int fd, void *buf, size_t len, uint64_t off)
{
	return pread(fd, buf, len, (off_t)off) == (ssize_t)len ? 0 : -EBADMSG;
}

static int
target_peek(
    const char *target, struct region_head *head, struct log_failed *failed)
{
	struct stat st;
	char why[8];
	int fd, rc;

	if ((fd = target_open(target, &st)) < 0)
		return fd;
	if ((rc = read_at(fd, head, sizeof(*head), 0)) == 0)
		rc = region_head_check(
		    head, (uint64_t)st.st_size, why, sizeof(why));
	if (rc == 0)
		rc = read_at(fd, failed, sizeof(*failed),
		    head->section[SECT_CONTROL].off +
			offsetof(struct control, wal_failed));
	close(fd);
	return rc;
}

int
region_link_peek(int run_dir, const char *name, struct region_head *head,
    struct log_failed *failed)
{
	char target[PATH_MAX];

	link_target(run_dir, name, target, sizeof(target));
	return target_peek(target, head, failed);
}

static bool
head_is_live(const struct region_head *head)
{
	return atomic_load_explicit(&head->state, memory_order_relaxed) ==
	       REGION_LIVE;
}

int
region_link_owner(int run_dir)
{
	struct region_head head;
	struct log_failed failed;

	if (region_link_peek(run_dir, "region", &head, &failed) != 0 ||
	    !head_is_live(&head) || head.supervisor_pid == getpid() ||
	    !region_head_alive(&head))
		return 0;
	return head.supervisor_pid;
}

int
region_orphan(const char *run_dir)
{
	int dir = path_dir_open(run_dir), pid = 0;
	struct region_head head;
	struct log_failed failed;

	if (dir < 0)
		return 0;
	if (region_link_peek(dir, "region", &head, &failed) == 0 &&
	    head_is_live(&head))
		pid = head.supervisor_pid;
	close(dir);
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
target_is_dead(const char *target)
{
	struct region_head head;
	struct log_failed failed;

	if (target_peek(target, &head, &failed) != 0)
		return name_is_dead(target + strlen(REGION_SHM_DIR));
	return !head_is_live(&head) || !region_head_alive(&head);
}

/*
 * Who may make links in run_dir could have made one to another's region: it
 * goes only if the link is ours, or its maker's the region, too.
 */
static bool
link_is_honest(int run_dir, const char *name, const char *target)
{
	struct stat link, file;

	if (geteuid() != 0)
		return true; /* the kernel knows what is ours */
	return fstatat(run_dir, name, &link, AT_SYMLINK_NOFOLLOW) == 0 &&
	       lstat(target, &file) == 0 &&
	       (link.st_uid == 0 || link.st_uid == file.st_uid);
}

/* Remove what run_dir/name leads to. Only what is surely one of ours. */
static void
target_unlink(int run_dir, const char *name)
{
	char target[PATH_MAX];

	link_target(run_dir, name, target, sizeof(target));
	if (target_is_ours(target) && link_is_honest(run_dir, name, target) &&
	    target_is_dead(target))
		shm_unlink(target + strlen(REGION_SHM_DIR));
}

/* Writable, if it is dead, its maker's, and no other name's; or -1. */
static int
dead_open(int run_dir, const char *name)
{
	char target[PATH_MAX];
	int fd;

	link_target(run_dir, name, target, sizeof(target));
	if (!target_is_ours(target) || !link_is_honest(run_dir, name, target) ||
	    !target_is_dead(target))
		return -1;
	fd = open(target, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1 || path_file_check(fd) == 0)
		return fd;
	close(fd);
	return -1;
}

static const char *const links[] = { "region", "region.prev" };

void
region_trim_dead(const char *run_dir)
{
	int dir = path_dir_open(run_dir), fd;
	struct region_head head;
	struct log_failed failed;

	for (unsigned i = 0; dir >= 0 && i < NITEMS(links); i++) {
		if (region_link_peek(dir, links[i], &head, &failed) != 0 ||
		    (fd = dead_open(dir, links[i])) == -1)
			continue;
		region_sections_trim(fd, head.section);
		close(fd);
	}
	if (dir >= 0)
		close(dir);
}

uint64_t
region_held(const char *run_dir)
{
	int dir = path_dir_open(run_dir);
	char target[PATH_MAX];
	uint64_t held = 0;
	struct stat st;

	for (unsigned i = 0; dir >= 0 && i < NITEMS(links); i++) {
		link_target(dir, links[i], target, sizeof(target));
		if (target_is_ours(target) && lstat(target, &st) == 0)
			held += (uint64_t)st.st_blocks * 512;
	}
	if (dir >= 0)
		close(dir);
	return held;
}

/* `region` becomes region.prev, and what that led to goes. */
static int
keep_old(int run_dir)
{
	char old[PATH_MAX], prev[PATH_MAX];
	int rc;

	link_target(run_dir, "region", old, sizeof(old));
	link_target(run_dir, "region.prev", prev, sizeof(prev));
	if (old[0] == '\0' || strcmp(old, prev) == 0)
		return 0;
	/* First: nothing else would lead to it. */
	target_unlink(run_dir, "region.prev");
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

/*
 * What run_dir/region leads to, if it is this process' own, to be removed when
 * another has its place. "" if it is not.
 */
static void
own_target(int run_dir, char *out, size_t size)
{
	struct region_head head;
	struct log_failed failed;

	link_target(run_dir, "region", out, size);
	if (!target_is_ours(out) || !link_is_honest(run_dir, "region", out) ||
	    target_peek(out, &head, &failed) != 0 ||
	    head.supervisor_pid != getpid() || !region_head_alive(&head))
		out[0] = '\0';
}

int
region_link_swap(int run_dir, const char *shm_name, int fd, bool keep_prev)
{
	char target[PATH_MAX], old[PATH_MAX] = "";
	int rc = 0;

	snprintf(target, sizeof(target), REGION_SHM_DIR "%s", shm_name);
	/* Of a maker that was killed between the next three. */
	target_unlink(run_dir, "region.new");
	if (keep_prev)
		own_target(run_dir, old, sizeof(old));
	if (old[0] == '\0')
		rc = keep_old(run_dir);
	if (rc == 0 && (rc = link_aside(run_dir, "region.new", target)) == 0 &&
	    (rc = name_file(fd, target)) == 0)
		rc = link_rename(run_dir, "region.new", "region");
	if (rc == 0 && old[0] != '\0')
		shm_unlink(old + strlen(REGION_SHM_DIR));
	return rc;
}

int
region_link_restore(int run_dir, const char *shm_name)
{
	char target[PATH_MAX];
	struct stat st;

	if (fstatat(run_dir, "region", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	snprintf(target, sizeof(target), REGION_SHM_DIR "%s", shm_name);
	return symlinkat(target, run_dir, "region") == 0 ? 1 : -errno;
}

bool
region_link_leads(int run_dir, const char *name)
{
	static const char *const all[] = { "region", "region.prev",
		"region.new", "region.prev.new" };
	char target[PATH_MAX];

	for (unsigned i = 0; i < NITEMS(all); i++) {
		link_target(run_dir, all[i], target, sizeof(target));
		if (target_is_ours(target) &&
		    strcmp(target + strlen(REGION_SHM_DIR "/"), name) == 0)
			return true;
	}
	return false;
}
