/*
 * Holding the VLSN index against the log. Only closed segments and what lies
 * before a known sample are ever scanned, so a running wal is no matter.
 */
#include "workers/vlsn/index_log.h"

#include <errno.h>
#include <stdlib.h>
#include "shm/log/walbuf.h"

#define SCAN_CHUNK  (1u << 20)
#define CHECK_CHUNK SEGMENT_BLOCK_MAX

int
index_samples_add(struct index_samples *v, uint64_t vlsn, uint64_t lsn)
{
	struct vmap_pair *grown;
	size_t room;

	if (v->count == v->room) {
		room = v->room == 0 ? 256 : v->room * 2;
		grown = realloc(v->pair, room * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		v->pair = grown;
		v->room = room;
	}
	v->pair[v->count].vlsn = vlsn;
	v->pair[v->count++].lsn = lsn;
	return 0;
}

/* Entry of a segment number, if the log has it; else UINT32_MAX. */
static uint32_t
chain_find(const struct segment_list *l, uint32_t number)
{
	uint32_t i;

	for (i = 0; i < l->count; i++)
		if (l->entry[i].in_chain && l->entry[i].number == number)
			return i;
	return UINT32_MAX;
}

static bool
sample_possible(const struct segment_list *l, uint32_t i,
    const struct vmap_pair *pair, uint64_t durable)
{
	const struct segment_entry *e = &l->entry[i];
	uint32_t next = segment_list_next(l, i);
	uint32_t offset = lsn_offset(pair->lsn);

	if (offset < e->info.block || offset % 8 != 0 ||
	    offset >= (e->end != 0 ? e->end : e->file_size))
		return false;
	if (pair->vlsn < e->info.first_vlsn || pair->vlsn > durable)
		return false;
	return next == UINT32_MAX ||
	       pair->vlsn < l->entry[next].info.first_vlsn;
}

size_t
index_prune(const struct segment_list *l, struct vmap_pair *pair, size_t n,
    uint64_t durable, size_t *gone, size_t *wrong)
{
	uint32_t oldest =
	    l->oldest == UINT32_MAX ? UINT32_MAX : l->entry[l->oldest].number;
	uint32_t number = 0, entry = UINT32_MAX;
	size_t i, kept = 0;

	*gone = *wrong = 0;
	for (i = 0; i < n; i++) {
		if (i == 0 || lsn_segment(pair[i].lsn) != number) {
			number = lsn_segment(pair[i].lsn);
			entry = chain_find(l, number);
		}
		if (entry != UINT32_MAX &&
		    sample_possible(l, entry, &pair[i], durable))
			pair[kept++] = pair[i];
		else if (number < oldest)
			(*gone)++;
		else
			(*wrong)++;
	}
	return kept;
}

size_t
index_firsts(const struct segment_list *l, struct vmap_pair *out)
{
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < l->count; i++) {
		const struct segment_entry *e = &l->entry[i];
		uint32_t offset = e->info.block + SEGMENT_BATCH_LEN;

		if (!e->in_chain || e->end <= offset)
			continue;
		out[n].vlsn = e->info.first_vlsn;
		out[n++].lsn = lsn_make(e->number, offset);
	}
	return n;
}

/* What lies between a sample (NULL: the segment's beginning) and `to`. */
static void
hole_set(const struct segment_entry *e, const struct vmap_pair *before,
    uint32_t to, struct index_hole *out)
{
	out->segment = e->number;
	out->from = before != NULL ? lsn_offset(before->lsn) : 0;
	out->from_vlsn = before != NULL ? before->vlsn : 0;
	out->to = to;
}

static bool
hole_long(const struct segment_entry *e, const struct index_hole *hole)
{
	uint32_t from = hole->from != 0 ? hole->from : e->info.block;

	return hole->to > from && hole->to - from > INDEX_HOLE_BYTES;
}

/* The end of a closed segment; one without a sample is all hole. */
static bool
hole_last(const struct segment_entry *e, const struct vmap_pair *before,
    struct index_hole *out)
{
	if (e->end == 0)
		return false;
	hole_set(e, before, e->end, out);
	if (before == NULL)
		return e->end > e->info.block + SEGMENT_BATCH_LEN;
	return hole_long(e, out);
}

/* The next hole of one entry; *at runs over its samples. */
static bool
hole_of_entry(const struct segment_entry *e, const struct vmap_pair *pair,
    size_t n, size_t *at, struct index_hole *out)
{
	const struct vmap_pair *before = NULL;

	while (*at < n && lsn_segment(pair[*at].lsn) < e->number)
		(*at)++;
	if (*at > 0 && lsn_segment(pair[*at - 1].lsn) == e->number)
		before = &pair[*at - 1];
	while (*at < n && lsn_segment(pair[*at].lsn) == e->number) {
		hole_set(e, before, lsn_offset(pair[*at].lsn), out);
		before = &pair[(*at)++];
		if (hole_long(e, out))
			return true;
	}
	return false;
}

bool
index_hole_next(const struct segment_list *l, const struct vmap_pair *pair,
    size_t n, uint32_t *i, size_t *at, struct index_hole *out)
{
	while (*i < l->count) {
		const struct segment_entry *e = &l->entry[*i];
		const struct vmap_pair *last = NULL;

		if (e->in_chain && hole_of_entry(e, pair, n, at, out))
			return true;
		(*i)++;
		if (*at > 0 && lsn_segment(pair[*at - 1].lsn) == e->number)
			last = &pair[*at - 1];
		if (e->in_chain && hole_last(e, last, out))
			return true;
	}
	return false;
}

/* Sample the records behind batch heads, a stride apart. */
static int
hole_walk(struct segment_reader *r, const struct index_hole *hole,
    struct index_samples *out, void (*beat)(void *arg, uint64_t bytes),
    void *arg)
{
	uint32_t offset, beaten = r->scan.offset, last = hole->from;
	bool behind_head = false;
	struct record rec;
	int rc = 0;

	while (rc == 0 && (rc = segment_reader_next(r, &rec, &offset)) == 0) {
		if (behind_head && rec.vlsn != 0 &&
		    (last == 0 || offset - last >= VMAP_STRIDE_BYTES)) {
			rc = index_samples_add(
			    out, rec.vlsn, lsn_make(hole->segment, offset));
			last = offset;
		}
		behind_head = rec.type == REC_BATCH;
		if (offset - beaten >= SCAN_CHUNK) {
			if (beat != NULL)
				beat(arg, offset - beaten);
			beaten = offset;
		}
	}
	return rc;
}

int
index_hole_scan(int wal_dir, const struct index_hole *hole,
    struct index_samples *out, void (*beat)(void *arg, uint64_t bytes),
    void *arg, uint32_t *broken)
{
	struct segment_reader r;
	int rc;

	*broken = hole->from;
	rc = segment_reader_open(&r, wal_dir, hole->segment, SCAN_CHUNK, true);
	if (rc != 0)
		return rc == -ENODATA ? -EBADMSG : rc;
	if (hole->from != 0)
		rc = segment_reader_seek(&r, hole->from, hole->from_vlsn);
	/* The head before the next sample is none of the hole's. */
	r.limit = hole->to;
	if (rc == 0)
		rc = hole_walk(&r, hole, out, beat, arg);
	if (rc == -ENODATA) {
		*broken = r.scan.offset;
		rc = r.scan.offset >= hole->to ? 0 : -EBADMSG;
	}
	segment_reader_close(&r);
	return rc;
}

int
index_sample_check(int wal_dir, const struct vmap_pair *pair)
{
	struct segment_reader r;
	struct record rec;
	uint32_t offset;
	int rc;

	rc = segment_reader_open(
	    &r, wal_dir, lsn_segment(pair->lsn), CHECK_CHUNK, false);
	if (rc == -ENOENT || rc == -ENODATA)
		return -EBADMSG;
	if (rc != 0)
		return rc;
	rc = segment_reader_seek(&r, lsn_offset(pair->lsn), pair->vlsn);
	if (rc == 0)
		rc = segment_reader_next(&r, &rec, &offset);
	if (rc == -ENODATA || (rc == 0 && (rec.vlsn != pair->vlsn ||
					      offset != lsn_offset(pair->lsn))))
		rc = -EBADMSG;
	segment_reader_close(&r);
	return rc;
}
