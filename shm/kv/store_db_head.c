/*
 * Judging what LMDB believes of data.mdb before it opens it: the two meta
 * pages, and of the newer one the pages where its trees begin; of "meta", which
 * is read before the whole file is looked at, all of them. So the state, which
 * is there, can be read without LMDB. See store_db_page.h.
 */
#include "shm/kv/store_db_int.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/fault.h"
#include "shm/kv/store_db_page.h"

#define MAP_MAX     (UINT64_C(1) << 46) /* what a process has room for */
#define MAGIC       0xbeefc0deu
#define VERSION     1u
#define AT_ONCE_MAX 4u /* leaves: "meta" has three entries */
#define LIST_READ   512u /* numbers at once */

#define D_NO_SUBDIR 0x4000u /* store_db_make() made the file so */

/* A running node writes: what is wrong must be so for a while. */
#define LOOKS     4
#define LOOKS_MAX 100
#define LOOK_MS   2

struct head {
	struct db_file f;
	uint8_t meta[2][META_SIZE];
	unsigned metas; /* that could be read */
	const uint8_t *newest; /* one of them */
	uint8_t page[PAGE_MAX];
	struct store_state *state; /* to be read, or NULL */
	bool wants_terms;
	struct store_term *terms; /* malloc()ed, or NULL */
	size_t term_count;
	uint64_t entries; /* in all databases */
	const char *what; /* is wrong */
};

static int
wrong(struct head *h, const char *what)
{
	h->what = what;
	return -EBADMSG;
}

static int
read_metas(struct head *h)
{
	struct stat st;
	int rc = db_read(&h->f, h->meta[0], META_SIZE, 0);

	h->metas = rc == 0;
	h->f.page_size = get_le32(h->meta[0] + 40);
	if (rc == 0 && (!is_pow2(h->f.page_size) || h->f.page_size < PAGE_MIN ||
			   h->f.page_size > PAGE_MAX))
		return wrong(h, "the page size in its first meta page");
	if (rc == 0)
		rc = db_read(&h->f, h->meta[1], META_SIZE, h->f.page_size);
	if (rc == -ENODATA)
		return wrong(h, "it ends within its two meta pages");
	h->metas += rc == 0;
	/* Behind them: a file grows before they say so. */
	if (rc == 0 && fstat(h->f.fd, &st) != 0)
		rc = fault_of_call(-errno);
	if (rc == 0)
		h->f.pages = (uint64_t)st.st_size / h->f.page_size;
	return rc;
}

/* Of pages that are in the file; how many they are is counted elsewhere. */
static bool
counts_may_be(const uint8_t *tree, uint64_t last)
{
	return get_le64(tree + 8) <= last && get_le64(tree + 16) <= last &&
	       get_le64(tree + 24) <= last;
}

static bool
root_may_be(uint64_t root, uint64_t last)
{
	return root == NO_PAGE || (root > 1 && root <= last);
}

/* The tree of databases fits one leaf, or is not there. */
static bool
main_may_be(const uint8_t *tree)
{
	bool none = get_le64(tree + 40) == NO_PAGE;

	return get_le16(tree + 4) == 0 && get_le16(tree + 6) == !none &&
	       get_le64(tree + 8) == 0 && get_le64(tree + 16) == !none &&
	       get_le64(tree + 24) == 0 && (get_le64(tree + 32) == 0) == none;
}

static int
judge_meta(struct head *h, const uint8_t *m, unsigned i)
{
	if ((get_le16(m + 10) & P_META) == 0 || get_le32(m + 16) != MAGIC ||
	    get_le32(m + 20) != VERSION)
		return wrong(h, "a meta page is none");
	if (get_le32(m + 40) != h->f.page_size)
		return wrong(h, "the page size in its second meta page");
	if (get_le64(m + 32) > MAP_MAX)
		return wrong(h, "a meta page's size of the map");
	if (last_page(m) < 1)
		return wrong(h, "a meta page's last page");
	/* Before the first one there are the meta pages only. */
	if (meta_txn(m) != 0 ? meta_txn(m) % 2 != i : last_page(m) != 1)
		return wrong(h, "a meta page's transaction");
	return 0;
}

/*
 * Of the newest only. One that could not be written has LMDB put its old
 * transaction and last page back, and leave the new trees, which nobody reads.
 */
static int
judge_trees(struct head *h, const uint8_t *m)
{
	uint64_t last = last_page(m);

	if ((get_le16(m + 44) & ~D_NO_SUBDIR) != D_NUMBERS ||
	    !counts_may_be(m + 40, last) ||
	    !root_may_be(get_le64(m + 80), last) ||
	    (get_le64(m + 80) == NO_PAGE) != (tree_depth(m + 40) == 0) ||
	    tree_depth(m + 40) > DEPTH_MAX)
		return wrong(h, "a meta page's tree of free pages");
	/* There from the first transaction on. */
	if (!main_may_be(m + 88) || !root_may_be(get_le64(m + 128), last) ||
	    (meta_txn(m) == 0) != (get_le64(m + 128) == NO_PAGE))
		return wrong(h, "a meta page's tree of databases");
	return 0;
}

static int
judge_metas(struct head *h)
{
	uint64_t txn[2] = { meta_txn(h->meta[0]), meta_txn(h->meta[1]) };
	bool second = txn[1] > txn[0];
	int rc = 0;

	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = judge_meta(h, h->meta[i], i);
	if (rc != 0)
		return rc;
	h->newest = h->meta[second];
	/* One is written behind the other; a new file has two of none. */
	if (txn[second] != 0 && txn[second] - txn[!second] != 1)
		return wrong(h, "its meta pages are not of two transactions in "
				"a row");
	/*
	 * Pages are never given back. (With as many, a newest one that calls
	 * itself two less is what LMDB leaves when it could not be written.)
	 */
	if (last_page(h->meta[!second]) > last_page(h->newest))
		return wrong(h, "its older meta page names more pages than the "
				"newer one");
	return judge_trees(h, h->newest);
}

/* Read where a tree begins, into h->page. */
static int
read_tree(struct head *h, const struct db_kind *kind, uint64_t page, bool leaf)
{
	int rc = db_read_page(&h->f, kind, page, leaf, h->page);

	if (rc == -ENODATA)
		return wrong(h, "a tree begins behind its end");
	if (rc == -EBADMSG)
		return wrong(h, "where a tree begins is another page, or a "
				"broken one");
	return rc;
}

/* A tree, as one of its heads names it. */
struct tree {
	const struct db_kind *kind;
	uint64_t root;
	uint64_t entries;
	unsigned depth;
	bool at_once; /* read before the file is looked at as a whole */
};

/* An entry of the tree of databases. */
static bool
database_may_be(const struct head *h, const uint8_t *node, struct tree *out)
{
	uint64_t last = last_page(h->newest);
	uint16_t n = node_key_size(node);
	const uint8_t *name = node + NODE_HEAD, *tree = node_data(node);

	out->kind = db_kind(name, n);
	out->root = tree_root(tree);
	out->entries = get_le64(tree + 32);
	out->depth = tree_depth(tree);
	out->at_once = n == 4 && memcmp(name, "meta", 4) == 0;
	return get_le16(tree + 4) == out->kind->tree_flags &&
	       counts_may_be(tree, last) && root_may_be(out->root, last) &&
	       (out->root == NO_PAGE) == (out->entries == 0) &&
	       (out->root == NO_PAGE) == (out->depth == 0) &&
	       out->depth <= DEPTH_MAX;
}

/* The databases; in the page now is their tree. */
static int
read_databases(struct head *h, struct tree *trees, unsigned *count)
{
	unsigned n = db_nodes(h->page), i;

	if (n > STORE_DBS || n != get_le64(h->newest + 120))
		return wrong(h, "its tree of databases");
	for (i = 0; i < n; i++) {
		if (!database_may_be(h, db_node(h->page, i), &trees[i]))
			return wrong(h, "its tree of databases");
		h->entries += trees[i].entries;
	}
	*count = n;
	return 0;
}

static bool
is_entry(const uint8_t *node, const char *name)
{
	return node_key_size(node) == strlen(name) &&
	       memcmp(node + NODE_HEAD, name, strlen(name)) == 0;
}

static void
terms_drop(struct head *h)
{
	free(h->terms);
	h->terms = NULL;
	h->term_count = 0;
}

/* No boot needs it: one that cannot be read, or believed, is none. */
static void
take_terms(struct head *h, const uint8_t *data, size_t n)
{
	if (!store_terms_sound(data, n))
		return;
	terms_drop(h);
	if ((h->terms = malloc(n)) == NULL)
		return;
	h->term_count = n / sizeof(*h->terms);
	store_terms_decode(data, h->terms, h->term_count);
}

/* On pages of its own, from `page` on. */
static void
take_long_terms(struct head *h, uint64_t page, size_t n)
{
	uint8_t *data = malloc(n);

	if (data != NULL &&
	    db_read(&h->f, data, n, page * h->f.page_size + PAGE_HEAD) == 0)
		take_terms(h, data, n);
	free(data);
}

/* Of "meta". Only the list of terms may be a long one. */
static int
judge_entry(struct head *h, const uint8_t *node)
{
	bool terms = is_entry(node, STORE_TERMS_NAME);
	const uint8_t *data = node_data(node);
	uint64_t pages;
	int rc = 0;

	if ((node_flags(node) & F_BIGDATA) == 0) {
		if (h->wants_terms && terms)
			take_terms(h, data, node_size(node));
		return h->state != NULL && is_entry(node, STORE_STATE_NAME)
			   ? store_state_decode(data, node_size(node), h->state)
			   : 0;
	}
	if (!terms)
		return -EBADMSG;
	rc = db_read_run(&h->f, get_le64(data), node_size(node), &pages);
	if (rc == 0 && h->wants_terms)
		take_long_terms(h, get_le64(data), node_size(node));
	return rc;
}

/* In the page now is a leaf. */
static int
judge_at_once(struct head *h)
{
	unsigned i;
	int rc = 0;

	for (i = 0; i < db_nodes(h->page) && rc == 0; i++)
		rc = judge_entry(h, db_node(h->page, i));
	if (rc == -ENODATA || rc == -EBADMSG)
		return wrong(h, "an entry of \"meta\"");
	return rc;
}

/* Where a tree begins; all leaves of one that is read at once. */
static int
judge_tree(struct head *h, const struct tree *t)
{
	uint64_t leaves[AT_ONCE_MAX];
	unsigned n, i;
	int rc = read_tree(h, t->kind, t->root, t->depth == 1);

	if (rc != 0 || !t->at_once)
		return rc;
	if (t->depth == 1)
		return judge_at_once(h);
	n = db_nodes(h->page);
	if (t->depth > 2 || n > AT_ONCE_MAX)
		return wrong(h, "the tree of \"meta\"");
	for (i = 0; i < n; i++)
		leaves[i] = node_page(db_node(h->page, i));
	for (i = 0; i < n && rc == 0; i++) {
		rc = read_tree(h, t->kind, leaves[i], true);
		if (rc == 0)
			rc = judge_at_once(h);
	}
	return rc;
}

static int
judge_roots(struct head *h)
{
	struct tree trees[STORE_DBS + 1];
	uint64_t root = get_le64(h->newest + 128);
	unsigned n, i;
	int rc;

	if (root == NO_PAGE)
		return 0;
	if ((rc = read_tree(h, &db_kind_names, root, true)) != 0 ||
	    (rc = read_databases(h, trees, &n)) != 0)
		return rc;
	trees[n] = (struct tree){ .kind = &db_kind_free,
		.root = get_le64(h->newest + 80),
		.depth = tree_depth(h->newest + 40) };
	for (i = 0; i <= n && rc == 0; i++)
		if (trees[i].root != NO_PAGE)
			rc = judge_tree(h, &trees[i]);
	return rc;
}

/* ---- the end of the file ---- */

/* Of the pages that the file has not: a bit each of those found free. */
struct lost {
	uint8_t *found;
	uint64_t left; /* not found yet */
	uint64_t visited; /* pages of the tree */
	uint64_t listed; /* pages, in all lists */
};

static int
take_numbers(struct head *h, struct lost *l, uint64_t at, uint64_t n)
{
	uint8_t numbers[LIST_READ * 8], *byte, bit;
	uint64_t page, i, some;
	int rc;

	for (; n > 0; n -= some, at += some * 8) {
		some = n < LIST_READ ? n : LIST_READ;
		if ((rc = db_read(&h->f, numbers, some * 8, at)) != 0)
			return rc;
		for (i = 0; i < some; i++) {
			page = get_le64(numbers + i * 8);
			if (page < h->f.pages)
				continue;
			if (page > last_page(h->newest))
				return -ENODATA;
			page -= h->f.pages;
			byte = &l->found[page / 8];
			bit = (uint8_t)(1u << page % 8);
			if ((*byte & bit) != 0)
				return -ENODATA;
			*byte |= bit;
			l->left--;
		}
	}
	return 0;
}

/* What one transaction gave up: a count, and so many pages. */
static int
take_list(struct head *h, struct lost *l, uint64_t at, uint64_t size)
{
	uint8_t count[8];
	uint64_t n;
	int rc = size < 8 ? -ENODATA : db_read(&h->f, count, 8, at);

	if (rc != 0)
		return rc;
	n = get_le64(count);
	/* No page is in two lists. */
	if (n > size / 8 - 1 || n > last_page(h->newest) - l->listed)
		return -ENODATA;
	l->listed += n;
	return take_numbers(h, l, at + 8, n);
}

static int
take_node(struct head *h, struct lost *l, uint64_t page, const uint8_t *node)
{
	const uint8_t *data = node_data(node);
	uint64_t at = page * h->f.page_size + (uint64_t)(data - h->page), pages;
	int rc = 0;

	/* A long list has pages of its own. */
	if ((node_flags(node) & F_BIGDATA) != 0) {
		at = get_le64(data) * h->f.page_size + PAGE_HEAD;
		rc =
		    db_read_run(&h->f, get_le64(data), node_size(node), &pages);
	}
	return rc != 0 ? rc : take_list(h, l, at, node_size(node));
}

/*
 * The tree of free pages from `page` on, which is `depth` pages deep. No page
 * belongs to it twice, so it ends.
 */
static int
walk_lists(struct head *h, struct lost *l, uint64_t page, unsigned depth)
{
	const uint8_t *node;
	unsigned i;
	int rc = 0;

	if (depth == 0 || l->visited++ == h->f.pages)
		return -ENODATA;
	for (i = 0; rc == 0; i++) {
		/* What was below a branch has taken its place. */
		if ((depth > 1 || i == 0) &&
		    (rc = read_tree(h, &db_kind_free, page, depth == 1)) != 0)
			break;
		if (i == db_nodes(h->page))
			break;
		node = db_node(h->page, i);
		rc = depth == 1 ? take_node(h, l, page, node)
				: walk_lists(h, l, node_page(node), depth - 1);
	}
	return rc;
}

/*
 * LMDB does not write a page that one transaction took from the end and gave up
 * again; then the file ends before its last page. The next that takes it from
 * the free ones writes it before anybody reads it. So what is not there must
 * be free, all of it. What was free behind the commit before still was at this
 * one, or is written.
 */
static int
judge_end(struct head *h)
{
	struct lost l = { 0 };
	unsigned depth = tree_depth(h->newest + 40);
	int rc = -ENODATA;

	if (last_page(h->newest) < h->f.pages)
		return 0;
	l.left = last_page(h->newest) + 1 - h->f.pages;
	/* It has their numbers, or it was cut. */
	if (l.left <= h->f.pages * h->f.page_size / 8) {
		l.found = calloc(l.left / 8 + 1, 1);
		rc = l.found == NULL
			 ? -ENOMEM
			 : walk_lists(h, &l, get_le64(h->newest + 80), depth);
		free(l.found);
	}
	if (rc != 0 && rc != -ENODATA && rc != -EBADMSG)
		return rc;
	return rc == 0 && l.left == 0
		   ? 0
		   : wrong(h, "a meta page names pages behind its end: the "
			      "file was cut, or that page is wrong");
}

/*
 * Each transaction but the first frees the root that it found, so that the last
 * list is its own. An older meta page that calls itself the newest has another.
 */
static int
judge_newest_list(struct head *h)
{
	unsigned depth = tree_depth(h->newest + 40);
	uint64_t page = get_le64(h->newest + 80);
	const uint8_t *node;
	int rc;

	if (meta_txn(h->newest) <= 1)
		return 0;
	for (; depth > 0; depth--, page = node_page(node)) {
		rc = read_tree(h, &db_kind_free, page, depth == 1);
		if (rc != 0)
			return rc;
		node = db_node(h->page, db_nodes(h->page) - 1);
		if (depth == 1 && node_key_size(node) == 8 &&
		    get_le64(node + NODE_HEAD) == meta_txn(h->newest))
			return 0;
	}
	return wrong(h, "its newest free pages are not those of its newest "
			"transaction");
}

/* Without one nobody has written anything but empty databases. */
static int
judge_state(struct head *h)
{
	if (h->state == NULL || h->state->format != 0 ||
	    (h->entries == 0 && meta_txn(h->newest) <= STORE_EMPTY_COMMITS))
		return 0;
	return wrong(h, "it has no state record");
}

static int
look(struct head *h)
{
	int rc = read_metas(h);

	h->newest = NULL;
	h->entries = 0;
	if (h->state != NULL)
		memset(h->state, 0, sizeof(*h->state));
	terms_drop(h);
	if (rc == 0)
		rc = judge_metas(h);
	if (rc == 0)
		rc = judge_end(h);
	if (rc == 0)
		rc = judge_newest_list(h);
	if (rc == 0)
		rc = judge_roots(h);
	return rc != 0 ? rc : judge_state(h);
}

/*
 * Has somebody written meanwhile what was looked at? While its meta page stays
 * as it is, a commit's pages do: they are given to the third behind it, and the
 * second writes that page anew. Without a newest one, both count.
 */
static bool
is_outrun(struct head *h)
{
	uint8_t before[2][META_SIZE];
	unsigned i;

	memcpy(before, h->meta, sizeof(before));
	for (i = 0; i < h->metas; i++) {
		if (h->newest != NULL && h->newest != h->meta[i])
			continue;
		if (db_read(&h->f, h->meta[i], META_SIZE,
			(uint64_t)i * h->f.page_size) != 0 ||
		    memcmp(before[i], h->meta[i], META_SIZE) != 0)
			return true;
	}
	return false;
}

static int
look_again(struct head *h)
{
	uint8_t before[2][META_SIZE] = { 0 };
	unsigned i, same = 0;
	int rc = 0;

	for (i = 0; i < LOOKS_MAX; i++) {
		rc = look(h);
		if (rc != 0 && rc != -EBADMSG)
			return rc;
		if (is_outrun(h))
			rc = -EAGAIN;
		if (rc == 0)
			return rc;
		same =
		    memcmp(before, h->meta, sizeof(before)) == 0 ? same + 1 : 0;
		if (same == LOOKS)
			return rc;
		memcpy(before, h->meta, sizeof(before));
		(void)poll(NULL, 0, LOOK_MS);
	}
	return rc;
}

/* No file, or an empty one that nobody has written yet: no newest one. */
static int
look_file(struct head *h, const char *name)
{
	struct stat st;
	int rc;

	h->f.fd = open(name, O_RDONLY | O_CLOEXEC);
	if (h->f.fd < 0)
		return fault_of_call(-errno);
	rc = fstat(h->f.fd, &st) != 0 ? fault_of_call(-errno) : 0;
	if (rc == 0 && st.st_size > 0)
		rc = look_again(h);
	close(h->f.fd);
	return rc;
}

int
store_db_head(const char *path, struct store_head *out, char *why, size_t n)
{
	struct head h = { .what = "" };
	char name[PATH_MAX];
	int rc;

	memset(out, 0, sizeof(*out));
	snprintf(name, sizeof(name), "%s/data.mdb", path);
	if ((rc = look_file(&h, name)) == -ENOENT)
		return 0;
	if (rc == -EBADMSG)
		snprintf(why, n, "%s: damaged: %s", name, h.what);
	if (rc == 0 && h.newest != NULL) {
		out->commits = meta_txn(h.newest);
		out->last_page = last_page(h.newest);
		out->root = get_le64(h.newest + 128);
		out->free = tree_head(h.newest + 40);
		out->page_size = h.f.page_size;
	}
	return rc;
}

int
store_db_peek(const char *path, struct store_state *out,
    struct store_term **terms, size_t *count)
{
	struct head h = {
		.what = "", .state = out, .wants_terms = terms != NULL
	};
	unsigned tries = 0;
	char name[PATH_MAX];
	int rc;

	memset(out, 0, sizeof(*out));
	rc = store_files_kind(path, false, name, sizeof(name));
	if (rc == 0)
		do
			rc = look_file(&h, name);
		while (rc == -EAGAIN && ++tries < STORE_OPENS_MAX);
	if (rc == -EAGAIN)
		rc = -EBUSY;
	if (rc == 0 && h.newest == NULL)
		rc = -ENODATA;
	if (rc != 0)
		terms_drop(&h);
	if (terms != NULL) {
		*terms = h.terms;
		*count = h.term_count;
	}
	return rc;
}
