/*
 * Codec and arithmetic of the membership record; formats are in member.h.
 * Bytes come from the log and from a file: every length is bounded before it
 * is used, and what does not add up is refused.
 */
#include "workers/group/member.h"

#include <errno.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/record.h"

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
	if (!text_check(a->address, sizeof(a->address)))
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

/* The tables of its voters; NULL, or why there can be none. */
static const char *
quorums_make(const struct membership *m, struct quorums *out)
{
	static const struct quorum_policy majority = { .kind =
							   QUORUM_MAJORITY };
	unsigned count = 0;
	uint32_t i;

	/* The particulars of the others are not in records of this format. */
	if (m->policy != QUORUM_MAJORITY)
		return "the quorum policy is unknown";
	out->voters = 0;
	for (i = 0; i < m->count; i++) {
		if (!is_voter(&m->member[i]))
			continue;
		out->voters |= (uint16_t)(1u << i);
		count++;
	}
	return quorum_make(&out->elect, &out->commit, &majority, NULL, count);
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
	return quorums_make(m, &quorums);
}

static size_t
entry_encode(uint8_t *at, const struct member *a)
{
	size_t name_len = strlen(a->name), addr_len = strlen(a->address);

	put_le64(at, a->incarnation);
	put_le32(at + 8, a->priority);
	at[12] = a->type;
	at[13] = (uint8_t)name_len;
	put_le16(at + 14, (uint16_t)addr_len);
	memcpy(at + MEMBER_ENTRY_SIZE, a->name, name_len);
	memcpy(at + MEMBER_ENTRY_SIZE + name_len, a->address, addr_len);
	return MEMBER_ENTRY_SIZE + name_len + addr_len;
}

size_t
member_encode(uint8_t *at, const struct membership *m)
{
	size_t n = MEMBER_HEAD_SIZE;
	uint32_t i;

	ASSERT(member_check(m) == NULL);
	put_le16(at, MEMBER_FORMAT);
	put_le16(at + 2, (uint16_t)m->count);
	put_le32(at + 4, m->policy);
	memcpy(at + 8, m->group_uuid, sizeof(m->group_uuid));
	put_le64(at + 24, m->generation);
	put_le32(at + 32, m->lease_ms);
	put_le32(at + 36, 0);
	for (i = 0; i < m->count; i++)
		n += entry_encode(at + n, &m->member[i]);
	ASSERT(n <= MEMBER_RECORD_MAX);
	return n;
}

/* Returns the bytes taken, or 0 if they are no member. */
static size_t
entry_decode(const uint8_t *at, size_t n, struct member *a)
{
	size_t name_len, addr_len;

	if (n < MEMBER_ENTRY_SIZE)
		return 0;
	a->incarnation = get_le64(at);
	a->priority = get_le32(at + 8);
	a->type = at[12];
	name_len = at[13];
	addr_len = get_le16(at + 14);
	if (name_len >= sizeof(a->name) || addr_len >= sizeof(a->address))
		return 0;
	if (n < MEMBER_ENTRY_SIZE + name_len + addr_len)
		return 0;
	memcpy(a->name, at + MEMBER_ENTRY_SIZE, name_len);
	memcpy(a->address, at + MEMBER_ENTRY_SIZE + name_len, addr_len);
	/* A NUL inside would hide the bytes behind it. */
	if (strlen(a->name) != name_len || strlen(a->address) != addr_len)
		return 0;
	return MEMBER_ENTRY_SIZE + name_len + addr_len;
}

int
member_decode(
    const uint8_t *at, size_t n, uint64_t vlsn, struct membership *out)
{
	size_t used = MEMBER_HEAD_SIZE, step;
	uint32_t i;

	memset(out, 0, sizeof(*out));
	if (n < MEMBER_HEAD_SIZE || n > MEMBER_RECORD_MAX)
		return -EBADMSG;
	if (get_le16(at) != MEMBER_FORMAT || get_le32(at + 4) != 0)
		return -EPROTO;
	out->vlsn = vlsn;
	out->count = get_le16(at + 2);
	out->policy = get_le32(at + 4);
	memcpy(out->group_uuid, at + 8, sizeof(out->group_uuid));
	out->generation = get_le64(at + 24);
	out->lease_ms = get_le32(at + 32);
	if (out->count == 0 || out->count > MEMBER_MAX ||
	    get_le32(at + 36) != 0)
		return -EBADMSG;
	for (i = 0; i < out->count; i++) {
		step = entry_decode(at + used, n - used, &out->member[i]);
		if (step == 0)
			return -EBADMSG;
		used += step;
	}
	if (used != n || member_check(out) != NULL)
		return -EBADMSG;
	return 0;
}

size_t
member_file_encode(uint8_t *at, const struct membership *m)
{
	size_t n = member_encode(at + MEMBER_FILE_HEAD, m);

	put_le32(at + 4, MEMBER_FILE_MAGIC);
	put_le32(at + 8, MEMBER_FORMAT);
	put_le32(at + 12, (uint32_t)n);
	put_le64(at + 16, m->vlsn);
	n += MEMBER_FILE_HEAD;
	put_le32(at, crc32c(0, at + 4, n - 4));
	return n;
}

int
member_file_decode(const uint8_t *at, size_t n, struct membership *out)
{
	if (n < MEMBER_FILE_HEAD || n > MEMBER_FILE_MAX)
		return -EBADMSG;
	if (get_le32(at) != crc32c(0, at + 4, n - 4))
		return -EBADMSG;
	if (get_le32(at + 4) != MEMBER_FILE_MAGIC)
		return -EBADMSG;
	if (get_le32(at + 8) != MEMBER_FORMAT)
		return -EPROTO;
	if (get_le32(at + 12) != n - MEMBER_FILE_HEAD)
		return -EBADMSG;
	return member_decode(at + MEMBER_FILE_HEAD, n - MEMBER_FILE_HEAD,
	    get_le64(at + 16), out);
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
