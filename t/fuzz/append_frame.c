/*
 * Any bytes as a frame of replicated records behind a log's end: what is taken
 * must be dense, chained and within its term, and is in the log as it came;
 * what is refused changes nothing. The first 8 bytes say where the log ends and
 * which term is allowed. The fuzzer cannot guess a CRC, so inputs are also
 * tried with every CRC set right, and then cut in two: both halves together
 * give what the whole does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/log/append.h"

#define BUFFER   (4u << 20)
#define PREFIX   8
#define TERM_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct walbuf_head head;
static uint8_t *buffer;

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "append_frame: %s\n", what);
	abort();
}

static bool
end_same(const struct append_end *a, const struct append_end *b)
{
	return a->vlsn == b->vlsn && a->term == b->term &&
	       a->time_ms == b->time_ms && a->chain == b->chain;
}

/* A log that ends there, with an open batch. */
static void
log_open(struct append *a, const struct append_end *end)
{
	struct walbuf buf = { .h = &head, .data = buffer, .size = BUFFER };
	struct segment_info info = { .number = 1,
		.life = 7,
		.block = SEGMENT_BLOCK_MIN,
		.size = BUFFER };

	append_open(a, &buf, end);
	append_segment(a, &info);
	append_batch_open(a);
}

/* Does the log hold these bytes behind `from`, and are they what it says? */
static void
check_taken(const struct append *a, uint64_t from,
    const struct append_end *before, const uint8_t *data, size_t len)
{
	struct append_end at = *before;
	struct record rec;
	size_t done = 0;

	expect(a->position == from + len, "not all of it is taken");
	expect(memcmp(append_at(a, from), data, len) == 0, "other bytes");
	while (frame_next(data, len, &done, &rec)) {
		expect(rec.vlsn == at.vlsn + 1, "a VLSN jumps");
		expect(rec.term >= at.term && rec.term <= TERM_MAX,
		    "a term out of bounds");
		expect(record_replicated(rec.type), "a record of one log");
		expect(rec.crc == crc32c(at.chain,
				      data + done - rec.len + REC_LEN_OFF,
				      rec.len - REC_LEN_OFF),
		    "a CRC that does not chain");
		at = (struct append_end){ rec.vlsn, rec.term, rec.time_ms,
			rec.crc };
	}
	expect(done == len, "bytes behind the last record");
	expect(end_same(&at, &a->end), "another end");
}

static enum frame_verdict
check_frame(const struct append_end *end, const uint8_t *data, size_t len)
{
	struct append_end checked = *end;
	enum frame_verdict v;
	struct append a;
	uint64_t from;

	log_open(&a, end);
	from = a.position;
	v = append_frame_put(&a, data, len, TERM_MAX);
	expect(v < FRAME_VERDICT_COUNT, "no verdict");
	expect(frame_verdict_text(v)[0] != '\0', "no text");
	expect(frame_check(&checked, data, len, TERM_MAX) == v,
	    "two verdicts on the same bytes");
	expect(end_same(&checked, &a.end), "two ends of the same bytes");
	if (v == FRAME_OK)
		check_taken(&a, from, end, data, len);
	else
		expect(a.position == from && end_same(&a.end, end) &&
			   a.batch.records == 0,
		    "a refusal changed something");
	return v;
}

/* Give every record that has a shape its place in the chain. */
static void
seal_all(const struct append_end *end, uint8_t *data, size_t len)
{
	uint32_t chain = end->chain;
	struct record rec;
	size_t at = 0;

	while (record_decode(data + at, len - at, &rec) == 0) {
		if (record_replicated(rec.type))
			chain = record_seal(data + at, rec.len, chain);
		at += rec.len;
	}
}

/* In two frames it is the same log. */
static void
check_halves(const struct append_end *end, const uint8_t *data, size_t len)
{
	struct append_end whole = *end, half = *end;
	struct record rec;
	size_t at = 0;

	if (frame_check(&whole, data, len, TERM_MAX) != FRAME_OK ||
	    !frame_next(data, len, &at, &rec) || at == len)
		return;
	expect(
	    frame_check(&half, data, at, TERM_MAX) == FRAME_OK &&
		frame_check(&half, data + at, len - at, TERM_MAX) == FRAME_OK &&
		end_same(&half, &whole),
	    "two frames are not what one is");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct append_end end = { 0 };
	uint8_t *copy;

	if (len < PREFIX || len > PREFIX + APPEND_FRAME_MAX + 64)
		return 0;
	if (buffer == NULL)
		buffer = calloc(2, BUFFER);
	copy = malloc(len);
	expect(buffer != NULL && copy != NULL, "malloc");
	end.vlsn = data[0];
	end.term = data[1];
	end.time_ms = get_le16(data + 2);
	end.chain = get_le32(data + 4);
	data += PREFIX;
	len -= PREFIX;
	(void)check_frame(&end, data, len);
	memcpy(copy, data, len);
	seal_all(&end, copy, len);
	(void)check_frame(&end, copy, len);
	check_halves(&end, copy, len);
	free(copy);
	return 0;
}
