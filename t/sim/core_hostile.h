/*
 * A member that has the group's key and lies: whatever a message says, no
 * assertion of the core fails, its term takes no jump, and each state that has
 * a deadline keeps it. What the loop tells is the truth.
 */
#ifndef T_SIM_CORE_HOSTILE_H
#define T_SIM_CORE_HOSTILE_H

#include "t/sim/core_members.h"

#define HOSTILE_STEPS 400

static uint64_t
lie(uint64_t truth)
{
	static const uint64_t far_off[] = { 0, 1, UINT64_MAX, UINT64_MAX - 1,
		UINT64_MAX - GROUP_TERM_JUMP, GROUP_TERM_JUMP };

	switch (pick(4)) {
	case 0:
		return far_off[pick(NITEMS(far_off))];
	case 1:
		return rng();
	default:
		return truth + pick(4) - 1;
	}
}

static struct group_msg
lie_make(const struct group_core *c)
{
	struct group_msg m = { .kind = (enum group_msg_kind)pick(7),
		.from = pick(8) == 0 ? lie(ID(0)) : ID(pick(nodes)),
		.boot = lie(1),
		.term = lie(c->term) };
	unsigned i;

	switch (m.kind) {
	case CORE_PREVOTE:
	case CORE_VOTE:
		m.ask.end.term = lie(c->term);
		m.ask.end.vlsn = lie(5);
		m.ask.released = lie(c->promise.term);
		break;
	case CORE_BEAT:
		m.beat.round = lie(c->round);
		m.beat.lease_ms = (uint32_t)lie(c->promise_ms);
		for (i = 0; i < MEMBER_MAX; i++)
			m.beat.rank[i] = (uint8_t)rng();
		break;
	case CORE_PREVOTE_ANSWER:
	case CORE_VOTE_ANSWER:
	case CORE_BEAT_ANSWER:
		m.answer.boot = pick(4) == 0 ? lie(c->boot) : c->boot;
		m.answer.granted = pick(2) == 0;
		m.answer.asked = m.kind == CORE_BEAT_ANSWER ? lie(c->round)
				 : pick(2) == 0             ? c->term
							    : lie(c->pre_term);
		m.answer.end.term = lie(c->term);
		m.answer.end.vlsn = lie(5);
		break;
	}
	return m;
}

/* What the loop does next, with what it was asked for. */
static void
hostile_step(struct group_core *c)
{
	static struct group_todo todo;
	struct group_event ev = { .kind = GROUP_MESSAGE, .end = { 1, 5 } };
	struct group_msg m = lie_make(c);
	uint64_t term = c->term;

	now += pick(10) == 0 ? pick(200 * MS) : pick(MS);
	ev.now_ns = now;
	ev.msg = &m;
	if (c->persisting && pick(4) == 0) {
		ev.kind = GROUP_STORED;
		ev.stored.term = c->term;
		ev.stored.vote = c->vote;
	} else if (c->fencing && pick(4) == 0) {
		ev.kind = GROUP_FENCED;
		ev.fenced.epoch = c->epoch;
		ev.fenced.end = ev.end;
		ev.fenced.member_vlsn = 1;
	} else if (pick(8) == 0) {
		ev.kind = pick(2) == 0 ? GROUP_PEER : GROUP_RELEASED;
		ev.peer.term = m.term;
		ev.peer.incarnation = m.from;
		ev.peer.boot = m.boot;
	} else if (pick(3) == 0) {
		ev.kind = GROUP_TICK;
	}
	group_step(c, &ev, &todo);
	CHECK(c->term >= term, "H1: a term goes back");
	CHECK(c->term - term <= GROUP_TERM_JUMP + 1, "H1: a term jumps");
	CHECK(c->broken || c->persisting || c->fencing ||
		  todo.deadline_ns != GROUP_NEVER,
	    "D1: a state without a deadline");
}

/* True if the seed's lies do no harm. */
static bool
run_hostile(uint64_t seed)
{
	static struct group_core core;
	struct group_boot b = { .incarnation = ID(0),
		.boot = 1,
		.generation = 1,
		.log_first = 1,
		.log_vlsn = 5,
		.log_term = 1,
		.membership = &group,
		.fallback = &group };
	static struct group_todo todo;
	unsigned i;

	rng_state = seed;
	now = NS_PER_S;
	if (setjmp(failed) != 0)
		return false;
	nodes = 2 + (unsigned)pick(NODES_MAX - 1);
	make_group();
	b.group_uuid = group.group_uuid;
	b.term =
	    pick(4) != 0 ? 1 : UINT64_MAX - pick(3) - pick(2) * (1ull << 32);
	b.promise_ms = (uint32_t)pick(3) * 100;
	memset(&core, 0, sizeof(core));
	group_step(&core,
	    &(struct group_event){
		.kind = GROUP_BOOTED, .now_ns = now, .booted = &b },
	    &todo);
	for (i = 0; i < HOSTILE_STEPS; i++)
		hostile_step(&core);
	return true;
}

#endif
