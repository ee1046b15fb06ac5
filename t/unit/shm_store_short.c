/*
 * LMDB never writes a page that one transaction took from the end of data.mdb
 * and gave up again: the file is shorter than its meta page says, and sound.
 * Commits of a real LMDB make such files; each is accepted, written to and read
 * whole. And images are cut at every page: those are accepted, and only those,
 * of which no page behind the cut is in use.
 */
#include "t/lib/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/bits.h"

#define PAGE    4096u
#define KEYS    3000u
#define MAP     (UINT64_C(1) << 28)
#define COMMITS 400u

static char dir[64], file[96];
static uint64_t seed;

/* What was written: the length of each key's value, 0 = not there. */
static uint16_t model[KEYS];

static struct {
	struct store_db db;
	struct store_state st;
	MDB_txn *pin; /* what it reads is not given to writers */
} store;

static uint32_t
dice(uint32_t n)
{
	return file_dice(&seed, n);
}

static void
open_store(void)
{
	file_store_open(&store.db, dir, MAP);
}

static void
change(MDB_txn *txn, unsigned i, uint16_t len)
{
	static uint8_t data[4096];
	struct store_item item = { .data = data, .len = len };
	char key[32];
	size_t n = (size_t)snprintf(key, sizeof(key), "key:%u", i);

	if (len == 0 && model[i] == 0)
		return;
	memset(data, 'a' + (int)(i % 26), len);
	item.vlsn = ++store.st.vlsn;
	file_must(store_db_put(&store.db, txn, &store.st, key, n,
		      len == 0 ? NULL : &item),
	    "put");
	model[i] = len;
}

/* `room` keys are changed and, of them, `gone` deleted, in one transaction. */
static void
commit(unsigned room, unsigned gone)
{
	unsigned first = dice(KEYS - room + 1), i;
	MDB_txn *txn;

	file_must(mdb_txn_begin(store.db.env, NULL, 0, &txn), "begin");
	for (i = first; i < first + room; i++)
		change(txn, i, (uint16_t)(1 + dice(900)));
	/* LMDB takes first what was given up last. */
	for (i = first + gone; i-- > first;)
		change(txn, i, 0);
	store.st.format = STORE_FORMAT;
	store.st.checkpoints++;
	file_must(store_db_state_put(&store.db, txn, &store.st), "state");
	file_must(store_db_errno(mdb_txn_commit(txn)), "commit");
}

static uint64_t
file_pages(void)
{
	struct stat sb;

	if (stat(file, &sb) != 0)
		abort();
	return (uint64_t)sb.st_size / PAGE;
}

static uint64_t
last_page(void)
{
	MDB_envinfo info;

	file_must(mdb_env_info(store.db.env, &info), "info");
	return info.me_last_pgno;
}

static int
head(char *why, size_t n)
{
	struct store_head h;

	why[0] = '\0';
	return store_db_head(dir, &h, why, n);
}

static bool
all_there(void)
{
	struct store_item item;
	MDB_txn *txn;
	char key[32];
	unsigned i;
	int rc;

	file_must(mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &txn), "begin");
	for (i = 0; i < KEYS; i++) {
		rc = store_db_item(&store.db, txn, key,
		    (size_t)snprintf(key, sizeof(key), "key:%u", i), &item);
		if (model[i] == 0 ? rc != -ENOENT
				  : rc != 0 || item.len != model[i])
			break;
	}
	mdb_txn_abort(txn);
	return i == KEYS;
}

/* Of the pages up to last: which are in a list of free ones? malloc()ed. */
static bool *
free_map(uint64_t last)
{
	bool *is = calloc(last + 1, sizeof(*is));
	MDB_cursor *c;
	MDB_val k, d;
	MDB_txn *txn;
	uint64_t i;

	file_must(mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &txn), "begin");
	file_must(mdb_cursor_open(txn, 0, &c), "cursor");
	while (mdb_cursor_get(c, &k, &d, MDB_NEXT) == 0)
		for (i = 1; i <= get_le64(d.mv_data); i++)
			is[get_le64((const uint8_t *)d.mv_data + i * 8)] = true;
	mdb_cursor_close(c);
	mdb_txn_abort(txn);
	return is;
}

/* Of the tree of free pages. */
static MDB_stat
lists(void)
{
	MDB_txn *txn;
	MDB_stat ms;

	file_must(mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &txn), "begin");
	file_must(mdb_stat(txn, 0, &ms), "stat");
	mdb_txn_abort(txn);
	return ms;
}

/*
 * Each file that LMDB leaves short; commits go on with it. Of KEYS, each takes
 * more than the one before, and gives all up again.
 */
static unsigned
test_commits(unsigned commits, unsigned room, const char *what)
{
	char why[256];
	unsigned i, some, short_ones = 0, refused = 0, unsound = 0;

	for (i = 0; i < commits; i++) {
		some = room == KEYS ? (i + 1) * room / commits : 1 + dice(room);
		commit(some, room == KEYS ? some : dice(some + 1));
		if (file_pages() > last_page())
			continue;
		short_ones++;
		if (head(why, sizeof(why)) != 0) {
			if (refused++ == 0)
				diag("commit %u: %s", i, why);
		} else if (store_db_verify_apart(dir, true, 10 * NS_PER_S, why,
			       sizeof(why)) != 0 &&
			   unsound++ == 0)
			diag("commit %u: %s", i, why);
	}
	diag("%s: %u of %u files are short", what, short_ones, commits);
	is_u64(refused, 0, "each short file is accepted");
	is_u64(unsound, 0, "and sound");
	return short_ones;
}

static void
cut(uint64_t pages)
{
	if (truncate(file, (off_t)(pages * PAGE)) != 0)
		abort();
}

static void
put(const uint8_t *image, size_t from, size_t n)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, image + from, n, (off_t)from) != (ssize_t)n)
		abort();
	close(fd);
}

static uint8_t *
take_image(uint64_t pages)
{
	uint8_t *image = malloc(pages * PAGE);
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (image == NULL || fd < 0 ||
	    pread(fd, image, pages * PAGE, 0) != (ssize_t)(pages * PAGE))
		abort();
	close(fd);
	return image;
}

/* Each bit of what the lists say of the first page that is not there. */
static void
test_lost(uint8_t *image, uint64_t pages)
{
	uint8_t number[8];
	size_t at, places = 0;
	unsigned bit, taken = 0;
	char why[256];

	put_le64(number, pages);
	put(image, 0, pages * PAGE);
	cut(pages);
	for (at = 2 * PAGE; at < pages * PAGE; at += 2) {
		if (memcmp(image + at, number, 8) != 0)
			continue;
		places++;
		for (bit = 0; bit < 64; bit++) {
			image[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
			put(image, at, 8);
			taken += head(why, sizeof(why)) == 0;
			image[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		put(image, at, 8);
	}
	/* Lists that are given up have it, too. */
	ok(places > 0 && taken <= (places - 1) * 64,
	    "what no list has is cut (%u of %zu taken)", taken, places * 64);
}

/* Cut at every page: accepted if nothing in use is behind it. */
static void
test_cuts(const char *what)
{
	uint64_t last = last_page(), pages = file_pages(), n, low;
	bool *is_free = free_map(last);
	uint8_t *image;
	char why[256];
	unsigned taken = 0, wrong = 0;

	store_db_close(&store.db);
	image = take_image(pages);
	for (low = last + 1; low > 2 && is_free[low - 1]; low--)
		;
	for (n = pages; n >= 2 && n + 20 >= low; n--) {
		cut(n);
		if (head(why, sizeof(why)) == 0) {
			taken++;
			wrong += n < low;
		} else if (n >= low || strstr(why, "cut") == NULL)
			wrong++;
	}
	diag("%s: %" PRIu64 " pages, %" PRIu64 " in the file, %" PRIu64
	     " up to the last one in use",
	    what, last + 1, pages, low);
	is_u64(wrong, 0, "cut at every page");
	is_u64(taken, pages + 1 - low, "accepted are those");
	if (low < pages)
		test_lost(image, low);
	/* The shortest of them is gone on with. */
	pages = low < pages ? low : pages;
	put(image, 0, pages * PAGE);
	cut(pages);
	open_store();
	ok(all_there(), "%s: nothing is lost", what);
	free(image);
	free(is_free);
}

static bool
last_is_free(void)
{
	uint64_t last = last_page();
	bool *is_free = free_map(last), is = is_free[last];

	free(is_free);
	return is;
}

/* Commits until the last page is free, in such lists. */
static bool
seek_free_end(unsigned room, bool branches)
{
	unsigned i;

	for (i = 0; i < COMMITS; i++) {
		if (last_is_free() &&
		    (branches ? lists().ms_depth > 1
			      : lists().ms_overflow_pages > 0))
			return true;
		commit(1 + dice(room), 0);
	}
	return false;
}

int
main(void)
{
	const char *env = getenv("SEED");
	unsigned short_ones;

	seed = env != NULL ? strtoull(env, NULL, 10) : 1;
	diag("SEED=%" PRIu64, seed);
	snprintf(dir, sizeof(dir), "/tmp/short.XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(file, sizeof(file), "%s/data.mdb", dir);
	open_store();
	short_ones = test_commits(100, KEYS, "all given up");
	short_ones += test_commits(COMMITS, 40, "few keys");
	test_cuts("few keys");
	/* A list that is longer than a page. */
	commit(KEYS - 1, 0);
	commit(KEYS - 1, KEYS - 2);
	short_ones += test_commits(20, 1000, "many keys");
	ok(seek_free_end(1000, false),
	    "a free page at the end, and a long list");
	test_cuts("many keys");
	/* More lists than one page has. */
	file_must(
	    mdb_txn_begin(store.db.env, NULL, MDB_RDONLY, &store.pin), "pin");
	short_ones += test_commits(COMMITS, 40, "beside a reader");
	mdb_txn_abort(store.pin);
	ok(seek_free_end(10, true), "a free page at the end, and branches");
	test_cuts("branches");
	short_ones += test_commits(COMMITS, 40, "behind it");
	ok(short_ones > 2, "some files were short");
	ok(all_there(), "and nothing is lost in the end");
	store_db_close(&store.db);
	unlink(file);
	snprintf(file, sizeof(file), "%s/lock.mdb", dir);
	unlink(file);
	rmdir(dir);
	return tap_done();
}
