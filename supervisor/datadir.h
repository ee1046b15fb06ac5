/*
 * The data directory: is it ours, may we write it, are we alone in it.
 */
#ifndef SUPERVISOR_DATADIR_H
#define SUPERVISOR_DATADIR_H

#include <stdbool.h>
#include <stddef.h>
#include "conf/conf.h"
#include "supervisor/refuse.h"

#define DATADIR_LOCK    "lock"
#define DATADIR_WAIT_MS 5000 /* for who is about to be gone, or only looks */

/*
 * Open conf's data_dir, check it against conf and take its lock. 0: *dir_fd
 * and *lock_fd are the caller's; else an exit code, having refused. Blocks
 * up to DATADIR_WAIT_MS.
 */
int datadir_open(const struct conf *conf, const struct rights *rights,
    int *dir_fd, int *lock_fd);

/*
 * flock() dir/lock, made if it is not there and `make` is set: a descriptor,
 * or -errno (-EWOULDBLOCK: somebody held it for all of wait_ms).
 */
int datadir_lock(int dir_fd, bool make, unsigned wait_ms);

/* Who has the lock file open: "pid 7 (nodelifed: wal [n1]), pid 9 (…)". */
void datadir_holders(int dir_fd, char *buf, size_t buf_size);

/* Refuses what has no node in it, or (`what` says) must not get one. */
int datadir_refuse_missing(const struct conf *conf, const char *what);

/*
 * --init: found a group of one in conf's data_dir, which must be empty and is
 * made if it does not exist; `member`: the directory of one of several, which
 * waits for a group. 0 or an exit code, having refused. Blocks as
 * datadir_open().
 */
int datadir_found(
    const struct conf *conf, const struct rights *rights, bool member);
/*
 * Is what is in it of no group yet, as it says now? What cannot be read does
 * not: its reader tells.
 */
bool datadir_unjoined(int dir_fd);

#endif
