/*
 * Founding a group of one: nodelifed --init. And making the directory of one of
 * several, which is of no group yet: nodelifed --init --member. Everything else
 * a node keeps is made by the workers at its first boot; absent files of a
 * founded, empty directory mean term 0 and an empty log. The node file is
 * written last: a directory without it is not founded, and what an interrupted
 * founding left does not stop the next.
 */
#include "supervisor/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/path.h"
#include "supervisor/mounts.h"

/* What a founding may meet: its own leavings, and a fresh file system's. */
static bool
is_harmless(const char *name)
{
	static const char *const harmless[] = { ".", "..", DATADIR_LOCK,
		NODE_FILE_TMP, "lost+found" };

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strcmp(name, harmless[i]) == 0)
			return true;
	return false;
}

/* 0, -ENOTEMPTY with the name of something that is there, or -errno. */
static int
check_empty(int dir_fd, char *name, size_t name_size)
{
	struct dirent *e;
	DIR *dir;
	int rc = path_names(dir_fd, &dir);

	if (rc != 0)
		return rc;
	while (rc == 0 && (e = readdir(dir)) != NULL)
		if (!is_harmless(e->d_name)) {
			strlcpy(name, e->d_name, name_size);
			rc = -ENOTEMPTY;
		}
	closedir(dir);
	return rc;
}

static int
refuse_full(const char *path, int dir_fd, const char *name)
{
	struct node_file node;
	char why[256];

	if (node_file_read(dir_fd, &node, why, sizeof(why)) == 0)
		return refuse(EX_CANTCREAT,
		    "data directory %s: holds node %s of group %s already",
		    path, node.node, node.group);
	return refuse(EX_CANTCREAT,
	    "data directory %s is not empty: it holds %s", path, name);
}

/*
 * The directory must be found again after a power loss, also if a founding
 * that was interrupted made it. Who may not look into the parent did not.
 */
static int
flush_parent(const char *path)
{
	const char *name;
	int fd = path_parent_open(path, &name), rc;

	if (fd < 0)
		return fd == -EACCES ? 0 : fd;
	rc = fsync(fd) == 0 ? 0 : -errno;
	close(fd);
	return rc;
}

static int
write_node(const struct conf *conf, int dir_fd, bool member)
{
	struct node_file node = { .format = NODE_FILE_FORMAT_3 };

	strlcpy(node.node, conf->node.name, sizeof(node.node));
	strlcpy(node.group, conf->node.group, sizeof(node.group));
	/* 0 is nobody's. */
	while (node.incarnation == 0)
		arc4random_buf(&node.incarnation, sizeof(node.incarnation));
	if (!member) {
		node.format = NODE_FILE_FORMAT;
		node.generation = 1;
		arc4random_buf(node.group_uuid, sizeof(node.group_uuid));
	}
	return node_file_write(dir_fd, &node);
}

/*
 * Mode and owner of the directory and the lock; then the node file, which takes
 * its owner from the directory before it has its name.
 */
static int
found(const struct conf *conf, const struct rights *rights, int dir_fd,
    int lock_fd, bool member)
{
	int rc;

	/* One of another name would be given away with it. */
	if ((rc = path_file_check(lock_fd)) != 0)
		return rc;
	if (fchmod(dir_fd, 0750) != 0)
		return -errno;
	if ((rc = flush_parent(conf->node.data_dir)) != 0)
		return rc;
	if (rights->drop && (fchown(dir_fd, rights->uid, rights->gid) != 0 ||
				fchown(lock_fd, rights->uid, rights->gid) != 0))
		return -errno;
	return write_node(conf, dir_fd, member);
}

/* Whom does the configuration tell of, and is that what was asked for? */
static int
check_peers(const struct conf *conf, bool member)
{
	if (member && conf->peer_count == 0)
		return refuse(EX_CONFIG,
		    "--member: the configuration has no [peer NAME] section: "
		    "it needs one for each other member; a group of this node "
		    "alone is founded by --init without it");
	if (!member && conf->peer_count > 0)
		return refuse(EX_CONFIG,
		    "--init founds a group of this node alone, but the "
		    "configuration has [peer %s]: run nodelifed --init "
		    "--member on each, start them, and then nodelifectl found "
		    "on one; or take the [peer] sections away",
		    conf->peer[0].name);
	return 0;
}

int
datadir_found(const struct conf *conf, const struct rights *rights, bool member)
{
	const char *path = conf->node.data_dir;
	char name[256];
	int dir_fd, lock_fd = -1, rc;

	if ((rc = check_peers(conf, member)) != 0)
		return rc;
	if (mount_missing(path, name, sizeof(name)))
		return datadir_refuse_missing(conf, "is not founded");
	if ((dir_fd = path_dir_make(path, 0750)) < 0)
		return refuse_at(path, "mkdir", dir_fd, PLACE_DATA);
	if ((rc = check_empty(dir_fd, name, sizeof(name))) == -ENOTEMPTY) {
		rc = refuse_full(path, dir_fd, name);
		goto out;
	}
	if (rc == 0)
		rc = lock_fd = datadir_lock(dir_fd, true, DATADIR_WAIT_MS);
	/* Once more: another founding may have had the lock until now. */
	if (rc >= 0 &&
	    (rc = check_empty(dir_fd, name, sizeof(name))) == -ENOTEMPTY) {
		rc = refuse_full(path, dir_fd, name);
		goto out;
	}
	if (rc == 0)
		rc = found(conf, rights, dir_fd, lock_fd, member);
	if (rc == -EWOULDBLOCK)
		rc = refuse(refuse_code(rc), "data directory %s: in use", path);
	else if (rc != 0)
		rc = refuse_at(path, "found", rc, PLACE_DATA);
out:
	if (lock_fd >= 0)
		close(lock_fd);
	close(dir_fd);
	return rc;
}
