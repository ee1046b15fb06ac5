/*
 * Which sets of voters decide, as a truth table: one bit for each set of at
 * most 9 voters. A record is committed once a set of the commit table has it
 * durable, a term is won by the votes of a set of the election table; whatever
 * the policy they come from, both are one look-up.
 *
 * Two masters of a term, or one that lacks a committed record, are impossible
 * because any two election quorums share a voter, and any election quorum
 * shares one with any commit quorum: quorum_make() refuses what does not.
 *
 * Voters are numbered 0, 1, … in the order of the membership; a set of voters
 * has bit k for voter k. A mask of members has bits for those who do not vote,
 * too: quorum_set() makes one of the other.
 *
 * A quorum expression names voters:
 *
 *	any  = all { "|" all }
 *	all  = one { "&" one }
 *	one  = NAME | "(" any ")" | "choose(" K { "," any } ")"
 *
 * choose(K, …) is at least K of what follows, of which one that stands there
 * twice counts twice. So more voters never make less of a quorum.
 *
 * Pure functions: no I/O, no allocation. Nothing here logs.
 */
#ifndef SHM_QUORUM_H
#define SHM_QUORUM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "shm/assert.h"

#define QUORUM_VOTERS_MAX 9 /* the table of one more is twice as large */
#define QUORUM_SETS       (1u << QUORUM_VOTERS_MAX)
#define QUORUM_WORDS      (QUORUM_SETS / 64)
#define QUORUM_DEPTH_MAX  8 /* brackets in brackets of an expression */

/* Zeroed = nothing is a quorum. */
struct quorum {
	uint64_t bit[QUORUM_WORDS]; /* bit s: the set s is one */
};
_Static_assert(sizeof(struct quorum) == 64, "a cache line");

enum quorum_policy_kind {
	QUORUM_MAJORITY = 0, /* more than half of the voters, for both */
	QUORUM_FLEXIBLE = 1, /* any .elect voters elect, any .commit commit */
	QUORUM_EXPRESSION = 2, /* as the two expressions say */
	QUORUM_PRIMARY = 3 /* of two voters, whoever has .primary */
};

struct quorum_policy {
	enum quorum_policy_kind kind;
	unsigned elect, commit;
	unsigned primary; /* number of a voter */
	const char *elect_text, *commit_text; /* the caller's */
};

/* What the rules need of a membership. */
struct quorums {
	uint16_t voters; /* mask of members: who votes, whose flush counts */
	struct quorum elect, commit;
};

static inline bool
quorum_has(const struct quorum *q, unsigned set)
{
	ASSERT(set < QUORUM_SETS);
	return (q->bit[set / 64] >> set % 64 & 1) != 0;
}

/* Do both call the same sets a quorum? */
static inline bool
quorum_same(const struct quorum *a, const struct quorum *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/*
 * Make the tables that `policy` means for `count` voters of these names, which
 * only expressions need. NULL, or what is wrong with it (a constant text), and
 * then `elect` and `commit` have no quorum.
 */
const char *quorum_make(struct quorum *elect, struct quorum *commit,
    const struct quorum_policy *policy, const char *const name[],
    unsigned count);

/* Any `least` of `count` voters. */
struct quorum quorum_count(unsigned least, unsigned count);
/*
 * Does each quorum of `a` share a voter with each of `b`? Both are of the same
 * voters, and more voters never make less of a quorum.
 */
bool
quorum_meets(const struct quorum *a, const struct quorum *b, unsigned count);
/* How many voters it takes at the least; 0 = there is no quorum. */
unsigned quorum_least(const struct quorum *q);
/*
 * How many more of the voters of `set` can be lost, whichever they are, before
 * it is no quorum any more; -1 = it is none now.
 */
int quorum_spare(const struct quorum *q, unsigned set);
/* Which of the voters are in a mask of members; both are masks of members. */
unsigned quorum_set(uint16_t voters, uint16_t members);

#endif
