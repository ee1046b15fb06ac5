/*
 * Records: what the log holds. Byte-exact description: nodelife-wal(5).
 *
 *	off size
 *	  0    4  CRC32C of bytes 4..len-1, seeded with the chain where the
 *		  record stands (segment.h): the CRC of the replicated record
 *		  before it; in a log of format 1, of the record before it
 *	  4    4  len: whole record with header and padding, multiple of 8
 *	  8    8  VLSN; 0 in records that are of this log only
 *	 16    8  term
 *	 24    8  log time, ms since the epoch: not below that of the record
 *		  before it, but in a REC_CLOCK
 *	 32    8  origin: slot:8 | incarnation:24 | seq:32; 0 = none. In a
 *		  record of this log only: the life of its segment (segment.h)
 *	 40    1  type
 *	 41    1  flags
 *	 42    2  bound: the most that applying it may take of the table's
 *		  arena, in units of 64 KiB; 0 in a record of an older
 *		  release (1 GiB), and in all but REC_OP and REC_MULTI
 *	 44    4  payload length
 *	 48       payload, then zeros up to len
 *
 * Payload of REC_CLOCK, which sets log time back to its own time:
 *	  0    8  log time without it: above its own
 *	  8    4  cause: enum clock_cause
 *	 12    4  zero
 */
#ifndef SHM_LOG_RECORD_H
#define SHM_LOG_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/bits.h"

#define REC_CRC_OFF     0
#define REC_LEN_OFF     4
#define REC_VLSN_OFF    8
#define REC_TERM_OFF    16
#define REC_TIME_OFF    24
#define REC_ORIGIN_OFF  32
#define REC_TYPE_OFF    40
#define REC_FLAGS_OFF   41
#define REC_BOUND_OFF   42
#define REC_PLEN_OFF    44
#define REC_HEADER_SIZE 48
/* The largest record: a part of REQ_PART_MAX and its header, rounded. */
#define REC_LEN_MAX    (256u * 1024)
#define REC_BOUND_UNIT (64u * 1024)
/* The largest bound; a record without one has it. */
#define REC_BOUND_MAX (UINT64_C(1) << 30)

enum record_type {
	/* Of this log only: VLSN 0, never replicated. */
	REC_SEGMENT = 1, /* a segment's header; fills its first block */
	REC_BATCH = 2, /* head of one flush: durable, committed then */
	REC_PAD = 3, /* fills a block; payload is zeros */
	/* Replicated. */
	REC_TERM = 16, /* first record of a term */
	REC_MEMBER = 17, /* the membership from here on */
	REC_OP = 18, /* one operation on the store (shm/kv/op.h) */
	REC_MULTI = 19, /* several, applied as one */
	REC_PART = 20, /* a piece of the next record's payload */
	REC_CLOCK = 21 /* log time goes back from here on */
};

enum record_flag {
	REC_WANT_RESULT = 1, /* origin waits for the result of applying */
	REC_HAS_PARTS = 2 /* payload = the parts before it, then this one */
};

#define CLOCK_PAYLOAD 16

/* Why log time goes back. */
enum clock_cause {
	CLOCK_WAS_AHEAD = 1, /* at boot the log was ahead of the clock */
	CLOCK_SET_BACK = 2 /* the clock was set back while the node ran */
};

/* A record as decoded; payload points into somebody's buffer. */
struct record {
	uint32_t crc;
	uint32_t len;
	uint64_t vlsn;
	uint64_t term;
	int64_t time_ms;
	uint64_t origin;
	uint8_t type;
	uint8_t flags;
	uint16_t bound; /* units; record_bound() */
	uint32_t payload_len;
	const uint8_t *payload;
};

/* Whole record length for a payload: header, payload, padding to 8. */
static inline uint32_t
record_len(uint32_t payload_len)
{
	return (uint32_t)align_up(REC_HEADER_SIZE + (uint64_t)payload_len, 8);
}

static inline uint64_t
record_origin(unsigned slot, uint32_t incarnation, uint32_t seq)
{
	return (uint64_t)(slot & 0xff) << 56 |
	       (uint64_t)(incarnation & 0xffffff) << 32 | seq;
}

static inline unsigned
origin_slot(uint64_t origin)
{
	return (unsigned)(origin >> 56);
}

static inline uint32_t
origin_incarnation(uint64_t origin)
{
	return (uint32_t)(origin >> 32) & 0xffffff;
}

/* Is it the same on every member, with a VLSN of its own? */
static inline bool
record_replicated(unsigned type)
{
	return type >= REC_TERM;
}

/* Is it one that changes the store (and has a bound)? */
static inline bool
record_applies(unsigned type)
{
	return type == REC_OP || type == REC_MULTI;
}

/* Bytes of the table's arena that applying it may take. */
static inline uint64_t
record_bound(const struct record *rec)
{
	return rec->bound != 0 ? (uint64_t)rec->bound * REC_BOUND_UNIT
			       : REC_BOUND_MAX;
}

/* Writes the header (CRC 0) at `at`; the caller fills the payload. */
void record_encode(uint8_t *at, const struct record *rec);
/* Stores and returns the CRC of the finished record at `at`. */
uint32_t record_seal(uint8_t *at, uint32_t len, uint32_t seed);
/*
 * Decode one record from n bytes. Checks shape only (lengths, type, zeros):
 * 0, -EBADMSG, or -EAGAIN if n is too short to hold it.
 */
int record_decode(const uint8_t *at, size_t n, struct record *out);
/* Can a record, of any release, be that long? */
bool record_len_ok(uint32_t len);
/* Does the record's CRC continue the chain that ended in `seed`? */
bool record_chains(const uint8_t *at, uint32_t len, uint32_t seed);
/*
 * Can this replicated record come behind one of that VLSN, term and time?
 * VLSNs are dense; terms never fall, nor do times, but by a CLOCK record that
 * knows the time before it.
 */
enum record_follows {
	FOLLOWS,
	FOLLOWS_NOT_VLSN,
	FOLLOWS_NOT_TERM,
	FOLLOWS_NOT_TIME
};
enum record_follows record_follows(
    const struct record *rec, uint64_t vlsn, uint64_t term, int64_t time_ms);
/* Payload of a REC_CLOCK. */
void
clock_encode(uint8_t p[CLOCK_PAYLOAD], int64_t old_ms, enum clock_cause cause);
/* Of a decoded REC_CLOCK: 0 or -EBADMSG. */
int clock_decode(const struct record *rec, int64_t *old_ms, unsigned *cause);
const char *clock_cause_name(unsigned cause);
const char *record_type_name(unsigned type);

#endif
