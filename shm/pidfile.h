/*
 * run_dir/nodelifed.pid: locked while its node lives, so that who asks needs
 * no process id, and may be in another pid namespace. The lock is one of the
 * open file: asking takes nothing, and a child that inherits it has it, too.
 */
#ifndef SHM_PIDFILE_H
#define SHM_PIDFILE_H

#include <stdbool.h>
#include <stddef.h>

#define PIDFILE_NAME "nodelifed.pid"

/* The file, open for writing: 0, -EWOULDBLOCK (another has it) or -errno. */
int pidfile_lock(int fd);
/*
 * Has a node the lock of run_dir? 1 and its number as it knows it (0 = it is
 * just starting), 0 = none, or -errno: it cannot be told.
 */
int pidfile_holder(const char *run_dir, int *pid);

/*
 * run_dir/waits: what the first boot waits for, while there is no region that
 * tools could read. NULL = for nothing (any more). It may fail: the log says
 * it, too.
 */
void pidfile_waits(const char *run_dir, const char *text);
/* The same for who asks; what stands there means something only while
 * pidfile_holder() tells of a node. False = nothing. */
bool pidfile_waits_read(const char *run_dir, char *text, size_t size);

#endif
