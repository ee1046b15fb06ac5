/*
 * Arguments of a long command, copied in shares of a turn.
 */
#include "workers/gateway/exec/args.h"

#define COPY_SHARE (64u * 1024) /* bytes, likewise */

bool
gw_is_long(uint32_t argc, const struct op_arg *argv)
{
	return argc > ARGS_SHARE || op_size(argc, argv) > LONG_REQUEST;
}

struct args_copy
gw_op_begin(const struct built *b, uint8_t *at, size_t off)
{
	op_encode(at, b->code, b->flags, b->num, 0, NULL);
	put_le32(at + 4, b->argc);
	return (struct args_copy){ .to = off + OP_HEADER_SIZE };
}

/* A piece of the argument at hand, its length first. How many bytes. */
static uint32_t
copy_piece(struct args_copy *a, uint8_t *buf, const struct op_arg *arg)
{
	uint32_t n = arg->len - a->off;

	if (n > COPY_SHARE)
		n = COPY_SHARE;
	if (a->off == 0) {
		put_le32(buf + a->to, arg->len);
		a->to += 4;
	}
	if (n != 0)
		memcpy(buf + a->to, arg->data + a->off, n);
	a->to += n;
	a->off += n;
	if (a->off == arg->len) {
		a->next++;
		a->off = 0;
	}
	return n;
}

bool
gw_args_copy(struct gateway *g, struct args_copy *a, uint8_t *buf,
    uint32_t argc, const struct op_arg *argv)
{
	uint32_t work = 0;

	while (a->next < argc) {
		work += COPY_SHARE / ARGS_SHARE;
		work += copy_piece(a, buf, &argv[a->next]);
		if (work < COPY_SHARE)
			continue;
		work = 0;
		gw_turn_look(g);
		if (g->turn_over && a->next < argc)
			return false;
	}
	return true;
}
