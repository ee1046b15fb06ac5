/*
 * What each fact does in each state: the table that group_step() follows and
 * that its test checks for exactly one row per (state, fact) and for legal
 * edges only. Facts are explained in group_core.h.
 *
 * DETACHED: before the boot's reading, and for good in what takes part in
 * nothing. UNKNOWN: in the group, no master known; stands. REPLICA: follows
 * one. MASTER: won this term. SHUTDOWN: final.
 */
#include "workers/group/group_core.h"

#include "shm/assert.h"
#include "workers/group/group_acts.h"

#define ROW(state, fact, next, act, why)                                       \
	{                                                                      \
		ROLE_##state, FACT_##fact, ROLE_##next, act, why               \
	}

/* clang-format off */
const struct group_row group_table[] = {
	ROW(DETACHED, JOINED, UNKNOWN, act_join,
	    "the disk has been read"),
	ROW(DETACHED, BARRED, DETACHED, act_bar,
	    "recovery mode readonly: takes part in nothing"),
	ROW(DETACHED, REFUSED, DETACHED, act_refuse,
	    "what is on disk cannot be trusted"),
	ROW(DETACHED, ALONE, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, SPENT, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, VOTED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, ELECTED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, STORE_FAILED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, TERM_APPENDED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, TERM_COMMITTED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, MEMBER_APPENDED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, MEMBER_REFUSED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, MEMBER_COMMITTED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, MEMBER_CUT, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, REMOVED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, LAPSED, DETACHED, NULL,
	    "ignored: takes part in nothing"),
	ROW(DETACHED, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

	ROW(UNKNOWN, JOINED, UNKNOWN, NULL,
	    "ignored: has booted already"),
	ROW(UNKNOWN, BARRED, UNKNOWN, NULL,
	    "ignored: has booted already"),
	ROW(UNKNOWN, REFUSED, UNKNOWN, NULL,
	    "ignored: has booted already"),
	ROW(UNKNOWN, ALONE, UNKNOWN, act_stand,
	    "is an election quorum by itself: stands"),
	ROW(UNKNOWN, SPENT, UNKNOWN, act_spent,
	    "terms or log epochs are used up"),
	ROW(UNKNOWN, VOTED, UNKNOWN, act_voted,
	    "own vote is durable, a quorum is missing"),
	ROW(UNKNOWN, ELECTED, MASTER, act_lead,
	    "won the term: a quorum's votes are durable"),
	ROW(UNKNOWN, STORE_FAILED, UNKNOWN, act_store_failed,
	    "(term, vote) could not be stored"),
	ROW(UNKNOWN, TERM_APPENDED, UNKNOWN, NULL,
	    "ignored: of a mastership that is over"),
	ROW(UNKNOWN, TERM_COMMITTED, UNKNOWN, NULL,
	    "ignored: of a mastership that is over"),
	ROW(UNKNOWN, MEMBER_APPENDED, UNKNOWN, act_member_appended,
	    "a membership is in the log"),
	ROW(UNKNOWN, MEMBER_REFUSED, UNKNOWN, act_member_refused,
	    "the log took no membership"),
	ROW(UNKNOWN, MEMBER_COMMITTED, UNKNOWN, act_member_committed,
	    "the membership is committed"),
	ROW(UNKNOWN, MEMBER_CUT, UNKNOWN, act_member_cut,
	    "the membership was cut from the log"),
	ROW(UNKNOWN, REMOVED, UNKNOWN, act_member_committed,
	    "was removed from the group"),
	ROW(UNKNOWN, LAPSED, UNKNOWN, NULL,
	    "ignored: holds no lease"),
	ROW(UNKNOWN, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

	ROW(REPLICA, JOINED, REPLICA, NULL,
	    "ignored: has booted already"),
	ROW(REPLICA, BARRED, REPLICA, NULL,
	    "ignored: has booted already"),
	ROW(REPLICA, REFUSED, REPLICA, NULL,
	    "ignored: has booted already"),
	ROW(REPLICA, ALONE, REPLICA, NULL,
	    "ignored: follows a master"),
	ROW(REPLICA, SPENT, REPLICA, NULL,
	    "ignored: follows a master"),
	ROW(REPLICA, VOTED, REPLICA, act_voted,
	    "vote is durable"),
	ROW(REPLICA, ELECTED, REPLICA, NULL,
	    "ignored: follows a master of this term"),
	ROW(REPLICA, STORE_FAILED, UNKNOWN, act_store_failed,
	    "(term, vote) could not be stored"),
	ROW(REPLICA, TERM_APPENDED, REPLICA, NULL,
	    "ignored: of a mastership that is over"),
	ROW(REPLICA, TERM_COMMITTED, REPLICA, NULL,
	    "ignored: of a mastership that is over"),
	ROW(REPLICA, MEMBER_APPENDED, REPLICA, act_member_appended,
	    "a membership is in the log"),
	ROW(REPLICA, MEMBER_REFUSED, REPLICA, act_member_refused,
	    "the log took no membership"),
	ROW(REPLICA, MEMBER_COMMITTED, REPLICA, act_member_committed,
	    "the membership is committed"),
	ROW(REPLICA, MEMBER_CUT, REPLICA, act_member_cut,
	    "the membership was cut from the log"),
	ROW(REPLICA, REMOVED, UNKNOWN, act_member_committed,
	    "was removed from the group"),
	ROW(REPLICA, LAPSED, REPLICA, NULL,
	    "ignored: holds no lease"),
	ROW(REPLICA, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

	ROW(MASTER, JOINED, MASTER, NULL,
	    "ignored: has booted already"),
	ROW(MASTER, BARRED, MASTER, NULL,
	    "ignored: has booted already"),
	ROW(MASTER, REFUSED, MASTER, NULL,
	    "ignored: has booted already"),
	ROW(MASTER, ALONE, MASTER, NULL,
	    "ignored: is the master"),
	ROW(MASTER, SPENT, MASTER, NULL,
	    "ignored: is the master"),
	ROW(MASTER, VOTED, MASTER, NULL,
	    "ignored: is the master"),
	ROW(MASTER, ELECTED, MASTER, NULL,
	    "ignored: is the master"),
	ROW(MASTER, STORE_FAILED, MASTER, act_store_failed,
	    "(term, vote) could not be stored"),
	ROW(MASTER, TERM_APPENDED, MASTER, act_term_appended,
	    "first record of the term is in the log"),
	ROW(MASTER, TERM_COMMITTED, MASTER, act_term_committed,
	    "first record of the term is committed"),
	ROW(MASTER, MEMBER_APPENDED, MASTER, act_member_appended,
	    "a membership is in the log"),
	ROW(MASTER, MEMBER_REFUSED, MASTER, act_member_refused,
	    "the log took no membership"),
	ROW(MASTER, MEMBER_COMMITTED, MASTER, act_member_committed,
	    "the membership is committed"),
	ROW(MASTER, MEMBER_CUT, MASTER, NULL,
	    "ignored: a master never cuts its log"),
	ROW(MASTER, REMOVED, UNKNOWN, act_removed,
	    "was removed from the group"),
	ROW(MASTER, LAPSED, UNKNOWN, act_step_down,
	    "the lease ran out and no quorum renewed it"),
	ROW(MASTER, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

	ROW(SHUTDOWN, JOINED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, BARRED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, REFUSED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, ALONE, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, SPENT, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, VOTED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, ELECTED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, STORE_FAILED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, TERM_APPENDED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, TERM_COMMITTED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, MEMBER_APPENDED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, MEMBER_REFUSED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, MEMBER_COMMITTED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, MEMBER_CUT, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, REMOVED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, LAPSED, SHUTDOWN, NULL,
	    "ignored: has stopped"),
	ROW(SHUTDOWN, STOP, SHUTDOWN, NULL,
	    "ignored: has stopped"),
};
/* clang-format on */

const size_t group_table_rows = NITEMS(group_table);

_Static_assert(NITEMS(group_table) == FACT_COUNT * ROLE_COUNT, "rows");

const char *
group_forced_text(enum group_forced bit)
{
	switch (bit) {
	case GROUP_FORCED_TERM:
		return "the state file is older than the log: its term is "
		       "taken from the log";
	case GROUP_FORCED_LOG:
		return "the log ends before the record that the members file "
		       "is a copy of: records are lost";
	case GROUP_FORCED_MEMBERS:
		return "the group's membership is lost: the one in the "
		       "configuration takes its place";
	}
	return "forced?";
}
