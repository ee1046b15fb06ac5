/*
 * Private to nodelifectl: its parts, and what it ends with.
 */
#ifndef TOOLS_NODELIFECTL_H
#define TOOLS_NODELIFECTL_H

#include <stdbool.h>
#include <stdint.h>
#include "conf/conf.h"
#include "shm/members.h"
#include "shm/region.h"

/* Exit codes; beyond these the ones of sysexits(3). */
enum {
	CTL_OK = 0,
	CTL_FAILED = 1, /* the node refused, or could not */
	CTL_TIMEOUT = 2, /* no answer, or not gone, in time */
	CTL_USAGE = 64,
	CTL_NOT_RUNNING = 69,
	CTL_DENIED = 77,
	CTL_CONFIG = 78,
};

struct ctl {
	char run_dir[CONF_RUN_DIR_SIZE];
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	uint64_t timeout_ms;
	const char *file; /* run_dir is from there; NULL = it was named */
	bool quiet; /* the caller reports who does not answer */
};

/* "nodelifectl: ..." on stderr. */
__attribute__((format(printf, 1, 2))) void ctl_say(const char *fmt, ...);
/* Milliseconds left, for poll(); 0 when time is up. */
int ctl_left_ms(const struct ctl *c);

/* Has anybody the lock of data_dir? Asked when nothing else tells of a node. */
enum ctl_data { CTL_DATA_FREE, CTL_DATA_HELD, CTL_DATA_SILENT };

/* What is known of the node behind the run directory. */
struct ctl_life {
	bool alive;
	int pid; /* of its supervisor, here; 0 = not to be seen */
	int pidfd; /* -1 = none */
	bool has_region;
	struct region region;
	enum ctl_data data;
	char data_lock[CONF_PATH_SIZE + 8];
	char data_holders[512]; /* "pid 7 (nodelifed: wal [n1]), ..." */
};

/* life.c: look; CTL_OK: it lives. ctl_life_end() in any case. */
int ctl_life(const struct ctl *c, struct ctl_life *l);
void ctl_life_end(struct ctl_life *l);
/* Says why it does not, or is not known to; returns the code. */
int ctl_say_life(const struct ctl *c, const struct ctl_life *l, int code);
/*
 * data.c: ask for the lock, if the node is named by its file. SILENT: there was
 * no answer by the deadline (or for 100 ms, if that is later).
 */
void ctl_data(const struct ctl *c, struct ctl_life *l);
/* The region is the node's user's, the terminal perhaps root's. */
const char *ctl_printable(char *text);
/* Prints what state the node is in. An exit code. */
int ctl_status(const struct ctl *c);

/*
 * members.c: prints who is in the group; how: NULL, or "-j" for JSON. An exit
 * code.
 */
int ctl_members(const struct ctl *c, const char *how);
/* A line for each member that is not as it should be, and why. */
void ctl_members_why(const struct members_look *m);

/* talk.c: a connection to the control socket, or -errno: -ETIMEDOUT if its
 * queue stays full for left_ms. */
int ctl_dial(const struct ctl *c, int left_ms);
/*
 * talk.c: send one request line, print the answer (to stdout, errors to
 * stderr). An exit code.
 */
int ctl_talk(const struct ctl *c, const char *line);
/* stop.c: stop the node and wait until it is gone. An exit code. */
int ctl_stop(const struct ctl *c);

#endif
