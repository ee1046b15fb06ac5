/*
 * The gateway worker: RESP clients in, requests and reads out. Started after
 * the region is there; opens the store for reading once its catalog is; fires
 * transport_bind when it listens and gateway_enable when it can serve. Reads
 * no client's bytes before gateway_enable is reached. If it dies its clients
 * are disconnected and the supervisor starts another one; answers to the dead
 * one's requests are dropped by their incarnation.
 */
#include "workers/gateway/gateway.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/log.h"
#include "workers/gateway/command.h"

#define MALLOC_MAP_SIZE  (256 * 1024)
#define MALLOC_TRIM_SIZE (1024 * 1024)
#define RING_ENTRIES     1024
#define DRAIN_LIMIT_NS   (400 * NS_PER_MS) /* below the bus' 500 ms a step */

static void
turn_counters(struct gateway *g)
{
	uint64_t took;

	if (g->n_reads != 0) {
		/* From the receipt to here, right before the send. */
		took = mono_ns() - g->loop.now_ns;
		gw_count(g, C_READS, g->n_reads);
		for (; g->n_reads != 0; g->n_reads--)
			hist_add(g->h_read, took);
	}
	if (g->n_commands != 0)
		gw_count(g, C_COMMANDS, g->n_commands);
	if (g->n_failed != 0)
		gw_count(g, C_COMMANDS_FAILED, g->n_failed);
	if (g->n_writes != 0)
		gw_count(g, C_WRITES, g->n_writes);
	if (g->n_hits != 0)
		gw_count(g, C_KEYSPACE_HITS, g->n_hits);
	if (g->n_misses != 0)
		gw_count(g, C_KEYSPACE_MISSES, g->n_misses);
	if (g->n_in != 0)
		gw_count(g, C_BYTES_IN, g->n_in);
	if (g->n_out != 0)
		gw_count(g, C_BYTES_OUT, g->n_out);
	g->n_commands = g->n_failed = g->n_writes = 0;
	g->n_hits = g->n_misses = g->n_in = g->n_out = 0;
}

/* ---- stopping ---- */

/* No more input: what came is finished and answered, then it is closed. */
static void
drain_begin(struct gateway *g)
{
	struct conn *c;
	uint32_t i;

	if (g->draining)
		return;
	g->draining = true;
	g->drain_deadline_ns = g->loop.now_ns + DRAIN_LIMIT_NS;
	for (i = 0; i < gw_conn_limit(g); i++)
		if ((c = gw_conn_at(g, i)) != NULL)
			gw_conn_eof(g, c);
}

static bool
drain_done(struct gateway *g)
{
	struct conn *c;
	uint32_t i;

	if (g->conn_count == 0)
		return true;
	if (g->loop.now_ns < g->drain_deadline_ns)
		return false;
	log_warnx("stopping: %u clients are cut off: not answered in time",
	    g->conn_count);
	for (i = 0; i < gw_conn_limit(g); i++)
		if ((c = gw_conn_at(g, i)) != NULL)
			gw_conn_kill(g, c);
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
		gw_net_accept_stop(g);
		return true;
	case SHUTDOWN_DRAINING_DATA_PLANE:
		drain_begin(g);
		return drain_done(g);
	case SHUTDOWN_CLOSED:
		g->loop.quit = true;
		return true;
	}
	fatalx("shutdown: step %u is unknown", (unsigned)step);
}

static void
shutdown_serve(struct gateway *g)
{
	unsigned wanted = loop_shutdown(&g->loop);

	while (g->drained < wanted) {
		if (!shutdown_step(g, g->drained + 1))
			return;
		g->drained++;
		loop_drained(&g->loop, g->drained);
	}
}

/* ---- loop hooks ---- */

static void
gateway_turn(void *ctx)
{
	struct gateway *g = ctx;
	struct conn *c;

	gw_net_settle(g);
	gw_write_turn(g);
	gw_conn_wake(g);
	gw_net_idle(g);
	gw_net_accept(g);
	shutdown_serve(g);
	gw_write_publish(g);
	gw_read_end(g);
	gw_memory_turn(g);
	turn_counters(g);
	while ((c = TAILQ_FIRST(&g->dirty)) != NULL && !g->loop.unready)
		gw_net_flush(g, c);
}

static bool
gateway_pending(void *ctx)
{
	struct gateway *g = ctx;

	if (g->draining && g->conn_count == 0 &&
	    g->drained < SHUTDOWN_DRAINING_DATA_PLANE)
		return true;
	return !TAILQ_EMPTY(&g->dirty) || gw_conn_wake_pending(g) ||
	       gw_write_pending(g) || gw_net_accept_pending(g);
}

static uint64_t
gateway_deadline(void *ctx)
{
	struct gateway *g = ctx;
	uint64_t at = gw_net_accept_deadline(g), due = gw_memory_deadline(g);

	if (due < at)
		at = due;
	if (g->waiting_count != 0 && g->sync_deadline_ns < at)
		at = g->sync_deadline_ns;
	if (g->draining && g->drained < SHUTDOWN_DRAINING_DATA_PLANE &&
	    g->drain_deadline_ns < at)
		at = g->drain_deadline_ns;
	return at;
}

/* ---- boot ---- */

/* 0: go on; else the exit code (a node that stops while booting: 0). */
static int
boot_wait(struct gateway *g, enum phase phase, bool *stopping)
{
	int rc = *stopping ? -ESHUTDOWN
			   : seq_wait(g->r->seq, phase, 0, loop_beat, &g->loop);

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
		if (loop_shutdown(&g->loop) != SHUTDOWN_NONE ||
		    seq_failed(g->r->seq))
			return -ESHUTDOWN;
		if (!told)
			log_warnx("%s/data.mdb: written each time that it is "
				  "read: tried again",
			    path);
		told = true;
		loop_beat(&g->loop);
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
	int rc = gw_net_listen(g);

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

	g->w = w;
	g->r = w->region;
	g->slot = w->slot;
	g->client = (unsigned)client_of_slot(w->slot);
	g->incarnation = w->incarnation;
	g->h_read = hist_of(g->r->hists, g->slot, H_REQUEST_READ);
	g->h_write = hist_of(g->r->hists, g->slot, H_REQUEST_WRITE);
	ASSERT(g->h_read != NULL && g->h_write != NULL);
	/* Each gateway's share; connections spread over them evenly enough. */
	g->conn_max =
	    (w->conf->listen.max_clients + w->conf->node.gateways - 1) /
	    w->conf->node.gateways;
	gw_command_init();
	/* What a burst took goes back, whatever its pieces' sizes were. */
	(void)mallopt(M_MMAP_THRESHOLD, MALLOC_MAP_SIZE);
	(void)mallopt(M_TRIM_THRESHOLD, MALLOC_TRIM_SIZE);
	rc = loop_open(
	    &g->loop, g->r, &w->bells, g->slot, RING_ENTRIES, g, &hooks);
	if (rc != 0) {
		worker_ring_refused(w, PHASE_TRANSPORT_BIND, rc);
		return rc;
	}
	if ((rc = gw_conn_init(g)) == 0 && (rc = gw_write_init(g)) == 0)
		rc = gw_net_open(g);
	if (rc != 0)
		(void)boot_fail(
		    g, PHASE_TRANSPORT_BIND, "gateway: cannot be set up", rc);
	return rc;
}

int
gateway_main(struct worker *w)
{
	static struct gateway me;
	struct gateway *g = &me;
	char title[16];
	int rc;

	snprintf(title, sizeof(title), "gateway%u", w->slot - SLOT_GATEWAY);
	worker_open(w, title, KEEP_LISTEN | KEEP_DATA);
	if (gateway_open(g, w) != 0)
		return WORKER_EXIT_FAILED;
	if ((rc = gateway_boot(g)) != 0)
		return rc;
	rc = worker_run(w, &g->loop);
	gw_scan_free(g);
	gw_conn_fini(g);
	gw_write_fini(g);
	gw_net_close(g);
	if (g->kv != NULL)
		kv_close(g->kv);
	vbuf_free(&g->value);
	vbuf_free(&g->scratch);
	loop_close(&g->loop);
	return rc;
}
