/*
 * What group asks for when others are about to change the log's future: a
 * fence, behind which nothing of an older epoch is sent, taken or appended; and
 * what stands at a VLSN, in the buffer or in a segment file, so that two logs
 * can be compared. The second may read a file: that blocks, here and not in
 * group, whose beats go on.
 */
#include "workers/wal/wal.h"

#include "shm/assert.h"
#include "shm/log/cursor.h"

void
wal_ask_fence(struct wal *w, const struct fence_req *req, struct fence_ret *ret)
{
	if (!w->fence_set || epoch_older(w->fence_epoch, req->epoch))
		w->fence_epoch = req->epoch;
	w->fence_set = true;
	wal_data_fence(w);
	/* What is said to be the end is what everybody can read. */
	wal_publish_appended(w);
	ret->term = w->log.end.term;
	ret->vlsn = w->log.end.vlsn;
	ret->member_vlsn = position_get(&w->r->pos->member);
	ret->crc = w->log.end.chain;
	ret->epoch = req->epoch;
	ret->zero = 0;
	ret->zero2 = 0;
}

bool
wal_buffer_step(const struct wal *w, uint64_t *at, struct wal_place *out)
{
	const struct append *log = &w->log;
	const uint8_t *p;

	/* The head of the open batch is not made yet. */
	if (log->batch.open && *at == log->batch.start)
		*at += SEGMENT_BATCH_LEN;
	if (*at + REC_HEADER_SIZE > log->position)
		return false;
	p = append_at(log, *at);
	out->at = *at;
	out->len = get_le32(p + REC_LEN_OFF);
	out->vlsn = get_le64(p + REC_VLSN_OFF);
	out->replicated = record_replicated(p[REC_TYPE_OFF]);
	if (!record_len_ok(out->len) || out->len > log->position - *at)
		return false;
	*at += out->len;
	return true;
}

uint64_t
wal_buffer_find(const struct wal *w, uint64_t vlsn)
{
	struct wal_place place;
	struct vmap_pair pair;
	uint64_t at;

	if (vlsn == w->log.end.vlsn + 1)
		return w->log.position;
	if (vlsn == 0 || vlsn > w->log.end.vlsn ||
	    vmap_lookup(w->r->vmap, vlsn, &pair) != 0)
		return UINT64_MAX;
	at = walbuf_position(&w->log.buf, pair.lsn);
	if (at == UINT64_MAX || at < w->log.oldest)
		return UINT64_MAX;
	while (wal_buffer_step(w, &at, &place))
		if (place.replicated && place.vlsn == vlsn)
			return place.at;
	return UINT64_MAX;
}

/*
 * The oldest VLSN behind which the buffer can feed, and for a while: of a
 * buffer that is used again and again an eighth counts as gone.
 */
static uint64_t
live_from(const struct wal *w)
{
	uint64_t size = w->log.buf.size, low = w->log.oldest, at, i;
	uint64_t live = w->log.end.vlsn;
	struct vmap_range range;
	struct vmap_pair pair;

	if (w->log.position > size && low < w->log.position - size + size / 8)
		low = w->log.position - size + size / 8;
	vmap_range(w->r->vmap, &range);
	for (i = range.count; i > range.lo; i--) {
		if (vmap_get(w->r->vmap, i - 1, &pair) != 0)
			break;
		at = walbuf_position(&w->log.buf, pair.lsn);
		if (at == UINT64_MAX || at < low || pair.vlsn > live + 1)
			break;
		live = pair.vlsn - 1;
	}
	return live;
}

/* The record before the log's oldest one: its header tells of it. */
static unsigned
chain_before(struct wal *w, struct chain_ret *ret)
{
	uint32_t number = w->keeper.olds > 0 ? w->keeper.old[0].number
					     : w->segment.info.number;
	struct segment_reader r;
	unsigned status = CHAIN_GONE;
	int rc;

	rc = segment_reader_open(&r, w->dir, number, SEGMENT_BLOCK_MAX, true);
	if (rc != 0)
		return cursor_unread(rc) ? CHAIN_UNREADABLE : CHAIN_GONE;
	/* In a log of format 1 another record may come before it. */
	if (r.info.first_vlsn == ret->vlsn + 1 &&
	    r.info.format != SEGMENT_FORMAT_1) {
		ret->term = r.info.term_before;
		ret->crc = r.info.prev_crc;
		status = CHAIN_OK;
	}
	segment_reader_close(&r);
	return status;
}

static unsigned
chain_in_files(struct wal *w, struct chain_ret *ret)
{
	struct cursor *c;
	struct record rec;
	unsigned status;
	int rc;

	rc = cursor_open(&c, w->r, w->dir, false);
	if (rc != 0)
		return CHAIN_UNREADABLE;
	rc = cursor_seek(c, ret->vlsn);
	if (rc == 0)
		rc = cursor_next(c, ret->vlsn, &rec);
	if (rc == 0) {
		ret->term = rec.term;
		ret->crc = rec.crc;
		status = CHAIN_OK;
	} else
		status = rc == -ENOENT || rc == -ESTALE ? CHAIN_GONE
							: CHAIN_UNREADABLE;
	cursor_close(c);
	return status;
}

static unsigned
chain_at(struct wal *w, struct chain_ret *ret)
{
	uint64_t at;

	if (ret->vlsn == w->log.end.vlsn) {
		ret->term = w->log.end.term;
		ret->crc = w->log.end.chain;
		return CHAIN_OK;
	}
	if (ret->vlsn > w->log.end.vlsn)
		return CHAIN_BEYOND;
	/* Before a log that was never cut at its beginning is nothing. */
	if (ret->vlsn == 0 && ret->first <= 1)
		return CHAIN_OK;
	at = wal_buffer_find(w, ret->vlsn);
	if (at != UINT64_MAX) {
		ret->term = get_le64(append_at(&w->log, at) + REC_TERM_OFF);
		ret->crc = get_le32(append_at(&w->log, at) + REC_CRC_OFF);
		return CHAIN_OK;
	}
	if (ret->vlsn + 1 < ret->first)
		return CHAIN_GONE;
	return ret->vlsn + 1 == ret->first ? chain_before(w, ret)
					   : chain_in_files(w, ret);
}

void
wal_ask_chain(struct wal *w, const struct chain_req *req, struct chain_ret *ret)
{
	wal_publish_appended(w);
	ret->vlsn = req->vlsn;
	ret->first = position_get(&w->r->pos->first);
	ret->term = ret->zero = 0;
	ret->crc = 0;
	ret->status = chain_at(w, ret);
	ret->live_from = live_from(w);
}
