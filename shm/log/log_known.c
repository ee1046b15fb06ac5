/*
 * What else than the log tells of its records. A checkpoint holds what they
 * did, so that the log goes on behind it, with its term and clock. The VLSN
 * index names records that were durable, so their VLSNs are not given out
 * again. Neither is needed: what cannot be read tells nothing.
 */
#include "shm/log/logcheck.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/kv/store_db.h"
#include "shm/log/index_file.h"
#include "shm/log/terms.h"
#include "shm/log/walbuf.h"
#include "shm/position.h"

#define HINT_MAGIC UINT64_C(0x31746e69684c4157) /* "WALhint1" */

static bool
is_group(const uint8_t uuid[16], const uint8_t group[16])
{
	static const uint8_t none[16];

	return memcmp(uuid, none, 16) == 0 || memcmp(uuid, group, 16) == 0;
}

/* All of them, or none: what does not rise is no list of runs. */
static void
terms_take(struct terms *terms, const struct store_term *list, size_t count)
{
	bool good = true;
	size_t i;

	for (i = 0; good && i < count; i++)
		good = terms_add(terms, list[i].term, list[i].vlsn);
	if (!good)
		terms_clear(terms);
}

static int
checkpoint_take(struct log_known *out, const char *data_path,
    const uint8_t group[16], struct terms *terms)
{
	struct store_term *list = NULL;
	struct store_state st;
	char path[PATH_MAX];
	size_t count = 0;
	int rc;

	snprintf(path, sizeof(path), "%s/store", data_path);
	rc = store_db_peek(path, &st, terms != NULL ? &list : NULL, &count);
	/* None, or a foreign one: checkpoint refuses that. */
	out->checkpoint_read = rc == -ENOENT;
	if (rc == 0 && is_group(st.group_uuid, group)) {
		out->checkpoint_read = true;
		out->checkpoint = st.vlsn;
		out->term = st.term;
		out->time_ms = st.time_ms;
		if (terms != NULL)
			terms_take(terms, list, count);
	}
	free(list);
	return rc == -ENOENT ? 0 : rc;
}

/* One of an older generation knew what force has given up since. */
static void
index_take(struct log_known *out, int data_dir, const uint8_t group[16],
    uint64_t generation)
{
	struct index_image img = { 0 };
	int fd, rc;

	fd = openat(data_dir, INDEX_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	rc = index_file_read(fd, &img);
	close(fd);
	if (rc == 0 && is_group(img.head.id.group_uuid, group) &&
	    img.head.id.generation >= generation) {
		out->indexed = img.durable;
		if (img.count != 0)
			out->indexed_segment =
			    lsn_segment(img.sample[img.count - 1].lsn);
	}
	index_image_free(&img);
}

void
log_known_read(struct log_known *out, const char *data_path, int data_dir,
    int wal_dir, const uint8_t group_uuid[16], uint64_t generation,
    struct terms *terms, int *checkpoint_error)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = checkpoint_take(out, data_path, group_uuid, terms);
	out->store_gone = faccessat(data_dir, LOG_STORE_FILE, F_OK, 0) != 0 &&
			  errno == ENOENT;
	if (checkpoint_error != NULL)
		*checkpoint_error = rc;
	index_take(out, data_dir, group_uuid, generation);
	if (wal_dir >= 0)
		out->hint = log_hint_read(wal_dir);
}

void
log_hint_encode(uint8_t out[LOG_HINT_SIZE], uint64_t vlsn)
{
	put_le64(out, HINT_MAGIC);
	put_le64(out + 8, vlsn);
	put_le64(out + 16, crc32c(0, out, 16));
}

uint64_t
log_hint_read(int wal_dir)
{
	uint8_t buf[LOG_HINT_SIZE];
	ssize_t n;
	int fd;

	fd = openat(wal_dir, LOG_HINT_NAME, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = pread(fd, buf, sizeof(buf), 0);
	close(fd);
	if (n != (ssize_t)sizeof(buf) || get_le64(buf) != HINT_MAGIC ||
	    get_le64(buf + 16) != crc32c(0, buf, 16) ||
	    get_le64(buf + 8) >= VLSN_MASK)
		return 0;
	return get_le64(buf + 8);
}
