/*
 * Listening sockets: poll, then accept until nothing is left.
 */
#include "ipc/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include "shm/say.h"

int
listener_open(struct listener *l, int fd, uint64_t tag)
{
	int flags = fcntl(fd, F_GETFL);

	memset(l, 0, sizeof(*l));
	l->fd = -1;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		return -errno;
	l->fd = fd;
	l->tag = tag;
	return 0;
}

void
listener_event(struct listener *l, int res, uint32_t cqe_flags)
{
	l->armed = (cqe_flags & IORING_CQE_F_MORE) != 0;
	l->ready = l->fd >= 0 && res != -ECANCELED;
}

void
listener_arm(struct listener *l, struct loop *loop)
{
	struct io_uring_sqe *sqe;

	if (l->fd < 0 || l->armed || (sqe = loop_sqe(loop)) == NULL)
		return;
	/* Reports at once what was there before it. */
	io_uring_prep_poll_multishot(sqe, l->fd, POLLIN);
	io_uring_sqe_set_data64(sqe, l->tag);
	l->armed = true;
}

static bool
accept_is_transient(int error)
{
	return error == ECONNABORTED || error == EINTR || error == EPROTO;
}

static void
listener_failed(struct listener *l, int error, uint64_t now_ns)
{
	if (l->again_ns == 0)
		say_warnx("accept: %s; the next try is in %u ms",
		    strerror(error), (unsigned)(LISTENER_RETRY_NS / NS_PER_MS));
	l->failed_again = l->again_ns != 0;
	l->error = error;
	l->again_ns = now_ns + LISTENER_RETRY_NS;
}

int
listener_next(struct listener *l, uint64_t now_ns)
{
	int fd;

	if (!listener_pending(l, now_ns))
		return -1;
	do
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && accept_is_transient(errno));
	if (fd < 0 && errno != EAGAIN) {
		listener_failed(l, errno, now_ns);
		return -1;
	}
	l->again_ns = 0;
	l->error = 0;
	l->ready = fd >= 0;
	return fd;
}

bool
listener_pending(const struct listener *l, uint64_t now_ns)
{
	return l->fd >= 0 && l->ready && now_ns >= l->again_ns;
}

uint64_t
listener_deadline(const struct listener *l)
{
	return l->fd >= 0 && l->ready && l->again_ns != 0 ? l->again_ns
							  : LOOP_NEVER;
}

void
listener_close(struct listener *l, struct loop *loop)
{
	struct io_uring_sqe *sqe;

	if (l->fd >= 0 && l->armed && (sqe = loop_sqe(loop)) != NULL) {
		io_uring_prep_cancel64(sqe, l->tag, 0);
		io_uring_sqe_set_data64(sqe, l->tag);
	}
	l->fd = -1;
	l->ready = false;
}
