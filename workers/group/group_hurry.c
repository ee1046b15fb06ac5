/*
 * Beats leave on time whatever the machine does: no page of this process is
 * taken away, and it does not wait behind others for a processor. Asked for
 * while the process may (as root, or with the rights a unit gives), and kept
 * when it becomes `user`; threads and children have none of it.
 */
#include "workers/group/group.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define PRIORITY 1
#define NICE     (-10)

static int
stay_in_memory(bool drops)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	/* What is mapped later counts, too, if the rights to it go. */
	if (setrlimit(RLIMIT_MEMLOCK, &all) != 0 && drops)
		return -errno;
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 ? -errno
								     : 0;
}

static int
go_first(void)
{
	const struct sched_param p = { .sched_priority = PRIORITY };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p) == 0)
		return 0;
	return setpriority(PRIO_PROCESS, 0, NICE) != 0 ? -errno : 0;
}

const char *
group_hurry(const struct worker *w, char *why, size_t why_size)
{
	bool drops = w->conf->node.user[0] != '\0';
	int memory = stay_in_memory(drops), first = go_first();

	if (memory == 0 && first == 0)
		return NULL;
	snprintf(why, why_size,
	    "beats may be late on a busy machine: %s%s%s%s%s: start nodelifed "
	    "as root, or give it LimitMEMLOCK=infinity, LimitRTPRIO=1 and "
	    "CAP_SYS_NICE",
	    memory != 0 ? "mlockall: " : "",
	    memory != 0 ? strerror(-memory) : "",
	    memory != 0 && first != 0 ? ", " : "",
	    first != 0 ? "sched_setscheduler: " : "",
	    first != 0 ? strerror(-first) : "");
	return why;
}
