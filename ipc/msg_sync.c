/*
 * Syncup: see msg_sync.h.
 */
#include "ipc/msg_codec.h"

/* clang-format off */
static const struct msg_field run[] = {
	TERM(term_run, 0, term, "a term"),
	NUMBER(term_run, 8, first, 1, VLSN_MASK, "first VLSN known of it"),
};

static const struct msg_field runs[] = {
	SOME(msg_runs, 0, attempt, "number of the syncup, of the replica"),
	TERM(msg_runs, 8, term, "the master's"),
	VLSN(msg_runs, 16, first, "oldest VLSN in the sender's log"),
	VLSN(msg_runs, 24, last, "and the newest; both 0: it is empty"),
	TERM_OR_NONE(msg_runs, 32, last_term, "term of that"),
	VLSN(msg_runs, 40, committed, "what the sender knows committed"),
	ANY(msg_runs, 48, last_crc, "the chain behind its last record"),
	ANY(msg_runs, 52, epoch, "the sender's log epoch"),
	LIST(msg_runs, 54, run, run_count, 0, TERM_RUNS_MAX, run, 16,
	    "terms of its log, the oldest first"),
};

static const struct msg_field match[] = {
	SOME(msg_match, 0, attempt, "number of the syncup"),
	TERM(msg_match, 8, term, "the master's"),
	VLSN(msg_match, 16, vlsn, "matchpoint; 0 = the beginning"),
	TERM_OR_NONE(msg_match, 24, vlsn_term, "its term"),
	ANY(msg_match, 32, crc, "the chain behind it"),
	NUMBER(msg_match, 36, window, SYNC_WINDOW_MIN, UINT32_MAX,
	    "bytes of the log that the replica takes unacknowledged"),
	ANY(msg_match, 40, epoch, "the replica's log epoch"),
	ZERO(42, 6),
};

static const struct msg_field sync_refused[] = {
	SOME(msg_sync_refused, 0, attempt, "number of the syncup"),
	TERM(msg_sync_refused, 8, term, "of who refuses"),
	VLSN(msg_sync_refused, 16, vlsn, "where"),
	VLSN(msg_sync_refused, 24, first, "oldest VLSN that can be had"),
	ANY(msg_sync_refused, 32, crc, "reason 1: the chain of who refuses"),
	NUMBER(msg_sync_refused, 36, reason, SYNC_DAMAGE, SYNC_LATER,
	    "1 the chains differ, 2 a restore is needed, 3 no such record, "
	    "4 no master in that term, 5 not now"),
	ZERO(37, 3),
};

static const struct msg_field ticket[] = {
	SOME(msg_ticket, 0, attempt, "number of the syncup"),
	SOME(msg_ticket, 8, connection, "number of the data connection"),
	TERM(msg_ticket, 16, term, "the master's"),
	VLSN(msg_ticket, 24, vlsn, "matchpoint; 0 = the beginning"),
	TERM_OR_NONE(msg_ticket, 32, vlsn_term, "its term"),
	VLSN(msg_ticket, 40, until,
	    "source 2: newest VLSN that it gives; else 0"),
	ANY(msg_ticket, 48, crc, "the chain behind the matchpoint"),
	ANY(msg_ticket, 52, epoch, "the master's log epoch"),
	ANY(msg_ticket, 54, their_epoch, "the replica's log epoch"),
	NUMBER(msg_ticket, 56, source, FEED_LIVE, FEED_SEGMENTS,
	    "1 live, 2 segment files"),
	ZERO(57, 7),
	BYTES(msg_ticket, 64, nonce, "random, of the data connection"),
};
/* clang-format on */

/* Terms and VLSNs of runs rise, and the last record is of the last run. */
static const char *
runs_check(const void *msg)
{
	const struct msg_runs *m = msg;
	unsigned i, n = m->run_count;

	for (i = 1; i < n; i++) {
		if (m->run[i].term <= m->run[i - 1].term)
			return "run";
		if (m->run[i].first <= m->run[i - 1].first)
			return "run";
	}
	if ((m->last == 0) != (n == 0))
		return "run";
	if (n > 0 && m->run[n - 1].first > m->last)
		return "last";
	if (m->last_term != (n > 0 ? m->run[n - 1].term : 0) ||
	    m->last_term > m->term)
		return "last_term";
	if (m->first > m->last + 1 || (m->first == 0 && m->last != 0))
		return "first";
	return NULL;
}

static const char *
match_check(const void *msg)
{
	const struct msg_match *m = msg;

	return matchpoint_check(m->vlsn, m->vlsn_term, m->crc, m->term);
}

static const char *
sync_refused_check(const void *msg)
{
	const struct msg_sync_refused *m = msg;

	return m->reason != SYNC_DAMAGE && m->crc != 0 ? "crc" : NULL;
}

static const char *
ticket_check(const void *msg)
{
	const struct msg_ticket *m = msg;
	const char *wrong =
	    matchpoint_check(m->vlsn, m->vlsn_term, m->crc, m->term);

	return wrong != NULL ? wrong
			     : until_check(m->source, m->vlsn, m->until);
}

LAYOUT(msg_runs, runs, 56, runs_check);
LAYOUT(msg_match, match, 48, match_check);
LAYOUT(msg_sync_refused, sync_refused, 40, sync_refused_check);
LAYOUT(msg_ticket, ticket, 96, ticket_check);
