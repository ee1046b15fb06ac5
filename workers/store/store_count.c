/*
 * DBSIZE. Whether a plain SET made a new key or not only the disk may know,
 * and apply does not wait for it. So keys are counted behind apply: a walk
 * along the arenas, in the order of the records, that looks up what apply
 * did not. positions.resolved says how far it got.
 */
#include <errno.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "workers/store/store.h"

#define CLOCK_EVERY 32 /* entries between two looks at the clock */
#define RETRY_NS    NS_PER_S /* after a disk that could not be read */

static uint64_t
active_number(const struct store *s)
{
	return atomic_load_explicit(&s->table.t->view, memory_order_relaxed) >>
	       1;
}

void
store_count_open(struct store *s, uint64_t keys)
{
	s->count.number = active_number(s);
	s->count.off = 1;
	s->count.keys = keys;
	s->count.vlsn = s->applied;
	atomic_store_explicit(&s->table.t->count, keys, memory_order_release);
	position_set(&s->r->pos->resolved, s->applied);
}

/* Was the key there before this entry? 1, 0, -errno. */
static int
existed_before(struct store *s, const struct table_entry *e)
{
	unsigned flags = table_entry_flags(e);
	struct kv_item item;
	int rc;

	if ((flags & TABLE_EXISTED) != 0)
		return 1;
	if ((flags & TABLE_ABSENT) != 0)
		return 0;
	rc = kv_try_disk(
	    s->kv, table_entry_key(e), table_entry_key_len(e), &item);
	if (rc == -ENOENT)
		return 0;
	return rc == 0 ? 1 : rc;
}

static int
count_entry(struct store *s, const struct table_entry *e)
{
	struct count *c = &s->count;
	unsigned flags = table_entry_flags(e);
	int before;

	if ((flags & TABLE_TERM) != 0)
		return 0;
	if ((flags & TABLE_FLUSH) != 0) {
		c->keys = 0;
		return 0;
	}
	before = existed_before(s, e);
	if (before < 0)
		return before;
	if ((flags & TABLE_TOMBSTONE) != 0)
		c->keys -= (uint64_t)before;
	else
		c->keys += 1 - (uint64_t)before;
	return 0;
}

/* What has been counted is the state after a whole record. */
static void
count_publish(struct store *s, uint64_t vlsn)
{
	atomic_store_explicit(
	    &s->table.t->count, s->count.keys, memory_order_release);
	position_raise(&s->r->pos->resolved, vlsn);
}

/*
 * A generation that is on disk already was counted there; looking its keys up
 * would find themselves. Replay leaves whole generations uncounted.
 */
static int
skip_written(struct store *s)
{
	struct count *c = &s->count;
	uint64_t view =
	    atomic_load_explicit(&s->table.t->view, memory_order_relaxed);
	uint64_t active = view >> 1;
	uint64_t oldest = table_view_frozen(view) ? active - 1 : active;
	struct table_gen *g = table_gen_at(s->table.t, oldest);
	struct store_state st;
	int rc;

	if (c->number == active)
		return 0;
	rc = store_db_state(&s->kv->db, s->kv->txn, &st);
	if (rc != 0)
		return rc;
	if (oldest != active &&
	    st.vlsn >= atomic_load_explicit(&g->vlsn, memory_order_relaxed))
		oldest = active;
	if (c->number >= oldest)
		return 0;
	c->keys = st.keys;
	c->vlsn = st.vlsn;
	c->number = oldest;
	c->off = 1;
	return 0;
}

/*
 * What a FLUSHALL hides need not be counted, and cannot be when a checkpoint
 * left it out.
 */
static void
skip_flushed(struct store *s, uint32_t flushed_at)
{
	struct count *c = &s->count;
	uint64_t active = active_number(s);
	const struct table_entry *e =
	    table_at(s->table.t, table_gen_at(s->table.t, active), flushed_at);

	if (e == NULL || (c->number == active && c->off >= flushed_at))
		return;
	c->number = active;
	c->off = flushed_at;
	c->vlsn = table_entry_vlsn(e);
}

/* The next entry of this generation, or NULL at its end. */
static const struct table_entry *
count_next(struct store *s)
{
	struct count *c = &s->count;
	struct table_gen *g = table_gen_at(s->table.t, c->number);

	if (c->off >= atomic_load_explicit(&g->used, memory_order_relaxed))
		return NULL;
	return table_at(s->table.t, g, (uint32_t)c->off);
}

/* 0 at the end of what is applied, -ETIME before it, else -errno. */
static int
count_walk(struct store *s, uint64_t deadline_ns, bool whole_records)
{
	struct count *c = &s->count;
	const struct table_entry *e;
	uint32_t beats = s->beats;
	unsigned n = 0;
	int rc;

	skip_flushed(s, whole_records
			    ? atomic_load_explicit(
				  &s->table.g->flushed_at, memory_order_relaxed)
			    : s->table.flushed_at);
	if ((rc = skip_written(s)) != 0)
		return rc;
	for (;;) {
		e = count_next(s);
		if (e == NULL && c->number == active_number(s))
			return 0;
		if (e == NULL) {
			c->number++;
			c->off = 1;
			continue;
		}
		if (whole_records && table_entry_vlsn(e) != c->vlsn)
			count_publish(s, table_entry_vlsn(e) - 1);
		/* Also inside of a record: it may have a million keys. */
		if (s->beats != beats || ++n % CLOCK_EVERY == 0) {
			beats = s->beats;
			if (mono_ns() > deadline_ns)
				return -ETIME;
		}
		kv_work(s->kv, 1);
		if ((rc = count_entry(s, e)) != 0)
			return rc;
		c->vlsn = table_entry_vlsn(e);
		c->off += table_units(table_entry_key_len(e), e->value_len);
	}
}

bool
store_count_walk(struct store *s, uint64_t deadline_ns)
{
	int rc;

	if (s->loop.now_ns < s->count.retry_ns)
		return true;
	rc = count_walk(s, deadline_ns, true);
	/* Nobody waits for it but DBSIZE: later. */
	if (rc == -EIO) {
		store_read_failed(s);
		s->count.retry_ns = s->loop.now_ns + RETRY_NS;
		return true;
	}

	if (rc == 0) {
		count_publish(s, s->applied);
		return true;
	}
	if (rc != -ETIME)
		store_fail(s,
		    "counting keys: %s: the checkpoint in "
		    "store/data.mdb is damaged: restore this node",
		    strerror(-rc));
	return false;
}

int
store_count_now(void *ctx)
{
	struct store *s = ctx;
	int rc;

	KV_READ(s->kv, rc, count_walk(s, UINT64_MAX, false));
	if (rc == 0)
		atomic_store_explicit(
		    &s->table.t->count, s->count.keys, memory_order_release);
	return rc;
}
