/*
 * A boot: a fresh region with every gate registered, all workers forked at
 * once (they wait for each other at the gates), and the watchdog that enforces
 * the budgets while phases run.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/pidfile.h"
#include "shm/say.h"
#include "shm/trouble.h"
#include "supervisor/datadir.h"
#include "supervisor/limits.h"
#include "supervisor/watchdog_core.h"

/*
 * Gates fire without telling the supervisor, so it looks: soon at first, for
 * a short boot to be noticed, then more rarely. Only while a boot lasts.
 */
#define LOOK_EARLY_NS (5 * NS_PER_MS)
#define LOOK_LATE_NS  (50 * NS_PER_MS)
#define EARLY_FOR_NS  (500 * NS_PER_MS)

/*
 * No region: waited out if the world is why, or what worked before. 0 is no
 * result of it.
 */
static int
no_region(const struct node *n, int error, const char *why)
{
	enum fault_kind kind = fault_kind(-error, PLACE_SHM);

	if (kind != FAULT_WORLD && !n->ever_served)
		return refuse(refuse_code(error), "%s", why);
	return NODE_BOOT_WAITS;
}

/*
 * What the node may take, fitted to what there is now. Dead regions of a node
 * that was killed hold memory that nobody will look at. What never can be is
 * refused; what something else has taken is waited for.
 */
int
node_fit(struct node *n, char why[FAULT_TEXT_MAX])
{
	struct conf_limits most;
	struct conf_fit fit;
	struct conf empty = n->conf_set;
	struct limits_group group;

	node_run_dir_look(n);
	region_trim_dead(n->conf.node.run_dir);
	region_sweep(n->rights.drop ? n->rights.uid : geteuid());
	/* Who is there from now on is counted from here. */
	limits_group("", &group);
	n->oom_kills = n->oom_seen = group.oom_kills;
	limits_read(&n->limits, &n->conf_set, 0, &most);
	n->conf = n->conf_set;
	conf_fit(&n->conf, &n->limits, &n->fit);
	if (!n->fit.refused)
		return 0;
	strlcpy(why, n->fit.text[n->fit.count - 1], FAULT_TEXT_MAX);
	conf_fit(&empty, &most, &fit);
	conf_free(&empty);
	if (fit.refused && !n->ever_served)
		return refuse(EX_CONFIG, "%s", why);
	return NODE_BOOT_WAITS;
}

/* What the boots before waited for stands until one serves. */
static void
carry_waiting(struct node *n)
{
	char text[FAULT_TEXT_MAX];

	if (n->waits_since_ns == 0)
		return;
	fault_text_in(text, sizeof(text), "the boot waits: ", n->waits_for, "");
	trouble_carry(&n->region, TROUBLE_BOOT_WAITS, n->waits_since_ns, text);
}

static struct region_spec
spec_of(const struct node *n)
{
	struct conf_need need;

	conf_need(&n->conf, &need);
	return (struct region_spec){
		.node = n->conf.node.name,
		.group = n->conf.node.group,
		.data_dir = n->conf.node.data_dir,
		.run_dir = n->conf.node.run_dir,
		.client_addr = n->listen.client_addr,
		.http_addr = n->listen.http_addr,
		.walbuf_size = n->conf.wal.buffer_size,
		.table_size = n->conf.store.table_size,
		.memory_least = need.region_least,
		.gateway_count = n->conf.node.gateways,
		.node_restarts = n->restarts,
		.recovery_mode = (enum recovery_mode)n->conf.boot.recovery_mode,
		.before = n->has_region ? &n->region : NULL,
		.keep_prev = n->after_failure,
	};
}

static void
own_row(struct node *n)
{
	struct slot_row *row = &n->region.slots->row[SLOT_SUPERVISOR];

	atomic_store_explicit(&row->pid, getpid(), memory_order_relaxed);
	atomic_store_explicit(&row->incarnation, 1, memory_order_relaxed);
	atomic_store_explicit(
	    &row->started_ns, n->now_ns, memory_order_relaxed);
	atomic_store_explicit(
	    &row->heartbeat_ns, n->now_ns, memory_order_relaxed);
	atomic_store_explicit(&row->state, SLOT_RUNNING, memory_order_release);
	counter_add(
	    n->region.counters, SLOT_SUPERVISOR, C_NODE_RESTARTS, n->restarts);
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		atomic_store_explicit(&n->region.slots->row[slot].restarts,
		    n->child[slot].restarts, memory_order_relaxed);
}

/* It takes the place of the one before. */
static void
region_adopt(struct node *n, const struct region *fresh)
{
	say_level_word(&fresh->control->log_level);
	say_reopen_word(&fresh->control->log_reopens);
	if (n->has_region) {
		region_end(&n->region, REGION_SUPERSEDED);
		region_unmap(&n->region);
	}
	n->region = *fresh;
	n->has_region = true;
	n->bells.wakes = n->region.wakes;
	own_row(n);
	node_control_set(n);
}

/* A boot that waits has pages; if there is no memory even for that, the log. */
static void
make_private(struct node *n)
{
	struct region_spec spec = spec_of(n);
	struct region own;

	if (!n->has_region && region_create_private(&own, &spec) == 0)
		region_adopt(n, &own);
}

static int
make_region(struct node *n, char why[FAULT_TEXT_MAX])
{
	struct region_spec spec = spec_of(n);
	bool is_first = !node_has_file(n);
	int orphan = is_first ? region_orphan(n->conf.node.run_dir) : 0;
	struct region fresh;
	int rc;

	if ((rc = region_create(&fresh, &spec, why, FAULT_TEXT_MAX)) != 0)
		return no_region(n, rc, why);
	/* So that the node's user may look at it. */
	if (n->rights.drop &&
	    fchown(fresh.fd, n->rights.uid, n->rights.gid) != 0)
		say_warn("region: chown");
	region_adopt(n, &fresh);
	n->after_failure = !is_first;
	if (is_first)
		pidfile_waits(n->conf.node.run_dir, NULL);
	carry_waiting(n);
	if (orphan != 0)
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN,
		    "the node before (pid %d) did not stop in order; its "
		    "region is kept as region.prev",
		    orphan);
	return 0;
}

/* One row, for every slot that it stands for. */
static int
register_row(struct node *n, const struct gate_row *g)
{
	unsigned count = g->slot == SLOT_GATEWAY ? n->conf.node.gateways : 1;
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = seq_register(
		    n->region.seq, g->phase, g->slot + i, g->proves);
	return rc;
}

/* Nothing is begun before there is a group whose log it would be. */
static const struct gate_row founding = { PHASE_WAL_RECOVERY, SLOT_GROUP,
	"a group is founded" };

static int
register_gates(struct node *n)
{
	const struct gate_row *g;
	int rc = 0;

	if (n->unjoined) {
		rc = register_row(n, &founding);
		return rc != 0 ? rc : seq_seal(n->region.seq);
	}
	for (unsigned i = 0; rc == 0 && (g = gate_row_at(i)) != NULL; i++)
		rc = register_row(n, g);
	return rc != 0 ? rc : seq_seal(n->region.seq);
}

static void
pair_close(int *a, int *b)
{
	if (*a >= 0)
		close(*a);
	if (*b >= 0)
		close(*b);
	*a = *b = -1;
}

static int
pair_make(int *a, int *b)
{
	int fd[2];

	pair_close(a, b);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, fd) != 0)
		return -errno;
	*a = fd[0];
	*b = fd[1];
	return 0;
}

/* Fresh ones: what is under way in those of the boot before is void. */
static int
make_pairs(struct pairs *p)
{
	int rc = pair_make(&p->to_wal, &p->wal_from);

	return rc == 0 ? pair_make(&p->to_restore, &p->restore_from) : rc;
}

static int
start_all(struct node *n)
{
	const struct worker_row *w;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && (w = worker_row_at(i)) != NULL; i++) {
		unsigned count =
		    w->slot == SLOT_GATEWAY ? n->conf.node.gateways : 1;

		if (!worker_is_wanted(n, w->slot))
			continue;
		for (unsigned k = 0; k < count && rc == 0; k++)
			rc = child_start(n, w->slot + k);
	}
	return rc;
}

int
node_boot(struct node *n, char why[FAULT_TEXT_MAX])
{
	struct fault f;
	int rc;

	n->now_ns = n->boot_started_ns = n->live_checked_ns = mono_ns();
	if ((rc = node_fit(n, why)) != 0 || (rc = make_region(n, why)) != 0) {
		if (rc == NODE_BOOT_WAITS)
			make_private(n);
		return rc;
	}
	n->mode = NODE_BOOTING;
	n->phase = PHASE_BOOT;
	memset(n->stage_ns, 0, sizeof(n->stage_ns));
	n->held_ns = n->held_seen_ns = 0;
	n->unjoined = datadir_unjoined(n->data_dir);
	n->unjoined_told = false;
	if ((rc = register_gates(n)) != 0)
		return refuse(EX_SOFTWARE, "boot: gates: %s", strerror(-rc));
	event_add(&n->region, SLOT_SUPERVISOR, EVENT_INFO,
	    "boot begins: node %s of group %s, recovery mode %s",
	    n->conf.node.name, n->conf.node.group,
	    n->conf.boot.recovery_mode == CONF_RECOVERY_READONLY ? "readonly"
	    : n->conf.boot.recovery_mode == CONF_RECOVERY_FORCE  ? "force"
								 : "normal");
	for (unsigned i = 0; i < n->fit.count; i++)
		if (i != n->fit.short_of)
			event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN, "%s",
			    n->fit.text[i]);
	if (n->fit.short_of < n->fit.count)
		trouble_begin_text(&n->region, TROUBLE_LIMITS, "%s",
		    n->fit.text[n->fit.short_of]);
	for (unsigned i = 0; i < n->exposed_count; i++)
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN, "%s",
		    n->exposed[i]);
	notify("STATUS=booting");
	if ((rc = make_pairs(&n->pairs)) != 0 || (rc = start_all(n)) != 0) {
		f = child_start_fault("boot", rc);
		node_seq_fault(n, &f);
	}
	return 0;
}

/* "wal: log scanned (12.3 s), store: …" */
static void
pending_text(const struct seq_snapshot *s, char *buf, size_t buf_size)
{
	size_t used = 0;
	int len;

	buf[0] = '\0';
	for (unsigned i = 0; i < s->pending_count && used < buf_size; i++) {
		const struct seq_gate_info *g = &s->pending[i];

		len = snprintf(buf + used, buf_size - used,
		    "%s%s: %s (%" PRIu64 ".%" PRIu64 " s)", i > 0 ? ", " : "",
		    slot_name(g->owner), g->name, g->waited_ms / 1000,
		    g->waited_ms % 1000 / 100);
		used += len > 0 ? (size_t)len : 0;
	}
}

/* Workers that have not opened yet, as pending_text() has gates. */
static void
unopened_text(const struct node *n, char *buf, size_t buf_size)
{
	uint32_t opened =
	    atomic_load_explicit(&n->region.seq->opened, memory_order_acquire);
	size_t used = 0;

	buf[0] = '\0';
	for (unsigned slot = 0; slot < SLOT_MAX && used < buf_size; slot++) {
		const struct child *c = &n->child[slot];
		uint64_t ms = (n->now_ns - c->started_ns) / NS_PER_MS;
		int len;

		if (c->pid == 0 || (opened >> slot & 1) != 0)
			continue;
		len = snprintf(buf + used, buf_size - used,
		    "%s%s: opening (%" PRIu64 ".%" PRIu64 " s)",
		    used > 0 ? ", " : "", slot_name(slot), ms / 1000,
		    ms % 1000 / 100);
		used += len > 0 ? (size_t)len : 0;
	}
}

/* What the stage waits for. */
static void
waiting_text(const struct node *n, enum stage stage, char *buf, size_t buf_size)
{
	uint64_t ms = (n->now_ns - n->boot_started_ns) / NS_PER_MS;
	struct seq_snapshot snap;

	seq_snapshot(n->region.seq, &snap);
	if (stage == STAGE_INIT)
		unopened_text(n, buf, buf_size);
	else if (stage == STAGE_MIGRATE)
		snprintf(buf, buf_size,
		    "%s: the store's files (%" PRIu64 ".%" PRIu64 " s)",
		    slot_name(SLOT_CHECKPOINT), ms / 1000, ms % 1000 / 100);
	else
		pending_text(&snap, buf, buf_size);
}

/* When the stage began: as seen here, so at most one look too late. */
static uint64_t
stage_began(struct node *n, enum stage stage)
{
	uint64_t *at = &n->stage_ns[stage];

	if (*at == 0) {
		*at = stage == STAGE_INIT ? n->boot_started_ns : n->now_ns;
		atomic_store_explicit(&n->region.seq->stage_entered_ns[stage],
		    *at, memory_order_release);
	}
	return *at;
}

/*
 * A replay that a disk holds up is no slow one: that is waited for, and told
 * by its trouble. So is who founds a group. Budgets go on where they were.
 */
static void
hold_budgets(struct node *n, enum stage stage)
{
	uint64_t held = n->held_seen_ns != 0 ? n->now_ns - n->held_seen_ns : 0;

	n->held_ns += held;
	if (n->stage_ns[stage] != 0)
		n->stage_ns[stage] += held;
	n->held_seen_ns =
	    trouble_stands(&n->region, TROUBLE_STORE_FULL) ||
		    trouble_stands(&n->region, TROUBLE_STORE_FAILED) ||
		    trouble_stands(&n->region, TROUBLE_UNJOINED)
		? n->now_ns
		: 0;
}

/* Fails the node if a budget is used up. */
static void
enforce_budgets(struct node *n, enum phase phase)
{
	enum stage stage = seq_stage_now(n->region.seq);
	const struct watchdog_in in = {
		.now_ns = n->now_ns,
		.started_ns = n->boot_started_ns + n->held_ns,
		.stage = stage,
		.stage_ns = stage_began(n, stage),
		.budget = { n->conf.boot.init_budget_ms,
		    n->conf.boot.migrate_budget_ms,
		    n->conf.boot.recover_budget_ms,
		    n->conf.boot.warmup_budget_ms,
		    n->conf.boot.total_budget_ms },
	};
	struct watchdog_out out = watchdog_check(&in);
	char waiting[160];

	/* What has ended meanwhile needs no deadline. */
	if (!out.expired || stage >= STAGE_READY || n->held_seen_ns != 0)
		return;
	waiting_text(n, stage, waiting, sizeof(waiting));
	node_seq_fail(n,
	    "%s budget of %" PRIu64 " ms used up after %s, waiting for %s",
	    out.total ? "total" : stage_name(stage), out.limit_ms,
	    phase_name(phase), waiting);
}

/* How to reach it, for who just started it by hand. */
static void
print_serving(const struct node *n)
{
	const char *client = n->listen.client_addr;
	const char *port = strrchr(client, ':');
	int host_len = (int)(port - client);

	if (!n->foreground || notify_wanted())
		return;
	fprintf(stderr, "nodelifed: node %s of group %s serves\n",
	    n->conf.node.name, n->conf.node.group);
	if (strncmp(client, "127.0.0.1:", 10) == 0)
		fprintf(stderr, "  clients: redis-cli -p %s\n", port + 1);
	else
		fprintf(stderr, "  clients: redis-cli -h %.*s -p %s\n",
		    host_len, client, port + 1);
	fprintf(stderr,
	    "  health:  http://%s/healthz\n"
	    "  status:  nodelifestat -r %s\n"
	    "  stop:    Ctrl-C\n",
	    n->listen.http_addr, n->conf.node.run_dir);
}

static void
serving(struct node *n)
{
	uint64_t us = (mono_ns() - n->boot_started_ns) / 1000;

	n->mode = NODE_SERVING;
	n->served_ns = n->now_ns;
	n->hold_until_ns = 0;
	n->after_failure = false;
	n->waits_since_ns = 0;
	n->waits_for[0] = '\0';
	memset(n->waits_told, 0, sizeof(n->waits_told));
	trouble_end(&n->region, TROUBLE_BOOT_WAITS);
	event_add(&n->region, SLOT_SUPERVISOR, EVENT_INFO,
	    "serving after %" PRIu64 ".%03" PRIu64 " ms, clients at %s",
	    us / 1000, us % 1000, n->listen.client_addr);
	notify("READY=1\nSTATUS=serving clients at %s", n->listen.client_addr);
	daemon_ready(&n->ready_fd, 0);
	if (!n->ever_served)
		print_serving(n);
	n->ever_served = true;
}

/* What started us need not wait for an operator. */
static void
tell_unjoined(struct node *n)
{
	if (n->unjoined_told || !trouble_stands(&n->region, TROUBLE_UNJOINED))
		return;
	n->unjoined_told = true;
	notify("READY=1\nSTATUS=unjoined: waits to be founded: run nodelifectl "
	       "found on one member");
	if (n->foreground && !notify_wanted())
		fprintf(stderr,
		    "nodelifed: node %s of group %s is unjoined: when all "
		    "members run, run nodelifectl -r %s found on one of them\n",
		    n->conf.node.name, n->conf.node.group,
		    n->conf.node.run_dir);
}

void
node_boot_turn(struct node *n)
{
	enum phase phase;

	if (n->mode != NODE_BOOTING)
		return;
	phase =
	    atomic_load_explicit(&n->region.seq->phase, memory_order_acquire);
	if (phase != n->phase) {
		n->phase = phase;
		notify("STATUS=booting: %s", phase_name(phase));
	}
	if (phase >= PHASE_TRANSPORT_BIND)
		n->hold_until_ns = 0;
	if (phase == PHASE_GATEWAY_ENABLE) {
		serving(n);
		return;
	}
	if (n->unjoined)
		tell_unjoined(n);
	hold_budgets(n, seq_stage_now(n->region.seq));
	enforce_budgets(n, phase);
	if (seq_failed(n->region.seq))
		node_decide(n, SLOT_SUPERVISOR, EXIT_FAILED, "boot");
}

uint64_t
node_boot_deadline(const struct node *n)
{
	uint64_t look = n->now_ns - n->boot_started_ns < EARLY_FOR_NS
			    ? LOOK_EARLY_NS
			    : LOOK_LATE_NS;

	return n->mode == NODE_BOOTING ? n->now_ns + look : NODE_NEVER;
}
