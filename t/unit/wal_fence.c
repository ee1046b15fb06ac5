/*
 * What group asks wal for: a fence, behind which the log ends where wal said;
 * and what stands at a VLSN, in the buffer or in files.
 */
#include "t/lib/data_rig.h"

#define MARKS 8000

static struct side s;
static struct mark mark[MARKS];
static uint64_t number;

static void
begin(void)
{
	h_new(&s.h, "/dev/shm");
	is_i64(side_boot(&s), 0, "boots");
	side_view(&s, ROLE_MASTER, 1, 0, 1, 1);
	number = 1;
}

static void
test_fence(void)
{
	uint64_t end;

	begin();
	ok(h_write(&s.h, 50, 100, &number), "a master writes");
	end = side_appended(&s);
	ok(side_fence(&s, side_raise(&s)), "a fence is answered");
	is_u64(s.fence.vlsn, end, "where the log ends");
	is_u64(s.fence.term, 1, "and its term");
	is_u64(s.fence.epoch, s.h.view.epoch, "for that epoch");
	is_u64(s.fence.member_vlsn, 0, "no membership is there");
	is_u64(side_chain(&s, end), CHAIN_OK, "the chain at the end");
	is_u64(s.chain.crc, s.fence.crc, "is the one");
	for (int i = 0; i < 20; i++)
		(void)h_push(&s.h, REC_OP, 0, "12345678", 8);
	h_ring(&s.h);
	ok(side_fence(&s, s.h.view.epoch), "the same again");
	is_u64(s.fence.vlsn, end, "nothing was appended meanwhile");
	ok(!h_answered(&s.h), "nor is anybody told anything");
	commit_view_write(s.h.region.commit, &s.h.view);
	h_ring(&s.h);
	ok(wait_until(h_answered(&s.h), H_WAIT_MS),
	    "the next view lets it go on");
	is_u64(side_appended(&s), end + 20, "still the master");
	(void)side_raise(&s);
	ok(side_fence(&s, s.h.view.epoch), "another fence");
	(void)h_push(&s.h, REC_OP, 0, "12345678", 8);
	h_ring(&s.h);
	side_view(&s, ROLE_REPLICA, 2, 0, 1, 1);
	ok(wait_until(h_answered(&s.h), H_WAIT_MS), "a replica answers");
	is_u64(s.h.refused[RET_READONLY], 1, "that it is none any more");
	is_u64(side_appended(&s), s.fence.vlsn, "the end was final");
	side_view(&s, ROLE_MASTER, 3, 0, 1, 1);
	ok(wait_until(side_appended(&s) == s.fence.vlsn + 1, H_WAIT_MS),
	    "a term begins behind it");
	ok(h_write(&s.h, 5, 100, &number), "and takes writes");
	ok(side_stop(&s), "ends in order");
	h_free(&s.h);
}

/* A payload in parts is under way: a fence does not wait for its end. */
static void
test_parts(void)
{
	static uint8_t p[1000];

	begin();
	(void)h_push(&s.h, REC_OP, REQ_MORE, p, sizeof(p));
	h_ring(&s.h);
	ok(wait_until(side_appended(&s) == 2, H_WAIT_MS), "a part is there");
	ok(side_fence(&s, side_raise(&s)), "a fence is answered");
	is_u64(s.fence.vlsn, 2, "behind it");
	(void)h_push(&s.h, REC_OP, 0, p, sizeof(p));
	h_ring(&s.h);
	side_view(&s, ROLE_MASTER, 2, 0, 1, 1);
	ok(wait_until(h_answered(&s.h), H_WAIT_MS), "the rest");
	is_u64(s.h.refused[RET_READONLY], 1, "is refused in the next term");
	ok(side_stop(&s), "ends in order");
	h_free(&s.h);
}

static void
check_chain(uint64_t end, const char *what)
{
	uint64_t v, wrong = 0, lives = 0;

	for (v = 1; v <= end; v += 1 + end / 97) {
		if (side_chain(&s, v) != CHAIN_OK || s.chain.vlsn != v ||
		    s.chain.crc != mark[v].crc || s.chain.term != mark[v].term)
			wrong++;
		lives += v >= s.chain.live_from;
	}
	ok(wrong == 0, "%s: what stands where", what);
	is_u64(s.chain.first, 1, "from the first record on");
	ok(s.chain.live_from <= end, "some can be fed: %ju of 97",
	    (uintmax_t)lives);
	is_u64(side_chain(&s, end + 1), CHAIN_BEYOND, "not what is not there");
	is_u64(side_chain(&s, 0), CHAIN_OK, "nothing stands before the first");
	ok(s.chain.crc == 0 && s.chain.term == 0, "as everywhere");
}

static void
test_chain(void)
{
	uint64_t end, live;

	begin();
	ok(h_write(&s.h, 200, 1000, &number), "some");
	end = side_appended(&s);
	is_u64(side_chain(&s, end), CHAIN_OK, "chain");
	is_u64(s.chain.live_from, 0, "all of it can be fed");
	side_view(&s, ROLE_MASTER, 2, 0, 1, 1);
	ok(h_write(&s.h, 5000, 1000, &number), "more than the buffer holds");
	end = side_appended(&s);
	is_u64(marks_read(&s.h, mark, MARKS), end, "the files have it");
	check_chain(end, "files and buffer");
	live = s.chain.live_from;
	ok(live > end - 1000 && live < end - 500, "the newest can be fed");
	ok(side_stop(&s), "ends in order");
	is_i64(side_boot(&s), 0, "boots");
	check_chain(end, "files");
	is_u64(s.chain.live_from, end, "the buffer is empty");
	ok(side_stop(&s), "ends in order");
	h_free(&s.h);
}

int
main(void)
{
	test_fence();
	test_parts();
	test_chain();
	return tap_done();
}
