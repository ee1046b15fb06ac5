/*
 * What LMDB believes of data.mdb without a check: each bit of both meta pages,
 * and of the page that names the databases, is flipped, alone and in both meta
 * pages. A boot must tell it as damage, having changed nothing, or serve all
 * that is there and go on writing; nothing may hang or crash.
 */
#include "t/lib/no_wait.h"
#include "t/lib/store_file.h"
#include "t/lib/store_rig.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MIB       (1u << 20)
#define KEYS      60u
#define META_FROM 10u /* what LMDB reads of a meta page begins */
#define META_USED 152u
#define META_LAST 128u /* root, last page and transaction */
#define PAGE      4096u
#define CHILD_S   20 /* longer is a hang */
/* A child with a sanitizer costs ten times: there, some of the flips. */
#ifdef __SANITIZE_ADDRESS__
#define SPARSE 12u
#else
#define SPARSE 1u
#endif

enum outcome {
	OUT_SERVED = 0,
	OUT_DAMAGE = 40,
	OUT_BLAMED, /* another error */
	OUT_WRONG, /* not what was written */
	OUT_WRITING /* what a checkpoint made of it is wrong */
};

static uint8_t *image;
static size_t image_size;
static char file[128];

static void
put_image(void)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)image_size) != 0 ||
	    pwrite(fd, image, image_size, 0) != (ssize_t)image_size)
		abort();
	close(fd);
}

static bool
is_image(void)
{
	uint8_t *now = malloc(image_size + 1);
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	bool same;

	if (now == NULL || fd < 0)
		abort();
	same = pread(fd, now, image_size + 1, 0) == (ssize_t)image_size &&
	       memcmp(now, image, image_size) == 0;
	close(fd);
	free(now);
	return same;
}

static size_t
value_len(unsigned i)
{
	return i % 10 == 0 ? 9000 : 20 + i * 7 % 400;
}

static bool
value_is(struct store_db *db, MDB_txn *txn, unsigned i, unsigned age)
{
	static uint8_t want[9000], got[9000];
	struct store_item item;
	char key[32];
	size_t n = (size_t)snprintf(key, sizeof(key), "key:%u", i);

	if (store_db_item(db, txn, key, n, &item) != 0 ||
	    item.len != value_len(i))
		return false;
	memset(want, 'a' + (int)((i + age) % 26), sizeof(want));
	if (item.data != NULL)
		return memcmp(item.data, want, item.len) == 0;
	return store_db_chunks(db, txn, &item, 0, item.len, got) == 0 &&
	       memcmp(got, want, item.len) == 0;
}

/* As the boot looks: 0, or its error. */
static int
boot_look(const char *path, bool *right, uint64_t vlsn)
{
	struct store_db db;
	struct store_state st;
	MDB_txn *txn;
	char why[256];
	unsigned i;
	int rc = store_db_open(&db, path, STORE_DB_NOLOCK, 0, why, sizeof(why));

	if (rc != 0)
		return rc;
	rc = store_db_errno(mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn));
	if (rc == 0)
		rc = store_db_state(&db, txn, &st);
	if (rc == 0)
		rc = store_db_verify_apart(
		    path, true, 10 * NS_PER_S, why, sizeof(why));
	*right = rc == 0 && st.vlsn == vlsn && st.keys == (vlsn ? KEYS : 0);
	for (i = 0; rc == 0 && i < st.keys && *right; i++)
		*right = value_is(&db, txn, i, 2);
	store_db_close(&db);
	return rc;
}

/* Two checkpoints more: each key anew, which takes the pages that are free. */
static int
write_more(const char *path)
{
	static uint8_t data[9000];
	struct store_state st;
	struct store_db db;
	struct store_item item = { .data = data };
	MDB_txn *txn;
	char key[32], why[256];
	unsigned i, age;
	int rc = store_db_open(
	    &db, path, STORE_DB_WRITE, UINT64_C(1) << 30, why, sizeof(why));

	if (rc == 0)
		rc = mdb_env_set_flags(db.env, MDB_NOSYNC, 1);
	for (age = 3; rc == 0 && age < 5; age++) {
		if ((rc = mdb_txn_begin(db.env, NULL, 0, &txn)) != 0 ||
		    (rc = store_db_state(&db, txn, &st)) != 0)
			break;
		for (i = 0; rc == 0 && i < KEYS; i++) {
			memset(data, 'a' + (int)((i + age) % 26), sizeof(data));
			item.len = (uint32_t)value_len(i);
			item.vlsn = ++st.vlsn;
			rc = store_db_put(&db, txn, &st, key,
			    (size_t)snprintf(key, sizeof(key), "key:%u", i),
			    &item);
		}
		st.format = STORE_FORMAT;
		if (rc != 0 || (rc = store_db_state_put(&db, txn, &st)) != 0 ||
		    (rc = store_db_errno(mdb_txn_commit(txn))) != 0)
			break;
	}
	rc = rc != 0 ? rc : mdb_txn_begin(db.env, NULL, MDB_RDONLY, &txn);
	for (i = 0; rc == 0 && i < KEYS; i++)
		rc = value_is(&db, txn, i, 4) ? 0 : -EILSEQ;
	if (rc == 0)
		rc = store_db_verify_apart(
		    path, true, 10 * NS_PER_S, why, sizeof(why));
	return rc;
}

static int
boot(const char *path, uint64_t vlsn)
{
	bool right = false;
	int rc = boot_look(path, &right, vlsn);

	if (rc != 0)
		return rc == -EBADMSG ? OUT_DAMAGE : OUT_BLAMED;
	if (!right)
		return OUT_WRONG;
	return write_more(path) == 0 ? OUT_SERVED : OUT_WRITING;
}

static int
in_child(const char *path, uint64_t vlsn)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		/* No reports of what is expected here. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		signal(SIGFPE, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(30);
		alarm(CHILD_S);
		_exit(boot(path, vlsn));
	}
	waitpid(pid, &status, 0);
	return status;
}

static unsigned served, told, failed;
static unsigned turn; /* of SPARSE */

/* The boot's look alone: its child may end by a signal, and so no other. */
static bool
is_told(const char *path)
{
	char why[256];

	return store_db_verify_apart(
		   path, true, 10 * NS_PER_S, why, sizeof(why)) == -EBADMSG &&
	       strstr(why, "signal") == NULL && is_image();
}

/* n places: the bit is flipped at each of them. */
static void
try_flip(
    const char *path, uint64_t vlsn, const size_t *at, unsigned n, unsigned bit)
{
	unsigned i;
	int status = 0;

	if (turn++ % SPARSE != 0)
		return;
	/* A first commit that failed looks so: there is nothing to lose. */
	if (vlsn == 0 && n == 1 && at[0] == PAGE + 144 && bit == 0)
		return;
	for (i = 0; i < n; i++)
		image[at[i]] ^= (uint8_t)(1u << bit);
	put_image();
	if (is_told(path))
		told++;
	else if ((status = in_child(path, vlsn)) == 0)
		served++;
	else if (++failed < 40)
		diag("byte %zu bit %u in %u: status %#x%s", at[0], bit, n,
		    status, is_image() ? "" : ", changed");
	for (i = 0; i < n; i++)
		image[at[i]] ^= (uint8_t)(1u << bit);
}

static void
verdict(const char *what)
{
	diag("%s: %u harmless, %u told as damage", what, served, told);
	is_u64(failed, 0, what);
	ok(told > 0, "some are told");
	served = told = failed = 0;
}

static size_t
main_root(void)
{
	bool second = get_le64(image + PAGE + 144) > get_le64(image + 144);

	return get_le64(image + second * PAGE + 128) * PAGE;
}

static void
flip_metas(const char *path, uint64_t vlsn, size_t from)
{
	size_t at[2];
	unsigned bit;

	for (at[0] = from; at[0] < 2 * PAGE; at[0]++)
		for (bit = 0; at[0] % PAGE >= from &&
			      at[0] % PAGE < META_USED && bit < 8;
		     bit++)
			try_flip(path, vlsn, at, 1, bit);
	verdict("each bit that LMDB reads of the meta pages");
}

static void
flip_both(const char *path, uint64_t vlsn)
{
	size_t at[2];
	unsigned bit;

	for (at[0] = META_LAST; at[0] < META_USED; at[0]++)
		for (bit = 0; bit < 8; bit++) {
			at[1] = at[0] + PAGE;
			try_flip(path, vlsn, at, 2, bit);
		}
	verdict("root, last page, transaction in both");
}

static void
flip_names(const char *path, uint64_t vlsn)
{
	size_t at[1], root = main_root(), upper;
	unsigned bit;

	upper = get_le16(image + root + 14);
	for (at[0] = root; at[0] < root + PAGE; at[0]++)
		for (bit = 0; bit < 8; bit++)
			/* A third of them: it is a long page. */
			if ((at[0] + bit) % 3 == 0 &&
			    (at[0] - root < get_le16(image + root + 12) ||
				at[0] - root >= upper))
				try_flip(path, vlsn, at, 1, bit);
	verdict("bits of the page with the databases' names");
}

static void
fill(struct rig *g, unsigned age)
{
	static char value[9000];
	struct op_arg argv[2];
	char key[32];
	unsigned i;

	for (i = 0; i < KEYS; i++) {
		argv[0].data = (const uint8_t *)key;
		argv[0].len = (uint32_t)snprintf(key, sizeof(key), "key:%u", i);
		memset(value, 'a' + (int)((i + age) % 26), sizeof(value));
		argv[1].data = (const uint8_t *)value;
		argv[1].len = (uint32_t)value_len(i);
		rig_op(g, OP_SET, 0, i % 5 == 0 ? g->now_ms + 1000000 : 0, 2,
		    argv);
	}
	rig_must(rig_freeze(g));
	rig_must(rig_checkpoint(g));
}

static void
close_files(struct rig *g)
{
	rig_kv_close(g->kv);
	g->kv = NULL;
	store_db_close(&g->db);
	file_image(file, &image, &image_size);
}

/* extra: checkpoints more, so that the newest is in the other page. */
static void
test_flips(unsigned extra)
{
	struct rig g;
	unsigned i;

	rig_open(&g, 8 * MIB);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	for (i = 0; i < 3 + extra; i++)
		fill(&g, i + 3 - extra < 3 ? 0 : i - extra);
	close_files(&g);
	is_i64(in_child(g.path, g.vlsn), 0, "undamaged: it boots and writes");
	put_image();
	flip_metas(g.path, g.vlsn, extra == 0 ? META_FROM : META_LAST);
	if (extra == 0) {
		flip_both(g.path, g.vlsn);
		flip_names(g.path, g.vlsn);
	}
	rig_close(&g);
}

/* Databases, and nothing in them. */
static void
test_empty(void)
{
	struct rig g;

	rig_open(&g, 8 * MIB);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	close_files(&g);
	is_i64(in_child(g.path, 0), 0, "an empty one boots and writes");
	put_image();
	flip_metas(g.path, 0, META_LAST);
	rig_close(&g);
}

static uint8_t *
newest_meta(unsigned *i)
{
	*i = get_le64(image + PAGE + 144) > get_le64(image + 144);
	return image + *i * PAGE;
}

/* Of the first transaction: a count of none, and what was there before. */
static void
add_empty_list(uint8_t *page)
{
	uint16_t lower = get_le16(page + 12), at = get_le16(page + 14) - 32;
	uint8_t *node = page + at;

	if (lower + 2 > at || get_le64(page + get_le16(page + 16) + 8) < 2)
		abort();
	memmove(page + 18, page + 16, lower - 16u);
	put_le16(page + 16, at);
	put_le16(page + 12, (uint16_t)(lower + 2));
	put_le16(page + 14, at);
	put_le32(node, 16);
	put_le16(node + 4, 0);
	put_le16(node + 6, 8);
	put_le64(node + 8, 1);
	put_le64(node + 16, 0);
	put_le64(node + 24, 2);
}

/*
 * What LMDB itself leaves: of a meta page that could not be written the old
 * transaction with the new trees; of free pages that all were taken an empty
 * list.
 */
static void
test_sound(unsigned extra)
{
	struct store_head head;
	char why[256] = "";
	uint8_t *newest, *page;
	struct rig g;
	unsigned i;

	rig_open(&g, 8 * MIB);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	for (i = 0; i < 3 + extra; i++)
		fill(&g, i + 3 - extra < 3 ? 0 : i - extra);
	close_files(&g);
	newest = newest_meta(&i);
	memcpy(image + (size_t)(1 - i) * PAGE + 40, newest + 40, 96);
	put_image();
	is_i64(in_child(g.path, g.vlsn), 0,
	    "a meta page that could not be written: the one before counts");
	file_image(file, &image, &image_size);
	newest = newest_meta(&i);
	page = image + get_le64(newest + 80) * PAGE;
	add_empty_list(page);
	put_le64(newest + 72, get_le64(newest + 72) + 1);
	put_image();
	is_i64(store_db_verify_apart(
		   g.path, true, 10 * NS_PER_S, why, sizeof(why)),
	    0, "an empty list of free pages");
	memset(image, 0, 2 * PAGE);
	rig_close(&g);

	rig_open(&g, 8 * MIB);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	close_files(&g);
	newest = newest_meta(&i);
	is_u64(get_le64(newest + 144), 1, "the first commit");
	put_le64(newest + 144, 0);
	put_le64(newest + 136, 1);
	put_image();
	is_i64(store_db_head(g.path, &head, why, sizeof(why)), 0,
	    "that could not be written: nobody has written anything");
	is_u64(head.commits, 0, "no commit");
	rig_close(&g);
}

static int
head_says(const char *path, char *why, size_t n)
{
	struct store_head head;

	why[0] = '\0';
	put_image();
	return store_db_head(path, &head, why, n);
}

/* One bit of a meta page's transaction, and the other page is the newest. */
static void
flip_txn(const char *path, unsigned meta, const char *what)
{
	uint8_t *txn = image + (size_t)meta * PAGE + 144;
	char why[256];
	int rc;

	*txn ^= 2;
	rc = head_says(path, why, sizeof(why));
	ok(rc == -EBADMSG, "%s: %s", what, why);
	*txn ^= 2;
}

/*
 * Transactions in a row stay so if the newer becomes two less, or the older two
 * more. The file of the older one had fewer pages, or its newest list is not of
 * the transaction that it says.
 */
static void
test_older(unsigned fills)
{
	uint8_t *newest, *older;
	char why[256];
	struct rig g;
	unsigned i;

	rig_open(&g, 8 * MIB);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	for (i = 0; i < fills; i++)
		fill(&g, i);
	close_files(&g);
	newest = newest_meta(&i);
	older = image + (size_t)(1 - i) * PAGE;
	ok((get_le64(newest + 144) & 2) != 0, "transaction %u",
	    (unsigned)get_le64(newest + 144));
	if (get_le64(older + 144) > 1) {
		put_le64(older + 136, get_le64(newest + 136));
		is_i64(head_says(g.path, why, sizeof(why)), 0,
		    "the older file was as long");
		if ((get_le64(older + 144) & 2) == 0)
			flip_txn(g.path, 1 - i, "the older as the newest");
	}
	put_le64(older + 136, get_le64(newest + 136) - 1);
	is_i64(head_says(g.path, why, sizeof(why)), 0,
	    "the older file was a page shorter");
	flip_txn(g.path, i, "the newest as the oldest");
	if (get_le64(older + 144) == 1) {
		put_le64(older + 136, get_le64(newest + 136));
		flip_txn(g.path, i, "the newest as none");
	}
	rig_close(&g);
}

/* A leaf's node at the end of what is there: a list of every page but root. */
static void
add_list(uint8_t *page, uint64_t key, uint64_t last, uint64_t root)
{
	uint16_t lower = get_le16(page + 12), at = get_le16(page + 14);
	uint32_t size = (uint32_t)(last - 1) * 8;
	uint8_t *node;
	uint64_t i;

	at = (uint16_t)(at - 16 - size);
	put_le16(page + lower, at);
	put_le16(page + 12, (uint16_t)(lower + 2));
	put_le16(page + 14, at);
	node = page + at;
	put_le32(node, size);
	put_le16(node + 4, 0);
	put_le16(node + 6, 8);
	put_le64(node + 8, key);
	put_le64(node + 16, last - 2);
	for (node += 24, i = last; i > 1; i--)
		if (i != root) {
			put_le64(node, i);
			node += 8;
		}
}

/* Lists that share pages could go on for ever: they end with the file's. */
static void
test_shared_lists(void)
{
	uint64_t last, root;
	char why[256] = "";
	uint8_t *newest, *page;
	struct rig g;
	unsigned i;

	rig_open(&g, 8 * MIB);
	snprintf(file, sizeof(file), "%s/data.mdb", g.path);
	for (i = 0; i < 3; i++)
		fill(&g, i);
	close_files(&g);
	newest = newest_meta(&i);
	last = get_le64(newest + 136);
	root = get_le64(newest + 128);
	page = image + get_le64(newest + 80) * PAGE;
	ok(last * 32 + 100 < PAGE, "four such lists fit a page");
	put_le16(page + 12, 16);
	put_le16(page + 14, PAGE);
	put_le64(newest + 72, 4);
	add_list(page, 1, last, root);
	add_list(page, 2, last, root);
	/* Whoever gets here does not see that it was enough. */
	add_list(page, 1, last, root);
	add_list(page, get_le64(newest + 144), last, root);
	put_image();
	is_i64(store_db_verify_apart(
		   g.path, true, 10 * NS_PER_S, why, sizeof(why)),
	    -EBADMSG, "lists of more pages than there are");
	ok(strstr(why, "twice") != NULL, "are told before the rest: %s", why);
	rig_close(&g);
}

int
main(void)
{
	const char *seed = getenv("SEED");
	unsigned i;

	turn = seed != NULL ? (unsigned)strtoul(seed, NULL, 10)
			    : (unsigned)time(NULL);
	diag("SEED=%u", turn);
	rig_in = "/dev/shm";
	test_sound(0);
	test_sound(1);
	test_shared_lists();
	for (i = 1; i < 8; i++)
		if (((i + 1) & 2) != 0)
			test_older(i);
	test_flips(0);
	test_flips(1);
	test_empty();
	free(image);
	return tap_done();
}
