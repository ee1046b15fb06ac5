/*
 * Recovery mode force: what of the log it goes over, and how it says so. What
 * it goes over elsewhere is in that room; README.md lists all of it.
 *
 * The rule. The log goes on behind what is good in front of the damage; where a
 * segment is missing, with what is behind it. All else is dropped: kept in
 * salvage/, and named, by a normal boot that refuses and again by the forced
 * one. If the checkpoint holds more than what is left, or nothing is, a new log
 * begins behind the checkpoint and what the VLSN index names. VLSNs of dropped
 * records come again, in a new generation; terms do not. In this order:
 *	1 the new generation is in the node file, durably: whoever finds less
 *	  than there was finds that, too
 *	2 of a tail that is cut a copy is in salvage/, durably
 *	3 what is no part of the log is moved there, the newest first: a boot
 *	  after a kill in between finds a log that ends at the same damage
 *	4 salvage/ and its name are flushed, then what is left of the log is
 *	  (flush_tail() in wal_recover.c); behind it wal begins its segment
 */
#include "workers/wal/wal_recover.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/node_generation.h"
#include "shm/log/terms.h"
#include "shm/say.h"

#define SALVAGE_STEP     (64 * 1024) /* so much is given up at a bad block */
#define SALVAGE_NAME_MAX (SEGMENT_NAME_MAX + 16)

/* ---- what it would do ---- */

/* The checkpoint holds more than what is good: all of the log goes. */
static bool
begins_anew(const struct recovery *rec)
{
	return rec->check.missing.verdict != LOG_DAMAGED &&
	       rec->check.vlsn < logcheck_base(&rec->check.known);
}

/* Does this file go to salvage/, or (the tail) a copy of it? */
static bool
moves(const struct recovery *rec, uint32_t i)
{
	const struct segment_entry *e = &rec->check.list.entry[i];
	uint32_t tail = begins_anew(rec) ? UINT32_MAX : rec->check.tail_entry;

	if (e->state == SEGMENT_UNBEGUN)
		return false;
	return tail == UINT32_MAX || i > tail || !e->in_chain ||
	       (i == tail && rec->check.fault.verdict == LOG_DAMAGED);
}

__attribute__((format(printf, 3, 4))) static void
append(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

/* "drop records A to B (N)"; false: there are none. */
static bool
range_tell(char *buf, size_t size, const char *lead, uint64_t from, uint64_t to,
    const char *least)
{
	if (from > to)
		return false;
	append(buf, size, "%s %ju to %ju (%ju%s)", lead, (uintmax_t)from,
	    (uintmax_t)to, (uintmax_t)(to - from + 1), least);
	return true;
}

/*
 * "; force would drop records A to B, and keep FILES in salvage/": those before
 * a gap, good or not, and those behind damage.
 */
void
wal_force_tell(const struct recovery *rec, char *buf, size_t size)
{
	const struct logcheck *c = &rec->check;
	const char *lead = "drop records";
	bool gap = c->missing.verdict == LOG_DAMAGED;
	uint64_t from = logcheck_base(&c->known) + 1;
	uint64_t to = c->durable > c->behind ? c->durable : c->behind;
	uint32_t i, first = 0, last = 0, files = 0;
	bool told = false;

	append(buf, size, "; recovery_mode = force would ");
	if (gap) {
		if (from < c->missing.first)
			from = c->missing.first;
		told = range_tell(buf, size, lead, from,
		    c->list.entry[c->list.oldest].info.first_vlsn - 1, "");
		lead = told ? " and" : lead;
	}
	if (!begins_anew(rec))
		from = c->vlsn + 1;
	if (!gap || c->fault.verdict == LOG_DAMAGED)
		told |= range_tell(buf, size, lead, from, to, " at least");
	if (c->rest && from > to) {
		append(buf, size, "%s every record behind %ju",
		    told ? " and" : "drop", (uintmax_t)c->vlsn);
		told = true;
	}
	if (!told)
		append(buf, size, "drop no record known of");
	for (i = 0; i < c->list.count; i++)
		if (moves(rec, i)) {
			if (files++ == 0)
				first = c->list.entry[i].number;
			last = c->list.entry[i].number;
		}
	if (files == 1)
		append(buf, size, ", and keep wal/%08x.seg in salvage/", first);
	else if (files != 0)
		append(buf, size,
		    ", and keep %u files, wal/%08x.seg to %08x.seg, in "
		    "salvage/",
		    files, first, last);
}

void
wal_force_gone_tell(const struct recovery *rec, char *buf, size_t size)
{
	append(buf, size,
	    "; recovery_mode = force would drop every record behind %ju, where "
	    "the checkpoint ends",
	    (uintmax_t)logcheck_base(&rec->check.known));
}

/* ---- salvage/ ---- */

/*
 * Copy size bytes as far as they can be read; holes for the rest. The reserve
 * is there for this, too.
 */
static int
copy_some(struct wal *w, int in, int out, off_t size, uint64_t *lost)
{
	off_t from = 0, to = 0;
	bool reserve = true;
	ssize_t n;

	while (from < size) {
		n = copy_file_range(in, &from, out, &to, SALVAGE_STEP, 0);
		n = wal_fault(WAL_OP_SALVAGE, n < 0 ? -errno : (int)n);
		loop_beat(&w->loop);
		if (n > 0)
			continue;
		if (n == 0)
			break;
		if (wal_is_nospace((int)n) && reserve) {
			unlinkat(w->w->data_dir, WAL_RESERVE_NAME, 0);
			reserve = false;
		} else if (n == -EIO || n == -ENODATA) {
			from = to += SALVAGE_STEP;
			*lost += SALVAGE_STEP;
		} else
			return (int)n;
	}
	return wal_file_sync(out);
}

/*
 * A name that is free in salvage/: numbers come again after a forced boot that
 * was killed, and what an earlier one put there is not to be lost.
 */
static void
salvage_name(int salvage, const char *name, char out[SALVAGE_NAME_MAX])
{
	unsigned i;

	snprintf(out, SALVAGE_NAME_MAX, "%s", name);
	for (i = 1;
	     faccessat(salvage, out, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && i != 0;
	     i++)
		snprintf(out, SALVAGE_NAME_MAX, "%s.%u", name, i);
}

/* Copy the file that is cut, for whoever wants to look at it. */
static int
salvage_tail(struct wal *w, const char *name, off_t size, int salvage)
{
	char cut[SEGMENT_NAME_MAX + 8], to[SALVAGE_NAME_MAX];
	uint64_t lost = 0;
	int in, out, rc;

	snprintf(cut, sizeof(cut), "%s.cut", name);
	salvage_name(salvage, cut, to);
	in = openat(w->dir, name, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return -errno;
	out =
	    openat(salvage, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (out < 0) {
		rc = -errno;
		close(in);
		return rc;
	}
	rc = copy_some(w, in, out, size, &lost);
	if (lost != 0)
		event_add(w->r, SLOT_WAL, EVENT_ERROR,
		    "forced: about %ju bytes of wal/%s cannot be read",
		    (uintmax_t)lost, name);
	close(out);
	close(in);
	return rc;
}

/*
 * A file that is shorter than its header says tells of more behind it. That is
 * given up: a forced boot that is killed before its own segment has begun
 * leaves a log that ends here.
 */
static int
size_restore(struct wal *w, const char *name, struct segment_entry *e)
{
	int fd, rc;

	if (e->file_size >= e->info.size)
		return 0;
	fd = openat(w->dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = ftruncate(fd, e->info.size) == 0 ? wal_file_sync(fd) : -errno;
	if (rc == 0)
		e->file_size = e->info.size;
	close(fd);
	return rc;
}

/*
 * Newest first: should it end half way, what is left is still a log that ends
 * behind the damage, and the next boot finds that again.
 */
static int
salvage_rest(struct wal *w, struct segment_list *list, uint32_t last, int to)
{
	char name[SEGMENT_NAME_MAX], as[SALVAGE_NAME_MAX];
	uint32_t i;

	for (i = list->count; i-- > 0;) {
		struct segment_entry *e = &list->entry[i];

		if (e->state == SEGMENT_UNBEGUN ||
		    (last != UINT32_MAX && i <= last && e->in_chain))
			continue;
		segment_name(name, e->number);
		salvage_name(to, name, as);
		if (renameat(w->dir, name, to, as) != 0)
			return -errno;
		say_warnx("forced: wal/%s is salvage/%s now", name, as);
		list->count--;
		memmove(e, e + 1, (list->count - i) * sizeof(*e));
	}
	segment_list_resolve(list);
	return 0;
}

/*
 * Move what is no part of the log any more to salvage/: entries behind `last`
 * (UINT32_MAX: all), and those outside of the chain; tail: and a copy of `last`
 * itself. They leave the list. 0 or -errno.
 */
static int
salvage(struct wal *w, struct segment_list *list, uint32_t last, bool tail)
{
	char name[SEGMENT_NAME_MAX];
	int to, rc = 0;

	if (mkdirat(w->w->data_dir, "salvage", 0750) != 0 && errno != EEXIST)
		return -errno;
	to = openat(
	    w->w->data_dir, "salvage", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return -errno;
	if (tail && last != UINT32_MAX) {
		segment_name(name, list->entry[last].number);
		rc = salvage_tail(
		    w, name, (off_t)list->entry[last].file_size, to);
		if (rc == 0)
			rc = size_restore(w, name, &list->entry[last]);
	}
	if (rc == 0)
		rc = salvage_rest(w, list, last, to);
	if (rc == 0)
		rc = wal_file_sync(to);
	if (rc == 0)
		rc = wal_file_sync(w->w->data_dir);
	close(to);
	return rc;
}

/* ---- what it does ---- */

/* Something is about to be skipped. Once a boot: group may do it, too. */
static int
generation_raise(struct recovery *rec)
{
	struct wal *w = rec->w;
	int rc;

	if (position_get(&w->r->pos->raised) != 0)
		return 0;
	rc = node_generation_raise(w->w->data_dir, &rec->node);
	if (rc != 0)
		return wal_refuse_call(rec, "node", "write", -rc);
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
 * log.
 */
static bool
others_skip(const struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
	const struct log_known *known = &rec->check.known;
	uint64_t vlsn = rec->w->log.end.vlsn, first = vlsn + 1;

	if (l->newest != UINT32_MAX)
		first = l->entry[l->oldest].info.first_vlsn;
	return known->indexed > vlsn ||
	       (vlsn > known->checkpoint && first > known->checkpoint + 1);
}

/* Nothing of the log is needed: a new one begins behind the checkpoint. */
static void
drop_all(struct recovery *rec)
{
	struct wal *w = rec->w;
	struct log_known again;

	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: the log is good up to record %ju only, the checkpoint "
	    "holds %ju: all of the log is given up",
	    (uintmax_t)w->log.end.vlsn,
	    (uintmax_t)logcheck_base(&rec->check.known));
	wal_begin_anew(rec);
	/* All of the checkpoint's list counts again. */
	terms_clear(w->r->terms);
	log_known_read(&again, w->conf->node.data_dir, w->w->data_dir, w->dir,
	    w->uuid, w->generation, w->r->terms, NULL);
	rec->check.tail_number = 0;
	rec->check.tail_entry = UINT32_MAX;
	rec->member = rec->member_before = 0;
}

/* Give up what follows the damage, and say exactly what. */
static int
drop_rest(struct recovery *rec)
{
	struct logcheck *c = &rec->check;
	struct wal *w = rec->w;
	uint32_t i;

	if (begins_anew(rec))
		drop_all(rec);
	event_add(w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: the log ends at record %ju, the rest is in salvage/",
	    (uintmax_t)w->log.end.vlsn);
	for (i = 0; i < c->list.count; i++)
		if ((c->tail_entry == UINT32_MAX || i > c->tail_entry) &&
		    c->list.entry[i].in_chain)
			say_warnx("forced: wal/%08x.seg (records from %ju) is "
				  "dropped",
			    c->list.entry[i].number,
			    (uintmax_t)c->list.entry[i].info.first_vlsn);
	c->durable = w->log.end.vlsn;
	return salvage(w, &c->list, c->tail_entry, true);
}

int
wal_force(struct recovery *rec)
{
	struct logcheck *c = &rec->check;
	struct wal *w = rec->w;
	int rc;

	if ((rc = generation_raise(rec)) != 0)
		return rc;
	if (c->list.newest == UINT32_MAX) {
		wal_begin_anew(rec);
		rc = salvage(w, &c->list, UINT32_MAX, false);
	} else if (c->fault.verdict == LOG_DAMAGED)
		rc = drop_rest(rec);
	else
		/* What is older than the gap is not to be deleted. */
		rc = salvage(w, &c->list, c->tail_entry, false);
	return rc == 0 ? 0 : wal_refuse_call(rec, "salvage", "write", -rc);
}

int
wal_force_others(struct recovery *rec)
{
	return others_skip(rec) ? generation_raise(rec) : 0;
}

void
wal_force_terms(struct recovery *rec)
{
	const struct segment_list *l = &rec->check.list;
	uint32_t i;

	rec->term_seen = rec->check.known.term;
	for (i = 0; i < l->count; i++)
		if (l->entry[i].state == SEGMENT_VALID &&
		    l->entry[i].info.term_before > rec->term_seen)
			rec->term_seen = l->entry[i].info.term_before;
}

void
wal_force_anew_tell(const struct recovery *rec)
{
	const struct log_known *proof = &rec->check.known;
	uint64_t vlsn = rec->w->log.end.vlsn;

	if (vlsn == 0)
		return;
	event_add(rec->w->r, SLOT_WAL, EVENT_ERROR,
	    "forced: a new log begins behind record %ju: the checkpoint holds "
	    "%ju, the index tells of %ju; all else is lost",
	    (uintmax_t)vlsn, (uintmax_t)proof->checkpoint,
	    (uintmax_t)proof->indexed);
}
