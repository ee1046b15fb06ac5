/*
 * Log lines. A process formats a whole line on its stack and hands it over
 * in one write(2), so neither locks nor buffers outlive a crash.
 */
#include "shm/say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
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
#define LAST_MS      200 /* what is said last has that long to be written */
#define SAY_PATH_MAX 1024

struct behind;

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
	struct behind *behind; /* NULL: lines are written by who says them */
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

static void
follow(void)
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

/* ---- a thread that writes ---- */

#define BEHIND_LINES 64

/*
 * Lines on their way, one producer (who says them) and the thread. The lock is
 * held for a copy only, never over a write.
 */
struct behind {
	pthread_mutex_t lock;
	pthread_cond_t more, less;
	unsigned first, count;
	bool follow; /* the file may have another name */
	uint32_t reopens_seen;
	unsigned long lost;
	struct {
		enum say_level level;
		size_t head, len;
		char text[SAY_LINE_MAX];
	} line[BEHIND_LINES];
};

static void
line_write(enum say_level level, char *line, size_t head, size_t len)
{
	follow();
	if (me.syslog) {
		line[len] = '\0';
		syslog(level_priorities[level], "%s: %s", me.name, line + head);
		return;
	}
	line[len++] = '\n';
	while (write(me.fd, line, len) == -1 && errno == EINTR)
		;
}

static void *
behind_main(void *arg)
{
	struct behind *b = arg;
	char line[SAY_LINE_MAX];
	enum say_level level;
	size_t head, len;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		while (b->count == 0 && !b->follow)
			pthread_cond_wait(&b->more, &b->lock);
		if (b->follow) {
			b->follow = false;
			pthread_mutex_unlock(&b->lock);
			follow();
			pthread_mutex_lock(&b->lock);
			continue;
		}
		level = b->line[b->first].level;
		head = b->line[b->first].head;
		len = b->line[b->first].len;
		memcpy(line, b->line[b->first].text, len);
		pthread_mutex_unlock(&b->lock);
		line_write(level, line, head, len);
		pthread_mutex_lock(&b->lock);
		/* Counted until it is written: say_flush() waits for it. */
		b->first = (b->first + 1) % BEHIND_LINES;
		b->count--;
		pthread_cond_signal(&b->less);
	}
	return NULL;
}

static void
behind_put(struct behind *b, enum say_level level, const char *line,
    size_t head, size_t len)
{
	unsigned at;
	int n = 0;

	pthread_mutex_lock(&b->lock);
	if (b->count == BEHIND_LINES) {
		b->lost++;
	} else {
		at = (b->first + b->count++) % BEHIND_LINES;
		b->line[at].level = level;
		b->line[at].head = head;
		b->line[at].len = len;
		memcpy(b->line[at].text, line, len);
		if (b->lost != 0)
			n = snprintf(b->line[at].text + len,
			    SAY_LINE_MAX - 1 - len,
			    " (%lu lines before it are lost)", b->lost);
		if (n > 0 && len + (size_t)n < SAY_LINE_MAX - 1)
			b->line[at].len += (size_t)n;
		b->lost = 0;
		pthread_cond_signal(&b->more);
	}
	pthread_mutex_unlock(&b->lock);
}

void
say_follow(void)
{
	struct behind *b = me.behind;
	uint32_t now;

	if (b == NULL) {
		follow();
		return;
	}
	if (me.reopens == NULL)
		return;
	now = atomic_load_explicit(me.reopens, memory_order_acquire);
	pthread_mutex_lock(&b->lock);
	if (now != b->reopens_seen) {
		b->reopens_seen = now;
		b->follow = true;
		pthread_cond_signal(&b->more);
	}
	pthread_mutex_unlock(&b->lock);
}

int
say_behind(void)
{
	struct behind *b = calloc(1, sizeof(*b));
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int rc;

	if (b == NULL)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->more, NULL);
	pthread_cond_init(&b->less, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	/* Signals are the process' own thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, behind_main, b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc != 0) {
		free(b);
		return -rc;
	}
	b->reopens_seen = me.reopens_seen;
	me.behind = b;
	return 0;
}

void
say_flush(unsigned wait_ms)
{
	struct behind *b = me.behind;
	struct timespec until;

	if (b == NULL)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&b->lock);
	while (b->count != 0 &&
	       pthread_cond_timedwait(&b->less, &b->lock, &until) == 0)
		;
	pthread_mutex_unlock(&b->lock);
}

static void
say_line(enum say_level level, int error, const char *fmt, va_list ap)
{
	char line[SAY_LINE_MAX];
	size_t head, len, room = sizeof(line) - 1; /* the newline's place */
	int n;

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
	if (me.behind != NULL)
		behind_put(me.behind, level, line, head, len);
	else
		line_write(level, line, head, len);
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
	say_flush(LAST_MS);
	exit(1);
}

void
fatalx(const char *fmt, ...)
{
	SAY_CALL(SAY_ERROR, 0);
	say_flush(LAST_MS);
	exit(1);
}
