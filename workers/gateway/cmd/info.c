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

__attribute__((format(printf, 2, 3))) static void
line(struct sink *out, const char *fmt, ...)
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
	line(out, "redis_version:7.0.15");
	line(out, "nodelife_version:%s", NODELIFE_VERSION);
	line(out, "redis_mode:standalone");
	line(out, "os:%s %s %s", un.sysname, un.release, un.machine);
	line(out, "arch_bits:%zu", sizeof(void *) * 8);
	line(out, "multiplexing_api:io_uring");
	line(out, "process_id:%d", (int)g->r->head->supervisor_pid);
	line(out, "run_id:%016" PRIx64 "%016" PRIx64, g->r->head->boot_id[0],
	    g->r->head->boot_id[1]);
	line(out, "tcp_port:%u", port);
	line(out, "server_time_usec:%" PRIu64, clock_ns(CLOCK_REALTIME) / 1000);
	line(out, "uptime_in_seconds:%" PRIu64, up);
	line(out, "uptime_in_days:%" PRIu64, up / 86400);
}

static void
info_clients(struct gateway *g, struct sink *out)
{
	uint64_t accepted = sum(g, C_CLIENTS_ACCEPTED);
	uint64_t closed = sum(g, C_CLIENTS_CLOSED);

	/* Two sums at two moments. */
	line(out, "connected_clients:%" PRIu64,
	    accepted > closed ? accepted - closed : 0);
	line(out, "maxclients:%u", g->w->conf->listen.max_clients);
	line(out, "blocked_clients:%u", g->blocked_count);
	line(out, "gateway:%u", g->slot - SLOT_GATEWAY);
	line(out, "gateway_clients:%u", g->io.conn_count);
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
	line(out, "used_memory:%lu", (resident - shared) * page);
	line(out, "used_memory_rss:%lu", resident * page);
	line(out, "mem_clients_normal:%zu", g->io.pool.used);
	line(out, "client_memory:%" PRIu64, g->w->conf->listen.client_memory);
	line(out, "maxmemory:0");
	line(out, "maxmemory_policy:noeviction");
	line(out, "mem_allocator:libc");
}

static void
info_persistence(struct gateway *g, struct sink *out)
{
	const struct positions *pos = g->r->pos;

	line(out, "loading:0");
	line(out, "aof_enabled:1");
	line(out, "aof_last_write_status:%s",
	    sum(g, C_WAL_ERRORS) == 0 ? "ok" : "err");
	line(out, "rdb_bgsave_in_progress:%d", position_get(&pos->frozen) != 0);
	line(out, "wal_bytes:%" PRIu64, position_get(&pos->wal_bytes));
	line(out, "wal_flushes:%" PRIu64, sum(g, C_WAL_FLUSHES));
	line(out, "checkpoints:%" PRIu64, sum(g, C_CHECKPOINTS));
	line(out, "no_space:%d", trouble_stands(g->r, TROUBLE_LOG_FULL));
}

static void
info_stats(struct gateway *g, struct sink *out)
{
	line(out, "total_connections_received:%" PRIu64,
	    sum(g, C_CLIENTS_ACCEPTED));
	line(out, "total_commands_processed:%" PRIu64, sum(g, C_COMMANDS));
	line(out, "total_error_replies:%" PRIu64, sum(g, C_COMMANDS_FAILED));
	line(out, "total_net_input_bytes:%" PRIu64, sum(g, C_BYTES_IN));
	line(out, "total_net_output_bytes:%" PRIu64, sum(g, C_BYTES_OUT));
	line(out, "rejected_connections:%" PRIu64, sum(g, C_CLIENTS_REFUSED));
	line(out, "http_connections:%" PRIu64, sum(g, C_CLIENTS_HTTP));
	line(out, "expired_keys:%" PRIu64, sum(g, C_STORE_EXPIRED));
	line(out, "evicted_keys:0");
	line(out, "evicted_clients:%" PRIu64, sum(g, C_CLIENTS_EVICTED));
	line(out, "keyspace_hits:%" PRIu64, sum(g, C_KEYSPACE_HITS));
	line(out, "keyspace_misses:%" PRIu64, sum(g, C_KEYSPACE_MISSES));
}

static void
info_replication(struct gateway *g, struct sink *out)
{
	bool master = commit_is_master(g->r);
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	line(out, "role:%s", master ? "master" : "slave");
	if (!master)
		line(out, "master_link_status:down");
	line(out, "connected_slaves:0");
	line(out, "master_replid:%016" PRIx64 "%016" PRIx64 "00000000",
	    g->r->head->boot_id[0], g->r->head->boot_id[1]);
	line(out, "master_repl_offset:%" PRIu64, commit_vlsn(g->r));
	line(out, "term:%" PRIu64, view.term);
}

static void
info_cpu(struct gateway *g, struct sink *out)
{
	struct rusage ru;

	(void)g;
	if (getrusage(RUSAGE_SELF, &ru) != 0)
		return;
	line(out, "used_cpu_sys:%ld.%06ld", (long)ru.ru_stime.tv_sec,
	    (long)ru.ru_stime.tv_usec);
	line(out, "used_cpu_user:%ld.%06ld", (long)ru.ru_utime.tv_sec,
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
		line(out, "db0:keys=%" PRIu64, keys);
}

static void
info_nodelife(struct gateway *g, struct sink *out)
{
	const struct positions *pos = g->r->pos;
	struct commit_view view;

	commit_view_read(g->r->commit, &view);
	line(out, "node:%s", g->r->head->node);
	line(out, "group:%s", g->r->head->group);
	line(out, "gateway:%u", g->slot - SLOT_GATEWAY);
	line(out, "gateways:%u", g->w->conf->node.gateways);
	line(out, "phase:%s",
	    phase_name(
		atomic_load_explicit(&g->r->seq->phase, memory_order_acquire)));
	line(out, "readonly:%d", view.readonly != 0 || g->w->readonly);
	line(out, "appended:%" PRIu64, position_get(&pos->appended));
	line(out, "durable:%" PRIu64, position_get(&pos->durable));
	line(out, "committed:%" PRIu64, commit_vlsn(g->r));
	line(out, "applied:%" PRIu64, position_get(&pos->applied));
	line(out, "checkpointed:%" PRIu64, position_get(&pos->checkpointed));
}

static const struct {
	const char *name, *title;
	void (*render)(struct gateway *, struct sink *);
} sections[] = { { "server", "Server", info_server },
	{ "clients", "Clients", info_clients },
	{ "memory", "Memory", info_memory },
	{ "persistence", "Persistence", info_persistence },
	{ "stats", "Stats", info_stats },
	{ "replication", "Replication", info_replication },
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
		line(out, "# %s", sections[i].title);
		sections[i].render(g, out);
	}
}
