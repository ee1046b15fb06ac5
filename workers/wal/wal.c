/*
 * The wal worker. Opens the log (wal_recover.c), begins a new segment, then
 * runs the group commit loop until the shutdown bus reaches it. It dies ->
 * the node boots again; nothing it leaves behind needs repair, since a boot
 * fences, scans and appends only to a new segment.
 */
#include "workers/wal/wal.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>

#include "shm/assert.h"
#include "shm/say.h"

#define WAL_RING_ENTRIES 64

/* Idle for a while: let a last head tell what is durable and committed. */
static void
tick_head(struct wal *w)
{
	if (w->tick_position == w->log.position && !w->log.batch.open &&
	    w->flights == 0 && w->phase == WAL_APPENDING &&
	    w->head_durable < w->durable &&
	    w->durable >= w->segment.info.first_vlsn && wal_room_own(w, 0))
		wal_publish_appended(w);
	w->tick_position = w->log.position;
}

static void
wal_tick(struct wal *w)
{
	if (w->loop.now_ns - w->tick_ns < WAL_TICK_NS)
		return;
	w->tick_ns = w->loop.now_ns;
	tick_head(w);
	wal_keeper_tick(w);
}

/* Everything appended is on disk, and a head there says so. */
static bool
wal_all_flushed(struct wal *w)
{
	if (w->phase == WAL_FAILED)
		return true;
	/* A cut is given up in this turn, or its header is on its way. */
	if (w->flights > 0 || w->log.batch.open || wal_cutting(w))
		return false;
	/* Without a next segment there is no room for a last head. */
	if (w->phase == WAL_IDLE || w->phase == WAL_CLOSING)
		return true;
	if (w->head_durable >= w->durable ||
	    w->durable < w->segment.info.first_vlsn)
		return true;
	return !wal_room_own(w, 0);
}

static void
wal_shutdown_turn(struct wal *w)
{
	unsigned step = loop_shutdown(&w->loop), done;

	if (step == SHUTDOWN_NONE)
		return;
	done = step < SHUTDOWN_WAL_FSYNC ? step : SHUTDOWN_WAL_FSYNC - 1;
	loop_drained(&w->loop, done);
	if (step < SHUTDOWN_WAL_FSYNC)
		return;
	w->stopping = true;
	if (!wal_all_flushed(w) || !wal_data_stopped(w))
		return;
	loop_drained(&w->loop, SHUTDOWN_WAL_FSYNC);
	if (step < SHUTDOWN_CLOSED)
		return;
	loop_drained(&w->loop, SHUTDOWN_CLOSED);
	w->loop.quit = true;
}

static void
wal_turn(void *ctx)
{
	struct wal *w = ctx;

	if (w->phase == WAL_BOOTING)
		return;
	wal_clock_turn(w);
	wal_buffer_turn(w);
	wal_role_turn(w);
	wal_data_turn(w);
	wal_clock_back(w);
	do {
		wal_drain(w);
		wal_receive_turn(w);
		wal_segment_turn(w);
	} while (
	    wal_flush_turn(w) && (wal_drain_ready(w) || wal_receive_ready(w)));
	wal_data_send(w);
	commit_wake_turn(&w->commit_wake, w->loop.now_ns);
	wal_tick(w);
	wal_shutdown_turn(w);
	wal_cut_turn(w);
	/* What the tick or the end of the log's life has put there. */
	(void)wal_flush_turn(w);
	wal_keeper_turn(w);
	wal_away_turn(w);
	wal_probe_turn(w);
}

static bool
wal_pending(void *ctx)
{
	struct wal *w = ctx;

	if (atomic_load_explicit(&w->r->commit->seq, memory_order_acquire) !=
	    w->view_seq)
		return true;
	return w->data.waiting || wal_drain_ready(w) || wal_receive_ready(w);
}

static uint64_t
wal_deadline(void *ctx)
{
	struct wal *w = ctx;
	uint64_t at[] = { commit_wake_deadline(&w->commit_wake),
		wal_keeper_deadline(w), wal_buffer_deadline(w),
		wal_probe_deadline(w), wal_away_deadline(w),
		wal_data_deadline(w) };
	uint64_t first = LOOP_NEVER;
	size_t i;

	for (i = 0; i < NITEMS(at); i++)
		if (at[i] < first)
			first = at[i];
	return first;
}

static int
wal_open(struct wal *w)
{
	static const struct loop_hooks hooks = { .turn = wal_turn,
		.pending = wal_pending,
		.deadline = wal_deadline };
	int rc;

	rc = loop_open(&w->loop, w->r, &w->w->bells, SLOT_WAL, WAL_RING_ENTRIES,
	    w, &hooks);
	if (rc != 0) {
		worker_ring_refused(w->w, PHASE_WAL_RECOVERY, rc);
		return rc;
	}
	loop_on(&w->loop, WAL_KIND_WRITE, wal_write_done);
	loop_on(&w->loop, WAL_KIND_SYNC, wal_sync_done);
	loop_on(&w->loop, WAL_KIND_KEEPER, wal_keeper_done);
	loop_on(&w->loop, WAL_KIND_SCAN, wal_scan_done);
	loop_on(&w->loop, WAL_KIND_HINT, wal_keeper_hint_done);
	loop_on(&w->loop, WAL_KIND_PROBE, wal_probe_done);
	loop_on(&w->loop, WAL_KIND_AWAY, wal_away_done);
	wal_data_open(w);
	wal_clients_open(w);
	wal_bells_open(w);
	return 0;
}

/* A founded directory has no log yet. 0 or negative after seq_fail(). */
static int
begin_dir(struct wal *w)
{
	int rc;

	if (w->dir >= 0)
		return 0;
	if (mkdirat(w->w->data_dir, "wal", 0750) != 0 && errno != EEXIST)
		return wal_boot_fault(w, "wal", "mkdir", errno);
	w->dir =
	    openat(w->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir < 0)
		return wal_boot_fault(w, "wal", "open", errno);
	rc = wal_recover_probe(w);
	return rc == 0 ? 0
		       : wal_boot_fault(w, "wal/" WAL_PROBE_NAME, "write", -rc);
}

static int
begin_segment(struct wal *w)
{
	int rc = begin_dir(w);

	if (rc != 0)
		return rc;
	if ((rc = wal_keeper_boot(w, &w->found)) != 0)
		return wal_boot_fault(w, "wal", "read", -rc);
	if (wal_flight_memory(w) != 0)
		return wal_boot_fault(w, "wal", "malloc", ENOMEM);
	if ((rc = wal_segment_first(w)) != 0)
		return rc;
	wal_keeper_spares(w);
	return 0;
}

/*
 * The log is known, and nothing is changed yet: a boot that is refused changes
 * nothing. So this waits until all that can refuse has been looked at: the
 * checkpoint, term, vote and membership, too. What ends meanwhile, ends: then
 * only the shutdown bus is answered.
 */
static int
wal_begin(struct wal *w)
{
	struct sequencer *seq = w->r->seq;
	int rc = 0;

	if (!w->w->readonly && wal_buffer_open(w) != 0)
		return wal_boot_failed(
		    w, &(struct fault){ .object = "/dev/shm",
			   .error = ENOSPC,
			   .place = PLACE_SHM,
			   .what = "no memory is left for the log buffer" });
	seq_fire(seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	if (w->w->readonly || seq_wait(seq, PHASE_CLUSTER_CATALOG_OPEN, 0,
				  loop_beat, &w->loop) != 0)
		w->phase = WAL_IDLE;
	else
		rc = begin_segment(w);
	segment_list_free(&w->found);
	if (rc == 0 && (w->w->readonly || w->phase != WAL_IDLE))
		seq_fire(seq, PHASE_RAFT_METADATA_REPLAY, SLOT_WAL);
	return rc;
}

int
wal_main(struct worker *worker)
{
	struct wal *w;

	worker_open(worker, "wal", KEEP_DATA | KEEP_FROM);
	w = worker_state(worker, PHASE_WAL_RECOVERY, sizeof(*w));
	w->w = worker;
	w->r = worker->region;
	w->conf = worker->conf;
	w->bound = (uint16_t)(w->conf->store.max_record / REC_BOUND_UNIT);
	w->dir = w->keeper.next_fd = w->keeper.hint_fd = w->segment.fd = -1;
	w->keeper.reserve_fd = -1;
	w->probe.fd = -1;
	if (wal_open(w) != 0 || wal_recover(w) != 0 || wal_begin(w) != 0)
		return WORKER_EXIT_FAILED;
	if (w->phase != WAL_IDLE)
		wal_keeper_trim(w);
	wal_clock_open(w);
	w->tick_ns = mono_ns();
	/* Whatever ends it but a stop: only a boot reads the log again. */
	return worker_run(worker, &w->loop) == 0 ? 0 : WORKER_EXIT_RESTART;
}
