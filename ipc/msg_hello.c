/*
 * Handshake and refusals: see msg_hello.h.
 */
#include "ipc/msg_codec.h"

/* clang-format off */
static const struct msg_field hello[] = {
	NUMBER(msg_hello, 0, magic, MSG_MAGIC, MSG_MAGIC, "the bytes \"NLPW\""),
	NUMBER(msg_hello, 4, version_min, 1, UINT16_MAX,
	    "oldest protocol version that the dialer speaks"),
	NUMBER(msg_hello, 6, version_max, 1, UINT16_MAX, "and the newest"),
	NUMBER(msg_hello, 8, flags, 0, HELLO_KEYED, "1: it has a group key"),
	NAME(msg_hello, 9, name, "the dialer's name"),
	NAME(msg_hello, 10, group, "its group's name"),
	ZERO(11, 5),
	BYTES(msg_hello, 16, nonce, "random, of this connection"),
};

static const struct msg_field challenge[] = {
	NUMBER(msg_challenge, 0, version, 1, UINT16_MAX,
	    "protocol version of this connection"),
	NUMBER(msg_challenge, 2, flags, 0, HELLO_KEYED,
	    "1: the listener has a group key"),
	NAME(msg_challenge, 3, name, "the listener's name"),
	NAME(msg_challenge, 4, group, "its group's name"),
	ZERO(5, 3),
	BYTES(msg_challenge, 8, nonce, "random, of this connection"),
};

static const struct msg_field proof[] = {
	BYTES(msg_proof, 0, uuid, "group uuid; zeros: of none yet"),
	ANY(msg_proof, 16, generation, "of the group; 0: of none yet"),
	SOME(msg_proof, 24, incarnation,
	    "random id made with the data directory"),
	SOME(msg_proof, 32, boot_count, "counter of this boot"),
	SOME(msg_proof, 40, boot, "and its random id"),
	TERM_OR_NONE(msg_proof, 48, term, "newest term it knows"),
	VLSN(msg_proof, 56, first, "oldest VLSN in its log; 0: it is empty"),
	VLSN(msg_proof, 64, last, "and the newest"),
	TERM_OR_NONE(msg_proof, 72, last_term, "term of that"),
	ANY(msg_proof, 80, features, "bits that it knows"),
	NUMBER(msg_proof, 88, type, 0, NODE_ARBITER,
	    "0 electable, 1 monitor, 2 secondary, 3 arbiter"),
	NUMBER(msg_proof, 89, standing, STANDING_UNJOINED, STANDING_LOST,
	    "1 of no group, 2 being founded, 3 member, 4 member without log or "
	    "state"),
	ZERO(90, 14),
	BYTES(msg_proof, 104, tag, "HMAC, see PROOF OF THE KEY"),
};

static const struct msg_field welcome[] = {
	ZERO(0, 8),
};

static const struct msg_field refusal[] = {
	SOME(msg_refusal, 0, reason, "see REFUSALS; others of newer releases"),
	TEXT(msg_refusal, 2, text, "a sentence for the log"),
	ZERO(3, 5),
};
/* clang-format on */

static const char *
hello_check(const void *msg)
{
	const struct msg_hello *m = msg;

	return m->version_min > m->version_max ? "version_max" : NULL;
}

static bool
uuid_is_none(const uint8_t uuid[MSG_UUID])
{
	static const uint8_t none[MSG_UUID];

	return memcmp(uuid, none, MSG_UUID) == 0;
}

static const char *
proof_check(const void *msg)
{
	const struct msg_proof *m = msg;
	bool alone = m->standing == STANDING_UNJOINED;

	if (uuid_is_none(m->uuid) != alone)
		return "uuid";
	if (alone && m->generation != 0)
		return "generation";
	if ((m->last == 0) != (m->last_term == 0))
		return "last_term";
	if (m->last_term > m->term)
		return "term";
	/* A log may begin behind its last record: all of it was recycled. */
	if (m->first > m->last + 1 || (m->first == 0 && m->last != 0))
		return "first";
	return NULL;
}

LAYOUT(msg_hello, hello, 48, hello_check);
LAYOUT(msg_challenge, challenge, 40, NULL);
LAYOUT(msg_proof, proof, 136, proof_check);
LAYOUT(msg_welcome, welcome, 8, NULL);
LAYOUT(msg_refusal, refusal, 8, NULL);

static const struct {
	const char *name, *means;
} reasons[REFUSED_COUNT] = {
#define X(number, NAME, name, means) [number] = { #name, means },
	MSG_REFUSALS(X)
#undef X
};

const char *
msg_reason_name(unsigned reason)
{
	return reason < REFUSED_COUNT && reasons[reason].name != NULL
		   ? reasons[reason].name
		   : "?";
}

const char *
msg_reason_means(unsigned reason)
{
	return reason < REFUSED_COUNT && reasons[reason].means != NULL
		   ? reasons[reason].means
		   : "?";
}
