/*
 * Messages of faults: the parts and their order, that each remedy fits its
 * errno and place, that nothing but damage is told to restore, and cut text.
 */
#include "shm/fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "t/tap.h"

static char text[FAULT_TEXT_MAX];

static void
test_parts(void)
{
	struct fault f = { .object = "data/wal/0000000e.seg",
		.call = "write",
		.error = EROFS,
		.place = PLACE_DATA,
		.effect = "writes wait, reads go on, nothing is lost",
		.goes_on = true };
	char small[24], unknown[64];

	is_str(fault_text(text, sizeof(text), &f),
	    "data/wal/0000000e.seg: write: Read-only file system: writes wait, "
	    "reads go on, nothing is lost: the file system is "
	    "read-only: look for the cause (dmesg); after an error of its own "
	    "stop the node, check (fsck) and mount it again, start the node; "
	    "else mount it writable (mount -o remount,rw); the node goes on by "
	    "itself then",
	    "object, call, errno, effect, remedy");
	fault_final(text);
	ok(strstr(text, "goes on by") == NULL &&
		strstr(text, "remount,rw)") != NULL,
	    "of one that is waited for no longer: %s", text);
	is_str(fault_text(small, sizeof(small), &f),
	    "data/wal/0000000e.seg: ", "what is too long is cut");

	f.error = ESHUTDOWN;
	f.effect = NULL;
	ok(strstr(fault_text(text, sizeof(text), &f),
	       "stop the node, check (fsck) and mount it again, start the "
	       "node") != NULL &&
		strstr(text, "by itself") == NULL,
	    "nothing goes on by itself that needs a start: %s", text);

	f = (struct fault){ .object = "store",
		.what = "no heartbeat for 3.0 s",
		.place = PLACE_DATA };
	is_str(fault_text(text, sizeof(text), &f),
	    "store: no heartbeat for 3.0 s", "no errno, no remedy");
	f = (struct fault){ .object = "x", .error = EXDEV, .goes_on = true };
	snprintf(unknown, sizeof(unknown), "x: %s", strerror(EXDEV));
	is_str(fault_text(text, sizeof(text), &f), unknown,
	    "an errno without a remedy promises nothing");
}

/* A path may be as long as it likes: what to do is told all the same. */
static void
test_long_object(void)
{
	char path[1024];
	struct fault f = { .object = path,
		.call = "write",
		.error = EFBIG,
		.place = PLACE_DATA,
		.effect = "writes wait",
		.goes_on = true };
	size_t n, wrong = 0;

	for (n = 8; n < sizeof(path); n++) {
		memset(path, 'p', n);
		memcpy(path + n - 7, "/n.seg", 7);
		fault_text(text, sizeof(text), &f);
		wrong += strstr(text, "/n.seg: write: File too large: writes "
				      "wait: a limit of") == NULL;
		wrong +=
		    strstr(text, "the node goes on by itself then") == NULL;
		wrong += (strncmp(text, "...p", 4) == 0) !=
			 (strncmp(text, path, n - 1) != 0);
	}
	is_u64(wrong, 0, "of a long path the end is told, and all behind it");
}

/* The directory that a command names may be as long. */
static void
test_long_command(void)
{
	char path[1024], command[1100];
	struct fault f = { .object = path,
		.call = "open",
		.error = EACCES,
		.place = PLACE_DATA,
		.effect = "changes stay in the log",
		.goes_on = true,
		.command = command };
	size_t n, wrong = 0, whole = 0;
	const char *at;

	for (n = 8; n < sizeof(path); n++) {
		memset(path, '/', 1);
		memset(path + 1, 'p', n - 1);
		path[n] = '\0';
		snprintf(command, sizeof(command), "chown -R u: %s", path);
		fault_text(text, sizeof(text), &f);
		at = strstr(text, "chown -R");
		wrong += at != NULL && strcmp(at, command) != 0;
		whole += at != NULL;
		wrong +=
		    strstr(text, "the node goes on by itself then") == NULL;
	}
	is_u64(wrong, 0, "a command is told as a whole, or not at all");
	ok(whole > 100, "of %zu it is told", whole);
}

/* Words around a text: its beginning gives way, and never its end. */
static void
test_around(void)
{
	char buf[32];

	is_str(fault_text_in(buf, sizeof(buf), "waits: ", "path: mend it", "!"),
	    "waits: path: mend it!", "what fits stays");
	is_str(fault_text_in(buf, sizeof(buf),
		   "waits: ", "a/long/path/n.seg: mend it", ": so"),
	    "waits: ...th/n.seg: mend it: so", "what does not loses its begin");
	is_u64(strlen(buf), sizeof(buf) - 1, "and no more than it must");
	is_str(fault_text_in(buf, 8, "waits: ", "path", ""),
	    "waits: ", "words that leave no room are cut");
}

/* Whatever the errno: no remedy but damage's touches the data. */
static void
test_remedies(void)
{
	static const char *const harmful[] = { "restore", "force", "--init" };
	unsigned place, i, known = 0;
	int error, wrong = 0;
	bool told;

	for (error = 0; error < 200; error++)
		for (place = 0; place < PLACE_COUNT; place++) {
			const char *remedy = fault_remedy(error, place);

			known += remedy[0] != '\0';
			for (i = 0; i < NITEMS(harmful); i++) {
				told = strstr(remedy, harmful[i]) != NULL;
				if (!told || error == EBADMSG ||
				    (error == ENOENT && i == 2))
					continue;
				diag("%s: %s", strerror(error), remedy);
				wrong++;
			}
		}
	ok(known > 60, "%u pairs of errno and place have a remedy", known);
	is_u64((uint64_t)wrong, 0, "only damage speaks of restoring");
	ok(strstr(fault_remedy(ENOENT, PLACE_DATA), "mounted") != NULL &&
		strstr(fault_remedy(ENOENT, PLACE_DATA), "there never "
							 "was one") != NULL,
	    "an empty mount point is not to be founded anew");
	ok(strstr(fault_remedy(EPERM, PLACE_RING), "seccomp") != NULL &&
		strstr(fault_remedy(EPERM, PLACE_RING), "sysctl") != NULL,
	    "io_uring refused: both who may have");
	ok(strstr(fault_remedy(ECANCELED, PLACE_DATA), "pids.max") != NULL,
	    "io_uring without a thread is told as too many processes");
	ok(strstr(fault_remedy(ENOSPC, PLACE_DATA), "inodes") != NULL,
	    "no space may be no inodes");
	ok(strstr(fault_remedy(ENOSPC, PLACE_SHM), "/dev/shm") != NULL,
	    "no space in /dev/shm is another place");
	ok(strstr(fault_remedy(ENOTCONN, PLACE_DATA), "server is gone") !=
		    NULL &&
		fault_kind(ENOTCONN, PLACE_DATA) == FAULT_WORLD,
	    "a file system whose server was killed is mounted again");
	ok(strstr(fault_remedy(EROFS, PLACE_DATA), "chown") == NULL,
	    "a read-only file system needs no chown");
}

/*
 * File systems mean by EBADMSG what they mean by EUCLEAN; our readers, that
 * what they were given is not what was written.
 */
static void
test_bad_message(void)
{
	struct fault f = { .object = "index/vlsn.idx",
		.call = "open",
		.error = EBADMSG,
		.place = PLACE_DATA };
	char call[FAULT_TEXT_MAX];

	fault_text(call, sizeof(call), &f);
	ok(strstr(call, strerror(EBADMSG)) != NULL &&
		strstr(call, fault_remedy(EUCLEAN, PLACE_DATA)) != NULL &&
		strstr(call, "restore") == NULL,
	    "a call's is a file system to be checked: %s", call);
	ok(fault_kind_of(&f) == FAULT_WORLD, "and waited for");
	f.damage = true;
	ok(strstr(fault_text(text, sizeof(text), &f), "restore this node") !=
		NULL,
	    "our reader's speaks of restoring: %s", text);
	ok(fault_kind_of(&f) == FAULT_DAMAGE, "and is not waited for");
	is_i64(fault_of_call(-EBADMSG), -EUCLEAN, "where both may be met");
	is_i64(fault_of_call(-EIO), -EIO, "any other stays");
}

/*
 * A key, or a limit that a shell hands down, does not reach a node that runs:
 * that one goes on by itself is not said of them.
 */
static void
test_restarts(void)
{
	static const char *const fixed[] = { "map_size", "table_size", "ulimit",
		"Limit" };
	static const char then[] = ", stop the node and start it, or ";
	const char *at, *end;
	unsigned place, i, told = 0;
	int error;

	for (error = 0; error < 200; error++)
		for (place = 0; place < PLACE_COUNT; place++)
			for (i = 0; i < NITEMS(fixed); i++) {
				const char *remedy = fault_remedy(error, place);

				if ((at = strstr(remedy, fixed[i])) == NULL)
					continue;
				end = strstr(at, then);
				told++;
				if (strstr(remedy, ", by prlimit,") != NULL)
					continue;
				if (end == NULL ||
				    strstr(end + 1, fixed[i]) != NULL)
					ok(false, "%s: %s: %s", strerror(error),
					    fixed[i], remedy);
			}
	ok(told > 20, "%u of them say that they need a start", told);
}

static void
test_kinds(void)
{
	static const int world[] = { EIO, EROFS, ENOSPC, EDQUOT, EFBIG, ENODEV,
		ESTALE, ENOMEM, EMFILE, EBUSY };
	static const int setup[] = { EACCES, EPERM, ENOENT, ENOTDIR, EISDIR,
		EREMCHG, EIDRM };
	size_t i;

	for (i = 0; i < NITEMS(world); i++)
		ok(fault_kind(world[i], PLACE_DATA) == FAULT_WORLD,
		    "%s is waited out", strerror(world[i]));
	for (i = 0; i < NITEMS(setup); i++)
		ok(fault_kind(setup[i], PLACE_DATA) == FAULT_SETUP,
		    "%s must be set right", strerror(setup[i]));
	ok(fault_kind(EBADMSG, PLACE_DATA) == FAULT_DAMAGE, "damage");
	ok(fault_kind(EXDEV, PLACE_DATA) == FAULT_PROGRAM, "any other");
	ok(fault_kind(EAGAIN, PLACE_PROCESS) == FAULT_WORLD &&
		fault_kind(EAGAIN, PLACE_DATA) == FAULT_PROGRAM,
	    "EAGAIN is the world's for processes only");
}

int
main(void)
{
	test_parts();
	test_long_object();
	test_long_command();
	test_around();
	test_remedies();
	test_bad_message();
	test_restarts();
	test_kinds();
	return tap_done();
}
