/*
 * Is who has proven the group's key one that this node wants to be linked to?
 * Pure: facts in, a reason and a sentence for both ends' admins out.
 */
#ifndef WORKERS_GROUP_NET_JUDGE_H
#define WORKERS_GROUP_NET_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/msg_hello.h"

struct judge_in {
	const char *self; /* this node's name */
	const char *name; /* the other one's, proven */
	const char *from; /* its address */
	const struct msg_proof *mine, *peer;
	/* What is known of a member of that name. */
	bool known; /* false: there is none */
	uint64_t incarnation; /* 0 = any */
	int type; /* enum node_type; -1 = any */
	/* The highest boot that was ever seen; 0: none was. id 0: not known. */
	uint64_t boot_count, boot;
	/* What it has acknowledged, and in which term; 0: nothing is known. */
	uint64_t acked_term, acked;
	/* Its control connection that is up: NULL = none is. */
	const struct msg_proof *up;
	const char *up_from;
	bool up_alive; /* it was heard of just now */
	/* Another member that is up with that incarnation; NULL = none is. */
	const char *twin, *twin_from;
};

/* An enum msg_reason, or REFUSED_NOTHING; text[] has MSG_TEXT_SIZE bytes. */
unsigned judge(const struct judge_in *in, char *text);

#endif
