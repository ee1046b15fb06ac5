/*
 * Rounds, promises and leases.
 *
 * A master's rounds are numbered. Who answers one promises, for the length that
 * it tells and from its receipt, to help nobody to another term; the lease
 * counts from when the newest round was sent that a commit quorum has answered,
 * and is shorter by what clocks may differ. Every election quorum has a voter
 * of that commit quorum, so nobody is elected while the lease lasts.
 */
#include "workers/group/core/acts.h"

#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

uint64_t
group_lease_ns(const struct group_core *c)
{
	return c->current.lease_ms * NS_PER_MS;
}

/* A lease is renewed before it ends, however short it is. */
static uint64_t
beat_ns(const struct group_core *c)
{
	uint64_t most = c->beat_ms * NS_PER_MS;
	uint64_t quarter = group_lease_ns(c) / 4;

	return quarter < most ? quarter : most;
}

/* ---- promises ---- */

uint64_t
group_bound(const struct group_core *c, uint64_t asker, uint64_t released)
{
	uint64_t until = c->bound_until_ns;
	bool is_void = released != 0 && c->promise.master == asker &&
		       c->promise.term == released;

	if (!is_void && c->promise.until_ns > until)
		until = c->promise.until_ns;
	/* A master has promised itself, too. */
	if (c->role == ROLE_MASTER && c->lease_until_ns > until)
		until = c->lease_until_ns;
	return until;
}

static void
promise_give(struct group_core *c, const struct group_event *ev)
{
	const struct group_msg *m = ev->msg;
	uint64_t until = ev->now_ns + m->beat.lease_ms * NS_PER_MS;

	if (c->promise.master != m->from || c->promise.boot != m->boot ||
	    c->promise.term != m->term) {
		if (c->promise.until_ns > c->bound_until_ns)
			c->bound_until_ns = c->promise.until_ns;
		c->promise.master = m->from;
		c->promise.boot = m->boot;
		c->promise.term = m->term;
		c->promise.until_ns = 0;
	}
	if (until > c->promise.until_ns)
		c->promise.until_ns = until;
	/* To anybody else, for as long as was told. */
	ASSERT(group_bound(c, 0, 0) >= until);
}

/* ---- following ---- */

/*
 * "A process whose own loop was away for more than two beats restarts its
 * timers (it was deaf, the master not dead)" (DESIGN, 8): once, until it hears
 * the master again. Else one that is late each time would wait for ever.
 */
void
group_away(struct group_core *c, uint64_t now_ns)
{
	uint64_t most = 2 * beat_ns(c);

	if (now_ns > most && now_ns - most > c->due_ns &&
	    c->deaf_ns <= c->heard_ns)
		c->deaf_ns = now_ns;
}

static struct group_msg
beat_answer(const struct group_core *c, const struct group_event *ev, bool yes)
{
	struct group_msg m = group_msg(c, CORE_BEAT_ANSWER);

	m.answer.boot = ev->msg->boot;
	m.answer.asked = ev->msg->beat.round;
	m.answer.granted = yes;
	m.answer.end = ev->end;
	return m;
}

/* A round of the term that this node is in, durably. */
void
act_follow(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(!group_busy(c));
	ASSERT(c->stored_term == ev->msg->term);
	ASSERT(ev->msg->beat.lease_ms <= c->promise_ms);
	out->publish = c->leader != ev->msg->from;
	c->leader = ev->msg->from;
	c->heard_ns = ev->now_ns;
	c->stage = STAGE_IDLE;
	c->tries = 0;
	c->withheld = false;
	if (c->self >= 0)
		c->rank = ev->msg->beat.rank[c->self];
	promise_give(c, ev);
	out->answer_to = ev->msg->from;
	out->answer = beat_answer(c, ev, true);
}

/*
 * Somebody has won a newer term. It is answered when that is durable: a later
 * round comes.
 */
void
act_adopt(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	if (!group_epoch_raise(c, out))
		return;
	group_lease_end(c);
	group_term_enter(c, ev->msg->term);
	c->stage = STAGE_IDLE;
	c->stand_at_ns = ev->now_ns + group_lease_ns(c);
	if (ev->msg->beat.lease_ms > c->promise_ms)
		c->promise_ms = ev->msg->beat.lease_ms;
	group_store(c, out);
}

/* The length is durable before the first promise of it. */
void
act_promise_longer(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	c->promise_ms = ev->msg->beat.lease_ms;
	group_store(c, out);
}

void
act_beat_refuse(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	out->answer_to = ev->msg->from;
	out->answer = beat_answer(c, ev, false);
}

/*
 * "An orderly path releases early [...] final for that term" (DESIGN, 8): what
 * was promised to it is void. Who is first in its ranks stands at once.
 */
void
act_released(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(c->leader == ev->peer.incarnation);
	c->leader = 0;
	c->stage = STAGE_IDLE;
	c->stand_at_ns = ev->now_ns + c->rank * GROUP_RELEASED_MS * NS_PER_MS;
	out->publish = true;
}

/* ---- leading ---- */

/* Who has answered this round, or a newer one: a mask. This node has. */
static uint16_t
answered(const struct group_core *c, uint64_t round)
{
	uint16_t mask = c->self < 0 ? 0 : (uint16_t)(1u << c->self);
	uint32_t i;

	for (i = 0; i < c->current.count; i++)
		if (c->of[i].round >= round)
			mask |= (uint16_t)(1u << i);
	return mask;
}

/* The newest round that a commit quorum has answered; 0 = none. */
static uint64_t
quorum_round(const struct group_core *c)
{
	uint64_t best = 0, round;
	uint32_t i;

	for (i = 0; i < c->current.count; i++) {
		round = c->of[i].round;
		if (round > best &&
		    quorum_has(&c->quorums.commit,
			quorum_set(c->quorums.voters, answered(c, round))))
			best = round;
	}
	return best;
}

/* When what an answer to it promises is over, at the earliest. */
static uint64_t
round_until(const struct group_core *c, uint64_t round)
{
	uint64_t sent = c->sent[round % GROUP_ROUNDS].sent_ns;
	uint64_t length = c->sent[round % GROUP_ROUNDS].lease_ms * NS_PER_MS;

	length = length * (100 - GROUP_DRIFT_PERCENT) / 100;
	if (c->round - round >= GROUP_ROUNDS ||
	    length <= GROUP_DRIFT_MS * NS_PER_MS)
		return 0;
	return sent + length - GROUP_DRIFT_MS * NS_PER_MS;
}

/* Who has promised for so long: a mask. */
static uint16_t
promised(const struct group_core *c, uint64_t until_ns)
{
	uint16_t mask = c->self < 0 ? 0 : (uint16_t)(1u << c->self);
	uint32_t i;

	for (i = 0; i < c->current.count; i++)
		if (c->of[i].until_ns >= until_ns)
			mask |= (uint16_t)(1u << i);
	return mask;
}

/*
 * The lease is what a commit quorum has promised: rounds may ask for less than
 * those before, so a newer answer need not promise more.
 */
void
group_lease_compute(struct group_core *c)
{
	uint64_t round = quorum_round(c), until;
	uint32_t i;

	ASSERT(c->role == ROLE_MASTER);
	if (group_commits_alone(c)) {
		c->lease_until_ns = UINT64_MAX;
		return;
	}
	ASSERT(round <= c->round);
	if (round != 0 && c->round - round < GROUP_ROUNDS &&
	    c->sent[round % GROUP_ROUNDS].sent_ns > c->quorum_ns)
		c->quorum_ns = c->sent[round % GROUP_ROUNDS].sent_ns;
	c->lease_until_ns = 0;
	for (i = 0; i < c->current.count; i++) {
		until = c->of[i].until_ns;
		if (until > c->lease_until_ns &&
		    quorum_has(&c->quorums.commit,
			quorum_set(c->quorums.voters, promised(c, until))))
			c->lease_until_ns = until;
	}
}

void
group_lease_begin(struct group_core *c, uint64_t now_ns)
{
	memset(c->of, 0, sizeof(c->of));
	c->quorum_ns = now_ns;
	c->round_at_ns = now_ns;
	group_lease_compute(c);
}

void
group_lease_end(struct group_core *c)
{
	if (c->lease_until_ns != UINT64_MAX &&
	    c->lease_until_ns > c->bound_until_ns)
		c->bound_until_ns = c->lease_until_ns;
	ASSERT(c->lease_until_ns == UINT64_MAX ||
	       c->lease_until_ns <= c->bound_until_ns);
	c->lease_until_ns = 0;
}

void
group_rounds_move(struct group_core *c, const struct membership *before)
{
	struct group_answers now[MEMBER_MAX] = { { 0, { 0, 0 }, 0 } };
	uint32_t i;
	int was;

	for (i = 0; i < c->current.count; i++) {
		was = member_find(before, c->current.member[i].incarnation);
		if (was >= 0)
			now[i] = c->of[was];
	}
	memcpy(c->of, now, sizeof(c->of));
}

uint64_t
group_lapse_moment(const struct group_core *c)
{
	return c->lease_until_ns == UINT64_MAX
		   ? GROUP_NEVER
		   : c->quorum_ns + 2 * group_lease_ns(c);
}

/* Does member a go before b, when this node is gone? */
static bool
ranks_before(const struct group_core *c, uint32_t a, uint32_t b)
{
	const struct member *m = c->current.member;

	if (!end_covers(c->of[b].end, c->of[a].end))
		return true;
	if (!end_covers(c->of[a].end, c->of[b].end))
		return false;
	return m[a].priority != m[b].priority ? m[a].priority > m[b].priority
					      : a < b;
}

static uint8_t
rank_of(const struct group_core *c, uint32_t member)
{
	uint8_t rank = 0;
	uint32_t i;

	for (i = 0; i < c->current.count; i++)
		if (i != member && (int)i != c->self &&
		    c->current.member[i].type == NODE_ELECTABLE &&
		    ranks_before(c, i, member))
			rank++;
	return rank;
}

void
act_round(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	uint32_t i;

	c->round++;
	c->sent[c->round % GROUP_ROUNDS].sent_ns = ev->now_ns;
	c->sent[c->round % GROUP_ROUNDS].lease_ms = c->current.lease_ms;
	c->round_at_ns = ev->now_ns + beat_ns(c);
	out->tell = true;
	out->told = group_msg(c, CORE_BEAT);
	out->told.beat.round = c->round;
	out->told.beat.lease_ms = c->current.lease_ms;
	for (i = 0; i < c->current.count; i++)
		out->told.beat.rank[i] = rank_of(c, i);
}

void
act_round_answered(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	int i = member_find(&c->current, ev->msg->from);
	uint64_t before = c->lease_until_ns;
	uint64_t until = round_until(c, ev->msg->answer.asked);

	ASSERT(i >= 0);
	if (until > c->of[i].until_ns)
		c->of[i].until_ns = until;
	if (ev->msg->answer.asked > c->of[i].round) {
		c->of[i].round = ev->msg->answer.asked;
		c->of[i].end = ev->msg->answer.end;
	}
	group_lease_compute(c);
	out->publish = c->lease_until_ns != before;
}
