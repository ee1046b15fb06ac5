/*
 * nodelifewal dump: a line, or a JSON object, for each record.
 */
#include "tools/nodelifewal.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include "shm/slots.h"

#define TIME_TEXT 32

struct dump {
	const struct dump_options *options;
	struct payload *payload;
	uint64_t last; /* newest VLSN seen */
};

static void
time_text(int64_t ms, char out[TIME_TEXT])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	size_t n = 0;

	if (gmtime_r(&s, &tm) != NULL)
		n = strftime(out, TIME_TEXT - 8, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, TIME_TEXT - n, ".%03dZ", (int)(ms % 1000));
}

static void
origin_print(FILE *out, uint64_t origin)
{
	if (origin != 0)
		fprintf(out, " from %s.%" PRIu32 " #%" PRIu32,
		    slot_name(origin_slot(origin)), origin_incarnation(origin),
		    (uint32_t)origin);
}

/* What the log itself says: records of this log only, and of its time. */
static void
log_print(FILE *out, const struct record *rec, const struct segment_entry *e)
{
	struct segment_batch b;
	char then[TIME_TEXT];
	unsigned cause;
	int64_t old_ms;

	if (rec->type == REC_SEGMENT) {
		fprintf(out,
		    " format %" PRIu32 " first %" PRIu64 " generation %" PRIu64
		    " continues %08" PRIx32 " to %" PRIu32,
		    e->info.format, e->info.first_vlsn, e->info.generation,
		    e->info.prev_number, e->info.prev_end);
		if (e->info.cut != 0)
			fprintf(out, " cut off up to %" PRIu64, e->info.cut);
	} else if (batch_decode(rec, &b) == 0)
		fprintf(out, " durable %" PRIu64 " committed %" PRIu64,
		    b.durable, b.committed);
	else if (clock_decode(rec, &old_ms, &cause) == 0) {
		time_text(old_ms, then);
		fprintf(
		    out, " back from %s: %s", then, clock_cause_name(cause));
	}
}

static void
record_print(struct dump *d, const struct segment_entry *e, uint32_t offset,
    const struct record *rec)
{
	const uint8_t *data;
	const char *note;
	char when[TIME_TEXT];
	size_t n;

	time_text(rec->time_ms, when);
	if (rec->vlsn != 0)
		printf("%10" PRIu64, rec->vlsn);
	else
		printf("%10s", "-");
	printf(" %" PRIu64 " %s %-7s %6" PRIu32 " %08" PRIx32 "+%" PRIu32,
	    rec->term, when, record_type_name(rec->type), rec->payload_len,
	    e->number, offset);
	if ((rec->flags & REC_WANT_RESULT) != 0)
		printf(" want_result");
	if ((rec->flags & REC_HAS_PARTS) != 0)
		printf(" has_parts");
	if (rec->bound != 0)
		printf(" bound %" PRIu64, record_bound(rec));
	/* Of a record of this log only it is the segment's life. */
	if (rec->vlsn != 0)
		origin_print(stdout, rec->origin);
	log_print(stdout, rec, e);
	putchar('\n');
	if (!d->options->verbose)
		return;
	data = payload_take(d->payload, rec, &n, &note);
	if (note != NULL)
		printf("\t(%s)\n", note);
	if (data != NULL)
		payload_print(stdout, rec, data, n);
}

static void
set_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void
origin_json(json_t *o, uint64_t origin)
{
	json_t *from;

	if (origin == 0)
		return;
	from = json_object();
	json_object_set_new(
	    from, "slot", json_string(slot_name(origin_slot(origin))));
	set_u64(from, "incarnation", origin_incarnation(origin));
	set_u64(from, "seq", (uint32_t)origin);
	json_object_set_new(o, "origin", from);
}

static void
log_json(json_t *o, const struct record *rec, const struct segment_entry *e)
{
	struct segment_batch b;
	unsigned cause;
	int64_t old_ms;

	if (rec->type == REC_SEGMENT) {
		set_u64(o, "format", e->info.format);
		set_u64(o, "first", e->info.first_vlsn);
		set_u64(o, "generation", e->info.generation);
		set_u64(o, "continues", e->info.prev_number);
		set_u64(o, "continues_at", e->info.prev_end);
		if (e->info.cut != 0)
			set_u64(o, "cut_off", e->info.cut);
	} else if (batch_decode(rec, &b) == 0) {
		set_u64(o, "durable", b.durable);
		set_u64(o, "committed", b.committed);
	} else if (clock_decode(rec, &old_ms, &cause) == 0) {
		set_u64(o, "old_time_ms", (uint64_t)old_ms);
		json_object_set_new(
		    o, "cause", json_string(clock_cause_name(cause)));
	}
}

static void
record_json(struct dump *d, const struct segment_entry *e, uint32_t offset,
    const struct record *rec)
{
	json_t *o = json_object(), *ops;
	const uint8_t *data;
	const char *note;
	size_t n;

	set_u64(o, "vlsn", rec->vlsn);
	set_u64(o, "term", rec->term);
	set_u64(o, "time_ms", (uint64_t)rec->time_ms);
	json_object_set_new(
	    o, "type", json_string(record_type_name(rec->type)));
	set_u64(o, "payload_len", rec->payload_len);
	set_u64(o, "segment", e->number);
	set_u64(o, "offset", offset);
	json_object_set_new(o, "want_result",
	    json_boolean((rec->flags & REC_WANT_RESULT) != 0));
	json_object_set_new(
	    o, "has_parts", json_boolean((rec->flags & REC_HAS_PARTS) != 0));
	if (rec->bound != 0)
		set_u64(o, "bound", record_bound(rec));
	if (rec->vlsn != 0) {
		set_u64(o, "crc", rec->crc);
		origin_json(o, rec->origin);
	}
	log_json(o, rec, e);
	if (d->options->verbose) {
		data = payload_take(d->payload, rec, &n, &note);
		ops = data == NULL ? NULL : payload_json(rec, data, n);
		if (ops != NULL)
			json_object_set_new(o, "ops", ops);
		if (note != NULL)
			json_object_set_new(o, "note", json_string(note));
	}
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static bool
dump_record(void *ctx, const struct segment_entry *e, uint32_t offset,
    const struct record *rec)
{
	struct dump *d = ctx;

	if (rec->vlsn != 0)
		d->last = rec->vlsn;
	else if (e->info.first_vlsn > d->last)
		d->last = e->info.first_vlsn - 1;
	/* Records of this log only go with what stands before them. */
	if (rec->vlsn > d->options->to ||
	    (rec->vlsn == 0 && d->last >= d->options->to))
		return false;
	if (rec->vlsn != 0 ? rec->vlsn < d->options->from
			   : d->last + 1 < d->options->from)
		return true;
	if (d->options->json)
		record_json(d, e, offset, rec);
	else
		record_print(d, e, offset, rec);
	return !ferror(stdout);
}

static void
dump_fault(void *ctx, const struct log_fault *fault)
{
	(void)ctx;
	fflush(stdout);
	walk_print_fault(stderr, fault);
}

int
dump_main(const struct walk_dir *dir, const struct dump_options *options)
{
	struct dump d = { .options = options, .payload = payload_new() };
	struct walk_ops ops = {
		.record = dump_record, .fault = dump_fault, .ctx = &d
	};
	struct walk_result result;
	int rc;

	if (d.payload == NULL)
		return EX_OSERR;
	rc = walk_log(dir, options->from, options->to, &ops, &result);
	payload_free(d.payload);
	if (rc != 0)
		walk_print_error(&result, rc);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "nodelifewal: cannot write the output\n");
		return EX_IOERR;
	}
	return walk_exit(&result, rc);
}
