/*
 * What the shm tests share: memory that forks see, children whose end is
 * checked, a region in a run_dir of its own that leaves nothing behind, and a
 * random generator whose seed is printed.
 */
#ifndef T_SHM_FIXTURE_H
#define T_SHM_FIXTURE_H

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "shm/region.h"
#include "t/tap.h"

__attribute__((unused)) static void *
shared_zeros(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		abort();
	return at;
}

/* Run body(arg) in a child; it exits with what body returns. */
__attribute__((unused)) static pid_t
child_start(int (*body)(void *), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(200); /* less than a test may take */
		_exit(body(arg));
	}
	if (pid == -1)
		abort();
	return pid;
}

/* Exit code, or 1000 + the signal that ended it. */
__attribute__((unused)) static int
child_end(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		return 1000 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

struct fixture {
	char dir[64];
	struct region_spec spec;
	struct region r;
};

__attribute__((unused)) static void
fixture_dir(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/nodelife-shm.XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		abort();
	f->spec = (struct region_spec){
		.node = "unit",
		.group = "g",
		.data_dir = f->dir,
		.run_dir = f->dir,
		.client_addr = "127.0.0.1:1",
		.http_addr = "127.0.0.1:2",
		.walbuf_size = 1 << 20,
		.table_size = 1 << 20,
		.memory_least = 6 << 20,
		.gateway_count = 1,
	};
}

__attribute__((unused)) static void
fixture_open(struct fixture *f)
{
	char why[256];

	fixture_dir(f);
	if (region_create(&f->r, &f->spec, why, sizeof(why)) != 0) {
		diag("%s", why);
		abort();
	}
}

/* Remove the links, what they lead to, and the directory. */
__attribute__((unused)) static void
fixture_remove(struct fixture *f)
{
	static const char *const names[] = { "region", "region.prev" };
	char path[128], target[256];
	ssize_t n;
	size_t i;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, "/dev/shm/nodelife.unit.", 23) == 0)
			unlink(target);
		unlink(path);
	}
	ok(rmdir(f->dir) == 0, "nothing else was left in run_dir");
}

__attribute__((unused)) static void
fixture_close(struct fixture *f)
{
	region_unmap(&f->r);
	fixture_remove(f);
}

/* xorshift64*: tests replay with SEED=n. */
static uint64_t rnd_state;

__attribute__((unused)) static void
rnd_seed(void)
{
	const char *env = getenv("SEED");

	rnd_state = env != NULL ? strtoull(env, NULL, 10) : mono_ns() | 1;
	diag("SEED=%" PRIu64, rnd_state);
}

__attribute__((unused)) static uint64_t
rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
