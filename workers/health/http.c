/*
 * HTTP through libmicrohttpd, without threads: its epoll descriptor is polled
 * by the worker's ring, and MHD_run() is called when it is ready or when a
 * connection's time is up. Without connections nothing wakes up.
 *
 * Connections are accepted here and handed to it, as its own limits help those
 * who fill them: its time-out starts anew with each byte, and who comes when
 * all places are taken waits. Here nobody stays longer than PLACES_STAY_NS
 * without an answer, and the longest gives way to who comes (places.h). Both
 * are done by shutting the socket down; libmicrohttpd sees the end and closes.
 */
#include "workers/health/health.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/log.h"
#include "workers/health/page.h"

#define HTTP_MEMORY   (16 * 1024) /* a request and its headers */
#define HTTP_BODY_MAX (16 * 1024) /* no page reads a body: thrown away */

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
	static char begun;
	struct health *h = ctx;
	struct page page;
	enum MHD_Result rc;

	(void)version;
	(void)body;
	if (*seen == NULL) {
		*seen = &begun;
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
	log_debug("http: %s", line);
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
http_arm(struct health *h)
{
	struct io_uring_sqe *sqe;

	if (h->http_armed || (sqe = loop_sqe(&h->loop)) == NULL)
		return;
	io_uring_prep_poll_add(sqe, h->epoll_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_HTTP, 0, 0));
	h->http_armed = true;
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

static void
http_displace(struct health *h, struct place *out)
{
	if (out != NULL)
		place_shut(h, out, C_HTTP_DISPLACED);
}

/*
 * Who came after `order` has not been read yet: it does not give way before
 * that. False: wait for it.
 */
static bool
http_begin(struct health *h, int fd, uint64_t order)
{
	struct sockaddr_storage from = { 0 };
	struct sockaddr *addr = (struct sockaddr *)&from;
	socklen_t len = sizeof(from);
	struct place *place, *out;

	if (getpeername(fd, addr, &len) != 0) {
		close(fd); /* it has left already */
		return true;
	}
	place = places_take(&h->places, fd, addr, h->loop.now_ns);
	ASSERT(place != NULL);
	/* The descriptor is its own now, also when it refuses. */
	if (MHD_add_connection(h->daemon, fd, addr, len) != MHD_YES) {
		place->state = PLACE_FREE;
		return true;
	}
	h->http_ready = true;
	out = places_displaced(&h->places, place);
	if (out != NULL && out->order > order) {
		h->http_newest = place;
		return false;
	}
	http_displace(h, out);
	return true;
}

/*
 * As many as find a place and do not have to give way to each other: those who
 * gave way to them leave with the next MHD_run(), which also reads what the
 * new ones have sent.
 */
static void
http_accept(struct health *h)
{
	struct listener *l = &h->http_listener;
	uint64_t order = h->places.orders;
	int fd;

	if (h->http_newest != NULL)
		http_displace(h, places_displaced(&h->places, h->http_newest));
	h->http_newest = NULL;
	listener_arm(l, &h->loop);
	while (!places_full(&h->places) &&
	       (fd = listener_next(l, h->loop.now_ns)) >= 0)
		if (!http_begin(h, fd, order))
			break;
	if (listener_pending(l, h->loop.now_ns))
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
	http_accept(h);
	while (h->http_ready || h->loop.now_ns >= h->http_due_ns) {
		h->http_ready = false;
		MHD_run(h->daemon);
		/* Only now: what had come in time has been read. */
		while ((late = places_late(&h->places, h->loop.now_ns)) != NULL)
			place_shut(h, late, C_HTTP_TIMEOUTS);
		h->http_due_ns = places_deadline(&h->places);
	}
	http_arm(h);
	/* Its epoll is edge-triggered: what it left over gives no edge. */
	if (MHD_get_timeout(h->daemon, &left_ms) == MHD_YES && left_ms == 0) {
		h->http_ready = true;
		h->loop.unready = true;
	}
}

uint64_t
http_deadline(const struct health *h)
{
	uint64_t accept_ns = listener_deadline(&h->http_listener);

	return accept_ns < h->http_due_ns ? accept_ns : h->http_due_ns;
}

int
http_open(struct health *h)
{
	const union MHD_DaemonInfo *info;
	int rc;

	h->http_due_ns = LOOP_NEVER;
	loop_on(&h->loop, KIND_HTTP, http_polled);
	loop_on(&h->loop, KIND_HTTP_ACCEPT, http_accepted);
	rc = listener_open(
	    &h->http_listener, h->w->http_fd, loop_tag(KIND_HTTP_ACCEPT, 0, 0));
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
