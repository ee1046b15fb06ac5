/*
 * What clients of a member of several are told in every role: where the master
 * is, why there is none, what too few members mean, what became of a write; and
 * how current what they read is, to the moment at which it was read.
 */
#include "shm/log/terms.h"
#include "t/lib/gateway_rig.h"

#define SELF 1 /* of n1, n2, n3 */

static uint16_t epoch = 1;

static void
publish(enum role role, int master, uint64_t of_term, uint64_t lease_ns)
{
	struct commit_view view = { .term = of_term,
		.epoch = epoch,
		.role = (uint8_t)role,
		.self = SELF,
		.master = (int8_t)master,
		.member_count = 3,
		.voters = 7,
		.quorum = quorum_count(2, 3),
		.lease_until_ns = lease_ns };

	commit_view_write(region.commit, &view);
}

/* The members' names and addresses, and the log of one term. */
static void
members(void)
{
	struct commit_state *cs = region.commit;

	strcpy(cs->name[0], "n1");
	strcpy(cs->name[1], "n2");
	strcpy(cs->name[2], "n3");
	strcpy(cs->client[0], "127.0.0.1:6001");
	strcpy(cs->client[1], "127.0.0.1:6002");
	strcpy(cs->client[2], "[::1]:6003");
	atomic_store(&cs->group_id, UINT64_C(0xabcdef0123456789));
	terms_add(region.terms, 1, 1);
}

static void
link_is(unsigned i, enum peer_link link)
{
	atomic_store(&region.peers->row[i].link, link);
}

static void
durable_is(unsigned i, uint16_t of_epoch, uint64_t vlsn)
{
	atomic_store(
	    &region.commit->member[i].durable, epoch_word(of_epoch, vlsn));
}

static void
committed_is(uint64_t vlsn)
{
	position_set(&region.pos->committed, epoch_word(epoch, vlsn));
}

/* It has won `term`, and its first record is everywhere. */
static void
master_begins(void)
{
	epoch++;
	term++;
	terms_add(region.terms, term, ++last_vlsn);
	position_set(&region.pos->appended, last_vlsn);
	position_set(&region.pos->durable, last_vlsn);
	committed_is(last_vlsn);
	position_set(&region.pos->term_start, epoch_word(epoch, last_vlsn));
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
	link_is(0, PEER_UP);
	link_is(2, PEER_UP);
	publish(ROLE_MASTER, SELF, term, UINT64_MAX - 1);
}

static void
master_ends(enum role role, int master)
{
	epoch++;
	committed_is(commit_vlsn(&region));
	commit_term_ended(&region, term);
	publish(role, master, term + 1, 0);
}

/* A turn, as gateway.c has it. */
static void
whole_turn(void)
{
	gw.io.loop.now_ns++;
	gw_write_turn(&gw);
	gw_role_turn(&gw);
	gw_park_wake(&gw);
	gw.turn_end_ns = LOOP_NEVER;
	gw_write_publish(&gw);
}

static bool
begins(const char *got, const char *with)
{
	return strncmp(got, with, strlen(with)) == 0;
}

/* ---- refusals ---- */

static void
test_replica(void)
{
	struct conn *a = client();

	epoch++;
	publish(ROLE_REPLICA, 2, 1, 0);
	say(a, "SET k v\r\n");
	is_str(heard(a),
	    "-READONLY You can't write against a read only replica: master is "
	    "[::1]:6003\r\n",
	    "a write is told where the master is");
	say(a, "MULTI\r\nINCR n\r\nEXEC\r\n");
	is_str(heard(a),
	    "+OK\r\n+QUEUED\r\n-READONLY You can't write against a read only "
	    "replica: master is [::1]:6003\r\n",
	    "so is a transaction");
	say(a, "GET k\r\n");
	is_str(heard(a),
	    "-NOTMASTER reads need the master, n3 at [::1]:6003 (or NODELIFE "
	    "CONSISTENCY eventual)\r\n",
	    "and a read");
	region.commit->client[2][0] = '\0';
	say(a, "SET k v\r\n");
	is_str(heard(a),
	    "-READONLY You can't write against a read only replica: master is "
	    "n3\r\n",
	    "by name, if no address is told");
	strcpy(region.commit->client[2], "[::1]:6003");
	ok(!gw_role_pending(&gw), "nobody is closed where nobody was master");
	gone(a);
}

static void
test_no_master(void)
{
	struct conn *a = client();
	const char *got;

	publish(ROLE_UNKNOWN, -1, 1, 0);
	say(a, "SET k v\r\nGET k\r\n");
	is_str(heard(a),
	    "-NOMASTER no master known\r\n-NOMASTER no master known\r\n",
	    "before group has said why");
	peers_no_master_set(region.peers, mono_ns() - 3 * NS_PER_S,
	    "n1 and n3 are not connected");
	say(a, "GET k\r\n");
	got = heard(a);
	ok(begins(got, "-NOMASTER no master for 3") &&
		strstr(got, " ms: n1 and n3 are not connected\r\n") != NULL,
	    "since when, and why");
	say(a, "SET k v\r\n");
	ok(begins(heard(a), "-NOMASTER no master for 3"),
	    "the same of a write");
	peers_no_master_set(region.peers, 0, "");
	gone(a);
}

static void
test_no_replicas(void)
{
	static const char few[] =
	    "-NOREPLICAS Not enough good replicas to write: 1 of 3 members are "
	    "connected, a write needs 2: nothing was written\r\n";
	struct conn *a = client();
	uint32_t before;

	master_begins();
	link_is(0, PEER_AWAY);
	link_is(2, PEER_HANDSHAKE);
	before = gw.next_seq;
	say(a, "SET k v\r\n");
	is_str(heard(a), few, "too few: a write is refused");
	say(a, "INCR n\r\n");
	is_str(heard(a), few, "whatever it is");
	whole_turn();
	(void)heard(a);
	say(a, "MULTI\r\nINCR n\r\nEXEC\r\n");
	whole_turn();
	ok(strstr(heard(a), few) != NULL, "and a transaction");
	is_u64(gw.next_seq, before, "before it is appended");
	link_is(2, PEER_UP);
	say(a, "SET k v\r\n");
	whole_turn();
	is_u64(wal_accept(), 1, "one is enough: it is appended");
	committed_is(last_vlsn);
	whole_turn();
	is_str(heard(a), "+OK\r\n", "and answered");
	link_is(0, PEER_UP);
	gone(a);
}

/* Every role, and what it answers to each kind of question. */
static void
test_matrix(void)
{
	static const struct {
		enum role role;
		int master;
		const char *write, *read;
	} rows[] = {
		{ ROLE_DETACHED, -1, "-NOMASTER ", "-NOMASTER " },
		{ ROLE_UNKNOWN, -1, "-NOMASTER ", "-NOMASTER " },
		{ ROLE_REPLICA, 0, "-READONLY ", "-NOTMASTER " },
		{ ROLE_SHUTDOWN, -1, "-NOMASTER ", "-NOMASTER " },
		{ ROLE_SHUTDOWN, 0, "-READONLY ", "-NOTMASTER " },
	};
	static const char *const writes[] = { "SET k v\r\n", "SETEX k 9 v\r\n",
		"MSET k v l w\r\n", "INCR n\r\n", "DEL k\r\n", "FLUSHALL\r\n",
		"EXPIRE k 9\r\n", "GETDEL k\r\n", "RENAME k l\r\n" };
	static const char *const looks[] = { "GET k\r\n", "MGET k l\r\n",
		"EXISTS k\r\n", "SCAN 0\r\n", "KEYS *\r\n", "DBSIZE\r\n",
		"TTL k\r\n", "RANDOMKEY\r\n", "WATCH k\r\n",
		"GETRANGE k 0 1\r\n" };
	static const char *const any[] = { "PING\r\n", "WAIT 1 0\r\n",
		"NODELIFE STATUS\r\n", "NODELIFE TOKEN\r\n", "ROLE\r\n",
		"INFO\r\n", "NODELIFE OUTCOME abcdef01-0-1-1\r\n" };
	struct conn *a = client();
	uint32_t before = gw.next_seq;
	unsigned i, j, wrong;
	const char *got;

	for (i = 0; i < NITEMS(rows); i++) {
		epoch++;
		publish(rows[i].role, rows[i].master, term, 0);
		for (wrong = j = 0; j < NITEMS(writes); j++) {
			say(a, writes[j]);
			wrong += !begins(heard(a), rows[i].write);
		}
		for (j = 0; j < NITEMS(looks); j++) {
			say(a, looks[j]);
			wrong += !begins(heard(a), rows[i].read);
		}
		for (j = 0; j < NITEMS(any); j++) {
			say(a, any[j]);
			got = heard(a);
			wrong += got[0] == '\0' || got[0] == '-';
		}
		wrong += a->park != PARK_NOT;
		ok(wrong == 0, "%s, master %d: %u are wrong",
		    role_name(rows[i].role), rows[i].master, wrong);
	}
	is_u64(gw.next_seq, before, "nothing was appended");
	gone(a);
}

/* ---- how current ---- */

static void
test_consistency(void)
{
	struct conn *a = client();

	epoch++;
	publish(ROLE_REPLICA, 0, term, 0);
	gw.kv_open_turn = true;
	say(a, "NODELIFE CONSISTENCY\r\nNODELIFE CONSISTENCY eventual\r\n");
	is_str(heard(a), "$12\r\nlinearizable\r\n+OK\r\n", "it can be chosen");
	say(a, "NODELIFE CONSISTENCY\r\nDBSIZE\r\n");
	is_str(
	    heard(a), "$8\r\neventual\r\n:0\r\n", "a replica says what it has");
	publish(ROLE_UNKNOWN, -1, term, 0);
	say(a, "DBSIZE\r\n");
	is_str(heard(a), ":0\r\n", "also while there is no master");
	say(a, "READWRITE\r\nDBSIZE\r\n");
	is_str(heard(a), "+OK\r\n-NOMASTER no master known\r\n",
	    "READWRITE is linearizable again");
	say(a, "READONLY\r\nDBSIZE\r\nSET k v\r\n");
	is_str(heard(a), "+OK\r\n:0\r\n-NOMASTER no master known\r\n",
	    "READONLY is eventual; no write is taken");
	say(a, "RESET\r\nNODELIFE CONSISTENCY\r\n");
	is_str(heard(a), "+RESET\r\n$12\r\nlinearizable\r\n",
	    "RESET makes it as new");
	say(a, "NODELIFE CONSISTENCY best\r\n");
	is_str(heard(a),
	    "-ERR consistency is one of: eventual, linearizable\r\n",
	    "and there are no others");
	gw.kv_open_turn = false;
	gone(a);
}

/* A client that reads here anyway sees what it wrote here, too. */
static void
test_eventual_own(void)
{
	struct conn *a = client();

	master_begins();
	say(a, "READONLY\r\nSET k v\r\n");
	whole_turn();
	wal_accept();
	committed_is(last_vlsn);
	whole_turn();
	is_str(heard(a), "+OK\r\n+OK\r\n", "a write is answered");
	say(a, "DBSIZE\r\n");
	is_u64(a->park, PARK_APPLY, "its client's read waits for it");
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
	gw.kv_open_turn = true;
	whole_turn();
	gw.kv_open_turn = false;
	is_str(heard(a), ":0\r\n", "until it is applied");
	gone(a);
}

/* What happens behind the next look into the store. */
static void (*behind_read)(void);
bool __real_commit_holds_lease(const struct region *, uint64_t);
bool __wrap_commit_holds_lease(const struct region *, uint64_t);

bool
__wrap_commit_holds_lease(const struct region *r, uint64_t of_term)
{
	void (*then)(void) = behind_read;

	behind_read = NULL;
	if (then != NULL)
		then();
	return __real_commit_holds_lease(r, of_term);
}

static void
lease_lapses(void)
{
	publish(ROLE_MASTER, SELF, term, 1);
}

/* Deposed, and master again: others may have written meanwhile. */
static void
term_changes(void)
{
	publish(ROLE_MASTER, SELF, term + 1, UINT64_MAX - 1);
}

static void
test_lease(void)
{
	struct conn *a = client();

	master_begins();
	gw.kv_open_turn = true;
	say(a, "DBSIZE\r\n");
	is_str(heard(a), ":0\r\n", "a lease that holds: read");
	behind_read = lease_lapses;
	say(a, "DBSIZE\r\n");
	ok(behind_read == NULL, "it is looked at behind the read");
	is_str(heard(a), "", "which tells nothing then");
	is_u64(a->park, PARK_LEASE, "it waits for the lease");
	whole_turn();
	is_str(heard(a), "", "as long as that is not renewed");
	ok(gw_park_deadline(&gw) <= gw.io.loop.now_ns + 2 * NS_PER_MS,
	    "and looks every now and then");
	publish(ROLE_MASTER, SELF, term, UINT64_MAX - 1);
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	is_str(heard(a), ":0\r\n", "a round renewed it: read");
	behind_read = lease_lapses;
	say(a, "DBSIZE\r\nPING\r\n");
	whole_turn();
	gw.io.loop.now_ns += 2 * NS_PER_S;
	whole_turn();
	ok(begins(heard(a), "-NOMASTER this node is master, but no quorum"),
	    "not for ever");
	publish(ROLE_MASTER, SELF, term, UINT64_MAX - 1);
	behind_read = term_changes;
	say(a, "DBSIZE\r\n");
	is_u64(a->park, PARK_LEASE, "another term's lease is not that one");
	publish(ROLE_MASTER, SELF, term, 1);
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	master_ends(ROLE_REPLICA, 0);
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	ok(begins(heard(a), "-NOTMASTER "), "the end of the role ends it");
	gw.kv_open_turn = false;
	gone(a);
}

/* ---- the end of a mastership ---- */

static void
test_closed(void)
{
	struct conn *idle, *reads, *writes, *multi, *waits, *any, *any_writes;
	const char *got;

	master_begins();
	whole_turn();
	idle = client();
	reads = client();
	writes = client();
	multi = client();
	waits = client();
	any = client();
	any_writes = client();
	say(any, "READONLY\r\n");
	say(any_writes, "READONLY\r\nINCR n\r\n");
	say(multi, "MULTI\r\nINCR n\r\n");
	say(writes, "SET k v\r\nSET k w\r\nINCR n\r\nGET k\r\nPING\r\n");
	say(waits, "SET k v\r\n");
	whole_turn();
	wal_accept();
	/* any_writes' and the first SET. */
	committed_is(last_vlsn - 3);
	position_set(&region.pos->appended, last_vlsn);
	publish(ROLE_MASTER, SELF, term, 1);
	say(reads, "DBSIZE\r\n");
	say(waits, "WAIT 1 0\r\n");
	whole_turn();
	ok(reads->park != PARK_NOT && waits->park != PARK_NOT,
	    "some rest for what will not come");
	master_ends(ROLE_REPLICA, 2);
	ok(gw_role_pending(&gw), "the end is noticed");
	whole_turn();
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	ok(!gw_role_pending(&gw), "once");
	got = heard(writes);
	ok(begins(got, "+OK\r\n-UNKNOWNOUTCOME ") &&
		strstr(got, ": token abcdef01-0-") != NULL,
	    "what was committed is answered, of the next nobody knows");
	ok(strstr(got, "-NOTMASTER ") != NULL && strstr(got, "+PONG") != NULL,
	    "and all behind it is answered");
	ok(begins(heard(reads), "-NOTMASTER "), "a read that rested is told");
	ok(begins(heard(waits), "-UNKNOWNOUTCOME "), "and a write");
	ok((idle->flags & CONN_EOF) != 0 && gw_conn_settled(idle),
	    "who says nothing is closed");
	ok((reads->flags & CONN_EOF) != 0 && (waits->flags & CONN_EOF) != 0 &&
		(writes->flags & CONN_EOF) != 0 &&
		(multi->flags & CONN_EOF) != 0,
	    "so are all others");
	ok(reads->park == PARK_NOT && waits->park == PARK_NOT &&
		multi->node_count == 0 && writes->node_count == 0,
	    "nothing is owed to them");
	ok((any->flags & CONN_EOF) == 0 && (any_writes->flags & CONN_EOF) == 0,
	    "but for those that read here anyway");
	is_u64(any_writes->node_count, 1,
	    "the store still tells what was committed");
	store_int((uint32_t)(gw.nodes[any_writes->node_head].first_seq), 1);
	whole_turn();
	is_str(heard(any_writes), "+OK\r\n:1\r\n", "it does");
	gone(idle);
	gone(reads);
	gone(writes);
	gone(multi);
	gone(waits);
	gone(any);
	gone(any_writes);
	last_vlsn -= 3;
	position_set(&region.pos->appended, last_vlsn);
}

/* One that was over, and another one begun, before anybody looked. */
static void
test_again(void)
{
	struct conn *a = client();

	master_begins();
	whole_turn();
	master_ends(ROLE_UNKNOWN, -1);
	master_begins();
	ok(!gw_role_pending(&gw), "master again: nobody needs to go");
	whole_turn();
	ok((a->flags & CONN_EOF) == 0, "nor does");
	master_ends(ROLE_UNKNOWN, -1);
	whole_turn();
	ok((a->flags & CONN_EOF) != 0, "until that one is over, too");
	gone(a);
}

/*
 * More masterships are over than are remembered, before the store has told
 * what a write gave: then it does not, and nobody waits for it.
 */
static void
test_forgotten(void)
{
	struct conn *a = client(), *b = client();
	uint64_t of_term, of_vlsn;
	char token[128], want[160];
	const char *got;
	unsigned i;

	master_begins();
	whole_turn();
	say(a, "INCR n\r\n");
	whole_turn();
	wal_accept();
	committed_is(last_vlsn);
	position_set(&region.pos->appended, last_vlsn);
	whole_turn();
	of_term = term;
	of_vlsn = last_vlsn;
	for (i = 0; i < ENDED_MAX + 1; i++) {
		master_ends(ROLE_UNKNOWN, -1);
		if (i != ENDED_MAX)
			master_begins();
	}
	is_str(heard(a), "", "its result is still owed");
	whole_turn();
	snprintf(token, sizeof(token), "abcdef01-0-%llu-%llu",
	    (unsigned long long)of_term, (unsigned long long)of_vlsn);
	got = heard(a);
	ok(begins(got, "-UNKNOWNOUTCOME ") && strstr(got, token) != NULL,
	    "the store is past it, and tells nothing any more");
	is_u64(a->node_count, 0, "nothing is owed");
	snprintf(want, sizeof(want), "NODELIFE OUTCOME %s\r\n", token);
	say(b, want);
	is_str(heard(b), "$9\r\ncommitted\r\n", "the log knows");

	/* One that was not even told to be appended. */
	gone(a);
	a = client();
	master_begins();
	say(a, "SET k v\r\n");
	whole_turn();
	while (wal_take(&(struct seen){ 0 }))
		;
	position_set(&region.pos->appended, ++last_vlsn);
	committed_is(last_vlsn);
	of_term = term;
	of_vlsn = last_vlsn;
	for (i = 0; i < ENDED_MAX + 1; i++) {
		master_ends(ROLE_UNKNOWN, -1);
		if (i != ENDED_MAX)
			master_begins();
	}
	term = of_term;
	wal_return(gw.next_seq - 1, 1, of_vlsn, RET_OK);
	term = of_term + ENDED_MAX + 1;
	whole_turn();
	snprintf(want, sizeof(want), "token abcdef01-0-%llu-%llu\r\n",
	    (unsigned long long)of_term, (unsigned long long)of_vlsn);
	ok(strstr(heard(a), want) != NULL,
	    "of what is forgotten nobody says it was lost, but its name");
	gone(a);
	gone(b);
}

/* A SET of n bytes. */
static void
say_long(struct conn *c, size_t n)
{
	struct vbuf text = { 0 };
	char head[64];
	int len = snprintf(
	    head, sizeof(head), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", n);

	vbuf_put(&text, head, (size_t)len);
	memset(vbuf_add(&text, n), 'v', n);
	vbuf_put(&text, "\r\n", 2);
	say_bytes(c, &text);
	vbuf_free(&text);
}

/* A long one is made in turns, and one in parts sent in some. */
static void
test_long(void)
{
	static const char refused[] =
	    "-READONLY You can't write against a read "
	    "only replica: master is "
	    "127.0.0.1:6001\r\n";
	struct conn *a = client(), *b = client(), *d = client();
	unsigned i;

	epoch++;
	publish(ROLE_REPLICA, 0, term, 0);
	say_long(a, 300000);
	for (i = 0; i < 50 && a->park != PARK_NOT; i++)
		whole_turn();
	is_str(heard(a), refused, "a long write on a replica");
	master_begins();
	whole_turn();
	position_set(&region.pos->room, 1);
	say_long(a, 600000);
	say(d, "MULTI\r\nSET k 0123456789\r\nEXEC\r\n");
	ok(a->park == PARK_RING && d->park == PARK_RING,
	    "one that waits for room, and a transaction");
	is_str(heard(d), "+OK\r\n+QUEUED\r\n", "which is queued");
	position_set(&region.pos->room, TABLE_ROOM_ANY);
	say_long(b, 3u << 20);
	for (i = 0; i < 50 && gw.big.payload == NULL; i++)
		whole_turn();
	ok(gw.big.payload != NULL, "one in parts is on its way");
	master_ends(ROLE_REPLICA, 0);
	/* wal refuses all parts, each by its last. */
	for (i = 0; i < 200 && gw.oldest_seq != gw.next_seq; i++) {
		struct seen s;

		whole_turn();
		while (wal_take(&s))
			if ((s.flags & REQ_MORE) == 0)
				wal_return(s.seq, 1, 0, RET_READONLY);
	}
	whole_turn();
	is_str(heard(a), refused, "the end of the role refuses the first");
	is_str(heard(d), refused, "and the transaction");
	is_str(heard(b), refused, "and what wal did not append");
	ok(gw_conn_settled(a) || gw_conn_unsent(a) == 0, "nothing is left");
	gone(a);
	gone(b);
	gone(d);
}

/* A write that waits for room in front of the log waits for none. */
static void
test_stalled(void)
{
	struct conn *a = client(), *b = client();

	master_begins();
	whole_turn();
	position_set(&region.pos->room, 1);
	say(a, "SET k 0123456789\r\n");
	is_u64(a->park, PARK_RING, "a write waits for room");
	ok(!gw_write_pending(&gw), "and nothing ticks");
	master_ends(ROLE_REPLICA, 0);
	ok(gw_write_pending(&gw), "the end of the role ends that");
	whole_turn();
	ok(begins(heard(a), "-READONLY You can't"), "it is refused");
	is_u64(a->park, PARK_NOT, "and does not wait");
	ok((b->flags & CONN_EOF) != 0, "all are closed");
	position_set(&region.pos->room, TABLE_ROOM_ANY);
	gone(a);
	gone(b);
}

/* ---- tokens ---- */

static const char *
outcome(struct conn *c, uint64_t of_term, uint64_t vlsn)
{
	static char word[32];
	char text[128];
	const char *got;

	snprintf(text, sizeof(text),
	    "NODELIFE OUTCOME abcdef01-0-%llu-%llu\r\n",
	    (unsigned long long)of_term, (unsigned long long)vlsn);
	say(c, text);
	got = heard(c);
	if (sscanf(got, "$%*u %31s", word) != 1)
		return got;
	return word;
}

static void
test_tokens(void)
{
	struct conn *a = client(), *b = client();
	char want[256], token[128];

	master_begins();
	whole_turn();
	say(a, "NODELIFE TOKEN\r\n");
	is_str(heard(a), "$-1\r\n", "who wrote nothing has none");
	say(a, "SET k v\r\nNODELIFE TOKEN\r\n");
	is_u64(a->park, PARK_ORDER, "one of a write under way is waited for");
	whole_turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	is_str(outcome(b, term, last_vlsn), "unknown", "appended: unknown");
	committed_is(last_vlsn);
	whole_turn();
	snprintf(token, sizeof(token), "abcdef01-0-%llu-%llu",
	    (unsigned long long)term, (unsigned long long)last_vlsn);
	snprintf(
	    want, sizeof(want), "+OK\r\n$%zu\r\n%s\r\n", strlen(token), token);
	is_str(heard(a), want, "its name");
	is_str(outcome(b, term, last_vlsn), "committed", "committed");
	is_str(outcome(b, term - 1, last_vlsn), "lost",
	    "of another term at that place: lost");
	is_str(outcome(b, term - 1, last_vlsn + 5), "lost",
	    "one of an earlier term comes behind it no more");
	is_str(
	    outcome(b, term, last_vlsn + 5), "unknown", "one of this term may");
	is_str(outcome(b, term + 7, last_vlsn + 5), "unknown",
	    "and one of a later one");
	is_str(outcome(b, term + 7, last_vlsn), "lost",
	    "but not where another one stands");
	say(b, "NODELIFE OUTCOME 12345678-0-1-1\r\n");
	is_str(heard(b), "-ERR this token is of another group\r\n",
	    "another group's");
	say(b, "NODELIFE OUTCOME abcdef01-0-1\r\nNODELIFE OUTCOME "
	       "abcdef01-0-1-1-1\r\nNODELIFE OUTCOME x\r\nNODELIFE OUTCOME "
	       "abcdef01-0-0-1\r\nNODELIFE OUTCOME "
	       "abcdef01-0-1-99999999999999999999\r\n");
	is_u64(strlen(heard(b)),
	    5 * strlen("-ERR this is no token: "
		       "GROUP-GENERATION-TERM-VLSN\r\n"),
	    "what is none");
	gone(a);
	gone(b);
}

/* ---- WAIT ---- */

static void
test_wait(void)
{
	struct conn *a = client();

	master_begins();
	whole_turn();
	durable_is(0, epoch, last_vlsn);
	durable_is(2, epoch, last_vlsn);
	say(a, "SET k v\r\n");
	whole_turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	durable_is(0, epoch, last_vlsn);
	committed_is(last_vlsn);
	whole_turn();
	is_str(heard(a), "+OK\r\n", "one other has it: committed");
	say(a, "WAIT 1 0\r\n");
	is_str(heard(a), ":1\r\n", "one is told at once");
	say(a, "WAIT 2 0\r\n");
	is_u64(a->park, PARK_COPIES, "two are waited for");
	/* Of an epoch that is over it says nothing. */
	durable_is(2, (uint16_t)(epoch - 1), last_vlsn);
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	is_str(heard(a), "", "what was told in another epoch does not count");
	durable_is(2, epoch, last_vlsn);
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	is_str(heard(a), ":2\r\n", "both have it");
	say(a, "WAIT 9 0\r\nWAITAOF 1 2 0\r\n");
	is_str(heard(a), ":2\r\n*2\r\n:1\r\n:2\r\n", "there are no more");
	durable_is(2, epoch, last_vlsn - 1);
	say(a, "WAIT 2 5\r\n");
	gw.io.loop.now_ns += 6 * NS_PER_MS;
	whole_turn();
	is_str(heard(a), ":1\r\n", "its time is over");
	say(a, "WAIT 2 0\r\n");
	is_u64(a->park, PARK_COPIES, "one that has no time-out");
	master_ends(ROLE_UNKNOWN, -1);
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	whole_turn();
	is_str(heard(a), ":0\r\n", "ends with the mastership: nobody tells");
	gone(a);
}

/* ---- ROLE, INFO ---- */

static bool
info_has(struct conn *c, const char *line)
{
	char want[256];
	const char *got;

	say(c, "INFO replication\r\n");
	got = heard(c);
	snprintf(want, sizeof(want), "\r\n%s\r\n", line);
	if (strstr(got, want) != NULL)
		return true;
	diag("%s", got);
	return false;
}

static void
test_role(void)
{
	struct conn *a = client();
	char want[512];

	master_begins();
	whole_turn();
	durable_is(0, epoch, 3);
	link_is(2, PEER_AWAY);
	atomic_store(&region.peers->row[0].feed, PEER_FEED_LIVE);
	say(a, "ROLE\r\n");
	snprintf(want, sizeof(want),
	    "*3\r\n$6\r\nmaster\r\n:%llu\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n"
	    "$4\r\n6001\r\n$1\r\n3\r\n",
	    (unsigned long long)last_vlsn);
	is_str(heard(a), want, "a master names who follows it");
	ok(info_has(a, "role:master"), "INFO: master");
	ok(info_has(a, "connected_slaves:1"), "of one that is connected");
	ok(info_has(
	       a, "slave0:ip=127.0.0.1,port=6001,state=online,offset=3,lag=0"),
	    "and how it does");
	link_is(2, PEER_UP);
	ok(info_has(a, "connected_slaves:2"), "of two");
	ok(info_has(
	       a, "slave1:ip=::1,port=6003,state=wait_bgsave,offset=0,lag=0"),
	    "one of which has nothing yet");
	master_ends(ROLE_REPLICA, 2);
	whole_turn();
	gone(a);
	a = client();
	say(a, "ROLE\r\n");
	snprintf(want, sizeof(want),
	    "*5\r\n$5\r\nslave\r\n$3\r\n::1\r\n:6003\r\n$4\r\nsync\r\n"
	    ":%llu\r\n",
	    (unsigned long long)last_vlsn);
	is_str(heard(a), want, "a replica names its master");
	atomic_store(&region.peers->row[2].feed, PEER_FEED_FROM);
	say(a, "ROLE\r\n");
	ok(strstr(heard(a), "$9\r\nconnected\r\n") != NULL, "that feeds it");
	ok(info_has(a, "role:slave") && info_has(a, "master_host:::1") &&
		info_has(a, "master_port:6003") &&
		info_has(a, "master_link_status:up") &&
		info_has(a, "slave_read_only:1"),
	    "INFO: a replica");
	link_is(2, PEER_AWAY);
	ok(info_has(a, "master_link_status:down"), "cut off");
	say(a, "ROLE\r\n");
	ok(strstr(heard(a), "$7\r\nconnect\r\n") != NULL, "which dials");
	say(a, "HELLO 2\r\n");
	ok(strstr(heard(a), "$4\r\nrole\r\n$7\r\nreplica\r\n") != NULL,
	    "HELLO: a replica");
	publish(ROLE_UNKNOWN, -1, term, 0);
	ok(info_has(a, "role:slave") && info_has(a, "master_host:") &&
		info_has(a, "master_link_status:down"),
	    "without a master it has none");
	say(a, "ROLE\r\n");
	ok(begins(
	       heard(a), "*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect"),
	    "and waits for one");
	atomic_store(&region.peers->row[2].feed, PEER_FEED_NONE);
	atomic_store(&region.peers->row[0].feed, PEER_FEED_NONE);
	gone(a);
}

int
main(void)
{
	set_up();
	members();
	test_replica();
	test_no_master();
	test_no_replicas();
	test_matrix();
	test_consistency();
	test_eventual_own();
	test_lease();
	test_closed();
	test_again();
	test_forgotten();
	test_stalled();
	test_long();
	test_tokens();
	test_wait();
	test_role();
	rig_end();
	return tap_done();
}
