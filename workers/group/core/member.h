/*
 * The membership of a group: who is in it, who votes, who commits. It lives in
 * the log as a record (REC_MEMBER); what follows is that record's payload,
 * whose integrity is the record's CRC (and that of its copy in a file,
 * member_file.h):
 *
 *	off size
 *	  0    2  format version, 2
 *	  2    2  member count, 1..MEMBER_MAX
 *	  4    4  quorum policy, enum quorum_policy_kind
 *	  8   16  group uuid
 *	 24    8  generation of the group
 *	 32    4  lease, ms
 *	 36    1  QUORUM_FLEXIBLE: voters that elect; else 0
 *	 37    1  and that commit; else 0
 *	 38    1  QUORUM_PRIMARY: number of the member; else 0
 *	 39    1  zero
 *	 40    8  VLSN of the membership record before this one, 0 = none
 *	 48    8  features that every member obeys: MEMBER_FEATURES
 *	 56    2  QUORUM_EXPRESSION: length of who elects, else 0
 *	 58    2  and of who commits, else 0
 *	 60    4  zero
 *	 64       these two expressions, no padding
 *	          the members, one behind the other:
 *
 *	off size
 *	  0    8  incarnation: random id made with the data directory, not 0
 *	  8    4  election priority, 0 = votes but does not volunteer
 *	 12    1  type, enum node_type
 *	 13    1  name length, 1..63
 *	 14    1  region length, 0..63; 0 = none
 *	 15    1  zero
 *	 16    2  peer address length, 0..MEMBER_ADDR_MAX - 1; 0 = none
 *	 18    2  client address length, the same
 *	 20    2  read capacity, per cent of an ordinary member
 *	 22    2  write capacity, the same
 *	 24    4  latency hint, ms
 *	 28    4  zero
 *	 32       name, region, peer address, client address, no padding
 *
 * Format 1, which is read and never written, has majority as its only policy,
 * and 40 bytes before the members: as above, but 36 to 39 are zero. A member is
 *
 *	  0   14  as above
 *	 14    2  peer address length
 *	 16       name, then address, no padding
 *
 * Pure functions: no I/O, no allocation. Nothing here logs.
 */
#ifndef WORKERS_GROUP_CORE_MEMBER_H
#define WORKERS_GROUP_CORE_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/commit_view.h"

#define MEMBER_FORMAT       2u
#define MEMBER_QUORUM_MAX   1024 /* an expression of nine voters, twice */
#define MEMBER_HEAD_SIZE    64
#define MEMBER_ENTRY_SIZE   32
#define MEMBER_HEAD_SIZE_1  40 /* of format 1 */
#define MEMBER_ENTRY_SIZE_1 16
#define MEMBER_RECORD_MAX                                                      \
	(MEMBER_HEAD_SIZE + 2 * MEMBER_QUORUM_MAX +                            \
	    MEMBER_MAX * (MEMBER_ENTRY_SIZE + 2 * MEMBER_NAME_MAX +            \
			     2 * MEMBER_ADDR_MAX))
#define MEMBER_FEATURES UINT64_C(0) /* those that this version knows */

struct member {
	uint64_t incarnation;
	uint32_t priority;
	uint8_t type; /* enum node_type */
	uint16_t read_capacity; /* per cent, both */
	uint16_t write_capacity;
	uint32_t latency_ms; /* a hint */
	char name[MEMBER_NAME_MAX];
	char region[MEMBER_NAME_MAX]; /* where it stands; "" = not told */
	char peer[MEMBER_ADDR_MAX]; /* for other members; "" = none */
	char client[MEMBER_ADDR_MAX]; /* for clients; "" = none */
};

struct membership {
	uint64_t vlsn; /* of its record; 0 = not in the log (yet) */
	uint64_t generation;
	uint8_t group_uuid[16];
	uint64_t before; /* VLSN of the record before it; 0 = none */
	uint64_t features; /* bits of MEMBER_FEATURES */
	uint32_t policy; /* enum quorum_policy_kind */
	uint8_t elect, commit; /* QUORUM_FLEXIBLE; else 0 */
	uint8_t primary; /* QUORUM_PRIMARY: number of a member; else 0 */
	char elect_text[MEMBER_QUORUM_MAX]; /* QUORUM_EXPRESSION; else "" */
	char commit_text[MEMBER_QUORUM_MAX];
	uint32_t lease_ms;
	uint32_t count;
	struct member member[MEMBER_MAX];
};

/*
 * Are both the same record's? A forced boot begins a generation, and may give
 * its first one the VLSN that another had before.
 */
static inline bool
member_same(const struct membership *a, const struct membership *b)
{
	return a->vlsn == b->vlsn && a->generation == b->generation;
}

/*
 * Is it a membership that can work: counts, names (unique, printable),
 * incarnations (unique, not 0), types, at least one electable member, quorums
 * that meet? NULL, or what is wrong with it (a constant text).
 */
const char *member_check(const struct membership *m);
/*
 * Encode a membership that member_check() accepts; at must have room for
 * MEMBER_RECORD_MAX bytes. Returns the length.
 */
size_t member_encode(uint8_t *at, const struct membership *m);
/*
 * 0; -EBADMSG: not a membership, also for trailing bytes; -EPROTO: of a
 * format version, quorum policy or feature that is not known here. out->vlsn is
 * set to `vlsn`.
 */
int member_decode(
    const uint8_t *at, size_t n, uint64_t vlsn, struct membership *out);

/* Of a membership that member_check() accepts. */
void member_quorums(const struct membership *m, struct quorums *out);
/* What a member has that nobody told more of: capacities and latency. */
void member_default(struct member *a);
/* Index of the member of that incarnation, or -1. */
int member_find(const struct membership *m, uint64_t incarnation);

#endif
