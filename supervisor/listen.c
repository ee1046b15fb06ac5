/*
 * Listening sockets. "Port in use" must be found at once, long before the
 * gateways listen(). A bind with SO_REUSEADDR would share the port with
 * another socket that is bound but does not listen yet (a second node that is
 * starting), so the first try goes without it; only if that fails, perhaps on
 * connections of an earlier node in TIME_WAIT, the second goes with it. The
 * option is set before listen(), by gateways, too: connections inherit it, so
 * that they in turn do not stand in a later bind's way.
 *
 * A socket that does not listen, not yet or not for a while, has the option
 * off: then nobody can have its port, whatever he sets.
 */
#include "supervisor/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/fault.h"

#define HTTP_BACKLOG    SOMAXCONN /* a crowd keeps no probe out */
#define CONTROL_BACKLOG 64
#define PORT_TRIES      16

static int
set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0
								       : -errno;
}

static int
set_reuse(int fd, int value)
{
	return set_option(fd, SOL_SOCKET, SO_REUSEADDR, value);
}

static int
listen_begin(int fd, int backlog)
{
	int rc = set_reuse(fd, 1);

	if (rc == 0 && listen(fd, backlog) == 0)
		return 0;
	if (rc == 0)
		rc = -errno;
	set_reuse(fd, 0);
	return rc;
}

/* Not close(): workers have it, too. */
static void
listen_end(int fd)
{
	set_reuse(fd, 0);
	shutdown(fd, SHUT_RDWR);
}

static int
bind_fd(int fd, const struct conf_addr *a)
{
	if (bind(fd, (const struct sockaddr *)&a->addr, a->addr_len) == 0)
		return 0;
	return -errno;
}

/* A TCP socket bound to this address, or -errno. */
static int
tcp_bind_to(const struct conf_addr *a)
{
	int family = a->addr.ss_family;
	int fd, rc = 0;

	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* 0.0.0.0 and [::] may both be asked for. */
	if (family == AF_INET6)
		rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (rc == 0)
		rc = bind_fd(fd, a);
	if (rc == -EADDRINUSE) {
		rc = set_reuse(fd, 1);
		if (rc == 0)
			rc = bind_fd(fd, a);
		set_reuse(fd, 0);
	}
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

static uint16_t
addr_port(const struct conf_addr *a)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->addr;

	return ntohs(
	    a->addr.ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
}

static void
addr_set_port(struct conf_addr *a, uint16_t port)
{
	if (a->addr.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->addr)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&a->addr)->sin_port = htons(port);
}

/* What the socket is bound to. */
static struct conf_addr
bound_addr(int fd)
{
	struct conf_addr a = { .addr_len = sizeof(a.addr) };

	getsockname(fd, (struct sockaddr *)&a.addr, &a.addr_len);
	return a;
}

/*
 * The same; port 0 is any. A port that the system chose would be lost when
 * the socket stops listening (listen_refuse()), one that was asked for stays:
 * so ask for the one that it chose.
 */
static int
tcp_bind(const struct conf_addr *a)
{
	struct conf_addr chosen;
	int fd = tcp_bind_to(a);

	for (int i = 0; fd >= 0 && addr_port(a) == 0 && i < PORT_TRIES; i++) {
		chosen = bound_addr(fd);
		close(fd);
		if ((fd = tcp_bind_to(&chosen)) != -EADDRINUSE)
			return fd;
		/* Somebody was faster. */
		fd = tcp_bind_to(a);
	}
	return fd;
}

/*
 * The same; what is in use now may be a node's that was killed a moment ago:
 * an io_uring that had a request for the socket goes some 40 ms after its
 * process.
 */
static int
tcp_bind_patiently(const struct conf_addr *a, uint64_t until_ns)
{
	int fd;

	while ((fd = tcp_bind(a)) == -EADDRINUSE && mono_ns() < until_ns)
		(void)poll(NULL, 0, LISTEN_RETRY_MS);
	return fd;
}

/* What the socket is bound to, as text; and its port. */
static uint16_t
bound_text(int fd, char *buf, size_t buf_size)
{
	struct conf_addr a = bound_addr(fd);
	char host[INET6_ADDRSTRLEN] = "?";
	bool v6 = a.addr.ss_family == AF_INET6;
	const void *raw;

	if (v6)
		raw = &((struct sockaddr_in6 *)&a.addr)->sin6_addr;
	else
		raw = &((struct sockaddr_in *)&a.addr)->sin_addr;
	inet_ntop(a.addr.ss_family, raw, host, sizeof(host));
	snprintf(buf, buf_size, v6 ? "[%s]:%u" : "%s:%u", host,
	    (unsigned)addr_port(&a));
	return addr_port(&a);
}

/* Why an address cannot be had; `why` of a name that nobody knows. A code. */
static int
refuse_address(const char *key, const char *text, const char *why, int error)
{
	char object[CONF_ADDR_SIZE + 32];
	const struct fault f = {
		.object = object,
		.error = why != NULL ? ENOENT : -error,
		.what = why,
		.place = PLACE_LISTEN,
	};

	snprintf(object, sizeof(object), "[listen] %s: %s", key, text);
	/* A name, too, may be there at another try. */
	return refuse_fault(why != NULL ? EX_NOHOST : refuse_code(error), &f);
}

/*
 * Bind every address that `text` names, at most fd_max. How many, or an exit
 * code as a negative number, having refused. A name may stand for families
 * that this machine lacks: one address that can be had is enough.
 */
static int
bind_all(const char *key, const char *text, int *fd, unsigned fd_max,
    char *first, size_t first_size, uint64_t until_ns)
{
	struct conf_addr list[LISTEN_MAX];
	const char *why = NULL;
	int count, error = 0, got = 0;
	uint16_t port = 0;

	count = conf_addr_resolve(text, list, fd_max, &why);
	if (count < 0)
		return -refuse_address(key, text, why, count);
	for (int i = 0; i < count; i++) {
		/* Port 0: what the first got is everybody's. */
		if (got > 0 && addr_port(&list[i]) == 0)
			addr_set_port(&list[i], port);
		int rc = tcp_bind_patiently(&list[i], until_ns);

		if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL) {
			error = rc;
			continue;
		}
		if (rc < 0) {
			error = rc;
			goto fail;
		}
		fd[got++] = rc;
		if (got == 1)
			port = bound_text(rc, first, first_size);
	}
	if (got > 0)
		return got;
fail:
	while (got > 0) {
		close(fd[--got]);
		fd[got] = -1;
	}
	return -refuse_address(key, text, NULL, error);
}

int
listen_check(const struct conf *conf)
{
	const struct {
		const char *key, *text;
	} list[] = { { "client", conf->listen.client },
		{ "http", conf->listen.http }, { "peer", conf->listen.peer } };
	struct conf_addr addr;
	const char *why;
	int rc = 0, found;

	for (size_t i = 0; i < NITEMS(list); i++) {
		why = NULL;
		if (list[i].text == conf->listen.peer &&
		    !conf_wants_peers(conf))
			continue;
		found = conf_addr_resolve(list[i].text, &addr, 1, &why);
		if (found < 0)
			rc = refuse_address(
			    list[i].key, list[i].text, why, found);
	}
	return rc;
}

/* "run_dir/control.sock" */
static void
control_path(const struct conf *conf, char *buf, size_t buf_size)
{
	snprintf(buf, buf_size, "%s/control.sock", conf->node.run_dir);
}

static int
open_clients(struct listeners *l, const struct conf *conf,
    const struct rights *rights, uint64_t until_ns)
{
	const char *path = conf->listen.client_unix;
	int rc;

	rc = bind_all("client", conf->listen.client, l->fd, LISTEN_MAX - 1,
	    l->client_addr, sizeof(l->client_addr), until_ns);
	if (rc < 0)
		return -rc;
	if (path[0] == '\0')
		return 0;
	if ((l->fd[rc] = listen_unix(path, rights, until_ns)) >= 0)
		return 0;
	return listen_unix_refuse("[listen] client_unix", path, l->fd[rc]);
}

/* Who has no others to talk to takes no port for them. */
static int
open_peers(struct listeners *l, const struct conf *conf, uint64_t until_ns)
{
	int rc;

	l->peer_addr[0] = '\0';
	if (!conf_wants_peers(conf))
		return 0;
	rc = bind_all("peer", conf->listen.peer, l->peer_fd, LISTEN_MAX,
	    l->peer_addr, sizeof(l->peer_addr), until_ns);
	return rc < 0 ? -rc : 0;
}

static int
open_control(struct listeners *l, const struct conf *conf,
    const struct rights *rights, uint64_t until_ns)
{
	char path[CONF_UNIX_SIZE];
	int rc;

	control_path(conf, path, sizeof(path));
	/* The process id file is ours, so nobody is behind this name. */
	listen_unix_remove(path);
	if ((rc = l->control_fd = listen_unix(path, rights, until_ns)) >= 0)
		return 0;
	return listen_unix_refuse("control socket", path, rc);
}

static int
open_http(struct listeners *l, const struct conf *conf, uint64_t until_ns)
{
	int rc;

	/* One socket: a name with several addresses counts by its first. */
	rc = bind_all("http", conf->listen.http, &l->http_fd, 1, l->http_addr,
	    sizeof(l->http_addr), until_ns);
	return rc < 0 ? -rc : 0;
}

int
listen_open(struct listeners *l, const struct conf *conf,
    const struct rights *rights, unsigned wait_ms)
{
	uint64_t until_ns = mono_ns() + wait_ms * NS_PER_MS;
	int rc;

	for (unsigned i = 0; i < LISTEN_MAX; i++)
		l->fd[i] = l->peer_fd[i] = -1;
	l->http_fd = l->control_fd = -1;
	if ((rc = open_clients(l, conf, rights, until_ns)) != 0 ||
	    (rc = open_peers(l, conf, until_ns)) != 0 ||
	    (rc = open_http(l, conf, until_ns)) != 0 ||
	    (rc = open_control(l, conf, rights, until_ns)) != 0)
		listen_close(l, conf);
	return rc;
}

static bool
is_unix(int fd)
{
	return bound_addr(fd).addr.ss_family == AF_UNIX;
}

void
listen_refuse(struct listeners *l, bool for_good)
{
	/*
	 * Clients of a unix socket are on this host and have nowhere else to go
	 * meanwhile.
	 */
	for (unsigned i = 0; i < LISTEN_MAX && l->fd[i] >= 0; i++)
		if (for_good || !is_unix(l->fd[i]))
			listen_end(l->fd[i]);
}

void
listen_again(struct listeners *l)
{
	for (unsigned i = 0; i < LISTEN_MAX && l->fd[i] >= 0; i++)
		if (!is_unix(l->fd[i]))
			(void)listen_begin(l->fd[i], SOMAXCONN);
}

int
listen_pages(struct listeners *l)
{
	int rc = listen_begin(l->http_fd, HTTP_BACKLOG);

	/* Ours, not health's: who connects there may ask for its process. */
	return rc == 0 ? listen_begin(l->control_fd, CONTROL_BACKLOG) : rc;
}

/* A unix socket that was shut down would not listen again. */
void
listen_pages_refuse(struct listeners *l)
{
	listen_end(l->http_fd);
}

void
listen_peers_allow(struct listeners *l)
{
	for (unsigned i = 0; i < LISTEN_MAX && l->peer_fd[i] >= 0; i++)
		set_reuse(l->peer_fd[i], 1);
}

void
listen_peers_refuse(struct listeners *l)
{
	for (unsigned i = 0; i < LISTEN_MAX && l->peer_fd[i] >= 0; i++)
		listen_end(l->peer_fd[i]);
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool
is_missing(const char *path)
{
	struct stat st;

	return lstat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Another one in its place. 1 or -errno. */
static int
replaced(int *fd, int fresh)
{
	if (fresh < 0)
		return fresh;
	close_fd(fd);
	*fd = fresh;
	return 1;
}

int
listen_control_again(
    struct listeners *l, const struct conf *conf, const struct rights *rights)
{
	char path[CONF_UNIX_SIZE];

	control_path(conf, path, sizeof(path));
	if (l->control_fd < 0 || !is_missing(path))
		return 0;
	return replaced(&l->control_fd, listen_unix(path, rights, 0));
}

int
listen_clients_again(
    struct listeners *l, const struct conf *conf, const struct rights *rights)
{
	const char *path = conf->listen.client_unix;

	for (unsigned i = 0; i < LISTEN_MAX && l->fd[i] >= 0; i++)
		if (is_unix(l->fd[i]))
			return is_missing(path)
				   ? replaced(&l->fd[i],
					 listen_unix(path, rights, 0))
				   : 0;
	return 0;
}

void
listen_close(struct listeners *l, const struct conf *conf)
{
	char path[CONF_UNIX_SIZE];

	for (unsigned i = 0; i < LISTEN_MAX; i++) {
		if (l->fd[i] >= 0 && is_unix(l->fd[i]))
			listen_unix_remove(conf->listen.client_unix);
		close_fd(&l->fd[i]);
		close_fd(&l->peer_fd[i]);
	}
	close_fd(&l->http_fd);
	if (l->control_fd >= 0) {
		control_path(conf, path, sizeof(path));
		listen_unix_remove(path);
	}
	close_fd(&l->control_fd);
}
