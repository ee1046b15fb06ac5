/*
 * The sequencer's rules, one scenario after the other: order of phases, gates,
 * early and late ones, the seal, failure, absorbing success, owners that die,
 * waiters, shutdown, stages, snapshots.
 */
#include "shm/sequencer.h"

#include "t/shm_fixture.h"

static struct sequencer *
fresh(enum recovery_mode mode)
{
	struct sequencer *s = shared_zeros(sizeof(*s));

	seq_init(s, mode);
	return s;
}

static void
drop(struct sequencer *s)
{
	munmap(s, sizeof(*s));
}

static unsigned
phase_of(const struct sequencer *s)
{
	return atomic_load(&s->phase);
}

static void
names(void)
{
	unsigned i, j;
	bool unique = true;

	for (i = 0; i < PHASE_COUNT; i++) {
		ok(phase_parse(phase_name(i)) == (int)i, "phase %u is '%s'", i,
		    phase_name(i));
		for (j = 0; j < i; j++)
			unique &= strcmp(phase_name(i), phase_name(j)) != 0;
	}
	ok(unique, "no two phases share a name");
	is_str(phase_name(PHASE_COUNT), "phase?", "no phase beyond the last");
	is_i64(phase_parse("nonsense"), -EINVAL, "an unknown name is refused");
	is_str(stage_name(STAGE_COUNT), "stage?", "no stage beyond the last");
	is_str(shutdown_name(SHUTDOWN_WAL_FSYNC), "wal_fsync", "a step's name");
	is_str(shutdown_name(SHUTDOWN_COUNT), "step?", "no step beyond");
}

static void
in_order(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);
	unsigned p;

	for (p = PHASE_WAL_RECOVERY; p <= PHASE_GATEWAY_ENABLE; p++)
		if (seq_register(s, p, SLOT_WAL, "step") != 0)
			ok(false, "register %u", p);
	is_u64(phase_of(s), PHASE_BOOT, "nothing moves before the seal");
	is_i64(seq_seal(s), 0, "sealed");
	for (p = PHASE_WAL_RECOVERY; p <= PHASE_GATEWAY_ENABLE; p++) {
		is_u64(
		    phase_of(s), p - 1, "a gate blocks entry into its phase");
		ok(!seq_reached(s, p), "which is not reached");
		is_i64(seq_fire(s, p, SLOT_WAL), 0, "fired");
		is_u64(phase_of(s), p, "in lock step");
		ok(seq_reached(s, p), "which is reached");
	}
	is_i64(seq_seal(s), 0, "to seal twice is no harm");
	drop(s);
}

static void
early_fire(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_SCHEMA_CACHE_WARMUP, SLOT_VLSN, "index");
	seq_register(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "serve");
	is_i64(seq_fire(s, PHASE_SCHEMA_CACHE_WARMUP, SLOT_VLSN), 0,
	    "fired before the seal");
	seq_seal(s);
	is_u64(phase_of(s), PHASE_BOOT, "a later gate does not advance");
	is_i64(seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL), 0, "the first fires");
	is_u64(phase_of(s), PHASE_HEALTH_LOOP_START,
	    "the early one is remembered, phases without gates chain");
	ok(atomic_load(&s->phase_entered_ns[PHASE_CATALOG_SANITY_CHECK]) != 0,
	    "each phase that was passed has its time");
	drop(s);
}

static void
two_gates(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT, "open");
	seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "read");
	is_i64(seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "read"),
	    -EEXIST, "one gate per phase and owner");
	seq_seal(s);
	is_u64(phase_of(s), PHASE_WAL_RECOVERY, "chained up to the gates");
	seq_fire(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE);
	is_u64(phase_of(s), PHASE_WAL_RECOVERY, "one of two is not enough");
	is_i64(seq_fire(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE), 0,
	    "fire again: idempotent");
	is_i64(seq_fire(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE), 0,
	    "and a third time");
	is_u64(phase_of(s), PHASE_WAL_RECOVERY, "and counts once");
	seq_fire(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT);
	is_u64(phase_of(s), PHASE_GATEWAY_ENABLE, "both: on to the end");
	drop(s);
}

static void
no_gates(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	is_u64(phase_of(s), PHASE_BOOT, "no gates, no seal: boot");
	is_i64(seq_seal(s), 0, "seal with no gates");
	is_u64(phase_of(s), PHASE_GATEWAY_ENABLE, "is not stuck");
	drop(s);
}

static void
late_registration(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	is_i64(seq_register(s, PHASE_BOOT, SLOT_WAL, "b"), -EALREADY,
	    "boot is reached from the start");
	is_i64(seq_register(s, PHASE_FAILED, SLOT_WAL, "f"), -EINVAL,
	    "nobody waits for failed");
	is_i64(seq_register(s, PHASE_WAL_RECOVERY, SLOT_MAX, "f"), -EINVAL,
	    "an owner is a slot");
	seq_register(s, PHASE_DATA_GROUPS_REPLAY, SLOT_STORE, "apply");
	seq_seal(s);
	is_u64(phase_of(s), PHASE_CATALOG_SANITY_CHECK, "on the way");
	is_i64(seq_register(s, PHASE_CATALOG_SANITY_CHECK, SLOT_VLSN, "late"),
	    -EALREADY, "the phase just reached: pre-fired");
	is_i64(seq_register(s, PHASE_WAL_RECOVERY, SLOT_VLSN, "later"),
	    -EALREADY, "one long past: pre-fired");
	is_i64(seq_fire(s, PHASE_WAL_RECOVERY, SLOT_VLSN), 0,
	    "to fire it is no harm");
	is_i64(seq_fail(s, PHASE_WAL_RECOVERY, SLOT_VLSN, "x"), -EALREADY,
	    "nor to fail it");
	is_i64(seq_owner_died(s, SLOT_VLSN, "killed"), 0,
	    "nor that its owner dies");
	ok(!seq_failed(s), "the node has not failed");
	is_i64(seq_register(s, PHASE_WARM_PEERS, SLOT_GROUP, "new"), 0,
	    "a phase ahead takes gates after the seal");
	seq_fire(s, PHASE_DATA_GROUPS_REPLAY, SLOT_STORE);
	is_u64(phase_of(s), PHASE_TRANSPORT_BIND, "and is blocked by them");
	is_i64(seq_fire(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY), -ENOENT,
	    "a gate that never was cannot fire");
	drop(s);
}

static void
table_full(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);
	unsigned n = 0, p, o;
	int rc = 0;

	for (p = 1; p <= PHASE_GATEWAY_ENABLE && rc == 0; p++)
		for (o = 0; o < SLOT_MAX && rc == 0; o++)
			n += (rc = seq_register(s, p, o, "many")) == 0;
	is_u64(n, GATE_MAX, "as many gates as there are places");
	is_i64(rc, -ENOSPC, "then it says so");
	drop(s);
}

static void
first_failure_stays(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "open");
	seq_seal(s);
	is_i64(seq_fail(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE,
		   "store/data.mdb: %s", "is damaged"),
	    0, "a later phase's gate fails the node, too");
	ok(seq_failed(s), "failed");
	is_str(s->error,
	    "cluster_catalog_open: store: store/data.mdb: is damaged",
	    "the error names phase, subsystem, reason");
	is_u64(s->error_slot, SLOT_STORE, "and the slot");
	is_i64(seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "second"), -ECANCELED,
	    "a second failure is too late");
	is_i64(seq_fail_node(s, "third"), -ECANCELED, "so is one with no gate");
	is_i64(seq_owner_died(s, SLOT_WAL, "exit 1"), -ECANCELED, "or a death");
	is_str(s->error,
	    "cluster_catalog_open: store: store/data.mdb: is damaged",
	    "the first error is kept");
	is_i64(seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL), -ECANCELED,
	    "no fire after a failure");
	is_i64(seq_register(s, PHASE_WARM_PEERS, SLOT_WAL, "n"), -ECANCELED,
	    "no register");
	is_i64(seq_seal(s), -ECANCELED, "no seal");
	is_u64(phase_of(s), PHASE_BOOT, "the phase stays where it failed");
	ok(!seq_reached(s, PHASE_BOOT), "and counts as reached no more");
	is_i64(seq_wait(s, PHASE_BOOT, 0, NULL, NULL), -ECANCELED,
	    "failure is looked at before the phase");
	drop(s);
}

static void
failures_without_gate(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	is_i64(seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "early"), 0,
	    "who has no gate can fail the boot, also before the seal");
	is_str(s->error, "wal_recovery: wal: early", "and is named");
	drop(s);

	s = fresh(RECOVERY_NORMAL);
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_seal(s);
	is_i64(seq_fail_node(s, "recover: %d s are over", 30), 0,
	    "a budget fails the node");
	is_str(s->error, "recover: 30 s are over", "in its own words");
	drop(s);

	s = fresh(RECOVERY_NORMAL);
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "%0700d", 1);
	is_u64(strlen(s->error), SEQ_ERROR_MAX - 1, "a long error is cut");
	drop(s);
}

static void
success_absorbs(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_seal(s);
	seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL);
	is_u64(phase_of(s), PHASE_GATEWAY_ENABLE, "up");
	is_i64(seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "x"), -EALREADY,
	    "fail after fire changes nothing");
	is_i64(seq_fail(s, PHASE_WARM_PEERS, SLOT_GROUP, "x"), -EALREADY,
	    "fail with no gate changes nothing");
	is_i64(seq_fail_node(s, "x"), -EALREADY, "fail_node changes nothing");
	is_i64(seq_register(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "late"),
	    -EALREADY, "a late gate is pre-fired");
	is_i64(seq_fire(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY), 0,
	    "which a restarted worker may fire");
	is_i64(seq_owner_died(s, SLOT_GATEWAY, "signal 9"), -EALREADY,
	    "its death is none of the boot's business");
	ok(!seq_failed(s) && seq_reached(s, PHASE_GATEWAY_ENABLE),
	    "success absorbs all of it");
	drop(s);
}

static void
fail_after_fire(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_WARM_PEERS, SLOT_GROUP, "dial");
	seq_seal(s);
	seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL);
	is_i64(seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "too late"), -EALREADY,
	    "what was proved cannot fail, also while booting");
	ok(!seq_failed(s), "the boot goes on");
	drop(s);
}

static void
owner_dies(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_CATALOG_SANITY_CHECK, SLOT_VLSN, "index agrees");
	seq_register(s, PHASE_SCHEMA_CACHE_WARMUP, SLOT_VLSN, "index loaded");
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_seal(s);
	is_i64(seq_owner_died(s, SLOT_HEALTH, "exit 0"), 0,
	    "who owns no gate may die");
	ok(!seq_failed(s), "that is no failure");
	is_i64(seq_owner_died(s, SLOT_VLSN, NULL), 0, "one is waited for");
	is_u64(atomic_load(&s->gate[0].state), GATE_PENDING, "its gates wait");
	is_i64(seq_owner_died(s, SLOT_VLSN, "killed by signal 9"), 0, "dies");
	is_str(s->error,
	    "schema_cache_warmup: vlsn: killed by signal 9 before "
	    "'index loaded' was proved",
	    "the subsystem is named, with its first open gate");
	is_u64(atomic_load(&s->gate[0].state), GATE_FAILED, "its gates failed");
	is_u64(atomic_load(&s->gate[1].state), GATE_FAILED, "all of them");
	is_u64(atomic_load(&s->gate[2].state), GATE_PENDING, "and no other's");
	drop(s);
}

static void
owner_spared(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_SCHEMA_CACHE_WARMUP, SLOT_VLSN, "index loaded");
	seq_register(s, PHASE_CATALOG_SANITY_CHECK, SLOT_VLSN, "index agrees");
	seq_seal(s);
	seq_opened(s, SLOT_WAL);
	is_i64(seq_owner_spared(s, SLOT_VLSN), 0, "one is done without");
	ok(seq_stage_now(s) != STAGE_INIT, "nor is its opening waited for");
	is_u64(phase_of(s), PHASE_BOOT, "others' gates stand");
	seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL);
	is_u64(phase_of(s), PHASE_GATEWAY_ENABLE, "its own do not");
	drop(s);
}

/* A waiter in another process, and when it woke. */
struct waiter {
	struct sequencer *s;
	enum phase phase;
	_Atomic uint32_t waiting;
	_Atomic int32_t rc;
	_Atomic uint64_t woke_ns;
	char error[SEQ_ERROR_MAX];
};

static void
waiter_beat(void *arg)
{
	struct waiter *w = arg;

	atomic_fetch_add(&w->waiting, 1);
}

static int
waiter_main(void *arg)
{
	struct waiter *w = arg;
	const struct sequencer *s = w->s;
	int rc;

	/* As a tool has it. */
	rc = seq_wait(s, w->phase, 0, waiter_beat, w);
	atomic_store(&w->woke_ns, mono_ns());
	atomic_store(&w->rc, rc);
	memcpy(w->error, s->error, sizeof(w->error));
	return 0;
}

/* The state letter of /proc/PID/stat: 'S' once it sleeps. */
static bool
is_asleep(pid_t pid)
{
	char path[40], buf[256];
	const char *at;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((f = fopen(path, "r")) == NULL)
		return false;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	at = strrchr(buf, ')');
	return at != NULL && at[2] == 'S';
}

static void
act_fail(struct sequencer *s)
{
	seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "cause");
}

static void
act_fire(struct sequencer *s)
{
	seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL);
}

static void
act_die(struct sequencer *s)
{
	seq_owner_died(s, SLOT_WAL, "gone");
}

static void
act_shutdown(struct sequencer *s)
{
	seq_shutdown(s, SHUTDOWN_DRAINING_LISTENERS);
}

static void
act_end(struct sequencer *s)
{
	seq_end(s, "the node ended");
}

static void
act_stop(struct sequencer *s)
{
	seq_shutdown(s, SHUTDOWN_CLOSED);
	seq_end(s, "the node ended");
}

/* Two waiters, both asleep, wake with the same answer; best of some tries. */
static void
waiters_wake(const char *what, void (*act)(struct sequencer *), int want_rc,
    const char *want_error)
{
	uint64_t begin, took, best = UINT64_MAX;
	struct waiter *w = shared_zeros(2 * sizeof(*w));
	struct sequencer *s;
	pid_t pid[2];
	int i, try;

	for (try = 0; try < 50 && best > 10 * NS_PER_MS; try++) {
		s = fresh(RECOVERY_NORMAL);
		seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
		seq_seal(s);
		for (i = 0; i < 2; i++) {
			memset(&w[i], 0, sizeof(w[i]));
			w[i].s = s;
			w[i].phase = PHASE_WAL_RECOVERY;
			pid[i] = child_start(waiter_main, &w[i]);
		}
		for (i = 0; i < 2; i++)
			if (!wait_until(atomic_load(&w[i].waiting) > 0 &&
					    is_asleep(pid[i]),
				TAP_WAIT_MS))
				ok(false, "waiter %d sleeps", i);
		begin = mono_ns();
		act(s);
		took = 0;
		for (i = 0; i < 2; i++) {
			if (child_end(pid[i]) != 0)
				ok(false, "waiter %d ended", i);
			if (atomic_load(&w[i].woke_ns) - begin > took)
				took = atomic_load(&w[i].woke_ns) - begin;
		}
		if (took < best)
			best = took;
		drop(s);
	}
	ok(best <= 10 * NS_PER_MS, "%s: both woke within 10 ms (%u us)", what,
	    (unsigned)(best / 1000));
	for (i = 0; i < 2; i++) {
		is_i64(atomic_load(&w[i].rc), want_rc, "with the answer");
		if (want_error != NULL)
			is_str(w[i].error, want_error, "and the same text");
	}
	munmap(w, 2 * sizeof(*w));
}

static void
waiters(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);
	uint64_t begin = mono_ns();

	waiters_wake("fire", act_fire, 0, NULL);
	waiters_wake("fail", act_fail, -ECANCELED, "wal_recovery: wal: cause");
	waiters_wake("owner death", act_die, -ECANCELED,
	    "wal_recovery: wal: gone before 'scan' was proved");
	waiters_wake("shutdown", act_shutdown, -ESHUTDOWN, NULL);
	waiters_wake("end of a region that boots", act_end, -ECANCELED,
	    "the node ended while it was booting, at boot");
	waiters_wake("end after a stop", act_stop, -ESHUTDOWN, NULL);
	is_i64(seq_wait(s, PHASE_BOOT, 0, NULL, NULL), 0, "reached: no wait");
	is_i64(seq_wait(
		   s, PHASE_WARM_PEERS, mono_ns() + 20 * NS_PER_MS, NULL, NULL),
	    -ETIMEDOUT, "a deadline ends the wait");
	ok(mono_ns() - begin >= 20 * NS_PER_MS, "and not before its time");
	is_i64(seq_wait(s, PHASE_WARM_PEERS, 1, NULL, NULL), -ETIMEDOUT,
	    "a deadline that is over already");
	drop(s);
}

/* Waiting and looking need no right to write. */
static void
read_only(void)
{
	struct seq_snapshot snap;
	const struct sequencer *view;
	struct sequencer *s;
	int fd = memfd_create("seq", 0);

	if (ftruncate(fd, sizeof(*s)) != 0)
		abort();
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	view = mmap(NULL, sizeof(*s), PROT_READ, MAP_SHARED, fd, 0);
	seq_init(s, RECOVERY_NORMAL);
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_seal(s);
	is_i64(seq_wait(view, PHASE_WAL_RECOVERY, mono_ns() + 5 * NS_PER_MS,
		   NULL, NULL),
	    -ETIMEDOUT, "a read-only map can wait");
	seq_snapshot(view, &snap);
	is_u64(snap.pending_count, 1, "and look");
	close(fd);
	munmap(s, sizeof(*s));
	munmap((void *)(uintptr_t)view, sizeof(*s));
}

static void
shutdown_bus(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);
	struct seq_snapshot snap;

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_seal(s);
	seq_shutdown(s, SHUTDOWN_DRAINING_DATA_PLANE);
	seq_shutdown(s, SHUTDOWN_DRAINING_LISTENERS);
	is_u64(atomic_load(&s->shutdown), SHUTDOWN_DRAINING_DATA_PLANE,
	    "a step never goes back");
	seq_snapshot(s, &snap);
	is_u64(snap.stage, STAGE_SHUTTING_DOWN, "stopped while booting");
	is_i64(seq_wait(s, PHASE_WAL_RECOVERY, 0, NULL, NULL), -ESHUTDOWN,
	    "who still waits for the boot is told");
	is_i64(seq_owner_died(s, SLOT_WAL, "exit 0"), 0,
	    "who leaves then, leaves in order");
	ok(!seq_failed(s), "that is no failure");
	seq_stopped(s);
	seq_snapshot(s, &snap);
	is_u64(snap.stage, STAGE_STOPPED, "stopped");
	drop(s);

	s = fresh(RECOVERY_NORMAL);
	seq_seal(s);
	seq_end(s, "never");
	ok(!seq_failed(s), "a node that was up does not fail by its end");
	seq_snapshot(s, &snap);
	is_u64(snap.stage, STAGE_STOPPED, "it stops");
	is_i64(seq_wait(s, PHASE_GATEWAY_ENABLE, 0, NULL, NULL), 0,
	    "and what it had reached it had reached");
	drop(s);
}

/* By hand, the rule the matrix is held against. */
static enum stage
want_stage(unsigned phase, bool failed, unsigned mode, unsigned step,
    unsigned opening, bool stopped)
{
	static const enum stage recover[] = { STAGE_RECOVER,
		STAGE_READONLY_RECOVERY, STAGE_FORCE_RECOVERY };

	if (failed || stopped || step > 0)
		return failed    ? STAGE_FAILED
		       : stopped ? STAGE_STOPPED
				 : STAGE_SHUTTING_DOWN;
	if (phase > 10)
		return STAGE_UNINITIALIZED;
	return phase == 10    ? STAGE_READY
	       : opening == 0 ? STAGE_INIT
	       : opening == 1 ? STAGE_MIGRATE
	       : phase >= 6   ? STAGE_WARMUP
			      : recover[mode];
}

static void
stage_matrix(void)
{
	unsigned p, f, m, d, b, wrong = 0, rows = 0;
	enum stage got, last;

	for (p = 0; p <= PHASE_COUNT; p++)
		for (f = 0; f < 2; f++)
			for (m = 0; m < 3; m++)
				for (d = 0; d < SHUTDOWN_COUNT; d++)
					for (b = 0; b < 6; b++, rows++)
						wrong += seq_stage(p, f, m, d,
							     b / 2, b & 1) !=
							 want_stage(p, f, m, d,
							     b / 2, b & 1);
	is_u64(wrong, 0, "the whole matrix of stages");
	diag("%u rows", rows);
	for (m = 0; m < 3; m++) {
		last = STAGE_INIT;
		for (p = 0; p <= PHASE_GATEWAY_ENABLE; p++) {
			got = seq_stage(p, false, m, 0, OPENING_DONE, false);
			wrong += got < last;
			last = got;
		}
	}
	is_u64(wrong, 0, "stages never go back as phases go on");
}

/* Which stage a boot is in while workers open, files, and after. */
static void
openings(void)
{
	struct sequencer *s = fresh(RECOVERY_NORMAL);

	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT, "files");
	seq_register(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "store");
	seq_opened(s, SLOT_WAL);
	seq_opened(s, SLOT_CHECKPOINT);
	seq_opened(s, SLOT_STORE);
	is_u64(seq_stage_now(s), STAGE_INIT, "not sealed: init");
	seq_seal(s);
	is_u64(seq_stage_now(s), STAGE_MIGRATE, "checkpoint's files: migrate");
	seq_fire(s, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT);
	is_u64(seq_stage_now(s), STAGE_RECOVER,
	    "the store waits for the log: recover");
	drop(s);

	s = fresh(RECOVERY_NORMAL);
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	seq_register(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "enable");
	seq_seal(s);
	seq_opened(s, SLOT_WAL);
	seq_fire(s, PHASE_WAL_RECOVERY, SLOT_WAL);
	is_u64(atomic_load(&s->phase), PHASE_HEALTH_LOOP_START,
	    "phases do not wait for who has no gate there");
	is_u64(seq_stage_now(s), STAGE_INIT, "but its opening is init");
	seq_opened(s, SLOT_GATEWAY);
	seq_opened(s, SLOT_GATEWAY);
	is_u64(seq_stage_now(s), STAGE_WARMUP, "then the phase counts");
	seq_fire(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY);
	is_u64(seq_stage_now(s), STAGE_READY, "ready");
	drop(s);
}

static void
snapshots(void)
{
	struct sequencer *s = fresh(RECOVERY_FORCE);
	struct seq_snapshot snap;

	seq_snapshot(s, &snap);
	is_u64(snap.stage, STAGE_INIT, "before the seal");
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "wal scan");
	seq_register(s, PHASE_WAL_RECOVERY, SLOT_STORE, "other");
	seq_register(s, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "enable");
	seq_seal(s);
	seq_opened(s, SLOT_WAL);
	seq_opened(s, SLOT_STORE);
	seq_opened(s, SLOT_GATEWAY);
	seq_progress_set(s, SLOT_WAL, 10, 100, 0, 0, "segment 3 of 9");
	seq_progress_set(s, SLOT_GATEWAY, 7, 7, 0, 0, "not yet asked for");
	ok(wait_until(
	       mono_ns() - atomic_load(&s->phase_entered_ns[0]) > 2 * NS_PER_MS,
	       TAP_WAIT_MS),
	    "some time passes");
	seq_snapshot(s, &snap);
	is_u64(snap.phase, PHASE_BOOT, "snapshot: phase");
	is_u64(snap.stage, STAGE_FORCE_RECOVERY, "stage");
	is_u64(snap.recovery_mode, RECOVERY_FORCE, "mode");
	is_u64(snap.pending_count, 2, "gates of the next phase");
	is_str(snap.pending[0].name, "wal scan", "by name");
	is_u64(snap.pending[0].owner, SLOT_WAL, "owner");
	is_u64(snap.pending[0].phase, PHASE_WAL_RECOVERY, "phase");
	ok(snap.pending[0].waited_ms >= 1, "and how long it waits");
	ok(snap.phase_ms >= 1 && snap.total_ms >= 1, "times");
	is_u64(snap.percent, 10, "percent of the pending owners' work");
	is_str(snap.message, "segment 3 of 9", "and their message");
	seq_progress_set(s, SLOT_WAL, 0, 0, 500, 200, "over");
	seq_snapshot(s, &snap);
	is_u64(snap.percent, 100, "percent is at most 100");
	seq_progress_set(s, SLOT_WAL, 999999, 1000000, 0, 0, NULL);
	seq_snapshot(s, &snap);
	is_u64(snap.percent, 99, "and 100 only when all is done");
	is_str(snap.message, "over", "no message leaves the one before");
	is_str(snap.error, "", "no error yet");
	seq_fail(s, PHASE_WAL_RECOVERY, SLOT_WAL, "\"q\\uote\n");
	seq_snapshot(s, &snap);
	ok(snap.failed && snap.stage == STAGE_FAILED, "failed");
	is_str(snap.error, "wal_recovery: wal: \"q\\uote\n", "with the bytes");
	is_u64(snap.phase, PHASE_BOOT, "where it stopped");
	drop(s);

	s = fresh(RECOVERY_NORMAL);
	seq_seal(s);
	seq_snapshot(s, &snap);
	is_u64(snap.percent, 100, "up: 100 percent");
	is_u64(snap.pending_count, 0, "nothing pending");
	drop(s);
}

/* Boots one after the other, while another process takes snapshots. */
static int
booter_main(void *arg)
{
	struct sequencer *s = arg;
	unsigned p, o;

	for (p = 1; p <= PHASE_GATEWAY_ENABLE; p++)
		for (o = 1; o <= 5; o++)
			seq_register(s, p, o, "gate");
	for (o = 1; o <= 5; o++)
		seq_opened(s, o);
	seq_seal(s);
	for (p = PHASE_GATEWAY_ENABLE; p >= 1; p--)
		for (o = 1; o <= 5; o++)
			seq_fire(s, 11 - p, o);
	return 0;
}

static void
snapshot_stress(void)
{
	unsigned round, wrong = 0, looks = 0, i;
	struct seq_snapshot snap;
	struct sequencer *s;
	pid_t pid;

	for (round = 0; round < 30; round++) {
		s = fresh(RECOVERY_NORMAL);
		pid = child_start(booter_main, s);
		do {
			seq_snapshot(s, &snap);
			looks++;
			for (i = 0; i < snap.pending_count; i++)
				wrong +=
				    snap.stage != STAGE_INIT &&
				    snap.pending[i].phase != snap.phase + 1;
			wrong += snap.stage == STAGE_READY &&
				 snap.pending_count != 0;
		} while (snap.stage != STAGE_READY);
		if (child_end(pid) != 0)
			ok(false, "boot %u", round);
		drop(s);
	}
	is_u64(wrong, 0, "each snapshot is one moment's");
	diag("%u looks at 30 boots", looks);
}

int
main(void)
{
	names();
	in_order();
	early_fire();
	two_gates();
	no_gates();
	late_registration();
	table_full();
	first_failure_stays();
	failures_without_gate();
	success_absorbs();
	fail_after_fire();
	owner_dies();
	owner_spared();
	waiters();
	read_only();
	shutdown_bus();
	stage_matrix();
	openings();
	snapshots();
	snapshot_stress();
	return tap_done();
}
