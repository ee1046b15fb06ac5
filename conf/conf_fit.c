/*
 * Fitting the node into its memory: keys that nobody set are halved in turn,
 * in the order of a table, until it fits or each is at its floor. A floor is
 * no less than conf_check.c and the schema ask for, so a fitted configuration
 * is one that loads.
 */
#include "conf/conf_fit.h"

#include <sys/param.h>

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "conf/conf_schema.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

/* Of the region, besides what keys say; t/unit/conf_fit.c holds them to it. */
#define SMALL_BYTES (8 * MIB) /* heads, counters, events, VLSN map, slots */
#define RING_BYTES  (1344 * KIB) /* of each client of the log */
#define RING_OWN    2 /* clients that are no gateways */
#define BUCKETS(t)  ((t) / 32) /* 4 bytes for 256, rounded to a power of 2 */
/* Outside of it. */
#define DUE(t)        ((t) / 5 * 4) /* 16 for each entry that expires, of 40 */
#define PROCESS_BYTES (4 * MIB)
#define PROCESSES     8 /* without gateways; with a checkpoint's child */

void
conf_need(const struct conf *conf, struct conf_need *need)
{
	uint64_t gateways = conf->node.gateways;
	uint64_t table = conf->store.table_size;
	uint64_t generation = table + BUCKETS(table);
	uint64_t fixed = SMALL_BYTES + (RING_OWN + gateways) * RING_BYTES +
			 conf->wal.buffer_size;

	need->region_least = fixed + generation + conf->store.max_record;
	need->region = need->region_least + generation;
	need->clients = gateways * conf->listen.client_memory;
	need->store =
	    conf->store.max_record + conf->listen.max_output + DUE(table);
	need->checkpoint = conf->store.checkpoint_memory;
	need->processes = (PROCESSES + gateways) * PROCESS_BYTES;
	need->total = need->region + need->clients + need->store +
		      need->checkpoint + need->processes;
}

static uint64_t
floor_checkpoint(const struct conf *conf)
{
	(void)conf;
	return 16 * MIB;
}

static uint64_t
floor_request(const struct conf *conf)
{
	return MAX(conf->store.max_value, MIB);
}

static uint64_t
floor_clients(const struct conf *conf)
{
	return conf->listen.max_query + conf->listen.max_output;
}

static uint64_t
floor_record(const struct conf *conf)
{
	return MAX(2 * conf->store.max_value, MIB);
}

static uint64_t
floor_table(const struct conf *conf)
{
	return MAX(3 * conf->store.max_value, 8 * MIB);
}

/* In the order in which they are halved. */
static const struct row {
	const char *section, *name;
	size_t offset;
	uint64_t multiple;
	bool in_region; /* it counts for /dev/shm, too */
	uint64_t (*floor)(const struct conf *conf);
} rows[] = {
	{ "store", "checkpoint_memory",
	    offsetof(struct conf, store.checkpoint_memory), MIB, false,
	    floor_checkpoint },
	{ "listen", "max_query", offsetof(struct conf, listen.max_query), KIB,
	    false, floor_request },
	{ "listen", "max_output", offsetof(struct conf, listen.max_output), KIB,
	    false, floor_request },
	{ "listen", "client_memory",
	    offsetof(struct conf, listen.client_memory), KIB, false,
	    floor_clients },
	{ "store", "max_record", offsetof(struct conf, store.max_record),
	    64 * KIB, true, floor_record },
	{ "store", "table_size", offsetof(struct conf, store.table_size), MIB,
	    true, floor_table },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

#define LIMIT_TEXT (CONF_LIMIT_FILE_MAX + 48)

static uint64_t *
value_of(struct conf *conf, const struct row *row)
{
	return (uint64_t *)(void *)((char *)conf + row->offset);
}

static bool
is_over(const struct conf *conf, bool shm, uint64_t limit)
{
	struct conf_need need;

	conf_need(conf, &need);
	return limit != 0 && (shm ? need.region : need.total) > limit;
}

/* Half of it, or its floor; false if it is there or was set. */
static bool
halve(struct conf *conf, const struct row *row)
{
	uint64_t *value = value_of(conf, row);
	uint64_t least = row->floor(conf), half = MAX(*value / 2, least);

	half = (half + row->multiple - 1) / row->multiple * row->multiple;
	if (conf_line_of(conf, row->offset) != 0 || half >= *value)
		return false;
	*value = half;
	return true;
}

static void
shrink(struct conf *conf, bool shm, uint64_t limit)
{
	bool any = true;

	while (any) {
		any = false;
		for (size_t i = 0; i < ROWS; i++) {
			if (!is_over(conf, shm, limit))
				return;
			if (rows[i].in_region || !shm)
				any |= halve(conf, &rows[i]);
		}
	}
}

__attribute__((format(printf, 2, 3))) static void
say(struct conf_fit *fit, const char *fmt, ...)
{
	va_list ap;

	if (fit->count == CONF_FIT_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(fit->text[fit->count++], CONF_FIT_TEXT, fmt, ap);
	va_end(ap);
}

/* "/dev/shm has 61M", "limit 512M by FILE", "the machine has 512M" */
static void
limit_text(const struct conf_limits *l, bool shm, char buf[LIMIT_TEXT])
{
	if (!shm && l->memory_file[0] != '\0')
		snprintf(buf, LIMIT_TEXT, "limit %" PRIu64 "M by %s",
		    l->memory / MIB, l->memory_file);
	else
		snprintf(buf, LIMIT_TEXT, "%s has %" PRIu64 "M",
		    shm ? "/dev/shm" : "the machine",
		    (shm ? l->shm : l->memory) / MIB);
}

static void
fit_one(struct conf *conf, bool shm, const struct conf_limits *l,
    struct conf_fit *fit)
{
	struct conf before = *conf;
	char why[LIMIT_TEXT], a[24], b[24];

	shrink(conf, shm, shm ? l->shm : l->memory);
	limit_text(l, shm, why);
	for (size_t i = 0; i < ROWS; i++) {
		uint64_t was = *value_of(&before, &rows[i]);
		uint64_t is = *value_of(conf, &rows[i]);

		if (was == is)
			continue;
		conf_size_format(was, a, sizeof(a));
		conf_size_format(is, b, sizeof(b));
		say(fit, "memory: %s: [%s] %s %s -> %s", why, rows[i].section,
		    rows[i].name, a, b);
		fit->shrunk = true;
	}
	conf_free(&before);
}

static void
say_over(
    const struct conf *conf, const struct conf_limits *l, struct conf_fit *fit)
{
	char limit[LIMIT_TEXT];
	struct conf_need n;

	conf_need(conf, &n);
	limit_text(l, false, limit);
	if (is_over(conf, true, l->shm)) {
		fit->over = true;
		say(fit,
		    "memory: /dev/shm has %" PRIu64 "M, the region may take "
		    "%" PRIu64 "M: writes may wait for it: enlarge /dev/shm "
		    "or lower [store] table_size, max_record",
		    l->shm / MIB, n.region / MIB);
	}
	if (is_over(conf, false, l->memory)) {
		fit->over = true;
		say(fit,
		    "memory: %s, the node may take %" PRIu64
		    "M (region %" PRIu64 ", clients %" PRIu64 ", store %" PRIu64
		    ", checkpoint %" PRIu64 ", processes %" PRIu64
		    "): the kernel may kill workers: raise it or lower "
		    "max_value and what is set",
		    limit, n.total / MIB, n.region / MIB, n.clients / MIB,
		    n.store / MIB, n.checkpoint / MIB, n.processes / MIB);
	}
	if (l->memory != 0 && n.region_least + n.processes > l->memory) {
		fit->refused = true;
		say(fit,
		    "memory: %s, the node needs %" PRIu64
		    "M: raise it or lower "
		    "[store] table_size (%" PRIu64 "M) or max_record (%" PRIu64
		    "M), and what they must hold, max_value",
		    limit, (n.region_least + n.processes) / MIB,
		    conf->store.table_size / MIB, conf->store.max_record / MIB);
	}
	if (l->shm == 0 || n.region_least <= l->shm)
		return;
	fit->refused = true;
	say(fit,
	    "memory: /dev/shm has %" PRIu64 "M, the node needs %" PRIu64
	    "M: enlarge it or lower [store] table_size (%" PRIu64
	    "M) or max_record (%" PRIu64 "M), and what they must hold, "
	    "max_value",
	    l->shm / MIB, n.region_least / MIB, conf->store.table_size / MIB,
	    conf->store.max_record / MIB);
}

static uint64_t
clients_each(const struct conf *conf)
{
	uint64_t gateways = conf->node.gateways;

	return (conf->listen.max_clients + gateways - 1) / gateways;
}

uint64_t
conf_files(const struct conf *conf)
{
	return clients_each(conf) + CONF_FILES_OWN;
}

/* A client beyond the descriptors would wait for ever; now it is told so. */
static void
fit_files(struct conf *conf, uint64_t limit, struct conf_fit *fit)
{
	uint64_t want = conf_files(conf), each;
	uint32_t was = conf->listen.max_clients;

	if (limit == 0 || want <= limit)
		return;
	each = limit > CONF_FILES_OWN ? limit - CONF_FILES_OWN : 1;
	conf->listen.max_clients = (uint32_t)(each * conf->node.gateways);
	fit->short_of = fit->count;
	say(fit,
	    "descriptors: limit %" PRIu64 ": [listen] max_clients %" PRIu32
	    " -> %" PRIu32 ": raise it to %" PRIu64
	    " (ulimit -n, LimitNOFILE=) or lower max_clients",
	    limit, was, conf->listen.max_clients, want);
	fit->shrunk = true;
}

void
conf_fit(
    struct conf *conf, const struct conf_limits *limits, struct conf_fit *fit)
{
	memset(fit, 0, sizeof(*fit));
	fit->short_of = CONF_FIT_MAX;
	fit_one(conf, true, limits, fit);
	fit_one(conf, false, limits, fit);
	say_over(conf, limits, fit);
	if (!fit->refused)
		fit_files(conf, limits->files, fit);
}
