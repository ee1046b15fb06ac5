/*
 * Segment images made in memory, for tests of whatever reads them. A builder
 * appends flushes to one segment and remembers where each thing lies.
 */
#ifndef T_SEGMENT_BUILD_H
#define T_SEGMENT_BUILD_H

#include <sys/types.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "shm/log/segment.h"

#define BUILD_MAX 4096

/* Of what build_begin() begins. */
__attribute__((unused)) static uint32_t build_format = SEGMENT_FORMAT;

struct segment_build {
	struct segment_info info;
	uint8_t *bytes; /* the file */
	uint32_t size;
	uint32_t at; /* end of the records */
	uint32_t seed; /* the chain there */
	uint64_t vlsn; /* newest */
	uint64_t term;
	int64_t time_ms;
	uint64_t member; /* newest membership record, 0 = none */
	uint64_t durable, committed; /* for the next head */
	/* The flush that build_head() began; build_close() may come again. */
	uint32_t head_at, head_seed;
	uint32_t count;
	struct {
		uint32_t offset, len;
		uint64_t vlsn;
		uint8_t type;
	} record[BUILD_MAX];
};

__attribute__((unused)) static void
build_header(struct segment_build *b)
{
	b->seed = segment_encode(b->bytes, &b->info);
	if (b->info.format != SEGMENT_FORMAT_1)
		b->seed = b->info.prev_crc;
}

/* prev: the segment it continues where that one ends now, or NULL. */
__attribute__((unused)) static void
build_begin(struct segment_build *b, uint32_t number, uint32_t size,
    const struct segment_build *prev)
{
	memset(b, 0, sizeof(*b));
	b->size = size;
	b->bytes = calloc(1, size);
	b->info.number = number;
	b->info.format = build_format;
	b->info.life = build_format == SEGMENT_FORMAT_1
			   ? 0
			   : UINT64_C(0x11fe000000000000) + number;
	b->info.block = SEGMENT_BLOCK_MIN;
	b->info.size = size;
	b->info.first_vlsn = 1;
	memcpy(b->info.uuid, "0123456789abcdef", 16);
	b->info.generation = 1;
	b->info.begun_ms = 1000;
	b->term = 1;
	if (prev != NULL) {
		b->info.first_vlsn = prev->vlsn + 1;
		b->info.prev_number = prev->info.number;
		b->info.prev_end = prev->at;
		b->info.prev_crc = prev->seed;
		b->info.term_before = b->term = prev->term;
		b->info.time_before_ms = b->time_ms = prev->time_ms;
		b->info.member = b->member = prev->member;
		b->vlsn = b->durable = prev->vlsn;
		b->committed = prev->committed;
	}
	build_header(b);
	b->at = b->info.block;
}

/* Seal the record at `at` and move the chain. */
__attribute__((unused)) static uint32_t
build_chain(struct segment_build *b, uint32_t at, uint32_t seed)
{
	uint32_t len = get_le32(b->bytes + at + REC_LEN_OFF);
	unsigned type = b->bytes[at + REC_TYPE_OFF];
	uint32_t crc = record_seal(
	    b->bytes + at, len, segment_seed(b->info.format, seed, type));

	return segment_chain(b->info.format, seed, type, crc);
}

/* Chain everything from the head on; its length is known now. */
__attribute__((unused)) static void
build_close(struct segment_build *b)
{
	uint32_t at = b->head_at, seed = b->head_seed;

	if (at == 0)
		return;
	put_le32(
	    b->bytes + at + REC_HEADER_SIZE + BATCH_LENGTH_OFF, b->at - at);
	while (at < b->at) {
		uint32_t len = get_le32(b->bytes + at + REC_LEN_OFF);

		seed = build_chain(b, at, seed);
		at += len;
	}
	b->seed = seed;
}

__attribute__((unused)) static void
build_seal(struct segment_build *b, uint8_t type, uint64_t vlsn)
{
	uint32_t len = get_le32(b->bytes + b->at + REC_LEN_OFF);

	b->seed = build_chain(b, b->at, b->seed);
	b->record[b->count].offset = b->at;
	b->record[b->count].len = len;
	b->record[b->count].vlsn = vlsn;
	b->record[b->count].type = type;
	b->count++;
	b->at += len;
}

__attribute__((unused)) static void
build_head(struct segment_build *b)
{
	struct segment_batch head = { .durable = b->durable,
		.committed = b->committed,
		.life = b->info.life,
		.segment = b->info.number,
		.prev_crc = 0 };

	build_close(b);
	head.offset = b->head_at = b->at;
	head.prev_crc = b->head_seed = b->seed;
	batch_encode(b->bytes + b->at, &head, b->term, b->time_ms);
	build_seal(b, REC_BATCH, 0);
}

__attribute__((unused)) static void
build_record(struct segment_build *b, uint8_t type, uint32_t payload_len)
{
	struct record rec = { .vlsn = ++b->vlsn,
		.term = b->term,
		.time_ms = ++b->time_ms,
		.type = type,
		.payload_len = payload_len };
	uint32_t i;

	record_encode(b->bytes + b->at, &rec);
	for (i = 0; i < payload_len; i++)
		b->bytes[b->at + REC_HEADER_SIZE + i] =
		    (uint8_t)(rec.vlsn * 31 + i * 7 + 1);
	if (type == REC_MEMBER)
		b->member = rec.vlsn;
	build_seal(b, type, rec.vlsn);
}

/* A header as releases wrote it that told nothing of the membership. */
__attribute__((unused)) static void
build_untold(struct segment_build *b)
{
	b->info.member = 0;
	build_header(b);
}

/* A replicated record with a payload and an origin of the caller's. */
__attribute__((unused)) static void
build_payload(struct segment_build *b, uint8_t type, uint8_t flags,
    uint64_t origin, const void *payload, uint32_t payload_len)
{
	struct record rec = { .vlsn = ++b->vlsn,
		.term = b->term,
		.time_ms = ++b->time_ms,
		.origin = origin,
		.type = type,
		.flags = flags,
		.payload_len = payload_len };

	record_encode(b->bytes + b->at, &rec);
	memcpy(b->bytes + b->at + REC_HEADER_SIZE, payload, payload_len);
	build_seal(b, type, rec.vlsn);
}

__attribute__((unused)) static void
build_pad(struct segment_build *b)
{
	uint32_t to =
	    (uint32_t)align_up(b->at + REC_HEADER_SIZE, b->info.block);

	pad_encode(
	    b->bytes + b->at, to - b->at, b->info.life, b->term, b->time_ms);
	build_seal(b, REC_PAD, 0);
	build_close(b);
}

/* One flush of n records that completes before the next one begins. */
__attribute__((unused)) static void
build_flush(struct segment_build *b, unsigned n, uint32_t payload_len)
{
	uint64_t before = b->vlsn;

	b->durable = b->committed = before;
	build_head(b);
	while (n-- > 0)
		build_record(b, REC_OP, payload_len);
	build_close(b);
}

__attribute__((unused)) static int
build_write(const struct segment_build *b, int dir)
{
	char name[SEGMENT_NAME_MAX];
	ssize_t n;
	int fd;

	segment_name(name, b->info.number);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return -1;
	n = write(fd, b->bytes, b->size);
	close(fd);
	return n == (ssize_t)b->size ? 0 : -1;
}

__attribute__((unused)) static void
build_free(struct segment_build *b)
{
	free(b->bytes);
	b->bytes = NULL;
}

#endif
