/*
 * The boot part: read the index file, keep what the log bears out, scan what
 * is missing, and give the map the result as its older samples. Blocks on
 * disk; the loop does not run yet.
 */
#include "workers/vlsn/vlsn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "shm/say.h"

/* What the boot part works on. */
struct load {
	struct vlsn *v;
	struct segment_list list;
	struct index_image file;
	struct vmap_range range;
	struct index_samples all; /* the result; at first the map's own */
	uint64_t begun_ns;
	uint64_t durable;
	uint64_t file_last; /* VLSN of the file's last sample */
	size_t gone, wrong; /* samples of the file that did not stay */
	size_t cut; /* ... because the log was cut since */
	const char *fault; /* why the file is not taken whole, or NULL */
	unsigned holes;
	uint64_t scanned; /* bytes */
};

/*
 * It is closed again: what a killed predecessor left in its ring may
 * still be written, so the first flush makes a new file and such writes go to
 * one without a name. 0 or -errno.
 */
static int
file_read(struct load *l)
{
	return l->v->dir < 0 ? -ENOENT : index_file_read(l->v->dir, &l->file);
}

/* Is the file of this log? What a generation before knew may still be so. */
static bool
file_ours(const struct load *l)
{
	const struct index_id *file = &l->file.head.id, *log = &l->v->head.id;

	return memcmp(file->group_uuid, log->group_uuid, 16) == 0 &&
	       file->generation <= log->generation;
}

static void
file_load(struct load *l)
{
	int rc = file_read(l);

	if (rc == -ENOENT)
		l->fault = "is missing";
	else if (rc == -EBADMSG || rc == -EFBIG)
		l->fault = "is damaged";
	else if (rc != 0)
		l->fault = strerror(-rc);
	else if (!file_ours(l))
		l->fault = "is of another log";
	else if (l->file.bad > 0)
		l->fault = "has damaged pages";
	if (rc == 0 && !file_ours(l))
		l->file.count = 0;
}

static void
list_load(struct load *l)
{
	struct vlsn *v = l->v;
	int rc = -ENOENT;

	v->wal_dir =
	    openat(v->w->data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v->wal_dir >= 0)
		rc = segment_list_load(&l->list, v->wal_dir, true);
	if (rc != 0) {
		errno = -rc;
		say_warn("index: cannot list segments");
		memset(&l->list, 0, sizeof(l->list));
		l->list.newest = l->list.oldest = UINT32_MAX;
	}
	if (l->list.newest != UINT32_MAX) {
		const struct segment_info *info =
		    &l->list.entry[l->list.newest].info;

		memcpy(v->head.id.group_uuid, info->uuid, 16);
		v->head.id.generation = info->generation;
	}
	v->head.stride = VMAP_STRIDE_BYTES;
}

static int
ring_load(struct load *l)
{
	struct vmap_pair pair;
	uint64_t i;
	int rc = 0;

	vmap_range(l->v->r->vmap, &l->range);
	for (i = l->range.lo; rc == 0 && i < l->range.count; i++)
		if (vmap_get(l->v->r->vmap, i, &pair) == 0)
			rc = index_samples_add(&l->all, pair.vlsn, pair.lsn);
	return rc;
}

/* Join n doubtful samples to what is there. 0 or -ENOMEM. */
static int
join(struct load *l, const struct vmap_pair *pair, size_t n, size_t *dropped)
{
	size_t room = l->all.count + n + 1;
	struct vmap_pair *joined = malloc(room * sizeof(*joined));

	if (joined == NULL)
		return -ENOMEM;
	l->all.count =
	    index_merge(pair, n, l->all.pair, l->all.count, joined, dropped);
	free(l->all.pair);
	l->all.pair = joined;
	l->all.room = room;
	return 0;
}

/* A boot does not wait for ever: what is left is found by the next one. */
static bool
scan_over(struct load *l)
{
	if (mono_ns() - l->begun_ns < INDEX_SCAN_NS &&
	    loop_shutdown(&l->v->loop) == SHUTDOWN_NONE)
		return false;
	l->fault = "is behind the log, not all of it was read";
	return true;
}

static bool
is_known(const struct load *l, uint64_t vlsn)
{
	size_t lo = 0, hi = l->all.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->all.pair[mid].vlsn < vlsn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < l->all.count && l->all.pair[lo].vlsn == vlsn;
}

/* Of first records, those that are new and, unless a flush was empty, there. */
static size_t
firsts_check(struct load *l, struct vmap_pair *firsts, size_t n)
{
	size_t i, kept = 0;

	for (i = 0; i < n; i++) {
		if (is_known(l, firsts[i].vlsn))
			continue;
		if (scan_over(l))
			break;
		loop_beat(&l->v->loop);
		if (index_sample_check(l->v->wal_dir, &firsts[i]) == 0)
			firsts[kept++] = firsts[i];
	}
	return kept;
}

static int
join_firsts(struct load *l)
{
	struct vmap_pair *firsts = calloc(l->list.count + 1, sizeof(*firsts));
	size_t n, dropped;
	int rc;

	if (firsts == NULL)
		return -ENOMEM;
	n = index_firsts(&l->list, firsts);
	rc = join(l, firsts, firsts_check(l, firsts, n), &dropped);
	free(firsts);
	return rc;
}

/*
 * What the file tells of records behind the log's end: what a cut took off,
 * which the file is older than; or it is lost. A cut of this life is told of
 * before `durable` is lowered, while its header may be on its way.
 */
static void
beyond_check(struct load *l)
{
	uint64_t done, cut = walbuf_cut_since(&l->v->r->walbuf, 0, &done);
	size_t i;

	for (i = l->file.count; i-- > 0;) {
		const struct vmap_pair *pair = &l->file.sample[i];

		if (segment_list_uncut(&l->list, pair->vlsn,
			lsn_segment(pair->lsn)) < pair->vlsn ||
		    (pair->vlsn > l->durable && pair->vlsn > cut))
			l->cut++;
		else if (pair->vlsn > l->durable && l->v->lost.vlsn == 0)
			l->v->lost = *pair;
	}
}

/* The map's samples, the file's, and those that headers tell, into l->all. */
static int
merge(struct load *l)
{
	size_t n = l->file.count, dropped = 0;
	int rc;

	if (n > 0)
		l->file_last = l->file.sample[n - 1].vlsn;
	beyond_check(l);
	n = index_prune(
	    &l->list, l->file.sample, n, l->durable, &l->gone, &l->wrong);
	/* Of a segment that is recycled by now they count as gone. */
	l->wrong -= l->cut < l->wrong ? l->cut : l->wrong;
	rc = join(l, l->file.sample, n, &dropped);
	l->wrong += dropped;
	return rc == 0 ? join_firsts(l) : rc;
}

static void
hole_beat(void *arg, uint64_t bytes)
{
	struct load *l = arg;

	l->scanned += bytes;
	loop_beat(&l->v->loop);
	seq_progress_set(l->v->r->seq, l->v->w->slot, l->holes, 0, l->scanned,
	    0, "rebuilding the VLSN index");
}

static void
hole_damaged(
    struct load *l, const struct index_hole *hole, int error, uint32_t broken)
{
	char name[SEGMENT_NAME_MAX];

	segment_name(name, hole->segment);
	event_add(l->v->r, l->v->w->slot, EVENT_WARN,
	    "index: wal/%s offset %" PRIu32 ": %s; not indexed from there",
	    name, broken,
	    error == -EBADMSG ? "the chain is broken" : strerror(-error));
}

/* Scan every hole; what is found joins l->all. 0 or -ENOMEM. */
static int
fill_holes(struct load *l)
{
	struct index_samples found = { 0 };
	struct index_hole hole;
	uint32_t i = 0, broken;
	size_t at = 0, dropped;
	int rc = 0;

	while (rc != -ENOMEM && index_hole_next(&l->list, l->all.pair,
				    l->all.count, &i, &at, &hole)) {
		if (scan_over(l))
			break;
		l->holes++;
		rc = index_hole_scan(
		    l->v->wal_dir, &hole, &found, hole_beat, l, &broken);
		if (rc != 0)
			hole_damaged(l, &hole, rc, broken);
	}
	if (rc != -ENOMEM)
		rc = join(l, found.pair, found.count, &dropped);
	free(found.pair);
	return rc;
}

/* Say what was wrong, once, if there is anything that an index could hold. */
static void
report(struct load *l)
{
	struct vlsn *v = l->v;

	if (l->fault == NULL && l->wrong > 0)
		l->fault = "contradicts the log";
	if (l->fault == NULL && l->cut > 0)
		l->fault = "is older than a cut of the log";
	if (l->fault == NULL && l->holes > 0)
		l->fault = "is behind the log";
	if (l->fault == NULL || l->durable == 0)
		return;
	counter_add(v->r->counters, v->w->slot, C_INDEX_REBUILDS, 1);
	event_add(v->r, v->w->slot,
	    l->file.bad > 0 || l->wrong > 0 ? EVENT_WARN : EVENT_INFO,
	    "index: %s %s: rebuilt, %zu samples, %u parts of the log read",
	    INDEX_DIR "/" INDEX_NAME, l->fault, l->all.count, l->holes);
}

/* First number in the map that lies behind what the file holds. */
static uint64_t
first_unsaved(const struct load *l)
{
	struct vmap_pair pair;
	uint64_t i;

	for (i = l->range.lo; i < l->range.count; i++)
		if (vmap_get(l->v->r->vmap, i, &pair) == 0 &&
		    pair.vlsn > l->v->disk.last_vlsn)
			break;
	return i;
}

void
vlsn_publish(
    struct vlsn *v, const struct vmap_pair *pair, size_t n, uint64_t cuts)
{
	if (vmap_old_set(v->r->vmap, pair, n, cuts) == 0)
		return;
	counter_add(v->r->counters, v->w->slot, C_REGION_FULL, 1);
	event_add(v->r, v->w->slot, EVENT_WARN,
	    "index: no memory left in /dev/shm for %zu samples: lookups in "
	    "old segments are slow; enlarge it",
	    n);
}

/* Publish; from here on additions go where the file allows. */
static void
finish(struct load *l)
{
	struct vlsn *v = l->v;

	memset(&v->disk, 0, sizeof(v->disk));
	v->disk.usable = l->fault == NULL;
	if (v->disk.usable)
		v->disk.last_vlsn = l->file_last;
	v->next = l->range.lo;
	if (v->disk.usable)
		v->next = first_unsaved(l);
	v->cuts = l->range.cuts;
	v->flushed_ns = mono_ns();
	v->checkpointed = position_get(&v->r->pos->checkpointed);
	vlsn_publish(v, l->all.pair, l->all.count, l->range.cuts);
	position_set(&v->r->pos->indexed, v->disk.last_vlsn);
}

static void
load_end(struct load *l)
{
	segment_list_free(&l->list);
	index_image_free(&l->file);
	free(l->all.pair);
}

/* with_file: else as if there were none, because it was found false. */
static void
load_run(struct vlsn *v, bool with_file)
{
	struct load l = { .v = v, .fault = "is false", .begun_ns = mono_ns() };

	l.durable = position_get(&v->r->pos->durable);
	if (v->wal_dir >= 0)
		close(v->wal_dir);
	list_load(&l);
	if (with_file) {
		l.fault = NULL;
		file_load(&l);
	}
	if (ring_load(&l) != 0 || merge(&l) != 0 || fill_holes(&l) != 0)
		event_add(v->r, v->w->slot, EVENT_WARN,
		    "index: out of memory: lookups in old segments are slow");
	report(&l);
	finish(&l);
	load_end(&l);
}

void
vlsn_load(struct vlsn *v)
{
	int rc = vlsn_open_dir(v);

	if (rc != 0 && !(v->w->readonly && rc == -ENOENT)) {
		errno = -rc;
		say_warn("index: directory %s", INDEX_DIR);
	}
	load_run(v, true);
}

/* Look up at most INDEX_CHECKS of the samples, spread evenly. */
static int
check_samples(struct vlsn *v, const struct vmap_pair *pair, size_t n,
    struct vmap_pair *bad)
{
	size_t checks = n < INDEX_CHECKS ? n : INDEX_CHECKS, i;
	uint64_t durable = position_get(&v->r->pos->durable);

	for (i = 0; i < checks; i++) {
		*bad = pair[checks < 2 ? 0 : i * (n - 1) / (checks - 1)];
		if (bad->vlsn <= durable &&
		    index_sample_check(v->wal_dir, bad) == -EBADMSG)
			return -EBADMSG;
		loop_beat(&v->loop);
	}
	return 0;
}

void
vlsn_check(struct vlsn *v)
{
	struct vmap_pair *pair, bad;
	size_t n;

	pair = malloc(VMAP_OLD_ENTRIES * sizeof(*pair));
	if (pair == NULL || v->wal_dir < 0)
		goto out;
	n = vmap_old_copy(v->r->vmap, pair, VMAP_OLD_ENTRIES);
	if (check_samples(v, pair, n, &bad) == 0)
		goto out;
	say_warnx("index: VLSN %" PRIu64 " is not at wal/%08" PRIx32
		  ".seg offset %" PRIu32,
	    bad.vlsn, lsn_segment(bad.lsn), lsn_offset(bad.lsn));
	load_run(v, false);
out:
	free(pair);
}
