/*
 * Who is woken when `committed` was raised, and when: gateways that wait for
 * it, group for its own records, the store for what it is to apply. Whoever
 * raised it (commit_advance() said so) calls this, in whatever process; each
 * has a struct of its own. A hop to a sleeping process costs more than the rest
 * of a write, so nobody is woken for what can wait: the store not before much
 * waits, something urgent, somebody for it, or some time has passed.
 *
 * What is urgent, and what group waits for, wal tells in the region before a
 * record can be committed. No lock; the one system call is a bell's.
 */
#ifndef SHM_COMMIT_WAKE_H
#define SHM_COMMIT_WAKE_H

#include <stdint.h>

#define COMMIT_APPLY_RECORDS 1024 /* so much unapplied wakes the store */
#define COMMIT_APPLY_BYTES   (256u * 1024)
#define COMMIT_APPLY_MS      5 /* and so old */

struct bells;
struct region;

struct commit_wake {
	struct region *r; /* both the caller's, who outlives it */
	struct bells *bells;
	uint64_t apply_ns; /* when the store is woken for age; 0 = unset */
};

void
commit_wake_open(struct commit_wake *cw, struct region *r, struct bells *bells);
/*
 * This process has raised `committed`, or published what others need for it: at
 * now_ns (CLOCK_MONOTONIC), as every time here.
 */
void commit_wake_raised(struct commit_wake *cw, uint64_t now_ns);
/* When commit_wake_turn() is due; UINT64_MAX: it is not. */
uint64_t commit_wake_deadline(const struct commit_wake *cw);
void commit_wake_turn(struct commit_wake *cw, uint64_t now_ns);

#endif
