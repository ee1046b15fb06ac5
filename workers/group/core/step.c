/*
 * The consensus core: what an event means in this state (a fact), one table
 * row per exception, and the list that comes of what the rows' acts ask for.
 * Contract and rules: step.h. The table itself is table.c.
 */
#include "workers/group/core/step.h"

#include <string.h>

#include "shm/assert.h"
#include "workers/group/core/table.h"

/* Of a core: what no step lowers. */
struct group_rise {
	uint16_t epoch;
	uint64_t term, stored_term, won_term, seen_term, round;
};

/* What follows by itself: stands, or is elected. */
#define FACTS_PER_STEP 2

static const struct {
	enum role from;
	uint8_t to; /* mask */
} edges[] = {
	{ ROLE_DETACHED, 1u << ROLE_UNKNOWN | 1u << ROLE_SHUTDOWN },
	{ ROLE_UNKNOWN,
	    1u << ROLE_MASTER | 1u << ROLE_REPLICA | 1u << ROLE_SHUTDOWN },
	{ ROLE_REPLICA,
	    1u << ROLE_UNKNOWN | 1u << ROLE_MASTER | 1u << ROLE_SHUTDOWN },
	{ ROLE_MASTER,
	    1u << ROLE_UNKNOWN | 1u << ROLE_REPLICA | 1u << ROLE_SHUTDOWN },
	{ ROLE_SHUTDOWN, 0 },
};
_Static_assert(NITEMS(edges) == ROLE_COUNT, "one row per state");

bool
group_edge_legal(enum role from, enum role to)
{
	ASSERT(from < ROLE_COUNT && to < ROLE_COUNT);
	return (edges[from].to & 1u << to) != 0;
}

/* This node as a set of voters; empty if it is none. */
static unsigned
own_set(const struct group_core *c)
{
	return c->self < 0
		   ? 0
		   : quorum_set(c->quorums.voters, (uint16_t)(1u << c->self));
}

bool
group_only_voter(const struct group_core *c)
{
	return c->self >= 0 && c->quorums.voters == 1u << c->self;
}

bool
group_alone(const struct group_core *c)
{
	return group_only_voter(c) && c->promise_ms == 0;
}

bool
group_others(const struct group_core *c)
{
	return c->current.count > (c->self < 0 ? 0u : 1u);
}

bool
group_commits_alone(const struct group_core *c)
{
	return quorum_has(&c->quorums.commit, own_set(c));
}

/* Take over a membership: who we are in it, and what a quorum is. */
void
group_adopt(struct group_core *c, const struct membership *m)
{
	ASSERT(member_check(m) == NULL);
	if (&c->current != m)
		c->current = *m;
	member_quorums(m, &c->quorums);
	c->self = member_find(m, c->incarnation);
	ASSERT(c->self < (int)c->current.count);
}

void
group_view(const struct group_core *c, struct commit_view *out)
{
	bool master = c->role == ROLE_MASTER;

	memset(out, 0, sizeof(*out));
	ASSERT(!master || c->won_term == c->stored_term);
	ASSERT(!master || !c->readonly);
	out->term = c->stored_term;
	out->epoch = c->epoch;
	out->role = (uint8_t)c->role;
	out->self = c->self < 0 ? MEMBER_MAX : (uint8_t)c->self;
	out->master = -1;
	if (master || c->role == ROLE_REPLICA)
		out->master = (int8_t)member_find(&c->current, c->leader);
	out->member_count = (uint8_t)c->current.count;
	out->voters = c->quorums.voters;
	out->readonly = c->readonly;
	out->quorum = c->quorums.commit;
	out->lease_until_ns = master ? c->lease_until_ns : 0;
}

static enum group_fact
stored_fact(struct group_core *c, const struct group_event *ev)
{
	ASSERT(c->persisting);
	ASSERT(ev->stored.term == c->term);
	ASSERT(ev->stored.vote == c->vote);
	c->persisting = false;
	c->stored_term = c->term;
	if (c->self >= 0 && c->stage == STAGE_VOTE)
		c->votes |= (uint16_t)(1u << c->self);
	return FACT_VOTED;
}

static bool
elects(const struct group_core *c, uint16_t votes)
{
	return quorum_has(
	    &c->quorums.elect, quorum_set(c->quorums.voters, votes));
}

/* Is this node in a state that time may lead to an election from? */
static bool
may_stand(const struct group_core *c)
{
	return (c->role == ROLE_UNKNOWN || c->role == ROLE_REPLICA) &&
	       !group_busy(c) && !group_alone(c);
}

static enum group_fact
tick_fact(const struct group_core *c, const struct group_event *ev)
{
	if (c->role == ROLE_MASTER) {
		if (ev->now_ns >= group_lapse_moment(c))
			return FACT_LAPSED;
		return group_others(c) && ev->now_ns >= c->round_at_ns
			   ? FACT_ROUND_DUE
			   : FACT_COUNT;
	}
	if (!may_stand(c))
		return FACT_COUNT;
	if (c->stage != STAGE_IDLE)
		return group_stage_over(c, ev->now_ns) ? FACT_TIMED_OUT
						       : FACT_COUNT;
	return ev->now_ns >= group_stand_moment(c) ? FACT_SILENT : FACT_COUNT;
}

static enum group_fact
member_committed_fact(const struct group_core *c, const struct group_event *ev)
{
	if (ev->vlsn != c->current.vlsn ||
	    member_same(&c->current, &c->previous))
		return FACT_COUNT;
	if (c->self < 0 ||
	    (c->role == ROLE_MASTER &&
		c->current.member[c->self].type != NODE_ELECTABLE))
		return FACT_REMOVED;
	return FACT_MEMBER_COMMITTED;
}

/* Is it of a term that this process has won? */
static bool
is_ours(const struct group_core *c, const struct group_event *ev)
{
	return c->won_term != 0 && ev->term.term == c->won_term;
}

/* ---- messages ---- */

static enum group_fact
vote_asked_fact(const struct group_core *c, const struct group_event *ev)
{
	const struct group_msg *m = ev->msg;

	if (group_bound(c, m->from, m->ask.released) > ev->now_ns)
		return FACT_VOTE_REFUSED;
	if (m->term == c->stored_term && !group_busy(c) && c->vote == m->from &&
	    c->vote_boot == m->boot)
		return FACT_VOTE_GIVEN;
	if (m->term <= c->term || !end_covers(m->ask.end, ev->end))
		return FACT_VOTE_REFUSED;
	/* It asks again. */
	return group_busy(c) ? FACT_COUNT : FACT_VOTE_ASKED;
}

/* A vote, or a pre-vote, counts for the boot and the term that asked for it. */
static enum group_fact
vote_answer_fact(struct group_core *c, const struct group_event *ev)
{
	const struct group_msg *m = ev->msg;
	bool pre = m->kind == CORE_PREVOTE_ANSWER;
	int i = group_voter(c, m->from);

	group_heard_of(c, m->term);
	if (i < 0 || !m->answer.granted || m->answer.boot != c->boot)
		return FACT_COUNT;
	if (pre && c->stage == STAGE_PRE && m->answer.asked == c->pre_term)
		c->prevotes |= (uint16_t)(1u << i);
	if (!pre && c->stage == STAGE_VOTE && m->answer.asked == c->term)
		c->votes |= (uint16_t)(1u << i);
	return FACT_COUNT;
}

static enum group_fact
beat_fact(const struct group_core *c, const struct group_event *ev)
{
	const struct group_msg *m = ev->msg;

	if (m->term < c->term)
		return FACT_BEAT_OLD;
	if (group_busy(c) || m->beat.lease_ms > GROUP_LEASE_MAX_MS)
		return FACT_COUNT;
	if (m->term > c->term)
		return FACT_OUTRANKED;
	if (c->role == ROLE_MASTER || (c->leader != 0 && c->leader != m->from))
		return FACT_COUNT;
	return m->beat.lease_ms > c->promise_ms ? FACT_PROMISE_LONGER
						: FACT_FOLLOWED;
}

static enum group_fact
beat_answer_fact(struct group_core *c, const struct group_event *ev)
{
	const struct group_msg *m = ev->msg;

	if (c->role != ROLE_MASTER || m->answer.boot != c->boot)
		return FACT_COUNT;
	if (m->term > c->term && !m->answer.granted) {
		group_heard_of(c, m->term);
		return member_find(&c->current, m->from) >= 0 ? FACT_OUTRUN
							      : FACT_COUNT;
	}
	if (m->term != c->term || !m->answer.granted ||
	    m->answer.asked > c->round || member_find(&c->current, m->from) < 0)
		return FACT_COUNT;
	return FACT_ROUND_ANSWERED;
}

/* Terms that somebody else uses up are used up for all. */
static bool
is_near(const struct group_core *c, uint64_t term)
{
	return term <= c->term ||
	       (term - c->term <= GROUP_TERM_JUMP && term != UINT64_MAX);
}

static enum group_fact
message_fact(struct group_core *c, const struct group_event *ev)
{
	/* Who takes part in nothing answers nobody; nor does it to itself, or
	   to nobody: 0 stands for that in a vote. */
	if (c->role == ROLE_DETACHED || c->role == ROLE_SHUTDOWN ||
	    ev->msg->from == c->incarnation || ev->msg->from == 0 ||
	    !is_near(c, ev->msg->term))
		return FACT_COUNT;
	switch (ev->msg->kind) {
	case CORE_PREVOTE:
		return FACT_PREVOTE_ASKED;
	case CORE_PREVOTE_ANSWER:
	case CORE_VOTE_ANSWER:
		return vote_answer_fact(c, ev);
	case CORE_VOTE:
		return vote_asked_fact(c, ev);
	case CORE_BEAT:
		return beat_fact(c, ev);
	case CORE_BEAT_ANSWER:
		return beat_answer_fact(c, ev);
	}
	return FACT_COUNT;
}

/* An obituary: what its boots before have been promised is void. */
static enum group_fact
peer_fact(struct group_core *c, const struct group_event *ev)
{
	if (c->promise.master == ev->peer.incarnation &&
	    c->promise.boot < ev->peer.boot)
		c->promise.until_ns = 0;
	return FACT_COUNT;
}

static enum group_fact
released_fact(struct group_core *c, const struct group_event *ev)
{
	if (c->promise.master != ev->peer.incarnation ||
	    c->promise.boot != ev->peer.boot ||
	    c->promise.term != ev->peer.term)
		return FACT_COUNT;
	c->promise.until_ns = 0;
	if (c->role != ROLE_REPLICA || group_busy(c) ||
	    c->term != ev->peer.term || c->leader != ev->peer.incarnation)
		return FACT_COUNT;
	return FACT_RELEASED;
}

/* What an event means here; FACT_COUNT = nothing (any more). */
static enum group_fact
event_fact(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	switch (ev->kind) {
	case GROUP_BOOTED:
		ASSERT(c->current.count == 0);
		return group_boot_fact(c, ev->booted, out);
	case GROUP_TICK:
		return tick_fact(c, ev);
	case GROUP_STORED:
		return stored_fact(c, ev);
	case GROUP_STORE_FAILED:
		c->persisting = false;
		return FACT_STORE_FAILED;
	case GROUP_FENCED:
		return c->fencing && ev->fenced.epoch >= c->fence_epoch
			   ? FACT_FENCED
			   : FACT_COUNT;
	case GROUP_MESSAGE:
		return message_fact(c, ev);
	case GROUP_PEER:
		return peer_fact(c, ev);
	case GROUP_RELEASED:
		return released_fact(c, ev);
	case GROUP_TERM_APPENDED:
		return is_ours(c, ev) ? FACT_TERM_APPENDED : FACT_COUNT;
	case GROUP_TERM_COMMITTED:
		return is_ours(c, ev) ? FACT_TERM_COMMITTED : FACT_COUNT;
	case GROUP_MEMBER_APPENDED:
		return FACT_MEMBER_APPENDED;
	case GROUP_MEMBER_REFUSED:
		return FACT_MEMBER_REFUSED;
	case GROUP_MEMBER_COMMITTED:
		return member_committed_fact(c, ev);
	case GROUP_MEMBER_CUT:
		return c->current.vlsn > ev->vlsn ? FACT_MEMBER_CUT
						  : FACT_COUNT;
	case GROUP_STOP:
		return FACT_STOP;
	}
	ASSERT(!"an event of the enum");
	return FACT_COUNT;
}

/* What follows by itself from where the core now stands. */
static enum group_fact
settled_fact(const struct group_core *c, const struct group_wants *out)
{
	bool spent = c->seen_term == UINT64_MAX || c->term == UINT64_MAX ||
		     c->epoch == UINT16_MAX;

	if (c->role != ROLE_UNKNOWN || group_busy(c) || c->broken ||
	    out->fail || out->restart)
		return FACT_COUNT;
	if (c->stage == STAGE_VOTE && elects(c, c->votes))
		return FACT_ELECTED;
	if (c->stage == STAGE_PRE && elects(c, c->prevotes))
		return spent ? FACT_SPENT : FACT_PREVOTED;
	if (group_alone(c) && c->stage != STAGE_VOTE)
		return spent ? FACT_SPENT : FACT_ALONE;
	return FACT_COUNT;
}

static const struct group_row *
row_find(enum role state, enum group_fact fact)
{
	size_t i;

	for (i = 0; i < group_table_rows; i++)
		if (group_table[i].state == state &&
		    group_table[i].fact == fact)
			return &group_table[i];
	return NULL;
}

/* The only place that changes the role. */
static void
row_apply(struct group_core *c, const struct group_row *row,
    const struct group_event *ev, struct group_wants *out)
{
	if (row == NULL) {
		if (out->why == NULL)
			out->why = group_ignores[c->role];
		return;
	}
	/* Of two rows that one tells why that changed the role. */
	if (out->why == NULL || row->next != c->role)
		out->why = row->why;
	if (row->next != c->role) {
		ASSERT(group_edge_legal(c->role, row->next));
		ASSERT(!out->announce);
		out->announce = true;
		out->from = c->role;
		out->to = row->next;
		c->role = row->next;
	}
	if (row->act != NULL)
		row->act(c, ev, out);
}

/* ---- the list ---- */

/* The next action of the list; they come in the order of their kinds. */
static struct group_action *
todo_add(struct group_todo *todo, enum group_action_kind kind)
{
	struct group_action *a;

	ASSERT(todo->count == 0 || todo->action[todo->count - 1].kind < kind);
	ASSERT(todo->count < GROUP_ACTIONS_MAX);
	a = &todo->action[todo->count++];
	a->kind = kind;
	return a;
}

static void
todo_end(struct group_todo *todo, const struct group_wants *w)
{
	struct group_action *a =
	    todo_add(todo, w->fail ? GROUP_FAIL : GROUP_RESTART);

	a->end.why = w->why;
	a->end.forced = w->forced;
}

/* What is done at once, so that nothing depends on what is over. */
static void
todo_epoch(const struct group_core *c, const struct group_wants *w,
    struct group_todo *todo)
{
	struct group_action *a;

	/* Nothing commits under a mastership that is over. */
	ASSERT(!w->announce || w->from != ROLE_MASTER || w->raise_epoch ||
	       c->epoch == UINT16_MAX);
	if (!w->raise_epoch)
		return;
	a = todo_add(todo, GROUP_RAISE_EPOCH);
	a->epoch.to = c->epoch;
	a->epoch.ended =
	    w->announce && w->from == ROLE_MASTER ? c->won_term : 0;
}

static void
todo_store(const struct group_core *c, const struct group_wants *w,
    struct group_todo *todo)
{
	struct group_action *a;

	if (!w->store)
		return;
	ASSERT(c->persisting);
	ASSERT(c->term >= c->stored_term);
	a = todo_add(todo, GROUP_STORE);
	a->store.term = c->term;
	a->store.vote = c->vote;
	a->store.vote_boot = c->vote_boot;
	a->store.promise_ms = c->promise_ms;
}

static void
todo_send(const struct group_wants *w, struct group_todo *todo)
{
	struct group_action *a;

	if (w->answer_to != 0) {
		a = todo_add(todo, GROUP_ANSWER);
		a->send.to = w->answer_to;
		a->send.msg = w->answer;
	}
	if (w->tell) {
		a = todo_add(todo, GROUP_TELL);
		a->send.to = 0;
		a->send.msg = w->told;
	}
}

static void
todo_say(const struct group_core *c, const struct group_wants *w,
    struct group_todo *todo)
{
	struct group_action *a;

	if (w->announce) {
		a = todo_add(todo, GROUP_ANNOUNCE);
		a->role.from = w->from;
		a->role.to = w->to;
		a->role.elected = w->elected;
		a->role.term = c->stored_term;
		a->role.why = w->why;
	} else if (w->why != NULL) {
		todo_add(todo, GROUP_SAY)->why = w->why;
	}
}

static void
todo_make(const struct group_core *c, const struct group_wants *w,
    struct group_todo *todo)
{
	if (w->fail || w->restart) {
		todo_end(todo, w);
		return;
	}
	if (w->forced != 0)
		todo_add(todo, GROUP_FORCE)->forced = w->forced;
	todo_epoch(c, w, todo);
	todo_store(c, w, todo);
	if (w->publish)
		group_view(c, &todo_add(todo, GROUP_PUBLISH)->view);
	if (w->fence) {
		ASSERT(c->fencing);
		ASSERT(c->fence_epoch == c->epoch);
		todo_add(todo, GROUP_FENCE)->fence = c->fence_epoch;
	}
	todo_send(w, todo);
	if (w->append_member)
		todo_add(todo, GROUP_APPEND_MEMBER)->membership = &c->current;
	if (w->save_member)
		todo_add(todo, GROUP_SAVE_MEMBER)->membership = &c->current;
	todo_say(c, w, todo);
	if (w->ready)
		(void)todo_add(todo, GROUP_READY);
}

/* The next moment at which time alone changes something. */
static uint64_t
next_deadline(const struct group_core *c)
{
	uint64_t at = GROUP_NEVER;

	if (c->role == ROLE_MASTER) {
		at = group_lapse_moment(c);
		if (group_others(c) && c->round_at_ns < at)
			at = c->round_at_ns;
	} else if (may_stand(c)) {
		at = c->stage == STAGE_IDLE ? group_stand_moment(c)
					    : c->stage_until_ns;
	}
	if (group_member_due(c) && c->member_retry_ns < at)
		at = c->member_retry_ns;
	return at;
}

/* ---- what holds between two steps ---- */

static void
check_role(const struct group_core *c)
{
	bool master = c->role == ROLE_MASTER;

	/* A lease is a master's, and a master's term is won and durable. */
	ASSERT(master || c->lease_until_ns == 0);
	ASSERT(!master || c->won_term == c->term);
	ASSERT(!master || c->stored_term == c->term);
	ASSERT(!master || c->leader == c->incarnation);
	ASSERT(!master || c->stage == STAGE_IDLE);
	ASSERT(!master || !group_busy(c));
	ASSERT(c->role != ROLE_REPLICA || c->leader != 0);
	ASSERT(c->role != ROLE_REPLICA || c->leader != c->incarnation);
	ASSERT(!c->term_committed || c->term_vlsn != 0);
}

/* The vote: fenced, then stored, then told, and one for each term. */
static void
check_vote(const struct group_core *c)
{
	ASSERT(c->won_term <= c->stored_term);
	ASSERT(c->stored_term <= c->term);
	ASSERT(group_busy(c) || c->stored_term == c->term);
	ASSERT(!c->fencing || !c->persisting);
	ASSERT(!c->fencing || c->fence_epoch <= c->epoch);
	ASSERT(!c->fencing || c->stored_term < c->term);
	ASSERT(!c->grant_owed || c->persisting);
	ASSERT(!c->grant_owed || c->vote != 0);
	ASSERT(c->stage != STAGE_FENCE || c->fencing);
	ASSERT(c->stage != STAGE_FENCE || c->vote == c->incarnation);
	ASSERT(c->stage != STAGE_VOTE || c->vote == c->incarnation);
	/* The own vote counts once it is durable, as every other one. */
	ASSERT(c->stage != STAGE_VOTE || c->self < 0 ||
	       (c->votes >> c->self & 1) == 0 || c->stored_term == c->term);
}

static void
check(const struct group_core *c)
{
	check_role(c);
	check_vote(c);
	ASSERT(c->self < (int)c->current.count || c->current.count == 0);
}

/* What never falls, whatever the event. */
static void
check_rise(const struct group_core *c, const struct group_rise *before)
{
	ASSERT(c->epoch >= before->epoch);
	ASSERT(c->term >= before->term);
	ASSERT(c->stored_term >= before->stored_term);
	ASSERT(c->won_term >= before->won_term);
	ASSERT(c->seen_term >= before->seen_term);
	ASSERT(c->round >= before->round);
}

void
group_step(
    struct group_core *c, const struct group_event *ev, struct group_todo *out)
{
	const struct group_rise before = { c->epoch, c->term, c->stored_term,
		c->won_term, c->seen_term, c->round };
	struct group_wants wants = { .why = NULL };
	enum group_fact fact;
	unsigned i;

	out->count = 0;
	out->deadline_ns = GROUP_NEVER;
	if (c->broken)
		return;
	check(c);
	group_away(c, ev->now_ns);
	fact = event_fact(c, ev, &wants);
	if (fact != FACT_COUNT)
		row_apply(c, row_find(c->role, fact), ev, &wants);
	for (i = 0; (fact = settled_fact(c, &wants)) != FACT_COUNT; i++) {
		ASSERT(i < FACTS_PER_STEP);
		row_apply(c, row_find(c->role, fact), ev, &wants);
	}
	group_member_retry(c, ev->now_ns, &wants);
	c->broken = wants.fail || wants.restart;
	check_rise(c, &before);
	todo_make(c, &wants, out);
	if (!c->broken) {
		check(c);
		out->deadline_ns = next_deadline(c);
	}
	c->due_ns = out->deadline_ns;
}
