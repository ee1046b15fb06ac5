/*
 * Failing writes, flushes and allocations at the Nth call, for all N; kill -9
 * under load; a full disk that gets space again. Whatever was committed
 * before is there after, and nothing else.
 */
#include "shm/trouble.h"
#include "t/lib/wal_harness.h"

/* Shared with the forked worker. */
static struct bad_call {
	_Atomic int op; /* enum wal_op, -1 = none */
	_Atomic int countdown; /* fires when it reaches 0 */
	_Atomic int res;
	_Atomic int sticky; /* goes on failing */
	_Atomic int fired;
	_Atomic int probe; /* what a probe's steps give, 0 = their own */
	_Atomic int probes;
	_Atomic int writes; /* of any segment */
	_Atomic uint64_t word; /* wal_failed at the newest of them */
} * fault;

static const struct control *watched; /* whose word it is; NULL = nobody's */

static int
hook(enum wal_op op, int res)
{
	if (op == WAL_OP_PROBE) {
		atomic_fetch_add(&fault->probes, 1);
		return atomic_load(&fault->probe) != 0
			   ? atomic_load(&fault->probe)
			   : res;
	}
	if (op == WAL_OP_WRITE)
		atomic_fetch_add(&fault->writes, 1);
	if (op == WAL_OP_WRITE && watched != NULL)
		atomic_store(&fault->word, atomic_load(&watched->wal_failed));
	if (atomic_load(&fault->op) != (int)op)
		return res;
	if (atomic_load(&fault->countdown) > 0 &&
	    atomic_fetch_sub(&fault->countdown, 1) > 1)
		return res;
	if (!atomic_load(&fault->sticky) && atomic_load(&fault->fired) > 0)
		return res;
	atomic_fetch_add(&fault->fired, 1);
	return atomic_load(&fault->res);
}

static void
fault_set(int op, int countdown, int res, int sticky)
{
	atomic_store(&fault->fired, 0);
	atomic_store(&fault->countdown, countdown);
	atomic_store(&fault->res, res);
	atomic_store(&fault->sticky, sticky);
	atomic_store(&fault->op, op);
}

/* Writes until done or the worker has ended; returns what was committed. */
static uint64_t
scenario(struct harness *h)
{
	uint64_t number = 1;
	uint8_t p[9000];
	unsigned i;

	h_elect(h, position_get(&h->region.pos->durable) + 1);
	for (i = 0; i < 12 && !h_ended(h); i++) {
		uint32_t n = i % 4 == 3 ? (uint32_t)sizeof(p) : 100;

		h_fill(p, n, number++);
		h_push(h, REC_OP, 0, p, n);
		h_ring(h);
		(void)wait_until(h_ended(h) || h_answered(h), H_WAIT_MS);
		(void)wait_until(h_ended(h) || h->acked_vlsn == 0 ||
				     h_committed(h) >= h->acked_vlsn,
		    H_WAIT_MS);
		h_apply(h);
	}
	return h_committed(h);
}

/* What is wrong with a round, or NULL. `fired`: did the call fail? */
static const char *
round_wrong(struct harness *h, enum wal_op op, int n, int res, bool *fired)
{
	uint64_t committed = 0, last = 0;
	const char *wrong = NULL;
	int rc;

	fault_set((int)op, n, res, 0);
	rc = h_boot(h);
	if (rc == 0)
		committed = scenario(h);
	*fired = atomic_load(&fault->fired) > 0;
	fault_set(-1, 0, 0, 0);
	if (*fired && (op == WAL_OP_WRITE || op == WAL_OP_SYNC)) {
		/* A spare's failed sync is that spare's end only. */
		if (!wait_until(
			h_ended(h), op == WAL_OP_WRITE ? H_WAIT_MS : 50) &&
		    op == WAL_OP_WRITE)
			wrong = "wal goes on";
		if (h->pid == 0 && rc == 0 &&
		    (!WIFEXITED(h->status) ||
			WEXITSTATUS(h->status) != WORKER_EXIT_RESTART))
			wrong = "wal's end asks for no boot";
		else if (h->pid == 0 && rc == 0 &&
			 atomic_load(&h->region.control->restart_wanted) !=
			     WISH_RESTART_WORLD)
			wrong = "the boot asked for is counted";
		else if (h->pid == 0 && rc == 0 &&
			 counter_sum(h->region.counters, C_WAL_ERRORS) != 1)
			wrong = "not one error is counted";
	}
	h_kill(h);
	if (h_boot(h) != 0)
		wrong = "the next boot is refused";
	else if (position_get(&h->region.pos->durable) < committed)
		wrong = "the next boot lacks what was committed";
	h_kill(h);
	if (h_read_back(h, &last) == UINT64_MAX || last < committed)
		wrong = "the log lacks what was committed";
	return wrong;
}

/* One round: fail the Nth operation, boot again. False: it did not fire. */
static bool
round_fail(enum conf_wal_io io, enum wal_op op, int n, int res, bool *good)
{
	const char *wrong;
	struct harness h;
	bool fired;

	h_new(&h, "/dev/shm");
	h.conf.wal.io = io;
	wrong = round_wrong(&h, op, n, res, &fired);
	if (wrong != NULL) {
		diag("call %d: %s", n, wrong);
		*good = false;
	}
	h_free(&h);
	return fired;
}

static void
test_nth(enum conf_wal_io io, enum wal_op op, int res, const char *what)
{
	bool good = true;
	int n;

	for (n = 1; n < 200; n++) {
		if (!round_fail(io, op, n, res, &good))
			break;
		if (!good)
			break;
	}
	ok(good && n > 1 && n < 200, "%s: each of %d calls may fail", what,
	    n - 1);
}

/*
 * A write that is on the disk, whole, and still failed: the next boot must not
 * take what nobody was promised, however long it takes to get there.
 */
static void
test_dropped(enum conf_wal_io io, enum wal_op op)
{
	char path[3][sizeof(((struct region *)NULL)->path)];
	uint64_t number = 1, last = 0;
	struct harness h;

	h_new(&h, "/dev/shm");
	h.conf.wal.io = io;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	fault_set((int)op, 1, -EIO, 0);
	h_push(&h, REC_OP, 0, "lost", 4);
	h_push(&h, REC_OP, 0, "lost", 4);
	h_ring(&h);
	ok(wait_until(h_ended(&h), H_WAIT_MS), "a flush fails");
	fault_set(-1, 0, 0, 0);
	h.keep_region = true;
	memcpy(path[0], h.region.path, sizeof(path[0]));
	h_kill(&h);
	/* A boot that ends before wal has looked at anything. */
	h_region(&h);
	memcpy(path[2], h.region.path, sizeof(path[2]));
	h_kill(&h);
	h.readonly = true;
	is_i64(h_boot(&h), 0, "a boot that begins no segment");
	is_u64(position_get(&h.region.pos->durable), 11,
	    "does not take what was not flushed");
	memcpy(path[1], h.region.path, sizeof(path[1]));
	h_kill(&h);
	h.readonly = h.keep_region = false;
	is_i64(h_boot(&h), 0, "nor does the next one, which does");
	is_u64(position_get(&h.region.pos->durable), 11, "it drops it");
	is_u64(atomic_load(&h.region.control->wal_failed), 0, "for good");
	h_elect(&h, 2);
	ok(h_write(&h, 10, 100, &number), "and writes");
	ok(h_stop(&h), "ends");
	is_u64(h_read_back(&h, &last), number - 1, "nothing else is missing");
	shm_unlink(path[0]);
	shm_unlink(path[1]);
	shm_unlink(path[2]);
	h_free(&h);
}

/* Number of the segment that the newest one continues. */
static uint32_t
newest_continues(const struct harness *h)
{
	struct segment_list l;
	uint32_t number;

	if (segment_list_load(&l, h->wal_dir, false) != 0 ||
	    l.newest == UINT32_MAX)
		return UINT32_MAX;
	number = l.entry[l.newest].info.prev_number;
	segment_list_free(&l);
	return number;
}

/* A boot whose header is there, whole, and its flush failed: it counts not. */
static void
test_header(enum conf_wal_io io, enum wal_op op)
{
	char path[sizeof(((struct region *)NULL)->path)];
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	h.conf.wal.io = io;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	h_kill(&h);
	/* Not those of the tail, nor the sync of its directory. */
	fault_set((int)op, op == WAL_OP_SYNC ? 4 : 2, -EIO, 0);
	ok(h_boot(&h) != 0, "a boot whose header's flush fails");
	fault_set(-1, 0, 0, 0);
	is_u64(atomic_load(&h.region.control->wal_failed), 12, "says so");
	is_u64(newest_continues(&h), 1, "the header can be read");
	h.keep_region = true;
	memcpy(path, h.region.path, sizeof(path));
	h_kill(&h);
	h.keep_region = false;
	is_i64(h_boot(&h), 0, "the next boot");
	is_u64(position_get(&h.region.pos->durable), 11, "has all");
	is_u64(newest_continues(&h), 1, "and relies on no such header");
	h_kill(&h);
	shm_unlink(path);
	h_free(&h);
}

/* A boot that fails; its region stays for the next one. */
static void
boot_fails(struct harness *h, enum wal_op op, int n, const char *name)
{
	char path[sizeof(h->region.path)];

	fault_set((int)op, n, -EIO, 0);
	ok(h_boot(h) != 0, "a boot fails to %s", name);
	fault_set(-1, 0, 0, 0);
	is_u64(newest_continues(h), 0, "before it begins a segment");
	is_u64(atomic_load(&h->region.control->wal_failed), 0,
	    "nothing is to be dropped");
	memcpy(path, h->region.path, sizeof(path));
	h_kill(h);
	shm_unlink(path);
}

/*
 * A flush failed without word: the life ended in it. The pages may be clean
 * and on no disk, so that no further sync tells: each boot writes what it
 * found anew, until that is flushed.
 */
static void
test_tail(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	h.conf.wal.io = CONF_WAL_IO_BUFFERED;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	fault_set(WAL_OP_SYNC, 1, -EIO, 0);
	h_push(&h, REC_OP, 0, "lost", 4);
	h_ring(&h);
	ok(wait_until(h_ended(&h), H_WAIT_MS), "a flush fails");
	atomic_store(&h.region.control->wal_failed, 0);
	h_kill(&h);
	boot_fails(&h, WAL_OP_WRITE, 1, "write the tail anew");
	boot_fails(&h, WAL_OP_SYNC, 1, "flush what it wrote");
	boot_fails(&h, WAL_OP_SYNC, 2, "flush the file");
	boot_fails(&h, WAL_OP_SYNC, 3, "flush the directory");
	boot_fails(&h, WAL_OP_WRITE, 1, "write the tail anew, again");
	is_i64(h_boot(&h), 0, "a boot when the fault is over");
	is_u64(position_get(&h.region.pos->durable), 12, "has all");
	h_elect(&h, 2);
	h_push(&h, REC_OP, 0, "more", 4);
	h_ring(&h);
	ok(wait_until(h_answered(&h), H_WAIT_MS), "and writes");
	h_kill(&h);
	is_i64(h_boot(&h), 0, "boots again");
	h_kill(&h);
	h_free(&h);
}

/* Is the boot's error a fault of the world, told by file, errno and offset? */
static bool
unreadable_told(const struct harness *h)
{
	const struct sequencer *s = h->region.seq;

	return seq_failed(s) && strstr(s->error, h->dir) != NULL &&
	       strstr(s->error,
		   "/wal/00000001.seg: read: Input/output error: offset ") !=
		   NULL &&
	       strstr(s->error, "cannot be read, nothing is changed") != NULL &&
	       strstr(s->error, "look at the disk") != NULL &&
	       strstr(s->error, "force") == NULL &&
	       strstr(s->error, "restore") == NULL &&
	       seq_error_kind(s) == FAULT_WORLD;
}

/*
 * A segment's block that the disk does not give is no damage: the boot is
 * waited out and changes nothing. Each read of the scan may be it.
 */
static void
test_unreadable(void)
{
	uint64_t number = 1;
	struct harness h;
	int n, failed = 0;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 200, 9000, &number), "writes");
	h_kill(&h);
	for (n = 1;; n++) {
		fault_set(WAL_OP_READ, n, -EIO, 0);
		atomic_store(&fault->writes, 0);
		if (h_boot(&h) == 0)
			break;
		failed += unreadable_told(&h) &&
			  atomic_load(&fault->writes) == 0 &&
			  newest_continues(&h) == 0;
		if (failed != n)
			diag("read %d: %s", n, h.region.seq->error);
		h_kill(&h);
	}
	ok(n > 3 && failed == n - 1, "each of %d reads may fail, and is told",
	    n - 1);
	is_u64(position_get(&h.region.pos->durable), number,
	    "when it can be read all is there");
	h_kill(&h);
	fault_set(WAL_OP_READ, 1, -EIO, 0);
	h.force = true;
	is_i64(h_boot(&h), 0, "who forces has decided");
	ok(position_get(&h.region.pos->durable) < number, "and goes without");
	fault_set(-1, 0, 0, 0);
	h_kill(&h);
	h_free(&h);
}

/*
 * What a system call calls a bad message is no word of ours on the log: its
 * file system is to be checked, which the boot waits for.
 */
static void
test_bad_message(void)
{
	uint64_t number = 1;
	struct harness h;
	const char *said;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 9000, &number), "writes");
	h_kill(&h);
	fault_set(WAL_OP_READ, 1, -EBADMSG, 0);
	ok(h_boot(&h) != 0, "a file system's bad checksum ends a boot");
	said = h.region.seq->error;
	ok(strstr(said, "/wal/00000001.seg: read: ") != NULL &&
		strstr(said, "fsck") != NULL && strstr(said, "restore") == NULL,
	    "and is told as that: %s", said);
	ok(seq_error_kind(h.region.seq) == FAULT_WORLD, "and waited out");
	fault_set(-1, 0, 0, 0);
	h_kill(&h);
	is_i64(h_boot(&h), 0, "boots");
	is_u64(position_get(&h.region.pos->durable), number, "all is there");
	h_kill(&h);
	h_free(&h);
}

/* What heads know to be durable is not written again. */
static void
test_tail_short(enum conf_wal_io io)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	h.conf.wal.io = io;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 200, 9000, &number), "writes");
	ok(h_write(&h, 1, 100, &number) && h_write(&h, 1, 100, &number),
	    "and twice more");
	ok(h_stop(&h), "ends");
	atomic_store(&fault->writes, 0);
	is_i64(h_boot(&h), 0, "boots");
	is_u64((uint64_t)atomic_load(&fault->writes), 2,
	    "by two writes: the log's end, and a header");
	h_kill(&h);
	h_free(&h);
}

/* A forced boot began the log anew, and its first flush of all fails. */
static void
test_anew(void)
{
	char path[sizeof(((struct region *)NULL)->path)];
	struct harness h;

	h_new(&h, "/dev/shm");
	h_checkpoint(&h, 100);
	h.force = true;
	is_i64(h_boot(&h), 0, "a forced boot without a log");
	fault_set(WAL_OP_WRITE, 1, -EIO, 0);
	h.view.role = ROLE_MASTER;
	h.view.master = 0;
	h.view.term = 2;
	h_publish(&h);
	ok(wait_until(h_ended(&h), H_WAIT_MS), "its first flush fails");
	fault_set(-1, 0, 0, 0);
	is_u64(atomic_load(&h.region.control->wal_failed), 101, "is told");
	h.keep_region = true;
	memcpy(path, h.region.path, sizeof(path));
	h_kill(&h);
	h.keep_region = h.force = false;
	is_i64(h_boot(&h), 0, "the next one needs no force");
	is_u64(position_get(&h.region.pos->durable), 100, "goes on there");
	h_kill(&h);
	shm_unlink(path);
	h_free(&h);
}

/*
 * The log is closed by a failed flush: what was appended stays without an
 * answer, what comes is refused at once, nothing is published any more. The
 * worker lives until a probe can be written and flushed.
 */
static void
test_closed(enum conf_wal_io io, enum wal_op op)
{
	uint64_t number = 1, durable;
	struct trouble_info t;
	struct harness h;
	char want[128];

	h_new(&h, "/dev/shm");
	h.conf.wal.io = io;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	durable = h.acked_vlsn;
	atomic_store(&fault->probe, -EROFS);
	atomic_store(&fault->probes, 0);
	fault_set((int)op, 1, -EIO, 1);
	h_push(&h, REC_OP, 0, "lost", 4);
	h_ring(&h);
	ok(wait_until(trouble_stands(&h.region, TROUBLE_LOG_FAILED), H_WAIT_MS),
	    "a flush fails: the log is closed");
	(void)trouble_read(&h.region, TROUBLE_LOG_FAILED, &t);
	snprintf(want, sizeof(want), "%s/wal/", h.dir);
	ok(strncmp(t.text, want, strlen(want)) == 0 &&
		strstr(t.text, "goes on by itself") != NULL,
	    "path and remedy: %s", t.text);
	is_u64(atomic_load(&h.region.control->wal_failed), durable + 1,
	    "what lies above is not known");
	is_u64(h.refused[RET_LOG_FAILED], 0, "nobody was refused yet");
	h_push(&h, REC_OP, 0, "more", 4);
	h_push(&h, REC_OP, 0, "more", 4);
	h_ring(&h);
	ok(wait_until(h_answered(&h), H_WAIT_MS), "the next are answered");
	is_u64(h.refused[RET_LOG_FAILED], 2, "refused");
	ok(wait_until(atomic_load(&fault->probes) >= 3, H_WAIT_MS),
	    "probes are made");
	ok(!h_ended(&h), "the worker lives");
	ok(trouble_read(&h.region, TROUBLE_LOG_FAILED, &t) &&
		strstr(t.text, "read-only") != NULL,
	    "what they meet is told: %s", t.text);
	is_u64(position_get(&h.region.pos->durable), durable,
	    "nothing is published");
	is_u64(h_committed(&h), durable, "nor committed");
	is_u64(atomic_load(&h.region.control->restart_wanted), WISH_NONE,
	    "no boot is wanted");
	fault_set(-1, 0, 0, 0);
	atomic_store(&fault->probe, 0);
	ok(wait_until(h_ended(&h), H_WAIT_MS), "the fault is over");
	ok(WIFEXITED(h.status) && WEXITSTATUS(h.status) == WORKER_EXIT_RESTART,
	    "the node is to boot");
	is_u64(atomic_load(&h.region.control->restart_wanted),
	    WISH_RESTART_WORLD, "which is not counted");
	ok(faccessat(h.wal_dir, WAL_PROBE_NAME, F_OK, 0) != 0, "no probe left");
	h_kill(&h);
	h_free(&h);
}

/* An orderly stop does not wait for the disk of a closed log. */
static void
test_closed_stop(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	atomic_store(&fault->probe, -EIO);
	fault_set(WAL_OP_WRITE, 1, -EIO, 1);
	h_push(&h, REC_OP, 0, "lost", 4);
	h_ring(&h);
	ok(wait_until(trouble_stands(&h.region, TROUBLE_LOG_FAILED), H_WAIT_MS),
	    "the log is closed");
	ok(h_stop(&h), "and the worker stops in order");
	fault_set(-1, 0, 0, 0);
	atomic_store(&fault->probe, 0);
	h_free(&h);
}

/* A short write is gone on with. */
static void
test_short(void)
{
	uint64_t number = 1;
	struct harness h;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(wait_until(h_committed(&h) == 1, H_WAIT_MS), "is master");
	/* The first call of a flush of several blocks says: one block. */
	fault_set(WAL_OP_WRITE, 1, 4096, 0);
	ok(h_write(&h, 1, 60000, &number), "a write that was cut short");
	is_u64((uint64_t)atomic_load(&fault->fired), 1, "was");
	fault_set(WAL_OP_WRITE, 1, -EINTR, 0);
	ok(h_write(&h, 1, 60000, &number), "one that was interrupted");
	fault_set(-1, 0, 0, 0);
	ok(h_stop(&h), "ends");
	is_u64(h_read_back(&h, NULL), 2, "both are whole");
	h_free(&h);
}

/* Renames that fail are tried again; writers wait meanwhile. */
static void
test_rename(void)
{
	uint64_t number = 1;
	struct harness h;
	bool good;

	h_new(&h, "/dev/shm");
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	fault_set(WAL_OP_RENAME, 2, -EIO, 0);
	/* How many were made before is the machine's. */
	do
		good = h_write(&h, 9000, 1000, &number);
	while (good && atomic_load(&fault->fired) == 0 && number < 100000);
	ok(good, "two segments and more");
	is_u64((uint64_t)atomic_load(&fault->fired), 1, "a rename failed");
	fault_set(-1, 0, 0, 0);
	ok(h_stop(&h), "ends");
	is_u64(h_read_back(&h, NULL), number - 1, "all is there");
	h_free(&h);
}

/* No further file can be made, for whatever reason. */
static void
test_nospace(int error, enum trouble kind, const char *says)
{
	unsigned status = error == ENOSPC ? RET_LOG_FULL : RET_NO_SEGMENT;
	struct trouble_info t = { .text = "" };
	uint64_t number = 1, before;
	struct harness h;
	uint8_t p[1000];
	bool refused;

	h_new(&h, "/dev/shm");
	h.conf.wal.keep_size = 64 << 20;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 100, 1000, &number), "writes");
	fault_set(WAL_OP_ALLOC, 0, -error, 1);
	before = number;
	do {
		h_fill(p, sizeof(p), number);
		if (!h_push(&h, REC_OP, 0, p, sizeof(p))) {
			h_ring(&h);
			h_apply(&h);
		} else if (h.refused[status] == 0)
			number++;
		h_answers(&h);
		refused = h.refused[status] != 0;
	} while (!refused && number < before + 300000);
	ok(refused, "a full disk refuses writes");
	ok(wait_until(h_answered(&h), H_WAIT_MS), "all are answered");
	ok((error != ENOSPC ||
	       counter_sum(h.region.counters, C_WAL_NOSPACE) >= 1) &&
		counter_sum(h.region.counters, C_WAL_REFUSED) >= 1,
	    "counted");
	ok(trouble_read(&h.region, kind, &t) &&
		strncmp(t.text, h.dir, strlen(h.dir)) == 0 &&
		strstr(t.text, says) != NULL,
	    "path, call and errno: %s", t.text);
	is_u64(waitpid(h.pid, &h.status, WNOHANG), 0, "the worker lives");
	fault_set(-1, 0, 0, 0);
	ok(wait_until(
	       (h_ring(&h), !trouble_stands(&h.region, kind)), H_WAIT_MS),
	    "space returns, which is told");
	before = h.acked_vlsn;
	number = before;
	ok(h_write(&h, 100, 1000, &number), "and writes go on");
	ok(h.acked_vlsn > before, "with the next VLSNs");
	h_kill(&h);
	h_free(&h);
}

/* kill -9 under load, again and again, in one directory. */
static void
test_kills(enum conf_wal_io io, const char *under, int rounds)
{
	uint64_t number = 1, acked = 0, term = 1;
	bool good = true;
	struct harness h;
	int round;

	h_new(&h, under);
	h.conf.wal.io = io;
	h.conf.wal.keep_size = UINT64_C(1) << 40;
	for (round = 0; round < rounds && good; round++) {
		uint64_t end;
		uint8_t p[4008];

		good = h_boot(&h) == 0 &&
		       position_get(&h.region.pos->durable) >= acked;
		number = position_get(&h.region.pos->durable) - term + 2;
		h_elect(&h, ++term);
		end = tap_now_ms() + 5 + (uint64_t)round * 7 % 40;
		while (good && tap_now_ms() < end) {
			uint32_t n = (uint32_t)(number * 37 % 4000) + 8;

			h_fill(p, n, number);
			if (h_push(&h, REC_OP, 0, p, n))
				number++;
			h_ring(&h);
			h_answers(&h);
			h_apply(&h);
		}
		kill(h.pid, SIGKILL);
		acked = h_committed(&h);
		h_kill(&h);
	}
	ok(good, "%d kills under load, nothing committed is lost", round);
	/* Terms' records take VLSNs, too: numbers may lack at a seam. */
	ok(h_boot(&h) == 0 && position_get(&h.region.pos->durable) >= acked,
	    "boots at last");
	ok(h_stop(&h), "ends");
	h_free(&h);
}

/* No node that starts meanwhile sweeps the region away, if nobody leads to it.
 */
static int
region_hold(const char *name)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd = shm_open(name, O_RDWR, 0);

	ok(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0, "it is held");
	return fd;
}

/*
 * A boot that was told nothing has gone on with a log whose flush had failed:
 * the word of that holds no more. A boot that is told again must not make it
 * hold, at no instruction.
 */
static void
test_void_word(void)
{
	struct harness h;
	char link[128], aside[128], first[sizeof(h.region.path)];
	uint64_t number = 1;
	int held;

	h_new(&h, "/dev/shm");
	h.keep_region = true;
	snprintf(link, sizeof(link), "%s/region", h.dir);
	snprintf(aside, sizeof(aside), "%s/aside", h.dir);
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 1);
	ok(h_write(&h, 10, 100, &number), "writes");
	fault_set((int)WAL_OP_WRITE, 1, -EIO, 0);
	h_push(&h, REC_OP, 0, "lost", 4);
	h_ring(&h);
	ok(wait_until(h_ended(&h), H_WAIT_MS), "a flush fails");
	fault_set(-1, 0, 0, 0);
	is_u64(atomic_load(&h.region.control->wal_failed), 12, "told");
	memcpy(first, h.region.path, sizeof(first));
	h_kill(&h);
	held = region_hold(first);
	ok(rename(link, aside) == 0, "another run_dir");
	h.keep_region = false;
	is_i64(h_boot(&h), 0, "boots");
	h_elect(&h, 2);
	ok(h_write(&h, 10, 100, &number), "ten more");
	ok(h_stop(&h), "ends");
	ok(rename(aside, link) == 0, "the first run_dir again");
	close(held);
	h_region(&h);
	watched = h.region.control;
	is_u64(atomic_load(&watched->wal_failed), 12, "its word");
	h_fork_at(&h, SHUTDOWN_NONE);
	is_i64(h_booted(&h), 0, "boots");
	is_u64(atomic_load(&fault->word), 0,
	    "is gone before anything makes it hold");
	is_u64(position_get(&h.region.pos->durable), h.acked_vlsn,
	    "all that was answered is there");
	watched = NULL;
	ok(h_stop(&h), "ends");
	shm_unlink(first);
	h_free(&h);
}

int
main(int argc, char **argv)
{
	setproctitle_init(argc, argv, environ);
	say_open("/dev/null");
	fault = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fault_set(-1, 0, 0, 0);
	wal_fault_hook = hook;
	test_short();
	test_closed(CONF_WAL_IO_AUTO, WAL_OP_WRITE);
	test_closed(CONF_WAL_IO_BUFFERED, WAL_OP_SYNC);
	test_closed_stop();
	test_dropped(CONF_WAL_IO_AUTO, WAL_OP_WRITE);
	test_dropped(CONF_WAL_IO_BUFFERED, WAL_OP_SYNC);
	test_header(CONF_WAL_IO_AUTO, WAL_OP_WRITE);
	test_header(CONF_WAL_IO_BUFFERED, WAL_OP_SYNC);
	test_void_word();
	test_unreadable();
	test_bad_message();
	test_tail();
	test_tail_short(CONF_WAL_IO_AUTO);
	test_tail_short(CONF_WAL_IO_BUFFERED);
	test_anew();
	test_nth(CONF_WAL_IO_AUTO, WAL_OP_WRITE, -EIO, "direct write");
	test_nth(CONF_WAL_IO_BUFFERED, WAL_OP_WRITE, -EIO, "buffered write");
	test_nth(CONF_WAL_IO_BUFFERED, WAL_OP_SYNC, -EIO, "fdatasync");
	test_nth(CONF_WAL_IO_AUTO, WAL_OP_SYNC, -EIO, "fsync");
	test_nth(CONF_WAL_IO_AUTO, WAL_OP_ALLOC, -ENOSPC, "fallocate");
	test_rename();
	test_nospace(
	    ENOSPC, TROUBLE_LOG_FULL, ": fallocate: No space left on device: ");
	test_nospace(
	    EROFS, TROUBLE_LOG_SEGMENT, ": fallocate: Read-only file system: ");
	test_kills(CONF_WAL_IO_AUTO, "/tmp", 25);
	test_kills(CONF_WAL_IO_BUFFERED, "/dev/shm", 15);
	return tap_done();
}
