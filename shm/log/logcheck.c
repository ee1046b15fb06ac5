/*
 * Judging a log; see logcheck.h. The order is the log's: what is missing at
 * its beginning, each segment's chain and its end, then files behind the
 * newest good header.
 */
#include "shm/log/logcheck.h"

#include <errno.h>
#include <stdio.h>

#include "shm/log/log_judge.h"
#include "shm/position.h"

#define CHECK_CHUNK (1u << 20)
/* A running node appends while we read: look again so often at the end. */
#define LIVING_TRIES 3

const char *
log_verdict_name(enum log_verdict verdict)
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

const char *
log_witness_name(enum log_witness witness)
{
	switch (witness) {
	case WITNESS_HEAD:
		return "the log";
	case WITNESS_HINT:
		return "wal/hint";
	case WITNESS_CHECKPOINT:
		return "the checkpoint";
	case WITNESS_INDEX:
		return "the VLSN index";
	case WITNESS_LIFE:
		return "the life before";
	}
	return "witness?";
}

uint64_t
logcheck_base(const struct log_known *known)
{
	return known->checkpoint_read ? known->checkpoint : known->hint;
}

enum log_verdict
logcheck_verdict(const struct logcheck *c)
{
	if (c->missing.verdict == LOG_DAMAGED)
		return LOG_DAMAGED;
	return c->fault.verdict;
}

void
log_fault_good(const struct log_fault *f, char *out, size_t size)
{
	char good[64];

	if (f->vlsn < f->first)
		snprintf(good, sizeof(good), "in no record");
	else if (f->first > 1)
		snprintf(good, sizeof(good), "from record %ju to %ju",
		    (uintmax_t)f->first, (uintmax_t)f->vlsn);
	else
		snprintf(
		    good, sizeof(good), "up to record %ju", (uintmax_t)f->vlsn);
	snprintf(out, size, "good %s, %ju were durable by %s", good,
	    (uintmax_t)f->durable, log_witness_name(f->witness));
}

const struct log_fault *
logcheck_first(const struct logcheck *c)
{
	return c->missing.verdict == LOG_DAMAGED ? &c->missing : &c->fault;
}

static void
witness(struct logcheck *c, uint64_t durable, enum log_witness who)
{
	if (durable <= c->durable)
		return;
	c->durable = durable;
	c->witness = who;
}

static void
witness_heads(struct logcheck *c, uint64_t durable, uint64_t committed)
{
	witness(c, durable, WITNESS_HEAD);
	if (committed > c->committed)
		c->committed = committed;
}

static int
failed_at(struct logcheck *c, int rc, uint32_t number, uint32_t offset,
    const char *call)
{
	c->error_number = number;
	c->error_offset = offset;
	c->error_call = call;
	return rc;
}

/* Found: told, and kept if it is the first that counts. */
static void
fault_found(struct logcheck *c, struct log_fault *keep,
    enum log_verdict verdict, uint32_t segment, uint32_t offset,
    const char *what)
{
	struct log_fault f = { .verdict = verdict,
		.segment = segment,
		.offset = offset,
		.what = what,
		.first = c->first,
		.vlsn = c->vlsn,
		.durable = c->durable,
		.committed = c->committed,
		.witness = c->witness };

	f.unneeded = keep == NULL;
	if (keep != NULL && keep->verdict < verdict)
		*keep = f;
	if (c->ops->fault != NULL)
		c->ops->fault(c->ops->ctx, &f);
}

/*
 * Of a segment that holds nothing that was durable before a flush failed, the
 * header may be in a cache only, too: the log goes on from the one before it.
 */
static void
drop_failed(struct logcheck *c)
{
	struct segment_list *l = &c->list;
	struct segment_entry *e;

	while (c->known.failed != 0 && l->newest != UINT32_MAX &&
	       (e = &l->entry[l->newest])->info.first_vlsn >= c->known.failed) {
		e->state = SEGMENT_BAD;
		e->dropped = true;
		segment_list_resolve(l);
	}
}

/* ---- headers ---- */

/*
 * Is there a whole segment of that number now? Where a node is running, files
 * come and go.
 */
static bool
there_now(const struct logcheck *c, uint32_t number)
{
	struct segment_reader r;

	if (!c->living)
		return false;
	if (segment_reader_open(
		&r, c->wal_dir, number, SEGMENT_BLOCK_MAX, true) != 0)
		return false;
	segment_reader_close(&r);
	return true;
}

/* A file whose header cannot be read at all. 0: as good as damaged. */
static int
unreadable(struct logcheck *c, const struct segment_entry *e)
{
	if (!e->unreadable || c->unreadable_is_damage)
		return 0;
	return failed_at(c, -EIO, e->number, 0, "read");
}

/* A whole header of a newer release's format, anywhere: 0 if there is none. */
static int
check_newer(struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	uint32_t i;

	for (i = 0; i < l->count; i++)
		if (l->entry[i].newer)
			return failed_at(
			    c, -EPROTONOSUPPORT, l->entry[i].number, 0, "read");
	return 0;
}

/*
 * A file behind the newest good header: a header is durable before any record
 * is written, so a head of that segment means that its header was there.
 */
static int
check_header(struct logcheck *c, const struct segment_entry *e)
{
	struct segment_batch seen = { 0 };
	int rc = unreadable(c, e);

	if (rc != 0 || e->dropped)
		return rc;
	rc = segment_file_look(c->wal_dir, e->number, true, &seen);
	if (rc == -ENOENT && c->living)
		return 0;
	if (rc == -EIO && c->unreadable_is_damage) {
		fault_found(
		    c, &c->fault, LOG_DAMAGED, e->number, 0, "cannot be read");
		return 0;
	}
	if (rc != 0)
		return failed_at(c, rc, e->number, 0, "read");
	if (seen.segment == 0 && e->state != SEGMENT_BAD)
		return 0;
	if (there_now(c, e->number))
		return 0;
	witness_heads(c, seen.durable, seen.committed);
	if (seen.segment != 0)
		fault_found(c, &c->fault, LOG_DAMAGED, e->number, 0,
		    "its header is damaged");
	else
		fault_found(
		    c, &c->fault, LOG_TORN, e->number, 0, "its header is torn");
	return 0;
}

static int
check_headers(struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	uint32_t i = l->newest == UINT32_MAX ? 0 : l->newest + 1;
	int rc = 0;

	for (; rc == 0 && i < l->count; i++)
		rc = check_header(c, &l->entry[i]);
	return rc;
}

/* Is there one of them that was a segment, by its heads? */
static bool
header_lost(const struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	uint32_t i = l->newest == UINT32_MAX ? 0 : l->newest + 1;

	for (; i < l->count; i++) {
		struct segment_batch seen = { 0 };

		if (!l->entry[i].dropped &&
		    (l->entry[i].unreadable ||
			(segment_file_look(c->wal_dir, l->entry[i].number, true,
			     &seen) == 0 &&
			    seen.segment != 0)))
			return true;
	}
	return false;
}

/* ---- the beginning ---- */

static const struct segment_entry *
entry_of(const struct segment_list *l, uint32_t number)
{
	uint32_t i;

	for (i = 0; i < l->count; i++)
		if (l->entry[i].number == number)
			return &l->entry[i];
	return NULL;
}

/*
 * Without a checkpoint's word, the hint may be behind what retention went by.
 * That takes the oldest, and takes it by name: a file that is still there was
 * not taken. Is it so of what entry i continues?
 */
static bool
taken_by_retention(const struct segment_list *l, uint32_t i)
{
	uint32_t number = l->entry[i].info.prev_number, k;

	for (k = 0; k < i; k++)
		if (l->entry[k].number == number ||
		    (l->entry[k].state == SEGMENT_VALID &&
			l->entry[k].number < number))
			return false;
	return true;
}

/* Is what lies between c->vlsn and entry i needed? */
static bool
gap_needed(const struct logcheck *c, uint32_t i)
{
	const struct segment_info *info = &c->list.entry[i].info;

	if (c->vlsn + 1 >= info->first_vlsn)
		return false;
	if (c->known.checkpoint_read)
		return true;
	return info->prev_number != 0 &&
	       (c->known.hint != 0 || !taken_by_retention(&c->list, i));
}

/* Behind a gap what is good begins anew. */
static void
good_from(struct logcheck *c, uint32_t i)
{
	uint64_t first = c->list.entry[i].info.first_vlsn;

	if (c->vlsn + 1 >= first)
		return;
	c->first = first;
	c->vlsn = first - 1;
}

static const char *
end_wrong(uint32_t end, const struct segment_info *next)
{
	return end < next->prev_end ? "the chain breaks in a closed segment"
				    : "the next segment does not continue it";
}

/* What entry i continues is not there, or not all; end: of the one before. */
static int
gap_found(struct logcheck *c, uint32_t i, const struct segment_scan *end)
{
	const struct segment_list *l = &c->list;
	const struct segment_info *info = &l->entry[i].info;
	const struct segment_entry *e;
	uint32_t number, offset = 0;
	bool store = false;
	const char *what;

	number = info->prev_number != 0 ? info->prev_number : info->number;
	e = entry_of(l, number);
	if (e == NULL && c->known.store_gone && taken_by_retention(l, i)) {
		what = "it is missing, and so is " LOG_STORE_FILE;
		store = c->missing.verdict != LOG_DAMAGED;
	} else if (e == NULL)
		what = "it is missing";
	else if (info->prev_number == 0)
		what = "the log begins behind the checkpoint";
	else if (e->state != SEGMENT_VALID) {
		int rc = unreadable(c, e);

		if (rc != 0)
			return rc;
		what = "its header is damaged";
	} else if (e->file_size < info->prev_end) {
		what = "it is cut short";
		offset = (uint32_t)e->file_size;
	} else {
		what = end_wrong(end->offset, info);
		offset = end->offset;
	}
	fault_found(c, &c->missing, LOG_DAMAGED, number, offset, what);
	c->missing.store |= store;
	return 0;
}

/* It was whole when listed: has a running node taken it away? */
static bool
taken_away(const struct logcheck *c, int rc)
{
	return c->living && (rc == -ENOENT || rc == -ENODATA || rc == -EBADMSG);
}

/*
 * A segment that is of no more use is read for what it tells: a chain within
 * one holds without those before it. *end: where that stops.
 */
static int
count_segment(
    struct logcheck *c, const struct segment_entry *e, struct segment_scan *end)
{
	struct segment_reader r;
	struct record record;
	int rc =
	    segment_reader_open(&r, c->wal_dir, e->number, CHECK_CHUNK, true);

	segment_scan_begin(end, &e->info);
	if (rc == 0) {
		r.limit = e->end;
		while ((rc = segment_reader_next(&r, &record, NULL)) == 0)
			;
		*end = r.scan;
		segment_reader_close(&r);
	}
	witness_heads(c, end->durable, end->committed);
	if (rc == -ENODATA || rc == -EIO || taken_away(c, rc))
		return 0;
	return failed_at(c, rc, e->number, end->offset, "read");
}

/*
 * Is what the oldest segment continues needed? Then those before it tell what
 * is good, and what else of them is missing.
 */
static int
check_missing(struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	struct segment_scan end = { 0 };
	bool needed;
	uint32_t i;
	int rc = 0;

	c->vlsn = logcheck_base(&c->known);
	needed = gap_needed(c, l->oldest);
	for (i = 0; needed && l->missing != 0 && i < l->oldest; i++) {
		if (l->entry[i].state != SEGMENT_VALID)
			continue;
		if (gap_needed(c, i) && (rc = gap_found(c, i, &end)) != 0)
			return rc;
		good_from(c, i);
		if ((rc = count_segment(c, &l->entry[i], &end)) != 0)
			return rc;
		if (end.vlsn > c->vlsn)
			c->vlsn = end.vlsn;
	}
	if (needed)
		rc = gap_found(c, l->oldest, &end);
	good_from(c, l->oldest);
	return rc;
}

/* ---- the chain ---- */

static void
take_end(struct logcheck *c, uint32_t i, const struct segment_reader *r)
{
	c->vlsn = r->scan.vlsn;
	c->term = r->scan.term;
	c->time_ms = r->scan.time_ms;
	c->tail_entry = i;
	c->tail_number = c->list.entry[i].number;
	c->tail_end = r->scan.offset;
	c->tail_crc = r->scan.seed;
	witness_heads(c, r->scan.durable, r->scan.committed);
}

/*
 * Follow one segment's chain to where it stops. Where a flush had failed it
 * stops behind the last record that was durable before: the head of the flush
 * that failed, and what else has no VLSN, may be in a cache only.
 */
static int
follow(struct logcheck *c, uint32_t i, struct segment_reader *r)
{
	const struct segment_entry *e = &c->list.entry[i];
	bool last = segment_list_next(&c->list, i) == UINT32_MAX;
	uint64_t failed =
	    last && c->known.failed != 0 ? c->known.failed : UINT64_MAX;
	struct segment_scan before = r->scan;
	struct record record;
	uint32_t offset;
	int rc;

	while ((rc = segment_reader_next(r, &record, &offset)) == 0) {
		if (record.vlsn >= failed) {
			r->scan = before;
			c->dropped = true;
			return 0;
		}
		if (record.vlsn != 0)
			before = r->scan;
		if (c->ops->record != NULL &&
		    (rc = c->ops->record(c->ops->ctx, e, offset, &record)) != 0)
			return rc;
	}
	if (rc != -ENODATA)
		return failed_at(c, rc, e->number, r->scan.offset, "read");
	if (r->scan.vlsn + 1 == failed) {
		r->scan = before;
		c->dropped = true;
	}
	return 0;
}

/* Does a closed segment end in what its successor says it ends in? */
static void
judge_closed(
    struct logcheck *c, uint32_t i, uint32_t next, struct log_fault *keep)
{
	const struct segment_info *n = &c->list.entry[next].info;
	struct judge_in in = { .successor = true };

	in.end_agrees =
	    c->tail_end == n->prev_end && c->tail_crc == n->prev_crc &&
	    c->vlsn + 1 == n->first_vlsn && c->term == n->term_before;
	if (log_judge(&in) == JUDGE_CLEAN)
		return;
	/* Recycled while it was read: it is none of the log any more. */
	if (c->living && !there_now(c, c->list.entry[i].number))
		return;
	fault_found(c, keep, LOG_DAMAGED, c->tail_number, c->tail_end,
	    end_wrong(c->tail_end, n));
}

/* Has a boot gone on behind the log's end, by what it left of this file? */
static bool
end_trimmed(const struct logcheck *c)
{
	return c->list.entry[c->tail_entry].file_size ==
	       segment_trimmed_size(c->tail_end);
}

/* What was durable is not behind the log's end: whose fault? */
static void
end_damaged(struct logcheck *c, bool inside, bool trimmed)
{
	uint32_t segment = c->known.indexed_segment;

	/* That file is named by itself. */
	if (!inside && header_lost(c))
		return;
	if (!inside && c->known.indexed > c->vlsn && segment > c->tail_number)
		fault_found(
		    c, &c->fault, LOG_DAMAGED, segment, 0, "it is missing");
	else if (trimmed) {
		c->rest = true;
		/* All of this had been durable when that one was begun. */
		witness_heads(c, c->vlsn, 0);
		fault_found(c, &c->fault, LOG_DAMAGED, c->tail_number,
		    c->tail_end, "the segment that continues it is missing");
	} else
		fault_found(c, &c->fault, LOG_DAMAGED, c->tail_number,
		    c->tail_end, "records that were durable are not there");
}

/*
 * The chain of the newest segment has ended. *again: what looks bad may be a
 * running node's flush. Spends r.
 */
static int
judge_open(struct logcheck *c, struct segment_reader *r, bool *again)
{
	struct judge_in in = { .vlsn = c->vlsn,
		.inside = segment_reader_unfinished(r) };
	struct segment_batch seen = { 0 };
	enum judge_verdict verdict;
	int rc = segment_reader_look(r, &seen);
	bool inside;

	if (rc != 0)
		return failed_at(c, rc, c->tail_number, c->tail_end, "read");
	witness_heads(c, seen.durable, seen.committed);
	in.durable = c->durable;
	in.cut = c->list.entry[c->tail_entry].file_size <
		 c->list.entry[c->tail_entry].info.size;
	in.behind = seen.segment != 0;
	verdict = log_judge(&in);
	*again = *again && verdict != JUDGE_CLEAN;
	if (*again || verdict == JUDGE_CLEAN)
		return 0;
	inside = in.inside || in.behind;
	if (in.cut && (inside || !end_trimmed(c)))
		fault_found(c, &c->fault, LOG_DAMAGED, c->tail_number,
		    c->tail_end, "the file is cut short");
	else if (verdict == JUDGE_DAMAGED)
		end_damaged(c, inside, in.cut);
	else
		fault_found(c, &c->fault, LOG_TORN, c->tail_number, c->tail_end,
		    in.inside ? "the last flush is torn"
			      : "a flush is missing before others");
	return 0;
}

/* The newest segment, where a node may be writing: looked at again. */
static int
follow_open(struct logcheck *c, uint32_t i, struct segment_reader *r)
{
	unsigned tries = 0;
	uint32_t before = 0;
	bool again;
	int rc;

	do {
		struct segment_scan end;

		rc = follow(c, i, r);
		take_end(c, i, r);
		if (rc != 0 || c->dropped)
			break;
		end = r->scan;
		tries = end.offset == before ? tries + 1 : 0;
		before = end.offset;
		again = c->living && tries < LIVING_TRIES;
		rc = judge_open(c, r, &again);
		r->scan = end;
		if (again && rc == 0)
			segment_reader_refresh(r);
	} while (rc == 0 && again);
	if (rc == 0 && c->dropped)
		fault_found(c, &c->fault, LOG_TORN, c->tail_number, c->tail_end,
		    "what follows was never flushed");
	return rc;
}

static int
source_open(
    struct logcheck *c, const struct segment_entry *e, struct segment_reader *r)
{
	struct segment_source source;
	int rc;

	if (c->ops->open == NULL)
		return segment_reader_open(
		    r, c->wal_dir, e->number, CHECK_CHUNK, true);
	rc = c->ops->open(c->ops->ctx, e, &source);
	if (rc == 0)
		segment_reader_use(r, &e->info, &source);
	return rc;
}

static int
check_segment(struct logcheck *c, uint32_t i, bool needed)
{
	const struct segment_entry *e = &c->list.entry[i];
	uint32_t next = segment_list_next(&c->list, i);
	struct log_fault *keep = needed ? &c->fault : NULL;
	struct segment_reader r;
	int rc = source_open(c, e, &r);

	if (taken_away(c, rc))
		return 0;
	if (rc != 0)
		return failed_at(c, rc, e->number, 0, "open");
	r.limit = e->end;
	c->tail_number = e->number;
	if (next == UINT32_MAX)
		rc = follow_open(c, i, &r);
	else {
		rc = follow(c, i, &r);
		take_end(c, i, &r);
	}
	c->bytes += c->tail_end;
	if (c->ops->close != NULL)
		c->ops->close(c->ops->ctx);
	segment_reader_close(&r);
	if (rc == -EIO && (!needed || c->unreadable_is_damage)) {
		fault_found(c, keep, LOG_DAMAGED, c->tail_number, c->tail_end,
		    "cannot be read");
		rc = 0;
	} else if (rc == 0 && next != UINT32_MAX)
		judge_closed(c, i, next, keep);
	return rc;
}

static enum logcheck_want
segment_want(struct logcheck *c, uint32_t i)
{
	uint32_t next = segment_list_next(&c->list, i);

	if (c->ops->segment == NULL)
		return LOGCHECK_READ;
	return c->ops->segment(c->ops->ctx, &c->list.entry[i],
	    next == UINT32_MAX ? 0 : c->list.entry[next].info.first_vlsn);
}

/* Behind damage nothing is good, but what is there is counted. */
static int
count_behind(struct logcheck *c, uint32_t i)
{
	struct segment_scan end;
	int rc = 0;

	for (; rc == 0 && i != UINT32_MAX; i = segment_list_next(&c->list, i)) {
		rc = count_segment(c, &c->list.entry[i], &end);
		c->behind = end.vlsn;
	}
	return rc;
}

static int
check_chain(struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	uint32_t i = c->all ? l->oldest : c->start;
	enum logcheck_want want;
	int rc = 0;

	for (; rc == 0 && i != UINT32_MAX; i = segment_list_next(l, i)) {
		if ((want = segment_want(c, i)) == LOGCHECK_END)
			return 1;
		if (want == LOGCHECK_SKIP)
			continue;
		c->vlsn = l->entry[i].info.first_vlsn - 1;
		if (c->fault.verdict == LOG_DAMAGED)
			c->first = c->vlsn + 1;
		rc = check_segment(c, i, i >= c->start);
		if (rc == 0 && c->fault.verdict == LOG_DAMAGED && !c->all)
			return count_behind(c, segment_list_next(l, i));
	}
	return rc;
}

static void
choose_start(struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	uint64_t base = logcheck_base(&c->known);
	uint32_t i;

	c->start = l->oldest;
	for (i = l->oldest; i != UINT32_MAX; i = segment_list_next(l, i))
		if (l->entry[i].info.first_vlsn <= base + 1)
			c->start = i;
}

/*
 * The only segment was dropped, and it had begun the log anew, behind what was
 * known then and is now: another one will again.
 */
static bool
begun_anew(const struct logcheck *c)
{
	const struct segment_list *l = &c->list;
	uint64_t base = logcheck_base(&c->known);
	uint32_t i;

	if (base < c->known.indexed)
		base = c->known.indexed;
	for (i = 0; i < l->count; i++)
		if (l->entry[i].dropped && l->entry[i].info.prev_number == 0 &&
		    l->entry[i].info.first_vlsn == base + 1)
			return c->durable == base;
	return false;
}

/* There is no good header at all; spares tell of nothing. */
static int
check_nothing(struct logcheck *c)
{
	uint32_t number = c->known.indexed_segment;
	int rc = check_headers(c);

	if (rc != 0 || c->fault.verdict == LOG_DAMAGED || c->durable == 0 ||
	    begun_anew(c))
		return rc;
	if (number == 0)
		number = c->list.count != 0
			     ? c->list.entry[c->list.count - 1].number
			     : 1;
	c->gone = true;
	fault_found(c, &c->fault, LOG_DAMAGED, number, 0,
	    "it is missing: no segment is left");
	return 0;
}

int
logcheck_run(struct logcheck *c)
{
	const struct log_known *k = &c->known;
	int rc;

	drop_failed(c);
	/* An index that is older than a cut knows of what that cut off. */
	c->known.indexed =
	    segment_list_uncut(&c->list, k->indexed, k->indexed_segment);
	c->first = 1;
	c->start = c->tail_entry = UINT32_MAX;
	if ((rc = check_newer(c)) != 0)
		return rc;
	witness(c, k->hint, WITNESS_HINT);
	witness(c, k->checkpoint, WITNESS_CHECKPOINT);
	witness(c, k->indexed, WITNESS_INDEX);
	if (k->failed != 0)
		witness(c, k->failed - 1, WITNESS_LIFE);
	if (c->list.newest == UINT32_MAX)
		return check_nothing(c);
	/* All before it had been durable when it was begun. */
	witness(
	    c, c->list.entry[c->list.newest].info.first_vlsn - 1, WITNESS_HEAD);
	choose_start(c);
	rc = check_missing(c);
	if (rc == 0)
		rc = check_chain(c);
	if (rc == 0 && (c->fault.verdict != LOG_DAMAGED || c->all))
		rc = check_headers(c);
	return rc;
}
