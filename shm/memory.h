/*
 * Memory of the region, taken before it is used. A page of the region has no
 * memory until it is touched, and touching one when /dev/shm is full is
 * SIGBUS, also for a reader. So nobody touches a page first by an ordinary
 * load or store: the creator takes what is small, whoever writes the rest
 * takes it ahead of use and waits when there is none.
 */
#ifndef SHM_MEMORY_H
#define SHM_MEMORY_H

#include <stdint.h>

#define MEMORY_PAGE 4096u
#define MEMORY_STEP (256u * 1024) /* what is large grows in steps of this */

/*
 * Have the kernel give the pages of [at, at + len) memory now; at is on a
 * page. 0, or -ENOSPC: the machine has none. Some of the pages may have it
 * then, and to ask again is harmless.
 */
int memory_take(void *at, uint64_t len);

#endif
