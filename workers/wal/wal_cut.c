/*
 * Cutting the log: records behind `req.vlsn`, which the group does not have,
 * go, and the next one gets that VLSN's successor. The happy path:
 *	1 drain	 appends stop; what was appended gets to the disk, so no
 *		 completion of before can come after
 *	2 save	 what goes is copied to salvage/, durably (wal_cut_save.c)
 *	3 lower	 it is told first (walbuf.h: cuts); then durable, appended, the
 *		 VLSN map, term runs, membership; the buffer is emptied
 *	4 begin	 a new segment, whose header says where the log ends, which of
 *		 its VLSNs are given out again, and supersedes the rest
 *	5 done	 the header is on disk: appends go on, group is told, files
 *		 that hold nothing else any more go
 * Killed before the header is on disk a boot finds the log as it was, from then
 * on as it is. Until 3 anything that fails, or changes (the role, the epoch, a
 * stop), ends the cut, and nothing has changed: the copy goes. Then there is no
 * way back but a boot: a header that cannot be written closes the log as any
 * flush does.
 */
#include "workers/wal/wal.h"

#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"

/* For tests, which end the process there. */
static void
stage(void)
{
	(void)wal_fault(WAL_OP_CUT_STAGE, 0);
}

/*
 * May it be? Nobody raises `committed` while this node is no master in the
 * epoch that the word is of: on a replica only wal itself does.
 */
static unsigned
refusal(const struct wal *w, const struct cut_req *req)
{
	uint64_t committed = position_get(&w->r->pos->committed);

	if (w->phase == WAL_FAILED)
		return RET_LOG_FAILED;
	if (w->stopping)
		return RET_STOPPING;
	if (w->away.away)
		return RET_AWAY;
	if (w->view.role == ROLE_MASTER)
		return RET_CUT_MASTER;
	if (w->view.epoch != req->epoch ||
	    word_epoch(committed) != req->epoch ||
	    atomic_load_explicit(&w->r->commit->seq, memory_order_acquire) !=
		w->view_seq)
		return RET_CUT_EPOCH;
	if (word_vlsn(committed) > req->vlsn)
		return RET_CUT_COMMITTED;
	if (position_get(&w->r->pos->applied) > req->vlsn)
		return RET_CUT_APPLIED;
	if (w->phase == WAL_IDLE)
		return RET_READONLY;
	return req->vlsn > w->log.end.vlsn ? RET_CUT_BEYOND : RET_OK;
}

static void
answer(struct wal *w, unsigned status)
{
	w->cut.step = CUT_ANSWER;
	w->cut.status = status;
}

unsigned
wal_cut_request(struct wal *w, const struct cut_req *req)
{
	struct wal_cut *c = &w->cut;
	unsigned status;

	if (c->step == CUT_ANSWER)
		return c->status;
	if (c->step != CUT_NONE)
		return WAL_CUT_LATER;
	status = refusal(w, req);
	if (status != RET_OK || req->vlsn == w->log.end.vlsn)
		return status;
	c->req = *req;
	c->step = CUT_DRAIN;
	return WAL_CUT_LATER;
}

/* All that was appended is on disk, and no file of a cut before is left. */
static bool
drained(const struct wal *w)
{
	return !w->log.batch.open && w->flights == 0 &&
	       (w->phase == WAL_APPENDING || w->phase == WAL_CLOSING) &&
	       w->keeper.cut_from == w->keeper.cut_to;
}

static void
save(struct wal *w)
{
	int rc = wal_cut_save(w);

	if (rc == 0)
		w->cut.step = CUT_SEGMENT;
	else
		answer(w, rc == -ENOENT ? RET_CUT_LOST : RET_CUT_UNSAVED);
}

/*
 * Others read meanwhile, and this process may die between any two stores. First
 * it is told that there is a cut: what a reader took from behind is void
 * (walbuf_cut_since()). Then what was durable is lowered, before what was
 * appended: at no time is more durable than there is.
 */
static void
lower(struct wal *w)
{
	struct walbuf_head *h = w->r->walbuf.h;
	struct positions *pos = w->r->pos;
	uint64_t vlsn = w->cut.req.vlsn;
	uint64_t n = atomic_load_explicit(&h->cuts, memory_order_relaxed) + 1;

	/* All of it is durable: no completion raises what is lowered here. */
	ASSERT(w->flights == 0);
	ASSERT(w->durable == w->log.end.vlsn);
	ASSERT(vlsn < w->durable);
	atomic_store_explicit(
	    &h->cut[n % WALBUF_CUTS], vlsn, memory_order_relaxed);
	/* Pairs with the acquire in walbuf_cut_since(). */
	atomic_store_explicit(&h->cuts, n, memory_order_release);
	stage();
	w->durable = w->head_durable = vlsn;
	position_set(&pos->durable, vlsn);
	if (w->view.self < MEMBER_MAX)
		atomic_store_explicit(
		    &w->r->commit->member[w->view.self].durable,
		    epoch_word(w->view.epoch, vlsn), memory_order_release);
	stage();
	append_cut(&w->log, &w->cut.end);
	/* In this order: a reader never sees more durable than appended. */
	ASSERT(w->durable == w->log.end.vlsn);
	position_set(&pos->appended, vlsn);
	position_set(&pos->clock_ms, (uint64_t)w->log.end.time_ms);
	stage();
	vmap_cut(w->r->vmap, vlsn);
	terms_cut(w->r->terms, vlsn);
	stage();
}

/* The membership in force before what is cut: no other is uncommitted. */
static void
member_lower(struct wal *w)
{
	struct positions *pos = w->r->pos;
	uint64_t vlsn = w->cut.req.vlsn;

	if (w->member <= vlsn)
		return;
	w->member = w->member_before <= vlsn ? w->member_before : 0;
	w->member_before = w->member;
	ASSERT(w->member <= vlsn);
	position_set(&pos->member,
	    w->member >= position_get(&pos->first) ? w->member : 0);
}

/* What else was told, or is remembered, of records that are no more. */
static void
forget(struct wal *w, uint64_t term)
{
	struct positions *pos = w->r->pos;
	uint64_t vlsn = w->cut.req.vlsn;

	member_lower(w);
	w->urgent = w->group_waits = 0;
	if (position_get(&pos->urgent) > vlsn)
		position_set(&pos->urgent, vlsn);
	if (position_get(&pos->group_waits) > vlsn)
		position_set(&pos->group_waits, 0);
	/* No term that was begun here begins again, though its records went. */
	if (w->boot_term < term)
		w->boot_term = term;
	if (w->term_start > vlsn)
		w->own_term = w->term_start = 0;
	ASSERT(w->boot_term >= w->log.end.term);
	w->parts_open = false;
	/* A CLOCK record may be among what goes: log time never falls. */
	if (w->clock.ms < w->log.end.time_ms)
		log_clock_open(&w->clock, w->log.end.time_ms, mono_ns());
}

/*
 * Has the store applied all that it was given? Then no pointer of its leads
 * into the buffer, and what comes it reads behind the cut.
 */
static bool
store_through(const struct wal *w)
{
	/* Pairs with its release. */
	return position_get(&w->r->pos->applied) >=
	       word_vlsn(position_get(&w->r->pos->committed));
}

/* Until then what it did not need before an older cut, it does not now. */
static void
hold_turn(struct wal *w)
{
	if (w->cut.hold < w->cut.base && store_through(w))
		w->cut.hold = w->cut.base;
}

/*
 * Room for the gap to the next block, and the header. What fills the buffer may
 * be the very records that go, which nobody else would ever make room of.
 */
static bool
room(struct wal *w)
{
	uint32_t need = 2 * w->io.block;

	if (store_through(w) && append_room(&w->log, w->log.position) >= need)
		return true;
	if (wal_buffer_has(w, need))
		return true;
	w->own_room = w->need_room;
	return false;
}

/* From here on there is no way back. */
static void
cut(struct wal *w, int fd, uint32_t number, uint64_t size)
{
	struct segment_info *info = &w->segment.info;
	struct wal_old old = { .number = info->number,
		.first_vlsn = info->first_vlsn,
		.size = (uint64_t)w->log.segment.limit + w->io.block };
	uint64_t term = w->log.end.term;

	ASSERT(w->cut.step == CUT_SEGMENT);
	ASSERT(w->view.role != ROLE_MASTER);
	ASSERT(!w->log.batch.open);
	ASSERT(w->cut.number <= info->number);
	ASSERT(number > info->number);
	ASSERT(w->cut.end.vlsn == w->cut.req.vlsn);
	ASSERT(
	    word_vlsn(position_get(&w->r->pos->committed)) <= w->cut.end.vlsn);
	w->cut.last = w->log.end.vlsn;
	w->cut.copy[0] = '\0'; /* it stays */
	lower(w);
	forget(w, term);
	close(w->segment.fd);
	if (old.number == w->cut.number && wal_keeper_old_add(w, &old) != 0)
		say_warnx("wal/%08x.seg: no memory to remember it; it is "
			  "recycled after the next boot",
		    old.number);
	info->number = number;
	wal_keeper_cut(w, w->cut.number);
	info->prev_number = w->cut.number;
	info->prev_end = w->cut.offset;
	if (w->cut.high < w->cut.last)
		w->cut.high = w->cut.last;
	ASSERT(w->cut.high > w->cut.req.vlsn);
	w->cut.base = w->log.position;
	hold_turn(w);
	w->cut.step = CUT_HEADER;
	wal_segment_begin(w, fd, number, size);
	stage();
}

/* The next segment's file is needed: on a full disk the reserve makes room. */
static void
begin(struct wal *w)
{
	uint32_t number;
	uint64_t size;
	int fd;

	if (!room(w))
		return;
	fd = wal_keeper_take(w, &number, &size);
	if (fd >= 0) {
		cut(w, fd, number, size);
		return;
	}
	wal_busy(w, BUSY_SPACE);
	if (w->keeper.error == 0 || !wal_is_nospace(-w->keeper.error) ||
	    w->keeper.reserve_missing || w->keeper.spares > 0)
		return;
	event_add(w->r, SLOT_WAL, EVENT_WARN,
	    "no space for the segment behind a cut: the reserve is used up");
	w->keeper.drop_reserve = w->keeper.reserve_missing = true;
}

void
wal_cut_done(struct wal *w)
{
	struct walbuf_head *h = w->r->walbuf.h;

	if (w->cut.step != CUT_HEADER)
		return;
	stage();
	/* Files tell of it, too: pairs with the acquire in
	   walbuf_cut_since(). */
	atomic_store_explicit(&h->cuts_done,
	    atomic_load_explicit(&h->cuts, memory_order_relaxed),
	    memory_order_release);
	answer(w, RET_OK);
	event_add(w->r, SLOT_WAL, EVENT_WARN,
	    "records %ju to %ju are cut off, which the group does not have: "
	    "they are in salvage/",
	    (uintmax_t)w->cut.req.vlsn + 1, (uintmax_t)w->cut.last);
	/* Its samples and its membership are others'. */
	bell_ring(w->loop.bells, SLOT_VLSN);
	w->loop.unready = true;
}

void
wal_cut_turn(struct wal *w)
{
	struct wal_cut *c = &w->cut;
	unsigned status;

	hold_turn(w);
	if (c->step == CUT_HEADER && w->phase == WAL_FAILED)
		answer(w, RET_LOG_FAILED);
	if (c->step != CUT_DRAIN && c->step != CUT_SEGMENT)
		return;
	status = refusal(w, &c->req);
	if (status != RET_OK) {
		wal_cut_unsave(w);
		answer(w, status);
		w->loop.unready = true;
		return;
	}
	if (c->step == CUT_DRAIN && drained(w)) {
		stage();
		save(w);
		stage();
	}
	if (c->step == CUT_SEGMENT)
		begin(w);
	if (c->step == CUT_ANSWER)
		w->loop.unready = true;
}
