/*
 * Term runs against a list of every record's term, through random histories of
 * appends and cuts; what is refused; what goes when there are too many; and
 * readers beside a writer that is killed again and again.
 */
#include "shm/log/terms.h"

#include "t/shm_fixture.h"

#define LOG_MAX 6000

static uint64_t term_at[LOG_MAX + 1]; /* of VLSN i */
static uint64_t newest;
static struct terms table;

static struct terms *
table_fresh(void)
{
	memset(&table, 0, sizeof(table));
	newest = 0;
	return &table;
}

/* Every record and every term, and those beside them. */
static unsigned
wrong_answers(const struct terms *t, uint64_t known_from)
{
	uint64_t v, term, last, want, top = newest > 0 ? term_at[newest] : 0;
	unsigned wrong = 0;
	int rc;

	for (v = 0; v <= newest; v++) {
		rc = terms_of_vlsn(t, v, &term);
		if (v < known_from || v == 0)
			wrong += rc != -ENOENT;
		else
			wrong += rc != 0 || term != term_at[v];
	}
	for (term = 0; term <= top + 1; term++) {
		for (want = 0, v = known_from; v <= newest; v++)
			if (v > 0 && term_at[v] == term)
				want = v;
		rc = terms_last_of(t, term, &last);
		if (want == 0)
			wrong += rc != -ENOENT;
		else if (want == newest)
			wrong += rc != 0 || last != UINT64_MAX;
		else
			wrong += rc != 0 || last != want;
	}
	return wrong;
}

static void
append(struct terms *t, uint64_t term, unsigned *wrong)
{
	term_at[++newest] = term;
	*wrong += !terms_add(t, term, newest);
}

static void
random_histories(void)
{
	unsigned k, i, wrong = 0, cuts = 0, runs = 0;
	struct terms *t;

	for (k = 0; k < 200; k++) {
		unsigned often = 1 + (unsigned)(rnd() % 12);

		t = table_fresh();
		for (i = 0; i < 150; i++) {
			uint64_t top = newest > 0 ? term_at[newest] : 0;

			if (rnd() % 20 == 0) {
				newest = rnd() % (newest + 1);
				terms_cut(t, newest);
				cuts++;
			} else if (rnd() % often == 0 || top == 0) {
				append(t, top + 1 + rnd() % 3, &wrong);
				runs++;
			} else {
				append(t, top, &wrong);
			}
			if (i % 10 == 0)
				wrong += wrong_answers(t, 1);
		}
		wrong += wrong_answers(t, 1);
	}
	is_u64(wrong, 0, "200 random histories");
	ok(runs > 1000 && cuts > 1000, "%u runs, %u cuts", runs, cuts);
}

static void
refused(void)
{
	struct terms *t = table_fresh();
	struct term_run runs[TERM_RUNS_MAX];
	uint64_t term;

	is_u64(terms_copy(t, runs), 0, "a fresh table knows of nothing");
	is_i64(terms_of_vlsn(t, 1, &term), -ENOENT, "of no record");
	is_i64(terms_last_of(t, 0, &term), -ENOENT, "and of no term");
	ok(!terms_add(t, 1, 0), "there is no record 0");
	ok(terms_add(t, 5, 10), "the oldest that is known");
	ok(!terms_add(t, 4, 11), "terms never fall");
	ok(!terms_add(t, 6, 10) && !terms_add(t, 5, 9), "nor do VLSNs");
	ok(terms_add(t, 5, 11) && terms_add(t, UINT64_MAX, 12),
	    "the same term goes on, a higher one begins a run");
	ok(terms_copy(t, runs) == 2 && runs[0].term == 5 &&
		runs[0].first == 10 && runs[1].term == UINT64_MAX &&
		runs[1].first == 12,
	    "two runs");
	ok(terms_of_vlsn(t, UINT64_MAX, &term) == 0 && term == UINT64_MAX,
	    "the newest goes on to the log's end");
	ok(terms_last_of(t, 5, &term) == 0 && term == 11, "one ends");
	terms_clear(t);
	is_u64(terms_copy(t, runs), 0, "cleared");
}

static void
full(void)
{
	struct terms *t = table_fresh();
	struct term_run runs[TERM_RUNS_MAX];
	unsigned wrong = 0, n, i;

	/* Each term has two records. */
	for (i = 0; i < 2 * TERM_RUNS_MAX; i++)
		append(t, 1 + i / 2, &wrong);
	n = terms_copy(t, runs);
	ok(n == TERM_RUNS_MAX && runs[0].first == 1, "as many as there may be");
	wrong += wrong_answers(t, 1);
	for (; i < 5 * TERM_RUNS_MAX; i++) {
		append(t, 1 + i / 2, &wrong);
		n = terms_copy(t, runs);
		wrong +=
		    n != TERM_RUNS_MAX || runs[0].term + n - 1 != 1 + i / 2;
	}
	wrong += wrong_answers(t, runs[0].first);
	is_u64(wrong, 0, "then each new one drops the oldest");
	newest = runs[500].first - 1;
	terms_cut(t, newest);
	is_u64(terms_copy(t, runs), 500, "a cut leaves what is before it");
	is_u64(wrong_answers(t, runs[0].first), 0, "as it was");
	for (i = 0; i < 600; i++)
		append(t, term_at[newest] + 2, &wrong);
	is_u64(terms_copy(t, runs), TERM_RUNS_MAX, "and there is room again");
	is_u64(wrong_answers(t, runs[0].first) + wrong, 0, "for others");
	newest = runs[0].first - 1;
	terms_cut(t, newest);
	is_u64(terms_copy(t, runs), 0, "a cut before all leaves none");
}

/* first = term / 4, so that half a run does not look like one. */
static int
writer_main(void *arg)
{
	struct terms *t = arg;
	struct term_run runs[TERM_RUNS_MAX];
	uint64_t first;
	unsigned n;

	rnd_state = mono_ns() | 1;
	n = terms_copy(t, runs);
	first = n > 0 ? runs[n - 1].first : 0;
	for (;;) {
		if (rnd() % 16 == 0) {
			first -= first < 40 ? 0 : rnd() % 40;
			terms_cut(t, first);
		}
		first += 1 + rnd() % 4;
		if (!terms_add(t, first * 4 + rnd() % 4, first))
			return 1;
	}
}

static bool
runs_sound(const struct term_run *runs, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (runs[i].first != runs[i].term / 4 ||
		    (i > 0 && (runs[i].first <= runs[i - 1].first ||
				  runs[i].term <= runs[i - 1].term)))
			return false;
	return true;
}

static void
stress(void)
{
	static struct term_run runs[TERM_RUNS_MAX];
	struct terms *t = shared_zeros(sizeof(*t));
	uint64_t reads = 0, torn = 0, until, term, last, seen = 0, top = 0;
	bool full = false;
	unsigned n;
	pid_t pid;
	int i, rc;

	for (i = 0; i < 20; i++) {
		pid = child_start(writer_main, t);
		until = mono_ns() + 30 * NS_PER_MS;
		/* On a busy core the writer may not come that soon. */
		while (mono_ns() < until ||
		       (i == 19 && (seen == 0 || !full) &&
			   mono_ns() < until + 20 * NS_PER_S)) {
			n = terms_copy(t, runs);
			full |= n == TERM_RUNS_MAX;
			torn += !runs_sound(runs, n);
			if (n == 0)
				continue;
			seen += runs[n - 1].first != top;
			top = runs[n - 1].first;
			rc = terms_of_vlsn(t, top, &term);
			torn += rc == 0 && term / 4 > top;
			rc = terms_last_of(t, runs[n / 2].term, &last);
			torn += rc == 0 && last < runs[n / 2].first;
			reads++;
		}
		kill(pid, SIGKILL);
		if (child_end(pid) != 1000 + SIGKILL)
			ok(false, "writer %d was refused", i);
		torn += !runs_sound(runs, terms_copy(t, runs));
	}
	is_u64(torn, 0, "no run is ever torn");
	ok(seen > 0 && full, "%u changes in %u reads, to the last slot",
	    (unsigned)seen, (unsigned)reads);
	munmap(t, sizeof(*t));
}

int
main(void)
{
	rnd_seed();
	random_histories();
	refused();
	full();
	stress();
	return tap_done();
}
