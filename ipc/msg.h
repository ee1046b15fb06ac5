/*
 * The messages between members: one numbered table, one frame, and a codec for
 * each that is a pure function. Byte-exact description: nodelife-wire(5),
 * whose tables are made from the same rows.
 *
 * A frame:
 *	off size
 *	  0    4  CRC32C of bytes 4 to the end of the message's own fields
 *	  4    4  length of the whole frame, this header included
 *	  8    2  number of the message, enum msg_type
 *	 10    2  zero
 *	 12    4  sequence number: 0, 1, 2, … in each direction of a connection
 *	 16       the message's fields, then, in MSG_FRAME, the log's own bytes
 *
 * Why a CRC, when TCP has a sum: that is of 16 bits, made anew by each network
 * card that computes it, and what it lets through would here be a term, a vote
 * or an acknowledgement. It costs some 10 ns a message. The log's own bytes are
 * left out: each record has a CRC, chained, which is checked before anything
 * is appended, and so a frame's head is sound, and its records may be taken,
 * before the frame is whole. It is no seal: who can alter packets can alter
 * it, too.
 *
 * Why a sequence number: a frame sent twice or not at all, by an error here or
 * in what lies between, is the end of the connection and not a second vote.
 *
 * Lengths are bounded by the row of a message that is legal at that moment
 * before anything is waited for or kept, and a bad CRC, an unknown number, a
 * zero that is none or a field out of its bounds end the connection, by name.
 *
 * A message's layout never changes. A new protocol version has new numbers for
 * what it changes (`since`), so that one table serves version N and N - 1, and
 * numbers that are no longer used stay taken.
 *
 * Nothing here allocates, logs, or reads a clock. A struct owns no memory.
 */
#ifndef IPC_MSG_H
#define IPC_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ipc/msg_admin.h"
#include "ipc/msg_feed.h"
#include "ipc/msg_hello.h"
#include "ipc/msg_sync.h"
#include "ipc/msg_vote.h"

#define MSG_PROTOCOL     1u /* the version of this release, N */
#define MSG_PROTOCOL_MIN 1u /* N - 1, which there is none of yet */

#define MSG_CRC_OFF   0
#define MSG_LEN_OFF   4
#define MSG_TYPE_OFF  8
#define MSG_ZERO_OFF  10
#define MSG_SEQ_OFF   12
#define MSG_HEAD      16
#define MSG_FRAME_MAX (MSG_HEAD + 32 + FEED_BYTES_MAX) /* of all */
#define MSG_SMALL_MAX 16456u /* of all but MSG_FRAME */
#define MSG_FIRST_MAX 190u /* of those that open a connection */

/* Which of the two connections of a pair a message travels on. */
enum msg_on {
	ON_CONTROL = 1, /* group to group */
	ON_DATA = 2, /* wal to wal */
	ON_BOTH = 3
};

/* Who of a connection sends it. */
enum msg_from {
	FROM_DIALER = 1, /* who opened the connection */
	FROM_LISTENER = 2, /* who accepted it */
	FROM_BOTH = 3
};

/* What a connection waits for; a mask of those says when a message is legal. */
enum msg_when {
	WHEN_FIRST = 1, /* listener: the first message */
	WHEN_CHALLENGE = 2, /* dialer: the answer to it */
	WHEN_PROOF = 4, /* both: that the other one has the group's key */
	WHEN_JUDGED = 8, /* both: that the other one wants this connection */
	WHEN_WELCOME = 16, /* dialer, data: the answer to MSG_DATA_HELLO */
	WHEN_READY = 32, /* both: anything but another handshake */
	WHEN_ANSWER = 2 | 4 | 8 | 16 | 32 /* all but the first */
};

/*
 * number, NAME, name, its fields' struct, on, from, when, since, least and most
 * bytes of a frame. Append only.
 */
/* clang-format off */
#define MESSAGES(X) \
	X(1, HELLO, hello, hello, CONTROL, DIALER, FIRST, 1, 66, 190) \
	X(2, CHALLENGE, challenge, challenge, CONTROL, LISTENER, CHALLENGE, \
	    1, 58, 182) \
	X(3, PROOF, proof, proof, CONTROL, BOTH, PROOF, 1, 152, 152) \
	X(4, WELCOME, welcome, welcome, CONTROL, BOTH, JUDGED, 1, 24, 24) \
	X(5, REFUSAL, refusal, refusal, BOTH, BOTH, ANSWER, 1, 24, 223) \
	X(16, ROUND, round, round, CONTROL, BOTH, READY, 1, 64, 448) \
	X(17, ROUND_ANSWER, round_answer, round_answer, CONTROL, BOTH, \
	    READY, 1, 96, 96) \
	X(18, PREVOTE, prevote, vote, CONTROL, BOTH, READY, 1, 112, 112) \
	X(19, PREVOTE_ANSWER, prevote_answer, vote_answer, CONTROL, BOTH, \
	    READY, 1, 88, 88) \
	X(20, VOTE, vote, vote, CONTROL, BOTH, READY, 1, 112, 112) \
	X(21, VOTE_ANSWER, vote_answer, vote_answer, CONTROL, BOTH, \
	    READY, 1, 88, 88) \
	X(22, RELEASED, released, released, CONTROL, BOTH, READY, 1, 40, 40) \
	X(24, READ, read, read, CONTROL, BOTH, READY, 1, 32, 32) \
	X(25, READ_ANSWER, read_answer, read_answer, CONTROL, BOTH, \
	    READY, 1, 48, 48) \
	X(32, SYNC_RUNS, sync_runs, runs, CONTROL, BOTH, READY, 1, 72, 16456) \
	X(33, SYNC_ANSWER, sync_answer, runs, CONTROL, BOTH, \
	    READY, 1, 72, 16456) \
	X(34, SYNC_MATCH, sync_match, match, CONTROL, BOTH, READY, 1, 64, 64) \
	X(35, SYNC_REFUSED, sync_refused, sync_refused, CONTROL, BOTH, \
	    READY, 1, 56, 56) \
	X(36, TICKET, ticket, ticket, CONTROL, BOTH, READY, 1, 112, 112) \
	X(48, NOTE, note, note, CONTROL, BOTH, READY, 1, 49, 16432) \
	X(49, NOTE_ANSWER, note_answer, note_answer, CONTROL, BOTH, \
	    READY, 1, 48, 48) \
	X(50, FOUND, found, found, CONTROL, BOTH, READY, 1, 48, 48) \
	X(51, FOUND_ANSWER, found_answer, found_answer, CONTROL, BOTH, \
	    READY, 1, 40, 40) \
	X(52, ABANDON, abandon, abandon, CONTROL, BOTH, READY, 1, 32, 32) \
	X(53, ABANDON_ANSWER, abandon_answer, found_answer, CONTROL, BOTH, \
	    READY, 1, 40, 40) \
	X(54, CANDIDATE, candidate, candidate, CONTROL, BOTH, \
	    READY, 1, 24, 24) \
	X(55, CANDIDATE_ANSWER, candidate_answer, candidate_answer, CONTROL, \
	    BOTH, READY, 1, 64, 637) \
	X(64, STATUS, status, status, CONTROL, BOTH, READY, 1, 24, 24) \
	X(65, STATUS_ANSWER, status_answer, status_answer, CONTROL, BOTH, \
	    READY, 1, 105, 366) \
	X(80, DATA_HELLO, data_hello, data_hello, DATA, DIALER, FIRST, \
	    1, 184, 184) \
	X(81, DATA_WELCOME, data_welcome, data_welcome, DATA, LISTENER, \
	    WELCOME, 1, 56, 56) \
	X(82, FRAME, frame, frame, DATA, LISTENER, \
	    READY, 1, 48, MSG_FRAME_MAX) \
	X(83, ACK, ack, ack, DATA, DIALER, READY, 1, 40, 40) \
	X(84, FEED_END, feed_end, feed_end, DATA, LISTENER, READY, 1, 40, 40)
/* clang-format on */

enum msg_type {
#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	MSG_##NAME = number,
	MESSAGES(X)
#undef X
};

struct msg_layout; /* of the fields; msg_codec.h */

struct msg_row {
	const char *name; /* "round_answer" */
	const struct msg_layout *layout;
	uint32_t min, max; /* bytes of a frame */
	uint16_t type; /* enum msg_type */
	uint8_t on; /* enum msg_on */
	uint8_t from; /* enum msg_from */
	uint8_t when; /* mask of enum msg_when */
	uint8_t since; /* protocol version */
};

/* Any message, decoded. */
union msg {
#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	struct msg_##body name;
	MESSAGES(X)
#undef X
};

/* What is wrong with bytes that are no message. */
enum msg_fault {
	MSG_FINE = 0,
	MSG_BAD_LENGTH, /* of the frame */
	MSG_BAD_TYPE, /* no such number */
	MSG_BAD_CRC,
	MSG_BAD_ZERO, /* a reserved byte is set */
	MSG_BAD_VALUE, /* a number out of its bounds */
	MSG_BAD_TEXT, /* its length or a character */
	MSG_BAD_SENSE, /* fields that contradict each other */
	MSG_FAULT_COUNT
};

struct msg_error {
	enum msg_fault fault;
	const char *field; /* a constant; of the frame: "length", "type", … */
};

/* The header of a frame. */
struct msg_head {
	const struct msg_row *row;
	uint32_t len; /* whole frame */
	uint32_t seq;
};

/* NULL: there is no message of that number. */
const struct msg_row *msg_row(unsigned type);
/* In the order of the table; NULL behind the last. */
const struct msg_row *msg_row_at(unsigned index);
const char *msg_name(unsigned type); /* "?" if there is none */
const char *msg_fault_name(enum msg_fault fault);

/*
 * What the first n bytes of a connection's stream are: 0: a header, its length
 * within the bounds of its message; nothing of it is to be believed before
 * msg_decode(). -EAGAIN: not enough bytes. -EBADMSG: *e says what is wrong.
 */
int msg_head_decode(
    const uint8_t *at, size_t n, struct msg_head *out, struct msg_error *e);
/*
 * How many bytes of a frame msg_decode() needs: all of it, or, of MSG_FRAME,
 * all before the log's own bytes.
 */
uint32_t msg_needs(const struct msg_head *head);
/*
 * A frame whose header is decoded, of which msg_needs() bytes are at `at`, into
 * the struct of its fields (the member of union msg). 0, or -EBADMSG and *e.
 * Of *out nothing counts then. Texts are terminated, and zeros to the end of
 * their arrays; of a list what is behind its count is not written.
 */
int msg_decode(const uint8_t *at, const struct msg_head *head, void *out,
    struct msg_error *e);
/*
 * The frame of a message, at most `room` bytes: its length, but without the
 * log's own bytes, which the caller sends behind it; or -ENOSPC. A struct that
 * msg_decode() would refuse is a programmer's error.
 */
int msg_encode(
    unsigned type, const void *msg, uint32_t seq, uint8_t *at, size_t room);
/* Would it be refused? 0, or -EBADMSG and *e. */
int msg_check(unsigned type, const void *msg, struct msg_error *e);

/* The same by name: msg_round_encode(&round, …) is that of MSG_ROUND. */
#define X(number, NAME, name, body, on, from, when, since, min, max)           \
	static inline int msg_##name##_encode(const struct msg_##body *m,      \
	    uint32_t seq, uint8_t *at, size_t room)                            \
	{                                                                      \
		return msg_encode(number, m, seq, at, room);                   \
	}
MESSAGES(X)
#undef X

/* The highest version that both speak; 0 = none. */
unsigned
msg_version(unsigned min_a, unsigned max_a, unsigned min_b, unsigned max_b);

#endif
