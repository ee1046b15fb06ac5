/*
 * Worker processes: fork, watch by pidfd, reap, decide what follows.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/kv/table.h"
#include "shm/say.h"
#include "supervisor/daemon.h"
#include "supervisor/limits.h"
#include "supervisor/listen.h"

#define KILLS_NS (4 * NS_PER_S) /* a kill is of late for up to twice this */
#define UP_NS    (2 * NS_PER_S) /* so long up is no longer down, at the least */
#define HOW_MAX  64 /* "killed by signal 11 (Segmentation fault), core" */

uint32_t
children_alive(const struct node *n)
{
	uint32_t mask = 0;

	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if (n->child[slot].pid != 0)
			mask |= 1u << slot;
	return mask;
}

/* The end of a pair that the slot takes data connections from. */
static int
data_from(const struct node *n, unsigned slot)
{
	return slot == SLOT_RESTORE ? n->pairs.restore_from : n->pairs.wal_from;
}

/* What the child is given; what its row does not keep is -1. */
static void
worker_fill(struct worker *w, struct node *n, unsigned slot, pid_t supervisor)
{
	unsigned keep = worker_row_of(slot)->keep;

	*w = (struct worker){
		.slot = slot,
		.incarnation = n->child[slot].incarnation,
		.region = &n->region,
		.conf = &n->conf,
		.bells = n->bells,
		.supervisor_pid = supervisor,
		.lock_fd = (keep & KEEP_DATA) != 0 ? n->lock_fd : -1,
		.data_dir = (keep & KEEP_DATA) != 0 ? n->data_dir : -1,
		.http_fd = (keep & KEEP_HTTP) != 0 ? n->listen.http_fd : -1,
		.control_fd =
		    (keep & KEEP_HTTP) != 0 ? n->listen.control_fd : -1,
		.to_wal = (keep & KEEP_PEERS) != 0 ? n->pairs.to_wal : -1,
		.to_restore =
		    (keep & KEEP_PEERS) != 0 ? n->pairs.to_restore : -1,
		.data_from = (keep & KEEP_FROM) != 0 ? data_from(n, slot) : -1,
		.force = n->conf.boot.recovery_mode == CONF_RECOVERY_FORCE,
		.readonly =
		    n->conf.boot.recovery_mode == CONF_RECOVERY_READONLY,
	};
	w->bells.wary = false; /* among themselves they trust each other */
	for (unsigned i = 0; i < LISTEN_MAX; i++) {
		w->listen_fd[i] =
		    (keep & KEEP_LISTEN) != 0 ? n->listen.fd[i] : -1;
		w->peer_fd[i] =
		    (keep & KEEP_PEERS) != 0 ? n->listen.peer_fd[i] : -1;
	}
}

static void
row_begin(struct node *n, unsigned slot)
{
	struct slot_row *row = &n->region.slots->row[slot];
	struct child *c = &n->child[slot];

	c->started_ns = mono_ns();
	c->restart_at_ns = 0;
	c->incarnation++;
	atomic_store_explicit(
	    &row->incarnation, c->incarnation, memory_order_relaxed);
	atomic_store_explicit(&row->drained, 0, memory_order_relaxed);
	atomic_store_explicit(&row->restart_at_ns, 0, memory_order_relaxed);
	atomic_store_explicit(
	    &row->restarts, c->restarts, memory_order_relaxed);
	atomic_store_explicit(
	    &row->started_ns, c->started_ns, memory_order_relaxed);
	atomic_store_explicit(
	    &row->heartbeat_ns, c->started_ns, memory_order_relaxed);
	atomic_store_explicit(&row->busy_with, BUSY_NOT, memory_order_relaxed);
	atomic_store_explicit(&row->state, SLOT_STARTING, memory_order_release);
}

static void
row_state(struct node *n, unsigned slot, enum slot_state state)
{
	atomic_store_explicit(
	    &n->region.slots->row[slot].state, state, memory_order_release);
}

/* What others must know, whatever follows. */
static void
row_end(struct node *n, unsigned slot, int status)
{
	struct slot_row *row = &n->region.slots->row[slot];
	struct child *c = &n->child[slot];

	c->pid = 0;
	c->killed = false;
	if (c->pidfd >= 0)
		close(c->pidfd);
	c->pidfd = -1;
	atomic_store_explicit(&row->last_status, status, memory_order_relaxed);
	atomic_store_explicit(&row->pid, 0, memory_order_relaxed);
	row_state(n, slot, SLOT_EXITED);
	/* Members go on dialling, and are not kept waiting for nobody. */
	if (slot == SLOT_GROUP)
		listen_peers_refuse(&n->listen);
	/* Whoever reads the store may have died inside a read. */
	kv_reader_died(&n->region, slot);
	bell_ring(&n->bells, SLOT_STORE);
	if (slot != SLOT_RESTORE)
		return;
	/* Nothing is held for it any more, and who it fed begins anew. */
	position_set(&n->region.pos->serving, 0);
	if (peers_server_died(n->region.peers))
		bell_ring(&n->bells, SLOT_GROUP);
}

int
child_start(struct node *n, unsigned slot)
{
	const struct worker_row *row = worker_row_of(slot);
	struct child *c = &n->child[slot];
	pid_t supervisor = getpid(), pid;
	struct worker w;
	int rc;

	ASSERT(c->pid == 0);
	if (slot == SLOT_HEALTH && (rc = listen_pages(&n->listen)) != 0)
		return rc;
	if (slot == SLOT_GROUP)
		listen_peers_allow(&n->listen);
	row_begin(n, slot);
	worker_fill(&w, n, slot, supervisor);
	if ((pid = fork()) == 0) {
		/* The handler is the supervisor's, for its own last word; of a
		   worker that dies by it the supervisor tells. */
		signal(SIGBUS, SIG_DFL);
		/* Not ready yet: stdout and stderr are the starting command's
		   still. Who reads them through a pipe sees their end only when
		   no process has them open, and a worker outlives the command.
		 */
		if (n->ready_fd >= 0)
			daemon_leave_stdio();
		exit(row->main(&w));
	}
	if (pid < 0) {
		rc = -errno;
		if (slot == SLOT_HEALTH)
			listen_pages_refuse(&n->listen);
		return rc;
	}
	c->pid = pid;
	c->killed = c->ended = c->replaced = false;
	atomic_store_explicit(
	    &n->region.slots->row[slot].pid, pid, memory_order_release);
	if ((c->pidfd = pidfd_open(pid, 0)) >= 0)
		return 0;
	/* Nothing would tell us of its end: it cannot be kept. */
	rc = -errno;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	row_end(n, slot, 0);
	node_seq_reaped(n, slot);
	return rc;
}

void
child_kill(struct node *n, unsigned slot, const char *why)
{
	struct child *c = &n->child[slot];

	if (c->pid == 0 || c->killed)
		return;
	if (why != NULL)
		event_add(&n->region, SLOT_SUPERVISOR, EVENT_ERROR,
		    "%s (pid %d): %s: killed", slot_name(slot), (int)c->pid,
		    why);
	/* Not reaped yet, so the pid is still this process'. */
	kill(c->pid, SIGKILL);
	c->killed = true;
	c->killed_ns = mono_ns();
}

static enum exit_kind
exit_kind_of(int status)
{
	if (WIFSIGNALED(status))
		return EXIT_KILLED;
	switch (WEXITSTATUS(status)) {
	case 0:
		return EXIT_RETURNED;
	case WORKER_EXIT_WORLD:
		return EXIT_WORLD;
	case WORKER_EXIT_RESTART:
		return EXIT_RESTART;
	case WORKER_EXIT_CONFIG:
		return EXIT_CONFIG;
	default:
		return EXIT_FAILED;
	}
}

static void
exit_text(int status, char how[HOW_MAX])
{
	if (WIFSIGNALED(status))
		snprintf(how, HOW_MAX, "killed by signal %d (%s)%s",
		    WTERMSIG(status), strsignal(WTERMSIG(status)),
		    WCOREDUMP(status) ? ", core" : "");
	else if (WEXITSTATUS(status) == WORKER_EXIT_WORLD)
		snprintf(how, HOW_MAX, "what it needs is not to be had");
	else if (WEXITSTATUS(status) == WORKER_EXIT_RESTART)
		snprintf(how, HOW_MAX, "asked for a new boot");
	else
		snprintf(
		    how, HOW_MAX, "exited with code %d", WEXITSTATUS(status));
}

/* A stop tolerates exits once a worker has nothing left to do. */
static void
reaped_while_ending(struct node *n, unsigned slot, int status, const char *what)
{
	if (status == 0 || n->child[slot].replaced)
		return;
	if (n->mode == NODE_ENDING || n->mode == NODE_PAUSED)
		return; /* we killed it, and said why */
	event_add(&n->region, SLOT_SUPERVISOR, EVENT_WARN, "%s", what);
	/* What never served has nothing to lose. */
	if (n->ever_served)
		n->exit_code = NODE_EXIT_FAILED;
}

/* What the worker said before it went, if it did. */
static void
trouble_of(struct node *n, unsigned slot, char *what, size_t size)
{
	struct trouble_info info;

	for (unsigned kind = 0; kind < TROUBLE_COUNT; kind++)
		if (trouble_writer(kind) == slot &&
		    trouble_read(&n->region, kind, &info)) {
			strlcpy(what, info.text, size);
			return;
		}
}

/*
 * Killed, not by us: by the kernel for memory, if the control group counts one
 * more of late. Says so in *what. A count is higher before its process is dead.
 */
static bool
killed_for_memory(
    struct node *n, unsigned slot, int status, char what[FAULT_TEXT_MAX])
{
	struct limits_group g;
	char object[48], cause[FAULT_TEXT_MAX];
	const struct fault f = { .object = object,
		.what = cause,
		.error = ENOMEM,
		.place = PLACE_PROCESS };

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL ||
	    n->child[slot].killed)
		return false;
	limits_group("", &g);
	/* One look may stand for several. */
	if (g.oom_kills <= n->oom_kills && n->oom_ns != n->now_ns)
		return false;
	n->oom_kills = n->oom_seen = g.oom_kills;
	n->oom_ns = n->now_ns;
	snprintf(object, sizeof(object), "%s (pid %d)", slot_name(slot),
	    (int)n->child[slot].pid);
	snprintf(cause, sizeof(cause),
	    "the kernel killed it for memory: the limit is %" PRIu64
	    " MiB%s%.300s",
	    g.limit >> 20, g.file[0] != '\0' ? " by " : "", g.file);
	fault_text(what, FAULT_TEXT_MAX, &f);
	strlcpy(n->oom_text, what, sizeof(n->oom_text));
	return true;
}

/* What was killed long ago was not the worker that ends now, but others. */
static void
kills_look(struct node *n)
{
	struct limits_group g;

	if (n->now_ns < n->oom_seen_ns + KILLS_NS)
		return;
	limits_group("", &g);
	n->oom_kills = n->oom_seen;
	n->oom_seen = g.oom_kills;
	n->oom_seen_ns = n->now_ns;
}

void
children_tell_memory(struct node *n)
{
	uint64_t window = n->conf.restart.window_ms * NS_PER_MS;

	kills_look(n);
	if (n->oom_ns != 0 && n->now_ns > n->oom_ns + window)
		n->oom_ns = 0;
	if (n->oom_ns != 0)
		trouble_begin_text(
		    &n->region, TROUBLE_MEMORY, "%s", n->oom_text);
	else
		trouble_end(&n->region, TROUBLE_MEMORY);
}

/* Who wished for that may end before its wish is looked at. */
static bool
wished_for(const struct node *n, enum restart_wish wish)
{
	return atomic_load_explicit(&n->region.control->restart_wanted,
		   memory_order_acquire) == (uint32_t)wish;
}

static void
child_reaped(struct node *n, unsigned slot, int status)
{
	char how[HOW_MAX], what[FAULT_TEXT_MAX];
	pid_t pid = n->child[slot].pid;
	enum exit_kind kind = exit_kind_of(status);

	exit_text(status, how);
	snprintf(what, sizeof(what), "%s (pid %d): %s", slot_name(slot),
	    (int)pid, how);
	if (kind == EXIT_WORLD)
		trouble_of(n, slot, what, sizeof(what));
	else if (killed_for_memory(n, slot, status, what))
		kind = EXIT_MEMORY;
	else if (kind == EXIT_RESTART && wished_for(n, WISH_RESTART_WORLD))
		kind = EXIT_OVER;
	trouble_writer_died(&n->region, slot);
	row_end(n, slot, status);
	/* In any mode: others may wait for what it had. */
	node_seq_reaped(n, slot);
	if (n->mode != NODE_BOOTING && n->mode != NODE_SERVING) {
		reaped_while_ending(n, slot, status, what);
		return;
	}
	if (kind == EXIT_RESTART && wished_for(n, WISH_RESTART_JOINED)) {
		node_joined(n);
		return;
	}
	/* A boot waits for the next of those that it can do without. */
	node_seq_died(n, slot, worker_is_spare(slot) ? NULL : how);
	if (n->child[slot].replaced) {
		child_restart_later(n, slot, 0);
		return;
	}
	node_decide(n, slot, kind, what);
}

static bool
is_worker(const struct node *n, pid_t pid)
{
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if (n->child[slot].pid == pid)
			return true;
	return false;
}

/*
 * As process 1 of a container we inherit whose parent died: the writer of a
 * checkpoint that was killed, say. Nobody waits for them but we. A worker that
 * ended just now keeps its status for the next turn, which its pidfd begins.
 */
static void
orphans_reap(const struct node *n)
{
	siginfo_t si;

	for (;;) {
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		    si.si_pid == 0 || is_worker(n, si.si_pid))
			return;
		(void)waitpid(si.si_pid, NULL, WNOHANG);
		say_debug("orphan (pid %d) reaped", (int)si.si_pid);
	}
}

void
children_reap(struct node *n)
{
	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		pid_t pid = n->child[slot].pid;
		int status;

		if (pid == 0 || waitpid(pid, &status, WNOHANG) != pid)
			continue;
		/* One that asked to be traced by us: stopped, not gone. */
		if (WIFSTOPPED(status))
			child_kill(n, slot, "stopped itself for a tracer");
		else
			child_reaped(n, slot, status);
	}
	orphans_reap(n);
}

struct fault
child_start_fault(const char *whom, int rc)
{
	bool port = rc == -EADDRINUSE; /* health's */

	return (struct fault){ .object = port ? "[listen] http" : whom,
		.call = port ? "listen" : "fork",
		.error = -rc,
		.place = port ? PLACE_LISTEN : PLACE_PROCESS };
}

void
child_down(struct node *n, unsigned slot, const char *what)
{
	struct child *c = &n->child[slot];
	uint64_t delay_ns = c->restart_at_ns - n->now_ns;
	char next[128];

	c->down = true;
	c->up_ns = 2 * delay_ns > UP_NS ? 2 * delay_ns : UP_NS;
	snprintf(next, sizeof(next),
	    ": the node goes on without it and tries again in %" PRIu64
	    " ms: look in the log for what ends it",
	    delay_ns / NS_PER_MS);
	trouble_begin_in(&n->region, TROUBLE_WORKER_DOWN, "", what, next);
}

/* It has stayed up for a while: no longer down. */
void
children_up(struct node *n)
{
	bool down = false;

	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		struct child *c = &n->child[slot];

		if (c->pid != 0 && c->down &&
		    n->now_ns > c->started_ns + c->up_ns)
			c->down = false;
		down |= c->down;
	}
	if (!down)
		trouble_end(&n->region, TROUBLE_WORKER_DOWN);
}

void
child_restart_later(struct node *n, unsigned slot, uint64_t delay_ms)
{
	struct child *c = &n->child[slot];

	if (!c->replaced)
		restart_note(&c->history, n->now_ns);
	c->restarts++;
	c->restart_at_ns = n->now_ns + delay_ms * NS_PER_MS;
	atomic_store_explicit(&n->region.slots->row[slot].restart_at_ns,
	    c->restart_at_ns, memory_order_relaxed);
	row_state(n, slot, SLOT_BACKOFF);
	counter_add(n->region.counters, SLOT_SUPERVISOR, C_WORKER_RESTARTS, 1);
}

void
children_restart(struct node *n)
{
	char text[FAULT_TEXT_MAX];
	struct fault f;
	int rc;

	if (n->mode != NODE_BOOTING && n->mode != NODE_SERVING)
		return;
	for (unsigned slot = 0; slot < SLOT_MAX; slot++) {
		struct child *c = &n->child[slot];

		if (c->restart_at_ns == 0 || c->restart_at_ns > n->now_ns)
			continue;
		if ((rc = child_start(n, slot)) == 0)
			continue;
		c->restart_at_ns =
		    n->now_ns + n->conf.restart.backoff_max_ms * NS_PER_MS;
		row_state(n, slot, SLOT_BACKOFF);
		f = child_start_fault(slot_name(slot), rc);
		child_down(n, slot, fault_text(text, sizeof(text), &f));
	}
}

uint64_t
children_deadline(const struct node *n)
{
	uint64_t first = NODE_NEVER;

	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if (n->child[slot].restart_at_ns != 0 &&
		    n->child[slot].restart_at_ns < first)
			first = n->child[slot].restart_at_ns;
	return first;
}

void
children_forget_restarts(struct node *n)
{
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		n->child[slot].restart_at_ns = 0;
}
