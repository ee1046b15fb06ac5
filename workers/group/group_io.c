/*
 * What the group worker writes, through its ring: the state file's two
 * blocks, and the members file. Steps are pure functions of (state, result);
 * the handlers only apply them. A failed write of the state is final.
 *
 * The state is written through the page cache (O_DSYNC, never O_DIRECT): what
 * a killed process had under way is in the cache or nowhere when it has been
 * reaped. A direct write could land later, over its successor's promise.
 */
#include "workers/group/group.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/say.h"
#include "shm/trouble.h"

/* A members file that could not be written is tried anew after this. */
#define MEMBERS_RETRY_NS (10 * NS_PER_S)

enum state_write
state_write_next(enum state_write now, int res, int want)
{
	ASSERT(now == STATE_WRITE_FIRST || now == STATE_WRITE_SECOND);
	if (res == -EINTR || res == -EAGAIN)
		return now;
	if (res != want)
		return STATE_WRITE_FAILED;
	return now == STATE_WRITE_FIRST ? STATE_WRITE_SECOND
					: STATE_WRITE_DURABLE;
}

static void
state_submit(struct group *g)
{
	unsigned block =
	    g->state_write == STATE_WRITE_FIRST ? g->worse : 1 - g->worse;
	struct io_uring_sqe *sqe = loop_sqe(&g->loop);

	ASSERT(block < STATE_BLOCKS);
	if (sqe == NULL) {
		g->state_write = STATE_WRITE_FAILED;
		return;
	}
	io_uring_prep_write(sqe, g->state_fd, g->block, STATE_BLOCK_SIZE,
	    (uint64_t)block * STATE_STRIDE);
	/* The kernel may flush it while it is submitted; beats go on. */
	io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_STATE, 0, 0));
}

static void
state_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct group *g = ctx;

	(void)slot;
	(void)generation;
	(void)flags;
	ASSERT(g->state_write != STATE_WRITE_DURABLE);
	g->state_write =
	    state_write_next(g->state_write, res, STATE_BLOCK_SIZE);
	if (g->state_write == STATE_WRITE_FIRST ||
	    g->state_write == STATE_WRITE_SECOND) {
		state_submit(g);
	} else if (g->state_write == STATE_WRITE_FAILED) {
		g->state_error = res < 0 ? -res : ENOSPC;
	}
}

static void
state_begin(struct group *g)
{
	ASSERT(g->state_write == STATE_WRITE_IDLE);
	ASSERT(g->state_fd >= 0);
	g->state.counter++;
	g->state_asked = g->state_owed;
	g->state_owed = g->state_again = false;
	state_encode(g->block, &g->state);
	g->state_write = STATE_WRITE_FIRST;
	state_submit(g);
}

void
group_state_touch(struct group *g)
{
	if (g->state_fd < 0 || g->state_error != 0)
		return;
	g->state_again = true;
	if (g->state_write == STATE_WRITE_IDLE)
		state_begin(g);
}

void
group_state_store(struct group *g, const struct group_action *a)
{
	ASSERT(!group_state_owed(g));
	/* Terms rise, and there is one vote in each, of one boot; but what is
	   told of it may be taken back. */
	ASSERT(a->store.term >= g->state.term);
	ASSERT(a->store.term > g->state.term || g->state.vote == 0 ||
	       a->store.vote == g->state.vote);
	ASSERT(a->store.promise_ms >= g->state.promise_ms);
	g->state.term = a->store.term;
	g->state.vote = a->store.vote;
	g->state.vote_boot = a->store.vote_boot;
	g->state.promise_ms = a->store.promise_ms;
	g->state_owed = true;
	group_state_touch(g);
}

/* A write has ended: is it what the core waits for? */
enum state_turn
group_state_turn(struct group *g)
{
	enum state_write was = g->state_write;
	bool asked = g->state_asked;

	if (was != STATE_WRITE_DURABLE && was != STATE_WRITE_FAILED)
		return STATE_NO_NEWS;
	g->state_write = STATE_WRITE_IDLE;
	g->state_asked = false;
	/* What no promise depends on may wait; the next one tells. */
	if (was == STATE_WRITE_FAILED) {
		g->state_owed = g->state_again = false;
		return STATE_LOST;
	}
	if (g->state_again)
		state_begin(g);
	return asked ? STATE_STORED : STATE_NO_NEWS;
}

enum members_write
members_write_next(enum members_write now, int res, size_t len)
{
	if (res == -EINTR || res == -EAGAIN)
		return now;
	if (res < 0)
		return MEMBERS_WRITE_IDLE;
	switch (now) {
	case MEMBERS_WRITE_OPEN:
		return MEMBERS_WRITE_DATA;
	case MEMBERS_WRITE_DATA:
		return (size_t)res == len ? MEMBERS_WRITE_FLUSH
					  : MEMBERS_WRITE_IDLE;
	case MEMBERS_WRITE_FLUSH:
		return MEMBERS_WRITE_RENAME;
	case MEMBERS_WRITE_RENAME:
		return MEMBERS_WRITE_DIR;
	case MEMBERS_WRITE_DIR:
	case MEMBERS_WRITE_IDLE:
		break;
	}
	return MEMBERS_WRITE_IDLE;
}

static bool
members_submit(struct group *g)
{
	struct io_uring_sqe *sqe = loop_sqe(&g->loop);
	int dir = g->w->data_dir;

	if (sqe == NULL)
		return false;
	switch (g->members_write) {
	case MEMBERS_WRITE_OPEN:
		io_uring_prep_openat(sqe, dir, MEMBERS_TMP,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
		break;
	case MEMBERS_WRITE_DATA:
		io_uring_prep_write(sqe, g->members_fd, g->members_buf,
		    (unsigned)g->members_len, 0);
		break;
	case MEMBERS_WRITE_FLUSH:
		io_uring_prep_fsync(sqe, g->members_fd, 0);
		break;
	case MEMBERS_WRITE_RENAME:
		io_uring_prep_renameat(
		    sqe, dir, MEMBERS_TMP, dir, MEMBERS_FILE, 0);
		break;
	case MEMBERS_WRITE_DIR:
		io_uring_prep_fsync(sqe, dir, 0);
		break;
	case MEMBERS_WRITE_IDLE:
		ASSERT(!"a step of the members file");
	}
	io_uring_sqe_set_data64(sqe, loop_tag(KIND_MEMBERS, 0, 0));
	return true;
}

static void
members_close(struct group *g)
{
	if (g->members_fd >= 0)
		close(g->members_fd);
	g->members_fd = -1;
	g->members_write = MEMBERS_WRITE_IDLE;
}

/* What a step works on, and by which call. */
static const struct {
	const char *call, *name;
} members_steps[] = {
	[MEMBERS_WRITE_IDLE] = { "write", MEMBERS_TMP },
	[MEMBERS_WRITE_OPEN] = { "open", MEMBERS_TMP },
	[MEMBERS_WRITE_DATA] = { "write", MEMBERS_TMP },
	[MEMBERS_WRITE_FLUSH] = { "fsync", MEMBERS_TMP },
	[MEMBERS_WRITE_RENAME] = { "rename", MEMBERS_FILE },
	[MEMBERS_WRITE_DIR] = { "fsync", "" },
};

/* Each error is told once: that asks for names of users. */
static void
members_failed(struct group *g, enum members_write step, int res)
{
	int error = res < 0 ? -res : ENOSPC;
	char path[PATH_MAX];
	struct denied d;
	struct fault f = { .object = path,
		.call = members_steps[step].call,
		.error = error,
		.place = PLACE_DATA,
		.effect = "the log keeps the membership's record, and all "
			  "behind it: it grows, nothing is lost",
		.goes_on = true };

	members_close(g);
	g->members_retry_ns = g->loop.now_ns + MEMBERS_RETRY_NS;
	if (g->members_error == error)
		return;
	g->members_error = error;
	snprintf(path, sizeof(path), "%s/%s", g->w->conf->node.data_dir,
	    members_steps[step].name);
	worker_explain(g->w, &f, &d);
	trouble_begin(g->r, TROUBLE_MEMBERS_FAILED, &f);
}

void
group_members_filed(struct group *g)
{
	/* Of a newer one on its way the log holds the record still. */
	if (g->filed.vlsn == position_get(&g->r->pos->member))
		position_set(&g->r->pos->filed, g->filed.vlsn);
}

static void
members_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct group *g = ctx;
	enum members_write before = g->members_write;

	(void)slot;
	(void)generation;
	(void)flags;
	if (before == MEMBERS_WRITE_OPEN && res >= 0)
		g->members_fd = res;
	g->members_write = members_write_next(before, res, g->members_len);
	if (g->members_write != MEMBERS_WRITE_IDLE) {
		if (!members_submit(g))
			members_failed(g, g->members_write, -EBUSY);
		return;
	}
	if (before != MEMBERS_WRITE_DIR || res < 0) {
		members_failed(g, before, res);
		return;
	}
	members_close(g);
	g->filed = g->members_new;
	g->filed_known = true;
	group_members_filed(g);
	g->members_error = 0;
	g->members_retry_ns = 0;
	trouble_end(g->r, TROUBLE_MEMBERS_FAILED);
	g->members_wanted = !member_same(&g->filed, &g->members_told);
}

void
group_members_want(struct group *g, const struct membership *m)
{
	ASSERT(m->vlsn != 0);
	g->members_told = *m;
	g->members_wanted = !g->filed_known || !member_same(&g->filed, m);
}

void
group_members_save(struct group *g)
{
	if (!g->members_wanted || g->members_write != MEMBERS_WRITE_IDLE ||
	    g->loop.now_ns < g->members_retry_ns)
		return;
	g->members_new = g->members_told;
	g->members_len = member_file_encode(g->members_buf, &g->members_new);
	g->members_write = MEMBERS_WRITE_OPEN;
	if (!members_submit(g))
		members_failed(g, MEMBERS_WRITE_OPEN, -EBUSY);
}

bool
group_io_busy(const struct group *g)
{
	return g->state_write == STATE_WRITE_FIRST ||
	       g->state_write == STATE_WRITE_SECOND ||
	       g->members_write != MEMBERS_WRITE_IDLE;
}

void
group_io_open(struct group *g)
{
	g->state_fd = -1;
	g->members_fd = -1;
	loop_on(&g->loop, KIND_STATE, state_done);
	loop_on(&g->loop, KIND_MEMBERS, members_done);
}
