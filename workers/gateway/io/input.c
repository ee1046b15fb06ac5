/*
 * Input that is kept. A command is parsed where it was received; only a
 * partial one, or what stands behind a parked one, is copied into a buffer,
 * which goes away as soon as it is empty.
 */
#include "workers/gateway/io/io.h"

#include <stdlib.h>
#include "shm/assert.h"
#include "shm/say.h"

void
gw_input_free(struct conn *c)
{
	if (c->in == NULL)
		return;
	sink_reset(&c->in->bytes);
	sink_reset(&c->in->behind);
	resp_free(&c->in->rp);
	free(c->in->argv);
	free(c->in);
	c->in = NULL;
}

bool
gw_input_make(struct gw_io *io, struct conn *c)
{
	if (c->in != NULL)
		return true;
	if ((c->in = calloc(1, sizeof(*c->in))) == NULL)
		return false;
	c->in->bytes.pool = c->in->behind.pool = &io->pool;
	resp_reset(&c->in->rp);
	return true;
}

/* Bytes before the command at hand are not needed any more. */
static void
input_compact(struct input *in)
{
	struct chunk *chunk = in->bytes.c;

	if (in->start == 0 || chunk == NULL)
		return;
	memmove(chunk->data, chunk->data + in->start, chunk->len - in->start);
	chunk->len -= in->start;
	in->start = 0;
}

bool
gw_input_append(struct gw_io *io, struct conn *c, const uint8_t *data, size_t n)
{
	struct input *in;

	if (!gw_input_make(io, c))
		return false;
	in = c->in;
	if (in->argv != NULL) {
		sink_put(&in->behind, data, n);
		return !in->behind.failed;
	}
	input_compact(in);
	sink_put(&in->bytes, data, n);
	return !in->bytes.failed;
}

void
gw_input_unpin(struct conn *c)
{
	if (c->in == NULL || c->in->argv == NULL)
		return;
	free(c->in->argv);
	c->in->argv = NULL;
}

bool
gw_input_pin(struct conn *c, uint32_t argc, const struct op_arg **argv)
{
	struct input *in = c->in;

	ASSERT(in != NULL);
	if (in->argv == NULL) {
		in->argv = malloc(argc * sizeof(in->argv[0]));
		if (in->argv == NULL)
			return false;
		memcpy(in->argv, *argv, argc * sizeof(in->argv[0]));
		in->argc = argc;
	}
	*argv = in->argv;
	return true;
}

bool
gw_input_over(struct gw_io *io, struct conn *c)
{
	uint64_t limit = io->w->conf->listen.max_query;
	char from[96];

	if (c->in == NULL || sink_len(&c->in->bytes) - c->in->start <= limit)
		return false;
	gw_net_address(c, false, from, sizeof(from));
	say_info("client %llu, %s: closed: its request is longer than "
		 "[listen] max_query, %llu bytes",
	    (unsigned long long)c->id, from, (unsigned long long)limit);
	gw_count(io, C_CLIENTS_KILLED, 1);
	gw_conn_kill(io, c);
	return true;
}

bool
gw_input_join(struct gw_io *io, struct conn *c)
{
	struct input *in = c->in;

	if (in->argv != NULL || in->behind.c == NULL)
		return false;
	input_compact(in);
	sink_put(&in->bytes, in->behind.c->data, in->behind.c->len);
	sink_reset(&in->behind);
	if (!in->bytes.failed)
		return true;
	gw_conn_kill(io, c);
	return false;
}
