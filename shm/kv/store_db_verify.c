/*
 * Looking for damage in the checkpoint's files before they are served: the
 * whole of a small store, random places of a large one.
 */
#include "shm/kv/store_db.h"

#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/kv/store_db_int.h"
#include "shm/kv/store_db_page.h"

#define CLOCK_EVERY  64 /* items between two looks at the clock */
#define WHY_MAX      256
#define VERIFY_MAX_S 60 /* longer is a disk that hangs */
#define VERIFY_CPU_S 20 /* and this a walk in a circle: damage, too */

struct verify {
	const struct store_db *db;
	MDB_txn *txn;
	uint64_t deadline_ns;
	uint64_t items, timed, chunks, chunks_timed;
	const uint8_t *map; /* of the file; NULL: not known */
	char *why;
	size_t why_size;
};

/*
 * What was read is wrong. Of a call: its rc, which may as well say that it
 * could not read.
 */
__attribute__((format(printf, 3, 4))) static int
damaged(struct verify *v, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->why, v->why_size, fmt, ap);
	va_end(ap);
	return rc == -EIO || rc == -ENOMEM ? rc : -EBADMSG;
}

static bool
time_is_up(struct verify *v)
{
	/* A long value is worth a look each. */
	if (v->items % CLOCK_EVERY != 0 && v->chunks == v->chunks_timed)
		return false;
	v->chunks_timed = v->chunks;
	return mono_ns() > v->deadline_ns;
}

/*
 * Where LMDB has the file. It reads an entry of a page that is known.
 */
static int
find_map(struct verify *v, int fd)
{
	const struct store_head *h = &v->db->head;
	const struct db_file f = { .fd = fd, .page_size = h->page_size };
	uint64_t root = h->root * h->page_size;
	uint8_t first[2];
	MDB_cursor *c;
	MDB_val k, d;
	MDB_dbi names;
	int rc;

	if (h->commits == 0)
		return 0;
	if ((rc = db_read(&f, first, sizeof(first), root + PAGE_HEAD)) != 0)
		return rc;
	if ((rc = mdb_dbi_open(v->txn, NULL, 0, &names)) != 0 ||
	    (rc = mdb_cursor_open(v->txn, names, &c)) != 0)
		return store_db_errno(rc);
	rc = mdb_cursor_get(c, &k, &d, MDB_FIRST);
	mdb_cursor_close(c);
	if (rc == 0)
		v->map = (const uint8_t *)k.mv_data - NODE_HEAD -
			 get_le16(first) - root;
	return store_db_errno(rc);
}

/* The page that `at` is in, if it is known where the file is. */
static const uint8_t *
page_of(const struct verify *v, const void *at, uint64_t *number)
{
	*number =
	    (uint64_t)((const uint8_t *)at - v->map) / v->db->head.page_size;
	return v->map + *number * v->db->head.page_size;
}

static int
other_page(struct verify *v, uint64_t number)
{
	return damaged(
	    v, 0, "page %" PRIu64 " is another one, or broken", number);
}

/* A leaf of "kv", as store_db_marks() does with those that it reads. */
static int
verify_leaf(struct verify *v, const void *at)
{
	const uint8_t *page;
	uint64_t number;

	if (v->map == NULL)
		return 0;
	page = page_of(v, at, &number);
	return db_page_may_be(db_kind_of(STORE_KV_NAME), number, true, page,
		   v->db->head.page_size)
		   ? 0
		   : other_page(v, number);
}

/*
 * A chunk, and if it has a page of its own that one: what that says is what
 * LMDB frees.
 */
static int
verify_chunk(
    struct verify *v, const struct store_item *item, uint32_t index, size_t n)
{
	const uint8_t *data, *page;
	uint64_t number;
	int rc = store_chunk_get(v->db, v->txn, item->chunk, index, n, &data);

	if (rc != 0)
		return damaged(v, rc,
		    "chunk %" PRIu32 " of a value is missing or wrong", index);
	if (v->map == NULL)
		return 0;
	page = page_of(v, data, &number);
	if (data - CHUNK_CRC_SIZE - PAGE_HEAD != page)
		return 0;
	return get_le64(page) == number && get_le16(page + 10) == P_OVERFLOW &&
		       get_le32(page + 12) == 1
		   ? 0
		   : other_page(v, number);
}

/* One item: its checksum, and that of each of its chunks. */
static int
verify_item(struct verify *v, const MDB_val *k, const MDB_val *d)
{
	uint32_t size = store_chunk_size(v->db);
	struct store_item item;
	uint64_t from;
	size_t n;
	int rc;

	if (k->mv_size > 511 || store_item_decode(k->mv_data, k->mv_size,
				    d->mv_data, d->mv_size, &item) != 0)
		return damaged(v, 0, "an item's checksum is wrong");
	v->items++;
	if (item.expire_ms != 0)
		v->timed++;
	for (from = 0; item.data == NULL && from < item.len; from += n) {
		n = item.len - from < size ? item.len - from : size;
		rc = verify_chunk(v, &item, (uint32_t)(from / size), n);
		if (rc != 0)
			return rc;
		v->chunks++;
	}
	return 0;
}

static bool
in_order(const MDB_val *last, const MDB_val *k)
{
	size_t n = last->mv_size < k->mv_size ? last->mv_size : k->mv_size;
	int cmp = memcmp(last->mv_data, k->mv_data, n);

	return cmp < 0 || (cmp == 0 && last->mv_size < k->mv_size);
}

/*
 * A walk goes from leaf to leaf; a look-up is led by the keys between them,
 * and a false one leads past a key. Only those at the ends of a leaf can be
 * missed so.
 */
static int
verify_path(struct verify *v, const MDB_val *k)
{
	MDB_val key = *k, d;
	int rc = mdb_get(v->txn, v->db->kv, &key, &d);

	if (rc != 0)
		return damaged(v, store_db_errno(rc),
		    "a key is not found where it is: %s", mdb_strerror(rc));
	return 0;
}

static bool
same_leaf(const struct verify *v, const MDB_val *a, const MDB_val *b)
{
	return (uintptr_t)a->mv_data / v->db->page_size ==
	       (uintptr_t)b->mv_data / v->db->page_size;
}

/* Is k, the neighbour of last (NULL: it is the first), in its place? */
static int
verify_place(struct verify *v, const MDB_val *last, const MDB_val *k)
{
	int rc;

	if (last->mv_data != NULL && !in_order(last, k))
		return damaged(v, 0, "keys are out of order");
	if (last->mv_data != NULL && same_leaf(v, last, k))
		return 0;
	if (last->mv_data != NULL && (rc = verify_path(v, last)) != 0)
		return rc;
	if ((rc = verify_leaf(v, k->mv_data)) != 0)
		return rc;
	return verify_path(v, k);
}

/* Every item in key order; -ETIME when the time was too short. */
static int
walk_items(struct verify *v)
{
	MDB_val k, d, last = { 0, NULL };
	MDB_cursor *c;
	int rc, bad = 0;

	if ((rc = mdb_cursor_open(v->txn, v->db->kv, &c)) != 0)
		return store_db_errno(rc);
	while (bad == 0 && (rc = mdb_cursor_get(c, &k, &d, MDB_NEXT)) == 0) {
		bad = verify_place(v, &last, &k);
		if (bad == 0)
			bad = verify_item(v, &k, &d);
		last = k;
		if (bad == 0 && time_is_up(v))
			bad = -ETIME;
	}
	mdb_cursor_close(c);
	if (bad == 0 && rc != MDB_NOTFOUND)
		bad = damaged(v, store_db_errno(rc), "the tree of keys: %s",
		    mdb_strerror(rc));
	if (bad == 0 && last.mv_data != NULL)
		bad = verify_path(v, &last);
	return bad;
}

/*
 * Every entry of the order of expiry names a key that has that expiry; as many
 * as there are such keys are so exactly they.
 */
static int
walk_due(struct verify *v, uint64_t *count)
{
	struct store_due d;
	struct store_item item;
	int rc;

	memset(&d, 0, sizeof(d));
	*count = 0;
	while ((rc = store_db_due_next(v->db, v->txn, &d)) == 0) {
		rc = store_db_item(v->db, v->txn, d.key, d.key_len, &item);
		if (rc != 0 || item.expire_ms != d.expire_ms ||
		    item.vlsn != d.vlsn)
			return damaged(v, rc, "an expiry entry is of no key");
		if (++*count % CLOCK_EVERY == 0 && mono_ns() > v->deadline_ns)
			return -ETIME;
	}
	return rc == -ENOENT ? 0 : damaged(v, rc, "the tree of expiry");
}

static int
walk_slots(struct verify *v)
{
	uint64_t vlsn, found = 0;
	uint32_t slot;
	MDB_stat st;
	int rc;

	if (mdb_stat(v->txn, v->db->slots, &st) != 0)
		return damaged(v, 0, "the tree of slots");
	for (slot = 0; st.ms_entries != 0 && slot < 65536; slot++) {
		rc = store_db_slot(v->db, v->txn, slot, &vlsn);
		if (rc != 0)
			return damaged(v, rc, "slot %u", slot);
		found += vlsn != 0;
	}
	if (found != st.ms_entries)
		return damaged(v, 0, "the number of slots is wrong");
	return 0;
}

/* How many entries a database says that it has. */
static int
count_is(struct verify *v, MDB_dbi dbi, uint64_t count, const char *of)
{
	MDB_stat ms;

	if (mdb_stat(v->txn, dbi, &ms) != 0 || ms.ms_entries != count)
		return damaged(v, 0, "the number of %s is wrong", of);
	return 0;
}

/* What the next writer takes for free must be so: else it writes over it. */
static int
walk_pages(struct verify *v)
{
	int fd, rc;

	/* Somebody writes meanwhile; not at a boot. */
	if (mdb_txn_id(v->txn) != v->db->head.commits)
		return 0;
	rc = store_db_errno(mdb_env_get_fd(v->db->env, &fd));
	if (rc == 0)
		rc = find_map(v, fd);
	if (rc == 0)
		rc = store_db_marks(
		    fd, &v->db->head, v->deadline_ns, v->why, v->why_size);
	return rc;
}

static int
walk_whole(struct verify *v)
{
	struct store_state st;
	struct store_term *terms;
	struct store_item item;
	MDB_val k = store_name(STORE_EMPTY_NAME), d;
	uint64_t timed;
	size_t n;
	int rc;

	if ((rc = store_db_state(v->db, v->txn, &st)) != 0)
		return damaged(v, rc, "the state record");
	if ((rc = store_db_terms(v->db, v->txn, &terms, &n)) != 0)
		return damaged(v, rc, "the list of terms");
	free(terms);
	if ((rc = walk_pages(v)) != 0 || (rc = walk_items(v)) != 0 ||
	    (rc = count_is(v, v->db->kv, v->items, "keys")) != 0)
		return rc;
	rc = mdb_get(v->txn, v->db->meta, &k, &d);
	if (rc == 0) {
		if (store_item_decode("", 0, d.mv_data, d.mv_size, &item) != 0)
			return damaged(v, 0, "the empty key's item");
		k.mv_size = 0;
		if ((rc = verify_item(v, &k, &d)) != 0)
			return rc;
	}
	if (v->items != st.keys)
		return damaged(v, 0,
		    "%" PRIu64 " keys, but %" PRIu64 " were counted", v->items,
		    st.keys);
	if ((rc = count_is(v, v->db->chunks, v->chunks, "chunks")) != 0)
		return rc;
	if (st.format == STORE_FORMAT) {
		if ((rc = walk_due(v, &timed)) != 0)
			return rc;
		if (timed != v->timed)
			return damaged(
			    v, 0, "the number of expiry entries is wrong");
		rc = count_is(v, v->db->due, timed, "expiry entries");
		if (rc != 0)
			return rc;
	}
	return walk_slots(v);
}

/* Random places, for as long again as the walk had. */
static int
walk_random(struct verify *v, uint64_t seed)
{
	MDB_cursor *c;
	MDB_val k, d;
	int rc;

	if ((rc = mdb_cursor_open(v->txn, v->db->kv, &c)) != 0)
		return store_db_errno(rc);
	do {
		seed =
		    seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		rc = store_db_random(c, seed ^ seed >> 29, &k, &d);
		if (rc != 0)
			rc = damaged(v, rc, "the tree of keys");
		else if ((rc = verify_leaf(v, k.mv_data)) == 0)
			rc = verify_item(v, &k, &d);
	} while (rc == 0 && mono_ns() < v->deadline_ns);
	mdb_cursor_close(c);
	return rc;
}

int
store_db_verify(const struct store_db *db, uint64_t budget_ns, uint64_t seed,
    bool *whole, char *why, size_t why_size)
{
	struct verify v = { .db = db, .why = why, .why_size = why_size };
	int rc;

	*whole = true;
	why[0] = '\0';
	rc = store_db_errno(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &v.txn));
	if (rc == 0) {
		v.deadline_ns = mono_ns() + budget_ns / 2;
		rc = walk_whole(&v);
		if (rc == -ETIME) {
			*whole = false;
			v.deadline_ns += budget_ns / 2;
			rc = walk_random(&v, seed);
		}
		mdb_txn_abort(v.txn);
	}
	return rc;
}

/* What the child says; one write. */
struct report {
	int rc;
	char why[WHY_MAX];
};

static struct {
	int report; /* descriptor */
	uint64_t size; /* of data.mdb */
} child;

static void
say(int rc, const char *why)
{
	struct report r = { .rc = rc };

	snprintf(r.why, sizeof(r.why), "%s", why);
	_exit(write(child.report, &r, sizeof(r)) != sizeof(r));
}

/*
 * Is the address in the file's map, behind its end? There a damaged tree leads;
 * before it, the disk did not give the page.
 */
static bool
behind_end(uintptr_t at)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t from, to;
	uint64_t offset;
	char line[512];
	bool is = false;

	while (maps != NULL && !is && fgets(line, sizeof(line), maps) != NULL)
		is = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64,
			 &from, &to, &offset) == 3 &&
		     at >= from && at < to && at - from + offset >= child.size;
	if (maps != NULL)
		fclose(maps);
	return is;
}

/* It comes from an instruction that reads the map, in no library call. */
static void
unreadable(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	if (si->si_code > 0 && behind_end((uintptr_t)si->si_addr))
		say(-EBADMSG, "its tree leads behind the end of the file");
	say(-EIO, "");
}

static void
child_signals(void)
{
	const struct itimerval cpu = { .it_value.tv_sec = VERIFY_CPU_S };
	struct sigaction sa = { .sa_sigaction = unreadable,
		.sa_flags = SA_SIGINFO | SA_RESETHAND };

	/* A crash is the answer here, not a core file. */
	signal(SIGSEGV, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	signal(SIGVTALRM, SIG_DFL);
	sigaction(SIGBUS, &sa, NULL);
	alarm(VERIFY_MAX_S);
	setitimer(ITIMER_VIRTUAL, &cpu, NULL);
}

/* The child: LMDB wants an environment opened after the fork. */
static void
verify_child(const char *path, bool nolock, uint64_t budget_ns)
{
	struct store_db db;
	struct stat st = { 0 };
	char why[WHY_MAX];
	bool whole;
	int fd, rc;

	child_signals();
	rc = store_db_open(&db, path, nolock ? STORE_DB_NOLOCK : STORE_DB_READ,
	    0, why, sizeof(why));
	if (rc == 0 && (rc = store_db_errno(mdb_env_get_fd(db.env, &fd))) == 0)
		rc = fstat(fd, &st) == 0 ? 0 : -errno;
	child.size = (uint64_t)st.st_size;
	if (rc == 0)
		rc = store_db_verify(
		    &db, budget_ns, mono_ns(), &whole, why, sizeof(why));
	say(rc, why);
}

/* Only a crash speaks of the file. */
static int
death(int status, struct report *r)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	switch (sig) {
	case SIGSEGV:
	case SIGABRT:
	case SIGFPE:
	case SIGILL:
	case SIGVTALRM:
		snprintf(r->why, sizeof(r->why),
		    "reading its tree ends in signal %d", sig);
		return -EBADMSG;
	case SIGALRM:
		snprintf(
		    r->why, sizeof(r->why), "no end in %d s", VERIFY_MAX_S);
		return -ETIMEDOUT;
	case SIGBUS:
		return -EIO;
	default:
		/* The kernel does so when it is short of memory. */
		snprintf(r->why, sizeof(r->why),
		    "its process was killed (signal %d)", sig);
		return -ENOMEM;
	}
}

static int
verify_verdict(int status, int from, const char *path, char *why, size_t n)
{
	struct report r = { 0 };

	if (read(from, &r, sizeof(r)) != sizeof(r))
		r.rc = death(status, &r);
	if (r.rc == -EBADMSG)
		snprintf(why, n, "%s/data.mdb: damaged: %s", path, r.why);
	else if (r.rc != 0 && WIFSIGNALED(status) && r.why[0] != '\0')
		snprintf(why, n, "%s/data.mdb: read: %s", path, r.why);
	else if (r.rc != 0)
		snprintf(
		    why, n, "%s/data.mdb: read: %s", path, strerror(-r.rc));
	return r.rc;
}

static int
told(int rc, const char *path, char *why, size_t n)
{
	snprintf(why, n, "%s/data.mdb: a process to read it: %s", path,
	    strerror(-rc));
	return rc;
}

int
store_db_verify_apart(const char *path, bool nolock, uint64_t budget_ns,
    char *why, size_t why_size)
{
	int pipe_fd[2], status, rc = 0;
	pid_t pid;

	if (pipe(pipe_fd) != 0)
		return told(-errno, path, why, why_size);
	pid = fork();
	if (pid == 0) {
		child.report = pipe_fd[1];
		verify_child(path, nolock, budget_ns);
	}
	if (pid < 0)
		rc = told(-errno, path, why, why_size);
	close(pipe_fd[1]);
	while (rc == 0 && waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			rc = told(-errno, path, why, why_size);
	if (rc == 0)
		rc = verify_verdict(status, pipe_fd[0], path, why, why_size);
	close(pipe_fd[0]);
	return rc;
}
