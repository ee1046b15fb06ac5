/*
 * The VLSN map: what a lookup finds at its edges, what cut and trim forget,
 * and that readers in another process never see half of a sample while the
 * writer laps and cuts under them.
 */
#include "shm/log/vmap.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "t/tap.h"

#define LIVE_ADDS 2000000u

static struct vmap *
map_new(void)
{
	void *p = mmap(NULL, sizeof(struct vmap), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static void
map_free(struct vmap *m)
{
	munmap(m, sizeof(*m));
}

/* A lookup's VLSN, 0 for none; the LSN must belong to it. */
static uint64_t
found(const struct vmap *m, uint64_t vlsn)
{
	struct vmap_pair p;

	if (vmap_lookup(m, vlsn, &p) != 0)
		return 0;
	if ((p.lsn & 0xffffffff) != (uint32_t)(p.vlsn * 8)) {
		diag("lsn %" PRIx64 " is not of %" PRIu64, p.lsn, p.vlsn);
		return UINT64_MAX;
	}
	return p.vlsn;
}

static void
add(struct vmap *m, uint64_t vlsn)
{
	vmap_add(m, vlsn, UINT64_C(1) << 32 | (uint32_t)(vlsn * 8));
}

static void
test_lookup(void)
{
	struct vmap *m = map_new();
	struct vmap_pair p;
	uint64_t i;

	is_u64(found(m, 1), 0, "an empty map has nothing");
	is_i64(vmap_get(m, 0, &p), -ENOENT, "no sample 0 in an empty map");
	for (i = 0; i < 100; i++)
		add(m, 10 + i * 10);
	is_u64(found(m, 9), 0, "nothing below the first sample");
	is_u64(found(m, 10), 10, "the first, exactly");
	is_u64(found(m, 19), 10, "nearest lower");
	is_u64(found(m, 1000), 1000, "the last, exactly");
	is_u64(found(m, UINT64_MAX), 1000, "above all: the last");
	is_i64(vmap_get(m, 99, &p), 0, "sample 99");
	is_u64(p.vlsn, 1000, "sample 99 is the last");
	is_i64(vmap_get(m, 100, &p), -ENOENT, "no sample 100");
	add(m, 1000);
	is_u64(m->count, 100, "the same sample again adds none");
	add(m, 500);
	is_u64(found(m, UINT64_MAX), 500, "a lower VLSN supersedes above it");
	is_u64(found(m, 499), 490, "and leaves what is below");
	map_free(m);
}

static void
test_cut(void)
{
	struct vmap *m = map_new();
	struct vmap_range r;
	uint64_t i;

	vmap_cut(m, 7);
	is_u64(found(m, 7), 0, "cutting an empty map");
	for (i = 1; i <= 50; i++)
		add(m, i * 10);
	vmap_range(m, &r);
	vmap_cut(m, 600);
	is_u64(found(m, UINT64_MAX), 500, "a cut above the end cuts nothing");
	is_u64(m->cuts, r.cuts + 2, "and is counted");
	vmap_cut(m, 305);
	is_u64(found(m, UINT64_MAX), 300, "samples above the cut are gone");
	vmap_range(m, &r);
	is_u64(r.count, 30, "count after the cut");
	add(m, 306);
	is_u64(found(m, 310), 306, "new samples take over");
	vmap_cut(m, 0);
	is_u64(found(m, UINT64_MAX), 0, "cut at 0 empties");
	add(m, 1);
	is_u64(found(m, 5), 1, "an emptied map fills again");
	map_free(m);
}

/* After laps and cuts, slots that hold later samples must not reappear. */
static void
test_wrap(void)
{
	struct vmap *m = map_new();
	uint64_t n = VMAP_ENTRIES + VMAP_ENTRIES / 2, i, first;
	struct vmap_pair p;
	unsigned bad = 0;

	for (i = 1; i <= n; i++)
		add(m, i * 2);
	first = (n - VMAP_ENTRIES + 2) * 2;
	is_u64(found(m, first - 1), 0, "lapped samples are gone");
	is_u64(found(m, first), first, "the oldest that is left");
	is_i64(vmap_get(m, 5, &p), -ENOENT, "a lapped number");
	vmap_cut(m, first + 10);
	is_u64(found(m, first - 1), 0, "a cut brings no lapped sample back");
	is_u64(found(m, UINT64_MAX), first + 10, "the ring's tail was cut");
	for (i = 1; i <= VMAP_ENTRIES * 2; i++) {
		add(m, first + 10 + i);
		if (found(m, first + 10 + i) != first + 10 + i)
			bad++;
	}
	is_u64(bad, 0, "each of two more laps is found as it is added");
	map_free(m);
}

static void
test_trim(void)
{
	struct vmap *m = map_new();
	uint64_t i;

	for (i = 1; i <= 50; i++)
		add(m, i * 10);
	vmap_trim(m, 200);
	is_u64(found(m, 199), 0, "below the trim");
	is_u64(found(m, 200), 200, "the first that stays");
	vmap_trim(m, 100);
	is_u64(found(m, 199), 0, "a lower trim changes nothing");
	vmap_trim(m, 501);
	is_u64(found(m, UINT64_MAX), 0, "all of it trimmed");
	vmap_cut(m, 100);
	add(m, 510);
	is_u64(found(m, 600), 510, "goes on after that");
	map_free(m);
}

static void
test_old(void)
{
	struct vmap *m = map_new();
	struct vmap_pair old[20], copy[20];
	struct vmap_range r;
	size_t i;

	for (i = 0; i < 20; i++) {
		old[i].vlsn = 5 + i * 5;
		old[i].lsn = old[i].vlsn * 8;
	}
	add(m, 100);
	vmap_range(m, &r);
	vmap_old_set(m, old, 20, r.cuts);
	is_u64(found(m, 4), 0, "below the older samples");
	is_u64(found(m, 52), 50, "an older sample, nearest lower");
	is_u64(found(m, 104), 100, "the ring goes first");
	vmap_trim(m, 50);
	is_u64(found(m, 49), 0, "trim hides older samples");
	is_u64(found(m, 54), 50, "and only those");
	is_u64(vmap_old_copy(m, copy, 20), 11, "copied without the trimmed");
	is_u64(copy[0].vlsn, 50, "from the first that counts");
	vmap_cut(m, 60);
	is_u64(found(m, 99), 60, "a cut voids the older samples above it");
	is_u64(vmap_old_copy(m, copy, 20), 3, "and they are not copied");
	vmap_cut(m, 54);
	add(m, 80);
	vmap_cut(m, 70);
	is_u64(found(m, 99), 50, "the lowest cut counts");
	vmap_range(m, &r);
	vmap_old_set(m, old, 10, r.cuts);
	is_u64(found(m, 99), 50, "until they are taken anew");
	vmap_old_set(m, old, 0, r.cuts);
	is_u64(found(m, 99), 0, "no older samples");
	map_free(m);
}

static void
test_old_thin(void)
{
	struct vmap *m = map_new();
	size_t n = VMAP_OLD_ENTRIES * 2 + 7, i;
	struct vmap_pair *old = calloc(n, sizeof(*old));
	uint64_t seq;

	for (i = 0; i < n; i++) {
		old[i].vlsn = i + 1;
		old[i].lsn = (i + 1) * 8;
	}
	vmap_old_set(m, old, n, 0);
	ok(m->old.count <= VMAP_OLD_ENTRIES, "too many are thinned out");
	ok(found(m, n) + 4 > n, "and still reach to the end");
	is_u64(found(m, 1), 1, "from the beginning");
	/* A writer that died between its two stores of seq. */
	m->old.seq++;
	is_u64(found(m, 10), 0, "half-written older samples are not read");
	seq = m->old.seq;
	vmap_old_set(m, old, 10, 0);
	ok(m->old.seq > seq && m->old.seq % 2 == 0, "its successor repairs");
	is_u64(found(m, 10), 10, "and they are read again");
	free(old);
	map_free(m);
}

/* Child: look up for as long as the parent lives; exit 1 on nonsense. */
static void
reader(const struct vmap *m, const _Atomic uint64_t *stop, _Atomic uint64_t *n)
{
	struct vmap_pair p;
	uint64_t want = 1;

	while (atomic_load_explicit(stop, memory_order_acquire) == 0) {
		want = want * UINT64_C(6364136223846793005) + 1;
		if (vmap_lookup(m, want >> 42, &p) == 0) {
			if (p.vlsn > want >> 42 ||
			    (uint32_t)p.lsn != (uint32_t)(p.vlsn * 8))
				_exit(1);
			atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
		}
		if (vmap_get(m, want >> 44, &p) == 0 &&
		    (uint32_t)p.lsn != (uint32_t)(p.vlsn * 8))
			_exit(1);
	}
	_exit(0);
}

static void
test_readers(void)
{
	struct vmap *m = map_new();
	_Atomic uint64_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t i, vlsn = 1;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		reader(m, &shared[0], &shared[8]);
	add(m, vlsn++);
	ok(wait_until(shared[8] > 0, TAP_WAIT_MS), "the reader is at work");
	for (i = 0; i < LIVE_ADDS; i++) {
		add(m, vlsn);
		vlsn += 1 + i % 7;
		if (i % 5000 == 4999) {
			vlsn -= 3000;
			vmap_cut(m, vlsn - 1);
		}
		if (i % 50000 == 49999)
			vmap_trim(m, vlsn / 4);
	}
	ok(wait_until(shared[8] > 1000, TAP_WAIT_MS),
	    "the reader found samples");
	atomic_store_explicit(&shared[0], 1, memory_order_release);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "and none of them was torn (%" PRIu64 " lookups)", shared[8]);
	munmap(shared, 4096);
	map_free(m);
}

int
main(void)
{
	test_lookup();
	test_cut();
	test_wrap();
	test_trim();
	test_old();
	test_old_thin();
	test_readers();
	return tap_done();
}
