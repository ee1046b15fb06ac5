/*
 * What all clients of this gateway hold together has a bound, [listen]
 * client_memory. One sum (the pool's `used`) is told of every chunk that is
 * taken or given back, and of what else a connection owns after whatever may
 * have changed it; who holds how much is looked up only when the sum is high:
 *
 * - Above half of it, whoever holds much is not read any more, but for
 *   one, whose turn it is (enum queue): it has RUN_NS to end what it is at,
 *   and as much again for every RUN_LEAST bytes that come from it or go to it,
 *   else it is closed. So whoever holds something and waits for its client
 *   has an end, and who waits for us is served.
 * - Above the bound those that hold most are closed until it is an eighth
 *   less: first who has not said the password, then those that hold much, of
 *   them last who said CLIENT NO-EVICT. What they held in the kernel's or wal's
 *   hands is given back when those are done with it.
 *
 * Who holds little is closed only if very many of them are the trouble.
 */
#include <malloc.h>
#include "shm/assert.h"
#include "shm/log.h"
#include "workers/gateway/command.h"
#include "workers/gateway/gateway.h"
#include "workers/gateway/job.h"

#define HOLDS_MUCH  (64u * 1024) /* is not read above half */
#define ROOM_UNAUTH 1024u /* who holds more unknown goes first */
#define LOOK_NS     (20 * NS_PER_MS) /* between two looks while it is high */
#define LOOK_REST   10u /* of all clients: so many times as long as it took */
#define RUN_NS      (2 * NS_PER_S)
#define RUN_LEAST   (128u * 1024) /* bytes that win it as much time again */
#define MUTE_KEEP   (64u * 1024) /* of a reply that nobody wants */
#define TRIM_NS     NS_PER_S
#define TRIM_LEAST  (2u << 20) /* less is not worth a walk of the heap */

/* Sizes in classes of a quarter more each; who goes first in ranks. */
#define CLASSES 256u
#define RANKS   4u

/* Whose turn is next among those that hold much; the last one first. */
enum queue {
	QUEUE_NOT, /* waits for us */
	QUEUE_UNREAD, /* for its client to read replies */
	QUEUE_BETWEEN, /* for the next of its commands */
	QUEUE_PART, /* for the rest of one: who has sent most */
	QUEUE_ENDED, /* all that comes is here: soon over */
};

struct holders {
	uint64_t sum; /* of those that are there, and on its way to wal */
	uint64_t class[RANKS][CLASSES]; /* the same by rank and size */
	struct conn *next; /* to be the runner */
	enum queue next_queue;
	size_t next_held;
	bool busy; /* a large request is whole, and waits for us */
};

size_t
gw_memory_of_args(const struct conn *c)
{
	if (c->in == NULL)
		return 0;
	return malloc_usable_size(c->in->rp.line) +
	       malloc_usable_size(c->in->argv) +
	       c->in->rp.cap * sizeof(struct resp_arg);
}

/* What c owns beside chunks. */
static size_t
plain_bytes(const struct conn *c)
{
	size_t pooled = 0, n = 0;

	if (c->in != NULL)
		n = sizeof(*c->in) + gw_memory_of_args(c);
	if (c->multi != NULL)
		n += gw_multi_bytes(c->multi);
	if (c->job != NULL)
		c->job->size(c->job, &pooled, &n);
	if (c->name != NULL || c->lib_name != NULL || c->lib_ver != NULL)
		n += malloc_usable_size(c->name) +
		     malloc_usable_size(c->lib_name) +
		     malloc_usable_size(c->lib_ver);
	return n;
}

void
gw_memory_note(struct gateway *g, struct conn *c)
{
	size_t now = plain_bytes(c);

	g->pool.used += now - c->plain;
	c->plain = now;
}

size_t
gw_memory_of(const struct gateway *g, const struct conn *c)
{
	size_t n = c->plain + chunk_bytes(c->out.c), other = 0;
	const struct chunk *chunk;
	const struct node *node;
	uint32_t i;

	for (chunk = c->sending; chunk != NULL; chunk = chunk->next)
		n += chunk_bytes(chunk);
	if (c->in != NULL)
		n += chunk_bytes(c->in->bytes.c) + chunk_bytes(c->in->behind.c);
	if (c->job != NULL)
		c->job->size(c->job, &n, &other);
	for (i = c->node_head; i != GW_NONE; i = node->next) {
		node = &g->nodes[i];
		n += chunk_bytes(node->sink.c) + gw_exec_bytes(node->exec);
	}
	return n;
}

static unsigned
size_class(size_t n)
{
	unsigned top;

	if (n < 8)
		return 0;
	top = 63u - (unsigned)__builtin_clzll(n);
	return top * 4 + (unsigned)(n >> (top - 2) & 3);
}

static unsigned
rank_of(const struct conn *c, size_t held)
{
	if ((c->flags & CONN_AUTHED) == 0 && held > ROOM_UNAUTH)
		return 0;
	if (held <= HOLDS_MUCH)
		return 3;
	return (c->flags & CONN_NO_EVICT) != 0 ? 2 : 1;
}

/* The next living connection at or after *i, which moves behind it. */
static struct conn *
conn_next(struct gateway *g, uint32_t *i)
{
	struct conn *c;

	while (*i < gw_conn_limit(g))
		if ((c = gw_conn_at(g, (*i)++)) != NULL &&
		    (c->flags & CONN_CLOSING) == 0)
			return c;
	return NULL;
}

static enum queue
queue_of(const struct conn *c)
{
	if (c->park == PARK_OUTPUT ||
	    ((c->flags & CONN_EOF) != 0 && gw_conn_unsent(c) != 0))
		return QUEUE_UNREAD;
	if (c->park != PARK_NOT || (c->flags & (CONN_EOF | CONN_LAST)) != 0)
		return QUEUE_NOT;
	if ((c->flags & CONN_ENDED) != 0)
		return QUEUE_ENDED;
	return c->in != NULL ? QUEUE_PART : QUEUE_BETWEEN;
}

static void
holder_queue(struct holders *h, struct conn *c, size_t held)
{
	enum queue queue = queue_of(c);

	if (c->park == PARK_RING || c->park == PARK_TURN)
		h->busy = true;
	if (queue < h->next_queue || queue == QUEUE_NOT ||
	    (queue == h->next_queue && held <= h->next_held))
		return;
	h->next = c;
	h->next_queue = queue;
	h->next_held = held;
}

static void
holders_look(struct gateway *g, struct holders *h)
{
	struct conn *c;
	uint32_t i = 0;
	size_t held;

	memset(h, 0, sizeof(*h));
	h->sum = gw_big_bytes(g);
	while ((c = conn_next(g, &i)) != NULL) {
		held = gw_memory_of(g, c);
		h->sum += held;
		h->class[rank_of(c, held)][size_class(held)] += held;
		if (held > HOLDS_MUCH)
			holder_queue(h, c, held);
	}
}

static void
evict(struct gateway *g, struct conn *c, size_t held)
{
	char addr[GW_ADDRESS_MAX];
	uint64_t more;

	gw_count(g, C_CLIENTS_EVICTED, 1);
	if (gw_told_begin(g, &g->evict_told, &more)) {
		gw_net_address(c, false, addr, sizeof(addr));
		event_add(g->r, g->slot, EVENT_WARN,
		    "client %llu, %s: closed: it holds most, %zu bytes, and "
		    "[listen] client_memory is %llu; %llu more since last told",
		    (unsigned long long)c->id, addr, held,
		    (unsigned long long)g->w->conf->listen.client_memory,
		    (unsigned long long)more);
	}
	gw_conn_kill(g, c);
}

/* Close those of one rank and class until `excess` is gone; what is left. */
static uint64_t
evict_class(struct gateway *g, unsigned rank, unsigned class, uint64_t excess)
{
	struct conn *c;
	uint32_t i = 0;
	size_t held;

	while (excess != 0 && (c = conn_next(g, &i)) != NULL) {
		held = gw_memory_of(g, c);
		if (rank_of(c, held) != rank || size_class(held) != class)
			continue;
		evict(g, c, held);
		excess -= held < excess ? held : excess;
	}
	return excess;
}

static void
evict_most(struct gateway *g, struct holders *h, uint64_t excess)
{
	unsigned rank, class;

	for (rank = 0; rank < RANKS; rank++)
		for (class = CLASSES; class -- > 0 && excess != 0;)
			if (h->class[rank][class] != 0)
				excess = evict_class(g, rank, class, excess);
}

/* The one that may go on with its request, or NULL. */
static struct conn *
runner_now(struct gateway *g)
{
	struct conn *c = gw_conn_find(g, g->runner, g->runner_generation);

	if (c == NULL || (c->flags & CONN_CLOSING) != 0 ||
	    queue_of(c) == QUEUE_NOT || gw_memory_of(g, c) <= HOLDS_MUCH)
		return NULL;
	return c;
}

static void
runner_start(struct gateway *g, const struct conn *c)
{
	g->runner = c->index;
	g->runner_generation = c->generation;
	g->runner_moved = 0;
	g->runner_goal = RUN_LEAST;
	g->runner_end_ns = g->loop.now_ns + RUN_NS;
}

/* It has got on: as much time again, but not for more than can be useful. */
static bool
runner_again(struct gateway *g)
{
	const struct conf *conf = g->w->conf;

	if (g->runner_moved < g->runner_goal ||
	    g->runner_moved > conf->listen.max_query + conf->listen.max_output)
		return false;
	g->runner_goal = g->runner_moved + RUN_LEAST;
	g->runner_end_ns = g->loop.now_ns + RUN_NS;
	return true;
}

/* While whole requests wait for us one begins now and then. */
static struct conn *
runner_next(struct gateway *g, const struct holders *h)
{
	if (h->next == NULL ||
	    (h->busy && g->loop.now_ns < g->runner_end_ns + RUN_NS))
		return NULL;
	runner_start(g, h->next);
	return h->next;
}

static struct conn *
runner_choose(struct gateway *g, const struct holders *h)
{
	struct conn *c = runner_now(g);

	/* Who is at no request has its turn when nobody else is. */
	if (c == NULL ||
	    (queue_of(c) < QUEUE_PART && h->next_queue > queue_of(c)))
		return runner_next(g, h);
	if (g->loop.now_ns < g->runner_end_ns || runner_again(g))
		return c;
	evict(g, c, gw_memory_of(g, c));
	return NULL; /* the next look has another one */
}

/* Who is to be read and who is not, by what they hold. */
static void
hold_back(struct gateway *g, const struct conn *runner)
{
	struct conn *c;
	uint32_t i = 0;
	bool hold;

	while ((c = conn_next(g, &i)) != NULL) {
		hold = g->memory_high && c != runner &&
		       gw_memory_of(g, c) > HOLDS_MUCH;
		if (hold == ((c->flags & CONN_HELD) != 0))
			continue;
		c->flags ^= CONN_HELD;
		gw_conn_dirty(g, c);
	}
}

static void
memory_look(struct gateway *g, uint64_t limit)
{
	uint64_t begin_ns = mono_ns();
	struct conn *runner = NULL;
	struct holders h;

	/* What closed ones have left behind is on its way. */
	holders_look(g, &h);
	if (h.sum > limit) {
		evict_most(g, &h, h.sum - (limit - limit / 8));
		holders_look(g, &h);
	}
	g->memory_high = h.sum > limit / 2;
	if (g->memory_high)
		runner = runner_choose(g, &h);
	if (runner == NULL)
		g->runner_generation = 0;
	hold_back(g, runner);
	g->memory_seen = g->pool.used;
	g->memory_look_ns = g->loop.now_ns + LOOK_NS;
	g->memory_rest_ns = g->loop.now_ns + (mono_ns() - begin_ns) * LOOK_REST;
}

/* Give the kernel back what a flood has taken, once it is over. */
static void
memory_trim(struct gateway *g, size_t used)
{
	if (used > g->memory_peak)
		g->memory_peak = used;
	if (g->memory_peak < TRIM_LEAST || used > g->memory_peak / 2 ||
	    g->loop.now_ns < g->trim_ns)
		return;
	chunk_pool_free(&g->pool);
	(void)malloc_trim(0);
	g->memory_peak = used;
	g->trim_ns = g->loop.now_ns + TRIM_NS;
}

/* There is memory again: who does not read may be one that writes first. */
static void
output_goes_on(struct gateway *g)
{
	struct conn *c;
	uint32_t i = 0;

	g->output_rests = false;
	while ((c = conn_next(g, &i)) != NULL)
		if (c->park == PARK_OUTPUT && (c->flags & CONN_AUTHED) != 0)
			gw_conn_resume(g, c);
}

/* Somebody was to end its request, and is at it no more. */
static bool
runner_over(struct gateway *g)
{
	return g->runner_generation != 0 && runner_now(g) == NULL;
}

static bool
look_is_due(struct gateway *g, size_t used, uint64_t limit)
{
	if (used > g->memory_seen + limit / 16)
		return true;
	if (g->loop.now_ns < g->memory_rest_ns)
		return false;
	return g->loop.now_ns >= g->memory_look_ns || runner_over(g) ||
	       used > g->memory_seen + limit / 64;
}

void
gw_memory_turn(struct gateway *g)
{
	uint64_t limit = g->w->conf->listen.client_memory;
	size_t used = g->pool.used;

	if ((used > limit / 2 || g->memory_high) && look_is_due(g, used, limit))
		memory_look(g, limit);
	if (g->output_rests && used < gw_output_ceiling(g))
		output_goes_on(g);
	if (chunk_bytes(g->mute.c) > MUTE_KEEP)
		sink_reset(&g->mute);
	memory_trim(g, used);
}

uint64_t
gw_memory_deadline(const struct gateway *g)
{
	if (g->memory_high)
		return g->memory_look_ns;
	if (g->memory_peak >= TRIM_LEAST && g->pool.used <= g->memory_peak / 2)
		return g->trim_ns;
	return LOOP_NEVER;
}
