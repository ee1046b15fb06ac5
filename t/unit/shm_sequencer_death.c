/*
 * A process is killed at every place between two stores of every change it
 * can make to the sequencer and its lock, and its repairer, too. Whatever died,
 * the next to come after its reaping finds a state in which the change has
 * happened wholly or not at all, the dead owner's gates are told, and nobody
 * waits for ever. Also a holder that is stopped, damage that no repair can
 * mend, and a lock in the name of somebody who cannot be.
 */
#include "shm/sequencer.h"

#include "t/shm_fixture.h"

#define KILLED (1000 + SIGKILL)

/* All places: the sequencer's, then the lock's. */
#define POINT_COUNT   (SEQ_POINT_COUNT + LOCK_POINT_COUNT)
#define POINT_LOCK(p) (SEQ_POINT_COUNT + (unsigned)(p))

static struct {
	unsigned point;
	unsigned countdown;
	int signal;
} death;

static _Atomic uint32_t *hits; /* shared: how often each point was the end */

static void
die_at_any(unsigned point)
{
	if (point != death.point || --death.countdown != 0)
		return;
	atomic_fetch_add(&hits[point], 1);
	raise(death.signal);
}

static void
die_at(enum seq_point point)
{
	die_at_any((unsigned)point);
}

static void
die_in_lock(enum lock_point point)
{
	die_at_any(POINT_LOCK(point));
}

static void
death_set(unsigned point, unsigned nth, int signal)
{
	death.point = point;
	death.countdown = nth;
	death.signal = signal;
	seq_point_hook = die_at;
	lock_point_hook = die_in_lock;
}

static void
act_register(struct sequencer *s)
{
	seq_register(s, PHASE_WARM_PEERS, SLOT_WAL, "one more");
}

static void
act_seal(struct sequencer *s)
{
	seq_seal(s);
}

static void
act_fire(struct sequencer *s)
{
	seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL);
}

static void
act_fail(struct sequencer *s)
{
	seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "cause");
}

static void
act_fail_node(struct sequencer *s)
{
	seq_fail_node(s, "a budget");
}

static void
act_owner_died(struct sequencer *s)
{
	seq_owner_died(s, SLOT_WAL, "gone");
}

static const struct action {
	const char *name;
	void (*run)(struct sequencer *s);
	bool sealed; /* before it */
} actions[] = {
	{ "register", act_register, true },
	{ "seal", act_seal, false },
	{ "fire", act_fire, true },
	{ "fail", act_fail, true },
	{ "fail_node", act_fail_node, true },
	{ "owner_died", act_owner_died, true },
};

/* wal owns two gates, store one that is fired early. */
static void
prepare(struct sequencer *s, const struct action *a)
{
	memset(s, 0, sizeof(*s));
	seq_init(s, RECOVERY_NORMAL);
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_DATA_GROUPS_REPLAY, SLOT_WAL, "more");
	seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "open");
	seq_fire(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE);
	if (a->sealed)
		seq_seal(s);
}

struct victim {
	struct sequencer *s;
	const struct action *action;
	unsigned point;
	unsigned nth;
};

static int
victim_main(void *arg)
{
	const struct victim *v = arg;

	lock_self(NULL, SLOT_WAL, 1);
	death_set(v->point, v->nth, SIGKILL);
	v->action->run(v->s);
	return 0;
}

/* Whoever has the lock is dead here: mend it, as its reaping does. */
static int
reap(struct sequencer *s)
{
	struct lock_owner owner;

	return seq_lock_owner(s, &owner) ? seq_lock_free_dead(s, owner) : 0;
}

/* Mends what there is, changes nothing else. */
static int
repairer_main(void *arg)
{
	const struct victim *v = arg;

	lock_self(NULL, SLOT_SUPERVISOR, 1);
	death_set(v->point, v->nth, SIGKILL);
	reap(v->s);
	seq_owner_died(v->s, SLOT_HEALTH, "nobody");
	return 0;
}

/* The phase that gates, seal and failure say there should be. */
static unsigned
phase_due(const struct sequencer *s)
{
	unsigned phase, i;

	for (phase = 0; phase < PHASE_GATEWAY_ENABLE; phase++)
		for (i = 0; i < GATE_MAX; i++)
			if (s->gate[i].phase == phase + 1 &&
			    s->gate[i].state == GATE_PENDING)
				return phase;
	return phase;
}

/* "" or what is wrong. */
static const char *
inconsistency(const struct sequencer *s)
{
	unsigned i, count = s->gate_count, failed_gates = 0;

	if ((s->version & 1) != 0)
		return "the version is odd";
	for (i = 0; i < GATE_MAX; i++) {
		if ((s->gate[i].state == GATE_FREE) != (i >= count))
			return "the count is not that of the gates";
		failed_gates += s->gate[i].state == GATE_FAILED;
	}
	if (s->failed != (s->error[0] != '\0'))
		return "failed without an error, or the other way round";
	if (!s->failed && failed_gates > 0)
		return "a gate failed, the node did not";
	if (!s->sealed && s->phase != PHASE_BOOT)
		return "moved before the seal";
	if (s->sealed && !s->failed && s->phase != phase_due(s))
		return "not in the phase that the gates allow";
	return "";
}

/*
 * The supervisor reaps the dead process, whose slot is wal's. What wal has
 * not proved has failed now, so a waiter is told in any case.
 */
static const char *
after_reaping(struct sequencer *s, const struct action *a)
{
	const char *wrong;
	int rc;

	if (reap(s) != 0)
		return "the lock is lost";
	rc = seq_owner_died(s, SLOT_WAL, "killed by signal 9");
	if (rc != 0 && rc != -ECANCELED)
		return "owner_died refused";
	if ((wrong = inconsistency(s))[0] != '\0')
		return wrong;
	if (!s->failed)
		return "the dead owner's gates did not fail";
	if (strstr(s->error, "wal") == NULL && a->run != act_fail_node)
		return "the error does not name the subsystem";
	if (seq_wait(s, PHASE_GATEWAY_ENABLE, 1, NULL, NULL) != -ECANCELED)
		return "a waiter would wait for ever";
	return "";
}

/* One death; false once the action is over before it comes. */
static bool
one_death(struct sequencer *s, const struct action *a, unsigned point,
    unsigned nth, char *trouble, size_t size)
{
	struct victim v = { s, a, point, nth };
	const char *wrong;
	int end;

	prepare(s, a);
	end = child_end(child_start(victim_main, &v));
	if (end != KILLED)
		return false;
	/* Somebody else's death is told first. */
	if (reap(s) != 0 ||
	    (seq_owner_died(s, SLOT_HEALTH, "nobody") != 0 && !s->failed))
		wrong = "the lock is lost";
	else
		wrong = inconsistency(s);
	if (wrong[0] == '\0')
		wrong = after_reaping(s, a);
	if (wrong[0] != '\0')
		snprintf(trouble, size, "%s, point %u, time %u: %s", a->name,
		    point, nth, wrong);
	return true;
}

/* Killed while it waits for a lock that another has. */
static void
waiter_dies(struct sequencer *s)
{
	struct victim v = { s, &actions[2], POINT_LOCK(LOCK_POINT_WAITED), 1 };

	prepare(s, v.action);
	lock_self(NULL, SLOT_STORE, 1);
	is_i64(lock_take(&s->lock, LOCK_SEQUENCER, 0), 0, "held");
	is_i64(child_end(child_start(victim_main, &v)), KILLED,
	    "who waits is killed");
	lock_release(&s->lock, LOCK_SEQUENCER);
	is_i64(seq_lock_free_dead(s, (struct lock_owner){ SLOT_WAL, 1 }), 0,
	    "it had nothing");
	is_u64(s->lock.word, 0, "its mark goes with the release");
	is_str(after_reaping(s, v.action), "", "and it is reaped");
}

static void
die_everywhere(struct sequencer *s)
{
	unsigned a, p, n, deaths = 0;
	char trouble[160] = "";

	for (a = 0; a < NITEMS(actions); a++) {
		for (p = 0; p < POINT_COUNT; p++)
			for (n = 1; one_death(s, &actions[a], p, n, trouble,
				 sizeof(trouble));
			     n++)
				deaths++;
		is_str(trouble, "", actions[a].name);
	}
	diag("%u deaths", deaths);
	waiter_dies(s);
}

/* A second process dies while it mends what the first one left. */
static bool
two_deaths(struct sequencer *s, const struct action *a, unsigned first,
    unsigned second, char *trouble, size_t size)
{
	struct victim v = { s, a, first, 1 }, w = { s, a, second, 1 };
	const char *wrong;

	prepare(s, a);
	if (child_end(child_start(victim_main, &v)) != KILLED ||
	    child_end(child_start(repairer_main, &w)) != KILLED)
		return false;
	wrong = after_reaping(s, a);
	if (wrong[0] != '\0')
		snprintf(trouble, size, "%s, points %u, %u: %s", a->name, first,
		    second, wrong);
	return true;
}

static void
die_in_repair(struct sequencer *s)
{
	unsigned a, p, q, deaths = 0;
	char trouble[160] = "";

	for (a = 0; a < NITEMS(actions); a++)
		for (p = 0; p < POINT_COUNT; p++)
			for (q = 0; q < POINT_COUNT; q++)
				deaths += two_deaths(s, &actions[a], p, q,
				    trouble, sizeof(trouble));
	is_str(trouble, "", "a repair that dies is repaired");
	ok(deaths > 100, "%u pairs of deaths", deaths);
	for (p = 0, q = 0; p < POINT_COUNT; p++)
		if (atomic_load(&hits[p]) > 0)
			q++;
	is_u64(q, POINT_COUNT, "no point was left out");
}

/* What was done before the death stays done, though nobody else comes. */
static void
fire_survives(struct sequencer *s)
{
	struct victim v = { s, &actions[2], SEQ_POINT_FIRE_STATED, 1 };

	prepare(s, v.action);
	is_i64(child_end(child_start(victim_main, &v)), KILLED,
	    "killed right after its gate fired");
	is_u64(s->phase, PHASE_BOOT, "the phase had not moved");
	reap(s);
	is_i64(seq_owner_died(s, SLOT_HEALTH, "nobody"), 0, "somebody comes");
	is_u64(s->phase, PHASE_CATALOG_SANITY_CHECK,
	    "the fire counts, and the boot has moved on");
	v.point = SEQ_POINT_FIRE_STAMPED;
	prepare(s, v.action);
	child_end(child_start(victim_main, &v));
	reap(s);
	seq_owner_died(s, SLOT_HEALTH, "nobody");
	is_u64(s->phase, PHASE_BOOT, "killed right before: it does not");
}

/* Nobody comes after the dead one: who only looks is not held up. */
static void
looked_at(struct sequencer *s)
{
	struct victim v = { s, &actions[2], SEQ_POINT_FIRE_STATED, 1 };
	struct seq_snapshot snap;

	prepare(s, v.action);
	is_i64(child_end(child_start(victim_main, &v)), KILLED, "killed");
	ok((s->version & 1) != 0, "in the middle of a change");
	seq_snapshot(s, &snap);
	is_u64(snap.phase, PHASE_BOOT, "a snapshot ends all the same");
	is_u64(snap.pending_count, 1, "with each word as it is");
	is_u64(
	    snap.pending[0].phase, PHASE_DATA_GROUPS_REPLAY, "the gate left");
}

struct stuck {
	struct region *r;
	_Atomic uint32_t ready;
};

static int
stuck_main(void *arg)
{
	struct stuck *k = arg;

	lock_self(k->r, SLOT_STORE, 7);
	death_set(SEQ_POINT_FIRE_STATED, 1, SIGSTOP);
	seq_fire(k->r->seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE);
	return 0;
}

/* A stopped holder: the supervisor is not held up, finds and kills it. */
static void
holder_stopped(void)
{
	struct stuck *k = shared_zeros(sizeof(*k));
	struct lock_owner owner = { 0 };
	struct fixture f;
	uint64_t begin, took;
	int status;
	pid_t pid;

	fixture_open(&f);
	k->r = &f.r;
	seq_register(f.r.seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "open");
	pid = child_start(stuck_main, k);
	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		ok(false, "it stopped");
	begin = mono_ns();
	is_i64(seq_seal(f.r.seq), -ETIMEDOUT, "the lock cannot be had");
	took = (mono_ns() - begin) / NS_PER_MS;
	/* The upper limit: not for ever, on a machine however busy. */
	ok(took >= LOCK_PATIENCE_MS && took < 200 * LOCK_PATIENCE_MS,
	    "which is known after %u ms", (unsigned)took);
	ok(seq_lock_owner(f.r.seq, &owner), "and who has it");
	is_u64(owner.slot, SLOT_STORE, "by its slot");
	is_u64(owner.incarnation, 7, "and incarnation");
	is_i64(
	    seq_lock_free_dead(f.r.seq, (struct lock_owner){ SLOT_STORE, 6 }),
	    0, "the slot's process before");
	is_i64(seq_seal(f.r.seq), -ETIMEDOUT, "is not who has it");
	is_u64(atomic_load(&f.r.slots->row[SLOT_STORE].held_locks),
	    1u << LOCK_SEQUENCER, "its row says so, too");
	kill(pid, SIGKILL);
	is_i64(child_end(pid), KILLED, "killed");
	is_i64(seq_lock_free_dead(f.r.seq, owner), 0, "reaped");
	is_i64(seq_seal(f.r.seq), 0, "now it can");
	is_u64(f.r.seq->phase, PHASE_GATEWAY_ENABLE, "and the fire counts");
	is_u64(atomic_load(&f.r.slots->row[SLOT_SUPERVISOR].held_locks), 0,
	    "nothing is held");
	is_u64(counter_sum(f.r.counters, C_LOCK_REPAIRS), 1,
	    "one repair is counted");
	ok(!seq_lock_owner(f.r.seq, &owner), "nobody has it");
	lock_self(&f.r, SLOT_STORE, 8);
	is_u64(atomic_load(&f.r.slots->row[SLOT_STORE].held_locks), 0,
	    "the slot's next process starts with none");
	fixture_close(&f);
	munmap(k, sizeof(*k));
}

static int
vandal_main(void *arg)
{
	struct sequencer *s = arg;

	lock_self(NULL, SLOT_WAL, 1);
	atomic_store(&s->gate[1].state, 77);
	death_set(SEQ_POINT_LOCKED, 1, SIGKILL);
	seq_seal(s);
	return 0;
}

/* What no process could have left behind is not guessed at. */
static void
not_recoverable(struct sequencer *s)
{
	prepare(s, &actions[0]);
	is_i64(child_end(child_start(vandal_main, s)), KILLED,
	    "died with the lock and a state that cannot be");
	is_i64(reap(s), -ENOTRECOVERABLE, "whoever reaps it cannot mend it");
	is_i64(seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL), -ENOTRECOVERABLE,
	    "so the first to come cannot have it");
	is_i64(seq_seal(s), -ENOTRECOVERABLE, "nor can anybody later");
	is_i64(seq_register(s, PHASE_WARM_PEERS, SLOT_WAL, "x"),
	    -ENOTRECOVERABLE, "register says so");
	is_i64(seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "x"), -ENOTRECOVERABLE,
	    "fail says so");
	is_i64(seq_fail_node(s, "x"), -ENOTRECOVERABLE, "fail_node says so");
	is_i64(seq_owner_died(s, SLOT_WAL, "x"), -ENOTRECOVERABLE,
	    "owner_died says so");
	seq_end(s, "the node ended");
	is_i64(seq_wait(s, PHASE_GATEWAY_ENABLE, 0, NULL, NULL), -ESHUTDOWN,
	    "waiters are told the end all the same");
}

/* What a worker may write there: nobody's names, the supervisor's own. */
static void
false_names(struct sequencer *s)
{
	static const uint32_t words[] = { 1, 0x03ffffff, 25u << 26 | 3,
		30u << 26, 31u << 26 | 1, 1u << 26 | 1, UINT32_MAX };
	struct lock_owner owner;

	lock_self(NULL, SLOT_SUPERVISOR, 1);
	for (unsigned i = 0; i < NITEMS(words); i++) {
		prepare(s, &actions[1]);
		atomic_store(&s->lock.word, words[i]);
		ok(seq_seal(s) == -ETIMEDOUT, "%08x: cannot be had", words[i]);
		ok(seq_lock_owner(s, &owner), "somebody is named");
		is_i64(seq_lock_free_dead(s, owner), 0, "who is none of ours");
		is_i64(seq_seal(s), 0, "so it is free");
	}
}

int
main(void)
{
	struct sequencer *s = shared_zeros(sizeof(*s));

	hits = shared_zeros(sizeof(*hits) * POINT_COUNT);
	die_everywhere(s);
	die_in_repair(s);
	fire_survives(s);
	looked_at(s);
	holder_stopped();
	not_recoverable(s);
	false_names(s);
	return tap_done();
}
