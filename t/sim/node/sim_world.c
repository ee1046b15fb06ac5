/*
 * The world around the node: who starts it and starts it again, and what is
 * done to it. The supervisor is the product's own, from node_boot() on.
 */
#include "t/sim/node/sim_core.h"

#include <sys/eventfd.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/say.h"
#include "shm/trouble.h"
#include "supervisor/datadir.h"
#include "t/sim/node/sim_node.h"

#define DISK     "n1"
#define DATA_DIR "/sim/" DISK "/data"

#define LOOK_NS      NS_PER_MS /* between two looks at the positions */
#define HARM_NS      (3 * NS_PER_S) /* between two harms, at most */
#define START_MAX_NS (2 * NS_PER_S)
#define PROGRESS_NS  (200 * NS_PER_S) /* the world holds nothing up so long */
#define CALM_NS      (7 * NS_PER_S) /* no stall or hiccup is longer */
#define SLOW_NS      (2 * NS_PER_S)
#define KILL_POINTS  3000
#define VAIN_MAX     20
#define ANSWER_NS    (700 * NS_PER_MS)
#define OLDER_CHANCE 999999 /* no harm's */

struct world world;

/* ---- the node's processes ---- */

/* Of checkpoint's folder: what its static variables are when one begins. */
extern char sim_checkpoint_begin[], sim_checkpoint_end[];
static char *checkpoint_fresh;

static size_t
checkpoint_size(void)
{
	return (size_t)(sim_checkpoint_end - sim_checkpoint_begin);
}

struct begun {
	int (*main)(struct worker *);
	struct worker worker;
	struct region region;
	struct conf conf;
};

static void
worker_begin(void *arg)
{
	struct begun *b = arg;

	sim_exit(b->main(&b->worker));
}

/* What fork(2) copies is copied; then on a stack of its own. */
__attribute__((noreturn)) static void
worker_exec(const char *name, int (*main)(struct worker *), struct worker *w)
{
	struct begun *b = malloc(sizeof(*b));

	*b = (struct begun){ main, *w, *w->region, *w->conf };
	b->worker.region = &b->region;
	b->worker.conf = &b->conf;
	if (strcmp(name, "checkpoint") == 0)
		memcpy(
		    sim_checkpoint_begin, checkpoint_fresh, checkpoint_size());
	sim_set_name(name);
	sim_exec(worker_begin, b);
}

/* The linker leads the supervisor's table to these. */
#define WRAP(name)                                                             \
	int __real_##name##_main(struct worker *w);                            \
	int __wrap_##name##_main(struct worker *w);                            \
	int __wrap_##name##_main(struct worker *w)                             \
	{                                                                      \
		worker_exec(#name, __real_##name##_main, w);                   \
	}
WRAP(wal)
WRAP(vlsn)
WRAP(store)
WRAP(checkpoint)
WRAP(group)
WRAP(gateway)
WRAP(health)
WRAP(restore)

/* ---- the supervisor ---- */

static void
node_init(struct node *n)
{
	n->ready_fd = n->data_dir = n->lock_fd = n->signal_fd = -1;
	n->pidfile.fd = -1;
	n->pairs = (struct pairs){ -1, -1, -1, -1 };
	n->listen.http_fd = n->listen.control_fd = -1;
	for (unsigned i = 0; i < LISTEN_MAX; i++)
		n->listen.fd[i] = -1;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		n->child[slot].pidfd = n->bells.fd[slot] = -1;
	n->conf = n->conf_set = world.conf;
	n->bells.wary = true;
}

/* nodelifed --init: durable before the first start. False: not yet. */
static bool
found(void)
{
	struct node_file node = { .format = NODE_FILE_FORMAT,
		.node = "n1",
		.group = "g1",
		.generation = 1,
		.incarnation = sim_rand() };
	int parent = -1, dir = -1;
	bool made;

	if (world.acked != 0)
		sim_fail("the node file is lost");
	memcpy(node.group_uuid, "0123456789abcdef", 16);
	made = (mkdir(DATA_DIR, 0750) == 0 || errno == EEXIST) &&
	       (parent = open("/sim/" DISK, O_RDONLY | O_DIRECTORY)) >= 0 &&
	       fsync(parent) == 0 &&
	       (dir = open(DATA_DIR, O_RDONLY | O_DIRECTORY)) >= 0 &&
	       node_file_write(dir, &node) == 0;
	close(dir);
	close(parent);
	return made;
}

static int
open_all(struct node *n)
{
	if (access(DATA_DIR "/" NODE_FILE_NAME, F_OK) != 0 && !found())
		return EX_CANTCREAT;
	n->data_dir = open(DATA_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n->lock_fd = n->data_dir < 0
			 ? -1
			 : datadir_lock(n->data_dir, true, DATADIR_WAIT_MS);
	if (n->lock_fd < 0)
		return EX_UNAVAILABLE;
	for (unsigned slot = 0; slot < SLOT_GATEWAY + n->conf.node.gateways;
	     slot++)
		n->bells.fd[slot] = eventfd(0, EFD_CLOEXEC);
	return 0;
}

static void
supervisor_end(struct node *n)
{
	if (!n->has_region)
		return;
	trouble_writer_died(&n->region, SLOT_SUPERVISOR);
	say_level_word(NULL);
	say_reopen_word(NULL);
	region_end(&n->region, REGION_ENDED);
	world.node = NULL;
	region_unmap(&n->region);
}

static void
supervisor_begin(void *arg)
{
	struct node *n = calloc(1, sizeof(*n));
	char why[FAULT_TEXT_MAX] = "";
	int rc;

	(void)arg;
	say_name("supervisor");
	say_level_set(SAY_INFO);
	node_init(n);
	rc = open_all(n);
	while (rc == 0 && (rc = node_boot(n, why)) == NODE_BOOT_WAITS) {
		sim_tell("the boot waits: %s", why);
		sim_sleep_until(sim_now_ns() + NS_PER_S);
		rc = 0;
	}
	world.node = n;
	if (rc == 0)
		rc = node_run(n);
	supervisor_end(n);
	world.ended = true;
	world.exit_code = rc;
	sim_exit(rc);
}

void
world_progress(void)
{
	world.progress_ns = sim_now_ns();
}

static void
supervisor_start(void)
{
	world.starts++;
	world.start_ns = 0;
	world.harmed = world.stopped = false;
	sim_tell("the node is started");
	world.supervisor = sim_spawn("supervisor", supervisor_begin, NULL);
}

/* ---- what must always be so ---- */

static void
look_positions(const struct region *r)
{
	uint64_t applied = position_get(&r->pos->applied);
	uint64_t durable = position_get(&r->pos->durable);
	uint64_t committed = commit_vlsn(r);
	uint64_t checkpointed = position_get(&r->pos->checkpointed);

	/* A boot knows from the checkpoint that it was, before the log says. */
	if (!commit_can_read(r))
		return;
	if (applied > committed)
		sim_fail("applied %ju is above committed %ju",
		    (uintmax_t)applied, (uintmax_t)committed);
	if (applied > durable && durable != 0)
		sim_fail("applied %ju is above durable %ju", (uintmax_t)applied,
		    (uintmax_t)durable);
	if (committed > durable && durable != 0)
		sim_fail("committed %ju is above durable %ju",
		    (uintmax_t)committed, (uintmax_t)durable);
	if (checkpointed > durable && durable != 0)
		sim_fail("checkpointed %ju is above durable %ju",
		    (uintmax_t)checkpointed, (uintmax_t)durable);
}

static void
tell_state(void)
{
	unsigned by[WRITE_REFUSED + 1] = { 0 };
	const struct positions *p;

	for (uint32_t i = 0; i < world.count; i++)
		by[world.write[i].state]++;
	sim_tell("writes: %u sent, %u placed, %u acknowledged, %u refused",
	    by[WRITE_SENT], by[WRITE_PLACED], by[WRITE_ACKED],
	    by[WRITE_REFUSED]);
	if (world.node == NULL || !world.node->has_region)
		return;
	p = world.node->region.pos;
	sim_tell("appended %ju, durable %ju, committed %ju, applied %ju, "
		 "frozen %ju, checkpointed %ju, refuses %ju, room %ju",
	    (uintmax_t)position_get(&p->appended),
	    (uintmax_t)position_get(&p->durable),
	    (uintmax_t)commit_vlsn(&world.node->region),
	    (uintmax_t)position_get(&p->applied),
	    (uintmax_t)position_get(&p->frozen),
	    (uintmax_t)position_get(&p->checkpointed),
	    (uintmax_t)position_get(&p->refuses),
	    (uintmax_t)position_get(&p->room));
}

static bool
node_serves(void)
{
	return world.node != NULL && world.node->mode == NODE_SERVING;
}

/* ---- harm ---- */

/* When all are dead. */
static void
power_back(void *arg)
{
	(void)arg;
	sim_tell("%u writes were on their way", sim_ring_orphans());
	sim_ring_power_loss();
	sim_disk_power_loss(sim_disk_find(DISK));
	sim_region_forget();
	if (world.older)
		older_look();
}

static void
power_loss(void *arg)
{
	int pid[64];
	unsigned n = sim_pids(pid, 64);

	(void)arg;
	if (world.over || n == 0)
		return;
	world.harmed = true;
	world.power_losses++;
	sim_tell("power loss");
	for (unsigned i = 0; i < n; i++)
		sim_kill(pid[i]);
	world.node = NULL;
	sim_event(sim_now_ns(), power_back, NULL);
}

/* Whoever it is: a child of checkpoint's, too. */
static void
kill_any(void)
{
	int pid[64];
	unsigned n = sim_pids(pid, 64);
	int which = n != 0 ? pid[sim_rand_below(n)] : 0;

	if (n == 0)
		return;
	world.kills++;
	sim_tell("%s (%d) will be killed", sim_name(which), which);
	sim_kill_after(which, 1 + (unsigned)sim_rand_below(50));
}

static void
kill_worker(void)
{
	static const unsigned slot[] = { SLOT_WAL, SLOT_STORE, SLOT_CHECKPOINT,
		SLOT_GROUP, SLOT_VLSN, SLOT_GATEWAY, SLOT_HEALTH };
	unsigned which = slot[sim_rand_below(NITEMS(slot))];
	unsigned points = (unsigned)sim_rand_below(
	    (uint64_t)KILL_POINTS >> sim_rand_below(10));
	int pid = world.node != NULL ? world.node->child[which].pid : 0;

	if (pid == 0)
		return;
	world.kills++;
	sim_tell("%s will be killed in %u points", slot_name(which), points);
	sim_kill_after(pid, points + 1);
}

static void
slow_disk(void)
{
	struct sim_disk_faults *f = sim_disk_faults(sim_disk_find(DISK));

	if (sim_chance(2)) {
		f->hang_until_ns = sim_now_ns() + sim_rand_below(SLOW_NS);
		sim_tell("the disk hangs until %.3f",
		    (double)(f->hang_until_ns) / 1e9);
	} else {
		f->delay_ns = sim_rand_below(10 * NS_PER_MS);
		sim_tell(
		    "the disk is slow: %.3f ms", (double)f->delay_ns / 1e6);
	}
}

static void
faults_end(void *arg)
{
	struct sim_disk_faults *f = arg;

	f->fail_write = f->fail_flush = f->short_write = f->fail_read = 0;
	f->room = UINT64_MAX / 2;
	sim_tell("the disk is good again");
}

static void
bad_disk(void)
{
	struct sim_disk_faults *f = sim_disk_faults(sim_disk_find(DISK));
	static const char places[] = { 'd', 'w', 's', 'v' };
	unsigned one_in = 1u << sim_rand_below(7);

	f->only = sim_chance(2) ? places[sim_rand_below(4)] : 0;
	switch (sim_rand_below(5)) {
	case 0:
		f->fail_write = one_in;
		break;
	case 1:
		f->fail_flush = one_in;
		break;
	case 2:
		f->short_write = one_in;
		break;
	case 3:
		f->fail_read = 8 * one_in;
		break;
	default:
		f->room = sim_rand_below(UINT64_C(16) << 20);
		break;
	}
	sim_tell("the disk fails%s%.1s: 1 write in %u, flush %u, short %u, "
		 "read %u, room %ju",
	    f->only != 0 ? " in " : "", &f->only, f->fail_write, f->fail_flush,
	    f->short_write, f->fail_read, (uintmax_t)f->room);
	sim_event(sim_now_ns() + (sim_rand_below(HARM_NS) >> sim_rand_below(8)),
	    faults_end, f);
}

static void
step_clock(void)
{
	int64_t ms = (int64_t)(sim_rand_below(200000) >> sim_rand_below(12));

	if (sim_chance(2))
		ms = -ms;
	sim_tell("the clock is set by %jd ms", (intmax_t)ms);
	sim_wall_step(ms * (int64_t)NS_PER_MS);
}

static void
ring_supervisor(void *arg)
{
	struct node *n = arg;

	bell_ring(&n->bells, SLOT_SUPERVISOR);
}

static void
stop_node(void)
{
	if (world.node == NULL || !world.node->has_region)
		return;
	sim_tell("the node is told to stop; it has begun %ju segments",
	    (uintmax_t)counter_sum(
		world.node->region.counters, C_WAL_SEGMENTS));
	atomic_store(&world.node->region.control->stop_wanted, 1);
	(void)sim_as(world.supervisor, ring_supervisor, world.node);
}

static void
ring_group(void *arg)
{
	struct node *n = arg;

	bell_ring(&n->bells, SLOT_GROUP);
}

/* Group looks whether it is the moment for what cut_log() wishes for. */
static void
cut_now(void *arg)
{
	(void)arg;
	if (world.cut_wanted && node_serves())
		(void)sim_as(world.supervisor, ring_group, world.node);
}

static void
cut_log(void)
{
	sim_tell("the mastership is to end, and the log to be cut");
	world.cut_wanted = true;
	cut_now(NULL);
}

static void
kill_supervisor(void)
{
	unsigned points = (unsigned)sim_rand_below(
	    (uint64_t)KILL_POINTS >> sim_rand_below(10));

	sim_tell("the supervisor will be killed in %u points", points);
	world.kills++;
	sim_kill_after(world.supervisor, 1 + points);
}

static void
harm_kind(void)
{
	uint64_t what = sim_rand_below(100);

	if (what < 35) {
		kill_worker();
	} else if (what < 45) {
		kill_any();
	} else if (what < 52) {
		kill_supervisor();
	} else if (what < 66 && world.start_ns == 0) {
		power_loss(NULL);
	} else if (what < 75) {
		cut_log();
	} else if (what < 80) {
		stop_node();
	} else if (what < 90 && world.disk_fails) {
		bad_disk();
	} else if (what < 94) {
		step_clock();
	} else {
		slow_disk();
	}
}

/* The next one; its kind is its own, whatever was before. */
static void
harm_do(bool at_ack)
{
	unsigned number = world.harms++;

	world.harm--;
	world.harm_waits = HARM_COMES;
	if ((sim_story()->cut.dropped >> number & 1) != 0)
		return;
	world.harmed = true;
	world.vain = 0;
	sim_story()->done++;
	sim_tell("harm %u", number);
	sim_chance_of(number);
	if (at_ack && sim_chance(2))
		power_loss(NULL);
	else
		harm_kind();
	sim_chance_back();
}

/*
 * Most harm waits for a client's next writes, to meet them under way, or for
 * the next answer, when all that it tells must be there; if there are none,
 * for the next harm.
 */
static void
harm(void *arg)
{
	uint64_t ns;

	(void)arg;
	if (world.over || world.harm == 0)
		return;
	sim_chance_of(1000 + world.harms);
	if (world.harm_waits == HARM_COMES &&
	    world.count < world.writes_wanted && !sim_chance(4))
		world.harm_waits = sim_chance(3) ? HARM_AT_ACK : HARM_AT_WRITE;
	else
		world.harm_waits = HARM_COMES;
	ns = sim_rand_below(HARM_NS) >> sim_rand_below(14);
	sim_chance_back();
	if (world.harm_waits == HARM_COMES)
		harm_do(false);
	sim_event(sim_now_ns() + ns, harm, NULL);
}

static void
harm_now(void *arg)
{
	if (!world.over && world.harm != 0)
		harm_do(arg != NULL);
}

void
world_wrote(void)
{
	if (world.cut_wanted)
		sim_event(sim_now_ns() +
			      (sim_rand_below(NS_PER_MS) >> sim_rand_below(12)),
		    cut_now, NULL);
	if (world.harm_waits != HARM_AT_WRITE)
		return;
	world.harm_waits = HARM_COMES;
	sim_event(sim_now_ns() + sim_rand_below(NS_PER_MS / 2), harm_now, NULL);
}

void
world_acked(void)
{
	if (world.harm_waits != HARM_AT_ACK || !sim_chance(4))
		return;
	world.harm_waits = HARM_COMES;
	sim_event(
	    sim_now_ns() + (sim_rand_below(NS_PER_MS) >> sim_rand_below(20)),
	    harm_now, &world);
}

/* ---- the watch ---- */

static void
restart_or_end(void)
{
	if (!sim_has_ended(world.supervisor))
		return;
	world.node = NULL;
	/* Killed, or standing still, before it served or in a stop: it may. */
	if (world.ended && world.exit_code != 0 && !world.harmed &&
	    !world.stalls)
		sim_fail("the node ended with code %d", world.exit_code);
	/* A stall may end a boot, but not each. */
	if (world.start_ns == 0 && world.ended && world.exit_code != 0 &&
	    ++world.vain > VAIN_MAX)
		sim_fail("the node ended %u times in a row, with code %d",
		    world.vain, world.exit_code);
	world.stopped |= world.ended && world.exit_code == 0;
	world.ended = false;
	if (world.start_ns == 0) {
		world.start_ns =
		    sim_now_ns() + 1 + sim_rand_below(START_MAX_NS);
		world_progress();
	} else if (sim_now_ns() >= world.start_ns) {
		if (world.older && world.stopped)
			older_make();
		supervisor_start();
	}
}

/*
 * Where nothing holds it up, an answer does not wait for a timer: who sleeps
 * is woken. Not with priorities, of which one may go hungry.
 */
static void
look_answers(void)
{
	uint64_t now = sim_now_ns();

	if (world.holds_up || world.harmed || world.over || !node_serves())
		return;
	for (uint32_t i = 0; i < world.count; i++) {
		const struct write *o = &world.write[i];

		if (o->state < WRITE_ACKED && !o->left && o->seq != 0 &&
		    now > o->sent_ns + ANSWER_NS)
			sim_fail("write %u has waited %.3f s for its answer", i,
			    (double)(now - o->sent_ns) / 1e9);
	}
}

/* All that was wished for has happened, and every answer has come. */
static bool
all_done(void)
{
	if (world.harm != 0 || world.count < world.writes_wanted ||
	    !node_serves())
		return false;
	for (uint32_t i = 0; i < world.count; i++)
		if (world.write[i].state == WRITE_PLACED)
			return false;
	return true;
}

/* Nothing more happens; when what has begun is over, too, a stop in order. */
static void
calm_down(void)
{
	struct sim_disk_faults *f = sim_disk_faults(sim_disk_find(DISK));

	sim_tell("nothing more happens");
	world.over = true;
	world.stop_ns = sim_now_ns() + CALM_NS;
	sim_schedule()->stall_one_in = 0;
	sim_ring_settings(false, 0, 0);
	f->delay_ns = 0;
}

/* One more boot and its check, then the end. */
static void
end_if_done(void)
{
	if (!world.over) {
		if (all_done())
			calm_down();
	} else if (world.stop_ns == 0) {
		if (world.checks > world.checks_before && node_serves())
			sim_stop();
	} else if (sim_now_ns() >= world.stop_ns && node_serves()) {
		world.stop_ns = 0;
		world.checks_before = world.checks;
		stop_node();
	}
}

/* The first moments of serving are soon over, and there is much to go wrong. */
static void
harm_early(void)
{
	static uint64_t seen;
	uint64_t boot;

	if (!node_serves() || !world.node->has_region)
		return;
	boot = world.node->region.head->boot_id[0];
	if (boot == seen)
		return;
	seen = boot;
	world.vain = 0;
	if (world.harm != 0 && sim_chance(3) &&
	    (sim_story()->cut.without & CUT_EARLY) == 0) {
		sim_story()->done++;
		sim_event(sim_now_ns() + (sim_rand_below(64 * NS_PER_MS) >>
					     sim_rand_below(12)),
		    power_loss, NULL);
	}
}

static void
watch(void *arg)
{
	(void)arg;
	restart_or_end();
	harm_early();
	if (world.node != NULL && world.node->has_region)
		look_positions(&world.node->region);
	if (world.is_older)
		older_look();
	look_answers();
	end_if_done();
	if (sim_now_ns() <= world.progress_ns + PROGRESS_NS) {
		sim_event(sim_now_ns() + LOOK_NS, watch, NULL);
		return;
	}
	tell_state();
	sim_fail("no progress for %u s", (unsigned)(PROGRESS_NS / NS_PER_S));
}

static void
configure(struct conf *c)
{
	conf_defaults(c);
	strlcpy(c->node.name, "n1", sizeof(c->node.name));
	strlcpy(c->node.group, "g1", sizeof(c->node.group));
	strlcpy(c->node.data_dir, DATA_DIR, sizeof(c->node.data_dir));
	strlcpy(c->node.run_dir, "/", sizeof(c->node.run_dir));
	c->node.gateways = world.gateways;
	c->wal.segment_size = UINT64_C(4) << 20;
	c->wal.buffer_size = UINT64_C(256) << 10;
	c->wal.keep_size = sim_chance(2) ? 0 : UINT64_C(1) << 40;
	c->wal.reserve = 1 << 20;
	c->wal.io = (enum conf_wal_io)sim_rand_below(3);
	c->store.table_size = UINT64_C(1) << 20;
	c->store.map_size = 0;
	c->store.checkpoint_wal = UINT64_C(64) << 10;
	c->restart.limit = 1000;
}

/* Little is done to it: who is not woken is seen by how long he sleeps. */
static void
calm_seed(struct sim_schedule *how)
{
	world.harm = (unsigned)sim_rand_below(3);
	world.fat = 0;
	world.slow = how->priorities = false;
	world.writes_wanted = 20 + (uint32_t)sim_rand_below(200);
	world.window = 1 + (uint32_t)sim_rand_below(3);
	world.pause_ns = NS_PER_MS << sim_rand_below(6);
	how->stall_one_in = 0;
	how->block_one_in = 16u << sim_rand_below(6);
	sim_ring_settings(sim_chance(3), 0, 0);
}

/* What a shorter story goes without. */
static void
cut_take(struct sim_schedule *how)
{
	const struct cut *cut = &sim_story()->cut;

	if (cut->writes != 0 && cut->writes < world.writes_wanted)
		world.writes_wanted = cut->writes;
	if ((cut->without & CUT_STALLS) != 0)
		how->stall_one_in = 0;
	if ((cut->without & CUT_SLOW) != 0) {
		sim_ring_settings(false, 0, 0);
		world.slow = false;
	}
	if ((cut->without & CUT_BLOCKS) != 0)
		how->block_one_in = 0;
	if ((cut->without & CUT_SPURIOUS) != 0)
		how->spurious_one_in = 0;
	if ((cut->without & CUT_PRIORITIES) != 0)
		how->priorities = false;
	if ((cut->without & CUT_EXPIRY) != 0)
		world.expiry = 0;
	if ((cut->without & CUT_FAT) != 0)
		world.fat = 0;
	if ((cut->without & CUT_GATEWAYS) != 0)
		world.conf.node.gateways = world.gateways = 1;
	if ((cut->without & CUT_WINDOW) != 0)
		world.window = 1;
	sim_story()->writes = world.writes_wanted;
	sim_story()->harms = world.harm;
	world.holds_up = how->stall_one_in != 0 || how->priorities ||
			 world.slow ||
			 (how->block_one_in != 0 && how->block_one_in < 16);
	sim_chance_again(cut->again);
}

void
world_begin(void)
{
	struct sim_schedule *how = sim_schedule();

	memset(&world, 0, sizeof(world));
	world.writes_wanted =
	    20 + (uint32_t)(sim_rand_below(4000) >> sim_rand_below(5));
	world.fat = sim_chance(3) ? 1 + (unsigned)sim_rand_below(3) : 0;
	/* So that there are many segments. */
	if (world.fat == 1)
		world.writes_wanted = 100 + (uint32_t)sim_rand_below(400);
	world.expiry = sim_chance(2) ? 1u << sim_rand_below(5) : 0;
	world.window = 1 + (uint32_t)sim_rand_below(64);
	world.gateways = 1 + (unsigned)sim_rand_below(4) / 3;
	world.harm = (unsigned)sim_rand_below(30);
	world.disk_fails = sim_chance(3);
	/* So that the writes last about as long as the harm. */
	world.pause_ns = world.harm * NS_PER_S / (world.writes_wanted / 4 + 1);
	how->priorities = sim_chance(2);
	how->switch_one_in = 1u << sim_rand_below(7);
	how->change_one_in = 16u << sim_rand_below(6);
	how->stall_one_in = sim_chance(3) ? 1u << (12 + sim_rand_below(6)) : 0;
	how->block_one_in = sim_chance(4) ? 0 : 2u << sim_rand_below(12);
	how->spurious_one_in = sim_chance(4) ? 50 : 0;
	world.slow = !sim_chance(3);
	sim_ring_settings(sim_chance(3), world.slow ? 2000 : 0,
	    !world.slow || sim_chance(2) ? 0 : NS_PER_MS << sim_rand_below(5));
	if (sim_chance(8))
		calm_seed(how);
	/* Not of the seed's chances so far: its story stays what it was. */
	sim_chance_of(OLDER_CHANCE);
	world.older = sim_chance(3);
	sim_chance_back();
	configure(&world.conf);
	cut_take(how);
	/* Behind all that says how many writes there are. */
	world.room = world.writes_wanted + GATEWAY_MAX;
	world.write = calloc(world.room, sizeof(*world.write));
	world.stalls = how->stall_one_in != 0;
	checkpoint_fresh = malloc(checkpoint_size());
	memcpy(checkpoint_fresh, sim_checkpoint_begin, checkpoint_size());
	(void)sim_disk_new(DISK);
	sim_tell("%u writes, %u at a time, %u harms, %s", world.writes_wanted,
	    world.window, world.harm,
	    how->priorities ? "priorities" : "anyone next");
	world_progress();
	supervisor_start();
	sim_event(sim_now_ns() + LOOK_NS, watch, NULL);
	sim_event(sim_now_ns() + sim_rand_below(HARM_NS), harm, NULL);
}
