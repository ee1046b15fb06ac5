/*
 * Bells on commit; see commit_wake.h. Several processes may do it at a time: a
 * bell too many is one system call, and one too few there is not, since each
 * looks after its own raise.
 */
#include "shm/commit_wake.h"

#include "shm/region.h"
#include "shm/wake.h"

void
commit_wake_open(struct commit_wake *cw, struct region *r, struct bells *bells)
{
	cw->r = r;
	cw->bells = bells;
	cw->apply_ns = 0;
}

static void
ring_gateways(struct commit_wake *cw)
{
	uint64_t waits = position_get(&cw->r->pos->commit_waited);
	unsigned i, n = cw->r->head->gateway_count;

	for (i = 0; waits != 0 && i < n && i < GATEWAY_MAX; i++)
		if ((waits >> i & 1) != 0)
			bell_ring(cw->bells, SLOT_GATEWAY + i);
}

static void
ring_group(struct commit_wake *cw, uint64_t committed)
{
	_Atomic uint64_t *waits = &cw->r->pos->group_waits.v;
	uint64_t vlsn = atomic_load_explicit(waits, memory_order_acquire);

	/* Who clears it rings. Fails for one that wal has set since: it is not
	   committed yet. */
	if (vlsn != 0 && committed >= vlsn &&
	    atomic_compare_exchange_strong_explicit(
		waits, &vlsn, 0, memory_order_acq_rel, memory_order_relaxed))
		bell_ring(cw->bells, SLOT_GROUP);
}

/*
 * What the store may apply, if it is woken: others may have committed a record
 * before it is on this node's own disk, and its flush, which looks here again,
 * is then what the store waits for.
 */
static uint64_t
appliable(const struct commit_wake *cw, uint64_t committed)
{
	uint64_t durable = position_get(&cw->r->pos->durable);

	return committed < durable ? committed : durable;
}

/* Must the store apply now, not later? */
static bool
store_wanted(struct commit_wake *cw, uint64_t upto, uint64_t applied)
{
	const struct walbuf_head *h = cw->r->walbuf.h;
	struct positions *pos = cw->r->pos;
	uint64_t flushed, hold;

	if (position_get(&pos->urgent) > position_get(&pos->urgent_rung)) {
		position_raise(&pos->urgent_rung, upto);
		return true;
	}
	if (upto - applied >= COMMIT_APPLY_RECORDS ||
	    position_get(&pos->apply_wanted) > applied)
		return true;
	flushed = atomic_load_explicit(&h->flushed, memory_order_relaxed);
	hold = atomic_load_explicit(&h->store_hold, memory_order_relaxed);
	return flushed > hold && flushed - hold >= COMMIT_APPLY_BYTES;
}

static void
ring_store(struct commit_wake *cw, uint64_t upto, uint64_t now_ns)
{
	uint64_t applied = position_get(&cw->r->pos->applied);

	if (upto <= applied)
		return;
	if (store_wanted(cw, upto, applied)) {
		cw->apply_ns = 0;
		bell_ring(cw->bells, SLOT_STORE);
	} else if (cw->apply_ns == 0)
		cw->apply_ns = now_ns + COMMIT_APPLY_MS * NS_PER_MS;
}

void
commit_wake_raised(struct commit_wake *cw, uint64_t now_ns)
{
	uint64_t committed = commit_vlsn(cw->r);

	/* Who sets its bit after this sees `committed` before it sleeps; and of
	   who raises `committed` and who `durable` one sees both. */
	atomic_thread_fence(memory_order_seq_cst);
	ring_gateways(cw);
	ring_group(cw, committed);
	ring_store(cw, appliable(cw, committed), now_ns);
}

uint64_t
commit_wake_deadline(const struct commit_wake *cw)
{
	return cw->apply_ns != 0 ? cw->apply_ns : UINT64_MAX;
}

void
commit_wake_turn(struct commit_wake *cw, uint64_t now_ns)
{
	if (cw->apply_ns == 0 || now_ns < cw->apply_ns)
		return;
	cw->apply_ns = 0;
	if (appliable(cw, commit_vlsn(cw->r)) >
	    position_get(&cw->r->pos->applied))
		bell_ring(cw->bells, SLOT_STORE);
}
