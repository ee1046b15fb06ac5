/*
 * Log lines: one write(2) each, so lines of different processes never mix.
 * A line reads `TIME LEVEL NAME: object: what: why, numbers`. The x variants
 * add no errno text. Never called while a shared lock is held.
 */
#ifndef SHM_SAY_H
#define SHM_SAY_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum say_level { SAY_DEBUG, SAY_INFO, SAY_WARN, SAY_ERROR };

#define SAY_FMT __attribute__((format(printf, 1, 2)))

/*
 * Where lines go: "stderr", "syslog" or an absolute path (opened O_APPEND,
 * kept over forks). 0 or -errno. Before this call lines go to stderr.
 */
int say_open(const char *target);
/* Whom a file belongs to that is made from now on; needs root. */
void say_owner(uid_t uid, gid_t gid);
/*
 * Rotation: open the file again if its name has become another one's. If that
 * fails it is said, and lines go on to the file before.
 */
void say_reopen(void);
/*
 * A count that all processes share (NULL = none); whoever moves it has called
 * say_reopen() itself. Who sees it changed does so, too: before its next line,
 * or in say_follow(), for who has nothing to say.
 */
void say_reopen_word(const _Atomic uint32_t *word);
void say_follow(void);
/*
 * From here on lines of this process are written by a thread of its own: a file
 * or a reader that takes none holds it up, not who says them. What does not fit
 * meanwhile is dropped, and counted in the next line that does. 0 or -errno:
 * lines go on as before. Not over a fork.
 */
int say_behind(void);
/* What waits is written, or the time is over: before the process ends. */
void say_flush(unsigned wait_ms);
/*
 * A line for who looks on, on stderr after "nodelifed: ", if say_echo() was
 * called and lines go elsewhere. Never waits for a terminal that rests.
 */
void say_echo(void);
void say_aloud(const char *fmt, ...) SAY_FMT;
/* The descriptor lines go to, for who closes all others; -1 = syslog. */
int say_fd(void);
/*
 * A last word, from a signal handler: no lock, no memory, no look at words
 * that are shared. Without a newline.
 */
void say_last_word(const char *text);
/* The process' name in its lines (at most 31 bytes are kept). */
void say_name(const char *name);
/* The level word that all processes share; NULL = a private one at info. */
void say_level_word(const _Atomic uint32_t *word);
void say_level_set(enum say_level level); /* the private word */
const char *say_level_name(enum say_level level);
int say_level_parse(const char *text); /* a level or -EINVAL */

void say_debug(const char *fmt, ...) SAY_FMT;
void say_info(const char *fmt, ...) SAY_FMT;
void say_warn(const char *fmt, ...) SAY_FMT; /* adds ": strerror(errno)" */
void say_warnx(const char *fmt, ...) SAY_FMT;
void say_error(const char *fmt, ...) SAY_FMT; /* adds ": strerror(errno)" */
void say_errorx(const char *fmt, ...) SAY_FMT;
__attribute__((noreturn)) void fatal(const char *fmt, ...) SAY_FMT;
__attribute__((noreturn)) void fatalx(const char *fmt, ...) SAY_FMT;

#endif
