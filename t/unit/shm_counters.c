/*
 * Counters, histograms, names: sums over slots, buckets' error against exact
 * quantiles, merging, intervals.
 */
#include "shm/counters.h"

#include "t/shm_fixture.h"

static void
counters(void)
{
	struct counters *c = shared_zeros(sizeof(*c));
	unsigned i, j;
	bool unique = true;

	counter_add(c, SLOT_WAL, C_WAL_RECORDS, 3);
	counter_add(c, SLOT_WAL, C_WAL_RECORDS, 4);
	counter_add(c, SLOT_GATEWAY, C_WAL_RECORDS, 100);
	counter_add(c, SLOT_GATEWAY + 15, C_COMMANDS, 1);
	is_u64(counter_sum(c, C_WAL_RECORDS), 107, "summed over slots");
	is_u64(counter_sum(c, C_COMMANDS), 1, "also the last slot");
	is_u64(counter_sum(c, C_WAL_BYTES), 0, "others are not touched");
	for (i = 0; i < COUNTER_COUNT; i++) {
		unique &= counter_help(i)[0] != '\0';
		for (j = 0; j < i; j++)
			unique &= strcmp(counter_name(i), counter_name(j)) != 0;
	}
	ok(unique, "each counter has a name of its own, and a help text");
	is_str(counter_name(C_LOCK_REPAIRS), "lock_repairs", "a name");
	is_str(counter_name(COUNTER_COUNT), "?", "no counter beyond the last");
	munmap(c, sizeof(*c));
}

static double
off_by(uint64_t got, uint64_t want)
{
	double d = got > want ? (double)(got - want) : (double)(want - got);

	return want == 0 ? d : d / (double)want;
}

/* Every value, alone in a histogram, comes back within one percent. */
static void
bucket_error(struct histogram *h)
{
	uint64_t v, k, best;
	double worst = 0, e;

	for (k = 0; k < 20000; k++) {
		v = rnd() >> (23 + rnd() % 41);
		memset(h, 0, sizeof(*h));
		hist_add(h, v);
		hist_add(h, UINT64_MAX);
		best = hist_quantile(h, 0.25);
		e = off_by(best, v);
		if (e > worst)
			worst = e;
	}
	ok(worst <= 0.01, "values come back within 1 %% (worst %.3f %%)",
	    worst * 100);
	for (v = 0; v < 128; v++) {
		memset(h, 0, sizeof(*h));
		hist_add(h, v);
		hist_add(h, 1000);
		if (hist_quantile(h, 0.3) != v)
			ok(false, "%u is exact", (unsigned)v);
	}
	memset(h, 0, sizeof(*h));
	hist_add(h, UINT64_MAX);
	is_u64(hist_quantile(h, 0.5), UINT64_MAX, "beyond the last: maximum");
	is_u64(h->bucket[HIST_BUCKETS - 1], 1, "counted in the last bucket");
	memset(h, 0, sizeof(*h));
	hist_add(h, (UINT64_C(1) << 42) - 1);
	is_u64(h->bucket[HIST_BUCKETS - 1], 1, "the last bucket's own");
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
quantiles(struct histogram *h)
{
	static const double q[] = { 0.01, 0.1, 0.5, 0.9, 0.99, 0.999 };
	static uint64_t v[50000];
	double worst = 0, e;
	uint64_t sum = 0;
	size_t i;

	memset(h, 0, sizeof(*h));
	is_u64(hist_quantile(h, 0.5), 0, "empty: 0");
	for (i = 0; i < NITEMS(v); i++) {
		v[i] = rnd() >> (30 + rnd() % 20);
		sum += v[i];
		hist_add(h, v[i]);
	}
	qsort(v, NITEMS(v), sizeof(v[0]), by_value);
	for (i = 0; i < NITEMS(q); i++) {
		e = off_by(hist_quantile(h, q[i]),
		    v[(size_t)(q[i] * (double)NITEMS(v))]);
		if (e > worst)
			worst = e;
	}
	ok(worst <= 0.01, "quantiles within 1 %% (worst %.3f %%)", worst * 100);
	is_u64(hist_quantile(h, 1), v[NITEMS(v) - 1], "the maximum is exact");
	is_u64(hist_quantile(h, 7), v[NITEMS(v) - 1], "beyond 1: the maximum");
	ok(off_by(hist_quantile(h, -1), v[0]) <= 0.01, "below 0: the least");
	is_u64(h->count, NITEMS(v), "count");
	is_u64(h->sum, sum, "sum");
}

static void
merging(void)
{
	struct histograms *hs = shared_zeros(sizeof(*hs));
	struct histogram a, b;
	unsigned i;

	ok(hist_of(hs, SLOT_WAL, H_FLUSH) == &hs->worker[H_FLUSH],
	    "a worker's");
	ok(hist_of(hs, SLOT_WAL, H_REQUEST_READ) == NULL,
	    "requests are the gateways'");
	ok(hist_of(hs, SLOT_GATEWAY + 3, H_REQUEST_WRITE) == &hs->gateway[3][1],
	    "a gateway's");
	ok(hist_of(hs, SLOT_GATEWAY, H_FLUSH) == NULL, "which has no others");
	ok(hist_of(hs, SLOT_MAX, H_FLUSH) == NULL, "no such slot");
	ok(hist_of(hs, SLOT_WAL, HIST_COUNT) == NULL, "no such histogram");
	for (i = 0; i < GATEWAY_MAX; i++)
		hist_add(hist_of(hs, SLOT_GATEWAY + i, H_REQUEST_READ), i + 1);
	hist_add(hist_of(hs, SLOT_GATEWAY, H_REQUEST_WRITE), 5000);
	hist_merge(hs, H_REQUEST_READ, &a);
	is_u64(a.count, GATEWAY_MAX, "merged: count");
	is_u64(a.sum, GATEWAY_MAX * (GATEWAY_MAX + 1) / 2, "sum");
	is_u64(a.max, GATEWAY_MAX, "maximum");
	is_u64(hist_quantile(&a, 0.5), GATEWAY_MAX / 2 + 1, "median");
	hist_merge(hs, H_REQUEST_WRITE, &b);
	is_u64(b.count, 1, "reads and writes are apart");

	hist_merge(hs, H_REQUEST_READ, &b);
	hist_add(hist_of(hs, SLOT_GATEWAY, H_REQUEST_READ), 100);
	hist_add(hist_of(hs, SLOT_GATEWAY, H_REQUEST_READ), 50);
	hist_merge(hs, H_REQUEST_READ, &a);
	hist_sub(&a, &b);
	is_u64(a.count, 2, "interval: count");
	is_u64(a.sum, 150, "sum");
	is_u64(a.max, 100, "maximum of the interval");
	is_u64(hist_quantile(&a, 0.1), 50, "quantile");
	hist_merge(hs, H_REQUEST_READ, &b);
	hist_merge(hs, H_REQUEST_READ, &a);
	hist_sub(&a, &b);
	is_u64(a.count + a.sum + a.max, 0, "an interval with nothing in it");
	is_u64(hist_quantile(&a, 0.99), 0, "has no quantile");
	munmap(hs, sizeof(*hs));
}

static void
names(void)
{
	is_str(hist_name(H_FLUSH), "wal_flush", "histogram's name");
	is_str(hist_unit(H_FLUSH_RECORDS), "records", "unit");
	is_str(hist_help(H_COMMIT), "Append to committed", "help");
	is_str(hist_name(HIST_COUNT), "?", "none beyond the last");
	is_str(slot_name(SLOT_STORE), "store", "a slot's name");
	is_str(slot_name(SLOT_GATEWAY + 15), "gateway15", "the last one's");
	is_str(slot_name(SLOT_MAX), "slot?", "a number that is none");
	is_str(slot_state_name(SLOT_BACKOFF), "backoff", "a state's name");
	is_str(slot_state_name(99), "state?", "no such state");
	is_str(busy_name(BUSY_TABLE), "table full", "what holds it back");
	is_str(busy_name(BUSY_MAX), "busy?", "no such reason");
}

int
main(void)
{
	struct histogram *h = shared_zeros(sizeof(*h));

	rnd_seed();
	counters();
	bucket_error(h);
	quantiles(h);
	merging();
	names();
	return tap_done();
}
