/*
 * Boot: what is in the log. Fence, headers, scan from the checkpoint's
 * segment on, judge (shm/log/logcheck.h), publish the positions. Nothing on
 * disk is changed but by force (wal_force.c); the new segment and all else
 * follows in wal_begin(), when nothing refuses this boot any more.
 */
#include "workers/wal/wal_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/log/terms.h"
#include "shm/say.h"

#define PROGRESS_STEP (8u * 1024 * 1024) /* bytes between two reports */

/* For what is no fault of a file: why[] says all of it. */
__attribute__((format(printf, 2, 3))) static int
refuse(struct recovery *rec, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rec->why, sizeof(rec->why), fmt, ap);
	va_end(ap);
	return -ECANCELED;
}

/* A call failed on `name` in the data directory. */
int
wal_refuse_call(
    struct recovery *rec, const char *name, const char *call, int error)
{
	wal_path(rec->w, rec->object, sizeof(rec->object), "%s", name);
	rec->call = call;
	rec->error = error;
	snprintf(rec->why, sizeof(rec->why),
	    "nothing is changed, what is on disk stays as it is");
	return -ECANCELED;
}

/* The directory itself is not, or no more, the one that was opened. */
static int
refuse_dir(struct recovery *rec, int error)
{
	int rc = wal_refuse_call(rec, "", "stat", error);

	strlcpy(rec->object, rec->w->conf->node.data_dir, sizeof(rec->object));
	return rc;
}

int
wal_recover_probe(struct wal *w)
{
	const struct conf *conf = w->conf;

	return wal_io_probe(&w->io, w->dir, conf->wal.io == CONF_WAL_IO_DIRECT,
	    conf->wal.io == CONF_WAL_IO_BUFFERED);
}

static int
open_files(struct recovery *rec)
{
	struct wal *w = rec->w;
	char why[128], name[32], path[48];
	int rc;

	if ((rc = worker_data_dir_check(w->w)) != 0)
		return refuse_dir(rec, -rc);
	rc = node_file_read(w->w->data_dir, &rec->node, why, sizeof(why));
	if (rc == -EBADMSG || rc == -ENOTSUP)
		return refuse(rec, "node file: %s", why);
	if (rc != 0)
		return wal_refuse_call(rec, NODE_FILE_NAME, "read", -rc);
	memcpy(w->uuid, rec->node.group_uuid, sizeof(w->uuid));
	w->generation = rec->node.generation;
	w->incarnation = rec->node.incarnation;
	position_set(&w->r->pos->generation, w->generation);
	w->dir =
	    openat(w->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir < 0 && errno == ENOENT) /* made when the boot is sure */
		return 0;
	if (w->dir < 0)
		return wal_refuse_call(rec, "wal", "open", errno);
	if (w->w->readonly)
		return 0;
	rc = wal_recover_probe(w);
	if (rc == -EOPNOTSUPP)
		return refuse(rec,
		    "wal: direct I/O does not work on this file system; set "
		    "[wal] io = auto or buffered");
	if (rc != 0)
		return wal_refuse_call(
		    rec, "wal/" WAL_PROBE_NAME, "write", -rc);
	rc = wal_fence(w->dir, name, sizeof(name));
	snprintf(path, sizeof(path), "wal/%s", name);
	return rc == 0 ? 0 : wal_refuse_call(rec, path, "fence", -rc);
}

/* Do the headers belong to this group? */
static int
check_owner(struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
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

static void
report(struct recovery *rec, uint64_t bytes)
{
	struct wal *w = rec->w;
	char text[PROGRESS_MAX];

	loop_beat(&w->loop);
	snprintf(text, sizeof(text), "scanning wal/%08x.seg",
	    rec->check.tail_number);
	seq_progress_set(
	    w->r->seq, SLOT_WAL, rec->records, 0, bytes, rec->total, text);
	rec->reported = bytes;
}

static void
take_head(struct recovery *rec, const struct record *r, uint32_t offset)
{
	struct segment_batch b;

	if (rec->mark_vlsn != 0 && batch_decode(r, &b) == 0 &&
	    b.durable >= rec->mark_vlsn) {
		rec->sure = rec->mark;
		rec->mark_vlsn = 0;
	}
	if (rec->mark_vlsn == 0)
		rec->mark = offset;
}

static void
take_record(struct recovery *rec, const struct record *r, uint32_t number,
    uint32_t offset)
{
	struct wal *w = rec->w;

	if (r->type == REC_BATCH) {
		take_head(rec, r, offset);
		/* A sample stands right behind a head. */
		rec->sample =
		    !w->sampled ||
		    rec->check.bytes + offset - w->sample >= VMAP_STRIDE_BYTES;
		return;
	}
	if (r->vlsn == 0)
		return;
	if (rec->mark_vlsn == 0)
		rec->mark_vlsn = r->vlsn;
	if (rec->sample && wal_sample(w, r->vlsn, lsn_make(number, offset))) {
		w->sample = rec->check.bytes + offset;
		w->sampled = true;
	}
	rec->sample = false;
	rec->records++;
	if (r->type == REC_MEMBER) {
		rec->member_before = rec->member;
		rec->member = r->vlsn;
	}
	if (r->term != rec->run_term)
		wal_term_begins(w, r->term, r->vlsn);
	rec->run_term = r->term;
}

/*
 * The scan begins with that segment: of what follows the records tell, of what
 * is before them the checkpoint's list, unless the header contradicts it.
 */
static void
terms_join(struct recovery *rec, const struct segment_info *info)
{
	struct terms *terms = rec->w->r->terms;
	uint64_t before = info->first_vlsn - 1, term;

	terms_cut(terms, before);
	if (before > rec->check.known.checkpoint ||
	    terms_of_vlsn(terms, before, &term) != 0 ||
	    term == info->term_before)
		return;
	say_warnx("record %ju is of term %ju, and not of %ju as the term runs "
		  "in the checkpoint say: they are not this log's, and "
		  "forgotten",
	    (uintmax_t)before, (uintmax_t)info->term_before, (uintmax_t)term);
	terms_clear(terms);
}

/* ---- the judge's callbacks ---- */

static int
take_source(
    void *ctx, const struct segment_entry *e, struct segment_source *out)
{
	struct recovery *rec = ctx;
	int rc = wal_ahead_open(rec->w, e->number, e->info.block,
	    e->end != 0 ? e->end : e->file_size, out);

	rec->w->sampled = false;
	if (rec->scanned == 0) {
		rec->scanned = e->number;
		terms_join(rec, &e->info);
	}
	/* What is before the scan is known by the word of this header. */
	if (rec->member < e->info.member)
		rec->member = e->info.member;
	rec->sure = rec->mark = 0;
	rec->mark_vlsn = 0;
	return rc;
}

static void
take_close(void *ctx)
{
	wal_ahead_close(((struct recovery *)ctx)->w);
}

static int
take(void *ctx, const struct segment_entry *e, uint32_t offset,
    const struct record *record)
{
	struct recovery *rec = ctx;

	take_record(rec, record, e->number, offset);
	if (rec->check.bytes + offset - rec->reported < PROGRESS_STEP)
		return 0;
	report(rec, rec->check.bytes + offset);
	if (loop_shutdown(&rec->w->loop) != SHUTDOWN_NONE)
		return refuse(rec, "stopped while scanning");
	return 0;
}

/* ---- what damage means ---- */

/* Damage: the file, the place, what is good, and what force would drop. */
static int
refuse_damage(struct recovery *rec)
{
	const struct log_fault *f = logcheck_first(&rec->check);
	char name[SEGMENT_NAME_MAX], good[LOG_FAULT_GOOD_MAX];
	bool life = f->witness == WITNESS_LIFE;

	log_fault_good(f, good, sizeof(good));
	segment_name(name, f->segment);
	wal_path(rec->w, rec->object, sizeof(rec->object), "wal/%s", name);
	rec->call = NULL;
	rec->error = EBADMSG;
	rec->damage = true;
	snprintf(
	    rec->what, sizeof(rec->what), "offset %u: %s", f->offset, f->what);
	/* Such a one may be an older copy, put there while the region stayed.
	 */
	snprintf(rec->why, sizeof(rec->why), "the log is %s%s%s%s", good,
	    life ? ", as " : "", life ? rec->w->conf->node.run_dir : "",
	    life ? "/region tells: if this is an older copy that is to replace "
		   "what was here, remove that link"
		 : "");
	wal_force_tell(rec, rec->why, sizeof(rec->why));
	return -ECANCELED;
}

/*
 * The log begins with what a store had not, and there is none: of the two, the
 * segment may have been recycled, while the store's file may be put back.
 */
static int
refuse_store(struct recovery *rec)
{
	const struct log_fault *f = &rec->check.missing;

	(void)wal_refuse_call(rec, LOG_STORE_FILE, "open", ENOENT);
	snprintf(rec->why, sizeof(rec->why),
	    "it may hold what the log lacks, wal/%08x.seg", f->segment);
	wal_force_tell(rec, rec->why, sizeof(rec->why));
	return -ECANCELED;
}

/*
 * There is no log, but there was one, says whatever tells of its records, or
 * the members file. Who takes the segments away may leave a spare.
 */
static bool
is_gone(const struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
	uint32_t i;

	if (rec->check.gone)
		return true;
	for (i = 0; i < l->count; i++)
		if (l->entry[i].state != SEGMENT_UNBEGUN || l->entry[i].dropped)
			return false;
	return faccessat(rec->w->w->data_dir, MEMBERS_FILE, F_OK, 0) == 0;
}

/* Nothing of it is there: that is no damage, and it may be put back. */
static int
refuse_gone(struct recovery *rec)
{
	(void)wal_refuse_call(
	    rec, "wal", rec->w->dir < 0 ? "open" : "readdir", ENOENT);
	if (rec->w->dir >= 0)
		strlcpy(rec->what, "no segment is left", sizeof(rec->what));
	snprintf(
	    rec->why, sizeof(rec->why), "the log is away, nothing is changed");
	wal_force_gone_tell(rec, rec->why, sizeof(rec->why));
	return -ECANCELED;
}

/* A forced or readonly boot says what a normal one stops at. */
static void
damage_tell(struct recovery *rec)
{
	const struct log_fault *f = logcheck_first(&rec->check);
	char good[LOG_FAULT_GOOD_MAX];

	log_fault_good(f, good, sizeof(good));
	event_add(rec->w->r, SLOT_WAL, EVENT_ERROR,
	    "%s: wal/%08x.seg offset %u: %s (%s)",
	    rec->w->w->force ? "forced" : "readonly", f->segment, f->offset,
	    f->what, good);
}

void
wal_begin_anew(struct recovery *rec)
{
	const struct log_known *proof = &rec->check.known;
	struct wal *w = rec->w;

	if (w->log.end.vlsn < logcheck_base(proof))
		w->log.end.vlsn = logcheck_base(proof);
	if (w->log.end.vlsn < proof->indexed)
		w->log.end.vlsn = proof->indexed;
	rec->check.committed = rec->check.durable = w->log.end.vlsn;
	if (w->log.end.term < proof->term)
		w->log.end.term = proof->term;
	if (w->log.end.time_ms < proof->time_ms)
		w->log.end.time_ms = proof->time_ms;
	/* The index names segments by their numbers. */
	if (rec->highest < proof->indexed_segment &&
	    proof->indexed_segment < UINT32_MAX)
		rec->highest = proof->indexed_segment;
	if (w->w->force)
		wal_force_anew_tell(rec);
}

/*
 * What the scan found counts as durable when this process has written and
 * flushed it: it may be in the device's cache only, or, if a flush failed in a
 * life before, in the page cache, clean, so that no further sync tells.
 */
static int
flush_tail(struct recovery *rec)
{
	char name[SEGMENT_NAME_MAX], path[32];
	const char *call = "write";
	int fd, rc;

	if (rec->check.tail_number == 0)
		return 0; /* nothing was found */
	segment_name(name, rec->check.tail_number);
	snprintf(path, sizeof(path), "wal/%s", name);
	fd = openat(rec->w->dir, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return wal_refuse_call(rec, path, "open", errno);
	rc = wal_file_rewrite(
	    fd, rec->sure, rec->check.tail_end, loop_beat, &rec->w->loop);
	if (rc == 0) {
		call = "fsync";
		rc = wal_file_sync(fd);
	}
	close(fd);
	if (rc == 0)
		rc = wal_file_sync(rec->w->dir);
	return rc == 0 ? 0 : wal_refuse_call(rec, path, call, -rc);
}

/* The newest membership record of a segment that was not scanned. */
static int
member_read(struct recovery *rec, const struct segment_entry *e)
{
	struct segment_reader r;
	struct record record;
	uint64_t member = 0;
	uint32_t records = 0;
	int rc =
	    segment_reader_open(&r, rec->w->dir, e->number, 1024 * 1024, true);

	if (rc != 0)
		return rc;
	r.limit = e->end;
	while ((rc = segment_reader_next(&r, &record, NULL)) == 0) {
		/* None behind the log's end: a header may lie. */
		if (record.type == REC_MEMBER &&
		    record.vlsn <= rec->w->log.end.vlsn)
			member = record.vlsn;
		if (records++ % 1024 == 0)
			loop_beat(&rec->w->loop);
	}
	if (rc == -ENODATA && r.scan.offset == e->end)
		rc = 0;
	if (rc == 0)
		rec->member = member;
	segment_reader_close(&r);
	return rc;
}

/* Is it what the disk holds that cannot be read, and not a moment's want? */
static bool
is_damage(int rc)
{
	return rc == -EBADMSG || rc == -ENODATA || rc == -EIO;
}

/*
 * No header told: a release before that field wrote them. The segments before
 * the scan are read for it, once: what is begun next tells. What is damaged of
 * them no boot needs, so it ends nothing but the search.
 */
static int
member_search(struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
	char name[SEGMENT_NAME_MAX], path[32];
	uint32_t i;
	int rc = 0;

	if (rec->member != 0 || rec->scanned == 0 || l->newest == UINT32_MAX)
		return 0;
	for (i = l->count; i-- > 0 && rec->member == 0 && rc == 0;) {
		if (!l->entry[i].in_chain || l->entry[i].number >= rec->scanned)
			continue;
		rc = member_read(rec, &l->entry[i]);
		segment_name(name, l->entry[i].number);
	}
	if (rc == 0 && rec->member == 0)
		rec->member = l->entry[l->oldest].info.first_vlsn - 1;
	if (rc == 0)
		return 0;
	snprintf(path, sizeof(path), "wal/%s", name);
	if (!is_damage(rc))
		return wal_refuse_call(rec, path, "read", -rc);
	event_add(rec->w->r, SLOT_WAL, EVENT_WARN,
	    "%s: cannot be read (%s): whether a membership is in it or before "
	    "is not known",
	    path, strerror(-rc));
	return 0;
}

/* Nobody goes by these before wal_recovery is fired: in any order. */
static void
publish(struct recovery *rec)
{
	struct positions *pos = rec->w->r->pos;
	struct wal *w = rec->w;
	uint64_t committed = rec->check.committed, first = w->log.end.vlsn + 1;

	if (committed > w->log.end.vlsn)
		committed = w->log.end.vlsn;
	if (rec->check.list.newest != UINT32_MAX)
		first = rec->check.list.entry[rec->check.list.oldest]
			    .info.first_vlsn;
	terms_cut(w->r->terms, w->log.end.vlsn);
	position_set(&pos->appended, w->log.end.vlsn);
	position_set(&pos->durable, w->log.end.vlsn);
	position_set(&pos->committed, epoch_word(0, committed));
	position_set(&pos->first, first);
	w->member = rec->member;
	w->member_before = rec->member_before;
	position_set(&pos->member, rec->member >= first ? rec->member : 0);
	position_set(&pos->clock_ms, (uint64_t)w->log.end.time_ms);
	atomic_store_explicit(&w->r->walbuf.h->newest_lsn,
	    lsn_make(rec->check.tail_number, rec->check.tail_end),
	    memory_order_release);
	w->durable = w->log.end.vlsn;
	w->head_durable = rec->check.durable;
	w->boot_term =
	    w->log.end.term > rec->term_seen ? w->log.end.term : rec->term_seen;
	position_set(&pos->term, w->boot_term);
	wal_count(w, C_WAL_REPLAYED, rec->records);
	wal_count(w, C_WAL_REPLAYED_BYTES, rec->check.bytes);
}

static void
say(struct recovery *rec)
{
	struct wal *w = rec->w;
	uint64_t us = (mono_ns() - rec->time_from) / 1000;

	rec->total = rec->check.bytes; /* the newest file was not all log */
	report(rec, rec->check.bytes);
	if (rec->torn) {
		wal_count(w, C_WAL_TORN, 1);
		event_add(w->r, SLOT_WAL, EVENT_WARN,
		    "wal/%08x.seg offset %u: %s: the log goes on behind record "
		    "%ju",
		    rec->check.fault.segment, rec->check.fault.offset,
		    rec->check.fault.what, (uintmax_t)w->log.end.vlsn);
	}
	if (rec->check.dropped)
		event_add(w->r, SLOT_WAL, EVENT_WARN,
		    "records behind %ju are dropped: their flush had failed",
		    (uintmax_t)w->log.end.vlsn);
	say_info("log: %ju records, %ju bytes scanned in %ju us, term %ju, "
		 "end at record %ju",
	    (uintmax_t)rec->records, (uintmax_t)rec->check.bytes, (uintmax_t)us,
	    (uintmax_t)w->log.end.term, (uintmax_t)w->log.end.vlsn);
}

/* What a boot that met damage makes of it, by its mode. 0 or negative. */
static int
damage_met(struct recovery *rec)
{
	const struct worker *worker = rec->w->w;

	if (!worker->force && !worker->readonly)
		return rec->check.missing.store ? refuse_store(rec)
						: refuse_damage(rec);
	damage_tell(rec);
	/* Readonly: the checkpoint is served; nothing is changed. */
	return worker->readonly ? 0 : wal_force(rec);
}

/* A read failed: the world's fault, and no word on the log. */
static int
refuse_read(struct recovery *rec, int rc)
{
	const struct logcheck *c = &rec->check;
	char path[32];

	snprintf(path, sizeof(path), "wal/%08x.seg", c->error_number);
	(void)wal_refuse_call(rec, path, c->error_call, -rc);
	rec->damage = rc == -EBADMSG;
	if (rc == -EPROTONOSUPPORT)
		snprintf(rec->what, sizeof(rec->what),
		    "offset %u: a record that this release does not know",
		    c->error_offset);
	if (rc == -EIO)
		snprintf(rec->why, sizeof(rec->why),
		    "offset %u cannot be read, nothing is changed",
		    c->error_offset);
	return -ECANCELED;
}

static int
recover_scan(struct recovery *rec)
{
	struct logcheck *c = &rec->check;
	struct wal *w = rec->w;
	int rc = logcheck_run(c);

	wal_ahead_free(w);
	if (rc != 0)
		return rc == -ECANCELED ? rc : refuse_read(rec, rc);
	w->log.end.vlsn = c->vlsn;
	w->log.end.term = c->term;
	w->log.end.time_ms = c->time_ms;
	if (!w->w->force && !w->w->readonly && is_gone(rec))
		return refuse_gone(rec);
	if (logcheck_verdict(c) == LOG_DAMAGED)
		return damage_met(rec);
	rec->torn = c->fault.verdict == LOG_TORN && !c->dropped;
	if (c->list.newest == UINT32_MAX)
		wal_begin_anew(rec);
	return w->w->force ? wal_force_others(rec) : 0;
}

/*
 * Did a flush fail in a life before this one? Then what lies above what was
 * durable there can be read and still be on no disk, and no further sync
 * tells. Not so if data_dir is another one by now, or if a boot that another
 * run_dir's region told nothing has gone on with the log: its segment says
 * where that ended, and what is in it was flushed.
 */
static uint64_t
failed_before(const struct recovery *rec)
{
	const struct control *c = rec->w->r->control;
	const struct segment_list *l = &rec->check.list;

	if (atomic_load_explicit(&c->wal_failed_log, memory_order_relaxed) !=
	    rec->node.incarnation)
		return 0;
	if (l->newest != UINT32_MAX &&
	    l->entry[l->newest].number >
		atomic_load_explicit(
		    &c->wal_failed_segment, memory_order_relaxed))
		return 0;
	return atomic_load_explicit(&c->wal_failed, memory_order_relaxed);
}

/* What else tells of the log. */
static void
know(struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
	struct log_known *known = &rec->check.known;
	struct wal *w = rec->w;

	terms_clear(w->r->terms);
	log_known_read(known, w->conf->node.data_dir, w->w->data_dir, w->dir,
	    w->uuid,
	    l->newest != UINT32_MAX ? l->entry[l->newest].info.generation : 0,
	    w->r->terms, NULL);
	known->failed = failed_before(rec);
	w->failed_before = known->failed != 0;
	if (w->w->force)
		wal_force_terms(rec);
}

static void
total_set(struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
	uint32_t i;

	for (i = l->oldest; i != UINT32_MAX; i = segment_list_next(l, i))
		rec->total += l->entry[i].end != 0 ? l->entry[i].end
						   : l->entry[i].file_size;
}

static int
recover_steps(struct recovery *rec)
{
	struct segment_list *l = &rec->check.list;
	struct wal *w = rec->w;
	int rc;

	if ((rc = open_files(rec)) != 0)
		return rc;
	if (w->dir >= 0 && (rc = segment_list_load(l, w->dir, true)) != 0)
		return wal_refuse_call(rec, "wal", "read", -rc);
	if (l->count != 0)
		rec->highest = l->entry[l->count - 1].number;
	if (rec->highest == UINT32_MAX)
		return refuse(rec,
		    "wal/%08x.seg: no number is left for the "
		    "next segment; does it belong here?",
		    rec->highest);
	if ((rc = check_owner(rec)) != 0)
		return rc;
	know(rec);
	total_set(rec);
	rec->check.wal_dir = w->dir;
	rec->check.unreadable_is_damage = w->w->force || w->w->readonly;
	rc = recover_scan(rec);
	if (rc == 0 && !w->w->readonly)
		rc = flush_tail(rec);
	return rc == 0 ? member_search(rec) : rc;
}

/* Where the coming segment goes on. */
static void
continue_at(struct recovery *rec)
{
	struct segment_info *info = &rec->w->segment.info;
	const struct logcheck *c = &rec->check;
	struct append_end end = rec->w->log.end;
	struct wal_cut *cut = &rec->w->cut;

	info->prev_number = c->tail_number;
	info->prev_end = c->tail_number != 0 ? c->tail_end : 0;
	info->number = rec->highest;
	cut->high = segment_list_cut(&c->list);
	/* A cut whose header's flush failed: the index may be older. */
	if (c->dropped && cut->high < c->known.indexed)
		cut->high = c->known.indexed;
	end.chain = c->tail_number != 0 ? c->tail_crc : 0;
	append_open(&rec->w->log, &rec->w->r->walbuf, &end);
}

static void
recover_failed(struct recovery *rec)
{
	const struct fault f = { .object = rec->object,
		.call = rec->call,
		.error = rec->error,
		.place = PLACE_DATA,
		.effect = rec->why,
		.what = rec->what[0] != '\0' ? rec->what : NULL,
		.damage = rec->damage };

	if (rec->error != 0) {
		(void)wal_boot_failed(rec->w, &f);
		return;
	}
	worker_boot_fail(rec->w->w, PHASE_WAL_RECOVERY, rec->why);
}

int
wal_recover(struct wal *w)
{
	struct recovery rec = { .w = w, .time_from = mono_ns() };
	const struct logcheck_ops ops = { .open = take_source,
		.close = take_close,
		.record = take,
		.ctx = &rec };
	int rc;

	rec.check.ops = &ops;
	rec.check.list.newest = rec.check.list.oldest = UINT32_MAX;
	rc = recover_steps(&rec);
	if (rc != 0) {
		recover_failed(&rec);
		segment_list_free(&rec.check.list);
		return rc;
	}
	publish(&rec);
	say(&rec);
	continue_at(&rec);
	w->found = rec.check.list;
	return 0;
}
