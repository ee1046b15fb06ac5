/*
 * A data directory of the release before log format 2. In some seeds the node,
 * stopped in order, comes back as that release: what it left is made format 1,
 * durable, while nobody runs and nothing is on its way to the disk. This one
 * continues it, whatever is done to it meanwhile; and no header of format 2 may
 * be there, in the cache or on the platter, while the node file says format 1:
 * the older release would take it for damage.
 */
#include "t/sim/node/sim_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/node_file.h"
#include "shm/log/segment.h"
#include "t/sim/node/sim_core.h"
#include "t/sim/node/sim_node.h"

#define FILES_MAX 4096 /* that the log has */
#define TEXT_MAX  4096 /* of the node file */

struct older_file {
	struct sim_inode *inode;
	uint32_t number;
	uint8_t *bytes;
};

static struct sim_inode *
inode_of(const char *name)
{
	char path[PATH_MAX];
	struct sim_place place;

	snprintf(path, sizeof(path), "%s/%s", world.conf.node.data_dir, name);
	return sim_path_find(AT_FDCWD, path, true, &place) == 0 ? place.inode
								: NULL;
}

static struct sim_inode *
node_get(struct node_file *node)
{
	struct sim_inode *i = inode_of(NODE_FILE_NAME);
	char text[TEXT_MAX], why[128];
	ssize_t n = i != NULL ? sim_content_read(i, text, sizeof(text), 0) : -1;

	if (n < 0 ||
	    node_file_decode(text, (size_t)n, node, why, sizeof(why)) != 0)
		return NULL;
	return i;
}

static void
durably(struct sim_inode *i, const void *bytes, uint64_t size)
{
	if (sim_content_write(i, bytes, size, 0) != (ssize_t)size ||
	    sim_content_flush(i, 0, UINT64_MAX) != 0)
		sim_fail("an older release's file cannot be written");
}

/* So that a power loss brings no file back that was unlinked before. */
static void
names_durably(const char *name)
{
	struct sim_inode *dir = inode_of(name);

	if (dir != NULL && sim_dir_sync(dir) != 0)
		sim_fail("an older release's names cannot be written");
}

static int
by_number(const void *a, const void *b)
{
	const struct older_file *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/*
 * The log's files, in their order, each with n bytes of it (0: all). A disk
 * that fails fails the node, not who looks from outside.
 */
static unsigned
files_read(struct older_file *out, uint64_t most)
{
	struct sim_inode *dir = inode_of("wal");
	const struct sim_entry *e;
	unsigned n = 0, fail_read;
	uint64_t size;

	if (dir == NULL)
		return 0;
	fail_read = dir->disk->faults.fail_read;
	dir->disk->faults.fail_read = 0;
	for (uint64_t k = 0;
	     n < FILES_MAX && (e = sim_entry_nth(dir, k)) != NULL; k++) {
		out[n].number = segment_number(e->name);
		out[n].inode = e->now;
		if (out[n].number == 0)
			continue;
		size = most != 0 ? most : e->now->size;
		out[n].bytes = calloc(1, size + 1);
		if (out[n].bytes == NULL ||
		    sim_content_read(e->now, out[n].bytes, size, 0) < 0)
			abort();
		n++;
	}
	dir->disk->faults.fail_read = fail_read;
	qsort(out, n, sizeof(*out), by_number);
	return n;
}

static void
files_free(struct older_file *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(f[i].bytes);
	free(f);
}

/* CRC of the record that ends at `end` of a segment of format 1. */
static uint32_t
crc_before(const struct older_file *f, uint32_t end)
{
	uint32_t at = 0, crc = 0, len;

	for (; at < end; at += len) {
		crc = get_le32(f->bytes + at + REC_CRC_OFF);
		len = get_le32(f->bytes + at + REC_LEN_OFF);
		if (len < REC_HEADER_SIZE)
			break;
	}
	return crc;
}

/* File i as it would be in format 1; those before it are. */
static void
segment_older(struct older_file *f, unsigned i)
{
	uint64_t size = f[i].inode->size;
	uint8_t *bytes = f[i].bytes;
	struct segment_info info;
	struct segment_scan scan;
	struct record rec;
	uint32_t seed, at;

	if (segment_decode(bytes, size, &info) != 0 ||
	    info.number != f[i].number || info.format == SEGMENT_FORMAT_1)
		return;
	segment_scan_begin(&scan, &info);
	info.format = SEGMENT_FORMAT_1;
	info.life = 0;
	if (info.prev_number == 0)
		info.prev_crc = 0;
	for (unsigned k = 0; k < i; k++)
		if (f[k].number == info.prev_number)
			info.prev_crc = crc_before(&f[k], info.prev_end);
	seed = segment_encode(bytes, &info);
	for (at = scan.offset;
	     segment_scan_next(&scan, bytes + at, size - at, &rec) == 0;
	     at = scan.offset) {
		if (rec.type == REC_BATCH)
			put_le32(bytes + at + REC_HEADER_SIZE + BATCH_PCRC_OFF,
			    seed);
		if (rec.vlsn == 0)
			put_le64(bytes + at + REC_ORIGIN_OFF, 0);
		seed = record_seal(bytes + at, rec.len, seed);
	}
	durably(f[i].inode, bytes, at);
}

static bool
disk_is_good(const struct sim_disk_faults *f)
{
	return f->fail_write == 0 && f->fail_flush == 0 &&
	       f->short_write == 0 && f->lying_flush == 0;
}

void
older_make(void)
{
	struct older_file *f = calloc(FILES_MAX, sizeof(*f));
	struct sim_inode *i;
	struct node_file node;
	char text[TEXT_MAX];
	unsigned n;
	int len;

	i = node_get(&node);
	if (f == NULL || i == NULL || sim_ring_orphans() != 0 ||
	    !disk_is_good(&i->disk->faults)) {
		free(f);
		return;
	}
	n = files_read(f, 0);
	for (unsigned k = 0; k < n; k++)
		segment_older(f, k);
	node.format = NODE_FILE_FORMAT_1;
	if ((len = node_file_encode(&node, text, sizeof(text))) < 0)
		abort();
	durably(i, text, (uint64_t)len);
	names_durably(".");
	names_durably("wal");
	world.is_older = true;
	sim_tell("the log's %u files are of an older release", n);
	files_free(f, n);
}

void
older_look(void)
{
	struct older_file *f;
	struct segment_info info;
	struct node_file node;
	unsigned n;

	if (node_get(&node) == NULL)
		return; /* not yet, or damaged: a boot says so */
	world.is_older = node.format == NODE_FILE_FORMAT_1;
	if (!world.is_older || (f = calloc(FILES_MAX, sizeof(*f))) == NULL)
		return;
	n = files_read(f, SEGMENT_BLOCK_MAX);
	for (unsigned i = 0; i < n; i++)
		if (segment_decode(f[i].bytes, SEGMENT_BLOCK_MAX, &info) == 0 &&
		    info.number == f[i].number &&
		    info.format != SEGMENT_FORMAT_1)
			sim_fail("wal/%08x.seg is of format %u, and no older "
				 "release is told",
			    info.number, info.format);
	files_free(f, n);
}
