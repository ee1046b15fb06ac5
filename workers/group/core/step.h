/*
 * The consensus core of one node, as a pure state machine: no clock, no I/O,
 * no allocation, no log. group.c feeds it and does what it says; the
 * simulator in t/sim feeds it worse things.
 *
 * Rules it keeps (Ongaro, "Consensus: Bridging Theory and Practice", chapter 3
 * and sections 5.2, 5.4):
 *  - one vote per term; (term, vote) is durable before anything depends on it,
 *    and the own vote goes through the same store as every other one;
 *  - a node is master only of a term it won since it started;
 *  - the log epoch is raised before a new (term, vote) is stored and before a
 *    change of who commits; the view that allows commits again comes after;
 *  - a node that is an election quorum by itself waits for nobody to stand, and
 *    one that is a commit quorum by itself needs no lease.
 *
 * Elections against other members need their votes; who feeds those in will
 * set bits in `votes` and step(); everything else is here.
 */
#ifndef WORKERS_GROUP_GROUP_CORE_H
#define WORKERS_GROUP_GROUP_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/commit.h"
#include "shm/sequencer.h"
#include "workers/group/member.h"

#define ROLE_COUNT (ROLE_SHUTDOWN + 1)

/* What the thin loop tells the core. */
enum group_input {
	GROUP_BOOTED, /* disk has been read: .booted */
	GROUP_TICK, /* time passed */
	GROUP_PERSISTED, /* (term, vote) is durable: .term, .vote */
	GROUP_PERSIST_FAILED, /* it is not, and never will be */
	GROUP_TERM_APPENDED, /* first record of the term: .term, .vlsn */
	GROUP_TERM_COMMITTED, /* it is committed: .term, .vlsn */
	GROUP_MEMBER_APPENDED, /* a membership is in the log: .membership */
	GROUP_MEMBER_REFUSED, /* the log took no membership: ask again later */
	GROUP_MEMBER_COMMITTED, /* the one at .vlsn is committed */
	GROUP_MEMBER_CUT, /* the log will be cut after .vlsn */
	GROUP_STOP,
};

struct group_boot {
	enum recovery_mode mode;
	uint64_t incarnation; /* of this node */
	uint64_t generation;
	const uint8_t *group_uuid; /* 16 bytes, the caller's */
	uint64_t term, vote; /* as the state file has them */
	uint64_t log_term, log_vlsn; /* of the newest record; 0 = no record */
	uint64_t log_first; /* oldest record still there */
	/*
	 * The newest membership, the caller's; .vlsn 0 = none was found, this
	 * is what the configuration proposes. `fallback`: the one in force if
	 * that is cut; NULL = not known.
	 */
	const struct membership *membership, *fallback;
};

/* What force went over in a group of one: bits of group_actions.forced. */
enum group_forced {
	GROUP_FORCED_TERM = 1, /* the log is of a newer term than state */
	GROUP_FORCED_LOG = 2, /* the log ends before its membership */
	GROUP_FORCED_MEMBERS = 4, /* the membership is lost; proposed again */
};

struct group_event {
	enum group_input input;
	uint64_t now_ns; /* CLOCK_BOOTTIME */
	uint64_t term, vote, vlsn;
	const struct group_boot *booted;
	const struct membership *membership; /* the caller's */
};

/*
 * What the loop must do, in the order of the fields. With fail or restart
 * nothing else is done: the process ends. All that a step asks for is done
 * before the next step, but for persist and append, which events answer.
 */
struct group_actions {
	bool fail; /* this node cannot take part, because of .why */
	bool restart; /* the node must boot again, because of .why */
	const char *why; /* constant; "" if nothing is to be said */
	unsigned forced; /* enum group_forced: gone over, to be said loudly;
			    with fail: what force would go over */
	bool raise_epoch; /* raise the epoch of `committed` to .epoch */
	uint16_t epoch;
	bool persist; /* store (.term, .vote); then GROUP_PERSISTED */
	uint64_t term, vote;
	bool publish; /* names, then .view, then wake wal */
	struct commit_view view;
	bool append_member; /* core->current as a record; then _APPENDED */
	bool save_member; /* core->current into the members file */
	bool announce; /* the role changed, because of .why */
	enum role from, to;
	bool elected; /* an election was won (announce is set, too) */
	bool ready; /* term, vote and membership are known: boot goes on */
};

/* Owned by the caller; zeroed = a core that has not booted. */
struct group_core {
	enum role role;
	uint16_t epoch; /* log epoch, raised only here */
	bool readonly; /* takes part in nothing (view.readonly) */
	bool ready; /* said so */
	bool broken; /* asked to fail or restart: does no more */
	bool persisting; /* (term, vote) is on its way to the disk */
	bool term_committed; /* a record of the own term is committed */
	bool member_wanted; /* the log has no membership yet */
	bool member_asked; /* it is on its way into the log */
	uint16_t votes; /* mask: who gave us its vote in `term` */
	uint64_t term, vote; /* durable once persisting is false */
	uint64_t stored_term; /* durable now */
	uint64_t won_term; /* won since this process began; 0 = none */
	uint64_t term_vlsn; /* first record of won_term; 0 = not yet */
	uint64_t lease_until_ns;
	uint64_t incarnation;
	struct membership current; /* newest in the log, committed or not */
	struct membership previous; /* in force if `current` is cut */
	struct quorums quorums; /* of current */
	int self; /* index in current; -1 = not in it */
};

void group_step(struct group_core *c, const struct group_event *ev,
    struct group_actions *out);

/* Did this process win the term that `view` of it would show? */
static inline bool
group_writes(const struct group_core *c)
{
	return c->role == ROLE_MASTER && c->won_term == c->term;
}

/* The table behind it, for its test and for whoever wants to read it. */
enum group_fact {
	FACT_JOINED, /* booted, takes part */
	FACT_BARRED, /* booted, takes part in nothing */
	FACT_REFUSED, /* booted from what cannot be trusted */
	FACT_ALONE, /* own vote is an election quorum */
	FACT_SPENT, /* terms or epochs are used up */
	FACT_VOTED, /* own vote is durable, a quorum is missing */
	FACT_ELECTED, /* own vote is durable and makes the quorum */
	FACT_STORE_FAILED, /* a promise could not be made durable */
	FACT_TERM_APPENDED,
	FACT_TERM_COMMITTED,
	FACT_MEMBER_APPENDED,
	FACT_MEMBER_REFUSED,
	FACT_MEMBER_COMMITTED,
	FACT_MEMBER_CUT,
	FACT_REMOVED, /* a committed membership is without us */
	FACT_LAPSED, /* a master's lease ran out */
	FACT_STOP,
	FACT_COUNT
};

struct group_row {
	enum role state;
	enum group_fact fact;
	enum role next;
	void (*act)(struct group_core *, const struct group_event *,
	    struct group_actions *); /* NULL: nothing is done, only said */
	const char *why;
};

extern const struct group_row group_table[];
extern const size_t group_table_rows;
/* May a node go from one state to the other? */
bool group_edge_legal(enum role from, enum role to);
const char *group_forced_text(enum group_forced bit);
/* What force has to go over in this boot: an enum group_forced, or 0. */
unsigned group_boot_damage(const struct group_boot *b);

#endif
