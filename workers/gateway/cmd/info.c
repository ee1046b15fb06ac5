/*
 * INFO: Redis' sections and field names where there is such a thing here, and
 * one section of our own. Numbers are the node's, summed over its gateways;
 * what only one process can say (memory, CPU, blocked_clients) is this
 * gateway's, which "gateway" names.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "shm/assert.h"
#include "shm/kv/table.h"
#include "workers/gateway/cmd/command.h"

void
gw_info_line(struct sink *out, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n <= 0)
		return;
	if ((size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	sink_put(out, text, (size_t)n);
	sink_put(out, "\r\n", 2);
}

static uint64_t
sum(const struct gateway *g, enum counter which)
{
	return counter_sum(g->r->counters, which);
}

static void
info_server(struct gateway *g, struct sink *out)
{
	uint64_t up = (mono_ns() - g->r->head->started_ns) / NS_PER_S;
	struct utsname un;
	char host[CONF_ADDR_SIZE];
	uint16_t port = 0;

	if (uname(&un) != 0)
		memset(&un, 0, sizeof(un));
	(void)conf_addr_split(
	    g->w->conf->listen.client, host, sizeof(host), &port, NULL);
	gw_info_line(out, "redis_version:7.0.15");
	gw_info_line(out, "nodelife_version:%s", NODELIFE_VERSION);
	gw_info_line(out, "redis_mode:standalone");
	gw_info_line(out, "os:%s %s %s", un.sysname, un.release, un.machine);
	gw_info_line(out, "arch_bits:%zu", sizeof(void *) * 8);
	gw_info_line(out, "multiplexing_api:io_uring");
	gw_info_line(out, "process_id:%d", (int)g->r->head->supervisor_pid);
	gw_info_line(out, "run_id:%016" PRIx64 "%016" PRIx64,
	    g->r->head->boot_id[0], g->r->head->boot_id[1]);
	gw_info_line(out, "tcp_port:%u", port);
	gw_info_line(
	    out, "server_time_usec:%" PRIu64, clock_ns(CLOCK_REALTIME) / 1000);
	gw_info_line(out, "uptime_in_seconds:%" PRIu64, up);
	gw_info_line(out, "uptime_in_days:%" PRIu64, up / 86400);
}

static void
info_clients(struct gateway *g, struct sink *out)
{
	uint64_t accepted = sum(g, C_CLIENTS_ACCEPTED);
	uint64_t closed = sum(g, C_CLIENTS_CLOSED);

	/* Two sums at two moments. */
	gw_info_line(out, "connected_clients:%" PRIu64,
	    accepted > closed ? accepted - closed : 0);
	gw_info_line(out, "maxclients:%u", g->w->conf->listen.max_clients);
	gw_info_line(out, "blocked_clients:%u", g->blocked_count);
	gw_info_line(out, "gateway:%u", g->slot - SLOT_GATEWAY);
	gw_info_line(out, "gateway_clients:%u", g->io.conn_count);
}

/* Resident and private bytes of this process, from the kernel. */
static void
info_memory(struct gateway *g, struct sink *out)
{
	unsigned long size = 0, resident = 0, shared = 0;
	unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE);
	FILE *f = fopen("/proc/self/statm", "re");

	(void)g;
	if (f != NULL) {
		if (fscanf(f, "%lu %lu %lu", &size, &resident, &shared) != 3)
			resident = shared = 0;
		fclose(f);
	}
	gw_info_line(out, "used_memory:%lu", (resident - shared) * page);
	gw_info_line(out, "used_memory_rss:%lu", resident * page);
	gw_info_line(out, "mem_clients_normal:%zu", g->io.pool.used);
	gw_info_line(
	    out, "client_memory:%" PRIu64, g->w->conf->listen.client_memory);
	gw_info_line(out, "maxmemory:0");
	gw_info_line(out, "maxmemory_policy:noeviction");
	gw_info_line(out, "mem_allocator:libc");
}

static void
info_persistence(struct gateway *g, struct sink *out)
{
	const struct positions *pos = g->r->pos;

	gw_info_line(out, "loading:0");
	gw_info_line(out, "aof_enabled:1");
	gw_info_line(out, "aof_last_write_status:%s",
	    sum(g, C_WAL_ERRORS) == 0 ? "ok" : "err");
	gw_info_line(
	    out, "rdb_bgsave_in_progress:%d", position_get(&pos->frozen) != 0);
	gw_info_line(out, "wal_bytes:%" PRIu64, position_get(&pos->wal_bytes));
	gw_info_line(out, "wal_flushes:%" PRIu64, sum(g, C_WAL_FLUSHES));
	gw_info_line(out, "checkpoints:%" PRIu64, sum(g, C_CHECKPOINTS));
	gw_info_line(
	    out, "no_space:%d", trouble_stands(g->r, TROUBLE_LOG_FULL));
}

static void
info_stats(struct gateway *g, struct sink *out)
{
	gw_info_line(out, "total_connections_received:%" PRIu64,
	    sum(g, C_CLIENTS_ACCEPTED));
	gw_info_line(
	    out, "total_commands_processed:%" PRIu64, sum(g, C_COMMANDS));
	gw_info_line(
	    out, "total_error_replies:%" PRIu64, sum(g, C_COMMANDS_FAILED));
	gw_info_line(out, "total_net_input_bytes:%" PRIu64, sum(g, C_BYTES_IN));
	gw_info_line(
	    out, "total_net_output_bytes:%" PRIu64, sum(g, C_BYTES_OUT));
	gw_info_line(
	    out, "rejected_connections:%" PRIu64, sum(g, C_CLIENTS_REFUSED));
	gw_info_line(out, "http_connections:%" PRIu64, sum(g, C_CLIENTS_HTTP));
	gw_info_line(out, "expired_keys:%" PRIu64, sum(g, C_STORE_EXPIRED));
	gw_info_line(out, "evicted_keys:0");
	gw_info_line(
	    out, "evicted_clients:%" PRIu64, sum(g, C_CLIENTS_EVICTED));
	gw_info_line(out, "keyspace_hits:%" PRIu64, sum(g, C_KEYSPACE_HITS));
	gw_info_line(
	    out, "keyspace_misses:%" PRIu64, sum(g, C_KEYSPACE_MISSES));
}

static void
info_cpu(struct gateway *g, struct sink *out)
{
	struct rusage ru;

	(void)g;
	if (getrusage(RUSAGE_SELF, &ru) != 0)
		return;
	gw_info_line(out, "used_cpu_sys:%ld.%06ld", (long)ru.ru_stime.tv_sec,
	    (long)ru.ru_stime.tv_usec);
	gw_info_line(out, "used_cpu_user:%ld.%06ld", (long)ru.ru_utime.tv_sec,
	    (long)ru.ru_utime.tv_usec);
}

static void
info_keyspace(struct gateway *g, struct sink *out)
{
	uint64_t keys =
	    atomic_load_explicit(&g->r->table->count, memory_order_acquire);

	/*
	 * Behind DBSIZE by what the store has not counted yet. How many have
	 * an expiry is not counted, so nothing is said of it.
	 */
	if (keys != 0)
		gw_info_line(out, "db0:keys=%" PRIu64, keys);
}

static void
info_nodelife(struct gateway *g, struct sink *out)
{
	const struct positions *pos = g->r->pos;
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	gw_info_line(out, "node:%s", g->r->head->node);
	gw_info_line(out, "group:%s", g->r->head->group);
	gw_info_line(out, "gateway:%u", g->slot - SLOT_GATEWAY);
	gw_info_line(out, "gateways:%u", g->w->conf->node.gateways);
	gw_info_line(out, "phase:%s",
	    phase_name(
		atomic_load_explicit(&g->r->seq->phase, memory_order_acquire)));
	gw_info_line(out, "readonly:%d", view.readonly != 0 || g->w->readonly);
	gw_info_line(out, "appended:%" PRIu64, position_get(&pos->appended));
	gw_info_line(out, "durable:%" PRIu64, position_get(&pos->durable));
	gw_info_line(out, "committed:%" PRIu64, commit_vlsn(g->r));
	gw_info_line(out, "applied:%" PRIu64, position_get(&pos->applied));
	gw_info_line(
	    out, "checkpointed:%" PRIu64, position_get(&pos->checkpointed));
}

static const struct {
	const char *name, *title;
	void (*render)(struct gateway *, struct sink *);
} sections[] = { { "server", "Server", info_server },
	{ "clients", "Clients", info_clients },
	{ "memory", "Memory", info_memory },
	{ "persistence", "Persistence", info_persistence },
	{ "stats", "Stats", info_stats },
	{ "replication", "Replication", gw_info_replication },
	{ "cpu", "CPU", info_cpu }, { "keyspace", "Keyspace", info_keyspace },
	{ "nodelife", "Nodelife", info_nodelife } };

unsigned
gw_info_sections(const char *word)
{
	unsigned i;

	if (strcasecmp(word, "default") == 0 || strcasecmp(word, "all") == 0 ||
	    strcasecmp(word, "everything") == 0)
		return (1u << NITEMS(sections)) - 1;
	for (i = 0; i < NITEMS(sections); i++)
		if (strcasecmp(word, sections[i].name) == 0)
			return 1u << i;
	return 0;
}

void
gw_info(struct gateway *g, unsigned wanted, struct sink *out)
{
	unsigned i;

	for (i = 0; i < NITEMS(sections); i++) {
		if ((wanted >> i & 1) == 0)
			continue;
		if (sink_len(out) != 0)
			sink_put(out, "\r\n", 2);
		gw_info_line(out, "# %s", sections[i].title);
		sections[i].render(g, out);
	}
}
