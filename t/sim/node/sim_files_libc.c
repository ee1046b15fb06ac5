/*
 * libc's functions for files, as this program and the libraries under it call
 * them. A simulated descriptor, or a path below /sim in a simulated process, is
 * served here; all others go to the kernel.
 *
 * Each is a place where the scheduler may switch, or kill. What waits for a
 * disk waits here: the files themselves never do.
 */
#undef _FORTIFY_SOURCE /* its inline functions have these names */
#include "t/sim/node/sim.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/assert.h"
#include "shm/bits.h"
#include "t/sim/node/sim_int.h"

/* Names that libc's headers have no more, or only inline. */
int __fxstat(int version, int fd, struct stat *st);
int __open_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);
ssize_t
__readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t room);

long
sim_kernel(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long rc;

	__asm__ volatile(
	    "syscall"
	    : "=a"(rc)
	    : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	    : "rcx", "r11", "memory");
	return rc;
}

#define KERNEL_6(nr, a, b, c, d, e, f, ...)                                    \
	sim_kernel(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e),  \
	    (long)(f))
/* A system call with the arguments that it has; its result as libc gives it. */
#define KERNEL(...) told(KERNEL_6(__VA_ARGS__, 0, 0, 0, 0, 0, 0))

SIM_EARLY static long
told(long rc)
{
	if (rc >= 0 || rc < -4095)
		return rc;
	errno = (int)-rc;
	return -1;
}

static bool
is_sim(int fd)
{
	return fd >= SIM_FD_BASE;
}

/* ---- waiting for the disk ---- */

static void
hang(struct sim_disk_faults *f)
{
	while (
	    f != NULL && sim_self() != NULL && sim_now_ns() < f->hang_until_ns)
		sim_sleep_until(f->hang_until_ns);
}

/* A call that goes to the disk, if it is one's (fd is a file of it). */
static void
disk_call(const char *name, int fd)
{
	struct sim_disk_faults *f;

	if (sim_self() == NULL)
		return;
	sim_point(name);
	f = sim_file_faults(fd);
	if (f != NULL && f->delay_ns != 0)
		sim_sleep_until(sim_now_ns() + f->delay_ns);
	hang(f);
}

/* A call that changes names: they are in memory, but a disk may hang. */
static void
name_call(const char *name, int dir, const char *path)
{
	struct sim_place p;

	if (sim_self() == NULL)
		return;
	sim_point(name);
	if (sim_path_find(dir, path, false, &p) == 0)
		hang(&p.dir->disk->faults);
}

static void
call(const char *name)
{
	if (sim_self() != NULL)
		sim_point(name);
}

/* Does a read or write of that go past the page cache? */
static bool
is_direct(int fd, int flags)
{
	const struct sim_file_ref *f = sim_file_of(fd);

	return f != NULL &&
	       ((f->flags & (O_DIRECT | O_DSYNC)) != 0 || (flags & RWF_DSYNC));
}

static void
data_call(const char *name, int fd, int flags)
{
	if (is_direct(fd, flags))
		disk_call(name, fd);
	else
		call(name);
}

/*
 * A result of what changed a disk: the process may end when it is done, and
 * before anybody knows.
 */
static long
done(const char *name, long rc)
{
	call(name);
	return told(rc);
}

static unsigned
masked(unsigned mode)
{
	long mask = sim_kernel(SYS_umask, 0, 0, 0, 0, 0, 0);

	sim_kernel(SYS_umask, mask, 0, 0, 0, 0, 0);
	return mode & ~(unsigned)mask;
}

/* ---- descriptors ---- */

static bool
has_mode(int flags)
{
	return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

static int
do_openat(int dir, const char *path, int flags, unsigned mode)
{
	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_openat, dir, path, flags, mode);
	if ((flags & (O_CREAT | O_TRUNC)) != 0 || has_mode(flags))
		name_call("open", dir, path);
	else
		call("open");
	if (has_mode(flags))
		mode = masked(mode);
	return (int)told(sim_file_openat(dir, path, flags, mode));
}

int
openat(int dir, const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (has_mode(flags))
		mode = va_arg(ap, unsigned);
	va_end(ap);
	return do_openat(dir, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (has_mode(flags))
		mode = va_arg(ap, unsigned);
	va_end(ap);
	return do_openat(AT_FDCWD, path, flags, mode);
}

int
__open_2(const char *path, int flags)
{
	return do_openat(AT_FDCWD, path, flags, 0);
}

int
__openat_2(int dir, const char *path, int flags)
{
	return do_openat(dir, path, flags, 0);
}

int
close(int fd)
{
	if (!is_sim(fd))
		return (int)KERNEL(SYS_close, fd);
	call("close");
	return (int)told(sim_fd_close(fd));
}

int
dup(int fd)
{
	return (
	    int)(is_sim(fd) ? told(sim_fd_dup(fd, 0)) : KERNEL(SYS_dup, fd));
}

int
dup2(int fd, int to)
{
	return (int)(is_sim(fd) ? told(sim_fd_dup_to(fd, to))
				: KERNEL(SYS_dup2, fd, to));
}

static long
sim_fcntl_lock(int fd, int cmd, struct flock *lock)
{
	bool of_file =
	    cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW || cmd == F_OFD_GETLK;
	struct sim_file_ref *f = sim_file_of(fd);

	if (f == NULL)
		return -EBADF;
	call("lock");
	return sim_lock_record(f->inode,
	    of_file ? (void *)f : sim_lock_pid(sim_pid()), cmd, lock, f->at);
}

/* What of an open file F_SETFL may change. */
#define SETTABLE (O_APPEND | O_NONBLOCK | O_DIRECT)

static long
sim_fcntl_flags(int fd, int cmd, int arg)
{
	struct sim_file_ref *f = sim_file_of(fd);
	int *flags = f != NULL ? &f->flags : sim_fd_flags(fd);

	if (flags == NULL)
		return -EBADF;
	if (cmd == F_GETFL)
		return f != NULL ? *flags : *flags | O_RDWR;
	*flags = (*flags & ~SETTABLE) | (arg & SETTABLE);
	return 0;
}

int
fcntl(int fd, int cmd, ...)
{
	void *arg;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!is_sim(fd))
		return (int)KERNEL(SYS_fcntl, fd, cmd, arg);
	switch (cmd) {
	case F_GETFD:
		return sim_fd_flags(fd) != NULL ? FD_CLOEXEC
						: (int)told(-EBADF);
	case F_SETFD:
		return sim_fd_flags(fd) != NULL ? 0 : (int)told(-EBADF);
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return (int)told(sim_fd_dup(fd, (int)(long)arg));
	case F_GETFL:
	case F_SETFL:
		return (int)told(sim_fcntl_flags(fd, cmd, (int)(long)arg));
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return (int)told(sim_fcntl_lock(fd, cmd, arg));
	default:
		return (int)told(-EINVAL);
	}
}

int
flock(int fd, int how)
{
	struct sim_file_ref *f;

	if (!is_sim(fd))
		return (int)KERNEL(SYS_flock, fd, how);
	call("flock");
	if ((f = sim_file_of(fd)) == NULL)
		return (int)told(-EBADF);
	return (int)told(sim_lock_whole(f->inode, f, how));
}

/* ---- reading and writing ---- */

ssize_t
read(int fd, void *buf, size_t n)
{
	if (!is_sim(fd))
		return KERNEL(SYS_read, fd, buf, n);
	data_call("read", fd, 0);
	return told(sim_fd_read(fd, buf, n, false));
}

ssize_t
__read_chk(int fd, void *buf, size_t n, size_t room)
{
	ASSERT(n <= room);
	return read(fd, buf, n);
}

ssize_t
write(int fd, const void *buf, size_t n)
{
	if (!is_sim(fd))
		return KERNEL(SYS_write, fd, buf, n);
	data_call("write", fd, 0);
	return done("written", sim_fd_write(fd, buf, n));
}

ssize_t
pread(int fd, void *buf, size_t n, off_t at)
{
	if (!is_sim(fd))
		return KERNEL(SYS_pread64, fd, buf, n, at);
	data_call("pread", fd, 0);
	return told(sim_file_pread(fd, buf, n, at));
}

ssize_t
__pread_chk(int fd, void *buf, size_t n, off_t at, size_t room)
{
	ASSERT(n <= room);
	return pread(fd, buf, n, at);
}

/* To the cache, then, if that is asked for, to the platter. */
static ssize_t
sim_pwrite(int fd, const void *buf, size_t n, off_t at, int flags)
{
	struct sim_file_ref *f = sim_file_of(fd);
	ssize_t wrote;
	int rc;

	if (f == NULL)
		return -EBADF;
	call("pwrite");
	wrote = sim_file_ref_write(f, buf, n, &at);
	if (wrote < 0 || !is_direct(fd, flags))
		return wrote;
	disk_call("pwrite reaches the disk", fd);
	if ((f->flags & O_DSYNC) == 0 && (flags & RWF_DSYNC) == 0)
		return wrote;
	rc = sim_content_flush(
	    f->inode, (uint64_t)at, (uint64_t)at + (uint64_t)wrote);
	return rc != 0 ? rc : wrote;
}

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t at)
{
	if (!is_sim(fd))
		return KERNEL(SYS_pwrite64, fd, buf, n, at);
	return done("pwritten", sim_pwrite(fd, buf, n, at, 0));
}

/* All pieces as one, which is aligned if they are. */
struct gather {
	uint8_t *buf;
	size_t n;
};

static int
gather_open(struct gather *g, int fd, const struct iovec *iov, int count)
{
	const struct sim_file_ref *f = sim_file_of(fd);
	bool direct = f != NULL && (f->flags & O_DIRECT) != 0;
	int i;

	g->n = 0;
	for (i = 0; i < count; i++) {
		if (direct && (uintptr_t)iov[i].iov_base % SIM_BLOCK != 0)
			return -EINVAL;
		g->n += iov[i].iov_len;
	}
	g->buf = aligned_alloc(SIM_PAGE, align_up(g->n + 1, SIM_PAGE));
	return g->buf != NULL ? 0 : -ENOMEM;
}

static void
gather_copy(struct gather *g, const struct iovec *iov, size_t n, bool out)
{
	size_t part, at = 0;

	for (; at < n; iov++, at += part) {
		part = iov->iov_len < n - at ? iov->iov_len : n - at;
		if (part == 0)
			continue;
		if (out)
			memcpy(iov->iov_base, g->buf + at, part);
		else
			memcpy(g->buf + at, iov->iov_base, part);
	}
}

/* at = -1: where the file stands. */
static ssize_t
sim_readv(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	struct gather g;
	ssize_t n = gather_open(&g, fd, iov, count);

	if (n != 0)
		return n;
	n = at == -1 ? sim_fd_read(fd, g.buf, g.n, (flags & RWF_NOWAIT) != 0)
		     : sim_file_pread(fd, g.buf, g.n, at);
	if (n > 0)
		gather_copy(&g, iov, (size_t)n, true);
	free(g.buf);
	return n;
}

static ssize_t
sim_writev(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	struct gather g;
	ssize_t n = gather_open(&g, fd, iov, count);

	if (n != 0)
		return n;
	gather_copy(&g, iov, g.n, false);
	n = at == -1
		? sim_fd_write(fd, g.buf, g.n)
		: sim_file_pwrite(fd, g.buf, g.n, at, (flags & RWF_DSYNC) != 0);
	free(g.buf);
	return n;
}

ssize_t
preadv2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	if (!is_sim(fd))
		return KERNEL(SYS_preadv2, fd, iov, count, at, 0, flags);
	data_call("preadv", fd, flags);
	return told(sim_readv(fd, iov, count, at, flags));
}

ssize_t
pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	if (!is_sim(fd))
		return KERNEL(SYS_pwritev2, fd, iov, count, at, 0, flags);
	return done("pwritten", sim_writev(fd, iov, count, at, flags));
}

ssize_t
writev(int fd, const struct iovec *iov, int count)
{
	if (!is_sim(fd))
		return KERNEL(SYS_writev, fd, iov, count);
	data_call("writev", fd, 0);
	return done("written", sim_writev(fd, iov, count, -1, 0));
}

off_t
lseek(int fd, off_t at, int whence)
{
	struct sim_file_ref *f;

	if (!is_sim(fd))
		return KERNEL(SYS_lseek, fd, at, whence);
	if ((f = sim_file_of(fd)) == NULL)
		return told(-ESPIPE);
	if (whence == SEEK_CUR)
		at += (off_t)f->at;
	else if (whence == SEEK_END)
		at += (off_t)f->inode->size;
	else if (whence != SEEK_SET)
		return told(-EINVAL);
	if (at < 0)
		return told(-EINVAL);
	f->at = (uint64_t)at;
	return at;
}

static ssize_t
copy_part(int from, off_t at, int to, off_t put, size_t n)
{
	uint8_t buf[4 * SIM_PAGE] __attribute__((aligned(SIM_BLOCK)));
	ssize_t got =
	    sim_file_pread(from, buf, n < sizeof(buf) ? n : sizeof(buf), at);

	return got > 0 ? sim_file_pwrite(to, buf, (size_t)got, put, 0) : got;
}

ssize_t
copy_file_range(
    int from, off_t *at, int to, off_t *put, size_t n, unsigned flags)
{
	ssize_t done = 0, part;

	if (!is_sim(from) && !is_sim(to))
		return KERNEL(SYS_copy_file_range, from, at, to, put, n, flags);
	call("copy_file_range");
	if (!is_sim(from) || !is_sim(to))
		return told(-EXDEV);
	if (at == NULL || put == NULL)
		return told(-EOPNOTSUPP);
	while ((size_t)done < n) {
		part = copy_part(from, *at, to, *put, n - (size_t)done);
		if (part < 0 && done == 0)
			return told(part);
		if (part <= 0)
			break;
		*at += part;
		*put += part;
		done += part;
	}
	return done;
}

/* ---- flushes, space ---- */

static long
sim_sync(const char *name, int fd, int data_only)
{
	disk_call(name, fd);
	return sim_file_sync(fd, data_only);
}

int
fsync(int fd)
{
	return (int)(is_sim(fd) ? done("fsynced", sim_sync("fsync", fd, 0))
				: KERNEL(SYS_fsync, fd));
}

/* The checkpoint has its own, which comes to sim_files_syscall(). */
__attribute__((weak)) int
fdatasync(int fd)
{
	return (int)(is_sim(fd) ? done("fsynced", sim_sync("fdatasync", fd, 1))
				: KERNEL(SYS_fdatasync, fd));
}

bool
sim_files_syscall(long nr, const long arg[6], long *result)
{
	int fd = (int)arg[0];

	if ((nr != SYS_fdatasync && nr != SYS_fsync) || !is_sim(fd))
		return false;
	*result = nr == SYS_fsync ? sim_sync("fsync", fd, 0)
				  : sim_sync("fdatasync", fd, 1);
	call("fsynced");
	return true;
}

/* Written out, not flushed: a power loss takes it all the same. */
int
sync_file_range(int fd, off_t at, off_t n, unsigned flags)
{
	if (!is_sim(fd))
		return (int)KERNEL(SYS_sync_file_range, fd, at, n, flags);
	disk_call("sync_file_range", fd);
	return sim_file_of(fd) != NULL ? 0 : (int)told(-ESPIPE);
}

/* Behind whatever is in flight, also of a process that has ended. */
static long
sim_fallocate(int fd, int mode, off_t at, off_t n)
{
	struct sim_file_ref *f;

	disk_call("fallocate", fd);
	while ((f = sim_file_of(fd)) != NULL && f->inode->writes > 0 &&
	       sim_self() != NULL)
		sim_block(&f->inode->writes);
	return sim_file_fallocate(fd, mode, at, n);
}

int
fallocate(int fd, int mode, off_t at, off_t n)
{
	return (int)(is_sim(fd)
			 ? done("fallocated", sim_fallocate(fd, mode, at, n))
			 : KERNEL(SYS_fallocate, fd, mode, at, n));
}

int
posix_fallocate(int fd, off_t at, off_t n)
{
	if (is_sim(fd))
		return (int)-sim_fallocate(fd, 0, at, n);
	return (int)-sim_kernel(SYS_fallocate, fd, 0, at, n, 0, 0);
}

int
ftruncate(int fd, off_t size)
{
	if (!is_sim(fd))
		return (int)KERNEL(SYS_ftruncate, fd, size);
	call("ftruncate");
	return (int)done("ftruncated", sim_file_ftruncate(fd, size));
}

int
posix_fadvise(int fd, off_t at, off_t n, int advice)
{
	if (is_sim(fd))
		return sim_file_of(fd) != NULL ? 0 : ESPIPE;
	return (int)-sim_kernel(SYS_fadvise64, fd, at, n, advice, 0, 0);
}

/* ---- what files are ---- */

int
fstatat(int dir, const char *path, struct stat *st, int flags)
{
	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_newfstatat, dir, path, st, flags);
	call("stat");
	return (int)told(sim_file_stat(dir, path, flags, st));
}

int
stat(const char *path, struct stat *st)
{
	return fstatat(AT_FDCWD, path, st, 0);
}

int
lstat(const char *path, struct stat *st)
{
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int
fstat(int fd, struct stat *st)
{
	int rc;

	if (is_sim(fd)) {
		rc = sim_file_stat(fd, "", AT_EMPTY_PATH, st);
		/* An eventfd, say: it is open, and no file. */
		if (rc == -EBADF && (sim_fd_poll(fd) & POLLNVAL) == 0) {
			memset(st, 0, sizeof(*st));
			rc = 0;
		}
		return (int)told(rc);
	}
	rc = (int)KERNEL(SYS_fstat, fd, st);
	/* To a process all below its first one are taken. */
	if (rc != 0 && errno == EBADF && fd >= 0 && sim_self() != NULL)
		errno = EACCES;
	return rc;
}

int
__fxstat(int version, int fd, struct stat *st)
{
	(void)version;
	return fstat(fd, st);
}

int
statx(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_statx, dir, path, flags, mask, out);
	call("statx");
	return (int)told(sim_file_statx(dir, path, flags, mask, out));
}

static long
sim_statfs(int dir, const char *path, struct statfs *out)
{
	struct sim_file_ref *f = sim_file_of(dir);
	struct sim_place p;
	int rc;

	call("statfs");
	if (path == NULL) {
		if (f == NULL)
			return -EBADF;
		sim_file_space(f->inode, out);
		return 0;
	}
	if ((rc = sim_path_find(dir, path, true, &p)) != 0)
		return rc;
	if (p.inode == NULL)
		return -ENOENT;
	sim_file_space(p.inode, out);
	return 0;
}

int
fstatfs(int fd, struct statfs *out)
{
	return (int)(is_sim(fd) ? told(sim_statfs(fd, NULL, out))
				: KERNEL(SYS_fstatfs, fd, out));
}

int
statfs(const char *path, struct statfs *out)
{
	return (int)(sim_path_is(AT_FDCWD, path)
			 ? told(sim_statfs(AT_FDCWD, path, out))
			 : KERNEL(SYS_statfs, path, out));
}

static int
to_statvfs(int rc, const struct statfs *fs, struct statvfs *out)
{
	if (rc != 0)
		return rc;
	memset(out, 0, sizeof(*out));
	out->f_bsize = (unsigned long)fs->f_bsize;
	out->f_frsize = (unsigned long)fs->f_frsize;
	out->f_blocks = fs->f_blocks;
	out->f_bfree = fs->f_bfree;
	out->f_bavail = fs->f_bavail;
	out->f_files = fs->f_files;
	out->f_ffree = out->f_favail = fs->f_ffree;
	out->f_namemax = (unsigned long)fs->f_namelen;
	return 0;
}

int
statvfs(const char *path, struct statvfs *out)
{
	struct statfs fs;

	return to_statvfs(statfs(path, &fs), &fs, out);
}

int
fstatvfs(int fd, struct statvfs *out)
{
	struct statfs fs;

	return to_statvfs(fstatfs(fd, &fs), &fs, out);
}

/* Rights are kept, and stop nobody: who is simulated is root. */
int
faccessat(int dir, const char *path, int how, int flags)
{
	struct stat st;

	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_faccessat2, dir, path, how, flags);
	return fstatat(dir, path, &st, flags & AT_SYMLINK_NOFOLLOW);
}

int
access(const char *path, int how)
{
	return faccessat(AT_FDCWD, path, how, 0);
}

int
fchmod(int fd, mode_t mode)
{
	struct sim_file_ref *f;

	if (!is_sim(fd))
		return (int)KERNEL(SYS_fchmod, fd, mode);
	if ((f = sim_file_of(fd)) == NULL)
		return (int)told(-EBADF);
	f->inode->mode = (f->inode->mode & S_IFMT) | (mode & 07777);
	return 0;
}

static long
owner_set(struct sim_inode *i, uid_t uid, gid_t gid)
{
	if (i == NULL)
		return -ENOENT;
	i->uid = uid != (uid_t)-1 ? uid : i->uid;
	i->gid = gid != (gid_t)-1 ? gid : i->gid;
	return 0;
}

int
fchown(int fd, uid_t uid, gid_t gid)
{
	struct sim_file_ref *f;

	if (!is_sim(fd))
		return (int)KERNEL(SYS_fchown, fd, uid, gid);
	f = sim_file_of(fd);
	return (int)told(f != NULL ? owner_set(f->inode, uid, gid) : -EBADF);
}

int
fchownat(int dir, const char *path, uid_t uid, gid_t gid, int flags)
{
	struct sim_place p;
	int rc;

	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_fchownat, dir, path, uid, gid, flags);
	rc = sim_path_find(dir, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, &p);
	return (int)told(rc == 0 ? owner_set(p.inode, uid, gid) : rc);
}

/* ---- names ---- */

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (!sim_path_is(from_dir, from) && !sim_path_is(to_dir, to))
		return (int)KERNEL(SYS_renameat, from_dir, from, to_dir, to);
	if (!sim_path_is(from_dir, from) || !sim_path_is(to_dir, to))
		return (int)told(-EXDEV);
	name_call("rename", to_dir, to);
	return (int)done(
	    "renamed", sim_file_renameat(from_dir, from, to_dir, to));
}

int
rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int
linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	if (!sim_path_is(from_dir, from) && !sim_path_is(to_dir, to))
		return (int)KERNEL(
		    SYS_linkat, from_dir, from, to_dir, to, flags);
	if (!sim_path_is(from_dir, from) || !sim_path_is(to_dir, to))
		return (int)told(-EXDEV);
	name_call("link", to_dir, to);
	return (int)done(
	    "linked", sim_file_linkat(from_dir, from, to_dir, to, flags));
}

int
link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
unlinkat(int dir, const char *path, int flags)
{
	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_unlinkat, dir, path, flags);
	name_call("unlink", dir, path);
	return (int)done("unlinked", sim_file_unlinkat(dir, path, flags));
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int
rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

SIM_EARLY int
mkdirat(int dir, const char *path, mode_t mode)
{
	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_mkdirat, dir, path, mode);
	name_call("mkdir", dir, path);
	return (int)done("made", sim_file_mkdirat(dir, path, masked(mode)));
}

SIM_EARLY int
mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

int
symlinkat(const char *target, int dir, const char *path)
{
	if (!sim_path_is(dir, path))
		return (int)KERNEL(SYS_symlinkat, target, dir, path);
	name_call("symlink", dir, path);
	return (int)done("made", sim_file_symlinkat(target, dir, path));
}

int
symlink(const char *target, const char *path)
{
	return symlinkat(target, AT_FDCWD, path);
}

static long
sim_readlink(int dir, const char *path, char *buf, size_t n)
{
	struct sim_file_ref *f;
	struct sim_place p = { .inode = NULL };
	size_t len;
	int rc;

	if (path[0] == '\0') {
		if ((f = sim_file_of(dir)) == NULL)
			return -EBADF;
		p.inode = f->inode;
	} else if ((rc = sim_path_find(dir, path, false, &p)) != 0) {
		return rc;
	}
	if (p.inode == NULL)
		return -ENOENT;
	if (!S_ISLNK(p.inode->mode))
		return -EINVAL;
	len = strlen(p.inode->target);
	len = len < n ? len : n;
	memcpy(buf, p.inode->target, len);
	return (long)len;
}

ssize_t
readlinkat(int dir, const char *path, char *buf, size_t n)
{
	if (!sim_path_is(dir, path))
		return KERNEL(SYS_readlinkat, dir, path, buf, n);
	call("readlink");
	return told(sim_readlink(dir, path, buf, n));
}

ssize_t
readlink(const char *path, char *buf, size_t n)
{
	return readlinkat(AT_FDCWD, path, buf, n);
}

ssize_t
__readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t room)
{
	ASSERT(n <= room);
	return readlinkat(dir, path, buf, n);
}

/* ---- directories ---- */

/* The names that it had when it was opened, "." and ".." with them. */
struct stream {
	struct stream *next;
	int fd;
	size_t at, count;
	struct dirent *entry;
};

static struct stream *streams;

static struct stream **
stream_of(const DIR *dir)
{
	struct stream **s = &streams;

	while (*s != NULL && (const void *)*s != (const void *)dir)
		s = &(*s)->next;
	return s;
}

/* libc's function of that name. */
static void *
real(const char *name)
{
	void *at = dlsym(RTLD_NEXT, name);

	ASSERT(at != NULL);
	return at;
}

static void
stream_add(struct stream *s, const struct sim_inode *i, const char *name)
{
	struct dirent *e = &s->entry[s->count];

	memset(e, 0, sizeof(*e));
	e->d_ino = i->number;
	e->d_off = (off_t)++s->count;
	e->d_reclen = sizeof(*e);
	e->d_type = S_ISDIR(i->mode)   ? DT_DIR
		    : S_ISREG(i->mode) ? DT_REG
				       : DT_LNK;
	strncpy(e->d_name, name, sizeof(e->d_name) - 1);
}

static struct stream *
stream_new(int fd, const struct sim_inode *dir)
{
	struct stream *s = calloc(1, sizeof(*s));
	const struct sim_entry *e;
	uint64_t n = 0;

	ASSERT(s != NULL);
	while (sim_entry_nth(dir, n) != NULL)
		n++;
	s->entry = calloc(n + 2, sizeof(*s->entry));
	ASSERT(s->entry != NULL);
	stream_add(s, dir, ".");
	stream_add(s, dir->parent, "..");
	for (n = 0; (e = sim_entry_nth(dir, n)) != NULL; n++)
		stream_add(s, e->now, e->name);
	s->fd = fd;
	s->next = streams;
	streams = s;
	return s;
}

DIR *
fdopendir(int fd)
{
	const struct sim_file_ref *f;
	DIR *(*fn)(int);
	void *at;

	if (!is_sim(fd)) {
		at = real("fdopendir");
		memcpy(&fn, &at, sizeof(fn));
		return fn(fd);
	}
	call("readdir");
	f = sim_file_of(fd);
	if (f == NULL || !S_ISDIR(f->inode->mode)) {
		errno = f == NULL ? EBADF : ENOTDIR;
		return NULL;
	}
	return (DIR *)stream_new(fd, f->inode);
}

DIR *
opendir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fdopendir(fd) : NULL;
}

struct dirent *
readdir(DIR *dir)
{
	struct stream *s = *stream_of(dir);
	struct dirent *(*fn)(DIR *);
	void *at;

	if (s != NULL)
		return s->at < s->count ? &s->entry[s->at++] : NULL;
	at = real("readdir");
	memcpy(&fn, &at, sizeof(fn));
	return fn(dir);
}

void
rewinddir(DIR *dir)
{
	struct stream *s = *stream_of(dir);
	void (*fn)(DIR *);
	void *at;

	if (s != NULL) {
		s->at = 0;
		return;
	}
	at = real("rewinddir");
	memcpy(&fn, &at, sizeof(fn));
	fn(dir);
}

int
dirfd(DIR *dir)
{
	struct stream *s = *stream_of(dir);
	int (*fn)(DIR *);
	void *at;

	if (s != NULL)
		return s->fd;
	at = real("dirfd");
	memcpy(&fn, &at, sizeof(fn));
	return fn(dir);
}

int
closedir(DIR *dir)
{
	struct stream **at = stream_of(dir), *s = *at;
	int (*fn)(DIR *);
	void *sym;
	int fd;

	if (s == NULL) {
		sym = real("closedir");
		memcpy(&fn, &sym, sizeof(fn));
		return fn(dir);
	}
	*at = s->next;
	fd = s->fd;
	free(s->entry);
	free(s);
	return close(fd);
}

/* ---- maps ---- */

void *
mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
	struct sim_file_ref *f;

	if ((flags & MAP_ANONYMOUS) != 0 || !is_sim(fd))
		return (void *)KERNEL(SYS_mmap, at, n, prot, flags, fd, from);
	call("mmap");
	if ((f = sim_file_of(fd)) == NULL || !S_ISREG(f->inode->mode))
		return (void *)told(-ENODEV);
	return (void *)told((long)sim_map_add(f, at, n, prot, flags, from));
}

int
munmap(void *at, size_t n)
{
	long rc = KERNEL(SYS_munmap, at, n);

	if (rc == 0)
		sim_map_remove(at, n);
	return (int)rc;
}

/* It flushes nothing: what is written through a map is left to chance. */
int
msync(void *at, size_t n, int flags)
{
	return (int)KERNEL(SYS_msync, at, n, flags);
}

int
madvise(void *at, size_t n, int advice)
{
	return (int)KERNEL(SYS_madvise, at, n, advice);
}
