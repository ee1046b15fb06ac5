/*
 * Of founding, what whoever has joined goes on with, and what a note says on
 * the wire; see found.h.
 */
#include "workers/group/core/found.h"

#include <string.h>

#include "shm/crc32c.h"

uint32_t
note_crc(const struct note *note)
{
	uint8_t record[MEMBER_RECORD_MAX];

	return crc32c(0, record, member_encode(record, &note->members));
}

void
found_note_msg(const struct note *note, struct msg_note *out)
{
	_Static_assert(MEMBER_RECORD_MAX <= MSG_RECORD_MAX, "a record fits");
	memset(out, 0, sizeof(*out));
	memcpy(out->uuid, note->members.group_uuid, sizeof(out->uuid));
	out->initiator = note->initiator;
	out->record_len = (uint16_t)member_encode(out->record, &note->members);
}

void
found_complete(const struct note *note, const struct msg_proof *facts,
    struct found_completion *out)
{
	bool same =
	    memcmp(facts->uuid, note->members.group_uuid, MSG_UUID) == 0;

	memset(out, 0, sizeof(*out));
	if (member_find(&note->members, facts->incarnation) < 0)
		return;
	out->note = facts->standing == STANDING_UNJOINED;
	out->found = out->note || (facts->standing == STANDING_NOTED && same);
	memcpy(out->msg.uuid, note->members.group_uuid, MSG_UUID);
	out->msg.generation = note->members.generation;
	out->msg.crc = note_crc(note);
}

/* Of the group that this node is of, and of others. */
static bool
is_of(const struct note *note, const uint8_t uuid[MSG_UUID])
{
	return memcmp(note->members.group_uuid, uuid, MSG_UUID) == 0;
}

bool
found_member_answers(const struct note *note, unsigned type, const union msg *m,
    struct found_send *out)
{
	memset(out, 0, sizeof(*out));
	switch (type) {
	case MSG_NOTE:
		out->type = MSG_NOTE_ANSWER;
		memcpy(
		    out->note_answer.uuid, note->members.group_uuid, MSG_UUID);
		out->note_answer.verdict = NOTE_JOINED;
		return true;
	case MSG_FOUND:
		out->type = MSG_FOUND_ANSWER;
		memcpy(out->found_answer.uuid, m->found.uuid, MSG_UUID);
		out->found_answer.verdict =
		    is_of(note, m->found.uuid) ? FOUND_DONE : FOUND_OTHER;
		return true;
	case MSG_FOUND_ANSWER:
		/* It gave the note up; it may have it again. */
		out->type = MSG_NOTE;
		return m->found_answer.verdict == FOUND_NO_NOTE &&
		       is_of(note, m->found_answer.uuid);
	case MSG_NOTE_ANSWER:
		out->type = MSG_FOUND;
		memcpy(out->found.uuid, note->members.group_uuid, MSG_UUID);
		out->found.generation = note->members.generation;
		out->found.crc = note_crc(note);
		return m->note_answer.verdict == NOTE_TAKEN &&
		       is_of(note, m->note_answer.uuid);
	case MSG_ABANDON:
		/* Of another one it holds no note, so that never will be. */
		out->type = MSG_ABANDON_ANSWER;
		memcpy(out->found_answer.uuid, m->abandon.uuid, MSG_UUID);
		out->found_answer.verdict =
		    is_of(note, m->abandon.uuid) ? FOUND_DONE : FOUND_ABANDONED;
		return true;
	default:
		return false;
	}
}
