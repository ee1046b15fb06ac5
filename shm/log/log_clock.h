/*
 * Log time: what records are stamped with and expiry is judged by. It follows
 * the wall clock. Where that is behind it, log time goes on by the monotonic
 * clock, a little slower, until both meet; beyond max_clock_step it goes back
 * at once, but only by a CLOCK record (record.h), since whoever replays the
 * log must judge as it was judged here. The clock is pure.
 */
#ifndef SHM_LOG_LOG_CLOCK_H
#define SHM_LOG_LOG_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/log/record.h"
#include "shm/position.h"

struct log_clock {
	int64_t ms; /* log time */
	uint32_t rest_ns; /* beyond ms */
	uint64_t mono_ns; /* when it was that */
	bool waits; /* for the wall clock to come up with it */
	bool running; /* it was in step with the wall clock before */
};

enum log_clock_event {
	LOG_CLOCK_GOES, /* nothing to tell */
	LOG_CLOCK_AHEAD, /* the wall clock was set ahead, and is followed */
	LOG_CLOCK_BACK /* it is far behind: a CLOCK record is due */
};

/* What an event is about. */
struct log_clock_step {
	int64_t from_ms; /* log time without it */
	int64_t to_ms; /* the wall clock */
	enum clock_cause cause; /* of a CLOCK record */
};

/* Log time as the newest record has it, at CLOCK_MONOTONIC mono_ns. */
void log_clock_open(struct log_clock *c, int64_t newest_ms, uint64_t mono_ns);
/*
 * Time has passed. step is filled in but for LOG_CLOCK_GOES. BACK is said
 * again and again until log_clock_went_back(); log time goes on meanwhile.
 */
enum log_clock_event log_clock_turn(struct log_clock *c, uint64_t mono_ns,
    int64_t wall_ms, int64_t max_step_ms, struct log_clock_step *step);
/* The CLOCK record for this step is in the log. */
void
log_clock_went_back(struct log_clock *c, const struct log_clock_step *step);

/*
 * When the wall clock will have come up with log time, if that goes on slower
 * from now on: one word for others to know log time at any moment by, until
 * the wall clock is set again. 0 = it has.
 */
uint64_t log_clock_meet(const struct log_clock *c, int64_t wall_ms);
/* By that word: how far log time is ahead of the wall clock. */
int64_t log_clock_ahead_ms(uint64_t meet_ns, uint64_t mono_ns);
/*
 * Log time now for others than wal, from what it publishes. A wall clock that
 * is too far behind is believed: a CLOCK record is coming.
 */
int64_t log_now_ms(const struct positions *pos, uint64_t mono_ns,
    int64_t wall_ms, int64_t max_step_ms);

/*
 * A process that is told the time shall not be told an earlier one, though wal
 * may not have seen yet that the wall clock was set. That takes it a second:
 * what it has not made good then has gone back.
 */
struct log_seen {
	int64_t ms; /* the latest */
	uint64_t mono_ns; /* when it was told */
	uint64_t held_ns; /* since when ms is told again; 0 = it is not */
};

/*
 * What to tell where log_now_ms() is now_ms. back_ns: positions.clock_back,
 * read before; who was told nothing since then believes what it is told now.
 */
int64_t log_clock_seen(struct log_seen *s, uint64_t mono_ns, int64_t now_ms,
    int64_t max_step_ms, uint64_t back_ns);

#endif
