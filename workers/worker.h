/*
 * What workers have in common, and what each is given. A worker's main is
 * called in a fresh fork of the supervisor; its opening is the same in each
 * (worker_open()), then it boots, runs its loop (worker_run()) and returns its
 * exit code.
 */
#ifndef WORKERS_WORKER_H
#define WORKERS_WORKER_H

#include <sys/types.h>
#include <stdbool.h>
#include <stdint.h>
#include "conf/conf.h"
#include "ipc/loop.h"
#include "shm/denied.h"
#include "shm/region.h"

#define LISTEN_MAX 8 /* client sockets: TCP addresses and one unix */

/* In data_dir; group's. Where it is, there was a log: it holds its record. */
#define MEMBERS_FILE "members"

/* Exit codes of workers, beyond 0. */
enum {
	WORKER_EXIT_FAILED = 70, /* it said why in the log and sequencer */
	WORKER_EXIT_WORLD = 74, /* a fault of the world, told as a trouble or
				   through seq_fault(), must end first */
	WORKER_EXIT_RESTART = 75, /* the node must boot again from disk */
	WORKER_EXIT_CONFIG = 78
};

/* Made by the supervisor before the fork; the child owns its copy. */
struct worker {
	unsigned slot;
	uint32_t incarnation;
	struct region *region;
	const struct conf *conf;
	struct bells bells;
	pid_t supervisor_pid;
	int lock_fd; /* data_dir/lock, flock()ed; -1 in those without it */
	int data_dir; /* descriptor of data_dir; -1 in those without it */
	int listen_fd[LISTEN_MAX]; /* bound, not yet listening; -1 = none */
	int http_fd; /* listening; -1 in all but health */
	int control_fd; /* listening unix socket; health only */
	int peer_fd[LISTEN_MAX]; /* bound for members, group only; -1 = none */
	/* Pairs that data connections change hands by (ipc/handover.h). */
	int to_wal, to_restore; /* group only; -1 in others */
	int data_from; /* the other end: wal, restore; -1 in others */
	bool force, readonly; /* recovery mode */
	int exit_code; /* of its end, if something asks for another than 0 */
	void *state; /* of its main: worker_state() */
};

/*
 * What a worker keeps: which descriptors, whether it opens data_dir. One row
 * per worker in the supervisor's table.
 */
enum worker_keep {
	KEEP_DATA = 1, /* lock_fd and data_dir */
	KEEP_LISTEN = 2, /* listen_fd[] */
	KEEP_HTTP = 4, /* http_fd, control_fd */
	KEEP_PEERS = 8, /* peer_fd[], to_wal, to_restore */
	KEEP_FROM = 16, /* data_from */
};

/* Nobody else is in the group: what such a node's workers are given. */
static inline void
worker_alone(struct worker *w)
{
	w->to_wal = w->to_restore = w->data_from = -1;
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		w->peer_fd[i] = -1;
}
/*
 * close_range of all but the listed, signals, title, limits, drop to `user`,
 * then PDEATHSIG and the parent check. Exits on failure, having logged.
 */
void worker_open(struct worker *w, const char *title, unsigned keep);
/*
 * What the worker knows: size bytes of zeros, which its main hands down, so
 * that none of it is static and two workers could run in one process. Behind
 * worker_open(). Never freed: what is under way on the ring when main returns
 * may still be written into it. Exits without memory, and the boot fails at
 * this gate.
 */
void *worker_state(struct worker *w, enum phase phase, size_t size);
/*
 * Before a fault of data_dir's files is told: what this process knows better
 * than the table, in d: want of rights, as denied_explain() does; the command
 * against a limit of the size of files.
 */
void worker_explain(const struct worker *w, struct fault *f, struct denied *d);
/*
 * The same of a boot's fault that is told in other words: is it one of these
 * files (NULL-terminated, in data_dir)? Then f becomes the fault of that.
 */
void worker_explain_one(const struct worker *w, struct fault *f,
    const char *const *names, struct denied *d);
/*
 * The boot fails at this gate: the supervisor tells it, in one line, or the
 * log if the gate is passed. As seq_fault() and seq_fail().
 */
int worker_boot_fault(
    const struct worker *w, enum phase phase, const struct fault *f);
int worker_boot_fail(const struct worker *w, enum phase phase, const char *why);
/* loop_open() refused: its gate fails by that, waited out if the world's. */
void worker_ring_refused(const struct worker *w, enum phase phase, int error);
/* The same for the store's file, or data_dir, which is not there to be read. */
void worker_store_refused(const struct worker *w, enum phase phase, int error);
/*
 * Does data_dir's path still lead to w->data_dir? 0, -EREMCHG if to another
 * directory, or -errno. Some files are opened by that path, others below the
 * descriptor: of two directories they would make two halves.
 */
int worker_data_dir_check(const struct worker *w);
/*
 * The boot is over: RUNNING in the slot's row, then the loop until it is told
 * to end. The exit code; WORKER_EXIT_FAILED, if no other is set, when the ring
 * fails, which is logged.
 */
int worker_run(struct worker *w, struct loop *l);
/*
 * What runs must not go on, and why was told: the node boots again from disk.
 * WISH_RESTART_WORLD if a fault of the world is what made it so. Ends the loop.
 */
void worker_fatal(struct worker *w, struct loop *l, uint32_t wish);

int wal_main(struct worker *w);
int vlsn_main(struct worker *w);
int store_main(struct worker *w);
int checkpoint_main(struct worker *w);
int group_main(struct worker *w);
int gateway_main(struct worker *w);
int health_main(struct worker *w);
int restore_main(struct worker *w);

#endif
