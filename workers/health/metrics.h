/*
 * Private to the metrics: what their parts share.
 */
#ifndef WORKERS_HEALTH_METRICS_H
#define WORKERS_HEALTH_METRICS_H

#include "workers/health/page.h"

void metric_head(
    struct text *t, const char *name, const char *type, const char *help);
void
metric_gauge(struct text *t, const char *name, const char *help, uint64_t v);
/* A label's value: backslash, quote and newline are escaped. */
void metric_label(struct text *t, const char *name, const char *value);

/* metrics_group.c: the group, and each other member. */
void metrics_group_add(struct text *t, const struct members_look *m);

#endif
