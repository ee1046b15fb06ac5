/*
 * The membership record and its file: what is written is read back, what is
 * cut short, longer, or changed in any bit is refused, and so is a membership
 * that cannot work.
 */
#include "t/tap.h"

#include <errno.h>

#include "workers/group/member_file.h"

static struct membership
sample(unsigned count)
{
	struct membership m = { .vlsn = 77,
		.before = 70,
		.generation = 3,
		.lease_ms = 1500,
		.count = count };
	unsigned i;

	memcpy(m.group_uuid, "0123456789abcdef", 16);
	for (i = 0; i < count; i++) {
		m.member[i].incarnation = 0xabc000 + i;
		m.member[i].priority = i;
		m.member[i].type = i % 4;
		m.member[i].read_capacity = (uint16_t)(100 + i);
		m.member[i].write_capacity = (uint16_t)(50 + i);
		m.member[i].latency_ms = 1 + i;
		snprintf(m.member[i].name, MEMBER_NAME_MAX, "node%u", i);
		if (i == 1)
			continue;
		snprintf(m.member[i].region, MEMBER_NAME_MAX, "hall%u", i / 4);
		snprintf(
		    m.member[i].peer, MEMBER_ADDR_MAX, "[fe80::%u]:7380", i);
		snprintf(
		    m.member[i].client, MEMBER_ADDR_MAX, "10.0.0.%u:7379", i);
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
	memset(&m.member[15].region, 'r', MEMBER_NAME_MAX - 1);
	memset(&m.member[15].peer, 'p', MEMBER_ADDR_MAX - 1);
	memset(&m.member[15].client, 'c', MEMBER_ADDR_MAX - 1);
	n = member_encode(buf, &m);
	ok(n <= MEMBER_RECORD_MAX && member_decode(buf, n, 77, &out) == 0 &&
		memcmp(&m, &out, sizeof(m)) == 0,
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
	buf[0] = 3;
	is_i64(member_decode(buf, n, 1, &out), -EPROTO, "another version");
	buf[0] = 2;
	buf[4] = QUORUM_PRIMARY + 1;
	is_i64(member_decode(buf, n, 1, &out), -EPROTO, "another policy");
	buf[4] = 0;
	buf[48] = 1;
	is_i64(member_decode(buf, n, 1, &out), -EPROTO, "another feature");
	buf[48] = 0;
	buf[36] = 1;
	is_i64(member_decode(buf, n, 1, &out), -EBADMSG, "a count for nothing");
	buf[36] = 0;
	buf[63] = 1;
	is_i64(member_decode(buf, n, 1, &out), -EBADMSG, "what must be zero");
	buf[63] = 0;
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
	m = sample(3);
	strcpy(m.member[0].region, "the hall");
	ok(member_check(&m) != NULL, "a blank in a region");
	m = sample(3);
	strcpy(m.member[0].client, "\x7f:7379");
	ok(member_check(&m) != NULL, "an address that is not printable");
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
	is_i64(member_find(&m, 0xabc004), 4, "found by incarnation");
	is_i64(member_find(&m, 4), -1, "or not");
}

/* Does it come back from a record as it was? */
static bool
kept(const struct membership *m)
{
	uint8_t buf[MEMBER_RECORD_MAX];
	struct membership out;
	size_t n = member_encode(buf, m);

	return member_decode(buf, n, m->vlsn, &out) == 0 &&
	       memcmp(m, &out, sizeof(out)) == 0;
}

static void
test_policies(void)
{
	/* Who votes: node0, node3, node4. */
	struct membership m = sample(5);
	struct quorums q;

	m.policy = QUORUM_FLEXIBLE;
	m.elect = 3;
	m.commit = 1;
	member_quorums(&m, &q);
	ok(kept(&m) && any(&q.elect, 3, 3) && any(&q.commit, 1, 3),
	    "flexible: three elect, any one commits");
	m.elect = 2;
	ok(member_check(&m) != NULL, "which must share a voter");
	m.policy = QUORUM_MAJORITY;
	ok(member_check(&m) != NULL, "counts that no policy wants");

	m.elect = m.commit = 0;
	m.policy = QUORUM_EXPRESSION;
	strcpy(m.elect_text, "node0&choose(1,node3,node4)");
	strcpy(m.commit_text, "node0&node3|node0&node4|node3&node4");
	member_quorums(&m, &q);
	ok(kept(&m) && !quorum_has(&q.elect, 6) && quorum_has(&q.elect, 3) &&
		any(&q.commit, 2, 3),
	    "expressions: node0 and another one elect");
	strcpy(m.elect_text, "node0&node1");
	ok(member_check(&m) != NULL, "name who votes");
	m.elect_text[0] = m.commit_text[0] = '\0';
	ok(member_check(&m) != NULL, "and must be there");

	m = sample(4);
	m.policy = QUORUM_PRIMARY;
	m.primary = 0;
	member_quorums(&m, &q);
	ok(kept(&m) && quorum_has(&q.elect, 1) && !quorum_has(&q.elect, 2) &&
		quorum_has(&q.commit, 1),
	    "a designated primary of two");
	m.primary = 3;
	ok(member_check(&m) != NULL, "is no arbiter");
	m.member[3].type = NODE_ELECTABLE;
	member_quorums(&m, &q);
	ok(kept(&m) && quorum_has(&q.elect, 2) && !quorum_has(&q.elect, 1),
	    "the other one, by its number as a member");
	m.primary = 4;
	ok(member_check(&m) != NULL, "is a member");
}

/* As the release before wrote it. */
static void
test_format_1(void)
{
	static const uint8_t record[] = "\1\0\1\0\0\0\0\0"
					"0123456789abcdef"
					"\3\0\0\0\0\0\0\0"
					"\xdc\5\0\0\0\0\0\0"
					"\0\xc0\xab\0\0\0\0\0"
					"\7\0\0\0\0\2\4\0"
					"n1h:74";
	uint8_t buf[sizeof(record)];
	size_t n = sizeof(record) - 1, i;
	struct membership m;
	unsigned taken = 0;

	ok(member_decode(record, n, 9, &m) == 0 && m.vlsn == 9 &&
		m.generation == 3 && m.lease_ms == 1500 && m.count == 1 &&
		m.policy == QUORUM_MAJORITY && m.before == 0,
	    "format 1 is read");
	ok(m.member[0].incarnation == 0xabc000 && m.member[0].priority == 7 &&
		strcmp(m.member[0].name, "n1") == 0 &&
		strcmp(m.member[0].peer, "h:74") == 0 &&
		m.member[0].client[0] == '\0' &&
		m.member[0].read_capacity == 100 &&
		m.member[0].write_capacity == 100 &&
		m.member[0].latency_ms == 1,
	    "what it does not tell is as where nobody told");
	ok(kept(&m), "it is written in format 2");
	for (i = 0; i < n; i++)
		taken += member_decode(record, i, 9, &m) == 0;
	is_u64(taken, 0, "shorter records are refused");
	memcpy(buf, record, n);
	buf[4] = 1;
	is_i64(member_decode(buf, n, 9, &m), -EPROTO, "its other policies");
	buf[4] = 0;
	buf[36] = 1;
	is_i64(member_decode(buf, n, 9, &m), -EBADMSG, "what must be zero");
}

int
main(void)
{
	test_round_trip();
	test_file();
	test_refusals();
	test_quorums();
	test_policies();
	test_format_1();
	return tap_done();
}
