/*
 * io_uring without a kernel: what the product links of liburing, on rings of
 * plain memory that liburing.h's inline functions work on. Requests are done
 * some time later, in any order, as the disk's delays say; the simulated disk
 * says what comes of them.
 *
 * Of a process that is killed: what waits for others ends; a direct write that
 * was begun may land up to ORPHAN_NS later, or may not have been begun. A write
 * to the page cache is there when its process is gone, or nowhere: it is a
 * thread of that process that does it. A change of a directory is done at once
 * or never.
 */
#include "t/sim/node/sim_core.h"

#include <sys/stat.h>
#include <sys/uio.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "shm/bits.h"

#define ORPHAN_NS (4 * UINT64_C(1000000000))
#define AGAIN_NS  50000 /* of a fallocate behind writes */
#define USUAL_NS  200000 /* a request takes up to so long */
#define HICCUP_NS (2 * UINT64_C(1000000000))
#define RINGS_MAX 64
#define SECTOR    512u
#define ALIGNED   4096u

struct ring;

struct request {
	struct request *next; /* of the ring, or of the orphans */
	struct request *link; /* begins when this one is done */
	struct ring *ring; /* NULL: its process is dead */
	struct io_uring_sqe sqe;
	struct sim_file_ref *ref;
	struct iovec *iov;
	unsigned iovs;
	uint8_t *copy; /* of a dead process' data */
	struct eventfd_waiter waiter;
	bool waits; /* as a waiter */
	bool late; /* an orphan that was put off */
	char *name[2]; /* paths are read when a request is submitted */
};

struct ring {
	struct io_uring *user; /* where it is while its process runs */
	int id, pid;
	unsigned setup;
	unsigned sq_head, sq_tail, sq_flags, sq_dropped;
	unsigned cq_head, cq_tail, cq_flags, cq_overflow;
	unsigned sq_entries, cq_entries;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	struct io_uring_cqe *held; /* not yet in the queue */
	unsigned held_count, held_room;
	struct request *requests;
	void *eventfd;
};

static struct ring *rings[RINGS_MAX];
static struct request *orphans;
static bool old_kernel;
static unsigned hiccup_one_in;
static uint64_t slow_ns;

void
sim_ring_settings(bool old, unsigned hiccup, uint64_t slow)
{
	hiccup_one_in = hiccup;
	old_kernel = old;
	slow_ns = slow;
}

static void *
zeros(size_t n, size_t size)
{
	void *at = calloc(n, size);

	if (at == NULL)
		abort();
	return at;
}

static struct ring *
ring_of(const struct io_uring *u)
{
	struct ring *r = rings[u->ring_fd % RINGS_MAX];

	if (r == NULL || r->pid != sim_pid())
		sim_fail("a ring that is none is used");
	return r;
}

/* ---- completions ---- */

static bool
deferred(const struct ring *r)
{
	return (r->setup & IORING_SETUP_DEFER_TASKRUN) != 0;
}

static void
held_flags(struct ring *r)
{
	unsigned flag = deferred(r) ? IORING_SQ_TASKRUN : IORING_SQ_CQ_OVERFLOW;

	if (r->held_count != 0)
		r->sq_flags |= flag;
	else
		r->sq_flags &= ~flag;
}

static bool
cq_put(struct ring *r, const struct io_uring_cqe *cqe)
{
	if (r->cq_tail - r->cq_head == r->cq_entries)
		return false;
	r->cqes[r->cq_tail & (r->cq_entries - 1)] = *cqe;
	r->cq_tail++;
	return true;
}

/* What was held back, into the queue: in an enter that asks for it. */
static void
flush_held(struct ring *r)
{
	unsigned n = 0;

	while (n < r->held_count && cq_put(r, &r->held[n]))
		n++;
	r->held_count -= n;
	memmove(r->held, r->held + n, r->held_count * sizeof(*r->held));
	held_flags(r);
}

static void
complete(struct ring *r, uint64_t user_data, int res, unsigned flags)
{
	const struct io_uring_cqe cqe = { user_data, res, flags };

	if (deferred(r) || r->held_count != 0 || !cq_put(r, &cqe)) {
		if (r->held_count == r->held_room) {
			r->held_room = 2 * r->held_room + 16;
			r->held =
			    realloc(r->held, r->held_room * sizeof(*r->held));
			if (r->held == NULL)
				abort();
		}
		r->held[r->held_count++] = cqe;
		held_flags(r);
	}
	if (r->eventfd != NULL &&
	    (r->cq_flags & IORING_CQ_EVENTFD_DISABLED) == 0)
		sim_eventfd_add(r->eventfd, 1);
	sim_wake(r);
}

/* ---- requests ---- */

static void request_begin(struct request *q);
static void request_do(void *arg);

static void
request_drop(struct request *q)
{
	if (q->ref != NULL)
		sim_file_release(q->ref);
	free(q->iov);
	free(q->copy);
	free(q->name[0]);
	free(q->name[1]);
	free(q);
}

static void
request_free(struct request *q)
{
	struct request **at = q->ring != NULL ? &q->ring->requests : &orphans;

	while (*at != NULL && *at != q)
		at = &(*at)->next;
	if (*at == q)
		*at = q->next;
	request_drop(q);
}

static size_t
request_bytes(const struct request *q)
{
	size_t n = 0;

	for (unsigned i = 0; i < q->iovs; i++)
		n += q->iov[i].iov_len;
	return n;
}

/* A read or write that did not do it all breaks a chain, too. */
static bool
breaks(const struct request *q, int res)
{
	return res < 0 || (q->iovs != 0 && (size_t)res != request_bytes(q));
}

static void
request_done(struct request *q, int res)
{
	struct request *link = q->link;
	bool broken = breaks(q, res);

	complete(q->ring, q->sqe.user_data, res, 0);
	request_free(q);
	while (link != NULL && broken) {
		q = link;
		link = q->link;
		complete(q->ring, q->sqe.user_data, -ECANCELED, 0);
		request_free(q);
	}
	if (link != NULL)
		request_begin(link);
}

static uint64_t
request_delay(const struct request *q)
{
	struct sim_disk_faults *f = sim_file_faults(q->sqe.fd);
	uint64_t ns = sim_rand_below(USUAL_NS) + sim_rand_below(slow_ns);

	if (sim_chance(hiccup_one_in)) {
		ns += sim_rand_below(HICCUP_NS);
		sim_tell("a request takes %.3f ms", (double)ns / 1e6);
	}
	if (f != NULL) {
		ns += f->delay_ns;
		if (f->hang_until_ns > sim_now_ns() + ns)
			ns = f->hang_until_ns - sim_now_ns();
	}
	return ns;
}

static void
request_later(struct request *q, uint64_t ns)
{
	sim_event(sim_now_ns() + ns, request_do, q);
}

static void
request_woken(void *arg)
{
	struct request *q = arg;

	q->waits = false;
	request_later(q, 0);
}

/* A doorbell's read, or a poll. */
static bool
request_waits(struct request *q)
{
	q->waiter.fn = request_woken;
	q->waiter.arg = q;
	q->waits = sim_fd_wait(q->sqe.fd, &q->waiter);
	return q->waits;
}

static int
doorbell(struct request *q)
{
	struct pollfd p = { .fd = q->sqe.fd };

	p.revents = (short)(sim_fd_poll(p.fd) & POLLIN);
	if (p.revents == 0)
		return -EAGAIN;
	if (q->sqe.opcode == IORING_OP_POLL_ADD)
		return POLLIN;
	return (int)sim_eventfd_take(
	    q->sqe.fd, q->iov[0].iov_base, q->iov[0].iov_len);
}

/*
 * Their bytes in one piece. Direct I/O asks for aligned memory: what was is.
 */
static uint8_t *
gather(const struct request *q)
{
	size_t n = request_bytes(q), done = 0;
	uint8_t *whole = aligned_alloc(ALIGNED, align_up(n + 1, ALIGNED));

	if (whole == NULL)
		abort();
	for (unsigned i = 0; i < q->iovs; i++) {
		const struct iovec *v = &q->iov[i];

		if (q->iovs != 1 &&
		    ((uintptr_t)v->iov_base | v->iov_len) % SECTOR != 0)
			sim_fail("a vector that no direct write takes");
		memcpy(whole + done, v->iov_base, v->iov_len);
		done += v->iov_len;
	}
	return whole;
}

static int
transfer(struct request *q)
{
	bool write = q->sqe.opcode == IORING_OP_WRITE ||
		     q->sqe.opcode == IORING_OP_WRITEV;
	uint8_t *whole = q->iovs == 1 ? q->iov[0].iov_base : gather(q);
	off_t at = (off_t)q->sqe.off;
	size_t n = request_bytes(q);
	ssize_t rc;

	rc = write ? sim_file_ref_pwrite(q->ref, whole, n, at,
			 (q->sqe.rw_flags & RWF_DSYNC) != 0)
		   : sim_file_ref_pread(q->ref, whole, n, at);
	if (q->iovs != 1)
		free(whole);
	return (int)rc;
}

/* As its process. */
static int
request_result(struct request *q)
{
	const struct io_uring_sqe *s = &q->sqe;

	switch (s->opcode) {
	case IORING_OP_READ:
		if (q->ref == NULL)
			return doorbell(q);
		return transfer(q);
	case IORING_OP_POLL_ADD:
		return doorbell(q);
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
		return q->ref != NULL ? transfer(q) : -EBADF;
	case IORING_OP_FSYNC:
		return q->ref != NULL
			   ? sim_file_ref_sync(q->ref,
				 (s->fsync_flags & IORING_FSYNC_DATASYNC) != 0)
			   : -EBADF;
	case IORING_OP_FALLOCATE:
		return q->ref != NULL
			   ? sim_file_ref_fallocate(q->ref, (int)s->len,
				 (off_t)s->off, (off_t)s->addr)
			   : -EBADF;
	case IORING_OP_OPENAT:
		return sim_file_openat(
		    s->fd, q->name[0], (int)s->open_flags, s->len);
	case IORING_OP_UNLINKAT:
		return sim_file_unlinkat(
		    s->fd, q->name[0], (int)s->unlink_flags);
	case IORING_OP_RENAMEAT:
		return sim_file_renameat(
		    s->fd, q->name[0], (int)s->len, q->name[1]);
	case IORING_OP_STATX:
		return sim_file_statx(s->fd, q->name[0], (int)s->statx_flags,
		    s->len, (struct statx *)(uintptr_t)s->off);
	case IORING_OP_NOP:
		return 0;
	default:
		sim_fail(
		    "the simulated ring does not know operation %u", s->opcode);
	}
}

static void
request_do_as(void *arg)
{
	struct request *q = arg;
	int res;

	if (q->sqe.opcode == IORING_OP_FALLOCATE && q->ref != NULL &&
	    sim_file_busy(q->ref)) {
		request_later(q, AGAIN_NS);
		return;
	}
	res = request_result(q);
	if (res == -EAGAIN && q->ref == NULL && request_waits(q))
		return;
	request_done(q, res);
}

/* Nobody is told any more. */
static void
orphan_do(struct request *q)
{
	if (!q->late && sim_chance(3)) {
		q->late = true;
		request_later(q, sim_rand_below(ORPHAN_NS));
		return;
	}
	(void)transfer(q);
	request_free(q);
}

static void
request_do(void *arg)
{
	struct request *q = arg;

	if (q->sqe.opcode == UINT8_MAX)
		request_free(q); /* cancelled by its process' end */
	else if (q->ring == NULL)
		orphan_do(q);
	else
		(void)sim_as(q->ring->pid, request_do_as, q);
}

static void
request_iov(struct request *q)
{
	const struct io_uring_sqe *s = &q->sqe;
	const struct iovec *from = (const struct iovec *)(uintptr_t)s->addr;

	if (s->opcode == IORING_OP_READ || s->opcode == IORING_OP_WRITE) {
		q->iovs = 1;
		q->iov = zeros(1, sizeof(*q->iov));
		q->iov[0].iov_base = (void *)(uintptr_t)s->addr;
		q->iov[0].iov_len = s->len;
	} else if (s->opcode == IORING_OP_WRITEV) {
		q->iovs = s->len;
		q->iov = zeros(q->iovs, sizeof(*q->iov));
		memcpy(q->iov, from, q->iovs * sizeof(*from));
	}
}

static char *
name_at(uint64_t address)
{
	char *name = strdup((const char *)(uintptr_t)address);

	if (name == NULL)
		abort();
	return name;
}

static void
request_names(struct request *q)
{
	const struct io_uring_sqe *s = &q->sqe;

	if (s->opcode == IORING_OP_OPENAT || s->opcode == IORING_OP_UNLINKAT ||
	    s->opcode == IORING_OP_RENAMEAT || s->opcode == IORING_OP_STATX)
		q->name[0] = name_at(s->addr);
	if (s->opcode == IORING_OP_RENAMEAT)
		q->name[1] = name_at(s->addr2);
}

static void
request_begin(struct request *q)
{
	uint8_t op = q->sqe.opcode;

	if ((op == IORING_OP_READ && q->ref == NULL) ||
	    op == IORING_OP_POLL_ADD) {
		if (!request_waits(q))
			request_later(q, 0);
		return;
	}
	request_later(q, request_delay(q));
}

static struct request *
request_new(struct ring *r, const struct io_uring_sqe *sqe)
{
	struct request *q = zeros(1, sizeof(*q));
	uint8_t op = sqe->opcode;

	q->ring = r;
	q->sqe = *sqe;
	request_iov(q);
	request_names(q);
	if (q->iovs != 0 || op == IORING_OP_FSYNC || op == IORING_OP_FALLOCATE)
		q->ref = sim_file_hold(
		    sqe->fd, op == IORING_OP_WRITE || op == IORING_OP_WRITEV);
	q->next = r->requests;
	r->requests = q;
	return q;
}

static unsigned
submit(struct ring *r)
{
	struct io_uring_sq *sq = &r->user->sq;
	unsigned n = sq->sqe_tail - r->sq_head;
	struct request *q, *before = NULL;

	while (r->sq_head != sq->sqe_tail) {
		const struct io_uring_sqe *sqe =
		    &r->sqes[r->sq_head & (r->sq_entries - 1)];

		q = request_new(r, sqe);
		if (before != NULL)
			before->link = q;
		else
			request_begin(q);
		before = (sqe->flags & IOSQE_IO_LINK) != 0 ? q : NULL;
		r->sq_head++;
	}
	sq->sqe_head = r->sq_tail = r->sq_head;
	return n;
}

/* ---- the end of a process; a power loss ---- */

static void
data_take(struct request *q)
{
	size_t n = request_bytes(q);

	q->copy = gather(q);
	q->iov[0] = (struct iovec){ q->copy, n };
	q->iovs = 1;
}

/* Is it begun, so that the kernel may go on with it? */
static bool
is_begun(const struct request *q)
{
	const struct request *o;

	for (o = q->ring->requests; o != NULL; o = o->next)
		for (const struct request *l = o->link; l != NULL; l = l->link)
			if (l == q)
				return false;
	return true;
}

static void
request_orphan(struct request *q)
{
	uint8_t op = q->sqe.opcode;

	if (op == IORING_OP_UNLINKAT || op == IORING_OP_RENAMEAT ||
	    op == IORING_OP_FALLOCATE ||
	    (op == IORING_OP_OPENAT && (q->sqe.open_flags & O_CREAT) != 0))
		if (sim_chance(2))
			(void)request_result(q);
	if ((op == IORING_OP_WRITE || op == IORING_OP_WRITEV) &&
	    q->ref != NULL && !sim_chance(3)) {
		if (sim_file_is_direct(q->ref)) {
			data_take(q);
			q->next = orphans;
			orphans = q;
			q->ring = NULL;
			/* When its event comes it lands, if not before. */
			return;
		}
		(void)transfer(q);
	}
	q->sqe.opcode = UINT8_MAX;
	q->next = orphans;
	orphans = q;
	q->ring = NULL;
	if (q->ref != NULL)
		sim_file_release(q->ref);
	q->ref = NULL;
}

static void
ring_end(struct ring *r)
{
	struct request *q, *next, **at;

	for (q = r->requests; q != NULL; q = q->next)
		if (q->waits)
			sim_fd_wait_end(q->sqe.fd, &q->waiter);
	/* Without an event to come: those that wait, or are linked. */
	for (at = &r->requests; (q = *at) != NULL;) {
		if (!q->waits && is_begun(q)) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		for (struct request *o = r->requests; o != NULL; o = o->next)
			if (o->link == q)
				o->link = q->link;
		request_drop(q);
		at = &r->requests;
	}
	for (q = r->requests; q != NULL; q = next) {
		next = q->next;
		request_orphan(q);
	}
	rings[r->id] = NULL;
	free(r->sqes);
	free(r->cqes);
	free(r->held);
	free(r);
}

void
sim_ring_end(int pid)
{
	for (int i = 0; i < RINGS_MAX; i++)
		if (rings[i] != NULL && rings[i]->pid == pid)
			ring_end(rings[i]);
}

unsigned
sim_ring_orphans(void)
{
	unsigned n = 0;

	for (const struct request *q = orphans; q != NULL; q = q->next)
		n += q->ref != NULL;
	return n;
}

void
sim_ring_power_loss(void)
{
	/* Their events come to nothing. */
	for (struct request *q = orphans; q != NULL; q = q->next) {
		if (q->ref == NULL)
			continue;
		/* Of what lands without a flush the disk keeps any part. */
		q->sqe.rw_flags = 0;
		if (sim_chance(2))
			(void)transfer(q);
		sim_file_release(q->ref);
		q->ref = NULL;
		q->sqe.opcode = UINT8_MAX;
	}
}

/* ---- liburing ---- */

static unsigned
power_of_2(unsigned n)
{
	unsigned p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static void
ring_map(struct ring *r, struct io_uring *u)
{
	memset(u, 0, sizeof(*u));
	u->flags = r->setup;
	u->ring_fd = u->enter_ring_fd = r->id;
	u->features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG |
		      IORING_FEAT_SINGLE_MMAP | IORING_FEAT_SUBMIT_STABLE;
	u->sq.khead = &r->sq_head;
	u->sq.ktail = &r->sq_tail;
	u->sq.kflags = &r->sq_flags;
	u->sq.kdropped = &r->sq_dropped;
	u->sq.sqes = r->sqes;
	u->sq.ring_entries = r->sq_entries;
	u->sq.ring_mask = r->sq_entries - 1;
	u->cq.khead = &r->cq_head;
	u->cq.ktail = &r->cq_tail;
	u->cq.kflags = &r->cq_flags;
	u->cq.koverflow = &r->cq_overflow;
	u->cq.cqes = r->cqes;
	u->cq.ring_entries = r->cq_entries;
	u->cq.ring_mask = r->cq_entries - 1;
}

int
io_uring_queue_init_params(
    unsigned entries, struct io_uring *u, struct io_uring_params *p)
{
	struct ring *r;
	int id = 0;

	sim_point("io_uring_setup");
	if (old_kernel && (p->flags & IORING_SETUP_DEFER_TASKRUN) != 0)
		return -EINVAL;
	while (id < RINGS_MAX && rings[id] != NULL)
		id++;
	if (id == RINGS_MAX)
		return -ENFILE;
	r = zeros(1, sizeof(*r));
	r->id = id;
	r->pid = sim_pid();
	r->setup = p->flags;
	r->user = u;
	r->sq_entries = power_of_2(entries);
	r->cq_entries = (p->flags & IORING_SETUP_CQSIZE) != 0
			    ? power_of_2(p->cq_entries)
			    : 2 * r->sq_entries;
	r->sqes = zeros(r->sq_entries, sizeof(*r->sqes));
	r->cqes = zeros(r->cq_entries, sizeof(*r->cqes));
	rings[id] = r;
	ring_map(r, u);
	p->features = u->features;
	return 0;
}

void
io_uring_queue_exit(struct io_uring *u)
{
	ring_end(ring_of(u));
}

int
io_uring_ring_dontfork(struct io_uring *u)
{
	(void)ring_of(u);
	return 0;
}

int
io_uring_register_eventfd(struct io_uring *u, int fd)
{
	struct ring *r = ring_of(u);

	r->eventfd = sim_eventfd_of(fd);
	return r->eventfd != NULL ? 0 : -EBADF;
}

int
io_uring_unregister_eventfd(struct io_uring *u)
{
	ring_of(u)->eventfd = NULL;
	return 0;
}

/* Submit, then wait for so many completions at most until then. */
static int
enter(struct io_uring *u, unsigned wait_nr, bool events, uint64_t until_ns)
{
	struct ring *r = ring_of(u);
	unsigned n;

	sim_point("io_uring_enter");
	n = submit(r);
	if (events || !deferred(r))
		flush_held(r);
	while (r->cq_tail - r->cq_head < wait_nr) {
		if (!sim_block_until(r, until_ns) && r->held_count == 0)
			return -ETIME;
		flush_held(r);
	}
	sim_point("io_uring_enter's end");
	return (int)n;
}

int
io_uring_submit(struct io_uring *u)
{
	return enter(u, 0, false, 0);
}

int
io_uring_submit_and_get_events(struct io_uring *u)
{
	return enter(u, 0, true, 0);
}

int
io_uring_submit_and_wait(struct io_uring *u, unsigned wait_nr)
{
	return enter(u, wait_nr, true, SIM_NEVER);
}

int
io_uring_submit_and_wait_timeout(struct io_uring *u, struct io_uring_cqe **cqe,
    unsigned wait_nr, struct __kernel_timespec *ts, sigset_t *mask)
{
	struct ring *r = ring_of(u);
	int rc;

	(void)mask;
	rc = enter(u, wait_nr, true,
	    sim_now_ns() + (uint64_t)ts->tv_sec * UINT64_C(1000000000) +
		(uint64_t)ts->tv_nsec);
	*cqe = r->cq_tail != r->cq_head
		   ? &r->cqes[r->cq_head & (r->cq_entries - 1)]
		   : NULL;
	return rc;
}
