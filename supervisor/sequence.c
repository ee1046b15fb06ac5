/*
 * The sequencer's lock, as the supervisor takes it: for LOCK_PATIENCE_MS. A
 * worker that has it longer is stuck in the middle of a few stores (stopped,
 * or its page cannot be had), so it is killed; the lock is robust, and the
 * next to take it, the supervisor's second try, repairs.
 */
#include "supervisor/node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "shm/log.h"

#define LOCK_TRIES 20 /* with LOCK_PATIENCE_MS each */

/* Kill the worker that has the lock. False: nobody to be killed is known. */
static bool
kill_holder(struct node *n)
{
	pid_t pid = seq_lock_holder(n->region.seq);

	for (unsigned slot = 0; pid != 0 && slot < SLOT_MAX; slot++)
		if (n->child[slot].pid == pid) {
			child_kill(n, slot, "held the sequencer's lock");
			return true;
		}
	return false;
}

/* After a call's result: shall it be made again? */
static bool
again(struct node *n, int rc, unsigned *tries)
{
	if (rc == -ENOTRECOVERABLE) {
		log_errorx("sequencer: its lock's owner died and left a state "
			   "that cannot be repaired");
		return false;
	}
	if (rc != -ETIMEDOUT)
		return false;
	kill_holder(n);
	return ++*tries < LOCK_TRIES;
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
	while (again(n, rc, &tries));
	decide_if_lost(n, rc);
	return rc;
}

void
node_seq_died(struct node *n, unsigned slot, const char *how)
{
	unsigned tries = 0;
	int rc;

	do
		rc = seq_owner_died(n->region.seq, slot, how);
	while (again(n, rc, &tries));
	decide_if_lost(n, rc);
}
