/*
 * What LMDB needs of a system: locks of files, maps, robust mutexes in maps,
 * and thread-specific values, each a simulated process' own.
 */
#include "t/sim/node/sim.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "t/sim/node/sim_int.h"

/* ---- locks of files ---- */

struct sim_lock {
	struct sim_lock *next;
	const void *owner; /* a process (sim_lock_pid()) or an open file */
	bool record; /* fcntl(2)'s; else flock(2)'s */
	short type; /* F_RDLCK, F_WRLCK */
	uint64_t from, to; /* [from, to) */
};

void *
sim_lock_pid(int pid)
{
	/* Odd: no open file's address. */
	return (void *)(((uintptr_t)pid << 1) | 1);
}

static const struct sim_lock *
lock_against(const struct sim_inode *i, const struct sim_lock *want)
{
	const struct sim_lock *l;

	for (l = i->locks; l != NULL; l = l->next)
		if (l->record == want->record && l->owner != want->owner &&
		    l->from < want->to && want->from < l->to &&
		    (l->type == F_WRLCK || want->type == F_WRLCK))
			return l;
	return NULL;
}

static void
lock_add(struct sim_inode *i, const struct sim_lock *like, uint64_t from,
    uint64_t to)
{
	struct sim_lock *l = malloc(sizeof(*l));

	ASSERT(l != NULL);
	*l = *like;
	l->from = from;
	l->to = to;
	l->next = i->locks;
	i->locks = l;
}

/* The owner has nothing in want's range any more: what sticks out stays. */
static void
lock_cut(struct sim_inode *i, const struct sim_lock *want)
{
	struct sim_lock **at = &i->locks, *l, *cut = NULL;

	while ((l = *at) != NULL) {
		if (l->record != want->record || l->owner != want->owner ||
		    l->from >= want->to || want->from >= l->to) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		l->next = cut;
		cut = l;
	}
	while ((l = cut) != NULL) {
		cut = l->next;
		if (l->from < want->from)
			lock_add(i, l, l->from, want->from);
		if (l->to > want->to)
			lock_add(i, l, want->to, l->to);
		free(l);
	}
}

static int
lock_set(struct sim_inode *i, const struct sim_lock *want, bool wait)
{
	while (want->type != F_UNLCK && lock_against(i, want) != NULL) {
		if (!wait)
			return -EAGAIN;
		sim_block(&i->locks);
	}
	lock_cut(i, want);
	if (want->type != F_UNLCK)
		lock_add(i, want, want->from, want->to);
	/* What was given back, or made less. */
	sim_wake(&i->locks);
	return 0;
}

static void
lock_tell(const struct sim_lock *l, struct flock *out)
{
	uintptr_t owner;

	if (l == NULL) {
		out->l_type = F_UNLCK;
		return;
	}
	owner = (uintptr_t)l->owner;
	out->l_type = l->type;
	out->l_whence = SEEK_SET;
	out->l_start = (off_t)l->from;
	out->l_len = l->to == UINT64_MAX ? 0 : (off_t)(l->to - l->from);
	out->l_pid = (owner & 1) != 0 ? (pid_t)(owner >> 1) : -1;
}

int
sim_lock_record(
    struct sim_inode *i, void *owner, int cmd, struct flock *lock, uint64_t at)
{
	off_t from = lock->l_start, len = lock->l_len;
	struct sim_lock want = {
		.owner = owner, .record = true, .type = lock->l_type
	};

	if (lock->l_whence == SEEK_CUR)
		from += (off_t)at;
	else if (lock->l_whence == SEEK_END)
		from += (off_t)i->size;
	if (len < 0) {
		from += len;
		len = -len;
	}
	if (from < 0)
		return -EINVAL;
	want.from = (uint64_t)from;
	want.to = len == 0 ? UINT64_MAX : (uint64_t)from + (uint64_t)len;
	if (cmd == F_GETLK || cmd == F_OFD_GETLK) {
		lock_tell(lock_against(i, &want), lock);
		return 0;
	}
	return lock_set(i, &want, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
}

int
sim_lock_whole(struct sim_inode *i, void *owner, int how)
{
	int kind = how & ~LOCK_NB;
	struct sim_lock want = { .owner = owner,
		.type = kind == LOCK_UN   ? F_UNLCK
			: kind == LOCK_SH ? F_RDLCK
					  : F_WRLCK,
		.to = UINT64_MAX };

	return lock_set(i, &want, (how & LOCK_NB) == 0);
}

/* All of an owner's, or all. */
void
sim_lock_drop(struct sim_inode *i, const void *owner)
{
	struct sim_lock **at = &i->locks, *l;
	bool any = false;

	while ((l = *at) != NULL) {
		if (owner != NULL && l->owner != owner) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		free(l);
		any = true;
	}
	if (any)
		sim_wake(&i->locks);
}

/* ---- maps ---- */

struct map {
	struct map *next;
	int pid;
	struct sim_inode *inode;
	uint8_t *at;
	size_t n;
	uint64_t from; /* of the file */
};

static struct map *maps;

/*
 * The very pages of the cache, so what is written is seen at once, and what
 * lies behind the file's end is SIGBUS.
 */
void *
sim_map_add(
    struct sim_file_ref *f, void *at, size_t n, int prot, int flags, off_t from)
{
	struct map *m = calloc(1, sizeof(*m));
	long rc;

	ASSERT(m != NULL);
	rc = sim_kernel(SYS_mmap, (long)(uintptr_t)at, (long)n, prot, flags,
	    f->inode->memfd, from);
	if (rc < 0 && rc > -4096) {
		free(m);
		return (void *)rc;
	}
	/* Where it writes nobody knows. */
	if ((flags & MAP_SHARED) != 0 && (prot & PROT_WRITE) != 0) {
		f->inode->high = SIM_FILE_MAX;
		f->inode->scribbled = true;
	}
	m->pid = sim_pid();
	m->inode = f->inode;
	m->inode->refs++;
	m->at = (uint8_t *)rc;
	m->n = n;
	m->from = (uint64_t)from;
	m->next = maps;
	maps = m;
	return (void *)rc;
}

static void
map_end(struct map **at)
{
	struct map *m = *at;

	*at = m->next;
	sim_inode_release(m->inode);
	free(m);
}

void
sim_map_remove(void *at, size_t n)
{
	uint8_t *from = at;
	struct map **m = &maps;

	while (*m != NULL)
		if ((*m)->at >= from && (*m)->at + (*m)->n <= from + n + 4095)
			map_end(m);
		else
			m = &(*m)->next;
}

/* The place of the cache that is mapped there; NULL: no file's. */
static uint8_t *
map_place(const void *p, struct sim_inode **inode)
{
	const uint8_t *at = p;
	const struct map *m;

	for (m = maps; m != NULL; m = m->next)
		if (at >= m->at && at < m->at + m->n) {
			*inode = m->inode;
			return m->inode->mem + m->from + (at - m->at);
		}
	return NULL;
}

/* ---- mutexes in maps ---- */

enum mutex_state { MUTEX_GOOD, MUTEX_OWNER_DEAD, MUTEX_LOST };

/* In place of a pthread_mutex_t. */
struct mutex {
	uint32_t state;
};

/* Who has one. */
struct held {
	struct held *next;
	int pid;
	struct mutex *mutex; /* in the cache, whose address all share */
};

static struct held *helds;

static struct mutex *
mutex_of(const void *m)
{
	struct sim_inode *inode;

	return maps == NULL ? NULL
			    : (struct mutex *)(void *)map_place(m, &inode);
}

static struct held **
held_find(const struct mutex *m)
{
	struct held **h = &helds;

	while (*h != NULL && (*h)->mutex != m)
		h = &(*h)->next;
	return h;
}

static int
mutex_lock(struct mutex *m, bool wait)
{
	struct held *h;

	sim_point("mutex");
	while (*held_find(m) != NULL && m->state != MUTEX_LOST) {
		if (!wait)
			return EBUSY;
		if ((*held_find(m))->pid == sim_pid())
			return EDEADLK;
		sim_block(m);
	}
	if (m->state == MUTEX_LOST)
		return ENOTRECOVERABLE;
	h = malloc(sizeof(*h));
	ASSERT(h != NULL);
	h->pid = sim_pid();
	h->mutex = m;
	h->next = helds;
	helds = h;
	return m->state == MUTEX_OWNER_DEAD ? EOWNERDEAD : 0;
}

static int
mutex_unlock(struct mutex *m)
{
	struct held **at = held_find(m), *h = *at;

	if (h == NULL || h->pid != sim_pid())
		return EPERM;
	*at = h->next;
	free(h);
	/* Who got it from a dead one has not said that all is well. */
	if (m->state == MUTEX_OWNER_DEAD)
		m->state = MUTEX_LOST;
	sim_wake(m);
	return 0;
}

static void
mutexes_ended(int pid)
{
	struct held **at = &helds, *h;

	while ((h = *at) != NULL) {
		if (h->pid != pid) {
			at = &h->next;
			continue;
		}
		*at = h->next;
		h->mutex->state = MUTEX_OWNER_DEAD;
		sim_wake(h->mutex);
		free(h);
	}
}

/* libc's function of that name, for all others. */
static int (*real_of(const char *name))(void *)
{
	int (*fn)(void *);
	void *at = dlsym(RTLD_NEXT, name);

	ASSERT(at != NULL);
	memcpy(&fn, &at, sizeof(fn));
	return fn;
}

#define REAL(name, arg)                                                        \
	({                                                                     \
		static int (*real)(void *);                                    \
		if (real == NULL)                                              \
			real = real_of(#name);                                 \
		real(arg);                                                     \
	})

int
pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr)
{
	static int (*real)(void *, const void *);
	struct mutex *is = mutex_of(m);
	void *at;

	if (is != NULL) {
		is->state = MUTEX_GOOD;
		return 0;
	}
	if (real == NULL) {
		at = dlsym(RTLD_NEXT, "pthread_mutex_init");
		memcpy(&real, &at, sizeof(real));
	}
	return real(m, attr);
}

int
pthread_mutex_destroy(pthread_mutex_t *m)
{
	return mutex_of(m) != NULL ? 0 : REAL(pthread_mutex_destroy, m);
}

int
pthread_mutex_lock(pthread_mutex_t *m)
{
	struct mutex *is = mutex_of(m);

	return is != NULL ? mutex_lock(is, true) : REAL(pthread_mutex_lock, m);
}

int
pthread_mutex_trylock(pthread_mutex_t *m)
{
	struct mutex *is = mutex_of(m);

	return is != NULL ? mutex_lock(is, false)
			  : REAL(pthread_mutex_trylock, m);
}

int
pthread_mutex_unlock(pthread_mutex_t *m)
{
	struct mutex *is = mutex_of(m);

	return is != NULL ? mutex_unlock(is) : REAL(pthread_mutex_unlock, m);
}

int
pthread_mutex_consistent(pthread_mutex_t *m)
{
	struct mutex *is = mutex_of(m);

	if (is == NULL)
		return REAL(pthread_mutex_consistent, m);
	if (is->state != MUTEX_OWNER_DEAD)
		return EINVAL;
	is->state = MUTEX_GOOD;
	return 0;
}

/* ---- thread-specific values: a process has one thread ---- */

#define KEY_BASE 0x10000u /* libc's are below */

struct value {
	struct value *next;
	int pid; /* 0: the key itself, of any */
	pthread_key_t key;
	const void *value;
};

static struct value *values;
static pthread_key_t keys;

static struct value *
value_find(int pid, pthread_key_t key)
{
	struct value *v = values;

	while (v != NULL && (v->pid != pid || v->key != key))
		v = v->next;
	return v;
}

static void
values_free(int pid, pthread_key_t key)
{
	struct value **at = &values, *v;

	while ((v = *at) != NULL) {
		if (pid != 0 ? v->pid != pid : v->key != key) {
			at = &v->next;
			continue;
		}
		*at = v->next;
		free(v);
	}
}

int
pthread_key_create(pthread_key_t *key, void (*end)(void *))
{
	static int (*real)(pthread_key_t *, void (*)(void *));
	void *at;

	/* A process that ends does not run destructors, a thread would. */
	if (sim_self() != NULL) {
		*key = KEY_BASE + keys++;
		return 0;
	}
	if (real == NULL) {
		at = dlsym(RTLD_NEXT, "pthread_key_create");
		memcpy(&real, &at, sizeof(real));
	}
	return real(key, end);
}

int
pthread_key_delete(pthread_key_t key)
{
	static int (*real)(pthread_key_t);
	void *at;

	if (key >= KEY_BASE) {
		values_free(0, key);
		return 0;
	}
	if (real == NULL) {
		at = dlsym(RTLD_NEXT, "pthread_key_delete");
		memcpy(&real, &at, sizeof(real));
	}
	return real(key);
}

void *
pthread_getspecific(pthread_key_t key)
{
	static void *(*real)(pthread_key_t);
	const struct value *v;
	void *at;

	if (key >= KEY_BASE) {
		v = value_find(sim_pid(), key);
		return v != NULL ? (void *)(uintptr_t)v->value : NULL;
	}
	if (real == NULL) {
		at = dlsym(RTLD_NEXT, "pthread_getspecific");
		memcpy(&real, &at, sizeof(real));
	}
	return real(key);
}

int
pthread_setspecific(pthread_key_t key, const void *value)
{
	static int (*real)(pthread_key_t, const void *);
	struct value *v;
	void *at;

	if (key >= KEY_BASE) {
		v = value_find(sim_pid(), key);
		if (v == NULL) {
			v = calloc(1, sizeof(*v));
			ASSERT(v != NULL);
			v->pid = sim_pid();
			v->key = key;
			v->next = values;
			values = v;
		}
		v->value = value;
		return 0;
	}
	if (real == NULL) {
		at = dlsym(RTLD_NEXT, "pthread_setspecific");
		memcpy(&real, &at, sizeof(real));
	}
	return real(key, value);
}

void
sim_lock_ended(int pid)
{
	struct map **m = &maps;

	mutexes_ended(pid);
	values_free(pid, 0);
	while (*m != NULL) {
		if ((*m)->pid != pid) {
			m = &(*m)->next;
			continue;
		}
		sim_kernel(
		    SYS_munmap, (long)(*m)->at, (long)(*m)->n, 0, 0, 0, 0);
		map_end(m);
	}
}
