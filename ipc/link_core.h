/*
 * One end of a connection between members, pure: bytes that came go in, what
 * they mean and what is to be sent come out. The caller has the socket, the
 * clock, the chance and the buffers; both ends and both kinds of connection
 * run on this.
 *
 *    dialer, control         listener                dialer, data
 *    CHALLENGE               FIRST                   WELCOME
 *        |                     |   \ DATA_HELLO         |
 *      PROOF                 PROOF  SHOWN               |
 *        |                     |      | link_ticket()   |
 *        +------ PROVEN -------+      |                 |
 *                  | link_judge()     |                 |
 *                JUDGED               |                 |
 *                  | WELCOME          |                 |
 *                  +------ READY -----+-----------------+
 *    from each of them: DROPPED, by name
 *
 * What must hold:
 * 1. Without a proof of the group's key (a tag over all that was said before,
 *    auth.h) nothing is parsed but the first message, the proof itself and a
 *    refusal, each of fixed bounds, and nothing of the proof is believed
 *    before its tag is right.
 * 2. READY needs the other end's proof, this end's judgement, and the other
 *    end's welcome. What is behind a welcome waits for the judgement
 *    (LINK_HOLD).
 * 3. A length is bounded by a message that is legal now before it is waited
 *    for.
 * 4. A state that waits has a deadline (link_deadline()), and its exit is
 *    DROPPED. Half a frame has one of its own.
 * 5. Whatever is not to be: bytes that are no message, a message of the other
 *    direction, of another state, twice or out of order, too many of them,
 *    silence: the end, with the reason that is counted, and told to the other
 *    end if that has sent one sound message. After DROPPED nothing is parsed
 *    or sent.
 *
 * A refusal by an end that has not proven its key is told as a hint
 * (out->proven): log it, believe nothing.
 */
#ifndef IPC_LINK_CORE_H
#define IPC_LINK_CORE_H

#include "ipc/auth.h"
#include "ipc/msg.h"

/* From the first byte to READY, both judgements included. */
#define LINK_HANDSHAKE_NS UINT64_C(2000000000)
/* Half a frame, from its first byte; of the log, between two bytes. */
#define LINK_FRAME_NS UINT64_C(2000000000)
/*
 * A message costs its sender so much, and again for each 1,024 bytes of it, and
 * nobody may be further ahead of the clock than the credit is: 250,000 small
 * messages a second, or as many at once. The most that are needed are
 * acknowledgements, one for each flush.
 */
#define LINK_COST_NS   UINT64_C(4000)
#define LINK_CREDIT_NS UINT64_C(1000000000)
#define LINK_SAID_MAX  544 /* HELLO, CHALLENGE, PROOF */
#define LINK_SEND_MAX  256 /* the longest of a handshake, or a refusal */
/* Where the tags are in their frames. */
#define LINK_PROOF_TAG   (MSG_HEAD + 104)
#define LINK_DATA_TAG    (MSG_HEAD + 136)
#define LINK_WELCOME_TAG (MSG_HEAD + 8)
#define LINK_DATA_FACTS  (MSG_HEAD + 104) /* all before the nonce */

enum link_state {
	LINK_FIRST,
	LINK_CHALLENGE,
	LINK_PROOF,
	LINK_PROVEN, /* waits for link_judge() */
	LINK_JUDGED, /* waits for the other end's welcome */
	LINK_SHOWN, /* waits for link_ticket() */
	LINK_WELCOME,
	LINK_READY,
	LINK_DROPPED
};

/* What this node is, the same for all its links; outlives them. */
struct link_self {
	const struct auth_key *key; /* len 0: none */
	uint16_t version_min, version_max;
	uint64_t silence_ns; /* READY, control: longest one; 0 = any */
	char name[MEMBER_NAME_MAX];
	char group[MEMBER_NAME_MAX];
};

/* What a ticket was given for, kept by who gave it. */
struct link_ticket {
	uint8_t nonce[MSG_NONCE];
	struct msg_data_hello want; /* but nonce and tag */
};

struct link_core {
	const struct link_self *self;
	enum link_state state;
	uint8_t role; /* enum msg_from: FROM_DIALER or FROM_LISTENER */
	uint8_t on; /* enum msg_on; 0: the first message tells */
	bool proven; /* the other end has the key */
	bool welcomed; /* by the other end, before this one judged */
	uint16_t version; /* 0 = not agreed yet */
	uint32_t seq_in, seq_out;
	uint32_t log_left; /* bytes of the log that belong to the last FRAME */
	uint32_t said_len;
	uint64_t start_ns;
	uint64_t heard_ns; /* the last whole message, or byte of the log */
	uint64_t part_ns; /* when half a frame came; 0 = none is there */
	uint64_t flood_ns; /* when what was taken is paid for */
	struct msg_proof mine, peer; /* peer: if proven, on a control link */
	struct msg_data_hello data; /* what is shown, or was */
	char peer_name[MEMBER_NAME_MAX]; /* dialer: whom it wants; "" = any */
	uint8_t nonce[MSG_NONCE];
	uint8_t said[LINK_SAID_MAX];
};

enum link_what {
	LINK_MORE, /* no whole message: read on */
	LINK_HOLD, /* nothing before link_judge() or link_ticket() */
	LINK_STEP, /* the handshake went on; call again */
	LINK_NEEDS_JUDGEMENT, /* who has the key says l->peer_name, l->peer */
	LINK_NEEDS_TICKET, /* of l->data.connection; nothing is proven */
	LINK_OPEN, /* it is ready now */
	LINK_MESSAGE, /* *msg, of out->type */
	LINK_LOG, /* bytes of the log, at out->log */
	LINK_DROP /* close, when out->send is sent */
};

struct link_out {
	enum link_what what;
	size_t used; /* bytes of the input that are done with */
	unsigned type; /* LINK_MESSAGE: enum msg_type */
	const uint8_t *log; /* LINK_LOG: in the caller's buffer */
	size_t log_len;
	bool log_end; /* these end their frame */
	/* LINK_DROP */
	unsigned reason; /* enum msg_reason */
	bool by_peer; /* the other end said so; else this one */
	bool proven; /* and had proven its key */
	char text[MSG_TEXT_SIZE]; /* "round: lease_ms: value out of bounds" */
	/* To be sent in any case, behind whole frames only. */
	size_t send_len;
	uint8_t send[LINK_SEND_MAX];
};

/*
 * Begin. `mine` is what PROOF says (its tag is not looked at), `nonce` is new
 * and random. A dialer says whom it means ("" = anybody) and has the first
 * message in *out.
 */
void link_dial(struct link_core *l, const struct link_self *self,
    const struct msg_proof *mine, const char *whom,
    const uint8_t nonce[MSG_NONCE], uint64_t now_ns, struct link_out *out);
void link_listen(struct link_core *l, const struct link_self *self,
    const struct msg_proof *mine, const uint8_t nonce[MSG_NONCE],
    uint64_t now_ns);
/* A data connection, by the ticket that the control connection brought. */
void link_dial_data(struct link_core *l, const struct link_self *self,
    const struct link_ticket *ticket, const uint8_t nonce[MSG_NONCE],
    uint64_t now_ns, struct link_out *out);

/*
 * The next message of n bytes that came. Called again until MORE, HOLD or DROP:
 * each call takes out->used bytes off the front, and the caller may stop
 * between two, which is how a busy peer is kept from starving others. The
 * buffer needs room for link_room() bytes; *msg is written only if the answer
 * is LINK_MESSAGE or LINK_DROP.
 */
void link_take(struct link_core *l, const uint8_t *at, size_t n,
    uint64_t now_ns, union msg *msg, struct link_out *out);
/* The longest that one message may be now, the log's own bytes apart. */
size_t link_room(const struct link_core *l);

/*
 * How many bytes are missing of the message that begins at `at`, as far as n
 * bytes tell; 0: it is whole, or none. Who reads no more than that has nothing
 * of what follows when a socket changes hands.
 */
size_t link_wants(const struct link_core *l, const uint8_t *at, size_t n);

/* Answers to LINK_NEEDS_…: reason 0 accepts; ticket NULL: nobody knows it. */
void link_judge(struct link_core *l, unsigned reason, const char *text,
    uint64_t now_ns, struct link_out *out);
/* If *out is LINK_OPEN then, the ticket is used up. */
void link_ticket(struct link_core *l, const struct link_ticket *ticket,
    uint64_t now_ns, struct link_out *out);

/*
 * A frame of a message that this end may send now: as msg_encode(). The
 * sequence number is taken if it is > 0.
 */
int link_send(struct link_core *l, unsigned type, const void *msg, uint8_t *at,
    size_t room);

/* When something has to be done at the latest; UINT64_MAX = never. */
uint64_t link_deadline(const struct link_core *l);
/* That has come: LINK_DROP, or LINK_MORE if it has not. */
void link_tick(struct link_core *l, uint64_t now_ns, struct link_out *out);
/* This end ends it, for a reason of its own. */
void link_end(struct link_core *l, unsigned reason, const char *text,
    struct link_out *out);

/*
 * A data connection that is ready goes from one process to another: what is to
 * be told beside the socket, between two messages.
 */
struct link_handed {
	struct msg_data_hello data; /* what both have agreed to */
	uint32_t seq_in, seq_out;
	uint8_t role;
};
void link_hand(const struct link_core *l, struct link_handed *out);
void link_adopt(struct link_core *l, const struct link_self *self,
    const struct link_handed *handed, uint64_t now_ns);

const char *link_state_name(enum link_state state);

#endif
