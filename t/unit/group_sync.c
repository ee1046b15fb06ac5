/*
 * Syncup of a replica with its master, over random logs as Raft makes them:
 * both go on from a common prefix, in terms of their own. It ends in equal
 * logs, cuts where they part and nowhere else, never what is committed or
 * applied, never a record of the master's own term, whatever is lost on the
 * way. Then each refusal by itself.
 */
#include "t/tap.h"

#include <inttypes.h>
#include <stdbool.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "t/lib/splitmix.h"
#include "workers/group/core/sync.h"

#define LOG_MAX  64
#define MASTER   UINT64_C(77)
#define EPOCH    5
#define RANDOMLY 20000u

struct log {
	unsigned count; /* records 1..count */
	uint64_t first; /* oldest that is still there */
	struct {
		uint64_t term, what;
	} rec[LOG_MAX + 1];
};

struct world {
	uint64_t rng;
	struct log a, b; /* the master's, the replica's */
	unsigned common;
	uint64_t committed, applied;
	uint64_t term;
	uint64_t now_ns;
	unsigned loss; /* per cent */
	unsigned cuts, fences;
	struct sync s;
	const char *wrong;
};

static uint64_t
pick(struct world *w, uint64_t n)
{
	return splitmix(&w->rng) % n;
}

static uint32_t
crc_of(const struct log *l, uint64_t vlsn)
{
	uint32_t crc = 0;
	uint64_t i;

	for (i = 1; i <= vlsn; i++)
		crc = crc32c(crc, &l->rec[i], sizeof(l->rec[i]));
	return crc;
}

static unsigned
runs_of(const struct log *l, struct term_run *out)
{
	unsigned i, n = 0;

	for (i = 1; i <= l->count; i++)
		if (n == 0 || out[n - 1].term != l->rec[i].term)
			out[n++] = (struct term_run){ l->rec[i].term, i };
	return n;
}

static void
grow(struct world *w, struct log *l, unsigned n, uint64_t *term, unsigned step)
{
	while (n-- > 0 && l->count < LOG_MAX) {
		l->count++;
		l->rec[l->count].term = *term;
		l->rec[l->count].what = splitmix(&w->rng);
		if (pick(w, 3) == 0)
			*term += step;
	}
}

/* From a common prefix the one goes on in even terms, the other in odd ones. */
static void
world_make(struct world *w, uint64_t seed)
{
	uint64_t term = 2, ta, tb;

	memset(w, 0, sizeof(*w));
	w->rng = seed;
	w->now_ns = 1000;
	w->loss = (unsigned)pick(w, 3) * 15;
	grow(w, &w->a, (unsigned)pick(w, 16), &term, 1);
	w->b = w->a;
	w->common = w->a.count;
	term++;
	ta = term + (term & 1);
	tb = ta + 1;
	if (pick(w, 2) == 0)
		grow(w, &w->a, (unsigned)pick(w, 12), &ta, 2);
	if (pick(w, 2) == 0)
		grow(w, &w->b, (unsigned)pick(w, 12), &tb, 2);
	w->term = (ta > tb ? ta : tb) + 1;
	w->committed = w->common == 0 ? 0 : pick(w, w->common + 1);
	w->applied = w->committed == 0 ? 0 : pick(w, w->committed + 1);
	w->a.first = w->b.first = 1;
}

static struct sync_master
master_of(const struct world *w, struct term_run *run)
{
	struct sync_master m = { .leads = true, .term = w->term, .epoch = 9 };

	m.last = w->a.count;
	m.last_term = w->a.count == 0 ? 0 : w->a.rec[w->a.count].term;
	m.log.first = w->a.first;
	m.log.committed = w->committed;
	m.log.run = run;
	m.log.run_count = runs_of(&w->a, run);
	return m;
}

static void step(struct world *w, struct sync_event ev);

static void
do_fence(struct world *w)
{
	struct sync_event ev = { .kind = SYNC_FENCED };

	w->fences++;
	ev.end.epoch = EPOCH;
	ev.end.vlsn = w->b.count;
	ev.end.term = w->b.count == 0 ? 0 : w->b.rec[w->b.count].term;
	ev.end.crc = crc_of(&w->b, w->b.count);
	step(w, ev);
}

static void
do_cut(struct world *w)
{
	w->cuts++;
	if (w->s.cut < w->committed || w->s.cut < w->applied)
		w->wrong = "a cut of what is committed or applied";
	if (w->s.cut != w->common)
		w->wrong = "a cut where the logs do not part";
	if (w->b.count <= w->s.cut)
		w->wrong = "a cut of nothing";
	if (w->b.rec[w->s.cut + 1].term == w->term)
		w->wrong = "a cut of the master's own term";
	w->b.count = (unsigned)w->s.cut;
	step(w, (struct sync_event){ .kind = SYNC_CUT, .status = RET_OK });
}

static bool
lost(struct world *w)
{
	return pick(w, 100) < w->loss;
}

static void
do_ask(struct world *w)
{
	static struct msg_runs asked, answer;
	struct msg_sync_refused refused;
	struct term_run run[LOG_MAX], own[LOG_MAX];
	struct sync_master me = master_of(w, run);
	struct sync_log log = { .first = w->b.first,
		.committed = w->committed,
		.applied = w->applied,
		.run = own,
		.run_count = runs_of(&w->b, own) };
	struct sync_event ev = { .kind = SYNC_ANSWERED };

	sync_ask(&w->s, &log, &asked);
	/* The master begins its term some time. */
	if (pick(w, 2) == 0 && w->a.count < LOG_MAX &&
	    me.last_term != w->term) {
		w->a.count++;
		w->a.rec[w->a.count].term = w->term;
		w->a.rec[w->a.count].what = splitmix(&w->rng);
	}
	if (lost(w))
		return;
	if (!sync_answer(&me, &asked, &answer, &refused)) {
		if (!lost(w))
			step(w, (struct sync_event){ .kind = SYNC_TURNED_AWAY,
				    .refused = &refused });
		return;
	}
	ev.answer.theirs = &answer;
	ev.answer.own = log;
	if (!lost(w))
		step(w, ev);
	if (pick(w, 8) == 0)
		step(w, ev); /* twice, and late */
}

static struct chain_ret
chain_of(const struct world *w, uint64_t vlsn)
{
	struct chain_ret c = { .vlsn = vlsn, .first = w->a.first };

	c.status = vlsn > w->a.count ? CHAIN_BEYOND : CHAIN_OK;
	c.term = vlsn == 0 || vlsn > w->a.count ? 0 : w->a.rec[vlsn].term;
	c.crc = c.status == CHAIN_OK ? crc_of(&w->a, vlsn) : 0;
	return c;
}

static void
do_match(struct world *w)
{
	struct msg_match m;
	struct msg_ticket t;
	struct msg_sync_refused refused;
	struct term_run run[LOG_MAX];
	struct sync_master me = master_of(w, run);
	struct chain_ret chain;

	sync_match(&w->s, 1 << 20, &m);
	if (lost(w))
		return;
	chain = chain_of(w, m.vlsn);
	if (!sync_judge(&me, &m, &chain, &t, &refused)) {
		step(w, (struct sync_event){
			    .kind = SYNC_TURNED_AWAY, .refused = &refused });
		return;
	}
	t.connection = w->now_ns;
	if (!lost(w))
		step(w,
		    (struct sync_event){ .kind = SYNC_TICKET, .ticket = &t });
}

static void
step(struct world *w, struct sync_event ev)
{
	struct sync_out out;

	ev.now_ns = ++w->now_ns;
	sync_step(&w->s, &ev, &out);
	switch (out.what) {
	case SYNC_DO_NOTHING:
		break;
	case SYNC_DO_FENCE:
		if (!lost(w))
			do_fence(w);
		break;
	case SYNC_DO_ASK:
		do_ask(w);
		break;
	case SYNC_DO_CUT:
		do_cut(w);
		break;
	case SYNC_DO_MATCH:
		do_match(w);
		break;
	case SYNC_DO_DIAL:
		if (!lost(w))
			step(w, (struct sync_event){ .kind = SYNC_FEEDS,
				    .connection = w->s.connection });
		else if (!lost(w))
			step(w, (struct sync_event){ .kind = SYNC_ENDED });
		break;
	}
}

static void
follow(struct world *w)
{
	struct sync_event ev = { .kind = SYNC_MASTER };

	ev.master.incarnation = MASTER;
	ev.master.term = w->term;
	ev.master.epoch = EPOCH;
	step(w, ev);
}

/* Until it is fed, or says that it must be restored. */
static void
settle(struct world *w)
{
	unsigned i;

	for (i = 0; i < 1000 && w->s.state != SYNC_FED && !w->s.restore; i++) {
		if (w->s.until_ns == SYNC_NEVER) {
			w->wrong = "a state without an exit";
			return;
		}
		w->now_ns = w->s.until_ns;
		step(w, (struct sync_event){ .kind = SYNC_TICK });
	}
}

/* Bytes from the matchpoint on; maybe not all of them. */
static void
feed(struct world *w)
{
	unsigned upto = w->b.count;

	upto += (unsigned)pick(w, w->a.count - w->b.count + 1);
	for (; w->b.count < upto; w->b.count++)
		w->b.rec[w->b.count + 1] = w->a.rec[w->b.count + 1];
}

static bool
equal(const struct world *w)
{
	return w->a.count == w->b.count &&
	       memcmp(&w->a.rec[1], &w->b.rec[1],
		   w->a.count * sizeof(w->a.rec[1])) == 0;
}

static const char *
random_one(uint64_t seed)
{
	struct world w;
	unsigned i, cuts;

	world_make(&w, seed);
	cuts = w.common < w.b.count;
	follow(&w);
	for (i = 0; i < 50; i++) {
		settle(&w);
		if (w.wrong != NULL)
			return w.wrong;
		if (w.s.restore)
			return "restores";
		feed(&w);
		if (equal(&w) && w.a.rec[w.a.count].term == w.term)
			break;
		step(&w, (struct sync_event){ .kind = SYNC_ENDED,
			     .ended = { 0, pick(&w, 2) == 0 } });
	}
	if (!equal(&w))
		return "the logs are not equal";
	return w.cuts == cuts ? NULL : "not as many cuts as there should be";
}

static void
test_random(void)
{
	const char *wrong = NULL;
	uint64_t seed;

	for (seed = 1; seed <= RANDOMLY && wrong == NULL; seed++)
		wrong = random_one(seed);
	ok(wrong == NULL,
	    "%u pairs of logs become equal (seed %" PRIu64 ": %s)", RANDOMLY,
	    seed, wrong == NULL ? "-" : wrong);
}

/* Two logs of ten records, the replica's parting at `from`. */
static void
pair(struct world *w, unsigned from, unsigned count)
{
	unsigned i;

	memset(w, 0, sizeof(*w));
	w->rng = 1;
	w->term = 9;
	w->a.first = w->b.first = 1;
	w->common = from;
	for (i = 1; i <= 10; i++) {
		w->a.rec[i].term = i <= from ? 2 : 9;
		w->b.rec[i].term = i <= from ? 2 : 3;
		w->a.rec[i].what = w->b.rec[i].what = i;
	}
	w->a.count = 10;
	w->b.count = count;
}

static struct sync_plan
plan_of(const struct world *w)
{
	static struct msg_runs answer;
	struct msg_runs asked = { .attempt = 1, .term = w->term };
	struct msg_sync_refused refused;
	struct term_run run[LOG_MAX], own[LOG_MAX];
	struct sync_master me = master_of(w, run);
	struct sync_end end = { .vlsn = w->b.count };
	struct sync_log log = { .first = 1,
		.committed = w->committed,
		.applied = w->applied,
		.run = own };
	struct sync_plan plan;

	end.term = w->b.rec[w->b.count].term;
	log.run_count = runs_of(&w->b, own);
	(void)sync_answer(&me, &asked, &answer, &refused);
	sync_plan(&end, &log, &answer, &plan);
	return plan;
}

static void
test_plan(void)
{
	struct world w;

	pair(&w, 4, 8);
	ok(plan_of(&w).verdict == SYNC_CUTS && plan_of(&w).vlsn == 4,
	    "a contradiction is cut");
	w.committed = 5;
	is_u64(plan_of(&w).verdict, SYNC_RESTORES, "not if it is committed");
	w.committed = 4;
	w.applied = 6;
	is_u64(plan_of(&w).verdict, SYNC_RESTORES, "nor if it is applied");
	pair(&w, 4, 4);
	ok(plan_of(&w).verdict == SYNC_MATCHES && plan_of(&w).vlsn == 4,
	    "a prefix matches at its end");
	pair(&w, 0, 0);
	ok(plan_of(&w).verdict == SYNC_MATCHES && plan_of(&w).vlsn == 0,
	    "an empty log matches at the beginning");
	w.a.first = 3;
	is_u64(plan_of(&w).verdict, SYNC_RESTORES,
	    "but not where the master's is gone");
	pair(&w, 4, 10);
	w.b = w.a;
	w.b.count = 10;
	w.a.count = 8;
	is_u64(plan_of(&w).verdict, SYNC_TOO_EARLY,
	    "a list that is shorter is no contradiction");
	pair(&w, 4, 8);
	w.b.rec[7].term = w.b.rec[8].term = 9;
	w.a.rec[5].term = w.a.rec[6].term = w.a.rec[7].term = 5;
	w.a.rec[8].term = 6;
	is_u64(plan_of(&w).verdict, SYNC_CUTS,
	    "records of lower terms go, though others follow");
	w.b.rec[5].term = 9;
	w.b.rec[6].term = 9;
	is_u64(plan_of(&w).verdict, SYNC_RESTORES,
	    "a record of the master's own term never does");
}

static void
test_judge(void)
{
	struct world w;
	struct msg_match m = { .attempt = 3, .term = 9, .vlsn = 4 };
	struct msg_ticket t;
	struct msg_sync_refused r;
	struct term_run run[LOG_MAX];
	struct sync_master me;
	struct chain_ret c;

	pair(&w, 4, 4);
	me = master_of(&w, run);
	c = chain_of(&w, 4);
	m.vlsn_term = 2;
	m.crc = c.crc;
	m.epoch = EPOCH;
	ok(sync_judge(&me, &m, &c, &t, &r) && t.source == FEED_LIVE &&
		t.until == 0 && t.their_epoch == EPOCH && t.epoch == 9,
	    "what is in the buffer is fed from it");
	c.live_from = 5;
	ok(sync_judge(&me, &m, &c, &t, &r) && t.source == FEED_SEGMENTS &&
		t.until == 10,
	    "what is not from segment files, as far as there is");
	m.crc ^= 1;
	ok(!sync_judge(&me, &m, &c, &t, &r) && r.reason == SYNC_DAMAGE &&
		r.crc == c.crc && r.vlsn == 4,
	    "another chain at the same record is damage");
	m.vlsn_term = 3;
	ok(!sync_judge(&me, &m, &c, &t, &r) && r.reason == SYNC_OTHER,
	    "another term there is none");
	c.first = 6;
	ok(!sync_judge(&me, &m, &c, &t, &r) && r.reason == SYNC_RESTORE &&
		r.attempt == 3,
	    "what is gone is to be restored");
	me.leads = false;
	ok(!sync_judge(&me, &m, &c, &t, &r) && r.reason == SYNC_NOT_MASTER,
	    "who leads no more refuses");
}

/* Damage and a restore are told once, and tried again. */
static void
test_news(void)
{
	struct sync s = { 0 };
	struct sync_out out;
	struct msg_sync_refused r = { .attempt = 1, .reason = SYNC_DAMAGE };
	struct sync_event ev = { .kind = SYNC_MASTER, .now_ns = 1 };

	ev.master.incarnation = MASTER;
	ev.master.term = 9;
	sync_step(&s, &ev, &out);
	ok(out.what == SYNC_DO_FENCE && out.deadline_ns != SYNC_NEVER,
	    "first of all the fence");
	ev = (struct sync_event){ .kind = SYNC_FENCED, .now_ns = 2 };
	sync_step(&s, &ev, &out);
	is_u64(out.what, SYNC_DO_ASK, "then the runs");
	ev = (struct sync_event){
		.kind = SYNC_TURNED_AWAY, .now_ns = 3, .refused = &r
	};
	sync_step(&s, &ev, &out);
	ok(out.news == SYNC_NEWS_DAMAGE && s.restore, "damage is told");
	ev =
	    (struct sync_event){ .kind = SYNC_TICK, .now_ns = out.deadline_ns };
	sync_step(&s, &ev, &out);
	is_u64(out.what, SYNC_DO_FENCE, "and looked at again");
	ev = (struct sync_event){ .kind = SYNC_FENCED, .now_ns = s.until_ns };
	sync_step(&s, &ev, &out);
	r.attempt = 2;
	ev = (struct sync_event){
		.kind = SYNC_TURNED_AWAY, .now_ns = 3, .refused = &r
	};
	sync_step(&s, &ev, &out);
	is_u64(out.news, SYNC_NO_NEWS, "but not told twice");
	ev = (struct sync_event){ .kind = SYNC_MASTER, .now_ns = 9 };
	sync_step(&s, &ev, &out);
	ok(s.state == SYNC_AT_REST && out.deadline_ns == SYNC_NEVER,
	    "without a master it rests");
}

int
main(void)
{
	test_plan();
	test_judge();
	test_news();
	test_random();
	return tap_done();
}
