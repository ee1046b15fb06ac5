/*
 * The restore worker: what a member needs that cannot be had from wal's
 * buffer. So far it feeds members from segment files (serve.h). It holds no
 * lock, no gate waits for it, and it may die anywhere: what it served ends with
 * its sockets, its pin and its rows are taken back when it is reaped, and the
 * members sync up again.
 *
 * Only in a node that has other members; there it sleeps until group hands it
 * a connection.
 */
#include <sys/syscall.h>

#include <unistd.h>

#include "shm/say.h"
#include "workers/restore/serve.h"
#include "workers/worker.h"

#define RING_ENTRIES 64

/* As ioprio_set(2) has them; not every libc has a header for it. */
#define IOPRIO_PROCESS    1
#define IOPRIO_IDLE_VALUE (3 << 13)

struct restore {
	struct worker *w;
	struct loop loop;
	struct serve serve;
};

static void
restore_part(struct restore *r)
{
	unsigned step = loop_shutdown(&r->loop);

	if (step == SHUTDOWN_NONE)
		return;
	/* Members of this node's mastership are served as long as that is. */
	if (step >= SHUTDOWN_DRAINING_DATA_PLANE)
		serve_stop(&r->serve);
	if (step >= SHUTDOWN_DRAINING_DATA_PLANE && !serve_idle(&r->serve))
		return;
	loop_drained(&r->loop, step);
	if (step == SHUTDOWN_CLOSED)
		r->loop.quit = true;
}

static void
restore_turn(void *ctx)
{
	struct restore *r = ctx;

	serve_turn(&r->serve);
	restore_part(r);
}

static bool
restore_pending(void *ctx)
{
	return serve_pending(&((struct restore *)ctx)->serve);
}

static uint64_t
restore_deadline(void *ctx)
{
	return serve_deadline(&((struct restore *)ctx)->serve);
}

static void
offer_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	serve_done(&((struct restore *)ctx)->serve, SERVE_OFFER, slot,
	    generation, res, flags);
}

static void
send_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	serve_done(&((struct restore *)ctx)->serve, SERVE_SENT, slot,
	    generation, res, flags);
}

static void
recv_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	serve_done(&((struct restore *)ctx)->serve, SERVE_CAME, slot,
	    generation, res, flags);
}

int
restore_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = restore_turn,
		.pending = restore_pending,
		.deadline = restore_deadline,
	};
	struct restore *r;
	int rc;

	worker_open(w, "restore", KEEP_DATA | KEEP_FROM);
	/* The log's own I/O goes first. */
	if (syscall(SYS_ioprio_set, IOPRIO_PROCESS, 0, IOPRIO_IDLE_VALUE) != 0)
		say_debug("no idle I/O priority");
	r = worker_state(w, PHASE_WARM_PEERS, sizeof(*r));
	r->w = w;
	rc = loop_open(
	    &r->loop, w->region, &w->bells, w->slot, RING_ENTRIES, r, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_WARM_PEERS, rc);
		return WORKER_EXIT_FAILED;
	}
	loop_on(&r->loop, 1 + SERVE_OFFER, offer_done);
	loop_on(&r->loop, 1 + SERVE_SENT, send_done);
	loop_on(&r->loop, 1 + SERVE_CAME, recv_done);
	serve_open(&r->serve, w->region, &r->loop, w->data_dir, w->data_from);
	rc = worker_run(w, &r->loop);
	loop_close(&r->loop);
	return rc;
}
