/*
 * Segment files: data_dir/wal/NNNNNNNN.seg (8 hex digits, from 1), a whole
 * number of blocks each. Byte-exact description: nodelife-wal(5).
 *
 *	block 0		one REC_SEGMENT record that fills it (len = block)
 *	then		batches: REC_BATCH, records, sometimes a REC_PAD
 *	last block	never holds records: punching it waits for direct
 *			writes that a killed process left behind
 *
 * The chain is what a record's CRC is seeded with. In format 2 it is the CRC
 * of the newest replicated record: records of this log only do not move it, so
 * (VLSN, term, chain) is the same on every member, and a replicated record's
 * bytes are the same wherever they lie. Header and heads are seeded with 0 and
 * state the chain where they stand: whoever knows it compares, who does not
 * still sees each error within 32 bits. (Seeded by what they state, there
 * would be one of these that changes the CRC in both ways alike.) A pad, which
 * states nothing, is seeded by the chain. In format 1 every record moves it,
 * and seeds heads, too. New segments are of format 2; one that continues a
 * segment of format 1 goes on with the chain as it ended there, and none of
 * format 1 continues one of format 2.
 *
 * A segment's life is a random number, made when it is begun: the origin of
 * its records of this log only. What lies in the file from another life, even
 * if that had the same number, is thus no evidence. Format 1 has no lives: 0.
 *
 * Payload of REC_SEGMENT (its own time field: when it was begun, its term
 * field: as term before; its CRC is seeded with 0):
 *	off size
 *	  0    4  magic "NLWS"
 *	  4    4  format version, 1 or 2
 *	  8   16  group uuid
 *	 24    8  generation
 *	 32    4  segment number, equal to the file's name; else the block is
 *		  of the file's former life and the file was never begun
 *	 36    4  block size
 *	 40    8  first VLSN: supersedes everything at or after it
 *	 48    8  term before: of the record before the first VLSN
 *	 56    4  number of the segment it continues, 0 = it starts a log
 *	 60    4  end offset there: valid bytes of that segment
 *	 64    4  the chain before the first VLSN; in format 1: CRC of the last
 *		  record of that segment
 *	 68    4  size of the file, durable before this block is; 0 = a release
 *		  before this field wrote it
 *	 72    8  time of the record before the first VLSN
 *	 80    8  newest REC_MEMBER before the first VLSN, though the scan of a
 *		  boot begins here; one before the oldest segment: none is left;
 *		  0 = not told: a release before this field wrote it
 *	 88    8  newest VLSN that any cut took, if the first one is not above
 *		  it: so in each segment behind a cut until as many records are
 *		  there again; else 0. Segments of lower numbers prove nothing
 *		  of VLSNs from the first one up to there
 *	 96	  zeros
 *
 * Payload of REC_BATCH, the head of what one flush carries:
 *	  0    8  durable: newest VLSN known flushed when it was written
 *	  8    8  committed, known then
 *	 16    4  segment number
 *	 20    4  offset of this head in the file
 *	 24    4  the chain there: a head verifies by itself
 *	 28    4  length of the flush: head, records and pad
 * A head is thus found and trusted also behind a broken place, and tells
 * whether what is broken had been durable. Everything of a segment is
 * flushed before its successor's header is written, so every byte below the
 * end that a successor states was durable.
 *
 * VLSN map samples point at the first record behind a batch head: whoever
 * starts reading there steps back SEGMENT_BATCH_LEN to get the chain's seed.
 */
#ifndef SHM_LOG_SEGMENT_H
#define SHM_LOG_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/log/record.h"

#define SEGMENT_MAGIC      UINT32_C(0x53574c4e) /* "NLWS" */
#define SEGMENT_FORMAT_1   1u
#define SEGMENT_FORMAT     2u /* of what is written */
#define SEGMENT_FORMAT_OFF 4
#define SEGMENT_UUID_OFF   8
#define SEGMENT_GEN_OFF    24
#define SEGMENT_NUM_OFF    32
#define SEGMENT_BLOCK_OFF  36
#define SEGMENT_FIRST_OFF  40
#define SEGMENT_TERM_OFF   48
#define SEGMENT_PNUM_OFF   56
#define SEGMENT_PEND_OFF   60
#define SEGMENT_PCRC_OFF   64
#define SEGMENT_SIZE_OFF   68
#define SEGMENT_TIME_OFF   72
#define SEGMENT_MEMBER_OFF 80
#define SEGMENT_CUT_OFF    88
#define SEGMENT_PAYLOAD    96 /* bytes in use; zeros behind */

#define BATCH_DURABLE_OFF   0
#define BATCH_COMMITTED_OFF 8
#define BATCH_SEGMENT_OFF   16
#define BATCH_OFFSET_OFF    20
#define BATCH_PCRC_OFF      24
#define BATCH_LENGTH_OFF    28
#define BATCH_PAYLOAD       32

#define SEGMENT_BATCH_LEN  (REC_HEADER_SIZE + BATCH_PAYLOAD) /* 80 */
#define SEGMENT_BLOCK_MIN  4096u
#define SEGMENT_BLOCK_MAX  65536u
#define SEGMENT_SIZE_MAX   (UINT32_C(1) << 30)
#define SEGMENT_NAME_MAX   16 /* "00000001.seg" and its NUL */
#define SEGMENT_FENCE_SIZE 4096u /* bytes at the file's end to punch */
#define SEGMENT_LIFE_ANY   UINT64_MAX /* where the header is no help */
/*
 * At most so many bytes are in flight: a flush that knows a record to be
 * durable begins no further behind that record.
 */
#define SEGMENT_FLIGHT_WINDOW (2u * 1024 * 1024)

struct segment_info {
	uint8_t uuid[16];
	uint64_t generation;
	uint64_t life; /* 0: of format 1 */
	uint32_t format;
	uint32_t number;
	uint32_t block;
	uint64_t first_vlsn;
	uint64_t term_before;
	int64_t time_before_ms; /* of the record before first_vlsn */
	uint64_t member; /* newest REC_MEMBER before that; 0 = not told */
	uint64_t cut; /* newest VLSN that is cut off before it; 0 = none */
	int64_t begun_ms;
	uint32_t prev_number;
	uint32_t prev_end;
	uint32_t prev_crc; /* the chain before first_vlsn */
	uint32_t size; /* of the file; 0 = not told */
	uint32_t crc; /* of the header record: seeds the chain of format 1 */
};

struct segment_batch {
	uint64_t durable, committed;
	uint64_t life;
	uint32_t segment, offset;
	uint32_t prev_crc; /* the chain there */
	uint32_t length;
};

/* What a record's CRC is seeded with where the chain stands at `chain`. */
static inline uint32_t
segment_seed(uint32_t format, uint32_t chain, unsigned type)
{
	return format != SEGMENT_FORMAT_1 && type == REC_BATCH ? 0 : chain;
}

/* The chain behind a record of that CRC. */
static inline uint32_t
segment_chain(uint32_t format, uint32_t chain, unsigned type, uint32_t crc)
{
	return format == SEGMENT_FORMAT_1 || record_replicated(type) ? crc
								     : chain;
}

/* A life for a segment that is begun. */
uint64_t segment_life_new(void);

/* What a boot leaves of a file that ends there, gone on in another one. */
static inline uint64_t
segment_trimmed_size(uint32_t end)
{
	return align_up(end, SEGMENT_BLOCK_MAX) + SEGMENT_BLOCK_MAX;
}

void segment_name(char out[SEGMENT_NAME_MAX], uint32_t number);
/* The number in a segment's file name, or 0 if it is no such name. */
uint32_t segment_number(const char *name);
/* Do a header's fields fit together? Asked before one is written, and after. */
bool segment_info_ok(const struct segment_info *info);
/* Fill info->block bytes at `at`; returns (and sets info->crc) the CRC. */
uint32_t segment_encode(uint8_t *at, struct segment_info *info);
/*
 * 0; -ENODATA: zeros, nothing was ever written; -EAGAIN: n is shorter than
 * the block; -EBADMSG: damaged or torn; -EPROTONOSUPPORT: whole, of a newer
 * format; of *out only the number counts then. Whether that is the file's name
 * is the caller's to compare.
 */
int segment_decode(const uint8_t *at, size_t n, struct segment_info *out);

/* Header (CRC 0) and payload of a batch head; the caller seals it. */
void batch_encode(
    uint8_t *at, const struct segment_batch *b, uint64_t term, int64_t time_ms);
/* 0 or -EBADMSG; rec is a decoded REC_BATCH. */
int batch_decode(const struct record *rec, struct segment_batch *out);
/* A pad of len bytes (>= REC_HEADER_SIZE, multiple of 8); caller seals it. */
void pad_encode(
    uint8_t *at, uint32_t len, uint64_t life, uint64_t term, int64_t time_ms);

/* Following a chain: what is known up to `offset`. Pure, fed by the caller. */
struct segment_scan {
	uint64_t life; /* of the segment */
	uint32_t format; /* likewise */
	uint32_t number; /* segment */
	uint32_t offset; /* of the next record in the file */
	uint32_t seed; /* the chain there */
	uint32_t batches; /* heads seen */
	uint32_t batch_end; /* where the newest head's flush ends */
	uint64_t vlsn; /* newest seen (first VLSN - 1 at the start) */
	uint64_t term; /* of that record */
	int64_t time_ms; /* of that record */
	uint64_t durable; /* highest in any head seen */
	uint64_t committed; /* likewise */
};

/* Stand behind a segment's header. */
void segment_scan_begin(struct segment_scan *s, const struct segment_info *i);
/*
 * `at` holds n bytes of the file from s->offset on. 0: *out is a record that
 * continues the chain, s stands behind it. -EAGAIN: n is too short to tell.
 * -EBADMSG: what is there does not continue the chain; s is unchanged. If
 * s->offset < s->batch_end then, the tear or damage is inside a flush.
 * -EPROTONOSUPPORT: it does, but only a newer release knows what it is.
 */
int segment_scan_next(
    struct segment_scan *s, const uint8_t *at, size_t n, struct record *out);
/*
 * Look for batch heads of this segment and this life of it anywhere in `at` (n
 * bytes from file offset `offset`, a multiple of 8): raises seen->durable,
 * ->committed, and sets ->segment if there is one. Returns how many there are.
 */
unsigned segment_look(const uint8_t *at, size_t n, uint32_t number,
    uint64_t life, uint32_t offset, struct segment_batch *seen);

/* What is in data_dir/wal. */
enum segment_state {
	SEGMENT_VALID, /* its header is whole and of this file */
	SEGMENT_UNBEGUN, /* zeros, or a header of a former life */
	SEGMENT_BAD /* torn while begun, or damaged */
};

struct segment_entry {
	uint32_t number;
	uint32_t end; /* valid bytes by its successor's word; 0 = open */
	uint64_t file_size;
	uint8_t state; /* enum segment_state */
	bool in_chain; /* of the log as the newest header tells it */
	bool unreadable; /* its first bytes could not be read: bad, so far */
	bool newer; /* bad, but whole, and of a format of a newer release */
	bool dropped; /* begun by a life whose flush failed: does not count */
	struct segment_info info; /* if valid */
};

struct segment_list {
	struct segment_entry *entry; /* by number, rising */
	uint32_t count;
	uint32_t newest; /* index of the newest valid one, or UINT32_MAX */
	uint32_t oldest; /* index of the oldest in the chain */
	uint32_t missing; /* number that the oldest continues but that is not
			     there as a valid segment; 0 = starts the log */
};

/*
 * Read the headers of a directory (direct: past the page cache where that
 * works) and resolve the chain. wal may take files away meanwhile. 0 or -errno;
 * free with segment_list_free().
 */
int segment_list_load(struct segment_list *l, int wal_dir, bool direct);
void segment_list_free(struct segment_list *l);
/* Pure: from the headers to newest, oldest, missing, in_chain and ends. */
void segment_list_resolve(struct segment_list *l);
/*
 * Something tells of a record `vlsn` in a segment of at most that number. How
 * much of it still counts: vlsn, or, if a newer header of the chain says that
 * this was cut off, the last one before.
 */
uint64_t segment_list_uncut(
    const struct segment_list *l, uint64_t vlsn, uint32_t number);
/* The newest VLSN that any cut took, by all headers; 0 = none did. */
uint64_t segment_list_cut(const struct segment_list *l);
/* The chain's next segment after entry i, or UINT32_MAX. */
uint32_t segment_list_next(const struct segment_list *l, uint32_t i);

/*
 * Reading one segment, record by record. Bytes come in chunks from a source;
 * the default one is pread.
 */
#define SEGMENT_HEADROOM REC_LEN_MAX

struct segment_source {
	/*
	 * The bytes from file offset `offset` (a multiple of the block size,
	 * each call follows the one before except after a seek). *n = 0 at
	 * the file's end. *data stays valid until the next call and has
	 * SEGMENT_HEADROOM writable bytes in front. 0 or -errno.
	 */
	int (*read)(void *ctx, uint32_t offset, uint8_t **data, size_t *n);
	void *ctx;
};

struct segment_reader {
	struct segment_info info;
	struct segment_scan scan;
	struct segment_source source;
	uint8_t *at; /* bytes from scan.offset on */
	size_t left; /* how many */
	uint32_t fetch; /* file offset of the next chunk */
	uint32_t limit; /* no record ends behind it; 0 = file's end */
	/* The pread source. */
	int fd;
	bool direct;
	size_t chunk;
	uint8_t *memory; /* headroom and chunk */
};

/*
 * Open number's file and read its header. chunk: bytes a read, multiple of
 * SEGMENT_BLOCK_MAX. 0; -ENOENT; -ENODATA: never begun; -EBADMSG: damaged
 * header; other -errno. On error nothing is held.
 */
int segment_reader_open(struct segment_reader *r, int wal_dir, uint32_t number,
    size_t chunk, bool direct);
/* Read from another source; info is known already. Nothing to close. */
void segment_reader_use(struct segment_reader *r,
    const struct segment_info *info, const struct segment_source *source);
void segment_reader_close(struct segment_reader *r);
/*
 * Stand before the record at `offset`, which is the first behind a batch head
 * and has that VLSN. 0, or -EBADMSG if no such head is there (a stale hint),
 * or not before the limit.
 */
int
segment_reader_seek(struct segment_reader *r, uint32_t offset, uint64_t vlsn);
/*
 * The next record, any type; out->payload is valid until the next call.
 * *offset (may be NULL) gets its place. 0; -ENODATA: nothing at scan.offset
 * continues the chain (whether that is the end, a tear or damage is the
 * caller's to judge); -EPROTONOSUPPORT: a record of a newer release; -errno of
 * the source.
 */
int segment_reader_next(
    struct segment_reader *r, struct record *out, uint32_t *offset);
/* Forget buffered bytes: the next call reads the file again. */
void segment_reader_refresh(struct segment_reader *r);
/*
 * Nothing chains at scan.offset: do the bytes there look like a flush that
 * was begun (a head that names this place, or behind a broken one the record
 * that would come next)? It tells a torn end from a plain one, and is never
 * a proof that anything had been durable.
 */
bool segment_reader_unfinished(struct segment_reader *r);
/*
 * Look for batch heads within one flight window from scan.offset on. 0 or
 * -errno; the reader is spent afterwards.
 */
int segment_reader_look(struct segment_reader *r, struct segment_batch *seen);
/* The same for a file whose header is no help: heads of any life. */
int segment_file_look(
    int wal_dir, uint32_t number, bool direct, struct segment_batch *seen);

#endif
