/*
 * The group at one moment; see members.h.
 */
#include "shm/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/region.h"

static uint64_t
get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint32_t
get32(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t
ms_since(uint64_t then_ns, uint64_t now_ns)
{
	if (then_ns == 0)
		return MEMBERS_NEVER;
	return now_ns > then_ns ? (now_ns - then_ns) / NS_PER_MS : 0;
}

static void
text_copy(char *to, size_t size, const char *from, size_t max)
{
	size_t n = strnlen(from, max < size ? max : size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

/* What stands in a row of another member. */
static void
row_look(const struct peer_row *p, uint64_t now_ns, struct member_look *out)
{
	out->link = get32(&p->link);
	out->feed = get32(&p->feed);
	out->role = get32(&p->role);
	out->flags = get32(&p->flags);
	out->phi_milli = get32(&p->phi_milli);
	out->incarnation = get(&p->incarnation);
	out->boot = get(&p->boot);
	out->since_ms = ms_since(get(&p->since_ns), now_ns);
	out->heard_ms = ms_since(get(&p->heard_ns), now_ns);
	out->behind_ms = ms_since(get(&p->behind_ns), now_ns);
	if (out->behind_ms == MEMBERS_NEVER)
		out->behind_ms = 0;
	out->term = get(&p->term);
	out->first = get(&p->first);
	out->appended = get(&p->appended);
	out->durable = get(&p->durable);
	out->applied = get(&p->applied);
	out->drops = get(&p->drops);
	out->sent_bytes = get(&p->sent_bytes);
	if (out->feed != PEER_FEED_NONE) {
		out->matched = get(&p->matched);
		out->acked = get(&p->acked);
		out->flight_bytes = get(&p->flight_bytes);
	}
	peer_text_get(&p->address, out->address, sizeof(out->address));
	peer_text_get(&p->error, out->error, sizeof(out->error));
}

static void
self_look(const struct region *r, const struct commit_view *view,
    struct member_look *out)
{
	const struct peer_row *p = &r->peers->row[view->self];

	out->self = true;
	out->incarnation = get(&p->incarnation);
	peer_text_get(&p->address, out->address, sizeof(out->address));
	out->link = PEER_UP;
	out->role = view->role;
	out->term = view->term;
	out->first = position_get(&r->pos->first);
	out->appended = position_get(&r->pos->appended);
	out->durable = position_get(&r->pos->durable);
	out->applied = position_get(&r->pos->applied);
}

static void
rows_look(const struct region *r, uint64_t now_ns, struct members_look *out)
{
	const struct commit_state *cs = r->commit;
	struct member_look *m;
	unsigned i;

	out->count = out->joined ? out->view.member_count : MEMBER_MAX;
	for (i = 0; i < out->count; i++) {
		m = &out->row[i];
		if (out->joined && i == out->view.self)
			self_look(r, &out->view, m);
		else
			row_look(&r->peers->row[i], now_ns, m);
		if (!out->joined && m->link == PEER_NONE)
			break;
		m->votes = (out->view.voters >> i & 1) != 0;
		if (out->joined) {
			text_copy(m->name, sizeof(m->name), cs->name[i],
			    MEMBER_NAME_MAX);
			text_copy(m->client, sizeof(m->client), cs->client[i],
			    MEMBER_ADDR_MAX);
		} else {
			peer_text_get(
			    &r->peers->row[i].name, m->name, sizeof(m->name));
		}
	}
	out->count = i;
}

/*
 * How far behind each is: of a master's own log, else of the newest record that
 * anybody told of in this term.
 */
static void
lags_look(struct members_look *out)
{
	bool master = out->view.role == ROLE_MASTER;
	uint64_t newest = 0, has;
	struct member_look *m;
	unsigned i;

	for (i = 0; i < out->count; i++) {
		m = &out->row[i];
		if ((m->self || (!master && m->term == out->view.term)) &&
		    m->appended > newest)
			newest = m->appended;
	}
	for (i = 0; i < out->count; i++) {
		m = &out->row[i];
		has = m->acked != 0 && m->feed != PEER_FEED_FROM ? m->acked
								 : m->durable;
		m->lag = newest > has ? newest - has : 0;
		m->lag_known = m->self || has != 0 || m->link == PEER_UP;
	}
}

/*
 * Who would acknowledge a record: a master knows by its data connections, who
 * follows by who is connected. Who told that its log takes nothing does not,
 * nor who is detached: in a group of several it has lost its memory.
 */
static bool
is_ready(const struct members_look *m, const struct member_look *row)
{
	if (row->self)
		return m->view.role != ROLE_DETACHED || m->count == 1;
	if (row->link != PEER_UP || row->flags != 0)
		return false;
	return m->view.role == ROLE_MASTER ? row->feed == PEER_FEED_LIVE
					   : row->role != ROLE_DETACHED;
}

static void
quorum_look(struct members_look *out)
{
	uint16_t ready = 0;
	unsigned i;

	out->spare = -1;
	for (i = 0; i < out->count; i++) {
		struct member_look *m = &out->row[i];

		if (!m->votes)
			continue;
		m->ready = is_ready(out, m);
		out->voters++;
		out->connected += m->link == PEER_UP;
		out->ready += m->ready;
		ready |= (uint16_t)((unsigned)m->ready << i);
	}
	/* Another process wrote the view: that there is no table for is none.
	 */
	if (__builtin_popcount(out->view.voters) <= QUORUM_VOTERS_MAX)
		out->spare = quorum_spare(
		    &out->view.quorum, quorum_set(out->view.voters, ready));
}

static void
master_look(const struct region *r, uint64_t now_ns, struct members_look *out)
{
	uint64_t since_ns;

	if (out->joined && out->view.master >= 0 &&
	    (unsigned)out->view.master < out->count) {
		out->master = &out->row[out->view.master];
		return;
	}
	if (peers_no_master(
		r->peers, &since_ns, out->no_master, sizeof(out->no_master)))
		out->no_master_ms = ms_since(since_ns, now_ns);
}

static uint64_t
lease_left_ms(uint64_t until_ns)
{
	uint64_t now_ns = clock_ns(CLOCK_BOOTTIME);

	if (until_ns == UINT64_MAX)
		return MEMBERS_NEVER;
	return until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS : 0;
}

void
members_look(const struct region *r, uint64_t now_ns, struct members_look *out)
{
	memset(out, 0, sizeof(*out));
	commit_view_read(r->commit, &out->view);
	if (out->view.member_count > MEMBER_MAX)
		out->view.member_count = MEMBER_MAX;
	out->joined = out->view.member_count != 0;
	rows_look(r, now_ns, out);
	lags_look(out);
	quorum_look(out);
	master_look(r, now_ns, out);
	out->lease_ms = lease_left_ms(out->view.lease_until_ns);
}

bool
members_shown(const struct members_look *m)
{
	return m->count > (m->joined ? 1u : 0u);
}

char *
members_text(const struct members_look *m, char *buf, size_t size)
{
	unsigned least = quorum_least(&m->view.quorum);
	int n;

	if (!m->joined) {
		snprintf(buf, size, "of no group yet");
		return buf;
	}
	if (m->spare < 0)
		n = snprintf(buf, size, "no quorum: %u of %u, %u needed",
		    m->ready, m->voters, least);
	else if (m->spare == 0)
		n = snprintf(buf, size, "can lose no more member (%u of %u)",
		    m->ready, m->voters);
	else
		n = snprintf(buf, size, "can lose %d more member%s (%u of %u)",
		    m->spare, m->spare == 1 ? "" : "s", m->ready, m->voters);
	if (m->connected > m->ready && n > 0 && (size_t)n < size)
		snprintf(buf + n, size - (size_t)n,
		    ", %u connected and not in step", m->connected - m->ready);
	return buf;
}

char *
members_master_text(const struct members_look *m, char *buf, size_t size)
{
	const struct member_look *master = m->master;

	if (size > 0)
		buf[0] = '\0';
	if (!m->joined || m->view.role == ROLE_MASTER)
		return buf;
	if (master == NULL)
		snprintf(buf, size, "no master for %" PRIu64 " ms: %s",
		    m->no_master_ms,
		    m->no_master[0] != '\0' ? m->no_master : "not known why");
	else
		snprintf(buf, size, "a %s: the master is %s at %s",
		    role_name(m->view.role), master->name,
		    master->client[0] != '\0' ? master->client
					      : "an address not told");
	return buf;
}

const char *
member_link_word(const struct member_look *row)
{
	if (row->self)
		return "here";
	if (row->link == PEER_UP && row->feed != PEER_FEED_NONE)
		return peer_feed_name(row->feed);
	return peer_link_name(row->link);
}

char *
member_flags_text(uint32_t flags, char *buf, size_t size)
{
	static const struct {
		uint32_t bit;
		const char *text;
	} table[] = {
#define X(bit, name, text) { bit, text },
		MEMBER_FLAGS(X)
#undef X
	};
	size_t i;

	if (size > 0)
		buf[0] = '\0';
	for (i = 0; i < NITEMS(table); i++) {
		if ((flags & table[i].bit) == 0)
			continue;
		if (buf[0] != '\0')
			strlcat(buf, "; ", size);
		strlcat(buf, table[i].text, size);
	}
	return buf;
}
