/*
 * Nodes' wal workers, each in its own region, with this process as group of
 * each: what it asks for, views, and data connections between them, or to this
 * process, which then says on them what it likes.
 */
#ifndef T_LIB_DATA_RIG_H
#define T_LIB_DATA_RIG_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "ipc/handover.h"
#include "t/lib/wal_harness.h"

#define WINDOW (4u << 20)

struct side {
	struct harness h;
	int pair; /* data connections are handed over by it */
	struct bytering request, ret; /* group's */
	uint32_t seq;
	struct fence_ret fence; /* the newest answer */
	struct chain_ret chain;
	unsigned cut; /* status of the newest */
};

__attribute__((unused)) static uint64_t
side_appended(const struct side *s)
{
	return position_get(&s->h.region.pos->appended);
}

__attribute__((unused)) static uint64_t
side_durable(const struct side *s)
{
	return position_get(&s->h.region.pos->durable);
}

__attribute__((unused)) static uint64_t
side_counter(const struct side *s, enum counter which)
{
	return counter_sum(s->h.region.counters, which);
}

__attribute__((unused)) static const struct peer_row *
side_row(const struct side *s, unsigned member)
{
	return &s->h.region.peers->row[member];
}

__attribute__((unused)) static uint64_t
side_word(const struct side *s, unsigned member)
{
	return atomic_load(&s->h.region.commit->member[member].durable);
}

__attribute__((unused)) static int
side_boot(struct side *s)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		abort();
	h_region(&s->h);
	s->pair = pair[0];
	s->h.worker.data_from = pair[1];
	region_ring(&s->h.region, CLIENT_GROUP, RING_REQUEST, &s->request);
	region_ring(&s->h.region, CLIENT_GROUP, RING_RETURN, &s->ret);
	s->seq = 0;
	h_fork_at(&s->h, SHUTDOWN_NONE);
	close(pair[1]);
	rc = h_booted(&s->h);
	if (rc != 0)
		diag("boot: %s", s->h.region.seq->error);
	return rc;
}

__attribute__((unused)) static void
side_down(struct side *s)
{
	close(s->pair);
	h_kill(&s->h);
}

__attribute__((unused)) static bool
side_stop(struct side *s)
{
	bool good = h_stop(&s->h);

	close(s->pair);
	return good;
}

/* A view of `members`, of whom `least` commit, and wait for wal to see it. */
__attribute__((unused)) static void
side_view(struct side *s, enum role role, uint64_t term, unsigned self,
    unsigned members, unsigned least)
{
	struct commit_view *v = &s->h.view;

	v->role = (uint8_t)role;
	v->term = term;
	v->self = (uint8_t)self;
	v->master = role == ROLE_MASTER ? (int8_t)self : 0;
	v->member_count = (uint8_t)members;
	v->voters = (uint16_t)((1u << members) - 1);
	v->quorum = quorum_count(least, members);
	h_publish(&s->h);
	if (!wait_until(
		h_ended(&s->h) || word_epoch(side_word(s, self)) == v->epoch,
		H_WAIT_MS))
		diag("wal does not take the view");
}

__attribute__((unused)) static void
side_ask(struct side *s, uint8_t type, const void *body, uint32_t n)
{
	struct wal_req req = { .len = (uint32_t)sizeof(req) + n,
		.seq = ++s->seq,
		.incarnation = 1,
		.type = type };
	uint8_t *at = bytering_reserve(&s->request, req.len);

	if (at == NULL)
		abort();
	memcpy(at, &req, sizeof(req));
	memcpy(at + sizeof(req), body, n);
	bytering_publish(&s->request);
	h_ring(&s->h);
}

/* One answer; true if it is there and of the newest request. */
__attribute__((unused)) static bool
side_answered(struct side *s)
{
	const uint8_t *ret;
	uint32_t len, seq;

	ret = bytering_peek(&s->ret, &len);
	if (ret == NULL)
		return false;
	seq = get_le32(ret + 4);
	if (len == sizeof(s->fence))
		memcpy(&s->fence, ret, len);
	else if (len == sizeof(s->chain))
		memcpy(&s->chain, ret, len);
	else
		s->cut = ((const struct wal_ret *)(const void *)ret)->status;
	bytering_advance(&s->ret, len);
	bytering_consume(&s->ret);
	return seq == s->seq;
}

__attribute__((unused)) static bool
side_fence(struct side *s, uint16_t epoch)
{
	struct fence_req req = { .epoch = epoch };

	side_ask(s, REQ_FENCE, &req, sizeof(req));
	return wait_until(side_answered(s), H_WAIT_MS);
}

/* As group does before it asks: the epoch of `committed` is raised. */
__attribute__((unused)) static uint16_t
side_raise(struct side *s)
{
	_Atomic uint64_t *v = &s->h.region.pos->committed.v;
	uint64_t now = atomic_load(v);

	s->h.view.epoch++;
	while (!atomic_compare_exchange_weak(
	    v, &now, epoch_word(s->h.view.epoch, word_vlsn(now))))
		;
	return s->h.view.epoch;
}

__attribute__((unused)) static unsigned
side_chain(struct side *s, uint64_t vlsn)
{
	struct chain_req req = { .vlsn = vlsn };

	side_ask(s, REQ_CHAIN, &req, sizeof(req));
	if (!wait_until(side_answered(s), H_WAIT_MS))
		return 999;
	return s->chain.status;
}

__attribute__((unused)) static unsigned
side_cut(struct side *s, uint64_t vlsn)
{
	struct cut_req req = { .vlsn = vlsn, .epoch = s->h.view.epoch };

	side_ask(s, REQ_CUT, &req, sizeof(req));
	if (!wait_until(side_answered(s) || h_ended(&s->h), H_WAIT_MS))
		return 999;
	return s->cut;
}

/* Two ends of a stream: of TCP, or of this host. */
__attribute__((unused)) static void
stream_pair(bool tcp, int fd[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int l;

	if (!tcp) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
			abort();
		return;
	}
	l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&sin, sizeof(sin)) != 0 ||
	    listen(l, 1) != 0 ||
	    getsockname(l, (struct sockaddr *)&sin, &len) != 0 ||
	    connect(fd[0], (struct sockaddr *)&sin, sizeof(sin)) != 0)
		abort();
	fd[1] = accept(l, NULL, NULL);
	close(l);
}

/* What both ends have agreed on. */
__attribute__((unused)) static struct msg_data_hello
facts(uint64_t connection, uint64_t term, uint64_t vlsn, uint64_t vlsn_term,
    uint32_t crc, uint16_t epoch, uint16_t their_epoch)
{
	return (struct msg_data_hello){ .magic = MSG_MAGIC,
		.version = MSG_PROTOCOL,
		.source = FEED_LIVE,
		.crc = crc,
		.epoch = epoch,
		.their_epoch = their_epoch,
		.connection = connection,
		.term = term,
		.vlsn = vlsn,
		.vlsn_term = vlsn_term,
		.incarnation = 2,
		.boot_count = 1,
		.boot = 22,
		.their_incarnation = 1,
		.their_boot_count = 1,
		.their_boot = 11 };
}

__attribute__((unused)) static void
side_offer(struct side *s, const struct msg_data_hello *d, enum msg_from role,
    unsigned member, uint32_t window, int fd)
{
	struct data_offer o = { .link.data = *d,
		.link.role = (uint8_t)role,
		.window = window,
		.member = (uint8_t)member };

	if (handover_send(s->pair, &o, fd) != 0)
		abort();
}

static uint64_t rig_connection;

/*
 * Connect a replica (member 1 of the master's view) behind its end; true if
 * both have taken it.
 */
__attribute__((unused)) static bool
side_connect(struct side *m, struct side *r, uint32_t window, bool tcp)
{
	struct msg_data_hello d;
	int fd[2];

	if (side_chain(r, side_appended(r)) != CHAIN_OK)
		return false;
	d = facts(++rig_connection, m->h.view.term, r->chain.vlsn,
	    r->chain.term, r->chain.crc, r->h.view.epoch, m->h.view.epoch);
	stream_pair(tcp, fd);
	side_offer(m, &d, FROM_LISTENER, r->h.view.self, window, fd[0]);
	side_offer(r, &d, FROM_DIALER, m->h.view.self, window, fd[1]);
	close(fd[0]);
	close(fd[1]);
	return wait_until(
	    atomic_load(&side_row(m, r->h.view.self)->connection) ==
		    rig_connection &&
		atomic_load(&side_row(r, m->h.view.self)->connection) ==
		    rig_connection,
	    H_WAIT_MS);
}

/* ---- an end of a connection that is this process' ---- */

struct puppet {
	int fd;
	struct link_core link;
	struct link_self self;
	struct auth_key key;
	uint8_t in[1 << 16];
	size_t at, len;
	/* What came. */
	uint64_t frames, acks, log_bytes, last, committed;
	struct msg_ack ack;
	unsigned end; /* reason of MSG_FEED_END, or 1000 + of a refusal */
	bool closed;
};

__attribute__((unused)) static void
puppet_open(struct puppet *p, int fd, const struct msg_data_hello *d,
    enum msg_from role)
{
	struct link_handed handed = { .data = *d, .role = (uint8_t)role };

	memset(p, 0, sizeof(*p));
	p->fd = fd;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	p->self.key = &p->key;
	p->self.version_min = p->self.version_max = MSG_PROTOCOL;
	link_adopt(&p->link, &p->self, &handed, mono_ns());
}

__attribute__((unused)) static void
puppet_send(
    struct puppet *p, unsigned type, const void *msg, const void *log, size_t n)
{
	uint8_t at[256];
	int len;

	if (p->closed) {
		diag("not sent: closed, %u", p->end);
		return;
	}
	len = link_send(&p->link, type, msg, at, sizeof(at));
	if (len < 0)
		abort();
	(void)!send(p->fd, at, (size_t)len, MSG_NOSIGNAL);
	if (n != 0)
		(void)!send(p->fd, log, n, MSG_NOSIGNAL);
}

__attribute__((unused)) static void
puppet_ack(struct puppet *p, uint64_t term, uint64_t durable)
{
	struct msg_ack ack = { term, durable, durable };

	puppet_send(p, MSG_ACK, &ack, NULL, 0);
}

static void
puppet_message(struct puppet *p, unsigned type, const union msg *m)
{
	if (type == MSG_FRAME) {
		p->frames++;
		p->committed = m->frame.committed;
		if (m->frame.last != 0)
			p->last = m->frame.last;
	} else if (type == MSG_ACK) {
		p->acks++;
		p->ack = m->ack;
	} else if (type == MSG_FEED_END)
		p->end = m->feed_end.reason;
}

/* Take what is there; true if there was something. */
__attribute__((unused)) static bool
puppet_read(struct puppet *p)
{
	static union msg m;
	struct link_out out;
	ssize_t n;

	if (p->closed)
		return false;
	n = read(p->fd, p->in + p->len, sizeof(p->in) - p->len);
	if (n <= 0) {
		p->closed = n == 0 || errno != EAGAIN;
		return false;
	}
	p->len += (size_t)n;
	for (;;) {
		link_take(&p->link, p->in + p->at, p->len - p->at, mono_ns(),
		    &m, &out);
		p->at += out.used;
		if (out.what == LINK_MESSAGE)
			puppet_message(p, out.type, &m);
		else if (out.what == LINK_LOG)
			p->log_bytes += out.log_len;
		else
			break;
	}
	if (out.what == LINK_DROP) {
		p->end = 1000 + out.reason;
		p->closed = true;
	}
	memmove(p->in, p->in + p->at, p->len - p->at);
	p->len -= p->at;
	p->at = 0;
	return true;
}

__attribute__((unused)) static void
puppet_close(struct puppet *p)
{
	close(p->fd);
}

/* ---- what is in a log ---- */

struct mark {
	uint64_t term;
	uint32_t crc;
	uint32_t type;
};

/* All records of a stopped log, or of files: by VLSN. Returns the newest. */
__attribute__((unused)) static uint64_t
marks_read(const struct harness *h, struct mark *out, uint64_t max)
{
	struct segment_list l;
	struct segment_reader r;
	struct record rec;
	uint64_t vlsn = 0;
	uint32_t i;

	if (segment_list_load(&l, h->wal_dir, true) != 0)
		abort();
	for (i = l.newest == UINT32_MAX ? UINT32_MAX : l.oldest;
	     i != UINT32_MAX; i = segment_list_next(&l, i)) {
		if (segment_reader_open(
			&r, h->wal_dir, l.entry[i].number, 1 << 20, true) != 0)
			break;
		r.limit = l.entry[i].end;
		while (segment_reader_next(&r, &rec, NULL) == 0) {
			if (rec.vlsn == 0 || rec.vlsn >= max)
				continue;
			vlsn = rec.vlsn;
			out[vlsn] =
			    (struct mark){ rec.term, rec.crc, rec.type };
		}
		segment_reader_close(&r);
	}
	segment_list_free(&l);
	return vlsn;
}

#endif
