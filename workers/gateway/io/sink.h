/*
 * Sinks: growing output buffers whose memory comes from a pool, so that a
 * connection without unsent output owns none. One chunk at a time: growing
 * moves the bytes to a chunk of the next class.
 */
#ifndef WORKERS_GATEWAY_IO_SINK_H
#define WORKERS_GATEWAY_IO_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Classes are 512 B, 2 KiB, 8 KiB, 32 KiB, 128 KiB; larger: malloc. */
#define CHUNK_CLASSES   5
#define CHUNK_MIN       512u
#define CHUNK_KEEP_MAX  (512u * 1024) /* idle bytes kept for each class */
#define CHUNK_CLASS_BIG CHUNK_CLASSES /* not kept */

struct chunk {
	struct chunk *next; /* in the pool's list, or behind it to be sent */
	size_t cap, len;
	size_t sent; /* of len, by the connection that sends it */
	unsigned class;
	uint8_t data[];
};

struct chunk_pool {
	struct chunk *list[CHUNK_CLASSES];
	size_t kept_bytes[CHUNK_CLASSES];
	/* Bytes in use: chunks, and what their user counts here, too. */
	size_t used;
};

/* Zero-initialise, set pool. failed: memory was short; later puts do nothing.
 */
struct sink {
	struct chunk *c;
	struct chunk_pool *pool;
	bool failed;
};

static inline size_t
chunk_bytes(const struct chunk *c)
{
	return c != NULL ? sizeof(*c) + c->cap : 0;
}

void chunk_free(struct chunk_pool *pool, struct chunk *c);
/* Gives back what is kept for later. */
void chunk_pool_free(struct chunk_pool *pool);

/* Make room for n more bytes in all; false (and failed) without memory. */
bool sink_grow(struct sink *s, size_t n);
/* Drop what is in it and give the memory back. */
void sink_reset(struct sink *s);

static inline size_t
sink_len(const struct sink *s)
{
	return s->c != NULL ? s->c->len : 0;
}

/* Where n bytes may be written; count them with sink_add(). NULL: failed. */
static inline uint8_t *
sink_room(struct sink *s, size_t n)
{
	if (s->c == NULL || s->c->cap - s->c->len < n) {
		if (!sink_grow(s, n))
			return NULL;
	}
	return s->c->data + s->c->len;
}

static inline void
sink_add(struct sink *s, size_t n)
{
	s->c->len += n;
}

static inline void
sink_put(struct sink *s, const void *data, size_t n)
{
	uint8_t *to = sink_room(s, n);

	if (to == NULL)
		return;
	memcpy(to, data, n);
	s->c->len += n;
}

/* Append what `from` holds and empty it; moves the memory when it can. */
void sink_join(struct sink *to, struct sink *from);

#endif
