/*
 * What cores say to each other (core/msg.h) to messages on the wire
 * (ipc/msg_vote.h) and back. The core names boots by their counter, the wire by
 * counter and id; the connection knows whom a message is from. What the wire
 * tells beside that (clocks, positions, for screens and for others) the caller
 * brings, and it is clamped to what the wire may say.
 *
 * Pure. Whatever the wire brings, what comes out has its indexes in bounds.
 */
#ifndef WORKERS_GROUP_NET_TRANSLATE_H
#define WORKERS_GROUP_NET_TRANSLATE_H

#include "ipc/msg.h"
#include "workers/group/core/member.h"
#include "workers/group/core/msg.h"

/* Of this node. Only the first four are needed in translate_in(). */
struct translate_self {
	uint64_t incarnation;
	uint64_t boot_count, boot;
	const struct membership *members; /* as the core has it */
	uint64_t first, appended, durable, applied, committed;
	uint64_t clock_vlsn, clock_ms;
	uint16_t flags; /* enum round_flag */
	/* Of each member, for the ranks of a round; NULL = none is known. */
	const uint64_t *matched;
	/* In this term, for the answer to a round; 0 before syncup. */
	uint64_t own_matched;
	uint32_t promise_ms; /* what a granted round's answer promises */
};

/* Of who is at the other end. */
struct translate_peer {
	uint64_t incarnation;
	uint64_t boot_count, boot;
};

/*
 * The number of the message in *out, or 0: it cannot be said to that peer (it
 * answers a boot that is gone, or is of no term).
 */
unsigned
translate_out(const struct group_msg *m, const struct translate_self *self,
    const struct translate_peer *to, union msg *out);
/* False: no message of a core, or one about a boot that is over. */
bool translate_in(unsigned type, const union msg *m,
    const struct translate_self *self, const struct translate_peer *from,
    struct group_msg *out);

#endif
