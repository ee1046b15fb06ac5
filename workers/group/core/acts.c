/*
 * The acts of the core's table; see acts.h for their contract.
 */
#include "workers/group/core/acts.h"

#include "shm/assert.h"
#include "shm/bits.h"

/*
 * Nothing may commit under what is over: the epoch goes up before whatever
 * comes next, and the view tells of it. There are 65,535 of them in a region's
 * life.
 */
static bool
epoch_raise(struct group_core *c, struct group_wants *out)
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

/*
 * Who is a commit quorum by itself is in every election quorum, and answers
 * itself at any time: it needs no lease. Else the lease counts from the last
 * moment that it was one.
 */
static void
lease_renew(struct group_core *c, uint64_t now_ns)
{
	if (group_commits_alone(c))
		c->lease_until_ns = UINT64_MAX;
	else if (c->lease_until_ns == UINT64_MAX)
		c->lease_until_ns = now_ns + c->current.lease_ms * NS_PER_MS;
}

void
act_join(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	c->member_wanted = c->current.vlsn == 0;
	out->publish = true;
	/* Boot waits for no peer: only one's own election is waited for. */
	if (!group_elects_alone(c))
		say_ready(c, out);
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
 * Raft 5.2: "increments its current term [...] votes for itself". The vote
 * counts when GROUP_STORED says that it is on disk.
 */
void
act_stand(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	ASSERT(!c->persisting);
	ASSERT(c->term < UINT64_MAX);
	if (!epoch_raise(c, out))
		return;
	c->term++;
	c->vote = c->incarnation;
	c->votes = 0;
	c->persisting = true;
	out->store = true;
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
		(void)epoch_raise(c, out);
	ASSERT(out->fail || out->restart);
}

void
act_voted(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)c;
	(void)ev;
	out->publish = true; /* the term is durable now: show it */
}

void
act_lead(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(c->stored_term == c->term && !c->persisting);
	ASSERT(c->won_term < c->term);
	c->won_term = c->term;
	c->term_vlsn = 0;
	c->term_committed = false;
	c->member_asked = false;
	c->lease_until_ns = UINT64_MAX;
	lease_renew(c, ev->now_ns);
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
	c->member_asked = true;
	out->append_member = true;
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
	if (c->role == ROLE_MASTER)
		lease_renew(c, ev->now_ns);
	out->publish = true;
	if (before.voters != c->quorums.voters ||
	    !quorum_same(&before.commit, &c->quorums.commit) || self != c->self)
		(void)epoch_raise(c, out);
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
	c->previous = c->current;
	out->save_member = true;
}

/* Only what is not committed is ever cut, so the one before is in force. */
void
act_member_cut(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	ASSERT(c->role != ROLE_MASTER);
	if (c->previous.count == 0 || c->previous.vlsn > ev->vlsn) {
		give_up(c, out,
		    "the membership in force was cut from the "
		    "log and the one before it is not known");
		return;
	}
	if (!epoch_raise(c, out))
		return;
	group_adopt(c, &c->previous);
	c->member_wanted = c->current.vlsn == 0;
}

void
act_step_down(
    struct group_core *c, const struct group_event *ev, struct group_wants *out)
{
	(void)ev;
	c->lease_until_ns = 0;
	(void)epoch_raise(c, out);
}

/* A removed master steps down when the record commits (Raft 4.2.2). */
void
act_removed(
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
		(void)epoch_raise(c, out);
	out->publish = true;
}
