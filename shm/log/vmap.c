/*
 * The VLSN map. wal writes the ring, vlsn the older samples, everybody reads;
 * nobody waits. The ordering argument stands at vmap_add() and ring_valid().
 */
#include "shm/log/vmap.h"

#include <errno.h>
#include <stdbool.h>
#include "shm/assert.h"
#include "shm/memory.h"

/* A reader that loses this many races in a row does without a hint. */
#define VMAP_TRIES 64

_Static_assert(sizeof(struct vmap_entry) == 16, "packed");
_Static_assert(offsetof(struct vmap, entry) == CACHE_LINE, "own line");
_Static_assert(offsetof(struct vmap_old, entry) == CACHE_LINE, "own line");
_Static_assert((VMAP_ENTRIES & (VMAP_ENTRIES - 1)) == 0, "ring");

static uint64_t
relaxed(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void
put_relaxed(_Atomic uint64_t *v, uint64_t to)
{
	atomic_store_explicit(v, to, memory_order_relaxed);
}

static const struct vmap_entry *
ring_entry(const struct vmap *m, uint64_t i)
{
	return &m->entry[i & (VMAP_ENTRIES - 1)];
}

/*
 * First number that can be read at this count: the slot of the very oldest
 * sample is the one that the writer may be filling.
 */
static uint64_t
ring_low(uint64_t count, uint64_t floor)
{
	uint64_t low = count >= VMAP_ENTRIES ? count - VMAP_ENTRIES + 1 : 0;

	return low > floor ? low : floor;
}

/* First of n sorted entries whose VLSN is above `vlsn`; n if none is. */
static uint64_t
ring_above(const struct vmap *m, uint64_t lo, uint64_t hi, uint64_t vlsn)
{
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (relaxed(&ring_entry(m, mid)->vlsn) > vlsn)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/*
 * wal stores `cuts` and `count` before the entries that take over slots, with
 * a release fence between; so whoever has read a new entry sees, behind this
 * acquire fence, the counts that forbid it.
 */
static bool
ring_valid(const struct vmap *m, uint64_t cuts, uint64_t lowest_read)
{
	atomic_thread_fence(memory_order_acquire);
	return relaxed(&m->cuts) == cuts &&
	       lowest_read + VMAP_ENTRIES > relaxed(&m->count);
}

void
vmap_range(const struct vmap *m, struct vmap_range *out)
{
	unsigned i;

	for (i = 0; i < VMAP_TRIES; i++) {
		out->cuts =
		    atomic_load_explicit(&m->cuts, memory_order_acquire);
		out->count =
		    atomic_load_explicit(&m->count, memory_order_acquire);
		out->lo = ring_low(out->count, relaxed(&m->floor));
		if (out->lo > out->count)
			out->lo = out->count;
		atomic_thread_fence(memory_order_acquire);
		if ((out->cuts & 1) == 0 && relaxed(&m->cuts) == out->cuts)
			return;
	}
	out->lo = out->count = 0;
}

/* Own view: no race, the caller is the only writer. */
static uint64_t
ring_low_own(const struct vmap *m)
{
	return ring_low(relaxed(&m->count), relaxed(&m->floor));
}

/* Memory for every page that [from, to) touches. */
static int
map_take(void *from, void *to)
{
	uintptr_t at = align_down((uintptr_t)from, MEMORY_PAGE);

	return memory_take(
	    (uint8_t *)from - ((uintptr_t)from - at), (uintptr_t)to - at);
}

/*
 * A slot's page gets its memory before the slot is first used. Samples take
 * slots in order, so that is the page's first one; after cuts it may be asked
 * for again.
 */
static int
ring_take(struct vmap *m, uint64_t count)
{
	struct vmap_entry *e = &m->entry[count & (VMAP_ENTRIES - 1)];

	if (count >= VMAP_ENTRIES || (uintptr_t)e % MEMORY_PAGE >= sizeof(*e))
		return 0;
	return map_take(e, e + 1);
}

int
vmap_add(struct vmap *m, uint64_t vlsn, uint64_t lsn)
{
	uint64_t count = relaxed(&m->count);
	struct vmap_entry *e;
	int rc;

	ASSERT(vlsn != 0);
	if (count > ring_low_own(m) &&
	    relaxed(&ring_entry(m, count - 1)->vlsn) >= vlsn) {
		vmap_cut(m, vlsn - 1);
		count = relaxed(&m->count);
	}
	if ((rc = ring_take(m, count)) != 0)
		return rc;
	/* They rise: whoever looks one up halves the ring. */
	ASSERT(count == ring_low_own(m) ||
	       relaxed(&ring_entry(m, count - 1)->vlsn) < vlsn);
	/* Pairs with ring_valid(): count and cuts before the slot changes. */
	atomic_thread_fence(memory_order_release);
	e = &m->entry[count & (VMAP_ENTRIES - 1)];
	put_relaxed(&e->vlsn, vlsn);
	put_relaxed(&e->lsn, lsn);
	atomic_store_explicit(&m->count, count + 1, memory_order_release);
	return 0;
}

void
vmap_cut(struct vmap *m, uint64_t vlsn)
{
	uint64_t count = relaxed(&m->count), lo = ring_low_own(m);
	uint64_t to = ring_above(m, lo, count, vlsn);
	uint64_t cuts = relaxed(&m->cuts);

	ASSERT((cuts & 1) == 0);
	ASSERT(lo <= to);
	ASSERT(to <= count);
	put_relaxed(&m->cuts, cuts + 1);
	atomic_thread_fence(memory_order_release);
	if (relaxed(&m->uncut) == 0 || relaxed(&m->uncut) > vlsn + 1)
		put_relaxed(&m->uncut, vlsn + 1);
	/* Slots below lo hold later samples: they stay lost. */
	put_relaxed(&m->floor, lo);
	put_relaxed(&m->count, to);
	atomic_store_explicit(&m->cuts, cuts + 2, memory_order_release);
}

void
vmap_trim(struct vmap *m, uint64_t vlsn)
{
	uint64_t lo = ring_low_own(m);

	if (vlsn <= relaxed(&m->trimmed))
		return;
	put_relaxed(&m->trimmed, vlsn);
	if (vlsn == 0)
		return;
	lo = ring_above(m, lo, relaxed(&m->count), vlsn - 1);
	ASSERT(lo <= relaxed(&m->count));
	atomic_store_explicit(&m->floor, lo, memory_order_release);
}

int
vmap_get(const struct vmap *m, uint64_t i, struct vmap_pair *out)
{
	struct vmap_range r;

	vmap_range(m, &r);
	if (i < r.lo || i >= r.count)
		return -ENOENT;
	out->vlsn = relaxed(&ring_entry(m, i)->vlsn);
	out->lsn = relaxed(&ring_entry(m, i)->lsn);
	return ring_valid(m, r.cuts, i) ? 0 : -ENOENT;
}

/* 0, -ENOENT, or -EAGAIN if the writer interfered. */
static int
ring_lookup(const struct vmap *m, uint64_t vlsn, struct vmap_pair *out)
{
	struct vmap_range r;
	uint64_t i;

	vmap_range(m, &r);
	i = ring_above(m, r.lo, r.count, vlsn);
	if (i > r.lo) {
		out->vlsn = relaxed(&ring_entry(m, i - 1)->vlsn);
		out->lsn = relaxed(&ring_entry(m, i - 1)->lsn);
	}
	if (r.count > r.lo && !ring_valid(m, r.cuts, r.lo))
		return -EAGAIN;
	return i > r.lo ? 0 : -ENOENT;
}

/* Nearest lower of the older samples, unchecked. */
static int
old_search(const struct vmap_old *old, uint64_t vlsn, struct vmap_pair *out)
{
	uint64_t lo = 0, hi = relaxed(&old->count);

	if (hi > VMAP_OLD_ENTRIES)
		return -ENOENT;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (relaxed(&old->entry[mid].vlsn) > vlsn)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo == 0)
		return -ENOENT;
	out->vlsn = relaxed(&old->entry[lo - 1].vlsn);
	out->lsn = relaxed(&old->entry[lo - 1].lsn);
	return 0;
}

/*
 * Older samples at or above this are void; UINT64_MAX: none is. What was
 * taken before a cut counts below the lowest one.
 */
static uint64_t
old_limit(const struct vmap *m, uint64_t cuts)
{
	return relaxed(&m->old.cuts) == cuts ? UINT64_MAX : relaxed(&m->uncut);
}

/* Pairs with the fences in vmap_old_set() and vmap_cut(). */
static bool
old_valid(const struct vmap *m, uint64_t seq, uint64_t cuts)
{
	atomic_thread_fence(memory_order_acquire);
	return ((seq | cuts) & 1) == 0 && relaxed(&m->old.seq) == seq &&
	       relaxed(&m->cuts) == cuts;
}

static int
old_lookup(const struct vmap *m, uint64_t vlsn, struct vmap_pair *out)
{
	uint64_t seq = atomic_load_explicit(&m->old.seq, memory_order_acquire);
	uint64_t cuts = atomic_load_explicit(&m->cuts, memory_order_acquire);
	uint64_t limit = old_limit(m, cuts);
	int rc = -ENOENT;

	if (limit > 0)
		rc = old_search(&m->old, vlsn < limit ? vlsn : limit - 1, out);
	if (!old_valid(m, seq, cuts))
		return -EAGAIN;
	if (rc == 0 && out->vlsn < relaxed(&m->trimmed))
		return -ENOENT;
	return rc;
}

int
vmap_lookup(const struct vmap *m, uint64_t vlsn, struct vmap_pair *out)
{
	struct vmap_pair ring, old;
	int ring_rc = -EAGAIN, old_rc = -EAGAIN;
	unsigned i;

	for (i = 0; i < VMAP_TRIES && ring_rc == -EAGAIN; i++)
		ring_rc = ring_lookup(m, vlsn, &ring);
	for (i = 0; i < VMAP_TRIES && old_rc == -EAGAIN; i++)
		old_rc = old_lookup(m, vlsn, &old);
	if (ring_rc != 0 && old_rc != 0)
		return -ENOENT;
	if (ring_rc != 0 || (old_rc == 0 && old.vlsn > ring.vlsn))
		*out = old;
	else
		*out = ring;
	return 0;
}

int
vmap_old_set(
    struct vmap *m, const struct vmap_pair *pair, size_t n, uint64_t cuts)
{
	size_t step = (n + VMAP_OLD_ENTRIES - 1) / VMAP_OLD_ENTRIES, i, to = 0;
	uint64_t seq = relaxed(&m->old.seq);
	int rc =
	    n == 0 ? 0
		   : map_take(m->old.entry, &m->old.entry[(n - 1) / step + 1]);

	if (rc != 0)
		return rc;
	/* Odd already if the writer before died here: the next odd number. */
	seq += 1 + (seq & 1);
	put_relaxed(&m->old.seq, seq);
	/* Pairs with old_valid(). */
	atomic_thread_fence(memory_order_release);
	put_relaxed(&m->old.cuts, cuts);
	for (i = 0; i < n; i += step, to++) {
		ASSERT(to < VMAP_OLD_ENTRIES);
		put_relaxed(&m->old.entry[to].vlsn, pair[i].vlsn);
		put_relaxed(&m->old.entry[to].lsn, pair[i].lsn);
	}
	ASSERT(to <= n);
	put_relaxed(&m->old.count, to);
	atomic_store_explicit(&m->old.seq, seq + 1, memory_order_release);
	return 0;
}

size_t
vmap_old_copy(const struct vmap *m, struct vmap_pair *out, size_t n)
{
	uint64_t seq = atomic_load_explicit(&m->old.seq, memory_order_acquire);
	uint64_t cuts = atomic_load_explicit(&m->cuts, memory_order_acquire);
	uint64_t limit = old_limit(m, cuts), trimmed = relaxed(&m->trimmed);
	uint64_t count = relaxed(&m->old.count), i;
	size_t got = 0;

	if (count > VMAP_OLD_ENTRIES)
		return 0;
	for (i = 0; i < count && got < n; i++) {
		out[got].vlsn = relaxed(&m->old.entry[i].vlsn);
		out[got].lsn = relaxed(&m->old.entry[i].lsn);
		if (out[got].vlsn >= trimmed && out[got].vlsn < limit)
			got++;
	}
	return old_valid(m, seq, cuts) ? got : 0;
}
