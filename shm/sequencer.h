/*
 * The start-up sequencer: phases, gates, failure that wakes all waiters.
 *
 * One robust lock (locks.h) guards the gates; `word` is a futex that
 * changes with every change and is woken unconditionally. Rules (README.md):
 * a gate for phase P blocks entry into P; phases without gates chain; fire is
 * idempotent and an early fire is remembered; registering after the phase is
 * pre-fired; a gate that fails, or whose owner dies before firing it, fails
 * the node; the first error is kept; once gateway_enable is reached success
 * absorbs every later failure (returned as -EALREADY for the runtime health
 * path). Nothing moves before seq_seal().
 */
#ifndef SHM_SEQUENCER_H
#define SHM_SEQUENCER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "shm/fault.h"
#include "shm/locks.h"
#include "shm/slots.h"

/* X(number, NAME, "name") */
#define PHASES(X)                                                              \
	X(0, BOOT, "boot")                                                     \
	X(1, WAL_RECOVERY, "wal_recovery")                                     \
	X(2, CLUSTER_CATALOG_OPEN, "cluster_catalog_open")                     \
	X(3, RAFT_METADATA_REPLAY, "raft_metadata_replay")                     \
	X(4, SCHEMA_CACHE_WARMUP, "schema_cache_warmup")                       \
	X(5, CATALOG_SANITY_CHECK, "catalog_sanity_check")                     \
	X(6, DATA_GROUPS_REPLAY, "data_groups_replay")                         \
	X(7, TRANSPORT_BIND, "transport_bind")                                 \
	X(8, WARM_PEERS, "warm_peers")                                         \
	X(9, HEALTH_LOOP_START, "health_loop_start")                           \
	X(10, GATEWAY_ENABLE, "gateway_enable")                                \
	X(11, FAILED, "failed")

enum phase {
#define X(number, NAME, name) PHASE_##NAME = number,
	PHASES(X)
#undef X
	    PHASE_COUNT
};

/* X(number, NAME, "name"): what probes see; see DESIGN of stages below. */
#define STAGES(X)                                                              \
	X(0, UNINITIALIZED, "uninitialized")                                   \
	X(1, INIT, "init")                                                     \
	X(2, MIGRATE, "migrate")                                               \
	X(3, RECOVER, "recover")                                               \
	X(4, READONLY_RECOVERY, "readonly_recovery")                           \
	X(5, FORCE_RECOVERY, "force_recovery")                                 \
	X(6, WARMUP, "warmup")                                                 \
	X(7, READY, "ready")                                                   \
	X(8, SHUTTING_DOWN, "shutting_down")                                   \
	X(9, FAILED, "failed")                                                 \
	X(10, STOPPED, "stopped")

enum stage {
#define X(number, NAME, name) STAGE_##NAME = number,
	STAGES(X)
#undef X
	    STAGE_COUNT
};

enum recovery_mode { RECOVERY_NORMAL, RECOVERY_READONLY, RECOVERY_FORCE };

/* How far a boot is with what comes before any recovery. */
enum seq_opening {
	OPENING_WORKERS, /* not sealed, or a gate's owner has not opened yet */
	OPENING_FILES, /* checkpoint has not taken the store's files over */
	OPENING_DONE,
	OPENING_COUNT
};

/* X(number, NAME, "name"): the shutdown bus, in order. */
#define SHUTDOWN_STEPS(X)                                                      \
	X(0, NONE, "none")                                                     \
	X(1, DRAINING_LISTENERS, "draining_listeners")                         \
	X(2, DRAINING_CONTROL_PLANE, "draining_control_plane")                 \
	X(3, DRAINING_DATA_PLANE, "draining_data_plane")                       \
	X(4, DRAINING_EVENT_PLANE, "draining_event_plane")                     \
	X(5, PERSISTING_WATERMARKS, "persisting_watermarks")                   \
	X(6, WAL_FSYNC, "wal_fsync")                                           \
	X(7, CLOSED, "closed")

enum shutdown_step {
#define X(number, NAME, name) SHUTDOWN_##NAME = number,
	SHUTDOWN_STEPS(X)
#undef X
	    SHUTDOWN_COUNT
};

#define GATE_MAX      64
#define GATE_NAME_MAX 32
#define SEQ_ERROR_MAX 576 /* phase, subsystem and a whole fault */
#define PROGRESS_MAX  96

enum gate_state { GATE_FREE, GATE_PENDING, GATE_FIRED, GATE_FAILED };

/* One gate. L: the sequencer's lock for writing. */
struct gate {
	_Atomic uint8_t state; /* enum gate_state */
	uint8_t phase; /* enum phase whose entry it blocks */
	uint8_t owner; /* slot that must prove and fire it */
	uint8_t zero[5];
	uint64_t registered_ns; /* CLOCK_MONOTONIC */
	uint64_t fired_ns;
	char name[GATE_NAME_MAX];
};

/* Progress of one worker's boot work. W: that worker. R: all (may tear). */
struct seq_progress {
	_Alignas(64) _Atomic uint64_t items_done;
	_Atomic uint64_t items_total; /* 0 = unknown */
	_Atomic uint64_t bytes_done;
	_Atomic uint64_t bytes_total;
	_Atomic uint32_t percent; /* 0..100 */
	_Atomic uint32_t version; /* odd while message changes */
	char message[PROGRESS_MAX];
};

struct sequencer {
	struct lock lock;
	_Alignas(64) _Atomic uint32_t word; /* futex; bumped each change. W: who
					       holds the lock; supervisor
					       without it. R: all */
	_Atomic uint32_t version; /* L: odd while the gates change */
	_Atomic uint32_t phase; /* L: enum phase; stays where it failed */
	_Atomic uint32_t failed; /* L: 1 = terminal failure, error[] is set */
	_Atomic uint32_t sealed; /* L: by supervisor */
	_Atomic uint32_t shutdown; /* enum shutdown_step. W: supervisor */
	_Atomic uint32_t stopped; /* W: supervisor. 1 = every worker is gone */
	uint32_t recovery_mode; /* W: creator */
	_Atomic uint32_t gate_count; /* L: gates in use, from gate[0] on;
					read it through seq_gate_count() */
	_Atomic uint32_t opened; /* mask of slots. W: workers, seq_opened() */
	/* L: CLOCK_MONOTONIC; [PHASE_FAILED]: when it failed; 0 = not yet */
	_Atomic uint64_t phase_entered_ns[PHASE_COUNT];
	/* W: supervisor, when it sees the stage for the first time; 0 = never
	 */
	_Atomic uint64_t stage_entered_ns[STAGE_COUNT];
	uint64_t started_ns; /* W: creator */
	uint32_t error_slot; /* L: before `failed`: who, or SLOT_MAX */
	uint32_t error_kind; /* L: before `failed`: enum fault_kind */
	char error[SEQ_ERROR_MAX]; /* L: before `failed`; then for ever */
	struct gate gate[GATE_MAX];
	struct seq_progress progress[SLOT_MAX];
};

/* One moment's state, for pages and tools. */
struct seq_gate_info {
	uint8_t phase, owner;
	uint64_t waited_ms;
	char name[GATE_NAME_MAX];
};
struct seq_snapshot {
	enum phase phase;
	enum stage stage;
	bool failed;
	uint32_t shutdown;
	uint32_t recovery_mode;
	uint64_t phase_ms; /* in this phase so far */
	uint64_t total_ms; /* since the boot began, or until it ended */
	uint32_t percent;
	uint64_t items_done, items_total, bytes_done, bytes_total;
	char message[PROGRESS_MAX];
	char error[SEQ_ERROR_MAX];
	unsigned pending_count; /* gates of the next phase that has any */
	struct seq_gate_info pending[GATE_MAX];
};

/*
 * The supervisor may be root, what is in here is the workers': it trusts no
 * word. Whatever they hold, no call of it reads or writes beyond the struct,
 * takes for ever, or asserts anything of them; text is copied and terminated.
 */

/* How many gates to look at: never more than there are places. */
static inline uint32_t
seq_gate_count(const struct sequencer *s)
{
	uint32_t count =
	    atomic_load_explicit(&s->gate_count, memory_order_acquire);

	return count < GATE_MAX ? count : GATE_MAX;
}

/*
 * Calls that the supervisor makes wait LOCK_PATIENCE_MS for the lock and then
 * return -ETIMEDOUT: it ends who seq_lock_owner() names, tells
 * seq_lock_free_dead(), and calls again. fire and fail wait for ever. All may
 * return -ENOTRECOVERABLE: the node must boot again. All wake every waiter if
 * they changed anything.
 */

/* Creator only, in a fresh region. */
void seq_init(struct sequencer *s, enum recovery_mode mode);

/*
 * Supervisor: register a gate; `name` says what is proved ("wal scan"). One
 * gate per (phase, owner). 0; -EALREADY: the phase is reached already, the
 * gate is pre-fired; -EEXIST: registered before; -ECANCELED: failed; -EINVAL:
 * no such phase or slot; -ENOSPC.
 */
int seq_register(
    struct sequencer *s, enum phase phase, unsigned owner, const char *name);
/* Supervisor: the set is complete: start moving. 0 or -ECANCELED. */
int seq_seal(struct sequencer *s);
/* 0 also if fired before; -ENOENT if never registered; -ECANCELED. */
int seq_fire(struct sequencer *s, enum phase phase, unsigned owner);
/*
 * The phase cannot be reached: the node fails with this text (a gate is not
 * needed). 0; -EALREADY after success or after this gate was fired (nothing
 * changes); -ECANCELED: something else had failed before (its error stays).
 */
__attribute__((format(printf, 4, 5))) int seq_fail(struct sequencer *s,
    enum phase phase, unsigned owner, const char *fmt, ...);
/* The same by a fault: its kind says whether it is waited out, and the text. */
int seq_fault(struct sequencer *s, enum phase phase, unsigned owner,
    const struct fault *f);
/*
 * Supervisor, when it reaps a slot: its unfired gates fail, naming it; or, how
 * is NULL, they wait for its successor. 0 (also if it had none, or a shutdown
 * is under way: then it may go); -EALREADY after success; -ECANCELED if
 * something had failed before.
 */
int seq_owner_died(struct sequencer *s, unsigned owner, const char *how);
/* Supervisor: the boot goes on without it; its gates fire. 0, -ECANCELED. */
int seq_owner_spared(struct sequencer *s, unsigned owner);
/* Supervisor: failure with no gate (a budget, a refused restart). As above. */
__attribute__((format(printf, 2, 3))) int
seq_fail_node(struct sequencer *s, const char *fmt, ...);
/* The same by a fault. */
int seq_fault_node(struct sequencer *s, const struct fault *f);
/* In whose name is the lock? False: it is free, or lost. */
bool seq_lock_owner(const struct sequencer *s, struct lock_owner *out);
/*
 * Supervisor: this process is dead. If it had the lock, what it left half done
 * is made whole, the lock is free again, and waiters are woken. 0, also if it
 * had not; -EAGAIN as lock_free_dead(); -ENOTRECOVERABLE.
 */
int seq_lock_free_dead(struct sequencer *s, struct lock_owner dead);
/* The first error's text, or "" if nothing has failed. */
void seq_error(const struct sequencer *s, char out[SEQ_ERROR_MAX]);
/* Its kind; FAULT_PROGRAM if nothing has failed, or no fault told. */
enum fault_kind seq_error_kind(const struct sequencer *s);
/*
 * Supervisor: next step of the shutdown bus (never back); wakes all waiters.
 * Neither this nor seq_stopped() takes the lock.
 */
void seq_shutdown(struct sequencer *s, enum shutdown_step step);
void seq_stopped(struct sequencer *s);
/* region_end(): a boot under way fails with `why`; then as seq_stopped(). */
void seq_end(struct sequencer *s, const char *why);

/*
 * Block until `phase` is reached. 0; -ECANCELED failed; -ESHUTDOWN a shutdown
 * began or the region ended before; -ETIMEDOUT (deadline_ns is CLOCK_MONOTONIC,
 * 0 = none). Failure is looked at first. beat() (may be NULL) is called at
 * least once a second, for heartbeats. Works on read-only maps.
 */
int seq_wait(const struct sequencer *s, enum phase phase, uint64_t deadline_ns,
    void (*beat)(void *), void *arg);
/*
 * The same until owner has fired its gate for `phase`: what it proved holds,
 * whatever else the phase waits for. A gate that nobody registered is fired.
 */
int seq_wait_gate(const struct sequencer *s, enum phase phase, unsigned owner,
    void (*beat)(void *), void *arg);
/* For loops that do not block: reached (and not failed)? */
bool seq_reached(const struct sequencer *s, enum phase phase);
bool seq_failed(const struct sequencer *s);

void seq_progress_set(struct sequencer *s, unsigned slot, uint64_t items_done,
    uint64_t items_total, uint64_t bytes_done, uint64_t bytes_total,
    const char *message);

void seq_snapshot(const struct sequencer *s, struct seq_snapshot *out);

/* Worker: its opening is done (worker_open()). No lock; idempotent. */
void seq_opened(struct sequencer *s, unsigned slot);
enum seq_opening seq_opening(const struct sequencer *s);

/*
 * A stage is a function of phase, opening, recovery mode and shutdown state,
 * first match: failed; stopped; shutting_down; ready; init until the sequencer
 * is sealed and every owner of a gate has opened; migrate until checkpoint has
 * taken the store's files over (it fires cluster_catalog_open then: whatever
 * they must become for this build they are); warmup once data_groups_replay is
 * reached; else recover. The log's scan begins with its worker, but only
 * recover waits for it. What is no phase of a boot is uninitialized.
 */
enum stage seq_stage(enum phase phase, bool failed, enum recovery_mode mode,
    enum shutdown_step step, enum seq_opening opening, bool stopped);
/* The same of a sequencer's words as they are. */
enum stage seq_stage_now(const struct sequencer *s);
const char *phase_name(unsigned phase);
int phase_parse(const char *name); /* phase or -EINVAL */
const char *stage_name(unsigned stage);
const char *shutdown_name(unsigned step);

/*
 * Every place between two stores of a change at which the process may die, as
 * tests see it: they set the hook and kill themselves in it.
 */
#define SEQ_POINTS(X)                                                          \
	X(LOCKED) /* the lock is held */                                       \
	X(BEGUN) /* the version is odd */                                      \
	X(GATE_FILLED) /* register: all but the gate's state */                \
	X(GATE_STATED)                                                         \
	X(GATE_COUNTED)                                                        \
	X(SEALED)                                                              \
	X(FIRE_STAMPED) /* the time, not yet the state */                      \
	X(FIRE_STATED)                                                         \
	X(ADVANCE_STAMPED) /* the phase's time, not yet the phase */           \
	X(ADVANCE_STATED)                                                      \
	X(FAIL_TEXT) /* the error's text is complete */                        \
	X(FAIL_GATE) /* one more gate is marked failed */                      \
	X(FAIL_STAMPED)                                                        \
	X(FAIL_STATED)                                                         \
	X(BUMPED) /* the futex word moved, the version is odd */               \
	X(ENDED) /* the version is even */                                     \
	X(UNLOCKED) /* the lock is free, nobody is woken yet */

enum seq_point {
#define X(NAME) SEQ_POINT_##NAME,
	SEQ_POINTS(X)
#undef X
	    SEQ_POINT_COUNT
};
extern void (*seq_point_hook)(enum seq_point point); /* NULL but in tests */

#endif
