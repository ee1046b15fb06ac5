/*
 * Reading the log forward, record by record, from the buffer when it is
 * there and from segment files when it is not. One cursor per reader; no
 * lock; file reads block the caller (used by the store at boot, and by tools).
 */
#ifndef SHM_LOG_CURSOR_H
#define SHM_LOG_CURSOR_H

#include <stdbool.h>
#include <stdint.h>
#include "shm/log/record.h"

struct region;
struct cursor;

/*
 * wal_dir: a descriptor of data_dir/wal, the caller's. holds: this cursor is
 * the store's, it moves store_hold. 0 or -errno; *out is the caller's.
 */
int cursor_open(struct cursor **out, struct region *r, int wal_dir, bool holds);
void cursor_close(struct cursor *c);
/*
 * Stand before the record `vlsn` (found through the VLSN map). 0, -ENOENT if
 * the log no longer has it, -EBADMSG on damage.
 */
int cursor_seek(struct cursor *c, uint64_t vlsn);
/*
 * The next record with a VLSN (others are skipped) that is <= limit. 0;
 * -EAGAIN: none yet; -EBADMSG: damage; -ESTALE: lapped and the file is gone, or
 * the log was cut before what was read: then a cursor_seek() begins anew.
 * out->payload is valid until the next call. With holds, it is stable; else
 * call cursor_valid() after using it, and throw the result away if false.
 */
int cursor_next(struct cursor *c, uint64_t limit, struct record *out);
bool cursor_valid(const struct cursor *c);
/*
 * Format of the segment file that the record last returned is in; 0: it is in
 * the buffer, where all is of this release's format.
 */
unsigned cursor_format(const struct cursor *c);
/*
 * With holds: everything up to the record last returned may be overwritten.
 * Called once per batch, after `applied` was published.
 */
void cursor_release(struct cursor *c);
/*
 * Of a failure: is it no word about the log, but a read of it that failed? It
 * may be there when it is read again, behind a cursor_seek().
 */
bool cursor_unread(int rc);
/*
 * Where damage was met: "wal/00000007.seg offset 12345"; what could not be
 * read: "wal/00000007.seg"; "" if none.
 */
const char *cursor_place(const struct cursor *c);

#endif
