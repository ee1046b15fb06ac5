/*
 * Founding a group, and what members ask of each other for an admin: on a
 * control connection that is ready.
 *
 *    initiator         each member
 *    CANDIDATE   ->
 *                <-    CANDIDATE_ANSWER  what it would be a member as
 *    NOTE        ->                 noted durably; another is refused
 *                <-    NOTE_ANSWER
 *    (its own `node` says joined, durably: the commit point)
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
 * - record: each member durably notes (uuid, initiator, membership), all
 *   incarnations among it. A directory made anew has another incarnation, and
 *   is none of those. Nobody proposes a membership again: this one counts.
 * - calls: a node knows where it listens, the others where it is to be reached.
 * - uuid, initiator of NOTE_ANSWER: whose note is in the way.
 * - crc of FOUND: whoever has joined completes those that hold the note; it
 *   says which, so that nobody joins as a member of another one.
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

#define MSG_ADDRESS_SIZE 256 /* HOST:PORT, and its NUL */
#define MSG_RECORD_MAX   16384 /* bytes of a membership's record */

struct msg_candidate {
	uint16_t count; /* members that the asker knows of, itself too */
};

struct msg_candidate_answer {
	uint8_t uuid[MSG_UUID]; /* of the note held now; zeros: none is */
	uint64_t incarnation;
	uint32_t priority, latency_ms;
	uint16_t read_capacity, write_capacity; /* per cent */
	uint16_t count; /* as msg_candidate's */
	uint8_t type; /* enum node_type */
	char region[MEMBER_NAME_MAX]; /* "" = none */
	char calls[MSG_ADDRESS_SIZE]; /* the asker, for members */
	char client[MSG_ADDRESS_SIZE]; /* its own, for clients */
};

struct msg_note {
	uint8_t uuid[MSG_UUID]; /* as the record has it */
	uint64_t initiator; /* incarnation; a member's */
	uint16_t record_len;
	uint8_t record[MSG_RECORD_MAX]; /* core/member.h */
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
	uint32_t crc; /* CRC32C of the record that was noted */
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
