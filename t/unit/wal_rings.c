/*
 * What travels on the rings: payloads in parts and who interrupts them, runs
 * of answers, back-pressure, a client whose ring is nonsense, terms and roles.
 */
#include "t/lib/wal_harness.h"

static struct harness h;

/* The newest n records of the log, types and flags, through a cursor. */
struct seen {
	unsigned count;
	struct record rec[64];
	uint64_t sum[64];
};

static void
read_from(uint64_t vlsn, struct seen *out)
{
	struct cursor *c;
	struct record rec;
	uint64_t i;

	memset(out, 0, sizeof(*out));
	if (cursor_open(&c, &h.region, h.wal_dir, false) != 0)
		abort();
	if (cursor_seek(c, vlsn) == 0)
		while (out->count < 64 &&
		       cursor_next(c, position_get(&h.region.pos->durable),
			   &rec) == 0) {
			for (i = 0; i < rec.payload_len; i++)
				out->sum[out->count] += rec.payload[i];
			out->rec[out->count++] = rec;
		}
	cursor_close(c);
}

static bool
settled(void)
{
	return wait_until(
	    (h_apply(&h), h_answered(&h)) &&
		h_committed(&h) == position_get(&h.region.pos->appended) &&
		h_committed(&h) >= h.acked_vlsn,
	    H_WAIT_MS);
}

static void
test_parts(void)
{
	static uint8_t big[REQ_PART_MAX];
	uint64_t from = h.acked_vlsn;
	struct seen s;

	memset(big, 3, sizeof(big));
	h_push(&h, REC_OP, 0, "first", 5);
	h_push(&h, REC_OP, REQ_MORE, big, sizeof(big));
	h_push(&h, REC_OP, REQ_MORE, big, sizeof(big));
	h_push(&h, REC_OP, REQ_WANT_RESULT, big, 1000);
	h_push(&h, REC_OP, 0, "last", 4);
	h_ring(&h);
	ok(settled(), "a payload in parts is answered");
	is_u64(h.acked_vlsn, from + 5, "each part takes a VLSN");
	is_u64(h.seq_answered, h.seq, "one answer for all of them");
	read_from(from + 1, &s);
	is_u64(s.count, 5, "five records");
	ok(s.rec[1].type == REC_PART && s.rec[2].type == REC_PART &&
		s.rec[3].type == REC_OP,
	    "two parts and the record itself");
	is_u64(s.rec[3].flags, REC_HAS_PARTS | REC_WANT_RESULT, "its flags");
	is_u64(s.rec[4].flags, 0, "which the next has not");
	ok(s.rec[1].bound == 0 && s.rec[2].bound == 0, "a part has no bound");
	ok(record_bound(&s.rec[3]) == h.conf.store.max_record &&
		record_bound(&s.rec[4]) == h.conf.store.max_record,
	    "what is applied has max_record's");
	ok(s.sum[1] == 3ul * REQ_PART_MAX && s.sum[3] == 3000, "their bytes");
	is_u64(origin_slot(s.rec[3].origin), SLOT_GATEWAY, "their origin");
}

/* Another client waits while parts are under way, and is let in if they end. */
static void
test_parts_die(void)
{
	struct bytering other;
	struct wal_req req = { .len = 20, .seq = 1, .type = REC_OP };
	uint64_t from = h.acked_vlsn;
	struct seen s;
	uint8_t *at;

	region_ring(&h.region, CLIENT_STORE, RING_REQUEST, &other);
	h_push(&h, REC_OP, REQ_MORE, "part", 4);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 1, H_WAIT_MS),
	    "a part is appended at once");
	at = bytering_reserve(&other, req.len);
	memcpy(at, &req, sizeof(req));
	bytering_publish(&other);
	h_ring(&h);
	h_push(&h, REC_OP, REQ_MORE, "more", 4);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 2, H_WAIT_MS),
	    "the next one, too");
	ok(!bytering_is_drained(other.br_words),
	    "another client waits meanwhile");
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].incarnation, 2);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 3, H_WAIT_MS),
	    "its death lets the other client in");
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].incarnation, 1);
	read_from(from + 1, &s);
	ok(s.count == 3 && s.rec[0].type == REC_PART &&
		s.rec[1].type == REC_PART && s.rec[2].type == REC_OP &&
		origin_slot(s.rec[2].origin) == SLOT_STORE &&
		(s.rec[2].flags & REC_HAS_PARTS) == 0,
	    "nothing is joined that does not belong together");
	h.acked_vlsn = from + 3;
}

/*
 * The successor of who died between parts begins with something whole. True if
 * another client is let in behind that, before a liveness turn, a second.
 */
static bool
parts_successor(uint32_t seq)
{
	uint64_t from = h.acked_vlsn;
	struct wal_req req = { .len = 20, .type = REC_OP };
	struct bytering other;
	uint8_t *at;
	bool soon;

	region_ring(&h.region, CLIENT_STORE, RING_REQUEST, &other);
	h_push(&h, REC_OP, REQ_MORE, "part", 4);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 1, H_WAIT_MS),
	    "a part is appended");
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].incarnation, 2);
	req.incarnation = 2;
	req.seq = h.seq + 1;
	at = bytering_reserve(&h.request, req.len);
	memcpy(at, &req, sizeof(req));
	h.seq++;
	bytering_publish(&h.request);
	req.incarnation = 0;
	req.seq = seq;
	at = bytering_reserve(&other, req.len);
	memcpy(at, &req, sizeof(req));
	bytering_publish(&other);
	h_ring(&h);
	soon =
	    wait_until(position_get(&h.region.pos->durable) == from + 3, 500);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 3, H_WAIT_MS) &&
		wait_until(h_answered(&h), H_WAIT_MS),
	    "behind it another client is let in");
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].incarnation, 1);
	h.acked_vlsn = from + 3;
	return soon;
}

static void
test_parts_successor(void)
{
	uint32_t seq = 2;
	bool soon = false;

	/* A busy machine may spoil a try, not all. */
	while (!soon && seq < 22)
		soon = parts_successor(seq++);
	ok(soon, "at once");
}

/* Parts that nothing follows would keep store from making a checkpoint. */
static void
test_parts_closed(void)
{
	uint64_t from = h.acked_vlsn;
	struct seen s;

	h_push(&h, REC_OP, REQ_MORE, "part", 4);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 1, H_WAIT_MS),
	    "one more part");
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].incarnation, 2);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 2, H_WAIT_MS),
	    "its client dies: a record follows by itself");
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].incarnation, 1);
	read_from(from + 1, &s);
	ok(s.count == 2 && s.rec[1].type == REC_OP && s.rec[1].flags == 0 &&
		s.rec[1].origin == 0,
	    "nobody's operation");
	h.acked_vlsn = from + 2;
}

static void
test_term_between(void)
{
	uint64_t from = h.acked_vlsn;
	uint64_t term = 0, last = 0;
	struct seen s;

	h_push(&h, REC_OP, REQ_MORE, "part", 4);
	h_ring(&h);
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 1, H_WAIT_MS),
	    "a part");
	h_elect(&h, h.view.term + 1);
	ok(wait_until(h_committed(&h) == from + 2, H_WAIT_MS), "a new term");
	h_push(&h, REC_OP, 0, "rest", 4);
	h_ring(&h);
	ok(wait_until(h_answered(&h), H_WAIT_MS), "the rest");
	is_u64(h.refused[RET_READONLY], 1, "is refused: its front is not its");
	read_from(from + 1, &s);
	ok(s.count == 2 && s.rec[1].type == REC_TERM &&
		s.rec[1].term == h.view.term,
	    "the term's record follows the part");
	ok(terms_of_vlsn(h.region.terms, from + 1, &term) == 0 &&
		terms_last_of(h.region.terms, term, &last) == 0 &&
		term < h.view.term && last == from + 1,
	    "it ends the run of the term before");
	ok(terms_of_vlsn(h.region.terms, from + 2, &term) == 0 &&
		term == h.view.term,
	    "and begins one");
	h.acked_vlsn = from + 2;
}

static void
test_roles(void)
{
	uint64_t from = h.acked_vlsn, before = h.refused[RET_READONLY];

	h_role(&h, ROLE_UNKNOWN);
	/* The next term may be won in this epoch: its first record is none yet.
	 */
	ok(word_epoch(position_get(&h.region.pos->term_start)) < h.view.epoch,
	    "an epoch without a master has no term's first record");
	h_push(&h, REC_OP, 0, "x", 1);
	h_ring(&h);
	ok(wait_until(h_answered(&h), H_WAIT_MS), "not master");
	is_u64(h.refused[RET_READONLY], before + 1, "refused");
	is_u64(position_get(&h.region.pos->appended), from, "not appended");
	/* A term that the log has already cannot begin. */
	h_elect(&h, h.view.term);
	h_push(&h, REC_OP, 0, "x", 1);
	h_ring(&h);
	ok(settled(), "the own term goes on");
	is_u64(h.acked_vlsn, from + 1, "in a new epoch, without a new record");
	is_u64(word_epoch(position_get(&h.region.pos->term_start)),
	    h.view.epoch, "its start is told in that epoch");
}

/* True if wal takes what is pushed right after its role was published. */
static bool
role_taken(unsigned spin)
{
	uint64_t before = h.refused[RET_READONLY];
	unsigned i, n = 0;

	h_role(&h, ROLE_UNKNOWN);
	/* A long turn of wal, which goes by that role. */
	while (n < 3000 && h_push(&h, REC_OP, 0, "x", 1))
		n++;
	h_ring(&h);
	for (i = 0; i < spin; i++)
		(void)tap_now_ms();
	h.view.role = ROLE_MASTER;
	h_publish(&h);
	while (!h_push(&h, REC_OP, 0, "y", 1))
		h_apply(&h);
	h_ring(&h);
	return settled() && h.refused[RET_READONLY] - before <= n;
}

/* Who knows that this node is master may write, wherever wal is just then. */
static void
test_role_taken(void)
{
	unsigned i, refused = 0;

	for (i = 0; i < 1500; i++)
		refused += !role_taken(i * 7 % 4000);
	is_u64(refused, 0, "no write behind the role's begin is refused");
}

/* Nobody takes answers: nothing is lost, and it goes on when they are. */
static void
test_ret_full(void)
{
	uint32_t i, pushed = 0;

	/* Refusals and acceptances in turn: no two share a run. */
	for (i = 0; i < 3000; i++) {
		if (i % 100 == 0 && i % 200 == 0)
			h_role(&h, ROLE_UNKNOWN);
		else if (i % 100 == 0)
			h_elect(&h, h.view.term);
		if (i % 100 == 0)
			(void)wait_until(
			    h.region.walbuf.h->size != 0 && (h_ring(&h), true),
			    10);
		/* A gap in the numbers also ends a run. */
		h.seq++;
		if (h_push(&h, REC_OP, 0, "x", 1))
			pushed++;
		/* Many small flushes fill the buffer: that holds nothing up. */
		h_apply(&h);
	}
	ok(wait_until(
	       (h_apply(&h),
		   atomic_load(&h.region.slots->row[SLOT_WAL].busy_with) ==
		       BUSY_RETURN),
	       H_WAIT_MS),
	    "a full ring of answers is said to hold wal up");
	{
		const struct wal_ret *r;
		uint32_t len, answered = 0;

		(void)wait_until(({
			while ((r = bytering_peek(&h.ret, &len)) != NULL) {
				answered += r->count;
				bytering_advance(&h.ret, len);
			}
			bytering_consume(&h.ret);
			h_ring(&h);
			h_apply(&h);
			answered == pushed;
		}),
		    H_WAIT_MS);
		is_u64(answered, pushed, "each request is answered once");
	}
	h.seq_answered = h.seq;
	h.acked_vlsn = position_get(&h.region.pos->appended);
	h_elect(&h, h.view.term);
}

/* The store holds what it has not applied: the buffer is never overrun. */
static void
test_hold(void)
{
	static uint8_t big[60000];
	uint64_t size = h.region.walbuf.size, i;
	struct walbuf_head *b = h.region.walbuf.h;

	for (i = 0; i < 40; i++) {
		h_push(&h, REC_OP, 0, big, sizeof(big));
		h_ring(&h);
		h_answers(&h);
		if (i < 16)
			(void)wait_until(
			    (h_answers(&h), i < 12) || h_answered(&h), 20);
	}
	ok(wait_until(atomic_load(&h.region.slots->row[SLOT_WAL].busy_with) ==
			  BUSY_BUFFER,
	       H_WAIT_MS),
	    "an unapplied buffer is said to hold wal up");
	ok(atomic_load(&b->appended) - atomic_load(&b->store_hold) <= size,
	    "not a byte of it is overwritten");
	ok(settled(), "and it goes on when the store does");
	is_u64(atomic_load(&h.region.slots->row[SLOT_WAL].busy_with), BUSY_NOT,
	    "which is said, too");
}

/*
 * What is gone from the ring is appended, for all to see: whoever takes over a
 * dead gateway's ring goes by that. Many requests, so that wal is at them for
 * some while.
 */
static void
test_consumed(void)
{
	enum { COUNT = 4000, TRIES = 20 };
	const uint64_t entry = align_up(sizeof(struct wal_req) + 1, 8);
	uint64_t from, head, vlsn, early = 0;
	unsigned try, i, looks = 0;

	for (try = 0; try < TRIES && settled(); try++) {
		from = head = bytering_mark(&h.request);
		vlsn = position_get(&h.region.pos->appended);
		for (i = 0; i < COUNT && h_push(&h, REC_OP, 0, "x", 1); i++)
			;
		h_ring(&h);
		for (; head != bytering_mark(&h.request); looks++) {
			head = atomic_load_explicit(
			    &h.request.br_words->br_head, memory_order_acquire);
			/* One may be what is left over at the ring's end. */
			early += position_get(&h.region.pos->appended) + 1 <
				 vlsn + (head - from) / entry;
			h_answers(&h);
			h_apply(&h);
		}
	}
	ok(try == TRIES && looks > TRIES, "seen at work");
	is_u64(early, 0, "nothing is taken before it is said to be appended");
	ok(settled(), "all is answered");
}

/* A ring of nonsense: its process is killed, the others are served. */
static void
test_bad_ring(void)
{
	uint64_t number = 1, from = h.acked_vlsn;
	uint8_t *at;
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		for (;;)
			pause();
	}
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].pid, pid);
	h_push(&h, REC_OP, REQ_MORE, "part", 4);
	at = bytering_reserve(&h.request, 64);
	memset(at + 4, 0xff, 60);
	bytering_publish(&h.request);
	h_ring(&h);
	ok(wait_until(waitpid(pid, &status, WNOHANG) == pid, H_WAIT_MS) &&
		WIFSIGNALED(status),
	    "whoever wrote that is killed");
	ok(wait_until(
	       position_get(&h.region.pos->durable) == from + 2, H_WAIT_MS),
	    "a part before it does not stay the newest record");
	h.acked_vlsn = position_get(&h.region.pos->durable);
	atomic_store(&h.region.slots->row[SLOT_GATEWAY].pid, 0);
	region_ring(&h.region, CLIENT_GATEWAY, RING_REQUEST, &h.request);
	ok(h_write(&h, 10, 100, &number), "its successor is served");
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	say_open("/dev/null");
	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(wait_until(h_committed(&h) == 1, H_WAIT_MS), "is master");
	h.acked_vlsn = 1;
	test_parts();
	test_parts_die();
	test_parts_successor();
	test_parts_closed();
	test_term_between();
	test_roles();
	test_role_taken();
	test_ret_full();
	test_hold();
	test_consumed();
	test_bad_ring();
	ok(h_stop(&h), "ends in order");
	h_free(&h);
	return tap_done();
}
