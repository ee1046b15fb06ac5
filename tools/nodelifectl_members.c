/*
 * nodelifectl members: who is in the group, as the node's region has it. It
 * asks no process, so it answers whatever the node is busy with.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conf/node_file.h"
#include "shm/members.h"
#include "tools/nodelifectl.h"

#define COLUMNS 9

struct cells {
	char text[COLUMNS][MEMBER_ADDR_MAX];
};

/* A group of one has no rows: its directory has it. 0 = cannot be read. */
static uint64_t
own_incarnation(const struct region *r)
{
	char path[sizeof(r->head->data_dir)], why[256];
	struct node_file f = { 0 };
	int fd;

	strlcpy(path, r->head->data_dir, sizeof(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (node_file_read(fd, &f, why, sizeof(why)) != 0)
		f.incarnation = 0;
	close(fd);
	return f.incarnation;
}

static const char *
or_dash(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

static void
cells_fill(struct cells *c, const struct member_look *row)
{
	size_t size = sizeof(c->text[0]);

	snprintf(c->text[0], size, "%s%s", or_dash(row->name),
	    row->self ? " *" : "");
	snprintf(c->text[1], size, "%s",
	    row->link == PEER_UP ? role_name(row->role) : "-");
	snprintf(c->text[2], size, "%s", member_link_word(row));
	snprintf(c->text[3], size, "%s", or_dash(row->client));
	snprintf(c->text[4], size, "%s", or_dash(row->address));
	snprintf(c->text[5], size, "%016" PRIx64, row->incarnation);
	if (row->incarnation == 0)
		snprintf(c->text[5], size, "-");
	snprintf(c->text[6], size, "%" PRIu64, row->first);
	snprintf(c->text[7], size, "%" PRIu64, row->durable);
	snprintf(c->text[8], size, "%" PRIu64, row->lag);
	if (!row->lag_known)
		snprintf(c->text[8], size, "-");
}

static void
table_print(const struct members_look *m)
{
	static const char *const title[COLUMNS] = { "member", "role", "link",
		"clients", "members", "incarnation", "first", "on disk",
		"lag" };
	static struct cells row[MEMBER_MAX + 1];
	size_t width[COLUMNS] = { 0 };
	unsigned i, k;

	for (k = 0; k < COLUMNS; k++)
		strlcpy(row[0].text[k], title[k], sizeof(row[0].text[k]));
	for (i = 0; i < m->count; i++)
		cells_fill(&row[i + 1], &m->row[i]);
	for (i = 0; i <= m->count; i++)
		for (k = 0; k < COLUMNS; k++)
			if (strlen(ctl_printable(row[i].text[k])) > width[k])
				width[k] = strlen(row[i].text[k]);
	for (i = 0; i <= m->count; i++) {
		for (k = 0; k + 1 < COLUMNS; k++)
			printf("%-*s  ", (int)width[k], row[i].text[k]);
		printf("%s\n", row[i].text[k]);
	}
}

void
ctl_members_why(const struct members_look *m)
{
	char flags[256], error[PEER_TEXT], name[MEMBER_NAME_MAX];
	const struct member_look *row;
	unsigned i;

	for (i = 0; i < m->count; i++) {
		row = &m->row[i];
		strlcpy(name, row->name, sizeof(name));
		ctl_printable(name);
		strlcpy(error, row->error, sizeof(error));
		member_flags_text(row->flags, flags, sizeof(flags));
		if (row->link != PEER_UP)
			printf("%s: %s: %s\n", name, member_link_word(row),
			    error[0] != '\0' ? ctl_printable(error)
					     : "nothing is known of it");
		else if (flags[0] != '\0')
			printf("%s: %s\n", name, flags);
		else if (row->behind_ms >= MEMBERS_BEHIND_MS)
			printf("%s: lacks what was committed %" PRIu64
			       " ms ago, %" PRIu64 " records by now\n",
			    name, row->behind_ms, row->lag);
	}
}

/* Text of a region may be anything. */
static json_t *
string(const char *text)
{
	char copy[MEMBER_ADDR_MAX];
	json_t *s;

	strlcpy(copy, text, sizeof(copy));
	s = json_string(ctl_printable(copy));
	return s != NULL ? s : json_string("?");
}

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *
member_json(const struct member_look *row)
{
	json_t *o = json_object();
	char text[256];

	json_object_set_new(o, "name", string(row->name));
	json_object_set_new(o, "self", json_boolean(row->self));
	json_object_set_new(o, "votes", json_boolean(row->votes));
	json_object_set_new(o, "role", json_string(role_name(row->role)));
	json_object_set_new(o, "link", json_string(peer_link_name(row->link)));
	json_object_set_new(o, "feed", json_string(peer_feed_name(row->feed)));
	json_object_set_new(o, "ready", json_boolean(row->ready));
	json_object_set_new(o, "client", string(row->client));
	json_object_set_new(o, "address", string(row->address));
	snprintf(text, sizeof(text), "%016" PRIx64, row->incarnation);
	json_object_set_new(o, "incarnation",
	    row->incarnation != 0 ? json_string(text) : json_null());
	json_object_set_new(o, "boot", number(row->boot));
	json_object_set_new(o, "term", number(row->term));
	json_object_set_new(o, "first", number(row->first));
	json_object_set_new(o, "appended", number(row->appended));
	json_object_set_new(o, "durable", number(row->durable));
	json_object_set_new(o, "applied", number(row->applied));
	json_object_set_new(
	    o, "lag", row->lag_known ? number(row->lag) : json_null());
	json_object_set_new(o, "behind_ms", number(row->behind_ms));
	json_object_set_new(o, "told",
	    json_string(member_flags_text(row->flags, text, sizeof(text))));
	json_object_set_new(o, "error", string(row->error));
	return o;
}

static void
json_print(const struct region *r, const struct members_look *m)
{
	json_t *top = json_object(), *list = json_array();
	char text[128];
	unsigned i;

	json_object_set_new(top, "node", string(r->head->node));
	json_object_set_new(top, "joined", json_boolean(m->joined));
	json_object_set_new(top, "role", json_string(role_name(m->view.role)));
	json_object_set_new(top, "term", number(m->view.term));
	json_object_set_new(top, "master",
	    m->master != NULL ? string(m->master->name) : json_null());
	json_object_set_new(top, "has_quorum", json_boolean(m->spare >= 0));
	json_object_set_new(
	    top, "can_lose", number(m->spare > 0 ? (unsigned)m->spare : 0));
	json_object_set_new(
	    top, "text", json_string(members_text(m, text, sizeof(text))));
	for (i = 0; i < m->count; i++)
		json_array_append_new(list, member_json(&m->row[i]));
	json_object_set_new(top, "members", list);
	json_dumpf(top, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(top);
}

static void
members_print(const struct members_look *m)
{
	char text[512];

	printf("%s, term %" PRIu64 ": %s\n", role_name(m->view.role),
	    m->view.term, members_text(m, text, sizeof(text)));
	members_master_text(m, text, sizeof(text));
	if (text[0] != '\0')
		printf("%s\n", ctl_printable(text));
	table_print(m);
	ctl_members_why(m);
}

int
ctl_members(const struct ctl *c, const char *how)
{
	static struct members_look m;
	struct ctl_life l;
	int rc;

	if (how != NULL && strcmp(how, "-j") != 0 &&
	    strcmp(how, "--json") != 0) {
		ctl_say("members %s: -j or --json", how);
		return CTL_USAGE;
	}
	rc = ctl_life(c, &l);
	if (rc != CTL_OK) {
		ctl_say_life(c, &l, rc);
	} else if (!l.has_region || !region_alive(&l.region)) {
		ctl_say("%s: the node runs, and its region is not to be had: "
			"nodelifectl status says more",
		    c->run_dir);
		rc = CTL_FAILED;
	} else {
		members_look(&l.region, mono_ns(), &m);
		if (m.joined && m.view.self < m.count &&
		    m.row[m.view.self].incarnation == 0)
			m.row[m.view.self].incarnation =
			    own_incarnation(&l.region);
		if (how != NULL)
			json_print(&l.region, &m);
		else
			members_print(&m);
	}
	ctl_life_end(&l);
	return rc;
}
