/*
 * The process that writes one checkpoint. A commit blocks in the kernel for as
 * long as the disk takes, and its pages are private memory: both end with this
 * process, and so does a crash on a damaged tree. The worker goes on showing
 * that it lives, and a stop ends the child at any point: what it did is not
 * there before its last write.
 */
#include "workers/checkpoint/checkpoint.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/log.h"

/* As ioprio_set(2) has them; not every libc has a header for it. */
#define IOPRIO_PROCESS    1
#define IOPRIO_IDLE_VALUE (3 << 13)

/* What the child says; on a page that both have. */
struct checkpoint_report {
	int32_t done; /* 1 = the rest is true */
	int32_t rc;
	struct checkpoint_work work;
};

/*
 * The log's I/O goes first. Not so for the CPU: a checkpoint that a busy
 * machine starves ends when the table is full, and then all clients wait.
 */
static void
give_way(void)
{
	if (syscall(SYS_ioprio_set, IOPRIO_PROCESS, 0, IOPRIO_IDLE_VALUE) != 0)
		log_debug("no idle I/O priority");
}

static int
child_run(struct checkpoint_report *report, const char *path,
    const struct conf *conf, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16])
{
	struct store_db db;
	char why[256];
	int rc;

	rc = store_db_open(
	    &db, path, STORE_DB_WRITE, conf->store.map_size, why, sizeof(why));
	if (rc != 0) {
		log_errorx("%s", why);
		return rc;
	}
	db.memory = conf->store.checkpoint_memory;
	rc = checkpoint_write(&db, t, g, group_uuid, NULL, NULL, &report->work);
	store_db_close(&db);
	return rc;
}

static void
child_main(struct checkpoint_report *report, pid_t parent, const char *path,
    const struct conf *conf, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16])
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
	setproctitle("checkpoint: writing");
	give_way();
	report->rc = child_run(report, path, conf, t, g, group_uuid);
	report->done = 1;
	_exit(0);
}

static struct checkpoint_report *
report_page(struct checkpoint_child *ch)
{
	void *at;

	if (ch->report != NULL)
		return ch->report;
	at = mmap(NULL, sizeof(*ch->report), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (at != MAP_FAILED)
		ch->report = at;
	return ch->report;
}

int
checkpoint_child_start(struct checkpoint_child *ch, const char *path,
    const struct conf *conf, const struct table_head *t,
    const struct table_gen *g, const uint8_t group_uuid[16])
{
	struct checkpoint_report *report = report_page(ch);
	pid_t parent = getpid();
	int rc;

	ASSERT(ch->pid == 0);
	if (report == NULL)
		return -ENOMEM;
	memset(report, 0, sizeof(*report));
	ch->pid = fork();
	if (ch->pid == 0)
		child_main(report, parent, path, conf, t, g, group_uuid);
	if (ch->pid < 0) {
		rc = -errno;
		ch->pid = 0;
		return rc;
	}
	ch->pidfd = (int)syscall(SYS_pidfd_open, ch->pid, 0);
	if (ch->pidfd >= 0)
		return 0;
	rc = -errno;
	checkpoint_child_kill(ch);
	waitpid(ch->pid, NULL, 0);
	ch->pid = 0;
	return rc;
}

void
checkpoint_child_kill(struct checkpoint_child *ch)
{
	if (ch->pid > 0)
		kill(ch->pid, SIGKILL);
}

/* Death by a signal: a crash speaks of a damaged file, a kill does not. */
static int
death(int status)
{
	if (!WIFSIGNALED(status))
		return -EIO;
	log_warnx("writer: killed by signal %d", WTERMSIG(status));
	return WTERMSIG(status) == SIGKILL ? -EINTR : -EBADMSG;
}

int
checkpoint_child_reap(struct checkpoint_child *ch, struct checkpoint_work *work)
{
	int status;
	pid_t pid = waitpid(ch->pid, &status, WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR))
		return -EAGAIN;
	close(ch->pidfd);
	ch->pidfd = -1;
	ch->pid = 0;
	*work = ch->report->work;
	if (ch->report->done == 1)
		return ch->report->rc;
	return death(status);
}
