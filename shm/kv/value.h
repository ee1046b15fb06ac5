/*
 * Values: results of operations, encoded independent of the client protocol.
 * tag:8, then by tag: INT i64; BULK, STATUS, ERROR u32 length + bytes;
 * ARRAY u32 count + that many values; NIL, OK, NIL_ARRAY nothing.
 * The gateway turns them into RESP2 or RESP3.
 */
#ifndef SHM_KV_VALUE_H
#define SHM_KV_VALUE_H

#include <stddef.h>
#include <stdint.h>

enum value_tag {
	VAL_NIL = 0,
	VAL_OK = 1, /* +OK */
	VAL_INT = 2,
	VAL_BULK = 3,
	VAL_STATUS = 4, /* simple string */
	VAL_ERROR = 5, /* "ERR …" as the client shall see it, without '-' */
	VAL_ARRAY = 6,
	VAL_NIL_ARRAY = 7 /* EXEC aborted by WATCH */
};

/* A growing byte buffer. Zero-initialise; vbuf_free() when done. */
struct vbuf {
	uint8_t *data;
	size_t len, cap;
	int error; /* -ENOMEM, -EMSGSIZE is kept here; later puts do nothing */
	size_t max; /* it grows no longer (-EMSGSIZE); 0 = any length */
};

void vbuf_free(struct vbuf *b);
void vbuf_clear(struct vbuf *b); /* keeps the memory */
/* Room for n more bytes, appended; NULL (and error) without memory. */
void *vbuf_add(struct vbuf *b, size_t n);
void vbuf_put(struct vbuf *b, const void *data, size_t n);

void value_nil(struct vbuf *b);
void value_ok(struct vbuf *b);
void value_int(struct vbuf *b, int64_t v);
void value_bulk(struct vbuf *b, const void *data, size_t n);
/* Reserve a bulk of n bytes, to be filled by the caller. */
void *value_bulk_reserve(struct vbuf *b, size_t n);
void value_status(struct vbuf *b, const char *text);
__attribute__((format(printf, 2, 3))) void
value_error(struct vbuf *b, const char *fmt, ...);
void value_array(struct vbuf *b, uint32_t count);
void value_nil_array(struct vbuf *b);

/* A decoded head; for ARRAY the elements follow in the bytes. */
struct value {
	uint8_t tag;
	int64_t i; /* INT, or ARRAY's count */
	const uint8_t *data; /* BULK, STATUS, ERROR */
	uint32_t len;
};
/* Decode at *at (advanced). 0 or -EBADMSG. */
int value_next(const uint8_t **at, const uint8_t *end, struct value *out);

#endif
