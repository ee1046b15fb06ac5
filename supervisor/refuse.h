/*
 * Refusals of a start: one sentence on stderr, and in the log if that is
 * elsewhere, and an exit code of sysexits.h (nodelifed(8) lists them).
 */
#ifndef SUPERVISOR_REFUSE_H
#define SUPERVISOR_REFUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sysexits.h>
#include "shm/fault.h"

/* Says it, returns `code`. */
__attribute__((format(printf, 2, 3))) int
refuse(int code, const char *fmt, ...);
/* The same of a fault. */
int refuse_fault(int code, const struct fault *f);
/* The same, of what cannot be had: the error is -errno, the code its own. */
int refuse_at(
    const char *object, const char *call, int error, enum fault_place place);
/* The same, of what every process may have. */
int refuse_system(const char *call, int error);
/* The code for an errno met when something must be opened or made. */
int refuse_code(int error);

/* Who the workers will be: [node] user if we are root, else ourselves. */
struct rights {
	bool drop;
	uid_t uid;
	gid_t gid;
};
/* 0 or an exit code, having refused. */
int rights_find(struct rights *r, const char *user);
/* As chown(1) takes it: "NAME:", or numbers of who has no name. */
const char *rights_owner(const struct rights *r, char buf[64]);

#endif
