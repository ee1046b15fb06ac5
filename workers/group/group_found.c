/*
 * What is left of a founding for who has joined: members that hold the note of
 * its group, or know of none yet, are told that it is founded (core/found.h).
 * They take part in nothing before they come again as members.
 */
#include "workers/group/group.h"

#include <string.h>

#include "workers/group/core/found.h"

/* What all have noted: the membership that the group began with. */
static void
note_of(const struct group *g, struct note *out)
{
	if (g->note_known) {
		*out = g->note;
		return;
	}
	out->members = *group_membership(&g->core);
	out->members.vlsn = 0;
	out->initiator = g->node.incarnation;
}

static void
send_note(struct group *g, unsigned index, const struct note *note)
{
	struct msg_note m;

	found_note_msg(note, &m);
	(void)peers_send(&g->net, index, MSG_NOTE, &m);
}

bool
group_found_up(struct group *g, unsigned index, const struct msg_proof *facts)
{
	struct found_completion c;
	struct note note;

	if (facts->standing != STANDING_UNJOINED &&
	    facts->standing != STANDING_NOTED)
		return false;
	if (g->lost || group_membership(&g->core)->count < 2)
		return true;
	note_of(g, &note);
	found_complete(&note, facts, &c);
	if (c.note)
		send_note(g, index, &note);
	if (c.found)
		(void)peers_send(&g->net, index, MSG_FOUND, &c.msg);
	return true;
}

bool
group_found_message(
    struct group *g, unsigned index, unsigned type, const union msg *m)
{
	struct found_send s;
	struct note note;

	if (type < MSG_NOTE || type > MSG_CANDIDATE_ANSWER)
		return false;
	if (g->lost || group_membership(&g->core)->count < 2)
		return true;
	note_of(g, &note);
	if (!found_member_answers(&note, type, m, &s))
		return true;
	if (s.type == MSG_NOTE)
		send_note(g, index, &note);
	else
		(void)peers_send(&g->net, index, s.type, &s.candidate);
	return true;
}
