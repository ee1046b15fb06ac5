/*
 * What takes more than one turn: nobody waits for all that others have to do,
 * and what is done in parts comes out as if it were done at once.
 */
#include "t/lib/gateway_rig.h"

#define LONG_KEYS 10000u

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
	ok(gw_park_pending(&gw), "there is more to do");
	for (i = 0; i < 1000 && gw.resting_count != 0; i++)
		turn();
	is_u64(first + strlen(heard(a)), 200 * 7, "the rest is answered");
	is_str(heard(b), "+PONG\r\n", "and the other");
	ok(a->in == NULL && b->in == NULL, "no input is left");
	gone(a);
	gone(b);
}

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
	size_t sum = chunk_bytes(gw.io.mute.c);
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(&gw.io); i++)
		if ((c = gw_conn_at(&gw.io, i)) != NULL)
			sum += gw_memory_of(&gw.io, c);
	return sum == gw.io.pool.used;
}

/* The least that a turn gives it: up to the next look at the clock. */
static void
crumb(struct conn *c)
{
	gw.turn_end_ns = 1;
	gw.turn_over = false;
	gw_conn_go_on(&gw.io, c);
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
	ok(gw.io.pool.used > 1024 && all_is_somebodys(),
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

int
main(void)
{
	set_up();
	test_turns_of_big();
	test_share();
	test_slices();
	test_one_is_made();
	test_long_request();
	test_long_exec();
	test_many_clients();
	rig_end();
	return tap_done();
}
