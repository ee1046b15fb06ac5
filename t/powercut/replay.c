/*
 * What a disk held when its power went: replays a log of its writes and flushes
 * (qemu's blklogwrites; the format is that of Linux' dm-log-writes).
 *
 *	replay list LOG
 *	replay cut LOG ENTRY SEED LIES IMAGE
 *
 * list: a line for each entry: its number, the log's size with it, flags,
 * sectors, and what it is known by ("segment" begins one, "checkpoint" ends
 * one, "-").
 * cut: power goes before ENTRY. IMAGE, a copy of the disk as it was before the
 * log, gets every write that a flush has followed, and of those behind the last
 * flush what SEED keeps, by 512 bytes. LIES: a disk that answers flushes and
 * does nothing: the last so many entries are in its cache whatever it said.
 */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/lib/splitmix.h"

#define SECTOR      512u
#define LOG_MAGIC   UINT64_C(0x6a736677736872)
#define LOG_FLUSH   1u
#define LOG_FUA     2u
#define LOG_DROP    4u /* discarded: what is read there is anything */
#define LOG_MARK    8u
#define LOG_FLAGS   15u
#define FIRST_BLOCK 8u /* sectors */
/* Where in a block who knows its format finds it. */
#define SEGMENT_AT 48u /* shm/log/segment.h: behind the record's header */
#define META_AT    16u /* LMDB: behind the page's header */

struct log {
	const uint8_t *at;
	uint64_t size;
	uint64_t next; /* offset of the next entry */
	uint64_t count; /* entries read */
};

struct entry {
	uint64_t sector, sectors, flags;
	const uint8_t *data; /* NULL: none, as of a flush */
};

static uint64_t
le64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

static uint32_t
le32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return le32toh(v);
}

static struct log
log_open(const char *path)
{
	struct log l = { .next = SECTOR };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0)
		err(1, "%s", path);
	l.size = (uint64_t)st.st_size;
	if (l.size < SECTOR)
		errx(1, "%s: no log", path);
	l.at = mmap(NULL, l.size, PROT_READ, MAP_SHARED, fd, 0);
	if (l.at == MAP_FAILED)
		err(1, "%s", path);
	if (le64(l.at) != LOG_MAGIC || le64(l.at + 8) != 1 ||
	    le32(l.at + 24) != SECTOR)
		errx(1, "%s: not a version 1 log of 512-byte sectors", path);
	close(fd);
	return l;
}

/*
 * The next entry; false behind the last one. The superblock counts those of the
 * last flush only; whoever was killed may have left a part of one behind them.
 */
static bool
log_next(struct log *l, struct entry *e)
{
	const uint8_t *head = l->at + l->next;
	uint64_t space = l->size - l->next;
	bool data;

	if (space < SECTOR)
		return false;
	*e = (struct entry){ .sector = le64(head),
		.sectors = le64(head + 8),
		.flags = le64(head + 16) };
	if (e->sectors == 0 && e->flags == 0)
		return false;
	if (e->flags > LOG_FLAGS || le64(head + 24) != 0)
		errx(1, "entry %ju: the log is broken", (uintmax_t)l->count);
	data = (e->flags & (LOG_DROP | LOG_MARK)) == 0 && e->sectors != 0;
	if (data && e->sectors > space / SECTOR - 1)
		return false;
	e->data = data ? head + SECTOR : NULL;
	l->next += SECTOR + (data ? e->sectors * SECTOR : 0);
	l->count++;
	return true;
}

static const char *
entry_mark(const struct entry *e)
{
	for (uint64_t i = 0; e->data != NULL && i < e->sectors; i++) {
		const uint8_t *at = e->data + i * SECTOR;

		if (memcmp(at + SEGMENT_AT, "NLWS", 4) == 0)
			return "segment";
		if (le32(at + META_AT) == UINT32_C(0xbeefc0de))
			return "checkpoint";
	}
	return "-";
}

static void
list(struct log *l)
{
	struct entry e;

	while (log_next(l, &e))
		printf("%ju %ju %ju %ju %s\n", (uintmax_t)l->count - 1,
		    (uintmax_t)l->next, (uintmax_t)e.flags,
		    (uintmax_t)e.sectors, entry_mark(&e));
	if (l->count < le64(l->at + 16))
		errx(1, "%ju entries of %ju: the log is broken",
		    (uintmax_t)l->count, (uintmax_t)le64(l->at + 16));
}

static void
put(int fd, const struct entry *e, uint64_t from, uint64_t n)
{
	size_t bytes = n * SECTOR;

	if (pwrite(fd, e->data + from * SECTOR, bytes,
		(off_t)((e->sector + from) * SECTOR)) != (ssize_t)bytes)
		err(1, "write");
}

/*
 * How many sectors of a write, from the ith on, go together: one, but for the
 * file system's first block. ext4's superblock is two sectors with one checksum
 * and is read before the journal that would mend it: a torn one mounts never.
 */
static uint64_t
unit(const struct entry *e, uint64_t i)
{
	uint64_t sector = e->sector + i;
	uint64_t left = e->sectors - i;
	uint64_t n = sector < FIRST_BLOCK ? FIRST_BLOCK - sector : 1;

	return n < left ? n : left;
}

/* The number behind the last flush in front of `cut`: all before it is safe. */
static uint64_t
safe_end(struct log l, uint64_t cut, uint64_t lies)
{
	struct entry e;
	uint64_t end = 0;

	if (lies != 0)
		return cut < lies ? 0 : cut - lies;
	while (l.count < cut && log_next(&l, &e))
		if ((e.flags & LOG_FLUSH) != 0)
			end = l.count;
	if (l.count < cut)
		errx(1, "the log has %ju entries", (uintmax_t)l.count);
	return end;
}

/* Of a hundred blocks behind the last flush so many are kept. */
static const unsigned keeps[] = { 0, 10, 50, 90, 99 };

static void
cut(struct log *l, uint64_t at, uint64_t seed, uint64_t lies, int fd)
{
	uint64_t safe = safe_end(*l, at, lies), all = 0, kept = 0;
	/* A cache that goes as a whole leaves no trace; that is what lies do.
	 */
	bool all_lost = lies != 0 && seed % 2 == 0;
	unsigned keep = all_lost ? 0 : keeps[splitmix(&seed) % 5];
	bool whole =
	    splitmix(&seed) % 4 == 0; /* writes, not blocks, are lost */
	struct entry e;

	while (l->count < at && log_next(l, &e)) {
		/* A discard is never done: the old bytes are allowed, too. */
		if (e.data == NULL)
			continue;
		if (l->count <= safe || (e.flags & LOG_FUA) != 0) {
			put(fd, &e, 0, e.sectors);
			continue;
		}
		all += e.sectors;
		for (uint64_t i = 0; i < e.sectors;) {
			uint64_t n = whole ? e.sectors : unit(&e, i);

			if (splitmix(&seed) % 100 < keep) {
				put(fd, &e, i, n);
				kept += n;
			}
			i += n;
		}
	}
	printf("%ju %ju %ju\n", (uintmax_t)(at - safe), (uintmax_t)all,
	    (uintmax_t)kept);
}

int
main(int argc, char **argv)
{
	bool lists = argc == 3 && strcmp(argv[1], "list") == 0;
	struct log l;
	int fd;

	if (!lists && (argc != 7 || strcmp(argv[1], "cut") != 0))
		errx(64,
		    "usage: replay list LOG | cut LOG ENTRY SEED LIES IMAGE");
	l = log_open(argv[2]);
	if (lists) {
		list(&l);
		return 0;
	}
	fd = open(argv[6], O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", argv[6]);
	cut(&l, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
	    strtoull(argv[5], NULL, 10), fd);
	return close(fd) == 0 ? 0 : 1;
}
