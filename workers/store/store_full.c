/*
 * What is taken of clients' writes: before the append, so that all that was
 * accepted still finds its place in the table. What only takes away is taken
 * longer, and brings a full store back.
 *
 * The checkpoint's file itself is not bounded by [store] map_size, only what
 * is added to it: what stands in the table when the store is full, deletions
 * above all, can always be written as far as the disk has room.
 */
#include <errno.h>
#include <stdio.h>

#include "shm/kv/room.h"
#include "shm/trouble.h"
#include "workers/store/store.h"

#define NEAR_LEAST (UINT64_C(1) << 20) /* of the table, for a checkpoint */
#define LAST_LEFT  (UINT64_C(64) << 10) /* of the table: a level ends there */

static uint64_t
limit_of(const struct store *s)
{
	return s->w->conf->store.map_size;
}

static enum refuses
refuses_now(const struct store *s)
{
	return (enum refuses)position_get(&s->r->pos->refuses);
}

static uint64_t
used_on_disk(const struct store *s)
{
	return position_get(&s->r->pos->store_used);
}

/* With some room between: else each key would begin and end it. */
static bool
is_over(const struct store *s)
{
	uint64_t limit = limit_of(s), used = used_on_disk(s);

	if (limit == 0)
		return false;
	return used >= (s->over ? limit - limit / 64 : limit);
}

/*
 * The table's room while nothing goes out of it: half of it is for what is
 * accepted already, for deletions, and the last eighth for a FLUSHALL. That one
 * is refused where it would not be applied: behind what has no room itself.
 */
static enum refuses
by_table(const struct store *s)
{
	uint64_t used = table_used(&s->table);
	uint64_t nominal = s->table.g->arena_nominal;

	if (table_can_freeze(&s->table) || used < nominal / 2 ||
	    (!trouble_stands(s->r, TROUBLE_CHECKPOINT_FAILED) &&
		!room_waits_long(s->r, s->loop.now_ns)))
		return REFUSES_NOTHING;
	if (used + LAST_LEFT < nominal / 8 * 7)
		return REFUSES_GROWTH;
	return s->busy != BUSY_TABLE &&
		       used + LAST_LEFT < table_limit(s->table.t)
		   ? REFUSES_DELETES
		   : REFUSES_ALL;
}

/*
 * Writes wait in front of the log for a checkpoint that makes room, not behind
 * it: see workers/gateway/exec/reach.c. What is on its way may fill the share
 * of one generation: of this one, if it cannot be frozen, else of the next.
 * Then all of it is applied without a further checkpoint, by a replay as well.
 */
static uint64_t
room_now(const struct store *s)
{
	uint64_t share = table_share(s->table.g);
	uint64_t used = table_used(&s->table);

	/* A stop ends checkpoints, not the log. */
	if (loop_shutdown(&s->loop) != SHUTDOWN_NONE)
		return TABLE_ROOM_ANY;
	if (table_can_freeze(&s->table))
		return share;
	/* Never all of it: that says that nothing is in the way. */
	if (used < TABLE_UNIT)
		used = TABLE_UNIT;
	return used < share ? share - used : 0;
}

void
store_room_publish(struct store *s)
{
	uint64_t room = room_now(s), before = position_get(&s->r->pos->room);

	if (room == before)
		return;
	position_set(&s->r->pos->room, room);
	if (room == 0)
		counter_add(s->r->counters, SLOT_STORE, C_STORE_STALLS, 1);
	/* Less of it is told by who asks. */
	if (room > before)
		store_ring_gateways(s, true);
}

bool
store_full_wants_freeze(const struct store *s)
{
	uint64_t limit = limit_of(s), used = used_on_disk(s);
	uint64_t here = table_used(&s->table), left;

	/* Whatever is in it now may be what frees room. */
	if (s->over)
		return here > TABLE_UNIT;
	left = limit > used ? limit - used : 0;
	return limit != 0 && here >= left && here >= NEAR_LEAST;
}

static const char *
effect_of(const struct store *s, enum refuses level)
{
	if (s->busy == BUSY_TABLE)
		return "writes are refused, and who reads what is not applied "
		       "yet gets an error";
	if (level == REFUSES_ALL)
		return "all writes are refused, reads go on";
	return level == REFUSES_DELETES
		   ? "all writes but FLUSHALL are refused, reads go on"
		   : "writes are refused but deletions, reads go on";
}

static void
tell(struct store *s, enum refuses level)
{
	char object[CONF_PATH_SIZE + 32], size[24], what[80];
	struct fault f = { .object = object,
		.effect = effect_of(s, level),
		.what = what,
		.goes_on = true };

	snprintf(object, sizeof(object), "%s/store/data.mdb",
	    s->w->conf->node.data_dir);
	if (s->over) {
		conf_size_format(limit_of(s), size, sizeof(size));
		snprintf(what, sizeof(what),
		    "the store is full ([store] map_size = %s)", size);
		f.error = ENOSPC;
		f.place = PLACE_STORE;
	} else {
		snprintf(what, sizeof(what), "the store is full (%s)",
		    trouble_stands(s->r, TROUBLE_CHECKPOINT_FAILED)
			? "checkpoints fail"
			: "a checkpoint does not end");
	}
	trouble_begin(s->r, TROUBLE_STORE_FULL, &f);
}

/* A FLUSHALL is what a checkpoint that fails may wait for. */
static void
tell_flushed(struct store *s)
{
	uint64_t flushed =
	    atomic_load_explicit(&s->table.g->flush_vlsn, memory_order_relaxed);

	if (flushed != s->flushed_told && store_is_frozen(s))
		bell_ring(s->loop.bells, SLOT_CHECKPOINT);
	s->flushed_told = flushed;
}

static void
refuse_turn(struct store *s)
{
	enum refuses level, before = refuses_now(s);
	bool was_over = s->over;

	s->over = is_over(s);
	level = by_table(s);
	if (s->over && level == REFUSES_NOTHING)
		level = REFUSES_GROWTH;
	if (level == before && s->over == was_over)
		return;
	if (level == REFUSES_NOTHING)
		trouble_end(s->r, TROUBLE_STORE_FULL);
	else
		tell(s, level);
	position_set(&s->r->pos->refuses, level);
	/* Who waits for room may be refused now. */
	store_ring_gateways(s, true);
}

void
store_full_turn(struct store *s)
{
	tell_flushed(s);
	refuse_turn(s);
	store_room_publish(s);
}
