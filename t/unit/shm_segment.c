/*
 * Segments: headers, batch heads, following the chain, what is found behind
 * a broken place, the list of a directory and its chain.
 */
#include "t/lib/openat_refused.h"

#include <dirent.h>
#include <errno.h>

#include "t/lib/segment_build.h"
#include "t/tap.h"

static char dir_name[] = "/tmp/nodelife-segment.XXXXXX";
static int dir;

static void
dir_empty(void)
{
	struct dirent *de;
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY));

	while ((de = readdir(d)) != NULL)
		if (de->d_name[0] != '.')
			unlinkat(dir, de->d_name, 0);
	closedir(d);
}

static void
test_names(void)
{
	char name[SEGMENT_NAME_MAX];

	segment_name(name, 0x1a2b);
	is_str(name, "00001a2b.seg", "name");
	is_u64(segment_number(name), 0x1a2b, "number");
	is_u64(segment_number("00001A2B.seg"), 0, "upper case is none");
	is_u64(segment_number("0001a2b.seg"), 0, "seven digits are none");
	is_u64(segment_number("00001a2b.segx"), 0, "longer is none");
	is_u64(segment_number("spare.1"), 0, "a spare is none");
	is_u64(segment_number("00000000.seg"), 0, "zero is none");
}

/*
 * A CRC finds each error within 32 bits, but one: where they are sealed and its
 * seed, too, this pattern changes it in both ways alike. It is the CRC's
 * polynomial without its factor x + 1.
 */
#define UNSEEN UINT32_C(0xfca42daf)

static void
flip(uint8_t *at)
{
	put_le32(at, get_le32(at) ^ UNSEEN);
}

static void
test_header(void)
{
	struct segment_build b, c;
	struct segment_info info;
	bool good = true;
	uint32_t bit, i;

	build_begin(&b, 7, 65536, NULL);
	build_flush(&b, 3, 10);
	b.member = 2;
	build_begin(&c, 8, 65536, &b);
	is_i64(segment_decode(c.bytes, 4096, &info), 0, "header decodes");
	ok(memcmp(&info, &c.info, sizeof(info)) == 0, "to what it was");
	is_u64(info.prev_end, b.at, "with the end before");
	is_u64(info.first_vlsn, 4, "and its first VLSN");
	is_u64(info.member, 2, "and the membership's");
	is_i64(segment_decode(c.bytes, 100, &info), -EAGAIN, "short");
	for (bit = 0; bit < 4096 * 8; bit++) {
		c.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (segment_decode(c.bytes, 65536, &info) == 0)
			good = false;
		c.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ok(good, "each flipped bit of a header is seen");
	for (i = 0; i < REC_HEADER_SIZE + SEGMENT_PAYLOAD; i++) {
		flip(c.bytes + i);
		if (segment_decode(c.bytes, 65536, &info) == 0)
			good = false;
		flip(c.bytes + i);
	}
	ok(good, "as is what cancels itself in a seed that is sealed, too");
	c.info.member = c.info.first_vlsn;
	segment_encode(c.bytes, &c.info);
	is_i64(segment_decode(c.bytes, 4096, &info), -EBADMSG,
	    "a membership behind where it begins is none before");
	memset(c.bytes, 0, 4096);
	is_i64(segment_decode(c.bytes, 4096, &info), -ENODATA, "zeros");
	build_free(&b);
	build_free(&c);
}

/* Follow the chain of an image; returns the records seen. */
static unsigned
scan_image(const struct segment_build *b, struct segment_scan *s)
{
	struct record rec;
	unsigned n = 0;

	segment_scan_begin(s, &b->info);
	while (segment_scan_next(
		   s, b->bytes + s->offset, b->size - s->offset, &rec) == 0)
		n++;
	return n;
}

static void
test_scan(void)
{
	struct segment_build b;
	struct segment_scan s;
	bool good = true;
	uint32_t bit, end;
	unsigned n;

	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 3, 100);
	build_flush(&b, 1, 5000);
	build_pad(&b);
	build_flush(&b, 2, 0);
	n = scan_image(&b, &s);
	is_u64(n, b.count, "every record is seen");
	is_u64(s.vlsn, 6, "newest VLSN");
	is_u64(s.offset, b.at, "end");
	is_u64(s.durable, 4, "durable of the last head");
	is_u64(s.seed, b.seed, "the chain's end");
	end = b.at;
	for (bit = 4096 * 8; bit < end * 8; bit++) {
		b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		scan_image(&b, &s);
		if (s.offset > bit / 8)
			good = false;
		b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ok(good, "no flipped bit lies in what a scan accepts");
	build_free(&b);
}

/* Each a chain that seals well and says something that cannot be. */
static void
test_scan_lies(void)
{
	struct segment_build b;
	struct segment_scan s;

	build_begin(&b, 3, 65536, NULL);
	build_record(&b, REC_OP, 10);
	is_u64(scan_image(&b, &s), 0, "a record before any head");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 1, 10);
	b.vlsn++;
	build_flush(&b, 1, 10);
	is_u64(scan_image(&b, &s), 2, "a head that knows too much");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 2, 10);
	b.vlsn--;
	build_record(&b, REC_OP, 10);
	build_close(&b);
	is_u64(scan_image(&b, &s), 3, "a VLSN twice");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 2, 10);
	b.term = 0;
	build_record(&b, REC_OP, 10);
	build_close(&b);
	is_u64(scan_image(&b, &s), 3, "a term that falls");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 1, 10);
	b.info.number = 4;
	build_head(&b);
	build_close(&b);
	b.info.number = 3;
	is_u64(scan_image(&b, &s), 2, "a head of another segment");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 2, 10);
	put_le32(b.bytes + b.head_at + REC_HEADER_SIZE + BATCH_LENGTH_OFF,
	    2 * SEGMENT_BATCH_LEN);
	record_seal(b.bytes + b.head_at, SEGMENT_BATCH_LEN,
	    segment_seed(build_format, b.head_seed, REC_BATCH));
	/* In format 1 the head's new CRC breaks the chain behind it, too. */
	is_u64(scan_image(&b, &s), build_format == SEGMENT_FORMAT_1 ? 1 : 2,
	    "records behind their flush's end");
	ok(s.offset < s.batch_end, "which tells a tear from an end");
	build_free(&b);
}

/* A flush: a record, a CLOCK back to `to`, a record; returns those scanned. */
static unsigned
scan_clock(int64_t old_ms, int64_t to_ms, uint32_t len, int64_t *time_ms)
{
	uint8_t payload[64] = { 0 };
	struct segment_build b;
	struct segment_scan s;
	unsigned n;

	clock_encode(payload, old_ms, CLOCK_SET_BACK);
	build_begin(&b, 3, 65536, NULL);
	b.time_ms = 1000;
	build_head(&b);
	build_record(&b, REC_OP, 10);
	b.time_ms = to_ms - 1;
	build_payload(&b, REC_CLOCK, 0, 0, payload, len);
	build_record(&b, REC_OP, 10);
	build_close(&b);
	n = scan_image(&b, &s);
	*time_ms = s.time_ms;
	build_free(&b);
	return n;
}

static void
test_scan_clock(void)
{
	struct segment_build b;
	struct segment_scan s;
	int64_t ms;

	is_u64(scan_clock(1001, 500, CLOCK_PAYLOAD, &ms), 4, "time goes back");
	is_i64(ms, 501, "and on from there");
	is_u64(scan_clock(5000, 500, CLOCK_PAYLOAD, &ms), 4,
	    "from where no record had been yet");
	is_u64(scan_clock(1000, 500, CLOCK_PAYLOAD, &ms), 2,
	    "not from where it was before that");
	is_u64(scan_clock(5000, 5000, CLOCK_PAYLOAD, &ms), 2, "not nowhere");
	is_u64(scan_clock(5000, 500, CLOCK_PAYLOAD + 8, &ms), 2, "too long");
	is_u64(scan_clock(5000, 500, CLOCK_PAYLOAD - 8, &ms), 2, "too short");
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 2, 10);
	b.time_ms = 0;
	build_record(&b, REC_OP, 10);
	build_close(&b);
	is_u64(scan_image(&b, &s), 3, "no other record takes it back");
	build_free(&b);
}

/* What chains and is not known is a newer release's; what does not is none. */
static void
test_scan_newer(void)
{
	struct segment_build b;
	struct segment_scan s;
	struct record rec;
	uint32_t at;

	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 2, 10);
	at = b.at;
	build_record(&b, REC_CLOCK + 1, 100);
	build_record(&b, REC_OP, 10);
	build_close(&b);
	is_u64(scan_image(&b, &s), 3, "up to a record of another kind");
	is_i64(segment_scan_next(&s, b.bytes + at, b.size - at, &rec),
	    -EPROTONOSUPPORT, "which a newer release wrote");
	is_i64(segment_scan_next(&s, b.bytes + at, 100, &rec), -EAGAIN,
	    "too short to tell");
	b.bytes[at + 60] ^= 1;
	is_i64(segment_scan_next(&s, b.bytes + at, b.size - at, &rec), -EBADMSG,
	    "one that does not chain is none");
	b.bytes[at + 60] ^= 1;
	s.batch_end = at;
	is_i64(segment_scan_next(&s, b.bytes + at, b.size - at, &rec), -EBADMSG,
	    "nor one outside of a flush");
	build_free(&b);
}

/* No head that has changed counts, where it is met, or looked for. */
static void
test_head(void)
{
	struct segment_build b;
	struct segment_scan s;
	struct segment_batch seen = { 0 };
	unsigned met = 0, found = 0, records;
	uint32_t i;

	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 3, 100);
	records = b.count;
	build_flush(&b, 2, 100);
	for (i = 0; i + 4 <= SEGMENT_BATCH_LEN; i++) {
		flip(b.bytes + b.head_at + i);
		met += scan_image(&b, &s) != records;
		found += segment_look(b.bytes + b.head_at, SEGMENT_BATCH_LEN, 3,
		    b.info.life, b.head_at, &seen);
		flip(b.bytes + b.head_at + i);
	}
	is_u64(met, 0, "no head with an error is gone on from");
	/* In format 1 the chain that it states is its seed. */
	is_u64(found, build_format == SEGMENT_FORMAT_1 ? 1 : 0,
	    "nor is it evidence");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 3, 100);
	build_close(&b);
	b.head_at = 0;
	b.seed ^= 1;
	build_flush(&b, 2, 100);
	is_u64(scan_image(&b, &s), records, "nor is one behind another chain");
	build_free(&b);
}

static void
test_look(void)
{
	struct segment_build b, old;
	struct segment_batch seen = { 0 };
	uint32_t second;

	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 3, 100);
	second = b.at;
	build_flush(&b, 2, 100);
	build_flush(&b, 2, 100);
	is_u64(segment_look(b.bytes + second + 8, b.size - second - 8, 3,
		   b.info.life, second + 8, &seen),
	    1, "one head behind a broken one");
	is_u64(seen.durable, 5, "which knows five to be durable");
	/* The same bytes as another segment's, or elsewhere, say nothing. */
	memset(&seen, 0, sizeof(seen));
	is_u64(segment_look(
		   b.bytes + 4096, b.size - 4096, 4, b.info.life, 4096, &seen),
	    0, "heads of another number are not heard");
	is_u64(segment_look(b.bytes + 4096, b.size - 4096, 3, b.info.life + 1,
		   4096, &seen),
	    0, "nor of another life of this one");
	is_u64(segment_look(
		   b.bytes + 4096, b.size - 4096, 3, b.info.life, 8192, &seen),
	    0, "nor such that moved");
	is_u64(segment_look(b.bytes + 4096, b.size - 4096, 3, SEGMENT_LIFE_ANY,
		   4096, &seen),
	    3, "where the life is not known, those of any are");
	memset(&seen, 0, sizeof(seen));
	build_begin(&old, 2, 65536, NULL);
	build_flush(&old, 50, 100);
	memcpy(old.bytes, b.bytes, b.at);
	memcpy(b.bytes + b.at, old.bytes + b.at, b.size - b.at);
	{
		struct segment_scan s;

		is_u64(scan_image(&b, &s), b.count,
		    "stale records behind the end do not chain");
	}
	build_free(&b);
	build_free(&old);
}

/* Sealed, and still of numbers that no log has. */
static void
test_bounds(void)
{
	struct segment_build b;
	struct segment_info info;
	struct segment_scan s;

	build_begin(&b, 3, 65536, NULL);
	b.info.first_vlsn = UINT64_C(1) << 48;
	segment_encode(b.bytes, &b.info);
	is_i64(segment_decode(b.bytes, 65536, &info), -EBADMSG,
	    "a first VLSN of 49 bits");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 1, 10);
	b.committed = UINT64_C(1) << 48;
	build_head(&b);
	build_close(&b);
	is_u64(scan_image(&b, &s), 2, "a committed of 49 bits");
	build_free(&b);
}

/* A device tells a bad block as ENODATA, past the page cache. */
static int
source_bad(void *ctx, uint32_t offset, uint8_t **data, size_t *n)
{
	(void)ctx;
	(void)offset;
	(void)data;
	(void)n;
	return -ENODATA;
}

static void
test_bad_block(void)
{
	const struct segment_source source = { .read = source_bad };
	struct segment_batch seen = { 0 };
	struct segment_reader r;
	struct segment_build b;
	struct record rec;

	build_begin(&b, 3, 65536, NULL);
	segment_reader_use(&r, &b.info, &source);
	is_i64(segment_reader_next(&r, &rec, NULL), -EIO,
	    "a bad block is not the log's end");
	is_i64(segment_reader_look(&r, &seen), -EIO, "nor free space");
	build_free(&b);
}

static void
test_reader(void)
{
	struct segment_build b;
	struct segment_reader r;
	struct segment_batch seen = { 0 };
	struct record rec;
	uint32_t at, n = 0, i;
	bool same = true;

	/* Records lie across the borders of 64 KiB chunks. */
	build_begin(&b, 5, 1 << 20, NULL);
	for (i = 0; i < 40; i++)
		build_flush(&b, i % 7, 1000 * (i % 11));
	build_pad(&b);
	is_i64(build_write(&b, dir), 0, "written");
	is_i64(segment_reader_open(&r, dir, 5, 65536, true), 0, "opened");
	while (segment_reader_next(&r, &rec, &at) == 0) {
		same = same && at == b.record[n].offset &&
		       rec.vlsn == b.record[n].vlsn &&
		       rec.len == b.record[n].len &&
		       memcmp(rec.payload, b.bytes + at + REC_HEADER_SIZE,
			   rec.payload_len) == 0;
		n++;
	}
	ok(same, "records are where they were put");
	is_u64(n, b.count, "all of them");
	for (i = 1; i < b.count; i++) {
		bool first =
		    b.record[i - 1].type == REC_BATCH && b.record[i].vlsn != 0;
		int rc = segment_reader_seek(
		    &r, b.record[i].offset, b.record[i].vlsn);

		if (first)
			same = same && rc == 0 &&
			       segment_reader_next(&r, &rec, &at) == 0 &&
			       rec.vlsn == b.record[i].vlsn;
		else
			same = same && rc == -EBADMSG;
	}
	ok(same, "seek stands before each first of a batch, and only there");
	is_i64(segment_reader_seek(&r, b.record[1].offset, 99), -EBADMSG,
	    "not if its VLSN is another");
	is_i64(segment_reader_seek(&r, 900000, 3), -EBADMSG, "nor in zeros");
	is_i64(segment_file_look(dir, 5, true, &seen), 0, "look");
	ok(seen.durable > 0 && seen.durable <= b.vlsn, "it knows something");
	segment_reader_close(&r);
	is_i64(segment_reader_open(&r, dir, 6, 65536, true), -ENOENT, "none");
	build_free(&b);
	dir_empty();
}

static void
test_list(void)
{
	struct segment_build b[6];
	struct segment_list l;
	uint32_t i;

	build_begin(&b[1], 1, 65536, NULL);
	build_flush(&b[1], 3, 10);
	build_begin(&b[2], 2, 65536, &b[1]);
	build_flush(&b[2], 3, 10);
	/* 3 continues 1: what 2 held was cut. 4 was never begun, 5 is torn. */
	build_begin(&b[3], 3, 65536, &b[1]);
	build_begin(&b[4], 9, 65536, NULL);
	build_begin(&b[5], 5, 65536, &b[3]);
	b[4].info.number = 4;
	b[5].bytes[50] ^= 1;
	for (i = 1; i < 6; i++)
		build_write(&b[i], dir);
	close(openat(dir, "spare.1", O_CREAT | O_WRONLY, 0600));
	is_i64(segment_list_load(&l, dir, true), 0, "listed");
	is_u64(l.count, 5, "five");
	is_u64(l.newest, 2, "3 is the newest");
	is_u64(l.oldest, 0, "1 is the oldest");
	is_u64(l.missing, 0, "nothing is missing");
	ok(l.entry[0].in_chain && !l.entry[1].in_chain, "2 was superseded");
	is_u64(l.entry[0].end, b[1].at, "1 ends where 3 says");
	is_u64(l.entry[2].end, 0, "3 is open");
	is_u64(l.entry[3].state, SEGMENT_UNBEGUN, "4 was never begun");
	is_u64(l.entry[4].state, SEGMENT_BAD, "5 is torn");
	is_u64(segment_list_next(&l, 0), 2, "1, then 3");
	is_u64(segment_list_next(&l, 2), UINT32_MAX, "then none");
	segment_list_free(&l);
	unlinkat(dir, "00000001.seg", 0);
	is_i64(segment_list_load(&l, dir, false), 0, "listed again");
	is_u64(l.missing, 1, "1 is missing");
	is_u64(l.entry[l.oldest].number, 3, "3 is the oldest");
	segment_list_free(&l);
	dir_empty();
	is_i64(segment_list_load(&l, dir, true), 0, "an empty directory");
	is_u64(l.newest, UINT32_MAX, "has no newest");
	segment_list_free(&l);
	for (i = 1; i < 6; i++)
		build_free(&b[i]);
}

/* What wal does when that file is about to be opened, once. */
static const char *about_to_open;
static void (*meanwhile)(void);

static bool
openat_refused(const char *path)
{
	if (about_to_open != NULL && strcmp(path, about_to_open) == 0) {
		about_to_open = NULL;
		meanwhile();
	}
	return false;
}

static struct segment_build moving[5];

static void
recycle(void)
{
	renameat(dir, "00000001.seg", dir, "00000004.seg");
}

/* 4 continues 1, so 2 and 3 are superseded, and go. */
static void
supersede(void)
{
	build_write(&moving[4], dir);
	unlinkat(dir, "00000002.seg", 0);
}

/* The log goes on while its names are read, and all of them are recycled. */
static void
overtake(void)
{
	build_write(&moving[4], dir);
	unlinkat(dir, "00000001.seg", 0);
}

/* wal takes files away between the reading of their names and of them. */
static void
test_moving(void)
{
	struct segment_list l;
	uint32_t i;

	for (i = 1; i < 4; i++) {
		build_begin(
		    &moving[i], i, 65536, i > 1 ? &moving[i - 1] : NULL);
		build_flush(&moving[i], 3, 10);
		build_write(&moving[i], dir);
	}
	build_begin(&moving[4], 4, 65536, &moving[1]);
	about_to_open = "00000001.seg";
	meanwhile = recycle;
	is_i64(segment_list_load(&l, dir, true), 0, "the oldest is recycled");
	ok(about_to_open == NULL && l.count == 2 && l.missing == 1 &&
		l.entry[l.oldest].number == 2 && l.entry[l.newest].number == 3,
	    "it is left out");
	segment_list_free(&l);
	build_write(&moving[1], dir);
	unlinkat(dir, "00000004.seg", 0);
	about_to_open = "00000002.seg";
	meanwhile = supersede;
	is_i64(segment_list_load(&l, dir, true), 0, "others are superseded");
	ok(about_to_open == NULL && l.missing == 0 &&
		l.entry[l.oldest].number == 1 && l.entry[l.newest].number == 4,
	    "what does that is listed");
	segment_list_free(&l);
	is_i64(symlinkat("nowhere", dir, "00000002.seg"), 0, "a name");
	is_i64(segment_list_load(&l, dir, true), -ENOENT,
	    "that leads nowhere is told");
	dir_empty();
	build_write(&moving[1], dir);
	about_to_open = "00000001.seg";
	meanwhile = overtake;
	is_i64(segment_list_load(&l, dir, true), 0, "all are recycled");
	ok(about_to_open == NULL && l.count == 1 && l.newest != UINT32_MAX &&
		l.entry[l.newest].number == 4,
	    "what the log goes on with is listed");
	segment_list_free(&l);
	dir_empty();
	is_i64(symlinkat("nowhere", dir, "00000001.seg"), 0, "a name");
	is_i64(segment_list_load(&l, dir, true), -ENOENT,
	    "that leads nowhere is told also where there is no other");
	dir_empty();
	for (i = 1; i < 5; i++)
		build_free(&moving[i]);
}

/*
 * The same records in three logs: flushed one by one, all at once, and in two
 * segments with pads and heads without records between them.
 */
static void
log_variants(struct segment_build b[4])
{
	unsigned i;

	build_begin(&b[0], 1, 65536, NULL);
	build_begin(&b[1], 5, 65536, NULL);
	build_begin(&b[2], 8, 65536, NULL);
	build_head(&b[1]);
	for (i = 0; i < 12; i++) {
		build_flush(&b[0], 1, 100 + i);
		build_record(&b[1], REC_OP, 100 + i);
		if (i == 6)
			build_begin(&b[3], 9, 65536, &b[2]);
		build_flush(&b[i < 6 ? 2 : 3], i % 2, 100 + i);
		if (i % 2 == 0) {
			build_head(&b[i < 6 ? 2 : 3]);
			build_record(&b[i < 6 ? 2 : 3], REC_OP, 100 + i);
			build_pad(&b[i < 6 ? 2 : 3]);
		}
	}
	build_close(&b[1]);
}

static const uint8_t *
record_of(const struct segment_build *b, uint64_t vlsn, uint32_t *len)
{
	uint32_t i;

	for (i = 0; i < b->count; i++)
		if (b->record[i].vlsn == vlsn) {
			*len = b->record[i].len;
			return b->bytes + b->record[i].offset;
		}
	return NULL;
}

/* Of how many records of a the bytes, CRC and all, are those in b. */
static unsigned
same_bytes(const struct segment_build *a, const struct segment_build *b)
{
	uint32_t len = 0, other = 0;
	unsigned same = 0;
	uint64_t vlsn;

	for (vlsn = 1; vlsn <= a->vlsn; vlsn++) {
		const uint8_t *x = record_of(a, vlsn, &len);
		const uint8_t *y = record_of(b, vlsn, &other);

		same += x != NULL && y != NULL && len == other &&
			memcmp(x, y, len) == 0;
	}
	return same;
}

/* A record's bytes go by the records before it, and by nothing else. */
static void
test_same_everywhere(void)
{
	struct segment_build b[4];
	struct segment_scan s;
	unsigned i;

	build_format = SEGMENT_FORMAT;
	log_variants(b);
	is_u64(same_bytes(&b[0], &b[1]), 12, "flushed otherwise: the same");
	is_u64(same_bytes(&b[2], &b[0]), 6, "beside pads: the same");
	is_u64(same_bytes(&b[3], &b[0]), 6, "in a later segment: the same");
	ok(b[0].seed == b[1].seed && b[0].seed == b[3].seed,
	    "so the chain ends in the same");
	for (i = 0; i < 4; i++) {
		is_u64(scan_image(&b[i], &s), b[i].count, "all of it chains");
		ok(s.seed == b[i].seed, "to there");
		build_free(&b[i]);
	}
	build_format = SEGMENT_FORMAT_1;
	log_variants(b);
	is_u64(same_bytes(&b[0], &b[1]), 0, "in format 1 none is");
	for (i = 0; i < 4; i++)
		build_free(&b[i]);
	build_format = SEGMENT_FORMAT;
}

/* Another history is another chain, also where the record is the same. */
static void
test_chain_proves(void)
{
	struct segment_build a, b;

	build_begin(&a, 1, 65536, NULL);
	build_flush(&a, 3, 50);
	build_begin(&b, 1, 65536, NULL);
	build_flush(&b, 3, 50);
	ok(a.seed == b.seed, "one history, one chain");
	b.bytes[b.record[1].offset + REC_HEADER_SIZE + 7] ^= 1;
	build_close(&b);
	ok(a.seed != b.seed, "a bit of the first record is in the last's CRC");
	build_flush(&a, 1, 50);
	build_flush(&b, 1, 50);
	is_u64(same_bytes(&a, &b), 0, "no record is the same");
	build_free(&a);
	build_free(&b);
}

/* Heads and pads of another life, which chain, are none of this one's. */
static void
test_lives(void)
{
	struct segment_build b;
	struct segment_scan s;
	uint64_t life;

	build_begin(&b, 3, 65536, NULL);
	life = b.info.life;
	build_flush(&b, 2, 10);
	b.info.life = life + 1;
	build_flush(&b, 1, 10);
	b.info.life = life;
	is_u64(scan_image(&b, &s), 3, "a head of another life");
	ok(s.offset == s.batch_end, "is the end");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	build_flush(&b, 2, 10);
	b.info.life = life + 1;
	build_pad(&b);
	b.info.life = life;
	is_u64(scan_image(&b, &s), 3, "a pad of another life");
	ok(s.offset < s.batch_end, "is a tear");
	build_free(&b);
	build_begin(&b, 3, 65536, NULL);
	b.info.life = 0;
	build_flush(&b, 2, 10);
	b.info.life = life;
	is_u64(scan_image(&b, &s), 0, "a head of format 1");
	build_free(&b);
	ok(segment_life_new() != segment_life_new(), "no two lives are one");
}

/* Over the border of the formats the chain goes on, one way only. */
static void
test_switch(void)
{
	struct segment_build b[4];
	struct segment_list l;
	struct segment_scan s;
	unsigned i;

	build_format = SEGMENT_FORMAT_1;
	build_begin(&b[0], 1, 65536, NULL);
	build_flush(&b[0], 3, 10);
	build_pad(&b[0]);
	build_format = SEGMENT_FORMAT;
	build_begin(&b[1], 2, 65536, &b[0]);
	ok(b[1].seed == get_le32(b[0].bytes + b[0].record[4].offset),
	    "it begins in the CRC of the last record, a pad");
	build_flush(&b[1], 3, 10);
	build_begin(&b[2], 3, 65536, &b[1]);
	ok(b[2].seed == get_le32(b[1].bytes + b[1].record[3].offset),
	    "and goes on with that of the last replicated one");
	build_flush(&b[2], 1, 10);
	for (i = 0; i < 3; i++) {
		is_u64(scan_image(&b[i], &s), b[i].count, "all chains");
		build_write(&b[i], dir);
	}
	is_i64(segment_list_load(&l, dir, true), 0, "listed");
	ok(l.oldest == 0 && l.newest == 2 && l.missing == 0, "one log");
	ok(l.entry[0].info.format == 1 && l.entry[2].info.format == 2,
	    "of two formats");
	segment_list_free(&l);
	build_format = SEGMENT_FORMAT_1;
	build_begin(&b[3], 4, 65536, &b[2]);
	build_format = SEGMENT_FORMAT;
	build_write(&b[3], dir);
	is_i64(segment_list_load(&l, dir, true), 0, "listed");
	is_u64(l.missing, 3, "format 1 does not continue format 2");
	segment_list_free(&l);
	for (i = 0; i < 4; i++)
		build_free(&b[i]);
	dir_empty();
}

/* A header of a format that is to come: whole, and not ours to judge. */
static void
test_newer_format(void)
{
	struct segment_build b;
	struct segment_info info;
	struct segment_list l;

	build_begin(&b, 3, 65536, NULL);
	b.info.format = SEGMENT_FORMAT + 1;
	b.info.prev_crc = 99;
	segment_encode(b.bytes, &b.info);
	is_i64(segment_decode(b.bytes, 65536, &info), -EPROTONOSUPPORT,
	    "a newer format");
	build_write(&b, dir);
	is_i64(segment_list_load(&l, dir, true), 0, "listed");
	ok(l.entry[0].newer && l.entry[0].state == SEGMENT_BAD, "as such");
	segment_list_free(&l);
	renameat(dir, "00000003.seg", dir, "00000004.seg");
	is_i64(segment_list_load(&l, dir, true), 0, "listed");
	ok(!l.entry[0].newer && l.entry[0].state == SEGMENT_UNBEGUN,
	    "of a former life it is nothing");
	segment_list_free(&l);
	b.info.format = 0;
	segment_encode(b.bytes, &b.info);
	is_i64(segment_decode(b.bytes, 65536, &info), -EBADMSG, "no format 0");
	b.info.format = SEGMENT_FORMAT_1;
	b.info.prev_crc = 0;
	segment_encode(b.bytes, &b.info);
	is_i64(segment_decode(b.bytes, 65536, &info), -EBADMSG,
	    "format 1 has no lives");
	b.info.format = SEGMENT_FORMAT;
	b.info.life = 0;
	segment_encode(b.bytes, &b.info);
	is_i64(segment_decode(b.bytes, 65536, &info), -EBADMSG,
	    "format 2 has no segment without one");
	b.info.life = 5;
	b.info.prev_crc = 77;
	segment_encode(b.bytes, &b.info);
	is_i64(segment_decode(b.bytes, 65536, &info), 0,
	    "a log that begins behind records it never had");
	is_u64(info.prev_crc, 77, "knows their chain");
	build_free(&b);
	dir_empty();
}

/* No record is read that ends behind the limit, whatever lies there. */
static void
test_limit(void)
{
	struct segment_build b;
	struct segment_reader r;
	struct record rec;
	bool good = true;
	uint32_t limit, i;

	build_begin(&b, 5, 65536, NULL);
	for (i = 0; i < 20; i++)
		build_flush(&b, 2, 1000);
	build_write(&b, dir);
	is_i64(segment_reader_open(&r, dir, 5, 65536, true), 0, "opened");
	for (limit = b.info.block; limit < b.at; limit += 8) {
		uint32_t end = b.info.block;

		segment_scan_begin(&r.scan, &r.info);
		segment_reader_refresh(&r);
		r.limit = limit;
		while (segment_reader_next(&r, &rec, NULL) == 0)
			end = r.scan.offset;
		for (i = 0; i < b.count && b.record[i].offset < end; i++)
			;
		good = good && end <= limit &&
		       (i == b.count || b.record[i].offset == end) &&
		       (i == b.count ||
			   b.record[i].offset + b.record[i].len > limit);
	}
	ok(good, "each limit ends it before the record that crosses it");
	r.limit = b.record[4].offset;
	is_i64(segment_reader_seek(&r, b.record[1].offset, b.record[1].vlsn), 0,
	    "before the limit it can be sought");
	is_i64(segment_reader_seek(&r, b.record[4].offset, b.record[4].vlsn),
	    -EBADMSG, "behind it not");
	r.limit = b.record[4].offset + 8;
	is_i64(segment_reader_seek(&r, b.record[4].offset, b.record[4].vlsn),
	    -EBADMSG, "nor across it");
	segment_reader_close(&r);
	build_free(&b);
	dir_empty();
}

/* All that holds in either format. */
static void
test_format(uint32_t format)
{
	build_format = format;
	test_header();
	test_scan();
	test_scan_lies();
	test_head();
	test_scan_clock();
	test_scan_newer();
	test_bounds();
	test_bad_block();
	test_reader();
	test_list();
	test_limit();
}

int
main(void)
{
	if (mkdtemp(dir_name) == NULL)
		return 1;
	dir = open(dir_name, O_RDONLY | O_DIRECTORY);
	test_names();
	test_format(SEGMENT_FORMAT_1);
	test_format(SEGMENT_FORMAT);
	test_look();
	test_moving();
	test_same_everywhere();
	test_chain_proves();
	test_lives();
	test_switch();
	test_newer_format();
	dir_empty();
	close(dir);
	rmdir(dir_name);
	return tap_done();
}
