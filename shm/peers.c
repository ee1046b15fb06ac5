/*
 * Rows of members: their texts, and the names of what is in them.
 */
#include "shm/peers.h"

#include <string.h>

#include "shm/assert.h"

static const char *const link_names[] = {
	[PEER_NONE] = "none",
	[PEER_AWAY] = "away",
	[PEER_HANDSHAKE] = "handshake",
	[PEER_UP] = "connected",
	[PEER_REFUSED] = "refused",
};
_Static_assert(NITEMS(link_names) == PEER_REFUSED + 1, "names");

static const char *const feed_names[] = {
	[PEER_FEED_NONE] = "none",
	[PEER_FEED_LIVE] = "live",
	[PEER_FEED_SEGMENTS] = "segments",
	[PEER_FEED_FROM] = "from",
};
_Static_assert(NITEMS(feed_names) == PEER_FEED_FROM + 1, "names");

void
peer_text_set(struct peer_text *t, const char *text)
{
	uint32_t seq = atomic_load_explicit(&t->seq, memory_order_relaxed) | 1;
	size_t n = strnlen(text, PEER_TEXT - 1);

	atomic_store_explicit(&t->seq, seq, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	memcpy(t->text, text, n);
	memset(t->text + n, 0, PEER_TEXT - n);
	atomic_store_explicit(&t->seq, seq + 1, memory_order_release);
}

/* A writer that died in the middle leaves what it had written. */
void
peer_text_get(const struct peer_text *t, char *out, size_t size)
{
	char copy[PEER_TEXT];
	uint32_t before, after;
	unsigned tries = 0;

	do {
		before = atomic_load_explicit(&t->seq, memory_order_acquire);
		memcpy(copy, t->text, sizeof(copy));
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&t->seq, memory_order_relaxed);
	} while ((before != after || (before & 1) != 0) && ++tries < 100);
	copy[PEER_TEXT - 1] = '\0';
	strlcpy(out, copy, size);
}

void
peers_no_master_set(struct peers *p, uint64_t since_ns, const char *why)
{
	if (since_ns != 0)
		peer_text_set(&p->no_master, why);
	/* Pairs with the acquire in peers_no_master(). */
	atomic_store_explicit(&p->no_master_ns, since_ns, memory_order_release);
}

bool
peers_no_master(
    const struct peers *p, uint64_t *since_ns, char *why, size_t size)
{
	*since_ns =
	    atomic_load_explicit(&p->no_master_ns, memory_order_acquire);
	why[0] = '\0';
	if (*since_ns == 0)
		return false;
	peer_text_get(&p->no_master, why, size);
	return true;
}

const char *
peer_link_name(unsigned link)
{
	return link < NITEMS(link_names) ? link_names[link] : "link?";
}

const char *
peer_feed_name(unsigned feed)
{
	return feed < NITEMS(feed_names) ? feed_names[feed] : "feed?";
}
