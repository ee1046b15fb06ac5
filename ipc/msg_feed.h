/*
 * The data connection of a pair: the log's own bytes one way, acknowledgements
 * the other. The replica dials; the master's ticket came over the control
 * connection (msg_sync.h).
 *
 *    replica           master
 *    DATA_HELLO  ->
 *                <-    DATA_WELCOME
 *                <-    FRAME, ...
 *    ACK, ...    ->
 *                <-    FEED_END     (from segment files only)
 *
 * The fields that serve a sentence of the design:
 * - DATA_HELLO: the data socket is bound to both boots, both epochs, term,
 *   matchpoint and connection number: all of them are said again under the
 *   tag, and each has to be what the ticket was given for.
 * - term of FRAME: the term is in every frame, as nothing of a stale one may
 *   be taken; committed: a replica raises its own to min(this, matched).
 * - first, last: no gap and no overlap, seen before a record is looked at.
 * - ACK: cumulative, (term, appended, durable); durable is what counts.
 * - FEED_END: catch-up ends at a VLSN in the buffer, and the live connection
 *   is opened with that matchpoint; a half-sent stream never changes hands.
 */
#ifndef IPC_MSG_FEED_H
#define IPC_MSG_FEED_H

#include <stdint.h>
#include "ipc/msg_hello.h"

/* The log's own bytes in one frame: what one flush may carry. */
#define FEED_BYTES_MAX (2u * 1024 * 1024)

struct msg_data_hello {
	uint32_t magic;
	uint16_t version; /* as the control connection's */
	uint8_t source; /* enum feed_source */
	uint32_t crc; /* the chain behind the matchpoint */
	uint16_t epoch, their_epoch; /* the replica's, the master's */
	uint64_t connection;
	uint64_t term;
	uint64_t vlsn, vlsn_term;
	uint64_t until;
	uint64_t incarnation, boot_count, boot; /* the replica's */
	uint64_t their_incarnation, their_boot_count, their_boot;
	uint8_t nonce[MSG_NONCE]; /* the dialer's half */
	uint8_t tag[MSG_TAG];
};

struct msg_data_welcome {
	uint64_t connection;
	uint8_t tag[MSG_TAG];
};

struct msg_frame {
	uint64_t term;
	uint64_t committed;
	uint64_t first, last; /* VLSNs of its records; both 0: none */
	uint32_t bytes; /* of the log, behind the frame's fields */
};

struct msg_ack {
	uint64_t term;
	uint64_t appended, durable;
};

enum feed_end {
	FEED_CAUGHT_UP = 1, /* `last` is in the buffer: go on live */
	FEED_LAPPED = 2, /* it has left the buffer: sync up again */
	FEED_STOPPED = 3 /* the master is none any more, or stops */
};

struct msg_feed_end {
	uint64_t term;
	uint64_t last; /* newest VLSN that was sent; the matchpoint if none */
	uint8_t reason;
};

#endif
