/*
 * The commit view and the rule. The view is kept twice: `seq` says which copy
 * is whole (seq & 1), the writer changes the other one. So a writer that dies
 * or is stopped in the middle leaves readers the view before, and nobody
 * waits for it.
 */
#include "shm/commit.h"

#include "shm/assert.h"
#include "shm/region.h"

#define VIEW_WORDS (sizeof(struct commit_view) / 8)
/* Without the quorum, which no question about the role needs. */
#define ROLE_WORDS (offsetof(struct commit_view, quorum) / 8)
_Static_assert(offsetof(struct commit_view, quorum) % 8 == 0, "whole words");

static void
view_load(
    const struct commit_state *cs, uint32_t seq, uint64_t *word, size_t words)
{
	size_t i;

	for (i = 0; i < words; i++)
		word[i] = atomic_load_explicit(
		    &cs->word[seq & 1][i], memory_order_relaxed);
}

static void
view_store(struct commit_state *cs, uint32_t seq, const uint64_t *word)
{
	size_t i;

	/* Readers of this copy see the seq before it, so they go again. */
	atomic_thread_fence(memory_order_release);
	for (i = 0; i < VIEW_WORDS; i++)
		atomic_store_explicit(
		    &cs->word[seq & 1][i], word[i], memory_order_relaxed);
}

/* The first `words` of the view, as one moment had them. */
static void
view_read(const struct commit_state *cs, struct commit_view *out, size_t words)
{
	uint64_t word[VIEW_WORDS];
	uint32_t seq;

	ASSERT(words <= VIEW_WORDS);

	/* Goes round only if a whole write ended meanwhile. */
	do {
		/* Pairs with the release in commit_view_write(). */
		seq = atomic_load_explicit(&cs->seq, memory_order_acquire);
		view_load(cs, seq, word, words);
		atomic_thread_fence(memory_order_acquire);
	} while (seq != atomic_load_explicit(&cs->seq, memory_order_relaxed));
	memcpy(out, word, words * sizeof(word[0]));
}

void
commit_view_read(const struct commit_state *cs, struct commit_view *out)
{
	view_read(cs, out, VIEW_WORDS);
}

void
commit_view_write(struct commit_state *cs, const struct commit_view *in)
{
	uint32_t seq = atomic_load_explicit(&cs->seq, memory_order_relaxed);
	uint64_t word[VIEW_WORDS];

	ASSERT(in->self <= MEMBER_MAX);
	ASSERT(in->member_count <= MEMBER_MAX);
	memcpy(word, in, sizeof(*in));
	view_store(cs, seq + 1, word);
	/* Pairs with the acquire in commit_view_read(). */
	atomic_store_explicit(&cs->seq, seq + 1, memory_order_release);
}

bool
commit_advance(struct region *r)
{
	_Atomic uint64_t *committed = &r->pos->committed.v;
	uint64_t durable[MEMBER_MAX], term_start, candidate, now;
	struct commit_view view;
	unsigned i;

	/*
	 * The caller has just stored its member's word. Two who do so at once
	 * must not both read the other's old one: each fences in between.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	commit_view_read(r->commit, &view);
	if (view.role != ROLE_MASTER)
		return false;
	for (i = 0; i < MEMBER_MAX; i++)
		durable[i] = atomic_load_explicit(
		    &r->commit->member[i].durable, memory_order_acquire);
	candidate = commit_rule(&view, durable);
	term_start = position_get(&r->pos->term_start);
	if (candidate == 0 || word_epoch(term_start) != view.epoch ||
	    word_vlsn(term_start) == 0 || candidate < word_vlsn(term_start))
		return false;
	now = atomic_load_explicit(committed, memory_order_relaxed);
	do {
		if (word_epoch(now) != view.epoch ||
		    word_vlsn(now) >= candidate)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(committed, &now,
	    epoch_word(view.epoch, candidate), memory_order_acq_rel,
	    memory_order_relaxed));
	return true;
}

uint64_t
commit_vlsn(const struct region *r)
{
	return word_vlsn(position_get(&r->pos->committed));
}

static uint64_t
ended_vlsn(const struct commit_state *cs, uint64_t term)
{
	uint64_t vlsn;
	unsigned i;

	for (i = 0; i < ENDED_MAX; i++) {
		/* Pairs with the release in commit_term_ended(). */
		if (atomic_load_explicit(
			&cs->ended[i].term, memory_order_acquire) != term)
			continue;
		vlsn = atomic_load_explicit(
		    &cs->ended[i].vlsn, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(
			&cs->ended[i].term, memory_order_relaxed) == term)
			return vlsn;
	}
	return 0;
}

bool
commit_of_term(const struct region *r, uint64_t term, uint64_t *vlsn)
{
	const struct commit_state *cs = r->commit;
	uint64_t word[ROLE_WORDS];
	struct commit_view view;
	uint32_t seq;

	/*
	 * As long as this view is the newest, nothing is committed in a later
	 * epoch, also if that has been raised: so `committed` is its.
	 */
	do {
		seq = atomic_load_explicit(&cs->seq, memory_order_acquire);
		view_load(cs, seq, word, ROLE_WORDS);
		*vlsn = commit_vlsn(r);
		atomic_thread_fence(memory_order_acquire);
	} while (seq != atomic_load_explicit(&cs->seq, memory_order_relaxed));
	memcpy(&view, word, sizeof(word));
	if (view.role == ROLE_MASTER && view.term == term)
		return false;
	*vlsn = ended_vlsn(cs, term);
	return true;
}

void
commit_term_ended(struct region *r, uint64_t term)
{
	struct commit_state *cs = r->commit;
	uint64_t n =
	    atomic_load_explicit(&cs->ended_count, memory_order_relaxed);
	unsigned i = n % ENDED_MAX;

	ASSERT(term != 0);
	atomic_store_explicit(&cs->ended[i].term, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(
	    &cs->ended[i].vlsn, commit_vlsn(r), memory_order_relaxed);
	atomic_store_explicit(&cs->ended[i].term, term, memory_order_release);
	atomic_store_explicit(&cs->ended_count, n + 1, memory_order_relaxed);
}

bool
commit_is_master(const struct region *r)
{
	struct commit_view view;

	view_read(r->commit, &view, ROLE_WORDS);
	return view.role == ROLE_MASTER && view.readonly == 0;
}

static bool
lease_holds(const struct commit_view *view)
{
	return view->lease_until_ns == UINT64_MAX ||
	       view->lease_until_ns > clock_ns(CLOCK_BOOTTIME);
}

bool
commit_holds_lease(const struct region *r, uint64_t term)
{
	struct commit_view view;

	/* What was read stands before it. */
	atomic_thread_fence(memory_order_acquire);
	view_read(r->commit, &view, ROLE_WORDS);
	return view.role == ROLE_MASTER && view.term == term &&
	       lease_holds(&view);
}

bool
commit_read_term(const struct region *r, uint64_t *term)
{
	uint64_t term_start, committed;
	struct commit_view view;

	view_read(r->commit, &view, ROLE_WORDS);
	if (view.role != ROLE_MASTER || !lease_holds(&view))
		return false;
	*term = view.lease_until_ns != UINT64_MAX ? view.term : 0;
	term_start = position_get(&r->pos->term_start);
	committed = position_get(&r->pos->committed);
	return word_epoch(term_start) == view.epoch &&
	       word_epoch(committed) == view.epoch &&
	       word_vlsn(term_start) != 0 &&
	       word_vlsn(committed) >= word_vlsn(term_start) &&
	       position_get(&r->pos->applied) >= word_vlsn(term_start);
}

bool
commit_can_read(const struct region *r)
{
	uint64_t term;

	return commit_read_term(r, &term);
}

bool
commit_serves_reads(const struct region *r)
{
	struct commit_view view;

	view_read(r->commit, &view, ROLE_WORDS);
	return view.readonly != 0 || commit_can_read(r);
}
