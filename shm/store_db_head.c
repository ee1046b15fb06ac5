/*
 * Judging what LMDB believes of data.mdb before it opens it: the two meta
 * pages, and of the newer one the pages where its trees begin. LMDB maps, and
 * divides by, what these say; it has no checksums. All is read by pread(), as
 * bytes of anybody's. Layouts, of LMDB 0.9:
 *
 *	page	 0  8  its number
 *		10  2  flags
 *		12  2  where the offsets of its nodes end, from 16 on
 *		14  2  where its nodes begin
 *		12  4  of a value on pages of its own, how many there are
 *	node	 0  4  length of the data; in a branch, with the flags, a page
 *		 4  2  flags
 *		 6  2  length of the key, which follows, and then the data
 *	tree	 0  4  of the first of a meta page: the page size
 *		 4  2  flags
 *		 6  2  depth
 *		 8  8  branch pages
 *		16  8  leaf pages
 *		24  8  overflow pages
 *		32  8  entries
 *		40  8  root, all ones: none
 *	meta	16  4  magic
 *		20  4  version
 *		32  8  size of the map
 *		40 48  the tree of free pages
 *		88 48  the tree of databases: one leaf, its entries are trees
 *	       136  8  last page
 *	       144  8  transaction; an even one is in page 0
 */
#include "shm/store_db_int.h"

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

#include "shm/bits.h"
#include "shm/fault.h"

#define PAGE_MIN  4096u
#define PAGE_MAX  32768u
#define PAGE_HEAD 16u
#define NODE_HEAD 8u
#define TREE_SIZE 48u
#define META_SIZE 152u
#define MAP_MAX   (UINT64_C(1) << 46) /* what a process has room for */
#define MAGIC     0xbeefc0deu
#define VERSION   1u
#define NO_PAGE   UINT64_MAX
#define DEPTH_MAX 32u /* LMDB's */
#define LIST_READ 512u /* numbers at once */

#define P_BRANCH    0x01u
#define P_LEAF      0x02u
#define P_OVERFLOW  0x04u
#define P_META      0x08u
#define F_BIGDATA   0x01u
#define F_SUBDATA   0x02u
#define D_DUPSORT   0x04u
#define D_NUMBERS   0x08u /* keys of the free pages' tree */
#define D_NO_SUBDIR 0x4000u /* store_db_make() made the file so */

/* A running node writes: what is wrong must be so for a while. */
#define LOOKS     4
#define LOOKS_MAX 100
#define LOOK_MS   2

struct head {
	int fd;
	uint64_t pages; /* that the file has, whole ones */
	uint32_t page_size;
	uint8_t meta[2][META_SIZE];
	unsigned metas; /* that could be read */
	const uint8_t *newest; /* one of them */
	uint8_t page[PAGE_MAX];
	const char *what; /* is wrong */
};

static int
wrong(struct head *h, const char *what)
{
	h->what = what;
	return -EBADMSG;
}

static uint64_t
meta_txn(const uint8_t *m)
{
	return get_le64(m + 144);
}

static uint64_t
last_page(const uint8_t *m)
{
	return get_le64(m + 136);
}

/* -ENODATA: the file ends before. */
static int
read_at(const struct head *h, void *to, size_t n, uint64_t at)
{
	ssize_t got = pread(h->fd, to, n, (off_t)at);

	if (got < 0)
		return fault_of_call(-errno);
	return got == (ssize_t)n ? 0 : -ENODATA;
}

static int
read_metas(struct head *h)
{
	struct stat st;
	int rc = read_at(h, h->meta[0], META_SIZE, 0);

	h->metas = rc == 0;
	h->page_size = get_le32(h->meta[0] + 40);
	if (rc == 0 && (!is_pow2(h->page_size) || h->page_size < PAGE_MIN ||
			   h->page_size > PAGE_MAX))
		return wrong(h, "the page size in its first meta page");
	if (rc == 0)
		rc = read_at(h, h->meta[1], META_SIZE, h->page_size);
	if (rc == -ENODATA)
		return wrong(h, "it ends within its two meta pages");
	h->metas += rc == 0;
	/* Behind them: a file grows before they say so. */
	if (rc == 0 && fstat(h->fd, &st) != 0)
		rc = fault_of_call(-errno);
	if (rc == 0)
		h->pages = (uint64_t)st.st_size / h->page_size;
	return rc;
}

/* Of pages that are in the file; sums of them are looked at elsewhere. */
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
	if (get_le32(m + 40) != h->page_size)
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
	    !root_may_be(get_le64(m + 80), last))
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

/* Is node i of the page within it? */
static bool
node_fits(const struct head *h, bool leaf, unsigned i, const uint8_t **node)
{
	uint32_t at = get_le16(h->page + PAGE_HEAD + i * 2);
	uint64_t end;

	if (at < get_le16(h->page + 14) || at > h->page_size - NODE_HEAD)
		return false;
	*node = h->page + at;
	end = at + NODE_HEAD + (uint64_t)get_le16(*node + 6);
	if (leaf)
		end += (get_le16(*node + 4) & F_BIGDATA) != 0 ? 8
							      : get_le32(*node);
	return end <= h->page_size;
}

static unsigned
node_count(const struct head *h)
{
	return (get_le16(h->page + 12) - PAGE_HEAD) / 2;
}

/* Read where a tree begins: a branch or a leaf, with all its nodes in it. */
static int
read_root(struct head *h, uint64_t root)
{
	int rc = root < h->pages
		     ? read_at(h, h->page, h->page_size, root * h->page_size)
		     : -ENODATA;
	uint16_t flags = get_le16(h->page + 10);
	uint32_t lower = get_le16(h->page + 12), upper = get_le16(h->page + 14);
	const uint8_t *node;

	if (rc == -ENODATA)
		return wrong(h, "a tree begins behind its end");
	if (rc != 0)
		return rc;
	if (get_le64(h->page) != root ||
	    (flags != P_LEAF && flags != P_BRANCH) || lower <= PAGE_HEAD ||
	    lower % 2 != 0 || lower > upper || upper > h->page_size)
		return wrong(h, "where a tree begins is another page");
	for (unsigned i = 0; i < node_count(h); i++)
		if (!node_fits(h, flags == P_LEAF, i, &node))
			return wrong(h, "where a tree begins is a broken page");
	return 0;
}

/* An entry of the tree of databases: how its keys are in order; its root. */
static bool
database_may_be(const struct head *h, const uint8_t *node, uint64_t *root)
{
	uint64_t last = last_page(h->newest);
	uint16_t n = get_le16(node + 6);
	const uint8_t *tree = node + NODE_HEAD + n;
	bool due = n == 3 && memcmp(node + NODE_HEAD, "due", 3) == 0;

	if (get_le16(node + 4) != F_SUBDATA || get_le32(node) != TREE_SIZE ||
	    get_le16(tree + 4) != (due ? D_DUPSORT : 0))
		return false;
	*root = get_le64(tree + 40);
	return counts_may_be(tree, last) && root_may_be(*root, last) &&
	       (*root == NO_PAGE) == (get_le64(tree + 32) == 0) &&
	       (*root == NO_PAGE) == (get_le16(tree + 6) == 0);
}

/* The databases' roots; in the page now is the tree of databases. */
static int
read_databases(struct head *h, uint64_t *roots, unsigned *count)
{
	unsigned n = node_count(h), i;
	const uint8_t *node;

	if (get_le16(h->page + 10) != P_LEAF || n > STORE_DBS ||
	    n != get_le64(h->newest + 120))
		return wrong(h, "its tree of databases");
	for (i = 0; i < n; i++)
		if (!node_fits(h, true, i, &node) ||
		    !database_may_be(h, node, &roots[i]))
			return wrong(h, "its tree of databases");
	*count = n;
	return 0;
}

static int
judge_roots(struct head *h)
{
	uint64_t roots[STORE_DBS + 1], root = get_le64(h->newest + 128);
	unsigned n, i;
	int rc;

	if (root == NO_PAGE)
		return 0;
	if ((rc = read_root(h, root)) != 0 ||
	    (rc = read_databases(h, roots, &n)) != 0)
		return rc;
	roots[n] = get_le64(h->newest + 80);
	for (i = 0; i <= n && rc == 0; i++)
		if (roots[i] != NO_PAGE)
			rc = read_root(h, roots[i]);
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
		if ((rc = read_at(h, numbers, some * 8, at)) != 0)
			return rc;
		for (i = 0; i < some; i++) {
			page = get_le64(numbers + i * 8);
			if (page < h->pages)
				continue;
			if (page > last_page(h->newest))
				return -ENODATA;
			page -= h->pages;
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

static uint64_t
branch_page(const uint8_t *node)
{
	return get_le32(node) | (uint64_t)get_le16(node + 4) << 32;
}

/* What one transaction gave up: a count, and so many pages. */
static int
take_list(struct head *h, struct lost *l, uint64_t at, uint64_t size)
{
	uint8_t count[8];
	uint64_t n;
	int rc = size < 8 ? -ENODATA : read_at(h, count, 8, at);

	if (rc != 0)
		return rc;
	n = get_le64(count);
	/* No page is in two lists. */
	if (n > size / 8 - 1 || n > last_page(h->newest) - l->listed)
		return -ENODATA;
	l->listed += n;
	return take_numbers(h, l, at + 8, n);
}

/* A long list has pages of its own. */
static int
take_long_list(struct head *h, struct lost *l, uint64_t page, uint64_t size)
{
	uint8_t head[PAGE_HEAD];
	uint64_t at = page * h->page_size;
	int rc =
	    page < h->pages ? read_at(h, head, sizeof(head), at) : -ENODATA;

	if (rc != 0)
		return rc;
	if (get_le64(head) != page || get_le16(head + 10) != P_OVERFLOW ||
	    (uint64_t)get_le32(head + 12) * h->page_size < PAGE_HEAD + size)
		return -ENODATA;
	return take_list(h, l, at + PAGE_HEAD, size);
}

static int
take_node(struct head *h, struct lost *l, uint64_t page, const uint8_t *node)
{
	const uint8_t *data = node + NODE_HEAD + get_le16(node + 6);
	uint32_t size = get_le32(node);

	if ((get_le16(node + 4) & F_BIGDATA) != 0)
		return take_long_list(h, l, get_le64(data), size);
	return take_list(
	    h, l, page * h->page_size + (uint64_t)(data - h->page), size);
}

/*
 * The tree of free pages from `page` on, which is no more than `depth` pages
 * deep. No page belongs to it twice, so it ends.
 */
static int
walk_lists(struct head *h, struct lost *l, uint64_t page, unsigned depth)
{
	const uint8_t *node;
	bool leaf = false;
	unsigned i;
	int rc = 0;

	if (depth == 0 || l->visited++ == h->pages)
		return -ENODATA;
	for (i = 0; rc == 0; i++) {
		/* What was below a branch has taken its place. */
		if (!leaf && (rc = read_root(h, page)) != 0)
			break;
		if (i == node_count(h))
			break;
		leaf = get_le16(h->page + 10) == P_LEAF;
		if (!node_fits(h, leaf, i, &node))
			rc = -ENODATA;
		else if (leaf)
			rc = take_node(h, l, page, node);
		else
			rc = walk_lists(h, l, branch_page(node), depth - 1);
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
	unsigned depth = get_le16(h->newest + 46);
	int rc = -ENODATA;

	if (last_page(h->newest) < h->pages)
		return 0;
	l.left = last_page(h->newest) + 1 - h->pages;
	/* It has their numbers, or it was cut. */
	if (l.left <= h->pages * h->page_size / 8 && depth <= DEPTH_MAX) {
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
	unsigned depth = get_le16(h->newest + 46);
	uint64_t page = get_le64(h->newest + 80);
	const uint8_t *node;
	bool leaf = false;
	int rc;

	if (meta_txn(h->newest) <= 1)
		return 0;
	while (!leaf && depth-- > 0) {
		if ((rc = read_root(h, page)) != 0)
			return rc;
		leaf = get_le16(h->page + 10) == P_LEAF;
		if (!node_fits(h, leaf, node_count(h) - 1, &node))
			break;
		if (leaf && get_le16(node + 6) == 8 &&
		    get_le64(node + NODE_HEAD) == meta_txn(h->newest))
			return 0;
		page = branch_page(node);
	}
	return wrong(h, "its newest free pages are not those of its newest "
			"transaction");
}

static int
look(struct head *h)
{
	int rc = read_metas(h);

	h->newest = NULL;
	if (rc == 0)
		rc = judge_metas(h);
	if (rc == 0)
		rc = judge_end(h);
	if (rc == 0)
		rc = judge_newest_list(h);
	return rc != 0 ? rc : judge_roots(h);
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
		if (read_at(h, h->meta[i], META_SIZE,
			(uint64_t)i * h->page_size) != 0 ||
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

int
store_db_head(const char *path, struct store_head *out, char *why, size_t n)
{
	struct head h = { .what = "" };
	char name[PATH_MAX];
	struct stat st;
	int rc;

	memset(out, 0, sizeof(*out));
	snprintf(name, sizeof(name), "%s/data.mdb", path);
	h.fd = open(name, O_RDONLY | O_CLOEXEC);
	if (h.fd < 0)
		return errno == ENOENT ? 0 : fault_of_call(-errno);
	rc = fstat(h.fd, &st) != 0 ? fault_of_call(-errno) : 0;
	/* Nobody has written anything yet. */
	if (rc == 0 && st.st_size > 0)
		rc = look_again(&h);
	close(h.fd);
	if (rc == -EBADMSG)
		snprintf(why, n, "%s: damaged: %s", name, h.what);
	if (rc == 0 && h.newest != NULL) {
		out->commits = meta_txn(h.newest);
		out->last_page = last_page(h.newest);
		out->root = get_le64(h.newest + 128);
	}
	return rc;
}
