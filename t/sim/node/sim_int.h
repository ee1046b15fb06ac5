/*
 * What the simulator's disk consists of, for the files that implement it:
 * sim_fd.c (descriptors), sim_disk.c (content), sim_fs.c (names), sim_lock.c
 * (locks, maps, mutexes).
 */
#ifndef T_SIM_NODE_SIM_INT_H
#define T_SIM_NODE_SIM_INT_H

#include <sys/stat.h>
#include <sys/vfs.h>

#include <fcntl.h>
#include <limits.h>

#include "t/sim/node/sim.h"

/* ASan's library calls mkdir() before it has memory of its own. */
#define SIM_EARLY __attribute__((no_sanitize("address", "undefined")))

#define SIM_BLOCK    512u /* is written whole or not at all */
#define SIM_PAGE     4096u /* is allocated */
#define SIM_FILE_MAX (UINT64_C(8) << 30)

/* What a block was before a write that no flush covered, newest first. */
struct sim_version {
	struct sim_version *older;
	bool zero; /* and has no data */
	uint8_t data[];
};

struct sim_block {
	struct sim_block *next; /* in its bucket */
	uint64_t number;
	struct sim_version *was; /* the last one is the platter's */
	bool dirty; /* the next flush covers it */
};

struct sim_entry {
	struct sim_entry *next;
	struct sim_inode *now, *durable; /* NULL: no such name */
	char name[];
};

struct sim_inode {
	struct sim_disk *disk;
	struct sim_inode *next; /* of the disk */
	ino_t number;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	unsigned links; /* names, as the cache has them */
	unsigned refs; /* descriptors, maps, operations in flight */
	uint64_t changed_ns;
	char place; /* a directory's first letter, and its files' */
	bool counted; /* its pages are taken from the room */
	bool kept; /* while what is of no use is looked for */

	/* A file's content. */
	int memfd; /* the page cache, */
	uint8_t *mem; /* mapped */
	uint64_t size, durable_size;
	uint64_t high; /* zeros from here on */
	bool *page; /* allocated */
	uint64_t page_room, pages;
	struct sim_block **bucket;
	uint64_t buckets, blocks;
	bool scribbled; /* by a map; of that the platter has what it likes */
	unsigned writes; /* in flight */
	struct sim_lock *locks;

	/* A directory's names. */
	struct sim_inode *parent;
	struct sim_entry *entries;
	bool open; /* changes from here back are kept */
	uint64_t pending; /* newest changes that a power loss drops */

	char *target; /* of a symbolic link */
};

/* A change of names that no flush covered: all of it is kept, or nothing. */
struct sim_change {
	struct sim_change *older;
	unsigned sets;
	bool kept;
	struct {
		struct sim_inode *dir;
		struct sim_entry *entry;
		struct sim_inode *to; /* NULL: removed */
	} set[2];
};

struct sim_disk {
	struct sim_disk *next;
	struct sim_disk_faults faults;
	struct sim_inode *root, *inodes;
	struct sim_change *changes; /* newest first */
	unsigned change_count;
	dev_t dev;
	ino_t next_number;
	char name[32];
};

static inline bool
sim_faulty(const struct sim_inode *i, unsigned one_in)
{
	char only = i->disk->faults.only;

	return (only == 0 || only == i->place) && sim_chance(one_in);
}

/* An open file; of each there may be many descriptors. */
struct sim_file_ref {
	struct sim_inode *inode;
	unsigned refs;
	int flags; /* as it was opened */
	bool write; /* sim_file_hold(): counted in inode->writes */
	uint64_t at; /* position */
};

/* ---- sim_fd.c ---- */
const struct sim_file_ops *sim_fd_ops(int fd, void **obj); /* NULL: none */
int *sim_fd_flags(int fd); /* what F_SETFL sets; NULL: no such descriptor */
int sim_fd_close(int fd);
int sim_fd_dup(int fd, int least); /* the lowest number from `least` on */
int sim_fd_dup_to(int fd, int to);
ssize_t sim_fd_read(int fd, void *buf, size_t n, bool nowait);
ssize_t sim_fd_write(int fd, const void *buf, size_t n);
/* For ops->read: it must not wait, by O_NONBLOCK or RWF_NOWAIT. */
bool sim_fd_nowait(void);

/* ---- sim_files.c ---- */
extern const struct sim_file_ops sim_file_kind;
struct sim_file_ref *sim_file_of(int fd); /* NULL: none */
/* A process has closed a descriptor of it. */
void sim_file_left(struct sim_file_ref *f, int pid);
ssize_t sim_file_move(struct sim_file_ref *f, void *to, const void *from,
    size_t n); /* read(2), or write(2) */
/* To the cache only, whatever it was opened for; *at is where. */
ssize_t sim_file_ref_write(
    struct sim_file_ref *f, const void *buf, size_t n, off_t *at);
int sim_file_fallocate(int fd, int mode, off_t at, off_t n);
int sim_file_ftruncate(int fd, off_t size);
int sim_file_stat(int dir, const char *path, int flags, struct stat *st);
void sim_file_space(const struct sim_inode *i, struct statfs *out);

/* ---- sim_disk.c ---- */
int sim_content_open(struct sim_inode *i);
void sim_content_free(struct sim_inode *i);
ssize_t
sim_content_read(const struct sim_inode *i, void *buf, size_t n, uint64_t at);
ssize_t
sim_content_write(struct sim_inode *i, const void *buf, size_t n, uint64_t at);
/* All of it that is dirty, or [from, to) only; the size in any case. */
int sim_content_flush(struct sim_inode *i, uint64_t from, uint64_t to);
int sim_content_truncate(struct sim_inode *i, uint64_t size);
int
sim_content_fallocate(struct sim_inode *i, int mode, uint64_t at, uint64_t n);
void sim_content_power_loss(struct sim_inode *i);
/* The file came to be in use, or is no more: its pages and the room. */
void sim_content_count(struct sim_inode *i, bool counted);

/* ---- sim_fs.c ---- */
void sim_inode_release(struct sim_inode *i);
int sim_dir_sync(struct sim_inode *dir);
/* Where a path leads to. */
struct sim_place {
	struct sim_inode *dir;
	struct sim_inode *inode; /* NULL: there is none of that name */
	char name[NAME_MAX + 1]; /* in dir; "": a root, "." or ".." */
};
/* Does a path lead into the simulator? */
bool sim_path_is(int dir, const char *path);
int
sim_path_find(int dir, const char *path, bool follow, struct sim_place *out);
int sim_place_make(struct sim_place *p, mode_t mode); /* fills p->inode */
struct sim_inode *sim_inode_new(struct sim_disk *d, mode_t mode);
struct sim_entry *sim_entry_nth(const struct sim_inode *dir, uint64_t n);
int sim_file_linkat(
    int from_dir, const char *from, int to_dir, const char *to, int flags);
int sim_file_mkdirat(int dir, const char *path, unsigned mode);
int sim_file_symlinkat(const char *target, int dir, const char *path);

/* ---- sim_lock.c ---- */
int sim_lock_record(
    struct sim_inode *i, void *owner, int cmd, struct flock *lock, uint64_t at);
int sim_lock_whole(struct sim_inode *i, void *owner, int how);
void sim_lock_drop(struct sim_inode *i, const void *owner);
void *sim_lock_pid(int pid); /* as an owner of locks */
void *sim_map_add(struct sim_file_ref *f, void *at, size_t n, int prot,
    int flags, off_t from);
void sim_map_remove(void *at, size_t n);
/* Maps, mutexes and thread-specific values of a process that has ended. */
void sim_lock_ended(int pid);

#endif
