/*
 * The sequencer's lock, as the supervisor takes it: for LOCK_PATIENCE_MS. A
 * worker that has it longer is stuck in the middle of a few stores (stopped,
 * or its page cannot be had), so it is killed. What it left is mended by us as
 * soon as it is dead: nobody else knows that it is. The word in the region
 * says whom to look at, our own table of processes what to make of it.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "shm/say.h"

#define LOCK_TRIES 20 /* with LOCK_PATIENCE_MS each */

/* A child that has ended runs no more, also before it is reaped. */
static bool
has_ended(pid_t pid)
{
	siginfo_t si = { 0 };

	return waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) ==
		   0 &&
	       si.si_pid == pid;
}

/* Is the owner a process of ours that may still go on? */
static bool
is_alive(const struct node *n, const struct lock_owner *owner)
{
	const struct child *c;

	if (owner->slot == SLOT_SUPERVISOR || owner->slot >= SLOT_MAX)
		return false;
	c = &n->child[owner->slot];
	return c->pid != 0 && lock_owner_is(owner, c->incarnation) &&
	       !has_ended(c->pid);
}

/* The lock could not be had: end who has it, mend what the dead left. */
static int
evict(struct node *n)
{
	struct lock_owner owner;

	if (!seq_lock_owner(n->region.seq, &owner))
		return 0;
	if (!is_alive(n, &owner))
		return seq_lock_free_dead(n->region.seq, owner);
	child_kill(n, owner.slot, "held the sequencer's lock");
	return 0;
}

/* After a call's result: shall it be made again? */
static bool
again(struct node *n, int *rc, unsigned *tries)
{
	if (*rc == -ETIMEDOUT && evict(n) == -ENOTRECOVERABLE)
		*rc = -ENOTRECOVERABLE;
	if (*rc == -ENOTRECOVERABLE)
		say_errorx("sequencer: its lock's owner died and left a state "
			   "that cannot be repaired");
	return *rc == -ETIMEDOUT && ++*tries < LOCK_TRIES;
}

/* The sequencer is of no more use: nothing but a fresh region helps. */
static void
decide_if_lost(struct node *n, int rc)
{
	if (rc == -ENOTRECOVERABLE || rc == -ETIMEDOUT)
		node_decide(n, SLOT_SUPERVISOR, EXIT_RESTART,
		    "the sequencer's lock is lost");
}

int
node_seq_fail(struct node *n, const char *fmt, ...)
{
	char text[SEQ_ERROR_MAX];
	unsigned tries = 0;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	do
		rc = seq_fail_node(n->region.seq, "%s", text);
	while (again(n, &rc, &tries));
	decide_if_lost(n, rc);
	return rc;
}

int
node_seq_fault(struct node *n, const struct fault *f)
{
	unsigned tries = 0;
	int rc;

	do
		rc = seq_fault_node(n->region.seq, f);
	while (again(n, &rc, &tries));
	decide_if_lost(n, rc);
	return rc;
}

void
node_seq_reaped(struct node *n, unsigned slot)
{
	const struct lock_owner dead = { slot, n->child[slot].incarnation };

	decide_if_lost(n, seq_lock_free_dead(n->region.seq, dead));
}

void
node_seq_died(struct node *n, unsigned slot, const char *how)
{
	unsigned tries = 0;
	int rc;

	do
		rc = seq_owner_died(n->region.seq, slot, how);
	while (again(n, &rc, &tries));
	decide_if_lost(n, rc);
}

void
node_seq_spare(struct node *n, unsigned slot)
{
	unsigned tries = 0;
	int rc;

	do
		rc = seq_owner_spared(n->region.seq, slot);
	while (again(n, &rc, &tries));
	decide_if_lost(n, rc);
}
