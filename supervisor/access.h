/*
 * May the workers' user open what the workers will? Asked once, at a start:
 * a worker that meets it later could only tell that a file cannot be had.
 */
#ifndef SUPERVISOR_ACCESS_H
#define SUPERVISOR_ACCESS_H

#include "conf/conf.h"
#include "supervisor/refuse.h"

/*
 * Look at each file of conf's data_dir, open as dir_fd, as that user. 0 or an
 * exit code, having refused, with the file, whose it is, and the command that
 * helps. A file system that is read-only is warned of, and is no refusal:
 * it may be writable by the time that somebody writes.
 */
int
access_check(const struct conf *conf, const struct rights *rights, int dir_fd);
/*
 * Make a ring as that user, and use it. 0 or an exit code, having refused:
 * what forbids it. What may be had later is no refusal.
 */
int access_ring(const struct conf *conf, const struct rights *rights);

#endif
