/*
 * The quorum tables against the definition of each policy, over all sets of 1
 * to 9 voters: which policies are taken (all pairs of sets are looked at), what
 * they call a quorum, random expressions against a slow reading of what they
 * were written from, and what is no expression at all.
 */
#include "shm/quorum.h"

#include "t/shm_fixture.h"

static const char *const names[QUORUM_VOTERS_MAX] = { "a", "b", "c", "d-4",
	"choose", "f", "node-6.example", "h", "ii" };

/* Obvious: is there a pair of quorums without a common voter? */
static bool
slow_meets(const struct quorum *a, const struct quorum *b, unsigned count)
{
	unsigned i, j;

	for (i = 0; i < 1u << count; i++)
		for (j = 0; j < 1u << count && quorum_has(a, i); j++)
			if ((i & j) == 0 && quorum_has(b, j))
				return false;
	return true;
}

static bool
is_empty(const struct quorum *q)
{
	static const struct quorum none;

	return quorum_same(q, &none);
}

/*
 * Make it, and see that it was taken only if it may be: some set decides, no
 * two that must meet are apart, none has a voter that there is not.
 */
static bool
taken(struct quorum *elect, struct quorum *commit,
    const struct quorum_policy *policy, unsigned count, unsigned *wrong)
{
	unsigned set;

	memset(elect, 0xff, sizeof(*elect));
	memset(commit, 0xff, sizeof(*commit));
	if (quorum_make(elect, commit, policy, names, count) != NULL) {
		*wrong += !is_empty(elect) || !is_empty(commit);
		return false;
	}
	*wrong += is_empty(elect) || is_empty(commit) ||
		  !slow_meets(elect, elect, count) ||
		  !slow_meets(elect, commit, count);
	for (set = 1u << count; set < QUORUM_SETS; set++)
		*wrong += quorum_has(elect, set) || quorum_has(commit, set);
	return true;
}

static void
majority(void)
{
	struct quorum_policy p = { .kind = QUORUM_MAJORITY };
	struct quorum elect, commit;
	unsigned n, set, wrong = 0;

	for (n = 1; n <= QUORUM_VOTERS_MAX; n++) {
		wrong += !taken(&elect, &commit, &p, n, &wrong);
		wrong += !quorum_same(&elect, &commit);
		for (set = 0; set < 1u << n; set++)
			wrong += quorum_has(&elect, set) !=
				 (2 * __builtin_popcount(set) > (int)n);
		wrong += quorum_least(&elect) != n / 2 + 1;
	}
	is_u64(wrong, 0, "majority: all sets of 1 to 9 voters");
	ok(quorum_make(&elect, &commit, &p, names, 0) != NULL &&
		is_empty(&elect),
	    "no voters: refused");
	ok(quorum_make(&elect, &commit, &p, names, 10) != NULL &&
		is_empty(&elect),
	    "ten voters: refused");
	p.kind = (enum quorum_policy_kind)77;
	ok(!taken(&elect, &commit, &p, 3, &wrong), "an unknown policy");
}

static void
flexible(void)
{
	struct quorum_policy p = { .kind = QUORUM_FLEXIBLE };
	unsigned n, set, e, c, size, wrong = 0, took = 0;
	struct quorum elect, commit;

	for (n = 1; n <= QUORUM_VOTERS_MAX; n++)
		for (e = 0; e <= n + 1; e++)
			for (c = 0; c <= n + 1; c++) {
				bool may = e <= n && c <= n && e + e > n &&
					   e + c > n && c > 0;

				p.elect = e;
				p.commit = c;
				if (taken(&elect, &commit, &p, n, &wrong) !=
				    may)
					wrong++;
				if (!may)
					continue;
				took++;
				for (set = 0; set < 1u << n; set++) {
					size =
					    (unsigned)__builtin_popcount(set);
					wrong += quorum_has(&elect, set) !=
						 (size >= e);
					wrong += quorum_has(&commit, set) !=
						 (size >= c);
				}
				wrong += quorum_least(&elect) != e ||
					 quorum_least(&commit) != c;
			}
	is_u64(wrong, 0, "flexible: all counts, all sets of 1 to 9 voters");
	ok(took > 0, "%u of the policies may be", took);
	p.elect = p.commit = UINT32_MAX;
	ok(!taken(&elect, &commit, &p, 9, &wrong), "nobody has that many");
}

static void
primary(void)
{
	struct quorum_policy p = { .kind = QUORUM_PRIMARY };
	struct quorum elect, commit;
	unsigned n, wrong = 0;

	for (n = 1; n <= QUORUM_VOTERS_MAX; n++)
		for (p.primary = 0; p.primary <= n; p.primary++) {
			if (taken(&elect, &commit, &p, n, &wrong) !=
			    (n == 2 && p.primary < 2))
				wrong++;
			if (n != 2 || p.primary == 2)
				continue;
			wrong += !quorum_same(&elect, &commit);
			wrong += quorum_has(&elect, 0) ||
				 !quorum_has(&elect, 1u << p.primary) ||
				 quorum_has(&elect, 2u >> p.primary) ||
				 !quorum_has(&elect, 3);
		}
	is_u64(wrong, 0,
	    "designated primary: it and both are quorums, of two only");
}

/* What an expression was written from. */
struct tree {
	enum { TREE_NAME, TREE_ALL, TREE_ANY, TREE_CHOOSE } kind;
	unsigned name, least, count;
	struct tree *of[4];
};

static struct tree trees[512];
static unsigned tree_count;

static struct tree *
tree_random(unsigned depth, unsigned voters)
{
	struct tree *t = &trees[tree_count++];
	unsigned i;

	if (tree_count > 400)
		depth = 0;
	t->kind = depth == 0 ? TREE_NAME : (int)(rnd() % 4);
	t->name = (unsigned)(rnd() % voters);
	t->count = 2 + (unsigned)(rnd() % 3);
	t->least = 1 + (unsigned)(rnd() % t->count);
	for (i = 0; t->kind != TREE_NAME && i < t->count; i++)
		t->of[i] = tree_random(depth - 1, voters);
	return t;
}

/* Brackets around everything, and blanks wherever there may be some. */
static void
tree_write(const struct tree *t, char *at, size_t max)
{
	const char *blank = rnd() % 4 == 0 ? " \t" : "";
	size_t n;
	unsigned i;

	if (t->kind == TREE_NAME) {
		snprintf(at, max, "%s%s%s", blank, names[t->name], blank);
		return;
	}
	if (t->kind == TREE_CHOOSE)
		snprintf(at, max, "choose%s(%s%u", blank, blank, t->least);
	else
		snprintf(at, max, "%s(%s", blank, blank);
	for (i = 0; i < t->count; i++) {
		n = strlen(at);
		if (t->kind == TREE_CHOOSE)
			snprintf(at + n, max - n, "%s,", blank);
		else if (i > 0)
			snprintf(at + n, max - n, "%s",
			    t->kind == TREE_ALL ? "&" : "|");
		n = strlen(at);
		tree_write(t->of[i], at + n, max - n);
	}
	n = strlen(at);
	snprintf(at + n, max - n, ")");
}

static bool
tree_holds(const struct tree *t, unsigned set)
{
	unsigned i, have = 0;

	if (t->kind == TREE_NAME)
		return (set >> t->name & 1) != 0;
	for (i = 0; i < t->count; i++)
		have += tree_holds(t->of[i], set);
	if (t->kind == TREE_CHOOSE)
		return have >= t->least;
	return t->kind == TREE_ALL ? have == t->count : have > 0;
}

static struct quorum
tree_table(const struct tree *t, unsigned count)
{
	struct quorum q = { { 0 } };
	unsigned set;

	for (set = 0; set < 1u << count; set++)
		if (tree_holds(t, set))
			q.bit[set / 64] |= UINT64_C(1) << set % 64;
	return q;
}

static void
random_expressions(void)
{
	static char text[2][16384];
	struct quorum elect, commit, want[2];
	struct quorum_policy p = { .kind = QUORUM_EXPRESSION,
		.elect_text = text[0],
		.commit_text = text[1] };
	unsigned k, i, n, wrong = 0, took = 0;
	bool may;

	for (k = 0; k < 3000; k++) {
		n = 1 + (unsigned)(rnd() % QUORUM_VOTERS_MAX);
		for (i = 0; i < 2; i++) {
			struct tree *t;

			tree_count = 0;
			t = tree_random((unsigned)(rnd() % 4), n);
			tree_write(t, text[i], sizeof(text[i]));
			want[i] = tree_table(t, n);
			/* Often the same for both: that may be more often. */
			if (i == 0 && rnd() % 2 == 0) {
				strcpy(text[1], text[0]);
				want[1] = want[0];
				break;
			}
		}
		may = slow_meets(&want[0], &want[0], n) &&
		      slow_meets(&want[0], &want[1], n);
		wrong += quorum_meets(&want[0], &want[1], n) !=
			 slow_meets(&want[0], &want[1], n);
		if (taken(&elect, &commit, &p, n, &wrong) != may)
			wrong++;
		if (!may)
			continue;
		took++;
		wrong += !quorum_same(&elect, &want[0]) ||
			 !quorum_same(&commit, &want[1]);
	}
	is_u64(wrong, 0, "3,000 random pairs of expressions");
	ok(took > 100 && took < 2900, "%u of them may be", took);
}

static void
expression(void)
{
	struct quorum_policy p = { .kind = QUORUM_EXPRESSION }, plain = { 0 };
	struct quorum elect, commit, e, c;
	unsigned wrong = 0;

	p.elect_text = p.commit_text = "choose(2,a,b,c)";
	(void)taken(&elect, &commit, &p, 3, &wrong);
	(void)taken(&e, &c, &plain, 3, &wrong);
	ok(quorum_same(&elect, &e) && quorum_same(&commit, &c),
	    "two of three is the majority");
	p.elect_text = "a&b | a&c | b&c";
	ok(taken(&elect, &commit, &p, 3, &wrong) && quorum_same(&elect, &e),
	    "written the long way: the same table");
	p.elect_text = "choose(3, a, a, b, c)";
	p.commit_text = "a & (b | c) | choose(3, a, a, b, c)";
	ok(taken(&elect, &commit, &p, 3, &wrong) && quorum_has(&elect, 3) &&
		quorum_has(&elect, 5) && !quorum_has(&elect, 6),
	    "one named twice counts twice");
	p.elect_text = p.commit_text = "choose & a";
	ok(taken(&elect, &commit, &p, 5, &wrong) && quorum_has(&elect, 17) &&
		!quorum_has(&elect, 15),
	    "choose without a bracket is a name");
	p.elect_text = "a & b";
	p.commit_text = "a | b";
	ok(taken(&elect, &commit, &p, 2, &wrong), "all elect, one commits");
	p.commit_text = "a | b | c";
	ok(!taken(&elect, &commit, &p, 3, &wrong), "that one may be elsewhere");
	p.elect_text = "a | b";
	p.commit_text = "a & b";
	ok(!taken(&elect, &commit, &p, 2, &wrong), "two masters at once");
	is_u64(wrong, 0, "what is refused has no quorum");
}

static void
no_expression(void)
{
	static const char *const bad[] = { "", " ", "a b", "a &", "& a", "a |",
		"a && b", "(a", "a)", "()", "x", "A", "ab", "a&x", "a,b",
		"choose(", "choose()", "choose(2)", "choose(0,a)",
		"choose(10,a)", "choose(a,b)", "choose(2,a)", "choose(1,)",
		"choose(1,a", "choose(1 a)", "choose(2,a,b))", "choose(-1,a)",
		"choose(1a,b)", "choose", "1", "a\n", "a\x01", "a&(b|)",
		"a (b)", "(a)(b)", "((((((((( a )))))))))" };
	struct quorum_policy p = { .kind = QUORUM_EXPRESSION };
	unsigned wrong = 0, took = 0;
	struct quorum elect, commit;
	char deep[4096];
	size_t i;

	for (i = 0; i < NITEMS(bad); i++) {
		p.elect_text = "a&b&c";
		p.commit_text = bad[i];
		took += taken(&elect, &commit, &p, 3, &wrong);
		p.elect_text = bad[i];
		p.commit_text = "a&b&c";
		took += taken(&elect, &commit, &p, 3, &wrong);
	}
	is_u64(took, 0, "what is no expression is refused");
	p.elect_text = p.commit_text = "(((((((( a ))))))))";
	ok(taken(&elect, &commit, &p, 3, &wrong), "eight brackets are few");
	memset(deep, '(', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	p.elect_text = deep;
	ok(!taken(&elect, &commit, &p, 3, &wrong), "thousands are not");
	is_u64(wrong, 0, "and has no quorum");
}

static void
sets(void)
{
	static const struct quorum none;
	unsigned k, i, n, want, wrong = 0;
	struct quorum q;
	uint16_t voters, members;

	for (k = 0; k < 200000; k++) {
		voters = (uint16_t)(rnd() & rnd());
		members = (uint16_t)rnd();
		if (__builtin_popcount(voters) > QUORUM_VOTERS_MAX)
			continue;
		for (i = n = want = 0; i < 16; i++) {
			if ((voters & 1u << i) == 0)
				continue;
			if ((members & 1u << i) != 0)
				want += 1u << n;
			n++;
		}
		wrong += quorum_set(voters, members) != want;
	}
	is_u64(wrong, 0, "voters of masks of members");
	is_u64(quorum_least(&none), 0, "no quorum, no size");
	memset(&q, 0xff, sizeof(q));
	is_u64(quorum_least(&q), 1, "of all sets one voter is the least");
}

/* By trying every loss of so many; the rule of more voters holds throughout. */
static int
spare_tried(const struct quorum *q, unsigned set)
{
	int n;
	unsigned lost;

	if (!quorum_has(q, set))
		return -1;
	for (n = 1; n <= __builtin_popcount(set); n++)
		for (lost = 0; lost < QUORUM_SETS; lost++)
			if ((lost & ~set) == 0 &&
			    __builtin_popcount(lost) == n &&
			    !quorum_has(q, set & ~lost))
				return n - 1;
	return n - 1;
}

static void
spare(void)
{
	static const struct quorum none;
	struct quorum q = quorum_count(2, 3), elect, commit;
	struct quorum_policy p = { .kind = QUORUM_EXPRESSION,
		.elect_text = "a & choose(1, b, c)",
		.commit_text = "a & choose(1, b, c)" };
	static const char *const name[] = { "a", "b", "c" };
	unsigned set, count, wrong = 0;

	ok(quorum_spare(&q, 7) == 1 && quorum_spare(&q, 5) == 0 &&
		quorum_spare(&q, 4) == -1 && quorum_spare(&q, 0) == -1,
	    "of three voters one more can be lost, of two none");
	q = quorum_count(1, 1);
	is_i64(quorum_spare(&q, 1), 0, "nor of one");
	is_i64(quorum_spare(&none, 7), -1, "no quorum is none already");
	ok(quorum_make(&elect, &commit, &p, name, 3) == NULL &&
		quorum_spare(&commit, 7) == 0,
	    "the worst loss counts, not the number");
	for (count = 1; count <= 5; count++)
		for (q = quorum_count(count / 2 + 1, count), set = 0;
		     set < 1u << count; set++)
			wrong += quorum_spare(&q, set) != spare_tried(&q, set);
	for (set = 0; set < 8; set++)
		wrong +=
		    quorum_spare(&commit, set) != spare_tried(&commit, set);
	is_u64(wrong, 0, "as trying every loss says");
}

int
main(void)
{
	rnd_seed();
	majority();
	flexible();
	primary();
	random_expressions();
	expression();
	no_expression();
	sets();
	spare();
	return tap_done();
}
