/*
 * Who has come to the HTTP port and has not sent a whole head yet. It costs a
 * descriptor and an entry here, so there is room for many: each has its chance
 * to ask before it gives way, however many come. Pure: no clock, no I/O.
 */
#ifndef WORKERS_HEALTH_LOBBY_H
#define WORKERS_HEALTH_LOBBY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define LOBBY_MAX 1024
/* Nobody gives way sooner; so 40,000 silent ones a second fill no queue. */
#define LOBBY_CHANCE_NS 25000000u

struct guest {
	int fd;
	uint64_t came_ns;
	TAILQ_ENTRY(guest) list;
};
TAILQ_HEAD(guest_list, guest);

struct lobby {
	unsigned count, max;
	struct guest_list guests; /* the oldest first */
	struct guest_list unused;
	struct guest guest[LOBBY_MAX];
};

/* max = as many as there are descriptors for, 1 to LOBBY_MAX. */
void lobby_open(struct lobby *l, unsigned max);
bool lobby_full(const struct lobby *l);
/* Full, and nobody had its chance: who comes waits before the door. */
bool lobby_closed(const struct lobby *l, uint64_t now_ns);
/* Not when it is full. */
struct guest *lobby_add(struct lobby *l, int fd, uint64_t now_ns);
/* The descriptor is the caller's again. */
int lobby_remove(struct lobby *l, struct guest *guest);
/* Who came first, or NULL. */
struct guest *lobby_oldest(const struct lobby *l);
/* Is the end of a head among these bytes? */
bool lobby_head_ends(const char *head, size_t len);

#endif
