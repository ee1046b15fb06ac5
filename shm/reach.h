/*
 * How long keys' values may get by writes that are appended, or about to be,
 * and not applied: each gateway says it of its own, for the others. A word of
 * `key` is for all keys whose hash falls on it; `any` for every key.
 */
#ifndef SHM_REACH_H
#define SHM_REACH_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/bits.h"
#include "shm/slots.h"

#define REACH_WORDS 1024

/*
 * One gateway's. W: it, R: gateways; lock-free. A word is the request's number
 * << 32 | the length in bytes (UINT32_MAX: that or more); it holds until that
 * request is applied: applied_seq has reached it, or placed_seq has and
 * positions.applied placed_vlsn.
 */
struct reach_shared {
	_Alignas(CACHE_LINE) _Atomic uint64_t any;
	_Atomic uint64_t placed_vlsn; /* not less than placed_seq's */
	_Atomic uint32_t placed_seq; /* up to here wal has answered */
	_Atomic uint32_t applied_seq;
	_Alignas(CACHE_LINE) _Atomic uint64_t key[REACH_WORDS]; /* by hash */
};

struct reach_table {
	struct reach_shared of[GATEWAY_MAX];
};

#endif
