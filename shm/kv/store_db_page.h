/*
 * The pages of data.mdb, read by pread() as bytes of anybody's: LMDB maps them,
 * and believes what they say; it has no checksums. Layouts, of LMDB 0.9:
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
#ifndef SHM_KV_STORE_DB_PAGE_H
#define SHM_KV_STORE_DB_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/bits.h"
#include "shm/kv/store_db.h"

#define PAGE_MIN   4096u
#define PAGE_MAX   32768u
#define PAGE_HEAD  16u
#define PAGE_FIRST 2u /* behind the meta pages */
#define NODE_HEAD  8u
#define TREE_SIZE  48u
#define META_SIZE  152u
#define NO_PAGE    UINT64_MAX
#define DEPTH_MAX  32u /* LMDB's */

#define P_BRANCH   0x01u
#define P_LEAF     0x02u
#define P_OVERFLOW 0x04u
#define P_META     0x08u
#define P_DIRTY    0x10u /* not in a file, but for those within a node */
#define P_WITHIN   0x40u
#define F_BIGDATA  0x01u /* the data is the number of its first page */
#define F_SUBDATA  0x02u /* the data is a tree */
#define F_DUPDATA  0x04u /* of the values of a key; without SUBDATA, a page */
#define D_DUPSORT  0x04u
#define D_NUMBERS  0x08u /* keys of the free pages' tree */

struct db_file {
	int fd;
	uint32_t page_size;
	uint64_t pages; /* that it has, whole ones */
};

/* What a database of ours may have in it. */
struct db_kind {
	const char *name; /* of no database: to tell what is wrong */
	uint16_t tree_flags;
	uint16_t node_flags; /* any of these, in a leaf */
};

/*
 * By its name; of one that is not known, what any may have. The others: of free
 * pages; of databases; of the values that a key of "due" has, which are keys.
 */
const struct db_kind *db_kind(const void *name, size_t n);
const struct db_kind *db_kind_of(const char *name);
extern const struct db_kind db_kind_free, db_kind_names, db_kind_values;

/*
 * Is it a page of such a tree, a leaf or a branch, and are its nodes, all of
 * them, what and where they can be?
 */
bool db_page_may_be(const struct db_kind *kind, uint64_t number, bool leaf,
    const uint8_t *page, uint32_t page_size);
/* -ENODATA: the file ends before. */
int db_read(const struct db_file *f, void *to, size_t n, uint64_t at);
/*
 * Read such a page into buf, of f->page_size. 0, -errno, -ENODATA, or -EBADMSG.
 */
int db_read_page(const struct db_file *f, const struct db_kind *kind,
    uint64_t page, bool leaf, uint8_t *buf);
/* How many pages a value has that begins at `page`. As above. */
int db_read_run(
    const struct db_file *f, uint64_t page, uint64_t size, uint64_t *pages);

static inline unsigned
db_nodes(const uint8_t *page)
{
	return (get_le16(page + 12) - PAGE_HEAD) / 2;
}

/* Of a page that was read so: i is below db_nodes(). */
static inline const uint8_t *
db_node(const uint8_t *page, unsigned i)
{
	return page + get_le16(page + PAGE_HEAD + (size_t)i * 2);
}

static inline uint16_t
node_flags(const uint8_t *node)
{
	return get_le16(node + 4);
}

static inline uint16_t
node_key_size(const uint8_t *node)
{
	return get_le16(node + 6);
}

static inline uint32_t
node_size(const uint8_t *node)
{
	return get_le32(node);
}

static inline const uint8_t *
node_data(const uint8_t *node)
{
	return node + NODE_HEAD + node_key_size(node);
}

/* Where a branch leads. */
static inline uint64_t
node_page(const uint8_t *node)
{
	return get_le32(node) | (uint64_t)get_le16(node + 4) << 32;
}

static inline uint64_t
tree_root(const uint8_t *tree)
{
	return get_le64(tree + 40);
}

static inline unsigned
tree_depth(const uint8_t *tree)
{
	return get_le16(tree + 6);
}

static inline struct store_tree
tree_head(const uint8_t *tree)
{
	return (struct store_tree){ .root = tree_root(tree),
		.branches = get_le64(tree + 8),
		.leaves = get_le64(tree + 16),
		.overflow = get_le64(tree + 24),
		.entries = get_le64(tree + 32),
		.flags = get_le16(tree + 4),
		.depth = get_le16(tree + 6) };
}

static inline uint64_t
meta_txn(const uint8_t *m)
{
	return get_le64(m + 144);
}

static inline uint64_t
last_page(const uint8_t *m)
{
	return get_le64(m + 136);
}

#endif
