/*
 * The rings between workers and what travels on them.
 *
 * A client of wal (group, store, each gateway) has three rings:
 *	request  client -> wal    struct wal_req: append this record
 *	ret      wal -> client    struct wal_ret: these requests got VLSNs v..
 *	result   store -> client  struct store_res: what applying gave
 * Requests of one client are appended in order. A payload longer than
 * REQ_PART_MAX travels in parts: REQ_MORE on all but the last; wal drains
 * that client alone until the last part came, so parts are contiguous in the
 * log, too (REC_PART records, then the record itself). Each part, being a
 * record, takes a VLSN of its own; only the last one carries the answer's
 * seq. A client that dies in the middle, or is refused there, leaves parts
 * that nothing follows: wal closes them with an operation that does nothing;
 * apply drops them when the next record is not their continuation.
 */
#ifndef SHM_REQUEST_H
#define SHM_REQUEST_H

#include "shm/bytering.h"
#include "shm/slots.h"

/* Clients of wal: indexes of ring sets. */
enum {
	CLIENT_GROUP = 0,
	CLIENT_STORE = 1,
	CLIENT_GATEWAY = 2,
	CLIENT_MAX = CLIENT_GATEWAY + GATEWAY_MAX
};

#define RING_REQUEST_SIZE (1024u * 1024) /* 8 parts, or 5,000 small sets */
#define RING_RETURN_SIZE  (64u * 1024)
#define RING_RESULT_SIZE  (256u * 1024)
#define REQ_PART_MAX      (128u * 1024) /* payload bytes in one entry */
#define RES_PART_MAX      (64u * 1024)
/* Of a whole payload: what is longer the store takes for malformed. */
#define REQ_PAYLOAD_MAX (UINT64_C(1) << 30)

/* RESP's own bytes around a value that is as long as a reply may be. */
#define RES_FRAME 64u

enum req_flag {
	REQ_MORE = 1, /* further parts follow */
	REQ_WANT_RESULT = 2, /* store answers with a store_res */
};

/* client -> wal; payload follows. */
struct wal_req {
	uint32_t len; /* whole entry, header included */
	uint32_t seq; /* the client's own number, +1 each request */
	uint32_t incarnation; /* of the client */
	uint8_t type; /* enum record_type, or a REQ_ of group's */
	uint8_t flags; /* enum req_flag */
	uint16_t zero;
	/* uint8_t payload[len - 16] */
};
_Static_assert(sizeof(struct wal_req) == 16, "packed");

/*
 * No record: group asks that the log be cut, behind a struct cut_req. It has
 * raised the epoch before, under which this node is no master, and says which
 * one that is. Answered when the new segment, whose header supersedes what was
 * cut off, is on disk; wal takes no record meanwhile.
 */
#define REQ_CUT 128
struct cut_req {
	uint64_t vlsn; /* the newest record that stays */
	uint16_t epoch;
	uint16_t zero[3];
};
_Static_assert(sizeof(struct cut_req) == 16, "packed");

/*
 * No record: group asks wal to fence, behind a struct fence_req: the epoch that
 * it has raised `committed` to. wal drops its data connections of older epochs,
 * and what feeds this node in that one, too; from then on it submits no
 * acknowledgement and takes no frame of them, and answers with a struct
 * fence_ret (on the return ring, told by its length) where the log ends for
 * good.
 */
#define REQ_FENCE 129
struct fence_req {
	uint16_t epoch;
	uint16_t zero[3];
};

struct fence_ret {
	uint32_t len; /* sizeof(struct fence_ret) */
	uint32_t seq;
	uint64_t term, vlsn; /* of the newest record appended; 0 = none */
	uint64_t member_vlsn; /* newest REC_MEMBER in the log; 0 = none */
	uint32_t crc; /* the chain behind the newest record */
	uint16_t epoch;
	uint16_t zero;
	uint64_t zero2;
};
_Static_assert(sizeof(struct fence_ret) == 48, "told apart by its length");

/*
 * No record: group asks what stands at a VLSN of the own log, which may take a
 * read of a segment file: so wal does it, and group's beats go on. Answered by
 * a struct chain_ret.
 */
#define REQ_CHAIN 130
struct chain_req {
	uint64_t vlsn;
};

enum chain_status {
	CHAIN_OK = 0,
	CHAIN_GONE = 1, /* the log begins behind it */
	CHAIN_BEYOND = 2, /* it ends before it */
	CHAIN_UNREADABLE = 3 /* a block of it cannot be read, or is damaged */
};

struct chain_ret {
	uint32_t len; /* sizeof(struct chain_ret) */
	uint32_t seq;
	uint64_t vlsn, term; /* asked for; that record's term */
	uint64_t live_from; /* oldest VLSN v such that records behind v can be
			       fed from the buffer */
	uint64_t first; /* oldest VLSN in the log */
	uint32_t crc; /* the chain behind it */
	uint32_t status; /* enum chain_status */
	uint64_t zero;
};
_Static_assert(sizeof(struct chain_ret) == 56, "told apart by its length");

enum ret_status {
	RET_OK = 0,
	RET_READONLY = 1, /* not the master: nothing was appended */
	RET_LOG_FULL = 2, /* it has no room: nothing was appended */
	RET_STOPPING = 3, /* shutting down: nothing was appended */
	RET_LOG_FAILED = 4, /* the log is closed: nothing was appended */
	RET_AWAY = 5, /* no path leads to the log: nothing was appended */
	RET_NO_SEGMENT = 6, /* it has no room, but the disk does: the same */
	/* Of REQ_CUT: nothing was cut. */
	RET_CUT_MASTER = 7, /* this node is master */
	RET_CUT_EPOCH = 8, /* of another epoch than the view's, or it changed */
	RET_CUT_COMMITTED = 9, /* behind that VLSN are committed records */
	RET_CUT_APPLIED = 10, /* ... applied ones */
	RET_CUT_BEYOND = 11, /* the log does not reach that VLSN */
	RET_CUT_LOST = 12, /* the log holds nothing of what is to stay */
	RET_CUT_UNSAVED = 13, /* what is cut off could not be read or saved */
};

/*
 * wal -> client: the `count` requests from seq on got the VLSNs from
 * vlsn on (RET_OK; requests in parts have count 1 and the last VLSN), or
 * were all refused for the same reason. What was appended is answered by that
 * mastership only: commit_of_term().
 */
struct wal_ret {
	uint32_t len; /* sizeof(struct wal_ret) */
	uint32_t seq;
	uint32_t count;
	uint32_t incarnation;
	uint64_t vlsn;
	uint64_t term; /* the mastership that appended them, else 0 */
	uint32_t status; /* enum ret_status */
	uint32_t zero;
};
_Static_assert(sizeof(struct wal_ret) == 40, "packed");

enum res_flag { RES_MORE = 1 }; /* further pieces of this result follow */

/* store -> client: encoded values (shm/kv/value.h) follow. */
struct store_res {
	uint32_t len;
	uint32_t seq;
	uint32_t incarnation;
	uint8_t flags;
	uint8_t zero[3];
	uint64_t vlsn;
	/* uint8_t values[len - 24] */
};
_Static_assert(sizeof(struct store_res) == 24, "packed");

/* One client's ring set as it lies in the region. */
struct client_rings {
	struct bytering_head request, ret, result;
};

/* Client index of a slot, or -1 if that slot is no client of wal. */
static inline int
client_of_slot(unsigned slot)
{
	if (slot == SLOT_GROUP)
		return CLIENT_GROUP;
	if (slot == SLOT_STORE)
		return CLIENT_STORE;
	if (slot >= SLOT_GATEWAY && slot < SLOT_MAX)
		return CLIENT_GATEWAY + (int)(slot - SLOT_GATEWAY);
	return -1;
}

static inline unsigned
slot_of_client(unsigned client)
{
	if (client == CLIENT_GROUP)
		return SLOT_GROUP;
	if (client == CLIENT_STORE)
		return SLOT_STORE;
	return SLOT_GATEWAY + client - CLIENT_GATEWAY;
}

#endif
