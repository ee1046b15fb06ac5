/*
 * Reading limits. A control group counts for all below it, so the smallest
 * limit on the way up from ours is the one that holds. What cannot be read is
 * no limit: the fit is a help, not a promise.
 */
#include "supervisor/limits.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define LINE_MAX_BYTES 4096
#define NO_LIMIT       (UINT64_C(1) << 60) /* v1 says so by a huge number */

static FILE *
open_below(const char *root, const char *path)
{
	char full[PATH_MAX];
	int n = snprintf(full, sizeof(full), "%s%s", root, path);

	return n > 0 && (size_t)n < sizeof(full) ? fopen(full, "re") : NULL;
}

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	if (a == 0 || b == 0)
		return a | b;
	return a < b ? a : b;
}

/* A number of bytes alone in a file; 0 = none. */
static uint64_t
read_limit(const char *root, const char *dir, const char *name)
{
	char path[PATH_MAX], text[32] = "";
	uint64_t value = 0;
	FILE *in;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >=
	    (int)sizeof(path))
		return 0;
	if ((in = open_below(root, path)) == NULL)
		return 0;
	if (fgets(text, sizeof(text), in) != NULL)
		value = strtoull(text, NULL, 10); /* "max" is 0 */
	fclose(in);
	return value < NO_LIMIT ? value : 0;
}

/* The smallest of the group at `dir` and all above it, down to `base` bytes. */
static void
limit_upwards(const char *root, char *dir, size_t base, const char *name,
    struct limits_group *g)
{
	uint64_t limit;
	char *slash;

	for (;;) {
		limit = read_limit(root, dir, name);
		if (limit != 0 && smaller(g->limit, limit) != g->limit) {
			g->limit = limit;
			(void)snprintf(
			    g->file, sizeof(g->file), "%s/%s", dir, name);
		}
		if (strlen(dir) <= base ||
		    (slash = strrchr(dir, '/')) == NULL || slash < dir + base)
			return;
		*slash = '\0';
	}
}

/* Add "KEY NUMBER" on a line of its own; is there one? */
static bool
add_count(const char *root, const char *path, const char *key, uint64_t *count)
{
	FILE *in = open_below(root, path);
	char line[LINE_MAX_BYTES];
	size_t len = strlen(key);
	bool found = false;

	while (in != NULL && !found && fgets(line, sizeof(line), in) != NULL)
		if (strncmp(line, key, len) == 0 && line[len] == ' ') {
			*count += strtoull(line + len, NULL, 10);
			found = true;
		}
	if (in != NULL)
		fclose(in);
	return found;
}

/* A group counts what the kernel killed in it, for whichever limit. */
static void
group_at(const char *root, const char *mount, const char *path, bool v2,
    struct limits_group *g)
{
	char dir[PATH_MAX], events[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s%s", mount, path) >= (int)sizeof(dir))
		return;
	if (snprintf(events, sizeof(events), "%s/%s", dir,
		v2 ? "memory.events" : "memory.oom_control") <
	    (int)sizeof(events))
		g->counts |= add_count(root, events, "oom_kill", &g->oom_kills);
	limit_upwards(root, dir, strlen(mount),
	    v2 ? "memory.max" : "memory.limit_in_bytes", g);
}

/* Is a word in a list with commas? */
static bool
has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += len)
		if ((at == list || at[-1] == ',') &&
		    (at[len] == ',' || at[len] == '\0' || at[len] == '\n'))
			return true;
	return false;
}

/* Our group as /proc/self/cgroup has it: v2, or v1's with memory. */
static bool
own_group(const char *root, bool v2, char *path, size_t size)
{
	FILE *in = open_below(root, "/proc/self/cgroup");
	char line[LINE_MAX_BYTES], *list, *name;
	bool found = false;

	while (in != NULL && !found && fgets(line, sizeof(line), in) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if ((list = strchr(line, ':')) == NULL ||
		    (name = strchr(list + 1, ':')) == NULL)
			continue;
		*name++ = '\0';
		found = v2 ? list[1] == '\0' : has_word(list + 1, "memory");
		if (found)
			strlcpy(path, name, size);
	}
	if (in != NULL)
		fclose(in);
	return found;
}

/* Blanks and the like stand in mountinfo as \040: three octal digits. */
static void
unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at != '\0'; to++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' &&
		    at[2] >= '0' && at[2] <= '7' && at[3] >= '0' &&
		    at[3] <= '7') {
			*to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 +
				     (at[3] - '0'));
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

/* A mount of a control group's file system: what it says of our group. */
static void
group_of_mount(const char *root, char *line, struct limits_group *g)
{
	char *save = NULL, *field[5], *type, *options, path[PATH_MAX];
	const char *below = path;
	char *tail = strstr(line, " - ");
	size_t len;
	bool v2;

	if (tail == NULL)
		return;
	*tail = '\0';
	type = strtok_r(tail + 3, " \n", &save);
	(void)strtok_r(NULL, " \n", &save);
	options = strtok_r(NULL, " \n", &save);
	if (type == NULL || strncmp(type, "cgroup", 6) != 0 || options == NULL)
		return;
	v2 = strcmp(type, "cgroup2") == 0;
	if ((!v2 && !has_word(options, "memory")) ||
	    !own_group(root, v2, path, sizeof(path)))
		return;
	for (unsigned i = 0; i < 5; i++)
		if ((field[i] = strtok_r(i == 0 ? line : NULL, " ", &save)) ==
		    NULL)
			return;
	for (unsigned i = 3; i < 5; i++)
		unescape(field[i]);
	/* A container sees its own group as the mount's root. */
	len = strlen(field[3]);
	if (strncmp(path, field[3], len) == 0 && len > 1 &&
	    (path[len] == '/' || path[len] == '\0'))
		below = path + len;
	group_at(root, field[4], strstr(below, "..") ? "" : below, v2, g);
}

static uint64_t
mem_total(const char *root)
{
	FILE *in = open_below(root, "/proc/meminfo");
	char line[LINE_MAX_BYTES];
	uint64_t kib = 0;

	while (in != NULL && kib == 0 && fgets(line, sizeof(line), in) != NULL)
		(void)sscanf(line, "MemTotal: %" SCNu64, &kib);
	if (in != NULL)
		fclose(in);
	return kib * 1024;
}

void
limits_group(const char *root, struct limits_group *g)
{
	FILE *in = open_below(root, "/proc/self/mountinfo");
	char line[LINE_MAX_BYTES];

	*g = (struct limits_group){ .limit = mem_total(root) };
	while (in != NULL && fgets(line, sizeof(line), in) != NULL)
		group_of_mount(root, line, g);
	if (in != NULL)
		fclose(in);
	/* The root group counts nothing: then the machine does, for all. */
	if (!g->counts)
		(void)add_count(
		    root, "/proc/vmstat", "oom_kill", &g->oom_kills);
}

/* 0: there are so many, or can be. Workers inherit it. */
static uint64_t
limits_files(uint64_t want)
{
	struct rlimit rl, more;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return 0;
	if (rl.rlim_cur >= want)
		return 0;
	more = (struct rlimit){ want, rl.rlim_max < want ? want : rl.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &more) == 0) /* above the hard one: root */
		return 0;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	return rl.rlim_cur;
}

void
limits_read(struct conf_limits *out, const struct conf *conf, uint64_t held,
    struct conf_limits *most)
{
	struct limits_group g;
	struct statvfs fs;

	limits_group("", &g);
	*out = (struct conf_limits){ .memory = g.limit,
		.files = limits_files(conf_files(conf)) };
	strlcpy(out->memory_file, g.file, sizeof(out->memory_file));
	if (most != NULL)
		*most = *out;
	/* A file system without blocks has no limit; a full one has 1 byte. */
	if (statvfs("/dev/shm", &fs) != 0 || fs.f_blocks == 0)
		return;
	out->shm = (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize + held + 1;
	if (most != NULL)
		most->shm = (uint64_t)fs.f_blocks * (uint64_t)fs.f_frsize;
}
