/*
 * The membership record and its file: what is written is read back, what is
 * cut short, longer, or changed in any bit is refused, and so is a membership
 * that cannot work.
 */
#include "t/tap.h"

#include <errno.h>

#include "workers/group/member.h"

static struct membership
sample(unsigned count)
{
	struct membership m = {
		.vlsn = 77, .generation = 3, .lease_ms = 1500, .count = count
	};
	unsigned i;

	memcpy(m.group_uuid, "0123456789abcdef", 16);
	for (i = 0; i < count; i++) {
		m.member[i].incarnation = 0xabc000 + i;
		m.member[i].priority = i;
		m.member[i].type = i % 4;
		snprintf(m.member[i].name, MEMBER_NAME_MAX, "node%u", i);
		snprintf(
		    m.member[i].address, MEMBER_ADDR_MAX, "[fe80::%u]:7380", i);
		if (i == 1)
			memset(m.member[i].address, 0, MEMBER_ADDR_MAX);
	}
	return m;
}

static void
test_round_trip(void)
{
	uint8_t buf[MEMBER_FILE_MAX];
	struct membership m, out;
	size_t n, i;
	unsigned count, bad = 0, cut = 0;

	for (count = 1; count <= MEMBER_MAX; count++) {
		m = sample(count);
		n = member_encode(buf, &m);
		bad += member_decode(buf, n, 77, &out) != 0 ||
		       memcmp(&m, &out, sizeof(m)) != 0;
		for (i = 0; i < n; i++)
			cut += member_decode(buf, i, 77, &out) == 0;
		buf[n] = 0;
		cut += member_decode(buf, n + 1, 77, &out) == 0;
	}
	is_u64(bad, 0, "1 to 16 members come back as they were");
	is_u64(cut, 0, "shorter and longer records are refused");
	memset(&m.member[15].name, 'n', MEMBER_NAME_MAX - 1);
	memset(&m.member[15].address, 'a', MEMBER_ADDR_MAX - 1);
	n = member_encode(buf, &m);
	ok(n <= MEMBER_RECORD_MAX && member_decode(buf, n, 77, &out) == 0 &&
		strlen(out.member[15].address) == MEMBER_ADDR_MAX - 1,
	    "the longest names fit");
}

static void
test_file(void)
{
	uint8_t buf[MEMBER_FILE_MAX];
	struct membership m = sample(3), out;
	size_t n = member_file_encode(buf, &m), i;
	unsigned taken = 0;

	ok(member_file_decode(buf, n, &out) == 0 &&
		memcmp(&m, &out, sizeof(m)) == 0,
	    "the file keeps record and VLSN");
	for (i = 0; i < n * 8; i++) {
		buf[i / 8] ^= (uint8_t)(1u << i % 8);
		taken += member_file_decode(buf, n, &out) == 0;
		buf[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	is_u64(taken, 0, "any flipped bit is found");
	for (i = 0; i < n; i++)
		taken += member_file_decode(buf, i, &out) == 0;
	is_u64(taken, 0, "and any lost end");
}

static void
test_refusals(void)
{
	uint8_t buf[MEMBER_RECORD_MAX];
	struct membership m = sample(3), out;
	size_t n;

	n = member_encode(buf, &m);
	buf[0] = 2;
	is_i64(member_decode(buf, n, 1, &out), -EPROTO, "another version");
	buf[0] = 1;
	buf[4] = 1;
	is_i64(member_decode(buf, n, 1, &out), -EPROTO, "another policy");
	buf[4] = 0;
	buf[2] = 17;
	is_i64(member_decode(buf, n, 1, &out), -EBADMSG, "17 members");
	buf[2] = 0;
	is_i64(member_decode(buf, n, 1, &out), -EBADMSG, "no member");
	buf[2] = 3;
	buf[MEMBER_HEAD_SIZE + MEMBER_ENTRY_SIZE + 2] = '\0';
	is_i64(member_decode(buf, n, 1, &out), -EBADMSG, "NUL in a name");

	ok(member_check(&m) == NULL, "a sound membership");
	m.member[2].incarnation = m.member[0].incarnation;
	ok(member_check(&m) != NULL, "two of one incarnation");
	m = sample(3);
	m.member[1].incarnation = 0;
	ok(member_check(&m) != NULL, "no incarnation");
	m = sample(3);
	strcpy(m.member[2].name, "node0");
	ok(member_check(&m) != NULL, "two of one name");
	m = sample(3);
	m.member[0].type = NODE_SECONDARY;
	ok(member_check(&m) != NULL, "nobody electable");
	m = sample(3);
	m.member[0].type = 4;
	ok(member_check(&m) != NULL, "an unknown type");
	m = sample(3);
	m.member[0].name[1] = '\n';
	ok(member_check(&m) != NULL, "a name that is not printable");
}

/* Is it any `least` of `count` voters? */
static bool
any(const struct quorum *q, unsigned least, unsigned count)
{
	struct quorum want = quorum_count(least, count);

	return quorum_same(q, &want);
}

static void
test_quorums(void)
{
	/* Types go round: electable, monitor, secondary, arbiter. */
	struct membership m = sample(1);
	struct quorums q;
	unsigned i;

	member_quorums(&m, &q);
	ok(q.voters == 1 && any(&q.elect, 1, 1) && any(&q.commit, 1, 1),
	    "one of one");
	m = sample(4);
	member_quorums(&m, &q);
	ok(q.voters == 9 && any(&q.elect, 2, 2) && any(&q.commit, 2, 2),
	    "arbiters vote, others do not");
	m = sample(9);
	member_quorums(&m, &q);
	ok(q.voters == 0x199 && any(&q.elect, 3, 5) && any(&q.commit, 3, 5),
	    "three of five");
	m = sample(MEMBER_MAX);
	member_quorums(&m, &q);
	ok(q.voters == 0x9999 && any(&q.elect, 5, 8), "five of eight");
	m.member[1].type = NODE_ARBITER;
	ok(member_check(&m) == NULL, "nine voters");
	m.member[2].type = NODE_ELECTABLE;
	ok(member_check(&m) != NULL, "ten are more than there may be");
	m.member[2].type = NODE_SECONDARY;
	for (i = 1; i < 9; i++) {
		m.policy = i;
		if (member_check(&m) == NULL)
			break;
	}
	is_u64(i, 9, "a policy that a record has no particulars of");
	is_i64(member_find(&m, 0xabc004), 4, "found by incarnation");
	is_i64(member_find(&m, 4), -1, "or not");
}

int
main(void)
{
	test_round_trip();
	test_file();
	test_refusals();
	test_quorums();
	return tap_done();
}
