/*
 * Codec and arithmetic of the membership record; formats are in member.h.
 * Bytes come from the log and from a file: every length is bounded before it
 * is used, and what does not add up is refused.
 */
#include "workers/group/core/member.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

_Static_assert(MEMBER_RECORD_MAX <= UINT16_MAX, "fits one log record");
_Static_assert(MEMBER_MAX <= 16, "member masks are 16 bits");

static bool
text_check(const char *text, size_t max)
{
	size_t n = strnlen(text, max);
	size_t i;

	if (n == max)
		return false;
	for (i = 0; i < n; i++)
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
			return false;
	return true;
}

static const char *
entry_check(const struct membership *m, uint32_t index)
{
	const struct member *a = &m->member[index];
	uint32_t i;

	if (a->incarnation == 0)
		return "a member has no incarnation";
	if (a->type > NODE_ARBITER)
		return "a member is of an unknown type";
	if (a->name[0] == '\0' || !text_check(a->name, sizeof(a->name)))
		return "a member's name is empty or not printable";
	if (!text_check(a->region, sizeof(a->region)))
		return "a member's region is not printable";
	if (!text_check(a->peer, sizeof(a->peer)) ||
	    !text_check(a->client, sizeof(a->client)))
		return "a member's address is not printable";
	for (i = 0; i < index; i++) {
		if (strcmp(m->member[i].name, a->name) == 0)
			return "two members have the same name";
		if (m->member[i].incarnation == a->incarnation)
			return "two members have the same incarnation";
	}
	return NULL;
}

/* Electable members and arbiters vote, and what they flushed counts. */
static bool
is_voter(const struct member *a)
{
	return a->type == NODE_ELECTABLE || a->type == NODE_ARBITER;
}

/* What only other policies have is zero, so that a record has one form. */
static const char *
policy_check(const struct membership *m)
{
	if (m->policy > QUORUM_PRIMARY)
		return "the quorum policy is unknown";
	if (m->policy != QUORUM_FLEXIBLE && (m->elect | m->commit) != 0)
		return "counts of voters belong to another quorum policy";
	if (m->policy != QUORUM_EXPRESSION &&
	    (m->elect_text[0] != '\0' || m->commit_text[0] != '\0'))
		return "expressions belong to another quorum policy";
	if (strnlen(m->elect_text, MEMBER_QUORUM_MAX) == MEMBER_QUORUM_MAX ||
	    strnlen(m->commit_text, MEMBER_QUORUM_MAX) == MEMBER_QUORUM_MAX)
		return "a quorum expression is too long";
	if (m->policy != QUORUM_PRIMARY)
		return m->primary == 0 ? NULL
				       : "a designated primary belongs to "
					 "another quorum policy";
	if (m->primary >= m->count)
		return "the designated primary is no member";
	/* An arbiter is never master. */
	return m->member[m->primary].type == NODE_ELECTABLE
		   ? NULL
		   : "the designated primary is not electable";
}

/* The tables of its voters; NULL, or why there can be none. */
static const char *
quorums_make(const struct membership *m, struct quorums *out)
{
	struct quorum_policy policy = { .kind = m->policy,
		.elect = m->elect,
		.commit = m->commit,
		.elect_text = m->elect_text,
		.commit_text = m->commit_text };
	const char *name[MEMBER_MAX];
	unsigned count = 0;
	uint32_t i;

	out->voters = 0;
	for (i = 0; i < m->count; i++) {
		if (!is_voter(&m->member[i]))
			continue;
		if (m->policy == QUORUM_PRIMARY && i == m->primary)
			policy.primary = count;
		out->voters |= (uint16_t)(1u << i);
		name[count++] = m->member[i].name;
	}
	return quorum_make(&out->elect, &out->commit, &policy, name, count);
}

const char *
member_check(const struct membership *m)
{
	struct quorums quorums;
	const char *why;
	bool electable = false;
	uint32_t i;

	if (m->count == 0 || m->count > MEMBER_MAX)
		return "the number of members is out of bounds";
	for (i = 0; i < m->count; i++) {
		if ((why = entry_check(m, i)) != NULL)
			return why;
		electable |= m->member[i].type == NODE_ELECTABLE;
	}
	if (!electable)
		return "no member is electable";
	if ((m->features & ~MEMBER_FEATURES) != 0)
		return "a feature is unknown";
	if ((why = policy_check(m)) != NULL)
		return why;
	return quorums_make(m, &quorums);
}

static size_t
text_put(uint8_t *at, const char *text)
{
	size_t n = strlen(text);

	memcpy(at, text, n);
	return n;
}

static size_t
entry_encode(uint8_t *at, const struct member *a)
{
	size_t n = MEMBER_ENTRY_SIZE;

	memset(at, 0, MEMBER_ENTRY_SIZE);
	put_le64(at, a->incarnation);
	put_le32(at + 8, a->priority);
	at[12] = a->type;
	at[13] = (uint8_t)strlen(a->name);
	at[14] = (uint8_t)strlen(a->region);
	put_le16(at + 16, (uint16_t)strlen(a->peer));
	put_le16(at + 18, (uint16_t)strlen(a->client));
	put_le16(at + 20, a->read_capacity);
	put_le16(at + 22, a->write_capacity);
	put_le32(at + 24, a->latency_ms);
	n += text_put(at + n, a->name);
	n += text_put(at + n, a->region);
	n += text_put(at + n, a->peer);
	n += text_put(at + n, a->client);
	return n;
}

size_t
member_encode(uint8_t *at, const struct membership *m)
{
	size_t n = MEMBER_HEAD_SIZE;
	uint32_t i;

	ASSERT(member_check(m) == NULL);
	memset(at, 0, MEMBER_HEAD_SIZE);
	put_le16(at, MEMBER_FORMAT);
	put_le16(at + 2, (uint16_t)m->count);
	put_le32(at + 4, m->policy);
	memcpy(at + 8, m->group_uuid, sizeof(m->group_uuid));
	put_le64(at + 24, m->generation);
	put_le32(at + 32, m->lease_ms);
	at[36] = m->elect;
	at[37] = m->commit;
	at[38] = m->primary;
	put_le64(at + 40, m->before);
	put_le64(at + 48, m->features);
	put_le16(at + 56, (uint16_t)strlen(m->elect_text));
	put_le16(at + 58, (uint16_t)strlen(m->commit_text));
	n += text_put(at + n, m->elect_text);
	n += text_put(at + n, m->commit_text);
	for (i = 0; i < m->count; i++)
		n += entry_encode(at + n, &m->member[i]);
	ASSERT(n <= MEMBER_RECORD_MAX);
	return n;
}

/* Foreign bytes, taken from the front. */
struct bytes {
	const uint8_t *at;
	size_t n;
};

/* The next `n` bytes, or NULL if there are not so many. */
static const uint8_t *
bytes_take(struct bytes *b, size_t n)
{
	const uint8_t *at = b->at;

	if (b->n < n)
		return NULL;
	b->at += n;
	b->n -= n;
	return at;
}

/* A text of n bytes into `max`, which is zeroed. A NUL would hide the rest. */
static bool
text_take(struct bytes *b, size_t n, char *text, size_t max)
{
	const uint8_t *at;

	if (n >= max || (at = bytes_take(b, n)) == NULL)
		return false;
	memcpy(text, at, n);
	return strlen(text) == n;
}

void
member_default(struct member *a)
{
	a->read_capacity = a->write_capacity = 100;
	a->latency_ms = 1;
}

static bool
entry_decode_1(struct bytes *b, struct member *a)
{
	const uint8_t *at = bytes_take(b, MEMBER_ENTRY_SIZE_1);

	if (at == NULL)
		return false;
	member_default(a);
	a->incarnation = get_le64(at);
	a->priority = get_le32(at + 8);
	a->type = at[12];
	return text_take(b, at[13], a->name, sizeof(a->name)) &&
	       text_take(b, get_le16(at + 14), a->peer, sizeof(a->peer));
}

static bool
entry_decode(struct bytes *b, struct member *a)
{
	const uint8_t *at = bytes_take(b, MEMBER_ENTRY_SIZE);

	if (at == NULL || at[15] != 0 || get_le32(at + 28) != 0)
		return false;
	a->incarnation = get_le64(at);
	a->priority = get_le32(at + 8);
	a->type = at[12];
	a->read_capacity = get_le16(at + 20);
	a->write_capacity = get_le16(at + 22);
	a->latency_ms = get_le32(at + 24);
	return text_take(b, at[13], a->name, sizeof(a->name)) &&
	       text_take(b, at[14], a->region, sizeof(a->region)) &&
	       text_take(b, get_le16(at + 16), a->peer, sizeof(a->peer)) &&
	       text_take(b, get_le16(at + 18), a->client, sizeof(a->client));
}

/* What only format 2 has, of the head at `at`, and the texts behind it. */
static bool
head_decode(const uint8_t *at, struct bytes *b, struct membership *out)
{
	if (bytes_take(b, MEMBER_HEAD_SIZE - MEMBER_HEAD_SIZE_1) == NULL ||
	    at[39] != 0 || get_le32(at + 60) != 0)
		return false;
	out->elect = at[36];
	out->commit = at[37];
	out->primary = at[38];
	out->before = get_le64(at + 40);
	out->features = get_le64(at + 48);
	return text_take(b, get_le16(at + 56), out->elect_text,
		   sizeof(out->elect_text)) &&
	       text_take(b, get_le16(at + 58), out->commit_text,
		   sizeof(out->commit_text));
}

/* Is it of a kind that a later version has made? */
static bool
is_newer(const struct membership *m, unsigned format)
{
	if (format == 1)
		return m->policy != QUORUM_MAJORITY;
	return m->policy > QUORUM_PRIMARY ||
	       (m->features & ~MEMBER_FEATURES) != 0;
}

int
member_decode(
    const uint8_t *at, size_t n, uint64_t vlsn, struct membership *out)
{
	struct bytes b = { at, n };
	unsigned format;
	uint32_t i;

	memset(out, 0, sizeof(*out));
	if (n > MEMBER_RECORD_MAX || bytes_take(&b, MEMBER_HEAD_SIZE_1) == NULL)
		return -EBADMSG;
	format = get_le16(at);
	if (format != 1 && format != MEMBER_FORMAT)
		return -EPROTO;
	out->vlsn = vlsn;
	out->count = get_le16(at + 2);
	out->policy = get_le32(at + 4);
	memcpy(out->group_uuid, at + 8, sizeof(out->group_uuid));
	out->generation = get_le64(at + 24);
	out->lease_ms = get_le32(at + 32);
	if (format == 1 ? get_le32(at + 36) != 0 : !head_decode(at, &b, out))
		return -EBADMSG;
	if (is_newer(out, format))
		return -EPROTO;
	if (out->count == 0 || out->count > MEMBER_MAX)
		return -EBADMSG;
	for (i = 0; i < out->count; i++)
		if (format == 1 ? !entry_decode_1(&b, &out->member[i])
				: !entry_decode(&b, &out->member[i]))
			return -EBADMSG;
	if (b.n != 0 || member_check(out) != NULL)
		return -EBADMSG;
	return 0;
}

void
member_quorums(const struct membership *m, struct quorums *out)
{
	const char *why = quorums_make(m, out);

	ASSERT(why == NULL);
}

int
member_find(const struct membership *m, uint64_t incarnation)
{
	uint32_t i;

	for (i = 0; i < m->count; i++)
		if (m->member[i].incarnation == incarnation)
			return (int)i;
	return -1;
}
