/*
 * CRC32C through ISA-L, which picks the machine's instructions. ISA-L's
 * function is the bare polynomial: initial and final inversion are ours.
 */
#include "shm/crc32c.h"

#include <isa-l/crc.h>

#define CRC_STEP_MAX (1u << 30) /* ISA-L counts in int */

/*
 * ISA-L's AVX-512 variant (2.30) returns with the upper halves of the vector
 * registers in use; every SSE instruction behind it then waits for them.
 * Following a chain of 150-byte records is ten times slower without this.
 */
static inline void
crc_leave(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroupper");
#endif
}

uint32_t
crc32c(uint32_t seed, const void *data, size_t n)
{
	/* ISA-L's prototype lacks the const that its code honours. */
	unsigned char *at = (unsigned char *)(uintptr_t)data;
	uint32_t crc = ~seed;

	while (n > CRC_STEP_MAX) {
		crc = crc32_iscsi(at, (int)CRC_STEP_MAX, crc);
		at += CRC_STEP_MAX;
		n -= CRC_STEP_MAX;
	}
	crc = crc32_iscsi(at, (int)n, crc);
	crc_leave();
	return ~crc;
}
