/*
 * Holding a configuration against the machine; see check.h. Nothing is made,
 * bound or locked here: a start finds out the rest.
 */
#include "supervisor/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shm/path.h"
#include "supervisor/listen.h"
#include "supervisor/refuse.h"

/* Where an absolute path leads, or will when it has been made. */
struct place {
	struct stat there; /* the nearest directory that is there */
	char below[CONF_PATH_SIZE]; /* what is not, as "/a/b" */
};

static bool
place_find(const char *path, struct place *p)
{
	char text[2 * CONF_PATH_SIZE], *part;
	unsigned up = 0;
	bool again = false;

	if (strlcpy(text, path, sizeof(text)) >= CONF_PATH_SIZE)
		return false;
	p->below[0] = '\0';
	/* From the end: who goes up leaves out a part that is not there. */
	while (stat(text[0] != '\0' ? text : "/", &p->there) != 0) {
		if ((part = strrchr(text, '/')) == NULL)
			return false;
		if (strcmp(part, "/..") == 0) {
			up++;
			again = true;
		} else if (up > 0 && part[1] != '\0' &&
			   strcmp(part, "/.") != 0) {
			up--;
		} else if (part[1] != '\0' && strcmp(part, "/.") != 0) {
			strlcat(part, p->below, CONF_PATH_SIZE);
			strlcpy(p->below, part, sizeof(p->below));
		}
		*part = '\0';
	}
	if (!again)
		return true;
	/* What is named without them may be there. */
	for (; up > 0; up--)
		strlcat(text, "/..", sizeof(text));
	strlcat(text, p->below, sizeof(text));
	return place_find(text, p);
}

int
check_dirs(const struct conf *conf)
{
	struct place data, run;

	if (!place_find(conf->node.data_dir, &data) ||
	    !place_find(conf->node.run_dir, &run) ||
	    !path_same_file(&data.there, &run.there) ||
	    strcmp(data.below, run.below) != 0)
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
