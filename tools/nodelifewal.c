/*
 * nodelifewal: options. See nodelifewal(8).
 */
#include "tools/nodelifewal.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static const char usage_text[] =
    "usage: nodelifewal dump [-jv] [-f VLSN] [-t VLSN] DIR\n"
    "       nodelifewal verify DIR\n"
    "       nodelifewal stat [-j] DIR\n"
    "\n"
    "DIR is a data directory, or its wal; it is only read. In a data\n"
    "directory checkpoint and VLSN index are asked, as a boot does.\n"
    "\n"
    "  dump        print a line for each record\n"
    "  verify      follow the chain of records and say whether it is whole\n"
    "  stat        sum up records, batches, terms\n"
    "\n"
    "  -f, --from VLSN  dump: from this record on\n"
    "  -t, --to VLSN    dump: up to this record\n"
    "  -j, --json       JSON, one object a line\n"
    "  -v, --verbose    dump: payloads, as operations\n"
    "  -h, --help       this text\n"
    "  -V, --version    version\n"
    "\n"
    "Exit: 0 good, 1 a torn tail, 2 damage, 3 damage where no boot looks,\n"
    "64 usage, 66 no log there, 74 it cannot be read.\n";

__attribute__((noreturn)) static void
usage(const char *what, const char *arg)
{
	if (what != NULL)
		fprintf(stderr, "nodelifewal: %s: %s\n", what, arg);
	fputs(usage_text, what != NULL ? stderr : stdout);
	exit(what != NULL ? EX_USAGE : 0);
}

static uint64_t
vlsn_arg(const char *text, const char *what)
{
	const char *why;
	long long v = strtonum(text, 1, INT64_MAX, &why);

	if (why != NULL)
		usage(what, why);
	return (uint64_t)v;
}

static int
run(const char *command, const char *path, const struct dump_options *options)
{
	struct walk_dir dir;
	int rc = walk_open(path, &dir);

	if (rc != 0) {
		fprintf(stderr, "nodelifewal: %s: %s\n", path, strerror(-rc));
		return EX_NOINPUT;
	}
	if (strcmp(command, "dump") == 0)
		rc = dump_main(&dir, options);
	else if (strcmp(command, "stat") == 0)
		rc = stat_main(&dir, options->json);
	else
		rc = verify_main(&dir);
	walk_close(&dir);
	return rc;
}

/* Options that the command does not have are refused, not ignored. */
static void
options_check(const char *command, const struct dump_options *o)
{
	bool dump = strcmp(command, "dump") == 0;

	if (!dump && strcmp(command, "verify") != 0 &&
	    strcmp(command, "stat") != 0)
		usage("no such command", command);
	if (!dump && (o->verbose || o->from != 1 || o->to != UINT64_MAX))
		usage("only dump has -v, -f, -t", command);
	if (o->json && strcmp(command, "verify") == 0)
		usage("verify has no -j", command);
	if (o->from > o->to)
		usage("-f", "above -t");
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "from", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
		{ "to", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct dump_options options = { .from = 1, .to = UINT64_MAX };
	int c;

	while ((c = getopt_long(argc, argv, "f:hjt:vV", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			options.from = vlsn_arg(optarg, "-f");
			break;
		case 'h':
			usage(NULL, NULL);
		case 'j':
			options.json = true;
			break;
		case 't':
			options.to = vlsn_arg(optarg, "-t");
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'V':
			printf("nodelifewal %s\n", NODELIFE_VERSION);
			return 0;
		default:
			fputs(usage_text, stderr);
			return EX_USAGE;
		}
	}
	if (argc - optind != 2)
		usage("expected", "a command and a directory");
	options_check(argv[optind], &options);
	return run(argv[optind], argv[optind + 1], &options);
}
