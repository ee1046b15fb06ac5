/*
 * Any message that is sound: its fields by their rows, at their bounds more
 * often than by chance, then made to fit each other. From one seed.
 */
#ifndef T_LIB_MSG_RANDOM_H
#define T_LIB_MSG_RANDOM_H

#include <string.h>

#include "ipc/msg_codec.h"
#include "shm/log/record.h"
#include "t/lib/splitmix.h"

static inline uint64_t
msg_between(uint64_t *seed, uint64_t min, uint64_t max)
{
	uint64_t v = splitmix(seed), range = max - min;

	switch (splitmix(seed) % 8) {
	case 0:
		return min;
	case 1:
		return max;
	case 2: /* a small one: these fit each other more often */
		v &= 15;
		break;
	case 3:
		v &= 0xffff;
		break;
	}
	return range == UINT64_MAX ? v : min + v % (range + 1);
}

static inline void
msg_random_text(const struct msg_field *f, uint8_t *out, uint64_t *seed)
{
	static const char plain[] = "abcxyzABCXYZ0189_.-";
	size_t n = (size_t)msg_between(seed, f->min, f->max), i;

	for (i = 0; i < n; i++)
		out[i] =
		    f->kind == FIELD_NAME
			? (uint8_t)plain[splitmix(seed) % (sizeof(plain) - 1)]
			: (uint8_t)(' ' + splitmix(seed) % 95);
	out[n] = '\0';
}

static inline void
msg_random_field(const struct msg_field *f, uint8_t *msg, uint64_t *seed)
{
	uint64_t v;
	unsigned i, k;

	switch ((enum field_kind)f->kind) {
	case FIELD_NUMBER:
		v = msg_between(seed, f->min, f->max);
		memcpy(msg + f->offset, &v, f->size);
		break;
	case FIELD_BYTES:
		for (i = 0; i < f->size; i++)
			msg[f->offset + i] = (uint8_t)splitmix(seed);
		break;
	case FIELD_NAME:
	case FIELD_TEXT:
		msg_random_text(f, msg + f->offset, seed);
		break;
	case FIELD_LIST:
		v = msg_between(seed, f->min, f->max);
		memcpy(msg + f->count, &v, f->size);
		for (i = 0; i < v; i++)
			for (k = 0; k < f->entry_fields; k++)
				if (f->entry[k].kind == FIELD_NUMBER)
					msg_random_field(&f->entry[k],
					    msg + f->offset +
						(size_t)i * f->room,
					    seed);
		break;
	case FIELD_LOG:
		v = msg_between(seed, f->min, f->max);
		memcpy(msg + f->offset, &v, 4);
		break;
	case FIELD_ZERO:
		break;
	}
}

/* *a <= *b */
static inline void
msg_order(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;

	if (*a > *b) {
		*a = *b;
		*b = t;
	}
}

/* A record and its term: both or none, below a term. */
static inline void
msg_fit_term(uint64_t vlsn, uint64_t *term, uint64_t most, uint64_t *seed)
{
	*term = vlsn == 0 ? 0 : 1 + splitmix(seed) % most;
}

static inline void
msg_fit_first(uint64_t *first, uint64_t last)
{
	if (*first > last + 1)
		*first = last + 1;
	if (*first == 0 && last != 0)
		*first = 1;
}

static inline void
msg_fit_vote(struct msg_vote *m, uint64_t *seed)
{
	if (m->term == 1) {
		m->last = m->last_term = 0;
		m->released_master = m->released_term = 0;
		return;
	}
	msg_fit_term(m->last, &m->last_term, m->term - 1, seed);
	msg_fit_term(m->released_master, &m->released_term, m->term - 1, seed);
}

static inline void
msg_fit_vote_answer(struct msg_vote_answer *m, uint64_t *seed)
{
	if (m->verdict == VOTE_GRANTED)
		msg_order(&m->term, &m->asked);
	if (m->verdict == VOTE_TERM)
		msg_order(&m->asked, &m->term);
	if (m->asked == 0)
		m->asked = 1;
	if (m->verdict == VOTE_TERM && m->term < m->asked)
		m->term = m->asked;
	if (m->term == 0)
		m->last = 0;
	msg_fit_term(m->last, &m->last_term, m->term | 1, seed);
	if (m->last_term > m->term)
		m->term = m->last_term;
	if (m->verdict == VOTE_GRANTED && m->term > m->asked)
		m->asked = m->term;
}

static inline void
msg_fit_runs(struct msg_runs *m, uint64_t *seed)
{
	uint64_t term = 0, first = 0;
	unsigned i;

	for (i = 0; i < m->run_count; i++) {
		term += 1 + splitmix(seed) % 1000;
		first += 1 + splitmix(seed) % 1000000;
		m->run[i].term = term;
		m->run[i].first = first;
	}
	m->last = i == 0 ? 0 : first + splitmix(seed) % 1000000;
	m->last_term = term;
	if (m->term < term)
		m->term = term;
	msg_fit_first(&m->first, m->last);
}

static inline void
msg_fit_frame(struct msg_frame *m, uint64_t *seed)
{
	uint64_t count;

	m->bytes &= ~UINT32_C(7);
	if (m->bytes < REC_HEADER_SIZE || m->last == 0) {
		m->bytes = 0;
		m->first = m->last = 0;
		return;
	}
	count = 1 + splitmix(seed) % (m->bytes / REC_HEADER_SIZE);
	m->first = m->last >= count ? m->last - count + 1 : 1;
}

static inline void
msg_fit_match(uint64_t vlsn, uint64_t *vlsn_term, uint64_t term, uint32_t *crc,
    uint64_t *seed)
{
	msg_fit_term(vlsn, vlsn_term, term, seed);
	if (vlsn == 0)
		*crc = 0;
}

static inline uint64_t
msg_fit_until(unsigned source, uint64_t *vlsn, uint64_t until)
{
	if (source == FEED_LIVE)
		return 0;
	if (*vlsn == VLSN_MASK)
		(*vlsn)--;
	return until > *vlsn ? until : *vlsn + 1;
}

static inline void
msg_fit_proof(struct msg_proof *m, uint64_t *seed)
{
	if (m->standing == STANDING_UNJOINED) {
		memset(m->uuid, 0, sizeof(m->uuid));
		m->generation = 0;
	}
	if (m->term == 0)
		m->last = 0;
	msg_fit_term(m->last, &m->last_term, m->term | 1, seed);
	if (m->last_term > m->term)
		m->term = m->last_term;
	msg_fit_first(&m->first, m->last);
}

static inline void
msg_fit_versions(uint16_t *min, uint16_t *max)
{
	uint16_t t = *min;

	if (*min > *max) {
		*min = *max;
		*max = t;
	}
}

/* Fields that a row's bounds leave in contradiction. */
static inline void
msg_fit(unsigned type, union msg *m, uint64_t *seed)
{
	unsigned i;

	switch (type) {
	case MSG_HELLO:
		msg_fit_versions(&m->hello.version_min, &m->hello.version_max);
		break;
	case MSG_PROOF:
		msg_fit_proof(&m->proof, seed);
		break;
	case MSG_ROUND:
		for (i = 0; i < m->round.rank_count; i++)
			m->round.rank[i].incarnation =
			    (splitmix(seed) & ~UINT64_C(15)) + i + 1;
		break;
	case MSG_ROUND_ANSWER:
		if (m->round_answer.verdict != ROUND_TAKEN)
			m->round_answer.promise_ms = 0;
		msg_order(&m->round_answer.durable, &m->round_answer.appended);
		if (m->round_answer.matched > m->round_answer.appended)
			m->round_answer.matched = m->round_answer.appended;
		break;
	case MSG_PREVOTE:
	case MSG_VOTE:
		msg_fit_vote(&m->vote, seed);
		break;
	case MSG_PREVOTE_ANSWER:
	case MSG_VOTE_ANSWER:
		msg_fit_vote_answer(&m->vote_answer, seed);
		break;
	case MSG_READ_ANSWER:
		if (m->read_answer.verdict != READ_GIVEN)
			m->read_answer.committed = 0;
		break;
	case MSG_SYNC_RUNS:
	case MSG_SYNC_ANSWER:
		msg_fit_runs(&m->sync_runs, seed);
		break;
	case MSG_SYNC_MATCH:
		msg_fit_match(m->sync_match.vlsn, &m->sync_match.vlsn_term,
		    m->sync_match.term, &m->sync_match.crc, seed);
		break;
	case MSG_SYNC_REFUSED:
		if (m->sync_refused.reason != SYNC_DAMAGE)
			m->sync_refused.crc = 0;
		break;
	case MSG_TICKET:
		m->ticket.until = msg_fit_until(
		    m->ticket.source, &m->ticket.vlsn, m->ticket.until);
		msg_fit_match(m->ticket.vlsn, &m->ticket.vlsn_term,
		    m->ticket.term, &m->ticket.crc, seed);
		break;
	case MSG_DATA_HELLO:
		m->data_hello.until = msg_fit_until(m->data_hello.source,
		    &m->data_hello.vlsn, m->data_hello.until);
		msg_fit_match(m->data_hello.vlsn, &m->data_hello.vlsn_term,
		    m->data_hello.term, &m->data_hello.crc, seed);
		if (m->data_hello.incarnation ==
		    m->data_hello.their_incarnation)
			m->data_hello.incarnation =
			    m->data_hello.incarnation == 1 ? 2 : 1;
		break;
	case MSG_FRAME:
		msg_fit_frame(&m->frame, seed);
		break;
	case MSG_ACK:
		msg_order(&m->ack.durable, &m->ack.appended);
		break;
	case MSG_NOTE:
		/* Any bytes; few of them do. */
		i = m->note.record_len % 96 + 1;
		memset(m->note.record + i, 0, sizeof(m->note.record) - i);
		m->note.record_len = (uint16_t)i;
		break;
	case MSG_STATUS_ANSWER:
		msg_fit_versions(&m->status_answer.version_min,
		    &m->status_answer.version_max);
		break;
	}
}

/* What no row reaches of *m is zero. */
static inline void
msg_random(unsigned type, union msg *m, uint64_t *seed)
{
	const struct msg_layout *l = msg_row(type)->layout;
	unsigned i;

	memset(m, 0, sizeof(*m));
	for (i = 0; i < l->fields; i++)
		msg_random_field(&l->field[i], (uint8_t *)m, seed);
	msg_fit(type, m, seed);
}

#endif
