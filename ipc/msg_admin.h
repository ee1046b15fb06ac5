/*
 * Founding a group, and what members ask of each other for an admin: on a
 * control connection that is ready.
 *
 *    initiator         each member
 *    NOTE        ->                 noted durably; another is refused
 *                <-    NOTE_ANSWER
 *    (its record 1 is durable: the commit point)
 *    FOUND       ->                 `node` says joined, durably
 *                <-    FOUND_ANSWER
 *
 *    who gives up      initiator    (or the other way round)
 *    ABANDON     ->
 *                <-    ABANDON_ANSWER  it was founded, or never will be
 *
 * Who has answered FOUND_DONE ends its connections and makes new ones: what a
 * handshake told of it stays true as long as the connection, and nobody votes,
 * or is asked to, on one that is of no group.
 *
 * The fields that serve a sentence of the design:
 * - initiator, incarnation[]: each member durably notes (uuid, initiator, all
 *   incarnations). A directory made anew has another incarnation, and is none
 *   of those.
 * - uuid, initiator of NOTE_ANSWER: whose note is in the way.
 * - term, crc of FOUND: any holder of record 1 completes members that hold its
 *   note; these two say which record 1, so that nobody joins a log that begins
 *   otherwise.
 * - ABANDON_ANSWER: a note is cleared after asking the initiator. Who answers
 *   FOUND_ABANDONED has made that true for ever first.
 * - STATUS_ANSWER: `members` shows versions; nodelifestat has a row for each
 *   member with role, log range, positions and last error.
 */
#ifndef IPC_MSG_ADMIN_H
#define IPC_MSG_ADMIN_H

#include <stdint.h>
#include "ipc/msg_hello.h"
#include "shm/commit.h"

#define MSG_RELEASE_SIZE 64 /* "0.1.0", and its NUL */

struct msg_note {
	uint8_t uuid[MSG_UUID];
	uint64_t initiator; /* incarnation; one of those below */
	uint16_t count;
	uint64_t incarnation[MEMBER_MAX];
};

enum note_verdict {
	NOTE_TAKEN = 1, /* and durable */
	NOTE_OTHER = 2, /* another note is held: uuid, initiator */
	NOTE_JOINED = 3, /* a member of uuid already */
	NOTE_NOT_NAMED = 4, /* this incarnation is not in it */
	NOTE_NOT_EMPTY = 5, /* there is a log or a state without a group */
	NOTE_FAILED = 6 /* it could not be stored */
};

struct msg_note_answer {
	uint8_t uuid[MSG_UUID];
	uint64_t initiator; /* 0: not known */
	uint8_t verdict;
};

struct msg_found {
	uint8_t uuid[MSG_UUID];
	uint64_t generation;
	uint64_t term; /* of record 1 */
	uint32_t crc; /* the chain behind it */
};

enum found_verdict {
	FOUND_DONE = 1, /* FOUND: joined, durably. ABANDON: it is founded */
	FOUND_NO_NOTE = 2, /* of that uuid */
	FOUND_OTHER = 3, /* a member of another group */
	FOUND_FAILED = 4, /* it could not be stored */
	FOUND_ABANDONED = 5 /* ABANDON: not founded, and never will be */
};

/* MSG_FOUND_ANSWER, MSG_ABANDON_ANSWER. */
struct msg_found_answer {
	uint8_t uuid[MSG_UUID];
	uint8_t verdict;
};

struct msg_abandon {
	uint8_t uuid[MSG_UUID];
};

struct msg_status {
	uint64_t ticket; /* comes back */
};

struct msg_status_answer {
	uint64_t ticket;
	uint64_t term;
	uint64_t master; /* incarnation; 0: none is known */
	uint64_t uptime_ms;
	uint64_t first, appended, durable, committed, applied; /* VLSN */
	uint64_t features;
	uint16_t version_min, version_max;
	uint8_t phase; /* of the boot, shm/sequencer.h */
	uint8_t role; /* enum role */
	char release[MSG_RELEASE_SIZE];
	char error[MSG_TEXT_SIZE]; /* the last one; "" = none */
};

#endif
