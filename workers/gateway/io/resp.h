/*
 * Incremental parser of client requests: RESP2 multi-bulk and inline
 * commands. Pure: no I/O, no clock; memory only for argument lists longer
 * than RESP_SMALL and for inline lines, both bounded.
 *
 * Use: resp_reset(); resp_next() with the bytes from the command's start on,
 * the same ones and more each time it says RESP_MORE; on RESP_COMMAND the
 * first `pos` bytes are the command (argc 0: an empty line, to be skipped).
 * What was parsed is not looked at again, however the bytes arrive.
 */
#ifndef WORKERS_GATEWAY_IO_RESP_H
#define WORKERS_GATEWAY_IO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESP_SMALL    8
#define RESP_ARGS_MAX (1024u * 1024)
#define RESP_LINE_MAX                                                          \
	(64u * 1024) /* inline request, count and length lines                 \
		      */
#define RESP_UNAUTH_ARGS 10 /* before AUTH */
#define RESP_UNAUTH_BULK 16384

enum resp_status {
	RESP_MORE, /* incomplete */
	RESP_COMMAND, /* whole */
	RESP_BAD, /* resp_error() says why; the connection is to be closed */
	RESP_NOMEM
};

struct resp_limits {
	uint64_t bulk_max; /* longest bulk string */
	bool unauth; /* the client has not said its password */
};

struct resp_arg {
	uint64_t off; /* from the command's start, or in `line` if inline */
	uint32_t len;
};

struct resp {
	uint64_t pos; /* bytes parsed so far */
	uint32_t want; /* arguments announced; 0 = head not parsed yet */
	uint32_t argc; /* arguments complete */
	int64_t bulk; /* length of the bulk being read, -1 = no head yet */
	uint32_t cap; /* of heap */
	struct resp_arg *heap;
	uint8_t *line; /* unquoted inline arguments; NULL = not inline */
	const char *why; /* RESP_BAD */
	char got; /* RESP_BAD of kind "expected '$'" */
	struct resp_arg small[RESP_SMALL];
};

/* Zero-initialise a struct resp, then resp_reset() before each command. */
void resp_reset(struct resp *p);
void resp_free(struct resp *p);
enum resp_status resp_next(struct resp *p, const uint8_t *buf, size_t n,
    const struct resp_limits *limits);
/* "Protocol error: …" as Redis words it. */
void resp_error(const struct resp *p, char *text, size_t text_size);
/*
 * Is this first word of a command one that only HTTP has: a web page's browser
 * talks to us? "GET" and the like are not told from ours, but no browser sends
 * a request without "Host:".
 */
bool resp_is_http(const uint8_t *word, size_t n);

static inline const struct resp_arg *
resp_args(const struct resp *p)
{
	return p->heap != NULL ? p->heap : p->small;
}

#endif
