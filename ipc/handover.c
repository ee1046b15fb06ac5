/*
 * Sockets from one process to another.
 */
#include "ipc/handover.h"

#include <sys/socket.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

int
handover_send(int pair_fd, const struct data_offer *offer, int data_fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct data_offer copy = *offer;
	struct iovec iov = { &copy, sizeof(copy) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &data_fd, sizeof(int));
	return sendmsg(pair_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno
								     : 0;
}

int
handover_recv(int pair_fd, struct data_offer *offer, int *data_fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { offer, sizeof(*offer) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	ssize_t n;

	*data_fd = -1;
	n = recvmsg(pair_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	for (c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(data_fd, CMSG_DATA(c), sizeof(int));
	if (n == 0 && *data_fd < 0)
		return -EPIPE;
	if (n == sizeof(*offer) && *data_fd >= 0)
		return 0;
	if (*data_fd >= 0)
		close(*data_fd);
	*data_fd = -1;
	return -EBADMSG;
}
