/*
 * How the group is, as one node sees it at one moment: for whoever shows it
 * (screen, pages, metrics, nodelifectl), so that all say the same. Made of the
 * commit view, the positions and the rows of the others (peers.h).
 */
#ifndef SHM_MEMBERS_H
#define SHM_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/peers.h"

struct region;

/* Who lacks what was committed so long ago is told to be behind. */
#define MEMBERS_BEHIND_MS 1000
#define MEMBERS_NEVER     UINT64_MAX /* of a time: it never was */

/* Bits of a member's flags, as enum round_flag (ipc/msg_vote.h) has them. */
#define MEMBER_FLAGS(X)                                                        \
	X(1, "no_space", "its disk is full")                                   \
	X(2, "stalled", "its disk does not answer")                            \
	X(4, "log_closed", "a write or a flush of its log failed")             \
	X(8, "behind", "it is fed from segment files")                         \
	X(16, "wants_restore", "no log has what it needs: it must be restored")

struct member_look {
	char name[MEMBER_NAME_MAX];
	char client[MEMBER_ADDR_MAX]; /* address for clients; "" = not told */
	char address[PEER_TEXT]; /* for members; "" = not known */
	char error[PEER_TEXT]; /* why its last connection failed or ended */
	bool self, votes;
	bool ready; /* counts for the quorum now, as seen from here */
	uint32_t link; /* enum peer_link; of the own row PEER_UP */
	uint32_t feed; /* enum peer_feed */
	uint32_t role; /* enum role */
	uint32_t flags; /* what it told last: MEMBER_FLAGS */
	uint32_t phi_milli;
	uint64_t incarnation, boot; /* 0 = not known; of a group of one, and
				      the own boot, never */
	uint64_t since_ms; /* since its link is what it is */
	uint64_t heard_ms; /* since its last message; MEMBERS_NEVER */
	uint64_t behind_ms; /* for how long it is behind; 0 = it is not */
	uint64_t term;
	uint64_t first, appended, durable, applied; /* its log and store */
	uint64_t matched, acked; /* on this data connection; 0 = none */
	uint64_t lag; /* records that are not on its disk yet */
	bool lag_known;
	uint64_t flight_bytes, sent_bytes, drops;
};

struct members_look {
	struct commit_view view;
	bool joined; /* of a group; else the rows are the configuration's */
	unsigned count;
	struct member_look row[MEMBER_MAX];
	unsigned voters, connected; /* voters; of them with a link, and self */
	unsigned ready; /* of these, who would acknowledge a record */
	int spare; /* quorum_spare() of these */
	const struct member_look *master; /* a row; NULL = none is known */
	uint64_t no_master_ms; /* for how long, of a group; 0 = not told */
	char no_master[PEER_TEXT]; /* and why; "" = not told */
	uint64_t lease_ms; /* left; 0 = none is held, MEMBERS_NEVER = none is
			      needed (one member is a quorum) */
};

/* now_ns: CLOCK_MONOTONIC. Of a node that is gone its last sign of life. */
void
members_look(const struct region *r, uint64_t now_ns, struct members_look *out);
/* Is there anybody else to be shown: a group of several, or one to be? */
bool members_shown(const struct members_look *m);
/*
 * The quorum in words: "can lose 1 more member (3 of 3 connected)". Writes at
 * most size bytes, returns buf.
 */
char *members_text(const struct members_look *m, char *buf, size_t size);
/*
 * Why this node is no master, for who wants to write: who is it and where, or
 * since when there is none, and why. "" = it is the master, or of no group.
 */
char *members_master_text(const struct members_look *m, char *buf, size_t size);
/* What its link, or its data connection, is: one word. */
const char *member_link_word(const struct member_look *row);
/* Its flags in words, one behind the other; "" = none. */
char *member_flags_text(uint32_t flags, char *buf, size_t size);

#endif
