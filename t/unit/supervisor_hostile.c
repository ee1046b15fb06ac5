/*
 * A region whose every word is the workers' to write: the supervisor's own
 * functions run over sections full of chance, on the heap, where ASan sees a
 * step beyond any of them, while a thread goes on writing. Whatever is there,
 * each call ends, nothing outside is touched, no signal leaves, and text that
 * lacks its end is cut. SEED=n replays what was there at the start of a call.
 */
#include "supervisor/node.h"

#include <limits.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/kv/table.h"
#include "shm/say.h"
#include "t/lib/events.h"
#include "t/tap.h"

#define NODE "n1"

static char run_dir[] = "/tmp/supervisor_hostile.XXXXXX";

#define ROUNDS 60

static struct node n;
static struct part {
	uint8_t *at;
	size_t size;
} parts[16];
static unsigned part_count;
static _Atomic bool writing, done;
static uint64_t rnd_state;

static void *
section(size_t size)
{
	void *at = aligned_alloc(64, (size + 63) & ~(size_t)63);

	if (at == NULL)
		abort();
	parts[part_count++] = (struct part){ at, size };
	return at;
}

static uint64_t
next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t
rnd(void)
{
	return next(&rnd_state);
}

static void
chance(uint64_t *state, void *at, size_t size)
{
	static const uint64_t edges[] = { 0, 1, UINT32_MAX, UINT64_MAX, 63, 64,
		65, 10, 11, 12, INT64_MAX, 1u << 26 | 1 };
	uint64_t word, *to = at;

	for (size_t i = 0; i < size / 8; i++) {
		word = next(state);
		__atomic_store_n(&to[i],
		    word % 3 == 0 ? edges[word / 3 % NITEMS(edges)] : word,
		    __ATOMIC_RELAXED);
	}
}

static void
fill(void)
{
	for (unsigned i = 0; i < part_count; i++)
		chance(&rnd_state, parts[i].at, parts[i].size & ~(size_t)7);
	/* Mostly free, else each call waits for nobody until its patience. */
	if (rnd() % 8 != 0)
		atomic_store(&n.region.seq->lock.word, 0);
}

static void *
writer(void *arg)
{
	uint64_t state = *(uint64_t *)arg;

	while (!atomic_load(&done))
		if (atomic_load(&writing))
			chance(&state, &n.region.seq->word,
			    sizeof(*n.region.seq) -
				offsetof(struct sequencer, word));
	return NULL;
}

static void
hostile_region(void)
{
	struct region *r = &n.region;

	/* Not a private one: it has a file. */
	*r = (struct region){ .fd = open("/dev/null", O_RDWR | O_CLOEXEC),
		.writable = true };
	r->head = section(sizeof(*r->head));
	r->seq = section(sizeof(*r->seq));
	r->slots = section(sizeof(*r->slots));
	r->wakes = section(sizeof(*r->wakes));
	r->control = section(sizeof(*r->control));
	r->counters = section(sizeof(*r->counters));
	r->events = section(sizeof(*r->events));
	r->pos = section(sizeof(*r->pos));
	r->troubles = section(sizeof(*r->troubles));
	r->table = section(sizeof(*r->table));
	strcpy(r->node, NODE);
	lock_self(r, SLOT_SUPERVISOR, 1);
}

static void
node_reset(void)
{
	n.mode = NODE_BOOTING;
	n.now_ns = mono_ns();
	n.boot_started_ns = n.now_ns - (rnd() % 3) * NS_PER_S;
	n.live_checked_ns = n.now_ns - 3 * NS_PER_S / 4;
	n.boot_again = n.finished = false;
	n.ever_served = rnd() % 2 == 0;
	n.stop_signals = 0;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		n.child[slot].restart_at_ns = 0;
		n.child[slot].killed = n.child[slot].down = false;
	}
}

/* A worker of ours, so that there is somebody to judge. */
static void
worker_begin(unsigned slot)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	n.child[slot].pid = pid;
	n.child[slot].incarnation++;
	n.child[slot].started_ns = mono_ns();
}

static void
worker_end(unsigned slot)
{
	if (n.child[slot].pid != 0)
		kill(n.child[slot].pid, SIGKILL);
	(void)wait_until(
	    (children_reap(&n), n.child[slot].pid == 0), TAP_WAIT_MS);
}

static void
call(unsigned which)
{
	struct seq_snapshot snap;

	switch (which) {
	case 0:
		node_boot_turn(&n);
		break;
	case 1:
		node_live_turn(&n);
		break;
	case 2:
		node_stop(&n, "a test");
		node_stop_turn(&n);
		(void)node_stop_pending(&n);
		break;
	case 3:
		node_seq_fail(&n, "a cause");
		break;
	case 4:
		node_seq_reaped(&n, SLOT_WAL);
		node_seq_died(&n, SLOT_WAL, "killed");
		break;
	case 5:
		node_decide(&n, SLOT_WAL, EXIT_FAILED, "wal: exited");
		break;
	case 6:
		n.mode = NODE_ENDING;
		n.hold_until_ns = n.now_ns;
		node_end_turn(&n);
		break;
	case 7:
		(void)seq_register(
		    n.region.seq, PHASE_WARM_PEERS, SLOT_WAL, "one more");
		(void)seq_seal(n.region.seq);
		break;
	case 8:
		node_reload(&n);
		break;
	case 9:
		seq_snapshot(n.region.seq, &snap);
		event_add(
		    &n.region, SLOT_SUPERVISOR, EVENT_INFO, "%s", snap.error);
		bell_ring_all(&n.bells);
		break;
	case 10:
		region_end(&n.region, REGION_ENDED);
		break;
	default:
		worker_end(SLOT_WAL);
		break;
	}
}

static void
rounds(bool beside)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned which = i % 12;

		if (n.child[SLOT_WAL].pid == 0)
			worker_begin(SLOT_WAL);
		node_reset();
		fill();
		atomic_store(&writing, beside);
		call(which);
		atomic_store(&writing, false);
		(void)waitpid(-1, NULL, WNOHANG | WNOWAIT);
	}
	worker_end(SLOT_WAL);
	ok(true, "%u calls%s", ROUNDS, beside ? ", written to meanwhile" : "");
}

/* Text that does not end, up to the end of the section and beyond. */
static void
endless_text(void)
{
	struct sequencer *s = n.region.seq;

	for (unsigned i = 0; i < part_count; i++)
		memset(parts[i].at, 0, parts[i].size);
	seq_init(s, RECOVERY_NORMAL);
	(void)seq_register(s, PHASE_WAL_RECOVERY, SLOT_WAL, "scan");
	(void)seq_seal(s);
	memset(s->gate, 'x', sizeof(s->gate) + sizeof(s->progress));
	atomic_store(&s->gate[0].state, GATE_PENDING);
	s->gate[0].phase = PHASE_WAL_RECOVERY;
	s->gate[0].owner = SLOT_WAL;
	node_reset();
	node_seq_died(&n, SLOT_WAL, "killed");
	ok(strlen(s->error) < GATE_NAME_MAX + 64, "a gate's name: %s",
	    s->error);
	memset(s->error, 'y', sizeof(s->error));
	node_reset();
	node_decide(&n, SLOT_SUPERVISOR, EXIT_FAILED, "boot");
	ok(events_have(&n.region, "yyyy"), "an error's text is told");
	ok(!events_have(&n.region, "yx"), "and only that");
}

/* A region that got no name at first: the one it gets is of our own words. */
static void
names(void)
{
	const char *left[] = { "nodelifed.pid", "region.new" };
	char path[PATH_MAX], to[PATH_MAX] = "";

	snprintf(path, sizeof(path), "%s/region.new", run_dir);
	ok(readlink(path, to, sizeof(to) - 1) > 0 &&
		strncmp(to, "/dev/shm/nodelife." NODE ".", 20) == 0,
	    "links lead to %s", to);
	for (size_t i = 0; i < NITEMS(left); i++) {
		snprintf(path, sizeof(path), "%s/%s", run_dir, left[i]);
		unlink(path);
	}
	ok(rmdir(run_dir) == 0, "nothing else is left in run_dir");
}

int
main(void)
{
	const char *env = getenv("SEED");
	uint64_t seed;
	pthread_t thread;

	alarm(300);
	rnd_state = env != NULL ? strtoull(env, NULL, 10) : mono_ns() | 1;
	diag("SEED=%llu", (unsigned long long)rnd_state);
	seed = rnd();
	say_open("/dev/null");
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		n.bells.fd[slot] = n.child[slot].pidfd = -1;
	n.signal_fd = n.ready_fd = n.listen.http_fd = n.listen.control_fd = -1;
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		n.listen.fd[i] = -1;
	hostile_region();
	n.has_region = true;
	n.bells.wakes = n.region.wakes;
	n.conf.node.gateways = 1;
	n.conf.boot.total_budget_ms = 1000;
	n.conf.liveness.timeout_ms = 2000;
	strcpy(n.conf_path, "/nonexistent/nodelife.ini");
	strcpy(n.conf.node.run_dir, mkdtemp(run_dir));
	rounds(false);
	if (pthread_create(&thread, NULL, writer, &seed) != 0)
		skip_all("no thread can be made here");
	rounds(true);
	atomic_store(&done, true);
	pthread_join(thread, NULL);
	endless_text();
	names();
	return tap_done();
}
