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
group_act act_stand;
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
group_act act_removed;
group_act act_step_down;
group_act act_stop;

/* Shared by core and acts. */
/* May this node elect itself without asking anybody? May it commit so? */
bool group_elects_alone(const struct group_core *c);
bool group_commits_alone(const struct group_core *c);
void group_adopt(struct group_core *c, const struct membership *m);
void group_view(const struct group_core *c, struct commit_view *out);
/* Does a master owe the log a membership that is not on its way? */
bool group_member_due(const struct group_core *c);
/* A master that owes the log a membership asks for it (again), once it is time.
 */
void group_member_retry(
    struct group_core *c, uint64_t now_ns, struct group_wants *out);

#endif
