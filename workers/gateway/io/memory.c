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
#include "shm/say.h"
#include "workers/gateway/io/io.h"

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

void
gw_memory_changed(struct gw_io *io, struct conn *c, size_t above)
{
	size_t now = above;

	if (c->in != NULL)
		now += sizeof(*c->in) + gw_memory_of_args(c);
	io->pool.used += now - c->plain;
	c->plain = now;
}

size_t
gw_memory_of(const struct gw_io *io, const struct conn *c)
{
	size_t n = c->plain + chunk_bytes(c->out.c);
	const struct chunk *chunk;

	for (chunk = c->sending; chunk != NULL; chunk = chunk->next)
		n += chunk_bytes(chunk);
	if (c->in != NULL)
		n += chunk_bytes(c->in->bytes.c) + chunk_bytes(c->in->behind.c);
	return n + io->up.held(io, c);
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
conn_next(struct gw_io *io, uint32_t *i)
{
	struct conn *c;

	while (*i < gw_conn_limit(io))
		if ((c = gw_conn_at(io, (*i)++)) != NULL &&
		    (c->flags & CONN_CLOSING) == 0)
			return c;
	return NULL;
}

static enum queue
queue_of(const struct conn *c)
{
	if ((c->flags & CONN_UNREAD) != 0 ||
	    ((c->flags & CONN_EOF) != 0 && gw_conn_unsent(c) != 0))
		return QUEUE_UNREAD;
	if (c->park != 0 || (c->flags & (CONN_EOF | CONN_LAST)) != 0)
		return QUEUE_NOT;
	if ((c->flags & CONN_ENDED) != 0)
		return QUEUE_ENDED;
	return c->in != NULL ? QUEUE_PART : QUEUE_BETWEEN;
}

static void
holder_queue(struct holders *h, struct conn *c, size_t held)
{
	enum queue queue = queue_of(c);

	if ((c->flags & CONN_OURS) != 0)
		h->busy = true;
	if (queue < h->next_queue || queue == QUEUE_NOT ||
	    (queue == h->next_queue && held <= h->next_held))
		return;
	h->next = c;
	h->next_queue = queue;
	h->next_held = held;
}

static void
holders_look(struct gw_io *io, struct holders *h)
{
	struct conn *c;
	uint32_t i = 0;
	size_t held;

	memset(h, 0, sizeof(*h));
	h->sum = io->lent;
	while ((c = conn_next(io, &i)) != NULL) {
		held = gw_memory_of(io, c);
		h->sum += held;
		h->class[rank_of(c, held)][size_class(held)] += held;
		if (held > HOLDS_MUCH)
			holder_queue(h, c, held);
	}
}

static void
evict(struct gw_io *io, struct conn *c, size_t held)
{
	char addr[GW_ADDRESS_MAX];
	uint64_t more;

	gw_count(io, C_CLIENTS_EVICTED, 1);
	if (gw_told_begin(io, &io->evict_told, &more)) {
		gw_net_address(c, false, addr, sizeof(addr));
		event_add(io->r, io->slot, EVENT_WARN,
		    "client %llu, %s: closed: it holds most, %zu bytes, and "
		    "[listen] client_memory is %llu; %llu more since last told",
		    (unsigned long long)c->id, addr, held,
		    (unsigned long long)io->w->conf->listen.client_memory,
		    (unsigned long long)more);
	}
	gw_conn_kill(io, c);
}

/* Close those of one rank and class until `excess` is gone; what is left. */
static uint64_t
evict_class(struct gw_io *io, unsigned rank, unsigned class, uint64_t excess)
{
	struct conn *c;
	uint32_t i = 0;
	size_t held;

	while (excess != 0 && (c = conn_next(io, &i)) != NULL) {
		held = gw_memory_of(io, c);
		if (rank_of(c, held) != rank || size_class(held) != class)
			continue;
		evict(io, c, held);
		excess -= held < excess ? held : excess;
	}
	return excess;
}

static void
evict_most(struct gw_io *io, struct holders *h, uint64_t excess)
{
	unsigned rank, class;

	for (rank = 0; rank < RANKS; rank++)
		for (class = CLASSES; class -- > 0 && excess != 0;)
			if (h->class[rank][class] != 0)
				excess = evict_class(io, rank, class, excess);
}

/* The one that may go on with its request, or NULL. */
static struct conn *
runner_now(struct gw_io *io)
{
	struct conn *c = gw_conn_find(io, io->runner, io->runner_generation);

	if (c == NULL || (c->flags & CONN_CLOSING) != 0 ||
	    queue_of(c) == QUEUE_NOT || gw_memory_of(io, c) <= HOLDS_MUCH)
		return NULL;
	return c;
}

static void
runner_start(struct gw_io *io, const struct conn *c)
{
	io->runner = c->index;
	io->runner_generation = c->generation;
	io->runner_moved = 0;
	io->runner_goal = RUN_LEAST;
	io->runner_end_ns = io->loop.now_ns + RUN_NS;
}

/* It has got on: as much time again, but not for more than can be useful. */
static bool
runner_again(struct gw_io *io)
{
	const struct conf *conf = io->w->conf;

	if (io->runner_moved < io->runner_goal ||
	    io->runner_moved > conf->listen.max_query + conf->listen.max_output)
		return false;
	io->runner_goal = io->runner_moved + RUN_LEAST;
	io->runner_end_ns = io->loop.now_ns + RUN_NS;
	return true;
}

/* While whole requests wait for us one begins now and then. */
static struct conn *
runner_next(struct gw_io *io, const struct holders *h)
{
	if (h->next == NULL ||
	    (h->busy && io->loop.now_ns < io->runner_end_ns + RUN_NS))
		return NULL;
	runner_start(io, h->next);
	return h->next;
}

static struct conn *
runner_choose(struct gw_io *io, const struct holders *h)
{
	struct conn *c = runner_now(io);

	/* Who is at no request has its turn when nobody else is. */
	if (c == NULL ||
	    (queue_of(c) < QUEUE_PART && h->next_queue > queue_of(c)))
		return runner_next(io, h);
	if (io->loop.now_ns < io->runner_end_ns || runner_again(io))
		return c;
	evict(io, c, gw_memory_of(io, c));
	return NULL; /* the next look has another one */
}

/* Who is to be read and who is not, by what they hold. */
static void
hold_back(struct gw_io *io, const struct conn *runner)
{
	struct conn *c;
	uint32_t i = 0;
	bool hold;

	while ((c = conn_next(io, &i)) != NULL) {
		hold = io->memory_high && c != runner &&
		       gw_memory_of(io, c) > HOLDS_MUCH;
		if (hold == ((c->flags & CONN_HELD) != 0))
			continue;
		c->flags ^= CONN_HELD;
		gw_conn_dirty(io, c);
	}
}

static void
memory_look(struct gw_io *io, uint64_t limit)
{
	uint64_t begin_ns = mono_ns();
	struct conn *runner = NULL;
	struct holders h;

	/* What closed ones have left behind is on its way. */
	holders_look(io, &h);
	if (h.sum > limit) {
		evict_most(io, &h, h.sum - (limit - limit / 8));
		holders_look(io, &h);
	}
	io->memory_high = h.sum > limit / 2;
	if (io->memory_high)
		runner = runner_choose(io, &h);
	if (runner == NULL)
		io->runner_generation = 0;
	hold_back(io, runner);
	io->memory_seen = io->pool.used;
	io->memory_look_ns = io->loop.now_ns + LOOK_NS;
	io->memory_rest_ns =
	    io->loop.now_ns + (mono_ns() - begin_ns) * LOOK_REST;
}

/* Give the kernel back what a flood has taken, once it is over. */
static void
memory_trim(struct gw_io *io, size_t used)
{
	if (used > io->memory_peak)
		io->memory_peak = used;
	if (io->memory_peak < TRIM_LEAST || used > io->memory_peak / 2 ||
	    io->loop.now_ns < io->trim_ns)
		return;
	chunk_pool_free(&io->pool);
	(void)malloc_trim(0);
	io->memory_peak = used;
	io->trim_ns = io->loop.now_ns + TRIM_NS;
}

/* There is memory again: who does not read may be one that writes first. */
static void
output_goes_on(struct gw_io *io)
{
	const unsigned both = CONN_UNREAD | CONN_AUTHED;
	struct conn *c;
	uint32_t i = 0;

	io->output_rests = false;
	while ((c = conn_next(io, &i)) != NULL)
		if ((c->flags & both) == both)
			gw_conn_go_on(io, c);
}

/* Somebody was to end its request, and is at it no more. */
static bool
runner_over(struct gw_io *io)
{
	return io->runner_generation != 0 && runner_now(io) == NULL;
}

static bool
look_is_due(struct gw_io *io, size_t used, uint64_t limit)
{
	if (used > io->memory_seen + limit / 16)
		return true;
	if (io->loop.now_ns < io->memory_rest_ns)
		return false;
	return io->loop.now_ns >= io->memory_look_ns || runner_over(io) ||
	       used > io->memory_seen + limit / 64;
}

void
gw_memory_turn(struct gw_io *io)
{
	uint64_t limit = io->w->conf->listen.client_memory;
	size_t used = io->pool.used;

	if ((used > limit / 2 || io->memory_high) &&
	    look_is_due(io, used, limit))
		memory_look(io, limit);
	if (io->output_rests && used < gw_output_ceiling(io))
		output_goes_on(io);
	if (chunk_bytes(io->mute.c) > MUTE_KEEP)
		sink_reset(&io->mute);
	memory_trim(io, used);
}

uint64_t
gw_memory_deadline(const struct gw_io *io)
{
	if (io->memory_high)
		return io->memory_look_ns;
	if (io->memory_peak >= TRIM_LEAST &&
	    io->pool.used <= io->memory_peak / 2)
		return io->trim_ns;
	return LOOP_NEVER;
}
