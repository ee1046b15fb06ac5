/*
 * Recovery against files that were torn, holed, flipped and recycled. The
 * scan runs in this process, read-only, once for each case. Never may it
 * accept what was not written, nor lose silently what a head on disk knew to
 * be durable.
 */
#include "shm/log/index_file.h"
#include "t/lib/openat_refused.h"
#include "t/lib/segment_build.h"
#include "t/lib/wal_harness.h"
#include "workers/wal/wal.h"

/* So many opens of the first segment later the machine has no descriptor. */
static int opens_left = -1;

static bool
openat_refused(const char *path)
{
	return opens_left >= 0 && strcmp(path, "00000001.seg") == 0 &&
	       opens_left-- == 0;
}

static struct harness h;
static struct wal w;
static struct loop_hooks no_hooks;
static unsigned seed;
/* Of the first and of the second segment of a log. */
static uint32_t format_of[2] = { SEGMENT_FORMAT, SEGMENT_FORMAT };

static unsigned
rnd(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

/* Events of the level error, ever. */
static unsigned
errors(void)
{
	struct event *e = calloc(EVENT_COUNT, sizeof(*e));
	unsigned n = event_list(h.region.events, e, EVENT_COUNT), found = 0;

	while (n-- > 0)
		found += e[n].level == EVENT_ERROR;
	free(e);
	return found;
}

/*
 * One boot's scan: 0 or negative; w.log.end tells the end. Damage does not
 * end a readonly boot, but it is told.
 */
static int
recover(void)
{
	struct loop loop = w.loop;
	int rc;

	memset(&w, 0, sizeof(w));
	w.loop = loop;
	w.w = &h.worker;
	w.r = &h.region;
	w.conf = &h.conf;
	w.dir = -1;
	vmap_cut(h.region.vmap, 0);
	memset(h.region.events, 0, sizeof(*h.region.events));
	rc = wal_recover(&w);
	segment_list_free(&w.found);
	if (w.dir >= 0)
		close(w.dir);
	return rc == 0 && errors() > 0 ? -EBADMSG : rc;
}

/* The same of a normal boot, which fails with the sequencer's error. */
static int
recover_normal(void)
{
	int rc;

	memset(h.region.seq, 0, sizeof(*h.region.seq));
	seq_init(h.region.seq, RECOVERY_NORMAL);
	h.worker.readonly = false;
	rc = recover();
	h.worker.readonly = true;
	return rc;
}

static uint64_t
torn_count(void)
{
	return counter_sum(h.region.counters, C_WAL_TORN);
}

static void
put_byte(uint32_t number, uint32_t offset, uint8_t byte)
{
	char name[SEGMENT_NAME_MAX];
	int fd;

	segment_name(name, number);
	fd = openat(h.wal_dir, name, O_WRONLY);
	if (pwrite(fd, &byte, 1, offset) != 1)
		abort();
	close(fd);
}

static bool
truncate_at(const char *name, off_t size)
{
	int fd = openat(h.wal_dir, name, O_WRONLY | O_CLOEXEC);
	bool good = ftruncate(fd, size) == 0;

	close(fd);
	return good;
}

static void
wal_empty(void)
{
	dir_remove(h.data_dir, "wal");
	mkdirat(h.data_dir, "wal", 0750);
	close(h.wal_dir);
	h.wal_dir =
	    openat(h.data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void
test_empty(void)
{
	is_i64(recover(), 0, "an empty directory");
	is_u64(w.log.end.vlsn, 0, "holds nothing");
	dir_remove(h.data_dir, "wal");
	is_i64(recover(), 0, "no directory, readonly");
	wal_empty();
}

/* Segment 1 closed by 2; 2 with four flushes, the last of two records. */
static void
two_segments(struct segment_build b[2])
{
	build_format = format_of[0];
	build_begin(&b[0], 1, 65536, NULL);
	build_flush(&b[0], 3, 40);
	build_flush(&b[0], 2, 100);
	build_pad(&b[0]);
	build_format = format_of[1];
	build_begin(&b[1], 2, 65536, &b[0]);
	build_flush(&b[1], 1, 40);
	build_flush(&b[1], 3, 33);
	build_flush(&b[1], 1, 100);
	build_flush(&b[1], 2, 50);
	build_write(&b[0], h.wal_dir);
	build_write(&b[1], h.wal_dir);
}

/* How many bytes at the front of a segment are a header or records. */
static bool
flip_is_right(const struct segment_build *b, unsigned i, uint32_t at, int rc)
{
	const struct segment_build *s = &b[i];
	bool last = i == 1 && at >= s->head_at;

	if (at >= s->at) /* free space */
		return rc == 0 && w.log.end.vlsn == b[1].vlsn;
	if (!last)
		return rc != 0;
	return rc == 0 && w.log.end.vlsn >= s->durable &&
	       w.log.end.vlsn < s->vlsn;
}

static void
flip_one(struct segment_build b[2], unsigned i, uint32_t at, unsigned bit,
    unsigned *wrong)
{
	uint64_t torn = torn_count();
	int rc;

	put_byte(b[i].info.number, at, b[i].bytes[at] ^ (uint8_t)(1u << bit));
	rc = recover();
	if (!flip_is_right(b, i, at, rc) ||
	    (rc == 0 && at < b[i].at && torn_count() == torn)) {
		if ((*wrong)++ < 10)
			diag("segment %u offset %u bit %u: rc %d vlsn %ju",
			    i + 1, at, bit, rc, (uintmax_t)w.log.end.vlsn);
	}
	put_byte(b[i].info.number, at, b[i].bytes[at]);
}

static void
test_flips(void)
{
	struct segment_build b[2];
	unsigned i, bit, wrong = 0, tried = 0;
	uint32_t at;

	two_segments(b);
	is_i64(recover(), 0, "two segments");
	is_u64(w.log.end.vlsn, b[1].vlsn, "to their end");
	is_u64(w.log.end.chain, b[1].seed, "where the chain goes on");
	for (i = 0; i < 2; i++) {
		for (at = 0; at < 4096; at += 1 + rnd(12), tried++)
			flip_one(b, i, at, rnd(8), &wrong);
		for (at = 4096; at < b[i].at; at++)
			for (bit = rnd(6); bit < 8; bit += 6, tried++)
				flip_one(b, i, at, bit, &wrong);
		for (at = b[i].at; at < 60000; at += 1 + rnd(997), tried++)
			flip_one(b, i, at, rnd(8), &wrong);
	}
	is_u64(wrong, 0, "each flipped bit is found, or is in free space");
	diag("%u flips", tried);
	build_free(&b[0]);
	build_free(&b[1]);
	wal_empty();
}

enum behind { BEHIND_ZEROS, BEHIND_NOISE, BEHIND_NUMBER, BEHIND_LIFE };

/*
 * What a file held before it became segment 2, in flushes that know much to
 * be durable: of another number, or of this one in another life.
 */
static void
old_make(struct segment_build *old, enum behind kind)
{
	unsigned i;

	build_begin(old, kind == BEHIND_LIFE ? 2 : 1, 65536, NULL);
	old->info.life ^= 0xff;
	old->vlsn = 30;
	for (i = 0; old->at < 40000; i++)
		build_flush(old, 1 + i % 3, 77 * (i % 5));
}

/*
 * The last flush cut at every byte; behind the cut zeros, noise, or what the
 * file held before. Format 1 cannot tell one life of a number from another.
 */
static void
test_tears(void)
{
	unsigned kinds =
	    format_of[1] == SEGMENT_FORMAT_1 ? BEHIND_NUMBER : BEHIND_LIFE;
	struct segment_build b[2], image, old;
	unsigned wrong = 0, kind;
	uint32_t at, cut, i;

	two_segments(b);
	image = b[1];
	image.bytes = malloc(b[1].size);
	for (kind = 0; kind <= kinds; kind++) {
		old_make(&old, kind);
		for (at = b[1].head_at; at < b[1].at; at++) {
			uint64_t want = b[1].durable;
			uint64_t torn = torn_count();
			int rc;

			memcpy(image.bytes, b[1].bytes, at);
			for (i = at; i < b[1].size; i++)
				image.bytes[i] = kind == BEHIND_ZEROS ? 0
						 : kind == BEHIND_NOISE
						     ? (uint8_t)rnd(256)
						     : old.bytes[i];
			/* Zeros for zeros are no tear. */
			for (cut = at; cut < b[1].at &&
				       image.bytes[cut] == b[1].bytes[cut];)
				cut++;
			for (i = 0; i < b[1].count; i++)
				if (b[1].record[i].offset +
					    b[1].record[i].len <=
					cut &&
				    b[1].record[i].vlsn > want)
					want = b[1].record[i].vlsn;
			build_write(&image, h.wal_dir);
			rc = recover();
			if (rc != 0 || w.log.end.vlsn != want ||
			    (at >= b[1].head_at + SEGMENT_BATCH_LEN &&
				torn_count() != torn + (cut < b[1].at))) {
				diag("cut at %u, kind %u: rc %d, vlsn %ju not "
				     "%ju",
				    at, kind, rc, (uintmax_t)w.log.end.vlsn,
				    (uintmax_t)want);
				wrong++;
			}
		}
		build_free(&old);
	}
	is_u64(wrong, 0, "a tail torn at every byte is cut right there");
	free(image.bytes);
	build_free(&b[0]);
	build_free(&b[1]);
	wal_empty();
}

/*
 * Power lost with three closed flights under way: any subset of their blocks
 * is there. Nothing of them was durable, all before was.
 */
static void
test_lost_flights(void)
{
	struct segment_build b, image;
	unsigned round, wrong = 0, blocks;
	uint32_t from, i;
	uint64_t before;

	build_format = format_of[1];
	build_begin(&b, 1, 262144, NULL);
	build_flush(&b, 20, 100);
	build_pad(&b);
	before = b.vlsn;
	from = b.at;
	b.durable = before;
	for (i = 0; i < 3; i++) {
		build_head(&b);
		while (b.at < from + (i + 1) * 20000)
			build_record(&b, REC_OP, 200);
		build_pad(&b);
	}
	blocks = (b.at - from) / 4096;
	image = b;
	image.bytes = malloc(b.size);
	for (round = 0; round < 300; round++) {
		uint32_t hole = 0;
		uint64_t want = before;

		memcpy(image.bytes, b.bytes, b.size);
		for (i = 0; i < blocks; i++)
			if (rnd(round % 5 + 2) == 0) {
				memset(image.bytes + from + i * 4096, 0, 4096);
				if (hole == 0)
					hole = from + i * 4096;
			}
		for (i = 0; i < b.count &&
			    (hole == 0 ||
				b.record[i].offset + b.record[i].len <= hole);
		     i++)
			if (b.record[i].vlsn > want)
				want = b.record[i].vlsn;
		build_write(&image, h.wal_dir);
		if (recover() != 0 || w.log.end.vlsn != want) {
			diag("round %u: vlsn %ju not %ju: %s", round,
			    (uintmax_t)w.log.end.vlsn, (uintmax_t)want,
			    h.region.seq->error);
			wrong++;
		}
	}
	is_u64(wrong, 0, "holes of lost flights are cut at the first");
	/* A fourth flight that knows the first to be durable. */
	b.durable = b.record[b.count / 3].vlsn;
	build_flush(&b, 1, 10);
	memcpy(image.bytes, b.bytes, b.size);
	memset(image.bytes + from, 0, 4096);
	b.head_at = 0;
	build_write(&image, h.wal_dir);
	ok(recover() != 0, "a hole below what a later flight knows is damage");
	free(image.bytes);
	build_free(&b);
	wal_empty();
}

static void
junk_checkpoint(void)
{
	int fd = openat(h.data_dir, "store/data.mdb", O_WRONLY | O_TRUNC);

	if (pwrite(fd, "junk", 4, 8188) != 4)
		abort();
	close(fd);
}

/* Which file the boot's error names, the place, and what is there. */
static const char *
place(void)
{
	static char text[SEQ_ERROR_MAX];
	char *at, *end;

	snprintf(text, sizeof(text), "%s", h.region.seq->error);
	if ((at = strstr(text, "/wal/")) == NULL)
		return text;
	at += 5;
	if ((end = strstr(at, ": the log is good")) != NULL)
		*end = '\0';
	return at;
}

static void
test_chain(void)
{
	struct segment_build b[4];
	int i;

	/* 1 <- 2 <- 3, and 4 whose header was torn while it was begun. */
	build_begin(&b[0], 1, 65536, NULL);
	build_flush(&b[0], 3, 40);
	build_begin(&b[1], 2, 65536, &b[0]);
	build_flush(&b[1], 3, 40);
	build_begin(&b[2], 3, 65536, &b[1]);
	build_flush(&b[2], 3, 40);
	build_begin(&b[3], 4, 65536, &b[2]);
	memset(b[3].bytes + 60, 0, 100);
	for (i = 0; i < 4; i++)
		build_write(&b[i], h.wal_dir);
	is_i64(
	    recover_normal(), 0, "a torn header behind the log is no damage");
	is_u64(w.log.end.vlsn, 9, "nothing is lost");
	is_u64(w.segment.info.prev_number, 3, "what is next continues 3");
	is_u64(w.segment.info.number, 4, "and does not take 4's name");
	build_flush(&b[3], 1, 10);
	build_write(&b[3], h.wal_dir);
	ok(recover_normal() != 0, "with records behind it, it is");
	unlinkat(h.wal_dir, "00000004.seg", 0);
	unlinkat(h.wal_dir, "00000002.seg", 0);
	ok(recover_normal() != 0, "a missing segment is found");
	is_str(place(), "00000002.seg: offset 0: it is missing", "and named");
	h_checkpoint(&h, 6);
	is_i64(
	    recover_normal(), 0, "a checkpoint that holds it needs it no more");
	build_write(&b[1], h.wal_dir);
	unlinkat(h.wal_dir, "00000001.seg", 0);
	h_checkpoint(&h, 2);
	ok(recover_normal() != 0, "one that lacks a record of the oldest does");
	is_str(place(), "00000001.seg: offset 0: it is missing", "and named");
	h_checkpoint(&h, 10);
	ok(recover_normal() != 0,
	    "one that is ahead of the log tells what is lost");
	ok(strstr(h.region.seq->error, "good up to record 9, 10 were durable "
				       "by the checkpoint") != NULL,
	    "and how much: %s", h.region.seq->error);
	/* From here on it cannot be read, so the hint counts. */
	junk_checkpoint();
	is_i64(recover_normal(), 0, "the oldest may be gone: it was recycled");
	is_u64(position_get(&h.region.pos->first), 4, "the log begins at 4");
	/* What the checkpoint has is not scanned. */
	{
		uint8_t hint[LOG_HINT_SIZE];
		uint64_t before =
		    counter_sum(h.region.counters, C_WAL_REPLAYED);
		int fd =
		    openat(h.wal_dir, LOG_HINT_NAME, O_WRONLY | O_CREAT, 0600);

		log_hint_encode(hint, 6);
		ok(write(fd, hint, sizeof(hint)) == sizeof(hint), "a hint");
		is_i64(recover_normal(), 0, "is followed");
		is_u64(counter_sum(h.region.counters, C_WAL_REPLAYED) - before,
		    3, "only what follows it is scanned");
		put_byte(2, 4200, 0xff);
		is_i64(
		    recover_normal(), 0, "what is before it is not looked at");
		log_hint_encode(hint, 2);
		ok(pwrite(fd, hint, sizeof(hint), 0) == sizeof(hint),
		    "a hint before the oldest");
		ok(recover_normal() != 0, "needs what is missing");
		log_hint_encode(hint, 10);
		ok(pwrite(fd, hint, sizeof(hint), 0) == sizeof(hint),
		    "a hint behind the log's end");
		ok(recover_normal() != 0, "tells that some of it is lost");
		hint[3] ^= 1;
		ok(pwrite(fd, hint, sizeof(hint), 0) == sizeof(hint),
		    "a broken hint");
		ok(recover_normal() != 0, "is none: the damage is met");
		close(fd);
	}
	for (i = 0; i < 4; i++)
		build_free(&b[i]);
	dir_remove(h.data_dir, "store");
	wal_empty();
}

static void
test_owner(void)
{
	struct segment_build b;

	build_begin(&b, 1, 65536, NULL);
	b.info.generation = 9;
	segment_encode(b.bytes, &b.info);
	build_write(&b, h.wal_dir);
	ok(recover() != 0, "a newer generation is refused");
	b.info.generation = 1;
	b.info.uuid[3] ^= 1;
	segment_encode(b.bytes, &b.info);
	build_write(&b, h.wal_dir);
	ok(recover() != 0, "another group is refused");
	build_free(&b);
	wal_empty();
}

/*
 * A flush failed in the life before: what follows what was durable then may
 * be in a cache only, so the end that the next header states lies before it.
 */
static void
test_failed_flush(void)
{
	struct segment_build b[2];
	uint32_t end;

	build_begin(&b[0], 1, 65536, NULL);
	build_flush(&b[0], 3, 40);
	end = b[0].at;
	build_flush(&b[0], 2, 40);
	build_write(&b[0], h.wal_dir);
	h_failed(&h, 4, 1);
	is_i64(recover(), 0, "a flush that failed");
	is_u64(w.log.end.vlsn, 3, "is dropped");
	is_u64(w.segment.info.prev_end, end, "with its head");
	h_failed(&h, 6, 1);
	build_head(&b[0]);
	build_pad(&b[0]);
	build_write(&b[0], h.wal_dir);
	is_i64(recover(), 0, "one without a record");
	is_u64(w.log.end.vlsn, 5, "drops none");
	is_u64(w.segment.info.prev_end,
	    b[0].record[b[0].count - 3].offset +
		b[0].record[b[0].count - 3].len,
	    "but its head and its pad");
	build_begin(&b[1], 2, 65536, &b[0]);
	build_flush(&b[1], 1, 40);
	build_write(&b[1], h.wal_dir);
	is_i64(recover(), 0, "a segment begun by a life since");
	is_u64(w.log.end.vlsn, 6,
	    "counts: that one was told nothing, and knows better");
	h_failed(&h, 6, 2);
	is_i64(recover(), 0, "a segment of which nothing was durable");
	is_u64(w.log.end.vlsn, 5, "is dropped");
	is_u64(w.segment.info.prev_number, 1, "with its header");
	is_u64(w.segment.info.number, 2, "and its number is not used again");
	atomic_store(&h.region.control->wal_failed_log, 78);
	is_i64(recover(), 0, "with the word of another directory's failure");
	is_u64(w.log.end.vlsn, 6, "all counts");
	atomic_store(&h.region.control->wal_failed, 0);
	is_i64(recover(), 0, "without the word of a failure");
	is_u64(w.log.end.vlsn, 6, "all counts");
	build_free(&b[0]);
	build_free(&b[1]);
	wal_empty();
}

/* Files that are none of a log's, with names at the edge of the numbers. */
static void
test_numbers(void)
{
	struct segment_build b;
	int fd;

	build_begin(&b, 1, 65536, NULL);
	build_flush(&b, 2, 40);
	build_write(&b, h.wal_dir);
	ok(truncate_at("00000001.seg", INT64_C(5) << 30), "a file of 5 GiB");
	ok(recover() != 0, "is not read as if it were shorter");
	build_write(&b, h.wal_dir);
	fd = openat(h.wal_dir, "fffffffe.seg", O_WRONLY | O_CREAT, 0600);
	close(fd);
	is_i64(recover(), 0, "the last but one number");
	is_u64(w.segment.info.number, UINT32_MAX - 1, "leaves one");
	ok(renameat(h.wal_dir, "fffffffe.seg", h.wal_dir, "ffffffff.seg") == 0,
	    "the last");
	ok(recover() != 0, "leaves none");
	build_free(&b);
	wal_empty();
}

/* Junk of every kind must end in an answer. */
static void
test_junk(void)
{
	struct segment_build b[2];
	unsigned round, n, i;

	for (round = 0; round < 300; round++) {
		two_segments(b);
		for (n = 1 + rnd(30); n > 0; n--) {
			i = rnd(2);
			put_byte(i + 1, rnd(b[i].at + 100), (uint8_t)rnd(256));
		}
		(void)recover();
		build_free(&b[0]);
		build_free(&b[1]);
	}
	ok(true, "300 rounds of junk");
	wal_empty();
}

/* Log time goes back in the middle; a record of a newer release is at the end.
 */
static void
test_kinds(void)
{
	uint8_t payload[CLOCK_PAYLOAD];
	struct segment_build b;

	build_begin(&b, 1, 65536, NULL);
	b.time_ms = 90000;
	build_flush(&b, 3, 40);
	clock_encode(payload, 95000, CLOCK_SET_BACK);
	b.time_ms = 4999;
	build_head(&b);
	build_payload(&b, REC_CLOCK, 0, 0, payload, sizeof(payload));
	build_record(&b, REC_OP, 40);
	build_close(&b);
	build_write(&b, h.wal_dir);
	is_i64(recover_normal(), 0, "log time goes back");
	is_u64(w.log.end.vlsn, 5, "all is there");
	is_i64(w.log.end.time_ms, 5001, "it goes on from there");
	build_head(&b);
	build_record(&b, REC_CLOCK + 1, 40);
	build_close(&b);
	build_write(&b, h.wal_dir);
	ok(recover_normal() != 0, "a record of another kind is no torn tail");
	ok(strstr(h.region.seq->error,
	       "a record that this release does not know") != NULL &&
		strstr(h.region.seq->error, "force") == NULL,
	    "%s", h.region.seq->error);
	build_free(&b);
	wal_empty();
}

/* Segments of a term, a membership, and ops: 1..3, 4..5, 6..7. */
static void
members_make(bool told)
{
	struct segment_build b[3];
	unsigned i;

	wal_empty();
	for (i = 0; i < 3; i++) {
		build_begin(&b[i], i + 1, 65536, i > 0 ? &b[i - 1] : NULL);
		if (!told)
			build_untold(&b[i]);
		build_head(&b[i]);
		if (i == 0) {
			build_record(&b[i], REC_TERM, 0);
			build_record(&b[i], REC_MEMBER, 40);
		} else
			build_record(&b[i], REC_OP, 10);
		build_record(&b[i], REC_OP, 10);
		build_close(&b[i]);
		build_write(&b[i], h.wal_dir);
	}
	for (i = 0; i < 3; i++)
		build_free(&b[i]);
}

/* What wal and group then know of it. */
static void
members_are(uint64_t member, uint64_t position, const char *what)
{
	uint64_t before = counter_sum(h.region.counters, C_WAL_REPLAYED);

	is_i64(recover_normal(), 0, what);
	is_u64(w.member, member, "what the next header tells");
	is_u64(position_get(&h.region.pos->member), position,
	    "what group looks for");
	is_u64(counter_sum(h.region.counters, C_WAL_REPLAYED) - before, 2,
	    "no more is scanned than behind the checkpoint");
}

/* However far behind the checkpoint it lies, the membership is found. */
static void
test_member(void)
{
	int i, rc;

	h_checkpoint(&h, 5);
	members_make(true);
	members_are(2, 2, "a header tells of it");
	put_byte(1, 4096 + 100, 0xff);
	members_are(2, 2, "also where that is damaged");
	unlinkat(h.wal_dir, "00000001.seg", 0);
	members_are(2, 0, "and when it is gone");
	members_make(false);
	members_are(2, 2, "no header tells: it is looked for");
	for (i = 0; opens_left < 0; i++) {
		opens_left = i;
		rc = recover_normal();
		ok(rc != 0 || w.member == 2,
		    "no descriptor for open %d: it is found, or no boot", i);
	}
	ok(i > 3, "some are looked at");
	opens_left = -1;
	put_byte(1, 4096 + 100, 0xff);
	members_are(0, 0, "what cannot be read is not needed");
	unlinkat(h.wal_dir, "00000001.seg", 0);
	members_are(3, 0, "none is left: that is known from now on");
	dir_remove(h.data_dir, "store");
	wal_empty();
}

/*
 * A header that lies, and is whole: a segment before the scan holds a
 * membership record behind the log's end. What goes on is not to be refused.
 */
static void
test_member_beyond(void)
{
	struct segment_build b[2];

	build_begin(&b[0], 1, 65536, NULL);
	build_flush(&b[0], 8, 40);
	build_head(&b[0]);
	build_record(&b[0], REC_MEMBER, 100);
	build_close(&b[0]);
	build_begin(&b[1], 2, 65536, &b[0]);
	b[1].info.first_vlsn = 4;
	b[1].vlsn = 3;
	build_untold(&b[1]);
	build_flush(&b[1], 2, 40);
	build_write(&b[0], h.wal_dir);
	build_write(&b[1], h.wal_dir);
	h_checkpoint(&h, 4);
	is_i64(recover_normal(), 0, "a first VLSN within the one before");
	is_u64(w.log.end.vlsn, 5, "ends the log there");
	ok(w.member <= w.log.end.vlsn, "and no membership is behind that");
	build_free(&b[0]);
	build_free(&b[1]);
	dir_remove(h.data_dir, "store");
	wal_empty();
}

/* A log that a newer release went on with: said, and left as it is. */
static void
test_newer_format(void)
{
	struct segment_build b[2];

	two_segments(b);
	b[1].info.format = SEGMENT_FORMAT + 1;
	segment_encode(b[1].bytes, &b[1].info);
	build_write(&b[1], h.wal_dir);
	ok(recover_normal() != 0, "a segment of a newer format is no damage");
	ok(strstr(h.region.seq->error,
	       "a record that this release does not know") != NULL &&
		strstr(h.region.seq->error, "force") == NULL,
	    "%s", h.region.seq->error);
	build_free(&b[0]);
	build_free(&b[1]);
	wal_empty();
}

/* Whatever was torn, flipped or lost, in logs of either format, and of both. */
static void
test_formats(void)
{
	static const uint32_t formats[][2] = {
		{ SEGMENT_FORMAT_1, SEGMENT_FORMAT_1 },
		{ SEGMENT_FORMAT_1, SEGMENT_FORMAT },
		{ SEGMENT_FORMAT, SEGMENT_FORMAT },
	};
	unsigned i;

	for (i = 0; i < NITEMS(formats); i++) {
		diag("formats %u, %u", formats[i][0], formats[i][1]);
		memcpy(format_of, formats[i], sizeof(format_of));
		test_tears();
		test_lost_flights();
		test_flips();
		test_junk();
	}
}

/* A checkpoint with that list of terms. */
static void
put_checkpoint(uint64_t vlsn, const struct store_term *terms, size_t count)
{
	char path[PATH_MAX], why[256];
	struct store_db db;
	MDB_txn *txn;

	h_checkpoint(&h, vlsn);
	snprintf(path, sizeof(path), "%s/store", h.dir);
	if (store_db_open(
		&db, path, STORE_DB_WRITE, 1 << 20, why, sizeof(why)) != 0 ||
	    mdb_txn_begin(db.env, NULL, 0, &txn) != 0 ||
	    store_db_terms_put(&db, txn, terms, count) != 0 ||
	    mdb_txn_commit(txn) != 0)
		abort();
	store_db_close(&db);
}

/* The runs that a boot knows: term and first VLSN, one behind the other. */
static bool
runs_are(const uint64_t *want, unsigned count)
{
	struct term_run runs[TERM_RUNS_MAX];
	unsigned i, n = terms_copy(h.region.terms, runs);
	bool same = n == count;

	for (i = 0; i < n; i++) {
		diag("term %ju from record %ju", (uintmax_t)runs[i].term,
		    (uintmax_t)runs[i].first);
		same = same && runs[i].term == want[2 * i] &&
		       runs[i].first == want[2 * i + 1];
	}
	return same;
}

/*
 * Records 1-3 are of term 2, 4-5 of 4, 6 of 5 in the next segment, and 7-8, one
 * flush that may be torn, of 9.
 */
static void
terms_log(struct segment_build b[2])
{
	build_begin(&b[0], 1, 65536, NULL);
	b[0].term = 2;
	build_flush(&b[0], 3, 40);
	b[0].term = 4;
	build_flush(&b[0], 2, 100);
	build_pad(&b[0]);
	build_begin(&b[1], 2, 65536, &b[0]);
	b[1].term = 5;
	build_flush(&b[1], 1, 40);
	b[1].term = 9;
	build_flush(&b[1], 2, 40);
	build_write(&b[0], h.wal_dir);
	build_write(&b[1], h.wal_dir);
}

static void
test_terms(void)
{
	static const uint64_t log[] = { 2, 1, 4, 4, 5, 6, 9, 7 };
	static const uint64_t both[] = { 1, 1, 2, 2, 4, 4, 5, 6, 9, 7 };
	static const struct store_term list[] = { { 1, 1 }, { 2, 2 },
		{ 4, 4 } };
	static const struct store_term foreign[] = { { 1, 1 }, { 8, 2 } };
	static const struct store_term falls[] = { { 6, 1 }, { 3, 2 } };
	static const struct store_term lacks[] = { { 1, 1 }, { 2, 2 } };
	struct segment_build b[2];

	terms_log(b);
	ok(recover() == 0 && runs_are(log, 4), "as the records say");
	put_byte(2, b[1].at - 1, b[1].bytes[b[1].at - 1] ^ 1);
	ok(recover() == 0 && w.log.end.vlsn == 7 && runs_are(log, 4),
	    "a tear behind a run's first record");
	put_byte(2, b[1].head_at + 200, b[1].bytes[b[1].head_at + 200] ^ 1);
	put_byte(2, b[1].head_at + 90, b[1].bytes[b[1].head_at + 90] ^ 1);
	ok(recover() == 0 && w.log.end.vlsn == 6 && runs_are(log, 3),
	    "a tear before it takes the run away");
	build_write(&b[1], h.wal_dir);

	put_checkpoint(5, list, NITEMS(list));
	ok(recover() == 0 && runs_are(both, 5),
	    "up to the checkpoint its list, then the records");
	put_checkpoint(5, foreign, NITEMS(foreign));
	ok(recover() == 0 && w.log.end.vlsn == 8 && runs_are(log + 4, 2),
	    "a list that does not lead there is forgotten");
	put_checkpoint(5, falls, NITEMS(falls));
	ok(recover() == 0 && w.log.end.vlsn == 8 && w.log.end.term == 9 &&
		runs_are(log + 4, 2),
	    "a list that falls is none");
	put_checkpoint(5, lacks, NITEMS(lacks));
	ok(recover() == 0 && w.log.end.vlsn == 8 && runs_are(log + 4, 2),
	    "nor is one that lacks the run before the scan");
	build_free(&b[0]);
	build_free(&b[1]);
	dir_remove(h.data_dir, "store");
	wal_empty();
}

/* Of what is scanned the records tell, whatever the checkpoint's list says. */
static void
test_terms_scanned(void)
{
	static const uint64_t log[] = { 2, 1, 4, 4, 5, 6, 9, 7 };
	static const struct store_term lists[][4] = {
		{ { 2, 1 }, { 4, 4 } },
		{ { 0 } },
		{ { 6, 1 }, { 3, 2 } },
		{ { 2, 1 } },
		{ { 4, 4 } },
		{ { 2, 1 }, { 3, 2 }, { 4, 4 } },
		{ { 1, 1 }, { 2, 2 }, { 3, 4 } },
		{ { 8, 1 } },
	};
	static const char *const says[] = { "as they are", "nothing",
		"what falls", "nothing of the last run",
		"nothing of the first run", "of a run that there is not",
		"of other terms", "of a term that is to come" };
	struct segment_build b[2];
	unsigned i, k;

	terms_log(b);
	for (i = 0; i < NITEMS(lists); i++) {
		for (k = 0; k < NITEMS(lists[i]) && lists[i][k].term != 0; k++)
			;
		put_checkpoint(4, lists[i], k);
		ok(recover() == 0 && w.log.end.vlsn == 8 && runs_are(log, 4),
		    "the list tells %s", says[i]);
	}
	dir_remove(h.data_dir, "store");
	h_checkpoint(&h, 4);
	ok(recover() == 0 && runs_are(log, 4), "there is no list");
	build_free(&b[0]);
	build_free(&b[1]);
	dir_remove(h.data_dir, "store");
	wal_empty();
}

/* A forced boot gives up a log that ends before the checkpoint. */
static void
test_terms_anew(void)
{
	static const struct store_term list[] = { { 2, 1 }, { 3, 9 } };
	static const uint64_t want[] = { 2, 1, 3, 9 };
	struct segment_build b[2];

	terms_log(b);
	put_checkpoint(10, list, NITEMS(list));
	h.worker.force = true;
	(void)recover_normal();
	h.worker.force = false;
	is_u64(w.log.end.vlsn, 10, "a log that is given up");
	ok(runs_are(want, 2), "the checkpoint tells of all that is left");
	build_free(&b[0]);
	build_free(&b[1]);
	dir_remove(h.data_dir, "store");
	dir_remove(h.data_dir, "salvage");
	wal_empty();
}

/* More runs than there is room for: the newest are known, and none is wrong. */
static void
test_terms_many(void)
{
	enum { RUNS = TERM_RUNS_MAX + 76 };
	struct store_term list[RUNS];
	struct segment_build b;
	unsigned i, known = 0, wrong = 0;
	uint64_t term;

	build_begin(&b, 1, 1 << 20, NULL);
	for (i = 0; i < RUNS; i++) {
		b.term = i + 1;
		build_flush(&b, 1, 40);
		list[i] = (struct store_term){ i + 1, i + 1 };
	}
	build_write(&b, h.wal_dir);
	put_checkpoint(RUNS - 10, list, RUNS - 10);
	ok(recover() == 0 && w.log.end.vlsn == RUNS, "a log of %u terms", RUNS);
	for (i = 1; i <= RUNS; i++) {
		if (terms_of_vlsn(h.region.terms, i, &term) != 0)
			continue;
		known++;
		wrong += term != i;
	}
	is_u64(wrong, 0, "no record is told another term");
	is_u64(known, TERM_RUNS_MAX, "the newest runs are known");
	build_free(&b);
	dir_remove(h.data_dir, "store");
	wal_empty();
}

/*
 * A checkpoint and an index that check out, and tell of records that no log
 * has: VLSNs are of 48 bits.
 */
static void
test_beyond(void)
{
	uint8_t file[2 * INDEX_PAGE];
	struct index_head head = { .id = { .generation = 1 }, .life = 5 };
	struct vmap_pair pair = { 1, lsn_make(1, 8192) };
	int dir, fd;

	h.worker.force = true;
	h_checkpoint(&h, VLSN_MASK + 1);
	(void)recover_normal();
	ok(w.log.end.vlsn <= VLSN_MASK, "a checkpoint's VLSN of 49 bits");
	dir_remove(h.data_dir, "store");
	memcpy(head.id.group_uuid, "0123456789abcdef", 16);
	index_head_encode(file, &head);
	index_page_encode(
	    file + INDEX_PAGE, head.life, 1, VLSN_MASK + 1, &pair, 1);
	mkdirat(h.data_dir, INDEX_DIR, 0700);
	dir = openat(h.data_dir, INDEX_DIR, O_RDONLY | O_DIRECTORY);
	fd = openat(dir, INDEX_NAME, O_WRONLY | O_CREAT, 0600);
	if (write(fd, file, sizeof(file)) != sizeof(file))
		abort();
	close(fd);
	close(dir);
	(void)recover_normal();
	ok(w.log.end.vlsn <= VLSN_MASK, "the index's");
	h.worker.force = false;
	dir_remove(h.data_dir, INDEX_DIR);
	wal_empty();
}

int
main(void)
{
	seed = (unsigned)time(NULL);
	if (getenv("SEED") != NULL)
		seed = (unsigned)atoi(getenv("SEED"));
	diag("SEED=%u", seed);
	h_new(&h, "/dev/shm");
	say_open("/dev/null");
	h.readonly = true;
	h.conf.wal.buffer_size = 1 << 20;
	h_region(&h);
	h.worker.data_dir = h.data_dir;
	if (loop_open(&w.loop, &h.region, &h.worker.bells, SLOT_WAL, 16, &w,
		&no_hooks) != 0)
		skip_all("no io_uring here");
	loop_on(&w.loop, WAL_KIND_SCAN, wal_scan_done);
	test_empty();
	test_chain();
	test_owner();
	test_failed_flush();
	test_numbers();
	test_kinds();
	test_member();
	test_member_beyond();
	test_terms();
	test_terms_scanned();
	test_terms_many();
	test_newer_format();
	test_formats();
	test_terms_anew();
	test_beyond();
	loop_close(&w.loop);
	h_region_end(&h);
	h_free(&h);
	return tap_done();
}
