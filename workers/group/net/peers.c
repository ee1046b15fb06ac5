/*
 * The set of links: see peers.h.
 */
#include "workers/group/net/peers.h"

#include <sys/socket.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "workers/group/net/judge.h"
#include "workers/group/net/net.h"

#define BACKLOG      64
#define ACCEPTS_TURN 8
/*
 * A dial that began no later than so long behind our own being ready may have
 * crossed it; one that comes later says that the other end has lost that.
 */
#define CROSSING_NS NS_PER_S
/* When somebody lives for sure it is dialled within this. */
#define AT_ONCE_NS (50 * NS_PER_MS)

static uint64_t
chance(struct net *net, uint64_t most)
{
	uint64_t z = net->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return most == 0 ? 0 : (z ^ z >> 31) % most;
}

static struct net_peer *
peer_of(struct net *net, const struct link *l)
{
	return l->who >= 0 && (unsigned)l->who < net->count ? &net->peer[l->who]
							    : NULL;
}

static struct net_peer *
by_name(struct net *net, const char *name)
{
	unsigned i;

	for (i = 0; i < net->count; i++)
		if (!net->peer[i].m.self &&
		    strcmp(net->peer[i].m.name, name) == 0)
			return &net->peer[i];
	return NULL;
}

struct link *
net_link_free(struct net *net)
{
	unsigned i;

	for (i = 0; i < NET_LINKS; i++)
		if ((net->used & UINT64_C(1) << i) == 0 ||
		    net->link[i].phase == LINK_FREE) {
			net->used |= UINT64_C(1) << i;
			return &net->link[i];
		}
	return NULL;
}

/* ---- what a handshake says ---- */

/* Positions are read one after the other, so they may not fit each other. */
static void
facts_fit(struct msg_proof *p)
{
	if (p->last == 0 || p->last_term == 0)
		p->first = p->last = p->last_term = 0;
	else if (p->first == 0 || p->first > p->last + 1)
		p->first = p->last + 1;
	if (p->term < p->last_term)
		p->term = p->last_term;
	if (p->standing == STANDING_UNJOINED) {
		memset(p->uuid, 0, sizeof(p->uuid));
		p->generation = 0;
	}
}

/* False: the caller does not know what this node is; told once. */
static bool
facts(struct net *net, struct msg_proof *mine)
{
	struct msg_error e;

	memset(mine, 0, sizeof(*mine));
	net->s.hooks->facts(net->s.ctx, mine);
	facts_fit(mine);
	if (msg_check(MSG_PROOF, mine, &e) == 0) {
		net->unsound = false;
		return true;
	}
	if (!net->unsound)
		say_errorx(
		    "members cannot be told what this node is: %s", e.field);
	net->unsound = true;
	return false;
}

/* ---- dialling ---- */

static void
link_hush(struct link *l, unsigned reason, const char *text)
{
	l->who = NET_QUIET;
	link_stop(l, reason, text);
}

void
net_dial_stop(struct net_dial *d)
{
	struct link *l = d->link;

	d->link = NULL;
	d->next = 0;
	resolve_stop(&d->resolve);
	if (l != NULL)
		link_hush(l, REFUSED_SPARE, "there is a connection already");
}

static bool
is_wanted(const struct net *net, const struct net_peer *p)
{
	return !net->stopping && !p->m.self && p->up == NULL &&
	       p->m.address[0] != '\0';
}

/* The next time it is dialled; doubled, with some chance in it. */
static void
dial_later(struct net *net, struct net_peer *p)
{
	net_dial_stop(&p->dial);
	p->backoff_ns =
	    backoff_next(p->backoff_ns, NET_DIAL_FIRST_NS, NET_DIAL_MOST_NS);
	p->dial_ns =
	    net_now(net) + p->backoff_ns + chance(net, p->backoff_ns / 2);
}

/* It lives: no reason to wait. */
static void
dial_at_once(struct net *net, struct net_peer *p)
{
	uint64_t at = net_now(net) + chance(net, AT_ONCE_NS);

	p->backoff_ns = 0;
	if (at < p->dial_ns)
		p->dial_ns = at;
}

static void
dial_next(struct net *net, struct net_peer *p)
{
	struct net_dial *d = &p->dial;
	struct link *l = net_link_free(net);
	const struct resolve_addr *to = &d->resolve.list.addr[d->next];
	struct msg_proof mine;
	int rc;

	if (l == NULL || !facts(net, &mine)) {
		dial_later(net, p);
		return;
	}
	d->next++;
	net_count(net, C_PEER_DIALS);
	rc = link_connect(l, to, &mine, p->m.name);
	if (rc != 0) {
		net_tell_unreached(net, p, strerror(-rc));
		dial_later(net, p);
		return;
	}
	l->who = (int)(p - net->peer);
	d->link = l;
	if (p->told == 0 && p->unreached[0] == '\0')
		net_tell_link(net, p, PEER_HANDSHAKE);
}

static void
dial_turn(struct net *net, struct net_peer *p)
{
	struct net_dial *d = &p->dial;

	if (!is_wanted(net, p) || d->link != NULL)
		return;
	if (d->resolve.state == RESOLVE_IDLE && net_now(net) >= p->dial_ns)
		resolve_start(&d->resolve, p->m.address,
		    net->s.loop->bells->fd[net->s.loop->slot], net_now(net));
	switch (resolve_poll(&d->resolve, net_now(net))) {
	case RESOLVE_DONE:
		dial_next(net, p);
		return;
	case RESOLVE_FAILED:
		net_count(net, C_PEER_LOOKUPS);
		net_tell_unreached(net, p, d->resolve.why);
		dial_later(net, p);
		return;
	case RESOLVE_IDLE:
	case RESOLVE_BUSY:
		return;
	}
}

/* An own dial has ended before it was ready. */
static void
dial_ended(struct net *net, struct net_peer *p, const struct link *l)
{
	struct net_dial *d = &p->dial;
	char why[MSG_TEXT_SIZE + RESOLVE_HOST + 4], at[RESOLVE_HOST];

	d->link = NULL;
	/* Another address of that name, unless somebody has answered here. */
	if (l->wire.seq_in == 0 && d->next < d->resolve.list.count) {
		net->s.loop->unready = true;
		return;
	}
	if (l->end.reason == REFUSED_NOTHING ||
	    (l->end.reason == REFUSED_STALL && l->wire.seq_in == 0)) {
		resolve_text(&l->addr, at, sizeof(at));
		snprintf(why, sizeof(why), "%s: %s", at, l->end.text);
		/* Where its name led to, if that says more than the name. */
		net_tell_unreached(
		    net, p, strcmp(at, p->m.address) == 0 ? l->end.text : why);
	} else if (l->end.reason != REFUSED_SPARE) {
		net_tell_refused(net, p, l);
	}
	dial_later(net, p);
}

/* ---- judging ---- */

/* Another one of that incarnation. */
static void
twin_find(struct net *net, const struct net_peer *p,
    const struct msg_proof *facts, struct judge_in *in, char *at, size_t size)
{
	struct net_peer *q;

	for (q = net->peer; q < net->peer + net->count; q++)
		if (q != p && q->up != NULL &&
		    q->facts.incarnation == facts->incarnation) {
			resolve_text(&q->up->addr, at, size);
			in->twin = q->m.name;
			in->twin_from = at;
		}
}

static unsigned
judge_link(struct net *net, struct net_peer *p, struct link *l, char *text)
{
	char from[RESOLVE_HOST], up_from[RESOLVE_HOST], twin[RESOLVE_HOST];
	struct judge_in in = { .self = net->self.name,
		.name = l->wire.peer_name,
		.from = from,
		.mine = &l->wire.mine,
		.peer = &l->wire.peer,
		.known = p != NULL,
		.type = -1 };

	resolve_text(&l->addr, from, sizeof(from));
	if (p != NULL) {
		in.incarnation = p->m.incarnation;
		in.type = p->m.type;
		net->s.hooks->boot(net->s.ctx, l->wire.peer.incarnation,
		    &in.boot_count, &in.boot);
		if (net->s.hooks->acked != NULL)
			net->s.hooks->acked(net->s.ctx,
			    l->wire.peer.incarnation, &in.acked_term,
			    &in.acked);
		if (p->up != NULL) {
			resolve_text(&p->up->addr, up_from, sizeof(up_from));
			in.up = &p->facts;
			in.up_from = up_from;
			in.up_alive =
			    net_now(net) < p->up->wire.heard_ns + NET_ALIVE_NS;
		}
		twin_find(net, p, &l->wire.peer, &in, twin, sizeof(twin));
	}
	return judge(&in, text);
}

/*
 * Exactly one link a pair. Where both have dialled, the dial of the lower
 * incarnation counts, and that node alone decides: as long as its own dial has
 * been answered, or has just been ready, it does not take the other's. The
 * other one takes what it is offered.
 */
static bool
is_spare(struct net *net, const struct net_peer *p, const struct link *l)
{
	const struct link *d = p->dial.link;

	if (l->dialled || l->wire.mine.incarnation > l->wire.peer.incarnation)
		return false;
	if (d != NULL && d->phase == LINK_LIVE &&
	    (d->wire.state == LINK_PROOF || d->wire.state == LINK_PROVEN ||
		d->wire.state == LINK_JUDGED))
		return true;
	return p->up != NULL && p->up->dialled &&
	       p->facts.boot == l->wire.peer.boot &&
	       net_now(net) < p->up_ns + CROSSING_NS &&
	       l->start_ns < p->up_ns + CROSSING_NS;
}

static void
on_judge(void *ctx, struct link *l)
{
	struct net *net = ctx;
	struct net_peer *p = by_name(net, l->wire.peer_name);
	char text[MSG_TEXT_SIZE];
	unsigned reason;

	if (net->stopping) {
		link_refuse(l, REFUSED_STOPPING, "the node stops");
		return;
	}
	reason = judge_link(net, p, l, text);
	if (p != NULL)
		l->who = (int)(p - net->peer);
	if (reason == REFUSED_NOTHING && is_spare(net, p, l)) {
		l->who = NET_QUIET;
		link_refuse(l, REFUSED_SPARE, "there is a connection already");
		return;
	}
	if (reason != REFUSED_NOTHING) {
		link_refuse(l, reason, text);
		return;
	}
	if (!l->dialled) {
		net_dial_stop(&p->dial);
		/* Until then it is ready, or has ended. */
		p->dial_ns = net_now(net) + LINK_HANDSHAKE_NS;
	}
	link_accept(l);
}

static const struct link_ticket *
on_ticket(void *ctx, struct link *l)
{
	return net_data_ticket(ctx, l);
}

/* ---- links that are ready, and their end ---- */

static void
on_open(void *ctx, struct link *l)
{
	struct net *net = ctx;
	struct net_peer *p = peer_of(net, l);
	uint64_t boot;

	if (p == NULL) {
		link_hush(l, REFUSED_MEMBER, "no member any more");
		return;
	}
	if (l->wire.on == ON_DATA) {
		net_data_open(net, l);
		return;
	}
	if (p->up != NULL)
		link_stop(p->up, REFUSED_SPARE, "it was connected anew");
	p = peer_of(net, l); /* rows may have been set by whom that was told */
	if (p == NULL)
		return;
	if (p->dial.link == l)
		p->dial.link = NULL;
	net_dial_stop(&p->dial);
	boot = p->facts.boot;
	p->up = l;
	p->facts = l->wire.peer;
	p->up_ns = p->status_ns = net_now(net);
	net_tell_up(net, p);
	if (p->facts.boot != boot)
		peers_void(net, (unsigned)(p - net->peer));
	net->s.hooks->up(net->s.ctx, (unsigned)(p - net->peer));
}

static void
on_message(void *ctx, struct link *l, unsigned type, const union msg *m)
{
	struct net *net = ctx;
	struct net_peer *p = peer_of(net, l);
	struct msg_status_answer answer;

	if (p == NULL || p->up != l)
		return;
	atomic_store_explicit(
	    &net_row(net, p)->heard_ns, net_now(net), memory_order_relaxed);
	if (type == MSG_STATUS) {
		memset(&answer, 0, sizeof(answer));
		net->s.hooks->status(net->s.ctx, &answer);
		answer.ticket = m->status.ticket;
		(void)link_put(l, MSG_STATUS_ANSWER, &answer);
		return;
	}
	if (type == MSG_STATUS_ANSWER) {
		net_tell_status(net, p, &m->status_answer);
		return;
	}
	if (type == MSG_ROUND_ANSWER)
		net_tell_round(net, p, &m->round_answer);
	net->s.hooks->message(net->s.ctx, (unsigned)(p - net->peer), type, m);
}

/* One that was up is over. */
static void
up_ended(struct net *net, struct net_peer *p, const struct link *l)
{
	bool was_long = net_now(net) >= p->up_ns + NS_PER_S;

	p->up = NULL;
	net_tell_lost(net, p, l);
	if (was_long) {
		p->dial_ns = UINT64_MAX;
		dial_at_once(net, p);
	} else {
		dial_later(net, p);
	}
	net->s.hooks->down(net->s.ctx, (unsigned)(p - net->peer));
}

static void
on_ended(void *ctx, struct link *l)
{
	struct net *net = ctx;
	struct net_peer *p = peer_of(net, l);
	unsigned reason = l->end.reason;

	if (l->who == NET_QUIET)
		return;
	if (p == NULL) {
		net_tell_stranger(net, l);
	} else if (p->up == l) {
		up_ended(net, p, l);
	} else if (p->data.link == l) {
		net_data_ended(net, p, l);
	} else if (p->dial.link == l) {
		dial_ended(net, p, l);
	} else if (!l->dialled) {
		if (reason != REFUSED_NOTHING && reason != REFUSED_SPARE)
			net_tell_refused(net, p, l);
		if (l->wire.on == ON_CONTROL && is_wanted(net, p) &&
		    (reason == REFUSED_NOTHING || reason == REFUSED_SPARE ||
			reason == REFUSED_ALIVE))
			dial_at_once(net, p);
	}
}

static const struct link_hooks link_hooks = {
	.judge = on_judge,
	.ticket = on_ticket,
	.open = on_open,
	.message = on_message,
	.ended = on_ended,
};

/* ---- accepting ---- */

/* One of others' that has a place and has not proven the key. */
static bool
is_unknown(const struct link *l)
{
	return !l->dialled && !l->opened && !l->wire.proven &&
	       (l->phase == LINK_LIVE || l->phase == LINK_LINGERS);
}

static unsigned
handshakes_of_others(const struct net *net)
{
	uint64_t left = net->used;
	const struct link *l;
	unsigned n = 0;

	while (left != 0) {
		l = &net->link[net_link_index(&left)];
		n += !l->dialled && !l->opened &&
		     (l->phase == LINK_LIVE || l->phase == LINK_LINGERS);
	}
	return n;
}

/* How many of those that are not known come from where that one does. */
static unsigned
crowd_of(const struct net *net, const struct link *of)
{
	uint64_t left = net->used;
	const struct link *l;
	unsigned n = 0;

	while (left != 0) {
		l = &net->link[net_link_index(&left)];
		n += is_unknown(l) && resolve_is_same_host(&l->addr, &of->addr);
	}
	return n;
}

/* Does a give its place up before b does? Both are unknown. */
static bool
gives_way(const struct net *net, const struct link *a, const struct link *b)
{
	unsigned crowd_a = crowd_of(net, a), crowd_b = crowd_of(net, b);
	bool silent_a = a->wire.seq_in == 0, silent_b = b->wire.seq_in == 0;

	if (crowd_a != crowd_b)
		return crowd_a > crowd_b;
	if ((a->phase == LINK_LINGERS) != (b->phase == LINK_LINGERS))
		return a->phase == LINK_LINGERS;
	if (silent_a != silent_b)
		return silent_a;
	return a->start_ns < b->start_ns;
}

/*
 * All places for others' handshakes are taken: strangers must not keep members
 * out, so one of those that have not proven the key gives way to whoever is new
 * (README.md). False: all have.
 */
static bool
make_place(struct net *net)
{
	uint64_t left = net->used;
	struct link *l, *worst = NULL;

	while (left != 0) {
		l = &net->link[net_link_index(&left)];
		if (is_unknown(l) &&
		    (worst == NULL || gives_way(net, l, worst)))
			worst = l;
	}
	if (worst == NULL)
		return false;
	link_stop(worst, REFUSED_BUSY,
	    "too many handshakes at a time; this one had proven nothing");
	link_cut(worst);
	return true;
}

static void
accept_one(struct net *net, int fd)
{
	struct msg_proof mine;
	struct link *l;

	net_count(net, C_PEER_ACCEPTS);
	if (net->stopping || !facts(net, &mine) ||
	    (handshakes_of_others(net) >= NET_ACCEPTED && !make_place(net)) ||
	    (l = net_link_free(net)) == NULL) {
		/* No word for it: it has not said one. */
		net_count(net, C_PEER_REFUSALS);
		close(fd);
		return;
	}
	(void)link_accepted(l, fd, &mine);
}

static void
accept_turn(struct net *net)
{
	unsigned i, n = 0;
	int fd;

	for (i = 0; i < NET_LISTEN_MAX; i++) {
		listener_arm(&net->listener[i], net->s.loop);
		while (n < ACCEPTS_TURN &&
		       (fd = listener_next(&net->listener[i], net_now(net))) >=
			   0) {
			n++;
			accept_one(net, fd);
		}
	}
}

/* ---- turns ---- */

void
peers_completed(struct net *net, uint32_t slot, uint32_t generation, int res)
{
	uint32_t i = link_of_slot(slot);

	if (i < NET_LINKS)
		link_completed(&net->link[i], slot, generation, res);
	else
		loop_stale(net->s.loop);
}

void
peers_polled(struct net *net, uint32_t slot, int res, uint32_t cqe_flags)
{
	if (slot < NET_LISTEN_MAX)
		listener_event(&net->listener[slot], res, cqe_flags);
}

/* So that the other end does not take this one for dead. */
static uint64_t
status_due(const struct net_peer *p)
{
	uint64_t a = p->status_ns + NET_STATUS_NS;
	uint64_t b = p->up->sent_ns + NET_IDLE_NS;

	return a < b ? a : b;
}

static void
status_turn(struct net *net, struct net_peer *p)
{
	struct msg_status m = { .ticket = net->status_ticket + 1 };

	if (p->up == NULL || net_now(net) < status_due(p))
		return;
	net->status_ticket++;
	p->status_ns = net_now(net);
	(void)link_put(p->up, MSG_STATUS, &m);
}

void
peers_turn(struct net *net)
{
	uint64_t left;
	unsigned i;

	if (!net->stopping)
		accept_turn(net);
	for (left = net->used; left != 0;) {
		i = net_link_index(&left);
		link_turn(&net->link[i]);
		if (net->link[i].phase == LINK_FREE)
			net->used &= ~(UINT64_C(1) << i);
	}
	for (i = 0; i < net->count; i++) {
		status_turn(net, &net->peer[i]);
		dial_turn(net, &net->peer[i]);
		net_data_turn(net, &net->peer[i]);
	}
}

/* Something that can be tried now. */
static bool
dial_ready(const struct net_dial *d)
{
	return d->link == NULL && d->resolve.state == RESOLVE_DONE &&
	       d->next < d->resolve.list.count;
}

bool
peers_pending(const struct net *net)
{
	uint64_t left = net->used;
	const struct net_peer *p;
	unsigned i;

	while (left != 0)
		if (link_pending(&net->link[net_link_index(&left)]))
			return true;
	for (i = 0; i < NET_LISTEN_MAX && !net->stopping; i++)
		if (listener_pending(&net->listener[i], net_now(net)))
			return true;
	for (p = net->peer; p < net->peer + net->count; p++)
		if ((is_wanted(net, p) && dial_ready(&p->dial)) ||
		    (p->data_until_ns != 0 && dial_ready(&p->data)))
			return true;
	return false;
}

static uint64_t
peer_deadline(const struct net *net, const struct net_peer *p)
{
	uint64_t at = net_data_deadline(p), b;

	if (p->up != NULL)
		b = status_due(p);
	else if (!is_wanted(net, p) || p->dial.link != NULL)
		b = LOOP_NEVER;
	else if (p->dial.resolve.state == RESOLVE_IDLE)
		b = p->dial_ns;
	else
		b = resolve_deadline(&p->dial.resolve);
	return b < at ? b : at;
}

uint64_t
peers_deadline(const struct net *net)
{
	uint64_t at = LOOP_NEVER, left = net->used, b;
	unsigned i;

	while (left != 0)
		if ((b = link_due(&net->link[net_link_index(&left)])) < at)
			at = b;
	for (i = 0; i < NET_LISTEN_MAX; i++)
		if ((b = listener_deadline(&net->listener[i])) < at)
			at = b;
	for (i = 0; i < net->count; i++)
		if ((b = peer_deadline(net, &net->peer[i])) < at)
			at = b;
	return at;
}

/* ---- for the caller ---- */

int
peers_send(struct net *net, unsigned index, unsigned type, const void *msg)
{
	if (index >= net->count || net->peer[index].up == NULL)
		return -ENOTCONN;
	return link_put(net->peer[index].up, type, msg);
}

const struct msg_proof *
peers_facts(const struct net *net, unsigned index)
{
	if (index >= net->count || net->peer[index].up == NULL)
		return NULL;
	return &net->peer[index].facts;
}

int
peers_find(const struct net *net, uint64_t incarnation)
{
	const struct net_peer *p;
	unsigned i;

	for (i = 0; i < net->count && incarnation != 0; i++) {
		p = &net->peer[i];
		if (p->m.incarnation == incarnation ||
		    (p->up != NULL && p->facts.incarnation == incarnation))
			return (int)i;
	}
	return -1;
}

uint32_t
peers_up(const struct net *net)
{
	uint32_t mask = 0;
	unsigned i;

	for (i = 0; i < net->count; i++)
		if (net->peer[i].up != NULL)
			mask |= 1u << i;
	return mask;
}

void
peers_drop(struct net *net, unsigned index, unsigned reason, const char *text)
{
	if (index < net->count && net->peer[index].up != NULL)
		link_stop(net->peer[index].up, reason, text);
}

static void
row_set(struct net *net, struct net_peer *p)
{
	struct peer_row *row = net_row(net, p);

	peer_text_set(&row->name, p->m.self ? "" : p->m.name);
	peer_text_set(&row->address, p->m.address);
	atomic_store_explicit(
	    &row->incarnation, p->m.incarnation, memory_order_relaxed);
	if (p->m.name[0] == '\0' || p->m.self)
		net_tell_link(net, p, PEER_NONE);
	else if (p->up != NULL)
		net_tell_link(net, p, PEER_UP);
	else
		net_tell_link(
		    net, p, p->dial.link != NULL ? PEER_HANDSHAKE : PEER_AWAY);
}

/* Links of rows that are gone, or are somebody else's, end. */
static void
rows_leave(struct net *net, const struct net_member *rows, unsigned count,
    int to[MEMBER_MAX])
{
	const struct net_peer *p;
	unsigned i, k;

	for (i = 0; i < net->count; i++) {
		p = &net->peer[i];
		to[i] = -1;
		for (k = 0; k < count; k++)
			if (strcmp(rows[k].name, p->m.name) == 0 &&
			    rows[k].self == p->m.self)
				to[i] = (int)k;
		if (to[i] >= 0 &&
		    (p->up == NULL || rows[to[i]].incarnation == 0 ||
			rows[to[i]].incarnation == p->facts.incarnation))
			continue;
		peers_void(net, i);
		peers_drop(net, i, REFUSED_MEMBER, "no member any more");
		if (to[i] < 0)
			net_dial_stop(&net->peer[i].dial);
	}
}

void
peers_set(struct net *net, const struct net_member *rows, unsigned count)
{
	struct net_peer now[MEMBER_MAX];
	int to[MEMBER_MAX];
	struct link *l;
	unsigned i;

	ASSERT(count <= MEMBER_MAX);
	rows_leave(net, rows, count, to);
	memset(now, 0, sizeof(now));
	for (i = 0; i < net->count; i++)
		if (to[i] >= 0)
			now[to[i]] = net->peer[i];
	for (l = net->link; l < net->link + NET_LINKS; l++)
		if (l->who >= 0)
			l->who = (unsigned)l->who < net->count ? to[l->who]
							       : NET_UNKNOWN;
	memcpy(net->peer, now, sizeof(now));
	net->count = count;
	for (i = 0; i < count; i++) {
		net->peer[i].m = rows[i];
		row_set(net, &net->peer[i]);
	}
	for (; i < MEMBER_MAX; i++)
		row_set(net, &net->peer[i]);
	net->s.loop->unready = true;
}

static int
listen_all(struct net *net)
{
	const struct net_setup *s = &net->s;
	int i, rc;

	for (i = 0; i < NET_LISTEN_MAX; i++) {
		net->listener[i].fd = -1;
		if (s->listen_fd == NULL || s->listen_fd[i] < 0)
			continue;
		if (listen(s->listen_fd[i], BACKLOG) != 0)
			return -errno;
		rc = listener_open(&net->listener[i], s->listen_fd[i],
		    loop_tag(s->kind_listen, (uint32_t)i, 0));
		if (rc != 0)
			return rc;
	}
	return 0;
}

int
peers_open(struct net *net, const struct net_setup *s)
{
	uint32_t i;

	ASSERT(NET_LINKS < 1u << 20);
	net->s = *s;
	net->self.key = s->key;
	net->self.version_min = MSG_PROTOCOL_MIN;
	net->self.version_max = MSG_PROTOCOL;
	net->self.silence_ns = NET_SILENCE_NS;
	/* As they stand in a message: zeros to the end. */
	memset(net->self.name, 0, sizeof(net->self.name));
	memset(net->self.group, 0, sizeof(net->self.group));
	snprintf(net->self.name, sizeof(net->self.name), "%s", s->name);
	snprintf(net->self.group, sizeof(net->self.group), "%s", s->group);
	net->owner = (struct link_owner){ .loop = s->loop,
		.kind = s->kind_link,
		.self = &net->self,
		.hooks = &link_hooks,
		.ctx = net };
	arc4random_buf(&net->random, sizeof(net->random));
	for (i = 0; i < NET_LINKS; i++)
		link_init(&net->link[i], &net->owner, i);
	return listen_all(net);
}

void
peers_stop(struct net *net)
{
	struct link *l;
	unsigned i;

	if (net->stopping)
		return;
	net->stopping = true;
	for (i = 0; i < NET_LISTEN_MAX; i++)
		listener_close(&net->listener[i], net->s.loop);
	for (i = 0; i < net->count; i++) {
		net_dial_stop(&net->peer[i].dial);
		peers_void(net, i);
	}
	for (l = net->link; l < net->link + NET_LINKS; l++)
		if (net_live(l))
			link_stop(l, REFUSED_STOPPING, "the node stops");
}

bool
peers_busy(const struct net *net)
{
	uint64_t left = net->used;

	while (left != 0)
		if (net->link[net_link_index(&left)].phase != LINK_FREE)
			return true;
	return false;
}
