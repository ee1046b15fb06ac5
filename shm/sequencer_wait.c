/*
 * Reading the sequencer and waiting for it: no lock, so that read-only maps
 * can. A gate's words are set before its state and never again, an error's
 * text before `failed`; single words are always true. Only a picture of
 * several needs the version: bounded retries, then the words as they are.
 */
#include "shm/sequencer.h"

#include <errno.h>
#include <sched.h>

#include "shm/assert.h"
#include "shm/wake.h"

#define SEQ_TRIES   1000
#define SEQ_LOOK_NS (NS_PER_S / 2) /* a waiter looks by itself that often */

static const char *const phase_names[] = {
#define X(number, NAME, name) [number] = name,
	PHASES(X)
#undef X
};
_Static_assert(NITEMS(phase_names) == PHASE_COUNT, "a name for each phase");

static const char *const stage_names[] = {
#define X(number, NAME, name) [number] = name,
	STAGES(X)
#undef X
};
_Static_assert(NITEMS(stage_names) == STAGE_COUNT, "a name for each stage");

static const char *const step_names[] = {
#define X(number, NAME, name) [number] = name,
	SHUTDOWN_STEPS(X)
#undef X
};
_Static_assert(NITEMS(step_names) == SHUTDOWN_COUNT, "a name for each step");

static uint32_t
load(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static uint64_t
load_u64(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

bool
seq_failed(const struct sequencer *s)
{
	return load(&s->failed) != 0;
}

void
seq_error(const struct sequencer *s, char out[SEQ_ERROR_MAX])
{
	out[0] = '\0';
	if (!seq_failed(s))
		return;
	memcpy(out, s->error, SEQ_ERROR_MAX);
	out[SEQ_ERROR_MAX - 1] = '\0';
}

enum fault_kind
seq_error_kind(const struct sequencer *s)
{
	uint32_t kind = seq_failed(s) ? s->error_kind : FAULT_PROGRAM;

	return kind <= FAULT_PROGRAM ? (enum fault_kind)kind : FAULT_PROGRAM;
}

bool
seq_reached(const struct sequencer *s, enum phase phase)
{
	return !seq_failed(s) && load(&s->phase) >= (uint32_t)phase;
}

static bool
gate_pending(const struct sequencer *s, enum phase phase, unsigned owner)
{
	uint32_t i, count = seq_gate_count(s);

	for (i = 0; i < count; i++)
		if (s->gate[i].phase == phase && s->gate[i].owner == owner)
			return atomic_load_explicit(&s->gate[i].state,
				   memory_order_acquire) != GATE_FIRED;
	return false;
}

/*
 * -EAGAIN: there is something to wait for: the phase, or (owner < SLOT_MAX)
 * that owner's gate for it.
 */
static int
wait_state(const struct sequencer *s, enum phase phase, unsigned owner)
{
	if (seq_failed(s))
		return -ECANCELED;
	if (load(&s->phase) >= (uint32_t)phase ||
	    (owner < SLOT_MAX && !gate_pending(s, phase, owner)))
		return 0;
	if (load(&s->shutdown) != SHUTDOWN_NONE || load(&s->stopped))
		return -ESHUTDOWN;
	return -EAGAIN;
}

static int
wait_for(const struct sequencer *s, enum phase phase, unsigned owner,
    uint64_t deadline_ns, void (*beat)(void *), void *arg)
{
	uint64_t now, until;
	uint32_t seen;
	int rc;

	ASSERT((unsigned)phase < PHASE_FAILED);
	for (;;) {
		seen = load(&s->word);
		if ((rc = wait_state(s, phase, owner)) != -EAGAIN)
			return rc;
		now = mono_ns();
		if (deadline_ns != 0 && now >= deadline_ns)
			return -ETIMEDOUT;
		if (beat != NULL)
			beat(arg);
		until = now + SEQ_LOOK_NS;
		if (deadline_ns != 0 && deadline_ns < until)
			until = deadline_ns;
		futex_wait_shared(&s->word, seen, until);
	}
}

int
seq_wait(const struct sequencer *s, enum phase phase, uint64_t deadline_ns,
    void (*beat)(void *), void *arg)
{
	return wait_for(s, phase, SLOT_MAX, deadline_ns, beat, arg);
}

int
seq_wait_gate(const struct sequencer *s, enum phase phase, unsigned owner,
    void (*beat)(void *), void *arg)
{
	ASSERT(owner < SLOT_MAX);
	return wait_for(s, phase, owner, 0, beat, arg);
}

static uint32_t
share(uint64_t done, uint64_t total)
{
	if (done >= total)
		return 100;
	/* Neither overflow nor 100 before the end. */
	return (uint32_t)((double)done / (double)total * 100.0);
}

static uint32_t
percent_of(uint64_t items_done, uint64_t items_total, uint64_t bytes_done,
    uint64_t bytes_total)
{
	if (bytes_total != 0)
		return share(bytes_done, bytes_total);
	return items_total != 0 ? share(items_done, items_total) : 0;
}

void
seq_progress_set(struct sequencer *s, unsigned slot, uint64_t items_done,
    uint64_t items_total, uint64_t bytes_done, uint64_t bytes_total,
    const char *message)
{
	struct seq_progress *p;
	uint32_t version;

	ASSERT(slot < SLOT_MAX);
	p = &s->progress[slot];
	atomic_store_explicit(&p->items_done, items_done, memory_order_relaxed);
	atomic_store_explicit(
	    &p->items_total, items_total, memory_order_relaxed);
	atomic_store_explicit(&p->bytes_done, bytes_done, memory_order_relaxed);
	atomic_store_explicit(
	    &p->bytes_total, bytes_total, memory_order_relaxed);
	atomic_store_explicit(&p->percent,
	    percent_of(items_done, items_total, bytes_done, bytes_total),
	    memory_order_relaxed);
	if (message == NULL ||
	    strncmp(p->message, message, sizeof(p->message)) == 0)
		return;
	version = atomic_load_explicit(&p->version, memory_order_relaxed) | 1;
	atomic_store_explicit(&p->version, version, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	strlcpy(p->message, message, sizeof(p->message));
	/* Pairs with the acquire in progress_message(). */
	atomic_store_explicit(&p->version, version + 1, memory_order_release);
}

/* A message that is being changed for long (its writer died) is left out. */
static void
progress_message(const struct seq_progress *p, char out[PROGRESS_MAX])
{
	uint32_t version;
	int i;

	for (i = 0; i < SEQ_TRIES; i++) {
		version = load(&p->version);
		if ((version & 1) != 0)
			continue;
		memcpy(out, p->message, PROGRESS_MAX);
		out[PROGRESS_MAX - 1] = '\0';
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&p->version, memory_order_relaxed) ==
		    version)
			return;
	}
	out[0] = '\0';
}

/* The next phase that waits for a gate; PHASE_FAILED if none does. */
static unsigned
phase_waiting(const struct sequencer *s, uint32_t gate_count)
{
	unsigned phase = PHASE_FAILED;
	uint32_t i;

	for (i = 0; i < gate_count; i++)
		if (atomic_load_explicit(&s->gate[i].state,
			memory_order_acquire) == GATE_PENDING &&
		    s->gate[i].phase < phase)
			phase = s->gate[i].phase;
	return phase;
}

/* A gate waits from when it was registered and its phase was next. */
static void
snapshot_gates(
    const struct sequencer *s, struct seq_snapshot *out, uint64_t end_ns)
{
	uint64_t since, next_ns = load_u64(&s->phase_entered_ns[out->phase]);
	uint32_t i, count = seq_gate_count(s);
	struct seq_gate_info *info;
	const struct gate *g;
	unsigned phase;

	phase = phase_waiting(s, count);
	out->pending_count = 0;
	for (i = 0; i < count; i++) {
		g = &s->gate[i];
		if (g->phase != phase ||
		    atomic_load_explicit(&g->state, memory_order_acquire) !=
			GATE_PENDING)
			continue;
		info = &out->pending[out->pending_count++];
		info->phase = g->phase;
		info->owner = g->owner;
		memcpy(info->name, g->name, sizeof(info->name));
		info->name[GATE_NAME_MAX - 1] = '\0';
		since = g->registered_ns > next_ns ? g->registered_ns : next_ns;
		info->waited_ms =
		    end_ns > since ? (end_ns - since) / NS_PER_MS : 0;
	}
}

static void
snapshot_words(const struct sequencer *s, struct seq_snapshot *out)
{
	uint64_t now = mono_ns(), end = 0, since;

	out->phase = load(&s->phase);
	if ((unsigned)out->phase >= PHASE_COUNT)
		out->phase = PHASE_BOOT;
	out->failed = seq_failed(s);
	out->shutdown = load(&s->shutdown);
	out->recovery_mode = s->recovery_mode;
	out->stage = seq_stage(out->phase, out->failed, s->recovery_mode,
	    out->shutdown, seq_opening(s), load(&s->stopped) != 0);
	seq_error(s, out->error);
	if (out->failed) {
		end = load_u64(&s->phase_entered_ns[PHASE_FAILED]);
	} else if (out->phase == PHASE_GATEWAY_ENABLE) {
		end = load_u64(&s->phase_entered_ns[PHASE_GATEWAY_ENABLE]);
	}
	since = load_u64(&s->phase_entered_ns[out->phase]);
	out->total_ms = ((end != 0 ? end : now) - s->started_ns) / NS_PER_MS;
	if (out->failed)
		now = end;
	out->phase_ms = now > since ? (now - since) / NS_PER_MS : 0;
	snapshot_gates(s, out, now);
}

/* What the owners of the pending gates say of their work, summed. */
static void
snapshot_progress(const struct sequencer *s, struct seq_snapshot *out)
{
	const struct seq_progress *p;
	unsigned i;

	out->items_done = out->items_total = 0;
	out->bytes_done = out->bytes_total = 0;
	out->message[0] = '\0';
	for (i = 0; i < out->pending_count; i++) {
		p = &s->progress[out->pending[i].owner % SLOT_MAX];
		out->items_done += load_u64(&p->items_done);
		out->items_total += load_u64(&p->items_total);
		out->bytes_done += load_u64(&p->bytes_done);
		out->bytes_total += load_u64(&p->bytes_total);
		if (out->message[0] == '\0')
			progress_message(p, out->message);
	}
	out->percent = percent_of(out->items_done, out->items_total,
	    out->bytes_done, out->bytes_total);
	if (out->phase == PHASE_GATEWAY_ENABLE)
		out->percent = 100;
}

void
seq_snapshot(const struct sequencer *s, struct seq_snapshot *out)
{
	uint32_t version;
	int i;

	for (i = 0; i < SEQ_TRIES; i++) {
		version = load(&s->version);
		if ((version & 1) != 0) {
			sched_yield();
			continue;
		}
		snapshot_words(s, out);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&s->version, memory_order_relaxed) ==
		    version)
			break;
	}
	/* The lock's owner died in the middle and nobody came after it. */
	if (i == SEQ_TRIES)
		snapshot_words(s, out);
	snapshot_progress(s, out);
}

enum seq_opening
seq_opening(const struct sequencer *s)
{
	uint32_t i, count = seq_gate_count(s), opened = load(&s->opened);
	enum seq_opening opening = OPENING_DONE;
	const struct gate *g;

	if (!load(&s->sealed))
		return OPENING_WORKERS;
	for (i = 0; i < count; i++) {
		g = &s->gate[i];
		if ((opened >> g->owner % SLOT_MAX & 1) == 0)
			return OPENING_WORKERS;
		if (g->phase == PHASE_CLUSTER_CATALOG_OPEN &&
		    g->owner == SLOT_CHECKPOINT &&
		    atomic_load_explicit(&g->state, memory_order_acquire) ==
			GATE_PENDING)
			opening = OPENING_FILES;
	}
	return opening;
}

enum stage
seq_stage_now(const struct sequencer *s)
{
	/* The phase first: it may go on, and the opening is never undone. */
	enum phase phase = load(&s->phase);

	return seq_stage(phase, seq_failed(s), s->recovery_mode,
	    load(&s->shutdown), seq_opening(s), load(&s->stopped) != 0);
}

/* flat: one row of the table for each condition, first match counts */
enum stage
seq_stage(enum phase phase, bool failed, enum recovery_mode mode,
    enum shutdown_step step, enum seq_opening opening, bool stopped)
{
	if (failed)
		return STAGE_FAILED;
	if (stopped)
		return STAGE_STOPPED;
	if (step != SHUTDOWN_NONE)
		return STAGE_SHUTTING_DOWN;
	if ((unsigned)phase >= PHASE_FAILED)
		return STAGE_UNINITIALIZED;
	if (phase == PHASE_GATEWAY_ENABLE)
		return STAGE_READY;
	if (opening == OPENING_WORKERS)
		return STAGE_INIT;
	if (opening == OPENING_FILES)
		return STAGE_MIGRATE;
	if (phase >= PHASE_DATA_GROUPS_REPLAY)
		return STAGE_WARMUP;
	if (mode == RECOVERY_READONLY)
		return STAGE_READONLY_RECOVERY;
	return mode == RECOVERY_FORCE ? STAGE_FORCE_RECOVERY : STAGE_RECOVER;
}

const char *
phase_name(unsigned phase)
{
	return phase < PHASE_COUNT ? phase_names[phase] : "phase?";
}

int
phase_parse(const char *name)
{
	int i;

	for (i = 0; i < PHASE_COUNT; i++)
		if (strcmp(name, phase_names[i]) == 0)
			return i;
	return -EINVAL;
}

const char *
stage_name(unsigned stage)
{
	return stage < STAGE_COUNT ? stage_names[stage] : "stage?";
}

const char *
shutdown_name(unsigned step)
{
	return step < SHUTDOWN_COUNT ? step_names[step] : "step?";
}
