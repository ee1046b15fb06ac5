/*
 * The commands' entry points, by family: named in the table of command.c and
 * nowhere else.
 */
#ifndef WORKERS_GATEWAY_CMD_CMD_H
#define WORKERS_GATEWAY_CMD_CMD_H

#include "workers/gateway/cmd/command.h"

/* cmd_string.c */
command_run gw_run_get, gw_run_getrange, gw_run_set;
command_build gw_build_get, gw_build_set, gw_build_append, gw_build_incr,
    gw_build_incrby, gw_build_getdel, gw_build_getex, gw_build_getrange,
    gw_build_getset, gw_build_incrbyfloat, gw_build_mget, gw_build_mset,
    gw_build_setex, gw_build_setnx, gw_build_setrange;

/* A read may run now; else *v is to be returned. */
bool gw_run_may_read(struct call *k, enum verdict *v);
/* The same, and its transaction is entered. */
bool gw_run_read_ready(struct call *k, enum verdict *v);
/* Answers a read of the store that failed with rc, at the key. */
enum verdict gw_run_failed(struct call *k, const struct op_arg *key, int rc);

/* cmd_many.c */
command_run gw_run_many;

enum many_kind {
	MANY_COUNT, /* how many are there */
	MANY_VALUES, /* an array */
	MANY_VALUE, /* of one key */
	MANY_RANGE, /* of one key's value: start to end */
};

/* Keys to be read as of one moment; what stands behind `end` is done. */
struct many {
	enum many_kind kind;
	uint32_t count;
	const struct op_arg *argv; /* the keys */
	int64_t start, end;
	uint32_t next;
	uint64_t found;
	/* The value of the next one: what is left of it, and where to. */
	bool in_value;
	uint64_t from, left;
	size_t at;
};
/*
 * Between gw_moment_begin() and _end(): 0, the answer is in out; -EINPROGRESS:
 * the share is used up, come again next turn; -EAGAIN: the moment is lost,
 * begin anew; -ENOBUFS: longer than max_output; or another -errno.
 */
int gw_many_step(struct gateway *g, struct moment *at, struct many *m,
    struct sink *out, unsigned proto);
/* The call's answer, its keys being the arguments from the first on. */
enum verdict gw_many_begin(struct call *k, const struct many *m);

/* cmd_key.c */
command_build gw_build_key_read, gw_build_keys_read, gw_build_bare_read,
    gw_build_del, gw_build_expire, gw_build_flush, gw_build_persist,
    gw_build_rename;

/* cmd_keys.c */
command_run gw_run_keys;
command_build gw_build_keys;
/*
 * A KEYS, with so many more keys: how many keys it compares, a long pattern
 * counting several times. And what a walk goes over, at most: deleted and
 * overwritten entries of the tables and empty buckets, too.
 */
uint64_t gw_walk_cost(
    const struct gateway *g, uint64_t more_keys, const struct built *b);
uint64_t gw_walk_span(const struct gateway *g);
/* KEYS, or RANDOMKEY that luck has left: a walk in shares of a turn. */
enum verdict gw_walk_begin(struct call *k, bool one);
/* Little enough for one go? */
bool gw_walk_is_short(const struct gateway *g, const struct built *b);

/* cmd_scan.c, cmd_multi.c */
/* SCAN from the start, all of it in one step; false: gw_run_scan() says why. */
command_build gw_build_scan;
command_run gw_run_scan, gw_run_multi, gw_run_exec, gw_run_discard,
    gw_run_watch, gw_run_unwatch;

/* cmd_conn.c, cmd_client.c, cmd_server.c, cmd_group.c */
command_run gw_run_auth, gw_run_echo, gw_run_hello, gw_run_ping, gw_run_quit,
    gw_run_reset, gw_run_select, gw_run_command, gw_run_info, gw_run_role,
    gw_run_shutdown, gw_run_time, gw_run_wait, gw_run_waitaof, gw_run_readonly,
    gw_run_readwrite, gw_run_consistency, gw_run_token, gw_run_outcome;
extern const struct subcommand gw_client_subs[], gw_command_subs[],
    gw_config_subs[], gw_nodelife_subs[];

#endif
