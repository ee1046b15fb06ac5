/*
 * Any bytes as a piece of a log: records, a segment's header, batch heads, and
 * operations in their payloads. What decodes must fit its bytes and encode to
 * the same ones; a chain moves on by whole records. The fuzzer cannot guess a
 * CRC, so inputs are also tried with every CRC set right.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "shm/kv/op.h"
#include "shm/log/segment.h"

#define LEN_MAX (4 * (size_t)REC_LEN_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "wal_record: %s\n", what);
	abort();
}

static void
check_op(const struct op *op)
{
	const uint8_t *at = op->args;
	struct op_arg arg;
	uint32_t n = 0;

	while (op_arg_next(op, &at, &arg)) {
		expect(arg.data >= op->args && arg.data <= op->end &&
			   arg.len <= (size_t)(op->end - arg.data),
		    "an argument outside of its operation");
		n++;
	}
	expect(n == op->argc, "argc is not the count of arguments");
	expect(op_name(op->code) != NULL, "an operation without a name");
}

static void
check_payload(const struct record *rec)
{
	struct op_multi multi;
	struct op_watch watch;
	const uint8_t *at;
	struct op op;
	uint32_t n = 0;

	if (op_decode(rec->payload, rec->payload_len, &op) == 0)
		check_op(&op);
	if (op_multi_decode(rec->payload, rec->payload_len, &multi) != 0)
		return;
	for (at = multi.watches; op_watch_next(&multi, &at, &watch); n++)
		expect(watch.key.data + watch.key.len <= multi.end,
		    "a watch outside of its payload");
	expect(n == multi.watch_count, "watch_count is not their count");
	for (n = 0, at = multi.ops; op_multi_next(&multi, &at, &op); n++)
		check_op(&op);
	expect(n == multi.op_count, "op_count is not their count");
}

/* Encoded again, a record is what it was. */
static void
check_again(const uint8_t *at, const struct record *rec)
{
	uint8_t *copy = malloc(rec->len);

	expect(copy != NULL, "malloc");
	record_encode(copy, rec);
	memcpy(copy + REC_HEADER_SIZE, rec->payload, rec->payload_len);
	put_le32(copy + REC_CRC_OFF, rec->crc);
	expect(memcmp(copy, at, rec->len) == 0, "encodes to other bytes");
	free(copy);
}

static void
check_records(const uint8_t *data, size_t len)
{
	struct record rec;
	size_t at = 0;

	while (record_decode(data + at, len - at, &rec) == 0) {
		expect(rec.len >= REC_HEADER_SIZE && rec.len <= len - at &&
			   rec.len % 8 == 0,
		    "a length outside of its bytes");
		expect(rec.payload + rec.payload_len <= data + at + rec.len,
		    "a payload outside of its record");
		expect(record_type_name(rec.type) != NULL, "no type name");
		check_again(data + at, &rec);
		check_payload(&rec);
		at += rec.len;
	}
}

/*
 * Give every record that has a shape the CRC of a segment's chain, and those
 * of this log only the segment's life.
 */
static void
seal_all(uint8_t *data, size_t len, const struct segment_info *info)
{
	struct segment_scan scan;
	struct record rec;
	size_t at = 0;

	segment_scan_begin(&scan, info);
	while (record_decode(data + at, len - at, &rec) == 0) {
		if (rec.type == REC_BATCH && rec.payload_len == BATCH_PAYLOAD)
			put_le32(data + at + REC_HEADER_SIZE + BATCH_PCRC_OFF,
			    scan.seed);
		if (rec.vlsn == 0)
			put_le64(data + at + REC_ORIGIN_OFF, info->life);
		rec.crc = record_seal(data + at, rec.len,
		    segment_seed(info->format, scan.seed, rec.type));
		scan.seed =
		    segment_chain(info->format, scan.seed, rec.type, rec.crc);
		at += rec.len;
	}
}

static void
check_chain(const uint8_t *data, size_t len, const struct segment_info *info)
{
	struct segment_scan scan;
	struct record rec;
	uint32_t seed;
	size_t at = 0;

	segment_scan_begin(&scan, info);
	seed = scan.seed;
	while (segment_scan_next(&scan, data + at, len - at, &rec) == 0) {
		at += rec.len;
		expect(at <= len, "the chain leaves its bytes");
		expect(scan.offset == info->block + at, "the offset is wrong");
		seed = segment_chain(info->format, seed, rec.type, rec.crc);
		expect(scan.seed == seed, "the chain is wrong");
		expect(rec.vlsn != 0 || rec.origin == info->life,
		    "a record of another life");
		expect(rec.vlsn == 0 || scan.vlsn == rec.vlsn, "a VLSN jumps");
	}
}

static void
check_segment(uint8_t *data, size_t len)
{
	struct segment_info info;
	uint8_t *again;

	if (len < SEGMENT_BLOCK_MIN || segment_decode(data, len, &info) != 0)
		return;
	expect(info.block <= len, "a block outside of its bytes");
	again = malloc(info.block);
	expect(again != NULL, "malloc");
	segment_encode(again, &info);
	expect(segment_decode(again, info.block, &info) == 0,
	    "what was encoded is refused");
	free(again);
	seal_all(data + info.block, len - info.block, &info);
	check_chain(data + info.block, len - info.block, &info);
}

/* As the records of a segment of that format. */
static void
check_format(uint8_t *data, size_t len, uint32_t format)
{
	struct segment_info info = { .number = 1,
		.format = format,
		.life = format == SEGMENT_FORMAT_1 ? 0 : 77,
		.block = SEGMENT_BLOCK_MIN,
		.first_vlsn = 1 };
	struct segment_batch seen = { 0 };

	seal_all(data, len, &info);
	segment_look(data, len, 1, info.life, SEGMENT_BLOCK_MIN, &seen);
	segment_look(data, len, 1, SEGMENT_LIFE_ANY, SEGMENT_BLOCK_MIN, &seen);
	check_chain(data, len, &info);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy;

	if (len > LEN_MAX)
		return 0;
	copy = malloc(len + 1);
	expect(copy != NULL, "malloc");
	check_records(data, len);
	memcpy(copy, data, len);
	check_segment(copy, len);
	check_format(copy, len, SEGMENT_FORMAT_1);
	check_format(copy, len, SEGMENT_FORMAT);
	check_segment(copy, len);
	free(copy);
	return 0;
}
