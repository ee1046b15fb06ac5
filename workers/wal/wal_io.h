/*
 * Files of the log: how they are written here, opening, fencing, making room.
 * All calls block; they are for boot and for small steps.
 */
#ifndef WORKERS_WAL_IO_H
#define WORKERS_WAL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct wal_io {
	uint32_t block; /* max(4096, direct I/O alignment, physical block) */
	bool direct; /* O_DIRECT, durable by RWF_DSYNC; else page cache
			and fdatasync */
};

/*
 * Tests make chosen operations fail: called with each result, returns the one
 * to be seen. NULL in a running node.
 */
enum wal_op {
	WAL_OP_WRITE,
	WAL_OP_SYNC,
	WAL_OP_ALLOC,
	WAL_OP_ZERO,
	WAL_OP_RENAME,
	WAL_OP_SALVAGE,
	WAL_OP_PROBE,
	WAL_OP_OPEN,
	WAL_OP_READ, /* of the scan at boot */
	WAL_OP_CUT, /* a step of a cut */
	WAL_OP_CUT_STAGE /* between two: there is no result */
};
extern int (*wal_fault_hook)(enum wal_op op, int res);

static inline int
wal_fault(enum wal_op op, int res)
{
	return wal_fault_hook != NULL ? wal_fault_hook(op, res) : res;
}

/*
 * Tests record what is written, to play it again with writes left out: called
 * when a write is submitted, and (iov NULL) when it is known to be durable.
 */
struct wal_trace {
	uint32_t slot; /* which flight */
	uint32_t number; /* segment */
	uint64_t offset;
	const struct iovec *iov;
	int iovs;
	uint64_t vlsn; /* newest in it */
};
extern void (*wal_trace_hook)(const struct wal_trace *t);

/* A file that is there for as long as something is tried. */
#define WAL_PROBE_NAME "probe"

/*
 * Find out how files of this directory can be written (makes and removes a
 * file there). want_direct: refuse what cannot do it (-EOPNOTSUPP).
 */
int wal_io_probe(
    struct wal_io *io, int wal_dir, bool want_direct, bool want_buffered);
/* Descriptor or -errno. create: must not exist before. */
int wal_file_open(
    const struct wal_io *io, int wal_dir, const char *name, bool create);
/*
 * Wait for writes that a killed process left in the kernel, on every segment
 * and spare of the directory; no byte is changed. 0 or -errno; name gets whose
 * that is.
 */
int wal_fence(int wal_dir, char *name, size_t name_size);
/* Reserve size bytes (no zeros are written). */
int wal_file_alloc(int fd, uint64_t size);
/* Write zeros over [from, to), both on blocks. */
int wal_file_zero(int fd, uint64_t from, uint64_t to);
int wal_file_sync(int fd);
/* Write all of it, durably when it returns 0. */
int wal_file_write(const struct wal_io *io, int fd, const void *data, size_t n,
    uint64_t offset);
/* Write again, durably, what it holds in [from, to). */
int wal_file_rewrite(
    int fd, uint32_t from, uint32_t to, void (*beat)(void *ctx), void *ctx);
/* Zeros for writes of up to WAL_ZEROS bytes; takes no memory. NULL: none. */
#define WAL_ZEROS (256u * 1024)
const void *wal_zeros(void);

#endif
