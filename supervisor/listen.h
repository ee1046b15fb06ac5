/*
 * The node's listening sockets, made before the first fork and inherited.
 */
#ifndef SUPERVISOR_LISTEN_H
#define SUPERVISOR_LISTEN_H

#include "conf/conf.h"
#include "supervisor/node.h"
#include "supervisor/refuse.h"

#define LISTEN_WAIT_MS  1000 /* for a node that is about to be gone */
#define LISTEN_RETRY_MS 10

/*
 * Bind what conf says: gateways listen() when the boot gets there, the rest
 * does with health, by listen_pages(). 0 or an exit code, having refused; then
 * nothing is open. May ask DNS. Blocks up to wait_ms over addresses that are in
 * use.
 */
int listen_open(struct listeners *l, const struct conf *conf,
    const struct rights *rights, unsigned wait_ms);
/* Can the addresses' names be looked up? 0 or an exit code, having refused. */
int listen_check(const struct conf *conf);
/*
 * Refuse connections from now on, also those that wait to be accepted, in
 * every process that has the sockets. TCP ports stay bound, nobody else can
 * have them, and a later listen() opens them again; a unix socket could not, so
 * it is left out unless this is for good.
 */
void listen_refuse(struct listeners *l, bool for_good);
/* Undo a refusal that was not for good, as a gateway's listen() would. */
void listen_again(struct listeners *l);
/*
 * For health, which accepts on http and the control socket from its first turn
 * on: 0 or -errno. Without it http refuses.
 */
int listen_pages(struct listeners *l);
void listen_pages_refuse(struct listeners *l);
/*
 * Members' ports: group, which is about to be forked, listens when it is ready
 * to answer. When it is gone they refuse, until the next one listens.
 */
void listen_peers_allow(struct listeners *l);
void listen_peers_refuse(struct listeners *l);
/*
 * Is the unix socket's name still there? 0; 1: it was removed, and another
 * socket has it: processes that have the old one know nothing of it; -errno.
 */
int listen_control_again(
    struct listeners *l, const struct conf *conf, const struct rights *rights);
int listen_clients_again(
    struct listeners *l, const struct conf *conf, const struct rights *rights);
/* Close, and remove the unix sockets' names. */
void listen_close(struct listeners *l, const struct conf *conf);

/*
 * listen_unix.c: a unix socket of the workers' user, bound to the path, or
 * -errno: -EADDRINUSE somebody has it, -EEXIST it is no socket, -EWOULDBLOCK
 * its directory is locked. A name that no socket has any more is replaced.
 * Blocks until until_ns at most.
 */
int
listen_unix(const char *path, const struct rights *rights, uint64_t until_ns);
/* Remove the name; whatever has it. */
void listen_unix_remove(const char *path);
/* Say why it could not be had; an exit code. */
int listen_unix_refuse(const char *what, const char *path, int error);

#endif
