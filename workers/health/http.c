/*
 * HTTP through libmicrohttpd, without threads: its epoll descriptor is polled
 * by the worker's ring, and MHD_run() is called when it is ready or when a
 * connection's time is up. Without connections nothing wakes up.
 *
 * Connections are accepted here, as its own limits help those who fill them:
 * its time-out starts anew with each byte, and who comes when all places are
 * taken waits. Who comes is a guest (lobby.h) until its whole head is there;
 * then it is handed to libmicrohttpd, which answers in the same turn. Nobody
 * stays longer than PLACES_STAY_NS without an answer, and who stays though it
 * was heard, with half a body or by not reading its answer, gives way to who
 * comes (places.h). Both are done by shutting the socket down; libmicrohttpd
 * sees the end and closes.
 */
#include "workers/health/health.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "workers/health/page.h"

#define HTTP_MEMORY   (16 * 1024) /* a request and its headers */
#define HTTP_BODY_MAX (16 * 1024) /* no page reads a body: thrown away */
#define HTTP_PEEK     (4 * 1024) /* a head without end is heard from here on */
#define HTTP_TURN     64 /* who comes, or goes on, in one turn of the loop */
#define HTTP_FILES    256 /* descriptors that are no guest's */

static struct MHD_Response *
response_of(struct page *page)
{
	struct MHD_Response *res;
	char *data = page->body.data;
	size_t len = page->body.len;

	if (data == NULL)
		return MHD_create_response_from_buffer(
		    0, NULL, MHD_RESPMEM_PERSISTENT);
	res = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
	if (res != NULL)
		memset(&page->body, 0, sizeof(page->body));
	return res;
}

static enum MHD_Result
respond(struct MHD_Connection *conn, struct page *page)
{
	struct MHD_Response *res = response_of(page);
	enum MHD_Result rc;

	if (res == NULL)
		return MHD_NO;
	if (page->type != NULL)
		MHD_add_response_header(
		    res, MHD_HTTP_HEADER_CONTENT_TYPE, page->type);
	if (page->allow != NULL)
		MHD_add_response_header(
		    res, MHD_HTTP_HEADER_ALLOW, page->allow);
	MHD_add_response_header(res, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (page->code == 503)
		MHD_add_response_header(res, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	rc = MHD_queue_response(conn, page->code, res);
	MHD_destroy_response(res);
	return rc;
}

/*
 * A page from anywhere can make a browser on this machine post here; then it
 * says where the page is from. Probes and scripts do not.
 */
static bool
from_web_page(struct MHD_Connection *conn, const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_POST) == 0 &&
	       MHD_lookup_connection_value(
		   conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN) != NULL;
}

static struct place *
place_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	ASSERT(info != NULL && info->socket_context != NULL);
	return info->socket_context;
}

/* It closes a connection whose handler says no. */
static enum MHD_Result
swallow(struct place *place, size_t *body_size)
{
	place->body += *body_size;
	*body_size = 0;
	return place->body <= HTTP_BODY_MAX ? MHD_YES : MHD_NO;
}

/* Called with the headers, for each piece of a body, and at the end. */
static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *body,
    size_t *body_size, void **seen)
{
	struct health *h = ctx;
	struct page page;
	enum MHD_Result rc;

	(void)version;
	(void)body;
	if (*seen == NULL) {
		*seen = ctx; /* not NULL: this one was begun */
		return MHD_YES;
	}
	if (*body_size != 0)
		return swallow(place_of(conn), body_size);
	counter_add(h->r->counters, h->w->slot, C_HTTP_REQUESTS, 1);
	if (from_web_page(conn, method))
		page_refuse(&page, 403, "refused from a web page");
	else
		page_make(&page, method, url,
		    MHD_lookup_connection_value(
			conn, MHD_GET_ARGUMENT_KIND, "want"),
		    h->r, h->w->conf, mono_ns());
	rc = respond(conn, &page);
	text_free(&page.body);
	if (page.drain && rc == MHD_YES)
		health_stop_node(h);
	return rc;
}

/* A client's mistakes are no event of the node. */
static void
on_log(void *ctx, const char *fmt, va_list ap)
{
	char line[256];

	(void)ctx;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	say_debug("http: %s", line);
}

static void
http_polled(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct health *h = ctx;

	(void)slot;
	(void)generation;
	(void)flags;
	(void)res;
	h->http_armed = false;
	h->http_ready = true;
}

static void
lobby_polled(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct health *h = ctx;

	(void)slot;
	(void)generation;
	(void)flags;
	(void)res;
	h->lobby_armed = false;
	h->lobby_ready = true;
}

static void
poll_arm(struct health *h, int fd, unsigned kind, bool *armed)
{
	struct io_uring_sqe *sqe;

	if (*armed || (sqe = loop_sqe(&h->loop)) == NULL)
		return;
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	io_uring_sqe_set_data64(sqe, loop_tag(kind, 0, 0));
	*armed = true;
}

/* A connection begins and ends; while it is open, its place is its own. */
static void
on_connection(void *ctx, struct MHD_Connection *conn, void **context,
    enum MHD_ConnectionNotificationCode code)
{
	struct health *h = ctx;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		((struct place *)*context)->state = PLACE_FREE;
		return;
	}
	info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	ASSERT(info != NULL);
	*context = places_find(&h->places, info->connect_fd);
	ASSERT(*context != NULL);
}

static void
on_answered(void *ctx, struct MHD_Connection *conn, void **seen,
    enum MHD_RequestTerminationCode code)
{
	struct health *h = ctx;

	(void)seen;
	(void)code;
	places_answered(&h->places, place_of(conn), h->loop.now_ns);
}

static void
place_shut(struct health *h, struct place *place, enum counter why)
{
	shutdown(place->fd, SHUT_RDWR);
	place->state = PLACE_LEAVING;
	h->http_ready = true;
	counter_add(h->r->counters, h->w->slot, why, 1);
}

/* One whose head is there: it has a place until it is heard, at least. */
static void
http_admit(struct health *h, int fd, uint64_t came_ns)
{
	struct sockaddr_storage from = { 0 };
	struct sockaddr *addr = (struct sockaddr *)&from;
	socklen_t len = sizeof(from);
	struct place *place;

	if (getpeername(fd, addr, &len) != 0) {
		close(fd); /* it has left already */
		return;
	}
	place = places_take(&h->places, fd, addr, came_ns);
	ASSERT(place != NULL);
	/* The descriptor is its own now, also when it refuses. */
	if (MHD_add_connection(h->daemon, fd, addr, len) != MHD_YES) {
		place->state = PLACE_FREE;
		return;
	}
	h->admitted[h->admissions++] = place;
	h->http_ready = true;
}

/* No more than one address may have: none of them gives way to the others. */
static bool
http_admits(const struct health *h)
{
	return h->admissions < PLACES_PER_ADDRESS && !places_full(&h->places);
}

/*
 * Who was admitted is answered here, and so is whatever has come from others:
 * who gives way to them has been heard.
 */
static void
http_run(struct health *h)
{
	struct place *out;

	h->http_ready = false;
	MHD_run(h->daemon);
	while (h->admissions > 0) {
		out = places_displaced(
		    &h->places, h->admitted[h->admissions - 1]);
		if (out != NULL)
			place_shut(h, out, C_HTTP_DISPLACED);
		else
			h->admissions--;
	}
}

enum heard {
	HEARD_PART,
	HEARD_HEAD, /* or so much that it is no longer waited for */
	HEARD_END,
};

/* What is there stays there: libmicrohttpd reads it. */
static enum heard
guest_hear(int fd)
{
	char head[HTTP_PEEK];
	ssize_t n = recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? HEARD_PART : HEARD_END;
	if (n == 0)
		return HEARD_END;
	return n == HTTP_PEEK || lobby_head_ends(head, (size_t)n) ? HEARD_HEAD
								  : HEARD_PART;
}

static void
guest_close(struct health *h, struct guest *guest, enum counter why)
{
	close(lobby_remove(&h->lobby, guest));
	counter_add(h->r->counters, h->w->slot, why, 1);
}

static void
guest_wait(struct health *h, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };

	if (lobby_full(&h->lobby))
		guest_close(h, lobby_oldest(&h->lobby), C_HTTP_DISPLACED);
	ev.data.ptr = lobby_add(&h->lobby, fd, h->loop.now_ns);
	/* Without it (no memory) its time will be up. */
	(void)epoll_ctl(h->lobby_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* Most have their whole request there when they are accepted. */
static void
guest_begin(struct health *h, int fd)
{
	switch (guest_hear(fd)) {
	case HEARD_PART:
		guest_wait(h, fd);
		return;
	case HEARD_HEAD:
		http_admit(h, fd, h->loop.now_ns);
		return;
	case HEARD_END:
		close(fd);
		return;
	}
}

static void
guest_event(struct health *h, struct guest *guest, uint32_t events)
{
	enum heard heard = guest_hear(guest->fd);
	uint64_t came_ns = guest->came_ns;
	int fd;

	if (heard == HEARD_PART && (events & (EPOLLRDHUP | EPOLLHUP)) == 0)
		return;
	fd = lobby_remove(&h->lobby, guest);
	(void)epoll_ctl(h->lobby_fd, EPOLL_CTL_DEL, fd, NULL);
	if (heard == HEARD_HEAD)
		http_admit(h, fd, came_ns);
	else
		close(fd);
}

/* One event at a time: the next may be of a guest that this one ends. */
static void
lobby_turn(struct health *h)
{
	unsigned left = HTTP_TURN;
	struct epoll_event ev;
	struct guest *guest;

	while (h->lobby_ready && left > 0 && http_admits(h)) {
		left--;
		h->lobby_ready = epoll_wait(h->lobby_fd, &ev, 1, 0) == 1;
		if (h->lobby_ready)
			guest_event(h, ev.data.ptr, ev.events);
	}
	if (h->lobby_ready)
		h->loop.unready = true;
	else
		while ((guest = lobby_oldest(&h->lobby)) != NULL &&
		       h->loop.now_ns >= guest->came_ns + PLACES_STAY_NS)
			guest_close(h, guest, C_HTTP_TIMEOUTS);
	poll_arm(h, h->lobby_fd, KIND_LOBBY, &h->lobby_armed);
}

/*
 * When the lobby is full of guests that had no chance yet, the others wait in
 * the kernel's queue until one had.
 */
static void
http_accept(struct health *h)
{
	struct listener *l = &h->http_listener;
	uint64_t now_ns = h->loop.now_ns;
	unsigned left = HTTP_TURN;
	int fd;

	listener_arm(l, &h->loop);
	while (left-- > 0 && http_admits(h) &&
	       !lobby_closed(&h->lobby, now_ns) &&
	       (fd = listener_next(l, now_ns)) >= 0)
		guest_begin(h, fd);
	if (listener_pending(l, now_ns) && !lobby_closed(&h->lobby, now_ns))
		h->loop.unready = true;
}

static void
http_accepted(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct health *h = ctx;

	(void)slot;
	(void)generation;
	listener_event(&h->http_listener, res, flags);
}

void
http_turn(struct health *h)
{
	MHD_UNSIGNED_LONG_LONG left_ms;
	struct place *late;

	if (h->daemon == NULL)
		return;
	lobby_turn(h);
	http_accept(h);
	while (h->http_ready || h->loop.now_ns >= h->http_due_ns) {
		http_run(h);
		/* Only now: what had come in time has been read. */
		while ((late = places_late(&h->places, h->loop.now_ns)) != NULL)
			place_shut(h, late, C_HTTP_TIMEOUTS);
		h->http_due_ns = places_deadline(&h->places);
	}
	poll_arm(h, h->epoll_fd, KIND_HTTP, &h->http_armed);
	/* Its epoll is edge-triggered: what it left over gives no edge. */
	if (MHD_get_timeout(h->daemon, &left_ms) == MHD_YES && left_ms == 0) {
		h->http_ready = true;
		h->loop.unready = true;
	}
}

/* When the first guest's time is up, or its chance while the lobby is closed.
 */
static uint64_t
lobby_deadline(const struct health *h)
{
	const struct guest *guest = lobby_oldest(&h->lobby);

	if (guest == NULL)
		return LOOP_NEVER;
	return guest->came_ns + (lobby_closed(&h->lobby, h->loop.now_ns)
					? LOBBY_CHANCE_NS
					: PLACES_STAY_NS);
}

uint64_t
http_deadline(const struct health *h)
{
	uint64_t accept_ns = listener_deadline(&h->http_listener);
	uint64_t first_ns = lobby_deadline(h);

	if (accept_ns < first_ns)
		first_ns = accept_ns;
	return h->http_due_ns < first_ns ? h->http_due_ns : first_ns;
}

/* As many guests as there are descriptors for. */
static int
lobby_begin(struct health *h)
{
	struct rlimit rl = { .rlim_cur = 0 };
	rlim_t want = LOBBY_MAX + HTTP_FILES;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < want) {
		rl.rlim_cur = want < rl.rlim_max ? want : rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
		(void)getrlimit(RLIMIT_NOFILE, &rl);
	}
	if (rl.rlim_cur > want)
		rl.rlim_cur = want;
	lobby_open(&h->lobby, rl.rlim_cur > HTTP_FILES
				  ? (unsigned)(rl.rlim_cur - HTTP_FILES)
				  : 1);
	h->lobby_fd = epoll_create1(EPOLL_CLOEXEC);
	return h->lobby_fd < 0 ? -errno : 0;
}

int
http_open(struct health *h)
{
	const union MHD_DaemonInfo *info;
	int rc;

	h->http_due_ns = LOOP_NEVER;
	loop_on(&h->loop, KIND_HTTP, http_polled);
	loop_on(&h->loop, KIND_HTTP_ACCEPT, http_accepted);
	loop_on(&h->loop, KIND_LOBBY, lobby_polled);
	rc = listener_open(
	    &h->http_listener, h->w->http_fd, loop_tag(KIND_HTTP_ACCEPT, 0, 0));
	if (rc == 0)
		rc = lobby_begin(h);
	if (rc != 0)
		return rc;
	/* Never stopped: the process' end closes what is open. */
	h->daemon = MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0,
	    NULL, NULL, on_request, h, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)PLACES_ALL, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)HTTP_MEMORY, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
	    MHD_OPTION_NOTIFY_COMPLETED, on_answered, h,
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_EXTERNAL_LOGGER,
	    on_log, NULL, MHD_OPTION_END);
	if (h->daemon == NULL)
		return errno != 0 ? -errno : -ENOMEM;
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || info->epoll_fd < 0)
		return -ENOTSUP;
	h->epoll_fd = info->epoll_fd;
	h->http_ready = true;
	return 0;
}
