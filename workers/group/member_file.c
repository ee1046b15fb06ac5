/*
 * Codec of the members file; its format is in member_file.h.
 */
#include "workers/group/member_file.h"

#include <errno.h>

#include "shm/bits.h"
#include "shm/crc32c.h"

size_t
member_file_encode(uint8_t *at, const struct membership *m)
{
	size_t n = member_encode(at + MEMBER_FILE_HEAD, m);

	put_le32(at + 4, MEMBER_FILE_MAGIC);
	put_le32(at + 8, MEMBER_FILE_FORMAT);
	put_le32(at + 12, (uint32_t)n);
	put_le64(at + 16, m->vlsn);
	n += MEMBER_FILE_HEAD;
	put_le32(at, crc32c(0, at + 4, n - 4));
	return n;
}

int
member_file_decode(const uint8_t *at, size_t n, struct membership *out)
{
	if (n < MEMBER_FILE_HEAD || n > MEMBER_FILE_MAX)
		return -EBADMSG;
	if (get_le32(at) != crc32c(0, at + 4, n - 4))
		return -EBADMSG;
	if (get_le32(at + 4) != MEMBER_FILE_MAGIC)
		return -EBADMSG;
	if (get_le32(at + 8) != MEMBER_FILE_FORMAT)
		return -EPROTO;
	if (get_le32(at + 12) != n - MEMBER_FILE_HEAD)
		return -EBADMSG;
	return member_decode(at + MEMBER_FILE_HEAD, n - MEMBER_FILE_HEAD,
	    get_le64(at + 16), out);
}
