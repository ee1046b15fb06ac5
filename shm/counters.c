/* Counters: names and sums. The adding is inline in the header. */
#include "shm/counters.h"

#include "shm/assert.h"

static const char *const counter_names[] = {
#define X(NAME, name, help) [C_##NAME] = name,
	COUNTERS(X)
#undef X
};

static const char *const counter_helps[] = {
#define X(NAME, name, help) [C_##NAME] = help,
	COUNTERS(X)
#undef X
};

uint64_t
counter_sum(const struct counters *c, enum counter which)
{
	uint64_t sum = 0;
	unsigned slot;

	ASSERT((unsigned)which < COUNTER_COUNT);
	for (slot = 0; slot < SLOT_MAX; slot++)
		sum += atomic_load_explicit(
		    &c->slot[slot].v[which], memory_order_relaxed);
	return sum;
}

const char *
counter_name(enum counter which)
{
	return (unsigned)which < COUNTER_COUNT ? counter_names[which] : "?";
}

const char *
counter_help(enum counter which)
{
	return (unsigned)which < COUNTER_COUNT ? counter_helps[which] : "?";
}
