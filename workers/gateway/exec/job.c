/*
 * Jobs: see job.h.
 */
#include "workers/gateway/exec/job.h"

#include <stdlib.h>
#include "shm/assert.h"

void *
gw_job_new(size_t bytes, job_step *step, job_free *free_it, job_size *size)
{
	struct job *j = calloc(1, bytes);

	ASSERT(bytes >= sizeof(*j));
	ASSERT(step != NULL && free_it != NULL && size != NULL);
	if (j != NULL)
		*j = (struct job){ NULL, step, free_it, size };
	return j;
}

void
gw_job_free(struct job **place)
{
	struct job *j = *place;

	*place = NULL;
	if (j != NULL)
		j->free(j);
}

enum verdict
gw_job_pause(struct call *k)
{
	/* Inside EXEC that one's own step parks the connection. */
	if (!k->in_exec)
		gw_park(k->g, k->c, PARK_TURN);
	return VERDICT_PARKED;
}

enum verdict
gw_job_resume(struct call *k)
{
	struct job *j = *k->job;
	enum verdict v;

	ASSERT(j != NULL);
	k->cmd = j->cmd;
	v = j->step(k, j);
	if (v == VERDICT_DONE)
		gw_job_free(k->job);
	return v;
}

enum verdict
gw_job_begin(struct call *k, struct job *j)
{
	ASSERT(*k->job == NULL);
	j->cmd = k->cmd;
	*k->job = j;
	return gw_job_resume(k);
}
