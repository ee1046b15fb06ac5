/*
 * The table behind group_step(), for its test and for whoever wants to read
 * it. What an event means in the state that the core is in is a fact; a row
 * says what that fact does in one state. Rows are the exceptions: any other
 * fact is ignored, for the one reason that its state has for that.
 */
#ifndef WORKERS_GROUP_CORE_TABLE_H
#define WORKERS_GROUP_CORE_TABLE_H

#include "workers/group/core/acts.h"

enum group_fact {
	FACT_JOINED, /* booted, takes part */
	FACT_BARRED, /* booted, takes part in nothing */
	FACT_REFUSED, /* booted from what cannot be trusted */
	FACT_ALONE, /* nobody else votes */
	FACT_SPENT, /* terms or epochs are used up */
	FACT_VOTED, /* own vote is durable, a quorum is missing */
	FACT_ELECTED, /* a quorum's votes, the own one is durable */
	FACT_STORE_FAILED, /* a promise could not be made durable */
	FACT_TERM_APPENDED,
	FACT_TERM_COMMITTED,
	FACT_MEMBER_APPENDED,
	FACT_MEMBER_REFUSED,
	FACT_MEMBER_COMMITTED,
	FACT_MEMBER_CUT,
	FACT_REMOVED, /* a committed membership is without us */
	FACT_LAPSED, /* no commit quorum answered for two leases */
	FACT_SILENT, /* no master is heard, no promise binds us */
	FACT_TIMED_OUT, /* stood, or asked whether to, in vain */
	FACT_PREVOTED, /* a quorum would vote for us */
	FACT_FENCED, /* the log's end is known for good */
	FACT_PREVOTE_ASKED,
	FACT_VOTE_ASKED, /* and may be given, as far as is known */
	FACT_VOTE_GIVEN, /* that vote is asked for that it has, durably */
	FACT_VOTE_REFUSED, /* it is asked for what it cannot have */
	FACT_ROUND_DUE,
	FACT_ROUND_ANSWERED,
	FACT_OUTRUN, /* a voter is in a newer term than its master */
	FACT_FOLLOWED, /* a round of this term's master */
	FACT_OUTRANKED, /* a round of a newer term's master */
	FACT_PROMISE_LONGER, /* a round that asks for a longer promise */
	FACT_RELEASED, /* the master that is followed lets go */
	FACT_BEAT_OLD, /* a round of an older term's master */
	FACT_STOP,
	FACT_COUNT
};

struct group_row {
	enum role state;
	enum group_fact fact;
	enum role next;
	group_act *act; /* NULL: the state changes, nothing else */
	const char *why;
};

extern const struct group_row group_table[];
extern const size_t group_table_rows;
/* Why a state ignores what it has no row for. */
extern const char *const group_ignores[ROLE_COUNT];

/* Which of joined, barred, refused a boot is; takes over what was read. */
enum group_fact group_boot_fact(
    struct group_core *c, const struct group_boot *b, struct group_wants *out);

#endif
