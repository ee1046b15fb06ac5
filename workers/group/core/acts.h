/*
 * What the rows of the core's table do; of no use outside of the core. Each
 * act changes the core (never its role: the row does) and names what the loop
 * has to do.
 */
#ifndef WORKERS_GROUP_CORE_ACTS_H
#define WORKERS_GROUP_CORE_ACTS_H

#include "workers/group/core/step.h"

/* What the acts of a step ask for; step.c makes the list of it. */
struct group_wants {
	bool fail, restart; /* nothing else is done then */
	const char *why; /* constant; NULL: what the first row says */
	unsigned forced;
	bool raise_epoch; /* to the core's */
	bool store; /* the core's term and vote */
	bool publish;
	bool fence; /* for the core's epoch */
	uint64_t answer_to; /* incarnation; 0 = nobody */
	struct group_msg answer;
	bool tell;
	struct group_msg told;
	bool append_member, save_member; /* the core's current one */
	bool announce;
	enum role from, to;
	bool elected;
	bool ready;
};

typedef void group_act(
    struct group_core *, const struct group_event *, struct group_wants *);

group_act act_join;
group_act act_bar;
group_act act_refuse;
group_act act_stand_alone;
group_act act_spent;
group_act act_voted;
group_act act_lead;
group_act act_store_failed;
group_act act_term_appended;
group_act act_term_committed;
group_act act_member_appended;
group_act act_member_refused;
group_act act_member_committed;
group_act act_member_cut;
group_act act_master_removed;
group_act act_removed;
group_act act_step_down;
group_act act_stop;

/* elect.c */
group_act act_silent;
group_act act_stand;
group_act act_timed_out;
group_act act_prevote_answer;
group_act act_grant;
group_act act_grant_again;
group_act act_vote_refuse;
group_act act_fenced;
group_act act_hand_over;

/* lease.c */
group_act act_round;
group_act act_round_answered;
group_act act_follow;
group_act act_adopt;
group_act act_promise_longer;
group_act act_beat_refuse;
group_act act_released;

/* Shared by core and acts. */
/* Does nobody else vote, so that nobody is to be asked? */
bool group_only_voter(const struct group_core *c);
/* Does nobody else vote, and did nobody ever get a promise? */
bool group_alone(const struct group_core *c);
/* Is there anybody else, to send rounds to? */
bool group_others(const struct group_core *c);
/* May this node commit without asking anybody? */
bool group_commits_alone(const struct group_core *c);
/* What is on its way must be answered first. */
static inline bool
group_busy(const struct group_core *c)
{
	return c->persisting || c->fencing;
}
/*
 * Nothing may commit under what is over: the epoch goes up before whatever
 * comes next, and the view tells of it. There are 65,535 of them in a region's
 * life; false: they are used up, the node boots again.
 */
bool group_epoch_raise(struct group_core *c, struct group_wants *out);
/* This node enters `term` without a master, its vote not given yet. */
void group_term_enter(struct group_core *c, uint64_t term);
/* (term, vote) as they are now are to be durable. */
void group_store(struct group_core *c, struct group_wants *out);
/* Index of another member that votes, or -1. */
int group_voter(const struct group_core *c, uint64_t incarnation);
/* A message of this core's, to be filled in. */
struct group_msg
group_msg(const struct group_core *c, enum group_msg_kind kind);

/* elect.c */
uint64_t group_stand_moment(const struct group_core *c);
/* 0 .. n - 1 */
uint64_t group_random(struct group_core *c, uint64_t n);
/* A message has told of it. */
void group_heard_of(struct group_core *c, uint64_t term);
/* Has it decided nothing yet in the stage that it is in, for too long? */
bool group_stage_over(const struct group_core *c, uint64_t now_ns);

/* lease.c */
uint64_t group_lease_ns(const struct group_core *c);
/* Was the loop away when the last deadline came? */
void group_away(struct group_core *c, uint64_t now_ns);
/* Until when this node helps `asker` to no term. */
uint64_t
group_bound(const struct group_core *c, uint64_t asker, uint64_t released);
void group_lease_begin(struct group_core *c, uint64_t now_ns);
void group_lease_compute(struct group_core *c);
/* The role ends; what the lease allowed binds this node, too. */
void group_lease_end(struct group_core *c);
/* The members have other numbers. */
void group_rounds_move(struct group_core *c, const struct membership *before);
/* When a master that no commit quorum answers steps down. */
uint64_t group_lapse_moment(const struct group_core *c);
void group_adopt(struct group_core *c, const struct membership *m);
void group_view(const struct group_core *c, struct commit_view *out);
/* Does a master owe the log a membership that is not on its way? */
bool group_member_due(const struct group_core *c);
/* A master that owes the log a membership asks for it (again), once it is time.
 */
void group_member_retry(
    struct group_core *c, uint64_t now_ns, struct group_wants *out);

#endif
