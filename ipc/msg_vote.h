/*
 * Heartbeats, votes, leases, read index: between the group workers of two
 * members, on a control connection that is ready. Members are named by their
 * incarnation; whom a message is from the connection knows.
 *
 * The fields that serve a sentence of the design:
 * - round: rounds are numbered; a lease runs from the send time of the newest
 *   round that a commit quorum answered, which the sender keeps.
 * - lease_ms: each round carries its lease length, and that is what is
 *   promised; promise_ms answers how much of it was, 0 = nothing.
 * - rank[]: candidates rank by (matched, priority) as heartbeats carried them;
 *   the order of the list is that of the membership, the last tie-break. The
 *   master says what comes of it, so that all go by one order.
 * - clock_vlsn, clock_ms: heartbeats and votes carry the newest master time
 *   seen; times compare by (VLSN of the newest CLOCK record, time).
 * - committed: a replica raises its own to min(this, matched).
 * - verdict ROUND_TERM: a refused round tells a master of a higher term.
 * - boot_count, boot: votes are bound to the boot that asked, and an answer
 *   says whose question it answers.
 * - member_vlsn: which membership the candidate goes by; only the candidate
 *   counts, by its membership.
 * - matched, priority, index of a vote: a pre-candidate that is asked by a
 *   better one grants and withdraws.
 * - released_master, released_term: a vote request may carry released(master,
 *   term), which voids the promise to exactly that pair.
 * - promise_ms of a vote's answer: when it is worth asking again.
 * - asked and term of a vote's answer: a voter that stored a higher term and
 *   lost must be heard of, or it is locked out.
 * - stand: the message that tells the target of a handover to stand carries
 *   the release.
 * - flags: members tell each other of a full or stalled disk, for a master
 *   without space hands over if another one has some.
 */
#ifndef IPC_MSG_VOTE_H
#define IPC_MSG_VOTE_H

#include <stdint.h>
#include "shm/commit.h"

#define ROUND_LEASE_MAX 60000 /* ms */

enum round_flag {
	ROUND_NO_SPACE = 1, /* its disk is full */
	ROUND_STALLED = 2, /* its disk does not answer */
	ROUND_LOG_CLOSED = 4, /* a write or a flush of its log failed */
	ROUND_BEHIND = 8, /* it is fed from segment files */
	ROUND_WANTS_RESTORE = 16, /* it cannot be fed from anybody's log */
	ROUND_FLAGS = 31
};

struct round_rank {
	uint64_t incarnation;
	uint64_t matched; /* VLSN */
	uint32_t priority;
	uint8_t rank; /* members that are to stand before it */
};

struct msg_round {
	uint64_t term;
	uint64_t round;
	uint64_t committed;
	uint64_t clock_vlsn, clock_ms;
	uint32_t lease_ms;
	uint16_t flags;
	uint16_t rank_count;
	struct round_rank rank[MEMBER_MAX];
};

enum round_verdict {
	ROUND_TAKEN = 1, /* promise_ms is promised */
	ROUND_TERM = 2, /* `term` is higher */
	ROUND_LATE = 3 /* not newer than the last one that was answered */
};

/* The positions are clamped by who sends: matched, durable <= appended. */
struct msg_round_answer {
	uint64_t term;
	uint64_t round;
	uint32_t promise_ms;
	uint8_t verdict;
	uint16_t flags;
	uint64_t first; /* oldest VLSN in its log; 0: it is empty */
	uint64_t matched, appended, durable, applied;
	uint64_t clock_vlsn, clock_ms;
};

/* MSG_PREVOTE, MSG_VOTE. */
struct msg_vote {
	uint64_t term; /* that it stands, or would stand, in */
	uint64_t boot_count, boot; /* of who asks */
	uint64_t last_term, last; /* of its log's appended end, fenced */
	uint64_t member_vlsn;
	uint64_t matched;
	uint32_t priority;
	uint16_t index; /* in its membership */
	uint64_t clock_vlsn, clock_ms;
	uint64_t released_master, released_term; /* both 0: none */
};

enum vote_verdict {
	VOTE_GRANTED = 1,
	VOTE_TERM = 2, /* `term` is not below what was asked for */
	VOTE_GIVEN = 3, /* to another member, or to another boot of this one */
	VOTE_LOG = 4, /* the voter's log is newer */
	VOTE_PROMISE = 5, /* a promise holds for promise_ms */
	VOTE_NO_VOTER = 6, /* of a type, or in a state, that has no vote */
	VOTE_BUSY = 7, /* another vote is being stored: ask again */
	VOTE_WORSE = 8 /* pre-vote: the voter itself ranks higher */
};

/* MSG_PREVOTE_ANSWER, MSG_VOTE_ANSWER. */
struct msg_vote_answer {
	uint64_t term; /* the voter's */
	uint64_t asked; /* the term that was asked for */
	uint64_t boot_count, boot; /* of who asked */
	uint64_t last_term, last; /* of the voter's log */
	uint64_t clock_vlsn, clock_ms;
	uint32_t promise_ms; /* left of its promise; 0: none holds */
	uint8_t verdict;
};

struct msg_released {
	uint64_t term;
	uint64_t master; /* incarnation */
	uint8_t stand; /* 1: the receiver is to stand at once */
};

struct msg_read {
	uint64_t ticket; /* all up to this one */
	uint64_t term;
};

enum read_verdict {
	READ_GIVEN = 1, /* committed is what they must see */
	READ_NOT_MASTER = 2,
	READ_NO_LEASE = 3,
	READ_TOO_EARLY = 4 /* the term's first record is not committed */
};

struct msg_read_answer {
	uint64_t ticket;
	uint64_t term;
	uint64_t committed;
	uint8_t verdict;
};

#endif
