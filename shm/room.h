/*
 * What the want of room in the store's table means for who waits for it. Who
 * answers reads, who tells of troubles and who is asked whether reads are
 * served go by this alone.
 */
#ifndef SHM_ROOM_H
#define SHM_ROOM_H

#include <stdbool.h>

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

#endif
