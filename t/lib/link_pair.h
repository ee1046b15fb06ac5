/*
 * Two ends of a connection, joined by buffers instead of a network: what an end
 * sends is in its `out` until somebody moves it to the other's `in`, in pieces
 * of any size.
 */
#ifndef T_LIB_LINK_PAIR_H
#define T_LIB_LINK_PAIR_H

#include <stdlib.h>
#include <string.h>

#include "ipc/link_core.h"
#include "shm/assert.h"

#define PAIR_BUF 65536

struct end {
	struct link_core l;
	struct link_self self;
	struct auth_key key;
	struct msg_proof mine;
	struct link_ticket ticket; /* listener: that it knows; dialer: has */
	bool knows_ticket;
	bool judges; /* by itself: accepts */
	struct link_out o; /* the last answer */
	union msg msg;
	unsigned messages; /* that came when it was ready */
	unsigned last_type;
	uint64_t log_bytes;
	bool needed_judgement, needed_ticket, opened;
	uint8_t in[PAIR_BUF], out[PAIR_BUF];
	size_t in_len, out_len;
	uint64_t sent; /* bytes in all */
};

static inline void
end_sends(struct end *e, const uint8_t *at, size_t n)
{
	ASSERT(n <= sizeof(e->out) - e->out_len);
	memcpy(e->out + e->out_len, at, n);
	e->out_len += n;
	e->sent += n;
}

static inline void end_answer(struct end *e, uint64_t now);

/* What the answer asks for, as its user would. */
static inline void
end_obey(struct end *e, uint64_t now)
{
	end_sends(e, e->o.send, e->o.send_len);
	switch (e->o.what) {
	case LINK_NEEDS_JUDGEMENT:
		e->needed_judgement = true;
		if (e->judges) {
			link_judge(&e->l, REFUSED_NOTHING, "", now, &e->o);
			end_obey(e, now);
		}
		break;
	case LINK_NEEDS_TICKET:
		e->needed_ticket = true;
		link_ticket(
		    &e->l, e->knows_ticket ? &e->ticket : NULL, now, &e->o);
		end_obey(e, now);
		break;
	case LINK_OPEN:
		e->opened = true;
		break;
	case LINK_MESSAGE:
		e->messages++;
		e->last_type = e->o.type;
		break;
	case LINK_LOG:
		e->log_bytes += e->o.log_len;
		break;
	case LINK_MORE:
	case LINK_HOLD:
	case LINK_STEP:
	case LINK_DROP:
		break;
	}
}

/* All that is in `in`, from a copy that ends where the bytes do. */
static inline void
end_answer(struct end *e, uint64_t now)
{
	uint8_t *copy;

	while (e->l.state != LINK_DROPPED) {
		copy = malloc(e->in_len > 0 ? e->in_len : 1);
		ASSERT(copy != NULL);
		memcpy(copy, e->in, e->in_len);
		link_take(&e->l, copy, e->in_len, now, &e->msg, &e->o);
		free(copy);
		ASSERT(e->o.used <= e->in_len);
		e->in_len -= e->o.used;
		memmove(e->in, e->in + e->o.used, e->in_len);
		end_obey(e, now);
		if (e->o.what == LINK_MORE || e->o.what == LINK_HOLD)
			return;
	}
}

static inline void
end_gets(struct end *e, const uint8_t *at, size_t n, uint64_t now)
{
	if (e->l.state == LINK_DROPPED)
		return;
	ASSERT(n <= sizeof(e->in) - e->in_len);
	memcpy(e->in + e->in_len, at, n);
	e->in_len += n;
	end_answer(e, now);
}

/* Up to n bytes from one to the other; how many that were. */
static inline size_t
pair_move(struct end *from, struct end *to, size_t n, uint64_t now)
{
	uint8_t piece[PAIR_BUF];

	if (n > from->out_len)
		n = from->out_len;
	memcpy(piece, from->out, n);
	from->out_len -= n;
	memmove(from->out, from->out + n, from->out_len);
	end_gets(to, piece, n, now);
	return n;
}

/* Both ways, until nothing is left. */
static inline void
pair_run(struct end *a, struct end *b, size_t piece, uint64_t now)
{
	while (pair_move(a, b, piece, now) + pair_move(b, a, piece, now) > 0)
		;
}

/* A node that may serve as either end. */
static inline void
end_init(struct end *e, const char *name, const char *key, uint64_t incarnation)
{
	memset(e, 0, sizeof(*e));
	e->key.len = (uint16_t)strlen(key);
	memcpy(e->key.byte, key, e->key.len);
	e->self.key = &e->key;
	e->self.version_min = MSG_PROTOCOL_MIN;
	e->self.version_max = MSG_PROTOCOL;
	e->self.silence_ns = UINT64_C(1000000000);
	memcpy(e->self.name, name, strlen(name));
	memcpy(e->self.group, "g1", 2);
	e->mine.incarnation = incarnation;
	e->mine.boot_count = 3;
	e->mine.boot = incarnation * 7;
	e->mine.standing = STANDING_JOINED;
	e->mine.uuid[5] = 9;
	e->mine.generation = 1;
	e->mine.term = 4;
	e->mine.first = 1;
	e->mine.last = 100;
	e->mine.last_term = 4;
	e->judges = true;
}

static inline void
end_dials(struct end *e, const char *whom, uint8_t nonce, uint64_t now)
{
	uint8_t n[MSG_NONCE];

	memset(n, nonce, sizeof(n));
	link_dial(&e->l, &e->self, &e->mine, whom, n, now, &e->o);
	end_obey(e, now);
}

static inline void
end_listens(struct end *e, uint8_t nonce, uint64_t now)
{
	uint8_t n[MSG_NONCE];

	memset(n, nonce, sizeof(n));
	link_listen(&e->l, &e->self, &e->mine, n, now);
}

/* A ticket that both know: a, the replica, dials b, the master. */
static inline void
pair_ticket(struct end *a, struct end *b)
{
	struct msg_data_hello want = { .magic = MSG_MAGIC,
		.version = MSG_PROTOCOL,
		.source = FEED_LIVE,
		.crc = 0x1234567,
		.epoch = 5,
		.their_epoch = 6,
		.connection = 77,
		.term = 4,
		.vlsn = 100,
		.vlsn_term = 4,
		.incarnation = a->mine.incarnation,
		.boot_count = a->mine.boot_count,
		.boot = a->mine.boot,
		.their_incarnation = b->mine.incarnation,
		.their_boot_count = b->mine.boot_count,
		.their_boot = b->mine.boot };

	a->ticket.want = b->ticket.want = want;
	memset(a->ticket.nonce, 0x5a, sizeof(a->ticket.nonce));
	memcpy(b->ticket.nonce, a->ticket.nonce, sizeof(b->ticket.nonce));
	a->knows_ticket = b->knows_ticket = true;
}

static inline void
end_dials_data(struct end *e, uint8_t nonce, uint64_t now)
{
	uint8_t n[MSG_NONCE];

	memset(n, nonce, sizeof(n));
	link_dial_data(&e->l, &e->self, &e->ticket, n, now, &e->o);
	end_obey(e, now);
}

#endif
