/*
 * Data connections: the log's own bytes from the master's wal to the other
 * members', acknowledgements back. group hands over a socket that is ready
 * (ipc/handover.h); from there on everything of it is here:
 *	data.c		whom it belongs to, its ends, what is on the ring
 *	feed.c		role listener: frames out of the buffer, acks in
 *	receive.c	role dialer: frames into the log, acks out
 */
#ifndef WORKERS_WAL_DATA_H
#define WORKERS_WAL_DATA_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stdint.h>

#include "ipc/handover.h"
#include "shm/log/record.h"

/* One a member, and those before them whose last completions are awaited. */
#define DATA_CONNS (2 * MEMBER_MAX)
#define DATA_HEAD  64 /* of a frame: its message; or an ack */
/* Bytes received and not taken yet; of acks, and of records: more than one. */
#define DATA_IN_ACKS    4096u
#define DATA_IN_RECORDS (2 * REC_LEN_MAX)
#define FEED_PIECES     32 /* of a frame: runs of records between heads */
#define FEED_FRAMES     1024 /* not acknowledged */
#define FEED_FRAME_MAX  (512u * 1024) /* but for one record that is longer */
/* So late a connection without records is told what is committed. */
#define FEED_TELL_NS (2 * NS_PER_MS)
/* So long a stop waits for a replica to be sent the rest. */
#define FEED_STOP_NS (300 * NS_PER_MS)

struct wal;

enum data_state {
	DATA_FREE,
	DATA_OPEN,
	DATA_ENDING /* told and shut down: its completions are awaited */
};

/* A frame that was given to the kernel. */
struct feed_frame {
	uint64_t last; /* VLSN */
	uint64_t bytes; /* all that was sent up to there, with it */
};

struct data_conn {
	enum data_state state;
	bool feeds; /* role listener */
	uint8_t member;
	uint16_t epoch; /* this node's: nothing counts in another one */
	uint32_t generation; /* of its completions */
	int fd;
	uint64_t term, connection;
	uint32_t window;
	struct link_core link;
	bool receiving, sending; /* on the ring */
	bool dry; /* the socket had no more than was taken */
	uint8_t *in; /* in_at .. in_len: not taken yet */
	uint32_t in_room, in_at, in_len;
	/* What is being sent. */
	uint8_t head[DATA_HEAD];
	struct iovec iov[1 + FEED_PIECES];
	struct msghdr msg;
	uint64_t bytes; /* of the log: ever sent, or received */

	/* feed.c */
	uint64_t position; /* log position of what comes next */
	uint64_t held; /* while sending: the kernel reads from there on */
	uint64_t sent, acked; /* VLSN */
	uint64_t acked_bytes;
	uint64_t told; /* committed, as the newest frame has it */
	uint64_t tell_ns; /* when a frame without records is due; 0 = unset */
	struct feed_frame before; /* newest that is acknowledged whole */
	struct feed_frame frame[FEED_FRAMES];
	uint32_t first, frames;

	/* receive.c */
	uint64_t committed; /* newest that was told */
	uint64_t last; /* of the frame that is being received */
	uint64_t said; /* durable, as the newest ack has it */
	bool any; /* one was sent */
	bool blocked; /* what came waits for room */
};

struct wal_data {
	struct data_conn conn[DATA_CONNS];
	uint32_t open; /* how many are */
	uint32_t feeds; /* of them */
	uint32_t sends; /* on the ring, of all states */
	int receiver; /* index of the other one, -1 = there is none */
	bool polling, gone; /* for offers; nobody makes any */
	bool waiting; /* one is there, perhaps */
	/* Nothing from there on is overwritten: the kernel reads it. */
	uint64_t hold;
	uint64_t stop_ns; /* feeds end then at the latest; 0 = no stop */
	struct link_self self;
	struct auth_key key;
	union msg msg; /* that is being taken */
};

void wal_data_open(struct wal *w);
/* Offers, and ends for epochs, time and the log's state. */
void wal_data_turn(struct wal *w);
/* Frames and acks for what this turn has appended, or flushed. */
void wal_data_send(struct wal *w);
/* Those of epochs that are fenced off end, and what feeds this node. */
void wal_data_fence(struct wal *w);
/* The log needs what is below `oldest`: who is still there ends. */
void wal_data_lap(struct wal *w, uint64_t oldest);
uint64_t wal_data_deadline(const struct wal *w);
/* Are all told that this node stops? */
bool wal_data_stopped(struct wal *w);

/* receive.c: append what came. */
void wal_receive_turn(struct wal *w);
/* Is there something that waited, and could be appended now? */
bool wal_receive_ready(const struct wal *w);

/* ---- among the three ---- */

/*
 * It ends: reason: enum msg_reason, or PEER_ENDED_FEED + enum feed_end; 0: the
 * connection broke. The other end is told what it can be told. Logs.
 */
__attribute__((format(printf, 4, 5))) void data_end(
    struct wal *w, struct data_conn *c, unsigned reason, const char *fmt, ...);
/* By what link_take() or link_tick() said. */
void
data_dropped(struct wal *w, struct data_conn *c, const struct link_out *out);
/* Submit c->head[0 .. head_len) and n further pieces in c->iov. */
void
data_send(struct wal *w, struct data_conn *c, uint32_t head_len, unsigned n);
struct peer_row *data_row(const struct wal *w, const struct data_conn *c);

/* False: it has ended. */
bool feed_open(struct wal *w, struct data_conn *c);
void feed_take(struct wal *w, struct data_conn *c);
void feed_send(struct wal *w, struct data_conn *c);
void feed_sent(struct wal *w, struct data_conn *c);
void feed_end(struct wal *w, struct data_conn *c);
bool receive_open(struct wal *w, struct data_conn *c);
void receive_send(struct wal *w, struct data_conn *c);

#endif
