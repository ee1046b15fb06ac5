/*
 * Results as the store sends them: cut anywhere, too long for the client, and
 * commands whose results would be too much for a record.
 */
#include "t/lib/gateway_rig.h"

/* A result may begin to come before what precedes it is known as committed. */
static void
test_half_result(void)
{
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	struct vbuf b = { 0 };

	say(a, "SET k v\r\nGETSET k w\r\nGETSET k x\r\n");
	turn();
	wal_accept();
	value_bulk(&b, "value", 5);
	store_result(seq + 1, last_vlsn - 1, 7, 0, b.data, b.len);
	store_result(seq + 2, last_vlsn, 7, RES_MORE, b.data, b.len - 2);
	turn();
	is_str(heard(a), "", "a result and a half wait for the write before");
	commit(last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n", "which goes out alone");
	store_result(seq + 2, last_vlsn, 7, 0, b.data + b.len - 2, 2);
	turn();
	is_str(heard(a), "$5\r\nvalue\r\n$5\r\nvalue\r\n", "then both");
	say(a, "GETSET k y\r\n");
	turn();
	wal_accept();
	commit(last_vlsn);
	vbuf_clear(&b);
	value_bulk(&b, "", 0);
	store_result(seq + 3, last_vlsn, 7, RES_MORE, b.data, 1);
	store_result(seq + 3, last_vlsn, 7, 0, b.data + 1, b.len - 1);
	turn();
	is_str(heard(a), "$0\r\n\r\n", "an empty one in two pieces");
	is_u64(a->node_count, 0, "nothing is owed");
	vbuf_free(&b);
	gone(a);
}

/* What one record cannot hold is refused before the append. */
static void
test_too_much(void)
{
	static const char error[] =
	    "-ERR this would change %u bytes or more at once, beyond [store] "
	    "max_record (1000); nothing was changed\r\n";
	uint64_t max_record = conf.store.max_record;
	struct conn *a = client();
	char want[300];
	uint32_t seq = gw.next_seq;

	conf.store.max_record = 1000;
	say(a, "SETRANGE k 960 v\r\n");
	snprintf(want, sizeof(want), error, 1000);
	is_u64(gw.next_seq - seq, 1, "what just fits is appended");
	say(a, "SETRANGE k 967 v\r\n");
	say(a, "MULTI\r\nSETRANGE k 440 v\r\nSETRANGE k 440 v\r\n");
	say(a, "FLUSHALL\r\nFLUSHALL\r\nEXEC\r\n");
	is_u64(gw.next_seq - seq, 1, "what does not is not");
	turn();
	is_u64(wal_accept(), 1, "wal sees one");
	commit(last_vlsn);
	store_int(seq, 961);
	turn();
	snprintf(want, sizeof(want), error, 1008);
	ok(strncmp(heard(a), ":961\r\n", 6) == 0, "the first is answered");
	say(a, "SETRANGE k 967 v\r\n");
	is_str(heard(a), want, "one command: an error with both sizes");
	say(a, "MULTI\r\nSETRANGE k 440 v\r\nSETRANGE k 440 v\r\n");
	say(a, "FLUSHALL\r\nFLUSHALL\r\n");
	heard(a);
	say(a, "EXEC\r\n");
	snprintf(want, sizeof(want), error, 1024);
	is_str(heard(a), want, "a transaction: all of it together");
	say(a, "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 1 k 2 l 3 m 4 n 5 "
	       "o 6 p 7 q 8 r 9 s 1 t 2 u 3 v 4 w 5 x 6 y 7 z 8\r\n");
	snprintf(want, sizeof(want), error, 26 * 40);
	is_str(heard(a), want, "MSET: no OK for what cannot be applied");
	say(a, "DEL k\r\nMULTI\r\nDEL k\r\nEXEC\r\n");
	is_u64(gw.next_seq - seq, 3, "what may change nothing is appended");
	conf.store.max_record = max_record;
	gone(a);
	turn();
	wal_accept();
	commit(last_vlsn);
	store_int(seq + 1, 0);
	store_int(seq + 2, 0);
	turn();
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
}

static void
multi_result(struct vbuf *b)
{
	value_array(b, 3);
	value_ok(b);
	value_bulk(b, "some value", 10);
	value_array(b, 2);
	value_error(b, "ERR no");
	value_int(b, -5);
}

/* However it is cut, it is the same reply. */
static void
test_cuts(void)
{
	static const char want[] = "*5\r\n+PONG\r\n+OK\r\n$10\r\nsome "
				   "value\r\n*2\r\n-ERR no\r\n:-5\r\n"
				   "$1\r\nx\r\n";
	struct conn *a = client();
	struct vbuf b = { 0 };
	unsigned same = 0;
	size_t cut;

	multi_result(&b);
	for (cut = 0; cut < b.len; cut++) {
		say(a, "MULTI\r\nPING\r\nSET k v\r\nGET k\r\nMGET k k\r\n"
		       "ECHO x\r\nEXEC\r\n");
		(void)heard(a);
		turn();
		(void)wal_accept();
		commit(last_vlsn);
		store_result(
		    gw.next_seq - 1, last_vlsn, 7, RES_MORE, b.data, cut);
		turn();
		ok(sink_len(&a->out) == 0, "not before it is whole");
		store_result(gw.next_seq - 1, last_vlsn, 7, 0, b.data + cut,
		    b.len - cut);
		turn();
		same += strcmp(heard(a), want) == 0;
	}
	is_u64(same, b.len, "the same reply, wherever it is cut");
	vbuf_free(&b);
	gone(a);
}

/* An answer longer than max_output, in pieces of 50,000 bytes. */
static void
long_result(struct conn *a, uint32_t bytes)
{
	static uint8_t piece[50000];
	uint8_t head[10] = { VAL_ARRAY, 1, 0, 0, 0, VAL_BULK };
	uint32_t sent;

	say(a, "MULTI\r\nINCR n\r\nEXEC\r\n");
	turn();
	(void)wal_accept();
	commit(last_vlsn);
	put_le32(head + 6, bytes);
	store_result(
	    gw.next_seq - 1, last_vlsn, 7, RES_MORE, head, sizeof(head));
	for (sent = 0; sent < 1000000; sent += sizeof(piece)) {
		store_result(gw.next_seq - 1, last_vlsn, 7,
		    sent + sizeof(piece) < 1000000 ? RES_MORE : 0, piece,
		    sizeof(piece));
		turn();
	}
}

static void
test_long_result(void)
{
	uint64_t max_output = conf.listen.max_output;
	struct conn *a = client(), *b = client();
	struct rlimit all, few;

	conf.listen.max_output = 100000;
	long_result(a, 1000000);
	is_str(heard(a),
	    "+OK\r\n+QUEUED\r\n-" GW_TOO_LONG ", but it was carried out\r\n",
	    "a reply beyond max_output is an error in its place");
	say(b, "PING\r\n");
	is_str(heard(b), "+PONG\r\n", "another one is served");
	gone(a);
	a = client();
	conf.listen.max_output = UINT64_C(1) << 36;
#if defined(__SANITIZE_ADDRESS__)
	(void)all;
	(void)few;
	ok(1, "skipped: no limit of memory beside ASan");
#else
	getrlimit(RLIMIT_AS, &all);
	few = all;
	few.rlim_cur = UINT64_C(2) << 30;
	setrlimit(RLIMIT_AS, &few);
	long_result(a, UINT32_MAX - 100);
	setrlimit(RLIMIT_AS, &all);
	is_str(heard(a), "+OK\r\n+QUEUED\r\n-ERR no memory for this reply\r\n",
	    "without memory it is an error to that client");
#endif
	conf.listen.max_output = max_output;
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	gone(a);
	gone(b);
}

int
main(void)
{
	set_up();
	test_too_much();
	test_half_result();
	test_cuts();
	test_long_result();
	rig_end();
	return tap_done();
}
