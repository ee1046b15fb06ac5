/*
 * The chance of what is replayed by its seed: splitmix64 (Steele, Lea and
 * Flood, "Fast splittable pseudorandom number generators", 2014). Any state is
 * a good one; it moves on with each number.
 */
#ifndef T_LIB_SPLITMIX_H
#define T_LIB_SPLITMIX_H

#include <stdint.h>

static inline uint64_t
splitmix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

#endif
