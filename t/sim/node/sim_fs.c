/*
 * Names: directories, paths, and which of their changes a power loss leaves.
 *
 * A change waits until its directory is flushed. They are kept in order: what
 * a directory's flush covers, or a power loss leaves, is all that came before
 * in it; and a rename between two directories is in both or in neither.
 */
#include "t/sim/node/sim.h"

#include <sys/sysmacros.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "t/sim/node/sim_int.h"

#define CHANGES_MAX 256 /* not flushed; then the journal is written anyway */
#define LINKS_MAX   8
#define MAJOR       0xfffu /* of no real device */

static struct sim_disk *disks;
/* What lies above the disks: / and /sim. */
static struct sim_disk above = { .name = "" };
static unsigned disk_numbers;

/* ---- inodes ---- */

struct sim_inode *
sim_inode_new(struct sim_disk *d, mode_t mode)
{
	struct sim_inode *i = calloc(1, sizeof(*i));

	ASSERT(i != NULL);
	i->disk = d;
	i->number = ++d->next_number;
	i->mode = mode;
	i->changed_ns = sim_now_ns();
	i->memfd = -1;
	if (S_ISREG(mode) && sim_content_open(i) != 0) {
		free(i);
		return NULL;
	}
	i->next = d->inodes;
	d->inodes = i;
	return i;
}

static void
inode_free(struct sim_inode *i)
{
	struct sim_entry *e, *next;

	if (S_ISREG(i->mode))
		sim_content_free(i);
	for (e = i->entries; e != NULL; e = next) {
		next = e->next;
		free(e);
	}
	sim_lock_drop(i, NULL);
	free(i->target);
	free(i);
}

static void
keep(struct sim_inode *i)
{
	struct sim_entry *e;

	if (i == NULL || i->kept)
		return;
	i->kept = true;
	for (e = i->entries; e != NULL; e = e->next) {
		keep(e->now);
		keep(e->durable);
	}
	if (i->parent != NULL && i->parent->disk == i->disk)
		keep(i->parent);
}

/* Names that are nowhere. A change that waits may have one of them. */
static void
entries_sweep(struct sim_disk *d)
{
	struct sim_entry **at, *e;
	struct sim_inode *i;

	if (d->changes != NULL)
		return;
	for (i = d->inodes; i != NULL; i = i->next)
		for (at = &i->entries; (e = *at) != NULL;) {
			if (e->now != NULL || e->durable != NULL) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			free(e);
		}
}

/* Away with what nothing leads to: no name, also on the platter, no user. */
static void
disk_sweep(struct sim_disk *d)
{
	struct sim_inode *i, **at;
	struct sim_change *c;
	unsigned k;

	entries_sweep(d);
	for (i = d->inodes; i != NULL; i = i->next)
		i->kept = false;
	keep(d->root);
	for (c = d->changes; c != NULL; c = c->older)
		for (k = 0; k < c->sets; k++) {
			keep(c->set[k].dir);
			keep(c->set[k].to);
		}
	for (i = d->inodes; i != NULL; i = i->next)
		if (i->refs > 0)
			keep(i);
	for (at = &d->inodes; (i = *at) != NULL;) {
		if (i->kept) {
			at = &i->next;
			continue;
		}
		*at = i->next;
		inode_free(i);
	}
}

/* Its last name, or its last user, may have gone. */
static void
inode_look(struct sim_inode *i)
{
	if (i->links > 0 || i->refs > 0)
		return;
	if (S_ISREG(i->mode))
		sim_content_count(i, false);
	disk_sweep(i->disk);
}

void
sim_inode_release(struct sim_inode *i)
{
	ASSERT(i->refs > 0);
	i->refs--;
	inode_look(i);
}

/* ---- changes of names ---- */

/* Its durable names are those that it has after all changes with kept. */
static void
changes_apply(struct sim_change *newest)
{
	unsigned k;

	if (newest == NULL)
		return;
	changes_apply(newest->older);
	for (k = 0; newest->kept && k < newest->sets; k++)
		newest->set[k].entry->durable = newest->set[k].to;
}

static void
changes_drop(struct sim_disk *d, bool all)
{
	struct sim_change **at = &d->changes, *c;

	while ((c = *at) != NULL) {
		if (!all && !c->kept) {
			at = &c->older;
			continue;
		}
		*at = c->older;
		d->change_count--;
		free(c);
	}
}

/* From the newest back: once one is kept, all before it in its directories. */
static void
changes_choose(struct sim_disk *d)
{
	struct sim_change *c;
	unsigned k;

	for (c = d->changes; c != NULL; c = c->older) {
		c->kept = false;
		for (k = 0; k < c->sets; k++) {
			struct sim_inode *dir = c->set[k].dir;

			if (dir->pending > 0)
				dir->pending--;
			else
				dir->open = true;
			c->kept |= dir->open;
		}
		for (k = 0; c->kept && k < c->sets; k++)
			c->set[k].dir->open = true;
	}
	changes_apply(d->changes);
}

int
sim_dir_sync(struct sim_inode *dir)
{
	struct sim_disk *d = dir->disk;
	struct sim_inode *i;

	if (sim_chance(d->faults.lying_flush))
		return 0;
	if (sim_faulty(dir, d->faults.fail_flush))
		return -EIO;
	for (i = d->inodes; i != NULL; i = i->next) {
		i->open = i == dir;
		i->pending = UINT64_MAX;
	}
	changes_choose(d);
	changes_drop(d, false);
	disk_sweep(d);
	return 0;
}

static void
changes_lose(struct sim_disk *d)
{
	struct sim_inode *i;
	struct sim_change *c;
	unsigned k;

	for (i = d->inodes; i != NULL; i = i->next) {
		i->open = false;
		i->pending = 0;
	}
	for (c = d->changes; c != NULL; c = c->older)
		for (k = 0; k < c->sets; k++)
			c->set[k].dir->pending++;
	for (i = d->inodes; i != NULL; i = i->next)
		i->pending = sim_rand_below(i->pending + 1);
	changes_choose(d);
	changes_drop(d, true);
}

static struct sim_change *
change_new(struct sim_disk *d)
{
	struct sim_change *c = calloc(1, sizeof(*c)), *old;

	ASSERT(c != NULL);
	if (d->change_count >= CHANGES_MAX) {
		for (old = d->changes; old != NULL; old = old->older)
			old->kept = true;
		changes_apply(d->changes);
		changes_drop(d, true);
	}
	c->older = d->changes;
	d->changes = c;
	d->change_count++;
	return c;
}

static struct sim_entry *
entry_of(const struct sim_inode *dir, const char *name)
{
	struct sim_entry *e = dir->entries;

	while (e != NULL && strcmp(e->name, name) != 0)
		e = e->next;
	return e;
}

static void
change_set(struct sim_change *c, struct sim_inode *dir, const char *name,
    struct sim_inode *to)
{
	struct sim_entry *e = entry_of(dir, name);

	if (e == NULL) {
		e = calloc(1, sizeof(*e) + strlen(name) + 1);
		ASSERT(e != NULL);
		memcpy(e->name, name, strlen(name) + 1);
		e->next = dir->entries;
		dir->entries = e;
	}
	c->set[c->sets].dir = dir;
	c->set[c->sets].entry = e;
	c->set[c->sets].to = to;
	c->sets++;
	if (e->now != NULL)
		e->now->links--;
	if (to != NULL)
		to->links++;
	e->now = to;
	dir->changed_ns = sim_now_ns();
}

struct sim_entry *
sim_entry_nth(const struct sim_inode *dir, uint64_t n)
{
	struct sim_entry *e;

	for (e = dir->entries; e != NULL; e = e->next)
		if (e->now != NULL && n-- == 0)
			break;
	return e;
}

/* ---- paths ---- */

static struct sim_inode *
dir_add(struct sim_inode *parent, const char *name, struct sim_disk *d)
{
	struct sim_inode *i = sim_inode_new(d, S_IFDIR | 0755);
	struct sim_change c = { .sets = 0 };

	i->parent = parent != NULL ? parent : i;
	if (parent != NULL)
		change_set(&c, parent, name, i);
	return i;
}

/* The root of all, which is never freed. */
static struct sim_inode *
root(void)
{
	if (above.root == NULL) {
		above.dev = makedev(MAJOR, 0);
		above.root = dir_add(NULL, "", &above);
		(void)dir_add(above.root, "sim", &above);
	}
	return above.root;
}

/* Of /, too, since many a walk begins there. */
SIM_EARLY bool
sim_path_is(int dir, const char *path)
{
	if (path[0] != '/')
		return dir >= SIM_FD_BASE;
	if (path[1] != '\0' &&
	    (path[1] != 's' || path[2] != 'i' || path[3] != 'm' ||
		(path[4] != '/' && path[4] != '\0')))
		return false;
	return sim_self() != NULL;
}

/* Take the next part off a path: its length, 0 at the end. */
static size_t
path_part(const char **path, const char **part)
{
	size_t n;

	*path += strspn(*path, "/");
	*part = *path;
	n = strcspn(*path, "/");
	*path += n;
	*path += strspn(*path, "/");
	return n;
}

static int
path_step(struct sim_place *p, const char *part, size_t n)
{
	const struct sim_entry *e;

	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	if (!S_ISDIR(p->inode->mode))
		return -ENOTDIR;
	p->dir = p->inode;
	p->name[0] = '\0';
	if (n == 1 && part[0] == '.')
		return 0;
	if (n == 2 && part[0] == '.' && part[1] == '.') {
		p->inode = p->dir->parent;
		return 0;
	}
	memcpy(p->name, part, n);
	p->name[n] = '\0';
	e = entry_of(p->dir, p->name);
	p->inode = e != NULL ? e->now : NULL;
	return 0;
}

static int
walk(struct sim_place *p, const char *path, bool follow, unsigned links);

/* A link was met: on from its directory, or from the root. */
static int
walk_link(struct sim_place *p, bool follow, unsigned links)
{
	const struct sim_inode *link = p->inode;

	if (links >= LINKS_MAX)
		return -ELOOP;
	p->inode = link->target[0] == '/' ? root() : p->dir;
	return walk(p, link->target, follow, links + 1);
}

/* From the directory p->inode. What is missing at the end is no error. */
static int
walk(struct sim_place *p, const char *path, bool follow, unsigned links)
{
	const char *part;
	size_t n;
	int rc;

	while ((n = path_part(&path, &part)) > 0) {
		if (p->inode == NULL)
			return -ENOENT;
		if ((rc = path_step(p, part, n)) != 0)
			return rc;
		if (p->inode == NULL || !S_ISLNK(p->inode->mode) ||
		    (*path == '\0' && !follow))
			continue;
		if ((rc = walk_link(p, *path != '\0' || follow, links)) != 0)
			return rc;
	}
	return 0;
}

int
sim_path_find(int dir, const char *path, bool follow, struct sim_place *out)
{
	struct sim_file_ref *f;

	if (path[0] == '\0')
		return -ENOENT;
	out->name[0] = '\0';
	if (path[0] == '/') {
		out->inode = root();
	} else {
		if ((f = sim_file_of(dir)) == NULL)
			return -EBADF;
		out->inode = f->inode;
	}
	out->dir = out->inode;
	return walk(out, path, follow, 0);
}

/* ---- making and removing ---- */

/* May something be made here? */
static int
place_is_free(const struct sim_place *p)
{
	if (p->inode != NULL || p->name[0] == '\0')
		return -EEXIST;
	return p->dir->disk != &above ? 0 : -EROFS;
}

int
sim_place_make(struct sim_place *p, mode_t mode)
{
	int rc = place_is_free(p);

	if (rc != 0)
		return rc;
	if (p->dir->disk->faults.room < SIM_PAGE)
		return -ENOSPC;
	p->inode = sim_inode_new(p->dir->disk, mode);
	if (p->inode == NULL)
		return -ENFILE;
	p->inode->place = S_ISDIR(mode) ? p->name[0] : p->dir->place;
	if (S_ISDIR(mode))
		p->inode->parent = p->dir;
	change_set(change_new(p->dir->disk), p->dir, p->name, p->inode);
	return 0;
}

int
sim_file_mkdirat(int dir, const char *path, unsigned mode)
{
	struct sim_place p;
	int rc = sim_path_find(dir, path, false, &p);

	return rc == 0 ? sim_place_make(&p, S_IFDIR | (mode & 07777)) : rc;
}

int
sim_file_symlinkat(const char *target, int dir, const char *path)
{
	struct sim_place p;
	int rc = sim_path_find(dir, path, false, &p);

	if (rc == 0)
		rc = sim_place_make(&p, S_IFLNK | 0777);
	if (rc == 0 && (p.inode->target = strdup(target)) == NULL)
		rc = -ENOMEM;
	return rc;
}

int
sim_file_linkat(
    int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	struct sim_place a, b;
	int rc =
	    sim_path_find(from_dir, from, (flags & AT_SYMLINK_FOLLOW) != 0, &a);

	if (rc == 0)
		rc = sim_path_find(to_dir, to, false, &b);
	if (rc != 0)
		return rc;
	if (a.inode == NULL)
		return -ENOENT;
	if (S_ISDIR(a.inode->mode))
		return -EPERM;
	if ((rc = place_is_free(&b)) != 0)
		return rc;
	if (a.inode->disk != b.dir->disk)
		return -EXDEV;
	change_set(change_new(b.dir->disk), b.dir, b.name, a.inode);
	return 0;
}

static bool
dir_is_empty(const struct sim_inode *dir)
{
	return sim_entry_nth(dir, 0) == NULL;
}

int
sim_file_unlinkat(int dir, const char *path, int flags)
{
	bool want_dir = (flags & AT_REMOVEDIR) != 0;
	struct sim_inode *i;
	struct sim_place p;
	int rc = sim_path_find(dir, path, false, &p);

	if (rc != 0)
		return rc;
	if ((i = p.inode) == NULL)
		return -ENOENT;
	if (p.dir->disk == &above || p.name[0] == '\0')
		return -EBUSY;
	if (want_dir != S_ISDIR(i->mode))
		return want_dir ? -ENOTDIR : -EISDIR;
	if (want_dir && !dir_is_empty(i))
		return -ENOTEMPTY;
	change_set(change_new(p.dir->disk), p.dir, p.name, NULL);
	inode_look(i);
	return 0;
}

/* May b's name be taken over by what a is? */
static int
may_replace(const struct sim_place *a, const struct sim_place *b)
{
	const struct sim_inode *i;

	if (a->name[0] == '\0' || b->name[0] == '\0' ||
	    a->dir->disk == &above || b->dir->disk == &above)
		return -EBUSY;
	if (a->dir->disk != b->dir->disk)
		return -EXDEV;
	for (i = b->dir; i != i->parent; i = i->parent)
		if (i == a->inode)
			return -EINVAL;
	if (b->inode == NULL)
		return 0;
	if (S_ISDIR(a->inode->mode) != S_ISDIR(b->inode->mode))
		return S_ISDIR(b->inode->mode) ? -EISDIR : -ENOTDIR;
	return S_ISDIR(b->inode->mode) && !dir_is_empty(b->inode) ? -ENOTEMPTY
								  : 0;
}

int
sim_file_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	struct sim_change *c;
	struct sim_inode *old;
	struct sim_place a, b;
	int rc = sim_path_find(from_dir, from, false, &a);

	if (rc == 0)
		rc = sim_path_find(to_dir, to, false, &b);
	if (rc != 0)
		return rc;
	if (a.inode == NULL)
		return -ENOENT;
	if ((rc = may_replace(&a, &b)) != 0 || a.inode == b.inode)
		return rc;
	old = b.inode;
	c = change_new(a.dir->disk);
	change_set(c, b.dir, b.name, a.inode);
	change_set(c, a.dir, a.name, NULL);
	if (S_ISDIR(a.inode->mode))
		a.inode->parent = b.dir;
	if (old != NULL)
		inode_look(old);
	return 0;
}

/* ---- disks ---- */

struct sim_disk *
sim_disk_new(const char *name)
{
	struct sim_inode *sim = entry_of(root(), "sim")->now;
	struct sim_disk *d = calloc(1, sizeof(*d));

	ASSERT(d != NULL);
	ASSERT(sim_disk_find(name) == NULL);
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->dev = makedev(MAJOR, ++disk_numbers);
	d->next_number = 1;
	d->faults.room = UINT64_MAX / 2;
	d->root = dir_add(sim, name, d);
	d->next = disks;
	disks = d;
	return d;
}

struct sim_disk *
sim_disk_find(const char *name)
{
	struct sim_disk *d = disks;

	while (d != NULL && strcmp(d->name, name) != 0)
		d = d->next;
	return d;
}

void
sim_disk_free(struct sim_disk *d)
{
	struct sim_inode *sim = entry_of(root(), "sim")->now, *i, *next;
	struct sim_disk **at = &disks;
	struct sim_change c = { .sets = 0 };

	change_set(&c, sim, d->name, NULL);
	changes_drop(d, true);
	for (i = d->inodes; i != NULL; i = next) {
		next = i->next;
		ASSERT(i->refs == 0);
		inode_free(i);
	}
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	free(d);
}

struct sim_disk_faults *
sim_disk_faults(struct sim_disk *d)
{
	return &d->faults;
}

/* What the platter has is what there is. */
static void
names_restore(struct sim_disk *d)
{
	struct sim_entry *e;
	struct sim_inode *i;

	for (i = d->inodes; i != NULL; i = i->next)
		i->links = i == d->root;
	for (i = d->inodes; i != NULL; i = i->next)
		for (e = i->entries; e != NULL; e = e->next)
			e->now = e->durable;
}

/* Names in directories that have none themselves count for nothing. */
static void
links_count(struct sim_disk *d)
{
	struct sim_entry *e;
	struct sim_inode *i;

	for (i = d->inodes; i != NULL; i = i->next)
		for (e = i->entries; e != NULL; e = e->next) {
			if (e->now == NULL)
				continue;
			e->now->links++;
			if (S_ISDIR(e->now->mode))
				e->now->parent = i;
		}
}

void
sim_disk_power_loss(struct sim_disk *d)
{
	struct sim_inode *i;

	changes_lose(d);
	names_restore(d);
	disk_sweep(d);
	links_count(d);
	for (i = d->inodes; i != NULL; i = i->next) {
		if (!S_ISREG(i->mode))
			continue;
		sim_content_count(i, true);
		sim_content_power_loss(i);
		sim_lock_drop(i, NULL);
	}
}
