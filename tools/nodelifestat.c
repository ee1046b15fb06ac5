/*
 * nodelifestat: looks at a node's shared region and nothing else, so it works
 * on a node that boots, serves, hangs, or is long dead. Changes nothing. See
 * nodelifestat(8).
 */
#include "tools/nodelifestat.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "conf/conf.h"

static const char usage_text[] =
    "usage: nodelifestat [-r RUN_DIR | -c INI] [-W | -e [-f]]\n"
    "       nodelifestat [-r RUN_DIR | -c INI] [-j] [INTERVAL [COUNT]]\n"
    "       nodelifestat [-r RUN_DIR | -c INI] -w PHASE [-t SEC]\n"
    "\n"
    "  -r RUN_DIR   the node's run_dir, or the path of a region\n"
    "  -c INI       take run_dir from this file (" CONF_DEFAULT_FILE ")\n"
    "  -W           refresh the screen each second; q or Ctrl-C ends\n"
    "  -e           the last events\n"
    "  -f           with -e: go on with new ones\n"
    "  -j           JSON; with INTERVAL one object a line\n"
    "  -w PHASE     wait until the boot reached this phase\n"
    "  -t SEC       with -w: no longer than that\n"
    "  -h, -V       this text, version\n"
    "INTERVAL is in seconds: one line each, the first since the boot.\n"
    "\n"
    "Exit: 0 done or reached; 1 no region, or the boot failed or is over;\n"
    "2 timed out; 64 usage; 78 configuration.\n";

struct options {
	const char *run_dir, *ini;
	bool watch, events, follow, json, wait;
	enum phase phase;
	uint64_t timeout_ms, interval_ms, count;
};

__attribute__((noreturn)) static void
usage(const char *what, const char *arg)
{
	if (what != NULL)
		fprintf(stderr, "nodelifestat: %s: %s\n", what, arg);
	fputs(usage_text, what != NULL ? stderr : stdout);
	exit(what != NULL ? EX_USAGE : 0);
}

/* Seconds, with a fraction if need be, as milliseconds. */
static uint64_t
seconds(const char *text, const char *what)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || !(v >= 0) ||
	    v > (double)(INT_MAX / 1000))
		usage(what, text);
	return (uint64_t)(v * 1000 + 0.5);
}

static enum phase
phase_wanted(const char *name)
{
	int phase = phase_parse(name);

	if (phase < 0 || phase >= PHASE_FAILED)
		usage("-w: no such phase", name);
	return (enum phase)phase;
}

static void
operands(int argc, char **argv, struct options *o)
{
	const char *why;

	if (optind < argc) {
		o->interval_ms = seconds(argv[optind], "interval");
		if (o->interval_ms == 0)
			usage("interval", argv[optind]);
		optind++;
	}
	if (optind < argc) {
		o->count = (uint64_t)strtonum(argv[optind], 1, LLONG_MAX, &why);
		if (why != NULL)
			usage("count", why);
		optind++;
	}
	if (optind != argc)
		usage("surplus argument", argv[optind]);
	if (o->watch + o->events + o->json + o->wait > 1)
		usage("choose one", "-W, -e, -j or -w");
	if (o->interval_ms != 0 && (o->watch || o->events || o->wait))
		usage("an interval", "goes alone or with -j");
	if (o->follow && !o->events)
		usage("-f", "goes with -e");
	if (o->timeout_ms != UINT64_MAX && !o->wait)
		usage("-t", "goes with -w");
}

static void
options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "help", no_argument, NULL,
						   'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	int ch;

	opterr = 0;
	while ((ch = getopt_long(argc, argv, "c:efhjr:t:Vw:W", longs, NULL)) !=
	       -1) {
		switch (ch) {
		case 'c':
			o->ini = optarg;
			break;
		case 'e':
			o->events = true;
			break;
		case 'f':
			o->follow = true;
			break;
		case 'h':
			usage(NULL, NULL);
		case 'j':
			o->json = true;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 't':
			o->timeout_ms = seconds(optarg, "-t");
			break;
		case 'V':
			puts("nodelifestat " NODELIFE_VERSION);
			exit(0);
		case 'w':
			o->wait = true;
			o->phase = phase_wanted(optarg);
			break;
		case 'W':
			o->watch = true;
			break;
		default:
			usage("unknown option, or one without its value",
			    argv[optind - 1]);
		}
	}
	if (o->run_dir != NULL && o->ini != NULL)
		usage("choose one", "-r or -c");
	operands(argc, argv, o);
}

static void
run_dir_of_ini(const char *ini, char *out, size_t size)
{
	struct conf_errors errs = { 0 };
	char run_dir[CONF_RUN_DIR_SIZE];

	/* A node that runs can be looked at whatever became of its file. */
	if (conf_find_run_dir(ini, run_dir, &errs) != 0 && run_dir[0] == '\0') {
		conf_errors_print(&errs, stderr);
		fprintf(stderr, "nodelifestat: or name the node's run_dir: "
				"-r RUN_DIR\n");
		exit(EX_CONFIG);
	}
	strlcpy(out, run_dir, size);
	conf_errors_free(&errs);
}

/* A directory stands for the region it links to; other paths for themselves. */
static void
target_name(struct stat_target *t, const struct options *o)
{
	char dir[CONF_PATH_SIZE];
	struct stat st;

	if (o->run_dir != NULL)
		strlcpy(dir, o->run_dir, sizeof(dir));
	else
		run_dir_of_ini(o->ini != NULL ? o->ini : CONF_DEFAULT_FILE, dir,
		    sizeof(dir));
	/* -w may be there before the run_dir is. */
	t->by_link = stat(dir, &st) == -1 || S_ISDIR(st.st_mode);
	snprintf(
	    t->path, sizeof(t->path), t->by_link ? "%s/region" : "%s", dir);
}

int
main(int argc, char **argv)
{
	struct options o = { .timeout_ms = UINT64_MAX };
	static struct stat_target target;
	char why[1400];
	int rc;

	options_parse(argc, argv, &o);
	target_name(&target, &o);
	if (o.wait) {
		rc = stat_wait(&target, o.phase, o.timeout_ms);
	} else if (target_attach(&target, why, sizeof(why)) != 0) {
		fprintf(stderr, "nodelifestat: %s\n", why);
		rc = STAT_FAILED;
	} else if (o.json) {
		rc = stat_json(&target, o.interval_ms, o.count);
	} else if (o.events) {
		rc = stat_events(&target, o.follow);
	} else if (o.watch) {
		rc = stat_watch(&target);
	} else if (o.interval_ms != 0) {
		rc = stat_lines(&target, o.interval_ms, o.count);
	} else {
		rc = stat_screen(&target);
	}
	target_close(&target);
	return rc;
}
