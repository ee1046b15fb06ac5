/*
 * What clients are told when the role or the log goes: who may read and write,
 * what becomes of writes that were appended, and of those that were answered.
 */
#include "shm/log/terms.h"
#include "t/lib/gateway_rig.h"

static void
test_roles(void)
{
	struct commit_view view, old;
	struct conn *a = client();

	commit_view_read(region.commit, &old);
	view = old;
	view.role = ROLE_UNKNOWN;
	commit_view_write(region.commit, &view);
	say(a, "SET k v\r\nGET k\r\nPING\r\n");
	is_str(heard(a),
	    "-NOMASTER no master known\r\n-NOMASTER no master known\r\n"
	    "+PONG\r\n",
	    "no master");
	view.readonly = 1;
	commit_view_write(region.commit, &view);
	say(a, "SET k v\r\n");
	is_str(heard(a), "-READONLY this node is in readonly recovery\r\n",
	    "readonly recovery");
	commit_view_write(region.commit, &old);
	gone(a);
}

/* A read that comes before the term's first record is committed. */
static void
test_term(void)
{
	struct commit_view view, old;
	struct conn *a = client();

	commit_view_read(region.commit, &old);
	position_set(&region.pos->term_start, epoch_word(0, 1));
	say(a, "GET k\r\n");
	is_u64(a->park, PARK_TERM, "a read waits for the term to begin");
	is_u64(position_get(&region.pos->commit_waited), 1,
	    "wal is to ring when committed moves");
	ok(!gw_park_pending(&gw) && gw.sync_deadline_ns == LOOP_NEVER,
	    "and nothing ticks meanwhile");
	view = old;
	view.role = ROLE_UNKNOWN;
	commit_view_write(region.commit, &view);
	ok(gw_park_pending(&gw), "a lost role ends the wait");
	turn();
	is_str(heard(a), "-NOMASTER no master known\r\n", "with an error");
	is_u64(position_get(&region.pos->commit_waited), 0, "nobody waits");
	commit_view_write(region.commit, &old);
	position_set(&region.pos->term_start, epoch_word(1, last_vlsn + 1));
	say(a, "GET k\r\n");
	is_u64(a->park, PARK_TERM, "its first record is not committed");
	commit(++last_vlsn);
	ok(gw_park_pending(&gw), "it is");
	turn();
	is_u64(a->park, PARK_APPLY, "now it must be applied");
	is_u64(a->wait_vlsn, last_vlsn, "that one");
	is_u64(position_get(&region.pos->apply_wanted), last_vlsn,
	    "the store knows");
	gone(a);
	position_set(&region.pos->term_start, epoch_word(1, 1));
}

/* Answers that do not wait for the flush: what reads and WAIT wait for. */
static void
test_levels(void)
{
	struct conn *a = client(), *b = client();
	uint32_t seq = gw.next_seq;

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	say(a, "SET k v\r\nSET k v\r\n");
	turn();
	while (wal_take(&(struct seen){ 0 }))
		;
	wal_return(seq, 1, ++last_vlsn, RET_OK);
	wal_return(seq + 1, 1, 0, RET_LOG_FULL);
	position_set(&region.pos->appended, last_vlsn);
	turn();
	ok(strncmp(heard(a), "+OK\r\n-ERR the log has no", 22) == 0,
	    "answered, not committed");
	is_u64(a->last_vlsn, last_vlsn, "the refused one hides nothing");
	say(b, "GET k\r\n");
	is_u64(b->park, PARK_APPLY, "another client's read waits for it");
	is_u64(b->wait_vlsn, last_vlsn, "for what was answered");
	say(a, "WAIT 0 0\r\n");
	is_u64(a->park, PARK_SYNC, "WAIT waits for the flush");
	is_u64(position_get(&region.pos->commit_waited), 1, "wal knows");
	commit(last_vlsn);
	turn();
	is_str(heard(a), ":0\r\n", "committed");
	is_u64(position_get(&region.pos->commit_waited), 0, "nobody waits");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	gone(a);
	gone(b);
}

/*
 * The log fails behind the first of five: what it had appended has no known
 * outcome, whoever would have answered it, what it refused was not written.
 */
static void
test_log_failed(void)
{
	static const char refused[] =
	    "-LOGFAILED the log is closed; nothing was written\r\n";
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	struct seen s;
	const char *got;
	size_t at;

	say(a, "SET k v\r\nSET k v\r\nSET k v\r\nINCR n\r\nINCR n\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(seq, 2, last_vlsn + 1, RET_OK);
	wal_return(seq + 2, 1, 0, RET_LOG_FAILED);
	wal_return(seq + 3, 1, last_vlsn + 3, RET_OK);
	wal_return(seq + 4, 1, 0, RET_LOG_FAILED);
	commit(++last_vlsn);
	atomic_store(&region.control->wal_failed, last_vlsn + 1);
	ok(gw_write_pending(&gw), "it is noticed");
	turn();
	got = heard(a);
	ok(strncmp(got, "+OK\r\n-UNKNOWNOUTCOME ", 21) == 0,
	    "one was on disk, the next may be");
	at = strcspn(got + 5, "\n") + 6;
	ok(strncmp(got + at, refused, strlen(refused)) == 0,
	    "the third was refused");
	at += strlen(refused);
	ok(strncmp(got + at, "-UNKNOWNOUTCOME ", 16) == 0,
	    "so may what the store would have answered");
	at += strcspn(got + at, "\n") + 1;
	is_str(got + at, refused, "and the last was refused");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	ok(!gw_write_pending(&gw), "nothing is left to do");
	atomic_store(&region.control->wal_failed, 0);
	turn();

	/* One that was answered when it had its place in memory. */
	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	seq = gw.next_seq;
	say(a, "SET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	position_set(&region.pos->appended, last_vlsn + 1);
	wal_return(seq, 1, last_vlsn + 1, RET_OK);
	turn();
	is_str(heard(a), "+OK\r\n", "no_sync: it is answered");
	atomic_store(&region.control->wal_failed, last_vlsn + 1);
	turn();
	say(a, "SET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(seq + 1, 1, 0, RET_LOG_FAILED);
	turn();
	is_str(heard(a), refused, "the next is refused");
	ok(a->last_vlsn <= last_vlsn && gw_write_acked(&gw) <= last_vlsn,
	    "and no read waits for what is lost");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	position_set(&region.pos->appended, last_vlsn);
	atomic_store(&region.control->wal_failed, 0);
	turn();
	gone(a);
}

/* The role of another epoch, and of another term if it is master again. */
static void
role_is(enum role role, uint16_t epoch, uint64_t of_term)
{
	struct commit_view view = { .term = of_term,
		.epoch = epoch,
		.role = (uint8_t)role,
		.member_count = 1,
		.voters = 1,
		.quorum = quorum_count(1, 1),
		.lease_until_ns = UINT64_MAX };

	commit_view_write(region.commit, &view);
}

/* As group does it: the epoch, the record of it, the view. */
static void
mastership_ends(uint16_t epoch)
{
	position_set(
	    &region.pos->committed, epoch_word(epoch, commit_vlsn(&region)));
	commit_term_ended(&region, term);
	role_is(ROLE_UNKNOWN, epoch, term);
}

static bool
is_unknown(const char *got)
{
	return strncmp(got, "-UNKNOWNOUTCOME this node is no master", 38) == 0;
}

/*
 * A mastership ends behind the first of four: what others commit at the VLSNs
 * behind that answers nobody here, also when this node is master again.
 */
static void
test_deposed(void)
{
	struct conn *a = client();
	uint32_t seq = gw.next_seq;
	struct seen s;
	const char *got;

	say(a, "SET k v\r\nSET k v\r\nINCR n\r\nSET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(seq, 3, last_vlsn + 1, RET_OK);
	commit(++last_vlsn);
	mastership_ends(2);
	position_set(&region.pos->committed, epoch_word(2, last_vlsn + 20));
	ok(gw_write_pending(&gw), "it is noticed");
	turn();
	got = heard(a);
	ok(strncmp(got, "+OK\r\n", 5) == 0 && is_unknown(got + 5),
	    "one was committed, of the next nobody knows");
	got += 5 + strcspn(got + 5, "\n") + 1;
	ok(is_unknown(got), "nor of what the store would have answered");
	/* Its return comes when the next mastership has committed beyond it. */
	role_is(ROLE_MASTER, 3, 2);
	position_set(&region.pos->committed, epoch_word(3, last_vlsn + 20));
	wal_return(seq + 3, 1, last_vlsn + 3, RET_OK);
	position_set(&region.pos->applied, last_vlsn);
	turn();
	ok(is_unknown(heard(a)), "nor later, as master of another term");
	is_u64(gw.reach.bytes, 0, "no room is kept for them");
	term = 2;
	last_vlsn += 20;
	say(a, "SET k v\r\n");
	turn();
	wal_accept();
	turn();
	is_str(heard(a), "", "appended is not answered");
	position_set(&region.pos->committed, epoch_word(3, last_vlsn));
	turn();
	is_str(heard(a), "+OK\r\n", "what that one appended is answered");
	is_u64(gw.oldest_seq, gw.next_seq, "the window is empty");
	ok(!gw_write_pending(&gw), "nothing is left to do");
	gone(a);
}

/* What happens behind the next look at how far a mastership got. */
static void (*behind_look)(void);
bool __real_commit_of_term(const struct region *, uint64_t, uint64_t *);
bool __wrap_commit_of_term(const struct region *, uint64_t, uint64_t *);

bool
__wrap_commit_of_term(const struct region *r, uint64_t of_term, uint64_t *vlsn)
{
	bool over = __real_commit_of_term(r, of_term, vlsn);
	void (*then)(void) = behind_look;

	behind_look = NULL;
	if (then != NULL)
		then();
	return over;
}

/* wal cuts off what was not committed, and appends what others had. */
static void
cut_and_others(void)
{
	mastership_ends(7);
	position_set(&region.pos->appended, last_vlsn + 5);
}

/* What was answered when appended is what this mastership has appended. */
static void
test_cut_behind_look(void)
{
	struct ret_run run = { .seq = 1, .count = 1, .status = RET_OK };
	uint64_t limit = 0;

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	role_is(ROLE_MASTER, 6, term = 4);
	position_set(&region.pos->committed, epoch_word(6, last_vlsn));
	position_set(&region.pos->appended, last_vlsn);
	run.term = term;
	run.vlsn = last_vlsn + 1;
	behind_look = cut_and_others;
	ok(!gw_runs_limit(&gw, &run, &limit), "a mastership is not over");
	ok(behind_look == NULL, "but it is a moment later");
	is_u64(limit, last_vlsn, "what others have appended is none of its");
	ok(gw_runs_limit(&gw, &run, &limit), "which is seen then");
	is_u64(limit, last_vlsn, "what it had committed counts");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	position_set(&region.pos->appended, last_vlsn);
}

/* WAIT tells the truth of what was answered before it was committed. */
static void
test_wait_deposed(void)
{
	struct conn *a = client(), *b = client();

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	say(a, "SET k v\r\n");
	turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n", "no_sync: answered when appended");
	say(a, "WAITAOF 1 0 0\r\n");
	turn();
	is_str(heard(a), "", "which is not committed");
	position_set(&region.pos->committed, epoch_word(3, last_vlsn));
	ok(gw_park_pending(&gw), "it is then");
	turn();
	is_str(heard(a), "*2\r\n:1\r\n:0\r\n", "and is told");
	say(a, "SET k v\r\n");
	say(b, "SET k v\r\n");
	turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n", "another one");
	is_str(heard(b), "+OK\r\n", "and another's");
	say(b, "WAITAOF 1 0 0\r\n");
	mastership_ends(4);
	position_set(&region.pos->committed, epoch_word(4, last_vlsn + 20));
	ok(gw_park_pending(&gw), "the end of the mastership is noticed");
	turn();
	is_str(heard(b), "*2\r\n:0\r\n:0\r\n", "it may not be on disk");
	say(a, "WAITAOF 1 0 0\r\n");
	is_str(heard(a), "*2\r\n:0\r\n:0\r\n", "nor who asks later");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	gone(a);
	gone(b);
}

/* It is told that its answered write may be lost, and nothing behind that. */
static bool
is_told_and_closed(struct conn *c, const char *before)
{
	const char *got = heard(c);
	size_t n = strlen(before);

	return strncmp(got, before, n) == 0 &&
	       strncmp(got + n, "-UNKNOWNOUTCOME a write ", 24) == 0 &&
	       strcspn(got + n, "\n") == strlen(got + n) - 1 &&
	       (c->flags & CONN_LAST) != 0;
}

/*
 * Writes that were answered when appended go with their mastership: whose read
 * waits for one is told so and closed; so is who reads later, unless the log
 * has it in its place.
 */
static void
test_read_deposed(void)
{
	struct conn *a = client(), *b = client(), *d = client(), *e = client();
	struct seen s;

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	position_set(&region.pos->term_start, epoch_word(3, last_vlsn));
	position_set(&region.pos->applied, last_vlsn);
	terms_add(region.terms, term, last_vlsn);
	say(d, "SET k v\r\n");
	say(a, "SET k v\r\nGET k\r\nPING\r\nSET k v\r\n");
	say(b, "SET k v\r\n");
	turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	turn();
	say(e, "SET k v\r\n");
	turn();
	while (wal_take(&s))
		;
	wal_return(s.seq, 1, 0, RET_LOG_FULL);
	turn();
	ok(strncmp(heard(e), "-ERR the log has no room", 24) == 0,
	    "a write is refused");
	is_u64(a->park, PARK_APPLY, "a read waits for a write");
	mastership_ends(4);
	/* The first one stays. */
	last_vlsn -= 2;
	position_set(&region.pos->appended, last_vlsn);
	turn();
	ok(is_told_and_closed(a, "+OK\r\n"), "it ends, and so does its client");
	say(a, "PING\r\n");
	is_str(heard(a), "", "who is told no more");
	role_is(ROLE_MASTER, 5, term = 3);
	terms_add(region.terms, term, ++last_vlsn);
	position_set(&region.pos->appended, last_vlsn);
	position_set(&region.pos->term_start, epoch_word(5, last_vlsn));
	position_set(&region.pos->committed, epoch_word(5, last_vlsn));
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
	gw.kv_open_turn = true;
	say(b, "MULTI\r\nGET k\r\nEXEC\r\nPING\r\n");
	ok(is_told_and_closed(b, "+OK\r\n+OK\r\n+QUEUED\r\n"),
	    "one that comes later is told the same");
	say(d, "DBSIZE\r\nPING\r\n");
	say(e, "DBSIZE\r\nPING\r\n");
	turn();
	gw.kv_open_turn = false;
	is_str(heard(d), "+OK\r\n:0\r\n+PONG\r\n",
	    "not so if the log has the write in its place");
	is_str(heard(e), ":0\r\n+PONG\r\n", "nor if the write was refused");
	is_u64(d->last_term, 0, "that one is known to be committed");
	terms_clear(region.terms);
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	gone(a);
	gone(b);
	gone(d);
	gone(e);
}

/*
 * A mastership ends before anybody has looked at who waits in it, so nobody
 * has seen it begin: what waits for an index of its is not left waiting.
 */
static void
test_unseen(void)
{
	struct conn *a = client(), *b = client();

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	role_is(ROLE_MASTER, 1, term = 9);
	say(a, "SET k v\r\n");
	turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n", "no_sync: answered when appended");
	say(b, "GET k\r\n");
	is_u64(b->park, PARK_APPLY, "another client's read waits for it");
	mastership_ends(2);
	ok(gw_park_pending(&gw), "the end of the mastership is noticed");
	turn();
	is_str(heard(b), "-NOMASTER no master known\r\n", "and ends the wait");
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	gone(a);
	gone(b);
	term = 1;
	be_master();
	position_set(&region.pos->appended, last_vlsn);
	turn();
}

/* The next mastership, with its first record. */
static void
mastership_begins(uint16_t epoch)
{
	role_is(ROLE_MASTER, epoch, ++term);
	terms_add(region.terms, term, ++last_vlsn);
	position_set(&region.pos->appended, last_vlsn);
	position_set(&region.pos->term_start, epoch_word(epoch, last_vlsn));
	position_set(&region.pos->committed, epoch_word(epoch, last_vlsn));
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
}

/* A write behind one that was answered and cut off does not hide that. */
static void
test_written_on(void)
{
	struct conn *a = client(), *b = client(), *d = client();

	atomic_store(&region.control->sync_level, CONF_SYNC_NO_SYNC);
	mastership_begins(8);
	say(d, "SET k v\r\n");
	say(a, "SET k v\r\n");
	say(b, "SET k v\r\n");
	turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	turn();
	is_str(heard(a), "+OK\r\n", "no_sync: answered when appended");
	is_str(heard(b), "+OK\r\n", "so is another client");
	is_str(heard(d), "+OK\r\n", "and one whose write stays");
	mastership_ends(9);
	last_vlsn -= 2;
	position_set(&region.pos->appended, last_vlsn);
	turn();
	mastership_begins(10);
	/* Not committed yet, what that one has in its log. */
	position_set(&region.pos->committed, epoch_word(10, last_vlsn - 2));
	last_vlsn += 2;
	say(d, "SET k v\r\n");
	say(a, "SET k v\r\n");
	say(b, "INCR n\r\n");
	turn();
	wal_accept();
	position_set(&region.pos->appended, last_vlsn);
	store_int(gw.next_seq - 1, 1);
	turn();
	is_str(heard(a), "+OK\r\n", "the next mastership takes its next one");
	is_str(heard(b), ":1\r\n", "and the other's");
	is_str(heard(d), "+OK\r\n", "and the third's");
	is_u64(d->last_term, term, "which stands for all before it");
	position_set(&region.pos->committed, epoch_word(10, last_vlsn));
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
	gw.kv_open_turn = true;
	say(a, "DBSIZE\r\n");
	ok(is_told_and_closed(a, ""), "the first one may be lost: it is told");
	say(b, "DBSIZE\r\n");
	ok(is_told_and_closed(b, ""), "also behind what the store answered");
	say(d, "DBSIZE\r\n");
	turn();
	gw.kv_open_turn = false;
	is_str(heard(d), ":0\r\n", "the third has lost nothing");
	terms_clear(region.terms);
	atomic_store(&region.control->sync_level, CONF_SYNC_SYNC);
	gone(a);
	gone(b);
	gone(d);
}

int
main(void)
{
	set_up();
	test_unseen();
	test_roles();
	test_term();
	test_levels();
	test_log_failed();
	test_deposed();
	test_read_deposed();
	test_wait_deposed();
	test_cut_behind_look();
	test_written_on();
	rig_end();
	return tap_done();
}
