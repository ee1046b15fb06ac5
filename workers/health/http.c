/*
 * HTTP through libmicrohttpd, without threads: its epoll descriptor is polled
 * by the worker's ring, and MHD_run() is called when it is ready or when a
 * connection's time-out is due. Without connections nothing wakes up.
 */
#include "workers/health/health.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/log.h"
#include "workers/health/page.h"

#define HTTP_CONNECTIONS 128
#define HTTP_TIMEOUT_S   15 /* an idle connection is closed */
#define HTTP_MEMORY      (16 * 1024) /* a request and its headers */

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
	if (*body_size != 0) {
		*body_size = 0; /* no page reads a body */
		return MHD_YES;
	}
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

void
http_turn(struct health *h)
{
	MHD_UNSIGNED_LONG_LONG left_ms;

	if (h->daemon == NULL)
		return;
	if (h->http_ready || h->loop.now_ns >= h->http_due_ns) {
		h->http_ready = false;
		MHD_run(h->daemon);
	}
	http_arm(h);
	h->http_due_ns = LOOP_NEVER;
	if (MHD_get_timeout(h->daemon, &left_ms) != MHD_YES)
		return;
	h->http_due_ns = h->loop.now_ns + left_ms * NS_PER_MS;
	/* Its epoll is edge-triggered: what it left over gives no edge. */
	if (left_ms == 0) {
		h->http_ready = true;
		h->loop.unready = true;
	}
}

int
http_open(struct health *h)
{
	const union MHD_DaemonInfo *info;
	int fl = fcntl(h->w->http_fd, F_GETFL);

	h->http_due_ns = LOOP_NEVER;
	if (fl < 0 || fcntl(h->w->http_fd, F_SETFL, fl | O_NONBLOCK) < 0)
		return -errno;
	/*
	 * Never stopped: that would shut down a socket which is not ours alone
	 * and which our successor takes over. The process' end closes it.
	 */
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL,
	    NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, h->w->http_fd,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY,
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_EXTERNAL_LOGGER,
	    on_log, NULL, MHD_OPTION_END);
	if (h->daemon == NULL)
		return errno != 0 ? -errno : -ENOMEM;
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || info->epoll_fd < 0)
		return -ENOTSUP;
	h->epoll_fd = info->epoll_fd;
	loop_on(&h->loop, KIND_HTTP, http_polled);
	h->http_ready = true;
	return 0;
}
