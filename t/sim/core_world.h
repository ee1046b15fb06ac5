/*
 * The world of t/sim/core_sim.c: its members, its clocks, and what is to happen
 * when. One includer; all of it is its.
 */
#ifndef T_SIM_CORE_WORLD_H
#define T_SIM_CORE_WORLD_H

#include "t/lib/group_asked.h"
#include "t/sim/seeds.h"

#include "shm/bits.h"
#include "shm/position.h"

#define SEEDS_DEFAULT 400
#define FAULT_SEEDS   20000 /* for one of the world's to show */
#define NODES_MAX     7
#define QUEUE_MAX     8192
#define LOG_MAX       256
#define LOG_SPARE     192 /* the rest is for the first record of a term */
#define TERM_MAX      600
#define CONFS_MAX     64 /* memberships, one after the other */
#define PROMISES      32 /* of one member, remembered */
#define MS            NS_PER_MS
#define HARM_MS       2500 /* faults end then */
#define CALM_LEASES   40 /* and a master is there so much later */
#define CALM_MS       500
#define ID(i)         (100u + (i))

/* Faults of the played world: each must be found. */
enum sim_fault {
	FAULT_NONE,
	FAULT_EARLY_STORE, /* GROUP_STORED before the disk has it */
	FAULT_PROMISE_LOST, /* a boot is told of no promise */
	FAULT_NO_FENCE, /* wal answers, and goes on as before */
	FAULT_STALE_END, /* the fence tells an older end of the log */
	FAULT_DRIFT, /* clocks differ by more than is allowed for */
	FAULT_OBITUARY, /* of a boot that lives */
	FAULT_OLD_FALLBACK, /* what is filed, for what was in force */
	FAULT_COUNT
};

enum kind {
	EV_TIMER,
	EV_MSG,
	EV_PEER,
	EV_RELEASED,
	EV_STORED,
	EV_FENCED,
	EV_TOLD, /* wal tells of the memberships in its log */
	EV_BOOT,
	EV_HARM,
	EV_DATA,
	EV_ACK
};

struct event {
	uint64_t at; /* real time */
	uint64_t order;
	enum kind kind;
	unsigned node;
	uint64_t tag; /* life; of a timer its number; of an ack the term */
	unsigned from; /* EV_ACK */
	uint64_t vlsn; /* EV_ACK; EV_PEER, EV_RELEASED: boot */
	struct group_msg msg;
};

struct disk_state {
	uint64_t term, vote, vote_boot;
	uint32_t promise_ms;
};

struct node {
	struct {
		uint64_t boot, term;
	} let_go; /* its last mastership that ended in order */
	/* Survives. */
	struct disk_state disk;
	uint16_t log[LOG_MAX]; /* term of each record */
	uint8_t conf[LOG_MAX]; /* the membership that it is; 0 = none is */
	uint64_t filed; /* VLSN of the membership in its file */
	bool removed; /* and its boot refused: it stays down */
	uint64_t durable, boot;
	int64_t ppm; /* its clock's rate */
	uint64_t offset;
	/* One life. */
	bool up;
	uint64_t life, paused_until, timer;
	uint64_t heard[NODES_MAX]; /* real time of an answer to a round */
	uint64_t due; /* its deadline */
	uint64_t adopted; /* another membership, maybe of shorter leases */
	uint64_t since; /* a commit quorum has; or its role changed */
	struct group_core core;
	struct commit_view view; /* published */
	uint16_t epoch; /* of `committed` */
	struct disk_state writing;
	uint64_t appended, told; /* told: memberships up to there */
	uint64_t known; /* committed, as far as it has heard */
	struct {
		uint64_t term, own_term;
		enum role role;
	} wal; /* what it has looked at last */
	struct {
		uint64_t term, vlsn;
	} match[NODES_MAX];
};

static struct node node[NODES_MAX];
static unsigned nodes;
static struct membership group; /* which all begin with */
static struct membership conf[CONFS_MAX]; /* from 1 on: the records */
static unsigned confs;
static bool cut[NODES_MAX][NODES_MAX]; /* from, to */
static unsigned loss, far; /* one message in so many; 0 = none */
static unsigned deaf; /* of rounds and their answers one in so many comes */
static unsigned stall; /* one flush or fence in so many takes long */
static uint64_t usual; /* a message takes at most */
static uint64_t data_pause; /* from one act of a wal to the next, at most */
static unsigned changes; /* one act of a wal in so many is a change */
static uint64_t harm_pause; /* from one to the next, at most */
static unsigned
    kill_point; /* one action in so many is a killed process' last */
static bool calm;
static uint64_t now, order;

static struct event queue[QUEUE_MAX];
static unsigned queued;

/* What only the checks know. */
static struct {
	struct {
		uint64_t life; /* 0 = nobody has */
		unsigned node;
		uint16_t log[LOG_MAX];
		uint64_t end;
	} winner[TERM_MAX];
	uint64_t highest;
	struct {
		uint64_t to, boot;
	} vote[NODES_MAX][TERM_MAX];
	uint64_t given[NODES_MAX]; /* the newest term of a vote */
	struct {
		uint64_t boot, term;
	} pre[NODES_MAX][NODES_MAX]; /* of, to: the newest pre-vote */
	struct {
		uint64_t master, boot, term, until; /* local */
	} promise[NODES_MAX][PROMISES];
	unsigned promises[NODES_MAX];
	uint16_t committed[LOG_MAX]; /* term of the record; 0 = it is not */
	uint8_t conf; /* the newest membership that is committed */
	uint16_t under[LOG_MAX]; /* the mastership that committed it first */
	uint64_t changed; /* when a role last changed */
	unsigned let_gos, elections, commits, crashes, leases, releases, grants,
	    members;
} ghost;

static enum sim_fault fault;
static uint64_t lives;

__attribute__((format(printf, 1, 2))) static void
tell(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	printf("# %7.2f ", (double)now / (double)MS);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

/* ---- time and events ---- */

static uint64_t
local(const struct node *n)
{
	return n->offset + now +
	       (uint64_t)((int64_t)(now / 1000) * n->ppm / 1000);
}

/* Real time at which n's clock shows at least that. */
static uint64_t
real(const struct node *n, uint64_t at)
{
	uint64_t left = at > local(n) ? at - local(n) : 0;

	return now + left - (uint64_t)((int64_t)(left / 1000) * n->ppm / 1000) +
	       1000 + left / 100000;
}

static bool
before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
push(struct event ev)
{
	unsigned i = queued, up;

	if (queued == QUEUE_MAX)
		return; /* a message more is lost */
	queued++;
	ev.order = ++order;
	for (; i > 0 && before(&ev, &queue[up = (i - 1) / 2]); i = up)
		queue[i] = queue[up];
	queue[i] = ev;
}

static struct event
pop(void)
{
	struct event top = queue[0], last = queue[--queued];
	unsigned i = 0, down;

	while ((down = 2 * i + 1) < queued) {
		if (down + 1 < queued && before(&queue[down + 1], &queue[down]))
			down++;
		if (!before(&queue[down], &last))
			break;
		queue[i] = queue[down];
		i = down;
	}
	queue[i] = last;
	return top;
}

static struct group_end
log_end(const struct node *n)
{
	struct group_end end = { n->log[n->appended], n->appended };

	return end;
}

static unsigned
number(const struct node *n)
{
	return (unsigned)(n - node);
}

/* Number of the node that is member i. */
static unsigned
node_of(const struct membership *m, uint32_t i)
{
	return (unsigned)(m->member[i].incarnation - ID(0));
}

static int
member_of(const struct membership *m, const struct node *n)
{
	return member_find(m, ID(number(n)));
}

/* The newest membership among the records up to `vlsn`. */
static const struct membership *
conf_at(const struct node *n, uint64_t vlsn)
{
	while (n->conf[vlsn] == 0)
		vlsn--;
	return &conf[n->conf[vlsn]];
}

#endif
