/*
 * Any two texts as quorum expressions: what is accepted keeps what the group
 * rests on, looked at for each pair of sets. The first byte says how many
 * voters there are, a NUL ends the first text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/quorum.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "quorum: %s\n", what);
	abort();
}

static void
try_pairs(
    const struct quorum *elect, const struct quorum *other, unsigned count)
{
	unsigned i, j;

	for (i = 0; i < 1u << count; i++)
		for (j = 0; j < 1u << count && quorum_has(elect, i); j++)
			expect((i & j) != 0 || !quorum_has(other, j),
			    "two quorums that do not meet");
}

static void
try_more(const struct quorum *q, unsigned count)
{
	unsigned set, k;

	for (set = 0; set < QUORUM_SETS; set++) {
		expect(set < 1u << count || !quorum_has(q, set),
		    "a voter that there is not");
		for (k = 0; k < count && quorum_has(q, set); k++)
			expect(quorum_has(q, set | 1u << k),
			    "more voters are less of a quorum");
	}
	expect(quorum_least(q) > 0 && quorum_least(q) <= count,
	    "a quorum nobody can reach");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const name[QUORUM_VOTERS_MAX] = { "a", "b", "c", "d",
		"e", "f", "g", "h", "choose" };
	struct quorum_policy p = { .kind = QUORUM_EXPRESSION };
	struct quorum elect, commit;
	unsigned count;
	char *copy;
	size_t n;

	if (len < 1)
		return 0;
	count = data[0] % (QUORUM_VOTERS_MAX + 1);
	/* An exact copy, so that a read past the end is found. */
	copy = malloc(len);
	expect(copy != NULL, "malloc");
	memcpy(copy, data + 1, len - 1);
	copy[len - 1] = '\0';
	n = strlen(copy);
	p.elect_text = copy;
	p.commit_text = n < len - 1 ? copy + n + 1 : copy;
	if (quorum_make(&elect, &commit, &p, name, count) == NULL) {
		try_pairs(&elect, &elect, count);
		try_pairs(&elect, &commit, count);
		try_more(&elect, count);
		try_more(&commit, count);
	}
	free(copy);
	return 0;
}
