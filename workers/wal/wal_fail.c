/*
 * The end of a log: a failed write or flush closes it for good. Nothing more
 * is published, whatever else still completes; what comes is refused; all that
 * was durable is served on. A probe file is written again and again, through
 * the ring, since a disk may also hang; when it is on disk the fault is over
 * and the node boots again: the boot drops what lies above the last durable
 * record and begins a new segment, so no failed flush is ever tried again.
 *
 * The probe asks for what the boot will: a new file, room for its first
 * segment, a block where a segment ends (a limit of the size of files), a
 * flush. Every second one goes by the path and not by the directory that was
 * opened, for that may be of a mount that is gone while another took its place:
 * only another start takes that one, which is told. Whichever it was, the node
 * boots only if data_dir's path leads to the directory that it has.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/say.h"

#define EFFECT                                                                 \
	"the log is closed: writes are refused, reads go on, no flushed "      \
	"write is lost"
#define PROBE_FIRST_NS (100 * NS_PER_MS)
#define PROBE_LAST_NS  (5 * NS_PER_S)

static const char *const probe_call[] = {
	[PROBE_OPEN] = "open",
	[PROBE_ALLOC] = "fallocate",
	[PROBE_WRITE] = "write",
	[PROBE_SYNC] = "fsync",
	[PROBE_UNLINK] = "unlink",
};

void
wal_path(const struct wal *w, char *out, size_t size, const char *fmt, ...)
{
	const char *dir = w->conf->node.data_dir;
	int n = snprintf(out, size, "%s/", dir);
	va_list ap;

	if (n < 0 || (size_t)n >= size)
		n = 0;
	va_start(ap, fmt);
	vsnprintf(out + n, size - (size_t)n, fmt, ap);
	va_end(ap);
}

static void
tell(struct wal *w, const char *object, const char *call, int error)
{
	struct denied d;
	struct fault f = { .object = object,
		.call = call,
		.error = error,
		.place = PLACE_DATA,
		.effect = EFFECT,
		.goes_on = true };

	w->probe.error = error;
	worker_explain(w->w, &f, &d);
	trouble_begin(w->r, TROUBLE_LOG_FAILED, &f);
}

void
wal_failed_set(struct wal *w)
{
	struct control *c = w->r->control;

	/* The word last: with it the other two count. */
	atomic_store_explicit(
	    &c->wal_failed_log, w->incarnation, memory_order_relaxed);
	atomic_store_explicit(&c->wal_failed_segment, w->segment.info.number,
	    memory_order_relaxed);
	atomic_store_explicit(
	    &c->wal_failed, w->durable + 1, memory_order_release);
}

void
wal_fail(struct wal *w, const char *name, const char *call, int error)
{
	char path[PATH_MAX];

	if (w->phase == WAL_FAILED)
		return;
	wal_count(w, C_WAL_ERRORS, 1);
	wal_failed_set(w);
	w->phase = WAL_FAILED;
	/* Nobody waits for what is in flight: this is no stall. */
	position_set(&w->r->pos->flight_ns, 0);
	memset(&w->log.batch, 0, sizeof(w->log.batch));
	w->need_room = 0;
	w->probe.fault = error;
	w->probe.backoff_ns = 0;
	w->probe.at_ns = w->loop.now_ns + PROBE_FIRST_NS;
	wal_path(w, path, sizeof(path), "wal/%s", name);
	tell(w, path, call, error);
	/* Whoever waits for what was appended is told. */
	bell_ring_all(w->loop.bells);
}

/*
 * What takes writes is another directory, which a boot would not use: so there
 * is none, and reads go on.
 */
static void
elsewhere(struct wal *w, int error)
{
	if (error != w->probe.error) {
		const struct fault f = { .object = w->conf->node.data_dir,
			.error = error,
			.place = PLACE_DATA,
			.effect = EFFECT };

		w->probe.error = error;
		trouble_begin(w->r, TROUBLE_LOG_FAILED, &f);
	}
}

/* The disk takes writes again: the node boots from it. */
static void
over(struct wal *w)
{
	bool world = fault_kind(w->probe.fault, PLACE_DATA) != FAULT_PROGRAM;

	event_add(w->r, SLOT_WAL, EVENT_INFO,
	    "log: a probe file was written and flushed: the node boots again "
	    "from disk");
	worker_fatal(w->w, &w->loop, world ? WISH_RESTART_WORLD : WISH_RESTART);
}

static void
rest(struct wal *w, int error)
{
	struct wal_probe *p = &w->probe;
	char path[PATH_MAX];

	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	/* By its path it may be another directory, or none: tells nothing. */
	if (error != p->error && !p->by_path) {
		wal_path(w, path, sizeof(path), "wal/" WAL_PROBE_NAME);
		tell(w, path, probe_call[p->step], error);
	}
	p->by_path = !p->by_path;
	p->step = PROBE_REST;
	p->backoff_ns =
	    backoff_next(p->backoff_ns, PROBE_FIRST_NS, PROBE_LAST_NS);
	p->at_ns = w->loop.now_ns + p->backoff_ns;
}

static void
step_prepare(struct wal *w, struct io_uring_sqe *sqe)
{
	int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC;
	struct wal_probe *p = &w->probe;
	int dir = p->by_path ? AT_FDCWD : w->dir;
	const char *name = p->by_path ? p->path : WAL_PROBE_NAME;

	switch (p->step) {
	case PROBE_REST:
		break;
	case PROBE_OPEN:
		io_uring_prep_openat(sqe, dir, name,
		    flags | (w->io.direct ? O_DIRECT : 0), 0640);
		break;
	case PROBE_ALLOC:
		io_uring_prep_fallocate(sqe, p->fd, 0, 0, WAL_FIRST_SEGMENT);
		break;
	case PROBE_WRITE:
		io_uring_prep_write(sqe, p->fd, wal_zeros(), w->io.block,
		    wal_segment_size(w) - w->io.block);
		break;
	case PROBE_SYNC:
		io_uring_prep_fsync(sqe, p->fd, 0);
		break;
	case PROBE_UNLINK:
		io_uring_prep_unlinkat(sqe, dir, name, 0);
		break;
	}
}

static void
step_submit(struct wal *w, enum probe_step step)
{
	struct io_uring_sqe *sqe = loop_sqe(&w->loop);

	w->probe.step = step;
	if (sqe == NULL || wal_zeros() == NULL) {
		rest(w, ENOMEM);
		return;
	}
	step_prepare(w, sqe);
	/* It may block: not here. */
	sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data64(sqe, loop_tag(WAL_KIND_PROBE, 0, step));
}

void
wal_probe_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal *w = ctx;
	struct wal_probe *p = &w->probe;

	(void)slot;
	(void)generation;
	(void)flags;
	res = wal_fault(WAL_OP_PROBE, res);
	if (p->step == PROBE_OPEN && res >= 0)
		p->fd = res;
	else if (p->step == PROBE_ALLOC && res == -EOPNOTSUPP)
		res = 0; /* then the boot cannot either */
	else if (p->step == PROBE_WRITE && res >= 0 &&
		 (uint32_t)res != w->io.block)
		res = -ENOSPC;
	if (res < 0)
		rest(w, -res);
	else if (p->step == PROBE_UNLINK &&
		 (res = worker_data_dir_check(w->w)) != 0) {
		elsewhere(w, -res);
		rest(w, -res);
	} else if (p->step == PROBE_UNLINK)
		over(w);
	else
		step_submit(w, p->step + 1);
}

void
wal_probe_turn(struct wal *w)
{
	struct wal_probe *p = &w->probe;

	if (w->phase != WAL_FAILED || w->stopping || p->step != PROBE_REST ||
	    w->loop.now_ns < p->at_ns)
		return;
	if (p->path[0] == '\0')
		wal_path(w, p->path, sizeof(p->path), "wal/" WAL_PROBE_NAME);
	step_submit(w, PROBE_OPEN);
}

uint64_t
wal_probe_deadline(const struct wal *w)
{
	return w->phase == WAL_FAILED && !w->stopping &&
		       w->probe.step == PROBE_REST
		   ? w->probe.at_ns
		   : LOOP_NEVER;
}

int
wal_boot_failed(struct wal *w, const struct fault *f)
{
	struct fault full = *f;
	struct denied d;

	worker_explain(w->w, &full, &d);
	/* The scan's gate is fired when the segment is begun. */
	if (seq_fault(w->r->seq, PHASE_WAL_RECOVERY, SLOT_WAL, &full) ==
	    -EALREADY)
		worker_boot_fault(w->w, PHASE_RAFT_METADATA_REPLAY, &full);
	return -f->error;
}

int
wal_boot_fault(struct wal *w, const char *name, const char *call, int error)
{
	char path[PATH_MAX];

	wal_path(w, path, sizeof(path), "%s", name);
	return wal_boot_failed(w, &(struct fault){ .object = path,
				      .call = call,
				      .error = error,
				      .place = PLACE_DATA });
}
