/*
 * Routing and JSON of the pages. Keys are part of the interface: they are
 * listed in README.md and nodelifed(8).
 */
#include "workers/health/page.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define TYPE_JSON    "application/json"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

struct page_request {
	const char *want;
	struct region *r;
	const struct status *st;
	uint64_t now_ns;
};

typedef void page_handler(struct page *out, const struct page_request *q);

/* Texts from the region may hold any byte: what is no UTF-8 becomes '?'. */
static json_t *
safe_string(const char *text)
{
	char copy[SEQ_ERROR_MAX + 1];
	json_t *s = json_string(text);
	size_t i;

	if (s != NULL)
		return s;
	for (i = 0; i < sizeof(copy) - 1 && text[i] != '\0'; i++)
		copy[i] = (signed char)text[i] < ' ' ? '?' : text[i];
	copy[i] = '\0';
	return json_string(copy);
}

static json_t *
integer(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static void
finish(struct page *out, unsigned code, json_t *obj)
{
	char *text = obj != NULL ? json_dumps(obj,
				       JSON_INDENT(2) | JSON_REAL_PRECISION(6))
				 : NULL;

	out->code = code;
	out->type = TYPE_JSON;
	if (text != NULL)
		text_add(&out->body, "%s\n", text);
	if (text == NULL || out->body.failed)
		out->code = 500;
	free(text);
	json_decref(obj);
}

static json_t *
pending_gates(const struct status *st)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < st->seq.pending_count; i++) {
		const struct seq_gate_info *g = &st->seq.pending[i];

		json_array_append_new(list,
		    json_pack("{s:s, s:s, s:o, s:o}", "subsystem",
			slot_name(g->owner), "phase", phase_name(g->phase),
			"name", safe_string(g->name), "waited_ms",
			integer(g->waited_ms)));
	}
	return list;
}

/* What every probe says first. */
static json_t *
head_json(const struct page_request *q, enum health_word health)
{
	const struct status *st = q->st;
	json_t *obj = json_object();

	json_object_set_new(obj, "status", json_string(health_name(health)));
	json_object_set_new(
	    obj, "phase", json_string(phase_name(st->seq.phase)));
	return obj;
}

static void
add_why(json_t *obj, const struct status *st)
{
	if (st->seq.failed)
		json_object_set_new(obj, "error", safe_string(st->seq.error));
	if (st->health == HEALTH_STARTING)
		json_object_set_new(obj, "pending_gates", pending_gates(st));
	if (st->seq.shutdown != SHUTDOWN_NONE)
		json_object_set_new(obj, "shutdown",
		    json_string(shutdown_name(st->seq.shutdown)));
}

static json_t *
troubles_json(const struct status *st)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; i < st->trouble_count; i++) {
		const struct trouble_info *t = &st->trouble[i];

		json_array_append_new(list,
		    json_pack("{s:s, s:o, s:b, s:o}", "kind",
			trouble_name(t->kind), "for_ms",
			integer(st->now_ns > t->since_ns
				    ? (st->now_ns - t->since_ns) / NS_PER_MS
				    : 0),
			"stops_writes",
			(trouble_stops_of(t->kind) & STOPS_WRITES) != 0, "text",
			safe_string(t->text)));
	}
	return list;
}

/* As this node sees it. */
static json_t *
quorum_json(const struct members_look *m)
{
	char words[128];

	return json_pack("{s:b, s:i, s:i, s:i, s:s}", "has", m->spare >= 0,
	    "can_lose", m->spare > 0 ? m->spare : 0, "voters", (int)m->voters,
	    "ready", (int)m->ready, "text",
	    members_text(m, words, sizeof(words)));
}

static json_t *
members_json(const struct members_look *m)
{
	const struct member_look *row;
	json_t *list = json_array(), *o;
	char flags[256];
	unsigned i;

	for (i = 0; i < m->count; i++) {
		row = &m->row[i];
		member_flags_text(row->flags, flags, sizeof(flags));
		o = json_pack("{s:o, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o}",
		    "name", safe_string(row->name), "role",
		    role_name(row->role), "link", peer_link_name(row->link),
		    "feed", peer_feed_name(row->feed), "ready", row->ready,
		    "lag", row->lag_known ? integer(row->lag) : json_null(),
		    "behind_ms", integer(row->behind_ms), "told",
		    safe_string(flags), "error", safe_string(row->error));
		json_object_set_new(o, "client", safe_string(row->client));
		json_object_set_new(o, "heard_ms",
		    row->heard_ms == MEMBERS_NEVER ? json_null()
						   : integer(row->heard_ms));
		json_array_append_new(list, o);
	}
	return list;
}

/* Facts of their own: no phase and no probe waits for a peer or a quorum. */
static void
add_role(json_t *obj, const struct status *st)
{
	char why[FAULT_TEXT_MAX];

	json_object_set_new(obj, "role", json_string(role_name(st->view.role)));
	json_object_set_new(obj, "term", integer(st->view.term));
	json_object_set_new(obj, "master",
	    st->master_known ? safe_string(st->master) : json_null());
	json_object_set_new(obj, "master_address",
	    st->group.master != NULL ? safe_string(st->group.master->client)
				     : json_null());
	json_object_set_new(obj, "quorum", quorum_json(&st->group));
	json_object_set_new(obj, "reason",
	    status_reason(st, why, sizeof(why))[0] != '\0' ? safe_string(why)
							   : json_null());
	json_object_set_new(obj, "troubles", troubles_json(st));
	json_object_set_new(
	    obj, "can_read_eventual", json_boolean(st->can_read_eventual));
	json_object_set_new(obj, "can_read", json_boolean(st->can_read));
	json_object_set_new(obj, "can_write", json_boolean(st->can_write));
	json_object_set_new(obj, "no_space", json_boolean(st->no_space));
	json_object_set_new(obj, "recovery_mode",
	    json_string(recovery_name(st->seq.recovery_mode)));
}

static void
page_startupz(struct page *out, const struct page_request *q)
{
	json_t *obj = head_json(q, q->st->health);

	add_why(obj, q->st);
	finish(out, status_startupz(q->st), obj);
}

static bool
want_holds(const struct page_request *q)
{
	if (q->want == NULL)
		return true;
	if (strcmp(q->want, "read") == 0)
		return q->st->can_read;
	if (strcmp(q->want, "write") == 0)
		return q->st->can_write;
	if (strcmp(q->want, "replica") == 0)
		return q->st->view.role == ROLE_REPLICA;
	return q->st->view.role == ROLE_MASTER;
}

static bool
want_known(const char *want)
{
	static const char *const known[] = { "read", "write", "master",
		"replica" };
	size_t i;

	for (i = 0; i < NITEMS(known); i++)
		if (strcmp(want, known[i]) == 0)
			return true;
	return false;
}

static void
page_readyz(struct page *out, const struct page_request *q)
{
	unsigned code = status_readyz(q->st);
	enum health_word health = q->st->health;
	json_t *obj;

	if (q->want != NULL && !want_known(q->want)) {
		page_refuse(
		    out, 400, "want: one of read, write, master, replica");
		return;
	}
	if (!want_holds(q)) {
		code = 503;
		if (health == HEALTH_OK)
			health = HEALTH_DEGRADED;
	}
	obj = head_json(q, health);
	add_why(obj, q->st);
	add_role(obj, q->st);
	finish(out, code, obj);
}

static void
page_livez(struct page *out, const struct page_request *q)
{
	json_t *obj;

	if (q->st->alive) {
		obj = json_pack("{s:s}", "status", "alive");
	} else if (q->st->stuck_slot < SLOT_MAX) {
		obj = json_pack("{s:s, s:s, s:o}", "status", "stuck", "worker",
		    slot_name(q->st->stuck_slot), "silent_ms",
		    integer(q->st->stuck_ms));
	} else {
		obj = head_json(q, q->st->health);
		add_why(obj, q->st);
	}
	finish(out, status_livez(q->st), obj);
}

static void
add_boot(json_t *obj, const struct page_request *q)
{
	const struct status *st = q->st;
	bool ready = status_readyz(st) == 200;
	struct counters *c = q->r->counters;

	json_object_set_new(obj, "is_ready", json_boolean(ready));
	json_object_set_new(obj, "is_alive", json_boolean(st->alive));
	json_object_set_new(obj, "is_booting",
	    json_boolean(
		st->health == HEALTH_STARTING || st->health == HEALTH_WAITING));
	json_object_set_new(obj, "progress_percent",
	    integer(st->seq.percent > 100 ? 100 : st->seq.percent));
	json_object_set_new(
	    obj, "progress_message", safe_string(st->seq.message));
	json_object_set_new(obj, "phase_elapsed_ms", integer(st->seq.phase_ms));
	json_object_set_new(obj, "total_elapsed_ms", integer(st->seq.total_ms));
	json_object_set_new(obj, "remaining_budget_ms", integer(st->budget_ms));
	json_object_set_new(obj, "failure_reason",
	    st->seq.failed ? safe_string(st->seq.error) : json_null());
	json_object_set_new(obj, "wal_records_replayed",
	    integer(counter_sum(c, C_WAL_REPLAYED)));
	json_object_set_new(obj, "wal_bytes_processed",
	    integer(counter_sum(c, C_WAL_REPLAYED_BYTES)));
}

static json_t *
workers_json(const struct page_request *q)
{
	json_t *list = json_array();
	unsigned slot;

	for (slot = 0; slot < SLOT_MAX; slot++) {
		const struct slot_row *row = &q->r->slots->row[slot];
		uint32_t state =
		    atomic_load_explicit(&row->state, memory_order_acquire);

		if (state == SLOT_EMPTY)
			continue;
		json_array_append_new(list,
		    json_pack("{s:s, s:s, s:o, s:o}", "name", slot_name(slot),
			"state", slot_state_name(state), "pid",
			integer((uint64_t)atomic_load_explicit(
			    &row->pid, memory_order_relaxed)),
			"restarts",
			integer(atomic_load_explicit(
			    &row->restarts, memory_order_relaxed))));
	}
	return list;
}

static void
page_healthz(struct page *out, const struct page_request *q)
{
	const struct status *st = q->st;
	json_t *obj = head_json(q, q->st->health);

	add_boot(obj, q);
	json_object_set_new(
	    obj, "stage", json_string(stage_name(st->seq.stage)));
	json_object_set_new(obj, "pending_gates", pending_gates(st));
	add_role(obj, st);
	json_object_set_new(
	    obj, "draining", json_boolean(st->health == HEALTH_DRAINING));
	json_object_set_new(
	    obj, "shutdown", json_string(shutdown_name(st->seq.shutdown)));
	json_object_set_new(obj, "node", safe_string(q->r->head->node));
	json_object_set_new(obj, "group", safe_string(q->r->head->group));
	json_object_set_new(obj, "members", members_json(&st->group));
	json_object_set_new(obj, "workers", workers_json(q));
	finish(out, status_readyz(st), obj);
}

static void
page_metrics(struct page *out, const struct page_request *q)
{
	out->code = 200;
	out->type = TYPE_METRICS;
	metrics_add(&out->body, q->r, q->st, q->now_ns);
	if (out->body.failed)
		out->code = 500;
}

static void
page_drain(struct page *out, const struct page_request *q)
{
	out->drain = true;
	finish(out, 200,
	    json_pack("{s:s, s:o}", "status", "draining", "node",
		safe_string(q->r->head->node)));
}

static const struct route {
	const char *path;
	bool post; /* else GET and HEAD */
	page_handler *handler;
} routes[] = {
	{ "/startupz", false, page_startupz },
	{ "/readyz", false, page_readyz },
	{ "/livez", false, page_livez },
	{ "/healthz", false, page_healthz },
	{ "/metrics", false, page_metrics },
	{ "/drain", true, page_drain },
};

static const struct route *
route_find(const char *path)
{
	size_t i;

	for (i = 0; i < NITEMS(routes); i++)
		if (strcmp(routes[i].path, path) == 0)
			return &routes[i];
	return NULL;
}

static bool
method_fits(const struct route *route, const char *method)
{
	if (route->post)
		return strcmp(method, "POST") == 0;
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

void
page_refuse(struct page *out, unsigned code, const char *why)
{
	memset(out, 0, sizeof(*out));
	finish(out, code, json_pack("{s:s}", "error", why));
}

void
page_make(struct page *out, const char *method, const char *path,
    const char *want, struct region *r, const struct conf *conf,
    uint64_t now_ns)
{
	const struct route *route = route_find(path);
	struct page_request q = { .want = want, .r = r, .now_ns = now_ns };
	struct status st;

	memset(out, 0, sizeof(*out));
	if (route == NULL) {
		page_refuse(out, 404,
		    "no such page: /startupz, /readyz, /livez, /healthz, "
		    "/metrics, /drain");
		return;
	}
	if (!method_fits(route, method)) {
		page_refuse(out, 405, "method not allowed");
		out->allow = route->post ? "POST" : "GET, HEAD";
		return;
	}
	status_read(&st, r, conf, now_ns);
	q.st = &st;
	route->handler(out, &q);
}
