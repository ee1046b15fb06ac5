/*
 * Places at the HTTP port. The table is small and walked only when somebody
 * comes, leaves or is late.
 */
#include "workers/health/places.h"

#include <string.h>

/* IPv4 as it is mapped into IPv6; one host may use all of an IPv6 /64. */
static struct in6_addr
address_of(const struct sockaddr *from)
{
	struct in6_addr a = IN6ADDR_ANY_INIT;

	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)from;

		memset(a.s6_addr + 10, 0xff, 2);
		memcpy(a.s6_addr + 12, &in->sin_addr, 4);
	} else if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)from;

		a = in6->sin6_addr;
		if (!IN6_IS_ADDR_V4MAPPED(&a))
			memset(a.s6_addr + 8, 0, 8);
	}
	return a;
}

static unsigned
first_free(const struct places *p)
{
	unsigned i;

	for (i = 0; i < PLACES_ALL; i++)
		if (p->place[i].state == PLACE_FREE)
			break;
	return i;
}

bool
places_full(const struct places *p)
{
	return first_free(p) == PLACES_ALL;
}

struct place *
places_take(
    struct places *p, int fd, const struct sockaddr *from, uint64_t now_ns)
{
	struct place *place = &p->place[first_free(p)];

	if (places_full(p))
		return NULL;
	*place = (struct place){
		.state = PLACE_TAKEN, .fd = fd, .from = address_of(from)
	};
	places_answered(p, place, now_ns);
	return place;
}

void
places_answered(struct places *p, struct place *place, uint64_t now_ns)
{
	place->order = ++p->orders;
	place->until_ns = now_ns + PLACES_STAY_NS;
	place->body = 0;
}

struct place *
places_displaced(struct places *p, const struct place *newest)
{
	struct place *longest = NULL, *own = NULL;
	unsigned i, all = 0, owns = 0;

	for (i = 0; i < PLACES_ALL; i++) {
		struct place *place = &p->place[i];

		if (place->state != PLACE_TAKEN)
			continue;
		all++;
		if (longest == NULL || place->order < longest->order)
			longest = place;
		if (memcmp(&place->from, &newest->from, sizeof(place->from)) !=
		    0)
			continue;
		owns++;
		if (own == NULL || place->order < own->order)
			own = place;
	}
	if (owns > PLACES_PER_ADDRESS)
		return own;
	return all > PLACES_MAX ? longest : NULL;
}

struct place *
places_late(struct places *p, uint64_t now_ns)
{
	unsigned i;

	for (i = 0; i < PLACES_ALL; i++)
		if (p->place[i].state == PLACE_TAKEN &&
		    now_ns >= p->place[i].until_ns)
			return &p->place[i];
	return NULL;
}

uint64_t
places_deadline(const struct places *p)
{
	uint64_t first = UINT64_MAX;
	unsigned i;

	for (i = 0; i < PLACES_ALL; i++)
		if (p->place[i].state == PLACE_TAKEN &&
		    p->place[i].until_ns < first)
			first = p->place[i].until_ns;
	return first;
}

struct place *
places_find(struct places *p, int fd)
{
	unsigned i;

	for (i = 0; i < PLACES_ALL; i++)
		if (p->place[i].state != PLACE_FREE && p->place[i].fd == fd)
			return &p->place[i];
	return NULL;
}
