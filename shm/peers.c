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

void
peer_feed_begin(struct peer_row *row, uint64_t connection, enum peer_feed feed,
    uint64_t matched)
{
	atomic_store_explicit(&row->matched, matched, memory_order_relaxed);
	atomic_store_explicit(&row->acked, 0, memory_order_relaxed);
	atomic_store_explicit(&row->flight_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&row->feed, feed, memory_order_relaxed);
	atomic_store_explicit(
	    &row->connection, connection, memory_order_release);
}

bool
peer_feed_end(struct peer_row *row, uint64_t connection, uint32_t reason)
{
	uint64_t mine = connection;

	if (!atomic_compare_exchange_strong_explicit(&row->connection, &mine, 0,
		memory_order_acq_rel, memory_order_acquire))
		return false;
	atomic_store_explicit(&row->feed, PEER_FEED_NONE, memory_order_relaxed);
	atomic_store_explicit(&row->flight_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&row->end_reason, reason, memory_order_relaxed);
	/* Who sees it sees why. */
	atomic_store_explicit(&row->ended, connection, memory_order_release);
	return true;
}

bool
peers_server_died(struct peers *peers)
{
	bool had = false;

	for (unsigned i = 0; i < MEMBER_MAX; i++) {
		struct peer_row *row = &peers->row[i];

		if (atomic_load_explicit(&row->feed, memory_order_acquire) ==
		    PEER_FEED_SEGMENTS)
			had |= peer_feed_end(row,
			    atomic_load_explicit(
				&row->connection, memory_order_acquire),
			    0);
	}
	return had;
}
