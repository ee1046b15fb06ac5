/*
 * What is seen of links: rows of shm/peers.h, events, counters.
 */
#include "workers/group/net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/say.h"

void
net_tell_link(struct net *net, struct net_peer *p, enum peer_link link)
{
	struct peer_row *row = net_row(net, p);

	if (atomic_load_explicit(&row->link, memory_order_relaxed) ==
	    (uint32_t)link)
		return;
	atomic_store_explicit(
	    &row->since_ns, net_now(net), memory_order_relaxed);
	atomic_store_explicit(&row->link, (uint32_t)link, memory_order_release);
}

static void
add_drop(struct net *net, struct net_peer *p)
{
	struct peer_row *row = net_row(net, p);

	atomic_store_explicit(&row->drops,
	    atomic_load_explicit(&row->drops, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

void
net_tell_up(struct net *net, struct net_peer *p)
{
	struct peer_row *row = net_row(net, p);
	char at[RESOLVE_HOST];

	resolve_text(&p->up->addr, at, sizeof(at));
	net_count(net, C_PEER_LINKS);
	p->told = 0;
	p->unreached[0] = '\0';
	atomic_store_explicit(
	    &row->incarnation, p->facts.incarnation, memory_order_relaxed);
	atomic_store_explicit(
	    &row->boot, p->facts.boot_count, memory_order_relaxed);
	atomic_store_explicit(&row->term, p->facts.term, memory_order_relaxed);
	atomic_store_explicit(
	    &row->first, p->facts.first, memory_order_relaxed);
	atomic_store_explicit(
	    &row->appended, p->facts.last, memory_order_relaxed);
	atomic_store_explicit(
	    &row->heard_ns, net_now(net), memory_order_relaxed);
	net_tell_link(net, p, PEER_UP);
	event_add(net->s.region, net->s.slot, EVENT_INFO,
	    "member %s: connected, %s %s, boot %llu", p->m.name,
	    p->up->dialled ? "at" : "from", at,
	    (unsigned long long)p->facts.boot_count);
}

_Static_assert(REFUSED_COUNT <= 32, "a bit each");

/* Does its sentence say what its reason means, too? */
static bool
says_all(unsigned reason)
{
	return reason < REFUSED_TICKET || reason == REFUSED_STOPPING;
}

/* "refused by it: n1 has the incarnation ...", "closed by the other end" */
static void
why_text(const struct link *l, char *out, size_t size)
{
	const struct link_ending *e = &l->end;
	const char *who = e->by_peer ? "refused by it" : "refused here";

	if (e->reason == REFUSED_NOTHING)
		snprintf(out, size, "%s", e->text);
	else if (says_all(e->reason) && e->text[0] != '\0')
		snprintf(out, size, "%s: %s", who, e->text);
	else
		snprintf(out, size, "%s: %s: %s", who,
		    msg_reason_means(e->reason), e->text);
}

void
net_tell_lost(struct net *net, struct net_peer *p, const struct link *l)
{
	char why[2 * MSG_TEXT_SIZE];

	why_text(l, why, sizeof(why));
	net_count(net, C_PEER_LOST);
	add_drop(net, p);
	peer_text_set(&net_row(net, p)->error, why);
	net_tell_link(net, p, PEER_AWAY);
	event_add(net->s.region, net->s.slot,
	    l->end.reason == REFUSED_STOPPING ? EVENT_INFO : EVENT_WARN,
	    "member %s: connection lost: %s", p->m.name, why);
}

void
net_tell_refused(struct net *net, struct net_peer *p, const struct link *l)
{
	char why[2 * MSG_TEXT_SIZE], at[RESOLVE_HOST];

	why_text(l, why, sizeof(why));
	net_count(net, l->end.by_peer ? C_PEER_REFUSED : C_PEER_REFUSALS);
	add_drop(net, p);
	peer_text_set(&net_row(net, p)->error, why);
	if (p->up == NULL)
		net_tell_link(net, p, PEER_REFUSED);
	/* Once each, however often either end tries again. */
	if ((p->told & 1u << l->end.reason) != 0)
		return;
	p->told |= 1u << l->end.reason;
	resolve_text(&l->addr, at, sizeof(at));
	event_add(net->s.region, net->s.slot, EVENT_WARN,
	    "member %s (%s): no connection: %s", p->m.name, at, why);
}

void
net_tell_unreached(struct net *net, struct net_peer *p, const char *why)
{
	peer_text_set(&net_row(net, p)->error, why);
	if (p->up == NULL)
		net_tell_link(net, p, PEER_AWAY);
	if (strncmp(p->unreached, why, sizeof(p->unreached) - 1) == 0)
		return;
	snprintf(p->unreached, sizeof(p->unreached), "%s", why);
	event_add(net->s.region, net->s.slot, EVENT_INFO,
	    "member %s (%s): not reached: %s; dialled again at times",
	    p->m.name, p->m.address, why);
}

/* A host is told of once for each reason, and again after a while. */
static bool
is_strange(struct net *net, const char *who)
{
	struct net_stranger *s, *oldest = net->stranger;

	for (s = net->stranger; s < net->stranger + NET_STRANGERS; s++) {
		if (strcmp(s->who, who) == 0 &&
		    net_now(net) < s->told_ns + NET_TELL_NS)
			return false;
		if (s->told_ns < oldest->told_ns)
			oldest = s;
	}
	snprintf(oldest->who, sizeof(oldest->who), "%s", who);
	oldest->told_ns = net_now(net);
	return true;
}

void
net_tell_stranger(struct net *net, const struct link *l)
{
	const char *name = l->wire.peer_name;
	char at[RESOLVE_HOST], who[80], why[2 * MSG_TEXT_SIZE], *colon;

	if (l->end.reason == REFUSED_NOTHING)
		return; /* it came and went */
	net_count(net, l->end.by_peer ? C_PEER_REFUSED : C_PEER_REFUSALS);
	resolve_text(&l->addr, at, sizeof(at));
	colon = strrchr(at, ':');
	snprintf(who, sizeof(who), "%.*s %u",
	    (int)(colon != NULL ? colon - at : 60), at, l->end.reason);
	if (!is_strange(net, who))
		return;
	why_text(l, why, sizeof(why));
	event_add(net->s.region, net->s.slot, EVENT_WARN,
	    "connection from %s%s%s: %s", at,
	    name[0] != '\0' ? ", which calls itself " : "", name, why);
}

#define SET(row, field, v)                                                     \
	atomic_store_explicit(&(row)->field, (v), memory_order_relaxed)

void
net_tell_status(
    struct net *net, struct net_peer *p, const struct msg_status_answer *m)
{
	struct peer_row *row = net_row(net, p);

	SET(row, term, m->term);
	SET(row, role, m->role);
	SET(row, first, m->first);
	SET(row, appended, m->appended);
	SET(row, durable, m->durable);
	SET(row, applied, m->applied);
}

void
net_tell_round(
    struct net *net, struct net_peer *p, const struct msg_round_answer *m)
{
	struct peer_row *row = net_row(net, p);

	SET(row, term, m->term);
	SET(row, flags, m->flags);
	SET(row, first, m->first);
	SET(row, appended, m->appended);
	SET(row, durable, m->durable);
	SET(row, applied, m->applied);
}
