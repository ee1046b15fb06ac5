/*
 * The health worker: HTTP pages and the control socket on one ring. It serves
 * before any gate has fired, and until the last step of a stop; idle, it
 * wakes up once a second for its heartbeat.
 */
#include "workers/health/health.h"

#include <stdio.h>
#include <string.h>

#include "shm/say.h"
#include "workers/health/status.h"

#define RING_ENTRIES 64

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

/* It is our turn to let the boot go on. */
static bool
gate_due(const struct health *h)
{
	return !h->fired && seq_reached(h->r->seq, PHASE_WARM_PEERS);
}

/*
 * Pages have been served since the loop began; what is to be proved now is
 * that every worker shows signs of life.
 */
static void
gate_turn(struct health *h)
{
	struct status st;

	if (!gate_due(h))
		return;
	status_read(&st, h->r, h->w->conf, h->loop.now_ns);
	/* If not, the supervisor deals with it: looked at again each second. */
	h->fire_later = !st.alive;
	if (!st.alive)
		return;
	h->fired = true;
	seq_fire(h->r->seq, PHASE_HEALTH_LOOP_START, h->w->slot);
}

static void
turn(void *ctx)
{
	struct health *h = ctx;

	http_turn(h);
	control_turn(h);
	gate_turn(h);
	stop_turn(h);
}

static bool
pending(void *ctx)
{
	/* All other input comes as completions. */
	return gate_due(ctx) && !((struct health *)ctx)->fire_later;
}

static uint64_t
deadline(void *ctx)
{
	struct health *h = ctx;
	uint64_t control_ns = control_deadline(h), http_ns = http_deadline(h);

	return control_ns < http_ns ? control_ns : http_ns;
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
	struct health *h;
	char why[128];
	int rc;

	worker_open(w, "health", KEEP_HTTP);
	h = worker_state(w, PHASE_HEALTH_LOOP_START, sizeof(*h));
	h->w = w;
	h->r = w->region;
	rc = loop_open(
	    &h->loop, h->r, &w->bells, w->slot, RING_ENTRIES, h, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_HEALTH_LOOP_START, rc);
		return WORKER_EXIT_FAILED;
	}
	if ((rc = open_all(h)) != 0) {
		snprintf(why, sizeof(why), "pages: %s", strerror(-rc));
		worker_boot_fail(w, PHASE_HEALTH_LOOP_START, why);
		return WORKER_EXIT_FAILED;
	}
	rc = worker_run(w, &h->loop);
	loop_close(&h->loop);
	return rc;
}
