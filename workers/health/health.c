/*
 * The health worker: HTTP pages and the control socket on one ring. It serves
 * before any gate has fired, and until the last step of a stop; idle, it
 * wakes up once a second for its heartbeat.
 */
#include "workers/health/health.h"

#include <errno.h>
#include <string.h>

#include "shm/log.h"

#define RING_ENTRIES 64

static struct health me;

/*
 * draining_control_plane: no new requests, those under way are answered.
 * Probes go on, and say draining, until the end.
 */
static void
stop_turn(struct health *h)
{
	unsigned step = loop_shutdown(&h->loop);

	if (step == SHUTDOWN_NONE)
		return;
	if (step >= SHUTDOWN_DRAINING_CONTROL_PLANE) {
		control_drain(h);
		if (!control_idle(h))
			return;
	}
	loop_drained(&h->loop, step);
	if (step == SHUTDOWN_CLOSED)
		h->loop.quit = true;
}

static void
turn(void *ctx)
{
	struct health *h = ctx;

	http_turn(h);
	control_turn(h);
	stop_turn(h);
}

static bool
pending(void *ctx)
{
	(void)ctx;
	return false; /* all input comes as completions */
}

static uint64_t
deadline(void *ctx)
{
	struct health *h = ctx;
	uint64_t at = control_deadline(h);

	return at < h->http_due_ns ? at : h->http_due_ns;
}

static int
open_all(struct health *h)
{
	int rc = http_open(h);

	if (rc == 0)
		rc = control_open(h);
	return rc;
}

int
health_main(struct worker *w)
{
	static const struct loop_hooks hooks = {
		.turn = turn,
		.pending = pending,
		.deadline = deadline,
	};
	struct health *h = &me;
	int rc;

	worker_open(w, "health", KEEP_HTTP);
	h->w = w;
	h->r = w->region;
	rc = loop_open(
	    &h->loop, h->r, &w->bells, w->slot, RING_ENTRIES, h, &hooks);
	if (rc != 0) {
		log_errorx("ring: %s", loop_refusal(rc));
		seq_fail(h->r->seq, PHASE_HEALTH_LOOP_START, w->slot,
		    "ring: %s", loop_refusal(rc));
		return WORKER_EXIT_FAILED;
	}
	if ((rc = open_all(h)) != 0) {
		log_errorx("pages: %s", strerror(-rc));
		seq_fail(h->r->seq, PHASE_HEALTH_LOOP_START, w->slot,
		    "pages: %s", strerror(-rc));
		return WORKER_EXIT_FAILED;
	}
	worker_running(w);
	/* The pages are served: proved by the loop that this enters. */
	seq_fire(h->r->seq, PHASE_HEALTH_LOOP_START, w->slot);
	rc = loop_run(&h->loop);
	if (rc != 0) {
		errno = -rc;
		log_error("loop");
		return WORKER_EXIT_FAILED;
	}
	loop_close(&h->loop);
	return 0;
}
