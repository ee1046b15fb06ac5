/*
 * Boot: what is in the log. Fence, headers, scan from the checkpoint's
 * segment on, judge the end, publish the positions. Nothing on disk is
 * changed here but the fence's holes; a new segment follows in
 * wal_segment_first(). In readonly mode nothing at all is changed.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/node_generation.h"
#include "shm/assert.h"
#include "shm/log.h"
#include "workers/wal/wal.h"
#include "workers/wal/wal_judge.h"

#define PROGRESS_STEP (8u * 1024 * 1024) /* bytes between two reports */

struct recovery {
	struct wal *w;
	struct segment_list list;
	uint64_t hint; /* checkpointed VLSN, 0 = not known */
	struct wal_proof proof; /* force: what else is known */
	struct node_file node;
	uint32_t start; /* entry where the full scan begins */
	struct segment_batch seen; /* highest durable, committed of any head */
	uint64_t records, bytes, total, reported;
	uint64_t failed; /* records from here on were never flushed, 0 = none */
	uint64_t member; /* VLSN of the newest membership record */
	uint64_t time_from; /* when the scan began */
	/* The end of what chains. */
	uint32_t tail_number, tail_end, tail_crc, tail_entry;
	uint32_t highest; /* number of any file, 0 = there is none */
	bool torn;
	bool dropped; /* the scan ended at a record that was never flushed */
	bool damage; /* why the scan failed: the log; else it is this boot */
	bool left; /* forced: older segments are no part of the log any more */
	uint64_t term_seen; /* the newest that anything tells of */
	char why[SEQ_ERROR_MAX];
	/* Why it failed, if that was a call: its errno; 0 = it was not. */
	int error;
	const char *call;
	char object[PATH_MAX]; /* in data_dir */
};

__attribute__((format(printf, 2, 3))) static int
refuse(struct recovery *rec, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rec->why, sizeof(rec->why), fmt, ap);
	va_end(ap);
	return -ECANCELED;
}

/* A call on what is at that name in data_dir failed; error is -errno. */
__attribute__((format(printf, 4, 5))) static int
refuse_call(
    struct recovery *rec, int error, const char *call, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rec->object, sizeof(rec->object), fmt, ap);
	va_end(ap);
	rec->call = call;
	rec->error = -error;
	return refuse(rec, "%s: %s: %s", rec->object, call, strerror(-error));
}

static int
damaged(
    struct recovery *rec, uint32_t number, uint32_t offset, const char *what)
{
	rec->damage = true;
	return refuse(rec,
	    "wal/%08x.seg offset %u: %s (the log holds %ju, %ju were durable); "
	    "restore this node, or boot with recovery_mode = force to drop "
	    "what follows",
	    number, offset, what, (uintmax_t)rec->w->vlsn,
	    (uintmax_t)rec->seen.durable);
}

static int
open_files(struct recovery *rec)
{
	struct wal *w = rec->w;
	const struct conf *conf = w->conf;
	char why[128], name[32];
	int rc;

	rc = node_file_read(w->w->data_dir, &rec->node, why, sizeof(why));
	if (rc != 0)
		return refuse(rec, "node file: %s", why);
	memcpy(w->uuid, rec->node.group_uuid, sizeof(w->uuid));
	w->generation = rec->node.generation;
	position_set(&w->r->pos->generation, w->generation);
	if (!w->w->readonly && mkdirat(w->w->data_dir, "wal", 0750) != 0 &&
	    errno != EEXIST)
		return refuse_call(rec, -errno, "mkdir", "wal");
	w->dir =
	    openat(w->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir < 0 && errno == ENOENT && w->w->readonly)
		return 0;
	if (w->dir < 0)
		return refuse_call(rec, -errno, "open", "wal");
	if (w->w->readonly)
		return 0;
	rc = wal_io_probe(&w->io, w->dir, conf->wal.io == CONF_WAL_IO_DIRECT,
	    conf->wal.io == CONF_WAL_IO_BUFFERED);
	if (rc == -EOPNOTSUPP)
		return refuse(rec,
		    "wal: direct I/O does not work on this file system; set "
		    "[wal] io = auto or buffered");
	if (rc != 0)
		return refuse_call(rec, rc, "write", "wal/" WAL_PROBE_NAME);
	rc = wal_fence(w->dir, name, sizeof(name));
	return rc == 0 ? 0 : refuse_call(rec, rc, "fence", "wal/%s", name);
}

/* Do the headers belong to this group? */
static int
check_owner(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint32_t i;

	for (i = 0; i < l->count; i++) {
		const struct segment_entry *e = &l->entry[i];

		if (e->state != SEGMENT_VALID)
			continue;
		if (memcmp(e->info.uuid, rec->w->uuid, 16) != 0)
			return refuse(rec,
			    "wal/%08x.seg belongs to another group; is this "
			    "the right data directory?",
			    e->number);
		if (e->info.generation > rec->w->generation)
			return refuse(rec,
			    "wal/%08x.seg is of generation %ju, the node file "
			    "of %ju",
			    e->number, (uintmax_t)e->info.generation,
			    (uintmax_t)rec->w->generation);
	}
	return 0;
}

/*
 * Files behind the newest good header: a header is durable before any record
 * is written, so a head of that segment means that its header was there.
 */
static int
check_unbegun(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint32_t i = l->newest == UINT32_MAX ? 0 : l->newest + 1;
	int rc;

	for (; i < l->count; i++) {
		struct segment_batch seen = { 0 };

		if (l->entry[i].dropped)
			continue;
		rc = segment_file_look(
		    rec->w->dir, l->entry[i].number, true, &seen);
		if (rc == -EIO)
			return damaged(
			    rec, l->entry[i].number, 0, strerror(-rc));
		if (rc != 0)
			return refuse_call(rec, rc, "read", "wal/%08x.seg",
			    l->entry[i].number);
		if (seen.segment == 0)
			continue;
		if (seen.durable > rec->seen.durable)
			rec->seen.durable = seen.durable;
		return damaged(rec, l->entry[i].number, 0, "damaged header");
	}
	return 0;
}

/* No header is good; a file with a head in it was a segment: it is named. */
static int
refuse_none_left(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	char damage[64] = "";
	uint32_t i;

	for (i = 0; i < l->count && damage[0] == '\0'; i++) {
		struct segment_batch seen = { 0 };

		if (segment_file_look(
			rec->w->dir, l->entry[i].number, true, &seen) == 0 &&
		    seen.segment != 0)
			snprintf(damage, sizeof(damage),
			    "/%08x.seg: damaged header,", l->entry[i].number);
	}
	return refuse(rec,
	    "wal%s no segment is left, there were records up to %ju at "
	    "least; restore this node, or boot with recovery_mode = "
	    "force to go on behind the checkpoint",
	    damage[0] != '\0' ? damage : ":", (uintmax_t)rec->hint);
}

/* Is what the oldest segment continues needed? */
static int
check_missing(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint64_t first;
	uint32_t i;

	if (l->newest == UINT32_MAX && rec->hint != 0)
		return refuse_none_left(rec);
	if (l->newest == UINT32_MAX || l->missing == 0)
		return 0;
	first = l->entry[l->oldest].info.first_vlsn;
	if (rec->hint != 0 && rec->hint + 1 >= first)
		return 0;
	/*
	 * The hint may be behind what retention went by. It takes the oldest,
	 * and takes it by name: a file that is still there was not taken. The
	 * store looks whether the first record that it needs is there.
	 */
	for (i = 0; i < l->oldest; i++)
		if (l->entry[i].number == l->missing ||
		    (l->entry[i].state == SEGMENT_VALID &&
			l->entry[i].number < l->missing))
			break;
	if (i == l->oldest)
		return 0;
	return refuse(rec,
	    "wal/%08x.seg is missing or damaged, and records before %ju are "
	    "needed; restore this node, or boot with recovery_mode = force to "
	    "go on without them",
	    l->missing, (uintmax_t)first);
}

static void
choose_start(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint32_t i;

	rec->start = l->oldest;
	rec->total = 0;
	for (i = l->oldest; i != UINT32_MAX; i = segment_list_next(l, i))
		if (l->entry[i].info.first_vlsn <= rec->hint + 1)
			rec->start = i;
	for (i = rec->start; i != UINT32_MAX; i = segment_list_next(l, i))
		rec->total += l->entry[i].end != 0 ? l->entry[i].end
						   : l->entry[i].file_size;
}

static void
report(struct recovery *rec, uint64_t bytes)
{
	struct wal *w = rec->w;
	char text[PROGRESS_MAX];

	loop_beat(&w->loop);
	snprintf(text, sizeof(text), "scanning wal/%08x.seg", rec->tail_number);
	seq_progress_set(
	    w->r->seq, SLOT_WAL, rec->records, 0, bytes, rec->total, text);
	rec->reported = bytes;
}

static void
take_record(struct recovery *rec, const struct record *r, uint32_t number,
    uint32_t offset, bool *sample)
{
	struct wal *w = rec->w;

	if (r->type == REC_BATCH) {
		/* A sample stands right behind a head. */
		*sample = !w->sampled ||
			  rec->bytes + offset - w->sample >= VMAP_STRIDE_BYTES;
		return;
	}
	if (r->vlsn == 0)
		return;
	if (*sample && wal_sample(w, r->vlsn, lsn_make(number, offset))) {
		w->sample = rec->bytes + offset;
		w->sampled = true;
	}
	*sample = false;
	rec->records++;
	if (r->type == REC_MEMBER)
		rec->member = r->vlsn;
}

/* Take over where a segment's chain stopped. */
static void
take_end(struct recovery *rec, uint32_t i, const struct segment_reader *r)
{
	struct wal *w = rec->w;

	w->vlsn = r->scan.vlsn;
	w->term = r->scan.term;
	w->time_ms = r->scan.time_ms;
	rec->tail_entry = i;
	rec->tail_end = r->scan.offset;
	rec->tail_crc = r->scan.seed;
	rec->bytes += r->scan.offset;
	if (r->scan.durable > rec->seen.durable)
		rec->seen.durable = r->scan.durable;
	if (r->scan.committed > rec->seen.committed)
		rec->seen.committed = r->scan.committed;
}

static enum judge_verdict
judge_end(struct recovery *rec, uint32_t i, struct segment_reader *r, int *rc)
{
	uint32_t next = segment_list_next(&rec->list, i);
	struct segment_batch seen = { 0 };
	struct judge_in in = { .vlsn = r->scan.vlsn };

	*rc = 0;
	if (next != UINT32_MAX) {
		const struct segment_info *n = &rec->list.entry[next].info;

		in.successor = true;
		in.end_agrees = r->scan.offset == n->prev_end &&
				r->scan.seed == n->prev_crc &&
				r->scan.vlsn + 1 == n->first_vlsn;
	} else {
		in.inside = segment_reader_unfinished(r);
		/* This spends the reader: its end was taken over before. */
		*rc = segment_reader_look(r, &seen);
		in.behind = seen.segment != 0;
		if (seen.durable > rec->seen.durable)
			rec->seen.durable = seen.durable;
	}
	in.durable = rec->seen.durable;
	return wal_judge(&in);
}

/*
 * Follow one segment's chain to where it stops. Where a flush had failed it
 * stops behind the last record that was durable before: the head of the flush
 * that failed, and what else has no VLSN, may be in a cache only.
 */
static int
follow_segment(struct recovery *rec, uint32_t i, struct segment_reader *r)
{
	struct segment_entry *e = &rec->list.entry[i];
	bool last = segment_list_next(&rec->list, i) == UINT32_MAX;
	uint64_t failed = last && rec->failed != 0 ? rec->failed : UINT64_MAX;
	struct segment_scan before = r->scan;
	struct record record;
	bool sample = false;
	uint32_t offset;
	int rc;

	rec->w->sampled = false;
	while ((rc = segment_reader_next(r, &record, &offset)) == 0) {
		if (record.vlsn >= failed) {
			r->scan = before;
			rec->dropped = true;
			return 0;
		}
		if (record.vlsn != 0)
			before = r->scan;
		take_record(rec, &record, e->number, offset, &sample);
		if (rec->bytes + offset - rec->reported < PROGRESS_STEP)
			continue;
		report(rec, rec->bytes + offset);
		if (loop_shutdown(&rec->w->loop) != SHUTDOWN_NONE)
			return refuse(rec, "stopped while scanning");
	}
	if (rc != -ENODATA)
		return rc;
	if (r->scan.vlsn + 1 == failed)
		r->scan = before;
	rec->dropped = r->scan.vlsn + 1 == failed;
	return 0;
}

static int
scan_segment(struct recovery *rec, uint32_t i)
{
	struct segment_entry *e = &rec->list.entry[i];
	enum judge_verdict verdict = JUDGE_DAMAGED;
	struct segment_source source;
	struct segment_reader r;
	struct wal_ahead *ahead;
	int rc, look = 0;

	rc = wal_ahead_open(&ahead, rec->w, e->number, e->info.block,
	    e->end != 0 ? e->end : e->file_size);
	if (rc != 0)
		return refuse_call(rec, rc, "open", "wal/%08x.seg", e->number);
	wal_ahead_source(ahead, &source);
	segment_reader_use(&r, &e->info, &source);
	r.limit = e->end;
	rec->tail_number = e->number;
	rc = follow_segment(rec, i, &r);
	take_end(rec, i, &r);
	if (rc == 0 && rec->dropped)
		verdict = JUDGE_TORN;
	else if (rc == 0)
		verdict = judge_end(rec, i, &r, &look);
	wal_ahead_close(ahead);
	if (rc == -ECANCELED)
		return rc;
	if (rc == 0)
		rc = look;
	if (rc == -EIO)
		return damaged(rec, e->number, rec->tail_end, strerror(-rc));
	if (rc != 0)
		return refuse_call(rec, rc, "read", "wal/%08x.seg", e->number);
	if (verdict == JUDGE_DAMAGED)
		return damaged(rec, e->number, rec->tail_end, "damaged");
	rec->torn = verdict == JUDGE_TORN;
	return 0;
}

/*
 * No record of the log counts: a new one begins behind the checkpoint, and
 * behind all that is known to have been durable.
 */
static void
begin_anew(struct recovery *rec)
{
	const struct wal_proof *proof = &rec->proof;
	struct wal *w = rec->w;

	if (w->vlsn < rec->hint)
		w->vlsn = rec->hint;
	if (w->vlsn < proof->indexed)
		w->vlsn = proof->indexed;
	rec->seen.committed = rec->seen.durable = w->vlsn;
	if (w->term < proof->term)
		w->term = proof->term;
	if (w->time_ms < proof->time_ms)
		w->time_ms = proof->time_ms;
	/* The index names segments by their numbers. */
	if (rec->highest < proof->segment && proof->segment < UINT32_MAX)
		rec->highest = proof->segment;
	if (w->vlsn == 0 || !w->w->force)
		return;
	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: a new log begins behind record %ju: the checkpoint holds "
	    "%ju, the index tells of %ju; all else is lost",
	    (uintmax_t)w->vlsn, (uintmax_t)proof->checkpoint,
	    (uintmax_t)proof->indexed);
}

static int
scan_all(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint32_t i;
	int rc = 0;

	if (l->newest == UINT32_MAX) {
		begin_anew(rec);
		return 0;
	}
	choose_start(rec);
	rec->w->vlsn = l->entry[rec->start].info.first_vlsn - 1;
	for (i = rec->start; rc == 0 && i != UINT32_MAX;
	     i = segment_list_next(l, i))
		rc = scan_segment(rec, i);
	wal_ahead_free();
	return rc;
}

/*
 * What the scan found is on the device, maybe in its cache only: it counts as
 * durable when this process has flushed it.
 */
static int
flush_tail(struct recovery *rec)
{
	char name[SEGMENT_NAME_MAX];
	int fd, rc;

	if (rec->tail_number == 0)
		return 0; /* nothing was found */
	segment_name(name, rec->tail_number);
	fd = openat(rec->w->dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return refuse_call(rec, -errno, "open", "wal/%s", name);
	rc = wal_file_sync(fd);
	close(fd);
	if (rc == 0)
		rc = wal_file_sync(rec->w->dir);
	return rc == 0 ? 0 : refuse_call(rec, rc, "fsync", "wal/%s", name);
}

static void
publish(struct recovery *rec)
{
	struct positions *pos = rec->w->r->pos;
	struct wal *w = rec->w;
	uint64_t committed = rec->seen.committed;

	if (committed > w->vlsn)
		committed = w->vlsn;
	position_set(&pos->appended, w->vlsn);
	position_set(&pos->durable, w->vlsn);
	position_set(&pos->committed, epoch_word(0, committed));
	position_set(&pos->first,
	    rec->list.newest == UINT32_MAX
		? w->vlsn + 1
		: rec->list.entry[rec->list.oldest].info.first_vlsn);
	position_set(&pos->member, rec->member);
	position_set(&pos->clock_ms, (uint64_t)w->time_ms);
	atomic_store_explicit(&w->r->walbuf.h->newest_lsn,
	    lsn_make(rec->tail_number, rec->tail_end), memory_order_release);
	w->durable = w->vlsn;
	w->head_durable = rec->seen.durable;
	w->boot_term = w->term > rec->term_seen ? w->term : rec->term_seen;
	position_set(&pos->term, w->boot_term);
	wal_count(w, C_WAL_REPLAYED, rec->records);
	wal_count(w, C_WAL_REPLAYED_BYTES, rec->bytes);
}

static void
say(struct recovery *rec)
{
	struct wal *w = rec->w;
	uint64_t us = (mono_ns() - rec->time_from) / 1000;

	rec->total = rec->bytes; /* the newest file was not all log */
	report(rec, rec->bytes);
	if (rec->torn) {
		wal_count(w, C_WAL_TORN, 1);
		event_add(w->r, SLOT_WAL, EVENT_WARN,
		    "wal/%08x.seg: torn at offset %u, cut behind record %ju",
		    rec->tail_number, rec->tail_end, (uintmax_t)w->vlsn);
	}
	if (rec->dropped)
		event_add(w->r, SLOT_WAL, EVENT_WARN,
		    "records behind %ju are dropped: their flush had failed",
		    (uintmax_t)w->vlsn);
	log_info("log: %ju records, %ju bytes scanned in %ju us, term %ju, "
		 "end at record %ju",
	    (uintmax_t)rec->records, (uintmax_t)rec->bytes, (uintmax_t)us,
	    (uintmax_t)w->term, (uintmax_t)w->vlsn);
}

/*
 * Force is about to skip something: what follows is of a new generation.
 * Before anything is moved or written, so that whoever finds less than there
 * was finds the new generation, too. Once a boot.
 */
static int
generation_raise(struct recovery *rec)
{
	struct wal *w = rec->w;
	int rc;

	if (position_get(&w->r->pos->raised) != 0)
		return 0;
	rc = node_generation_raise(w->w->data_dir, &rec->node);
	if (rc != 0)
		return refuse_call(rec, rc, "write", "node");
	w->generation = rec->node.generation;
	position_set(&w->r->pos->generation, w->generation);
	position_set(&w->r->pos->raised, 1);
	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: generation %ju of the group begins",
	    (uintmax_t)w->generation);
	return 0;
}

/*
 * What others will skip: the store what lies between its checkpoint and the
 * log, vlsn what its file knows behind the log's end.
 */
static bool
others_skip(const struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint64_t vlsn = rec->w->vlsn, first = vlsn + 1;

	if (l->newest != UINT32_MAX)
		first = l->entry[l->oldest].info.first_vlsn;
	return rec->proof.indexed > vlsn ||
	       (vlsn > rec->proof.checkpoint &&
		   first > rec->proof.checkpoint + 1);
}

/*
 * Force, and the checkpoint holds more than what is good of the log: nothing
 * of it is needed, a new one begins behind the checkpoint.
 */
static void
force_anew(struct recovery *rec)
{
	struct wal *w = rec->w;

	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: the log is good up to record %ju only, the checkpoint "
	    "holds %ju: all of the log is given up",
	    (uintmax_t)w->vlsn, (uintmax_t)rec->hint);
	begin_anew(rec);
	rec->tail_number = 0;
	rec->tail_entry = UINT32_MAX;
	rec->member = 0;
}

/* Force: give up what follows the damage, and say exactly what. */
static int
force_cut(struct recovery *rec)
{
	struct wal *w = rec->w;
	uint32_t i;

	event_add(w->r, SLOT_WAL, EVENT_ERROR, "forced: %s", rec->why);
	if (w->vlsn < rec->hint)
		force_anew(rec);
	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: the log ends at record %ju, the rest is in salvage/",
	    (uintmax_t)w->vlsn);
	for (i = 0; i < rec->list.count; i++)
		if ((rec->tail_entry == UINT32_MAX || i > rec->tail_entry) &&
		    rec->list.entry[i].in_chain)
			log_warnx("forced: wal/%08x.seg (records from %ju) is "
				  "dropped",
			    rec->list.entry[i].number,
			    (uintmax_t)rec->list.entry[i].info.first_vlsn);
	rec->seen.durable = w->vlsn;
	rec->torn = false;
	return wal_keeper_salvage(w, &rec->list, rec->tail_entry, true);
}

/* What a boot that met damage makes of it, by its mode. 0 or negative. */
static int
damage_met(struct recovery *rec)
{
	struct wal *w = rec->w;
	int rc;

	if (w->w->readonly) {
		/* The checkpoint is what is served; nothing is changed. */
		event_add(
		    w->r, SLOT_WAL, EVENT_ERROR, "readonly: %s", rec->why);
		rec->torn = false;
		return 0;
	}
	if (!w->w->force)
		return -ECANCELED;
	/* Cutting says why it cuts: this does not. */
	if ((rc = generation_raise(rec)) != 0)
		return rc;
	rc = force_cut(rec);
	return rc == 0 ? 0 : refuse_call(rec, rc, "write", "salvage");
}

/* The oldest segments are not there: 0 if the mode is to go on without. */
static int
missing_met(struct recovery *rec)
{
	struct wal *w = rec->w;

	if (!w->w->force && !w->w->readonly)
		return -ECANCELED;
	event_add(w->r, SLOT_WAL, EVENT_ERROR, "%s: %s",
	    w->w->force ? "forced" : "readonly", rec->why);
	rec->left = w->w->force;
	return 0;
}

static int
recover_scan(struct recovery *rec)
{
	struct wal *w = rec->w;
	int rc = check_missing(rec);

	if (rc != 0)
		rc = missing_met(rec);
	if (rc == 0 && (rc = scan_all(rec)) == 0)
		rc = check_unbegun(rec);
	if (rc != 0)
		return rec->damage ? damage_met(rec) : rc;
	if (w->w->force && (rec->left || others_skip(rec)) &&
	    (rc = generation_raise(rec)) != 0)
		return rc;
	if (!rec->left)
		return 0;
	/* What is older than the gap is of no use, but not to be deleted. */
	rc = wal_keeper_salvage(w, &rec->list, rec->tail_entry, false);
	return rc == 0 ? 0 : refuse_call(rec, rc, "write", "salvage");
}

/*
 * Of a segment that holds nothing that was durable before a flush failed, the
 * header may be in a cache only, too: the log goes on from the one before it.
 */
static void
drop_failed(struct recovery *rec)
{
	struct segment_list *l = &rec->list;
	struct segment_entry *e;

	while (rec->failed != 0 && l->newest != UINT32_MAX &&
	       (e = &l->entry[l->newest])->info.first_vlsn >= rec->failed) {
		e->state = SEGMENT_BAD;
		e->dropped = true;
		segment_list_resolve(l);
	}
}

/*
 * Force: the checkpoint is as good as a hint, and better than an old one; and
 * of what is dropped the terms count still: none of them comes again.
 */
static void
prove(struct recovery *rec)
{
	const struct segment_list *l = &rec->list;
	uint32_t i;

	wal_proof_read(rec->w, &rec->proof);
	if (rec->hint < rec->proof.checkpoint)
		rec->hint = rec->proof.checkpoint;
	rec->term_seen = rec->proof.term;
	for (i = 0; i < l->count; i++)
		if (l->entry[i].state == SEGMENT_VALID &&
		    l->entry[i].info.term_before > rec->term_seen)
			rec->term_seen = l->entry[i].info.term_before;
}

static int
recover_steps(struct recovery *rec)
{
	struct wal *w = rec->w;
	int rc;

	if ((rc = open_files(rec)) != 0 || w->dir < 0)
		return rc;
	rc = segment_list_load(&rec->list, w->dir, true);
	if (rc != 0)
		return refuse_call(rec, rc, "read", "wal");
	/*
	 * Did a flush fail in a life before this one? Then what lies above what
	 * was durable there can be read and still be on no disk, and no further
	 * sync tells.
	 */
	rec->failed = atomic_load_explicit(
	    &w->r->control->wal_failed, memory_order_relaxed);
	drop_failed(rec);
	if (rec->list.count != 0)
		rec->highest = rec->list.entry[rec->list.count - 1].number;
	if (rec->highest == UINT32_MAX)
		return refuse(rec,
		    "wal/%08x.seg: no number is left for the "
		    "next segment; does it belong here?",
		    rec->highest);
	if ((rc = check_owner(rec)) != 0)
		return rc;
	rec->hint = wal_hint_read(w->dir);
	if (w->w->force)
		prove(rec);
	/* What is in a checkpoint had been durable. */
	rec->seen.durable = rec->hint;
	rec->tail_entry = UINT32_MAX;
	rc = recover_scan(rec);
	if (rc == 0 && !w->w->readonly)
		rc = flush_tail(rec);
	return rc;
}

/* Where the coming segment goes on. */
static void
continue_at(struct recovery *rec)
{
	struct segment_info *info = &rec->w->segment.info;
	struct wal *w = rec->w;

	info->prev_number = rec->tail_number;
	info->prev_end = rec->tail_number != 0 ? rec->tail_end : 0;
	info->prev_crc = rec->tail_number != 0 ? rec->tail_crc : 0;
	info->number = rec->highest;
	info->first_vlsn = w->vlsn + 1;
	info->term_before = w->term;
	info->time_before_ms = w->time_ms;
}

int
wal_recover(struct wal *w)
{
	struct recovery rec = { .w = w, .time_from = mono_ns() };
	int rc;

	rec.list.newest = rec.list.oldest = UINT32_MAX;
	rc = recover_steps(&rec);
	if (rc != 0 && rec.error != 0) {
		(void)wal_boot_fault(w, rec.object, rec.call, rec.error);
		goto out;
	}
	if (rc != 0) {
		log_errorx("%s", rec.why);
		seq_fail(
		    w->r->seq, PHASE_WAL_RECOVERY, SLOT_WAL, "%s", rec.why);
		goto out;
	}
	publish(&rec);
	say(&rec);
	continue_at(&rec);
	rc = w->w->readonly ? 0 : wal_keeper_boot(w, &rec.list);
	if (rc != 0)
		(void)wal_boot_fault(w, "wal", "read", -rc);
out:
	segment_list_free(&rec.list);
	return rc;
}
