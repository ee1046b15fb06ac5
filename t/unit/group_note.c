/*
 * The note file: written, read, cleared; no flipped bit and no cut goes unseen.
 * What a joined directory must hold not to have lost its memory.
 */
#include "t/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "workers/group/note_file.h"

static void
sample(struct note *n)
{
	memset(n, 0, sizeof(*n));
	n->initiator = 7;
	n->members.group_uuid[3] = 1;
	n->members.generation = 1;
	n->members.lease_ms = 200;
	n->members.count = 2;
	for (uint32_t i = 0; i < 2; i++) {
		struct member *m = &n->members.member[i];

		m->incarnation = 7 + i;
		snprintf(m->name, sizeof(m->name), "n%u", i);
		snprintf(m->peer, sizeof(m->peer), "h%u:1", i);
		member_default(m);
	}
}

static void
test_bytes(void)
{
	static uint8_t at[NOTE_FILE_MAX];
	static struct note n, out;
	unsigned wrong = 0;
	size_t len;

	sample(&n);
	len = note_encode(at, &n);
	is_i64(note_decode(at, len, &out), 0, "decoded");
	ok(memcmp(&n, &out, sizeof(n)) == 0, "as it was");
	for (size_t i = 0; i < len * 8; i++) {
		at[i / 8] ^= (uint8_t)(1 << i % 8);
		wrong += note_decode(at, len, &out) == 0;
		at[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	for (size_t i = 0; i < len; i++)
		wrong += note_decode(at, i, &out) == 0;
	is_u64(wrong, 0, "no flipped bit and no cut goes unseen");
	n.initiator = 9;
	len = note_encode(at, &n);
	is_i64(note_decode(at, len, &out), -EBADMSG,
	    "who founds the group is one of it");
}

static void
test_files(void)
{
	char path[] = "/tmp/group_note.XXXXXX";
	static struct note n, out;
	int dir;

	if (mkdtemp(path) == NULL ||
	    (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0) {
		ok(false, "a directory");
		return;
	}
	sample(&n);
	is_i64(note_read(dir, &out), -ENOENT, "there is none");
	is_i64(note_write(dir, &n), 0, "written");
	is_i64(note_read(dir, &out), 0, "read");
	ok(memcmp(&n, &out, sizeof(n)) == 0, "as it was");
	n.members.lease_ms = 300;
	is_i64(note_write(dir, &n), 0, "another one in its place");
	is_i64(note_read(dir, &out), 0, "is read");
	is_u64(out.members.lease_ms, 300, "as it is");
	ok(note_crc(&n) == note_crc(&out), "they say the same");
	is_i64(note_remove(dir), 0, "cleared");
	is_i64(note_remove(dir), 0, "and it may be gone already");
	is_i64(note_read(dir, &out), -ENOENT, "there is none");
	close(dir);
	rmdir(path);
}

static void
test_memory(void)
{
	static const struct {
		struct memory m;
		bool lost;
		const char *what;
	} cases[] = {
		{ { true, false, 0, 0 }, false, "a fresh member" },
		{ { true, true, 0, 0 }, false, "killed before its log began" },
		{ { true, true, 3, 9 }, false, "its note is there still" },
		{ { false, true, 3, 9 }, false, "any other" },
		{ { true, true, 3, 0 }, true, "promises, and no log" },
		{ { true, false, 0, 9 }, true, "a log, and no promises" },
		{ { false, false, 0, 9 }, true, "no promises" },
		{ { false, true, 3, 0 }, true, "no log" },
		{ { false, false, 0, 0 }, true, "nothing at all" },
	};
	struct node_file node = {
		.format = NODE_FILE_FORMAT_3, .generation = 1, .members = 3
	};

	for (size_t i = 0; i < NITEMS(cases); i++)
		ok(memory_lost(&node, &cases[i].m) == cases[i].lost, "%s: %s",
		    cases[i].what, cases[i].lost ? "lost" : "not lost");
	node.format = NODE_FILE_FORMAT;
	ok(!memory_lost(&node, &cases[8].m),
	    "a group of one begins with nothing at all");
}

int
main(void)
{
	test_bytes();
	test_files();
	test_memory();
	return tap_done();
}
