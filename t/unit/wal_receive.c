/*
 * A replica's log, fed by this process: what is good is appended, flushed and
 * acknowledged; whatever else comes ends the connection, by name, and changes
 * nothing. And what may hold it up: a full buffer, a full disk, a flush that
 * fails, a stop.
 */
#include "shm/kv/op.h"
#include "shm/log/append.h"
#include "shm/log/log_clock.h"
#include "shm/log/terms.h"
#include "t/lib/data_rig.h"
#include "t/lib/splitmix.h"

#define WAIT_MS 15000

static struct side r;
static struct puppet p;

/* The log that this process makes, beside it: bytes of records. */
static uint8_t log_bytes[8 << 20];
static struct append_end end; /* of what was made */

/* What goes wrong with files: shared with the worker. */
static struct plan {
	_Atomic int op, res, fired;
} * plan;

static int
hook(enum wal_op op, int res)
{
	if ((int)op != atomic_load(&plan->op))
		return res;
	atomic_store(&plan->fired, 1);
	return atomic_load(&plan->res);
}

/* One more record at `at`; its length. */
static uint32_t
make(uint8_t *at, uint64_t term, unsigned type, const void *payload, uint32_t n)
{
	struct record rec = { .vlsn = end.vlsn + 1,
		.term = term,
		.time_ms = end.time_ms + (type == REC_CLOCK ? -50 : 1),
		.type = (uint8_t)type,
		.bound = type == REC_OP ? 1 : 0,
		.payload_len = n };
	uint32_t len = record_len(n);

	memset(at, 0, len);
	record_encode(at, &rec);
	if (n != 0)
		memcpy(at + REC_HEADER_SIZE, payload, n);
	end.chain = record_seal(at, len, end.chain);
	end.vlsn = rec.vlsn;
	end.term = term;
	end.time_ms = rec.time_ms;
	return len;
}

/* `count` operations of n bytes; how many bytes they have. */
static uint32_t
make_ops(uint32_t count, uint32_t n, uint64_t term)
{
	static uint8_t payload[130000];
	uint32_t len = 0;

	for (; count > 0; count--) {
		h_fill(payload, n, end.vlsn);
		len += make(log_bytes + len, term, REC_OP, payload, n);
	}
	return len;
}

static struct msg_frame
frame_of(uint64_t term, uint64_t first, uint64_t last, uint32_t bytes)
{
	return (struct msg_frame){ .term = term,
		.committed = first == 0 ? 0 : first - 1,
		.first = first,
		.last = last,
		.bytes = bytes };
}

/* A frame of what was made behind `before`. */
static void
send_frame(uint64_t before, uint32_t len)
{
	struct msg_frame f = frame_of(1, before + 1, end.vlsn, len);

	puppet_send(&p, MSG_FRAME, &f, log_bytes, len);
}

static bool
ack_of(uint64_t vlsn)
{
	return wait_until((puppet_read(&p), p.ack.durable == vlsn), WAIT_MS);
}

static void
connect_again(void)
{
	struct msg_data_hello d;
	int fd[2];

	(void)side_chain(&r, side_appended(&r));
	d = facts(++rig_connection, 1, r.chain.vlsn, r.chain.term, r.chain.crc,
	    r.h.view.epoch, 9);
	stream_pair(false, fd);
	side_offer(&r, &d, FROM_DIALER, 0, WINDOW, fd[1]);
	close(fd[1]);
	puppet_open(&p, fd[0], &d, FROM_LISTENER);
	if (!wait_until((puppet_read(&p), p.acks == 1), WAIT_MS))
		diag("no first acknowledgement");
}

static void
begin(uint64_t buffer)
{
	h_new(&r.h, "/dev/shm");
	r.h.conf.wal.buffer_size = buffer;
	is_i64(side_boot(&r), 0, "a replica boots");
	side_view(&r, ROLE_REPLICA, 1, 1, 2, 2);
	memset(&end, 0, sizeof(end));
	end.time_ms = wall_ms();
	connect_again();
	is_u64(p.ack.durable, 0, "it says at once what it has");
}

static void
finish(void)
{
	puppet_close(&p);
	side_down(&r);
	h_free(&r.h);
}

static bool
ended(unsigned reason)
{
	return wait_until(
	    (puppet_read(&p),
		atomic_load(&side_row(&r, 0)->ended) == rig_connection) &&
		atomic_load(&side_row(&r, 0)->end_reason) == reason,
	    WAIT_MS);
}

/* Terms, memberships and clocks mean here what they mean where made. */
static void
test_meaning(void)
{
	uint8_t payload[CLOCK_PAYLOAD], member[40] = { 0 };
	uint64_t term, vlsn;
	uint32_t len;
	struct msg_frame f;

	begin(1 << 20);
	len = make(log_bytes, 1, REC_TERM, NULL, 0);
	send_frame(0, len);
	ok(ack_of(1), "a term's first record is acknowledged");
	is_u64(p.ack.term, 1, "in that term");
	ok(terms_of_vlsn(r.h.region.terms, 1, &term) == 0 && term == 1,
	    "and known as that");
	is_u64(position_get(&r.h.region.pos->group_waits), 1,
	    "group waits for it");
	len = make(log_bytes, 1, REC_MEMBER, member, sizeof(member));
	send_frame(1, len);
	ok(ack_of(2), "a membership is");
	is_u64(position_get(&r.h.region.pos->member), 2, "and known");
	len = make_ops(20, 100, 1);
	send_frame(2, len);
	ok(ack_of(22), "operations are");
	is_u64(h_committed(&r.h), 2, "committed is what was told");
	f = frame_of(1, 0, 0, 0);
	f.committed = 1000;
	puppet_send(&p, MSG_FRAME, &f, NULL, 0);
	ok(wait_until(h_committed(&r.h) == 22, WAIT_MS),
	    "never more than is there");
	clock_encode(payload, end.time_ms, CLOCK_SET_BACK);
	len = make(log_bytes, 1, REC_CLOCK, payload, sizeof(payload));
	send_frame(22, len);
	ok(ack_of(23), "a clock record is");
	is_i64((int64_t)position_get(&r.h.region.pos->clock_ms), end.time_ms,
	    "log time went back");
	is_u64(r.h.region.pos->appended.v, 23, "all is there");
	vlsn = end.vlsn;
	side_view(&r, ROLE_MASTER, 5, 1, 2, 1);
	ok(wait_until(h_committed(&r.h) == vlsn + 1, WAIT_MS),
	    "a master begins its term behind it");
	ok(ended(REFUSED_STATE), "which ended the connection");
	finish();
}

/* A frame that comes byte by byte, and in one with others. */
static void
test_pieces(void)
{
	uint8_t *all = malloc(4 << 20);
	uint32_t len, n = 0, i;
	struct msg_frame f;
	int head;

	begin(8 << 20);
	len = make_ops(3, 60, 1);
	f = frame_of(1, 1, 3, len);
	n = (uint32_t)link_send(&p.link, MSG_FRAME, &f, all, 256);
	memcpy(all + n, log_bytes, len);
	n += len;
	for (i = 0; i < n; i++) {
		(void)!send(p.fd, all + i, 1, MSG_NOSIGNAL);
		if (i % 64 == 0)
			(void)wait_until(false, 1);
	}
	ok(ack_of(3), "byte by byte");
	for (i = 0, n = 0; i < 30; i++) {
		len = make_ops(1 + i * 3, 10 + i * 60, 1);
		f = frame_of(1, end.vlsn - i * 3, end.vlsn, len);
		head = link_send(&p.link, MSG_FRAME, &f, all + n, 256);
		n += (uint32_t)head;
		memcpy(all + n, log_bytes, len);
		n += len;
	}
	fcntl(p.fd, F_SETFL, 0);
	(void)!send(p.fd, all, n, MSG_NOSIGNAL);
	fcntl(p.fd, F_SETFL, O_NONBLOCK);
	ok(ack_of(end.vlsn), "many in one: %u bytes", n);
	is_u64(side_counter(&r, C_TAKEN_FRAMES), 31, "each is counted");
	len = make_ops(8, 130000, 1);
	fcntl(p.fd, F_SETFL, 0);
	send_frame(end.vlsn - 8, len);
	fcntl(p.fd, F_SETFL, O_NONBLOCK);
	ok(ack_of(end.vlsn), "long records");
	/* Broken off in the middle: what was whole is there. */
	len = make_ops(10, 1000, 1);
	f = frame_of(1, end.vlsn - 9, end.vlsn, len);
	puppet_send(&p, MSG_FRAME, &f, log_bytes, len - 500);
	puppet_close(&p);
	ok(ended(REFUSED_NOTHING), "one that breaks off ends it");
	ok(wait_until(side_durable(&r) == end.vlsn - 1, WAIT_MS),
	    "whole records stay");
	free(all);
	finish();
}

enum lie {
	LIE_TERM_OF_FRAME,
	LIE_FIRST,
	LIE_LAST,
	LIE_LAST_LOW,
	LIE_CRC,
	LIE_VLSN,
	LIE_TERM_AHEAD,
	LIE_TYPE,
	LIE_LENGTH,
	LIE_SHORT,
	LIE_TIME,
	LIE_ACK,
	LIES
};

static unsigned
lie(enum lie which)
{
	struct append_end before = end;
	struct msg_frame f;
	struct msg_ack ack = { 1, 1, 1 };
	unsigned reason = REFUSED_NONSENSE;
	uint8_t at[256];
	uint32_t len;
	int n;

	if (which == LIE_VLSN)
		end.vlsn++;
	if (which == LIE_TIME)
		end.time_ms -= 100;
	len = make_ops(5, 100, which == LIE_TERM_AHEAD ? 2 : 1);
	if (which == LIE_TYPE)
		log_bytes[REC_TYPE_OFF] = REC_PAD;
	if (which == LIE_CRC)
		log_bytes[len - 30] ^= 1;
	if (which == LIE_LENGTH)
		put_le32(log_bytes + REC_LEN_OFF, 0);
	if (which == LIE_SHORT)
		put_le32(log_bytes + REC_LEN_OFF, len + 800);
	f = frame_of(1, before.vlsn + 1, before.vlsn + 5, len);
	if (which == LIE_TERM_OF_FRAME) {
		f.term = 2;
		reason = REFUSED_STATE;
	}
	f.first -= which == LIE_FIRST;
	f.last += which == LIE_LAST;
	f.last -= which == LIE_LAST_LOW;
	if (which == LIE_ACK) {
		n = msg_encode(MSG_ACK, &ack, p.link.seq_out, at, sizeof(at));
		(void)!send(p.fd, at, (size_t)n, MSG_NOSIGNAL);
		end = before;
		return REFUSED_DIRECTION;
	}
	puppet_send(&p, MSG_FRAME, &f, log_bytes, len);
	end = before;
	return reason;
}

static void
test_lies(void)
{
	uint64_t told, kept;
	unsigned i, reason;
	uint32_t len;

	begin(1 << 20);
	len = make_ops(20, 100, 1);
	send_frame(0, len);
	ok(ack_of(20), "good ones");
	for (i = 0; i < LIES; i++) {
		told = side_counter(&r, C_DATA_REFUSED);
		reason = lie((enum lie)i);
		ok(ended(reason), "lie %u ends it", i);
		is_u64(side_counter(&r, C_DATA_REFUSED), told + 1, "told once");
		puppet_close(&p);
		kept = side_appended(&r);
		ok(kept >= 20 && (i == LIE_LAST || i == LIE_LAST_LOW ||
				     i == LIE_CRC || kept == 20),
		    "nothing of it is taken but what is good");
		/* What was good of it: begin anew behind the known. */
		if (kept != 20) {
			(void)side_fence(&r, side_raise(&r));
			side_view(&r, ROLE_REPLICA, 1, 1, 2, 2);
			(void)wait_until(side_durable(&r) == kept, WAIT_MS);
			is_u64(side_cut(&r, 20), RET_OK, "cut again");
		}
		connect_again();
	}
	len = make_ops(20, 100, 1);
	send_frame(20, len);
	ok(ack_of(40), "good ones again");
	finish();
}

/* Bytes that chance has changed: never more than an end. */
static void
test_chance(void)
{
	uint64_t seed = 20261129, kept;
	unsigned i, n, flips, alive = 0;
	uint32_t len, at;
	struct append_end before;
	struct msg_frame f;
	static uint8_t wire[1 << 16];

	begin(1 << 20);
	for (i = 0; i < 400 && !h_ended(&r.h); i++) {
		before = end;
		len = make_ops(1 + (unsigned)(splitmix(&seed) % 8),
		    (uint32_t)(splitmix(&seed) % 2000), 1);
		f = frame_of(1, before.vlsn + 1, end.vlsn, len);
		n = (unsigned)link_send(&p.link, MSG_FRAME, &f, wire, 256);
		memcpy(wire + n, log_bytes, len);
		n += len;
		flips = (unsigned)(splitmix(&seed) % 3);
		for (; flips > 0; flips--) {
			at = (uint32_t)(splitmix(&seed) % n);
			wire[at] ^= (uint8_t)(1 + splitmix(&seed) % 255);
		}
		(void)!send(p.fd, wire, n, MSG_NOSIGNAL);
		if (wait_until((puppet_read(&p), p.closed) ||
				   p.ack.durable == end.vlsn,
			300) &&
		    !p.closed) {
			alive++;
			continue;
		}
		puppet_close(&p);
		(void)side_fence(&r, side_raise(&r));
		side_view(&r, ROLE_REPLICA, 1, 1, 2, 2);
		kept = side_appended(&r);
		(void)wait_until(side_durable(&r) == kept, WAIT_MS);
		end = before;
		if (kept != before.vlsn && side_cut(&r, before.vlsn) != RET_OK)
			break;
		connect_again();
	}
	is_u64(i, 400, "chance changes bytes: it lives");
	ok(alive > 100, "and has taken what was good: %u of 400", alive);
	ok(side_stop(&r), "ends in order");
	is_i64(side_boot(&r), 0, "boots");
	is_u64(side_appended(&r), end.vlsn, "with what was good");
	finish();
}

/* The store goes on later: what came waits, then the socket. */
static void
test_buffer(void)
{
	unsigned i;
	uint32_t len;

	begin(1 << 20);
	fcntl(p.fd, F_SETFL, 0);
	/* More than the buffer, and less than all that is on the way to it. */
	for (i = 0; i < 12; i++) {
		len = make_ops(100, 1000, 1);
		send_frame(end.vlsn - 100, len);
	}
	fcntl(p.fd, F_SETFL, O_NONBLOCK);
	ok(wait_until(atomic_load(&r.h.region.slots->row[SLOT_WAL].busy_with) ==
			  BUSY_BUFFER,
	       WAIT_MS),
	    "the store holds the buffer: it waits");
	(void)wait_until(false, 2500);
	puppet_read(&p);
	ok(!p.closed && p.ack.durable < end.vlsn, "and the connection lives");
	ok(wait_until(
	       (h_apply(&r.h), puppet_read(&p), p.ack.durable == end.vlsn),
	       WAIT_MS),
	    "until it goes on");
	ok(side_stop(&r), "ends in order");
	(void)wait_until((puppet_read(&p), p.closed), WAIT_MS);
	is_u64(p.end, 1000 + REFUSED_STOPPING, "which is told");
	puppet_close(&p);
	h_free(&r.h);
}

/* No more segments can be made; then they can. */
static void
test_full(void)
{
	uint64_t stuck;
	uint32_t len, i;

	h_new(&r.h, "/dev/shm");
	r.h.conf.wal.buffer_size = 8 << 20;
	atomic_store(&plan->res, -ENOSPC);
	is_i64(side_boot(&r), 0, "a replica boots");
	(void)wait_until(false, 300); /* it has its spares */
	atomic_store(&plan->op, WAL_OP_ALLOC);
	side_view(&r, ROLE_REPLICA, 1, 1, 2, 2);
	memset(&end, 0, sizeof(end));
	end.time_ms = wall_ms();
	connect_again();
	for (i = 0; i < 1000; i++) {
		len = make_ops(60, 1000, 1);
		fcntl(p.fd, F_SETFL, 0);
		send_frame(end.vlsn - 60, len);
		fcntl(p.fd, F_SETFL, O_NONBLOCK);
		if (!wait_until((h_apply(&r.h), puppet_read(&p),
				    p.ack.durable == end.vlsn),
			1500))
			break;
	}
	stuck = p.ack.durable;
	ok(i < 1000, "a full disk: it stops receiving, after %u frames", i);
	ok(trouble_stands(&r.h.region, TROUBLE_LOG_FULL), "and says so");
	ok(!p.closed, "the connection lives");
	atomic_store(&plan->op, -1);
	ok(wait_until(
	       (h_apply(&r.h), puppet_read(&p), p.ack.durable == end.vlsn),
	       WAIT_MS),
	    "it goes on by itself");
	ok(end.vlsn > stuck &&
		wait_until(
		    !trouble_stands(&r.h.region, TROUBLE_LOG_FULL), WAIT_MS),
	    "and tells no more");
	finish();
}

static void
test_failed(void)
{
	uint64_t before;
	uint32_t len;

	begin(1 << 20);
	len = make_ops(20, 100, 1);
	send_frame(0, len);
	ok(ack_of(20), "good ones");
	before = p.acks;
	atomic_store(&plan->res, -EIO);
	atomic_store(&plan->op, WAL_OP_WRITE);
	len = make_ops(20, 100, 1);
	send_frame(20, len);
	ok(ended(REFUSED_LOCAL), "a flush that fails ends it");
	is_u64(p.acks, before, "nothing of it is acknowledged");
	is_u64(side_durable(&r), 20, "nor durable");
	ok(trouble_stands(&r.h.region, TROUBLE_LOG_FAILED), "it is told");
	atomic_store(&plan->op, -1);
	finish();
}

/* What is told of an epoch that is over raises nothing here. */
static void
test_epochs(void)
{
	struct msg_frame f;
	uint32_t len;

	begin(1 << 20);
	len = make_ops(20, 100, 1);
	send_frame(0, len);
	ok(ack_of(20), "good ones");
	(void)side_raise(&r);
	f = frame_of(1, 0, 0, 0);
	f.committed = 20;
	puppet_send(&p, MSG_FRAME, &f, NULL, 0);
	len = make_ops(5, 100, 1);
	send_frame(20, len);
	ok(wait_until(side_durable(&r) == 25, WAIT_MS),
	    "the epoch is raised: records are taken until the fence");
	(void)wait_until(false, 20);
	puppet_read(&p);
	is_u64(p.ack.durable, 20, "and not acknowledged");
	is_u64(h_committed(&r.h), 0, "nor does it commit");
	ok(side_fence(&r, r.h.view.epoch), "the fence");
	is_u64(r.fence.vlsn, 25, "says where the log ends");
	ok(ended(REFUSED_STATE), "and ends the connection");
	finish();
}

/*
 * Syncup begins with a fence also where no epoch has changed: what fed this
 * node until then is void, so the end that the fence told stays the end.
 */
static void
test_fence_voids(void)
{
	uint32_t len;

	begin(1 << 20);
	len = make_ops(20, 100, 1);
	send_frame(0, len);
	ok(ack_of(20), "good ones");
	ok(side_fence(&r, r.h.view.epoch), "a fence in the same epoch");
	is_u64(r.fence.vlsn, 20, "says where the log ends");
	ok(ended(REFUSED_STATE), "and ends the connection");
	len = make_ops(5, 100, 1);
	send_frame(20, len);
	(void)wait_until(false, 50);
	is_u64(side_appended(&r), 20, "nothing is appended behind it");
	puppet_close(&p);
	end.vlsn = 20;
	connect_again();
	ok(ack_of(20), "the next one is taken");
	finish();
}

int
main(void)
{
	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	atomic_store(&plan->op, -1);
	wal_fault_hook = hook;
	signal(SIGPIPE, SIG_IGN);
	test_meaning();
	test_pieces();
	test_lies();
	test_chance();
	test_buffer();
	test_full();
	test_failed();
	test_epochs();
	test_fence_voids();
	return tap_done();
}
