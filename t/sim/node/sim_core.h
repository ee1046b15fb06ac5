/*
 * What sim_proc.c, sim_libc.c, sim_ring.c and the world around the node know of
 * each other. What they and the disk do: sim.h.
 */
#ifndef T_SIM_NODE_SIM_CORE_H
#define T_SIM_NODE_SIM_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include "t/sim/node/sim.h"

/* What a seed goes without: so what fails is told in fewer words. */
enum cut_without {
	CUT_EARLY = 1, /* harm in the first moments of serving */
	CUT_STALLS = 2,
	CUT_SLOW = 4, /* hiccups of the ring */
	CUT_BLOCKS = 8, /* points in blocks */
	CUT_SPURIOUS = 16,
	CUT_EXPIRY = 32,
	CUT_FAT = 64,
	CUT_GATEWAYS = 128, /* but one */
	CUT_WINDOW = 256, /* one write at a time */
	CUT_PRIORITIES = 512,
	CUT_END = 1024
};

struct cut {
	uint32_t writes; /* at most; 0 = all */
	uint32_t dropped; /* harms, a bit each */
	uint32_t without;
	uint32_t again; /* scheduled otherwise */
};

/* Shared with the process that waits for the seed's. */
struct story {
	struct cut cut;
	uint32_t writes, harms; /* that there may be */
	uint32_t done; /* harms */
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
struct story *sim_story(void);
/*
 * Chance of its own for something that is numbered: the same whatever else
 * happens. For events only, until sim_chance_back().
 */
void sim_chance_of(uint64_t number);
void sim_chance_back(void);
void sim_chance_again(uint32_t again); /* from here on all is otherwise */
/* Until sim_stop(). Fails the seed when nobody can ever run. */
void sim_run(void);
void sim_stop(void);
uint64_t sim_steps(void), sim_switches(void);
void sim_wall_step(int64_t ns); /* CLOCK_REALTIME is set */
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
