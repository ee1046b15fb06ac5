/*
 * Who gives way at the HTTP port, and when: the oldest of an address that has
 * too many, the oldest of all when all are too many; one that was answered is
 * young again; who has been shut down counts no more, but has its place still.
 */
#include <arpa/inet.h>

#include "t/tap.h"
#include "workers/health/places.h"

static struct places p;

static struct place *
come(int fd, const char *from, uint64_t now_ns)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, from, &in.sin_addr) == 1)
		return places_take(&p, fd, (struct sockaddr *)&in, now_ns);
	if (inet_pton(AF_INET6, from, &in6.sin6_addr) != 1)
		abort();
	return places_take(&p, fd, (struct sockaddr *)&in6, now_ns);
}

/* The n-th of many addresses. */
static struct place *
come_from_host(unsigned n, uint64_t now_ns)
{
	char from[32];

	snprintf(from, sizeof(from), "10.0.%u.%u", n / 200, n % 200);
	return come((int)n, from, now_ns);
}

static void
test_address(void)
{
	struct place *first, *other, *last = NULL;
	unsigned i;

	memset(&p, 0, sizeof(p));
	other = come(1, "10.0.0.1", 0);
	first = come(2, "10.0.0.2", 0);
	for (i = 1; i < PLACES_PER_ADDRESS; i++)
		last = come(2 + (int)i, "10.0.0.2", 0);
	ok(places_displaced(&p, last) == NULL, "as many as one may have");
	last = come(99, "::ffff:10.0.0.2", 0);
	ok(places_displaced(&p, last) == first,
	    "one more: its own oldest, not the oldest of all");
	places_answered(&p, first, 1);
	ok(places_displaced(&p, last) == first + 1,
	    "who was answered is young");
	(first + 1)->state = PLACE_LEAVING;
	ok(places_displaced(&p, last) == NULL, "who leaves counts no more");
	ok(places_displaced(&p, other) == NULL, "nor is it of others' number");

	memset(&p, 0, sizeof(p));
	first = come(1, "2001:db8:1:2::1", 0);
	for (i = 1; i <= PLACES_PER_ADDRESS; i++) {
		char from[64];

		snprintf(from, sizeof(from), "2001:db8:1:2:%x::7", i);
		last = come(1 + (int)i, from, 0);
	}
	ok(places_displaced(&p, last) == first, "a /64 is one address");
	last = come(99, "2001:db8:1:3::1", 0);
	ok(places_displaced(&p, last) == NULL, "the next one is another");
}

static void
test_all(void)
{
	struct place *last = NULL;
	unsigned i;

	memset(&p, 0, sizeof(p));
	for (i = 0; i < PLACES_MAX; i++)
		last = come_from_host(i, 0);
	ok(places_displaced(&p, last) == NULL, "all places");
	for (; i < PLACES_ALL; i++) {
		struct place *out;

		last = come_from_host(i, 0);
		out = places_displaced(&p, last);
		if (out == NULL || out->fd != (int)i - PLACES_MAX)
			break;
		out->state = PLACE_LEAVING;
	}
	is_u64(i, PLACES_ALL, "then one by one, the oldest first");
	ok(places_full(&p) && come_from_host(i, 0) == NULL,
	    "until those that leave have the spare ones");
	ok(places_find(&p, 0) != NULL, "they are found");
	places_find(&p, 0)->state = PLACE_FREE;
	ok(!places_full(&p) && places_find(&p, 0) == NULL, "until closed");
	ok(come_from_host(i, 0) != NULL, "then another has the place");
}

static void
test_time(void)
{
	struct place *a, *b;

	memset(&p, 0, sizeof(p));
	is_u64(places_deadline(&p), UINT64_MAX, "nobody: no deadline");
	a = come(1, "10.0.0.1", 100);
	b = come(2, "10.0.0.1", 200);
	is_u64(places_deadline(&p), 100 + PLACES_STAY_NS, "the first one's");
	ok(places_late(&p, 99 + PLACES_STAY_NS) == NULL, "not yet");
	ok(places_late(&p, 100 + PLACES_STAY_NS) == a, "late");
	a->state = PLACE_LEAVING;
	ok(places_late(&p, 100 + PLACES_STAY_NS) == NULL, "told once");
	is_u64(places_deadline(&p), 200 + PLACES_STAY_NS, "the second one's");
	b->body = 5;
	places_answered(&p, b, 1000);
	is_u64(places_deadline(&p), 1000 + PLACES_STAY_NS, "answered: anew");
	is_u64(b->body, 0, "with another body");
}

int
main(void)
{
	test_address();
	test_all();
	test_time();
	return tap_done();
}
