/*
 * Reading the store while it moves: random operations against a model, with
 * freezes and checkpoints in between; a reader in another process that must
 * see whole records only; SCAN's promise that no key is missed that exists all
 * along; patterns; random keys. Seeds are printed.
 */
#include "t/lib/store_rig.h"

#include <signal.h>
#include <sys/wait.h>

static unsigned seed;

static unsigned
dice(unsigned sides)
{
	return (unsigned)rand_r(&seed) % sides;
}

/* ---- a model ---- */

#define MODEL_KEYS 300
#define STEPS      20000

struct model {
	bool there;
	unsigned value;
	int64_t expire_ms;
};

static struct model model[MODEL_KEYS];

static size_t
model_key(char *to, size_t n, unsigned i)
{
	/* Some long ones, some that share a beginning, one empty. */
	if (i == 0)
		return 0;
	if (i % 7 == 0)
		return (size_t)snprintf(to, n, "%0*u", 100 + (int)i, i);
	return (size_t)snprintf(to, n, "k:%u", i);
}

/* Values of every third key are long enough for chunks. */
static size_t
model_value(uint8_t *to, unsigned i, unsigned value)
{
	size_t n = i % 3 == 0 ? 3000 + i * 10 : 8, at;

	for (at = 0; at < n; at++)
		to[at] = (uint8_t)(value + at * 7 + i);
	return n;
}

static bool
model_live(const struct model *m, int64_t now_ms)
{
	return m->there && (m->expire_ms == 0 || now_ms <= m->expire_ms);
}

static void
model_set(struct rig *g, unsigned i)
{
	static uint8_t value[8192];
	char key[512];
	struct op_arg argv[] = { { (const uint8_t *)key, 0 }, { value, 0 } };

	model[i].there = true;
	model[i].value = dice(1000);
	model[i].expire_ms = dice(4) == 0 ? g->now_ms + dice(50) + 1 : 0;
	argv[0].len = (uint32_t)model_key(key, sizeof(key), i);
	argv[1].len = (uint32_t)model_value(value, i, model[i].value);
	rig_op(g, OP_SET, 0, model[i].expire_ms, 2, argv);
}

static void
model_del(struct rig *g, unsigned i)
{
	char key[512];
	struct op_arg arg = { (const uint8_t *)key, 0 };

	/* An expired one stays, hidden, until its own record comes. */
	if (model_live(&model[i], g->now_ms))
		model[i].there = false;
	arg.len = (uint32_t)model_key(key, sizeof(key), i);
	rig_op(g, OP_DEL, 0, 0, 1, &arg);
}

static bool
model_agrees(struct rig *g, unsigned i)
{
	static uint8_t want[8192], got[8192];
	char key[512];
	size_t n = model_key(key, sizeof(key), i), len;
	struct kv_item item;
	int rc = kv_get(g->reader, key, n, g->now_ms, &item);

	if (!model_live(&model[i], g->now_ms))
		return rc == -ENOENT;
	len = model_value(want, i, model[i].value);
	return rc == 0 && item.len == len &&
	       item.expire_ms == model[i].expire_ms &&
	       kv_copy(g->reader, &item, 0, len, got) == 0 &&
	       memcmp(want, got, len) == 0;
}

struct seen {
	unsigned count[MODEL_KEYS];
	unsigned strange, all;
};

static unsigned
model_index(const void *key, size_t n)
{
	char text[512];
	unsigned i;

	for (i = 0; i < MODEL_KEYS; i++)
		if (model_key(text, sizeof(text), i) == n &&
		    memcmp(text, key, n) == 0)
			return i;
	return MODEL_KEYS;
}

static void
seen_add(void *arg, const void *key, size_t n)
{
	struct seen *s = arg;
	unsigned i = model_index(key, n);

	s->all++;
	if (i < MODEL_KEYS)
		s->count[i]++;
	else
		s->strange++;
}

static bool
seen_add_once(void *arg, const void *key, size_t n)
{
	seen_add(arg, key, n);
	return true;
}

/* KEYS gives each live key once, and nothing else. */
static bool
each_agrees(struct rig *g)
{
	struct seen s = { 0 };
	unsigned i, live = 0, bad = 0;

	if (kv_refresh(g->reader) != 0 ||
	    kv_each(g->reader, g->now_ms, seen_add_once, &s) != 0)
		return false;
	for (i = 0; i < MODEL_KEYS; i++) {
		live += model_live(&model[i], g->now_ms);
		bad += s.count[i] != (model_live(&model[i], g->now_ms) ? 1 : 0);
	}
	return bad == 0 && s.strange == 0 && s.all == live;
}

static void
turn(struct rig *g)
{
	bool frozen = table_view_frozen(atomic_load(&g->r.table->view));

	if (frozen && dice(2) == 0) {
		/* A pinned reader would be in the way of leaving. */
		rig_must(rig_checkpoint(g));
	} else if (!frozen && rig_freeze(g) != 0) {
		abort();
	}
}

static void
test_model(void)
{
	struct rig g;
	unsigned step, i, bad = 0, bad_each = 0, freezes = 0;
	bool whole;
	char why[256];

	memset(model, 0, sizeof(model));
	rig_open(&g, 8 << 20);
	g.reader = rig_kv(&g, SLOT_GATEWAY);
	for (step = 0; step < STEPS; step++) {
		i = dice(MODEL_KEYS);
		g.now_ms += dice(3);
		if (dice(2000) == 0) {
			rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
			memset(model, 0, sizeof(model));
		} else if (dice(3) == 0) {
			model_del(&g, i);
		} else {
			model_set(&g, i);
		}
		if (dice(100) == 0) {
			turn(&g);
			freezes++;
		}
		rig_must(kv_begin(g.reader));
		bad += !model_agrees(&g, i);
		bad += !model_agrees(&g, dice(MODEL_KEYS));
		if (dice(500) == 0)
			bad_each += !each_agrees(&g);
		kv_end(g.reader);
	}
	is_u64(bad, 0, "each key is as the model has it");
	is_u64(bad_each, 0, "KEYS gives each live key once");
	diag("%u steps, %u freezes or checkpoints", STEPS, freezes);
	while (table_view_frozen(atomic_load(&g.r.table->view)) ||
	       atomic_load(&g.w.g->used) > 1)
		turn(&g);
	for (i = 0, bad = 0, step = 0; i < MODEL_KEYS; i++)
		step += model[i].there;
	is_u64(rig_state(&g).keys, step, "the count on disk is exact");
	is_i64(
	    store_db_verify(&g.db, 10 * NS_PER_S, 1, &whole, why, sizeof(why)),
	    0, "the whole store verifies");
	ok(whole, "and was looked at as a whole");
	rig_close(&g);
}

/* ---- a moment that is read bit by bit ---- */

#define HELD_KEYS 50

static struct op_arg
held_key(char *to, size_t n, unsigned i)
{
	struct op_arg key = { (const uint8_t *)to, 0 };

	key.len = (uint32_t)snprintf(to, n, "held%u", i);
	return key;
}

static void
held_set(struct rig *g, unsigned i, unsigned value)
{
	char key[16], text[16];
	struct op_arg argv[2] = { held_key(key, sizeof(key), i) };

	argv[1].data = (const uint8_t *)text;
	argv[1].len = (uint32_t)snprintf(text, sizeof(text), "%u", value);
	rig_op(g, OP_SET, 0, 0, 2, argv);
}

/* Keys from..to are what they were when all had `value` in the moment. */
static int
held_agree(struct rig *g, struct kv_moment *m, unsigned from, unsigned to,
    unsigned value)
{
	char key[16], want[16];
	struct kv_item item;
	unsigned i, n;
	int rc = 0;

	rig_must(kv_begin(g->reader));
	rc = kv_hold(g->reader, m);
	n = (unsigned)snprintf(want, sizeof(want), "%u", value);
	for (i = from; i < to && rc == 0; i++) {
		struct op_arg k = held_key(key, sizeof(key), i);

		rc = kv_get(g->reader, k.data, k.len, g->now_ms, &item);
		if (rc == 0 && (item.len != n || item.data == NULL ||
				   memcmp(item.data, want, n) != 0))
			rc = -EILSEQ;
	}
	kv_end(g->reader);
	return rc;
}

static void
test_hold(void)
{
	struct kv_moment m = { 0 };
	uint8_t uuid[16] = { 1 };
	struct checkpoint_work work;
	struct table_gen *frozen;
	struct op_arg key;
	struct kv_item item;
	char text[16];
	struct rig g;
	unsigned i;

	rig_open(&g, 8 << 20);
	g.reader = rig_kv(&g, SLOT_GATEWAY);
	for (i = 0; i < HELD_KEYS; i++)
		held_set(&g, i, 1);
	is_i64(held_agree(&g, &m, 0, 10, 1), 0, "a moment is taken");
	for (i = 0; i < HELD_KEYS; i++)
		held_set(&g, i, 2);
	key = held_key(text, sizeof(text), 3);
	rig_op(&g, OP_DEL, 0, 0, 1, &key);
	is_i64(held_agree(&g, &m, 0, HELD_KEYS, 1), 0,
	    "changes and deletions behind it are not seen");
	rig_must(kv_begin(g.reader));
	is_i64(kv_get(g.reader, key.data, key.len, g.now_ms, &item), -ENOENT,
	    "but by who does not hold it");
	kv_end(g.reader);

	held_set(&g, 3, 2);
	rig_must(rig_freeze(&g));
	is_i64(held_agree(&g, &m, 0, 1, 1), -EAGAIN, "a freeze ends it");
	memset(&m, 0, sizeof(m));
	is_i64(held_agree(&g, &m, 0, 10, 2), 0, "another is taken");
	for (i = 0; i < HELD_KEYS; i++)
		held_set(&g, i, 3);
	is_i64(held_agree(&g, &m, 0, HELD_KEYS, 2), 0, "in two tables");
	frozen =
	    table_gen_at(g.r.table, (atomic_load(&g.r.table->view) >> 1) - 1);
	is_i64(
	    checkpoint_write(&g.db, g.r.table, frozen, uuid, NULL, NULL, &work),
	    0, "the frozen one is written");
	is_i64(held_agree(&g, &m, 0, HELD_KEYS, 2), 0, "also on disk");
	rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
	is_i64(
	    held_agree(&g, &m, 0, HELD_KEYS, 2), -EAGAIN, "a FLUSHALL ends it");
	rig_close(&g);
}

/* ---- a reader in another process ---- */

#define PAIRS  20
#define ROUNDS 6000

/* MSET writes the same number to all keys: any two that differ are torn. */
static int
reader_run(struct rig *g, _Atomic uint64_t *stop)
{
	struct kv *kv;
	struct op_arg argv[PAIRS];
	char key[PAIRS][16];
	uint8_t p[1024];
	struct vbuf out = { 0 };
	struct value v, first;
	const uint8_t *at;
	struct op op;
	uint64_t reads = 0, hits = 0;
	unsigned i;

	rig_must(kv_open(&kv, &g->r, g->path, SLOT_GATEWAY, false));
	for (i = 0; i < PAIRS; i++) {
		argv[i].len =
		    (uint32_t)snprintf(key[i], sizeof(key[i]), "pair%u", i);
		argv[i].data = (const uint8_t *)key[i];
	}
	op_encode(p, OP_MGET, 0, 0, PAIRS, argv);
	if (op_decode(p, op_size(PAIRS, argv), &op) != 0)
		return 1;
	while (atomic_load(stop) == 0) {
		vbuf_clear(&out);
		if (kv_read(kv, &op, 0, &out) != 0)
			return 2;
		at = out.data;
		value_next(&at, out.data + out.len, &v);
		value_next(&at, out.data + out.len, &first);
		hits += first.tag == VAL_BULK;
		for (i = 1; i < PAIRS; i++) {
			value_next(&at, out.data + out.len, &v);
			if (v.tag != first.tag || v.len != first.len ||
			    (v.len != 0 &&
				memcmp(v.data, first.data, v.len) != 0))
				return 3;
		}
		reads++;
	}
	vbuf_free(&out);
	kv_close(kv);
	return reads > 100 && hits > 0 ? 0 : 4;
}

static void
write_pairs(struct rig *g, unsigned round)
{
	struct op_arg argv[2 * PAIRS];
	char key[PAIRS][16], value[16];
	unsigned i, n = (unsigned)snprintf(value, sizeof(value), "%u", round);

	for (i = 0; i < PAIRS; i++) {
		argv[2 * i].len =
		    (uint32_t)snprintf(key[i], sizeof(key[i]), "pair%u", i);
		argv[2 * i].data = (const uint8_t *)key[i];
		argv[2 * i + 1].data = (const uint8_t *)value;
		argv[2 * i + 1].len = n;
	}
	if (dice(50) == 0)
		rig_op(g, OP_FLUSHALL, 0, 0, 0, NULL);
	rig_op(g, OP_MSET, 0, 0, 2 * PAIRS, argv);
}

/*
 * map_size was raised: a reader whose map is as the files say finds it too
 * small once the writer has used more, and follows.
 */
static int
small_map_run(struct rig *g, int in, int out)
{
	struct kv_item item;
	struct kv *kv;
	char c = 0;
	int rc;

	rig_must(kv_open(&kv, &g->r, g->path, SLOT_GATEWAY, false));
	/* Rounded up to what is in use. */
	if (mdb_env_set_mapsize(kv->db.env, 4096) != 0 ||
	    write(out, &c, 1) != 1 || read(in, &c, 1) != 1)
		return 1;
	if ((rc = kv_begin(kv)) != 0)
		return 2;
	if (kv_get(kv, "grown9", 6, 0, &item) != 0 || item.len != 60000)
		return 3;
	kv_end(kv);
	kv_close(kv);
	return 0;
}

static void
test_map_grows(void)
{
	static uint8_t value[60000];
	struct op_arg argv[2] = { { NULL, 6 }, { value, sizeof(value) } };
	int to[2], from[2], status = -1;
	char key[8], c = 0;
	struct rig g;
	unsigned i;
	pid_t pid;

	rig_open(&g, 8 << 20);
	if (pipe(to) != 0 || pipe(from) != 0)
		abort();
	if ((pid = fork()) == 0)
		_exit(small_map_run(&g, to[0], from[1]));
	ok(read(from[0], &c, 1) == 1, "a reader has a small map");
	for (i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "grown%u", i);
		argv[0].data = (const uint8_t *)key;
		rig_must(rig_op(&g, OP_SET, 0, 0, 2, argv));
	}
	rig_must(rig_freeze(&g));
	rig_must(rig_checkpoint(&g));
	ok(write(to[1], &c, 1) == 1, "a checkpoint goes beyond it");
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "the reader follows (status %#x)", status);
	close(to[0]);
	close(to[1]);
	close(from[0]);
	close(from[1]);
	rig_close(&g);
}

/* As the store does it: a checkpoint's end waits for readers to leave. */
static int
checkpoint_beside_readers(struct rig *g)
{
	struct table_head *t = g->r.table;
	uint64_t number = atomic_load(&t->view) >> 1;
	struct table_gen *frozen = table_gen_at(t, number - 1);
	struct checkpoint_work work;
	uint8_t uuid[16] = { 0 };
	int rc;

	rc = checkpoint_write(&g->db, t, frozen, uuid, NULL, NULL, &work);
	if (rc != 0)
		return rc;
	table_drop(&g->w);
	if (!wait_until(table_leave(&g->w), TAP_WAIT_MS))
		return -ETIME;
	rc = table_clean(t, frozen);
	return rc != 0 ? rc : kv_renew(g->kv);
}

static void
test_reader_process(void)
{
	_Atomic uint64_t *stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct rig g;
	unsigned round, checkpoints = 0;
	int status, rc = 0;
	pid_t pid;

	rig_open(&g, 8 << 20);
	pid = fork();
	if (pid == 0)
		_exit(reader_run(&g, stop));
	for (round = 0; round < ROUNDS && rc == 0; round++) {
		write_pairs(&g, round);
		if (round % 40 != 0)
			continue;
		rc = rig_freeze(&g);
		write_pairs(&g, round);
		if (rc == 0)
			rc = checkpoint_beside_readers(&g);
		checkpoints++;
	}
	is_i64(rc, 0, "writes, freezes and checkpoints went through");
	atomic_store(stop, 1);
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "MGET saw whole records through %u checkpoints (status %#x)",
	    checkpoints, status);
	munmap(stop, 4096);
	rig_close(&g);
}

/* ---- SCAN ---- */

/*
 * Keys that exist all along are given at least once, whatever is written,
 * frozen and checkpointed between the steps.
 */
static void
test_scan(void)
{
	struct rig g;
	struct kv_scan pos;
	struct seen s;
	unsigned i, round, missed = 0, steps = 0, strange = 0;

	rig_open(&g, 8 << 20);
	g.reader = rig_kv(&g, SLOT_GATEWAY);
	for (round = 0; round < 30; round++) {
		memset(&s, 0, sizeof(s));
		memset(&pos, 0, sizeof(pos));
		/* Odd keys exist all along, in all places; even ones come
		   and go. */
		for (i = 1; i < MODEL_KEYS; i += 2) {
			model_set(&g, i);
			if (dice(60) == 0)
				turn(&g);
		}
		g.now_ms = 0; /* nothing expires */
		while (!pos.done) {
			rig_must(kv_scan(
			    g.reader, &pos, 1 + dice(20), 0, seen_add, &s));
			steps++;
			for (i = 0; i < 5; i++) {
				model_set(&g, dice(MODEL_KEYS));
				model_del(&g, dice(MODEL_KEYS / 2) * 2);
			}
			if (dice(8) == 0)
				turn(&g);
		}
		for (i = 1; i < MODEL_KEYS; i += 2)
			missed += s.count[i] == 0;
		strange += s.strange;
	}
	is_u64(missed, 0, "no key was missed that existed all along");
	is_u64(strange, 0, "no key was given that never existed");
	diag("%u steps", steps);
	memset(&pos, 0, sizeof(pos));
	rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
	memset(&s, 0, sizeof(s));
	while (!pos.done)
		rig_must(kv_scan(g.reader, &pos, 100, 0, seen_add, &s));
	is_u64(s.all, 0, "after FLUSHALL there is nothing");
	rig_close(&g);
}

/* How many steps a SCAN takes that asks for one key at a time. */
static unsigned
scan_steps(struct rig *g, struct seen *s)
{
	struct kv_scan pos = { 0 };
	unsigned steps = 0;

	memset(s, 0, sizeof(*s));
	for (; !pos.done && steps < 100000; steps++)
		rig_must(kv_scan(g->reader, &pos, 1, 0, seen_add, s));
	return steps;
}

static void
many_on_disk(struct rig *g, unsigned keys)
{
	char key[32];
	unsigned i;

	for (i = 0; i < keys; i++) {
		snprintf(key, sizeof(key), "dead:%u", i);
		rig_must(rig_set(g, key, "1"));
	}
	rig_must(rig_freeze(g));
	rig_must(rig_checkpoint(g));
}

/* What is dead is gone over by the dozen, or not at all. */
static void
test_scan_dead(void)
{
	const unsigned dead = 3000;
	struct rig g;
	struct seen s;
	char key[32];
	unsigned i, steps;

	rig_open(&g, 8 << 20);
	g.reader = rig_kv(&g, SLOT_GATEWAY);
	for (i = 1; i <= 3; i++)
		model_set(&g, i);
	many_on_disk(&g, dead);
	for (i = 0; i < dead; i++) {
		snprintf(key, sizeof(key), "dead:%u", i);
		rig_must(rig_del(&g, key));
	}
	steps = scan_steps(&g, &s);
	is_u64(s.all, 3, "three keys among 3,000 deleted ones");
	ok(steps < dead / 16, "in %u steps", steps);
	rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
	rig_must(rig_freeze(&g));
	rig_must(rig_checkpoint(&g));
	many_on_disk(&g, dead);
	rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
	for (i = 1; i <= 3; i++)
		model_set(&g, i);
	steps = scan_steps(&g, &s);
	is_u64(s.all, 3, "three keys after a FLUSHALL");
	ok(steps < 20, "in %u steps: nobody walks over the disk", steps);
	rig_must(rig_freeze(&g));
	model_set(&g, 5);
	steps = scan_steps(&g, &s);
	is_u64(s.all, 4, "four with a new generation before it");
	ok(steps < 40, "in %u steps", steps);
	rig_op(&g, OP_FLUSHALL, 0, 0, 0, NULL);
	model_set(&g, 7);
	steps = scan_steps(&g, &s);
	is_u64(s.all, 1, "one after another FLUSHALL");
	ok(steps < 20, "in %u steps: the frozen one is passed over", steps);
	rig_close(&g);
}

/* A position that a client made up ends somewhere, and harms nothing. */
static void
test_scan_nonsense(void)
{
	struct rig g;
	struct kv_scan pos;
	struct seen s = { 0 };
	unsigned i, steps = 0;

	rig_open(&g, 8 << 20);
	for (i = 1; i < 50; i++)
		model_set(&g, i);
	g.reader = rig_kv(&g, SLOT_GATEWAY);
	for (i = 0; i < 200; i++) {
		memset(&pos, 0, sizeof(pos));
		pos.generation = dice(5);
		pos.bucket = dice(2) == 0 ? dice(100000) : UINT64_MAX - dice(9);
		pos.stage = (uint8_t)dice(3);
		pos.key_len = (uint16_t)dice(KEY_MAX + 1);
		for (steps = 0; !pos.done && steps < 1000; steps++)
			rig_must(kv_scan(g.reader, &pos, 10, 0, seen_add, &s));
		if (!pos.done)
			break;
	}
	is_u64(i, 200, "200 made-up positions come to an end");
	is_u64(s.strange, 0, "and give real keys only");
	rig_close(&g);
}

static void
test_random(void)
{
	struct rig g;
	uint8_t key[KEY_MAX + 1];
	size_t n;
	unsigned i, got[3] = { 0 };

	rig_open(&g, 8 << 20);
	is_i64(kv_random(g.kv, 0, key, &n), -ENOENT, "nothing in nothing");
	rig_set(&g, "disk", "1");
	rig_freeze(&g);
	rig_must(rig_checkpoint(&g));
	rig_set(&g, "frozen", "1");
	rig_freeze(&g);
	rig_set(&g, "active", "1");
	for (i = 0; i < 3000; i++) {
		rig_must(kv_random(g.kv, 0, key, &n));
		got[0] += n == 4 && memcmp(key, "disk", n) == 0;
		got[1] += n == 6 && memcmp(key, "frozen", n) == 0;
		got[2] += n == 6 && memcmp(key, "active", n) == 0;
	}
	is_u64(got[0] + got[1] + got[2], 3000, "RANDOMKEY gives keys that are");
	ok(got[0] > 0 && got[1] > 0 && got[2] > 0, "of every place: %u %u %u",
	    got[0], got[1], got[2]);
	rig_del(&g, "disk");
	rig_del(&g, "frozen");
	for (i = 0; i < 100; i++)
		if (kv_random(g.kv, 0, key, &n) != 0 || n != 6 ||
		    memcmp(key, "active", 6) != 0)
			break;
	is_u64(i, 100, "and never one that is deleted");
	rig_close(&g);
}

/* The disk has been slow every time. */
static bool
slow_disk(void *arg)
{
	(*(unsigned *)arg)++;
	return true;
}

/* A reader learns of looks at the disk, and walks stop after each. */
static void
test_on_disk(void)
{
	const struct op keys = { .code = OP_KEYS,
		.argc = 1,
		.args = (const uint8_t *)"\1\0\0\0*",
		.end = (const uint8_t *)"\1\0\0\0*" + 5 };
	unsigned i, asked = 0, steps = 0;
	struct vbuf out = { 0 };
	struct kv_scan pos;
	struct kv_item item;
	struct seen s;
	struct rig g;

	rig_open(&g, 8 << 20);
	g.reader = rig_kv(&g, SLOT_GATEWAY);
	g.now_ms = 0;
	for (i = 200; i < MODEL_KEYS; i++)
		model_set(&g, i);
	rig_freeze(&g);
	rig_must(rig_checkpoint(&g));
	rig_set(&g, "fresh", "1");
	rig_must(kv_begin(g.reader));
	(void)kv_was_on_disk(g.reader);
	rig_must(kv_get(g.reader, "fresh", 5, 0, &item));
	ok(!kv_was_on_disk(g.reader), "a look at the table is none");
	rig_must(kv_get(g.reader, "k:297", 5, 0, &item));
	ok(kv_was_on_disk(g.reader), "one at the disk is");
	ok(!kv_was_on_disk(g.reader), "and is told once");
	ok(item.data == NULL && kv_piece(g.reader, &item) < item.len,
	    "a long value is in pieces");
	rig_must(kv_copy(g.reader, &item, 0, 10, (uint8_t[10]){ 0 }));
	ok(kv_was_on_disk(g.reader), "each is a look at the disk");
	kv_set_over(g.reader, slow_disk, &asked);
	is_i64(kv_read(g.reader, &keys, 0, &out), -EBUSY,
	    "KEYS gives up after the first");
	is_u64(asked, 1, "that is");
	memset(&s, 0, sizeof(s));
	memset(&pos, 0, sizeof(pos));
	for (; !pos.done; steps++)
		rig_must(kv_scan(g.reader, &pos, 1000, 0, seen_add, &s));
	ok(steps >= 100, "SCAN stops after each: %u steps", steps);
	is_u64(s.all, 101, "and gives all of them");
	kv_end(g.reader);
	vbuf_free(&out);
	rig_close(&g);
}

int
main(int argc, char **argv)
{
	seed = argc > 1 ? (unsigned)atoi(argv[1]) : (unsigned)mono_ns();
	diag("seed %u", seed);
	test_random();
	test_on_disk();
	test_scan();
	test_scan_dead();
	test_scan_nonsense();
	test_model();
	test_hold();
	test_reader_process();
	test_map_grows();
	return tap_done();
}
