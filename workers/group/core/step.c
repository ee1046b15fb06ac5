/*
 * The consensus core: what an event means in this state (a fact), one table
 * row per exception, and the list that comes of what the rows' acts ask for.
 * Contract and rules: step.h. The table itself is table.c.
 */
#include "workers/group/core/step.h"

#include <string.h>

#include "shm/assert.h"
#include "workers/group/core/table.h"

/* A step follows at most this many facts: joined, then alone or spent. */
#define FACTS_PER_STEP 4

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
group_elects_alone(const struct group_core *c)
{
	return quorum_has(&c->quorums.elect, own_set(c)) &&
	       c->current.member[c->self].type == NODE_ELECTABLE;
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
}

void
group_view(const struct group_core *c, struct commit_view *out)
{
	bool master = c->role == ROLE_MASTER;

	memset(out, 0, sizeof(*out));
	ASSERT(!master || c->won_term == c->stored_term);
	out->term = c->stored_term;
	out->epoch = c->epoch;
	out->role = (uint8_t)c->role;
	out->self = c->self < 0 ? MEMBER_MAX : (uint8_t)c->self;
	out->master = master ? (int8_t)c->self : -1;
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
	ASSERT(ev->stored.term == c->term && ev->stored.vote == c->vote);
	c->persisting = false;
	c->stored_term = c->term;
	if (c->self >= 0 && c->vote == c->incarnation)
		c->votes |= (uint16_t)(1u << c->self);
	if (quorum_has(
		&c->quorums.elect, quorum_set(c->quorums.voters, c->votes)))
		return FACT_ELECTED;
	return FACT_VOTED;
}

static enum group_fact
tick_fact(const struct group_core *c, const struct group_event *ev)
{
	if (c->role == ROLE_MASTER && ev->now_ns >= c->lease_until_ns &&
	    c->lease_until_ns != UINT64_MAX)
		return FACT_LAPSED;
	return FACT_COUNT;
}

static enum group_fact
member_committed_fact(const struct group_core *c, const struct group_event *ev)
{
	if (ev->vlsn != c->current.vlsn ||
	    member_same(&c->current, &c->previous))
		return FACT_COUNT;
	return c->self < 0 ? FACT_REMOVED : FACT_MEMBER_COMMITTED;
}

/* Is it of a term that this process has won? */
static bool
is_ours(const struct group_core *c, const struct group_event *ev)
{
	return c->won_term != 0 && ev->term.term == c->won_term;
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
	if (c->role != ROLE_UNKNOWN || c->persisting || c->broken)
		return FACT_COUNT;
	if (out->fail || out->restart)
		return FACT_COUNT;
	if (!group_elects_alone(c))
		return FACT_COUNT;
	return c->term == UINT64_MAX || c->epoch == UINT16_MAX ? FACT_SPENT
							       : FACT_ALONE;
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
	if (out->why == NULL)
		out->why = row != NULL ? row->why : group_ignores[c->role];
	if (row == NULL)
		return;
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
	a = todo_add(todo, GROUP_STORE);
	a->store.term = c->term;
	a->store.vote = c->vote;
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

	if (c->role == ROLE_MASTER && c->lease_until_ns < at)
		at = c->lease_until_ns;
	if (group_member_due(c) && c->member_retry_ns < at)
		at = c->member_retry_ns;
	return at;
}

void
group_step(
    struct group_core *c, const struct group_event *ev, struct group_todo *out)
{
	struct group_wants wants = { .why = NULL };
	enum group_fact fact;
	unsigned i;

	out->count = 0;
	out->deadline_ns = GROUP_NEVER;
	if (c->broken)
		return;
	fact = event_fact(c, ev, &wants);
	for (i = 0; fact != FACT_COUNT; i++) {
		ASSERT(i < FACTS_PER_STEP);
		row_apply(c, row_find(c->role, fact), ev, &wants);
		fact = settled_fact(c, &wants);
	}
	group_member_retry(c, ev->now_ns, &wants);
	c->broken = wants.fail || wants.restart;
	todo_make(c, &wants, out);
	if (!c->broken)
		out->deadline_ns = next_deadline(c);
}
