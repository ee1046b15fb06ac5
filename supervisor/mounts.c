/* Mount points of /etc/fstab. Contract: mounts.h. */
#include "supervisor/mounts.h"

#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Without links as far as it is there, so that it compares. */
static void
resolve(const char *path, char out[PATH_MAX])
{
	char head[PATH_MAX], *slash;

	strlcpy(head, path, sizeof(head));
	while (realpath(head, out) == NULL) {
		if ((slash = strrchr(head, '/')) == NULL || slash == head) {
			strlcpy(out, path, PATH_MAX);
			return;
		}
		*slash = '\0';
	}
	strlcat(out, path + strlen(head), PATH_MAX);
}

/* Is dir the path, or above it? The root is always there. */
static bool
is_above(const char *dir, const char *path)
{
	size_t len = strlen(dir);

	return len > 1 && dir[0] == '/' && strncmp(dir, path, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

static bool
is_mounted(const char *dir)
{
	FILE *in = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = in == NULL; /* who knows */

	while (!found && (m = getmntent(in)) != NULL)
		found = strcmp(m->mnt_dir, dir) == 0;
	if (in != NULL)
		endmntent(in);
	return found;
}

bool
mount_missing(const char *path, char *buf, size_t size)
{
	FILE *in = setmntent("/etc/fstab", "re");
	char real[PATH_MAX], line[2 * PATH_MAX];
	struct mntent row, *m;
	bool found = false;

	if (in == NULL)
		return false;
	resolve(path, real);
	while (
	    !found && (m = getmntent_r(in, &row, line, sizeof(line))) != NULL) {
		size_t len = strlen(m->mnt_dir);

		if (len > 1 && m->mnt_dir[len - 1] == '/')
			m->mnt_dir[len - 1] = '\0';
		found = is_above(m->mnt_dir, real) && !is_mounted(m->mnt_dir);
		if (found)
			snprintf(buf, size, "mount %s", m->mnt_dir);
	}
	endmntent(in);
	return found;
}
