/*
 * What of a segment still counts: cursors over logs made by hand where newer
 * headers supersede the ends of older segments, and hints that point there.
 */
#include "shm/log/cursor.h"
#include "t/lib/segment_build.h"
#include "t/lib/wal_harness.h"

static struct harness h;
static uint64_t newest;

/* The log as a life that only reads it has it: it ends in b. */
static void
log_is(const struct segment_build *b)
{
	struct region *r = &h.region;

	newest = b->vlsn;
	position_set(&r->pos->first, 1);
	position_set(&r->pos->appended, newest);
	position_set(&r->pos->durable, newest);
	atomic_store(&r->walbuf.h->newest_lsn, lsn_make(b->info.number, b->at));
	vmap_old_set(r->vmap, NULL, 0, atomic_load(&r->vmap->cuts));
}

/* A hint to the record that is at the i-th place of b. */
static void
hint(const struct segment_build *b, unsigned i)
{
	struct vmap_pair pair = { .vlsn = b->record[i].vlsn,
		.lsn = lsn_make(b->info.number, b->record[i].offset) };
	struct vmap *m = h.region.vmap;

	ok(b->record[i - 1].type == REC_BATCH, "a hint to record %ju in %u",
	    (uintmax_t)pair.vlsn, b->info.number);
	vmap_old_set(m, &pair, 1, atomic_load(&m->cuts));
}

/*
 * From `vlsn` to the end: every record, those from `from` on with payloads of
 * `len` bytes; so it is seen whose they are.
 */
static void
reads(uint64_t vlsn, uint64_t from, uint32_t len)
{
	struct cursor *c;
	struct record rec;
	uint64_t n = vlsn;
	int rc;

	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	ok(cursor_seek(c, vlsn) == 0, "seek %ju", (uintmax_t)vlsn);
	while ((rc = cursor_next(c, newest, &rec)) == 0) {
		if (rec.vlsn != n || (rec.payload_len == len) != (n >= from))
			break;
		n++;
	}
	is_i64(rc, -EAGAIN, "to the end");
	is_u64(n, newest + 1, "each record is the log's");
	cursor_close(c);
}

static void
wal_empty(struct segment_build *b, unsigned n)
{
	dir_remove(h.data_dir, "wal");
	mkdirat(h.data_dir, "wal", 0750);
	close(h.wal_dir);
	h.wal_dir =
	    openat(h.data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (n-- > 0)
		build_free(&b[n]);
}

/* Flushes of one record each, n of them. */
static void
flushes(struct segment_build *b, unsigned n, uint32_t len)
{
	while (n-- > 0)
		build_flush(b, 1, len);
	build_write(b, h.wal_dir);
}

/* The tail of 1 was cut: 2 goes on behind its fourth record. */
static void
test_cut_tail(void)
{
	struct segment_build b[2], cut;

	build_begin(&b[0], 1, 65536, NULL);
	flushes(&b[0], 4, 40);
	cut = b[0];
	flushes(&b[0], 4, 40);
	build_begin(&b[1], 2, 65536, &cut);
	flushes(&b[1], 6, 50);
	log_is(&b[1]);
	reads(1, 5, 50);
	reads(5, 5, 50);
	hint(&b[0], 9); /* record 5, which 2 has, too */
	reads(5, 5, 50);
	reads(7, 5, 50);
	hint(&b[0], 15); /* record 8 */
	reads(9, 5, 50);
	hint(&b[0], 7);
	reads(4, 5, 50);
	wal_empty(b, 2);
}

/* 2 and 3 go on in the same place: 3 supersedes all of 2. */
static void
test_cut_segment(void)
{
	struct segment_build b[3];

	build_begin(&b[0], 1, 65536, NULL);
	flushes(&b[0], 4, 40);
	build_begin(&b[1], 2, 65536, &b[0]);
	flushes(&b[1], 6, 40);
	build_begin(&b[2], 3, 65536, &b[0]);
	flushes(&b[2], 4, 50);
	log_is(&b[2]);
	reads(1, 5, 50);
	hint(&b[1], 1);
	reads(5, 5, 50);
	reads(7, 5, 50);
	hint(&b[1], 7); /* record 8, the log's last */
	reads(8, 5, 50);
	wal_empty(b, 3);
}

/* 4 goes on in the middle of 1, over the ends of 1, 2 and 3. */
static void
test_cut_far(void)
{
	struct segment_build b[4], cut;

	build_begin(&b[0], 1, 65536, NULL);
	flushes(&b[0], 3, 40);
	cut = b[0];
	flushes(&b[0], 3, 40);
	build_begin(&b[1], 2, 65536, &b[0]);
	flushes(&b[1], 3, 40);
	build_begin(&b[2], 3, 65536, &b[1]);
	flushes(&b[2], 3, 40);
	build_begin(&b[3], 4, 65536, &cut);
	flushes(&b[3], 12, 50);
	log_is(&b[3]);
	reads(1, 4, 50);
	hint(&b[0], 9);
	reads(5, 4, 50);
	hint(&b[1], 3);
	reads(9, 4, 50);
	hint(&b[2], 1);
	reads(10, 4, 50);
	reads(13, 4, 50);
	wal_empty(b, 4);
}

/* The same while a cursor is in 3, behind where 4 will go on: at each step. */
static void
test_cut_under(void)
{
	struct segment_build b[4], cut;
	struct cursor *c;
	struct record rec;
	uint64_t n;
	int rc;

	build_begin(&b[0], 1, 65536, NULL);
	flushes(&b[0], 3, 40);
	cut = b[0];
	flushes(&b[0], 3, 40);
	build_begin(&b[1], 2, 65536, &b[0]);
	flushes(&b[1], 3, 40);
	build_begin(&b[2], 3, 65536, &b[1]);
	flushes(&b[2], 5, 40);
	log_is(&b[2]);
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	is_i64(cursor_seek(c, 11), 0, "seek 11");
	is_i64(cursor_next(c, newest, &rec), 0, "it is in 3");
	build_begin(&b[3], 4, 65536, &cut);
	flushes(&b[3], 14, 50);
	log_is(&b[3]);
	for (n = 12; (rc = cursor_next(c, newest, &rec)) == 0; n++)
		if (rec.vlsn != n || rec.payload_len != 50)
			break;
	is_i64(rc, -EAGAIN, "4 has taken its place");
	is_u64(n, newest + 1, "to the end");
	cursor_close(c);
	wal_empty(b, 4);
}

/*
 * A header that cannot be read stops who needs it, and nobody else: a cursor
 * that has asked up to 2 goes on in 5, and the log has no 3 any more.
 */
static void
test_old_unreadable(void)
{
	struct segment_build b[6];
	struct cursor *c;
	struct record rec;
	unsigned i;

	for (i = 0; i < NITEMS(b); i++) {
		build_begin(&b[i], i + 1, 65536, i > 0 ? &b[i - 1] : NULL);
		flushes(&b[i], 4, 40);
	}
	log_is(&b[1]);
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	is_i64(cursor_seek(c, 1), 0, "seek");
	is_i64(cursor_next(c, newest, &rec), 0, "it is in 1, the newest is 2");
	log_is(&b[5]);
	position_set(&h.region.pos->first, 13);
	unlinkat(h.wal_dir, "00000001.seg", 0);
	unlinkat(h.wal_dir, "00000002.seg", 0);
	unlinkat(h.wal_dir, "00000003.seg", 0);
	mkdirat(h.wal_dir, "00000003.seg", 0700);
	hint(&b[4], 1);
	ok(cursor_seek(c, 17) == 0, "a seek to 5, 3 unreadable: %s",
	    cursor_place(c));
	is_i64(cursor_next(c, newest, &rec), 0, "it reads there");
	ok(cursor_seek(c, 13) == 0 && cursor_next(c, newest, &rec) == 0 &&
		rec.vlsn == 13,
	    "back to 4: %s", cursor_place(c));
	for (i = 14; cursor_next(c, newest, &rec) == 0 && rec.vlsn == i; i++)
		;
	is_u64(i, newest + 1, "and on to the end");
	unlinkat(h.wal_dir, "00000005.seg", 0);
	mkdirat(h.wal_dir, "00000005.seg", 0700);
	ok(cursor_unread(cursor_seek(c, 13)), "5 may tell of 4: %s",
	    cursor_place(c));
	cursor_close(c);
	unlinkat(h.wal_dir, "00000003.seg", AT_REMOVEDIR);
	unlinkat(h.wal_dir, "00000005.seg", AT_REMOVEDIR);
	wal_empty(b, NITEMS(b));
}

/* Headers that lie: the cursor says so, and comes to an end. */
static void
test_lies(void)
{
	struct segment_build b[3];
	struct cursor *c;
	struct record rec;
	int rc;

	build_begin(&b[0], 1, 65536, NULL);
	flushes(&b[0], 6, 40);
	build_begin(&b[1], 2, 65536, &b[0]);
	b[1].info.first_vlsn = 4;
	segment_encode(b[1].bytes, &b[1].info);
	flushes(&b[1], 2, 40);
	log_is(&b[1]);
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	is_i64(cursor_seek(c, 1), 0, "seek");
	while ((rc = cursor_next(c, newest, &rec)) == 0)
		;
	is_i64(rc, -EBADMSG, "a first VLSN within the one before");
	cursor_close(c);
	wal_empty(b, 2);
}

/* The chain goes over the border of the formats. */
static void
test_formats(void)
{
	struct segment_build b[3];

	build_format = SEGMENT_FORMAT_1;
	build_begin(&b[0], 1, 65536, NULL);
	flushes(&b[0], 4, 40);
	build_pad(&b[0]);
	build_write(&b[0], h.wal_dir);
	build_format = SEGMENT_FORMAT;
	build_begin(&b[1], 2, 65536, &b[0]);
	flushes(&b[1], 4, 50);
	build_pad(&b[1]);
	build_write(&b[1], h.wal_dir);
	build_begin(&b[2], 3, 65536, &b[1]);
	flushes(&b[2], 4, 50);
	log_is(&b[2]);
	reads(1, 5, 50);
	hint(&b[0], 5);
	reads(3, 5, 50);
	hint(&b[1], 5);
	reads(7, 5, 50);
	wal_empty(b, 3);
}

int
main(void)
{
	say_open("/dev/null");
	h_new(&h, "/dev/shm");
	h_region(&h);
	test_cut_tail();
	test_cut_segment();
	test_cut_far();
	test_cut_under();
	test_old_unreadable();
	test_lies();
	test_formats();
	h_region_end(&h);
	h_free(&h);
	return tap_done();
}
