/*
 * Descriptor tables, one a process. A number names an open thing that copies
 * share, as after fork(2) and dup(2).
 */
#include "t/sim/node/sim.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "t/sim/node/sim_int.h"

struct open {
	const struct sim_file_ops *ops;
	void *obj;
	unsigned refs;
	int flags;
};

struct table {
	struct table *next;
	int pid;
	int room; /* slots */
	struct open **slot;
};

static struct table *tables;
static bool nowait_now;

static struct table *
table_of(int pid)
{
	struct table *t = tables;

	while (t != NULL && t->pid != pid)
		t = t->next;
	if (t != NULL)
		return t;
	t = calloc(1, sizeof(*t));
	ASSERT(t != NULL);
	t->pid = pid;
	t->next = tables;
	tables = t;
	return t;
}

static struct open **
slot_of(int fd)
{
	struct table *t;

	if (fd < SIM_FD_BASE)
		return NULL;
	t = table_of(sim_pid());
	if (fd - SIM_FD_BASE >= t->room || t->slot[fd - SIM_FD_BASE] == NULL)
		return NULL;
	return &t->slot[fd - SIM_FD_BASE];
}

static void
table_grow(struct table *t, int room)
{
	t->slot = realloc(t->slot, (size_t)room * sizeof(struct open *));
	ASSERT(t->slot != NULL);
	memset(t->slot + t->room, 0,
	    (size_t)(room - t->room) * sizeof(struct open *));
	t->room = room;
}

static int
slot_take(struct open *o, int least)
{
	struct table *t = table_of(sim_pid());
	int i = least > SIM_FD_BASE ? least - SIM_FD_BASE : 0;

	while (i < t->room && t->slot[i] != NULL)
		i++;
	if (i >= t->room)
		table_grow(t, i < 16 ? 32 : 2 * i);
	t->slot[i] = o;
	o->refs++;
	return SIM_FD_BASE + i;
}

static void
open_leave(struct open *o, int pid)
{
	if (o->ops == &sim_file_kind)
		sim_file_left(o->obj, pid);
	if (--o->refs > 0)
		return;
	o->ops->close(o->obj);
	free(o);
}

int
sim_fd_new(const struct sim_file_ops *ops, void *obj)
{
	struct open *o = calloc(1, sizeof(*o));

	ASSERT(o != NULL);
	o->ops = ops;
	o->obj = obj;
	return slot_take(o, 0);
}

const struct sim_file_ops *
sim_fd_ops(int fd, void **obj)
{
	struct open **s = slot_of(fd);

	if (s == NULL)
		return NULL;
	*obj = (*s)->obj;
	return (*s)->ops;
}

void *
sim_fd_obj(int fd, const struct sim_file_ops *ops)
{
	void *obj = NULL;

	return sim_fd_ops(fd, &obj) == ops ? obj : NULL;
}

int *
sim_fd_flags(int fd)
{
	struct open **s = slot_of(fd);

	return s != NULL ? &(*s)->flags : NULL;
}

int
sim_fd_close(int fd)
{
	struct open **s = slot_of(fd), *o;

	if (s == NULL)
		return -EBADF;
	o = *s;
	*s = NULL;
	open_leave(o, sim_pid());
	return 0;
}

int
sim_fd_dup(int fd, int least)
{
	struct open **s = slot_of(fd);

	return s != NULL ? slot_take(*s, least) : -EBADF;
}

int
sim_fd_dup_to(int fd, int to)
{
	struct open **s = slot_of(fd), *o;

	if (s == NULL || to < SIM_FD_BASE)
		return -EBADF;
	if (fd == to)
		return to;
	o = *s;
	(void)sim_fd_close(to);
	return slot_take(o, to);
}

void
sim_fd_close_range(unsigned first, unsigned last)
{
	struct table *t = table_of(sim_pid());
	int i;

	for (i = 0; i < t->room; i++)
		if ((unsigned)i + SIM_FD_BASE >= first &&
		    (unsigned)i + SIM_FD_BASE <= last)
			(void)sim_fd_close(i + SIM_FD_BASE);
}

short
sim_fd_poll(int fd)
{
	struct open **s = slot_of(fd);

	if (s == NULL)
		return POLLNVAL;
	if ((*s)->ops->poll == NULL)
		return POLLIN | POLLOUT;
	return (*s)->ops->poll((*s)->obj);
}

void
sim_fd_inherit(int parent, int child)
{
	struct table *from = table_of(parent), *to = table_of(child);
	int i;

	ASSERT(to->room == 0);
	if (from->room == 0)
		return;
	table_grow(to, from->room);
	for (i = 0; i < from->room; i++)
		if ((to->slot[i] = from->slot[i]) != NULL)
			to->slot[i]->refs++;
}

void
sim_fd_drop(int pid)
{
	struct table *t = table_of(pid), **at = &tables;
	int i;

	sim_lock_ended(pid);
	for (i = 0; i < t->room; i++)
		if (t->slot[i] != NULL)
			open_leave(t->slot[i], pid);
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	free(t->slot);
	free(t);
}

bool
sim_fd_nowait(void)
{
	return nowait_now;
}

ssize_t
sim_fd_read(int fd, void *buf, size_t n, bool nowait)
{
	struct open **s = slot_of(fd);

	if (s == NULL)
		return -EBADF;
	if ((*s)->ops->read == NULL)
		return -EINVAL;
	nowait_now = nowait || ((*s)->flags & O_NONBLOCK) != 0;
	return (*s)->ops->read((*s)->obj, buf, n);
}

ssize_t
sim_fd_write(int fd, const void *buf, size_t n)
{
	struct open **s = slot_of(fd);

	if (s == NULL)
		return -EBADF;
	if ((*s)->ops->write == NULL)
		return -EINVAL;
	return (*s)->ops->write((*s)->obj, buf, n);
}
