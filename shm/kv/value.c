/*
 * Values and the growing buffer that they are encoded into. See value.h.
 */
#include "shm/kv/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define VBUF_FIRST 256
#define VBUF_MAX   (UINT64_C(1) << 36) /* no result is longer */
#define ERROR_MAX  256 /* bytes of an error's text */

void
vbuf_free(struct vbuf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void
vbuf_clear(struct vbuf *b)
{
	b->len = 0;
	b->error = 0;
}

static int
vbuf_grow(struct vbuf *b, size_t need)
{
	size_t cap = b->cap != 0 ? b->cap : VBUF_FIRST;
	uint8_t *data;

	if (need > VBUF_MAX)
		return -ENOMEM;
	while (cap < need)
		cap *= 2;
	data = realloc(b->data, cap);
	if (data == NULL)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

void *
vbuf_add(struct vbuf *b, size_t n)
{
	uint8_t *at;

	if (b->error != 0)
		return NULL;
	if (b->max != 0 && (b->len > b->max || n > b->max - b->len)) {
		b->error = -EMSGSIZE;
		return NULL;
	}
	if (n > SIZE_MAX - b->len ||
	    (b->cap - b->len < n && vbuf_grow(b, b->len + n) != 0)) {
		b->error = -ENOMEM;
		return NULL;
	}
	/* An empty add to an empty buffer still gives a pointer. */
	if (b->data == NULL && vbuf_grow(b, 1) != 0) {
		b->error = -ENOMEM;
		return NULL;
	}
	at = b->data + b->len;
	b->len += n;
	return at;
}

void
vbuf_put(struct vbuf *b, const void *data, size_t n)
{
	void *at;

	if (n != 0 && (at = vbuf_add(b, n)) != NULL)
		memcpy(at, data, n);
}

static void
value_tag(struct vbuf *b, enum value_tag tag)
{
	uint8_t *at = vbuf_add(b, 1);

	if (at != NULL)
		*at = (uint8_t)tag;
}

void
value_nil(struct vbuf *b)
{
	value_tag(b, VAL_NIL);
}

void
value_ok(struct vbuf *b)
{
	value_tag(b, VAL_OK);
}

void
value_nil_array(struct vbuf *b)
{
	value_tag(b, VAL_NIL_ARRAY);
}

void
value_int(struct vbuf *b, int64_t v)
{
	uint8_t *at = vbuf_add(b, 9);

	if (at == NULL)
		return;
	at[0] = VAL_INT;
	put_le64(at + 1, (uint64_t)v);
}

/* Tag, u32 length, and room for n bytes. */
static void *
value_bytes(struct vbuf *b, enum value_tag tag, size_t n)
{
	uint8_t *at;

	ASSERT(n <= UINT32_MAX);
	at = vbuf_add(b, 5 + n);
	if (at == NULL)
		return NULL;
	at[0] = (uint8_t)tag;
	put_le32(at + 1, (uint32_t)n);
	return at + 5;
}

void *
value_bulk_reserve(struct vbuf *b, size_t n)
{
	return value_bytes(b, VAL_BULK, n);
}

void
value_bulk(struct vbuf *b, const void *data, size_t n)
{
	void *at = value_bytes(b, VAL_BULK, n);

	if (at != NULL && n != 0)
		memcpy(at, data, n);
}

void
value_status(struct vbuf *b, const char *text)
{
	size_t n = strlen(text);
	void *at = value_bytes(b, VAL_STATUS, n);

	if (at != NULL)
		memcpy(at, text, n);
}

void
value_error(struct vbuf *b, const char *fmt, ...)
{
	char text[ERROR_MAX];
	va_list ap;
	void *at;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	if ((size_t)n >= sizeof(text))
		n = sizeof(text) - 1;
	at = value_bytes(b, VAL_ERROR, (size_t)n);
	if (at != NULL)
		memcpy(at, text, (size_t)n);
}

void
value_array(struct vbuf *b, uint32_t count)
{
	uint8_t *at = vbuf_add(b, 5);

	if (at == NULL)
		return;
	at[0] = VAL_ARRAY;
	put_le32(at + 1, count);
}

/* The part behind the tag; the caller has checked that 1 byte was there. */
static int
value_body(const uint8_t **at, const uint8_t *end, struct value *out)
{
	size_t left = (size_t)(end - *at);
	size_t need = out->tag == VAL_INT ? 8 : 4;

	if (left < need)
		return -EBADMSG;
	if (out->tag == VAL_INT) {
		out->i = (int64_t)get_le64(*at);
		*at += 8;
		return 0;
	}
	out->len = get_le32(*at);
	*at += 4;
	if (out->tag == VAL_ARRAY) {
		out->i = out->len;
		/* Each element takes a byte at least. */
		return out->len <= left - 4 ? 0 : -EBADMSG;
	}
	if (out->len > left - 4)
		return -EBADMSG;
	out->data = *at;
	*at += out->len;
	return 0;
}

int
value_next(const uint8_t **at, const uint8_t *end, struct value *out)
{
	memset(out, 0, sizeof(*out));
	if (*at >= end)
		return -EBADMSG;
	out->tag = **at;
	if (out->tag > VAL_NIL_ARRAY)
		return -EBADMSG;
	(*at)++;
	if (out->tag == VAL_NIL || out->tag == VAL_OK ||
	    out->tag == VAL_NIL_ARRAY)
		return 0;
	return value_body(at, end, out);
}
