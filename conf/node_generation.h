/*
 * A new generation of a group: whatever skips records or goes over a lost vote
 * (recovery mode force) begins one, so that nobody takes what follows for a
 * continuation of what was there. It stands in data_dir/node first; what else
 * is of the one before (state, membership, segments) follows it.
 */
#ifndef CONF_NODE_GENERATION_H
#define CONF_NODE_GENERATION_H

#include "conf/node_file.h"

/*
 * The generation behind node's, durable in the file when this returns 0, and
 * then in *node. Else -errno, nothing has changed. Blocks. One caller at a
 * time.
 */
int node_generation_raise(int data_dir, struct node_file *node);

#endif
