/*
 * The node's listening sockets, made before the first fork and inherited.
 */
#ifndef SUPERVISOR_LISTEN_H
#define SUPERVISOR_LISTEN_H

#include "conf/conf.h"
#include "supervisor/node.h"
#include "supervisor/refuse.h"

/*
 * Bind what conf says. Client sockets are only bound: gateways listen() when
 * the boot gets there. http and control listen at once. 0 or an exit code,
 * having refused; then nothing is open. May ask DNS.
 */
int listen_open(
    struct listeners *l, const struct conf *conf, const struct rights *rights);
/*
 * Refuse connections from now on, also those that wait to be accepted, in
 * every process that has the sockets. TCP ports stay bound, so a later
 * listen() opens them again; a unix socket could not, so it is left out
 * unless this is for good.
 */
void listen_refuse(struct listeners *l, bool for_good);
/* Undo a refusal that was not for good, as a gateway's listen() would. */
void listen_again(struct listeners *l);
/* Close, and remove the unix sockets' names. */
void listen_close(struct listeners *l, const struct conf *conf);
/* "run_dir/control.sock" */
void listen_control_path(const struct conf *conf, char *buf, size_t buf_size);

#endif
