/*
 * What a step of the group's core asks for, by name instead of as a list, and
 * whether the list is one: each kind once, in their order.
 */
#ifndef T_LIB_GROUP_ASKED_H
#define T_LIB_GROUP_ASKED_H

#include "workers/group/core/step.h"

struct asked {
	bool sound; /* the list is as step.h says */
	bool fail, restart;
	const char *why; /* "" if nothing is said */
	unsigned forced;
	bool raise_epoch;
	uint16_t epoch;
	uint64_t ended;
	bool store;
	uint64_t term, vote, vote_boot;
	uint32_t promise_ms;
	bool publish;
	struct commit_view view;
	bool fence;
	bool answer;
	uint64_t answer_to;
	struct group_msg answered;
	bool tell;
	struct group_msg told;
	bool append_member, save_member;
	bool announce;
	enum role from, to;
	bool elected;
	bool ready;
	uint64_t deadline_ns;
};

static void
asked_one(struct asked *a, const struct group_action *x)
{
	switch (x->kind) {
	case GROUP_FAIL:
	case GROUP_RESTART:
		a->fail = x->kind == GROUP_FAIL;
		a->restart = x->kind == GROUP_RESTART;
		a->why = x->end.why;
		a->forced = x->end.forced;
		return;
	case GROUP_FORCE:
		a->forced = x->forced;
		return;
	case GROUP_RAISE_EPOCH:
		a->raise_epoch = true;
		a->epoch = x->epoch.to;
		a->ended = x->epoch.ended;
		return;
	case GROUP_STORE:
		a->store = true;
		a->term = x->store.term;
		a->vote = x->store.vote;
		a->vote_boot = x->store.vote_boot;
		a->promise_ms = x->store.promise_ms;
		return;
	case GROUP_PUBLISH:
		a->publish = true;
		a->view = x->view;
		return;
	case GROUP_FENCE:
		a->fence = true;
		a->sound &= a->raise_epoch && x->fence == a->epoch;
		return;
	case GROUP_ANSWER:
		a->answer = true;
		a->answer_to = x->send.to;
		a->answered = x->send.msg;
		return;
	case GROUP_TELL:
		a->tell = true;
		a->told = x->send.msg;
		return;
	case GROUP_APPEND_MEMBER:
		a->append_member = true;
		return;
	case GROUP_SAVE_MEMBER:
		a->save_member = true;
		return;
	case GROUP_ANNOUNCE:
		a->announce = true;
		a->from = x->role.from;
		a->to = x->role.to;
		a->elected = x->role.elected;
		a->why = x->role.why;
		return;
	case GROUP_SAY:
		a->why = x->why;
		return;
	case GROUP_READY:
		a->ready = true;
		return;
	case GROUP_ACTION_KINDS:
		break;
	}
	a->sound = false;
}

static struct asked
asked_of(const struct group_todo *todo)
{
	struct asked a = {
		.sound = true, .why = "", .deadline_ns = todo->deadline_ns
	};
	unsigned i;

	for (i = 0; i < todo->count; i++) {
		if (i > 0 && todo->action[i].kind <= todo->action[i - 1].kind)
			a.sound = false;
		asked_one(&a, &todo->action[i]);
	}
	if ((a.fail || a.restart) && todo->count != 1)
		a.sound = false;
	/* Whoever sees the new epoch has to find it in the view, too. */
	if (a.raise_epoch && (!a.publish || a.view.epoch != a.epoch))
		a.sound = false;
	return a;
}

#endif
