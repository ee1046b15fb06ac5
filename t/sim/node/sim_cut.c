/*
 * A mastership ends, as in a group of more: for a moment nobody is elected, and
 * wal is asked to cut off what is not committed. Then the node stands again,
 * whether the log is cut by then or not. All of it happens in group's process,
 * at the end of a turn, between two steps of its core.
 */
#include "t/sim/node/sim_core.h"

#include <string.h>

#include "shm/region.h"
#include "shm/request.h"
#include "t/sim/node/sim_node.h"
#include "workers/group/core/acts.h"
#include "workers/group/group.h"

#define AWAY_NS (40 * NS_PER_MS) /* without a master, at most */

void __real_group_members_save(struct group *g);
void __wrap_group_members_save(struct group *g);

/*
 * What its core knows is in the log and committed, and nothing is on its way.
 * Mostly there is something to cut, too.
 */
static bool
may_depose(const struct group *g)
{
	const struct group_core *c = &g->core;

	return c->role == ROLE_MASTER && c->ready && !c->persisting &&
	       c->term_committed && !c->member_wanted && !c->member_asked &&
	       !g->member_asked && g->state_write == STATE_WRITE_IDLE &&
	       commit_vlsn(g->r) >= c->current.vlsn &&
	       (position_get(&g->r->pos->appended) > commit_vlsn(g->r) ||
		   sim_chance(16));
}

/* As group.c does what the core asks for. */
static void
depose(struct group *g)
{
	_Atomic uint64_t *v = &g->r->pos->committed.v;
	struct group_core *c = &g->core;
	uint64_t word = atomic_load(v);

	c->epoch++;
	c->role = ROLE_UNKNOWN;
	c->leader = 0;
	c->lease_until_ns = 0;
	while (!atomic_compare_exchange_weak(
	    v, &word, epoch_word(c->epoch, word_vlsn(word))))
		;
	commit_term_ended(g->r, c->won_term);
	group_view(c, &g->view);
	commit_view_write(g->r->commit, &g->view);
	g->deadline_ns = clock_ns(CLOCK_BOOTTIME) +
			 (sim_rand_below(AWAY_NS) >> sim_rand_below(12));
}

/* wal's answer is none of the core's: no request of its own has that number. */
static void
ask_cut(struct group *g)
{
	uint64_t committed = commit_vlsn(g->r);
	uint64_t more = position_get(&g->r->pos->appended) - committed;
	struct cut_req cut = { .vlsn = committed, .epoch = g->core.epoch };
	struct wal_req *req = bytering_reserve(
	    &g->request, (uint32_t)(sizeof(*req) + sizeof(cut)));

	if (req == NULL)
		return;
	if (sim_chance(4))
		cut.vlsn += sim_rand_below(more + 1);
	req->seq = UINT32_MAX;
	req->incarnation = g->w->incarnation;
	req->type = REQ_CUT;
	req->flags = 0;
	req->zero = 0;
	memcpy(req + 1, &cut, sizeof(cut));
	bytering_publish(&g->request);
	sim_tell("term %ju is over; a cut behind VLSN %ju, %ju is committed, "
		 "%ju appended",
	    (uintmax_t)g->core.won_term, (uintmax_t)cut.vlsn,
	    (uintmax_t)committed, (uintmax_t)(committed + more));
}

void
__wrap_group_members_save(struct group *g)
{
	if (world.cut_wanted && may_depose(g)) {
		world.cut_wanted = false;
		depose(g);
		ask_cut(g);
		bell_ring_all(&g->w->bells);
	}
	__real_group_members_save(g);
}
