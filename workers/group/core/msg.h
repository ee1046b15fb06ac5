/*
 * What cores of one group tell each other, as structs: the wire is another
 * room's. Each is bound to the boots of who sends it and, where it answers, of
 * who had asked. Any of them may be lost, late, doubled or out of order.
 *
 * Pure: nothing here blocks, allocates or logs.
 */
#ifndef WORKERS_GROUP_CORE_MSG_H
#define WORKERS_GROUP_CORE_MSG_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/commit_view.h"

/* Where a log ends: its newest record, appended; 0 = it has none. */
struct group_end {
	uint64_t term, vlsn;
};

/* Is a log that ends at `a` at least as new as one that ends at `b`? */
bool end_covers(struct group_end a, struct group_end b);

enum group_msg_kind {
	CORE_PREVOTE, /* .ask: would you vote for me in .term? */
	CORE_PREVOTE_ANSWER, /* .answer */
	CORE_VOTE, /* .ask: vote for me in .term, which I am in */
	CORE_VOTE_ANSWER, /* .answer */
	CORE_BEAT, /* .beat: I am master in .term */
	CORE_BEAT_ANSWER /* .answer: I promise; or my .term is newer */
};

struct group_msg {
	enum group_msg_kind kind;
	uint64_t from, boot; /* incarnation and boot of who sends it */
	uint64_t term; /* the sender's; of CORE_PREVOTE the one it would have */
	union {
		struct {
			struct group_end end; /* of the sender's log */
			uint64_t released; /* promises to the sender as master
					      of this term are void; 0 = none */
		} ask;
		struct {
			uint64_t boot; /* of who had asked */
			uint64_t asked; /* the term, or the round */
			bool granted;
			struct group_end end; /* of a round: the log's */
		} answer;
		struct {
			uint64_t round;
			uint32_t lease_ms; /* what its answer promises */
			/* How many members are to stand before each one. */
			uint8_t rank[MEMBER_MAX];
		} beat;
	};
};

#endif
