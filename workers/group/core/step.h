/*
 * The consensus core of one node, as a pure state machine: no clock, no I/O,
 * no allocation, no log. An event goes in, a bounded list of actions and the
 * next deadline come out. group.c feeds it and does what it says; the
 * simulators in t/sim feed it worse things.
 *
 * Rules it keeps (Ongaro, "Consensus: Bridging Theory and Practice", chapter 3
 * and sections 5.2, 5.4):
 *  - one vote per term; (term, vote) is durable before anything depends on it,
 *    and the own vote goes through the same store as every other one;
 *  - a node is master only of a term it won since it started;
 *  - the log epoch is raised before a new (term, vote) is stored and before a
 *    change of who commits; the view that allows commits again comes after;
 *  - a node that is the only voter waits for nobody to stand, and one that is a
 *    commit quorum by itself needs no lease;
 *  - before it grants a vote or stands it raises the epoch and waits for the
 *    fence: where its log ends for good, and no more acks of older epochs. From
 *    the decision on its term is the new one for all that it sends;
 *  - who answers a master's round promises to help nobody else to a term, for
 *    the length that the round tells, also over restarts (which wait so long);
 *    the master's lease runs from when it sent the newest round that a commit
 *    quorum has answered, and ends before the promises do.
 *
 * Only group_step() changes a core; whoever owns one reads it by the functions
 * below, never by its fields.
 */
#ifndef WORKERS_GROUP_CORE_STEP_H
#define WORKERS_GROUP_CORE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/commit_view.h"
#include "workers/group/core/member.h"
#include "workers/group/core/msg.h"

#define GROUP_NEVER UINT64_MAX /* a deadline that does not come */
/* A membership that the log refused is asked for again after this. */
#define GROUP_MEMBER_RETRY_NS UINT64_C(1000000000)
#define GROUP_BEAT_MS         20 /* from one round to the next */
#define GROUP_RANK_MS         20 /* from one candidate to the next */
#define GROUP_RELEASED_MS     5 /* the same, of a master that let go */
#define GROUP_ROUNDS          64 /* whose time of sending is known */
#define GROUP_LEASE_MAX_MS    60000 /* no longer promise is given */
/* A clock may be so much faster than another one, per cent; and so rough. */
#define GROUP_DRIFT_PERCENT 1
#define GROUP_DRIFT_MS      1
/* A message of a term that is further away means nothing. */
#define GROUP_TERM_JUMP (UINT64_C(1) << 32)

#define ROLE_COUNT (ROLE_SHUTDOWN + 1)

/* What the loop tells the core. */
enum group_event_kind {
	GROUP_BOOTED, /* disk has been read: .booted */
	GROUP_TICK, /* the deadline of the last step has come, or may have */
	GROUP_STORED, /* (term, vote) is durable: .stored */
	GROUP_STORE_FAILED, /* it is not, and never will be */
	GROUP_FENCED, /* wal has done so: .fenced */
	GROUP_MESSAGE, /* .msg of another member, whom the link knows */
	GROUP_PEER, /* .peer has shown up with that boot; its older are over */
	GROUP_RELEASED, /* .peer is master of its .term no more, for good */
	GROUP_TERM_APPENDED, /* first record of the term: .term */
	GROUP_TERM_COMMITTED, /* it is committed: .term */
	GROUP_MEMBER_APPENDED, /* a membership is in the log: .membership */
	GROUP_MEMBER_REFUSED, /* the log took no membership: ask again later */
	GROUP_MEMBER_COMMITTED, /* the one at .vlsn is committed */
	GROUP_MEMBER_CUT, /* the log will be cut after .vlsn */
	GROUP_STOP
};

struct group_boot {
	bool readonly, force; /* recovery mode; neither: normal */
	bool lost; /* a member, without what it had promised or logged */
	uint16_t epoch; /* log epoch in force */
	uint64_t incarnation; /* of this node */
	uint64_t boot; /* higher than that of any boot before */
	uint64_t generation;
	const uint8_t *group_uuid; /* 16 bytes, the caller's */
	uint64_t term, vote; /* as the state file has them */
	uint64_t vote_boot; /* to which it was given */
	uint32_t promise_ms; /* the longest promise that may be in force */
	uint32_t beat_ms; /* from one round to the next; 0 = GROUP_BEAT_MS */
	uint64_t log_term, log_vlsn; /* of the newest record; 0 = no record */
	uint64_t log_first; /* oldest record still there */
	/*
	 * The newest membership, the caller's; .vlsn 0 = none was found, this
	 * is what the configuration proposes. `fallback`: the one in force if
	 * that is cut, so the record at its .before, however much older what
	 * is filed may be; itself if it is committed; NULL = not known.
	 */
	const struct membership *membership, *fallback;
};

struct group_event {
	enum group_event_kind kind;
	uint64_t now_ns; /* CLOCK_BOOTTIME */
	struct group_end end; /* of the log, as it is now */
	union {
		const struct group_boot *booted; /* the caller's */
		const struct group_msg *msg; /* the caller's */
		const struct membership *membership; /* the caller's */
		struct {
			uint64_t term, vote;
		} stored;
		struct {
			uint16_t epoch; /* no ack of an older one follows */
			struct group_end end; /* where the log ends for good */
			uint64_t member_vlsn; /* newest membership in it */
		} fenced;
		struct {
			uint64_t incarnation, boot;
			uint64_t term; /* GROUP_RELEASED */
		} peer;
		struct {
			uint64_t term, vlsn;
		} term;
		uint64_t vlsn;
	};
};

/* What force went over in a group of one: bits. */
enum group_forced {
	GROUP_FORCED_TERM = 1, /* the log is of a newer term than state */
	GROUP_FORCED_LOG = 2, /* the log ends before its membership */
	GROUP_FORCED_MEMBERS = 4, /* the membership is lost; proposed again */
};

/*
 * What the loop must do. A list has each kind at most once, in the order of
 * this enum, which is the order of doing: so it is never longer than the enum.
 * All of one list is done before the next step, but for _STORE, _FENCE and
 * _APPEND_MEMBER, which events answer.
 */
enum group_action_kind {
	GROUP_FAIL, /* .end: this node cannot take part; stands alone */
	GROUP_RESTART, /* .end: the node must boot again; stands alone */
	GROUP_FORCE, /* .forced was gone over, to be said loudly */
	GROUP_RAISE_EPOCH, /* .epoch: that of `committed`, at once */
	GROUP_STORE, /* .store; then GROUP_STORED */
	GROUP_PUBLISH, /* members' names, then .view, then wake wal */
	GROUP_FENCE, /* have wal fence .fence; then GROUP_FENCED */
	GROUP_ANSWER, /* .send: to who had asked */
	GROUP_TELL, /* .send: to all other members */
	GROUP_APPEND_MEMBER, /* .membership as a record; then _APPENDED */
	GROUP_SAVE_MEMBER, /* .membership into the members file */
	GROUP_ANNOUNCE, /* .role changed */
	GROUP_SAY, /* .why, for whoever debugs */
	GROUP_READY, /* term, vote and membership are known: boot goes on */
	GROUP_ACTION_KINDS
};

struct group_action {
	enum group_action_kind kind;
	union {
		struct {
			const char *why; /* constant */
			unsigned forced; /* with fail: what force would go
					    over, enum group_forced */
		} end;
		unsigned forced; /* enum group_forced */
		struct {
			uint16_t to;
			uint64_t ended; /* the mastership of that term is over
					   with it: nothing more commits under
					   it; 0 = none is */
		} epoch;
		struct {
			uint64_t term, vote; /* incarnation, 0 = none */
			uint64_t vote_boot; /* its boot */
			uint32_t promise_ms; /* no longer one is given before */
		} store;
		uint16_t fence; /* the epoch to be fenced for */
		struct {
			uint64_t to; /* incarnation; 0 of a _TELL */
			struct group_msg msg;
		} send;
		struct commit_view view;
		const struct membership *membership; /* the core's, until the
							next step */
		struct {
			enum role from, to;
			bool elected; /* an election was won */
			uint64_t term;
			const char *why; /* constant */
		} role;
		const char *why; /* constant */
	};
};

#define GROUP_ACTIONS_MAX GROUP_ACTION_KINDS

struct group_todo {
	unsigned count;
	struct group_action action[GROUP_ACTIONS_MAX];
	/* GROUP_TICK is due then, CLOCK_BOOTTIME; GROUP_NEVER. */
	uint64_t deadline_ns;
};

/* What a master knows of a member. */
struct group_answers {
	uint64_t round; /* the newest that it answered in this term */
	struct group_end end; /* of its log, then */
	uint64_t until_ns; /* what its answers promise, by our clock */
};

enum group_stage {
	STAGE_IDLE,
	STAGE_PRE, /* asks whether others would vote */
	STAGE_FENCE, /* has decided to stand */
	STAGE_VOTE, /* asks for votes */
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
	uint64_t member_retry_ns; /* refused: not asked for before */
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

	/* Standing and granting (elect.c). */
	enum group_stage stage;
	uint64_t stage_until_ns;
	uint64_t stand_at_ns; /* STAGE_IDLE: not before */
	unsigned tries; /* in vain since a master was heard */
	uint64_t random;
	uint64_t boot, vote_boot;
	uint64_t seen_term; /* the highest that is heard of */
	uint64_t pre_term; /* STAGE_PRE: asked for */
	uint16_t prevotes, votes; /* masks: who is for us in that, in `term` */
	bool fencing; /* wal has not answered for `fence_epoch` */
	uint16_t fence_epoch;
	bool grant_owed; /* `vote` is to be told when it is durable */
	struct group_end asked_end; /* the log of who is to get the vote */
	uint64_t asked_released;
	uint64_t released; /* a mastership of ours that was given up */

	/* Following and promising (lease.c). */
	uint64_t leader; /* incarnation of who leads `term`; 0 = not known */
	uint64_t heard_ns; /* from it */
	uint64_t due_ns; /* the deadline of the last step */
	uint64_t deaf_ns; /* the loop was away until then */
	uint32_t beat_ms;
	uint8_t rank; /* members to stand before this one */
	bool withheld; /* a vote, for our log is newer */
	uint32_t promise_ms; /* the longest; durable as `vote` is */
	struct {
		uint64_t master, boot, term, until_ns;
	} promise; /* the newest */
	uint64_t bound_until_ns; /* by promises before it, and what else */

	/* Leading (lease.c). */
	uint64_t round, round_at_ns, quorum_ns;
	struct {
		uint64_t sent_ns;
		uint32_t lease_ms; /* what its answers promise */
	} sent[GROUP_ROUNDS];
	struct group_answers of[MEMBER_MAX];
};

void group_step(
    struct group_core *c, const struct group_event *ev, struct group_todo *out);

/* The newest membership in the log, committed or not. */
static inline const struct membership *
group_membership(const struct group_core *c)
{
	return &c->current;
}

/* What it is in now, not durable maybe; what it stored; whom it follows. */
static inline uint64_t
group_term(const struct group_core *c)
{
	return c->term;
}

static inline uint64_t
group_leader(const struct group_core *c)
{
	return c->leader;
}

static inline enum role
group_role(const struct group_core *c)
{
	return c->role;
}

static inline const struct quorums *
group_quorums(const struct group_core *c)
{
	return &c->quorums;
}

/* May a node go from one state to the other? */
bool group_edge_legal(enum role from, enum role to);
const char *group_forced_text(enum group_forced bit);
/* What force has to go over in this boot: an enum group_forced, or 0. */
unsigned group_boot_damage(const struct group_boot *b);

#endif
