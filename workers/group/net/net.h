/*
 * What the files of this shelf share: see peers.h.
 */
#ifndef WORKERS_GROUP_NET_NET_H
#define WORKERS_GROUP_NET_NET_H

#include "workers/group/net/peers.h"

/* link->who, beside the index of a row. */
#define NET_UNKNOWN (-1) /* nobody yet */
#define NET_QUIET   (-2) /* its end is nobody's business any more */

static inline uint64_t
net_now(const struct net *net)
{
	return net->s.loop->now_ns;
}

static inline void
net_count(struct net *net, enum counter which)
{
	counter_add(net->s.region->counters, net->s.slot, which, 1);
}

static inline struct peer_row *
net_row(struct net *net, const struct net_peer *p)
{
	return &net->s.region->peers->row[p - net->peer];
}

static inline bool
net_live(const struct link *l)
{
	return l->phase == LINK_CONNECTING || l->phase == LINK_LIVE;
}

/*
 * One after the other those that may be in use, from left = net->used; NULL: no
 * more. The others, some pages each, are left alone.
 */
_Static_assert(NET_LINKS == 64, "a bit each");
static inline unsigned
net_link_index(uint64_t *left)
{
	unsigned i = (unsigned)__builtin_ctzll(*left);

	*left &= *left - 1;
	return i;
}

/* It is in use from then on. */
struct link *net_link_free(struct net *net);
/* End what is under way without a word of it to anybody here. */
void net_dial_stop(struct net_dial *d);

/* tell.c: what rows, log and events say. */
void net_tell_link(struct net *net, struct net_peer *p, enum peer_link link);
void net_tell_up(struct net *net, struct net_peer *p);
/* It was up; or it did not come about. Each told when it changes. */
void net_tell_lost(struct net *net, struct net_peer *p, const struct link *l);
void
net_tell_refused(struct net *net, struct net_peer *p, const struct link *l);
void net_tell_unreached(struct net *net, struct net_peer *p, const char *why);
void net_tell_stranger(struct net *net, const struct link *l);
/* What a member tells of itself. */
void net_tell_status(
    struct net *net, struct net_peer *p, const struct msg_status_answer *m);
void net_tell_round(
    struct net *net, struct net_peer *p, const struct msg_round_answer *m);

/* data.c */
const struct link_ticket *net_data_ticket(struct net *net, struct link *l);
void net_data_open(struct net *net, struct link *l);
void net_data_ended(struct net *net, struct net_peer *p, struct link *l);
void net_data_turn(struct net *net, struct net_peer *p);
uint64_t net_data_deadline(const struct net_peer *p);

#endif
