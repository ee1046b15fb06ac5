/*
 * Log lines: levels, names, errno, one write for each, long ones cut, control
 * bytes made harmless, fatal and ASSERT end the process.
 */
#include "shm/say.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "shm/wake.h"
#include "t/shm_fixture.h"

static char path[] = "/tmp/nodelife-log.XXXXXX";
static char text[1 << 20];

/* Everything that was logged since the last call. */
static size_t
logged(void)
{
	int fd = open(path, O_RDWR);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	if (ftruncate(fd, 0) != 0)
		abort();
	close(fd);
	return strlen(text);
}

static bool
ends_with(const char *tail)
{
	size_t n = strlen(text), m = strlen(tail);

	return n >= m && strcmp(text + n - m, tail) == 0;
}

static void
lines(void)
{
	unsigned y, mo, d, h, mi, s, ms;
	char level[16], name[40];

	say_name("unit");
	say_info("slot %d (wal): restart %d/5", 3, 2);
	logged();
	is_i64(sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %15s %39s", &y, &mo,
		   &d, &h, &mi, &s, &ms, level, name),
	    9, "TIME LEVEL NAME:");
	is_str(level, "info", "level");
	is_str(name, "unit:", "name");
	ok(ends_with(" info unit: slot 3 (wal): restart 2/5\n"), "the text");

	errno = ENOSPC;
	say_warn("wal/00000001.seg: write");
	is_i64(errno, ENOSPC, "errno is kept");
	logged();
	ok(ends_with(" warn unit: wal/00000001.seg: write: No space left on "
		     "device\n"),
	    "errno's text is added");
	say_warnx("no errno");
	logged();
	ok(ends_with(" warn unit: no errno\n"), "the x variant adds none");
	errno = EACCES;
	say_error("e");
	logged();
	ok(ends_with(" error unit: e: Permission denied\n"), "error");
	say_errorx("e");
	logged();
	ok(ends_with(" error unit: e\n"), "errorx");
	say_info("client said: %s", "a\nb\x01\tc\x7f");
	logged();
	ok(ends_with(" client said: a?b??c?\n"), "one line stays one line");
	say_name("a-name-that-is-longer-than-what-is-kept-of-it");
	say_info("x");
	logged();
	ok(ends_with(" a-name-that-is-longer-than-what: x\n"), "name is cut");
	say_name("unit");
}

static void
levels(void)
{
	_Atomic uint32_t word = SAY_ERROR;
	int i;

	say_debug("not wanted");
	is_u64(logged(), 0, "debug is off at first");
	say_level_set(SAY_DEBUG);
	say_debug("wanted");
	ok(logged() > 0 && ends_with(" debug unit: wanted\n"), "and can be on");
	say_level_set(SAY_INFO);
	say_level_word(&word);
	say_warnx("not wanted");
	is_u64(logged(), 0, "a shared word rules");
	say_errorx("wanted");
	ok(logged() > 0, "errors are above it");
	atomic_store(&word, SAY_DEBUG);
	say_debug("wanted");
	ok(logged() > 0, "it may change at any time");
	say_level_word(NULL);
	say_debug("not wanted");
	is_u64(logged(), 0, "back to the private one");
	for (i = SAY_DEBUG; i <= SAY_ERROR; i++)
		is_i64(say_level_parse(say_level_name(i)), i, "name and back");
	is_i64(say_level_parse("loud"), -EINVAL, "no such level");
	is_str(say_level_name(9), "?", "no such number");
}

static void
long_lines(void)
{
	static char big[5000];
	size_t n;

	memset(big, 'y', sizeof(big) - 1);
	say_info("%s", big);
	n = logged();
	ok(n <= 1024 && ends_with("yyy...\n"), "cut to %u, and it shows",
	    (unsigned)n);
	errno = EIO;
	say_warn("%.1000s", big);
	n = logged();
	ok(n <= 1024 && text[n - 1] == '\n', "with errno: %u", (unsigned)n);
	say_info("%s", "");
	ok(logged() > 0 && ends_with(" info unit: \n"), "an empty one");
}

#define WRITERS 4
#define EACH    500

static int
writer_main(void *arg)
{
	char tail[400];
	int i;

	memset(tail, 'a' + (getpid() % 26), sizeof(tail) - 1);
	tail[sizeof(tail) - 1] = '\0';
	for (i = 0; i < EACH; i++)
		say_info("%d %s end", i, tail);
	(void)arg;
	return 0;
}

/* Lines of several processes never mix: one write each, O_APPEND. */
static void
concurrent(void)
{
	unsigned n = 0, bad = 0;
	char *line, *next;
	pid_t pid[WRITERS];
	int i;

	for (i = 0; i < WRITERS; i++)
		pid[i] = child_start(writer_main, NULL);
	for (i = 0; i < WRITERS; i++)
		child_end(pid[i]);
	logged();
	for (line = text; *line != '\0'; line = next) {
		next = strchr(line, '\n');
		if (next == NULL)
			break;
		*next++ = '\0';
		n++;
		bad += strlen(line) < 400 || line[4] != '-' ||
		       strcmp(line + strlen(line) - 4, " end") != 0;
	}
	is_u64(n, WRITERS * EACH, "every line is there");
	is_u64(bad, 0, "and whole");
}

static uint64_t
inode_of(const char *name)
{
	struct stat st;

	return stat(name, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static uint64_t
inode_open(void)
{
	struct stat st;

	return fstat(say_fd(), &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Renamed away: a new file by the next line, or without one. */
static void
rotation(void)
{
	static _Atomic uint32_t reopens = 7;
	char old[sizeof(path) + 8];
	int fd;

	snprintf(old, sizeof(old), "%s.old", path);
	say_reopen_word(&reopens);
	fd = say_fd();
	atomic_fetch_add(&reopens, 1);
	say_info("the same");
	ok(say_fd() == fd && inode_open() == inode_of(path),
	    "not renamed: the file stays open");
	rename(path, old);
	say_info("before");
	ok(inode_of(path) == 0 && inode_open() == inode_of(old),
	    "renamed: lines go on until somebody says so");
	atomic_fetch_add(&reopens, 1);
	say_info("after");
	ok(inode_of(path) != 0 && inode_open() == inode_of(path),
	    "a line opens the name again");
	logged();
	ok(ends_with("info unit: after\n") && strchr(text, '\n')[1] == '\0',
	    "and is the first there");
	unlink(path);
	say_follow();
	ok(inode_of(path) == 0, "nothing new, nothing opened");
	atomic_fetch_add(&reopens, 1);
	say_follow();
	ok(inode_open() == inode_of(path), "nor is a line needed");
	rename(path, old);
	mkdir(path, 0700);
	atomic_fetch_add(&reopens, 1);
	say_follow();
	ok(inode_open() == inode_of(old), "a failure keeps the file before");
	rmdir(path);
	rename(old, path);
	logged();
	ok(strstr(text, "open again: Is a directory") != NULL, "and says why");
	say_reopen_word(NULL);
}

static int
fatal_main(void *arg)
{
	errno = ENOENT;
	if (arg != NULL)
		fatal("data_dir");
	fatalx("data_dir: %d", 5);
}

static int
assert_main(void *arg)
{
	ASSERT(arg != NULL);
	return 0;
}

static void
ends(void)
{
	struct stat st;

	is_i64(child_end(child_start(fatal_main, path)), 1, "fatal: exit 1");
	logged();
	ok(ends_with(" error unit: data_dir: No such file or directory\n"),
	    "having said why");
	is_i64(child_end(child_start(fatal_main, NULL)), 1, "fatalx: exit 1");
	logged();
	ok(ends_with(" error unit: data_dir: 5\n"), "having said why");
	is_i64(child_end(child_start(assert_main, NULL)), 1000 + SIGABRT,
	    "ASSERT: abort");
	logged();
	ok(strstr(text, "assert_main: assertion failed: arg != NULL") != NULL &&
		strstr(text, "shm_say.c:") != NULL,
	    "with its place");
	is_i64(child_end(child_start(assert_main, path)), 0, "or not");

	is_i64(say_open("relative"), -EINVAL, "a relative path is refused");
	is_i64(say_open("/nowhere/log"), -ENOENT, "no such directory");
	say_info("still here");
	ok(logged() > 0, "a failed open changes nothing");
	ok(say_fd() > 2 && fstat(say_fd(), &st) == 0, "its descriptor");
	is_i64(say_open("stderr"), 0, "back to stderr");
	is_i64(say_fd(), 2, "which is 2");
}

/* arg: to a pipe that nobody reads. */
static int
behind_main(void *arg)
{
	uint64_t before;
	unsigned i;
	int end[2];

	if (arg != NULL &&
	    (pipe(end) != 0 || dup2(end[1], 2) < 0 || say_open("stderr") != 0))
		return 10;
	if (say_behind() != 0)
		return 11;
	before = mono_ns();
	/* More than a pipe holds. */
	for (i = 0; i < (arg != NULL ? 3000u : 3u); i++)
		say_info("line %u, %0200u", i, 0);
	if (mono_ns() - before > NS_PER_S)
		return 12;
	say_flush(arg != NULL ? 50 : 5000);
	return mono_ns() - before > 4 * NS_PER_S ? 13 : 0;
}

/* A log that takes nothing holds up nobody who writes behind. */
static void
behind(void)
{
	is_i64(child_end(child_start(behind_main, path)), 0,
	    "a log that takes nothing delays no line");
	is_i64(say_open(path), 0, "a file");
	logged();
	is_i64(child_end(child_start(behind_main, NULL)), 0, "written behind");
	logged();
	ok(strstr(text, "line 0, ") != NULL && strstr(text, "line 2, ") != NULL,
	    "all lines are there when it has ended");
	is_i64(say_open("stderr"), 0, "back to stderr");
}

int
main(void)
{
	close(mkstemp(path));
	if (say_open(path) != 0)
		abort();
	lines();
	levels();
	long_lines();
	concurrent();
	rotation();
	ends();
	behind();
	unlink(path);
	return tap_done();
}
