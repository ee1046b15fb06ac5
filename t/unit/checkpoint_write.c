/*
 * Checkpoints: what is in them, that one which is killed at any moment leaves
 * the one before, that a full map or disk is survived, and that a flipped bit
 * in the file is found or harmless (seed printed).
 */
#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/kv/store_db_int.h"
#include "t/lib/format1.h"
#include "t/lib/store_rig.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

#define MIB (1u << 20)

static unsigned seed;

static unsigned
dice(unsigned sides)
{
	return (unsigned)rand_r(&seed) % sides;
}

static void
cycle(struct rig *g)
{
	rig_must(rig_freeze(g));
	rig_must(rig_checkpoint(g));
}

static void
set_at(struct rig *g, const char *key, const char *value, int64_t expire_ms)
{
	struct op_arg argv[] = { { (const uint8_t *)key,
				     (uint32_t)strlen(key) },
		{ (const uint8_t *)value, (uint32_t)strlen(value) } };

	rig_must(rig_op(g, OP_SET, 0, expire_ms, 2, argv));
}

static void
test_content(void)
{
	struct store_due e = { 0 };
	struct store_term *terms;
	struct store_state st;
	struct rig g;
	size_t n;

	rig_open(&g, 8 * MIB);
	st = rig_state(&g);
	ok(st.vlsn == 0 && st.keys == 0, "new files: VLSN 0, no keys");
	rig_must(table_ensure(&g.w, 4096));
	table_term(&g.w, 1, 3);
	set_at(&g, "a", "1", 0);
	set_at(&g, "late", "1", 2000000);
	set_at(&g, "soon", "1", 1500000);
	set_at(&g, "soon2", "1", 1500000);
	rig_must(table_ensure(&g.w, 4096));
	table_term(&g.w, 5, 4);
	rig_set(&g, "b", "1");
	cycle(&g);
	st = rig_state(&g);
	is_u64(st.vlsn, 5, "VLSN of the frozen table");
	is_u64(st.keys, 5, "keys");
	is_u64(st.term, 4, "term of the newest record");
	is_u64(st.checkpoints, 1, "number of the checkpoint");
	is_u64(st.group_uuid[0], 1, "group");
	rig_must(table_ensure(&g.w, 4096));
	table_term(&g.w, 6, 7);
	set_at(&g, "soon", "2", 0);
	rig_del(&g, "late");
	cycle(&g);
	rig_must(store_db_terms(&g.db, g.kv->txn, &terms, &n));
	ok(n == 3 && terms[0].term == 3 && terms[0].vlsn == 1 &&
		terms[1].term == 4 && terms[1].vlsn == 5 &&
		terms[2].term == 7 && terms[2].vlsn == 6,
	    "term runs, oldest first, over two checkpoints");
	free(terms);
	rig_must(store_db_due_next(&g.db, g.kv->txn, &e));
	ok(e.expire_ms == 1500000 && e.key_len == 5 &&
		memcmp(e.key, "soon2", 5) == 0,
	    "expiry: only what still expires");
	is_i64(store_db_due_next(&g.db, g.kv->txn, &e), -ENOENT, "no more");
	rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
	rig_set(&g, "c", "1");
	cycle(&g);
	st = rig_state(&g);
	is_u64(st.keys, 1, "FLUSHALL leaves what came after it");
	is_u64(st.flush_vlsn, st.vlsn - 1, "and its VLSN");
	rig_close(&g);
}

static size_t
op_add(uint8_t *at, uint16_t code, uint32_t argc, const char *key)
{
	struct op_arg argv[] = { { (const uint8_t *)key,
				     (uint32_t)strlen(key) },
		{ (const uint8_t *)"m", 1 } };
	size_t n = op_size(argc, argv);

	put_le32(at, (uint32_t)n);
	op_encode(at + 4, code, 0, 0, argc, argv);
	return 4 + n;
}

/* A FLUSHALL and what comes with it in one record. */
static void
flush_multi(struct rig *g)
{
	uint8_t payload[512];
	size_t n = 8;

	put_le32(payload, 4);
	put_le32(payload + 4, 0);
	n += op_add(payload + n, OP_FLUSHALL, 0, "");
	n += op_add(payload + n, OP_SET, 2, "b");
	n += op_add(payload + n, OP_SET, 2, "c");
	n += op_add(payload + n, OP_DEL, 1, "c");
	rig_must(rig_apply(g, true, payload, n));
}

static bool
has_on_disk(struct rig *g, const char *key, const char *value)
{
	struct store_item item;
	int rc = store_db_item(&g->db, g->kv->txn, key, strlen(key), &item);

	if (value == NULL)
		return rc == -ENOENT;
	return rc == 0 && item.len == strlen(value) &&
	       memcmp(item.data, value, item.len) == 0;
}

/* A frozen table that a later FLUSHALL makes void. */
static void
test_hidden(void)
{
	struct store_term *terms;
	struct store_state st;
	struct rig g;
	uint64_t at;
	size_t n;

	rig_open(&g, 8 * MIB);
	rig_set(&g, "old", "1");
	cycle(&g);
	rig_must(table_ensure(&g.w, 4096));
	table_term(&g.w, 2, 3);
	rig_set(&g, "void", "1");
	rig_must(rig_freeze(&g));
	rig_must(table_ensure(&g.w, 4096));
	table_term(&g.w, 3, 5);
	rig_set(&g, "void", "2");
	flush_multi(&g);
	at = g.vlsn;
	table_term(&g.w, at + 1, 6);
	set_at(&g, "b", "late", 0);
	set_at(&g, "d", "late", 2000000);
	rig_must(rig_checkpoint(&g));
	st = rig_state(&g);
	is_u64(st.vlsn, at, "as of the FLUSHALL that hides the frozen table");
	is_u64(st.flush_vlsn, at, "which is the newest");
	is_u64(st.keys, 1, "what its record left");
	ok(has_on_disk(&g, "b", "m"), "as its record left it");
	ok(has_on_disk(&g, "c", NULL) && has_on_disk(&g, "d", NULL) &&
		has_on_disk(&g, "old", NULL) && has_on_disk(&g, "void", NULL),
	    "and nothing else");
	is_u64(st.term, 5, "the term is that of its record");
	cycle(&g);
	st = rig_state(&g);
	ok(st.vlsn == g.vlsn && st.keys == 2 && st.term == 6,
	    "the next one has what came after it");
	ok(has_on_disk(&g, "b", "late") && has_on_disk(&g, "d", "late"),
	    "as it is now");
	rig_must(store_db_terms(&g.db, g.kv->txn, &terms, &n));
	ok(n == 3 && terms[0].term == 3 && terms[1].term == 5 &&
		terms[2].term == 6,
	    "each term run once");
	free(terms);
	rig_close(&g);
}

/* ---- the order of expiry ---- */

#define CHOSEN 600

/* Calls into LMDB; this program's function of that name comes first. */
static unsigned lmdb_calls;

int
mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *k, MDB_val *v, unsigned flags)
{
	static int (*real)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *, unsigned);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_put");
	lmdb_calls++;
	return real(txn, dbi, k, v, flags);
}

int
mdb_cursor_get(MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
	static int (*real)(MDB_cursor *, MDB_val *, MDB_val *, MDB_cursor_op);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_cursor_get");
	lmdb_calls++;
	return real(c, k, v, op);
}

/* Key i of many with one checksum; the empty one, too. */
static size_t
chosen_key(unsigned i, uint8_t key[12])
{
	static const uint8_t first[8];

	if (i == 0)
		return 0;
	put_le64(key, i);
	put_le32(key + 8, crc32c(0, key, 8) ^ crc32c(0, first, 8));
	return 12;
}

static void
chosen_put(struct rig *g, MDB_txn *txn, struct store_state *st, unsigned i,
    const struct store_item *item)
{
	uint8_t key[12];
	size_t n = chosen_key(i, key);

	rig_must(store_db_put(&g->db, txn, st, key, n, item));
}

/* The same expiry, VLSN and checksum for many keys: all are told apart. */
static void
test_same_expiry(void)
{
	struct store_item item = {
		.vlsn = 9, .expire_ms = 77, .data = (const uint8_t *)""
	};
	struct store_due d = { 0 };
	struct store_state st = { 0 };
	uint8_t key[12] = { 0 };
	struct rig g;
	MDB_txn *txn;
	unsigned i, n = 0, bad = 0;

	rig_open(&g, 8 * MIB);
	rig_must(mdb_txn_begin(g.db.env, NULL, 0, &txn));
	lmdb_calls = 0;
	for (i = 0; i < CHOSEN; i++)
		chosen_put(&g, txn, &st, i, &item);
	for (i = 1; i < CHOSEN; i += 2)
		chosen_put(&g, txn, &st, i, NULL);
	ok(lmdb_calls < 10 * CHOSEN, "%u keys of one checksum: %u calls",
	    CHOSEN, lmdb_calls);
	for (; store_db_due_next(&g.db, txn, &d) == 0; n++) {
		bad += d.expire_ms != 77 || d.vlsn != 9;
		bad += d.key_len != 0 && d.key_len != 12;
		bad += d.key_len != 0 && d.key[0] % 2 != 0;
	}
	is_u64(n, CHOSEN / 2, "half of those that expire at once are left");
	is_u64(bad, 0, "the right ones");
	chosen_put(&g, txn, &st, 0, NULL);
	memset(&d, 0, sizeof(d));
	d.expire_ms = 77;
	d.vlsn = 9;
	d.key_len = chosen_key(100, key);
	memcpy(d.key, key, sizeof(key));
	rig_must(store_db_due_next(&g.db, txn, &d));
	ok(d.key_len == 12 && memcmp(d.key, key, 12) > 0, "on from a place");
	d.expire_ms = 78;
	is_i64(store_db_due_next(&g.db, txn, &d), -ENOENT, "behind the last");
	mdb_txn_abort(txn);
	rig_close(&g);
}

/* What a look at the whole store says, as it is in txn. */
static int
verdict(struct rig *g, char why[128])
{
	bool whole;

	return store_db_verify(
	    &g->db, 60 * NS_PER_S, 1, &whole, why, sizeof(char[128]));
}

/* An entry that is missing, and one that nobody has, are found. */
static void
test_due_damage(void)
{
	uint8_t at[DUE_KEY_SIZE + 1];
	MDB_txn *txn;
	MDB_val k, v;
	struct rig g;
	char why[128];

	rig_open(&g, 8 * MIB);
	set_at(&g, "", "1", 2000000);
	set_at(&g, "a", "1", 2000000);
	set_at(&g, "b", "1", 3000000);
	cycle(&g);
	is_i64(verdict(&g, why), 0, "a sound order of expiry");
	store_due_place(at, 2000000, 1, "", 0, &k, &v);
	rig_must(mdb_txn_begin(g.db.env, NULL, 0, &txn));
	rig_must(mdb_del(txn, g.db.due, &k, &v));
	rig_must(mdb_txn_commit(txn));
	is_i64(verdict(&g, why), -EBADMSG, "one without the empty key");
	ok(strstr(why, "number of expiry") != NULL, "%s", why);
	store_due_place(at, 2000000, 1, "x", 1, &k, &v);
	rig_must(mdb_txn_begin(g.db.env, NULL, 0, &txn));
	rig_must(mdb_put(txn, g.db.due, &k, &v, 0));
	rig_must(mdb_txn_commit(txn));
	is_i64(verdict(&g, why), -EBADMSG, "one with a key that is not there");
	ok(strstr(why, "of no key") != NULL, "%s", why);
	rig_close(&g);
}

/* ---- killed ---- */

static unsigned kill_at, beats;

static void
kill_beat(void *arg)
{
	(void)arg;
	if (++beats == kill_at)
		raise(SIGKILL);
}

/* The child is checkpoint: opens the files itself, writes, dies. */
static int
killed_child(struct rig *g)
{
	struct table_gen *frozen =
	    table_gen_at(g->r.table, (atomic_load(&g->r.table->view) >> 1) - 1);
	struct checkpoint_work work;
	struct store_db db;
	uint8_t uuid[16] = { 0 };
	char why[128];

	if (store_db_open(
		&db, g->path, STORE_DB_WRITE, 1u << 30, why, sizeof(why)) != 0)
		return 1;
	if (checkpoint_write(
		&db, g->r.table, frozen, uuid, kill_beat, NULL, &work) != 0)
		return 2;
	store_db_close(&db);
	return 0;
}

static void
fill(struct rig *g, unsigned keys, unsigned round)
{
	char key[32], value[32];
	unsigned i;

	for (i = 0; i < keys; i++) {
		snprintf(key, sizeof(key), "key:%u", i * 7919 % keys);
		snprintf(value, sizeof(value), "%u.%u", round, i);
		rig_must(rig_set(g, key, value));
	}
}

/* What a new process finds: state, and a whole that verifies. */
static int
look_apart(struct rig *g, uint64_t *vlsn)
{
	uint64_t *found = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
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
		store_db_close(&db);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	*vlsn = *found;
	munmap(found, 4096);
	return status;
}

/*
 * kill -9 at each heartbeat, through collecting, writing, flushing: the
 * checkpoint before stays, whole, until the new one is. Then the next process
 * does it.
 */
static void
test_killed(void)
{
	struct rig g;
	uint64_t vlsn, before, killed = 0, bad = 0;
	unsigned n;
	int status;
	pid_t pid;

	rig_open(&g, 8 * MIB);
	fill(&g, 3000, 1);
	cycle(&g);
	before = g.vlsn;
	/* The environment is the children's from here on. */
	rig_kv_close(g.kv);
	g.kv = NULL;
	store_db_close(&g.db);
	g.apply.kv = NULL;
	for (n = 0; n < 3000; n++) {
		struct table_place at;
		struct table_entry *e;
		uint8_t *to;
		char key[32];
		size_t len =
		    (size_t)snprintf(key, sizeof(key), "key:%u", n * 2);

		rig_must(table_ensure(&g.w, 4096));
		rig_must(
		    table_ensure_bucket(&g.w, table_hash(g.r.table, key, len)));
		table_locate(
		    &g.w, key, len, table_hash(g.r.table, key, len), &at);
		e = table_add(&g.w, key, len, 3000, before + 1, 0, 0, &to);
		memset(to, 'x', 3000);
		table_publish(&g.w, e, &at);
	}
	table_commit(&g.w, before + 1, 1);
	table_freeze(&g.w);
	for (kill_at = 1;; kill_at += kill_at < 8 ? 1 : 5) {
		beats = 0;
		if ((pid = fork()) == 0)
			_exit(killed_child(&g));
		waitpid(pid, &status, 0);
		if (WIFEXITED(status))
			break;
		killed++;
		bad += look_apart(&g, &vlsn) != 0;
		/* Beats come before the meta page is written, never after. */
		bad += vlsn != before;
	}
	is_i64(WEXITSTATUS(status), 0, "at last one is let live");
	is_i64(look_apart(&g, &vlsn), 0, "and verifies as a whole");
	is_u64(vlsn, before + 1, "with the new VLSN");
	is_u64(bad, 0, "every kill left the checkpoint before");
	ok(killed > 10, "killed %ju times", (uintmax_t)killed);
	rig_close(&g);
}

/* ---- the format before ---- */

#define DUE_KEYS 9000

/* Sum over the order of expiry; 0 if it is not in order. */
static uint64_t
due_sum(const char *path)
{
	struct store_due d = { 0 };
	struct store_db db;
	uint64_t sum = 1;
	int64_t last = 0;
	char why[128];
	MDB_txn *txn;

	rig_must(
	    store_db_open(&db, path, STORE_DB_NOLOCK, 0, why, sizeof(why)));
	rig_must(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
	while (store_db_due_next(&db, txn, &d) == 0) {
		sum = sum * 31 + (uint64_t)d.expire_ms * 7 + d.vlsn +
		      crc32c(0, d.key, d.key_len);
		if (d.expire_ms < last)
			sum = 0;
		last = d.expire_ms;
	}
	mdb_txn_abort(txn);
	store_db_close(&db);
	return sum;
}

static void
convert_step(void *arg, uint64_t done, uint64_t all)
{
	(void)done;
	(void)all;
	kill_beat(arg);
}

static int
convert_child(const char *path)
{
	struct store_db db;
	char why[128];
	int fd, rc;

	if (store_db_open(
		&db, path, STORE_DB_WRITE, 1u << 30, why, sizeof(why)) != 0)
		return 1;
	db.memory = MIB / 16;
	mdb_env_get_fd(db.env, &fd);
	checkpoint_pace(fd, kill_beat, NULL);
	rc = store_db_convert(&db, convert_step, NULL);
	checkpoint_pace_end();
	store_db_close(&db);
	return rc == 0 ? 0 : 2;
}

static uint32_t
format_of(const char *path, uint64_t *keys)
{
	struct store_state st;
	struct store_db db;
	char why[128];
	MDB_txn *txn;

	rig_must(
	    store_db_open(&db, path, STORE_DB_NOLOCK, 0, why, sizeof(why)));
	rig_must(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
	rig_must(store_db_state(&db, txn, &st));
	mdb_txn_abort(txn);
	store_db_close(&db);
	*keys = st.keys;
	return st.format;
}

/* Keys that are due at many times, many of them at the same. */
static void
fill_due(struct rig *g)
{
	struct store_item item = { .data = (const uint8_t *)"v", .len = 1 };
	struct store_state st = rig_state(g);
	MDB_txn *txn;
	unsigned i;

	rig_must(mdb_txn_begin(g->db.env, NULL, 0, &txn));
	for (i = 0; i < DUE_KEYS; i++) {
		item.vlsn = i % 3 == 0 ? 7 : i;
		item.expire_ms = i % 3 == 0 ? 5000 : 1000 + i * 7919 % 9000;
		chosen_put(g, txn, &st, i, &item);
	}
	st.vlsn = DUE_KEYS;
	rig_must(store_db_state_put(&g->db, txn, &st));
	rig_must(mdb_txn_commit(txn));
}

/*
 * A store of format 1 is served as it is, or becomes one of format 2: killed
 * anywhere it is still the one or already the other, whole.
 */
static void
test_convert(void)
{
	struct rig g;
	uint64_t keys, sum, killed = 0, bad = 0, vlsn;
	char why[256];
	int status;
	pid_t pid;

	rig_open(&g, 8 * MIB);
	fill_due(&g);
	rig_must(format1_make(&g.db));
	kv_end(g.kv);
	rig_kv_close(g.kv);
	g.kv = NULL;
	store_db_close(&g.db);
	is_u64(format_of(g.path, &keys), 1, "as the release before wrote it");
	is_u64(keys, DUE_KEYS, "with its keys");
	is_i64(store_db_verify_apart(
		   g.path, true, 60 * NS_PER_S, why, sizeof(why)),
	    0, "which verifies");
	for (kill_at = 1;; kill_at++) {
		beats = 0;
		if ((pid = fork()) == 0)
			_exit(convert_child(g.path));
		waitpid(pid, &status, 0);
		if (WIFEXITED(status))
			break;
		killed++;
		/* Beats come before the meta page is written, never after. */
		bad += format_of(g.path, &keys) != 1;
		if (kill_at % 4 == 0)
			bad += look_apart(&g, &vlsn) != 0 || vlsn != DUE_KEYS;
	}
	is_i64(WEXITSTATUS(status), 0, "converted");
	kill_at = 0;
	ok(killed > 8 && bad == 0, "killed %ju times before, and intact",
	    (uintmax_t)killed);
	is_u64(format_of(g.path, &keys), 2, "the present format");
	is_i64(look_apart(&g, &vlsn), 0, "all of it verifies");
	sum = due_sum(g.path);
	rig_must(store_db_open(
	    &g.db, g.path, STORE_DB_WRITE, 1u << 30, why, sizeof(why)));
	rig_must(format1_make(&g.db));
	store_db_close(&g.db);
	/* Apart: LMDB before 0.9.25 leaks where it has spilled. */
	if ((pid = fork()) == 0)
		_exit(convert_child(g.path));
	waitpid(pid, &status, 0);
	is_i64(status, 0, "there and back again");
	ok(sum != 0 && due_sum(g.path) == sum, "the same, in order");
	rig_close(&g);
}

/* ---- memory ---- */

#define SMALL_MEMORY (4 * MIB)

/* Private memory of this process in bytes. */
static uint64_t
memory_now(void)
{
#ifdef __SANITIZE_ADDRESS__
	return __sanitizer_get_current_allocated_bytes();
#else
	unsigned long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return (uint64_t)kib * 1024;
#endif
}

static void
peak_beat(void *arg)
{
	uint64_t now = memory_now(), *peak = arg;

	if (now > *peak)
		*peak = now;
}

static int
small_child(struct rig *g, uint64_t memory, uint64_t *peak)
{
	struct table_gen *frozen =
	    table_gen_at(g->r.table, (atomic_load(&g->r.table->view) >> 1) - 1);
	struct checkpoint_work work;
	uint8_t uuid[16] = { 0 };
	struct store_db db;
	char why[128];
	uint64_t before;
	int rc;

	if (store_db_open(
		&db, g->path, STORE_DB_WRITE, 1u << 30, why, sizeof(why)) != 0)
		return 1;
	db.memory = memory;
	*peak = before = memory_now();
	rc = checkpoint_write(
	    &db, g->r.table, frozen, uuid, peak_beat, peak, &work);
	*peak -= before;
	store_db_close(&db);
	return rc == 0 ? 0 : 2;
}

/* One checkpoint by a child with little memory; the most that it took. */
static uint64_t
small_cycle(struct rig *g, uint64_t memory)
{
	struct table_gen *frozen;
	uint64_t *peak = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t took, vlsn;
	char why[128];
	int status;
	pid_t pid;

	rig_must(rig_freeze(g));
	frozen =
	    table_gen_at(g->r.table, (atomic_load(&g->r.table->view) >> 1) - 1);
	kv_end(g->kv);
	rig_kv_close(g->kv);
	store_db_close(&g->db);
	if ((pid = fork()) == 0)
		_exit(small_child(g, memory, peak));
	waitpid(pid, &status, 0);
	is_i64(status, 0, "written");
	is_i64(look_apart(g, &vlsn), 0, "all of it verifies");
	is_u64(vlsn, g->vlsn, "with its VLSN");
	took = *peak;
	munmap(peak, 4096);
	rig_must(store_db_open(
	    &g->db, g->path, STORE_DB_WRITE, 1u << 30, why, sizeof(why)));
	g->kv = rig_kv(g, SLOT_STORE);
	kv_set_writer(g->kv, &g->w);
	g->apply.kv = g->kv;
	rig_must(kv_begin(g->kv));
	table_drop(&g->w);
	rig_must(kv_renew(g->kv));
	ok(table_leave(&g->w), "nobody is in it");
	rig_must(table_clean(g->r.table, frozen));
	return took;
}

/* `keys` of them over all places of the tree, and values in chunks. */
static void
fill_large(struct rig *g, unsigned keys, unsigned round)
{
	static char value[2 * MIB];
	char key[32];
	struct op_arg argv[2] = { { (const uint8_t *)key, 0 },
		{ (const uint8_t *)value, 0 } };
	unsigned i;

	memset(value, 'a' + (int)round, sizeof(value));
	for (i = 0; i < keys + 4; i++) {
		argv[0].len = (uint32_t)snprintf(key, sizeof(key), "%s:%u",
		    i < keys ? "key" : "large", i * 7919 % (keys + 4));
		argv[1].len = i < keys ? 1500 : sizeof(value);
		if (i >= keys && round > 1)
			rig_must(rig_op(g, OP_DEL, 0, 0, 1, argv));
		else
			rig_must(rig_op(g, OP_SET, 0,
			    g->now_ms + 1000000 + i * 7919 % 5000, 2, argv));
	}
}

/*
 * Each of these changes ten times as much as the memory that it may take:
 * values, values in chunks that come and go, the order of expiry, FLUSHALL.
 */
static void
test_memory(void)
{
	const unsigned keys = 12000;
	struct store_state st;
	struct rig g;
	unsigned round;
	uint64_t peak;

	rig_open(&g, 64 * MIB);
	for (round = 0; round < 4; round++) {
		if (round == 3)
			rig_must(rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL));
		fill_large(&g, keys, round);
		peak = small_cycle(&g, SMALL_MEMORY);
		st = rig_state(&g);
		is_u64(st.keys, keys + (round < 2 ? 4 : 0), "every key");
		ok(peak <= SMALL_MEMORY + MIB / 2, "round %u: %ju KiB", round,
		    (uintmax_t)(peak / 1024));
	}
	/* So little that the keys are sorted a thousand at a time. */
	fill_large(&g, keys, round);
	small_cycle(&g, MIB / 64);
	st = rig_state(&g);
	is_u64(st.keys, keys, "every key, collected in twelve rounds");
	rig_close(&g);
}

/* Done already: only the telling was missing. */
static void
test_again(void)
{
	struct checkpoint_work work;
	struct store_state st;
	struct table_gen *frozen;
	uint8_t uuid[16] = { 0 };
	struct rig g;

	rig_open(&g, 8 * MIB);
	rig_set(&g, "a", "1");
	rig_freeze(&g);
	frozen = &g.r.table->gen[1];
	rig_must(checkpoint_write(
	    &g.db, g.r.table, frozen, uuid, NULL, NULL, &work));
	is_u64(work.keys, 1, "one key written");
	rig_must(checkpoint_write(
	    &g.db, g.r.table, frozen, uuid, NULL, NULL, &work));
	is_u64(work.keys, 0, "the second time there is nothing to do");
	is_u64(work.vlsn, 1, "but its VLSN is told");
	rig_must(kv_renew(g.kv));
	st = rig_state(&g);
	is_u64(st.checkpoints, 1, "one checkpoint");
	rig_close(&g);
}

/* ---- full ---- */

static void
test_map_full(void)
{
	struct rig g;
	struct store_state st;
	char *big = malloc(MIB);
	struct op_arg argv[] = { { (const uint8_t *)"big", 3 },
		{ (const uint8_t *)big, MIB } };
	struct kv_item item;

	rig_open(&g, 8 * MIB);
	memset(big, 'x', MIB);
	rig_set(&g, "small", "1");
	cycle(&g);
	/* LMDB lets the owner of the only environment shrink it. */
	rig_kv_close(g.kv);
	rig_must(mdb_env_set_mapsize(g.db.env, 256 * 1024));
	g.kv = rig_kv(&g, SLOT_STORE);
	kv_set_writer(g.kv, &g.w);
	g.apply.kv = g.kv;
	rig_must(kv_begin(g.kv));
	rig_must(rig_op(&g, OP_SET, 0, 0, 2, argv));
	rig_must(rig_freeze(&g));
	is_i64(rig_checkpoint(&g), -ENOSPC, "a full map: no checkpoint");
	st = rig_state(&g);
	is_u64(st.vlsn, 1, "the one before is there");
	is_i64(kv_get(g.kv, "big", 3, 0, &item), 0, "the key is read anyway");
	kv_end(g.kv);
	rig_kv_close(g.kv);
	rig_must(mdb_env_set_mapsize(g.db.env, 64 * MIB));
	g.kv = rig_kv(&g, SLOT_STORE);
	kv_set_writer(g.kv, &g.w);
	g.apply.kv = g.kv;
	rig_must(kv_begin(g.kv));
	is_i64(rig_checkpoint(&g), 0, "with room the same table goes through");
	st = rig_state(&g);
	is_u64(st.vlsn, 2, "nothing is lost");
	free(big);
	rig_close(&g);
}

/* A limit on the file's size stands for a full disk: the write fails. */
static void
test_disk_full(void)
{
	struct rlimit old, low;
	struct rig g;
	struct stat sb;
	char file[128];
	struct store_state st;
	int rc;

	rig_open(&g, 8 * MIB);
	fill(&g, 2000, 1);
	cycle(&g);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	rig_must(stat(file, &sb));
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	low.rlim_cur = (rlim_t)sb.st_size;
	signal(SIGXFSZ, SIG_IGN);
	fill(&g, 20000, 2);
	rig_must(rig_freeze(&g));
	setrlimit(RLIMIT_FSIZE, &low);
	rc = rig_checkpoint(&g);
	setrlimit(RLIMIT_FSIZE, &old);
	ok(rc == -EFBIG, "a write that fails: no checkpoint (%s)",
	    strerror(-rc));
	st = rig_state(&g);
	is_u64(st.vlsn, 2000, "the one before is there");
	is_i64(rig_checkpoint(&g), 0, "with room it goes through");
	st = rig_state(&g);
	is_u64(st.keys, 20000, "nothing is lost");
	rig_close(&g);
}

/* ---- damage ---- */

#define FLIPS 300

/* Every value a reader is given, or an error; in a child that may die. */
static int
read_all(const char *path, unsigned keys)
{
	struct store_db db;
	struct store_item item;
	char why[128], key[32], want[4096];
	static uint8_t got[4096];
	MDB_txn *txn;
	unsigned i;
	size_t n;
	int rc, wrong = 0, errors = 0;

	rc = store_db_open(&db, path, STORE_DB_NOLOCK, 0, why, sizeof(why));
	if (rc != 0)
		return 10;
	if (mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn) != 0)
		return 10;
	for (i = 0; i < keys; i++) {
		n = (size_t)snprintf(key, sizeof(key), "key:%u", i);
		rc = store_db_item(&db, txn, key, n, &item);
		if (rc != 0) {
			/* A key that is not found is a wrong answer. */
			wrong += rc == -ENOENT;
			errors++;
			continue;
		}
		memset(want, 'a' + (int)(i % 26), sizeof(want));
		if (item.len > sizeof(got)) {
			wrong++;
		} else if (item.data != NULL) {
			wrong += memcmp(item.data, want, item.len) != 0;
		} else {
			rc = store_db_chunks(&db, txn, &item, 0, item.len, got);
			wrong += rc == 0 && memcmp(got, want, item.len) != 0;
			errors += rc != 0;
		}
	}
	return wrong != 0 ? 20 : errors != 0 ? 11 : 0;
}

static int
in_child(int (*fn)(const char *, unsigned), const char *path, unsigned keys)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		/* No reports of what is expected here. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(30);
		alarm(100);
		_exit(fn(path, keys));
	}
	waitpid(pid, &status, 0);
	return status;
}

static void
flip(const char *file, off_t at, unsigned bit)
{
	uint8_t byte;
	int fd = open(file, O_RDWR | O_CLOEXEC);

	if (fd == -1 || pread(fd, &byte, 1, at) != 1)
		abort();
	byte ^= (uint8_t)(1u << bit);
	if (pwrite(fd, &byte, 1, at) != 1)
		abort();
	close(fd);
}

/*
 * Whatever bit is flipped: either the boot's look finds it, or every answer
 * is the right one. An answer that is wrong and passed the look is a failure.
 */
static void
test_flips(void)
{
	const unsigned keys = 400;
	char file[128], key[32], why[256];
	struct rig g;
	struct stat sb;
	unsigned i, n, found = 0, harmless = 0, missed = 0, blamed = 0,
		       seen_later = 0;
	struct op_arg argv[2];
	char value[3500];
	off_t at;
	int status;

	rig_open(&g, 8 * MIB);
	for (n = 0; n < 3; n++) {
		for (i = 0; i < keys; i++) {
			argv[0].data = (const uint8_t *)key;
			argv[0].len =
			    (uint32_t)snprintf(key, sizeof(key), "key:%u", i);
			memset(value, 'a' + (int)(i % 26), sizeof(value));
			argv[1].data = (const uint8_t *)value;
			argv[1].len = i % 10 == 0 ? 3500 : 20 + i % 400;
			rig_op(&g, OP_SET, 0,
			    i % 5 == 0 ? g.now_ms + 1000000 : 0, 2, argv);
		}
		cycle(&g);
	}
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	rig_must(stat(file, &sb));
	ok(in_child(read_all, g.path, keys) == 0, "undamaged: all is right");
	is_i64(store_db_verify_apart(
		   g.path, true, 10 * NS_PER_S, why, sizeof(why)),
	    0, "and verifies");
	/* What it would map: a last page that no file has, in both metas. */
	flip(file, 141, 0);
	flip(file, 4096 + 141, 0);
	is_i64(store_db_verify_apart(
		   g.path, true, 10 * NS_PER_S, why, sizeof(why)),
	    -EBADMSG, "a wild meta page is damage");
	flip(file, 141, 0);
	flip(file, 4096 + 141, 0);
	for (n = 0; n < FLIPS; n++) {
		at = (off_t)(((uint64_t)dice(1u << 30) << 16 ^ dice(1u << 30)) %
			     (uint64_t)sb.st_size);
		/* Some in the meta pages and the pages' heads. */
		if (n % 4 == 1)
			at = (off_t)dice(2 * 4096);
		else if (n % 4 == 2)
			at = at / 4096 * 4096 + (off_t)dice(64);
		flip(file, at, n % 8);
		/* A short timer for a page tree that has become a circle. */
		status = store_db_verify_apart(
		    g.path, true, 10 * NS_PER_S, why, sizeof(why));
		if (status != 0) {
			found++;
			blamed += status != -EBADMSG;
			if (status != -EBADMSG)
				diag("flip at %jd: %s", (intmax_t)at, why);
		} else {
			status = in_child(read_all, g.path, keys);
			if (status == 0)
				harmless++;
			else if (WIFEXITED(status) && WEXITSTATUS(status) == 20)
				missed++;
			else
				seen_later++;
			if (status != 0)
				diag("byte %jd bit %u: status %#x",
				    (intmax_t)at, n % 8, status);
		}
		flip(file, at, n % 8);
	}
	diag("%u flips: %u found at boot, %u found by readers, %u harmless",
	    FLIPS, found, seen_later, harmless);
	is_u64(missed, 0, "no flipped bit gives a wrong answer");
	is_u64(blamed, 0, "what is found is damage, not the disk's fault");
	ok(found > FLIPS / 10, "flips are found");
	ok(in_child(read_all, g.path, keys) == 0, "put right: all is right");
	rig_close(&g);
}

static void
test_cut(void)
{
	struct rig g;
	struct store_db db;
	struct stat sb;
	char file[128], why[256];

	rig_open(&g, 8 * MIB);
	fill(&g, 3000, 1);
	cycle(&g);
	rig_kv_close(g.kv);
	g.kv = NULL;
	store_db_close(&g.db);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	rig_must(stat(file, &sb));
	rig_must(truncate(file, sb.st_size / 2));
	is_i64(store_db_open(&db, g.path, STORE_DB_NOLOCK, 0, why, sizeof(why)),
	    -EBADMSG, "a file cut in half is refused");
	ok(strstr(why, "data.mdb") != NULL && strstr(why, "cut") != NULL,
	    "by name: %s", why);
	rig_must(truncate(file, 100));
	ok(store_db_open(&db, g.path, STORE_DB_NOLOCK, 0, why, sizeof(why)) !=
		0,
	    "so is what is left of 100 bytes: %s", why);
	rig_must(unlink(file));
	is_i64(store_db_open(&db, g.path, STORE_DB_NOLOCK, 0, why, sizeof(why)),
	    -ENOENT, "no file is no damage");
	rig_close(&g);
}

/* What could not be looked at is no damage. */
static void
test_unread(void)
{
	struct rlimit was, few;
	struct rig g;
	char why[256];
	int fd, rc;

	rig_open(&g, 8 * MIB);
	rig_set(&g, "a", "1");
	cycle(&g);
	rig_must(getrlimit(RLIMIT_NOFILE, &was));
	fd = dup(STDERR_FILENO);
	close(fd);
	few = was;
	few.rlim_cur = (rlim_t)fd + 2; /* as many as a pipe takes */
	rig_must(setrlimit(RLIMIT_NOFILE, &few));
	rc = store_db_verify_apart(
	    g.path, true, 10 * NS_PER_S, why, sizeof(why));
	few.rlim_cur = (rlim_t)fd;
	ok(rc == -EMFILE && strstr(why, "damaged") == NULL,
	    "no descriptor for the file: %s", why);
	rig_must(setrlimit(RLIMIT_NOFILE, &few));
	rc = store_db_verify_apart(
	    g.path, true, 10 * NS_PER_S, why, sizeof(why));
	ok(rc == -EMFILE && strstr(why, "data.mdb: ") != NULL,
	    "nor for the pipe: %s", why);
	rig_must(setrlimit(RLIMIT_NOFILE, &was));
	rig_close(&g);
}

static void
step_move(void *arg)
{
	const char *const *names = arg;

	(void)rename(names[0], names[1]);
}

/* What is written counts only in the files that all have open. */
static void
test_same(void)
{
	struct rig g;
	struct store_files files;
	struct checkpoint_work work;
	char names[2][2][160], why[256];
	static const int wants[] = { -ENOENT, -EIDRM };
	static const uint8_t uuid[16] = { 1 };
	const char *move[2];
	size_t i;
	int rc;

	rig_open(&g, 8 * MIB);
	rig_set(&g, "a", "1");
	cycle(&g);
	rig_must(store_db_files(&g.db, &files));
	ok(files.data.ino != 0 && files.lock.ino != 0 &&
		files.data.ino != files.lock.ino,
	    "which files are open is known");
	rig_set(&g, "a", "2");
	rig_must(rig_freeze(&g));
	g.db.files = &files;
	for (i = 0; i < NITEMS(wants); i++) {
		snprintf(names[i][0], sizeof(names[i][0]), "%s/%s.mdb", g.path,
		    i == 0 ? "data" : "lock");
		snprintf(names[i][1], sizeof(names[i][1]), "%s/away", g.path);
		move[0] = names[i][0];
		move[1] = names[i][1];
		rc = checkpoint_write(&g.db, g.r.table,
		    &g.r.table->gen[g.w.g == g.r.table->gen], uuid, step_move,
		    move, &work);
		ok(rc == wants[i], "%s is moved before the commit", move[0]);
		is_u64(rig_state(&g).vlsn, 1, "nothing is written");
		rig_must(rename(move[1], move[0]));
	}
	g.db.files = NULL;
	rig_must(rig_checkpoint(&g));
	kv_end(g.kv);
	rig_kv_close(g.kv);
	g.kv = NULL;
	store_db_close(&g.db);
	rc = store_db_open_same(
	    &g.db, g.path, STORE_DB_WRITE, 1u << 30, &files, why, sizeof(why));
	is_i64(rc, 0, "opened by what they are");
	store_db_close(&g.db);
	for (i = 0; i < NITEMS(wants); i++) {
		rig_must(rename(names[i][0], names[i][1]));
		rc = store_db_open_same(&g.db, g.path, STORE_DB_WRITE, 1u << 30,
		    &files, why, sizeof(why));
		ok(rc == wants[i], "not there: %s", why);
		ok(access(names[i][0], F_OK) != 0, "and none is made");
		rig_must(close(open(names[i][0], O_CREAT | O_WRONLY, 0600)));
		rc = store_db_open_same(
		    &g.db, g.path, STORE_DB_READ, 0, &files, why, sizeof(why));
		ok(rc == (i == 0 ? -EREMCHG : -EIDRM), "another one: %s", why);
		rig_must(rename(names[i][1], names[i][0]));
	}
	rig_close(&g);
}

int
main(int argc, char **argv)
{
	seed = argc > 1 ? (unsigned)atoi(argv[1]) : (unsigned)mono_ns();
	diag("seed %u", seed);
	test_content();
	test_hidden();
	test_same_expiry();
	test_due_damage();
	test_again();
	test_killed();
	test_convert();
	test_memory();
	test_map_full();
	test_disk_full();
	test_unread();
	test_same();
	test_cut();
	test_flips();
	return tap_done();
}
