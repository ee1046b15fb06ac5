/*
 * Decisions of the shutdown bus. A worker that exited early holds nothing up;
 * one that was killed is waited for until it is reaped, however long: its
 * descriptors (the data directory's lock) are open until then.
 */
#include "supervisor/stop_core.h"

#include "shm/slots.h"

struct stop_out
stop_decide(const struct stop_in *in)
{
	struct stop_out out = { STOP_WAIT, 0 };

	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		if ((in->alive & 1u << slot) == 0)
			continue;
		/* The last step is answered by exiting. */
		if (in->step == SHUTDOWN_CLOSED ||
		    in->drained[slot] < (uint32_t)in->step)
			out.offenders |= 1u << slot;
	}
	if (out.offenders == 0)
		out.action =
		    in->step == SHUTDOWN_CLOSED ? STOP_DONE : STOP_NEXT;
	else if (in->now_ns >= in->deadline_ns &&
		 (out.offenders & ~in->killed) != 0)
		out.action = STOP_KILL;
	return out;
}
