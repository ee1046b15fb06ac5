/*
 * nodelifestat: the one-screen view, 79 columns. A line is put together whole,
 * cleaned and cut, then printed with its emphasis; what does not fit into the
 * rows at hand is left out from the end (events first). What stands in the
 * node's way comes right below its state: three troubles of any length are
 * there whole in 24 rows.
 */
#include "tools/nodelifestat_screen.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "shm/assert.h"

#define COLUMNS      79
#define HALF         38 /* one of two panes */
#define PANE_SIZE    128
#define EVENTS_SHOW  8 /* when rows are not limited */
#define EVENT_INDENT 12

static const char *const emphasis_on[] = {
	[PLAIN] = "",
	[HEADING] = "\033[1m",
	[GOOD] = "\033[1;32m",
	[BAD] = "\033[1;31m",
};

void
screen_row(struct screen *sc, enum emphasis how, const char *fmt, ...)
{
	char raw[512], text[COLUMNS + 1];
	size_t len;
	va_list ap;

	if (sc->rows != 0 && sc->used + sc->kept >= sc->rows)
		return;
	sc->used++;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	text_clean(text, sizeof(text), raw, sizeof(raw));
	for (len = strlen(text); len > 0 && text[len - 1] == ' '; len--)
		text[len - 1] = '\0';
	if (sc->colour && how != PLAIN)
		fprintf(sc->out, "%s%s\033[0m", emphasis_on[how], text);
	else
		fputs(text, sc->out);
	fputs(sc->rows != 0 ? "\033[K\n" : "\n", sc->out);
}

/* How much of a long text goes into a row: up to a blank if there is one. */
static size_t
wrap_at(const char *text, size_t width)
{
	size_t cut = width;

	if (strlen(text) <= width)
		return strlen(text);
	while (cut > width / 2 && text[cut] != ' ')
		cut--;
	return text[cut] == ' ' ? cut : width;
}

void
screen_wrapped(struct screen *sc, enum emphasis how, const char *lead,
    int indent, const char *text)
{
	size_t cut = wrap_at(text, (size_t)(COLUMNS - indent));

	screen_row(sc, how, "%*s%.*s", indent, lead, (int)cut, text);
	while (*(text += cut) != '\0') {
		text += *text == ' ';
		cut = wrap_at(text, (size_t)(COLUMNS - indent));
		screen_row(sc, how, "%*s%.*s", indent, "", (int)cut, text);
	}
}

static void
row_title(struct screen *sc)
{
	const struct stat_sample *s = sc->s;
	char node[NODE_NAME_MAX], group[NODE_NAME_MAX], up[32], left[160],
	    right[64];
	int gap;

	text_clean(node, sizeof(node), sc->r->head->node, NODE_NAME_MAX);
	text_clean(group, sizeof(group), sc->r->head->group, NODE_NAME_MAX);
	snprintf(left, sizeof(left), "%.20s in %.20s   %s, term %" PRIu64, node,
	    group, role_name(s->view.role), s->view.term);
	text_ms(up, sizeof(up), s->up_ms);
	snprintf(right, sizeof(right),
	    s->life == LIFE_LIVE ? "%s, up %s" : "%s after %s",
	    life_name(s->life), up);
	gap = COLUMNS - (int)strlen(left) - (int)strlen(right);
	screen_row(sc, s->life == LIFE_LIVE ? HEADING : BAD, "%s%*s%s", left,
	    gap > 1 ? gap : 1, "", right);
}

static const char *
mode_text(uint32_t mode)
{
	if (mode == RECOVERY_READONLY)
		return ", mode readonly";
	return mode == RECOVERY_FORCE ? ", mode force" : "";
}

static void
row_stage(struct screen *sc)
{
	const struct stat_sample *s = sc->s;
	bool waits =
	    s->life == LIFE_LIVE && trouble_stands(sc->r, TROUBLE_BOOT_WAITS);
	char took[32], text[200];

	text_ms(took, sizeof(took), s->seq.total_ms);
	snprintf(text, sizeof(text),
	    "%s   phase %s, %s %s, restarts %u, pid %d%s",
	    waits ? "waits" : stage_name(s->seq.stage),
	    phase_name(s->seq.phase),
	    s->seq.phase == PHASE_GATEWAY_ENABLE ? "booted in" : "booting for",
	    took, sc->r->head->node_restarts, sc->r->head->supervisor_pid,
	    mode_text(s->seq.recovery_mode));
	if (s->seq.failed || s->life == LIFE_DEAD || waits)
		screen_row(sc, BAD, "%s", text);
	else
		screen_row(sc, s->seq.stage == STAGE_READY ? GOOD : HEADING,
		    "%s", text);
}

static void
row_listen(struct screen *sc)
{
	const uint64_t *c = sc->s->counter;
	char client[64], http[64], keys[32], in[32];

	text_clean(client, sizeof(client), sc->r->head->client_addr,
	    sizeof(sc->r->head->client_addr));
	text_clean(http, sizeof(http), sc->r->head->http_addr,
	    sizeof(sc->r->head->http_addr));
	text_count(keys, sizeof(keys), sc->s->key_count);
	text_count(in, sizeof(in),
	    c[C_CLIENTS_ACCEPTED] > c[C_CLIENTS_CLOSED]
		? c[C_CLIENTS_ACCEPTED] - c[C_CLIENTS_CLOSED]
		: 0);
	screen_row(sc, PLAIN, "client %s  http %s  %s clients  %s keys", client,
	    http, in, keys);
}

static void
rows_boot(struct screen *sc)
{
	const struct seq_snapshot *q = &sc->s->seq;
	char waited[32], name[GATE_NAME_MAX + 1], message[PROGRESS_MAX],
	    done[16], total[16], items[40], bytes[48];
	unsigned i;

	for (i = 0; i < q->pending_count && i < GATE_MAX; i++) {
		text_ms(waited, sizeof(waited), q->pending[i].waited_ms);
		text_clean(
		    name, sizeof(name), q->pending[i].name, GATE_NAME_MAX);
		screen_row(sc, HEADING, "waits for %s: %s of %s, since %s",
		    phase_name(q->pending[i].phase), name,
		    slot_name(q->pending[i].owner), waited);
	}
	if (q->phase == PHASE_GATEWAY_ENABLE ||
	    (q->items_total == 0 && q->bytes_total == 0 && q->items_done == 0))
		return;
	text_clean(message, sizeof(message), q->message, PROGRESS_MAX);
	items[0] = bytes[0] = '\0';
	if (q->items_done != 0)
		snprintf(
		    items, sizeof(items), ", %" PRIu64 " items", q->items_done);
	if (q->bytes_total != 0)
		snprintf(bytes, sizeof(bytes), ", %s of %s",
		    text_bytes(done, sizeof(done), (double)q->bytes_done),
		    text_bytes(total, sizeof(total), (double)q->bytes_total));
	screen_row(sc, PLAIN, "progress %u %%%s%s: %s", q->percent, items,
	    bytes, message);
}

static void
rows_troubles(struct screen *sc)
{
	const struct stat_sample *s = sc->s;
	const struct trouble_info *t;
	char age[32], text[FAULT_TEXT_MAX], line[FAULT_TEXT_MAX + 64];
	unsigned i;

	for (i = 0; i < s->trouble_count; i++) {
		t = &s->trouble[i];
		text_ms(age, sizeof(age),
		    s->at_ns > t->since_ns
			? (s->at_ns - t->since_ns) / NS_PER_MS
			: 0);
		text_clean(text, sizeof(text), t->text, sizeof(t->text));
		snprintf(line, sizeof(line), "%s, %s: %s",
		    trouble_name(t->kind), age, text);
		screen_wrapped(sc,
		    trouble_stops_of(t->kind) != STOPS_NOTHING ? BAD : HEADING,
		    "", 0, line);
	}
}

static void
rows_alarms(struct screen *sc)
{
	const struct stat_sample *s = sc->s;
	char text[SEQ_ERROR_MAX + 16], error[SEQ_ERROR_MAX];

	if (s->seq.failed) {
		text_clean(error, sizeof(error), s->seq.error, SEQ_ERROR_MAX);
		snprintf(text, sizeof(text), "failed: %s", error);
		screen_wrapped(sc, BAD, "", 0, text);
	}
	if (s->life == LIFE_ENDED) {
		snprintf(text, sizeof(text), "ended: %s",
		    cause_text(sc->r, error, sizeof(error)));
		screen_wrapped(sc, HEADING, "", 0, text);
	} else if (s->seq.shutdown != SHUTDOWN_NONE)
		screen_row(sc, HEADING, "stopping: %s",
		    shutdown_name(s->seq.shutdown));
	rows_troubles(sc);
	if (s->life == LIFE_DEAD)
		screen_row(sc, BAD,
		    "the node died: this is what its region held last");
}

/* Whole numbers from 10 to a million read better with their digits. */
static void
rate_number(char *buf, size_t size, double n)
{
	if (n >= 10 && n < 999999.5)
		text_count(buf, size, (uint64_t)(n + 0.5));
	else
		text_short(buf, size, n);
}

static void
rate_text(char out[PANE_SIZE], const struct screen *sc, const char *name,
    uint64_t total, uint64_t part, bool bytes)
{
	char all[32], rate[32];

	if (bytes) {
		text_bytes(all, sizeof(all), (double)total);
		text_bytes(rate, sizeof(rate), delta_rate(sc->d, part));
	} else {
		text_count(all, sizeof(all), total);
		rate_number(rate, sizeof(rate), delta_rate(sc->d, part));
	}
	snprintf(out, PANE_SIZE, "%-10s%17s%11s", name, all, rate);
}

static void
latency_text(char out[PANE_SIZE], const char *name, const struct histogram *h)
{
	static const double q[] = { 0.5, 0.99, 0.999, 1 };
	char v[NITEMS(q)][16];
	unsigned i;

	for (i = 0; i < NITEMS(q); i++) {
		if (atomic_load_explicit(&h->count, memory_order_relaxed) == 0)
			snprintf(v[i], sizeof(v[i]), "-");
		else
			text_ns(v[i], sizeof(v[i]), hist_quantile(h, q[i]));
	}
	snprintf(
	    out, PANE_SIZE, "%-10s%7s%7s%7s%7s", name, v[0], v[1], v[2], v[3]);
}

static void
rows_requests(struct screen *sc)
{
	static const struct {
		const char *name;
		enum counter which;
		bool bytes;
		const char *latency;
		enum hist hist;
	} table[] = {
		{ "reads", C_READS, false, "read", H_REQUEST_READ },
		{ "writes", C_WRITES, false, "write", H_REQUEST_WRITE },
		{ "errors", C_COMMANDS_FAILED, false, "commit", H_COMMIT },
		{ "bytes in", C_BYTES_IN, true, "flush", H_FLUSH },
		{ "bytes out", C_BYTES_OUT, true, "apply", H_APPLY },
		{ "log bytes", C_WAL_BYTES, true, "checkpoint", H_CHECKPOINT },
	};
	char left[PANE_SIZE], right[PANE_SIZE];
	unsigned i;

	screen_row(sc, HEADING, "%-10s%17s%11s   %-10s%7s%7s%7s%7s", "requests",
	    "total", sc->d->since_boot ? "/s (boot)" : "/s", "latency", "p50",
	    "p99", "p99.9", "max");
	for (i = 0; i < NITEMS(table); i++) {
		rate_text(left, sc, table[i].name,
		    sc->s->counter[table[i].which],
		    sc->d->counter[table[i].which], table[i].bytes);
		latency_text(
		    right, table[i].latency, &sc->d->hist[table[i].hist]);
		screen_row(sc, PLAIN, "%-*.*s   %s", HALF, HALF, left, right);
	}
}

/* What stands beside the positions: six facts of log and store. */
static void
fact_flushes(const struct screen *sc, char *out, size_t size)
{
	const uint64_t *c = sc->d->counter;
	char rate[32];

	rate_number(rate, sizeof(rate), delta_rate(sc->d, c[C_WAL_FLUSHES]));
	snprintf(out, size, "flushes %s/s of %.1f records", rate,
	    c[C_WAL_FLUSHES] == 0
		? 0.0
		: (double)c[C_WAL_RECORDS] / (double)c[C_WAL_FLUSHES]);
}

static void
fact_segments(const struct screen *sc, char *out, size_t size)
{
	const uint64_t *c = sc->s->counter;

	snprintf(out, size, "at %" PRIx32 ":%" PRIu32 ", %" PRIu64 " recycled",
	    lsn_segment(sc->s->newest_lsn), lsn_offset(sc->s->newest_lsn),
	    c[C_WAL_RECYCLED]);
}

static void
fact_recovered(const struct screen *sc, char *out, size_t size)
{
	const uint64_t *c = sc->s->counter;
	char n[32], bytes[16];

	text_count(n, sizeof(n), c[C_WAL_REPLAYED]);
	text_bytes(bytes, sizeof(bytes), (double)c[C_WAL_REPLAYED_BYTES]);
	snprintf(out, size, "recovered %s records, %s", n, bytes);
}

static void
fact_hits(const struct screen *sc, char *out, size_t size)
{
	const uint64_t *c = sc->d->counter;
	uint64_t all = c[C_KEYSPACE_HITS] + c[C_KEYSPACE_MISSES];
	char expired[32];

	text_count(expired, sizeof(expired), sc->s->counter[C_STORE_EXPIRED]);
	if (all == 0)
		snprintf(out, size, "hits -, expired %s", expired);
	else
		snprintf(out, size, "hits %.1f %%, expired %s",
		    100 * (double)c[C_KEYSPACE_HITS] / (double)all, expired);
}

static void
fact_table(const struct screen *sc, char *out, size_t size)
{
	const struct stat_sample *s = sc->s;
	char used[16], limit[16];

	text_bytes(used, sizeof(used), (double)s->table_used);
	text_bytes(limit, sizeof(limit), (double)s->table_size);
	snprintf(out, size, "table %s of %s%s", used, limit,
	    s->pos.frozen != 0 ? ", one frozen" : "");
}

static void
fact_checkpoints(const struct screen *sc, char *out, size_t size)
{
	const uint64_t *c = sc->s->counter;
	char keys[32], bytes[16];

	text_short(keys, sizeof(keys), (double)c[C_CHECKPOINT_KEYS]);
	text_bytes(bytes, sizeof(bytes), (double)c[C_CHECKPOINT_BYTES]);
	snprintf(out, size, "checkpoints %" PRIu64 ", %s keys, %s",
	    c[C_CHECKPOINTS], keys, bytes);
}

static void
rows_positions(struct screen *sc)
{
	const struct stat_positions *p = &sc->s->pos;
	const struct {
		const char *name;
		uint64_t vlsn, behind; /* of what; 0 = of nothing */
		const char *topic;
		void (*fact)(const struct screen *, char *, size_t);
	} table[] = {
		{ "appended", p->appended, 0, "log", fact_flushes },
		{ "durable", p->durable, p->appended, "", fact_segments },
		{ "committed", p->committed, p->appended, "", fact_recovered },
		{ "applied", p->applied, p->committed, "store", fact_hits },
		{ "indexed", p->indexed, p->durable, "", fact_table },
		{ "checkpoint", p->checkpointed, p->applied, "",
		    fact_checkpoints },
	};
	char vlsn[32], lag[32], fact[64];
	unsigned i;

	screen_row(sc, HEADING, "%-10s%17s%11s   %s", "position", "VLSN", "lag",
	    "log and store");
	for (i = 0; i < NITEMS(table); i++) {
		text_count(vlsn, sizeof(vlsn), table[i].vlsn);
		text_count(lag, sizeof(lag),
		    table[i].behind > table[i].vlsn
			? table[i].behind - table[i].vlsn
			: 0);
		table[i].fact(sc, fact, sizeof(fact));
		screen_row(sc, PLAIN, "%-10s%17s%11s   %-6s%s", table[i].name,
		    vlsn, table[i].behind != 0 ? lag : "-", table[i].topic,
		    fact);
	}
}

static void
worker_text(char out[PANE_SIZE], const struct stat_worker *w)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", w->pid);
	snprintf(out, PANE_SIZE, "%-10s%8s %-8s%3u %-7s", slot_name(w->slot),
	    w->pid > 0 ? pid : "-", slot_state_name(w->state), w->restarts,
	    w->last_exit[0] != '\0' ? w->last_exit : "-");
}

static void
rows_workers(struct screen *sc)
{
	const struct stat_sample *s = sc->s;
	unsigned i, half = (s->worker_count + 1) / 2;
	char left[PANE_SIZE], right[PANE_SIZE];

	screen_row(sc, HEADING, "%-10s%8s %-8s%3s %-7s   %-10s%8s %-8s%3s %-7s",
	    "worker", "pid", "state", "re", "ended", "worker", "pid", "state",
	    "re", "ended");
	for (i = 0; i < half; i++) {
		worker_text(left, &s->worker[i]);
		right[0] = '\0';
		if (i + half < s->worker_count)
			worker_text(right, &s->worker[i + half]);
		screen_row(sc, PLAIN, "%-*.*s   %s", HALF, HALF, left, right);
	}
	for (i = 0; i < s->worker_count; i++) {
		if (s->worker[i].state == SLOT_BACKOFF)
			screen_row(sc, HEADING,
			    "%s starts again in %" PRIu64 " ms",
			    slot_name(s->worker[i].slot),
			    s->worker[i].restart_in_ms);
		else if (s->worker[i].busy != BUSY_NOT)
			screen_row(sc, HEADING, "%s is held back: %s",
			    slot_name(s->worker[i].slot),
			    busy_name(s->worker[i].busy));
	}
}

/* Whole if there is room, else what fits into a row. */
static void
row_event(struct screen *sc, const struct event *e)
{
	enum emphasis how = e->level == EVENT_ERROR  ? BAD
			    : e->level == EVENT_WARN ? HEADING
						     : PLAIN;
	uint64_t at = sc->s->at_ns;
	char age[32], text[EVENT_TEXT_MAX + 24];

	text_ms(age, sizeof(age),
	    at > e->mono_ns ? (at - e->mono_ns) / NS_PER_MS : 0);
	strlcat(age, "  ", sizeof(age));
	snprintf(text, sizeof(text), "%s: %s", slot_name(e->slot), e->text);
	if (sc->rows == 0)
		screen_wrapped(sc, how, age, EVENT_INDENT, text);
	else
		screen_row(sc, how, "%*s%s", EVENT_INDENT, age, text);
}

static void
rows_events(struct screen *sc)
{
	static struct event list[EVENT_COUNT];
	unsigned n, show = EVENTS_SHOW;

	if (sc->rows == 0 || sc->rows > sc->used + 3)
		screen_row(sc, HEADING, "%*s  event", EVENT_INDENT - 2, "age");
	if (sc->rows != 0)
		show = sc->rows > sc->used ? sc->rows - sc->used : 0;
	n = event_list(sc->r->events, list, show);
	while (n-- > 0)
		row_event(sc, &list[n]);
}

void
screen_print(FILE *out, const struct region *r, const struct stat_sample *s,
    const struct stat_delta *d, unsigned rows, bool colour)
{
	struct screen sc = {
		.out = out,
		.r = r,
		.s = s,
		.d = d,
		.rows = rows,
		.colour = colour,
	};

	/* The first four are what must be there whatever gives way. */
	row_title(&sc);
	row_stage(&sc);
	rows_alarms(&sc);
	/* Of a group there is more than fits: its newest event stays. */
	sc.kept = rows != 0 && members_shown(&s->group) ? 1 : 0;
	row_listen(&sc);
	rows_boot(&sc);
	screen_members(&sc);
	rows_requests(&sc);
	rows_positions(&sc);
	rows_workers(&sc);
	sc.kept = 0;
	rows_events(&sc);
}
