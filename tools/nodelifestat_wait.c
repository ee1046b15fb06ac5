/*
 * nodelifestat -w: wait until the node's boot reaches a phase. Sleeps on the
 * sequencer's futex; only while there is no region yet does it look again
 * from time to time. The region of an earlier run may still be there when a
 * node is just being started, so one that was over at the first look is given
 * a moment to be replaced. A boot that waits for the world has failed in one
 * region and is tried again in another one.
 */
#include "tools/nodelifestat.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#define LOOK_MS        5 /* between looks for a region */
#define REPLACE_MS     1000 /* for a region that was over at the first look */
#define ALIVE_CHECK_NS NS_PER_S /* a SIGKILLed supervisor wakes nobody */

enum verdict { WAIT_REACHED, WAIT_FAILED, WAIT_TIMED_OUT, WAIT_OVER };

/* Look for a region until it is one of a node that is not over. */
static enum verdict
wait_for_region(
    struct stat_target *t, uint64_t deadline_ns, char *why, size_t why_size)
{
	uint64_t patience_ns = mono_ns() + REPLACE_MS * NS_PER_MS, now;
	enum life life;
	char cause[SEQ_ERROR_MAX];
	int rc;

	for (;;) {
		rc = target_attach(t, why, why_size);
		now = mono_ns();
		if (rc == 0) {
			life = life_of(&t->region);
			if (life == LIFE_LIVE)
				return WAIT_REACHED;
			cause_text(&t->region, cause, sizeof(cause));
			snprintf(why, why_size,
			    "%s: the region of a node that is %s: %s", t->path,
			    life_name(life), cause);
			if (now >= patience_ns || !t->by_link)
				return WAIT_OVER;
		} else if (rc != -ENOENT && rc != -EAGAIN) {
			return WAIT_FAILED;
		}
		if (deadline_ns != 0 && now >= deadline_ns)
			return WAIT_TIMED_OUT;
		poll(NULL, 0, LOOK_MS);
	}
}

/* What was reached once, before the pause that it is in. */
static bool
pauses(const struct region *r)
{
	return trouble_stands(r, TROUBLE_BOOT_WAITS) &&
	       seq_reached(r->seq, PHASE_GATEWAY_ENABLE);
}

/* Or before its end. */
static bool
stops(const struct region *r)
{
	return atomic_load_explicit(&r->seq->shutdown, memory_order_acquire) !=
	       SHUTDOWN_NONE;
}

/* Wait on the futex, looking each second whether the node is still there. */
static enum verdict
wait_for_phase(const struct region *r, enum phase phase, uint64_t deadline_ns)
{
	uint64_t until;
	int rc;

	for (;;) {
		until = mono_ns() + ALIVE_CHECK_NS;
		if (deadline_ns != 0 && deadline_ns < until)
			until = deadline_ns;
		rc = seq_wait(r->seq, phase, until, NULL, NULL);
		if (rc == 0 && !pauses(r))
			return stops(r) ? WAIT_FAILED : WAIT_REACHED;
		if (rc == 0)
			poll(NULL, 0, LOOK_MS);
		else if (rc != -ETIMEDOUT)
			return WAIT_FAILED;
		if (life_of(r) != LIFE_LIVE)
			return WAIT_OVER;
		if (deadline_ns != 0 && mono_ns() >= deadline_ns)
			return WAIT_TIMED_OUT;
	}
}

/*
 * A boot has failed, or its region was replaced: is there another one to come?
 * The supervisor says so a moment after the failure.
 */
static enum verdict
wait_for_next_boot(struct stat_target *t, enum verdict v, uint64_t deadline_ns)
{
	static struct seq_snapshot snap;
	uint64_t patience_ns = mono_ns() + REPLACE_MS * NS_PER_MS, now;
	enum life life;

	for (;;) {
		if (target_follow(t))
			return WAIT_REACHED;
		life = life_of(&t->region);
		seq_snapshot(t->region.seq, &snap);
		if (life == LIFE_LIVE ? !snap.failed : life != LIFE_SUPERSEDED)
			return v;
		now = mono_ns();
		if (deadline_ns != 0 && now >= deadline_ns)
			return trouble_stands(&t->region, TROUBLE_BOOT_WAITS)
				   ? WAIT_TIMED_OUT
				   : v;
		if (now >= patience_ns &&
		    !(life == LIFE_LIVE &&
			trouble_stands(&t->region, TROUBLE_BOOT_WAITS)))
			return v;
		poll(NULL, 0, LOOK_MS);
	}
}

static enum verdict
wait_for_boot(struct stat_target *t, enum phase phase, uint64_t deadline_ns)
{
	enum verdict v, next;

	for (;;) {
		v = wait_for_phase(&t->region, phase, deadline_ns);
		if (v == WAIT_REACHED || v == WAIT_TIMED_OUT)
			return v;
		next = wait_for_next_boot(t, v, deadline_ns);
		if (next != WAIT_REACHED)
			return next;
	}
}

static void
failure_text(const struct region *r, char *why, size_t why_size)
{
	static struct seq_snapshot snap;
	enum life life = life_of(r);
	char error[SEQ_ERROR_MAX];

	seq_snapshot(r->seq, &snap);
	cause_text(r, error, sizeof(error));
	if (life == LIFE_LIVE && snap.failed) {
		text_clean(error, sizeof(error), snap.error, SEQ_ERROR_MAX);
		snprintf(why, why_size, "%s",
		    error[0] != '\0' ? error : "the boot failed");
	} else if (life != LIFE_LIVE) {
		snprintf(why, why_size,
		    "the node is %s; it got to phase %s: %s", life_name(life),
		    phase_name(snap.phase), error);
	} else {
		snprintf(why, why_size, "the node stops (%s): %s",
		    shutdown_name(snap.shutdown), error);
	}
}

static void
pending_print(const struct region *r)
{
	static struct seq_snapshot snap;
	char name[GATE_NAME_MAX + 1], text[FAULT_TEXT_MAX];
	struct trouble_info t;
	unsigned i;

	if (trouble_read(r, TROUBLE_BOOT_WAITS, &t)) {
		text_clean(text, sizeof(text), t.text, sizeof(t.text));
		fprintf(stderr, "nodelifestat: timed out: %s\n", text);
		return;
	}
	seq_snapshot(r->seq, &snap);
	fprintf(stderr, "nodelifestat: timed out in phase %s\n",
	    phase_name(snap.phase));
	for (i = 0; i < snap.pending_count && i < GATE_MAX; i++) {
		text_clean(
		    name, sizeof(name), snap.pending[i].name, GATE_NAME_MAX);
		fprintf(stderr, "  %s waits for: %s of %s, %" PRIu64 " ms\n",
		    phase_name(snap.pending[i].phase), name,
		    slot_name(snap.pending[i].owner),
		    snap.pending[i].waited_ms);
	}
}

int
stat_wait(struct stat_target *t, enum phase phase, uint64_t timeout_ms)
{
	uint64_t deadline_ns =
	    timeout_ms == UINT64_MAX ? 0 : mono_ns() + timeout_ms * NS_PER_MS;
	char why[2048] = "";
	enum verdict v;

	v = wait_for_region(t, deadline_ns, why, sizeof(why));
	if (v == WAIT_REACHED) {
		v = wait_for_boot(t, phase, deadline_ns);
		if (v == WAIT_FAILED || v == WAIT_OVER)
			failure_text(&t->region, why, sizeof(why));
		else if (v == WAIT_TIMED_OUT)
			pending_print(&t->region);
	} else if (v == WAIT_TIMED_OUT) {
		fprintf(stderr, "nodelifestat: timed out: %s\n", why);
	}
	switch (v) {
	case WAIT_REACHED:
		return STAT_OK;
	case WAIT_TIMED_OUT:
		return STAT_TIMED_OUT;
	case WAIT_FAILED:
	case WAIT_OVER:
		break;
	}
	fprintf(stderr, "nodelifestat: %s\n", why);
	return STAT_FAILED;
}
