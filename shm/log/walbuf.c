/*
 * The WAL buffer: from a place in a file to the place in the buffer.
 */
#include "shm/log/walbuf.h"

uint64_t
walbuf_cut_since(const struct walbuf *wb, uint64_t seen, uint64_t *done)
{
	uint64_t n, i, vlsn, lowest = UINT64_MAX;

	/* Both pair with the releases in wal's cut. */
	*done = atomic_load_explicit(&wb->h->cuts_done, memory_order_acquire);
	n = atomic_load_explicit(&wb->h->cuts, memory_order_acquire);
	if (n == seen)
		return UINT64_MAX;
	for (i = seen + 1; n - seen < WALBUF_CUTS && i <= n; i++) {
		vlsn = atomic_load_explicit(
		    &wb->h->cut[i % WALBUF_CUTS], memory_order_relaxed);
		if (vlsn < lowest)
			lowest = vlsn;
	}
	/* wal fills the next cut's slot before it counts that cut: of so many
	   slots the oldest may hold the next one's VLSN by now. */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&wb->h->cuts, memory_order_relaxed) - seen >=
	    WALBUF_CUTS)
		return 0;
	return lowest;
}

uint64_t
walbuf_position(const struct walbuf *wb, uint64_t lsn)
{
	uint32_t number = lsn_segment(lsn);
	unsigned slot = number % WALBUF_SEGMENTS;
	uint64_t base;

	/* Pairs with wal's release of number behind base. */
	if (number == 0 || atomic_load_explicit(&wb->h->segment[slot].number,
			       memory_order_acquire) != number)
		return UINT64_MAX;
	base = atomic_load_explicit(
	    &wb->h->segment[slot].base, memory_order_relaxed);
	/* wal zeroes the number before it changes the base. */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(
		&wb->h->segment[slot].number, memory_order_relaxed) != number)
		return UINT64_MAX;
	return base + lsn_offset(lsn);
}
