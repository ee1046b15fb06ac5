/*
 * Fitting a configuration into limits: what shrinks, in which order, down to
 * which floors; what is set stays and is warned of; what cannot work is
 * refused; a fitted configuration loads. The formula's constants against the
 * region as it is. Reading limits of both versions of control groups.
 */
#include "conf/conf_fit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/kv/table.h"
#include "shm/region.h"
#include "supervisor/limits.h"
#include "t/tap.h"

#define MIB  (UINT64_C(1) << 20)
#define NODE "[node]\nname = n\ngroup = g\ndata_dir = /d\n"

static void
load(struct conf *conf, const char *text)
{
	struct conf_errors errs = { 0 };

	if (conf_load_string(conf, "f", text, strlen(text), &errs) != 0) {
		conf_errors_print(&errs, stderr);
		abort();
	}
}

static void
said(const struct conf_fit *fit, char out[4096])
{
	size_t used = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < fit->count; i++)
		used += (size_t)snprintf(
		    out + used, 4096 - used, "%s\n", fit->text[i]);
}

/* clang-format off */
static const struct row {
	const char *what, *ini;
	uint64_t shm, memory; /* MiB */
	const char *want;
	bool over, refused;
} rows[] = {
	{ "no limits", NODE, 0, 0, "", false, false },
	{ "room enough", NODE, 256, 624, "", false, false },
	{ "a small machine", NODE, 256, 512,
	    "memory: limit 512M by /cg/memory.max: [store] checkpoint_memory 64M -> 32M\n"
	    "memory: limit 512M by /cg/memory.max: [listen] max_query 64M -> 32M\n"
	    "memory: limit 512M by /cg/memory.max: [listen] max_output 64M -> 32M\n"
	    "memory: limit 512M by /cg/memory.max: [listen] client_memory 128M -> 64M\n",
	    false, false },
	{ "a small /dev/shm", NODE, 160, 0,
	    "memory: /dev/shm has 160M: [store] max_record 64M -> 32M\n"
	    "memory: /dev/shm has 160M: [store] table_size 64M -> 48M\n",
	    false, false },
	{ "down to the floors", NODE, 110, 0,
	    "memory: /dev/shm has 110M: [store] max_record 64M -> 32M\n"
	    "memory: /dev/shm has 110M: [store] table_size 64M -> 48M\n"
	    "memory: /dev/shm has 110M, the region may take 150M: writes may "
	    "wait for it: enlarge /dev/shm or lower [store] table_size, "
	    "max_record\n", true, false },
	{ "never", NODE, 64, 0,
	    "memory: /dev/shm has 64M: [store] max_record 64M -> 32M\n"
	    "memory: /dev/shm has 64M: [store] table_size 64M -> 48M\n"
	    "memory: /dev/shm has 64M, the region may take 150M: writes may "
	    "wait for it: enlarge /dev/shm or lower [store] table_size, "
	    "max_record\n"
	    "memory: /dev/shm has 64M, the node needs 101M: enlarge it or "
	    "lower [store] table_size (48M) or max_record (32M), and what "
	    "they must hold, max_value\n",
	    true, true },
	{ "small values, small floors",
	    NODE "[store]\nmax_value = 1M\n", 64, 0,
	    "memory: /dev/shm has 64M: [store] max_record 64M -> 8M\n"
	    "memory: /dev/shm has 64M: [store] table_size 64M -> 16M\n",
	    false, false },
	{ "what is set stays",
	    NODE "[store]\ntable_size = 64M\nmax_record = 64M\n"
	    "checkpoint_memory = 64M\n"
	    "[listen]\nclient_memory = 128M\nmax_query = 64M\n"
	    "max_output = 64M\n", 256, 512,
	    "memory: limit 512M by /cg/memory.max, the node may take 623M (region 215, clients "
	    "128, store 179, checkpoint 64, processes 36): the kernel may kill "
	    "workers: raise it or lower max_value and what is set\n",
	    true, false },
	{ "a control group that is too small", NODE "[store]\nmax_value = 1M\n"
	    "table_size = 256M\nmax_record = 8M\ncheckpoint_memory = 16M\n"
	    "[listen]\nclient_memory = 2M\nmax_query = 1M\n"
	    "max_output = 1M\n", 0, 100,
	    "memory: the machine has 100M, the node may take 823M (region 555, "
	    "clients 2, store 213, checkpoint 16, processes 36): the kernel "
	    "may kill workers: raise it or lower max_value and what is set\n"
	    "memory: the machine has 100M, the node needs 327M: raise it or "
	    "lower [store] table_size (256M) or max_record (8M), and what they "
	    "must hold, max_value\n",
	    true, true },
};
/* clang-format on */

/* What was fitted is a configuration that loads. */
static bool
loads(const struct conf *conf)
{
	struct conf_errors errs = { 0 };
	char *text = NULL;
	struct conf again;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	bool good;

	conf_print(conf, out);
	fclose(out);
	good = conf_load_string(&again, "g", text, len, &errs) == 0;
	conf_errors_free(&errs);
	free(text);
	return good;
}

static void
table(void)
{
	struct conf_fit fit;
	struct conf conf;
	char text[4096];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf_limits limits = { .shm = rows[i].shm * MIB,
			.memory = rows[i].memory * MIB };

		if (rows[i].memory == 512)
			strcpy(limits.memory_file, "/cg/memory.max");
		load(&conf, rows[i].ini);
		conf_fit(&conf, &limits, &fit);
		said(&fit, text);
		is_str(text, rows[i].want, rows[i].what);
		ok(fit.over == rows[i].over && fit.refused == rows[i].refused,
		    "%s: and whether it is enough", rows[i].what);
		ok(loads(&conf), "%s: and it loads", rows[i].what);
	}
}

/* Every limit: it fits, or is said not to; and what was made of it loads. */
static void
all_limits(void)
{
	struct conf_fit fit;
	struct conf_need need;
	struct conf conf;
	unsigned bad = 0;

	for (uint64_t mib = 1; mib < 700; mib += 3) {
		const struct conf_limits limits = { .shm = mib * MIB,
			.memory = 2 * mib * MIB };

		load(&conf, NODE);
		conf_fit(&conf, &limits, &fit);
		conf_need(&conf, &need);
		bad += fit.over !=
		       (need.region > limits.shm || need.total > limits.memory);
		bad += fit.refused != (need.region_least > limits.shm);
		bad += conf.store.max_value != 16 * MIB;
		bad += conf.listen.client_memory <
		       conf.listen.max_query + conf.listen.max_output;
		bad += fit.count > CONF_FIT_MAX;
		bad += !loads(&conf);
	}
	is_u64(bad, 0, "each limit is judged rightly");
}

/* What the region takes besides what the formula names. */
static void
formula(void)
{
	uint64_t rings =
	    RING_REQUEST_SIZE + RING_RETURN_SIZE + RING_RESULT_SIZE;
	uint64_t small = sizeof(struct region_head) + sizeof(struct sequencer) +
			 sizeof(struct slots) + sizeof(struct positions) +
			 sizeof(struct counters) + sizeof(struct histograms) +
			 sizeof(struct events) + sizeof(struct vmap) +
			 sizeof(struct table_head) +
			 2 * TABLE_SLOTS * sizeof(uint64_t);
	struct conf_need one, two;
	struct conf conf;

	load(&conf, NODE);
	conf_need(&conf, &one);
	conf.node.gateways++;
	conf_need(&conf, &two);
	ok(two.region - one.region >= rings, "a gateway's rings");
	conf.node.gateways = 0;
	conf_need(&conf, &one);
	ok(one.region_least >=
		conf.wal.buffer_size + small + CLIENT_GATEWAY * rings +
		    conf.store.table_size + conf.store.max_record,
	    "and all that is small");
}

static char root[] = "/tmp/nodelife-limits.XXXXXX";

static void
put(const char *path, const char *text)
{
	char full[256];
	FILE *out;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *at = full + strlen(root) + 1; (at = strchr(at, '/'));
	     *at++ = '/') {
		*at = '\0';
		(void)mkdir(full, 0755);
	}
	if ((out = fopen(full, "w")) == NULL)
		abort();
	fputs(text, out);
	fclose(out);
}

static uint64_t
memory_below(const char *dir)
{
	struct limits_group g;

	limits_group(dir, &g);
	return g.limit;
}

static void
groups(void)
{
	char command[64];

	if (mkdtemp(root) == NULL)
		abort();
	is_u64(memory_below(root), 0, "nothing to be read is no limit");
	put("/proc/meminfo", "MemTotal:        1048576 kB\nMemFree: 1 kB\n");
	is_u64(memory_below(root), 1024 * MIB, "the machine's");
	put("/proc/self/mountinfo",
	    "31 23 0:28 / /cg rw - tmpfs tmpfs rw\n"
	    "35 31 0:32 / /cg/memory rw,relatime shared:9 - cgroup cgroup "
	    "rw,memory\n"
	    "41 31 0:38 /box /cg/two rw - cgroup2 cgroup2 rw\n");
	put("/proc/self/cgroup", "4:cpu,memory:/a/b\n1:cpu:/\n0::/box/c\n");
	put("/cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/cg/memory/a/memory.limit_in_bytes", "536870912\n");
	put("/cg/memory/a/b/memory.limit_in_bytes", "805306368\n");
	is_u64(memory_below(root), 512 * MIB, "version 1: a parent's");
	put("/cg/two/memory.max", "max\n");
	put("/cg/two/c/memory.max", "268435456\n");
	is_u64(memory_below(root), 256 * MIB,
	    "version 2, seen from a container, is smaller");
	put("/proc/self/cgroup", "0::/../../x\n");
	put("/cg/two/memory.max", "134217728\n");
	is_u64(memory_below(root), 128 * MIB, "a group out of sight");
	put("/proc/self/mountinfo",
	    "41 31 0:38 /bo /cg/a\\040b rw - cgroup2 cgroup2 rw\n");
	put("/proc/self/cgroup", "0::/box\n");
	put("/cg/a b/box/memory.max", "67108864\n");
	is_u64(memory_below(root), 64 * MIB,
	    "a blank in its name, a root that is none of ours");
	snprintf(command, sizeof(command), "rm -r %s", root);
	ok(system(command) == 0, "nothing is left");
}

/* max_clients follows the descriptors, set or not. */
static void
test_files(void)
{
	const struct conf_limits few = { .files = 1024 },
				 enough = { .files = 10000 + CONF_FILES_OWN };
	struct conf_fit fit;
	struct conf conf;

	load(&conf, NODE "[listen]\nmax_clients = 10000\n");
	conf_fit(&conf, &enough, &fit);
	is_u64(fit.count, 0, "descriptors enough: nothing is said");
	is_u64(fit.short_of, CONF_FIT_MAX, "nothing is short");
	conf_fit(&conf, &few, &fit);
	is_u64(conf.listen.max_clients, 1024 - CONF_FILES_OWN,
	    "max_clients is what they allow");
	is_str(fit.text[fit.short_of],
	    "descriptors: limit 1024: [listen] max_clients 10000 -> 768: raise "
	    "it to 10256 (ulimit -n, LimitNOFILE=) or lower max_clients",
	    "and it is said");
	load(&conf, NODE "gateways = 4\n[listen]\nmax_clients = 10000\n");
	conf_fit(&conf, &few, &fit);
	is_u64(conf.listen.max_clients, 4 * (1024 - CONF_FILES_OWN),
	    "each gateway has its own");
	is_u64(conf_files(&conf), 1024, "and now fits");
}

int
main(void)
{
	table();
	all_limits();
	formula();
	groups();
	test_files();
	return tap_done();
}
