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

/* A client that got ret entries. */
static void
client_ring(struct wal *w, unsigned client)
{
	struct wal_client *c = &w->client[client];

	c->pushed = c->refused = false;
	bell_ring(w->loop.bells, slot_of_client(client));
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
		client_ring(w, i);
	}
}

void
wal_bells_open(struct wal *w)
{
	commit_wake_open(&w->commit_wake, w->r, w->loop.bells);
	/*
	 * A ring can wake one more process than its own. With several gateways
	 * it wakes none. On wal's own core ([cpu] io) a gateway that wakes up
	 * early would only be in wal's way.
	 */
	if (w->clients == CLIENT_GATEWAY + 1 && w->conf->cpu.io < 0)
		(void)loop_relay_to(&w->loop, SLOT_GATEWAY);
}

void
wal_bells_flight(struct wal *w, uint32_t records)
{
	/* Where others have to flush, too, that is no answer yet. */
	loop_relay(
	    &w->loop, records == 1 && w->flights == 1 && w->data.feeds == 0);
}

void
wal_bells_committed(struct wal *w)
{
	unsigned i;

	for (i = 0; i < w->clients; i++)
		if (w->client[i].pushed)
			client_ring(w, i);
	commit_wake_raised(&w->commit_wake, w->loop.now_ns);
}
