/*
 * The life of table generations, as far as it is the store's: when one is
 * frozen for checkpoint, when it leaves the view, when its memory is free to
 * be given back. checkpoint does the rest.
 */
#include <string.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "workers/store/store.h"

static struct table_gen *
other_gen(const struct store *s)
{
	uint64_t view =
	    atomic_load_explicit(&s->table.t->view, memory_order_relaxed);

	return table_gen_at(s->table.t, (view >> 1) + 1);
}

bool
store_is_frozen(const struct store *s)
{
	return table_view_frozen(
	    atomic_load_explicit(&s->table.t->view, memory_order_relaxed));
}

static uint32_t
wanted_now(const struct store *s)
{
	return atomic_load_explicit(
	    &s->r->control->checkpoint_wanted, memory_order_acquire);
}

static bool
freeze_due(const struct store *s)
{
	/* A checkpoint never holds half of a record. */
	if (s->parts_origin != 0)
		return false;
	return wanted_now(s) != s->wanted_seen ||
	       position_get(&s->r->pos->checkpointed) < s->skipped ||
	       table_want_freeze(&s->table) || store_full_wants_freeze(s) ||
	       s->wal_bytes >=
		   atomic_load_explicit(
		       &s->r->control->checkpoint_wal, memory_order_relaxed);
}

/*
 * And it can be: not before the other generation is free, nor at the end of a
 * stop. One that cannot be is nothing to stay awake for.
 */
static bool
freeze_ready(const struct store *s)
{
	return freeze_due(s) && table_can_freeze(&s->table) &&
	       loop_shutdown(&s->loop) < SHUTDOWN_DRAINING_EVENT_PLANE;
}

static bool
drop_due(const struct store *s)
{
	const struct table_gen *g = other_gen(s);

	return store_is_frozen(s) &&
	       position_get(&s->r->pos->checkpointed) >=
		   atomic_load_explicit(&g->vlsn, memory_order_relaxed);
}

bool
store_is_leaving(const struct store *s)
{
	return s->opened && atomic_load_explicit(&other_gen(s)->state,
				memory_order_relaxed) == GEN_LEAVING;
}

/* What is read from here on is the new view's. */
static void
view_changed(struct store *s)
{
	int rc = kv_renew(s->kv);

	/* -EIO: the node stops, nothing is read any more. */
	if (rc == -EIO)
		s->serving = false;
	else if (rc != 0)
		store_fail(s, "reading store/data.mdb: %s", strerror(-rc));
}

static void
freeze(struct store *s)
{
	struct table_gen *g = s->table.g;

	/* A checkpoint holds whole records, and all up to its VLSN. */
	ASSERT(s->parts_origin == 0);
	ASSERT(s->table.vlsn == s->applied);
	s->wanted_seen = wanted_now(s);
	atomic_store_explicit(&g->wanted, s->wanted_seen, memory_order_relaxed);
	table_freeze(&s->table);
	ASSERT(s->table.g != g);
	ASSERT(store_is_frozen(s));
	s->wal_bytes = 0;
	position_set(
	    &s->r->pos->checkpoint_bytes, position_get(&s->r->pos->wal_bytes));
	position_set(&s->r->pos->frozen,
	    atomic_load_explicit(&g->vlsn, memory_order_relaxed));
	view_changed(s);
	bell_ring(s->loop.bells, SLOT_CHECKPOINT);
}

static void
drop(struct store *s)
{
	uint64_t number =
	    (atomic_load_explicit(&s->table.t->view, memory_order_relaxed) >>
		1) -
	    1;

	table_drop(&s->table);
	ASSERT(!store_is_frozen(s));
	position_set(&s->r->pos->frozen, 0);
	store_expiry_dropped(s, number);
	view_changed(s);
}

bool
store_let_go(struct store *s)
{
	bool changed = false;

	if (drop_due(s)) {
		drop(s);
		changed = true;
	}
	if (table_leave(&s->table)) {
		bell_ring(s->loop.bells, SLOT_CHECKPOINT);
		changed = true;
	}
	return changed;
}

bool
store_freeze_turn(struct store *s)
{
	bool changed = store_let_go(s);

	if (freeze_ready(s)) {
		freeze(s);
		changed = true;
	}
	return changed;
}

bool
store_freeze_is_due(const struct store *s)
{
	return s->parts_origin == 0 && table_want_freeze(&s->table) &&
	       table_can_freeze(&s->table);
}

bool
store_freeze_pending(const struct store *s)
{
	return drop_due(s) || freeze_ready(s);
}

/*
 * Behind the nominal end there is only so much of the arena. (Not of memory:
 * what the record does not get of that it waits for.)
 */
bool
store_has_room_for(const struct store *s, const struct record *rec)
{
	uint64_t used = table_used(&s->table);
	uint64_t nominal = s->table.g->arena_nominal;
	uint64_t bound = record_applies(rec->type) ? record_bound(rec) : 0;

	return used < nominal || used - nominal + bound <= REC_BOUND_MAX;
}

bool
store_has_room(struct store *s)
{
	if (table_used(&s->table) < table_limit(s->table.t))
		return true;
	if (s->busy != BUSY_TABLE)
		counter_add(s->r->counters, SLOT_STORE, C_STORE_STALLS, 1);
	return false;
}
