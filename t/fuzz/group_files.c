/*
 * Any bytes as a membership record, a members file or a state file: what is
 * accepted is sound and, written again, gives the same bytes. The fuzzer
 * cannot guess a CRC, so inputs are also tried with theirs set right. The
 * first byte picks the format.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "workers/group/member_file.h"
#include "workers/group/note_file.h"
#include "workers/group/state_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A failed expectation ends the process, so that the fuzzer keeps the input. */
static void
expect(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "group_files: %s\n", what);
	abort();
}

static void
try_record(const uint8_t *data, size_t len)
{
	static uint8_t again[MEMBER_RECORD_MAX];
	struct quorums q;
	struct membership m, same;
	unsigned voters;
	size_t n;

	if (member_decode(data, len, 7, &m) != 0)
		return;
	expect(member_check(&m) == NULL, "accepted what cannot work");
	member_quorums(&m, &q);
	voters = (unsigned)__builtin_popcount(q.voters);
	expect(q.voters >> m.count == 0, "voters that are no members");
	expect(quorum_least(&q.elect) > 0 && quorum_least(&q.elect) <= voters,
	    "a quorum nobody can reach");
	expect(quorum_least(&q.commit) > 0 && quorum_least(&q.commit) <= voters,
	    "a commit nobody can reach");
	expect(quorum_meets(&q.elect, &q.commit, voters),
	    "an election without what is committed");
	n = member_encode(again, &m);
	if (data[0] == MEMBER_FORMAT) {
		expect(n == len && memcmp(again, data, len) == 0,
		    "a record that changes when written again");
		return;
	}
	expect(member_decode(again, n, 7, &same) == 0 &&
		   memcmp(&m, &same, sizeof(m)) == 0,
	    "a record of format 1 that format 2 does not hold");
}

static void
try_members(uint8_t *data, size_t len)
{
	static uint8_t again[MEMBER_FILE_MAX];
	struct membership m;
	size_t n;

	if (len >= MEMBER_FILE_HEAD && len <= MEMBER_FILE_MAX)
		put_le32(data, crc32c(0, data + 4, len - 4));
	if (member_file_decode(data, len, &m) != 0)
		return;
	n = member_file_encode(again, &m);
	/* The payload may be of format 1. */
	expect(data[MEMBER_FILE_HEAD] != MEMBER_FORMAT ||
		   (n == len && memcmp(again, data, len) == 0),
	    "a members file that changes when written again");
}

static void
try_note(uint8_t *data, size_t len)
{
	static uint8_t again[NOTE_FILE_MAX];
	struct note note;
	size_t n;

	if (len >= NOTE_FILE_HEAD && len <= NOTE_FILE_MAX)
		put_le32(data, crc32c(0, data + 4, len - 4));
	if (note_decode(data, len, &note) != 0)
		return;
	expect(member_check(&note.members) == NULL &&
		   member_find(&note.members, note.initiator) >= 0,
	    "a note of nobody");
	n = note_encode(again, &note);
	expect(data[NOTE_FILE_HEAD] != MEMBER_FORMAT ||
		   (n == len && memcmp(again, data, len) == 0),
	    "a note that changes when written again");
}

static void
try_state(const uint8_t *data, size_t len)
{
	static uint8_t file[STATE_FILE_SIZE], again[STATE_BLOCK_SIZE];
	enum state_found found;
	struct state s;
	unsigned worse, i;

	memset(file, 0, sizeof(file));
	for (i = 0; i < STATE_BLOCKS; i++) {
		size_t n = len < STATE_BLOCK_SIZE ? len : STATE_BLOCK_SIZE;
		uint8_t *block = file + i * STATE_STRIDE;

		memcpy(block, data, n);
		data += n;
		len -= n;
		/* An odd counter keeps a bad CRC: a block that is torn. */
		if ((block[16] & 1) == 0)
			put_le32(
			    block, crc32c(0, block + 4, STATE_BLOCK_SIZE - 4));
	}
	if (state_decide(file, &s, &found, &worse) != 0)
		return;
	expect(worse < STATE_BLOCKS, "a block that is none");
	state_encode(again, &s);
	/* A block of format 1 is read. */
	expect(
	    get_le32(file + (1 - worse) * STATE_STRIDE + 8) != STATE_FORMAT ||
		memcmp(again, file + (1 - worse) * STATE_STRIDE,
		    STATE_BLOCK_SIZE) == 0,
	    "a state that changes when written again");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy;

	if (len < 1)
		return 0;
	/* An exact copy, so that a read past the end is found. */
	copy = malloc(len - 1 > 0 ? len - 1 : 1);
	expect(copy != NULL, "malloc");
	memcpy(copy, data + 1, len - 1);
	if (data[0] % 4 == 0)
		try_record(copy, len - 1);
	else if (data[0] % 4 == 1)
		try_members(copy, len - 1);
	else if (data[0] % 4 == 3)
		try_note(copy, len - 1);
	else
		try_state(copy, len - 1);
	free(copy);
	return 0;
}
