/*
 * Log time by itself: it follows the wall clock ahead, goes on slower than
 * the monotonic clock while the wall clock is a little behind, and goes back
 * only where a CLOCK record says so; what others than wal take for it.
 */
#include "t/tap.h"

#include <string.h>

#include "shm/bits.h"
#include "shm/log/log_clock.h"

#define STEP 10000
#define DAY  (24 * 3600 * INT64_C(1000))
#define T0   INT64_C(1700000000000)

static struct log_clock c;
static struct log_clock_step step;
static uint64_t mono_ms;

/* So much later, with this on the wall. */
static enum log_clock_event
turn(uint64_t later_ms, int64_t wall_ms)
{
	mono_ms += later_ms;
	return log_clock_turn(&c, mono_ms * NS_PER_MS, wall_ms, STEP, &step);
}

static void
begin(int64_t newest_ms)
{
	mono_ms = 5000;
	log_clock_open(&c, newest_ms, mono_ms * NS_PER_MS);
}

static void
test_follows(void)
{
	begin(0);
	is_u64(turn(0, T0), LOG_CLOCK_GOES, "an empty log");
	is_i64(c.ms, T0, "begins with the wall clock");
	begin(T0 - DAY);
	is_u64(turn(3, T0), LOG_CLOCK_GOES, "a day without a node is no step");
	is_i64(c.ms, T0, "log time is the wall's");
	is_u64(turn(1000, T0 + 1000), LOG_CLOCK_GOES, "a second later");
	is_i64(c.ms, T0 + 1000, "a second more");
	is_u64(turn(1000, T0 + 2000 + STEP), LOG_CLOCK_GOES, "a step of 10 s");
	is_i64(c.ms, T0 + 2000 + STEP, "is followed, untold");
	is_u64(turn(500, T0 + 2501 + 2 * STEP), LOG_CLOCK_AHEAD, "1 ms more");
	is_i64(c.ms, T0 + 2501 + 2 * STEP, "is followed as well");
	is_i64(step.from_ms, T0 + 2500 + STEP, "told from where");
	is_i64(step.to_ms, c.ms, "and to where");
	is_u64(turn(10, c.ms + 10), LOG_CLOCK_GOES, "once");
}

static void
test_waits(void)
{
	int64_t wall, before, behind = STEP;
	unsigned turns = 0;

	begin(T0);
	is_u64(turn(0, T0 - STEP), LOG_CLOCK_GOES, "10 s behind at boot");
	is_i64(c.ms, T0, "log time stays");
	for (wall = T0 - STEP; behind > 0 && turns < 100000; turns++) {
		before = c.ms;
		wall += 7;
		if (turn(7, wall) != LOG_CLOCK_GOES || c.ms < before)
			break;
		behind = c.ms - wall;
	}
	is_i64(c.ms, wall, "they meet");
	ok(turns * 7 >= 8 * STEP - 10 && turns * 7 <= 8 * STEP + 10,
	    "after eight times as long: %u ms", turns * 7);
	begin(T0);
	turn(0, T0);
	turn(800, T0 - 200);
	is_i64(c.ms, T0 + 700, "set back by a second: 7 of 8 ms count");
	turn(3, T0 - 197);
	turn(5, T0 - 192);
	is_i64(c.ms, T0 + 707, "none is lost in small turns");
	turn(8000, T0 + 7808);
	is_i64(c.ms, T0 + 7707 + 101, "met");
	turn(100, T0 + 7608);
	is_i64(c.ms, T0 + 7895, "set back again");
	turn(1000, T0 + 8608);
	is_i64(c.ms, T0 + 8770, "turns far apart: not below what others know");
	begin(T0);
	turn(0, T0 - 899);
	is_u64(log_clock_meet(&c, T0 - 899), (mono_ms + 899 * 8) * NS_PER_MS,
	    "when they will meet");
	is_i64(log_clock_ahead_ms(
		   log_clock_meet(&c, T0 - 899), (mono_ms + 80) * NS_PER_MS),
	    889, "by which others know what it is ahead");
}

static void
test_goes_back(void)
{
	begin(T0);
	turn(0, T0);
	turn(1000, T0 + 1000);
	is_u64(
	    turn(1000, T0 + 2000 - DAY), LOG_CLOCK_BACK, "set back by a day");
	is_i64(step.from_ms, T0 + 2000, "from where it would be");
	is_i64(step.to_ms, T0 + 2000 - DAY, "to the wall clock");
	is_u64(step.cause, CLOCK_SET_BACK, "while running");
	is_u64(turn(800, T0 + 2800 - DAY), LOG_CLOCK_BACK, "not written yet");
	is_i64(c.ms, T0 + 2800, "it goes on meanwhile");
	log_clock_went_back(&c, &step);
	is_i64(c.ms, T0 + 2800 - DAY, "written");
	is_u64(turn(100, T0 + 2900 - DAY), LOG_CLOCK_GOES, "all is well");
	is_i64(c.ms, T0 + 2900 - DAY, "by the wall clock");

	begin(T0 + 3650 * DAY);
	is_u64(turn(5, T0), LOG_CLOCK_BACK, "a log of ten years ahead");
	is_u64(step.cause, CLOCK_WAS_AHEAD, "at boot");
	is_u64(turn(100, T0 + 3650 * DAY), LOG_CLOCK_GOES,
	    "the clock is set ahead again: no record");
	is_u64(turn(100, T0), LOG_CLOCK_BACK, "and back");
	is_u64(step.cause, CLOCK_SET_BACK, "while running");
	begin(T0);
	is_u64(turn(0, T0 - STEP - 1), LOG_CLOCK_BACK, "more than 10 s is far");
}

static void
test_others(void)
{
	static struct positions pos;
	const uint64_t now = 3600 * NS_PER_S;
	struct log_clock far = { .ms = T0 + 40 * 365 * DAY, .mono_ns = now };

	memset(&pos, 0, sizeof(pos));
	is_i64(log_now_ms(&pos, now, T0, STEP), T0, "the wall clock");
	position_set(&pos.clock_ms, (uint64_t)(T0 + 5));
	is_i64(log_now_ms(&pos, now, T0, STEP), T0 + 5, "not behind a record");
	position_set(&pos.clock_meet, now + 8 * STEP * NS_PER_MS);
	is_i64(log_now_ms(&pos, now, T0, STEP), T0 + STEP,
	    "with what it is ahead");
	is_i64(log_now_ms(&pos, now + 8 * NS_PER_S, T0 + 8000, STEP),
	    T0 + 7000 + STEP, "which is less after a while");
	is_i64(log_now_ms(&pos, now + 800 * NS_PER_S, T0 + 800000, STEP),
	    T0 + 800000, "and nothing then");
	position_set(&pos.clock_meet, now + 8 * (STEP + 1) * NS_PER_MS);
	is_i64(log_now_ms(&pos, now, T0, STEP), T0 + 5, "but not too much");
	position_set(&pos.clock_ms, (uint64_t)(T0 + DAY));
	is_i64(log_now_ms(&pos, now, T0, STEP), T0,
	    "a day ahead: a CLOCK record is coming");
	is_i64(log_now_ms(&pos, now, T0 + 2 * DAY, STEP), T0 + 2 * DAY,
	    "the wall clock is ahead: it will be followed");
	is_i64(log_clock_ahead_ms(log_clock_meet(&far, T0), now),
	    40 * 365 * DAY, "40 years can be told");
	far.ms = INT64_MAX / 2;
	ok(log_clock_ahead_ms(log_clock_meet(&far, T0), now) > 60 * 365 * DAY,
	    "of what cannot: much");
}

static int64_t went_back_ms; /* after the beginning; 0 = it did not */

/* So long after the beginning, with this told by log_now_ms(). */
static int64_t
seen(struct log_seen *s, int64_t after_ms, int64_t now_ms)
{
	return log_clock_seen(s, (uint64_t)(5000 + after_ms) * NS_PER_MS,
	    now_ms, STEP,
	    went_back_ms == 0 ? 0
			      : (uint64_t)(5000 + went_back_ms) * NS_PER_MS);
}

static void
test_seen(void)
{
	struct log_seen s = { 0, 0, 0 };

	is_i64(seen(&s, 0, T0), T0, "the first");
	is_i64(seen(&s, 100, T0 + 100), T0 + 100, "it goes on");
	is_i64(seen(&s, 200, T0 - 4800), T0 + 100, "not back by 5 s");
	is_i64(seen(&s, 1100, T0 - 3900), T0 + 100, "nor while it is held");
	is_i64(seen(&s, 1200, T0 + 1100), T0 + 1100, "wal has seen it");
	is_i64(seen(&s, 1300, T0 - 3700), T0 + 1100, "set back again");
	is_i64(seen(&s, 3200, T0 - 1800), T0 + 1100, "for a while");
	is_i64(seen(&s, 3300, T0 - 1700), T0 - 1700,
	    "log time went back: not for longer");
	is_i64(seen(&s, 3400, T0 - 1600), T0 - 1600, "and goes on from there");

	s = (struct log_seen){ 0, 0, 0 };
	is_i64(seen(&s, 0, T0), T0, "one that is not asked for 4 s");
	is_i64(seen(&s, 4000, T0 + 4000 - STEP - 1), T0 + 3999 - STEP,
	    "more than 10 s back meanwhile: a CLOCK record is coming");
	is_i64(seen(&s, 9000, T0 + 3900 - STEP), T0 + 3999 - STEP,
	    "less is not believed");
	is_i64(seen(&s, 90000, T0 + 100000), T0 + 100000, "ahead is");

	s = (struct log_seen){ 0, 0, 0 };
	is_i64(seen(&s, 0, T0), T0, "one that is not asked for 4 s");
	went_back_ms = 3000;
	is_i64(seen(&s, 4000, T0 + 4000 - 7000), T0 - 3000,
	    "12 s back by a record, then 5 s ahead: it is told");
	is_i64(seen(&s, 4100, T0 - 3100), T0 - 3000, "once");
	is_i64(seen(&s, 4200, T0 - 2800), T0 - 2800, "and goes on from there");
	is_i64(seen(&s, 4300, T0 - 4000), T0 - 2800, "held again");
	went_back_ms = 4400;
	is_i64(seen(&s, 4500, T0 - 3900), T0 - 3900,
	    "until a record that comes meanwhile");
	went_back_ms = 0;
}

int
main(void)
{
	test_follows();
	test_waits();
	test_goes_back();
	test_others();
	test_seen();
	return tap_done();
}
