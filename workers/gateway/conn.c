/*
 * Connections: who is there, what they sent, where their replies wait.
 *
 * A command is parsed where it was received; only a partial one, or what
 * stands behind a parked one, is copied into an input buffer, which goes away
 * as soon as it is empty. So is output: a sink takes memory from the pool
 * when there is a reply and gives it back when the kernel has it.
 */
#include "workers/gateway/gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/log.h"
#include "shm/room.h"
#include "workers/gateway/command.h"

#define TOLD_NS    (10 * NS_PER_S) /* how often such a thing is told */
#define ARGV_KEEP  1024
#define ARGV_LONG  4096u /* more arguments than a received buffer holds */
#define ARGV_SHARE 4096u /* filled in between two looks at the clock */
_Static_assert(ARGV_LONG >= GW_BUF_SIZE / 2, "two bytes each at least");
#define JOIN_MOVE (64u * 1024) /* longer replies are not copied */

/* A gateway that was killed had no time to count its connections' end. */
static void
count_lost(struct gateway *g)
{
	_Atomic uint64_t *v = g->r->counters->slot[g->slot].v;
	uint64_t accepted, closed;

	accepted =
	    atomic_load_explicit(&v[C_CLIENTS_ACCEPTED], memory_order_relaxed);
	closed =
	    atomic_load_explicit(&v[C_CLIENTS_CLOSED], memory_order_relaxed);
	if (accepted > closed)
		gw_count(g, C_CLIENTS_CLOSED, accepted - closed);
}

int
gw_conn_init(struct gateway *g)
{
	TAILQ_INIT(&g->free_conns);
	TAILQ_INIT(&g->dirty);
	TAILQ_INIT(&g->waiting);
	TAILQ_INIT(&g->stalled);
	TAILQ_INIT(&g->stalled_big);
	TAILQ_INIT(&g->resting);
	TAILQ_INIT(&g->working);
	TAILQ_INIT(&g->strangers);
	g->mute.pool = &g->pool;
	g->next_id = 1 + g->slot - SLOT_GATEWAY;
	g->apply_min = g->count_min = g->sync_min = UINT64_MAX;
	g->sync_deadline_ns = LOOP_NEVER;
	resp_reset(&g->rp);
	count_lost(g);
	return 0;
}

void
gw_conn_fini(struct gateway *g)
{
	struct conn *c;
	uint32_t i;

	for (i = 0; i < gw_conn_limit(g); i++) {
		if ((c = gw_conn_at(g, i)) == NULL)
			continue;
		close(c->fd);
		gw_conn_free(g, c);
	}
	gw_write_forget(g);
	for (i = 0; i < g->chunk_count; i++)
		free(g->chunks[i]);
	free(g->chunks);
	g->chunks = NULL;
	g->chunk_count = 0;
	free(g->argv);
	g->argv = NULL;
	resp_free(&g->rp);
	sink_reset(&g->mute);
	chunk_pool_free(&g->pool);
}

uint32_t
gw_conn_limit(const struct gateway *g)
{
	return g->chunk_count * GW_CONN_CHUNK;
}

struct conn *
gw_conn_at(struct gateway *g, uint32_t index)
{
	struct conn *c;

	if (index >= gw_conn_limit(g))
		return NULL;
	c = &g->chunks[index / GW_CONN_CHUNK][index % GW_CONN_CHUNK];
	return c->fd >= 0 ? c : NULL;
}

struct conn *
gw_conn_find(struct gateway *g, uint32_t index, uint32_t generation)
{
	struct conn *c = gw_conn_at(g, index);

	return c != NULL && c->generation == generation ? c : NULL;
}

/* One more slab; its connections become free. */
static bool
conn_slab_grow(struct gateway *g)
{
	struct conn **chunks, *slab;
	uint32_t i;

	chunks = realloc(g->chunks, (g->chunk_count + 1) * sizeof(*chunks));
	if (chunks == NULL)
		return false;
	g->chunks = chunks;
	if ((slab = calloc(GW_CONN_CHUNK, sizeof(*slab))) == NULL)
		return false;
	for (i = 0; i < GW_CONN_CHUNK; i++) {
		slab[i].index = g->chunk_count * GW_CONN_CHUNK + i;
		slab[i].generation = 1;
		slab[i].fd = -1;
		TAILQ_INSERT_TAIL(&g->free_conns, &slab[i], wait);
	}
	chunks[g->chunk_count++] = slab;
	return true;
}

struct conn *
gw_conn_new(struct gateway *g, int fd, unsigned listener)
{
	struct conn *c;

	if (TAILQ_EMPTY(&g->free_conns) && !conn_slab_grow(g))
		return NULL;
	c = TAILQ_FIRST(&g->free_conns);
	TAILQ_REMOVE(&g->free_conns, c, wait);
	c->fd = fd;
	c->flags = 0;
	c->park = PARK_NOT;
	c->proto = 2;
	c->listener = (uint8_t)listener;
	c->node_head = c->node_tail = GW_NONE;
	c->node_count = 0;
	/* Unique over gateways. */
	c->id = g->next_id;
	g->next_id += g->w->conf->node.gateways;
	c->last_vlsn = c->wait_vlsn = 0;
	c->deadline_ns = LOOP_NEVER;
	c->active_ns = c->opened_ns = g->loop.now_ns;
	c->out = (struct sink){ .pool = &g->pool };
	if (g->w->conf->security.password[0] == '\0')
		c->flags |= CONN_AUTHED;
	else
		TAILQ_INSERT_TAIL(&g->strangers, c, stranger);
	g->conn_count++;
	return c;
}

/*
 * When all places are taken, those who have not said the password must not
 * keep out those who would: who has been silent about it for the longest goes.
 */
bool
gw_conn_room(struct gateway *g)
{
	struct conn *c = TAILQ_FIRST(&g->strangers);

	if (g->conn_count - g->closing_count < g->conn_max)
		return true;
	if (c == NULL)
		return false;
	gw_count(g, C_CLIENTS_REFUSED, 1);
	gw_conn_kill(g, c);
	return true;
}

void
gw_conn_trust(struct gateway *g, struct conn *c, bool trusted)
{
	if (trusted == ((c->flags & CONN_AUTHED) != 0))
		return;
	c->flags ^= CONN_AUTHED;
	if (trusted)
		TAILQ_REMOVE(&g->strangers, c, stranger);
	else
		TAILQ_INSERT_TAIL(&g->strangers, c, stranger);
}

static void
input_free(struct conn *c)
{
	if (c->in == NULL)
		return;
	sink_reset(&c->in->bytes);
	sink_reset(&c->in->behind);
	resp_free(&c->in->rp);
	free(c->in->argv);
	free(c->in);
	c->in = NULL;
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

static void
conn_unlist(struct gateway *g, struct conn *c)
{
	if ((c->flags & CONN_LISTED) == 0)
		return;
	if (c->park == PARK_RING) {
		TAILQ_REMOVE(stalled_list(g, c), c, wait);
		g->stalled_count--;
	} else if (c->park == PARK_TURN) {
		TAILQ_REMOVE(resting_list(g, c), c, wait);
		g->resting_count--;
		g->working_count -= (c->flags & CONN_WORKS) != 0;
	} else {
		TAILQ_REMOVE(&g->waiting, c, wait);
		g->waiting_count--;
	}
	g->sync_count -= c->park == PARK_SYNC;
	g->term_count -= c->park == PARK_TERM;
	gw_write_commit_waited(g);
	c->flags &= ~(unsigned)CONN_LISTED;
}

void
gw_conn_free(struct gateway *g, struct conn *c)
{
	struct chunk *chunk;

	ASSERT(c->fd >= 0);
	gw_conn_kill(g, c);
	if ((c->flags & CONN_DIRTY) != 0)
		TAILQ_REMOVE(&g->dirty, c, dirty);
	while ((chunk = c->sending) != NULL) {
		c->sending = chunk->next;
		chunk_free(&g->pool, chunk);
	}
	c->queued = 0;
	c->last_command = NULL;
	c->fd = -1;
	c->flags = 0;
	c->generation++;
	TAILQ_INSERT_HEAD(&g->free_conns, c, wait);
	g->conn_count--;
	g->closing_count--;
	gw_count(g, C_CLIENTS_CLOSED, 1);
}

void
gw_conn_kill(struct gateway *g, struct conn *c)
{
	if ((c->flags & CONN_CLOSING) != 0)
		return;
	conn_unlist(g, c);
	c->park = PARK_NOT;
	c->flags |= CONN_CLOSING;
	g->closing_count++;
	if ((c->flags & CONN_AUTHED) == 0)
		TAILQ_REMOVE(&g->strangers, c, stranger);
	gw_write_orphan(g, c);
	gw_session_reset(g, c);
	input_free(c);
	sink_reset(&c->out);
	gw_memory_note(g, c);
	gw_conn_dirty(g, c);
}

bool
gw_told_begin(const struct gateway *g, struct told *t, uint64_t *more)
{
	uint64_t now = g->loop.now_ns;

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
gw_conn_http(struct gateway *g, struct conn *c)
{
	char addr[GW_ADDRESS_MAX];
	uint64_t more;

	gw_count(g, C_CLIENTS_HTTP, 1);
	if (gw_told_begin(g, &g->http_told, &more)) {
		gw_net_address(c, false, addr, sizeof(addr));
		event_add(g->r, g->slot, EVENT_WARN,
		    "client %llu, %s: closed: possible attack: it speaks HTTP, "
		    "as a web page would; %llu more since last told",
		    (unsigned long long)c->id, addr, (unsigned long long)more);
	}
	gw_conn_kill(g, c);
}

void
gw_conn_dirty(struct gateway *g, struct conn *c)
{
	if ((c->flags & CONN_DIRTY) != 0)
		return;
	c->flags |= CONN_DIRTY;
	TAILQ_INSERT_TAIL(&g->dirty, c, dirty);
}

size_t
gw_conn_unsent(const struct conn *c)
{
	size_t n = sink_len(&c->out) + c->queued;

	return c->sending != NULL ? n - c->sending->sent : n;
}

/*
 * A partial command does not count: after the end of input it stays partial.
 */
bool
gw_conn_settled(const struct conn *c)
{
	return c->node_count == 0 && c->park == PARK_NOT && c->out.c == NULL &&
	       c->sending == NULL;
}

bool
gw_conn_wants_input(const struct conn *c)
{
	if ((c->flags & (CONN_CLOSING | CONN_LAST | CONN_EOF | CONN_HELD)) != 0)
		return false;
	if (c->park == PARK_NOT || c->in == NULL)
		return true;
	return sink_len(&c->in->bytes) - c->in->start +
		   sink_len(&c->in->behind) <
	       GW_IN_HIGH;
}

struct sink *
gw_conn_sink(struct gateway *g, struct conn *c)
{
	struct sink *s;

	if ((c->flags & (CONN_REPLY_OFF | CONN_SKIP)) != 0) {
		sink_reset(&g->mute);
		return &g->mute;
	}
	if (c->node_count == 0) {
		gw_conn_dirty(g, c);
		return &c->out;
	}
	if ((s = gw_write_bytes(g, c)) != NULL)
		return s;
	c->out.failed = true;
	return &c->out;
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
gw_conn_emit(struct gateway *g, struct conn *c, struct sink *from)
{
	if (sink_len(from) >= JOIN_MOVE)
		gw_conn_queue(c);
	sink_join(&c->out, from);
	gw_conn_dirty(g, c);
}

void
gw_conn_join(struct gateway *g, struct conn *c, struct sink *from)
{
	struct sink *to = gw_conn_sink(g, c);

	if (to == &c->out)
		gw_conn_emit(g, c, from);
	else
		sink_join(to, from);
}

/* ---- input ---- */

static bool
input_make(struct gateway *g, struct conn *c)
{
	if (c->in != NULL)
		return true;
	if ((c->in = calloc(1, sizeof(*c->in))) == NULL)
		return false;
	c->in->bytes.pool = c->in->behind.pool = &g->pool;
	resp_reset(&c->in->rp);
	return true;
}

/* Bytes before the command at hand are not needed any more. */
static void
input_compact(struct input *in)
{
	struct chunk *chunk = in->bytes.c;

	if (in->start == 0 || chunk == NULL)
		return;
	memmove(chunk->data, chunk->data + in->start, chunk->len - in->start);
	chunk->len -= in->start;
	in->start = 0;
}

static bool
input_append(struct gateway *g, struct conn *c, const uint8_t *data, size_t n)
{
	struct input *in;

	if (!input_make(g, c))
		return false;
	in = c->in;
	if (in->argv != NULL) {
		sink_put(&in->behind, data, n);
		return !in->behind.failed;
	}
	input_compact(in);
	sink_put(&in->bytes, data, n);
	return !in->bytes.failed;
}

/* The command's arguments as pointers, in g->argv. */
static bool
argv_fill(struct gateway *g, const struct resp *rp, const uint8_t *from)
{
	const struct resp_arg *args = resp_args(rp);
	const uint8_t *base = rp->line != NULL ? rp->line : from;
	struct op_arg *argv;
	uint32_t i;

	if (rp->argc > g->argv_cap ||
	    (g->argv_cap > ARGV_KEEP && rp->argc <= ARGV_KEEP / 2)) {
		uint32_t cap = rp->argc > 16 ? rp->argc : 16;

		argv = realloc(g->argv, cap * sizeof(*argv));
		if (argv == NULL)
			return false;
		g->argv = argv;
		g->argv_cap = cap;
	}
	for (i = 0; i < rp->argc; i++) {
		g->argv[i].data = base + args[i].off;
		g->argv[i].len = args[i].len;
	}
	return true;
}

/*
 * The same for a long command, a share of the turn at a time, in an array of
 * its own. 0, -EINPROGRESS (the next turn goes on), or -ENOMEM.
 */
static int
argv_pin(struct gateway *g, struct input *in, const struct resp *rp,
    const uint8_t *from)
{
	const struct resp_arg *args = resp_args(rp);
	const uint8_t *base = rp->line != NULL ? rp->line : from;
	uint32_t i;

	if (in->argv == NULL) {
		in->argv = malloc(rp->argc * sizeof(in->argv[0]));
		in->argc = 0;
	}
	if (in->argv == NULL)
		return -ENOMEM;
	while (in->argc < rp->argc) {
		i = in->argc++;
		in->argv[i].data = base + args[i].off;
		in->argv[i].len = args[i].len;
		if (in->argc % ARGV_SHARE != 0)
			continue;
		gw_turn_look(g);
		if (g->turn_over)
			return -EINPROGRESS;
	}
	return 0;
}

static void
argv_unpin(struct conn *c)
{
	if (c->in == NULL || c->in->argv == NULL)
		return;
	free(c->in->argv);
	c->in->argv = NULL;
}

bool
gw_conn_pin(struct conn *c, uint32_t argc, const struct op_arg **argv)
{
	struct input *in = c->in;

	ASSERT(in != NULL);
	if (in->argv == NULL) {
		in->argv = malloc(argc * sizeof(in->argv[0]));
		if (in->argv == NULL)
			return false;
		memcpy(in->argv, *argv, argc * sizeof(in->argv[0]));
		in->argc = argc;
	}
	*argv = in->argv;
	return true;
}

static void
input_bad(struct gateway *g, struct conn *c, const struct resp *rp)
{
	struct sink *out;
	char text[128];

	resp_error(rp, text, sizeof(text));
	out = gw_conn_sink(g, c);
	reply_errorf(out, "ERR %s", text);
	c->flags |= CONN_LAST;
	gw_conn_dirty(g, c);
	gw_count(g, C_PROTOCOL_ERRORS, 1);
}

static bool
conn_rests(struct gateway *g, struct conn *c)
{
	bool known = (c->flags & CONN_AUTHED) != 0;

	if (c->park != PARK_NOT || (c->flags & (CONN_CLOSING | CONN_LAST)) != 0)
		return true;
	if (known ? gw_output_rests(g, c)
		  : gw_conn_unsent(c) >= GW_OUT_UNAUTH) {
		gw_conn_park(g, c, PARK_OUTPUT);
		g->output_rests = true;
		return true;
	}
	if (gw_write_crowded(g, c)) {
		gw_conn_park(g, c, PARK_ORDER);
		return true;
	}
	if (g->turn_over)
		gw_conn_park(g, c, PARK_TURN);
	return g->turn_over;
}

/* The command that rp has parsed at `from`, or the next share of its job. */
static enum verdict
conn_command(
    struct gateway *g, struct conn *c, struct resp *rp, const uint8_t *from)
{
	bool pinned = c->in != NULL && c->in->argv != NULL;
	enum verdict v;
	int rc;

	if (rp->argc == 0)
		return VERDICT_DONE;
	if (pinned || rp->argc > ARGV_LONG)
		rc = argv_pin(g, c->in, rp, from);
	else
		rc = argv_fill(g, rp, from) ? 0 : -ENOMEM;
	if (rc == -EINPROGRESS) {
		gw_conn_park(g, c, PARK_TURN);
		return VERDICT_PARKED;
	}
	if (rc != 0) {
		gw_conn_kill(g, c);
		return VERDICT_DONE;
	}
	v = gw_command_execute(g, c, rp->argc,
	    pinned || rp->argc > ARGV_LONG ? c->in->argv : g->argv);
	if (v == VERDICT_DONE)
		argv_unpin(c);
	return v;
}

/* Has the command at the head begun to take turns? */
static bool
conn_under_way(const struct conn *c)
{
	return c->job != NULL || (c->in != NULL && c->in->argv != NULL);
}

/*
 * Run the commands that begin in data. Returns how many bytes are dealt with;
 * rp has the state of the partial command behind them.
 */
static size_t
conn_serve(struct gateway *g, struct conn *c, struct resp *rp,
    const uint8_t *data, size_t n)
{
	struct resp_limits limits;
	enum resp_status st;
	uint32_t parsed;
	size_t at = 0;

	limits.bulk_max = g->w->conf->store.max_value + GW_BULK_SLACK;
	while (at < n && !conn_rests(g, c)) {
		limits.unauth = (c->flags & CONN_AUTHED) == 0;
		st = RESP_COMMAND;
		parsed = rp->argc;
		if (!conn_under_way(c))
			st = resp_next(rp, data + at, n - at, &limits);
		if (st == RESP_MORE) {
			gw_turn_work(g, (rp->argc - parsed) / 16);
			return at;
		}
		if (st == RESP_BAD) {
			input_bad(g, c, rp);
			return n;
		}
		if (st == RESP_NOMEM)
			gw_conn_kill(g, c);
		else if (conn_command(g, c, rp, data + at) == VERDICT_PARKED) {
			/* What is parsed stays so, but for a short line. */
			if (rp->line != NULL && !conn_under_way(c))
				resp_reset(rp);
			return at;
		}
		if ((c->flags & CONN_CLOSING) != 0)
			return n;
		gw_turn_work(g, 1 + rp->argc / 16);
		at += rp->pos;
		resp_reset(rp);
	}
	return at;
}

/* Over its limit: a command that never ends is not read to its end. */
static bool
input_over(struct gateway *g, struct conn *c)
{
	uint64_t limit = g->w->conf->listen.max_query;
	char from[96];

	if (c->in == NULL || sink_len(&c->in->bytes) - c->in->start <= limit)
		return false;
	gw_net_address(c, false, from, sizeof(from));
	log_info("client %llu, %s: closed: its request is longer than "
		 "[listen] max_query, %llu bytes",
	    (unsigned long long)c->id, from, (unsigned long long)limit);
	gw_count(g, C_CLIENTS_KILLED, 1);
	gw_conn_kill(g, c);
	return true;
}

/* What waited until the command at the head may move. True: there is some. */
static bool
input_join(struct gateway *g, struct conn *c)
{
	struct input *in = c->in;

	if (in->argv != NULL || in->behind.c == NULL)
		return false;
	input_compact(in);
	sink_put(&in->bytes, in->behind.c->data, in->behind.c->len);
	sink_reset(&in->behind);
	if (!in->bytes.failed)
		return true;
	gw_conn_kill(g, c);
	return false;
}

/* Serve what is in the input buffer and give it back if that was all. */
static void
input_serve(struct gateway *g, struct conn *c)
{
	struct input *in = c->in;
	size_t n;

	do {
		n = sink_len(&in->bytes) - in->start;
		n = conn_serve(g, c, &in->rp, in->bytes.c->data + in->start, n);
		if ((in = c->in) == NULL)
			return; /* killed by what it sent */
		in->start += n;
	} while (input_join(g, c));
	if ((in = c->in) == NULL)
		return;
	if (in->start == sink_len(&in->bytes) || (c->flags & CONN_LAST) != 0) {
		input_free(c);
		return;
	}
	(void)input_over(g, c);
}

static void
input_take(struct gateway *g, struct conn *c, const uint8_t *data, size_t n)
{
	size_t used;

	if (c->in != NULL || c->park != PARK_NOT) {
		if (!input_append(g, c, data, n))
			gw_conn_kill(g, c);
		else if (c->park == PARK_NOT)
			input_serve(g, c);
		else if (!gw_conn_wants_input(c))
			gw_conn_dirty(g, c);
		return;
	}
	used = conn_serve(g, c, &g->rp, data, n);
	if (used == n || (c->flags & (CONN_CLOSING | CONN_LAST)) != 0) {
		resp_reset(&g->rp);
		return;
	}
	if (!input_make(g, c)) {
		resp_reset(&g->rp);
		gw_conn_kill(g, c);
		return;
	}
	/* The partial command's state moves along with its bytes. */
	resp_free(&c->in->rp);
	c->in->rp = g->rp;
	memset(&g->rp, 0, sizeof(g->rp));
	resp_reset(&g->rp);
	if (!input_append(g, c, data + used, n - used))
		gw_conn_kill(g, c);
}

void
gw_conn_input(struct gateway *g, struct conn *c, const uint8_t *data, size_t n)
{
	ASSERT(n <= GW_BUF_SIZE);
	g->n_in += n;
	if ((c->flags & (CONN_CLOSING | CONN_LAST)) != 0)
		return;
	gw_turn_work(g, n / 4096);
	gw_memory_moved(g, c, n);
	c->active_ns = g->loop.now_ns;
	input_take(g, c, data, n);
	gw_memory_note(g, c);
}

void
gw_conn_eof(struct gateway *g, struct conn *c)
{
	c->flags |= CONN_EOF;
	gw_conn_dirty(g, c);
}

/* ---- parking ---- */

static void
lower(uint64_t *min, uint64_t v)
{
	if (v < *min)
		*min = v;
}

/* What the connection waits for counts among what all in waiting do. */
static void
wait_begin(struct gateway *g, const struct conn *c, enum park why)
{
	if (why == PARK_APPLY) {
		lower(&g->apply_min, c->wait_vlsn);
	} else if (why == PARK_COUNT) {
		lower(&g->count_min, c->wait_vlsn);
	} else if (why == PARK_TERM) {
		g->term_count++;
	} else {
		g->sync_count++;
		lower(&g->sync_min, c->wait_vlsn);
		lower(&g->sync_deadline_ns, c->deadline_ns);
	}
	gw_write_commit_waited(g);
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

void
gw_conn_park(struct gateway *g, struct conn *c, enum park why)
{
	ASSERT(c->park == PARK_NOT && why != PARK_NOT);
	ASSERT((c->flags & CONN_LISTED) == 0);
	c->park = (uint8_t)why;
	if (why == PARK_ORDER || why == PARK_OUTPUT)
		return;
	c->flags |= CONN_LISTED;
	if (why == PARK_RING) {
		TAILQ_INSERT_TAIL(stalled_list(g, c), c, wait);
		g->stalled_count++;
		return;
	}
	if (why == PARK_TURN) {
		c->flags &= ~(unsigned)CONN_WORKS;
		if (conn_works(g, c))
			c->flags |= CONN_WORKS;
		TAILQ_INSERT_TAIL(resting_list(g, c), c, wait);
		g->resting_count++;
		g->working_count += (c->flags & CONN_WORKS) != 0;
		return;
	}
	TAILQ_INSERT_TAIL(&g->waiting, c, wait);
	g->waiting_count++;
	wait_begin(g, c, why);
}

void
gw_conn_stall(struct gateway *g, struct conn *c, size_t len)
{
	c->flags &= ~(unsigned)CONN_BIG;
	if (len > GW_REQUEST_BIG)
		c->flags |= CONN_BIG;
	gw_conn_park(g, c, PARK_RING);
}

void
gw_conn_resume(struct gateway *g, struct conn *c)
{
	ASSERT((c->flags & CONN_CLOSING) == 0);
	conn_unlist(g, c);
	c->park = PARK_NOT;
	if (c->in != NULL)
		input_serve(g, c);
	gw_memory_note(g, c);
	/* Its socket may be wanted again, or it may be done altogether. */
	gw_conn_dirty(g, c);
}

/* Take the first of a list that is being gone through. */
static struct conn *
list_pop(struct gateway *g, struct conn_list *list)
{
	struct conn *c = TAILQ_FIRST(list);

	if (c == NULL)
		return NULL;
	conn_unlist(g, c);
	c->park = PARK_NOT;
	return c;
}

static bool
wait_is_over(const struct gateway *g, const struct conn *c, enum park why)
{
	if (why == PARK_APPLY)
		return position_get(&g->r->pos->applied) >= c->wait_vlsn ||
		       room_hopeless(g->r);
	if (why == PARK_COUNT)
		return position_get(&g->r->pos->resolved) >= c->wait_vlsn;
	if (why == PARK_TERM)
		return gw_read_term_over(g);
	return commit_vlsn(g->r) >= c->wait_vlsn ||
	       g->loop.now_ns >= c->deadline_ns;
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
		   (g->term_count != 0 && gw_read_term_over(g)));
}

bool
gw_conn_wake_pending(const struct gateway *g)
{
	return g->resting_count != 0 || waiting_is_over(g);
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
	    (!waiting_is_over(g) && g->loop.now_ns < g->sync_deadline_ns))
		return;
	g->apply_min = g->count_min = g->sync_min = UINT64_MAX;
	g->sync_deadline_ns = LOOP_NEVER;
	for (; left != 0; left--) {
		enum park why;

		if ((c = TAILQ_FIRST(&g->waiting)) == NULL)
			break;
		why = c->park;
		(void)list_pop(g, &g->waiting);
		if (wait_is_over(g, c, why))
			gw_conn_resume(g, c);
		else
			gw_conn_park(g, c, why);
	}
}

/* Each once, while there is room. */
static void
wake_list(struct gateway *g, struct conn_list *list, size_t len)
{
	uint32_t left = g->stalled_count;
	struct conn *c;

	for (; left != 0 && gw_write_may_go(g, len); left--) {
		if ((c = list_pop(g, list)) == NULL)
			return;
		gw_conn_resume(g, c);
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
	if (g->stalled_count == 0 || gw_reach_holds(g))
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
gw_conn_wake(struct gateway *g)
{
	wake_waiting(g);
	wake_stalled(g);
	gw_turn_rest(g);
}
