/*
 * nodelifewal stat and verify: what a log holds, in sums, and whether it is
 * whole.
 */
#include "tools/nodelifewal.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include "shm/assert.h"

static const uint8_t types[] = { REC_SEGMENT, REC_BATCH, REC_PAD, REC_TERM,
	REC_MEMBER, REC_OP, REC_MULTI, REC_PART, REC_CLOCK };

#define TYPE_MAX (REC_CLOCK + 1)
/* So often verify looks at a log that seems damaged while things move. */
#define VERIFY_TRIES 4

struct term_run {
	uint64_t term, first;
};

struct sums {
	struct {
		uint64_t count, bytes, payload;
	} type[TYPE_MAX];
	uint64_t bytes, replicated;
	uint64_t in_batch, batch_max; /* replicated records a batch */
	int64_t time_first, time_last;
	struct term_run *run; /* terms, in order */
	size_t run_count;
	bool out_of_memory;
};

static void
sum_term(struct sums *s, const struct record *rec)
{
	struct term_run *grown;

	if (s->run_count > 0 && s->run[s->run_count - 1].term == rec->term)
		return;
	grown = realloc(s->run, (s->run_count + 1) * sizeof(*grown));
	if (grown == NULL) {
		s->out_of_memory = true;
		return;
	}
	s->run = grown;
	s->run[s->run_count].term = rec->term;
	s->run[s->run_count++].first = rec->vlsn;
}

static bool
sum_record(void *ctx, const struct segment_entry *e, uint32_t offset,
    const struct record *rec)
{
	struct sums *s = ctx;

	(void)e;
	(void)offset;
	ASSERT(rec->type < TYPE_MAX);
	s->type[rec->type].count++;
	s->type[rec->type].bytes += rec->len;
	s->type[rec->type].payload += rec->payload_len;
	s->bytes += rec->len;
	if (rec->type == REC_BATCH)
		s->in_batch = 0;
	if (rec->vlsn == 0)
		return true;
	if (s->replicated++ == 0)
		s->time_first = rec->time_ms;
	s->time_last = rec->time_ms;
	if (++s->in_batch > s->batch_max)
		s->batch_max = s->in_batch;
	sum_term(s, rec);
	return !s->out_of_memory;
}

static double
ratio(uint64_t a, uint64_t b)
{
	return b == 0 ? 0 : (double)a / (double)b;
}

static void
sums_print(const struct sums *s, const struct walk_result *r)
{
	size_t i;

	printf("segments    %" PRIu32 " in the log, %" PRIu32 " other files\n",
	    r->segments, r->others);
	printf("VLSNs       %" PRIu64 " to %" PRIu64 "\n", r->first, r->last);
	printf("known       durable %" PRIu64 ", committed %" PRIu64 "\n",
	    r->durable, r->committed);
	printf("end         %08" PRIx32 ".seg offset %" PRIu32 ": %s\n",
	    r->end_segment, r->end_offset, log_verdict_name(r->verdict));
	printf("batches     %" PRIu64 ", %.2f records each, at most %" PRIu64
	       "\n",
	    s->type[REC_BATCH].count,
	    ratio(s->replicated, s->type[REC_BATCH].count), s->batch_max);
	printf("pads        %.2f %% of the bytes\n",
	    100 * ratio(s->type[REC_PAD].bytes, s->bytes));
	printf("%-8s %14s %16s %16s\n", "type", "records", "bytes", "payload");
	for (i = 0; i < NITEMS(types); i++)
		printf("%-8s %14" PRIu64 " %16" PRIu64 " %16" PRIu64 "\n",
		    record_type_name(types[i]), s->type[types[i]].count,
		    s->type[types[i]].bytes, s->type[types[i]].payload);
	for (i = 0; i < s->run_count; i++)
		printf("term %" PRIu64 " from VLSN %" PRIu64 "\n",
		    s->run[i].term, s->run[i].first);
}

static void
set_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static json_t *
types_json(const struct sums *s)
{
	json_t *all = json_object(), *o;
	size_t i;

	for (i = 0; i < NITEMS(types); i++) {
		o = json_object();
		set_u64(o, "records", s->type[types[i]].count);
		set_u64(o, "bytes", s->type[types[i]].bytes);
		set_u64(o, "payload", s->type[types[i]].payload);
		json_object_set_new(all, record_type_name(types[i]), o);
	}
	return all;
}

static json_t *
terms_json(const struct sums *s)
{
	json_t *all = json_array(), *o;
	size_t i;

	for (i = 0; i < s->run_count; i++) {
		o = json_object();
		set_u64(o, "term", s->run[i].term);
		set_u64(o, "first", s->run[i].first);
		json_array_append_new(all, o);
	}
	return all;
}

static void
sums_json(const struct sums *s, const struct walk_result *r)
{
	json_t *o = json_object();

	json_object_set_new(
	    o, "verdict", json_string(log_verdict_name(r->verdict)));
	set_u64(o, "segments", r->segments);
	set_u64(o, "others", r->others);
	set_u64(o, "first", r->first);
	set_u64(o, "last", r->last);
	set_u64(o, "durable", r->durable);
	set_u64(o, "committed", r->committed);
	set_u64(o, "end_segment", r->end_segment);
	set_u64(o, "end_offset", r->end_offset);
	set_u64(o, "bytes", s->bytes);
	set_u64(o, "records", s->replicated);
	set_u64(o, "batches", s->type[REC_BATCH].count);
	set_u64(o, "batch_max", s->batch_max);
	set_u64(o, "time_first_ms", (uint64_t)s->time_first);
	set_u64(o, "time_last_ms", (uint64_t)s->time_last);
	json_object_set_new(
	    o, "pad_share", json_real(ratio(s->type[REC_PAD].bytes, s->bytes)));
	json_object_set_new(o, "types", types_json(s));
	json_object_set_new(o, "terms", terms_json(s));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static void
stat_fault(void *ctx, const struct log_fault *fault)
{
	(void)ctx;
	walk_print_fault(stderr, fault);
}

int
stat_main(const struct walk_dir *dir, bool json)
{
	struct sums sums = { 0 };
	struct walk_ops ops = {
		.record = sum_record, .fault = stat_fault, .ctx = &sums
	};
	struct walk_result result;
	int rc = walk_log(dir, 1, UINT64_MAX, &ops, &result);

	if (rc == 0 && sums.out_of_memory)
		rc = -ENOMEM;
	if (rc != 0)
		walk_print_error(&result, rc);
	else if (json)
		sums_json(&sums, &result);
	else
		sums_print(&sums, &result);
	free(sums.run);
	return walk_exit(&result, rc);
}

static bool
verify_record(void *ctx, const struct segment_entry *e, uint32_t offset,
    const struct record *rec)
{
	(void)ctx;
	(void)e;
	(void)offset;
	(void)rec;
	return true;
}

static void
verify_fault(void *ctx, const struct log_fault *fault)
{
	walk_print_fault(ctx, fault);
}

/*
 * A running node moves on between our looks at checkpoint, index and log, so
 * damage counts only if nothing has moved meanwhile, and the checkpoint could
 * be read. -EBUSY: it was written each time.
 */
static int
verify_settled(const struct walk_dir *dir, FILE *faults, struct walk_result *r)
{
	struct walk_ops ops = {
		.record = verify_record, .fault = verify_fault, .ctx = faults
	};
	struct log_known before = { 0 };
	unsigned tries = 0;
	int rc;

	do {
		before = r->known;
		rewind(faults);
		rc = walk_log(dir, 1, UINT64_MAX, &ops, r);
	} while (rc == 0 && r->verdict == LOG_DAMAGED &&
		 ++tries < VERIFY_TRIES &&
		 (r->checkpoint_error == -EBUSY ||
		     memcmp(&before, &r->known, sizeof(before)) != 0));
	if (rc == 0 && r->verdict == LOG_DAMAGED &&
	    r->checkpoint_error == -EBUSY)
		rc = -EBUSY;
	return rc;
}

static int
verify_outrun(void)
{
	fputs("nodelifewal: the checkpoint is written each time that it is "
	      "read, and without it the log cannot be judged: try again\n",
	    stderr);
	return EX_IOERR;
}

int
verify_main(const struct walk_dir *dir)
{
	struct walk_result r = { 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *faults = open_memstream(&text, &size);
	int rc = faults != NULL ? verify_settled(dir, faults, &r) : -ENOMEM;

	if (faults != NULL)
		fclose(faults);
	if (rc == -EBUSY) {
		free(text);
		return verify_outrun();
	}
	fwrite(text, 1, size, stdout);
	free(text);
	if (r.checkpoint_error != 0)
		fprintf(stderr,
		    "nodelifewal: the checkpoint cannot be read (%s): the log "
		    "is judged without it\n",
		    strerror(-r.checkpoint_error));
	if (rc != 0) {
		walk_print_error(&r, rc);
		return walk_exit(&r, rc);
	}
	printf("%s: VLSNs %" PRIu64 " to %" PRIu64 " in %" PRIu32
	       " segments, end wal/%08" PRIx32 ".seg offset %" PRIu32
	       ", durable %" PRIu64 ", committed %" PRIu64 "\n",
	    log_verdict_name(r.verdict), r.first, r.last, r.segments,
	    r.end_segment, r.end_offset, r.durable, r.committed);
	return walk_exit(&r, 0);
}
