/*
 * Records: encoding, sealing, decoding. Nothing here trusts a byte that came
 * from a disk or a peer.
 */
#include "shm/log/record.h"

#include <errno.h>

#include "shm/assert.h"
#include "shm/crc32c.h"
#include "shm/position.h"

_Static_assert(REC_LEN_OFF == REC_CRC_OFF + 4, "packed");
_Static_assert(REC_VLSN_OFF == REC_LEN_OFF + 4, "packed");
_Static_assert(REC_TERM_OFF == REC_VLSN_OFF + 8, "packed");
_Static_assert(REC_TIME_OFF == REC_TERM_OFF + 8, "packed");
_Static_assert(REC_ORIGIN_OFF == REC_TIME_OFF + 8, "packed");
_Static_assert(REC_TYPE_OFF == REC_ORIGIN_OFF + 8, "packed");
_Static_assert(REC_FLAGS_OFF == REC_TYPE_OFF + 1, "packed");
_Static_assert(REC_BOUND_OFF == REC_FLAGS_OFF + 1, "packed");
_Static_assert(REC_PLEN_OFF == REC_BOUND_OFF + 2, "packed");
_Static_assert(REC_HEADER_SIZE == REC_PLEN_OFF + 4, "packed");

#define REC_FLAGS_KNOWN (REC_WANT_RESULT | REC_HAS_PARTS)

void
record_encode(uint8_t *at, const struct record *rec)
{
	uint32_t len = record_len(rec->payload_len);

	ASSERT(len <= REC_LEN_MAX);
	ASSERT(rec->payload_len <= REC_LEN_MAX - REC_HEADER_SIZE);
	ASSERT(rec->bound == 0 || record_applies(rec->type));
	ASSERT(record_replicated(rec->type) == (rec->vlsn != 0));
	put_le32(at + REC_CRC_OFF, 0);
	put_le32(at + REC_LEN_OFF, len);
	put_le64(at + REC_VLSN_OFF, rec->vlsn);
	put_le64(at + REC_TERM_OFF, rec->term);
	put_le64(at + REC_TIME_OFF, (uint64_t)rec->time_ms);
	put_le64(at + REC_ORIGIN_OFF, rec->origin);
	at[REC_TYPE_OFF] = rec->type;
	at[REC_FLAGS_OFF] = rec->flags;
	put_le16(at + REC_BOUND_OFF, rec->bound);
	put_le32(at + REC_PLEN_OFF, rec->payload_len);
	/* The payload may end inside the last 8 bytes: zeros behind it. */
	memset(at + REC_HEADER_SIZE + rec->payload_len, 0,
	    len - REC_HEADER_SIZE - rec->payload_len);
}

uint32_t
record_seal(uint8_t *at, uint32_t len, uint32_t seed)
{
	uint32_t crc;

	ASSERT(record_len_ok(len));
	ASSERT(len == get_le32(at + REC_LEN_OFF));
	crc = crc32c(seed, at + REC_LEN_OFF, len - REC_LEN_OFF);
	put_le32(at + REC_CRC_OFF, crc);
	return crc;
}

static bool
record_type_known(unsigned type)
{
	return (type >= REC_SEGMENT && type <= REC_PAD) ||
	       (type >= REC_TERM && type <= REC_CLOCK);
}

static bool
bytes_are_zero(const uint8_t *at, size_t n)
{
	while (n-- > 0)
		if (*at++ != 0)
			return false;
	return true;
}

/* Do the decoded fields and the padding fit together? */
static bool
record_shape_ok(const uint8_t *at, const struct record *rec)
{
	bool local = !record_replicated(rec->type);

	if (!record_type_known(rec->type))
		return false;
	if ((rec->flags & ~REC_FLAGS_KNOWN) != 0)
		return false;
	if (rec->bound != 0 && !record_applies(rec->type))
		return false;
	if (local != (rec->vlsn == 0) || rec->vlsn > VLSN_MASK)
		return false;
	return bytes_are_zero(at + REC_HEADER_SIZE + rec->payload_len,
	    rec->len - REC_HEADER_SIZE - rec->payload_len);
}

int
record_decode(const uint8_t *at, size_t n, struct record *out)
{
	if (n < REC_HEADER_SIZE)
		return -EAGAIN;
	out->crc = get_le32(at + REC_CRC_OFF);
	out->len = get_le32(at + REC_LEN_OFF);
	out->payload_len = get_le32(at + REC_PLEN_OFF);
	/* Bound the length first: everything else is read within it. */
	if (out->len < REC_HEADER_SIZE || out->len > REC_LEN_MAX ||
	    out->payload_len > REC_LEN_MAX - REC_HEADER_SIZE ||
	    out->len != record_len(out->payload_len))
		return -EBADMSG;
	out->type = at[REC_TYPE_OFF];
	if (!record_type_known(out->type))
		return -EBADMSG;
	if (n < out->len)
		return -EAGAIN;
	out->vlsn = get_le64(at + REC_VLSN_OFF);
	out->term = get_le64(at + REC_TERM_OFF);
	out->time_ms = (int64_t)get_le64(at + REC_TIME_OFF);
	out->origin = get_le64(at + REC_ORIGIN_OFF);
	out->flags = at[REC_FLAGS_OFF];
	out->bound = get_le16(at + REC_BOUND_OFF);
	out->payload = at + REC_HEADER_SIZE;
	return record_shape_ok(at, out) ? 0 : -EBADMSG;
}

bool
record_chains(const uint8_t *at, uint32_t len, uint32_t seed)
{
	ASSERT(len >= REC_HEADER_SIZE);
	return get_le32(at + REC_CRC_OFF) ==
	       crc32c(seed, at + REC_LEN_OFF, len - REC_LEN_OFF);
}

bool
record_len_ok(uint32_t len)
{
	return len >= REC_HEADER_SIZE && len <= REC_LEN_MAX && len % 8 == 0;
}

static bool
time_follows(const struct record *rec, int64_t time_ms)
{
	unsigned cause;
	int64_t old_ms;

	if (rec->type != REC_CLOCK)
		return rec->time_ms >= time_ms;
	return clock_decode(rec, &old_ms, &cause) == 0 && old_ms >= time_ms;
}

enum record_follows
record_follows(
    const struct record *rec, uint64_t vlsn, uint64_t term, int64_t time_ms)
{
	if (rec->vlsn != vlsn + 1)
		return FOLLOWS_NOT_VLSN;
	if (rec->term < term)
		return FOLLOWS_NOT_TERM;
	return time_follows(rec, time_ms) ? FOLLOWS : FOLLOWS_NOT_TIME;
}

void
clock_encode(uint8_t p[CLOCK_PAYLOAD], int64_t old_ms, enum clock_cause cause)
{
	ASSERT(cause == CLOCK_WAS_AHEAD || cause == CLOCK_SET_BACK);
	put_le64(p, (uint64_t)old_ms);
	put_le32(p + 8, cause);
	put_le32(p + 12, 0);
}

int
clock_decode(const struct record *rec, int64_t *old_ms, unsigned *cause)
{
	const uint8_t *p = rec->payload;

	if (rec->type != REC_CLOCK || rec->payload_len != CLOCK_PAYLOAD)
		return -EBADMSG;
	*old_ms = (int64_t)get_le64(p);
	*cause = get_le32(p + 8);
	return *old_ms > rec->time_ms && get_le32(p + 12) == 0 ? 0 : -EBADMSG;
}

const char *
clock_cause_name(unsigned cause)
{
	switch (cause) {
	case CLOCK_WAS_AHEAD:
		return "the log was ahead at boot";
	case CLOCK_SET_BACK:
		return "the clock was set back";
	}
	return "cause?";
}

const char *
record_type_name(unsigned type)
{
	switch (type) {
	case REC_SEGMENT:
		return "segment";
	case REC_BATCH:
		return "batch";
	case REC_PAD:
		return "pad";
	case REC_TERM:
		return "term";
	case REC_MEMBER:
		return "member";
	case REC_OP:
		return "op";
	case REC_MULTI:
		return "multi";
	case REC_PART:
		return "part";
	case REC_CLOCK:
		return "clock";
	}
	return "type?";
}
