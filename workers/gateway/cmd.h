/*
 * The commands' entry points, by family: named in the table of command.c and
 * nowhere else.
 */
#ifndef WORKERS_GATEWAY_CMD_H
#define WORKERS_GATEWAY_CMD_H

#include "workers/gateway/command.h"

/* cmd_string.c */
command_run gw_run_get, gw_run_set;
command_build gw_build_get, gw_build_set, gw_build_append, gw_build_incr,
    gw_build_incrby, gw_build_getdel, gw_build_getex, gw_build_getrange,
    gw_build_getset, gw_build_incrbyfloat, gw_build_mget, gw_build_mset,
    gw_build_setex, gw_build_setnx, gw_build_setrange;

/* A read may run now, its transaction is entered; else *v is to be returned. */
bool gw_run_read_ready(struct call *k, enum verdict *v);
/* Answers a read of the store that failed with rc, at the key. */
enum verdict gw_run_failed(struct call *k, const struct op_arg *key, int rc);
/* A value, as a bulk, straight from the store. 0 or -errno. */
int gw_put_item(struct gateway *g, struct sink *out, const struct kv_item *i);

/* cmd_many.c */
command_run gw_run_many;

/* Keys to be read as of one moment; what next and found say is done. */
struct many {
	const struct op_arg *argv; /* NULL: args, of the bytes at base */
	const struct resp_arg *args;
	const uint8_t *base;
	uint32_t count, next;
	uint64_t found;
	bool values; /* MGET; else how many there are */
};
/*
 * Between gw_moment_begin() and _end(): 0, the answer is in out; -EINPROGRESS:
 * the share is used up, come again next turn; -EAGAIN: the moment is lost,
 * begin anew; -ENOBUFS: longer than max_output; or another -errno.
 */
int gw_many_step(struct gateway *g, struct moment *at, struct many *m,
    struct sink *out, unsigned proto);
const struct command *gw_many_command(const struct conn *c);
enum verdict gw_many_resume(
    struct call *k, const struct resp_arg *args, const uint8_t *base);

/* cmd_key.c */
command_build gw_build_key_read, gw_build_keys_read, gw_build_bare_read,
    gw_build_del, gw_build_expire, gw_build_flush, gw_build_persist,
    gw_build_rename;

/* cmd_keys.c */
command_run gw_run_keys, gw_run_randomkey;
command_build gw_build_keys;
/*
 * A KEYS, with so many more keys: how many keys it compares, a long pattern
 * counting several times. And what a walk goes over, at most: deleted and
 * overwritten entries of the tables and empty buckets, too.
 */
uint64_t gw_walk_cost(
    const struct gateway *g, uint64_t more_keys, const struct built *b);
uint64_t gw_walk_span(const struct gateway *g);
/* Little enough for one turn? */
bool gw_walk_is_short(const struct gateway *g, const struct built *b);

/* cmd_scan.c, cmd_multi.c */
command_run gw_run_scan, gw_run_multi, gw_run_exec, gw_run_discard,
    gw_run_watch, gw_run_unwatch;

/* cmd_conn.c, cmd_client.c, cmd_server.c */
command_run gw_run_auth, gw_run_client, gw_run_echo, gw_run_hello, gw_run_ping,
    gw_run_quit, gw_run_reset, gw_run_select, gw_run_command, gw_run_config,
    gw_run_info, gw_run_nodelife, gw_run_role, gw_run_shutdown, gw_run_time,
    gw_run_wait, gw_run_waitaof;

#endif
