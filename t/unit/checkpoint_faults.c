/*
 * A checkpoint whose Nth write, flush or allocation fails, for all N until
 * none does: it says so, the checkpoint before is there and verifies as a
 * whole, and the same table goes through afterwards. The faults are put in
 * front of libc's functions, where LMDB calls them; each attempt is a process
 * of its own, as a restarted checkpoint worker is.
 */
#include "t/lib/store_rig.h"

#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#ifndef OWN_MALLOC
#define OWN_MALLOC 1
#endif

#define SMALL_MEMORY (64 * 1024)

enum bad_call {
	NO_FAULT,
	WRITE_FAULT,
	SHORT_WRITE, /* on a disk that has no room then */
	CUT_WRITE, /* on one that has */
	FLUSH_FAULT,
	MEMORY_FAULT
};

static enum bad_call armed;
static unsigned fail_at, calls;
static int fault_errno;

static bool
must_fail(enum bad_call kind)
{
	return armed == kind && ++calls == fail_at;
}

ssize_t
pwrite(int fd, const void *data, size_t n, off_t at)
{
	struct iovec iov = { (void *)(uintptr_t)data, n };

	if (must_fail(WRITE_FAULT)) {
		errno = fault_errno;
		return -1;
	}
	if (must_fail(SHORT_WRITE) || must_fail(CUT_WRITE))
		iov.iov_len /= 2;
	return pwritev2(fd, &iov, 1, at, 0);
}

/* LMDB writes runs of pages with lseek(2) and this. */
ssize_t
writev(int fd, const struct iovec *iov, int count)
{
	if (must_fail(WRITE_FAULT)) {
		errno = fault_errno;
		return -1;
	}
	if (must_fail(SHORT_WRITE) || must_fail(CUT_WRITE))
		count = 1;
	return pwritev2(fd, iov, count, -1, 0);
}

/* The name that a library built with large offsets calls. */
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
    __attribute__((alias("pwrite")));

int
sync_file_range(int fd, off_t at, off_t n, unsigned flags)
{
	(void)fd;
	(void)at;
	(void)n;
	(void)flags;
	if (must_fail(FLUSH_FAULT)) {
		errno = fault_errno;
		return -1;
	}
	return 0;
}

/* Of a disk with little room where there was none for a write, or a flush. */
int
statvfs(const char *path, struct statvfs *out)
{
	bool full = armed == SHORT_WRITE || armed == FLUSH_FAULT;

	(void)path;
	memset(out, 0, sizeof(*out));
	out->f_frsize = 4096;
	out->f_bavail = full ? 1 : 1 << 20;
	return 0;
}

#if OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_calloc(size_t count, size_t size);

void *
malloc(size_t size)
{
	if (must_fail(MEMORY_FAULT)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(size);
}

void *
realloc(void *old, size_t size)
{
	if (must_fail(MEMORY_FAULT)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(old, size);
}

void *
calloc(size_t count, size_t size)
{
	if (must_fail(MEMORY_FAULT)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_calloc(count, size);
}
#endif

static struct table_gen *
frozen_gen(struct rig *g)
{
	return table_gen_at(
	    g->r.table, (atomic_load(&g->r.table->view) >> 1) - 1);
}

enum {
	WENT_THROUGH = 0,
	SAID_SO = 1,
	NO_FAULT_MET = 2,
	CANNOT_OPEN = 3,
	SAID_OTHER = 4 /* than what it was */
};

/* One attempt: exit code as above. */
static int
attempt(struct rig *g, enum bad_call kind, unsigned n, int error)
{
	struct checkpoint_work work;
	struct store_db db;
	uint8_t uuid[16] = { 0 };
	char why[128];
	int rc;

	if (store_db_open(&db, g->path, STORE_DB_WRITE, UINT64_C(1) << 30, why,
		sizeof(why)) != 0)
		return CANNOT_OPEN;
	/* So little that pages are written before the commit, too. */
	db.memory = SMALL_MEMORY;
	fault_errno = error;
	fail_at = n;
	calls = 0;
	armed = kind;
	rc = checkpoint_write(
	    &db, g->r.table, frozen_gen(g), uuid, NULL, NULL, &work);
	armed = NO_FAULT;
	if (kind != NO_FAULT && calls < n)
		return NO_FAULT_MET;
	if (rc == 0)
		return WENT_THROUGH;
	return rc == -error ? SAID_SO : SAID_OTHER;
}

static int
in_child(struct rig *g, enum bad_call kind, unsigned n, int error)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(attempt(g, kind, n, error));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* VLSN on disk as a new process finds it; UINT64_MAX: it does not verify. */
static uint64_t
vlsn_on_disk(struct rig *g)
{
	uint64_t *found = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t vlsn;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct store_db db;
		struct store_state st;
		MDB_txn *txn;
		bool whole;
		char why[128];

		rig_must(store_db_open(
		    &db, g->path, STORE_DB_READ, 0, why, sizeof(why)));
		rig_must(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
		rig_must(store_db_state(&db, txn, &st));
		mdb_txn_abort(txn);
		*found = st.vlsn;
		rig_must(store_db_verify(
		    &db, 60 * NS_PER_S, 1, &whole, why, sizeof(why)));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	vlsn = status == 0 ? *found : UINT64_MAX;
	munmap(found, 4096);
	return vlsn;
}

/* Keys old and new, some in chunks, some that expire, in one more table. */
static void
fill(struct rig *g, unsigned round)
{
	static uint8_t value[9000];
	char key[32];
	struct op_arg argv[] = { { (const uint8_t *)key, 0 }, { value, 0 } };
	unsigned i;

	memset(value, 'a' + (int)round % 26, sizeof(value));
	for (i = 0; i < 2000; i++) {
		argv[0].len = (uint32_t)snprintf(
		    key, sizeof(key), "key%u", i * (round + 1));
		argv[1].len = i % 20 == 0 ? 9000 : 30;
		rig_must(rig_op(g, OP_SET, 0,
		    i % 3 == 0 ? g->now_ms + 100000 + i : 0, 2, argv));
		if (i % 9 == 0)
			rig_must(rig_op(g, OP_DEL, 0, 0, 1, argv));
	}
}

/* The next table to be written; the files are the children's alone. */
static void
next_table(struct rig *g, unsigned round)
{
	char why[128];

	rig_must(store_db_open(&g->db, g->path, STORE_DB_WRITE,
	    UINT64_C(1) << 30, why, sizeof(why)));
	g->kv = rig_kv(g, SLOT_STORE);
	kv_set_writer(g->kv, &g->w);
	g->apply.kv = g->kv;
	rig_must(kv_begin(g->kv));
	fill(g, round);
	rig_kv_close(g->kv);
	g->kv = NULL;
	table_freeze(&g->w);
	store_db_close(&g->db);
}

static void
drop_table(struct rig *g)
{
	struct table_gen *frozen = frozen_gen(g);

	table_drop(&g->w);
	if (!table_leave(&g->w))
		abort();
	rig_must(table_clean(g->r.table, frozen));
}

static void
test_faults(struct rig *g, enum bad_call kind, int error, const char *what)
{
	uint64_t before, vlsn, bad = 0;
	unsigned n, said = 0;
	int rc;

	before = vlsn_on_disk(g);
	for (n = 1;; n += 1 + n / 16) {
		rc = in_child(g, kind, n, error);
		if (rc == NO_FAULT_MET)
			break;
		vlsn = vlsn_on_disk(g);
		said += rc == SAID_SO;
		/* qsort(3), for one, does without its memory. */
		if (rc == WENT_THROUGH && kind == MEMORY_FAULT) {
			drop_table(g);
			next_table(g, n + 100);
			before = vlsn;
			continue;
		}
		/* What failed has not happened; nothing else has, either. */
		if (rc != SAID_SO || vlsn != before) {
			diag("%s %u: %d, VLSN %ju, was %ju", what, n, rc,
			    (uintmax_t)vlsn, (uintmax_t)before);
			bad++;
			if (vlsn != before)
				break;
		}
	}
	ok(said > 0, "%s: %u faults were said", what, said);
	is_u64(bad, 0, "each left the checkpoint before");
	vlsn = vlsn_on_disk(g);
	if (vlsn == before)
		is_i64(in_child(g, NO_FAULT, 0, 0), WENT_THROUGH,
		    "without a fault it goes through");
	ok(vlsn_on_disk(g) > before, "and is whole");
}

int
main(void)
{
	static const struct {
		enum bad_call kind;
		int error;
		const char *what;
	} row[] = { { WRITE_FAULT, ENOSPC, "a full disk at write" },
		{ WRITE_FAULT, EIO, "an I/O error at write" },
		{ SHORT_WRITE, ENOSPC, "a full disk's short write at write" },
		{ CUT_WRITE, EIO, "another short write at write" },
		{ FLUSH_FAULT, EIO, "an I/O error at flush step" },
		{ MEMORY_FAULT, ENOMEM, "no memory at allocation" } };
	struct rig g;
	size_t i;

	rig_open(&g, 8 << 20);
	fill(&g, 0);
	rig_kv_close(g.kv);
	g.kv = NULL;
	table_freeze(&g.w);
	store_db_close(&g.db);
	is_i64(in_child(&g, NO_FAULT, 0, 0), WENT_THROUGH, "the first");
	drop_table(&g);
	for (i = 0; i < NITEMS(row); i++) {
		if (row[i].kind == MEMORY_FAULT && !OWN_MALLOC)
			continue;
		next_table(&g, (unsigned)i + 1);
		test_faults(&g, row[i].kind, row[i].error, row[i].what);
		drop_table(&g);
	}
	rig_close(&g);
	return tap_done();
}
