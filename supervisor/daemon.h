/*
 * Becoming a daemon, and the process id file.
 */
#ifndef SUPERVISOR_DAEMON_H
#define SUPERVISOR_DAEMON_H

#include "conf/conf.h"
#include "shm/bits.h"
#include "supervisor/refuse.h"

/*
 * Fork twice, away from the terminal. Returns in the daemon only, with a
 * descriptor for daemon_ready(); or -errno. The starting command waits there
 * and exits with the code it is told (71 if the daemon dies untold).
 */
int daemon_detach(void);
/* Stdin, stdout and stderr go to /dev/null. */
void daemon_leave_stdio(void);
/*
 * Tell the starting command, once: 0 the node serves, DAEMON_BOOTING that is
 * not known yet, else why it ends. Unless it ends stdio is left.
 */
#define DAEMON_BOOTING 255
#define DAEMON_WAIT_NS (10 * NS_PER_S) /* until then it is told that */
void daemon_ready(int *ready_fd, int code);

/* The locked process id file, and its directory. -1 = not open. */
struct pidfile {
	int dir, fd;
};

/*
 * run_dir (made if it is not there) and run_dir/nodelifed.pid, locked: one
 * node per run_dir. One left by a dead node is replaced. Waits a little for a
 * node that is about to be gone. 0 or an exit code, having refused. (Not by
 * libbsd's pidfile_open(): it follows a link, and the workers' user may have
 * put one there.)
 */
int daemon_pidfile(
    const struct conf *conf, const struct rights *rights, struct pidfile *out);
/* Our own number into it; 0 or -errno. */
int daemon_pidfile_write(const struct pidfile *p);
/*
 * Is all of it still there? 0; or 1: somebody had removed it, and it is made
 * again and locked; or -errno: -EWOULDBLOCK another node has it.
 */
int daemon_pidfile_again(
    const struct conf *conf, const struct rights *rights, struct pidfile *p);
void daemon_pidfile_remove(struct pidfile *p);

#endif
