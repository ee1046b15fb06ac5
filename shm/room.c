/*
 * Who waits for room in the store's table; see room.h.
 */
#include "shm/room.h"

#include "shm/region.h"
#include "shm/trouble.h"

bool
room_stuck(const struct region *r)
{
	return atomic_load_explicit(&r->slots->row[SLOT_STORE].busy_with,
		   memory_order_acquire) == BUSY_TABLE;
}

bool
room_hopeless(const struct region *r)
{
	return position_get(&r->pos->refuses) != REFUSES_NOTHING &&
	       room_stuck(r) && trouble_stands(r, TROUBLE_STORE_WAITS);
}
