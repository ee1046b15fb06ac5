/*
 * What simulators of the core share: chance by a seed, how a run fails and
 * tells what it does, and the tests of many seeds. One includer; all of it is
 * its. It has run(), which tells with `failure` whether a seed kept all.
 */
#ifndef T_SIM_SEEDS_H
#define T_SIM_SEEDS_H

#include "t/tap.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>

#include "t/lib/splitmix.h"

static bool verbose;
static uint64_t rng_state;
static jmp_buf failed;
static char failure[512];

static bool run(uint64_t seed);

static uint64_t
rng(void)
{
	return splitmix(&rng_state);
}

static uint64_t
pick(uint64_t n)
{
	return rng() % n;
}

#define CHECK(cond, what)                                                      \
	do {                                                                   \
		if (!(cond)) {                                                 \
			snprintf(                                              \
			    failure, sizeof(failure), "%s (%s)", what, #cond); \
			longjmp(failed, 1);                                    \
		}                                                              \
	} while (0)

/* A fault of the world that is set must be found in fewer seeds than that. */
static void
test_fault(const char *name, uint64_t limit)
{
	uint64_t s;

	for (s = 1; s < limit && run(s); s++)
		;
	ok(s < limit, "%s is found (seed %" PRIu64 ": %s)", name, s, failure);
}

static void
test_seeds(const char *simulator, uint64_t first, uint64_t count)
{
	uint64_t s;

	for (s = first; s < first + count; s++) {
		if (run(s))
			continue;
		ok(false, "seed %" PRIu64 ": %s", s, failure);
		diag("replay: %s -s %" PRIu64, simulator, s);
		return;
	}
	ok(true, "%" PRIu64 " seeds from %" PRIu64 " keep all invariants",
	    count, first);
}

#endif
