/*
 * What the want of room in the store's table means for who waits for it. Who
 * answers reads, who tells of troubles and who is asked whether reads are
 * served go by this alone.
 */
#ifndef SHM_KV_ROOM_H
#define SHM_KV_ROOM_H

#include <stdbool.h>
#include <stdint.h>

struct region;

/*
 * More was accepted than both tables have room for: it is applied when a
 * checkpoint makes some, and so long who reads what it changed waits, too.
 */
bool room_stuck(const struct region *r);
/*
 * That lasts, and growth is refused by now: who reads what is not applied gets
 * an error, and so do, as that is committed, all who read.
 */
bool room_hopeless(const struct region *r);

/*
 * Writes have waited for room so long that a checkpoint that neither fails nor
 * ends is as good as one that fails: who still waits gets an error. Who fits
 * goes on: one large write is no reason to refuse small ones. now_ns is
 * CLOCK_MONOTONIC.
 */
bool room_waits_long(const struct region *r, uint64_t now_ns);

#endif
