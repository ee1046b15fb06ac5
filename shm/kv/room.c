/*
 * Who waits for room in the store's table; see room.h.
 */
#include "shm/kv/room.h"

#include "shm/region.h"
#include "shm/trouble.h"

#define PATIENCE_NS (10 * NS_PER_S) /* behind disk_stall_limit */

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

bool
room_waits_long(const struct region *r, uint64_t now_ns)
{
	struct trouble_info t;

	return trouble_stands(r, TROUBLE_STORE_WAITS) &&
	       trouble_read(r, TROUBLE_STORE_WAITS, &t) &&
	       now_ns > t.since_ns + PATIENCE_NS;
}
