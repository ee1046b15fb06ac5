/*
 * What no single row can say: required keys, values that must fit each other,
 * and the budgets that startup_probe stands for.
 */
#include "conf/conf_schema.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#define PROBE_FLOOR_MS 1000 /* least budget derived from startup_probe */

#define BEATS_MIN 4 /* heartbeats that may be missed, and one more */

#define LINE(c, field) conf_line_of((c), offsetof(struct conf, field))

struct check {
	struct conf *conf;
	const struct conf_where *where;
	struct conf_errors *errs;
};

/* Of two keys that do not fit, the later line is where to look. */
static uint32_t
later(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void
check_required(const struct check *c)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);
		uint32_t line;

		if (strcmp(conf_key_at(first)->section, key->section) != 0)
			first = i;
		if (key->def != NULL || c->conf->line[i] != 0)
			continue;
		line = c->where->section_line[first];
		if (line == 0)
			line = later(c->where->last_line, 1);
		conf_errors_add(c->errs, c->where->name, line,
		    "[%s] needs '%s': it has no default", key->section,
		    key->name);
	}
}

/* One port of the machine for both ends of a connection? */
static bool
is_own_address(const struct conf *conf, const char *address)
{
	return strcasecmp(conf->listen.peer, address) == 0;
}

static void
check_peer(const struct check *c, uint32_t i)
{
	const struct conf *conf = c->conf;
	const struct conf_peer *p = &conf->peer[i];
	uint32_t line = conf->peer_address_line[i];
	char host[CONF_ADDR_SIZE];
	uint16_t port = 0;

	if (strcmp(p->name, conf->node.name) == 0)
		conf_errors_add(c->errs, c->where->name, conf->peer_line[i],
		    "section [peer %s]: that is this node's own name; there is "
		    "a section for each of the others",
		    p->name);
	if (line == 0) {
		conf_errors_add(c->errs, c->where->name, conf->peer_line[i],
		    "[peer %s] needs 'address': it has no default", p->name);
		return;
	}
	if (conf_addr_split(p->address, host, sizeof(host), &port, NULL) != 0)
		return; /* told */
	if (port == 0)
		conf_errors_add(c->errs, c->where->name, line,
		    "address: '%.60s': port 0 reaches nobody", p->address);
	else if (conf_addr_is_any(p->address))
		conf_errors_add(c->errs, c->where->name, line,
		    "address: '%.60s' stands for every address of this "
		    "machine: name the other member's",
		    p->address);
	else if (is_own_address(conf, p->address))
		conf_errors_add(c->errs, c->where->name,
		    later(line, LINE(conf, listen.peer)),
		    "address: '%.60s' is this node's own, [listen] peer",
		    p->address);
	for (uint32_t k = 0; k < i; k++)
		if (strcasecmp(conf->peer[k].address, p->address) == 0)
			conf_errors_add(c->errs, c->where->name, line,
			    "address: '%.60s' is that of [peer %s], too (line "
			    "%" PRIu32 ")",
			    p->address, conf->peer[k].name,
			    conf->peer_address_line[k]);
}

/* Is there somebody beyond this machine that members' port is for? */
static bool
peers_are_beyond(const struct conf *conf, uint32_t *line)
{
	for (uint32_t i = 0; i < conf->peer_count; i++)
		if (conf->peer[i].address[0] != '\0' &&
		    !conf_addr_is_local(conf->peer[i].address)) {
			*line = conf->peer_address_line[i];
			return true;
		}
	*line = LINE(conf, listen.peer);
	return conf->peer_count > 0 && conf->listen.peer[0] != '\0' &&
	       !conf_addr_is_local(conf->listen.peer);
}

static void
check_peers(const struct check *c)
{
	const struct conf *conf = c->conf;
	uint32_t line;

	for (uint32_t i = 0; i < conf->peer_count; i++)
		check_peer(c, i);
	if (conf->security.insecure == CONF_NO &&
	    conf->security.group_key_file[0] == '\0' &&
	    peers_are_beyond(conf, &line))
		conf_errors_add(c->errs, c->where->name, line,
		    "members on other hosts need a key: set [security] "
		    "group_key_file, the same on all, or insecure = yes, which "
		    "takes whoever reaches the port for a member");
	if (conf->peer_count == 0)
		return;
	if (conf->listen.peer[0] == '\0')
		conf_errors_add(c->errs, c->where->name,
		    LINE(conf, listen.peer),
		    "peer is none: with [peer] sections set the address where "
		    "the other members reach this node");
	if (conf->listen.announce[0] == '\0' &&
	    conf_addr_is_any(conf->listen.client))
		conf_errors_add(c->errs, c->where->name,
		    LINE(conf, listen.client),
		    "client (%s) stands for every address of this machine: "
		    "with [peer] sections set announce, where clients of other "
		    "members are sent to",
		    conf->listen.client);
}

static void
check_type(const struct check *c)
{
	if (c->conf->node.type == CONF_TYPE_ELECTABLE)
		return;
	conf_errors_add(c->errs, c->where->name, LINE(c->conf, node.type),
	    "type: this version founds groups of electable members; other "
	    "types come with a later version");
}

/* Sizes `a` must not be below `factor` times `b`. */
static void
check_size(const struct check *c, size_t a_offset, const char *a_name,
    uint64_t a, uint64_t factor, size_t b_offset, const char *b_name,
    uint64_t b)
{
	static const char *const times[] = { "", "", "twice ", "three times " };
	char a_text[24], need_text[24];

	if (a >= factor * b)
		return;
	conf_size_format(a, a_text, sizeof(a_text));
	conf_size_format(factor * b, need_text, sizeof(need_text));
	conf_errors_add(c->errs, c->where->name,
	    later(conf_line_of(c->conf, a_offset),
		conf_line_of(c->conf, b_offset)),
	    "%s (%s) must be at least %s%s (%s)", a_name, a_text, times[factor],
	    b_name, need_text);
}

#define CHECK_SIZE(c, sec_a, a, factor, sec_b, b)                              \
	check_size((c), offsetof(struct conf, sec_a.a), #a,                    \
	    (c)->conf->sec_a.a, (factor), offsetof(struct conf, sec_b.b), #b,  \
	    (c)->conf->sec_b.b)

/* A limit that nobody set follows those it has to hold. */
static void
derive_sizes(struct conf *conf)
{
	uint64_t buffers = conf->listen.max_query + conf->listen.max_output;
	uint64_t record = 2 * conf->store.max_value;

	if (LINE(conf, listen.client_memory) == 0 &&
	    conf->listen.client_memory < buffers)
		conf->listen.client_memory = buffers;
	if (LINE(conf, store.max_record) == 0 &&
	    conf->store.max_record < record)
		conf->store.max_record = (record + 0xffff) & ~UINT64_C(0xffff);
}

static void
check_sizes(const struct check *c)
{
	/* A value must fit a third of a table, a request and a reply. */
	CHECK_SIZE(c, store, table_size, 3, store, max_value);
	CHECK_SIZE(c, listen, max_query, 1, store, max_value);
	CHECK_SIZE(c, listen, max_output, 1, store, max_value);
	CHECK_SIZE(c, listen, client_memory, 1, listen, max_query);
	CHECK_SIZE(c, listen, client_memory, 1, listen, max_output);
	/* RENAME writes the value anew beside the key that goes. */
	CHECK_SIZE(c, store, max_record, 2, store, max_value);
	/* A checkpoint has to take a full table. */
	if (c->conf->store.map_size != 0)
		CHECK_SIZE(c, store, map_size, 1, store, table_size);
}

static void
check_durations(const struct check *c)
{
	const struct conf *conf = c->conf;
	char a[24], b[24];

	if (conf->election.lease_ms < BEATS_MIN * conf->election.heartbeat_ms) {
		conf_duration_format(conf->election.lease_ms, a, sizeof(a));
		conf_duration_format(
		    BEATS_MIN * conf->election.heartbeat_ms, b, sizeof(b));
		conf_errors_add(c->errs, c->where->name,
		    later(LINE(conf, election.lease_ms),
			LINE(conf, election.heartbeat_ms)),
		    "lease (%s) must be at least %d times heartbeat (%s)", a,
		    BEATS_MIN, b);
	}
	if (conf->restart.backoff_min_ms > conf->restart.backoff_max_ms) {
		conf_duration_format(
		    conf->restart.backoff_min_ms, a, sizeof(a));
		conf_duration_format(
		    conf->restart.backoff_max_ms, b, sizeof(b));
		conf_errors_add(c->errs, c->where->name,
		    later(LINE(conf, restart.backoff_min_ms),
			LINE(conf, restart.backoff_max_ms)),
		    "backoff_min (%s) must not be above backoff_max (%s)", a,
		    b);
	}
}

/* The next step of a path and its length; 0 = there is none. */
static size_t
path_step(const char **path)
{
	size_t len;

	for (;;) {
		*path += strspn(*path, "/");
		len = strcspn(*path, "/");
		if (len != 1 || **path != '.')
			return len;
		*path += len;
	}
}

/* Do two absolute paths say the same? Of links only a start knows. */
static bool
paths_same(const char *a, const char *b)
{
	size_t len;

	do {
		len = path_step(&a);
		if (path_step(&b) != len || memcmp(a, b, len) != 0)
			return false;
		a += len;
		b += len;
	} while (len > 0);
	return true;
}

static void
check_dirs(const struct check *c)
{
	const struct conf *conf = c->conf;

	if (conf->node.data_dir[0] != '\0' &&
	    paths_same(conf->node.data_dir, conf->node.run_dir))
		conf_errors_add(c->errs, c->where->name,
		    later(LINE(conf, node.data_dir), LINE(conf, node.run_dir)),
		    "data_dir and run_dir must be two directories");
}

struct listener {
	const char *name;
	const char *addr;
	uint32_t line;
};

static bool
host_is_same(const char *a, const char *b)
{
	struct in6_addr v6_a, v6_b;

	if (inet_pton(AF_INET6, a, &v6_a) == 1 &&
	    inet_pton(AF_INET6, b, &v6_b) == 1)
		return memcmp(&v6_a, &v6_b, sizeof(v6_a)) == 0;
	return strcasecmp(a, b) == 0;
}

/* A host on all addresses takes the port from every other; names are compared
 * as text, what they resolve to is found out by bind(). */
static bool
listeners_clash(const struct listener *a, const struct listener *b)
{
	char a_host[CONF_ADDR_SIZE], b_host[CONF_ADDR_SIZE];
	uint16_t a_port = 0, b_port = 0;

	if (conf_addr_split(a->addr, a_host, sizeof(a_host), &a_port, NULL) ||
	    conf_addr_split(b->addr, b_host, sizeof(b_host), &b_port, NULL))
		return false; /* "" is none */
	if (a_port != b_port || a_port == 0)
		return false;
	return conf_addr_is_any(a->addr) || conf_addr_is_any(b->addr) ||
	       host_is_same(a_host, b_host);
}

static void
check_listeners(const struct check *c)
{
	const struct conf *conf = c->conf;
	const struct listener list[] = {
		{ "client", conf->listen.client, LINE(conf, listen.client) },
		{ "peer", conf->listen.peer, LINE(conf, listen.peer) },
		{ "http", conf->listen.http, LINE(conf, listen.http) },
	};
	const size_t count = sizeof(list) / sizeof(list[0]);

	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count; j++)
			if (listeners_clash(&list[i], &list[j]))
				conf_errors_add(c->errs, c->where->name,
				    later(list[i].line, list[j].line),
				    "%s and %s both listen on %s", list[i].name,
				    list[j].name, list[j].addr);
}

static uint32_t
probe_share(uint32_t probe_ms, uint32_t part, uint32_t whole)
{
	uint64_t share = (uint64_t)probe_ms * part / whole;

	return share > PROBE_FLOOR_MS ? (uint32_t)share : PROBE_FLOOR_MS;
}

/* startup_probe stands for all five budgets; one set beside it is a conflict
 * that only the operator can settle. */
static void
derive_budgets(const struct check *c)
{
	struct conf *conf = c->conf;
	uint32_t probe = conf->boot.startup_probe_ms;

	if (probe == 0)
		return;
	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		if (conf_key_derived(conf, key) && conf->line[i] != 0)
			conf_errors_add(c->errs, c->where->name, conf->line[i],
			    "%s: startup_probe (line %" PRIu32
			    ") sets it already; keep one of the two",
			    key->name, LINE(conf, boot.startup_probe_ms));
	}
	conf->boot.init_budget_ms = probe_share(probe, 1, 20);
	conf->boot.migrate_budget_ms = probe_share(probe, 1, 5);
	conf->boot.recover_budget_ms = probe_share(probe, 3, 5);
	conf->boot.warmup_budget_ms = probe_share(probe, 1, 10);
	conf->boot.total_budget_ms = probe_share(probe, 1, 1);
}

void
conf_check(
    struct conf *conf, const struct conf_where *where, struct conf_errors *errs)
{
	const struct check c = { conf, where, errs };

	check_required(&c);
	conf->peer_asked = LINE(conf, listen.peer) != 0;
	check_type(&c);
	check_peers(&c);
	check_dirs(&c);
	check_listeners(&c);
	derive_sizes(conf);
	check_sizes(&c);
	check_durations(&c);
	derive_budgets(&c);
}
