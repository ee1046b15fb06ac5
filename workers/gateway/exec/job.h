/*
 * What takes more than one turn: a command that goes on where it stopped. Its
 * connection keeps it, parked, with the command at the head of its input, and
 * every later turn gives it a share until it is over or its client is gone.
 *
 * A command's own job struct begins with a struct job. It keeps no pointer
 * into the arguments: those of the call that step() is given are the same
 * bytes, but they may have moved (not those of a pinned call).
 */
#ifndef WORKERS_GATEWAY_EXEC_JOB_H
#define WORKERS_GATEWAY_EXEC_JOB_H

#include "workers/gateway/exec/call.h"

struct job;

/* The next share. PARKED: more is left, or it waits for something. */
typedef enum verdict job_step(struct call *k, struct job *j);
typedef void job_free(struct job *j);
/* Adds what it holds: in the pool, and beside. */
typedef void job_size(const struct job *j, size_t *pooled, size_t *plain);

struct job {
	const struct command *cmd;
	job_step *step;
	job_free *free;
	job_size *size;
};

/* A command's own job of so many bytes, zeroed; NULL without memory. */
void *
gw_job_new(size_t bytes, job_step *step, job_free *free_it, job_size *size);

/*
 * The first share of j, which is the connection's from here on (or, of a
 * command inside EXEC, that EXEC's) and is freed when it is over.
 */
enum verdict gw_job_begin(struct call *k, struct job *j);
/* The next share of the call's job. */
enum verdict gw_job_resume(struct call *k);
/* No step comes any more. */
void gw_job_free(struct job **place);
/* Inside a step: the turn's share is used up, the next turn goes on. */
enum verdict gw_job_pause(struct call *k);

#endif
