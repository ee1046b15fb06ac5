/*
 * What LMDB believes of the pages of data.mdb: which are free, the number and
 * kind that each says it is, and in those that are read before the whole file
 * is looked at, everything. Each such bit is flipped: the look has to tell it,
 * and opening the files must not kill. Of the heads of trees, and of the keys
 * between pages, some bits may be any: what is not told must be sound for all
 * that is written later. Files of random commits are sound.
 */
#include "t/lib/no_wait.h"
#include "t/lib/store_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define PAGE     4096u
#define KEYS     400u
#define MAP      (UINT64_C(1) << 28)
#define BUDGET   (20 * NS_PER_S)
#define BITS_MAX (1u << 20)
#define WAIT_S   300
#define KEYS_MAX 200u /* bits of those between pages */
/* Under a sanitizer: some of the flips, and fewer commits. */
#ifdef __SANITIZE_ADDRESS__
#define SPARSE 16u
#define ROUNDS 30u
#else
#define SPARSE 1u
#define ROUNDS 150u
#endif

static char dir[64], file[96];
static uint64_t seed;
static uint8_t *image;
static size_t image_size;

static struct {
	struct store_db db;
	struct store_state st;
} store;

/* Bits of the file to flip, and what the child that does so has found. */
static struct {
	size_t count;
	uint32_t bit[BITS_MAX];
	size_t at, told, served, died;
	size_t unsound; /* of those that were served, and written later */
	bool writing;
	char why[256];
} * flips;

static uint32_t
dice(uint32_t n)
{
	return file_dice(&seed, n);
}

/* ---- a store ---- */

static void
open_store(void)
{
	file_store_open(&store.db, dir, MAP);
}

static void
put(MDB_txn *txn, unsigned i, uint32_t len, int64_t expire_ms)
{
	static uint8_t data[60000];
	struct store_item item = { .data = data, .len = len };
	char key[400];
	size_t n = (size_t)snprintf(key, sizeof(key), "key:%u", i);

	/* Some are long, and the empty one is among them. */
	if (i % 7 == 3)
		while (n < 250)
			key[n++] = 'k';
	if (i == 0)
		n = 0;
	/* Of one moment there may be many. */
	item.expire_ms = expire_ms;
	item.vlsn = expire_ms != 0 ? (uint64_t)expire_ms : ++store.st.vlsn;
	file_must(
	    store_db_put(&store.db, txn, &store.st, key, n, &item), "put");
}

static void
drop(MDB_txn *txn, unsigned i)
{
	char key[400];
	size_t n = (size_t)snprintf(key, sizeof(key), "key:%u", i);

	if (i % 7 == 3)
		while (n < 250)
			key[n++] = 'k';
	file_must(
	    store_db_put(&store.db, txn, &store.st, key, i == 0 ? 0 : n, NULL),
	    "del");
}

static uint32_t
some_length(void)
{
	switch (dice(12)) {
	case 0:
		return dice(60000);
	case 1:
		return 1500 + dice(3000);
	default:
		return dice(400);
	}
}

/* Runs of terms; so many have a page of their own, or more. */
static void
put_terms(MDB_txn *txn, size_t n)
{
	struct store_term *terms = calloc(n + 1, sizeof(*terms));
	size_t i;

	for (i = 0; i < n; i++)
		terms[i] = (struct store_term){ i + 1, i + 1 };
	file_must(store_db_terms_put(&store.db, txn, terms, n), "terms");
	free(terms);
}

static MDB_txn *
begin(void)
{
	MDB_txn *txn;

	file_must(mdb_txn_begin(store.db.env, NULL, 0, &txn), "begin");
	return txn;
}

static void
commit(MDB_txn *txn)
{
	store.st.format = STORE_FORMAT;
	store.st.checkpoints++;
	file_must(store_db_state_put(&store.db, txn, &store.st), "state");
	file_must(store_db_errno(mdb_txn_commit(txn)), "commit");
}

static void
random_commit(void)
{
	unsigned kind = dice(40), room = dice(8) == 0 ? KEYS : 30, i, n, key;
	MDB_txn *txn = begin();

	store_db_bound(&store.db, dice(4) == 0 ? 65536 : 0);
	if (kind == 0)
		file_must(store_db_empty(&store.db, txn, &store.st), "empty");
	if (kind < 4)
		put_terms(txn, dice(2) == 0 ? dice(900) : dice(90));
	n = kind == 5 ? 0 : dice(room);
	for (i = 0; i < n; i++) {
		key = dice(KEYS);
		if (dice(3) == 0)
			drop(txn, key);
		else
			put(txn, key, some_length(),
			    dice(2) == 0 ? 1 + (int64_t)dice(3) : 0);
		file_must(
		    store_db_slot_put(&store.db, txn, dice(65536), 1), "slot");
	}
	if (dice(10) == 0) {
		file_must(store_db_state(&store.db, txn, &store.st), "state");
		mdb_txn_abort(txn);
		file_must(
		    mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &txn), "r");
		file_must(store_db_state(&store.db, txn, &store.st), "state");
		mdb_txn_abort(txn);
		return;
	}
	commit(txn);
}

/* With everything that a file may have; free pages among those in use. */
static void
full_store(void)
{
	MDB_txn *txn;
	unsigned i, age;

	for (age = 0; age < 4; age++) {
		txn = begin();
		for (i = age; i < KEYS / 2; i += age < 2 ? 1 : 3)
			put(txn, i, i % 20 == 19 ? 9000 : 300,
			    i % 2 == 0 ? 0 : 1 + i % 50 / 49);
		for (i = 0; i < 600; i++)
			file_must(
			    store_db_slot_put(&store.db, txn, i * 7, 1), "s");
		put_terms(txn, 300);
		commit(txn);
	}
}

static void
new_store(void)
{
	memset(&store.st, 0, sizeof(store.st));
	(void)unlink(file);
	open_store();
}

/* ---- looking ---- */

static int
look_whole(char *why, size_t n)
{
	struct store_db db;
	bool whole = false;
	int rc = store_db_open(&db, dir, STORE_DB_NOLOCK, 0, why, n);

	if (rc != 0)
		return rc;
	rc = store_db_verify(&db, BUDGET, 1, &whole, why, n);
	store_db_close(&db);
	return rc == 0 && !whole ? -ETIME : rc;
}

static int
open_as(enum store_db_mode mode, char *why, size_t n)
{
	struct store_state st;
	struct store_db db;
	MDB_txn *txn;
	uint64_t used;
	int rc = store_db_open(
	    &db, dir, mode, mode == STORE_DB_WRITE ? MAP : 0, why, n);

	if (rc != 0)
		return rc;
	rc = store_db_errno(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
	if (rc == 0 && (rc = store_db_state(&db, txn, &st)) == 0)
		rc = store_db_used(&db, txn, &used);
	if (txn != NULL)
		mdb_txn_abort(txn);
	store_db_close(&db);
	return rc;
}

/* As those do who look before the whole is looked at. */
static int
look_open(char *why, size_t n)
{
	int rc = open_as(STORE_DB_NOLOCK, why, n);

	return rc != 0 ? rc : open_as(STORE_DB_WRITE, why, n);
}

/* ---- a later life ---- */

static void
drop_all(void)
{
	MDB_txn *txn = begin();
	unsigned i;

	for (i = 0; i < KEYS; i++)
		drop(txn, i);
	commit(txn);
}

static void
empty_all(void)
{
	MDB_txn *txn = begin();

	file_must(store_db_empty(&store.db, txn, &store.st), "empty");
	commit(txn);
}

/* 'e': empty it; 'd': delete what there is; else: any commit. */
static int
live(const char *steps, char *why, size_t n)
{
	MDB_txn *txn;
	int rc = 0;

	open_store();
	txn = begin();
	file_must(store_db_state(&store.db, txn, &store.st), "state");
	mdb_txn_abort(txn);
	for (; *steps != '\0' && rc == 0; steps++) {
		if (*steps == 'e')
			empty_all();
		else if (*steps == 'd')
			drop_all();
		else
			random_commit();
		rc = look_whole(why, n);
	}
	store_db_close(&store.db);
	return rc;
}

/* ---- flipping ---- */

static void
add_bit(uint32_t bit)
{
	if (flips->count < BITS_MAX && dice(SPARSE) == 0)
		flips->bit[flips->count++] = bit;
}

static void
add_bits(size_t from, size_t n)
{
	size_t bit;

	for (bit = from * 8; bit < (from + n) * 8; bit++)
		add_bit((uint32_t)bit);
}

/* Of many, some. */
static void
add_some(size_t from, size_t n)
{
	size_t bit;

	for (bit = from * 8; bit < (from + n) * 8; bit++)
		if (dice(8) == 0)
			add_bit((uint32_t)bit);
}

static void
put_image(int fd)
{
	if (ftruncate(fd, (off_t)image_size) != 0 ||
	    pwrite(fd, image, image_size, 0) != (ssize_t)image_size)
		_exit(9);
}

/* No more than so many. */
static void
thin_out(size_t count)
{
	while (flips->count > count) {
		flips->count--;
		flips->bit[dice((uint32_t)flips->count + 1)] =
		    flips->bit[flips->count];
	}
}

static void
flip(int fd, uint32_t bit, bool back)
{
	uint8_t byte = image[bit / 8];

	if (!back)
		byte ^= (uint8_t)(1u << bit % 8);
	if (pwrite(fd, &byte, 1, (off_t)(bit / 8)) != 1)
		_exit(9);
}

/* Told, or all that is written to it later is sound. */
static int
look_live(char *why, size_t n)
{
	static const char *const lives[] = { "ec", "cccde", "dc" };
	int fd, rc = look_whole(why, n);
	unsigned i;

	if (rc != 0)
		return rc;
	flips->writing = true;
	if ((fd = open(file, O_RDWR | O_CLOEXEC)) < 0)
		_exit(9);
	for (i = 0; i < NITEMS(lives) && rc == 0; i++) {
		put_image(fd);
		flip(fd, flips->bit[flips->at], false);
		rc = live(lives[i], why, n);
	}
	put_image(fd);
	close(fd);
	flips->writing = false;
	if (rc != 0 && flips->unsound++ < 20) {
		printf("# byte %u bit %u: not told; later %s\n",
		    flips->bit[flips->at] / 8, flips->bit[flips->at] % 8, why);
		fflush(stdout);
	}
	return 0;
}

/*
 * LMDB keeps the list of what a transaction has spilled, and forgets it with
 * the next one. LeakSanitizer asks for both by these names.
 */
const char *__lsan_default_suppressions(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:mdb_midl_alloc\n";
}

const char *__lsan_default_options(void);

const char *
__lsan_default_options(void)
{
	return "print_suppressions=0";
}

static void
in_child(int (*look)(char *why, size_t n))
{
	int fd = open(file, O_RDWR | O_CLOEXEC), rc;

	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	signal(SIGFPE, SIG_DFL);
	/* No reports of what is expected here. */
	if (fd < 0 || freopen("/dev/null", "w", stderr) == NULL)
		_exit(9);
	for (; flips->at < flips->count; flips->at++) {
		alarm(WAIT_S);
		flip(fd, flips->bit[flips->at], false);
		rc = look(flips->why, sizeof(flips->why));
		flip(fd, flips->bit[flips->at], true);
		if (rc == 0 && flips->served++ < 20 && look == look_whole) {
			printf("# byte %u bit %u: not told\n",
			    flips->bit[flips->at] / 8,
			    flips->bit[flips->at] % 8);
			fflush(stdout);
		}
		if (rc != 0)
			flips->told++;
	}
	_exit(0);
}

/* A look that is ended by a signal told it, too, if it is apart. */
static void
flip_all(int (*look)(char *why, size_t n))
{
	pid_t pid;
	int status, fd;

	flips->at = flips->told = flips->served = flips->died = 0;
	flips->unsound = 0;
	flips->writing = false;
	fflush(stdout);
	while (flips->at < flips->count) {
		if ((pid = fork()) == 0)
			in_child(look);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			break;
		fd = open(file, O_RDWR | O_CLOEXEC);
		if (fd < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 9))
			abort();
		put_image(fd);
		close(fd);
		flips->unsound += flips->writing;
		flips->writing = false;
		if (flips->died++ < 20)
			diag("byte %u bit %u: status %#x",
			    flips->bit[flips->at] / 8,
			    flips->bit[flips->at] % 8, status);
		flips->at++;
	}
}

static const uint8_t *
newest_meta(void)
{
	bool second = get_le64(image + PAGE + 144) > get_le64(image + 144);

	return image + second * PAGE;
}

static uint8_t *
page_at(uint64_t page)
{
	if (page >= image_size / PAGE)
		abort();
	return image + page * PAGE;
}

static unsigned
nodes(const uint8_t *page)
{
	return (get_le16(page + 12) - 16u) / 2;
}

static uint8_t *
node(uint8_t *page, unsigned i)
{
	return page + get_le16(page + 16 + (size_t)i * 2);
}

/* Of a leaf's node. */
static uint8_t *
data(uint8_t *n)
{
	return n + 8 + get_le16(n + 6);
}

/* Each list of free pages, from its count on. */
static void
each_list(void (*call)(uint8_t *list, void *arg), void *arg)
{
	uint8_t *page = page_at(get_le64(newest_meta() + 80)), *n;
	unsigned i;

	if (get_le16(newest_meta() + 46) != 1)
		abort();
	for (i = 0; i < nodes(page); i++) {
		n = node(page, i);
		call((get_le16(n + 4) & 1) != 0
			 ? page_at(get_le64(data(n))) + 16
			 : data(n),
		    arg);
	}
}

static void
add_list(uint8_t *list, void *arg)
{
	(void)arg;
	add_bits((size_t)(list - image) + 8, get_le64(list) * 8);
}

static void
mark_list(uint8_t *list, void *arg)
{
	bool *is_free = arg;
	uint64_t i;

	for (i = 1; i <= get_le64(list); i++)
		is_free[get_le64(list + i * 8)] = true;
}

static void
verdict_told(const char *what)
{
	diag("%s: %zu told, %zu by a signal, of %zu", what,
	    flips->told + flips->died, flips->died, flips->count);
	ok(flips->count > 0, "%s", what);
	is_u64(flips->served, 0, "each flip is told");
}

/*
 * A page is free and in use, or neither, or another: the next writer would
 * write over what is in use.
 */
static void
test_free(void)
{
	flips->count = 0;
	each_list(add_list, NULL);
	flip_all(look_whole);
	verdict_told("numbers of free pages");
	is_u64(flips->died, 0, "nobody dies of them");
}

/* Of each node, where it is and how long; of one of a page of nodes, that. */
static void
add_nodes(uint64_t number)
{
	uint8_t *p = page_at(number), *n;
	unsigned i;

	for (i = 0; i < nodes(p); i++) {
		n = node(p, i);
		add_some(number * PAGE + 16 + 2u * i, 2);
		add_some((size_t)(n - image), 8);
		if (get_le16(p + 10) == 2 && get_le16(n + 4) == 4)
			add_some((size_t)(data(n) - image) + 10, 6);
	}
}

/* What LMDB frees is the number that stands in a page, and so many of them. */
static void
test_heads(void)
{
	uint64_t pages = image_size / PAGE, i;
	bool *is_free = calloc(get_le64(newest_meta() + 136) + 1, 1);
	unsigned kinds[5] = { 0 }, flags;
	const uint8_t *p;

	each_list(mark_list, is_free);
	flips->count = 0;
	for (i = 2; i < pages; i++) {
		p = page_at(i);
		flags = get_le16(p + 10);
		/* It may be one of several of a value. */
		if (is_free[i] || get_le64(p) != i ||
		    (flags != 1 && flags != 2 && flags != 4))
			continue;
		kinds[flags]++;
		add_bits(i * PAGE, 8);
		add_bits(i * PAGE + 10, 6);
		if (flags != 4)
			add_nodes(i);
	}
	free(is_free);
	flip_all(look_whole);
	diag("%u branches, %u leaves, %u values", kinds[1], kinds[2], kinds[4]);
	ok(kinds[1] > 0 && kinds[2] > 0 && kinds[4] > 0, "pages of all kinds");
	verdict_told("heads of pages");
}

/* Of what is used of a page of nodes. */
static void
add_page(uint64_t number)
{
	const uint8_t *p = page_at(number);
	uint16_t lower = get_le16(p + 12), upper = get_le16(p + 14);

	add_bits(number * PAGE, lower);
	add_bits(number * PAGE + upper, PAGE - upper);
}

/* Each database's first page, and all of "meta"; "kv" and others: their head.
 */
static void
add_databases(void)
{
	uint8_t *names = page_at(get_le64(newest_meta() + 128)), *n;
	uint64_t root;
	unsigned i, j;

	for (i = 0; i < nodes(names); i++) {
		n = node(names, i);
		root = get_le64(data(n) + 40);
		if (root == UINT64_MAX)
			continue;
		if (get_le16(n + 6) != 4 || memcmp(n + 8, "meta", 4) != 0) {
			add_bits(root * PAGE, 16 + 2u * nodes(page_at(root)));
			continue;
		}
		add_page(root);
		for (j = 0;
		     get_le16(data(n) + 6) == 2 && j < nodes(page_at(root));
		     j++)
			add_page(get_le32(node(page_at(root), j)));
	}
}

/* What is read by those who open the files. */
static void
test_opens(const char *what)
{
	flips->count = 0;
	add_page(get_le64(newest_meta() + 128));
	add_page(get_le64(newest_meta() + 80));
	add_databases();
	flip_all(look_open);
	diag("%s: %zu harmless, %zu told, of %zu", what, flips->served,
	    flips->told, flips->count);
	ok(flips->told > 0, "%s: some are told", what);
	is_u64(flips->died, 0, "nobody dies of it");
}

/* ---- trees ---- */

/* Of a tree's head: all but the first four bytes, which nobody reads. */
static void
add_tree(const uint8_t *tree)
{
	size_t at = (size_t)(tree - image), i;

	add_bits(at + 4, 4);
	for (i = 8; i < 48; i += 8) {
		add_bits(at + i, 2);
		add_some(at + i + 2, 6);
	}
}

/* Each page of a tree; `height` levels from this one on. */
static void
each_page(uint64_t number, unsigned height,
    void (*call)(uint8_t *page, unsigned height))
{
	uint8_t *page = page_at(number), *n;
	unsigned i;

	call(page, height);
	for (i = 0; height > 1 && i < nodes(page); i++) {
		n = node(page, i);
		each_page(get_le32(n), height - 1, call);
	}
}

/* Keys between pages. */
static void
add_keys(uint8_t *page, unsigned height)
{
	unsigned i;

	for (i = 0; height > 1 && i < nodes(page); i++)
		add_bits((size_t)(node(page, i) - image) + 8,
		    get_le16(node(page, i) + 6));
}

static void
add_subtrees(uint8_t *page, unsigned height)
{
	unsigned i;

	for (i = 0; height == 1 && i < nodes(page); i++)
		if ((get_le16(node(page, i) + 4) & 2) != 0)
			add_tree(data(node(page, i)));
}

static void
add_subtree_keys(uint8_t *page, unsigned height)
{
	const uint8_t *tree;
	unsigned i;

	for (i = 0; height == 1 && i < nodes(page); i++) {
		tree = data(node(page, i));
		if ((get_le16(node(page, i) + 4) & 2) != 0)
			each_page(
			    get_le64(tree + 40), get_le16(tree + 6), add_keys);
	}
}

static void
each_page_of(const uint8_t *tree, void (*call)(uint8_t *page, unsigned height))
{
	if (get_le64(tree + 40) != UINT64_MAX)
		each_page(get_le64(tree + 40), get_le16(tree + 6), call);
}

/* The head of a database. */
static uint8_t *
database(const char *name)
{
	uint8_t *names = page_at(get_le64(newest_meta() + 128)), *n;
	unsigned i;

	for (i = 0; i < nodes(names); i++) {
		n = node(names, i);
		if (get_le16(n + 6) == strlen(name) &&
		    memcmp(n + 8, name, strlen(name)) == 0)
			return data(n);
	}
	abort();
}

static void
verdict_lived(const char *what)
{
	diag("%s: %zu told, %zu harmless, of %zu", what,
	    flips->told + flips->died, flips->served, flips->count);
	ok(flips->told > 0, "%s: some are told", what);
	is_u64(flips->unsound, 0, "what is not told is sound later");
}

static const char *const db_names[] = { "chunks", "due", "kv", "meta",
	"slots" };

/* What a tree says of its pages has LMDB take them for long values, or none. */
static void
test_tree_heads(void)
{
	size_t i;

	flips->count = 0;
	add_tree(newest_meta() + 40);
	add_tree(newest_meta() + 88);
	for (i = 0; i < NITEMS(db_names); i++)
		add_tree(database(db_names[i]));
	flip_all(look_live);
	verdict_lived("heads of trees");
	flips->count = 0;
	each_page_of(database("due"), add_subtrees);
	ok(SPARSE > 1 || flips->count > 0, "some keys of \"due\" have a tree");
	flip_all(look_live);
	verdict_lived("heads of the trees of one moment");
}

/* Led by these keys a look-up misses what a walk meets. */
static void
test_keys_between(void)
{
	size_t i;

	flips->count = 0;
	each_page_of(newest_meta() + 40, add_keys);
	flip_all(look_live);
	verdict_lived("keys between pages of free ones");
	flips->count = 0;
	for (i = 0; i < NITEMS(db_names); i++)
		each_page_of(database(db_names[i]), add_keys);
	each_page_of(database("due"), add_subtree_keys);
	thin_out(KEYS_MAX / SPARSE);
	flip_all(look_live);
	verdict_lived("keys between pages of databases");
}

/* Each frees a few pages: so the file stays short. */
static void
small_commits(unsigned count)
{
	MDB_txn *txn;
	unsigned i;

	for (i = 0; i < count; i++) {
		txn = begin();
		put(txn, dice(KEYS), 40, i % 20);
		commit(txn);
	}
	file_image(file, &image, &image_size);
}

/* A reader keeps what was freed from being taken: the lists get many. */
static void
deep_store(void)
{
	MDB_txn *reader, *txn = begin();
	unsigned i;

	for (i = 0; i < KEYS; i++)
		put(txn, i, i % 40 == 0 ? 9000 : 30, 1000 + i);
	commit(txn);
	file_must(mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &reader), "r");
	do
		small_commits(10);
	while (get_le16(newest_meta() + 46) < 2 ||
	       nodes(page_at(get_le64(newest_meta() + 80))) < 4);
	mdb_txn_abort(reader);
}

static void
test_deep(void)
{
	new_store();
	deep_store();
	store_db_close(&store.db);
	file_image(file, &image, &image_size);
	ok(get_le16(newest_meta() + 46) == 2, "the tree of free pages is deep");
	ok(get_le16(database("due") + 6) > 1, "and so is \"due\"");
	test_keys_between();
}

/* A leaf of one entry as a branch: LMDB asserts that it has more. */
static void
test_small(void)
{
	MDB_txn *txn;

	new_store();
	txn = begin();
	put(txn, 1, 10, 0);
	commit(txn);
	store_db_close(&store.db);
	file_image(file, &image, &image_size);
	test_opens("a store of one key");
}

/* An empty key's item, and terms, that do not fit one page with the state. */
static void
test_deep_meta(void)
{
	MDB_txn *txn;

	new_store();
	txn = begin();
	put(txn, 0, 1990, 0);
	put_terms(txn, 125);
	put(txn, 1, 10, 0);
	commit(txn);
	store_db_close(&store.db);
	file_image(file, &image, &image_size);
	test_opens("a store with a deep \"meta\"");
}

/* ---- sound ones ---- */

static void
test_sound(unsigned rounds)
{
	unsigned i, bad = 0;
	char why[256];
	int rc;

	new_store();
	for (i = 0; i < rounds; i++) {
		random_commit();
		rc = store_db_verify_apart(dir, true, BUDGET, why, sizeof(why));
		if (rc != 0 && bad++ < 5)
			diag("commit %u: %d %s", i, rc, why);
	}
	diag("%u random commits", rounds);
	is_u64(bad, 0, "files of random commits are sound");
	store_db_close(&store.db);
}

/* Without time nothing is told; with some of it what is known until then. */
static void
test_no_time(void)
{
	struct store_head head;
	uint64_t ns;
	char why[256] = "";
	int rc = -ETIME;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	file_must(store_db_head(dir, &head, why, sizeof(why)), why);
	is_i64(
	    store_db_marks(fd, &head, 0, why, sizeof(why)), -ETIME, "no time");
	is_i64(store_db_marks(fd, &head, mono_ns() + BUDGET, why, sizeof(why)),
	    0, "time");
	for (ns = 1000; rc == -ETIME; ns += ns / 8)
		rc =
		    store_db_marks(fd, &head, mono_ns() + ns, why, sizeof(why));
	is_i64(rc, 0, "what was not read is not judged");
	close(fd);
}

int
main(void)
{
	const char *env = getenv("SEED"), *rounds = getenv("ROUNDS");

	seed = env != NULL ? strtoull(env, NULL, 10) : (uint64_t)time(NULL);
	diag("SEED=%" PRIu64, seed);
	flips = mmap(NULL, sizeof(*flips), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(dir, sizeof(dir), "/dev/shm/pages.XXXXXX");
	if (flips == MAP_FAILED || mkdtemp(dir) == NULL)
		abort();
	snprintf(file, sizeof(file), "%s/data.mdb", dir);
	test_sound(
	    rounds != NULL ? (unsigned)strtoul(rounds, NULL, 10) : ROUNDS);
	new_store();
	full_store();
	store_db_close(&store.db);
	file_image(file, &image, &image_size);
	test_no_time();
	test_free();
	test_heads();
	test_tree_heads();
	test_opens("a store");
	test_small();
	test_deep_meta();
	test_deep();
	free(image);
	unlink(file);
	snprintf(file, sizeof(file), "%s/lock.mdb", dir);
	unlink(file);
	rmdir(dir);
	return tap_done();
}
