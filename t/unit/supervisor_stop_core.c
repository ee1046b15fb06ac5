/*
 * The shutdown bus: a step ends when everybody alive has answered it; who has
 * not by its deadline is named, once; the last step is answered by exiting.
 */
#include "supervisor/stop_core.h"

#include "shm/slots.h"
#include "t/tap.h"

static uint32_t drained[SLOT_MAX];

static struct stop_in
at(enum shutdown_step step, uint64_t now, uint32_t alive)
{
	return (struct stop_in){ .step = step,
		.now_ns = now,
		.deadline_ns = 100,
		.alive = alive,
		.drained = drained };
}

static void
test_steps(void)
{
	const uint32_t both = 1u << SLOT_WAL | 1u << SLOT_GATEWAY;
	struct stop_in in = at(SHUTDOWN_DRAINING_DATA_PLANE, 50, both);
	struct stop_out out = stop_decide(&in);

	ok(out.action == STOP_WAIT && out.offenders == both,
	    "both are awaited");
	drained[SLOT_WAL] = SHUTDOWN_CLOSED;
	out = stop_decide(&in);
	ok(out.action == STOP_WAIT && out.offenders == 1u << SLOT_GATEWAY,
	    "who is ahead is not");
	drained[SLOT_GATEWAY] = SHUTDOWN_DRAINING_DATA_PLANE;
	ok(stop_decide(&in).action == STOP_NEXT, "everybody is past it");
	in.now_ns = 1000;
	ok(stop_decide(&in).action == STOP_NEXT, "late is better than never");
	drained[SLOT_GATEWAY]--;
	out = stop_decide(&in);
	ok(out.action == STOP_KILL && out.offenders == 1u << SLOT_GATEWAY,
	    "who is late is named");
	in.killed = 1u << SLOT_GATEWAY;
	ok(stop_decide(&in).action == STOP_WAIT, "once");
	in.alive = 1u << SLOT_WAL;
	ok(stop_decide(&in).action == STOP_NEXT,
	    "who is gone holds nothing up");
	in.alive = 0;
	ok(stop_decide(&in).action == STOP_NEXT, "nobody is left to ask");
}

static void
test_closed(void)
{
	struct stop_in in = at(SHUTDOWN_CLOSED, 50, 1u << SLOT_WAL);
	struct stop_out out;

	drained[SLOT_WAL] = SHUTDOWN_CLOSED;
	ok(stop_decide(&in).action == STOP_WAIT, "closed: exits are awaited");
	in.now_ns = 100;
	out = stop_decide(&in);
	ok(out.action == STOP_KILL && out.offenders == 1u << SLOT_WAL,
	    "but not for ever");
	in.alive = 0;
	ok(stop_decide(&in).action == STOP_DONE, "the end");
}

int
main(void)
{
	test_steps();
	test_closed();
	return tap_done();
}
