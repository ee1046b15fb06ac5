/*
 * Reading the configuration again: what may change while the node runs is
 * taken over, what may not is named. A file that is refused changes nothing.
 */
#include "supervisor/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shm/say.h"

void
node_control_set(struct node *n)
{
	struct control *c = n->region.control;

	atomic_store_explicit(
	    &c->log_level, n->conf.node.log_level, memory_order_relaxed);
	atomic_store_explicit(&c->checkpoint_wal, n->conf.store.checkpoint_wal,
	    memory_order_relaxed);
	atomic_store_explicit(&c->idle_timeout_ms,
	    n->conf.listen.idle_timeout_ms, memory_order_relaxed);
	atomic_store_explicit(
	    &c->sync_level, n->conf.wal.sync, memory_order_release);
}

__attribute__((format(printf, 2, 3))) static void
append(char text[1024], const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + used, 1024 - used, fmt, ap);
	va_end(ap);
}

enum fate { FATE_LIVE, FATE_RESTART, FATE_NEVER };

static enum fate
fate_of(const struct conf_key *key)
{
	if (conf_key_fixed(key))
		return FATE_NEVER;
	return conf_key_live(key) ? FATE_LIVE : FATE_RESTART;
}

/* "[wal] sync, [node] log_level" of one kind; how many. */
static unsigned
name_changes(const struct conf_change *list, uint32_t count, enum fate fate,
    char text[1024])
{
	unsigned named = 0;

	for (uint32_t i = 0; i < count; i++)
		if (fate_of(list[i].key) == fate)
			append(text, "%s[%s] %s", named++ > 0 ? ", " : "",
			    conf_key_section(list[i].key),
			    conf_key_name(list[i].key));
	return named;
}

static void
describe(const struct conf_change *list, uint32_t count, char text[1024])
{
	char restart[1024] = "", never[1024] = "";

	text[0] = '\0';
	append(text, "changed: ");
	if (name_changes(list, count, FATE_LIVE, text) == 0)
		append(text, "nothing");
	if (name_changes(list, count, FATE_RESTART, restart) > 0)
		append(text, "; needs a restart: %s", restart);
	if (name_changes(list, count, FATE_NEVER, never) > 0)
		append(text,
		    "; fixed when the node was founded, set it back: %s",
		    never);
}

/* 0 or 1 (refused), as control->reload_status. */
static uint32_t
reload(struct node *n, char text[1024])
{
	struct conf_change list[CONF_KEYS_MAX];
	struct conf_errors errs = { 0 };
	struct conf fresh;
	struct conf_fit fit;
	uint32_t count;

	if (conf_load(&fresh, n->conf_path, &errs) != 0) {
		uint32_t more = errs.count + errs.dropped;

		snprintf(text, 1024, "refused: %s",
		    errs.count > 0 ? errs.text[0] : "no memory");
		if (more > 1)
			append(text, ", and %" PRIu32 " more", more - 1);
		append(text,
		    ": correct the file (nodelifed -n -c %s shows all) and "
		    "reload again",
		    n->conf_path);
		for (uint32_t i = 0; i < errs.count; i++)
			say_errorx("reload: %s", errs.text[i]);
		conf_errors_free(&errs);
		return 1;
	}
	/* What the file does not set was fitted, and would be again. */
	conf_fit(&fresh, &n->limits, &fit);
	count = conf_diff(&n->conf, &fresh, list);
	describe(list, count, text);
	conf_apply_live(&n->conf, &fresh);
	conf_apply_live(&n->conf_set, &fresh);
	conf_free(&fresh);
	node_control_set(n);
	return 0;
}

void
node_reload(struct node *n)
{
	struct control *c = n->region.control;
	uint32_t wanted =
	    atomic_load_explicit(&c->reload_wanted, memory_order_acquire);
	/* READY of a boot is serving()'s to say, and after STOPPING none is. */
	bool tell = n->ever_served && n->mode != NODE_STOPPING;
	char text[1024];
	uint32_t status;

	/* We first: workers may not be allowed to make the file. */
	say_reopen();
	atomic_fetch_add_explicit(&c->log_reopens, 1, memory_order_release);
	if (tell)
		notify(
		    "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, mono_ns() / 1000);
	status = reload(n, text);
	event_add(&n->region, SLOT_SUPERVISOR,
	    status == 0 ? EVENT_INFO : EVENT_WARN, "reload: %s", text);
	strlcpy(c->reload_text, text, sizeof(c->reload_text));
	atomic_store_explicit(&c->reload_status, status, memory_order_relaxed);
	/* Release: who sees the number sees the text and the status. */
	atomic_store_explicit(&c->reload_done, wanted, memory_order_release);
	bell_ring_all(&n->bells);
	if (tell)
		notify("READY=1");
}
