/*
 * The checkpoint worker that follows one which was killed: what that one has
 * written but not told is told, and what its orphaned writer has under way
 * keeps the next writer out, but not the worker. One that finds files of the
 * release before; and one whose writers are killed again and again.
 */
#include "workers/checkpoint/checkpoint.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>

#include "conf/node_file.h"
#include "shm/trouble.h"
#include "t/lib/format1.h"
#include "t/shm_fixture.h"

#define WAIT_MS TAP_WAIT_MS
#define BEAT_NS (NS_PER_S * 3 / 2) /* longer than from beat to beat */

/* Flushes of all processes, counted where checkpoint_pace.c asks for them. */
static _Atomic int *flushes;

long
syscall(long number, ...)
{
	union {
		void *sym;
		long (*call)(long, ...);
	} next = { dlsym(RTLD_NEXT, "syscall") };
	long a[4];
	va_list ap;
	size_t i;

	va_start(ap, number);
	for (i = 0; i < NITEMS(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_fdatasync && flushes != NULL)
		atomic_fetch_add(flushes, 1);
	return next.call(number, a[0], a[1], a[2], a[3]);
}

/* Writes of both meta pages in one, by whichever process. */
static struct meta_writes {
	_Atomic int count, failing;
} * metas;

ssize_t
pwrite(int fd, const void *data, size_t n, off_t at)
{
	struct iovec iov = { (void *)(uintptr_t)data, n };

	if (metas != NULL && n == 2 * 4096 && at == 0) {
		atomic_fetch_add(&metas->count, 1);
		if (atomic_load(&metas->failing)) {
			errno = EIO;
			return -1;
		}
	}
	return pwritev2(fd, &iov, 1, at, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
    __attribute__((alias("pwrite")));

static struct fixture fix;
static struct conf conf;
static struct worker worker;
static char data[64], store[80];
static struct node_file node = { .format = NODE_FILE_FORMAT,
	.node = "unit",
	.group = "g",
	.generation = 1,
	.incarnation = 1 };

static void
store_remove(void)
{
	static const char *const names[] = { "store/data.mdb", "store/lock.mdb",
		"store" };
	char path[128];

	for (size_t i = 0; i < NITEMS(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", data, names[i]);
		if (unlink(path) != 0)
			rmdir(path);
	}
	ok(rmdir(data) == 0, "nothing else was left in data_dir");
}

/* A region whose frozen generation, asked for by request 3, ends at `vlsn`. */
static struct table_gen *
node_begin(uint64_t vlsn)
{
	struct table_writer w;
	struct table_gen *g;

	fixture_open(&fix);
	conf_defaults(&conf);
	strcpy(conf.node.name, "unit");
	conf.node.user[0] = '\0';
	snprintf(conf.node.data_dir, sizeof(conf.node.data_dir), "%s", data);
	memset(&worker, 0, sizeof(worker));
	worker.slot = SLOT_CHECKPOINT;
	worker.region = &fix.r;
	worker.conf = &conf;
	worker.bells.wakes = fix.r.wakes;
	for (unsigned i = 0; i < SLOT_MAX; i++)
		worker.bells.fd[i] =
		    i < SLOT_GATEWAY ? eventfd(0, EFD_CLOEXEC) : -1;
	worker.supervisor_pid = getpid();
	worker.lock_fd = worker.http_fd = worker.control_fd = -1;
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		worker.listen_fd[i] = -1;
	worker_alone(&worker);
	worker.data_dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	seq_register(fix.r.seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT,
	    "checkpoint opened");
	seq_seal(fix.r.seq);
	position_set(&fix.r.pos->durable, vlsn);
	table_writer_open(&w, fix.r.table, 1);
	atomic_store(&fix.r.table->vlsn, vlsn);
	g = w.g;
	table_freeze(&w);
	atomic_store(&g->wanted, 3);
	atomic_store(&fix.r.control->checkpoint_wanted, 3);
	/* Not its first life: the files are there. */
	atomic_store(&fix.r.table->opened, 1);
	return g;
}

static void
node_end(void)
{
	for (unsigned i = 0; i < SLOT_MAX; i++)
		if (worker.bells.fd[i] >= 0)
			close(worker.bells.fd[i]);
	close(worker.data_dir);
	fixture_close(&fix);
}

/* All sleep: who is rung has something in his bell. */
static void
sleep_all(void)
{
	for (unsigned i = 0; i < SLOT_GATEWAY; i++)
		if (i != SLOT_CHECKPOINT)
			atomic_store(&fix.r.wakes->line[i].sleeping, 1);
}

static bool
was_rung(unsigned slot)
{
	struct pollfd p = { worker.bells.fd[slot], POLLIN, 0 };

	return poll(&p, 1, 0) == 1;
}

static int
body(void *arg)
{
	(void)arg;
	return checkpoint_main(&worker);
}

static pid_t
worker_start(void)
{
	atomic_store(&fix.r.slots->row[SLOT_CHECKPOINT].state, SLOT_STARTING);
	return child_start(body, NULL);
}

static bool
worker_runs(void)
{
	return atomic_load(&fix.r.slots->row[SLOT_CHECKPOINT].state) ==
	       SLOT_RUNNING;
}

static void
worker_stop(pid_t pid)
{
	seq_shutdown(fix.r.seq, SHUTDOWN_CLOSED);
	bell_ring(&worker.bells, SLOT_CHECKPOINT);
	is_i64(child_end(pid), 0, "the worker ends");
}

/* Another process, as LMDB wants it: write what is frozen. */
static int
write_it(void *arg)
{
	struct checkpoint_work work;
	struct store_db db;
	char why[256];
	int rc;

	rc = store_db_open(
	    &db, store, STORE_DB_WRITE, UINT64_C(1) << 30, why, sizeof(why));
	if (rc == 0)
		rc = checkpoint_write(
		    &db, fix.r.table, arg, node.group_uuid, NULL, NULL, &work);
	return rc == 0 ? 0 : 1;
}

static void
test_untold(void)
{
	struct table_gen *g = node_begin(5);
	pid_t pid;

	is_i64(child_end(child_start(write_it, g)), 0,
	    "written by one that tells nobody");
	atomic_store(&metas->count, 0);
	atomic_store(&metas->failing, 1);
	sleep_all();
	pid = worker_start();
	ok(wait_until(worker_runs(), WAIT_MS), "the next one runs");
	ok(wait_until(atomic_load(&metas->count) > 0, WAIT_MS),
	    "and writes the meta pages anew, which fails");
	ok(wait_until(
	       trouble_stands(&fix.r, TROUBLE_CHECKPOINT_FAILED), WAIT_MS),
	    "that is told");
	is_u64(
	    position_get(&fix.r.pos->checkpointed), 0, "nothing counts before");
	atomic_store(&metas->failing, 0);
	ok(wait_until(position_get(&fix.r.pos->checkpointed) == 5, WAIT_MS),
	    "then it is published");
	ok(wait_until(was_rung(SLOT_STORE), WAIT_MS), "store is rung");
	ok(wait_until(was_rung(SLOT_WAL), WAIT_MS), "wal is rung");
	ok(wait_until(atomic_load(&fix.r.control->checkpoint_done) == 3 &&
			  was_rung(SLOT_HEALTH),
	       WAIT_MS),
	    "who asked for it is answered");
	is_u64(counter_sum(fix.r.counters, C_CHECKPOINT_KEYS), 0,
	    "nothing was written again");
	worker_stop(pid);
	node_end();
}

/* The orphan: in a write transaction, until it is killed. */
static int
hold_writer(void *told)
{
	_Atomic int *holds = told;
	struct store_db db;
	MDB_txn *txn;
	char why[256];

	if (store_db_open(&db, store, STORE_DB_WRITE, UINT64_C(1) << 30, why,
		sizeof(why)) != 0 ||
	    mdb_txn_begin(db.env, NULL, 0, &txn) != 0)
		return 1;
	atomic_store(holds, 1);
	for (;;)
		pause();
}

/* Says text who it is that keeps others from writing? */
static bool
is_named(const char *text, pid_t pid)
{
	char want[64];

	snprintf(want, sizeof(want), "/data.mdb: checkpoint: pid %d (", pid);
	return strstr(text, want) != NULL &&
	       strstr(text, "still writes it: ") != NULL;
}

static void
test_orphan(void)
{
	_Atomic int *holds = shared_zeros(sizeof(*holds));
	struct trouble_info t = { .text = "" };
	struct slot_row *row;
	pid_t orphan, pid;
	uint64_t began;

	node_begin(6);
	row = &fix.r.slots->row[SLOT_CHECKPOINT];
	orphan = child_start(hold_writer, holds);
	ok(wait_until(atomic_load(holds) == 1, WAIT_MS),
	    "an orphan is in its transaction");
	pid = worker_start();
	ok(wait_until(worker_runs(), WAIT_MS), "the worker runs all the same");
	began = mono_ns();
	ok(wait_until(
	       atomic_load(&row->heartbeat_ns) > began + BEAT_NS, WAIT_MS),
	    "and lives");
	ok(wait_until(trouble_read(&fix.r, TROUBLE_CHECKPOINT_FAILED, &t) &&
			  is_named(t.text, orphan),
	       WAIT_MS),
	    "it tells who is in the way: %s", t.text);
	is_u64(position_get(&fix.r.pos->checkpointed), 0,
	    "its writer waits for the orphan");
	kill(orphan, SIGKILL);
	is_i64(child_end(orphan), 1000 + SIGKILL, "which dies");
	ok(wait_until(position_get(&fix.r.pos->checkpointed) == 6, WAIT_MS),
	    "then it writes");
	worker_stop(pid);
	node_end();
	munmap(holds, sizeof(*holds));
}

/*
 * The same behind a boot, whose lock.mdb is another one: LMDB's own lock in it
 * keeps nobody out.
 */
static void
test_orphan_apart(void)
{
	_Atomic int *holds = shared_zeros(sizeof(*holds));
	char lock[100], who[32];
	pid_t orphan, pid;

	snprintf(lock, sizeof(lock), "%s/lock.mdb", store);
	node_begin(6);
	orphan = child_start(hold_writer, holds);
	ok(wait_until(atomic_load(holds) == 1, WAIT_MS),
	    "an orphan is in its transaction");
	snprintf(who, sizeof(who), "pid %d (", orphan);
	kill(orphan, SIGSTOP);
	ok(unlink(lock) == 0, "lock.mdb is removed");
	atomic_store(&fix.r.table->opened, 0);
	atomic_store(&metas->count, 0);
	is_i64(child_end(worker_start()), WORKER_EXIT_FAILED,
	    "no boot opens the store");
	ok(strstr(fix.r.seq->error, who) != NULL &&
		strstr(fix.r.seq->error, "still writes it: ") != NULL,
	    "it says why: %s", fix.r.seq->error);
	is_i64(seq_error_kind(fix.r.seq), FAULT_WORLD, "which is waited out");
	is_u64(atomic_load(&metas->count), 0, "nothing was written");
	node_end();
	kill(orphan, SIGKILL);
	is_i64(child_end(orphan), 1000 + SIGKILL, "the orphan dies");
	node_begin(6);
	atomic_store(&fix.r.table->opened, 0);
	pid = worker_start();
	ok(wait_until(position_get(&fix.r.pos->checkpointed) == 6, WAIT_MS),
	    "then a boot goes on");
	worker_stop(pid);
	node_end();
	munmap(holds, sizeof(*holds));
}

static bool
has_failed(unsigned times)
{
	return counter_sum(fix.r.counters, C_CHECKPOINTS_FAILED) == times &&
	       trouble_stands(&fix.r, TROUBLE_CHECKPOINT_FAILED);
}

/* The worker's child, 0 = it has none. */
static pid_t
writer_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	if ((f = fopen(path, "r")) == NULL)
		return 0;
	if (fscanf(f, "%d", &child) != 1)
		child = 0;
	fclose(f);
	return child;
}

static void
test_killed(void)
{
	_Atomic int *holds = shared_zeros(sizeof(*holds));
	struct trouble_info t;
	pid_t orphan, pid;

	node_begin(7);
	orphan = child_start(hold_writer, holds);
	ok(wait_until(atomic_load(holds) == 1, WAIT_MS),
	    "somebody keeps writers waiting");
	pid = worker_start();
	for (unsigned i = 1; i <= 2; i++) {
		ok(wait_until(writer_of(pid) != 0, WAIT_MS), "a writer waits");
		kill(writer_of(pid), SIGKILL);
		ok(wait_until(has_failed(i), WAIT_MS), "killed %u times", i);
		/* Who asks does not wait for the pause to end. */
		atomic_fetch_add(&fix.r.control->checkpoint_wanted, 1);
		bell_ring(&worker.bells, SLOT_CHECKPOINT);
	}
	ok(trouble_read(&fix.r, TROUBLE_CHECKPOINT_FAILED, &t) &&
		strstr(t.text, "killed (signal 9)") != NULL &&
		strstr(t.text, "memory") != NULL &&
		strstr(t.text, "store/data.mdb") != NULL,
	    "it is told: %s", t.text);
	ok(worker_runs(), "the worker lives");
	kill(orphan, SIGKILL);
	child_end(orphan);
	ok(wait_until(position_get(&fix.r.pos->checkpointed) == 7, WAIT_MS),
	    "then it is written");
	ok(wait_until(
	       !trouble_stands(&fix.r, TROUBLE_CHECKPOINT_FAILED), WAIT_MS),
	    "and nothing stands any more");
	ok(position_get(&fix.r.pos->store_used) > 0, "what it takes is known");
	worker_stop(pid);
	node_end();
	munmap(holds, sizeof(*holds));
}

/*
 * A commit that failed may have left on disk what is not in the page cache.
 * Who met it is gone: the first writer of a worker flushes before it writes.
 */
static void
test_settles(void)
{
	pid_t pid;

	node_begin(8);
	flushes = shared_zeros(sizeof(*flushes));
	atomic_store(&metas->count, 0);
	pid = worker_start();
	ok(wait_until(position_get(&fix.r.pos->checkpointed) == 8, WAIT_MS),
	    "the first checkpoint of a worker");
	is_i64(atomic_load(flushes), 2, "flushes before, and its own");
	is_i64(atomic_load(&metas->count), 1, "what it has written anew");
	worker_stop(pid);
	munmap(flushes, sizeof(*flushes));
	flushes = NULL;
	node_end();
}

/* A boot relies on what is on disk when it has written that anew. */
static void
test_settles_boot(void)
{
	pid_t pid;

	node_begin(8);
	atomic_store(&fix.r.table->opened, 0);
	atomic_store(&metas->failing, 1);
	pid = worker_start();
	is_i64(child_end(pid), WORKER_EXIT_FAILED, "a boot cannot write it");
	ok(strstr(fix.r.seq->error,
	       "store/data.mdb: write: Input/output error") != NULL,
	    "it says: %s", fix.r.seq->error);
	is_u64(position_get(&fix.r.pos->checkpointed), 0, "nothing counts");
	is_u64(atomic_load(&fix.r.table->opened), 0, "nothing is opened");
	atomic_store(&metas->failing, 0);
	node_end();
	node_begin(8);
	atomic_store(&fix.r.table->opened, 0);
	pid = worker_start();
	ok(wait_until(worker_runs(), WAIT_MS), "one that can");
	is_u64(position_get(&fix.r.pos->checkpointed), 8, "has it");
	worker_stop(pid);
	node_end();
}

/* As the release before left it. */
static int
make_format1(void *arg)
{
	struct store_db db;
	char why[256];

	(void)arg;
	return store_db_open(&db, store, STORE_DB_WRITE, UINT64_C(1) << 30, why,
		   sizeof(why)) == 0 &&
		       format1_make(&db) == 0
		   ? 0
		   : 1;
}

/* Its exit code is the format on disk. */
static int
read_format(void *arg)
{
	struct store_state st;
	struct store_db db;
	char why[256];
	MDB_txn *txn;

	(void)arg;
	if (store_db_open(&db, store, STORE_DB_NOLOCK, 0, why, sizeof(why)) !=
		0 ||
	    mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn) != 0 ||
	    store_db_state(&db, txn, &st) != 0)
		return 100;
	return (int)st.format;
}

static void
test_format1(bool readonly)
{
	pid_t pid;

	node_begin(6);
	worker.readonly = readonly;
	atomic_store(&fix.r.table->opened, 0);
	if (readonly)
		is_i64(child_end(child_start(make_format1, NULL)), 0,
		    "files of the release before");
	pid = worker_start();
	ok(wait_until(worker_runs(), WAIT_MS), "a first life runs%s",
	    readonly ? ", readonly" : "");
	ok(atomic_load(&fix.r.table->opened) != 0, "and has opened them");
	is_u64(position_get(&fix.r.pos->checkpointed), 6, "at their VLSN");
	is_i64(child_end(child_start(read_format, NULL)), readonly ? 1 : 2,
	    readonly ? "as they were" : "in the present format");
	worker_stop(pid);
	node_end();
}

/* A store of a group, without the file that names it: no foreign store. */
static void
test_node_away(void)
{
	struct table_gen *g = node_begin(9);

	unlinkat(worker.data_dir, NODE_FILE_NAME, 0);
	memset(node.group_uuid, 7, sizeof(node.group_uuid));
	is_i64(child_end(child_start(write_it, g)), 0, "a group's store");
	is_i64(child_end(worker_start()), WORKER_EXIT_FAILED,
	    "its node file is away");
	ok(strstr(fix.r.seq->error, "/node: read: No such file") != NULL &&
		seq_error_kind(fix.r.seq) == FAULT_SETUP,
	    "it says: %s", fix.r.seq->error);
	node_end();
}

/* Whose a new store is can be told by the node file only. */
static void
test_node_unread(void)
{
	node_begin(8);
	atomic_store(&fix.r.table->opened, 0);
	ok(unlinkat(worker.data_dir, NODE_FILE_NAME, 0) == 0 &&
		mkdirat(worker.data_dir, NODE_FILE_NAME, 0700) == 0,
	    "a node file that cannot be read");
	is_i64(child_end(worker_start()), WORKER_EXIT_FAILED, "ends a boot");
	ok(strstr(fix.r.seq->error, "/node: read: Is a directory") != NULL,
	    "it says: %s", fix.r.seq->error);
	is_u64(atomic_load(&fix.r.table->opened), 0, "nothing is opened");
	unlinkat(worker.data_dir, NODE_FILE_NAME, AT_REMOVEDIR);
	is_i64(node_file_write(worker.data_dir, &node), 0, "it is back");
	node_end();
}

static bool
node_make(void)
{
	int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool made = dir != -1 && node_file_write(dir, &node) == 0;

	if (dir != -1)
		close(dir);
	return made;
}

int
main(void)
{
	strcpy(data, "/tmp/checkpoint_worker.XXXXXX");
	if (mkdtemp(data) == NULL || !node_make())
		skip_all("no directory can be made here");
	snprintf(store, sizeof(store), "%s/store", data);
	metas = shared_zeros(sizeof(*metas));
	test_untold();
	test_orphan();
	test_orphan_apart();
	test_format1(true);
	test_format1(false);
	test_killed();
	test_settles();
	test_settles_boot();
	test_node_unread();
	test_node_away();
	store_remove();
	return tap_done();
}
