/*
 * Data connections: tickets given and shown, and how a socket that is ready
 * leaves.
 */
#include "workers/group/net/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What the data connection's first message must say: facts of the control
 * connection's handshakes, and what the ticket tells. `a` dials.
 */
static void
want_make(struct msg_data_hello *w, const struct link_core *l,
    const struct msg_ticket *t, const struct msg_proof *a,
    const struct msg_proof *b)
{
	memset(w, 0, sizeof(*w));
	w->magic = MSG_MAGIC;
	w->version = l->version;
	w->source = t->source;
	w->crc = t->crc;
	w->epoch = t->their_epoch;
	w->their_epoch = t->epoch;
	w->connection = t->connection;
	w->term = t->term;
	w->vlsn = t->vlsn;
	w->vlsn_term = t->vlsn_term;
	w->until = t->until;
	w->incarnation = a->incarnation;
	w->boot_count = a->boot_count;
	w->boot = a->boot;
	w->their_incarnation = b->incarnation;
	w->their_boot_count = b->boot_count;
	w->their_boot = b->boot;
}

/* ---- who is fed by this node ---- */

int
peers_ticket(struct net *net, unsigned index, struct msg_ticket *t)
{
	struct net_peer *p = &net->peer[index];
	struct msg_error e;

	if (index >= net->count || p->up == NULL)
		return -ENOTCONN;
	arc4random_buf(t->nonce, sizeof(t->nonce));
	want_make(&p->ticket.ticket.want, &p->up->wire, t, &p->up->wire.peer,
	    &p->up->wire.mine);
	memcpy(p->ticket.ticket.nonce, t->nonce, sizeof(t->nonce));
	p->ticket.valid =
	    msg_check(MSG_DATA_HELLO, &p->ticket.ticket.want, &e) == 0;
	p->ticket.until_ns = net_now(net) + NET_TICKET_NS;
	return p->ticket.valid ? 0 : -EINVAL;
}

/*
 * Used once: who shows it wrongly has spoilt it, too. It is of this turn only,
 * as its place may be used anew.
 */
const struct link_ticket *
net_data_ticket(struct net *net, struct link *l)
{
	uint64_t wanted = l->wire.data.connection;
	struct net_peer *p;

	for (p = net->peer; p < net->peer + net->count; p++)
		if (p->ticket.valid &&
		    p->ticket.ticket.want.connection == wanted &&
		    p->ticket.ticket.want.incarnation ==
			l->wire.data.incarnation) {
			p->ticket.valid = false;
			if (net_now(net) >= p->ticket.until_ns)
				return NULL;
			l->who = (int)(p - net->peer);
			return &p->ticket.ticket;
		}
	return NULL;
}

/* ---- who feeds this node ---- */

static void
data_end(struct net_peer *p)
{
	net_dial_stop(&p->data);
	p->data_until_ns = 0;
}

static void
data_fail(
    struct net *net, struct net_peer *p, unsigned reason, const char *text)
{
	uint64_t connection = p->data_ticket.want.connection;
	char copy[MSG_TEXT_SIZE];

	snprintf(copy, sizeof(copy), "%s", text);
	data_end(p);
	net->s.hooks->data_failed(
	    net->s.ctx, (unsigned)(p - net->peer), connection, reason, copy);
}

int
peers_dial_data(struct net *net, unsigned index, const struct msg_ticket *t)
{
	struct net_peer *p = &net->peer[index];
	struct resolve *r = &p->data.resolve;
	struct msg_error e;

	if (index >= net->count || p->up == NULL)
		return -ENOTCONN;
	data_end(p);
	want_make(&p->data_ticket.want, &p->up->wire, t, &p->up->wire.mine,
	    &p->up->wire.peer);
	memcpy(p->data_ticket.nonce, t->nonce, sizeof(t->nonce));
	if (msg_check(MSG_DATA_HELLO, &p->data_ticket.want, &e) != 0)
		return -EINVAL;
	p->data_until_ns = net_now(net) + NET_TICKET_NS;
	p->data.next = 0;
	if (p->up->dialled) {
		/* Where it is now, which its name may not be. */
		r->state = RESOLVE_DONE;
		r->list.count = 1;
		r->list.addr[0] = p->up->addr;
	} else {
		resolve_start(r, p->m.address,
		    net->s.loop->bells->fd[net->s.loop->slot], net_now(net));
	}
	net->s.loop->unready = true;
	return 0;
}

static void
data_next(struct net *net, struct net_peer *p)
{
	struct net_dial *d = &p->data;
	struct link *l = net_link_free(net);
	const struct resolve_addr *to = &d->resolve.list.addr[d->next];
	int rc;

	if (l == NULL)
		return; /* one is free by and by, or the ticket too old */
	d->next++;
	rc = link_connect_data(l, to, &p->data_ticket);
	if (rc == 0) {
		l->who = (int)(p - net->peer);
		d->link = l;
		net_count(net, C_PEER_DIALS);
	} else if (d->next >= d->resolve.list.count) {
		data_fail(net, p, REFUSED_NOTHING, strerror(-rc));
	}
}

void
net_data_turn(struct net *net, struct net_peer *p)
{
	struct net_dial *d = &p->data;

	if (p->data_until_ns == 0)
		return;
	if (net_now(net) >= p->data_until_ns) {
		data_fail(net, p, REFUSED_STALL, "no data connection in time");
		return;
	}
	if (d->link != NULL)
		return;
	switch (resolve_poll(&d->resolve, net_now(net))) {
	case RESOLVE_DONE:
		data_next(net, p);
		return;
	case RESOLVE_FAILED:
		net_count(net, C_PEER_LOOKUPS);
		data_fail(net, p, REFUSED_NOTHING, d->resolve.why);
		return;
	case RESOLVE_IDLE:
	case RESOLVE_BUSY:
		return;
	}
}

uint64_t
net_data_deadline(const struct net_peer *p)
{
	return p->data_until_ns == 0 ? LOOP_NEVER : p->data_until_ns;
}

void
net_data_ended(struct net *net, struct net_peer *p, struct link *l)
{
	struct net_dial *d = &p->data;

	d->link = NULL;
	if (l->end.reason == REFUSED_NOTHING &&
	    d->next < d->resolve.list.count) {
		net->s.loop->unready = true;
		return;
	}
	data_fail(net, p, l->end.reason, l->end.text);
}

void
net_data_open(struct net *net, struct link *l)
{
	struct net_peer *p = &net->peer[l->who];
	struct link_handed handed;
	int fd, who = l->who;

	if (p->data.link == l) {
		p->data.link = NULL;
		data_end(p);
	}
	fd = link_give(l, &handed);
	net_count(net, C_PEER_DATA);
	net->s.hooks->data(net->s.ctx, (unsigned)who, fd, &handed);
}

void
peers_void(struct net *net, unsigned index)
{
	struct link *l;

	if (index >= net->count)
		return;
	net->peer[index].ticket.valid = false;
	data_end(&net->peer[index]);
	/* One that was shown, and whose welcome is on its way. */
	for (l = net->link; l < net->link + NET_LINKS; l++)
		if (l->who == (int)index && net_live(l) && !l->dialled &&
		    l->wire.on == ON_DATA) {
			l->who = NET_QUIET;
			link_stop(l, REFUSED_TICKET, "it is void");
		}
}

void
peers_void_all(struct net *net)
{
	unsigned i;

	for (i = 0; i < net->count; i++)
		peers_void(net, i);
}
