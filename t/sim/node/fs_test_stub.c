/*
 * What fs_test needs in place of sim_proc.c: processes that take turns by
 * chance and can be stopped at any point, and nothing more.
 */
#include "t/sim/node/fs_test_stub.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "shm/assert.h"
#include "t/lib/splitmix.h"

#define STACK_SIZE ((size_t)1 << 20)

struct sim_proc {
	struct sim_proc *next;
	int pid;
	bool ended;
	const void *waits; /* NULL: it can run */
	void (*fn)(void *);
	void *arg;
	ucontext_t at;
	void *stack;
};

static struct {
	struct sim_proc *procs, *self;
	ucontext_t host;
	uint64_t chance, now_ns, points, stop_at;
	int pids;
} stub;

void
stub_begin(uint64_t seed)
{
	stub.chance = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

uint64_t
sim_rand(void)
{
	return splitmix(&stub.chance);
}

uint64_t
sim_rand_below(uint64_t n)
{
	return n == 0 ? 0 : sim_rand() % n;
}

bool
sim_chance(unsigned one_in)
{
	return one_in != 0 && sim_rand() % one_in == 0;
}

uint64_t
sim_now_ns(void)
{
	return stub.now_ns;
}

struct sim_proc *
sim_self(void)
{
	return stub.self;
}

int
sim_pid(void)
{
	return stub.self != NULL ? stub.self->pid : 0;
}

static void
leave(void)
{
	swapcontext(&stub.self->at, &stub.host);
}

void
sim_point(const char *place)
{
	(void)place;
	stub.points++;
	if (stub.points == stub.stop_at || sim_chance(4))
		leave();
}

void
sim_sleep_until(uint64_t ns)
{
	stub.now_ns = stub.now_ns < ns ? ns : stub.now_ns;
	leave();
}

void
sim_block(const void *on)
{
	ASSERT(stub.self != NULL);
	stub.self->waits = on;
	leave();
}

void
sim_wake(const void *on)
{
	struct sim_proc *p;

	for (p = stub.procs; p != NULL; p = p->next)
		if (p->waits == on)
			p->waits = NULL;
}

static void
begin(void)
{
	stub.self->fn(stub.self->arg);
	stub.self->ended = true;
	leave();
}

int
sim_spawn(const char *name, void (*fn)(void *), void *arg)
{
	struct sim_proc *p = calloc(1, sizeof(*p));

	(void)name;
	ASSERT(p != NULL);
	p->pid = ++stub.pids + 100;
	p->fn = fn;
	p->arg = arg;
	p->stack = malloc(STACK_SIZE);
	ASSERT(p->stack != NULL);
	getcontext(&p->at);
	p->at.uc_stack.ss_sp = p->stack;
	p->at.uc_stack.ss_size = STACK_SIZE;
	makecontext(&p->at, begin, 0);
	p->next = stub.procs;
	stub.procs = p;
	sim_fd_inherit(sim_pid(), p->pid);
	return p->pid;
}

/* From outside of any process. */
static void
end(struct sim_proc *p)
{
	struct sim_proc **at = &stub.procs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	sim_fd_drop(p->pid);
	free(p->stack);
	free(p);
}

void
sim_kill(int pid)
{
	struct sim_proc *p = stub.procs;

	while (p != NULL && p->pid != pid)
		p = p->next;
	if (p == NULL)
		return;
	if (p == stub.self) {
		p->ended = true;
		leave();
	}
	end(p);
}

static struct sim_proc *
pick(void)
{
	struct sim_proc *p, *picked = NULL;
	unsigned n = 0;

	for (p = stub.procs; p != NULL; p = p->next)
		if (p->waits == NULL && sim_chance(++n))
			picked = p;
	return picked;
}

bool
stub_run(uint64_t points)
{
	struct sim_proc *p;

	stub.points = 0;
	stub.stop_at = points;
	while (stub.points < points && (p = pick()) != NULL) {
		stub.self = p;
		swapcontext(&stub.host, &p->at);
		stub.self = NULL;
		if (p->ended)
			end(p);
	}
	return stub.procs == NULL;
}

void
stub_kill_all(void)
{
	while (stub.procs != NULL)
		sim_kill(stub.procs->pid);
}

bool
stub_waits(int pid)
{
	const struct sim_proc *p = stub.procs;

	while (p != NULL && p->pid != pid)
		p = p->next;
	return p != NULL && p->waits != NULL;
}

pid_t
getpid(void)
{
	return stub.self != NULL
		   ? stub.self->pid
		   : (pid_t)sim_kernel(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

long
syscall(long nr, ...)
{
	long arg[6], result;
	va_list ap;
	int i;

	va_start(ap, nr);
	for (i = 0; i < 6; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (!sim_files_syscall(nr, arg, &result))
		result = sim_kernel(
		    nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}
