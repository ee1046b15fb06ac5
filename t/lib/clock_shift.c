/*
 * A wall clock of its own for one program, by LD_PRELOAD: CLOCK_REALTIME and
 * what is made of it are apart from the machine's by the seconds that the file
 * $WORLD_CLOCK says, read again at each call, so a test can step it while the
 * program runs. CLOCK_MONOTONIC is the machine's. (World::clock)
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* By system calls alone: the program may hook or sandbox libc's. */
static time_t
shift(void)
{
	const char *path = getenv("WORLD_CLOCK");
	char text[32] = { 0 };
	int fd = path == NULL ? -1
			      : (int)syscall(SYS_openat, AT_FDCWD, path,
				    O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (syscall(SYS_read, fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	syscall(SYS_close, fd);
	return (time_t)strtoll(text, NULL, 10);
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	if (rc == 0 &&
	    (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += shift();
	return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return (time_t)-1;
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
