/*
 * What clients ask of commits.
 */
#include "shm/commit_ask.h"

#include "shm/region.h"

/* Mask of members whose control connection is up, and this one. */
static uint16_t
connected(const struct region *r, const struct commit_view *view)
{
	uint16_t mask = 0;
	unsigned i;

	for (i = 0; i < view->member_count && i < MEMBER_MAX; i++)
		if (i == view->self ||
		    atomic_load_explicit(&r->peers->row[i].link,
			memory_order_relaxed) == PEER_UP)
			mask |= (uint16_t)(1u << i);
	return mask;
}

void
commit_reach(const struct region *r, struct commit_reach *out)
{
	struct commit_view view;
	uint16_t there;

	commit_view_read(r->commit, &view);
	there = connected(r, &view);
	*out = (struct commit_reach){
		.members = (uint8_t)__builtin_popcount(view.voters),
		.connected = (uint8_t)__builtin_popcount(view.voters & there),
	};
	/* Another process wrote it: that there is no table for is no quorum. */
	if (out->members > QUORUM_VOTERS_MAX)
		return;
	out->enough = quorum_has(&view.quorum, quorum_set(view.voters, there));
	if (!out->enough)
		out->least = (uint8_t)quorum_least(&view.quorum);
}

unsigned
commit_copies(const struct region *r, uint64_t vlsn)
{
	struct commit_view view;
	unsigned i, n = 0;
	uint64_t word;

	commit_view_read(r->commit, &view);
	if (view.role != ROLE_MASTER)
		return 0;
	for (i = 0; i < view.member_count && i < MEMBER_MAX; i++) {
		word = atomic_load_explicit(
		    &r->commit->member[i].durable, memory_order_acquire);
		n += i != view.self && word_epoch(word) == view.epoch &&
		     word_vlsn(word) >= vlsn;
	}
	return n;
}

unsigned
commit_others(const struct region *r)
{
	struct commit_view view;

	commit_view_read(r->commit, &view);
	return view.member_count > 1 ? view.member_count - 1u : 0;
}

enum fate
commit_fate(const struct region *r, uint64_t term, uint64_t vlsn)
{
	uint64_t committed, ended, of;

	if (vlsn == 0 || term == 0)
		return FATE_UNKNOWN;
	/* Looked at first: what is committed is not cut off any more. */
	committed = commit_vlsn(r);
	(void)commit_of_term(r, term, &ended);
	if (committed >= vlsn && terms_of_vlsn(r->terms, vlsn, &of) == 0)
		return of == term ? FATE_COMMITTED : FATE_LOST;
	/* Terms never fall along a log: it has no record of that one behind
	   one of a later term. */
	if (committed != 0 && committed < vlsn &&
	    terms_of_vlsn(r->terms, committed, &of) == 0 && of > term)
		return FATE_LOST;
	return ended >= vlsn ? FATE_COMMITTED : FATE_UNKNOWN;
}
