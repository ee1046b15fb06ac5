/*
 * Term runs. A new run is written behind the others before `span` counts it.
 * A run that goes (cut, or dropped for a new one) leaves `span` first, then
 * `turns` goes up, and only then may its slot be written: a reader that met
 * such a slot sees that `turns` has changed, and reads again. So a writer that
 * dies anywhere leaves runs that were true, and nobody waits for it.
 */
#include "shm/log/terms.h"

#include <errno.h>

#include "shm/assert.h"

/* The runs that a reader goes by. */
struct span {
	uint32_t oldest, count;
	uint64_t turns;
};

static struct span
span_unpack(uint64_t word)
{
	struct span s = { .oldest = (uint32_t)(word >> 32) % TERM_RUNS_MAX,
		.count = (uint32_t)word };

	/* Tools read what a dead node left: no word leads out of the ring. */
	if (s.count > TERM_RUNS_MAX)
		s.count = TERM_RUNS_MAX;
	return s;
}

static uint32_t
slot_of(const struct span *s, uint32_t index)
{
	return (s->oldest + index) % TERM_RUNS_MAX;
}

static uint64_t
term_get(const struct terms *t, const struct span *s, uint32_t index)
{
	return atomic_load_explicit(
	    &t->run[slot_of(s, index)].term, memory_order_relaxed);
}

static uint64_t
first_get(const struct terms *t, const struct span *s, uint32_t index)
{
	return atomic_load_explicit(
	    &t->run[slot_of(s, index)].first, memory_order_relaxed);
}

/* ---- wal ---- */

static struct span
own_span(const struct terms *t)
{
	return span_unpack(
	    atomic_load_explicit(&t->span, memory_order_relaxed));
}

static void
span_set(struct terms *t, const struct span *s)
{
	ASSERT(s->oldest < TERM_RUNS_MAX);
	ASSERT(s->count <= TERM_RUNS_MAX);
	/* The run before it: pairs with the acquire in read_begin(). */
	atomic_store_explicit(&t->span, (uint64_t)s->oldest << 32 | s->count,
	    memory_order_release);
}

/* `s` is less than before: what is not in it may be written from here on. */
static void
span_shrink(struct terms *t, const struct span *s)
{
	span_set(t, s);
	/* After `span`: pairs with the acquire in read_begin(). */
	atomic_fetch_add_explicit(&t->turns, 1, memory_order_release);
	/* Before any slot: pairs with the fence in read_again(). */
	atomic_thread_fence(memory_order_release);
}

void
terms_clear(struct terms *t)
{
	terms_cut(t, 0);
}

bool
terms_add(struct terms *t, uint64_t term, uint64_t first)
{
	struct span s = own_span(t);
	uint32_t slot;

	if (first == 0)
		return false;
	if (s.count != 0) {
		if (first <= first_get(t, &s, s.count - 1) ||
		    term < term_get(t, &s, s.count - 1))
			return false;
		if (term == term_get(t, &s, s.count - 1))
			return true;
	}
	if (s.count == TERM_RUNS_MAX) {
		s.oldest = slot_of(&s, 1);
		s.count--;
		span_shrink(t, &s);
	}
	/* No reader goes by this slot: it is behind all that `span` counts. */
	ASSERT(s.count < TERM_RUNS_MAX);
	slot = slot_of(&s, s.count);
	atomic_store_explicit(&t->run[slot].term, term, memory_order_relaxed);
	atomic_store_explicit(&t->run[slot].first, first, memory_order_relaxed);
	s.count++;
	span_set(t, &s);
	return true;
}

void
terms_cut(struct terms *t, uint64_t vlsn)
{
	struct span s = own_span(t);
	uint32_t count = s.count;

	while (s.count > 0 && first_get(t, &s, s.count - 1) > vlsn)
		s.count--;
	if (s.count != count)
		span_shrink(t, &s);
}

/* ---- readers ---- */

static struct span
read_begin(const struct terms *t)
{
	/* Both pair with the releases in span_shrink() and span_set(). */
	uint64_t turns = atomic_load_explicit(&t->turns, memory_order_acquire);
	struct span s =
	    span_unpack(atomic_load_explicit(&t->span, memory_order_acquire));

	s.turns = turns;
	return s;
}

/* May slots have been used again meanwhile? Only if runs went since. */
static bool
read_again(const struct terms *t, const struct span *s)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&t->turns, memory_order_relaxed) !=
	       s->turns;
}

int
terms_of_vlsn(const struct terms *t, uint64_t vlsn, uint64_t *term)
{
	uint32_t low, high, middle;
	struct span s;

	do {
		s = read_begin(t);
		/* low: how many begin at or before it. */
		for (low = 0, high = s.count; low < high;) {
			middle = low + (high - low) / 2;
			if (first_get(t, &s, middle) <= vlsn)
				low = middle + 1;
			else
				high = middle;
		}
		if (low > 0)
			*term = term_get(t, &s, low - 1);
	} while (read_again(t, &s));
	return low > 0 ? 0 : -ENOENT;
}

int
terms_last_of(const struct terms *t, uint64_t term, uint64_t *vlsn)
{
	uint32_t low, high, middle;
	struct span s;
	bool found;

	do {
		s = read_begin(t);
		/* low: how many are of this term or an older one. */
		for (low = 0, high = s.count; low < high;) {
			middle = low + (high - low) / 2;
			if (term_get(t, &s, middle) <= term)
				low = middle + 1;
			else
				high = middle;
		}
		found = low > 0 && term_get(t, &s, low - 1) == term;
		*vlsn = low < s.count ? first_get(t, &s, low) - 1 : UINT64_MAX;
	} while (read_again(t, &s));
	return found ? 0 : -ENOENT;
}

unsigned
terms_copy(const struct terms *t, struct term_run out[TERM_RUNS_MAX])
{
	struct span s;
	uint32_t i;

	do {
		s = read_begin(t);
		for (i = 0; i < s.count; i++) {
			out[i].term = term_get(t, &s, i);
			out[i].first = first_get(t, &s, i);
		}
	} while (read_again(t, &s));
	return s.count;
}
