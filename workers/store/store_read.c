/*
 * A file that the disk does not give, or not all of it. What is applied waits
 * for what it must read, since nothing else may stand in its place; what need
 * not be known now is looked up again later; clients are told for their keys,
 * and gateways leave word here. It is told as long as somebody meets it.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "shm/trouble.h"
#include "workers/store/store.h"

#define AGAIN_MS 100 /* between two tries */
#define OVER_NS  (3 * NS_PER_S) /* without anybody having met it */

static uint64_t
met_last(const struct store *s)
{
	return position_get(&s->r->pos->unreadable);
}

void
store_read_failed(struct store *s)
{
	char object[CONF_PATH_SIZE + 32];
	struct fault f = { .object = object,
		.call = "read",
		.error = EIO,
		.place = PLACE_DATA,
		.effect = "keys there cannot be read, records that need them "
			  "wait; nothing is lost",
		.goes_on = true };

	position_set(&s->r->pos->unreadable, mono_ns());
	snprintf(object, sizeof(object), "%s/store/data.mdb",
	    s->w->conf->node.data_dir);
	trouble_begin(s->r, TROUBLE_STORE_FAILED, &f);
}

bool
store_read_again(void *ctx)
{
	struct store *s = ctx;
	unsigned step = loop_shutdown(&s->loop);

	store_read_failed(s);
	if (step >= SHUTDOWN_DRAINING_EVENT_PLANE)
		return false;
	if (step != SHUTDOWN_NONE)
		loop_drained(&s->loop, step);
	store_publish(s);
	s->beats++;
	loop_beat(&s->loop);
	(void)poll(NULL, 0, AGAIN_MS);
	return true;
}

void
store_read_turn(struct store *s)
{
	uint64_t met = met_last(s);

	if (met == 0)
		return;
	if (met + OVER_NS < s->loop.now_ns) {
		position_set(&s->r->pos->unreadable, 0);
		trouble_end(s->r, TROUBLE_STORE_FAILED);
	} else if (!trouble_stands(s->r, TROUBLE_STORE_FAILED)) {
		store_read_failed(s);
	}
}

uint64_t
store_read_deadline(const struct store *s)
{
	uint64_t met = met_last(s);

	return met != 0 ? met + OVER_NS + 1 : LOOP_NEVER;
}
