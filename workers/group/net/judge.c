/*
 * Who may be linked to: see judge.h.
 */
#include "workers/group/net/judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool
has_group(const struct msg_proof *p)
{
	return p->standing == STANDING_JOINED || p->standing == STANDING_LOST;
}

__attribute__((format(printf, 3, 4))) static unsigned
refuse(char *text, unsigned reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, MSG_TEXT_SIZE, fmt, ap);
	va_end(ap);
	return reason;
}

static const char *
type_name(int type)
{
	static const char *const names[] = { "electable", "monitor",
		"secondary", "arbiter" };

	return type >= 0 && type < 4 ? names[type] : "?";
}

/* Is it a member, by all that is known of that name? */
static unsigned
judge_member(const struct judge_in *in, char *text)
{
	if (!in->known)
		return refuse(text, REFUSED_MEMBER,
		    "%s is no member: %s knows none of that name", in->name,
		    in->self);
	if (in->incarnation != 0 && in->incarnation != in->peer->incarnation)
		return refuse(text, REFUSED_MEMBER,
		    "%s has incarnation %016llx, the group knows %016llx: its "
		    "data directory is not the one that joined",
		    in->name, (unsigned long long)in->peer->incarnation,
		    (unsigned long long)in->incarnation);
	if (in->type >= 0 && has_group(in->peer) && in->peer->type != in->type)
		return refuse(text, REFUSED_TYPE,
		    "%s is %s, the group knows it as %s", in->name,
		    type_name(in->peer->type), type_name(in->type));
	return REFUSED_NOTHING;
}

/* Those that are of no group yet are linked to anybody. */
static unsigned
judge_group(const struct judge_in *in, char *text)
{
	const struct msg_proof *a = in->mine, *b = in->peer;

	if (!has_group(a) || !has_group(b))
		return REFUSED_NOTHING;
	if (memcmp(a->uuid, b->uuid, MSG_UUID) != 0)
		return refuse(text, REFUSED_UUID,
		    "%s and %s are of two groups that have one name", in->name,
		    in->self);
	if (a->generation != b->generation)
		return refuse(text, REFUSED_GENERATION,
		    "%s is of generation %llu, %s of %llu: the older one is to "
		    "be restored from the newer",
		    in->name, (unsigned long long)b->generation, in->self,
		    (unsigned long long)a->generation);
	return REFUSED_NOTHING;
}

/* Is (count, id) older than, or a copy of, the boot that is known? */
static bool
is_copy(const struct msg_proof *p, uint64_t count, uint64_t id)
{
	return p->boot_count < count ||
	       (p->boot_count == count && id != 0 && p->boot != id);
}

static unsigned
judge_boot(const struct judge_in *in, char *text)
{
	const struct msg_proof *p = in->peer;
	const struct msg_proof *up = in->up;

	if (in->twin != NULL)
		return refuse(text, REFUSED_CLONE,
		    "%s at %.60s has the incarnation of %s at %.60s: one "
		    "is a copy of the other",
		    in->name, in->from, in->twin, in->twin_from);
	if (up != NULL && up->incarnation == p->incarnation &&
	    is_copy(p, up->boot_count, up->boot))
		return refuse(text, REFUSED_CLONE,
		    "%s at %.60s (boot %llu): a copy, or an older state, of "
		    "the one "
		    "at %.60s (boot %llu)",
		    in->name, in->from, (unsigned long long)p->boot_count,
		    in->up_from, (unsigned long long)up->boot_count);
	if (is_copy(p, in->boot_count, in->boot))
		return refuse(text, REFUSED_CLONE,
		    "%s at %.60s (boot %llu): a copy, or an older state, of "
		    "the "
		    "%s that was seen (boot %llu)",
		    in->name, in->from, (unsigned long long)p->boot_count,
		    in->name, (unsigned long long)in->boot_count);
	/* It may cut what it has acknowledged, but in a later term only. */
	if (p->standing == STANDING_JOINED && p->term <= in->acked_term &&
	    p->last < in->acked)
		return refuse(text, REFUSED_CLONE,
		    "%s at %.60s (boot %llu): an older state: its log ends at "
		    "record %llu, but it has acknowledged %llu",
		    in->name, in->from, (unsigned long long)p->boot_count,
		    (unsigned long long)p->last, (unsigned long long)in->acked);
	if (up != NULL && up->incarnation == p->incarnation && in->up_alive &&
	    p->boot_count > up->boot_count)
		return refuse(text, REFUSED_ALIVE,
		    "%s at %.60s (boot %llu): boot %llu at %.60s still beats",
		    in->name, in->from, (unsigned long long)p->boot_count,
		    (unsigned long long)up->boot_count, in->up_from);
	return REFUSED_NOTHING;
}

unsigned
judge(const struct judge_in *in, char *text)
{
	unsigned reason;

	text[0] = '\0';
	reason = judge_member(in, text);
	if (reason == REFUSED_NOTHING)
		reason = judge_group(in, text);
	if (reason == REFUSED_NOTHING)
		reason = judge_boot(in, text);
	return reason;
}
