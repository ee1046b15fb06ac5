/*
 * The handshake of a control connection, and how either kind is refused.
 *
 *    dialer            listener
 *    HELLO       ->
 *                <-    CHALLENGE
 *    PROOF       ->
 *                <-    PROOF
 *    WELCOME     <->   WELCOME, each when it has judged
 *
 * Until the other one has proven to have the group's key, what is read of it
 * is one HELLO or CHALLENGE, whose layout is for ever, and what it learns of a
 * listener is a name and a group. All that tells of a node is in PROOF, under
 * the tag, which covers every byte before it in both directions (ipc/auth.h).
 * The dialer's comes first: who answers at an address that it was given learns
 * its log range, boot and uuid, which are no secrets; who only dials does not.
 *
 * The fields that serve a sentence of the design:
 * - version_min, version_max: a node speaks protocol N and N - 1. Under the
 *   tag, so nobody in between talks two nodes down to an older one.
 * - boot_count, boot: a boot is (counter, random id): a lower counter, or an
 *   equal one with another id, is a clone or an older copy; a higher one voids
 *   promises to the lower ones of that incarnation (an obituary).
 * - standing: who is unjoined is asked for no vote and may be founded; who is
 *   noted waits for its initiator; who is joined without log or state has lost
 *   its memory and neither votes nor acknowledges.
 * - term: a master that learns of a higher one from a voter, here or by a
 *   refused round, stands anew. It is never below last_term: who lost its
 *   state tells that one.
 * - last, last_term: one that comes back with less than it acknowledged is
 *   treated as wiped.
 * - features: a feature is enabled once all members speak it.
 */
#ifndef IPC_MSG_HELLO_H
#define IPC_MSG_HELLO_H

#include <stdint.h>
#include "shm/commit.h"

#define MSG_MAGIC     UINT32_C(0x57504c4e) /* "NLPW" */
#define MSG_UUID      16
#define MSG_NONCE     32
#define MSG_TAG       32
#define MSG_TEXT_SIZE 200 /* a sentence, and its NUL */

enum msg_hello_flag {
	HELLO_KEYED = 1 /* has a group key */
};

struct msg_hello {
	uint32_t magic;
	uint16_t version_min, version_max;
	uint8_t flags;
	uint8_t nonce[MSG_NONCE];
	char name[MEMBER_NAME_MAX];
	char group[MEMBER_NAME_MAX];
};

struct msg_challenge {
	uint16_t version;
	uint8_t flags;
	uint8_t nonce[MSG_NONCE];
	char name[MEMBER_NAME_MAX];
	char group[MEMBER_NAME_MAX];
};

enum msg_standing {
	STANDING_UNJOINED = 1, /* of no group yet */
	STANDING_NOTED = 2, /* holds the note of one being founded */
	STANDING_JOINED = 3,
	STANDING_LOST = 4 /* joined, and without log or state */
};

struct msg_proof {
	uint8_t uuid[MSG_UUID]; /* zeros: unjoined */
	uint64_t generation;
	uint64_t incarnation;
	uint64_t boot_count;
	uint64_t boot;
	uint64_t term;
	uint64_t first, last; /* VLSN; both 0: an empty log */
	uint64_t last_term;
	uint64_t features;
	uint8_t type; /* enum node_type */
	uint8_t standing;
	uint8_t tag[MSG_TAG];
};

struct msg_welcome {
	uint8_t none; /* no field: that it comes is what it says */
};

/*
 * Why a connection is not wanted (any more): what the other end is told, and
 * what is counted at this one. number, NAME, name, what it means.
 */
/* clang-format off */
#define MSG_REFUSALS(X) \
	X(1, PROTOCOL, protocol, "no protocol version that both speak") \
	X(2, KEY, key, "only one of the two has a group key") \
	X(3, PROOF, proof, "the group keys differ, or somebody has none") \
	X(4, NAME, name, "another node than the one that was meant") \
	X(5, GROUP, group, "of a group of another name") \
	X(6, UUID, uuid, "of another group of that name") \
	X(7, GENERATION, generation, "of another generation of the group") \
	X(8, MEMBER, member, "no member") \
	X(9, CLONE, clone, "a copy of a node, or an older state of it") \
	X(10, ALIVE, alive, "an earlier boot of the node still beats") \
	X(11, TYPE, type, "of another type than the group knows") \
	X(12, SPARE, spare, "there is a connection already") \
	X(13, BUSY, busy, "no room for more connections") \
	X(14, TICKET, ticket, "a data connection that nobody asked for") \
	X(15, NONSENSE, nonsense, "bytes that are no message") \
	X(16, DIRECTION, direction, "a message that only the other may send") \
	X(17, STATE, state, "a message that is not legal now") \
	X(18, SEQUENCE, sequence, "a frame that is missing or came twice") \
	X(19, FLOOD, flood, "more messages than anybody needs") \
	X(20, STALL, stall, "silence, or half a message") \
	X(21, STOPPING, stopping, "the node stops") \
	X(22, LOCAL, local, "no memory, or the like, at this end") \
	X(23, FEATURE, feature, "without a feature that the group uses") \
	X(24, OTHER, other, "for a reason that this release does not know")
/* clang-format on */

enum msg_reason {
	REFUSED_NOTHING = 0,
#define X(number, NAME, name, means) REFUSED_##NAME = number,
	MSG_REFUSALS(X)
#undef X
	    REFUSED_COUNT
};

/* For ever, as HELLO: a newer release has reasons that are not in the enum. */
struct msg_refusal {
	uint16_t reason; /* enum msg_reason, or beyond it */
	char text[MSG_TEXT_SIZE]; /* for the log of the other end */
};

const char *msg_reason_name(unsigned reason); /* "?" if it is none */
const char *msg_reason_means(unsigned reason);

#endif
