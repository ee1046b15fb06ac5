/*
 * Memory of the WAL buffer and of the VLSN map. The buffer gets its own ahead
 * of the first lap, a step at a time; then it has all that it ever needs. When
 * there is none, appends wait, as they do for a full buffer, and it is tried
 * again each second. A map sample is only a hint: one without memory is left
 * out, and lookups there read more of the log.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <stdio.h>

#include "shm/assert.h"
#include "shm/memory.h"

static void
no_memory_set(struct wal *w, bool none)
{
	char what[96];
	const struct fault f = { .object = "/dev/shm",
		.error = ENOSPC,
		.place = PLACE_SHM,
		.what = what,
		.effect = "writes wait, nothing is lost",
		.goes_on = true };

	if (w->no_memory == none)
		return;
	w->no_memory = none;
	if (!none) {
		trouble_end(w->r, TROUBLE_LOG_MEMORY);
		return;
	}
	wal_count(w, C_REGION_FULL, 1);
	snprintf(what, sizeof(what),
	    "no memory left, the WAL buffer has %ju of %ju KiB",
	    (uintmax_t)w->log.taken >> 10, (uintmax_t)w->r->walbuf.size >> 10);
	trouble_begin(w->r, TROUBLE_LOG_MEMORY, &f);
}

/* Memory for the first lap up to `end`. 0 or -ENOSPC. */
static int
buffer_take(struct wal *w, uint64_t end)
{
	uint64_t size = w->r->walbuf.size, to = align_up(end, MEMORY_STEP);
	int rc;

	if (to > size)
		to = size;
	ASSERT(w->log.taken < to);
	rc = memory_take(w->r->walbuf.data + w->log.taken, to - w->log.taken);
	no_memory_set(w, rc != 0);
	if (rc != 0)
		w->take_ns = w->loop.now_ns + WAL_RETRY_NS;
	else
		w->log.taken = to == size ? UINT64_MAX : to;
	return rc;
}

int
wal_buffer_open(struct wal *w)
{
	w->log.taken = 0;
	return buffer_take(w, 1);
}

bool
wal_buffer_has(struct wal *w, uint32_t n)
{
	ASSERT(n <= w->r->walbuf.size);
	if (wal_buffer_room(w) >= n)
		return true;
	if (w->log.position + n > w->log.taken && !w->no_memory)
		(void)buffer_take(w, w->log.position + n);
	if (wal_buffer_room(w) >= n)
		return true;
	w->need_room = n;
	/* Whoever is in the way of all others; its memory is free at once, or
	   when the ring says so. */
	if (w->data.hold != UINT64_MAX &&
	    w->log.position + n > w->data.hold + w->log.buf.size)
		wal_data_lap(w, w->log.position + n - w->log.buf.size);
	wal_busy(
	    w, w->log.position + n > w->log.taken ? BUSY_MEMORY : BUSY_BUFFER);
	return false;
}

void
wal_buffer_turn(struct wal *w)
{
	if (w->no_memory && w->loop.now_ns >= w->take_ns)
		(void)buffer_take(w, w->log.taken + 1);
}

uint64_t
wal_buffer_deadline(const struct wal *w)
{
	return w->no_memory ? w->take_ns : LOOP_NEVER;
}

bool
wal_sample(struct wal *w, uint64_t vlsn, uint64_t lsn)
{
	bool none = vmap_add(w->r->vmap, vlsn, lsn) != 0;

	if (none && !w->no_samples) {
		wal_count(w, C_REGION_FULL, 1);
		event_add(w->r, SLOT_WAL, EVENT_WARN,
		    "no memory left in /dev/shm for the VLSN map: lookups in "
		    "the log are slower; free some of it, or enlarge it");
	}
	w->no_samples = none;
	return !none;
}
