/*
 * Open files: what a descriptor may do, and what a request in flight has.
 */
#include "t/sim/node/sim.h"

#include <sys/sysmacros.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "t/sim/node/sim_int.h"

/* ---- references ---- */

static struct sim_file_ref *
file_new(struct sim_inode *i, int flags)
{
	struct sim_file_ref *f = calloc(1, sizeof(*f));

	ASSERT(f != NULL);
	f->inode = i;
	f->flags = flags;
	i->refs++;
	return f;
}

static void
file_free(struct sim_file_ref *f)
{
	struct sim_inode *i = f->inode;

	sim_lock_drop(i, f);
	free(f);
	sim_inode_release(i);
}

static ssize_t
kind_read(void *obj, void *buf, size_t n)
{
	return sim_file_move(obj, buf, NULL, n);
}

static ssize_t
kind_write(void *obj, const void *buf, size_t n)
{
	return sim_file_move(obj, NULL, buf, n);
}

static void
kind_close(void *obj)
{
	file_free(obj);
}

const struct sim_file_ops sim_file_kind = {
	.read = kind_read,
	.write = kind_write,
	.close = kind_close,
};

struct sim_file_ref *
sim_file_of(int fd)
{
	return sim_fd_obj(fd, &sim_file_kind);
}

void
sim_file_left(struct sim_file_ref *f, int pid)
{
	sim_lock_drop(f->inode, sim_lock_pid(pid));
}

struct sim_file_ref *
sim_file_hold(int fd, bool write)
{
	struct sim_file_ref *f = sim_file_of(fd), *ref;

	if (f == NULL)
		return NULL;
	ref = file_new(f->inode, f->flags);
	ref->write = write;
	ref->inode->writes += write;
	return ref;
}

void
sim_file_release(struct sim_file_ref *ref)
{
	struct sim_inode *i = ref->inode;

	if (ref->write && i->writes > 0 && --i->writes == 0)
		sim_wake(&i->writes);
	file_free(ref);
}

bool
sim_file_busy(struct sim_file_ref *ref)
{
	return ref->inode->writes > (ref->write ? 1 : 0);
}

bool
sim_file_is_direct(const struct sim_file_ref *ref)
{
	return (ref->flags & O_DIRECT) != 0;
}

/* ---- content ---- */

/* A regular file, opened for that. */
static int
may(const struct sim_file_ref *f, bool write)
{
	int how = f->flags & O_ACCMODE;

	if ((f->flags & O_PATH) != 0 || how == (write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (!S_ISREG(f->inode->mode))
		return S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
	return 0;
}

static bool
is_aligned(const struct sim_file_ref *f, const void *buf, size_t n, off_t at)
{
	return (f->flags & O_DIRECT) == 0 ||
	       ((uintptr_t)buf | n | (uint64_t)at) % SIM_BLOCK == 0;
}

ssize_t
sim_file_ref_pread(struct sim_file_ref *f, void *buf, size_t n, off_t at)
{
	int rc = may(f, false);

	if (rc != 0)
		return rc;
	/* As iomap does: at the end it looks at nothing else. */
	if (at >= 0 && (uint64_t)at >= f->inode->size)
		return 0;
	if (at < 0 || !is_aligned(f, buf, n, at))
		return -EINVAL;
	return sim_content_read(f->inode, buf, n, (uint64_t)at);
}

ssize_t
sim_file_ref_write(struct sim_file_ref *f, const void *buf, size_t n, off_t *at)
{
	int rc = may(f, true);

	if (rc != 0)
		return rc;
	if (*at < 0 || !is_aligned(f, buf, n, *at))
		return -EINVAL;
	if ((f->flags & O_APPEND) != 0)
		*at = (off_t)f->inode->size;
	return sim_content_write(f->inode, buf, n, (uint64_t)*at);
}

ssize_t
sim_file_ref_pwrite(
    struct sim_file_ref *f, const void *buf, size_t n, off_t at, int dsync)
{
	ssize_t done = sim_file_ref_write(f, buf, n, &at);
	int rc;

	/* O_SYNC has O_DSYNC's bit. */
	if (done <= 0 || (!dsync && (f->flags & O_DSYNC) == 0))
		return done;
	rc = sim_content_flush(
	    f->inode, (uint64_t)at, (uint64_t)at + (uint64_t)done);
	return rc != 0 ? rc : done;
}

int
sim_file_ref_sync(struct sim_file_ref *f, int data_only)
{
	(void)data_only;
	if ((f->flags & O_PATH) != 0)
		return -EBADF;
	if (S_ISDIR(f->inode->mode))
		return sim_dir_sync(f->inode);
	return sim_content_flush(f->inode, 0, UINT64_MAX);
}

int
sim_file_ref_fallocate(struct sim_file_ref *f, int mode, off_t at, off_t n)
{
	int rc = may(f, true);

	if (rc != 0)
		return rc;
	if (at < 0 || n <= 0)
		return -EINVAL;
	return sim_content_fallocate(f->inode, mode, (uint64_t)at, (uint64_t)n);
}

ssize_t
sim_file_pread(int fd, void *buf, size_t n, off_t at)
{
	struct sim_file_ref *f = sim_file_of(fd);

	return f != NULL ? sim_file_ref_pread(f, buf, n, at) : -EBADF;
}

ssize_t
sim_file_pwrite(int fd, const void *buf, size_t n, off_t at, int dsync)
{
	struct sim_file_ref *f = sim_file_of(fd);

	return f != NULL ? sim_file_ref_pwrite(f, buf, n, at, dsync) : -EBADF;
}

int
sim_file_sync(int fd, int data_only)
{
	struct sim_file_ref *f = sim_file_of(fd);

	return f != NULL ? sim_file_ref_sync(f, data_only) : -EBADF;
}

int
sim_file_fallocate(int fd, int mode, off_t at, off_t n)
{
	struct sim_file_ref *f = sim_file_of(fd);

	return f != NULL ? sim_file_ref_fallocate(f, mode, at, n) : -EBADF;
}

int
sim_file_ftruncate(int fd, off_t size)
{
	struct sim_file_ref *f = sim_file_of(fd);
	int rc = f != NULL ? may(f, true) : -EBADF;

	if (rc == 0 && size < 0)
		rc = -EINVAL;
	return rc == 0 ? sim_content_truncate(f->inode, (uint64_t)size) : rc;
}

ssize_t
sim_file_move(struct sim_file_ref *f, void *to, const void *from, size_t n)
{
	ssize_t done;

	if (from != NULL && (f->flags & O_APPEND) != 0)
		f->at = f->inode->size;
	if (from != NULL)
		done = sim_file_ref_pwrite(f, from, n, (off_t)f->at, 0);
	else
		done = sim_file_ref_pread(f, to, n, (off_t)f->at);
	if (done > 0)
		f->at += (uint64_t)done;
	return done;
}

/* ---- opening ---- */

static int
may_open(const struct sim_inode *i, int flags)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY;

	if (S_ISLNK(i->mode) && (flags & O_PATH) == 0)
		return -ELOOP;
	if ((flags & O_DIRECTORY) != 0 && !S_ISDIR(i->mode))
		return -ENOTDIR;
	return S_ISDIR(i->mode) && (write || (flags & O_CREAT) != 0) ? -EISDIR
								     : 0;
}

static int
open_tmpfile(const struct sim_place *p, int flags, unsigned mode)
{
	struct sim_inode *i;

	if (p->inode == NULL)
		return -ENOENT;
	if (!S_ISDIR(p->inode->mode))
		return -ENOTDIR;
	if ((i = sim_inode_new(p->inode->disk, S_IFREG | mode)) == NULL)
		return -ENFILE;
	return sim_fd_new(&sim_file_kind, file_new(i, flags));
}

int
sim_file_openat(int dir, const char *path, int flags, unsigned mode)
{
	bool excl = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
	struct sim_place p;
	int rc =
	    sim_path_find(dir, path, !excl && (flags & O_NOFOLLOW) == 0, &p);

	if (rc != 0)
		return rc;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return open_tmpfile(&p, flags & ~O_DIRECTORY, mode & 07777);
	if (p.inode == NULL && (flags & O_CREAT) == 0)
		return -ENOENT;
	if (p.inode != NULL && excl)
		return -EEXIST;
	if (p.inode != NULL)
		rc = may_open(p.inode, flags);
	else
		rc = sim_place_make(&p, S_IFREG | (mode & 07777));
	if (rc == 0 && (flags & O_TRUNC) != 0 && p.inode->size > 0)
		rc = sim_content_truncate(p.inode, 0);
	if (rc != 0)
		return rc;
	return sim_fd_new(&sim_file_kind, file_new(p.inode, flags));
}

/* ---- what they are ---- */

/* As of fstatat(2) and its like. */
static struct sim_inode *
inode_of(int dir, const char *path, int flags, int *rc)
{
	struct sim_file_ref *f;
	struct sim_place p;

	if (path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0) {
		f = sim_file_of(dir);
		*rc = -EBADF;
		return f != NULL ? f->inode : NULL;
	}
	*rc = sim_path_find(dir, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, &p);
	if (*rc != 0)
		return NULL;
	*rc = -ENOENT;
	return p.inode;
}

int
sim_file_stat(int dir, const char *path, int flags, struct stat *st)
{
	int rc;
	const struct sim_inode *i = inode_of(dir, path, flags, &rc);

	if (i == NULL)
		return rc;
	memset(st, 0, sizeof(*st));
	st->st_dev = i->disk->dev;
	st->st_ino = i->number;
	st->st_mode = i->mode;
	st->st_nlink = i->links;
	st->st_uid = i->uid;
	st->st_gid = i->gid;
	st->st_size = (off_t)i->size;
	st->st_blksize = SIM_PAGE;
	st->st_blocks = (blkcnt_t)(i->pages * (SIM_PAGE / 512));
	st->st_mtim.tv_sec = (time_t)(i->changed_ns / 1000000000);
	st->st_mtim.tv_nsec = (long)(i->changed_ns % 1000000000);
	st->st_ctim = st->st_atim = st->st_mtim;
	return 0;
}

int
sim_file_statx(
    int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	struct stat st;
	int rc = sim_file_stat(dir, path, flags, &st);

	(void)mask;
	if (rc != 0)
		return rc;
	memset(out, 0, sizeof(*out));
	out->stx_mask = STATX_BASIC_STATS;
	out->stx_blksize = (uint32_t)st.st_blksize;
	out->stx_nlink = (uint32_t)st.st_nlink;
	out->stx_uid = st.st_uid;
	out->stx_gid = st.st_gid;
	out->stx_mode = (uint16_t)st.st_mode;
	out->stx_ino = st.st_ino;
	out->stx_size = (uint64_t)st.st_size;
	out->stx_blocks = (uint64_t)st.st_blocks;
	out->stx_mtime.tv_sec = st.st_mtim.tv_sec;
	out->stx_mtime.tv_nsec = (uint32_t)st.st_mtim.tv_nsec;
	out->stx_ctime = out->stx_atime = out->stx_mtime;
	out->stx_dev_major = major(st.st_dev);
	out->stx_dev_minor = minor(st.st_dev);
#ifdef STATX_DIOALIGN
	if (S_ISREG(st.st_mode)) {
		out->stx_mask |= STATX_DIOALIGN;
		out->stx_dio_mem_align = SIM_BLOCK;
		out->stx_dio_offset_align = SIM_BLOCK;
	}
#endif
	return 0;
}

/* What is in use is not counted, only what is free: as much as there is. */
void
sim_file_space(const struct sim_inode *i, struct statfs *out)
{
	uint64_t used = 0;
	const struct sim_inode *other;

	for (other = i->disk->inodes; other != NULL; other = other->next)
		used += other->counted ? other->pages : 0;
	memset(out, 0, sizeof(*out));
	out->f_type = 0xef53; /* as ext4 */
	out->f_bsize = out->f_frsize = SIM_PAGE;
	out->f_bfree = out->f_bavail = i->disk->faults.room / SIM_PAGE;
	out->f_blocks = out->f_bfree + used;
	out->f_files = 1 << 20;
	out->f_ffree = (1 << 20) - i->disk->next_number;
	out->f_namelen = NAME_MAX;
}

struct sim_disk_faults *
sim_file_faults(int fd)
{
	struct sim_file_ref *f = sim_file_of(fd);

	return f != NULL ? &f->inode->disk->faults : NULL;
}
