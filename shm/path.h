/*
 * Directories that root opens though others may write what lies above them:
 * run_dir, data_dir, the log's. Whoever may write a directory may put a link
 * in the place of what was there, between any two looks. So a directory is
 * opened once, by these, and all that is done in it goes through its
 * descriptor, with O_NOFOLLOW.
 */
#ifndef SHM_PATH_H
#define SHM_PATH_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/*
 * Open a directory, step by step: for root a symbolic link on the way must be
 * root's own. A descriptor or -errno; -ELOOP: a link of somebody else's, or
 * too many. Other users' processes open it as it is.
 */
int path_dir_open(const char *path);
/*
 * The same; made with this mode (whatever the umask) if it is not there, and
 * what lies above it with 0755.
 */
int path_dir_make(const char *path, mode_t mode);
/* The directory of a file; *name is its last part, within path. */
int path_parent_open(const char *path, const char **name);
/* Begin to read the names in an open directory, which stays open: closedir()
 * ends that. 0 or -errno. */
int path_names(int dir_fd, DIR **out);
/* May nobody but root change what is in it, or are we not root anyway? */
bool path_dir_is_safe(int dir_fd);
/* Are both of one file? */
static inline bool
path_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * Does the name (in dir, or AT_FDCWD) lead to what is open as fd? 0; -EREMCHG:
 * it leads to something else; or -errno: it leads nowhere. A link that stands
 * under the name itself is something else unless it is followed.
 */
int path_leads_to(int dir, const char *name, bool follow, int fd);
/* Is the open file an ordinary one that has no other name? 0 or -errno. */
int path_file_check(int fd);

#endif
