/*
 * The gateway worker: RESP clients in, requests and reads out. Started after
 * the region is there; opens the store for reading once its catalog is; fires
 * transport_bind when it listens and gateway_enable when it can serve. Reads
 * no client's bytes before gateway_enable is reached. If it dies its clients
 * are disconnected and the supervisor starts another one; answers to the dead
 * one's requests are dropped by their incarnation.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "shm/say.h"
#include "workers/gateway/cmd/command.h"

#define MALLOC_MAP_SIZE  (256 * 1024)
#define MALLOC_TRIM_SIZE (1024 * 1024)
#define RING_ENTRIES     1024
#define DRAIN_LIMIT_NS   (400 * NS_PER_MS) /* below the bus' 500 ms a step */

/* ---- stopping ---- */

/* No more input: what came is finished and answered, then it is closed. */
static void
drain_begin(struct gateway *g)
{
	struct conn *c;
	uint32_t i;

	if (g->io.draining)
		return;
	g->io.draining = true;
	g->drain_deadline_ns = g->io.loop.now_ns + DRAIN_LIMIT_NS;
	for (i = 0; i < gw_conn_limit(&g->io); i++)
		if ((c = gw_conn_at(&g->io, i)) != NULL)
			gw_conn_eof(&g->io, c);
}

static bool
drain_done(struct gateway *g)
{
	struct conn *c;
	uint32_t i;

	if (g->io.conn_count == 0)
		return true;
	if (g->io.loop.now_ns < g->drain_deadline_ns)
		return false;
	say_warnx("stopping: %u clients are cut off: not answered in time",
	    g->io.conn_count);
	for (i = 0; i < gw_conn_limit(&g->io); i++)
		if ((c = gw_conn_at(&g->io, i)) != NULL)
			gw_conn_kill(&g->io, c);
	return true;
}

/* This worker's part of one step. False: not done yet. */
static bool
shutdown_step(struct gateway *g, enum shutdown_step step)
{
	switch (step) {
	case SHUTDOWN_NONE:
	case SHUTDOWN_DRAINING_CONTROL_PLANE:
	case SHUTDOWN_DRAINING_EVENT_PLANE:
	case SHUTDOWN_PERSISTING_WATERMARKS:
	case SHUTDOWN_WAL_FSYNC:
	case SHUTDOWN_COUNT:
		return true;
	case SHUTDOWN_DRAINING_LISTENERS:
		gw_net_accept_stop(&g->io);
		return true;
	case SHUTDOWN_DRAINING_DATA_PLANE:
		drain_begin(g);
		return drain_done(g);
	case SHUTDOWN_CLOSED:
		g->io.loop.quit = true;
		return true;
	}
	fatalx("shutdown: step %u is unknown", (unsigned)step);
}

static void
shutdown_serve(struct gateway *g)
{
	unsigned wanted = loop_shutdown(&g->io.loop);

	while (g->drained < wanted) {
		if (!shutdown_step(g, g->drained + 1))
			return;
		g->drained++;
		loop_drained(&g->io.loop, g->drained);
	}
}

/* ---- loop hooks ---- */

static void
gateway_turn(void *ctx)
{
	struct gateway *g = gateway_of(ctx);
	struct conn *c;

	gw_net_settle(&g->io);
	gw_write_turn(g);
	gw_role_turn(g);
	gw_park_wake(g);
	gw_net_idle(&g->io);
	gw_net_accept(&g->io);
	shutdown_serve(g);
	gw_write_publish(g);
	gw_read_end(g);
	gw_memory_turn(&g->io);
	gw_exec_count_turn(g);
	while ((c = TAILQ_FIRST(&g->io.dirty)) != NULL && !g->io.loop.unready)
		gw_net_flush(&g->io, c);
}

static bool
gateway_pending(void *ctx)
{
	struct gateway *g = gateway_of(ctx);

	if (g->io.draining && g->io.conn_count == 0 &&
	    g->drained < SHUTDOWN_DRAINING_DATA_PLANE)
		return true;
	return !TAILQ_EMPTY(&g->io.dirty) || gw_park_pending(g) ||
	       gw_write_pending(g) || gw_role_pending(g) ||
	       gw_net_accept_pending(&g->io);
}

static uint64_t
gateway_deadline(void *ctx)
{
	struct gateway *g = gateway_of(ctx);
	uint64_t at = gw_net_accept_deadline(&g->io),
		 due = gw_memory_deadline(&g->io);

	if (due < at)
		at = due;
	if ((due = gw_alone_deadline(g)) < at)
		at = due;
	if ((due = gw_park_deadline(g)) < at)
		at = due;
	if (g->io.draining && g->drained < SHUTDOWN_DRAINING_DATA_PLANE &&
	    g->drain_deadline_ns < at)
		at = g->drain_deadline_ns;
	return at;
}

/* ---- boot ---- */

/* 0: go on; else the exit code (a node that stops while booting: 0). */
static int
boot_wait(struct gateway *g, enum phase phase, bool *stopping)
{
	int rc = *stopping
		     ? -ESHUTDOWN
		     : seq_wait(g->r->seq, phase, 0, loop_beat, &g->io.loop);

	if (rc == -ESHUTDOWN)
		*stopping = true;
	return rc == 0 || rc == -ESHUTDOWN ? 0 : WORKER_EXIT_FAILED;
}

static int
boot_fail(struct gateway *g, enum phase phase, const char *what, int error)
{
	char why[SEQ_ERROR_MAX];

	snprintf(why, sizeof(why), "%s: %s", what, strerror(-error));
	worker_boot_fail(g->w, phase, why);
	return WORKER_EXIT_FAILED;
}

/*
 * A checkpoint that is written all the while is no reason to end: the node goes
 * on without this gateway meanwhile.
 */
static int
open_kv(struct gateway *g)
{
	char path[CONF_PATH_SIZE + 8];
	bool told = false;
	int rc;

	snprintf(path, sizeof(path), "%s/store", g->w->conf->node.data_dir);
	for (;;) {
		rc = kv_open(&g->kv, g->r, path, g->slot, g->w->readonly);
		if (rc != -EBUSY)
			return rc;
		if (loop_shutdown(&g->io.loop) != SHUTDOWN_NONE ||
		    seq_failed(g->r->seq))
			return -ESHUTDOWN;
		if (!told)
			say_warnx("%s/data.mdb: written each time that it is "
				  "read: tried again",
			    path);
		told = true;
		loop_beat(&g->io.loop);
	}
}

static int
boot_store(struct gateway *g, bool *stopping)
{
	int rc = worker_data_dir_check(g->w);

	if (rc == 0)
		rc = open_kv(g);
	if (rc == -ESHUTDOWN) {
		*stopping = true;
		return 0;
	}
	if (rc != 0) {
		worker_store_refused(g->w, PHASE_TRANSPORT_BIND, rc);
		/* A boot makes one, which all open. */
		return rc == -EIDRM ? WORKER_EXIT_RESTART : WORKER_EXIT_FAILED;
	}
	kv_set_over(g->kv, gw_turn_is_over, g);
	return 0;
}

static int
boot_listen(struct gateway *g)
{
	int rc = gw_net_listen(&g->io);

	if (rc != 0)
		return boot_fail(g, PHASE_TRANSPORT_BIND, "listen", rc);
	rc = seq_fire(g->r->seq, PHASE_TRANSPORT_BIND, g->slot);
	/* Its turn is next, and its loop does not wait on the sequencer. */
	bell_ring(&g->w->bells, SLOT_GROUP);
	return rc == 0 || rc == -EALREADY || rc == -ECANCELED
		   ? 0
		   : boot_fail(g, PHASE_TRANSPORT_BIND, "transport_bind", rc);
}

static int
gateway_boot(struct gateway *g)
{
	bool stopping = false;
	int rc;

	rc = boot_wait(g, PHASE_CLUSTER_CATALOG_OPEN, &stopping);
	if (rc == 0 && !stopping)
		rc = boot_store(g, &stopping);
	if (rc == 0)
		rc = boot_wait(g, PHASE_DATA_GROUPS_REPLAY, &stopping);
	if (rc == 0 && !stopping)
		rc = boot_listen(g);
	if (rc == 0)
		rc = boot_wait(g, PHASE_HEALTH_LOOP_START, &stopping);
	if (rc == 0 && !stopping)
		(void)seq_fire(g->r->seq, PHASE_GATEWAY_ENABLE, g->slot);
	if (rc == 0)
		rc = boot_wait(g, PHASE_GATEWAY_ENABLE, &stopping);
	return rc;
}

/* Everything that needs neither the store nor a socket. */
static int
gateway_open(struct gateway *g, struct worker *w)
{
	static const struct loop_hooks hooks = { gateway_turn, gateway_pending,
		gateway_deadline };
	int rc;

	gw_exec_init(g, w, &gw_serve_up);
	gw_serve_init(g);
	/* What a burst took goes back, whatever its pieces' sizes were. */
	(void)mallopt(M_MMAP_THRESHOLD, MALLOC_MAP_SIZE);
	(void)mallopt(M_TRIM_THRESHOLD, MALLOC_TRIM_SIZE);
	rc = loop_open(&g->io.loop, g->r, &w->bells, g->slot, RING_ENTRIES,
	    &g->io, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_TRANSPORT_BIND, rc);
		return rc;
	}
	if ((rc = gw_write_init(g)) == 0)
		rc = gw_net_open(&g->io);
	if (rc != 0)
		(void)boot_fail(
		    g, PHASE_TRANSPORT_BIND, "gateway: cannot be set up", rc);
	return rc;
}

int
gateway_main(struct worker *w)
{
	struct gateway *g;
	char title[16];
	int rc;

	snprintf(title, sizeof(title), "gateway%u", w->slot - SLOT_GATEWAY);
	worker_open(w, title, KEEP_LISTEN | KEEP_DATA);
	g = worker_state(w, PHASE_TRANSPORT_BIND, sizeof(*g));
	if (gateway_open(g, w) != 0)
		return WORKER_EXIT_FAILED;
	if ((rc = gateway_boot(g)) != 0)
		return rc;
	rc = worker_run(w, &g->io.loop);
	gw_conn_end(&g->io);
	gw_scan_free(g);
	gw_serve_fini(g);
	gw_exec_fini(g);
	gw_conn_fini(&g->io);
	gw_net_close(&g->io);
	loop_close(&g->io.loop);
	return rc;
}
