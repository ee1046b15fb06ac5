/*
 * Opening the data directory. The lock is an flock() on data_dir/lock: it
 * belongs to the open file, which the workers that open data inherit, so it
 * is free only when the last of them is really gone.
 */
#include "supervisor/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/bits.h"
#include "shm/path.h"

#define LOCK_RETRY_MS 20

/* May the user that the workers will be do this? 0 or -errno. */
static int
may(int dir_fd, const char *name, int how, const struct rights *rights)
{
	int rc = 0;

	if (rights->drop &&
	    (setegid(rights->gid) != 0 || seteuid(rights->uid) != 0)) {
		rc = -errno;
		goto out;
	}
	if (faccessat(dir_fd, name, how, AT_EACCESS) != 0)
		rc = -errno;
out:
	if (rights->drop && (seteuid(0) != 0 || setegid(getgid()) != 0))
		rc = -errno;
	return rc;
}

/*
 * The workers open the directory and what is in it by themselves. A copy that
 * root made, or a founding by another version that was killed, is root's.
 */
static int
check_rights(const struct conf *conf, int dir_fd, const struct rights *rights)
{
	bool readonly = conf->boot.recovery_mode == CONF_RECOVERY_READONLY;
	const char *dir = conf->node.data_dir;
	int rc;

	if (!readonly &&
	    (rc = may(dir_fd, ".", R_OK | W_OK | X_OK, rights)) != 0)
		return refuse(EX_NOPERM,
		    "data directory %s: user %u cannot write it: %s: give it "
		    "to that user (chown -R), or set [node] user",
		    dir, (unsigned)rights->uid, strerror(-rc));
	if ((rc = may(dir_fd, NODE_FILE_NAME, R_OK, rights)) != 0)
		return refuse(EX_NOPERM,
		    "data directory %s: user %u cannot read %s: %s: give the "
		    "directory to that user (chown -R), or set [node] user",
		    dir, (unsigned)rights->uid, NODE_FILE_NAME, strerror(-rc));
	return 0;
}

static int
check_identity(const struct conf *conf, int dir_fd)
{
	const char *dir = conf->node.data_dir;
	struct node_file node;
	char why[256];
	int rc = node_file_read(dir_fd, &node, why, sizeof(why));

	if (rc == -ENOENT)
		return refuse(EX_CONFIG,
		    "data directory %s holds no node: found a group of one "
		    "with `nodelifed --init`, or set [node] data_dir",
		    dir);
	if (rc != 0)
		return refuse(rc == -EACCES ? EX_NOPERM : EX_CONFIG,
		    "data directory %s: %s: %s", dir, NODE_FILE_NAME, why);
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
		return refuse(EX_CONFIG,
		    "data directory %s does not exist: found a group of one "
		    "with `nodelifed --init`, or set [node] data_dir",
		    dir);
	if (fd < 0)
		return refuse(fd == -EACCES ? EX_NOPERM : EX_CONFIG,
		    "data directory %s: %s", dir, path_error(fd));
	if ((rc = check_identity(conf, fd)) != 0 ||
	    (rc = check_rights(conf, fd, rights)) != 0)
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
		rc = refuse(refuse_code(*lock_fd), "data directory %s: %s: %s",
		    dir, DATADIR_LOCK, strerror(-*lock_fd));
	}
out:
	close(fd);
	return rc;
}
