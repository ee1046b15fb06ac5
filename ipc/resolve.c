/*
 * Names to addresses: see resolve.h.
 */
#include "ipc/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/bits.h"

#define STACK_SIZE (512u * 1024) /* of a lookup: what nsswitch needs */

enum { JOB_RUNS, JOB_OVER, JOB_GIVEN_UP };

/* Freed by whoever comes second: the thread, or who asked. */
struct resolve_job {
	_Atomic int state;
	char host[RESOLVE_HOST];
	uint16_t port;
	int bell;
	resolve_function *function;
	int rc;
	struct resolve_list list;
};

static _Atomic unsigned jobs;
static resolve_function *by;

static int
look_up(const char *host, uint16_t port, int flags, struct resolve_list *out)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags };
	struct addrinfo *info, *i;
	char service[8];
	int rc;

	out->count = 0;
	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, &info);
	if (rc != 0)
		return rc == EAI_SYSTEM ? -errno : rc;
	for (i = info; i != NULL && out->count < RESOLVE_ADDRS;
	     i = i->ai_next) {
		struct resolve_addr *a = &out->addr[out->count];

		if (i->ai_addrlen > sizeof(a->at))
			continue;
		memset(a, 0, sizeof(*a));
		memcpy(&a->at, i->ai_addr, i->ai_addrlen);
		a->len = i->ai_addrlen;
		out->count++;
	}
	freeaddrinfo(info);
	return out->count > 0 ? 0 : EAI_NONAME;
}

static int
by_system(const char *host, uint16_t port, struct resolve_list *out)
{
	return look_up(host, port, 0, out);
}

void
resolve_by(resolve_function *function)
{
	by = function;
}

static void
job_free(struct resolve_job *job)
{
	free(job);
	atomic_fetch_sub_explicit(&jobs, 1, memory_order_relaxed);
}

static void *
job_main(void *arg)
{
	struct resolve_job *job = arg;
	int was = JOB_RUNS, bell = job->bell;
	uint64_t one = 1;

	job->rc = job->function(job->host, job->port, &job->list);
	/* What was found is to be seen by who sees that it is over. */
	if (!atomic_compare_exchange_strong_explicit(&job->state, &was,
		JOB_OVER, memory_order_acq_rel, memory_order_acquire))
		job_free(job);
	else if (bell >= 0)
		(void)!write(bell, &one, sizeof(one));
	return NULL;
}

/* 0 or an errno. It takes no signal that the process is to have. */
static int
job_start(struct resolve_job *job)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc != 0)
		return rc;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, job_main, job);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return rc;
}

static void
failed(struct resolve *r, const char *what, const char *why)
{
	r->state = RESOLVE_FAILED;
	snprintf(r->why, sizeof(r->why), "%.100s: %s", what, why);
}

static const char *
error_text(int rc)
{
	return rc < 0 ? strerror(-rc) : gai_strerror(rc);
}

/* HOST:PORT or [HOST]:PORT. */
static bool
split(const char *text, char *host, size_t size, uint16_t *port)
{
	const char *colon = strrchr(text, ':'), *from = text;
	unsigned long n;
	size_t len;
	char *end;

	if (colon == NULL)
		return false;
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && colon[-1] == ']') {
		from++;
		len -= 2;
	}
	n = strtoul(colon + 1, &end, 10);
	if (len == 0 || len >= size || end == colon + 1 || *end != '\0' ||
	    n == 0 || n > UINT16_MAX)
		return false;
	memcpy(host, from, len);
	host[len] = '\0';
	*port = (uint16_t)n;
	return true;
}

static void
start_job(struct resolve *r, const char *host, uint16_t port, int bell)
{
	struct resolve_job *job;
	int rc;

	if (atomic_fetch_add_explicit(&jobs, 1, memory_order_relaxed) >=
	    RESOLVE_MAX) {
		atomic_fetch_sub_explicit(&jobs, 1, memory_order_relaxed);
		failed(r, host, "lookups before it still wait for an answer");
		return;
	}
	job = calloc(1, sizeof(*job));
	if (job == NULL) {
		atomic_fetch_sub_explicit(&jobs, 1, memory_order_relaxed);
		failed(r, host, strerror(ENOMEM));
		return;
	}
	snprintf(job->host, sizeof(job->host), "%s", host);
	job->port = port;
	job->bell = bell;
	job->function = by != NULL ? by : by_system;
	rc = job_start(job);
	if (rc != 0) {
		job_free(job);
		failed(r, host, strerror(rc));
		return;
	}
	r->job = job;
	r->state = RESOLVE_BUSY;
}

void
resolve_start(struct resolve *r, const char *address, int bell, uint64_t now_ns)
{
	char host[RESOLVE_HOST];
	uint16_t port;

	resolve_stop(r);
	r->deadline_ns = now_ns + RESOLVE_NS;
	if (!split(address, host, sizeof(host), &port))
		failed(r, address, "no HOST:PORT");
	else if (look_up(host, port, AI_NUMERICHOST, &r->list) == 0)
		r->state = RESOLVE_DONE;
	else
		start_job(r, host, port, bell);
}

enum resolve_state
resolve_poll(struct resolve *r, uint64_t now_ns)
{
	struct resolve_job *job = r->job;

	if (r->state != RESOLVE_BUSY)
		return r->state;
	/* Pairs with the exchange in job_main(). */
	if (atomic_load_explicit(&job->state, memory_order_acquire) ==
	    JOB_OVER) {
		r->list = job->list;
		r->state = RESOLVE_DONE;
		if (job->rc != 0)
			failed(r, job->host, error_text(job->rc));
		job_free(job);
		r->job = NULL;
	} else if (now_ns >= r->deadline_ns) {
		failed(r, job->host, "no answer from the name servers");
		r->state = RESOLVE_BUSY;
		resolve_stop(r);
		r->state = RESOLVE_FAILED;
	}
	return r->state;
}

void
resolve_stop(struct resolve *r)
{
	int was = JOB_RUNS;

	if (r->job != NULL &&
	    !atomic_compare_exchange_strong_explicit(&r->job->state, &was,
		JOB_GIVEN_UP, memory_order_acq_rel, memory_order_acquire))
		job_free(r->job);
	r->job = NULL;
	r->state = RESOLVE_IDLE;
}

uint64_t
resolve_deadline(const struct resolve *r)
{
	return r->state == RESOLVE_BUSY ? r->deadline_ns : UINT64_MAX;
}

void
resolve_text(const struct resolve_addr *a, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";

	(void)getnameinfo((const struct sockaddr *)&a->at, a->len, host,
	    sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(out, size, a->at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
	    host, port);
}

bool
resolve_is_loopback(const struct resolve_addr *a)
{
	const struct sockaddr_in *in = (const void *)&a->at;
	const struct sockaddr_in6 *in6 = (const void *)&a->at;

	if (a->at.ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return a->at.ss_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

bool
resolve_is_same_host(const struct resolve_addr *a, const struct resolve_addr *b)
{
	const struct sockaddr_in *a4 = (const void *)&a->at;
	const struct sockaddr_in *b4 = (const void *)&b->at;
	const struct sockaddr_in6 *a6 = (const void *)&a->at;
	const struct sockaddr_in6 *b6 = (const void *)&b->at;

	if (a->at.ss_family != b->at.ss_family)
		return false;
	if (a->at.ss_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return memcmp(&a6->sin6_addr, &b6->sin6_addr,
		   IN6_IS_ADDR_V4MAPPED(&a6->sin6_addr) ? 16 : 8) == 0;
}
