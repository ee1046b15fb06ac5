/*
 * The group at one moment, from made-up views and rows: who counts, how far
 * each is, what is said of it; and that a view of any bytes is shown, not
 * believed.
 */
#include "shm/members.h"

#include <string.h>
#include "t/shm_fixture.h"

static struct fixture f;
static struct members_look look;

static void
open_region(void)
{
	fixture_dir(&f);
	if (region_create(&f.r, &f.spec, (char[256]){ 0 }, 256) != 0)
		skip_all("no region can be made here");
}

static void
view_set(enum role role, unsigned self, int master, unsigned members)
{
	struct commit_view v = { .term = 7,
		.epoch = 2,
		.role = (uint8_t)role,
		.self = (uint8_t)self,
		.master = (int8_t)master,
		.member_count = (uint8_t)members,
		.voters = (uint16_t)((1u << members) - 1),
		.quorum = quorum_count(members / 2 + 1, members) };
	unsigned i;

	for (i = 0; i < members; i++)
		snprintf(f.r.commit->name[i], MEMBER_NAME_MAX, "n%u", i + 1);
	commit_view_write(f.r.commit, &v);
}

static void
row_set(unsigned i, enum peer_link link, enum peer_feed feed)
{
	struct peer_row *p = &f.r.peers->row[i];

	atomic_store(&p->link, link);
	atomic_store(&p->feed, feed);
	atomic_store(&p->flags, 0);
	atomic_store(&p->role, ROLE_REPLICA);
	atomic_store(&p->term, 7);
}

static bool
says(const char *want)
{
	char text[128];

	members_look(&f.r, mono_ns(), &look);
	members_text(&look, text, sizeof(text));
	if (strcmp(text, want) == 0)
		return true;
	diag("%s", text);
	return false;
}

static void
test_alone(void)
{
	char text[256];

	open_region();
	view_set(ROLE_MASTER, 0, 0, 1);
	ok(says("can lose no more member (1 of 1)"), "a group of one");
	ok(!members_shown(&look), "is not shown");
	is_str(members_master_text(&look, text, sizeof(text)), "",
	    "and its master is the master");
	view_set(ROLE_DETACHED, MEMBER_MAX, -1, 0);
	ok(says("of no group yet") && !members_shown(&look),
	    "nor one that is of none and knows nobody");
	row_set(0, PEER_AWAY, PEER_FEED_NONE);
	ok(says("of no group yet") && members_shown(&look) && look.count == 1,
	    "it is with whom it is to found one");
	fixture_close(&f);
}

static void
test_counted(void)
{
	open_region();
	view_set(ROLE_MASTER, 0, 0, 5);
	ok(says("no quorum: 1 of 5, 3 needed"), "a master by itself");
	row_set(1, PEER_UP, PEER_FEED_LIVE);
	row_set(2, PEER_UP, PEER_FEED_LIVE);
	row_set(3, PEER_UP, PEER_FEED_SEGMENTS);
	row_set(4, PEER_HANDSHAKE, PEER_FEED_NONE);
	ok(says("can lose no more member (3 of 5), 1 connected and not in "
		"step"),
	    "who takes records live counts");
	row_set(3, PEER_UP, PEER_FEED_LIVE);
	row_set(4, PEER_UP, PEER_FEED_LIVE);
	ok(says("can lose 2 more members (5 of 5)"), "all do");
	atomic_store(&f.r.peers->row[4].flags, 1);
	ok(says("can lose 1 more member (4 of 5), 1 connected and not in "
		"step"),
	    "but who tells of a full disk");
	view_set(ROLE_REPLICA, 1, 0, 5);
	row_set(0, PEER_UP, PEER_FEED_FROM);
	row_set(2, PEER_UP, PEER_FEED_NONE);
	row_set(3, PEER_UP, PEER_FEED_NONE);
	row_set(4, PEER_AWAY, PEER_FEED_NONE);
	ok(says("can lose 1 more member (4 of 5)"),
	    "a replica sees who is connected");
	atomic_store(&f.r.peers->row[3].role, ROLE_DETACHED);
	ok(says("can lose no more member (3 of 5), 1 connected and not in "
		"step"),
	    "who has lost its memory does not count");
	view_set(ROLE_DETACHED, 1, -1, 5);
	ok(says("no quorum: 2 of 5, 3 needed, 2 connected and not in step"),
	    "nor for itself");
	fixture_close(&f);
}

static void
test_lag(void)
{
	struct peer_row *p;

	open_region();
	p = f.r.peers->row;
	view_set(ROLE_MASTER, 0, 0, 3);
	position_set(&f.r.pos->appended, 100);
	position_set(&f.r.pos->durable, 99);
	row_set(1, PEER_UP, PEER_FEED_LIVE);
	atomic_store(&p[1].acked, 90);
	atomic_store(&p[1].durable, 95);
	atomic_store(&p[1].appended, 500);
	members_look(&f.r, mono_ns(), &look);
	ok(look.row[0].lag == 1 && look.row[1].lag == 10,
	    "a master goes by its own log and by acknowledgements");
	ok(!look.row[2].lag_known, "of who never came nothing is known");
	view_set(ROLE_REPLICA, 2, 1, 3);
	row_set(1, PEER_UP, PEER_FEED_FROM);
	members_look(&f.r, mono_ns(), &look);
	ok(look.row[2].lag == 401 && look.row[1].lag == 405,
	    "a replica by the newest record that is told of");
	atomic_store(&p[1].term, 6);
	members_look(&f.r, mono_ns(), &look);
	is_u64(look.row[2].lag, 1, "in this term: another one's tail is none");
	fixture_close(&f);
}

static void
test_master(void)
{
	char text[256];

	open_region();
	view_set(ROLE_REPLICA, 1, 0, 3);
	strcpy(f.r.commit->client[0], "h1:7379");
	members_look(&f.r, mono_ns(), &look);
	is_str(members_master_text(&look, text, sizeof(text)),
	    "a replica: the master is n1 at h1:7379", "who is master");
	view_set(ROLE_UNKNOWN, 1, -1, 3);
	peers_no_master_set(f.r.peers, 5 * NS_PER_MS, "n1 is silent");
	members_look(&f.r, 105 * NS_PER_MS, &look);
	is_str(members_master_text(&look, text, sizeof(text)),
	    "no master for 100 ms: n1 is silent", "or why there is none");
	member_flags_text(1 | 16, text, sizeof(text));
	is_str(text,
	    "its disk is full; no log has what it needs: it must be "
	    "restored",
	    "what a member tells");
	fixture_close(&f);
}

/* The region is other processes' memory. */
static void
test_any_bytes(void)
{
	uint64_t word[sizeof(struct commit_view) / 8];
	char text[64];
	unsigned k, i, sum = 0;

	open_region();
	for (k = 0; k < 2000; k++) {
		for (i = 0; i < sizeof(word) / 8; i++) {
			word[i] = rnd();
			atomic_store(&f.r.commit->word[0][i], word[i]);
			atomic_store(&f.r.commit->word[1][i], word[i]);
		}
		for (i = 0; i < MEMBER_MAX; i++) {
			atomic_store(&f.r.peers->row[i].link, (uint32_t)rnd());
			atomic_store(
			    &f.r.peers->row[i].feed, (uint32_t)rnd() % 8);
			memset(f.r.commit->name[i], 'x', MEMBER_NAME_MAX);
			memset(f.r.commit->client[i], 'y', MEMBER_ADDR_MAX);
		}
		members_look(&f.r, rnd(), &look);
		members_text(&look, text, sizeof(text));
		members_master_text(&look, text, sizeof(text));
		for (i = 0; i < look.count; i++)
			sum += member_link_word(&look.row[i]) != NULL &&
			       strlen(look.row[i].name) < MEMBER_NAME_MAX;
	}
	ok(sum > 0 && look.count <= MEMBER_MAX, "any bytes are shown");
	fixture_close(&f);
}

int
main(void)
{
	rnd_seed();
	test_alone();
	test_counted();
	test_lag();
	test_master();
	test_any_bytes();
	return tap_done();
}
