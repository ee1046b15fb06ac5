/*
 * A file that the disk does not give, or not all of it: the store's, or one of
 * the log. What is applied waits for what it must read, since nothing else may
 * stand in its place; what need not be known now is looked up again later;
 * clients are told for their keys, and gateways leave word here. It is told as
 * long as somebody meets it.
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

static void
failed(struct store *s, const char *path, int error, const char *effect)
{
	const struct fault f = { .object = path,
		.call = "read",
		.error = error,
		.place = PLACE_DATA,
		.effect = effect,
		.goes_on = true,
		.damage = error == EBADMSG };

	position_set(&s->r->pos->unreadable, mono_ns());
	trouble_begin(s->r, TROUBLE_STORE_FAILED, &f);
}

void
store_read_failed(struct store *s)
{
	char path[CONF_PATH_SIZE + 32];

	snprintf(
	    path, sizeof(path), "%s/store/data.mdb", s->w->conf->node.data_dir);
	failed(s, path, EIO,
	    "keys there cannot be read, records that need them wait; nothing "
	    "is lost");
}

const char *
store_log_path(const struct store *s, char *buf, size_t size)
{
	const char *place = cursor_place(s->cursor);

	snprintf(buf, size, "%s/%s", s->w->conf->node.data_dir,
	    place[0] != '\0' ? place : "wal");
	return buf;
}

void
store_log_failed(struct store *s, int error)
{
	char path[CONF_PATH_SIZE + 64];

	failed(s, store_log_path(s, path, sizeof(path)), error,
	    "what follows in the log waits, reads go on; nothing is lost");
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
