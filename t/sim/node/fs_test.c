/*
 * The simulator's disk, by itself: what a write, a flush and a power loss mean
 * on it, what its faults do, what LMDB needs of a system. Real liblmdb runs on
 * it and the power goes at each of its calls: what is found then is the state
 * of a committed transaction, of none before the last that was told of.
 *
 * Its processes are a stub's (fs_test_stub.c). SEED=N replays chance.
 */
#include "t/tap.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>

#include "shm/bits.h"
#include "shm/kv/store_db.h"
#include "t/sim/node/fs_test_stub.h"
#include "t/sim/node/sim_int.h"

#define LOSSES 200 /* of each kind that is tried */

static struct sim_disk *disk;

static void
disk_again(void)
{
	if (disk != NULL)
		sim_disk_free(disk);
	disk = sim_disk_new("n");
}

/* As a process of its own. */
static void
in_process(void (*fn)(void *), void *arg)
{
	sim_spawn("test", fn, arg);
	if (!stub_run(UINT64_MAX))
		ok(false, "a process never ends");
}

/* While others stand still. */
static void
in_process_beside(void (*fn)(void *), void *arg)
{
	sim_spawn("test", fn, arg);
	(void)stub_run(1000);
}

/* What a test prepares with must work. */
static void
must(bool works)
{
	if (!works)
		ok(false, "preparing: %s", strerror(errno));
}

static void
put(int fd, const void *buf, size_t n, off_t at)
{
	must(pwrite(fd, buf, n, at) == (ssize_t)n);
}

static bool
all_are(const uint8_t *p, uint8_t c, size_t n)
{
	while (n > 0 && *p == c) {
		p++;
		n--;
	}
	return n == 0;
}

/* ---- plain files ---- */

static void
files(void *arg)
{
	char buf[8192], from[6000];
	struct stat st, other;
	int fd, fd2;

	(void)arg;
	memset(from, 'a', sizeof(from));
	is_i64(open("/sim/n/f", O_RDWR), -1, "what is not there is not opened");
	is_i64(errno, ENOENT, "ENOENT");
	fd = open("/sim/n/f", O_RDWR | O_CREAT | O_EXCL, 0640);
	ok(fd >= SIM_FD_BASE, "a file is made");
	is_i64(pwrite(fd, from, sizeof(from), 100), sizeof(from), "written");
	is_i64(pread(fd, buf, sizeof(buf), 0), sizeof(from) + 100, "read");
	ok(all_are((uint8_t *)buf, 0, 100) &&
		memcmp(buf + 100, from, sizeof(from)) == 0,
	    "what was written, behind zeros");
	fd2 = open("/sim/n/../n/./f", O_RDONLY);
	ok(fstat(fd, &st) == 0 && fstat(fd2, &other) == 0 &&
		st.st_ino == other.st_ino && st.st_size == 6100,
	    "by another path it is the same");
	is_i64(write(fd2, "x", 1), -1, "which is read-only");
	is_i64(lseek(fd2, -2, SEEK_END), 6098, "a position");
	is_i64(read(fd2, buf, 10), 2, "reading from there");
	is_i64(ftruncate(fd, 200), 0, "cut");
	is_i64(ftruncate(fd, 8192), 0, "and longer again");
	ok(pread(fd, buf, sizeof(buf), 0) == 8192 &&
		all_are((uint8_t *)buf + 200, 0, 7992),
	    "what was cut off is zeros");
	is_i64(open("/sim/n/f", O_CREAT | O_EXCL | O_RDWR, 0640), -1,
	    "not made twice");
	is_i64(close(fd), 0, "closed");
	is_i64(close(fd), -1, "once");
	is_i64(access("/sim/n/none", F_OK), -1, "access");
}

static void
names(void *arg)
{
	struct dirent *e;
	unsigned seen = 0;
	struct stat st;
	DIR *dir;
	int fd;

	(void)arg;
	is_i64(mkdir("/sim/n/d", 0750), 0, "a directory");
	fd = open("/sim/n/d", O_RDONLY | O_DIRECTORY);
	close(openat(fd, "a", O_CREAT | O_RDWR, 0600));
	is_i64(renameat(fd, "a", fd, "b"), 0, "renamed");
	is_i64(linkat(fd, "b", fd, "c", 0), 0, "linked");
	ok(fstatat(fd, "c", &st, 0) == 0 && st.st_nlink == 2, "two names");
	is_i64(linkat(fd, "b", fd, "c", 0), -1, "a taken name is refused");
	is_i64(symlinkat("b", fd, "l"), 0, "a symbolic link");
	ok(fstatat(fd, "l", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISLNK(st.st_mode),
	    "is one");
	close(openat(fd, "l", O_RDWR));
	is_i64(openat(fd, "l", O_RDWR | O_NOFOLLOW), -1, "and not followed");
	dir = fdopendir(dup(fd));
	while ((e = readdir(dir)) != NULL)
		seen += e->d_name[0] == '.' ? 16 : e->d_name[0] == 'l' ? 4 : 1;
	closedir(dir);
	is_u64(seen, 2 * 16 + 4 + 2, "all names are seen");
	is_i64(unlinkat(AT_FDCWD, "/sim/n/d", AT_REMOVEDIR), -1, "not empty");
	is_i64(unlinkat(fd, "b", 0), 0, "a name goes");
	ok(fstatat(fd, "c", &st, 0) == 0 && st.st_nlink == 1, "one stays");
}

/* A file that has no name stays for who has it. */
static void
nameless(void *arg)
{
	struct stat st;
	char c = 'x';
	int fd = open("/sim/n/gone", O_RDWR | O_CREAT, 0600), tmp;

	(void)arg;
	unlink("/sim/n/gone");
	ok(pwrite(fd, &c, 1, 0) == 1 && pread(fd, &c, 1, 0) == 1 &&
		fstat(fd, &st) == 0 && st.st_nlink == 0,
	    "a file without a name");
	tmp = open("/sim/n", O_RDWR | O_TMPFILE, 0600);
	ok(tmp >= 0 && fstat(tmp, &st) == 0 && st.st_nlink == 0, "O_TMPFILE");
}

static void
mapped(void *arg)
{
	int fd = open("/sim/n/map", O_RDWR | O_CREAT, 0640);
	uint8_t *map, c = 0;

	(void)arg;
	must(ftruncate(fd, 4096) == 0);
	map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ok(map != MAP_FAILED, "a map, longer than the file");
	put(fd, "hello", 6, 100);
	is_str((char *)map + 100, "hello", "shows what is written");
	put(fd, "far", 4, 70000);
	is_str((char *)map + 70000, "far", "also where the file grew");
	map[5] = 7;
	ok(pread(fd, &c, 1, 5) == 1 && c == 7, "and a read shows the map's");
	munmap(map, 1 << 20);
}

static void
direct(void *arg)
{
	int fd = open("/sim/n/direct", O_RDWR | O_CREAT | O_DIRECT, 0640);
	uint8_t *buf = aligned_alloc(4096, 8192);
	struct iovec iov[2] = { { buf, 512 }, { buf + 4096, 1024 } };
	struct statx stx;

	(void)arg;
	memset(buf, 1, 8192);
	is_i64(pwrite(fd, buf, 4096, 512), 4096, "aligned");
	is_i64(pwrite(fd, buf, 100, 0), -1, "a length that is not");
	is_i64(pwrite(fd, buf + 1, 512, 0), -1, "memory");
	is_i64(pwrite(fd, buf, 512, 5), -1, "a place");
	is_i64(pwritev2(fd, iov, 2, 8192, RWF_DSYNC), 1536, "of two pieces");
	ok(statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
		stx.stx_dio_offset_align == 512,
	    "statx() tells how");
	free(buf);
}

/* ---- power loss ---- */

struct loss {
	unsigned seen[8]; /* how often what was found */
	bool (*check)(struct loss *l);
	bool good;
};

static void
loss_check(void *arg)
{
	struct loss *l = arg;

	l->good = l->check(l);
}

/* Prepare, lose power, look; many times. Each of `kinds` outcomes is seen. */
static void
losses(const char *what, void (*prepare)(void *), bool (*check)(struct loss *),
    unsigned kinds)
{
	struct loss l = { .check = check, .good = true };
	unsigned i, k = 0;

	for (i = 0; i < LOSSES && l.good; i++) {
		disk_again();
		in_process(prepare, NULL);
		sim_disk_power_loss(disk);
		in_process(loss_check, &l);
	}
	ok(l.good, "%s: nothing that cannot be", what);
	while (k < kinds && l.seen[k] > 0)
		k++;
	ok(k == kinds, "%s: all that can be", what);
}

static void
synced_then_not(void *arg)
{
	int dir = open("/sim/n", O_RDONLY | O_DIRECTORY);
	int fd = open("/sim/n/f", O_RDWR | O_CREAT, 0640);
	uint8_t buf[2048];

	(void)arg;
	memset(buf, 'a', sizeof(buf));
	put(fd, buf, 2048, 0);
	fdatasync(fd);
	fsync(dir);
	memset(buf, 'b', sizeof(buf));
	put(fd, buf, 1024, 512);
}

/* Each block by itself is old or new; those that were not written are old. */
static bool
check_blocks(struct loss *l)
{
	int fd = open("/sim/n/f", O_RDONLY), i;
	uint8_t buf[4096];

	if (fd < 0 || pread(fd, buf, sizeof(buf), 0) != 2048)
		return false;
	for (i = 0; i < 4; i++)
		if (!all_are(buf + 512 * i, buf[512 * i], 512))
			return false;
	l->seen[(buf[512] == 'b') + 2 * (buf[1024] == 'b')]++;
	return buf[0] == 'a' && buf[1536] == 'a' &&
	       (buf[512] == 'a' || buf[512] == 'b') &&
	       (buf[1024] == 'a' || buf[1024] == 'b');
}

static void
written_dsync(void *arg)
{
	int dir = open("/sim/n", O_RDONLY | O_DIRECTORY);
	int fd = open("/sim/n/f", O_RDWR | O_CREAT | O_DIRECT, 0640);
	uint8_t *buf = aligned_alloc(512, 1024);
	struct iovec iov = { buf, 512 };

	(void)arg;
	fsync(dir);
	memset(buf, 'x', 1024);
	put(fd, buf, 512, 0);
	must(pwritev2(fd, &iov, 1, 512, RWF_DSYNC) == 512);
	free(buf);
}

/* It is its own bytes that such a write makes durable. */
static bool
check_dsync(struct loss *l)
{
	int fd = open("/sim/n/f", O_RDONLY);
	uint8_t buf[1024];

	if (fd < 0 || pread(fd, buf, 1024, 0) != 1024)
		return false;
	l->seen[buf[0] == 'x']++;
	return all_are(buf + 512, 'x', 512) && all_are(buf, buf[0], 512);
}

static void
rename_two(void *arg)
{
	int dir, d, fd = open("/sim/n/a", O_RDWR | O_CREAT, 0640);

	(void)arg;
	dir = open("/sim/n", O_RDONLY | O_DIRECTORY);
	mkdir("/sim/n/d", 0750);
	d = open("/sim/n/d", O_RDONLY | O_DIRECTORY);
	fsync(fd);
	fsync(dir);
	rename("/sim/n/a", "/sim/n/b");
	rename("/sim/n/b", "/sim/n/d/c");
	(void)d;
}

/* In their order, and never under two names or none. */
static bool
check_renames(struct loss *l)
{
	unsigned have = (access("/sim/n/a", F_OK) == 0 ? 1 : 0) +
			(access("/sim/n/b", F_OK) == 0 ? 2 : 0) +
			(access("/sim/n/d/c", F_OK) == 0 ? 4 : 0);

	l->seen[have / 2]++; /* 1, 2, 4: all are seen */
	l->seen[1] += have == 4;
	return have == 1 || have == 2 || have == 4;
}

static void
rename_synced(void *arg)
{
	int dir = open("/sim/n", O_RDONLY | O_DIRECTORY);
	int fd = open("/sim/n/new", O_RDWR | O_CREAT, 0640);

	(void)arg;
	put(fd, "new", 3, 0);
	fsync(fd);
	rename("/sim/n/new", "/sim/n/f");
	fsync(dir);
	unlink("/sim/n/f");
}

/* Durable after the directory's flush; that it is removed need not be. */
static bool
check_synced(struct loss *l)
{
	int fd = open("/sim/n/f", O_RDONLY);
	char buf[4] = "";

	l->seen[fd >= 0]++;
	if (access("/sim/n/new", F_OK) == 0)
		return false;
	return fd < 0 || (pread(fd, buf, 4, 0) == 3 && strcmp(buf, "new") == 0);
}

static void
file_only(void *arg)
{
	int fd = open("/sim/n/f", O_RDWR | O_CREAT, 0640);

	(void)arg;
	put(fd, "text", 4, 0);
	fsync(fd);
}

/* A file's flush is not its name's. */
static bool
check_name(struct loss *l)
{
	l->seen[access("/sim/n/f", F_OK) == 0]++;
	return true;
}

static void
cut_unsynced(void *arg)
{
	int fd;

	synced_then_not(arg);
	fd = open("/sim/n/f", O_RDWR);
	fdatasync(fd);
	must(ftruncate(fd, 600) == 0);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 512);
}

static bool
check_cut(struct loss *l)
{
	int fd = open("/sim/n/f", O_RDONLY);
	uint8_t buf[4096];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);

	if (n < 600 || n > 2048)
		return false;
	l->seen[n == 2048 ? 0 : n == 600 ? 1 : 2]++;
	l->seen[3 + (buf[0] == 0)]++;
	return all_are(buf, buf[0], 512) && (buf[0] == 'a' || buf[0] == 0) &&
	       all_are(buf + 512, 'b', 88);
}

/* ---- faults ---- */

static void
faults(void *arg)
{
	struct sim_disk_faults *f = sim_disk_faults(disk);
	int fd = open("/sim/n/f", O_RDWR | O_CREAT, 0640);
	uint8_t buf[16384] = { 1 };
	struct statvfs fs;

	(void)arg;
	f->room = 8192;
	is_i64(pwrite(fd, buf, 16384, 0), 8192, "as much as there is room");
	is_i64(pwrite(fd, buf, 4096, 8192), -1, "none");
	is_i64(errno, ENOSPC, "ENOSPC");
	is_i64(pwrite(fd, buf, 8192, 0), 8192, "what has its room has it");
	is_i64(posix_fallocate(fd, 0, 16384), ENOSPC, "nor to reserve");
	ok(statvfs("/sim/n", &fs) == 0 && fs.f_bavail == 0,
	    "statvfs() says so");
	is_i64(
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
	    0, "a hole");
	is_u64(f->room, 4096, "gives some");
	close(fd);
	unlink("/sim/n/f");
	is_u64(f->room, 8192, "and a file all that it has");
	fd = open("/sim/n/g", O_RDWR | O_CREAT, 0640);
	f->fail_write = 1;
	is_i64(pwrite(fd, buf, 512, 0), -1, "a write that fails");
	is_i64(errno, EIO, "EIO");
	f->fail_write = 0;
	f->short_write = 1;
	is_i64(pwrite(fd, buf, 1024, 0), 512, "a short one");
	f->short_write = 0;
	f->fail_read = 1;
	is_i64(pread(fd, buf, 512, 0), -1, "a read");
	f->fail_read = 0;
	f->delay_ns = 1000;
	fsync(fd);
	is_u64(sim_now_ns() >= 1000, true, "a flush takes its time");
}

static void
flush_fails(void *arg)
{
	struct sim_disk_faults *f = sim_disk_faults(disk);
	int fd;

	(void)arg;
	synced_then_not(NULL);
	fd = open("/sim/n/f", O_RDWR);
	f->fail_flush = 1;
	if (fdatasync(fd) != -1 || errno != EIO)
		ok(false, "a flush that fails");
	f->fail_flush = 0;
	fdatasync(fd);
}

static void
flush_lies(void *arg)
{
	struct sim_disk_faults *f = sim_disk_faults(disk);

	(void)arg;
	synced_then_not(NULL);
	f->lying_flush = 1;
	fdatasync(open("/sim/n/f", O_RDWR));
}

/* ---- locks, and requests in flight ---- */

static int step;

static void
locker(void *arg)
{
	int fd = open("/sim/n/lock", O_RDWR | O_CREAT, 0640);
	int second = open("/sim/n/lock", O_RDWR);
	struct flock l = { .l_type = F_WRLCK, .l_len = 10 };

	(void)arg;
	fcntl(fd, F_SETLK, &l);
	step = 1;
	while (step == 1)
		sim_point("wait");
	/* POSIX: any descriptor of the file takes them along. */
	close(second);
	step = 3;
	while (step == 3)
		sim_point("wait");
}

static void
asker(void *arg)
{
	struct flock l = { .l_type = F_WRLCK, .l_start = 5, .l_len = 1 };
	int *locked_by = arg, fd;

	while (step != 1)
		sim_point("wait");
	fd = open("/sim/n/lock", O_RDWR);
	is_i64(fcntl(fd, F_SETLK, &l), -1, "a range that another process has");
	fcntl(fd, F_GETLK, &l);
	is_i64(l.l_pid, *locked_by, "which it tells");
	l = (struct flock){ .l_type = F_WRLCK, .l_start = 10, .l_len = 1 };
	is_i64(fcntl(fd, F_SETLK, &l), 0, "the one behind is free");
	step = 2;
	l.l_start = 5;
	is_i64(fcntl(fd, F_SETLKW, &l), 0, "waited for");
	step = 4;
}

static void
flocker(void *arg)
{
	int fd = open("/sim/n/lock", O_RDWR | O_CREAT, 0640);

	(void)arg;
	flock(fd, LOCK_EX);
	step++;
	sim_block(&step); /* for ever: until it is killed */
}

static void
locks(void)
{
	int pid, other;

	disk_again();
	step = 0;
	pid = sim_spawn("locker", locker, NULL);
	sim_spawn("asker", asker, &pid);
	ok(stub_run(100000), "both end");
	stub_kill_all();
	step = 0;
	pid = sim_spawn("one", flocker, NULL);
	other = sim_spawn("other", flocker, NULL);
	stub_run(1000);
	is_i64(step, 1, "flock() is one's");
	sim_kill(stub_waits(pid) && step == 1 ? pid : other);
	stub_kill_all();
	step = 0;
	pid = sim_spawn("one", flocker, NULL);
	stub_run(1000);
	other = sim_spawn("other", flocker, NULL);
	stub_run(1000);
	sim_kill(pid);
	stub_run(1000);
	is_i64(step, 2, "and the next one's when that is killed");
	stub_kill_all();
}

/* A robust mutex in a file that two processes have mapped. */
static pthread_mutex_t *
mutex_map(void)
{
	int fd = open("/sim/n/mutex", O_RDWR | O_CREAT, 0640);
	void *at;

	must(ftruncate(fd, 4096) == 0);
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(at != MAP_FAILED);
	return at;
}

static void
mutex_owner(void *arg)
{
	pthread_mutex_t *m = mutex_map();

	(void)arg;
	must(pthread_mutex_init(m, NULL) == 0);
	must(pthread_mutex_lock(m) == 0);
	sim_block(&step); /* until it is killed */
}

static void
mutex_heir(void *arg)
{
	pthread_mutex_t *m = mutex_map();
	int *heals = arg;

	is_i64(pthread_mutex_trylock(m), EBUSY, "a mutex that another has");
	is_i64(pthread_mutex_lock(m), EOWNERDEAD, "its owner is killed");
	if (*heals)
		must(pthread_mutex_consistent(m) == 0);
	must(pthread_mutex_unlock(m) == 0);
	is_i64(pthread_mutex_lock(m), *heals ? 0 : ENOTRECOVERABLE,
	    *heals ? "and it is made good" : "and nobody makes it good");
}

static void
mutexes(void)
{
	int owner, heals;

	for (heals = 0; heals < 2; heals++) {
		disk_again();
		owner = sim_spawn("owner", mutex_owner, NULL);
		stub_run(1000);
		sim_spawn("heir", mutex_heir, &heals);
		stub_run(1000);
		sim_kill(owner);
		ok(stub_run(1000), "the heir ends");
	}
}

static pthread_key_t one_key;

static void
key_owner(void *arg)
{
	(void)arg;
	must(pthread_key_create(&one_key, NULL) == 0);
	must(pthread_setspecific(one_key, &one_key) == 0);
	sim_block(&step); /* until it is killed */
}

static void
key_other(void *arg)
{
	(void)arg;
	ok(pthread_getspecific(one_key) == NULL, "values are a process' own");
	must(pthread_setspecific(one_key, &step) == 0);
	ok(pthread_getspecific(one_key) == &step, "also of one key");
}

static void
keys(void)
{
	sim_spawn("owner", key_owner, NULL);
	stub_run(1000);
	in_process_beside(key_other, NULL);
	stub_kill_all();
}

static struct sim_file_ref *flight;

static void
submits(void *arg)
{
	int fd = open("/sim/n/f", O_RDWR | O_CREAT, 0640);

	(void)arg;
	must(ftruncate(fd, 8192) == 0);
	flight = sim_file_hold(fd, true);
}

static void
fences(void *arg)
{
	int fd = open("/sim/n/f", O_RDWR);

	(void)arg;
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096);
	step = 1;
}

static void
in_flight(void)
{
	disk_again();
	step = 0;
	in_process(submits, NULL);
	sim_spawn("fences", fences, NULL);
	stub_run(1000);
	is_i64(step, 0, "fallocate() waits for a write of who is no more");
	ok(sim_file_busy(flight) == false, "which is the only one");
	is_i64(sim_file_ref_pwrite(flight, "late", 4, 0, 0), 4, "that lands");
	sim_file_release(flight);
	stub_run(1000);
	is_i64(step, 1, "and goes on then");
}

/* ---- LMDB ---- */

#define KEYS    40
#define COMMITS 8

/* Commits, by their number: the last told of, the last begun. */
static int64_t acknowledged, begun;

static uint64_t
value_of(uint64_t commit, unsigned key)
{
	/* Each key changes at some commits only, each in its own way. */
	while (commit > 0 && (commit * 7 + key) % 3 != 0)
		commit--;
	return commit * 1000 + key;
}

static int
env_open(MDB_env **env, unsigned flags)
{
	int rc = mdb_env_create(env);

	mdb_env_set_maxreaders(*env, 16);
	mdb_env_set_mapsize(*env, 16 << 20);
	return rc != 0 ? rc
		       : mdb_env_open(*env, "/sim/n/store",
			     flags | MDB_NOTLS | MDB_NORDAHEAD, 0640);
}

static uint64_t
txn_get(MDB_txn *txn, MDB_dbi dbi, unsigned key)
{
	MDB_val k = { sizeof(key), &key }, v;
	uint64_t value;

	if (mdb_get(txn, dbi, &k, &v) != 0 || v.mv_size < sizeof(value))
		return 0;
	memcpy(&value, v.mv_data, sizeof(value));
	return value;
}

static int
txn_put(MDB_txn *txn, MDB_dbi dbi, unsigned key, uint64_t value)
{
	uint8_t data[700] = { 0 };
	MDB_val k = { sizeof(key), &key }, v = { sizeof(data), data };

	memcpy(data, &value, sizeof(value));
	return mdb_put(txn, dbi, &k, &v, 0);
}

/* What the newest state is: the commit's number, or -1: of no commit. */
static int64_t
env_state(MDB_env *env)
{
	int64_t state = -1;
	uint64_t commit;
	MDB_txn *txn;
	MDB_dbi dbi;
	unsigned i;

	if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return -1;
	if (mdb_dbi_open(txn, NULL, 0, &dbi) != 0)
		goto out;
	commit = txn_get(txn, dbi, KEYS);
	for (i = 0; i < KEYS; i++)
		if (commit != 0 && txn_get(txn, dbi, i) != value_of(commit, i))
			goto out;
	state = (int64_t)commit;
out:
	mdb_txn_abort(txn);
	return state;
}

static int
env_commit(MDB_env *env, uint64_t commit)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	unsigned i;
	int rc = mdb_txn_begin(env, NULL, 0, &txn);

	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &dbi);
	for (i = 0; i < KEYS && rc == 0; i++)
		if (txn_get(txn, dbi, i) != value_of(commit, i))
			rc = txn_put(txn, dbi, i, value_of(commit, i));
	if (rc == 0)
		rc = txn_put(txn, dbi, KEYS, commit);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

/* As a node is founded: whole before it has its name. */
static void
lmdb_make(void *arg)
{
	int dir = open("/sim/n", O_RDONLY | O_DIRECTORY), store;
	char why[256];

	(void)arg;
	if (store_db_make("/sim/n/store", why, sizeof(why)) != 0)
		ok(false, "%s", why);
	store = open("/sim/n/store", O_RDONLY | O_DIRECTORY);
	if (fsync(store) != 0 || fsync(dir) != 0)
		ok(false, "names are flushed");
	acknowledged = begun = 0;
}

/* A life: what is found, then some commits more. */
static void
lmdb_life(void *arg)
{
	int64_t *found = arg, state;
	MDB_env *env;
	int i, rc = env_open(&env, 0);

	if (rc != 0) {
		diag("open: %s", mdb_strerror(rc));
		*found = -2;
		return;
	}
	*found = state = env_state(env);
	for (i = 0; state >= 0 && i < COMMITS && rc == 0; i++) {
		begun = state + 1;
		rc = env_commit(env, (uint64_t)begun);
		if (rc == 0)
			acknowledged = ++state;
	}
	if (rc != 0)
		diag("commit: %s", mdb_strerror(rc));
	mdb_env_close(env);
}

static void
lmdb_look(void *arg)
{
	int64_t *found = arg;
	MDB_env *env;

	*found = env_open(&env, 0) == 0 ? env_state(env) : -2;
	mdb_env_close(env);
}

/* The state of a commit that was begun, of none before one told of. */
static bool
state_is_good(int64_t found)
{
	return found >= acknowledged && found <= begun;
}

static void
lmdb_each_call(void)
{
	int64_t found = 0;
	unsigned torn = 0;
	uint64_t n;
	bool ended = false, good = true;

	for (n = 1; !ended && good; n++) {
		disk_again();
		in_process(lmdb_make, NULL);
		sim_spawn("life", lmdb_life, &found);
		ended = stub_run(n);
		stub_kill_all();
		sim_disk_power_loss(disk);
		in_process(lmdb_look, &found);
		good = state_is_good(found);
		torn += found > acknowledged;
	}
	ok(good, "LMDB: no power at any of %d calls, the state is a commit's",
	    (int)n);
	if (!good)
		diag("call %d: found %d, commit %d was told of", (int)n,
		    (int)found, (int)acknowledged);
	diag("%u times it was the next commit's", torn);
}

static void
lmdb_lives(void)
{
	int64_t found = 0;
	bool good = true;
	unsigned i;

	disk_again();
	in_process(lmdb_make, NULL);
	for (i = 0; i < LOSSES && good; i++) {
		int64_t told = acknowledged, most = begun;

		found = -3; /* nobody has looked */
		sim_spawn("life", lmdb_life, &found);
		stub_run(1 + sim_rand_below(150));
		good = found == -3 || (found >= told && found <= most);
		/* Sometimes only the process is gone. */
		stub_kill_all();
		if (good && !sim_chance(3))
			sim_disk_power_loss(disk);
	}
	ok(good && acknowledged > 50, "LMDB: %u lives, commit %d, on one disk",
	    i, (int)acknowledged);
}

/* Is a commit lost on a disk that lies? LMDB may fall over what it finds. */
static bool
lie_is_found(void)
{
	int64_t found = 0;
	int status = 0;
	pid_t pid;

	disk_again();
	in_process(lmdb_make, NULL);
	sim_disk_faults(disk)->lying_flush = 1;
	in_process(lmdb_life, &found);
	sim_disk_power_loss(disk);
	sim_disk_faults(disk)->lying_flush = 0;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		in_process(lmdb_look, &found);
		_exit(state_is_good(found) ? 0 : 1);
	}
	must(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status != 0;
}

/* It shows that the losses are such. */
static void
lmdb_lie(void)
{
	unsigned i, found = 0;

	for (i = 0; i < 20; i++)
		found += lie_is_found();
	ok(found > 0, "LMDB: a flush that lies is found out (%u of %u)", found,
	    i);
}

/* Has a snapshot open. */
static void
lmdb_reader(void *arg)
{
	MDB_env *env;
	MDB_txn *txn;

	(void)arg;
	if (env_open(&env, MDB_RDONLY) != 0 ||
	    mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return;
	sim_block(&step); /* until it is killed */
}

static int readers; /* in the table */

static void
lmdb_counts(void *arg)
{
	MDB_envinfo info;
	MDB_env *env;
	int *dead = arg;

	if (env_open(&env, 0) == 0) {
		mdb_env_info(env, &info);
		readers = (int)info.me_numreaders;
		mdb_reader_check(env, dead);
	}
	mdb_env_close(env);
}

static void
lmdb_holder(void *arg)
{
	MDB_env *env;
	MDB_txn *txn;

	(void)arg;
	if (env_open(&env, 0) != 0 || mdb_txn_begin(env, NULL, 0, &txn) != 0)
		return;
	sim_block(&step);
}

static void
lmdb_waiter(void *arg)
{
	int *rc = arg;
	MDB_env *env;

	if (env_open(&env, 0) == 0)
		*rc = env_commit(env, 1);
	mdb_env_close(env);
}

static void
lmdb_processes(void)
{
	int pid, waiter, dead = -1, rc = -1;

	disk_again();
	in_process(lmdb_make, NULL);
	pid = sim_spawn("reader", lmdb_reader, NULL);
	stub_run(1000);
	in_process_beside(lmdb_counts, &dead);
	is_i64(readers, 1, "LMDB: another process' reader is seen");
	is_i64(dead, 0, "LMDB: and lives");
	/* With nobody there the next one would begin a new table. */
	sim_spawn("stays", lmdb_reader, NULL);
	stub_run(1000);
	sim_kill(pid);
	in_process_beside(lmdb_counts, &dead);
	is_i64(dead, 1, "LMDB: one that was killed is found dead");
	stub_kill_all();
	pid = sim_spawn("holder", lmdb_holder, NULL);
	stub_run(1000);
	waiter = sim_spawn("waiter", lmdb_waiter, &rc);
	stub_run(1000);
	ok(rc == -1 && stub_waits(waiter), "LMDB: a writer waits for another");
	sim_kill(pid);
	stub_run(1000);
	is_i64(rc, 0, "LMDB: goes on when that one is killed (EOWNERDEAD)");
}

int
main(void)
{
	const char *given = getenv("SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 1;

	printf("# SEED=%" PRIu64 "\n", seed);
	stub_begin(seed);
	disk_again();
	in_process(files, NULL);
	in_process(names, NULL);
	in_process(nameless, NULL);
	in_process(mapped, NULL);
	in_process(direct, NULL);
	losses("blocks", synced_then_not, check_blocks, 4);
	losses("O_DSYNC", written_dsync, check_dsync, 2);
	losses("renames", rename_two, check_renames, 3);
	losses("a directory's flush", rename_synced, check_synced, 2);
	losses("a file's flush", file_only, check_name, 2);
	losses("cut", cut_unsynced, check_cut, 5);
	losses("a flush that fails", flush_fails, check_blocks, 4);
	losses("a flush that lies", flush_lies, check_blocks, 4);
	disk_again();
	in_process(faults, NULL);
	locks();
	mutexes();
	keys();
	in_flight();
	lmdb_each_call();
	lmdb_lives();
	lmdb_lie();
	lmdb_processes();
	sim_disk_free(disk);
	return tap_done();
}
