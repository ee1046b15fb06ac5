/*
 * Cores' messages to the wire's, and back: see translate.h.
 */
#include "workers/group/net/translate.h"

#include <string.h>

#include "shm/position.h"

#define TERM_MAX (UINT64_MAX - 1) /* on the wire */

static uint64_t
most(uint64_t v, uint64_t max)
{
	return v < max ? v : max;
}

static uint64_t
vlsn_of(uint64_t v)
{
	return most(v, VLSN_MASK);
}

/* The end of a log as a message may say it, in a term not above `term`. */
static struct group_end
end_of(struct group_end end, uint64_t term)
{
	end.vlsn = vlsn_of(end.vlsn);
	if (end.vlsn == 0 || end.term == 0 || end.term > term)
		return (struct group_end){ 0, 0 };
	return end;
}

static bool
term_fits(uint64_t term)
{
	return term >= 1 && term <= TERM_MAX;
}

static const struct member *
member_of(const struct translate_self *self, uint64_t incarnation, int *index)
{
	*index = self->members == NULL
		     ? -1
		     : member_find(self->members, incarnation);
	return *index < 0 ? NULL : &self->members->member[*index];
}

/* ---- to the wire ---- */

static unsigned
ask_out(const struct group_msg *m, const struct translate_self *self,
    struct msg_vote *v)
{
	const struct member *own;
	struct group_end end;
	int i;

	/* Nobody stands in the term of its own log. */
	end = end_of(m->ask.end, m->term - 1);
	if (end.vlsn != m->ask.end.vlsn)
		return 0;
	own = member_of(self, self->incarnation, &i);
	v->term = m->term;
	v->boot_count = self->boot_count;
	v->boot = self->boot;
	v->last_term = end.term;
	v->last = end.vlsn;
	if (own != NULL) {
		v->index = (uint16_t)i;
		v->priority = own->priority;
		v->member_vlsn = vlsn_of(self->members->vlsn);
	}
	v->matched = vlsn_of(self->own_matched);
	v->clock_vlsn = vlsn_of(self->clock_vlsn);
	v->clock_ms = most(self->clock_ms, INT64_MAX);
	if (m->ask.released != 0 && m->ask.released < m->term) {
		v->released_master = self->incarnation;
		v->released_term = m->ask.released;
	}
	return m->kind == CORE_VOTE ? MSG_VOTE : MSG_PREVOTE;
}

/* The core says yes or no; why not is for who reads along. */
static unsigned
vote_answer_out(const struct group_msg *m, const struct translate_self *self,
    const struct translate_peer *to, struct msg_vote_answer *a)
{
	struct group_end end = end_of(m->answer.end, m->term);

	if (m->answer.boot != to->boot_count || !term_fits(m->answer.asked) ||
	    (m->answer.granted && m->term > m->answer.asked))
		return 0;
	a->term = m->term;
	a->asked = m->answer.asked;
	a->boot_count = to->boot_count;
	a->boot = to->boot;
	a->last_term = end.term;
	a->last = end.vlsn;
	a->clock_vlsn = vlsn_of(self->clock_vlsn);
	a->clock_ms = most(self->clock_ms, INT64_MAX);
	if (m->answer.granted)
		a->verdict = VOTE_GRANTED;
	else
		a->verdict =
		    m->term >= m->answer.asked ? VOTE_TERM : VOTE_PROMISE;
	return m->kind == CORE_VOTE_ANSWER ? MSG_VOTE_ANSWER
					   : MSG_PREVOTE_ANSWER;
}

static unsigned
round_out(const struct group_msg *m, const struct translate_self *self,
    struct msg_round *r)
{
	const struct membership *all = self->members;
	uint32_t i;

	if (!term_fits(m->term) || m->beat.round == 0 ||
	    m->beat.lease_ms == 0 || m->beat.lease_ms > ROUND_LEASE_MAX)
		return 0;
	r->term = m->term;
	r->round = m->beat.round;
	r->committed = vlsn_of(self->committed);
	r->clock_vlsn = vlsn_of(self->clock_vlsn);
	r->clock_ms = most(self->clock_ms, INT64_MAX);
	r->lease_ms = m->beat.lease_ms;
	r->flags = self->flags & ROUND_FLAGS;
	for (i = 0; all != NULL && i < all->count && i < MEMBER_MAX; i++) {
		r->rank[i].incarnation = all->member[i].incarnation;
		r->rank[i].priority = all->member[i].priority;
		r->rank[i].rank =
		    (uint8_t)most(m->beat.rank[i], MEMBER_MAX - 1);
		if (self->matched != NULL)
			r->rank[i].matched = vlsn_of(self->matched[i]);
	}
	r->rank_count = (uint16_t)i;
	return MSG_ROUND;
}

/* A log counts as far as it matches the master's in this term. */
static unsigned
round_answer_out(const struct group_msg *m, const struct translate_self *self,
    const struct translate_peer *to, struct msg_round_answer *a)
{
	if (!term_fits(m->term) || m->answer.asked == 0 ||
	    m->answer.boot != to->boot_count)
		return 0;
	a->term = m->term;
	a->round = m->answer.asked;
	a->verdict = m->answer.granted ? ROUND_TAKEN : ROUND_TERM;
	if (m->answer.granted)
		a->promise_ms =
		    (uint32_t)most(self->promise_ms, ROUND_LEASE_MAX);
	a->flags = self->flags & ROUND_FLAGS;
	a->appended = vlsn_of(self->appended);
	a->first = most(self->first, a->appended);
	a->matched = most(self->own_matched, a->appended);
	a->durable = most(self->durable, a->appended);
	a->applied = vlsn_of(self->applied);
	a->clock_vlsn = vlsn_of(self->clock_vlsn);
	a->clock_ms = most(self->clock_ms, INT64_MAX);
	return MSG_ROUND_ANSWER;
}

unsigned
translate_out(const struct group_msg *m, const struct translate_self *self,
    const struct translate_peer *to, union msg *out)
{
	unsigned type = 0;
	struct msg_error e;

	memset(out, 0, sizeof(*out));
	switch (m->kind) {
	case CORE_PREVOTE:
	case CORE_VOTE:
		if (term_fits(m->term))
			type = ask_out(m, self, &out->vote);
		break;
	case CORE_PREVOTE_ANSWER:
	case CORE_VOTE_ANSWER:
		if (m->term <= TERM_MAX)
			type = vote_answer_out(m, self, to, &out->vote_answer);
		break;
	case CORE_BEAT:
		type = round_out(m, self, &out->round);
		break;
	case CORE_BEAT_ANSWER:
		type = round_answer_out(m, self, to, &out->round_answer);
		break;
	}
	return type != 0 && msg_check(type, out, &e) == 0 ? type : 0;
}

/* ---- from the wire ---- */

static bool
ask_in(enum group_msg_kind kind, const struct msg_vote *v,
    const struct translate_peer *from, struct group_msg *out)
{
	if (v->boot_count != from->boot_count || v->boot != from->boot)
		return false;
	out->kind = kind;
	out->term = v->term;
	out->ask.end.term = v->last_term;
	out->ask.end.vlsn = v->last;
	/* Promises to anybody else are not its to void. */
	if (v->released_master == from->incarnation)
		out->ask.released = v->released_term;
	return true;
}

static bool
vote_answer_in(enum group_msg_kind kind, const struct msg_vote_answer *a,
    const struct translate_self *self, struct group_msg *out)
{
	if (a->boot_count != self->boot_count || a->boot != self->boot)
		return false;
	out->kind = kind;
	out->term = a->term;
	out->answer.boot = a->boot_count;
	out->answer.asked = a->asked;
	out->answer.granted = a->verdict == VOTE_GRANTED;
	out->answer.end.term = a->last_term;
	out->answer.end.vlsn = a->last;
	return true;
}

/* Ranks are told by name: here they go by the own membership. */
static bool
round_in(const struct msg_round *r, const struct translate_self *self,
    struct group_msg *out)
{
	unsigned k;
	int i;

	out->kind = CORE_BEAT;
	out->term = r->term;
	out->beat.round = r->round;
	out->beat.lease_ms = r->lease_ms;
	for (k = 0; k < r->rank_count && k < MEMBER_MAX; k++)
		if (member_of(self, r->rank[k].incarnation, &i) != NULL &&
		    i < MEMBER_MAX)
			out->beat.rank[i] =
			    (uint8_t)most(r->rank[k].rank, MEMBER_MAX - 1);
	return true;
}

static bool
round_answer_in(const struct msg_round_answer *a,
    const struct translate_self *self, struct group_msg *out)
{
	out->kind = CORE_BEAT_ANSWER;
	out->term = a->term;
	out->answer.boot = self->boot_count;
	out->answer.asked = a->round;
	out->answer.granted = a->verdict == ROUND_TAKEN;
	if (a->matched != 0) {
		out->answer.end.term = a->term;
		out->answer.end.vlsn = a->matched;
	}
	return true;
}

bool
translate_in(unsigned type, const union msg *m,
    const struct translate_self *self, const struct translate_peer *from,
    struct group_msg *out)
{
	memset(out, 0, sizeof(*out));
	out->from = from->incarnation;
	out->boot = from->boot_count;
	switch (type) {
	case MSG_PREVOTE:
		return ask_in(CORE_PREVOTE, &m->prevote, from, out);
	case MSG_VOTE:
		return ask_in(CORE_VOTE, &m->vote, from, out);
	case MSG_PREVOTE_ANSWER:
		return vote_answer_in(
		    CORE_PREVOTE_ANSWER, &m->prevote_answer, self, out);
	case MSG_VOTE_ANSWER:
		return vote_answer_in(
		    CORE_VOTE_ANSWER, &m->vote_answer, self, out);
	case MSG_ROUND:
		return round_in(&m->round, self, out);
	case MSG_ROUND_ANSWER:
		return round_answer_in(&m->round_answer, self, out);
	default:
		return false;
	}
}
