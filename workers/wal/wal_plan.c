/*
 * The group commit rule and the life of one write. Pure; see wal_plan.h.
 */
#include "workers/wal/wal_plan.h"

#include <errno.h>

#include "shm/assert.h"
#include "shm/log/segment.h"

enum plan_action
wal_plan(const struct plan_in *in)
{
	bool close = in->must_close || in->waiting >= PLAN_CLOSE_BYTES;

	ASSERT(in->flights <= FLIGHT_MAX);
	if (in->waiting == 0)
		return PLAN_WAIT;
	if (in->flights == 0)
		return close ? PLAN_FLUSH_CLOSED : PLAN_FLUSH;
	if (!close || !in->last_closed || in->flights >= FLIGHT_MAX)
		return PLAN_WAIT;
	/* Behind a broken record a boot looks for heads no further than that,
	   so none that knows it to be durable may lie behind. */
	if (in->flight_bytes + in->waiting + 2 * in->block >
	    SEGMENT_FLIGHT_WINDOW)
		return PLAN_WAIT;
	ASSERT(in->flight_bytes < SEGMENT_FLIGHT_WINDOW);
	return PLAN_FLUSH_CLOSED;
}

enum flight_verdict
wal_flight_written(int res, uint32_t left, uint32_t block, bool buffered)
{
	ASSERT(left != 0);
	if (res == -EINTR || res == -EAGAIN)
		return FLIGHT_REWRITE;
	if (res <= 0 || (uint32_t)res > left)
		return FLIGHT_LOST;
	if ((uint32_t)res == left)
		return buffered ? FLIGHT_GO_ON : FLIGHT_DURABLE;
	/* The next try begins on a block: less than one is no progress. */
	return (uint32_t)res >= block ? FLIGHT_REWRITE : FLIGHT_LOST;
}

enum flight_verdict
wal_flight_synced(int res, bool written)
{
	if (!written) /* its write was short: the link broke, or will */
		return res < 0 && res != -ECANCELED && res != -EINTR
			   ? FLIGHT_LOST
			   : FLIGHT_GO_ON;
	if (res == -ECANCELED || res == -EINTR || res == -EAGAIN)
		return FLIGHT_SYNC;
	return res < 0 ? FLIGHT_LOST : FLIGHT_DURABLE;
}
