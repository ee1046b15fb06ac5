/*
 * The table by itself: versions of a key, chains, FLUSHALL, the life of a
 * generation, readers' pins; then one writer and readers in other processes,
 * who must see whole records only (seed printed).
 */
#include "shm/kv/table.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "shm/region.h"
#include "t/tap.h"

#define SIZE (8u << 20)

static struct table_head *
table_new(void)
{
	struct table_head *t =
	    mmap(NULL, table_region_size(SIZE), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (t == MAP_FAILED || table_region_init(t, SIZE) != 0)
		abort();
	return t;
}

static void
table_end(struct table_head *t)
{
	munmap(t, t->size);
}

static void
put(struct table_writer *w, const char *key, const char *value, uint64_t vlsn,
    unsigned flags)
{
	size_t n = strlen(key), len = strlen(value);
	struct table_place at;
	struct table_entry *e;
	uint8_t *to;

	if (table_ensure(w, 4096) != 0 ||
	    table_ensure_bucket(w, table_hash(w->t, key, n)) != 0)
		abort();
	table_locate(w, key, n, table_hash(w->t, key, n), &at);
	e = table_add(w, key, n, len, vlsn, 0, flags, &to);
	memcpy(to, value, len);
	table_publish(w, e, &at);
}

/* The value as of snap: text, "" deleted, NULL not in this generation. */
static const char *
find(struct table_head *t, uint64_t number, const char *key, uint64_t snap,
    bool *gone)
{
	static char text[256];
	const struct table_entry *e;
	int rc = table_find(t, table_gen_at(t, number), key, strlen(key),
	    table_hash(t, key, strlen(key)), snap, &e, gone);

	if (rc == -EAGAIN)
		return "again";
	if (e == NULL)
		return NULL;
	if ((table_entry_flags(e) & TABLE_TOMBSTONE) != 0)
		return "";
	snprintf(text, sizeof(text), "%.*s", (int)e->value_len,
	    table_entry_value(e));
	return text;
}

static void
test_versions(void)
{
	struct table_head *t = table_new();
	struct table_writer w;
	bool gone;

	table_writer_open(&w, t, 1);
	put(&w, "k", "one", 1, 0);
	table_commit(&w, 1, 100);
	put(&w, "k", "two", 2, 0);
	table_commit(&w, 2, 100);
	put(&w, "k", "", 3, TABLE_TOMBSTONE);
	table_commit(&w, 3, 100);
	put(&w, "k", "four", 4, 0);
	ok(find(t, 1, "k", 0, &gone) == NULL, "before the first: not there");
	is_str(find(t, 1, "k", 1, &gone), "one", "as of record 1");
	is_str(find(t, 1, "k", 2, &gone), "two", "as of record 2");
	is_str(find(t, 1, "k", 3, &gone), "", "as of record 3: deleted");
	is_str(find(t, 1, "k", 9, &gone), "four", "newest");
	ok(!gone, "nothing was flushed");
	ok(find(t, 1, "other", 9, &gone) == NULL, "another key is not there");
	table_end(t);
}

/* Many keys, several times the buckets, each findable at each version. */
static void
test_chains(void)
{
	struct table_head *t = table_new();
	struct table_writer w;
	char key[32], value[32];
	unsigned i, round, bad = 0;
	bool gone;
	const char *got;

	table_writer_open(&w, t, 1);
	for (round = 1; round <= 2; round++) {
		for (i = 0; i < 50000; i++) {
			snprintf(key, sizeof(key), "key:%u", i);
			snprintf(value, sizeof(value), "%u.%u", i, round);
			put(&w, key, value, round, 0);
		}
		table_commit(&w, round, 100);
	}
	for (round = 1; round <= 2; round++)
		for (i = 0; i < 50000; i++) {
			snprintf(key, sizeof(key), "key:%u", i);
			snprintf(value, sizeof(value), "%u.%u", i, round);
			got = find(t, 1, key, round, &gone);
			bad += got == NULL || strcmp(got, value) != 0;
		}
	is_u64(bad, 0, "50,000 keys, two versions each");
	ok(table_want_freeze(&w) == (table_used(&w) >= SIZE / 4 * 3),
	    "a freeze is wanted at three quarters");
	table_end(t);
}

static void
test_flush(void)
{
	struct table_head *t = table_new();
	struct table_writer w;
	struct table_place at;
	bool gone;

	table_writer_open(&w, t, 1);
	put(&w, "a", "one", 1, 0);
	put(&w, "b", "one", 1, 0);
	table_commit(&w, 1, 100);
	table_flush(&w, 2);
	ok(table_locate(&w, "a", 1, table_hash(t, "a", 1), &at) == NULL,
	    "the writer sees its FLUSHALL at once");
	is_str(find(t, 1, "a", 1, &gone), "one", "readers see it when whole");
	ok(!gone, "until then older places count");
	put(&w, "b", "two", 2, 0);
	table_commit(&w, 2, 100);
	ok(find(t, 1, "a", 2, &gone) == NULL && gone, "a is gone for good");
	is_str(find(t, 1, "b", 2, &gone), "two", "what came after is there");
	is_str(find(t, 1, "a", 1, &gone), "again",
	    "an older snapshot must be taken again");
	is_u64(table_slot_get(t, w.g, 77), 2, "every slot is raised");
	table_end(t);
}

static void
test_generations(void)
{
	struct table_head *t = table_new();
	struct table_reader *rd = &t->reader[SLOT_GATEWAY];
	struct table_writer w;
	struct table_gen *g1;
	bool gone;

	table_writer_open(&w, t, 1);
	g1 = w.g;
	put(&w, "k", "old", 1, 0);
	is_i64(table_slot_raise(&w, "k", 1, 1), 0, "slot raised");
	table_commit(&w, 1, 100);
	ok(table_can_freeze(&w), "the other generation is free");
	table_freeze(&w);
	is_u64(
	    atomic_load(&t->view), table_view(2, true), "1 frozen, 2 active");
	is_u64(atomic_load(&g1->vlsn), 1, "frozen as of record 1");
	is_u64(atomic_load(&g1->state), GEN_FROZEN, "for checkpoint");
	ok(!table_can_freeze(&w), "no second freeze meanwhile");
	is_str(find(t, 1, "k", 9, &gone), "old", "still found there");
	atomic_store(&rd->view, table_view(2, true) + 1);
	table_drop(&w);
	is_u64(atomic_load(&t->view), table_view(2, false), "dropped");
	ok(!table_leave(&w), "a reader is in it");
	is_str(find(t, 1, "k", 9, &gone), "old", "and finds it");
	ok(!table_can_freeze(&w), "so it is not free");
	atomic_store(&rd->view, table_view(2, false) + 1);
	ok(table_leave(&w), "a reader of the new view is not in its way");
	is_i64(table_clean(t, g1), 0, "memory given back");
	ok(find(t, 1, "k", 9, &gone) == NULL, "all zeros");
	is_u64(table_slot_get(t, g1, table_slot("k", 1)), 0, "slots, too");
	ok(table_can_freeze(&w), "free again");
	table_end(t);
}

static void
test_pins(void)
{
	struct region r;
	struct table_head *t = table_new();
	uint64_t now = mono_ns(), view = atomic_load(&t->view);

	memset(&r, 0, sizeof(r));
	r.table = t;
	atomic_store(&t->reader[9].since_ns, now);
	ok(!kv_reader_stuck(&r, 9, now + NS_PER_S, NS_PER_MS),
	    "who reads nothing is never stuck");
	atomic_store(&t->reader[9].view, view + 1);
	ok(!kv_reader_stuck(&r, 9, now + 3 * NS_PER_S, 2 * NS_PER_S),
	    "nobody waits for who hangs in the present view");
	atomic_store(&t->view, view + 2);
	ok(!kv_reader_stuck(&r, 9, now + 3 * NS_PER_S, 2 * NS_PER_S),
	    "nor in an older one that no generation leaves");
	atomic_store(
	    &table_gen_at(t, (view >> 1) + 2)->state, (uint32_t)GEN_LEAVING);
	ok(!kv_reader_stuck(&r, 9, now + NS_PER_MS, NS_PER_S), "not yet");
	ok(kv_reader_stuck(&r, 9, now + 3 * NS_PER_S, 2 * NS_PER_S),
	    "after its limit it keeps a leaving generation");
	atomic_store(&t->reader[9].view, view + 2 + 1);
	ok(!kv_reader_stuck(&r, 9, now + 3 * NS_PER_S, 2 * NS_PER_S),
	    "not from the present view, however long");
	kv_reader_died(&r, 9);
	is_u64(atomic_load(&t->reader[9].view), 0, "a dead one's pin is void");
	is_u64(atomic_load(&t->readers_died), 1, "and the store is told");
	table_end(t);
}

static void
test_special(void)
{
	struct table_head *t = table_new();
	struct table_writer w;
	const struct table_entry *e;
	uint32_t off;

	table_writer_open(&w, t, 1);
	if (table_ensure(&w, 4096) != 0)
		abort();
	table_term(&w, 5, 2);
	table_flush(&w, 6);
	table_term(&w, 9, 3);
	off = atomic_load(&w.g->special);
	e = table_at(t, w.g, off);
	ok(e != NULL && table_entry_vlsn(e) == 9 && e->expire_ms == 3,
	    "newest term first");
	e = table_at(t, w.g, e->next);
	ok(table_entry_flags(e) == TABLE_FLUSH && table_entry_vlsn(e) == 6,
	    "then the FLUSHALL");
	e = table_at(t, w.g, e->next);
	ok(e->expire_ms == 2 && e->next == 0, "then the first term");
	ok(table_at(t, w.g, 0) == NULL, "0 is no entry");
	ok(table_at(t, w.g, UINT32_MAX) == NULL, "nor is what lies beyond");
	table_end(t);
}

/* ---- one writer, readers in other processes ---- */

#define KEYS    16
#define READERS 2
#define RECORDS 30000

static void
key_name(char *to, size_t n, unsigned i)
{
	snprintf(to, n, "key%u", i);
}

/*
 * Each record writes its own number into several keys, all in one: in each
 * snapshot the sum over the keys says if a record is half there. A reader
 * takes a snapshot and reads all keys one after the other.
 */
static int
reader_run(struct table_head *t, _Atomic uint64_t *stop)
{
	char key[16];
	uint64_t snap, snaps = 0, a, b;
	const char *got;
	unsigned i;
	bool gone, again;

	while (atomic_load(stop) == 0) {
		snap = atomic_load_explicit(&t->vlsn, memory_order_acquire);
		again = false;
		a = b = 0;
		for (i = 0; i < KEYS && !again; i++) {
			key_name(key, sizeof(key), i);
			got = find(t, 1, key, snap, &gone);
			again = got != NULL && strcmp(got, "again") == 0;
			if (got == NULL || again)
				continue;
			if (i < KEYS / 2)
				a += strtoull(got, NULL, 10);
			else
				b += strtoull(got, NULL, 10);
		}
		/* The halves are always written alike. */
		if (!again && a != b)
			return 1;
		snaps++;
	}
	return snaps > 0 ? 0 : 2;
}

static void
writer_run(struct table_head *t, unsigned seed)
{
	struct table_writer w;
	char key[16], value[16];
	uint64_t vlsn;
	unsigned i, n;

	table_writer_open(&w, t, 1);
	for (vlsn = 1; vlsn <= RECORDS; vlsn++) {
		snprintf(value, sizeof(value), "%u", (unsigned)rand_r(&seed));
		n = (unsigned)rand_r(&seed) % (KEYS / 2) + 1;
		if (rand_r(&seed) % 512 == 0) {
			if (table_ensure(&w, 4096) != 0)
				abort();
			table_flush(&w, vlsn);
		}
		for (i = 0; i < n; i++) {
			key_name(key, sizeof(key), i);
			put(&w, key, value, vlsn, 0);
			key_name(key, sizeof(key), KEYS / 2 + i);
			put(&w, key, value, vlsn, 0);
		}
		table_commit(&w, vlsn, 100);
	}
}

static void
test_processes(void)
{
	unsigned seed = (unsigned)mono_ns(), i;
	struct table_head *t = table_new();
	_Atomic uint64_t *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[READERS];
	int status;

	diag("seed %u", seed);
	for (i = 0; i < READERS; i++)
		if ((pid[i] = fork()) == 0)
			_exit(reader_run(t, stop));
	writer_run(t, seed);
	atomic_store(stop, 1);
	for (i = 0; i < READERS; i++) {
		waitpid(pid[i], &status, 0);
		ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		    "reader %u saw whole records only (status %#x)", i, status);
	}
	munmap(stop, 4096);
	table_end(t);
}

#define SPARSE_SIZE (UINT64_C(256) << 20)

/* Pages of the buckets and slots of a generation that have memory. */
static unsigned
pages_taken(struct table_head *t, const struct table_gen *g)
{
	static unsigned char in[4096];
	uint64_t len = g->arena_off - g->bucket_off;
	unsigned i, n = 0;

	if (len / 4096 > sizeof(in) ||
	    mincore((uint8_t *)t + g->bucket_off, len, in) != 0)
		abort();
	for (i = 0; i < len / 4096; i++)
		n += in[i] & 1;
	return n;
}

/* Looking takes no memory: where the machine has none it would be SIGBUS. */
static void
test_sparse(void)
{
	struct table_head *t =
	    mmap(NULL, table_region_size(SPARSE_SIZE), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const struct table_entry *e;
	struct table_writer w;
	unsigned i, before, found = 0;
	char key[16];
	bool gone;

	if (t == MAP_FAILED || table_region_init(t, SPARSE_SIZE) != 0)
		abort();
	table_writer_open(&w, t, 1);
	put(&w, "one", "1", 1, 0);
	if (table_slot_raise(&w, "one", 3, 1) != 0)
		abort();
	table_commit(&w, 1, 100);
	before = pages_taken(t, w.g);
	for (i = 0; i < 10000; i++) {
		snprintf(key, sizeof(key), "none%u", i);
		table_find(t, w.g, key, strlen(key),
		    table_hash(t, key, strlen(key)), 1, &e, &gone);
		found += e != NULL;
		found += table_slot_get(t, w.g, i) == 1;
	}
	is_u64(found, table_slot("one", 3) < 10000, "only what is there");
	is_u64(pages_taken(t, w.g), before, "and no page for it");
	is_str(find(t, 1, "one", 1, &gone), "1", "the key is found");
	munmap(t, t->size);
}

int
main(void)
{
	struct table_head head = { 0 };

	is_i64(table_region_init(&head, 0), -EINVAL, "no size is refused");
	is_i64(table_region_init(&head, UINT64_C(1) << 40), -EINVAL,
	    "so is more than offsets reach");
	test_versions();
	test_chains();
	test_flush();
	test_generations();
	test_pins();
	test_special();
	test_sparse();
	test_processes();
	return tap_done();
}
