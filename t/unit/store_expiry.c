/*
 * The store's expiry alone, the test in the place of wal: when it wakes up,
 * what it asks for, and how much of it at a time.
 */
#include "t/lib/store_rig.h"
#include "t/lib/wal_harness.h"
#include "workers/store/store.h"

#define NOW_NS (1000 * NS_PER_S)

static struct node {
	struct rig g;
	struct harness h;
	struct region r; /* the harness' with the rig's table */
	struct store s;
} n;

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
	n.g.now_ms = wall_ms();
	n.s.w = &n.h.worker;
	n.s.r = &n.r;
	n.s.kv = n.g.kv;
	n.s.table = n.g.w;
	n.s.loop.region = &n.r;
	n.s.loop.bells = &n.h.worker.bells;
	n.s.loop.now_ns = NOW_NS;
	store_expiry_open(&n.s);
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

int
main(void)
{
	test_deadline();
	return tap_done();
}
