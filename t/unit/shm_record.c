/*
 * Records: what is encoded is what is decoded; nothing that is not a record
 * is taken for one; one flipped bit breaks the chain.
 */
#include "t/tap.h"

#include <errno.h>

#include "shm/crc32c.h"
#include "shm/log/record.h"
#include "shm/position.h"

static void
test_crc(void)
{
	uint32_t whole, split;
	static const char text[] = "123456789";

	is_u64(crc32c(0, text, 9), 0xe3069283, "crc32c check value");
	is_u64(crc32c(0, text, 0), 0, "crc32c of nothing is its seed");
	whole = crc32c(0, text, 9);
	split = crc32c(crc32c(0, text, 4), text + 4, 5);
	is_u64(split, whole, "crc32c continues from its own value");
}

static uint32_t
make(uint8_t *at, uint32_t payload_len, uint32_t seed)
{
	struct record rec = { .vlsn = 77,
		.term = 5,
		.time_ms = 1234567,
		.origin = record_origin(9, 0x123456, 0xabcdef01),
		.type = REC_OP,
		.flags = REC_WANT_RESULT,
		.bound = 0x1234,
		.payload_len = payload_len };
	uint32_t len = record_len(payload_len), i;

	record_encode(at, &rec);
	for (i = 0; i < payload_len; i++)
		at[REC_HEADER_SIZE + i] = (uint8_t)(i * 13 + 1);
	record_seal(at, len, seed);
	return len;
}

static void
test_round_trip(void)
{
	uint8_t buf[512];
	struct record rec;
	uint32_t n, len;
	bool good = true;

	for (n = 0; n <= 64; n++) {
		memset(buf, 0xee, sizeof(buf));
		len = make(buf, n, 42);
		good = good && len % 8 == 0 && buf[len] == 0xee &&
		       record_decode(buf, len, &rec) == 0 && rec.vlsn == 77 &&
		       rec.term == 5 && rec.time_ms == 1234567 &&
		       origin_slot(rec.origin) == 9 &&
		       origin_incarnation(rec.origin) == 0x123456 &&
		       rec.type == REC_OP && rec.flags == REC_WANT_RESULT &&
		       rec.bound == 0x1234 && rec.payload_len == n &&
		       rec.payload == buf + 48 && rec.len == len &&
		       record_chains(buf, len, 42) &&
		       !record_chains(buf, len, 43);
	}
	ok(good, "payloads of 0 to 64 bytes come back, and chain");
}

static void
test_short(void)
{
	uint8_t buf[512];
	struct record rec;
	uint32_t len = make(buf, 100, 1), n;
	bool good = true;

	for (n = 0; n < len; n++)
		good = good && record_decode(buf, n, &rec) == -EAGAIN;
	ok(good, "every prefix asks for more bytes");
}

static void
test_bits(void)
{
	uint8_t buf[512];
	struct record rec;
	uint32_t len = make(buf, 101, 1), bit;
	bool good = true;

	for (bit = 0; bit < len * 8; bit++) {
		int rc;

		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		rc = record_decode(buf, len, &rec);
		good =
		    good && (rc == -EBADMSG || rc == -EAGAIN ||
				(rc == 0 && !record_chains(buf, rec.len, 1)));
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ok(good, "each flipped bit is seen");
}

/* Shapes that must be refused even with a CRC that fits. */
static void
test_shapes(void)
{
	uint8_t buf[512];
	struct record rec;
	uint32_t len = make(buf, 10, 1);

	buf[REC_HEADER_SIZE + 11] = 1;
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "padding not zero");
	make(buf, 10, 1);
	buf[REC_TYPE_OFF] = 9;
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "unknown type");
	make(buf, 10, 1);
	buf[REC_TYPE_OFF] = REC_PAD;
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "a pad with a VLSN");
	make(buf, 10, 1);
	put_le64(buf + REC_VLSN_OFF, 0);
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "an op without one");
	put_le64(buf + REC_VLSN_OFF, VLSN_MASK + 1);
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "VLSN of 49 bits");
	make(buf, 10, 1);
	buf[REC_TYPE_OFF] = REC_PART;
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "a part with a bound");
	make(buf, 10, 1);
	put_le16(buf + REC_BOUND_OFF, 0);
	ok(record_decode(buf, len, &rec) == 0 &&
		record_bound(&rec) == UINT64_C(1) << 30,
	    "a record of the release before: 1 GiB");
	buf[REC_FLAGS_OFF] = 0x80;
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "unknown flag");
	make(buf, 10, 1);
	put_le32(buf + REC_LEN_OFF, REC_LEN_MAX + 8);
	put_le32(buf + REC_PLEN_OFF, REC_LEN_MAX + 8 - REC_HEADER_SIZE);
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "longer than the most");
	put_le32(buf + REC_PLEN_OFF, UINT32_MAX);
	is_i64(record_decode(buf, len, &rec), -EBADMSG, "length near 2^32");
}

int
main(void)
{
	test_crc();
	test_round_trip();
	test_short();
	test_bits();
	test_shapes();
	is_str(record_type_name(REC_MULTI), "multi", "names");
	is_str(record_type_name(99), "type?", "name of none");
	return tap_done();
}
