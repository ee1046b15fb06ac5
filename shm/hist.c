/*
 * Log-linear histograms. Bucket of v: v itself below 2^7; above, with
 * shift = log2(v) - 6, the bucket shift * 64 + (v >> shift), 2^shift wide.
 */
#include "shm/counters.h"

#include "shm/assert.h"

#define HIST_SUB (1u << HIST_SUB_BITS)

static const char *const hist_names[] = {
#define X(NAME, name, unit, help) [H_##NAME] = name,
	HISTOGRAMS(X)
#undef X
};

static const char *const hist_units[] = {
#define X(NAME, name, unit, help) [H_##NAME] = unit,
	HISTOGRAMS(X)
#undef X
};

static const char *const hist_helps[] = {
#define X(NAME, name, unit, help) [H_##NAME] = help,
	HISTOGRAMS(X)
#undef X
};

static unsigned
hist_bucket(uint64_t value)
{
	unsigned shift;

	if (value < 2 * HIST_SUB)
		return (unsigned)value;
	if (value >> HIST_MAX_BITS != 0)
		return HIST_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return (shift << HIST_SUB_BITS) + (unsigned)(value >> shift);
}

/* The middle of a bucket: at most half a width from each of its values. */
static uint64_t
hist_value(unsigned bucket)
{
	unsigned shift;
	uint64_t low;

	if (bucket < 2 * HIST_SUB)
		return bucket;
	shift = (bucket >> HIST_SUB_BITS) - 1;
	low = (uint64_t)(bucket - (shift << HIST_SUB_BITS)) << shift;
	return low + (UINT64_C(1) << shift) / 2;
}

/* The writer is alone, so adding needs no read-modify-write. */
static void
hist_word_add(_Atomic uint64_t *word, uint64_t n)
{
	atomic_store_explicit(word,
	    atomic_load_explicit(word, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

static uint64_t
hist_word(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

void
hist_add(struct histogram *h, uint64_t value)
{
	hist_word_add(&h->bucket[hist_bucket(value)], 1);
	hist_word_add(&h->sum, value);
	hist_word_add(&h->count, 1);
	if (value > hist_word(&h->max))
		atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

struct histogram *
hist_of(struct histograms *hs, unsigned slot, enum hist which)
{
	bool request = which == H_REQUEST_READ || which == H_REQUEST_WRITE;

	if (slot >= SLOT_MAX || (unsigned)which >= HIST_COUNT)
		return NULL;
	if (request != (slot >= SLOT_GATEWAY))
		return NULL;
	if (request)
		return &hs->gateway[slot - SLOT_GATEWAY]
				   [which == H_REQUEST_WRITE];
	return &hs->worker[which];
}

static void
hist_sum_into(struct histogram *out, const struct histogram *h)
{
	uint64_t max = hist_word(&h->max);
	unsigned i;

	if (hist_word(&h->count) == 0)
		return;
	for (i = 0; i < HIST_BUCKETS; i++)
		hist_word_add(&out->bucket[i], hist_word(&h->bucket[i]));
	hist_word_add(&out->sum, hist_word(&h->sum));
	hist_word_add(&out->count, hist_word(&h->count));
	if (max > hist_word(&out->max))
		atomic_store_explicit(&out->max, max, memory_order_relaxed);
}

void
hist_merge(const struct histograms *hs, enum hist which, struct histogram *out)
{
	unsigned i, write = which == H_REQUEST_WRITE;

	ASSERT((unsigned)which < HIST_COUNT);
	memset(out, 0, sizeof(*out));
	hist_sum_into(out, &hs->worker[which]);
	if (which != H_REQUEST_READ && which != H_REQUEST_WRITE)
		return;
	for (i = 0; i < GATEWAY_MAX; i++)
		hist_sum_into(out, &hs->gateway[i][write]);
}

uint64_t
hist_quantile(const struct histogram *h, double q)
{
	uint64_t max = hist_word(&h->max), seen = 0, total = 0, want, value;
	unsigned i;

	/* The buckets' own sum: count may be a step ahead of them. */
	for (i = 0; i < HIST_BUCKETS; i++)
		total += hist_word(&h->bucket[i]);
	if (total == 0)
		return 0;
	want = q <= 0 ? 1 : q >= 1 ? total : (uint64_t)(q * (double)total + 1);
	if (want >= total)
		return max;
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += hist_word(&h->bucket[i]);
		if (seen >= want)
			break;
	}
	value = i < HIST_BUCKETS - 1 ? hist_value(i) : max;
	return value < max ? value : max;
}

/* The interval's own maximum is unknown: its highest bucket stands for it. */
static void
hist_max_again(struct histogram *h)
{
	uint64_t max = hist_word(&h->max);
	unsigned i = HIST_BUCKETS;

	while (i > 0 && hist_word(&h->bucket[i - 1]) == 0)
		i--;
	if (i == 0)
		max = 0;
	else if (i < HIST_BUCKETS && hist_value(i - 1) < max)
		max = hist_value(i - 1);
	atomic_store_explicit(&h->max, max, memory_order_relaxed);
}

uint64_t
hist_below(const struct histogram *h, uint64_t value)
{
	unsigned i, end = HIST_BUCKETS;
	uint64_t sum = 0;

	/* The bucket of the next value is the first that is not whole. */
	if (value >> HIST_MAX_BITS == 0)
		end = hist_bucket(value + 1);
	for (i = 0; i < end; i++)
		sum += hist_word(&h->bucket[i]);
	return sum;
}

void
hist_sub(struct histogram *a, const struct histogram *b)
{
	unsigned i;

	for (i = 0; i < HIST_BUCKETS; i++)
		hist_word_add(&a->bucket[i], -hist_word(&b->bucket[i]));
	hist_word_add(&a->sum, -hist_word(&b->sum));
	hist_word_add(&a->count, -hist_word(&b->count));
	hist_max_again(a);
}

const char *
hist_name(enum hist which)
{
	return (unsigned)which < HIST_COUNT ? hist_names[which] : "?";
}

const char *
hist_unit(enum hist which)
{
	return (unsigned)which < HIST_COUNT ? hist_units[which] : "?";
}

const char *
hist_help(enum hist which)
{
	return (unsigned)which < HIST_COUNT ? hist_helps[which] : "?";
}
