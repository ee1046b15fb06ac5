/*
 * TAP for unit tests: a header, no library. A test program calls ok() and its
 * kin, ends with `return tap_done();`, and is run by prove.
 */
#ifndef T_TAP_H
#define T_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <poll.h>
#include <unistd.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 2, 3), unused)) static bool
ok(bool pass, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", pass ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	if (!pass) {
		tap_failed++;
		fprintf(stderr, "#   Failed test %d, ", tap_count);
		va_start(ap, fmt);
		vfprintf(stderr, fmt, ap);
		va_end(ap);
		fprintf(stderr, "\n");
	}
	return pass;
}

__attribute__((format(printf, 1, 2), unused)) static void
diag(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "# ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

#define is_u64(got, want, name)                                                \
	tap_is_u64(                                                            \
	    (uint64_t)(got), (uint64_t)(want), (name), __FILE__, __LINE__)
#define is_i64(got, want, name)                                                \
	tap_is_i64((int64_t)(got), (int64_t)(want), (name), __FILE__, __LINE__)
#define is_str(got, want, name)                                                \
	tap_is_str((got), (want), (name), __FILE__, __LINE__)

__attribute__((unused)) static bool
tap_is_u64(
    uint64_t got, uint64_t want, const char *name, const char *file, int line)
{
	if (!ok(got == want, "%s", name))
		diag("%s:%d: got %" PRIu64 ", want %" PRIu64, file, line, got,
		    want);
	return got == want;
}

__attribute__((unused)) static bool
tap_is_i64(
    int64_t got, int64_t want, const char *name, const char *file, int line)
{
	if (!ok(got == want, "%s", name))
		diag("%s:%d: got %" PRId64 ", want %" PRId64, file, line, got,
		    want);
	return got == want;
}

__attribute__((unused)) static bool
tap_is_str(const char *got, const char *want, const char *name,
    const char *file, int line)
{
	bool same = got != NULL && want != NULL && strcmp(got, want) == 0;

	if (!ok(same, "%s", name))
		diag("%s:%d: got '%s', want '%s'", file, line,
		    got != NULL ? got : "(null)",
		    want != NULL ? want : "(null)");
	return same;
}

/* Say why and end the program as skipped. */
__attribute__((format(printf, 1, 2), noreturn, unused)) static void
skip_all(const char *fmt, ...)
{
	va_list ap;

	printf("1..0 # SKIP ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(0);
}

__attribute__((unused)) static uint64_t
tap_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* For what has to come: a failure's cost, however busy the machine. */
#define TAP_WAIT_MS 60000

/* Re-ask cond each millisecond until it holds or the deadline has passed. */
#define wait_until(cond, deadline_ms)                                          \
	({                                                                     \
		uint64_t wu_end = tap_now_ms() + (deadline_ms);                \
		bool wu_ok;                                                    \
		while (!(wu_ok = (cond)) && tap_now_ms() < wu_end)             \
			(void)poll(NULL, 0, 1);                                \
		wu_ok;                                                         \
	})

/* Record what a test made: t/exec sees to it that it goes. */
__attribute__((unused)) static void
tap_made(const char *path)
{
	const char *record = getenv("NODELIFE_MADE");
	FILE *f = record != NULL ? fopen(record, "a") : NULL;

	if (f == NULL)
		return;
	fprintf(f, "%s\n", path);
	fclose(f);
}

__attribute__((unused)) static char *
tap_mkdtemp(char *template)
{
	if (mkdtemp(template) == NULL)
		return NULL;
	tap_made(template);
	return template;
}

__attribute__((unused)) static int
tap_mkstemp(char *template)
{
	int fd = mkstemp(template);

	if (fd != -1)
		tap_made(template);
	return fd;
}

/* So each test's temporary files are recorded. */
#define mkdtemp tap_mkdtemp
#define mkstemp tap_mkstemp

__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed == 0 ? 0 : 1;
}

#endif
