/*
 * A store that is written each time that it is read, by LD_PRELOAD: while the
 * file $OUTRUN is there, each meta page that a program reads says something
 * else than the time before. (t/integration/store_outrun.t)
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define META_SIZE 152u
#define MAP_SIZE  32u /* of it: in no place of use to who only looks */

ssize_t
pread(int fd, void *buf, size_t n, off_t at)
{
	static uint8_t commits;
	const char *file = getenv("OUTRUN");
	ssize_t got = syscall(SYS_pread64, fd, buf, n, at);

	if (n == META_SIZE && got == (ssize_t)n && file != NULL &&
	    access(file, F_OK) == 0)
		((uint8_t *)buf)[MAP_SIZE] ^= ++commits | 1;
	return got;
}

ssize_t
pread64(int fd, void *buf, size_t n, off_t at) __attribute__((alias("pread")));
