/*
 * What two gateways take the reach of their writes for while the other's are
 * under way: a value is as long as the state says, or as some write may make
 * it, whoever made that; and no longer.
 */
#include "t/lib/store_rig.h"
#include "workers/gateway/command.h"
#include "workers/gateway/gateway.h"

#define ROOM (UINT64_C(1) << 20)

static struct rig rig;
static struct conf conf;
static struct worker worker;
static struct region_head head = { .gateway_count = 2 };
static struct slots slots;
static struct reach_table table;
static struct gateway gw[2];

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
	rig_close(&rig);
}

/* Everything appended is applied; both have begun anew. */
static void
begin(void)
{
	position_set(&rig.pos->appended, rig.vlsn);
	position_set(&rig.pos->applied, rig.vlsn);
	gw_reach_init(&gw[0]);
	gw_reach_init(&gw[1]);
}

/* Its reach is asked for, and it is appended if that is wanted. */
static uint64_t
op(unsigned who, uint16_t code, int64_t num, uint64_t value_len,
    const char *key, bool append)
{
	static uint8_t value[1 << 16];
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
	uint64_t reach = gw_reach_of(&gw[who], &b);

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
	is_u64(seen_by(1, "k"), 16, "a later SET is all that its own finds");
	is_u64(seen_by(0, "k"), 10000, "one of the other may come between");
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
	gw_reach_late(&gw[1], 30000);
	gw_reach_add(&gw[1], gw[1].next_seq++, 30000);
	is_u64(seen_by(0, "j"), 30000, "a transaction's that is not known");
	is_u64(seen_by(1, "j"), 30000, "for itself, too");
	gw_reach_returned(&gw[1], gw[1].next_seq - 1, 1, 0);
	is_u64(seen_by(0, "j"), 0, "a refused one ends");
}

/* A gateway was killed: what it had under way may be of any length. */
static void
test_successor(void)
{
	const uint64_t max = conf.store.max_value;
	uint64_t vlsn = rig.vlsn;

	begin();
	op(1, OP_SET, 0, 104, "k", true);
	position_set(&rig.pos->appended, vlsn + 1);
	is_u64(seen_by(0, "k"), 104, "its last write");
	memset(&gw[1].reach, 0xa5, sizeof(gw[1].reach));
	gw[1].next_seq = 1;
	gw_reach_init(&gw[1]);
	is_u64(seen_by(0, "j"), max, "others take it for the longest");
	is_u64(seen_by(1, "j"), max, "the next one, too");
	op(1, OP_SET, 0, 104, "k", true);
	is_u64(seen_by(1, "k"), max, "whatever it has written since");
	position_set(&rig.pos->applied, vlsn + 1);
	is_u64(seen_by(0, "j"), 0, "until all that is applied");
	is_u64(seen_by(1, "j"), 0, "for both");
	is_u64(seen_by(0, "k"), 104, "not what is new");
	position_set(&rig.pos->applied, vlsn);
}

static void
test_alone(void)
{
	static const struct reach_shared none;

	head.gateway_count = 1;
	memset(&table, 0, sizeof(table));
	begin();
	op(0, OP_SET, 0, 104, "k", true);
	is_u64(seen_by(0, "k"), 104, "its own write");
	ok(memcmp(&table.of[0], &none, sizeof(none)) == 0,
	    "who is alone tells nobody");
	head.gateway_count = 2;
}

int
main(void)
{
	set_up();
	test_each_other();
	test_lengths();
	test_any();
	test_successor();
	test_alone();
	tear_down();
	return tap_done();
}
