/*
 * nodelifestat: the group on the screen. How its quorum is, why the last
 * election was, and a row per member; nothing in a group of one.
 */
#include <inttypes.h>
#include <string.h>

#include "tools/nodelifestat_screen.h"

#define CELL   32
#define INDENT 13

static void
row_quorum(struct screen *sc)
{
	const struct members_look *m = &sc->s->group;
	const uint64_t *c = sc->s->counter;
	char text[128], lease[48] = "";

	members_text(m, text, sizeof(text));
	if (m->view.role == ROLE_MASTER && m->lease_ms != MEMBERS_NEVER)
		snprintf(lease, sizeof(lease), ", lease %" PRIu64 " ms",
		    m->lease_ms);
	screen_row(sc,
	    m->joined && m->spare <= 0 ? (m->spare < 0 ? BAD : HEADING) : GOOD,
	    "group: %s%s, elections %" PRIu64 ", won %" PRIu64, text, lease,
	    c[C_ELECTIONS_HELD], c[C_ELECTIONS_WON]);
}

/* Who it is, or since when and why there is none. */
static char *
master_text(const struct members_look *m, char *buf, size_t size)
{
	char age[CELL];

	if (m->master != NULL)
		snprintf(buf, size, "master %s", m->master->name);
	else if (m->no_master_ms == 0)
		snprintf(buf, size, "no master");
	else
		snprintf(buf, size, "no master for %s: %s",
		    text_age(age, sizeof(age), m->no_master_ms), m->no_master);
	return buf;
}

static void
row_master(struct screen *sc)
{
	const struct stat_sample *s = sc->s;
	static const char lead[] = "election: ";
	char age[CELL], why[PEER_TEXT + 64];
	struct event e;
	size_t at;

	if (!s->group.joined) {
		screen_row(sc, HEADING,
		    "found the group on one of its members: nodelifectl found");
		return;
	}
	master_text(&s->group, why, sizeof(why));
	if (s->group.master == NULL || !election_find(sc->r, &e)) {
		screen_row(
		    sc, s->group.master == NULL ? BAD : PLAIN, "%s", why);
		return;
	}
	text_age(age, sizeof(age),
	    s->at_ns > e.mono_ns ? (s->at_ns - e.mono_ns) / NS_PER_MS : 0);
	at = strncmp(e.text, lead, strlen(lead)) == 0 ? strlen(lead) : 0;
	screen_row(sc, PLAIN, "%s, last election %s ago: %.*s", why, age,
	    (int)(sizeof(e.text) - at), e.text + at);
}

static char *
vlsn_text(char *buf, size_t size, uint64_t vlsn)
{
	if (strlen(text_count(buf, size, vlsn)) > 15)
		text_short(buf, size, (double)vlsn);
	return buf;
}

static char *
ms_cell(char *buf, size_t size, uint64_t ms)
{
	if (ms == MEMBERS_NEVER)
		snprintf(buf, size, "-");
	else
		text_age(buf, size, ms);
	return buf;
}

/* What stands in no column: why it is not connected, what it told. */
static void
rows_why(struct screen *sc, const struct member_look *row)
{
	char lead[CELL], text[PEER_TEXT + 256], flags[256];

	snprintf(lead, sizeof(lead), "%.10s: ", row->name);
	member_flags_text(row->flags, flags, sizeof(flags));
	if (row->link != PEER_UP && row->error[0] != '\0')
		screen_wrapped(sc, BAD, lead, INDENT, row->error);
	else if (row->link == PEER_UP && flags[0] != '\0')
		screen_wrapped(sc, BAD, lead, INDENT, flags);
	/* Of a connection that is up it is history: if there is room. */
	else if (row->error[0] != '\0' && row->drops != 0 && sc->rows == 0) {
		snprintf(text, sizeof(text), "before: %s", row->error);
		screen_wrapped(sc, PLAIN, lead, INDENT, text);
	}
}

static void
row_member(struct screen *sc, const struct member_look *row)
{
	char has[CELL], lag[CELL], flight[CELL], since[CELL], heard[CELL],
	    phi[CELL], name[CELL];
	uint64_t at = row->acked != 0 && row->feed != PEER_FEED_FROM
			  ? row->acked
			  : row->durable;
	bool away = !row->self && row->link != PEER_UP;

	snprintf(name, sizeof(name), "%.12s", row->name);
	vlsn_text(has, sizeof(has), at);
	text_count(lag, sizeof(lag), row->lag);
	if (strlen(lag) > 8)
		text_short(lag, sizeof(lag), (double)row->lag);
	text_bytes(flight, sizeof(flight), (double)row->flight_bytes);
	ms_cell(
	    since, sizeof(since), row->self ? MEMBERS_NEVER : row->since_ms);
	ms_cell(
	    heard, sizeof(heard), row->self ? MEMBERS_NEVER : row->heard_ms);
	snprintf(phi, sizeof(phi),
	    row->phi_milli < 9950    ? "%.1f"
	    : row->phi_milli < 99500 ? "%.0f"
				     : "99+",
	    (double)row->phi_milli / 1000);
	screen_row(sc,
	    away || row->behind_ms >= MEMBERS_BEHIND_MS ? HEADING : PLAIN,
	    "%-13s%-8s%-10s%5s%16s%9s%8s%6s%4s", name,
	    away ? "-" : role_name(row->role), member_link_word(row), since,
	    row->lag_known ? has : "-", row->lag_known ? lag : "-",
	    row->feed == PEER_FEED_LIVE || row->feed == PEER_FEED_SEGMENTS
		? flight
		: "-",
	    heard, row->self || away ? "-" : phi);
	rows_why(sc, row);
}

void
screen_members(struct screen *sc)
{
	const struct members_look *m = &sc->s->group;
	unsigned i;

	if (!members_shown(m))
		return;
	row_quorum(sc);
	row_master(sc);
	screen_row(sc, HEADING, "%-13s%-8s%-10s%5s%16s%9s%8s%6s%4s", "member",
	    "role", "link", "since", "on disk", "lag", "flight", "heard",
	    "phi");
	for (i = 0; i < m->count; i++)
		row_member(sc, &m->row[i]);
}
