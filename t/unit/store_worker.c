/*
 * The store and checkpoint workers whole, beside a real wal: results, payloads
 * in parts, logged expiry, freezing and checkpoints, kill -9 of checkpoint and
 * of all, both tables full, no memory, a full result ring, a client's death,
 * boots that must be refused, a log that cannot be read, readonly recovery.
 */
#include "t/lib/openat_refused.h"
#include "t/lib/wal_harness.h"

#include <sys/resource.h>

#include "shm/kv/kv.h"
#include "shm/kv/op.h"
#include "shm/kv/room.h"
#include "shm/kv/table.h"
#include "shm/process.h"
#include "shm/trouble.h"

#define LOG_READ SEGMENT_BLOCK_MAX /* nothing else is read in such pieces */

/* Reads of the log by the store fail from this place in a file on. */
static _Atomic int64_t *unread_from;
static bool in_store;

ssize_t
pread(int fd, void *buf, size_t n, off_t at)
{
	struct iovec iov = { buf, n };

	if (!in_store || n < LOG_READ || at < atomic_load(unread_from))
		return preadv2(fd, &iov, 1, at, 0);
	errno = EIO;
	return -1;
}

ssize_t
pread64(int fd, void *buf, size_t n, off_t at) __attribute__((alias("pread")));

/* This many times the store cannot open wal/: the machine has no descriptor. */
static _Atomic int64_t *unopened;

static bool
openat_refused(const char *path)
{
	if (!in_store || strcmp(path, "wal") != 0 || atomic_load(unopened) <= 0)
		return false;
	atomic_fetch_sub(unopened, 1);
	return true;
}

struct node {
	struct harness h;
	struct worker store, checkpoint;
	pid_t store_pid, checkpoint_pid;
	struct bytering result;
	struct vbuf got; /* values of the newest whole result */
	uint32_t got_seq;
	uint64_t term;
	struct kv *kv;
};

static void
fork_checkpoint(struct node *n)
{
	n->checkpoint = n->h.worker;
	n->checkpoint.slot = SLOT_CHECKPOINT;
	n->checkpoint.data_dir = dup(n->h.data_dir);
	fflush(stdout);
	n->checkpoint_pid = fork();
	if (n->checkpoint_pid == 0)
		_exit(checkpoint_main(&n->checkpoint));
	close(n->checkpoint.data_dir);
}

static void
fork_store(struct node *n)
{
	n->store = n->h.worker;
	n->store.slot = SLOT_STORE;
	n->store.data_dir = dup(n->h.data_dir);
	fflush(stdout);
	n->store_pid = fork();
	if (n->store_pid == 0) {
		in_store = true;
		_exit(store_main(&n->store));
	}
	close(n->store.data_dir);
}

/* Boot up to `phase`: 0, or negative with the region's error. */
static int
node_boot(struct node *n, enum phase phase)
{
	struct sequencer *seq;

	h_region(&n->h);
	seq = n->h.region.seq;
	seq_register(seq, PHASE_WAL_RECOVERY, SLOT_WAL, "wal");
	seq_register(seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_STORE, "store");
	seq_register(
	    seq, PHASE_CLUSTER_CATALOG_OPEN, SLOT_CHECKPOINT, "checkpoint");
	seq_register(seq, PHASE_CATALOG_SANITY_CHECK, SLOT_STORE, "check");
	seq_register(seq, PHASE_DATA_GROUPS_REPLAY, SLOT_STORE, "replay");
	seq_seal(seq);
	atomic_store(&n->h.region.control->checkpoint_wal, UINT64_C(1) << 40);
	n->h.worker.data_dir = dup(n->h.data_dir);
	fflush(stdout);
	n->h.pid = fork();
	if (n->h.pid == 0)
		_exit(wal_main(&n->h.worker));
	close(n->h.worker.data_dir);
	fork_checkpoint(n);
	fork_store(n);
	region_ring(&n->h.region, CLIENT_GATEWAY, RING_RESULT, &n->result);
	return seq_wait(
	    seq, phase, mono_ns() + H_WAIT_MS * NS_PER_MS, NULL, NULL);
}

/* The kv of this process, as a gateway has it. */
static void
node_read(struct node *n)
{
	char path[96];
	int rc;

	snprintf(path, sizeof(path), "%s/store", n->h.dir);
	rc = kv_open(&n->kv, &n->h.region, path, SLOT_GATEWAY, n->h.readonly);
	if (rc != 0) {
		diag("kv_open: %s", strerror(-rc));
		abort();
	}
}

static void
node_start(struct node *n)
{
	int rc = node_boot(n, PHASE_DATA_GROUPS_REPLAY);

	if (rc != 0) {
		diag("boot: %s: %s", strerror(-rc), n->h.region.seq->error);
		abort();
	}
	h_elect(&n->h, ++n->term);
	/* What no batch header said was committed is so with the term. */
	if (!wait_until(commit_can_read(&n->h.region), H_WAIT_MS))
		diag("the term's first record was not applied");
	node_read(n);
}

static void
end_pid(pid_t *pid)
{
	int status;

	if (*pid > 0) {
		kill(*pid, SIGKILL);
		waitpid(*pid, &status, 0);
	}
	*pid = 0;
}

/* Who writes a checkpoint ends with its parent, as soon as it is its turn. */
static void
node_kill(struct node *n)
{
	int writer = process_child(n->checkpoint_pid);

	kv_close(n->kv);
	n->kv = NULL;
	end_pid(&n->store_pid);
	end_pid(&n->checkpoint_pid);
	h_kill(&n->h);
	if (writer > 0 && !wait_until(kill(writer, 0) != 0, H_WAIT_MS))
		diag("pid %d still writes a checkpoint", writer);
}

static void
node_new(struct node *n)
{
	memset(n, 0, sizeof(*n));
	h_new(&n->h, "/tmp");
	n->h.conf.store.map_size = UINT64_C(1) << 30;
}

static void
node_free(struct node *n)
{
	vbuf_free(&n->got);
	h_free(&n->h);
}

static uint64_t
count_of(const struct node *n, enum counter which)
{
	return counter_sum(n->h.region.counters, which);
}

/* ---- requests and results ---- */

/* Push a payload, in parts if it is long. */
static void
send_payload(
    struct node *n, uint8_t type, const uint8_t *p, size_t len, bool want)
{
	uint8_t flags = want ? REQ_WANT_RESULT : 0;
	uint32_t part;

	while (len > 0) {
		part = len < REQ_PART_MAX ? (uint32_t)len : REQ_PART_MAX;
		if (!wait_until(
			(h_ring(&n->h), h_answers(&n->h),
			    h_push(&n->h, type,
				(uint8_t)(flags | (part < len ? REQ_MORE : 0)),
				p, part)),
			H_WAIT_MS))
			abort();
		p += part;
		len -= part;
	}
	h_ring(&n->h);
}

/* Take results; true when the one of the newest request is whole. */
static bool
result_of_newest(struct node *n)
{
	const struct store_res *res;
	uint32_t len;
	bool more;

	h_answers(&n->h);
	while ((res = bytering_peek(&n->result, &len)) != NULL) {
		if (n->got_seq != res->seq)
			vbuf_clear(&n->got);
		n->got_seq = res->seq;
		vbuf_put(&n->got, res + 1, len - sizeof(*res));
		more = (res->flags & RES_MORE) != 0;
		bytering_advance(&n->result, len);
		bytering_consume(&n->result);
		if (atomic_load(
			&n->h.region.slots->row[SLOT_STORE].busy_with) ==
		    BUSY_RESULT)
			bell_ring(&n->h.worker.bells, SLOT_STORE);
		if (!more && n->got_seq == n->h.seq)
			return true;
	}
	return false;
}

static bool
op(struct node *n, uint16_t code, int64_t num, const char *key,
    const void *value, size_t len, bool want)
{
	struct op_arg argv[] = { { (const uint8_t *)key,
				     (uint32_t)strlen(key) },
		{ value, (uint32_t)len } };
	uint32_t argc = value != NULL ? 2 : 1;
	size_t size = op_size(argc, argv);
	uint8_t *p = malloc(size);

	op_encode(p, code, 0, num, argc, argv);
	send_payload(n, REC_OP, p, size, want);
	free(p);
	return !want || wait_until(result_of_newest(n), H_WAIT_MS);
}

static bool
set(struct node *n, const char *key, const char *value)
{
	return op(n, OP_SET, 0, key, value, strlen(value), true);
}

static int64_t
got_int(const struct node *n)
{
	if (n->got.len != 9 || n->got.data[0] != VAL_INT)
		return INT64_MIN;
	return (int64_t)get_le64(n->got.data + 1);
}

/* Everything answered is applied. */
static bool
all_applied(struct node *n)
{
	bool answered = h_answered(&n->h);
	uint64_t end = n->h.acked_vlsn;

	position_raise(&n->h.region.pos->apply_wanted, end);
	bell_ring(&n->h.worker.bells, SLOT_STORE);
	h_ring(&n->h);
	return answered && position_get(&n->h.region.pos->applied) >= end;
}

static bool
has_value(struct node *n, const char *key, const void *want, size_t len)
{
	struct kv_item item;
	uint8_t *got = malloc(len + 1);
	bool same = false;

	if (kv_begin(n->kv) == 0) {
		same = kv_get(n->kv, key, strlen(key), 0, &item) == 0 &&
		       item.len == len &&
		       kv_copy(n->kv, &item, 0, len, got) == 0 &&
		       memcmp(got, want, len) == 0;
		kv_end(n->kv);
	}
	free(got);
	return same;
}

static bool
is_missing(struct node *n, const char *key)
{
	struct kv_item item;
	bool missing = false;

	if (kv_begin(n->kv) == 0) {
		missing = kv_get(n->kv, key, strlen(key), 0, &item) == -ENOENT;
		kv_end(n->kv);
	}
	return missing;
}

/* DBSIZE, as a gateway asks for it; -1 if it never came. */
static int64_t
dbsize(struct node *n)
{
	uint8_t p[OP_HEADER_SIZE];
	struct vbuf out = { 0 };
	struct op o;
	int64_t size = -1;

	op_encode(p, OP_DBSIZE, 0, 0, 0, NULL);
	if (op_decode(p, sizeof(p), &o) == 0 &&
	    wait_until((vbuf_clear(&out), kv_read(n->kv, &o, 0, &out) == 0),
		H_WAIT_MS))
		size = (int64_t)get_le64(out.data + 1);
	vbuf_free(&out);
	return size;
}

static void
ask_checkpoint(struct node *n)
{
	atomic_fetch_add(&n->h.region.control->checkpoint_wanted, 1);
	bell_ring(&n->h.worker.bells, SLOT_STORE);
}

static bool
checkpoint_done(const struct node *n)
{
	const struct control *c = n->h.region.control;

	return atomic_load(&c->checkpoint_done) ==
	       atomic_load(&c->checkpoint_wanted);
}

/* ---- tests ---- */

static void
test_results(void)
{
	size_t len = 700000, at;
	uint8_t *big = malloc(len);
	struct node n;

	for (at = 0; at < len; at++)
		big[at] = (uint8_t)(at * 7 + at / 1000);
	node_new(&n);
	node_start(&n);
	ok(op(&n, OP_INCRBY, 5, "n", NULL, 0, true), "INCRBY is answered");
	is_i64(got_int(&n), 5, "by the store");
	ok(op(&n, OP_SET, 0, "big", big, len, true),
	    "a payload in parts is answered");
	ok(n.got.len == 1 && n.got.data[0] == VAL_OK, "with OK");
	ok(has_value(&n, "big", big, len), "and is there");
	ok(op(&n, OP_GETSET, 0, "big", "x", 1, true),
	    "a result in pieces arrives");
	ok(n.got.len == len + 5 && n.got.data[0] == VAL_BULK &&
		memcmp(n.got.data + 5, big, len) == 0,
	    "as it was");
	is_i64(dbsize(&n), 2, "DBSIZE");
	ok(wait_until(count_of(&n, C_STORE_RESULTS) == 3, H_WAIT_MS),
	    "results are counted");
	ok(count_of(&n, C_STORE_APPLIED) >= 3, "so are records");
	ok(hist_of(n.h.region.hists, SLOT_STORE, H_APPLY)->count > 0 &&
		hist_of(n.h.region.hists, SLOT_STORE, H_APPLY_RECORDS)->count >
		    0,
	    "histograms move");
	node_kill(&n);
	node_free(&n);
	free(big);
}

/*
 * Nobody takes the results: apply waits, drops nothing, and goes on when
 * there is room. When the client is another one, what was for the old goes.
 */
static void
test_full_ring(void)
{
	size_t len = 60000, i;
	uint8_t *value = malloc(len);
	struct node n;
	struct slot_row *row;
	unsigned seen = 0;

	memset(value, 'v', len);
	node_new(&n);
	node_start(&n);
	row = &n.h.region.slots->row[SLOT_STORE];
	op(&n, OP_SET, 0, "k", value, len, true);
	for (i = 0; i < 20; i++)
		op(&n, OP_APPEND, 0, "other", "x", 1, false);
	for (i = 0; i < 10; i++) {
		struct op_arg arg = { (const uint8_t *)"k", 1 };
		uint8_t p[64];

		/* GETEX of nothing: a write that returns the value. */
		op_encode(p, OP_GETEX, 0, 0, 1, &arg);
		send_payload(&n, REC_OP, p, op_size(1, &arg), true);
	}
	ok(wait_until(atomic_load(&row->busy_with) == BUSY_RESULT, H_WAIT_MS),
	    "a full result ring holds the store back");
	ok(wait_until(result_of_newest(&n), H_WAIT_MS), "until it is read");
	is_u64(n.got_seq, n.h.seq, "nothing is missing");
	ok(wait_until(atomic_load(&row->busy_with) == BUSY_NOT, H_WAIT_MS),
	    "and it goes on");
	for (i = 0; i < 10; i++) {
		struct op_arg arg = { (const uint8_t *)"k", 1 };
		uint8_t p[64];

		op_encode(p, OP_GETEX, 0, 0, 1, &arg);
		send_payload(&n, REC_OP, p, op_size(1, &arg), true);
	}
	ok(wait_until(atomic_load(&row->busy_with) == BUSY_RESULT, H_WAIT_MS),
	    "again");
	atomic_store(&n.h.region.slots->row[SLOT_GATEWAY].incarnation, 2);
	bell_ring(&n.h.worker.bells, SLOT_STORE);
	ok(wait_until(atomic_load(&row->busy_with) == BUSY_NOT, H_WAIT_MS),
	    "a client that is gone is not waited for");
	while (result_of_newest(&n))
		seen++;
	is_u64(seen, 0, "and gets nothing more");
	node_kill(&n);
	node_free(&n);
	free(value);
}

/* Parts whose client died are followed by something else. */
static void
test_orphan_parts(void)
{
	uint8_t *p = calloc(1, REQ_PART_MAX);
	struct node n;

	node_new(&n);
	node_start(&n);
	h_push(&n.h, REC_OP, REQ_MORE, p, REQ_PART_MAX);
	h_push(&n.h, REC_OP, REQ_MORE, p, REQ_PART_MAX);
	h_ring(&n.h);
	/* The next life of the slot starts its rings where they stand. */
	ok(wait_until(position_get(&n.h.region.pos->appended) >= 3, H_WAIT_MS),
	    "two parts of a payload that never ends");
	atomic_store(&n.h.region.slots->row[SLOT_GATEWAY].incarnation, 2);
	{
		struct op_arg argv[] = { { (const uint8_t *)"k", 1 },
			{ (const uint8_t *)"v", 1 } };
		struct wal_req req = { .seq = n.h.seq + 1,
			.incarnation = 2,
			.type = REC_OP,
			.flags = REQ_WANT_RESULT };
		uint8_t *at;

		req.len = (uint32_t)(sizeof(req) + op_size(2, argv));
		at = bytering_reserve(&n.h.request, req.len);
		memcpy(at, &req, sizeof(req));
		op_encode(at + sizeof(req), OP_SET, 0, 0, 2, argv);
		n.h.seq++;
		bytering_publish(&n.h.request);
		h_ring(&n.h);
	}
	ok(wait_until(has_value(&n, "k", "v", 1), H_WAIT_MS),
	    "what follows them is applied");
	ask_checkpoint(&n);
	ok(wait_until(checkpoint_done(&n), H_WAIT_MS),
	    "and nothing holds a checkpoint back");
	node_kill(&n);
	node_start(&n);
	ok(has_value(&n, "k", "v", 1), "the same after a boot");
	node_kill(&n);
	node_free(&n);
	free(p);
}

static void
test_checkpoints(void)
{
	struct node n;
	char key[32], value[32];
	unsigned i, bad = 0, rounds = 0;
	uint64_t before;

	node_new(&n);
	node_start(&n);
	set(&n, "a", "1");
	ask_checkpoint(&n);
	ok(wait_until(checkpoint_done(&n), H_WAIT_MS), "asked for: done");
	is_u64(position_get(&n.h.region.pos->checkpointed),
	    position_get(&n.h.region.pos->applied), "up to what is applied");
	ok(has_value(&n, "a", "1", 1), "the key is read from disk");
	ask_checkpoint(&n);
	ok(wait_until(checkpoint_done(&n), H_WAIT_MS),
	    "asked again with nothing new: done");
	/* By bytes of log. */
	before = count_of(&n, C_CHECKPOINTS);
	atomic_store(&n.h.region.control->checkpoint_wal, 20000);
	for (i = 0; i < 400; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		op(&n, OP_SET, 0, key, key, strlen(key), false);
	}
	ok(wait_until(all_applied(&n) && count_of(&n, C_CHECKPOINTS) > before,
	       H_WAIT_MS),
	    "checkpoint_wal bytes of log start one");
	atomic_store(&n.h.region.control->checkpoint_wal, UINT64_C(1) << 40);
	/* By the table: 1 MiB here; kill checkpoint at any moment. */
	for (i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "key%u", i % 2500);
		snprintf(value, sizeof(value), "%u", i);
		op(&n, OP_SET, 0, key, value, strlen(value), false);
		if (i % 1000 == 999) {
			end_pid(&n.checkpoint_pid);
			kv_reader_died(&n.h.region, SLOT_CHECKPOINT);
			fork_checkpoint(&n);
			rounds++;
		}
	}
	ok(wait_until(all_applied(&n), H_WAIT_MS),
	    "20,000 writes through %u kills of checkpoint", rounds);
	for (i = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		snprintf(value, sizeof(value), "%u", 17500 + i);
		bad += !has_value(&n, key, value, strlen(value));
	}
	is_u64(bad, 0, "every key has its last value");
	is_i64(dbsize(&n), 2501, "DBSIZE");
	ok(count_of(&n, C_CHECKPOINT_KEYS) > 0 &&
		count_of(&n, C_CHECKPOINT_BYTES) > 0 &&
		hist_of(n.h.region.hists, SLOT_CHECKPOINT, H_CHECKPOINT)
			->count > 0,
	    "counters move");
	node_kill(&n);
	node_start(&n);
	for (i = 0, bad = 0; i < 2500; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		snprintf(value, sizeof(value), "%u", 17500 + i);
		bad += !has_value(&n, key, value, strlen(value));
	}
	is_u64(bad, 0, "also after kill -9 of all and a boot");
	is_i64(dbsize(&n), 2501, "DBSIZE, too");
	ok(count_of(&n, C_STORE_REPLAYED) + count_of(&n, C_STORE_APPLIED) > 0,
	    "records were applied");
	node_kill(&n);
	node_free(&n);
}

/*
 * No checkpoint is written: both tables fill. There is no room for new writes
 * then; what comes all the same gets what is left of both, then apply waits.
 */
static void
test_both_full(void)
{
	struct node n;
	struct slot_row *row;
	struct table_head *t;
	uint8_t value[1000], flush[OP_HEADER_SIZE];
	uint64_t share;
	char key[32];
	unsigned i;

	memset(value, 'v', sizeof(value));
	node_new(&n);
	node_start(&n);
	row = &n.h.region.slots->row[SLOT_STORE];
	t = n.h.region.table;
	share = table_share(&t->gen[0]);
	ok(wait_until(position_get(&n.h.region.pos->room) == share, H_WAIT_MS),
	    "what is on its way may fill a generation");
	end_pid(&n.checkpoint_pid);
	for (i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		op(&n, OP_SET, 0, key, value, sizeof(value), false);
		if (i % 50 == 49)
			(void)wait_until(all_applied(&n), H_WAIT_MS);
		if (position_get(&n.h.region.pos->room) == 0)
			break;
	}
	ok(wait_until(position_get(&n.h.region.pos->room) == 0, H_WAIT_MS),
	    "both tables full: there is no room");
	ok(wait_until(all_applied(&n), H_WAIT_MS), "all is applied");
	ok(count_of(&n, C_STORE_STALLS) > 0, "a stall is counted");
	ok(has_value(&n, "key0", value, sizeof(value)), "reads go on");
	for (; i < 8000; i++) {
		if (table_active_used(t) > t->gen[0].arena_nominal)
			break;
		snprintf(key, sizeof(key), "key%u", i);
		op(&n, OP_SET, 0, key, value, sizeof(value), false);
		if (i % 50 == 49)
			(void)wait_until(all_applied(&n), H_WAIT_MS);
	}
	ok(table_active_used(t) > t->gen[0].arena_nominal &&
		table_limit(t) > t->gen[0].arena_nominal,
	    "beyond the end: as much as the other one leaves");
	op_encode(flush, OP_FLUSHALL, 0, 0, 0, NULL);
	send_payload(&n, REC_OP, flush, sizeof(flush), true);
	ok(wait_until(result_of_newest(&n), H_WAIT_MS),
	    "a FLUSHALL has room there");
	ok(is_missing(&n, "key0"), "nothing is left");
	for (; i < 12000; i++) {
		snprintf(key, sizeof(key), "key%u", i);
		op(&n, OP_SET, 0, key, value, sizeof(value), false);
		if (atomic_load(&row->busy_with) == BUSY_TABLE)
			break;
	}
	ok(wait_until(atomic_load(&row->busy_with) == BUSY_TABLE, H_WAIT_MS),
	    "beyond that, too: apply waits");
	fork_checkpoint(&n);
	ok(wait_until(all_applied(&n), H_WAIT_MS),
	    "with checkpoint back all is applied");
	snprintf(key, sizeof(key), "key%u", i - 1);
	ok(has_value(&n, key, value, sizeof(value)), "nothing is lost");
	ok(wait_until(position_get(&n.h.region.pos->room) == share, H_WAIT_MS),
	    "and there is room");
	node_kill(&n);
	node_free(&n);
}

/* A node with 1601 keys of which 1598 are due `soon`. False: they are now. */
static bool
expiry_start(struct node *n, int64_t soon)
{
	char key[32];
	unsigned i;
	int64_t size;

	node_new(n);
	node_start(n);
	set(n, "stays", "1");
	for (i = 0; i < 1500; i++) {
		snprintf(key, sizeof(key), "disk%u", i);
		op(n, OP_SET, soon, key, "v", 1, false);
	}
	wait_until(all_applied(n), H_WAIT_MS);
	ask_checkpoint(n);
	ok(wait_until(checkpoint_done(n), H_WAIT_MS), "some on disk");
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "table%u", i);
		op(n, OP_SET, soon, key, "v", 1, false);
	}
	/* One that is not to go after all, one that goes later. */
	op(n, OP_PERSIST, 0, "disk7", NULL, 0, true);
	op(n, OP_SET, soon + 3600000, "disk8", "w", 1, true);
	size = dbsize(n);
	if (wall_ms() >= soon)
		return false;
	is_i64(size, 1601, "all are there");
	return true;
}

/* A key that is due when no master is there any more; when it is. */
static int64_t
expiry_late(struct node *n)
{
	int64_t ms = 300, late;

	for (;; ms *= 3) {
		late = wall_ms() + ms;
		op(n, OP_SET, late, "late", "v", 1, true);
		h_role(&n->h, ROLE_REPLICA);
		bell_ring(&n->h.worker.bells, SLOT_STORE);
		if (wall_ms() < late)
			return late;
		h_elect(&n->h, ++n->term);
	}
}

/* Due keys are deleted by records, wherever they lie. */
static void
test_expiry(void)
{
	int64_t ms = 1500, late;
	struct node n;
	uint64_t appended;

	/* A busy machine may need longer. */
	while (!expiry_start(&n, wall_ms() + ms)) {
		ms *= 3;
		node_kill(&n);
		node_free(&n);
	}
	ok(wait_until(count_of(&n, C_STORE_EXPIRED) >= 1598, H_WAIT_MS),
	    "what is due is deleted by the log");
	is_i64(dbsize(&n), 3, "DBSIZE knows");
	is_u64(count_of(&n, C_STORE_EXPIRED), 1598, "each once");
	ok(is_missing(&n, "disk1") && is_missing(&n, "table1"), "gone");
	ok(has_value(&n, "disk7", "v", 1), "PERSIST in time saved one");
	ok(has_value(&n, "disk8", "w", 1), "so did a new value");
	appended = position_get(&n.h.region.pos->appended);
	ask_checkpoint(&n);
	ok(wait_until(checkpoint_done(&n), H_WAIT_MS), "checkpoint of it");
	is_u64(position_get(&n.h.region.pos->appended), appended,
	    "nothing is deleted twice");
	/* No master: nothing is asked for. */
	late = expiry_late(&n);
	wait_until(wall_ms() > late + 300, TAP_WAIT_MS);
	ok(has_value(&n, "late", "v", 1), "a replica deletes nothing itself");
	h_elect(&n.h, ++n.term);
	bell_ring(&n.h.worker.bells, SLOT_STORE);
	ok(wait_until(is_missing(&n, "late"), H_WAIT_MS), "a master does");
	node_kill(&n);
	node_start(&n);
	is_i64(dbsize(&n), 3, "the same after a boot");
	node_kill(&n);
	node_free(&n);
}

static uint64_t
length(struct node *n, const char *key)
{
	struct kv_item item = { 0 };

	if (kv_begin(n->kv) == 0) {
		if (kv_get(n->kv, key, strlen(key), 0, &item) != 0)
			item.len = 0;
		kv_end(n->kv);
	}
	return item.len;
}

/* Two keys of 700,000 bytes in one record; true if the second was refused. */
static bool
two_long(struct node *n, const char *first, const char *second)
{
	const char *keys[] = { first, second };
	struct op_arg argv[] = { { NULL, 1 }, { (const uint8_t *)"x", 1 } };
	size_t size = op_size(2, argv), i;
	uint8_t p[200];

	put_le32(p, 2);
	put_le32(p + 4, 0);
	for (i = 0; i < 2; i++) {
		argv[0].data = (const uint8_t *)keys[i];
		put_le32(p + 8 + i * (4 + size), (uint32_t)size);
		op_encode(
		    p + 12 + i * (4 + size), OP_SETRANGE, 0, 699999, 2, argv);
	}
	/* Another boot may have had a request of the same number. */
	vbuf_clear(&n->got);
	send_payload(n, REC_MULTI, p, 8 + 2 * (4 + size), true);
	return wait_until(result_of_newest(n), H_WAIT_MS) && n->got.len > 14 &&
	       n->got.data[14] == VAL_ERROR;
}

/*
 * A record is applied by the bound that it has, whatever the configuration
 * says when it is: one of the release before, which had none, too.
 */
static void
test_bounds(void)
{
	struct node n;

	node_new(&n);
	n.h.conf.store.max_record = 0; /* as that release wrote it */
	node_start(&n);
	ok(!two_long(&n, "a", "b"), "a record without a bound");
	node_kill(&n);
	n.h.conf.store.max_record = 1 << 20;
	node_start(&n);
	ok(length(&n, "a") == 700000 && length(&n, "b") == 700000,
	    "is replayed as it was");
	ok(two_long(&n, "c", "d"), "a new one of 1 MiB: an error");
	node_kill(&n);
	n.h.conf.store.max_record = 64 << 20;
	node_start(&n);
	ok(length(&n, "c") == 700000 && length(&n, "d") == 0,
	    "also when more is allowed now");
	ok(!two_long(&n, "c", "d"), "to those that follow");
	node_kill(&n);
	node_free(&n);
}

#if !defined(__SANITIZE_ADDRESS__)
/* No more of address space than the store has, and so much. */
static void
limit_store(const struct node *n, rlim_t more)
{
	struct rlimit lim = { RLIM_INFINITY, RLIM_INFINITY };
	char path[32];
	unsigned long pages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)n->store_pid);
	if ((f = fopen(path, "r")) == NULL || fscanf(f, "%lu", &pages) != 1)
		abort();
	fclose(f);
	if (more != RLIM_INFINITY)
		lim.rlim_cur =
		    (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
	if (prlimit(n->store_pid, RLIMIT_AS, &lim, NULL) != 0)
		abort();
}

/* A payload in parts finds no memory of the store's own. */
static void
test_no_heap(void)
{
	static uint8_t value[3 << 20];
	struct trouble_info t;
	struct slot_row *row;
	struct node n;

	node_new(&n);
	n.h.conf.wal.buffer_size = 8 << 20;
	node_start(&n);
	row = &n.h.region.slots->row[SLOT_STORE];
	limit_store(&n, 1 << 20);
	op(&n, OP_SET, 0, "long", value, sizeof(value), false);
	ok(wait_until(
	       trouble_read(&n.h.region, TROUBLE_STORE_MEMORY, &t), H_WAIT_MS),
	    "no heap: that is told");
	ok(strstr(t.text, "Cannot allocate memory") != NULL &&
		strstr(t.text, "free memory") != NULL &&
		strstr(t.text, "/dev/shm") == NULL,
	    "as what it is, with what helps");
	is_str(busy_name(atomic_load(&row->busy_with)), "no memory",
	    "so does what it is held back by");
	ok(!room_stuck(&n.h.region), "and no checkpoint is waited for");
	limit_store(&n, RLIM_INFINITY);
	ok(wait_until(all_applied(&n), H_WAIT_MS), "with memory it goes on");
	ok(has_value(&n, "long", value, sizeof(value)), "nothing is lost");
	ok(!trouble_stands(&n.h.region, TROUBLE_STORE_MEMORY), "it is over");
	node_kill(&n);
	node_free(&n);
}
#endif

/* What it will not do any more does not keep the store awake. */
static bool
sleeps_unasked(struct node *n)
{
	struct region *r = &n->h.region;
	struct slot_row *row = &r->slots->row[SLOT_STORE];
	uint64_t sleeps;

	if (!wait_until(atomic_load(&r->wakes->line[SLOT_STORE].sleeping) != 0,
		H_WAIT_MS))
		return false;
	sleeps = atomic_load(&row->sleeps);
	ask_checkpoint(n);
	return wait_until(atomic_load(&row->sleeps) > sleeps, H_WAIT_MS);
}

static void
test_stop(void)
{
	struct node n;
	int status;
	unsigned step;
	bool good = true, sleeps = false;

	node_new(&n);
	node_start(&n);
	op(&n, OP_SET, 0, "k", "v", 1, true);
	for (step = 1; step <= SHUTDOWN_CLOSED; step++) {
		seq_shutdown(n.h.region.seq, (enum shutdown_step)step);
		bell_ring_all(&n.h.worker.bells);
		if (step == SHUTDOWN_DRAINING_EVENT_PLANE)
			sleeps = sleeps_unasked(&n);
		good =
		    good &&
		    wait_until(
			atomic_load(
			    &n.h.region.slots->row[SLOT_STORE].drained) >=
				step &&
			    atomic_load(&n.h.region.slots->row[SLOT_CHECKPOINT]
					     .drained) >= step,
			H_WAIT_MS);
	}
	ok(good, "each step of the stop is answered");
	ok(sleeps, "and waited for, with a checkpoint due");
	waitpid(n.store_pid, &status, 0);
	ok(status == 0, "store ends with 0");
	waitpid(n.checkpoint_pid, &status, 0);
	ok(status == 0, "checkpoint ends with 0");
	n.store_pid = n.checkpoint_pid = 0;
	node_kill(&n);
	node_start(&n);
	ok(has_value(&n, "k", "v", 1), "all is there at the next start");
	node_kill(&n);
	node_free(&n);
}

/* A checkpoint from another time than the log is refused, naming both. */
static void
test_ahead_of_log(void)
{
	struct node n;
	const char *error;

	node_new(&n);
	node_start(&n);
	set(&n, "a", "1");
	set(&n, "a", "2");
	ask_checkpoint(&n);
	wait_until(checkpoint_done(&n), H_WAIT_MS);
	node_kill(&n);
	dir_remove(n.h.data_dir, "wal");
	mkdirat(n.h.data_dir, "wal", 0750);
	close(n.h.wal_dir);
	n.h.wal_dir =
	    openat(n.h.data_dir, "wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	is_i64(node_boot(&n, PHASE_DATA_GROUPS_REPLAY), -ECANCELED,
	    "a store ahead of its log does not boot");
	error = n.h.region.seq->error;
	ok(strstr(error, "wal: readdir: no segment is left") != NULL &&
		strstr(error, "every record behind 3, where") != NULL,
	    "it says: %s", error);
	node_kill(&n);
	node_free(&n);
}

/* Records that the boot must have, and the disk does not give now. */
static void
test_log_unread(void)
{
	const char *error;
	struct node n;

	node_new(&n);
	node_start(&n);
	set(&n, "a", "1");
	node_kill(&n);
	atomic_store(unread_from, 0);
	is_i64(node_boot(&n, PHASE_DATA_GROUPS_REPLAY), -ECANCELED,
	    "no boot without what the log has");
	error = n.h.region.seq->error;
	ok(strstr(error, "/wal/00000001.seg: read: Input/output error: look") !=
		    NULL &&
		seq_error_kind(n.h.region.seq) == FAULT_WORLD,
	    "it says: %s", error);
	node_kill(&n);
	atomic_store(unread_from, INT64_MAX);
	node_start(&n);
	ok(has_value(&n, "a", "1", 1), "it is there in the next");
	node_kill(&n);
	node_free(&n);
}

/* The machine has no descriptor for the log's directory. */
static void
test_log_unopened(void)
{
	const char *error;
	struct node n;

	node_new(&n);
	node_start(&n);
	set(&n, "a", "1");
	node_kill(&n);
	atomic_store(unopened, 1);
	is_i64(node_boot(&n, PHASE_DATA_GROUPS_REPLAY), -ECANCELED,
	    "no boot without the log");
	error = n.h.region.seq->error;
	ok(strstr(error, "/wal: open: Too many open files in system: the "
			 "machine") != NULL &&
		seq_error_kind(n.h.region.seq) == FAULT_WORLD,
	    "it says: %s", error);
	node_kill(&n);
	node_start(&n);
	ok(has_value(&n, "a", "1", 1), "it is there in the next");
	node_kill(&n);
	node_free(&n);
}

/* No operations, through a store that leaves them out. */
static bool
send_malformed(struct node *n, unsigned count)
{
	uint8_t p[10000];
	unsigned i;

	for (i = 0; i < count; i++) {
		h_fill(p, sizeof(p), i);
		send_payload(n, REC_OP, p, sizeof(p), false);
	}
	return wait_until(all_applied(n), H_WAIT_MS);
}

/* The same behind the place where the replay begins: it waits there. */
static void
test_replay_unread(void)
{
	struct trouble_info told = { 0 };
	uint64_t applied;
	struct sequencer *seq;
	struct node n;

	node_new(&n);
	node_start(&n);
	set(&n, "a", "1");
	ok(send_malformed(&n, 200), "2 MB that nobody can apply");
	ok(set(&n, "a", "2"), "and a value behind it");
	node_kill(&n);
	atomic_store(unread_from, 1 << 20);
	is_i64(node_boot(&n, PHASE_CATALOG_SANITY_CHECK), 0, "a boot begins");
	ok(wait_until(trouble_read(&n.h.region, TROUBLE_STORE_FAILED, &told),
	       H_WAIT_MS),
	    "it tells");
	ok(strstr(told.text, "/wal/00000001.seg: read: Input/output error") !=
		NULL,
	    "what: %s", told.text);
	node_read(&n);
	applied = position_get(&n.h.region.pos->applied);
	ok(applied > 2 && has_value(&n, "a", "1", 1),
	    "what is applied can be read");
	atomic_store(unread_from, INT64_MAX);
	seq = n.h.region.seq;
	is_i64(seq_wait(seq, PHASE_DATA_GROUPS_REPLAY,
		   mono_ns() + H_WAIT_MS * NS_PER_MS, NULL, NULL),
	    0, "it goes on by itself");
	h_elect(&n.h, ++n.term);
	ok(wait_until(has_value(&n, "a", "2", 1), H_WAIT_MS), "to the end");
	ok(wait_until(
	       !trouble_stands(&n.h.region, TROUBLE_STORE_FAILED), H_WAIT_MS),
	    "and nothing is told any more");
	node_kill(&n);
	node_free(&n);
}

static void
test_damaged(void)
{
	struct node n;
	char path[96], byte = 0x55;
	const char *error;
	unsigned i;
	int fd;

	node_new(&n);
	node_start(&n);
	for (i = 0; i < 200; i++) {
		char key[32];

		snprintf(key, sizeof(key), "key%u", i);
		op(&n, OP_SET, 0, key, key, strlen(key), false);
	}
	wait_until(all_applied(&n), H_WAIT_MS);
	ask_checkpoint(&n);
	wait_until(checkpoint_done(&n), H_WAIT_MS);
	node_kill(&n);
	snprintf(path, sizeof(path), "%s/store/data.mdb", n.h.dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	/* In every page, where leaves have their items. */
	for (i = 2 * 16; i < 40 * 16; i++)
		if (i % 16 > 8 && pwrite(fd, &byte, 1, i * 256) != 1)
			break;
	close(fd);
	is_i64(node_boot(&n, PHASE_DATA_GROUPS_REPLAY), -ECANCELED,
	    "a damaged store does not boot");
	error = n.h.region.seq->error;
	ok(strstr(error, "data.mdb: damaged") != NULL &&
		strstr(error, "restore this node") != NULL,
	    "it says: %s", error);
	node_kill(&n);
	node_free(&n);
}

/* The state at the checkpoint, and not a byte changed in the directory. */
static void
test_readonly(void)
{
	struct node n;
	struct stat before, after;
	char path[96];

	node_new(&n);
	node_start(&n);
	set(&n, "k", "old");
	ask_checkpoint(&n);
	wait_until(checkpoint_done(&n), H_WAIT_MS);
	set(&n, "k", "new");
	node_kill(&n);
	snprintf(path, sizeof(path), "%s/store/data.mdb", n.h.dir);
	stat(path, &before);
	snprintf(path, sizeof(path), "%s/store/lock.mdb", n.h.dir);
	unlink(path);
	n.h.readonly = true;
	is_i64(node_boot(&n, PHASE_DATA_GROUPS_REPLAY), 0,
	    "readonly recovery boots");
	node_read(&n);
	ok(has_value(&n, "k", "old", 3), "with the state of the checkpoint");
	is_u64(position_get(&n.h.region.pos->applied),
	    position_get(&n.h.region.pos->checkpointed), "and says which");
	is_i64(dbsize(&n), 1, "DBSIZE");
	ok(access(path, F_OK) != 0, "no lock file was made");
	snprintf(path, sizeof(path), "%s/store/data.mdb", n.h.dir);
	stat(path, &after);
	ok(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
	    "the file was not written");
	node_kill(&n);
	n.h.readonly = false;
	node_start(&n);
	ok(has_value(&n, "k", "new", 3), "a normal boot has all");
	node_kill(&n);
	node_free(&n);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	unread_from = mmap(NULL, sizeof(*unread_from), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (unread_from == MAP_FAILED)
		abort();
	atomic_store(unread_from, INT64_MAX);
	unopened = mmap(NULL, sizeof(*unopened), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (unopened == MAP_FAILED)
		abort();
	test_results();
	test_full_ring();
	test_orphan_parts();
	test_checkpoints();
	test_both_full();
	test_expiry();
	test_bounds();
#if !defined(__SANITIZE_ADDRESS__)
	/* ASan wants no limit of memory beside it. */
	test_no_heap();
#endif
	test_stop();
	test_ahead_of_log();
	test_log_unread();
	test_log_unopened();
	test_replay_unread();
	test_damaged();
	test_readonly();
	return tap_done();
}
