/*
 * Byte ring: one producer process, one consumer process, entries of whole
 * 8-byte units, each starting with its u32 total length. A full ring is
 * back-pressure: push says so and changes nothing.
 *
 * head and tail are free-running byte counts. The producer publishes tail
 * with release after the entry's bytes; the consumer publishes head with
 * release after it is done with them. An entry never wraps: a length word of
 * BYTERING_SKIP tells the consumer to go to the ring's start. Death of either
 * side between any two instructions leaves a consistent ring: an entry is
 * either wholly published or not there.
 */
#ifndef SHM_BYTERING_H
#define SHM_BYTERING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/assert.h"
#include "shm/bits.h"

#define BYTERING_SKIP UINT32_C(0xffffffff)

struct bytering_head {
	_Alignas(CACHE_LINE) _Atomic uint64_t tail; /* W: producer */
	uint64_t producer_zero[7];
	_Alignas(CACHE_LINE) _Atomic uint64_t head; /* W: consumer */
	uint64_t consumer_zero[7];
	_Alignas(CACHE_LINE) uint64_t size; /* W: creator; power of two */
	uint64_t zero[7];
};

/* A process' handle on one ring: cached copies of the other side's word. */
struct bytering {
	struct bytering_head *h;
	uint8_t *data;
	uint64_t size;
	uint64_t tail; /* producer: reserved up to here */
	uint64_t head; /* consumer: read up to here */
	uint64_t seen_head; /* producer's last look at head */
	uint64_t seen_tail; /* consumer's last look at tail */
};

/* Attach as producer or consumer: takes up where the words stand. */
static inline void
bytering_attach(struct bytering *r, struct bytering_head *h, void *data)
{
	r->h = h;
	r->data = data;
	r->size = h->size;
	ASSERT(is_pow2(r->size));
	r->tail = atomic_load_explicit(&h->tail, memory_order_acquire);
	r->head = atomic_load_explicit(&h->head, memory_order_acquire);
	r->seen_head = r->head;
	r->seen_tail = r->tail;
}

/* The largest entry that is certain to fit into an empty ring. */
static inline uint64_t
bytering_entry_max(const struct bytering *r)
{
	return r->size / 2;
}

/*
 * Room for an entry of len bytes (header included), or NULL if the ring is
 * full. Fill it, its first word being len, then bytering_publish(). Several
 * reserves may precede one publish.
 */
static inline void *
bytering_reserve(struct bytering *r, uint32_t len)
{
	uint64_t need = align_up(len, 8), at = r->tail & (r->size - 1);
	uint64_t skip = at + need > r->size ? r->size - at : 0;

	ASSERT(need <= bytering_entry_max(r));
	if (r->tail + skip + need - r->seen_head > r->size) {
		/* Pairs with the release in bytering_consume(). */
		r->seen_head =
		    atomic_load_explicit(&r->h->head, memory_order_acquire);
		if (r->tail + skip + need - r->seen_head > r->size)
			return NULL;
	}
	if (skip != 0) {
		put_le32(r->data + at, BYTERING_SKIP);
		r->tail += skip;
		at = 0;
	}
	r->tail += need;
	put_le32(r->data + at, len);
	return r->data + at;
}

static inline void
bytering_publish(struct bytering *r)
{
	/* Pairs with the acquire in bytering_peek(). */
	atomic_store_explicit(&r->h->tail, r->tail, memory_order_release);
}

/* Has the consumer anything to read? */
static inline bool
bytering_ready(struct bytering *r)
{
	if (r->head != r->seen_tail)
		return true;
	r->seen_tail = atomic_load_explicit(&r->h->tail, memory_order_acquire);
	return r->head != r->seen_tail;
}

/*
 * The next entry and its length, or NULL. It stays the consumer's until
 * bytering_advance() and bytering_consume(). A length that cannot be (the
 * producer is another process) gives NULL with *len = UINT32_MAX.
 */
static inline const void *
bytering_peek(struct bytering *r, uint32_t *len)
{
	uint64_t at;
	uint32_t n;

	*len = 0;
	if (!bytering_ready(r))
		return NULL;
	at = r->head & (r->size - 1);
	n = get_le32(r->data + at);
	if (n == BYTERING_SKIP) {
		/* A true skip has its entry published with it. */
		if (r->seen_tail - r->head <= r->size - at) {
			*len = UINT32_MAX;
			return NULL;
		}
		r->head += r->size - at;
		at = 0;
		n = get_le32(r->data);
	}
	if (n < 8 || n > r->seen_tail - r->head || at + n > r->size) {
		*len = UINT32_MAX;
		return NULL;
	}
	*len = n;
	return r->data + at;
}

static inline void
bytering_advance(struct bytering *r, uint32_t len)
{
	r->head += align_up(len, 8);
}

/* Give the room of everything advanced over back to the producer. */
static inline void
bytering_consume(struct bytering *r)
{
	atomic_store_explicit(&r->h->head, r->head, memory_order_release);
}

#endif
