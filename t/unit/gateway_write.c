/*
 * Writes and the order of replies: what is answered when and to whom, who waits
 * for what, and what becomes of it when the client goes.
 */
#include "shm/trouble.h"
#include "t/lib/gateway_rig.h"

/* Since when the oldest write waits for its answer, as others see it. */
static uint64_t
owed(void)
{
	return atomic_load(&region.slots->row[SLOT_GATEWAY].write_ns);
}

static void
test_early(void)
{
	struct conn *a = client(), *b = client();
	uint32_t first = gw.next_seq;
	uint64_t begun = gw.io.loop.now_ns = 77;

	say(a, "SET k1 v\r\nSET k2 v EX 100\r\nMSET k3 v k4 v\r\n");
	say(b, "SETEX k5 100 v\r\n");
	is_u64(gw.next_seq - first, 4, "four requests");
	is_u64(a->node_count, 1, "a run of one client is one node");
	is_u64(position_get(&region.pos->commit_waited), 1,
	    "commit is waited for");
	gw.io.loop.now_ns = 1000;
	turn();
	is_u64(owed(), begun, "the oldest waits since it came");
	is_u64(wal_accept(), 4, "wal got them");
	turn();
	is_str(heard(a), "", "appended is not answered");
	commit(last_vlsn - 2);
	turn();
	is_str(heard(a), "", "nor a half of a run");
	commit(last_vlsn - 1);
	turn();
	is_str(heard(a), "+OK\r\n+OK\r\n+OK\r\n", "committed is");
	is_str(heard(b), "", "the other one's is not");
	commit(last_vlsn);
	turn();
	is_str(heard(b), "+OK\r\n", "now it is");
	is_u64(position_get(&region.pos->commit_waited), 0, "nobody waits");
	is_u64(owed(), 0, "and no write");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	is_u64(a->last_vlsn, last_vlsn - 1, "the client's own position");
	gone(a);
	gone(b);
}

static void
test_order(void)
{
	struct conn *a = client(), *b = client();
	uint32_t seq = gw.next_seq;

	say(a, "INCR n\r\nPING\r\nSET k v\r\nECHO x\r\nINCR n\r\nINCR n\r\n");
	say(b, "SET k v\r\n");
	say(a, "PING two\r\n");
	is_u64(
	    a->node_count, 6, "nodes: result, bytes, early, bytes, run, bytes");
	turn();
	is_u64(wal_accept(), 5, "five requests");
	commit(last_vlsn);
	turn();
	is_str(heard(a), "", "the first is not answered");
	is_str(heard(b), "+OK\r\n", "another client does not wait for it");
	store_int(seq, 1);
	turn();
	is_str(heard(a), ":1\r\n+PONG\r\n+OK\r\n$1\r\nx\r\n",
	    "then all up to the next one owed");
	store_int(seq + 2, 2);
	turn();
	is_str(heard(a), ":2\r\n", "a part of a run");
	store_int(seq + 3, 3);
	turn();
	is_str(heard(a), ":3\r\n$3\r\ntwo\r\n", "and the rest");
	is_u64(a->node_count, 0, "nothing is owed");
	gone(a);
	gone(b);
}

/* The store answers a run's first before its VLSNs were looked at. */
static void
test_result_first(void)
{
	struct conn *a = client(), *b = client();
	uint32_t seq = gw.next_seq;

	say(a, "INCR n\r\n");
	say(b, "SET k v\r\n");
	turn();
	while (wal_take(&(struct seen){ 0 }))
		last_vlsn++;
	commit(last_vlsn);
	store_int(seq, 1);
	turn();
	is_str(heard(a), ":1\r\n", "a result that came first");
	wal_return(seq, 2, last_vlsn - 1, RET_OK);
	turn();
	is_str(heard(b), "+OK\r\n", "who is behind it in the run is answered");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	gone(a);
	gone(b);
}

static void
test_refused(void)
{
	static const char readonly[] = "-READONLY You can't write against a "
				       "read only replica.\r\n";
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	struct seen s;

	say(a, "SET k v\r\nSET k v\r\nINCR n\r\nINCR n\r\nINCR n\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(seq, 1, ++last_vlsn, RET_OK);
	wal_return(seq + 1, 1, 0, RET_READONLY);
	wal_return(seq + 2, 1, ++last_vlsn, RET_OK);
	wal_return(seq + 3, 2, 0, RET_READONLY);
	commit(last_vlsn);
	turn();
	char want[256];

	snprintf(want, sizeof(want), "+OK\r\n%s", readonly);
	is_str(heard(a), want, "the refused one of a run says so");
	store_int(seq + 2, 9);
	turn();
	snprintf(want, sizeof(want), ":9\r\n%s%s", readonly, readonly);
	is_str(heard(a), want, "refused ones behind a result, in order");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	say(a, "SET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(s.seq, 1, 0, RET_LOG_FULL);
	turn();
	is_str(heard(a),
	    "-ERR the log has no room; nothing was "
	    "written\r\n",
	    "no space");
	gone(a);
}

static void
test_park(void)
{
	struct conn *a = client();
	uint32_t seq = gw.next_seq;

	say(a, "INCR n\r\nHELLO 3\r\nPING\r\n");
	is_u64(a->park, PARK_ORDER, "what changes replies waits for them");
	ok(a->in != NULL, "with its input");
	turn();
	wal_accept();
	commit(last_vlsn);
	store_int(seq, 5);
	turn();
	ok(strncmp(heard(a), ":5\r\n%7\r\n", 8) == 0 && a->proto == 3,
	    "the old protocol, then the new one");
	is_u64(a->park, PARK_NOT, "it goes on");
	ok(a->in == NULL, "its input buffer is given back");
	say(a, "WAIT 0 0\r\nSET k v\r\nWAITAOF 1 0 0\r\n");
	is_str(heard(a), ":0\r\n", "WAIT with nothing owed");
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n*2\r\n:1\r\n:0\r\n", "WAITAOF once committed");
	gone(a);
}

static void
test_mute(void)
{
	struct conn *a = client();

	say(a, "CLIENT REPLY SKIP\r\nSET k v\r\nSET k v\r\nPING\r\n");
	say(a, "CLIENT REPLY OFF\r\nSET k v\r\nPING\r\nNOSUCH\r\n");
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n+PONG\r\n", "SKIP skips one, OFF all");
	say(a, "CLIENT REPLY ON\r\n");
	is_str(heard(a), "+OK\r\n", "and ON ends it");
	gone(a);
}

static void
test_multi(void)
{
	struct conn *a = client();
	struct vbuf b = { 0 };
	struct seen s = { 0 };
	uint32_t seq;

	say(a,
	    "MULTI\r\nSET k v\r\nPING\r\nINCR n\r\nGET k\r\nSET k v EX x\r\n");
	is_str(heard(a),
	    "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n",
	    "queued");
	seq = gw.next_seq;
	say(a, "EXEC\r\nPING\r\n");
	turn();
	ok(wal_take(&s) && s.type == REC_MULTI && s.flags == REQ_WANT_RESULT &&
		get_le32(s.head) == 3,
	    "one record with three operations");
	wal_return(s.seq, 1, ++last_vlsn, RET_OK);
	commit(last_vlsn);
	value_array(&b, 3);
	value_ok(&b);
	value_int(&b, 1);
	value_bulk(&b, "v", 1);
	/* In pieces, cut inside a value. */
	store_result(seq, last_vlsn, 7, RES_MORE, b.data, b.len - 2);
	turn();
	is_str(heard(a), "", "a piece is not a result");
	store_result(seq, last_vlsn, 7, 0, b.data + b.len - 2, 2);
	turn();
	is_str(heard(a),
	    "*5\r\n+OK\r\n+PONG\r\n:1\r\n$1\r\nv\r\n-ERR value is not an "
	    "integer or out of range\r\n+PONG\r\n",
	    "merged in order");
	vbuf_clear(&b);
	say(a, "MULTI\r\nSET k v\r\nEXEC\r\n");
	turn();
	wal_accept();
	value_nil_array(&b);
	store_result(gw.next_seq - 1, last_vlsn, 7, 0, b.data, b.len);
	turn();
	is_str(heard(a), "+OK\r\n+QUEUED\r\n*-1\r\n", "aborted by WATCH");
	vbuf_free(&b);
	say(a, "MULTI\r\nGET\r\nSET k v\r\nEXEC\r\nEXEC\r\nDISCARD\r\n");
	is_str(heard(a),
	    "+OK\r\n-ERR wrong number of arguments for 'get' command\r\n"
	    "+QUEUED\r\n-EXECABORT Transaction discarded because of previous "
	    "errors.\r\n-ERR EXEC without MULTI\r\n"
	    "-ERR DISCARD without MULTI\r\n",
	    "spoiled");
	say(a, "MULTI\r\nPING\r\nECHO x\r\nEXEC\r\n");
	is_str(heard(a),
	    "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$1\r\nx\r\n",
	    "without the store");
	gone(a);
}

/* The ring and the window fill up: who cannot write waits, in order. */
static void
test_full(void)
{
	struct conn *a = client(), *b = client();
	unsigned sent = 0, answered = 0, rounds = 0;
	const char *text;

	while (a->park == PARK_NOT && sent < 100000) {
		say(a, "SET key vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n");
		sent++;
	}
	is_u64(a->park, PARK_RING, "the ring is full");
	say(b, "PING\r\nSET k v\r\nPING\r\n");
	is_str(heard(b), "+PONG\r\n", "who does not write is served");
	is_u64(b->park, PARK_RING, "who writes waits");
	turn();
	is_u64(atomic_load(&region.slots->row[SLOT_GATEWAY].busy_with),
	    BUSY_REQUEST, "and it says so");
	ok(!gw_write_pending(&gw), "nothing to do until there is room");
	ok(owed() != 0 && owed() < gw.io.loop.now_ns, "a write waits");
	while ((a->park != PARK_NOT || b->park != PARK_NOT ||
		   gw.oldest_seq != gw.next_seq) &&
	       rounds++ < 100) {
		wal_accept();
		commit(last_vlsn);
		turn();
		for (text = heard(a); *text != '\0'; text += 5)
			answered += memcmp(text, "+OK\r\n", 5) == 0;
	}
	is_u64(answered, sent, "all are answered, once");
	is_str(heard(b), "+OK\r\n+PONG\r\n", "the other one, too");
	turn();
	is_u64(atomic_load(&region.slots->row[SLOT_GATEWAY].busy_with),
	    BUSY_NOT, "not held back any more");
	is_u64(owed(), 0, "no write waits");
	gone(a);
	gone(b);
}

#define MSET_SIZE 26u /* of MSET k v, as an operation */
#define MANY      3000 /* pairs: more than one turn builds */
#define LONG      "-ERR request is longer than 1 GiB\r\n"

/* No payload is longer than the store takes; here it takes little. */
static void
test_long(void)
{
	struct conn *a = client();
	struct vbuf b = { 0 };
	uint8_t *text;
	struct seen s;
	size_t i;

	gw.request_max = MSET_SIZE - 1;
	say(a, "MSET k v\r\nMULTI\r\nMSET k v\r\nEXEC\r\nPING\r\n");
	turn();
	is_str(heard(a), LONG "+OK\r\n+QUEUED\r\n" LONG "+PONG\r\n",
	    "a request that is too long is refused");
	text = vbuf_add(&b, 4 + MANY * 4 + 2);
	memcpy(text, "MSET", 4);
	for (i = 1; i <= MANY; i++)
		memcpy(text + i * 4, " k v", 4);
	memcpy(text + i * 4, "\r\n", 2);
	say_bytes(a, &b);
	vbuf_clear(&b);
	turn();
	is_str(heard(a), LONG, "so is one that takes a while to build");
	ok(!wal_take(&s), "wal gets nothing of them");
	gw.request_max = MSET_SIZE;
	say(a, "MSET k v\r\n");
	turn();
	is_u64(wal_accept(), 1, "one that is just as long is not");
	commit(last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n", "and answered");
	gw.request_max = 8 + 4 + MSET_SIZE - 1;
	say(a, "MULTI\r\nMSET k v\r\nEXEC\r\n");
	turn();
	is_str(heard(a), "+OK\r\n+QUEUED\r\n" LONG,
	    "of a transaction all of it counts");
	gw.request_max++;
	say(a, "MULTI\r\nMSET k v\r\nEXEC\r\n");
	turn();
	is_u64(wal_accept(), 1, "just as long");
	commit(last_vlsn);
	value_array(&b, 1);
	value_ok(&b);
	store_result(gw.next_seq - 1, last_vlsn, 7, 0, b.data, b.len);
	turn();
	is_str(heard(a), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n", "and answered");
	gw.request_max = REQ_PAYLOAD_MAX;
	vbuf_free(&b);
	gone(a);
}

/*
 * Writes have waited for a checkpoint for long, and were refused. Who waits for
 * the ring since, as the log hangs, does not wait for room.
 */
static void
test_full_of_log(void)
{
	_Atomic uint32_t *busy = &region.slots->row[SLOT_GATEWAY].busy_with;
	struct fault f = { .object = "data.mdb", .effect = "writes wait" };
	uint64_t before = gw.io.loop.now_ns;
	struct conn *a = client();
	unsigned sent = 0, rounds = 0;

	while (a->park == PARK_NOT && sent++ < 100000)
		say(a, "SET key vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n");
	is_u64(a->park, PARK_RING, "the ring is full");
	position_set(&region.pos->room, 4000);
	trouble_begin(&region, TROUBLE_STORE_WAITS, &f);
	gw.io.loop.now_ns = mono_ns() + 60 * NS_PER_S;
	turn();
	is_u64(atomic_load(busy), BUSY_REQUEST, "and that is what it says");
	trouble_end(&region, TROUBLE_STORE_WAITS);
	position_set(&region.pos->room, TABLE_ROOM_ANY);
	gw.io.loop.now_ns = before;
	while ((a->park != PARK_NOT || gw.oldest_seq != gw.next_seq) &&
	       rounds++ < 100) {
		wal_accept();
		commit(last_vlsn);
		turn();
		(void)heard(a);
	}
	is_u64(gw.oldest_seq, gw.next_seq, "all are answered");
	gone(a);
}

/* The store waits for a checkpoint: writes wait in front of the log. */
static void
test_held(void)
{
	struct conn *a = client(), *b = client();
	struct seen seen = { 0 };

	position_set(&region.pos->room, 0);
	say(a, "SET k v\r\nPING\r\n");
	say(b, "PING\r\nMSET j w\r\n");
	is_str(heard(b), "+PONG\r\n", "who does not write is served");
	turn();
	ok(!wal_take(&seen), "nothing is appended");
	is_u64(a->park, PARK_RING, "a write waits");
	is_u64(b->park, PARK_RING, "the next one, too");
	is_u64(atomic_load(&region.slots->row[SLOT_GATEWAY].busy_with),
	    BUSY_TABLE, "and it says what for");
	ok(!gw_write_pending(&gw), "nothing to do until that is over");
	position_set(&region.pos->room, TABLE_ROOM_ANY);
	ok(gw_write_pending(&gw), "now there is");
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n+PONG\r\n", "it is answered");
	is_str(heard(b), "+OK\r\n", "in turn");
	gone(a);
	gone(b);
}

/* What is not applied reaches no further than there is room. */
static void
test_reach(void)
{
	struct conn *a = client(), *b = client(), *d = client();
	uint64_t share = table_share(&region.table->gen[0]);
	uint32_t flushed;
	uint64_t others;
	char value[3000], set[3100];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	snprintf(set, sizeof(set), "SET k %s\r\n", value);
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->room, share);
	others = share - 2 * sizeof(value) - 200;
	gw.reach.bytes += others;
	say(a, set);
	say(b, set);
	ok(a->park == PARK_NOT && b->park == PARK_NOT, "two fit");
	say(a, set);
	is_u64(a->park, PARK_RING, "a third waits");
	say(b, "SET k v\r\n");
	is_u64(b->park, PARK_RING, "nobody goes before it");
	flushed = gw.next_seq;
	say(d, "FLUSHALL\r\n");
	is_u64(d->park, PARK_NOT, "but a FLUSHALL");
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	ok(!gw_write_pending(&gw), "committed is not applied");
	ok(position_get(&region.pos->apply_wanted) != 0, "which is asked for");
	store_int(flushed, 0);
	position_set(&region.pos->applied, last_vlsn - 2);
	ok(gw_write_pending(&gw), "one is");
	turn();
	ok(a->park == PARK_NOT && b->park == PARK_NOT, "both go on");
	turn();
	wal_accept();
	commit(last_vlsn);
	position_set(&region.pos->applied, last_vlsn);
	turn();
	ok(gw.reach.count != 0, "until somebody asks");
	gw.reach.bytes += share;
	position_set(&region.pos->room, share - 1);
	say(a, set);
	is_u64(a->park, PARK_RING, "one that is larger than all waits");
	position_set(&region.pos->room, share);
	turn();
	is_u64(a->park, PARK_NOT, "until it has the table for itself");
	say(b, "SET k v\r\n");
	is_u64(b->park, PARK_RING, "and others wait for it");
	position_set(&region.pos->refuses, REFUSES_GROWTH);
	turn();
	ok(strstr(heard(b), "-ERR the store was full") != NULL,
	    "or are refused, and told to try again if nothing tells why");
	position_set(&region.pos->refuses, REFUSES_NOTHING);
	position_set(&region.pos->room, TABLE_ROOM_ANY);
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	gw.reach.bytes -= others + share;
	gone(a);
	gone(b);
	gone(d);
}

/* A value larger than the ring travels in parts while others wait. */
static void
test_parts(void)
{
	size_t n = 3u << 20;
	char *value = malloc(n + 64);
	struct conn *a = client(), *b = client();
	unsigned rounds;
	int head;

	head =
	    snprintf(value, 64, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%zu\r\n", n);
	memset(value + head, 'v', n);
	memcpy(value + head + n, "\r\n", 2);
	for (size_t at = 0; at < (size_t)head + n + 2; at += 8000) {
		size_t left = (size_t)head + n + 2 - at;

		gw_conn_input(&gw.io, a, (uint8_t *)value + at,
		    left < 8000 ? left : 8000);
	}
	say(b, "SET k v\r\n");
	is_u64(b->park, PARK_RING, "nothing comes between parts");
	ok(gw.io.pool.used > n, "it is counted on its way");
	parts_seen = 0;
	for (rounds = 0; rounds < 100 && gw.oldest_seq != gw.next_seq;
	     rounds++) {
		turn();
		wal_accept();
		commit(last_vlsn);
	}
	is_u64(parts_seen, 24, "parts before the last one");
	is_str(heard(a), "+OK\r\n", "the big one");
	is_str(heard(b), "+OK\r\n", "the one behind it");
	free(value);
	gone(a);
	gone(b);
}

static void
test_gone(void)
{
	struct conn *a = client(), *b = client();
	uint32_t seq = gw.next_seq;

	say(a, "SET k v\r\nINCR n\r\nPING\r\n");
	say(b, "INCR n\r\n");
	turn();
	gone(a);
	wal_accept();
	commit(last_vlsn);
	store_int(seq + 1, 1);
	store_result(seq + 2, last_vlsn, 6, 0, "junk", 4);
	store_int(seq + 2, 2);
	turn();
	is_str(heard(b), ":2\r\n",
	    "answers to the gone and to the dead are dropped");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	gone(b);
	is_u64(gw.io.conn_count, 0, "nobody is left");
}

/* DBSIZE waits for what was written when it came, not for what came since. */
static void
test_count(void)
{
	struct conn *a = client();

	gw.kv_open_turn = true;
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn - 1);
	say(a, "DBSIZE\r\nPING\r\n");
	is_u64(a->park, PARK_COUNT, "the store is counting");
	commit(last_vlsn + 5);
	position_set(&region.pos->applied, last_vlsn + 5);
	position_set(&region.pos->resolved, last_vlsn);
	turn();
	is_str(heard(a), ":0\r\n+PONG\r\n", "counted as far as it asked");
	last_vlsn += 5;
	gw.kv_open_turn = false;
	gone(a);
}

/* What cannot be applied for long is not waited for any more. */
static void
test_hopeless(void)
{
	_Atomic uint32_t *store = &region.slots->row[SLOT_STORE].busy_with;
	struct fault f = { .object = "data.mdb", .effect = "reads wait" };
	struct conn *a = client(), *b = client();

	commit(++last_vlsn);
	position_set(&region.pos->applied, last_vlsn - 1);
	atomic_store(store, BUSY_TABLE);
	position_set(&region.pos->refuses, REFUSES_GROWTH);
	say(a, "GET k\r\nPING\r\n");
	is_u64(a->park, PARK_APPLY, "a read waits for what is written");
	ok(!gw_park_pending(&gw), "while a checkpoint may come");
	trouble_begin(&region, TROUBLE_STORE_WAITS, &f);
	ok(gw_park_pending(&gw), "when none does for long");
	turn();
	ok(strncmp(heard(a), "-ERR what was written is not applied", 36) == 0,
	    "it is answered");
	is_u64(a->park, PARK_NOT, "and the client goes on");
	say(b, "GET k\r\n");
	ok(strncmp(heard(b), "-ERR what was written is not applied", 36) == 0,
	    "the next one at once");
	ok(!gw_park_pending(&gw), "nobody is waited for");
	trouble_end(&region, TROUBLE_STORE_WAITS);
	position_set(&region.pos->refuses, REFUSES_NOTHING);
	atomic_store(store, BUSY_NOT);
	say(b, "GET k\r\n");
	is_u64(b->park, PARK_APPLY, "then it waits again");
	gone(a);
	gone(b);
	position_set(&region.pos->applied, last_vlsn);
}

/* What CLIENT LIST says that the client waits for. */
static bool
is_said_to_wait(struct conn *asks, const struct conn *c, const char *why)
{
	char id[32], want[32];
	const char *line;

	snprintf(id, sizeof(id), "id=%llu ", (unsigned long long)c->id);
	snprintf(want, sizeof(want), " waits=%s gateway=0\n", why);
	say(asks, "CLIENT LIST\r\n");
	line = strstr(heard(asks), id);
	return line != NULL && strstr(line, want) != NULL &&
	       strstr(line, want) < strchr(line, '\n');
}

/* Each reason to rest: its name, who counts it, what io is told. */
static void
test_reasons(void)
{
	static const struct {
		enum park why;
		const char *name;
		bool blocked;
		unsigned io;
	} reasons[] = { { PARK_ORDER, "order", false, 0 },
		{ PARK_APPLY, "apply", true, 0 },
		{ PARK_COUNT, "count", true, 0 },
		{ PARK_SYNC, "sync", true, 0 }, { PARK_TERM, "term", true, 0 },
		{ PARK_LEASE, "lease", true, 0 },
		{ PARK_COPIES, "copies", true, 0 },
		{ PARK_RING, "ring", true, CONN_OURS },
		{ PARK_OUTPUT, "output", false, CONN_UNREAD },
		{ PARK_TURN, "turn", false, CONN_OURS } };
	const unsigned told = CONN_OURS | CONN_UNREAD;
	struct conn *a = client(), *b = client();
	unsigned i;

	is_u64(NITEMS(reasons) + 1, PARK_COUNT_OF, "each, and not at rest");
	ok(is_said_to_wait(b, a, ""), "it waits for nothing");
	for (i = 0; i < NITEMS(reasons); i++) {
		gw_park(&gw, a, reasons[i].why);
		ok(is_said_to_wait(b, a, reasons[i].name), "it waits for %s",
		    reasons[i].name);
		is_u64(gw.blocked_count, reasons[i].blocked, "INFO counts");
		is_u64(a->flags & told, reasons[i].io, "io is told");
		gw_park_end(&gw, a);
		is_u64(gw.blocked_count | (a->flags & told), 0, "over");
	}
	gone(a);
	gone(b);
}

int
main(void)
{
	set_up();
	test_early();
	test_order();
	test_result_first();
	test_refused();
	test_park();
	test_mute();
	test_multi();
	test_long();
	test_full();
	test_full_of_log();
	test_held();
	test_reach();
	test_parts();
	test_gone();
	test_count();
	test_hopeless();
	gw_write_fini(&gw);
	position_set(&region.pos->commit_waited, 3);
	is_u64(gw_write_init(&gw), 0, "another life");
	is_u64(position_get(&region.pos->commit_waited), 2,
	    "clears what the one before has left behind");
	test_reasons();
	rig_end();
	return tap_done();
}
