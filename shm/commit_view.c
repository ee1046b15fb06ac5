/*
 * The commit rule.
 */
#include "shm/commit_view.h"

#include "shm/position.h"

/* Which members have it in this epoch: a mask. */
static uint16_t
members_have(uint16_t epoch, const uint64_t durable[MEMBER_MAX], uint64_t vlsn)
{
	uint16_t mask = 0;
	unsigned i;

	for (i = 0; i < MEMBER_MAX; i++)
		if (word_epoch(durable[i]) == epoch &&
		    word_vlsn(durable[i]) >= vlsn)
			mask |= (uint16_t)(1u << i);
	return mask;
}

uint64_t
commit_rule(const struct commit_view *view, const uint64_t durable[MEMBER_MAX])
{
	uint64_t best = 0, vlsn;
	uint16_t have;
	unsigned i;

	/* Another process wrote it: that there is no table for is no quorum. */
	if (__builtin_popcount(view->voters) > QUORUM_VOTERS_MAX)
		return 0;
	/* The answer is one of the voters' own positions. */
	for (i = 0; i < MEMBER_MAX; i++) {
		vlsn = word_vlsn(durable[i]);
		if ((view->voters >> i & 1) == 0 || vlsn <= best ||
		    word_epoch(durable[i]) != view->epoch)
			continue;
		have = members_have(view->epoch, durable, vlsn);
		if (quorum_has(&view->quorum, quorum_set(view->voters, have)))
			best = vlsn;
	}
	return best;
}
