/*
 * Following a log from its oldest segment to its end, and judging the end: a
 * record that does not chain is damage if it, or anything behind it, had been
 * durable; else it is a torn tail, which recovery cuts.
 */
#include "tools/nodelifewal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define WALK_CHUNK (1u << 20)
/* A running node appends while we read: look again so often at the end. */
#define WALK_TRIES 3

struct walk {
	int dir;
	const struct walk_ops *ops;
	struct walk_result *out;
	struct segment_list list;
	bool ended; /* the command has seen enough */
};

const char *
verdict_name(enum verdict verdict)
{
	switch (verdict) {
	case LOG_GOOD:
		return "good";
	case LOG_TORN:
		return "torn tail";
	case LOG_DAMAGED:
		return "damaged";
	}
	return "verdict?";
}

void
walk_print_fault(FILE *out, const struct walk_fault *f)
{
	char name[SEGMENT_NAME_MAX];

	segment_name(name, f->segment);
	fprintf(out,
	    "%s: wal/%s offset %" PRIu32 ": %s (good up to VLSN %" PRIu64
	    ", known durable %" PRIu64 ", committed %" PRIu64 ")\n",
	    verdict_name(f->verdict), name, f->offset, f->what, f->vlsn,
	    f->durable, f->committed);
}

void
walk_print_error(int error)
{
	fprintf(stderr, "nodelifewal: %s\n",
	    error == -ENOENT ? "there are no segment files" : strerror(-error));
}

int
walk_exit(int error)
{
	return error == -ENOENT ? EX_NOINPUT : EX_IOERR;
}

int
walk_open_dir(const char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int dir = open(path, flags), wal;

	if (dir < 0)
		return -errno;
	wal = openat(dir, "wal", flags);
	if (wal < 0)
		return dir;
	close(dir);
	return wal;
}

static void
walk_fault(struct walk *w, struct walk_fault f)
{
	w->out->faults++;
	if (f.verdict > w->out->verdict)
		w->out->verdict = f.verdict;
	if (w->ops->fault != NULL)
		w->ops->fault(w->ops->ctx, &f);
}

static struct walk_fault
fault_at(const struct walk *w, const struct segment_reader *r,
    enum verdict verdict, const char *what)
{
	struct walk_fault f = { .verdict = verdict,
		.segment = r->info.number,
		.offset = r->scan.offset,
		.what = what,
		.vlsn = r->scan.vlsn,
		.durable = w->out->durable,
		.committed = w->out->committed };

	return f;
}

static void
raise_known(struct walk_result *out, uint64_t durable, uint64_t committed)
{
	if (durable > out->durable)
		out->durable = durable;
	if (committed > out->committed)
		out->committed = committed;
}

/*
 * The chain of the open segment has ended at r->scan: a clean end, a torn
 * tail, or damage, by the rule of recovery: heads behind the place tell what
 * was durable, the head before it how far its flush reaches. Spends r.
 */
static int
judge_end(struct walk *w, struct segment_reader *r, struct walk_fault *f)
{
	struct segment_reader at = *r;
	struct segment_batch seen = { 0 };
	uint64_t durable;
	int rc = segment_reader_look(r, &seen);

	if (rc != 0)
		return rc;
	durable =
	    seen.durable > w->out->durable ? seen.durable : w->out->durable;
	if (durable > at.scan.vlsn)
		*f = fault_at(w, &at, LOG_DAMAGED,
		    "records that were durable do not chain");
	else if (at.scan.offset < at.scan.batch_end)
		*f = fault_at(w, &at, LOG_TORN, "the last flush is torn");
	else if (seen.segment != 0)
		*f = fault_at(
		    w, &at, LOG_TORN, "a flush is missing before others");
	else
		f->verdict = LOG_GOOD;
	if (seen.durable > f->durable)
		f->durable = seen.durable;
	if (seen.committed > f->committed)
		f->committed = seen.committed;
	return 0;
}

/* Is there a whole segment of that number now? Running nodes change that. */
static bool
segment_there(const struct walk *w, uint32_t number)
{
	struct segment_reader r;

	if (segment_reader_open(&r, w->dir, number, SEGMENT_BLOCK_MAX, true) !=
	    0)
		return false;
	segment_reader_close(&r);
	return true;
}

/* Does a closed segment end in what its successor says it ends in? */
static void
judge_closed(struct walk *w, const struct segment_reader *r,
    const struct segment_entry *e)
{
	uint32_t i = segment_list_next(&w->list, (uint32_t)(e - w->list.entry));
	const struct segment_info *next;

	/* Recycled while it was read: it is none of the log any more. */
	if (!segment_there(w, e->number))
		return;
	if (r->scan.offset < e->end) {
		walk_fault(w, fault_at(w, r, LOG_DAMAGED,
				  "the chain breaks in a closed segment"));
		return;
	}
	if (i == UINT32_MAX)
		return;
	next = &w->list.entry[i].info;
	if (r->scan.offset != next->prev_end ||
	    r->scan.seed != next->prev_crc ||
	    r->scan.vlsn + 1 != next->first_vlsn ||
	    r->scan.term != next->term_before)
		walk_fault(w, fault_at(w, r, LOG_DAMAGED,
				  "the next segment does not continue it"));
}

/* Records of one segment until its chain ends. 0, -ENODATA at the end. */
static int
walk_records(
    struct walk *w, struct segment_reader *r, const struct segment_entry *e)
{
	struct walk_result *out = w->out;
	struct record rec;
	uint32_t offset;
	int rc = 0;

	while (!w->ended) {
		rc = segment_reader_next(r, &rec, &offset);
		if (rc != 0)
			break;
		raise_known(out, r->scan.durable, r->scan.committed);
		if (rec.vlsn != 0) {
			out->last = rec.vlsn;
			if (out->first == 0)
				out->first = rec.vlsn;
		}
		out->end_segment = e->number;
		out->end_offset = r->scan.offset;
		w->ended = !w->ops->record(w->ops->ctx, e, offset, &rec);
	}
	return rc;
}

/* The header as a record of its own: the reader starts behind it. */
static int
walk_header(struct walk *w, const struct segment_entry *e)
{
	uint8_t *block = malloc(e->info.block);
	struct segment_info info = e->info;
	struct record rec;
	int rc = -ENOMEM;

	if (block != NULL) {
		segment_encode(block, &info);
		rc = record_decode(block, info.block, &rec);
	}
	if (rc == 0)
		w->ended = !w->ops->record(w->ops->ctx, e, 0, &rec);
	free(block);
	return rc;
}

/*
 * Records up to the end of the open segment, and what that end is. A running
 * node writes there while we read, so what looks bad is read again.
 */
static int
walk_open_end(
    struct walk *w, struct segment_reader *r, const struct segment_entry *e)
{
	struct walk_fault f = { .verdict = LOG_GOOD };
	struct segment_scan end;
	uint32_t before = 0;
	unsigned tries = 0;
	int rc;

	for (;;) {
		rc = walk_records(w, r, e);
		if (rc != -ENODATA || w->ended)
			return rc;
		end = r->scan;
		rc = judge_end(w, r, &f);
		if (rc != 0 || f.verdict == LOG_GOOD)
			return rc;
		tries = end.offset == before ? tries + 1 : 0;
		if (tries == WALK_TRIES)
			break;
		before = end.offset;
		r->scan = end;
		segment_reader_refresh(r);
	}
	raise_known(w->out, f.durable, f.committed);
	walk_fault(w, f);
	return 0;
}

static int
walk_segment(struct walk *w, const struct segment_entry *e)
{
	struct segment_reader r;
	int rc;

	rc = segment_reader_open(&r, w->dir, e->number, WALK_CHUNK, true);
	/* It was whole when listed: a running node took it away. */
	if (rc == -ENOENT || rc == -ENODATA || rc == -EBADMSG)
		return 0;
	if (rc != 0)
		return rc;
	r.limit = e->end;
	w->out->end_segment = e->number;
	w->out->end_offset = r.scan.offset;
	rc = walk_header(w, e);
	if (rc == 0 && !w->ended && e->end == 0)
		rc = walk_open_end(w, &r, e);
	else if (rc == 0 && !w->ended)
		rc = walk_records(w, &r, e);
	if (rc == -ENODATA && e->end != 0 && !w->ended)
		judge_closed(w, &r, e);
	segment_reader_close(&r);
	return rc == -ENODATA ? 0 : rc;
}

/*
 * A file above the newest good header: a spare one, or begun when the node
 * died, unless flushes are in it, which only follow a flushed header.
 */
static int
judge_header(struct walk *w, const struct segment_entry *e)
{
	struct walk_fault f = { .verdict = LOG_TORN,
		.segment = e->number,
		.what = "a segment's header is torn",
		.vlsn = w->out->last };
	struct segment_batch seen = { 0 };
	int rc = segment_file_look(w->dir, e->number, true, &seen);

	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	if (seen.segment != 0) {
		f.verdict = LOG_DAMAGED;
		f.what = "a segment's header is damaged";
	}
	f.durable = w->out->durable;
	f.committed = w->out->committed;
	if (seen.durable > f.durable)
		f.durable = seen.durable;
	if ((e->state == SEGMENT_BAD || seen.segment != 0) &&
	    !segment_there(w, e->number))
		walk_fault(w, f);
	return 0;
}

/* Files that are not in the chain: leftovers, or the reason why it is short. */
static int
walk_others(struct walk *w)
{
	uint32_t newest = w->list.newest == UINT32_MAX
			      ? 0
			      : w->list.entry[w->list.newest].number;
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < w->list.count; i++) {
		const struct segment_entry *e = &w->list.entry[i];
		struct walk_fault f = { .verdict = LOG_DAMAGED,
			.segment = e->number,
			.what = "the log's oldest segment continues it, but it "
				"is not whole" };

		if (e->in_chain)
			continue;
		w->out->others++;
		if (e->number == w->list.missing && e->state != SEGMENT_UNBEGUN)
			walk_fault(w, f);
		else if (e->number > newest)
			rc = judge_header(w, e);
	}
	return rc;
}

/* Does the segment hold VLSNs between from and to? */
static bool
segment_wanted(const struct walk *w, uint32_t i, uint64_t from, uint64_t to)
{
	uint32_t next = segment_list_next(&w->list, i);

	if (w->list.entry[i].info.first_vlsn > to)
		return false;
	return next == UINT32_MAX || w->list.entry[next].info.first_vlsn > from;
}

static int
walk_chain(struct walk *w, uint64_t from, uint64_t to)
{
	uint32_t i = w->list.oldest;
	int rc = 0;

	for (; rc == 0 && i != UINT32_MAX && !w->ended;
	     i = segment_list_next(&w->list, i)) {
		const struct segment_entry *e = &w->list.entry[i];

		w->out->segments++;
		if (!segment_wanted(w, i, from, to))
			continue;
		if (w->ops->segment != NULL)
			w->ended = !w->ops->segment(w->ops->ctx, e);
		if (!w->ended)
			rc = walk_segment(w, e);
	}
	return rc;
}

int
walk_log(int wal_dir, uint64_t from, uint64_t to, const struct walk_ops *ops,
    struct walk_result *out)
{
	struct walk w = { .dir = wal_dir, .ops = ops, .out = out };
	unsigned tries = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	/* A running node may take a file away between listing and reading. */
	do
		rc = segment_list_load(&w.list, wal_dir, true);
	while (rc == -ENOENT && ++tries < WALK_TRIES);
	if (rc == 0 && w.list.count == 0)
		rc = -ENOENT;
	if (rc != 0)
		return rc;
	if (w.list.newest != UINT32_MAX) {
		const struct segment_info *info =
		    &w.list.entry[w.list.newest].info;

		memcpy(out->uuid, info->uuid, sizeof(out->uuid));
		out->generation = info->generation;
	}
	rc = walk_chain(&w, from, to);
	if (rc == 0 && !w.ended)
		rc = walk_others(&w);
	segment_list_free(&w.list);
	return rc;
}
