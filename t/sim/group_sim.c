/*
 * Simulator of the group core: seeded random interleavings of the core, a
 * loop that does what it asks one action at a time, a log with its flushes,
 * observers that advance `committed` from old copies of the view, and a disk
 * that tears what was in flight when the process is killed. commit_rule() and
 * commit_advance() are the real ones. After each move it checks that
 *
 *   V1  a process relies on one vote per term, and terms only grow, also
 *	 over restarts;
 *   V2  the state file gives back the newest promise that was relied on;
 *   A1  a record is appended only in a term that this process has won;
 *   A2  a term is won by one process;
 *   C1  nothing commits under a role that is over: once a newer (term, vote)
 *	 is on its way to the disk, or other members commit;
 *   C2  what commits is flushed, ends in the term it commits under, and the
 *	 position never goes back;
 *   C3  what was committed stays in the log as it was, for ever;
 *   R1  a role shown in the view is one that the core reached by then.
 *
 * group_sim [SEEDS]		TAP; the default is a short run
 * group_sim -s SEED		one seed, telling each move
 * group_sim -x FAULT [SEEDS]	with a fault in the loop (it must be found)
 */
#include "t/lib/group_asked.h"
#include "t/sim/seeds.h"

#include <unistd.h>

#include "shm/region.h"
#include "workers/group/state_file.h"

#define SEEDS_DEFAULT 1500
#define MOVES         600 /* per seed */
#define LOG_MAX       2048
#define LIVES_MAX     256
#define TERM_MAX      1024
#define SNAPSHOTS     3 /* observers that are late */

enum sim_fault {
	FAULT_NONE,
	FAULT_ONE_EPOCH, /* the first epoch is kept for good */
	FAULT_EARLY_ANSWER, /* STORED before the disk has it */
	FAULT_ONE_BLOCK, /* a promise is written to one block only */
	FAULT_EARLY_VIEW, /* MASTER is shown before the vote is stored */
	FAULT_COUNT
};

enum kind { KIND_OP, KIND_TERM, KIND_MEMBER };

struct entry {
	uint64_t term;
	enum kind kind;
	unsigned members; /* KIND_MEMBER */
};

/* What survives a kill. Index = VLSN. */
static struct {
	uint8_t state[STATE_FILE_SIZE];
	struct entry log[LOG_MAX];
	uint64_t flushed;
	struct membership members; /* the file; vlsn 0 = none */
} disk;

/* What only the checks know. */
static struct {
	uint64_t vote[TERM_MAX]; /* relied on; 0 = none */
	uint64_t relied_term, relied_vote;
	uint64_t submitted_term; /* highest this life sent to the disk */
	unsigned winner[TERM_MAX]; /* life that won; 0 = none */
	struct entry committed[LOG_MAX];
	uint64_t committed_to;
	unsigned life;
	unsigned elections, commits, crashes, torn, rotten, cuts, lapses;
} ghost;

/* One life of the process. */
static struct {
	bool up, restarting;
	struct group_core core;
	struct asked todo; /* what is left of the last step */
	bool raise_left, store_left, publish_left;
	unsigned block_step; /* 0 none, 1 first in flight, 2 second */
	unsigned worse;
	struct state state; /* as to be written */
	bool answer_left;
	uint64_t cut_to; /* LOG_MAX = no cut asked for */
	struct positions pos;
	struct commit_state commit;
	struct region region;
	struct {
		bool taken;
		struct commit_state copy;
	} snapshot[SNAPSHOTS];
	/* wal's side */
	uint64_t appended, flushing;
	uint16_t wal_epoch;
	uint64_t wal_term, term_vlsn, member_vlsn, told_commit;
	bool member_asked, term_told, term_commit_told;
	uint64_t now_ns;
} me;

static enum sim_fault fault;
static uint64_t seed;

__attribute__((format(printf, 1, 2))) static void
tell(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static struct membership
membership_of(unsigned count, uint64_t vlsn)
{
	struct membership m = { .vlsn = vlsn, .lease_ms = 10, .count = count };
	uint64_t v = vlsn;
	unsigned i;

	while (v > 0 && m.before == 0)
		if (disk.log[--v].kind == KIND_MEMBER)
			m.before = v;
	for (i = 0; i < count; i++) {
		m.member[i].incarnation = 100 + i;
		snprintf(m.member[i].name, sizeof(m.member[i].name), "n%u", i);
	}
	return m;
}

/* ---- the log ---- */

static void
log_append(struct entry e)
{
	if (me.appended + 1 >= LOG_MAX || e.term >= TERM_MAX)
		return;
	CHECK(me.core.won_term == e.term,
	    "A1: appended in a term that was not won");
	CHECK(ghost.winner[e.term] == ghost.life,
	    "A1: appended in another life's term");
	disk.log[++me.appended] = e;
	tell("append %u of kind %d, term %u", (unsigned)me.appended, e.kind,
	    (unsigned)e.term);
}

/* wal looks at the view, as it does before each append. */
static bool
wal_look(struct commit_view *view)
{
	commit_view_read(&me.commit, view);
	if (view->role != ROLE_MASTER)
		return false;
	if (view->term != me.wal_term) {
		me.wal_term = view->term;
		log_append((struct entry){ view->term, KIND_TERM, 0 });
		me.term_vlsn = me.appended;
		me.term_told = me.term_commit_told = false;
	}
	if (view->epoch != me.wal_epoch ||
	    me.term_vlsn != word_vlsn(position_get(&me.pos.term_start))) {
		me.wal_epoch = view->epoch;
		position_set(
		    &me.pos.term_start, epoch_word(view->epoch, me.term_vlsn));
		atomic_store(&me.commit.member[view->self].durable,
		    epoch_word(view->epoch, disk.flushed));
	}
	return true;
}

static void
commit_checked(struct region *r)
{
	uint64_t before = position_get(&me.pos.committed), after, v;
	struct commit_view view;

	commit_view_read(r->commit, &view);
	(void)commit_advance(r);
	after = position_get(&me.pos.committed);
	if (after == before)
		return;
	tell("committed %u in term %u epoch %u", (unsigned)word_vlsn(after),
	    (unsigned)view.term, view.epoch);
	ghost.commits++;
	CHECK(word_vlsn(after) > word_vlsn(before), "C2: committed went back");
	CHECK(word_vlsn(after) <= disk.flushed, "C2: committed, not flushed");
	CHECK(disk.log[word_vlsn(after)].term == view.term,
	    "C2: committed by counting records of an older term");
	CHECK(ghost.submitted_term <= view.term,
	    "C1: committed under a role that is over");
	for (v = ghost.committed_to + 1; v <= word_vlsn(after); v++) {
		CHECK(
		    disk.log[v].kind != KIND_MEMBER || disk.log[v].members == 1,
		    "C1: committed without the quorum of its members");
		ghost.committed[v] = disk.log[v];
	}
	if (word_vlsn(after) > ghost.committed_to)
		ghost.committed_to = word_vlsn(after);
}

static void
move_flush_done(void)
{
	struct commit_view view;

	if (me.flushing == 0)
		return;
	disk.flushed = me.flushing;
	me.flushing = 0;
	if (!wal_look(&view))
		return;
	atomic_store(&me.commit.member[view.self].durable,
	    epoch_word(view.epoch, disk.flushed));
}

/* Whoever learned the last fact; wal, right behind the flush, or later. */
static void
move_commit(void)
{
	commit_checked(&me.region);
}

static void
move_append(void)
{
	struct commit_view view;

	if (!wal_look(&view) || me.appended + 1 >= LOG_MAX)
		return;
	if (me.member_asked) {
		me.member_asked = false;
		log_append((struct entry){ view.term, KIND_MEMBER, 1 });
		me.member_vlsn = me.appended;
	} else {
		log_append((struct entry){ view.term, KIND_OP, 0 });
	}
}

static void
check_log(void)
{
	uint64_t v;

	for (v = 1; v <= ghost.committed_to; v++)
		CHECK(disk.log[v].term == ghost.committed[v].term &&
			  disk.log[v].kind == ghost.committed[v].kind,
		    "C3: a committed record changed");
}

/* ---- the disk of (term, vote) ---- */

/* A write of one block: all of it, or a torn one (n bytes landed). */
static void
block_write(unsigned block, unsigned n)
{
	uint8_t bytes[STATE_BLOCK_SIZE];

	state_encode(bytes, &me.state);
	memcpy(disk.state + block * STATE_STRIDE, bytes, n);
}

static void
persist_begin(void)
{
	me.state.counter++;
	me.state.term = me.todo.term;
	me.state.vote = me.todo.vote;
	me.block_step = 1;
	if (me.todo.term > ghost.submitted_term)
		ghost.submitted_term = me.todo.term;
	tell("persist term %u", (unsigned)me.todo.term);
	me.answer_left = fault == FAULT_EARLY_ANSWER;
}

static void
move_persist(void)
{
	if (me.block_step == 0)
		return;
	block_write(
	    me.block_step == 1 ? me.worse : 1 - me.worse, STATE_BLOCK_SIZE);
	if (me.block_step == 1 && fault != FAULT_ONE_BLOCK) {
		me.block_step = 2;
		return;
	}
	me.worse = fault == FAULT_ONE_BLOCK ? 1 - me.worse : me.worse;
	me.block_step = 0;
	me.answer_left = fault != FAULT_EARLY_ANSWER;
}

/* ---- the loop ---- */

static bool
idle(void)
{
	return !me.raise_left && !me.store_left && !me.publish_left;
}

static void
step(struct group_event ev)
{
	struct group_todo todo;

	CHECK(idle(), "the loop stepped with actions left");
	ev.now_ns = me.now_ns;
	group_step(&me.core, &ev, &todo);
	me.todo = asked_of(&todo);
	CHECK(me.todo.sound, "a list that is not in the order of doing");
	if (me.todo.announce)
		tell("%s -> %s: %s", role_name(me.todo.from),
		    role_name(me.todo.to), me.todo.why);
	if (me.todo.fail || me.todo.restart) {
		tell("ends: %s", me.todo.why);
		me.restarting = true;
		return;
	}
	if (me.todo.elected) {
		uint64_t term = me.core.won_term;

		CHECK(term < TERM_MAX, "the simulated terms are enough");
		CHECK(ghost.winner[term] == 0, "A2: a term was won twice");
		ghost.winner[term] = ghost.life;
		ghost.elections++;
	}
	if (fault == FAULT_ONE_EPOCH && me.core.epoch > 1)
		me.todo.epoch = me.todo.view.epoch = 1;
	me.raise_left = me.todo.raise_epoch;
	me.store_left = me.todo.store;
	me.publish_left = me.todo.publish;
	me.member_asked |= me.todo.append_member;
	if (me.todo.save_member)
		disk.members = me.core.current;
}

/* The next of the actions, in their order; a kill may come between any two. */
static void
move_action(void)
{
	uint64_t word;

	if (me.raise_left) {
		me.raise_left = false;
		word = position_get(&me.pos.committed);
		position_set(&me.pos.committed,
		    epoch_word(me.todo.epoch, word_vlsn(word)));
	} else if (me.cut_to != LOG_MAX) {
		tell("cut to %u", (unsigned)me.cut_to);
		CHECK(me.cut_to >= ghost.committed_to, "C3: cut a commit");
		me.appended = me.cut_to;
		if (disk.flushed > me.cut_to)
			disk.flushed = me.cut_to;
		me.flushing = 0;
		me.cut_to = LOG_MAX;
		ghost.cuts++;
	} else if (me.store_left) {
		me.store_left = false;
		persist_begin();
		if (fault == FAULT_EARLY_VIEW) {
			me.core.won_term = me.core.term;
			ghost.winner[me.core.term] = ghost.life;
			me.todo.view.term = me.core.term;
			me.todo.view.role = ROLE_MASTER;
			me.todo.view.epoch = me.core.epoch;
			me.todo.view.voters = 1;
			me.todo.view.quorum = quorum_count(1, 1);
			commit_view_write(&me.commit, &me.todo.view);
		}
	} else if (me.publish_left) {
		me.publish_left = false;
		CHECK(me.todo.view.role != ROLE_MASTER ||
			  (me.core.won_term == me.todo.view.term &&
			      ghost.relied_term == me.todo.view.term),
		    "R1: the view shows what was not won");
		commit_view_write(&me.commit, &me.todo.view);
	}
}

static void
move_answer(void)
{
	uint64_t term = me.core.term, vote = me.core.vote;

	if (!me.answer_left || !idle() || me.restarting)
		return;
	me.answer_left = false;
	if (fault == FAULT_NONE && pick(40) == 0) {
		tell("the store failed");
		step((struct group_event){ .kind = GROUP_STORE_FAILED });
		return;
	}
	CHECK(term < TERM_MAX, "the simulated terms are enough");
	CHECK(term >= ghost.relied_term, "V1: a term went back");
	CHECK(ghost.vote[term] == 0 || ghost.vote[term] == vote,
	    "V1: two votes in one term");
	/* Votes of a term are all for oneself here: none may be cast twice. */
	CHECK(ghost.vote[term] == 0, "V1: a vote was forgotten");
	ghost.vote[term] = vote;
	ghost.relied_term = term;
	ghost.relied_vote = vote;
	tell("term %u is relied on", (unsigned)term);
	step((struct group_event){
	    .kind = GROUP_STORED, .stored = { term, vote } });
}

/* What the loop notices in rings and positions. */
static void
move_notice(void)
{
	uint64_t committed = word_vlsn(position_get(&me.pos.committed));
	struct membership m;

	if (!idle() || me.restarting)
		return;
	if (me.member_vlsn != 0) {
		m = membership_of(
		    disk.log[me.member_vlsn].members, me.member_vlsn);
		me.member_vlsn = 0;
		step((struct group_event){
		    .kind = GROUP_MEMBER_APPENDED, .membership = &m });
	} else if (me.term_vlsn != 0 && !me.term_told) {
		me.term_told = true;
		step((struct group_event){ .kind = GROUP_TERM_APPENDED,
		    .term = { me.wal_term, me.term_vlsn } });
	} else if (me.term_told && !me.term_commit_told &&
		   committed >= me.term_vlsn) {
		me.term_commit_told = true;
		step((struct group_event){ .kind = GROUP_TERM_COMMITTED,
		    .term = { me.wal_term, me.term_vlsn } });
	} else if (me.core.current.vlsn != 0 &&
		   committed >= me.core.current.vlsn &&
		   me.told_commit != me.core.current.vlsn) {
		me.told_commit = me.core.current.vlsn;
		step((struct group_event){ .kind = GROUP_MEMBER_COMMITTED,
		    .vlsn = me.core.current.vlsn });
	}
}

/* A second member that never answers: the lease lapses, the record is cut. */
static void
move_grow(void)
{
	struct commit_view view;

	if (me.core.role != ROLE_MASTER || me.core.current.count != 1 ||
	    disk.members.vlsn == 0 ||
	    disk.members.vlsn != me.core.current.vlsn ||
	    me.core.previous.vlsn != me.core.current.vlsn ||
	    !me.core.term_committed || me.member_vlsn != 0)
		return;
	if (!wal_look(&view) || me.appended + 1 >= LOG_MAX)
		return;
	/*
	 * It is in force once it is in the log: nothing may commit by the old
	 * rule behind it, so the core hears of it before it can be flushed.
	 */
	if (!idle() || me.restarting)
		return;
	log_append((struct entry){ view.term, KIND_MEMBER, 2 });
	me.member_vlsn = me.appended;
	move_notice();
	while (me.raise_left || me.publish_left)
		move_action();
}

static void
move_cut(void)
{
	if (!idle() || me.restarting || me.core.role != ROLE_UNKNOWN ||
	    me.core.current.count == 1 || me.core.persisting)
		return;
	me.cut_to = me.core.current.vlsn - 1;
	step((struct group_event){
	    .kind = GROUP_MEMBER_CUT, .vlsn = me.cut_to });
}

static void
move_tick(void)
{
	bool master = me.core.role == ROLE_MASTER;

	if (!idle() || me.restarting)
		return;
	me.now_ns += NS_PER_MS * pick(15);
	step((struct group_event){ .kind = GROUP_TICK });
	if (master && me.core.role != ROLE_MASTER) {
		ghost.lapses++;
		tell("the lease lapsed");
	}
}

static void
move_snapshot(void)
{
	struct region late = me.region;
	unsigned i = pick(SNAPSHOTS);

	if (!me.snapshot[i].taken) {
		memcpy(&me.snapshot[i].copy, &me.commit, sizeof(me.commit));
		me.snapshot[i].taken = true;
		return;
	}
	me.snapshot[i].taken = false;
	late.commit = &me.snapshot[i].copy;
	commit_checked(&late);
}

/* ---- lives ---- */

static bool
blocks_sound(void)
{
	enum state_found found;
	struct state s;
	unsigned worse;

	return state_decide(disk.state, &s, &found, &worse) == 0 &&
	       found == STATE_GOOD;
}

/* The write in flight lands wholly, in part, or not at all. */
static void
crash_state(void)
{
	unsigned n = 0, block;

	if (me.block_step != 0) {
		block = me.block_step == 1 ? me.worse : 1 - me.worse;
		switch (pick(3)) {
		case 0:
			n = STATE_BLOCK_SIZE;
			break;
		case 1:
			n = pick(STATE_BLOCK_SIZE);
			ghost.torn++;
			break;
		default:
			break;
		}
		block_write(block, n);
	} else if (pick(8) == 0 && blocks_sound()) {
		/* Nothing was in flight: one block rots, not both. */
		n = pick(STATE_BLOCK_SIZE * 8);
		block = pick(STATE_BLOCKS);
		disk.state[block * STATE_STRIDE + n / 8] ^=
		    (uint8_t)(1u << n % 8);
		ghost.rotten++;
	}
}

static void
crash(void)
{
	tell("killed");
	ghost.crashes++;
	crash_state();
	/* Some of what was not flushed may have reached the disk. */
	if (me.appended > disk.flushed)
		disk.flushed +=
		    pick((unsigned)(me.appended - disk.flushed + 1));
	me.up = false;
}

static struct membership
log_members(uint64_t below)
{
	uint64_t v;

	for (v = below; v > 0; v--)
		if (disk.log[v].kind == KIND_MEMBER)
			return membership_of(disk.log[v].members, v);
	return membership_of(1, 0);
}

static void
boot(void)
{
	static const uint8_t uuid[16];
	struct membership newest = log_members(disk.flushed);
	struct group_boot b = {
		.incarnation = 100,
		.group_uuid = uuid,
		.log_vlsn = disk.flushed,
		.log_term = disk.flushed != 0 ? disk.log[disk.flushed].term : 0,
		.log_first = disk.flushed != 0 ? 1 : 0,
		.membership = &newest,
		.fallback = disk.members.vlsn != 0 ? &disk.members : NULL,
	};
	enum state_found found;

	memset(&me, 0, sizeof(me));
	me.up = true;
	me.cut_to = LOG_MAX;
	me.region.pos = &me.pos;
	me.region.commit = &me.commit;
	me.appended = disk.flushed;
	ghost.life++;
	CHECK(state_decide(disk.state, &me.state, &found, &me.worse) == 0,
	    "V2: the state file is lost");
	tell("life %u: term %u, log %u", ghost.life, (unsigned)me.state.term,
	    (unsigned)disk.flushed);
	CHECK(me.state.term > ghost.relied_term ||
		  (me.state.term == ghost.relied_term &&
		      me.state.vote == ghost.relied_vote),
	    "V2: a promise is lost");
	/* What no life relied on may be lost: it binds nobody. */
	ghost.submitted_term = me.state.term;
	b.term = me.state.term;
	b.vote = me.state.vote;
	if (disk.members.vlsn > newest.vlsn)
		b.membership = &disk.members;
	position_set(&me.pos.committed, epoch_word(0, 0));
	step((struct group_event){ .kind = GROUP_BOOTED, .booted = &b });
	CHECK(!me.restarting, "a sound disk is refused");
}

static void (*const moves[])(void) = {
	move_action,
	move_action,
	move_action,
	move_persist,
	move_persist,
	move_answer,
	move_answer,
	move_append,
	move_append,
	move_flush_done,
	move_commit,
	move_notice,
	move_notice,
	move_tick,
	move_snapshot,
	move_snapshot,
	move_grow,
	move_cut,
};

static void
move(void)
{
	if (!me.up) {
		boot();
		return;
	}
	if (me.restarting || pick(90) == 0) {
		crash();
		return;
	}
	if (me.flushing == 0 && me.appended > disk.flushed && pick(2) == 0)
		me.flushing = me.appended;
	moves[pick(NITEMS(moves))]();
	check_log();
}

/* True if the seed holds all invariants. */
static bool
run(uint64_t which)
{
	struct state founded = { .counter = 1, .incarnation = 100 };
	unsigned i;

	seed = which;
	rng_state = seed;
	memset(&disk, 0, sizeof(disk));
	memset(ghost.vote, 0, sizeof(ghost.vote));
	memset(ghost.winner, 0, sizeof(ghost.winner));
	memset(ghost.committed, 0, sizeof(ghost.committed));
	ghost.relied_term = ghost.relied_vote = ghost.submitted_term = 0;
	ghost.committed_to = 0;
	ghost.life = 0;
	memset(&me, 0, sizeof(me));
	for (i = 0; i < STATE_BLOCKS; i++)
		state_encode(disk.state + i * STATE_STRIDE, &founded);
	if (setjmp(failed) != 0)
		return false;
	for (i = 0; i < MOVES; i++)
		move();
	return true;
}

/* The loop's faults must be found, or the checks are worth nothing. */
static void
test_faults(void)
{
	static const char *const name[FAULT_COUNT] = {
		[FAULT_ONE_EPOCH] = "an epoch that is not raised",
		[FAULT_EARLY_ANSWER] = "an answer before the disk has it",
		[FAULT_ONE_BLOCK] = "a promise in one block only",
		[FAULT_EARLY_VIEW] = "a view before its vote",
	};

	for (fault = FAULT_NONE + 1; fault < FAULT_COUNT; fault++)
		test_fault(name[fault], 3000);
	fault = FAULT_NONE;
}

int
main(int argc, char **argv)
{
	uint64_t seeds = SEEDS_DEFAULT;
	int ch;

	while ((ch = getopt(argc, argv, "s:x:")) != -1) {
		switch (ch) {
		case 's':
			verbose = true;
			test_seeds("group_sim", strtoull(optarg, NULL, 10), 1);
			return tap_done();
		case 'x':
			fault = (enum sim_fault)strtoul(optarg, NULL, 10);
			break;
		default:
			fprintf(stderr, "usage: group_sim [-s SEED] "
					"[-x FAULT] [SEEDS]\n");
			return 2;
		}
	}
	if (optind < argc)
		seeds = strtoull(argv[optind], NULL, 10);
	test_seeds("group_sim", 1, seeds);
	if (fault != FAULT_NONE)
		return tap_done();
	ok(ghost.elections > seeds && ghost.commits > seeds,
	    "%u elections, %u commits", ghost.elections, ghost.commits);
	ok(ghost.crashes > seeds && ghost.torn > seeds / 10 &&
		ghost.rotten > seeds / 10,
	    "%u kills, %u torn and %u rotten blocks", ghost.crashes, ghost.torn,
	    ghost.rotten);
	ok(ghost.lapses > 0 && ghost.cuts > 0, "%u leases lapsed, %u cuts",
	    ghost.lapses, ghost.cuts);
	test_faults();
	return tap_done();
}
