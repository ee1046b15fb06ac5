/*
 * The middle shelf: what commands do. It appends and reads, lets a connection
 * wait and go on, and keeps what takes more than a turn; of the commands
 * themselves it knows nothing. One process, one thread: nothing here is
 * locked. ../README.md holds the model; each part's duty:
 *	exec.c	      its beginning and end
 *	write.c	      requests into wal's ring
 *	order.c	      the order of replies: window and nodes
 *	answer.c      what comes back from wal and store
 *	runs.c	      what wal has appended, how far it may be answered
 *	reach.c	      writes that wait for room in the table
 *	alone.c	      who goes alone in the node
 *	result.c      the store's answers, rendered as they come
 *	refusal.c     writes without a result
 *	owed.c	      what others are told of writes that wait
 *	role.c	      who is master, and what the end of that means here
 *	token.c	      names of writes
 *	read.c	      when a read may run, reading the store
 *	park.c	      why a connection rests, and what ends that
 *	turn.c	      a turn's time
 *	job.c	      what takes more than one turn
 *	transaction.c what MULTI queues, what EXEC answers here
 *	session.c     what a connection keeps between its commands
 *	args.c	      long arguments, copied in shares
 *	call.c	      one command on its way, and how it answers
 */
#ifndef WORKERS_GATEWAY_EXEC_EXEC_H
#define WORKERS_GATEWAY_EXEC_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/commit_ask.h"
#include "shm/kv/kv.h"
#include "shm/kv/op.h"
#include "shm/log/log_clock.h"
#include "shm/position.h"
#include "workers/gateway/io/io.h"

#define GW_TOO_LONG  "ERR the reply is longer than [listen] max_output"
#define GW_ASKS_LONG "ERR request is longer than 1 GiB"
/* Replies owed to one client before its input rests until all are paid. */
#define GW_NODES_HIGH 512u
#define GW_VALUE_KEEP (256u * 1024) /* a larger read buffer is given back */

/* Requests that wal or store still owe an answer. Power of two. */
#define GW_WINDOW      32768u
#define GW_REQUEST_BIG (RING_REQUEST_SIZE / 2) /* fills the ring alone */
#define GW_RUN_MAX     64u /* requests in one node; bits of `refused` */

/*
 * A turn's share of time for commands, first for those that arrive, then for
 * those that rest since before: what it does not suffice for rests until the
 * next turn. The clock is looked at after so much work, of about 0.5 us each.
 */
#define GW_TURN_NS   (2 * NS_PER_MS)
#define GW_WORK_LOOK 64u

struct exec;
struct result;
struct scan_table;

/*
 * Why a connection's input rests; park.c has a row for each. It keeps the
 * command at the head of its input, parsed, and when the reason is over that
 * runs again, or its job goes on.
 */
enum park {
	PARK_NOT = 0,
	PARK_ORDER, /* its own writes are not answered yet */
	PARK_APPLY, /* `applied` must reach wait_vlsn */
	PARK_COUNT, /* the store's count of keys must (DBSIZE) */
	PARK_SYNC, /* WAIT, WAITAOF: `committed` must, or a time-out */
	PARK_TERM, /* the first record of the term must be committed */
	PARK_LEASE, /* the lease must be held again */
	PARK_COPIES, /* WAIT: other members must have its writes on disk */
	PARK_RING, /* the request ring or the window is full */
	PARK_OUTPUT, /* it does not read its replies */
	PARK_TURN, /* the turn has done enough, the next one goes on */
	PARK_COUNT_OF
};

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
	uint64_t lost; /* of those: appended, outcome not known */
	uint64_t start_ns;
	struct sink sink; /* answers that wait for their turn */
	struct exec *exec; /* RESULT of a MULTI */
	uint64_t result_vlsn; /* RESULT: of the newest that may be answered */
	struct lost_write *lost_at; /* by bit, of those lost; NULL = not known
				     */
};

/* Where a write was appended of which nobody knows what became. */
struct lost_write {
	uint64_t vlsn, term;
};

/*
 * Requests that got consecutive VLSNs from one mastership, not all of them
 * acknowledged.
 */
struct ret_run {
	uint32_t seq, count;
	uint64_t vlsn, term;
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

/* What the request at hand makes of a key's value: shm/kv/reach.h. */
struct reach_note {
	uint32_t word;
	uint64_t longest;
};

/* Of who waits for room. */
struct reach_need {
	uint64_t bytes;
	enum refuses level;
};

/* This gateway's part in who goes alone in the node. */
struct alone {
	bool open; /* own `latest` says that it may append */
	bool wants; /* who waits does so for the claim, as last asked */
	bool claimed; /* the claim is ours */
	bool taken; /* and excludes all others */
	uint64_t since_ns; /* when it was claimed */
	bool added; /* by this request: */
	uint32_t seq;
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
	uint64_t term; /* the mastership that gave them; 0 = it is over */
	struct reach_shared *shared; /* its own */
	bool heir; /* the first mark is of the process before, has no VLSN */
	uint64_t heir_mark; /* the ring's end then */
	uint32_t held, held_generation; /* first to wait for room; 0 = nobody */
	struct reach_need first_need; /* of that one */
	bool again; /* it is gone: the others are to be asked again */
	struct reach_need least; /* bytes UINT64_MAX: nobody waits */
	uint64_t held_room; /* positions.room when they were held */
	uint64_t held_applied; /* positions.applied then */
	struct alone alone;
};

/* A request in parts that the ring has not wholly taken yet. */
struct big_request {
	uint8_t *payload; /* NULL = none */
	size_t len, sent;
	uint32_t seq;
	uint8_t type, flags;
};

struct gateway {
	struct gw_io io;
	struct worker *w;
	struct region *r;
	struct kv *kv;
	unsigned slot, client;
	uint32_t incarnation;

	/* park.c */
	struct conn_list waiting;
	struct conn_list resting, working; /* CONN_WORKS */
	struct conn_list stalled, stalled_big; /* CONN_BIG */
	bool big_next; /* small ones have gone before */
	uint32_t waiting_count, stalled_count; /* of both lists */
	uint32_t room_count; /* of these: CONN_ROOM */
	uint32_t resting_count, working_count; /* of both, of one */
	uint32_t sync_count, term_count; /* of waiting: PARK_SYNC, _TERM */
	uint32_t blocked_count; /* by what their reason says */
	/* Smallest in waiting: of each reason; PARK_SYNC's time-out. */
	uint64_t apply_min, count_min, sync_min, sync_deadline_ns;

	/* turn.c */
	uint64_t turn_end_ns; /* of the present share; 0 = began with it */
	uint32_t turn_work; /* since the last look at the clock */
	bool turn_over; /* the share is used up */
	bool slicing; /* who rests again has had its slice */

	/* write.c */
	struct bytering req;
	bool req_published; /* something was, this turn */
	uint64_t request_max; /* bytes of a payload: REQ_PAYLOAD_MAX */
	struct big_request big;
	uint32_t maker, maker_generation; /* of the next; generation 0 = none */

	/* order.c */
	struct node *nodes;
	uint32_t node_cap, node_free;
	uint32_t *window; /* by seq: node index + 1, 0 = answered */
	uint32_t next_seq, oldest_seq;

	/* answer.c, runs.c */
	struct bytering ret, res;
	struct ret_run *runs;
	uint32_t run_head, run_count, run_cap;
	uint32_t early_count; /* EARLY nodes that are not acknowledged */
	bool commit_waited; /* own bit in positions.commit_waited */
	uint64_t acked; /* newest VLSN that early answers have covered */
	uint64_t acked_term; /* as last_term of a connection */
	struct result *result; /* of the store, as far as it has come */
	bool result_open;
	uint32_t result_seq;
	size_t result_used; /* of the piece at the ring's head */
	uint64_t seen_committed; /* gw_runs_limit() of the oldest run */
	uint32_t seen_view; /* who waits has been looked at under it */
	uint64_t seen_mastership; /* its term; 0 = none of this node's */
	bool role_moved; /* since the look before; or there is none */
	uint64_t lost; /* seen: gw_write_lost() */

	/* role.c */
	uint64_t seen_ended; /* masterships that are over */
	bool reach_known; /* this turn: */
	struct commit_reach commit_reach;

	/* reach.c, alone.c */
	struct reach reach;

	/* read.c */
	bool kv_open_turn; /* between kv_begin() and kv_end() */
	bool want_apply; /* apply_wanted was raised this turn */
	int64_t now_ms; /* for expiry; 0 = not read this turn */
	struct log_seen seen; /* of earlier turns */
	struct vbuf value, scratch;

	/* Counted in a turn, published at its end. */
	uint64_t n_commands, n_failed, n_reads, n_hits, n_misses, n_writes;
	struct histogram *h_read, *h_write;

	/* serve.c, cmd_scan.c: kept here, not looked at. */
	struct resp rp; /* of what is parsed where it was received */
	struct op_arg *argv;
	uint32_t argv_cap;
	struct scan_table *scans;

	/* gateway.c */
	uint64_t drain_deadline_ns;
	unsigned drained;
};

static inline struct gateway *
gateway_of(struct gw_io *io)
{
	return (void *)((char *)io - offsetof(struct gateway, io));
}

/* ---- exec.c ---- */
/* What needs no memory; io's, too. */
void gw_exec_init(struct gateway *g, struct worker *w, const struct gw_up *up);
/* Behind gw_conn_end(). */
void gw_exec_fini(struct gateway *g);
/* What the turn has counted becomes everybody's. */
void gw_exec_count_turn(struct gateway *g);

/* ---- park.c ---- */
void gw_park_init(struct gateway *g);
/* Leave the input where it is, with the command at its head. */
void gw_park(struct gateway *g, struct conn *c, enum park why);
/* The same for the ring, with a request of so many bytes. */
void gw_park_stall(struct gateway *g, struct conn *c, size_t len);
/* It rests no more, whatever becomes of it. */
void gw_park_end(struct gateway *g, struct conn *c);
/* Serve those in waiting, stalled and resting whose reason is over. */
void gw_park_wake(struct gateway *g);
/* Does one of them rest, or is its waiting over, but for time-outs? */
bool gw_park_pending(const struct gateway *g);
/* When the first time-out among those in waiting is due, or LOOP_NEVER. */
uint64_t gw_park_deadline(const struct gateway *g);
/* All that wait are looked at in the next turn. */
void gw_park_look(struct gateway *g);
const char *gw_park_name(enum park why); /* "" = it does not rest */

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

/* ---- role.c ---- */
#define GW_REFUSAL_MAX (PEER_TEXT + 2 * MEMBER_ADDR_MAX)
void gw_role_init(struct gateway *g);
/*
 * Every turn, behind the answers: when a mastership of this node is over and
 * it is no master, its clients are closed once what they sent is answered,
 * but for those that read whatever is here.
 */
void gw_role_turn(struct gateway *g);
bool gw_role_pending(const struct gateway *g);
/* Why this node does not take a write, or a read: as an error. */
void
gw_role_refusal(const struct gateway *g, bool write, char text[GW_REFUSAL_MAX]);
/*
 * May a write be appended here? Else why not, as an error: nothing was. A text
 * is made if there is room for one.
 */
bool gw_role_may_write(struct gateway *g, char *text);

/* ---- token.c ---- */
#define GW_TOKEN_MAX 80
/* The name of a write, whoever may be asked about it later. */
void gw_token_put(const struct gateway *g, uint64_t term, uint64_t vlsn,
    char text[GW_TOKEN_MAX]);
/* Of the connection's newest answered write. False: it has none. */
bool gw_token_of(
    const struct gateway *g, const struct conn *c, char text[GW_TOKEN_MAX]);
/* 0; -EINVAL: none, or -EXDEV: one of another group. */
int gw_token_read(const struct gateway *g, const struct op_arg *text,
    uint64_t *term, uint64_t *vlsn);

/* ---- owed.c ---- */
/* What holds its writes back, and for how long. */
void gw_owed_publish(struct gateway *g);

/* ---- runs.c ---- */
/* Takes all places there can be need of; false: no memory. */
bool gw_runs_init(struct gateway *g);
void gw_runs_fini(struct gateway *g);
/* Remember a run, joined to the one before where it just goes on. */
void gw_runs_push(struct gateway *g, const struct wal_ret *ret);
/* The oldest; NULL = none. And drop its first `n` requests. */
const struct ret_run *gw_runs_first(struct gateway *g);
void gw_runs_take(struct gateway *g, uint32_t n);
/*
 * How far requests of this run may be answered: a VLSN. Only the mastership
 * that appended them answers them, and when that is over no more will be: then
 * true.
 */
bool gw_runs_limit(
    const struct gateway *g, const struct ret_run *run, uint64_t *limit);
/* What a write that is answered now reaches, at this node's sync level. */
uint64_t gw_write_acked(const struct gateway *g);
/* What has become of the connection's newest answered write. */
enum outcome { OUTCOME_OPEN, OUTCOME_COMMITTED, OUTCOME_UNKNOWN };
enum outcome gw_write_outcome(const struct gateway *g, const struct conn *c);
/* A write of it is answered; term is as last_term of a connection. */
void gw_write_answered(
    const struct gateway *g, struct conn *c, uint64_t vlsn, uint64_t term);

/* ---- write.c ---- */
int gw_write_init(struct gateway *g);
void gw_write_fini(struct gateway *g);
/* What came back, and what of a big request the ring takes now. */
void gw_write_turn(struct gateway *g);
/* Publish this turn's requests and ring who must see them. */
void gw_write_publish(struct gateway *g);
bool gw_write_pending(struct gateway *g);
/* Is there room for another request (a hint for those that wait)? */
bool gw_write_room(struct gateway *g);
/* What the store must refuse for an operation not to be taken; is it? */
enum refuses gw_write_level(unsigned code);
bool gw_write_taken(const struct gateway *g, enum refuses level);
/* May one of so many bytes be made for it? */
bool gw_write_may_go(struct gateway *g, size_t len); /* who waits, ask */
bool gw_write_may_make(
    struct gateway *g, struct conn *c, size_t len, enum refuses level);
/* One of so many bytes is made, in turns, for c; 0 = it is made. */
void gw_write_makes(struct gateway *g, const struct conn *c, size_t len);
/* What the request holds that goes to wal in parts. */
static inline size_t
gw_big_bytes(const struct gateway *g)
{
	return g->big.payload != NULL ? g->big.len : 0;
}

/* ---- order.c; more of it in order.h ---- */
/* Since when the oldest that wal has been given waits; UINT64_MAX: none. */
uint64_t gw_order_oldest(struct gateway *g);
/* Are too many replies waiting for ones before them? */
bool gw_order_crowded(const struct gateway *g, const struct conn *c);
/* The connection goes: its nodes answer nobody. */
void gw_order_orphan(struct gateway *g, struct conn *c);
/* A BYTES node at the end of the connection's order. NULL without memory. */
struct sink *gw_order_bytes(struct gateway *g, struct conn *c);

/* ---- answer.c ---- */
bool gw_answer_init(struct gateway *g); /* false: no memory */
void gw_answer_fini(struct gateway *g);
/* Answers, in ring order: return runs, acknowledgements, results. */
void gw_answer_turn(struct gateway *g);
bool gw_answer_pending(struct gateway *g);
/* Say whether wal must ring us when `committed` moves. */
void gw_answer_commit_waited(struct gateway *g);

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
/* May c append so much, now? If not it waits (PARK_RING). */
bool gw_reach_may(struct gateway *g, const struct conn *c, uint64_t bytes,
    enum refuses level);
/* Or make it, to append it later? */
bool gw_reach_may_make(struct gateway *g, const struct conn *c, uint64_t bytes,
    enum refuses level);
/* Is it more than there is room for, and no checkpoint makes any? */
bool
gw_reach_beyond(const struct gateway *g, uint64_t bytes, enum refuses level);
/* Is there no room for any of those that wait? */
bool gw_reach_holds(struct gateway *g);
/* Those that wait are about to ask again. */
void gw_reach_wake(struct gateway *g);
/* Appended; and what wal says of them. */
void gw_reach_add(struct gateway *g, uint32_t seq, uint64_t bytes);
void gw_reach_returned(struct gateway *g, const struct wal_ret *ret);
/*
 * Once a turn, behind that: what a mastership that is over had appended and not
 * seen committed is under way no more.
 */
void gw_reach_look(struct gateway *g);
/*
 * How far what gateways have had appended reaches in the log: to its end in
 * this mastership, which goes to *term; to what is committed when there is
 * none.
 */
uint64_t gw_reach_end(const struct gateway *g, uint64_t *term);
/*
 * At the turn's end, before its requests are published: have the store apply
 * what somebody waits for.
 */
void gw_reach_turn(struct gateway *g);
/* Is there something to do for others who wait? */
bool gw_reach_pending(struct gateway *g);
/* Is a gateway's request of that number not applied, as far as is known? */
bool gw_reach_under_way(
    const struct gateway *g, struct reach_shared *of, uint32_t seq);

/* ---- alone.c ---- */
/* A gateway that is the only one has nobody to look at. */
static inline bool
gw_alone_is_shared(const struct gateway *g)
{
	return g->r->head->gateway_count > 1;
}
/* Before room is looked for, for an append in this turn. */
void gw_alone_enter(struct gateway *g);
void gw_alone_leave(struct gateway *g); /* behind their publishing */
/* Another gateway's claim; 0 = there is none. Before the room is looked at. */
uint64_t gw_alone_other(const struct gateway *g);
/* Is who asks to wait for that one? */
bool gw_alone_bars(
    const struct gateway *g, uint64_t other, bool whole, enum refuses level);
/* Somebody waits for the claim, or for who has it. */
void gw_alone_wait(struct gateway *g);
/* Go alone, with the next append. False: wait. */
bool gw_alone_take(struct gateway *g);
bool gw_alone_could(const struct gateway *g); /* would it be worth asking? */
void gw_alone_added(struct gateway *g, uint32_t seq);
/* Is the claim held by what is appended? Then it is to be applied. */
bool gw_alone_lasts(const struct gateway *g);
bool gw_alone_over(const struct gateway *g); /* and is that applied? */
void gw_alone_turn(struct gateway *g); /* of gw_reach_turn() */
/* When to look again for what no bell tells, or LOOP_NEVER. */
uint64_t gw_alone_deadline(const struct gateway *g);

/* ---- read.c ---- */
enum read_verdict {
	READ_NOW,
	READ_PARKED,
	READ_REFUSED,
	READ_HOPELESS,
	READ_LOST,
	READ_UNCONFIRMED
};
/*
 * May the command at the head of the input read the store now? NOW: wait_vlsn
 * is its index. PARKED: it is parked and comes again. REFUSED: no master;
 * HOPELESS: room_hopeless(); LOST: its client has a write in its past that was
 * answered and may have been cut off; UNCONFIRMED: this node is master, and has
 * had no lease for too long; nothing was answered yet.
 */
enum read_verdict gw_read_ready(struct gateway *g, struct conn *c);
/*
 * Behind each read of the store, before its answer: is it as current as it was
 * to be? False: parked, all of it is to be read again.
 */
bool gw_read_holds(struct gateway *g, struct conn *c);
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

/* ---- session.c ---- */
/* It is as new: no MULTI, no job, no names. */
void gw_session_reset(struct conn *c);
/* What it keeps, in bytes: beside chunks, and in chunks with its nodes. */
size_t gw_session_bytes(const struct conn *c);
static inline size_t
gw_session_plain(const struct conn *c)
{
	/* Mostly it keeps nothing. */
	return c->multi == NULL && c->job == NULL && c->name == NULL &&
		       c->lib_name == NULL && c->lib_ver == NULL
		   ? 0
		   : gw_session_bytes(c);
}
size_t gw_session_pooled(const struct gateway *g, const struct conn *c);

#endif
