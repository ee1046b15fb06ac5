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
		m.member[i].priority = 1;
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
stored(struct group_core *c)
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

	a = stored(&c);
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
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = UINT64_MAX - 1 });
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
	a = stored(&c);
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
	(void)stored(&c);
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

	two.before = 5;
	(void)boot(&c,
	    (struct group_boot){
		.term = 3, .log_term = 3, .log_vlsn = 8, .membership = &one });
	(void)stored(&c);
	a = step(&c,
	    (struct group_event){ .kind = GROUP_MEMBER_COMMITTED, .vlsn = 5 });
	ok(a.save_member, "what the log holds is kept in the file");
	a = step(&c, (struct group_event){ .kind = GROUP_MEMBER_APPENDED,
			 .now_ns = 1000,
			 .membership = &two });
	ok(a.raise_epoch && a.epoch == 2 && a.view.epoch == 2 &&
		any(&a.view.quorum, 2, 2),
	    "other voters: the epoch goes up, then the view");
	is_u64(a.view.lease_until_ns, 0,
	    "who needs others' answers has no lease before they come");
	is_u64(a.ended, 0, "the mastership goes on");
	is_u64(a.deadline_ns, 1000, "a round is due");
	a = step(
	    &c, (struct group_event){ .kind = GROUP_TICK, .now_ns = 1000 });
	ok(a.tell && a.told.kind == CORE_BEAT && a.told.beat.round == 1 &&
		a.told.beat.lease_ms == 100 && a.told.term == 4,
	    "it begins");
	is_u64(a.deadline_ns, 1000 + GROUP_BEAT_MS * NS_PER_MS, "the next is");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = 999 + 200 * NS_PER_MS });
	ok(!a.announce && a.tell, "for two leases it asks on");
	a = step(&c, (struct group_event){ .kind = GROUP_TICK,
			 .now_ns = 1000 + 200 * NS_PER_MS });
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
	a = stored(&c);
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
	a = step(&c, (struct group_event){ .kind = GROUP_TICK });
	ok(a.fence && !a.store, "an election quorum by itself: stands");
	a = step(&c, (struct group_event){
			 .kind = GROUP_FENCED, .fenced = { .epoch = 1 } });
	ok(a.store && a.term == 1, "its vote goes to the disk");
	a = step(&c,
	    (struct group_event){
		.kind = GROUP_STORED, .now_ns = 1000, .stored = { 1, 100 } });
	ok(a.elected && a.view.voters == 7 && quorum_has(&a.view.quorum, 3) &&
		!quorum_has(&a.view.quorum, 1),
	    "elected; the view says who commits");
	ok(a.view.lease_until_ns == 0 && a.tell && a.told.kind == CORE_BEAT,
	    "no commit quorum by itself: it asks for its lease");

	b.incarnation = 101;
	(void)boot(&c, b);
	(void)quorum_make(&c.quorums.elect, &c.quorums.commit, &first, name, 3);
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = 20 * NS_PER_MS });
	ok(!a.fence && a.tell && a.told.kind == CORE_PREVOTE,
	    "another one of them asks whether others would vote");

	(void)boot(&c, b);
	ok(quorum_make(&c.quorums.elect, &c.quorums.commit, &all, name, 3) ==
		NULL,
	    "all elect, one commits");
	a = step(&c, (struct group_event){
			 .kind = GROUP_TICK, .now_ns = 20 * NS_PER_MS });
	ok(!a.fence && a.tell,
	    "a commit quorum that is no election quorum asks, too");
}

/* ---- several voters ---- */

#define MS NS_PER_MS

static struct asked
heard(struct group_core *c, uint64_t now_ns, struct group_msg m)
{
	return step(c, (struct group_event){ .kind = GROUP_MESSAGE,
			   .now_ns = now_ns,
			   .end = { 3, 60 },
			   .msg = &m });
}

static struct asked
tick(struct group_core *c, uint64_t now_ns)
{
	return step(
	    c, (struct group_event){
		   .kind = GROUP_TICK, .now_ns = now_ns, .end = { 3, 60 } });
}

static struct asked
fenced(struct group_core *c, uint64_t now_ns)
{
	return step(c, (struct group_event){ .kind = GROUP_FENCED,
			   .now_ns = now_ns,
			   .fenced = { .epoch = c->epoch, .end = { 3, 60 } } });
}

/* Member 0 of five, in term 3, which had promised nothing. */
static struct membership five;

static void
boot_of(struct group_core *c, uint32_t lease_ms, uint32_t promise_ms)
{
	five = members(5, 5);
	five.lease_ms = lease_ms;
	(void)boot(c, (struct group_boot){ .boot = 7,
			  .term = 3,
			  .promise_ms = promise_ms,
			  .log_term = 3,
			  .log_vlsn = 60,
			  .membership = &five });
}

static void
boot_of_five(struct group_core *c, uint32_t promise_ms)
{
	boot_of(c, 100, promise_ms);
}

static struct group_msg
vote_answer(enum group_msg_kind kind, unsigned member, uint64_t asked)
{
	return (struct group_msg){ .kind = kind,
		.from = 100 + member,
		.boot = 1,
		.term = 3,
		.answer = { .boot = 7, .asked = asked, .granted = true } };
}

static struct group_msg
vote_ask(enum group_msg_kind kind, unsigned member, uint64_t term)
{
	return (struct group_msg){ .kind = kind,
		.from = 100 + member,
		.boot = 1,
		.term = term,
		.ask = { .end = { 3, 60 } } };
}

static struct group_msg
beat(unsigned member, uint64_t term, uint64_t round)
{
	return (struct group_msg){ .kind = CORE_BEAT,
		.from = 100 + member,
		.boot = 1,
		.term = term,
		.beat = { .round = round, .lease_ms = 100 } };
}

/* Elected by any three of five, the own vote durable, and not before. */
static void
test_votes(void)
{
	struct group_core c;
	struct asked a;
	unsigned votes, i, wrong = 0;

	for (votes = 0; votes < 16; votes++) {
		boot_of_five(&c, 0);
		a = tick(&c, 0);
		wrong += a.told.kind != CORE_PREVOTE || a.told.term != 4;
		(void)heard(&c, 1, vote_answer(CORE_PREVOTE_ANSWER, 1, 4));
		/* One of an older question, one of another boot. */
		a = heard(&c, 1, vote_answer(CORE_PREVOTE_ANSWER, 2, 3));
		wrong += a.fence;
		a = heard(&c, 1, vote_answer(CORE_PREVOTE_ANSWER, 4, 4));
		wrong += !a.fence || a.store || a.tell || c.term != 4;
		a = fenced(&c, 2);
		wrong += !a.store || a.term != 4 || a.vote_boot != 7 ||
			 a.told.kind != CORE_VOTE || a.told.ask.end.vlsn != 60;
		for (i = 0; i < 4; i++)
			if ((votes >> i & 1) != 0)
				wrong += heard(&c, 3,
				    vote_answer(CORE_VOTE_ANSWER, i + 1, 4))
					     .elected;
		a = stored(&c);
		wrong += a.elected != (__builtin_popcount(votes) >= 2);
		wrong += a.elected && strncmp(a.why, "won the term", 12) != 0;
	}
	is_u64(wrong, 0, "five voters: elected by any three, and not before");
}

static void
test_grant(void)
{
	struct group_core c;
	struct asked a;
	struct group_msg m;

	boot_of_five(&c, 0);
	a = heard(&c, 1, vote_ask(CORE_VOTE, 1, 4));
	ok(a.fence && a.epoch == 1 && !a.answer && !a.store,
	    "a vote is asked for: the fence");
	a = heard(&c, 1, beat(2, 3, 1));
	ok(a.answer && !a.answered.answer.granted && a.answered.term == 4,
	    "from then on no round of a lower term is answered");
	a = fenced(&c, 2);
	ok(a.store && a.term == 4 && a.vote == 101 && a.vote_boot == 1 &&
		!a.answer,
	    "then the disk");
	a = stored(&c);
	ok(a.answer && a.answer_to == 101 && a.answered.answer.granted &&
		a.answered.answer.asked == 4 && a.answered.answer.boot == 1,
	    "then the answer");
	a = heard(&c, 3, vote_ask(CORE_VOTE, 2, 4));
	ok(a.answer && !a.answered.answer.granted, "one vote a term");
	m = vote_ask(CORE_VOTE, 1, 4);
	a = heard(&c, 3, m);
	ok(a.answer && a.answered.answer.granted && !a.store,
	    "asked again it says so again");
	m.boot = 2;
	a = heard(&c, 3, m);
	ok(a.answer && !a.answered.answer.granted, "not to another boot");

	boot_of_five(&c, 0);
	m = vote_ask(CORE_VOTE, 1, 4);
	m.ask.end.vlsn = 59;
	a = heard(&c, 1, m);
	ok(a.answer && !a.answered.answer.granted && c.term == 3,
	    "an older log gets none");
	m.ask.end.vlsn = 60;
	(void)heard(&c, 1, m);
	a = step(&c, (struct group_event){ .kind = GROUP_FENCED,
			 .now_ns = 2,
			 .fenced = { .epoch = c.epoch, .end = { 3, 61 } } });
	ok(a.store && a.term == 4 && a.vote == 0,
	    "nor one that is older than where the fence found the end");
	a = stored(&c);
	ok(!a.answer, "it is told nothing");
}

static void
test_promise(void)
{
	struct group_core c;
	struct asked a;
	struct group_msg m;

	boot_of_five(&c, 100);
	a = heard(&c, 1, vote_ask(CORE_PREVOTE, 1, 4));
	ok(!a.answered.answer.granted, "a boot keeps the promises before it");
	a = heard(&c, 100 * MS, vote_ask(CORE_PREVOTE, 1, 4));
	ok(a.answered.answer.granted, "no longer than they last");

	boot_of_five(&c, 0);
	a = heard(&c, 0, beat(1, 3, 1));
	ok(!a.answer && a.store && a.promise_ms == 100,
	    "what is to be promised is on disk first");
	(void)stored(&c);
	a = heard(&c, 10, beat(1, 3, 2));
	ok(a.to == ROLE_REPLICA && a.view.master == 1 &&
		a.answered.answer.granted && a.answered.answer.asked == 2,
	    "follows");
	is_u64(a.deadline_ns, 10 + 100 * MS, "for so long");
	a = heard(&c, 9 + 100 * MS, vote_ask(CORE_VOTE, 2, 9));
	ok(!a.answered.answer.granted && c.term == 3 && !a.fence,
	    "no vote and no newer term meanwhile");
	m = vote_ask(CORE_VOTE, 1, 9);
	m.ask.released = 2;
	a = heard(&c, 11, m);
	ok(!a.fence, "the release of another term voids nothing");
	m.ask.released = 3;
	a = heard(&c, 11, m);
	ok(a.fence && a.to == ROLE_UNKNOWN, "that of this one does");

	boot_of_five(&c, 100);
	(void)heard(&c, 200 * MS, beat(1, 3, 2));
	(void)step(&c,
	    (struct group_event){ .kind = GROUP_PEER, .peer = { 101, 1, 0 } });
	a = heard(&c, 201 * MS, vote_ask(CORE_PREVOTE, 2, 4));
	ok(!a.answered.answer.granted, "the same boot shows up: it stands");
	(void)step(&c,
	    (struct group_event){ .kind = GROUP_PEER, .peer = { 101, 2, 0 } });
	a = heard(&c, 201 * MS, vote_ask(CORE_PREVOTE, 2, 4));
	ok(a.answered.answer.granted, "a higher boot is an obituary");
}

/* Who was away reads first what its master has sent meanwhile. */
static void
test_away(void)
{
	struct group_msg m = beat(1, 3, 2);
	uint64_t at = 200 * MS;
	struct group_core c;
	struct asked a;
	unsigned ticks;

	boot_of_five(&c, 100);
	a = heard(&c, at, m);
	for (ticks = 0; c.role == ROLE_REPLICA && ticks < 20; ticks++) {
		at = a.deadline_ns + 50 * MS;
		a = tick(&c, at);
	}
	is_u64(ticks, 2, "once: who is late each time stands, too");
	ok(a.tell && a.told.kind == CORE_PREVOTE, "it asks others");
	(void)heard(&c, at, m);
	a = tick(&c, at + 150 * MS);
	ok(c.role == ROLE_REPLICA, "a master that is heard gets it again");

	m.beat.lease_ms = 10;
	boot_of(&c, 10, 10);
	a = heard(&c, 200 * MS, m);
	is_u64(a.deadline_ns, 210 * MS, "a short lease");
	a = tick(&c, 230 * MS);
	ok(c.role == ROLE_REPLICA, "is of short beats");
}

static void
be_elected(struct group_core *c)
{
	boot_of_five(c, 100);
	(void)tick(c, 100 * MS);
	(void)heard(c, 100 * MS, vote_answer(CORE_PREVOTE_ANSWER, 1, 4));
	(void)heard(c, 100 * MS, vote_answer(CORE_PREVOTE_ANSWER, 2, 4));
	(void)fenced(c, 100 * MS);
	(void)heard(c, 100 * MS, vote_answer(CORE_VOTE_ANSWER, 1, 4));
	(void)heard(c, 100 * MS, vote_answer(CORE_VOTE_ANSWER, 2, 4));
	(void)step(c, (struct group_event){ .kind = GROUP_STORED,
			  .now_ns = 100 * MS,
			  .stored = { 4, 100 } });
}

static struct group_msg
round_answer(unsigned member, uint64_t round)
{
	struct group_msg m = vote_answer(CORE_BEAT_ANSWER, member, round);

	m.term = 4;
	return m;
}

static void
test_lease(void)
{
	struct group_core c;
	struct asked a;
	struct group_msg m;

	be_elected(&c);
	ok(c.role == ROLE_MASTER && c.lease_until_ns == 0,
	    "votes give no lease");
	a = tick(&c, 120 * MS);
	ok(a.tell && a.told.beat.round == 2, "the second round");
	(void)heard(&c, 125 * MS, round_answer(1, 2));
	is_u64(c.lease_until_ns, 0, "two of five are no quorum");
	a = heard(&c, 130 * MS, round_answer(3, 1));
	ok(a.publish && a.view.lease_until_ns == 198 * MS,
	    "from when the newest round was sent that three have answered, "
	    "less what clocks differ by");
	a = heard(&c, 131 * MS, round_answer(3, 2));
	is_u64(a.view.lease_until_ns, 218 * MS, "and the next");
	a = heard(&c, 131 * MS, round_answer(2, 3));
	ok(!a.publish, "a round that was not sent counts for nothing");
	a = tick(&c, 319 * MS);
	ok(!a.announce && a.tell, "no answer for almost two leases");
	a = tick(&c, 320 * MS);
	ok(a.to == ROLE_UNKNOWN && a.ended == 4, "then it steps down");

	be_elected(&c);
	(void)heard(&c, 101 * MS, round_answer(1, 1));
	(void)heard(&c, 101 * MS, round_answer(2, 1));
	a = heard(&c, 102 * MS, vote_ask(CORE_VOTE, 3, 9));
	ok(!a.fence && !a.answered.answer.granted,
	    "a master keeps its own promise");
	m = round_answer(3, 1);
	m.term = 8;
	m.answer.granted = false;
	a = heard(&c, 103 * MS, m);
	ok(a.to == ROLE_UNKNOWN && a.fence && a.view.lease_until_ns == 0 &&
		a.ended == 4 && c.term == 10,
	    "a voter in a newer term: it stands behind what it has heard of");
	a = fenced(&c, 104 * MS);
	ok(a.told.kind == CORE_VOTE && a.told.term == 10 &&
		a.told.ask.released == 4,
	    "and voids the promises to itself");
}

/* The membership changes while this node stands, or grants a vote. */
static void
test_change_meanwhile(void)
{
	struct membership three = members(3, 9);
	struct group_core c;
	struct asked a;

	boot_of_five(&c, 0);
	a = heard(&c, 1, vote_ask(CORE_VOTE, 1, 4));
	a = step(&c, (struct group_event){
			 .kind = GROUP_MEMBER_APPENDED, .membership = &three });
	is_u64(a.epoch, 2, "a membership comes before the fence has answered");
	a = step(&c, (struct group_event){ .kind = GROUP_FENCED,
			 .now_ns = 2,
			 .fenced = { .epoch = 1, .end = { 3, 60 } } });
	ok(a.store && a.vote == 101, "the answer counts all the same");

	three.member[1].incarnation = 777;
	boot_of_five(&c, 0);
	(void)tick(&c, 0);
	(void)heard(&c, 1, vote_answer(CORE_PREVOTE_ANSWER, 1, 4));
	a = step(&c, (struct group_event){
			 .kind = GROUP_MEMBER_APPENDED, .membership = &three });
	ok(!a.fence, "what one has said counts for nobody else of its number");
	ok(a.deadline_ns != GROUP_NEVER, "it is asked again");
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
	(void)stored(&c);
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
	test_grant();
	test_promise();
	test_away();
	test_lease();
	test_change_meanwhile();
	test_epochs();
	is_u64(unsound, 0, "each list is in the order of doing");
	return tap_done();
}
