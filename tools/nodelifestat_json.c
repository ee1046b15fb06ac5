/*
 * nodelifestat -j: everything, for programs. nodelifestat(8) lists the names.
 */
#include "tools/nodelifestat.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>

#include "shm/assert.h"

static void
set_u64(json_t *o, const char *name, uint64_t n)
{
	json_object_set_new(o, name, json_integer((json_int_t)n));
}

static void
set_bool(json_t *o, const char *name, bool on)
{
	json_object_set_new(o, name, json_boolean(on));
}

/* Text of a region may be anything: what is not UTF-8 is not shown. */
static json_t *
text(const char *from, size_t max)
{
	char buf[SEQ_ERROR_MAX];
	json_t *s;

	text_clean(buf, sizeof(buf), from, max);
	s = json_string(buf);
	return s != NULL ? s : json_string("?");
}

static void
head_set(json_t *top, const struct region_head *h)
{
	json_t *listen = json_object();

	json_object_set_new(top, "node", text(h->node, NODE_NAME_MAX));
	json_object_set_new(top, "group", text(h->group, NODE_NAME_MAX));
	json_object_set_new(
	    top, "data_dir", text(h->data_dir, sizeof(h->data_dir)));
	json_object_set_new(
	    top, "supervisor_pid", json_integer(h->supervisor_pid));
	set_u64(top, "node_restarts", h->node_restarts);
	json_object_set_new(
	    top, "started_wall_ms", json_integer(h->started_wall_ms));
	json_object_set_new(
	    listen, "client", text(h->client_addr, sizeof(h->client_addr)));
	json_object_set_new(
	    listen, "http", text(h->http_addr, sizeof(h->http_addr)));
	json_object_set_new(top, "listen", listen);
}

static const char *
mode_name(uint32_t mode)
{
	if (mode == RECOVERY_READONLY)
		return "readonly";
	return mode == RECOVERY_FORCE ? "force" : "normal";
}

static json_t *
gates(const struct seq_snapshot *q)
{
	json_t *list = json_array(), *g;
	unsigned i;

	for (i = 0; i < q->pending_count && i < GATE_MAX; i++) {
		g = json_object();
		json_object_set_new(
		    g, "phase", json_string(phase_name(q->pending[i].phase)));
		json_object_set_new(g, "subsystem",
		    json_string(slot_name(q->pending[i].owner)));
		json_object_set_new(
		    g, "name", text(q->pending[i].name, GATE_NAME_MAX));
		set_u64(g, "waited_ms", q->pending[i].waited_ms);
		json_array_append_new(list, g);
	}
	return list;
}

static json_t *
progress(const struct seq_snapshot *q)
{
	json_t *p = json_object();

	set_u64(p, "percent", q->percent);
	set_u64(p, "items_done", q->items_done);
	set_u64(p, "items_total", q->items_total);
	set_u64(p, "bytes_done", q->bytes_done);
	set_u64(p, "bytes_total", q->bytes_total);
	json_object_set_new(p, "message", text(q->message, PROGRESS_MAX));
	return p;
}

static void
boot_set(json_t *top, const struct stat_sample *s)
{
	const struct seq_snapshot *q = &s->seq;
	json_t *phases = json_object();
	unsigned i;

	json_object_set_new(top, "phase", json_string(phase_name(q->phase)));
	json_object_set_new(top, "stage", json_string(stage_name(q->stage)));
	json_object_set_new(top, "failed",
	    q->failed ? text(q->error, SEQ_ERROR_MAX) : json_null());
	json_object_set_new(
	    top, "recovery_mode", json_string(mode_name(q->recovery_mode)));
	json_object_set_new(
	    top, "shutdown", json_string(shutdown_name(q->shutdown)));
	set_u64(top, "boot_ms", q->total_ms);
	for (i = 0; i < PHASE_COUNT; i++)
		if (s->phase_ms[i] != UINT64_MAX)
			set_u64(phases, phase_name(i), s->phase_ms[i]);
	json_object_set_new(top, "phases_ms", phases);
	json_object_set_new(top, "gates", gates(q));
	json_object_set_new(top, "progress", progress(q));
}

static void
role_set(json_t *top, const struct stat_sample *s)
{
	json_object_set_new(top, "role", json_string(role_name(s->view.role)));
	set_u64(top, "term", s->view.term);
	set_u64(top, "generation", s->generation);
	json_object_set_new(top, "master",
	    s->member[0] != '\0' ? text(s->member, sizeof(s->member))
				 : json_null());
	set_u64(top, "members", s->view.member_count);
	set_u64(top, "voters", (unsigned)__builtin_popcount(s->view.voters));
	set_u64(top, "quorum", quorum_least(&s->view.quorum));
	set_bool(top, "can_write",
	    s->life == LIFE_LIVE && (s->stops & STOPS_WRITES) == 0 &&
		s->can_write);
	set_bool(top, "can_read",
	    s->life == LIFE_LIVE && (s->stops & STOPS_READS) == 0 &&
		s->can_read);
	set_bool(top, "nospace", s->log_full);
}

/* A time that may never have been. */
static void
set_ms(json_t *o, const char *name, uint64_t ms)
{
	json_object_set_new(o, name,
	    ms == MEMBERS_NEVER ? json_null() : json_integer((json_int_t)ms));
}

static json_t *
hex64(uint64_t n)
{
	char buf[20];

	snprintf(buf, sizeof(buf), "%016" PRIx64, n);
	return n != 0 ? json_string(buf) : json_null();
}

static json_t *
member(const struct member_look *row)
{
	json_t *o = json_object();
	char flags[256];

	json_object_set_new(o, "name", text(row->name, sizeof(row->name)));
	set_bool(o, "self", row->self);
	set_bool(o, "votes", row->votes);
	json_object_set_new(o, "role", json_string(role_name(row->role)));
	json_object_set_new(o, "link", json_string(peer_link_name(row->link)));
	json_object_set_new(o, "feed", json_string(peer_feed_name(row->feed)));
	set_bool(o, "ready", row->ready);
	json_object_set_new(
	    o, "client", text(row->client, sizeof(row->client)));
	json_object_set_new(
	    o, "address", text(row->address, sizeof(row->address)));
	json_object_set_new(o, "incarnation", hex64(row->incarnation));
	set_u64(o, "boot", row->boot);
	set_u64(o, "term", row->term);
	set_u64(o, "first", row->first);
	set_u64(o, "appended", row->appended);
	set_u64(o, "durable", row->durable);
	set_u64(o, "applied", row->applied);
	set_u64(o, "matched", row->matched);
	set_u64(o, "acked", row->acked);
	json_object_set_new(o, "lag",
	    row->lag_known ? json_integer((json_int_t)row->lag) : json_null());
	set_u64(o, "behind_ms", row->behind_ms);
	set_u64(o, "flight_bytes", row->flight_bytes);
	set_u64(o, "sent_bytes", row->sent_bytes);
	set_ms(o, "since_ms", row->since_ms);
	set_ms(o, "heard_ms", row->heard_ms);
	json_object_set_new(o, "phi", json_real((double)row->phi_milli / 1000));
	set_u64(o, "drops", row->drops);
	member_flags_text(row->flags, flags, sizeof(flags));
	json_object_set_new(o, "told", text(flags, sizeof(flags)));
	json_object_set_new(o, "error", text(row->error, sizeof(row->error)));
	return o;
}

/* As seen from here; of a group of one, too. */
static void
group_set(json_t *top, const struct region *r, const struct stat_sample *s)
{
	const struct members_look *m = &s->group;
	json_t *o = json_object(), *list = json_array();
	char words[128];
	struct event e;
	unsigned i;

	set_bool(o, "joined", m->joined);
	set_bool(o, "has_quorum", m->spare >= 0);
	set_u64(o, "can_lose", m->spare > 0 ? (unsigned)m->spare : 0);
	set_u64(o, "voters_connected", m->connected);
	set_u64(o, "voters_ready", m->ready);
	json_object_set_new(
	    o, "text", json_string(members_text(m, words, sizeof(words))));
	set_u64(o, "no_master_ms", m->no_master_ms);
	json_object_set_new(
	    o, "no_master", text(m->no_master, sizeof(m->no_master)));
	set_ms(o, "lease_ms", m->lease_ms);
	json_object_set_new(o, "last_election",
	    election_find(r, &e) ? text(e.text, EVENT_TEXT_MAX) : json_null());
	for (i = 0; i < m->count; i++)
		json_array_append_new(list, member(&m->row[i]));
	json_object_set_new(o, "members", list);
	json_object_set_new(top, "group_state", o);
}

static json_t *
counters(const uint64_t counter[COUNTER_COUNT])
{
	json_t *o = json_object();
	unsigned i;

	for (i = 0; i < COUNTER_COUNT; i++)
		set_u64(o, counter_name(i), counter[i]);
	return o;
}

static json_t *
histograms(const struct histogram hist[HIST_COUNT])
{
	static const struct {
		const char *name;
		double q;
	} quantile[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 },
		{ "p999", 0.999 } };
	json_t *all = json_object(), *o;
	uint64_t count, sum;
	unsigned i, j;

	for (i = 0; i < HIST_COUNT; i++) {
		o = json_object();
		count =
		    atomic_load_explicit(&hist[i].count, memory_order_relaxed);
		sum = atomic_load_explicit(&hist[i].sum, memory_order_relaxed);
		json_object_set_new(o, "unit", json_string(hist_unit(i)));
		set_u64(o, "count", count);
		set_u64(o, "sum", sum);
		set_u64(o, "max",
		    atomic_load_explicit(&hist[i].max, memory_order_relaxed));
		json_object_set_new(o, "mean",
		    json_real(count == 0 ? 0 : (double)sum / (double)count));
		for (j = 0; j < NITEMS(quantile); j++)
			set_u64(o, quantile[j].name,
			    hist_quantile(&hist[i], quantile[j].q));
		json_object_set_new(all, hist_name(i), o);
	}
	return all;
}

static json_t *
positions(const struct stat_positions *p)
{
	json_t *o = json_object();

#define X(field, name) set_u64(o, name, p->field);
	STAT_POSITIONS(X)
#undef X
	return o;
}

static json_t *
workers(const struct stat_sample *s)
{
	json_t *list = json_array(), *o;
	const struct stat_worker *w;
	unsigned i;

	for (i = 0; i < s->worker_count; i++) {
		w = &s->worker[i];
		o = json_object();
		json_object_set_new(o, "name", json_string(slot_name(w->slot)));
		json_object_set_new(o, "pid", json_integer(w->pid));
		json_object_set_new(
		    o, "state", json_string(slot_state_name(w->state)));
		set_u64(o, "incarnation", w->incarnation);
		set_u64(o, "restarts", w->restarts);
		json_object_set_new(
		    o, "last_status", json_string(w->last_exit));
		json_object_set_new(o, "busy", json_string(busy_name(w->busy)));
		set_u64(o, "heartbeat_age_ms", w->beat_ms);
		set_u64(o, "turns", w->turns);
		set_u64(o, "sleeps", w->sleeps);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
troubles(const struct stat_sample *s)
{
	json_t *list = json_array(), *o;
	const struct trouble_info *t;
	unsigned i;

	for (i = 0; i < s->trouble_count; i++) {
		t = &s->trouble[i];
		o = json_object();
		json_object_set_new(
		    o, "kind", json_string(trouble_name(t->kind)));
		set_u64(o, "for_ms",
		    s->at_ns > t->since_ns
			? (s->at_ns - t->since_ns) / NS_PER_MS
			: 0);
		set_bool(o, "stops_writes",
		    (trouble_stops_of(t->kind) & STOPS_WRITES) != 0);
		set_bool(o, "stops_reads",
		    (trouble_stops_of(t->kind) & STOPS_READS) != 0);
		json_object_set_new(o, "text", text(t->text, sizeof(t->text)));
		json_array_append_new(list, o);
	}
	return list;
}

static const char *
level_name(unsigned level)
{
	static const char *const name[] = { [EVENT_INFO] = "info",
		[EVENT_WARN] = "warn",
		[EVENT_ERROR] = "error" };

	return level < NITEMS(name) ? name[level] : "level?";
}

static json_t *
events(const struct region *r)
{
	static struct event list[EVENT_COUNT];
	unsigned n = event_list(r->events, list, EVENT_COUNT), i;
	json_t *all = json_array(), *o;

	for (i = 0; i < n; i++) {
		o = json_object();
		set_u64(o, "number",
		    atomic_load_explicit(
			&list[i].number, memory_order_relaxed));
		json_object_set_new(
		    o, "wall_ms", json_integer(list[i].wall_ms));
		json_object_set_new(
		    o, "level", json_string(level_name(list[i].level)));
		json_object_set_new(
		    o, "slot", json_string(slot_name(list[i].slot)));
		json_object_set_new(
		    o, "text", text(list[i].text, EVENT_TEXT_MAX));
		json_array_append_new(all, o);
	}
	return all;
}

static json_t *
whole(const struct region *r, const struct stat_sample *s)
{
	json_t *top = json_object();

	head_set(top, r->head);
	json_object_set_new(top, "state", json_string(life_name(s->life)));
	set_u64(top, "up_ms", s->up_ms);
	role_set(top, s);
	group_set(top, r, s);
	boot_set(top, s);
	json_object_set_new(top, "positions", positions(&s->pos));
	set_u64(top, "wal_bytes", s->wal_bytes);
	set_u64(top, "newest_lsn", s->newest_lsn);
	if (s->has_table) {
		set_u64(top, "key_count", s->key_count);
		set_u64(top, "table_used", s->table_used);
		set_u64(top, "table_size", s->table_size);
	}
	json_object_set_new(top, "troubles", troubles(s));
	json_object_set_new(top, "workers", workers(s));
	json_object_set_new(top, "counters", counters(s->counter));
	json_object_set_new(top, "histograms", histograms(s->hist));
	json_object_set_new(top, "events", events(r));
	return top;
}

/* Once: for the eye, too. With an interval: an object a line. */
int
stat_json(struct stat_target *t, uint64_t interval_ms, uint64_t count)
{
	static struct stat_sample sample;
	size_t flags = interval_ms == 0 ? JSON_INDENT(2) : JSON_COMPACT;
	uint64_t n;
	json_t *top;
	int rc;

	if (interval_ms == 0)
		count = 1;
	for (n = 0; count == 0 || n < count; n++) {
		if (n != 0)
			poll(NULL, 0, (int)interval_ms);
		(void)target_follow(t);
		sample_take(&t->region, &sample);
		top = whole(&t->region, &sample);
		rc = json_dumpf(top, stdout, flags | JSON_REAL_PRECISION(9));
		json_decref(top);
		if (rc != 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
			return STAT_FAILED;
	}
	return STAT_OK;
}
