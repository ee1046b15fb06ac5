/*
 * Processes as coroutines, and who runs when. The scheduler has the real
 * process' stack; it alone ends processes and calls events, so that none of
 * them is in the middle of anything then.
 *
 * What a process has of its own: a stack (a forked one shares its parent's
 * place, so what is not running is kept aside), errno, and the product's
 * static variables (private.lds puts them together). The heap is one for all;
 * what a killed process had of it stays, as nobody could free it.
 */
#include "t/sim/node/sim_core.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t/lib/splitmix.h"

#define STACK_SIZE  (1024 * 1024)
#define STACK_GUARD 65536
#define POINT_NS    2000 /* a step takes up to so long */
#define STALL_NS    (6 * UINT64_C(1000000000))
#define CALLS_MAX   100000 /* from one rest to the next; some 1000 are usual */
#define START_NS    (1000 * UINT64_C(1000000000))
#define WALL_NS     (UINT64_C(1800000000) * UINT64_C(1000000000))

struct stack {
	struct stack *next; /* of those that are free */
	uint8_t *base;
	struct sim_proc *in; /* whose bytes are in it */
	unsigned users;
};

enum proc_state { PROC_READY, PROC_BLOCKED, PROC_ENDED };

struct sim_proc {
	struct sim_proc *next;
	int pid, ppid;
	char name[40];
	enum proc_state state;
	const void *on;
	uint64_t until_ns, blocked_ns;
	uint64_t order; /* of going to sleep */
	bool timed_out;
	bool deathsig, doomed;
	int status;
	uint64_t priority;
	unsigned kill_in;
	unsigned calls; /* since all slept */
	void *sp;
	struct stack *stack;
	uint8_t *aside; /* the stack's bytes from sp on, while another is in */
	uint8_t *private;
	int error;
	void (*fn)(void *);
	void *arg;
};

struct event {
	struct event *next;
	uint64_t at_ns;
	void (*fn)(void *);
	void *arg;
};

extern char sim_private_begin[], sim_private_end[];

static struct {
	uint64_t seed, random[2], random_aside[2];
	uint64_t now_ns, orders, steps, switches;
	unsigned calls; /* of libc by anyone, since all slept */
	int64_t wall_ns; /* by how much it was set */
	int64_t blocks; /* to go, till one is a point */
	struct sim_schedule how;
	struct sim_proc *procs, *self, *private_in, *forked;
	struct stack *free_stacks;
	struct event *events; /* by time */
	uint8_t *pristine;
	void *host_sp;
	int pids;
	unsigned held; /* who runs must not wait: sim_as() */
	bool stop;
	struct story *story;
} sim;

/* ---- chance ---- */

uint64_t
sim_rand(void)
{
	uint64_t a = sim.random[0], b = sim.random[1], sum = a + b;

	b ^= a;
	sim.random[0] = (a << 24 | a >> 40) ^ b ^ (b << 16);
	sim.random[1] = b << 37 | b >> 27;
	return sum;
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

void
sim_chance_of(uint64_t number)
{
	uint64_t x = sim.seed ^ number << 32;

	memcpy(sim.random_aside, sim.random, sizeof(sim.random));
	sim.random[0] = splitmix(&x);
	sim.random[1] = splitmix(&x);
}

void
sim_chance_back(void)
{
	memcpy(sim.random, sim.random_aside, sizeof(sim.random));
}

void
sim_chance_again(uint32_t again)
{
	if (again != 0)
		sim.random[0] ^= UINT64_C(0x9e3779b97f4a7c15) * again;
}

/* ---- small things ---- */

uint64_t
sim_now_ns(void)
{
	return sim.now_ns;
}

uint64_t
sim_wall_ns(void)
{
	return WALL_NS + sim.now_ns + (uint64_t)sim.wall_ns;
}

void
sim_wall_step(int64_t ns)
{
	sim.wall_ns += ns;
}

struct sim_proc *
sim_self(void)
{
	return sim.self;
}

int
sim_pid(void)
{
	return sim.self != NULL ? sim.self->pid : 0;
}

struct sim_schedule *
sim_schedule(void)
{
	return &sim.how;
}

struct story *
sim_story(void)
{
	return sim.story;
}

uint64_t
sim_steps(void)
{
	return sim.steps;
}

uint64_t
sim_switches(void)
{
	return sim.switches;
}

void
sim_stop(void)
{
	sim.stop = true;
}

static double
seconds(uint64_t ns)
{
	return ns == SIM_NEVER ? -1.0 : (double)(ns - START_NS) / 1e9;
}

void
sim_tell(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n =
	    snprintf(line, sizeof(line) / 2, "%10.6f %s: ", seconds(sim.now_ns),
		sim.self != NULL ? sim.self->name : "-");

	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	(void)sim_kernel(SYS_write, STDERR_FILENO, (long)line, n, 0, 0, 0);
}

void
sim_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sim.story->verdict, sizeof(sim.story->verdict), fmt, ap);
	va_end(ap);
	sim_tell_all();
	sim.story->failed = true;
	sim_tell("FAILED: %s", sim.story->verdict);
	for (;;)
		(void)sim_kernel(SYS_exit_group, 1, 0, 0, 0, 0, 0);
}

static struct sim_proc *
proc_find(int pid)
{
	struct sim_proc *p = sim.procs;

	while (p != NULL && p->pid != pid)
		p = p->next;
	return p;
}

bool
sim_has_ended(int pid)
{
	const struct sim_proc *p = proc_find(pid);

	return p == NULL || p->state == PROC_ENDED;
}

int
sim_parent(int pid)
{
	const struct sim_proc *p = proc_find(pid);

	return p != NULL ? p->ppid : 0;
}

const char *
sim_name(int pid)
{
	const struct sim_proc *p = proc_find(pid);

	return p != NULL ? p->name : "nobody";
}

unsigned
sim_pids(int *pid, unsigned most)
{
	unsigned n = 0;

	for (struct sim_proc *p = sim.procs; p != NULL && n < most; p = p->next)
		if (p->state != PROC_ENDED)
			pid[n++] = p->pid;
	return n;
}

void
sim_tell_all(void)
{
	for (const struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		sim_tell("%s (%d) %s, since %.6f, until %.6f, %u calls",
		    p->name, p->pid,
		    p->state == PROC_READY     ? "runs"
		    : p->state == PROC_BLOCKED ? "waits"
					       : "has ended",
		    seconds(p->blocked_ns), seconds(p->until_ns), p->calls);
}

const void *
sim_waits(void)
{
	return &sim.procs;
}

void
sim_set_name(const char *name)
{
	snprintf(sim.self->name, sizeof(sim.self->name), "%s", name);
}

void
sim_set_deathsig(void)
{
	sim.self->deathsig = true;
}

/* ---- contexts ---- */

/* Keeps what a call must keep, its place in *from; goes on at `to`. */
void sim_switch(void **from, void *to);

#if defined(__x86_64__)
__asm__(".text\n.globl sim_switch\n.type sim_switch, @function\n"
	"sim_switch:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n"
	"	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n"
	"	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	ret\n"
	".size sim_switch, .-sim_switch\n");
#define SAVED_WORDS 6 /* below the address that it returns to */
#define ENTRY_WORDS 8 /* that address, and one that nobody returns to */
#elif defined(__aarch64__)
__asm__(".text\n.globl sim_switch\n.type sim_switch, %function\n"
	"sim_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp]\n	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n	str x9, [x0]\n	mov sp, x1\n"
	"	ldp x19, x20, [sp]\n	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size sim_switch, .-sim_switch\n");
#define SAVED_WORDS 11 /* below x30 */
#define ENTRY_WORDS 20
#else
#error "sim_switch() is not written for this processor"
#endif

static struct stack *
stack_new(void)
{
	struct stack *s = sim.free_stacks;
	uint8_t *at;

	if (s != NULL) {
		sim.free_stacks = s->next;
	} else {
		at = mmap(NULL, STACK_GUARD + STACK_SIZE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		s = calloc(1, sizeof(*s));
		if (at == MAP_FAILED || s == NULL ||
		    mprotect(at + STACK_GUARD, STACK_SIZE,
			PROT_READ | PROT_WRITE) != 0)
			abort();
		s->base = at + STACK_GUARD;
	}
	s->users = 1;
	s->in = NULL;
	return s;
}

static void
stack_leave(struct sim_proc *p)
{
	struct stack *s = p->stack;

	free(p->aside);
	p->aside = NULL;
	p->stack = NULL;
	if (s->in == p)
		s->in = NULL;
	if (--s->users == 0) {
		s->next = sim.free_stacks;
		sim.free_stacks = s;
	}
}

static size_t
stack_used(const struct sim_proc *p)
{
	return (size_t)(p->stack->base + STACK_SIZE - (uint8_t *)p->sp);
}

static uint8_t *
copy_of(const void *from, size_t n)
{
	uint8_t *to = malloc(n);

	if (to == NULL)
		abort();
	return memcpy(to, from, n);
}

static size_t
private_size(void)
{
	return (size_t)(sim_private_end - sim_private_begin);
}

/* The process' memory into its place; others' aside. */
static void
load(struct sim_proc *p)
{
	struct stack *s = p->stack;

	if (sim.private_in != p) {
		if (sim.private_in != NULL)
			memcpy(sim.private_in->private, sim_private_begin,
			    private_size());
		memcpy(sim_private_begin, p->private, private_size());
		sim.private_in = p;
	}
	if (s->in == p)
		return;
	if (s->in != NULL)
		s->in->aside = copy_of(s->in->sp, stack_used(s->in));
	if (p->aside != NULL)
		memcpy(p->sp, p->aside, stack_used(p));
	free(p->aside);
	p->aside = NULL;
	s->in = p;
}

static void proc_entry(void);

static void
stack_begin(struct sim_proc *p)
{
	uintptr_t *top = (uintptr_t *)(void *)(p->stack->base + STACK_SIZE);

	memset(top - ENTRY_WORDS, 0, ENTRY_WORDS * sizeof(*top));
	p->sp = top - ENTRY_WORDS;
	((uintptr_t *)p->sp)[SAVED_WORDS] = (uintptr_t)proc_entry;
	p->stack->in = p;
}

/* To the scheduler; back when it says so. */
static void
leave(void)
{
	struct sim_proc *p = sim.self;

	if (sim.held != 0)
		abort();
	p->error = errno;
	sim_switch(&p->sp, sim.host_sp);
	errno = sim.self->error;
}

static void
proc_entry(void)
{
	sim.self->fn(sim.self->arg);
	sim_exit(0);
}

/* ---- life and death ---- */

static struct sim_proc *
proc_new(const char *name, int ppid)
{
	struct sim_proc *p = calloc(1, sizeof(*p));

	if (p == NULL)
		abort();
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->pid = ++sim.pids;
	p->ppid = ppid;
	p->state = PROC_READY;
	p->priority = sim_rand() | 1;
	p->next = sim.procs;
	sim.procs = p;
	sim_fd_inherit(ppid, p->pid);
	return p;
}

int
sim_spawn(const char *name, void (*fn)(void *), void *arg)
{
	struct sim_proc *p = proc_new(name, sim_pid());

	p->fn = fn;
	p->arg = arg;
	p->stack = stack_new();
	stack_begin(p);
	p->private = copy_of(sim.pristine, private_size());
	return p->pid;
}

int
sim_fork(void)
{
	struct sim_proc *parent = sim.self, *child;

	child = proc_new(parent->name, parent->pid);
	child->stack = parent->stack;
	child->stack->users++;
	child->private = copy_of(sim_private_begin, private_size());
	sim.forked = child;
	leave();
	return sim.self == child ? 0 : child->pid;
}

/* The parent has just left: the child goes on from where it did. */
static void
fork_finish(struct sim_proc *parent)
{
	struct sim_proc *child = sim.forked;

	if (child == NULL)
		return;
	sim.forked = NULL;
	child->sp = parent->sp;
	child->error = parent->error;
	child->aside = copy_of(child->sp, stack_used(child));
}

static void
exec_entry(void *arg)
{
	struct sim_proc *p = arg;
	struct stack *fresh = stack_new();

	stack_leave(p);
	p->stack = fresh;
	stack_begin(p);
}

void
sim_exec(void (*fn)(void *), void *arg)
{
	sim.self->fn = fn;
	sim.self->arg = arg;
	sim.self->on = exec_entry; /* the scheduler knows by that */
	leave();
	abort();
}

static void
doom(struct sim_proc *p, int status)
{
	if (p->state == PROC_ENDED || p->doomed)
		return;
	p->doomed = true;
	p->status = status;
}

void
sim_exit(int code)
{
	doom(sim.self, (code & 0xff) << 8);
	leave();
	__builtin_unreachable();
}

void
sim_die(int signal_number)
{
	doom(sim.self, signal_number);
	leave();
	__builtin_unreachable();
}

void
sim_kill(int pid)
{
	struct sim_proc *p = proc_find(pid);

	if (p == NULL)
		return;
	doom(p, SIGKILL);
	if (sim.self != NULL)
		leave();
}

void
sim_kill_after(int pid, unsigned points)
{
	struct sim_proc *p = proc_find(pid);

	if (p != NULL)
		p->kill_in = points;
}

static void
ring_end(void *arg)
{
	sim_ring_end(((const struct sim_proc *)arg)->pid);
}

static bool
as(struct sim_proc *p, void (*fn)(void *), void *arg)
{
	struct sim_proc *before = sim.self;

	/* From within another process its memory would be overwritten. */
	if (before != NULL && before != p)
		abort();
	load(p);
	sim.self = p;
	sim.held++;
	fn(arg);
	sim.held--;
	sim.self = before;
	return true;
}

bool
sim_as(int pid, void (*fn)(void *), void *arg)
{
	struct sim_proc *p = proc_find(pid);

	return p != NULL && p->state != PROC_ENDED && as(p, fn, arg);
}

static void
proc_end(struct sim_proc *p)
{
	as(p, ring_end, p);
	p->state = PROC_ENDED;
	sim_tell("%s (%d) ended: %s %d", p->name, p->pid,
	    WIFEXITED(p->status) ? "code" : "signal",
	    WIFEXITED(p->status) ? WEXITSTATUS(p->status)
				 : WTERMSIG(p->status));
	if (sim.private_in == p)
		sim.private_in = NULL;
	stack_leave(p);
	free(p->private);
	p->private = NULL;
	sim_fd_drop(p->pid);
	for (struct sim_proc *c = sim.procs; c != NULL; c = c->next) {
		if (c->ppid != p->pid)
			continue;
		c->ppid = 0;
		if (c->deathsig)
			doom(c, SIGKILL);
	}
	sim_fd_changed();
}

/* Those that nobody will ask for. */
static void
procs_forget(void)
{
	struct sim_proc **at = &sim.procs, *p;

	while ((p = *at) != NULL) {
		if (p->state != PROC_ENDED || p->ppid != 0) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		free(p);
	}
}

static void
end_doomed(void)
{
	struct sim_proc *p = sim.procs;
	bool any = false;

	while (p != NULL) {
		if (!p->doomed || p->state == PROC_ENDED) {
			p = p->next;
			continue;
		}
		proc_end(p);
		any = true;
		p = sim.procs; /* it may have doomed any */
	}
	if (any)
		procs_forget();
}

int
sim_reap(int pid, int *status, bool keep)
{
	struct sim_proc *p;
	bool child = false;

	for (p = sim.procs; p != NULL; p = p->next) {
		if (p->ppid != sim_pid() || (pid > 0 && p->pid != pid))
			continue;
		child = true;
		if (p->state == PROC_ENDED)
			break;
	}
	if (p == NULL)
		return child ? 0 : -ECHILD;
	pid = p->pid;
	*status = p->status;
	if (!keep) {
		p->ppid = 0;
		procs_forget();
	}
	return pid;
}

/* ---- waiting ---- */

bool
sim_block_until(const void *on, uint64_t ns)
{
	struct sim_proc *p = sim.self;

	if (p == NULL)
		abort();
	p->state = PROC_BLOCKED;
	p->on = on;
	p->until_ns = ns;
	p->blocked_ns = sim.now_ns;
	p->order = ++sim.orders;
	p->timed_out = false;
	leave();
	return !sim.self->timed_out;
}

void
sim_block(const void *on)
{
	(void)sim_block_until(on, SIM_NEVER);
}

void
sim_sleep_until(uint64_t ns)
{
	if (ns > sim.now_ns)
		(void)sim_block_until(NULL, ns);
}

unsigned
sim_wake_some(const void *on, unsigned most)
{
	struct sim_proc *p, *first;
	unsigned n;

	for (n = 0; n < most; n++) {
		first = NULL;
		for (p = sim.procs; p != NULL; p = p->next)
			if (p->state == PROC_BLOCKED && p->on == on &&
			    (first == NULL || p->order < first->order))
				first = p;
		if (first == NULL)
			break;
		first->state = PROC_READY;
		first->on = NULL;
	}
	return n;
}

void
sim_wake(const void *on)
{
	(void)sim_wake_some(on, UINT32_MAX);
}

/* ---- events ---- */

void
sim_event(uint64_t at_ns, void (*fn)(void *), void *arg)
{
	struct event **at = &sim.events, *e = malloc(sizeof(*e));

	if (e == NULL)
		abort();
	while (*at != NULL && (*at)->at_ns <= at_ns)
		at = &(*at)->next;
	*e = (struct event){ *at, at_ns, fn, arg };
	*at = e;
}

static bool
event_due(void)
{
	return sim.events != NULL && sim.events->at_ns <= sim.now_ns;
}

static void
events_call(void)
{
	struct event *e;

	while (event_due()) {
		e = sim.events;
		sim.events = e->next;
		e->fn(e->arg);
		free(e);
		end_doomed();
	}
}

/* ---- the scheduler ---- */

static void
wake_timed(void)
{
	for (struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		if (p->state == PROC_BLOCKED && p->until_ns <= sim.now_ns) {
			p->state = PROC_READY;
			p->on = NULL;
			p->timed_out = true;
		}
}

/* When something happens by itself. */
static uint64_t
next_ns(void)
{
	uint64_t at = sim.events != NULL ? sim.events->at_ns : SIM_NEVER;

	for (struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		if (p->state == PROC_BLOCKED && p->until_ns < at)
			at = p->until_ns;
	return at;
}

static struct sim_proc *
pick(void)
{
	struct sim_proc *best = NULL, *p;
	uint64_t draw, most = 0;

	for (p = sim.procs; p != NULL; p = p->next) {
		if (p->state != PROC_READY)
			continue;
		draw = sim.how.priorities ? p->priority : sim_rand() | 1;
		if (draw > most) {
			most = draw;
			best = p;
		}
	}
	return best;
}

static bool
higher_ready(void)
{
	for (struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		if (p->state == PROC_READY && p != sim.self &&
		    p->priority > sim.self->priority)
			return true;
	return false;
}

/* Behind all others, until their turn to fall. */
static void
demote(void)
{
	uint64_t least = UINT64_MAX;

	for (struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		if (p->state != PROC_ENDED && p->priority < least)
			least = p->priority;
	if (least > 1) {
		sim.self->priority = least - 1;
		return;
	}
	/* All anew, but this one last. */
	for (struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		p->priority = (sim_rand() >> 1) + UINT32_MAX;
	sim.self->priority = UINT32_MAX - 1;
}

static bool
shall_switch(void)
{
	if (event_due())
		return true;
	if (!sim.how.priorities)
		return sim_chance(sim.how.switch_one_in);
	if (sim_chance(sim.how.change_one_in))
		demote();
	return higher_ready();
}

static void
point(const char *place)
{
	struct sim_proc *p = sim.self;

	sim.steps++;
	sim.now_ns += sim_rand() % POINT_NS;
	if (p->kill_in != 0 && --p->kill_in == 0) {
		sim_tell("killed at %s", place);
		sim_die(SIGKILL);
	}
	if (sim_chance(sim.how.stall_one_in)) {
		uint64_t ns = sim_rand_below(STALL_NS) >> sim_rand_below(20);

		sim_tell(
		    "stands still for %.3f ms at %s", (double)ns / 1e6, place);
		sim_sleep_until(sim.now_ns + ns);
	} else if (shall_switch()) {
		leave();
	}
}

/*
 * Whoever looks again and again, alone or in turns with others, for what never
 * comes keeps the node awake: a processor's load for nothing.
 */
__attribute__((noreturn)) static void
restless(const char *place)
{
	const struct sim_proc *most = sim.self;

	for (const struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		if (p->calls > most->calls)
			most = p;
	sim_fail("no rest in %u calls, %u of them %s's; the last is %s",
	    sim.calls, most->calls, most->name, place);
}

void
sim_point(const char *place)
{
	if (sim.self == NULL || sim.held != 0)
		return;
	sim.self->calls++;
	if (++sim.calls == CALLS_MAX)
		restless(place);
	point(place);
}

/*
 * Called at each basic block of the product's, in a build that asks for it: so
 * a switch or a kill may come between any two of its instructions that matter.
 */
void __sanitizer_cov_trace_pc(void);

void
__sanitizer_cov_trace_pc(void)
{
	if (sim.self == NULL || sim.held != 0 || sim.how.block_one_in == 0 ||
	    --sim.blocks > 0)
		return;
	sim.blocks = 1 + (int64_t)sim_rand_below(2 * sim.how.block_one_in);
	point("a block");
}

void
sim_yield(void)
{
	if (sim.self == NULL)
		return;
	sim.now_ns += POINT_NS;
	if (sim.how.priorities)
		demote();
	leave();
}

static void
run(struct sim_proc *p)
{
	load(p);
	sim.self = p;
	sim.switches++;
	sim_switch(&sim.host_sp, p->sp);
	p = sim.self;
	sim.self = NULL;
	fork_finish(p);
	if (p->on == (void *)exec_entry) {
		p->on = NULL;
		exec_entry(p);
	}
}

static void
rest(void)
{
	for (struct sim_proc *p = sim.procs; p != NULL; p = p->next)
		p->calls = 0;
	sim.calls = 0;
}

/* Nothing but time can help. */
static void
advance(void)
{
	uint64_t at = next_ns();

	if (at == SIM_NEVER)
		sim_fail("nobody can ever run");
	if (at <= sim.now_ns)
		return;
	sim.now_ns = at;
	rest();
}

void
sim_run(void)
{
	struct sim_proc *p;

	while (!sim.stop) {
		end_doomed();
		events_call();
		wake_timed();
		if (sim.stop)
			break;
		if ((p = pick()) != NULL)
			run(p);
		else
			advance();
	}
}

void
sim_begin(uint64_t seed, struct story *story)
{
	uint64_t x = seed;

	memset(&sim, 0, sizeof(sim));
	sim.random[0] = splitmix(&x);
	sim.random[1] = splitmix(&x);
	sim.seed = seed;
	sim.now_ns = START_NS;
	sim.story = story;
	/* Beyond what pids can be: nothing of /proc is of ours. */
	sim.pids =
	    1 << 30 | (int)(sim_kernel(SYS_getpid, 0, 0, 0, 0, 0, 0) & 0xffff)
			  << 14;
	sim.pristine = copy_of(sim_private_begin, private_size());
	sim.how = (struct sim_schedule){ .switch_one_in = 1 };
}
