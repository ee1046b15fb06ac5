/*
 * What a founding says to people: to who asked for it, and to who looks on.
 */
#include "workers/group/founding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shm/say.h"

struct out {
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void
add(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->buf + o->len, o->size - o->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->len += (size_t)n;
	if (o->len >= o->size)
		o->len = o->size - 1;
}

static void
add_uuid(struct out *o, const uint8_t uuid[16])
{
	for (unsigned i = 0; i < 16; i++)
		add(o, "%s%02x",
		    i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

/* "n2, n3" */
static void
add_names(struct out *o, const struct founding *g, uint16_t who)
{
	bool first = true;

	for (unsigned i = 0; i < g->self.count; i++) {
		if ((who >> i & 1) == 0)
			continue;
		add(o, "%s%s", first ? "" : ", ", g->self.peer[i].name);
		first = false;
	}
}

/* A line for each: where it was looked for, and what came of it last. */
static void
add_reasons(struct out *o, const struct founding *g, uint16_t who)
{
	char error[PEER_TEXT];

	for (unsigned i = 0; i < g->self.count; i++) {
		if ((who >> i & 1) == 0)
			continue;
		peer_text_get(&g->r->peers->row[i].error, error, sizeof(error));
		add(o, "  %s at %s: %s\n", g->self.peer[i].name,
		    g->self.peer[i].address,
		    error[0] != '\0' ? error : "no answer");
	}
}

static const char *
verdict_text(uint8_t verdict)
{
	switch ((enum note_verdict)verdict) {
	case NOTE_OTHER:
		return "has noted another founding, perhaps its own: run "
		       "nodelifectl found --abandon there, then found again";
	case NOTE_JOINED:
		return "is of a group already";
	case NOTE_NOT_NAMED:
		return "is not the one that was asked before: try again";
	case NOTE_NOT_EMPTY:
		return "has data, but no group: look at its data_dir";
	case NOTE_FAILED:
		return "could not store it: look in its log";
	case NOTE_TAKEN:
		break;
	}
	return "answers what nobody understands: is it of another release?";
}

static void
add_members(struct out *o, const struct membership *m)
{
	for (uint32_t i = 0; i < m->count; i++)
		add(o, "  %s at %s, clients at %s\n", m->member[i].name,
		    m->member[i].peer, m->member[i].client);
}

static void
add_done(struct out *o, const struct founding *g)
{
	const struct found *f = &g->f;

	add(o, "group %s is founded: ", g->node.group);
	add_uuid(o, f->note.members.group_uuid);
	add(o, "\n");
	add_members(o, &f->note.members);
	if (f->who == 0)
		return;
	add(o, "has not said so yet, and joins when it is there: ");
	add_names(o, g, f->who);
	add(o, "\n");
}

uint32_t
found_result_text(
    const struct founding *g, enum found_result result, char *buf, size_t size)
{
	const struct found *f = &g->f;
	struct out o = { buf, size, 0 };

	buf[0] = '\0';
	switch (result) {
	case FOUND_RESULT_DONE:
		add_done(&o, g);
		return 0;
	case FOUND_RESULT_GIVEN_UP:
		add(&o, "given up: what was noted here is cleared\n");
		return 0;
	case FOUND_RESULT_NOTHING:
		add(&o, "there is nothing to give up\n");
		return 0;
	case FOUND_RESULT_UNREACHED:
		add(&o, "not reached: ");
		add_names(&o, g, f->who);
		add(&o, ": nothing is changed: all must run, then try again\n");
		add_reasons(&o, g, f->who);
		return 1;
	case FOUND_RESULT_MEMBER:
		add_names(&o, g, f->who);
		add(&o, " is of a group already: nothing is changed: found "
			"with members of none\n");
		return 1;
	case FOUND_RESULT_NOTED:
		add_names(&o, g, f->who);
		add(&o, " has noted another founding: nothing is changed: run "
			"nodelifectl found on who began that, or found "
			"--abandon there\n");
		return 1;
	case FOUND_RESULT_COUNT:
		add_names(&o, g, f->who);
		add(&o,
		    " has a group of %u in its configuration, this node one "
		    "of %u: nothing is changed: give each a [peer NAME] "
		    "section for each of the others\n",
		    f->count, g->self.count + 1);
		return 1;
	case FOUND_RESULT_ANEW:
		add_names(&o, g, f->who);
		add(&o, " has another data directory than the one that was "
			"noted: run nodelifectl found --abandon here, then "
			"found\n");
		return 1;
	case FOUND_RESULT_UNFIT:
		add(&o, "this cannot be a group: %s: nothing is changed\n",
		    f->why);
		return 1;
	case FOUND_RESULT_SILENT:
		add(&o, "no answer in time: ");
		add_names(&o, g, f->who);
		add(&o, ": nothing is founded: try again\n");
		add_reasons(&o, g, f->who);
		return 1;
	case FOUND_RESULT_REFUSED:
		add_names(&o, g, f->who);
		add(&o, " %s: nothing is founded\n", verdict_text(f->verdict));
		return 1;
	case FOUND_RESULT_YIELDED:
		add_names(&o, g, f->who);
		add(&o, " founds the group, too, and was faster: this node has "
			"noted that one\n");
		return 1;
	case FOUND_RESULT_STOPPED:
		add_names(&o, g, f->who);
		add(&o, " gave it up: nothing is founded\n");
		return 1;
	case FOUND_RESULT_NOTED_HERE:
		add(&o, "a founding is noted here that ");
		if (f->who != 0)
			add_names(&o, g, f->who);
		else
			add(&o, "another node");
		add(&o, " began: run nodelifectl found there to go on, or "
			"found --abandon here\n");
		return 1;
	case FOUND_RESULT_DISK:
		add(&o,
		    "%s: %s: nothing is founded: mend that, then run "
		    "nodelifectl found again\n",
		    g->w->conf->node.data_dir, strerror(f->error));
		return 1;
	case FOUND_RESULT_NO_WORD:
		if (f->who != 0)
			add_names(&o, g, f->who);
		else
			add(&o, "the node");
		add(&o, " that began it is not to be asked whether it has "
			"founded the group: nothing is changed: start it; if "
			"its data are lost for good, make it anew (nodelifed "
			"--init --member) and start all, then try again\n");
		add_reasons(&o, g, f->who);
		return 1;
	case FOUND_RESULT_FOUNDED:
		add(&o, "the group is founded already: this node joins it\n");
		return 1;
	case FOUND_NO_RESULT:
		break;
	}
	add(&o, "?\n");
	return 1;
}

void
found_waits_text(const struct founding *g, char *buf, size_t size)
{
	const struct found *f = &g->f;
	int who = found_initiator(f);
	struct out o = { buf, size, 0 };

	buf[0] = '\0';
	if (f->joined)
		add(&o, "the group is founded: the node boots as its member");
	else if (f->state != FOUND_AT_REST)
		add(&o, "unjoined: a founding is under way here");
	else if (!f->has_note)
		add(&o, "unjoined: waits to be founded: run nodelifectl found "
			"on one member when all run");
	else if (found_is_own(f))
		add(&o, "unjoined: a founding that began here is not over: run "
			"nodelifectl found again, or found --abandon");
	else
		add(&o,
		    "unjoined: waits for %s, which founds the group: if that "
		    "stays away, run nodelifectl found --abandon here",
		    who >= 0 ? g->self.peer[who].name : "another node");
}

/* ---- the configuration, beside what is so ---- */

static void
differs(struct region *r, unsigned slot, const char *key, const char *whose,
    const char *file, const char *group)
{
	if (strcmp(file, group) != 0)
		event_add(r, slot, EVENT_WARN,
		    "%s%s%s is %.60s in the configuration, %.60s in the "
		    "group, which counts",
		    key, whose[0] != '\0' ? " of " : "", whose, file, group);
}

static const struct member *
member_named(const struct membership *m, const char *name)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (strcmp(m->member[i].name, name) == 0)
			return &m->member[i];
	return NULL;
}

static void
numbers_differ(struct region *r, unsigned slot, const struct conf *conf,
    const struct membership *m, const struct member *own)
{
	char file[24], group[24];

	conf_duration_format(conf->election.lease_ms, file, sizeof(file));
	conf_duration_format(m->lease_ms, group, sizeof(group));
	differs(r, slot, "[election] lease", "", file, group);
	snprintf(file, sizeof(file), "%u", conf->election.priority);
	snprintf(group, sizeof(group), "%u", own->priority);
	differs(r, slot, "[election] priority", "", file, group);
}

void
found_differences(struct region *r, unsigned slot, const struct conf *conf,
    const char *self, const struct membership *m)
{
	const struct member *own = member_named(m, self), *other;
	const char *client = conf->listen.announce;

	if (own == NULL || m->count < 2)
		return;
	if (client[0] == '\0')
		client = r->head->client_addr;
	differs(r, slot,
	    conf->listen.announce[0] != '\0' ? "[listen] announce"
					     : "[listen] client",
	    "", client, own->client);
	numbers_differ(r, slot, conf, m, own);
	for (uint32_t i = 0; i < conf->peer_count; i++) {
		other = member_named(m, conf->peer[i].name);
		if (other == NULL)
			event_add(r, slot, EVENT_WARN,
			    "[peer %s] is no member of the group, which counts",
			    conf->peer[i].name);
		else
			differs(r, slot, "[peer] address", conf->peer[i].name,
			    conf->peer[i].address, other->peer);
	}
	for (uint32_t i = 0; i < m->count; i++) {
		bool told = &m->member[i] == own;

		for (uint32_t k = 0; k < conf->peer_count; k++)
			told |=
			    strcmp(m->member[i].name, conf->peer[k].name) == 0;
		if (!told)
			event_add(r, slot, EVENT_WARN,
			    "member %s at %.60s has no [peer] section in the "
			    "configuration; the group counts",
			    m->member[i].name, m->member[i].peer);
	}
}
