/*
 * What a gateway tells of its writes, for wal, tools and pages: what it is
 * held back by, and since when it owes the oldest of them an answer.
 */
#include "shm/kv/room.h"
#include "workers/gateway/exec/exec.h"

/*
 * Who is being refused, one after the other, still waits for room, and so does
 * who has not been asked yet; but not who only waits for the ring.
 */
static bool
waits_for_room(struct gateway *g)
{
	if (gw_reach_holds(g))
		return true;
	return room_waits_long(g->r, g->io.loop.now_ns) &&
	       (g->room_count != 0 || gw_write_room(g));
}

static uint32_t
held_by(struct gateway *g)
{
	if (g->big.payload != NULL)
		return BUSY_REQUEST;
	if (g->stalled_count != 0)
		return waits_for_room(g) ? BUSY_TABLE : BUSY_REQUEST;
	return BUSY_NOT;
}

/* 0: it owes none. Who waits in front of the ring does so since its input. */
static uint64_t
oldest_write(struct gateway *g)
{
	const struct conn *front[] = { TAILQ_FIRST(&g->stalled),
		TAILQ_FIRST(&g->stalled_big) };
	uint64_t at = gw_order_oldest(g);
	size_t i;

	for (i = 0; i < NITEMS(front); i++)
		if (front[i] != NULL && front[i]->active_ns < at)
			at = front[i]->active_ns;
	return at == UINT64_MAX ? 0 : at;
}

void
gw_owed_publish(struct gateway *g)
{
	struct slot_row *row = &g->r->slots->row[g->slot];
	uint32_t busy = held_by(g);
	uint64_t since = oldest_write(g);

	if (atomic_load_explicit(&row->busy_with, memory_order_relaxed) != busy)
		atomic_store_explicit(
		    &row->busy_with, busy, memory_order_relaxed);
	if (atomic_load_explicit(&row->write_ns, memory_order_relaxed) != since)
		atomic_store_explicit(
		    &row->write_ns, since, memory_order_relaxed);
}
