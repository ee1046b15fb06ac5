/*
 * The checkpoint worker: opening, boot gate, loop. It may die anywhere: a
 * frozen generation stays frozen until a transaction with it is durable, and
 * the next process in this slot goes on. Each checkpoint is written by a child
 * (checkpoint_child.c), so the worker itself never blocks on the disk.
 */
#include "workers/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/assert.h"
#include "shm/fault.h"
#include "shm/say.h"
#include "shm/trouble.h"

#define KIND_CHILD       1
#define RING_ENTRIES     16
#define VERIFY_BUDGET_NS (100 * NS_PER_MS) /* of a boot */
#define RETRY_FIRST_NS   NS_PER_S
#define RETRY_MAX_NS     (8 * NS_PER_S)
#define KILLED           "its process was killed"

struct checkpoint {
	struct worker *w;
	struct region *r;
	struct loop loop;
	char path[CONF_PATH_SIZE + 8];
	struct checkpoint_child child;
	struct table_gen *writing; /* generation that the child writes */
	uint64_t start_ns;
	uint64_t vlsn; /* on disk, found by the boot */
	bool walked; /* by store_db_verify_apart() */
	bool opened;
	bool unwanted; /* the boot has ended before it was opened */
	uint8_t group_uuid[16];
	bool node_known; /* that is so */
	uint64_t retry_ns; /* not before; 0 = at once */
	uint64_t backoff_ns;
	uint32_t wanted_seen; /* control.checkpoint_wanted */
	uint64_t flushed_seen; /* sum of both generations' flush_vlsn */
};

/* ---- boot ---- */

/* What a process that writes could not have, or why it was killed. */
static enum fault_place
fault_where(int rc)
{
	return rc == -EAGAIN || rc == -ENOMEM ? PLACE_PROCESS : PLACE_DATA;
}

static int
boot_fail(struct checkpoint *c, int rc, const char *why)
{
	static const char *const files[] = { NODE_FILE_NAME, "store/data.mdb",
		"store/lock.mdb", NULL };
	struct fault f = { .object = why,
		.error = -rc,
		.place = fault_where(rc),
		.what = "",
		.damage = rc == -EBADMSG };
	struct denied d;

	worker_explain_one(c->w, &f, files, &d);
	worker_boot_fault(c->w, PHASE_CLUSTER_CATALOG_OPEN, &f);
	return WORKER_EXIT_FAILED;
}

static bool
is_first_life(const struct checkpoint *c)
{
	return atomic_load_explicit(
		   &c->r->table->opened, memory_order_acquire) == 0;
}

static int
boot_state(const struct store_db *db, struct store_state *st, uint64_t *used)
{
	MDB_txn *txn;
	int rc = store_db_errno(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn));

	if (rc != 0)
		return rc;
	if ((rc = store_db_state(db, txn, st)) == 0)
		rc = store_db_used(db, txn, used);
	mdb_txn_abort(txn);
	return rc;
}

/* Whose is it, and is it sound? The first look of a boot goes through it. */
static int
boot_verify(
    struct checkpoint *c, const struct store_db *db, char *why, size_t n)
{
	static const uint8_t none[16];
	struct store_state st;
	uint64_t used;
	int rc, dead;

	/* Of processes that were killed; without the lock file it does nothing.
	 */
	mdb_reader_check(db->env, &dead);
	if ((rc = boot_state(db, &st, &used)) != 0) {
		snprintf(why, n, "store/data.mdb: read: %s", strerror(-rc));
		return rc;
	}
	if (st.vlsn != 0 && memcmp(st.group_uuid, none, 16) != 0 &&
	    memcmp(st.group_uuid, c->group_uuid, 16) != 0) {
		snprintf(why, n,
		    "store/data.mdb belongs to another group than the node "
		    "file says");
		return -EXDEV;
	}
	if (is_first_life(c) && !c->walked)
		rc = store_db_verify_apart(
		    c->path, true, VERIFY_BUDGET_NS, why, n);
	if (rc != 0)
		return rc;
	if (is_first_life(c) &&
	    (rc = store_db_files(db, &c->r->table->files)) != 0) {
		snprintf(why, n, "store/lock.mdb: %s",
		    rc == -EIDRM ? FAULT_LOCK_GONE : strerror(-rc));
		return rc;
	}
	c->walked = true;
	c->vlsn = st.vlsn;
	position_set(&c->r->pos->store_used, used);
	return 0;
}

/* Not known, a new store would be nobody's, and one of this group another's. */
static int
read_uuid(struct checkpoint *c, char *why, size_t n)
{
	struct node_file nf;
	char text[128];
	int rc = node_file_read(c->w->data_dir, &nf, text, sizeof(text));

	c->node_known = rc == 0;
	if (rc == 0)
		memcpy(c->group_uuid, nf.group_uuid, sizeof(c->group_uuid));
	else
		snprintf(why, n, "%.160s/" NODE_FILE_NAME ": read: %s",
		    c->w->conf->node.data_dir, strerror(-rc));
	return rc;
}

/*
 * The files' names are as durable as what a commit writes into them: wal gives
 * up segments for it.
 */
static int
names_sync(const struct checkpoint *c, char *why, size_t n)
{
	int fd = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd == -1 || fsync(fd) != 0 || fsync(c->w->data_dir) != 0) {
		rc = fault_of_call(-errno);
		snprintf(why, n, "store/: flush: %s", strerror(-rc));
	}
	if (fd != -1)
		close(fd);
	return rc;
}

static void
boot_beat(void *arg)
{
	struct checkpoint *c = arg;

	atomic_store_explicit(&c->r->slots->row[SLOT_CHECKPOINT].heartbeat_ns,
	    mono_ns(), memory_order_release);
}

static void
convert_beat(void *arg, uint64_t done, uint64_t all)
{
	struct checkpoint *c = arg;

	boot_beat(c);
	seq_progress_set(c->r->seq, SLOT_CHECKPOINT, done, all, 0, 0,
	    "converting the store's order of expiry");
}

static int
open_files(struct checkpoint *c, struct store_db *db, enum store_db_mode mode,
    char *why, size_t n)
{
	bool write = mode == STORE_DB_WRITE;
	int rc = store_db_open_same(db, c->path, mode,
	    write ? checkpoint_map(c->path, c->w->conf) : 0,
	    is_first_life(c) ? NULL : &c->r->table->files, why, n);

	if (rc == -EIO && write && checkpoint_error(c->path, rc) == -ENOSPC) {
		rc = -ENOSPC;
		snprintf(why, n, "store/data.mdb: write: %s", strerror(-rc));
	}
	return rc;
}

/* Files of the release before; closed here, and opened again. */
static int
convert(struct checkpoint *c, struct store_db *db, char *why, size_t n)
{
	int rc;

	store_db_close(db);
	rc = checkpoint_convert(c->path, c->w->conf, convert_beat, c);
	if (rc != 0) {
		snprintf(why, n,
		    "store/ is of format %u, making it %u failed, it is as it "
		    "was: %s",
		    STORE_FORMAT_1, STORE_FORMAT,
		    rc == -EINTR ? KILLED : strerror(-rc));
		/* By the kernel, mostly, that was short of memory. */
		return rc == -EINTR ? -ENOMEM : rc;
	}
	event_add(c->r, SLOT_CHECKPOINT, EVENT_INFO,
	    "store/ converted from format %u to %u: releases before this one "
	    "do not read it",
	    STORE_FORMAT_1, STORE_FORMAT);
	return open_files(c, db, STORE_DB_WRITE, why, n);
}

/*
 * A boot that log, term or membership refuse changes nothing here, nor does one
 * that is stopped.
 */
static int
boot_may_write(struct checkpoint *c)
{
	int rc = seq_wait(c->r->seq, PHASE_WAL_RECOVERY, 0, boot_beat, c);

	c->unwanted = rc != 0;
	return rc;
}

/* Nothing is there: a boot that ended early may have left an empty file. */
static bool
boot_is_new(const struct checkpoint *c)
{
	struct stat st;

	return fstatat(c->w->data_dir, "store/data.mdb", &st, 0) != 0
		   ? errno == ENOENT
		   : S_ISREG(st.st_mode) && st.st_size == 0;
}

static int
boot_open(struct checkpoint *c, enum store_db_mode mode, char *why, size_t n)
{
	struct store_db db;
	int rc = open_files(c, &db, mode, why, n);

	if (rc != 0)
		return rc;
	rc = boot_verify(c, &db, why, n);
	store_db_close(&db);
	return rc;
}

/* To be written: made if it is not there, of this format, names durable. */
static int
boot_write(struct checkpoint *c, char *why, size_t n)
{
	struct store_state st;
	struct store_db db;
	uint64_t used;
	int rc;

	if ((rc = boot_may_write(c)) != 0)
		return rc;
	if (boot_is_new(c) && (rc = store_db_make(c->path, why, n)) != 0)
		return rc;
	if ((rc = open_files(c, &db, STORE_DB_WRITE, why, n)) != 0)
		return rc;
	rc = names_sync(c, why, n);
	if (rc == 0 && (rc = checkpoint_settle(&db)) != 0)
		snprintf(why, n, "store/data.mdb: write: %s", strerror(-rc));
	c->child.settled = rc == 0;
	if (rc == 0 && (rc = boot_state(&db, &st, &used)) != 0)
		snprintf(why, n, "store/data.mdb: read: %s", strerror(-rc));
	if (rc == 0 && st.format == STORE_FORMAT_1 &&
	    (rc = convert(c, &db, why, n)) != 0)
		return rc;
	if (rc == 0)
		rc = boot_verify(c, &db, why, n);
	store_db_close(&db);
	return rc;
}

/*
 * The first life looks without LMDB's lock file, which a boot that is refused
 * would change, and creates what is missing; a later one must not wait for a
 * child of the one before.
 */
static int
boot_files(struct checkpoint *c, char *why, size_t n)
{
	int rc = 0;

	if (c->w->readonly)
		return boot_open(c, STORE_DB_NOLOCK, why, n);
	if (!is_first_life(c))
		return boot_open(c, STORE_DB_READ, why, n);
	if (!boot_is_new(c))
		rc = boot_open(c, STORE_DB_NOLOCK, why, n);
	/* Two heads, and nobody has written anything yet: made as well. */
	return rc == 0 || rc == -ENOENT ? boot_write(c, why, n) : rc;
}

static int
boot_dir(struct checkpoint *c, char *why, size_t n)
{
	int rc = worker_data_dir_check(c->w);

	if (rc != 0)
		snprintf(why, n, "%.180s: stat: %s", c->w->conf->node.data_dir,
		    rc == -EREMCHG ? FAULT_MOVED : strerror(-rc));
	return rc;
}

/*
 * 0, or the exit code; the sequencer has been told. A stop or a failure
 * elsewhere is none of ours: then the loop only answers the shutdown bus.
 */
static int
boot(struct checkpoint *c)
{
	char why[256];
	int rc, dir;

	snprintf(
	    c->path, sizeof(c->path), "%s/store", c->w->conf->node.data_dir);
	if ((rc = boot_dir(c, why, sizeof(why))) == 0 &&
	    (rc = read_uuid(c, why, sizeof(why))) == 0)
		rc = boot_files(c, why, sizeof(why));
	/* It may have been moved meanwhile, and they with it. */
	if (checkpoint_away(rc) && (dir = boot_dir(c, why, sizeof(why))) != 0)
		rc = dir;
	/* A later life needs only whose it is: its child looks, and tells. */
	if (!is_first_life(c) && c->node_known &&
	    (checkpoint_away(rc) || rc == -EBUSY))
		rc = 0;
	if (c->unwanted)
		return 0;
	if (rc != 0)
		return boot_fail(c, rc, why);
	c->opened = true;
	/*
	 * A later life relies on what was told before: what is on disk beyond
	 * that a child looks at, which settles it.
	 */
	if (is_first_life(c))
		position_set(&c->r->pos->checkpointed, c->vlsn);
	/* Release, for the store: the files are there and sound. */
	futex_bump(&c->r->table->opened);
	seq_fire(c->r->seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT);
	return 0;
}

/* ---- one checkpoint ---- */

static void
answer_wanted(struct checkpoint *c, const struct table_gen *g)
{
	uint32_t wanted =
	    atomic_load_explicit(&g->wanted, memory_order_relaxed);
	_Atomic uint32_t *done = &c->r->control->checkpoint_done;

	if (atomic_load_explicit(done, memory_order_relaxed) == wanted)
		return;
	atomic_store_explicit(done, wanted, memory_order_release);
	bell_ring(c->loop.bells, SLOT_HEALTH);
}

/*
 * The process before may have died with a position published, or with memory
 * given back, and nobody told: all that wait for it are. With a transaction
 * durable, too: that a child finds out.
 */
static void
tell_again(struct checkpoint *c)
{
	struct table_head *t = c->r->table;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (atomic_load_explicit(
			&t->gen[i].state, memory_order_acquire) == GEN_FROZEN &&
		    atomic_load_explicit(
			&t->gen[i].vlsn, memory_order_relaxed) <=
			position_get(&c->r->pos->checkpointed))
			answer_wanted(c, &t->gen[i]);
	bell_ring(c->loop.bells, SLOT_STORE);
	bell_ring(c->loop.bells, SLOT_WAL);
}

static void
succeeded(struct checkpoint *c, const struct table_gen *g,
    const struct checkpoint_work *work, uint64_t start)
{
	uint64_t took = mono_ns() - start;

	trouble_end(c->r, TROUBLE_CHECKPOINT_FAILED);
	c->backoff_ns = 0;
	counter_add(c->r->counters, SLOT_CHECKPOINT, C_CHECKPOINTS, 1);
	counter_add(
	    c->r->counters, SLOT_CHECKPOINT, C_CHECKPOINT_KEYS, work->keys);
	counter_add(
	    c->r->counters, SLOT_CHECKPOINT, C_CHECKPOINT_BYTES, work->bytes);
	hist_add(hist_of(c->r->hists, SLOT_CHECKPOINT, H_CHECKPOINT), took);
	say_debug("VLSN %llu: %llu keys, %llu bytes, %llu ms",
	    (unsigned long long)work->vlsn, (unsigned long long)work->keys,
	    (unsigned long long)work->bytes,
	    (unsigned long long)(took / NS_PER_MS));
	if (work->used != 0)
		position_set(&c->r->pos->store_used, work->used);
	position_set(&c->r->pos->checkpointed, work->vlsn);
	answer_wanted(c, g);
	bell_ring(c->loop.bells, SLOT_STORE);
	/* Segments that only the checkpoint needed may be recycled. */
	bell_ring(c->loop.bells, SLOT_WAL);
}

/* Memory that is not given back: boot again. */
static void
give_up(struct checkpoint *c, int rc)
{
	event_add(c->r, SLOT_CHECKPOINT, EVENT_ERROR,
	    "memory of the table: madvise: %s: the node boots again",
	    strerror(-rc));
	worker_fatal(c->w, &c->loop, WISH_RESTART);
}

/*
 * Whatever it was, nothing of it is on disk, and what is to be written stays
 * where it is: it is told, and tried again until it works.
 */
static void
failed(struct checkpoint *c, int rc, const char *call)
{
	bool in_dir = c->writing == NULL; /* nobody has looked at the file */
	char object[sizeof(c->path) + 16], what[160] = "";
	struct denied d;
	struct fault f = { .object = object,
		.call = call,
		.error = -rc,
		.place = fault_where(rc),
		.effect = "not written, tried again; nothing is lost; reads "
			  "go on, writes while [store] table_size has room",
		.goes_on = true,
		.damage = rc == -EBADMSG };

	if (in_dir && rc == -EREMCHG)
		f.object = c->w->conf->node.data_dir;
	if (!in_dir && rc != -EIDRM && checkpoint_away(rc)) {
		f.what = rc == -EREMCHG ? FAULT_OTHER_FILE : NULL;
		f.effect = "not written, tried again; what was written before "
			   "is in the file that was here: put store/ back as "
			   "it was before the node stops; reads go on, writes "
			   "while [store] table_size has room";
	}
	snprintf(object, sizeof(object), "%s/%s.mdb", c->path,
	    rc == -EIDRM ? "lock" : "data");
	if (rc == -EINTR) {
		/* The kernel does so when it is short of memory. */
		snprintf(what, sizeof(what), KILLED " (signal %d)",
		    c->child.killed_by);
		f.what = what;
		f.error = ENOMEM;
		f.place = PLACE_PROCESS;
	}
	if (rc == -EBUSY) {
		store_db_writers(c->path, what, sizeof(what));
		strlcat(what, " " FAULT_WRITES, sizeof(what));
		f.what = what;
	}
	worker_explain(c->w, &f, &d);
	trouble_begin(c->r, TROUBLE_CHECKPOINT_FAILED, &f);
	counter_add(c->r->counters, SLOT_CHECKPOINT, C_CHECKPOINTS_FAILED, 1);
	c->backoff_ns =
	    backoff_next(c->backoff_ns, RETRY_FIRST_NS, RETRY_MAX_NS);
	c->retry_ns = mono_ns() + c->backoff_ns;
	/* Who asked for one is told; and the store looks at its room. */
	bell_ring(c->loop.bells, SLOT_HEALTH);
	bell_ring(c->loop.bells, SLOT_STORE);
}

/* Somebody asks, or makes room: what failed is tried again at once. */
static void
look_wanted(struct checkpoint *c)
{
	const struct table_head *t = c->r->table;
	uint32_t wanted = atomic_load_explicit(
	    &c->r->control->checkpoint_wanted, memory_order_acquire);
	uint64_t flushed =
	    atomic_load_explicit(&t->gen[0].flush_vlsn, memory_order_relaxed) +
	    atomic_load_explicit(&t->gen[1].flush_vlsn, memory_order_relaxed);

	if (wanted != c->wanted_seen || flushed != c->flushed_seen)
		c->retry_ns = 0;
	c->wanted_seen = wanted;
	c->flushed_seen = flushed;
}

/* ---- the child ---- */

static void
child_poll(struct checkpoint *c)
{
	struct io_uring_sqe *sqe = loop_sqe(&c->loop);

	if (sqe == NULL)
		fatalx("ring: takes nothing");
	io_uring_prep_poll_add(sqe, c->child.pidfd, POLLIN);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_CHILD, 0, 0));
}

static void
write_frozen(struct checkpoint *c, struct table_gen *g)
{
	uint64_t vlsn = atomic_load_explicit(&g->vlsn, memory_order_relaxed);
	int rc;

	/* Applied is never past durable: the log is on disk up to here. */
	ASSERT(vlsn <= position_get(&c->r->pos->durable));
	c->start_ns = mono_ns();
	if ((rc = worker_data_dir_check(c->w)) != 0) {
		failed(c, rc, "stat");
		return;
	}
	rc = checkpoint_child_start(&c->child, c->path, c->w->conf, c->r->table,
	    g, c->group_uuid, position_get(&c->r->pos->checkpointed));
	if (rc != 0) {
		failed(c, rc, "fork");
		return;
	}
	c->writing = g;
	child_poll(c);
}

/* The child has ended: with a report, or by a signal. */
static void
child_ended(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct checkpoint *c = ctx;
	struct checkpoint_work work;
	int rc;

	(void)slot;
	(void)generation;
	(void)res;
	(void)flags;
	rc = checkpoint_child_reap(&c->child, &work);
	if (rc == -EAGAIN) {
		child_poll(c);
		return;
	}
	if (rc == 0)
		succeeded(c, c->writing, &work, c->start_ns);
	else if (loop_shutdown(&c->loop) == SHUTDOWN_NONE)
		failed(c, rc, "checkpoint");
	c->writing = NULL;
}

static struct table_gen *
frozen_gen(const struct checkpoint *c)
{
	struct table_head *t = c->r->table;
	struct table_gen *g;
	unsigned i;

	for (i = 0; i < 2; i++) {
		g = &t->gen[i];
		if (atomic_load_explicit(&g->state, memory_order_acquire) ==
			GEN_FROZEN &&
		    atomic_load_explicit(&g->vlsn, memory_order_relaxed) >
			position_get(&c->r->pos->checkpointed))
			return g;
	}
	return NULL;
}

/* Memory back to the machine; page by page, so it is not the store's work. */
static void
clean(struct checkpoint *c)
{
	struct table_head *t = c->r->table;
	unsigned i;
	int rc;

	for (i = 0; i < 2; i++) {
		if (atomic_load_explicit(
			&t->gen[i].state, memory_order_acquire) != GEN_DIRTY)
			continue;
		answer_wanted(c, &t->gen[i]);
		rc = table_clean(t, &t->gen[i]);
		if (rc != 0) {
			give_up(c, rc);
			return;
		}
		bell_ring(c->loop.bells, SLOT_STORE);
	}
}

/* ---- the loop ---- */

static bool
has_dirty(const struct checkpoint *c)
{
	const struct table_head *t = c->r->table;

	return atomic_load_explicit(&t->gen[0].state, memory_order_acquire) ==
		   GEN_DIRTY ||
	       atomic_load_explicit(&t->gen[1].state, memory_order_acquire) ==
		   GEN_DIRTY;
}

static bool
works(const struct checkpoint *c)
{
	return c->opened && !c->w->readonly &&
	       loop_shutdown(&c->loop) == SHUTDOWN_NONE;
}

static void
checkpoint_turn(void *ctx)
{
	struct checkpoint *c = ctx;
	struct table_gen *g;
	unsigned step;

	if (works(c)) {
		clean(c);
		look_wanted(c);
		g = frozen_gen(c);
		if (g != NULL && c->writing == NULL &&
		    c->loop.now_ns >= c->retry_ns)
			write_frozen(c, g);
	}
	step = loop_shutdown(&c->loop);
	/* A stop does not wait for a checkpoint: the log has everything. */
	if (step != SHUTDOWN_NONE)
		checkpoint_child_kill(&c->child);
	if (step != SHUTDOWN_NONE)
		loop_drained(&c->loop, step);
	if (step == SHUTDOWN_CLOSED)
		c->loop.quit = true;
}

static bool
checkpoint_pending(void *ctx)
{
	struct checkpoint *c = ctx;

	return works(c) &&
	       (has_dirty(c) || (c->writing == NULL && frozen_gen(c) != NULL &&
				    mono_ns() >= c->retry_ns));
}

static uint64_t
checkpoint_deadline(void *ctx)
{
	struct checkpoint *c = ctx;

	if (!works(c) || c->writing != NULL || frozen_gen(c) == NULL)
		return LOOP_NEVER;
	return c->retry_ns;
}

int
checkpoint_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = checkpoint_turn,
		.pending = checkpoint_pending,
		.deadline = checkpoint_deadline,
	};
	struct checkpoint *c;
	int rc;

	worker_open(w, "checkpoint", KEEP_DATA);
	c = worker_state(w, PHASE_CLUSTER_CATALOG_OPEN, sizeof(*c));
	c->w = w;
	c->r = w->region;
	/* Before the ring: a child looks at the files, see boot_verify(). */
	if ((rc = boot(c)) != 0)
		return rc;
	rc = loop_open(
	    &c->loop, w->region, &w->bells, w->slot, RING_ENTRIES, c, &hooks);
	if (rc != 0) {
		say_errorx("ring: %s", loop_refusal(rc));
		return WORKER_EXIT_FAILED;
	}
	loop_on(&c->loop, KIND_CHILD, child_ended);
	tell_again(c);
	rc = worker_run(w, &c->loop);
	loop_close(&c->loop);
	return rc;
}
