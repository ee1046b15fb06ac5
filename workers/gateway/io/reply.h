/*
 * Replies: RESP2 and RESP3 rendering into a sink. proto is 2 or 3. All of
 * these append; a sink without memory remembers that it failed.
 */
#ifndef WORKERS_GATEWAY_IO_REPLY_H
#define WORKERS_GATEWAY_IO_REPLY_H

#include <stdint.h>
#include "shm/kv/value.h"
#include "workers/gateway/io/sink.h"

/* A bulk string's bytes without its content: "$" digits CRLF … CRLF. */
#define REPLY_BULK_EXTRA 32

void reply_ok(struct sink *s);
void reply_ok_many(struct sink *s, unsigned count);
void reply_status(struct sink *s, const char *text);
/* text without '-' and CRLF; bytes that would break the line become blanks. */
void reply_error(struct sink *s, const char *text);
__attribute__((format(printf, 2, 3))) void
reply_errorf(struct sink *s, const char *fmt, ...);
void reply_int(struct sink *s, int64_t v);
void reply_bulk(struct sink *s, const void *data, size_t n);
void reply_str(struct sink *s, const char *text);
/* A bulk of n bytes that the caller fills before anything else; NULL: failed */
uint8_t *reply_bulk_room(struct sink *s, size_t n);
void reply_bulk_int(struct sink *s, int64_t v);
void reply_nil(struct sink *s, unsigned proto);
void reply_nil_array(struct sink *s, unsigned proto);
void reply_array(struct sink *s, uint64_t count);
/* count pairs follow; in RESP2 an array of 2 * count. */
void reply_map(struct sink *s, unsigned proto, uint64_t count);
void reply_set(struct sink *s, unsigned proto, uint64_t count);
/* Human text: a verbatim string in RESP3. */
void reply_text(struct sink *s, unsigned proto, const void *data, size_t n);
/*
 * One encoded value (shm/kv/value.h) with its elements; *at moves behind it.
 * 0 or -EBADMSG (what was rendered so far stays).
 */
int reply_value(
    struct sink *s, unsigned proto, const uint8_t **at, const uint8_t *end);

#endif
