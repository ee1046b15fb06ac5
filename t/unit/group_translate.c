/*
 * Cores' messages to the wire and back: what comes back is what was said,
 * whatever it was; what cannot be said is not; and whatever the wire may bring
 * comes out with its indexes in bounds, about boots that are the present ones.
 * SEED=N replays.
 */
#include "workers/group/net/translate.h"

#include "t/lib/msg_random.h"
#include "t/shm_fixture.h"

#define ROUNDS 200000

static uint64_t seed;
static struct membership members;

static uint64_t
below(uint64_t n)
{
	return splitmix(&seed) % n;
}

/* Small, at its bound, or anything. */
static uint64_t
some(uint64_t most)
{
	return msg_between(&seed, 0, most);
}

static void
random_members(void)
{
	unsigned i;

	memset(&members, 0, sizeof(members));
	members.count = (uint32_t)(1 + below(MEMBER_MAX));
	members.vlsn = some(UINT64_MAX);
	for (i = 0; i < members.count; i++) {
		members.member[i].incarnation = 1000 + i;
		members.member[i].priority = (uint32_t)below(UINT32_MAX);
	}
}

static void
random_node(struct translate_self *s, struct translate_peer *p)
{
	static uint64_t matched[MEMBER_MAX];
	unsigned i;

	*s = (struct translate_self){ .incarnation = 1000 + below(20),
		.boot_count = 1 + some(UINT64_MAX - 1),
		.boot = 1 + some(UINT64_MAX - 1),
		.members = below(8) == 0 ? NULL : &members,
		.first = some(UINT64_MAX),
		.appended = some(UINT64_MAX),
		.durable = some(UINT64_MAX),
		.applied = some(UINT64_MAX),
		.committed = some(UINT64_MAX),
		.clock_vlsn = some(UINT64_MAX),
		.clock_ms = some(UINT64_MAX),
		.flags = (uint16_t)some(UINT16_MAX),
		.matched = below(2) == 0 ? NULL : matched,
		.own_matched = some(UINT64_MAX),
		.promise_ms = (uint32_t)some(UINT32_MAX) };
	for (i = 0; i < MEMBER_MAX; i++)
		matched[i] = some(UINT64_MAX);
	*p = (struct translate_peer){ .incarnation = 2000 + below(20),
		.boot_count = 1 + some(UINT64_MAX - 1),
		.boot = 1 + some(UINT64_MAX - 1) };
}

static void
random_core(struct group_msg *m, const struct translate_self *s,
    const struct translate_peer *to)
{
	unsigned i;

	memset(m, 0, sizeof(*m));
	m->kind = (enum group_msg_kind)below(CORE_BEAT_ANSWER + 1);
	m->from = s->incarnation;
	m->boot = s->boot_count;
	m->term = some(UINT64_MAX);
	switch (m->kind) {
	case CORE_PREVOTE:
	case CORE_VOTE:
		m->ask.end.term = some(m->term);
		m->ask.end.vlsn = some(VLSN_MASK);
		m->ask.released = some(m->term);
		return;
	case CORE_PREVOTE_ANSWER:
	case CORE_VOTE_ANSWER:
	case CORE_BEAT_ANSWER:
		m->answer.boot = below(16) == 0 ? some(99) : to->boot_count;
		m->answer.asked = some(UINT64_MAX);
		m->answer.granted = below(2) == 0;
		return;
	case CORE_BEAT:
		m->beat.round = some(UINT64_MAX);
		m->beat.lease_ms = (uint32_t)some(61000);
		for (i = 0; i < MEMBER_MAX; i++)
			m->beat.rank[i] = (uint8_t)below(20);
		return;
	}
}

/* What must come back of it, where it could be said. */
static struct group_msg
expected(const struct group_msg *m, const struct translate_self *s)
{
	struct group_msg want = *m;
	unsigned i;

	switch (m->kind) {
	case CORE_PREVOTE:
	case CORE_VOTE:
		if (m->ask.end.vlsn == 0)
			want.ask.end.term = 0;
		if (m->ask.released >= m->term)
			want.ask.released = 0;
		break;
	case CORE_BEAT:
		for (i = 0; i < MEMBER_MAX; i++) {
			if (s->members == NULL || i >= members.count)
				want.beat.rank[i] = 0;
			else if (want.beat.rank[i] >= MEMBER_MAX)
				want.beat.rank[i] = MEMBER_MAX - 1;
		}
		break;
	case CORE_BEAT_ANSWER:
		want.answer.end.vlsn =
		    s->own_matched < s->appended ? s->own_matched : s->appended;
		if (want.answer.end.vlsn > VLSN_MASK)
			want.answer.end.vlsn = VLSN_MASK;
		want.answer.end.term =
		    want.answer.end.vlsn == 0 ? 0 : want.term;
		break;
	case CORE_PREVOTE_ANSWER:
	case CORE_VOTE_ANSWER:
		break;
	}
	return want;
}

/* The same two, as the other end has them. */
static void
turned(const struct translate_self *s, const struct translate_peer *p,
    struct translate_self *s2, struct translate_peer *p2)
{
	*s2 = (struct translate_self){ .incarnation = p->incarnation,
		.boot_count = p->boot_count,
		.boot = p->boot,
		.members = s->members };
	*p2 = (struct translate_peer){ .incarnation = s->incarnation,
		.boot_count = s->boot_count,
		.boot = s->boot };
}

static void
test_there_and_back(void)
{
	unsigned i, wrong = 0, refused = 0, unsound = 0;
	unsigned said[CORE_BEAT_ANSWER + 1] = { 0 };
	uint8_t frame[MSG_SMALL_MAX];
	struct translate_self s, s2;
	struct translate_peer p, p2;
	struct group_msg m, back, want;
	struct msg_head head;
	struct msg_error e;
	union msg wire, read;
	unsigned type;
	bool all = true;
	int n;

	for (i = 0; i < ROUNDS; i++) {
		random_members();
		random_node(&s, &p);
		turned(&s, &p, &s2, &p2);
		random_core(&m, &s, &p);
		type = translate_out(&m, &s, &p, &wire);
		if (type == 0) {
			refused++;
			continue;
		}
		memset(&read, 0, sizeof(read));
		n = msg_encode(type, &wire, 0, frame, sizeof(frame));
		if (n < 0 ||
		    msg_head_decode(frame, (size_t)n, &head, &e) != 0 ||
		    msg_decode(frame, &head, &read, &e) != 0) {
			unsound++;
			continue;
		}
		want = expected(&m, &s);
		said[m.kind]++;
		if (!translate_in(type, &read, &s2, &p2, &back) ||
		    memcmp(&back, &want, sizeof(back)) != 0)
			wrong++;
	}
	is_u64(unsound, 0, "what is said may be said");
	is_u64(wrong, 0, "and comes back as it was said");
	for (i = 0; i <= CORE_BEAT_ANSWER; i++)
		all &= said[i] > ROUNDS / 100;
	ok(all, "of all kinds; %u could not be said", refused);
}

/* Anything that the wire may bring. */
static void
test_from_the_wire(void)
{
	static const unsigned types[] = { MSG_PREVOTE, MSG_PREVOTE_ANSWER,
		MSG_VOTE, MSG_VOTE_ANSWER, MSG_ROUND, MSG_ROUND_ANSWER,
		MSG_RELEASED, MSG_READ };
	unsigned i, k, bad = 0, strange = 0, taken = 0, type;
	struct translate_self s;
	struct translate_peer p;
	struct group_msg m;
	union msg wire;

	for (i = 0; i < ROUNDS; i++) {
		random_members();
		random_node(&s, &p);
		type = types[below(sizeof(types) / sizeof(types[0]))];
		msg_random(type, &wire, &seed);
		/* Else hardly one would name a boot that there is. */
		if ((type == MSG_VOTE || type == MSG_PREVOTE) &&
		    below(2) == 0) {
			wire.vote.boot_count = p.boot_count;
			wire.vote.boot = p.boot;
		}
		if (type == MSG_ROUND)
			for (k = 0; k < wire.round.rank_count; k++)
				wire.round.rank[k].incarnation = 998 + k;
		if (!translate_in(type, &wire, &s, &p, &m))
			continue;
		taken++;
		strange += type == MSG_RELEASED || type == MSG_READ;
		bad += m.from != p.incarnation || m.boot != p.boot_count ||
		       m.kind > CORE_BEAT_ANSWER;
		if (m.kind == CORE_BEAT)
			for (k = 0; k < MEMBER_MAX; k++)
				bad += m.beat.rank[k] >= MEMBER_MAX;
		if (m.kind == CORE_VOTE || m.kind == CORE_PREVOTE)
			bad += wire.vote.boot != p.boot ||
			       wire.vote.boot_count != p.boot_count;
	}
	ok(taken > ROUNDS / 10, "of what the wire may bring %u are taken",
	    taken);
	is_u64(bad, 0, "all in bounds, and of who is at the other end");
	is_u64(strange, 0, "what is not the core's is none of its");
}

/* An answer to a boot before, and a release that is somebody else's. */
static void
test_boots(void)
{
	struct translate_self s = {
		.incarnation = 1, .boot_count = 4, .boot = 44
	};
	struct translate_peer p = { 2, 7, 77 };
	struct group_msg m = { .kind = CORE_VOTE_ANSWER, .term = 5 };
	union msg wire;

	m.answer.boot = 6;
	m.answer.asked = 5;
	is_u64(translate_out(&m, &s, &p, &wire), 0,
	    "who asked in a boot before is not answered");
	memset(&wire, 0, sizeof(wire));
	wire.vote_answer = (struct msg_vote_answer){ .asked = 5,
		.term = 5,
		.boot_count = 4,
		.boot = 43,
		.verdict = VOTE_GRANTED };
	ok(!translate_in(MSG_VOTE_ANSWER, &wire, &s, &p, &m),
	    "a vote for another boot is none");
	wire.vote_answer.boot = 44;
	ok(translate_in(MSG_VOTE_ANSWER, &wire, &s, &p, &m) && m.answer.granted,
	    "one for this boot is");
	memset(&wire, 0, sizeof(wire));
	wire.vote = (struct msg_vote){ .term = 9,
		.boot_count = 7,
		.boot = 77,
		.released_master = 3,
		.released_term = 8 };
	ok(translate_in(MSG_VOTE, &wire, &s, &p, &m) && m.ask.released == 0,
	    "nobody releases what was promised to another");
	wire.vote.released_master = 2;
	ok(translate_in(MSG_VOTE, &wire, &s, &p, &m) && m.ask.released == 8,
	    "but to itself");
}

int
main(void)
{
	const char *env = getenv("SEED");

	seed = env != NULL ? strtoull(env, NULL, 10) : mono_ns();
	diag("SEED=%" PRIu64, seed);
	test_there_and_back();
	test_from_the_wire();
	test_boots();
	return tap_done();
}
