/*
 * What a boot decides from what was read: does this node take part, in
 * nothing, or must it not go on? What force goes over is here, too.
 */
#include "workers/group/core/table.h"

#include <string.h>

/*
 * What a disk says at boot that a node must not go on with. In a group of one
 * nobody else can be harmed by it, so force may: those have a bit.
 */
static const char *
boot_damage(const struct group_boot *b, unsigned *bit)
{
	const struct membership *m = b->membership;

	*bit = GROUP_FORCED_TERM;
	if (b->log_term > b->term)
		return "the log has records of a newer term than the state "
		       "file: the state file is older than the log";
	*bit = GROUP_FORCED_LOG;
	if (m->vlsn > b->log_vlsn)
		return "the members file names a newer record than the log "
		       "holds: the end of the log is lost";
	*bit = GROUP_FORCED_MEMBERS;
	if (m->vlsn == 0 && b->log_first > 1)
		return "neither the log nor the members file holds the "
		       "group's membership";
	*bit = 0;
	return NULL;
}

unsigned
group_boot_damage(const struct group_boot *b)
{
	unsigned bit;

	(void)boot_damage(b, &bit);
	return bit;
}

/*
 * "Whatever skips records or bypasses a quorum (force) starts a new generation
 * with a membership of the survivors" (DESIGN, 8): in a group of one that is
 * this node. The node file says it first; the record follows with this term.
 */
static void
boot_renew(struct group_core *c, const struct group_boot *b)
{
	if (!group_only_voter(c) || c->current.generation >= b->generation)
		return;
	c->current.generation = b->generation;
	c->current.vlsn = 0;
}

static const char *
boot_foreign(const struct group_core *c, const struct group_boot *b)
{
	if (memcmp(b->group_uuid, c->current.group_uuid, 16) != 0)
		return "the membership is of another group";
	if (b->generation != c->current.generation)
		return "the membership is of another generation of the group";
	/* A change that excludes it may not be committed: its vote counts. */
	if (c->self < 0 && member_find(&c->previous, c->incarnation) < 0)
		return "this node's incarnation is not in the group's "
		       "membership: its data directory was replaced";
	return NULL;
}

/* Take over what force goes over; returns enum group_forced. */
static unsigned
boot_forced(struct group_core *c, const struct group_boot *b)
{
	unsigned forced = 0;

	if (b->log_term > b->term) {
		forced |= GROUP_FORCED_TERM;
		c->term = b->log_term;
		c->vote = 0;
	}
	if (b->membership->vlsn > b->log_vlsn) {
		forced |= GROUP_FORCED_LOG;
		/* Its record is gone: this one takes its place. */
		c->current.vlsn = 0;
	}
	if (b->membership->vlsn == 0 && b->log_first > 1)
		forced |= GROUP_FORCED_MEMBERS;
	return forced;
}

enum group_fact
group_boot_fact(
    struct group_core *c, const struct group_boot *b, struct group_wants *out)
{
	unsigned bit;

	c->epoch = b->epoch;
	c->incarnation = b->incarnation;
	c->term = c->stored_term = b->term;
	c->vote = b->vote;
	c->vote_boot = b->vote_boot;
	c->boot = b->boot;
	c->seen_term = b->term;
	c->promise_ms = b->promise_ms;
	c->beat_ms = b->beat_ms == 0 ? GROUP_BEAT_MS : b->beat_ms;
	group_adopt(c, b->membership);
	if (b->fallback != NULL)
		c->previous = *b->fallback;
	if (b->readonly) {
		c->readonly = true;
		return FACT_BARRED;
	}
	if (b->lost) {
		out->why = "joined, but its log or its promises are gone: this "
			   "node neither votes nor acknowledges, it must be "
			   "restored from another member";
		return FACT_BARRED;
	}
	boot_renew(c, b);
	out->why = boot_foreign(c, b);
	if (out->why != NULL)
		return FACT_REFUSED;
	if (b->force && !group_only_voter(c)) {
		out->why = "recovery mode force in a group of several: this "
			   "node neither votes nor acknowledges, it must be "
			   "restored from another member";
		return FACT_BARRED;
	}
	out->why = boot_damage(b, &bit);
	if (out->why == NULL)
		return FACT_JOINED;
	if (!b->force) {
		out->forced = bit;
		return FACT_REFUSED;
	}
	out->why = NULL;
	out->forced = boot_forced(c, b);
	return FACT_JOINED;
}

const char *
group_forced_text(enum group_forced bit)
{
	switch (bit) {
	case GROUP_FORCED_TERM:
		return "the state file is older than the log: its term is "
		       "taken from the log";
	case GROUP_FORCED_LOG:
		return "the log ends before the record that the members file "
		       "is a copy of: records are lost";
	case GROUP_FORCED_MEMBERS:
		return "the group's membership is lost: the one in the "
		       "configuration takes its place";
	}
	return "forced?";
}
