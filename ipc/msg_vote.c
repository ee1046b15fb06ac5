/*
 * Heartbeats, votes, releases, read index: see msg_vote.h.
 */
#include "ipc/msg_codec.h"

#define CLOCKS(body, at, who)                                                  \
	VLSN(body, at, clock_vlsn,                                             \
	    "newest master time that " who " has seen: VLSN of the newest "    \
	    "clock record before it"),                                         \
	    CLOCK(body, (at) + 8, clock_ms, "and the time, ms since 1970")

/* clang-format off */
static const struct msg_field rank[] = {
	SOME(round_rank, 0, incarnation, "a member"),
	VLSN(round_rank, 8, matched, "how far its log is known to match"),
	ANY(round_rank, 16, priority, "its priority"),
	NUMBER(round_rank, 20, rank, 0, MEMBER_MAX - 1,
	    "how many members are to stand before it"),
	ZERO(21, 3),
};

static const struct msg_field round_[] = {
	TERM(msg_round, 0, term, "the master's"),
	SOME(msg_round, 8, round, "number of the round"),
	VLSN(msg_round, 16, committed, "VLSN up to which all is committed"),
	CLOCKS(msg_round, 24, "the master"),
	NUMBER(msg_round, 40, lease_ms, 1, ROUND_LEASE_MAX,
	    "what who answers promises from receipt, ms"),
	NUMBER(msg_round, 44, flags, 0, ROUND_FLAGS,
	    "1 disk full, 2 disk stalled, 4 log closed, 8 fed from segment "
	    "files, 16 needs a restore"),
	LIST(msg_round, 46, rank, rank_count, 0, MEMBER_MAX, rank, 24,
	    "members in the order of the membership"),
};

static const struct msg_field round_answer[] = {
	TERM(msg_round_answer, 0, term, "the member's"),
	SOME(msg_round_answer, 8, round, "number of the round"),
	NUMBER(msg_round_answer, 16, promise_ms, 0, ROUND_LEASE_MAX,
	    "what was promised, ms; 0 = nothing"),
	NUMBER(msg_round_answer, 20, verdict, ROUND_TAKEN, ROUND_LATE,
	    "1 taken, 2 the member's term is higher, 3 an old round"),
	ZERO(21, 1),
	NUMBER(msg_round_answer, 22, flags, 0, ROUND_FLAGS, "as in a round"),
	VLSN(msg_round_answer, 24, first, "oldest VLSN in the member's log"),
	VLSN(msg_round_answer, 32, matched, "matched in this term"),
	VLSN(msg_round_answer, 40, appended, "newest VLSN in its log"),
	VLSN(msg_round_answer, 48, durable, "newest VLSN on its disk"),
	VLSN(msg_round_answer, 56, applied, "newest VLSN in its store"),
	CLOCKS(msg_round_answer, 64, "the member"),
};

static const struct msg_field vote[] = {
	TERM(msg_vote, 0, term, "that is stood in"),
	SOME(msg_vote, 8, boot_count, "counter of the candidate's boot"),
	SOME(msg_vote, 16, boot, "and its random id"),
	TERM_OR_NONE(msg_vote, 24, last_term, "term of its last record"),
	VLSN(msg_vote, 32, last, "and that record"),
	VLSN(msg_vote, 40, member_vlsn, "its newest membership record"),
	VLSN(msg_vote, 48, matched,
	    "matched in the last term, as heartbeats said"),
	ANY(msg_vote, 56, priority, "its priority"),
	NUMBER(msg_vote, 60, index, 0, MEMBER_MAX - 1,
	    "its place in the membership"),
	ZERO(62, 2),
	CLOCKS(msg_vote, 64, "the candidate"),
	ANY(msg_vote, 80, released_master,
	    "a master whose lease is released; 0: none"),
	TERM_OR_NONE(msg_vote, 88, released_term,
	    "and the term it was master in"),
};

static const struct msg_field vote_answer[] = {
	TERM_OR_NONE(msg_vote_answer, 0, term, "the voter's"),
	TERM(msg_vote_answer, 8, asked, "that was asked for"),
	SOME(msg_vote_answer, 16, boot_count, "counter of the boot that asked"),
	SOME(msg_vote_answer, 24, boot, "and its random id"),
	TERM_OR_NONE(msg_vote_answer, 32, last_term,
	    "term of the voter's last record"),
	VLSN(msg_vote_answer, 40, last, "and that record"),
	CLOCKS(msg_vote_answer, 48, "the voter"),
	NUMBER(msg_vote_answer, 64, promise_ms, 0, ROUND_LEASE_MAX,
	    "left of the voter's promise, ms"),
	NUMBER(msg_vote_answer, 68, verdict, VOTE_GRANTED, VOTE_WORSE,
	    "1 granted, 2 the term is not higher, 3 given to another, 4 the "
	    "voter's log is newer, 5 a promise holds, 6 no voter, 7 busy, "
	    "8 the voter itself is better"),
	ZERO(69, 3),
};

static const struct msg_field released[] = {
	TERM(msg_released, 0, term, "that the master was master in"),
	SOME(msg_released, 8, master, "its incarnation"),
	NUMBER(msg_released, 16, stand, 0, 1, "1: stand at once"),
	ZERO(17, 7),
};

static const struct msg_field read_[] = {
	SOME(msg_read, 0, ticket, "newest read that waits"),
	TERM(msg_read, 8, term, "that the reader is in"),
};

static const struct msg_field read_answer[] = {
	SOME(msg_read_answer, 0, ticket, "all reads up to it"),
	TERM(msg_read_answer, 8, term, "the answering member's"),
	VLSN(msg_read_answer, 16, committed, "what these reads must see"),
	NUMBER(msg_read_answer, 24, verdict, READ_GIVEN, READ_TOO_EARLY,
	    "1 given, 2 no master, 3 no lease, 4 the term's first record is "
	    "not committed"),
	ZERO(25, 7),
};
/* clang-format on */

/* Each member once. */
static const char *
round_check(const void *msg)
{
	const struct msg_round *m = msg;
	unsigned i, k;

	for (i = 0; i < m->rank_count; i++)
		for (k = 0; k < i; k++)
			if (m->rank[k].incarnation == m->rank[i].incarnation)
				return "incarnation";
	return NULL;
}

static const char *
round_answer_check(const void *msg)
{
	const struct msg_round_answer *m = msg;

	if (m->verdict != ROUND_TAKEN && m->promise_ms != 0)
		return "promise_ms";
	if (m->matched > m->appended)
		return "matched";
	if (m->durable > m->appended)
		return "durable";
	return NULL;
}

/* A candidate stands above the term of its log, and of whom it releases. */
static const char *
vote_check(const void *msg)
{
	const struct msg_vote *m = msg;

	if ((m->last == 0) != (m->last_term == 0) || m->last_term >= m->term)
		return "last_term";
	if ((m->released_master == 0) != (m->released_term == 0) ||
	    m->released_term >= m->term)
		return "released_term";
	return NULL;
}

static const char *
vote_answer_check(const void *msg)
{
	const struct msg_vote_answer *m = msg;

	if ((m->last == 0) != (m->last_term == 0) || m->last_term > m->term)
		return "last_term";
	if (m->verdict == VOTE_GRANTED && m->term > m->asked)
		return "term";
	if (m->verdict == VOTE_TERM && m->term < m->asked)
		return "term";
	return NULL;
}

static const char *
read_answer_check(const void *msg)
{
	const struct msg_read_answer *m = msg;

	return m->verdict != READ_GIVEN && m->committed != 0 ? "committed"
							     : NULL;
}

LAYOUT(msg_round, round_, 48, round_check);
LAYOUT(msg_round_answer, round_answer, 80, round_answer_check);
LAYOUT(msg_vote, vote, 96, vote_check);
LAYOUT(msg_vote_answer, vote_answer, 72, vote_answer_check);
LAYOUT(msg_released, released, 24, NULL);
LAYOUT(msg_read, read_, 16, NULL);
LAYOUT(msg_read_answer, read_answer, 32, read_answer_check);
