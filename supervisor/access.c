/* What the workers' user may open. Contract: access.h. */
#include "supervisor/access.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <liburing.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/denied.h"
#include "shm/fault.h"
#include "shm/say.h"

/* What workers open of what is there; names of others are not our business. */
static const struct {
	const char *dir; /* in data_dir */
	const char *pattern;
} opened[] = {
	{ ".", "node" },
	{ ".", "state" },
	{ ".", "members" },
	{ ".", "reserve" },
	{ ".", "salvage" },
	{ "wal", "*.seg" },
	{ "wal", "prep.*" },
	{ "wal", "hint" },
	{ "store", "*.mdb" },
	{ "index", "*.idx" },
};

struct found {
	const struct conf *conf;
	const struct rights *rights;
	unsigned count; /* of files that may not be opened */
	int error; /* of the first, positive */
	char path[PATH_MAX]; /* below data_dir */
	struct stat st; /* unknown: st_mode is 0 */
	bool readonly_fs;
};

/* Who we were. */
struct before {
	int count;
	gid_t groups[NGROUPS_MAX];
	gid_t gid;
};

/* 0 or an exit code, having refused. */
static int
become(const struct conf *conf, const struct rights *r, struct before *b)
{
	const char *user = conf->node.user;

	if (!r->drop)
		return 0;
	b->gid = getegid();
	if ((b->count = getgroups(NGROUPS_MAX, b->groups)) >= 0 &&
	    (user[0] != '\0' ? initgroups(user, r->gid) : setgroups(0, NULL)) ==
		0 &&
	    setegid(r->gid) == 0 && seteuid(r->uid) == 0)
		return 0;
	return refuse(
	    EX_OSERR, "become user %u: %s", (unsigned)r->uid, strerror(errno));
}

static int
become_again(const struct rights *r, const struct before *b)
{
	if (!r->drop || (seteuid(0) == 0 && setegid(b->gid) == 0 &&
			    setgroups((size_t)b->count, b->groups) == 0))
		return 0;
	return refuse(EX_OSERR, "become root again: %s", strerror(errno));
}

static void
note(struct found *f, const char *dir, const char *name, int error)
{
	if (f->count++ > 0)
		return;
	f->error = error;
	snprintf(f->path, sizeof(f->path), "%s/%s", dir, name);
}

static void
look(struct found *f, int dir_fd, const char *dir, const char *name)
{
	bool readonly = f->conf->boot.recovery_mode == CONF_RECOVERY_READONLY;
	struct stat st;
	int how = R_OK;

	/* What is gone by now is no matter; what hides a link is seen. */
	if (fstatat(dir_fd, name, &st, 0) != 0 && errno == ENOENT)
		return;
	if (!readonly)
		how |= W_OK;
	if (S_ISDIR(st.st_mode))
		how |= X_OK;
	if (faccessat(dir_fd, name, how, AT_EACCESS) == 0)
		return;
	if (errno == EROFS)
		f->readonly_fs = true;
	else if (errno != ENOENT)
		note(f, dir, name, errno);
}

static bool
is_opened(const char *dir, const char *name)
{
	for (size_t i = 0; i < NITEMS(opened); i++)
		if (strcmp(opened[i].dir, dir) == 0 &&
		    fnmatch(opened[i].pattern, name, 0) == 0)
			return true;
	return false;
}

/* A directory of data_dir, if it is there, and what is in it. */
static void
look_into(struct found *f, int data_fd, const char *dir)
{
	int fd = openat(data_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *list;

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0) {
		note(f, dir, ".", errno);
		return;
	}
	look(f, fd, dir, ".");
	if ((list = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while ((e = readdir(list)) != NULL)
		if (is_opened(dir, e->d_name))
			look(f, dirfd(list), dir, e->d_name);
	closedir(list);
}

/* "./x/." is x. */
static void
full_path(const struct found *f, char *buf, size_t size)
{
	const char *at = f->path;
	size_t len;

	at += strncmp(at, "./", 2) == 0 ? 2 : 0;
	len = strlen(at);
	if (len >= 2 && strcmp(at + len - 2, "/.") == 0)
		len -= 2;
	else if (strcmp(at, ".") == 0)
		len = 0;
	snprintf(buf, size, "%s%s%.*s", f->conf->node.data_dir,
	    len > 0 ? "/" : "", (int)len, at);
}

/* The command that gives the user what was found. */
static void
command(const struct found *f, const char *path, char *buf, size_t size)
{
	const struct rights *r = f->rights;
	char owner[64];

	if (f->error != EACCES)
		buf[0] = '\0';
	else if (f->count > 1)
		snprintf(buf, size, "chown -R %s %s", rights_owner(r, owner),
		    f->conf->node.data_dir);
	else
		denied_command(buf, size, r->uid, r->gid, path, &f->st);
}

static int
refuse_found(struct found *f, int dir_fd)
{
	char what[256], path[PATH_MAX], how[PATH_MAX + 64];
	struct fault fault = { .object = path,
		.call = "open",
		.error = f->error,
		.place = PLACE_DATA,
		.effect = "the node does not start, nothing is changed",
		.what = what,
		.command = how };

	/* Who could not look may be told by who can. */
	if (fstatat(dir_fd, f->path, &f->st, 0) != 0)
		f->st.st_mode = 0;
	full_path(f, path, sizeof(path));
	denied_what(what, sizeof(what), f->error, f->rights->uid, &f->st);
	if (f->count > 1)
		snprintf(what + strlen(what), sizeof(what) - strlen(what),
		    ", and %u more", f->count - 1);
	command(f, path, how, sizeof(how));
	return refuse_fault(refuse_code(f->error), &fault);
}

/*
 * The first directory above data_dir that this user may not pass, in buf: "" =
 * none that has a name on the way. Does that keep it from data_dir?
 */
static bool
barred(const char *data_dir, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	if (faccessat(AT_FDCWD, data_dir, F_OK, AT_EACCESS) == 0 ||
	    errno != EACCES)
		return false;
	while (data_dir[len] != '\0') {
		len += 1 + strcspn(data_dir + len + 1, "/");
		snprintf(buf, size, "%.*s", (int)len, data_dir);
		if (faccessat(AT_FDCWD, buf, X_OK, AT_EACCESS) != 0)
			break;
	}
	/* It is one that a link on the way leads through. */
	if (strcmp(buf, data_dir) == 0)
		buf[0] = '\0';
	return true;
}

static int
refuse_barred(const struct found *f, const char *dir)
{
	char user[32], owner[32], what[PATH_MAX + 160];
	struct fault fault = { .object = f->conf->node.data_dir,
		.call = "open",
		.error = EACCES,
		.place = PLACE_DATA,
		.effect = "the node does not start, nothing is changed",
		.what = what };
	struct stat st;

	denied_user(user, f->rights->uid);
	if (dir[0] != '\0' && stat(dir, &st) == 0)
		snprintf(what, sizeof(what),
		    "%s for user %s, who may not pass %s (owner %s, mode %04o)",
		    strerror(EACCES), user, dir, denied_user(owner, st.st_uid),
		    (unsigned)st.st_mode & 07777);
	else
		snprintf(what, sizeof(what),
		    "%s for user %s, who may not pass a directory above it",
		    strerror(EACCES), user);
	return refuse_fault(EX_NOPERM, &fault);
}

static void
warn_readonly(const struct conf *conf)
{
	char text[FAULT_TEXT_MAX];
	struct fault fault = { .object = conf->node.data_dir,
		.call = "access",
		.error = EROFS,
		.place = PLACE_DATA,
		.effect = "the node cannot serve before it may write" };

	say_warnx("%s", fault_text(text, sizeof(text), &fault));
}

/* One request that does nothing: all that a worker's ring calls is called. */
static int
ring_try(void)
{
	struct io_uring ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int fd = -1, rc;

	if ((rc = io_uring_queue_init(2, &ring, 0)) != 0)
		return rc;
	if ((rc = io_uring_register_files_sparse(&ring, 1)) == 0)
		rc = io_uring_register_files_update(&ring, 0, &fd, 1);
	if (rc >= 0 && (sqe = io_uring_get_sqe(&ring)) != NULL) {
		io_uring_prep_nop(sqe);
		rc = io_uring_submit_and_wait(&ring, 1);
		if (rc >= 0)
			rc = io_uring_peek_cqe(&ring, &cqe);
	}
	io_uring_queue_exit(&ring);
	return rc < 0 ? rc : 0;
}

int
access_ring(const struct conf *conf, const struct rights *rights)
{
	char text[FAULT_TEXT_MAX];
	struct before before;
	struct fault f = { .object = "io_uring", .place = PLACE_RING };
	int rc;

	if ((rc = become(conf, rights, &before)) != 0)
		return rc;
	f.error = -ring_try();
	if ((rc = become_again(rights, &before)) != 0)
		return rc;
	if (f.error == 0)
		return 0;
	if (fault_kind(f.error, PLACE_RING) != FAULT_WORLD)
		return refuse_fault(EX_OSERR, &f);
	say_warnx("%s", fault_text(text, sizeof(text), &f));
	return 0;
}

int
access_check(const struct conf *conf, const struct rights *rights, int dir_fd)
{
	static const char *const dirs[] = { ".", "wal", "store", "index" };
	struct found f = { .conf = conf, .rights = rights };
	struct before before;
	char above[PATH_MAX];
	bool bar;
	int rc;

	if ((rc = become(conf, rights, &before)) != 0)
		return rc;
	bar = barred(conf->node.data_dir, above, sizeof(above));
	for (size_t i = 0; i < NITEMS(dirs); i++)
		look_into(&f, dir_fd, dirs[i]);
	if ((rc = become_again(rights, &before)) != 0)
		return rc;
	if (bar)
		return refuse_barred(&f, above);
	if (f.count > 0)
		return refuse_found(&f, dir_fd);
	if (f.readonly_fs && conf->boot.recovery_mode != CONF_RECOVERY_READONLY)
		warn_readonly(conf);
	return 0;
}
