/*
 * What a configuration's file alone cannot tell: does it fit this machine, its
 * users, hosts, directories and what the node has on disk already?
 */
#ifndef SUPERVISOR_CHECK_H
#define SUPERVISOR_CHECK_H

#include "conf/conf.h"

/*
 * Are data_dir and run_dir two directories, whatever the links on the way? 0
 * or an exit code, having refused. Of one that is not there yet it is asked
 * where it will be.
 */
int check_dirs(const struct conf *conf);
/* nodelifed -n: that and all else; each refusal is told. May ask DNS. */
int check_machine(const struct conf *conf);

#endif
