/*
 * The event loop of every worker. Lives to the end of the process; the only
 * place where a worker sleeps.
 */
#include "ipc/loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/fault.h"
#include "shm/say.h"

#define KIND_BELL 0
/* A worker that has nothing to do still shows once a second that it lives. */
#define LIVENESS_NS NS_PER_S
/* A completion queue this much larger than the SQ: multishot requests. */
#define CQ_FACTOR 4

static void
loop_arm_bell(struct loop *l)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	if (sqe == NULL)
		fatalx("loop: cannot arm the bell: the queue takes nothing");
	io_uring_prep_read(sqe, l->bells->fd[l->slot], &l->bell_value,
	    sizeof(l->bell_value), 0);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_BELL, 0, 0));
}

static void
loop_bell_rang(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	(void)ctx;
	(void)slot;
	(void)generation;
	(void)res;
	(void)flags;
}

int
loop_open(struct loop *l, struct region *r, struct bells *bells, unsigned slot,
    unsigned entries, void *ctx, const struct loop_hooks *hooks)
{
	struct io_uring_params p;
	int rc;

	memset(l, 0, sizeof(*l));
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
		  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		  IORING_SETUP_TASKRUN_FLAG;
	p.cq_entries = entries * CQ_FACTOR;
	rc = io_uring_queue_init_params(entries, &l->ring, &p);
	if (rc == 0) {
		/* Deferred task work came with 6.1, after all the others. */
		l->features = LOOP_HAS_BUF_RING | LOOP_HAS_RECV_MULTISHOT |
			      LOOP_HAS_DEFER_TASKRUN;
	} else if (rc == -EINVAL) {
		memset(&p, 0, sizeof(p));
		p.flags = IORING_SETUP_CQSIZE;
		p.cq_entries = entries * CQ_FACTOR;
		rc = io_uring_queue_init_params(entries, &l->ring, &p);
	}
	if (rc < 0)
		return rc;
	io_uring_ring_dontfork(&l->ring);
	l->region = r;
	l->bells = bells;
	l->slot = slot;
	l->ctx = ctx;
	l->hooks = *hooks;
	l->now_ns = mono_ns();
	l->rung_told = bells->rung;
	loop_on(l, KIND_BELL, loop_bell_rang);
	loop_arm_bell(l);
	return 0;
}

void
loop_close(struct loop *l)
{
	io_uring_queue_exit(&l->ring);
}

const char *
loop_refusal(int error)
{
	const char *remedy = fault_remedy(-error, PLACE_RING);

	return remedy[0] != '\0' ? remedy : strerror(-error);
}

void
loop_on(struct loop *l, unsigned kind, loop_handler *handler)
{
	ASSERT(kind < LOOP_KINDS);
	l->handler[kind] = handler;
}

static void
loop_count_enter(struct loop *l)
{
	counter_add(l->region->counters, l->slot, C_SYSCALLS, 1);
}

struct io_uring_sqe *
loop_sqe(struct loop *l)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);

	if (sqe != NULL)
		return sqe;
	loop_count_enter(l);
	if (io_uring_submit(&l->ring) < 0)
		return NULL;
	return io_uring_get_sqe(&l->ring);
}

void
loop_stale(struct loop *l)
{
	counter_add(l->region->counters, l->slot, C_STALE_CQES, 1);
}

int
loop_relay_to(struct loop *l, unsigned slot)
{
	int rc = io_uring_register_eventfd(&l->ring, l->bells->fd[slot]);

	if (rc != 0)
		return rc;
	rc = io_uring_cq_eventfd_toggle(&l->ring, false);
	if (rc != 0) {
		(void)io_uring_unregister_eventfd(&l->ring);
		return rc;
	}
	l->relays = true;
	return 0;
}

void
loop_relay(struct loop *l, bool on)
{
	if (!l->relays || on == l->relaying)
		return;
	(void)io_uring_cq_eventfd_toggle(&l->ring, on);
	l->relaying = on;
}

void
loop_beat(void *arg)
{
	struct loop *l = arg;

	atomic_store_explicit(&l->region->slots->row[l->slot].heartbeat_ns,
	    mono_ns(), memory_order_release);
}

void
loop_drained(struct loop *l, unsigned step)
{
	struct slot_row *row = &l->region->slots->row[l->slot];

	if (atomic_load_explicit(&row->drained, memory_order_relaxed) >= step)
		return;
	atomic_store_explicit(&row->drained, step, memory_order_release);
	bell_ring(l->bells, SLOT_SUPERVISOR);
}

/* How long this turn may sleep. */
static struct __kernel_timespec
loop_timeout(struct loop *l, uint64_t deadline)
{
	uint64_t now = l->now_ns, left = LIVENESS_NS;
	struct __kernel_timespec ts;

	if (deadline != LOOP_NEVER && deadline < now + left)
		left = deadline > now ? deadline - now : 0;
	ts.tv_sec = (long long)(left / NS_PER_S);
	ts.tv_nsec = (long long)(left % NS_PER_S);
	return ts;
}

/* Submit without waiting; enter only if there is something to do. */
static int
loop_enter(struct loop *l)
{
	unsigned flags = IO_URING_READ_ONCE(*l->ring.sq.kflags) &
			 (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);

	if (io_uring_sq_ready(&l->ring) == 0 && flags == 0 &&
	    (l->features & LOOP_HAS_DEFER_TASKRUN) != 0)
		return 0;
	loop_count_enter(l);
	return io_uring_submit_and_get_events(&l->ring);
}

static int
loop_sleep(struct loop *l, uint64_t deadline)
{
	struct __kernel_timespec ts = loop_timeout(l, deadline);
	struct slot_row *row = &l->region->slots->row[l->slot];
	struct io_uring_cqe *cqe;

	say_follow();
	loop_count_enter(l);
	atomic_store_explicit(&row->sleeps,
	    atomic_load_explicit(&row->sleeps, memory_order_relaxed) + 1,
	    memory_order_relaxed);
	return io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
}

static bool
loop_transient(int rc)
{
	return rc >= 0 || rc == -ETIME || rc == -EINTR || rc == -EAGAIN ||
	       rc == -EBUSY;
}

static void
loop_now(struct loop *l)
{
	struct slot_row *row = &l->region->slots->row[l->slot];
	uint64_t rung = l->bells->rung;

	if (rung != l->rung_told)
		counter_add(
		    l->region->counters, l->slot, C_BELLS, rung - l->rung_told);
	l->rung_told = rung;
	l->now_ns = mono_ns();
	atomic_store_explicit(
	    &row->heartbeat_ns, l->now_ns, memory_order_release);
	atomic_store_explicit(&row->turns,
	    atomic_load_explicit(&row->turns, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

/* Hand every completion that is there to its kind's handler. */
static void
loop_reap(struct loop *l)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	bool rearm = false;

	io_uring_for_each_cqe(&l->ring, head, cqe)
	{
		uint64_t tag = cqe->user_data;
		unsigned kind = (unsigned)(tag >> 56);

		seen++;
		if (kind == KIND_BELL)
			rearm = true;
		if (kind < LOOP_KINDS && l->handler[kind] != NULL)
			l->handler[kind](l->ctx,
			    (uint32_t)(tag >> 32) & 0xffffff, (uint32_t)tag,
			    cqe->res, cqe->flags);
		else
			loop_stale(l);
	}
	io_uring_cq_advance(&l->ring, seen);
	if (rearm)
		loop_arm_bell(l);
}

int
loop_poll(struct loop *l)
{
	int rc = loop_enter(l);

	if (!loop_transient(rc))
		return rc;
	loop_now(l);
	loop_reap(l);
	return 0;
}

int
loop_run(struct loop *l)
{
	uint64_t deadline;
	unsigned step;
	int rc;

	/* A boot may have taken seconds since anybody looked. */
	l->now_ns = mono_ns();
	for (;;) {
		l->unready = false;
		step = loop_shutdown(l);
		l->hooks.turn(l->ctx);
		if (l->quit)
			return 0;
		deadline = l->hooks.deadline(l->ctx);
		bell_sleep_begin(l->bells, l->slot);
		/* A step that turn() has not seen is input, too. */
		if (l->unready || io_uring_cq_ready(&l->ring) != 0 ||
		    loop_shutdown(l) != step || l->hooks.pending(l->ctx)) {
			bell_sleep_end(l->bells, l->slot);
			rc = loop_enter(l);
		} else {
			rc = loop_sleep(l, deadline);
			bell_sleep_end(l->bells, l->slot);
		}
		if (!loop_transient(rc))
			return rc;
		loop_now(l);
		loop_reap(l);
	}
}
