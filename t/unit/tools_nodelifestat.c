/*
 * nodelifestat on regions made for it: what is put in comes out, in each way
 * to show it; -w reaches, fails and times out as nodelifestat(8) says; a node
 * that died, ended or was replaced is called so, and followed to its new
 * region; a damaged region is refused.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/region.h"
#include "t/tap.h"

#define WALBUF_SIZE (UINT64_C(1) << 20)
#define TABLE_SIZE  (UINT64_C(8) << 20)

static char program[512], run_dir[64];

/* Run `nodelifestat -r run_dir args...` (shell words), take its output. */
static int
stat_run(const char *args, char *out, size_t size)
{
	char command[1200];
	size_t n;
	FILE *p;
	int status;

	snprintf(command, sizeof(command), "%s -r %s %s 2>&1", program, run_dir,
	    args);
	p = popen(command, "r");
	if (p == NULL)
		return -1;
	n = fread(out, 1, size - 1, p);
	out[n] = '\0';
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
region_new(struct region *r, char *why, size_t why_size)
{
	struct region_spec spec = {
		.node = "n1",
		.group = "test",
		.data_dir = "/nowhere",
		.run_dir = run_dir,
		.client_addr = "127.0.0.1:1234",
		.http_addr = "127.0.0.1:1235",
		.walbuf_size = WALBUF_SIZE,
		.table_size = TABLE_SIZE,
		.gateway_count = 1,
		.node_restarts = 2,
	};

	return region_create(r, &spec, why, why_size);
}

static void
region_make(struct region *r)
{
	char why[256] = "";

	if (!ok(region_new(r, why, sizeof(why)) == 0, "a region"))
		diag("%s", why);
}

static void
region_drop(struct region *r)
{
	region_end(r, REGION_ENDED);
	region_unlink(r);
	region_unmap(r);
}

static void
slot_set(struct region *r, unsigned slot, int pid, uint32_t restarts)
{
	struct slot_row *row = &r->slots->row[slot];

	atomic_store_explicit(&row->pid, pid, memory_order_relaxed);
	atomic_store_explicit(&row->incarnation, 1, memory_order_relaxed);
	atomic_store_explicit(&row->restarts, restarts, memory_order_relaxed);
	atomic_store_explicit(&row->last_status, SIGKILL, memory_order_relaxed);
	atomic_store_explicit(&row->state, SLOT_RUNNING, memory_order_release);
}

/* Numbers that nobody else gives. */
static void
region_fill(struct region *r)
{
	struct commit_view view = { .term = 7,
		.epoch = 3,
		.role = ROLE_MASTER,
		.lease_until_ns = UINT64_MAX,
		.member_count = 11,
		.voters = 0x5d3,
		.quorum = quorum_count(5, 7) };
	uint64_t i;

	commit_view_write(r->commit, &view);
	slot_set(r, SLOT_WAL, 4243, 0);
	slot_set(r, SLOT_GATEWAY, 4250, 3);
	atomic_store_explicit(&r->slots->row[SLOT_STORE].state, SLOT_RUNNING,
	    memory_order_relaxed);
	atomic_store_explicit(&r->slots->row[SLOT_STORE].busy_with, BUSY_TABLE,
	    memory_order_relaxed);
	position_set(&r->pos->appended, 1000);
	position_set(&r->pos->durable, 990);
	position_set(&r->pos->committed, epoch_word(3, 980));
	position_set(&r->pos->applied, 970);
	counter_add(r->counters, SLOT_GATEWAY, C_WRITES, 12345678);
	counter_add(r->counters, SLOT_GATEWAY + 1, C_WRITES, 1);
	for (i = 1; i <= 1000; i++)
		hist_add(hist_of(r->hists, SLOT_WAL, H_FLUSH), i * 1000);
	event_add(r, SLOT_GROUP, EVENT_WARN, "the\tten-thousandth event");
}

static void
json_checks(const char *text)
{
	json_t *top = json_loads(text, 0, NULL), *w, *h;
	const char *s = "", *role = "", *last = "", *busy = "";
	json_int_t pid = 0, committed = 0, restarts = 0, node_restarts = 0,
		   p99 = 0, term = 0, members = 0, voters = 0, quorum = 0;

	if (!ok(top != NULL, "-j is JSON"))
		return;
	json_unpack(top, "{s:s, s:s, s:I, s:I, s:I, s:{s:I}}", "state", &s,
	    "role", &role, "supervisor_pid", &pid, "term", &term,
	    "node_restarts", &node_restarts, "positions", "committed",
	    &committed);
	is_str(s, "live", "state");
	is_str(role, "master", "role");
	is_i64(pid, getpid(), "supervisor_pid");
	is_i64(term, 7, "term");
	json_unpack(top, "{s:I, s:I, s:I}", "members", &members, "voters",
	    &voters, "quorum", &quorum);
	ok(members == 11 && voters == 7 && quorum == 5,
	    "members, who of them votes, how many commit at the least");
	is_i64(node_restarts, 2, "node_restarts");
	is_i64(committed, 980, "positions are plain VLSNs");
	is_i64(json_integer_value(
		   json_object_get(json_object_get(top, "counters"), "writes")),
	    12345679, "counters are summed over slots");
	h = json_object_get(json_object_get(top, "histograms"), "wal_flush");
	json_unpack(h, "{s:I}", "p99", &p99);
	ok(p99 > 980000 && p99 < 1000000, "p99 of 1..1000 us: %lld ns",
	    (long long)p99);
	w = json_object_get(top, "workers");
	is_u64(json_array_size(w), 3, "workers: those that are there");
	json_unpack(json_array_get(w, 2), "{s:s, s:I, s:s}", "name", &s,
	    "restarts", &restarts, "last_status", &last);
	is_str(s, "gateway0", "worker name");
	is_i64(restarts, 3, "worker restarts");
	is_str(last, "SIGKILL", "worker's last status");
	json_unpack(json_array_get(w, 1), "{s:s}", "busy", &busy);
	is_str(busy, "table full", "what a worker is held back by");
	json_unpack(json_array_get(json_object_get(top, "events"), 0),
	    "{s:s, s:s}", "text", &s, "level", &last);
	is_str(s, "the?ten-thousandth event", "an event, cleaned");
	is_str(last, "warn", "its level");
	json_decref(top);
}

static bool
lines_fit(const char *text, size_t max)
{
	const char *end;

	for (; (end = strchr(text, '\n')) != NULL; text = end + 1)
		if ((size_t)(end - text) > max) {
			diag("%.*s", (int)(end - text), text);
			return false;
		}
	return true;
}

static void
test_show(void)
{
	static char out[262144];
	struct region r;

	region_make(&r);
	region_fill(&r);
	is_i64(stat_run("-j", out, sizeof(out)), 0, "-j");
	json_checks(out);
	is_i64(stat_run("", out, sizeof(out)), 0, "the screen");
	ok(lines_fit(out, 79), "fits 80 columns");
	ok(strstr(out, "n1 in test   master, term 7") != NULL, "its title");
	ok(strstr(out, "12,345,679") != NULL, "its counters");
	ok(strstr(out, "store is held back: table full") != NULL,
	    "what holds a worker back");
	ok(strstr(out, "group: the?ten-thousandth event") != NULL,
	    "its events");
	is_i64(stat_run("0.01 3", out, sizeof(out)), 0, "three lines");
	ok(lines_fit(out, 79), "they fit 80 columns");
	/* At a line's start: further on it is a unit of rates. */
	ok(strstr(out, "\nM ") == NULL, "no master's letter while it boots");
	is_i64(stat_run("-j 0.01 2", out, sizeof(out)), 0, "-j INTERVAL");
	ok(strchr(out, '\n') != NULL && strchr(out, '\n')[1] == '{',
	    "an object a line");
	is_i64(stat_run("-e", out, sizeof(out)), 0, "-e");
	ok(strstr(out, " warn  group: the?ten-thousandth event\n") != NULL,
	    "names level and worker");
	region_drop(&r);
}

/* What a terminal of 24 x 80 shows of it at its end, or once `until` is there:
 * rows joined by a blank. */
static void
on_terminal(const char *option, const char *until, char *out, size_t size)
{
	char command[2400];
	size_t n;
	FILE *p;

	snprintf(command, sizeof(command),
	    "%.*s/t/lib/terminal %s %s %s -r %s %s",
	    (int)(strrchr(program, '/') - program), program,
	    until != NULL ? "-u" : "", until != NULL ? until : "", program,
	    run_dir, option);
	p = popen(command, "r");
	n = p != NULL ? fread(out, 1, size - 1, p) : 0;
	out[n] = '\0';
	for (char *at = out; (at = strchr(at, '\n')) != NULL;)
		*at = ' ';
	if (p != NULL)
		pclose(p);
}

/* Three troubles of full length, and all else that there can be. */
static void
test_troubles(void)
{
	static const enum trouble kinds[] = { TROUBLE_CHECKPOINT_FAILED,
		TROUBLE_LOG_STALLED, TROUBLE_STORE_MEMORY };
	static const char *const options[] = { "", "-W" };
	static char out[4096], text[3][FAULT_TEXT_MAX];
	struct region r;
	unsigned i, k;

	region_make(&r);
	region_fill(&r);
	for (i = 0; i < EVENT_COUNT; i++)
		event_add(&r, SLOT_WAL, EVENT_ERROR, "event %u of many", i);
	for (i = 0; i < 3; i++) {
		for (k = 0; strlen(text[i]) < FAULT_TEXT_MAX - 12; k++)
			snprintf(text[i] + strlen(text[i]),
			    FAULT_TEXT_MAX - strlen(text[i]), "word%u.%u ", i,
			    k);
		memset(text[i] + strlen(text[i]), '!',
		    FAULT_TEXT_MAX - 1 - strlen(text[i]));
		trouble_begin_text(&r, kinds[i], "%s", text[i]);
	}
	for (k = 0; k < 2; k++) {
		on_terminal(
		    options[k], k == 0 ? NULL : "word2.5", out, sizeof(out));
		ok(strstr(out, "n1 in test   master, term 7") != NULL,
		    "%s: whose node it is, on the first of 24 rows",
		    k == 0 ? "the screen" : "-W");
		for (i = 0; k == 0 && i < 3; i++)
			ok(strstr(out, text[i]) != NULL, "%s is there whole",
			    trouble_name(kinds[i]));
	}
	region_drop(&r);
}

static void
row_set(struct region *r, unsigned i, enum peer_link link, enum peer_feed feed,
    uint64_t acked, const char *error)
{
	struct peer_row *p = &r->peers->row[i];
	uint64_t now = mono_ns();

	atomic_store(&p->incarnation, 0xabc0 + i);
	atomic_store(&p->link, link);
	atomic_store(&p->feed, feed);
	atomic_store(&p->role, ROLE_REPLICA);
	atomic_store(&p->since_ns, now - 130 * NS_PER_S);
	atomic_store(&p->heard_ns, now - 3 * NS_PER_MS);
	atomic_store(&p->phi_milli, 1500);
	atomic_store(&p->acked, acked);
	atomic_store(&p->flight_bytes, 2048);
	peer_text_set(&p->address, "db.example:7380");
	peer_text_set(&p->error, error);
}

/* Master n1, n2 that takes records, n3 that is refused. */
static void
group_fill(struct region *r)
{
	struct commit_view view = { .term = 7,
		.epoch = 3,
		.role = ROLE_MASTER,
		.lease_until_ns = clock_ns(CLOCK_BOOTTIME) + 60 * NS_PER_S,
		.member_count = 3,
		.voters = 7,
		.quorum = quorum_count(2, 3) };
	unsigned i;

	region_fill(r);
	for (i = 0; i < 3; i++) {
		snprintf(r->commit->name[i], MEMBER_NAME_MAX, "n%u", i + 1);
		snprintf(
		    r->commit->client[i], MEMBER_ADDR_MAX, "h%u:7379", i + 1);
	}
	event_add(r, SLOT_GROUP, EVENT_INFO,
	    "election: stands in term 7: n2 was silent");
	event_add(r, SLOT_GROUP, EVENT_INFO,
	    "role: unknown -> master in term 7: won the term");
	commit_view_write(r->commit, &view);
	row_set(r, 1, PEER_UP, PEER_FEED_LIVE, 977, "");
	row_set(r, 2, PEER_REFUSED, PEER_FEED_NONE, 0,
	    "its group key is another one");
	counter_add(r->counters, SLOT_GROUP, C_ELECTIONS_HELD, 3);
}

static void
group_json(const char *text)
{
	json_t *top = json_loads(text, 0, NULL), *g, *m;
	const char *words = "", *why = "", *link = "", *error = "", *feed = "",
		   *inc = "";
	json_int_t lose = -1, lag = -1, acked = -1;
	int has = 0;

	g = json_object_get(top, "group_state");
	json_unpack(g, "{s:b, s:I, s:s, s:s}", "has_quorum", &has, "can_lose",
	    &lose, "text", &words, "last_election", &why);
	ok(has && lose == 0, "a quorum that can lose none");
	is_str(words, "can lose no more member (2 of 3)", "in words");
	ok(strstr(why, "n2 was silent") != NULL, "why the last election was");
	m = json_array_get(json_object_get(g, "members"), 1);
	json_unpack(m, "{s:s, s:s, s:I, s:I, s:s}", "link", &link, "feed",
	    &feed, "lag", &lag, "acked", &acked, "incarnation", &inc);
	ok(strcmp(link, "connected") == 0 && strcmp(feed, "live") == 0,
	    "a member's link");
	ok(lag == 23 && acked == 977, "how far it is");
	is_str(inc, "000000000000abc1", "its incarnation");
	m = json_array_get(json_object_get(g, "members"), 2);
	json_unpack(m, "{s:s, s:s}", "link", &link, "error", &error);
	is_str(link, "refused", "another one's");
	is_str(error, "its group key is another one", "and why");
	ok(json_is_null(json_object_get(m, "lag")), "nobody knows its lag");
	json_decref(top);
}

/* A group of three fits a terminal with its newest event and each error. */
static void
test_group(void)
{
	static const char *const want[] = { "n1 in test   master, term 7",
		"group: can lose no more member (2 of 3), lease ",
		"elections 3, won 0", "master n1, last election ",
		" ago: stands in term 7: n2 was silent",
		"n2           replica live         2m", "977       23    2.0K",
		"n3           -       refused      2m",
		"its group key is another one", "supervisor: the newest" };
	static char out[262144];
	struct commit_view view;
	struct region r;
	unsigned i;

	region_make(&r);
	group_fill(&r);
	event_add(&r, SLOT_SUPERVISOR, EVENT_INFO, "the newest");
	is_i64(stat_run("-j", out, sizeof(out)), 0, "-j of a group");
	group_json(out);
	is_i64(stat_run("", out, sizeof(out)), 0, "its screen");
	ok(lines_fit(out, 79), "fits 80 columns");
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		ok(strstr(out, want[i]) != NULL, "has: %s", want[i]);
	on_terminal("-W", "newest", out, sizeof(out));
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		ok(strstr(out, want[i]) != NULL, "24 rows have: %s: %s",
		    want[i], out);
	commit_view_read(r.commit, &view);
	atomic_store(&r.peers->row[1].feed, PEER_FEED_SEGMENTS);
	stat_run("", out, sizeof(out));
	ok(strstr(out, "group: no quorum: 1 of 3, 2 needed, 1 connected and "
		       "not in step") != NULL,
	    "who is fed from files acknowledges nothing yet: %s", out);
	view.role = ROLE_REPLICA;
	view.self = 1;
	view.master = 0;
	row_set(&r, 0, PEER_UP, PEER_FEED_FROM, 0, "");
	row_set(&r, 2, PEER_UP, PEER_FEED_NONE, 0, "");
	commit_view_write(r.commit, &view);
	stat_run("", out, sizeof(out));
	ok(strstr(out, "group: can lose 1 more member (3 of 3)") != NULL,
	    "a replica goes by who is connected: %s", out);
	region_drop(&r);
}

/* The same by nodelifectl. */
static void
ctl_run(const char *args, char *out, size_t size)
{
	char command[1200];
	size_t n;
	FILE *p;

	snprintf(command, sizeof(command), "%.*s/nodelifectl -r %s %s 2>&1",
	    (int)(strrchr(program, '/') - program), program, run_dir, args);
	p = popen(command, "r");
	n = p != NULL ? fread(out, 1, size - 1, p) : 0;
	out[n] = '\0';
	if (p != NULL)
		pclose(p);
}

static void
test_members(void)
{
	static char out[16384];
	struct commit_view view;
	struct region r;
	const char *name = "";
	json_t *top;

	region_make(&r);
	group_fill(&r);
	seq_seal(r.seq);
	ctl_run("members", out, sizeof(out));
	ok(strstr(out, "master, term 7: can lose no more member (2 of 3)\n") !=
		NULL,
	    "nodelifectl members: the group: %s", out);
	ok(strstr(out,
	       "\nn2      replica  live     h2:7379  "
	       "db.example:7380  000000000000abc1  0      0        23\n") !=
		NULL,
	    "a row of a member");
	ok(strstr(out, "\nn3: refused: its group key is another one\n") != NULL,
	    "and why one is not there");
	ctl_run("members --json", out, sizeof(out));
	top = json_loads(out, 0, NULL);
	json_unpack(top, "{s:[{}, {}, {s:s}]}", "members", "name", &name);
	ok(strcmp(name, "n3") == 0, "as JSON: %s", out);
	json_decref(top);
	ctl_run("status", out, sizeof(out));
	ok(strstr(out, "serving\ngroup: can lose no more member (2 of 3)\n"
		       "n3: refused: its group key is another one\n") != NULL,
	    "status: %s", out);
	commit_view_read(r.commit, &view);
	view.role = ROLE_REPLICA;
	view.self = 2;
	view.master = 0;
	row_set(&r, 0, PEER_UP, PEER_FEED_FROM, 0, "");
	commit_view_write(r.commit, &view);
	ctl_run("status", out, sizeof(out));
	ok(strstr(out,
	       "serving, but writes are refused: a replica: the master "
	       "is n1 at h1:7379\ngroup: can lose 1 more member") != NULL,
	    "of a replica: %s", out);
	region_drop(&r);
}

static void
test_unjoined(void)
{
	static char out[262144];
	struct commit_view view = { .self = MEMBER_MAX, .master = -1 };
	struct region r;

	region_make(&r);
	commit_view_write(r.commit, &view);
	stat_run("", out, sizeof(out));
	ok(strstr(out, "group:") == NULL, "a node by itself shows no group");
	row_set(&r, 0, PEER_UP, PEER_FEED_NONE, 0, "");
	peer_text_set(&r.peers->row[0].name, "n2");
	stat_run("", out, sizeof(out));
	ok(strstr(out, "group: of no group yet") != NULL &&
		strstr(out, "nodelifectl found") != NULL &&
		strstr(out, "n2           replica connected") != NULL,
	    "one that waits to be founded shows who is there: %s", out);
	region_drop(&r);
}

/* Fire gates and fail while `-w` waits. */
static void
test_wait(void)
{
	static char out[4096];
	struct region r;

	region_make(&r);
	seq_register(r.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "wal scan");
	seq_register(r.seq, PHASE_WARM_PEERS, SLOT_GROUP, "peers");
	seq_seal(r.seq);
	is_i64(stat_run("-w boot -t 5", out, sizeof(out)), 0,
	    "-w of a phase that is reached");
	is_i64(stat_run("-w wal_recovery -t 0.05", out, sizeof(out)), 2,
	    "-w times out");
	ok(strstr(out, "wal_recovery waits for: wal scan of wal") != NULL,
	    "and names the pending gate");
	seq_fire(r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	is_i64(stat_run("-w transport_bind -t 5", out, sizeof(out)), 0,
	    "phases without gates chain");
	seq_fail(r.seq, PHASE_WARM_PEERS, SLOT_GROUP, "no peer: it is dark");
	is_i64(stat_run("-w warm_peers -t 5", out, sizeof(out)), 1,
	    "-w of a boot that failed");
	ok(strstr(out, "it is dark") != NULL, "says the cause");
	region_drop(&r);
	is_i64(stat_run("-w warm_peers -t 0.05", out, sizeof(out)), 2,
	    "-w without a region keeps looking");
	is_i64(stat_run("", out, sizeof(out)), 1, "no region, no screen");
	is_i64(stat_run("-w never", out, sizeof(out)), 64, "no such phase");
	is_i64(stat_run("-w failed", out, sizeof(out)), 64,
	    "failed is no phase to wait for");
}

/* A waiter that sleeps is woken by the fire, not by a look. */
static void
test_wakes(void)
{
	uint64_t begin;
	struct region r;
	char command[900];
	FILE *p;
	int status;

	region_make(&r);
	seq_register(r.seq, PHASE_WAL_RECOVERY, SLOT_WAL, "wal scan");
	seq_seal(r.seq);
	snprintf(command, sizeof(command),
	    "echo; exec %s -r %s -w gateway_enable -t 60", program, run_dir);
	p = popen(command, "r");
	ok(p != NULL && fgetc(p) == '\n', "a waiter");
	begin = tap_now_ms();
	seq_fire(r.seq, PHASE_WAL_RECOVERY, SLOT_WAL);
	status = pclose(p);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
		tap_now_ms() - begin < 30000,
	    "is there when the gate is fired");
	region_drop(&r);
}

/* A region whose maker is gone, in `state`. */
static void
region_of_the_dead(enum region_state state)
{
	struct region r;
	char why[256];
	pid_t pid = fork();

	if (pid == 0) {
		if (region_new(&r, why, sizeof(why)) != 0)
			_exit(1);
		region_fill(&r);
		event_add_as(&r, SLOT_SUPERVISOR, EVENT_ERROR, EVENT_CAUSE,
		    "the node stops: its disk is gone");
		seq_shutdown(r.seq, SHUTDOWN_DRAINING_LISTENERS);
		/* What is told of the end is not the cause of it. */
		trouble_begin_text(
		    &r, TROUBLE_LOG_STALLED, "wal: flush of VLSN 7: in flight");
		event_add(&r, SLOT_SUPERVISOR, EVENT_ERROR,
		    "wal (pid 7): killed 5 s ago and still there");
		trouble_end(&r, TROUBLE_LOG_STALLED);
		event_add(&r, SLOT_SUPERVISOR, EVENT_WARN,
		    "stop: draining_clients: wal (pid 7) not done in 5000 ms: "
		    "killed");
		event_add_as(&r, SLOT_SUPERVISOR, EVENT_INFO, EVENT_ASIDE,
		    "the node has stopped, exit code 70");
		if (state != REGION_LIVE)
			region_end(&r, state);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void
test_gone(void)
{
	static const struct {
		enum region_state state;
		const char *word;
	} table[] = { { REGION_LIVE, "dead" }, { REGION_ENDED, "ended" },
		{ REGION_SUPERSEDED, "superseded" } };
	static char out[262144];
	char want[64];
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		region_of_the_dead(table[i].state);
		snprintf(
		    want, sizeof(want), "\"state\": \"%s\"", table[i].word);
		is_i64(stat_run("-j", out, sizeof(out)), 0, table[i].word);
		ok(strstr(out, want) != NULL, "-j says %s", table[i].word);
		is_i64(stat_run("", out, sizeof(out)), 0, "on the screen");
		ok(strstr(out, table[i].word) != NULL, "it is %s, too",
		    table[i].word);
		if (table[i].state == REGION_ENDED)
			ok(strstr(out, "ended: the node stops: its disk is") !=
				    NULL &&
				strstr(out, "stopping:") == NULL,
			    "and says why, not what it did last: %s", out);
		is_i64(stat_run("-w gateway_enable", out, sizeof(out)), 1,
		    "nothing to wait for");
		ok(strstr(out, "its disk is gone") != NULL,
		    "with the cause: %s", out);
		ok(strstr(out, table[i].word) != NULL, "and why: %s",
		    table[i].word);
	}
}

/* `nodelifestat -e -f`: its pid, what it prints at *out. */
static pid_t
follower(FILE **out)
{
	int fd[2];
	pid_t pid;

	if (pipe(fd) != 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0) {
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		execl(
		    program, program, "-r", run_dir, "-e", "-f", (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	*out = fdopen(fd[0], "r");
	return pid;
}

/* Read until a line holds the text; true if one before held `other`. */
static bool
seen_before(FILE *in, const char *text, const char *other)
{
	char line[512];
	bool seen = false;

	while (
	    fgets(line, sizeof(line), in) != NULL && strstr(line, text) == NULL)
		seen = seen || strstr(line, other) != NULL;
	return seen;
}

/* Why a node boots again is the last that its old region says. */
static void
test_follow(void)
{
	struct region old, fresh;
	FILE *out = NULL;
	pid_t pid;

	region_make(&old);
	event_add(&old, SLOT_SUPERVISOR, EVENT_INFO, "first");
	pid = follower(&out);
	if (!ok(pid > 0 && out != NULL, "somebody follows the events"))
		return;
	seen_before(out, "first", "");
	event_add(&old, SLOT_SUPERVISOR, EVENT_ERROR, "the cause");
	region_make(&fresh);
	region_end(&old, REGION_SUPERSEDED);
	region_unmap(&old);
	event_add(&fresh, SLOT_SUPERVISOR, EVENT_INFO, "booting");
	ok(seen_before(out, "booting", "the cause"),
	    "and is told why the node boots again");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	fclose(out);
	region_drop(&fresh);
}

/* Every byte of the head damaged once: refused or shown, never a crash. */
static void
test_damage(void)
{
	static char out[262144];
	char path[128], command[900];
	struct region_head head, bad;
	unsigned char *at = (unsigned char *)&bad;
	int fd, rc, wrong = 0;
	size_t i;

	region_of_the_dead(REGION_LIVE);
	snprintf(path, sizeof(path), "%s/region", run_dir);
	fd = open(path, O_RDWR);
	if (!ok(fd != -1 &&
		    pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head),
		"a region to damage"))
		return;
	for (i = 0; i < sizeof(head); i += i < 48 ? 1 : 61) {
		bad = head;
		at[i] ^= 0xff;
		if (pwrite(fd, &bad, sizeof(bad), 0) != (ssize_t)sizeof(bad))
			break;
		rc = stat_run("-j", out, sizeof(out));
		if (rc != 0 && rc != 1) {
			diag("byte %zu: exit %d: %.200s", i, rc, out);
			wrong++;
		}
	}
	is_i64(wrong, 0, "a damaged head is refused or shown");
	close(fd);
	snprintf(command, sizeof(command), "%s/short", run_dir);
	fd = open(command, O_CREAT | O_WRONLY, 0600);
	if (fd != -1)
		close(fd);
	snprintf(command, sizeof(command), "%s -r %s/short -j 2>&1", program,
	    run_dir);
	rc = system(command);
	ok(WIFEXITED(rc) && WEXITSTATUS(rc) == 1, "no region is no region");
}

static void
clean(void)
{
	static const char *const name[] = { "region", "region.prev", "short" };
	char path[128], target[256];
	ssize_t n;
	size_t i;

	for (i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", run_dir, name[i]);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 0) {
			target[n] = '\0';
			unlink(target);
		}
		unlink(path);
	}
	rmdir(run_dir);
}

int
main(int argc, char **argv)
{
	char *slash;

	(void)argc;
	snprintf(program, sizeof(program), "%s", argv[0]);
	/* BUILD/t/unit/NAME -> BUILD/nodelifestat */
	for (int i = 0; i < 3; i++)
		if ((slash = strrchr(program, '/')) != NULL)
			*slash = '\0';
	strncat(
	    program, "/nodelifestat", sizeof(program) - strlen(program) - 1);
	if (access(program, X_OK) != 0)
		skip_all("%s is not built", program);
	snprintf(run_dir, sizeof(run_dir), "/tmp/nodelifestat.XXXXXX");
	if (mkdtemp(run_dir) == NULL)
		return 1;
	test_show();
	test_troubles();
	test_group();
	test_members();
	test_unjoined();
	test_wait();
	test_wakes();
	test_gone();
	test_follow();
	test_damage();
	clean();
	return tap_done();
}
