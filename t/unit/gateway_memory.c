/*
 * The memory that clients hold: what is counted to whom, and who is held back
 * or closed when there is none left.
 */
#include "t/lib/gateway_rig.h"

/* The memory's turn, so much later. */
static void
memory_turn(uint64_t ns)
{
	gw.io.loop.now_ns += ns;
	gw_memory_turn(&gw.io);
}

static void
test_memory(void)
{
	struct conn *c = client();
	size_t used;

	sink_reset(&gw.io.mute);
	is_u64(gw.io.pool.used, 0, "nothing is held");
	say(c,
	    "CLIENT SETNAME me\r\nMULTI\r\nSET k some-value\r\n*3\r\n$3\r\n");
	is_u64(gw_memory_of(&gw.io, c), gw.io.pool.used,
	    "what one client holds is all there is");
	used = gw.io.pool.used;
	ok(used > 600 && used < 4096, "%zu bytes", used);
	say(c, "SET\r\n$1\r\nk\r\n$1\r\nv\r\nINCR n\r\nPING\r\nEXEC\r\n");
	is_u64(gw_memory_of(&gw.io, c), gw.io.pool.used,
	    "an EXEC on its way, too");
	gone(c);
	ok(gw.io.pool.used != 0, "it is owed an answer when it goes");
	turn();
	wal_accept();
	commit(last_vlsn);
	store_result(gw.next_seq - 1, last_vlsn, 7, 0, "", 0);
	turn();
	is_u64(gw.io.pool.used, 0, "all is given back");
	c = client();
	say(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777216\r\n");
	ok(gw.io.pool.used < 1024, "what is only announced takes nothing");
	gone(c);
	is_u64(gw.io.pool.used, 0, "all is given back");
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
	gw_conn_trust(&gw.io, d, false);
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
	ok(!gw.io.memory_high, "and it is over");
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
	gw_park(&gw, unread, PARK_OUTPUT);
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
	ok(!gw.io.memory_high, "and it is over");
	conf.listen.client_memory = limit;
}

static void
ask_much(struct conn *c, unsigned kib)
{
	char ping[1024 + 32];

	snprintf(ping, sizeof(ping), "PING %01024d\r\n", 0);
	while (kib-- != 0)
		say(c, ping);
}

/* A pipeline is written before its replies are read. */
static void
test_unread(void)
{
	uint64_t limit = conf.listen.client_memory;
	struct conn *a, *b;

	conf.listen.client_memory = 4 << 20;
	a = client();
	b = client();
	ask_much(a, 900);
	ok(a->park == PARK_NOT && gw_conn_unsent(a) > 2 * GW_OUT_HIGH,
	    "%zu bytes unread, and there is memory: it is read",
	    gw_conn_unsent(a));
	ask_much(b, 300);
	ok(b->park == PARK_OUTPUT && gw_conn_unsent(b) > GW_OUT_HIGH &&
		gw_conn_unsent(b) < 2 * GW_OUT_HIGH,
	    "a quarter of client_memory is held: it rests");
	ask_much(a, 1);
	ok(a->park == PARK_OUTPUT && !is_closing(a), "so does the other");
	memory_turn(0);
	ok(b->park == PARK_OUTPUT, "as long as it is");
	(void)heard(a);
	gw_conn_go_on(&gw.io, a);
	ok(a->park == PARK_NOT && b->park == PARK_OUTPUT,
	    "who has read goes on");
	ask_much(a, 450);
	ok(gw.io.pool.used > gw_output_ceiling(&gw.io) / 2 &&
		gw.io.pool.used < gw_output_ceiling(&gw.io),
	    "less than a quarter is held, if not by much");
	memory_turn(0);
	ok(b->park == PARK_NOT, "there is memory again: nor does the other");
	gone(a);
	gone(b);
	conf.listen.client_memory = limit;
}

int
main(void)
{
	set_up();
	test_memory();
	test_unread();
	test_memory_order();
	test_memory_turns();
	rig_end();
	return tap_done();
}
