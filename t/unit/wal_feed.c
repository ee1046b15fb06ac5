/*
 * Two logs and a data connection between them: the replica's is the master's,
 * record by record; what is acknowledged commits, and only that.
 */
#include "t/lib/data_rig.h"

#define MARKS   200000
#define WAIT_MS 15000

static struct side m, r;
static struct mark mark[2][MARKS];
static uint64_t number;

static void
boot_both(uint64_t buffer)
{
	h_new(&m.h, "/dev/shm");
	h_new(&r.h, "/dev/shm");
	m.h.conf.wal.buffer_size = r.h.conf.wal.buffer_size = buffer;
	is_i64(side_boot(&m), 0, "the master boots");
	is_i64(side_boot(&r), 0, "a replica boots");
	number = 1;
}

/* Master and replica of a term, of two who commit together. */
static void
views(uint64_t term, unsigned least)
{
	side_view(&r, ROLE_REPLICA, term, 1, 2, least);
	side_view(&m, ROLE_MASTER, term, 0, 2, least);
}

/* Both stores go on. */
static void
apply(void)
{
	h_apply(&m.h);
	h_apply(&r.h);
}

/* Push requests, and let all go on. */
static bool
writes(uint32_t count, uint32_t n)
{
	uint64_t end = tap_now_ms() + WAIT_MS;
	uint8_t *p = malloc(n + 8);
	uint32_t done = 0;

	while (done < count && tap_now_ms() < end) {
		h_fill(p, n, number);
		if (h_push(&m.h, REC_OP, 0, p, n)) {
			done++;
			number++;
			if (done % 16 != 0)
				continue;
		}
		h_ring(&m.h);
		h_answers(&m.h);
		apply();
	}
	h_ring(&m.h);
	free(p);
	return done == count;
}

static bool
all_committed(void)
{
	return wait_until(
	    (apply(), h_answered(&m.h)) && h_committed(&m.h) >= m.h.acked_vlsn,
	    WAIT_MS);
}

static bool
level(void)
{
	return wait_until((apply(), side_durable(&r) == side_appended(&m)) &&
			      side_durable(&m) == side_appended(&m) &&
			      h_committed(&r.h) == h_committed(&m.h),
	    WAIT_MS);
}

static bool
same_logs(void)
{
	uint64_t end = marks_read(&m.h, mark[0], MARKS);

	return marks_read(&r.h, mark[1], MARKS) == end && end > 0 &&
	       memcmp(mark[0], mark[1], (end + 1) * sizeof(mark[0][0])) == 0;
}

static void
end_both(void)
{
	uint64_t last = 0;

	ok(side_stop(&m), "the master ends in order");
	ok(wait_until(
	       atomic_load(&side_row(&r, 0)->ended) == rig_connection, WAIT_MS),
	    "which ends the connection");
	is_u64(atomic_load(&side_row(&r, 0)->end_reason),
	    PEER_ENDED_FEED + FEED_STOPPED, "for that reason");
	ok(side_stop(&r), "the replica ends in order");
	ok(same_logs(), "both logs are the same");
	is_u64(h_read_back(&r.h, &last), number - 1, "all of it");
	is_i64(side_boot(&r), 0, "it boots");
	is_u64(side_appended(&r), last, "with all");
	ok(side_stop(&r), "and ends");
	h_free(&m.h);
	h_free(&r.h);
}

/* One by one, then many, over segments and the end of the buffer. */
static void
test_feed(bool tcp)
{
	uint64_t frames;
	unsigned i;

	diag(tcp ? "tcp" : "local");
	boot_both(8 << 20);
	views(1, 2);
	ok(wait_until(side_durable(&m) == 1, WAIT_MS), "a term begins");
	is_u64(h_committed(&m.h), 0, "one of two commits nothing");
	ok(side_connect(&m, &r, WINDOW, tcp), "connected");
	ok(wait_until(h_committed(&m.h) == 1, WAIT_MS), "two of two do");
	ok(wait_until(h_committed(&r.h) == 1, WAIT_MS),
	    "which is told without a record");
	is_u64(position_get(&r.h.region.pos->group_waits), 0,
	    "and its group is woken");
	for (i = 0; i < 20; i++) {
		(void)writes(1, 100);
		if (!all_committed())
			break;
	}
	is_u64(i, 20, "one by one");
	frames = side_counter(&m, C_FEED_FRAMES);
	ok(frames >= 21, "a frame each, at the least");
	ok(writes(9000, 1000), "many, over segments");
	ok(all_committed(), "all are committed");
	ok(level(), "and here, and known to be");
	ok(side_counter(&m, C_FEED_BYTES) > 9000000 &&
		side_counter(&r, C_TAKEN_BYTES) ==
		    side_counter(&m, C_FEED_BYTES),
	    "bytes are counted");
	ok(side_counter(&r, C_TAKEN_FRAMES) == side_counter(&m, C_FEED_FRAMES),
	    "and frames");
	ok(wait_until(side_counter(&m, C_FEED_ACKS) ==
			      side_counter(&r, C_TAKEN_ACKS) &&
			  side_counter(&m, C_FEED_ACKS) > 20,
	       WAIT_MS),
	    "and acknowledgements");
	is_u64(atomic_load(&side_row(&m, 1)->feed), PEER_FEED_LIVE, "fed");
	is_u64(atomic_load(&side_row(&r, 0)->feed), PEER_FEED_FROM, "from");
	is_u64(atomic_load(&side_row(&m, 1)->matched), side_appended(&m),
	    "all was sent");
	ok(wait_until(atomic_load(&side_row(&m, 1)->acked) == side_appended(&m),
	       WAIT_MS),
	    "and acknowledged");
	is_u64(atomic_load(&side_row(&m, 1)->flight_bytes), 0, "none is away");
	ok(writes(30, 120000), "long ones");
	ok(all_committed() && level(), "are committed");
	end_both();
}

int
main(void)
{
	test_feed(false);
	test_feed(true);
	return tap_done();
}
