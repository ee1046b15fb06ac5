/*
 * The state file: any torn write and any flipped bit leave a promise that
 * somebody relies on in force; both blocks damaged is refused; founding makes
 * a good file and never replaces one.
 */
#include "t/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "workers/group/state_file.h"

static struct state
promise(uint64_t counter)
{
	struct state s = {
		.counter = counter,
		.term = counter * 10,
		.vote = counter * 100,
		.vote_boot = counter * 1000,
		.incarnation = 5,
		.generation = 1,
		.promise_ms = 200,
		.boot_count = 2,
		.boot = 3,
		.boot_id = 33,
		.seen = { { 6, 7, 8 }, { 9, 10, 11 } },
	};

	memset(s.group_uuid, 7, sizeof(s.group_uuid));
	return s;
}

static void
put_of(uint8_t *file, unsigned block, uint64_t counter, uint64_t generation)
{
	struct state s = promise(counter);

	s.generation = generation;
	state_encode(file + block * STATE_STRIDE, &s);
}

static void
put(uint8_t *file, unsigned block, uint64_t counter)
{
	put_of(file, block, counter, 1);
}

/* The counter that a file gives, or 0. */
static uint64_t
decided(const uint8_t *file)
{
	enum state_found found;
	struct state s;
	unsigned worse;

	if (state_decide(file, &s, &found, &worse) != 0)
		return 0;
	if (s.vote_boot != s.counter * 1000 || s.promise_ms != 200 ||
	    s.boot != 3 || s.boot_id != 33 || s.seen[1].id != 11)
		return 0;
	return s.term == s.counter * 10 && s.vote == s.counter * 100 ? s.counter
								     : 0;
}

static void
test_decide(void)
{
	static uint8_t file[STATE_FILE_SIZE];
	enum state_found found;
	struct state s;
	unsigned worse;

	put(file, 0, 4);
	put(file, 1, 4);
	is_u64(decided(file), 4, "both hold the promise");
	put(file, 1, 5);
	is_i64(state_decide(file, &s, &found, &worse), 0, "one is newer");
	ok(s.counter == 5 && found == STATE_GOOD && worse == 0,
	    "it counts, and the older one is written next");
	put(file, 1, 6);
	is_u64(decided(file), 0, "two apart is not how it is written");
	put_of(file, 1, 5, 2);
	is_u64(decided(file), 5, "the newer one is of a new generation");
	put_of(file, 1, 4, 2);
	is_u64(decided(file), 0, "the same one of two is refused");
	put_of(file, 0, 5, 1);
	is_u64(decided(file), 0, "a newer one of an older one, too");
	put(file, 0, 4);
	put(file, 1, 4);
	file[STATE_STRIDE + 100] = 1;
	is_i64(state_decide(file, &s, &found, &worse), 0, "one is damaged");
	ok(s.counter == 4 && found == STATE_ONE_BAD && worse == 1,
	    "the other one counts, and is not the one written next");
	file[8] ^= 1;
	is_i64(state_decide(file, &s, &found, &worse), -EBADMSG,
	    "both are damaged: refused");
	memset(file, 0, sizeof(file));
	is_u64(decided(file), 0, "zeros are no state");
}

/* Tear each of the two writes of a promise at every byte. */
static void
test_torn(void)
{
	static uint8_t old[STATE_FILE_SIZE], now[STATE_FILE_SIZE];
	uint8_t file[STATE_FILE_SIZE];
	unsigned lost = 0, i;
	uint64_t got;

	put(old, 0, 8);
	put(old, 1, 8);
	put(now, 0, 9);
	put(now, 1, 9);
	for (i = 0; i <= STATE_BLOCK_SIZE; i++) {
		memcpy(file, old, sizeof(file));
		memcpy(file, now, i);
		got = decided(file);
		lost += got != 8 && got != 9;
		memcpy(file, now, STATE_BLOCK_SIZE);
		memcpy(file + STATE_STRIDE, now + STATE_STRIDE, i);
		lost += decided(file) != 9;
	}
	is_u64(lost, 0, "torn anywhere: the old promise, or the new one");
}

static void
test_flips(void)
{
	static uint8_t file[STATE_FILE_SIZE];
	unsigned wrong = 0, i, bit;

	put(file, 0, 8);
	put(file, 1, 8);
	for (i = 0; i < STATE_FILE_SIZE; i++) {
		if (i % STATE_STRIDE >= STATE_BLOCK_SIZE)
			continue;
		for (bit = 0; bit < 8; bit++) {
			file[i] ^= (uint8_t)(1u << bit);
			wrong += decided(file) != 8;
			file[i] ^= (uint8_t)(1u << bit);
		}
	}
	is_u64(wrong, 0, "any flipped bit leaves the promise in force");
}

static void
test_founding(void)
{
	char dir[] = "/tmp/group_state.XXXXXX";
	uint8_t uuid[16] = { 1, 2, 3 };
	struct state made = {
		.counter = 1, .incarnation = 42, .generation = 6
	};
	enum state_found found;
	struct state s;
	unsigned worse;
	int fd;

	if (mkdtemp(dir) == NULL)
		skip_all("no temporary directory");
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	is_i64(state_file_read(fd, &s, &found, &worse), -ENOENT, "not there");
	memcpy(made.group_uuid, uuid, sizeof(uuid));
	is_i64(state_file_create(fd, &made), 0, "founded");
	is_i64(state_file_read(fd, &s, &found, &worse), 0, "read");
	ok(s.term == 0 && s.vote == 0 && s.incarnation == 42 &&
		s.generation == 6 && memcmp(s.group_uuid, uuid, 16) == 0,
	    "term 0, no vote, of this node");
	is_i64(state_file_create(fd, &made), -EEXIST, "never replaced");
	ok(faccessat(fd, STATE_FILE ".tmp", F_OK, 0) != 0, "nothing is left");
	unlinkat(fd, STATE_FILE, 0);
	close(fd);
	rmdir(dir);
}

/* As format 1 had it: bytes from 72 on are zeros. */
static void
put_old(uint8_t *file, unsigned block, uint64_t counter)
{
	uint8_t *at = file + block * STATE_STRIDE;

	put(file, block, counter);
	memset(at + 72, 0, STATE_BLOCK_SIZE - 72);
	put_le32(at + 8, 1);
	put_le32(at, crc32c(0, at + 4, STATE_BLOCK_SIZE - 4));
}

static void
test_format1(void)
{
	static uint8_t file[STATE_FILE_SIZE];
	enum state_found found;
	struct state s;
	unsigned worse;

	put_old(file, 0, 4);
	put_old(file, 1, 4);
	is_i64(state_decide(file, &s, &found, &worse), 0, "format 1 is read");
	ok(s.counter == 4 && s.term == 40 && s.vote == 400 &&
		s.incarnation == 5 && s.boot == 0 && s.vote_boot == 0 &&
		s.promise_ms == 0 && s.boot_count == 0,
	    "it tells of no boot, and of no promise");
	state_encode(file, &s);
	is_i64(state_decide(file, &s, &found, &worse), 0,
	    "one block of it is written as format 2");
	is_u64(found, STATE_GOOD, "and is the same promise");
	s.counter++;
	s.boot++;
	state_encode(file + STATE_STRIDE, &s);
	is_i64(state_decide(file, &s, &found, &worse), 0, "the next one");
	ok(s.counter == 5 && s.boot == 1 && worse == 0, "counts");
	file[8] = 3;
	put_le32(file, crc32c(0, file + 4, STATE_BLOCK_SIZE - 4));
	is_i64(state_decide(file, &s, &found, &worse), -EPROTO,
	    "a later format is refused");
	put_old(file, 0, 4);
	file[80] = 1;
	put_le32(file, crc32c(0, file + 4, STATE_BLOCK_SIZE - 4));
	is_i64(state_decode(file, &s), -EBADMSG,
	    "what format 1 does not have is damage");
}

static void
test_seen(void)
{
	struct state s = { 0 };
	uint64_t i;

	ok(state_see(&s, 7, 3, 33), "a member's boot is news");
	ok(!state_see(&s, 7, 3, 33) && !state_see(&s, 7, 2, 22),
	    "the same one is not, nor one before");
	ok(state_see(&s, 7, 4, 44) && state_seen(&s, 7)->id == 44,
	    "a later one is");
	ok(state_seen(&s, 8) == NULL, "of others nothing is known");
	for (i = 100; i < 100 + STATE_BOOTS_MAX; i++)
		(void)state_see(&s, i, 1, 1);
	is_u64(s.boot_count, STATE_BOOTS_MAX, "there is a most");
	ok(!state_see(&s, 999, 1, 1), "beyond it none is kept");
}

int
main(void)
{
	test_decide();
	test_torn();
	test_flips();
	test_founding();
	test_format1();
	test_seen();
	return tap_done();
}
