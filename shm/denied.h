/*
 * Who is kept out of what: of a fault for want of rights (EACCES) the
 * directory or file that it comes from, whose that is, and the command that
 * gives it to who was refused. One rule, for a start and for a node that runs.
 */
#ifndef SHM_DENIED_H
#define SHM_DENIED_H

#include <sys/stat.h>
#include <sys/types.h>
#include <limits.h>
#include <stddef.h>
#include "shm/fault.h"

/* Texts that a fault may point to. */
struct denied {
	char path[PATH_MAX];
	char what[256];
	char command[PATH_MAX + 96];
};

/*
 * If f is EACCES of a path: object becomes what keeps this process out of it,
 * `what` says whose that is, `command` helps, if it is base or below it (what
 * lies above is not given away for it). Asks the file system and the user
 * database. Else f stays as it is.
 */
void denied_explain(struct fault *f, const char *base, struct denied *d);

/* "Permission denied for user x (owner root, mode 0600)"; st_mode 0: unknown */
char *denied_what(
    char *buf, size_t size, int error, uid_t uid, const struct stat *st);
/* The chown or chmod for it. */
char *denied_command(char *buf, size_t size, uid_t uid, gid_t gid,
    const char *path, const struct stat *st);
/* Its name, or its number. */
char *denied_user(char buf[32], uid_t uid);
/* As chown(1) takes it: "NAME:", or numbers of who has no name. */
char *denied_owner(char *buf, size_t size, uid_t uid, gid_t gid);

#endif
