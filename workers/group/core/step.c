/*
 * The consensus core: what an input means in this state (a fact), one table
 * row per (state, fact), and the few actions the rows name. Contract and
 * rules: group_core.h. The table itself is group_table.c.
 */
#include "workers/group/group_core.h"

#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "workers/group/group_acts.h"

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

/* Does nobody else vote? Then what force goes over harms nobody else. */
static bool
only_voter(const struct group_core *c)
{
	return c->self >= 0 && c->quorums.voters == 1u << c->self;
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

/*
 * What a disk says at boot that a node must not go on with. In a group of one
 * nobody else can be harmed by it, so force may: those have a bit.
 */
static const char *
boot_damage(const struct group_boot *b, unsigned *bit)
{
	const struct membership *m = b->membership;

	*bit = GROUP_FORCED_TERM;
	if (b->log_term > b->term)
		return "the log has records of a newer term than the state "
		       "file: the state file is older than the log";
	*bit = GROUP_FORCED_LOG;
	if (m->vlsn > b->log_vlsn)
		return "the members file names a newer record than the log "
		       "holds: the end of the log is lost";
	*bit = GROUP_FORCED_MEMBERS;
	if (m->vlsn == 0 && b->log_first > 1)
		return "neither the log nor the members file holds the "
		       "group's membership";
	*bit = 0;
	return NULL;
}

unsigned
group_boot_damage(const struct group_boot *b)
{
	unsigned bit;

	(void)boot_damage(b, &bit);
	return bit;
}

/*
 * "Whatever skips records or bypasses a quorum (force) starts a new generation
 * with a membership of the survivors" (DESIGN, 8): in a group of one that is
 * this node. The node file says it first; the record follows with this term.
 */
static void
boot_renew(struct group_core *c, const struct group_boot *b)
{
	if (!only_voter(c) || c->current.generation >= b->generation)
		return;
	c->current.generation = b->generation;
	c->current.vlsn = 0;
}

static const char *
boot_foreign(const struct group_core *c, const struct group_boot *b)
{
	if (memcmp(b->group_uuid, c->current.group_uuid, 16) != 0)
		return "the membership is of another group";
	if (b->generation != c->current.generation)
		return "the membership is of another generation of the group";
	if (c->self < 0)
		return "this node's incarnation is not in the group's "
		       "membership: its data directory was replaced";
	return NULL;
}

/* Which of joined, barred, refused a boot is; takes over what was read. */
static enum group_fact
boot_fact(
    struct group_core *c, const struct group_boot *b, struct group_actions *out)
{
	unsigned bit;

	c->incarnation = b->incarnation;
	c->term = c->stored_term = b->term;
	c->vote = b->vote;
	group_adopt(c, b->membership);
	if (b->fallback != NULL)
		c->previous = *b->fallback;
	if (b->mode == RECOVERY_READONLY) {
		c->readonly = true;
		return FACT_BARRED;
	}
	boot_renew(c, b);
	out->why = boot_foreign(c, b);
	if (out->why != NULL)
		return FACT_REFUSED;
	if (b->mode == RECOVERY_FORCE && !only_voter(c)) {
		out->why = "recovery mode force in a group of several: this "
			   "node neither votes nor acknowledges, it must be "
			   "restored from another member";
		return FACT_BARRED;
	}
	out->why = boot_damage(b, &bit);
	if (out->why == NULL)
		return FACT_JOINED;
	if (b->mode != RECOVERY_FORCE) {
		out->forced = bit;
		return FACT_REFUSED;
	}
	out->why = NULL;
	out->forced = boot_forced(c, b);
	return FACT_JOINED;
}

static enum group_fact
persisted_fact(struct group_core *c, const struct group_event *ev)
{
	ASSERT(c->persisting);
	ASSERT(ev->term == c->term && ev->vote == c->vote);
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

/* What an input means here; FACT_COUNT = nothing (any more). */
static enum group_fact
input_fact(struct group_core *c, const struct group_event *ev,
    struct group_actions *out)
{
	bool mine = ev->term == c->won_term && c->won_term != 0;

	switch (ev->input) {
	case GROUP_BOOTED:
		return boot_fact(c, ev->booted, out);
	case GROUP_TICK:
		return tick_fact(c, ev);
	case GROUP_PERSISTED:
		return persisted_fact(c, ev);
	case GROUP_PERSIST_FAILED:
		c->persisting = false;
		return FACT_STORE_FAILED;
	case GROUP_TERM_APPENDED:
		return mine ? FACT_TERM_APPENDED : FACT_COUNT;
	case GROUP_TERM_COMMITTED:
		return mine ? FACT_TERM_COMMITTED : FACT_COUNT;
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
	ASSERT(!"an input of the enum");
	return FACT_COUNT;
}

/* What follows by itself from where the core now stands. */
static enum group_fact
settled_fact(const struct group_core *c, const struct group_actions *out)
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
    const struct group_event *ev, struct group_actions *out)
{
	if (row->next != c->role) {
		ASSERT(group_edge_legal(c->role, row->next));
		ASSERT(!out->announce);
		out->announce = true;
		out->from = c->role;
		out->to = row->next;
		if (out->why == NULL)
			out->why = row->why;
		c->role = row->next;
	}
	if (row->act != NULL)
		row->act(c, ev, out);
	if (out->why == NULL)
		out->why = row->why;
}

void
group_step(struct group_core *c, const struct group_event *ev,
    struct group_actions *out)
{
	const struct group_row *row;
	enum group_fact fact;
	unsigned i;

	memset(out, 0, sizeof(*out));
	fact = input_fact(c, ev, out);
	for (i = 0; fact != FACT_COUNT; i++) {
		ASSERT(i < FACTS_PER_STEP);
		row = row_find(c->role, fact);
		ASSERT(row != NULL);
		row_apply(c, row, ev, out);
		fact = settled_fact(c, out);
	}
	if (ev->input == GROUP_TICK)
		group_member_retry(c, out);
	if (out->publish)
		group_view(c, &out->view);
	if (out->fail || out->restart)
		c->broken = true;
	if (out->why == NULL)
		out->why = "";
}
