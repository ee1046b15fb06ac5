/*
 * The opening that all workers share, in the order that makes each step safe:
 * first nothing of the supervisor's is left open, then signals mean what they
 * mean in a worker, then limits (they may need root), then root is given up,
 * and only then the tie to the supervisor, because setresuid() cuts it.
 */
#include "workers/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/locks.h"
#include "shm/path.h"
#include "shm/process.h"
#include "shm/say.h"

/* stdio, log, region, bells, lock, data_dir, listeners of clients and members,
   http, control, pairs. */
#define KEEP_MAX (3 + 2 + SLOT_MAX + 2 + 2 * LISTEN_MAX + 2 + 3)

struct keep_list {
	unsigned count;
	int fd[KEEP_MAX];
};

static void
keep_add(struct keep_list *list, int fd)
{
	if (fd < 0)
		return;
	ASSERT(list->count < KEEP_MAX);
	list->fd[list->count++] = fd;
}

static int
fd_compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Close all but the listed, range by range. */
static void
close_others(struct keep_list *list)
{
	unsigned from = 0;

	qsort(list->fd, list->count, sizeof(list->fd[0]), fd_compare);
	for (unsigned i = 0; i < list->count; i++) {
		unsigned fd = (unsigned)list->fd[i];

		if (fd > from && close_range(from, fd - 1, 0) != 0)
			fatal("worker: close_range");
		from = fd + 1;
	}
	if (close_range(from, ~0u, 0) != 0)
		fatal("worker: close_range");
}

/* What this worker does not keep is closed, and -1 in its struct worker. */
static void
keep_descriptors(struct worker *w, unsigned keep)
{
	struct keep_list list = { 0 };

	if ((keep & KEEP_DATA) == 0)
		w->lock_fd = w->data_dir = -1;
	if ((keep & KEEP_HTTP) == 0)
		w->http_fd = w->control_fd = -1;
	if ((keep & KEEP_PEERS) == 0)
		w->to_wal = w->to_restore = -1;
	if ((keep & KEEP_FROM) == 0)
		w->data_from = -1;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		keep_add(&list, fd);
	keep_add(&list, say_fd());
	/* Memory of the table is given and taken through it. */
	keep_add(&list, w->region->fd);
	for (unsigned i = 0; i < SLOT_MAX; i++)
		keep_add(&list, w->bells.fd[i]);
	keep_add(&list, w->lock_fd);
	keep_add(&list, w->data_dir);
	for (unsigned i = 0; i < LISTEN_MAX; i++) {
		if ((keep & KEEP_LISTEN) == 0)
			w->listen_fd[i] = -1;
		keep_add(&list, w->listen_fd[i]);
		if ((keep & KEEP_PEERS) == 0)
			w->peer_fd[i] = -1;
		keep_add(&list, w->peer_fd[i]);
	}
	keep_add(&list, w->http_fd);
	keep_add(&list, w->control_fd);
	keep_add(&list, w->to_wal);
	keep_add(&list, w->to_restore);
	keep_add(&list, w->data_from);
	/*
	 * libc's syslog would go on using its number after the range closed
	 * it, perhaps as somebody's socket. It opens again by itself.
	 */
	closelog();
	close_others(&list);
}

/* Default dispositions, an empty mask, and what workers ignore: a file
 * that is too long is an error like others. */
static void
reset_signals(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE,
		SIGXFSZ };
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < SIGRTMIN; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			sigaction(sig, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	for (size_t i = 0; i < NITEMS(ignored); i++)
		sigaction(ignored[i], &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * The supervisor has looked the user up before, so a failure here means that
 * it went meanwhile. Without root there is nothing to drop.
 */
static void
drop_rights(const char *user)
{
	struct passwd *pw;

	if (user[0] == '\0' || geteuid() != 0)
		return;
	errno = 0;
	if ((pw = getpwnam(user)) == NULL)
		fatalx("worker: user %s: %s", user,
		    errno != 0 ? strerror(errno) : "no such user");
	if (initgroups(pw->pw_name, pw->pw_gid) != 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		fatal("worker: become user %s", user);
	if (pw->pw_uid != 0 && setuid(0) == 0)
		fatalx("worker: user %s: root can be had again", user);
}

/* Die with the supervisor, also if it died before this call. */
static void
tie_to_supervisor(pid_t supervisor)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		fatal("worker: PR_SET_PDEATHSIG");
	if (getppid() != supervisor)
		_exit(WORKER_EXIT_FAILED);
}

/*
 * [cpu] io: what a request crosses stays on one core, and the store off it.
 * Only a preference, so a refusal is no reason to stop.
 */
static void
choose_cpu(unsigned slot, int io)
{
	bool beside = slot == SLOT_STORE;
	cpu_set_t set;

	if (io < 0 || (!beside && slot != SLOT_WAL && slot != SLOT_GROUP &&
			  slot < SLOT_GATEWAY))
		return;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return;
	if (beside) {
		CPU_CLR(io, &set);
	} else {
		CPU_ZERO(&set);
		CPU_SET(io, &set);
	}
	if (CPU_COUNT(&set) > 0 && sched_setaffinity(0, sizeof(set), &set) != 0)
		say_warn("cpu: io = %d", io);
}

void
worker_open(struct worker *w, const char *title, unsigned keep)
{
	say_name(title);
	lock_self(w->region, w->slot, w->incarnation);
	keep_descriptors(w, keep);
	reset_signals();
	setproctitle("%s [%s]", title, w->conf->node.name);
	choose_cpu(w->slot, w->conf->cpu.io);
	drop_rights(w->conf->node.user);
	tie_to_supervisor(w->supervisor_pid);
	seq_opened(w->region->seq, w->slot);
}

void *
worker_state(struct worker *w, enum phase phase, size_t size)
{
	const struct fault f = { .object = "memory",
		.call = "malloc",
		.error = ENOMEM,
		.place = PLACE_PROCESS,
		.goes_on = true };

	if ((w->state = calloc(1, size)) != NULL)
		return w->state;
	worker_boot_fault(w, phase, &f);
	exit(WORKER_EXIT_FAILED);
}

int
worker_data_dir_check(const struct worker *w)
{
	return path_leads_to(
	    AT_FDCWD, w->conf->node.data_dir, true, w->data_dir);
}

/* Who waits for it sees it alive from here on. */
static void
running(struct worker *w)
{
	struct slot_row *row = &w->region->slots->row[w->slot];
	uint32_t starting = SLOT_STARTING;

	atomic_store_explicit(
	    &row->heartbeat_ns, mono_ns(), memory_order_release);
	/* Not over STOPPING, if a stop began meanwhile. */
	atomic_compare_exchange_strong_explicit(&row->state, &starting,
	    SLOT_RUNNING, memory_order_acq_rel, memory_order_relaxed);
	bell_ring(&w->bells, SLOT_SUPERVISOR);
}

int
worker_run(struct worker *w, struct loop *l)
{
	int rc;

	running(w);
	if ((rc = loop_run(l)) != 0) {
		say_errorx("loop: %s", strerror(-rc));
		if (w->exit_code == 0)
			w->exit_code = WORKER_EXIT_FAILED;
	}
	return w->exit_code;
}

void
worker_fatal(struct worker *w, struct loop *l, uint32_t wish)
{
	atomic_store_explicit(
	    &w->region->control->restart_wanted, wish, memory_order_release);
	bell_ring(&w->bells, SLOT_SUPERVISOR);
	w->exit_code = WORKER_EXIT_RESTART;
	l->quit = true;
}

static int
told(int rc, const char *why)
{
	if (rc == -EALREADY)
		say_errorx("%s", why);
	return rc;
}

void
worker_explain(const struct worker *w, struct fault *f, struct denied *d)
{
	if (f->place != PLACE_DATA)
		return;
	denied_explain(f, w->conf->node.data_dir, d);
	if (f->error == EFBIG) {
		/* Of a boot that fails, this process will be gone. */
		process_unlimit(d->command, sizeof(d->command),
		    w->supervisor_pid,
		    seq_reached(w->region->seq, PHASE_GATEWAY_ENABLE) ? getpid()
								      : 0);
		f->command = d->command;
	}
}

void
worker_explain_one(const struct worker *w, struct fault *f,
    const char *const *names, struct denied *d)
{
	char path[PATH_MAX];

	for (; f->error == EACCES && *names != NULL; names++) {
		struct fault one = { .object = path,
			.call = "open",
			.error = EACCES,
			.place = PLACE_DATA };

		snprintf(path, sizeof(path), "%s/%s", w->conf->node.data_dir,
		    *names);
		worker_explain(w, &one, d);
		if (one.what != NULL) {
			*f = one;
			return;
		}
	}
}

int
worker_boot_fault(
    const struct worker *w, enum phase phase, const struct fault *f)
{
	char text[FAULT_TEXT_MAX];
	struct fault full = *f;
	struct denied d;

	worker_explain(w, &full, &d);
	return told(seq_fault(w->region->seq, phase, w->slot, &full),
	    fault_text(text, sizeof(text), &full));
}

int
worker_boot_fail(const struct worker *w, enum phase phase, const char *why)
{
	return told(seq_fail(w->region->seq, phase, w->slot, "%s", why), why);
}

void
worker_ring_refused(const struct worker *w, enum phase phase, int error)
{
	const struct fault f = { .object = slot_name(w->slot),
		.call = "io_uring",
		.error = -error,
		.place = PLACE_RING,
		.goes_on = true };

	worker_boot_fault(w, phase, &f);
}

void
worker_store_refused(const struct worker *w, enum phase phase, int error)
{
	bool moved = error == -EREMCHG;
	bool dir = moved && worker_data_dir_check(w) == -EREMCHG;
	char path[CONF_PATH_SIZE + 16];
	const struct fault f = { .object = path,
		.call = dir ? "stat" : "open",
		.error = -error,
		.what = moved && !dir ? FAULT_OTHER_FILE : NULL,
		.place = PLACE_DATA,
		.damage = error == -EBADMSG };

	snprintf(path, sizeof(path), "%s%s", w->conf->node.data_dir,
	    dir               ? ""
	    : error == -EIDRM ? "/store/lock.mdb"
			      : "/store/data.mdb");
	worker_boot_fault(w, phase, &f);
}
