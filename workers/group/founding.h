/*
 * Private to workers/group: the worker of a node that is of no group yet. A
 * thin loop around core/found.h: links to the [peer]s, the note, the node file,
 * and the operator's word, which health brings (shm/region.h, control).
 *
 * Nothing beats here, so what is stored is stored at once.
 */
#ifndef WORKERS_GROUP_FOUNDING_H
#define WORKERS_GROUP_FOUNDING_H

#include "conf/node_file.h"
#include "ipc/auth.h"
#include "ipc/loop.h"
#include "workers/group/core/found.h"
#include "workers/group/net/net.h"
#include "workers/group/note_file.h"
#include "workers/worker.h"

struct founding {
	struct worker *w;
	struct region *r;
	struct loop loop;
	struct node_file node;
	struct auth_key key;
	uint64_t boot; /* a random number: there is no state to count in */
	struct found_self self;
	struct found f;
	uint32_t seen; /* control->found_wanted, as it was looked at */
	bool stops; /* the shutdown bus has begun */
	uint64_t restart_ns; /* 0 = it goes on */
	struct msg_note out; /* the one that is sent */
	struct note noted; /* as read at boot */
	struct net net;
};

/* Until a group is founded that this node is of. An exit code. */
int found_main(struct worker *w);
/* Is it one? Of a directory that cannot be read others tell. */
bool found_is_unjoined(const struct worker *w);

/* found_text.c: what the operator is told; 0 is good. */
uint32_t found_result_text(
    const struct founding *g, enum found_result result, char *buf, size_t size);
/* What the node waits for, as its trouble. */
void found_waits_text(const struct founding *g, char *buf, size_t size);
/* At boot, of a group: where the configuration says otherwise than it. */
void found_differences(struct region *r, unsigned slot, const struct conf *conf,
    const char *self, const struct membership *m);

#endif
