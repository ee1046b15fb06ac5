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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/fault.h"
#include "shm/say.h"

#define MAP_SLACK (UINT64_C(1) << 30)
#define MAP_STEP  (UINT64_C(1) << 30)
#define RESERVE   (UINT64_C(256) << 10)

/* As ioprio_set(2) has them; not every libc has a header for it. */
#define IOPRIO_PROCESS    1
#define IOPRIO_IDLE_VALUE (3 << 13)

/* What the child says; on a page that both have. */
struct checkpoint_report {
	int32_t done; /* 1 = the rest is true */
	int32_t rc;
	struct checkpoint_work work;
};

/* What it is to do; see checkpoint_child_start(). */
struct child_job {
	bool settled;
	const char *path;
	const struct conf *conf;
	const struct table_head *t;
	const struct table_gen *g;
	const uint8_t *group_uuid;
	uint64_t base;
};

/*
 * The log's I/O goes first. Not so for the CPU: a checkpoint that a busy
 * machine starves ends when the table is full, and then all clients wait.
 */
static void
give_way(void)
{
	if (syscall(SYS_ioprio_set, IOPRIO_PROCESS, 0, IOPRIO_IDLE_VALUE) != 0)
		say_debug("no idle I/O priority");
}

uint64_t
checkpoint_map(const char *path, const struct conf *conf)
{
	char name[CONF_PATH_SIZE + 32];
	struct stat st = { 0 };

	/* All pages copied once, and a table's entries on pages of their own */
	snprintf(name, sizeof(name), "%s/data.mdb", path);
	(void)stat(name, &st);
	return align_up(
	    2 * (uint64_t)st.st_size + 8 * conf->store.table_size + MAP_SLACK,
	    MAP_STEP);
}

/*
 * Room on disk behind the file's last page for what a FLUSHALL writes: that
 * frees a store on a full disk. As far as there is some; what is written first
 * and fails leaves as much.
 */
static void
reserve(const struct store_db *db)
{
	MDB_envinfo info;
	uint64_t end;
	int fd;

	if (mdb_env_info(db->env, &info) != 0 ||
	    mdb_env_get_fd(db->env, &fd) != 0)
		return;
	/* A list of all pages: eight bytes for each. */
	end = ((uint64_t)info.me_last_pgno + 1) * db->page_size;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end,
		(off_t)(end / 256 + RESERVE)) != 0)
		say_debug("no room is kept for a FLUSHALL");
}

int
checkpoint_settle(const struct store_db *db)
{
	size_t n = 2 * (size_t)db->page_size;
	uint8_t *metas = malloc(n);
	MDB_txn *txn = NULL; /* keeps others from writing them */
	ssize_t got;
	int fd, rc = -ENOMEM;

	if (metas != NULL)
		rc = store_db_errno(mdb_txn_begin(db->env, NULL, 0, &txn));
	if (rc == 0)
		rc = store_db_errno(mdb_env_get_fd(db->env, &fd));
	if (rc == 0) {
		got = pread(fd, metas, n, 0);
		if (got == (ssize_t)n)
			got = pwrite(fd, metas, n, 0);
		if (got != (ssize_t)n)
			rc = got < 0 ? fault_of_call(-errno) : -EIO;
		else if (fdatasync(fd) != 0)
			rc = fault_of_call(-errno);
	}
	if (txn != NULL)
		mdb_txn_abort(txn);
	free(metas);
	return rc;
}

/* Has nobody put an older state into the file? */
static int
look_inside(const struct store_db *db, uint64_t base)
{
	struct store_state st;
	MDB_txn *txn;
	int rc = store_db_errno(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn));

	if (rc != 0)
		return rc;
	rc = store_db_state(db, txn, &st);
	mdb_txn_abort(txn);
	return rc == 0 && st.vlsn < base ? -EREMCHG : rc;
}

static int
child_run(struct checkpoint_report *report, const struct child_job *job)
{
	const struct table_head *t = job->t;
	struct store_db db;
	char why[256];
	int rc;

	rc = store_db_open_same(&db, job->path, STORE_DB_WRITE,
	    checkpoint_map(job->path, job->conf), &t->files, why, sizeof(why));
	if (rc != 0) {
		/* Of these the trouble says all. */
		if (!checkpoint_away(rc) && rc != -EBUSY)
			say_errorx("%s", why);
		return checkpoint_error(job->path, rc);
	}
	db.memory = job->conf->store.checkpoint_memory;
	rc = look_inside(&db, job->base);
	if (rc == 0)
		reserve(&db);
	if (rc == 0 && !job->settled)
		rc = checkpoint_settle(&db);
	if (rc == 0)
		rc = checkpoint_write(
		    &db, t, job->g, job->group_uuid, NULL, NULL, &report->work);
	if (rc == 0)
		reserve(&db);
	/* What is told counts only where a boot finds it. */
	if (rc == 0)
		rc = store_db_same(&db);
	store_db_close(&db);
	return rc;
}

static void
child_main(
    struct checkpoint_report *report, pid_t parent, const struct child_job *job)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
	setproctitle("checkpoint: writing");
	give_way();
	report->rc = child_run(report, job);
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
    const struct table_gen *g, const uint8_t group_uuid[16], uint64_t base)
{
	const struct child_job job = { ch->settled, path, conf, t, g,
		group_uuid, base };
	struct checkpoint_report *report = report_page(ch);
	pid_t parent = getpid();
	int rc;

	ASSERT(ch->pid == 0);
	ch->killed_by = 0;
	if (report == NULL)
		return -ENOMEM;
	memset(report, 0, sizeof(*report));
	ch->pid = fork();
	if (ch->pid == 0)
		child_main(report, parent, &job);
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

/*
 * Without a report. A crash speaks of a damaged file, and SIGBUS of one that
 * the disk does not give; a kill of neither.
 */
static int
death(struct checkpoint_child *ch, int status)
{
	if (!WIFSIGNALED(status))
		return -EINTR;
	ch->killed_by = WTERMSIG(status);
	switch (ch->killed_by) {
	case SIGBUS:
		return -EIO;
	case SIGXFSZ:
		return -EFBIG;
	case SIGSEGV:
	case SIGABRT:
	case SIGFPE:
	case SIGILL:
		return -EBADMSG;
	default:
		return -EINTR;
	}
}

int
checkpoint_child_reap(struct checkpoint_child *ch, struct checkpoint_work *work)
{
	int status, rc;
	pid_t pid = waitpid(ch->pid, &status, WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR))
		return -EAGAIN;
	close(ch->pidfd);
	ch->pidfd = -1;
	ch->pid = 0;
	*work = ch->report->work;
	rc = ch->report->done == 1 ? ch->report->rc : death(ch, status);
	ch->settled = rc == 0;
	return rc;
}
