/*
 * Torn or damaged: the rule by which a boot decides what the place means
 * where the log's chain stops. Pure.
 */
#ifndef SHM_LOG_LOG_JUDGE_H
#define SHM_LOG_LOG_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

struct judge_in {
	uint64_t vlsn; /* newest that chains */
	uint64_t durable; /* highest that any head seen tells, also behind */
	bool successor; /* a later segment states where this one ends */
	bool end_agrees; /* ... and the chain stops exactly there */
	bool inside; /* it stops inside a flush */
	bool behind; /* heads of this life lie behind the place */
	bool cut; /* the file is shorter than its header says */
};

enum judge_verdict {
	JUDGE_CLEAN, /* the log's end */
	JUDGE_TORN, /* an unfinished flush: cut, and say so */
	JUDGE_DAMAGED /* what had been durable is not there */
};

static inline enum judge_verdict
log_judge(const struct judge_in *in)
{
	/* A successor is begun only when all before it is durable. */
	if (in->successor)
		return in->end_agrees ? JUDGE_CLEAN : JUDGE_DAMAGED;
	/* No crash makes it so: the size was durable before the header. */
	if (in->cut || in->durable > in->vlsn)
		return JUDGE_DAMAGED;
	return in->inside || in->behind ? JUDGE_TORN : JUDGE_CLEAN;
}

#endif
