/*
 * Founding a group of several, in two steps (DESIGN, 8 "Founding"). Each node
 * that is of no group runs this machine: whoever is asked to is the initiator,
 * the others are members; messages are those of ipc/msg_admin.h.
 *
 * 1. All others are reached, are of no group, and say what they would be
 *    members as. The initiator makes uuid and membership, and notes them; so
 *    does each member, and refuses another note.
 * 2. When all have noted it, *with connections that stand*, the initiator's own
 *    `node` file says joined: that is the commit point. Members follow.
 *
 * What must hold:
 * - nothing is sent that rests on a file before the file is durable;
 * - the initiator joins only with a note that it holds: once its note is
 *   cleared that group will never be, so whoever holds it, too, may clear it;
 * - a member clears a note only when its initiator says that, or shows itself
 *   without it, or is gone for good: another directory has its name, and all
 *   others are there and of no group;
 * - whoever has joined completes those of its membership that have not
 *   (found_complete()), so a founding that is past its commit point ends.
 * So there is one group or none, whoever is killed when; two that found at
 * once both refuse the other's note, and clear theirs.
 *
 * One thing is stored at a time: behind a store in found_todo the next event is
 * its end. Pure: no clock, I/O, allocation or log.
 */
#ifndef WORKERS_GROUP_CORE_FOUND_H
#define WORKERS_GROUP_CORE_FOUND_H

#include "ipc/msg.h"
#include "workers/group/core/note.h"

#define FOUND_PEERS_MAX (MEMBER_MAX - 1)
#define FOUND_NEVER     UINT64_MAX
#define FOUND_REACH_NS  UINT64_C(10000000000) /* dials pause 5 s at most */
#define FOUND_ASK_NS    UINT64_C(5000000000)
#define FOUND_FINISH_NS UINT64_C(5000000000)
#define FOUND_RETRY_NS  UINT64_C(2000000000) /* a disk that failed */

/* What this node is; outlives the machine. */
struct found_self {
	struct member row; /* .peer: where it listens */
	uint32_t lease_ms;
	char group[MEMBER_NAME_MAX];
	unsigned count; /* other members that it knows of */
	struct {
		char name[MEMBER_NAME_MAX], address[MEMBER_ADDR_MAX];
	} peer[FOUND_PEERS_MAX];
};

enum found_state {
	FOUND_AT_REST, /* waits for an operator, or for somebody's note */
	FOUND_REACHING, /* all are to be connected */
	FOUND_ASKING, /* what they would be members as */
	FOUND_NOTING, /* the own note is on its way to the disk */
	FOUND_TELLING, /* all are to note it */
	FOUND_JOINING, /* the own node file is on its way */
	FOUND_FINISHING, /* the others are to join, too */
	FOUND_CLEARING, /* the own note goes: it will never be */
	FOUND_GIVING_UP, /* the initiator of the note here is asked */
	FOUND_OVER /* joined: the node boots again */
};

enum found_event_kind {
	FOUND_ASKED, /* by an operator; .give_up, .uuid */
	FOUND_UP, /* .peer is connected, .facts */
	FOUND_DOWN, /* .peer */
	FOUND_MESSAGE, /* .peer, .type, .msg */
	FOUND_STORED, /* what was to be stored, is, durably */
	FOUND_STORE_FAILED, /* .error; the node file is as it was */
	FOUND_TICK
};

struct found_event {
	enum found_event_kind kind;
	unsigned peer;
	bool give_up;
	const uint8_t *uuid; /* FOUND_ASKED: 16 random bytes */
	const struct msg_proof *facts;
	unsigned type;
	const union msg *msg;
	int error;
	uint64_t now_ns;
};

enum found_store {
	FOUND_STORE_NOTHING,
	FOUND_STORE_NOTE, /* f->note */
	FOUND_STORE_CLEAR, /* no note */
	FOUND_STORE_NODE /* joined, by f->note */
};

/* What an operator is told. */
enum found_result {
	FOUND_NO_RESULT,
	/* Good ones. */
	FOUND_RESULT_DONE, /* .who has not joined yet, and will */
	FOUND_RESULT_GIVEN_UP,
	FOUND_RESULT_NOTHING, /* there is nothing to give up */
	/* Nothing was changed, or it was undone. */
	FOUND_RESULT_UNREACHED, /* .who */
	FOUND_RESULT_MEMBER, /* .who is of a group, or has lost its memory */
	FOUND_RESULT_NOTED, /* .who has another note */
	FOUND_RESULT_COUNT, /* .who knows of .count members */
	FOUND_RESULT_ANEW, /* .who has another directory than was noted */
	FOUND_RESULT_UNFIT, /* .why: the membership cannot be */
	FOUND_RESULT_SILENT, /* .who does not answer */
	FOUND_RESULT_REFUSED, /* .who, .verdict: enum note_verdict */
	FOUND_RESULT_YIELDED, /* .who founds, too, and was faster */
	FOUND_RESULT_STOPPED, /* found --abandon came, here or at .who */
	FOUND_RESULT_NOTED_HERE, /* another's note is here; .who, if known */
	FOUND_RESULT_DISK, /* .error */
	/* Of giving up: the note stays. */
	FOUND_RESULT_NO_WORD, /* the initiator, .who, was not to be asked */
	FOUND_RESULT_FOUNDED /* there is a group: this node will join it */
};

struct found_peer {
	bool up;
	bool answered, taken, joined; /* in this founding, on this link */
	uint8_t standing; /* enum msg_standing */
	uint8_t uuid[MSG_UUID];
	uint64_t incarnation;
	struct msg_candidate_answer row;
};

struct found {
	const struct found_self *self;
	enum found_state state;
	uint64_t deadline_ns;
	bool asked; /* an operator waits for a result */
	bool has_note; /* is, or may be, on disk */
	bool note_sure; /* and was stored by this process, durably */
	bool joined; /* the node file is */
	bool founded; /* who may say so did: it joins, as soon as that can be
			 stored */
	struct note note;
	uint8_t uuid[MSG_UUID]; /* of the group to be */
	/* What follows the store that is under way. */
	enum found_store storing;
	int reply_to; /* who sent the note that is stored; -1 = this node */
	enum found_result because; /* CLEARING: what the operator is told */
	/* The result: read when found_todo has one. */
	uint16_t who; /* mask of peers */
	uint8_t verdict;
	unsigned count;
	int error;
	const char *why;
	struct found_peer peer[FOUND_PEERS_MAX];
};

struct found_send {
	uint16_t to; /* mask of peers */
	unsigned type; /* MSG_NOTE: made of f->note by found_note_msg() */
	union {
		struct msg_candidate candidate;
		struct msg_candidate_answer candidate_answer;
		struct msg_note_answer note_answer;
		struct msg_found found;
		struct msg_found_answer found_answer;
		struct msg_abandon abandon;
	};
};
#define FOUND_SENDS_MAX 4

/* Done in this order: send, store, tell, then boot again. */
struct found_todo {
	unsigned sends;
	struct found_send send[FOUND_SENDS_MAX];
	enum found_store store;
	enum found_result result; /* an operator who waits is told */
	bool news; /* what the node waits for has changed */
	bool restart;
};

/* `note` NULL: none is on disk. */
void found_init(
    struct found *f, const struct found_self *self, const struct note *note);
void found_step(
    struct found *f, const struct found_event *ev, struct found_todo *out);

/* What this node's handshake says: standing, uuid. */
void found_facts(const struct found *f, struct msg_proof *out);
/* The peer who founds what is noted here; -1: this node, or nobody here. */
int found_initiator(const struct found *f);
bool found_is_own(const struct found *f);

void found_note_msg(const struct note *note, struct msg_note *out);
/*
 * For whoever has joined, its membership's note at hand: what is to be sent to
 * a member that shows these facts: at most MSG_NOTE, and MSG_FOUND behind it.
 */
struct found_completion {
	bool note, found;
	struct msg_found msg;
};
void found_complete(const struct note *note, const struct msg_proof *facts,
    struct found_completion *out);
/*
 * The same: what a message of founding is answered by; .type, not .to, is set;
 * MSG_NOTE is made by found_note_msg().
 * False: by nothing.
 */
bool found_member_answers(const struct note *note, unsigned type,
    const union msg *m, struct found_send *out);

#endif
