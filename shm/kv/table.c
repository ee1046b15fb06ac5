/*
 * The table: layout, lookups, and the one writer's side. See table.h and the
 * README's chapter on it.
 */
#include "shm/kv/table.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/crc32c.h"
#include "shm/log/record.h"
#include "shm/memory.h"
#include "shm/position.h"
#include "shm/region.h"

#define PAGE       MEMORY_PAGE
#define STEP_BYTES MEMORY_STEP
#define CHAIN_MAX  (1u << 22) /* a longer chain is a damaged region */

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "no hidden lock");
_Static_assert(TABLE_PAGE_SLOTS * sizeof(uint64_t) == PAGE, "a page");
_Static_assert(TABLE_STEP_BUCKETS * sizeof(uint32_t) == STEP_BYTES, "one step");

/* ---- layout ---- */

static uint64_t
bucket_count(uint64_t table_size)
{
	uint64_t n = 1024;

	while (n < table_size / TABLE_BUCKET_BYTES)
		n *= 2;
	return n;
}

/* Lay out one generation from `off` on; returns where it ends. */
static uint64_t
gen_layout(struct table_gen *g, uint64_t off, uint64_t table_size)
{
	g->bucket_count = bucket_count(table_size);
	g->bucket_off = off;
	off += align_up(g->bucket_count * sizeof(uint32_t), PAGE);
	g->slot_off = off;
	off += TABLE_SLOTS * sizeof(uint64_t);
	g->arena_off = off;
	g->arena_nominal = table_size;
	g->arena_size =
	    align_up(table_size + REC_BOUND_MAX + TABLE_SLACK, PAGE);
	off += g->arena_size;
	g->span = off - g->bucket_off;
	return off;
}

static uint64_t
table_layout(struct table_head *t, uint64_t table_size)
{
	uint64_t off = align_up(sizeof(*t), PAGE);

	off = gen_layout(&t->gen[0], off, table_size);
	return gen_layout(&t->gen[1], off, table_size);
}

uint64_t
table_region_size(uint64_t table_size)
{
	struct table_head t;

	memset(&t, 0, sizeof(t));
	return table_layout(&t, table_size);
}

int
table_region_init(struct table_head *t, uint64_t table_size)
{
	/* Offsets of units are u32. */
	if (table_size == 0 ||
	    table_size > (UINT64_C(1) << 35) - 2 * REC_BOUND_MAX)
		return -EINVAL;
	if (getrandom(&t->seed, sizeof(t->seed), 0) != sizeof(t->seed))
		return -EIO;
	t->version = TABLE_VERSION;
	t->size = table_layout(t, table_size);
	ASSERT(t->gen[0].bucket_count <=
	       (uint64_t)TABLE_BUCKET_STEPS * TABLE_STEP_BUCKETS);
	ASSERT(t->gen[0].arena_size / TABLE_UNIT <= UINT32_MAX);
	return 0;
}

static uint8_t *
table_base(const struct table_head *t)
{
	return (uint8_t *)(uintptr_t)t;
}

static _Atomic uint32_t *
table_buckets(const struct table_head *t, const struct table_gen *g)
{
	return (_Atomic uint32_t *)(void *)(table_base(t) + g->bucket_off);
}

static _Atomic uint64_t *
table_slots(const struct table_head *t, const struct table_gen *g)
{
	return (_Atomic uint64_t *)(void *)(table_base(t) + g->slot_off);
}

/* ---- hashes ---- */

static uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint32_t
table_hash(const struct table_head *t, const void *key, size_t n)
{
	const uint8_t *p = key;
	uint64_t h = t->seed ^ (n * UINT64_C(0x9e3779b97f4a7c15)), last = 0;

	for (; n >= 8; n -= 8, p += 8)
		h = hash_mix(h ^ get_le64(p), UINT64_C(0xa0761d6478bd642f));
	memcpy(&last, p, n);
	h = hash_mix(h ^ last, UINT64_C(0xe7037ed1a0b428db));
	return (uint32_t)(hash_mix(h, t->seed | 1) >> 16);
}

uint32_t
table_slot(const void *key, size_t n)
{
	return crc32c(0, key, n) & (TABLE_SLOTS - 1);
}

/* ---- lookups ---- */

static struct table_entry *
entry_at(const struct table_head *t, const struct table_gen *g, uint32_t off)
{
	return (struct table_entry *)(void *)(table_base(t) + g->arena_off +
					      (uint64_t)off * TABLE_UNIT);
}

const struct table_entry *
table_at(const struct table_head *t, const struct table_gen *g, uint32_t off)
{
	const struct table_entry *e;
	uint64_t at = (uint64_t)off * TABLE_UNIT;

	if (off == 0 || at + sizeof(*e) > g->arena_size)
		return NULL;
	e = entry_at(t, g, off);
	if (at + sizeof(*e) + table_entry_key_len(e) + e->value_len >
	    g->arena_size)
		return NULL;
	return e;
}

static bool
entry_is(
    const struct table_entry *e, const void *key, size_t key_len, uint32_t hash)
{
	return e->hash == hash && table_entry_key_len(e) == key_len &&
	       memcmp(table_entry_key(e), key, key_len) == 0;
}

/*
 * The newest entry of a key: its offset (0 = none) and, if asked for, the
 * word that leads to it. The acquire loads pair with table_publish().
 */
static uint32_t
chain_find(const struct table_head *t, const struct table_gen *g,
    const void *key, size_t key_len, uint32_t hash, _Atomic uint32_t **link)
{
	uint64_t bucket = hash & (g->bucket_count - 1);
	_Atomic uint32_t *at = &table_buckets(t, g)[bucket];
	uint32_t off, steps;

	if (link != NULL)
		*link = at;
	if (!table_bucket_has(g, bucket))
		return 0;
	for (steps = 0; steps < CHAIN_MAX; steps++) {
		off = atomic_load_explicit(at, memory_order_acquire);
		if (table_at(t, g, off) == NULL)
			return 0;
		if (entry_is(entry_at(t, g, off), key, key_len, hash)) {
			if (link != NULL)
				*link = at;
			return off;
		}
		at = &entry_at(t, g, off)->next;
	}
	return 0;
}

int
table_find(const struct table_head *t, const struct table_gen *g,
    const void *key, size_t key_len, uint32_t hash, uint64_t snap,
    const struct table_entry **out, bool *gone)
{
	const struct table_entry *e;
	uint32_t off = chain_find(t, g, key, key_len, hash, NULL), flushed;

	*out = NULL;
	/* Pairs with table_commit(): vlsn, then place, of a FLUSHALL. */
	flushed = atomic_load_explicit(&g->flushed_at, memory_order_acquire);
	if (atomic_load_explicit(&g->flush_vlsn, memory_order_acquire) > snap)
		return -EAGAIN;
	*gone = flushed != 0;
	for (; (e = table_at(t, g, off)) != NULL && off >= flushed;
	     off = e->older)
		if (table_entry_vlsn(e) <= snap) {
			*out = e;
			break;
		}
	return 0;
}

uint64_t
table_slot_get(
    const struct table_head *t, const struct table_gen *g, uint32_t slot)
{
	uint64_t flush =
	    atomic_load_explicit(&g->flush_vlsn, memory_order_acquire);
	uint64_t v = 0;

	slot &= TABLE_SLOTS - 1;
	if (table_slot_has(g, slot))
		v = atomic_load_explicit(
		    &table_slots(t, g)[slot], memory_order_acquire);
	return v > flush ? v : flush;
}

/* ---- readers' pins, seen from outside ---- */

void
kv_reader_died(struct region *r, unsigned slot)
{
	struct table_head *t = r->table;

	ASSERT(slot < SLOT_MAX);
	atomic_store_explicit(&t->reader[slot].view, 0, memory_order_release);
	atomic_fetch_add_explicit(&t->readers_died, 1, memory_order_release);
}

bool
kv_reader_stuck(
    const struct region *r, unsigned slot, uint64_t now_ns, uint64_t limit_ns)
{
	const struct table_reader *rd = &r->table->reader[slot];
	uint64_t since, pin, view;
	const struct table_gen *g;

	pin = atomic_load_explicit(&rd->view, memory_order_acquire);
	since = atomic_load_explicit(&rd->since_ns, memory_order_relaxed);
	view = atomic_load_explicit(&r->table->view, memory_order_acquire);
	/* The one that table_leave() waits with. */
	g = table_gen_at(r->table, (view >> 1) + 1);
	return pin != 0 && pin - 1 < view && since + limit_ns < now_ns &&
	       atomic_load_explicit(&g->state, memory_order_acquire) ==
		   GEN_LEAVING;
}

/* ---- the writer ---- */

static uint64_t
gen_used(const struct table_gen *g)
{
	return atomic_load_explicit(&g->used, memory_order_relaxed);
}

/* A free generation is all zeros in its arrays; its words start over here. */
static void
gen_activate(struct table_writer *w, uint64_t number)
{
	struct table_gen *g = table_gen_at(w->t, number);
	size_t i;

	/* The other one of the two: what was active stays to be read. */
	ASSERT(g != w->g);
	ASSERT(
	    atomic_load_explicit(&g->state, memory_order_acquire) == GEN_FREE);
	for (i = 0; i < NITEMS(g->slot_pages); i++)
		atomic_store_explicit(
		    &g->slot_pages[i], 0, memory_order_relaxed);
	for (i = 0; i < NITEMS(g->bucket_steps); i++)
		atomic_store_explicit(
		    &g->bucket_steps[i], 0, memory_order_relaxed);
	atomic_store_explicit(&g->used, 1, memory_order_relaxed);
	atomic_store_explicit(&g->flush_vlsn, 0, memory_order_relaxed);
	atomic_store_explicit(&g->flushed_at, 0, memory_order_relaxed);
	atomic_store_explicit(&g->special, 0, memory_order_relaxed);
	atomic_store_explicit(&g->number, number, memory_order_relaxed);
	atomic_store_explicit(&g->vlsn, 0, memory_order_relaxed);
	atomic_store_explicit(&g->state, GEN_ACTIVE, memory_order_release);
	w->g = g;
	w->allocated = 0;
	w->flushed_at = 0;
	w->flush_vlsn = 0;
}

void
table_writer_open(struct table_writer *w, struct table_head *t, uint64_t number)
{
	ASSERT(t->version == TABLE_VERSION);
	ASSERT(number > 0);
	memset(w, 0, sizeof(*w));
	w->t = t;
	gen_activate(w, number);
	atomic_store_explicit(
	    &t->view, table_view(number, false), memory_order_seq_cst);
}

/* One writer. Release: for whom finds it set, the memory is there. */
static void
bit_set(_Atomic uint64_t *word, unsigned bit)
{
	uint64_t v = atomic_load_explicit(word, memory_order_relaxed);

	atomic_store_explicit(
	    word, v | UINT64_C(1) << bit, memory_order_release);
}

int
table_ensure(struct table_writer *w, uint64_t bytes)
{
	struct table_gen *g = w->g;
	uint64_t need = gen_used(g) * TABLE_UNIT + bytes;
	uint64_t to = align_up(need, STEP_BYTES);
	int rc;

	if (need <= w->allocated)
		return 0;
	if (need > g->arena_size)
		return -EFBIG;
	if (to > g->arena_size)
		to = g->arena_size;
	ASSERT(to > w->allocated);
	rc = memory_take(
	    table_base(w->t) + g->arena_off + w->allocated, to - w->allocated);
	if (rc == 0)
		w->allocated = to;
	return rc;
}

int
table_ensure_bucket(struct table_writer *w, uint32_t hash)
{
	struct table_gen *g = w->g;
	uint64_t i = hash & (g->bucket_count - 1);
	uint64_t step = i / TABLE_STEP_BUCKETS, at = step * STEP_BYTES;
	uint64_t len = g->slot_off - g->bucket_off;
	int rc;

	ASSERT(step < TABLE_BUCKET_STEPS);
	if (table_bucket_has(g, i))
		return 0;
	rc = memory_take(table_base(w->t) + g->bucket_off + at,
	    len - at < STEP_BYTES ? len - at : STEP_BYTES);
	if (rc == 0)
		bit_set(&g->bucket_steps[step / 64], step % 64);
	return rc;
}

int
table_ensure_slot(struct table_writer *w, const void *key, size_t key_len)
{
	uint32_t page = table_slot(key, key_len) / TABLE_PAGE_SLOTS;
	int rc;

	if (table_slot_has(w->g, page * TABLE_PAGE_SLOTS))
		return 0;
	rc = memory_take(
	    table_base(w->t) + w->g->slot_off + (uint64_t)page * PAGE, PAGE);
	if (rc == 0)
		bit_set(&w->g->slot_pages[page / 64], page % 64);
	return rc;
}

uint64_t
table_used(const struct table_writer *w)
{
	return gen_used(w->g) * TABLE_UNIT;
}

uint64_t
table_active_used(const struct table_head *t)
{
	uint64_t view = atomic_load_explicit(&t->view, memory_order_acquire);

	return atomic_load_explicit(
		   &t->gen[view >> 1 & 1].used, memory_order_acquire) *
	       TABLE_UNIT;
}

uint64_t
table_limit(const struct table_head *t)
{
	uint64_t view = atomic_load_explicit(&t->view, memory_order_acquire);
	const struct table_gen *other = &t->gen[~(view >> 1) & 1];
	uint64_t nominal = other->arena_nominal, used;

	if (atomic_load_explicit(&other->state, memory_order_acquire) ==
	    GEN_FREE)
		return nominal;
	used = atomic_load_explicit(&other->used, memory_order_acquire) *
	       TABLE_UNIT;
	return used < nominal ? 2 * nominal - used : nominal;
}

bool
table_want_freeze(const struct table_writer *w)
{
	return table_used(w) >= table_share(w->g);
}

const struct table_entry *
table_locate(struct table_writer *w, const void *key, size_t key_len,
    uint32_t hash, struct table_place *at)
{
	at->hash = hash;
	at->entry = chain_find(w->t, w->g, key, key_len, hash, &at->link);
	if (at->entry == 0) {
		/* A new key goes to the front of its bucket. */
		at->link =
		    &table_buckets(w->t, w->g)[hash & (w->g->bucket_count - 1)];
		return NULL;
	}
	if (at->entry < w->flushed_at)
		return NULL;
	return entry_at(w->t, w->g, at->entry);
}

struct table_entry *
table_add(struct table_writer *w, const void *key, size_t key_len,
    uint64_t value_len, uint64_t vlsn, int64_t expire_ms, unsigned flags,
    uint8_t **value)
{
	uint64_t used = gen_used(w->g);
	uint64_t units = table_units((unsigned)key_len, value_len);
	struct table_entry *e = entry_at(w->t, w->g, (uint32_t)used);

	ASSERT((used + units) * TABLE_UNIT <= w->g->arena_size);
	ASSERT(key_len < 512);
	ASSERT(value_len <= UINT32_MAX);
	ASSERT(vlsn <= VLSN_MASK);
	/* What readers see the whole of gets no further entry. */
	ASSERT(vlsn > w->vlsn);
	e->value_len = (uint32_t)value_len;
	e->expire_ms = expire_ms;
	e->word = table_word(vlsn, (unsigned)key_len, flags);
	if (key_len != 0)
		memcpy(e + 1, key, key_len);
	if (value != NULL)
		*value = (uint8_t *)(e + 1) + key_len;
	return e;
}

/* Offset of the entry that table_add() gave; it becomes part of the arena. */
static uint32_t
entry_keep(struct table_writer *w, const struct table_entry *e)
{
	uint64_t used = gen_used(w->g);

	ASSERT(e == entry_at(w->t, w->g, (uint32_t)used));
	ASSERT(used != 0);
	atomic_store_explicit(&w->g->used,
	    used + table_units(table_entry_key_len(e), e->value_len),
	    memory_order_release);
	return (uint32_t)used;
}

void
table_publish(
    struct table_writer *w, struct table_entry *e, const struct table_place *at)
{
	uint32_t off = entry_keep(w, e), next;
	const struct table_entry *older;

	ASSERT(table_bucket_has(w->g, at->hash & (w->g->bucket_count - 1)));
	/* Nothing was published since table_locate(). */
	ASSERT(at->entry == 0 || atomic_load_explicit(at->link,
				     memory_order_relaxed) == at->entry);
	e->hash = at->hash;
	e->older = at->entry;
	/*
	 * A replacing entry takes the old one's place in the chain: a reader
	 * that is before it meets exactly one of the two.
	 */
	if (at->entry != 0) {
		older = entry_at(w->t, w->g, at->entry);
		/* Readers look for their snapshot from the newest back. */
		ASSERT(table_entry_vlsn(older) <= table_entry_vlsn(e));
		next = atomic_load_explicit(&older->next, memory_order_relaxed);
	} else
		next = atomic_load_explicit(at->link, memory_order_relaxed);
	atomic_store_explicit(&e->next, next, memory_order_relaxed);
	/* Release: the entry's bytes before the word that leads to it. */
	atomic_store_explicit(at->link, off, memory_order_release);
}

int
table_slot_raise(
    struct table_writer *w, const void *key, size_t key_len, uint64_t vlsn)
{
	uint32_t slot = table_slot(key, key_len);
	int rc = table_ensure_slot(w, key, key_len);

	if (rc == 0)
		atomic_store_explicit(
		    &table_slots(w->t, w->g)[slot], vlsn, memory_order_release);
	return rc;
}

/* An entry without a key, in the list of those. */
static uint32_t
special_add(struct table_writer *w, uint64_t vlsn, int64_t num, unsigned flags)
{
	struct table_entry *e =
	    table_add(w, NULL, 0, 0, vlsn, num, flags, NULL);
	uint32_t off = entry_keep(w, e);

	e->hash = 0;
	e->older = 0;
	atomic_store_explicit(&e->next,
	    atomic_load_explicit(&w->g->special, memory_order_relaxed),
	    memory_order_relaxed);
	atomic_store_explicit(&w->g->special, off, memory_order_release);
	return off;
}

void
table_flush(struct table_writer *w, uint64_t vlsn)
{
	ASSERT(vlsn >= w->flush_vlsn);
	w->flushed_at = special_add(w, vlsn, 0, TABLE_FLUSH);
	w->flush_vlsn = vlsn;
}

void
table_term(struct table_writer *w, uint64_t vlsn, uint64_t term)
{
	special_add(w, vlsn, (int64_t)term, TABLE_TERM);
}

void
table_commit(struct table_writer *w, uint64_t vlsn, int64_t time_ms)
{
	ASSERT(vlsn <= VLSN_MASK);
	/* A snapshot that was taken shows the same for ever. */
	ASSERT(vlsn >= w->vlsn);
	ASSERT(vlsn >= w->flush_vlsn);
	w->vlsn = vlsn;
	if (w->flush_vlsn == vlsn) {
		/* Pairs with table_find(): it reads these the other way. */
		atomic_store_explicit(
		    &w->g->flush_vlsn, vlsn, memory_order_release);
		atomic_store_explicit(
		    &w->g->flushed_at, w->flushed_at, memory_order_release);
	}
	atomic_store_explicit(&w->t->time_ms, time_ms, memory_order_relaxed);
	atomic_store_explicit(&w->t->vlsn, vlsn, memory_order_release);
}

bool
table_can_freeze(const struct table_writer *w)
{
	uint64_t view = atomic_load_explicit(&w->t->view, memory_order_relaxed);
	struct table_gen *other = table_gen_at(w->t, (view >> 1) + 1);

	return !table_view_frozen(view) &&
	       atomic_load_explicit(&other->state, memory_order_acquire) ==
		   GEN_FREE;
}

void
table_freeze(struct table_writer *w)
{
	struct table_head *t = w->t;
	struct table_gen *old = w->g;
	uint64_t number =
	    (atomic_load_explicit(&t->view, memory_order_relaxed) >> 1) + 1;

	ASSERT(table_can_freeze(w));
	ASSERT(atomic_load_explicit(&old->state, memory_order_relaxed) ==
	       GEN_ACTIVE);
	/* A frozen one holds whole records only. */
	ASSERT(w->flush_vlsn <= w->vlsn);
	atomic_store_explicit(&old->vlsn,
	    atomic_load_explicit(&t->vlsn, memory_order_relaxed),
	    memory_order_relaxed);
	atomic_store_explicit(&old->time_ms,
	    atomic_load_explicit(&t->time_ms, memory_order_relaxed),
	    memory_order_relaxed);
	gen_activate(w, number);
	/* Readers that pin see the new view or are seen by table_leave(). */
	atomic_store_explicit(
	    &t->view, table_view(number, true), memory_order_seq_cst);
	/* Only now may checkpoint take it: pairs with its acquire. */
	atomic_store_explicit(&old->state, GEN_FROZEN, memory_order_release);
}

void
table_drop(struct table_writer *w)
{
	uint64_t view = atomic_load_explicit(&w->t->view, memory_order_relaxed);
	struct table_gen *frozen = table_gen_at(w->t, (view >> 1) - 1);

	ASSERT(table_view_frozen(view));
	ASSERT(frozen != w->g);
	ASSERT(atomic_load_explicit(&frozen->state, memory_order_relaxed) ==
	       GEN_FROZEN);
	atomic_store_explicit(
	    &frozen->state, GEN_LEAVING, memory_order_relaxed);
	atomic_store_explicit(
	    &w->t->view, table_view(view >> 1, false), memory_order_seq_cst);
}

bool
table_leave(struct table_writer *w)
{
	uint64_t view = atomic_load_explicit(&w->t->view, memory_order_relaxed);
	struct table_gen *g = table_gen_at(w->t, (view >> 1) + 1);
	uint64_t pin;
	unsigned i;

	if (atomic_load_explicit(&g->state, memory_order_relaxed) !=
	    GEN_LEAVING)
		return false;
	ASSERT(g != w->g);
	/* Pairs with the fence of a pinning reader, kv_pin(). */
	atomic_thread_fence(memory_order_seq_cst);
	for (i = 0; i < SLOT_MAX; i++) {
		pin = atomic_load_explicit(
		    &w->t->reader[i].view, memory_order_acquire);
		if (pin != 0 && pin - 1 < view)
			return false;
	}
	atomic_store_explicit(&g->state, GEN_DIRTY, memory_order_release);
	return true;
}

int
table_clean(struct table_head *t, struct table_gen *g)
{
	if (atomic_load_explicit(&g->state, memory_order_acquire) != GEN_DIRTY)
		return 0;
	if (madvise(table_base(t) + g->bucket_off, g->span, MADV_REMOVE) != 0)
		return -errno;
	atomic_store_explicit(&g->state, GEN_FREE, memory_order_release);
	return 0;
}
