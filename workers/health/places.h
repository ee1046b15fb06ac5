/*
 * Who has asked at the HTTP port, from where and since when. Whoever has asked
 * gets a place; who had its last answer longest ago gives way when too many do.
 * Pure: no clock, no I/O.
 */
#ifndef WORKERS_HEALTH_PLACES_H
#define WORKERS_HEALTH_PLACES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define PLACES_MAX         128 /* connections at once */
#define PLACES_PER_ADDRESS 32 /* of these, of one address; of IPv6 its /64 */
/* Who gave way keeps its place until its connection is closed. */
#define PLACES_LEAVING 32
#define PLACES_ALL     (PLACES_MAX + PLACES_LEAVING)
/* From the accept, or the last answer's end, to the end of the next answer. */
#define PLACES_STAY_NS 5000000000u

enum place_state {
	PLACE_FREE,
	PLACE_TAKEN,
	PLACE_LEAVING, /* shut down, not closed yet */
};

struct place {
	enum place_state state;
	int fd;
	struct in6_addr from;
	uint64_t until_ns;
	uint64_t order; /* of coming, or of the last answer */
	uint64_t body; /* bytes of the request's body so far */
};

struct places {
	uint64_t orders;
	struct place place[PLACES_ALL];
};

/* No place is free: others come in when some have left. */
bool places_full(const struct places *p);
/* A place of its own for a connection; NULL = none is free. */
struct place *places_take(
    struct places *p, int fd, const struct sockaddr *from, uint64_t now_ns);
/* An answer has ended: the time of the next one begins. */
void places_answered(struct places *p, struct place *place, uint64_t now_ns);
/*
 * Who gives way to `newest`: the longest of its address, if these are more
 * than one address may have, else the longest of all, if all are too many.
 * NULL = nobody has to.
 */
struct place *places_displaced(struct places *p, const struct place *newest);
/* One whose time is up; NULL = none. */
struct place *places_late(struct places *p, uint64_t now_ns);
/* When the next one's time is up, or UINT64_MAX. */
uint64_t places_deadline(const struct places *p);
/* The place of an open connection; NULL = none. */
struct place *places_find(struct places *p, int fd);

#endif
