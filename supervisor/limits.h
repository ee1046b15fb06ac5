/*
 * What this machine gives the node: memory, by /dev/shm, the control groups of
 * this process and the whole machine; descriptors.
 */
#ifndef SUPERVISOR_LIMITS_H
#define SUPERVISOR_LIMITS_H

#include <limits.h>
#include "conf/conf_fit.h"

/* Memory that the control groups of this process allow. */
struct limits_group {
	uint64_t limit; /* the smallest; or MemTotal; 0 = none */
	char
	    file[PATH_MAX + 32]; /* where it stands; "" = it is the machine's */
	uint64_t oom_kills; /* so far: processes that the kernel killed there */
	bool counts; /* it does count them */
};

/*
 * `held`: bytes of /dev/shm that this node's dead regions have. *most (may be
 * NULL) gets what there would be if nothing else were in /dev/shm. Raises this
 * process' limit of descriptors to what conf wants, as far as it may; that is
 * told only if it is not enough.
 */
void limits_read(struct conf_limits *out, const struct conf *conf,
    uint64_t held, struct conf_limits *most);
/*
 * The smallest limit of the control groups (both versions) and MemTotal, as
 * the files below `root` ("" = the system's) say, and what came of it.
 */
void limits_group(const char *root, struct limits_group *g);

#endif
