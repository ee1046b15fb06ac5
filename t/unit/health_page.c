/*
 * The pages over a region that is put into each state a node can be in:
 * codes, keys and facts of every page, what is refused, and that /metrics is
 * well-formed and moves with what it counts.
 */
#include <jansson.h>

#include "ipc/msg_vote.h"
#include "t/shm_fixture.h"
#include "workers/health/page.h"

static struct fixture f;
static struct conf conf;
static struct page page;
static json_t *body;

/* Ask for a page; its JSON is in `body` until the next call. */
static unsigned
get_at(const char *method, const char *path, const char *want, uint64_t now_ns)
{
	text_free(&page.body);
	json_decref(body);
	page_make(&page, method, path, want, &f.r, &conf, now_ns);
	body =
	    page.body.data != NULL ? json_loads(page.body.data, 0, NULL) : NULL;
	return page.code;
}

static unsigned
get(const char *path)
{
	return get_at("GET", path, NULL, mono_ns());
}

static const char *
text(const char *key)
{
	const char *s = json_string_value(json_object_get(body, key));

	return s != NULL ? s : "(none)";
}

static bool
truth(const char *key)
{
	return json_is_true(json_object_get(body, key));
}

static int64_t
number(const char *key)
{
	json_t *v = json_object_get(body, key);

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

static void
open_region(enum recovery_mode mode)
{
	fixture_dir(&f);
	f.spec.recovery_mode = mode;
	if (region_create(&f.r, &f.spec, (char[256]){ 0 }, 256) != 0)
		skip_all("no region can be made here");
}

/* All phases but those of `held`, whose gate stays pending. */
static void
boot_to(enum phase held)
{
	unsigned p;

	for (p = 1; p <= PHASE_GATEWAY_ENABLE; p++)
		seq_register(f.r.seq, p, p == held ? SLOT_STORE : SLOT_WAL,
		    "a \"gate\"");
	seq_opened(f.r.seq, SLOT_WAL);
	seq_opened(f.r.seq, SLOT_STORE);
	seq_seal(f.r.seq);
	for (p = 1; p <= PHASE_GATEWAY_ENABLE; p++)
		if (p != held)
			seq_fire(f.r.seq, p, SLOT_WAL);
}

static void
be(enum role role, uint64_t committed)
{
	struct commit_view v = { .term = 7,
		.epoch = 1,
		.role = (uint8_t)role,
		.master = role == ROLE_MASTER ? 0 : -1,
		.member_count = 1,
		.voters = 1,
		.quorum = quorum_count(1, 1),
		.lease_until_ns = UINT64_MAX };

	strcpy(f.r.commit->name[0], "unit");
	position_set(&f.r.pos->term_start, epoch_word(1, 5));
	position_set(&f.r.pos->committed, epoch_word(1, committed));
	position_set(&f.r.pos->applied, committed);
	commit_view_write(f.r.commit, &v);
}

static void
test_starting(void)
{
	static const char *const keys[] = { "status", "phase", "is_ready",
		"is_alive", "is_booting", "progress_percent",
		"progress_message", "phase_elapsed_ms", "total_elapsed_ms",
		"remaining_budget_ms", "failure_reason", "wal_records_replayed",
		"wal_bytes_processed" };
	const char *key;
	json_t *gate, *value;
	unsigned at = 0, wrong = 0;

	open_region(RECOVERY_NORMAL);
	is_u64(get("/startupz"), 503, "before the boot: not started");
	boot_to(PHASE_DATA_GROUPS_REPLAY);
	seq_progress_set(
	    f.r.seq, SLOT_STORE, 30, 100, 3000, 10000, "apply\n\xff\"\\");
	is_u64(get("/startupz"), 503, "booting: not started");
	is_str(text("status"), "starting", "says starting");
	is_str(text("phase"), "catalog_sanity_check", "and the phase");
	gate = json_array_get(json_object_get(body, "pending_gates"), 0);
	is_str(json_string_value(json_object_get(gate, "subsystem")), "store",
	    "the pending gate's subsystem");
	is_str(json_string_value(json_object_get(gate, "phase")),
	    "data_groups_replay", "its phase");
	is_str(json_string_value(json_object_get(gate, "name")), "a \"gate\"",
	    "its name");
	ok(json_is_integer(json_object_get(gate, "waited_ms")),
	    "how long it waits");
	is_u64(get("/readyz"), 503, "not ready");
	ok(!truth("can_read") && !truth("can_write"), "serves nothing");
	is_u64(get("/livez"), 200, "but alive");
	is_u64(get("/healthz"), 503, "not healthy");
	json_object_foreach(body, key, value)
	{
		if (at < NITEMS(keys))
			wrong += strcmp(key, keys[at++]) != 0;
	}
	is_u64(wrong, 0, "keys come in the documented order");
	ok(truth("is_booting") && !truth("is_ready") && truth("is_alive"),
	    "booting");
	is_i64(number("progress_percent"), 30, "progress");
	is_str(text("progress_message"), "apply??\"\\", "any byte is safe");
	ok(number("remaining_budget_ms") > 0 &&
		number("remaining_budget_ms") <=
		    (int64_t)conf.boot.recover_budget_ms,
	    "some of the budget is left");
	is_str(text("stage"), "recover", "stage");
	seq_fire(f.r.seq, PHASE_DATA_GROUPS_REPLAY, SLOT_STORE);
	is_u64(get("/startupz"), 200, "booted");
	fixture_close(&f);
}

static void
test_serving(void)
{
	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	be(ROLE_UNKNOWN, 9);
	is_u64(get("/readyz"), 200, "ready without a master");
	ok(json_is_null(json_object_get(body, "master")) &&
		!truth("can_read") && !truth("can_write"),
	    "facts of their own");
	is_u64(get_at("GET", "/readyz", "write", mono_ns()), 503,
	    "not for who wants to write");
	is_str(text("status"), "degraded", "which is not told as ok");
	be(ROLE_MASTER, 4);
	is_u64(get("/readyz"), 200, "master");
	ok(!truth("can_read") && truth("can_write"),
	    "no linearizable read before the term's first record");
	be(ROLE_MASTER, 5);
	get("/readyz");
	ok(truth("can_read"), "and one behind it");
	is_str(text("status"), "ok", "ok");
	is_str(text("role"), "master", "role");
	is_str(text("master"), "unit", "the master's name");
	is_i64(number("term"), 7, "term");
	is_u64(get_at("GET", "/readyz", "write", mono_ns()), 200, "writes");
	is_u64(get_at("GET", "/readyz", "read", mono_ns()), 200, "reads");
	is_u64(get_at("GET", "/readyz", "master", mono_ns()), 200, "master");
	is_u64(get_at("GET", "/readyz", "x", mono_ns()), 400, "or nothing");
	trouble_begin_text(&f.r, TROUBLE_LOG_FULL, "the log has no room");
	get("/readyz");
	ok(!truth("can_write") && truth("can_read"), "a full log: no writes");
	is_str(text("status"), "ok", "ready for who did not ask for them");
	is_u64(get_at("GET", "/readyz", "write", mono_ns()), 503, "else not");
	is_str(text("status"), "degraded", "and its word agrees");
	is_u64(get_at("GET", "/readyz", "read", mono_ns()), 200, "reads");
	is_str(text("status"), "ok", "are ok");
	is_u64(get("/healthz"), 200, "healthy");
	is_i64(number("remaining_budget_ms"), 0, "no budget runs any more");
	ok(json_is_null(json_object_get(body, "failure_reason")), "no failure");
	ok(truth("no_space"), "the full log is told");
	trouble_begin_text(&f.r, TROUBLE_SERVER_SILENT, "store: no heartbeat");
	is_u64(get("/readyz"), 503, "nobody is served: not ready");
	is_str(text("status"), "stuck", "says stuck");
	ok(!truth("can_read"), "no reads");
	is_u64(get("/startupz"), 200, "started");
	trouble_end(&f.r, TROUBLE_SERVER_SILENT);
	is_u64(get("/readyz"), 200, "and when it is over");
	atomic_store(&f.r.slots->row[SLOT_STORE].busy_with, BUSY_TABLE);
	trouble_begin_text(&f.r, TROUBLE_STORE_WAITS, "data.mdb: no room");
	get("/readyz");
	ok(truth("can_read") && !truth("can_write"), "a store without room");
	position_set(&f.r.pos->refuses, REFUSES_DELETES);
	is_u64(get("/readyz"), 503, "for so long that reads get errors");
	ok(!truth("can_read"), "says so");
	is_u64(get_at("GET", "/readyz", "read", mono_ns()), 503, "who reads");
	atomic_store(&f.r.slots->row[SLOT_STORE].busy_with, BUSY_NOT);
	is_u64(get("/readyz"), 200, "what is applied is read");
	position_set(&f.r.pos->refuses, REFUSES_NOTHING);
	trouble_end(&f.r, TROUBLE_STORE_WAITS);

	seq_shutdown(f.r.seq, SHUTDOWN_DRAINING_LISTENERS);
	is_u64(get("/readyz"), 503, "draining: not ready");
	is_str(text("status"), "draining", "says draining");
	is_str(text("shutdown"), "draining_listeners", "and the step");
	ok(!truth("can_write"), "writes are over");
	is_u64(get("/livez"), 200, "alive");
	is_u64(get("/startupz"), 200, "started");
	is_u64(get("/healthz"), 503, "not healthy");
	ok(truth("draining") && !truth("is_booting"), "draining");
	fixture_close(&f);
}

static void
test_readonly(void)
{
	struct commit_view v = { .readonly = 1, .master = -1 };

	open_region(RECOVERY_READONLY);
	boot_to(PHASE_COUNT);
	commit_view_write(f.r.commit, &v);
	is_u64(get("/readyz"), 200, "readonly: ready");
	is_str(text("status"), "read-only", "says read-only");
	is_str(text("recovery_mode"), "readonly", "and the mode");
	ok(!truth("can_write"), "writes are refused");
	is_u64(get_at("GET", "/readyz", "write", mono_ns()), 503, "as asked");
	fixture_close(&f);
}

static void
test_failed(void)
{
	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_WAL_RECOVERY);
	seq_fail(
	    f.r.seq, PHASE_WAL_RECOVERY, SLOT_STORE, "wal: segment 7: damaged");
	is_u64(get("/startupz"), 503, "failed: not started");
	is_str(text("status"), "failed", "says failed");
	is_str(text("error"), f.r.seq->error, "and why");
	is_u64(get("/readyz"), 503, "not ready");
	is_u64(get("/livez"), 503, "not alive");
	is_u64(get("/healthz"), 503, "not healthy");
	ok(strstr(text("failure_reason"), "segment 7") != NULL, "the reason");
	fixture_close(&f);
}

static void
test_stuck(void)
{
	struct slot_row *row;
	uint64_t now = mono_ns(), limit;

	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	limit = 2 * conf.liveness.timeout_ms * NS_PER_MS;
	row = &f.r.slots->row[SLOT_STORE];
	atomic_store(&row->state, SLOT_RUNNING);
	atomic_store(&row->heartbeat_ns, now);
	is_u64(get_at("GET", "/livez", NULL, now + limit), 200,
	    "silent for twice the time-out");
	is_u64(get_at("GET", "/livez", NULL, now + limit + NS_PER_MS), 503,
	    "and longer: not alive");
	is_str(text("worker"), "store", "names the worker");
	ok(number("silent_ms") > 0, "and its silence");
	atomic_store(&row->state, SLOT_BACKOFF);
	is_u64(get_at("GET", "/livez", NULL, now + 2 * limit), 200,
	    "who is not there is not stuck");
	fixture_close(&f);
}

/* Each line is a comment or "name{labels} value"; buckets never fall. */
static unsigned
metrics_wrong(char *all)
{
	char *line, *save = NULL, last[128] = "";
	unsigned long long value, before = 0;
	unsigned wrong = 0;

	for (line = strtok_r(all, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strrchr(line, ' '), *end;

		if (strncmp(line, "# ", 2) == 0)
			continue;
		wrong += strncmp(line, "nodelife_", 9) != 0 || space == NULL;
		if (space == NULL)
			continue;
		strtod(space + 1, &end);
		wrong += *end != '\0' || end == space + 1;
		*space = '\0';
		if (strstr(line, "_bucket{") == NULL)
			continue;
		value = strtoull(space + 1, NULL, 10);
		*strchr(line, '{') = '\0';
		wrong += strcmp(line, last) == 0 && value < before;
		snprintf(last, sizeof(last), "%s", line);
		before = value;
	}
	return wrong;
}

static bool
has(const char *line)
{
	return strstr(page.body.data, line) != NULL;
}

static void
test_metrics(void)
{
	unsigned i, missing = 0;
	char name[128];

	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	be(ROLE_MASTER, 9);
	for (i = 0; i < COUNTER_COUNT; i++)
		counter_add(f.r.counters, SLOT_WAL, i, i + 1);
	counter_add(f.r.counters, SLOT_GATEWAY, C_COMMANDS, 1000);
	hist_add(&f.r.hists->worker[H_FLUSH], 90 * 1000);
	hist_add(&f.r.hists->worker[H_FLUSH], 3 * NS_PER_MS);
	hist_add(&f.r.hists->worker[H_FLUSH_RECORDS], 4);
	atomic_store(&f.r.slots->row[SLOT_WAL].state, SLOT_RUNNING);
	atomic_store(&f.r.slots->row[SLOT_WAL].restarts, 3);
	atomic_store(&f.r.slots->row[SLOT_WAL].heartbeat_ns, mono_ns());
	atomic_store(&f.r.slots->row[SLOT_GATEWAY].state, SLOT_RUNNING);
	atomic_store(
	    &f.r.slots->row[SLOT_GATEWAY].write_ns, mono_ns() - 3 * NS_PER_S);
	atomic_store(&f.r.slots->row[SLOT_GATEWAY + 1].write_ns, 1);
	strcpy(f.r.head->group, "a\"b\\c\n");
	is_u64(get("/metrics"), 200, "metrics");
	is_str(page.type, "text/plain; version=0.0.4; charset=utf-8", "type");
	for (i = 0; i < COUNTER_COUNT; i++) {
		snprintf(name, sizeof(name), "\nnodelife_%s_total %u\n",
		    counter_name(i), i == C_COMMANDS ? i + 1001 : i + 1);
		missing += !has(name);
	}
	is_u64(missing, 0, "every counter is there, summed over slots");
	ok(has("nodelife_wal_flush_seconds_bucket{le=\"0.0001\"} 1\n"),
	    "90 us lie below 100 us");
	ok(has("nodelife_wal_flush_seconds_bucket{le=\"0.005\"} 2\n"),
	    "3 ms below 5 ms");
	ok(has("nodelife_wal_flush_seconds_bucket{le=\"+Inf\"} 2\n") &&
		has("nodelife_wal_flush_seconds_count 2\n") &&
		has("nodelife_wal_flush_seconds_sum 0.00309\n"),
	    "count and sum");
	ok(has("nodelife_wal_flush_records_bucket{le=\"5\"} 1\n"), "records");
	ok(has("nodelife_position{name=\"committed\"} 9\n"), "positions");
	ok(has("nodelife_role{role=\"master\"} 1\n") &&
		has("nodelife_role{role=\"replica\"} 0\n"),
	    "role");
	ok(has("nodelife_worker_up{worker=\"wal\"} 1\n") &&
		has("nodelife_worker_slot_restarts_total{worker=\"wal\"} 3\n"),
	    "workers");
	ok(has("nodelife_phase{phase=\"gateway_enable\"} 1\n"), "phase");
	ok(has("\nnodelife_oldest_write_seconds 3."),
	    "the oldest write of the gateways that run");
	ok(has("group=\"a\\\"b\\\\c\\n\""), "label values are escaped");
	is_u64(metrics_wrong(page.body.data), 0, "the format is kept");
	fixture_close(&f);
}

/* Rows show what members tell each other, by the same bits. */
static const uint32_t flags_of_wire[] = { ROUND_NO_SPACE, ROUND_STALLED,
	ROUND_LOG_CLOSED, ROUND_BEHIND, ROUND_WANTS_RESTORE };
static const uint32_t flags_shown[] = {
#define X(bit, name, text) bit,
	MEMBER_FLAGS(X)
#undef X
};

/* n1 is this node, n2 takes records, n3 is refused. */
static void
group_of_three(enum role role)
{
	struct commit_view v = { .term = 7,
		.epoch = 1,
		.role = (uint8_t)role,
		.master = role == ROLE_MASTER    ? 0
			  : role == ROLE_REPLICA ? 1
						 : -1,
		.member_count = 3,
		.voters = 7,
		.quorum = quorum_count(2, 3),
		.lease_until_ns = role == ROLE_MASTER
				      ? clock_ns(CLOCK_BOOTTIME) + 60 * NS_PER_S
				      : 0 };
	struct peer_row *row = f.r.peers->row;
	unsigned i;

	for (i = 0; i < 3; i++) {
		snprintf(f.r.commit->name[i], MEMBER_NAME_MAX, "n%u", i + 1);
		snprintf(
		    f.r.commit->client[i], MEMBER_ADDR_MAX, "h%u:7379", i + 1);
		atomic_store(&row[i].heard_ns, mono_ns());
		atomic_store(&row[i].since_ns, mono_ns());
	}
	atomic_store(&row[1].link, PEER_UP);
	atomic_store(&row[1].feed,
	    role == ROLE_MASTER ? PEER_FEED_LIVE : PEER_FEED_FROM);
	atomic_store(&row[1].acked, 7);
	atomic_store(&row[1].flags, 0);
	atomic_store(&row[1].flight_bytes, 512);
	atomic_store(&row[2].link, PEER_REFUSED);
	atomic_store(&row[2].behind_ns, mono_ns() - 12 * NS_PER_S);
	peer_text_set(&row[2].error, "another \"group\" key");
	position_set(&f.r.pos->term_start, epoch_word(1, 5));
	position_set(&f.r.pos->committed, epoch_word(1, 9));
	position_set(&f.r.pos->appended, 10);
	position_set(&f.r.pos->applied, 9);
	commit_view_write(f.r.commit, &v);
}

static const char *
in(const char *key, const char *inner)
{
	const char *s = json_string_value(
	    json_object_get(json_object_get(body, key), inner));

	return s != NULL ? s : "(none)";
}

static void
test_group(void)
{
	const char *error = "", *name = "";
	json_t *n3;

	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	group_of_three(ROLE_MASTER);
	is_u64(get("/readyz"), 200, "a master of three");
	ok(truth("can_read") && truth("can_write") &&
		truth("can_read_eventual"),
	    "serves all");
	ok(json_is_null(json_object_get(body, "reason")), "for no reason not");
	is_str(in("quorum", "text"), "can lose no more member (2 of 3)",
	    "and tells what it can lose");
	atomic_store(&f.r.peers->row[1].flags, 1);
	is_u64(get("/readyz"), 200, "without a quorum it is ready");
	ok(!truth("can_write"), "and not for writes");
	is_str(text("reason"),
	    "the group has no quorum: 1 of 3, 2 needed, 1 "
	    "connected and not in step",
	    "says why");
	is_u64(get_at("GET", "/readyz", "write", mono_ns()), 503, "as asked");

	group_of_three(ROLE_REPLICA);
	is_u64(get("/readyz"), 200, "a replica is ready, too");
	is_str(text("role"), "replica", "as what it is");
	is_str(text("reason"), "a replica: the master is n2 at h2:7379",
	    "says where to write");
	is_str(text("master_address"), "h2:7379", "for programs, too");
	ok(truth("can_read_eventual") && !truth("can_read") &&
		!truth("can_write"),
	    "serves eventual reads");
	is_u64(get_at("GET", "/readyz", "master", mono_ns()), 503,
	    "no master for a load balancer");
	is_u64(get_at("GET", "/readyz", "replica", mono_ns()), 200,
	    "a replica for it");

	group_of_three(ROLE_UNKNOWN);
	peers_no_master_set(
	    f.r.peers, mono_ns() - 3 * NS_PER_S, "n2 is silent");
	is_u64(get("/readyz"), 200, "no master: ready for eventual reads");
	ok(strncmp(text("reason"), "no master for 3", 15) == 0 &&
		strstr(text("reason"), "ms: n2 is silent") != NULL,
	    "says since when and why: %s", text("reason"));
	is_u64(get_at("GET", "/readyz", "read", mono_ns()), 503,
	    "who wants more is told");
	is_u64(get_at("GET", "/readyz", "replica", mono_ns()), 503,
	    "and it follows nobody");
	is_u64(get("/livez"), 200, "a probe that kills does not look at it");

	is_u64(get("/healthz"), 200, "the rows");
	n3 = json_array_get(json_object_get(body, "members"), 2);
	json_unpack(n3, "{s:s, s:s}", "name", &name, "error", &error);
	is_str(name, "n3", "of each member");
	is_str(error, "another \"group\" key", "with its last error");
	fixture_close(&f);
}

static void
test_group_metrics(void)
{
	static const char *const want[] = { "nodelife_members 3\n",
		"nodelife_voters_connected 2\n", "nodelife_has_quorum 1\n",
		"nodelife_quorum_margin 0\n", "nodelife_lease_seconds 59.",
		"nodelife_member_up{member=\"n2\"} 1\n",
		"nodelife_member_up{member=\"n3\"} 0\n",
		"nodelife_member_link{member=\"n3\",link=\"refused\"} 1\n",
		"nodelife_member_feed{member=\"n2\",feed=\"live\"} 1\n",
		"nodelife_member_lag_records{member=\"n2\"} 3\n",
		"nodelife_member_behind_seconds{member=\"n3\"} 12",
		"nodelife_member_position{member=\"n2\",name=\"acked\"} 7\n",
		"nodelife_member_flight_bytes{member=\"n2\"} 512\n",
		"nodelife_member_told{member=\"n2\",what=\"no_space\"} 0\n" };
	size_t i;

	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	group_of_three(ROLE_MASTER);
	is_u64(get("/metrics"), 200, "metrics of a group");
	for (i = 0; i < NITEMS(want); i++)
		ok(has(want[i]), "%s", want[i]);
	ok(!has("member=\"n1\""), "the node itself is no row");
	ok(sizeof(flags_shown) == sizeof(flags_of_wire) &&
		memcmp(flags_shown, flags_of_wire, sizeof(flags_shown)) == 0,
	    "what members tell has the wire's bits");
	fixture_close(&f);
}

/* Is it a metric of the page, or a label's value there? */
static bool
told_of(const char *word, size_t len, const char *before, const char *behind)
{
	char find[160];

	snprintf(
	    find, sizeof(find), "%s%.*s%s", before, (int)len, word, behind);
	return has(find);
}

/* Each name, and each value of a label, that the alert rules go by. */
static void
test_alerts(void)
{
	static const char abc[] = "abcdefghijklmnopqrstuvwxyz_";
	unsigned names = 0, values = 0, wrong = 0;
	char line[512], *at;
	size_t n;
	FILE *in = fopen("conf/nodelife-alerts.yml", "r");

	if (!ok(in != NULL, "the alert rules"))
		return;
	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	group_of_three(ROLE_MASTER);
	get("/metrics");
	while (fgets(line, sizeof(line), in) != NULL) {
		if (strncmp(line, "        expr: ", 14) != 0)
			continue;
		for (at = line; (at = strstr(at, "nodelife_")) != NULL;
		     at += n, names++) {
			n = strspn(at, abc);
			wrong += !told_of(at, n, "# TYPE ", " ");
		}
		for (at = line; (at = strpbrk(at, "\"|")) != NULL;) {
			n = strspn(++at, abc);
			if (n == 0 || strstr(line, "nodelife_") == NULL)
				continue;
			values++;
			wrong += !told_of(at, n, "=\"", "\"");
		}
	}
	fclose(in);
	ok(names > 20 && values > 20, "%u names, %u values", names, values);
	is_u64(wrong, 0, "all of them are in /metrics");
	fixture_close(&f);
}

static void
test_refusals(void)
{
	open_region(RECOVERY_NORMAL);
	boot_to(PHASE_COUNT);
	is_u64(get("/"), 404, "no such page");
	is_u64(get("/healthz/"), 404, "nor this");
	is_u64(get_at("POST", "/healthz", NULL, mono_ns()), 405, "method");
	is_str(page.allow, "GET, HEAD", "what is allowed");
	is_u64(get("/drain"), 405, "a GET never drains");
	is_str(page.allow, "POST", "a POST does");
	ok(!page.drain, "nothing happened");
	is_u64(get_at("POST", "/drain", NULL, mono_ns()), 200, "drain");
	ok(page.drain, "the stop is asked for");
	is_str(text("status"), "draining", "and told");
	is_u64(get_at("HEAD", "/livez", NULL, mono_ns()), 200, "HEAD");
	is_u64(get_at("BREW", "/livez", NULL, mono_ns()), 405, "BREW");
	fixture_close(&f);
}

int
main(void)
{
	conf_defaults(&conf);
	test_starting();
	test_serving();
	test_readonly();
	test_failed();
	test_stuck();
	test_metrics();
	test_group();
	test_group_metrics();
	test_alerts();
	test_refusals();
	text_free(&page.body);
	json_decref(body);
	return tap_done();
}
