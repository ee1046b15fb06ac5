/*
 * Commands about the node: what it can do, how it is set, how it fares.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "shm/assert.h"
#include "shm/kv/glob.h"
#include "workers/gateway/cmd/cmd.h"

/* ---- COMMAND ---- */

/* Redis' names of the flags that ours imply. */
static unsigned
command_flag_names(const struct command *cmd, const char *names[8])
{
	unsigned n = 0;

	if ((cmd->flags & CMD_WRITE) != 0)
		names[n++] = "write";
	if ((cmd->flags & CMD_DENYOOM) != 0)
		names[n++] = "denyoom";
	if ((cmd->flags & CMD_READ) != 0)
		names[n++] = "readonly";
	if ((cmd->flags & CMD_ADMIN) != 0)
		names[n++] = "admin";
	if ((cmd->flags & CMD_BLOCKING) != 0)
		names[n++] = "blocking";
	if ((cmd->flags & CMD_NOAUTH) != 0)
		names[n++] = "no_auth";
	if ((cmd->flags & CMD_NOMULTI) != 0)
		names[n++] = "no_multi";
	if ((cmd->flags & CMD_FAST) != 0)
		names[n++] = "fast";
	return n;
}

static void
command_info_one(struct sink *out, unsigned proto, const struct command *cmd)
{
	const char *names[8];
	char category[32];
	unsigned n, i;

	if (cmd == NULL) {
		reply_nil(out, proto);
		return;
	}
	reply_array(out, 10);
	reply_str(out, cmd->name);
	reply_int(out, cmd->arity);
	n = command_flag_names(cmd, names);
	reply_set(out, proto, n);
	for (i = 0; i < n; i++)
		reply_status(out, names[i]);
	reply_int(out, cmd->first);
	reply_int(out, cmd->last);
	reply_int(out, cmd->step);
	snprintf(category, sizeof(category), "@%s", cmd->group);
	reply_set(out, proto, 1);
	reply_status(out, category);
	reply_set(out, proto, 0); /* tips */
	reply_array(out, 0); /* key specifications */
	reply_array(out, 0); /* subcommands */
}

static void
command_docs_one(struct sink *out, unsigned proto, const struct command *cmd)
{
	reply_str(out, cmd->name);
	reply_map(out, proto, 3);
	reply_str(out, "summary");
	reply_str(out, cmd->summary);
	reply_str(out, "since");
	reply_str(out, cmd->since);
	reply_str(out, "group");
	reply_str(out, cmd->group);
}

static enum verdict
command_info(struct call *k)
{
	struct sink *out = call_out(k);
	uint32_t i;

	if (k->argc <= 2) {
		reply_array(out, gw_command_count());
		for (i = 0; i < gw_command_count(); i++)
			command_info_one(out, k->c->proto, gw_command_at(i));
		return VERDICT_DONE;
	}
	reply_array(out, k->argc - 2);
	for (i = 2; i < k->argc; i++)
		command_info_one(out, k->c->proto,
		    gw_command_find(k->argv[i].data, k->argv[i].len));
	return VERDICT_DONE;
}

static enum verdict
command_docs(struct call *k)
{
	const struct command *cmd;
	uint32_t i, found = 0;
	struct sink *out = call_out(k);

	if (k->argc == 2) {
		reply_map(out, k->c->proto, gw_command_count());
		for (i = 0; i < gw_command_count(); i++)
			command_docs_one(out, k->c->proto, gw_command_at(i));
		return VERDICT_DONE;
	}
	for (i = 2; i < k->argc; i++)
		found +=
		    gw_command_find(k->argv[i].data, k->argv[i].len) != NULL;
	reply_map(out, k->c->proto, found);
	for (i = 2; i < k->argc; i++) {
		cmd = gw_command_find(k->argv[i].data, k->argv[i].len);
		if (cmd != NULL)
			command_docs_one(out, k->c->proto, cmd);
	}
	return VERDICT_DONE;
}

static enum verdict
command_getkeys(struct call *k)
{
	const struct command *cmd;
	uint32_t argc = k->argc - 2, i, last, keys;
	struct sink *out;

	cmd = gw_command_find(k->argv[2].data, k->argv[2].len);
	if (cmd == NULL)
		return call_error_done(k, "ERR Invalid command specified");
	if (!gw_command_arity_ok(cmd, argc))
		return call_error_done(k, "ERR Invalid number of arguments "
					  "specified for command");
	if (cmd->first == 0)
		return call_error_done(
		    k, "ERR The command has no key arguments");
	last = cmd->last < 0 ? argc - 1 : (uint32_t)cmd->last;
	keys = (last - (uint32_t)cmd->first) / (uint32_t)cmd->step + 1;
	out = call_out(k);
	reply_array(out, keys);
	for (i = 0; i < keys; i++) {
		const struct op_arg *a =
		    &k->argv[2 + cmd->first + (int)i * cmd->step];

		reply_bulk(out, a->data, a->len);
	}
	return VERDICT_DONE;
}

static enum verdict
command_list(struct call *k)
{
	struct sink *out = call_out(k);
	uint32_t i;

	reply_array(out, gw_command_count());
	for (i = 0; i < gw_command_count(); i++)
		reply_str(out, gw_command_at(i)->name);
	return VERDICT_DONE;
}

static enum verdict
command_count(struct call *k)
{
	reply_int(call_out(k), gw_command_count());
	return VERDICT_DONE;
}

static enum verdict
help_reply(struct call *k, const char *text)
{
	struct sink *out = call_out(k);

	reply_array(out, 1);
	reply_status(out, text);
	return VERDICT_DONE;
}

static enum verdict
command_help(struct call *k)
{
	return help_reply(k, "COMMAND [COUNT | DOCS [<name> ...] | GETKEYS "
			     "<command> | INFO [<name> ...] | LIST]");
}

const struct subcommand gw_command_subs[] = { { "count", 2, command_count },
	{ "docs", -2, command_docs }, { "getkeys", -3, command_getkeys },
	{ "help", 2, command_help }, { "info", -2, command_info },
	{ "list", 2, command_list }, { NULL, 0, NULL } };

enum verdict
gw_run_command(struct call *k)
{
	return k->argc == 1 ? command_info(k) : gw_run_sub(k);
}

/* ---- CONFIG ---- */

#define CONFIG_VALUE_MAX 512

/* What clients and their tools ask for, in Redis' words. */
static const struct {
	const char *name;
	const char *value; /* NULL: config_value() knows */
} settings[] = {
	{ "activerehashing", "no" },
	{ "appendfsync", NULL },
	{ "appendonly", "yes" },
	{ "bind", NULL },
	{ "client-query-buffer-limit", NULL },
	{ "cluster-enabled", "no" },
	{ "databases", "1" },
	{ "dir", NULL },
	{ "hz", "10" },
	{ "io-threads", "1" },
	{ "lazyfree-lazy-user-del", "no" },
	{ "loglevel", NULL },
	{ "maxclients", NULL },
	{ "maxmemory", "0" },
	{ "maxmemory-policy", "noeviction" },
	{ "maxmemory-samples", "5" },
	{ "min-replicas-to-write", "0" },
	{ "notify-keyspace-events", "" },
	{ "port", NULL },
	{ "proto-max-bulk-len", NULL },
	{ "replica-read-only", "yes" },
	{ "requirepass", "" },
	{ "save", "" },
	{ "slowlog-log-slower-than", "-1" },
	{ "slowlog-max-len", "0" },
	{ "tcp-backlog", "4096" },
	{ "tcp-keepalive", "300" },
	{ "timeout", NULL },
	{ "unixsocket", NULL },
};

static const char *
log_word(const struct gateway *g)
{
	static const char *const words[] = { "debug", "notice", "warning",
		"warning" };
	uint32_t level = atomic_load_explicit(
	    &g->r->control->log_level, memory_order_relaxed);

	return words[level < NITEMS(words) ? level : 1];
}

static void
config_value(const struct gateway *g, const char *name, char *text, size_t n)
{
	const struct conf *conf = g->w->conf;
	char host[CONF_ADDR_SIZE] = "";
	uint16_t port = 0;

	text[0] = '\0';
	if (strcmp(name, "appendfsync") == 0)
		snprintf(text, n, "%s",
		    conf->wal.sync == CONF_SYNC_SYNC ? "always" : "everysec");
	else if (strcmp(name, "client-query-buffer-limit") == 0)
		snprintf(text, n, "%" PRIu64, conf->listen.max_query);
	else if (strcmp(name, "dir") == 0)
		snprintf(text, n, "%.500s", conf->node.data_dir);
	else if (strcmp(name, "loglevel") == 0)
		snprintf(text, n, "%s", log_word(g));
	else if (strcmp(name, "maxclients") == 0)
		snprintf(text, n, "%u", conf->listen.max_clients);
	else if (strcmp(name, "proto-max-bulk-len") == 0)
		snprintf(text, n, "%" PRIu64, conf->store.max_value);
	else if (strcmp(name, "timeout") == 0)
		snprintf(text, n, "%" PRIu64,
		    atomic_load_explicit(
			&g->r->control->idle_timeout_ms, memory_order_relaxed) /
			1000);
	else if (strcmp(name, "unixsocket") == 0)
		snprintf(text, n, "%s", conf->listen.client_unix);
	else if (conf_addr_split(conf->listen.client, host, sizeof(host), &port,
		     NULL) == 0) {
		if (name[0] == 'b')
			snprintf(text, n, "%s", host);
		else
			snprintf(text, n, "%u", port);
	}
}

static bool
config_wanted(const struct call *k, const char *name)
{
	uint32_t i;

	for (i = 2; i < k->argc; i++) {
		char pattern[64];
		uint32_t j, n = k->argv[i].len;

		if (n >= sizeof(pattern))
			continue;
		for (j = 0; j < n; j++) {
			pattern[j] = (char)k->argv[i].data[j];
			if (pattern[j] >= 'A' && pattern[j] <= 'Z')
				pattern[j] = (char)(pattern[j] + 'a' - 'A');
		}
		if (glob_match((const uint8_t *)pattern, n,
			(const uint8_t *)name, strlen(name)))
			return true;
	}
	return false;
}

static enum verdict
config_get(struct call *k)
{
	char value[CONFIG_VALUE_MAX];
	struct sink *out = call_out(k);
	unsigned i, found = 0;

	for (i = 0; i < NITEMS(settings); i++)
		found += config_wanted(k, settings[i].name);
	reply_map(out, k->c->proto, found);
	for (i = 0; i < NITEMS(settings); i++) {
		if (!config_wanted(k, settings[i].name))
			continue;
		reply_str(out, settings[i].name);
		if (settings[i].value != NULL) {
			reply_str(out, settings[i].value);
			continue;
		}
		config_value(k->g, settings[i].name, value, sizeof(value));
		reply_str(out, value);
	}
	return VERDICT_DONE;
}

static enum verdict
config_fixed(struct call *k)
{
	return call_error_done(k,
	    "ERR settings are changed in the "
	    "configuration file, then nodelifectl reload");
}

static enum verdict
config_help(struct call *k)
{
	return help_reply(k, "CONFIG GET <pattern> ...");
}

const struct subcommand gw_config_subs[] = { { "get", -3, config_get },
	{ "help", 2, config_help }, { "resetstat", 2, config_fixed },
	{ "rewrite", 2, config_fixed }, { "set", -4, config_fixed },
	{ NULL, 0, NULL } };

/* ---- INFO, TIME, SHUTDOWN ---- */

enum verdict
gw_run_info(struct call *k)
{
	struct sink text = { .pool = &k->g->io.pool };
	char section[32];
	unsigned wanted = k->argc == 1 ? gw_info_sections("default") : 0;
	uint32_t i, n;

	for (i = 1; i < k->argc; i++) {
		n = k->argv[i].len;
		if (n >= sizeof(section))
			continue;
		memcpy(section, k->argv[i].data, n);
		section[n] = '\0';
		wanted |= gw_info_sections(section);
	}
	gw_info(k->g, wanted, &text);
	reply_text(call_out(k), k->c->proto,
	    text.c != NULL ? (const char *)text.c->data : "", sink_len(&text));
	sink_reset(&text);
	return VERDICT_DONE;
}

enum verdict
gw_run_time(struct call *k)
{
	uint64_t ns = clock_ns(CLOCK_REALTIME);
	struct sink *out = call_out(k);

	reply_array(out, 2);
	reply_bulk_int(out, (int64_t)(ns / NS_PER_S));
	reply_bulk_int(out, (int64_t)(ns % NS_PER_S / 1000));
	return VERDICT_DONE;
}

enum verdict
gw_run_shutdown(struct call *k)
{
	static const char *const words[] = { "nosave", "save", "now", "force" };
	uint32_t i;
	unsigned j;

	if (k->argc == 2 && arg_is(&k->argv[1], "abort"))
		return call_error_done(k, "ERR No shutdown in progress.");
	for (i = 1; i < k->argc; i++) {
		for (j = 0; j < NITEMS(words); j++)
			if (arg_is(&k->argv[i], words[j]))
				break;
		if (j == NITEMS(words))
			return call_syntax(k);
	}
	/* Not answered: the client sees the connection close. */
	atomic_store_explicit(
	    &k->g->r->control->stop_wanted, 1, memory_order_release);
	bell_ring(&k->g->w->bells, SLOT_SUPERVISOR);
	return VERDICT_DONE;
}

/* ---- NODELIFE ---- */

static void
status_int(struct sink *out, const char *name, uint64_t v)
{
	reply_str(out, name);
	reply_int(out, (int64_t)v);
}

static enum verdict
nodelife_status(struct call *k)
{
	struct region *r = k->g->r;
	const struct positions *pos = r->pos;
	struct sink *out = call_out(k);
	struct commit_view view;
	unsigned phase =
	    atomic_load_explicit(&r->seq->phase, memory_order_acquire);

	commit_view_read(r->commit, &view);
	reply_map(out, k->c->proto, 16);
	reply_str(out, "node");
	reply_str(out, r->head->node);
	reply_str(out, "group");
	reply_str(out, r->head->group);
	reply_str(out, "role");
	reply_str(out, role_name(view.role));
	status_int(out, "term", view.term);
	status_int(out, "generation", position_get(&pos->generation));
	reply_str(out, "phase");
	reply_str(out, phase_name(phase));
	status_int(out, "readonly", view.readonly != 0 || k->g->w->readonly);
	status_int(out, "members", view.member_count);
	status_int(out, "appended", position_get(&pos->appended));
	status_int(out, "durable", position_get(&pos->durable));
	status_int(out, "committed", commit_vlsn(r));
	status_int(out, "applied", position_get(&pos->applied));
	status_int(out, "checkpointed", position_get(&pos->checkpointed));
	status_int(out, "indexed", position_get(&pos->indexed));
	status_int(out, "first", position_get(&pos->first));
	status_int(out, "nospace", trouble_stands(r, TROUBLE_LOG_FULL));
	return VERDICT_DONE;
}

static enum verdict
nodelife_help(struct call *k)
{
	static const char *const lines[] = {
		"NODELIFE STATUS: node, role, term, phase and positions "
		"(VLSNs)",
		"NODELIFE CONSISTENCY [eventual | linearizable]: how current "
		"this connection's reads are",
		"NODELIFE TOKEN: the name of this connection's last write",
		"NODELIFE OUTCOME <token>: committed, lost or unknown",
	};
	struct sink *out = call_out(k);
	unsigned i;

	reply_array(out, NITEMS(lines));
	for (i = 0; i < NITEMS(lines); i++)
		reply_status(out, lines[i]);
	return VERDICT_DONE;
}

const struct subcommand gw_nodelife_subs[] = {
	{ "consistency", -2, gw_run_consistency }, { "help", 2, nodelife_help },
	{ "outcome", 3, gw_run_outcome }, { "status", 2, nodelife_status },
	{ "token", 2, gw_run_token }, { NULL, 0, NULL }
};
