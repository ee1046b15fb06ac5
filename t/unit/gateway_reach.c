/*
 * What two gateways take the reach of their writes for while the other's are
 * under way: a value is as long as the state says, or as some write may make
 * it, whoever made that; and no longer. And which of them goes alone.
 */
#include <pthread.h>

#include "t/lib/store_rig.h"
#include "workers/gateway/cmd/command.h"
#include "workers/gateway/exec/exec.h"

#define ROOM (UINT64_C(1) << 20)

static struct rig rig;
static struct conf conf;
static struct worker worker;
static struct region_head head = { .gateway_count = 2 };
static struct slots slots;
static struct reach_table table;
static struct control control;
static struct commit_state commit;
static uint64_t term; /* of the newest mastership */
static struct gateway gw[2];
static struct bytering_head ring[2];
static struct troubles troubles;
static struct client_rings rings[CLIENT_MAX];
static struct wakes wakes;
static struct conn conns[2][GW_CONN_CHUNK];
static struct conn *chunk[2] = { conns[0], conns[1] };

static void
role_is(enum role role)
{
	struct commit_view view = { .term = term,
		.epoch = (uint16_t)term,
		.role = (uint8_t)role,
		.member_count = 1,
		.voters = 1,
		.quorum = quorum_count(1, 1),
		.lease_until_ns = UINT64_MAX };

	commit_view_write(&commit, &view);
}

static void
mastership_begins(void)
{
	term++;
	role_is(ROLE_MASTER);
}

/* It has seen so much committed. */
static void
mastership_ends(uint64_t committed)
{
	position_set(
	    &rig.pos->committed, epoch_word((uint16_t)term + 1, committed));
	commit_term_ended(&rig.r, term);
	role_is(ROLE_UNKNOWN);
}

/* wal answers; 0 = it refused them. */
static void
returned(unsigned who, uint32_t seq, uint32_t count, uint64_t vlsn)
{
	const struct wal_ret ret = { .seq = seq,
		.count = count,
		.vlsn = vlsn,
		.term = vlsn != 0 ? term : 0,
		.status = vlsn != 0 ? RET_OK : RET_READONLY };

	gw_reach_returned(&gw[who], &ret);
}

static void
set_up(void)
{
	unsigned i, k;

	rig_open(&rig, 8 << 20);
	rig.reader = rig_kv(&rig, SLOT_GATEWAY);
	conf_defaults(&conf);
	rig.r.head = &head;
	rig.r.slots = &slots;
	rig.r.reach = &table;
	rig.r.control = &control;
	rig.r.commit = &commit;
	mastership_begins();
	rig.r.troubles = &troubles;
	rig.r.rings = rings;
	worker.conf = &conf;
	worker.region = &rig.r;
	worker.bells.wakes = &wakes;
	memset(worker.bells.fd, 0xff, sizeof(worker.bells.fd));
	for (i = 0; i < 2; i++) {
		gw[i].w = &worker;
		gw[i].r = &rig.r;
		gw[i].slot = SLOT_GATEWAY + i;
		gw[i].kv = rig.reader;
		gw[i].kv_open_turn = true;
		gw[i].next_seq = 1;
		gw[i].turn_end_ns = LOOP_NEVER;
		gw[i].lost = UINT64_MAX;
		gw[i].req.br_words = &ring[i];
		gw[i].incarnation = 1;
		gw[i].io.chunks = &chunk[i];
		gw[i].io.chunk_count = 1;
		for (k = 0; k < GW_CONN_CHUNK; k++)
			conns[i][k] = (struct conn){
				.index = k, .generation = k + 1, .fd = -1
			};
	}
	rig_must(kv_begin(rig.reader));
	position_set(&rig.pos->room, ROOM);
}

static void
tear_down(void)
{
	kv_end(rig.reader);
	rig.r.head = NULL;
	rig.r.slots = NULL;
	rig.r.troubles = NULL;
	rig.r.rings = NULL;
	rig_close(&rig);
}

/* Everything appended is applied; both have begun anew. */
static void
begin(void)
{
	position_set(&rig.pos->appended, rig.vlsn);
	position_set(&rig.pos->applied, rig.vlsn);
	gw[0].next_seq = gw[1].next_seq = 1;
	gw_reach_init(&gw[0]);
	gw_reach_init(&gw[1]);
}

/* Its reach is asked for, and it is appended if that is wanted. */
static uint64_t
op(unsigned who, uint16_t code, int64_t num, uint64_t value_len,
    const char *key, bool append)
{
	static uint8_t value[16 << 20];
	struct op_arg argv[2] = {
		{ .data = (const uint8_t *)key, .len = (uint32_t)strlen(key) },
		{ .data = value, .len = (uint32_t)value_len },
	};
	struct built b = { .code = code,
		.num = num,
		.argc =
		    code == OP_SET || code == OP_APPEND || code == OP_SETRANGE
			? 2
			: 1,
		.argv = argv };
	uint64_t reach;

	if (code == OP_RENAME)
		argv[1] = argv[0];
	reach = gw_reach_of(&gw[who], &b);
	if (!append)
		return reach;
	gw_reach_add(&gw[who], gw[who].next_seq, reach);
	gw[who].next_seq++;
	return reach;
}

/* What an EXPIRE of the key would copy: the value's length as it sees it. */
static uint64_t
seen_by(unsigned who, const char *key)
{
	struct op_arg arg = { .data = (const uint8_t *)key,
		.len = (uint32_t)strlen(key) };

	return op(who, OP_EXPIREAT, 1, 0, key, false) -
	       op_reach(OP_EXPIREAT, 1, 1, &arg, 0);
}

/* wal has taken the last `count` of them; they are at `vlsn` and before. */
static void
placed(unsigned who, uint32_t count, uint64_t vlsn)
{
	position_set(&rig.pos->appended, vlsn);
	returned(who, gw[who].next_seq - count, count, vlsn - count + 1);
}

static void
test_each_other(void)
{
	uint64_t alone, reach;
	unsigned i;

	begin();
	is_u64(seen_by(0, "k"), 0, "nothing is there");
	is_u64(seen_by(1, "k"), 0, "for nobody");
	alone = op(0, OP_EXPIREAT, 1, 0, "k", true);
	for (i = 0; i < 1000; i++) {
		reach = op(i % 2, OP_EXPIREAT, 1, 0, "k", true);
		if (reach != alone)
			break;
	}
	is_u64(reach, alone, "what only copies makes nothing longer");
	is_u64(seen_by(0, "j"), 0, "of no key");
}

static void
test_lengths(void)
{
	uint64_t vlsn;

	begin();
	rig_set(&rig, "k", "eightish");
	vlsn = rig.vlsn;
	begin();
	is_u64(seen_by(0, "k"), 8, "as the state has it");
	op(1, OP_SET, 0, 10000, "k", true);
	is_u64(seen_by(0, "k"), 10000, "as the other's SET makes it");
	is_u64(seen_by(0, "j"), 0, "but no other key");
	op(1, OP_SET, 0, 16, "k", true);
	is_u64(seen_by(1, "k"), 10000, "a later one may be refused");
	is_u64(seen_by(0, "k"), 10000, "or another's come between");
	op(0, OP_APPEND, 0, 8, "k", true);
	is_u64(seen_by(0, "k"), 10008, "an APPEND behind it");
	is_u64(seen_by(1, "k"), 10008, "and as that makes it, for the other");
	op(0, OP_SETRANGE, 20000, 8, "k", true);
	is_u64(seen_by(1, "k"), 20008, "a SETRANGE");
	is_u64(seen_by(1, "j"), 0, "still no other key");
	placed(1, 2, vlsn + 2);
	placed(0, 2, vlsn + 4);
	is_u64(seen_by(1, "k"), 20008, "what is in the log is not applied");
	position_set(&rig.pos->applied, vlsn + 2);
	is_u64(seen_by(1, "k"), 20008, "nor with those before it");
	position_set(&rig.pos->applied, vlsn + 4);
	is_u64(seen_by(1, "k"), 8, "until the state says, though it is idle");
	is_u64(seen_by(0, "k"), 8, "and for itself");
	position_set(&rig.pos->applied, vlsn);
}

static void
test_any(void)
{
	begin();
	gw_reach_unknown(&gw[1], true);
	gw_reach_add(&gw[1], gw[1].next_seq++, 30000);
	is_u64(seen_by(0, "j"), conf.store.max_record, "nobody knows of what");
	is_u64(seen_by(1, "j"), conf.store.max_record, "for itself, too");
	returned(1, gw[1].next_seq - 1, 1, 0);
	is_u64(seen_by(0, "j"), 0, "a refused one ends");
}

/* A transaction's operations, one after the other; then MSETs of many. */
static void
test_several(void)
{
	static uint8_t value[2000];
	struct op_arg argv[2 * REACH_NOTED + 2];
	struct built b = { .code = OP_SET, .argc = 2, .argv = argv };
	char key[REACH_NOTED + 1][8];
	uint64_t reach;
	unsigned i;

	begin();
	argv[0] = (struct op_arg){ .data = (const uint8_t *)"n", .len = 1 };
	argv[1] = (struct op_arg){ .data = value, .len = 2000 };
	gw_reach_begin(&gw[0]);
	(void)gw_reach_also(&gw[0], &b);
	b = (struct built){ .code = OP_EXPIREAT, .argc = 1, .argv = argv };
	reach = gw_reach_also(&gw[0], &b);
	is_u64(reach, op_reach(OP_EXPIREAT, 0, 1, argv, 2000),
	    "what stands before it in a transaction");
	is_u64(seen_by(1, "n"), 0, "which nobody has appended");
	is_u64(seen_by(0, "n"), 0, "and will not: another is asked for");
	gw_reach_begin(&gw[0]);
	for (i = 0; i <= REACH_NOTED; i++) {
		snprintf(key[i], sizeof(key[i]), "k%u", i);
		argv[2 * i].data = (const uint8_t *)key[i];
		argv[2 * i].len = (uint32_t)strlen(key[i]);
		argv[2 * i + 1].data = value;
		argv[2 * i + 1].len = i == REACH_NOTED ? 1000 : 8;
	}
	b = (struct built){ .code = OP_MSET, .argc = 2 * i, .argv = argv };
	reach = gw_reach_also(&gw[0], &b);
	gw_reach_add(&gw[0], gw[0].next_seq++, reach);
	is_u64(seen_by(1, "other"), 1000, "of more keys than it takes: any");
}

/* Noted is not appended: it counts for nobody, however often it is asked. */
static void
test_not_appended(void)
{
	uint64_t reach;
	unsigned i;

	begin();
	reach = op(0, OP_APPEND, 0, 50000, "n", false);
	for (i = 0; i < 100; i++)
		if (op(0, OP_APPEND, 0, 50000, "n", false) != reach)
			break;
	is_u64(i, 100, "asked again it is as long as before");
	is_u64(seen_by(1, "n"), 0, "others do not see it");
	op(0, OP_SET, 0, 10000, "n", true);
	(void)op(0, OP_SET, 0, 8, "n", false);
	(void)op(0, OP_DEL, 0, 0, "n", false);
	is_u64(seen_by(0, "n"), 10000, "nor does it hide one that was");
	(void)op(1, OP_SETRANGE, INT64_MAX, 0, "n", true);
	is_u64(seen_by(0, "n"), 10000, "nothing written at the end of time");
	op(1, OP_SET, 0, conf.store.max_value - 8, "n", true);
	op(1, OP_APPEND, 0, 50000, "n", true);
	is_u64(seen_by(0, "n"), conf.store.max_value, "no value is longer");
}

/* What is there may be longer than what can be made now. */
static void
test_lowered(void)
{
	const uint64_t max = conf.store.max_value, most = conf.store.max_record;
	static char value[4001];

	memset(value, 'v', sizeof(value) - 1);
	rig_must(rig_set(&rig, "long", value));
	begin();
	conf.store.max_value = 1000;
	op(0, OP_RENAME, 0, 0, "long", true);
	is_u64(seen_by(1, "long"), 4000, "as it was made");
	op(0, OP_APPEND, 0, 8, "long", true);
	is_u64(seen_by(1, "long"), 4000, "it gets no longer");
	begin();
	gw_reach_unknown(&gw[1], false);
	gw_reach_add(&gw[1], gw[1].next_seq++, 8);
	is_u64(seen_by(0, "j"), OP_NUMBER_MAX, "what copies nothing: a number");
	gw_reach_unknown(&gw[1], true);
	gw_reach_add(&gw[1], gw[1].next_seq++, 8);
	is_u64(seen_by(0, "j"), most, "what does may have copied any that is");
	conf.store.max_value = max;
}

/* Who waits is asked again when what others had under way is applied. */
static void
test_held(void)
{
	uint64_t vlsn = rig.vlsn;
	struct conn c = { .park = PARK_NOT, .generation = 1 };

	begin();
	position_set(&rig.pos->room, 4000);
	ok(gw_reach_may(&gw[0], &c, 1500, REFUSES_GROWTH), "just so much");
	ok(!gw_reach_may(&gw[0], &c, 1501, REFUSES_GROWTH), "too much");
	ok(gw_reach_holds(&gw[0]), "it waits");
	position_set(&rig.pos->appended, vlsn + 1);
	gw_reach_turn(&gw[0]);
	is_u64(position_get(&rig.pos->apply_wanted), vlsn + 1,
	    "it wants what others have appended applied");
	position_set(&rig.pos->applied, vlsn + 1);
	ok(!gw_reach_holds(&gw[0]), "and then it is asked again");
	gw_reach_wake(&gw[0]);
	position_set(&rig.pos->applied, vlsn);
	position_set(&rig.pos->appended, vlsn);
	position_set(&rig.pos->room, ROOM);
}

/* Numbers come again after 2^32: none of half of them before is under way. */
static void
test_wrap(void)
{
	uint64_t vlsn = rig.vlsn;
	unsigned i;

	begin();
	op(0, OP_SET, 0, 10000, "n", true);
	gw_reach_unknown(&gw[0], true);
	gw_reach_add(&gw[0], gw[0].next_seq++, 8);
	returned(0, 1, 2, vlsn + 1);
	position_set(&rig.pos->applied, vlsn + 2);
	is_u64(seen_by(0, "n"), 0, "applied");
	for (i = 1; i <= 5; i++) {
		gw[0].next_seq = i * (UINT32_C(1) << 30) - 1;
		op(0, OP_SET, 0, 8, "other", true);
		op(0, OP_SET, 0, 8, "other", true);
		returned(0, gw[0].next_seq - 2, 2, vlsn + 1);
		is_u64(seen_by(0, "n"), 0, "long ago");
		is_u64(seen_by(1, "n"), 0, "for others, too");
	}
	position_set(&rig.pos->applied, vlsn);
}

/*
 * A gateway was killed: what it had under way may be of any length, and what
 * it left in its ring gets its VLSNs while the next one is at work.
 */
static void
test_successor(void)
{
	const uint64_t max = conf.store.max_record;
	uint64_t vlsn = rig.vlsn;

	begin();
	op(1, OP_SET, 0, 104, "n", true);
	is_u64(seen_by(0, "n"), 104, "its last write");
	atomic_store(&ring[1].br_tail, 800);
	gw[1].req.br_tail = 800;
	gw[1].next_seq = 1;
	memset(&gw[1].reach, 0xa5, sizeof(gw[1].reach));
	gw_reach_init(&gw[1]);
	is_u64(seen_by(0, "j"), max, "others take it for the longest");
	is_u64(seen_by(1, "j"), max, "the next one, too");
	gw_reach_turn(&gw[1]);
	is_u64(seen_by(0, "j"), max, "as long as it is in the ring");
	op(1, OP_SET, 0, 104, "n", true);
	returned(1, gw[1].next_seq - 1, 1, 0);
	is_u64(seen_by(0, "j"), max, "though one was refused");
	op(1, OP_SET, 0, 104, "n", true);
	position_set(&rig.pos->appended, vlsn + 3);
	returned(1, gw[1].next_seq - 1, 1, vlsn + 3);
	position_set(&rig.pos->applied, vlsn + 1);
	is_u64(seen_by(1, "n"), max, "until all before its first is applied");
	position_set(&rig.pos->applied, vlsn + 2);
	is_u64(seen_by(1, "j"), 0, "now it is");
	is_u64(seen_by(0, "j"), 0, "for both");
	is_u64(seen_by(0, "n"), 104, "what is new is not");
	position_set(&rig.pos->applied, vlsn + 3);
	is_u64(seen_by(0, "n"), 0, "and then is");

	gw[1].next_seq = 1;
	gw_reach_init(&gw[1]);
	gw_reach_turn(&gw[1]);
	is_u64(seen_by(0, "j"), max, "wal has not taken it");
	atomic_store(&ring[1].br_head, 800);
	gw_reach_turn(&gw[1]);
	is_u64(seen_by(0, "j"), 0, "it did, so it is appended, and applied");
	gw[1].next_seq = 1;
	position_set(&rig.pos->appended, vlsn + 4);
	gw_reach_init(&gw[1]);
	is_u64(seen_by(0, "j"), max, "an empty ring, and what is not applied");
	op(1, OP_SET, 0, 104, "n", true);
	returned(1, gw[1].next_seq - 1, 1, 0);
	is_u64(seen_by(0, "j"), max, "one that is refused changes nothing");
	position_set(&rig.pos->applied, vlsn + 4);
	is_u64(seen_by(0, "j"), 0, "which then is");
	position_set(&rig.pos->applied, vlsn);
	atomic_store(&ring[1].br_head, 0);
	gw[1].req.br_tail = 0;
}

/* ---- who goes alone ---- */

static _Atomic uint32_t *
state_of(unsigned who)
{
	return &slots.row[SLOT_GATEWAY + who].state;
}

static struct bytering_head *
requests_of(unsigned who)
{
	return &rings[CLIENT_GATEWAY + who].request;
}

static unsigned went[2][GW_CONN_CHUNK];
static uint64_t stalls;
static uint32_t published[2]; /* requests before it are in the ring */

static uint64_t
share(void)
{
	return table_share(&rig.r.table->gen[0]);
}

/* Its connection n asks for so much; what is let in is appended. */
static bool
asks(unsigned who, unsigned n, uint64_t bytes)
{
	struct conn *c = &conns[who][n];

	if (c->park == PARK_RING)
		gw[who].stalled_count--;
	c->park = PARK_NOT;
	c->fd = 1;
	c->wait_vlsn = bytes;
	if (gw_reach_may(&gw[who], c, bytes, REFUSES_GROWTH)) {
		gw_reach_add(&gw[who], gw[who].next_seq++, bytes);
		went[who][n]++;
		return true;
	}
	c->park = PARK_RING;
	c->opened_ns = ++stalls;
	gw[who].stalled_count++;
	return false;
}

/* Who was stalled first of those that were by then. */
static struct conn *
first_stalled(unsigned who, uint64_t by)
{
	struct conn *first = NULL, *c = conns[who];

	for (; c < &conns[who][GW_CONN_CHUNK]; c++)
		if (c->park == PARK_RING && c->opened_ns <= by &&
		    (first == NULL || c->opened_ns < first->opened_ns))
			first = c;
	return first;
}

static bool
leaves(unsigned who, unsigned n)
{
	struct conn *c = &conns[who][n];
	bool waited = c->park == PARK_RING;

	gw[who].stalled_count -= waited;
	c->park = PARK_NOT;
	c->fd = -1;
	return waited;
}

/* Who waits is asked again if that is of use; how many went on. */
static unsigned
turn(unsigned who)
{
	const uint64_t by = stalls;
	const struct conn *c;
	unsigned on = 0;

	gw_reach_look(&gw[who]);
	if (gw[who].stalled_count != 0 && !gw_reach_holds(&gw[who])) {
		gw_reach_wake(&gw[who]);
		while ((c = first_stalled(who, by)) != NULL)
			on += asks(who, c->index, c->wait_vlsn);
	}
	gw_reach_turn(&gw[who]);
	if (gw[who].next_seq != published[who])
		atomic_fetch_add(&requests_of(who)->br_tail, 8);
	published[who] = gw[who].next_seq;
	gw_alone_leave(&gw[who]);
	return on;
}

/* wal takes all its requests, which are appended then. */
static void
logs(unsigned who)
{
	uint32_t count = gw[who].reach.count - gw[who].reach.placed;

	if (count != 0)
		placed(who, count, position_get(&rig.pos->appended) + count);
	atomic_store(&requests_of(who)->br_head,
	    atomic_load(&requests_of(who)->br_tail));
}

static void
applies(void)
{
	position_set(&rig.pos->applied, position_get(&rig.pos->appended));
}

/* It looks what is applied by now. */
static void
drop(unsigned who)
{
	(void)seen_by(who, "none");
}

static void
dies(unsigned who)
{
	unsigned n;

	atomic_store(state_of(who), SLOT_EXITED);
	for (n = 0; n < GW_CONN_CHUNK; n++)
		(void)leaves(who, n);
	gw[who].stalled_count = 0;
}

static void
is_born(unsigned who)
{
	atomic_store(state_of(who), SLOT_STARTING);
	gw[who].incarnation++;
	atomic_store(
	    &slots.row[SLOT_GATEWAY + who].incarnation, gw[who].incarnation);
	gw[who].next_seq = published[who] = 1;
	gw[who].req.br_words = requests_of(who);
	gw[who].req.br_tail = atomic_load(&requests_of(who)->br_tail);
	memset(&gw[who].reach, 0xa5, sizeof(gw[who].reach));
	gw_reach_init(&gw[who]);
	atomic_store(state_of(who), SLOT_RUNNING);
}

/* Two that live, and of which nothing is under way. */
static void
begin_alone(void)
{
	unsigned who;

	memset(&wakes, 0, sizeof(wakes));
	position_set(&rig.pos->appended, rig.vlsn);
	applies();
	position_set(&rig.pos->room, share());
	atomic_store(&table.alone, 0);
	for (who = 0; who < 2; who++) {
		dies(who);
		atomic_store(&requests_of(who)->br_head, 0);
		atomic_store(&requests_of(who)->br_tail, 0);
		is_born(who);
		(void)turn(who);
		atomic_store(&requests_of(who)->br_tail, 0);
	}
}

static void
test_alone(void)
{
	const uint64_t large = share() + 1;

	begin_alone();
	ok(asks(0, 0, large), "one goes alone");
	ok(!asks(1, 0, large), "and no other");
	ok(!asks(1, 1, 8), "nor anything small, of any gateway");
	ok(!asks(0, 1, 8), "its own neither");
	(void)turn(0);
	(void)turn(1);
	logs(0);
	is_u64(turn(0) + turn(1), 0, "in the log it is not applied");
	is_u64(position_get(&rig.pos->apply_wanted),
	    position_get(&rig.pos->appended), "which is asked for");
	applies();
	atomic_store(&wakes.line[SLOT_GATEWAY + 1].sleeping, 1);
	ok(gw_reach_pending(&gw[0]), "then it is over");
	is_u64(turn(0), 1, "its own go on");
	is_u64(atomic_load(&wakes.line[SLOT_GATEWAY + 1].sleeping), 0,
	    "the other is woken");
	is_u64(turn(1), 0, "who would go alone waits for it");
	logs(0);
	is_u64(turn(1), 0, "in the log, too");
	applies();
	is_u64(turn(1), 1, "and goes then");
	ok(!asks(0, 0, 8), "others wait behind it");
	(void)turn(0);
	logs(1);
	applies();
	(void)turn(1);
	is_u64(turn(0), 1, "and go on");
	(void)leaves(1, 1);
}

/* What others are about to append is seen by who goes alone. */
static void
test_beside(void)
{
	const uint64_t large = share() + 1;

	begin_alone();
	ok(asks(1, 0, 8), "a small one");
	ok(!asks(0, 0, large), "before it is published one waits");
	is_u64(turn(0), 0, "for the end of that turn");
	is_u64(turn(1), 0, "published");
	is_u64(turn(0), 0, "it is under way");
	ok(!asks(1, 1, 8), "and no other follows");
	(void)turn(1);
	logs(1);
	applies();
	is_u64(turn(1), 0, "small ones do not pass who waits");
	is_u64(turn(0), 1, "who goes");
	logs(0);
	applies();
	(void)turn(0);
	is_u64(turn(1), 1, "before those");
	logs(1);
	applies();
	ok(asks(0, 0, 8), "a small one");
	ok(!asks(1, 0, large), "for which a large one waits");
	position_set(&rig.pos->room, share() / 2);
	is_u64(turn(1), 0, "a checkpoint came between");
	(void)turn(0);
	ok(asks(0, 0, 8), "so small ones go on");
	(void)turn(0);
	logs(0);
	applies();
	is_u64(turn(1), 0, "as long as it lasts");
	position_set(&rig.pos->room, share());
	is_u64(turn(1), 1, "then the large one goes");
	logs(1);
	applies();
	(void)turn(1);
	gw_alone_enter(&gw[1]);
	ok(gw_reach_pending(&gw[1]), "who only looked says so soon");
	(void)turn(1);
	ok(asks(0, 0, large), "and hinders nobody");
}

#define MEETINGS 500000

static _Atomic uint32_t inside[2]; /* they append: this one, or alone */
static _Atomic uint32_t met;
static pthread_barrier_t both;

static void
is_inside(unsigned who)
{
	unsigned i;

	atomic_store_explicit(&inside[who], 1, memory_order_relaxed);
	for (i = 0; i < 100; i++)
		if (atomic_load_explicit(
			&inside[1 - who], memory_order_relaxed) != 0) {
			atomic_fetch_add(&met, 1);
			break;
		}
	atomic_store_explicit(&inside[who], 0, memory_order_relaxed);
}

static void *
appends(void *arg)
{
	unsigned *n = arg, i;

	pthread_barrier_wait(&both);
	for (i = 0; i < MEETINGS; i++) {
		gw_alone_enter(&gw[0]);
		if ((gw_alone_other(&gw[0]) & ALONE_TAKEN) == 0) {
			is_inside(0);
			++*n;
		}
		gw_alone_leave(&gw[0]);
	}
	return NULL;
}

static void *
goes_alone(void *arg)
{
	unsigned *n = arg, i;

	pthread_barrier_wait(&both);
	for (i = 0; i < MEETINGS; i++) {
		if (gw_alone_take(&gw[1])) {
			is_inside(1);
			++*n;
			gw_alone_added(&gw[1], gw[1].next_seq);
			gw[1].reach.applied_seq = gw[1].next_seq++;
		}
		gw_alone_turn(&gw[1]);
	}
	return NULL;
}

/* Two processes at once, at whatever instruction each is. */
static void
test_meeting(void)
{
	unsigned went_on = 0, went_alone = 0;
	pthread_t a, b;

	begin_alone();
	gw[1].stalled_count = 1;
	if (pthread_barrier_init(&both, NULL, 2) != 0 ||
	    pthread_create(&a, NULL, appends, &went_on) != 0 ||
	    pthread_create(&b, NULL, goes_alone, &went_alone) != 0)
		abort();
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	gw[1].stalled_count = 0;
	diag("%u appended, %u went alone", went_on, went_alone);
	is_u64(met, 0, "who appends and who goes alone do not meet");
}

/* A gateway is stopped, with a request of which it does not see the end. */
static void
test_stopped(void)
{
	const uint64_t large = share() + 1;

	begin_alone();
	ok(asks(1, 0, 8), "a small one");
	(void)turn(1);
	ok(!asks(0, 0, large), "a large one waits for it");
	(void)turn(0);
	position_set(&rig.pos->appended, position_get(&rig.pos->appended) + 1);
	is_u64(turn(0), 0, "not in the log, as far as it knows");
	atomic_store(
	    &requests_of(1)->br_head, atomic_load(&requests_of(1)->br_tail));
	is_u64(turn(0), 0, "not applied");
	applies();
	is_u64(turn(0), 1, "until it is, whoever has seen that");
	begin_alone();
	gw_alone_enter(&gw[1]);
	gw[0].io.loop.now_ns = NS_PER_S;
	ok(!asks(0, 0, large), "while one may append a large one waits");
	(void)turn(0);
	ok(atomic_load(&table.alone) != 0, "and others, too");
	ok(gw_alone_deadline(&gw[0]) < LOOP_NEVER, "which is looked at");
	gw[0].io.loop.now_ns += NS_PER_S + 1;
	(void)turn(0);
	is_u64(atomic_load(&table.alone), 0, "but not for long");
	gw_alone_leave(&gw[1]);
	is_u64(turn(0), 1, "it is tried again");
	gw[0].io.loop.now_ns = 0;
}

/*
 * Nobody is passed for ever: neither large ones nor small ones, of no gateway;
 * and nothing is let in beside what goes alone.
 */
static void
test_turns(void)
{
	const uint64_t large = share() + 1, part = share() / 2 / 4 * 3;
	/* What fits gets past what does not, if anything does. */
	const uint64_t bytes[] = { large, 8, part / 3 * 2, part / 3 * 2 };
	uint32_t seed = (uint32_t)getpid(), most = 0, least = UINT32_MAX;
	unsigned i, who, n, beside = 0;

	diag("seed %u", seed);
	begin_alone();
	memset(went, 0, sizeof(went));
	for (i = 0; i < 4000; i++) {
		seed = seed * 1103515245 + 12345;
		who = seed >> 16 & 1;
		for (n = 0; n < NITEMS(bytes); n++)
			if (conns[who][n].park != PARK_RING)
				(void)asks(who, n, bytes[n]);
		(void)turn(who);
		beside +=
		    (gw[0].reach.bytes > large) + (gw[1].reach.bytes > large) +
		    (gw[0].reach.bytes != 0 && gw[1].reach.bytes >= large) +
		    (gw[1].reach.bytes != 0 && gw[0].reach.bytes >= large);
		if ((seed >> 17 & 3) != 0)
			continue;
		logs(who);
		if ((seed >> 19 & 1) != 0)
			applies();
		for (n = 0; n < 2; n++)
			drop(n);
	}
	for (who = 0; who < 2; who++)
		for (n = 0; n < NITEMS(bytes); n++) {
			most = went[who][n] > most ? went[who][n] : most;
			least = went[who][n] < least ? went[who][n] : least;
			diag("gateway %u: of %" PRIu64 " bytes: %u went", who,
			    bytes[n], went[who][n]);
		}
	is_u64(beside, 0, "nothing goes beside");
	ok(least > 20 && most < 20 * least, "everybody goes");
}

/* Where a gateway dies, and what the other makes of it. */
enum point { TICKET, WANTED, TAKEN, APPENDED, PUBLISHED, LOGGED, POINTS };

static void
dies_at(enum point at)
{
	begin_alone();
	if (at == WANTED || at == TICKET)
		(void)asks(1, 5, 8);
	if (at == TICKET)
		atomic_store(
		    &table.alone, (uint64_t)gw[1].incarnation << 32 | 2);
	if (at == TAKEN)
		(void)gw_alone_take(&gw[0]);
	else
		(void)asks(0, 0, share() + 1);
	if (at == TICKET)
		atomic_store(&table.alone, 0);
	if (at >= PUBLISHED)
		(void)turn(0);
	(void)turn(1);
	if (at == WANTED || at == TICKET) {
		logs(1);
		applies();
		(void)turn(1);
	}
	if (at == LOGGED)
		logs(0);
	dies(0);
}

/* Nothing of it is accepted, or all that is is applied. */
static bool
holds_nothing(enum point at)
{
	return at < PUBLISHED;
}

static void
test_death(void)
{
	static const char *const name[] = { "with a ticket", "wanting it",
		"having it", "appended", "published", "logged" };
	unsigned at, generation;

	for (at = 0; at < POINTS; at++) {
		dies_at((enum point)at);
		ok(asks(1, 0, share() + 1) == holds_nothing(at),
		    "%s: as long as nobody follows", name[at]);
		if (!holds_nothing(at)) {
			(void)turn(1);
			ok(!asks(1, 1, 8), "nor a small one");
			atomic_store(&requests_of(0)->br_head,
			    atomic_load(&requests_of(0)->br_tail));
			if (at == PUBLISHED)
				position_set(&rig.pos->appended,
				    position_get(&rig.pos->appended) + 1);
			is_u64(turn(1), 0, "until it is applied");
			applies();
			is_u64(turn(1), 1, "then one goes");
		}
		dies_at((enum point)at);
		for (generation = 0; generation < 3; generation++) {
			is_born(0);
			if (generation != 2)
				dies(0);
		}
		(void)turn(0);
		if (holds_nothing(at)) {
			ok(asks(1, 0, share() + 1),
			    "%s: its heirs leave nothing of it", name[at]);
			continue;
		}
		ok(!asks(1, 0, share() + 1) && !asks(1, 1, 8),
		    "%s: its heirs hold it", name[at]);
		(void)turn(1);
		ok(!asks(0, 1, 8), "for themselves, too");
		atomic_store(&requests_of(0)->br_head,
		    atomic_load(&requests_of(0)->br_tail));
		if (at == PUBLISHED)
			position_set(&rig.pos->appended,
			    position_get(&rig.pos->appended) + 1);
		is_u64(turn(0) + turn(1), 0, "until it is applied");
		applies();
		is_u64(turn(0), 1, "then its own go on");
		logs(0);
		applies();
		(void)turn(0);
		is_u64(turn(1), 1, "and who waits for it");
	}
	begin_alone();
	ok(asks(1, 0, 8), "a small one");
	(void)turn(1);
	dies(1);
	ok(!asks(0, 0, share() + 1), "of one that died is in the ring");
	logs(1);
	is_u64(turn(0), 0, "in the log");
	applies();
	is_u64(turn(0), 1, "and applied");
	begin_alone();
}

/* Its heir boots, and has no turn yet: others need none. */
static void
test_heir_boots(void)
{
	dies_at(PUBLISHED);
	is_born(0);
	atomic_store(state_of(0), SLOT_STARTING);
	ok(!asks(1, 0, 8) && !asks(1, 1, share() + 1),
	    "what a dead one has taken is taken");
	logs(0);
	position_set(&rig.pos->appended, position_get(&rig.pos->appended) + 1);
	is_u64(turn(1), 0, "until it is applied");
	applies();
	is_u64(turn(1), 1, "then others go on, whatever its heir does");
	begin_alone();
}

/* Parts are missing: what wal had of it is not all of it. */
static void
test_half(void)
{
	begin_alone();
	ok(asks(0, 0, 8), "a long request");
	gw[0].big.payload = malloc(1);
	(void)turn(0);
	atomic_store(
	    &requests_of(0)->br_head, atomic_load(&requests_of(0)->br_tail));
	ok(!asks(1, 0, share() + 1), "half of it is under way");
	ok(!gw_reach_pending(&gw[0]), "nobody spins");
	free(gw[0].big.payload);
	gw[0].big.payload = NULL;
	atomic_fetch_add(&requests_of(0)->br_tail, 8);
	(void)turn(0);
	is_u64(turn(1), 0, "nor goes one beside the other half");
	logs(0);
	applies();
	is_u64(turn(1), 1, "but behind it");
	begin_alone();
}

/* The log is cut behind that VLSN. */
static void
cut(uint64_t vlsn)
{
	position_set(&rig.pos->appended, vlsn);
}

/*
 * A mastership is over: what it had appended and not seen committed may never
 * be applied, and holds back nobody here.
 */
static void
test_deposed(void)
{
	const uint64_t vlsn = rig.vlsn, part = share() / 2 / 4 * 3;

	begin_alone();
	ok(asks(0, 0, share() + 1), "one goes alone");
	(void)turn(0);
	logs(0);
	ok(!asks(1, 0, 8) && !asks(0, 1, 8), "in the log: others wait");
	mastership_ends(vlsn);
	is_u64(turn(0) + turn(1), 2, "not after the mastership's end");
	is_u64(atomic_load(&table.alone), 0, "the claim is given up");
	returned(0, gw[0].next_seq - 1, 1, 0);
	returned(1, gw[1].next_seq - 1, 1, 0);
	cut(vlsn);
	drop(0);
	drop(1);
	is_u64(gw[0].reach.bytes + gw[1].reach.bytes, 0,
	    "refused, they reach nothing, though the log is shorter now");
	is_u64(seen_by(0, "none") + seen_by(1, "none"), 0, "for others either");
	mastership_begins();
	ok(asks(1, 0, share() + 1), "in the next one goes alone");
	(void)turn(1);
	mastership_ends(vlsn);
	(void)turn(1);
	ok(!asks(0, 0, 8), "not returned: it is waited for");
	returned(1, gw[1].next_seq - 1, 1, vlsn + 1);
	position_set(&rig.pos->appended, vlsn + 1);
	is_u64(turn(1) + turn(0), 1, "returned behind the end, it is over");
	mastership_begins();

	begin_alone();
	ok(asks(0, 0, part), "all of its part");
	(void)turn(0);
	logs(0);
	ok(!asks(0, 1, 8), "another one waits");
	mastership_ends(vlsn + 1);
	is_u64(turn(0), 0, "committed by then, it will be applied");
	applies();
	is_u64(turn(0), 1, "which it is");
	(void)turn(0);
	mastership_begins();
	logs(0);
	(void)op(0, OP_SET, 0, 104, "lost", true);
	placed(0, 1, vlsn + 3);
	mastership_ends(vlsn + 2);
	gw_reach_look(&gw[0]);
	is_u64(seen_by(1, "lost"), 104, "what is before it is under way");
	position_set(&rig.pos->applied, vlsn + 2);
	is_u64(seen_by(1, "lost"), 0, "lost, whenever its gateway looks");
	mastership_begins();
	(void)op(0, OP_SET, 0, 200, "next", true);
	cut(vlsn + 2);
	placed(0, 1, vlsn + 3);
	drop(0);
	is_u64(seen_by(1, "next"), 200, "the next mastership's is not");
	gw_reach_look(&gw[0]);
	is_u64(seen_by(1, "next"), 200, "as long as that lasts");
	mastership_ends(vlsn + 2);
	mastership_begins();
	(void)op(0, OP_SET, 0, 104, "third", true);
	placed(0, 1, vlsn + 3);
	drop(0);
	is_u64(seen_by(1, "next"), 0, "which a later one's return tells, too");
	is_u64(seen_by(1, "third"), 104, "and that is under way");

	/* What a dead one had appended is in the same case. */
	dies_at(LOGGED);
	ok(!asks(1, 0, 8), "one that went alone died, its claim holds");
	mastership_ends(vlsn);
	is_u64(turn(1), 1, "up to the mastership's end");
	mastership_begins();
	begin_alone();
	ok(asks(0, 0, 8), "a small one");
	(void)turn(0);
	logs(0);
	dies(0);
	is_born(0);
	(void)turn(0);
	ok(!asks(0, 0, 8), "its heir may be all that there is room for");
	mastership_ends(vlsn);
	cut(vlsn);
	is_u64(turn(0), 1, "not behind the mastership's end");
	dies(0);
	is_born(0);
	drop(0);
	position_set(&rig.pos->appended, vlsn + 1);
	(void)turn(0);
	atomic_store(
	    &requests_of(0)->br_head, atomic_load(&requests_of(0)->br_tail));
	(void)turn(0);
	ok(asks(0, 0, 8), "nor is there one of who is no master");
	mastership_begins();
	begin_alone();
}

int
main(void)
{
	set_up();
	test_each_other();
	test_lengths();
	test_any();
	test_several();
	test_not_appended();
	test_lowered();
	test_held();
	test_wrap();
	test_successor();
	test_alone();
	test_beside();
	test_stopped();
	test_meeting();
	test_turns();
	test_death();
	test_heir_boots();
	test_half();
	test_deposed();
	tear_down();
	return tap_done();
}
