/*
 * Unix sockets. A name outlives its socket if its process was killed, so a
 * dead one is replaced; a live one never, also if it does not listen (yet):
 * two nodes with one path in their configurations must not take it from each
 * other. connect() tells: a socket of another type than the one that has the
 * name is refused as such, one that meets nobody with ECONNREFUSED. To look,
 * remove and bind are one step for all who do it this way: they hold a lock
 * beside the name, on a file that others cannot open. What is done to the name
 * goes through that directory's descriptor, and never through a link: its owner
 * may not be root.
 */
#include "supervisor/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/holders.h"
#include "shm/path.h"

#define UNIX_MODE 0660

/* Has nobody the name? */
static bool
is_dead(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool dead;

	if (fd < 0)
		return false;
	dead = connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 &&
	       errno == ECONNREFUSED;
	close(fd);
	return dead;
}

/* Make way for a bind: 0 or -errno. */
static int
clear_name(int dir, const char *name, const struct sockaddr_un *un)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (!is_dead(un))
		return -EADDRINUSE;
	return unlinkat(dir, name, 0) == 0 ? 0 : -errno;
}

/* Give the name to the workers' user, if it is the socket that we made. */
static int
give_name(int dir, const char *name, const struct rights *rights)
{
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		rc = -errno;
	else if (!S_ISSOCK(st.st_mode) || st.st_nlink != 1 ||
		 st.st_uid != geteuid())
		rc = -EEXIST;
	else if (rights->drop &&
		 fchownat(fd, "", rights->uid, rights->gid, AT_EMPTY_PATH) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* A bound socket, or -errno. */
static int
bind_name(int dir, const char *name, const struct sockaddr_un *un,
    const struct rights *rights)
{
	int fd, rc = 0;
	mode_t mask;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Its mode from the start: a chmod() could meet another file. */
	mask = umask(0777 & ~UNIX_MODE);
	if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) != 0)
		rc = -errno;
	umask(mask);
	if (rc == 0 && (rc = give_name(dir, name, rights)) == 0)
		return fd;
	close(fd);
	return rc;
}

/* The lock's file under its name, held; or -errno. */
static int
name_lock(int dir, const char *lock)
{
	int fd = openat(dir, lock,
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

	if (fd < 0) /* of another user's node, for a moment */
		return errno == EACCES ? -EWOULDBLOCK : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    path_leads_to(dir, lock, false, fd) == 0)
		return fd;
	close(fd);
	return -EWOULDBLOCK;
}

/* Alone at the name, as long as the lock's file is there. */
static int
bind_alone(const struct sockaddr_un *un, const struct rights *rights)
{
	char lock[NAME_MAX + 1];
	const char *name;
	int dir = path_parent_open(un->sun_path, &name), held, rc;

	if (dir < 0)
		return dir;
	snprintf(lock, sizeof(lock), ".%s.lock", name);
	rc = held = name_lock(dir, lock);
	if (rc >= 0 && (rc = clear_name(dir, name, un)) == 0)
		rc = bind_name(dir, name, un, rights);
	if (held >= 0) {
		unlinkat(dir, lock, 0);
		close(held);
	}
	close(dir);
	return rc;
}

int
listen_unix(const char *path, const struct rights *rights, uint64_t until_ns)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int rc;

	if (strlcpy(un.sun_path, path, sizeof(un.sun_path)) >=
	    sizeof(un.sun_path))
		return -ENAMETOOLONG;
	while (((rc = bind_alone(&un, rights)) == -EADDRINUSE ||
		   rc == -EWOULDBLOCK) &&
	       mono_ns() < until_ns)
		(void)poll(NULL, 0, LISTEN_RETRY_MS);
	return rc;
}

void
listen_unix_remove(const char *path)
{
	const char *name;
	int dir = path_parent_open(path, &name);

	if (dir < 0)
		return;
	unlinkat(dir, name, 0);
	close(dir);
}

int
listen_unix_refuse(const char *what, const char *path, int error)
{
	char who[512];

	switch (error) {
	case -EADDRINUSE:
		holders_of_socket(path, who, sizeof(who));
		return refuse(
		    EX_UNAVAILABLE, "%s: %s: in use by %s", what, path, who);
	case -EEXIST:
		return refuse(EX_UNAVAILABLE,
		    "%s: %s: is there already and no socket: remove it, or "
		    "name another path",
		    what, path);
	case -EWOULDBLOCK:
		return refuse(EX_UNAVAILABLE,
		    "%s: %s: another node is starting there", what, path);
	default:
		return refuse_at(path, what, error, PLACE_RUN);
	}
}
