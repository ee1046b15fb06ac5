/*
 * nodelifectl: tells a running node what to do, through its control socket.
 */
#include "tools/nodelifectl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/assert.h"
#include "shm/bits.h"

#define TIMEOUT_MAX_S 86400

static const struct command {
	const char *name;
	unsigned timeout_s; /* default */
	bool arg; /* may have one */
	const char *help;
} commands[] = {
	{ "stop", 60, false,
	    "stop the node in order and wait until it is gone" },
	{ "status", 10, false, "say whether it runs, and in which state" },
	{ "members", 10, true,
	    "show who is in the group; members -j: as JSON" },
	{ "drain", 10, false, "begin to stop it, do not wait" },
	{ "reload", 10, false,
	    "read the configuration again, show what changed" },
	{ "config", 10, false, "show the configuration in force" },
	{ "checkpoint", 600, false, "make a checkpoint now and wait for it" },
	{ "found", 60, true,
	    "found the group of this node and its [peer]s; found --abandon: "
	    "give that up" },
	{ "loglevel", 10, true,
	    "show the log level, or set it: loglevel LEVEL" },
	{ "help", 10, false, "this list" },
};

void
ctl_say(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "nodelifectl: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

int
ctl_left_ms(const struct ctl *c)
{
	uint64_t now = mono_ns();

	if (now >= c->deadline_ns)
		return 0;
	return (int)((c->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void
usage(FILE *out)
{
	size_t i;

	fprintf(out, "usage: nodelifectl [-c FILE | -r RUN_DIR] [-t SECONDS] "
		     "COMMAND [ARG]\n\n");
	for (i = 0; i < NITEMS(commands); i++)
		fprintf(out, "  %-11s %s (-t %u)\n", commands[i].name,
		    commands[i].help, commands[i].timeout_s);
	fprintf(out,
	    "\n  -c, -r      name the node, see below\n"
	    "  -t SECONDS  wait no longer; behind each command stands its "
	    "default\n"
	    "  -h, -V      this text, version\n"
	    "\nThe node is found by its configuration (-c, "
	    "default " CONF_DEFAULT_FILE ")\nor by its run directory (-r). "
	    "See nodelifectl(8).\n");
}

static const struct command *
command_find(const char *name)
{
	size_t i;

	for (i = 0; i < NITEMS(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/*
 * run_dir of a configuration file. A node that runs can be told things whatever
 * became of its file; of a reload it is the node that says what is wrong. An
 * exit code.
 */
static int
run_dir_of(const char *file, char run_dir[CONF_RUN_DIR_SIZE])
{
	struct conf_errors errs = { 0 };
	int rc = conf_find_run_dir(file, run_dir, &errs);

	if (rc != 0 && run_dir[0] == '\0') {
		conf_errors_print(&errs, stderr);
		ctl_say("name the node with -c FILE or -r RUN_DIR");
	}
	conf_errors_free(&errs);
	return run_dir[0] != '\0' ? CTL_OK : CTL_CONFIG;
}

/* Seconds, with a fraction if need be, as milliseconds; 0 = they are none. */
static uint64_t
seconds_parse(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v >= 0.001) || v > TIMEOUT_MAX_S)
		return 0;
	return (uint64_t)(v * 1000 + 0.5);
}

struct options {
	const char *file, *run_dir;
	uint64_t timeout_ms; /* 0 = the command's default */
};

/* An exit code, or -1 to go on. */
static int
options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int ch;

	while ((ch = getopt_long(argc, argv, "+c:r:t:hV", longs, NULL)) != -1) {
		switch (ch) {
		case 'c':
			o->file = optarg;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 't':
			if ((o->timeout_ms = seconds_parse(optarg)) == 0) {
				ctl_say("-t %s: must be 0.001 to %d seconds",
				    optarg, TIMEOUT_MAX_S);
				return CTL_USAGE;
			}
			break;
		case 'h':
			usage(stdout);
			return CTL_OK;
		case 'V':
			printf("nodelifectl %s\n", NODELIFE_VERSION);
			return CTL_OK;
		default:
			usage(stderr);
			return CTL_USAGE;
		}
	}
	if (o->file != NULL && o->run_dir != NULL) {
		ctl_say("-c and -r exclude each other");
		return CTL_USAGE;
	}
	return -1;
}

static int
run_dir_find(const struct options *o, struct ctl *c)
{
	if (o->run_dir == NULL) {
		c->file = o->file != NULL ? o->file : CONF_DEFAULT_FILE;
		return run_dir_of(c->file, c->run_dir);
	}
	if (strlcpy(c->run_dir, o->run_dir, sizeof(c->run_dir)) <
	    sizeof(c->run_dir))
		return CTL_OK;
	ctl_say(
	    "-r %s: longer than %zu bytes", o->run_dir, sizeof(c->run_dir) - 1);
	return CTL_USAGE;
}

/* The words after the command as one line; false if they do not fit it. */
static bool
line_make(
    const struct command *cmd, int argc, char **argv, char *line, size_t size)
{
	size_t n = strlcpy(line, cmd->name, size);

	if (argc > (cmd->arg ? 1 : 0)) {
		ctl_say("%s takes %s", cmd->name,
		    cmd->arg ? "one argument" : "no argument");
		return false;
	}
	if (argc == 1)
		n = (size_t)snprintf(line, size, "%s %s", cmd->name, argv[0]);
	if (n < size && strpbrk(line, "\r\n") == NULL)
		return true;
	ctl_say("%s: the argument is not one short word", cmd->name);
	return false;
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	const struct command *cmd;
	struct ctl c = { 0 };
	char line[200];
	int rc = options_parse(&o, argc, argv);

	if (rc >= 0)
		return rc;
	argc -= optind;
	argv += optind;
	if (argc == 0) {
		usage(stderr);
		return CTL_USAGE;
	}
	if ((cmd = command_find(argv[0])) == NULL) {
		ctl_say("%s: no such command; try nodelifectl help", argv[0]);
		return CTL_USAGE;
	}
	if (!line_make(cmd, argc - 1, argv + 1, line, sizeof(line)))
		return CTL_USAGE;
	if (strcmp(cmd->name, "help") == 0) {
		usage(stdout);
		return CTL_OK;
	}
	if ((rc = run_dir_find(&o, &c)) != CTL_OK)
		return rc;
	c.timeout_ms = o.timeout_ms != 0 ? o.timeout_ms : cmd->timeout_s * 1000;
	c.deadline_ns = mono_ns() + c.timeout_ms * NS_PER_MS;
	if (strcmp(cmd->name, "stop") == 0)
		return ctl_stop(&c);
	if (strcmp(cmd->name, "status") == 0)
		return ctl_status(&c);
	if (strcmp(cmd->name, "members") == 0)
		return ctl_members(&c, argc > 1 ? argv[1] : NULL);
	return ctl_talk(&c, line);
}
