/*
 * Reading ahead at boot: chunks of one segment through the worker's ring,
 * several at a time, handed out in order. Depth and size grow, so that a
 * short log costs little and a long one is read at the disk's speed.
 */
#include "workers/wal/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/fault.h"

#define AHEAD_MAX   8
#define AHEAD_SMALL (128u * 1024)
#define AHEAD_CHUNK (1024u * 1024)

enum chunk_state { CHUNK_FREE, CHUNK_READING, CHUNK_READ };

struct ahead_chunk {
	enum chunk_state state;
	uint8_t *memory; /* headroom, then data */
	uint32_t offset, size;
	int res;
};

/*
 * One reader at a time: completions find it in the worker's state. It is kept,
 * with its memory, from segment to segment, until wal_ahead_free().
 */
struct wal_ahead {
	struct wal *w;
	int fd;
	uint32_t next; /* file offset of the next read */
	uint32_t to; /* end of what is wanted, on a block */
	uint32_t reads, handed; /* chunks ever begun, handed out */
	bool warm; /* a segment was read before: go on at full depth */
	struct ahead_chunk chunk[AHEAD_MAX];
};

static int
ahead_memory(struct ahead_chunk *c)
{
	if (c->memory == NULL)
		c->memory = aligned_alloc(
		    SEGMENT_BLOCK_MAX, SEGMENT_HEADROOM + AHEAD_CHUNK);
	return c->memory != NULL ? 0 : -ENOMEM;
}

/* Begin reads up to the present depth. */
static int
ahead_begin(struct wal_ahead *a)
{
	uint32_t depth = AHEAD_MAX - 2;

	if (!a->warm && a->handed + 1 < depth)
		depth = a->handed + 1;

	while (a->next < a->to && a->reads < a->handed + depth) {
		struct ahead_chunk *c = &a->chunk[a->reads % AHEAD_MAX];
		uint32_t most =
		    a->warm || a->reads >= 2 ? AHEAD_CHUNK : AHEAD_SMALL;
		struct io_uring_sqe *sqe;

		/* Free: handed out, and the one after it, too. */
		ASSERT(c->state == CHUNK_FREE);
		if (ahead_memory(c) != 0)
			return -ENOMEM;
		sqe = loop_sqe(&a->w->loop);
		if (sqe == NULL)
			return -EAGAIN;
		c->offset = a->next;
		c->size = a->to - a->next < most ? a->to - a->next : most;
		c->state = CHUNK_READING;
		io_uring_prep_read(sqe, a->fd, c->memory + SEGMENT_HEADROOM,
		    c->size, c->offset);
		io_uring_sqe_set_data64(sqe,
		    loop_tag(WAL_KIND_SCAN, a->reads % AHEAD_MAX, a->reads));
		a->next += c->size;
		a->reads++;
	}
	return 0;
}

void
wal_scan_done(
    void *ctx, uint32_t slot, uint32_t generation, int res, uint32_t flags)
{
	struct wal_ahead *a = ((struct wal *)ctx)->ahead;

	(void)generation;
	(void)flags;
	ASSERT(a != NULL && slot < AHEAD_MAX);
	ASSERT(a->chunk[slot].state == CHUNK_READING);
	a->chunk[slot].state = CHUNK_READ;
	a->chunk[slot].res = wal_fault(WAL_OP_READ, res);
}

static int
ahead_wait(struct wal_ahead *a, const struct ahead_chunk *c)
{
	int rc;

	while (c->state == CHUNK_READING) {
		rc = io_uring_submit_and_wait(&a->w->loop.ring, 1);
		if (rc < 0 && rc != -EINTR && rc != -EAGAIN)
			return rc;
		rc = loop_poll(&a->w->loop);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
ahead_read(void *ctx, uint32_t offset, uint8_t **data, size_t *n)
{
	struct wal_ahead *a = ctx;
	struct ahead_chunk *c;
	int rc;

	*n = 0;
	/* The chunk before the last one handed out is no longer looked at. */
	if (a->handed > 1)
		a->chunk[(a->handed - 2) % AHEAD_MAX].state = CHUNK_FREE;
	rc = ahead_begin(a);
	if (rc != 0)
		return rc;
	if (a->handed == a->reads)
		return 0;
	c = &a->chunk[a->handed % AHEAD_MAX];
	rc = ahead_wait(a, c);
	if (rc != 0)
		return rc;
	if (c->res < 0)
		return fault_of_call(c->res);
	if (c->offset != offset) /* after a read that ended too early */
		return -EIO;
	a->handed++;
	*data = c->memory + SEGMENT_HEADROOM;
	*n = (size_t)c->res;
	/* A short read: the file ends there, whatever was asked behind. */
	if (*n < c->size)
		a->to = a->next;
	return 0;
}

static struct wal_ahead *
ahead_of(struct wal *w)
{
	if (w->ahead != NULL ||
	    (w->ahead = calloc(1, sizeof(*w->ahead))) == NULL)
		return w->ahead;
	w->ahead->w = w;
	w->ahead->fd = -1;
	return w->ahead;
}

int
wal_ahead_open(struct wal *w, uint32_t number, uint32_t from, uint64_t to,
    struct segment_source *out)
{
	struct wal_ahead *a = ahead_of(w);
	char name[SEGMENT_NAME_MAX];

	if (a == NULL)
		return -ENOMEM;
	ASSERT(a->fd < 0);
	ASSERT(is_pow2(from));
	segment_name(name, number);
	a->fd = openat(w->dir, name, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (a->fd < 0 && errno == EINVAL)
		a->fd = openat(w->dir, name, O_RDONLY | O_CLOEXEC);
	if (a->fd < 0)
		return fault_of_call(-errno);
	a->next = from;
	a->to = (uint32_t)align_up(to, from);
	a->reads = a->handed = 0;
	*out = (struct segment_source){ .read = ahead_read, .ctx = a };
	return 0;
}

void
wal_ahead_close(struct wal *w)
{
	struct wal_ahead *a = w->ahead;
	uint32_t i;

	for (i = 0; i < AHEAD_MAX; i++) {
		/* The kernel still writes into it: wait. */
		(void)ahead_wait(a, &a->chunk[i]);
		a->chunk[i].state = CHUNK_FREE;
	}
	close(a->fd);
	a->fd = -1;
	a->warm = true;
}

void
wal_ahead_free(struct wal *w)
{
	uint32_t i;

	if (w->ahead == NULL)
		return;
	ASSERT(w->ahead->fd < 0);
	for (i = 0; i < AHEAD_MAX; i++)
		free(w->ahead->chunk[i].memory);
	free(w->ahead);
	w->ahead = NULL;
}
