/*
 * Who is master, as clients are told who ask the wrong member, and what the end
 * of this node's mastership means for them.
 *
 * A connection to a deposed master would be refused from now on, each time, and
 * its client may take that for good. So it is closed, once all that it has sent
 * is answered: it connects anew, and finds the master. Who reads here on
 * purpose, whoever is master, stays.
 */
#include <stdio.h>
#include <string.h>
#include "shm/say.h"
#include "workers/gateway/exec/exec.h"

static uint64_t
ended_count(const struct gateway *g)
{
	return atomic_load_explicit(
	    &g->r->commit->ended_count, memory_order_acquire);
}

static enum role
role_now(const struct gateway *g)
{
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	return (enum role)view.role;
}

void
gw_role_init(struct gateway *g)
{
	g->seen_ended = ended_count(g);
}

bool
gw_role_pending(const struct gateway *g)
{
	/* The end is told before the view that shows it. If this node is
	   master again nobody needs to go, before that is over, too. */
	return ended_count(g) != g->seen_ended && role_now(g) != ROLE_MASTER;
}

void
gw_role_turn(struct gateway *g)
{
	uint32_t i, closed = 0, stay = 0;
	struct conn *c;

	if (!gw_role_pending(g))
		return;
	g->seen_ended = ended_count(g);
	for (i = 0; i < gw_conn_limit(&g->io); i++) {
		c = gw_conn_at(&g->io, i);
		if (c == NULL ||
		    (c->flags & (CONN_CLOSING | CONN_LAST | CONN_EOF)) != 0)
			continue;
		if ((c->flags & CONN_EVENTUAL) != 0) {
			stay++;
			continue;
		}
		gw_conn_eof(&g->io, c);
		closed++;
	}
	if (closed + stay != 0)
		event_add(g->r, g->slot, EVENT_INFO,
		    "no master any more: %u clients are closed, so that they "
		    "find the next one, %u that read here anyway stay",
		    closed, stay);
}

/* ---- refusals ---- */

/* What is told of the master: its name, and where clients find it. */
struct master {
	char name[MEMBER_NAME_MAX + 1], client[MEMBER_ADDR_MAX + 1];
};

/* group writes them before the view that names a master by them. */
static bool
master_known(const struct gateway *g, struct master *m)
{
	const struct commit_state *cs = g->r->commit;
	struct commit_view view;

	commit_view_read(cs, &view);
	if (view.master < 0 || view.master >= view.member_count ||
	    view.master == view.self)
		return false;
	memset(m, 0, sizeof(*m));
	memcpy(m->name, cs->name[view.master], MEMBER_NAME_MAX);
	memcpy(m->client, cs->client[view.master], MEMBER_ADDR_MAX);
	return true;
}

static void
no_master_text(const struct gateway *g, char *text)
{
	char why[PEER_TEXT];
	uint64_t since, now = mono_ns();

	if (!peers_no_master(g->r->peers, &since, why, sizeof(why))) {
		strlcpy(text, "NOMASTER no master known", GW_REFUSAL_MAX);
		return;
	}
	snprintf(text, GW_REFUSAL_MAX, "NOMASTER no master for %llu ms: %s",
	    (unsigned long long)(now > since ? (now - since) / NS_PER_MS : 0),
	    why);
}

void
gw_role_refusal(const struct gateway *g, bool write, char text[GW_REFUSAL_MAX])
{
	struct commit_view view;
	struct master m;

	commit_view_read(g->r->commit, &view);
	if (g->w->readonly || view.readonly != 0)
		strlcpy(text, "READONLY this node is in readonly recovery",
		    GW_REFUSAL_MAX);
	else if (!master_known(g, &m))
		no_master_text(g, text);
	else if (write)
		snprintf(text, GW_REFUSAL_MAX,
		    "READONLY You can't write against a read only replica: "
		    "master is %s",
		    m.client[0] != '\0' ? m.client : m.name);
	else
		snprintf(text, GW_REFUSAL_MAX,
		    "NOTMASTER reads need the master, %s at %s (or NODELIFE "
		    "CONSISTENCY eventual)",
		    m.name, m.client[0] != '\0' ? m.client : "?");
}

/* Once a turn: who is connected does not change with each write. */
static bool
quorum_in_reach(struct gateway *g)
{
	if (!g->reach_known) {
		commit_reach(g->r, &g->commit_reach);
		g->reach_known = true;
	}
	return g->commit_reach.enough;
}

bool
gw_role_may_write(struct gateway *g, char *text)
{
	if (g->w->readonly || !commit_is_master(g->r)) {
		if (text != NULL)
			gw_role_refusal(g, true, text);
		return false;
	}
	if (quorum_in_reach(g))
		return true;
	if (text != NULL)
		snprintf(text, GW_REFUSAL_MAX,
		    "NOREPLICAS Not enough good replicas to write: %u of %u "
		    "members are connected, a write needs %u: nothing was "
		    "written",
		    g->commit_reach.connected, g->commit_reach.members,
		    g->commit_reach.least);
	return false;
}
