/*
 * nodelifebench: drives a node over RESP. bench_run() is the load, the main
 * file holds options and reports.
 */
#ifndef TOOLS_NODELIFEBENCH_H
#define TOOLS_NODELIFEBENCH_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/counters.h"

/* X(NAME, "name", keys a request has) */
#define BENCH_OPS(X)                                                           \
	X(PING, "ping", 0)                                                     \
	X(SET, "set", 1)                                                       \
	X(GET, "get", 1)                                                       \
	X(INCR, "incr", 1)                                                     \
	X(DEL, "del", 1)                                                       \
	X(SETEX, "setex", 1)                                                   \
	X(MSET, "mset", 10)

enum bench_op {
#define X(NAME, name, keys) BENCH_##NAME,
	BENCH_OPS(X)
#undef X
	    BENCH_OP_COUNT
};

struct bench_spec {
	const char *host, *port; /* or */
	const char *unix_path;
	const char *password; /* NULL = none */
	unsigned connections;
	unsigned pipeline;
	uint64_t requests; /* 0 = until the time is up */
	uint64_t seconds; /* 0 = until the requests are done */
	uint64_t rate; /* requests a second over all, 0 = no limit */
	uint64_t keys; /* key space */
	uint32_t value_size; /* bytes */
	uint32_t weight[BENCH_OP_COUNT];
	uint64_t seed;
	bool progress; /* a line each second on stderr */
};

struct bench_result {
	uint64_t done, errors;
	uint64_t bytes_in, bytes_out;
	double seconds;
	char first_error[128]; /* "" = none */
	struct histogram latency; /* ns, request sent to reply parsed */
};

const char *bench_op_name(unsigned op);
/* Runs to the end of its bounds. 0, or -errno with why[] filled. */
int bench_run(const struct bench_spec *spec, struct bench_result *out,
    char *why, size_t why_size);

#endif
