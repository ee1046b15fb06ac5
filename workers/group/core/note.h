/*
 * What is noted of a group that is being founded: its membership, which all
 * its members note alike, and who founds it. (The file is note_file.h's.)
 */
#ifndef WORKERS_GROUP_CORE_NOTE_H
#define WORKERS_GROUP_CORE_NOTE_H

#include "workers/group/core/member.h"

struct note {
	uint64_t initiator; /* incarnation; a member's */
	struct membership members; /* vlsn 0 */
};

/* What two that say the same have in common: of the membership's record. */
uint32_t note_crc(const struct note *n);

#endif
