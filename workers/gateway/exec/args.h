/*
 * Arguments of a long command, copied in shares of a turn.
 */
#ifndef WORKERS_GATEWAY_EXEC_ARGS_H
#define WORKERS_GATEWAY_EXEC_ARGS_H

#include "workers/gateway/exec/call.h"

/*
 * Arguments being copied into a buffer, to its byte `to`: u32 length, bytes,
 * each. True: all are there; false: the turn's share is used up, go on with
 * the same ones, wherever they and the buffer are then.
 */
#define ARGS_SHARE 4096u /* dealt with between two looks at the clock */
struct args_copy {
	size_t to;
	uint32_t next, off; /* argument, and how much of it is copied */
};
bool gw_args_copy(struct gateway *g, struct args_copy *a, uint8_t *buf,
    uint32_t argc, const struct op_arg *argv);
/* So much that it is copied in shares? */
#define LONG_REQUEST (512u * 1024) /* bytes */
bool gw_is_long(uint32_t argc, const struct op_arg *argv);
/* The head of an operation, at buf[off]; its arguments are to be copied. */
struct args_copy gw_op_begin(const struct built *b, uint8_t *at, size_t off);

#endif
