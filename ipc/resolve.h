/*
 * From HOST and PORT to addresses, without waiting: a name is looked up by a
 * thread of its own, which shares nothing with the loop but its request, has
 * all signals blocked and ends by itself; who asked is woken by its bell. A
 * numeric address needs none and is there at once.
 *
 * A lookup that takes too long is given up: its thread may hang on, and is
 * bounded in number (RESOLVE_MAX in a process), so that a name server that
 * answers nothing costs as many threads, never the loop.
 */
#ifndef IPC_RESOLVE_H
#define IPC_RESOLVE_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stdint.h>

#define RESOLVE_MAX     8 /* lookups at a time, those given up included */
#define RESOLVE_ADDRS   8 /* of one name; more are left out */
#define RESOLVE_NS      UINT64_C(5000000000)
#define RESOLVE_HOST    256
#define RESOLVE_WHY_MAX 160

struct resolve_addr {
	socklen_t len;
	struct sockaddr_storage at;
};

struct resolve_list {
	unsigned count;
	struct resolve_addr addr[RESOLVE_ADDRS];
};

struct resolve_job; /* shared with the thread */

enum resolve_state {
	RESOLVE_IDLE,
	RESOLVE_BUSY, /* ask again when the bell has rung */
	RESOLVE_DONE, /* list[] */
	RESOLVE_FAILED /* why[] */
};

/* The caller's; zeroed = idle. */
struct resolve {
	enum resolve_state state;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC, while it is busy */
	struct resolve_list list;
	char why[RESOLVE_WHY_MAX]; /* "db1: Name or service not known" */
	struct resolve_job *job;
};

/* As getaddrinfo() for a stream: 0, or EAI_... or, negative, -errno. */
typedef int
resolve_function(const char *host, uint16_t port, struct resolve_list *out);

/*
 * "HOST:PORT", "[v6]:PORT". Begin: it may be done, or failed, at once. bell is
 * the eventfd that is written to when a lookup ends (-1 = none).
 */
void resolve_start(
    struct resolve *r, const char *address, int bell, uint64_t now_ns);
/* Look whether it is over. Its state then. */
enum resolve_state resolve_poll(struct resolve *r, uint64_t now_ns);
/* Give it up; idle then. */
void resolve_stop(struct resolve *r);
/* UINT64_MAX unless it is busy. */
uint64_t resolve_deadline(const struct resolve *r);

/* "10.0.0.1:7000", "[::1]:7000"; at most RESOLVE_HOST bytes. */
void resolve_text(const struct resolve_addr *a, char *out, size_t size);
bool resolve_is_loopback(const struct resolve_addr *a);
/* Ports apart; of IPv6 a network of 64 bits is one host. */
bool resolve_is_same_host(
    const struct resolve_addr *a, const struct resolve_addr *b);
/* For tests: who looks names up from now on; NULL = the system. */
void resolve_by(resolve_function *function);

#endif
