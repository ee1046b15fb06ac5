/*
 * data_dir/node: whose data a directory holds. Written when a group is founded
 * or joined, and when a forced boot begins a new generation; read by the
 * supervisor (is this directory ours?), by wal (uuid and generation stand in
 * segment headers) and by group (incarnation).
 *
 * Text, one "key value" per line, in this order and nothing else:
 *	nodelife-node 2			format version
 *	node NAME
 *	group NAME
 *	group_uuid 32 hex digits
 *	generation NUMBER
 *	incarnation 16 hex digits
 *	members NUMBER			format 3 only
 *	check 16 hex digits		FNV-1a 64 of all bytes before this line
 *
 * Format 1 is the same text, of a directory whose log has no segment of log
 * format 2; wal makes format 2 of it before it begins one. So a release that
 * knows none of these refuses the directory by this file, and says why.
 *
 * Format 3 is of a node that is, or is to be, of a group of several: how many
 * founded it, with this one. As long as it is *unjoined* that is 0, as are
 * generation and uuid; then one rename joins it, for good. The line outlives
 * all other files: a directory that has lost those is none that was founded
 * just now.
 */
#ifndef CONF_NODE_FILE_H
#define CONF_NODE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_FILE_NAME     "node"
#define NODE_FILE_TMP      "node.tmp" /* while it is written */
#define NODE_FILE_FORMAT_1 1u
#define NODE_FILE_FORMAT   2u
#define NODE_FILE_FORMAT_3 3u /* of a group of several */
#define NODE_FILE_MEMBERS  16u /* in a group, at most */

struct node_file {
	uint32_t format; /* NODE_FILE_FORMAT, _1 or _3 */
	char node[64];
	char group[64];
	uint8_t group_uuid[16];
	uint64_t generation; /* of the group's history, from 1 */
	uint64_t incarnation; /* random, one per life of the directory */
	uint32_t members; /* of FORMAT_3: that founded the group; else 0 */
};

/* Is it of a group? Else it waits for one to be founded. */
static inline bool
node_file_joined(const struct node_file *node)
{
	return node->generation != 0;
}

/*
 * 0 or -errno, then why[] says what is wrong: -ENOENT no such file, -ENOTSUP
 * another format version, -EBADMSG damaged or not a node file.
 */
int node_file_read(
    int data_dir_fd, struct node_file *out, char *why, size_t why_size);

/*
 * Written aside, given to the directory's owner (if we are root), flushed,
 * renamed, directory flushed: after 0 it is there for good, after -errno the
 * file is as it was; who dies in between leaves one or the other. The names
 * must be ones that conf_load() accepts, else -EINVAL.
 */
int node_file_write(int data_dir_fd, const struct node_file *node);

/*
 * The same without files, for tests and tools. encode: bytes written, or
 * -EINVAL, -ENOSPC. decode: as node_file_read().
 */
#define NODE_FILE_MAX 512
int node_file_encode(const struct node_file *node, char *buf, size_t buf_size);
int node_file_decode(const char *text, size_t len, struct node_file *out,
    char *why, size_t why_size);

#endif
