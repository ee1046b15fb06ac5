/*
 * The membership of a group: who is in it, who votes, who commits. It lives in
 * the log as a record (REC_MEMBER); what follows is that record's payload,
 * whose integrity is the record's CRC:
 *
 *	off size
 *	  0    2  format version, 1
 *	  2    2  member count, 1..MEMBER_MAX
 *	  4    4  quorum policy, enum quorum_policy_kind
 *	  8   16  group uuid
 *	 24    8  generation of the group
 *	 32    4  lease, ms
 *	 36    4  zero
 *	 40       the members, one behind the other:
 *
 *	off size
 *	  0    8  incarnation: random id made with the data directory, not 0
 *	  8    4  election priority, 0 = votes but does not volunteer
 *	 12    1  type, enum node_type
 *	 13    1  name length, 1..63
 *	 14    2  address length, 0..MEMBER_ADDR_MAX - 1; 0 = none
 *	 16       name, then address, no padding
 *
 * The file data_dir/members is a copy of the newest *committed* record, for
 * the day when the log no longer holds it:
 *
 *	off size
 *	  0    4  CRC32C of bytes 4..end
 *	  4    4  magic "NLMB"
 *	  8    4  format version, 1
 *	 12    4  payload length
 *	 16    8  VLSN of the record
 *	 24       payload
 *
 * Pure functions: no I/O, no allocation. Nothing here logs.
 */
#ifndef WORKERS_GROUP_MEMBER_H
#define WORKERS_GROUP_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shm/commit.h"

#define MEMBER_FORMAT     1u
#define MEMBER_ADDR_MAX   272 /* host name (253), brackets, colon, port */
#define MEMBER_HEAD_SIZE  40
#define MEMBER_ENTRY_SIZE 16
#define MEMBER_RECORD_MAX                                                      \
	(MEMBER_HEAD_SIZE +                                                    \
	    MEMBER_MAX *                                                       \
		(MEMBER_ENTRY_SIZE + MEMBER_NAME_MAX + MEMBER_ADDR_MAX))
#define MEMBER_FILE_MAGIC UINT32_C(0x424d4c4e) /* "NLMB" */
#define MEMBER_FILE_HEAD  24
#define MEMBER_FILE_MAX   (MEMBER_FILE_HEAD + MEMBER_RECORD_MAX)

struct member {
	uint64_t incarnation;
	uint32_t priority;
	uint8_t type; /* enum node_type */
	char name[MEMBER_NAME_MAX];
	char address[MEMBER_ADDR_MAX]; /* "" = none */
};

struct membership {
	uint64_t vlsn; /* of its record; 0 = not in the log (yet) */
	uint64_t generation;
	uint8_t group_uuid[16];
	uint32_t policy; /* enum quorum_policy_kind */
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
 * 0; -EBADMSG: not a membership, also for trailing bytes; -EPROTO: of another
 * format version or quorum policy. out->vlsn is set to `vlsn`.
 */
int member_decode(
    const uint8_t *at, size_t n, uint64_t vlsn, struct membership *out);

/* The same for the file; at must have room for MEMBER_FILE_MAX bytes. */
size_t member_file_encode(uint8_t *at, const struct membership *m);
int member_file_decode(const uint8_t *at, size_t n, struct membership *out);

/* Of a membership that member_check() accepts. */
void member_quorums(const struct membership *m, struct quorums *out);
/* Index of the member of that incarnation, or -1. */
int member_find(const struct membership *m, uint64_t incarnation);

#endif
