/*
 * Whose is each page of data.mdb? It is in use by one tree, once, or named by
 * one list of free ones: a page of two is written by one of them while the
 * other reads it. No sum tells that; so every page that is named gets a mark.
 *
 * First those that the tree of free pages has and names, then those that the
 * branches of all others name, which are their leaves, too: about a page of a
 * hundred is read for that. Then what only leaves name: pages of long values,
 * and trees of "due". Leaves of "kv" name none and are not read here.
 *
 * LMDB takes what a page says of itself for true: it frees the number that
 * stands in it, and moves and adds nodes by its head. So pages that are read
 * are looked at for that, too. The leaves of "kv" and the pages of "chunks"
 * are so by the one who walks the items.
 *
 * And it takes what the head of a tree says: one of no overflow pages is
 * dropped without them, one of no entries is none. So pages and entries of a
 * tree that was read are counted. (Those of "kv" are by who walks the items.)
 * A look-up is led by the keys between pages; a walk passes by a false one. So
 * they have to be above all keys before them, and not above those behind them.
 *
 * A boot has no time for all of a large store. What was read until then is
 * right. It does not see: a page that is free and in use by a branch, leaf or
 * long value of which it had no time to read the name; nor what pages say of
 * themselves that it has not read; nor what heads say of trees that it has not
 * read to their end.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/fault.h"
#include "shm/kv/store_db_int.h"
#include "shm/kv/store_db_page.h"

#define KEY_MAX    511u /* LMDB's */
#define LEVELS_MAX (2 * DEPTH_MAX) /* a tree in one of "due" */
#define LIST_READ  512u /* numbers at once */

struct marks {
	struct db_file f;
	const struct store_head *head;
	uint64_t deadline_ns;
	uint8_t *seen; /* a bit for each page */
	uint64_t count; /* of those */
	uint64_t freed_by; /* the newest transaction that has a list */
	uint8_t *level[LEVELS_MAX]; /* the pages on the way */
	unsigned levels; /* in use */
	char *why;
	size_t why_size;
};

/* Through one tree, once. */
struct walk {
	const struct db_kind *kind;
	bool marks; /* mark what branches name */
	bool chunks; /* runs are as long as the data */
	/* For each node of a leaf; NULL: leaves are not read. */
	int (*leaf)(struct marks *m, struct walk *w, uint64_t page,
	    const uint8_t *buf, const uint8_t *node);
	/* Of the way so far; of what leaves have: if they are read. */
	uint64_t branches, leaves, overflow; /* pages */
	uint64_t entries;
	uint8_t key[KEY_MAX]; /* the last one */
	size_t key_size;
	bool is_entry; /* and not one between pages */
};

__attribute__((format(printf, 2, 3))) static int
damaged(struct marks *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->why, m->why_size, fmt, ap);
	va_end(ap);
	return -EBADMSG;
}

/* Of a page that could not be read as what it has to be. */
static int
no_such(struct marks *m, int rc, uint64_t page)
{
	if (rc == -ENODATA)
		return damaged(m, "page %" PRIu64 " is behind its end", page);
	if (rc == -EBADMSG)
		return damaged(
		    m, "page %" PRIu64 " is another one, or broken", page);
	return rc;
}

static int
mark(struct marks *m, uint64_t page, uint64_t count)
{
	uint64_t last = m->head->last_page;
	uint8_t bit;

	if (page < PAGE_FIRST || page > last || count > last - page + 1)
		return damaged(m, "page %" PRIu64 " cannot be", page);
	for (; count > 0; count--, page++) {
		bit = (uint8_t)(1u << page % 8);
		if ((m->seen[page / 8] & bit) != 0)
			return damaged(m,
			    "page %" PRIu64 " is in use twice, or free and "
			    "in use",
			    page);
		m->seen[page / 8] |= bit;
		m->count++;
	}
	return 0;
}

static int
time_is_up(const struct marks *m)
{
	return mono_ns() > m->deadline_ns ? -ETIME : 0;
}

/* ---- keys and counts ---- */

static int
compare_keys(const struct walk *w, const uint8_t *key, size_t n)
{
	uint64_t a, b;
	int cmp;

	if (w->kind->tree_flags == D_NUMBERS) {
		a = get_le64(key);
		b = get_le64(w->key);
		return (a > b) - (a < b);
	}
	cmp = memcmp(key, w->key, n < w->key_size ? n : w->key_size);
	return cmp != 0 ? cmp : (n > w->key_size) - (n < w->key_size);
}

/*
 * Keys rise. One between two pages is above what is before it; the first entry
 * behind it may have that key.
 */
static int
key_follows(struct marks *m, struct walk *w, const uint8_t *node, bool is_entry)
{
	const uint8_t *key = node + NODE_HEAD;
	size_t n = node_key_size(node);
	int cmp;

	if (n > KEY_MAX || (w->kind->tree_flags == D_NUMBERS && n != 8))
		return damaged(m, "a key of %s", w->kind->name);
	cmp = compare_keys(w, key, n);
	if (cmp < 0 || (cmp == 0 && w->is_entry))
		return damaged(m, "the order of keys of %s", w->kind->name);
	memcpy(w->key, key, n);
	w->key_size = n;
	w->is_entry = is_entry;
	return 0;
}

static int
count_is(struct marks *m, const struct walk *w, const char *of, uint64_t count,
    uint64_t said)
{
	if (count == said)
		return 0;
	return damaged(m, "%s: %" PRIu64 " %s, but its head says %" PRIu64,
	    w->kind->name, count, of, said);
}

/* Of a walk that came to its end. */
static int
counts_are(struct marks *m, const struct walk *w, const struct store_tree *head)
{
	int rc = count_is(m, w, "branches", w->branches, head->branches);

	if (rc == 0)
		rc = count_is(m, w, "leaves", w->leaves, head->leaves);
	/* Without such nodes there are none. */
	if (rc == 0 &&
	    (w->leaf != NULL || (w->kind->node_flags & F_BIGDATA) == 0))
		rc = count_is(
		    m, w, "overflow pages", w->overflow, head->overflow);
	if (rc == 0 && w->leaf != NULL)
		rc = count_is(m, w, "entries", w->entries, head->entries);
	return rc;
}

/* ---- trees ---- */

static int
enter(struct marks *m, uint8_t **buf)
{
	if (m->levels == LEVELS_MAX)
		return damaged(m, "a tree is too deep");
	if (m->level[m->levels] == NULL)
		m->level[m->levels] = malloc(m->f.page_size);
	*buf = m->level[m->levels];
	if (*buf == NULL)
		return -ENOMEM;
	m->levels++;
	return 0;
}

/*
 * What a branch leads to is read next, page by page, each of them elsewhere: a
 * disk takes several at a time.
 */
static void
fetch(const struct marks *m, const uint8_t *branch)
{
	unsigned i;

	for (i = 0; i < db_nodes(branch); i++)
		(void)posix_fadvise(m->f.fd,
		    (off_t)(node_page(db_node(branch, i)) * m->f.page_size),
		    m->f.page_size, POSIX_FADV_WILLNEED);
}

static int
walk(struct marks *m, struct walk *w, uint64_t page, unsigned height);

/* The first key of a branch says nothing. */
static int
walk_below(struct marks *m, struct walk *w, const uint8_t *node, bool first,
    unsigned height)
{
	int rc = first ? 0 : key_follows(m, w, node, false);

	return rc != 0 ? rc : walk(m, w, node_page(node), height);
}

/* `height` levels from this page on. */
static int
walk(struct marks *m, struct walk *w, uint64_t page, unsigned height)
{
	const uint8_t *node;
	uint8_t *buf;
	unsigned i;
	int rc;

	if (w->marks && (rc = mark(m, page, 1)) != 0)
		return rc;
	w->branches += height > 1;
	w->leaves += height == 1;
	if (height == 1 && w->leaf == NULL)
		return 0;
	if ((rc = time_is_up(m)) != 0 || (rc = enter(m, &buf)) != 0)
		return rc;
	rc = db_read_page(&m->f, w->kind, page, height == 1, buf);
	if (rc != 0)
		rc = no_such(m, rc, page);
	if (rc == 0 && (height > 2 || (height == 2 && w->leaf != NULL)))
		fetch(m, buf);
	for (i = 0; rc == 0 && i < db_nodes(buf); i++) {
		node = db_node(buf, i);
		if (height > 1)
			rc = walk_below(m, w, node, i == 0, height - 1);
		else if ((rc = key_follows(m, w, node, true)) == 0)
			rc = w->leaf(m, w, page, buf, node);
	}
	m->levels--;
	return rc;
}

static int
walk_tree(struct marks *m, struct walk *w, const struct store_tree *head)
{
	bool none = head->root == NO_PAGE;
	int rc;

	if (none ? head->depth != 0
		 : head->depth == 0 || head->depth > DEPTH_MAX)
		return damaged(m, "the depth of a tree");
	rc = none ? 0 : walk(m, w, head->root, head->depth);
	return rc != 0 ? rc : counts_are(m, w, head);
}

/* ---- free pages ---- */

/* n numbers; they fall. */
static int
mark_numbers(struct marks *m, uint64_t at, uint64_t n)
{
	uint8_t numbers[LIST_READ * 8];
	uint64_t last = m->head->last_page + 1, page, i, some;
	int rc;

	for (; n > 0; n -= some, at += some * 8) {
		some = n < LIST_READ ? n : LIST_READ;
		if ((rc = time_is_up(m)) != 0 ||
		    (rc = db_read(&m->f, numbers, some * 8, at)) != 0)
			return rc;
		for (i = 0; i < some; i++, last = page) {
			page = get_le64(numbers + i * 8);
			if (page >= last)
				return damaged(m, "the order of free pages");
			if ((rc = mark(m, page, 1)) != 0)
				return rc;
		}
	}
	return 0;
}

/*
 * What a transaction has freed: a count, and so many pages. LMDB may leave an
 * empty list when all of them were taken, or one shorter than its room.
 */
static int
mark_list(struct marks *m, uint64_t at, uint64_t size)
{
	uint8_t count[8];
	uint64_t n;
	int rc =
	    size < 8 || size % 8 != 0 ? -ENODATA : db_read(&m->f, count, 8, at);

	if (rc == 0 && (n = get_le64(count)) > size / 8 - 1)
		rc = -ENODATA;
	if (rc == 0)
		rc = mark_numbers(m, at + 8, n);
	return rc == -ENODATA ? damaged(m, "a list of free pages") : rc;
}

/* Pages of a value, in a row: where they begin in the file. */
static int
mark_run(struct marks *m, struct walk *w, const uint8_t *node, uint64_t *at)
{
	uint64_t page = get_le64(node_data(node)), pages;
	int rc = db_read_run(&m->f, page, node_size(node), &pages);

	*at = page * m->f.page_size + PAGE_HEAD;
	if (rc != 0)
		return no_such(m, rc, page);
	w->overflow += pages;
	return mark(m, page, pages);
}

static int
leaf_free(struct marks *m, struct walk *w, uint64_t page, const uint8_t *buf,
    const uint8_t *node)
{
	uint64_t at = page * m->f.page_size + (uint64_t)(node_data(node) - buf);
	uint64_t txn = get_le64(node + NODE_HEAD);
	int rc = 0;

	if (txn == 0 || txn > m->head->commits)
		return damaged(m, "a list of free pages of no transaction");
	m->freed_by = txn;
	w->entries++;
	if ((node_flags(node) & F_BIGDATA) != 0)
		rc = mark_run(m, w, node, &at);
	return rc != 0 ? rc : mark_list(m, at, node_size(node));
}

/*
 * Each transaction frees at least the root that it found; its list is the last
 * one, or the tree of lists is an older one.
 */
static int
mark_free(struct marks *m)
{
	struct walk w = { &db_kind_free, .marks = true, .leaf = leaf_free };
	int rc = walk_tree(m, &w, &m->head->free);

	if (rc == 0 && m->head->commits > 1 && m->freed_by != m->head->commits)
		rc = damaged(m, "the newest free pages are not in it");
	return rc;
}

/* ---- databases ---- */

static int
leaf_value(struct marks *m, struct walk *w, uint64_t page, const uint8_t *buf,
    const uint8_t *node)
{
	(void)m;
	(void)page;
	(void)buf;
	(void)node;
	w->entries++;
	return 0;
}

static int
walk_subtree(struct marks *m, struct walk *w, const uint8_t *tree)
{
	struct store_tree head = tree_head(tree);

	if (head.root == NO_PAGE || head.flags != w->kind->tree_flags)
		return damaged(m, "a tree of %s", w->kind->name);
	return walk_tree(m, w, &head);
}

/* A key's values are a tree, or a page within its node. */
static int
walk_values(struct marks *m, struct walk *w, const uint8_t *node)
{
	struct walk values = { &db_kind_values, .marks = true,
		.leaf = leaf_value };
	const uint8_t *data = node_data(node);
	unsigned i;
	int rc = 0;

	if ((node_flags(node) & F_SUBDATA) != 0)
		rc = walk_subtree(m, &values, data);
	else
		for (i = 0; rc == 0 && i < db_nodes(data); i++) {
			values.entries++;
			rc = key_follows(m, &values, db_node(data, i), true);
		}
	w->entries += values.entries;
	return rc;
}

/* They are never written over, so none is longer than it has to be. */
static int
mark_chunk(struct marks *m, struct walk *w, const uint8_t *node)
{
	uint64_t pages =
	    (PAGE_HEAD + (uint64_t)node_size(node) + m->f.page_size - 1) /
	    m->f.page_size;

	w->overflow += pages;
	return mark(m, get_le64(node_data(node)), pages);
}

/* What a leaf's node names: pages of a long value, or the values of a key. */
static int
leaf_named(struct marks *m, struct walk *w, uint64_t page, const uint8_t *buf,
    const uint8_t *node)
{
	uint64_t at;

	(void)page;
	(void)buf;
	if ((node_flags(node) & F_DUPDATA) != 0)
		return walk_values(m, w, node);
	w->entries++;
	if ((node_flags(node) & F_BIGDATA) == 0)
		return 0;
	return w->chunks ? mark_chunk(m, w, node) : mark_run(m, w, node, &at);
}

struct database {
	const struct db_kind *kind;
	struct store_tree head;
};

/* The tree of databases is one leaf. */
static int
read_databases(struct marks *m, struct database *dbs, unsigned *count)
{
	const uint8_t *node;
	uint8_t *buf;
	unsigned i;
	int rc = enter(m, &buf);

	if (rc != 0)
		return rc;
	rc = db_read_page(&m->f, &db_kind_names, m->head->root, true, buf);
	*count = rc == 0 ? db_nodes(buf) : 0;
	if (*count > STORE_DBS)
		rc = -EBADMSG;
	for (i = 0; rc == 0 && i < *count; i++) {
		node = db_node(buf, i);
		dbs[i].kind = db_kind(node + NODE_HEAD, node_key_size(node));
		dbs[i].head = tree_head(node_data(node));
	}
	m->levels--;
	return rc != 0 ? no_such(m, rc, m->head->root) : 0;
}

/* What branches name. */
static int
mark_branches(struct marks *m, const struct database *db)
{
	struct walk w = { db->kind, .marks = true };

	return walk_tree(m, &w, &db->head);
}

/* What leaves name; those of "kv" nothing. */
static int
mark_leaves(struct marks *m, const struct database *db)
{
	struct walk w = { db->kind,
		.chunks = db->kind == db_kind_of(STORE_CHUNKS_NAME),
		.leaf = leaf_named };

	if (db->kind == db_kind_of(STORE_KV_NAME))
		return 0;
	return walk_tree(m, &w, &db->head);
}

static int
mark_databases(struct marks *m)
{
	struct database dbs[STORE_DBS];
	unsigned n, i;
	int rc;

	if (m->head->root == NO_PAGE)
		return 0;
	if ((rc = mark(m, m->head->root, 1)) != 0 ||
	    (rc = read_databases(m, dbs, &n)) != 0)
		return rc;
	for (i = 0; rc == 0 && i < n; i++)
		rc = mark_branches(m, &dbs[i]);
	for (i = 0; rc == 0 && i < n; i++)
		rc = mark_leaves(m, &dbs[i]);
	return rc;
}

/* LMDB gives none up without a list. */
static int
all_marked(struct marks *m)
{
	uint64_t page = PAGE_FIRST;

	if (m->count == m->head->last_page + 1 - PAGE_FIRST)
		return 0;
	while ((m->seen[page / 8] & 1u << page % 8) != 0)
		page++;
	return damaged(m, "page %" PRIu64 " is neither in use nor free", page);
}

int
store_db_marks(int fd, const struct store_head *head, uint64_t deadline_ns,
    char *why, size_t why_size)
{
	struct marks m = { .head = head,
		.deadline_ns = deadline_ns,
		.why = why,
		.why_size = why_size };
	struct stat st;
	unsigned i;
	int rc;

	if (head->commits == 0)
		return 0;
	if (fstat(fd, &st) != 0)
		return fault_of_call(-errno);
	m.f.fd = fd;
	m.f.page_size = head->page_size;
	m.f.pages = (uint64_t)st.st_size / head->page_size;
	m.seen = calloc(head->last_page / 8 + 1, 1);
	if (m.seen == NULL)
		return -ENOMEM;
	if ((rc = mark_free(&m)) == 0 && (rc = mark_databases(&m)) == 0)
		rc = all_marked(&m);
	for (i = 0; i < LEVELS_MAX; i++)
		free(m.level[i]);
	free(m.seen);
	return rc;
}
