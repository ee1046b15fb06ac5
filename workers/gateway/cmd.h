/*
 * The commands' entry points, by family: named in the table of command.c and
 * nowhere else.
 */
#ifndef WORKERS_GATEWAY_CMD_H
#define WORKERS_GATEWAY_CMD_H

#include "workers/gateway/command.h"

/* cmd_string.c */
command_run gw_run_get, gw_run_set, gw_run_mget;
command_build gw_build_get, gw_build_set, gw_build_append, gw_build_incr,
    gw_build_incrby, gw_build_getdel, gw_build_getex, gw_build_getrange,
    gw_build_getset, gw_build_incrbyfloat, gw_build_mget, gw_build_mset,
    gw_build_setex, gw_build_setnx, gw_build_setrange;

/* cmd_key.c */
command_build gw_build_key_read, gw_build_keys_read, gw_build_bare_read,
    gw_build_del, gw_build_expire, gw_build_flush, gw_build_persist,
    gw_build_rename;

/* cmd_keys.c */
command_run gw_run_keys;
command_build gw_build_keys;

/* cmd_scan.c, cmd_multi.c */
command_run gw_run_scan, gw_run_multi, gw_run_exec, gw_run_discard,
    gw_run_watch, gw_run_unwatch;

/* cmd_conn.c, cmd_client.c, cmd_server.c */
command_run gw_run_auth, gw_run_client, gw_run_echo, gw_run_hello, gw_run_ping,
    gw_run_quit, gw_run_reset, gw_run_select, gw_run_command, gw_run_config,
    gw_run_info, gw_run_nodelife, gw_run_role, gw_run_shutdown, gw_run_time,
    gw_run_wait, gw_run_waitaof;

#endif
