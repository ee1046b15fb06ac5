/*
 * /metrics: every counter, histogram and position of the node, in the text
 * format 0.0.4 of Prometheus. Times are seconds there, so histograms of
 * nanoseconds are converted; their buckets are a 1-2-5 series, good to 1/64.
 */
#include <inttypes.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/log/log_clock.h"
#include "workers/health/metrics.h"

/* Bounds in the histogram's unit. */
static const uint64_t bounds_ns[] = { 5000, 10000, 20000, 50000, 100000, 200000,
	500000, 1000000, 2000000, 5000000, 10000000, 20000000, 50000000,
	100000000, 200000000, 500000000, 1000000000, 2000000000, 5000000000,
	10000000000 };
static const uint64_t bounds_count[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500,
	1000, 2000, 5000, 10000 };

void
metric_head(
    struct text *t, const char *name, const char *type, const char *help)
{
	text_add(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void
metric_gauge(struct text *t, const char *name, const char *help, uint64_t v)
{
	metric_head(t, name, "gauge", help);
	text_add(t, "%s %" PRIu64 "\n", name, v);
}

void
metric_label(struct text *t, const char *name, const char *value)
{
	text_add(t, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			text_add(t, "\\n");
		else if (*value == '"' || *value == '\\')
			text_add(t, "\\%c", *value);
		else
			text_add(t, "%c", *value);
	}
	text_add(t, "\"");
}

static void
counters_add(struct text *t, const struct counters *c)
{
	char name[96];
	unsigned i;

	for (i = 0; i < COUNTER_COUNT; i++) {
		snprintf(
		    name, sizeof(name), "nodelife_%s_total", counter_name(i));
		metric_head(t, name, "counter", counter_help(i));
		text_add(t, "%s %" PRIu64 "\n", name, counter_sum(c, i));
	}
}

static void
hist_add_text(struct text *t, enum hist which, const struct histogram *h)
{
	bool ns = strcmp(hist_unit(which), "ns") == 0;
	const uint64_t *bound = ns ? bounds_ns : bounds_count;
	size_t n = ns ? NITEMS(bounds_ns) : NITEMS(bounds_count), i;
	double scale = ns ? 1e-9 : 1;
	char name[96];

	snprintf(name, sizeof(name), "nodelife_%s%s", hist_name(which),
	    ns ? "_seconds" : "");
	metric_head(t, name, "histogram", hist_help(which));
	for (i = 0; i < n; i++)
		text_add(t, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name,
		    (double)bound[i] * scale, hist_below(h, bound[i]));
	text_add(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name,
	    hist_below(h, UINT64_MAX));
	text_add(t, "%s_sum %.9g\n%s_count %" PRIu64 "\n", name,
	    (double)atomic_load_explicit(&h->sum, memory_order_relaxed) * scale,
	    name, hist_below(h, UINT64_MAX));
}

static void
hists_add(struct text *t, const struct histograms *hs)
{
	struct histogram merged; /* 19 KiB */
	unsigned i;

	for (i = 0; i < HIST_COUNT; i++) {
		hist_merge(hs, i, &merged);
		hist_add_text(t, i, &merged);
	}
}

static void
positions_add(struct text *t, const struct region *r)
{
	const struct positions *p = r->pos;
	const struct {
		const char *name;
		uint64_t v;
	} row[] = {
		{ "first", position_get(&p->first) },
		{ "appended", position_get(&p->appended) },
		{ "durable", position_get(&p->durable) },
		{ "committed", commit_vlsn(r) },
		{ "applied", position_get(&p->applied) },
		{ "checkpointed", position_get(&p->checkpointed) },
		{ "indexed", position_get(&p->indexed) },
		{ "member", position_get(&p->member) },
	};
	size_t i;

	metric_head(
	    t, "nodelife_position", "gauge", "How far the node got, as a VLSN");
	for (i = 0; i < NITEMS(row); i++)
		text_add(t, "nodelife_position{name=\"%s\"} %" PRIu64 "\n",
		    row[i].name, row[i].v);
}

static void
role_add(struct text *t, const struct status *st)
{
	unsigned role;

	metric_head(t, "nodelife_role", "gauge", "1 for the node's role");
	for (role = 0; role <= ROLE_SHUTDOWN; role++)
		text_add(t, "nodelife_role{role=\"%s\"} %d\n", role_name(role),
		    st->view.role == role);
	metric_gauge(t, "nodelife_term", "Term of the group", st->view.term);
	metric_gauge(t, "nodelife_master_known", "1 when a master is known",
	    st->master_known);
	metric_gauge(
	    t, "nodelife_can_read", "1 when reads are served", st->can_read);
	metric_gauge(
	    t, "nodelife_can_write", "1 when writes are served", st->can_write);
}

static void
troubles_add(struct text *t, const struct region *r)
{
	unsigned kind;

	metric_head(
	    t, "nodelife_trouble", "gauge", "1 while this trouble stands");
	for (kind = 0; kind < TROUBLE_COUNT; kind++)
		text_add(t, "nodelife_trouble{kind=\"%s\"} %d\n",
		    trouble_name(kind), trouble_stands(r, kind));
	metric_head(t, "nodelife_troubles_total", "counter",
	    "Times this trouble began since the node's boot");
	for (kind = 0; kind < TROUBLE_COUNT; kind++)
		text_add(t,
		    "nodelife_troubles_total{kind=\"%s\"} %" PRIu64 "\n",
		    trouble_name(kind), trouble_times(r, kind));
}

/* Who waits longest for an answer waits for it. */
static void
flush_add(struct text *t, const struct region *r, const struct status *st)
{
	uint64_t since = position_get(&r->pos->flight_ns);

	metric_head(t, "nodelife_oldest_flush_seconds", "gauge",
	    "For how long the log's oldest flush is in flight; 0: none is");
	text_add(t, "nodelife_oldest_flush_seconds %.3f\n",
	    since != 0 && st->now_ns > since
		? (double)(st->now_ns - since) / 1e9
		: 0.0);
}

/* Whatever it waits for: room, the log, the store. */
static void
write_add(struct text *t, const struct region *r, const struct status *st)
{
	const struct slot_row *row = &r->slots->row[SLOT_GATEWAY];
	uint64_t since, oldest = st->now_ns;
	unsigned i;

	for (i = 0; i < GATEWAY_MAX; i++) {
		since = atomic_load_explicit(
		    &row[i].write_ns, memory_order_relaxed);
		if (since != 0 && since < oldest &&
		    atomic_load_explicit(&row[i].state, memory_order_relaxed) ==
			SLOT_RUNNING)
			oldest = since;
	}
	metric_head(t, "nodelife_oldest_write_seconds", "gauge",
	    "For how long the oldest write waits for its answer; 0: none does");
	text_add(t, "nodelife_oldest_write_seconds %.3f\n",
	    (double)(st->now_ns - oldest) / 1e9);
}

static void
boot_add(struct text *t, const struct region *r, const struct status *st)
{
	unsigned phase;

	metric_head(t, "nodelife_info", "gauge", "Names of this node");
	text_add(t, "nodelife_info{");
	metric_label(t, "node", r->head->node);
	text_add(t, ",");
	metric_label(t, "group", r->head->group);
	text_add(t, ",");
	metric_label(t, "version", NODELIFE_VERSION);
	text_add(t, "} 1\n");
	metric_head(t, "nodelife_start_time_seconds", "gauge",
	    "When this boot began, since the epoch");
	text_add(t, "nodelife_start_time_seconds %.3f\n",
	    (double)r->head->started_wall_ms / 1000);
	metric_gauge(t, "nodelife_ready", "1 when /readyz is 200",
	    status_readyz(st) == 200);
	metric_gauge(t, "nodelife_alive", "1 when /livez is 200", st->alive);
	metric_gauge(t, "nodelife_draining", "1 when a stop is under way",
	    st->health == HEALTH_DRAINING);
	flush_add(t, r, st);
	write_add(t, r, st);
	metric_gauge(t, "nodelife_no_space", "1 when the log has no room",
	    trouble_stands(r, TROUBLE_LOG_FULL));
	metric_head(t, "nodelife_clock_ahead_seconds", "gauge",
	    "Log time minus the clock");
	text_add(t, "nodelife_clock_ahead_seconds %.3f\n",
	    (double)log_clock_ahead_ms(
		position_get(&r->pos->clock_meet), mono_ns()) /
		1000);
	metric_gauge(t, "nodelife_boot_milliseconds",
	    "How long the boot takes or took", st->seq.total_ms);
	metric_gauge(t, "nodelife_pending_gates",
	    "Gates the next phase waits for", st->seq.pending_count);
	metric_head(
	    t, "nodelife_phase", "gauge", "1 for the boot phase reached");
	for (phase = 0; phase < PHASE_FAILED; phase++)
		text_add(t, "nodelife_phase{phase=\"%s\"} %d\n",
		    phase_name(phase), st->seq.phase == phase);
}

/* A metric with one value per slot that has or had a process. */
static void
slots_add(struct text *t, const struct region *r, const char *name,
    const char *type, const char *help,
    uint64_t (*value)(const struct slot_row *))
{
	unsigned slot;

	metric_head(t, name, type, help);
	for (slot = 0; slot < SLOT_MAX; slot++) {
		const struct slot_row *row = &r->slots->row[slot];

		if (atomic_load_explicit(&row->state, memory_order_acquire) ==
		    SLOT_EMPTY)
			continue;
		text_add(t, "%s{worker=\"%s\"} %" PRIu64 "\n", name,
		    slot_name(slot), value(row));
	}
}

static uint64_t
slot_up(const struct slot_row *row)
{
	return atomic_load_explicit(&row->state, memory_order_acquire) ==
	       SLOT_RUNNING;
}

static uint64_t
slot_restarts(const struct slot_row *row)
{
	return atomic_load_explicit(&row->restarts, memory_order_relaxed);
}

static uint64_t
slot_turns(const struct slot_row *row)
{
	return atomic_load_explicit(&row->turns, memory_order_relaxed);
}

static uint64_t
slot_sleeps(const struct slot_row *row)
{
	return atomic_load_explicit(&row->sleeps, memory_order_relaxed);
}

static void
heartbeats_add(struct text *t, const struct region *r, uint64_t now_ns)
{
	static const char name[] = "nodelife_worker_heartbeat_age_seconds";
	unsigned slot;

	metric_head(t, name, "gauge", "Since the worker's last sign of life");
	for (slot = 0; slot < SLOT_MAX; slot++) {
		uint64_t beat = atomic_load_explicit(
		    &r->slots->row[slot].heartbeat_ns, memory_order_acquire);

		if (beat == 0)
			continue;
		text_add(t, "%s{worker=\"%s\"} %.3f\n", name, slot_name(slot),
		    now_ns > beat ? (double)(now_ns - beat) / 1e9 : 0.0);
	}
}

void
metrics_add(
    struct text *t, struct region *r, const struct status *st, uint64_t now_ns)
{
	boot_add(t, r, st);
	troubles_add(t, r);
	role_add(t, st);
	metrics_group_add(t, &st->group);
	positions_add(t, r);
	slots_add(t, r, "nodelife_worker_up", "gauge",
	    "1 while the worker runs", slot_up);
	slots_add(t, r, "nodelife_worker_slot_restarts_total", "counter",
	    "Restarts of the worker", slot_restarts);
	slots_add(t, r, "nodelife_worker_turns_total", "counter",
	    "Turns of the worker's loop", slot_turns);
	slots_add(t, r, "nodelife_worker_sleeps_total", "counter",
	    "Times the worker slept", slot_sleeps);
	heartbeats_add(t, r, now_ns);
	counters_add(t, r->counters);
	hists_add(t, r->hists);
}
