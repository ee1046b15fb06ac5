/*
 * The middle shelf as a whole: its beginning, its end, and what a turn has
 * counted.
 */
#include "workers/gateway/exec/exec.h"

#include "shm/assert.h"

void
gw_exec_init(struct gateway *g, struct worker *w, const struct gw_up *up)
{
	gw_conn_init(&g->io, w, up);
	g->w = w;
	g->r = w->region;
	g->slot = w->slot;
	g->client = (unsigned)client_of_slot(w->slot);
	g->incarnation = w->incarnation;
	g->h_read = hist_of(g->r->hists, g->slot, H_REQUEST_READ);
	g->h_write = hist_of(g->r->hists, g->slot, H_REQUEST_WRITE);
	ASSERT(g->h_read != NULL && g->h_write != NULL);
	gw_park_init(g);
}

void
gw_exec_fini(struct gateway *g)
{
	gw_write_fini(g);
	if (g->kv != NULL)
		kv_close(g->kv);
	g->kv = NULL;
	vbuf_free(&g->value);
	vbuf_free(&g->scratch);
}

void
gw_exec_count_turn(struct gateway *g)
{
	uint64_t took;

	if (g->n_reads != 0) {
		/* From the receipt to here, right before the send. */
		took = mono_ns() - g->io.loop.now_ns;
		gw_count(&g->io, C_READS, g->n_reads);
		for (; g->n_reads != 0; g->n_reads--)
			hist_add(g->h_read, took);
	}
	if (g->n_commands != 0)
		gw_count(&g->io, C_COMMANDS, g->n_commands);
	if (g->n_failed != 0)
		gw_count(&g->io, C_COMMANDS_FAILED, g->n_failed);
	if (g->n_writes != 0)
		gw_count(&g->io, C_WRITES, g->n_writes);
	if (g->n_hits != 0)
		gw_count(&g->io, C_KEYSPACE_HITS, g->n_hits);
	if (g->n_misses != 0)
		gw_count(&g->io, C_KEYSPACE_MISSES, g->n_misses);
	if (g->io.n_in != 0)
		gw_count(&g->io, C_BYTES_IN, g->io.n_in);
	if (g->io.n_out != 0)
		gw_count(&g->io, C_BYTES_OUT, g->io.n_out);
	g->n_commands = g->n_failed = g->n_writes = 0;
	g->n_hits = g->n_misses = g->io.n_in = g->io.n_out = 0;
}
