/*
 * Log time; see log_clock.h.
 */
#include "shm/log/log_clock.h"

#include "shm/assert.h"
#include "shm/bits.h"

/* While it waits for the wall clock it loses one in so many milliseconds. */
#define SLOWER 8u
/* 63 years: what a word of nanoseconds can tell. */
#define AHEAD_MAX INT64_C(2000000000000)
/* Twice as long as wal takes to look at the clock, if it has nothing to do. */
#define HELD_MAX_NS (2 * NS_PER_S)

void
log_clock_open(struct log_clock *c, int64_t newest_ms, uint64_t mono_ns)
{
	c->ms = newest_ms;
	c->rest_ns = 0;
	c->mono_ns = mono_ns;
	c->waits = c->running = false;
}

static void
go_on(struct log_clock *c, uint64_t mono_ns, bool slower)
{
	uint64_t passed = mono_ns - c->mono_ns;
	uint64_t ns = passed - (slower ? passed / SLOWER : 0) + c->rest_ns;

	ASSERT(mono_ns >= c->mono_ns);
	ASSERT(c->rest_ns < NS_PER_MS);
	c->ms += (int64_t)(ns / NS_PER_MS);
	c->rest_ns = (uint32_t)(ns % NS_PER_MS);
	c->mono_ns = mono_ns;
}

static void
set(struct log_clock *c, int64_t ms)
{
	c->ms = ms;
	c->rest_ns = 0;
}

enum log_clock_event
log_clock_turn(struct log_clock *c, uint64_t mono_ns, int64_t wall_ms,
    int64_t max_step_ms, struct log_clock_step *step)
{
	uint64_t passed_ms = (mono_ns - c->mono_ns) / NS_PER_MS;
	bool was_running = c->running;

	step->to_ms = wall_ms;
	if (wall_ms < c->ms && c->ms - wall_ms > max_step_ms) {
		go_on(c, mono_ns, false);
		step->from_ms = c->ms;
		step->cause = was_running ? CLOCK_SET_BACK : CLOCK_WAS_AHEAD;
		return LOG_CLOCK_BACK;
	}
	step->from_ms = c->ms + (int64_t)passed_ms;
	step->cause = 0;
	c->running = true;
	if (c->waits || wall_ms < c->ms)
		go_on(c, mono_ns, true);
	c->waits = wall_ms < c->ms;
	if (c->waits)
		return LOG_CLOCK_GOES;
	/* Log time never falls but by log_clock_went_back(). */
	ASSERT(wall_ms >= c->ms);
	set(c, wall_ms);
	c->mono_ns = mono_ns;
	/* A node may have been down for any time: that is no step. */
	return was_running && wall_ms - step->from_ms > max_step_ms
		   ? LOG_CLOCK_AHEAD
		   : LOG_CLOCK_GOES;
}

void
log_clock_went_back(struct log_clock *c, const struct log_clock_step *step)
{
	ASSERT(step->to_ms < step->from_ms);
	set(c, step->to_ms);
	c->running = true;
}

uint64_t
log_clock_meet(const struct log_clock *c, int64_t wall_ms)
{
	int64_t ahead = c->ms - wall_ms;

	if (ahead <= 0)
		return 0;
	if (ahead > AHEAD_MAX)
		ahead = AHEAD_MAX;
	return c->mono_ns + (uint64_t)ahead * NS_PER_MS * SLOWER;
}

int64_t
log_clock_ahead_ms(uint64_t meet_ns, uint64_t mono_ns)
{
	return meet_ns > mono_ns
		   ? (int64_t)((meet_ns - mono_ns) / SLOWER / NS_PER_MS)
		   : 0;
}

int64_t
log_now_ms(const struct positions *pos, uint64_t mono_ns, int64_t wall_ms,
    int64_t max_step_ms)
{
	int64_t newest = (int64_t)position_get(&pos->clock_ms);
	int64_t ahead =
	    log_clock_ahead_ms(position_get(&pos->clock_meet), mono_ns);
	int64_t now = wall_ms;

	if (ahead <= max_step_ms)
		now += ahead;
	/* Never behind what the log's records were judged by. */
	if (newest > now && newest - now <= max_step_ms)
		now = newest;
	return now;
}

int64_t
log_clock_seen(struct log_seen *s, uint64_t mono_ns, int64_t now_ms,
    int64_t max_step_ms, uint64_t back_ns)
{
	int64_t passed_ms = (int64_t)((mono_ns - s->mono_ns) / NS_PER_MS);
	bool held = s->held_ns != 0 && mono_ns - s->held_ns >= HELD_MAX_NS;
	bool went_back = back_ns > s->mono_ns;

	if (now_ms >= s->ms || held || went_back ||
	    s->ms - now_ms > max_step_ms - passed_ms) {
		*s = (struct log_seen){ now_ms, mono_ns, 0 };
		return now_ms;
	}
	if (s->held_ns == 0)
		s->held_ns = mono_ns;
	return s->ms;
}
