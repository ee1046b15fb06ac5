/*
 * At boot: files of the release before become ones of this release. As with a
 * checkpoint a process of its own does it, whose memory ends with it and which
 * a damaged tree may crash; the worker looks on and shows that it goes on.
 */
#include "workers/checkpoint/checkpoint.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 20

/* What the child says; on a page that both have. */
struct convert_report {
	_Atomic uint64_t done, all; /* entries */
	_Atomic int32_t rc; /* 1 = has not ended */
};

static void
tell(void *arg, uint64_t done, uint64_t all)
{
	struct convert_report *r = arg;

	atomic_store_explicit(&r->done, done, memory_order_relaxed);
	atomic_store_explicit(&r->all, all, memory_order_relaxed);
}

static int
convert_run(struct convert_report *r, const char *path, const struct conf *conf)
{
	struct store_db db;
	char why[256];
	int rc;

	rc = store_db_open(&db, path, STORE_DB_WRITE,
	    checkpoint_map(path, conf), why, sizeof(why));
	if (rc != 0)
		return checkpoint_error(path, rc);
	db.memory = conf->store.checkpoint_memory;
	rc = checkpoint_error(path, store_db_convert(&db, tell, r));
	store_db_close(&db);
	return rc;
}

static void
convert_child(struct convert_report *r, pid_t parent, const char *path,
    const struct conf *conf)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
	setproctitle("checkpoint: converting");
	atomic_store_explicit(
	    &r->rc, convert_run(r, path, conf), memory_order_release);
	_exit(0);
}

/* Until it has ended. */
static int
look_on(pid_t pid, struct convert_report *r,
    void (*beat)(void *arg, uint64_t done, uint64_t all), void *arg)
{
	int status, rc;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0 ||
	       (got < 0 && errno == EINTR)) {
		beat(arg, atomic_load_explicit(&r->done, memory_order_relaxed),
		    atomic_load_explicit(&r->all, memory_order_relaxed));
		(void)poll(NULL, 0, LOOK_MS);
	}
	rc = atomic_load_explicit(&r->rc, memory_order_acquire);
	if (rc != 1)
		return rc;
	/* A crash speaks of a damaged tree. */
	return got == pid && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL
		   ? -EBADMSG
		   : -EINTR;
}

int
checkpoint_convert(const char *path, const struct conf *conf,
    void (*beat)(void *arg, uint64_t done, uint64_t all), void *arg)
{
	struct convert_report *r;
	pid_t pid, parent = getpid();
	int rc;

	r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r == MAP_FAILED)
		return -errno;
	atomic_store_explicit(&r->rc, 1, memory_order_relaxed);
	pid = fork();
	if (pid == 0)
		convert_child(r, parent, path, conf);
	rc = pid < 0 ? -errno : look_on(pid, r, beat, arg);
	munmap(r, sizeof(*r));
	return rc;
}
