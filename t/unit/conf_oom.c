/*
 * Memory that runs out at the Nth allocation, for all N until none fails: a
 * load then fails and says so, or succeeds whole; it never crashes, leaks, or
 * accepts half of a file.
 */
#include "conf/conf.h"

#include <errno.h>
#include <unistd.h>

#include "t/tap.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define OWN_MALLOC 0
#endif
#ifndef OWN_MALLOC
#define OWN_MALLOC 1
#endif

#if OWN_MALLOC
static uint64_t fail_at; /* 0 = never */
static uint64_t calls;
static int64_t live; /* allocated, less freed */

void *__libc_malloc(size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *ptr);

static bool
must_fail(void)
{
	return ++calls == fail_at;
}

void *
malloc(size_t size)
{
	if (must_fail()) {
		errno = ENOMEM;
		return NULL;
	}
	live++;
	return __libc_malloc(size);
}

void *
realloc(void *old, size_t size)
{
	if (must_fail()) {
		errno = ENOMEM;
		return NULL;
	}
	live += old == NULL;
	return __libc_realloc(old, size);
}

void
free(void *ptr)
{
	live -= ptr != NULL;
	__libc_free(ptr);
}

/* One load with its Nth allocation failing; true when it was reached. */
static bool
load_failing(const char *path, uint64_t n, bool good, bool *sound)
{
	struct conf_errors errs = { 0 };
	struct conf conf = { 0 };
	int64_t live_before = live;
	bool reached;
	int rc;

	calls = 0;
	fail_at = n;
	rc = conf_load(&conf, path, &errs);
	fail_at = 0;
	reached = calls >= n;
	if (rc == 0)
		*sound = good && conf.node.gateways == 2 && errs.count == 0;
	else
		*sound = conf.node.gateways == 0 &&
			 errs.count + errs.dropped > 0 &&
			 (rc == -ENOMEM || (rc == -EINVAL && !good));
	conf_errors_free(&errs);
	*sound = *sound && live == live_before;
	return reached;
}

static void
check_file(const char *what, const char *text, bool good)
{
	char path[] = "/tmp/conf_oom.XXXXXX";
	bool sound = true, reached = true;
	int fd = mkstemp(path);
	uint64_t n = 0;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	while (reached && sound)
		reached = load_failing(path, ++n, good, &sound);
	ok(sound, "%s: sound when allocation %" PRIu64 " fails", what, n);
	ok(n > 2, "%s: %" PRIu64 " allocations were tried", what, n - 1);
	close(fd);
	unlink(path);
}
#endif

int
main(void)
{
#if OWN_MALLOC
	check_file("a good file",
	    "[node]\nname = a\ngroup = b\ndata_dir = /d\ngateways = 2\n", true);
	check_file("a bad file",
	    "[node]\nname = a b\ngroup\ngateways = 2\n[x]\n[wal]\nio = 1\n",
	    false);
	return tap_done();
#else
	skip_all("the sanitizer has malloc");
#endif
}
