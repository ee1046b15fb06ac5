/*
 * nodelifestat: one moment's copy of what a region says.
 */
#include "tools/nodelifestat.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "shm/assert.h"
#include "shm/kv/table.h"

static const char *const life_names[] = {
	[LIFE_LIVE] = "live",
	[LIFE_DEAD] = "dead",
	[LIFE_ENDED] = "ended",
	[LIFE_SUPERSEDED] = "superseded",
};
_Static_assert(NITEMS(life_names) == LIFE_COUNT, "names");

const char *
life_name(enum life life)
{
	return life_names[life];
}

enum life
life_of(const struct region *r)
{
	uint32_t state =
	    atomic_load_explicit(&r->head->state, memory_order_acquire);

	if (state == REGION_ENDED)
		return LIFE_ENDED;
	if (state == REGION_SUPERSEDED)
		return LIFE_SUPERSEDED;
	return region_alive(r) ? LIFE_LIVE : LIFE_DEAD;
}

/* A gone node's last sign of life: its newest heartbeat or event. */
static uint64_t
last_sign_ns(const struct region *r)
{
	uint64_t at = r->head->started_ns, ns;
	struct event last;
	unsigned i;

	for (i = 0; i < SLOT_MAX; i++) {
		ns = atomic_load_explicit(
		    &r->slots->row[i].heartbeat_ns, memory_order_relaxed);
		if (ns > at)
			at = ns;
	}
	if (event_list(r->events, &last, 1) == 1 && last.mono_ns > at)
		at = last.mono_ns;
	return at;
}

static void
last_exit_text(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "SIG%s",
		    sigabbrev_np(WTERMSIG(status)) != NULL
			? sigabbrev_np(WTERMSIG(status))
			: "?");
	else
		snprintf(out, size, "exit %d", WEXITSTATUS(status));
}

static uint64_t
ms_between(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (to_ns - from_ns) / NS_PER_MS : 0;
}

static void
worker_take(const struct slot_row *row, uint64_t at_ns, struct stat_worker *out)
{
	uint64_t beat, restart;

	out->state = atomic_load_explicit(&row->state, memory_order_acquire);
	out->pid = atomic_load_explicit(&row->pid, memory_order_relaxed);
	out->incarnation =
	    atomic_load_explicit(&row->incarnation, memory_order_relaxed);
	out->restarts =
	    atomic_load_explicit(&row->restarts, memory_order_relaxed);
	out->busy = atomic_load_explicit(&row->busy_with, memory_order_relaxed);
	out->turns = atomic_load_explicit(&row->turns, memory_order_relaxed);
	out->sleeps = atomic_load_explicit(&row->sleeps, memory_order_relaxed);
	beat = atomic_load_explicit(&row->heartbeat_ns, memory_order_relaxed);
	out->beat_ms = beat != 0 ? ms_between(beat, at_ns) : 0;
	restart =
	    atomic_load_explicit(&row->restart_at_ns, memory_order_relaxed);
	out->restart_in_ms = restart != 0 ? ms_between(at_ns, restart) + 1 : 0;
	out->last_exit[0] = '\0';
	if (out->restarts != 0 || out->state == SLOT_EXITED ||
	    out->state == SLOT_BACKOFF)
		last_exit_text(atomic_load_explicit(
				   &row->last_status, memory_order_relaxed),
		    out->last_exit, sizeof(out->last_exit));
}

static void
workers_take(const struct region *r, struct stat_sample *out)
{
	struct stat_worker *w;
	unsigned i;

	out->worker_count = 0;
	for (i = SLOT_SUPERVISOR + 1; i < SLOT_MAX; i++) {
		w = &out->worker[out->worker_count];
		w->slot = i;
		worker_take(&r->slots->row[i], out->at_ns, w);
		if (w->state != SLOT_EMPTY || w->incarnation != 0)
			out->worker_count++;
	}
}

static void
positions_take(const struct positions *p, struct stat_positions *out)
{
	out->appended = position_get(&p->appended);
	out->durable = position_get(&p->durable);
	out->committed = word_vlsn(position_get(&p->committed));
	out->term_start = word_vlsn(position_get(&p->term_start));
	out->applied = position_get(&p->applied);
	out->resolved = position_get(&p->resolved);
	out->frozen = position_get(&p->frozen);
	out->checkpointed = position_get(&p->checkpointed);
	out->indexed = position_get(&p->indexed);
	out->first = position_get(&p->first);
	out->apply_wanted = position_get(&p->apply_wanted);
	out->member = position_get(&p->member);
}

static void
phases_take(const struct sequencer *s, uint64_t out[PHASE_COUNT])
{
	uint64_t ns;
	unsigned i;

	for (i = 0; i < PHASE_COUNT; i++) {
		ns = atomic_load_explicit(
		    &s->phase_entered_ns[i], memory_order_relaxed);
		out[i] = ns == 0 ? UINT64_MAX : ms_between(s->started_ns, ns);
	}
}

static void
view_take(const struct region *r, struct stat_sample *out)
{
	const struct commit_state *cs = r->commit;
	bool booted;

	out->view = out->group.view;
	out->member[0] = '\0';
	if (out->view.master >= 0 && out->view.master < MEMBER_MAX)
		text_clean(out->member, sizeof(out->member),
		    cs->name[out->view.master], MEMBER_NAME_MAX);
	booted = out->seq.phase == PHASE_GATEWAY_ENABLE && !out->seq.failed;
	out->can_read = booted && commit_serves_reads(r);
	out->can_write = booted && commit_is_master(r) &&
			 out->view.readonly == 0 && out->group.spare >= 0;
}

static void
table_take(const struct region *r, struct stat_sample *out)
{
	const struct table_head *t = r->table;
	const struct table_gen *g;
	uint64_t view;

	out->has_table = t != NULL && r->head->section[SECT_TABLE].len >=
					  sizeof(struct table_head);
	if (!out->has_table)
		return;
	out->key_count = atomic_load_explicit(&t->count, memory_order_relaxed);
	view = atomic_load_explicit(&t->view, memory_order_acquire);
	g = &t->gen[view >> 1 & 1];
	out->table_used =
	    atomic_load_explicit(&g->used, memory_order_relaxed) * TABLE_UNIT;
	out->table_size = g->arena_nominal;
}

void
sample_take(const struct region *r, struct stat_sample *out)
{
	uint64_t now = mono_ns();
	unsigned i;

	out->life = life_of(r);
	out->at_ns = out->life == LIFE_LIVE ? now : last_sign_ns(r);
	out->up_ms = ms_between(r->head->started_ns, out->at_ns);
	out->at_wall_ms = r->head->started_wall_ms + (int64_t)out->up_ms;
	seq_snapshot(r->seq, &out->seq);
	if (out->life != LIFE_LIVE)
		fault_final(out->seq.error);
	phases_take(r->seq, out->phase_ms);
	members_look(r, out->at_ns, &out->group);
	view_take(r, out);
	positions_take(r->pos, &out->pos);
	out->log_full = trouble_stands(r, TROUBLE_LOG_FULL);
	out->generation = position_get(&r->pos->generation);
	out->wal_bytes = position_get(&r->pos->wal_bytes);
	out->newest_lsn = atomic_load_explicit(
	    &r->walbuf.h->newest_lsn, memory_order_relaxed);
	workers_take(r, out);
	out->trouble_count = trouble_list(r, out->trouble);
	out->stops = trouble_stops(r);
	table_take(r, out);
	for (i = 0; i < COUNTER_COUNT; i++)
		out->counter[i] = counter_sum(r->counters, i);
	for (i = 0; i < HIST_COUNT; i++)
		hist_merge(r->hists, i, &out->hist[i]);
}

/* A counter of a restarted worker goes on, so none ever falls. */
void
sample_delta(const struct stat_sample *from, const struct stat_sample *to,
    struct stat_delta *out)
{
	unsigned i;

	out->since_boot = from == NULL;
	out->ms = from == NULL ? to->up_ms : ms_between(from->at_ns, to->at_ns);
	out->wal_bytes = to->wal_bytes;
	memcpy(out->counter, to->counter, sizeof(out->counter));
	memcpy(out->hist, to->hist, sizeof(out->hist));
	if (from == NULL)
		return;
	out->wal_bytes -= from->wal_bytes;
	for (i = 0; i < COUNTER_COUNT; i++)
		out->counter[i] -= from->counter[i];
	for (i = 0; i < HIST_COUNT; i++)
		hist_sub(&out->hist[i], &from->hist[i]);
}

double
delta_rate(const struct stat_delta *d, uint64_t n)
{
	return d->ms == 0 ? 0 : (double)n * 1000 / (double)d->ms;
}
