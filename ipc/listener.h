/*
 * A listening socket on a worker's ring: polled by a multishot request,
 * emptied by accept4().
 *
 * Not by accept requests of the ring: they wait exclusively, a new connection
 * wakes one of them only. The ring of a killed worker outlives it by some
 * 40 ms, and a connection that came then would wake the dead request and
 * nobody else: its client would wait until the next one came. A poll wakes
 * everybody; who finds nothing left sleeps again.
 */
#ifndef IPC_LISTENER_H
#define IPC_LISTENER_H

#include "ipc/loop.h"

/* After a failed accept (no descriptors left, say) the next try. */
#define LISTENER_RETRY_NS (100 * NS_PER_MS)

struct listener {
	int fd; /* -1 = none */
	bool armed; /* the poll is in flight */
	bool ready; /* connections may be waiting */
	uint64_t tag; /* user_data of the poll */
	uint64_t again_ns; /* no accept before; 0 = the last one did not fail */
	int error; /* errno of the last one; 0 = it did not fail */
	bool failed_again; /* and the one before, too */
};

/*
 * fd is listening, or will be, and stays the caller's; it becomes
 * non-blocking. tag, by loop_tag(), says where completions of the poll go:
 * their handler hands them to listener_event(). 0 or -errno.
 */
int listener_open(struct listener *l, int fd, uint64_t tag);
void listener_event(struct listener *l, int res, uint32_t cqe_flags);
/* Every turn: arm what is not armed. */
void listener_arm(struct listener *l, struct loop *loop);
/*
 * The next connection, close-on-exec, or -1: none now. The caller need not
 * take all that wait; it asks again in a later turn. Logs a failure once.
 */
int listener_next(struct listener *l, uint64_t now_ns);
/* Is there something to take? Asked before sleeping. */
bool listener_pending(const struct listener *l, uint64_t now_ns);
/* When listener_next() is to be tried again, or LOOP_NEVER. */
uint64_t listener_deadline(const struct listener *l);
/* Ends the poll; nothing is taken any more. */
void listener_close(struct listener *l, struct loop *loop);

#endif
