/*
 * Private to supervisor/: the state of nodelifed's first process, and the
 * parts of it. One thread; node.now_ns is read once per turn of node_run().
 * README.md has the picture.
 */
#ifndef SUPERVISOR_NODE_H
#define SUPERVISOR_NODE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "conf/conf.h"
#include "conf/conf_fit.h"
#include "shm/region.h"
#include "supervisor/daemon.h"
#include "supervisor/refuse.h"
#include "supervisor/restart_core.h"
#include "workers/worker.h"

#define NODE_NEVER UINT64_MAX
#define WAITS_TOLD 8 /* causes of one wait that are told once */

/* Exit codes beyond those of sysexits.h that nodelifed(8) lists. */
enum {
	NODE_EXIT_FAILED = 1 /* failed boot, forced or unclean stop */
};
#define NODE_BOOT_WAITS (-1) /* node_boot()'s; no exit code */

enum node_mode {
	NODE_BOOTING, /* workers are up, gateway_enable is not reached */
	NODE_SERVING, /* it was reached in this region */
	NODE_STOPPING, /* the shutdown bus runs */
	NODE_ENDING, /* everybody is being killed; what follows is set */
	NODE_PAUSED /* nobody is left; the next boot is timed */
};

/* A slot's process, and what outlives it. */
struct child {
	pid_t pid; /* 0 = none */
	int pidfd;
	bool killed; /* by us; not reaped yet */
	bool
	    replaced; /* killed for its successor's sake: no fault of its own */
	bool down; /* it does not stay up; the node goes on without it */
	uint64_t up_ns; /* then: after so long it is up again */
	bool ended; /* its pidfd said so: a tracer has it until it is reaped */
	uint64_t killed_ns; /* when; 0 = said that it is stuck */
	uint32_t incarnation;
	uint32_t restarts;
	uint64_t started_ns;
	uint64_t restart_at_ns; /* 0 = none timed */
	struct restart_history history;
};

struct listeners {
	int fd[LISTEN_MAX]; /* clients: bound; -1 = none */
	int http_fd; /* bound; listens for health */
	int control_fd; /* bound; listens from the first health on */
	int peer_fd[LISTEN_MAX]; /* members: bound, group listens; -1 = none */
	char client_addr[64], http_addr[64]; /* as bound */
	char peer_addr[64]; /* as bound; "" = none is */
};

/* Data connections change hands by them: group's end, and the other. */
struct pairs {
	int to_wal, wal_from;
	int to_restore, restore_from;
};

#define NODE_WAITED_MAX (SEQ_ERROR_MAX + 128)

struct node {
	struct conf conf_set; /* as the file says */
	struct conf conf; /* as fitted */
	struct conf_limits limits;
	struct conf_fit fit;
	char conf_path[PATH_MAX];
	struct rights rights; /* of the workers */
	bool foreground;
	int ready_fd; /* tells the starting command; -1 */
	uint64_t starter_until_ns; /* as long as that waits for the boot */
	struct pidfile pidfile;
	uint64_t unix_made_ns; /* client_unix, again; 0 = it never was lost */
	int data_dir, lock_fd;
	struct listeners listen;
	struct pairs pairs; /* of this region */
	char exposed[CONF_EXPOSED_MAX][CONF_SENTENCE]; /* ports open to all */
	unsigned exposed_count;
	struct bells bells;
	int signal_fd;
	bool has_region;
	struct region region; /* private as long as none could be made */

	enum node_mode mode;
	uint64_t now_ns;
	struct child child[SLOT_MAX];
	struct restart_history history; /* node restarts that are counted */
	struct restart_history world; /* those for faults of the world */
	uint64_t served_ns; /* since when it serves, or did last; 0 = never */
	bool over_before; /* a boot followed a fault that was over */
	unsigned over_again; /* see struct restart_in */
	unsigned restarts;
	bool ever_served;
	uint64_t oom_kills; /* of our control group, some seconds ago, */
	uint64_t oom_seen; /* as read last, */
	uint64_t oom_seen_ns; /* and when that was */
	uint64_t oom_ns; /* when a worker was the last one; 0 = never */
	char oom_text[FAULT_TEXT_MAX]; /* what it was told as */

	bool unjoined; /* this region's boot waits for a group to be founded */
	bool unjoined_told; /* to the service manager */
	enum phase phase; /* BOOTING: seen last */
	uint64_t boot_started_ns;
	uint64_t held_ns; /* BOOTING: how long the world held it back, */
	uint64_t held_seen_ns; /* and until when, 0 = not now */
	uint64_t stage_ns[STAGE_COUNT]; /* BOOTING: seen first; 0 = not yet */
	uint64_t live_checked_ns; /* last round of liveness */
	uint64_t hold_until_ns; /* listeners refuse then; 0 = not held */

	enum shutdown_step step; /* STOPPING */
	uint64_t step_deadline_ns;
	unsigned stop_signals;

	bool boot_again; /* ENDING: what follows */
	uint64_t boot_delay_ms;
	uint64_t boot_at_ns; /* PAUSED */
	bool keep_health; /* ENDING, PAUSED: its pages say what is waited for */
	uint64_t room_ns; /* since when writes wait for a checkpoint after */
	uint64_t room_after; /* this VLSN; 0 = none does */
	uint64_t room_stopped_ns; /* whose process was last seen stopped then */
	uint64_t health_again_ns; /* PAUSED: not started before */
	int health_error; /* why it could not be the last time; 0 = it could */
	uint64_t
	    waits_since_ns; /* not serving for a fault of the world; or 0 */
	char waits_for[SEQ_ERROR_MAX]; /* "" = for nothing */
	uint32_t waits_told[WAITS_TOLD]; /* checksums of what was, since then */
	unsigned waits_next; /* index, after division, of the next one */
	bool after_failure; /* this region's boot is one after a failure, and it
			       has not served */

	bool finished;
	int exit_code;
};

/* A row of the worker table. */
struct worker_row {
	unsigned slot; /* the first, for gateways */
	int (*main)(struct worker *);
	enum restart_policy policy;
	unsigned keep; /* enum worker_keep */
};

/* A gate that must be registered; gateways get one each. */
struct gate_row {
	enum phase phase;
	unsigned slot;
	const char *proves;
};

/* Has a boot had a region that is not private? */
static inline bool
node_has_file(const struct node *n)
{
	return n->has_region && n->region.fd >= 0;
}

/* table.c: rows in start order; NULL past the end. */
const struct worker_row *worker_row_at(unsigned index);
const struct worker_row *worker_row_of(unsigned slot);
const struct gate_row *gate_row_at(unsigned index);
/* Can a node boot and serve without it? */
bool worker_is_spare(unsigned slot);
/* Is it to run in this boot? */
bool worker_is_wanted(const struct node *n, unsigned slot);

/* children.c. Slots that have a process, as a mask. */
uint32_t children_alive(const struct node *n);
/* Fork the slot's next process. 0 or -errno; whose fault that is, of whom. */
int child_start(struct node *n, unsigned slot);
struct fault child_start_fault(const char *whom, int rc);
/* SIGKILL, once; `why` (NULL: it is known) becomes an event. */
void child_kill(struct node *n, unsigned slot, const char *why);
void child_restart_later(struct node *n, unsigned slot, uint64_t delay_ms);
/* As long as workers are killed for memory that stands. */
void children_tell_memory(struct node *n);
/* It does not stay up, `what` says why: told until it does. */
void child_down(struct node *n, unsigned slot, const char *what);
void children_up(struct node *n);
/* Reap who has exited and act on it; also who is no worker of ours. */
void children_reap(struct node *n);
/* Restart who is due; when the next one is. */
void children_restart(struct node *n);
uint64_t children_deadline(const struct node *n);
void children_forget_restarts(struct node *n);

/*
 * sequence.c: calls of the sequencer that take its lock, by the lock rule. If
 * it cannot be had at all the node boots again (node_decide()).
 */
__attribute__((format(printf, 2, 3))) int
node_seq_fail(struct node *n, const char *fmt, ...);
int node_seq_fault(struct node *n, const struct fault *f);
/* The slot's process is dead: mend what it left if it had the lock. */
void node_seq_reaped(struct node *n, unsigned slot);
void node_seq_died(struct node *n, unsigned slot, const char *how);
/* The boot goes on without the slot: fires its gates. */
void node_seq_spare(struct node *n, unsigned slot);

/*
 * boot.c: a fresh region and all workers. 0; or an exit code, having refused;
 * or NODE_BOOT_WAITS: no region can be made, why[] says for which fault of the
 * world.
 */
int node_boot(struct node *n, char why[FAULT_TEXT_MAX]);
/* Its first step: fit the configuration to the memory that there is. As it. */
int node_fit(struct node *n, char why[FAULT_TEXT_MAX]);
/* Follow phases and budgets; when to look again. */
void node_boot_turn(struct node *n);
uint64_t node_boot_deadline(const struct node *n);

/* rundir.c: make again what somebody removed, and tell what lacks. */
void node_run_dir_look(struct node *n);

/* live.c: a round twice a second. */
void node_live_turn(struct node *n);
uint64_t node_live_deadline(const struct node *n);

/* stop.c: the shutdown bus; idempotent. A second signal forces. */
void node_stop(struct node *n, const char *why);
void node_stop_signal(struct node *n, const char *name);
void node_stop_turn(struct node *n);
/* Is there something for node_stop_turn() to do? */
bool node_stop_pending(const struct node *n);

/*
 * end.c: act on an exit (or what counts as one: a failed boot, a worker that
 * wants a new boot, slot SLOT_SUPERVISOR). `what` says what happened.
 */
void node_decide(
    struct node *n, unsigned slot, enum exit_kind kind, const char *what);
/* It was unjoined, and is of a group now: it boots as its member. */
void node_joined(struct node *n);
/* It cannot boot for a fault of the world: say so, and when to try again. */
void node_boot_waits(struct node *n, const char *what, uint64_t delay_ms);
/*
 * No region could be made; node_boot() said why. It waits beside the one that
 * there is, with health, or has waited as long as it may.
 */
void node_pause(struct node *n, const char *why);
/* How long to wait before the next boot; counts as one more. */
uint64_t node_world_delay(struct node *n);
/* Has [restart] give_up passed since then? */
bool node_waited_out(const struct node *n, uint64_t since_ns);
/*
 * The last word when it has: what ended the node, and what to do. buf has
 * NODE_WAITED_MAX bytes and is returned.
 */
char *node_waited_text(const struct node *n, const char *cause, char *buf);
void node_say_waited(struct node *n, const char *cause);
/* Kill everybody and exit with this code. */
void node_give_up(struct node *n, int exit_code);
/* Whoever looks on is told that the node ends, clients go elsewhere. */
void node_boots_no_more(struct node *n);
void node_end_turn(struct node *n);
uint64_t node_end_deadline(const struct node *n);

/* reload.c: SIGHUP and control->reload_wanted. */
void node_reload(struct node *n);
/* The live values that workers read from the region. */
void node_control_set(struct node *n);

/* notify.c: the service manager's socket, if there is one. */
__attribute__((format(printf, 1, 2))) void notify(const char *fmt, ...);
bool notify_wanted(void);

/* run.c: until the node is finished; its exit code. */
int node_run(struct node *n);

#endif
