/*
 * Guests of the HTTP port: the first who came is the first to go, but nobody
 * before it had its chance; what ends a head.
 */
#include "t/tap.h"
#include "workers/health/lobby.h"

static struct lobby l;

static void
test_order(void)
{
	struct guest *a, *b;

	lobby_open(&l, 3);
	ok(lobby_oldest(&l) == NULL && !lobby_full(&l), "nobody");
	a = lobby_add(&l, 7, 100);
	b = lobby_add(&l, 8, 200);
	ok(lobby_oldest(&l) == a, "the first is the oldest");
	is_i64(lobby_remove(&l, a), 7, "it leaves with its descriptor");
	ok(lobby_oldest(&l) == b, "then the second is");
	ok(lobby_add(&l, 9, 300) != NULL && !lobby_full(&l), "two");
	ok(lobby_add(&l, 10, 400) != NULL && lobby_full(&l), "all");
}

static void
test_chance(void)
{
	unsigned i;

	lobby_open(&l, LOBBY_MAX);
	for (i = 0; i < LOBBY_MAX; i++)
		lobby_add(&l, (int)i, 1000 + i);
	ok(lobby_closed(&l, 999 + LOBBY_CHANCE_NS),
	    "full of young ones: nobody gives way");
	ok(!lobby_closed(&l, 1000 + LOBBY_CHANCE_NS),
	    "the oldest had its chance");
	lobby_remove(&l, lobby_oldest(&l));
	ok(!lobby_closed(&l, 2000), "one has left: open");
	lobby_add(&l, 7, 2000);
	ok(lobby_closed(&l, 1000 + LOBBY_CHANCE_NS), "the next one had not");
}

static void
test_head(void)
{
	static const struct {
		const char *text;
		bool whole;
	} head[] = {
		{ "", false },
		{ "GET / HTTP/1.1\r\n", false },
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r", false },
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true },
		{ "GET / HTTP/1.1\nHost: x\n\n", true },
		{ "POST / HTTP/1.1\r\nHost: x\r\n\r\nbody", true },
	};
	unsigned i;

	for (i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		ok(lobby_head_ends(head[i].text, strlen(head[i].text)) ==
			head[i].whole,
		    "head %u is %s", i, head[i].whole ? "whole" : "not");
}

int
main(void)
{
	test_order();
	test_chance();
	test_head();
	return tap_done();
}
