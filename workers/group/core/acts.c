/*
 * The acts of the core's table; see acts.h for their contract.
 */
#include "workers/group/core/acts.h"

#include "shm/assert.h"
#include "shm/bits.h"

bool
group_epoch_raise(struct group_core *c, struct group_wants *out)
{
	if (c->epoch == UINT16_MAX) {
		out->restart = true;
		out->why = "the log epochs of this boot are used up";
		return false;
	}
	c->epoch++;
	out->raise_epoch = true;
	out->publish = true;
	return true;
}

static void
give_up(const struct group_core *c, struct group_wants *out, const char *why)
{
	out->why = why;
	if (c->ready)
		out->restart = true;
	else
		out->fail = true;
}

static void
say_ready(struct group_core *c, struct group_wants *out)
{
	out->ready = !c->ready;
	c->ready = true;
}

void
group_term_enter(struct group_core *c, uint64_t term)
{
	ASSERT(term > c->term);
	ASSERT(!group_busy(c));
	c->term = term;
	c->vote = c->vote_boot = 0;
	c->votes = c->prevotes = 0;
	c->leader = 0;
	c->grant_owed = false;
}

void
group_store(struct group_core *c, struct group_wants *out)
{
	ASSERT(!group_busy(c));
	c->persisting = true;
	out->store = true;
}

int
group_voter(const struct group_core *c, uint64_t incarnation)
{
	int i = member_find(&c->current, incarnation);

	if (i < 0 || i == c->self || (c->quorums.voters >> i & 1) == 0)
		return -1;
	return i;
}

struct group_msg
group_msg(const struct group_core *c, enum group_msg_kind kind)
{
	struct group_msg m = { .kind = kind };

	m.from = c->incarnation;
	m.boot = c->boot;
	m.term = c->term;
	return m;
}

/* What a promise of the boot before may have been is waited for. */
static void
join_others(struct group_core *c, uint64_t now_ns)
{
	c->random = c->boot * 31 + c->incarnation;
	c->bound_until_ns = now_ns + c->promise_ms * NS_PER_MS;
	c->heard_ns = now_ns;
	c->stand_at_ns = now_ns + (uint64_t)(c->self < 0 ? 0 : c->self) *
				      GROUP_RANK_MS * NS_PER_MS;
}

void
act_join(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	c->member_wanted = c->current.vlsn == 0;
	out->publish = true;
	/* Boot waits for no peer: only one's own election is waited for. */
	if (!group_alone(c)) {
		join_others(c, ev->now_ns);
		say_ready(c, out);
	}
}

void
act_bar(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	out->publish = true;
	say_ready(c, out);
}

void
act_refuse(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)c;
	(void)ev;
	ASSERT(out->why != NULL);
	out->fail = true;
}

/*
 * Nobody else votes or acknowledges, so there is nothing to fence: the vote
 * counts when GROUP_STORED says that it is on disk.
 */
void
act_stand_alone(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	ASSERT(c->term < UINT64_MAX);
	if (!group_epoch_raise(c, out))
		return;
	group_term_enter(c, c->term + 1);
	c->vote = c->incarnation;
	c->vote_boot = c->boot;
	c->stage = STAGE_VOTE;
	c->stage_until_ns = GROUP_NEVER;
	group_store(c, out);
}

void
act_spent(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	if (c->term == UINT64_MAX)
		give_up(c, out,
		    "the terms of this group are used up: it "
		    "needs a new generation");
	else
		(void)group_epoch_raise(c, out);
	ASSERT(out->fail || out->restart);
}

void
act_voted(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	out->publish = true; /* the term is durable now: show it */
	if (!c->grant_owed)
		return;
	ASSERT(c->stored_term == c->term);
	ASSERT(c->vote != 0);
	ASSERT(c->vote != c->incarnation);
	c->grant_owed = false;
	c->stand_at_ns = ev->now_ns + group_lease_ns(c);
	out->answer_to = c->vote;
	out->answer = group_msg(c, CORE_VOTE_ANSWER);
	out->answer.answer.boot = c->vote_boot;
	out->answer.answer.asked = c->term;
	out->answer.answer.granted = true;
}

void
act_lead(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(c->stored_term == c->term);
	ASSERT(!c->persisting);
	ASSERT(c->won_term < c->term);
	ASSERT(c->stage == STAGE_VOTE);
	ASSERT(c->vote == c->incarnation);
	c->won_term = c->term;
	c->term_vlsn = 0;
	c->term_committed = false;
	c->member_asked = false;
	c->stage = STAGE_IDLE;
	c->tries = 0;
	c->leader = c->incarnation;
	group_lease_begin(c, ev->now_ns);
	if (group_others(c))
		act_round(c, ev, out);
	c->member_retry_ns = ev->now_ns;
	out->publish = true;
	out->elected = true;
	say_ready(c, out);
}

void
act_store_failed(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	give_up(c, out, "(term, vote) could not be stored");
}

void
act_term_appended(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)out;
	ASSERT(ev->term.vlsn != 0);
	c->term_vlsn = ev->term.vlsn;
}

void
act_term_committed(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)out;
	ASSERT(c->term_vlsn == ev->term.vlsn);
	c->term_committed = true;
}

bool
group_member_due(const struct group_core *c)
{
	return c->role == ROLE_MASTER && c->member_wanted && !c->member_asked;
}

void
group_member_retry(
    struct group_core *c, uint64_t now_ns, struct group_wants *out)
{
	if (!group_member_due(c) || now_ns < c->member_retry_ns)
		return;
	ASSERT(c->current.count != 0);
	c->member_asked = true;
	out->append_member = true;
}

/*
 * "At adoption the lease is computed again from each member's newest answered
 * round under the new table" (DESIGN, 8): who was a quorum by itself until now
 * has none before others answer.
 */
static void
lease_anew(struct group_core *c, uint64_t now_ns)
{
	if (c->lease_until_ns == UINT64_MAX)
		c->quorum_ns = now_ns;
	group_rounds_move(c, &c->previous);
	group_lease_compute(c);
	c->round_at_ns = now_ns;
}

/* Of other members, who have other numbers: they are asked for again. */
static void
votes_void(struct group_core *c)
{
	c->prevotes = c->votes = 0;
	if (c->stage == STAGE_PRE || c->stage == STAGE_VOTE)
		c->stage = STAGE_IDLE;
}

/*
 * A membership counts from the moment it is in the log, committed or not. The
 * epoch goes up only if it changes who commits: then every position has to be
 * reported again.
 */
void
act_member_appended(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	struct quorums before = c->quorums;
	int self = c->self;

	ASSERT(ev->membership->vlsn > c->current.vlsn);
	c->previous = c->current;
	group_adopt(c, ev->membership);
	c->member_wanted = false;
	c->member_asked = false;
	votes_void(c);
	if (c->role == ROLE_MASTER)
		lease_anew(c, ev->now_ns);
	out->publish = true;
	if (before.voters != c->quorums.voters ||
	    !quorum_same(&before.commit, &c->quorums.commit) || self != c->self)
		(void)group_epoch_raise(c, out);
}

void
act_member_refused(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)out;
	c->member_asked = false;
	c->member_retry_ns = ev->now_ns + GROUP_MEMBER_RETRY_NS;
}

void
act_member_committed(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	ASSERT(c->current.vlsn != 0);
	c->previous = c->current;
	out->save_member = true;
}

/* Only what is not committed is ever cut, so the one before is in force. */
void
act_member_cut(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(c->role != ROLE_MASTER);
	if (c->previous.count == 0 || c->previous.vlsn > ev->vlsn ||
	    c->previous.vlsn != c->current.before) {
		give_up(c, out,
		    "the membership in force was cut from the "
		    "log and the one before it is not known");
		return;
	}
	if (!group_epoch_raise(c, out))
		return;
	group_adopt(c, &c->previous);
	c->member_wanted = c->current.vlsn == 0;
	votes_void(c);
}

void
act_step_down(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	group_lease_end(c);
	c->leader = 0;
	c->stand_at_ns = ev->now_ns + group_lease_ns(c);
	(void)group_epoch_raise(c, out);
}

void
act_removed(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	act_member_committed(c, ev, out);
	votes_void(c);
	c->leader = 0;
	out->publish = true;
}

/* A removed master steps down when the record commits (Raft 4.2.2). */
void
act_master_removed(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	act_member_committed(c, ev, out);
	act_step_down(c, ev, out);
}

void
act_stop(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	c->lease_until_ns = 0;
	/* Without an epoch left the region is at its end anyway. */
	if (c->epoch < UINT16_MAX)
		(void)group_epoch_raise(c, out);
	out->publish = true;
}
