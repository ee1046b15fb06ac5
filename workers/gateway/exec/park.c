/*
 * Why a connection rests, and what ends that: one row each. Whoever does not
 * rest in a list is found by the one who ends it; those in the lists are
 * looked at once a turn.
 */
#include "shm/assert.h"
#include "shm/kv/room.h"
#include "workers/gateway/exec/exec.h"

#define LOOK_NS (2 * NS_PER_MS)

enum list {
	LIST_NONE,
	LIST_WAITING, /* for what others do, or a time */
	LIST_STALLED, /* in front of the ring; CONN_BIG has its own */
	LIST_RESTING, /* for time; CONN_WORKS has its own */
};

struct reason {
	const char *name; /* CLIENT LIST: waits= */
	enum list list;
	bool blocked; /* INFO: in blocked_clients */
	unsigned io; /* flags: what io is told of it */
	/* LIST_WAITING: it begins; is it over? */
	void (*begin)(struct gateway *g, const struct conn *c);
	bool (*over)(const struct gateway *g, const struct conn *c);
};

static void
lower(uint64_t *min, uint64_t v)
{
	if (v < *min)
		*min = v;
}

static void
apply_begin(struct gateway *g, const struct conn *c)
{
	lower(&g->apply_min, c->wait_vlsn);
}

static bool
apply_over(const struct gateway *g, const struct conn *c)
{
	return position_get(&g->r->pos->applied) >= c->wait_vlsn ||
	       g->role_moved || room_hopeless(g->r);
}

static void
count_begin(struct gateway *g, const struct conn *c)
{
	lower(&g->count_min, c->wait_vlsn);
}

static bool
count_over(const struct gateway *g, const struct conn *c)
{
	return position_get(&g->r->pos->resolved) >= c->wait_vlsn;
}

static void
sync_begin(struct gateway *g, const struct conn *c)
{
	g->sync_count++;
	lower(&g->sync_min, c->wait_vlsn);
	lower(&g->sync_deadline_ns, c->deadline_ns);
}

static bool
sync_over(const struct gateway *g, const struct conn *c)
{
	/* Who waits for the lease to be held has no VLSN. */
	return (c->wait_vlsn != UINT64_MAX &&
		   gw_write_outcome(g, c) != OUTCOME_OPEN) ||
	       g->io.loop.now_ns >= c->deadline_ns;
}

/* Nobody rings: it is looked at every now and then. */
static void
look_begin(struct gateway *g, const struct conn *c)
{
	uint64_t soon = g->io.loop.now_ns + LOOK_NS;

	lower(&g->sync_deadline_ns,
	    soon < c->deadline_ns ? soon : c->deadline_ns);
}

static bool
lease_over(const struct gateway *g, const struct conn *c)
{
	return commit_can_read(g->r) || !commit_is_master(g->r) ||
	       g->io.loop.now_ns >= c->deadline_ns;
}

/* It counts for itself. */
static bool
copies_over(const struct gateway *g, const struct conn *c)
{
	(void)g;
	(void)c;
	return true;
}

static void
term_begin(struct gateway *g, const struct conn *c)
{
	(void)c;
	g->term_count++;
}

static bool
term_over(const struct gateway *g, const struct conn *c)
{
	(void)c;
	return gw_read_term_over(g);
}

/* name, list, blocked, io, begin, over */
static const struct reason reasons[] = {
	/* Ended by order.c: the last reply that it is owed. */
	[PARK_ORDER] = { "order", LIST_NONE, false, 0, NULL, NULL },
	/* The store rings: it was asked to, and has applied so much; group,
	   when the role changes, for what is waited for may never come. */
	[PARK_APPLY] = { "apply", LIST_WAITING, true, 0, apply_begin,
	    apply_over },
	/* The store rings once it has counted so far. */
	[PARK_COUNT] = { "count", LIST_WAITING, true, 0, count_begin,
	    count_over },
	/* wal rings, as commit_waited says; group, when the mastership is
	   over; or its time is. */
	[PARK_SYNC] = { "sync", LIST_WAITING, true, 0, sync_begin, sync_over },
	/* The same; and group, when the role changes. */
	[PARK_TERM] = { "term", LIST_WAITING, true, 0, term_begin, term_over },
	/* A clock decides. */
	[PARK_LEASE] = { "lease", LIST_WAITING, true, 0, look_begin,
	    lease_over },
	[PARK_COPIES] = { "copies", LIST_WAITING, true, 0, look_begin,
	    copies_over },
	/* wal and store make room; reach.c says whom they ring. */
	[PARK_RING] = { "ring", LIST_STALLED, true, CONN_OURS, NULL, NULL },
	/* Ended by io: its client has read, or others hold less. */
	[PARK_OUTPUT] = { "output", LIST_NONE, false, CONN_UNREAD, NULL, NULL },
	/* Nobody rings: the loop does not sleep. */
	[PARK_TURN] = { "turn", LIST_RESTING, false, CONN_OURS, NULL, NULL },
};
_Static_assert(NITEMS(reasons) == PARK_COUNT_OF, "a row each");

const char *
gw_park_name(enum park why)
{
	return why == PARK_NOT ? "" : reasons[why].name;
}

void
gw_park_init(struct gateway *g)
{
	TAILQ_INIT(&g->waiting);
	TAILQ_INIT(&g->stalled);
	TAILQ_INIT(&g->stalled_big);
	TAILQ_INIT(&g->resting);
	TAILQ_INIT(&g->working);
	g->apply_min = g->count_min = g->sync_min = UINT64_MAX;
	g->sync_deadline_ns = LOOP_NEVER;
}

static struct conn_list *
stalled_list(struct gateway *g, const struct conn *c)
{
	return (c->flags & CONN_BIG) != 0 ? &g->stalled_big : &g->stalled;
}

static struct conn_list *
resting_list(struct gateway *g, const struct conn *c)
{
	return (c->flags & CONN_WORKS) != 0 ? &g->working : &g->resting;
}

/* It is in its list no more. */
static void
unlist(struct gateway *g, struct conn *c)
{
	switch (reasons[c->park].list) {
	case LIST_NONE:
		return;
	case LIST_WAITING:
		TAILQ_REMOVE(&g->waiting, c, wait);
		g->waiting_count--;
		g->sync_count -= c->park == PARK_SYNC;
		g->term_count -= c->park == PARK_TERM;
		gw_answer_commit_waited(g);
		return;
	case LIST_STALLED:
		TAILQ_REMOVE(stalled_list(g, c), c, wait);
		g->stalled_count--;
		g->room_count -= (c->flags & CONN_ROOM) != 0;
		c->flags &= ~(unsigned)CONN_ROOM;
		return;
	case LIST_RESTING:
		TAILQ_REMOVE(resting_list(g, c), c, wait);
		g->resting_count--;
		g->working_count -= (c->flags & CONN_WORKS) != 0;
		return;
	}
}

void
gw_park_end(struct gateway *g, struct conn *c)
{
	if (c->park == PARK_NOT)
		return;
	unlist(g, c);
	g->blocked_count -= reasons[c->park].blocked;
	c->flags &= ~reasons[c->park].io;
	c->park = PARK_NOT;
}

/* Is it known to have more to do than a first slice is for? */
static bool
conn_works(const struct gateway *g, const struct conn *c)
{
	const struct input *in = c->in;

	return g->slicing ||
	       (in != NULL &&
		   (in->argv != NULL ||
		       sink_len(&in->bytes) - in->start > GW_BUF_SIZE));
}

static void
enlist(struct gateway *g, struct conn *c, const struct reason *why)
{
	switch (why->list) {
	case LIST_NONE:
		return;
	case LIST_WAITING:
		TAILQ_INSERT_TAIL(&g->waiting, c, wait);
		g->waiting_count++;
		why->begin(g, c);
		gw_answer_commit_waited(g);
		return;
	case LIST_STALLED:
		TAILQ_INSERT_TAIL(stalled_list(g, c), c, wait);
		g->stalled_count++;
		g->room_count += (c->flags & CONN_ROOM) != 0;
		return;
	case LIST_RESTING:
		c->flags &= ~(unsigned)CONN_WORKS;
		if (conn_works(g, c))
			c->flags |= CONN_WORKS;
		TAILQ_INSERT_TAIL(resting_list(g, c), c, wait);
		g->resting_count++;
		g->working_count += (c->flags & CONN_WORKS) != 0;
		return;
	}
}

void
gw_park(struct gateway *g, struct conn *c, enum park why)
{
	ASSERT(c->park == PARK_NOT && why != PARK_NOT);
	c->park = (uint8_t)why;
	c->flags |= reasons[why].io;
	g->blocked_count += reasons[why].blocked;
	enlist(g, c, &reasons[why]);
}

void
gw_park_stall(struct gateway *g, struct conn *c, size_t len)
{
	c->flags &= ~(unsigned)CONN_BIG;
	if (len > GW_REQUEST_BIG)
		c->flags |= CONN_BIG;
	gw_park(g, c, PARK_RING);
}

uint64_t
gw_park_deadline(const struct gateway *g)
{
	return g->waiting_count != 0 ? g->sync_deadline_ns : LOOP_NEVER;
}

void
gw_park_look(struct gateway *g)
{
	g->apply_min = g->count_min = g->sync_min = 0;
}

/* Which view is the newest? A mastership may end with it. */
static uint32_t
view_seq(const struct gateway *g)
{
	return atomic_load_explicit(&g->r->commit->seq, memory_order_acquire);
}

static bool
waiting_is_over(const struct gateway *g)
{
	const struct positions *pos = g->r->pos;

	return g->waiting_count != 0 &&
	       (position_get(&pos->applied) >= g->apply_min ||
		   (g->apply_min != UINT64_MAX && room_hopeless(g->r)) ||
		   position_get(&pos->resolved) >= g->count_min ||
		   commit_vlsn(g->r) >= g->sync_min ||
		   ((g->sync_count != 0 || g->apply_min != UINT64_MAX) &&
		       view_seq(g) != g->seen_view) ||
		   (g->term_count != 0 && gw_read_term_over(g)));
}

bool
gw_park_pending(const struct gateway *g)
{
	return g->resting_count != 0 || waiting_is_over(g);
}

/* The newest view is looked at: is this another mastership, or none? */
static void
view_look(struct gateway *g)
{
	uint64_t was = g->seen_mastership;
	struct commit_view view;

	g->seen_view = view_seq(g);
	commit_view_read(g->r->commit, &view);
	g->seen_mastership = view.role == ROLE_MASTER ? view.term : 0;
	/* Without one nobody waits for an index, whoever has seen its end. */
	g->role_moved = g->seen_mastership != was || g->seen_mastership == 0;
}

/*
 * Those that wait again go to the end, so each is looked at once. (What one
 * runs may kill another of the list: then some are looked at twice.)
 */
static void
wake_waiting(struct gateway *g)
{
	uint32_t left = g->waiting_count;
	struct conn *c;

	if (left == 0 ||
	    (!waiting_is_over(g) && g->io.loop.now_ns < g->sync_deadline_ns))
		return;
	view_look(g);
	g->apply_min = g->count_min = g->sync_min = UINT64_MAX;
	g->sync_deadline_ns = LOOP_NEVER;
	for (; left != 0; left--) {
		enum park why;

		if ((c = TAILQ_FIRST(&g->waiting)) == NULL)
			break;
		why = c->park;
		if (reasons[why].over(g, c)) {
			/* An index is of the mastership that gave it. */
			if (g->role_moved && why == PARK_APPLY)
				c->flags &= ~(unsigned)CONN_INDEX;
			gw_conn_go_on(&g->io, c);
			continue;
		}
		gw_park_end(g, c);
		gw_park(g, c, why);
	}
}

/* Each once, while there is room. */
static void
wake_list(struct gateway *g, struct conn_list *list, size_t len)
{
	uint32_t left = g->stalled_count;
	struct conn *c;

	for (; left != 0 && gw_write_may_go(g, len); left--) {
		if ((c = TAILQ_FIRST(list)) == NULL)
			return;
		gw_conn_go_on(&g->io, c);
	}
}

/*
 * A big request keeps the ring for itself until its last part is in. So all
 * small ones go before the next big one; then it is that one's turn, however
 * many small ones there are.
 */
static void
wake_stalled(struct gateway *g)
{
	/* Where nothing is appended nobody waits for room. */
	if (g->stalled_count == 0 ||
	    (gw_reach_holds(g) && commit_is_master(g->r)))
		return;
	gw_reach_wake(g);
	if (g->big_next)
		wake_list(g, &g->stalled_big, SIZE_MAX);
	wake_list(g, &g->stalled, 0);
	if (!g->big_next)
		wake_list(g, &g->stalled_big, SIZE_MAX);
	g->big_next = !TAILQ_EMPTY(&g->stalled_big) && g->big.payload == NULL;
}

void
gw_park_wake(struct gateway *g)
{
	wake_waiting(g);
	wake_stalled(g);
	gw_turn_rest(g);
}
