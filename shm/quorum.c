/*
 * Policies as truth tables. Tables are put together as wholes, 64 sets at a
 * time: "and" and "or" of two policies are those of their tables' words.
 * Expressions come from a configuration or a log: every byte that does not fit
 * is refused.
 */
#include "shm/quorum.h"

#include <stddef.h>
#include <string.h>

struct parser {
	const char *at; /* what is not read yet */
	const char *const *name;
	unsigned count;
	unsigned depth;
	const char *why; /* the first thing that is wrong; NULL = none */
};

static struct quorum any_parse(struct parser *p);

/* The sets that there are of so many voters: 0 and all below this one. */
static unsigned
sets_end(unsigned count)
{
	ASSERT(count <= QUORUM_VOTERS_MAX);
	return 1u << count;
}

static void
set_add(struct quorum *q, unsigned set)
{
	ASSERT(set < QUORUM_SETS);
	q->bit[set / 64] |= UINT64_C(1) << set % 64;
}

static struct quorum
both(const struct quorum *a, const struct quorum *b)
{
	struct quorum q;
	unsigned i;

	for (i = 0; i < QUORUM_WORDS; i++)
		q.bit[i] = a->bit[i] & b->bit[i];
	return q;
}

static struct quorum
either(const struct quorum *a, const struct quorum *b)
{
	struct quorum q;
	unsigned i;

	for (i = 0; i < QUORUM_WORDS; i++)
		q.bit[i] = a->bit[i] | b->bit[i];
	return q;
}

struct quorum
quorum_count(unsigned least, unsigned count)
{
	struct quorum q = { { 0 } };
	unsigned set;

	for (set = 0; set < sets_end(count); set++)
		if ((unsigned)__builtin_popcount(set) >= least)
			set_add(&q, set);
	return q;
}

/* Every set that this voter is in. */
static struct quorum
quorum_voter(unsigned voter, unsigned count)
{
	struct quorum q = { { 0 } };
	unsigned set;

	ASSERT(voter < count);
	for (set = 0; set < sets_end(count); set++)
		if ((set >> voter & 1) != 0)
			set_add(&q, set);
	return q;
}

static void
refuse(struct parser *p, const char *why)
{
	if (p->why == NULL)
		p->why = why;
}

static void
blanks_skip(struct parser *p)
{
	p->at += strspn(p->at, " \t");
}

/* Is this what comes next? Then it is read. Nothing is, once it is wrong. */
static bool
sign_take(struct parser *p, char sign)
{
	blanks_skip(p);
	if (p->why != NULL || *p->at != sign)
		return false;
	p->at++;
	return true;
}

static void
sign_expect(struct parser *p, char sign, const char *why)
{
	if (!sign_take(p, sign))
		refuse(p, why);
}

/* How many follow; K has one digit, as there are 9 voters. */
static unsigned
number_parse(struct parser *p)
{
	blanks_skip(p);
	if (*p->at < '1' || *p->at > '0' + QUORUM_VOTERS_MAX) {
		refuse(p, "choose in a quorum expression wants 1 to 9 first");
		return 1;
	}
	return (unsigned)(*p->at++ - '0');
}

/* Behind "choose(". have[j]: the sets that fulfil j of what was read. */
static struct quorum
choose_parse(struct parser *p)
{
	struct quorum have[QUORUM_VOTERS_MAX + 1] = { 0 }, one, more;
	unsigned least = number_parse(p), n, j;

	have[0] = quorum_count(0, p->count);
	for (n = 0; sign_take(p, ','); n++) {
		one = any_parse(p);
		for (j = least; j > 0; j--) {
			more = both(&have[j - 1], &one);
			have[j] = either(&have[j], &more);
		}
	}
	if (n < least)
		refuse(p, "choose in a quorum expression wants more than it "
			  "is given");
	return have[least];
}

static struct quorum
name_find(struct parser *p, const char *name, size_t len)
{
	unsigned i;

	for (i = 0; i < p->count; i++)
		if (strlen(p->name[i]) == len &&
		    memcmp(p->name[i], name, len) == 0)
			return quorum_voter(i, p->count);
	refuse(p, len == 0 ? "a name is missing in a quorum expression"
			   : "a quorum expression names what does not vote");
	return (struct quorum){ { 0 } };
}

static struct quorum
one_parse(struct parser *p)
{
	struct quorum q = { { 0 } };
	const char *word;
	size_t len;
	bool choose;

	blanks_skip(p);
	word = p->at;
	len = strcspn(word, " \t&|(),");
	p->at += len;
	choose = len == 6 && memcmp(word, "choose", len) == 0;
	if ((len != 0 && !choose) || !sign_take(p, '('))
		return name_find(p, word, len);
	if (p->depth == QUORUM_DEPTH_MAX) {
		refuse(p, "a quorum expression has brackets too deep");
		return q;
	}
	p->depth++;
	q = choose ? choose_parse(p) : any_parse(p);
	p->depth--;
	sign_expect(p, ')', "a bracket is open in a quorum expression");
	return q;
}

static struct quorum
all_parse(struct parser *p)
{
	struct quorum q = one_parse(p), next;

	while (sign_take(p, '&')) {
		next = one_parse(p);
		q = both(&q, &next);
	}
	return q;
}

static struct quorum
any_parse(struct parser *p)
{
	struct quorum q = all_parse(p), next;

	while (sign_take(p, '|')) {
		next = all_parse(p);
		q = either(&q, &next);
	}
	return q;
}

static const char *
text_parse(struct quorum *q, const char *text, const char *const name[],
    unsigned count)
{
	struct parser p = { .at = text, .name = name, .count = count };

	*q = any_parse(&p);
	blanks_skip(&p);
	if (*p.at != '\0')
		refuse(&p, "a quorum expression goes on where it should end");
	return p.why;
}

static const char *
policy_tables(struct quorum *elect, struct quorum *commit,
    const struct quorum_policy *policy, const char *const name[],
    unsigned count)
{
	const char *why;

	switch (policy->kind) {
	case QUORUM_MAJORITY:
		*elect = *commit = quorum_count(count / 2 + 1, count);
		return NULL;
	case QUORUM_FLEXIBLE:
		*elect = quorum_count(policy->elect, count);
		*commit = quorum_count(policy->commit, count);
		return NULL;
	case QUORUM_EXPRESSION:
		why = text_parse(elect, policy->elect_text, name, count);
		if (why == NULL)
			why = text_parse(
			    commit, policy->commit_text, name, count);
		return why;
	case QUORUM_PRIMARY:
		if (count != 2 || policy->primary >= count)
			return "a designated primary is one of two voters";
		*elect = *commit = quorum_voter(policy->primary, count);
		return NULL;
	}
	return "the quorum policy is unknown";
}

/* Can all voters together decide, and no two sets that do not meet? */
static const char *
tables_check(
    const struct quorum *elect, const struct quorum *commit, unsigned count)
{
	unsigned all = sets_end(count) - 1;

	if (!quorum_has(elect, all) || !quorum_has(commit, all))
		return "the quorum policy asks for more voters than there are";
	if (!quorum_meets(elect, elect, count))
		return "two election quorums need not share a voter";
	if (!quorum_meets(elect, commit, count))
		return "an election quorum and a commit quorum need not share "
		       "a voter";
	return NULL;
}

const char *
quorum_make(struct quorum *elect, struct quorum *commit,
    const struct quorum_policy *policy, const char *const name[],
    unsigned count)
{
	const char *why = "the number of voters is out of bounds";

	if (count >= 1 && count <= QUORUM_VOTERS_MAX)
		why = policy_tables(elect, commit, policy, name, count);
	if (why == NULL)
		why = tables_check(elect, commit, count);
	if (why == NULL)
		return NULL;
	memset(elect, 0, sizeof(*elect));
	memset(commit, 0, sizeof(*commit));
	return why;
}

/*
 * If a quorum of `b` shares nobody with `set`, then neither do all voters that
 * are not in `set`, and these are a quorum, too: so only they are looked at.
 */
bool
quorum_meets(const struct quorum *a, const struct quorum *b, unsigned count)
{
	unsigned set, all = sets_end(count) - 1;

	for (set = 0; set <= all; set++)
		if (quorum_has(a, set) && quorum_has(b, all & ~set))
			return false;
	return true;
}

unsigned
quorum_least(const struct quorum *q)
{
	unsigned set, n, least = 0;

	for (set = 1; set < QUORUM_SETS; set++) {
		n = (unsigned)__builtin_popcount(set);
		if (quorum_has(q, set) && (least == 0 || n < least))
			least = n;
	}
	return least;
}

int
quorum_spare(const struct quorum *q, unsigned set)
{
	int all = __builtin_popcount(set), spare = all, n;
	unsigned left = set;

	/* Each set of them that is none is so many losses away. */
	for (;;) {
		n = __builtin_popcount(left);
		if (!quorum_has(q, left) && all - n - 1 < spare)
			spare = all - n - 1;
		if (left == 0)
			return spare;
		left = (left - 1) & set;
	}
}

unsigned
quorum_set(uint16_t voters, uint16_t members)
{
	unsigned set = 0, k = 0, i;

	ASSERT(__builtin_popcount(voters) <= QUORUM_VOTERS_MAX);
	for (i = 0; voters >> i != 0; i++)
		if ((voters >> i & 1) != 0)
			set |= (members >> i & 1u) << k++;
	return set;
}
