/*
 * What a client asks of the group: who is master and who follows, what became
 * of a write, and how current what it reads has to be. ROLE and INFO say it in
 * Redis' words, as tools parse them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "workers/gateway/cmd/cmd.h"

#define LAG_UNKNOWN UINT64_MAX

/* A member, as clients are told of it. */
struct place {
	char host[CONF_ADDR_SIZE];
	uint16_t port;
	uint32_t link; /* enum peer_link */
	uint32_t feed; /* enum peer_feed */
	uint64_t offset; /* what it has on disk */
	uint64_t silent_s; /* since it was heard; LAG_UNKNOWN = never */
	uint64_t link_s; /* since the link is as it is */
};

static uint64_t
seconds_since(uint64_t at_ns)
{
	uint64_t now = mono_ns();

	if (at_ns == 0)
		return LAG_UNKNOWN;
	return now > at_ns ? (now - at_ns) / NS_PER_S : 0;
}

static void
place_read(const struct region *r, const struct commit_view *view, unsigned i,
    struct place *p)
{
	const struct peer_row *row = &r->peers->row[i];
	char address[MEMBER_ADDR_MAX + 1] = "";
	uint64_t word;

	memset(p, 0, sizeof(*p));
	/* group writes it before the view that has the member. */
	memcpy(address, r->commit->client[i], MEMBER_ADDR_MAX);
	if (conf_addr_split(
		address, p->host, sizeof(p->host), &p->port, NULL) != 0)
		p->host[0] = '\0';
	p->link = atomic_load_explicit(&row->link, memory_order_acquire);
	p->feed = atomic_load_explicit(&row->feed, memory_order_acquire);
	word = atomic_load_explicit(
	    &r->commit->member[i].durable, memory_order_acquire);
	p->offset =
	    word_epoch(word) == view->epoch
		? word_vlsn(word)
		: atomic_load_explicit(&row->durable, memory_order_relaxed);
	p->silent_s = seconds_since(
	    atomic_load_explicit(&row->heard_ns, memory_order_relaxed));
	p->link_s = seconds_since(
	    atomic_load_explicit(&row->since_ns, memory_order_relaxed));
}

/* The next member that follows this one; false: there is no other. */
static bool
follower_next(const struct region *r, const struct commit_view *view,
    unsigned *i, struct place *p)
{
	for (; *i < view->member_count && *i < MEMBER_MAX; ++*i) {
		if (*i == view->self)
			continue;
		place_read(r, view, (*i)++, p);
		if (p->link == PEER_UP)
			return true;
	}
	return false;
}

static unsigned
follower_count(const struct region *r, const struct commit_view *view)
{
	unsigned i = 0, n = 0;
	struct place p;

	while (follower_next(r, view, &i, &p))
		n++;
	return n;
}

/* Is another member known to be master? Then it is in *p. */
static bool
master_place(
    const struct region *r, const struct commit_view *view, struct place *p)
{
	memset(p, 0, sizeof(*p));
	if (view->master < 0 || view->master >= view->member_count ||
	    view->master == view->self)
		return false;
	place_read(r, view, (unsigned)view->master, p);
	return true;
}

/* What of the log a master has, and who follows it. */
static uint64_t
offset_here(const struct region *r, const struct commit_view *view)
{
	return view->member_count > 1 ? position_get(&r->pos->appended)
				      : commit_vlsn(r);
}

/* ---- ROLE ---- */

static void
role_master(struct call *k, const struct commit_view *view)
{
	const struct region *r = k->g->r;
	unsigned i = 0, n = follower_count(r, view);
	struct sink *out = call_out(k);
	struct place p = { 0 };

	reply_array(out, 3);
	reply_str(out, "master");
	reply_int(out, (int64_t)offset_here(r, view));
	reply_array(out, n);
	/* As many as were counted, whoever comes and goes meanwhile. */
	for (; n != 0; n--) {
		(void)follower_next(r, view, &i, &p);
		reply_array(out, 3);
		reply_str(out, p.host);
		reply_bulk_int(out, p.port);
		reply_bulk_int(out, (int64_t)p.offset);
	}
}

static const char *
role_state(const struct place *master)
{
	if (master->link == PEER_HANDSHAKE)
		return "connecting";
	if (master->link != PEER_UP)
		return "connect";
	return master->feed == PEER_FEED_FROM ? "connected" : "sync";
}

static void
role_replica(struct call *k, const struct commit_view *view)
{
	const struct region *r = k->g->r;
	struct sink *out = call_out(k);
	struct place master;

	(void)master_place(r, view, &master);
	reply_array(out, 5);
	reply_str(out, "slave");
	reply_str(out, master.host);
	reply_int(out, master.port);
	reply_str(out, role_state(&master));
	reply_int(out, (int64_t)offset_here(r, view));
}

enum verdict
gw_run_role(struct call *k)
{
	struct commit_view view;

	commit_view_read(k->g->r->commit, &view);
	if (commit_is_master(k->g->r))
		role_master(k, &view);
	else
		role_replica(k, &view);
	return VERDICT_DONE;
}

/* ---- INFO replication ---- */

static const char *
follower_state(const struct place *p)
{
	if (p->feed == PEER_FEED_LIVE)
		return "online";
	return p->feed == PEER_FEED_SEGMENTS ? "send_bulk" : "wait_bgsave";
}

static void
info_followers(
    struct gateway *g, const struct commit_view *view, struct sink *out)
{
	unsigned i = 0, n = 0;
	struct place p;

	gw_info_line(out, "connected_slaves:%u", follower_count(g->r, view));
	while (follower_next(g->r, view, &i, &p))
		gw_info_line(out,
		    "slave%u:ip=%s,port=%u,state=%s,offset=%" PRIu64
		    ",lag=%" PRIu64,
		    n++, p.host, p.port, follower_state(&p), p.offset,
		    p.silent_s == LAG_UNKNOWN ? 0 : p.silent_s);
}

static void
info_replica(
    struct gateway *g, const struct commit_view *view, struct sink *out)
{
	const struct positions *pos = g->r->pos;
	struct place m;
	bool known = master_place(g->r, view, &m), up;
	char why[PEER_TEXT];
	uint64_t since;

	up = known && m.link == PEER_UP;
	gw_info_line(out, "master_host:%s", m.host);
	gw_info_line(out, "master_port:%u", m.port);
	gw_info_line(out, "master_link_status:%s", up ? "up" : "down");
	gw_info_line(out, "master_last_io_seconds_ago:%" PRId64,
	    up && m.silent_s != LAG_UNKNOWN ? (int64_t)m.silent_s : -1);
	gw_info_line(
	    out, "master_sync_in_progress:%d", up && m.feed != PEER_FEED_FROM);
	gw_info_line(out, "slave_read_repl_offset:%" PRIu64,
	    position_get(&pos->appended));
	gw_info_line(
	    out, "slave_repl_offset:%" PRIu64, position_get(&pos->durable));
	if (!up) {
		(void)peers_no_master(g->r->peers, &since, why, sizeof(why));
		if (known)
			since = m.link_s;
		else
			since = seconds_since(since);
		gw_info_line(out, "master_link_down_since_seconds:%" PRId64,
		    since == LAG_UNKNOWN ? -1 : (int64_t)since);
	}
	gw_info_line(out, "slave_priority:100");
	gw_info_line(out, "slave_read_only:1");
	gw_info_line(out, "replica_announced:1");
}

/* The same on all members, another one in each term, as Redis does. */
static void
replication_id(
    const struct region *r, const struct commit_view *view, char text[64])
{
	uint64_t id =
	    atomic_load_explicit(&r->commit->group_id, memory_order_acquire);

	if (id != 0)
		snprintf(text, 64, "%016" PRIx64 "%016" PRIx64 "00000000", id,
		    view->term);
	else
		snprintf(text, 64, "%016" PRIx64 "%016" PRIx64 "00000000",
		    r->head->boot_id[0], r->head->boot_id[1]);
}

void
gw_info_replication(struct gateway *g, struct sink *out)
{
	bool master = commit_is_master(g->r);
	struct commit_view view;
	uint64_t first = position_get(&g->r->pos->first), end;
	char id[64];

	commit_view_read(g->r->commit, &view);
	end = offset_here(g->r, &view);
	gw_info_line(out, "role:%s", master ? "master" : "slave");
	if (!master)
		info_replica(g, &view, out);
	info_followers(g, &view, out);
	gw_info_line(out, "master_failover_state:no-failover");
	replication_id(g->r, &view, id);
	gw_info_line(out, "master_replid:%s", id);
	gw_info_line(
	    out, "master_replid2:0000000000000000000000000000000000000000");
	gw_info_line(out, "master_repl_offset:%" PRIu64, end);
	gw_info_line(out, "second_repl_offset:-1");
	gw_info_line(out, "repl_backlog_active:%d", first != 0);
	gw_info_line(out, "repl_backlog_first_byte_offset:%" PRIu64, first);
	gw_info_line(out, "repl_backlog_histlen:%" PRIu64,
	    first != 0 && end >= first ? end - first + 1 : 0);
	gw_info_line(out, "term:%" PRIu64, view.term);
	gw_info_line(out, "members:%u", view.member_count);
}

/* ---- how current ---- */

static enum verdict
consistency_set(struct call *k, bool eventual)
{
	k->c->flags &= ~(unsigned)CONN_EVENTUAL;
	if (eventual)
		k->c->flags |= CONN_EVENTUAL;
	reply_ok(call_out(k));
	return VERDICT_DONE;
}

enum verdict
gw_run_readonly(struct call *k)
{
	return consistency_set(k, true);
}

enum verdict
gw_run_readwrite(struct call *k)
{
	return consistency_set(k, false);
}

enum verdict
gw_run_consistency(struct call *k)
{
	if (k->argc == 2) {
		reply_str(call_out(k), (k->c->flags & CONN_EVENTUAL) != 0
					   ? "eventual"
					   : "linearizable");
		return VERDICT_DONE;
	}
	if (k->argc == 3 && arg_is(&k->argv[2], "eventual"))
		return consistency_set(k, true);
	if (k->argc == 3 && arg_is(&k->argv[2], "linearizable"))
		return consistency_set(k, false);
	return call_error_done(
	    k, "ERR consistency is one of: eventual, linearizable");
}

/* ---- tokens ---- */

enum verdict
gw_run_token(struct call *k)
{
	char text[GW_TOKEN_MAX];

	/* Of writes under way it is not known yet. */
	if (!k->in_exec && k->c->node_count != 0) {
		gw_park(k->g, k->c, PARK_ORDER);
		return VERDICT_PARKED;
	}
	if (gw_token_of(k->g, k->c, text))
		reply_str(call_out(k), text);
	else
		reply_nil(call_out(k), k->c->proto);
	return VERDICT_DONE;
}

enum verdict
gw_run_outcome(struct call *k)
{
	static const char *const words[] = { [FATE_UNKNOWN] = "unknown",
		[FATE_COMMITTED] = "committed",
		[FATE_LOST] = "lost" };
	uint64_t term, vlsn;
	int rc = gw_token_read(k->g, &k->argv[2], &term, &vlsn);

	if (rc == -EXDEV)
		return call_error_done(k, "ERR this token is of another group");
	if (rc != 0)
		return call_error_done(k, "ERR this is no token: "
					  "GROUP-GENERATION-TERM-VLSN");
	reply_str(call_out(k), words[commit_fate(k->g->r, term, vlsn)]);
	return VERDICT_DONE;
}
