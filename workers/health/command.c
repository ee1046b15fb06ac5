/*
 * What the control socket understands. Each command changes at most one word
 * of `control` and rings who reads it; those that wait for an answer ask for
 * it from control_turn().
 */
#include "workers/health/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/say.h"

typedef void command_handler(struct health *h, struct conn *c, char *arg);

static command_handler command_stop;
static command_handler command_reload;
static command_handler command_config;
static command_handler command_checkpoint;
static command_handler command_found;
static command_handler command_loglevel;
static command_handler command_help;

static const struct command {
	const char *name;
	command_handler *handler;
	bool has_arg, waits;
	const char *help;
} commands[] = {
	{ "stop", command_stop, false, false, "stop the node in order" },
	{ "drain", command_stop, false, false, "the same" },
	{ "reload", command_reload, false, true,
	    "read the configuration again" },
	{ "config", command_config, false, false,
	    "show the effective configuration" },
	{ "checkpoint", command_checkpoint, false, true,
	    "make a checkpoint now" },
	{ "found", command_found, true, true,
	    "found the group of this node and its [peer]s" },
	{ "loglevel", command_loglevel, true, false,
	    "show or set the log level" },
	{ "help", command_help, false, false, "this list" },
};

void
health_stop_node(struct health *h)
{
	atomic_store_explicit(
	    &h->r->control->stop_wanted, 1, memory_order_release);
	bell_ring(&h->w->bells, SLOT_SUPERVISOR);
}

static void
command_stop(struct health *h, struct conn *c, char *arg)
{
	(void)arg;
	health_stop_node(h);
	text_add(&c->reply, "ok\nstopping\n");
}

/* Counters wrap; done is never ahead of wanted. */
static bool
reached(const _Atomic uint32_t *word, uint32_t wanted)
{
	uint32_t now = atomic_load_explicit(word, memory_order_acquire);

	return (int32_t)(now - wanted) >= 0;
}

static bool
reload_done(struct conn *c, struct health *h, uint64_t now_ns)
{
	struct control *ctl = h->r->control;

	(void)now_ns;
	if (!reached(&ctl->reload_done, c->wanted))
		return false;
	if (atomic_load_explicit(&ctl->reload_status, memory_order_relaxed) !=
	    0)
		text_add(&c->reply, "error the configuration is refused, the "
				    "one before stays in force\n");
	else
		text_add(&c->reply, "ok\n");
	text_add(&c->reply, "%.*s\n", (int)sizeof(ctl->reload_text) - 1,
	    ctl->reload_text);
	return true;
}

static void
command_reload(struct health *h, struct conn *c, char *arg)
{
	(void)arg;
	c->wanted = atomic_fetch_add_explicit(&h->r->control->reload_wanted, 1,
			memory_order_acq_rel) +
		    1;
	c->done = reload_done;
	bell_ring(&h->w->bells, SLOT_SUPERVISOR);
}

/* What a reload has changed since this process got its copy. */
static void
config_live(struct conf *conf, const struct region *r)
{
	const struct control *ctl = r->control;

	conf->node.log_level = (enum conf_log_level)atomic_load_explicit(
	    &ctl->log_level, memory_order_acquire);
	conf->store.checkpoint_wal =
	    atomic_load_explicit(&ctl->checkpoint_wal, memory_order_acquire);
	conf->listen.idle_timeout_ms = (uint32_t)atomic_load_explicit(
	    &ctl->idle_timeout_ms, memory_order_acquire);
	conf->wal.sync = (enum conf_sync)atomic_load_explicit(
	    &ctl->sync_level, memory_order_acquire);
}

static const char *
config_origin(const struct conf *now, const struct conf *start,
    const struct conf_key *key)
{
	char a[CONF_VALUE_SIZE], b[CONF_VALUE_SIZE];

	conf_key_value(now, key, a, sizeof(a));
	conf_key_value(start, key, b, sizeof(b));
	if (strcmp(a, b) != 0)
		return "changed since the start";
	if (conf_key_is_set(now, key))
		return NULL;
	return strcmp(a, conf_key_default(key)) == 0 ? "default" : "derived";
}

static void
command_config(struct health *h, struct conn *c, char *arg)
{
	const char *section = "", *origin;
	struct conf conf = *h->w->conf;
	char value[CONF_VALUE_SIZE];
	uint32_t i;

	(void)arg;
	config_live(&conf, h->r);
	text_add(&c->reply, "ok\n");
	for (i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		if (strcmp(section, conf_key_section(key)) != 0) {
			section = conf_key_section(key);
			text_add(
			    &c->reply, "%s[%s]\n", i > 0 ? "\n" : "", section);
		}
		conf_key_value(&conf, key, value, sizeof(value));
		origin = config_origin(&conf, h->w->conf, key);
		text_add(&c->reply, "%s = %s%s%s\n", conf_key_name(key), value,
		    origin != NULL ? " ; " : "", origin != NULL ? origin : "");
	}
	conf_free(&conf);
}

/* An attempt since it was asked for: waiting on may take for ever. */
static bool
checkpoint_failed(struct conn *c, struct health *h)
{
	struct trouble_info t;

	if (counter_sum(h->r->counters, C_CHECKPOINTS_FAILED) == c->failures ||
	    !trouble_read(h->r, TROUBLE_CHECKPOINT_FAILED, &t))
		return false;
	text_add(&c->reply, "error %s\n", t.text);
	return true;
}

static bool
checkpoint_done(struct conn *c, struct health *h, uint64_t now_ns)
{
	struct region *r = h->r;

	if (!reached(&r->control->checkpoint_done, c->wanted))
		return checkpoint_failed(c, h);
	text_add(&c->reply, "ok\ncheckpoint at VLSN %" PRIu64 ", %.3f s\n",
	    position_get(&r->pos->checkpointed),
	    (double)(now_ns - c->began_ns) / (double)NS_PER_S);
	return true;
}

/*
 * What was answered before the request is to be in it: applied first. What
 * went with a log that failed never will be.
 */
static bool
checkpoint_applied(struct conn *c, struct health *h, uint64_t now_ns)
{
	uint64_t failed = atomic_load_explicit(
	    &h->r->control->wal_failed, memory_order_acquire);

	(void)now_ns;
	if (failed != 0 && c->vlsn >= failed)
		c->vlsn = failed - 1;
	if (position_get(&h->r->pos->applied) < c->vlsn)
		return checkpoint_failed(c, h);
	c->wanted = atomic_fetch_add_explicit(&h->r->control->checkpoint_wanted,
			1, memory_order_acq_rel) +
		    1;
	c->done = checkpoint_done;
	bell_ring(&h->w->bells, SLOT_STORE);
	bell_ring(&h->w->bells, SLOT_CHECKPOINT);
	return false;
}

static void
command_checkpoint(struct health *h, struct conn *c, char *arg)
{
	(void)arg;
	if (!seq_reached(h->r->seq, PHASE_GATEWAY_ENABLE)) {
		text_add(&c->reply, "error the node is not up yet: wait for "
				    "it (nodelifestat -w gateway_enable)\n");
		return;
	}
	if (h->r->seq->recovery_mode == RECOVERY_READONLY) {
		text_add(&c->reply, "error the node is read-only: it changes "
				    "nothing on disk\n");
		return;
	}
	c->failures = counter_sum(h->r->counters, C_CHECKPOINTS_FAILED);
	c->vlsn = position_get(&h->r->pos->appended);
	position_raise(&h->r->pos->apply_wanted, c->vlsn);
	bell_ring(&h->w->bells, SLOT_STORE);
	c->done = checkpoint_applied;
	(void)c->done(c, h, h->loop.now_ns);
}

static bool
found_done(struct conn *c, struct health *h, uint64_t now_ns)
{
	struct control *ctl = h->r->control;

	(void)now_ns;
	if (!reached(&ctl->found_done, c->wanted))
		return false;
	text_add(&c->reply, "%s%.*s",
	    atomic_load_explicit(&ctl->found_status, memory_order_relaxed) == 0
		? "ok\n"
		: "error ",
	    (int)sizeof(ctl->found_text) - 1, ctl->found_text);
	return true;
}

/* Only who is of no group hears it; a boot is none, or not yet. */
static void
command_found(struct health *h, struct conn *c, char *arg)
{
	struct control *ctl = h->r->control;
	bool give_up = strcmp(arg, "--abandon") == 0;

	if (arg[0] != '\0' && !give_up) {
		text_add(&c->reply,
		    "error found: %s: the only argument is "
		    "--abandon\n",
		    arg);
		return;
	}
	if (!trouble_stands(h->r, TROUBLE_UNJOINED)) {
		text_add(&c->reply, "error this node %s\n",
		    seq_reached(h->r->seq, PHASE_WAL_RECOVERY)
			? "is of a group already: nodelifectl members shows it"
			: "boots: try again, or see what it waits for "
			  "(nodelifectl status)");
		return;
	}
	atomic_store_explicit(&ctl->found_what,
	    give_up ? FOUND_GIVE_UP : FOUND_BEGIN, memory_order_relaxed);
	c->wanted = atomic_fetch_add_explicit(
			&ctl->found_wanted, 1, memory_order_acq_rel) +
		    1;
	c->done = found_done;
	bell_ring(&h->w->bells, SLOT_GROUP);
}

static void
command_loglevel(struct health *h, struct conn *c, char *arg)
{
	_Atomic uint32_t *word = &h->r->control->log_level;
	uint32_t old = atomic_load_explicit(word, memory_order_acquire);
	int level;

	if (arg[0] == '\0') {
		text_add(
		    &c->reply, "ok\n%s\n", say_level_name((enum say_level)old));
		return;
	}
	level = say_level_parse(arg);
	if (level < 0) {
		text_add(&c->reply,
		    "error %s: no log level: debug, info, warn or error\n",
		    arg);
		return;
	}
	atomic_store_explicit(word, (uint32_t)level, memory_order_release);
	event_add(h->r, h->w->slot, EVENT_INFO, "log level: %s -> %s",
	    say_level_name((enum say_level)old),
	    say_level_name((enum say_level)level));
	text_add(&c->reply, "ok\n%s -> %s\n",
	    say_level_name((enum say_level)old),
	    say_level_name((enum say_level)level));
}

static void
command_help(struct health *h, struct conn *c, char *arg)
{
	size_t i;

	(void)h;
	(void)arg;
	text_add(&c->reply, "ok\n");
	for (i = 0; i < NITEMS(commands); i++)
		text_add(&c->reply, "%-11s %s\n", commands[i].name,
		    commands[i].help);
}

static const struct command *
command_find(const char *name)
{
	size_t i;

	for (i = 0; i < NITEMS(commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

void
command_run(struct health *h, struct conn *c, bool may_wait)
{
	char *name = c->line, *arg = strchr(c->line, ' ');
	const struct command *cmd;

	if (arg != NULL)
		*arg++ = '\0';
	else
		arg = strchr(c->line, '\0');
	cmd = command_find(name);
	if (cmd == NULL)
		text_add(&c->reply, "error no such command: try help\n");
	else if (arg[0] != '\0' && !cmd->has_arg)
		text_add(&c->reply, "error %s takes no argument\n", name);
	else if (cmd->waits && !may_wait)
		text_add(&c->reply,
		    "error %u others wait for a reload or a "
		    "checkpoint: ask again when they are done\n",
		    CONTROL_WAITING);
	else
		cmd->handler(h, c, arg);
}
