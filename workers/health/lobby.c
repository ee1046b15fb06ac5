/*
 * Guests by the order of their coming: the first has waited longest.
 */
#include "workers/health/lobby.h"

#include <string.h>

#include "shm/assert.h"

void
lobby_open(struct lobby *l, unsigned max)
{
	ASSERT(max >= 1 && max <= LOBBY_MAX);
	l->count = 0;
	l->max = max;
	TAILQ_INIT(&l->guests);
	TAILQ_INIT(&l->unused);
	for (unsigned i = 0; i < max; i++)
		TAILQ_INSERT_TAIL(&l->unused, &l->guest[i], list);
}

bool
lobby_full(const struct lobby *l)
{
	return l->count == l->max;
}

bool
lobby_closed(const struct lobby *l, uint64_t now_ns)
{
	return lobby_full(l) &&
	       now_ns < lobby_oldest(l)->came_ns + LOBBY_CHANCE_NS;
}

struct guest *
lobby_add(struct lobby *l, int fd, uint64_t now_ns)
{
	struct guest *guest = TAILQ_FIRST(&l->unused);

	ASSERT(guest != NULL);
	TAILQ_REMOVE(&l->unused, guest, list);
	TAILQ_INSERT_TAIL(&l->guests, guest, list);
	l->count++;
	guest->fd = fd;
	guest->came_ns = now_ns;
	return guest;
}

int
lobby_remove(struct lobby *l, struct guest *guest)
{
	TAILQ_REMOVE(&l->guests, guest, list);
	TAILQ_INSERT_HEAD(&l->unused, guest, list);
	l->count--;
	return guest->fd;
}

struct guest *
lobby_oldest(const struct lobby *l)
{
	return TAILQ_FIRST(&l->guests);
}

/* An empty line; libmicrohttpd takes lines that end without \r, too. */
bool
lobby_head_ends(const char *head, size_t len)
{
	return memmem(head, len, "\n\r\n", 3) != NULL ||
	       memmem(head, len, "\n\n", 2) != NULL;
}
