/*
 * Which records the store answers: all that a mastership of this node appended
 * and committed, also when they are applied later. The gateway that has been
 * told where such a record is waits for nothing else.
 */
#include "t/shm_fixture.h"
#include "workers/store/store.h"

static struct fixture f;
static struct store s;

static bool
wanted(uint64_t term, uint64_t vlsn, uint32_t incarnation)
{
	const struct record rec = { .type = REC_OP,
		.flags = REC_WANT_RESULT,
		.term = term,
		.vlsn = vlsn,
		.origin = record_origin(SLOT_GATEWAY, incarnation, 1) };

	return store_result_wanted(&s, &rec);
}

/* As group does it, and wal with a term's first record. */
static void
role_is(enum role role, uint64_t term, uint16_t epoch)
{
	const struct commit_view v = {
		.role = role, .term = term, .epoch = epoch, .master = -1
	};

	commit_view_write(f.r.commit, &v);
}

static void
committed_is(uint16_t epoch, uint64_t vlsn)
{
	position_set(&f.r.pos->committed, epoch_word(epoch, vlsn));
}

static void
test_master(void)
{
	const struct record other = { .type = REC_OP,
		.term = 3,
		.vlsn = 11,
		.origin = record_origin(SLOT_GATEWAY, 2, 1) };

	role_is(ROLE_MASTER, 3, 5);
	position_set(&f.r.pos->term_start, epoch_word(5, 10));
	committed_is(5, 20);
	ok(wanted(3, 11, 2), "a master's own record");
	ok(!wanted(2, 9, 2), "not one of a term before its boot");
	ok(!wanted(3, 11, 1), "nor of an earlier life of the slot");
	ok(!store_result_wanted(&s, &other), "nor one that wants none");
}

/* Its records stay its own; wal tells the new epoch a moment later. */
static void
test_epoch(void)
{
	role_is(ROLE_MASTER, 3, 6);
	committed_is(6, 20);
	ok(wanted(3, 20, 2), "a change of the members does not end a term");
}

static void
test_ended(void)
{
	committed_is(7, 20);
	commit_term_ended(&f.r, 3);
	role_is(ROLE_UNKNOWN, 4, 7);
	ok(wanted(3, 20, 2), "what was committed is answered behind the end");
	ok(!wanted(3, 21, 2), "of the rest that is not known");
	role_is(ROLE_MASTER, 5, 8);
	position_set(&f.r.pos->term_start, epoch_word(8, 22));
	committed_is(8, 30);
	ok(wanted(3, 20, 2), "and as master of another term");
	ok(!wanted(3, 21, 2), "which has committed more of it");
	ok(wanted(5, 22, 2), "as is what this one appends");
	committed_is(9, 30);
	commit_term_ended(&f.r, 5);
	role_is(ROLE_REPLICA, 6, 9);
	ok(!wanted(6, 31, 2), "another member's records are its own");
	ok(wanted(5, 30, 2), "the own ones are answered as a replica, too");
	committed_is(9, 40);
	ok(!wanted(5, 31, 2), "not what only the next master committed");
	role_is(ROLE_MASTER, 7, 10);
	committed_is(10, 40);
	ok(!wanted(6, 35, 2),
	    "another member's stay its own when this one is master again");
}

/* More are over than are remembered: nothing is sent that nobody can judge. */
static void
test_forgotten(void)
{
	unsigned i;

	for (i = 0; i < ENDED_MAX; i++)
		commit_term_ended(&f.r, 100 + i);
	ok(!wanted(5, 30, 2), "a mastership that is forgotten answers nothing");
}

/* Another member may have more gateways, and rings that are none here. */
static void
test_slots(void)
{
	const struct record beyond = { .type = REC_OP,
		.flags = REC_WANT_RESULT,
		.term = 7,
		.vlsn = 40,
		.origin = record_origin(SLOT_MAX - 1, 2, 1) };
	const struct record none = { .type = REC_OP,
		.flags = REC_WANT_RESULT,
		.term = 7,
		.vlsn = 40,
		.origin = record_origin(200, 2, 1) };

	ok(wanted(7, 40, 2), "a record of this mastership");
	ok(!store_result_wanted(&s, &beyond), "not of a slot that is empty");
	ok(!store_result_wanted(&s, &none), "nor of one that there is not");
}

int
main(void)
{
	fixture_open(&f);
	s.r = &f.r;
	atomic_store(&f.r.slots->row[SLOT_GATEWAY].incarnation, 2);
	test_master();
	test_epoch();
	test_ended();
	test_slots();
	test_forgotten();
	fixture_close(&f);
	return tap_done();
}
