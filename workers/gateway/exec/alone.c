/*
 * Who goes alone in the node: a write that is larger than its gateway's part of
 * the room is appended when nothing of any gateway is on its way into the
 * table, and until it is applied nobody appends.
 *
 * reach_table.alone is the claim. It is had in two steps. Wanted: other
 * gateways' clients wait while the room is whole, so what is under way comes to
 * its end; that is for who waits alone. Taken: it excludes. A gateway says in
 * its `latest` that it may append before it looks at the claim; who takes the
 * claim looks at all `latest` behind that, and steps back if it finds somebody:
 * of two that meet one sees the other.
 *
 * By turns: who waits for the claim, or behind it, has a ticket, and it is
 * claimed by who has the oldest. So those who waited for one that went alone
 * go before the next.
 *
 * A gateway that dies leaves its claim. Wanted it means nothing any more; taken
 * it holds until what that gateway has left in its ring is applied. It is known
 * by the incarnation, so the next process in the slot, which may take long to
 * boot, has nothing to do with it: whoever asks looks for himself. One that is
 * stopped keeps what it has taken until it goes on, or liveness ends it.
 */
#include "shm/kv/table.h"
#include "workers/gateway/exec/exec.h"

#define PATIENCE_NS NS_PER_S /* others go on then: one may be stopped */
#define LOOK_NS     (10 * NS_PER_MS) /* for what no bell tells */

static uint32_t
own_index(const struct gateway *g)
{
	return g->slot - SLOT_GATEWAY;
}

static uint32_t
claim_index(uint64_t claim)
{
	return ((uint32_t)claim & ~(uint32_t)ALONE_TAKEN) - 1;
}

static uint64_t
own_claim(const struct gateway *g)
{
	return (uint64_t)g->incarnation << 32 | (own_index(g) + 1);
}

static bool
is_own(const struct gateway *g, uint64_t claim)
{
	return (claim & ~ALONE_TAKEN) == own_claim(g);
}

static void
others_ring(const struct gateway *g)
{
	uint32_t i;

	for (i = 0; i < g->r->head->gateway_count; i++)
		if (i != own_index(g))
			bell_ring(&g->w->bells, SLOT_GATEWAY + i);
}

/* Nothing but writes under way is in the room. */
static bool
room_is_whole(const struct gateway *g)
{
	return position_get(&g->r->pos->room) >=
	       table_share(&g->r->table->gen[0]);
}

/* ---- the others ---- */

/* Was its process reaped, and is there no other yet? */
static bool
is_gone(const struct gateway *g, uint32_t i)
{
	/* Pairs with the release in row_begin() and behind the reaping. */
	uint32_t state = atomic_load_explicit(
	    &g->r->slots->row[SLOT_GATEWAY + i].state, memory_order_acquire);

	return state == SLOT_EMPTY || state == SLOT_EXITED ||
	       state == SLOT_BACKOFF;
}

/* Was the process that has it reaped? */
static bool
is_dead(const struct gateway *g, uint64_t claim)
{
	uint32_t i = claim_index(claim);

	/* The next one's number stands before its state does. */
	return is_gone(g, i) ||
	       atomic_load_explicit(
		   &g->r->slots->row[SLOT_GATEWAY + i].incarnation,
		   memory_order_acquire) != (uint32_t)(claim >> 32);
}

/* Of one that is not about to append: all that it has in its ring is applied.
 */
static bool
is_drained(const struct gateway *g, uint32_t i)
{
	uint64_t term;

	/* wal gives room back behind what it had is appended. */
	return bytering_is_drained(&g->r->rings[CLIENT_GATEWAY + i].request) &&
	       gw_reach_end(g, &term) <= position_get(&g->r->pos->applied);
}

/* Nothing of it is under way, and it is not about to append. */
static bool
is_quiet(const struct gateway *g, uint32_t i)
{
	struct reach_shared *of = &g->r->reach->of[i];
	uint64_t latest;

	if (is_gone(g, i))
		return is_drained(g, i);
	latest = atomic_load_explicit(&of->latest, memory_order_acquire);
	if (latest == REACH_APPENDS)
		return false;
	/* It may not have seen wal's answers, or never see them: stopped. */
	return !gw_reach_under_way(g, of, (uint32_t)latest) || is_drained(g, i);
}

static bool
all_quiet(const struct gateway *g)
{
	uint32_t i;

	for (i = 0; i < g->r->head->gateway_count; i++)
		if (i != own_index(g) && !is_quiet(g, i))
			return false;
	return true;
}

/* Nobody who is there has waited for longer. */
static bool
is_next(const struct gateway *g)
{
	uint64_t own = atomic_load_explicit(
	    &g->reach.shared->ticket, memory_order_relaxed);
	uint64_t ticket;
	uint32_t i;

	for (i = 0; i < g->r->head->gateway_count; i++) {
		ticket = atomic_load_explicit(
		    &g->r->reach->of[i].ticket, memory_order_acquire);
		/* With none one is behind all. */
		if (i != own_index(g) && ticket != 0 && ticket - 1 < own - 1 &&
		    !is_gone(g, i))
			return false;
	}
	return true;
}

/* ---- the claim ---- */

static void
claim_set(struct gateway *g, uint64_t claim)
{
	/* What was looked at before stands before it. */
	atomic_store_explicit(&g->r->reach->alone, claim, memory_order_release);
}

static void
claim_give_up(struct gateway *g)
{
	struct alone *a = &g->reach.alone;

	a->claimed = a->taken = a->added = false;
	claim_set(g, 0);
	others_ring(g);
}

/* What a dead one has left of it, if it holds no more. */
static bool
claim_forget(const struct gateway *g, uint64_t *claim)
{
	if (!is_dead(g, *claim) || ((*claim & ALONE_TAKEN) != 0 &&
				       !is_drained(g, claim_index(*claim))))
		return false;
	if (!atomic_compare_exchange_strong_explicit(&g->r->reach->alone, claim,
		0, memory_order_acq_rel, memory_order_acquire))
		return *claim == 0;
	others_ring(g);
	return true;
}

uint64_t
gw_alone_other(const struct gateway *g)
{
	uint64_t claim;

	if (!gw_alone_is_shared(g))
		return 0;
	claim = atomic_load_explicit(&g->r->reach->alone, memory_order_acquire);
	if (claim == 0 || is_own(g, claim) || claim_forget(g, &claim))
		return 0;
	return claim;
}

/*
 * One who only wants it waits for a checkpoint like others where the room is
 * not whole. A FLUSHALL waits for nobody who waits.
 */
bool
gw_alone_bars(
    const struct gateway *g, uint64_t other, bool whole, enum refuses level)
{
	if (other == 0 || position_get(&g->r->pos->room) == TABLE_ROOM_ANY)
		return false;
	return (other & ALONE_TAKEN) != 0 || (whole && level != REFUSES_ALL);
}

/* One that did not append what it took the claim for only wants it. */
static void
step_back(struct gateway *g)
{
	if (!g->reach.alone.taken || g->reach.alone.added)
		return;
	g->reach.alone.taken = false;
	claim_set(g, own_claim(g));
}

void
gw_alone_enter(struct gateway *g)
{
	struct alone *a = &g->reach.alone;

	if (!gw_alone_is_shared(g))
		return;
	step_back(g);
	if (a->open)
		return;
	a->open = true;
	atomic_store_explicit(
	    &g->reach.shared->latest, REACH_APPENDS, memory_order_relaxed);
	/* Before the look at the claim: with the fence of gw_alone_take(). */
	atomic_thread_fence(memory_order_seq_cst);
}

static void
ticket_take(struct gateway *g)
{
	_Atomic uint64_t *own = &g->reach.shared->ticket;

	if (atomic_load_explicit(own, memory_order_relaxed) == 0)
		atomic_store_explicit(own,
		    atomic_fetch_add_explicit(
			&g->r->reach->tickets, 1, memory_order_relaxed) +
			1,
		    memory_order_release);
}

static void
ticket_give_up(struct gateway *g)
{
	_Atomic uint64_t *own = &g->reach.shared->ticket;

	if (atomic_load_explicit(own, memory_order_relaxed) == 0)
		return;
	atomic_store_explicit(own, 0, memory_order_release);
	others_ring(g);
}

void
gw_alone_wait(struct gateway *g)
{
	if (!gw_alone_is_shared(g))
		return;
	g->reach.alone.wants = true;
	ticket_take(g);
}

static bool
claim_begin(struct gateway *g)
{
	uint64_t none = 0;

	gw_alone_wait(g);
	if (!is_next(g) ||
	    !atomic_compare_exchange_strong_explicit(&g->r->reach->alone, &none,
		own_claim(g), memory_order_acq_rel, memory_order_relaxed))
		return false;
	g->reach.alone.claimed = true;
	g->reach.alone.since_ns = g->io.loop.now_ns;
	return true;
}

bool
gw_alone_take(struct gateway *g)
{
	struct alone *a = &g->reach.alone;

	if (!gw_alone_is_shared(g))
		return true;
	if (!a->claimed && !claim_begin(g))
		return false;
	claim_set(g, own_claim(g) | ALONE_TAKEN);
	/* Before the look at the others: with the fence of gw_alone_enter(). */
	atomic_thread_fence(memory_order_seq_cst);
	a->taken = true;
	a->added = false;
	/* The room last: what was under way is taken off it. */
	if (!all_quiet(g) || !room_is_whole(g)) {
		step_back(g);
		return false;
	}
	/* Whoever else waits here does so from now on. */
	atomic_store_explicit(
	    &g->reach.shared->ticket, 0, memory_order_release);
	return true;
}

bool
gw_alone_could(const struct gateway *g)
{
	const struct alone *a = &g->reach.alone;

	if (!gw_alone_is_shared(g))
		return true;
	if (a->claimed)
		return !a->taken && all_quiet(g);
	return atomic_load_explicit(
		   &g->r->reach->alone, memory_order_acquire) == 0 &&
	       is_next(g);
}

/* ---- from the append to the store ---- */

void
gw_alone_added(struct gateway *g, uint32_t seq)
{
	struct alone *a = &g->reach.alone;

	if (!a->taken || a->added)
		return;
	a->added = true;
	a->seq = seq;
}

bool
gw_alone_lasts(const struct gateway *g)
{
	return g->reach.alone.added;
}

bool
gw_alone_over(const struct gateway *g)
{
	const struct reach *r = &g->reach;

	return r->alone.added && (int32_t)(r->applied_seq - r->alone.seq) >= 0;
}

void
gw_alone_turn(struct gateway *g)
{
	struct alone *a = &g->reach.alone;

	if (!gw_alone_is_shared(g))
		return;
	if (g->stalled_count == 0)
		a->wants = false;
	step_back(g);
	if (a->added ? gw_alone_over(g)
		     : a->claimed && (!a->wants || !room_is_whole(g)))
		claim_give_up(g);
	else if (a->claimed && !a->taken &&
		 g->io.loop.now_ns > a->since_ns + PATIENCE_NS) {
		/* Behind those who wait for it by now. */
		ticket_give_up(g);
		claim_give_up(g);
	}
	if (a->wants)
		ticket_take(g);
	else
		ticket_give_up(g);
}

void
gw_alone_leave(struct gateway *g)
{
	/* While parts are missing wal may have had all that is in the ring. */
	if (!g->reach.alone.open || g->big.payload != NULL)
		return;
	g->reach.alone.open = false;
	/* Pairs with the acquire in is_quiet(): what it has is in the ring. */
	atomic_store_explicit(
	    &g->reach.shared->latest, g->next_seq - 1, memory_order_release);
}

uint64_t
gw_alone_deadline(const struct gateway *g)
{
	const struct alone *a = &g->reach.alone;

	if (!a->claimed && (!a->wants || !room_is_whole(g)))
		return LOOP_NEVER;
	return g->io.loop.now_ns + LOOK_NS;
}
