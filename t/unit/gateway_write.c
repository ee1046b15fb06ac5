/*
 * Writes and the order of replies, without sockets: clients' bytes go in, a
 * wal and a store that this test plays take the requests from the real rings
 * and answer, and what each client would be sent is compared.
 */
#include "workers/gateway/command.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/record.h"
#include "t/tap.h"
#include "workers/gateway/job.h"

static struct region region;
static struct worker worker;
static struct conf conf;
static struct gateway gw;
static struct bytering req, ret, res; /* the other sides */
static uint64_t last_vlsn;
static unsigned parts_seen;
static unsigned inexact; /* turns after which pool.used was not true */

/* A request as the played wal saw it. */
struct seen {
	uint32_t seq;
	uint8_t type, flags;
	size_t len;
	uint8_t head[64];
};

static void
be_master(void)
{
	struct commit_view view = { .term = 1,
		.epoch = 1,
		.role = ROLE_MASTER,
		.member_count = 1,
		.voters = 1,
		.quorum = 1,
		.lease_until_ns = UINT64_MAX };

	commit_view_write(region.commit, &view);
	position_set(&region.pos->term_start, epoch_word(1, 1));
	position_set(&region.pos->committed, epoch_word(1, 1));
	position_set(&region.pos->applied, 1);
	last_vlsn = 1;
}

static void
set_up(void)
{
	struct region_spec spec = { .node = "t",
		.group = "g",
		.data_dir = "/nowhere",
		.client_addr = "",
		.http_addr = "",
		.walbuf_size = 8 << 20,
		.table_size = 1 << 20,
		.gateway_count = 1 };
	static char dir[] = "/tmp/gateway_write.XXXXXX";
	char why[256] = "";

	if (mkdtemp(dir) == NULL)
		skip_all("mkdtemp");
	spec.run_dir = dir;
	if (region_create(&region, &spec, why, sizeof(why)) != 0)
		skip_all("region: %s", why);
	region_unlink(&region);
	(void)unlink((snprintf(why, sizeof(why), "%s/region", dir), why));
	(void)rmdir(dir);
	conf_defaults(&conf);
	worker.slot = SLOT_GATEWAY;
	worker.incarnation = 7;
	worker.region = &region;
	worker.conf = &conf;
	worker.bells.wakes = region.wakes;
	memset(worker.bells.fd, 0xff, sizeof(worker.bells.fd));
	gw.w = &worker;
	gw.r = &region;
	gw.slot = SLOT_GATEWAY;
	gw.client = CLIENT_GATEWAY;
	gw.incarnation = 7;
	gw.h_read = hist_of(region.hists, SLOT_GATEWAY, H_REQUEST_READ);
	gw.h_write = hist_of(region.hists, SLOT_GATEWAY, H_REQUEST_WRITE);
	gw.loop.region = &region;
	gw.loop.bells = &worker.bells;
	gw.loop.slot = SLOT_GATEWAY;
	gw.loop.now_ns = 1;
	gw.turn_end_ns = LOOP_NEVER;
	gw_command_init();
	if (gw_conn_init(&gw) != 0 || gw_write_init(&gw) != 0)
		skip_all("no memory");
	region_ring(&region, CLIENT_GATEWAY, RING_REQUEST, &req);
	region_ring(&region, CLIENT_GATEWAY, RING_RETURN, &ret);
	region_ring(&region, CLIENT_GATEWAY, RING_RESULT, &res);
	be_master();
}

static struct conn *
client(void)
{
	return gw_conn_new(&gw, dup(0), 0);
}

static void
gone(struct conn *c)
{
	close(c->fd);
	gw_conn_free(&gw, c);
}

static void
say(struct conn *c, const char *text)
{
	gw_conn_input(&gw, c, (const uint8_t *)text, strlen(text));
}

/* Is the pool told of all that is held? */
static bool
used_is_exact(void)
{
	size_t sum = chunk_bytes(gw.mute.c) + gw_big_bytes(&gw);
	const struct node *n;
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(&gw); i++)
		if ((c = gw_conn_at(&gw, i)) != NULL)
			sum += gw_memory_of(&gw, c);
	for (i = 0; i < gw.node_cap; i++) {
		n = &gw.nodes[i];
		if (n->kind != NODE_FREE && n->conn == GW_NONE)
			sum += chunk_bytes(n->sink.c) + gw_exec_bytes(n->exec);
	}
	return sum == gw.pool.used;
}

static void
turn(void)
{
	gw.loop.now_ns++;
	gw_write_turn(&gw);
	gw_conn_wake(&gw);
	/* This clock is not the one that ends a turn's share. */
	gw.turn_end_ns = LOOP_NEVER;
	gw_write_publish(&gw);
	inexact += !used_is_exact();
}

/* What the client would have been sent since the last look. */
static const char *
heard(struct conn *c)
{
	static char text[1 << 16];
	size_t n = sink_len(&c->out);

	if (n >= sizeof(text))
		n = sizeof(text) - 1;
	if (n != 0)
		memcpy(text, c->out.c->data, n);
	text[n] = '\0';
	sink_reset(&c->out);
	return text;
}

/* wal: the next request, or false. */
static bool
wal_take(struct seen *s)
{
	struct wal_req head;
	const uint8_t *at;
	uint32_t len;

	if ((at = bytering_peek(&req, &len)) == NULL)
		return false;
	memcpy(&head, at, sizeof(head));
	s->seq = head.seq;
	s->type = head.type;
	s->flags = head.flags;
	s->len = len - sizeof(head);
	memcpy(s->head, at + sizeof(head),
	    s->len < sizeof(s->head) ? s->len : sizeof(s->head));
	bytering_advance(&req, len);
	bytering_consume(&req);
	return true;
}

static void
wal_return(uint32_t seq, uint32_t count, uint64_t vlsn, unsigned status)
{
	struct wal_ret r = { .len = sizeof(r),
		.seq = seq,
		.count = count,
		.incarnation = 7,
		.vlsn = vlsn,
		.status = status };
	void *at = bytering_reserve(&ret, sizeof(r));

	memcpy(at, &r, sizeof(r));
	bytering_publish(&ret);
}

static void
commit(uint64_t vlsn)
{
	position_set(&region.pos->committed, epoch_word(1, vlsn));
}

/* wal: take all there is as accepted; how many requests that were. */
static unsigned
wal_accept(void)
{
	uint64_t run_vlsn = 0;
	uint32_t run_seq = 0;
	unsigned n = 0, run = 0;
	struct seen s;

	while (wal_take(&s)) {
		last_vlsn++;
		if ((s.flags & REQ_MORE) != 0) {
			parts_seen++;
			continue;
		}
		if (run == 0 || run_vlsn + run != last_vlsn) {
			if (run != 0)
				wal_return(run_seq, run, run_vlsn, RET_OK);
			run_seq = s.seq;
			run_vlsn = last_vlsn;
			run = 0;
		}
		run++;
		n++;
	}
	if (run != 0)
		wal_return(run_seq, run, run_vlsn, RET_OK);
	return n;
}

static void
store_result(uint32_t seq, uint64_t vlsn, uint32_t incarnation, uint8_t flags,
    const void *values, size_t n)
{
	struct store_res r = { .seq = seq,
		.incarnation = incarnation,
		.flags = flags,
		.vlsn = vlsn };
	uint8_t *at = bytering_reserve(&res, (uint32_t)(sizeof(r) + n));

	r.len = (uint32_t)(sizeof(r) + n);
	memcpy(at, &r, sizeof(r));
	memcpy(at + sizeof(r), values, n);
	bytering_publish(&res);
}

static void
store_int(uint32_t seq, int64_t v)
{
	struct vbuf b = { 0 };

	value_int(&b, v);
	store_result(seq, last_vlsn, 7, 0, b.data, b.len);
	vbuf_free(&b);
}

/* ---- cases ---- */

static void
test_early(void)
{
	struct conn *a = client(), *b = client();
	uint32_t first = gw.next_seq;

	say(a, "SET k1 v\r\nSET k2 v EX 100\r\nMSET k3 v k4 v\r\n");
	say(b, "SETEX k5 100 v\r\n");
	is_u64(gw.next_seq - first, 4, "four requests");
	is_u64(a->node_count, 1, "a run of one client is one node");
	is_u64(position_get(&region.pos->commit_waited), 1,
	    "commit is waited for");
	turn();
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
	wal_return(s.seq, 1, 0, RET_NOSPACE);
	turn();
	is_str(heard(a),
	    "-ERR no space on the volume that holds the log; nothing was "
	    "written\r\n",
	    "no space");
	gone(a);
}

/*
 * The log fails behind the first of five: what it had appended has no known
 * outcome, whoever would have answered it, what it refused was not written.
 */
static void
test_log_failed(void)
{
	static const char refused[] =
	    "-LOGFAILED the log is closed; nothing was written\r\n";
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	struct seen s;
	const char *got;
	size_t at;

	say(a, "SET k v\r\nSET k v\r\nSET k v\r\nINCR n\r\nINCR n\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(seq, 2, last_vlsn + 1, RET_OK);
	wal_return(seq + 2, 1, 0, RET_LOG_FAILED);
	wal_return(seq + 3, 1, last_vlsn + 3, RET_OK);
	wal_return(seq + 4, 1, 0, RET_LOG_FAILED);
	commit(++last_vlsn);
	atomic_store(&region.control->wal_failed, last_vlsn + 1);
	ok(gw_write_pending(&gw), "it is noticed");
	turn();
	got = heard(a);
	ok(strncmp(got, "+OK\r\n-UNKNOWNOUTCOME ", 21) == 0,
	    "one was on disk, the next may be");
	at = strcspn(got + 5, "\n") + 6;
	ok(strncmp(got + at, refused, strlen(refused)) == 0,
	    "the third was refused");
	at += strlen(refused);
	ok(strncmp(got + at, "-UNKNOWNOUTCOME ", 16) == 0,
	    "so may what the store would have answered");
	at += strcspn(got + at, "\n") + 1;
	is_str(got + at, refused, "and the last was refused");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	ok(!gw_write_pending(&gw), "nothing is left to do");
	atomic_store(&region.control->wal_failed, 0);
	turn();

	/* One that was answered when it had its place in memory. */
	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	seq = gw.next_seq;
	say(a, "SET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	position_set(&region.pos->appended, last_vlsn + 1);
	wal_return(seq, 1, last_vlsn + 1, RET_OK);
	turn();
	is_str(heard(a), "+OK\r\n", "no_sync: it is answered");
	atomic_store(&region.control->wal_failed, last_vlsn + 1);
	turn();
	say(a, "SET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(seq + 1, 1, 0, RET_LOG_FAILED);
	turn();
	is_str(heard(a), refused, "the next is refused");
	ok(a->last_vlsn <= last_vlsn && gw_write_acked(&gw) <= last_vlsn,
	    "and no read waits for what is lost");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	position_set(&region.pos->appended, last_vlsn);
	atomic_store(&region.control->wal_failed, 0);
	turn();
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
	gone(a);
	gone(b);
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

		gw_conn_input(
		    &gw, a, (uint8_t *)value + at, left < 8000 ? left : 8000);
	}
	say(b, "SET k v\r\n");
	is_u64(b->park, PARK_RING, "nothing comes between parts");
	ok(gw.pool.used > n, "it is counted on its way");
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

/* Bytes of any length, as they would be received. */
static void
say_bytes(struct conn *c, const struct vbuf *b)
{
	size_t at, n;

	for (at = 0; at < b->len; at += n) {
		n = b->len - at < 8000 ? b->len - at : 8000;
		gw_conn_input(&gw, c, b->data + at, n);
	}
}

/* A SET of n bytes. */
static void
say_big(struct conn *c, size_t n)
{
	struct vbuf text = { 0 };
	char head[64];
	int len = snprintf(
	    head, sizeof(head), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", n);

	vbuf_put(&text, head, (size_t)len);
	memset(vbuf_add(&text, n), 'v', n);
	vbuf_put(&text, "\r\n", 2);
	say_bytes(c, &text);
	vbuf_free(&text);
}

/* Who writes little does not wait for all that write much. */
static void
test_turns_of_big(void)
{
	struct conn *big[3] = { client(), client(), client() };
	struct conn *small = client();
	unsigned i, done = 0, rounds = 0;

	for (i = 0; i < NITEMS(big); i++)
		say_big(big[i], 2u << 20);
	say(small, "SET k v\r\n");
	is_u64(gw.stalled_count, 3, "one is under way, the others wait");
	while (sink_len(&small->out) == 0 && rounds++ < 100) {
		turn();
		wal_accept();
		commit(last_vlsn);
	}
	for (i = 0; i < NITEMS(big); i++)
		done += sink_len(&big[i]->out) != 0;
	ok(done <= 1, "the small one is answered behind %u of three", done);
	for (rounds = 0; gw.oldest_seq != gw.next_seq && rounds < 100;
	     rounds++) {
		turn();
		wal_accept();
		commit(last_vlsn);
	}
	for (i = 0; i < NITEMS(big); i++)
		is_str(heard(big[i]), "+OK\r\n", "so are they");
	say_big(big[0], 2u << 20);
	for (i = 0; i < 20000; i++)
		say(small, "SET k v\r\n");
	say_big(big[1], 2u << 20);
	turn();
	gw.big_next = true;
	is_u64(gw.stalled_count, 2, "a small one with much to do");
	while (gw.stalled_count == 2 && rounds++ < 200) {
		wal_accept();
		commit(last_vlsn);
		turn();
	}
	ok(gw.big.payload != NULL && small->park == PARK_RING,
	    "does not keep out the big one for ever");
	for (rounds = 0; gw.oldest_seq != gw.next_seq && rounds < 200;
	     rounds++) {
		wal_accept();
		commit(last_vlsn);
		turn();
		(void)heard(small);
	}
	for (i = 0; i < NITEMS(big); i++)
		gone(big[i]);
	gone(small);
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
	is_u64(gw.conn_count, 0, "nobody is left");
}

static void
test_roles(void)
{
	struct commit_view view, old;
	struct conn *a = client();

	commit_view_read(region.commit, &old);
	view = old;
	view.role = ROLE_UNKNOWN;
	commit_view_write(region.commit, &view);
	say(a, "SET k v\r\nGET k\r\nPING\r\n");
	is_str(heard(a),
	    "-NOMASTER no master known\r\n-NOMASTER no master known\r\n"
	    "+PONG\r\n",
	    "no master");
	view.readonly = 1;
	commit_view_write(region.commit, &view);
	say(a, "SET k v\r\n");
	is_str(heard(a), "-READONLY this node is in readonly recovery\r\n",
	    "readonly recovery");
	commit_view_write(region.commit, &old);
	gone(a);
}

/* A read that comes before the term's first record is committed. */
static void
test_term(void)
{
	struct commit_view view, old;
	struct conn *a = client();

	commit_view_read(region.commit, &old);
	position_set(&region.pos->term_start, epoch_word(0, 1));
	say(a, "GET k\r\n");
	is_u64(a->park, PARK_TERM, "a read waits for the term to begin");
	is_u64(position_get(&region.pos->commit_waited), 1,
	    "wal is to ring when committed moves");
	ok(!gw_conn_wake_pending(&gw) && gw.sync_deadline_ns == LOOP_NEVER,
	    "and nothing ticks meanwhile");
	view = old;
	view.role = ROLE_UNKNOWN;
	commit_view_write(region.commit, &view);
	ok(gw_conn_wake_pending(&gw), "a lost role ends the wait");
	turn();
	is_str(heard(a), "-NOMASTER no master known\r\n", "with an error");
	is_u64(position_get(&region.pos->commit_waited), 0, "nobody waits");
	commit_view_write(region.commit, &old);
	position_set(&region.pos->term_start, epoch_word(1, last_vlsn + 1));
	say(a, "GET k\r\n");
	is_u64(a->park, PARK_TERM, "its first record is not committed");
	commit(++last_vlsn);
	ok(gw_conn_wake_pending(&gw), "it is");
	turn();
	is_u64(a->park, PARK_APPLY, "now it must be applied");
	is_u64(a->wait_vlsn, last_vlsn, "that one");
	is_u64(position_get(&region.pos->apply_wanted), last_vlsn,
	    "the store knows");
	gone(a);
	position_set(&region.pos->term_start, epoch_word(1, 1));
}

/* Answers that do not wait for the flush: what reads and WAIT wait for. */
static void
test_levels(void)
{
	struct conn *a = client(), *b = client();
	uint32_t seq = gw.next_seq;

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	say(a, "SET k v\r\nSET k v\r\n");
	turn();
	while (wal_take(&(struct seen){ 0 }))
		;
	wal_return(seq, 1, ++last_vlsn, RET_OK);
	wal_return(seq + 1, 1, 0, RET_NOSPACE);
	position_set(&region.pos->appended, last_vlsn);
	turn();
	ok(strncmp(heard(a), "+OK\r\n-ERR no space", 18) == 0,
	    "answered, not committed");
	is_u64(a->last_vlsn, last_vlsn, "the refused one hides nothing");
	say(b, "GET k\r\n");
	is_u64(b->park, PARK_APPLY, "another client's read waits for it");
	is_u64(b->wait_vlsn, last_vlsn, "for what was answered");
	say(a, "WAIT 0 0\r\n");
	is_u64(a->park, PARK_SYNC, "WAIT waits for the flush");
	is_u64(position_get(&region.pos->commit_waited), 1, "wal knows");
	commit(last_vlsn);
	turn();
	is_str(heard(a), ":0\r\n", "committed");
	is_u64(position_get(&region.pos->commit_waited), 0, "nobody waits");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	gone(a);
	gone(b);
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

static void
test_limits(void)
{
	struct conn *a = client();
	char text[2048], key[600];

	memset(key, 'k', sizeof(key));
	snprintf(text, sizeof(text), "SET %.512s v\r\nSET %.512s v EX 5\r\n",
	    key, key);
	say(a, text);
	is_str(heard(a),
	    "-ERR key is longer than 511 bytes\r\n"
	    "-ERR key is longer than 511 bytes\r\n",
	    "a key too long");
	conf.store.max_value = 1024;
	snprintf(text, sizeof(text), "SET k %.*s%.*s\r\n", 512, key, 513, key);
	say(a, text);
	is_str(
	    heard(a), "-ERR value exceeds max_value\r\n", "a value too long");
	say(a, "SET k v EX 0\r\nSET k v EX 9223372036854775807\r\n"
	       "SETEX k -1 v\r\nSET k v NX XX\r\nSET k v EX 5 KEEPTTL\r\n"
	       "SET k v BAD\r\nSET k\r\nEXPIRE k 1 NX XX\r\nDECRBY k x\r\n"
	       "NOSUCH a b\r\n");
	is_str(heard(a),
	    "-ERR invalid expire time in 'set' command\r\n"
	    "-ERR invalid expire time in 'set' command\r\n"
	    "-ERR invalid expire time in 'setex' command\r\n"
	    "-ERR syntax error\r\n-ERR syntax error\r\n-ERR syntax error\r\n"
	    "-ERR wrong number of arguments for 'set' command\r\n"
	    "-ERR NX and XX, GT or LT options at the same time are not "
	    "compatible\r\n"
	    "-ERR value is not an integer or out of range\r\n"
	    "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "
	    "\r\n",
	    "errors in Redis' words");
	conf.store.max_value = 16 << 20;
	snprintf(conf.security.password, sizeof(conf.security.password), "pw");
	gone(a);
	a = client();
	say(a, "GET k\r\nAUTH no\r\nPING\r\nAUTH pw\r\nPING\r\n");
	is_str(heard(a),
	    "-NOAUTH Authentication required.\r\n"
	    "-WRONGPASS invalid username-password pair or user is "
	    "disabled.\r\n-NOAUTH Authentication required.\r\n+OK\r\n"
	    "+PONG\r\n",
	    "a password");
	conf.security.password[0] = '\0';
	say(a, "*1\r\n$-5\r\nPING\r\n");
	is_str(heard(a), "-ERR Protocol error: invalid bulk length\r\n",
	    "a protocol error");
	ok((a->flags & CONN_LAST) != 0, "is the last thing");
	say(a, "PING\r\n");
	is_str(heard(a), "", "nothing more is served");
	gone(a);
}

/* A turn's share of time: what it does not suffice for rests. */
static void
test_share(void)
{
	struct conn *a = client(), *b = client(), *c = client();
	char text[200 * 6 + 1] = "";
	size_t first;
	unsigned i;

	for (i = 0; i < 200; i++)
		memcpy(text + (size_t)i * 6, "PING\r\n", 7);
	gw.turn_end_ns = 1;
	say(a, text);
	first = strlen(heard(a));
	is_u64(a->park, PARK_TURN, "the share is used up");
	ok(first >= 7 && first < 200 * 7, "within %zu replies", first / 7);
	say(b, "PING\r\n");
	say(c, "PING\r\n");
	ok(b->park == PARK_TURN && sink_len(&b->out) == 0, "who comes rests");
	is_u64(gw.resting_count, 3, "three of them");
	gone(c);
	is_u64(gw.resting_count, 2, "one leaves");
	ok(gw_conn_wake_pending(&gw), "there is more to do");
	for (i = 0; i < 1000 && gw.resting_count != 0; i++)
		turn();
	is_u64(first + strlen(heard(a)), 200 * 7, "the rest is answered");
	is_str(heard(b), "+PONG\r\n", "and the other");
	ok(a->in == NULL && b->in == NULL, "no input is left");
	gone(a);
	gone(b);
}

/* ---- what takes more than one turn ---- */

#define LONG_KEYS 10000u

static void
put_arg(struct vbuf *b, const char *text)
{
	char head[32];
	int n = snprintf(head, sizeof(head), "$%zu\r\n", strlen(text));

	vbuf_put(b, head, (size_t)n);
	vbuf_put(b, text, strlen(text));
	vbuf_put(b, "\r\n", 2);
}

/* Name and so many keys. */
static void
put_keys(struct vbuf *b, const char *name, unsigned count)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "*%u\r\n", count + 1);
	unsigned i;

	vbuf_put(b, text, (size_t)n);
	put_arg(b, name);
	for (i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "k%u", i);
		put_arg(b, text);
	}
}

/* Is all that the gateway holds held by somebody who can be closed for it? */
static bool
all_is_somebodys(void)
{
	size_t sum = chunk_bytes(gw.mute.c);
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(&gw); i++)
		if ((c = gw_conn_at(&gw, i)) != NULL)
			sum += gw_memory_of(&gw, c);
	return sum == gw.pool.used;
}

/* The least that a turn gives it: up to the next look at the clock. */
static void
crumb(struct conn *c)
{
	gw.turn_end_ns = 1;
	gw.turn_over = false;
	gw_conn_resume(&gw, c);
	gw.turn_over = false;
	gw.turn_end_ns = LOOP_NEVER;
}

/* Crumb by crumb, until it is over or rests for another reason. */
static unsigned
crumbs(struct conn *c)
{
	unsigned n = 0;

	for (; c->park == PARK_TURN && n < 100000; n++) {
		if (n % 64 == 0)
			ASSERT(all_is_somebodys());
		crumb(c);
	}
	return n;
}

/* Says it: the share of the turn is used up at the first look, if asked. */
static void
say_slowly(struct conn *c, const struct vbuf *b, bool slowly)
{
	if (slowly)
		gw.turn_end_ns = 1;
	say_bytes(c, b);
	gw.turn_over = false;
	gw.turn_end_ns = LOOP_NEVER;
}

/* Who sends a little is not served behind all that have a lot to do. */
static void
test_slices(void)
{
	enum { MANY = 100 };
	struct conn *c[MANY], *a;
	unsigned i, turns = 0, works = 0, left = 0;
	struct vbuf text = { 0 };

	put_keys(&text, "MSET", 2 * LONG_KEYS);
	for (i = 0; i < MANY; i++) {
		c[i] = client();
		say_slowly(c[i], &text, true);
		works += (c[i]->flags & CONN_WORKS) != 0;
	}
	is_u64(works, MANY, "many rest with a long command");
	a = client();
	gw.turn_over = true;
	say(a, "PING\r\n");
	is_u64(a->park, PARK_TURN, "behind them comes a short one");
	gw.turn_over = false;
	turn();
	for (i = 0; i < MANY; i++)
		left += c[i]->park == PARK_TURN;
	is_str(heard(a), "+PONG\r\n", "served before they are done");
	ok(left > MANY / 2, "%u of them are not", left);
	a->flags |= CONN_REPLY_OFF;
	for (; gw.resting_count != 0 && turns < 10000; turns++) {
		gw.turn_over = true;
		say(a, "PING\r\n");
		gw.turn_over = false;
		turn();
	}
	ok(gw.resting_count == 0 && gw.working_count == 0,
	    "nor are they behind who always comes: %u turns", turns);
	for (i = 0; i < MANY; i++)
		gone(c[i]);
	gone(a);
	while (gw.oldest_seq != gw.next_seq) {
		wal_accept();
		commit(last_vlsn);
		turn();
	}
	vbuf_free(&text);
}

/* Of long requests one is held twice. */
static void
test_one_is_made(void)
{
	struct conn *a = client(), *b = client();
	struct vbuf text = { 0 };
	unsigned rounds = 0;

	put_keys(&text, "MSET", 8 * LONG_KEYS);
	say_slowly(a, &text, true);
	say_slowly(b, &text, true);
	while (a->job == NULL && a->park == PARK_TURN)
		crumb(a);
	is_u64(a->park, PARK_TURN, "a long request is made in turns");
	(void)crumbs(b);
	is_u64(b->park, PARK_RING, "another one waits for that");
	while (gw.oldest_seq != gw.next_seq || gw.stalled_count != 0 ||
	       gw.resting_count != 0) {
		turn();
		wal_accept();
		commit(last_vlsn);
		ASSERT(rounds++ < 10000);
	}
	is_str(heard(a), "+OK\r\n", "it is answered");
	is_str(heard(b), "+OK\r\n", "and the other");
	say_slowly(a, &text, true);
	say_slowly(b, &text, true);
	while (a->job == NULL && a->park == PARK_TURN)
		crumb(a);
	gone(a);
	(void)crumbs(b);
	ok(b->park != PARK_RING, "who is gone makes none");
	while (gw.oldest_seq != gw.next_seq) {
		turn();
		wal_accept();
		commit(last_vlsn);
	}
	gone(b);
	vbuf_free(&text);
}

/* The next request's payload, from all its parts. */
static struct vbuf
wal_payload(uint32_t *seq)
{
	struct vbuf all = { 0 };
	struct wal_req head;
	const uint8_t *at;
	uint32_t len;

	do {
		turn();
		if ((at = bytering_peek(&req, &len)) == NULL)
			break;
		memcpy(&head, at, sizeof(head));
		vbuf_put(&all, at + sizeof(head), len - sizeof(head));
		bytering_advance(&req, len);
		bytering_consume(&req);
	} while ((head.flags & REQ_MORE) != 0);
	*seq = head.seq;
	wal_return(head.seq, 1, ++last_vlsn, RET_OK);
	commit(last_vlsn);
	return all;
}

static void
same_payload(struct vbuf *a, struct vbuf *b, const char *name)
{
	ok(a->len == b->len && a->len > LONG_KEYS &&
		memcmp(a->data, b->data, a->len) == 0,
	    "%s: the same record of %zu bytes", name, a->len);
	vbuf_free(a);
	vbuf_free(b);
}

static void
test_long_request(void)
{
	struct conn *a = client(), *b = client();
	struct vbuf text = { 0 }, whole, parts;
	const uint8_t *where;
	uint32_t seq;

	put_keys(&text, "DEL", LONG_KEYS);
	say_slowly(a, &text, false);
	whole = wal_payload(&seq);
	store_int(seq, 1);
	turn();
	is_str(heard(a), ":1\r\n", "in one turn");
	seq = gw.next_seq;
	say_slowly(a, &text, true);
	while (a->park == PARK_TURN && a->in->argv == NULL)
		crumb(a);
	is_u64(a->park, PARK_TURN, "a long request takes turns");
	where = a->in->bytes.c->data;
	say(b, "PING\r\n");
	is_str(heard(b), "+PONG\r\n", "another client is served meanwhile");
	say(a, "PING\r\nPING\r\n");
	ok(a->in->bytes.c->data == where && sink_len(&a->in->behind) == 12,
	    "its bytes stay where they are");
	is_u64(gw.next_seq, seq, "nothing is appended yet");
	ok(crumbs(a) > 2, "several of them");
	ok(a->in == NULL && a->job == NULL, "then nothing is left of it");
	parts = wal_payload(&seq);
	same_payload(&whole, &parts, "DEL");
	store_int(seq, 9);
	turn();
	is_str(heard(a), ":9\r\n+PONG\r\n+PONG\r\n", "what came behind it");
	vbuf_free(&text);
	gone(a);
	gone(b);
}

static struct vbuf
exec_payload(struct conn *a, struct vbuf *text, bool slowly, unsigned *pauses)
{
	struct vbuf all, short_one = { 0 };
	unsigned i, n = 0;
	uint32_t seq;

	say(a, "MULTI\r\nPING\r\n");
	for (i = 0; i < 3; i++) {
		say_slowly(a, text, slowly);
		n += crumbs(a);
	}
	(void)heard(a);
	if (slowly)
		gw.turn_end_ns = 1;
	say(a, "EXEC\r\n");
	gw.turn_over = false;
	gw.turn_end_ns = LOOP_NEVER;
	*pauses = n + crumbs(a);
	all = wal_payload(&seq);
	/* Two of three values. */
	value_array(&short_one, 3);
	value_int(&short_one, 1);
	value_ok(&short_one);
	store_result(seq, last_vlsn, 7, 0, short_one.data, short_one.len);
	vbuf_free(&short_one);
	turn();
	return all;
}

/* Who goes in the middle leaves nothing, wherever that is. */
static void
leave_after(struct vbuf *text, unsigned left)
{
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	struct vbuf all;

	say(a, "MULTI\r\n");
	say_slowly(a, text, true);
	for (; a->park == PARK_TURN && left > 0; left--)
		crumb(a);
	if (a->park == PARK_NOT) {
		gw.turn_end_ns = 1;
		say(a, "EXEC\r\n");
		gw.turn_over = false;
		gw.turn_end_ns = LOOP_NEVER;
	}
	for (; a->park == PARK_TURN && left > 0; left--)
		crumb(a);
	gone(a);
	if (seq == gw.next_seq)
		return;
	all = wal_payload(&seq);
	vbuf_free(&all);
	store_int(seq, 1);
	turn();
}

static void
test_long_exec(void)
{
	struct conn *a = client(), *b = client();
	struct vbuf text = { 0 }, whole, parts;
	unsigned pauses;

	put_keys(&text, "DEL", LONG_KEYS);
	whole = exec_payload(a, &text, false, &pauses);
	is_u64(pauses, 0, "in one turn");
	ok(strncmp(heard(a), "-ERR the result", 15) == 0,
	    "a result that is too short says so");
	parts = exec_payload(a, &text, true, &pauses);
	ok(pauses > 8, "%u pauses of a long EXEC", pauses);
	same_payload(&whole, &parts, "EXEC");
	say(b, "PING\r\n");
	is_str(heard(b), "+PONG\r\n", "another client is served");
	gone(a);
	for (unsigned i = 0; i <= pauses; i++)
		leave_after(&text, i);
	ok(gw.resting_count == 0, "who leaves does not rest");
	vbuf_free(&text);
	gone(b);
}

/* Lists and kills of many clients. */
static void
test_many_clients(void)
{
	enum { MANY = 600 };
	struct conn *c[MANY], *a = client(), *b = client();
	struct vbuf text = { 0 };
	unsigned i, pauses, lines = 0, closing = 0;
	const char *at;

	for (i = 0; i < MANY; i++)
		c[i] = client();
	vbuf_put(&text, "CLIENT LIST\r\n", 13);
	say_slowly(a, &text, true);
	is_u64(a->park, PARK_TURN, "CLIENT LIST takes turns");
	say(b, "PING\r\n");
	is_str(heard(b), "+PONG\r\n", "another client is served meanwhile");
	gone(c[MANY - 1]);
	ok(gw.pool.used > 1024 && all_is_somebodys(),
	    "what the list takes meanwhile is counted as its client's");
	pauses = crumbs(a);
	ok(pauses > 10, "%u pauses", pauses);
	gw_conn_queue(a);
	ASSERT(a->sending != NULL);
	vbuf_clear(&text);
	vbuf_put(&text, a->sending->data, a->sending->len + 1);
	text.data[text.len - 1] = '\0';
	for (at = (char *)text.data; (at = strstr(at, "id=")) != NULL; at++)
		lines++;
	is_u64(lines, MANY + 1, "all that were there all along");
	vbuf_clear(&text);
	vbuf_put(&text, "CLIENT KILL TYPE normal\r\n", 25);
	say_slowly(b, &text, true);
	ok(b->park == PARK_TURN && crumbs(b) > 10, "CLIENT KILL does, too");
	is_str(heard(b), ":600\r\n", "all but itself");
	for (i = 0; i < MANY - 1; i++) {
		closing += (c[i]->flags & CONN_CLOSING) != 0;
		gone(c[i]);
	}
	is_u64(closing, MANY - 1, "they are closed");
	say(b, "CLIENT NO-EVICT ON\r\nCLIENT NO-TOUCH OFF\r\n");
	ok((b->flags & CONN_NO_EVICT) != 0, "NO-TOUCH is not NO-EVICT");
	heard(b);
	vbuf_free(&text);
	gone(a);
	gone(b);
}

/* ---- results ---- */

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

/*
 * What a web page's browser says ends the connection: nothing behind it is
 * run, whatever came before it. False: it was not closed, or it wrote.
 */
static bool
http_ends(const char *text, unsigned writes)
{
	uint64_t closed = counter_sum(region.counters, C_CLIENTS_HTTP);
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	bool ends;

	say(a, text);
	ends = (a->flags & CONN_CLOSING) != 0 && a->out.c == NULL &&
	       gw.next_seq - seq == writes &&
	       counter_sum(region.counters, C_CLIENTS_HTTP) == closed + 1;
	gone(a);
	turn();
	wal_accept();
	commit(last_vlsn);
	turn();
	return ends;
}

static void
test_http(void)
{
	struct conn *a;

	ok(http_ends("POST / HTTP/1.1\r\nHost: n1:7379\r\n"
		     "Content-Length: 10\r\n\r\nFLUSHALL\r\n",
	       0),
	    "POST closes");
	ok(http_ends("GET / HTTP/1.1\r\nhOST: n1\r\n\r\nFLUSHALL\r\n", 0),
	    "any method closes at Host:");
	ok(http_ends("PUT /k HTTP/1.1\r\nHost:n1\r\nSET k v\r\n", 0),
	    "with no blank behind it, too");
	ok(http_ends("SET k v\r\npost /\r\nSET k v\r\n", 1),
	    "behind other commands");
	ok(http_ends("MULTI\r\nSET k v\r\nPOST /\r\nEXEC\r\n", 0),
	    "inside MULTI");
	ok(http_ends("CLIENT REPLY OFF\r\n*1\r\n$4\r\nPOST\r\nSET k v\r\n", 0),
	    "as an array, with replies off");
	strcpy(conf.security.password, "secret");
	ok(http_ends("POST / HTTP/1.1\r\nHost: n1\r\n", 0), "before AUTH");
	conf.security.password[0] = '\0';
	a = client();
	say(a, "POSTS /\r\nHost :\r\nPING\r\n");
	ok(strstr(heard(a), "+PONG\r\n") != NULL, "words like them do not");
	gone(a);
}

/* The memory's turn, so much later. */
static void
memory_turn(uint64_t ns)
{
	gw.loop.now_ns += ns;
	gw_memory_turn(&gw);
}

static void
test_memory(void)
{
	struct conn *c = client();
	size_t used;

	sink_reset(&gw.mute);
	is_u64(gw.pool.used, 0, "nothing is held");
	say(c,
	    "CLIENT SETNAME me\r\nMULTI\r\nSET k some-value\r\n*3\r\n$3\r\n");
	is_u64(gw_memory_of(&gw, c), gw.pool.used,
	    "what one client holds is all there is");
	used = gw.pool.used;
	ok(used > 600 && used < 4096, "%zu bytes", used);
	say(c, "SET\r\n$1\r\nk\r\n$1\r\nv\r\nINCR n\r\nPING\r\nEXEC\r\n");
	is_u64(gw_memory_of(&gw, c), gw.pool.used, "an EXEC on its way, too");
	gone(c);
	ok(gw.pool.used != 0, "it is owed an answer when it goes");
	turn();
	wal_accept();
	commit(last_vlsn);
	store_result(gw.next_seq - 1, last_vlsn, 7, 0, "", 0);
	turn();
	is_u64(gw.pool.used, 0, "all is given back");
	c = client();
	say(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777216\r\n");
	ok(gw.pool.used < 1024, "what is only announced takes nothing");
	gone(c);
	is_u64(gw.pool.used, 0, "all is given back");
}

static void
say_much(struct conn *c, unsigned kib)
{
	static char part[1025];

	memset(part, 'x', sizeof(part) - 1);
	while (kib-- != 0)
		say(c, part);
}

/* A client that has sent kib of a request of 1 MiB. */
static struct conn *
half_client(unsigned kib)
{
	struct conn *c = client();

	say(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n");
	say_much(c, kib);
	return c;
}

static bool
is_closing(const struct conn *c)
{
	return (c->flags & CONN_CLOSING) != 0;
}

static bool
is_held(const struct conn *c)
{
	return (c->flags & CONN_HELD) != 0;
}

/* Who is held back, who may go on, who is closed, and for how long. */
static void
test_memory_order(void)
{
	uint64_t limit = conf.listen.client_memory;
	uint64_t evicted = counter_sum(region.counters, C_CLIENTS_EVICTED);
	struct conn *small, *a, *b, *d;

	conf.listen.client_memory = 1 << 20;
	small = half_client(4);
	a = half_client(150);
	b = half_client(250);
	memory_turn(0);
	ok(!is_held(a) && !is_held(b), "below half everybody is read");
	d = half_client(100);
	d->flags |= CONN_NO_EVICT;
	memory_turn(1);
	ok(is_held(a) && is_held(d) && !gw_conn_wants_input(a),
	    "above half those that hold much are not");
	ok(!is_held(b) && !is_held(small),
	    "but for the largest, and small ones");
	memory_turn(1900 * NS_PER_MS);
	ok(!is_closing(b) && !is_held(b), "it has its time");
	memory_turn(200 * NS_PER_MS);
	ok(is_closing(b), "it did not use it: closed");
	memory_turn(200 * NS_PER_MS);
	ok(!is_held(a) && !is_held(d), "there is room again");
	gone(b);
	b = half_client(520);
	b->flags |= CONN_NO_EVICT;
	d->flags &= ~(unsigned)CONN_NO_EVICT;
	gw_conn_trust(&gw, d, false);
	memory_turn(200 * NS_PER_MS);
	conf.listen.client_memory = 800 << 10;
	memory_turn(200 * NS_PER_MS);
	ok(is_closing(d),
	    "beyond the bound: first who did not say the password");
	ok(is_closing(a), "then who holds most");
	ok(!is_closing(b) && !is_closing(small),
	    "NO-EVICT last, small ones not");
	conf.listen.client_memory = 400 << 10;
	memory_turn(200 * NS_PER_MS);
	ok(is_closing(b) && !is_closing(small), "but it is closed, too");
	is_u64(counter_sum(region.counters, C_CLIENTS_EVICTED) - evicted, 4,
	    "each is counted");
	gone(a);
	gone(b);
	gone(d);
	gone(small);
	memory_turn(200 * NS_PER_MS);
	ok(!gw.memory_high, "and it is over");
	conf.listen.client_memory = limit;
}

/* A client that has queued kib in a transaction. */
static struct conn *
queue_client(unsigned kib)
{
	struct conn *c = client();
	char set[1024 + 32];

	snprintf(set, sizeof(set), "SET k %01024d\r\n", 0);
	say(c, "MULTI\r\n");
	while (kib-- != 0)
		say(c, set);
	(void)heard(c);
	return c;
}

/* Whoever holds much and waits for its client has its turn, and its end. */
static void
test_memory_turns(void)
{
	uint64_t limit = conf.listen.client_memory;
	struct conn *unread, *between, *part, *ended;

	conf.listen.client_memory = 1 << 20;
	unread = queue_client(80);
	say(unread, "MULTI");
	gw_conn_park(&gw, unread, PARK_OUTPUT);
	between = queue_client(350);
	part = half_client(120);
	ended = half_client(100);
	ended->flags |= CONN_ENDED;
	memory_turn(1);
	ok(!is_held(ended) && is_held(part) && is_held(between),
	    "first who has nothing more to send");
	memory_turn(1900 * NS_PER_MS);
	gone(ended);
	memory_turn(100 * NS_PER_MS);
	ok(!is_held(part) && is_held(between), "then who is in a request");
	say_much(part, 130);
	memory_turn(2100 * NS_PER_MS);
	ok(!is_closing(part) && !is_held(part), "it got on: it goes on");
	memory_turn(2100 * NS_PER_MS);
	ok(is_closing(part), "it does not any more: closed");
	gone(part);
	conf.listen.client_memory = 780 << 10;
	memory_turn(100 * NS_PER_MS);
	ok(!is_held(between) && !is_closing(between),
	    "then who is between two commands");
	memory_turn(2100 * NS_PER_MS);
	ok(is_closing(between), "not for ever, either");
	gone(between);
	conf.listen.client_memory = 150 << 10;
	memory_turn(100 * NS_PER_MS);
	ok(!is_closing(unread), "then who does not read its replies");
	memory_turn(2100 * NS_PER_MS);
	ok(is_closing(unread), "nor he");
	gone(unread);
	memory_turn(100 * NS_PER_MS);
	ok(!gw.memory_high, "and it is over");
	conf.listen.client_memory = limit;
}

/* Who has not said the password: what it may do, and who gives way. */
static void
test_strangers(void)
{
	static const char noauth[] = "-NOAUTH Authentication required.\r\n";
	struct conn *a, *b, *d;
	unsigned i;

	strcpy(conf.security.password, "secret");
	a = client();
	say(a, "MULTI\r\nEXEC\r\nWATCH k\r\nCLIENT SETNAME n\r\n"
	       "HELLO 3 SETNAME n\r\nSET k v\r\n");
	ok(a->multi == NULL && a->name == NULL && a->node_count == 0,
	    "nothing of it is kept");
	ok(strncmp(heard(a), noauth, strlen(noauth)) == 0, "it is told why");
	is_u64(gw_memory_of(&gw, a), 0, "it holds nothing");
	for (i = 0; i < 200; i++)
		say(a, "PING\r\nAUTH wrong\r\n");
	ok(a->park == PARK_OUTPUT && gw_conn_unsent(a) < 2 * GW_OUT_UNAUTH,
	    "%zu bytes of errors unread: it rests", gw_conn_unsent(a));
	for (i = 0; i < 50 && a->park == PARK_OUTPUT; i++) {
		(void)heard(a);
		gw_conn_resume(&gw, a);
	}
	ok(a->in == NULL, "it goes on when they are read");
	say(a, "AUTH secret\r\n");
	b = client();
	d = client();
	gw.conn_max = 3;
	ok(gw_conn_room(&gw), "all places taken: there is room");
	ok(is_closing(b) && !is_closing(a) && !is_closing(d),
	    "who is unknown for the longest gives way");
	ok(gw_conn_room(&gw) && !is_closing(d), "once for one");
	gone(b);
	say(d, "AUTH secret\r\n");
	b = client();
	say(a, "RESET\r\n");
	ok(gw_conn_room(&gw) && is_closing(b) && !is_closing(a),
	    "RESET makes it as new");
	gone(b);
	say(a, "AUTH secret\r\n");
	b = client();
	say(b, "AUTH secret\r\n");
	ok(!gw_conn_room(&gw), "who is known does not");
	gone(a);
	gone(b);
	gone(d);
	conf.security.password[0] = '\0';
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
	test_full();
	test_parts();
	test_gone();
	test_turns_of_big();
	test_roles();
	test_term();
	test_levels();
	test_count();
	test_limits();
	test_share();
	test_too_much();
	test_slices();
	test_one_is_made();
	test_long_request();
	test_long_exec();
	test_many_clients();
	test_half_result();
	test_cuts();
	test_long_result();
	test_http();
	test_memory();
	test_memory_order();
	test_memory_turns();
	test_strangers();
	test_log_failed();
	is_u64(inexact, 0, "what is held was counted all along");
	is_u64(gw.pool.used, 0, "nobody is there: nothing is held");
	gw_write_fini(&gw);
	position_set(&region.pos->commit_waited, 3);
	is_u64(gw_write_init(&gw), 0, "another life");
	is_u64(position_get(&region.pos->commit_waited), 2,
	    "clears what the one before has left behind");
	gw_write_fini(&gw);
	gw_conn_fini(&gw);
	vbuf_free(&gw.value);
	vbuf_free(&gw.scratch);
	region_unmap(&region);
	return tap_done();
}
