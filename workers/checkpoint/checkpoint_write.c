/*
 * One checkpoint: the final value of each key that changed, in key order,
 * with the VLSN and the term runs, in one transaction.
 */
#include "workers/checkpoint/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

/* Between two steps. */
#define STEP_KEYS    256
#define STEP_BUCKETS 65536
#define LIST_FIRST   1024 /* entries */

/* An entry, and the first 8 bytes of its key as a number to sort by. */
struct item {
	uint64_t prefix;
	const struct table_entry *e;
};

struct writer {
	struct store_db *db;
	const struct table_head *t;
	const struct table_gen *g; /* frozen */
	/* What a FLUSHALL in the active one hides is not written: see
	   hidden_by(). */
	const struct table_gen *from; /* whose entries are written, g mostly */
	uint32_t flushed; /* those from here on, */
	uint64_t vlsn; /* as of this one, which the checkpoint has then */
	MDB_txn *txn;
	struct store_state st;
	struct item *list; /* some of the newest entries */
	size_t count, cap, most; /* in it, room, room there may be */
	struct item after; /* written up to here; e = NULL: nothing is */
	bool more; /* behind what the list has */
	void (*step)(void *);
	void *arg;
};

static void
step(const struct writer *w)
{
	if (w->step != NULL)
		w->step(w->arg);
}

/* ---- which entries ---- */

static uint64_t
key_prefix(const struct table_entry *e)
{
	uint8_t part[8] = { 0 };
	unsigned n = table_entry_key_len(e);

	memcpy(part, table_entry_key(e), n < 8 ? n : 8);
	return __builtin_bswap64(get_le64(part));
}

static int
by_key(const void *va, const void *vb)
{
	const struct item *ia = va, *ib = vb;
	const struct table_entry *a = ia->e, *b = ib->e;
	unsigned an = table_entry_key_len(a), bn = table_entry_key_len(b);
	int cmp;

	/* Mostly decided without a look at the entries. */
	if (ia->prefix != ib->prefix)
		return ia->prefix < ib->prefix ? -1 : 1;
	cmp = memcmp(table_entry_key(a), table_entry_key(b), an < bn ? an : bn);
	if (cmp != 0)
		return cmp;
	return an < bn ? -1 : an > bn;
}

/* A quarter is the list's, another qsort's for as long as it runs. */
static size_t
list_most(const struct store_db *db)
{
	return db->memory != 0 ? db->memory / 4 / sizeof(struct item)
			       : SIZE_MAX / sizeof(struct item);
}

static int
list_grow(struct writer *w)
{
	size_t cap = w->cap != 0 ? w->cap * 2 : LIST_FIRST;
	struct item *more;

	if (cap > w->most)
		cap = w->most;
	more = realloc(w->list, cap * sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	w->list = more;
	w->cap = cap;
	return 0;
}

/* A full list is a heap, the last key on top. */
static void
heap_down(struct writer *w, size_t i)
{
	struct item it = w->list[i];
	size_t child;

	while ((child = 2 * i + 1) < w->count) {
		if (child + 1 < w->count &&
		    by_key(&w->list[child], &w->list[child + 1]) < 0)
			child++;
		if (by_key(&w->list[child], &it) <= 0)
			break;
		w->list[i] = w->list[child];
		i = child;
	}
	w->list[i] = it;
}

/* Keep it if it is among the first of those that are not written yet. */
static int
list_offer(struct writer *w, const struct table_entry *e)
{
	struct item it = { key_prefix(e), e };
	size_t i;
	int rc;

	if (w->after.e != NULL && by_key(&it, &w->after) <= 0)
		return 0;
	if (w->count == w->most) {
		w->more = true;
		if (by_key(&it, &w->list[0]) < 0) {
			w->list[0] = it;
			heap_down(w, 0);
		}
		return 0;
	}
	if (w->count == w->cap && (rc = list_grow(w)) != 0)
		return rc;
	w->list[w->count++] = it;
	for (i = w->count / 2; w->count == w->most && i > 0; i--)
		heap_down(w, i - 1);
	return 0;
}

/* The key's newest entry as of w->vlsn, that no FLUSHALL hid; or NULL. */
static const struct table_entry *
entry_as_of(const struct writer *w, const struct table_entry *e, uint32_t off)
{
	while (
	    e != NULL && off >= w->flushed && table_entry_vlsn(e) > w->vlsn) {
		off = e->older;
		e = table_at(w->t, w->from, off);
	}
	return e != NULL && off >= w->flushed ? e : NULL;
}

/*
 * Of each bucket's chain what no FLUSHALL hid: the first keys that are not
 * written yet, as many as there is memory for, in order.
 */
static int
list_collect(struct writer *w)
{
	const uint8_t *base = (const uint8_t *)w->t;
	const struct table_gen *g = w->from;
	const _Atomic uint32_t *bucket =
	    (const _Atomic uint32_t *)(const void *)(base + g->bucket_off);
	const struct table_entry *e, *is;
	uint32_t off;
	uint64_t i;
	int rc;

	w->count = 0;
	w->more = false;
	for (i = 0; i < g->bucket_count; i++) {
		if (!table_bucket_has(g, i))
			continue;
		/* Acquire: of the active one, which goes on. */
		off = atomic_load_explicit(&bucket[i], memory_order_acquire);
		for (; (e = table_at(w->t, g, off)) != NULL;
		     off =
			 atomic_load_explicit(&e->next, memory_order_acquire)) {
			is = entry_as_of(w, e, off);
			if (is != NULL && (rc = list_offer(w, is)) != 0)
				return rc;
		}
		if (i % STEP_BUCKETS == 0)
			step(w);
	}
	ASSERT(w->count <= w->cap);
	ASSERT(w->count <= w->most);
	if (w->count != 0)
		qsort(w->list, w->count, sizeof(w->list[0]), by_key);
	return 0;
}

/* ---- writing ---- */

static int
write_entry(
    struct writer *w, const struct table_entry *e, struct checkpoint_work *out)
{
	struct store_item item = { .vlsn = table_entry_vlsn(e),
		.expire_ms = e->expire_ms,
		.len = e->value_len,
		.data = table_entry_value(e) };
	bool gone = (table_entry_flags(e) & TABLE_TOMBSTONE) != 0;

	out->keys++;
	out->bytes += e->value_len;
	return store_db_put(w->db, w->txn, &w->st, table_entry_key(e),
	    table_entry_key_len(e), gone ? NULL : &item);
}

static int
write_list(struct writer *w, struct checkpoint_work *out)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < w->count && rc == 0; i++) {
		rc = write_entry(w, w->list[i].e, out);
		if (i % STEP_KEYS == 0)
			step(w);
	}
	if (w->count != 0)
		w->after = w->list[w->count - 1];
	return rc;
}

/* In one go, or, if there are very many, each with another look at all. */
static int
write_entries(struct writer *w, struct checkpoint_work *out)
{
	int rc = store_db_put_begin(w->db, w->txn);

	do {
		if (rc == 0)
			rc = list_collect(w);
		if (rc == 0)
			rc = write_list(w, out);
	} while (rc == 0 && w->more);
	store_db_put_end(w->db);
	return rc;
}

/* The slots' VLSNs are those of this generation only, never of a later. */
static int
write_slots(struct writer *w)
{
	const uint8_t *base = (const uint8_t *)w->t;
	const _Atomic uint64_t *slots =
	    (const _Atomic uint64_t *)(const void *)(base + w->g->slot_off);
	uint64_t vlsn;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < TABLE_SLOTS && rc == 0; i++) {
		if (!table_slot_has(w->g, i))
			continue;
		vlsn = atomic_load_explicit(&slots[i], memory_order_relaxed);
		if (vlsn != 0)
			rc = store_db_slot_put(w->db, w->txn, i, vlsn);
	}
	return rc;
}

/* Term runs of a generation that the disk has not got; to *to if not NULL. */
static size_t
terms_of(
    const struct writer *w, const struct table_gen *g, struct store_term *to)
{
	const struct table_entry *e;
	size_t n = 0;
	/* The list leads from the newest back. */
	uint32_t off = atomic_load_explicit(&g->special, memory_order_acquire);

	for (; (e = table_at(w->t, g, off)) != NULL; off = e->next) {
		if ((table_entry_flags(e) & TABLE_TERM) == 0 ||
		    table_entry_vlsn(e) > w->vlsn ||
		    table_entry_vlsn(e) <= w->st.vlsn)
			continue;
		n++;
		if (to == NULL)
			continue;
		to[-(ptrdiff_t)n].term = (uint64_t)e->expire_ms;
		to[-(ptrdiff_t)n].vlsn = table_entry_vlsn(e);
	}
	return n;
}

/* The runs on disk, and behind them those that began since. */
static int
write_terms(struct writer *w)
{
	struct store_term *terms, *all;
	size_t old, count, later = 0;
	int rc = store_db_terms(w->db, w->txn, &terms, &old);

	if (rc != 0)
		return rc;
	if (w->from != w->g)
		later = terms_of(w, w->from, NULL);
	count = old + terms_of(w, w->g, NULL) + later;
	if (count == old)
		goto out;
	rc = -ENOMEM;
	all = realloc(terms, count * sizeof(*terms));
	if (all == NULL)
		goto out;
	terms = all;
	if (later != 0)
		(void)terms_of(w, w->from, terms + count);
	(void)terms_of(w, w->g, terms + count - later);
	w->st.term = terms[count - 1].term;
	rc = store_db_terms_put(w->db, w->txn, terms, count);
out:
	free(terms);
	return rc;
}

static int
write_all(
    struct writer *w, const uint8_t group_uuid[16], struct checkpoint_work *out)
{
	bool hidden = w->from != w->g;
	uint64_t flush = hidden ? w->vlsn
				: atomic_load_explicit(
				      &w->g->flush_vlsn, memory_order_relaxed);
	int rc = 0;

	/* A checkpoint is never older than the one before. */
	ASSERT(w->vlsn > w->st.vlsn);
	if (flush != 0) {
		rc = store_db_empty(w->db, w->txn, &w->st);
		w->st.flush_vlsn = flush;
	}
	if (rc == 0)
		rc = write_entries(w, out);
	/* They are at most the FLUSHALL's, which counts as theirs. */
	if (rc == 0 && !hidden)
		rc = write_slots(w);
	if (rc == 0)
		rc = write_terms(w);
	if (rc != 0)
		return rc;
	w->st.vlsn = w->vlsn;
	w->st.time_ms =
	    atomic_load_explicit(&w->g->time_ms, memory_order_relaxed);
	w->st.checkpoints++;
	memcpy(w->st.group_uuid, group_uuid, sizeof(w->st.group_uuid));
	return store_db_state_put(w->db, w->txn, &w->st);
}

/*
 * A FLUSHALL that came since makes all of g void: the state after its record
 * is written instead, which takes next to no room. It is what a store on a
 * full disk is freed by.
 */
static void
hidden_by(struct writer *w)
{
	const struct table_gen *g = w->g, *later = &w->t->gen[g == w->t->gen];
	const struct table_entry *e;
	uint32_t at;

	if (atomic_load_explicit(&later->state, memory_order_acquire) !=
	    GEN_ACTIVE)
		return;
	/* Acquire: set when the record is whole. */
	at = atomic_load_explicit(&later->flushed_at, memory_order_acquire);
	if ((e = table_at(w->t, later, at)) == NULL)
		return;
	w->from = later;
	w->flushed = at;
	w->vlsn = table_entry_vlsn(e);
}

/* Durable when it returns 0: LMDB flushes pages, then the meta page. */
static int
commit(struct writer *w)
{
	MDB_txn *txn = w->txn;
	int fd, rc;

	/* All that is in the transaction is in it as of this. */
	ASSERT(w->st.vlsn == w->vlsn);
	ASSERT(!w->more);
	w->txn = NULL;
	rc = store_db_same(w->db);
	if (rc == 0)
		rc = store_db_errno(mdb_env_get_fd(w->db->env, &fd));
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	checkpoint_pace(fd, w->step, w->arg);
	rc = mdb_txn_commit(txn);
	checkpoint_pace_end();
	return store_db_errno(rc);
}

int
checkpoint_write(struct store_db *db, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16],
    void (*step_fn)(void *), void *arg, struct checkpoint_work *out)
{
	struct writer w = { .db = db,
		.t = t,
		.g = g,
		.from = g,
		.flushed =
		    atomic_load_explicit(&g->flushed_at, memory_order_relaxed),
		.vlsn = atomic_load_explicit(&g->vlsn, memory_order_relaxed),
		.step = step_fn,
		.arg = arg,
		.most = list_most(db) };
	const char *path;
	int rc;

	memset(out, 0, sizeof(*out));
	hidden_by(&w);
	out->vlsn = w.vlsn;
	store_db_bound(db, db->memory / 4 * 3);
	rc = store_db_errno(mdb_txn_begin(db->env, NULL, 0, &w.txn));
	if (rc != 0)
		return rc;
	if ((rc = store_db_state(db, w.txn, &w.st)) != 0 || w.st.vlsn >= w.vlsn)
		goto out;
	rc = write_all(&w, group_uuid, out);
	if (rc == 0)
		rc = store_db_used(db, w.txn, &out->used);
	if (rc == 0)
		rc = commit(&w);
out:
	if (w.txn != NULL)
		mdb_txn_abort(w.txn);
	free(w.list);
	if (mdb_env_get_path(db->env, &path) == 0)
		rc = checkpoint_error(path, rc);
	return rc;
}
