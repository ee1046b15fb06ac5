/*
 * Loading: defaults, every kind of value, every refusal with its exact
 * message and line, all of them in one run, and that nothing is changed by a
 * load that fails. Each case is a text and the messages it must give.
 */
#include "conf/conf.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/tap.h"

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))
#define GOOD      "[node]\nname = n1\ngroup = g1\ndata_dir = /d\n"

/* Messages joined by newlines. The caller frees. */
static char *
messages(struct conf_errors *errs)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		abort();
	conf_errors_print(errs, out);
	fclose(out);
	return text;
}

/* Load text as file "f"; 0 when it is accepted. */
static int
load(struct conf *conf, const char *text, char **said)
{
	struct conf_errors errs = { 0 };
	int rc = conf_load_string(conf, "f", text, strlen(text), &errs);

	*said = messages(&errs);
	conf_errors_free(&errs);
	return rc;
}

struct refusal {
	const char *what;
	const char *text;
	const char *want;
};

/* clang-format off */
static const struct refusal refusals[] = {
	{ "an empty file", "",
	    "f:1: [node] needs 'name': it has no default\n"
	    "f:1: [node] needs 'group': it has no default\n"
	    "f:1: [node] needs 'data_dir': it has no default\n" },
	{ "missing keys are reported at their section",
	    "; c\n\n[node]\nname = a\ngroup = b\n\n\n",
	    "f:3: [node] needs 'data_dir': it has no default\n" },
	{ "a bad value is not reported as missing too",
	    "[node]\nname =\ngroup = a b\ndata_dir = d\n",
	    "f:2: name: must not be empty\n"
	    "f:3: group: may only have letters, digits and '_', '.', '-', "
	    "unlike 'a b'\n"
	    "f:4: data_dir: must be an absolute path, not 'd'\n" },
	{ "a key before any section", "name = x\n" GOOD,
	    "f:1: 'name' stands before any [section]\n" },
	{ "no '='", GOOD "log_level info\n",
	    "f:5: must be 'key = value', the '=' is missing\n" },
	{ "no '=' on the last line, without newline", GOOD "log_level",
	    "f:5: must be 'key = value', the '=' is missing\n" },
	{ "no '=' before a comment", GOOD "log_level ;= info\n",
	    "f:5: must be 'key = value', the '=' is missing\n" },
	{ "no key", GOOD "= info\n",
	    "f:5: there is no key before the '='\n" },
	{ "a colon for '='", GOOD "log_level: info\n",
	    "f:5: must be 'key = value', with '=' before any ':'\n" },
	{ "a continuation line is not merged", GOOD "log = /a\n  /b\n",
	    "f:6: must be 'key = value', the '=' is missing\n" },
	{ "unknown sections, near and far", GOOD "[Wal]\nx = 1\n[zzz]\n",
	    "f:5: unknown section [Wal], did you mean [wal]?\n"
	    "f:7: unknown section [zzz]\n" },
	{ "an empty unknown section at the end", GOOD "[worker w]",
	    "f:5: unknown section [worker w]\n" },
	{ "peers without a name, an address, or another's",
	    GOOD "[peer n2]\naddr = 1:2\n[peer]\naddress = h:1\n[peer n/3]\n"
	    "[peer n2]\n[peer n1]\naddress = none\n[peersn]\n"
	    "[peer n4]\naddress = localhost:1\naddress = localhost:2\n",
	    "f:5: [peer n2] needs 'address': it has no default\n"
	    "f:6: unknown key 'addr' in [peer]\n"
	    "f:7: section [peer] needs the name of that member: [peer NAME]\n"
	    "f:9: section [peer n/3]: a name may only have letters, digits and "
	    "'_', '.', '-'\n"
	    "f:10: section [peer n2] was already begun at line 5\n"
	    "f:11: section [peer n1]: that is this node's own name; there is a "
	    "section for each of the others\n"
	    "f:12: address: 'none': must be host:port, the port is missing\n"
	    "f:13: unknown section [peersn], did you mean [peer]?\n"
	    "f:16: 'address' was already set at line 15\n" },
	{ "peers at addresses that are none of theirs",
	    GOOD "[peer a]\naddress = localhost:0\n[peer b]\n"
	    "address = 0.0.0.0:1\n[peer c]\naddress = 127.0.0.1:7380\n"
	    "[peer d]\naddress = [::1]:5\n[peer e]\naddress = [::1]:5\n",
	    "f:6: address: 'localhost:0': port 0 reaches nobody\n"
	    "f:8: address: '0.0.0.0:1' stands for every address of this "
	    "machine: name the other member's\n"
	    "f:8: members on other hosts need a key: set [security] "
	    "group_key_file, the same on all, or insecure = yes, which takes "
	    "whoever reaches the port for a member\n"
	    "f:10: address: '127.0.0.1:7380' is this node's own, [listen] "
	    "peer\n"
	    "f:14: address: '[::1]:5' is that of [peer d], too (line 12)\n" },
	{ "peers, and no address for them or for clients",
	    GOOD "[listen]\npeer = none\nclient = 0.0.0.0:7379\n"
	    "[peer n2]\naddress = localhost:1\n",
	    "f:6: peer is none: with [peer] sections set the address where the "
	    "other members reach this node\n"
	    "f:7: client (0.0.0.0:7379) stands for every address of this "
	    "machine: with [peer] sections set announce, where clients of other "
	    "members are sent to\n" },
	{ "members beyond this machine without a key",
	    GOOD "[listen]\npeer = 0.0.0.0:1\n[peer n2]\n"
	    "address = 127.0.0.1:1\n",
	    "f:6: members on other hosts need a key: set [security] "
	    "group_key_file, the same on all, or insecure = yes, which takes "
	    "whoever reaches the port for a member\n" },
	{ "a key that is gone", GOOD "[election]\nelection_timeout = 1s\n",
	    "f:6: unknown key 'election_timeout' in [election]: it is gone: a "
	    "member stands when it has heard of no master for 'lease': remove "
	    "it, and set 'lease' and 'heartbeat' in [election] if their "
	    "defaults do not do\n" },
	{ "unknown keys: near, elsewhere, far",
	    GOOD "log_levle = info\nmax_value = 1M\nzzz = 1\n[cpu]\nxy = 1\n",
	    "f:5: unknown key 'log_levle' in [node], did you mean "
	    "'log_level'?\n"
	    "f:6: unknown key 'max_value' in [node], it belongs to [store]\n"
	    "f:7: unknown key 'zzz' in [node]\n"
	    "f:9: unknown key 'xy' in [cpu]\n" },
	{ "a duplicate key", GOOD "name = n2\n",
	    "f:5: 'name' was already set at line 2\n" },
	{ "a duplicate section and a duplicate key in it",
	    GOOD "[wal]\nsync = sync\n[node]\n[wal]\nsync = sync\n",
	    "f:7: section [node] was already begun at line 1\n"
	    "f:8: section [wal] was already begun at line 5\n"
	    "f:9: 'sync' was already set at line 6\n" },
	{ "section headers", "[node\n[wal] x\n[]\n" GOOD,
	    "f:1: section has no ']'\n"
	    "f:2: unexpected text after the section's ']'\n"
	    "f:3: unknown section []\n" },
	{ "a section name longer than any",
	    GOOD "[peer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaa]\n",
	    "f:5: section name is longer than 68 bytes\n" },
	{ "a comment that is none", GOOD "log = /a/b # c\n",
	    "f:5: log: a comment after a value starts with ' ;'\n" },
	{ "control characters", GOOD "log = /a\001\n",
	    "f:5: control character 0x01\n" },
	{ "enums", GOOD "type = boss\nlog_level = INFO\n",
	    "f:5: type: must be electable, secondary, arbiter or monitor, "
	    "not 'boss'\n"
	    "f:6: log_level: must be debug, info, warn or error, "
	    "not 'INFO'\n" },
	{ "types of a later version", GOOD "type = arbiter\n",
	    "f:5: type: this version founds groups of electable members; "
	    "other types come with a later version\n" },
	{ "numbers", GOOD "gateways = 0\n[listen]\nmax_clients = 65001\n"
	    "[election]\npriority = 1K\n[restart]\nlimit = -1\n",
	    "f:5: gateways: 0 is out of bounds: 1 to 16\n"
	    "f:7: max_clients: 65001 is out of bounds: 1 to 65000\n"
	    "f:9: priority: must be a whole number, not '1K'\n"
	    "f:11: limit: must be a whole number, not '-1'\n" },
	{ "sizes", GOOD "[wal]\nsegment_size = 3M\nbuffer_size = 3M\n"
	    "keep_size = 1m\nreserve =\n[store]\nmap_size = 67108865\n"
	    "table_size = 99999999999999999999\n",
	    "f:6: segment_size: 3M is out of bounds: 4M to 1G, a multiple of "
	    "1M\n"
	    "f:7: buffer_size: 3M is out of bounds: 1M to 1G, a power of two\n"
	    "f:8: keep_size: must be a number of bytes or with unit K, M, G or "
	    "T, not '1m'\n"
	    "f:9: reserve: must be a number of bytes or with unit K, M, G or "
	    "T, not ''\n"
	    "f:11: map_size: 67108865 is out of bounds: 64M to 16T, a multiple "
	    "of 1M, or none\n"
	    "f:12: table_size: 99999999999999999999 is out of bounds: 8M to "
	    "16G, a multiple of 1M\n" },
	{ "durations", GOOD "[boot]\ninit_budget = 30\ntotal_budget = 25h\n"
	    "[listen]\nidle_timeout = 10ms\n[liveness]\ntimeout = none\n",
	    "f:6: init_budget: must be a number with unit ms, s, m or h, "
	    "not '30'\n"
	    "f:7: total_budget: 25h is out of bounds: 100ms to 24h\n"
	    "f:9: idle_timeout: 10ms is out of bounds: 1s to 24h, or none\n"
	    "f:11: timeout: must be a number with unit ms, s, m or h, "
	    "not 'none'\n" },
	{ "addresses", GOOD "[listen]\nclient = none\npeer = ::1:7\n"
	    "http = 127.0.0.1:99999\n",
	    "f:6: client: 'none': must be host:port, the port is missing\n"
	    "f:7: peer: '::1:7': an IPv6 address is written [addr]:port (or "
	    "none)\n"
	    "f:8: http: '127.0.0.1:99999': the port must be 0 to 65535\n" },
	{ "texts", GOOD "user = a/b\nlog = stdout\n[listen]\n"
	    "client_unix = sock\n[security]\npassword = a b\n[cpu]\nio = 1024\n",
	    "f:5: user: may only have letters, digits and '_', '.', '-', "
	    "unlike 'a/b'\n"
	    "f:6: log: must be stderr, syslog or an absolute path, not "
	    "'stdout'\n"
	    "f:8: client_unix: must be an absolute path or none, not 'sock'\n"
	    "f:10: password: must not have blanks or control characters\n"
	    "f:12: io: 1024 is out of bounds: 0 to 1023, or none\n" },
	{ "values that are only a comment", GOOD "[security]\n"
	    "password = ;secret\n[listen]\nclient_unix=\t; none yet\n"
	    "peer = # none\n[secure]\nx = ;y\n",
	    "f:6: password: a value cannot begin with ';', which starts a "
	    "comment after a blank; to leave it empty, put nothing behind "
	    "the '='\n"
	    "f:8: client_unix: a value cannot begin with ';', which starts a "
	    "comment after a blank; to leave it empty, put nothing behind "
	    "the '='\n"
	    "f:9: peer: '# none': must be host:port, the port is missing (or "
	    "none)\n"
	    "f:10: unknown section [secure]\n" },
	{ "one directory twice, spelt differently",
	    "[node]\nname = a\ngroup = b\n"
	    "data_dir = /r/./x\nrun_dir = //r/x/.\n",
	    "f:5: data_dir and run_dir must be two directories\n" },
	{ "one address twice", GOOD "[listen]\nclient = 127.0.0.1:7381\n",
	    "f:6: client and http both listen on 127.0.0.1:7381\n" },
	{ "one address twice, spelt differently", GOOD "[listen]\n"
	    "client = Localhost:5\npeer = localhost:5\nhttp = [::0]:7379\n",
	    "f:7: client and peer both listen on localhost:5\n" },
	{ "all addresses and one of them", GOOD "[listen]\n"
	    "client = 0.0.0.0:5\npeer = 127.0.0.1:5\nhttp = [::1]:6\n",
	    "f:7: client and peer both listen on 127.0.0.1:5\n" },
	{ "equal IPv6 addresses", GOOD "[listen]\n"
	    "client = [::1]:5\nhttp = [0::1]:5\n",
	    "f:7: client and http both listen on [0::1]:5\n" },
	{ "sizes that do not fit", GOOD "[store]\nmax_value = 100M\n",
	    "f:6: table_size (64M) must be at least three times max_value "
	    "(300M)\n"
	    "f:6: max_query (64M) must be at least max_value (100M)\n"
	    "f:6: max_output (64M) must be at least max_value (100M)\n" },
	{ "limits below what they hold", GOOD "[listen]\nclient_memory = 32M\n"
	    "[store]\nmax_record = 16M\n",
	    "f:6: client_memory (32M) must be at least max_query (64M)\n"
	    "f:6: client_memory (32M) must be at least max_output (64M)\n"
	    "f:8: max_record (16M) must be at least twice max_value (32M)\n" },
	{ "a map that no table fits", GOOD "[store]\nmap_size = 64M\n"
	    "table_size = 65M\n",
	    "f:7: map_size (64M) must be at least table_size (65M)\n" },
	{ "durations that do not fit", GOOD "[election]\nheartbeat = 51ms\n"
	    "[restart]\nbackoff_max = 50ms\n",
	    "f:6: lease (200ms) must be at least 4 times heartbeat (204ms)\n"
	    "f:8: backoff_min (100ms) must not be above backoff_max (50ms)\n" },
	{ "one directory twice", GOOD "run_dir = /d/\n",
	    "f:5: data_dir and run_dir must be two directories\n" },
	{ "startup_probe and a budget", GOOD "[boot]\nstartup_probe = 60s\n"
	    "recover_budget = 5s\n",
	    "f:7: recover_budget: startup_probe (line 6) sets it already; "
	    "keep one of the two\n" },
};
/* clang-format on */

static void
check_refusals(void)
{
	for (size_t i = 0; i < NITEMS(refusals); i++) {
		struct conf conf, before;
		char *said;

		memset(&conf, 0x5a, sizeof(conf));
		before = conf;
		is_i64(load(&conf, refusals[i].text, &said), -EINVAL,
		    refusals[i].what);
		is_str(said, refusals[i].want, "  its messages");
		ok(memcmp(&conf, &before, sizeof(conf)) == 0,
		    "  the configuration is untouched");
		free(said);
	}
}

static bool
accepts(struct conf *conf, const char *text, const char *what)
{
	char *said;
	bool good = load(conf, text, &said) == 0 && said[0] == '\0';

	if (!ok(good, "%s", what))
		diag("%s", said);
	free(said);
	return good;
}

static void
check_defaults(void)
{
	struct conf conf;

	if (!accepts(&conf, GOOD, "required keys are enough"))
		return;
	is_str(conf.node.name, "n1", "node.name");
	is_str(conf.node.group, "g1", "node.group");
	is_str(conf.node.data_dir, "/d", "node.data_dir");
	is_str(conf.node.run_dir, "/run/nodelife", "node.run_dir");
	is_str(conf.node.user, "", "node.user");
	is_str(conf.node.log, "stderr", "node.log");
	is_u64(conf.node.type, CONF_TYPE_ELECTABLE, "node.type");
	is_u64(conf.node.log_level, CONF_LOG_INFO, "node.log_level");
	is_u64(conf.node.gateways, 1, "node.gateways");
	is_str(conf.listen.client, "127.0.0.1:7379", "listen.client");
	is_str(conf.listen.client_unix, "", "listen.client_unix");
	is_str(conf.listen.peer, "127.0.0.1:7380", "listen.peer");
	is_str(conf.listen.http, "127.0.0.1:7381", "listen.http");
	is_u64(conf.listen.max_clients, 10000, "listen.max_clients");
	is_u64(conf.listen.max_output, 64 << 20, "listen.max_output");
	is_u64(conf.listen.max_query, 64 << 20, "listen.max_query");
	is_u64(conf.listen.client_memory, 128 << 20, "listen.client_memory");
	is_u64(conf.listen.idle_timeout_ms, 0, "listen.idle_timeout");
	is_u64(conf.boot.recovery_mode, CONF_RECOVERY_NORMAL, "boot.mode");
	is_u64(conf.boot.init_budget_ms, 30000, "boot.init_budget");
	is_u64(conf.boot.migrate_budget_ms, 300000, "boot.migrate_budget");
	is_u64(conf.boot.recover_budget_ms, 1800000, "boot.recover_budget");
	is_u64(conf.boot.warmup_budget_ms, 300000, "boot.warmup_budget");
	is_u64(conf.boot.total_budget_ms, 3600000, "boot.total_budget");
	is_u64(conf.boot.startup_probe_ms, 0, "boot.startup_probe");
	is_u64(conf.wal.segment_size, 64 << 20, "wal.segment_size");
	is_u64(conf.wal.buffer_size, 8 << 20, "wal.buffer_size");
	is_u64(conf.wal.keep_size, 256 << 20, "wal.keep_size");
	is_u64(conf.wal.sync, CONF_SYNC_SYNC, "wal.sync");
	is_u64(conf.wal.io, CONF_WAL_IO_AUTO, "wal.io");
	is_u64(conf.wal.spare_segments, 2, "wal.spare_segments");
	is_u64(conf.wal.reserve, 16 << 20, "wal.reserve");
	is_u64(conf.store.map_size, 0, "store.map_size: none");
	is_u64(conf.store.table_size, 64 << 20, "store.table_size");
	is_u64(conf.store.checkpoint_wal, 64 << 20, "store.checkpoint_wal");
	is_u64(conf.store.max_value, 16 << 20, "store.max_value");
	is_u64(conf.store.max_record, 64 << 20, "store.max_record");
	is_u64(conf.store.checkpoint_memory, 64 << 20, "checkpoint_memory");
	is_u64(conf.replication.ack_policy, CONF_ACK_MAJORITY, "ack_policy");
	is_u64(conf.election.heartbeat_ms, 20, "election.heartbeat");
	is_u64(conf.election.lease_ms, 200, "election.lease");
	is_u64(conf.election.priority, 1, "election.priority");
	is_u64(conf.restart.window_ms, 60000, "restart.window");
	is_u64(conf.restart.limit, 5, "restart.limit");
	is_u64(conf.restart.backoff_min_ms, 100, "restart.backoff_min");
	is_u64(conf.restart.backoff_max_ms, 5000, "restart.backoff_max");
	is_u64(conf.liveness.timeout_ms, 10000, "liveness.timeout");
	is_u64(conf.shutdown.phase_budget_ms, 500, "shutdown.phase_budget");
	is_u64(conf.shutdown.listen_hold_ms, 2000, "shutdown.listen_hold");
	is_str(conf.security.password, "", "security.password");
	is_str(conf.security.group_key_file, "", "security.group_key_file");
	is_u64(conf.security.insecure, CONF_NO, "security.insecure");
	is_str(conf.listen.announce, "", "listen.announce");
	is_u64(conf.peer_count, 0, "no peers");
	ok(!conf_wants_peers(&conf), "and no port for them");
	is_i64(conf.cpu.io, -1, "cpu.io");
	conf_free(&conf);
	ok(conf.node.name[0] == '\0', "conf_free forgets");
}

static void
check_peers(void)
{
	struct conf conf;
	char value[CONF_VALUE_SIZE];

	if (!accepts(&conf,
		GOOD "[peer n2]\naddress = 192.0.2.2:7380\n[wal]\nsync = sync\n"
		     "[peer\tn3]\naddress = [2001:db8::3]:1 ; there\n"
		     "[security]\ngroup_key_file = /k\n",
		"peers"))
		return;
	is_u64(conf.peer_count, 2, "two of them");
	is_str(conf.peer[0].name, "n2", "the first one's name");
	is_str(conf.peer[0].address, "192.0.2.2:7380", "  its address");
	is_str(conf.peer[1].name, "n3", "the second one's name");
	is_str(conf.peer[1].address, "[2001:db8::3]:1", "  its address");
	is_u64(conf.peer_address_line[1], 10, "  its line");
	ok(conf_wants_peers(&conf), "the node has a port for them");
	conf_key_value(
	    &conf, conf_key_find("peer", "address"), value, sizeof(value));
	is_str(value, "n2 at 192.0.2.2:7380, n3 at [2001:db8::3]:1",
	    "both in one line");
	conf_free(&conf);
	accepts(&conf, GOOD "[listen]\npeer = 192.0.2.1:1\n",
	    "a port for members alone");
	ok(conf_wants_peers(&conf), "is one");
	conf_free(&conf);
}

static void
check_derived_sizes(void)
{
	struct conf conf;

	if (!accepts(&conf,
		GOOD "[listen]\nmax_query = 2G\n"
		     "[store]\ntable_size = 384M\nmax_value = 64M\n",
		"limits nobody set follow those they hold"))
		return;
	is_u64(conf.listen.client_memory, UINT64_C(2112) << 20,
	    "client_memory: max_query and max_output");
	is_u64(conf.store.max_record, 128 << 20, "max_record: two values");
	conf_free(&conf);
}

static void
check_values(void)
{
	struct conf conf;

	if (!accepts(&conf,
		"\xef\xbb\xbf# comment\r\n"
		"  ; indented comment\r\n\r\n"
		"\t[node] ; the node\r\n"
		"name=n-1.x_Y\r\n"
		"  group  =  g1   ; inline\r\n"
		"data_dir = /a b/c;d/\r\n"
		"user = none\n"
		"log = /var/log/nodelife\n"
		"[listen]#c\n"
		"client = [::1]:0\n"
		"peer =\n"
		"http = localhost:0\n"
		"client_unix = /run/x.sock\n"
		"idle_timeout = 0s\n"
		"[boot]\n"
		"startup_probe = 100s\n"
		"recovery_mode = force\n"
		"[wal]\n"
		"segment_size = 4194304\n"
		"keep_size = 0\n"
		"sync = no_sync\n"
		"[security]\n"
		"password = a;b#c=d\n"
		"[cpu]\n"
		"io = 0",
		"every kind of value, and CR LF, and a byte order mark"))
		return;
	is_str(conf.node.name, "n-1.x_Y", "name");
	is_str(conf.node.group, "g1", "blanks and a comment are cut off");
	is_str(conf.node.data_dir, "/a b/c;d", "a path loses its last '/'");
	is_str(conf.node.user, "", "none is empty");
	is_str(conf.node.log, "/var/log/nodelife", "log to a file");
	is_str(conf.listen.client, "[::1]:0", "IPv6 address");
	is_str(conf.listen.peer, "", "empty peer is none");
	is_str(conf.listen.client_unix, "/run/x.sock", "unix socket");
	is_u64(conf.listen.idle_timeout_ms, 0, "0s is none");
	is_u64(conf.boot.recovery_mode, CONF_RECOVERY_FORCE, "mode");
	is_u64(conf.boot.init_budget_ms, 5000, "T/20");
	is_u64(conf.boot.migrate_budget_ms, 20000, "T/5");
	is_u64(conf.boot.recover_budget_ms, 60000, "3T/5");
	is_u64(conf.boot.warmup_budget_ms, 10000, "T/10");
	is_u64(conf.boot.total_budget_ms, 100000, "T");
	is_u64(conf.wal.segment_size, 4 << 20, "bytes");
	is_u64(conf.wal.keep_size, 0, "zero");
	is_u64(conf.wal.sync, CONF_SYNC_NO_SYNC, "enum");
	is_str(conf.security.password, "a;b#c=d", "password");
	is_i64(conf.cpu.io, 0, "CPU 0 is not none");
	ok(accepts(&conf, GOOD "[boot]\nstartup_probe = 1s\n", "probe of 1s") &&
		conf.boot.init_budget_ms == 1000 &&
		conf.boot.total_budget_ms == 1000,
	    "derived budgets have a floor of 1s");
	accepts(&conf, GOOD "[boot]\nstartup_probe = 0\ninit_budget = 1s\n",
	    "startup_probe = 0 is off and no conflict");
	accepts(&conf,
	    GOOD "[listen]\nclient = 127.0.0.1:0\npeer = "
		 "127.0.0.1:0\nhttp = 127.0.0.1:0\n",
	    "port 0 is no clash");
	accepts(&conf, GOOD "[security]\npassword = none\n",
	    "a password may be none");
	is_str(conf.security.password, "none", "literally");
}

/* A line of len bytes is accepted or refused as too long, never cut. */
static void
check_lengths(void)
{
	char text[8192], *said;
	struct conf conf;
	size_t head = strlen(GOOD "log = ");

	memset(text, 'x', sizeof(text));
	memcpy(text, GOOD "log = /", head + 1);
	text[head + CONF_PATH_SIZE - 1] = '\0';
	ok(accepts(&conf, text, "the longest path") &&
		strlen(conf.node.log) == CONF_PATH_SIZE - 1,
	    "is kept whole");
	text[head + CONF_PATH_SIZE - 1] = 'x';
	text[head + CONF_PATH_SIZE] = '\0';
	is_i64(load(&conf, text, &said), -EINVAL, "one byte more");
	is_str(said, "f:5: log: longer than 1023 bytes\n", "is refused");
	free(said);

	text[head + CONF_PATH_SIZE] = 'x';
	memcpy(text + head + CONF_LINE_MAX - 6, " \n", 3);
	is_i64(load(&conf, text, &said), -EINVAL, "a long line");
	is_str(said, "f:5: line is longer than 2048 bytes\n", "is refused");
	free(said);

	memcpy(text, GOOD ";og = /", head + 1);
	text[head + CONF_LINE_MAX - 6] = '\n';
	text[head + CONF_LINE_MAX - 5] = '\0';
	accepts(&conf, text, "a comment of the longest line");
}

static void
check_bounds(void)
{
	static const char zero[] = GOOD "log = /a\0b\n";
	struct conf_errors errs = { 0 };
	struct conf conf;
	char *said, *big;

	is_i64(conf_load_string(&conf, "f", zero, sizeof(zero) - 1, &errs),
	    -EINVAL, "a NUL in a line");
	said = messages(&errs);
	is_str(said, "f:5: control character 0x00\n", "is named");
	free(said);
	conf_errors_free(&errs);

	if ((big = malloc(CONF_FILE_MAX + 1)) == NULL)
		abort();
	memset(big, '\n', CONF_FILE_MAX + 1);
	is_i64(conf_load_string(&conf, "f", big, CONF_FILE_MAX + 1, &errs),
	    -EINVAL, "a file that is too large");
	said = messages(&errs);
	is_str(said, "f: larger than 1048576 bytes\n", "is refused");
	free(said);
	conf_errors_free(&errs);

	memset(big, 'x', CONF_FILE_MAX);
	for (size_t i = 1; i < 1000; i += 2)
		big[i] = '\n';
	is_i64(conf_load_string(&conf, "f", big, 1000, &errs), -EINVAL,
	    "500 bad lines");
	is_u64(errs.count, CONF_ERRORS_MAX, "the first hundred are kept");
	is_u64(errs.dropped, 500 + 3 - CONF_ERRORS_MAX, "the rest is counted");
	said = messages(&errs);
	ok(strstr(said, "\nand 403 more\n") != NULL, "and said");
	free(said);
	conf_errors_free(&errs);
	free(big);
}

static void
check_files(void)
{
	char path[] = "/tmp/conf_load.XXXXXX", want[128], *said;
	struct conf_errors errs = { 0 };
	struct conf conf;
	int fd = mkstemp(path);
	size_t len = strlen(GOOD);

	if (fd < 0 || write(fd, GOOD, len) != (ssize_t)len)
		abort();
	is_i64(conf_load(&conf, path, &errs), 0, "a file loads");
	is_u64(errs.count, 0, "without messages");
	if (ftruncate(fd, 10) != 0)
		abort();
	is_i64(conf_load(&conf, path, &errs), -EINVAL, "a cut file does not");
	snprintf(want, sizeof(want), "%s:2: ", path);
	ok(errs.count == 4 && strncmp(errs.text[3], want, strlen(want)) == 0,
	    "messages name file and line");
	conf_errors_free(&errs);
	close(fd);
	unlink(path);
	is_i64(conf_load(&conf, path, &errs), -ENOENT, "a missing file");
	is_i64(conf_load(&conf, "/tmp", &errs), -EISDIR, "a directory");
	said = messages(&errs);
	snprintf(want, sizeof(want),
	    "%s: No such file or directory\n/tmp: Is a directory\n", path);
	is_str(said, want, "are named");
	free(said);
	conf_errors_free(&errs);
}

int
main(void)
{
	check_defaults();
	check_peers();
	check_derived_sizes();
	check_values();
	check_refusals();
	check_lengths();
	check_bounds();
	check_files();
	return tap_done();
}
