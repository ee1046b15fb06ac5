/*
 * What attackers and witnesses share: chance from a seed, time, sockets. They
 * know nothing of the node but its protocols, so nothing of it is linked.
 */
#ifndef T_HOSTILE_NET_H
#define T_HOSTILE_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* Prints what and errno, exits 2: the rig itself cannot go on. */
__attribute__((noreturn)) void die(const char *what);

/* Killed with whoever started it; SIGPIPE is ignored. */
void net_child(void);

uint64_t mono_ns(void);

/* splitmix64: a state of any value is a good one. */
uint64_t rnd(uint64_t *state);
uint64_t rnd_below(uint64_t *state, uint64_t n); /* n > 0 */

/* "a.b.c.d:port", or it dies. */
struct sockaddr_in net_addr(const char *text);

/* A non-blocking socket on its way there, or -1. */
int net_begin(const struct sockaddr_in *to);

/* Wait for events on fd; false when the time is over. */
bool net_wait(int fd, short events, uint64_t until_ns);

#endif
