/*
 * Who is woken, and when. A hop to a sleeping process costs more than the
 * rest of a write, so nobody is woken for what can wait.
 */
#include "workers/wal/wal.h"

void
wal_busy(struct wal *w, enum busy busy)
{
	if (w->busy == busy)
		return;
	w->busy = busy;
	atomic_store_explicit(
	    &w->r->slots->row[SLOT_WAL].busy_with, busy, memory_order_relaxed);
	/* Whoever gives room looks at it: see cursor_release(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (busy == BUSY_BUFFER)
		bell_ring(w->loop.bells, SLOT_STORE);
}

/* Clients that got ret entries; all gateways if they wait for `committed`. */
static void
ring_clients(struct wal *w, bool all)
{
	unsigned i;

	for (i = 0; i < w->clients; i++) {
		struct wal_client *c = &w->client[i];

		if (!c->pushed && !(all && i >= CLIENT_GATEWAY))
			continue;
		c->pushed = c->refused = false;
		bell_ring(w->loop.bells, slot_of_client(i));
	}
}

void
wal_bells_returned(struct wal *w)
{
	bool now = atomic_load_explicit(&w->r->control->sync_level,
		       memory_order_relaxed) != CONF_SYNC_SYNC;
	unsigned i;

	for (i = 0; i < w->clients; i++) {
		struct wal_client *c = &w->client[i];

		/* With `sync` the answer waits for the flush anyway. */
		if (!c->pushed || !(now || c->refused))
			continue;
		c->pushed = c->refused = false;
		bell_ring(w->loop.bells, slot_of_client(i));
	}
}

void
wal_bells_open(struct wal *w)
{
	/*
	 * A ring relays to one; with more gateways they do without. On the
	 * same core ([cpu] io) the gateway would only be in wal's way.
	 */
	if (w->clients == CLIENT_GATEWAY + 1 && w->conf->cpu.io < 0)
		(void)loop_relay_to(&w->loop, SLOT_GATEWAY);
}

void
wal_bells_flight(struct wal *w, uint32_t records)
{
	loop_relay(&w->loop, records == 1 && w->flights == 1);
}

/* Must the store apply now, not later? */
static bool
store_wanted(struct wal *w, uint64_t committed, uint64_t applied)
{
	const struct walbuf_head *h = w->r->walbuf.h;
	uint64_t flushed, hold;

	if (w->urgent > w->urgent_rung) {
		w->urgent_rung = committed;
		return true;
	}
	if (committed - applied >= WAL_APPLY_RECORDS ||
	    position_get(&w->r->pos->apply_wanted) > applied)
		return true;
	flushed = atomic_load_explicit(&h->flushed, memory_order_relaxed);
	hold = atomic_load_explicit(&h->store_hold, memory_order_relaxed);
	return flushed > hold && flushed - hold >= WAL_APPLY_BYTES;
}

static void
ring_store(struct wal *w, uint64_t committed)
{
	uint64_t applied = position_get(&w->r->pos->applied);

	if (committed <= applied)
		return;
	if (store_wanted(w, committed, applied)) {
		w->apply_ns = 0;
		bell_ring(w->loop.bells, SLOT_STORE);
	} else if (w->apply_ns == 0)
		w->apply_ns = w->loop.now_ns + WAL_APPLY_NS;
}

void
wal_bells_committed(struct wal *w)
{
	uint64_t committed = commit_vlsn(w->r);

	/* Who sets its bit after this sees `committed` before it sleeps. */
	atomic_thread_fence(memory_order_seq_cst);
	ring_clients(w, position_get(&w->r->pos->commit_waited) != 0);
	if (w->group_waits != 0 && committed >= w->group_waits) {
		w->group_waits = 0;
		bell_ring(w->loop.bells, SLOT_GROUP);
	}
	ring_store(w, committed);
}

void
wal_bells_turn(struct wal *w)
{
	if (w->apply_ns == 0 || w->loop.now_ns < w->apply_ns)
		return;
	w->apply_ns = 0;
	if (commit_vlsn(w->r) > position_get(&w->r->pos->applied))
		bell_ring(w->loop.bells, SLOT_STORE);
}

uint64_t
wal_bells_deadline(const struct wal *w)
{
	return w->apply_ns != 0 ? w->apply_ns : LOOP_NEVER;
}
