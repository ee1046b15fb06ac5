/*
 * Flushing: a batch is sealed and written, and when it is on disk everybody is
 * told. The happy path: wal_plan() says that it is time, the batch's head is
 * filled in and sealed (its records were as they were put), one write goes out,
 * and its completion publishes `durable`. Through the page cache the write is
 * linked to a sync, whose completion counts.
 * Failures: a short write is continued, and what was interrupted or broken off
 * is submitted once more; any other error is final (wal_fail.c).
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "shm/assert.h"
#include "shm/say.h"

int
wal_flight_memory(struct wal *w)
{
	unsigned i;

	for (i = 0; i < FLIGHT_MAX; i++) {
		w->flight[i].bounce = aligned_alloc(w->io.block, w->io.block);
		if (w->flight[i].bounce == NULL)
			return -ENOMEM;
	}
	return 0;
}

/*
 * Does a limit of the size of files end inside what was to be written? The
 * kernel shortens a write to that limit; if that leaves no whole blocks, direct
 * I/O calls it EINVAL, which would tell nobody what to do.
 */
static bool
meets_limit(const struct wal *w)
{
	uint64_t room = align_up(append_offset(&w->log), w->io.block);
	struct rlimit rl;

	return getrlimit(RLIMIT_FSIZE, &rl) == 0 && rl.rlim_cur < room;
}

/* A failed write or flush is final. */
static void
flush_failed(struct wal *w, const char *call, int error)
{
	char name[SEGMENT_NAME_MAX];

	if (error == EINVAL && meets_limit(w))
		error = EFBIG;
	segment_name(name, w->segment.info.number);
	wal_fail(w, name, call, error);
}

/*
 * What is left of a flight's bytes, as at most two pieces: whole blocks from
 * the buffer, and the last partial one from its copy.
 */
static int
flight_pieces(struct wal *w, struct wal_flight *f)
{
	uint64_t whole = align_down(f->end, w->io.block);
	uint64_t from = f->start + f->done;
	int n = 0;

	/* On a block: else a direct write is refused, or two meet in one. */
	ASSERT(f->start % w->io.block == 0);
	ASSERT(f->done % w->io.block == 0);
	ASSERT(f->done < f->size);
	if (from < whole) {
		f->iov[n].iov_base = append_at(&w->log, from);
		f->iov[n++].iov_len = whole - from;
	}
	if (whole < f->end) {
		f->iov[n].iov_base = f->bounce;
		f->iov[n++].iov_len = w->io.block;
	}
	ASSERT(n > 0);
	return n;
}

static int
flight_sync_submit(struct wal *w, struct wal_flight *f)
{
	struct io_uring_sqe *sqe = loop_sqe(&w->loop);

	if (sqe == NULL)
		return -EAGAIN;
	io_uring_prep_fsync(sqe, w->segment.fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data64(sqe,
	    loop_tag(WAL_KIND_SYNC, (uint32_t)(f - w->flight), f->generation));
	return 0;
}

static void
flight_trace(
    struct wal *w, const struct wal_flight *f, const struct iovec *iov, int n)
{
	struct wal_trace t = { .slot = (uint32_t)(f - w->flight),
		.number = w->segment.info.number,
		.offset = f->start - w->log.segment.base + f->done,
		.iov = iov,
		.iovs = n,
		.vlsn = f->vlsn };

	if (wal_trace_hook != NULL)
		wal_trace_hook(&t);
}

static int
flight_submit(struct wal *w, struct wal_flight *f)
{
	uint32_t slot = (uint32_t)(f - w->flight);
	uint64_t offset = f->start - w->log.segment.base + f->done;
	struct io_uring_sqe *sqe;
	int n = flight_pieces(w, f);

	/* Behind the header's block is a flush's place, or it is the header. */
	ASSERT(f->start >= w->log.segment.base);
	ASSERT(w->header_flight == (f->start == w->log.segment.base));
	ASSERT(f->end - w->log.segment.base <= w->log.segment.limit);
	/* A link does not cross a submission: room for both, or submit. */
	if (io_uring_sq_space_left(&w->loop.ring) < 2)
		(void)io_uring_submit(&w->loop.ring);
	sqe = loop_sqe(&w->loop);
	if (sqe == NULL)
		return -EAGAIN;
	flight_trace(w, f, f->iov, n);
	f->generation++;
	f->written = false;
	f->state = FLIGHT_WRITING;
	if (n == 1)
		io_uring_prep_write(sqe, w->segment.fd, f->iov[0].iov_base,
		    (unsigned)f->iov[0].iov_len, offset);
	else
		io_uring_prep_writev(
		    sqe, w->segment.fd, f->iov, (unsigned)n, offset);
	io_uring_sqe_set_data64(
	    sqe, loop_tag(WAL_KIND_WRITE, slot, f->generation));
	if (w->io.direct) {
		sqe->rw_flags = RWF_DSYNC;
		return 0;
	}
	sqe->flags |= IOSQE_IO_LINK;
	return flight_sync_submit(w, f);
}

/* The supervisor sees by these how long the disk takes for a flight. */
static void
flight_tell(struct wal *w)
{
	const struct wal_flight *f = &w->flight[w->first];
	bool any = w->flights > 0 && !w->loop.quit && w->phase != WAL_FAILED;

	if (any)
		position_set(&w->r->pos->flight_vlsn, f->vlsn);
	position_set(&w->r->pos->flight_ns, any ? f->submit_ns : 0);
}

/* [start, end) is sealed: send it off. */
static void
flight_begin(struct wal *w, uint64_t start, uint64_t end, bool closed)
{
	const struct wal_flight *before =
	    &w->flight[(w->first + w->flights + FLIGHT_MAX - 1) % FLIGHT_MAX];
	struct wal_flight *f;
	uint64_t whole;

	ASSERT(w->flights < FLIGHT_MAX);
	ASSERT(w->log.segment.number == w->segment.info.number);
	/* No two write one block, and what follows continues what is ahead. */
	ASSERT(w->flights == 0 || before->closed);
	ASSERT(w->flights == 0 || before->end == start);
	ASSERT(!closed || end % w->io.block == 0);
	/* Durable is what readers know as appended. */
	ASSERT(end == w->log.published || w->log.batch.records == 0);
	ASSERT(w->durable <= w->log.end.vlsn);
	f = &w->flight[(w->first + w->flights) % FLIGHT_MAX];
	ASSERT(f->state == FLIGHT_FREE);
	f->start = align_down(start, w->io.block);
	f->end = end;
	f->size = (uint32_t)(align_up(end, w->io.block) - f->start);
	f->done = 0;
	f->closed = closed;
	f->vlsn = w->log.end.vlsn;
	f->records = w->log.batch.records;
	f->head_durable = w->durable;
	f->submit_ns = w->loop.now_ns;
	f->begun_ns = w->batch_begun_ns;
	whole = align_down(end, w->io.block);
	/* A copy: more records come behind these while it is being written, and
	   the rest of the block is to be zeros on disk. */
	if (whole < end) {
		memcpy(f->bounce, append_at(&w->log, whole), end - whole);
		memset(
		    f->bounce + (end - whole), 0, w->io.block - (end - whole));
	}
	w->flights++;
	w->flight_bytes += f->size;
	flight_tell(w);
	wal_bells_flight(w, f->records);
	if (flight_submit(w, f) != 0)
		flush_failed(w, "submit", EAGAIN);
}

void
wal_flight_header(struct wal *w)
{
	ASSERT(w->phase == WAL_HEADER);
	w->header_flight = true;
	w->log.batch.records = 0;
	flight_begin(w, w->log.segment.base, w->log.position, true);
}

bool
wal_flush_turn(struct wal *w)
{
	struct plan_in in = { .flights = w->flights,
		.flight_bytes = w->flight_bytes,
		.block = w->io.block };
	enum plan_action action;

	if (!w->log.batch.open || w->header_flight)
		return false;
	/*
	 * Through the page cache one at a time: of two syncs side by side only
	 * one is told of a write-back that failed, and that may have carried
	 * the other one's bytes.
	 */
	if (!w->io.direct && w->flights > 0)
		return false;
	if (w->flights > 0)
		in.last_closed =
		    w->flight[(w->first + w->flights - 1) % FLIGHT_MAX].closed;
	in.waiting = w->log.position - w->log.batch.start;
	in.must_close = w->log.batch.full || w->phase == WAL_CLOSING;
	action = wal_plan(&in);
	if (action == PLAN_WAIT)
		return false;
	if (action == PLAN_FLUSH_CLOSED) {
		append_pad(&w->log);
		wal_publish_appended(w);
	}
	append_seal(&w->log, w->durable, commit_vlsn(w->r));
	flight_begin(w, w->log.batch.start, w->log.position,
	    action == PLAN_FLUSH_CLOSED);
	return true;
}

static void
flight_account(struct wal *w, const struct wal_flight *f)
{
	struct histograms *hs = w->r->hists;
	uint64_t now = mono_ns();

	w->flushed_ns = now;
	wal_count(w, C_WAL_FLUSHES, 1);
	wal_count(w, C_WAL_FLUSH_BYTES, f->size);
	hist_add(hist_of(hs, SLOT_WAL, H_FLUSH), now - f->submit_ns);
	hist_add(hist_of(hs, SLOT_WAL, H_FLUSH_RECORDS), f->records);
}

/*
 * The oldest flight is on disk: publish. `durable` comes before the member's
 * word: records are committed by that, and none may be that is not durable for
 * whoever looks.
 */
static void
flight_publish(struct wal *w, struct wal_flight *f)
{
	struct region *r = w->r;

	/* It rises, but at a cut, which waits until none is under way. */
	ASSERT(f->vlsn >= w->durable);
	ASSERT(f->vlsn <= w->log.end.vlsn);
	ASSERT(f->head_durable <= w->durable);
	flight_account(w, f);
	w->head_durable = f->head_durable;
	w->durable = f->vlsn;
	position_set(&r->pos->durable, w->durable);
	atomic_store_explicit(
	    &r->walbuf.h->flushed, f->end, memory_order_release);
	if (w->view.self < MEMBER_MAX)
		atomic_store_explicit(&r->commit->member[w->view.self].durable,
		    epoch_word(w->view.epoch, w->durable),
		    memory_order_release);
}

static void
flights_publish(struct wal *w)
{
	struct wal_flight *f;
	uint64_t begun = 0;
	bool any = false, raised;

	while (w->flights > 0) {
		f = &w->flight[w->first];
		if (f->state != FLIGHT_DONE)
			break;
		flight_trace(w, f, NULL, 0);
		if (w->header_flight) {
			ASSERT(w->flights == 1);
			ASSERT(w->phase == WAL_HEADER);
			w->header_flight = false;
			w->phase = WAL_APPENDING;
			wal_cut_done(w);
			wal_count(w, C_WAL_SEGMENTS, 1);
			atomic_store_explicit(&w->r->walbuf.h->flushed, f->end,
			    memory_order_release);
		} else {
			flight_publish(w, f);
			any = true;
		}
		if (f->records != 0 && begun == 0)
			begun = f->begun_ns;
		f->state = FLIGHT_FREE;
		ASSERT(w->flight_bytes >= f->size);
		w->flight_bytes -= f->size;
		w->first = (w->first + 1) % FLIGHT_MAX;
		w->flights--;
	}
	ASSERT(w->flights > 0 || w->flight_bytes == 0);
	flight_tell(w);
	wal_bells_flight(w, 0);
	if (!any)
		return;
	raised = commit_advance(w->r);
	if (begun != 0 && commit_vlsn(w->r) >= w->durable)
		hist_add(hist_of(w->r->hists, SLOT_WAL, H_COMMIT),
		    mono_ns() - begun);
	/* Others' acknowledgements may be missing: then they bring it. */
	if (raised || w->data.feeds == 0 || commit_vlsn(w->r) >= w->durable)
		wal_bells_committed(w);
}

static void
flight_verdict(struct wal *w, struct wal_flight *f, enum flight_verdict v,
    const char *what, int res)
{
	int rc = 0;

	/* What still completes is not to be relied on. */
	if (w->phase == WAL_FAILED)
		return;
	switch (v) {
	case FLIGHT_GO_ON:
		break;
	case FLIGHT_REWRITE:
		rc = flight_submit(w, f);
		break;
	case FLIGHT_SYNC:
		rc = flight_sync_submit(w, f);
		break;
	case FLIGHT_DURABLE:
		f->state = FLIGHT_DONE;
		flights_publish(w);
		break;
	case FLIGHT_LOST:
		f->state = FLIGHT_FAILED;
		/* A write that ends early without an error has no more room. */
		flush_failed(w, what, res < 0 ? -res : ENOSPC);
		break;
	}
	if (rc != 0)
		flush_failed(w, "submit", -rc);
}

static struct wal_flight *
flight_of(struct wal *w, uint32_t slot, uint32_t generation)
{
	struct wal_flight *f;

	ASSERT(slot < FLIGHT_MAX);
	f = &w->flight[slot];
	if (f->state != FLIGHT_FREE && f->generation == generation)
		return f;
	loop_stale(&w->loop);
	return NULL;
}

void
wal_write_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	struct wal_flight *f = flight_of(w, slot, generation);
	enum flight_verdict v;
	uint32_t left;

	(void)flags;
	if (f == NULL)
		return;
	ASSERT(f->done < f->size);
	left = f->size - f->done;
	res = wal_fault(WAL_OP_WRITE, res);
	v = wal_flight_written(res, left, w->io.block, !w->io.direct);
	/* Whole blocks only: the next write begins on one. */
	if (v == FLIGHT_REWRITE && res > 0)
		f->done += (uint32_t)align_down((uint32_t)res, w->io.block);
	if (v == FLIGHT_GO_ON) {
		f->written = true;
		f->state = FLIGHT_SYNCING;
	}
	flight_verdict(w, f, v, "write", res);
}

void
wal_sync_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	struct wal_flight *f = flight_of(w, slot, generation);

	(void)flags;
	if (f == NULL)
		return;
	res = wal_fault(WAL_OP_SYNC, res);
	flight_verdict(
	    w, f, wal_flight_synced(res, f->written), "fdatasync", res);
}
