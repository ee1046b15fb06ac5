/*
 * Connections: who is there, where their replies wait, and how they end. A
 * sink takes memory from the pool when there is a reply and gives it back when
 * the kernel has it.
 */
#include "workers/gateway/io/io.h"

#include <stdlib.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/say.h"

#define TOLD_NS   (10 * NS_PER_S) /* how often such a thing is told */
#define JOIN_MOVE (64u * 1024) /* longer replies are not copied */

/* A gateway that was killed had no time to count its connections' end. */
static void
count_lost(struct gw_io *io)
{
	_Atomic uint64_t *v = io->r->counters->slot[io->slot].v;
	uint64_t accepted, closed;

	accepted =
	    atomic_load_explicit(&v[C_CLIENTS_ACCEPTED], memory_order_relaxed);
	closed =
	    atomic_load_explicit(&v[C_CLIENTS_CLOSED], memory_order_relaxed);
	if (accepted > closed)
		gw_count(io, C_CLIENTS_CLOSED, accepted - closed);
}

void
gw_conn_init(struct gw_io *io, struct worker *w, const struct gw_up *up)
{
	io->w = w;
	io->r = w->region;
	io->slot = w->slot;
	io->up = *up;
	/* Each gateway's share; connections spread over them evenly enough. */
	io->conn_max =
	    (w->conf->listen.max_clients + w->conf->node.gateways - 1) /
	    w->conf->node.gateways;
	TAILQ_INIT(&io->free_conns);
	TAILQ_INIT(&io->dirty);
	TAILQ_INIT(&io->strangers);
	io->mute.pool = &io->pool;
	io->next_id = 1 + io->slot - SLOT_GATEWAY;
	count_lost(io);
}

void
gw_conn_end(struct gw_io *io)
{
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(io); i++) {
		if ((c = gw_conn_at(io, i)) == NULL)
			continue;
		close(c->fd);
		gw_conn_free(io, c);
	}
}

void
gw_conn_fini(struct gw_io *io)
{
	uint32_t i;

	for (i = 0; i < io->chunk_count; i++)
		free(io->chunks[i]);
	free(io->chunks);
	io->chunks = NULL;
	io->chunk_count = 0;
	sink_reset(&io->mute);
	chunk_pool_free(&io->pool);
}

uint32_t
gw_conn_limit(const struct gw_io *io)
{
	return io->chunk_count * GW_CONN_CHUNK;
}

struct conn *
gw_conn_at(struct gw_io *io, uint32_t index)
{
	struct conn *c;

	if (index >= gw_conn_limit(io))
		return NULL;
	c = &io->chunks[index / GW_CONN_CHUNK][index % GW_CONN_CHUNK];
	return c->fd >= 0 ? c : NULL;
}

struct conn *
gw_conn_find(struct gw_io *io, uint32_t index, uint32_t generation)
{
	struct conn *c = gw_conn_at(io, index);

	return c != NULL && c->generation == generation ? c : NULL;
}

/* One more slab; its connections become free. */
static bool
conn_slab_grow(struct gw_io *io)
{
	struct conn **chunks, *slab;
	uint32_t i;

	chunks = realloc(io->chunks, (io->chunk_count + 1) * sizeof(*chunks));
	if (chunks == NULL)
		return false;
	io->chunks = chunks;
	if ((slab = calloc(GW_CONN_CHUNK, sizeof(*slab))) == NULL)
		return false;
	for (i = 0; i < GW_CONN_CHUNK; i++) {
		slab[i].index = io->chunk_count * GW_CONN_CHUNK + i;
		slab[i].generation = 1;
		slab[i].fd = -1;
		TAILQ_INSERT_TAIL(&io->free_conns, &slab[i], wait);
	}
	chunks[io->chunk_count++] = slab;
	return true;
}

struct conn *
gw_conn_new(struct gw_io *io, int fd, unsigned listener)
{
	struct conn *c;

	if (TAILQ_EMPTY(&io->free_conns) && !conn_slab_grow(io))
		return NULL;
	c = TAILQ_FIRST(&io->free_conns);
	TAILQ_REMOVE(&io->free_conns, c, wait);
	c->fd = fd;
	c->flags = 0;
	c->park = 0;
	c->proto = 2;
	c->listener = (uint8_t)listener;
	c->node_head = c->node_tail = GW_NONE;
	c->node_count = 0;
	/* Unique over gateways. */
	c->id = io->next_id;
	io->next_id += io->w->conf->node.gateways;
	c->last_vlsn = c->last_term = c->wait_vlsn = 0;
	c->deadline_ns = LOOP_NEVER;
	c->active_ns = c->opened_ns = io->loop.now_ns;
	c->out = (struct sink){ .pool = &io->pool };
	if (io->w->conf->security.password[0] == '\0')
		c->flags |= CONN_AUTHED;
	else
		TAILQ_INSERT_TAIL(&io->strangers, c, stranger);
	io->conn_count++;
	return c;
}

/*
 * When all places are taken, those who have not said the password must not
 * keep out those who would: who has been silent about it for the longest goes.
 */
bool
gw_conn_room(struct gw_io *io)
{
	struct conn *c = TAILQ_FIRST(&io->strangers);

	if (io->conn_count - io->closing_count < io->conn_max)
		return true;
	if (c == NULL)
		return false;
	gw_count(io, C_CLIENTS_REFUSED, 1);
	gw_conn_kill(io, c);
	return true;
}

void
gw_conn_trust(struct gw_io *io, struct conn *c, bool trusted)
{
	if (trusted == ((c->flags & CONN_AUTHED) != 0))
		return;
	c->flags ^= CONN_AUTHED;
	if (trusted)
		TAILQ_REMOVE(&io->strangers, c, stranger);
	else
		TAILQ_INSERT_TAIL(&io->strangers, c, stranger);
}

void
gw_conn_free(struct gw_io *io, struct conn *c)
{
	struct chunk *chunk;

	ASSERT(c->fd >= 0);
	gw_conn_kill(io, c);
	if ((c->flags & CONN_DIRTY) != 0)
		TAILQ_REMOVE(&io->dirty, c, dirty);
	while ((chunk = c->sending) != NULL) {
		c->sending = chunk->next;
		chunk_free(&io->pool, chunk);
	}
	c->queued = 0;
	c->last_command = NULL;
	c->fd = -1;
	c->flags = 0;
	c->generation++;
	TAILQ_INSERT_HEAD(&io->free_conns, c, wait);
	io->conn_count--;
	io->closing_count--;
	gw_count(io, C_CLIENTS_CLOSED, 1);
}

void
gw_conn_kill(struct gw_io *io, struct conn *c)
{
	if ((c->flags & CONN_CLOSING) != 0)
		return;
	c->flags |= CONN_CLOSING;
	io->closing_count++;
	if ((c->flags & CONN_AUTHED) == 0)
		TAILQ_REMOVE(&io->strangers, c, stranger);
	gw_conn_go_on(io, c);
	gw_input_free(c);
	sink_reset(&c->out);
	gw_memory_note(io, c, 0);
	gw_conn_dirty(io, c);
}

bool
gw_told_begin(const struct gw_io *io, struct told *t, uint64_t *more)
{
	uint64_t now = io->loop.now_ns;

	*more = t->untold++;
	if (t->last_ns != 0 && now - t->last_ns < TOLD_NS)
		return false;
	t->last_ns = now;
	t->untold = 0;
	return true;
}

/*
 * A browser sends what a web page wants to any port that the browser's host
 * reaches, this one's, too. Who does so is not answered, and what came with it
 * is not run; before AUTH as well.
 */
void
gw_conn_http(struct gw_io *io, struct conn *c)
{
	char addr[GW_ADDRESS_MAX];
	uint64_t more;

	gw_count(io, C_CLIENTS_HTTP, 1);
	if (gw_told_begin(io, &io->http_told, &more)) {
		gw_net_address(c, false, addr, sizeof(addr));
		event_add(io->r, io->slot, EVENT_WARN,
		    "client %llu, %s: closed: possible attack: it speaks HTTP, "
		    "as a web page would; %llu more since last told",
		    (unsigned long long)c->id, addr, (unsigned long long)more);
	}
	gw_conn_kill(io, c);
}

/*
 * A partial command does not count: after the end of input it stays partial.
 */
bool
gw_conn_settled(const struct conn *c)
{
	return c->node_count == 0 && c->park == 0 && c->out.c == NULL &&
	       c->sending == NULL;
}

bool
gw_conn_wants_input(const struct conn *c)
{
	if ((c->flags & (CONN_CLOSING | CONN_LAST | CONN_EOF | CONN_HELD)) != 0)
		return false;
	if (c->park == 0 || c->in == NULL)
		return true;
	return sink_len(&c->in->bytes) - c->in->start +
		   sink_len(&c->in->behind) <
	       GW_IN_HIGH;
}

void
gw_conn_queue(struct conn *c)
{
	struct chunk *chunk = c->out.c;

	if (chunk == NULL)
		return;
	c->out.c = NULL;
	chunk->next = NULL;
	c->queued += chunk->len;
	if (c->sending != NULL)
		c->sending_tail->next = chunk;
	else
		c->sending = chunk;
	c->sending_tail = chunk;
}

void
gw_conn_emit(struct gw_io *io, struct conn *c, struct sink *from)
{
	if (sink_len(from) >= JOIN_MOVE)
		gw_conn_queue(c);
	sink_join(&c->out, from);
	gw_conn_dirty(io, c);
}

void
gw_conn_input(struct gw_io *io, struct conn *c, const uint8_t *data, size_t n)
{
	ASSERT(n <= GW_BUF_SIZE);
	io->n_in += n;
	if ((c->flags & (CONN_CLOSING | CONN_LAST)) != 0)
		return;
	gw_memory_moved(io, c, n);
	c->active_ns = io->loop.now_ns;
	io->up.input(io, c, data, n);
}

void
gw_conn_eof(struct gw_io *io, struct conn *c)
{
	c->flags |= CONN_EOF;
	gw_conn_dirty(io, c);
}
