/*
 * data_dir/node, read and written. The format is in node_file.h.
 */
#include "conf/node_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_CHARS                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define HEX_CHARS "0123456789abcdef"

static uint64_t
fnv1a(const char *p, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	/* Each step is a bijection: one changed byte always shows. */
	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static bool
is_name(const char *s)
{
	size_t len = strnlen(s, 64);

	return len > 0 && len < 64 && strspn(s, NAME_CHARS) == len;
}

/* Unjoined or joined, and nothing in between. */
static bool
is_sound(const struct node_file *node)
{
	static const uint8_t none[sizeof(node->group_uuid)];
	bool joined = node->generation != 0;

	if (node->format < NODE_FILE_FORMAT_3)
		return node->members == 0;
	return (node->members != 0) == joined &&
	       node->members <= NODE_FILE_MEMBERS &&
	       (memcmp(node->group_uuid, none, sizeof(none)) != 0) == joined;
}

int
node_file_encode(const struct node_file *node, char *buf, size_t buf_size)
{
	char uuid[2 * sizeof(node->group_uuid) + 1], members[32] = "";
	int len, tail;

	if (!is_name(node->node) || !is_name(node->group))
		return -EINVAL;
	if (node->format == 0 || node->format > NODE_FILE_FORMAT_3 ||
	    !is_sound(node))
		return -EINVAL;
	if (node->format == NODE_FILE_FORMAT_3)
		snprintf(members, sizeof(members), "members %" PRIu32 "\n",
		    node->members);
	for (size_t i = 0; i < sizeof(node->group_uuid); i++)
		snprintf(
		    uuid + 2 * i, 3, "%02x", (unsigned int)node->group_uuid[i]);
	len = snprintf(buf, buf_size,
	    "nodelife-node %u\nnode %s\ngroup %s\ngroup_uuid %s\n"
	    "generation %" PRIu64 "\nincarnation %016" PRIx64 "\n%s",
	    node->format, node->node, node->group, uuid, node->generation,
	    node->incarnation, members);
	if (len < 0 || (size_t)len >= buf_size)
		return -ENOSPC;
	tail = snprintf(buf + len, buf_size - (size_t)len,
	    "check %016" PRIx64 "\n", fnv1a(buf, (size_t)len));
	if (tail < 0 || (size_t)tail >= buf_size - (size_t)len)
		return -ENOSPC;
	return len + tail;
}

/* What is left to parse; line numbers are for messages. */
struct lines {
	const char *at, *end;
	unsigned int number;
};

/*
 * The value of the next line, which must be "key value\n" with a value of
 * `chars` that fits: its length, or 0.
 */
static size_t
next_value(struct lines *in, const char *key, const char *chars, char *value,
    size_t value_size)
{
	size_t left = (size_t)(in->end - in->at), key_len = strlen(key), len;
	const char *eol = memchr(in->at, '\n', left);

	in->number++;
	if (eol == NULL || (size_t)(eol - in->at) < key_len + 2 ||
	    memcmp(in->at, key, key_len) != 0 || in->at[key_len] != ' ')
		return 0;
	len = (size_t)(eol - in->at) - key_len - 1;
	if (len >= value_size)
		return 0;
	memcpy(value, in->at + key_len + 1, len);
	value[len] = '\0';
	in->at = eol + 1;
	return strspn(value, chars) == len ? len : 0;
}

static bool
next_number(struct lines *in, const char *key, int base, uint64_t *out)
{
	const char *chars = base == 16 ? HEX_CHARS : "0123456789";
	char text[24];
	size_t len = next_value(in, key, chars, text, sizeof(text));
	uint64_t v = 0;

	if (len == 0 || (base == 16 && len != 16))
		return false;
	for (const char *p = text; *p != '\0'; p++) {
		uint64_t digit = (uint64_t)(strchr(chars, *p) - chars);

		if (v > (UINT64_MAX - digit) / (uint64_t)base)
			return false;
		v = v * (uint64_t)base + digit;
	}
	*out = v;
	return true;
}

static bool
next_uuid(struct lines *in, uint8_t uuid[16])
{
	char text[33];

	if (next_value(in, "group_uuid", HEX_CHARS, text, sizeof(text)) != 32)
		return false;
	for (size_t i = 0; i < 16; i++)
		uuid[i] =
		    (uint8_t)((strchr(HEX_CHARS, text[2 * i]) - HEX_CHARS)
				  << 4 |
			      (strchr(HEX_CHARS, text[2 * i + 1]) - HEX_CHARS));
	return true;
}

__attribute__((format(printf, 4, 5))) static int
refuse(int error, char *why, size_t why_size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_size, fmt, ap);
	va_end(ap);
	return error;
}

int
node_file_decode(const char *text, size_t len, struct node_file *out, char *why,
    size_t why_size)
{
	struct lines in = { text, text + len, 0 };
	struct node_file node = { 0 };
	uint64_t format, check, members = 0;
	const char *checked;

	if (!next_number(&in, "nodelife-node", 10, &format))
		return refuse(-EBADMSG, why, why_size, "not a node file");
	if (format == 0 || format > NODE_FILE_FORMAT_3)
		return refuse(-ENOTSUP, why, why_size,
		    "format version %" PRIu64 ", this program knows %u: run "
		    "the release that wrote it, or a newer one",
		    format, NODE_FILE_FORMAT_3);
	node.format = (uint32_t)format;
	if (next_value(&in, "node", NAME_CHARS, node.node, sizeof(node.node)) ==
		0 ||
	    next_value(&in, "group", NAME_CHARS, node.group,
		sizeof(node.group)) == 0 ||
	    !next_uuid(&in, node.group_uuid) ||
	    !next_number(&in, "generation", 10, &node.generation) ||
	    !next_number(&in, "incarnation", 16, &node.incarnation) ||
	    (format == NODE_FILE_FORMAT_3 &&
		(!next_number(&in, "members", 10, &members) ||
		    members > NODE_FILE_MEMBERS)))
		return refuse(
		    -EBADMSG, why, why_size, "damaged at line %u", in.number);
	node.members = (uint32_t)members;
	checked = in.at;
	if (!next_number(&in, "check", 16, &check) || in.at != in.end)
		return refuse(
		    -EBADMSG, why, why_size, "damaged at line %u", in.number);
	if (check != fnv1a(text, (size_t)(checked - text)))
		return refuse(
		    -EBADMSG, why, why_size, "damaged: its checksum differs");
	if (!is_sound(&node))
		return refuse(-EBADMSG, why, why_size,
		    "damaged: it says neither joined nor unjoined");
	*out = node;
	return 0;
}

/* -errno; EBADMSG is our word for what is read: a file system means EUCLEAN. */
static int
call_error(void)
{
	return errno == EBADMSG ? -EUCLEAN : -errno;
}

/* Up to size bytes; how many, or -errno. */
static ssize_t
read_all(int fd, char *buf, size_t size)
{
	size_t got = 0;
	ssize_t n;

	while (got < size) {
		n = read(fd, buf + got, size - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return call_error();
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int
write_all(int fd, const char *buf, size_t size)
{
	ssize_t n;

	while (size > 0) {
		n = write(fd, buf, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		size -= (size_t)n;
	}
	return 0;
}

int
node_file_read(
    int data_dir_fd, struct node_file *out, char *why, size_t why_size)
{
	char text[NODE_FILE_MAX];
	ssize_t len;
	int fd, rc;

	fd = openat(data_dir_fd, NODE_FILE_NAME,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		rc = call_error();
		return refuse(rc, why, why_size, "%s", strerror(-rc));
	}
	len = read_all(fd, text, sizeof(text));
	if (len < 0)
		rc = refuse((int)len, why, why_size, "%s", strerror((int)-len));
	else
		rc = node_file_decode(text, (size_t)len, out, why, why_size);
	close(fd);
	return rc;
}

/* The file belongs to whom its directory does. */
static int
give_away(int data_dir_fd, int fd)
{
	struct stat dir;

	if (geteuid() != 0)
		return 0;
	if (fstat(data_dir_fd, &dir) != 0 ||
	    fchown(fd, dir.st_uid, dir.st_gid) != 0)
		return -errno;
	return 0;
}

/*
 * The text, flushed, under its name aside. A fresh file: what is there under
 * that name may be a link that another user made.
 */
static int
write_aside(int data_dir_fd, const char *text, size_t len)
{
	int fd, rc;

	if (unlinkat(data_dir_fd, NODE_FILE_TMP, 0) != 0 && errno != ENOENT)
		return -errno;
	fd = openat(data_dir_fd, NODE_FILE_TMP,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, text, len);
	if (rc == 0)
		rc = give_away(data_dir_fd, fd);
	if (rc == 0 && fsync(fd) != 0)
		rc = -errno;
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

int
node_file_write(int data_dir_fd, const struct node_file *node)
{
	char text[NODE_FILE_MAX];
	int len, rc;

	if ((len = node_file_encode(node, text, sizeof(text))) < 0)
		return len;
	if ((rc = write_aside(data_dir_fd, text, (size_t)len)) != 0)
		goto out;
	if (renameat(data_dir_fd, NODE_FILE_TMP, data_dir_fd, NODE_FILE_NAME) !=
	    0) {
		rc = -errno;
		goto out;
	}
	if (fsync(data_dir_fd) != 0)
		return -errno;
	return 0;
out:
	unlinkat(data_dir_fd, NODE_FILE_TMP, 0);
	return rc;
}
