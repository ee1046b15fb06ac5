/*
 * Opening the data directory. The lock is an flock() on data_dir/lock: it
 * belongs to the open file, which the workers that open data inherit, so it
 * is free only when the last of them is really gone.
 */
#include "supervisor/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/holders.h"
#include "shm/path.h"
#include "supervisor/access.h"
#include "supervisor/mounts.h"

#define LOCK_RETRY_MS 20

/*
 * Nothing is there to start from. A node that was founded once and whose file
 * system is not mounted looks the same: the obedient must not found another.
 */
int
datadir_refuse_missing(const struct conf *conf, const char *what)
{
	char why[256], command[PATH_MAX + 16];
	struct fault f = { .object = conf->node.data_dir,
		.error = ENOENT,
		.place = PLACE_DATA,
		.what = what,
		.effect = "nothing is changed" };

	if (mount_missing(conf->node.data_dir, command, sizeof(command))) {
		snprintf(why, sizeof(why),
		    "%s: /etc/fstab has a file system for it, which is not "
		    "mounted",
		    what);
		f.what = why;
		f.command = command;
	}
	return refuse_fault(EX_CONFIG, &f);
}

/* What is in the data directory cannot be had. */
static int
refuse_in(int code, const char *dir, const char *name, const char *call,
    int error, const char *what)
{
	char path[PATH_MAX];
	struct fault f = { .object = path,
		.call = call,
		.error = error < 0 ? -error : error,
		.place = PLACE_DATA,
		.effect = "nothing is changed",
		.what = what,
		.damage = what != NULL };

	snprintf(path, sizeof(path), "%s%s%s", dir, name[0] != '\0' ? "/" : "",
	    name);
	return refuse_fault(code, &f);
}

/* Without its node file, but something that only a node leaves is there. */
static int
refuse_nameless(const char *dir, int dir_fd)
{
	static const char *const left[] = { "wal", "store", "state" };
	char path[PATH_MAX], what[96];
	struct fault f = { .object = path,
		.what = what,
		.effect = "nothing is changed",
		.command = "restore the file from a copy" };

	for (unsigned i = 0; i < NITEMS(left); i++) {
		if (faccessat(dir_fd, left[i], F_OK, 0) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/" NODE_FILE_NAME, dir);
		snprintf(what, sizeof(what),
		    "it is missing, though %s beside it shows that a node was "
		    "here",
		    left[i]);
		return refuse_fault(EX_CONFIG, &f);
	}
	return 0;
}

static int
check_identity(const struct conf *conf, int dir_fd)
{
	const char *dir = conf->node.data_dir;
	struct node_file node;
	char why[256];
	int rc = node_file_read(dir_fd, &node, why, sizeof(why));

	if (rc == -ENOENT) {
		rc = refuse_nameless(dir, dir_fd);
		return rc != 0 ? rc
			       : datadir_refuse_missing(conf, "holds no node");
	}
	if (rc == -EBADMSG || rc == -ENOTSUP)
		return refuse_in(EX_CONFIG, dir, NODE_FILE_NAME, NULL, rc, why);
	if (rc != 0)
		return refuse_in(
		    refuse_code(rc), dir, NODE_FILE_NAME, "read", rc, NULL);
	if (strcmp(node.node, conf->node.name) != 0)
		return refuse(EX_CONFIG,
		    "data directory %s belongs to node %s, not %s", dir,
		    node.node, conf->node.name);
	if (strcmp(node.group, conf->node.group) != 0)
		return refuse(EX_CONFIG,
		    "data directory %s belongs to group %s, not %s", dir,
		    node.group, conf->node.group);
	return 0;
}

bool
datadir_unjoined(int dir_fd)
{
	struct node_file node;
	char why[256];

	return node_file_read(dir_fd, &node, why, sizeof(why)) == 0 &&
	       !node_file_joined(&node);
}

/* One try: 0, -EWOULDBLOCK or -errno. */
static int
lock_try(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

int
datadir_lock(int dir_fd, bool make, unsigned wait_ms)
{
	uint64_t end = mono_ns() + wait_ms * NS_PER_MS;
	int fd, rc;

	fd = openat(dir_fd, DATADIR_LOCK,
	    (make ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK,
	    0640);
	/* As long as its file system is read-only: a lock needs no writing. */
	if (fd < 0 && errno == EROFS && make)
		fd = openat(dir_fd, DATADIR_LOCK,
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* A read-only copy may lack the file: the directory will do. */
	if (fd < 0 && errno == ENOENT && !make)
		fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((rc = lock_try(fd)) == -EINTR ||
	       (rc == -EWOULDBLOCK && mono_ns() < end))
		(void)poll(NULL, 0, LOCK_RETRY_MS);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

void
datadir_holders(int dir_fd, char *buf, size_t buf_size)
{
	struct stat file = { 0 };

	(void)fstatat(dir_fd, DATADIR_LOCK, &file, 0);
	holders_of_file(&file, buf, buf_size);
}

int
datadir_open(const struct conf *conf, const struct rights *rights, int *dir_fd,
    int *lock_fd)
{
	bool readonly = conf->boot.recovery_mode == CONF_RECOVERY_READONLY;
	const char *dir = conf->node.data_dir;
	char holders[512];
	int fd, rc;

	fd = path_dir_open(dir);
	if (fd == -ENOENT)
		return datadir_refuse_missing(conf, "does not exist");
	if (fd < 0)
		return refuse_in(
		    fault_kind(-fd, PLACE_DATA) == FAULT_WORLD || fd == -EACCES
			? refuse_code(fd)
			: EX_CONFIG,
		    dir, "", "open", fd, NULL);
	if ((rc = check_identity(conf, fd)) != 0 ||
	    (rc = access_check(conf, rights, fd)) != 0)
		goto out;
	*lock_fd = datadir_lock(fd, !readonly, DATADIR_WAIT_MS);
	if (*lock_fd >= 0) {
		*dir_fd = fd;
		return 0;
	}
	if (*lock_fd == -EWOULDBLOCK) {
		datadir_holders(fd, holders, sizeof(holders));
		rc = refuse(EX_UNAVAILABLE, "data directory %s is in use by %s",
		    dir, holders);
	} else {
		rc = refuse_in(refuse_code(*lock_fd), dir, DATADIR_LOCK, "lock",
		    *lock_fd, NULL);
	}
out:
	close(fd);
	return rc;
}
