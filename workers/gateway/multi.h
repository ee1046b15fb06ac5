/*
 * What MULTI and WATCH keep for EXEC (cmd_multi.c, cmd_exec.c).
 */
#ifndef WORKERS_GATEWAY_MULTI_H
#define WORKERS_GATEWAY_MULTI_H

#include "workers/gateway/command.h"

struct multi {
	bool active; /* between MULTI and EXEC */
	bool spoiled; /* EXEC will abort */
	uint32_t count, args; /* commands, and their arguments together */
	struct vbuf queue; /* each: u32 argc, then argc times u32 len, bytes */
	uint32_t watch_count;
	struct vbuf watches; /* as in REC_MULTI's payload */
};

/* The next watch at *at: VLSN and key. False at the end. */
bool gw_watch_next(
    const struct multi *m, size_t *at, uint64_t *vlsn, struct op_arg *key);

#endif
