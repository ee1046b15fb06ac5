/* The end of a process that met a programmer error. */
#include "shm/assert.h"

#include <stdlib.h>
#include <unistd.h>

#include "shm/say.h"

void
assert_failed(const char *cond, const char *file, int line, const char *func)
{
	say_errorx("%s:%d: %s: assertion failed: %s, pid %d", file, line, func,
	    cond, (int)getpid());
	abort();
}
