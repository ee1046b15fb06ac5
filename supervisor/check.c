/*
 * Holding a configuration against the machine; see check.h. Nothing is made,
 * bound or locked here: a start finds out the rest.
 */
#include "supervisor/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "supervisor/listen.h"
#include "supervisor/refuse.h"

int
check_dirs(const struct conf *conf)
{
	struct stat data, run;

	if (stat(conf->node.data_dir, &data) != 0 ||
	    stat(conf->node.run_dir, &run) != 0 || data.st_dev != run.st_dev ||
	    data.st_ino != run.st_ino)
		return 0;
	return refuse(EX_CONFIG,
	    "[node] data_dir (%s) and run_dir (%s) are one directory: they "
	    "must be two",
	    conf->node.data_dir, conf->node.run_dir);
}

/* The pages of a file that has grown may be in use up to its end. */
static int
check_map_size(const struct conf *conf)
{
	char path[CONF_PATH_SIZE + 32], limit[24];
	struct stat st;

	if (!conf_key_is_set(conf, conf_key_find("store", "map_size")))
		return 0;
	snprintf(path, sizeof(path), "%s/store/data.mdb", conf->node.data_dir);
	if (stat(path, &st) != 0 ||
	    (uint64_t)st.st_size <= conf->store.map_size)
		return 0;
	conf_size_format(conf->store.map_size, limit, sizeof(limit));
	return refuse(EX_CONFIG,
	    "[store] map_size is %s, below the size of %s (%" PRIu64
	    " bytes): every checkpoint would fail: raise it above that",
	    limit, path, (uint64_t)st.st_size);
}

int
check_machine(const struct conf *conf)
{
	struct rights rights;
	int (*const checks[])(
	    const struct conf *) = { check_dirs, listen_check, check_map_size };
	int rc = rights_find(&rights, conf->node.user), one;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if ((one = checks[i](conf)) != 0 && rc == 0)
			rc = one;
	return rc;
}
