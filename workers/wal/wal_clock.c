/*
 * Log time and the wall clock (shm/log/log_clock.h): what is told of them, and
 * the record by which log time goes back.
 */
#include "workers/wal/wal.h"

#include <stdio.h>
#include <time.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "shm/trouble.h"

#define SLOWER_MS 2000 /* so far ahead it is told that log time waits */
#define SAID_NS   (600 * NS_PER_S) /* that the clock was set stays on show */
#define DOWN_MS   (24 * 3600 * (int64_t)1000) /* a boot tells of more */
#define JITTER_NS (32 * NS_PER_MS) /* 4 ms of log time */
#define WHEN_MAX  32

static const char *
when(char out[WHEN_MAX], int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (gmtime_r(&s, &tm) == NULL ||
	    strftime(out, WHEN_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, WHEN_MAX, "%jd s", (intmax_t)s);
	return out;
}

/* What was told before is renewed in silence: a step shall be heard. */
static void
say(struct wal *w, enum wal_clock_said said, const char *what,
    const char *effect)
{
	struct fault f = { .object = "clock",
		.place = PLACE_PROCESS,
		.what = what,
		.effect = effect };
	char text[FAULT_TEXT_MAX];

	if (trouble_stands(w->r, TROUBLE_CLOCK) && said != CLOCK_SAID_SLOWER)
		event_add(w->r, SLOT_WAL, EVENT_WARN, "%s",
		    fault_text(text, sizeof(text), &f));
	trouble_begin(w->r, TROUBLE_CLOCK, &f);
	w->clock_said = said;
	w->clock_said_ns = w->loop.now_ns;
}

static void
say_ahead(struct wal *w, const struct log_clock_step *step)
{
	char what[128], to[WHEN_MAX];

	snprintf(what, sizeof(what), "was set ahead by %.1f s, to %s",
	    (double)(step->to_ms - step->from_ms) / 1e3, when(to, step->to_ms));
	wal_count(w, C_CLOCK_STEPS, 1);
	say(w, CLOCK_SAID_STEP, what,
	    "log time follows: keys whose time that passes expire");
}

static void
say_due(struct wal *w, const struct log_clock_step *step)
{
	char what[128], from[WHEN_MAX];

	if (w->clock_said == CLOCK_SAID_DUE)
		return;
	snprintf(what, sizeof(what), "is %.1f s behind log time, %s",
	    (double)(step->from_ms - step->to_ms) / 1e3,
	    when(from, step->from_ms));
	wal_count(w, C_CLOCK_STEPS, 1);
	say(w, CLOCK_SAID_DUE, what,
	    w->w->readonly
		? "reads judge expiry by the clock; nothing is deleted"
		: "log time goes back once this node may write");
}

static void
say_back(struct wal *w, const struct log_clock_step *step)
{
	char what[160], from[WHEN_MAX], to[WHEN_MAX];

	if (w->clock_said != CLOCK_SAID_DUE)
		wal_count(w, C_CLOCK_STEPS, 1);
	snprintf(what, sizeof(what),
	    "%s by %.1f s: record %ju sets log time back from %s to %s",
	    step->cause == CLOCK_SET_BACK ? "was set back"
					  : "is behind the log",
	    (double)(step->from_ms - step->to_ms) / 1e3,
	    (uintmax_t)w->log.end.vlsn, when(from, step->from_ms),
	    when(to, step->to_ms));
	say(w, CLOCK_SAID_STEP, what,
	    "keys expire at the times they were given; what was deleted stays "
	    "so");
}

/* May a record of ours be the next one? Nothing comes between parts. */
static bool
may_append(const struct wal *w)
{
	return w->view.role == ROLE_MASTER && w->view.readonly == 0 &&
	       !w->stopping && !wal_fenced(w) && w->phase == WAL_APPENDING &&
	       w->own_term == w->view.term && w->parts_client < 0;
}

/* What others know log time by; jitter of a look moves nothing. */
static void
meet_publish(struct wal *w, uint64_t meet)
{
	struct position *p = &w->r->pos->clock_meet;
	uint64_t before = position_get(p);

	if (meet == before || (meet != 0 && before != 0 &&
				  meet - before + JITTER_NS <= 2 * JITTER_NS))
		return;
	position_set(p, meet);
}

void
wal_clock_back(struct wal *w)
{
	const struct log_clock_step *step = &w->clock_step;
	uint8_t payload[CLOCK_PAYLOAD];

	if (!w->clock_due)
		return;
	if (!may_append(w) || !wal_room_own(w, record_len(sizeof(payload)))) {
		say_due(w, step);
		return;
	}
	clock_encode(payload, step->from_ms, step->cause);
	log_clock_went_back(&w->clock, step);
	wal_append_own(w, w->log.end.term, REC_CLOCK, payload, sizeof(payload));
	/* Else those behind it would be judged by another time than it says. */
	ASSERT(w->log.end.time_ms == step->to_ms);
	wal_publish_appended(w);
	meet_publish(w, 0);
	position_set(&w->r->pos->clock_back, mono_ns());
	w->clock_due = false;
	say_back(w, step);
}

static void
say_slower(struct wal *w, int64_t ahead_ms)
{
	char what[128];

	if (w->clock_said != CLOCK_SAID_NOTHING || ahead_ms < SLOWER_MS)
		return;
	snprintf(what, sizeof(what), "is %.1f s behind log time",
	    (double)ahead_ms / 1e3);
	say(w, CLOCK_SAID_SLOWER, what, "log time goes slower until they meet");
}

/* What is told is so no longer, or was told for long enough. */
static void
say_no_more(struct wal *w, int64_t ahead_ms)
{
	switch (w->clock_said) {
	case CLOCK_SAID_NOTHING:
		return;
	case CLOCK_SAID_SLOWER:
		if (ahead_ms > 0)
			return;
		break;
	case CLOCK_SAID_DUE:
		if (w->clock_due)
			return;
		break;
	case CLOCK_SAID_STEP:
		if (w->loop.now_ns - w->clock_said_ns < SAID_NS)
			return;
		break;
	}
	trouble_end(w->r, TROUBLE_CLOCK);
	w->clock_said = CLOCK_SAID_NOTHING;
}

/*
 * Both clocks at one moment: a process that was stopped between two looks
 * would see a step that was none.
 */
static int64_t
clocks_read(uint64_t *mono)
{
	int64_t wall;

	do {
		*mono = mono_ns();
		wall = wall_ms();
	} while (mono_ns() - *mono > NS_PER_S / 2);
	return wall;
}

void
wal_clock_open(struct wal *w)
{
	char then[WHEN_MAX], now[WHEN_MAX];
	uint64_t mono;
	int64_t wall = clocks_read(&mono);

	log_clock_open(&w->clock, w->log.end.time_ms, mono);
	if (w->log.end.time_ms != 0 && wall - w->log.end.time_ms > DOWN_MS)
		say_info("the log ends at %s, it is %s now: keys whose time "
			 "came in between expire",
		    when(then, w->log.end.time_ms), when(now, wall));
}

void
wal_clock_turn(struct wal *w)
{
	enum log_clock_event event;
	int64_t wall, ahead;
	uint64_t mono;

	wall = clocks_read(&mono);
	event = log_clock_turn(&w->clock, mono, wall,
	    w->conf->wal.max_clock_step_ms, &w->clock_step);
	ahead = w->clock.ms > wall ? w->clock.ms - wall : 0;
	meet_publish(w, log_clock_meet(&w->clock, wall));
	w->clock_due = event == LOG_CLOCK_BACK;
	if (event == LOG_CLOCK_AHEAD)
		say_ahead(w, &w->clock_step);
	if (!w->clock_due)
		say_slower(w, ahead);
	say_no_more(w, ahead);
}
