/*
 * What each fact does in each state: the table that group_step() follows and
 * that its test checks for legal edges only. Facts are explained in table.h.
 *
 * DETACHED: before the boot's reading, and for good in what takes part in
 * nothing. UNKNOWN: in the group, no master known; stands. REPLICA: follows
 * one. MASTER: won this term. SHUTDOWN: final.
 */
#include "workers/group/core/table.h"

#include "shm/assert.h"

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
	ROW(DETACHED, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

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
	ROW(UNKNOWN, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

	ROW(REPLICA, VOTED, REPLICA, act_voted,
	    "vote is durable"),
	ROW(REPLICA, STORE_FAILED, UNKNOWN, act_store_failed,
	    "(term, vote) could not be stored"),
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
	ROW(REPLICA, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),

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
	ROW(MASTER, REMOVED, UNKNOWN, act_removed,
	    "was removed from the group"),
	ROW(MASTER, LAPSED, UNKNOWN, act_step_down,
	    "the lease ran out and no quorum renewed it"),
	ROW(MASTER, STOP, SHUTDOWN, act_stop,
	    "asked to stop"),
};
/* clang-format on */

const size_t group_table_rows = NITEMS(group_table);

const char *const group_ignores[ROLE_COUNT] = {
	[ROLE_DETACHED] = "takes part in nothing",
	[ROLE_UNKNOWN] = "has booted, and neither leads nor follows",
	[ROLE_REPLICA] = "follows a master",
	[ROLE_MASTER] = "is the master",
	[ROLE_SHUTDOWN] = "has stopped",
};
