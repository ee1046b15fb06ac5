/*
 * Log lines. A process formats a whole line on its stack and hands it over
 * in one write(2), so neither locks nor buffers outlive a crash.
 */
#include "shm/say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/fault.h"
#include "shm/path.h"

#define SAY_LINE_MAX 1024 /* bytes, newline included; longer lines are cut */
#define SAY_NAME_MAX 32
#define SAY_PATH_MAX 1024

struct logger {
	int fd;
	bool syslog;
	bool echo; /* say_aloud() does */
	char name[SAY_NAME_MAX];
	char path[SAY_PATH_MAX]; /* "" = no file */
	bool has_owner;
	uid_t uid;
	gid_t gid;
	_Atomic uint32_t own_level;
	const _Atomic uint32_t *level;
	const _Atomic uint32_t *reopens;
	uint32_t reopens_seen;
};

static struct logger me = {
	.fd = STDERR_FILENO,
	.name = "nodelife",
	.own_level = SAY_INFO,
};

static const char *const level_names[] = {
	[SAY_DEBUG] = "debug",
	[SAY_INFO] = "info",
	[SAY_WARN] = "warn",
	[SAY_ERROR] = "error",
};

static const int level_priorities[] = {
	[SAY_DEBUG] = LOG_DEBUG,
	[SAY_INFO] = LOG_INFO,
	[SAY_WARN] = LOG_WARNING,
	[SAY_ERROR] = LOG_ERR,
};

/* The descriptor before was ours only if it was a file. */
static void
say_target_set(int fd, bool to_syslog)
{
	int old = me.fd;

	me.fd = fd;
	me.syslog = to_syslog;
	if (old != STDERR_FILENO && old != fd)
		close(old);
}

/*
 * Root's own of a start for nobody else is given to the owner: workers, and a
 * later start without root, open it again.
 */
static void
say_file_give(int dir, const char *name, int fd)
{
	struct stat st, named;

	if (!me.has_owner || fstat(fd, &st) != 0 || st.st_uid != 0 ||
	    path_file_check(fd) != 0 ||
	    fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !path_same_file(&named, &st))
		return;
	if (fchown(fd, me.uid, me.gid) == -1)
		say_warn("log: %s: owner", name);
}

/*
 * What has the name already. In a directory that others may write, root takes
 * nothing but an ordinary file without another name: a link or a pipe could
 * have been put there. Elsewhere a link (/dev/stdout) is the admin's.
 */
static int
say_file_there(int dir, const char *name, int flags)
{
	int fd, rc;

	if (path_dir_is_safe(dir)) {
		if ((fd = openat(dir, name, flags | O_CREAT, 0640)) == -1)
			return -errno;
		say_file_give(dir, name, fd);
		return fd;
	}
	fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK);
	if (fd == -1)
		return -errno;
	if ((rc = path_file_check(fd)) == 0)
		return fd;
	close(fd);
	return rc;
}

/* A descriptor or -errno. A file that was not there is given to the owner. */
static int
say_file_open(const char *path)
{
	int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY, dir, fd;
	const char *name = path;

	/* Others need not be able to read the directory. */
	dir = geteuid() == 0 ? path_parent_open(path, &name) : AT_FDCWD;
	if (dir < 0 && dir != AT_FDCWD)
		return dir;
	fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0640);
	if (fd != -1 && me.has_owner && fchown(fd, me.uid, me.gid) == -1)
		say_warn("log: %s: owner", path);
	if (fd == -1)
		fd =
		    errno == EEXIST ? say_file_there(dir, name, flags) : -errno;
	if (dir != AT_FDCWD)
		close(dir);
	return fd;
}

int
say_open(const char *target)
{
	int fd;

	if (strcmp(target, "stderr") == 0) {
		me.path[0] = '\0';
		say_target_set(STDERR_FILENO, false);
		return 0;
	}
	if (strcmp(target, "syslog") == 0) {
		me.path[0] = '\0';
		openlog("nodelife", LOG_PID | LOG_NDELAY, LOG_DAEMON);
		say_target_set(STDERR_FILENO, true);
		return 0;
	}
	if (target[0] != '/')
		return -EINVAL;
	if (strlen(target) >= sizeof(me.path))
		return -ENAMETOOLONG;
	if ((fd = say_file_open(target)) < 0)
		return fd;
	strlcpy(me.path, target, sizeof(me.path));
	say_target_set(fd, false);
	return 0;
}

void
say_owner(uid_t uid, gid_t gid)
{
	me.has_owner = true;
	me.uid = uid;
	me.gid = gid;
}

void
say_reopen_word(const _Atomic uint32_t *word)
{
	me.reopens = word;
	if (word != NULL)
		me.reopens_seen =
		    atomic_load_explicit(word, memory_order_acquire);
}

/* Has the name still the file that is open? */
static bool
say_file_is_named(void)
{
	return path_leads_to(AT_FDCWD, me.path, true, me.fd) == 0;
}

static void
say_not_reopened(int error)
{
	char text[FAULT_LINE_MAX];
	struct fault f = { .object = me.path,
		.call = "open again",
		.error = error,
		.place = PLACE_LOG,
		.effect = "lines go on to the file before" };

	say_warnx("log: %s", fault_text(text, sizeof(text), &f));
}

void
say_reopen(void)
{
	int fd;

	if (me.path[0] == '\0' || say_file_is_named())
		return;
	if ((fd = say_file_open(me.path)) >= 0)
		say_target_set(fd, false);
	else
		say_not_reopened(-fd);
}

void
say_follow(void)
{
	uint32_t now;

	if (me.reopens == NULL)
		return;
	now = atomic_load_explicit(me.reopens, memory_order_acquire);
	if (now == me.reopens_seen)
		return;
	me.reopens_seen = now;
	say_reopen();
}

int
say_fd(void)
{
	return me.syslog ? -1 : me.fd;
}

/* As syslog(3) would, without what it does besides. */
static void
syslog_last_word(const char *text, size_t len)
{
	static const struct sockaddr_un un = { .sun_family = AF_UNIX,
		.sun_path = _PATH_LOG };
	static char head[] = "<27>nodelife: "; /* daemon, err */
	struct iovec iov[] = { { head, sizeof(head) - 1 },
		{ (void *)(uintptr_t)text, len } };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&un, sizeof(un)) == 0)
		(void)!writev(fd, iov, NITEMS(iov));
}

void
say_last_word(const char *text)
{
	size_t len = strlen(text);

	if (me.syslog)
		syslog_last_word(text, len);
	(void)!write(me.fd, text, len);
	(void)!write(me.fd, "\n", 1);
}

void
say_name(const char *name)
{
	snprintf(me.name, sizeof(me.name), "%s", name);
}

void
say_level_word(const _Atomic uint32_t *word)
{
	me.level = word;
}

void
say_level_set(enum say_level level)
{
	atomic_store_explicit(&me.own_level, level, memory_order_relaxed);
}

const char *
say_level_name(enum say_level level)
{
	return (unsigned)level < NITEMS(level_names) ? level_names[level] : "?";
}

int
say_level_parse(const char *text)
{
	size_t i;

	for (i = 0; i < NITEMS(level_names); i++)
		if (strcmp(text, level_names[i]) == 0)
			return (int)i;
	return -EINVAL;
}

static bool
say_wanted(enum say_level level)
{
	const _Atomic uint32_t *word =
	    me.level != NULL ? me.level : &me.own_level;

	return level >= atomic_load_explicit(word, memory_order_relaxed);
}

void
say_echo(void)
{
	me.echo = true;
}

void
say_aloud(const char *fmt, ...)
{
	struct pollfd err = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[SAY_LINE_MAX];
	va_list ap;

	if (!me.echo || say_fd() == STDERR_FILENO || poll(&err, 1, 0) != 1)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "nodelifed: %s\n", line);
}

/* How much of a buffer of `room` bytes an snprintf() result used. */
static size_t
printed(int n, size_t room)
{
	if (n < 0)
		return 0;
	return (size_t)n < room ? (size_t)n : room - 1;
}

static size_t
say_prefix(char *line, size_t size, enum say_level level)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	return printed(
	    snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s: ",
		tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		tm.tm_min, tm.tm_sec, (int)(now.tv_nsec / 1000000),
		say_level_name(level), me.name),
	    size);
}

/* One line is one line, whatever a client or a file put into it. */
static void
say_clean(char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == '\x7f')
			text[i] = '?';
}

static void
say_line(enum say_level level, int error, const char *fmt, va_list ap)
{
	char line[SAY_LINE_MAX];
	size_t head, len, room = sizeof(line) - 1; /* the newline's place */
	int n;

	say_follow();
	head = len = say_prefix(line, room, level);
	n = vsnprintf(line + len, room - len, fmt, ap);
	len += printed(n, room - len);
	if (error != 0 && len + 3 < room)
		len += printed(
		    snprintf(line + len, room - len, ": %s", strerror(error)),
		    room - len);
	if (len + 1 >= room)
		memcpy(line + len - 3, "...", 3);
	say_clean(line + head, len - head);
	if (me.syslog) {
		line[len] = '\0';
		syslog(level_priorities[level], "%s: %s", me.name, line + head);
		return;
	}
	line[len++] = '\n';
	while (write(me.fd, line, len) == -1 && errno == EINTR)
		;
}

/* flat: the public calls differ in level and errno only. */
#define SAY_CALL(level, error)                                                 \
	do {                                                                   \
		int saved = errno;                                             \
		va_list ap;                                                    \
		if (say_wanted(level)) {                                       \
			va_start(ap, fmt);                                     \
			say_line(level, error, fmt, ap);                       \
			va_end(ap);                                            \
		}                                                              \
		errno = saved;                                                 \
	} while (0)

void
say_debug(const char *fmt, ...)
{
	SAY_CALL(SAY_DEBUG, 0);
}

void
say_info(const char *fmt, ...)
{
	SAY_CALL(SAY_INFO, 0);
}

void
say_warn(const char *fmt, ...)
{
	SAY_CALL(SAY_WARN, saved);
}

void
say_warnx(const char *fmt, ...)
{
	SAY_CALL(SAY_WARN, 0);
}

void
say_error(const char *fmt, ...)
{
	SAY_CALL(SAY_ERROR, saved);
}

void
say_errorx(const char *fmt, ...)
{
	SAY_CALL(SAY_ERROR, 0);
}

void
fatal(const char *fmt, ...)
{
	SAY_CALL(SAY_ERROR, saved);
	exit(1);
}

void
fatalx(const char *fmt, ...)
{
	SAY_CALL(SAY_ERROR, 0);
	exit(1);
}
