/*
 * ASSERT: programmer errors only, always compiled in. What comes from disk,
 * wire, configuration or another process is checked and returned as an error
 * before it can reach one of these.
 */
#ifndef SHM_ASSERT_H
#define SHM_ASSERT_H

#define ASSERT(cond)                                                           \
	((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__, __func__))

#define NITEMS(array) (sizeof(array) / sizeof((array)[0]))

/* Logs the place with the process' name and slot, then aborts. */
__attribute__((noreturn, cold)) void
assert_failed(const char *cond, const char *file, int line, const char *func);

#endif
