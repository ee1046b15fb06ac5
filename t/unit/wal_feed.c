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

/* ---- against one that this process plays ---- */

static struct puppet p;

static void
begin_puppet(uint64_t buffer, unsigned least, uint32_t window)
{
	struct msg_data_hello d;
	int fd[2];

	h_new(&m.h, "/dev/shm");
	m.h.conf.wal.buffer_size = buffer;
	is_i64(side_boot(&m), 0, "a master boots");
	number = 1;
	side_view(&m, ROLE_MASTER, 1, 0, 2, least);
	(void)wait_until(side_durable(&m) == 1, WAIT_MS);
	(void)side_chain(&m, 1);
	d = facts(++rig_connection, 1, 1, 1, m.chain.crc, 5, m.h.view.epoch);
	stream_pair(false, fd);
	side_offer(&m, &d, FROM_LISTENER, 1, window, fd[0]);
	close(fd[0]);
	puppet_open(&p, fd[1], &d, FROM_DIALER);
	ok(wait_until(
	       atomic_load(&side_row(&m, 1)->connection) == rig_connection,
	       WAIT_MS),
	    "which feeds this process");
}

static void
end_puppet(void)
{
	puppet_close(&p);
	side_down(&m);
	h_free(&m.h);
}

static bool
ended(unsigned reason)
{
	return wait_until(
	    atomic_load(&side_row(&m, 1)->ended) == rig_connection &&
		atomic_load(&side_row(&m, 1)->end_reason) == reason,
	    WAIT_MS);
}

/* Requests, of which nobody is known to be committed. */
static void
push(unsigned count, uint32_t n)
{
	static uint8_t payload[4096];

	while (count > 0) {
		h_fill(payload, n, number);
		if (!h_push(&m.h, REC_OP, 0, payload, n)) {
			h_ring(&m.h);
			continue;
		}
		number++;
		count--;
	}
	h_ring(&m.h);
}

static void
test_window(void)
{
	uint64_t before;

	begin_puppet(8 << 20, 2, 100000);
	push(500, 1000);
	ok(wait_until((puppet_read(&p), p.log_bytes > 90000), WAIT_MS),
	    "as much as the window holds comes");
	(void)wait_until((puppet_read(&p), false), 100);
	ok(p.log_bytes <= 100000, "and no more: %ju", (uintmax_t)p.log_bytes);
	is_u64(atomic_load(&side_row(&m, 1)->flight_bytes), p.log_bytes,
	    "which is told");
	is_u64(h_committed(&m.h), 0, "nothing is committed");
	before = p.log_bytes;
	puppet_ack(&p, 1, 40);
	ok(wait_until((puppet_read(&p), p.log_bytes > before), WAIT_MS),
	    "an acknowledgement lets it go on");
	ok(wait_until(h_committed(&m.h) == 40, WAIT_MS), "and commits");
	do
		puppet_ack(&p, 1, p.last);
	while (p.last < 501 && wait_until(puppet_read(&p), WAIT_MS));
	puppet_ack(&p, 1, p.last);
	ok(wait_until(h_committed(&m.h) == 501, WAIT_MS), "up to the end");
	ok(wait_until((puppet_read(&p), p.committed == 501), WAIT_MS),
	    "which is told without a record");
	end_puppet();
}

/* One that takes nothing stops nobody. */
static void
test_lapped(void)
{
	begin_puppet(1 << 20, 1, 64 << 20);
	push(1, 10);
	ok(h_write(&m.h, 6000, 1000, &number), "writes go on and on");
	ok(ended(PEER_ENDED_FEED + FEED_LAPPED),
	    "past one that reads nothing, whose connection ends");
	is_u64(side_counter(&m, C_FEED_LAPPED), 1, "which is counted");
	is_u64(side_word(&m, 1), 0, "its word is void");
	end_puppet();
}

static void
test_liars(void)
{
	begin_puppet(8 << 20, 2, WINDOW);
	push(10, 100);
	(void)wait_until((puppet_read(&p), p.last == 11), WAIT_MS);
	puppet_ack(&p, 1, 3);
	ok(wait_until(h_committed(&m.h) == 3, WAIT_MS), "an acknowledgement");
	puppet_ack(&p, 1, 2);
	puppet_ack(&p, 1, 1000000);
	ok(wait_until(h_committed(&m.h) == 11, WAIT_MS),
	    "of more than was sent counts as that");
	is_u64(word_vlsn(side_word(&m, 1)), 11, "not as more");
	push(10, 100);
	(void)wait_until((puppet_read(&p), p.last == 21), WAIT_MS);
	puppet_ack(&p, 2, 21);
	ok(ended(REFUSED_STATE), "one of another term ends it");
	is_u64(h_committed(&m.h), 11, "and counts nothing");
	is_u64(side_counter(&m, C_DATA_REFUSED), 1, "told once");
	end_puppet();

	begin_puppet(8 << 20, 2, WINDOW);
	(void)!write(p.fd, "Bytes that are nothing at all.", 30);
	ok(ended(REFUSED_NONSENSE), "nonsense ends it");
	end_puppet();

	begin_puppet(8 << 20, 2, WINDOW);
	(void)!write(p.fd, "\1\2", 2);
	ok(ended(REFUSED_STALL), "half a message does, after a while");
	end_puppet();
}

/* Of an epoch that is over nothing counts, and nothing is sent. */
static void
test_epochs(void)
{
	uint64_t end;

	begin_puppet(8 << 20, 2, WINDOW);
	push(10, 100);
	(void)wait_until((puppet_read(&p), p.last == 11), WAIT_MS);
	end = side_appended(&m);
	ok(side_fence(&m, side_raise(&m)), "a fence");
	puppet_ack(&p, 1, 11);
	is_u64(m.fence.vlsn, end, "says where the log ends");
	ok(ended(PEER_ENDED_FEED + FEED_STOPPED), "the connection ends by it");
	(void)wait_until((puppet_read(&p), p.closed), WAIT_MS);
	is_u64(p.end, FEED_STOPPED, "which the other end is told");
	is_u64(h_committed(&m.h), 0, "its acknowledgement is void");
	end_puppet();

	begin_puppet(8 << 20, 2, WINDOW);
	push(10, 100);
	(void)wait_until((puppet_read(&p), p.last == 11), WAIT_MS);
	side_view(&m, ROLE_MASTER, 1, 0, 2, 2);
	puppet_ack(&p, 1, 11);
	ok(ended(PEER_ENDED_FEED + FEED_STOPPED),
	    "nor does it outlive a view of another epoch");
	is_u64(h_committed(&m.h), 0, "nothing is committed");
	end_puppet();
}

/* What is offered and cannot be. */
static void
test_offers(void)
{
	struct msg_data_hello d;
	struct msg_data_hello bad[6];
	unsigned i;
	int fd[2];

	begin_puppet(8 << 20, 2, WINDOW);
	(void)side_chain(&m, 1);
	d = facts(rig_connection + 1, 1, 1, 1, m.chain.crc, 5, m.h.view.epoch);
	for (i = 0; i < NITEMS(bad); i++) {
		bad[i] = d;
		bad[i].connection = rig_connection + 10 + i;
	}
	bad[0].connection = rig_connection - 1;
	bad[1].their_epoch++;
	bad[2].term = 2;
	bad[3].crc++;
	bad[4].vlsn = 100;
	bad[5].magic = 1;
	for (i = 0; i < NITEMS(bad); i++) {
		stream_pair(false, fd);
		side_offer(&m, &bad[i], FROM_LISTENER, 1, WINDOW, fd[0]);
		close(fd[0]);
		ok(wait_until(atomic_load(&side_row(&m, 1)->ended) ==
				  bad[i].connection,
		       WAIT_MS),
		    "offer %u is not taken", i);
		close(fd[1]);
		if (i == 2)
			is_u64(atomic_load(&side_row(&m, 1)->connection),
			    rig_connection, "the one before lives");
	}
	end_puppet();
}

/* ---- ends of processes ---- */

/* The replica dies again and again, and comes back with what it has. */
static void
test_replica_killed(void)
{
	unsigned i, wrong = 0;

	boot_both(8 << 20);
	views(1, 2);
	for (i = 0; i < 12; i++) {
		if (!side_connect(&m, &r, WINDOW, i % 2 == 1))
			wrong++;
		push(100 + i * 40, 700);
		(void)wait_until(
		    (apply(), h_answers(&m.h), side_appended(&r) > i * 30),
		    20 + i * 3);
		if (h_committed(&r.h) > side_appended(&r))
			wrong++;
		side_down(&r);
		if (side_boot(&r) != 0)
			wrong++;
		if (side_appended(&r) < h_committed(&m.h))
			wrong++;
		side_view(&r, ROLE_REPLICA, 1, 1, 2, 2);
	}
	is_u64(wrong, 0, "killed, it has all that was committed");
	ok(side_connect(&m, &r, WINDOW, false), "connected again");
	ok(all_committed() && level(), "all gets there");
	end_both();
}

/*
 * The master dies under load; the other one goes on, and is cut when the first
 * comes back as master.
 */
static void
test_master_killed(void)
{
	uint64_t keep, end;

	boot_both(8 << 20);
	views(1, 2);
	ok(side_connect(&m, &r, WINDOW, true), "connected");
	ok(writes(200, 3000) && all_committed() && level(), "some");
	ok(writes(300, 3000), "a master is killed");
	side_down(&m);
	ok(wait_until(
	       atomic_load(&side_row(&r, 0)->ended) == rig_connection, WAIT_MS),
	    "its replica sees that");
	is_i64(side_boot(&m), 0, "it boots");
	ok(side_fence(&r, side_raise(&r)), "the other one is fenced");
	ok(r.fence.vlsn >= h_committed(&r.h), "with what is committed");
	side_view(&r, ROLE_MASTER, 2, 1, 2, 2);
	(void)wait_until(side_durable(&r) == r.fence.vlsn + 1, WAIT_MS);
	side_view(&r, ROLE_REPLICA, 3, 1, 2, 2);
	keep = side_appended(&r) - 1;
	if (keep > side_appended(&m))
		keep = side_appended(&m);
	is_u64(side_cut(&r, keep), RET_OK, "what it began is cut");
	side_view(&m, ROLE_MASTER, 3, 0, 2, 2);
	ok(wait_until(side_appended(&m) > keep, WAIT_MS), "a term begins");
	m.h.seq_answered = m.h.seq;
	ok(side_chain(&m, keep) == CHAIN_OK &&
		side_chain(&r, keep) == CHAIN_OK && m.chain.crc == r.chain.crc,
	    "both have the same up to there");
	ok(side_connect(&m, &r, WINDOW, true), "connected");
	end = side_appended(&m);
	ok(wait_until(h_committed(&m.h) >= end, WAIT_MS), "it commits");
	ok(level(), "and both are level");
	ok(side_stop(&m) && side_stop(&r), "ends in order");
	ok(same_logs(), "both logs are the same");
	h_free(&m.h);
	h_free(&r.h);
}

int
main(void)
{
	test_feed(false);
	test_feed(true);
	test_window();
	test_lapped();
	test_liars();
	test_epochs();
	test_offers();
	test_replica_killed();
	test_master_killed();
	return tap_done();
}
