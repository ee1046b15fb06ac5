/*
 * The VLSN index on disk: data_dir/index/vlsn.idx, pages of 4 KiB. Byte-exact
 * description, shared with nodelife-wal(5):
 *
 *	every page
 *	off size
 *	  0    4  CRC32C of bytes 4..4095
 *	  4    4  magic "VIDX"
 *	  8    2  version, 1
 *	 10    2  kind: 1 head (page 0 only), 2 samples
 *	 12    4  page number
 *	 16    8  life: random, the same in all pages of one file
 *	head
 *	 24   16  group uuid
 *	 40    8  group generation
 *	 48    4  stride: log bytes from one sample to the next, about
 *	 52       zeros
 *	samples
 *	 24    8  durable VLSN known when the page was written
 *	 32    4  count of samples, 1..253
 *	 36    4  zero
 *	 40       count x { u64 VLSN, u64 LSN }, both rising through the file;
 *		  LSN = segment number << 32 | byte offset. Then zeros.
 *
 * Pages are appended; only the last one is ever written again, with the same
 * samples and more behind them. Anything else makes a new file.
 *
 * Pure but for index_file_read(): the bytes may come from anywhere.
 */
#ifndef SHM_LOG_INDEX_FILE_H
#define SHM_LOG_INDEX_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/log/vmap.h"

#define INDEX_DIR          "index"
#define INDEX_NAME         "vlsn.idx"
#define INDEX_TMP_NAME     "vlsn.idx.tmp"
#define INDEX_MAGIC        0x58444956u /* "VIDX" */
#define INDEX_VERSION      1u
#define INDEX_PAGE         4096u
#define INDEX_PAGE_SAMPLES 253u
#define INDEX_PAGES_MAX    4096u /* a larger file was not written by us */

enum index_kind { INDEX_HEAD = 1, INDEX_SAMPLES = 2 };

/* What a file must agree on with the log that it indexes. */
struct index_id {
	uint8_t group_uuid[16];
	uint64_t generation;
};

struct index_head {
	struct index_id id;
	uint64_t life;
	uint32_t stride;
};

/* A file as read. sample is malloced; index_image_free(). */
struct index_image {
	struct index_head head;
	struct vmap_pair *sample; /* rising */
	size_t count;
	uint32_t pages; /* whole pages, head included */
	uint32_t bad; /* pages that were skipped, torn ones too */
	uint64_t durable; /* the highest that a page carries */
};

void index_head_encode(uint8_t page[INDEX_PAGE], const struct index_head *head);
/* n: 1..INDEX_PAGE_SAMPLES. */
void index_page_encode(uint8_t page[INDEX_PAGE], uint64_t life, uint32_t number,
    uint64_t durable, const struct vmap_pair *pair, unsigned n);

/*
 * Read a whole file. 0: the head is good; pages that are not are skipped and
 * counted. -EBADMSG: no good head; -EFBIG; -ENOMEM. *out is set in any case.
 */
int index_parse(const uint8_t *data, size_t n, struct index_image *out);
void index_image_free(struct index_image *img);
/*
 * The same of INDEX_NAME in the directory dir; blocks. Also -ENOENT: there is
 * none, and -errno of the read. The file is closed again.
 */
int index_file_read(int dir, struct index_image *out);

/*
 * Union of two rising lists into out (room for na + nb); returns its length.
 * `sure` wins: a sample of `doubtful` that contradicts it, or whose LSN does
 * not rise with its VLSN, is left out and counted in *dropped.
 */
size_t index_merge(const struct vmap_pair *doubtful, size_t na,
    const struct vmap_pair *sure, size_t nb, struct vmap_pair *out,
    size_t *dropped);

#endif
