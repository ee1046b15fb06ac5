/*
 * The reach of a write: the most that it may take of the table's memory. What
 * this gateway has appended and the store has not applied reaches no further
 * than positions.room, so what was accepted always finds its place: a write
 * that would go beyond waits in front of the log. Behind it, it would be
 * answered and not applied, and whoever reads would wait for it.
 *
 * What the state decides is asked of the state: of an operation that copies
 * the value it finds, the reach is that value's length now, or what a write
 * under way may make of it. Only if it matters: a look-up may go to the disk.
 */
#include "shm/table.h"
#include "workers/gateway/command.h"
#include "workers/gateway/gateway.h"

static struct reach_mark *
mark_at(struct reach *r, uint32_t i)
{
	return &r->mark[(r->first + i) % REACH_MARKS];
}

/* What is applied by now reaches nothing any more. */
static void
drop_applied(struct gateway *g)
{
	struct reach *r = &g->reach;
	uint64_t applied = position_get(&g->r->pos->applied);
	struct reach_mark *m;

	while (r->count != 0 && (m = mark_at(r, 0))->placed &&
	       m->vlsn <= applied) {
		r->bytes -= m->bytes;
		r->first++;
		r->count--;
	}
	if (r->count == 0)
		r->longest = 0;
}

/* This gateway's share of the room; *whole: nothing but room is in the way. */
static uint64_t
room_for(const struct gateway *g, enum refuses level, bool *whole)
{
	const struct table_gen *gen = &g->r->table->gen[0];
	uint64_t room = position_get(&g->r->pos->room);

	*whole = room >= table_share(gen);
	/* What is refused later may go further, too. */
	if (level == REFUSES_DELETES)
		room += gen->arena_nominal / 8;
	return room / g->r->head->gateway_count;
}

/* One that is larger than all the room goes alone, into an empty table. */
static bool
fits(struct gateway *g, uint64_t bytes, enum refuses level)
{
	struct reach *r = &g->reach;
	bool whole;

	if (r->bytes + bytes <= room_for(g, level, &whole))
		return true;
	/* Before the room: what is applied is taken off that first. */
	drop_applied(g);
	return r->bytes + bytes <= room_for(g, level, &whole) ||
	       (r->count == 0 && whole);
}

/* Who waits for room; nobody passes him, or a large one would wait for ever. */
static struct conn *
held_now(struct gateway *g)
{
	struct conn *c;

	if (g->reach.held_generation == 0)
		return NULL;
	c = gw_conn_find(g, g->reach.held, g->reach.held_generation);
	if (c == NULL || c->park != PARK_RING)
		g->reach.held_generation = 0;
	return g->reach.held_generation != 0 ? c : NULL;
}

bool
gw_reach_holds(struct gateway *g)
{
	const struct reach *r = &g->reach;

	return held_now(g) != NULL && gw_write_taken(g, r->held_level) &&
	       !fits(g, r->held_bytes, r->held_level);
}

bool
gw_reach_may(
    struct gateway *g, const struct conn *c, uint64_t bytes, enum refuses level)
{
	struct reach *r = &g->reach;
	const struct conn *held;

	if (level == REFUSES_ALL)
		return true;
	if (r->held_generation == c->generation && r->held == c->index)
		r->held_generation = 0;
	if ((held = held_now(g)) != NULL)
		return false;
	if (fits(g, bytes, level))
		return true;
	r->held = c->index;
	r->held_generation = c->generation;
	r->held_bytes = bytes;
	r->held_level = level;
	return false;
}

void
gw_reach_add(struct gateway *g, uint32_t seq, uint64_t bytes)
{
	struct reach *r = &g->reach;
	struct reach_mark *m;

	if (r->count == REACH_MARKS)
		drop_applied(g);
	/* Without a place of its own it lasts as long as the one before. */
	if (r->count != REACH_MARKS)
		*mark_at(r, r->count++) = (struct reach_mark){ 0 };
	m = mark_at(r, r->count - 1);
	m->seq = seq;
	m->placed = false;
	m->bytes += bytes;
	r->bytes += bytes;
	if (bytes > r->longest)
		r->longest = bytes;
}

void
gw_reach_returned(
    struct gateway *g, uint32_t seq, uint32_t count, uint64_t vlsn)
{
	struct reach *r = &g->reach;
	uint32_t i;

	for (i = 0; i < r->count; i++) {
		struct reach_mark *m = mark_at(r, i);

		if (m->placed)
			continue;
		if (m->seq - seq >= count)
			return;
		m->placed = true;
		m->vlsn = vlsn != 0 ? vlsn + (m->seq - seq) : 0;
	}
}

void
gw_reach_turn(struct gateway *g)
{
	struct reach_mark *m;

	if (held_now(g) == NULL)
		return;
	drop_applied(g);
	if (g->reach.count == 0 || !(m = mark_at(&g->reach, 0))->placed)
		return;
	/* The store rings when it is. */
	position_raise(&g->r->pos->apply_wanted, m->vlsn);
	g->want_apply = true;
}

/* The longest value that the key may have when the operation is applied. */
static uint64_t
length_now(struct gateway *g, const struct op_arg *key)
{
	uint64_t most = g->w->conf->store.max_value;
	struct kv_item item;
	int rc;

	if (gw_read_begin(g) != 0)
		return most;
	rc = kv_get(g->kv, key->data, key->len, 0, &item);
	gw_turn_read(g, 1);
	if (rc != 0)
		item.len = rc == -ENOENT ? 0 : most;
	return item.len > g->reach.longest ? item.len : g->reach.longest;
}

uint64_t
gw_reach_of(struct gateway *g, const struct built *b)
{
	uint64_t least = op_reach(b->code, b->num, b->argc, b->argv, 0);
	uint64_t most = op_reach(
	    b->code, b->num, b->argc, b->argv, g->w->conf->store.max_value);

	if (least == most || fits(g, most, gw_write_level(b->code)))
		return most;
	return op_reach(
	    b->code, b->num, b->argc, b->argv, length_now(g, &b->argv[0]));
}
