/*
 * Little-endian bytes, alignment, time. Disk and wire formats are read and
 * written with these, never by casting a struct onto bytes.
 */
#ifndef SHM_BITS_H
#define SHM_BITS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define CACHE_LINE 64
#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_S   UINT64_C(1000000000)

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "nodelife's shared-memory rings assume a little-endian machine"
#endif

static inline uint16_t
get_le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t
get_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t
get_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void
put_le16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void
put_le32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void
put_le64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* `to` is a power of two. */
static inline uint64_t
align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static inline uint64_t
align_down(uint64_t v, uint64_t to)
{
	return v & ~(to - 1);
}

static inline bool
is_pow2(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

static inline uint64_t
clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* Intervals and deadlines. */
static inline uint64_t
mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Record times and expiry: milliseconds since the epoch. */
static inline int64_t
wall_ms(void)
{
	return (int64_t)(clock_ns(CLOCK_REALTIME) / NS_PER_MS);
}

/* The pause after this one (0 = none yet): twice as long, up to `most`. */
static inline uint64_t
backoff_next(uint64_t before, uint64_t first, uint64_t most)
{
	uint64_t next = before == 0 ? first : before * 2;

	return next < most ? next : most;
}

#endif
