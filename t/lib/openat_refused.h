/*
 * openat() of this program: what the test's openat_refused() names finds the
 * machine without a descriptor. To be included before anything is opened.
 */
#ifndef T_LIB_OPENAT_REFUSED_H
#define T_LIB_OPENAT_REFUSED_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool openat_refused(const char *path);

int
openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if ((flags & (O_CREAT | O_TMPFILE)) != 0)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (openat_refused(path)) {
		errno = ENFILE;
		return -1;
	}
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
    __attribute__((alias("openat")));

/* What a fortified build calls instead. */
int __openat64_2(int dir, const char *path, int flags);

int
__openat64_2(int dir, const char *path, int flags)
{
	return openat(dir, path, flags);
}

int __openat_2(int dir, const char *path, int flags)
    __attribute__((alias("__openat64_2")));

#endif
