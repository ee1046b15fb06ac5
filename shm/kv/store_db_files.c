/*
 * Which files the store is: by name, by what is open, and that one process at a
 * time has them to write.
 */
#include "shm/kv/store_db_int.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/fault.h"
#include "shm/holders.h"
#include "shm/kv/table.h"
#include "shm/path.h"

#define LOCK_ROOM (4096 + STORE_READERS * 128) /* lock.mdb has, at most */

#define HOLD_NS       NS_PER_S
#define HOLD_RETRY_MS 20

/*
 * LMDB writes its lock file through a map: with no block behind it on a full
 * disk that is a SIGBUS.
 */
static int
lock_room(const char *path)
{
	char name[PATH_MAX];
	int fd, rc = 0;

	snprintf(name, sizeof(name), "%s/lock.mdb", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd == -1)
		return fault_of_call(-errno);
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCK_ROOM) != 0 &&
	    errno != EOPNOTSUPP)
		rc = fault_of_call(-errno);
	close(fd);
	return rc;
}

/*
 * One writer: LMDB's own lock is in lock.mdb, and of no use against one that
 * has another of that name. So data.mdb itself is held, and before LMDB opens
 * it: then it notes which commit is the newest. A writer that was killed may
 * need a moment to die. What is forked meanwhile holds it, too: only
 * store_db_verify_apart() does so, and waits for its child.
 */
static int
hold(struct store_db *db, const char *path)
{
	uint64_t end = mono_ns() + HOLD_NS;
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s/data.mdb", path);
	db->held = open(
	    name, O_RDWR | O_CLOEXEC | (db->files == NULL ? O_CREAT : 0), 0640);
	if (db->held == -1) {
		db->held = 0;
		return fault_of_call(-errno);
	}
	while (flock(db->held, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK)
			return fault_of_call(-errno);
		if (mono_ns() >= end)
			return -EBUSY;
		(void)poll(NULL, 0, HOLD_RETRY_MS);
	}
	return 0;
}

void
store_db_writers(const char *path, char *buf, size_t buf_size)
{
	char name[PATH_MAX];
	struct stat st = { 0 };

	snprintf(name, sizeof(name), "%s/data.mdb", path);
	(void)stat(name, &st);
	writers_of_file(&st, buf, buf_size);
}

static bool
is_file(const struct stat *st, const struct store_file *f)
{
	const struct stat known = { .st_dev = f->dev, .st_ino = f->ino };

	return path_same_file(st, &known);
}

/* By name. */
static int
look(const char *path, const struct store_files *files)
{
	char name[PATH_MAX];
	struct stat st;

	snprintf(name, sizeof(name), "%s/data.mdb", path);
	if (stat(name, &st) != 0)
		return fault_of_call(-errno);
	if (files->data.ino != 0 && !is_file(&st, &files->data))
		return -EREMCHG;
	if (files->lock.ino == 0)
		return 0;
	snprintf(name, sizeof(name), "%s/lock.mdb", path);
	if (stat(name, &st) != 0)
		return errno == ENOENT ? -EIDRM : fault_of_call(-errno);
	return is_file(&st, &files->lock) ? 0 : -EIDRM;
}

/*
 * LMDB does not tell which descriptor is the lock file's. It has just opened
 * it, so all below are open.
 */
static bool
is_open(const struct store_file *f)
{
	struct stat st;
	int fd;

	for (fd = 0;; fd++) {
		if (fstat(fd, &st) == 0) {
			if (is_file(&st, f))
				return true;
		} else if (errno == EBADF) {
			return false;
		}
	}
}

static int
data_file(const struct store_db *db, struct store_file *out)
{
	struct stat st;
	int fd, rc = store_db_errno(mdb_env_get_fd(db->env, &fd));

	if (rc != 0)
		return rc;
	if (fstat(fd, &st) != 0)
		return fault_of_call(-errno);
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	return 0;
}

/* A name may have led elsewhere in between. */
int
store_files_opened(const struct store_db *db, const char *path)
{
	const struct store_files *files = db->files;
	struct store_file data;
	struct stat held;
	int rc = data_file(db, &data);

	if (rc != 0)
		return rc;
	if (db->held > 0 && fstat(db->held, &held) != 0)
		return fault_of_call(-errno);
	if (db->held > 0 && !is_file(&held, &data))
		return -EREMCHG;
	if (files == NULL)
		return 0;
	if (files->data.ino != 0 &&
	    (data.dev != files->data.dev || data.ino != files->data.ino))
		return -EREMCHG;
	if (files->lock.ino == 0 || is_open(&files->lock))
		return 0;
	/* Of a file system that is read-only LMDB reads without. */
	rc = look(path, files);
	return rc != 0 ? rc : -EROFS;
}

int
store_db_same(const struct store_db *db)
{
	const char *path;
	int rc = store_db_errno(mdb_env_get_path(db->env, &path));

	return rc != 0 || db->files == NULL ? rc : look(path, db->files);
}

int
store_db_files(const struct store_db *db, struct store_files *out)
{
	char name[PATH_MAX];
	const char *path;
	unsigned flags;
	struct stat st;
	int rc;

	memset(out, 0, sizeof(*out));
	if ((rc = data_file(db, &out->data)) != 0)
		return rc;
	if ((rc = mdb_env_get_flags(db->env, &flags)) != 0 ||
	    (rc = mdb_env_get_path(db->env, &path)) != 0)
		return store_db_errno(rc);
	if ((flags & MDB_NOLOCK) != 0)
		return 0;
	snprintf(name, sizeof(name), "%s/lock.mdb", path);
	if (stat(name, &st) != 0)
		return fault_of_call(-errno);
	out->lock.dev = st.st_dev;
	out->lock.ino = st.st_ino;
	return is_open(&out->lock) ? 0 : -EIDRM;
}

int
store_files_kind(const char *path, bool lock, char *name, size_t n)
{
	static const char *const names[] = { "data.mdb", "lock.mdb" };
	struct stat st;

	for (unsigned i = 0; i < (lock ? 2 : 1); i++) {
		snprintf(name, n, "%s/%s", path, names[i]);
		if (stat(name, &st) == 0 && !S_ISREG(st.st_mode))
			return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	return 0;
}

/* Files that are not there are made only if none are given. */
int
store_files_find(struct store_db *db, const char *path, bool write)
{
	int rc;

	if (db->files != NULL)
		rc = look(path, db->files);
	else if (write && mkdir(path, 0750) != 0 && errno != EEXIST)
		rc = fault_of_call(-errno);
	else
		rc = write ? lock_room(path) : 0;
	return rc == 0 && write ? hold(db, path) : rc;
}
