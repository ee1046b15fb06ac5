/*
 * The whole-node simulator: what its processes and its disk know of each other.
 * One Linux process runs the node's real processes as coroutines, each with a
 * virtual pid, on a simulated clock, ring and disk; all chance is of one seed.
 *
 * The executable defines libc's functions (sim_libc.c: processes, time,
 * waiting; sim_files.c: descriptors, files) and liburing's (sim_ring.c). A call
 * from outside of a simulated process goes to the kernel, as one on a
 * descriptor below SIM_FD_BASE does.
 */
#ifndef T_SIM_NODE_SIM_H
#define T_SIM_NODE_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SIM_FD_BASE 1024 /* its limit keeps the kernel below */
#define SIM_NEVER   UINT64_MAX

/* ---- processes, chance and time: sim_proc.c ---- */

struct sim_proc;

/* Who runs; NULL outside of any process, as in events. */
struct sim_proc *sim_self(void);
int sim_pid(void); /* 0 outside */
uint64_t sim_rand(void);
/* Below n; 0 if n is. */
uint64_t sim_rand_below(uint64_t n);
bool sim_chance(unsigned one_in); /* 0 = never */
uint64_t sim_now_ns(void); /* CLOCK_MONOTONIC */
uint64_t sim_wall_ns(void); /* CLOCK_REALTIME */

/* The scheduler may switch to another process here, or kill this one. */
void sim_point(const char *place);
void sim_sleep_until(uint64_t ns);
/* Until sim_wake(on), or then (SIM_NEVER: no limit); false: it was then. */
bool sim_block_until(const void *on, uint64_t ns);
void sim_block(const void *on);
void sim_wake(const void *on);
/* At most so many of them, the longest waiting first; how many there were. */
unsigned sim_wake_some(const void *on, unsigned most);

/* A new process, a child of sim_self()'s; its virtual pid. */
int sim_spawn(const char *name, void (*fn)(void *), void *arg);
/* fork(2), of the process that runs: twice back. */
int sim_fork(void);
/* End the process that runs: with a code, or as of a signal. */
__attribute__((noreturn)) void sim_exit(int code);
__attribute__((noreturn)) void sim_die(int signal_number);
/* SIGKILL: its stack is dropped, its descriptors are closed. */
void sim_kill(int pid);
/* waitpid(2)'s: pid, 0 (none has ended) or -ECHILD; its status. */
int sim_reap(int pid, int *status, bool keep);
bool sim_has_ended(int pid); /* or never was */
int sim_parent(int pid);
const char *sim_name(int pid);

/* Call fn(arg) at that time, outside of processes. */
void sim_event(uint64_t at_ns, void (*fn)(void *), void *arg);
/*
 * Call fn(arg) now, as the process: with its memory in its place, its
 * descriptors. It must not wait. False: it has ended.
 */
bool sim_as(int pid, void (*fn)(void *), void *arg);

/* A line of the story that is told of a seed that fails. */
__attribute__((format(printf, 1, 2))) void sim_tell(const char *fmt, ...);
/* The seed has failed; ends this (real) process. */
__attribute__((noreturn, format(printf, 1, 2))) void
sim_fail(const char *fmt, ...);

/* ---- descriptors: sim_fd.c ---- */

/* Results are bytes or -errno; they get obj. */
struct sim_file_ops {
	ssize_t (*read)(void *obj, void *to, size_t n);
	ssize_t (*write)(void *obj, const void *from, size_t n);
	short (*poll)(void *obj); /* POLLIN, POLLOUT */
	void (*close)(void *obj); /* the last copy is closed */
};

/* In the table of sim_self(), or in table 0. */
int sim_fd_new(const struct sim_file_ops *ops, void *obj);
void *sim_fd_obj(int fd, const struct sim_file_ops *ops); /* NULL: another */
/* Asked in read, write: must it not wait? */
bool sim_fd_nowait(void);
/* POLLIN, POLLOUT, ...; POLLNVAL if it is none. */
short sim_fd_poll(int fd);
void sim_fd_inherit(int parent_pid, int child_pid);
/* After the process' end: what it has open, locked, mapped. */
void sim_fd_drop(int pid);
void sim_fd_close_range(unsigned first, unsigned last);

/* ---- files: sim_files.c; results are -errno; nothing switches here ---- */

ssize_t sim_file_pread(int fd, void *buf, size_t n, off_t at);
ssize_t sim_file_pwrite(int fd, const void *buf, size_t n, off_t at, int dsync);
int sim_file_sync(int fd, int data_only);
int sim_file_openat(int dir, const char *path, int flags, unsigned mode);
int sim_file_unlinkat(int dir, const char *path, int flags);
int
sim_file_renameat(int from_dir, const char *from, int to_dir, const char *to);
struct statx;
int sim_file_statx(
    int dir, const char *path, int flags, unsigned mask, struct statx *out);

/* What a request in flight has of a file: it outlives close and process. */
struct sim_file_ref;
struct sim_file_ref *sim_file_hold(int fd, bool write); /* NULL: no file */
void sim_file_release(struct sim_file_ref *ref);
ssize_t
sim_file_ref_pread(struct sim_file_ref *ref, void *buf, size_t n, off_t at);
ssize_t sim_file_ref_pwrite(
    struct sim_file_ref *ref, const void *buf, size_t n, off_t at, int dsync);
int sim_file_ref_sync(struct sim_file_ref *ref, int data_only);
int
sim_file_ref_fallocate(struct sim_file_ref *ref, int mode, off_t at, off_t n);
/* Other writes are held: a fallocate must wait for them. */
bool sim_file_busy(struct sim_file_ref *ref);
bool sim_file_is_direct(const struct sim_file_ref *ref);

/* Does a raw system call concern files? True: done, *result is its. */
bool sim_files_syscall(long nr, const long arg[6], long *result);
/* The kernel's own. -errno */
long sim_kernel(long nr, long a, long b, long c, long d, long e, long f);

/* ---- the disk ---- */

struct sim_disk;

struct sim_disk_faults {
	unsigned fail_write, fail_flush, short_write, lying_flush, fail_read;
	/* one in so many, 0 = never; */
	char only; /* of this directory's files: its first letter; 0 = all */
	uint64_t room; /* bytes that are free */
	uint64_t delay_ns; /* of each operation */
	uint64_t hang_until_ns;
};

struct sim_disk *sim_disk_new(const char *name); /* /sim/NAME */
void sim_disk_free(struct sim_disk *disk);
struct sim_disk *sim_disk_find(const char *name);
/*
 * Of what was not flushed any subset is kept: 512-byte blocks, changes of
 * directories.
 */
void sim_disk_power_loss(struct sim_disk *disk);
struct sim_disk_faults *sim_disk_faults(struct sim_disk *disk);
struct sim_disk_faults *sim_file_faults(int fd); /* NULL: not a file */

#endif
