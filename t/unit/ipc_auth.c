/*
 * The group's key: which files are taken for one and which are refused, in
 * words that help; tags that another implementation made; that each part of
 * what is proven changes the tag.
 */
#include "ipc/auth.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "shm/assert.h"
#include "t/tap.h"

static char dir[] = "/tmp/ipc_auth.XXXXXX";
static char path[64];

static void
key_file(const void *bytes, size_t n, mode_t mode)
{
	int fd;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n ||
	    fchmod(fd, mode) != 0 || close(fd) != 0)
		err(1, "%s", path);
}

static void
check_key(const void *bytes, size_t n, mode_t mode, int want_rc, size_t want,
    const char *name)
{
	char why[256] = "";
	struct auth_key key;
	int rc;

	key_file(bytes, n, mode);
	rc = auth_key_read(path, &key, why, sizeof(why));
	ok(rc == want_rc && key.len == want, "%s: %s", name,
	    rc == 0 ? "taken" : why);
	if (rc != 0)
		ok(why[0] != '\0' && strstr(why, "secret") == NULL,
		    "%s: said, without a byte of it", name);
	auth_key_wipe(&key);
}

static void
test_files(void)
{
	static char big[AUTH_KEY_MAX + 2];
	const char *key = "a secret of 24 bytes, ok";
	char why[256] = "";
	struct auth_key k;

	memset(big, 's', sizeof(big));
	check_key(key, 24, 0600, 0, 24, "mode 600");
	check_key(key, 24, 0400, 0, 24, "mode 400");
	check_key(key, 24, 0640, -EPERM, 0, "mode 640");
	check_key(key, 24, 0604, -EPERM, 0, "mode 604");
	check_key(key, 24, 0620, -EPERM, 0, "mode 620");
	check_key(
	    "0123456789abcdef\n", 17, 0600, 0, 16, "a newline at the end");
	check_key("0123456789abcde\n", 16, 0600, -EINVAL, 0, "15 bytes");
	check_key("", 0, 0600, -EINVAL, 0, "no byte");
	check_key("0123456789\0bcdef\n\n", 18, 0600, 0, 17, "any bytes");
	check_key(big, AUTH_KEY_MAX, 0600, 0, AUTH_KEY_MAX, "1,024 bytes");
	check_key(big, AUTH_KEY_MAX + 1, 0600, -EINVAL, 0, "1,025 bytes");
	check_key(big, AUTH_KEY_MAX + 2, 0600, -EINVAL, 0, "1,026 bytes");
	(void)unlink(path);
	is_i64(auth_key_read(path, &k, why, sizeof(why)), -ENOENT, "no file");
	is_str(why, "open: No such file or directory", "says so");
	is_i64(
	    auth_key_read(dir, &k, why, sizeof(why)), -EINVAL, "a directory");
	if (mkfifo(path, 0600) != 0)
		err(1, "%s", path);
	is_i64(auth_key_read(path, &k, why, sizeof(why)), -EINVAL,
	    "a fifo, without waiting for its writer");
	is_u64(k.len, 0, "no key then");
	(void)unlink(path);
	if (geteuid() == 0) {
		key_file(key, 24, 0600);
		if (chown(path, 12345, 0) != 0)
			err(1, "%s", path);
		is_i64(auth_key_read(path, &k, why, sizeof(why)), -EPERM,
		    "of another user");
		ok(strstr(why, "12345") != NULL, "says whose: %s", why);
		(void)unlink(path);
	}
}

static void
test_wipe(void)
{
	struct auth_key key = { .len = 16, .byte = "0123456789abcdef" };
	const uint8_t *at = (const uint8_t *)&key;
	unsigned left = 0;
	size_t i;

	auth_key_wipe(&key);
	for (i = 0; i < sizeof(key); i++)
		left += at[i] != 0;
	is_u64(left, 0, "a wiped key has no byte left");
}

static struct auth_key key = { .len = 16, .byte = "0123456789abcdef" };

static bool
tag_is(const struct auth_key *k, unsigned role, unsigned on, unsigned version,
    const char *said, const char *fields, const char *hex)
{
	struct auth_input in = { .role = (uint8_t)role,
		.on = (uint8_t)on,
		.version = (uint16_t)version,
		.said = (const uint8_t *)said,
		.said_len = strlen(said),
		.fields = (const uint8_t *)fields,
		.fields_len = strlen(fields) };
	char got[2 * AUTH_TAG + 1];
	uint8_t tag[AUTH_TAG];
	unsigned i;

	if (auth_tag(k, &in, tag) != 0)
		return false;
	for (i = 0; i < AUTH_TAG; i++)
		snprintf(got + 2 * i, 3, "%02x", tag[i]);
	return strcmp(got, hex) == 0;
}

/* Made with Python's hmac. */
static const char tag_plain[] =
    "d2158c258890c239e1b8a9a1c7fbe3beab7b3cf1cc9ba5aea407a3dfe7954622";
static const char tag_none[] =
    "3052fde88dd87fbdee219d372153866fe45285bbba8e7e27058d961000a2dca6";

static void
test_tags(void)
{
	static const struct auth_key none;
	static const struct auth_key other = { .len = 16,
		.byte = "0123456789abcdeF" };

	ok(tag_is(&key, 1, 1, 1, "said", "fields", tag_plain),
	    "the tag of another implementation");
	ok(tag_is(&none, 1, 1, 1, "said", "fields", tag_none),
	    "also with no key");
	ok(!tag_is(&other, 1, 1, 1, "said", "fields", tag_plain),
	    "another key");
	ok(!tag_is(&key, 2, 1, 1, "said", "fields", tag_plain), "another role");
	ok(!tag_is(&key, 1, 2, 1, "said", "fields", tag_plain),
	    "another connection");
	ok(!tag_is(&key, 1, 1, 257, "said", "fields", tag_plain),
	    "another version");
	ok(!tag_is(&key, 1, 1, 1, "sAid", "fields", tag_plain), "other words");
	ok(!tag_is(&key, 1, 1, 1, "said", "fieldS", tag_plain), "other fields");
}

static void
test_equal(void)
{
	uint8_t a[AUTH_TAG] = { 0 }, b[AUTH_TAG] = { 0 };
	unsigned i, wrong = 0;

	ok(auth_tag_equal(a, b), "equal tags are");
	for (i = 0; i < 8 * AUTH_TAG; i++) {
		b[i / 8] ^= (uint8_t)(1u << i % 8);
		wrong += auth_tag_equal(a, b);
		b[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	is_u64(wrong, 0, "one bit is enough to differ");
}

int
main(void)
{
	if (mkdtemp(dir) == NULL)
		err(1, "%s", dir);
	snprintf(path, sizeof(path), "%s/key", dir);
	test_files();
	test_wipe();
	test_tags();
	test_equal();
	(void)rmdir(dir);
	return tap_done();
}
