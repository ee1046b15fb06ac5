/* What /etc/fstab mounts on the way to a path, and is not mounted. */
#ifndef SUPERVISOR_MOUNTS_H
#define SUPERVISOR_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Does a file system of /etc/fstab belong on the way to path that is not
 * there? Then the command that mounts it is in buf, cut if need be.
 */
bool mount_missing(const char *path, char *buf, size_t size);

#endif
