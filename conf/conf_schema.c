/*
 * The table: every section and key that nodelife.ini(5) has, and look-ups in
 * it. A key is here only if code obeys it.
 */
#include "conf/conf_schema.h"

#include <string.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define SEC UINT64_C(1000)
#define MIN (60 * SEC)
#define DAY (24 * 60 * MIN)

static const char *const type_words[] = { [CONF_TYPE_ELECTABLE] = "electable",
	[CONF_TYPE_SECONDARY] = "secondary",
	[CONF_TYPE_ARBITER] = "arbiter",
	[CONF_TYPE_MONITOR] = "monitor",
	NULL };
static const char *const level_words[] = { [CONF_LOG_DEBUG] = "debug",
	[CONF_LOG_INFO] = "info",
	[CONF_LOG_WARN] = "warn",
	[CONF_LOG_ERROR] = "error",
	NULL };
static const char *const recovery_words[] = { [CONF_RECOVERY_NORMAL] = "normal",
	[CONF_RECOVERY_READONLY] = "readonly",
	[CONF_RECOVERY_FORCE] = "force",
	NULL };
static const char *const sync_words[] = { [CONF_SYNC_SYNC] = "sync",
	[CONF_SYNC_WRITE_NO_SYNC] = "write_no_sync",
	[CONF_SYNC_NO_SYNC] = "no_sync",
	NULL };
static const char *const wal_io_words[] = { [CONF_WAL_IO_AUTO] = "auto",
	[CONF_WAL_IO_DIRECT] = "direct",
	[CONF_WAL_IO_BUFFERED] = "buffered",
	NULL };
static const char *const answer_words[] = {
	[CONF_NO] = "no", [CONF_YES] = "yes", NULL
};
static const char *const ack_words[] = { [CONF_ACK_MAJORITY] = "majority",
	[CONF_ACK_ALL] = "all",
	[CONF_ACK_NONE] = "none",
	NULL };

#define AT(field)                                                              \
	.offset = offsetof(struct conf, field),                                \
	.size = sizeof(((struct conf *)NULL)->field)

/* clang-format off: one row per key reads better than any wrapping. */
static const struct conf_key table[] = {
	{ "node", "name", CONF_KIND_NAME, AT(node.name), .def = NULL,
	    .fixed = true, .help = "Name of this node, unique in its group." },
	{ "node", "group", CONF_KIND_NAME, AT(node.group), .def = NULL,
	    .fixed = true, .help = "Name of the group." },
	{ "node", "type", CONF_KIND_ENUM, AT(node.type), .def = "electable",
	    .words = type_words,
	    .help = "What this node may become. This version founds groups of "
		    "electable members and refuses the other types." },
	{ "node", "data_dir", CONF_KIND_PATH, AT(node.data_dir), .def = NULL,
	    .help = "Directory of the WAL, the checkpoint and the state "
		    "file; one node only." },
	{ "node", "run_dir", CONF_KIND_PATH, AT(node.run_dir),
	    .def = "/run/nodelife",
	    .help = "Directory of the process id file, the control socket "
		    "and the link to the shared region." },
	{ "node", "user", CONF_KIND_USER, AT(node.user), .def = "none",
	    .optional = true,
	    .help = "Run as this user when started as root; none stays who "
		    "started it." },
	{ "node", "log", CONF_KIND_LOG, AT(node.log), .def = "stderr",
	    .help = "Where log lines go." },
	{ "node", "log_level", CONF_KIND_ENUM, AT(node.log_level),
	    .def = "info", .live = true, .words = level_words,
	    .help = "Least important line that is logged." },
	{ "node", "gateways", CONF_KIND_U32, AT(node.gateways), .def = "1",
	    .min = 1, .max = 16,
	    .help = "Worker processes that serve clients; one is best up to "
		    "4 cores." },

	{ "listen", "client", CONF_KIND_ADDR, AT(listen.client),
	    .def = "127.0.0.1:7379", .help = "Address of the Redis protocol." },
	{ "listen", "client_unix", CONF_KIND_PATH, AT(listen.client_unix),
	    .def = "none", .optional = true,
	    .help = "Unix socket of the Redis protocol, beside the address." },
	{ "listen", "peer", CONF_KIND_ADDR, AT(listen.peer),
	    .def = "127.0.0.1:7380", .optional = true,
	    .help = "Address where other members of the group reach this "
		    "node. Used where there are [peer] sections, or if it is "
		    "set." },
	{ "listen", "http", CONF_KIND_ADDR, AT(listen.http),
	    .def = "127.0.0.1:7381",
	    .help = "Address of the health pages and metrics; it knows no "
		    "password, and who reaches it can stop the node by POST "
		    "/drain." },
	{ "listen", "announce", CONF_KIND_ADDR, AT(listen.announce),
	    .def = "none", .optional = true,
	    .help = "Address that clients of other members are sent to; none: "
		    "that of client." },
	{ "listen", "max_clients", CONF_KIND_U32, AT(listen.max_clients),
	    .def = "10000", .min = 1, .max = 65000,
	    .help = "Client connections at a time; one more takes the place of "
		    "one that has not said the password, or else is told so "
		    "and closed. Lowered to what the limit of descriptors "
		    "allows, which is then said for as long as the node "
		    "runs." },
	{ "listen", "max_output", CONF_KIND_SIZE, AT(listen.max_output),
	    .def = "64M", .min = 64 * KIB, .max = 4 * GIB,
	    .help =
		"Longest reply; a longer one is an error in its place. A "
		"client that leaves a quarter of client_memory more unread is "
		"closed." },
	{ "listen", "max_query", CONF_KIND_SIZE, AT(listen.max_query),
	    .def = "64M", .min = 64 * KIB, .max = 4 * GIB,
	    .help = "Longest request of one client, give or take 64K: what it "
		    "has sent behind it may count. A longer one closes it." },
	{ "listen", "client_memory", CONF_KIND_SIZE, AT(listen.client_memory),
	    .def = "128M", .min = 128 * KIB, .max = 64 * GIB,
	    .help =
		"Memory of one gateway for what its clients have sent and "
		"not read yet. Above a quarter, who leaves 256K unread "
		"rests; beyond it, those that hold most are closed. Raised "
		"to the sum of max_query and max_output if it is not set." },
	{ "listen", "idle_timeout", CONF_KIND_DURATION,
	    AT(listen.idle_timeout_ms), .def = "none", .min = SEC, .max = DAY,
	    .optional = true, .live = true,
	    .help = "Close a client that sent nothing for so long." },

	{ "boot", "recovery_mode", CONF_KIND_ENUM, AT(boot.recovery_mode),
	    .def = "normal", .words = recovery_words,
	    .help = "What a boot does about damage: normal stops at it, "
		    "readonly serves the checkpoint and changes nothing, "
		    "force skips what it must and lists it." },
	{ "boot", "init_budget", CONF_KIND_DURATION, AT(boot.init_budget_ms),
	    .def = "30s", .min = 100, .max = DAY,
	    .help = "Longest stage init may take before the boot fails." },
	{ "boot", "migrate_budget", CONF_KIND_DURATION,
	    AT(boot.migrate_budget_ms), .def = "300s", .min = 100, .max = DAY,
	    .help = "The same for stage migrate." },
	{ "boot", "recover_budget", CONF_KIND_DURATION,
	    AT(boot.recover_budget_ms), .def = "1800s", .min = 100, .max = DAY,
	    .help = "The same for stage recover, in any recovery mode." },
	{ "boot", "warmup_budget", CONF_KIND_DURATION,
	    AT(boot.warmup_budget_ms), .def = "300s", .min = 100, .max = DAY,
	    .help = "The same for stage warmup." },
	{ "boot", "total_budget", CONF_KIND_DURATION, AT(boot.total_budget_ms),
	    .def = "3600s", .min = 100, .max = DAY,
	    .help = "The same for the whole boot." },
	{ "boot", "startup_probe", CONF_KIND_DURATION,
	    AT(boot.startup_probe_ms), .def = "none", .min = SEC, .max = DAY,
	    .optional = true,
	    .help = "Time T that an orchestrator's startup probe allows. It "
		    "sets the budgets to T/20, T/5, 3T/5, T/10 and T, each at "
		    "least 1s; a budget set beside it is an error." },

	{ "wal", "segment_size", CONF_KIND_SIZE, AT(wal.segment_size),
	    .def = "64M", .min = 4 * MIB, .max = GIB, .multiple = MIB,
	    .help = "Size of a WAL file." },
	{ "wal", "buffer_size", CONF_KIND_SIZE, AT(wal.buffer_size),
	    .def = "8M", .min = MIB, .max = GIB, .power_of_two = true,
	    .help = "Newest part of the WAL that stays in shared memory." },
	{ "wal", "keep_size", CONF_KIND_SIZE, AT(wal.keep_size), .def = "256M",
	    .min = 0, .max = 16 * TIB,
	    .help = "WAL behind the checkpoint that is kept for others before "
		    "its files are used again." },
	{ "wal", "sync", CONF_KIND_ENUM, AT(wal.sync), .def = "sync",
	    .live = true, .words = sync_words,
	    .help = "What a client's write waits for: the flushed record, or "
		    "(write_no_sync and no_sync, the same in a group of one) "
		    "only its place in the log's memory." },
	{ "wal", "io", CONF_KIND_ENUM, AT(wal.io), .def = "auto",
	    .words = wal_io_words,
	    .help = "How the WAL is written: past the page cache, through it, "
		    "or what the file system can do." },
	{ "wal", "spare_segments", CONF_KIND_U32, AT(wal.spare_segments),
	    .def = "2", .min = 1, .max = 64,
	    .help = "WAL files made ready ahead of use." },
	{ "wal", "reserve", CONF_KIND_SIZE, AT(wal.reserve), .def = "16M",
	    .min = MIB, .max = 16 * GIB,
	    .help = "Disk space set aside for recovering from a full disk." },
	{ "wal", "disk_stall_limit", CONF_KIND_DURATION,
	    AT(wal.disk_stall_limit_ms), .def = "1s", .min = 100,
	    .max = 10 * MIN, .live = true,
	    .help = "A flush of the WAL, or a checkpoint that writes wait for, "
		    "that takes longer is told as a trouble, and "
		    "/readyz?want=write answers 503 until it is done." },
	{ "wal", "max_clock_step", CONF_KIND_DURATION,
	    AT(wal.max_clock_step_ms), .def = "10s", .min = SEC, .max = DAY,
	    .help = "A clock that is set by more than this is told of; behind "
		    "log time by more, it sets log time back with a record." },

	{ "store", "map_size", CONF_KIND_SIZE, AT(store.map_size),
	    .def = "none", .optional = true, .min = 64 * MIB, .max = 16 * TIB,
	    .multiple = MIB,
	    .help = "What the store may have on disk, in use; when it has "
		    "that, writes are refused but deletions, until keys are "
		    "deleted or the node starts with more. none: the "
		    "checkpoint's file grows while the disk has room." },
	{ "store", "table_size", CONF_KIND_SIZE, AT(store.table_size),
	    .def = "64M", .min = 8 * MIB, .max = 16 * GIB, .multiple = MIB,
	    .help = "Shared memory for changes since the checkpoint, for each "
		    "of two generations; used as it fills." },
	{ "store", "checkpoint_wal", CONF_KIND_SIZE, AT(store.checkpoint_wal),
	    .def = "64M", .min = MIB, .max = TIB, .live = true,
	    .help = "A checkpoint starts when so much WAL was written since "
		    "the last one." },
	{ "store", "max_value", CONF_KIND_SIZE, AT(store.max_value),
	    .def = "16M", .min = KIB, .max = 512 * MIB,
	    .help = "Longest value; a longer one is refused." },
	{ "store", "max_record", CONF_KIND_SIZE, AT(store.max_record),
	    .def = "64M", .min = MIB, .max = GIB, .multiple = 64 * KIB,
	    .help = "Most that one command or transaction may change; "
		    "nodelife(7), LIMITS, says what counts. Raised to twice "
		    "max_value if it is not set." },
	{ "store", "checkpoint_memory", CONF_KIND_SIZE,
	    AT(store.checkpoint_memory), .def = "64M", .min = 8 * MIB,
	    .max = 512 * MIB,
	    .help = "Memory for pages of a checkpoint that is being "
		    "written." },

	{ "replication", "ack_policy", CONF_KIND_ENUM,
	    AT(replication.ack_policy), .def = "majority", .words = ack_words,
	    .help = "Members that must have a write before its client is "
		    "answered; all the same in a group of one." },

	{ "election", "heartbeat", CONF_KIND_DURATION,
	    AT(election.heartbeat_ms), .def = "20ms", .min = 5, .max = 10 * SEC,
	    .help = "How often a master asks the other members." },
	{ "election", "lease", CONF_KIND_DURATION, AT(election.lease_ms),
	    .def = "200ms", .min = 20, .max = 60 * SEC,
	    .help = "How long a member that answered a master votes for "
		    "nobody else; one that heard of none for so long stands. "
		    "The group has the value of the node that founded it." },
	{ "election", "priority", CONF_KIND_U32, AT(election.priority),
	    .def = "1", .min = 0, .max = 1000,
	    .help = "Among members with equal logs a higher priority waits "
		    "less; 0 does not volunteer. The only member of a group "
		    "is its master with any." },

	{ "restart", "window", CONF_KIND_DURATION, AT(restart.window_ms),
	    .def = "60s", .min = SEC, .max = DAY,
	    .help = "Time over which restarts and deaths are counted." },
	{ "restart", "limit", CONF_KIND_U32, AT(restart.limit), .def = "5",
	    .min = 0, .max = 1000,
	    .help = "What window may hold: restarts of the node, one more and "
		    "the daemon exits; and deaths of one worker, one more and "
		    "it is tried each backoff_max only, or, if it is the last "
		    "gateway, the node restarts. With 0 the first is one too "
		    "many." },
	{ "restart", "backoff_min", CONF_KIND_DURATION,
	    AT(restart.backoff_min_ms), .def = "100ms", .min = 1,
	    .max = 10 * MIN,
	    .help = "Pause before the first restart; it doubles from there." },
	{ "restart", "backoff_max", CONF_KIND_DURATION,
	    AT(restart.backoff_max_ms), .def = "5s", .min = 1, .max = 10 * MIN,
	    .help = "Longest pause before a restart." },
	{ "restart", "give_up", CONF_KIND_DURATION, AT(restart.give_up_ms),
	    .def = "none", .min = SEC, .max = 40 * DAY, .optional = true,
	    .live = true,
	    .help = "How long a fault of the machine (a disk, memory, "
		    "processes; not a full map_size) may keep the node from "
		    "writing or booting before the daemon exits. By default it "
		    "never does: it goes on by itself when the fault ends." },

	{ "liveness", "timeout", CONF_KIND_DURATION, AT(liveness.timeout_ms),
	    .def = "10s", .min = 2 * SEC, .max = 10 * MIN,
	    .help = "A worker whose heartbeat stops for so long is killed." },

	{ "shutdown", "phase_budget", CONF_KIND_DURATION,
	    AT(shutdown.phase_budget_ms), .def = "500ms", .min = 10,
	    .max = 10 * MIN,
	    .help = "Time for each of the phases of a stop before who holds "
		    "it up is killed." },
	{ "shutdown", "listen_hold", CONF_KIND_DURATION,
	    AT(shutdown.listen_hold_ms), .def = "2s", .min = 10,
	    .max = 10 * MIN,
	    .help = "Listening sockets stay open so long while the node "
		    "restarts." },

	{ "security", "password", CONF_KIND_PASSWORD, AT(security.password),
	    .def = "", .optional = true,
	    .help = "Clients must give it with AUTH or HELLO; empty asks for "
		    "none, which is warned of where other hosts can reach the "
		    "client port." },
	{ "security", "group_key_file", CONF_KIND_PATH,
	    AT(security.group_key_file), .def = "none", .optional = true,
	    .help = "File with the key that all members have, 16 to 1024 "
		    "bytes; only root and the node's user may read it. Members "
		    "without it are refused." },
	{ "security", "insecure", CONF_KIND_ENUM, AT(security.insecure),
	    .def = "no", .words = answer_words,
	    .help = "Talk to members on other hosts without a key: who "
		    "reaches the port is taken for one of them." },

	{ "cpu", "io", CONF_KIND_CPU, AT(cpu.io), .def = "none", .max = 1023,
	    .optional = true,
	    .help = "Keep gateway, wal and group on this CPU and the store "
		    "off it." },

	{ "peer", "address", CONF_KIND_PEERS, AT(peer), .def = "none",
	    .optional = true,
	    .help = "Where that member listens for others, [listen] peer "
		    "there; a name is looked up again each time. It counts "
		    "until the group is founded, which keeps what it knew." },
};
/* clang-format on */

#define TABLE_COUNT (sizeof(table) / sizeof(table[0]))
_Static_assert(TABLE_COUNT <= CONF_KEYS_MAX, "struct conf has a line per key");
_Static_assert(sizeof(enum conf_sync) == sizeof(unsigned int),
    "enum fields are written through an unsigned int");

#define NEAR_DISTANCE 2 /* edits; more is another word, not a slip */
#define NEAR_LEN_MAX  31 /* bytes; the longest key has 16 */

uint32_t
conf_key_count(void)
{
	return TABLE_COUNT;
}

const struct conf_key *
conf_key_at(uint32_t index)
{
	return index < TABLE_COUNT ? &table[index] : NULL;
}

const struct conf_key *
conf_key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (strcmp(table[i].section, section) == 0 &&
		    strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

const char *
conf_key_section(const struct conf_key *key)
{
	return key->section;
}

const char *
conf_key_name(const struct conf_key *key)
{
	return key->name;
}

const char *
conf_key_help(const struct conf_key *key)
{
	return key->help;
}

const char *
conf_key_default(const struct conf_key *key)
{
	return key->def != NULL ? key->def : "";
}

bool
conf_key_live(const struct conf_key *key)
{
	return key->live;
}

bool
conf_key_fixed(const struct conf_key *key)
{
	return key->fixed;
}

bool
conf_key_required(const struct conf_key *key)
{
	return key->def == NULL;
}

bool
conf_key_secret(const struct conf_key *key)
{
	return key->kind == CONF_KIND_PASSWORD;
}

bool
conf_key_is_set(const struct conf *conf, const struct conf_key *key)
{
	return conf->line[key - table] != 0;
}

bool
conf_key_derived(const struct conf *conf, const struct conf_key *key)
{
	const char *tail = strrchr(key->name, '_');

	return conf->boot.startup_probe_ms != 0 &&
	       strcmp(key->section, "boot") == 0 && tail != NULL &&
	       strcmp(tail, "_budget") == 0;
}

uint32_t
conf_line_of(const struct conf *conf, size_t offset)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (table[i].offset == offset)
			return conf->line[i];
	return 0;
}

void
conf_key_of_peer(const struct conf_key *key, uint32_t i, struct conf_key *out)
{
	const size_t at = offsetof(struct conf, peer[0].address);

	*out = *key;
	out->kind = CONF_KIND_ADDR;
	out->offset = (uint32_t)(at + i * sizeof(struct conf_peer));
	out->size = CONF_ADDR_SIZE;
	out->optional = false;
}

bool
conf_section_known(const char *section)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (strcmp(table[i].section, section) == 0)
			return true;
	return false;
}

const char *
conf_key_elsewhere(const char *name)
{
	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (strcmp(table[i].name, name) == 0)
			return table[i].section;
	return NULL;
}

static uint32_t
min3(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t low = a < b ? a : b;

	return low < c ? low : c;
}

/* Levenshtein distance; words longer than NEAR_LEN_MAX are far from all. */
static uint32_t
edit_distance(const char *a, const char *b)
{
	uint32_t row[NEAR_LEN_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > NEAR_LEN_MAX || b_len > NEAR_LEN_MAX)
		return UINT32_MAX;
	for (uint32_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (uint32_t i = 1; i <= a_len; i++) {
		uint32_t diagonal = row[0];

		row[0] = i;
		for (uint32_t j = 1; j <= b_len; j++) {
			uint32_t above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1,
			    diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_len];
}

/* A distance as long as the word itself would match anything. */
static bool
is_nearer(const char *typed, const char *known, uint32_t *best)
{
	uint32_t distance = edit_distance(typed, known);

	if (distance > NEAR_DISTANCE || distance >= strlen(known) ||
	    distance >= *best)
		return false;
	*best = distance;
	return true;
}

const char *
conf_section_nearest(const char *section)
{
	const char *near = NULL;
	uint32_t best = UINT32_MAX;

	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (is_nearer(section, table[i].section, &best))
			near = table[i].section;
	return near;
}

const struct conf_key *
conf_key_nearest(const char *section, const char *name)
{
	const struct conf_key *near = NULL;
	uint32_t best = UINT32_MAX;

	for (size_t i = 0; i < TABLE_COUNT; i++)
		if (strcmp(table[i].section, section) == 0 &&
		    is_nearer(name, table[i].name, &best))
			near = &table[i];
	return near;
}
