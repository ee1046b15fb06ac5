/*
 * The lock rule: a worker that is stopped while it has the sequencer's lock
 * is killed after the lock's patience, and the supervisor's own call then
 * mends and goes through, at every point of a change. So it does if the lock is
 * in the name of somebody who is no process of ours, and without a signal to
 * whoever the region names.
 */
#include "supervisor/node.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/locks.h"
#include "t/tap.h"

static struct node n;
static enum seq_point stop_at;

static void
hook(enum seq_point point)
{
	if (point == stop_at)
		raise(SIGSTOP);
}

/* A region with a gate of wal's, sealed. */
static bool
fresh_region(const char *run_dir)
{
	const struct region_spec spec = { .node = "supervisor_sequence",
		.group = "test",
		.data_dir = "/",
		.run_dir = run_dir,
		.client_addr = "-",
		.http_addr = "-",
		.walbuf_size = 4096,
		.table_size = 8 << 20,
		.gateway_count = 1 };
	char why[256];

	if (region_create(&n.region, &spec, why, sizeof(why)) != 0) {
		diag("%s", why);
		return false;
	}
	n.mode = NODE_ENDING; /* exits are not acted on here */
	n.bells.wakes = n.region.wakes;
	return seq_register(
		   n.region.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "proof") == 0 &&
	       seq_seal(n.region.seq) == 0;
}

/* A child that stops inside seq_fire(), with the lock held. */
static bool
child_stops(void)
{
	int status;
	pid_t pid;

	n.child[SLOT_WAL].incarnation++;
	pid = fork();
	if (pid == 0) {
		lock_self(&n.region, SLOT_WAL, n.child[SLOT_WAL].incarnation);
		seq_point_hook = hook;
		seq_fire(n.region.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
		_exit(0);
	}
	n.child[SLOT_WAL].pid = pid;
	n.child[SLOT_WAL].killed = false;
	return waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status);
}

static void
test_point(const char *run_dir, enum seq_point point, const char *name)
{
	uint64_t began;
	int status, rc;

	stop_at = point;
	if (!ok(fresh_region(run_dir) && child_stops(), "%s: stopped", name))
		return;
	began = tap_now_ms();
	rc = node_seq_fail(&n, "given up");
	ok(rc == 0 || rc == -114 /* it was served already */,
	    "%s: the call goes through (%d) in %" PRIu64 " ms", name, rc,
	    tap_now_ms() - began);
	ok(tap_now_ms() - began < 20000, "%s: not for ever", name);
	kill(n.child[SLOT_WAL].pid, SIGKILL); /* if it had no lock */
	waitpid(n.child[SLOT_WAL].pid, &status, 0);
	ok(WIFSIGNALED(status), "%s: the holder is gone", name);
	region_end(&n.region, REGION_ENDED);
	region_unlink(&n.region);
	region_unmap(&n.region);
}

/* In the name of the incarnation before, of us, of a slot that is none. */
static void
test_nobody(const char *run_dir)
{
	static const uint32_t words[] = { 2u << 26 | 77, 1u << 26 | 1,
		30u << 26 | 1, 77 };
	pid_t pid;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!ok(fresh_region(run_dir), "a region"))
			return;
		if ((pid = fork()) == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		n.child[SLOT_WAL].pid = pid;
		n.child[SLOT_WAL].killed = false;
		/* The region may name any process: ours is in our table. */
		atomic_store(&n.region.slots->row[SLOT_WAL].pid, getpid());
		atomic_store(&n.region.seq->lock.word, words[i]);
		ok(node_seq_fail(&n, "given up") == 0,
		    "%08x: the call goes through", words[i]);
		ok(!n.child[SLOT_WAL].killed, "nobody was killed");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		region_end(&n.region, REGION_ENDED);
		region_unlink(&n.region);
		region_unmap(&n.region);
	}
}

int
main(void)
{
	static const struct {
		enum seq_point point;
		const char *name;
	} points[] = { { SEQ_POINT_LOCKED, "locked" },
		{ SEQ_POINT_FIRE_STAMPED, "half fired" },
		{ SEQ_POINT_ADVANCE_STAMPED, "half advanced" },
		{ SEQ_POINT_ENDED, "changed, still locked" } };
	char dir[] = "/tmp/supervisor_sequence.XXXXXX", path[64];

	if (!ok(mkdtemp(dir) != NULL, "made %s", dir))
		return tap_done();
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		test_point(dir, points[i].point, points[i].name);
	test_nobody(dir);
	snprintf(path, sizeof(path), "%s/region", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/region.prev", dir);
	unlink(path);
	ok(rmdir(dir) == 0, "nothing is left");
	return tap_done();
}
