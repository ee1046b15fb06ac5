/*
 * The request parser. Limits and error texts are those of Redis 7, so that
 * clients and their tests meet what they know; but a bulk string must end
 * with CRLF, where Redis looks away.
 */
#include "workers/gateway/io/resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "shm/assert.h"

#define HEAP_KEEP      1024 /* arguments; a longer list is given back */
#define NUMBER_LEN_MAX 20

void
resp_reset(struct resp *p)
{
	p->pos = 0;
	p->want = p->argc = 0;
	p->bulk = -1;
	if (p->line != NULL) {
		free(p->line);
		p->line = NULL;
	}
	if (p->cap > HEAP_KEEP) {
		free(p->heap);
		p->heap = NULL;
		p->cap = 0;
	}
}

void
resp_free(struct resp *p)
{
	free(p->line);
	free(p->heap);
	memset(p, 0, sizeof(*p));
	p->bulk = -1;
}

void
resp_error(const struct resp *p, char *text, size_t text_size)
{
	ASSERT(p->why != NULL);
	if (p->got != '\0')
		snprintf(text, text_size, "Protocol error: %s, got '%c'",
		    p->why, p->got);
	else
		snprintf(text, text_size, "Protocol error: %s", p->why);
}

bool
resp_is_http(const uint8_t *word, size_t n)
{
	return (n == 4 && strncasecmp((const char *)word, "post", 4) == 0) ||
	       (n >= 5 && strncasecmp((const char *)word, "host:", 5) == 0);
}

static enum resp_status
bad(struct resp *p, const char *why)
{
	p->why = why;
	p->got = '\0';
	return RESP_BAD;
}

/* Room for one more argument; the list grows with what really came. */
static bool
args_grow(struct resp *p)
{
	uint32_t cap = p->cap == 0 ? RESP_SMALL * 4 : p->cap * 2;
	struct resp_arg *heap = realloc(p->heap, cap * sizeof(*heap));

	if (heap == NULL)
		return false;
	if (p->heap == NULL)
		memcpy(heap, p->small, p->argc * sizeof(*heap));
	p->heap = heap;
	p->cap = cap;
	return true;
}

static bool
arg_push(struct resp *p, uint64_t off, uint32_t len)
{
	struct resp_arg *args;

	ASSERT(p->argc < RESP_ARGS_MAX);
	if (p->argc >= (p->heap != NULL ? p->cap : RESP_SMALL)) {
		if (!args_grow(p))
			return false;
	}
	args = p->heap != NULL ? p->heap : p->small;
	args[p->argc].off = off;
	args[p->argc].len = len;
	p->argc++;
	return true;
}

/* A decimal number that fills all n bytes; no sign '+', no leading zeros. */
static bool
parse_number(const uint8_t *at, size_t n, int64_t *out)
{
	bool minus = n > 0 && at[0] == '-';
	uint64_t v = 0;
	size_t i = minus;

	if (n == i || n - i > NUMBER_LEN_MAX - 2)
		return false;
	if (at[i] == '0' && n > 1)
		return false;
	for (; i < n; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(at[i] - '0');
	}
	*out = minus ? -(int64_t)v : (int64_t)v;
	return true;
}

/*
 * The line "<type><number>CRLF" at pos: RESP_COMMAND and *out when it is
 * whole. The number's bytes are checked by the caller's words.
 */
static enum resp_status
number_line(struct resp *p, const uint8_t *buf, size_t n, const char *too_big,
    const char *invalid, int64_t *out)
{
	const uint8_t *at = buf + p->pos, *cr;
	size_t left = n - p->pos, len;

	cr = memchr(at, '\r', left);
	if (cr == NULL)
		return left > RESP_LINE_MAX ? bad(p, too_big) : RESP_MORE;
	len = (size_t)(cr - at);
	if (len + 2 > left)
		return RESP_MORE;
	if (!parse_number(at + 1, len - 1, out))
		return bad(p, invalid);
	p->pos += len + 2;
	return RESP_COMMAND;
}

static enum resp_status
parse_head(struct resp *p, const uint8_t *buf, size_t n,
    const struct resp_limits *limits)
{
	enum resp_status st;
	int64_t count = 0;

	st = number_line(p, buf, n, "too big mbulk count string",
	    "invalid multibulk length", &count);
	if (st != RESP_COMMAND)
		return st;
	if (count > (int64_t)RESP_ARGS_MAX)
		return bad(p, "invalid multibulk length");
	if (count > RESP_UNAUTH_ARGS && limits->unauth)
		return bad(p, "unauthenticated multibulk length");
	p->want = count > 0 ? (uint32_t)count : 0;
	return RESP_COMMAND;
}

static enum resp_status
parse_bulk_head(struct resp *p, const uint8_t *buf, size_t n,
    const struct resp_limits *limits)
{
	enum resp_status st;
	int64_t len = 0;

	if (p->pos == n)
		return RESP_MORE;
	if (buf[p->pos] != '$') {
		p->why = "expected '$'";
		p->got = buf[p->pos] >= ' ' && buf[p->pos] < 127
			     ? (char)buf[p->pos]
			     : '?';
		return RESP_BAD;
	}
	st = number_line(p, buf, n, "too big bulk count string",
	    "invalid bulk length", &len);
	if (st != RESP_COMMAND)
		return st;
	if (len < 0 || (uint64_t)len > limits->bulk_max)
		return bad(p, "invalid bulk length");
	if (len > RESP_UNAUTH_BULK && limits->unauth)
		return bad(p, "unauthenticated bulk length");
	p->bulk = len;
	return RESP_COMMAND;
}

static enum resp_status
parse_bulks(struct resp *p, const uint8_t *buf, size_t n,
    const struct resp_limits *limits)
{
	enum resp_status st;
	const uint8_t *end;

	while (p->argc < p->want) {
		if (p->bulk < 0) {
			st = parse_bulk_head(p, buf, n, limits);
			if (st != RESP_COMMAND)
				return st;
		}
		if (n - p->pos < (uint64_t)p->bulk + 2)
			return RESP_MORE;
		end = buf + p->pos + p->bulk;
		if (end[0] != '\r' || end[1] != '\n')
			return bad(p, "bulk string without its end");
		if (!arg_push(p, p->pos, (uint32_t)p->bulk))
			return RESP_NOMEM;
		p->pos += (uint64_t)p->bulk + 2;
		p->bulk = -1;
	}
	return RESP_COMMAND;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int
hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One inline line being split: from where, to where. */
struct split {
	const uint8_t *at, *end;
	uint8_t *out;
};

/* The byte that a backslash sequence in double quotes stands for. */
static uint8_t
split_escape(struct split *s)
{
	static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
	const char *known;
	int high, low;

	s->at++;
	if (s->end - s->at >= 3 && s->at[0] == 'x' &&
	    (high = hex_digit(s->at[1])) >= 0 &&
	    (low = hex_digit(s->at[2])) >= 0) {
		s->at += 3;
		return (uint8_t)(high << 4 | low);
	}
	known = *s->at != '\0' ? strchr(from, *s->at) : NULL;
	if (known == NULL)
		return *s->at++;
	s->at++;
	return (uint8_t)to[known - from];
}

/* The quoted part at s->at, up to its closing quote. False: unbalanced. */
static bool
split_quoted(struct split *s)
{
	uint8_t quote = *s->at++;

	for (;;) {
		if (s->at == s->end)
			return false;
		if (*s->at == quote)
			break;
		if (quote == '"' && *s->at == '\\' && s->end - s->at >= 2)
			*s->out++ = split_escape(s);
		else if (quote == '\'' && s->end - s->at >= 2 &&
			 s->at[0] == '\\' && s->at[1] == '\'')
			*s->out++ = '\'', s->at += 2;
		else
			*s->out++ = *s->at++;
	}
	s->at++;
	/* Nothing but a blank may follow a closing quote. */
	return s->at == s->end || is_blank(*s->at);
}

static enum resp_status
split_line(struct resp *p, const uint8_t *at, size_t n)
{
	struct split s = { at, at + n, p->line };
	uint8_t *start;

	for (;;) {
		while (s.at < s.end && is_blank(*s.at))
			s.at++;
		if (s.at == s.end || *s.at == '\0')
			return RESP_COMMAND;
		start = s.out;
		while (s.at < s.end && !is_blank(*s.at) && *s.at != '\0') {
			if (*s.at != '"' && *s.at != '\'')
				*s.out++ = *s.at++;
			else if (!split_quoted(&s))
				return bad(p, "unbalanced quotes in request");
		}
		if (!arg_push(p, (uint64_t)(start - p->line),
			(uint32_t)(s.out - start)))
			return RESP_NOMEM;
	}
}

static enum resp_status
parse_inline(struct resp *p, const uint8_t *buf, size_t n)
{
	const uint8_t *nl = memchr(buf, '\n', n);
	size_t len;

	if (nl == NULL)
		return n > RESP_LINE_MAX ? bad(p, "too big inline request")
					 : RESP_MORE;
	len = (size_t)(nl - buf);
	if (len > RESP_LINE_MAX)
		return bad(p, "too big inline request");
	p->pos = len + 1;
	if (len > 0 && buf[len - 1] == '\r')
		len--;
	if ((p->line = malloc(len + 1)) == NULL)
		return RESP_NOMEM;
	return split_line(p, buf, len);
}

enum resp_status
resp_next(struct resp *p, const uint8_t *buf, size_t n,
    const struct resp_limits *limits)
{
	enum resp_status st;

	ASSERT(p->pos <= n);
	if (n == 0)
		return RESP_MORE;
	if (buf[0] != '*')
		return parse_inline(p, buf, n);
	if (p->want == 0) {
		st = parse_head(p, buf, n, limits);
		if (st != RESP_COMMAND || p->want == 0)
			return st;
	}
	return parse_bulks(p, buf, n, limits);
}
