/*
 * Output memory of the gateway. A request's reply takes the chunk that was
 * given back last, so its lines are still in the cache.
 */
#include "workers/gateway/io/sink.h"

#include <stdlib.h>
#include "shm/assert.h"

static size_t
class_size(unsigned class)
{
	return (size_t)CHUNK_MIN << (2 * class);
}

/* The smallest class whose chunks hold `need` bytes. */
static unsigned
class_for(size_t need)
{
	unsigned class;

	for (class = 0; class < CHUNK_CLASSES; class ++)
		if (class_size(class) - sizeof(struct chunk) >= need)
			return class;
	return CHUNK_CLASS_BIG;
}

/* Little is kept for more: growing moves pages, not bytes. */
static size_t
big_size(size_t need)
{
	return sizeof(struct chunk) + need + need / 8;
}

/* Pages of a big one move, their bytes need not. */
static bool
big_grow(struct sink *s, size_t need)
{
	size_t size = big_size(need);
	struct chunk *c = realloc(s->c, size);

	if (c == NULL)
		return false;
	s->pool->used += size - sizeof(*c) - c->cap;
	c->cap = size - sizeof(*c);
	s->c = c;
	return true;
}

static struct chunk *
chunk_new(struct chunk_pool *pool, size_t need)
{
	unsigned class = class_for(need);
	struct chunk *c;
	size_t size;

	if (class != CHUNK_CLASS_BIG && (c = pool->list[class]) != NULL) {
		pool->list[class] = c->next;
		pool->kept_bytes[class] -= class_size(class);
	} else {
		size = class != CHUNK_CLASS_BIG ? class_size(class)
						: big_size(need);
		if ((c = malloc(size)) == NULL)
			return NULL;
		c->cap = size - sizeof(*c);
		c->class = class;
	}
	c->next = NULL;
	c->len = c->sent = 0;
	pool->used += chunk_bytes(c);
	return c;
}

void
chunk_free(struct chunk_pool *pool, struct chunk *c)
{
	size_t size;

	if (c == NULL)
		return;
	pool->used -= chunk_bytes(c);
	if (c->class == CHUNK_CLASS_BIG) {
		free(c);
		return;
	}
	size = class_size(c->class);
	if (pool->kept_bytes[c->class] + size > CHUNK_KEEP_MAX) {
		free(c);
		return;
	}
	c->next = pool->list[c->class];
	pool->list[c->class] = c;
	pool->kept_bytes[c->class] += size;
}

void
chunk_pool_free(struct chunk_pool *pool)
{
	struct chunk *c;
	unsigned i;

	for (i = 0; i < CHUNK_CLASSES; i++) {
		while ((c = pool->list[i]) != NULL) {
			pool->list[i] = c->next;
			free(c);
		}
		pool->kept_bytes[i] = 0;
	}
}

bool
sink_grow(struct sink *s, size_t n)
{
	size_t len = sink_len(s);
	struct chunk *c;

	ASSERT(s->pool != NULL);
	if (!s->failed && n <= SIZE_MAX / 4 - len && s->c != NULL &&
	    s->c->class == CHUNK_CLASS_BIG) {
		s->failed = !big_grow(s, len + n);
		return !s->failed;
	}
	if (s->failed || n > SIZE_MAX / 4 - len ||
	    (c = chunk_new(s->pool, len + n)) == NULL) {
		s->failed = true;
		return false;
	}
	if (s->c != NULL) {
		memcpy(c->data, s->c->data, len);
		c->len = len;
		chunk_free(s->pool, s->c);
	}
	s->c = c;
	return true;
}

void
sink_reset(struct sink *s)
{
	chunk_free(s->pool, s->c);
	s->c = NULL;
	s->failed = false;
}

void
sink_join(struct sink *to, struct sink *from)
{
	if (from->failed)
		to->failed = true;
	if (to->c == NULL && !to->failed) {
		to->c = from->c;
		from->c = NULL;
	} else if (from->c != NULL) {
		sink_put(to, from->c->data, from->c->len);
	}
	sink_reset(from);
}
