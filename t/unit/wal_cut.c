/*
 * A cut of the log while the node runs: what two voters of whom one is away
 * never committed goes, and others get its VLSNs. What is told and saved;
 * readers and an index file beside it; a process killed between any two steps;
 * a buffer that is full of what is to go.
 */
#include "t/lib/cut_rig.h"

/* What is left is the log: readers, files, and the boot after it. */
static void
check_after(uint64_t keep, const char *what)
{
	uint64_t last = 0, wrote;

	number_take();
	lead(7, true);
	ok(wait_until(h_committed(&h) == keep + 1, H_WAIT_MS),
	    "%s: a new term begins behind record %ju", what, (uintmax_t)keep);
	ok(h_write(&h, 40, 333, &number), "%s: other records follow", what);
	wrote = number - 1;
	is_u64(appended(), keep + 41, "with the VLSNs of those that went");
	ok(h_stop(&h), "ends in order");
	is_u64(h_read_back(&h, &last), wrote, "the files hold these");
	is_u64(last, keep + 41, "up to the last");
	is_u64(verdict(), LOG_GOOD, "good, says whoever looks");
	is_i64(boot(), 0, "boots");
	is_u64(pos(&h.region.pos->durable), keep + 41, "all is there");
	ok(h_stop(&h), "ends in order");
}

static void
test_cut(uint32_t more, uint32_t size, uint64_t keep, const char *what)
{
	struct vmap_pair pair;
	struct segment_info info;
	uint64_t end, term;
	unsigned copies;
	int rc;

	diag("%s", what);
	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(more, size, true);
	end = appended();
	crcs_take();
	index_write();
	is_u64(cut(keep), RET_OK, "cut");
	is_u64(appended(), keep, "appended is lowered");
	is_u64(pos(&h.region.pos->durable), keep, "and durable");
	is_u64(word_vlsn(atomic_load(&h.region.commit->member[0].durable)),
	    keep, "and what is told of it");
	rc = vmap_lookup(h.region.vmap, UINT64_MAX, &pair);
	ok(rc != 0 || pair.vlsn <= keep, "no sample leads behind it");
	rc = terms_last_of(h.region.terms, 2, &term);
	ok(keep > COMMITTED ? rc == 0 : rc != 0, "nor does a run of terms");
	info = newest();
	is_u64(info.first_vlsn, keep + 1, "a segment begins there");
	is_u64(info.cut, end, "and says up to where it cut");
	is_u64(saved(keep + 1, end, &copies), end - keep,
	    "what went is in salvage/, byte for byte");
	is_u64(copies, 1, "once");
	ok(settled(), "files that hold nothing else are gone");
	check_after(keep, what);
	h_free(&h);
}

/* Readers beside it: of what is committed, and of more. */
static void
test_readers(void)
{
	struct cursor *store, *other;
	struct record rec;
	unsigned i;
	int rc;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(50, 100, false);
	cursor_open(&store, &h.region, h.wal_dir, true);
	cursor_open(&other, &h.region, h.wal_dir, false);
	is_i64(cursor_seek(store, 1), 0, "the store reads");
	for (i = 1; i <= COMMITTED; i++)
		if (cursor_next(store, COMMITTED, &rec) != 0)
			break;
	is_u64(i, COMMITTED + 1, "all that is committed");
	is_i64(cursor_next(store, COMMITTED, &rec), -EAGAIN, "not more");
	is_i64(cursor_seek(other, 1), 0, "another one reads");
	for (i = 1; i <= COMMITTED + 30; i++)
		if (cursor_next(other, UINT64_MAX, &rec) != 0)
			break;
	is_u64(i, COMMITTED + 31, "what is not committed, too");
	is_u64(cut(COMMITTED + 10), RET_OK, "cut");
	is_i64(cursor_seek(other, COMMITTED + 20), -ENOENT,
	    "what went cannot be found");
	is_i64(cursor_seek(other, COMMITTED), 0, "what stays can");
	for (i = 0; (rc = cursor_next(other, UINT64_MAX, &rec)) == 0; i++)
		;
	is_u64(i, 11, "up to the new end");
	is_i64(rc, -EAGAIN, "where it waits");
	number_take();
	lead(3, true);
	ok(h_write(&h, 40, 500, &number), "other records follow");
	is_i64(cursor_next(other, UINT64_MAX, &rec), 0, "and are read");
	is_u64(rec.type, REC_TERM, "the term's first");
	for (i = 1; i <= 51; i++)
		if (cursor_next(store, h_committed(&h), &rec) != 0)
			break;
	is_u64(i, 52, "the store reads on, through the cut");
	is_u64(rec.payload_len, 500, "what is there now");
	is_u64(rec.vlsn, COMMITTED + 51, "to the end");
	cursor_close(store);
	cursor_close(other);
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/* One that read what goes is told so, wherever it stands. */
static void
test_lost_reader(bool in_file)
{
	struct cursor *c;
	struct record rec;
	unsigned i;
	int rc = 0;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(50, 100, false);
	if (in_file) {
		ok(h_stop(&h), "stops");
		is_i64(boot(), 0, "boots: the log is in files");
		h_role(&h, ROLE_REPLICA);
	}
	cursor_open(&c, &h.region, h.wal_dir, false);
	is_i64(cursor_seek(c, 90), 0, "a reader");
	for (i = 0; i < 40; i++)
		rc |= cursor_next(c, UINT64_MAX, &rec);
	is_i64(rc, 0, "has read what is to go");
	is_u64(cut(COMMITTED + 5), RET_OK, "cut");
	number_take();
	lead(3, true);
	ok(h_write(&h, 60, 100, &number), "other records follow");
	is_i64(cursor_next(c, UINT64_MAX, &rec), -ESTALE,
	    "it is told, and does not go on behind others");
	is_i64(cursor_seek(c, COMMITTED + 6), 0, "it begins anew");
	is_i64(cursor_next(c, UINT64_MAX, &rec), 0, "and reads on");
	is_u64(rec.type, REC_TERM, "what is there now");
	cursor_close(c);
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/* Twice, the second time before the first one's place; and a whole log. */
static void
test_twice(bool older_index)
{
	uint64_t end;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(300, 5000, true);
	index_write();
	is_u64(cut(COMMITTED + 200), RET_OK, "cut");
	number_take();
	lead(3, false);
	ok(write_uncommitted(20, 5000), "others, not committed");
	end = appended();
	h_role(&h, ROLE_REPLICA);
	if (!older_index)
		index_write();
	is_u64(cut(COMMITTED + 50), RET_OK, "cut, before the first cut");
	ok(newest().cut >= end, "which says so");
	is_u64(verdict(), LOG_GOOD, "whatever the index tells");
	check_after(COMMITTED + 50, "twice");
	h_free(&h);
}

static void
test_empty(void)
{
	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	lead(1, false);
	number = 1;
	ok(write_uncommitted(30, 100), "a log without a committed record");
	h_role(&h, ROLE_REPLICA);
	is_u64(cut(0), RET_OK, "all of it is cut");
	is_u64(appended(), 0, "nothing is left");
	check_after(0, "empty");
	h_free(&h);
}

/* Fill the buffer with records that nobody commits. */
static void
fill_buffer(void)
{
	static uint8_t p[4000];

	lead(1, false);
	while (wait_until(h_push(&h, REC_OP, 0, p, sizeof(p)), 50))
		h_ring(&h);
	ok(wait_until(atomic_load(&h.region.slots->row[SLOT_WAL].busy_with) ==
			      BUSY_BUFFER &&
			  pos(&h.region.pos->durable) == appended(),
	       H_WAIT_MS),
	    "the buffer is full");
}

static uint64_t
term_start(void)
{
	uint64_t word = pos(&h.region.pos->term_start);

	return word_epoch(word) == h.view.epoch ? word_vlsn(word) : 0;
}

/*
 * It is not cut, and this node is elected again, and again: each term has its
 * first record, which commits all the others when a quorum is there.
 */
static void
test_full_again(void)
{
	uint64_t term, begun = 0;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(1, 100, false);
	fill_buffer();
	for (term = 2; term < 32; term++) {
		h_role(&h, ROLE_REPLICA);
		lead(term, false);
		begun += wait_until(term_start() != 0, H_WAIT_MS);
	}
	is_u64(begun, 30, "a full buffer has room for terms");
	lead(32, true);
	ok(wait_until(h_committed(&h) == appended(), H_WAIT_MS),
	    "all is committed when a quorum is there");
	h_kill(&h);
	h_free(&h);
}

/* What is to go fills the buffer: nobody would make room for it. */
static void
test_full_buffer(void)
{
	uint64_t end;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(1, 100, false);
	fill_buffer();
	end = appended();
	h_role(&h, ROLE_REPLICA);
	is_u64(cut(COMMITTED), RET_OK, "cut");
	ok(end > COMMITTED + 200 && appended() == COMMITTED, "all of it");
	(void)wait_until(h_answered(&h), H_WAIT_MS);
	check_after(COMMITTED, "full");
	h_free(&h);
}

/* Killed at the nth stage or call. False: it was through before. */
static bool
round_kill(enum wal_op op, int n, unsigned *cut_ones, unsigned *wrong)
{
	uint64_t keep, end = begin(&keep), last = 0, read, want;
	unsigned status, copies;
	bool fired;

	plan_set((int)op, n, true, 0);
	status = cut(keep);
	/* Files that are superseded go meanwhile. */
	fired = atomic_load(&plan->fired) != 0;
	(void)wait_until(!fired || h_ended(&h), H_WAIT_MS);
	plan_set(-1, 0, false, 0);
	h_kill(&h);
	if (verdict() != LOG_GOOD)
		++*wrong;
	if (boot() != 0) {
		diag("step %d of %d: %s", n, op, h.region.seq->error);
		++*wrong;
		h_kill(&h);
		h_free(&h);
		return fired;
	}
	want = appended();
	if (want != keep && want != end)
		++*wrong;
	*cut_ones += want == keep;
	/* Whoever was told that it is cut finds it so. */
	if (status == RET_OK && want != keep)
		++*wrong;
	if (want == keep && saved(keep + 1, end, &copies) != end - keep)
		++*wrong;
	h_role(&h, ROLE_REPLICA);
	if (want != keep && cut(keep) != RET_OK)
		++*wrong;
	number_take();
	lead(7, true);
	if (!h_write(&h, 10, 100, &number) || !h_stop(&h))
		++*wrong;
	read = h_read_back(&h, &last);
	if (read != number - 1 || last != keep + 11 || verdict() != LOG_GOOD)
		++*wrong;
	if (*wrong != 0)
		diag("step %d of %d: status %u, end %ju, read %ju", n, op,
		    status, (uintmax_t)want, (uintmax_t)read);
	h_free(&h);
	return fired;
}

static void
test_kills(enum wal_op op, const char *what)
{
	unsigned cut_ones = 0, wrong = 0;
	int n;

	for (n = 1; n < 60 && wrong == 0; n++)
		if (!round_kill(op, n, &cut_ones, &wrong))
			break;
	is_u64(wrong, 0, "killed at any step, it boots, uncut or cut");
	ok(n > 5 && n < 60 && cut_ones > 0, "%s: at %d steps, %u were cut",
	    what, n - 1, cut_ones);
}

/* The new segment's header cannot be written: the log is closed. */
static void
test_header(void)
{
	uint64_t keep, end = begin(&keep);
	struct control *c = h.region.control;

	plan_set(WAL_OP_WRITE, 1, false, -EIO);
	is_u64(cut(keep), RET_LOG_FAILED, "a header that fails closes the log");
	plan_set(-1, 0, false, 0);
	is_u64(
	    atomic_load(&c->wal_failed), keep + 1, "nothing behind it counts");
	ok(end > keep && appended() == keep, "it is cut for readers");
	h.wal_failed = atomic_load(&c->wal_failed);
	h_kill(&h);
	is_i64(boot(), 0, "boots, though the index knows more");
	is_u64(appended(), keep, "cut");
	ok(newest().cut >= end - 1, "which the next header tells");
	h_role(&h, ROLE_REPLICA);
	check_after(keep, "failed");
	h_free(&h);
}

/* Log time never falls, though a CLOCK record goes; members fall back. */
static void
test_member(void)
{
	static const uint8_t payload[40];
	uint64_t first;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	lead(1, true);
	number = 1;
	ok(h_write(&h, 5, 100, &number), "some");
	for (int i = 0; i < 2; i++) {
		struct wal_req req = { .len = sizeof(req) + sizeof(payload),
			.seq = ++group_seq,
			.incarnation = 1,
			.type = REC_MEMBER };
		uint8_t *at = bytering_reserve(&group_request, req.len);
		unsigned status = 999;

		memcpy(at, &req, sizeof(req));
		memcpy(at + sizeof(req), payload, sizeof(payload));
		bytering_publish(&group_request);
		h_ring(&h);
		(void)wait_until(answered(&status), H_WAIT_MS);
		is_u64(status, RET_OK, "a membership");
		(void)wait_until(
		    pos(&h.region.pos->durable) == appended(), H_WAIT_MS);
		if (i == 0) {
			first = pos(&h.region.pos->member);
			(void)wait_until(h_committed(&h) == first, H_WAIT_MS);
			lead(1, false);
		}
	}
	is_u64(pos(&h.region.pos->member), first + 1, "the newest one counts");
	h_role(&h, ROLE_REPLICA);
	is_u64(cut(first), RET_OK, "it is cut");
	is_u64(pos(&h.region.pos->member), first, "the one before it counts");
	is_u64(newest().member, first, "and the header says so");
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/*
 * Cut again and again while nothing is committed, more often than cuts are
 * remembered: the store, which has read none of that, reads on.
 */
static void
test_often(bool in_file)
{
	struct cursor *store;
	struct record rec;
	unsigned i;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(5, 100, false);
	if (in_file) {
		ok(h_stop(&h), "stops");
		is_i64(boot(), 0, "boots: the log is in files");
		h_role(&h, ROLE_REPLICA);
	}
	cursor_open(&store, &h.region, h.wal_dir, true);
	is_i64(cursor_seek(store, 1), 0, "the store reads");
	for (i = 1; i <= COMMITTED; i++)
		if (cursor_next(store, COMMITTED, &rec) != 0)
			break;
	is_u64(i, COMMITTED + 1, "all that is committed");
	for (i = 0; i <= WALBUF_CUTS && cut(COMMITTED) == RET_OK; i++) {
		number_take();
		lead(3 + i, false);
		(void)write_uncommitted(3, 100);
		h_role(&h, ROLE_REPLICA);
	}
	is_u64(i, WALBUF_CUTS + 1, "cut, more often than is remembered");
	lead(9, true);
	ok(h_write(&h, 10, 100, &number), "others are committed");
	is_i64(cursor_next(store, h_committed(&h), &rec), 0, "it reads on");
	is_u64(rec.vlsn, COMMITTED + 1, "behind what it has");
	cursor_close(store);
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/* Push what the ring takes, up to n bytes, until it is held back. */
static void
push_until_held(uint64_t n)
{
	static uint8_t p[4000];

	for (; n > sizeof(p); n -= sizeof(p)) {
		if (!wait_until(
			(h_ring(&h), h_push(&h, REC_OP, 0, p, sizeof(p))), 200))
			return;
		h_answers(&h);
	}
}

/*
 * A cut of a full buffer, then one while the store still reads what was
 * committed between the two: that is not overwritten.
 */
static void
test_held_twice(void)
{
	struct walbuf *wb = &h.region.walbuf;
	uint64_t base, size, committed;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	size = wb->size;
	log_make(1, 100, false);
	lead(1, false);
	push_until_held(4 * size);
	h_role(&h, ROLE_REPLICA);
	is_u64(cut(COMMITTED), RET_OK, "a full buffer is cut");
	(void)wait_until(h_answered(&h), H_WAIT_MS);
	base = walbuf_position(wb, lsn_make(newest().number, 0));
	/* But for what is left to wal's own records. */
	ok(base + (128u << 10) >= size, "a lap on");
	lead(3, true);
	number = 1;
	ok(write_uncommitted(10, 4000), "some more");
	committed = appended();
	ok(wait_until(h_committed(&h) == committed, H_WAIT_MS), "committed");
	is_u64(pos(&h.region.pos->applied), COMMITTED, "and not yet applied");
	lead(4, false);
	ok(write_uncommitted(50, 4000), "and others, which are not");
	h_role(&h, ROLE_REPLICA);
	is_u64(cut(committed), RET_OK, "cut");
	lead(5, false);
	push_until_held(4 * size);
	ok(atomic_load(&wb->h->appended) - base <= size,
	    "what the store has to read is not overwritten");
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/*
 * All before what is not committed is in a checkpoint. Cut it, by a header
 * that fails: the next boot still finds a log to go on from.
 */
static void
test_oldest(void)
{
	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(50, 100, false);
	is_u64(cut(COMMITTED), RET_OK, "cut where the commits end");
	number_take();
	lead(3, false);
	ok(write_uncommitted(20, 100), "others, not committed");
	h_role(&h, ROLE_REPLICA);
	position_set(&h.region.pos->checkpointed, COMMITTED);
	ok(wait_until(
	       (h_ring(&h), log_hint_read(h.wal_dir) == COMMITTED), H_WAIT_MS),
	    "what is committed is in a checkpoint");
	plan_set(WAL_OP_WRITE, 1, false, -EIO);
	is_u64(cut(COMMITTED), RET_LOG_FAILED, "cut again: the header fails");
	plan_set(-1, 0, false, 0);
	h.wal_failed = atomic_load(&h.region.control->wal_failed);
	h_kill(&h);
	is_i64(boot(), 0, "boots");
	is_u64(appended(), COMMITTED, "cut");
	ok(h_stop(&h), "ends in order");
	h_free(&h);
}

/*
 * The segment that says what was cut is recycled, and the index could not be
 * written all the while: it is still only older than the cut.
 */
static void
test_old_index(void)
{
	uint64_t end;

	h_new(&h, "/dev/shm");
	is_i64(boot(), 0, "boots");
	log_make(600, 12000, true);
	end = appended();
	index_write();
	is_u64(cut(COMMITTED + 10), RET_OK, "cut");
	number_take();
	lead(7, true);
	ok(h_write(&h, 150, 60000, &number), "others fill two segments");
	ok(appended() < end, "and are fewer than those that went");
	h_checkpoint(&h, appended());
	position_set(&h.region.pos->checkpointed, appended());
	ok(wait_until((h_ring(&h), pos(&h.region.pos->first)) > COMMITTED + 11,
	       H_WAIT_MS),
	    "the segment behind the cut goes");
	ok(h_stop(&h), "ends in order");
	is_u64(verdict(), LOG_GOOD, "good, says whoever looks");
	is_i64(boot(), 0, "boots");
	h_kill(&h);
	h_free(&h);
}

int
main(int argc, char **argv)
{
	cut_rig_open(argc, argv);
	test_cut(50, 100, COMMITTED + 10, "inside of a flush");
	test_cut(50, 100, COMMITTED, "where the commits end");
	big = true;
	test_cut(600, 12000, COMMITTED + 300, "over segments");
	test_twice(false);
	test_twice(true);
	test_empty();
	test_header();
	test_kills(WAL_OP_CUT_STAGE, "between stages");
	test_kills(WAL_OP_CUT, "at calls");
	test_old_index();
	big = false;
	test_often(false);
	test_often(true);
	test_held_twice();
	test_oldest();
	test_readers();
	test_lost_reader(false);
	test_lost_reader(true);
	test_full_buffer();
	test_full_again();
	test_member();
	return tap_done();
}
