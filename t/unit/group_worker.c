/*
 * The group worker as the supervisor forks it, with this test in the place of
 * supervisor and wal, over data directories in each state: founded, booted
 * before, half-written, damaged, foreign; in each recovery mode. And the pure
 * steps of what it writes.
 */
#include "t/lib/openat_refused.h"

#include <dlfcn.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "conf/node_file.h"
#include "shm/log/record.h"
#include "t/shm_fixture.h"
#include "workers/group/core/acts.h"
#include "workers/group/group.h"
#include "workers/worker.h"

static struct fixture f;
static struct conf conf;
static struct worker w;
static struct node_file node = { .format = NODE_FILE_FORMAT,
	.node = "unit",
	.group = "g",
	.generation = 1,
	.incarnation = 0xfeed };
static char data_dir[64];

static bool segments_refused;

static bool
openat_refused(const char *path)
{
	return segments_refused && strstr(path, ".seg") != NULL;
}

/* Blocks of `state` that a boot has written; shared with the worker. */
static struct state_writes {
	_Atomic unsigned count, fail_at; /* the how manieth fails, 0 = none */
	struct state as[4];
	unsigned block[4];
	bool synced[4];
	/* A mastership is to end: see depose(). The request's number. */
	_Atomic uint32_t depose;
} * writes;

/* In front of libc's. */
ssize_t
pwrite(int fd, const void *data, size_t n, off_t at)
{
	struct iovec iov = { (void *)(uintptr_t)data, n };
	unsigned i = 0;

	if (n == STATE_BLOCK_SIZE && (i = ++writes->count) <= 4) {
		writes->block[i - 1] = (unsigned)(at / STATE_STRIDE);
		writes->synced[i - 1] =
		    (fcntl(fd, F_GETFL) & O_DSYNC) == O_DSYNC;
		(void)state_decode(data, &writes->as[i - 1]);
	}
	if (i != 0 && i == writes->fail_at) {
		errno = EIO;
		return -1;
	}
	return pwritev2(fd, &iov, 1, at, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
    __attribute__((alias("pwrite")));

/* As wal: with the second block's completion the log is cut behind this one. */
static uint64_t cut_when_stored; /* 0 = it is not */

static void
cut_if_stored(struct io_uring *ring)
{
	static unsigned completions;
	struct walbuf_head *h = f.r.walbuf.h;
	struct io_uring_cqe *cqe;
	unsigned at;

	if (cut_when_stored == 0)
		return;
	io_uring_for_each_cqe(ring, at, cqe)
	{
		if (cqe->user_data != loop_tag(KIND_STATE, 0, 0) ||
		    ++completions != 2)
			continue;
		atomic_store(&h->cut[1], cut_when_stored);
		atomic_store(&h->cuts, 1);
		atomic_store(&h->cuts_done, 1);
	}
}

static void give_return(uint32_t seq, uint64_t vlsn);

/*
 * Within one turn of group's: its membership is record 5, the mastership ends,
 * the log is cut behind record 1, and others' records are committed up to 7.
 */
static void
depose(struct io_uring *ring)
{
	struct group *g =
	    (struct group *)((char *)ring - offsetof(struct group, loop.ring));
	struct walbuf_head *h = f.r.walbuf.h;
	uint32_t seq = atomic_exchange(&writes->depose, 0);

	if (seq == 0)
		return;
	give_return(seq, 5);
	g->core.role = ROLE_UNKNOWN;
	g->core.leader = 0;
	g->core.lease_until_ns = 0;
	g->core.epoch++;
	group_view(&g->core, &g->view);
	commit_view_write(f.r.commit, &g->view);
	atomic_store(&h->cut[1], 1);
	atomic_store(&h->cuts, 1);
	atomic_store(&h->cuts_done, 1);
	position_set(&f.r.pos->committed, epoch_word(g->core.epoch, 7));
}

/* In front of liburing's. */
int
io_uring_submit_and_get_events(struct io_uring *ring)
{
	static int (*real)(struct io_uring *);
	int rc;

	if (real == NULL)
		*(void **)&real =
		    dlsym(RTLD_NEXT, "io_uring_submit_and_get_events");
	rc = real(ring);
	cut_if_stored(ring);
	depose(ring);
	return rc;
}

int
io_uring_submit_and_wait_timeout(struct io_uring *ring,
    struct io_uring_cqe **cqe, unsigned n, struct __kernel_timespec *ts,
    sigset_t *mask)
{
	static int (*real)(struct io_uring *, struct io_uring_cqe **, unsigned,
	    struct __kernel_timespec *, sigset_t *);
	int rc;

	if (real == NULL)
		*(void **)&real =
		    dlsym(RTLD_NEXT, "io_uring_submit_and_wait_timeout");
	rc = real(ring, cqe, n, ts, mask);
	cut_if_stored(ring);
	depose(ring);
	return rc;
}

static int
group_child(void *arg)
{
	(void)arg;
	return group_main(&w);
}

/* A fresh region, and the worker in it, held before the log's end is known. */
static pid_t
group_start(enum recovery_mode mode)
{
	unsigned i;

	fixture_dir(&f);
	f.spec.recovery_mode = mode;
	if (region_create(&f.r, &f.spec, (char[256]){ 0 }, 256) != 0)
		skip_all("no region can be made here");
	w = (struct worker){ .slot = SLOT_GROUP,
		.incarnation = 1,
		.region = &f.r,
		.conf = &conf,
		.supervisor_pid = getpid(),
		.lock_fd = -1,
		.http_fd = -1,
		.control_fd = -1,
		.force = mode == RECOVERY_FORCE,
		.readonly = mode == RECOVERY_READONLY };
	w.data_dir = open(data_dir, O_RDONLY | O_DIRECTORY);
	for (i = 0; i < LISTEN_MAX; i++)
		w.listen_fd[i] = -1;
	worker_alone(&w);
	for (i = 0; i < SLOT_MAX; i++)
		w.bells.fd[i] = -1;
	w.bells.wakes = f.r.wakes;
	w.bells.fd[SLOT_GROUP] = eventfd(0, EFD_CLOEXEC);
	seq_register(f.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "log scanned");
	seq_register(
	    f.r.seq, PHASE_RAFT_METADATA_REPLAY, SLOT_GROUP, "term, vote");
	seq_register(f.r.seq, PHASE_WARM_PEERS, SLOT_GROUP, "peers dialled");
	seq_register(f.r.seq, PHASE_GATEWAY_ENABLE, SLOT_GATEWAY, "clients");
	seq_seal(f.r.seq);
	atomic_store(&f.r.slots->row[SLOT_GROUP].state, SLOT_STARTING);
	return child_start(group_child, NULL);
}

static struct commit_view
view(void)
{
	struct commit_view v;

	commit_view_read(f.r.commit, &v);
	return v;
}

static void
log_known(void)
{
	seq_fire(f.r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
}

static bool
ready(void)
{
	return wait_until(seq_reached(f.r.seq, PHASE_WARM_PEERS), TAP_WAIT_MS);
}

static void
region_over(void)
{
	close(w.bells.fd[SLOT_GROUP]);
	close(w.data_dir);
	fixture_close(&f);
}

static void
group_stop(pid_t pid)
{
	struct slot_row *row = &f.r.slots->row[SLOT_GROUP];
	unsigned step;

	for (step = 1; step <= SHUTDOWN_CLOSED; step++) {
		seq_shutdown(f.r.seq, step);
		bell_ring(&w.bells, SLOT_GROUP);
		if (!wait_until(
			atomic_load(&row->drained) >= step, TAP_WAIT_MS))
			ok(false, "step %s is answered", shutdown_name(step));
	}
	is_i64(child_end(pid), 0, "stops with 0");
}

static bool
file_is(const char *name, bool there)
{
	return (faccessat(w.data_dir, name, F_OK, 0) == 0) == there;
}

static uint64_t
state_term(void)
{
	enum state_found found;
	struct state s;
	unsigned worse;

	return state_file_read(w.data_dir, &s, &found, &worse) == 0
		   ? s.term
		   : UINT64_MAX;
}

/* Flip a byte of a file in data_dir. */
static void
spoil(const char *name, off_t at)
{
	int fd = open(data_dir, O_RDONLY | O_DIRECTORY), file;
	uint8_t byte;

	file = openat(fd, name, O_RDWR);
	if (pread(file, &byte, 1, at) != 1)
		abort();
	byte ^= 0x10;
	if (pwrite(file, &byte, 1, at) != 1)
		abort();
	close(file);
	close(fd);
}

static bool
event_says(const char *text)
{
	struct event list[32];
	unsigned n = event_list(f.r.events, list, 32), i;

	for (i = 0; i < n; i++)
		if (strstr(list[i].text, text) != NULL)
			return true;
	return false;
}

static void
test_steps(void)
{
	is_u64(state_write_next(STATE_WRITE_FIRST, 512, 512),
	    STATE_WRITE_SECOND, "first block, second block");
	is_u64(state_write_next(STATE_WRITE_SECOND, 512, 512),
	    STATE_WRITE_DURABLE, "second block, durable");
	is_u64(state_write_next(STATE_WRITE_FIRST, 511, 512),
	    STATE_WRITE_FAILED, "a short write fails");
	is_u64(state_write_next(STATE_WRITE_SECOND, -EIO, 512),
	    STATE_WRITE_FAILED, "an error fails");
	is_u64(state_write_next(STATE_WRITE_SECOND, -EINTR, 512),
	    STATE_WRITE_SECOND, "what did not begin begins again");
	is_u64(members_write_next(MEMBERS_WRITE_OPEN, 7, 9), MEMBERS_WRITE_DATA,
	    "open, write");
	is_u64(members_write_next(MEMBERS_WRITE_DATA, 8, 9), MEMBERS_WRITE_IDLE,
	    "a short write gives up");
	is_u64(members_write_next(MEMBERS_WRITE_DATA, 9, 9),
	    MEMBERS_WRITE_FLUSH, "write, flush");
	is_u64(members_write_next(MEMBERS_WRITE_FLUSH, -EIO, 9),
	    MEMBERS_WRITE_IDLE, "a failed flush gives up");
	is_u64(members_write_next(MEMBERS_WRITE_FLUSH, 0, 9),
	    MEMBERS_WRITE_RENAME, "flush, rename");
	is_u64(members_write_next(MEMBERS_WRITE_RENAME, -EAGAIN, 9),
	    MEMBERS_WRITE_RENAME, "again");
	is_u64(members_write_next(MEMBERS_WRITE_RENAME, 0, 9),
	    MEMBERS_WRITE_DIR, "rename, flush the directory");
	is_u64(members_write_next(MEMBERS_WRITE_DIR, 0, 9), MEMBERS_WRITE_IDLE,
	    "done");
}

/* As wal: the one request there is, and its membership. */
static bool
take_request(struct membership *m, struct wal_req *req)
{
	struct bytering ring;
	const uint8_t *at;
	uint32_t len;

	region_ring(&f.r, CLIENT_GROUP, RING_REQUEST, &ring);
	if (!wait_until(bytering_ready(&ring), TAP_WAIT_MS))
		return false;
	at = bytering_peek(&ring, &len);
	memcpy(req, at, sizeof(*req));
	if (member_decode(at + sizeof(*req), len - sizeof(*req), 2, m) != 0)
		return false;
	bytering_advance(&ring, len);
	bytering_consume(&ring);
	return true;
}

static void
give_return(uint32_t seq, uint64_t vlsn)
{
	struct wal_ret *ret;
	struct bytering ring;

	region_ring(&f.r, CLIENT_GROUP, RING_RETURN, &ring);
	ret = bytering_reserve(&ring, sizeof(*ret));
	ret->seq = seq;
	ret->count = 1;
	ret->incarnation = 1;
	ret->vlsn = vlsn;
	ret->status = RET_OK;
	bytering_publish(&ring);
	bell_ring(&w.bells, SLOT_GROUP);
}

static void
test_founding(void)
{
	pid_t pid = group_start(RECOVERY_NORMAL);
	struct membership m;
	struct wal_req req;
	struct commit_view v = view();
	uint64_t vlsn;

	ok(v.role == ROLE_DETACHED && v.term == 0, "waits for the log's end");
	log_known();
	ok(ready(), "a group of one lets the boot go on by itself");
	v = view();
	ok(v.role == ROLE_MASTER && v.term == 1 && v.epoch == 1, "master");
	ok(v.self == 0 && v.master == 0 && v.voters == 1 &&
		quorum_least(&v.quorum) == 1 && v.member_count == 1,
	    "of itself");
	ok(v.lease_until_ns == UINT64_MAX, "exempt from the lease");
	is_u64(word_epoch(position_get(&f.r.pos->committed)), 1,
	    "`committed` is of its epoch");
	is_str(f.r.commit->name[0], "unit", "members have names");
	is_u64(state_term(), 1, "the term is on disk");
	ok(take_request(&m, &req) && req.type == REC_MEMBER, "asks wal");
	ok(m.count == 1 && m.member[0].incarnation == 0xfeed &&
		m.lease_ms == conf.election.lease_ms &&
		m.member[0].priority == conf.election.priority &&
		strcmp(m.member[0].name, "unit") == 0 &&
		memcmp(m.group_uuid, node.group_uuid, 16) == 0,
	    "to append what the configuration proposes");
	ok(file_is("members", false), "nothing is filed before it commits");
	position_set(&f.r.pos->term_start, epoch_word(1, 1));
	give_return(req.seq, 2);
	position_set(&f.r.pos->committed, epoch_word(1, 2));
	bell_ring(&w.bells, SLOT_GROUP);
	ok(wait_until(file_is("members", true), TAP_WAIT_MS),
	    "then it is filed");
	ok(wait_until(file_is("members.tmp", false), TAP_WAIT_MS), "wholly");
	is_u64(counter_sum(f.r.counters, C_ELECTIONS_HELD), 1, "one election");
	is_u64(counter_sum(f.r.counters, C_ELECTIONS_WON), 1, "won");
	is_u64(counter_sum(f.r.counters, C_ROLE_CHANGES), 2, "two changes");
	ok(event_says("unknown -> master in term 1: won the term"), "told");
	ok(!commit_of_term(&f.r, 1, &vlsn) && vlsn == 2,
	    "it is its mastership");
	group_stop(pid);
	ok(view().role == ROLE_SHUTDOWN && view().epoch == 2, "and over");
	ok(commit_of_term(&f.r, 1, &vlsn) && vlsn == 2,
	    "what it had committed is known");
	region_over();
}

static bool
has_ended(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
		   0 &&
	       info.si_pid == pid;
}

static void
filing_turn(void *ctx)
{
	struct group *g = ctx;

	group_members_save(g);
	g->loop.quit = !group_io_busy(g);
}

static bool
filing_pending(void *ctx)
{
	(void)ctx;
	return false;
}

static uint64_t
filing_deadline(void *ctx)
{
	(void)ctx;
	return LOOP_NEVER;
}

/*
 * In the child: a membership is committed, and until its file is written each
 * of the core's others is newer and is not.
 */
static int
filing_main(void *arg)
{
	static const struct loop_hooks hooks = { .turn = filing_turn,
		.pending = filing_pending,
		.deadline = filing_deadline };
	static struct group g;
	struct membership m = { .vlsn = 2,
		.generation = 1,
		.policy = QUORUM_MAJORITY,
		.lease_ms = conf.election.lease_ms,
		.count = 1 };

	(void)arg;
	g.w = &w;
	g.r = &f.r;
	if (loop_open(&g.loop, g.r, &w.bells, SLOT_GROUP, 32, &g, &hooks) != 0)
		return 1;
	group_io_open(&g);
	memcpy(m.group_uuid, node.group_uuid, sizeof(m.group_uuid));
	m.member[0].incarnation = node.incarnation;
	strcpy(m.member[0].name, node.node);
	member_default(&m.member[0]);
	g.core.current = m;
	group_members_want(&g, &m);
	g.core.current.vlsn = 3;
	if (loop_run(&g.loop) != 0)
		return 2;
	return g.members_wanted ? 3 : 0;
}

/* What is in the file was committed, whatever the core has had since. */
static void
test_filed(void)
{
	uint8_t buf[MEMBER_FILE_MAX];
	struct membership m = { 0 };
	pid_t pid;
	ssize_t n;
	int fd;

	pid = group_start(RECOVERY_NORMAL);
	kill(pid, SIGKILL);
	(void)child_end(pid);
	is_i64(child_end(child_start(filing_main, NULL)), 0,
	    "the membership that is committed is filed, no other is wanted");
	fd = openat(w.data_dir, MEMBERS_FILE, O_RDONLY);
	n = read(fd, buf, sizeof(buf));
	ok(n > 0 && member_file_decode(buf, (size_t)n, &m) == 0, "a file");
	is_u64(m.vlsn, 2, "of that");
	close(fd);
	unlinkat(w.data_dir, MEMBERS_FILE, 0);
	region_over();
}

/*
 * The log is cut while the vote is on its way to the disk, and both are there
 * in the same turn. The membership by which the vote is enough is not in force
 * any more: nobody is elected by it.
 */
static void
test_cut(void)
{
	pid_t pid;

	cut_when_stored = 1;
	pid = group_start(RECOVERY_NORMAL);
	/* Begun anew behind a checkpoint: there is no record to read. */
	position_set(&f.r.pos->first, 3);
	position_set(&f.r.pos->appended, 2);
	position_set(&f.r.pos->term, 1);
	log_known();
	if (!ok(wait_until(has_ended(pid), TAP_WAIT_MS), "nobody is master"))
		kill(pid, SIGKILL);
	is_i64(child_end(pid), WORKER_EXIT_FAILED,
	    "a membership that was cut ends the boot");
	is_u64(counter_sum(f.r.counters, C_ELECTIONS_WON), 0,
	    "before anybody wins by it");
	if (!ok(strstr(f.r.seq->error, "was cut from the log") != NULL,
		"and is told"))
		diag("%s", f.r.seq->error);
	cut_when_stored = 0;
	region_over();
}

/*
 * wal's answer is there, and so is a cut that took that record: the membership
 * is not in force, whatever is committed at its VLSN.
 */
static void
test_member_cut(void)
{
	pid_t pid = group_start(RECOVERY_NORMAL);
	struct membership m;
	struct wal_req req;

	log_known();
	ok(ready() && take_request(&m, &req), "a membership is asked for");
	atomic_store(&writes->depose, req.seq);
	bell_ring(&w.bells, SLOT_GROUP);
	ok(take_request(&m, &req) && m.count == 1,
	    "cut off before it is looked at, it is asked for again");
	ok(view().term > 1, "in another term");
	ok(file_is("members", false), "what others committed is none");
	kill(pid, SIGKILL);
	is_i64(child_end(pid), 1000 + SIGKILL, "killed");
	unlinkat(w.data_dir, STATE_FILE, 0);
	region_over();
}

static void
refused(enum recovery_mode mode, const char *why, const char *name)
{
	pid_t pid = group_start(mode);

	log_known();
	is_i64(child_end(pid), WORKER_EXIT_FAILED, name);
	if (!ok(strstr(f.r.seq->error, why) != NULL, "and says so"))
		diag("%s", f.r.seq->error);
	ok(view().role != ROLE_MASTER, "no master");
	region_over();
}

static void
test_log_lost(void)
{
	struct membership m;
	struct wal_req req;
	pid_t pid;

	/* The file says VLSN 2, the log is empty. */
	refused(RECOVERY_NORMAL, "recovery_mode = force",
	    "a log that ends before the membership is refused");
	pid = group_start(RECOVERY_FORCE);
	log_known();
	ok(ready() && view().role == ROLE_MASTER && view().term == 3,
	    "force goes on in the next term");
	ok(event_says("records are lost"), "loudly");
	ok(take_request(&m, &req) && m.generation == 2, "in a new generation");
	position_set(&f.r.pos->member, 2);
	is_u64(position_get(&f.r.pos->filed), 0, "the file has another one");
	position_set(&f.r.pos->term_start, epoch_word(1, 1));
	give_return(req.seq, 2);
	position_set(&f.r.pos->committed, epoch_word(1, 2));
	bell_ring(&w.bells, SLOT_GROUP);
	ok(wait_until(position_get(&f.r.pos->filed) == 2, TAP_WAIT_MS),
	    "its membership is filed, though that had the same VLSN");
	group_stop(pid);
	unlinkat(w.data_dir, "members", 0);
	region_over();
}

/* The membership is in a segment that there is no descriptor for, or bad. */
static void
test_log_unread(void)
{
	int dir = open(data_dir, O_RDONLY | O_DIRECTORY);
	pid_t pid;
	int i;

	mkdirat(dir, "wal", 0700);
	close(openat(dir, "wal/00000001.seg", O_WRONLY | O_CREAT, 0600));
	for (i = 0; i < 2; i++) {
		segments_refused = i == 0;
		pid = group_start(RECOVERY_FORCE);
		position_set(&f.r.pos->first, 1);
		position_set(&f.r.pos->member, 1);
		position_set(&f.r.pos->appended, 1);
		log_known();
		is_i64(child_end(pid), WORKER_EXIT_FAILED,
		    "force cannot read the log's end");
		ok(strstr(f.r.seq->error, strerror(ENFILE)) == NULL || i == 0,
		    "it says why: %s", f.r.seq->error);
		is_i64(event_says("the membership in it is lost"), i,
		    "want of descriptors is no loss, damage is");
		region_over();
	}
	unlinkat(dir, "wal/00000001.seg", 0);
	unlinkat(dir, "wal", AT_REMOVEDIR);
	close(dir);
}

static void
test_again(void)
{
	pid_t pid;
	int i;

	for (i = 0; i < 2; i++) {
		pid = group_start(RECOVERY_NORMAL);
		log_known();
		(void)ready();
		is_u64(view().term, 4 + (unsigned)i, "each boot wins a term");
		if (i == 0) {
			kill(pid, SIGKILL);
			is_i64(child_end(pid), 1000 + SIGKILL, "killed");
		} else {
			group_stop(pid);
		}
		region_over();
	}
}

static void
test_readonly(void)
{
	struct stat before, after;
	pid_t pid;
	int fd = open(data_dir, O_RDONLY | O_DIRECTORY);

	fstatat(fd, "state", &before, 0);
	pid = group_start(RECOVERY_READONLY);
	log_known();
	ok(ready(), "readonly: the boot goes on");
	ok(view().role == ROLE_DETACHED && view().readonly == 1 &&
		view().term == 5,
	    "detached");
	/* wal tells of it first, then of the log that has it. */
	position_set(&f.r.pos->member, 40);
	bell_ring(&w.bells, SLOT_GROUP);
	(void)wait_until(false, 100);
	ok(!event_says("membership in the log"),
	    "a membership that is not in the log yet is looked for later");
	position_set(&f.r.pos->appended, 40);
	bell_ring(&w.bells, SLOT_GROUP);
	ok(wait_until(event_says("membership in the log"), TAP_WAIT_MS),
	    "then it is");
	group_stop(pid);
	fstatat(fd, "state", &after, 0);
	ok(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec &&
		before.st_ino == after.st_ino,
	    "nothing was written");
	close(fd);
	region_over();
}

static void
test_damage(void)
{
	pid_t pid;

	spoil("state", 30);
	pid = group_start(RECOVERY_NORMAL);
	log_known();
	ok(ready() && view().term == 6, "one bad block: the other one counts");
	ok(event_says("block 0 is damaged"), "and it is told");
	group_stop(pid);
	region_over();
	spoil("state", 30);
	spoil("state", STATE_STRIDE + 511);
	refused(RECOVERY_NORMAL, "/state: both blocks are damaged",
	    "two bad blocks are refused");
	pid = group_start(RECOVERY_READONLY);
	log_known();
	ok(ready() && event_says("both blocks are damaged"),
	    "readonly serves all the same");
	group_stop(pid);
	region_over();
	pid = group_start(RECOVERY_FORCE);
	log_known();
	ok(ready() && view().role == ROLE_MASTER, "force makes a new one");
	ok(event_says("force: state") && file_is("state.bad", true),
	    "loudly, and keeps the bad one");
	unlinkat(w.data_dir, "state.bad", 0);
	group_stop(pid);
	region_over();
}

/*
 * What a boot has read of the state it writes anew, the worse block first, the
 * same promise: a failed flush may have left it in the page cache only.
 */
static void
test_anew(void)
{
	enum state_found found;
	struct state s;
	unsigned worse, i;
	int dir = open(data_dir, O_RDONLY | O_DIRECTORY);
	pid_t pid;

	spoil("state", STATE_STRIDE + 30);
	is_i64(state_file_read(dir, &s, &found, &worse), 0, "a promise");
	is_u64(worse, 1, "with a worse block");
	for (i = 1; i <= 2; i++) {
		writes->count = 0;
		writes->fail_at = i;
		refused(RECOVERY_NORMAL,
		    "/state: write: Input/output error: the vote is not on "
		    "disk",
		    "a write of the boot fails");
		is_u64(writes->count, i, "it is the last");
		is_u64(writes->block[0], 1, "the worse block is the first");
	}
	writes->count = writes->fail_at = 0;
	pid = group_start(RECOVERY_NORMAL);
	log_known();
	ok(ready() && view().term == s.term + 1, "then it wins a term");
	is_u64(writes->count, 3, "both blocks were written");
	ok(writes->block[0] != writes->block[1] &&
		writes->block[0] == writes->block[2],
	    "the worse one first, and again");
	for (i = 0; i < 3; i++)
		ok(writes->synced[i] &&
			writes->as[i].counter == s.counter + (i > 0) &&
			writes->as[i].boot == s.boot + (i > 0) &&
			writes->as[i].term == s.term &&
			writes->as[i].vote == s.vote,
		    "flushed, the same promise, then of a new boot");
	group_stop(pid);
	region_over();
	close(dir);
}

/* A state file that can be read but not written: sealed memory. */
static void
test_write_fails(void)
{
	uint8_t file[STATE_FILE_SIZE] = { 0 };
	struct state s = { .counter = 3,
		.term = 8,
		.incarnation = node.incarnation,
		.generation = 1 };
	int dir = open(data_dir, O_RDONLY | O_DIRECTORY);
	int fd = memfd_create("state", MFD_ALLOW_SEALING);
	char path[64];

	memcpy(s.group_uuid, node.group_uuid, sizeof(s.group_uuid));
	state_encode(file, &s);
	state_encode(file + STATE_STRIDE, &s);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	ok(write(fd, file, sizeof(file)) == (ssize_t)sizeof(file) &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0 &&
		symlinkat(path, dir, "state") == 0,
	    "a state file that takes no write");
	refused(RECOVERY_NORMAL,
	    "/state: write: Operation not permitted: the vote is not on disk",
	    "a promise that cannot be kept is not made");
	unlinkat(dir, "state", 0);
	close(fd);
	close(dir);
}

static void
test_foreign(void)
{
	int fd = open(data_dir, O_RDONLY | O_DIRECTORY);

	node.incarnation++;
	is_i64(node_file_write(fd, &node), 0, "another node's directory");
	refused(RECOVERY_NORMAL, "of another node", "its state is refused");
	refused(RECOVERY_FORCE, "of another node", "also with force");
	unlinkat(fd, "state", 0);
	mkdirat(fd, "state", 0700);
	refused(RECOVERY_NORMAL, "/state: read: Is a directory: a directory is",
	    "a directory in its place is refused");
	unlinkat(fd, "state", AT_REMOVEDIR);
	test_write_fails();
	conf.node.type = CONF_TYPE_ARBITER;
	refused(RECOVERY_NORMAL, "electable",
	    "a group of one that cannot be is refused");
	conf.node.type = CONF_TYPE_ELECTABLE;
	unlinkat(fd, NODE_FILE_NAME, 0);
	refused(RECOVERY_NORMAL, "/node: ", "no node file");
	unlinkat(fd, "state", 0);
	close(fd);
}

/* A stop that comes before the log's end is known. */
static void
test_early_stop(void)
{
	pid_t pid = group_start(RECOVERY_NORMAL);

	group_stop(pid);
	region_over();
}

int
main(int argc, char **argv)
{
	int fd;

	setproctitle_init(argc, argv, environ);
	conf_defaults(&conf);
	strcpy(conf.node.name, "unit");
	strcpy(data_dir, "/tmp/group_worker.XXXXXX");
	if (mkdtemp(data_dir) == NULL)
		skip_all("no temporary directory");
	writes = mmap(NULL, sizeof(*writes), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(node.group_uuid, 9, sizeof(node.group_uuid));
	fd = open(data_dir, O_RDONLY | O_DIRECTORY);
	is_i64(node_file_write(fd, &node), 0, "a founded directory");
	close(fd);
	test_steps();
	test_early_stop();
	test_filed();
	test_member_cut();
	test_founding();
	test_cut();
	test_log_lost();
	test_log_unread();
	test_again();
	test_readonly();
	test_damage();
	test_anew();
	test_foreign();
	is_i64(rmdir(data_dir), 0, "nothing is left");
	return tap_done();
}
