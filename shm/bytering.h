/*
 * Byte ring: one producer process, one consumer process, entries of whole
 * 8-byte units, each starting with its u32 total length. A full ring is
 * back-pressure: reserve says so and changes nothing.
 *
 * head and tail are free-running byte counts. The producer publishes tail
 * with release after the entry's bytes; the consumer publishes head with
 * release after it is done with them. An entry never wraps: a length word of
 * BYTERING_SKIP tells the consumer to go to the ring's start.
 *
 * Death of either side between any two instructions leaves a consistent ring:
 * an entry is either wholly published or not there. What is reserved, given
 * back, read or dropped is so in the side's own handle, which dies with it;
 * shared words change by the one store of publish or consume. Bytes behind the
 * published tail, a skip among them, are nobody's: the next to reserve writes
 * them anew.
 *
 * Fields are for the functions below only (t/lint/rooms.t, which knows them by
 * their prefix). What an ASSERT looks at is the handle's own arithmetic: the
 * other side's word, and lengths in its entries, are judged before.
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
	_Alignas(CACHE_LINE) _Atomic uint64_t br_tail; /* W: producer */
	uint64_t producer_zero[7];
	_Alignas(CACHE_LINE) _Atomic uint64_t br_head; /* W: consumer */
	uint64_t consumer_zero[7];
	_Alignas(CACHE_LINE) uint64_t br_size; /* W: creator; power of two */
	uint64_t zero[7];
};

/* A process' handle on one ring: cached copies of the other side's word. */
struct bytering {
	struct bytering_head *br_words;
	uint8_t *br_data;
	uint64_t br_size;
	uint64_t br_tail; /* producer: reserved up to here */
	uint64_t br_published; /* and published up to here */
	uint64_t br_head; /* consumer: read up to here */
	uint64_t br_seen_head; /* producer's last look at head */
	uint64_t br_seen_tail; /* consumer's last look at tail */
};

/* The creator's, in zeroed memory. */
static inline void
bytering_create(struct bytering_head *h, uint64_t size)
{
	ASSERT(is_pow2(size));
	h->br_size = size;
}

/* Attach as producer or consumer: takes up where the words stand. */
static inline void
bytering_attach(struct bytering *r, struct bytering_head *h, void *data)
{
	r->br_words = h;
	r->br_data = data;
	r->br_size = h->br_size;
	ASSERT(is_pow2(r->br_size));
	r->br_tail = atomic_load_explicit(&h->br_tail, memory_order_acquire);
	r->br_head = atomic_load_explicit(&h->br_head, memory_order_acquire);
	r->br_published = r->br_tail;
	r->br_seen_head = r->br_head;
	r->br_seen_tail = r->br_tail;
}

/* The largest entry that is certain to fit into an empty ring. */
static inline uint64_t
bytering_entry_max(const struct bytering *r)
{
	return r->br_size / 2;
}

/*
 * Where a position lies. Of a count that is no multiple of 8, as a broken
 * process may leave it, the odd bytes are passed over.
 */
static inline uint64_t
bytering_at(const struct bytering *r, uint64_t pos)
{
	return pos & (r->br_size - 8);
}

/* ---- the producer ---- */

/*
 * Room for an entry of len bytes (header included), or NULL if the ring is
 * full. Its first word is len already; fill the rest, then bytering_publish().
 * Several reserves may precede one publish.
 */
static inline void *
bytering_reserve(struct bytering *r, uint32_t len)
{
	uint64_t need = align_up(len, 8), at = bytering_at(r, r->br_tail);
	uint64_t skip = at + need > r->br_size ? r->br_size - at : 0;

	ASSERT(need <= bytering_entry_max(r));
	if (r->br_tail + skip + need - r->br_seen_head > r->br_size) {
		/* Pairs with the release in bytering_consume(). */
		r->br_seen_head = atomic_load_explicit(
		    &r->br_words->br_head, memory_order_acquire);
		if (r->br_tail + skip + need - r->br_seen_head > r->br_size)
			return NULL;
	}
	if (skip != 0) {
		put_le32(r->br_data + at, BYTERING_SKIP);
		r->br_tail += skip;
		at = 0;
	}
	r->br_tail += need;
	put_le32(r->br_data + at, len);
	return r->br_data + at;
}

/* The end of what is reserved, to go back to or to look for later. */
static inline uint64_t
bytering_mark(const struct bytering *r)
{
	return r->br_tail;
}

/*
 * Give back what was reserved since the mark was taken, a skip with the entry
 * that it was for. Nothing of that may be published.
 */
static inline void
bytering_unreserve(struct bytering *r, uint64_t mark)
{
	/* Differences: where the counts began is another process' word. */
	ASSERT(mark - r->br_published <= r->br_tail - r->br_published);
	r->br_tail = mark;
}

/*
 * The largest entry that can be reserved now: one of len bytes can if and only
 * if that is no more. 0 while the other side's word is one that cannot be.
 */
static inline uint64_t
bytering_room(const struct bytering *r)
{
	uint64_t used, unused, at_end, room;

	/* Pairs with the release in bytering_consume(). */
	used = r->br_tail - atomic_load_explicit(
				&r->br_words->br_head, memory_order_acquire);
	if (used > r->br_size)
		return 0;
	unused = align_down(r->br_size - used, 8);
	at_end = r->br_size - bytering_at(r, r->br_tail);
	/* In front of the ring's end, or at its start behind a skip. */
	room = unused < at_end ? unused : at_end;
	if (unused > 2 * at_end)
		room = unused - at_end;
	return room < bytering_entry_max(r) ? room : bytering_entry_max(r);
}

/*
 * Is there so much room that who was held back should begin again? A quarter
 * of the ring, which is there at the latest when half of it is unused, so that
 * nobody is woken for each entry that is read.
 */
static inline bool
bytering_roomy(const struct bytering *r)
{
	return bytering_room(r) >= bytering_entry_max(r) / 2;
}

static inline void
bytering_publish(struct bytering *r)
{
	ASSERT(r->br_tail - r->br_published <= r->br_size);
	r->br_published = r->br_tail;
	/* Pairs with the acquire in bytering_ready(). */
	atomic_store_explicit(
	    &r->br_words->br_tail, r->br_tail, memory_order_release);
}

/* Has the consumer given back all that was reserved before this mark? */
static inline bool
bytering_is_past(const struct bytering *r, uint64_t mark)
{
	/* Pairs with the release in bytering_consume(). */
	return atomic_load_explicit(
		   &r->br_words->br_head, memory_order_acquire) >= mark;
}

/* The same for all that is published, asked by anybody. */
static inline bool
bytering_is_drained(const struct bytering_head *h)
{
	uint64_t tail = atomic_load_explicit(&h->br_tail, memory_order_acquire);

	return atomic_load_explicit(&h->br_head, memory_order_acquire) >= tail;
}

/* ---- the consumer ---- */

/* Has the consumer anything to read? */
static inline bool
bytering_ready(struct bytering *r)
{
	if (r->br_head != r->br_seen_tail)
		return true;
	/* Pairs with the release in bytering_publish(). */
	r->br_seen_tail =
	    atomic_load_explicit(&r->br_words->br_tail, memory_order_acquire);
	return r->br_head != r->br_seen_tail;
}

/*
 * The next entry and its length, or NULL. It stays the consumer's until
 * bytering_advance() and bytering_consume(). What cannot be (the producer is
 * another process) gives NULL with *len = UINT32_MAX.
 */
static inline const void *
bytering_peek(struct bytering *r, uint32_t *len)
{
	uint64_t at, unread;
	uint32_t n;

	*len = 0;
	if (!bytering_ready(r))
		return NULL;
	*len = UINT32_MAX;
	at = bytering_at(r, r->br_head);
	unread = r->br_seen_tail - r->br_head;
	if (unread > r->br_size)
		return NULL;
	n = get_le32(r->br_data + at);
	if (n == BYTERING_SKIP) {
		/* A true skip has its entry published with it. */
		if (unread <= r->br_size - at)
			return NULL;
		r->br_head += r->br_size - at;
		unread -= r->br_size - at;
		at = 0;
		n = get_le32(r->br_data);
	}
	if (n < 8 || align_up(n, 8) > unread || at + n > r->br_size)
		return NULL;
	*len = n;
	return r->br_data + at;
}

/* len is what bytering_peek() said. */
static inline void
bytering_advance(struct bytering *r, uint32_t len)
{
	ASSERT(align_up(len, 8) <= r->br_seen_tail - r->br_head);
	r->br_head += align_up(len, 8);
}

/* Pass over all that was seen and not read, whatever it is. */
static inline void
bytering_drop(struct bytering *r)
{
	r->br_head = r->br_seen_tail;
}

/*
 * Give the room of everything passed over back to the producer. False: it has
 * all of it already.
 */
static inline bool
bytering_consume(struct bytering *r)
{
	_Atomic uint64_t *head = &r->br_words->br_head;

	if (atomic_load_explicit(head, memory_order_relaxed) == r->br_head)
		return false;
	atomic_store_explicit(head, r->br_head, memory_order_release);
	return true;
}

#endif
