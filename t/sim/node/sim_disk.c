/*
 * The content of files: a page cache, which is a memfd that all map, and what
 * the platter may have instead of it. A write keeps what each of its blocks
 * was before; a flush forgets that, for then the platter has what the cache
 * has; a power loss puts back any of it.
 *
 * A flush that fails leaves the cache as it is and the blocks clean: no later
 * flush covers them, unless they are written again.
 */
#include "t/sim/node/sim.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "t/sim/node/sim_int.h"

#define VERSIONS_MAX                                                           \
	6 /* of a block; then the cache was written back between               \
	   */

/* ---- blocks that no flush covered ---- */

static struct sim_block **
block_at(const struct sim_inode *i, uint64_t number)
{
	struct sim_block **at = &i->bucket[number % i->buckets];

	while (*at != NULL && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static void
blocks_grow(struct sim_inode *i)
{
	struct sim_block **old = i->bucket, *b, *next, **at;
	uint64_t n = i->buckets, k;

	i->buckets = n == 0 ? 64 : 4 * n;
	i->bucket = calloc(i->buckets, sizeof(struct sim_block *));
	ASSERT(i->bucket != NULL);
	for (k = 0; k < n; k++)
		for (b = old[k]; b != NULL; b = next) {
			next = b->next;
			at = block_at(i, b->number);
			b->next = NULL;
			*at = b;
		}
	free(old);
}

static bool
is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static void
versions_free(struct sim_version *v)
{
	struct sim_version *older;

	for (; v != NULL; v = older) {
		older = v->older;
		free(v);
	}
}

/* Too many: the platter's, which is the last, and the newest stay. */
static void
versions_bound(struct sim_block *b)
{
	struct sim_version *v = b->was, *drop;
	unsigned n;

	for (n = 1; n < VERSIONS_MAX && v != NULL; n++)
		v = v->older;
	if (v == NULL || (drop = v->older) == NULL || drop->older == NULL)
		return;
	v->older = drop->older;
	free(drop);
}

/* It is about to change: keep what it is. */
static void
block_save(struct sim_inode *i, uint64_t number)
{
	const uint8_t *is = i->mem + number * SIM_BLOCK;
	bool zero = is_zero(is, SIM_BLOCK);
	struct sim_version *v;
	struct sim_block **at;

	if (i->blocks >= 2 * i->buckets)
		blocks_grow(i);
	at = block_at(i, number);
	if (*at == NULL) {
		*at = calloc(1, sizeof(**at));
		ASSERT(*at != NULL);
		(*at)->number = number;
		i->blocks++;
	}
	v = malloc(sizeof(*v) + (zero ? 0 : SIM_BLOCK));
	ASSERT(v != NULL);
	v->zero = zero;
	if (!zero)
		memcpy(v->data, is, SIM_BLOCK);
	v->older = (*at)->was;
	(*at)->was = v;
	(*at)->dirty = true;
	versions_bound(*at);
}

/* The platter has what the cache has. */
static void
block_forget(struct sim_inode *i, struct sim_block **at)
{
	struct sim_block *b = *at;

	*at = b->next;
	versions_free(b->was);
	free(b);
	i->blocks--;
}

static void
blocks_forget(struct sim_inode *i)
{
	uint64_t k;

	for (k = 0; k < i->buckets; k++)
		while (i->bucket[k] != NULL)
			block_forget(i, &i->bucket[k]);
}

/* Part of a block gets new content, zeros if from is NULL. */
static void
block_put(struct sim_inode *i, uint64_t at, const uint8_t *from, size_t n)
{
	uint64_t number = at / SIM_BLOCK;
	uint8_t *to = i->mem + at;
	struct sim_block *b;

	if (from != NULL ? memcmp(to, from, n) == 0 : is_zero(to, n)) {
		/* Written all the same: the next flush covers it. */
		b = i->buckets != 0 ? *block_at(i, number) : NULL;
		if (b != NULL)
			b->dirty = true;
		return;
	}
	block_save(i, number);
	if (from != NULL)
		memcpy(to, from, n);
	else
		memset(to, 0, n);
}

static void
put(struct sim_inode *i, uint64_t at, const uint8_t *from, size_t n)
{
	size_t part;

	for (; n > 0; n -= part) {
		part = SIM_BLOCK - at % SIM_BLOCK;
		part = part < n ? part : n;
		block_put(i, at, from, part);
		at += part;
		from = from != NULL ? from + part : NULL;
	}
}

/* ---- pages and the room ---- */

static void
pages_reach(struct sim_inode *i, uint64_t page)
{
	uint64_t room = i->page_room == 0 ? 64 : i->page_room;

	while (room <= page)
		room *= 2;
	if (room == i->page_room)
		return;
	i->page = realloc(i->page, room);
	ASSERT(i->page != NULL);
	memset(i->page + i->page_room, 0, room - i->page_room);
	i->page_room = room;
}

/* Allocate [from, to) as far as the room goes: up to where. */
static uint64_t
pages_take(struct sim_inode *i, uint64_t from, uint64_t to)
{
	uint64_t *room = &i->disk->faults.room;
	uint64_t p;

	if (from >= to)
		return to;
	pages_reach(i, (to - 1) / SIM_PAGE);
	for (p = from / SIM_PAGE; p * SIM_PAGE < to; p++) {
		if (i->page[p])
			continue;
		if (*room < SIM_PAGE)
			return p * SIM_PAGE > from ? p * SIM_PAGE : from;
		*room -= SIM_PAGE;
		i->page[p] = true;
		i->pages++;
	}
	return to;
}

/* Give back the pages that lie wholly in [from, to). */
static void
pages_give(struct sim_inode *i, uint64_t from, uint64_t to)
{
	uint64_t p;

	for (p = align_up(from, SIM_PAGE) / SIM_PAGE;
	     (p + 1) * SIM_PAGE <= to && p < i->page_room; p++) {
		if (!i->page[p])
			continue;
		i->page[p] = false;
		i->pages--;
		if (i->counted)
			i->disk->faults.room += SIM_PAGE;
	}
}

void
sim_content_count(struct sim_inode *i, bool counted)
{
	uint64_t *room = &i->disk->faults.room, n = i->pages * SIM_PAGE;

	if (i->counted == counted)
		return;
	i->counted = counted;
	if (!counted)
		*room += n;
	else
		*room -= n < *room ? n : *room;
}

/* ---- a file ---- */

int
sim_content_open(struct sim_inode *i)
{
	long fd = sim_kernel(
	    SYS_memfd_create, (long)(uintptr_t) "sim", MFD_CLOEXEC, 0, 0, 0, 0);
	long at;

	if (fd < 0)
		return (int)fd;
	at = sim_kernel(SYS_mmap, 0, (long)SIM_FILE_MAX, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at < 0 && at > -4096) {
		sim_kernel(SYS_close, fd, 0, 0, 0, 0, 0);
		return (int)at;
	}
	i->memfd = (int)fd;
	i->mem = (uint8_t *)at;
	i->counted = true;
	blocks_grow(i);
	return 0;
}

void
sim_content_free(struct sim_inode *i)
{
	sim_content_count(i, false);
	blocks_forget(i);
	sim_kernel(SYS_munmap, (long)i->mem, (long)SIM_FILE_MAX, 0, 0, 0, 0);
	sim_kernel(SYS_close, i->memfd, 0, 0, 0, 0, 0);
	free(i->bucket);
	free(i->page);
}

static void
cache_resize(struct sim_inode *i, uint64_t size)
{
	long rc = sim_kernel(SYS_ftruncate, i->memfd, (long)size, 0, 0, 0, 0);

	ASSERT(rc == 0);
}

static void
size_set(struct sim_inode *i, uint64_t size)
{
	cache_resize(i, size);
	i->size = size;
}

ssize_t
sim_content_read(const struct sim_inode *i, void *buf, size_t n, uint64_t at)
{
	if (sim_faulty(i, i->disk->faults.fail_read))
		return -EIO;
	if (at >= i->size)
		return 0;
	if (n > i->size - at)
		n = i->size - at;
	/* Without a look at the hole, which would fill it. */
	if (at >= i->high)
		memset(buf, 0, n);
	else
		memcpy(buf, i->mem + at, n);
	return (ssize_t)n;
}

/* Some blocks of what is said to have failed are there all the same. */
static void
write_fails(struct sim_inode *i, const uint8_t *from, size_t n, uint64_t at)
{
	size_t part;

	if (at >= i->size)
		return;
	for (n = n < i->size - at ? n : i->size - at; n > 0; n -= part) {
		part = SIM_BLOCK - at % SIM_BLOCK;
		part = part < n ? part : n;
		if (sim_chance(2)) {
			put(i, at, from, part);
			i->high = i->high > at + part ? i->high : at + part;
		}
		at += part;
		from += part;
	}
}

ssize_t
sim_content_write(struct sim_inode *i, const void *buf, size_t n, uint64_t at)
{
	const struct sim_disk_faults *f = &i->disk->faults;

	if (n == 0)
		return 0;
	if (at >= SIM_FILE_MAX || n > SIM_FILE_MAX - at)
		return -EFBIG;
	if (sim_faulty(i, f->fail_write)) {
		write_fails(i, buf, n, at);
		return -EIO;
	}
	if (n > SIM_BLOCK && sim_faulty(i, f->short_write))
		n = SIM_BLOCK * (1 + sim_rand_below((n - 1) / SIM_BLOCK));
	n = pages_take(i, at, at + n) - at;
	if (n == 0)
		return -ENOSPC;
	if (at + n > i->size)
		size_set(i, at + n);
	i->changed_ns = sim_now_ns();
	/* Most of the log's files are made so. */
	if (i->blocks == 0 && at >= i->high && is_zero(buf, n))
		return (ssize_t)n;
	put(i, at, buf, n);
	i->high = i->high > at + n ? i->high : at + n;
	return (ssize_t)n;
}

static void
flush(struct sim_inode *i, uint64_t from, uint64_t to, bool fails)
{
	struct sim_block **at;
	uint64_t k;

	for (k = 0; k < i->buckets; k++)
		for (at = &i->bucket[k]; *at != NULL;) {
			if (!(*at)->dirty || (*at)->number < from / SIM_BLOCK ||
			    (*at)->number * SIM_BLOCK >= to)
				at = &(*at)->next;
			else if (!fails || sim_chance(2))
				block_forget(i, at);
			else
				(*at)->dirty = false;
		}
}

int
sim_content_flush(struct sim_inode *i, uint64_t from, uint64_t to)
{
	const struct sim_disk_faults *f = &i->disk->faults;
	bool fails = sim_faulty(i, f->fail_flush);
	struct sim_block **at;
	uint64_t b;

	if (sim_chance(f->lying_flush))
		return 0;
	if (fails || to - from > 64 * (uint64_t)SIM_BLOCK) {
		flush(i, from, to, fails);
	} else {
		for (b = from / SIM_BLOCK; b * SIM_BLOCK < to; b++)
			if (*(at = block_at(i, b)) != NULL)
				block_forget(i, at);
	}
	if (fails)
		return -EIO;
	i->scribbled &= from != 0 || to != UINT64_MAX;
	i->durable_size = i->size;
	return 0;
}

/* As a change of content, which a power loss may take back. */
static void
clear(struct sim_inode *i, uint64_t from, uint64_t to)
{
	to = to < i->high ? to : i->high;
	if (from < to)
		put(i, from, NULL, to - from);
}

int
sim_content_truncate(struct sim_inode *i, uint64_t size)
{
	if (size > SIM_FILE_MAX)
		return -EFBIG;
	if (size < i->size) {
		clear(i, size, i->size);
		pages_give(i, size, UINT64_MAX - SIM_PAGE);
		if (!i->scribbled)
			i->high = i->high < size ? i->high : size;
	}
	size_set(i, size);
	i->changed_ns = sim_now_ns();
	return 0;
}

static void
punch(struct sim_inode *i, uint64_t at, uint64_t n)
{
	uint64_t end = n < i->size - at ? at + n : i->size;

	clear(i, at, end);
	pages_give(i, at, at + n);
	sim_kernel(SYS_fallocate, i->memfd,
	    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (long)at,
	    (long)(end - at), 0, 0);
}

int
sim_content_fallocate(struct sim_inode *i, int mode, uint64_t at, uint64_t n)
{
	if (n == 0 || at > SIM_FILE_MAX || n > SIM_FILE_MAX - at)
		return n == 0 ? -EINVAL : -EFBIG;
	if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
		if (at < i->size)
			punch(i, at, n);
		return 0;
	}
	if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0)
		return -EOPNOTSUPP;
	/* What there is of it stays, as of ext4. */
	if (pages_take(i, at, at + n) != at + n)
		return -ENOSPC;
	if (mode == 0 && at + n > i->size)
		size_set(i, at + n);
	return 0;
}

/* ---- power loss ---- */

/*
 * One of the block's versions, or what the cache has. A power loss may be in
 * front of all that is not durable, or behind it, or anywhere.
 */
static void
block_lose(struct sim_inode *i, struct sim_block *b, unsigned mood)
{
	const struct sim_version *v, *pick = NULL;

	if (mood == 0)
		return;
	for (v = b->was; v != NULL; v = v->older)
		if (mood == 1 || sim_chance(2))
			pick = v;
		else if (pick == NULL && sim_chance(2))
			break;
	if (pick == NULL)
		return;
	if (pick->zero)
		memset(i->mem + b->number * SIM_BLOCK, 0, SIM_BLOCK);
	else
		memcpy(i->mem + b->number * SIM_BLOCK, pick->data, SIM_BLOCK);
	if (!pick->zero && i->high < (b->number + 1) * SIM_BLOCK)
		i->high = (b->number + 1) * SIM_BLOCK;
}

/* What a map wrote was written back, or never was. */
static void
map_lose(struct sim_inode *i, unsigned mood)
{
	uint64_t at;

	for (at = 0; i->scribbled && mood != 0 && at < i->size; at += SIM_BLOCK)
		if (mood == 1 || sim_chance(2))
			memset(i->mem + at, 0, SIM_BLOCK);
	i->scribbled = false;
}

static uint64_t
size_lose(const struct sim_inode *i, unsigned mood)
{
	uint64_t lo = i->size, hi = i->durable_size;

	if (mood == 0 || lo == hi)
		return i->size;
	if (mood == 1)
		return i->durable_size;
	if (lo > hi) {
		lo = i->durable_size;
		hi = i->size;
	}
	switch (sim_rand_below(3)) {
	case 0:
		return lo;
	case 1:
		return hi;
	default:
		return lo + sim_rand_below(hi - lo);
	}
}

/* What came back has pages. */
static void
pages_back(struct sim_inode *i)
{
	uint64_t *room = &i->disk->faults.room, p, n;

	if (i->high > 0)
		pages_reach(i, (i->high - 1) / SIM_PAGE);
	for (p = 0; p * SIM_PAGE < i->high; p++) {
		n = i->high - p * SIM_PAGE;
		n = n < SIM_PAGE ? n : SIM_PAGE;
		if (i->page[p] || is_zero(i->mem + p * SIM_PAGE, n))
			continue;
		i->page[p] = true;
		i->pages++;
		if (i->counted && *room >= SIM_PAGE)
			*room -= SIM_PAGE;
	}
}

void
sim_content_power_loss(struct sim_inode *i)
{
	unsigned mood = (unsigned)sim_rand_below(4);
	uint64_t size = size_lose(i, mood), k;
	struct sim_block *b;

	cache_resize(
	    i, align_up(i->size > i->durable_size ? i->size : i->durable_size,
		   SIM_PAGE));
	map_lose(i, mood);
	for (k = 0; k < i->buckets; k++)
		for (b = i->bucket[k]; b != NULL; b = b->next)
			block_lose(i, b, mood);
	blocks_forget(i);
	size_set(i, size);
	i->durable_size = size;
	i->high = i->high < size ? i->high : size;
	i->writes = 0;
	pages_give(i, size, UINT64_MAX - SIM_PAGE);
	pages_back(i);
}
