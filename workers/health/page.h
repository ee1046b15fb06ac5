/*
 * The pages: what a method and a path give. Functions of the region, the
 * configuration and a time; the sockets are http.c's.
 */
#ifndef WORKERS_HEALTH_PAGE_H
#define WORKERS_HEALTH_PAGE_H

#include <stdbool.h>
#include "workers/health/status.h"
#include "workers/health/text.h"

struct page {
	unsigned code; /* HTTP status */
	const char *type; /* Content-Type, constant */
	const char *allow; /* for 405, constant; NULL = none */
	bool drain; /* the node is to be stopped: do that, too */
	struct text body; /* free it */
};

/*
 * Fill *out (from zero) for a request. want: the value of the query key
 * "want" of /readyz ("read", "write", "master", "replica"), NULL = none. Always
 * an answer; only memory can lack, then code is 500 and the body empty.
 */
void page_make(struct page *out, const char *method, const char *path,
    const char *want, struct region *r, const struct conf *conf,
    uint64_t now_ns);

/* The same for a request that is refused whatever it asks for. */
void page_refuse(struct page *out, unsigned code, const char *why);

/* Prometheus text format 0.0.4, of everything that is counted. */
void metrics_add(
    struct text *t, struct region *r, const struct status *st, uint64_t now_ns);

#endif
