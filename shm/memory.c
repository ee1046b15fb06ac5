/*
 * Memory of the region, taken before it is used; see memory.h.
 */
#include "shm/memory.h"

#include <sys/mman.h>

#include <errno.h>

#include "shm/assert.h"

int
memory_take(void *at, uint64_t len)
{
	ASSERT((uintptr_t)at % MEMORY_PAGE == 0);
	if (madvise(at, len, MADV_POPULATE_WRITE) == 0)
		return 0;
	/* A map of another kind (tests) takes memory as it is touched. */
	return errno == EINVAL ? 0 : -ENOSPC;
}
