/*
 * Group key and proofs: see auth.h. Nothing here logs, and no message shows a
 * byte of a key.
 */
#include "ipc/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define AUTH_LABEL "nodelife peer 1"
#define AUTH_HEAD  20

_Static_assert(sizeof(AUTH_LABEL) == 16, "with its NUL");

/* Is it a file that only who runs us, or root, can read and change? */
static int
key_file_check(int fd, char *why, size_t why_size)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) != 0) {
		rc = -errno;
		snprintf(why, why_size, "fstat: %s", strerror(-rc));
		return rc;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, why_size, "not a plain file");
		return -EINVAL;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(why, why_size,
		    "owned by user %u, who could change it: chown root",
		    (unsigned)st.st_uid);
		return -EPERM;
	}
	if ((st.st_mode & 077) != 0) {
		snprintf(why, why_size,
		    "mode %04o, others can use it: chmod 600, and make a new "
		    "key if they may have read it",
		    (unsigned)st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

/* All of it, if that is at most `room` bytes; else room. Or -errno. */
static ssize_t
read_all(int fd, uint8_t *buf, size_t room)
{
	size_t have = 0;
	ssize_t n;

	while (have < room) {
		n = read(fd, buf + have, room - have);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* Its bytes, one newline at the end and one byte too many included. */
static int
key_bytes(int fd, struct auth_key *key, char *why, size_t why_size)
{
	uint8_t buf[AUTH_KEY_MAX + 2];
	ssize_t n = read_all(fd, buf, sizeof(buf));
	int rc = 0;

	if (n < 0) {
		rc = (int)n;
		snprintf(why, why_size, "read: %s", strerror(-rc));
	} else {
		if (n > 0 && buf[n - 1] == '\n')
			n--;
		if (n < AUTH_KEY_MIN || n > AUTH_KEY_MAX) {
			rc = -EINVAL;
			snprintf(why, why_size,
			    "a key has %d to %d bytes: make one with openssl "
			    "rand -hex 32",
			    AUTH_KEY_MIN, AUTH_KEY_MAX);
		} else {
			key->len = (uint16_t)n;
			memcpy(key->byte, buf, (size_t)n);
		}
	}
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

int
auth_key_read(
    const char *path, struct auth_key *key, char *why, size_t why_size)
{
	int fd, rc;

	memset(key, 0, sizeof(*key));
	/* Not to wait for the other end of a fifo. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		rc = -errno;
		snprintf(why, why_size, "open: %s", strerror(-rc));
		return rc;
	}
	rc = key_file_check(fd, why, why_size);
	if (rc == 0)
		rc = key_bytes(fd, key, why, why_size);
	close(fd);
	return rc;
}

void
auth_key_wipe(struct auth_key *key)
{
	explicit_bzero(key, sizeof(*key));
}

int
auth_tag(const struct auth_key *key, const struct auth_input *in,
    uint8_t tag[AUTH_TAG])
{
	uint8_t data[AUTH_HEAD + AUTH_SAID_MAX];
	size_t n = AUTH_HEAD;
	unsigned len = 0;

	ASSERT(in->said_len <= AUTH_SAID_MAX);
	ASSERT(in->fields_len <= AUTH_SAID_MAX - in->said_len);
	memcpy(data, AUTH_LABEL, sizeof(AUTH_LABEL));
	data[16] = in->role;
	data[17] = in->on;
	put_le16(data + 18, in->version);
	memcpy(data + n, in->said, in->said_len);
	n += in->said_len;
	memcpy(data + n, in->fields, in->fields_len);
	n += in->fields_len;
	/* No file of its own, and none that the environment names. */
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 ||
	    HMAC(EVP_sha256(), key->byte, key->len, data, n, tag, &len) == NULL)
		return -ENOMEM;
	ASSERT(len == AUTH_TAG);
	return 0;
}

bool
auth_tag_equal(const uint8_t a[AUTH_TAG], const uint8_t b[AUTH_TAG])
{
	return CRYPTO_memcmp(a, b, AUTH_TAG) == 0;
}
