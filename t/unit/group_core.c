/*
 * The consensus core: its table has at most one row per (state, fact) and
 * only legal edges, its lists are in the order of doing; what a boot decides in
 * each recovery mode; that a group of one elects itself through its own store
 * and in the right order; that nothing is written in a term that was not won;
 * what membership changes, a lapsed lease, used-up terms and a failed store do.
 */
#include "t/lib/group_asked.h"
#include "shm/bits.h"
#include "t/tap.h"
#include "workers/group/core/table.h"

static const uint8_t uuid[16] = { 1, 2, 3 };

static struct membership
members(unsigned count, uint64_t vlsn)
{
	struct membership m = {
		.vlsn = vlsn, .generation = 1, .lease_ms = 100
	};
	unsigned i;

	memcpy(m.group_uuid, uuid, sizeof(uuid));
	m.count = count;
	for (i = 0; i < count; i++) {
		m.member[i].incarnation = 100 + i;
		snprintf(m.member[i].name, sizeof(m.member[i].name), "n%u", i);
	}
	return m;
}

static unsigned unsound;

static struct asked
step(struct group_core *c, struct group_event ev)
{
	struct group_todo todo;
	struct asked a;

	group_step(c, &ev, &todo);
	a = asked_of(&todo);
	unsound += !a.sound;
	return a;
}

static struct asked
boot(struct group_core *c, struct group_boot b)
{
	memset(c, 0, sizeof(*c));
	b.incarnation = b.incarnation != 0 ? b.incarnation : 100;
	b.generation = b.generation != 0 ? b.generation : 1;
	if (b.group_uuid == NULL)
		b.group_uuid = uuid;
	return step(
	    c, (struct group_event){ .kind = GROUP_BOOTED, .booted = &b });
}

static struct asked
persisted(struct group_core *c)
{
	return step(c, (struct group_event){ .kind = GROUP_STORED,
			   .stored = { c->term, c->vote } });
}

/* Is it any `least` of `count` voters? */
static bool
any(const struct quorum *q, unsigned least, unsigned count)
{
	struct quorum want = quorum_count(least, count);

	return quorum_same(q, &want);
}

static void
test_table(void)
{
	unsigned count[ROLE_COUNT][FACT_COUNT] = { 0 };
	unsigned state, fact, twice = 0, bad_edges = 0, mute = 0, idle = 0;
	unsigned of_state[FACT_COUNT] = { 0 };
	size_t i;

	for (i = 0; i < group_table_rows; i++) {
		const struct group_row *row = &group_table[i];

		count[row->state][row->fact]++;
		of_state[row->fact]++;
		bad_edges += row->next != row->state &&
			     !group_edge_legal(row->state, row->next);
		mute += row->why == NULL || row->why[0] == '\0';
		idle += row->act == NULL && row->next == row->state;
	}
	for (state = 0; state < ROLE_COUNT; state++) {
		mute += group_ignores[state] == NULL;
		for (fact = 0; fact < FACT_COUNT; fact++)
			twice += count[state][fact] > 1;
	}
	for (fact = 0; fact < FACT_COUNT; fact++)
		idle += of_state[fact] == 0;
	is_u64(twice, 0, "at most one row per (state, fact)");
	is_u64(bad_edges, 0, "rows follow legal edges only");
	is_u64(mute, 0, "each row says why, each state why it ignores");
	is_u64(idle, 0, "each row does something, each fact has a row");
}

static void
test_edges(void)
{
	/* From: detached, unknown, replica, master, shutdown. */
	static const char *const legal[ROLE_COUNT] = { "01001", "00111",
		"01011", "01101", "00000" };
	unsigned from, to, wrong = 0;

	for (from = 0; from < ROLE_COUNT; from++)
		for (to = 0; to < ROLE_COUNT; to++)
			wrong += group_edge_legal(from, to) !=
				 (legal[from][to] == '1');
	is_u64(wrong, 0, "the edges of the node states");
	is_str(role_name(ROLE_MASTER), "master", "states have names");
	is_str(role_name(77), "role?", "what is none has one, too");
}

static void
test_found(void)
{
	struct membership m = members(1, 0), in_log;
	struct group_core c;
	struct asked a;

	a = boot(&c, (struct group_boot){ .membership = &m });
	ok(a.announce && a.from == ROLE_DETACHED && a.to == ROLE_UNKNOWN,
	    "a boot enters the group");
	ok(a.store && a.term == 1 && a.vote == 100,
	    "alone: stands at once, its own vote goes to the store");
	ok(a.raise_epoch && a.epoch == 1, "the epoch goes up with it");
	ok(a.publish && a.view.role == ROLE_UNKNOWN && a.view.term == 0,
	    "the view does not show a term that is not durable");
	ok(!a.ready && c.role != ROLE_MASTER, "nothing depends on it yet");

	a = persisted(&c);
	ok(a.elected && a.to == ROLE_MASTER, "durable: elected");
	ok(a.publish && a.view.term == 1 && a.view.role == ROLE_MASTER &&
		a.view.epoch == 1 && a.view.master == 0 && a.view.self == 0,
	    "the view says so");
	ok(a.view.voters == 1 && any(&a.view.quorum, 1, 1), "a quorum of one");
	ok(a.view.lease_until_ns == UINT64_MAX, "needs no lease");
	ok(a.ready, "the boot goes on");
	ok(a.append_member, "the log gets its first membership");
	ok(!a.raise_epoch, "the epoch stays");

	a = step(&c, (struct group_event){
			 .kind = GROUP_TERM_APPENDED, .term = { 1, 1 } });
	is_u64(c.term_vlsn, 1, "the term's first record is known");
	is_u64(a.deadline_ns, GROUP_NEVER, "nothing waits for time");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_REFUSED, .now_ns = 5 });
	ok(!a.append_member, "a refusal is not answered at once");
	is_u64(a.deadline_ns, 5 + GROUP_MEMBER_RETRY_NS, "but in a second");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = a.deadline_ns - 1 });
	ok(!a.append_member && a.deadline_ns == 5 + GROUP_MEMBER_RETRY_NS,
	    "not before");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = a.deadline_ns });
	ok(a.append_member && a.deadline_ns == GROUP_NEVER, "then");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_TICK, .now_ns = UINT64_MAX });
	ok(!a.append_member, "once");

	in_log = members(1, 2);
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_APPENDED,
			 .membership = &in_log });
	ok(!a.raise_epoch && a.publish, "the same voters: the epoch stays");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 1 });
	ok(!a.save_member, "another record's commit is not its commit");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 2 });
	ok(a.save_member, "committed: kept in a file");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 2 });
	ok(!a.save_member, "once");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TERM_COMMITTED, .term = { 1, 1 } });
	ok(c.term_committed && !a.announce, "the term's record is committed");

	a = step(&c, (struct group_event){ .kind = GROUP_STOP });
	ok(a.to == ROLE_SHUTDOWN && a.view.role == ROLE_SHUTDOWN &&
		a.raise_epoch,
	    "stops; nothing commits any more");
	a = step(&c, (struct group_event){ .kind = GROUP_STOP });
	ok(!a.announce && !a.publish, "stopping twice is nothing");
}

static void
test_boot_damage(void)
{
	struct membership known = members(1, 50), none = members(1, 0);
	struct group_core c;
	struct asked a;

	a = boot(&c, (struct group_boot){ .term = 3,
			 .log_term = 4,
			 .log_vlsn = 60,
			 .membership = &known });
	ok(a.fail && !a.store && c.role == ROLE_DETACHED,
	    "a log newer than the state file is refused");
	a = boot(&c, (struct group_boot){ .force = true,
			 .term = 3,
			 .log_term = 4,
			 .log_vlsn = 60,
			 .membership = &known });
	ok(!a.fail && a.forced == GROUP_FORCED_TERM && a.term == 5,
	    "force takes the log's term, and says so");
	a = boot(&c, (struct group_boot){ .term = 4,
			 .log_term = 4,
			 .log_vlsn = 49,
			 .membership = &known });
	ok(a.fail, "a log that ends before the membership is refused");
	a = boot(&c, (struct group_boot){ .force = true,
			 .term = 4,
			 .log_term = 4,
			 .log_vlsn = 49,
			 .membership = &known });
	ok(a.forced == GROUP_FORCED_LOG && a.store,
	    "force goes on, and says so");
	a = persisted(&c);
	ok(a.append_member, "the membership goes into the log again");
	a = boot(&c, (struct group_boot){ .term = 4,
			 .log_term = 4,
			 .log_first = 1000,
			 .log_vlsn = 2000,
			 .membership = &none });
	ok(a.fail, "a lost membership is refused");
	a = boot(&c, (struct group_boot){ .force = true,
			 .term = 4,
			 .log_term = 4,
			 .log_first = 1000,
			 .log_vlsn = 2000,
			 .membership = &none });
	ok(a.forced == GROUP_FORCED_MEMBERS && a.store,
	    "force takes the configuration's");
	a = boot(&c, (struct group_boot){ .term = 1,
			 .log_term = 1,
			 .log_first = 1,
			 .log_vlsn = 1,
			 .membership = &none });
	ok(!a.fail && a.store, "a founding cut short is taken up");
	a = boot(&c, (struct group_boot){ .term = 7,
			 .vote = 100,
			 .log_term = 7,
			 .log_first = 1,
			 .log_vlsn = 90,
			 .membership = &known });
	ok(a.store && a.term == 8, "a restart wins a term of its own");
	ok(c.role != ROLE_MASTER, "and writes nothing before");
}

static void
test_boot_foreign(void)
{
	static const uint8_t other[16] = { 9 };
	struct membership known = members(1, 50);
	struct group_core c;
	struct asked a;

	a = boot(&c,
	    (struct group_boot){
		.log_vlsn = 50, .group_uuid = other, .membership = &known });
	ok(a.fail, "another group's membership is refused");
	known.generation = 3;
	a = boot(
	    &c, (struct group_boot){
		    .log_vlsn = 50, .generation = 2, .membership = &known });
	ok(a.fail, "a newer generation's, too");
	known.generation = 1;
	a = boot(
	    &c, (struct group_boot){
		    .log_vlsn = 50, .incarnation = 7, .membership = &known });
	ok(a.fail, "a membership without this incarnation, too");
	a = boot(&c, (struct group_boot){ .force = true,
			 .log_vlsn = 50,
			 .incarnation = 7,
			 .membership = &known });
	ok(a.fail, "also with force");
}

/* What a forced boot has begun, this boot or one that was killed before. */
static void
test_generation(void)
{
	struct membership one = members(1, 50), three = members(3, 50);
	struct group_core c;
	struct asked a;

	a = boot(&c, (struct group_boot){
			 .log_vlsn = 50, .generation = 2, .membership = &one });
	ok(!a.fail && a.store, "an older generation's of one: it goes on");
	ok(c.current.generation == 2 && c.current.vlsn == 0 && c.member_wanted,
	    "with a membership of the new one, to be appended");
	a = boot(
	    &c, (struct group_boot){
		    .log_vlsn = 50, .generation = 2, .membership = &three });
	ok(a.fail, "of several: refused");
	is_u64(group_boot_damage(
		   &(struct group_boot){ .log_vlsn = 50, .membership = &one }),
	    0, "nothing to be forced");
	is_u64(group_boot_damage(
		   &(struct group_boot){ .log_vlsn = 49, .membership = &one }),
	    GROUP_FORCED_LOG, "a log that ends early is");
}

static void
test_modes(void)
{
	struct membership one = members(1, 5), three = members(3, 5);
	struct group_core c;
	struct asked a;

	a = boot(&c, (struct group_boot){ .readonly = true,
			 .term = 9,
			 .log_term = 12,
			 .log_vlsn = 60,
			 .membership = &one });
	ok(c.role == ROLE_DETACHED && !a.store && !a.raise_epoch,
	    "readonly takes part in nothing");
	ok(a.ready && a.view.readonly == 1 && a.view.role == ROLE_DETACHED,
	    "and lets the boot go on");
	a = step(&c, (struct group_event){ .kind = GROUP_TICK, .now_ns = 1 });
	ok(!a.store && !a.announce, "also later");
	a = boot(&c, (struct group_boot){ .force = true,
			 .term = 9,
			 .log_term = 9,
			 .log_vlsn = 60,
			 .membership = &three });
	ok(c.role == ROLE_DETACHED && a.ready && a.why[0] != '\0',
	    "force in a group of several never votes");
	a = boot(&c, (struct group_boot){ .term = 9,
			 .log_term = 9,
			 .log_vlsn = 60,
			 .membership = &three });
	ok(c.role == ROLE_UNKNOWN && a.ready && !a.store,
	    "one of several waits for the others, its boot does not");
	ok(any(&a.view.quorum, 2, 3) && a.view.voters == 7,
	    "the quorum is two");
	a = step(&c, (struct group_event){ .kind = GROUP_STOP });
	ok(a.to == ROLE_SHUTDOWN, "and stops");
}

static void
test_spent(void)
{
	struct membership one = members(1, 5);
	struct group_core c;
	struct asked a;

	a = boot(&c, (struct group_boot){ .term = UINT64_MAX,
			 .log_term = 9,
			 .log_vlsn = 60,
			 .membership = &one });
	ok(a.fail && !a.store, "terms never wrap");
	a = boot(&c, (struct group_boot){ .term = UINT64_MAX - 1,
			 .log_term = 9,
			 .log_vlsn = 60,
			 .membership = &one });
	ok(a.store && a.term == UINT64_MAX, "the last one can be won");
	a = boot(&c,
	    (struct group_boot){
		.term = 3, .log_term = 3, .log_vlsn = 60, .membership = &one });
	a = step(&c, (struct group_event){ .kind = GROUP_STORE_FAILED });
	ok(a.fail && !a.store, "a store that fails ends the boot");
	a = step(&c, (struct group_event){ .kind = GROUP_TICK, .now_ns = 1 });
	ok(!a.store, "and is not tried again");
}

/* What the log has may be another's than what the file has, of its VLSN. */
static void
test_same_vlsn(void)
{
	struct membership old = members(1, 2), new = members(1, 2);
	struct group_core c;
	struct asked a;

	new.generation = 2;
	(void)boot(&c, (struct group_boot){ .term = 3,
			   .log_term = 3,
			   .log_vlsn = 8,
			   .generation = 2,
			   .membership = &new,
			   .fallback = &old });
	(void)persisted(&c);
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 2 });
	ok(a.save_member, "an older generation's file is written anew");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 2 });
	ok(!a.save_member, "once");
}

/* A master whose group grows must renew its lease; alone again, it stands. */
static void
test_membership(void)
{
	struct membership one = members(1, 5), two = members(2, 9);
	struct membership without = members(1, 12);
	struct group_core c;
	struct asked a;

	(void)boot(&c,
	    (struct group_boot){
		.term = 3, .log_term = 3, .log_vlsn = 8, .membership = &one });
	(void)persisted(&c);
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 5 });
	ok(a.save_member, "what the log holds is kept in the file");
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_APPENDED,
			 .now_ns = 1000,
			 .membership = &two });
	ok(a.raise_epoch && a.epoch == 2 && a.view.epoch == 2 &&
		any(&a.view.quorum, 2, 2),
	    "other voters: the epoch goes up, then the view");
	is_u64(a.view.lease_until_ns, 1000 + 100 * NS_PER_MS,
	    "the lease counts from the last quorum");
	is_u64(a.ended, 0, "the mastership goes on");
	is_u64(a.deadline_ns, a.view.lease_until_ns,
	    "its end is the next deadline");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = 999 + 100 * NS_PER_MS });
	ok(!a.announce, "it holds until its end");
	a = step(&c, (struct group_event){ .kind = GROUP_TICK,
			 .now_ns = 1000 + 100 * NS_PER_MS });
	ok(a.to == ROLE_UNKNOWN && a.raise_epoch && a.view.epoch == 3 &&
		a.view.master == -1 && !a.store,
	    "then the master steps down and cannot stand alone");
	is_u64(a.ended, 4, "its mastership is over");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TERM_COMMITTED, .term = { 4, 9 } });
	ok(!a.announce && !c.term_committed, "its late commits are nothing");
	a = step(
	    &c, (struct group_event){ .kind = GROUP_MEMBER_CUT, .vlsn = 9 });
	ok(!a.publish, "a cut behind the record changes nothing");
	a = step(
	    &c, (struct group_event){ .kind = GROUP_MEMBER_CUT, .vlsn = 8 });
	ok(a.raise_epoch && a.store && a.term == 5,
	    "cut: the one before is in force, alone again, stands");
	ok(c.role != ROLE_MASTER, "in a new term");
	a = persisted(&c);
	ok(a.elected && a.view.term == 5 && !a.append_member,
	    "and wins it; the log has a membership");

	without.member[0].incarnation = 777;
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_APPENDED,
			 .now_ns = 2000,
			 .membership = &without });
	ok(!a.announce, "a removed master stays until that commits");
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 12 });
	ok(a.to == ROLE_UNKNOWN && a.save_member && !a.store,
	    "then it steps down for good");
}

/*
 * Who elects need not be who commits: each is asked of its own table. Policies
 * that make such tables are not in records of today.
 */
static void
test_quorums(void)
{
	static const char *const name[] = { "a", "b", "c" };
	static const struct quorum_policy first = { QUORUM_EXPRESSION,
		.elect_text = "a", .commit_text = "a & (b | c)" };
	static const struct quorum_policy all = { QUORUM_FLEXIBLE, .elect = 3,
		.commit = 1 };
	struct membership m = members(3, 5);
	struct group_boot b = { .log_vlsn = 60, .membership = &m };
	struct group_core c;
	struct asked a;

	(void)boot(&c, b);
	ok(quorum_make(&c.quorums.elect, &c.quorums.commit, &first, name, 3) ==
		NULL,
	    "one elects, it and another commit");
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_REFUSED });
	ok(a.store && a.term == 1, "an election quorum by itself: stands");
	a = step(&c,
	    (struct group_event){
		.kind = GROUP_STORED, .now_ns = 1000, .stored = { 1, 100 } });
	ok(a.elected && a.view.voters == 7 && quorum_has(&a.view.quorum, 3) &&
		!quorum_has(&a.view.quorum, 1),
	    "elected; the view says who commits");
	is_u64(a.view.lease_until_ns, 1000 + 100 * NS_PER_MS,
	    "no commit quorum by itself: the lease runs");

	b.incarnation = 101;
	(void)boot(&c, b);
	(void)quorum_make(&c.quorums.elect, &c.quorums.commit, &first, name, 3);
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_REFUSED });
	ok(!a.store, "another one of them does not stand by itself");

	(void)boot(&c, b);
	ok(quorum_make(&c.quorums.elect, &c.quorums.commit, &all, name, 3) ==
		NULL,
	    "all elect, one commits");
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_REFUSED });
	ok(!a.store, "a commit quorum that is no election quorum waits");
}

/* The own vote is what is missing: it elects once it is durable. */
static void
test_votes(void)
{
	struct membership m = members(5, 5);
	struct group_core c;
	struct asked a;
	unsigned votes, wrong = 0;

	for (votes = 0; votes < 32; votes++) {
		(void)boot(&c,
		    (struct group_boot){ .log_vlsn = 60, .membership = &m });
		c.term = 1;
		c.vote = c.incarnation;
		c.persisting = true;
		c.votes = (uint16_t)votes;
		a = persisted(&c);
		wrong += a.elected != (__builtin_popcount(votes | 1) >= 3);
	}
	is_u64(wrong, 0, "five voters: elected by any three, and not before");
}

static void
test_epochs(void)
{
	struct membership one = members(1, 5), two = members(2, 9);
	struct group_core c;
	struct asked a;

	(void)boot(&c,
	    (struct group_boot){
		.term = 3, .log_term = 3, .log_vlsn = 8, .membership = &one });
	(void)persisted(&c);
	c.epoch = UINT16_MAX;
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_APPENDED,
			 .now_ns = 1000,
			 .membership = &two });
	ok(a.restart && !a.raise_epoch, "epochs never wrap: boot again");
}

int
main(void)
{
	test_table();
	test_edges();
	test_found();
	test_boot_damage();
	test_boot_foreign();
	test_generation();
	test_modes();
	test_spent();
	test_same_vlsn();
	test_membership();
	test_quorums();
	test_votes();
	test_epochs();
	is_u64(unsound, 0, "each list is in the order of doing");
	return tap_done();
}
