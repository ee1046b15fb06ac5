/*
 * What sim_proc.c, sim_libc.c, sim_ring.c and the world around the node know of
 * each other. What they and the disk do: sim.h.
 */
#ifndef T_SIM_NODE_SIM_CORE_H
#define T_SIM_NODE_SIM_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include "t/sim/node/sim.h"

/* Shared with the process that waits for the seed's. */
struct story {
	bool failed;
	char verdict[512];
};

/* How a seed schedules. */
struct sim_schedule {
	bool priorities; /* else any may run next */
	unsigned switch_one_in; /* points */
	unsigned change_one_in; /* of a priority, points */
	unsigned stall_one_in; /* points: a process stands still, 0 = never */
	unsigned block_one_in; /* basic blocks are a point; 0 = none is */
	unsigned spurious_one_in; /* wake-ups of a futex */
};

/* What is told goes to stderr. */
void sim_begin(uint64_t seed, struct story *story);
struct sim_schedule *sim_schedule(void);
/* Until sim_stop(). Fails the seed when nobody can ever run. */
void sim_run(void);
void sim_stop(void);
uint64_t sim_steps(void), sim_switches(void);
/* Kill it at so many points of its own from now. */
void sim_kill_after(int pid, unsigned points);
/* Begin anew, as fn(arg), on a stack of its own: what fork gave is dropped. */
__attribute__((noreturn)) void sim_exec(void (*fn)(void *), void *arg);
void sim_tell_all(void); /* who waits */
void sim_set_name(const char *name);
void sim_set_deathsig(void);
/* Who runs would rather that another did. */
void sim_yield(void);
unsigned sim_pids(int *pid, unsigned most); /* who lives */
const void *sim_waits(void); /* what who waits for any of several waits for */

/* sim_libc.c */
struct eventfd_waiter {
	struct eventfd_waiter *next;
	void (*fn)(void *);
	void *arg;
};
/* Call w->fn once when fd has something to read; false: it has now, or never.
 * Of an eventfd or a pidfd. */
bool sim_fd_wait(int fd, struct eventfd_waiter *w);
void sim_fd_wait_end(int fd, struct eventfd_waiter *w);
/* Also who waits in poll(). */
void sim_fd_changed(void);
void *sim_eventfd_of(int fd); /* NULL: none */
void sim_eventfd_add(void *eventfd, uint64_t n);
ssize_t sim_eventfd_take(int fd, void *to, size_t n);

/* sim_ring.c: as the process, before its end. */
void sim_ring_end(int pid);
/* What is on its way to the disk without a process lands now, or does not. */
void sim_ring_power_loss(void);
/* One request in so many has a hiccup; others may take up to slow_ns. */
void sim_ring_settings(bool old_kernel, unsigned hiccup, uint64_t slow_ns);
unsigned sim_ring_orphans(void);

#endif
