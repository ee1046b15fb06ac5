/*
 * A lease that runs out, or a mastership that is another, between a read of the
 * store and its answer, for each way in which the store is read: nothing of it
 * is told, and all of it is read again once the lease is held.
 */
#include "t/lib/gateway_rig.h"
#include "t/lib/store_rig.h"

#define BIG 200000u /* KEYS takes its time then */

static struct rig rig;
static uint16_t epoch = 1;

static void
master_is(uint64_t of_term, uint64_t lease_ns)
{
	struct commit_view view = { .term = of_term,
		.epoch = epoch,
		.role = ROLE_MASTER,
		.member_count = 3,
		.voters = 7,
		.quorum = quorum_count(2, 3),
		.lease_until_ns = lease_ns };

	commit_view_write(region.commit, &view);
}

/* What happens behind the next read. */
static void (*behind_read)(void);
static unsigned looks;
bool __real_commit_holds_lease(const struct region *, uint64_t);
bool __wrap_commit_holds_lease(const struct region *, uint64_t);

bool
__wrap_commit_holds_lease(const struct region *r, uint64_t of_term)
{
	void (*then)(void) = behind_read;

	looks++;
	behind_read = NULL;
	if (then != NULL)
		then();
	return __real_commit_holds_lease(r, of_term);
}

static void
store_is(const char *value, bool more)
{
	rig_must(rig_set(&rig, "k", value));
	if (more)
		rig_must(rig_set(&rig, "late", value));
	else
		rig_must(rig_del(&rig, "late"));
	last_vlsn = rig.vlsn;
	position_set(&region.pos->appended, last_vlsn);
	position_set(&region.pos->committed, epoch_word(epoch, last_vlsn));
	position_set(&region.pos->applied, last_vlsn);
	position_set(&region.pos->resolved, last_vlsn);
}

static void
lapses(void)
{
	master_is(term, 1);
	store_is("b", true);
}

static void
next_turn(void)
{
	gw.io.loop.now_ns += 3 * NS_PER_MS;
	gw_write_turn(&gw);
	gw_park_wake(&gw);
	gw.turn_end_ns = LOOP_NEVER;
	gw.turn_over = false;
	gw_write_publish(&gw);
	gw_read_end(&gw);
}

static const struct {
	const char *says, *before, *after; /* of the reply */
} reads[] = {
	{ "GET k\r\n", "$1\r\na\r\n", "$1\r\nb\r\n" },
	{ "GET late\r\n", "$-1\r\n", "$1\r\nb\r\n" },
	{ "GETRANGE k 0 5\r\n", "$1\r\na\r\n", "$1\r\nb\r\n" },
	{ "STRLEN late\r\n", ":0\r\n", ":1\r\n" },
	{ "MGET k late\r\n", "*2\r\n$1\r\na\r\n$-1\r\n",
	    "*2\r\n$1\r\nb\r\n$1\r\nb\r\n" },
	{ "EXISTS k late\r\n", ":1\r\n", ":2\r\n" },
	{ "SCAN 0 MATCH l*\r\n", "*2\r\n$1\r\n0\r\n*0\r\n",
	    "*2\r\n$1\r\n0\r\n*1\r\n$4\r\nlate\r\n" },
	{ "KEYS l*\r\n", "*0\r\n", "*1\r\n$4\r\nlate\r\n" },
	{ "EXEC\r\n", "*2\r\n$1\r\na\r\n:0\r\n", "*2\r\n$1\r\nb\r\n:1\r\n" },
};

static void
begin(struct conn *c, const char *says)
{
	if (says[0] != 'E' || says[3] != 'C')
		return;
	say(c, "MULTI\r\nGET k\r\nEXISTS late\r\n");
	is_str(heard(c), "+OK\r\n+QUEUED\r\n+QUEUED\r\n", "a transaction");
}

static void
settle(struct conn *c)
{
	unsigned i;

	for (i = 0; i < 100 && sink_len(&c->out) == 0 && c->park != PARK_LEASE;
	     i++)
		next_turn();
}

static void
test_reads(void)
{
	struct conn *a = client();
	unsigned i;

	for (i = 0; i < NITEMS(reads); i++) {
		master_is(term, UINT64_MAX - 1);
		store_is("a", false);
		begin(a, reads[i].says);
		looks = 0;
		say(a, reads[i].says);
		settle(a);
		is_str(heard(a), reads[i].before, "a read under a lease");
		is_u64(looks, 1, "one more look at the lease");
		begin(a, reads[i].says);
		behind_read = lapses;
		say(a, reads[i].says);
		settle(a);
		ok(behind_read == NULL && sink_len(&a->out) == 0 &&
			a->park == PARK_LEASE,
		    "%.4s: nothing is told without a lease", reads[i].says);
		next_turn();
		is_str(heard(a), "", "nor while there is none");
		master_is(term, UINT64_MAX - 1);
		next_turn();
		settle(a);
		is_str(heard(a), reads[i].after, "all is read again");
		is_u64(a->park, PARK_NOT, "and nothing waits");
		gw_read_end(&gw);
	}
	gone(a);
}

/* A group of one needs none, and pays for none. */
static void
test_alone(void)
{
	struct conn *a = client();

	master_is(term, UINT64_MAX);
	store_is("a", false);
	looks = 0;
	say(a, "GET k\r\nMGET k\r\n");
	settle(a);
	is_str(
	    heard(a), "$1\r\na\r\n*1\r\n$1\r\na\r\n", "a group of one reads");
	is_u64(looks, 0, "and does not look again");
	gw_read_end(&gw);
	gone(a);
}

/* Who reads what is here needs none either; it goes while it waits. */
static void
test_eventual(void)
{
	struct conn *a = client(), *b = client();

	master_is(term, 1);
	looks = 0;
	say(a, "READONLY\r\nGET k\r\n");
	is_str(heard(a), "+OK\r\n$1\r\na\r\n", "an eventual read");
	is_u64(looks, 0, "does not look");
	say(b, "GET k\r\n");
	is_u64(b->park, PARK_LEASE, "another one waits for the lease");
	gone(b);
	is_u64(gw.waiting_count, 0, "and goes");
	gw_read_end(&gw);
	gone(a);
}

int
main(void)
{
	struct table_head *own;
	char *big = malloc(BIG + 1);

	set_up();
	rig_open(&rig, 8 << 20);
	memset(big, 'x', BIG);
	big[BIG] = '\0';
	rig_must(rig_set(&rig, "big", big));
	free(big);
	rig.reader = rig_kv(&rig, SLOT_GATEWAY);
	own = region.table;
	region.table = rig.r.table;
	gw.kv = rig.reader;
	master_is(term, UINT64_MAX - 1);
	test_reads();
	test_alone();
	test_eventual();
	gw.kv = NULL;
	gw_scan_free(&gw);
	region.table = own;
	rig_end();
	rig_close(&rig);
	return tap_done();
}
