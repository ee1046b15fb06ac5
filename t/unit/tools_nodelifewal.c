/*
 * nodelifewal on logs made by hand: what is in comes out, as lines and as
 * JSON; a whole log, a torn tail and damage are told apart wherever they lie;
 * bad usage is refused; and no byte of the directory changes.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shm/kv/op.h"
#include "t/lib/segment_build.h"
#include "t/tap.h"

#define SEGMENT   (1u << 20)
#define PART_SIZE 3000u

static char program[512], data[64];
static char text[1 << 20];
static int wal;
static struct segment_build log_of[2];

/* Run the program (shell words); its output to text. The exit status. */
static int
run(const char *fmt, ...)
{
	char args[256], command[1024];
	va_list ap;
	size_t n;
	FILE *p;
	int status;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "%s %s 2>&1", program, args);
	p = popen(command, "r");
	if (p == NULL)
		return -1;
	n = fread(text, 1, sizeof(text) - 1, p);
	text[n] = '\0';
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool
says(const char *what)
{
	bool found = strstr(text, what) != NULL;

	if (!found)
		diag("'%s' is not in: %.400s", what, text);
	return found;
}

static void
add_set(struct segment_build *b, const char *key, const char *value)
{
	struct op_arg argv[2] = { { (const uint8_t *)key,
				      (uint32_t)strlen(key) },
		{ (const uint8_t *)value, (uint32_t)strlen(value) } };
	uint8_t op[256];

	op_encode(op, OP_SET, OPF_NX, 12345, 2, argv);
	build_payload(b, REC_OP, REC_WANT_RESULT, record_origin(8, 3, 77), op,
	    (uint32_t)op_size(2, argv));
}

/* MULTI of a watch, SET and DEL. */
static void
add_multi(struct segment_build *b)
{
	struct op_arg argv[2] = { { (const uint8_t *)"a\xff", 2 },
		{ (const uint8_t *)"1", 1 } };
	uint8_t m[256], *at = m + 8;
	uint32_t i, len;

	put_le32(m, 2);
	put_le32(m + 4, 1);
	put_le64(at, 5);
	put_le32(at + 8, 1);
	at[12] = 'w';
	at += 13;
	for (i = 0; i < 2; i++) {
		len = (uint32_t)op_size(2 - i, argv);
		put_le32(at, len);
		op_encode(at + 4, i == 0 ? OP_SET : OP_DEL, 0, 0, 2 - i, argv);
		at += 4 + len;
	}
	build_payload(b, REC_MULTI, 0, 0, m, (uint32_t)(at - m));
}

/* One SET whose payload is cut in three. */
static void
add_parts(struct segment_build *b)
{
	static uint8_t value[8000], op[9000];
	struct op_arg argv[2] = { { (const uint8_t *)"big", 3 },
		{ value, sizeof(value) } };
	uint32_t len = (uint32_t)op_size(2, argv), at;

	memset(value, 'v', sizeof(value));
	op_encode(op, OP_SET, 0, 0, 2, argv);
	for (at = 0; len - at > PART_SIZE; at += PART_SIZE)
		build_payload(
		    b, REC_PART, 0, record_origin(8, 3, 0), op + at, PART_SIZE);
	build_payload(b, REC_OP, REC_HAS_PARTS, record_origin(8, 3, 1), op + at,
	    len - at);
}

static void
log_make(void)
{
	struct segment_build *b = log_of;
	unsigned i;

	strcpy(data, "/tmp/tools_nodelifewal.XXXXXX");
	if (mkdtemp(data) == NULL)
		abort();
	snprintf(text, sizeof(text), "%s/wal", data);
	mkdir(text, 0700);
	wal = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	build_format = SEGMENT_FORMAT_1;
	build_begin(&b[0], 1, SEGMENT, NULL);
	build_format = SEGMENT_FORMAT;
	build_head(&b[0]);
	build_payload(&b[0], REC_TERM, 0, 0, "", 0);
	add_set(&b[0], "key\n", "value");
	build_pad(&b[0]);
	for (i = 0; i < 20; i++)
		build_flush(&b[0], 5, 300);
	build_begin(&b[1], 2, SEGMENT, &b[0]);
	b[1].term = 4;
	build_flush(&b[1], 0, 0);
	build_payload(&b[1], REC_TERM, 0, 0, "", 0);
	add_multi(&b[1]);
	add_parts(&b[1]);
	for (i = 0; i < 10; i++)
		build_flush(&b[1], 3, 100);
}

static void
log_write(void)
{
	if (build_write(&log_of[0], wal) != 0 ||
	    build_write(&log_of[1], wal) != 0)
		diag("cannot write the log");
}

static void
test_usage(void)
{
	is_i64(run("--help"), 0, "--help");
	is_i64(run("-V"), 0, "-V");
	ok(says("nodelifewal "), "says its name");
	is_i64(run(""), 64, "nothing to do");
	is_i64(run("frob %s", data), 64, "no such command");
	is_i64(run("dump -f 0 %s", data), 64, "no VLSN 0");
	is_i64(run("dump -f 9 -t 8 %s", data), 64, "an empty range");
	is_i64(run("verify -j %s", data), 64, "an option of another command");
	is_i64(run("stat -v %s", data), 64, "another one");
	is_i64(run("verify %s/none", data), 66, "no such directory");
	is_i64(run("verify %s/wal", data), 66, "no log in it");
}

static void
test_good(void)
{
	log_write();
	is_i64(run("verify %s", data), 0, "verify: a whole log is good");
	ok(says("good: VLSNs 1 to "), "and says so");
	is_i64(run("verify %s/wal", data), 0, "by its wal directory, too");
	is_i64(run("dump %s", data), 0, "dump");
	ok(says(" segment "), "with segments");
	ok(says("continues 00000001 to "), "and what they continue");
	ok(says(" format 1 first 1 ") && says(" format 2 first 103 "),
	    "and their formats");
	ok(says(" batch ") && says("durable 2 committed 2"), "and batches");
	ok(says("from gateway0.3 #77"), "and origins");
	ok(says(" want_result"), "and flags");
	is_i64(run("dump -v %s", data), 0, "dump -v");
	ok(says("\tSET \"key\\x0a\" \"value\" NX num=12345\n"), "operations");
	ok(says("\tWATCH \"w\" at VLSN 5\n"), "watches");
	ok(says("\tDEL \"a\\xff\"\n"), "bytes that are no text");
	ok(says("\"... (8000 bytes)\n"), "joined parts, shortened");
	ok(says("\tnot an operation: 300 bytes\n"), "and what is none");
	is_i64(run("dump -f 4 -t 4 %s", data), 0, "dump of one VLSN");
	ok(says("         4 ") && strstr(text, "\n         5 ") == NULL &&
		strstr(text, "\n         3 ") == NULL,
	    "is that one");
}

/* Every line is an object; counts what is asked for. */
static size_t
json_lines(const char *type)
{
	char *line, *rest = text;
	size_t n = 0;

	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		json_t *o = json_loads(line, 0, NULL);
		const char *t = json_string_value(json_object_get(o, "type"));

		if (t == NULL)
			diag("no object: %.100s", line);
		else if (strcmp(t, type) == 0)
			n++;
		json_decref(o);
	}
	return n;
}

static void
test_json(void)
{
	json_t *o;

	is_i64(run("dump -j -v %s", data), 0, "dump -j");
	ok(says("\"ops\":[{\"op\":\"SET\",\"args\":[\"key\\n\",\"value\"],"
		"\"flags\":[\"NX\"],\"num\":12345}]"),
	    "operations as JSON");
	ok(says("{\"bytes\":\"\\\\x61\\\\xff\"}"), "bytes as JSON");
	ok(says("\"format\":2,") && says("\"crc\":"), "formats and CRCs");
	is_u64(json_lines("part"), 2, "each line is an object");
	is_i64(run("stat -j %s", data), 0, "stat -j");
	o = json_loads(text, 0, NULL);
	is_i64(json_integer_value(json_object_get(o, "last")),
	    (json_int_t)log_of[1].vlsn, "last VLSN");
	is_i64(
	    json_integer_value(json_object_get(o, "segments")), 2, "segments");
	is_u64(json_array_size(json_object_get(o, "terms")), 2, "terms");
	is_str(json_string_value(json_object_get(o, "verdict")), "good",
	    "verdict");
	json_decref(o);
	is_i64(run("stat %s", data), 0, "stat");
	ok(says("2 in the log"), "has segments");
	ok(says("term 4 from VLSN 103\n"), "and terms");
}

/* Write one byte of a file; returns what was there. */
static uint8_t
poke(const char *name, uint32_t at, uint8_t byte)
{
	int fd = openat(wal, name, O_RDWR | O_CLOEXEC);
	uint8_t was = 0;

	if (pread(fd, &was, 1, at) != 1 || pwrite(fd, &byte, 1, at) != 1)
		diag("cannot write %s", name);
	close(fd);
	return was;
}

/* Zeros from `at` on, as a lost write leaves them. */
static void
tear(uint32_t at)
{
	struct segment_build torn = log_of[1];

	torn.bytes = malloc(torn.size);
	memcpy(torn.bytes, log_of[1].bytes, torn.size);
	memset(torn.bytes + at, 0, torn.size - at);
	build_write(&torn, wal);
	free(torn.bytes);
}

/* The last flush torn at many bytes: never damage, always what it is. */
static void
test_torn(void)
{
	struct segment_build *b = &log_of[1];
	uint32_t head = b->record[b->count - 4].offset, at;
	uint32_t first = head + SEGMENT_BATCH_LEN, set = b->at;
	unsigned wrong = 0;

	/* Zeros are no change behind the last byte that is none. */
	while (b->bytes[set - 1] == 0)
		set--;
	for (at = head; at < b->at; at += 7) {
		int status;

		tear(at);
		status = run("verify %s", data);
		/* Nothing of a flush without its head tells of it. */
		if (status != (at >= first && at < set))
			wrong++;
	}
	is_u64(wrong, 0, "a last flush torn anywhere is torn, not damaged");
	tear(head + 100);
	is_i64(run("verify %s", data), 1, "a torn tail");
	ok(says("torn tail: wal/00000002.seg offset "), "with its place");
	is_i64(run("dump %s", data), 1, "dump tells it, too");
	log_write();
}

static void
test_damage(void)
{
	struct segment_build *b = &log_of[1];
	uint32_t at = b->record[5].offset + 60;
	uint8_t was;

	was = poke("00000001.seg", 9000, 0x55);
	is_i64(run("verify %s", data), 2, "a byte of a closed segment");
	ok(says("damaged: wal/00000001.seg offset 8"), "with its place");
	poke("00000001.seg", 9000, was);
	was = poke("00000002.seg", at, 0x55);
	is_i64(run("verify %s", data), 2, "a byte of what was durable");
	ok(says("damaged: wal/00000002.seg offset "), "with its place");
	poke("00000002.seg", at, was);
	was = poke("00000001.seg", 60, 0x55);
	is_i64(run("verify %s", data), 2, "a closed segment's header");
	poke("00000001.seg", 60, was);
	was = poke("00000002.seg", 60, 0x55);
	is_i64(run("verify %s", data), 2, "the open segment's header");
	ok(says("its header is damaged"), "is known as such");
	poke("00000002.seg", 60, was);
	is_i64(run("verify %s", data), 0, "put right, the log is good");
	unlinkat(wal, "00000001.seg", 0);
	is_i64(run("verify %s", data), 0, "without its recycled segment: good");
	ok(says("good: VLSNs 103 to "), "from where it begins");
	log_write();
}

/* A header begun and torn, nothing behind it; and a spare that is zeros. */
static void
test_begun(void)
{
	struct segment_build next;

	build_begin(&next, 3, SEGMENT, &log_of[1]);
	next.bytes[70] ^= 1;
	build_write(&next, wal);
	is_i64(run("verify %s", data), 1, "a segment torn while begun");
	ok(says("its header is torn"), "is known as such");
	memset(next.bytes, 0, next.size);
	build_write(&next, wal);
	is_i64(run("verify %s", data), 0, "a file never begun is nothing");
	unlinkat(wal, "00000003.seg", 0);
	build_free(&next);
}

static void
test_untouched(void)
{
	struct stat before, after;

	fstatat(wal, "00000002.seg", &before, 0);
	run("verify %s", data);
	run("dump -v %s", data);
	fstatat(wal, "00000002.seg", &after, 0);
	ok(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
	    "the log is only read");
}

int
main(void)
{
	char *slash;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 32);
	unsigned i;

	program[n < 0 ? 0 : n] = '\0';
	for (i = 0; i < 3 && (slash = strrchr(program, '/')) != NULL; i++)
		*slash = '\0';
	strcat(program, "/nodelifewal");
	if (access(program, X_OK) != 0)
		skip_all("%s is not built", program);
	log_make();
	test_usage();
	test_good();
	test_json();
	test_torn();
	test_damage();
	test_begun();
	test_untouched();
	for (i = 0; i < 2; i++)
		build_free(&log_of[i]);
	unlinkat(wal, "00000001.seg", 0);
	unlinkat(wal, "00000002.seg", 0);
	close(wal);
	snprintf(text, sizeof(text), "%s/wal", data);
	ok(rmdir(text) == 0 && rmdir(data) == 0, "nothing is left");
	return tap_done();
}
