/*
 * A connection between members on a worker's ring: the socket, buffers and
 * deadlines around a link_core. Nothing waits: connecting, receiving and
 * sending are requests of the ring, one of each at a time.
 *
 * - Until it is ready no byte is read beyond the message that is waited for
 *   (link_wants()), so the socket of a data connection that is ready can go to
 *   another process; a control connection reads whatever there is from then on.
 * - What is to be sent goes into a bounded queue. A peer that does not read
 *   until that is full is dropped, not waited for.
 * - LINK_TURN messages are taken in one turn: the rest waits for the next one
 *   (link_pending()), so that a busy peer starves nobody.
 * - An end is told by ended(), once. Then the link sends what is left (why),
 *   takes nothing any more, and is free when the other end has closed or
 *   LINK_LINGER_NS are over, and the kernel has let go of its buffers.
 *
 * The owner has an array of links, one kind of completion for all of them
 * (loop_tag()), and calls link_turn() for each in every turn.
 */
#ifndef IPC_LINK_H
#define IPC_LINK_H

#include "ipc/link_core.h"
#include "ipc/loop.h"
#include "ipc/resolve.h"

#define LINK_IN        32768 /* at least MSG_SMALL_MAX */
#define LINK_OUT       65536
#define LINK_TURN      32
#define LINK_LINGER_NS (500 * NS_PER_MS)
/* The kernel gives a connection up when the other host is silent so long. */
#define LINK_GONE_MS 10000

struct link;

struct link_hooks {
	/* The key is proven: link_accept() or link_refuse(). */
	void (*judge)(void *ctx, struct link *l);
	/* The ticket of l->wire.data.connection; NULL: there is none. */
	const struct link_ticket *(*ticket)(void *ctx, struct link *l);
	/*
	 * It is ready. Of a data connection all was sent, too, and
	 * link_give() gives the socket.
	 */
	void (*open)(void *ctx, struct link *l);
	void (*message)(
	    void *ctx, struct link *l, unsigned type, const union msg *m);
	/* For l->end. */
	void (*ended)(void *ctx, struct link *l);
};

/* What all links of an owner have in common. */
struct link_owner {
	struct loop *loop;
	unsigned kind; /* of completions */
	const struct link_self *self;
	const struct link_hooks *hooks;
	void *ctx;
};

enum link_phase {
	LINK_FREE,
	LINK_CONNECTING,
	LINK_LIVE, /* its core says how far it is */
	LINK_LINGERS, /* sends why it ended */
	LINK_CLOSED /* waits for completions */
};

struct link_ending {
	unsigned reason; /* enum msg_reason; 0: the connection broke */
	bool by_peer; /* the other end said so */
	bool proven; /* and had proven its key */
	int error; /* errno, if reason is 0; 0 = closed by the other end */
	char text[MSG_TEXT_SIZE];
};

struct link {
	struct link_core wire; /* how far it is, and what it has agreed to */
	const struct link_owner *owner;
	enum link_phase phase;
	uint32_t slot, life; /* of completions: index, generation */
	unsigned flying; /* requests of the ring: a mask */
	int fd;
	int who; /* the owner's; -1 = nobody yet */
	bool dialled, opened, full;
	bool eof; /* the other end is done */
	bool more; /* messages were left for the next turn */
	struct resolve_addr addr; /* the other end */
	uint64_t linger_ns, start_ns, sent_ns;
	uint64_t bytes_in, bytes_out;
	struct link_ending end;
	uint32_t in_len, in_at; /* bytes of in[]: up to; taken */
	uint32_t out_at, out_len; /* of the circle out[] */
	uint32_t send_len; /* of these the kernel has */
	uint8_t in[LINK_IN], out[LINK_OUT];
};

/* Once for each, from zeros; slot is its index in the array. */
void link_init(struct link *l, const struct link_owner *owner, uint32_t slot);
/*
 * Begin, with a free one. 0 or -errno; it is free then. `whom`: "" = anybody.
 * An accepted fd is the link's, also if that fails.
 */
int link_connect(struct link *l, const struct resolve_addr *to,
    const struct msg_proof *mine, const char *whom);
int link_connect_data(struct link *l, const struct resolve_addr *to,
    const struct link_ticket *ticket);
int link_accepted(struct link *l, int fd, const struct msg_proof *mine);

/* Completions of the owner's kind: the tag's slot and generation. */
void link_completed(struct link *l, uint32_t slot, uint32_t life, int res);
/* The index of the array that a completion's slot tells. */
uint32_t link_of_slot(uint32_t slot);
/* In each turn: deadlines, what was left over. */
void link_turn(struct link *l);
bool link_pending(const struct link *l);
uint64_t link_due(const struct link *l);

/* In judge(), or later: the other end waits until its handshake's deadline. */
void link_accept(struct link *l);
void link_refuse(struct link *l, unsigned reason, const char *text);
/*
 * Ready ones. 0; -ENOBUFS: it does not read, and has ended by that; -EINVAL: no
 * such message would be taken.
 */
int link_put(struct link *l, unsigned type, const void *msg);
/* End it; the other end is told if it may be. `ended` is called. */
void link_stop(struct link *l, unsigned reason, const char *text);
/* One that has ended does not linger: what the kernel has of it is sent. */
void link_cut(struct link *l);
/* A data connection in open(): the socket, the caller's; it is free then. */
int link_give(struct link *l, struct link_handed *out);

#endif
