/*
 * A data connection that is ready changes hands: group has listened or dialled,
 * authenticated and agreed on the matchpoint; wal (or, feeding from segment
 * files, restore) speaks on it from there. Over a socket pair of the
 * supervisor's (SOCK_SEQPACKET, made for each region), one message each: the
 * offer, and the socket beside it (SCM_RIGHTS).
 */
#ifndef IPC_HANDOVER_H
#define IPC_HANDOVER_H

#include "ipc/link_core.h"

struct data_offer {
	struct link_handed link; /* .role: FROM_DIALER receives, else feeds */
	uint32_t window; /* bytes that may be under way, not acknowledged */
	uint8_t member; /* index of the other end in the commit view */
	uint8_t zero[3];
};

/* 0 or -errno (-EAGAIN: the receiver is behind); data_fd stays the caller's. */
int handover_send(int pair_fd, const struct data_offer *offer, int data_fd);
/*
 * The next one, if there is one: 0 and *data_fd is the caller's, non-blocking;
 * -EAGAIN: none; -EPIPE: the other end is gone; -EBADMSG: no offer, dropped.
 */
int handover_recv(int pair_fd, struct data_offer *offer, int *data_fd);

#endif
