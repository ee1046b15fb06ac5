/*
 * The links to the other members: listens, dials for ever, has exactly one
 * control connection with each, judges who it is, and tells the caller of
 * messages. Data connections are dialled and accepted here, by ticket, and
 * given away when they are ready. README.md has the rules.
 *
 * Everything happens in the caller's loop: in completions and in peers_turn().
 * Hooks are called from there, and may send, drop, set and void, but not close.
 *
 * What this room does not know it asks: what the node is (facts), which boot is
 * the newest that was ever seen of a member (boots).
 */
#ifndef WORKERS_GROUP_NET_PEERS_H
#define WORKERS_GROUP_NET_PEERS_H

#include "ipc/link.h"
#include "ipc/listener.h"
#include "ipc/resolve.h"
#include "shm/region.h"

#define NET_LISTEN_MAX 8
#define NET_LINKS      64 /* connections, handshakes included */
#define NET_ACCEPTED   16 /* handshakes of others at a time */
#define NET_STRANGERS  16 /* whose refusal was told */
#define NET_TELL_NS    (60 * NS_PER_S) /* and when it is told again */
/* From one dial to the next: doubled, and up to a half of it more by chance. */
#define NET_DIAL_FIRST_NS (100 * NS_PER_MS)
#define NET_DIAL_MOST_NS  (5 * NS_PER_S)
/* A link on which nothing came for so long is over. */
#define NET_SILENCE_NS (3 * NS_PER_S)
/* Who was heard of in this time lives: a newer boot of it is refused. */
#define NET_ALIVE_NS NS_PER_S
/* A status is asked for when nothing was sent, and at least, so often. */
#define NET_IDLE_NS   (250 * NS_PER_MS)
#define NET_STATUS_NS NS_PER_S
/* From a ticket to the data connection that is ready. */
#define NET_TICKET_NS (2 * NS_PER_S)

/* Whom a row is for, as the caller knows it. */
struct net_member {
	char name[MEMBER_NAME_MAX];
	char address[MEMBER_ADDR_MAX]; /* HOST:PORT; "" = it dials only */
	uint64_t incarnation; /* 0 = not known: any is taken */
	int type; /* enum node_type; -1 = any is taken */
	bool self; /* this node's own row: nothing is done for it */
};

struct net_hooks {
	/* What a handshake says of this node now; the tag is not its. */
	void (*facts)(void *ctx, struct msg_proof *mine);
	/* The highest boot that was ever seen of it; *count 0: none was. */
	void (*boot)(
	    void *ctx, uint64_t incarnation, uint64_t *count, uint64_t *id);
	/*
	 * What it has acknowledged to this process as its master: the newest
	 * VLSN, and the term in which it did; 0: nothing. NULL: nobody has.
	 */
	void (*acked)(
	    void *ctx, uint64_t incarnation, uint64_t *term, uint64_t *vlsn);
	/* What MSG_STATUS is answered by; but the ticket. */
	void (*status)(void *ctx, struct msg_status_answer *out);
	/* Its facts: peers_facts(). Its boot is to be kept, it is not here. */
	void (*up)(void *ctx, unsigned index);
	void (*down)(void *ctx, unsigned index);
	/* Any but MSG_STATUS and its answer. */
	void (*message)(
	    void *ctx, unsigned index, unsigned type, const union msg *m);
	/* A data connection is ready: fd is the callee's, non-blocking. */
	void (*data)(
	    void *ctx, unsigned index, int fd, const struct link_handed *link);
	/* One that this end dialled did not come about. */
	void (*data_failed)(void *ctx, unsigned index, uint64_t connection,
	    unsigned reason, const char *text);
};

struct net_setup {
	struct loop *loop;
	struct region *region; /* rows, counters, events */
	unsigned slot; /* of the process */
	unsigned kind_link, kind_listen; /* of completions, for loop_tag() */
	const struct auth_key *key; /* outlives it; len 0 = none */
	const char *name, *group;
	const int *listen_fd; /* NET_LISTEN_MAX, bound; -1 = none */
	const struct net_hooks *hooks;
	void *ctx;
};

/* One attempt to reach a member: lookup, then its addresses in turn. */
struct net_dial {
	struct resolve resolve;
	unsigned next; /* address to be tried */
	struct link *link; /* under way */
};

struct net_ticket {
	bool valid;
	uint64_t until_ns;
	struct link_ticket ticket;
};

/* One of the other members; this room's own. */
struct net_peer {
	struct net_member m;
	struct link *up;
	struct msg_proof facts; /* of `up` */
	uint64_t up_ns, status_ns, sent_ns;
	struct net_dial dial;
	uint64_t dial_ns, backoff_ns; /* not before; the last pause */
	uint32_t told; /* reasons that were told since it was up: a mask */
	char unreached[MSG_TEXT_SIZE]; /* why, as it was told last */
	struct net_ticket ticket; /* that this end gave */
	struct net_dial data; /* by a ticket of theirs */
	struct link_ticket data_ticket;
	uint64_t data_until_ns; /* 0 = none is dialled */
};

struct net_stranger {
	char who[80]; /* address and reason */
	uint64_t told_ns;
};

/* The caller's, from zeros. Its fields are this room's. */
struct net {
	struct net_setup s;
	struct link_self self;
	struct link_owner owner;
	struct listener listener[NET_LISTEN_MAX];
	bool stopping;
	bool unsound; /* it was told that the facts are */
	uint64_t random;
	uint64_t status_ticket;
	unsigned count;
	struct net_peer peer[MEMBER_MAX];
	struct net_stranger stranger[NET_STRANGERS];
	uint64_t used; /* links that may be in use: a mask */
	struct link link[NET_LINKS];
};

/* Listens (fds are the caller's). 0 or -errno. Dials nobody before a set. */
int peers_open(struct net *net, const struct net_setup *s);
/*
 * Who there is: row i of all that follows, and of shm/peers.h. Again when that
 * changes: by name, links that fit go on, others end.
 */
void peers_set(struct net *net, const struct net_member *rows, unsigned count);
/* Completions of the two kinds: their slot, generation, result, flags. */
void
peers_completed(struct net *net, uint32_t slot, uint32_t generation, int res);
void peers_polled(struct net *net, uint32_t slot, int res, uint32_t cqe_flags);
/* In each turn of the loop; peers_pending(): before it sleeps. */
void peers_turn(struct net *net);
bool peers_pending(const struct net *net);
/* CLOCK_MONOTONIC; LOOP_NEVER. */
uint64_t peers_deadline(const struct net *net);

/*
 * 0; -ENOTCONN: it is not up; -ENOBUFS: it does not read, and was dropped by
 * that; -EINVAL: the other end would refuse such a message. Never waits.
 */
int peers_send(struct net *net, unsigned index, unsigned type, const void *msg);
/* What its handshake told; NULL: it is not up. */
const struct msg_proof *peers_facts(const struct net *net, unsigned index);
/* The row of who is up, or is to be, with that incarnation; -1. */
int peers_find(const struct net *net, uint64_t incarnation);
/* All rows that are up, as a mask. */
uint32_t peers_up(const struct net *net);
/* End a link, for an enum msg_reason: it is dialled again by and by. */
void
peers_drop(struct net *net, unsigned index, unsigned reason, const char *text);

/*
 * The master's side: the row's member may open the data connection that *t
 * tells of, once, in NET_TICKET_NS. Fills in the nonce; *t is then to be sent.
 * Its ticket before is void. -ENOTCONN: it is not up; -EINVAL: no such ticket
 * would be taken.
 */
int peers_ticket(struct net *net, unsigned index, struct msg_ticket *t);
/* The replica's: dial by a ticket that came; ends in data or data_failed. The
 * same errors. */
int
peers_dial_data(struct net *net, unsigned index, const struct msg_ticket *t);
/* Of a row: its ticket, and a data connection that is not ready yet. */
void peers_void(struct net *net, unsigned index);
void peers_void_all(struct net *net);

/* Tells all that the node stops, takes nobody any more. */
void peers_stop(struct net *net);
/* Is anything under way on the ring? After peers_stop(). */
bool peers_busy(const struct net *net);

#endif
