/*
 * What two gateways take the reach of their writes for while the other's are
 * under way: a value is as long as the state says, or as some write may make
 * it, whoever made that; and no longer.
 */
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
static struct gateway gw[2];
static struct bytering_head ring[2];
static struct troubles troubles;

static void
set_up(void)
{
	unsigned i;

	rig_open(&rig, 8 << 20);
	rig.reader = rig_kv(&rig, SLOT_GATEWAY);
	conf_defaults(&conf);
	rig.r.head = &head;
	rig.r.slots = &slots;
	rig.r.reach = &table;
	rig.r.control = &control;
	rig.r.troubles = &troubles;
	worker.conf = &conf;
	worker.region = &rig.r;
	for (i = 0; i < 2; i++) {
		gw[i].w = &worker;
		gw[i].r = &rig.r;
		gw[i].slot = SLOT_GATEWAY + i;
		gw[i].kv = rig.reader;
		gw[i].kv_open_turn = true;
		gw[i].next_seq = 1;
		gw[i].turn_end_ns = LOOP_NEVER;
		gw[i].lost = UINT64_MAX;
		gw[i].req.h = &ring[i];
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
	gw_reach_returned(
	    &gw[who], gw[who].next_seq - count, count, vlsn - count + 1);
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
	gw_reach_returned(&gw[1], gw[1].next_seq - 1, 1, 0);
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
	gw_reach_returned(&gw[0], 1, 2, vlsn + 1);
	position_set(&rig.pos->applied, vlsn + 2);
	is_u64(seen_by(0, "n"), 0, "applied");
	for (i = 1; i <= 5; i++) {
		gw[0].next_seq = i * (UINT32_C(1) << 30) - 1;
		op(0, OP_SET, 0, 8, "other", true);
		op(0, OP_SET, 0, 8, "other", true);
		gw_reach_returned(&gw[0], gw[0].next_seq - 2, 2, vlsn + 1);
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
	atomic_store(&ring[1].tail, 800);
	gw[1].req.tail = 800;
	gw[1].next_seq = 1;
	memset(&gw[1].reach, 0xa5, sizeof(gw[1].reach));
	gw_reach_init(&gw[1]);
	is_u64(seen_by(0, "j"), max, "others take it for the longest");
	is_u64(seen_by(1, "j"), max, "the next one, too");
	gw_reach_turn(&gw[1]);
	is_u64(seen_by(0, "j"), max, "as long as it is in the ring");
	op(1, OP_SET, 0, 104, "n", true);
	gw_reach_returned(&gw[1], gw[1].next_seq - 1, 1, 0);
	is_u64(seen_by(0, "j"), max, "though one was refused");
	op(1, OP_SET, 0, 104, "n", true);
	position_set(&rig.pos->appended, vlsn + 3);
	gw_reach_returned(&gw[1], gw[1].next_seq - 1, 1, vlsn + 3);
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
	atomic_store(&ring[1].head, 800);
	gw_reach_turn(&gw[1]);
	is_u64(seen_by(0, "j"), 0, "it did, so it is appended, and applied");
	gw[1].next_seq = 1;
	position_set(&rig.pos->appended, vlsn + 4);
	gw_reach_init(&gw[1]);
	is_u64(seen_by(0, "j"), max, "an empty ring, and what is not applied");
	position_set(&rig.pos->applied, vlsn + 4);
	is_u64(seen_by(0, "j"), 0, "which then is");
	position_set(&rig.pos->applied, vlsn);
	atomic_store(&ring[1].head, 0);
	gw[1].req.tail = 0;
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
	tear_down();
	return tap_done();
}
