/*
 * The note file, read and written. Its format is in note_file.h.
 */
#include "workers/group/note_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/bits.h"
#include "shm/crc32c.h"
#include "shm/fault.h"

size_t
note_encode(uint8_t *at, const struct note *note)
{
	size_t n = member_encode(at + NOTE_FILE_HEAD, &note->members);

	put_le32(at + 4, NOTE_FILE_MAGIC);
	put_le32(at + 8, NOTE_FILE_FORMAT);
	put_le32(at + 12, (uint32_t)n);
	put_le64(at + 16, note->initiator);
	n += NOTE_FILE_HEAD;
	put_le32(at, crc32c(0, at + 4, n - 4));
	return n;
}

int
note_decode(const uint8_t *at, size_t n, struct note *out)
{
	int rc;

	if (n < NOTE_FILE_HEAD || n > NOTE_FILE_MAX)
		return -EBADMSG;
	if (get_le32(at) != crc32c(0, at + 4, n - 4))
		return -EBADMSG;
	if (get_le32(at + 4) != NOTE_FILE_MAGIC)
		return -EBADMSG;
	if (get_le32(at + 8) != NOTE_FILE_FORMAT)
		return -EPROTO;
	if (get_le32(at + 12) != n - NOTE_FILE_HEAD)
		return -EBADMSG;
	rc = member_decode(
	    at + NOTE_FILE_HEAD, n - NOTE_FILE_HEAD, 0, &out->members);
	if (rc != 0)
		return rc;
	out->initiator = get_le64(at + 16);
	return member_find(&out->members, out->initiator) >= 0 ? 0 : -EBADMSG;
}

int
note_read(int dir, struct note *out)
{
	uint8_t buf[NOTE_FILE_MAX + 1];
	size_t got = 0;
	ssize_t n;
	int fd, rc = 0;

	fd = openat(
	    dir, NOTE_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fault_of_call(-errno);
	do {
		n = read(fd, buf + got, sizeof(buf) - got);
		if (n > 0)
			got += (size_t)n;
	} while ((n > 0 && got < sizeof(buf)) || (n < 0 && errno == EINTR));
	if (n < 0)
		rc = fault_of_call(-errno);
	close(fd);
	return rc == 0 ? note_decode(buf, got, out) : rc;
}

static int
write_aside(int dir, const uint8_t *at, size_t n)
{
	ssize_t done;
	int fd, rc = 0;

	if (unlinkat(dir, NOTE_TMP, 0) != 0 && errno != ENOENT)
		return -errno;
	fd = openat(
	    dir, NOTE_TMP, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	while (rc == 0 && n > 0) {
		done = write(fd, at, n);
		if (done > 0) {
			at += done;
			n -= (size_t)done;
		} else if (done == 0 || errno != EINTR) {
			rc = done == 0 ? -ENOSPC : -errno;
		}
	}
	if (rc == 0 && fsync(fd) != 0)
		rc = -errno;
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

int
note_write(int dir, const struct note *note)
{
	uint8_t buf[NOTE_FILE_MAX];
	int rc = write_aside(dir, buf, note_encode(buf, note));

	if (rc == 0 && renameat(dir, NOTE_TMP, dir, NOTE_FILE) != 0)
		rc = -errno;
	if (rc != 0) {
		unlinkat(dir, NOTE_TMP, 0);
		return rc;
	}
	return fsync(dir) == 0 ? 0 : -errno;
}

int
note_remove(int dir)
{
	if (unlinkat(dir, NOTE_FILE, 0) != 0 && errno != ENOENT)
		return -errno;
	return fsync(dir) == 0 ? 0 : -errno;
}

bool
memory_lost(const struct node_file *node, const struct memory *m)
{
	/* A group of one is founded without a note. */
	if (node->format < NODE_FILE_FORMAT_3 || !node_file_joined(node))
		return false;
	if (!m->note)
		return !m->state || m->end == 0;
	/* A promise is behind the log's beginning, a record behind both. */
	return (m->end != 0 && !m->state) || (m->term != 0 && m->end == 0);
}
