/*
 * Codec, decision and founding of the state file; its format and the rule it
 * is written by are in state_file.h. The group worker writes it (group_io.c).
 */
#include "workers/group/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/fault.h"

#define STATE_USED_1    72 /* bytes of a block that have a meaning */
#define STATE_SEEN      104 /* where the boots that were seen begin */
#define STATE_SEEN_SIZE 24
_Static_assert(
    STATE_SEEN + STATE_BOOTS_MAX * STATE_SEEN_SIZE <= STATE_BLOCK_SIZE,
    "one block");

static void
boots_encode(uint8_t *at, const struct state *s)
{
	uint32_t i;

	ASSERT(s->boot_count <= STATE_BOOTS_MAX);
	for (i = 0; i < s->boot_count; i++, at += STATE_SEEN_SIZE) {
		put_le64(at, s->seen[i].incarnation);
		put_le64(at + 8, s->seen[i].count);
		put_le64(at + 16, s->seen[i].id);
	}
}

void
state_encode(uint8_t block[STATE_BLOCK_SIZE], const struct state *s)
{
	memset(block, 0, STATE_BLOCK_SIZE);
	put_le32(block + 4, STATE_MAGIC);
	put_le32(block + 8, STATE_FORMAT);
	put_le64(block + 16, s->counter);
	put_le64(block + 24, s->term);
	put_le64(block + 32, s->vote);
	put_le64(block + 40, s->incarnation);
	memcpy(block + 48, s->group_uuid, sizeof(s->group_uuid));
	put_le64(block + 64, s->generation);
	put_le64(block + 72, s->vote_boot);
	put_le32(block + 80, s->promise_ms);
	put_le32(block + 84, s->boot_count);
	put_le64(block + 88, s->boot);
	put_le64(block + 96, s->boot_id);
	boots_encode(block + STATE_SEEN, s);
	put_le32(block, crc32c(0, block + 4, STATE_BLOCK_SIZE - 4));
}

/* What format 2 has. Where it ends, or 0: it is none. */
static size_t
boots_decode(const uint8_t *block, struct state *out)
{
	const uint8_t *at = block + STATE_SEEN;
	uint32_t i;

	out->vote_boot = get_le64(block + 72);
	out->promise_ms = get_le32(block + 80);
	out->boot_count = get_le32(block + 84);
	out->boot = get_le64(block + 88);
	out->boot_id = get_le64(block + 96);
	if (out->boot_count > STATE_BOOTS_MAX)
		return 0;
	for (i = 0; i < out->boot_count; i++, at += STATE_SEEN_SIZE) {
		out->seen[i].incarnation = get_le64(at);
		out->seen[i].count = get_le64(at + 8);
		out->seen[i].id = get_le64(at + 16);
	}
	return (size_t)(at - block);
}

int
state_decode(const uint8_t block[STATE_BLOCK_SIZE], struct state *out)
{
	uint32_t format = get_le32(block + 8);
	size_t i = STATE_USED_1;

	if (get_le32(block) != crc32c(0, block + 4, STATE_BLOCK_SIZE - 4) ||
	    get_le32(block + 4) != STATE_MAGIC)
		return -EBADMSG;
	if (format != 1 && format != STATE_FORMAT)
		return -EPROTO;
	memset(out, 0, sizeof(*out));
	out->counter = get_le64(block + 16);
	out->term = get_le64(block + 24);
	out->vote = get_le64(block + 32);
	out->incarnation = get_le64(block + 40);
	memcpy(out->group_uuid, block + 48, sizeof(out->group_uuid));
	out->generation = get_le64(block + 64);
	if (get_le32(block + 12) != 0)
		return -EBADMSG;
	if (format != 1 && (i = boots_decode(block, out)) == 0)
		return -EBADMSG;
	for (; i < STATE_BLOCK_SIZE; i++)
		if (block[i] != 0)
			return -EBADMSG;
	return 0;
}

static bool
state_equal(const struct state *a, const struct state *b)
{
	return a->counter == b->counter && a->term == b->term &&
	       a->vote == b->vote && a->vote_boot == b->vote_boot &&
	       a->generation == b->generation &&
	       a->promise_ms == b->promise_ms && a->boot == b->boot &&
	       a->boot_id == b->boot_id && a->boot_count == b->boot_count &&
	       memcmp(a->seen, b->seen, sizeof(a->seen)) == 0;
}

/*
 * Both blocks are of one node and at most one promise apart, and the promise
 * grew, maybe into a new generation; anything else was not written by the rule.
 */
static bool
state_agree(const struct state *older, const struct state *newer)
{
	if (older->incarnation != newer->incarnation ||
	    memcmp(older->group_uuid, newer->group_uuid,
		sizeof(older->group_uuid)) != 0)
		return false;
	if (older->counter == newer->counter)
		return state_equal(older, newer);
	return newer->counter - older->counter == 1 &&
	       newer->generation >= older->generation &&
	       newer->term >= older->term && newer->boot >= older->boot &&
	       newer->promise_ms >= older->promise_ms;
}

int
state_decide(const uint8_t file[STATE_FILE_SIZE], struct state *out,
    enum state_found *found, unsigned *worse)
{
	struct state s[STATE_BLOCKS];
	int rc[STATE_BLOCKS];
	unsigned i, newer;

	for (i = 0; i < STATE_BLOCKS; i++)
		rc[i] = state_decode(file + i * STATE_STRIDE, &s[i]);
	if (rc[0] == -EPROTO || rc[1] == -EPROTO)
		return -EPROTO;
	if (rc[0] != 0 && rc[1] != 0)
		return -EBADMSG;
	if (rc[0] != 0 || rc[1] != 0) {
		*found = STATE_ONE_BAD;
		*worse = rc[0] != 0 ? 0 : 1;
		*out = s[1 - *worse];
		return 0;
	}
	newer = s[1].counter > s[0].counter ? 1 : 0;
	if (!state_agree(&s[1 - newer], &s[newer]))
		return -EBADMSG;
	*found = STATE_GOOD;
	*worse = 1 - newer;
	*out = s[newer];
	return 0;
}

int
state_file_read(
    int dir, struct state *out, enum state_found *found, unsigned *worse)
{
	uint8_t file[STATE_FILE_SIZE + 1];
	size_t have = 0;
	ssize_t n;
	int fd, rc;

	fd = openat(dir, STATE_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fault_of_call(-errno);
	while (have < sizeof(file)) {
		n = read(fd, file + have, sizeof(file) - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = fault_of_call(-errno);
			goto out;
		}
		if (n == 0)
			break;
		have += (size_t)n;
	}
	rc = have == STATE_FILE_SIZE ? state_decide(file, out, found, worse)
				     : -EBADMSG;
out:
	close(fd);
	return rc;
}

/* Write, flush and name a new file; the name must not be taken. */
static int
state_file_found(int dir, const uint8_t file[STATE_FILE_SIZE])
{
	static const char tmp[] = STATE_FILE ".tmp";
	ssize_t n;
	int fd, rc;

	if (unlinkat(dir, tmp, 0) != 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	n = pwrite(fd, file, STATE_FILE_SIZE, 0);
	rc = n == STATE_FILE_SIZE ? 0 : n < 0 ? -errno : -ENOSPC;
	if (rc == 0 && fsync(fd) != 0)
		rc = -errno;
	close(fd);
	/* link() refuses a taken name, rename() would replace the file. */
	if (rc == 0 && linkat(dir, tmp, dir, STATE_FILE, 0) != 0)
		rc = -errno;
	(void)unlinkat(dir, tmp, 0);
	if (rc == 0 && fsync(dir) != 0)
		rc = -errno;
	return rc;
}

int
state_file_create(int dir, const struct state *s)
{
	uint8_t file[STATE_FILE_SIZE] = { 0 };
	unsigned i;

	ASSERT(s->incarnation != 0);
	for (i = 0; i < STATE_BLOCKS; i++)
		state_encode(file + i * STATE_STRIDE, s);
	return state_file_found(dir, file);
}

const struct state_boot *
state_seen(const struct state *s, uint64_t incarnation)
{
	uint32_t i;

	for (i = 0; i < s->boot_count; i++)
		if (s->seen[i].incarnation == incarnation)
			return &s->seen[i];
	return NULL;
}

bool
state_see(struct state *s, uint64_t incarnation, uint64_t count, uint64_t id)
{
	struct state_boot *b = NULL;
	uint32_t i;

	for (i = 0; i < s->boot_count; i++)
		if (s->seen[i].incarnation == incarnation)
			b = &s->seen[i];
	if (b == NULL) {
		if (s->boot_count == STATE_BOOTS_MAX)
			return false;
		b = &s->seen[s->boot_count++];
		*b = (struct state_boot){ .incarnation = incarnation };
	}
	if (count <= b->count)
		return false;
	b->count = count;
	b->id = id;
	return true;
}
