/*
 * The commit view under concurrent writes and dead writers, the commit rule
 * against a slow and obvious one, and what raises `committed`.
 */
#include "shm/commit.h"

#include "t/shm_fixture.h"

static void
view_whole(void)
{
	struct commit_state *cs = shared_zeros(sizeof(*cs));
	struct commit_view v = { .term = 7,
		.epoch = 3,
		.role = ROLE_MASTER,
		.master = -1,
		.voters = 5,
		.quorum = quorum_count(2, 2),
		.self = 1 };
	struct commit_view got;

	commit_view_read(cs, &got);
	is_u64(got.role, ROLE_DETACHED, "a fresh view is detached");
	commit_view_write(cs, &v);
	commit_view_read(cs, &got);
	ok(memcmp(&v, &got, sizeof(v)) == 0, "what is written is read");
	munmap(cs, sizeof(*cs));
}

/* Every field says the same number. */
static void
view_fill(struct commit_view *v, uint64_t n)
{
	unsigned i;

	memset(v, 0, sizeof(*v));
	v->term = v->lease_until_ns = n;
	v->epoch = v->voters = v->readonly = (uint16_t)n;
	v->zero[0] = v->zero[1] = v->zero[2] = (uint16_t)n;
	for (i = 0; i < QUORUM_WORDS; i++)
		v->quorum.bit[i] = n;
}

static bool
view_is_torn(const struct commit_view *v)
{
	struct commit_view whole;

	view_fill(&whole, v->term);
	return memcmp(v, &whole, sizeof(whole)) != 0;
}

static int
writer_main(void *arg)
{
	struct commit_state *cs = arg;
	struct commit_view v;
	uint64_t n;

	for (n = 1;; n++) {
		view_fill(&v, n);
		commit_view_write(cs, &v);
	}
	return 0;
}

/* Readers beside a writer that is killed again and again. */
static void
view_stress(void)
{
	struct commit_state *cs = shared_zeros(sizeof(*cs));
	uint64_t reads = 0, torn = 0, seen = 0, last, until;
	struct commit_view v;
	pid_t pid;
	int i;

	for (i = 0; i < 20; i++) {
		pid = child_start(writer_main, cs);
		commit_view_read(cs, &v);
		last = v.term;
		until = mono_ns() + 10 * NS_PER_MS;
		/* On one core, a busy one, the writer may not come that soon.
		 */
		while (mono_ns() < until ||
		       (i == 19 && seen == 0 &&
			   mono_ns() < until + 20 * NS_PER_S)) {
			commit_view_read(cs, &v);
			torn += view_is_torn(&v);
			seen += v.term != last;
			last = v.term;
			reads++;
		}
		kill(pid, SIGKILL);
		child_end(pid);
		commit_view_read(cs, &v);
		torn += view_is_torn(&v);
	}
	is_u64(torn, 0, "no view is ever torn");
	ok(seen > 0, "%u views in %u reads", (unsigned)seen, (unsigned)reads);
	munmap(cs, sizeof(*cs));
}

/* Obvious: is there a set of `quorum` voters that all have it? */
static uint64_t
slow_rule(const struct commit_view *view, unsigned quorum,
    const uint64_t durable[MEMBER_MAX], uint64_t newest)
{
	uint64_t vlsn;
	unsigned i, have;

	for (vlsn = newest; vlsn > 0 && quorum > 0; vlsn--) {
		for (i = have = 0; i < MEMBER_MAX; i++)
			if ((view->voters & 1u << i) != 0 &&
			    word_epoch(durable[i]) == view->epoch &&
			    word_vlsn(durable[i]) >= vlsn)
				have++;
		if (have >= quorum)
			return vlsn;
	}
	return 0;
}

/* Obvious: is the set of all voters that have it in the table? */
static uint64_t
slow_table(const struct commit_view *view, const uint64_t durable[MEMBER_MAX],
    uint64_t newest)
{
	unsigned i, set, bit;
	uint64_t vlsn;

	for (vlsn = newest; vlsn > 0; vlsn--) {
		for (i = set = 0, bit = 1; i < MEMBER_MAX; i++) {
			if ((view->voters & 1u << i) == 0)
				continue;
			if (word_epoch(durable[i]) == view->epoch &&
			    word_vlsn(durable[i]) >= vlsn)
				set += bit;
			bit *= 2;
		}
		if (set != 0 && quorum_has(&view->quorum, set))
			return vlsn;
	}
	return 0;
}

/* Members' words and at most 9 voters. */
static unsigned
random_state(struct commit_view *v, uint64_t d[MEMBER_MAX])
{
	unsigned i;

	v->epoch = (uint16_t)(rnd() % 3);
	v->voters = (uint16_t)rnd();
	while (__builtin_popcount(v->voters) > QUORUM_VOTERS_MAX)
		v->voters &= (uint16_t)rnd();
	for (i = 0; i < MEMBER_MAX; i++)
		d[i] = epoch_word(rnd() % 3, rnd() % 40);
	return (unsigned)__builtin_popcount(v->voters);
}

static void
random_rule(void)
{
	unsigned i, k, n, quorum, wrong = 0, some = 0;
	uint64_t d[MEMBER_MAX], got;
	struct commit_view v = { 0 };

	for (k = 0; k < 20000; k++) {
		n = random_state(&v, d);
		quorum = (unsigned)(rnd() % 10);
		memset(&v.quorum, 0, sizeof(v.quorum));
		if (quorum > 0)
			v.quorum = quorum_count(quorum, n);
		got = commit_rule(&v, d);
		some += got != 0;
		wrong += got != slow_rule(&v, quorum, d, 40);
	}
	is_u64(wrong, 0, "20,000 random states agree with the slow rule");
	ok(some > 1000, "%u of them commit something", some);
	for (k = 0; k < 20000; k++) {
		random_state(&v, d);
		for (i = 0; i < QUORUM_WORDS; i++)
			v.quorum.bit[i] = rnd();
		wrong += commit_rule(&v, d) != slow_table(&v, d, 40);
	}
	is_u64(wrong, 0, "so do 20,000 with tables of any sets");
}

static void
rule(void)
{
	struct commit_view v = {
		.epoch = 5, .voters = 7, .quorum = quorum_count(2, 3)
	};
	uint64_t d[MEMBER_MAX] = { 0 };
	unsigned i;

	d[0] = epoch_word(5, 10);
	is_u64(commit_rule(&v, d), 0, "one of three does not commit");
	d[1] = epoch_word(5, 8);
	is_u64(commit_rule(&v, d), 8, "two of three commit what both have");
	d[2] = epoch_word(5, 9);
	is_u64(commit_rule(&v, d), 9, "the second best counts");
	d[3] = epoch_word(5, 100);
	is_u64(commit_rule(&v, d), 9, "who is no voter does not count");
	d[2] = epoch_word(4, 900);
	is_u64(commit_rule(&v, d), 8, "another epoch's word does not count");
	v.epoch = 4;
	is_u64(commit_rule(&v, d), 0, "nor does it alone make a quorum");
	v.voters = 0;
	is_u64(commit_rule(&v, d), 0, "no voters");
	v = (struct commit_view){
		.epoch = 5, .voters = 1, .quorum = quorum_count(1, 1)
	};
	is_u64(commit_rule(&v, d), 10, "a group of one");
	memset(&v.quorum, 0, sizeof(v.quorum));
	is_u64(commit_rule(&v, d), 0, "no quorum is no quorum");
	d[0] = epoch_word(5, VLSN_MASK);
	v.quorum = quorum_count(1, 1);
	is_u64(commit_rule(&v, d), VLSN_MASK, "the largest VLSN there can be");

	/* Of 0, 1 and 2 the first has it, with others: not any two decide. */
	v.voters = 0x1011;
	v.quorum = (struct quorum){ { 1u << 3 | 1u << 5 | 1u << 7 } };
	for (i = 0; i < MEMBER_MAX; i++)
		d[i] = 0;
	d[4] = epoch_word(5, 30);
	d[12] = epoch_word(5, 20);
	is_u64(commit_rule(&v, d), 0, "two that are no quorum");
	d[0] = epoch_word(5, 10);
	is_u64(commit_rule(&v, d), 10, "they wait for the one that counts");
	d[0] = epoch_word(5, 25);
	is_u64(commit_rule(&v, d), 25, "which is enough with either of them");

	v.voters = 0x3ff;
	memset(&v.quorum, 0xff, sizeof(v.quorum));
	for (i = 0; i < MEMBER_MAX; i++)
		d[i] = epoch_word(5, 10);
	is_u64(commit_rule(&v, d), 0, "of ten voters nothing is known");
}

static void
master_view(struct region *r, uint16_t epoch, uint16_t voters, uint16_t quorum)
{
	struct commit_view v = { .term = 1,
		.epoch = epoch,
		.voters = voters,
		.quorum =
		    quorum_count(quorum, (unsigned)__builtin_popcount(voters)),
		.role = ROLE_MASTER,
		.lease_until_ns = UINT64_MAX };

	commit_view_write(r->commit, &v);
}

static void
member_set(struct region *r, unsigned member, uint16_t epoch, uint64_t vlsn)
{
	atomic_store_explicit(&r->commit->member[member].durable,
	    epoch_word(epoch, vlsn), memory_order_release);
}

static void
advance(struct region *r)
{
	struct commit_view v;

	ok(!commit_advance(r), "a detached node commits nothing");
	master_view(r, 2, 1, 1);
	member_set(r, 0, 2, 10);
	ok(!commit_advance(r), "nothing before the term's first record");
	position_set(&r->pos->term_start, epoch_word(2, 11));
	position_set(&r->pos->committed, epoch_word(2, 6));
	ok(!commit_advance(r), "older terms' records are not counted");
	is_u64(commit_vlsn(r), 6, "what was committed stays");
	ok(!commit_can_read(r), "no linearizable read yet");
	member_set(r, 0, 2, 12);
	ok(commit_advance(r), "the term's first record commits all before it");
	is_u64(position_get(&r->pos->committed), epoch_word(2, 12), "raised");
	ok(!commit_advance(r), "the second call raises nothing");
	member_set(r, 0, 2, 9);
	ok(!commit_advance(r), "it is never lowered");

	ok(!commit_can_read(r), "committed, but the store has not applied it");
	position_set(&r->pos->applied, 11);
	ok(commit_can_read(r), "the term's first record is applied: read");
	ok(commit_is_master(r), "a master");

	/* group bumps the epoch in `committed` before it gives up the role. */
	position_set(&r->pos->committed, epoch_word(3, 12));
	member_set(r, 0, 2, 20);
	ok(!commit_advance(r), "an older epoch's advance fails");
	is_u64(
	    position_get(&r->pos->committed), epoch_word(3, 12), "as it was");
	ok(!commit_can_read(r), "and its reads end");
	master_view(r, 3, 1, 1);
	ok(!commit_advance(r), "new epoch, the members' words are old");
	member_set(r, 0, 3, 20);
	ok(!commit_advance(r), "new epoch, the term's start is old");
	ok(!commit_can_read(r), "reads wait for it, too");
	position_set(&r->pos->term_start, epoch_word(3, 15));
	ok(commit_advance(r), "all of one epoch: raised");
	position_set(&r->pos->applied, 20);
	ok(commit_can_read(r), "read");

	commit_view_read(r->commit, &v);
	v.lease_until_ns = 0;
	commit_view_write(r->commit, &v);
	ok(!commit_can_read(r), "no lease");
	v.lease_until_ns = clock_ns(CLOCK_BOOTTIME) - 1;
	commit_view_write(r->commit, &v);
	ok(!commit_can_read(r), "a lease that ran out");
	v.lease_until_ns = clock_ns(CLOCK_BOOTTIME) + 60 * NS_PER_S;
	commit_view_write(r->commit, &v);
	ok(commit_can_read(r), "a lease that holds");
	v.readonly = 1;
	commit_view_write(r->commit, &v);
	ok(!commit_is_master(r), "readonly recovery appends nothing");
	v.readonly = 0;
	v.role = ROLE_REPLICA;
	commit_view_write(r->commit, &v);
	member_set(r, 0, 3, 30);
	ok(!commit_advance(r), "a replica counts nobody");
	ok(!commit_is_master(r) && !commit_can_read(r), "and is no master");
}

struct race {
	struct region *r;
	unsigned member;
	_Atomic uint64_t raised;
};

#define RACE_RECORDS 20000

static int
racer_main(void *arg)
{
	struct race *race = arg;
	uint64_t v, raised = 0;

	for (v = 1; v <= RACE_RECORDS; v++) {
		member_set(race->r, race->member, 1, v);
		raised += commit_advance(race->r);
	}
	atomic_store(&race->raised, raised);
	return 0;
}

/* Three reporters at once: whoever learns the last fact raises it. */
static void
advance_race(struct region *r)
{
	struct race *race = shared_zeros(3 * sizeof(*race));
	uint64_t sum = 0;
	pid_t pid[3];
	unsigned i;

	position_set(&r->pos->committed, epoch_word(1, 0));
	position_set(&r->pos->term_start, epoch_word(1, 1));
	master_view(r, 1, 7, 2);
	for (i = 0; i < 3; i++)
		member_set(r, i, 1, 0);
	for (i = 0; i < 3; i++) {
		race[i].r = r;
		race[i].member = i;
		pid[i] = child_start(racer_main, &race[i]);
	}
	for (i = 0; i < 3; i++)
		if (child_end(pid[i]) != 0)
			ok(false, "reporter %u", i);
	is_u64(commit_vlsn(r), RACE_RECORDS,
	    "nobody needed to look again at the end");
	for (i = 0; i < 3; i++)
		sum += race[i].raised;
	ok(sum > 0 && sum <= RACE_RECORDS, "raised %u times, each time once",
	    (unsigned)sum);
	munmap(race, 3 * sizeof(*race));
}

/* In term n of the storm: the newest record that its mastership commits. */
static uint64_t
storm_last(uint64_t n)
{
	return n * 100 + 50;
}

/* This node is master, is none, follows another one, and so on. */
static int
storm_main(void *arg)
{
	struct region *r = arg;
	struct commit_view v = { .voters = 1, .quorum = quorum_count(1, 1) };
	uint64_t n, vlsn;
	uint16_t epoch = 0;

	for (n = 1; epoch < UINT16_MAX - 1; n++) {
		v.term = n;
		v.role = ROLE_MASTER;
		v.epoch = ++epoch;
		position_set(&r->pos->committed, epoch_word(epoch, n * 100));
		commit_view_write(r->commit, &v);
		for (vlsn = n * 100; vlsn <= storm_last(n); vlsn++)
			position_set(
			    &r->pos->committed, epoch_word(epoch, vlsn));
		position_set(
		    &r->pos->committed, epoch_word(++epoch, storm_last(n)));
		commit_term_ended(r, n);
		v.role = n % 2 == 0 ? ROLE_REPLICA : ROLE_UNKNOWN;
		v.epoch = epoch;
		commit_view_write(r->commit, &v);
		for (vlsn = storm_last(n); vlsn < (n + 1) * 100; vlsn++)
			position_set(
			    &r->pos->committed, epoch_word(epoch, vlsn));
	}
	return 0;
}

/*
 * What counts as a mastership's is what it committed, whatever is committed
 * behind it; and once it is over that does not change.
 */
static void
ended_storm(struct region *r)
{
	uint64_t vlsn, again, looks = 0, over = 0, wrong = 0, forgotten = 0;
	struct commit_view v;
	pid_t pid = child_start(storm_main, r);
	uint64_t until = mono_ns() + 10 * NS_PER_S;

	do {
		commit_view_read(r->commit, &v);
		if (v.term == 0)
			continue;
		looks++;
		if (!commit_of_term(r, v.term, &vlsn)) {
			wrong += vlsn > storm_last(v.term);
			continue;
		}
		over++;
		forgotten += vlsn == 0;
		wrong += vlsn != 0 && vlsn != storm_last(v.term);
		wrong += !commit_of_term(r, v.term, &again);
	} while (v.term < UINT16_MAX / 2 - 1 && mono_ns() < until);
	is_i64(child_end(pid), 0, "masterships come and go");
	is_u64(wrong, 0, "each look sees what was committed under one");
	ok(over > 0 && forgotten < over, "%u looks, %u behind an end, %u late",
	    (unsigned)looks, (unsigned)over, (unsigned)forgotten);
}

static void
ended(struct region *r)
{
	struct commit_view v = { .role = ROLE_MASTER };
	uint64_t vlsn, n;

	v.term = 7;
	v.epoch = 1;
	commit_view_write(r->commit, &v);
	position_set(&r->pos->committed, epoch_word(1, 20));
	ok(!commit_of_term(r, 7, &vlsn) && vlsn == 20, "a mastership's commit");
	ok(commit_of_term(r, 6, &vlsn) && vlsn == 0,
	    "one that is not remembered is over");
	position_set(&r->pos->committed, epoch_word(2, 20));
	ok(!commit_of_term(r, 7, &vlsn) && vlsn == 20,
	    "nothing commits in an epoch without a view");
	commit_term_ended(r, 7);
	ok(!commit_of_term(r, 7, &vlsn) && vlsn == 20, "it is not over before");
	v.term = 9;
	v.epoch = 2;
	commit_view_write(r->commit, &v);
	position_set(&r->pos->committed, epoch_word(2, 30));
	ok(commit_of_term(r, 7, &vlsn) && vlsn == 20,
	    "over: what is behind its end is not its");
	ok(!commit_of_term(r, 9, &vlsn) && vlsn == 30, "but another one's");
	for (n = 0; n < ENDED_MAX - 1; n++)
		commit_term_ended(r, 100 + n);
	ok(commit_of_term(r, 7, &vlsn) && vlsn == 20, "some are remembered");
	commit_term_ended(r, 200);
	ok(commit_of_term(r, 7, &vlsn) && vlsn == 0, "of more the newest");
}

int
main(void)
{
	struct fixture f;

	rnd_seed();
	view_whole();
	view_stress();
	rule();
	random_rule();
	fixture_open(&f);
	advance(&f.r);
	advance_race(&f.r);
	fixture_close(&f);
	fixture_open(&f);
	ended(&f.r);
	fixture_close(&f);
	fixture_open(&f);
	ended_storm(&f.r);
	fixture_close(&f);
	return tap_done();
}
