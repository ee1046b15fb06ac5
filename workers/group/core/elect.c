/*
 * Standing for a term and helping others to one.
 *
 * Who has no master asks first whether others would vote (pre-vote: nothing
 * changes by that, so who cannot win disturbs nobody), then stands: new term,
 * fence, own vote to the disk and the others asked at the same time. A vote is
 * given to a boot of a member, for a log at least as new as where the own one
 * ends for good, and by nobody who is bound by a promise.
 */
#include "workers/group/core/acts.h"

#include "shm/assert.h"
#include "shm/bits.h"

#define TRIES_MAX 3 /* doublings of the pause between two */

bool
end_covers(struct group_end a, struct group_end b)
{
	return a.term != b.term ? a.term > b.term : a.vlsn >= b.vlsn;
}

uint64_t
group_random(struct group_core *c, uint64_t n)
{
	uint64_t z = c->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return n == 0 ? 0 : (z ^ z >> 31) % n;
}

void
group_heard_of(struct group_core *c, uint64_t term)
{
	if (term > c->seen_term)
		c->seen_term = term;
}

static uint64_t
next_term(const struct group_core *c)
{
	return (c->seen_term > c->term ? c->seen_term : c->term) + 1;
}

static bool
is_electable(const struct membership *m, uint64_t incarnation)
{
	int i = member_find(m, incarnation);

	return i >= 0 && m->member[i].type == NODE_ELECTABLE;
}

/*
 * "Only electable nodes stand" (DESIGN, 8); one that the newest membership
 * excludes, too, as long as that may not be committed: if no other log has it,
 * nobody else may be able to win.
 */
static bool
is_eligible(const struct group_core *c)
{
	return is_electable(&c->current, c->incarnation) ||
	       is_electable(&c->previous, c->incarnation);
}

/* Does it stand as soon as there is no master? */
static bool
volunteers(const struct group_core *c)
{
	return is_electable(&c->current, c->incarnation) &&
	       (c->current.member[c->self].priority != 0 ||
		   group_only_voter(c));
}

/* Or later, since others cannot? */
static bool
stands(const struct group_core *c)
{
	int i = member_find(&c->previous, c->incarnation);

	return volunteers(c) ||
	       (is_eligible(c) &&
		   (c->withheld ||
		       (!is_electable(&c->current, c->incarnation) &&
			   c->previous.member[i].priority != 0)));
}

uint64_t
group_stand_moment(const struct group_core *c)
{
	uint64_t at = group_bound(c, c->incarnation, c->released);

	if (c->role == ROLE_REPLICA) {
		if (c->deaf_ns != 0 && at < c->deaf_ns + group_lease_ns(c))
			at = c->deaf_ns + group_lease_ns(c);
		at += c->rank * GROUP_RANK_MS * NS_PER_MS;
	} else if (!stands(c)) {
		return GROUP_NEVER;
	} else if (at < c->stand_at_ns) {
		at = c->stand_at_ns;
	}
	if (stands(c) && !volunteers(c) &&
	    at < c->heard_ns + 2 * group_lease_ns(c))
		at = c->heard_ns + 2 * group_lease_ns(c);
	return at;
}

bool
group_stage_over(const struct group_core *c, uint64_t now_ns)
{
	return (c->stage == STAGE_PRE || c->stage == STAGE_VOTE) &&
	       now_ns >= c->stage_until_ns;
}

static void
stage_begin(struct group_core *c, enum group_stage stage, uint64_t now_ns)
{
	uint64_t lease = group_lease_ns(c);

	c->stage = stage;
	c->stage_until_ns = now_ns + lease / 2 + group_random(c, lease / 4);
}

static void
stage_end(struct group_core *c, uint64_t at_ns)
{
	c->stage = STAGE_IDLE;
	c->prevotes = 0;
	c->stand_at_ns = at_ns;
}

static struct group_msg
ask(const struct group_core *c, enum group_msg_kind kind, struct group_end end)
{
	struct group_msg m = group_msg(c, kind);

	m.ask.end = end;
	m.ask.released = c->released;
	return m;
}

/* No master is heard any more, and no promise binds this node. */
void
act_silent(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	c->leader = 0;
	out->publish = true;
	if (!stands(c)) {
		stage_end(c, ev->now_ns);
		return;
	}
	stage_begin(c, STAGE_PRE, ev->now_ns);
	c->pre_term = next_term(c);
	c->prevotes = c->self < 0 ? 0 : (uint16_t)(1u << c->self);
	out->tell = true;
	out->told = ask(c, CORE_PREVOTE, ev->end);
	out->told.term = c->pre_term;
}

/* "each retry adds a random 0..lease/2, doubling" (DESIGN, 8) */
void
act_timed_out(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	uint64_t most = (group_lease_ns(c) / 2) << c->tries;

	(void)out;
	if (c->tries < TRIES_MAX)
		c->tries++;
	stage_end(c, ev->now_ns + group_random(c, most));
}

/* The epoch has been raised for it. */
static void
fence(struct group_core *c, struct group_wants *out)
{
	ASSERT(out->raise_epoch);
	ASSERT(c->stored_term < c->term);
	c->fencing = true;
	c->fence_epoch = c->epoch;
	out->fence = true;
}

/*
 * Raft 5.2: "increments its current term [...] votes for itself". That is sent
 * and stored when the fence tells how new the log is.
 */
static void
stand(struct group_core *c, struct group_wants *out)
{
	if (!group_epoch_raise(c, out))
		return;
	group_term_enter(c, next_term(c));
	c->vote = c->incarnation;
	c->vote_boot = c->boot;
	c->stage = STAGE_FENCE;
	fence(c, out);
}

void
act_stand(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	ASSERT(!group_busy(c));
	stand(c, out);
}

/*
 * A voter is in a term of its own, which no round of ours reaches: "hands over
 * to itself [...] stands in T'+1 with released(self, T)" (DESIGN, 8).
 */
void
act_hand_over(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	ASSERT(c->won_term == c->term);
	c->released = c->won_term;
	c->lease_until_ns = 0;
	stand(c, out);
}

/* Is it better than this node, by what members are ranked by? */
static bool
better(
    const struct group_core *c, const struct group_msg *m, struct group_end own)
{
	int i = member_find(&c->current, m->from);
	uint32_t a, b;

	if (i < 0 || c->self < 0)
		return false;
	if (!end_covers(own, m->ask.end))
		return true;
	if (!end_covers(m->ask.end, own))
		return false;
	a = c->current.member[i].priority;
	b = c->current.member[c->self].priority;
	return a != b ? a > b : i < c->self;
}

static struct group_msg
answer(const struct group_core *c, const struct group_event *ev, bool granted)
{
	const struct group_msg *asked = ev->msg;
	struct group_msg m = group_msg(c,
	    asked->kind == CORE_VOTE ? CORE_VOTE_ANSWER : CORE_PREVOTE_ANSWER);

	m.answer.boot = asked->boot;
	m.answer.asked = asked->term;
	m.answer.granted = granted;
	return m;
}

/* A promise forbids pre-votes, too. */
void
act_prevote_answer(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	const struct group_msg *m = ev->msg;
	bool newer = end_covers(m->ask.end, ev->end);
	bool granted = newer && m->term > c->term &&
		       ev->now_ns >= group_bound(c, m->from, m->ask.released);

	c->withheld |= !newer;
	if (granted && c->stage == STAGE_PRE && better(c, m, ev->end))
		stage_end(c, ev->now_ns + group_lease_ns(c));
	out->answer_to = m->from;
	out->answer = answer(c, ev, granted);
}

/* What comes of it is looked at again behind the fence. */
void
act_grant(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	const struct group_msg *m = ev->msg;

	if (!group_epoch_raise(c, out))
		return;
	group_lease_end(c);
	group_term_enter(c, m->term);
	stage_end(c, ev->now_ns + group_lease_ns(c));
	c->vote = m->from;
	c->vote_boot = m->boot;
	c->asked_end = m->ask.end;
	c->asked_released = m->ask.released;
	fence(c, out);
}

/* The same boot asks for the vote that it has: the answer was lost. */
void
act_grant_again(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(!group_busy(c));
	ASSERT(c->vote == ev->msg->from);
	ASSERT(c->stored_term == ev->msg->term);
	out->answer_to = ev->msg->from;
	out->answer = answer(c, ev, true);
}

void
act_vote_refuse(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	group_heard_of(c, ev->msg->term);
	c->withheld |= !end_covers(ev->msg->ask.end, ev->end);
	out->answer_to = ev->msg->from;
	out->answer = answer(c, ev, false);
}

/*
 * The log's end is known, and no ack of a lower term follows. The promise may
 * have begun, and records may have come, since the decision: nobody stands by a
 * membership that is not its log's newest. The term stays.
 */
void
act_fenced(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	bool own = c->stage == STAGE_FENCE;
	bool free = ev->now_ns >= group_bound(c, c->vote,
				      own ? c->released : c->asked_released);

	ASSERT(c->fencing);
	ASSERT(c->vote != 0);
	ASSERT(own == (c->vote == c->incarnation));
	c->fencing = false;
	group_store(c, out);
	if (own && free && is_eligible(c) &&
	    ev->fenced.member_vlsn <= c->current.vlsn) {
		stage_begin(c, STAGE_VOTE, ev->now_ns);
		out->tell = true;
		out->told = ask(c, CORE_VOTE, ev->fenced.end);
	} else if (!own && free && end_covers(c->asked_end, ev->fenced.end)) {
		c->grant_owed = true;
	} else {
		c->vote = c->vote_boot = 0;
		stage_end(c, ev->now_ns + group_lease_ns(c));
	}
}
