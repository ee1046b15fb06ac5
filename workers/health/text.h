/*
 * A text that grows, for pages and replies. Out of memory is remembered, not
 * returned: the caller asks once, at the end.
 */
#ifndef WORKERS_HEALTH_TEXT_H
#define WORKERS_HEALTH_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define TEXT_MAX (1u << 20) /* bytes; a text that grows over it has failed */

/* Starts zeroed. */
struct text {
	char *data; /* NUL-terminated; NULL while empty */
	size_t len, size;
	bool failed;
};

__attribute__((format(printf, 2, 3))) void
text_add(struct text *t, const char *fmt, ...);
/* Forget the content, keep nothing. */
void text_free(struct text *t);

#endif
