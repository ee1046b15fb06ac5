/*
 * The start-up sequencer: changes under its lock. Reading and waiting, which
 * take no lock, are in sequencer_wait.c.
 *
 * The facts are the gates' states, `sealed` and `failed`; each is one word,
 * stored after all that belongs to it. Everything else (count, phase, the
 * text of an error that did not come to be) follows from them, so whoever
 * reaps a dead owner of the lock computes it again: seq_repair().
 */
#include "shm/sequencer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "shm/assert.h"
#include "shm/wake.h"

_Static_assert(PHASE_GATEWAY_ENABLE + 1 == PHASE_FAILED, "success is last");
_Static_assert(SLOT_MAX <= 32, "slots are bits of `opened`");
_Static_assert(GATEWAY_MAX * 2 + 16 <= GATE_MAX, "two gates a gateway");

void (*seq_point_hook)(enum seq_point point);

#define SEQ_POINT(NAME)                                                        \
	do {                                                                   \
		if (seq_point_hook != NULL)                                    \
			seq_point_hook(SEQ_POINT_##NAME);                      \
	} while (0)

static uint32_t
load(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static void
store(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

static unsigned
gate_state(const struct gate *g)
{
	return atomic_load_explicit(&g->state, memory_order_acquire);
}

static void
gate_state_set(struct gate *g, enum gate_state state)
{
	atomic_store_explicit(&g->state, (uint8_t)state, memory_order_release);
}

static bool
boot_is_over(const struct sequencer *s)
{
	return load(&s->phase) >= PHASE_GATEWAY_ENABLE;
}

/*
 * A change begins: who takes a snapshot without the lock waits for an even
 * version. The fence keeps the change's stores behind the odd one.
 */
static void
change_begin(struct sequencer *s)
{
	store(&s->version, load(&s->version) | 1);
	atomic_thread_fence(memory_order_release);
	SEQ_POINT(BEGUN);
}

/*
 * `word`, on which waiters sleep, is raised before the version is even again:
 * who dies in between has told that there is a change, and seq_repair() ends
 * it.
 */
static void
change_end(struct sequencer *s)
{
	store(&s->word, load(&s->word) + 1);
	SEQ_POINT(BUMPED);
	store(&s->version, (load(&s->version) | 1) + 1);
	SEQ_POINT(ENDED);
}

static bool
phase_is_gated(const struct sequencer *s, unsigned phase)
{
	uint32_t i, count = seq_gate_count(s);

	for (i = 0; i < count; i++)
		if (s->gate[i].phase == phase &&
		    gate_state(&s->gate[i]) == GATE_PENDING)
			return true;
	return false;
}

/* Enter every phase whose gates have all fired. */
static void
advance(struct sequencer *s)
{
	uint32_t next = load(&s->phase) + 1;

	if (load(&s->failed) || !load(&s->sealed))
		return;
	for (; next <= PHASE_GATEWAY_ENABLE && !phase_is_gated(s, next);
	     next++) {
		atomic_store_explicit(&s->phase_entered_ns[next], mono_ns(),
		    memory_order_relaxed);
		SEQ_POINT(ADVANCE_STAMPED);
		store(&s->phase, next);
		SEQ_POINT(ADVANCE_STATED);
	}
}

static void
failed_set(struct sequencer *s)
{
	atomic_store_explicit(&s->phase_entered_ns[PHASE_FAILED], mono_ns(),
	    memory_order_relaxed);
	SEQ_POINT(FAIL_STAMPED);
	store(&s->failed, 1);
	SEQ_POINT(FAIL_STATED);
}

/* Can this be what a sequencer's own stores left behind? */
static bool
seq_is_sane(const struct sequencer *s, uint32_t count)
{
	const struct gate *g;
	uint32_t i;

	if (load(&s->phase) > PHASE_GATEWAY_ENABLE || load(&s->sealed) > 1 ||
	    load(&s->failed) > 1)
		return false;
	for (i = 0; i < GATE_MAX; i++) {
		g = &s->gate[i];
		if (gate_state(g) > GATE_FAILED ||
		    (gate_state(g) == GATE_FREE) != (i >= count))
			return false;
		if (i < count &&
		    (g->phase >= PHASE_FAILED || g->owner >= SLOT_MAX))
			return false;
	}
	return true;
}

/* The lock's owner died, anywhere in a change: make the state whole. */
static bool
seq_repair(void *arg)
{
	struct sequencer *s = arg;
	bool gate_failed = false;
	uint32_t i, count = 0;

	while (count < GATE_MAX && gate_state(&s->gate[count]) != GATE_FREE)
		count++;
	if (!seq_is_sane(s, count))
		return false;
	change_begin(s);
	store(&s->gate_count, count);
	for (i = 0; i < count; i++)
		gate_failed |= gate_state(&s->gate[i]) == GATE_FAILED;
	if (!load(&s->failed) && gate_failed)
		failed_set(s);
	else if (!load(&s->failed))
		memset(s->error, 0, sizeof(s->error));
	advance(s);
	change_end(s);
	return true;
}

/* *seen: `word` as it was before, by which seq_unlock() sees a change. */
static int
seq_lock(struct sequencer *s, unsigned patience_ms, uint32_t *seen)
{
	int rc;

	*seen = load(&s->word);
	rc = lock_take(&s->lock, LOCK_SEQUENCER, patience_ms);
	if (rc == 0)
		SEQ_POINT(LOCKED);
	return rc;
}

/*
 * Wakes who waits if something changed since seq_lock(), and only when the lock
 * is free: whoever wakes up may want it. A process that dies between the two
 * wakes nobody; waiters look by themselves once a second.
 */
static void
seq_unlock(struct sequencer *s, uint32_t seen)
{
	lock_release(&s->lock, LOCK_SEQUENCER);
	SEQ_POINT(UNLOCKED);
	if (load(&s->word) != seen)
		futex_wake_all(&s->word);
}

void
seq_init(struct sequencer *s, enum recovery_mode mode)
{
	s->recovery_mode = mode;
	s->started_ns = mono_ns();
	s->error_slot = SLOT_MAX;
	s->error_kind = FAULT_PROGRAM;
	atomic_store_explicit(&s->phase_entered_ns[PHASE_BOOT], s->started_ns,
	    memory_order_relaxed);
}

static struct gate *
gate_find(struct sequencer *s, unsigned phase, unsigned owner)
{
	uint32_t i, count = seq_gate_count(s);

	for (i = 0; i < count; i++)
		if (s->gate[i].phase == phase && s->gate[i].owner == owner)
			return &s->gate[i];
	return NULL;
}

/*
 * First all that the gate is, then its state, which makes it one, then the
 * count: seq_repair() counts the gates that have a state, so whoever dies here
 * leaves a whole gate or none.
 */
static void
gate_add(struct sequencer *s, uint32_t at, unsigned phase, unsigned owner,
    const char *name, enum gate_state state)
{
	struct gate *g = &s->gate[at];

	change_begin(s);
	g->phase = (uint8_t)phase;
	g->owner = (uint8_t)owner;
	g->registered_ns = mono_ns();
	g->fired_ns = state == GATE_FIRED ? g->registered_ns : 0;
	strlcpy(g->name, name, sizeof(g->name));
	SEQ_POINT(GATE_FILLED);
	gate_state_set(g, state);
	SEQ_POINT(GATE_STATED);
	store(&s->gate_count, at + 1);
	SEQ_POINT(GATE_COUNTED);
	change_end(s);
}

static int
register_locked(
    struct sequencer *s, unsigned phase, unsigned owner, const char *name)
{
	bool reached = phase <= load(&s->phase);
	bool known = gate_find(s, phase, owner) != NULL;
	uint32_t count = seq_gate_count(s);

	if (load(&s->failed))
		return -ECANCELED;
	if (known)
		return reached ? -EALREADY : -EEXIST;
	if (count == GATE_MAX)
		return -ENOSPC;
	gate_add(
	    s, count, phase, owner, name, reached ? GATE_FIRED : GATE_PENDING);
	return reached ? -EALREADY : 0;
}

int
seq_register(
    struct sequencer *s, enum phase phase, unsigned owner, const char *name)
{
	uint32_t seen;
	int rc;

	if ((unsigned)phase >= PHASE_FAILED || owner >= SLOT_MAX)
		return -EINVAL;
	if ((rc = seq_lock(s, LOCK_PATIENCE_MS, &seen)) != 0)
		return rc;
	rc = register_locked(s, phase, owner, name);
	seq_unlock(s, seen);
	return rc;
}

int
seq_seal(struct sequencer *s)
{
	uint32_t seen;
	int rc;

	if ((rc = seq_lock(s, LOCK_PATIENCE_MS, &seen)) != 0)
		return rc;
	if (load(&s->failed)) {
		rc = -ECANCELED;
	} else if (!load(&s->sealed)) {
		change_begin(s);
		store(&s->sealed, 1);
		SEQ_POINT(SEALED);
		advance(s);
		change_end(s);
	}
	seq_unlock(s, seen);
	return rc;
}

static int
fire_locked(struct sequencer *s, unsigned phase, unsigned owner)
{
	struct gate *g = gate_find(s, phase, owner);

	if (load(&s->failed))
		return -ECANCELED;
	if (g == NULL)
		return -ENOENT;
	if (gate_state(g) == GATE_FIRED)
		return 0;
	change_begin(s);
	g->fired_ns = mono_ns();
	SEQ_POINT(FIRE_STAMPED);
	gate_state_set(g, GATE_FIRED);
	SEQ_POINT(FIRE_STATED);
	advance(s);
	change_end(s);
	return 0;
}

int
seq_fire(struct sequencer *s, enum phase phase, unsigned owner)
{
	uint32_t seen;
	int rc;

	if ((rc = seq_lock(s, 0, &seen)) != 0)
		return rc;
	rc = fire_locked(s, phase, owner);
	seq_unlock(s, seen);
	return rc;
}

/*
 * The first error: its text, then the gates it explains (those of `owner`, in
 * `phase` or, PHASE_COUNT, in any), then the word that makes it so.
 */
static void
fail_locked(struct sequencer *s, unsigned phase, unsigned owner,
    enum fault_kind kind, const char text[SEQ_ERROR_MAX])
{
	uint32_t i, count = seq_gate_count(s);
	struct gate *g;

	change_begin(s);
	memcpy(s->error, text, SEQ_ERROR_MAX);
	s->error_slot = owner;
	s->error_kind = kind;
	SEQ_POINT(FAIL_TEXT);
	for (i = 0; i < count; i++) {
		g = &s->gate[i];
		if (g->owner != owner || gate_state(g) != GATE_PENDING ||
		    (phase != PHASE_COUNT && g->phase != phase))
			continue;
		gate_state_set(g, GATE_FAILED);
		SEQ_POINT(FAIL_GATE);
	}
	failed_set(s);
	change_end(s);
}

static int
may_fail(const struct sequencer *s)
{
	if (boot_is_over(s))
		return -EALREADY;
	return load(&s->failed) ? -ECANCELED : 0;
}

static int
fail(struct sequencer *s, enum phase phase, unsigned owner,
    enum fault_kind kind, const char *why)
{
	char text[SEQ_ERROR_MAX] = "", whose[96];
	const struct gate *g;
	uint32_t seen;
	int rc;

	ASSERT((unsigned)phase < PHASE_FAILED);
	ASSERT(owner < SLOT_MAX);
	snprintf(whose, sizeof(whose), "%s: %s: ", phase_name(phase),
	    slot_name(owner));
	fault_text_in(text, sizeof(text), whose, why, "");
	if ((rc = seq_lock(s, 0, &seen)) != 0)
		return rc;
	g = gate_find(s, phase, owner);
	rc = may_fail(s);
	if (rc == 0 && g != NULL && gate_state(g) == GATE_FIRED)
		rc = -EALREADY;
	if (rc == 0)
		fail_locked(s, phase, owner, kind, text);
	seq_unlock(s, seen);
	return rc;
}

int
seq_fail(
    struct sequencer *s, enum phase phase, unsigned owner, const char *fmt, ...)
{
	char why[SEQ_ERROR_MAX] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return fail(s, phase, owner, FAULT_PROGRAM, why);
}

/* The supervisor waits the world's faults out, whoever tells of them. */
static enum fault_kind
boot_fault(char *text, size_t size, const struct fault *f)
{
	enum fault_kind kind = fault_kind_of(f);
	struct fault told = *f;

	told.goes_on = kind == FAULT_WORLD;
	fault_text(text, size, &told);
	return kind;
}

int
seq_fault(struct sequencer *s, enum phase phase, unsigned owner,
    const struct fault *f)
{
	char why[FAULT_TEXT_MAX];
	enum fault_kind kind = boot_fault(why, sizeof(why), f);

	return fail(s, phase, owner, kind, why);
}

static int
fail_node(
    struct sequencer *s, enum fault_kind kind, const char text[SEQ_ERROR_MAX])
{
	uint32_t seen;
	int rc;

	if ((rc = seq_lock(s, LOCK_PATIENCE_MS, &seen)) != 0)
		return rc;
	if ((rc = may_fail(s)) == 0)
		fail_locked(s, PHASE_COUNT, SLOT_MAX, kind, text);
	seq_unlock(s, seen);
	return rc;
}

int
seq_fail_node(struct sequencer *s, const char *fmt, ...)
{
	char text[SEQ_ERROR_MAX] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail_node(s, FAULT_PROGRAM, text);
}

int
seq_fault_node(struct sequencer *s, const struct fault *f)
{
	char text[SEQ_ERROR_MAX] = "";
	enum fault_kind kind = boot_fault(text, sizeof(text), f);

	return fail_node(s, kind, text);
}

/* The owner's gate that blocks first, or NULL if it has proved them all. */
static const struct gate *
gate_first_pending(const struct sequencer *s, unsigned owner)
{
	uint32_t i, count = seq_gate_count(s);
	const struct gate *g, *first = NULL;

	for (i = 0; i < count; i++) {
		g = &s->gate[i];
		if (g->owner == owner && gate_state(g) == GATE_PENDING &&
		    (first == NULL || g->phase < first->phase))
			first = g;
	}
	return first;
}

/*
 * Its death may have cut off a wake-up that a change of its own was due: the
 * word is bumped whatever else there is to do.
 */
int
seq_owner_died(struct sequencer *s, unsigned owner, const char *how)
{
	char text[SEQ_ERROR_MAX] = "";
	const struct gate *g;
	uint32_t seen;
	int rc;

	ASSERT(owner < SLOT_MAX);
	if ((rc = seq_lock(s, LOCK_PATIENCE_MS, &seen)) != 0)
		return rc;
	g = gate_first_pending(s, owner);
	rc = may_fail(s);
	if (rc == 0 && g != NULL && how != NULL &&
	    load(&s->shutdown) == SHUTDOWN_NONE) {
		snprintf(text, sizeof(text),
		    "%s: %s: %s before '%.*s' was proved", phase_name(g->phase),
		    slot_name(owner), how, GATE_NAME_MAX - 1, g->name);
		fail_locked(s, PHASE_COUNT, owner, FAULT_PROGRAM, text);
	} else {
		store(&s->word, load(&s->word) + 1);
	}
	seq_unlock(s, seen);
	return rc;
}

int
seq_owner_spared(struct sequencer *s, unsigned owner)
{
	const struct gate *g;
	uint32_t seen;
	int rc;

	ASSERT(owner < SLOT_MAX);
	if ((rc = seq_lock(s, LOCK_PATIENCE_MS, &seen)) != 0)
		return rc;
	seq_opened(s, owner);
	while (rc == 0 && (g = gate_first_pending(s, owner)) != NULL)
		rc = fire_locked(s, g->phase, owner);
	seq_unlock(s, seen);
	return rc;
}

void
seq_opened(struct sequencer *s, unsigned slot)
{
	ASSERT(slot < SLOT_MAX);
	atomic_fetch_or_explicit(
	    &s->opened, UINT32_C(1) << slot, memory_order_release);
}

bool
seq_lock_owner(const struct sequencer *s, struct lock_owner *out)
{
	return lock_owner(&s->lock, out);
}

int
seq_lock_free_dead(struct sequencer *s, struct lock_owner dead)
{
	uint32_t seen = load(&s->word);
	int rc = lock_free_dead(&s->lock, LOCK_SEQUENCER, dead, seq_repair, s);

	if (load(&s->word) != seen)
		futex_wake_all(&s->word);
	return rc;
}

void
seq_shutdown(struct sequencer *s, enum shutdown_step step)
{
	ASSERT((unsigned)step < SHUTDOWN_COUNT);
	if (load(&s->shutdown) < (uint32_t)step)
		store(&s->shutdown, step);
	futex_bump(&s->word);
}

void
seq_stopped(struct sequencer *s)
{
	store(&s->stopped, 1);
	futex_bump(&s->word);
}

void
seq_end(struct sequencer *s, const char *why)
{
	/* A lock that cannot be had does not keep the end from being told. */
	if (load(&s->shutdown) == SHUTDOWN_NONE)
		(void)seq_fail_node(s, "%s while it was booting, at %s", why,
		    phase_name(load(&s->phase)));
	seq_stopped(s);
}
