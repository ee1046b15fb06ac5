/*
 * The shutdown bus, one step at a time: pure, no clock, no I/O.
 */
#ifndef SUPERVISOR_STOP_CORE_H
#define SUPERVISOR_STOP_CORE_H

#include <stdint.h>
#include "shm/sequencer.h"

enum stop_action {
	STOP_WAIT, /* until deadline, a drained row or an exit */
	STOP_NEXT, /* every worker is past the step: publish the next */
	STOP_KILL, /* the budget is used up: kill `offenders` */
	STOP_DONE /* closed and everybody is gone */
};

struct stop_in {
	enum shutdown_step step; /* published, not NONE */
	uint64_t now_ns, deadline_ns; /* of this step */
	uint32_t alive; /* mask of slots that have a process */
	uint32_t killed; /* of them: killed already, not reaped yet */
	const uint32_t *drained; /* [SLOT_MAX]: each row's answer */
};

struct stop_out {
	enum stop_action action;
	uint32_t offenders; /* mask: who holds the step up */
};

struct stop_out stop_decide(const struct stop_in *in);

#endif
