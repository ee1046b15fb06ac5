/*
 * A turn's time: one share for commands that arrive, as much again for those
 * that rest since before. That is cut in slices:
 *
 * - A short one for everybody who rests and has had none (`resting`), first
 *   come, first served. Most need no more: who sends a little is not behind
 *   those with a lot to do.
 * - Then, one after the other, for who had one and has more to do, or is known
 *   to have (`working`): jobs, long pipelines, long commands. They have half
 *   of the share at least, and one of them a slice in every turn.
 */
#include "workers/gateway/exec/exec.h"

#define FIRST_NS (GW_TURN_NS / 32)
#define SLICE_NS (GW_TURN_NS / 4) /* at least; few of them have more */

void
gw_turn_look(struct gateway *g)
{
	g->turn_work = 0;
	if (g->turn_end_ns == 0)
		g->turn_end_ns = g->io.loop.now_ns + GW_TURN_NS;
	g->turn_over |= mono_ns() >= g->turn_end_ns;
}

bool
gw_turn_is_over(void *gateway)
{
	struct gateway *g = gateway;

	gw_turn_look(g);
	return g->turn_over;
}

static void
turn_share(struct gateway *g, uint64_t end_ns)
{
	g->turn_end_ns = end_ns;
	g->turn_work = 0;
	g->turn_over = false;
}

/* Each of the first `left` once, while there is time: one in any case. */
static void
slices(struct gateway *g, struct conn_list *list, uint32_t left,
    uint64_t slice_ns, uint64_t end_ns)
{
	uint64_t now = mono_ns();
	struct conn *c;

	for (; left != 0 && (c = TAILQ_FIRST(list)) != NULL; left--) {
		turn_share(
		    g, now + slice_ns < end_ns ? now + slice_ns : end_ns);
		gw_conn_go_on(&g->io, c);
		if ((now = mono_ns()) >= end_ns)
			return;
	}
}

void
gw_turn_rest(struct gateway *g)
{
	uint64_t now = mono_ns(), end_ns = now + GW_TURN_NS, slice_ns;

	g->slicing = true;
	slices(g, &g->resting, g->resting_count - g->working_count, FIRST_NS,
	    g->working_count == 0 ? end_ns : end_ns - GW_TURN_NS / 2);
	if (g->working_count != 0) {
		now = mono_ns();
		/* What went to the disk may have used up all of it. */
		if (end_ns < now + SLICE_NS)
			end_ns = now + SLICE_NS;
		slice_ns = (end_ns - now) / g->working_count;
		slices(g, &g->working, g->working_count,
		    slice_ns > SLICE_NS ? slice_ns : SLICE_NS, end_ns);
	}
	g->slicing = false;
	/* What comes from here on comes in the next turn. */
	turn_share(g, 0);
}
