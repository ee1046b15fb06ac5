/*
 * Log lines. A process formats a whole line on its stack and hands it over
 * in one write(2), so neither locks nor buffers outlive a crash.
 */
#include "shm/log.h"

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

#define LOG_LINE_MAX 1024 /* bytes, newline included; longer lines are cut */
#define LOG_NAME_MAX 32
#define LOG_PATH_MAX 1024

struct logger {
	int fd;
	bool syslog;
	bool echo; /* log_say() does */
	char name[LOG_NAME_MAX];
	char path[LOG_PATH_MAX]; /* "" = no file */
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
	.own_level = LOG_LVL_INFO,
};

static const char *const level_names[] = {
	[LOG_LVL_DEBUG] = "debug",
	[LOG_LVL_INFO] = "info",
	[LOG_LVL_WARN] = "warn",
	[LOG_LVL_ERROR] = "error",
};

static const int level_priorities[] = {
	[LOG_LVL_DEBUG] = LOG_DEBUG,
	[LOG_LVL_INFO] = LOG_INFO,
	[LOG_LVL_WARN] = LOG_WARNING,
	[LOG_LVL_ERROR] = LOG_ERR,
};

/* The descriptor before was ours only if it was a file. */
static void
log_target_set(int fd, bool to_syslog)
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
log_file_give(int dir, const char *name, int fd)
{
	struct stat st, named;

	if (!me.has_owner || fstat(fd, &st) != 0 || st.st_uid != 0 ||
	    path_file_check(fd) != 0 ||
	    fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !path_same_file(&named, &st))
		return;
	if (fchown(fd, me.uid, me.gid) == -1)
		log_warn("log: %s: owner", name);
}

/*
 * What has the name already. In a directory that others may write, root takes
 * nothing but an ordinary file without another name: a link or a pipe could
 * have been put there. Elsewhere a link (/dev/stdout) is the admin's.
 */
static int
log_file_there(int dir, const char *name, int flags)
{
	int fd, rc;

	if (path_dir_is_safe(dir)) {
		if ((fd = openat(dir, name, flags | O_CREAT, 0640)) == -1)
			return -errno;
		log_file_give(dir, name, fd);
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
log_file_open(const char *path)
{
	int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY, dir, fd;
	const char *name = path;

	/* Others need not be able to read the directory. */
	dir = geteuid() == 0 ? path_parent_open(path, &name) : AT_FDCWD;
	if (dir < 0 && dir != AT_FDCWD)
		return dir;
	fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0640);
	if (fd != -1 && me.has_owner && fchown(fd, me.uid, me.gid) == -1)
		log_warn("log: %s: owner", path);
	if (fd == -1)
		fd =
		    errno == EEXIST ? log_file_there(dir, name, flags) : -errno;
	if (dir != AT_FDCWD)
		close(dir);
	return fd;
}

int
log_open(const char *target)
{
	int fd;

	if (strcmp(target, "stderr") == 0) {
		me.path[0] = '\0';
		log_target_set(STDERR_FILENO, false);
		return 0;
	}
	if (strcmp(target, "syslog") == 0) {
		me.path[0] = '\0';
		openlog("nodelife", LOG_PID | LOG_NDELAY, LOG_DAEMON);
		log_target_set(STDERR_FILENO, true);
		return 0;
	}
	if (target[0] != '/')
		return -EINVAL;
	if (strlen(target) >= sizeof(me.path))
		return -ENAMETOOLONG;
	if ((fd = log_file_open(target)) < 0)
		return fd;
	strlcpy(me.path, target, sizeof(me.path));
	log_target_set(fd, false);
	return 0;
}

void
log_owner(uid_t uid, gid_t gid)
{
	me.has_owner = true;
	me.uid = uid;
	me.gid = gid;
}

void
log_reopen_word(const _Atomic uint32_t *word)
{
	me.reopens = word;
	if (word != NULL)
		me.reopens_seen =
		    atomic_load_explicit(word, memory_order_acquire);
}

/* Has the name still the file that is open? */
static bool
log_file_is_named(void)
{
	return path_leads_to(AT_FDCWD, me.path, true, me.fd) == 0;
}

static void
log_not_reopened(int error)
{
	char text[FAULT_LINE_MAX];
	struct fault f = { .object = me.path,
		.call = "open again",
		.error = error,
		.place = PLACE_LOG,
		.effect = "lines go on to the file before" };

	log_warnx("log: %s", fault_text(text, sizeof(text), &f));
}

void
log_reopen(void)
{
	int fd;

	if (me.path[0] == '\0' || log_file_is_named())
		return;
	if ((fd = log_file_open(me.path)) >= 0)
		log_target_set(fd, false);
	else
		log_not_reopened(-fd);
}

void
log_follow(void)
{
	uint32_t now;

	if (me.reopens == NULL)
		return;
	now = atomic_load_explicit(me.reopens, memory_order_acquire);
	if (now == me.reopens_seen)
		return;
	me.reopens_seen = now;
	log_reopen();
}

int
log_fd(void)
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
log_last_word(const char *text)
{
	size_t len = strlen(text);

	if (me.syslog)
		syslog_last_word(text, len);
	(void)!write(me.fd, text, len);
	(void)!write(me.fd, "\n", 1);
}

void
log_name(const char *name)
{
	snprintf(me.name, sizeof(me.name), "%s", name);
}

void
log_level_word(const _Atomic uint32_t *word)
{
	me.level = word;
}

void
log_level_set(enum log_level level)
{
	atomic_store_explicit(&me.own_level, level, memory_order_relaxed);
}

const char *
log_level_name(enum log_level level)
{
	return (unsigned)level < NITEMS(level_names) ? level_names[level] : "?";
}

int
log_level_parse(const char *text)
{
	size_t i;

	for (i = 0; i < NITEMS(level_names); i++)
		if (strcmp(text, level_names[i]) == 0)
			return (int)i;
	return -EINVAL;
}

static bool
log_wanted(enum log_level level)
{
	const _Atomic uint32_t *word =
	    me.level != NULL ? me.level : &me.own_level;

	return level >= atomic_load_explicit(word, memory_order_relaxed);
}

void
log_echo(void)
{
	me.echo = true;
}

void
log_say(const char *fmt, ...)
{
	struct pollfd err = { .fd = STDERR_FILENO, .events = POLLOUT };
	char line[LOG_LINE_MAX];
	va_list ap;

	if (!me.echo || log_fd() == STDERR_FILENO || poll(&err, 1, 0) != 1)
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
log_prefix(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	return printed(
	    snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s: ",
		tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		tm.tm_min, tm.tm_sec, (int)(now.tv_nsec / 1000000),
		log_level_name(level), me.name),
	    size);
}

/* One line is one line, whatever a client or a file put into it. */
static void
log_clean(char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == '\x7f')
			text[i] = '?';
}

static void
log_line(enum log_level level, int error, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t head, len, room = sizeof(line) - 1; /* the newline's place */
	int n;

	log_follow();
	head = len = log_prefix(line, room, level);
	n = vsnprintf(line + len, room - len, fmt, ap);
	len += printed(n, room - len);
	if (error != 0 && len + 3 < room)
		len += printed(
		    snprintf(line + len, room - len, ": %s", strerror(error)),
		    room - len);
	if (len + 1 >= room)
		memcpy(line + len - 3, "...", 3);
	log_clean(line + head, len - head);
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
#define LOG_CALL(level, error)                                                 \
	do {                                                                   \
		int saved = errno;                                             \
		va_list ap;                                                    \
		if (log_wanted(level)) {                                       \
			va_start(ap, fmt);                                     \
			log_line(level, error, fmt, ap);                       \
			va_end(ap);                                            \
		}                                                              \
		errno = saved;                                                 \
	} while (0)

void
log_debug(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_DEBUG, 0);
}

void
log_info(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_INFO, 0);
}

void
log_warn(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_WARN, saved);
}

void
log_warnx(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_WARN, 0);
}

void
log_error(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_ERROR, saved);
}

void
log_errorx(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_ERROR, 0);
}

void
fatal(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_ERROR, saved);
	exit(1);
}

void
fatalx(const char *fmt, ...)
{
	LOG_CALL(LOG_LVL_ERROR, 0);
	exit(1);
}
