/* Directories that root opens among others' links. Contract: path.h. */
#include "shm/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX  40 /* as the kernel */
#define STEP_FLAGS (O_PATH | O_NOFOLLOW | O_CLOEXEC)

struct walk {
	int at; /* where we are, O_PATH */
	unsigned links;
	char rest[PATH_MAX]; /* still to be gone */
};

static int
walk_begin(struct walk *w)
{
	int fd = open(
	    w->rest[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		return -errno;
	if (w->at != -1)
		close(w->at);
	w->at = fd;
	return 0;
}

/* Take the first part off `rest`; false at the end. */
static bool
walk_part(struct walk *w, char part[NAME_MAX + 1])
{
	char *from = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(from, "/");

	if (len == 0)
		return false;
	/* What is too long is cut and not found. */
	snprintf(part, NAME_MAX + 1, "%.*s", (int)len, from);
	memmove(w->rest, from + len, strlen(from + len) + 1);
	return true;
}

/* What a link says comes before the rest. A link's text never changes. */
static int
walk_link(struct walk *w, int link)
{
	char text[PATH_MAX], rest[PATH_MAX];
	ssize_t n = readlinkat(link, "", text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	strlcpy(rest, w->rest, sizeof(rest));
	n = snprintf(w->rest, sizeof(w->rest), "%s%s", text, rest);
	if (n < 0 || (size_t)n >= sizeof(w->rest))
		return -ENAMETOOLONG;
	return text[0] == '/' ? walk_begin(w) : 0;
}

static int
walk_step(struct walk *w, const char *part)
{
	struct stat st;
	int next, rc;

	/* As a directory, lest a file system be not mounted that waits for
	   somebody to come by (autofs); a link is none. */
	next = openat(w->at, part, STEP_FLAGS | O_DIRECTORY);
	if (next == -1 && errno == ENOTDIR)
		next = openat(w->at, part, STEP_FLAGS);
	if (next == -1)
		return -errno;
	if (fstat(next, &st) == -1)
		rc = -errno;
	else if (S_ISLNK(st.st_mode))
		rc = st.st_uid == 0 ? walk_link(w, next) : -ELOOP;
	else
		rc = S_ISDIR(st.st_mode) ? 1 : -ENOTDIR;
	if (rc != 1) {
		close(next);
		return rc;
	}
	close(w->at);
	w->at = next;
	return 0;
}

static int
walk(const char *path)
{
	struct walk w = { .at = -1 };
	char part[NAME_MAX + 1];
	int rc = -ENAMETOOLONG, fd = -1;

	if (strlcpy(w.rest, path, sizeof(w.rest)) < sizeof(w.rest))
		rc = walk_begin(&w);
	while (rc == 0 && walk_part(&w, part))
		rc = walk_step(&w, part);
	if (rc == 0 &&
	    (fd = openat(w.at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		rc = -errno;
	if (w.at != -1)
		close(w.at);
	return rc == 0 ? fd : rc;
}

int
path_dir_open(const char *path)
{
	int fd;

	if (geteuid() == 0)
		return walk(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd != -1 ? fd : -errno;
}

int
path_parent_open(const char *path, const char **name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');

	*name = slash != NULL ? slash + 1 : path;
	if ((size_t)(*name - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	snprintf(dir, sizeof(dir), "%.*s", (int)(*name - path), path);
	return path_dir_open(dir[0] != '\0' ? dir : ".");
}

/* What lies above it, made if need be, open to all. */
static int
parent_make(const char *path, const char **name)
{
	char above[PATH_MAX];
	size_t len;
	int rc;

	if ((rc = path_parent_open(path, name)) != -ENOENT)
		return rc;
	len = (size_t)(*name - path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len == 0 || len >= sizeof(above))
		return rc;
	snprintf(above, sizeof(above), "%.*s", (int)len, path);
	return path_dir_make(above, 0755);
}

int
path_dir_make(const char *path, mode_t mode)
{
	const char *name;
	mode_t mask;
	int parent, rc;

	if ((rc = path_dir_open(path)) != -ENOENT)
		return rc;
	if ((parent = parent_make(path, &name)) < 0)
		return parent;
	mask = umask(0);
	rc = mkdirat(parent, name, mode) == 0 || errno == EEXIST ? 0 : -errno;
	umask(mask);
	close(parent);
	return rc == 0 ? path_dir_open(path) : rc;
}

int
path_names(int dir_fd, DIR **out)
{
	int rc, fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if ((*out = fdopendir(fd)) != NULL)
		return 0;
	rc = -errno;
	close(fd);
	return rc;
}

bool
path_dir_is_safe(int dir_fd)
{
	struct stat st;

	if (geteuid() != 0)
		return true;
	return fstat(dir_fd, &st) == 0 && st.st_uid == 0 &&
	       (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

int
path_file_check(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return st.st_nlink == 1 ? 0 : -EMLINK;
}

int
path_leads_to(int dir, const char *name, bool follow, int fd)
{
	struct stat open_file, named;

	if (fstat(fd, &open_file) != 0 ||
	    fstatat(dir, name, &named, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	return path_same_file(&open_file, &named) ? 0 : -EREMCHG;
}
