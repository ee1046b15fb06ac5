/*
 * Regions whose node is gone: memory that nobody gives back. A node sweeps
 * those of its user before it counts its own. That somebody lives is told by
 * the lock on the file, which is true in any pid namespace; nothing else of
 * the file is trusted further than to be looked up.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/path.h"
#include "shm/process.h"
#include "shm/region_link.h"

/* Is it a whole region of this build, one of the user's, that nobody has? */
static bool
is_dead(int fd, uid_t uid, struct region_head *head)
{
	struct stat st;
	char why[8];

	return path_file_check(fd) == 0 && fstat(fd, &st) == 0 &&
	       (st.st_uid == uid || st.st_uid == geteuid()) &&
	       !region_file_held(fd) &&
	       pread(fd, head, sizeof(*head), 0) == (ssize_t)sizeof(*head) &&
	       region_head_check(
		   head, (uint64_t)st.st_size, why, sizeof(why)) == 0 &&
	       head->run_dir[0] == '/' &&
	       memchr(head->run_dir, '\0', sizeof(head->run_dir)) != NULL;
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

	if (head->mount_space != mount_space())
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
sweep_one(int shm, const char *name, uid_t uid)
{
	struct region_head head;
	int fd = openat(
	    shm, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (is_dead(fd, uid, &head)) {
		if (is_black_box(&head, name))
			region_sections_trim(fd, head.section);
		else
			remove_same(shm, name, fd);
	}
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
		if (strncmp(e->d_name, REGION_PREFIX, strlen(REGION_PREFIX)) ==
		    0)
			sweep_one(dirfd(dir), e->d_name, uid);
	closedir(dir);
}
