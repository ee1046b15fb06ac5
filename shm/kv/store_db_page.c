/* Reading pages of data.mdb; see store_db_page.h. */
#include "shm/kv/store_db_page.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/fault.h"
#include "shm/kv/store_db_int.h"

/* Of free pages; LMDB may leave a branch there that leads to one page only. */
const struct db_kind db_kind_free = { "free pages", D_NUMBERS, F_BIGDATA };
const struct db_kind db_kind_names = { "databases", 0, F_SUBDATA };
const struct db_kind db_kind_values = { "keys of a moment", 0, 0 };

/* Values longer than a page are in "chunks"; "terms" of "meta" may be long. */
static const struct db_kind kinds[] = {
	{ STORE_KV_NAME, 0, 0 },
	{ STORE_CHUNKS_NAME, 0, F_BIGDATA },
	{ "slots", 0, 0 },
	{ "meta", 0, F_BIGDATA },
	{ "due", D_DUPSORT, F_DUPDATA | F_SUBDATA },
	{ "expiry", 0, 0 },
};
static const struct db_kind unknown = { "another database", 0, F_BIGDATA };

const struct db_kind *
db_kind(const void *name, size_t n)
{
	size_t i;

	for (i = 0; i < NITEMS(kinds); i++)
		if (strlen(kinds[i].name) == n &&
		    memcmp(kinds[i].name, name, n) == 0)
			return &kinds[i];
	return &unknown;
}

const struct db_kind *
db_kind_of(const char *name)
{
	return db_kind(name, strlen(name));
}

int
db_read(const struct db_file *f, void *to, size_t n, uint64_t at)
{
	ssize_t got = pread(f->fd, to, n, (off_t)at);

	if (got < 0)
		return fault_of_call(-errno);
	return got == (ssize_t)n ? 0 : -ENODATA;
}

/* LMDB goes where these say, of a database that has no such thing, too. */
static bool
flags_may_be(const struct db_kind *kind, const uint8_t *node)
{
	uint16_t flags = node_flags(node);

	if ((flags & ~kind->node_flags) != 0 ||
	    (kind == &db_kind_values && node_size(node) != 0))
		return false;
	if ((flags & F_SUBDATA) != 0)
		return node_size(node) == TREE_SIZE &&
		       (kind == &db_kind_names || (flags & F_DUPDATA) != 0);
	return kind != &db_kind_names;
}

/* How much room it takes. */
static uint64_t
node_room(const uint8_t *node, bool leaf)
{
	uint64_t n = NODE_HEAD + (uint64_t)node_key_size(node);

	if (leaf && (node_flags(node) & F_BIGDATA) != 0)
		n += 8;
	else if (leaf)
		n += node_size(node);
	return n + n % 2;
}

/*
 * The nodes of a page of `size`, without a gap: LMDB puts the next one before
 * them, and moves so much of them as one takes that it deletes.
 */
static bool
nodes_may_be(
    const struct db_kind *kind, const uint8_t *page, uint32_t size, bool leaf)
{
	uint8_t begins[PAGE_MAX / 16 + 1];
	uint32_t upper = get_le16(page + 14), at;
	unsigned n = db_nodes(page), i;
	const uint8_t *node;
	uint64_t room = 0, end;

	memset(begins, 0, size / 16 + 1);
	for (i = 0; i < n; i++) {
		at = get_le16(page + PAGE_HEAD + (size_t)i * 2);
		if (at < upper || at > size - NODE_HEAD || at % 2 != 0 ||
		    (begins[at / 16] & 1u << at / 2 % 8) != 0)
			return false;
		begins[at / 16] |= (uint8_t)(1u << at / 2 % 8);
		node = page + at;
		room += node_room(node, leaf);
		if (leaf && !flags_may_be(kind, node))
			return false;
	}
	for (i = 0; i < n; i++) {
		node = db_node(page, i);
		end = (uint64_t)(node - page) + node_room(node, leaf);
		if (end > size ||
		    (end < size && (begins[end / 16] & 1u << end / 2 % 8) == 0))
			return false;
	}
	return room == size - upper &&
	       (begins[upper / 16] & 1u << upper / 2 % 8) != 0;
}

/* What follows the number and the flags. */
static bool
rest_may_be(
    const struct db_kind *kind, const uint8_t *page, uint32_t size, bool leaf)
{
	uint32_t lower = get_le16(page + 12), upper = get_le16(page + 14);

	/* LMDB asserts that a branch leads to two pages at least. */
	return lower > PAGE_HEAD && lower % 2 == 0 && lower <= upper &&
	       upper <= size && upper % 2 == 0 &&
	       (leaf || db_nodes(page) > 1 || kind == &db_kind_free) &&
	       nodes_may_be(kind, page, size, leaf);
}

/* A few values of one key are in a page within its node. */
static bool
values_may_be(const uint8_t *node)
{
	const uint8_t *page = node_data(node);

	if ((node_flags(node) & (F_DUPDATA | F_SUBDATA)) != F_DUPDATA)
		return true;
	return node_size(node) > PAGE_HEAD && node_size(node) % 2 == 0 &&
	       get_le16(page + 10) == (P_LEAF | P_DIRTY | P_WITHIN) &&
	       rest_may_be(&db_kind_values, page, node_size(node), true);
}

bool
db_page_may_be(const struct db_kind *kind, uint64_t number, bool leaf,
    const uint8_t *page, uint32_t page_size)
{
	unsigned i;

	if (get_le64(page) != number ||
	    get_le16(page + 10) != (leaf ? P_LEAF : P_BRANCH) ||
	    !rest_may_be(kind, page, page_size, leaf))
		return false;
	for (i = 0; leaf && i < db_nodes(page); i++)
		if (!values_may_be(db_node(page, i)))
			return false;
	return true;
}

int
db_read_page(const struct db_file *f, const struct db_kind *kind, uint64_t page,
    bool leaf, uint8_t *buf)
{
	int rc = page < f->pages
		     ? db_read(f, buf, f->page_size, page * f->page_size)
		     : -ENODATA;

	if (rc != 0)
		return rc;
	return db_page_may_be(kind, page, leaf, buf, f->page_size) ? 0
								   : -EBADMSG;
}

int
db_read_run(
    const struct db_file *f, uint64_t page, uint64_t size, uint64_t *pages)
{
	uint8_t head[PAGE_HEAD];
	int rc = page < f->pages
		     ? db_read(f, head, sizeof(head), page * f->page_size)
		     : -ENODATA;

	if (rc != 0)
		return rc;
	*pages = get_le32(head + 12);
	if (get_le64(head) != page || get_le16(head + 10) != P_OVERFLOW ||
	    *pages * f->page_size < PAGE_HEAD + size)
		return -EBADMSG;
	return *pages <= f->pages - page ? 0 : -ENODATA;
}
