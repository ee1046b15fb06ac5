/*
 * Log lines: one write(2) each, so lines of different processes never mix.
 * A line reads `TIME LEVEL NAME: object: what: why, numbers`. The x variants
 * add no errno text. Never called while a shared lock is held.
 */
#ifndef SHM_LOG_H
#define SHM_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum log_level { LOG_LVL_DEBUG, LOG_LVL_INFO, LOG_LVL_WARN, LOG_LVL_ERROR };

#define LOG_FMT __attribute__((format(printf, 1, 2)))

/*
 * Where lines go: "stderr", "syslog" or an absolute path (opened O_APPEND,
 * kept over forks). 0 or -errno. Before this call lines go to stderr.
 */
int log_open(const char *target);
/* Whom a file belongs to that is made from now on; needs root. */
void log_owner(uid_t uid, gid_t gid);
/*
 * Rotation: open the file again if its name has become another one's. If that
 * fails it is said, and lines go on to the file before.
 */
void log_reopen(void);
/*
 * A count that all processes share (NULL = none); whoever moves it has called
 * log_reopen() itself. Who sees it changed does so, too: before its next line,
 * or in log_follow(), for who has nothing to say.
 */
void log_reopen_word(const _Atomic uint32_t *word);
void log_follow(void);
/*
 * A line for who looks on, on stderr after "nodelifed: ", if log_echo() was
 * called and lines go elsewhere. Never waits for a terminal that rests.
 */
void log_echo(void);
void log_say(const char *fmt, ...) LOG_FMT;
/* The descriptor lines go to, for who closes all others; -1 = syslog. */
int log_fd(void);
/*
 * A last word, from a signal handler: no lock, no memory, no look at words
 * that are shared. Without a newline.
 */
void log_last_word(const char *text);
/* The process' name in its lines (at most 31 bytes are kept). */
void log_name(const char *name);
/* The level word that all processes share; NULL = a private one at info. */
void log_level_word(const _Atomic uint32_t *word);
void log_level_set(enum log_level level); /* the private word */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *text); /* a level or -EINVAL */

void log_debug(const char *fmt, ...) LOG_FMT;
void log_info(const char *fmt, ...) LOG_FMT;
void log_warn(const char *fmt, ...) LOG_FMT; /* adds ": strerror(errno)" */
void log_warnx(const char *fmt, ...) LOG_FMT;
void log_error(const char *fmt, ...) LOG_FMT; /* adds ": strerror(errno)" */
void log_errorx(const char *fmt, ...) LOG_FMT;
__attribute__((noreturn)) void fatal(const char *fmt, ...) LOG_FMT;
__attribute__((noreturn)) void fatalx(const char *fmt, ...) LOG_FMT;

#endif
