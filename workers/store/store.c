/*
 * The store worker: opening, boot, loop. Started with the node; reads the
 * checkpoint, applies the log behind it, then whatever is committed. Its
 * death is a node restart: the table is its alone, and half a record in it
 * cannot be told from a whole one.
 */
#include "workers/store/store.h"

#include <sys/statvfs.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"

#define RING_ENTRIES 16
#define OPEN_WAIT_NS (NS_PER_S / 5) /* between two looks for a failed boot */
#define LEAVE_NS     (5 * NS_PER_MS) /* readers leave within a loop turn */
#define COUNT_NS     STORE_BATCH_NS /* of each turn, for counting keys */
#define MEMORY_MS    20
#define LARGE_BYTES  (256 * 1024)
#define FULL_LOOK_NS (20 * NS_PER_MS)

#define NO_MEMORY_EFFECT "the store waits, nothing is lost"

/* ---- boot ---- */

static bool
boot_goes_on(const struct store *s)
{
	return !seq_failed(s->r->seq) &&
	       loop_shutdown(&s->loop) == SHUTDOWN_NONE;
}

/* Until checkpoint says that the files are there and sound. */
static bool
wait_for_files(struct store *s)
{
	_Atomic uint32_t *word = &s->r->table->opened;

	while (atomic_load_explicit(word, memory_order_acquire) == 0) {
		if (!boot_goes_on(s))
			return false;
		futex_wait_shared(word, 0, mono_ns() + OPEN_WAIT_NS);
		loop_beat(&s->loop);
	}
	return boot_goes_on(s);
}

/* Said once each time; the caller waits. */
static void
stall(struct store *s, const struct fault *f)
{
	counter_add(s->r->counters, SLOT_STORE, C_STORE_STALLS, 1);
	trouble_begin(s->r, TROUBLE_STORE_MEMORY, f);
	store_busy(s, BUSY_MEMORY);
}

void
store_no_memory(struct store *s)
{
	struct statvfs fs = { 0 };
	char what[128];
	const struct fault f = { .object = "/dev/shm",
		.error = ENOSPC,
		.place = PLACE_SHM,
		.what = what,
		.effect = NO_MEMORY_EFFECT,
		.goes_on = true };

	if (s->busy == BUSY_MEMORY)
		return;
	(void)statvfs("/dev/shm", &fs);
	snprintf(what, sizeof(what),
	    "no memory left: VLSN %llu asks for %llu KiB, %llu KiB are free",
	    (unsigned long long)s->applied + 1,
	    (unsigned long long)(s->apply.asked + 1023) / 1024,
	    (unsigned long long)fs.f_bavail * fs.f_frsize / 1024);
	stall(s, &f);
}

void
store_no_heap(struct store *s)
{
	char what[128];
	const struct fault f = { .object = "store",
		.error = ENOMEM,
		.place = PLACE_PROCESS,
		.what = what,
		.effect = NO_MEMORY_EFFECT,
		.goes_on = true };

	if (s->busy == BUSY_MEMORY)
		return;
	snprintf(what, sizeof(what),
	    "%s: VLSN %llu has a payload of %llu KiB by now", strerror(ENOMEM),
	    (unsigned long long)s->applied + 1,
	    (unsigned long long)s->parts.len / 1024);
	stall(s, &f);
}

/* While it works long, and whenever it does not: it lives. */
static void
beat(void *ctx)
{
	struct store *s = ctx;

	s->beats++;
	loop_beat(&s->loop);
}

/*
 * Memory of the machine is gone in the middle of a record: wait, and let go
 * of what is on disk by now. What was written of the record nobody can see
 * yet, and the operation at hand has changed nothing.
 */
static int
no_memory(void *ctx)
{
	struct store *s = ctx;
	unsigned step = loop_shutdown(&s->loop);

	store_no_memory(s);
	if (step >= SHUTDOWN_DRAINING_EVENT_PLANE)
		return -ESHUTDOWN;
	if (step != SHUTDOWN_NONE)
		loop_drained(&s->loop, step);
	store_publish(s);
	beat(s);
	if (!store_let_go(s))
		(void)poll(NULL, 0, MEMORY_MS);
	/* The map could not be read any more: that has been told. */
	return s->failed ? -EIO : 0;
}

static int
open_kv(struct store *s)
{
	char path[CONF_PATH_SIZE + 8];
	int rc;

	if ((rc = worker_data_dir_check(s->w)) != 0)
		return rc;
	snprintf(path, sizeof(path), "%s/store", s->w->conf->node.data_dir);
	return kv_open(&s->kv, s->r, path, SLOT_STORE, s->w->readonly);
}

/* The state that the files hold; the table starts empty behind it. */
static int
open_state(struct store *s, struct store_state *st)
{
	int rc = store_db_errno(mdb_txn_renew(s->kv->txn));

	if (rc != 0)
		return rc;
	rc = store_db_state(&s->kv->db, s->kv->txn, st);
	mdb_txn_reset(s->kv->txn);
	return rc;
}

static void
open_table(struct store *s, const struct store_state *st)
{
	s->applied = st->vlsn;
	s->term = st->term;
	table_writer_open(&s->table, s->r->table, 1);
	table_commit(&s->table, st->vlsn, st->time_ms);
	kv_set_writer(s->kv, &s->table);
	s->kv->beat = beat;
	s->kv->beat_ctx = s;
	s->kv->unreadable = store_read_again;
	s->apply.kv = s->kv;
	s->apply.w = &s->table;
	s->apply.ctx = s;
	s->apply.result_max = s->w->conf->listen.max_output + RES_FRAME;
	s->apply.hooks.timed = store_expiry_timed;
	s->apply.hooks.no_memory = no_memory;
	s->apply.hooks.count_now = store_count_now;
	store_count_open(s, st->keys);
	store_result_open(s);
	store_expiry_open(s);
	position_set(&s->r->pos->applied, s->applied);
}

static bool
boot_open(struct store *s)
{
	struct store_state st;
	int rc;

	if (!wait_for_files(s))
		return false;
	/* Written all the while: a boot's fault, which is waited out. */
	if ((rc = open_kv(s)) == 0)
		rc = open_state(s, &st);
	if (rc != 0) {
		worker_store_refused(s->w, PHASE_CLUSTER_CATALOG_OPEN, rc);
		return false;
	}
	open_table(s, &st);
	s->opened = true;
	seq_fire(s->r->seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE);
	return true;
}

/*
 * force: what is missing counts as applied, and a checkpoint says so before
 * the node serves: a normal boot does not skip anything.
 */
static void
skip_to(struct store *s, uint64_t vlsn)
{
	struct table_head *t = s->table.t;

	ASSERT(vlsn >= s->applied);
	s->applied = s->skipped = vlsn;
	table_commit(&s->table, vlsn,
	    atomic_load_explicit(&t->time_ms, memory_order_relaxed));
	position_set(&s->r->pos->applied, vlsn);
}

static void
log_refused(struct store *s, int error)
{
	char path[CONF_PATH_SIZE + 64];
	const struct fault f = {
		.object = store_log_path(s, path, sizeof(path)),
		.call = "read",
		.error = error,
		.place = PLACE_DATA,
		.damage = error == EBADMSG,
	};

	worker_boot_fault(s->w, PHASE_CATALOG_SANITY_CHECK, &f);
}

/*
 * The checkpoint is not ahead of the log, and the log has what follows it.
 * force: a gap is skipped, loudly; what was in it is lost here.
 */
static bool
boot_check(struct store *s)
{
	struct sequencer *seq = s->r->seq;
	uint64_t end = position_get(&s->r->pos->durable);
	uint64_t first = position_get(&s->r->pos->first);
	const char *place;
	int rc;

	if (s->applied > end) {
		seq_fail(seq, PHASE_CATALOG_SANITY_CHECK, SLOT_STORE,
		    "store/data.mdb is as of VLSN %llu, but the log in "
		    "wal/ ends at %llu: one of them is of another time: "
		    "restore this node, or boot with recovery_mode = force "
		    "to go on behind the checkpoint",
		    (unsigned long long)s->applied, (unsigned long long)end);
		return false;
	}
	s->seek = true;
	if (s->applied < end && s->w->force && first > s->applied + 1 &&
	    first <= end + 1) {
		event_add(s->r, SLOT_STORE, EVENT_ERROR,
		    "force: records %llu to %llu are not in the log "
		    "and are skipped",
		    (unsigned long long)s->applied + 1,
		    (unsigned long long)first - 1);
		skip_to(s, first - 1);
	}
	if (s->applied < end &&
	    (rc = cursor_seek(s->cursor, s->applied + 1)) != 0) {
		if (cursor_unread(rc)) {
			log_refused(s, -rc);
			return false;
		}
		place = cursor_place(s->cursor);
		seq_fail(seq, PHASE_CATALOG_SANITY_CHECK, SLOT_STORE,
		    "store/data.mdb is as of VLSN %llu, but no segment in wal/ "
		    "has record %llu (first %llu, last %llu%s%s): restore this "
		    "node, or boot with recovery_mode = force to skip it",
		    (unsigned long long)s->applied,
		    (unsigned long long)s->applied + 1,
		    (unsigned long long)first, (unsigned long long)end,
		    place[0] != '\0' ? ", " : "", place);
		return false;
	}
	if (s->applied < end)
		s->seek = false;
	seq_fire(seq, PHASE_CATALOG_SANITY_CHECK, SLOT_STORE);
	return true;
}

static bool
open_cursor(struct store *s)
{
	char path[CONF_PATH_SIZE + 8];
	struct fault f = {
		.object = path, .call = "open", .place = PLACE_DATA
	};
	int rc = 0;

	s->wal_dir =
	    openat(s->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->wal_dir == -1)
		rc = -errno;
	else
		rc = cursor_open(&s->cursor, s->r, s->wal_dir, true);
	if (rc == 0)
		return true;
	snprintf(path, sizeof(path), "%s/wal", s->w->conf->node.data_dir);
	f.error = -rc;
	worker_boot_fault(s->w, PHASE_CATALOG_SANITY_CHECK, &f);
	return false;
}

static void
fire_replayed(struct store *s)
{
	s->replaying = false;
	if (s->applied > s->replay_from)
		say_info("replayed %llu records in %llu ms, VLSN %llu "
			 "to %llu",
		    (unsigned long long)(s->applied - s->replay_from),
		    (unsigned long long)((mono_ns() - s->replay_ns) /
					 NS_PER_MS),
		    (unsigned long long)s->replay_from + 1,
		    (unsigned long long)s->applied);
	seq_fire(s->r->seq, PHASE_DATA_GROUPS_REPLAY, SLOT_STORE);
}

/* The checkpoint is all that is served: nothing is applied, ever. */
static void
boot_readonly(struct store *s)
{
	event_add(s->r, SLOT_STORE, EVENT_INFO,
	    "readonly recovery serves the state as of VLSN %llu",
	    (unsigned long long)s->applied);
	seq_fire(s->r->seq, PHASE_CATALOG_SANITY_CHECK, SLOT_STORE);
	fire_replayed(s);
}

static void
boot(struct store *s)
{
	struct sequencer *seq = s->r->seq;

	s->replaying = true;
	if (seq_wait(seq, PHASE_WAL_RECOVERY, 0, loop_beat, &s->loop) != 0 ||
	    !boot_open(s))
		return;
	s->replay_from = s->applied;
	s->replay_ns = mono_ns();
	if (s->w->readonly) {
		boot_readonly(s);
		return;
	}
	/* wal begins the log only when nothing refuses this boot. */
	if (seq_wait(seq, PHASE_RAFT_METADATA_REPLAY, 0, loop_beat, &s->loop) !=
		0 ||
	    !open_cursor(s) || !boot_check(s))
		return;
	/* What was known to be committed when the log was last written. */
	s->replay_to = store_limit(s);
	s->serving = true;
}

/* ---- the loop ---- */

static void
replay_progress(struct store *s)
{
	uint64_t done = s->applied - s->replay_from;
	uint64_t all =
	    s->replay_to > s->replay_from ? s->replay_to - s->replay_from : 0;

	if (s->applied >= s->replay_to &&
	    position_get(&s->r->pos->checkpointed) >= s->skipped)
		fire_replayed(s);
	else
		seq_progress_set(
		    s->r->seq, SLOT_STORE, done, all, 0, 0, "applying records");
}

/* A dead process' reader slots would keep old pages for ever. */
static void
clean_readers(struct store *s)
{
	uint32_t died = atomic_load_explicit(
	    &s->table.t->readers_died, memory_order_acquire);
	int dead;

	if (died == s->died_seen)
		return;
	s->died_seen = died;
	mdb_reader_check(s->kv->db.env, &dead);
}

/* Applying and what follows from it; the map's transaction is open. */
static void
serve_turn(struct store *s)
{
	bool more, counted, behind;

	store_freeze_turn(s);
	more = store_apply_batch(s);
	if (s->failed)
		return;
	if (s->replaying)
		replay_progress(s);
	more |= store_expiry_turn(s, mono_ns() + EXPIRY_NS);
	if (!s->replaying) {
		behind = position_get(&s->r->pos->resolved) <
			 position_get(&s->r->pos->applied);
		counted = store_count_walk(s, mono_ns() + COUNT_NS);
		more |= !counted && !s->failed;
		/* Somebody may wait for DBSIZE. */
		if (counted && behind)
			store_ring_gateways(s, true);
	}
	if (store_freeze_turn(s))
		more = true;
	store_full_turn(s);
	store_read_turn(s);
	s->loop.unready |= more;
}

static void
serve(struct store *s)
{
	int rc;

	clean_readers(s);
	if ((rc = kv_begin(s->kv)) == -EIO)
		return; /* the node stops */
	if (rc != 0) {
		store_fail(s, "reading store/data.mdb: %s", strerror(-rc));
		return;
	}
	serve_turn(s);
	kv_end(s->kv);
}

static bool
has_work(const struct store *s)
{
	return s->serving && !s->w->readonly;
}

/* Answer the steps of a stop: what is committed is applied first. */
static void
part(struct store *s)
{
	unsigned step = loop_shutdown(&s->loop);

	if (step == SHUTDOWN_DRAINING_EVENT_PLANE && has_work(s) &&
	    !s->failed && s->busy == BUSY_NOT && s->applied < store_limit(s))
		return;
	if (step != SHUTDOWN_NONE)
		loop_drained(&s->loop, step);
	if (step == SHUTDOWN_CLOSED)
		s->loop.quit = true;
}

static void
store_turn(void *ctx)
{
	struct store *s = ctx;

	if (has_work(s) &&
	    loop_shutdown(&s->loop) <= SHUTDOWN_DRAINING_EVENT_PLANE)
		serve(s);
	if (!s->failed)
		part(s);
}

static bool
store_pending(void *ctx)
{
	struct store *s = ctx;

	if (!has_work(s) ||
	    loop_shutdown(&s->loop) > SHUTDOWN_DRAINING_EVENT_PLANE)
		return false;
	if (atomic_load_explicit(&s->table.t->readers_died,
		memory_order_acquire) != s->died_seen)
		return true;
	if (s->busy == BUSY_NOT ? s->applied < store_limit(s)
				: store_result_pending(s))
		return true;
	return store_expiry_pending(s) || store_freeze_pending(s);
}

static uint64_t
store_deadline(void *ctx)
{
	struct store *s = ctx;
	uint64_t at;

	if (!has_work(s))
		return LOOP_NEVER;
	at = store_expiry_deadline(s);
	if (store_read_deadline(s) < at)
		at = store_read_deadline(s);
	if (store_is_leaving(s) && s->loop.now_ns + LEAVE_NS < at)
		at = s->loop.now_ns + LEAVE_NS;
	/* Memory of the machine or a disk comes back, a trouble comes or goes,
	   without a bell. */
	if (((s->busy != BUSY_NOT && s->busy != BUSY_RESULT) ||
		position_get(&s->r->pos->room) == 0 ||
		position_get(&s->r->pos->refuses) != REFUSES_NOTHING) &&
	    s->loop.now_ns + FULL_LOOK_NS < at)
		at = s->loop.now_ns + FULL_LOOK_NS;
	return at;
}

static void
close_all(struct store *s)
{
	if (s->cursor != NULL)
		cursor_close(s->cursor);
	if (s->wal_dir != -1)
		close(s->wal_dir);
	kv_close(s->kv);
	store_expiry_close(s);
	apply_free(&s->apply);
	vbuf_free(&s->parts);
	vbuf_free(&s->result.values);
	loop_close(&s->loop);
}

int
store_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = store_turn,
		.pending = store_pending,
		.deadline = store_deadline,
	};
	struct store *s;
	int rc;

	worker_open(w, "store", KEEP_DATA);
	s = worker_state(w, PHASE_CLUSTER_CATALOG_OPEN, sizeof(*s));
	/* Large values come and go: their memory goes back each time. */
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	s->w = w;
	s->r = w->region;
	s->wal_dir = -1;
	s->h_apply = hist_of(s->r->hists, SLOT_STORE, H_APPLY);
	s->h_records = hist_of(s->r->hists, SLOT_STORE, H_APPLY_RECORDS);
	rc = loop_open(
	    &s->loop, w->region, &w->bells, w->slot, RING_ENTRIES, s, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_CLUSTER_CATALOG_OPEN, rc);
		return WORKER_EXIT_FAILED;
	}
	boot(s);
	rc = worker_run(w, &s->loop);
	close_all(s);
	return rc;
}
