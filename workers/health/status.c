/*
 * Facts and conclusions of the probes; see status.h.
 *
 * A startup probe fails until the boot is done: a probe that answered "yes"
 * while booting would end the orchestrator's patience with a long recovery.
 * Readiness is boot success, no stop under way and no trouble that stops
 * reads: then no client is served at all. Liveness is progress: each
 * worker's heartbeat comes from its own loop, on the monotonic clock. The
 * supervisor kills who is silent for [liveness] timeout; a probe that fails
 * at twice that says that the supervisor itself does not do its part.
 */
#include "workers/health/status.h"

#include <inttypes.h>
#include <stdio.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define LIVENESS_FACTOR 2

static const char *const health_names[] = {
	[HEALTH_STARTING] = "starting",
	[HEALTH_WAITING] = "waiting",
	[HEALTH_STUCK] = "stuck",
	[HEALTH_DEGRADED] = "degraded",
	[HEALTH_OK] = "ok",
	[HEALTH_READONLY] = "read-only",
	[HEALTH_DRAINING] = "draining",
	[HEALTH_FAILED] = "failed",
};

const char *
health_name(enum health_word health)
{
	ASSERT((unsigned)health < NITEMS(health_names));
	return health_names[health];
}

const char *
recovery_name(unsigned mode)
{
	static const char *const names[] = {
		[RECOVERY_NORMAL] = "normal",
		[RECOVERY_READONLY] = "readonly",
		[RECOVERY_FORCE] = "force",
	};

	return mode < NITEMS(names) ? names[mode] : "mode?";
}

/* Silence of one worker beyond what it may have, in ms; 0 = none. */
static uint64_t
slot_stuck_ms(const struct slot_row *row, uint64_t limit_ms, uint64_t now_ns)
{
	uint32_t state =
	    atomic_load_explicit(&row->state, memory_order_acquire);
	uint64_t beat =
	    atomic_load_explicit(&row->heartbeat_ns, memory_order_acquire);
	uint64_t silent_ms;

	/* Opening has budgets of its own, and who is gone is not stuck. */
	if (state != SLOT_RUNNING && state != SLOT_STOPPING)
		return 0;
	if (beat == 0 || beat >= now_ns)
		return 0;
	silent_ms = (now_ns - beat) / NS_PER_MS;
	return silent_ms > limit_ms ? silent_ms : 0;
}

static void
status_liveness(struct status *st, const struct region *r,
    const struct conf *conf, uint64_t now_ns)
{
	uint64_t limit_ms =
	    LIVENESS_FACTOR * (uint64_t)conf->liveness.timeout_ms;
	unsigned slot;

	st->alive = st->health != HEALTH_FAILED;
	st->stuck_slot = SLOT_MAX;
	for (slot = 0; slot < SLOT_MAX; slot++) {
		uint64_t ms =
		    slot_stuck_ms(&r->slots->row[slot], limit_ms, now_ns);

		if (ms <= st->stuck_ms)
			continue;
		st->alive = false;
		st->stuck_slot = slot;
		st->stuck_ms = ms;
	}
}

static uint64_t
stage_budget(const struct conf *conf, enum stage stage)
{
	if (stage == STAGE_INIT)
		return conf->boot.init_budget_ms;
	if (stage == STAGE_MIGRATE)
		return conf->boot.migrate_budget_ms;
	if (stage == STAGE_WARMUP)
		return conf->boot.warmup_budget_ms;
	return conf->boot.recover_budget_ms;
}

/* Since the supervisor saw the stage begin. */
static uint64_t
stage_ms(const struct sequencer *seq, enum stage stage, uint64_t now_ns)
{
	uint64_t since = atomic_load_explicit(
	    &seq->stage_entered_ns[stage], memory_order_acquire);

	return since != 0 && now_ns > since ? (now_ns - since) / NS_PER_MS : 0;
}

static uint64_t
less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t
budget_left(const struct status *st, const struct region *r,
    const struct conf *conf, uint64_t now_ns)
{
	uint64_t stage, total;

	if (st->health != HEALTH_STARTING)
		return 0;
	stage = less(stage_budget(conf, st->seq.stage),
	    stage_ms(r->seq, st->seq.stage, now_ns));
	total = less(conf->boot.total_budget_ms, st->seq.total_ms);
	return stage < total ? stage : total;
}

static enum health_word
health_of(const struct status *st)
{
	if (st->seq.failed && !st->waiting)
		return HEALTH_FAILED;
	if (st->seq.shutdown != SHUTDOWN_NONE)
		return HEALTH_DRAINING;
	if (st->waiting)
		return HEALTH_WAITING;
	if (!st->booted)
		return HEALTH_STARTING;
	if ((st->stops & STOPS_READS) != 0)
		return HEALTH_STUCK;
	return st->view.readonly != 0 ||
		       st->seq.recovery_mode == RECOVERY_READONLY
		   ? HEALTH_READONLY
		   : HEALTH_OK;
}

void
status_read(struct status *st, const struct region *r, const struct conf *conf,
    uint64_t now_ns)
{
	bool serving;

	memset(st, 0, sizeof(*st));
	seq_snapshot(r->seq, &st->seq);
	members_look(r, now_ns, &st->group);
	st->view = st->group.view;
	st->waiting = trouble_boot_waits(r);
	st->booted = st->seq.phase == PHASE_GATEWAY_ENABLE && !st->waiting;
	st->stops = trouble_stops(r);
	st->health = health_of(st);
	serving = st->health == HEALTH_OK;
	st->now_ns = now_ns;
	st->trouble_count = trouble_list(r, st->trouble);
	st->can_read = (serving || st->health == HEALTH_READONLY) &&
		       commit_serves_reads(r);
	st->can_read_eventual = serving || st->health == HEALTH_READONLY;
	st->no_space = trouble_stands(r, TROUBLE_LOG_FULL);
	st->can_write = serving && st->view.role == ROLE_MASTER &&
			st->view.readonly == 0 && st->group.spare >= 0 &&
			(st->stops & STOPS_WRITES) == 0;
	st->master_known = st->view.master >= 0 && st->view.master < MEMBER_MAX;
	st->master = st->master_known ? r->commit->name[st->view.master] : "";
	st->budget_ms = budget_left(st, r, conf, now_ns);
	status_liveness(st, r, conf, now_ns);
}

char *
status_reason(const struct status *st, char *buf, size_t size)
{
	char words[128];

	if (size > 0)
		buf[0] = '\0';
	if (!st->can_read_eventual || (st->can_read && st->can_write))
		return buf;
	if (st->health == HEALTH_READONLY)
		snprintf(buf, size, "recovery mode readonly");
	else if ((st->stops & STOPS_WRITES) != 0 && st->trouble_count > 0)
		snprintf(buf, size, "%s", st->trouble[0].text);
	else if (st->view.role != ROLE_MASTER)
		members_master_text(&st->group, buf, size);
	else if (st->group.spare < 0)
		snprintf(buf, size, "the group has %s",
		    members_text(&st->group, words, sizeof(words)));
	else
		snprintf(buf, size,
		    "the first record of term %" PRIu64
		    " is not applied yet, or the lease has run out",
		    st->view.term);
	return buf;
}

unsigned
status_startupz(const struct status *st)
{
	return st->booted && st->health != HEALTH_FAILED ? 200 : 503;
}

unsigned
status_readyz(const struct status *st)
{
	return st->health == HEALTH_OK || st->health == HEALTH_READONLY ? 200
									: 503;
}

unsigned
status_livez(const struct status *st)
{
	return st->alive ? 200 : 503;
}
