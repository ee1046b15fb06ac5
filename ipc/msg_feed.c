/*
 * The data connection: see msg_feed.h.
 */
#include "ipc/msg_codec.h"
#include "shm/log/record.h"

_Static_assert(FEED_BYTES_MAX >= REC_LEN_MAX, "a frame holds any record");

/* clang-format off */
static const struct msg_field data_hello[] = {
	NUMBER(msg_data_hello, 0, magic, MSG_MAGIC, MSG_MAGIC,
	    "the bytes \"NLPW\""),
	NUMBER(msg_data_hello, 4, version, 1, UINT16_MAX, "protocol version"),
	NUMBER(msg_data_hello, 6, source, FEED_LIVE, FEED_SEGMENTS,
	    "1 live, 2 segment files"),
	ZERO(7, 1),
	ANY(msg_data_hello, 8, crc, "the chain behind the matchpoint"),
	ANY(msg_data_hello, 12, epoch, "the replica's log epoch"),
	ANY(msg_data_hello, 14, their_epoch, "the master's log epoch"),
	SOME(msg_data_hello, 16, connection, "number, as in the ticket"),
	TERM(msg_data_hello, 24, term, "the master's"),
	VLSN(msg_data_hello, 32, vlsn, "matchpoint; 0 = the beginning"),
	TERM_OR_NONE(msg_data_hello, 40, vlsn_term, "its term"),
	VLSN(msg_data_hello, 48, until, "as in the ticket"),
	SOME(msg_data_hello, 56, incarnation, "the replica"),
	SOME(msg_data_hello, 64, boot_count, "counter of its boot"),
	SOME(msg_data_hello, 72, boot, "and its random id"),
	SOME(msg_data_hello, 80, their_incarnation, "the master"),
	SOME(msg_data_hello, 88, their_boot_count, "counter of its boot"),
	SOME(msg_data_hello, 96, their_boot, "and its random id"),
	BYTES(msg_data_hello, 104, nonce, "random, of this connection"),
	BYTES(msg_data_hello, 136, tag, "HMAC, see PROOF OF THE KEY"),
};

static const struct msg_field data_welcome[] = {
	SOME(msg_data_welcome, 0, connection, "number, as in the ticket"),
	BYTES(msg_data_welcome, 8, tag, "HMAC, see PROOF OF THE KEY"),
};

static const struct msg_field frame[] = {
	TERM(msg_frame, 0, term, "the master's"),
	VLSN(msg_frame, 8, committed, "VLSN up to which all is committed"),
	VLSN(msg_frame, 16, first, "VLSN of the first record; 0: none follows"),
	VLSN(msg_frame, 24, last, "and of the last one"),
	LOG(msg_frame, 32, bytes, FEED_BYTES_MAX,
	    "whole records, as nodelife-wal(5) has them"),
};

static const struct msg_field ack[] = {
	TERM(msg_ack, 0, term, "of the frames"),
	VLSN(msg_ack, 8, appended, "newest VLSN in the replica's log"),
	VLSN(msg_ack, 16, durable, "newest VLSN on its disk"),
};

static const struct msg_field feed_end[] = {
	TERM(msg_feed_end, 0, term, "the master's"),
	VLSN(msg_feed_end, 8, last, "newest VLSN that was sent"),
	NUMBER(msg_feed_end, 16, reason, FEED_CAUGHT_UP, FEED_STOPPED,
	    "1 go on live from there, 2 sync up again, 3 the feeder stops"),
	ZERO(17, 7),
};
/* clang-format on */

static const char *
data_hello_check(const void *msg)
{
	const struct msg_data_hello *m = msg;
	const char *wrong =
	    matchpoint_check(m->vlsn, m->vlsn_term, m->crc, m->term);

	if (wrong == NULL)
		wrong = until_check(m->source, m->vlsn, m->until);
	if (wrong != NULL)
		return wrong;
	if (m->incarnation == m->their_incarnation)
		return "their_incarnation";
	return NULL;
}

/* Bytes for each of its records, and records for its bytes. */
static const char *
frame_check(const void *msg)
{
	const struct msg_frame *m = msg;
	uint64_t count;

	if ((m->first == 0) != (m->last == 0) || m->first > m->last)
		return "last";
	count = m->first == 0 ? 0 : m->last - m->first + 1;
	if (m->bytes % 8 != 0 || (m->bytes == 0) != (count == 0) ||
	    m->bytes / REC_HEADER_SIZE < count)
		return "bytes";
	return NULL;
}

static const char *
ack_check(const void *msg)
{
	const struct msg_ack *m = msg;

	return m->durable > m->appended ? "durable" : NULL;
}

LAYOUT(msg_data_hello, data_hello, 168, data_hello_check);
LAYOUT(msg_data_welcome, data_welcome, 40, NULL);
LAYOUT(msg_frame, frame, 32, frame_check);
LAYOUT(msg_ack, ack, 24, ack_check);
LAYOUT(msg_feed_end, feed_end, 24, NULL);
