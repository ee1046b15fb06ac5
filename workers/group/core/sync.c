/*
 * Syncup; see sync.h.
 */
#include "workers/group/core/sync.h"

#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

/* ---- two lists of runs ---- */

struct runs {
	const struct term_run *run;
	unsigned count;
};

/* The run that a VLSN, which the log has, is in; NULL: it is not known. */
static const struct term_run *
run_of(struct runs r, uint64_t vlsn)
{
	unsigned low = 0, high = r.count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (r.run[mid].first <= vlsn)
			low = mid + 1;
		else
			high = mid;
	}
	return low == 0 ? NULL : &r.run[low - 1];
}

/*
 * The newest VLSN, from `top` down, at which both lists have the same term.
 * Terms never fall along a log: in a run of a higher term than the other log
 * has at its end there is none. 0: there is none; false: it is not known.
 */
static bool
last_common(
    struct runs own, struct runs theirs, uint64_t top, struct sync_plan *out)
{
	const struct term_run *a, *b;

	while (top != 0) {
		a = run_of(own, top);
		b = run_of(theirs, top);
		if (a == NULL || b == NULL)
			return false;
		if (a->term == b->term) {
			out->vlsn = top;
			out->term = a->term;
			return true;
		}
		top = (a->term > b->term ? a : b)->first - 1;
	}
	out->vlsn = out->term = 0;
	return true;
}

static void
restores(struct sync_plan *out, const char *why)
{
	out->verdict = SYNC_RESTORES;
	out->why = why;
}

/* Where they part records are cut off, if that may be. */
static void
contradicts(const struct sync_end *end, const struct sync_log *own,
    const struct msg_runs *theirs, struct sync_plan *out)
{
	const struct term_run *gone =
	    run_of((struct runs){ own->run, own->run_count }, out->vlsn + 1);

	ASSERT(out->vlsn < end->vlsn);
	if (gone == NULL || gone->term >= theirs->term)
		restores(out,
		    "its log has a record of the master's own term that the "
		    "master does not have");
	else if (out->vlsn < own->committed)
		restores(out, "its log differs from the master's below what is "
			      "committed here");
	else if (out->vlsn < own->applied)
		restores(out,
		    "its log differs from the master's below what is applied "
		    "here");
	else
		out->verdict = SYNC_CUTS;
}

void
sync_plan(const struct sync_end *end, const struct sync_log *own,
    const struct msg_runs *theirs, struct sync_plan *out)
{
	uint64_t top = end->vlsn < theirs->last ? end->vlsn : theirs->last;

	memset(out, 0, sizeof(*out));
	if (theirs->last_term != theirs->term) {
		out->verdict = SYNC_TOO_EARLY;
		return;
	}
	if (!last_common((struct runs){ own->run, own->run_count },
		(struct runs){ theirs->run, theirs->run_count }, top, out)) {
		restores(out,
		    "its log is older than the terms that the master knows");
		return;
	}
	if (out->vlsn < end->vlsn && out->vlsn == theirs->last)
		out->verdict = SYNC_TOO_EARLY;
	else if (out->vlsn < end->vlsn)
		contradicts(end, own, theirs, out);
	else
		out->verdict = SYNC_MATCHES;
	/* What follows the matchpoint is to be had from the master's log. */
	if (out->verdict != SYNC_RESTORES && theirs->first > out->vlsn + 1)
		restores(out,
		    "what follows the end of its log is not in the master's "
		    "any more");
}

/* ---- the replica ---- */

static void
go(struct sync *s, enum sync_state state, uint64_t until_ns)
{
	s->state = state;
	s->until_ns = until_ns;
}

/* It came to nothing. */
static void
pause_for(struct sync *s, uint64_t now_ns, uint64_t ns)
{
	go(s, SYNC_PAUSES, now_ns + ns);
}

static void
fail(struct sync *s, uint64_t now_ns)
{
	s->pause_ns = s->pause_ns == 0 ? SYNC_PAUSE_NS : 2 * s->pause_ns;
	if (s->pause_ns > SYNC_PAUSE_MOST_NS)
		s->pause_ns = SYNC_PAUSE_MOST_NS;
	pause_for(s, now_ns, s->pause_ns);
}

/* The master has not begun its term, or not told of it: soon it has. */
static void
too_early(struct sync *s, uint64_t now_ns)
{
	if (s->early >= SYNC_BEGIN_MAX) {
		fail(s, now_ns);
		return;
	}
	s->early++;
	pause_for(s, now_ns, SYNC_BEGIN_NS);
}

static void
begin(struct sync *s, uint64_t now_ns, struct sync_out *out)
{
	ASSERT(s->master != 0);
	s->attempt++;
	s->connection = 0;
	go(s, SYNC_FENCING, now_ns + SYNC_ASK_NS);
	out->what = SYNC_DO_FENCE;
}

/* Told once, until it is another one. */
static void
news(struct sync *s, struct sync_out *out, enum sync_news what, uint64_t vlsn)
{
	out->vlsn = vlsn;
	if (s->told == what && s->told_at == vlsn)
		return;
	s->told = what;
	s->told_at = vlsn;
	out->news = what;
}

static void
must_restore(struct sync *s, uint64_t now_ns, const char *why, uint64_t vlsn,
    struct sync_out *out)
{
	s->restore = true;
	out->why = why;
	news(s, out, SYNC_NEWS_RESTORE, vlsn);
	pause_for(s, now_ns, SYNC_PAUSE_MOST_NS);
}

static void
on_master(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	if (s->master == ev->master.incarnation && s->term == ev->master.term &&
	    s->epoch == ev->master.epoch &&
	    (s->state != SYNC_AT_REST || s->master == 0))
		return;
	s->master = ev->master.incarnation;
	s->term = ev->master.term;
	s->epoch = ev->master.epoch;
	s->pause_ns = 0;
	s->early = 0;
	s->restore = false;
	s->connection = 0;
	if (s->master == 0)
		go(s, SYNC_AT_REST, SYNC_NEVER);
	else
		begin(s, ev->now_ns, out);
}

static void
on_fenced(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	if (s->state != SYNC_FENCING || ev->end.epoch != s->epoch)
		return;
	s->end = ev->end;
	go(s, SYNC_ASKING, ev->now_ns + SYNC_ASK_NS);
	out->what = SYNC_DO_ASK;
}

static void
on_answer(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	const struct msg_runs *theirs = ev->answer.theirs;
	struct sync_plan plan;

	if (s->state != SYNC_ASKING || theirs->attempt != s->attempt ||
	    theirs->term != s->term)
		return;
	sync_plan(&s->end, &ev->answer.own, theirs, &plan);
	switch (plan.verdict) {
	case SYNC_MATCHES:
		ASSERT(plan.vlsn == s->end.vlsn);
		s->restore = false;
		go(s, SYNC_MATCHING, ev->now_ns + SYNC_ASK_NS);
		out->what = SYNC_DO_MATCH;
		break;
	case SYNC_CUTS:
		ASSERT(plan.vlsn >= ev->answer.own.committed);
		ASSERT(plan.vlsn >= ev->answer.own.applied);
		s->cut = plan.vlsn;
		go(s, SYNC_CUTTING, ev->now_ns + SYNC_CUT_NS);
		out->what = SYNC_DO_CUT;
		break;
	case SYNC_TOO_EARLY:
		too_early(s, ev->now_ns);
		break;
	case SYNC_RESTORES:
		out->first = theirs->first;
		must_restore(s, ev->now_ns, plan.why, s->end.vlsn, out);
		break;
	}
}

static void
on_refused(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	const struct msg_sync_refused *m = ev->refused;

	if ((s->state != SYNC_ASKING && s->state != SYNC_MATCHING) ||
	    m->attempt != s->attempt)
		return;
	if (m->reason == SYNC_RESTORE) {
		out->first = m->first;
		must_restore(s, ev->now_ns,
		    "what follows the end of its log is not in the master's "
		    "any more",
		    s->end.vlsn, out);
		return;
	}
	if (m->reason == SYNC_DAMAGE) {
		out->crc = s->end.crc;
		out->their_crc = m->crc;
		news(s, out, SYNC_NEWS_DAMAGE, m->vlsn);
		s->restore = true;
		pause_for(s, ev->now_ns, SYNC_PAUSE_MOST_NS);
		return;
	}
	if (m->reason == SYNC_LATER)
		too_early(s, ev->now_ns);
	else
		fail(s, ev->now_ns);
}

static void
on_cut(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	if (s->state != SYNC_CUTTING)
		return;
	if (ev->status == RET_OK) {
		out->last = s->end.vlsn;
		news(s, out, SYNC_NEWS_CUT, s->cut);
		s->told = SYNC_NO_NEWS;
		begin(s, ev->now_ns, out);
		return;
	}
	/* The epoch, or the role, changed: that is told by itself. */
	if (ev->status != RET_CUT_EPOCH && ev->status != RET_CUT_MASTER) {
		out->status = ev->status;
		news(s, out, SYNC_NEWS_UNSAVED, s->cut);
	}
	fail(s, ev->now_ns);
}

static void
on_ticket(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	const struct msg_ticket *t = ev->ticket;

	if (s->state != SYNC_MATCHING || t->attempt != s->attempt ||
	    t->term != s->term)
		return;
	/* Another matchpoint than was asked for is none. */
	if (t->vlsn != s->end.vlsn || t->vlsn_term != s->end.term ||
	    t->crc != s->end.crc || t->their_epoch != s->epoch) {
		fail(s, ev->now_ns);
		return;
	}
	s->connection = t->connection;
	go(s, SYNC_DIALLING, ev->now_ns + SYNC_DIAL_NS);
	out->what = SYNC_DO_DIAL;
}

static void
on_feeds(struct sync *s, const struct sync_event *ev)
{
	if (s->state != SYNC_DIALLING || ev->connection != s->connection)
		return;
	go(s, SYNC_FED, SYNC_NEVER);
	s->pause_ns = 0;
	s->early = 0;
	s->told = SYNC_NO_NEWS;
}

static void
on_ended(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	if ((s->state != SYNC_FED && s->state != SYNC_DIALLING) ||
	    (ev->ended.connection != 0 &&
		ev->ended.connection != s->connection))
		return;
	if (ev->ended.again)
		begin(s, ev->now_ns, out);
	else
		fail(s, ev->now_ns);
}

static void
on_tick(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	if (ev->now_ns < s->until_ns)
		return;
	ASSERT(s->state != SYNC_AT_REST);
	ASSERT(s->state != SYNC_FED);
	if (s->state == SYNC_PAUSES)
		begin(s, ev->now_ns, out);
	else
		fail(s, ev->now_ns);
}

void
sync_step(struct sync *s, const struct sync_event *ev, struct sync_out *out)
{
	uint64_t attempt = s->attempt;

	memset(out, 0, sizeof(*out));
	if (s->state == SYNC_AT_REST)
		s->until_ns = SYNC_NEVER;
	switch (ev->kind) { /* flat dispatch */
	case SYNC_MASTER:
		on_master(s, ev, out);
		break;
	case SYNC_TICK:
		on_tick(s, ev, out);
		break;
	case SYNC_FENCED:
		on_fenced(s, ev, out);
		break;
	case SYNC_ANSWERED:
		on_answer(s, ev, out);
		break;
	case SYNC_TURNED_AWAY:
		on_refused(s, ev, out);
		break;
	case SYNC_CUT:
		on_cut(s, ev, out);
		break;
	case SYNC_TICKET:
		on_ticket(s, ev, out);
		break;
	case SYNC_FEEDS:
		on_feeds(s, ev);
		break;
	case SYNC_ENDED:
		on_ended(s, ev, out);
		break;
	}
	ASSERT(s->attempt >= attempt);
	ASSERT((s->state == SYNC_AT_REST) == (s->master == 0));
	ASSERT((s->until_ns == SYNC_NEVER) ==
	       (s->state == SYNC_AT_REST || s->state == SYNC_FED));
	out->deadline_ns = s->until_ns;
}

/* A log of VLSNs that are all behind a checkpoint still ends in a term. */
static void
runs_fill(struct msg_runs *m, const struct sync_log *log, uint64_t last,
    uint64_t last_term)
{
	unsigned count = log->run_count;

	/* What came since is not told of. */
	while (count > 0 && log->run[count - 1].first > last)
		count--;
	if (count == 0 || log->run[count - 1].term != last_term) {
		m->run_count = 0;
		m->last = m->last_term = m->first = 0;
		if (last == 0)
			return;
		m->run_count = 1;
		m->run[0] = (struct term_run){ last_term, last };
	} else {
		m->run_count = (uint16_t)count;
		memmove(m->run, log->run, count * sizeof(m->run[0]));
	}
	m->last = last;
	m->last_term = last_term;
	m->first = log->first == 0 || log->first > last + 1 ? last : log->first;
}

void
sync_ask(const struct sync *s, const struct sync_log *own, struct msg_runs *m)
{
	m->attempt = s->attempt;
	m->term = s->term;
	m->committed = own->committed;
	m->epoch = s->epoch;
	m->last_crc = s->end.crc;
	runs_fill(m, own, s->end.vlsn, s->end.term);
}

void
sync_match(const struct sync *s, uint32_t window, struct msg_match *m)
{
	memset(m, 0, sizeof(*m));
	m->attempt = s->attempt;
	m->term = s->term;
	m->vlsn = s->end.vlsn;
	m->vlsn_term = s->end.term;
	m->crc = s->end.crc;
	m->window = window;
	m->epoch = s->epoch;
}

/* ---- the master ---- */

static bool
refuse(const struct sync_master *me, uint64_t attempt, uint64_t vlsn,
    enum sync_refused reason, struct msg_sync_refused *out)
{
	memset(out, 0, sizeof(*out));
	out->attempt = attempt;
	out->term = me->term;
	out->vlsn = vlsn;
	out->first = me->log.first;
	out->reason = (uint8_t)reason;
	return false;
}

bool
sync_answer(const struct sync_master *me, const struct msg_runs *asked,
    struct msg_runs *answer, struct msg_sync_refused *refused)
{
	if (!me->leads || asked->term != me->term)
		return refuse(me, asked->attempt, 0, SYNC_NOT_MASTER, refused);
	/* Its own term's record comes first: no list of before is told. */
	if (me->last == 0 || me->last_term != me->term)
		return refuse(me, asked->attempt, 0, SYNC_LATER, refused);
	answer->attempt = asked->attempt;
	answer->term = me->term;
	answer->committed = me->log.committed;
	answer->epoch = me->epoch;
	answer->last_crc = 0;
	runs_fill(answer, &me->log, me->last, me->last_term);
	return true;
}

bool
sync_judge(const struct sync_master *me, const struct msg_match *m,
    const struct chain_ret *chain, struct msg_ticket *ticket,
    struct msg_sync_refused *refused)
{
	if (!me->leads || m->term != me->term)
		return refuse(me, m->attempt, 0, SYNC_NOT_MASTER, refused);
	if (chain->status == CHAIN_BEYOND)
		return refuse(me, m->attempt, m->vlsn, SYNC_OTHER, refused);
	if (chain->status == CHAIN_GONE || chain->first > m->vlsn + 1)
		return refuse(me, m->attempt, m->vlsn, SYNC_RESTORE, refused);
	if (chain->status == CHAIN_UNREADABLE || chain->vlsn != m->vlsn)
		return refuse(me, m->attempt, m->vlsn, SYNC_LATER, refused);
	if (chain->term != m->vlsn_term)
		return refuse(me, m->attempt, m->vlsn, SYNC_OTHER, refused);
	if (chain->crc != m->crc) {
		(void)refuse(me, m->attempt, m->vlsn, SYNC_DAMAGE, refused);
		refused->crc = chain->crc;
		return false;
	}
	memset(ticket, 0, sizeof(*ticket));
	ticket->attempt = m->attempt;
	ticket->term = me->term;
	ticket->vlsn = m->vlsn;
	ticket->vlsn_term = m->vlsn_term;
	ticket->crc = m->crc;
	ticket->epoch = me->epoch;
	ticket->their_epoch = m->epoch;
	ticket->source = FEED_LIVE;
	if (m->vlsn < chain->live_from && me->last > m->vlsn) {
		ticket->source = FEED_SEGMENTS;
		ticket->until = me->last;
	}
	return true;
}

const char *
sync_state_name(enum sync_state state)
{
	static const char *const names[] = {
		[SYNC_AT_REST] = "rest",
		[SYNC_PAUSES] = "pauses",
		[SYNC_FENCING] = "fencing",
		[SYNC_ASKING] = "asking",
		[SYNC_CUTTING] = "cutting",
		[SYNC_MATCHING] = "matching",
		[SYNC_DIALLING] = "dialling",
		[SYNC_FED] = "fed",
	};

	return (unsigned)state < NITEMS(names) ? names[state] : "?";
}
