/*
 * The supervisor's loop. It owns no ring, no thread, no heap of note: it
 * sleeps in ppoll() on its signals, its bell and its workers' pidfds. A turn
 * is, always in this order: wait; now; signals; exits; requests; boot; stop;
 * restarts; liveness.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "shm/say.h"
#include "shm/trouble.h"

enum { PFD_SIGNAL, PFD_BELL, PFD_CHILD, PFD_MAX = PFD_CHILD + SLOT_MAX };

static bool
requested(const _Atomic uint32_t *wanted, uint32_t done)
{
	return atomic_load_explicit(wanted, memory_order_acquire) != done;
}

static bool
reload_is_due(const struct node *n)
{
	const struct control *c = n->region.control;

	return requested(&c->reload_wanted,
	    atomic_load_explicit(&c->reload_done, memory_order_relaxed));
}

/* Modes in which requests are looked at. */
static bool
is_asked(const struct node *n)
{
	return n->mode == NODE_BOOTING || n->mode == NODE_SERVING ||
	       n->mode == NODE_PAUSED;
}

/* Input that rings the bell; asked once more before sleeping. */
static bool
has_input(const struct node *n)
{
	const struct control *c = n->region.control;

	return node_stop_pending(n) ||
	       (is_asked(n) &&
		   (requested(&c->stop_wanted, 0) || reload_is_due(n) ||
		       (n->mode != NODE_PAUSED &&
			   requested(&c->restart_wanted, 0))));
}

static uint64_t
earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
next_deadline(const struct node *n)
{
	uint64_t at = earliest(node_live_deadline(n), node_boot_deadline(n));

	at = earliest(at, earliest(children_deadline(n), node_end_deadline(n)));
	if (n->ready_fd >= 0)
		at = earliest(at, n->starter_until_ns);
	if (n->mode == NODE_STOPPING && n->now_ns < n->step_deadline_ns)
		at = earliest(at, n->step_deadline_ns);
	return at;
}

static unsigned
fill_pollfds(const struct node *n, struct pollfd pfd[PFD_MAX])
{
	unsigned count = PFD_CHILD;

	pfd[PFD_SIGNAL] = (struct pollfd){ n->signal_fd, POLLIN, 0 };
	pfd[PFD_BELL] =
	    (struct pollfd){ n->bells.fd[SLOT_SUPERVISOR], POLLIN, 0 };
	for (unsigned slot = 0; slot < SLOT_MAX; slot++)
		if (n->child[slot].pid != 0 && !n->child[slot].ended)
			pfd[count++] =
			    (struct pollfd){ n->child[slot].pidfd, POLLIN, 0 };
	return count;
}

/*
 * Who has ended and is not reaped in this turn is kept by a tracer (whom any
 * process of the workers' user may be): SIGCHLD tells when that gives it up.
 */
static void
note_ended(struct node *n, const struct pollfd pfd[PFD_MAX], unsigned count)
{
	for (unsigned i = PFD_CHILD; i < count; i++)
		for (unsigned slot = 0; slot < SLOT_MAX; slot++)
			if (n->child[slot].pid != 0 &&
			    n->child[slot].pidfd == pfd[i].fd)
				n->child[slot].ended |= pfd[i].revents != 0;
}

static void
wait_for_input(struct node *n)
{
	uint64_t now = mono_ns(), at = next_deadline(n);
	uint64_t left = at > now ? at - now : 0;
	struct pollfd pfd[PFD_MAX];
	struct timespec ts;
	unsigned count = fill_pollfds(n, pfd);

	bell_sleep_begin(&n->bells, SLOT_SUPERVISOR);
	if (has_input(n))
		left = 0;
	ts.tv_sec = (time_t)(left / NS_PER_S);
	ts.tv_nsec = (long)(left % NS_PER_S);
	if (ppoll(pfd, count, &ts, NULL) < 0 && errno != EINTR)
		say_error("supervisor: ppoll");
	note_ended(n, pfd, count);
	bell_sleep_end(&n->bells, SLOT_SUPERVISOR);
	if ((pfd[PFD_BELL].revents & POLLIN) != 0)
		bell_clear(&n->bells, SLOT_SUPERVISOR);
}

static void
read_signals(struct node *n)
{
	struct signalfd_siginfo si;

	while (read(n->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGTERM:
			node_stop_signal(n, "SIGTERM");
			break;
		case SIGINT:
			node_stop_signal(n, "SIGINT");
			break;
		case SIGHUP:
			node_reload(n);
			break;
		default: /* SIGCHLD: a turn reaps, whatever began it */
			break;
		}
	}
}

static void
serve_requests(struct node *n)
{
	const struct control *c = n->region.control;
	uint32_t again;

	if (!is_asked(n))
		return;
	again = n->mode == NODE_PAUSED
		    ? 0
		    : atomic_load_explicit(
			  &c->restart_wanted, memory_order_acquire);
	if (requested(&c->stop_wanted, 0))
		node_stop(n, "asked by SHUTDOWN, nodelifectl or POST /drain");
	else if (again == WISH_RESTART_JOINED)
		node_joined(n);
	else if (again == WISH_RESTART_WORLD)
		node_decide(n, SLOT_SUPERVISOR, EXIT_OVER,
		    "what was waited for is over");
	else if (again != 0)
		node_decide(n, SLOT_SUPERVISOR, EXIT_RESTART,
		    "a worker wants a new boot");
	else if (reload_is_due(n))
		node_reload(n);
}

static void
beat(struct node *n)
{
	struct slot_row *row = &n->region.slots->row[SLOT_SUPERVISOR];

	atomic_store_explicit(
	    &row->heartbeat_ns, n->now_ns, memory_order_release);
	atomic_store_explicit(&row->turns,
	    atomic_load_explicit(&row->turns, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

/* The starting command is not kept waiting for what may take long. */
static void
starter_turn(struct node *n)
{
	if (n->ready_fd >= 0 && (n->now_ns >= n->starter_until_ns ||
				    trouble_boot_waits(&n->region)))
		daemon_ready(&n->ready_fd, DAEMON_BOOTING);
}

int
node_run(struct node *n)
{
	n->starter_until_ns = mono_ns() + DAEMON_WAIT_NS;
	while (!n->finished) {
		wait_for_input(n);
		n->now_ns = mono_ns();
		beat(n);
		read_signals(n);
		children_reap(n);
		serve_requests(n);
		node_boot_turn(n);
		starter_turn(n);
		node_stop_turn(n);
		children_restart(n);
		node_live_turn(n);
		/* Last: whatever of the above ended the node, it acts on it. */
		node_end_turn(n);
	}
	return n->exit_code;
}
