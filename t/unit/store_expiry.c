/*
 * The store's expiry alone, the test in the place of wal: when it wakes up,
 * what it asks for, and how much of it at a time.
 */
#include "t/lib/store_rig.h"
#include "t/lib/wal_harness.h"
#include "workers/store/store.h"

#include <dlfcn.h>

#define NOW_NS (1000 * NS_PER_S)
#define MANY   1500

static struct node {
	struct rig g;
	struct harness h;
	struct region r; /* the harness' with the rig's table */
	struct store s;
	struct bytering request, ret; /* wal's ends */
} n;

/* Looks at the disk's order; this program's function comes before LMDB's. */
static unsigned disk_looks;

int
mdb_cursor_get(MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
	static int (*real)(MDB_cursor *, MDB_val *, MDB_val *, MDB_cursor_op);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "mdb_cursor_get");
	disk_looks++;
	return real(c, k, v, op);
}

static void
timed(void *ctx, int64_t expire_ms, uint32_t off)
{
	(void)ctx;
	n.s.table = n.g.w;
	store_expiry_timed(&n.s, expire_ms, off);
}

static void
node_open(void)
{
	memset(&n, 0, sizeof(n));
	rig_open(&n.g, 8 << 20);
	h_new(&n.h, "/dev/shm");
	h_region(&n.h);
	n.r = n.h.region;
	n.r.table = n.g.r.table;
	n.r.pos = n.g.r.pos;
	n.h.view.role = ROLE_MASTER;
	commit_view_write(n.r.commit, &n.h.view);
	n.g.apply.hooks.timed = timed;
	/* The records' clock is late, so that what they set can be due. */
	n.g.now_ms = wall_ms() - 60000;
	n.s.w = &n.h.worker;
	n.s.r = &n.r;
	n.s.kv = n.g.kv;
	n.s.table = n.g.w;
	n.s.loop.region = &n.r;
	n.s.loop.bells = &n.h.worker.bells;
	n.s.loop.now_ns = NOW_NS;
	store_expiry_open(&n.s);
	position_set(&n.r.pos->room, 1 << 20);
	region_ring(&n.r, CLIENT_STORE, RING_REQUEST, &n.request);
	region_ring(&n.r, CLIENT_STORE, RING_RETURN, &n.ret);
}

static void
node_close(void)
{
	store_expiry_close(&n.s);
	h_kill(&n.h);
	h_free(&n.h);
	rig_close(&n.g);
}

static void
set_at(const char *key, int64_t expire_ms)
{
	struct op_arg argv[] = { { (const uint8_t *)key,
				     (uint32_t)strlen(key) },
		{ (const uint8_t *)"v", 1 } };

	rig_must(rig_op(&n.g, OP_SET, 0, expire_ms, 2, argv));
}

/* However far away: a time to come, not one that has been. */
static void
test_deadline(void)
{
	/* In ns the second is a little more than 2^64. */
	const int64_t far[] = { INT64_MAX, wall_ms() + 18446744073900,
		INT64_MAX / 1000000 + 1, INT64_MAX / 2 };
	uint64_t at;
	unsigned i;

	for (i = 0; i < NITEMS(far); i++) {
		node_open();
		n.s.expiry.disk_ms = INT64_MAX;
		set_at("far", far[i]);
		at = store_expiry_deadline(&n.s);
		ok(at > NOW_NS + NS_PER_S,
		    "due in %jd ms: the store sleeps until then",
		    (intmax_t)far[i]);
		set_at("near", wall_ms() + 20000);
		at = store_expiry_deadline(&n.s);
		ok(at > NOW_NS && at <= NOW_NS + 21 * NS_PER_S,
		    "one that is due before it wakes it up");
		node_close();
	}
}

static void
answer(const struct wal_req *req, enum ret_status status)
{
	struct wal_ret *ret = bytering_reserve(&n.ret, sizeof(*ret));

	if (ret == NULL)
		abort();
	memset(ret, 0, sizeof(*ret));
	ret->len = sizeof(*ret);
	ret->seq = req->seq;
	ret->count = 1;
	ret->incarnation = req->incarnation;
	ret->status = status;
	bytering_publish(&n.ret);
}

/* At log time now_ms: answer what was asked for, and apply it if granted. */
static unsigned
wal_at_ms(enum ret_status status, int64_t now_ms)
{
	int64_t before = n.g.now_ms;
	const struct wal_req *req;
	unsigned count = 0;
	uint32_t len;

	n.g.now_ms = now_ms;
	while ((req = bytering_peek(&n.request, &len)) != NULL) {
		if (status == RET_OK)
			rig_must(rig_apply(&n.g, false,
			    (const uint8_t *)(req + 1), len - sizeof(*req)));
		answer(req, status);
		bytering_advance(&n.request, len);
		bytering_consume(&n.request);
		count++;
	}
	n.g.now_ms = before;
	return count;
}

static unsigned
wal(enum ret_status status)
{
	return wal_at_ms(status, wall_ms());
}

/* Turns until nothing is asked for any more; all that was. */
static unsigned
turns(enum ret_status status)
{
	unsigned all = 0, count;

	do {
		while (store_expiry_turn(&n.s, UINT64_MAX))
			;
		count = wal(status);
		all += count;
	} while (count != 0 && status == RET_OK);
	store_expiry_turn(&n.s, UINT64_MAX);
	n.s.loop.now_ns += NS_PER_S;
	return all;
}

static void
set_many(int64_t expire_ms)
{
	char key[32];
	unsigned i;

	for (i = 0; i < MANY; i++) {
		snprintf(key, sizeof(key), "many:%u", i);
		set_at(key, expire_ms);
	}
}

/* The frozen generation goes to disk; the store is told as it would be. */
static void
drop(void)
{
	uint64_t number = (atomic_load(&n.r.table->view) >> 1) - 1;

	rig_must(rig_checkpoint(&n.g));
	store_expiry_dropped(&n.s, number);
}

/* However much is due, a turn ends in time. */
static void
test_share(void)
{
	uint32_t before;
	unsigned count = 0;

	node_open();
	set_many(wall_ms() - 1000);
	set_many(0);
	before = n.s.expiry.heap[1].count;
	ok(store_expiry_turn(&n.s, 0), "a turn that is late has more to do");
	ok(before == MANY && n.s.expiry.heap[1].count >= MANY - 64,
	    "and has looked at a few: %u are left", n.s.expiry.heap[1].count);
	while (store_expiry_turn(&n.s, 0) && count < MANY)
		count++;
	is_u64(n.s.expiry.heap[1].count, 0, "in the end at all");
	is_u64(wal(RET_OK), 0, "which are no more what they were");
	set_many(wall_ms() - 1000);
	rig_must(rig_freeze(&n.g));
	drop();
	ok(store_expiry_turn(&n.s, 0) && wal(RET_OK) <= 64,
	    "so it is with what is on disk");
	node_close();
}

/*
 * What was deleted is not walked over again when a generation goes to disk,
 * or when a request is refused; what is left to do there is found.
 */
static void
test_place(void)
{
	int64_t due = wall_ms() - 1000;

	node_open();
	set_many(due);
	rig_must(rig_freeze(&n.g));
	drop();
	set_at("other", 0);
	rig_must(rig_freeze(&n.g));
	is_u64(turns(RET_OK), MANY, "each is asked for");
	drop();
	disk_looks = 0;
	is_u64(turns(RET_OK), 0, "once");
	ok(disk_looks < 32, "the deleted ones are not looked at again: %u",
	    disk_looks);
	set_at("early", due - 5000);
	rig_must(rig_freeze(&n.g));
	drop();
	is_u64(turns(RET_OK), 1, "one before that place is found");
	set_at("late", due + 500);
	rig_must(rig_freeze(&n.g));
	drop();
	disk_looks = 0;
	is_u64(turns(RET_READONLY), 1, "one is refused");
	is_u64(turns(RET_OK), 1, "and asked for again");
	ok(disk_looks < 32, "it alone: %u", disk_looks);
	node_close();
}

/* In the table when it was asked for, on disk when that was refused. */
static void
test_refused(void)
{
	node_open();
	set_at("before", wall_ms() - 1000);
	rig_must(rig_freeze(&n.g));
	drop();
	is_u64(turns(RET_OK), 1, "the disk has been looked at");
	set_at("refused", wall_ms() - 5000);
	rig_must(rig_freeze(&n.g));
	while (store_expiry_turn(&n.s, UINT64_MAX))
		;
	drop();
	while (store_expiry_turn(&n.s, UINT64_MAX))
		;
	is_u64(turns(RET_LOG_FULL), 1, "one is refused when it is on disk");
	is_u64(turns(RET_OK), 1, "there it is found");
	node_close();
}

/* One transaction: key is set, due then, and set again, due at another time. */
static void
set_twice(const char *key, int64_t expire_ms, int64_t again_ms)
{
	struct op_arg argv[] = { { (const uint8_t *)key,
				     (uint32_t)strlen(key) },
		{ (const uint8_t *)"v", 1 } };
	uint32_t len = (uint32_t)op_size(2, argv);
	uint8_t payload[256];

	put_le32(payload, 2);
	put_le32(payload + 4, 0);
	put_le32(payload + 8, len);
	op_encode(payload + 12, OP_SET, 0, expire_ms, 2, argv);
	put_le32(payload + 12 + len, len);
	op_encode(payload + 16 + len, OP_SET, 0, again_ms, 2, argv);
	rig_must(rig_apply(&n.g, true, payload, 16 + 2 * len));
}

/* Log time has gone back between a request and its record: the key lives. */
static void
test_early(void)
{
	int64_t due = wall_ms() - 1000;

	node_open();
	set_at("disk", due);
	rig_must(rig_freeze(&n.g));
	drop();
	set_at("table", due + 1);
	while (store_expiry_turn(&n.s, UINT64_MAX))
		;
	is_u64(wal_at_ms(RET_OK, due - 5000), 2, "two are asked for");
	is_u64(n.g.apply.expired, 0, "too early: they live on");
	is_i64(n.g.apply.early_ms, due, "which is told of the first");
	is_u64(turns(RET_OK), 0, "nothing more is known to be due");
	store_expiry_again(&n.s, n.g.apply.early_ms);
	is_u64(turns(RET_OK), 1, "the one on disk is asked for again");
	rig_must(rig_freeze(&n.g));
	drop();
	is_u64(turns(RET_OK), 1, "the other when it is there, too");
	is_u64(n.g.apply.expired, 2, "and both go");
	node_close();
}

/* What is asked for is appended, and cut off before it is applied. */
static unsigned
cut_off(void)
{
	const struct wal_req *req;
	unsigned count = 0;
	uint32_t len;

	while (store_expiry_turn(&n.s, UINT64_MAX))
		;
	for (; (req = bytering_peek(&n.request, &len)) != NULL; count++) {
		answer(req, RET_OK);
		bytering_advance(&n.request, len);
		bytering_consume(&n.request);
	}
	return count;
}

static void
role_is(enum role role, uint64_t term)
{
	n.h.view.role = role;
	n.h.view.term = term;
	commit_view_write(n.r.commit, &n.h.view);
}

/* A mastership ends before the log is safe that has its deletions. */
static void
test_cut(void)
{
	int64_t due = wall_ms() - 1000;

	node_open();
	role_is(ROLE_MASTER, 5);
	set_at("disk", due);
	rig_must(rig_freeze(&n.g));
	drop();
	set_at("table", due);
	is_u64(cut_off(), 2, "two are asked for, and cut off");
	role_is(ROLE_REPLICA, 6);
	is_u64(turns(RET_OK), 0, "a replica asks for nothing");
	is_u64(store_expiry_deadline(&n.s), LOOP_NEVER, "and wakes for none");
	role_is(ROLE_MASTER, 7);
	is_u64(turns(RET_OK), 1, "the next mastership asks again");
	rig_must(rig_freeze(&n.g));
	drop();
	is_u64(turns(RET_OK), 1, "for the other when it is on disk, too");
	is_u64(n.g.apply.expired, 2, "and both go");
	node_close();
}

/* Both entries have the record's VLSN: what is asked for goes by that. */
static void
test_twice(void)
{
	int64_t due = wall_ms() - 1000;

	node_open();
	set_twice("kept", due, 0);
	set_twice("later", due, wall_ms() + 60000);
	set_twice("earlier", wall_ms() + 60000, due);
	is_u64(turns(RET_OK), 1,
	    "set twice in one transaction: due when the last one says");
	is_u64(n.s.expiry.heap[1].count, 2, "the others later, or never");
	node_close();
}

int
main(void)
{
	test_deadline();
	test_twice();
	test_share();
	test_place();
	test_refused();
	test_early();
	test_cut();
	return tap_done();
}
