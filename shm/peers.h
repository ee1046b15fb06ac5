/*
 * What is known of each other member: a row each, for whoever shows it and for
 * group, which learns from wal how a data connection does. Row i is member i
 * of the membership in force (of the commit view), or, as long as this node is
 * of no group, the i-th [peer] of the configuration. The own row has address
 * and incarnation only.
 *
 * Single words, each with one writer; a text is whole between two equal, even
 * values of its count (peer_text_set(), peer_text_get()).
 */
#ifndef SHM_PEERS_H
#define SHM_PEERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/bits.h"
#include "shm/commit_view.h"

#define PEER_TEXT 200

enum peer_link {
	PEER_NONE = 0, /* no row, or the own one */
	PEER_AWAY = 1, /* not connected; dialled again at times */
	PEER_HANDSHAKE = 2,
	PEER_UP = 3, /* its control connection is ready */
	PEER_REFUSED = 4 /* by one of the two: error says why */
};

enum peer_feed {
	PEER_FEED_NONE = 0, /* no data connection */
	PEER_FEED_LIVE = 1, /* this node feeds it from the buffer */
	PEER_FEED_SEGMENTS = 2, /* ... from segment files (restore) */
	PEER_FEED_FROM = 3 /* this node is fed by it */
};

/*
 * Why a data connection ended, beyond the reasons of a refusal (enum
 * msg_reason; 0: it broke): this and an enum feed_end.
 */
#define PEER_ENDED_FEED 256u

struct peer_text {
	/* W: whose text it is. R: all. */
	_Atomic uint32_t seq; /* odd = in change */
	char text[PEER_TEXT]; /* NUL-terminated, zeros to the end */
	uint8_t pad[52];
};
_Static_assert(sizeof(struct peer_text) == 4 * CACHE_LINE, "four lines");

struct peer_row {
	/* W: group. */
	_Alignas(CACHE_LINE) _Atomic uint64_t incarnation; /* 0 = not known */
	_Atomic uint32_t link; /* enum peer_link */
	_Atomic uint32_t role; /* enum role, as it last told */
	_Atomic uint64_t since_ns; /* CLOCK_MONOTONIC, of `link` */
	_Atomic uint64_t heard_ns; /* CLOCK_MONOTONIC, of its last message */
	_Atomic uint64_t term;
	_Atomic uint32_t phi_milli; /* how late it is, 1/1000 phi */
	_Atomic uint32_t flags; /* enum round_flag, as it last told */
	_Atomic uint64_t behind_ns; /* CLOCK_MONOTONIC, since when it lacks
				       what was committed then; 0 = nothing */
	_Atomic uint64_t drops; /* connections that ended for a reason */
	/* W: group. As it last told; VLSNs. */
	_Alignas(CACHE_LINE) _Atomic uint64_t first;
	_Atomic uint64_t appended, durable, applied;
	_Atomic uint64_t boot;
	uint64_t zero[3];
	/* W: wal (LIVE, FROM) or restore (SEGMENTS), while it has one. */
	_Alignas(CACHE_LINE) _Atomic uint64_t connection; /* number; 0 = none */
	_Atomic uint32_t feed; /* enum peer_feed */
	_Atomic uint32_t end_reason; /* of the last one that ended: enum
					msg_reason, or PEER_ENDED_FEED + an enum
					feed_end */
	_Atomic uint64_t ended; /* connection that ended last; stored last,
				   then group's bell is rung */
	_Atomic uint64_t matched; /* VLSN that this connection sent, or got */
	_Atomic uint64_t acked; /* VLSN durable there, in this epoch */
	_Atomic uint64_t sent_bytes, flight_bytes; /* ever; not acknowledged */
	/* W: group. */
	struct peer_text name, address, error; /* error: the last one */
};

struct peers {
	struct peer_row row[MEMBER_MAX];
	/*
	 * Why there is no master, for who is refused by that. W: group:
	 * peers_no_master_set(). R: all
	 */
	struct peer_text no_master;
	_Alignas(CACHE_LINE) _Atomic uint64_t no_master_ns; /* CLOCK_MONOTONIC,
						since when; 0 = not told */
};

/*
 * A data connection begins, and ends, in its member's row. The last word of its
 * end is `ended`; ring group's bell then. False: another connection has the
 * row by now, which is left alone.
 */
void peer_feed_begin(struct peer_row *row, uint64_t connection,
    enum peer_feed feed, uint64_t matched);
bool peer_feed_end(struct peer_row *row, uint64_t connection, uint32_t reason);
/* restore died: ends what it had. Did it have one? */
bool peers_server_died(struct peers *peers);

/*
 * group only, whenever it changes: no master is known since then, and why, as
 * an admin reads it ("2 of 3 members are not connected: …"). since_ns 0: one
 * is known, or this node is it. Readers: when none was told of, false, and the
 * text is empty.
 */
void peers_no_master_set(struct peers *p, uint64_t since_ns, const char *why);
bool peers_no_master(
    const struct peers *p, uint64_t *since_ns, char *why, size_t size);

/* One writer a text. */
void peer_text_set(struct peer_text *t, const char *text);
void peer_text_get(const struct peer_text *t, char *out, size_t size);
const char *peer_link_name(unsigned link);
const char *peer_feed_name(unsigned feed);

#endif
