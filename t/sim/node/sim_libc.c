/*
 * Libc's functions of processes, time and waiting, as simulated processes find
 * them. Outside of one each is the kernel's, or libc's own.
 */
#include "t/sim/node/sim_core.h"

#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_OF_S  UINT64_C(1000000000)
#define NS_OF_MS UINT64_C(1000000)

static bool
inside(void)
{
	return sim_self() != NULL;
}

static long
result(long rc)
{
	if (rc >= 0)
		return rc;
	errno = (int)-rc;
	return -1;
}

static long
kernel(long nr, long a, long b, long c, long d, long e, long f)
{
	return result(sim_kernel(nr, a, b, c, d, e, f));
}

/* Libc's own, of those that are more than a system call. */
static void *
real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (f == NULL)
		__builtin_trap();
	return f;
}

static uint64_t
ns_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NS_OF_S + (uint64_t)ts->tv_nsec;
}

/*
 * All simulated processes share this one's heap, so none of them sets it up:
 * what is given back and asked for again all the time stays with the process.
 */
int
mallopt(int what, int value)
{
	return inside() ? 1 : ((int (*)(int, int))real("mallopt"))(what, value);
}

/* ---- time ---- */

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ns;

	if (!inside())
		return (int)kernel(SYS_clock_gettime, id, (long)ts, 0, 0, 0, 0);
	sim_point("clock_gettime");
	ns = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? sim_wall_ns()
								 : sim_now_ns();
	ts->tv_sec = (time_t)(ns / NS_OF_S);
	ts->tv_nsec = (long)(ns % NS_OF_S);
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

int
nanosleep(const struct timespec *ts, struct timespec *left)
{
	if (!inside())
		return (int)kernel(
		    SYS_nanosleep, (long)ts, (long)left, 0, 0, 0, 0);
	sim_point("nanosleep");
	sim_sleep_until(sim_now_ns() + ns_of(ts));
	return 0;
}

int
usleep(useconds_t us)
{
	const struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	return nanosleep(&ts, NULL);
}

int
sched_yield(void)
{
	if (!inside())
		return (int)kernel(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	sim_point("sched_yield");
	sim_yield();
	return 0;
}

/* A timer that ends a write to a bell; here none waits. */
int
setitimer(__itimer_which_t which, const struct itimerval *restrict to,
    struct itimerval *restrict old)
{
	return inside() ? 0
			: (int)kernel(SYS_setitimer, which, (long)to, (long)old,
			      0, 0, 0);
}

/* ---- chance ---- */

static void
fill(void *buf, size_t n)
{
	uint8_t *at = buf;

	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(sim_rand() >> 13);
}

ssize_t
getrandom(void *buf, size_t n, unsigned flags)
{
	if (!inside())
		return kernel(
		    SYS_getrandom, (long)buf, (long)n, (long)flags, 0, 0, 0);
	fill(buf, n);
	return (ssize_t)n;
}

/* libbsd's */
void arc4random_buf(void *buf, size_t n);
uint32_t arc4random(void);

void
arc4random_buf(void *buf, size_t n)
{
	if (inside())
		fill(buf, n);
	else
		(void)!kernel(SYS_getrandom, (long)buf, (long)n, 0, 0, 0, 0);
}

uint32_t
arc4random(void)
{
	uint32_t x;

	arc4random_buf(&x, sizeof(x));
	return x;
}

/* ---- processes ---- */

pid_t
getpid(void)
{
	return inside() ? sim_pid()
			: (pid_t)sim_kernel(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

pid_t
getppid(void)
{
	int pid;

	if (!inside())
		return (pid_t)sim_kernel(SYS_getppid, 0, 0, 0, 0, 0, 0);
	sim_point("getppid");
	pid = sim_parent(sim_pid());
	return pid != 0 ? pid : 1;
}

pid_t
fork(void)
{
	if (!inside())
		return ((pid_t(*)(void))real("fork"))();
	sim_point("fork");
	return sim_fork();
}

void
_exit(int code)
{
	if (inside())
		sim_exit(code);
	for (;;)
		(void)sim_kernel(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

void
exit(int code)
{
	if (inside())
		sim_exit(code);
	((void (*)(int))real("exit"))(code);
	__builtin_unreachable();
}

/* An assertion of the product, or of the simulator. */
void
abort(void)
{
	if (inside())
		sim_fail("%s aborted", sim_name(sim_pid()));
	((void (*)(void))real("abort"))();
	__builtin_unreachable();
}

int
kill(pid_t pid, int number)
{
	if (!inside())
		return (int)kernel(SYS_kill, pid, number, 0, 0, 0, 0);
	sim_point("kill");
	if (sim_has_ended(pid))
		return (int)result(-ESRCH);
	if (number == SIGKILL)
		sim_kill(pid);
	return 0;
}

static int
wait_for(int pid, int *status, bool wait, bool keep)
{
	int rc;

	sim_point("wait");
	while ((rc = sim_reap(pid, status, keep)) == 0 && wait)
		(void)sim_block_until(sim_waits(), sim_now_ns() + NS_OF_S);
	return rc;
}

pid_t
waitpid(pid_t pid, int *status, int flags)
{
	int st = 0, rc;

	if (!inside())
		return (pid_t)kernel(
		    SYS_wait4, pid, (long)status, flags, 0, 0, 0);
	rc = wait_for(pid, &st, (flags & WNOHANG) == 0, false);
	if (rc > 0 && status != NULL)
		*status = st;
	return (pid_t)result(rc);
}

int
waitid(idtype_t type, id_t id, siginfo_t *si, int flags)
{
	int st = 0, rc;

	if (!inside())
		return (int)kernel(
		    SYS_waitid, (long)type, (long)id, (long)si, flags, 0, 0);
	rc = wait_for(type == P_PID ? (int)id : -1, &st, (flags & WNOHANG) == 0,
	    (flags & WNOWAIT) != 0);
	if (rc > 0)
		si->si_pid = rc;
	return rc < 0 ? (int)result(rc) : 0;
}

int
prctl(int option, ...)
{
	va_list ap;
	long a, b, c, d;

	va_start(ap, option);
	a = va_arg(ap, long);
	b = va_arg(ap, long);
	c = va_arg(ap, long);
	d = va_arg(ap, long);
	va_end(ap);
	if (!inside())
		return (int)kernel(SYS_prctl, option, a, b, c, d, 0);
	sim_point("prctl");
	if (option == PR_SET_PDEATHSIG)
		sim_set_deathsig();
	return 0;
}

int
close_range(unsigned first, unsigned last, int flags)
{
	if (!inside())
		return (int)kernel(
		    SYS_close_range, first, last, flags, 0, 0, 0);
	sim_point("close_range");
	/* What is real is of all, and of the simulator. */
	if (last >= SIM_FD_BASE)
		sim_fd_close_range(
		    first > SIM_FD_BASE ? first : SIM_FD_BASE, last);
	return 0;
}

/* No signal is ever sent but those that kill. */
int
sigaction(int number, const struct sigaction *restrict to,
    struct sigaction *restrict old)
{
	if (inside())
		return 0;
	return ((int (*)(int, const struct sigaction *,
	    struct sigaction *))real("sigaction"))(number, to, old);
}

__sighandler_t
signal(int number, __sighandler_t to)
{
	if (inside())
		return SIG_DFL;
	return ((__sighandler_t(*)(int, __sighandler_t))real("signal"))(
	    number, to);
}

int
sigprocmask(int how, const sigset_t *restrict to, sigset_t *restrict old)
{
	if (inside())
		return 0;
	return ((int (*)(int, const sigset_t *, sigset_t *))real(
	    "sigprocmask"))(how, to, old);
}

unsigned
alarm(unsigned s)
{
	return inside() ? 0 : (unsigned)sim_kernel(SYS_alarm, s, 0, 0, 0, 0, 0);
}

int
sched_getaffinity(pid_t pid, size_t n, cpu_set_t *set)
{
	(void)pid;
	memset(set, 0xff, n);
	return 0;
}

int
sched_setaffinity(pid_t pid, size_t n, const cpu_set_t *set)
{
	(void)pid;
	(void)n;
	(void)set;
	return 0;
}

/* libbsd's */
void setproctitle(const char *fmt, ...);

void
setproctitle(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- descriptors that tell of something ---- */

enum told_kind { TOLD_EVENT, TOLD_PID, TOLD_PIPE };

struct told {
	enum told_kind kind;
	uint64_t count; /* an eventfd's */
	int pid;
	struct eventfd_waiter *waiters;
	struct told *next; /* of pidfds */
	/* A pipe: both ends have one. */
	uint8_t *data;
	size_t have;
	unsigned ends[2]; /* readers, writers */
};

static struct told *pidfds;

void
sim_fd_changed(void)
{
	for (struct told *t = pidfds; t != NULL; t = t->next) {
		struct eventfd_waiter *w = t->waiters;

		if (!sim_has_ended(t->pid))
			continue;
		t->waiters = NULL;
		for (struct eventfd_waiter *next; w != NULL; w = next) {
			next = w->next;
			w->fn(w->arg);
		}
	}
	sim_wake(sim_waits());
}

static void
told_ready(struct told *t)
{
	struct eventfd_waiter *w = t->waiters, *next;

	t->waiters = NULL;
	for (; w != NULL; w = next) {
		next = w->next;
		w->fn(w->arg);
	}
	sim_wake(sim_waits());
}

static ssize_t
event_read(void *obj, void *to, size_t n)
{
	struct told *t = obj;

	if (n < sizeof(t->count))
		return -EINVAL;
	if (t->count == 0)
		return -EAGAIN;
	memcpy(to, &t->count, sizeof(t->count));
	t->count = 0;
	return sizeof(t->count);
}

static ssize_t
event_write(void *obj, const void *from, size_t n)
{
	uint64_t add;

	if (n < sizeof(add))
		return -EINVAL;
	memcpy(&add, from, sizeof(add));
	sim_eventfd_add(obj, add);
	return sizeof(add);
}

static short
event_poll(void *obj)
{
	struct told *t = obj;

	return POLLOUT | (t->count != 0 ? POLLIN : 0);
}

static void
told_close(void *obj)
{
	struct told *t = obj, **at = &pidfds;

	while (*at != NULL && *at != t)
		at = &(*at)->next;
	if (*at == t)
		*at = t->next;
	free(t);
}

static const struct sim_file_ops event_ops = { event_read, event_write,
	event_poll, told_close };

void
sim_eventfd_add(void *eventfd_obj, uint64_t n)
{
	struct told *t = eventfd_obj;

	t->count += n;
	if (t->count != 0)
		told_ready(t);
}

void *
sim_eventfd_of(int fd)
{
	return sim_fd_obj(fd, &event_ops);
}

ssize_t
sim_eventfd_take(int fd, void *to, size_t n)
{
	void *t = sim_eventfd_of(fd);

	return t != NULL ? event_read(t, to, n) : -EBADF;
}

static short
pid_poll(void *obj)
{
	return sim_has_ended(((struct told *)obj)->pid) ? POLLIN : 0;
}

static const struct sim_file_ops pid_ops = { NULL, NULL, pid_poll, told_close };

bool
sim_fd_wait(int fd, struct eventfd_waiter *w)
{
	struct told *t = sim_fd_obj(fd, &event_ops);

	if (t == NULL)
		t = sim_fd_obj(fd, &pid_ops);
	if (t == NULL || (sim_fd_poll(fd) & POLLIN) != 0)
		return false;
	w->next = t->waiters;
	t->waiters = w;
	return true;
}

void
sim_fd_wait_end(int fd, struct eventfd_waiter *w)
{
	struct told *t = sim_fd_obj(fd, &event_ops);
	struct eventfd_waiter **at;

	if (t == NULL)
		t = sim_fd_obj(fd, &pid_ops);
	if (t == NULL)
		return;
	for (at = &t->waiters; *at != NULL; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			return;
		}
}

static struct told *
told_new(enum told_kind kind)
{
	struct told *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	t->kind = kind;
	return t;
}

int
eventfd(unsigned count, int flags)
{
	struct told *t;

	if (!inside())
		return (int)kernel(SYS_eventfd2, count, flags, 0, 0, 0, 0);
	t = told_new(TOLD_EVENT);
	t->count = count;
	return (int)result(sim_fd_new(&event_ops, t));
}

int
pidfd_open(pid_t pid, unsigned flags)
{
	struct told *t;

	if (!inside())
		return (int)kernel(SYS_pidfd_open, pid, flags, 0, 0, 0, 0);
	sim_point("pidfd_open");
	t = told_new(TOLD_PID);
	t->pid = pid;
	t->next = pidfds;
	pidfds = t;
	return (int)result(sim_fd_new(&pid_ops, t));
}

/* ---- pipes: of what is written nothing is ever too much ---- */

static ssize_t
pipe_read(void *obj, void *to, size_t n)
{
	struct told *t = obj;

	while (t->have == 0 && t->ends[1] != 0 && sim_self() != NULL)
		sim_block(t);
	if (n > t->have)
		n = t->have;
	memcpy(to, t->data, n);
	t->have -= n;
	memmove(t->data, t->data + n, t->have);
	return (ssize_t)n;
}

static ssize_t
pipe_write(void *obj, const void *from, size_t n)
{
	struct told *t = obj;
	uint8_t *data;

	if (t->ends[0] == 0)
		return -EPIPE;
	data = realloc(t->data, t->have + n);
	if (data == NULL)
		return -ENOMEM;
	memcpy(data + t->have, from, n);
	t->data = data;
	t->have += n;
	sim_wake(t);
	sim_wake(sim_waits());
	return (ssize_t)n;
}

static short
pipe_poll(void *obj)
{
	struct told *t = obj;

	return t->have != 0 || t->ends[1] == 0 ? POLLIN : 0;
}

static void
pipe_end(struct told *t, unsigned which)
{
	t->ends[which]--;
	sim_wake(t);
	if (t->ends[0] + t->ends[1] != 0)
		return;
	free(t->data);
	free(t);
}

static void
pipe_close_read(void *obj)
{
	pipe_end(obj, 0);
}

static void
pipe_close_write(void *obj)
{
	pipe_end(obj, 1);
}

int
pipe(int fd[2])
{
	static const struct sim_file_ops from = { pipe_read, NULL, pipe_poll,
		pipe_close_read };
	static const struct sim_file_ops to = { NULL, pipe_write, NULL,
		pipe_close_write };
	struct told *t;

	if (!inside())
		return (int)kernel(SYS_pipe2, (long)fd, 0, 0, 0, 0, 0);
	t = told_new(TOLD_PIPE);
	t->ends[0] = t->ends[1] = 1;
	fd[0] = sim_fd_new(&from, t);
	fd[1] = sim_fd_new(&to, t);
	return 0;
}

/* ---- waiting ---- */

static int
poll_look(struct pollfd *pfd, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		pfd[i].revents = 0;
		if (pfd[i].fd < 0)
			continue;
		pfd[i].revents =
		    (short)(sim_fd_poll(pfd[i].fd) &
			    (pfd[i].events | POLLNVAL | POLLERR | POLLHUP));
		ready += pfd[i].revents != 0;
	}
	return ready;
}

static int
poll_until(struct pollfd *pfd, nfds_t n, uint64_t until_ns)
{
	int ready;

	sim_point("poll");
	while ((ready = poll_look(pfd, n)) == 0 && sim_now_ns() < until_ns)
		(void)sim_block_until(sim_waits(), until_ns);
	return ready;
}

int
poll(struct pollfd *pfd, nfds_t n, int ms)
{
	if (!inside())
		return (int)kernel(SYS_poll, (long)pfd, (long)n, ms, 0, 0, 0);
	return poll_until(pfd, n,
	    ms < 0 ? SIM_NEVER : sim_now_ns() + (uint64_t)ms * NS_OF_MS);
}

int
ppoll(struct pollfd *pfd, nfds_t n, const struct timespec *ts,
    const sigset_t *mask)
{
	if (!inside())
		return (int)kernel(
		    SYS_ppoll, (long)pfd, (long)n, (long)ts, (long)mask, 8, 0);
	return poll_until(
	    pfd, n, ts == NULL ? SIM_NEVER : sim_now_ns() + ns_of(ts));
}

/* What the checks of _FORTIFY_SOURCE call instead. */
int __poll_chk(struct pollfd *pfd, nfds_t n, int ms, size_t size);
int __ppoll_chk(struct pollfd *pfd, nfds_t n, const struct timespec *ts,
    const sigset_t *mask, size_t size);

int
__poll_chk(struct pollfd *pfd, nfds_t n, int ms, size_t size)
{
	(void)size;
	return poll(pfd, n, ms);
}

int
__ppoll_chk(struct pollfd *pfd, nfds_t n, const struct timespec *ts,
    const sigset_t *mask, size_t size)
{
	(void)size;
	return ppoll(pfd, n, ts, mask);
}

static long
futex_wait(const uint32_t *word, uint32_t seen, uint64_t until_ns)
{
	if (*word != seen)
		return -EAGAIN;
	if (sim_chance(sim_schedule()->spurious_one_in))
		return -EINTR;
	return sim_block_until(word, until_ns) ? 0 : -ETIMEDOUT;
}

static long
futex(const long arg[6])
{
	const uint32_t *word = (const uint32_t *)arg[0];
	const struct timespec *ts = (const struct timespec *)arg[3];
	int op = (int)arg[1] & FUTEX_CMD_MASK;

	if (op == FUTEX_WAKE || op == FUTEX_WAKE_BITSET)
		return (long)sim_wake_some(word, (unsigned)arg[2]);
	if (op != FUTEX_WAIT && op != FUTEX_WAIT_BITSET)
		return -ENOSYS;
	return futex_wait(word, (uint32_t)arg[2],
	    ts == NULL ? SIM_NEVER
		       : ns_of(ts) + (op == FUTEX_WAIT ? sim_now_ns() : 0));
}

long
syscall(long nr, ...)
{
	long arg[6], rc;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (inside()) {
		sim_point("syscall");
		if (nr == SYS_futex)
			return result(futex(arg));
		if (nr == SYS_pidfd_open)
			return pidfd_open((pid_t)arg[0], (unsigned)arg[1]);
		if (nr == SYS_ioprio_set)
			return 0;
		if (sim_files_syscall(nr, arg, &rc))
			return result(rc);
	}
	return kernel(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
