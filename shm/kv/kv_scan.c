/*
 * Walks over all keys: SCAN in steps, KEYS at once, RANDOMKEY. Keys move only
 * active -> frozen -> disk, and each walk visits the places in that order.
 */
#include <sys/random.h>

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/kv/kv_int.h"
#include "shm/region.h"

#define BUCKETS_A_BEAT 65536 /* buckets between two beats, if all are empty */
#define RANDOM_TRIES   16
#define RANDOM_LOOKS   5000 /* keys that turn out not to be there */
#define SMALL_UNITS    65536 /* a table, */
#define SMALL_ENTRIES  5000 /* a map that is walked over in no time */
#define ENTRY_UNITS    12 /* of an entry of usual size */
#define BUCKETS_A_STEP 4096 /* buckets that count as one visited key */
#define SCAN_LOOKS     64 /* entries that one step of SCAN goes over */

enum scan_stage { SCAN_TABLE = 0, SCAN_DISK = 1, SCAN_DONE = 2 };

static _Atomic uint32_t *
bucket_at(const struct kv *kv, const struct table_gen *g, uint64_t i)
{
	uint8_t *base = (uint8_t *)(uintptr_t)kv->t;

	return (_Atomic uint32_t *)(void *)(base + g->bucket_off) + i;
}

/* Calls each() for the newest entries of one bucket; false = was stopped. */
static bool
bucket_each(struct kv *kv, const struct table_gen *g, uint64_t i,
    bool (*each)(void *arg, const struct table_entry *e), void *arg)
{
	const struct table_entry *e;
	uint32_t off;

	if (i % BUCKETS_A_BEAT == 0)
		kv_work(kv, KV_WORK_BEAT);
	if (!table_bucket_has(g, i))
		return true;
	off = atomic_load_explicit(bucket_at(kv, g, i), memory_order_acquire);
	for (; (e = table_at(kv->t, g, off)) != NULL;
	     off = atomic_load_explicit(&e->next, memory_order_acquire))
		if (!each(arg, e))
			return false;
	return true;
}

/* No need to look at any of its buckets. */
static bool
is_empty(const struct table_gen *g)
{
	return atomic_load_explicit(&g->used, memory_order_acquire) <= 1;
}

/*
 * Has a FLUSHALL in generation `number` (snapshot of kv) taken away all that
 * is in older places?
 */
static bool
gen_hides(const struct kv *kv, uint64_t number)
{
	const struct table_gen *g = table_gen_at(kv->t, number);

	if (kv->writer != NULL && number == kv->view >> 1)
		return kv->writer->flushed_at != 0;
	/* In this order, as table_find() does. */
	return atomic_load_explicit(&g->flushed_at, memory_order_acquire) !=
		   0 &&
	       atomic_load_explicit(&g->flush_vlsn, memory_order_acquire) <=
		   kv->snap;
}

static bool
frozen_is_hidden(const struct kv *kv)
{
	return gen_hides(kv, kv->view >> 1);
}

static bool
disk_is_hidden(const struct kv *kv)
{
	return frozen_is_hidden(kv) || (table_view_frozen(kv->view) &&
					   gen_hides(kv, (kv->view >> 1) - 1));
}

/* Is the key there now (snapshot of kv), and not expired? 1, 0, -errno. */
static int
is_live(struct kv *kv, const void *key, size_t key_len, int64_t now_ms,
    enum kv_where *where)
{
	struct kv_item item;
	int rc = kv_lookup(kv, key, key_len, &item, where);

	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rc;
	return kv_expired(&item, now_ms) ? 0 : 1;
}

/* ---- SCAN ---- */

struct scan {
	struct kv *kv;
	struct kv_scan *pos;
	int64_t now_ms;
	unsigned count; /* live keys asked for */
	unsigned found, looked; /* of them, and at anything */
	int rc;
	void (*each)(void *arg, const void *key, size_t key_len);
	void *arg;
};

/* What is dead does not count, but it takes time, too. */
static bool
scan_enough(const struct scan *s)
{
	return s->found >= s->count || s->looked >= SCAN_LOOKS;
}

static bool
scan_key(struct scan *s, const void *key, size_t key_len)
{
	enum kv_where where;
	int rc = is_live(s->kv, key, key_len, s->now_ms, &where);

	s->looked++;
	if (rc == 1) {
		s->found++;
		s->each(s->arg, key, key_len);
	} else if (rc < 0) {
		s->rc = rc;
	}
	if (kv_over(s->kv))
		s->looked = SCAN_LOOKS;
	return rc >= 0;
}

static bool
scan_entry(void *arg, const struct table_entry *e)
{
	return scan_key(arg, table_entry_key(e), table_entry_key_len(e));
}

/* Is that generation still one of the view's tables? */
static bool
in_view(const struct kv *kv, uint64_t number)
{
	uint64_t active = kv->view >> 1;

	return number == active ||
	       (table_view_frozen(kv->view) && number + 1 == active);
}

static void
scan_to_disk(struct kv_scan *pos)
{
	pos->stage = SCAN_DISK;
	pos->key_len = 0;
	/* The empty key is before all others. */
	pos->bucket = 0;
}

/* Is the place where it stands one of which nothing is left? */
static bool
scan_is_over(const struct kv *kv, const struct kv_scan *pos)
{
	if (pos->stage == SCAN_DISK)
		return disk_is_hidden(kv);
	return pos->generation < kv->view >> 1 && frozen_is_hidden(kv);
}

/*
 * Buckets of generation pos->generation. When that one was written to disk
 * meanwhile, all of it is found there, as is what was frozen before it.
 */
static void
scan_table(struct scan *s)
{
	struct kv_scan *pos = s->pos;
	struct kv *kv = s->kv;
	const struct table_gen *g;
	unsigned empty = 0;

	if (!in_view(kv, pos->generation)) {
		scan_to_disk(pos);
		return;
	}
	g = table_gen_at(kv->t, pos->generation);
	if (is_empty(g))
		pos->bucket = g->bucket_count;
	for (; pos->bucket < g->bucket_count && !scan_enough(s);
	     pos->bucket++) {
		if (!bucket_each(kv, g, pos->bucket, scan_entry, s))
			return;
		if (++empty % BUCKETS_A_STEP == 0)
			s->looked++;
	}
	if (pos->bucket < g->bucket_count)
		return;
	pos->bucket = 0;
	if (in_view(kv, pos->generation - 1))
		pos->generation--;
	else
		scan_to_disk(pos);
}

/* Keys on disk behind pos->key; bucket = 1 says that the empty one is done. */
static void
scan_disk(struct scan *s)
{
	struct kv_scan *pos = s->pos;
	struct kv *kv = s->kv;
	MDB_val k = { pos->key_len, pos->key }, d;
	MDB_cursor *c;
	int rc;

	if (pos->bucket == 0) {
		pos->bucket = 1;
		if (!scan_key(s, "", 0))
			return;
	}
	if ((rc = store_db_cursor_open(kv->txn, kv->db.kv, &c)) != 0) {
		s->rc = rc;
		return;
	}
	if (pos->key_len == 0)
		rc = store_db_cursor(c, &k, &d, MDB_FIRST);
	else
		rc = store_db_cursor(c, &k, &d, MDB_SET_RANGE);
	if (rc == 0 && pos->key_len != 0 && k.mv_size == pos->key_len &&
	    memcmp(k.mv_data, pos->key, k.mv_size) == 0)
		rc = store_db_cursor(c, &k, &d, MDB_NEXT);
	while (rc == 0) {
		kv_note_disk(kv);
		/* Only damage has such keys; no end of the walk is behind. */
		if (k.mv_size > KEY_MAX) {
			rc = -EBADMSG;
			break;
		}
		if (!scan_key(s, k.mv_data, k.mv_size))
			break;
		pos->key_len = (uint16_t)k.mv_size;
		memcpy(pos->key, k.mv_data, k.mv_size);
		if (scan_enough(s))
			break;
		rc = store_db_cursor(c, &k, &d, MDB_NEXT);
	}
	mdb_cursor_close(c);
	if (rc == -ENOENT)
		pos->stage = SCAN_DONE;
	else if (rc != 0)
		s->rc = rc;
}

/* Nothing in the tables survives a wrong position: they start over. */
static void
scan_begin(struct kv *kv, struct kv_scan *pos)
{
	pos->generation = kv->view >> 1;
	pos->bucket = 0;
	pos->stage = SCAN_TABLE;
}

int
kv_scan(struct kv *kv, struct kv_scan *pos, unsigned count, int64_t now_ms,
    void (*each)(void *arg, const void *key, size_t key_len), void *arg)
{
	struct scan s = { .kv = kv,
		.pos = pos,
		.now_ms = now_ms,
		.count = count,
		.each = each,
		.arg = arg };
	bool own = !kv->in;
	int rc;

	if (own && (rc = kv_begin(kv)) != 0)
		return rc;
	kv_release(kv);
	s.rc = kv_refresh(kv);
	if (s.rc == 0 && pos->generation == 0)
		scan_begin(kv, pos);
	while (s.rc == 0 && !scan_enough(&s) && pos->stage < SCAN_DONE) {
		if (scan_is_over(kv, pos))
			pos->stage = SCAN_DONE;
		else if (pos->stage == SCAN_TABLE)
			scan_table(&s);
		else
			scan_disk(&s);
	}
	/* A FLUSHALL went by: what was there is gone; go on next time. */
	if (s.rc == -EAGAIN)
		s.rc = 0;
	pos->done = pos->stage == SCAN_DONE;
	if (own)
		kv_end(kv);
	return s.rc;
}

/* ---- all keys of one snapshot, each once ---- */

struct every {
	struct kv *kv;
	int64_t now_ms;
	enum kv_where from; /* the place being visited */
	int rc;
	bool (*each)(void *arg, const void *key, size_t key_len);
	void *arg;
};

/* A key counts where its state is decided, so it is met once. */
static bool
every_key(struct every *v, const void *key, size_t key_len)
{
	enum kv_where where;
	int rc = is_live(v->kv, key, key_len, v->now_ms, &where);

	if (rc < 0) {
		v->rc = rc;
		return false;
	}
	if (kv_over(v->kv)) {
		v->rc = -EBUSY;
		return false;
	}
	if (rc == 0 || where != v->from)
		return true;
	return v->each(v->arg, key, key_len);
}

static bool
every_entry(void *arg, const struct table_entry *e)
{
	return every_key(arg, table_entry_key(e), table_entry_key_len(e));
}

static bool
every_table(struct every *v, uint64_t number)
{
	const struct table_gen *g = table_gen_at(v->kv->t, number);
	uint64_t i;

	for (i = 0; i < g->bucket_count && !is_empty(g); i++)
		if (!bucket_each(v->kv, g, i, every_entry, v))
			return false;
	return true;
}

static void
every_disk(struct every *v)
{
	MDB_val k, d;
	MDB_cursor *c;
	int rc;

	if (!every_key(v, "", 0))
		return;
	rc = store_db_cursor_open(v->kv->txn, v->kv->db.kv, &c);
	if (rc != 0) {
		v->rc = rc;
		return;
	}
	while ((rc = store_db_cursor(c, &k, &d, MDB_NEXT)) == 0) {
		kv_note_disk(v->kv);
		if (!every_key(v, k.mv_data, k.mv_size))
			break;
	}
	if (rc != 0 && rc != -ENOENT)
		v->rc = rc;
	mdb_cursor_close(c);
}

int
kv_each(struct kv *kv, int64_t now_ms,
    bool (*each)(void *arg, const void *key, size_t key_len), void *arg)
{
	struct every v = { kv, now_ms, KV_ACTIVE, 0, each, arg };
	uint64_t number = kv->view >> 1;

	ASSERT(kv->in);
	if (!every_table(&v, number))
		return v.rc;
	v.from = KV_FROZEN;
	if (table_view_frozen(kv->view) && !frozen_is_hidden(kv) &&
	    !every_table(&v, number - 1))
		return v.rc;
	v.from = KV_DISK;
	if (!disk_is_hidden(kv))
		every_disk(&v);
	return v.rc;
}

/* ---- RANDOMKEY ---- */

struct pick {
	struct kv *kv;
	int64_t now_ms;
	uint64_t random;
	unsigned seen; /* of the bucket so far */
	unsigned looked; /* at all */
	int rc;
	uint8_t *key;
	size_t *key_len;
	bool found;
};

static uint64_t
next_random(struct pick *p)
{
	p->random = p->random * UINT64_C(6364136223846793005) +
		    UINT64_C(1442695040888963407);
	return p->random >> 16;
}

static bool
pick_key(struct pick *p, const void *key, size_t key_len)
{
	enum kv_where where;
	int rc = is_live(p->kv, key, key_len, p->now_ms, &where);

	p->looked++;
	if (rc < 0) {
		p->rc = rc;
		return false;
	}
	if (rc == 0 || key_len > KEY_MAX)
		return true;
	/* Of a bucket's keys each is taken with the same chance. */
	if (next_random(p) % ++p->seen == 0) {
		memcpy(p->key, key, key_len);
		*p->key_len = key_len;
		p->found = true;
	}
	return true;
}

static bool
pick_entry(void *arg, const struct table_entry *e)
{
	return pick_key(arg, table_entry_key(e), table_entry_key_len(e));
}

/* From a random bucket on to the first that has somebody. */
static void
pick_table(struct pick *p, uint64_t number)
{
	const struct table_gen *g = table_gen_at(p->kv->t, number);
	uint64_t i, n = g->bucket_count, from = next_random(p);

	p->seen = 0;
	for (i = 0;
	     i < n && p->seen == 0 && p->rc == 0 && p->looked < RANDOM_LOOKS;
	     i++)
		bucket_each(p->kv, g, (from + i) & (n - 1), pick_entry, p);
}

static void
pick_disk(struct pick *p)
{
	MDB_cursor *c;
	MDB_val k, d;
	int rc = store_db_cursor_open(p->kv->txn, p->kv->db.kv, &c);

	if (rc != 0) {
		p->rc = rc;
		return;
	}
	rc = store_db_random(c, next_random(p), &k, &d);
	p->seen = 0;
	if (rc == 0)
		pick_key(p, k.mv_data, k.mv_size);
	else if (rc != -ENOENT)
		p->rc = rc;
	mdb_cursor_close(c);
}

static bool
pick_first(void *arg, const void *key, size_t key_len)
{
	struct pick *p = arg;

	memcpy(p->key, key, key_len);
	*p->key_len = key_len;
	p->found = true;
	return false;
}

/* How many keys a table may hold: by its size, which is good enough. */
static uint64_t
table_weight(const struct kv *kv, uint64_t number)
{
	const struct table_gen *g = table_gen_at(kv->t, number);
	uint64_t used = atomic_load_explicit(&g->used, memory_order_acquire);

	return used <= 1 ? 0 : used / ENTRY_UNITS + 1;
}

static void
pick(struct pick *p)
{
	struct kv *kv = p->kv;
	uint64_t number = kv->view >> 1, active, frozen = 0, disk, at;

	p->rc = store_db_keys(&kv->db, kv->txn, &disk);
	active = table_weight(kv, number);
	if (table_view_frozen(kv->view) && !frozen_is_hidden(kv))
		frozen = table_weight(kv, number - 1);
	if (disk_is_hidden(kv))
		disk = 0;
	if (p->rc != 0 || active + frozen + disk == 0)
		return;
	at = next_random(p) % (active + frozen + disk);
	if (at < active)
		pick_table(p, number);
	else if (at < active + frozen)
		pick_table(p, number - 1);
	else
		pick_disk(p);
}

/* May a gateway walk over all there is, in one go? */
static bool
is_small(const struct kv *kv)
{
	uint64_t used = 0, disk;
	unsigned i;

	for (i = 0; i < 2; i++)
		used += atomic_load_explicit(
		    &kv->t->gen[i].used, memory_order_relaxed);
	if (used > SMALL_UNITS || store_db_keys(&kv->db, kv->txn, &disk) != 0)
		return false;
	return disk <= SMALL_ENTRIES || disk_is_hidden(kv);
}

int
kv_random(
    struct kv *kv, int64_t now_ms, uint8_t key[KEY_MAX + 1], size_t *key_len)
{
	struct pick p = {
		.kv = kv, .now_ms = now_ms, .key = key, .key_len = key_len
	};
	unsigned tries;
	bool slow = false;

	ASSERT(kv->in);
	if (getrandom(&p.random, sizeof(p.random), 0) != sizeof(p.random))
		p.random = mono_ns();
	for (tries = 0; tries < RANDOM_TRIES && p.rc == 0 && !p.found &&
			p.looked < RANDOM_LOOKS && !slow;
	     tries++) {
		pick(&p);
		slow = kv_over(kv);
	}
	/* Luck has run out: the first that is there. */
	if (p.rc == 0 && !p.found && kv->writer == NULL &&
	    (slow || !is_small(kv)))
		return -EBUSY;
	if (p.rc == 0 && !p.found)
		p.rc = kv_each(kv, now_ms, pick_first, &p);
	if (p.rc != 0)
		return p.rc;
	return p.found ? 0 : -ENOENT;
}
