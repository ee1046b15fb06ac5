/*
 * Private to workers/health: the health worker. It is the first to serve and
 * the last to stop, and it changes nothing but `control`: it may die at any
 * instruction, its successor takes over the listening sockets.
 */
#ifndef WORKERS_HEALTH_HEALTH_H
#define WORKERS_HEALTH_HEALTH_H

#include <stdbool.h>
#include <stdint.h>
#include "ipc/listener.h"
#include "ipc/loop.h"
#include "workers/health/lobby.h"
#include "workers/health/places.h"
#include "workers/health/text.h"
#include "workers/worker.h"

/* Kinds of completions; 0 is the loop's. */
enum {
	KIND_HTTP = 1, /* poll of libmicrohttpd's epoll descriptor */
	KIND_ACCEPT = 2, /* of the control socket */
	KIND_CONTROL = 3, /* a control connection: slot, generation */
	KIND_HTTP_ACCEPT = 4,
	KIND_LOBBY = 5, /* poll of the lobby's epoll descriptor */
};

#define CONTROL_CONNS 32
/* Of these, as many may wait for another worker: some are always for stop. */
#define CONTROL_WAITING  16
#define CONTROL_LINE_MAX 256
/* From accept to the whole line, and from the answer to its end. */
#define CONTROL_IO_NS (5 * NS_PER_S)
/* How often a request that waits for another worker looks again. */
#define CONTROL_LOOK_NS (10 * NS_PER_MS)
/* The longest that a request waits for another worker. */
#define CONTROL_WAIT_NS (3600 * NS_PER_S)

enum conn_state {
	CONN_FREE,
	CONN_READING, /* the line is not complete */
	CONN_WAITING, /* another worker is at it */
	CONN_WRITING,
};

struct health;

/* One control connection. */
struct conn {
	enum conn_state state;
	int fd;
	uint32_t generation;
	bool busy; /* an operation is in flight */
	uint64_t order; /* of coming */
	uint64_t deadline_ns;
	size_t line_len;
	char line[CONTROL_LINE_MAX];
	struct text reply;
	size_t sent;
	/* CONN_WAITING: what for */
	bool (*done)(struct conn *, struct health *, uint64_t now_ns);
	uint32_t wanted; /* count that control's word is to reach */
	uint64_t vlsn;
	uint64_t failures; /* of checkpoints, when one was asked for */
	uint64_t began_ns;
};

struct MHD_Daemon;

struct health {
	struct worker *w;
	struct region *r;
	struct loop loop;
	bool fired, fire_later; /* health_loop_start */
	struct MHD_Daemon *daemon;
	int epoll_fd; /* the daemon's */
	bool http_armed, http_ready;
	uint64_t http_due_ns;
	struct listener http_listener;
	struct places places; /* of the HTTP port */
	unsigned admissions; /* since they were heard last */
	struct place *admitted[PLACES_PER_ADDRESS];
	int lobby_fd; /* epoll over its guests */
	bool lobby_armed, lobby_ready;
	struct lobby lobby;
	struct listener listener; /* the control socket */
	uint64_t conns; /* came so far */
	struct conn conn[CONTROL_CONNS];
};

/* http.c. 0 or -errno. */
int http_open(struct health *h);
/* Serve what is there; arm the poll; note when it must run again. */
void http_turn(struct health *h);
uint64_t http_deadline(const struct health *h);

/* control.c: connections and the line protocol. */
int control_open(struct health *h);
void control_turn(struct health *h);
/* No further requests; those under way are finished. */
void control_drain(struct health *h);
bool control_idle(const struct health *h);
uint64_t control_deadline(const struct health *h);

/*
 * command.c: carry out one line. The reply starts with a line "ok", "error
 * WHY" or "denied WHY" (and what to do); what follows is for people. When
 * c->done is set the reply is not complete: done() is asked again until it
 * returns true. Without may_wait a command that would wait is refused.
 */
void command_run(struct health *h, struct conn *c, bool may_wait);

/* The same path as SIGTERM; idempotent. */
void health_stop_node(struct health *h);

#endif
