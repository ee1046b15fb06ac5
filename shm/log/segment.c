/*
 * The format of segment files, and the pure part of reading them: headers,
 * batch heads, following a chain, looking behind a broken place.
 */
#include "shm/log/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/assert.h"
#include "shm/position.h"

_Static_assert(SEGMENT_GEN_OFF == SEGMENT_UUID_OFF + 16, "packed");
_Static_assert(SEGMENT_NUM_OFF == SEGMENT_GEN_OFF + 8, "packed");
_Static_assert(SEGMENT_FIRST_OFF == SEGMENT_BLOCK_OFF + 4, "packed");
_Static_assert(SEGMENT_PNUM_OFF == SEGMENT_TERM_OFF + 8, "packed");
_Static_assert(SEGMENT_TIME_OFF == SEGMENT_SIZE_OFF + 4, "packed");
_Static_assert(SEGMENT_MEMBER_OFF == SEGMENT_TIME_OFF + 8, "packed");
_Static_assert(SEGMENT_CUT_OFF == SEGMENT_MEMBER_OFF + 8, "packed");
_Static_assert(SEGMENT_PAYLOAD == SEGMENT_CUT_OFF + 8, "packed");
_Static_assert(BATCH_PAYLOAD == BATCH_LENGTH_OFF + 4, "packed");
_Static_assert(SEGMENT_BATCH_LEN % 8 == 0, "no padding");

void
segment_name(char out[SEGMENT_NAME_MAX], uint32_t number)
{
	snprintf(out, SEGMENT_NAME_MAX, "%08x.seg", number);
}

uint32_t
segment_number(const char *name)
{
	uint32_t number = 0;
	unsigned i;

	for (i = 0; i < 8; i++) {
		char c = name[i];

		if (c >= '0' && c <= '9')
			number = number << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			number = number << 4 | (uint32_t)(c - 'a' + 10);
		else
			return 0;
	}
	return strcmp(name + 8, ".seg") == 0 ? number : 0;
}

uint64_t
segment_life_new(void)
{
	uint64_t life;

	do
		arc4random_buf(&life, sizeof(life));
	while (life == 0 || life == SEGMENT_LIFE_ANY);
	return life;
}

uint32_t
segment_encode(uint8_t *at, struct segment_info *info)
{
	struct record rec = { .term = info->term_before,
		.time_ms = info->begun_ms,
		.origin = info->life,
		.type = REC_SEGMENT,
		.payload_len = info->block - REC_HEADER_SIZE };
	uint8_t *p = at + REC_HEADER_SIZE;

	ASSERT(is_pow2(info->block));
	ASSERT(info->block >= SEGMENT_BLOCK_MIN);
	ASSERT(info->block <= SEGMENT_BLOCK_MAX);
	memset(at, 0, info->block);
	record_encode(at, &rec);
	put_le32(p, SEGMENT_MAGIC);
	put_le32(p + SEGMENT_FORMAT_OFF, info->format);
	memcpy(p + SEGMENT_UUID_OFF, info->uuid, 16);
	put_le64(p + SEGMENT_GEN_OFF, info->generation);
	put_le32(p + SEGMENT_NUM_OFF, info->number);
	put_le32(p + SEGMENT_BLOCK_OFF, info->block);
	put_le64(p + SEGMENT_FIRST_OFF, info->first_vlsn);
	put_le64(p + SEGMENT_TERM_OFF, info->term_before);
	put_le32(p + SEGMENT_PNUM_OFF, info->prev_number);
	put_le32(p + SEGMENT_PEND_OFF, info->prev_end);
	put_le32(p + SEGMENT_PCRC_OFF, info->prev_crc);
	put_le32(p + SEGMENT_SIZE_OFF, info->size);
	put_le64(p + SEGMENT_TIME_OFF, (uint64_t)info->time_before_ms);
	put_le64(p + SEGMENT_MEMBER_OFF, info->member);
	put_le64(p + SEGMENT_CUT_OFF, info->cut);
	info->crc = record_seal(at, info->block, 0);
	return info->crc;
}

static void
segment_fields(const struct record *rec, struct segment_info *out)
{
	const uint8_t *p = rec->payload;

	out->format = get_le32(p + SEGMENT_FORMAT_OFF);
	out->life = rec->origin;
	memcpy(out->uuid, p + SEGMENT_UUID_OFF, 16);
	out->generation = get_le64(p + SEGMENT_GEN_OFF);
	out->number = get_le32(p + SEGMENT_NUM_OFF);
	out->block = get_le32(p + SEGMENT_BLOCK_OFF);
	out->first_vlsn = get_le64(p + SEGMENT_FIRST_OFF);
	out->term_before = get_le64(p + SEGMENT_TERM_OFF);
	out->prev_number = get_le32(p + SEGMENT_PNUM_OFF);
	out->prev_end = get_le32(p + SEGMENT_PEND_OFF);
	out->prev_crc = get_le32(p + SEGMENT_PCRC_OFF);
	out->size = get_le32(p + SEGMENT_SIZE_OFF);
	out->time_before_ms = (int64_t)get_le64(p + SEGMENT_TIME_OFF);
	out->member = get_le64(p + SEGMENT_MEMBER_OFF);
	out->cut = get_le64(p + SEGMENT_CUT_OFF);
	out->begun_ms = rec->time_ms;
	out->crc = rec->crc;
}

bool
segment_info_ok(const struct segment_info *i)
{
	if (i->number == 0 || i->first_vlsn == 0 || i->first_vlsn > VLSN_MASK)
		return false;
	if (i->prev_number >= i->number || i->member >= i->first_vlsn)
		return false;
	if (i->cut != 0 && (i->cut < i->first_vlsn || i->cut > VLSN_MASK))
		return false;
	if (i->format == SEGMENT_FORMAT_1) {
		if (i->life != 0 || (i->prev_number == 0 && i->prev_crc != 0))
			return false;
	} else if (i->life == 0 || i->life == SEGMENT_LIFE_ANY)
		return false;
	/* The end of a segment is behind its header, on 8 bytes. */
	return i->prev_number == 0
		   ? i->prev_end == 0
		   : i->prev_end >= SEGMENT_BLOCK_MIN && i->prev_end % 8 == 0;
}

/*
 * Of a decoded REC_SEGMENT: is it whole, and of a format that is known? A
 * newer one keeps the magic, the version and the seed.
 */
static int
header_check(const uint8_t *at, const struct record *rec)
{
	uint32_t format = get_le32(rec->payload + SEGMENT_FORMAT_OFF);

	if (get_le32(rec->payload) != SEGMENT_MAGIC || format == 0 ||
	    !record_chains(at, rec->len, 0))
		return -EBADMSG;
	return format <= SEGMENT_FORMAT ? 0 : -EPROTONOSUPPORT;
}

int
segment_decode(const uint8_t *at, size_t n, struct segment_info *out)
{
	struct record rec;
	uint32_t len;
	int rc;

	if (n < SEGMENT_BLOCK_MIN)
		return -EAGAIN;
	if (get_le64(at) == 0 && get_le64(at + REC_TYPE_OFF) == 0)
		return -ENODATA;
	len = get_le32(at + REC_LEN_OFF);
	if (!is_pow2(len) || len < SEGMENT_BLOCK_MIN || len > SEGMENT_BLOCK_MAX)
		return -EBADMSG;
	rc = record_decode(at, n, &rec);
	if (rc != 0)
		return rc;
	if (rec.type != REC_SEGMENT)
		return -EBADMSG;
	rc = header_check(at, &rec);
	if (rc == -EBADMSG)
		return rc;
	segment_fields(&rec, out);
	if (rc != 0)
		return rc;
	return out->block == rec.len && segment_info_ok(out) ? 0 : -EBADMSG;
}

void
batch_encode(
    uint8_t *at, const struct segment_batch *b, uint64_t term, int64_t time_ms)
{
	struct record rec = { .term = term,
		.time_ms = time_ms,
		.origin = b->life,
		.type = REC_BATCH,
		.payload_len = BATCH_PAYLOAD };
	uint8_t *p = at + REC_HEADER_SIZE;

	record_encode(at, &rec);
	put_le64(p + BATCH_DURABLE_OFF, b->durable);
	put_le64(p + BATCH_COMMITTED_OFF, b->committed);
	put_le32(p + BATCH_SEGMENT_OFF, b->segment);
	put_le32(p + BATCH_OFFSET_OFF, b->offset);
	put_le32(p + BATCH_PCRC_OFF, b->prev_crc);
	put_le32(p + BATCH_LENGTH_OFF, b->length);
}

int
batch_decode(const struct record *rec, struct segment_batch *out)
{
	const uint8_t *p = rec->payload;

	if (rec->type != REC_BATCH || rec->payload_len != BATCH_PAYLOAD)
		return -EBADMSG;
	out->life = rec->origin;
	out->durable = get_le64(p + BATCH_DURABLE_OFF);
	out->committed = get_le64(p + BATCH_COMMITTED_OFF);
	out->segment = get_le32(p + BATCH_SEGMENT_OFF);
	out->offset = get_le32(p + BATCH_OFFSET_OFF);
	out->prev_crc = get_le32(p + BATCH_PCRC_OFF);
	out->length = get_le32(p + BATCH_LENGTH_OFF);
	return out->length >= SEGMENT_BATCH_LEN &&
		       out->length <= SEGMENT_SIZE_MAX &&
		       out->length % 8 == 0 && out->durable <= VLSN_MASK &&
		       out->committed <= VLSN_MASK
		   ? 0
		   : -EBADMSG;
}

void
pad_encode(
    uint8_t *at, uint32_t len, uint64_t life, uint64_t term, int64_t time_ms)
{
	struct record rec = { .term = term,
		.time_ms = time_ms,
		.origin = life,
		.type = REC_PAD,
		.payload_len = len - REC_HEADER_SIZE };

	ASSERT(record_len_ok(len));
	record_encode(at, &rec);
	memset(at + REC_HEADER_SIZE, 0, rec.payload_len);
}

void
segment_scan_begin(struct segment_scan *s, const struct segment_info *i)
{
	ASSERT(i->first_vlsn != 0);
	ASSERT(i->block % 8 == 0);
	memset(s, 0, sizeof(*s));
	s->life = i->life;
	s->format = i->format;
	s->number = i->number;
	s->offset = i->block;
	s->seed = i->format == SEGMENT_FORMAT_1 ? i->crc : i->prev_crc;
	s->vlsn = i->first_vlsn - 1;
	s->term = i->term_before;
	s->time_ms = i->time_before_ms;
}

/* A batch head must be where, and behind what, it says it is. */
static int
scan_batch(struct segment_scan *s, const struct record *rec)
{
	struct segment_batch b;
	int rc = batch_decode(rec, &b);

	if (rc != 0)
		return rc;
	if (b.segment != s->number || b.offset != s->offset ||
	    b.prev_crc != s->seed || b.durable > s->vlsn ||
	    (s->batches > 0 && b.offset != s->batch_end))
		return -EBADMSG;
	s->batches++;
	s->batch_end = b.offset + b.length;
	if (b.durable > s->durable)
		s->durable = b.durable;
	if (b.committed > s->committed)
		s->committed = b.committed;
	/* No head tells of records that are not in front of it. */
	ASSERT(s->durable <= s->vlsn);
	return 0;
}

static int
scan_replicated(struct segment_scan *s, const struct record *rec)
{
	if (record_follows(rec, s->vlsn, s->term, s->time_ms) != FOLLOWS)
		return -EBADMSG;
	s->vlsn = rec->vlsn;
	s->term = rec->term;
	s->time_ms = rec->time_ms;
	return 0;
}

/*
 * No record that this release knows. If it chains, inside of its flush, it was
 * written like that: by a newer one.
 */
static int
scan_unknown(const struct segment_scan *s, const uint8_t *at, size_t n)
{
	uint32_t len = get_le32(at + REC_LEN_OFF);

	if (!record_len_ok(len) || s->offset > s->batch_end ||
	    len > s->batch_end - s->offset)
		return -EBADMSG;
	if (len > n)
		return -EAGAIN;
	return record_chains(at, len, s->seed) ? -EPROTONOSUPPORT : -EBADMSG;
}

int
segment_scan_next(
    struct segment_scan *s, const uint8_t *at, size_t n, struct record *out)
{
	int rc = record_decode(at, n, out);

	if (rc == -EBADMSG)
		return scan_unknown(s, at, n);
	if (rc != 0)
		return rc;
	if (!record_chains(
		at, out->len, segment_seed(s->format, s->seed, out->type)))
		return -EBADMSG;
	if (out->type == REC_SEGMENT)
		return -EBADMSG;
	if (out->vlsn == 0 && out->origin != s->life)
		return -EBADMSG;
	/* Whatever is no head belongs to the flush that a head began. */
	if (out->type != REC_BATCH && s->offset + out->len > s->batch_end)
		return -EBADMSG;
	if (out->type == REC_BATCH)
		rc = scan_batch(s, out);
	else if (out->vlsn != 0)
		rc = scan_replicated(s, out);
	if (rc != 0)
		return rc;
	s->offset += out->len;
	ASSERT(s->offset <= s->batch_end);
	s->seed = segment_chain(s->format, s->seed, out->type, out->crc);
	return 0;
}

/* Is there a head at `at` that verifies by itself? */
static bool
look_at(const uint8_t *at, uint32_t number, uint64_t life, uint32_t offset,
    struct segment_batch *out)
{
	uint32_t format;
	struct record rec;

	if (get_le32(at + REC_LEN_OFF) != SEGMENT_BATCH_LEN ||
	    at[REC_TYPE_OFF] != REC_BATCH)
		return false;
	if (record_decode(at, SEGMENT_BATCH_LEN, &rec) != 0 ||
	    batch_decode(&rec, out) != 0)
		return false;
	format = out->life == 0 ? SEGMENT_FORMAT_1 : SEGMENT_FORMAT;
	return out->segment == number && out->offset == offset &&
	       (life == SEGMENT_LIFE_ANY || out->life == life) &&
	       record_chains(at, SEGMENT_BATCH_LEN,
		   segment_seed(format, out->prev_crc, REC_BATCH));
}

unsigned
segment_look(const uint8_t *at, size_t n, uint32_t number, uint64_t life,
    uint32_t offset, struct segment_batch *seen)
{
	struct segment_batch b;
	unsigned found = 0;
	size_t i;

	for (i = 0; i + SEGMENT_BATCH_LEN <= n; i += 8) {
		if (!look_at(at + i, number, life, offset + (uint32_t)i, &b))
			continue;
		found++;
		seen->segment = number;
		if (b.durable > seen->durable)
			seen->durable = b.durable;
		if (b.committed > seen->committed)
			seen->committed = b.committed;
	}
	return found;
}
