/*
 * How long keys' values may get by writes that are appended, or about to be,
 * and not applied: each gateway says it of its own, for the others. A word of
 * `key` is for all keys whose hash falls on it; `any` for every key.
 *
 * And who goes alone in the node: workers/gateway/exec/alone.c.
 */
#ifndef SHM_KV_REACH_H
#define SHM_KV_REACH_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/bits.h"
#include "shm/slots.h"

#define REACH_WORDS   1024
#define REACH_APPENDS UINT64_MAX /* `latest`: one may be made any moment */

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
	_Atomic uint64_t latest; /* no request in the ring is newer */
	_Atomic uint64_t ticket; /* since when somebody waits to go alone, or
				    for who does; 0 = nobody */
	_Alignas(CACHE_LINE) _Atomic uint64_t key[REACH_WORDS]; /* by hash */
};

#define ALONE_TAKEN (UINT64_C(1) << 31) /* else it is only wanted */

struct reach_table {
	/* By compare-and-swap from 0, and by who cleans up behind a dead one.
	   Incarnation << 32 | ALONE_TAKEN | gateway + 1; 0 = nobody. */
	_Alignas(CACHE_LINE) _Atomic uint64_t alone; /* W: gateways */
	_Atomic uint64_t tickets; /* W: gateways. given so far */
	struct reach_shared of[GATEWAY_MAX];
};

#endif
