/*
 * RESP rendering. The hot ones (OK, integers, bulk strings) write straight
 * into the sink's memory.
 */
#include "workers/gateway/io/reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define INT_TEXT_MAX   24 /* sign, 19 digits, type, CRLF */
#define ERROR_TEXT_MAX 512
#define VALUE_DEPTH    8 /* arrays in arrays; MULTI needs 2 */

/* Digits of v at `to`; returns how many. */
static unsigned
put_u64(uint8_t *to, uint64_t v)
{
	uint8_t digit[20];
	unsigned n = 0, i;

	do
		digit[n++] = (uint8_t)('0' + v % 10);
	while ((v /= 10) != 0);
	for (i = 0; i < n; i++)
		to[i] = digit[n - 1 - i];
	return n;
}

/* type, number, CRLF. */
static void
put_head(struct sink *s, char type, uint64_t v)
{
	uint8_t *to = sink_room(s, INT_TEXT_MAX);
	unsigned n;

	if (to == NULL)
		return;
	to[0] = (uint8_t)type;
	n = 1 + put_u64(to + 1, v);
	to[n++] = '\r';
	to[n++] = '\n';
	sink_add(s, n);
}

void
reply_ok(struct sink *s)
{
	sink_put(s, "+OK\r\n", 5);
}

void
reply_ok_many(struct sink *s, unsigned count)
{
	uint8_t *to = sink_room(s, (size_t)count * 5);
	unsigned i;

	if (to == NULL)
		return;
	for (i = 0; i < count; i++)
		memcpy(to + (size_t)i * 5, "+OK\r\n", 5);
	sink_add(s, (size_t)count * 5);
}

/* A line must stay one line, whatever a client put into it. */
static void
put_line(struct sink *s, char type, const char *text, size_t n)
{
	uint8_t *to = sink_room(s, n + 3);
	size_t i;

	if (to == NULL)
		return;
	to[0] = (uint8_t)type;
	for (i = 0; i < n; i++)
		to[1 + i] =
		    text[i] == '\r' || text[i] == '\n' ? ' ' : (uint8_t)text[i];
	to[1 + n] = '\r';
	to[2 + n] = '\n';
	sink_add(s, n + 3);
}

void
reply_status(struct sink *s, const char *text)
{
	put_line(s, '+', text, strlen(text));
}

void
reply_error(struct sink *s, const char *text)
{
	put_line(s, '-', text, strlen(text));
}

void
reply_errorf(struct sink *s, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	reply_error(s, text);
}

void
reply_int(struct sink *s, int64_t v)
{
	uint8_t *to;
	unsigned n;

	if (v >= 0) {
		put_head(s, ':', (uint64_t)v);
		return;
	}
	if ((to = sink_room(s, INT_TEXT_MAX)) == NULL)
		return;
	to[0] = ':';
	to[1] = '-';
	n = 2 + put_u64(to + 2, -(uint64_t)v);
	to[n++] = '\r';
	to[n++] = '\n';
	sink_add(s, n);
}

uint8_t *
reply_bulk_room(struct sink *s, size_t n)
{
	uint8_t *to = sink_room(s, n + REPLY_BULK_EXTRA), *data;
	unsigned head;

	if (to == NULL)
		return NULL;
	to[0] = '$';
	head = 1 + put_u64(to + 1, n);
	to[head++] = '\r';
	to[head++] = '\n';
	data = to + head;
	data[n] = '\r';
	data[n + 1] = '\n';
	sink_add(s, head + n + 2);
	return data;
}

void
reply_bulk(struct sink *s, const void *data, size_t n)
{
	uint8_t *to = reply_bulk_room(s, n);

	if (to != NULL && n != 0)
		memcpy(to, data, n);
}

void
reply_str(struct sink *s, const char *text)
{
	reply_bulk(s, text, strlen(text));
}

void
reply_bulk_int(struct sink *s, int64_t v)
{
	char text[INT_TEXT_MAX];
	int n = snprintf(text, sizeof(text), "%lld", (long long)v);

	reply_bulk(s, text, (size_t)n);
}

void
reply_nil(struct sink *s, unsigned proto)
{
	if (proto == 3)
		sink_put(s, "_\r\n", 3);
	else
		sink_put(s, "$-1\r\n", 5);
}

void
reply_nil_array(struct sink *s, unsigned proto)
{
	if (proto == 3)
		sink_put(s, "_\r\n", 3);
	else
		sink_put(s, "*-1\r\n", 5);
}

void
reply_array(struct sink *s, uint64_t count)
{
	put_head(s, '*', count);
}

void
reply_map(struct sink *s, unsigned proto, uint64_t count)
{
	if (proto == 3)
		put_head(s, '%', count);
	else
		put_head(s, '*', count * 2);
}

void
reply_set(struct sink *s, unsigned proto, uint64_t count)
{
	put_head(s, proto == 3 ? '~' : '*', count);
}

void
reply_text(struct sink *s, unsigned proto, const void *data, size_t n)
{
	if (proto != 3) {
		reply_bulk(s, data, n);
		return;
	}
	put_head(s, '=', n + 4);
	sink_put(s, "txt:", 4);
	sink_put(s, data, n);
	sink_put(s, "\r\n", 2);
}

/* One decoded value; an array's elements are the caller's to render. */
static void
put_value(struct sink *s, unsigned proto, const struct value *v)
{
	switch ((enum value_tag)v->tag) {
	case VAL_NIL:
		reply_nil(s, proto);
		return;
	case VAL_OK:
		reply_ok(s);
		return;
	case VAL_INT:
		reply_int(s, v->i);
		return;
	case VAL_BULK:
		reply_bulk(s, v->data, v->len);
		return;
	case VAL_STATUS:
		put_line(s, '+', (const char *)v->data, v->len);
		return;
	case VAL_ERROR:
		put_line(s, '-', (const char *)v->data, v->len);
		return;
	case VAL_ARRAY:
		reply_array(s, (uint64_t)v->i);
		return;
	case VAL_NIL_ARRAY:
		reply_nil_array(s, proto);
		return;
	}
}

int
reply_value(
    struct sink *s, unsigned proto, const uint8_t **at, const uint8_t *end)
{
	uint64_t left[VALUE_DEPTH] = { 1 };
	unsigned depth = 0;
	struct value v;
	int rc;

	for (;;) {
		while (left[depth] == 0) {
			if (depth-- == 0)
				return 0;
		}
		left[depth]--;
		if ((rc = value_next(at, end, &v)) != 0)
			return rc;
		put_value(s, proto, &v);
		if (v.tag != VAL_ARRAY || v.i == 0)
			continue;
		if (++depth == VALUE_DEPTH)
			return -EBADMSG;
		left[depth] = (uint64_t)v.i;
	}
}
