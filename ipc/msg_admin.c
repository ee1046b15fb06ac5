/*
 * Founding and status: see msg_admin.h.
 */
#include "ipc/msg_codec.h"
#include "shm/sequencer.h"

#define UUID(body, what) BYTES(body, 0, uuid, what)

/* clang-format off */
static const struct msg_field candidate[] = {
	NUMBER(msg_candidate, 0, count, 2, MEMBER_MAX,
	    "members that the sender knows of, itself too"),
	ZERO(2, 6),
};

static const struct msg_field candidate_answer[] = {
	UUID(msg_candidate_answer, "of the note held; zeros: none is"),
	SOME(msg_candidate_answer, 16, incarnation, "of its data directory"),
	ANY(msg_candidate_answer, 24, priority, "in elections"),
	ANY(msg_candidate_answer, 28, latency_ms, "a hint, ms"),
	ANY(msg_candidate_answer, 32, read_capacity, "per cent"),
	ANY(msg_candidate_answer, 34, write_capacity, "per cent"),
	NUMBER(msg_candidate_answer, 36, count, 2, MEMBER_MAX,
	    "members that it knows of, itself too"),
	NUMBER(msg_candidate_answer, 38, type, NODE_ELECTABLE, NODE_ARBITER,
	    "0 electable, 1 monitor, 2 secondary, 3 arbiter"),
	TEXT(msg_candidate_answer, 39, region, "where it stands"),
	TEXT(msg_candidate_answer, 40, calls,
	    "address of the asker, for members"),
	TEXT(msg_candidate_answer, 41, client, "its own, for clients"),
	ZERO(42, 6),
};

/* A list of bytes: what they are is not for this room. */
static const struct msg_field record[] = {
	{ .name = "record", .what = "of the membership", .kind = FIELD_NUMBER,
		.size = 1, .min = 0, .max = UINT8_MAX },
};

static const struct msg_field note[] = {
	UUID(msg_note, "of the group that is being founded"),
	SOME(msg_note, 16, initiator, "incarnation of who founds it"),
	LIST(msg_note, 24, record, record_len, 1, MSG_RECORD_MAX, record, 1,
	    "bytes of the membership's record"),
	ZERO(26, 6),
};

static const struct msg_field note_answer[] = {
	UUID(msg_note_answer, "of the note held, or of the group joined"),
	ANY(msg_note_answer, 16, initiator, "of the note held; 0: not known"),
	NUMBER(msg_note_answer, 24, verdict, NOTE_TAKEN, NOTE_FAILED,
	    "1 noted durably, 2 another note is held, 3 joined already, 4 not "
	    "named in it, 5 there are data without a group, 6 not stored"),
	ZERO(25, 7),
};

static const struct msg_field found[] = {
	UUID(msg_found, "of the group that is founded"),
	SOME(msg_found, 16, generation, "of the group"),
	ANY(msg_found, 24, crc, "CRC32C of the membership's record"),
	ZERO(28, 4),
};

static const struct msg_field found_answer[] = {
	UUID(msg_found_answer, "as asked"),
	NUMBER(msg_found_answer, 16, verdict, FOUND_DONE, FOUND_ABANDONED,
	    "1 joined durably, or it is founded, 2 no such note, 3 of another "
	    "group, 4 not stored, 5 it never will be founded"),
	ZERO(17, 7),
};

static const struct msg_field abandon[] = {
	UUID(msg_abandon, "of the group that was to be founded"),
};

static const struct msg_field status[] = {
	ANY(msg_status, 0, ticket, "comes back"),
};

static const struct msg_field status_answer[] = {
	ANY(msg_status_answer, 0, ticket, "as asked"),
	TERM_OR_NONE(msg_status_answer, 8, term, "newest term it knows"),
	ANY(msg_status_answer, 16, master, "incarnation; 0: none is known"),
	ANY(msg_status_answer, 24, uptime_ms, "since its boot, ms"),
	VLSN(msg_status_answer, 32, first, "oldest VLSN in its log"),
	VLSN(msg_status_answer, 40, appended, "newest VLSN in its log"),
	VLSN(msg_status_answer, 48, durable, "newest VLSN on its disk"),
	VLSN(msg_status_answer, 56, committed, "what it knows committed"),
	VLSN(msg_status_answer, 64, applied, "newest VLSN in its store"),
	ANY(msg_status_answer, 72, features, "bits that it knows"),
	NUMBER(msg_status_answer, 80, version_min, 1, UINT16_MAX,
	    "oldest protocol version that it speaks"),
	NUMBER(msg_status_answer, 82, version_max, 1, UINT16_MAX,
	    "and the newest"),
	NUMBER(msg_status_answer, 84, phase, 0, PHASE_COUNT - 1,
	    "of its boot: 0 boot to 10 gateway_enable, 11 failed"),
	NUMBER(msg_status_answer, 85, role, 0, ROLE_SHUTDOWN,
	    "0 detached, 1 unknown, 2 replica, 3 master, 4 shutdown"),
	NAME(msg_status_answer, 86, release, "its release"),
	TEXT(msg_status_answer, 87, error, "its last error"),
};
/* clang-format on */

static bool
is_zero(const uint8_t *at, size_t n)
{
	while (n > 0 && *at == 0)
		at++, n--;
	return n == 0;
}

static const char *
note_check(const void *msg)
{
	const struct msg_note *m = msg;

	return is_zero(m->uuid, MSG_UUID) ? "uuid" : NULL;
}

static const char *
found_check(const void *msg)
{
	const struct msg_found *m = msg;

	return is_zero(m->uuid, MSG_UUID) ? "uuid" : NULL;
}

static const char *
found_answer_check(const void *msg)
{
	const struct msg_found_answer *m = msg;

	return is_zero(m->uuid, MSG_UUID) ? "uuid" : NULL;
}

static const char *
abandon_check(const void *msg)
{
	const struct msg_abandon *m = msg;

	return is_zero(m->uuid, MSG_UUID) ? "uuid" : NULL;
}

static const char *
status_answer_check(const void *msg)
{
	const struct msg_status_answer *m = msg;

	return m->version_min > m->version_max ? "version_max" : NULL;
}

LAYOUT(msg_candidate, candidate, 8, NULL);
LAYOUT(msg_candidate_answer, candidate_answer, 48, NULL);
LAYOUT(msg_note, note, 32, note_check);
LAYOUT(msg_note_answer, note_answer, 32, NULL);
LAYOUT(msg_found, found, 32, found_check);
LAYOUT(msg_found_answer, found_answer, 24, found_answer_check);
LAYOUT(msg_abandon, abandon, 16, abandon_check);
LAYOUT(msg_status, status, 8, NULL);
LAYOUT(msg_status_answer, status_answer, 88, status_answer_check);
