/*
 * The vlsn worker: opening, boot gates, loop. It fires schema_cache_warmup
 * (the index was loaded or rebuilt) and catalog_sanity_check (the index agrees
 * with the log), then sleeps; once a second, with the liveness turn, it looks
 * whether the map has moved. It holds no lock and nobody waits for it, so it
 * may die anywhere: its successor loads the file again.
 */
#include "workers/vlsn/vlsn.h"

#include <inttypes.h>
#include <unistd.h>
#include "shm/say.h"

#define RING_ENTRIES 16

/* Answer each step of the stop in order; the flush is the third last. */
static void
vlsn_part(struct vlsn *v)
{
	unsigned step = loop_shutdown(&v->loop);

	if (step < SHUTDOWN_PERSISTING_WATERMARKS) {
		if (step != SHUTDOWN_NONE)
			loop_drained(&v->loop, step);
		return;
	}
	if (v->flush.state != FLUSH_IDLE)
		return;
	if (!v->parted) {
		v->parted = true;
		if (vlsn_flush_start(v))
			return;
	}
	loop_drained(&v->loop, step);
	if (step == SHUTDOWN_CLOSED)
		v->loop.quit = true;
}

static void
vlsn_turn(void *ctx)
{
	struct vlsn *v = ctx;

	if (loop_shutdown(&v->loop) != SHUTDOWN_NONE) {
		v->due_ns = LOOP_NEVER;
		vlsn_part(v);
		return;
	}
	v->due_ns = vlsn_flush_due(v);
	if (v->due_ns <= v->loop.now_ns) {
		v->due_ns = LOOP_NEVER;
		vlsn_flush_start(v);
	}
}

static bool
vlsn_pending(void *ctx)
{
	(void)ctx;
	return false;
}

static uint64_t
vlsn_deadline(void *ctx)
{
	return ((struct vlsn *)ctx)->due_ns;
}

/*
 * The file tells of records behind the log's end, and it never tells of what
 * was not durable: the log was cut, from outside. A normal boot stops. In mode
 * force the file goes, so that the next boot does not stop for it again.
 * False: the node fails.
 */
static bool
vlsn_nothing_lost(struct vlsn *v)
{
	uint64_t end = position_get(&v->r->pos->durable);

	if (v->lost.vlsn == 0 || v->w->readonly)
		return true;
	if (!v->w->force) {
		seq_fail(v->r->seq, PHASE_CATALOG_SANITY_CHECK, v->w->slot,
		    "wal/%08" PRIx32 ".seg is missing or cut: record "
		    "%" PRIu64 " was durable at offset %" PRIu32 ", the log "
		    "ends at record %" PRIu64 ": restore this node, or boot "
		    "with recovery_mode = force to go on without",
		    lsn_segment(v->lost.lsn), v->lost.vlsn,
		    lsn_offset(v->lost.lsn), end);
		return false;
	}
	event_add(v->r, v->w->slot, EVENT_WARN,
	    "index: records up to %" PRIu64 " at least are lost, the log ends "
	    "at record %" PRIu64,
	    v->lost.vlsn, end);
	if (v->dir >= 0)
		(void)unlinkat(v->dir, INDEX_NAME, 0);
	return true;
}

/*
 * The gates. A shutdown or a failure elsewhere ends the wait; then the loop
 * answers the shutdown bus. False: the node fails because of us.
 */
static bool
vlsn_boot(struct vlsn *v)
{
	struct sequencer *seq = v->r->seq;

	/* Until then a boot may still be refused, and changes nothing. */
	if (seq_wait(seq, PHASE_RAFT_METADATA_REPLAY, 0, loop_beat, &v->loop) !=
	    0)
		return true;
	vlsn_load(v);
	seq_fire(seq, PHASE_SCHEMA_CACHE_WARMUP, v->w->slot);
	vlsn_check(v);
	if (!vlsn_nothing_lost(v))
		return false;
	v->loaded = true;
	seq_fire(seq, PHASE_CATALOG_SANITY_CHECK, v->w->slot);
	return true;
}

int
vlsn_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = vlsn_turn,
		.pending = vlsn_pending,
		.deadline = vlsn_deadline,
	};
	struct vlsn *v;
	int rc;

	worker_open(w, "vlsn", KEEP_DATA);
	v = worker_state(w, PHASE_SCHEMA_CACHE_WARMUP, sizeof(*v));
	v->w = w;
	v->r = w->region;
	v->wal_dir = v->dir = v->fd = v->new_fd = -1;
	v->due_ns = LOOP_NEVER;
	rc = loop_open(
	    &v->loop, w->region, &w->bells, w->slot, RING_ENTRIES, v, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_SCHEMA_CACHE_WARMUP, rc);
		return WORKER_EXIT_FAILED;
	}
	loop_on(&v->loop, KIND_FLUSH, vlsn_flush_done);
	if (!vlsn_boot(v)) {
		loop_close(&v->loop);
		return WORKER_EXIT_FAILED;
	}
	rc = worker_run(w, &v->loop);
	loop_close(&v->loop);
	return rc;
}
