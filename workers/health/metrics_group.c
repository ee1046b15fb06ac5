/*
 * /metrics: the group as this node sees it, and of each other member a value
 * with its name as label. A group of one has no such rows.
 */
#include <inttypes.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "workers/health/metrics.h"

static void
member_begin(struct text *t, const char *name, const struct member_look *row)
{
	text_add(t, "%s{", name);
	metric_label(t, "member", row->name);
}

/* One value a member; a row that has none is left out. */
static void
member_values(struct text *t, const struct members_look *m, const char *name,
    const char *type, const char *help,
    bool (*value)(const struct member_look *, double *))
{
	unsigned i;
	double v;

	metric_head(t, name, type, help);
	for (i = 0; i < m->count; i++) {
		if (m->row[i].self || !value(&m->row[i], &v))
			continue;
		member_begin(t, name, &m->row[i]);
		text_add(t, "} %.15g\n", v);
	}
}

static bool
value_up(const struct member_look *row, double *v)
{
	*v = row->link == PEER_UP;
	return true;
}

static bool
value_ready(const struct member_look *row, double *v)
{
	*v = row->ready;
	return true;
}

static bool
value_since(const struct member_look *row, double *v)
{
	*v = (double)row->since_ms / 1000;
	return row->since_ms != MEMBERS_NEVER;
}

static bool
value_heard(const struct member_look *row, double *v)
{
	*v = (double)row->heard_ms / 1000;
	return row->heard_ms != MEMBERS_NEVER;
}

static bool
value_phi(const struct member_look *row, double *v)
{
	*v = (double)row->phi_milli / 1000;
	return row->heard_ms != MEMBERS_NEVER;
}

static bool
value_lag(const struct member_look *row, double *v)
{
	*v = (double)row->lag;
	return row->lag_known;
}

static bool
value_behind(const struct member_look *row, double *v)
{
	*v = (double)row->behind_ms / 1000;
	return true;
}

static bool
value_flight(const struct member_look *row, double *v)
{
	*v = (double)row->flight_bytes;
	return true;
}

static bool
value_sent(const struct member_look *row, double *v)
{
	*v = (double)row->sent_bytes;
	return true;
}

static bool
value_drops(const struct member_look *row, double *v)
{
	*v = (double)row->drops;
	return true;
}

/* 1 for the state that a member is in, of `count` there are. */
static void
member_states(struct text *t, const struct members_look *m, const char *name,
    const char *label, const char *help, unsigned count,
    const char *(*state_name)(unsigned),
    unsigned (*state)(const struct member_look *))
{
	unsigned i, n;

	metric_head(t, name, "gauge", help);
	for (i = 0; i < m->count; i++) {
		for (n = 0; n < count && !m->row[i].self; n++) {
			member_begin(t, name, &m->row[i]);
			text_add(t, ",%s=\"%s\"} %d\n", label, state_name(n),
			    state(&m->row[i]) == n);
		}
	}
}

static unsigned
state_link(const struct member_look *row)
{
	return row->link;
}

static unsigned
state_feed(const struct member_look *row)
{
	return row->feed;
}

static unsigned
state_role(const struct member_look *row)
{
	return row->role;
}

static void
told_add(struct text *t, const struct members_look *m)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} flag[] = {
#define X(bit, name, text) { bit, name },
		MEMBER_FLAGS(X)
#undef X
	};
	unsigned i, n;

	metric_head(t, "nodelife_member_told", "gauge",
	    "1 for what the member last told of itself");
	for (i = 0; i < m->count; i++) {
		for (n = 0; n < NITEMS(flag) && !m->row[i].self; n++) {
			member_begin(t, "nodelife_member_told", &m->row[i]);
			text_add(t, ",what=\"%s\"} %d\n", flag[n].name,
			    (m->row[i].flags & flag[n].bit) != 0);
		}
	}
}

static void
positions_add(struct text *t, const struct members_look *m)
{
	const struct member_look *row;
	unsigned i, n;

	metric_head(t, "nodelife_member_position", "gauge",
	    "How far the member told it is, or acknowledged, as a VLSN");
	for (i = 0; i < m->count; i++) {
		row = &m->row[i];
		const struct {
			const char *name;
			uint64_t v;
		} at[] = {
			{ "first", row->first },
			{ "appended", row->appended },
			{ "durable", row->durable },
			{ "applied", row->applied },
			{ "matched", row->matched },
			{ "acked", row->acked },
		};

		for (n = 0; n < NITEMS(at) && !row->self; n++) {
			member_begin(t, "nodelife_member_position", row);
			text_add(t, ",name=\"%s\"} %" PRIu64 "\n", at[n].name,
			    at[n].v);
		}
	}
}

static void
info_add(struct text *t, const struct members_look *m)
{
	const struct member_look *row;
	unsigned i;

	metric_head(t, "nodelife_member_info", "gauge",
	    "Addresses and incarnation of the member");
	for (i = 0; i < m->count; i++) {
		row = &m->row[i];
		if (row->self)
			continue;
		member_begin(t, "nodelife_member_info", row);
		text_add(t, ",");
		metric_label(t, "address", row->address);
		text_add(t, ",");
		metric_label(t, "client", row->client);
		text_add(t, ",incarnation=\"%016" PRIx64 "\"} 1\n",
		    row->incarnation);
	}
}

static void
quorum_add(struct text *t, const struct members_look *m)
{
	metric_gauge(t, "nodelife_members", "Members of the group",
	    m->joined ? m->count : 0);
	metric_gauge(t, "nodelife_voters", "Of them, who votes", m->voters);
	metric_gauge(t, "nodelife_voters_connected",
	    "Voters that are connected, this node included", m->connected);
	metric_gauge(t, "nodelife_voters_ready",
	    "Of them, who would acknowledge a record, as seen from here",
	    m->ready);
	metric_gauge(t, "nodelife_has_quorum",
	    "1 when these can commit, as seen from here", m->spare >= 0);
	metric_head(t, "nodelife_quorum_margin", "gauge",
	    "How many more members can be lost; -1: no quorum");
	text_add(t, "nodelife_quorum_margin %d\n", m->spare);
	metric_head(t, "nodelife_lease_seconds", "gauge",
	    "What is left of the master's lease; 0: none; +Inf: none needed");
	if (m->lease_ms == MEMBERS_NEVER)
		text_add(t, "nodelife_lease_seconds +Inf\n");
	else
		text_add(t, "nodelife_lease_seconds %.3f\n",
		    (double)m->lease_ms / 1000);
	metric_head(t, "nodelife_no_master_seconds", "gauge",
	    "For how long no master is known; 0: one is");
	text_add(t, "nodelife_no_master_seconds %.3f\n",
	    (double)m->no_master_ms / 1000);
}

void
metrics_group_add(struct text *t, const struct members_look *m)
{
	quorum_add(t, m);
	info_add(t, m);
	member_values(t, m, "nodelife_member_up", "gauge",
	    "1 while the member is connected", value_up);
	member_values(t, m, "nodelife_member_ready", "gauge",
	    "1 while it would acknowledge a record, as seen from here",
	    value_ready);
	member_states(t, m, "nodelife_member_link", "link",
	    "1 for the state of its connection", PEER_REFUSED + 1,
	    peer_link_name, state_link);
	member_states(t, m, "nodelife_member_feed", "feed",
	    "1 for how it is fed, or feeds", PEER_FEED_FROM + 1, peer_feed_name,
	    state_feed);
	member_states(t, m, "nodelife_member_role", "role",
	    "1 for the role that it last told", ROLE_SHUTDOWN + 1, role_name,
	    state_role);
	told_add(t, m);
	member_values(t, m, "nodelife_member_link_seconds", "gauge",
	    "Since when its connection is in this state", value_since);
	member_values(t, m, "nodelife_member_heard_seconds", "gauge",
	    "Since its last message", value_heard);
	member_values(t, m, "nodelife_member_phi", "gauge",
	    "How late its heartbeat is, as an accrual", value_phi);
	member_values(t, m, "nodelife_member_lag_records", "gauge",
	    "Records that are not on its disk yet", value_lag);
	member_values(t, m, "nodelife_member_behind_seconds", "gauge",
	    "For how long it lacks committed records; 0: it does not",
	    value_behind);
	positions_add(t, m);
	member_values(t, m, "nodelife_member_flight_bytes", "gauge",
	    "Bytes sent to it and not acknowledged", value_flight);
	member_values(t, m, "nodelife_member_sent_bytes_total", "counter",
	    "Bytes of the log sent to it", value_sent);
	member_values(t, m, "nodelife_member_drops_total", "counter",
	    "Connections with it that ended for a reason", value_drops);
}
