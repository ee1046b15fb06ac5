/*
 * Regions whose node is gone: memory that nobody gives back. A node sweeps
 * those of its user, root everybody's, before it counts its own. That somebody
 * lives is told by the lock on the file, which is true in any pid namespace.
 *
 * Anybody may make names in /dev/shm, and a link to another's file under them.
 * So all is asked of the open file: an ordinary one, of no other name, whose
 * owner wrote our magic into it; and it is that file which loses memory. What
 * stands in it decides no more than which of it, and a name goes only if it
 * still leads there: it is the owner's then, as the directory is sticky.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/path.h"
#include "shm/process.h"
#include "shm/region_link.h"

/* An ordinary file of no other name, which nobody has. */
static bool
is_left(int fd, struct stat *st)
{
	return path_file_check(fd) == 0 && fstat(fd, st) == 0 &&
	       !region_file_held(fd);
}

/*
 * Does its run_dir lead to it? Who cannot look believes so: in another mount
 * namespace the path is another directory's.
 */
static bool
is_black_box(const struct region_head *head, const char *name)
{
	bool leads;
	int dir;

	if (head->mount_space != mount_space() || head->run_dir[0] != '/' ||
	    memchr(head->run_dir, '\0', sizeof(head->run_dir)) == NULL)
		return true;
	if ((dir = path_dir_open(head->run_dir)) < 0)
		return dir != -ENOENT && dir != -ENOTDIR;
	leads = region_link_leads(dir, name);
	close(dir);
	return leads;
}

static void
remove_same(int shm, const char *name, int fd)
{
	if (path_leads_to(shm, name, false, fd) == 0)
		unlinkat(shm, name, 0);
}

static void
punch_behind_head(int fd, off_t size)
{
	if (size > REGION_PAGE)
		(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    REGION_PAGE, size - REGION_PAGE);
}

/*
 * Others' are for root alone, which does not go where their heads lead: a user
 * may have made a file system there that never answers.
 */
static void
sweep_file(int shm, const char *name, int fd, uid_t uid)
{
	struct region_head head;
	struct stat st;
	char why[8];
	bool ours;
	int rc;

	if (!is_left(fd, &st))
		return;
	ours = st.st_uid == uid || st.st_uid == geteuid();
	if ((!ours && geteuid() != 0) ||
	    pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return;
	rc = region_head_check(&head, (uint64_t)st.st_size, why, sizeof(why));
	/* Of those before that nobody knows whether somebody has them. */
	if (rc == -EPROTO && head.version >= REGION_VERSION_LOCKED)
		punch_behind_head(fd, st.st_size);
	else if (rc == 0 && ours && !is_black_box(&head, name))
		remove_same(shm, name, fd);
	else if (rc == 0)
		region_sections_trim(fd, head.section);
}

static void
sweep_one(int shm, const char *name, uid_t uid)
{
	int fd = openat(
	    shm, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return;
	sweep_file(shm, name, fd, uid);
	close(fd);
}

void
region_sweep(uid_t uid)
{
	DIR *dir = opendir(REGION_SHM_DIR);
	const struct dirent *e;

	if (dir == NULL)
		return;
	while ((e = readdir(dir)) != NULL)
		if (fnmatch(REGION_NAMES, e->d_name, 0) == 0)
			sweep_one(dirfd(dir), e->d_name, uid);
	closedir(dir);
}
