/*
 * data_dir/node: what was written is read back; every damaged, cut or
 * lengthened file is refused, never half believed; a write that fails leaves
 * the old file.
 */
#include "conf/node_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/tap.h"

static const struct node_file sample = {
	.format = NODE_FILE_FORMAT,
	.node = "n1",
	.group = "demo.group-1",
	.group_uuid = { 0, 1, 2, 3, 0xfd, 0xfe, 0xff, 7, 8, 9, 10, 11, 12, 13,
	    14, 15 },
	.generation = 3,
	.incarnation = UINT64_C(0x0123456789abcdef),
};

static bool
same(const struct node_file *a, const struct node_file *b)
{
	return a->format == b->format && strcmp(a->node, b->node) == 0 &&
	       strcmp(a->group, b->group) == 0 &&
	       memcmp(a->group_uuid, b->group_uuid, 16) == 0 &&
	       a->generation == b->generation &&
	       a->incarnation == b->incarnation;
}

static void
test_text(void)
{
	char text[NODE_FILE_MAX], bad[NODE_FILE_MAX + 1], why[128];
	struct node_file out;
	struct node_file old = sample;
	int len = node_file_encode(&sample, text, sizeof(text));
	int wrong = 0;

	ok(len > 0 && len < NODE_FILE_MAX, "encoded (%d bytes)", len);
	is_i64(node_file_decode(text, (size_t)len, &out, why, sizeof(why)), 0,
	    "decoded");
	ok(same(&out, &sample), "same as before");
	for (int i = 0; i < len * 8; i++) {
		memcpy(bad, text, (size_t)len);
		bad[i / 8] = (char)(bad[i / 8] ^ 1 << i % 8);
		wrong += node_file_decode(
			     bad, (size_t)len, &out, why, sizeof(why)) == 0;
	}
	is_i64(wrong, 0, "no flipped bit goes unseen");
	for (int i = 0; i < len; i++)
		wrong += node_file_decode(
			     text, (size_t)i, &out, why, sizeof(why)) == 0;
	is_i64(wrong, 0, "no cut goes unseen");
	memcpy(bad, text, (size_t)len);
	bad[len] = '\n';
	is_i64(node_file_decode(bad, (size_t)len + 1, &out, why, sizeof(why)),
	    -EBADMSG, "nothing may follow");
	is_i64(node_file_decode(
		   "nodelife-node 9\nx\n", 18, &out, why, sizeof(why)),
	    -ENOTSUP, "a later format is told apart from damage");
	is_str(why,
	    "format version 9, this program knows 3: run the release that "
	    "wrote it, or a newer one",
	    "and named, with what to do");
	is_i64(node_file_decode(
		   "nodelife-node 0\nx\n", 18, &out, why, sizeof(why)),
	    -ENOTSUP, "there is no format 0");
	old.format = NODE_FILE_FORMAT_1;
	len = node_file_encode(&old, text, sizeof(text));
	ok(memcmp(text, "nodelife-node 1\n", 16) == 0, "the format before");
	is_i64(node_file_decode(text, (size_t)len, &out, why, sizeof(why)), 0,
	    "is read");
	ok(same(&out, &old), "as what it is");
	old.format = NODE_FILE_FORMAT_3 + 1;
	is_i64(node_file_encode(&old, text, sizeof(text)), -EINVAL,
	    "none that is not known is written");
}

/* Of a group of several: unjoined, then joined, and nothing else. */
static void
test_several(void)
{
	char text[NODE_FILE_MAX], why[128];
	struct node_file n = sample, out;
	int len;

	n.format = NODE_FILE_FORMAT_3;
	n.members = 3;
	len = node_file_encode(&n, text, sizeof(text));
	ok(len > 0 && strstr(text, "\nmembers 3\ncheck ") != NULL,
	    "one of three");
	is_i64(node_file_decode(text, (size_t)len, &out, why, sizeof(why)), 0,
	    "is read");
	ok(same(&out, &n) && out.members == 3 && node_file_joined(&out),
	    "as what it is");
	n.members = NODE_FILE_MEMBERS + 1;
	is_i64(node_file_encode(&n, text, sizeof(text)), -EINVAL,
	    "there are no larger groups");
	n.members = 0;
	is_i64(node_file_encode(&n, text, sizeof(text)), -EINVAL,
	    "a uuid, and no members");
	memset(n.group_uuid, 0, sizeof(n.group_uuid));
	is_i64(node_file_encode(&n, text, sizeof(text)), -EINVAL,
	    "a generation, and no group");
	n.generation = 0;
	len = node_file_encode(&n, text, sizeof(text));
	is_i64(node_file_decode(text, (size_t)len, &out, why, sizeof(why)), 0,
	    "an unjoined one is read");
	ok(same(&out, &n) && !node_file_joined(&out), "as what it is");
}

static void
test_names(void)
{
	char text[NODE_FILE_MAX];
	struct node_file bad = sample;

	bad.node[0] = '\0';
	is_i64(node_file_encode(&bad, text, sizeof(text)), -EINVAL,
	    "an empty name is refused");
	memset(bad.node, 'x', sizeof(bad.node));
	is_i64(node_file_encode(&bad, text, sizeof(text)), -EINVAL,
	    "a name without its end is refused");
	memcpy(bad.node, "a\nb", 4);
	is_i64(node_file_encode(&bad, text, sizeof(text)), -EINVAL,
	    "a name of two lines is refused");
	is_i64(node_file_encode(&sample, text, 40), -ENOSPC,
	    "a short buffer is refused");
}

static void
test_files(void)
{
	char dir[] = "/tmp/supervisor_node_file.XXXXXX", why[128];
	struct node_file out, next = sample;
	struct stat st;
	int fd;

	if (!ok(mkdtemp(dir) != NULL, "made %s", dir))
		return;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	is_i64(
	    node_file_read(fd, &out, why, sizeof(why)), -ENOENT, "no file yet");
	is_i64(node_file_write(fd, &sample), 0, "written");
	is_i64(node_file_read(fd, &out, why, sizeof(why)), 0, "read");
	ok(same(&out, &sample), "same as before");
	ok(fstatat(fd, NODE_FILE_TMP, &st, 0) != 0, "nothing left aside");
	next.generation++;
	ok(mkdirat(fd, NODE_FILE_TMP, 0700) == 0, "the place aside is taken");
	is_i64(node_file_write(fd, &next), -EISDIR, "so a write fails");
	ok(node_file_read(fd, &out, why, sizeof(why)) == 0 &&
		same(&out, &sample),
	    "and the old file stands");
	ok(unlinkat(fd, NODE_FILE_TMP, AT_REMOVEDIR) == 0, "place freed");
	is_i64(node_file_write(fd, &next), 0, "written again");
	ok(node_file_read(fd, &out, why, sizeof(why)) == 0 && same(&out, &next),
	    "the new file stands");
	unlinkat(fd, NODE_FILE_NAME, 0);
	close(fd);
	ok(rmdir(dir) == 0, "nothing else was made");
}

int
main(void)
{
	test_text();
	test_several();
	test_names();
	test_files();
	return tap_done();
}
