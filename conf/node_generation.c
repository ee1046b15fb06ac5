/*
 * A new generation of a group; see node_generation.h.
 */
#include "conf/node_generation.h"

int
node_generation_raise(int data_dir, struct node_file *node)
{
	struct node_file next = *node;
	int rc;

	next.generation++;
	if (next.format < NODE_FILE_FORMAT)
		next.format = NODE_FILE_FORMAT;
	rc = node_file_write(data_dir, &next);
	if (rc == 0)
		*node = next;
	return rc;
}
