/*
 * The gateway's parts and what they share. One process, one thread: nothing
 * here is locked. README.md holds the model; each part's duty:
 *	gateway.c  boot, loop hooks, shutdown steps
 *	net.c	   accept, receive, send, close on the ring
 *	conn.c	   connections: slab, input, parking, output
 *	memory.c   what all of them hold together, and its bound
 *	write.c	   requests into wal's ring, what comes back
 *	read.c	   when a read may run, reading the store
 *	command.c  table, lookup, dispatch; cmd_*.c the commands
 */
#ifndef WORKERS_GATEWAY_GATEWAY_H
#define WORKERS_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "ipc/listener.h"
#include "ipc/loop.h"
#include "shm/kv.h"
#include "shm/log_clock.h"
#include "shm/op.h"
#include "shm/position.h"
#include "shm/region.h"
#include "workers/gateway/io/resp.h"
#include "workers/gateway/io/sink.h"
#include "workers/worker.h"

#define GW_NONE UINT32_MAX

/* Received bytes: the kernel picks a buffer when data is there. */
#define GW_BUFS      256u
#define GW_BUF_SIZE  8192u
#define GW_BUF_GROUP 1

#define GW_CONN_CHUNK 128u /* connections of one slab allocation */
/*
 * Unread replies above HIGH stop a client's input until they are below LOW,
 * but while there is memory (gw_output_ceiling()): many clients write all of a
 * pipeline before they read the first reply.
 */
#define GW_OUT_HIGH   (256u * 1024)
#define GW_OUT_LOW    (64u * 1024)
#define GW_TOO_LONG   "ERR the reply is longer than [listen] max_output"
#define GW_ASKS_LONG  "ERR request is longer than 1 GiB"
#define GW_OUT_UNAUTH 4096u /* HIGH of who has not said the password */
/* Replies owed to one client before its input rests until all are paid. */
#define GW_NODES_HIGH 512u
#define GW_VALUE_KEEP (256u * 1024) /* a larger read buffer is given back */
/* Input that waits behind a parked command before its socket is not read. */
#define GW_IN_HIGH    (64u * 1024)
#define GW_BULK_SLACK (64u * 1024) /* over max_value: refused by name */

/* Requests that wal or store still owe an answer. Power of two. */
#define GW_WINDOW      32768u
#define GW_REQUEST_BIG (RING_REQUEST_SIZE / 2) /* fills the ring alone */
#define GW_RUN_MAX     64u /* requests in one node; bits of `refused` */
#define GW_CURSORS     4096u
#define GW_NAME_MAX    1024u /* of a client or its library */
#define GW_MULTI_MAX   (64u * 1024) /* commands queued in one MULTI */
#define GW_MULTI_ARGS  RESP_ARGS_MAX /* their arguments together */
#define GW_ADDRESS_MAX 128 /* of an address as text */

/*
 * A turn's share of time for commands, first for those that arrive, then for
 * those that rest since before: what it does not suffice for rests until the
 * next turn. The clock is looked at after so much work, of about 0.5 us each.
 */
#define GW_TURN_NS   (2 * NS_PER_MS)
#define GW_WORK_LOOK 64u

struct command;
struct multi;
struct exec;
struct job;
struct result;
struct scan_table;

/* Why a connection's input rests. */
enum park {
	PARK_NOT = 0,
	PARK_ORDER, /* its own writes are not answered yet */
	PARK_APPLY, /* `applied` must reach wait_vlsn */
	PARK_COUNT, /* the store's count of keys must (DBSIZE) */
	PARK_SYNC, /* WAIT, WAITAOF: `committed` must, or a time-out */
	PARK_TERM, /* the first record of the term must be committed */
	PARK_RING, /* the request ring or the window is full */
	PARK_OUTPUT, /* it does not read its replies */
	PARK_TURN, /* the turn has done enough, the next one goes on */
};

enum conn_flag {
	CONN_RECV = 1u << 0, /* a receive is armed */
	CONN_SEND = 1u << 1, /* a send is in flight */
	CONN_CANCEL = 1u << 2, /* a cancel of the receive is under way */
	CONN_CLOSING = 1u << 3, /* nothing more is read or answered */
	CONN_LAST = 1u << 4, /* close when all replies are sent; input
				is thrown away (QUIT, protocol error) */
	CONN_EOF = 1u << 5, /* no more input comes; close when what came
			       is answered */
	CONN_AUTHED = 1u << 6,
	CONN_DIRTY = 1u << 7, /* in the list of this turn */
	CONN_INDEX = 1u << 8, /* wait_vlsn is the read index of the command
				 at the head of its input */
	CONN_REPLY_OFF = 1u << 9,
	CONN_SKIP_NEXT = 1u << 10,
	CONN_SKIP = 1u << 11, /* this command is not answered */
	CONN_NO_EVICT = 1u << 12,
	CONN_WAITED = 1u << 13, /* WAIT has begun: deadline_ns is set */
	CONN_LISTED = 1u << 14, /* in waiting, stalled or resting */
	CONN_CANCEL_SEND = 1u << 15,
	CONN_QUIET = 1u << 16, /* the send completes without a word */
	CONN_SLOW = 1u << 17, /* its socket was full: no quiet sends */
	CONN_HELD = 1u << 18, /* holds much while memory is short: not read */
	CONN_WATCH = 1u << 19, /* a poll for its client's end is armed */
	CONN_CANCEL_WATCH = 1u << 20,
	CONN_ENDED = 1u << 21, /* nothing comes behind what is not read yet */
	CONN_BIG = 1u << 22, /* what it is stalled with fills the ring */
	CONN_WORKS = 1u << 23, /* rests with more than a first slice is for */
};

/* Input kept between receives: a partial command or parked commands. */
struct input {
	struct sink bytes;
	size_t start; /* of the command that `rp` parses */
	struct resp rp;
	/* Of the command at the head, if it is long: its bytes do not move
	   then, what comes meanwhile waits in `behind`. NULL = not pinned. */
	struct op_arg *argv;
	uint32_t argc; /* of rp.argc, filled in so far */
	struct sink behind;
};

/* A client. Idle ones own this and nothing else. */
struct conn {
	uint32_t index, generation;
	int fd; /* -1 = free */
	uint32_t flags; /* enum conn_flag */
	uint8_t park; /* enum park */
	uint8_t proto; /* 2 or 3 */
	uint8_t listener;
	uint32_t node_head, node_tail, node_count;
	uint64_t id;
	uint64_t last_vlsn; /* of its newest answered write */
	uint64_t wait_vlsn; /* CONN_INDEX, PARK_APPLY, _COUNT, _SYNC */
	uint64_t deadline_ns; /* PARK_SYNC; LOOP_NEVER = none */
	uint64_t active_ns; /* of its last input */
	uint64_t opened_ns;
	size_t plain; /* bytes it owns beside chunks, as last noted */
	struct sink out; /* not being sent yet */
	struct chunk *sending, *sending_tail; /* first: in flight */
	size_t queued; /* bytes of those, sent ones of the first included */
	struct input *in;
	struct multi *multi;
	struct job *job; /* what takes it more than one turn */
	char *name, *lib_name, *lib_ver; /* NULL = none */
	const struct command *last_command;
	struct conn *quiet_next;
	TAILQ_ENTRY(conn) dirty;
	TAILQ_ENTRY(conn) stranger; /* not CONN_AUTHED, nor CONN_CLOSING */
	TAILQ_ENTRY(conn) wait; /* of `waiting` and its kin, or free */
};
_Static_assert(sizeof(struct conn) <= 300, "10,000 idle ones in 3 MiB");
TAILQ_HEAD(conn_list, conn);

enum node_kind { NODE_FREE, NODE_EARLY, NODE_RESULT, NODE_BYTES };

/*
 * A place in a connection's order of replies: a run of requests answered at
 * commit (EARLY), one of requests answered by the store (RESULT), or bytes
 * that wait for the ones before them.
 */
struct node {
	uint32_t next; /* in the connection's list, or the free list */
	uint32_t conn; /* GW_NONE: it is gone, nobody is answered */
	uint32_t first_seq;
	uint8_t kind; /* enum node_kind */
	uint8_t count; /* requests in the run */
	uint8_t done; /* EARLY: == count when all are; RESULT: answered */
	uint8_t proto;
	uint8_t mute; /* CLIENT REPLY OFF or SKIP */
	uint8_t status; /* enum ret_status of the refused ones */
	uint64_t refused; /* bit i: request first_seq + i was, or is lost */
	uint64_t lost; /* of those: appended, then the log failed */
	uint64_t start_ns;
	struct sink sink; /* answers that wait for their turn */
	struct exec *exec; /* RESULT of a MULTI */
};

/* Requests that got consecutive VLSNs, not all of them acknowledged. */
struct ret_run {
	uint32_t seq, count;
	uint64_t vlsn;
	uint32_t status;
};

#define REACH_MARKS  64
#define REACH_NOTED  64 /* keys of one request; of more: any key */
#define REACH_FORGET (UINT32_C(1) << 30) /* requests; half of what wraps */

/* Requests up to seq, from where the mark before ends. */
struct reach_mark {
	uint32_t seq;
	uint64_t vlsn; /* of a placed one: when it is applied they are */
	uint64_t bytes; /* their reach */
};

/* What the request at hand makes of a key's value: shm/reach.h. */
struct reach_note {
	uint32_t word;
	uint64_t longest;
};

/* Of who waits for room. */
struct reach_need {
	uint64_t bytes;
	enum refuses level;
};

/* What was appended and is not applied. */
struct reach {
	struct reach_mark mark[REACH_MARKS];
	struct reach_note noted[REACH_NOTED]; /* written when it is appended */
	uint32_t noted_count;
	uint64_t noted_any; /* 0 = of no other key */
	uint32_t first, count;
	uint32_t placed; /* of these, oldest first; one that is heir's counts */
	uint32_t applied_seq; /* requests up to here are */
	uint64_t bytes; /* of all marks */
	uint64_t returned_vlsn; /* newest that wal gave, or not less */
	struct reach_shared *shared; /* its own */
	bool heir; /* the first mark is of the process before, has no VLSN */
	uint64_t heir_tail; /* of the ring then */
	uint32_t held, held_generation; /* first to wait for room; 0 = nobody */
	struct reach_need first_need; /* of that one */
	struct reach_need least; /* bytes UINT64_MAX: nobody waits */
	uint64_t held_room; /* positions.room when they were held */
	uint64_t held_applied; /* positions.applied then */
};

/* A request in parts that the ring has not wholly taken yet. */
struct big_request {
	uint8_t *payload; /* NULL = none */
	size_t len, sent;
	uint32_t seq;
	uint8_t type, flags;
};

/* An event that may come often is told now and then. */
struct told {
	uint64_t last_ns; /* 0 = never */
	uint64_t untold; /* since then */
};

struct gateway {
	struct worker *w;
	struct region *r;
	struct loop loop;
	struct kv *kv;
	unsigned slot, client;
	uint32_t incarnation;

	/* net.c */
	struct io_uring_buf_ring *buf_ring;
	uint8_t *bufs;
	struct listener listener[LISTEN_MAX];
	int spare_fd; /* given up for a client that is turned away */
	struct conn *quiet; /* CONN_QUIET, and some that failed */
	unsigned quiet_tail; /* of the SQ behind the newest of them */

	/* conn.c */
	struct conn **chunks;
	uint32_t chunk_count, conn_count, conn_max;
	uint32_t closing_count; /* of conn_count */
	struct conn_list free_conns, dirty, waiting;
	struct conn_list resting, working; /* CONN_WORKS */
	struct conn_list stalled, stalled_big; /* CONN_BIG */
	bool big_next; /* small ones have gone before */
	struct conn_list strangers; /* who came first is first */
	uint32_t waiting_count, stalled_count; /* of both lists */
	uint32_t resting_count, working_count; /* of both, of one */
	uint64_t
	    turn_end_ns; /* of the present share; 0 = began with the turn */
	uint32_t turn_work; /* since the last look at the clock */
	bool turn_over; /* the share is used up */
	bool slicing; /* who rests again has had its slice */
	uint32_t sync_count, term_count; /* of waiting: PARK_SYNC, _TERM */
	uint64_t next_id;
	struct chunk_pool pool;
	struct resp rp; /* for commands parsed where they were received */
	struct op_arg *argv;
	uint32_t argv_cap;
	struct sink mute; /* where unwanted replies go */
	uint64_t idle_check_ns;
	struct told http_told, evict_told;

	/* memory.c */
	bool memory_high; /* above half of client_memory */
	bool output_rests; /* somebody does that has too much to read */
	size_t memory_seen, memory_peak;
	uint64_t memory_look_ns, trim_ns; /* the next, at the earliest */
	uint64_t memory_rest_ns; /* a look takes its time: none before */
	uint32_t runner, runner_generation; /* may end its request;
					       generation 0 = nobody */
	uint64_t runner_moved; /* bytes from and to it since it may */
	uint64_t runner_goal; /* to be reached by runner_end_ns */
	uint64_t runner_end_ns;

	/* write.c */
	struct bytering req, ret, res;
	bool req_published; /* something was, this turn */
	struct node *nodes;
	uint32_t node_cap, node_free;
	uint32_t *window; /* by seq: node index + 1, 0 = answered */
	uint32_t next_seq, oldest_seq;
	struct ret_run *runs;
	uint32_t run_head, run_count, run_cap;
	uint32_t early_count; /* EARLY nodes that are not acknowledged */
	bool commit_waited; /* own bit in positions.commit_waited */
	uint64_t request_max; /* bytes of a payload: REQ_PAYLOAD_MAX */
	uint64_t acked; /* newest VLSN that early answers have covered */
	struct result *result; /* of the store, as far as it has come */
	bool result_open;
	uint32_t result_seq;
	size_t result_used; /* of the piece at the ring's head */
	struct big_request big;
	struct reach reach;
	uint32_t maker, maker_generation; /* of the next; generation 0 = none */
	uint64_t seen_committed;
	uint64_t lost; /* seen: gw_write_lost() */

	/* read.c */
	bool kv_open_turn; /* between kv_begin() and kv_end() */
	bool want_apply; /* apply_wanted was raised this turn */
	/* Smallest in waiting: of each reason; PARK_SYNC's time-out. */
	uint64_t apply_min, count_min, sync_min, sync_deadline_ns;
	int64_t now_ms; /* for expiry; 0 = not read this turn */
	struct log_seen seen; /* of earlier turns */
	struct vbuf value, scratch;
	struct scan_table *scans;

	/* Counted in a turn, published at its end. */
	uint64_t n_commands, n_failed, n_reads, n_hits, n_misses, n_writes;
	uint64_t n_in, n_out;
	struct histogram *h_read, *h_write;

	bool draining; /* answering what is pending, then closing */
	uint64_t drain_deadline_ns;
	unsigned drained;
};

static inline void
gw_count(struct gateway *g, enum counter which, uint64_t n)
{
	counter_add(g->r->counters, g->slot, which, n);
}

/* ---- net.c ---- */
int gw_net_open(struct gateway *g);
void gw_net_close(struct gateway *g);
/* listen() on every inherited socket. 0 or -errno. */
int gw_net_listen(struct gateway *g);
/* Every turn: take connections that wait. */
void gw_net_accept(struct gateway *g);
bool gw_net_accept_pending(const struct gateway *g);
/* When a failed accept is to be tried again, or LOOP_NEVER. */
uint64_t gw_net_accept_deadline(const struct gateway *g);
void gw_net_accept_stop(struct gateway *g);
void gw_net_idle(struct gateway *g); /* close those idle for too long */
/* Quiet sends that did not complain are over; start of a turn. */
void gw_net_settle(struct gateway *g);
/* Queue what the connection needs on the ring; end of a turn. */
void gw_net_flush(struct gateway *g, struct conn *c);
/* "127.0.0.1:1234" of the peer (or of our side). */
void gw_net_address(const struct conn *c, bool local, char *text, size_t n);

/* ---- conn.c ---- */
int gw_conn_init(struct gateway *g);
void gw_conn_fini(struct gateway *g);
/* NULL without memory. fd becomes the connection's. */
struct conn *gw_conn_new(struct gateway *g, int fd, unsigned listener);
/* The live connection of that index and generation, or NULL. */
struct conn *
gw_conn_find(struct gateway *g, uint32_t index, uint32_t generation);
struct conn *gw_conn_at(struct gateway *g, uint32_t index); /* NULL = free */
uint32_t gw_conn_limit(const struct gateway *g); /* indexes in use are below */
void gw_conn_free(struct gateway *g, struct conn *c); /* its fd is given away */
/* Stop at once: nothing more is read, answered or sent. */
void gw_conn_kill(struct gateway *g, struct conn *c);
/* Is there a place for one more? Who has not said the password gives way. */
bool gw_conn_room(struct gateway *g);
/* It has said the password, or is as new again. */
void gw_conn_trust(struct gateway *g, struct conn *c, bool trusted);
/* It speaks HTTP: closed at once, nothing behind that is run. Says so. */
void gw_conn_http(struct gateway *g, struct conn *c);
void gw_conn_dirty(struct gateway *g, struct conn *c);
/* Received bytes; they are the caller's again when this returns. */
void
gw_conn_input(struct gateway *g, struct conn *c, const uint8_t *data, size_t n);
void gw_conn_eof(struct gateway *g, struct conn *c);
/*
 * The command at the head of the input, which is in c->in, keeps its arguments
 * where they are until it is over: *argv then. False without memory.
 */
bool gw_conn_pin(struct conn *c, uint32_t argc, const struct op_arg **argv);
/* Leave the input where it is, with the command at its head. */
void gw_conn_park(struct gateway *g, struct conn *c, enum park why);
/* The same for the ring, with a request of so many bytes. */
void gw_conn_stall(struct gateway *g, struct conn *c, size_t len);
void gw_conn_resume(struct gateway *g, struct conn *c);
/* Serve those in waiting, stalled and resting whose reason is over. */
void gw_conn_wake(struct gateway *g);
/* Does one of them rest, or is its waiting over, but for time-outs? */
bool gw_conn_wake_pending(const struct gateway *g);
/* Nothing is owed to it and nothing it sent is left to do. */
bool gw_conn_settled(const struct conn *c);
bool gw_conn_wants_input(const struct conn *c);
size_t gw_conn_unsent(const struct conn *c);
/* All clients may hold so much before one that does not read has to rest. */
static inline size_t
gw_output_ceiling(const struct gateway *g)
{
	uint64_t quarter = g->w->conf->listen.client_memory / 4;

	return quarter > GW_OUT_HIGH ? quarter : GW_OUT_HIGH;
}

/* Has c too much to read before it is read itself? */
static inline bool
gw_output_rests(const struct gateway *g, const struct conn *c)
{
	return gw_conn_unsent(c) >= GW_OUT_HIGH &&
	       g->pool.used >= gw_output_ceiling(g);
}

/* Are so many bytes more than one reply may have? */
static inline bool
gw_output_over(const struct gateway *g, size_t n)
{
	return n > g->w->conf->listen.max_output + RES_FRAME;
}
/* Where the next reply of the connection goes, in its order. */
struct sink *gw_conn_sink(struct gateway *g, struct conn *c);
/* A reply goes there; a long one is not copied. from is empty then. */
void gw_conn_join(struct gateway *g, struct conn *c, struct sink *from);
/* Replies that owe nothing to ones before them go out; the same. */
void gw_conn_emit(struct gateway *g, struct conn *c, struct sink *from);
/* What is in c->out stands behind what is being sent. */
void gw_conn_queue(struct conn *c);

/* One more. Is it to be told? Then *more were not, before it. */
bool gw_told_begin(const struct gateway *g, struct told *t, uint64_t *more);

/* ---- turn.c ---- */
/* Every turn, behind what arrived: those that rest have a share. */
void gw_turn_rest(struct gateway *g);
/* So much of the turn's share is done; turn_over says when it is used up. */
void gw_turn_look(struct gateway *g);
bool gw_turn_is_over(void *gateway); /* looks; for kv_set_over() */
static inline void
gw_turn_work(struct gateway *g, uint64_t work)
{
	g->turn_work += work < GW_WORK_LOOK ? (uint32_t)work : GW_WORK_LOOK;
	if (g->turn_work >= GW_WORK_LOOK)
		gw_turn_look(g);
}
/* The same for a look into the store: on disk it takes as long as it takes. */
static inline void
gw_turn_read(struct gateway *g, uint64_t work)
{
	if (kv_was_on_disk(g->kv))
		gw_turn_look(g);
	else
		gw_turn_work(g, work);
}

/* ---- memory.c ---- */
/* Whatever c owns beside chunks may have changed. */
void gw_memory_note(struct gateway *g, struct conn *c);
/* What c makes this gateway hold; all of them: pool.used. */
size_t gw_memory_of(const struct gateway *g, const struct conn *c);
/* Of that: for the arguments of the command at the head of its input. */
size_t gw_memory_of_args(const struct conn *c);
/* n more bytes came from c, or went to it. */
static inline void
gw_memory_moved(struct gateway *g, const struct conn *c, size_t n)
{
	if (c->index == g->runner)
		g->runner_moved += n;
}
/* Every turn: hold back and close who holds too much; trim the heap. */
void gw_memory_turn(struct gateway *g);
uint64_t gw_memory_deadline(const struct gateway *g);

/* ---- refusal.c ---- */
/* Why the node's request with this bit has no result. */
#define GW_RESULT_LOST "ERR the result of this write was lost"
void gw_no_answer_put(const struct gateway *g, struct sink *out,
    const struct node *n, unsigned bit);
/*
 * The log failed: what it appended from this VLSN on is on no disk for sure,
 * and nothing of it is applied. UINT64_MAX = it did not.
 */
uint64_t gw_write_lost(const struct gateway *g);
/* Once a turn: if it failed meanwhile, nobody waits for it any more. */
void gw_lost_look(struct gateway *g);

/* ---- owed.c ---- */
/* What holds its writes back, and for how long. */
void gw_owed_publish(struct gateway *g);

/* ---- write.c ---- */
int gw_write_init(struct gateway *g);
/* Before that: nothing that is still owed will be answered. */
void gw_write_forget(struct gateway *g);
void gw_write_fini(struct gateway *g);
/* Answers, in ring order: return runs, acknowledgements, results. */
void gw_write_turn(struct gateway *g);
/* Publish this turn's requests and ring who must see them. */
void gw_write_publish(struct gateway *g);
bool gw_write_pending(struct gateway *g);
/* What an early answer waits for, at this node's sync level. */
uint64_t gw_write_acked(const struct gateway *g);
/* Since when the oldest that wal has been given waits; UINT64_MAX: none. */
uint64_t gw_write_oldest(struct gateway *g);
/* Say whether wal must ring us when `committed` moves. */
void gw_write_commit_waited(struct gateway *g);
/* Is there room for another request (a hint for those that wait)? */
bool gw_write_room(struct gateway *g);
/* What the store must refuse for an operation not to be taken; is it? */
enum refuses gw_write_level(unsigned code);
bool gw_write_taken(const struct gateway *g, enum refuses level);
/* May one of so many bytes be made for it? */
bool gw_write_may_go(struct gateway *g, size_t len); /* who waits, ask */
bool gw_write_may_make(
    struct gateway *g, const struct conn *c, size_t len, enum refuses level);
/* One of so many bytes is made, in turns, for c; 0 = it is made. */
void gw_write_makes(struct gateway *g, const struct conn *c, size_t len);
/* Are too many replies waiting for ones before them? */
bool gw_write_crowded(const struct gateway *g, const struct conn *c);
/* The connection goes: its nodes answer nobody. */
void gw_write_orphan(struct gateway *g, struct conn *c);
/* What the request holds that goes to wal in parts. */
static inline size_t
gw_big_bytes(const struct gateway *g)
{
	return g->big.payload != NULL ? g->big.len : 0;
}
/* A BYTES node at the end of the connection's order. NULL without memory. */
struct sink *gw_write_bytes(struct gateway *g, struct conn *c);

/*
 * ---- result.c ----
 * Pieces of the store's answers become replies as they come, so that no answer
 * is held twice. feed(): a piece for the reply in `out`, which grew from where
 * it was at begin(); how much of it was taken goes to *used: if not all, the
 * rest is for another turn. end(): no piece follows; what did not make a whole
 * answer, or was too long, is an error instead, or closes its client.
 */
struct result *gw_result_new(void);
void gw_result_free(struct result *r);
void gw_result_begin(struct result *r, const struct sink *out, unsigned proto,
    const struct exec *exec, uint64_t limit);
bool gw_result_fresh(const struct result *r); /* nothing came of it yet */
size_t gw_result_feed(
    struct result *r, struct sink *out, const uint8_t *bytes, size_t n);
/* False: come again in another turn. */
bool gw_result_end(struct result *r, struct sink *out);

/* What goes into the log: one operation or a MULTI's payload. */
struct request {
	uint8_t type; /* REC_OP or REC_MULTI */
	bool early;
	enum refuses level; /* gw_write_level() */
	uint64_t reach; /* gw_reach_of(), of all operations */
	/* REC_OP */
	uint16_t code, flags;
	int64_t num;
	uint32_t argc;
	const struct op_arg *argv;
	/* Or what it is encoded to; a long one's memory is taken over. */
	struct vbuf *bytes;
	struct exec *exec; /* of a REC_MULTI; taken over when 0 is returned */
};
/*
 * 0; -EAGAIN: no room, park and come again; -ENOSPC: nor will there be any,
 * gw_reach_beyond(); -ENOMEM.
 */
int
gw_write_append(struct gateway *g, struct conn *c, const struct request *rq);

/* ---- reach.c ---- */
void gw_reach_init(struct gateway *g);
/*
 * The most of the table that an operation may take if it is appended next, as
 * far as is known now; notes what it may make of its keys. What is noted holds
 * once it is appended, and is forgotten when another one is asked for.
 */
struct built;
uint64_t gw_reach_of(struct gateway *g, const struct built *b);
/* The same of a plain SET. */
uint64_t gw_reach_set(struct gateway *g, const struct op_arg argv[2]);
/* Of a transaction's: begin, and each operation in turn. */
void gw_reach_begin(struct gateway *g);
uint64_t gw_reach_also(struct gateway *g, const struct built *b);
/* Notes one of many arguments, which copies nothing. */
void gw_reach_many(struct gateway *g, const struct op *op);
/* Or nobody knows: any key may get as long as values can be made, or copied. */
void gw_reach_unknown(struct gateway *g, bool copies);
/* May c append so much? If not it waits (PARK_RING). */
bool gw_reach_may(struct gateway *g, const struct conn *c, uint64_t bytes,
    enum refuses level);
/* Is it more than there is room for, and no checkpoint makes any? */
bool
gw_reach_beyond(const struct gateway *g, uint64_t bytes, enum refuses level);
/* Is there no room for any of those that wait? */
bool gw_reach_holds(struct gateway *g);
/* Those that wait are about to ask again. */
void gw_reach_wake(struct gateway *g);
/* Appended; wal gave VLSNs from `vlsn` on, 0 = it refused them. */
void gw_reach_add(struct gateway *g, uint32_t seq, uint64_t bytes);
void gw_reach_returned(
    struct gateway *g, uint32_t seq, uint32_t count, uint64_t vlsn);
/* At the turn's end: have the store apply what somebody waits for. */
void gw_reach_turn(struct gateway *g);

/* ---- read.c ---- */
enum read_verdict { READ_NOW, READ_PARKED, READ_REFUSED, READ_HOPELESS };
/*
 * May the command at the head of the input read the store now? NOW: wait_vlsn
 * is its index. PARKED: it is parked and comes again. REFUSED: no master;
 * HOPELESS: room_hopeless(); nothing was answered yet.
 */
enum read_verdict gw_read_ready(struct gateway *g, struct conn *c);
/* PARK_TERM is over: the term's first record is committed, or the role lost. */
bool gw_read_term_over(const struct gateway *g);
/* Enter this turn's read transaction. 0 or -errno. */
int gw_read_begin(struct gateway *g);
void gw_read_end(struct gateway *g);
int64_t gw_now_ms(struct gateway *g);

/*
 * One moment of the store, read over as many turns as it takes. Zero to begin
 * with. gw_moment_begin(): as kv_hold(), with a share of time of its own;
 * -EAGAIN: lost. gw_moment_over(): is the share used up, after so much more
 * work? gw_moment_lost(): begin anew, with a larger share; false: often enough.
 */
struct moment {
	struct kv_moment at;
	int64_t now_ms; /* what has expired by then is hidden */
	uint64_t end_ns;
	uint32_t work;
	unsigned lost;
};
int gw_moment_begin(struct gateway *g, struct moment *m);
void gw_moment_end(struct gateway *g);
bool gw_moment_over(struct gateway *g, struct moment *m, uint64_t work);
bool gw_moment_lost(struct moment *m);

/* ---- info.c ---- */
/* A bit for each section that the word ("default", "all", a name) means. */
unsigned gw_info_sections(const char *word);
/* INFO's text: each section wanted once, in their order. */
void gw_info(struct gateway *g, unsigned wanted, struct sink *out);

#endif
