/*
 * What a connection keeps between its commands: MULTI's queue, the job that
 * takes it more than one turn, names.
 */
#include <malloc.h>
#include <stdlib.h>
#include "workers/gateway/exec/job.h"
#include "workers/gateway/exec/transaction.h"

void
gw_session_reset(struct conn *c)
{
	gw_job_free(&c->job);
	gw_multi_free(c);
	free(c->name);
	free(c->lib_name);
	free(c->lib_ver);
	c->name = c->lib_name = c->lib_ver = NULL;
}

size_t
gw_session_bytes(const struct conn *c)
{
	size_t pooled = 0, n = 0;

	if (c->multi != NULL)
		n += gw_multi_bytes(c->multi);
	if (c->job != NULL)
		c->job->size(c->job, &pooled, &n);
	if (c->name != NULL || c->lib_name != NULL || c->lib_ver != NULL)
		n += malloc_usable_size(c->name) +
		     malloc_usable_size(c->lib_name) +
		     malloc_usable_size(c->lib_ver);
	return n;
}

size_t
gw_session_pooled(const struct gateway *g, const struct conn *c)
{
	size_t n = 0, other = 0;
	const struct node *node;
	uint32_t i;

	if (c->job != NULL)
		c->job->size(c->job, &n, &other);
	for (i = c->node_head; i != GW_NONE; i = node->next) {
		node = &g->nodes[i];
		n += chunk_bytes(node->sink.c) + gw_exec_bytes(node->exec);
	}
	return n;
}
