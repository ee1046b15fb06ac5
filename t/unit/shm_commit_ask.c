/*
 * What clients ask of commits, judged by the rule that commits: who is
 * connected, who has a record, what became of one, against random logs.
 */
#include "shm/commit_ask.h"

#include "t/shm_fixture.h"

static struct commit_view
view_of(enum role role, unsigned members, unsigned self, uint16_t voters)
{
	return (struct commit_view){ .term = 5,
		.epoch = 3,
		.role = (uint8_t)role,
		.self = (uint8_t)self,
		.master = (int8_t)self,
		.member_count = (uint8_t)members,
		.voters = voters,
		.quorum =
		    quorum_count((unsigned)__builtin_popcount(voters) / 2 + 1,
			(unsigned)__builtin_popcount(voters)) };
}

static void
up(struct region *r, uint16_t mask)
{
	unsigned i;

	for (i = 0; i < MEMBER_MAX; i++)
		atomic_store(&r->peers->row[i].link,
		    (mask >> i & 1) != 0 ? PEER_UP : PEER_AWAY);
}

/* Whoever is connected has all: does the rule commit then? */
static void
reach(struct region *r)
{
	uint64_t durable[MEMBER_MAX];
	unsigned wrong = 0, round, i;
	struct commit_reach got;
	struct commit_view v;
	uint16_t mask;

	for (round = 0; round < 20000; round++) {
		unsigned members = 1 + rnd() % 7;
		unsigned self = rnd() % members;
		uint16_t voters = (uint16_t)(1u << self);

		voters |= (uint16_t)(rnd() & ((1u << members) - 1));
		mask = (uint16_t)(rnd() & ((1u << members) - 1));
		v = view_of(ROLE_MASTER, members, self, voters);
		commit_view_write(r->commit, &v);
		up(r, mask);
		commit_reach(r, &got);
		for (i = 0; i < MEMBER_MAX; i++)
			durable[i] = i == self || (mask >> i & 1) != 0
					 ? epoch_word(3, 9)
					 : 0;
		wrong += got.enough != (commit_rule(&v, durable) == 9);
		wrong += got.members != __builtin_popcount(voters);
	}
	ok(wrong == 0, "who is connected, and the rule: %u differ", wrong);
	v = view_of(ROLE_MASTER, 1, 0, 1);
	commit_view_write(r->commit, &v);
	up(r, 0);
	commit_reach(r, &got);
	ok(got.enough && got.members == 1, "one alone is enough for itself");
	v = view_of(ROLE_MASTER, 3, 0, 7);
	commit_view_write(r->commit, &v);
	commit_reach(r, &got);
	ok(!got.enough && got.connected == 1 && got.least == 2,
	    "of three it is one, and it takes two");
	v.voters = 0xffff;
	commit_view_write(r->commit, &v);
	commit_reach(r, &got);
	ok(!got.enough, "that there is no table for is no quorum");
}

static void
copies(struct region *r)
{
	struct commit_view v = view_of(ROLE_MASTER, 3, 1, 7);

	commit_view_write(r->commit, &v);
	atomic_store(&r->commit->member[0].durable, epoch_word(3, 10));
	atomic_store(&r->commit->member[1].durable, epoch_word(3, 99));
	atomic_store(&r->commit->member[2].durable, epoch_word(2, 99));
	is_u64(commit_others(r), 2, "two others");
	is_u64(commit_copies(r, 10), 1, "one told so in this epoch");
	is_u64(commit_copies(r, 11), 0, "not of more");
	atomic_store(&r->commit->member[2].durable, epoch_word(3, 10));
	is_u64(commit_copies(r, 10), 2, "then both, and never oneself");
	v.role = ROLE_REPLICA;
	commit_view_write(r->commit, &v);
	is_u64(commit_copies(r, 1), 0, "nobody tells who is no master");
	v = view_of(ROLE_MASTER, 1, 0, 1);
	commit_view_write(r->commit, &v);
	is_u64(commit_others(r), 0, "a group of one has no others");
}

/* Random logs: what is committed stays, whatever is behind it. */
static void
fates(struct region *r)
{
	uint64_t log[64], vlsn, term, committed;
	unsigned wrong = 0, round, n, i;
	struct commit_view v = view_of(ROLE_REPLICA, 3, 1, 7);
	enum fate got, want;

	v.master = 0;
	commit_view_write(r->commit, &v);
	for (round = 0; round < 3000; round++) {
		terms_clear(r->terms);
		n = 1 + rnd() % 60;
		for (term = 1, i = 1; i <= n; i++) {
			term += rnd() % 4 == 0 ? 1 + rnd() % 3 : 0;
			log[i] = term;
			(void)terms_add(r->terms, term, i);
		}
		committed = rnd() % (n + 1);
		position_set(&r->pos->committed, epoch_word(3, committed));
		for (i = 0; i < 40; i++) {
			vlsn = 1 + rnd() % (n + 3);
			term = 1 + rnd() % (log[n] + 2);
			got = commit_fate(r, term, vlsn);
			want = FATE_UNKNOWN;
			if (vlsn <= committed)
				want = log[vlsn] == term ? FATE_COMMITTED
							 : FATE_LOST;
			else if (committed != 0 && log[committed] > term)
				want = FATE_LOST;
			wrong += got != want;
		}
	}
	ok(wrong == 0, "what became of records: %u are wrong", wrong);
	ok(commit_fate(r, 0, 1) == FATE_UNKNOWN &&
		commit_fate(r, 1, 0) == FATE_UNKNOWN,
	    "of none nothing is known");
	terms_clear(r->terms);
	position_set(&r->pos->committed, epoch_word(3, 50));
	ok(commit_fate(r, 1, 20) == FATE_UNKNOWN,
	    "nor of one whose term is forgotten");
	commit_term_ended(r, 2);
	ok(commit_fate(r, 2, 50) == FATE_COMMITTED &&
		commit_fate(r, 2, 51) == FATE_UNKNOWN,
	    "but for what a mastership of this node committed");
}

int
main(void)
{
	struct fixture f;

	rnd_seed();
	fixture_open(&f);
	reach(&f.r);
	copies(&f.r);
	fates(&f.r);
	fixture_close(&f);
	return tap_done();
}
