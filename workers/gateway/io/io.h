/*
 * The lowest of the gateway's shelves: sockets on the ring, who is connected,
 * the bytes that come and go, and the memory that holds them. It knows no
 * command, and of the reasons why a connection rests their number only.
 * One process, one thread: nothing here is locked.
 *	net.c	   accept, receive, send, close on the ring
 *	conn.c	   connections: slab, output, their end
 *	input.c	   input that is kept: partial and parked commands
 *	memory.c   what all of them hold together, and its bound
 *	resp.c, sink.c, reply.c: bytes to arguments, replies to bytes
 */
#ifndef WORKERS_GATEWAY_IO_IO_H
#define WORKERS_GATEWAY_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include "ipc/listener.h"
#include "ipc/loop.h"
#include "shm/kv/op.h"
#include "shm/region.h"
#include "shm/request.h"
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
#define GW_OUT_UNAUTH 4096u /* HIGH of who has not said the password */
/* Input that waits behind a parked command before its socket is not read. */
#define GW_IN_HIGH     (64u * 1024)
#define GW_ADDRESS_MAX 128 /* of an address as text */

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
	CONN_CANCEL_SEND = 1u << 15,
	CONN_QUIET = 1u << 16, /* the send completes without a word */
	CONN_SLOW = 1u << 17, /* its socket was full: no quiet sends */
	CONN_HELD = 1u << 18, /* holds much while memory is short: not read */
	CONN_WATCH = 1u << 19, /* a poll for its client's end is armed */
	CONN_CANCEL_WATCH = 1u << 20,
	CONN_ENDED = 1u << 21, /* nothing comes behind what is not read yet */
	CONN_BIG = 1u << 22, /* what it is stalled with fills the ring */
	CONN_WORKS = 1u << 23, /* rests with more than a first slice is for */
	CONN_ROOM = 1u << 25, /* it is stalled for room in the table */
	CONN_EVENTUAL = 1u << 26, /* it reads what this node has, whoever is
				     master */
	CONN_CONFIRM = 1u << 27, /* its read waits for a lease: deadline_ns is
				    when it does no more */
	/* What it rests for, as io does not know why it does: */
	CONN_UNREAD = 1u << 14, /* until its replies are read */
	CONN_OURS = 1u << 24, /* until this process has room or time for it */
};

struct conn;
struct gw_io;
struct command;
struct job;
struct multi;

/*
 * The two ways up, and one question; set when the worker opens.
 */
struct gw_up {
	/* Bytes have arrived; they are io's again when this returns. */
	void (*input)(
	    struct gw_io *io, struct conn *c, const uint8_t *data, size_t n);
	/*
	 * c goes on with what it rests with. Or it is closing: whatever is
	 * held for it is to be given up, and nothing to be sent.
	 */
	void (*go_on)(struct gw_io *io, struct conn *c);
	/* How much of the pool is held for it above, not as input or output? */
	size_t (*held)(const struct gw_io *io, const struct conn *c);
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
	uint8_t park; /* why it rests, 0 = it does not */
	uint8_t proto; /* 2 or 3 */
	uint8_t listener;
	/* Its order of replies: exec/order.c. None are owed: count 0. */
	uint32_t node_head, node_tail, node_count;
	uint64_t id;
	uint64_t last_vlsn; /* of its newest answered write */
	uint64_t last_term; /* the mastership that appended that, if it was not
			       committed when it was answered; 0 = it was */
	uint64_t wait_vlsn; /* CONN_INDEX, PARK_APPLY, _COUNT, _SYNC */
	uint64_t read_term; /* the mastership whose lease the read at hand
			       needs still when it has read; 0 = none */
	uint64_t deadline_ns; /* PARK_SYNC, _LEASE, _COPIES; LOOP_NEVER = none
			       */
	uint64_t active_ns; /* of its last input */
	uint64_t opened_ns;
	size_t plain; /* bytes it owns beside chunks, as last noted */
	struct sink out; /* not being sent yet */
	struct chunk *sending, *sending_tail; /* first: in flight */
	size_t queued; /* bytes of those, sent ones of the first included */
	struct input *in;
	/* Its session: exec/session.c. */
	struct multi *multi;
	struct job *job; /* what takes it more than one turn */
	char *name, *lib_name, *lib_ver; /* NULL = none */
	const struct command *last_command;
	struct conn *quiet_next;
	TAILQ_ENTRY(conn) dirty;
	TAILQ_ENTRY(conn) stranger; /* not CONN_AUTHED, nor CONN_CLOSING */
	TAILQ_ENTRY(conn) wait; /* of exec/park.c's lists, or free */
};
_Static_assert(sizeof(struct conn) <= 300, "10,000 idle ones in 3 MiB");
TAILQ_HEAD(conn_list, conn);

/* An event that may come often is told now and then. */
struct told {
	uint64_t last_ns; /* 0 = never */
	uint64_t untold; /* since then */
};

struct gw_io {
	struct worker *w;
	struct region *r;
	unsigned slot;
	struct loop loop;
	struct gw_up up;

	/* net.c */
	struct io_uring_buf_ring *buf_ring;
	uint8_t *bufs;
	struct listener listener[LISTEN_MAX];
	int spare_fd; /* given up for a client that is turned away */
	struct conn *quiet; /* CONN_QUIET, and some that failed */
	unsigned quiet_tail; /* of the SQ behind the newest of them */
	bool draining; /* who comes is answered what it has sent, and closed */

	/* conn.c */
	struct conn **chunks;
	uint32_t chunk_count, conn_count, conn_max;
	uint32_t closing_count; /* of conn_count */
	struct conn_list free_conns, dirty;
	struct conn_list strangers; /* who came first is first */
	uint64_t next_id;
	struct chunk_pool pool;
	struct sink mute; /* where unwanted replies go */
	uint64_t idle_check_ns;
	struct told http_told, evict_told;

	/* memory.c */
	size_t lent; /* of pool.used: no connection's any more */
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

	/* Counted in a turn, published at its end. */
	uint64_t n_in, n_out;
};

static inline void
gw_count(struct gw_io *io, enum counter which, uint64_t n)
{
	counter_add(io->r->counters, io->slot, which, n);
}

/* ---- net.c ---- */
int gw_net_open(struct gw_io *io);
void gw_net_close(struct gw_io *io);
/* listen() on every inherited socket. 0 or -errno. */
int gw_net_listen(struct gw_io *io);
/* Every turn: take connections that wait. */
void gw_net_accept(struct gw_io *io);
bool gw_net_accept_pending(const struct gw_io *io);
/* When a failed accept is to be tried again, or LOOP_NEVER. */
uint64_t gw_net_accept_deadline(const struct gw_io *io);
void gw_net_accept_stop(struct gw_io *io);
void gw_net_idle(struct gw_io *io); /* close those idle for too long */
/* Quiet sends that did not complain are over; start of a turn. */
void gw_net_settle(struct gw_io *io);
/* Queue what the connection needs on the ring; end of a turn. */
void gw_net_flush(struct gw_io *io, struct conn *c);
/* "127.0.0.1:1234" of the peer (or of our side). */
void gw_net_address(const struct conn *c, bool local, char *text, size_t n);

/* ---- conn.c ---- */
/* What needs no memory; before anything else. */
void gw_conn_init(struct gw_io *io, struct worker *w, const struct gw_up *up);
/* Every connection ends here and now. */
void gw_conn_end(struct gw_io *io);
/* Behind that: all memory is given back. */
void gw_conn_fini(struct gw_io *io);
/* NULL without memory. fd becomes the connection's. */
struct conn *gw_conn_new(struct gw_io *io, int fd, unsigned listener);
/* The live connection of that index and generation, or NULL. */
struct conn *
gw_conn_find(struct gw_io *io, uint32_t index, uint32_t generation);
struct conn *gw_conn_at(struct gw_io *io, uint32_t index); /* NULL = free */
uint32_t gw_conn_limit(const struct gw_io *io); /* indexes in use are below */
void gw_conn_free(struct gw_io *io, struct conn *c); /* its fd is given away */
/* Stop at once: nothing more is read, answered or sent. */
void gw_conn_kill(struct gw_io *io, struct conn *c);
/* Is there a place for one more? Who has not said the password gives way. */
bool gw_conn_room(struct gw_io *io);
/* It has said the password, or is as new again. */
void gw_conn_trust(struct gw_io *io, struct conn *c, bool trusted);
/* It speaks HTTP: closed at once, nothing behind that is run. Says so. */
void gw_conn_http(struct gw_io *io, struct conn *c);
/* Something is to be done for it at the turn's end. */
static inline void
gw_conn_dirty(struct gw_io *io, struct conn *c)
{
	if ((c->flags & CONN_DIRTY) != 0)
		return;
	c->flags |= CONN_DIRTY;
	TAILQ_INSERT_TAIL(&io->dirty, c, dirty);
}
/* Received bytes; they are the caller's again when this returns. */
void
gw_conn_input(struct gw_io *io, struct conn *c, const uint8_t *data, size_t n);
void gw_conn_eof(struct gw_io *io, struct conn *c);
/* Nothing is owed to it and nothing it sent is left to do. */
bool gw_conn_settled(const struct conn *c);
bool gw_conn_wants_input(const struct conn *c);
static inline size_t
gw_conn_unsent(const struct conn *c)
{
	size_t n = sink_len(&c->out) + c->queued;

	return c->sending != NULL ? n - c->sending->sent : n;
}
/* Replies that owe nothing to ones before them go out; from is empty then. */
void gw_conn_emit(struct gw_io *io, struct conn *c, struct sink *from);
/* What is in c->out stands behind what is being sent. */
void gw_conn_queue(struct conn *c);
static inline void
gw_conn_go_on(struct gw_io *io, struct conn *c)
{
	io->up.go_on(io, c);
}

/* All clients may hold so much before one that does not read has to rest. */
static inline size_t
gw_output_ceiling(const struct gw_io *io)
{
	uint64_t quarter = io->w->conf->listen.client_memory / 4;

	return quarter > GW_OUT_HIGH ? quarter : GW_OUT_HIGH;
}

/* Has c too much to read before it is read itself? */
static inline bool
gw_output_rests(const struct gw_io *io, const struct conn *c)
{
	return gw_conn_unsent(c) >= GW_OUT_HIGH &&
	       io->pool.used >= gw_output_ceiling(io);
}

/* Are so many bytes more than one reply may have? */
static inline bool
gw_output_over(const struct gw_io *io, size_t n)
{
	return n > io->w->conf->listen.max_output + RES_FRAME;
}

/* One more. Is it to be told? Then *more were not, before it. */
bool gw_told_begin(const struct gw_io *io, struct told *t, uint64_t *more);

/* ---- input.c ---- */
/* c->in is there then. False without memory. */
bool gw_input_make(struct gw_io *io, struct conn *c);
bool gw_input_append(
    struct gw_io *io, struct conn *c, const uint8_t *data, size_t n);
void gw_input_free(struct conn *c);
/*
 * The command at the head of the input keeps its arguments where they are
 * until it is over: *argv then. False without memory.
 */
bool gw_input_pin(struct conn *c, uint32_t argc, const struct op_arg **argv);
void gw_input_unpin(struct conn *c);
/* What waited until the command at the head may move. True: there is some. */
bool gw_input_join(struct gw_io *io, struct conn *c);
/* A command that never ends is not read to its end: closed, and said. */
bool gw_input_over(struct gw_io *io, struct conn *c);

/* ---- memory.c ---- */
/* What c owns beside chunks may have changed: `above` is not its input. */
void gw_memory_changed(struct gw_io *io, struct conn *c, size_t above);
static inline void
gw_memory_note(struct gw_io *io, struct conn *c, size_t above)
{
	/* Mostly it owns nothing, and did not. */
	if (c->in != NULL || (above | c->plain) != 0)
		gw_memory_changed(io, c, above);
}
/* n more bytes are owned by nobody who could be closed for it, or less. */
static inline void
gw_memory_lend(struct gw_io *io, size_t n)
{
	io->lent += n;
	io->pool.used += n;
}
static inline void
gw_memory_returned(struct gw_io *io, size_t n)
{
	io->lent -= n;
	io->pool.used -= n;
}
/* What c makes this gateway hold; all of them: pool.used. */
size_t gw_memory_of(const struct gw_io *io, const struct conn *c);
/* Of that: for the arguments of the command at the head of its input. */
size_t gw_memory_of_args(const struct conn *c);
/* n more bytes came from c, or went to it. */
static inline void
gw_memory_moved(struct gw_io *io, const struct conn *c, size_t n)
{
	if (c->index == io->runner)
		io->runner_moved += n;
}
/* Every turn: hold back and close who holds too much; trim the heap. */
void gw_memory_turn(struct gw_io *io);
uint64_t gw_memory_deadline(const struct gw_io *io);

#endif
