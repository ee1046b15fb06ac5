/*
 * Unix sockets. A name outlives its socket if its process was killed, so a
 * dead one is replaced; a live one never, also if it does not listen (yet):
 * two nodes with one path in their configurations must not take it from each
 * other. connect() tells: a socket of another type than the one that has the
 * name is refused as such, one that meets nobody with ECONNREFUSED. To look,
 * remove and bind are one step for all who do it this way: they hold a lock on
 * the directory.
 */
#include "supervisor/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/bits.h"
#include "supervisor/holders.h"

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
clear_name(const struct sockaddr_un *un)
{
	struct stat st;

	if (lstat(un->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (!is_dead(un))
		return -EADDRINUSE;
	return unlink(un->sun_path) == 0 ? 0 : -errno;
}

/* A bound socket, or -errno. */
static int
bind_name(const struct sockaddr_un *un, const struct rights *rights)
{
	int fd, rc;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) != 0) {
		rc = -errno;
		goto fail;
	}
	if (chmod(un->sun_path, UNIX_MODE) == 0 &&
	    (!rights->drop ||
		lchown(un->sun_path, rights->uid, rights->gid) == 0))
		return fd;
	rc = -errno;
	unlink(un->sun_path);
fail:
	close(fd);
	return rc;
}

/* Alone in the directory; closing it lets others in. */
static int
bind_alone(const struct sockaddr_un *un, const struct rights *rights)
{
	char copy[sizeof(un->sun_path)];
	int dir, rc;

	strlcpy(copy, un->sun_path, sizeof(copy));
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	rc = flock(dir, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
	if (rc == 0)
		rc = clear_name(un);
	if (rc == 0)
		rc = bind_name(un, rights);
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
		    "%s: %s: another process locks its directory", what, path);
	default:
		return refuse(refuse_code(error), "%s: %s: %s", what, path,
		    strerror(-error));
	}
}
