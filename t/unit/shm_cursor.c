/*
 * Cursors over a log that a real wal writes: from files into the buffer and,
 * when lapped, back; seeking to each record; one that holds is never lapped;
 * damage and recycling under a reader are told apart.
 */
#include "t/lib/wal_harness.h"

static struct harness h;
static uint64_t number = 1;

/* Records with a VLSN from `vlsn` on, OPs checked by their number. */
static uint64_t
check(struct cursor *c, uint64_t limit, uint64_t *next_number, bool *good)
{
	static uint8_t want[REC_LEN_MAX];
	struct record rec;
	uint64_t n = 0;

	while (cursor_next(c, limit, &rec) == 0) {
		n++;
		if (rec.type != REC_OP)
			continue;
		h_fill(want, rec.payload_len, *next_number);
		if (memcmp(want, rec.payload, rec.payload_len) != 0 &&
		    cursor_valid(c))
			*good = false;
		++*next_number;
	}
	return n;
}

static uint64_t
durable(void)
{
	return position_get(&h.region.pos->durable);
}

static void
test_empty(void)
{
	struct cursor *c;
	struct record rec;

	is_i64(cursor_open(&c, &h.region, h.wal_dir, true), 0, "open");
	is_i64(cursor_seek(c, 2), -ENOENT, "nothing is behind the end");
	is_i64(cursor_seek(c, 1), 0, "an empty log has its end");
	is_i64(cursor_next(c, 5, &rec), -EAGAIN, "where nothing is yet");
	h_elect(&h, 1);
	ok(wait_until(h_committed(&h) == 1, H_WAIT_MS), "a term begins");
	is_i64(cursor_next(c, 1, &rec), 0, "then there is");
	ok(rec.type == REC_TERM && rec.vlsn == 1, "the term's record");
	is_i64(cursor_next(c, 1, &rec), -EAGAIN, "and no more");
	cursor_release(c);
	ok(atomic_load(&h.region.walbuf.h->store_hold) > 4096,
	    "what it released may be overwritten");
	cursor_close(c);
}

static void
test_seeks(void)
{
	struct cursor *c;
	struct record rec;
	uint64_t v, wrong = 0;

	ok(h_write(&h, 6000, 1000, &number), "6 MB");
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	for (v = 1; v <= durable(); v += 61) {
		if (cursor_seek(c, v) != 0 ||
		    cursor_next(c, durable(), &rec) != 0 || rec.vlsn != v) {
			diag("seek %ju", (uintmax_t)v);
			wrong++;
		}
	}
	is_u64(wrong, 0, "each record is found, old and new");
	is_i64(cursor_seek(c, durable() + 1), 0, "also the end");
	is_i64(cursor_next(c, UINT64_MAX, &rec), -EAGAIN, "of the log");
	cursor_close(c);
}

/* A sample that points into the middle of a record in the buffer. */
static void
test_false_sample(void)
{
	struct vmap *m = h.region.vmap;
	struct vmap_pair pair = { .vlsn = durable(),
		.lsn = atomic_load(&h.region.walbuf.h->newest_lsn) - 512 };
	struct cursor *c;
	struct record rec;

	vmap_old_set(m, &pair, 1, atomic_load(&m->cuts));
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	is_i64(cursor_seek(c, pair.vlsn), 0, "a false sample misleads nobody");
	is_i64(cursor_next(c, pair.vlsn, &rec), 0, "the record is there");
	is_u64(rec.vlsn, pair.vlsn, "and the one asked for");
	vmap_old_set(m, NULL, 0, atomic_load(&m->cuts));
	cursor_close(c);
}

/* The store's way: replay from files while writes go on. */
static void
test_holder(void)
{
	uint64_t n = 0, next = 1, sent = 0;
	struct cursor *c;
	bool good = true;
	uint8_t p[2000];

	h_kill(&h);
	is_i64(h_boot(&h), 0, "boots again");
	h_elect(&h, 2);
	is_i64(cursor_open(&c, &h.region, h.wal_dir, true), 0, "open");
	is_i64(cursor_seek(c, 1), 0, "at the log's begin");
	while (sent < 5000) {
		h_fill(p, sizeof(p), number);
		if (h_push(&h, REC_OP, 0, p, sizeof(p))) {
			number++;
			sent++;
		}
		h_ring(&h);
		h_answers(&h);
		n += check(c, durable(), &next, &good);
		cursor_release(c);
	}
	ok(wait_until((h_answers(&h), n += check(c, durable(), &next, &good),
			  cursor_release(c), h_ring(&h),
			  h_answered(&h) && n >= h.acked_vlsn),
	       H_WAIT_MS),
	    "it sees all of them");
	ok(good, "as they were written");
	is_u64(next, number, "none twice");
	is_u64(n, h.acked_vlsn, "none left out");
	cursor_close(c);
}

/* What goes on behind `from` cannot be read: what was dropped is not taken. */
static void
test_bound_unread(uint64_t from)
{
	uint64_t lsn = atomic_load(&h.region.walbuf.h->newest_lsn);
	char name[SEGMENT_NAME_MAX];
	struct cursor *c;
	struct record rec;
	int rc;

	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	segment_name(name, lsn_segment(lsn));
	renameat(h.wal_dir, name, h.wal_dir, "aside");
	mkdirat(h.wal_dir, name, 0700);
	rc = cursor_seek(c, from - 3);
	while (rc == 0)
		rc = cursor_next(c, durable(), &rec);
	is_i64(
	    rc, -EISDIR, "a successor that cannot be read is no missing one");
	ok(strstr(cursor_place(c), name) != NULL, "it is named: %s",
	    cursor_place(c));
	unlinkat(h.wal_dir, name, AT_REMOVEDIR);
	renameat(h.wal_dir, "aside", h.wal_dir, name);
	is_i64(cursor_seek(c, from - 3), 0, "then it can");
	while ((rc = cursor_next(c, durable(), &rec)) == 0)
		;
	is_i64(rc, -EAGAIN, "and is read");
	cursor_close(c);
}

/*
 * Records whose flush had failed are whole in the file, and none of the log:
 * where the next segment goes on without them, so does who reads.
 */
static void
test_dropped(void)
{
	uint64_t from = durable() - 2, n = 0;
	struct cursor *c;
	struct record rec;
	uint8_t type = 0;
	int rc;

	h_kill(&h);
	h.wal_failed = from;
	is_i64(h_boot(&h), 0, "boots without three records");
	is_u64(durable(), from - 1, "which are dropped");
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	is_i64(cursor_seek(c, from), 0, "at the end of what is left");
	is_i64(cursor_next(c, durable(), &rec), -EAGAIN, "there is no more");
	h_elect(&h, 3);
	ok(wait_until(h_committed(&h) >= from, H_WAIT_MS), "a term begins");
	is_i64(cursor_next(c, from, &rec), 0, "a record comes");
	is_u64(rec.type, REC_TERM, "the term's, not one that was dropped");
	is_i64(cursor_seek(c, from - 3), 0, "from before them");
	while ((rc = cursor_next(c, durable(), &rec)) == 0)
		if (rec.vlsn == from - 3 + n++ && rec.vlsn == from)
			type = rec.type;
	is_i64(rc, -EAGAIN, "to the end");
	is_u64(type, REC_TERM, "over the same record");
	test_bound_unread(from);
	number -= 3;
	cursor_close(c);
}

/* A slow reader is lapped and goes on in the files. */
static void
test_lapped(void)
{
	uint64_t next, n;
	struct cursor *c;
	struct record rec;
	bool good = true;

	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	next = number;
	is_i64(cursor_seek(c, durable() + 1), 0, "at the end");
	ok(h_write(&h, 1, 1000, &number), "one");
	is_i64(cursor_next(c, durable(), &rec), 0, "read in the buffer");
	ok(cursor_valid(c), "it is there");
	ok(h_write(&h, 4000, 1000, &number), "4 MB through a buffer of 1");
	ok(!cursor_valid(c), "it is not there any more");
	next++;
	n = check(c, durable(), &next, &good);
	is_u64(n, 4000, "the rest is read from the files");
	ok(good && next == number, "as it was");
	cursor_close(c);
}

static void
test_damage(void)
{
	struct cursor *c;
	struct record rec;
	uint64_t next = 1;
	bool good = true;
	uint8_t byte;
	int fd;

	fd = openat(h.wal_dir, "00000001.seg", O_RDWR);
	ok(pread(fd, &byte, 1, 1000000) == 1, "a byte");
	byte ^= 1;
	ok(pwrite(fd, &byte, 1, 1000000) == 1, "is changed");
	is_i64(cursor_open(&c, &h.region, h.wal_dir, false), 0, "open");
	is_i64(cursor_seek(c, 1), 0, "before it all is well");
	(void)check(c, durable(), &next, &good);
	ok(good && next > 500, "up to the place");
	is_i64(cursor_next(c, durable(), &rec), -EBADMSG, "there it is seen");
	ok(strstr(cursor_place(c), "wal/00000001.seg offset ") != NULL,
	    "and named: %s", cursor_place(c));
	/* The same place, but the segment is one that went. */
	position_set(&h.region.pos->first, 3000);
	is_i64(cursor_next(c, durable(), &rec), -ESTALE, "recycled: no damage");
	is_i64(cursor_seek(c, 5), -ENOENT, "and not there any more");
	byte ^= 1;
	ok(pwrite(fd, &byte, 1, 1000000) == 1, "(mended)");
	close(fd);
	cursor_close(c);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	say_open("/dev/null");
	h_new(&h, "/dev/shm");
	h.conf.wal.keep_size = UINT64_C(1) << 40;
	is_i64(h_boot(&h), 0, "boots");
	test_empty();
	test_seeks();
	test_false_sample();
	test_holder();
	test_dropped();
	test_lapped();
	test_damage();
	ok(h_stop(&h), "ends in order");
	h_free(&h);
	return tap_done();
}
